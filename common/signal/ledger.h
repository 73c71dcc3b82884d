/* The state of one (tenant, shard): what the logged records come to.
 *
 * It holds cells (decayed sums, windows and counts of signals: of all users, and of each cohort
 * that the log names), items and users (registers), hard negatives (hide, mute, block), and which
 * user gave which item a signal. Every part is a function of the set of records applied: in
 * whatever order they come, and from whichever streams, the same set gives the same digest, the
 * same checkpoint entries and the same answers, bit for bit (design ideas 1 and 3). Applying a
 * batch exactly once is the caller's duty (design idea 5); nothing here looks at identities.
 *
 * Rules of the registers
 *   item field, user attribute   the latest stamp wins; equal stamps: the greater value
 *   delete of an item            hides every field written with a stamp up to its own, its own
 *                                included
 *   hide, mute, block            the latest stamp wins; equal stamps: set wins
 *   a zero stamp                 is before every other: a field written with it is never seen
 *
 * Pointers to items and cells stay valid for the life of the ledger; what they point to changes
 * with the next apply, void or load. One thread. Memory is not bounded here: it grows with the
 * distinct cells, pairs and registers (see README.md for what each costs). Out of memory is a
 * CHECK. */
#ifndef TIDAL_COMMON_SIGNAL_LEDGER_H
#define TIDAL_COMMON_SIGNAL_LEDGER_H

#include "common/base/hlc.h"
#include "common/base/ids.h"
#include "common/base/seam.h"
#include "common/signal/cell.h"
#include "common/signal/registers.h"
#include "common/topology/schema.h"
#include "common/wal/cohort_builder.h"
#include "common/wal/record.h"

typedef struct ledger ledger_t;

/* copies what it needs of schema. Never NULL. */
ledger_t *ledger_new(const schema_t *schema);
/* Nulls; NULL is allowed. cost a step per item and user with registers, and per chunk of memory */
void ledger_destroy(ledger_t **self_p);

/* -- records ----------------------------------------------------------------------------------- */

typedef enum {
    LEDGER_COUNTED = 0, /* its signals count */
    LEDGER_VOID = 1 /* its signals are void already (another copy counts): they create their cells
                       and raise their newest times, and count nothing. Registers apply as ever */
} ledger_standing_t;

/* All records of one batch.
 * in   payload  borrowed until return
 * errs ERR_CORRUPT a malformed record · ERR_UNSUPPORTED a record or signal type that this version
 *      or schema does not know. Nothing was applied then
 * cost 50..150 ns per signal; see README.md */
err_t ledger_apply_payload(ledger_t *self,
                           slice_t payload,
                           ledger_standing_t standing,
                           errbuf_t *errbuf);

/* Takes back the signals of a batch that was applied as LEDGER_COUNTED, as if it had been
 * LEDGER_VOID. Registers stay: copies of one write carry one stamp. A batch that was not applied so
 * breaks a CHECK, or the counts. errs as ledger_apply_payload; nothing was changed then */
err_t ledger_void_payload(ledger_t *self, slice_t payload, errbuf_t *errbuf);

/* -- items, for ranking ------------------------------------------------------------------------ */

enum {
    LEDGER_ITEM_PUT = 1,     /* has been put, and not deleted since */
    LEDGER_ITEM_DELETED = 2, /* has been deleted, and not put since */
    LEDGER_ITEM_CELLS = 4    /* has at least one cell */
};

/* What ranking and filters look at; the rest is reached by ledger_item_cell and ledger_get_item.
 * An item that has only signals has none of the fields. Read only. */
typedef struct {
    item_id_t item;
    creator_id_t creator;   /* 0 none */
    int64_t created_ns;     /* 0 none */
    uint32_t category_hash; /* ledger_category_hash of the category; 0 none */
    uint8_t flags;          /* LEDGER_ITEM_... */
    uint8_t marks;          /* of the ledger, as all below */
    uint16_t zero;
    struct ledger_named *named;
    union {
        uint32_t row[6];
        uint32_t *rows;
    } cells;
} ledger_item_t;

/* Items are rows 1..count in order of their first appearance here, which differs between replicas:
 * walk them in this order, and let no result depend on it. A deleted item has a row as well. */
uint32_t ledger_item_count(const ledger_t *self);
/* in row 1..ledger_item_count */
const ledger_item_t *ledger_item(const ledger_t *self, uint32_t row);
/* Row of an item; 0 when nothing is known of it. */
uint32_t ledger_find_item(const ledger_t *self, item_id_t item);
/* The cell of all users; NULL when the item never had such a signal, or the schema has none. */
const cell_t *ledger_item_cell(const ledger_t *self, const ledger_item_t *item, uint8_t signal);
/* Never 0. Equal categories have equal hashes; a filter that finds one compares the field itself.
 */
uint32_t ledger_category_hash(slice_t category);
/* For cell_score of many cells of one signal type; lives as long as the ledger.
 * errs ERR_NOT_FOUND the schema has no such signal */
err_t ledger_reader(const ledger_t *self, uint8_t signal, int64_t at_ns, cell_reader_t *ret_reader);

/* -- single answers ---------------------------------------------------------------------------- */

/* The decayed score, and the count of a window; 0 for what is not known. Semantics and `clipped`:
 * cell.h. ret_clipped may be NULL. in at_ns >= 0. Both are for tests. */
double ledger_score(
    const ledger_t *self, item_id_t item, uint8_t signal, int64_t at_ns, bool *ret_clipped);
uint64_t ledger_count(const ledger_t *self,
                      item_id_t item,
                      uint8_t signal,
                      window_t window,
                      int64_t at_ns,
                      bool *ret_clipped);

/* -- cohorts ----------------------------------------------------------------------------------- */

/* A user with attribute locale = EU is in cohort `locale:EU`. Name and value together, with the
 * colon, are at most NAME_LENGTH_MAX bytes: a longer attribute makes no cohort. A user is in as
 * many cohorts as such attributes; two that come to the same text are one. */

/* Whether any user has attributes; if not, none is in a cohort. cost O(1) */
bool ledger_has_users(const ledger_t *self);
/* Which cohorts the users of these signals are in now: for whoever logs the signals. The state
 * keeps to what was logged, whatever the attributes become.
 * out  builder  the sets of all events, when true · false no user is in a cohort; then the builder
 *               holds nothing of use
 * cost nothing while no user has attributes; else 20..100 ns per event, more for each distinct user
 *      with attributes */
bool ledger_find_cohorts(const ledger_t *self,
                         const record_signals_t *signals,
                         cohort_builder_t *builder);

/* Number of a cohort for ledger_cohort_cell; 0 when no signal ever counted for it here. Numbers
 * differ between replicas. */
uint32_t ledger_find_cohort(const ledger_t *self, slice_t name);
/* The cell of the users of a cohort; NULL when the item never had such a signal of them.
 * in cohort  may be 0 */
const cell_t *ledger_cohort_cell(const ledger_t *self,
                                 uint32_t cohort,
                                 item_id_t item,
                                 uint8_t signal);

/* -- fields and attributes --------------------------------------------------------------------- */

/* Fields of an item; slices live until the next change of the ledger. */
typedef struct {
    hlc_stamp_t written;                              /* latest put since the last delete */
    bool has[ITEM_FIELD_COUNT_MAX + 1];               /* by item_field_t */
    register_view_t fields[ITEM_FIELD_COUNT_MAX + 1]; /* values encoded as in record.h */
} ledger_fields_t;

/* errs ERR_NOT_FOUND never put, or deleted since */
err_t ledger_get_item(const ledger_t *self, item_id_t item, ledger_fields_t *ret_fields);
/* Attributes of a user; walk them with registers_next. Lives until the next change.
 * errs ERR_NOT_FOUND never put */
err_t ledger_get_user(const ledger_t *self, user_id_t user, const registers_t **ret_attributes);

/* -- hard negatives ---------------------------------------------------------------------------- */

typedef struct {
    relation_action_t action;
    uint64_t target; /* item of a hide, creator of a mute or block */
    bool set;
    hlc_stamp_t hlc; /* of the last write */
} ledger_relation_t;

/* errs ERR_NOT_FOUND never written: the same as not set */
err_t ledger_get_relation(const ledger_t *self,
                          user_id_t user,
                          relation_action_t action,
                          uint64_t target,
                          ledger_relation_t *ret_relation);

/* -- users in a walk over items ---------------------------------------------------------------- */

/* Number of a user for the two questions below; 0 when nothing is known of the user. */
uint32_t ledger_find_user(const ledger_t *self, user_id_t user);
/* Whether a signal of this user for this item counts. in both from the look-ups above; 0 gives
 * false */
bool ledger_has_seen(const ledger_t *self, uint32_t user_row, uint32_t item_row);
/* Whether the user hid the item, or muted or blocked its creator. */
bool ledger_is_suppressed(const ledger_t *self, uint32_t user_row, const ledger_item_t *item);

/* -- totals ------------------------------------------------------------------------------------ */

typedef struct {
    uint64_t signals;      /* sum of the all-time counts of the cells without a cohort */
    uint64_t cells;        /* without a cohort; also those whose events are all void */
    uint64_t cohort_cells; /* the same, of all cohorts */
    uint64_t items;        /* put and not deleted */
    uint64_t item_rows;    /* of which anything is known */
    uint64_t users;        /* with attributes */
    uint64_t relations;    /* registers, set or not */
    uint64_t seen_pairs;   /* (user, item) */
    uint64_t memory_bytes; /* all tables, tails and registers */
} ledger_totals_t;

/* cost O(1) */
void ledger_totals(const ledger_t *self, ledger_totals_t *ret_totals);

/* -- digest ------------------------------------------------------------------------------------ */

typedef struct {
    uint8_t bytes[16];
} ledger_digest_t;

/* Digest of the state, defined in checkpoint_format.h.
 * cost nothing when nothing changed since the last call, else a hash per changed entry */
void ledger_digest(ledger_t *self, ledger_digest_t *ret_digest);
/* The same, computed from every entry anew: differs from ledger_digest only when memory went bad.
 */
void ledger_digest_full(const ledger_t *self, ledger_digest_t *ret_digest);

/* -- checkpoint -------------------------------------------------------------------------------- */

enum { LEDGER_KEY_PREFIX_SIZE_MAX = 256 };

/* Entries that the next ledger_checkpoint_write writes. */
uint64_t ledger_changed_count(const ledger_t *self);

/* Puts every entry that changed since the last durable checkpoint into the batch. Before the next
 * call ledger_checkpoint_settle must tell what became of the batch; changes go on meanwhile.
 * in   batch   borrowed
 * in   prefix  0..LEDGER_KEY_PREFIX_SIZE_MAX bytes, put before each key
 * cost 100..300 ns per cell, 50 ns per seen pair; no walk over what did not change, but for a 64th
 *      of the seen pairs now and then */
void ledger_checkpoint_write(ledger_t *self, store_batch_t *batch, slice_t prefix);
/* durable false: what the last batch held counts as changed again. */
void ledger_checkpoint_settle(ledger_t *self, bool durable);
/* The next checkpoint writes everything, for a store that has nothing of this ledger (a rebuilt
 * state, a lost store). Not while a checkpoint is open. cost an encoding per entry */
void ledger_mark_all(ledger_t *self);

/* One entry of a checkpoint, in key order, into a ledger that nothing else was done to yet.
 * (Entries of ledger_walk may come in any order.)
 * in   key  without the prefix
 * errs ERR_CORRUPT malformed, not canonical, or there already · ERR_UNSUPPORTED a later version, or
 *      a signal that the schema does not know. The ledger must be thrown away then
 * cost 150..300 ns for a cell of few events, 100 ns per seen pair */
err_t ledger_load_entry(ledger_t *self, slice_t key, slice_t value, errbuf_t *errbuf);

/* -- entries, for auditors --------------------------------------------------------------------- */

/* errs any but ERR_OK stops the walk and is returned */
typedef err_t (*ledger_entry_fn)(void *context, slice_t key, slice_t value);
/* Every entry, in no order that means anything. The slices live until callback returns. */
err_t ledger_walk(const ledger_t *self, ledger_entry_fn callback, void *context);
/* The value of one entry, appended. errs ERR_NOT_FOUND · ERR_INVALID not a key */
err_t ledger_get_entry(const ledger_t *self, slice_t key, buffer_t *ret_value);

enum { LEDGER_KEY_TEXT_SIZE = 160 };
/* A key for people: "cell item 7 signal 2 cohort locale:EU", "seen user 5 item 7". */
void ledger_key_text(slice_t key, char ret_text[LEDGER_KEY_TEXT_SIZE]);

/* One difference; a value is empty where the side has no such entry. The slices live until return.
 */
typedef void (*ledger_difference_fn)(void *context, slice_t key, slice_t value_a, slice_t value_b);
/* Every entry in which the two differ, in key order. out how many
 * cost a look-up and two encodings per entry; memory for the keys that differ */
uint64_t ledger_compare(const ledger_t *a,
                        const ledger_t *b,
                        ledger_difference_fn callback,
                        void *context);

#endif
