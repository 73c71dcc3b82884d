/* One cell: all that is kept of the events of one (item, signal type, cohort).
 *
 * A cell is a function of the set of events counted in it, whatever their order (design idea 3,
 * section 8). Kept are
 *   - the newest event time, of voided events as well;
 *   - how many events count, ever;
 *   - decayed sums of the landmark of the newest event and of the three before it;
 *   - counts per minute for 2 h and per hour for 31 days, up to the newest event's minute and hour.
 * What is older than that, seen from the newest event, is neither added nor subtracted. Since the
 * newest time only rises, an event that is dropped on arrival would have been pruned later, and one
 * that is pruned would have been dropped: that is why order leaves no trace.
 *
 * The row holds the newest minute, hour and landmark; a cell with anything older has a tail. So an
 * event in the newest minute of its cell changes one row of 64 bytes and looks for nothing.
 *
 *   memory: row 64 bytes; a tail of 32 bytes and 8 per minute and per hour kept (with up to half as
 *   many again in reserve), 48 more when it has older landmarks; at most 7 KB. */
#ifndef TIDAL_COMMON_SIGNAL_CELL_H
#define TIDAL_COMMON_SIGNAL_CELL_H

#include "common/base/bytes.h"
#include "common/signal/decay.h"
#include "common/signal/memory.h"
#include "common/topology/schema.h"

typedef struct cell_tail cell_tail_t;

/* Public for the ledger's tables and for reading; changed only by cell_add, cell_touch, cell_void
 * and cell_decode. */
typedef struct {
    uint128_t sum;         /* decayed, of the newest event's landmark */
    int64_t newest_ns;     /* Unix epoch; -1 while the cell has had no event */
    uint64_t count;        /* events that count, ever */
    uint64_t minute_count; /* of the newest event's minute */
    uint64_t hour_count;   /* of the newest event's hour */
    cell_tail_t *tail;     /* NULL when nothing older is kept */
    uint32_t item_row;     /* whose cell it is; of the ledger */
    uint8_t signal;        /* id of the schema */
    uint8_t marks;         /* of the ledger */
    uint16_t zero;
} cell_t;

void cell_init(cell_t *self, uint32_t item_row, uint8_t signal);

/* One event counts.
 * in ts_ns >= 0; weight finite, |weight| <= 1e9; `decay` and `memory` always the same for a cell
 * cost 15 ns for an event in the cell's newest minute; a search and a memmove of at most 6 KB for a
 *      late one; allocates when the tail grows */
void cell_add(cell_t *self, memory_t *memory, decay_t *decay, int64_t ts_ns, double weight);
/* One event arrives that is void already: raises the newest time and counts nothing. */
void cell_touch(cell_t *self, memory_t *memory, decay_t *decay, int64_t ts_ns);
/* Takes back an event that was counted by cell_add (anything else breaks a CHECK, or the sums). */
void cell_void(cell_t *self, memory_t *memory, decay_t *decay, int64_t ts_ns, double weight);

/* A time to read scores at, for many cells of one signal type; it remembers the last factor. */
typedef struct {
    const decay_t *decay;
    int64_t at_ns;       /* >= 0 */
    int64_t landmark_ns; /* for which */
    double factor;       /* was found */
} cell_reader_t;

void cell_reader_init(cell_reader_t *self, const decay_t *decay, int64_t at_ns);

/* Sum of w * 2^-((at - t) / half_life) over the kept landmarks; events later than `at` count too.
 * out ret_clipped true when `at` lies more than 16 half-lives before the newest event: then the
 *     score is the one at newest - 16 half-lives. May be NULL */
double cell_score(const cell_t *self, cell_reader_t *reader, bool *ret_clipped);

/* Events of the window that ends with the bucket of `at` (design section 8); WINDOW_ALL: of all
 * time.
 * in  at_ns        >= 0
 * out ret_clipped  true when `at` lies more than 1 h (WINDOW_1H) or 24 h (the others) before the
 *     newest event: then only what is kept is counted. Never for WINDOW_ALL. May be NULL */
uint64_t cell_window_count(const cell_t *self, window_t window, int64_t at_ns, bool *ret_clipped);

/* Sum of the landmark that lies i before the newest event's; i below DECAY_LANDMARKS_KEPT. */
uint128_t cell_sum(const cell_t *self, unsigned i);

/* -- canonical bytes, see checkpoint_format.h -------------------------------------------------- */

enum { CELL_VALUE_SIZE_MAX = 8192 };

/* Writes the value of this cell and returns its size; the same events give the same bytes.
 * out ret_bytes room for CELL_VALUE_SIZE_MAX */
size_t cell_encode(const cell_t *self, uint8_t *ret_bytes);
/* Fills a cell that cell_init made. errs ERR_CORRUPT (the cell must be thrown away: cell_done)
 * · ERR_UNSUPPORTED a later version */
err_t cell_decode(cell_t *self, memory_t *memory, slice_t value, errbuf_t *errbuf);
/* Frees the tail. */
void cell_done(cell_t *self, memory_t *memory);

#endif
