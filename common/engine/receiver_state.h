/* Inside of a receiver engine; for the receiver_*.c files alone. */
#ifndef TIDAL_COMMON_ENGINE_RECEIVER_STATE_H
#define TIDAL_COMMON_ENGINE_RECEIVER_STATE_H

#include "common/engine/receiver_engine.h"
#include "common/engine/table_keeper.h"
#include "common/wal/wal_replica.h"

enum { RECEIVER_FILES_PERIODS = 2 }; /* ticks between two looks at the files */

/* A replica's file, by the stream's place in the core's rows. */
typedef struct {
    stream_id_t stream;
    char tenant_name[NAME_LENGTH_MAX + 1];
    wal_replica_t *file; /* NULL until the first block of a new stream */
    bool is_handed;      /* of a node of this region, which has given it up: the mark is there */
} receiver_replica_t;

/* The shipper of another region, as long as it is connected. */
typedef struct {
    bool is_known; /* has said hello in this boot, and fits */
    uint64_t boot;
    bool has_reply;
    uint64_t reply_to;
    int64_t heads_ns; /* when its heads came last; -1 never */
} receiver_peer_t;

struct receiver_engine {
    engine_env_t env;
    char region_folder[WAL_PATH_SIZE_MAX];
    receiver_t *core;
    table_keeper_t *tables;
    msg_codec_t *codec;
    buffer_t out;
    uint32_t matched_count; /* rows of the core that are known to have their replica */
    uint32_t replica_count;
    uint32_t replica_capacity;
    receiver_replica_t *replicas;
    receiver_peer_t peers[REGION_COUNT_MAX + 1];
    uint64_t publish_seq;
    uint64_t tick_count;
    uint64_t malformed_count;  /* messages that did not decode, or came from nobody we know */
    uint64_t mismatched_count; /* hellos of another protocol or topology */
    uint64_t set_aside_at_open_count; /* segments; the core counts what nodes found later */
    uint64_t truncated_count;         /* segments */
    uint64_t truncate_failed_count;
    uint64_t joined_count; /* streams that begin at the join of a base */
    uint64_t received_bytes;
    uint64_t flush_count;
    err_t fatal; /* not ERR_OK: the process must end */
    errbuf_t fatal_text;
};

/* Fills in how the event's stream stands: whether the table places its tenant here, at its origin
 * and at the peer, any of which may send it, and whether it is one that a node here writes.
 * out ret_tenant the tenant, when it is known */
void receiver_engine_judge(receiver_engine_t *self,
                           receiver_event_t *event,
                           const table_tenant_t **ret_tenant);
void receiver_engine_step(receiver_engine_t *self,
                          receiver_event_t event,
                          receiver_effects_t *effects);

/* -- receiver_files.c: the replicas' files ----------------------------------------------------- */

/* NULL when there is none; lives until the next one is added. */
receiver_replica_t *receiver_files_find(receiver_engine_t *self, stream_id_t stream);
receiver_replica_t *receiver_files_add(receiver_engine_t *self,
                                       stream_id_t stream,
                                       slice_t tenant_name);
/* Opens all that lie on the disk.
 * errs ERR_UNSUPPORTED a file of a later version; nothing of it was changed · ERR_CORRUPT, ERR_IO a
 *      base or a file cannot be read · ERR_DISK_FULL · ERR_TOO_LARGE a path. The text says which
 *      shard, what, and what to do */
err_t receiver_files_recover(receiver_engine_t *self, errbuf_t *errbuf);
/* Offers the blocks; flushes once in between when the replica asks for it. errs of
 * wal_replica_open, wal_replica_offer, wal_replica_flush */
err_t receiver_files_offer(receiver_engine_t *self,
                           receiver_replica_t *replica,
                           slice_t blocks,
                           now_t now,
                           errbuf_t *errbuf);
/* How far the core knows the stream as durable; 0: not at all. */
uint64_t receiver_files_known_durable(const receiver_engine_t *self, stream_id_t stream);
/* Syncs every file that grew, and tells the core. */
err_t receiver_files_flush(receiver_engine_t *self, now_t now, errbuf_t *errbuf);
/* Misses files that were removed, and takes the mark off those that are whole again. */
void receiver_files_review(receiver_engine_t *self, now_t now);
void receiver_files_lost(receiver_engine_t *self, const msg_lost_t *lost, now_t now);
/* Unlinks old segments of one stream, as far as the base on the disk and retain_bytes allow; one
 * that ends below the floor, or of which nothing is held, begins at the base's join. The floor is a
 * hint. What cannot be unlinked is tried again: the node repeats itself. */
void receiver_files_floor(receiver_engine_t *self, const stream_position_t *floor, now_t now);
void receiver_files_damaged(receiver_engine_t *self, const msg_damaged_t *damaged, now_t now);

/* -- receiver_answers.c: what it tells --------------------------------------------------------- */

void receiver_answers_reply(receiver_engine_t *self, receiver_peer_t *peer, const msg_t *msg);
/* The region whose leader counts positions of this stream; 0 nobody, or this region. */
region_id_t receiver_answers_other_leader(const receiver_engine_t *self, stream_id_t stream);
/* A new table is stored. A new leader waits for this: its node for the epoch, other regions'
 * leaders for confirmations under it. */
void receiver_answers_tell_table(receiver_engine_t *self, now_t now);
void receiver_answers_carry_out(receiver_engine_t *self,
                                const receiver_effects_t *effects,
                                now_t now);

#endif
