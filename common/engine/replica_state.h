/* Inside of a replica; for the replica_*.c files alone. */
#ifndef TIDAL_COMMON_ENGINE_REPLICA_STATE_H
#define TIDAL_COMMON_ENGINE_REPLICA_STATE_H

#include "common/base/prng.h"
#include "common/crdt/version_vector.h"
#include "common/engine/base_file.h"
#include "common/engine/replica.h"
#include "common/engine/usage.h"
#include "common/query/retrieve.h"
#include "common/replication/applier.h"
#include "common/replication/completer.h"
#include "common/replication/group_pace.h"
#include "common/replication/lag.h"
#include "common/session/dedup.h"
#include "common/session/forget_gate.h"
#include "common/session/home_book.h"
#include "common/session/session_book.h"
#include "common/wal/wal_log.h"
#include "common/wal/wal_reader.h"
#include "common/wire/token.h"

enum {
    REPLICA_TICKET_COUNT_MAX = LEADER_PENDING_COUNT_MAX,
    REPLICA_PARKED_COUNT_MAX = 1024,
    REPLICA_PARKED_SIZE_MAX = 16 * 1024 * 1024
};

/* A write that the leader core answers for. */
typedef struct {
    bool is_used;
    uint64_t reply_to;
    uint64_t request_id;
    stream_id_t stream;
    uint64_t first_seq;
    uint64_t last_seq;
    hlc_stamp_t hlc;
    uint32_t session_row; /* of the book, when a session was written; else 0 */
    ack_level_t level;
    uint64_t epoch; /* of the record when it began to wait */
    stream_position_t
        named; /* stream and first seq for the answer; that of the copy but for a reissue */
    bool duplicate;
    bool has_pair; /* so that it may be repeated elsewhere */
    bool is_moved; /* its copy lost: stream to hlc are those of the copy that counts */
} replica_ticket_t;

/* A stream whose events are in the state, or will be. */
typedef struct {
    stream_id_t stream;
    wal_reader_t *reader; /* NULL: none open */
    wal_hash_t last_hash; /* of the last batch applied; zero: none since the start */
    uint64_t told_seqs[REGION_COUNT_MAX + 1]; /* how far other regions hold it that had events which
                                                 this node lacked */
    uint64_t head_seq;      /* while asking: its origin, which is heard, has so many */
    uint64_t listed_seq;    /* of the receiver's file, as it told last */
    uint64_t setback_count; /* times that this went back within one boot of the receiver */
    bool is_own;            /* written by this node, now or before; not when it was given up */
    bool is_damaged;        /* the receiver's file, while this node was not ready yet */
    bool has_folder;        /* an own one, found at the start or begun since */
} replica_stream_t;

/* A write that waits for its group, its bytes at offset of those of all. */
typedef struct {
    uint64_t reply_to;
    int64_t deadline_ns;
    size_t offset;
    size_t size;
} replica_gathered_write_t;

enum { REPLICA_GATHERED_COUNT_MAX = 4096, REPLICA_GATHERED_SIZE_MAX = 16 * 1024 * 1024 };

typedef struct {
    uint32_t count;
    replica_gathered_write_t *list; /* room for REPLICA_GATHERED_COUNT_MAX, or NULL; owned */
    buffer_t bytes;
} replica_gathered_t;

/* A request that waits until its token is reached. */
typedef struct {
    uint64_t reply_to;
    int64_t deadline_ns;
    uint8_t *bytes; /* owned */
    size_t size;
} replica_parked_t;

/* Between a base and the files that belong to it. A pair whose place the base keeps may have to be
 * voided, which reads its batch; so nothing is applied above a base before the region's files hold
 * what lies between its joins and its positions (replica_snapshot.c). */
typedef enum {
    REPLICA_FILES_FIT,
    REPLICA_FILES_AWAITED, /* the state began with the base */
    /* The state is older than the base, serves on, and stands still; that of the base waits beside
     * it (snapshot_load.h). */
    REPLICA_FILES_JOINING,
    /* The checkpoint does not reach the base, and the base does not verify: nothing is applied and
     * nothing served before another region's is here. */
    REPLICA_FILES_BASELESS
} replica_files_t;

struct replica {
    const engine_env_t *env;
    hlc_t *hlc; /* of the node */
    uint32_t clock_ahead_ms;
    tenant_id_t tenant;
    char tenant_name[NAME_LENGTH_MAX + 1];
    shard_id_t shard;
    region_set_t placed;
    prng_t prng;            /* incarnations */
    uint64_t known_signals; /* bit of each signal id that the schema has */

    ledger_t *ledger;
    dedup_t *dedup;
    session_book_t *sessions;
    home_book_t *home;
    leader_t *leader;
    applier_t *applier;
    lag_t *lag;

    wal_log_t *log; /* the stream that is written; NULL before the first record names us leader */
    uint32_t stream_count;
    uint32_t stream_capacity;
    uint32_t read_count;     /* asked for by the applier, not carried out yet */
    uint32_t session_cursor; /* of the review of sessions, among the open ones */
    replica_stream_t *streams;
    applier_effect_t reads[APPLIER_READING_COUNT_MAX];
    forget_gate_t forget_gate;
    version_vector_t forgotten; /* where copies of pairs lie at or below this is not needed here */
    version_vector_t applied;
    usage_t usage; /* of what is applied */

    replica_files_t files;
    base_head_t base;          /* zeroed: none */
    uint64_t base_number;      /* rises with each that is put in place in this life */
    uint64_t bytes_since_base; /* of log that was applied */

    /* A folder without a log may be a new one, or one that was lost: the other regions know. */
    uint64_t led_epoch;    /* the latest whose record named this node; 0 none yet */
    uint64_t mark_version; /* the receiver must have stored a table as new as this for that mark */
    int64_t asking_ends_ns;
    int64_t next_lost_ns; /* when the receiver is told again of what was given up */
    char lost_reason[384];
    region_set_t asked;       /* regions that have told all their positions since the start */
    region_set_t heads_asked; /* and all that they originate */
    bool base_is_lost;        /* its file does not verify, or is gone: another region's is wanted */
    bool has_asked_others;
    bool has_goals;  /* some stream has a goal that was not seen to be reached */
    bool log_is_new; /* drawn in this life and still empty */
    bool is_recovered;
    bool is_stopping;
    bool is_marked; /* the mark for the epoch that this node leads was set: see take_table */
    bool was_ready; /* in this life */
    bool has_heard_receiver; /* its full list, or there is none to hear */
    bool positions_changed;
    bool wants_incarnation; /* the leader core asked for a new one */
    bool vector_changed;    /* since the last checkpoint */
    bool wants_whole;       /* what the store has is of another state: see replica_wants_whole */
    bool whole_is_open;     /* the checkpoint under way replaces it */
    bool applied_changed;   /* since the parked were looked at */

    uint32_t ticket_count; /* there is room for; grows, for most replicas never lead */
    uint32_t free_ticket_count;
    replica_ticket_t *tickets;
    uint32_t *free_tickets;
    uint32_t parked_count;
    group_pace_t pace;
    replica_gathered_t gathered;
    size_t parked_bytes;
    replica_parked_t parked[REPLICA_PARKED_COUNT_MAX];

    int64_t next_session_review_ns;
    buffer_t session_payload;
    buffer_t reissued; /* of the group that is not durable yet: replica_reissue.c */

    completer_t *completer;
    bool completer_is_new; /* nothing was done with it since its reset */
    region_id_t
        shard_leaders[SHARD_COUNT_MAX]; /* of the tenant's shards, by the table; 0 unknown */

    retrieve_t *retrieve;
    msg_lag_row_t lag_scratch[REPLICA_LAG_ROW_COUNT_MAX];
    buffer_t out;
    buffer_t scratch;
    cohort_builder_t *cohorts;
    buffer_t logged; /* a payload with cohorts, until the log has it */
    token_t token;
    uint64_t loaded_entries;
    err_t fatal; /* not ERR_OK: durability is lost */
    errbuf_t fatal_text;
    replica_counters_t counters;
};

/* -- replica.c: streams and positions ---------------------------------------------------------- */

replica_stream_t *replica_require_stream(replica_t *self, stream_id_t stream, bool is_own);
/* NULL: not known here. Lives until the next stream is added. */
const replica_stream_t *replica_find_stream(const replica_t *self, stream_id_t stream);
/* 0: nothing. */
uint64_t replica_applied_seq(const replica_t *self, stream_id_t stream);
/* Raises the stream's entry of the applied vector. */
void replica_set_applied(replica_t *self, stream_id_t stream, uint64_t seq);
/* The folder of a stream of this tenant and shard. */
err_t replica_stream_folder(const replica_t *self,
                            stream_id_t stream,
                            wal_path_t *ret_path,
                            errbuf_t *errbuf);
/* Begins a stream that nobody has seen. */
err_t replica_new_incarnation(replica_t *self, now_t now, errbuf_t *errbuf);

/* -- replica_apply.c: what was logged becomes state -------------------------------------------- */

/* Applies one durable batch to state, dedup, clocks and gauges. errs ERR_CORRUPT, ERR_UNSUPPORTED
 */
err_t replica_apply_batch(replica_t *self, const wal_batch_t *batch, errbuf_t *errbuf);
/* The stream's reader, standing before this event; NULL when its path is too long. */
wal_reader_t *replica_reader_at(replica_t *self, replica_stream_t *at, uint64_t from_seq);
/* The receiver is told that its file does not verify, so that it fetches the events again. */
void replica_tell_damage(replica_t *self, stream_id_t stream, uint64_t seq);
/* Whether the receiver can mend what reading a file gave: ERR_CORRUPT, or ERR_NOT_FOUND, of any
 * stream but those that this node writes itself. One of this node that was given up is the
 * receiver's. */
bool replica_is_mendable(const replica_stream_t *at, err_t err);
/* The batch of a copy, from the files of this region.
 * out *ret_reader  NULL before; the caller destroys it, also after an error. The batch borrows from
 *                  it
 * errs of a log file */
err_t replica_read_copy(replica_t *self,
                        const dedup_position_t *position,
                        wal_reader_t **ret_reader,
                        wal_batch_t *ret_batch,
                        errbuf_t *errbuf);
/* Steps the applier core; what it wants read is kept for replica_apply_some. */
void replica_applier_step(replica_t *self,
                          const applier_event_t *event,
                          applier_effects_t *effects);

/* -- replica_checkpoint.c: the state as a whole ------------------------------------------------ */

/* Gives each the other's state: all that replica_apply_batch changes and a checkpoint holds, but
 * for the vector, which the caller sees to. Neither has a checkpoint open. The next checkpoint of
 * self is whole. */
void replica_exchange_state(replica_t *self, replica_t *other);
/* Everything counts as changed: for a store, or a base, that has nothing of this state. */
void replica_mark_all(replica_t *self);

/* -- replica_base.c: a state beside a truncated log -------------------------------------------- */

/* Path of the tenant's base; errs as wal_files.h */
err_t replica_base_path(const replica_t *self, wal_path_t *ret_path, errbuf_t *errbuf);
/* Before the log is opened: what the base says, and its state where the checkpoint does not reach
 * it. errs ERR_CORRUPT, ERR_UNSUPPORTED, ERR_IO: what to do; nothing was changed on the disk */
err_t replica_open_base(replica_t *self, errbuf_t *errbuf);
/* Where a base of a state that has forgotten the places of the pairs up to `forgotten` lets the
 * stream's files begin: with one of the segments that are there. out ret_join  zero: with event 1
 * errs ERR_CORRUPT, ERR_IO of that segment's header */
err_t replica_find_join(const replica_t *self,
                        stream_position_t forgotten,
                        wal_base_t *ret_join,
                        errbuf_t *errbuf);
/* One piece of a base into a replica that nothing was done to yet. errs ERR_AGAIN there is more ·
 * ERR_CORRUPT it contradicts itself, its hash or its digest: the replica must be thrown away */
err_t replica_load_base_piece(replica_t *self, base_reader_t *reader, errbuf_t *errbuf);
/* Whether all that the base holds is applied. */
bool replica_covers_base(const replica_t *self, const base_head_t *head);
/* Keeps what the head of the base in place says. */
void replica_keep_base(replica_t *self, const base_head_t *head);
/* The file in place does not verify, or is gone. */
void replica_lose_base(replica_t *self);
/* The state covers the base, so it needs the places of pairs no more that the base has forgotten,
 * and the files that held them may go. */
void replica_forget_joins(replica_t *self);

/* -- replica_snapshot.c: a base that another region made --------------------------------------- */

/* Whether the region's files hold all that the base holds, as far as they are needed. */
bool replica_files_reach_base(const replica_t *self);
/* The base in place is another region's. Where it is ahead of the state in some stream, or the
 * state waited for its files, the state stands still from here on until replica_take_snapshot. */
void replica_join_base(replica_t *self, const base_head_t *head);
/* The state that was built from that base and covers this one's takes its place. They exchange
 * states; the next checkpoint is whole. */
void replica_take_snapshot(replica_t *self, replica_t *built, now_t now);
/* First event that the region's files of a stream hold; 0: there are none.
 * errs ERR_IO, ERR_TOO_LARGE */
err_t replica_first_logged(const replica_t *self,
                           stream_id_t stream,
                           uint64_t *ret_first_seq,
                           errbuf_t *errbuf);

/* -- replica_lost.c: what the other regions hold and this node does not ------------------------ */

/* Another region holds a stream up to seq. */
void replica_lost_told(
    replica_t *self, stream_id_t stream, region_id_t region, uint64_t seq, now_t now);
/* After recovery: own streams whose events are in the checkpoint and whose folders are gone. */
void replica_lost_missing_folders(replica_t *self, now_t now);
/* The head of another node's stream, as its region told the receiver. */
void replica_lost_head(replica_t *self, const msg_available_entry_t *entry);
/* That region's receiver has told all its positions. */
void replica_lost_peer_listed(replica_t *self, region_id_t region);
/* Whether the receiver hears that region's shipper, whose heads came before this. */
void replica_lost_peer_heads(replica_t *self, const msg_peer_t *peer);
void replica_lost_tick(replica_t *self, now_t now);
/* Whether something of it is not applied yet; the reason lives until the next call. */
bool replica_lost_lacks(replica_t *self, const char **ret_reason);

/* -- replica_write.c: writes, and what waits for a token --------------------------------------- */

/* Handles a write now. */
void replica_take_write(
    replica_t *self, uint64_t reply_to, const msg_write_t *write, slice_t bytes, now_t now);
/* Puts a batch into the group; a full group is made durable first, once. errs as wal_log_append;
 * ERR_IO also when durability is lost: the end of this turn ends the process */
err_t replica_append(replica_t *self, wal_batch_t *batch, now_t now, errbuf_t *errbuf);
/* Steps the leader core and carries its effects out. */
void replica_leader_step(replica_t *self, const leader_event_t *event);
/* Whether the state has reached the token; ret_bad when it is no token. */
bool replica_token_reached(replica_t *self, slice_t token, bool *ret_bad);
/* Keeps the request until its token is reached; false when there is no room. */
bool replica_park(replica_t *self, uint64_t reply_to, slice_t bytes, int64_t deadline_ns);

/* -- replica_gather.c: what waits for the next group ------------------------------------------- */

/* Whether the write waits for the next group and was taken for it, its bytes copied; or, where
 * there is no room for it, was refused, for writes stay in the order in which they came. */
bool replica_gather(
    replica_t *self, uint64_t reply_to, const msg_write_t *write, slice_t bytes, now_t now);
/* Tells the pace of groups when the last one has reached the in-sync set. */
void replica_note_confirmed(replica_t *self, now_t now);
/* When what has gathered is due; INT64_MAX nothing has. */
int64_t replica_gathered_deadline_ns(const replica_t *self);
void replica_gathered_done(replica_t *self);

/* -- replica_cohorts.c ------------------------------------------------------------------------- */

/* The payload as it is logged: each signal with the cohorts that its user is in now, in the state
 * that this replica has applied. A user of whom it knows nothing is in none.
 * out  ret_payload  the payload itself when nobody is in a cohort, else lives until the next call
 * errs ERR_TOO_LARGE */
err_t replica_add_cohorts(replica_t *self, slice_t payload, slice_t *ret_payload, errbuf_t *errbuf);

/* -- replica_tickets.c: who answers, with which copy ------------------------------------------- */

/* Whether REPLICA_TICKET_COUNT_MAX writes wait. */
bool replica_tickets_are_taken(const replica_t *self);
/* Its index; is_used is true. in not all are taken */
uint32_t replica_ticket_take(replica_t *self, const replica_ticket_t *ticket);
void replica_ticket_give_back(replica_t *self, uint32_t index);
/* A copy that was counted until now lost against another: who waits for it is told of that one.
 * cost the tickets in use */
void replica_tickets_move(replica_t *self,
                          const dedup_position_t *loser,
                          const dedup_position_t *winner);
/* Before the sessions are exchanged for that book: it numbers them by an order of its own. */
void replica_tickets_exchange_sessions(replica_t *self, const session_book_t *next);
/* What the core decided for a ticket, made what its client is told: code, durability and replicas
 * may change. Returns the message, which lives for ever. */
const char *replica_ticket_settle(const replica_t *self,
                                  const replica_ticket_t *ticket,
                                  leader_effect_t *effect);

/* -- replica_reissue.c: a copy that is logged anew --------------------------------------------- */

/* Whether a retry must not be answered with this copy of its request: replica_reissue.c. */
bool replica_reissue_is_due(const replica_t *self, const dedup_position_t *position, now_t now);
/* Logs the copy anew; when the group is durable and applied, the other one is voided.
 * out ret_position  the reissue. errs ERR_DISK_FULL, ERR_IO, ERR_CORRUPT, ERR_NOT_FOUND: nothing
 * happened */
err_t replica_reissue(replica_t *self,
                      const msg_write_t *write,
                      const dedup_position_t *position,
                      now_t now,
                      dedup_position_t *ret_position,
                      errbuf_t *errbuf);
/* Whether this batch, now durable, is a reissue of this turn. out ret_loser  to be voided */
bool replica_reissue_take(const replica_t *self,
                          const wal_batch_t *batch,
                          dedup_position_t *ret_loser);

/* -- replica_session.c ------------------------------------------------------------------------- */

/* A write of a session on its way into the log. */
typedef struct {
    uint32_t row; /* of the book; 0 none, or not known yet */
    record_type_t type;
} replica_session_t;

/* Whether a session's record, decoded before and alone in its payload, may be logged. A signal gets
 * its number, in a copy of the payload that lives until the next call. Any other payload passes as
 * it is. out ret_session  for replica_session_logged */
code_t replica_session_admit(replica_t *self,
                             slice_t *payload_p,
                             replica_session_t *ret_session,
                             errbuf_t *errbuf);
void replica_session_logged(replica_t *self, replica_session_t session);
/* Row of the session that a payload writes; 0: none, or not known. */
uint32_t replica_session_row(const replica_t *self, slice_t payload);
/* How the session stands for whoever wrote it as the event of this name; zero for row 0.
 * in name  seq 0: not known */
msg_session_summary_t replica_session_summary(const replica_t *self,
                                              uint32_t row,
                                              stream_position_t name);
void replica_session_read(replica_t *self, const msg_read_t *read, msg_t *msg);
/* A leader closes sessions that were idle for too long, by records (design idea 1). */
void replica_session_review(replica_t *self, now_t now);

/* -- replica_complete.c: writes for all shards ------------------------------------------------- */

completer_t *replica_complete_new(const replica_t *self);
/* The orders of the home book begin anew. */
void replica_complete_reset(replica_t *self);
/* Who leads the other shards. */
void replica_complete_table(replica_t *self, const table_t *table);
void replica_complete_tick(replica_t *self, now_t now);

/* -- answers (replica_write.c, replica_read.c) ------------------------------------------------- */

void replica_send_reply(replica_t *self, uint64_t reply_to, const msg_t *msg);
void replica_refuse_write(
    replica_t *self, uint64_t reply_to, uint64_t request_id, code_t code, const char *message);

#endif
