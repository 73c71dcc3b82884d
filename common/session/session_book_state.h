/* What the sources of the book of sessions share; for nobody else. */
#ifndef TIDAL_COMMON_SESSION_SESSION_BOOK_STATE_H
#define TIDAL_COMMON_SESSION_SESSION_BOOK_STATE_H

#include "common/base/check.h"
#include "common/session/session_book.h"
#include "common/session/session_format.h"
#include "common/session/session_tracker.h"
#include "common/signal/decay.h"
#include "common/signal/index.h"
#include "common/signal/rows.h"

/* One stream that has signals of the session. */
typedef struct {
    session_tracker_t tracker;
    uint16_t stream; /* number in the book */
} session_origin_t;

typedef struct {
    session_id_t id;
    bool is_started;
    bool is_closed;
    bool is_auto;
    bool is_digest_changed;     /* is in digest_changed */
    bool is_checkpoint_changed; /* is in checkpoint_changed */
    bool is_closing;            /* a close is logged and not applied; is in logged */
    uint16_t agent_size;
    uint16_t meta_size;
    uint32_t logged_count; /* signals that are logged and not applied; not 0: is in logged */
    uint32_t open_place;   /* in open, from 1; 0: not open */
    hlc_stamp_t started;
    hlc_stamp_t closed;
    uint8_t *texts;            /* agent, then meta; owned, NULL before the start */
    session_origin_t *origins; /* owned, in the order of stream_id_compare */
    session_signal_t *signals; /* owned, in the order of (HLC, stream, session seq) */
    uint32_t origin_count;
    uint32_t signal_count;
    uint32_t signal_capacity;
    uint128_t hash; /* what it adds to the digest; 0 at first */
} session_row_t;

struct session_book {
    tenant_id_t tenant;
    shard_id_t shard;
    rows_t rows; /* session_row_t */
    index_t index;
    buffer_t streams; /* stream_id_t, in the order in which they were first met */
    buffer_t open;    /* uint32_t rows */
    buffer_t logged;  /* uint32_t rows with something logged and not applied */
    buffer_t digest_changed;
    buffer_t checkpoint_changed;
    buffer_t checkpoint_pending;
    bool is_checkpoint_open;
    uint64_t signal_count;
    uint64_t repeated_count;
    uint64_t memory_bytes; /* of what rows own */
    uint128_t digest;
    buffer_t scratch;
};

static inline session_row_t *session_row_at(const session_book_t *self, uint32_t row)
{
    return rows_at(&self->rows, row);
}

/* Lists of row numbers. */
static inline void session_list_add(buffer_t *list, uint32_t row)
{
    buffer_append(list, &row, sizeof(row));
}

static inline uint32_t session_list_at(const buffer_t *list, size_t i)
{
    uint32_t row;
    memcpy(&row, list->data + i * sizeof(row), sizeof(row));
    return row;
}

/* -- session_book.c ---------------------------------------------------------------------------- */

session_row_t *session_require_row(session_book_t *self, const session_id_t *id, uint32_t *ret_row);
/* Number of a stream; false when nothing came from it. */
bool session_find_stream(const session_book_t *self, stream_id_t stream, uint16_t *ret_number);
/* NULL: no signal of the session came from the stream. */
const session_origin_t *session_find_origin(const session_row_t *row, uint16_t stream);
/* Number of a stream; made when missing. */
uint16_t session_require_stream(session_book_t *self, stream_id_t stream);
session_origin_t *session_require_origin(session_book_t *self, session_row_t *row, uint16_t stream);
/* Puts a signal into its place. */
void session_insert_signal(session_book_t *self,
                           session_row_t *row,
                           const session_signal_t *signal);
/* <0, 0, >0 by (HLC, stream, session seq). */
int session_signal_compare(const session_book_t *self,
                           const session_signal_t *a,
                           const session_signal_t *b);
void session_set_texts(session_book_t *self, session_row_t *row, slice_t agent, slice_t meta);
/* Puts it among the open ones, or takes it from them, as its state says. */
void session_review_open(session_book_t *self, uint32_t row);

#endif
