/* The sessions of one (tenant, shard): what their logged records come to.
 *
 * A session is started, gets signals and is closed, each by a record (common/wal/record.h). Agents
 * roam: records of one session may stand in the streams of several regions and arrive in any order,
 * signals before their start or after their close. What is kept is a function of the set of records
 * applied (design ideas 1 and 3): the same set gives the same digest, the same checkpoint entries
 * and the same answers, bit for bit.
 *
 *   start    of several the one with the lowest stamp; equal stamps: the lower (agent, meta)
 *   close    of several the one with the lowest stamp; equal stamps: the one that a client asked
 *            for
 *   signals  all that count, in the order of (HLC, stream, session seq)
 *   seqs     per origin a tracker (session_tracker.h): a signal whose session seq has come before
 *            from the same stream is not taken. So what is logged once counts once, even if it is
 *            handed in twice
 *
 *   unknown ----> known by signals or a close ----> open ----> closed
 *        \-----------------------------------------^  start     ^ close
 *   Records only add: nothing goes back, and a session is never forgotten.
 *
 * A second copy of a request is void (design idea 5): its session seq counts as come, its signal is
 * not kept, whether it was void on arrival or is taken back later. Starts and closes are never
 * void: of two copies the lower stamp stays, also where the other copy counts for answers, being of
 * the higher epoch (dedup.h). A reissue (common/engine/replica_reissue.c) is the copy that it
 * names: its signal stands in that one's stream, under that one's event number and session seq,
 * which is what the record that it repeats says. It counts when it is applied, whether or not that
 * copy has come, and is there once, whichever of the two counts.
 *
 * Memory, for ever: 300 bytes per session with one origin, 72 per further origin, 64 per signal
 * (with up to as many again in reserve), agent and meta. One thread. Out of memory is a CHECK. */
#ifndef TIDAL_COMMON_SESSION_SESSION_BOOK_H
#define TIDAL_COMMON_SESSION_SESSION_BOOK_H

#include "common/base/seam.h"
#include "common/base/store_batch.h"
#include "common/wal/record.h"
#include "common/wal/wal_format.h"

typedef struct session_book session_book_t;

session_book_t *session_book_new(tenant_id_t tenant, shard_id_t shard);
/* Nulls; NULL is allowed. */
void session_book_destroy(session_book_t **self_p);

/* -- records ----------------------------------------------------------------------------------- */

/* What becomes of a session's signal: it counts, or a second copy of its request makes it void. */
typedef enum { SESSION_COUNTED = 0, SESSION_VOID = 1 } session_standing_t;

/* All records of sessions in a batch; others are passed over.
 * in batch  of the tenant and shard, those of one stream in their order. Of it stream, first_seq,
 *           reissue and payload are looked at
 * errs ERR_CORRUPT, ERR_UNSUPPORTED a malformed record. Nothing was applied then */
err_t session_book_apply(session_book_t *self,
                         const wal_batch_t *batch,
                         session_standing_t standing,
                         errbuf_t *errbuf);
/* Takes the signals of a batch that was applied as SESSION_COUNTED back, as if it had been
 * SESSION_VOID. Not where the copy that counts instead has the same name. errs as above */
err_t session_book_void(session_book_t *self, const wal_batch_t *batch, errbuf_t *errbuf);

/* -- asking ------------------------------------------------------------------------------------ */

/* One signal of a session. */
typedef struct {
    hlc_stamp_t hlc;
    item_id_t item;
    int64_t ts_ns;
    double weight;
    uint64_t event_seq;   /* in its stream */
    uint32_t session_seq; /* which signal of the session in its stream, from 1 */
    uint16_t stream;      /* session_book_stream */
    uint8_t signal;       /* id of the schema when it was logged */
} session_signal_t;

/* Borrowed until the next change of the book. */
typedef struct {
    const session_id_t *id;
    bool is_started; /* its start has come; else it is not known to clients */
    bool is_closed;
    bool is_auto; /* closed for its age */
    hlc_stamp_t started;
    hlc_stamp_t closed;
    slice_t agent;
    slice_t meta;
    uint32_t signal_count;
    const session_signal_t *signals;
    int64_t active_ns;    /* wall time of the start or the last signal, whichever is later */
    uint64_t duration_ms; /* from the start to the close, or as far as it is active */
} session_view_t;

/* Number of a session, the same for the life of the book; 0 when nothing is known of it. */
uint32_t session_book_find(const session_book_t *self, const session_id_t *id);
/* in row  from session_book_find */
void session_book_view(const session_book_t *self, uint32_t row, session_view_t *ret_view);
/* The stream that a signal came from. */
stream_id_t session_book_stream(const session_book_t *self, uint16_t stream);
/* Session seq of the signal that is this event; 0 when there is none, or it is void. */
uint32_t session_book_seq_of(const session_book_t *self,
                             uint32_t row,
                             stream_id_t stream,
                             uint64_t event_seq);

/* Sessions that are started and not closed, in no order that means anything; i < count. */
uint32_t session_book_open_count(const session_book_t *self);
uint32_t session_book_open_at(const session_book_t *self, uint32_t i);

typedef struct {
    uint64_t sessions;
    uint64_t open;
    uint64_t signals;
    uint64_t repeated; /* signals not taken: their session seq had come before. Since the start */
    uint64_t memory_bytes;
} session_totals_t;
/* cost O(1) */
void session_book_totals(const session_book_t *self, session_totals_t *ret_totals);

/* -- for the leader ---------------------------------------------------------------------------- */

/* Whether a session's record may be logged now, in view of what the book holds and of what was
 * logged since the last session_book_settle_logged.
 * in   stream  the one that it would be logged in
 * out  ret_row  the session; 0 when it is not known yet (a start)
 * out  ret_session_seq  of a signal: the number that it gets; else 0
 * errs ERR_NOT_FOUND no such session was started · ERR_CONFLICT a signal for a closed session
 *      ERR_TOO_LARGE it has SESSION_SIGNAL_COUNT_MAX signals · ERR_FULL too many open sessions */
err_t session_book_admit(const session_book_t *self,
                         stream_id_t stream,
                         const record_t *record,
                         uint32_t *ret_row,
                         uint32_t *ret_session_seq,
                         errbuf_t *errbuf);
/* It was logged, and will be applied. in row  as session_book_admit gave it */
void session_book_note_logged(session_book_t *self, uint32_t row, record_type_t type);
/* Everything that was logged has been applied. */
void session_book_settle_logged(session_book_t *self);
/* Whether something of the session is logged and not applied yet. */
bool session_book_has_logged(const session_book_t *self, uint32_t row);

/* -- digest and checkpoint, byte by byte in session_format.h ----------------------------------- */

typedef struct {
    uint8_t bytes[16];
} session_digest_t;

/* cost nothing when nothing changed since the last call, else a hash per changed session */
void session_book_digest(session_book_t *self, session_digest_t *ret_digest);
/* The same, computed anew. */
void session_book_digest_full(const session_book_t *self, session_digest_t *ret_digest);
/* Adds a digest to a sum of 128 bits, low 64 bits first: that of no sessions changes nothing. */
void session_digest_add(uint8_t sum[16], const session_digest_t *digest);

enum { SESSION_KEY_PREFIX_SIZE_MAX = 256 };

/* Entries that the next session_book_checkpoint_write writes. */
uint64_t session_book_changed_count(const session_book_t *self);
/* Puts every session that changed since the last durable checkpoint into the batch. Before the next
 * call session_book_checkpoint_settle must tell what became of it; changes go on meanwhile. */
void session_book_checkpoint_write(session_book_t *self, store_batch_t *batch, slice_t prefix);
/* is_durable false: what the last batch held counts as changed again. */
void session_book_checkpoint_settle(session_book_t *self, bool is_durable);
/* The next checkpoint writes every session, for a store that has nothing of this book. Not while a
 * checkpoint is open. */
void session_book_mark_all(session_book_t *self);
/* One entry of a checkpoint into a book that nothing else was done to yet.
 * in   key  without the prefix
 * errs ERR_CORRUPT malformed, not canonical, or there already · ERR_UNSUPPORTED a later version.
 *      The book must be thrown away then */
err_t session_book_load_entry(session_book_t *self, slice_t key, slice_t value, errbuf_t *errbuf);

/* One session in which two books differ; a value is empty where the side does not know it. */
typedef void (*session_difference_fn)(void *context, slice_t key, slice_t value_a, slice_t value_b);
/* out how many */
uint64_t session_book_compare(const session_book_t *a,
                              const session_book_t *b,
                              session_difference_fn callback,
                              void *context);

#endif
