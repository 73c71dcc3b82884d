/* One (tenant, shard) on one node: its log, its state, and the cores that drive both.
 *
 * Life of a write     replica_write: while the last group is on its way it is gathered, as it came
 *                     (replica_gather.c), and is taken when the next group is due. Taken: leader or
 *                     island? known pair? admitted? -> batch appended in memory
 *                     replica_flush (end of turn): one sync -> applied -> leader core -> answers
 * Life of a replica   replica_available: the receiver announced -> applier core -> blocks read from
 *                     the file, verified, applied
 * Start               checkpoint entries are loaded, then replica_recover opens the own streams and
 *                     hands what lies above the checkpoint to the applier; it is ready when all
 *                     that the region's files held at the start is applied and, where it had no
 *                     log or held less of its own streams than others do, all that the other
 *                     regions told (replica_lost.c)
 * Promotion           a record that names this node: it is ready again when all is applied that the
 *                     region's files held when its receiver had stored that record
 *
 * Invariants
 *   1. nothing is applied, announced or acknowledged before its sync.
 *   2. state = checkpoint + everything applied since; `applied` names exactly that.
 *   3. each (stream, seq) is applied once: the applier gives only first == applied + 1.
 *   4. a pair (producer, seq) that was logged is never logged again here. */
#ifndef TIDAL_COMMON_ENGINE_REPLICA_H
#define TIDAL_COMMON_ENGINE_REPLICA_H

#include "common/base/hlc.h"
#include "common/base/store_batch.h"
#include "common/engine/base_file.h"
#include "common/engine/engine.h"
#include "common/engine/usage.h"
#include "common/replication/leader.h"
#include "common/signal/ledger.h"
#include "common/topology/table.h"
#include "common/wire/msg.h"

/* Streams that its gauge tells of at once. */
enum { REPLICA_LAG_ROW_COUNT_MAX = 64 };

typedef struct replica replica_t;

/* What replicas of one node share; borrowed. */
typedef struct {
    const engine_env_t *env;
    hlc_t *hlc;
} replica_node_t;

/* A newcomer without state. in tenant_name copied */
replica_t *replica_new(const replica_node_t *node, tenant_id_t tenant, const char *tenant_name);
void replica_close(replica_t **self_p);

tenant_id_t replica_tenant(const replica_t *self);

/* -- checkpoint -------------------------------------------------------------------------------- */

/* Of what the entries mean (replica_checkpoint.c): a store written with another one is not read. */
enum { REPLICA_CONTENT_VERSION = 4 };

/* One entry of the store, its key without the tenant's prefix; before replica_recover.
 * errs ERR_CORRUPT, ERR_UNSUPPORTED: what entry, what to do */
err_t replica_load_entry(replica_t *self, slice_t key, slice_t value, errbuf_t *errbuf);
/* Entries that the next checkpoint writes. */
uint64_t replica_changed_count(const replica_t *self);
/* Whether the next checkpoint replaces all that the store has of this replica: the caller deletes
 * every entry of it in the same batch, before what replica_checkpoint_write puts. */
bool replica_wants_whole(const replica_t *self);
void replica_checkpoint_write(replica_t *self, store_batch_t *batch);
/* What became of the last one. */
void replica_checkpoint_settle(replica_t *self, bool durable);

/* -- base and truncation (base_file.h) --------------------------------------------------------- */

/* Whether so much was logged since the last base that a new one is due. */
bool replica_wants_base(const replica_t *self);
/* Streams that the base names; 0: there is none. */
uint32_t replica_base_stream_count(const replica_t *self);
/* Whether its file was found damaged, or is gone. Then no base is made and nothing truncated, until
 * another region's takes its place. */
bool replica_base_is_lost(const replica_t *self);
/* Rises with every base that is put in place. */
uint64_t replica_base_number(const replica_t *self);
/* Looks at the head of the file. cost  one open and one read */
void replica_review_base(replica_t *self);
/* A new base is durable; copied. NULL: it failed, and is tried again after as much log. */
void replica_take_base(replica_t *self, const base_head_t *head);
/* Durability is lost: the turn ends the process, with this reason. */
void replica_fail(replica_t *self, err_t err, const errbuf_t *errbuf);
/* Up to where the files may be truncated: at or below it no place of a pair
 * is known in the base. */
uint32_t replica_floors(const replica_t *self, stream_position_t *ret_floors, uint32_t count_max);
/* Unlinks whole sealed segments of the own stream at or below its floor, as long as retain_bytes
 * are left. A failure is left for the next time. */
void replica_truncate(replica_t *self);

/* -- snapshots (snapshot_load.h) --------------------------------------------------------------- */

/* What the region's files hold of each stream; out room for count_max. errs ERR_AGAIN it is not
 * known yet · ERR_IO, ERR_TOO_LARGE of a folder */
err_t replica_log_ranges(const replica_t *self,
                         msg_log_range_t *ret_ranges,
                         uint32_t count_max,
                         uint32_t *ret_count,
                         errbuf_t *errbuf);
/* Whether the state stands still beside a snapshot that is to replace it. */
bool replica_is_joining(const replica_t *self);

/* -- start ------------------------------------------------------------------------------------- */

/* Opens the own streams (cuts torn tails, refuses damage) and tells the applier what there is.
 * errs ERR_CORRUPT damage in the own log: nothing was changed · ERR_IO · ERR_UNSUPPORTED */
err_t replica_recover(replica_t *self, now_t now, errbuf_t *errbuf);
/* The routing table as the node knows it now. */
void replica_take_table(replica_t *self, const table_t *table, now_t now);
/* Takes nothing in any more: it is not ready, and what gathers is refused. Returns whether nothing
 * waits for confirmations, so that it may be called again until then. */
bool replica_stop(replica_t *self);
/* Whether it answers reads and takes writes; the reason lives until the next call. */
bool replica_is_ready(replica_t *self, const char **ret_reason);

/* -- input ------------------------------------------------------------------------------------- */

/* in bytes  the encoded message, copied when it must wait for its token */
void replica_write(
    replica_t *self, uint64_t reply_to, const msg_write_t *write, slice_t bytes, now_t now);
void replica_read(
    replica_t *self, uint64_t reply_to, const msg_read_t *read, slice_t bytes, now_t now);
void replica_available(replica_t *self,
                       const msg_available_t *message,
                       const msg_available_entry_t *entry,
                       now_t now);
/* Another node's answer to a write that this one sent, or one of another tenant's. */
void replica_complete_answer(replica_t *self, const msg_write_reply_t *answer, now_t now);
/* A full list of the receiver ended: what was not in it does not exist in this region.
 * in message NULL: there is no receiver, for the tenant is placed in this region alone */
void replica_available_all(replica_t *self, const msg_available_t *message, now_t now);
void replica_confirmed(replica_t *self, const msg_confirmed_entry_t *entry, now_t now);
void replica_peer(replica_t *self, const msg_peer_t *peer, bool listed_all, now_t now);
/* How far the node's wall clock is too far ahead of its peers'; 0: it is not. While it is, nothing
 * is logged here (CLOCK_SKEW). */
void replica_clock_ahead(replica_t *self, uint32_t ahead_ms);
/* Positions up to which streams are stable, as this life of the control plane says; lower ones than
 * before change nothing. */
void replica_stable(replica_t *self,
                    uint64_t control_boot,
                    const stream_position_t *stable,
                    uint32_t count);

/* -- work -------------------------------------------------------------------------------------- */

/* Makes what was appended durable, applies it, and answers.
 * errs ERR_IO, ERR_DISK_FULL, ERR_CORRUPT: durability is lost; the caller logs and exits */
err_t replica_flush(replica_t *self, now_t now, errbuf_t *errbuf);
/* Applies a bounded piece of what is available; true when there is more. */
bool replica_apply_some(replica_t *self, now_t now);
/* Handles the writes that gathered, once their group is due; before replica_flush. in codec for the
 * waiting bytes */
void replica_review_gathered(replica_t *self, msg_codec_t *codec, now_t now);
/* Answers what waited for a token and is reached or overdue. in codec for the waiting bytes */
void replica_review_parked(replica_t *self, msg_codec_t *codec, now_t now);
err_t replica_tick(replica_t *self, now_t now, errbuf_t *errbuf);
int64_t replica_deadline_ns(const replica_t *self);

/* -- output ------------------------------------------------------------------------------------ */

/* Own streams and how far they are durable; out room for count_max. */
uint32_t replica_own_positions(const replica_t *self,
                               stream_position_t *ret_positions,
                               uint32_t count_max);
/* Whether they moved since the last call of replica_positions_taken. */
bool replica_positions_changed(const replica_t *self);
void replica_positions_taken(replica_t *self);
/* The applied vector in the order of stream_id_compare; lives until the next apply. */
const stream_position_t *replica_applied(const replica_t *self, uint32_t *ret_count);
/* Of all that is applied; lives until the next apply. */
const usage_t *replica_usage(const replica_t *self);
/* Events of the own stream that a follower region has not confirmed; 0 when this node does not
 * lead. */
uint64_t replica_follower_lag(const replica_t *self, region_id_t region);
/* Regions that hold this tenant and shard, but for the own one. */
region_set_t replica_others(const replica_t *self);
/* Whether nothing is logged that the state does not have: a pair is seen when it is logged, and the
 * vector names it when it is applied, so only then do vector and digest belong together. */
bool replica_is_settled(const replica_t *self);
/* Of a settled replica (else of none that there is). */
void replica_digest(replica_t *self, uint8_t ret_digest[MSG_HASH_SIZE]);
/* How far each stream of this (tenant, shard) is behind, as lag_rows (lag.h).
 * out ret_rows  room for row_count_max; returns how many were written */
uint32_t replica_lag_rows(const replica_t *self,
                          now_t now,
                          msg_lag_row_t *ret_rows,
                          uint32_t row_count_max);
/* For tests and offline comparison; borrowed. */
ledger_t *replica_ledger(replica_t *self);

typedef struct {
    uint64_t writes;     /* requests logged */
    uint64_t events;     /* of them */
    uint64_t duplicates; /* answered from the log */
    uint64_t refused;    /* requests refused, for whatever reason */
    uint64_t flushes;
    uint64_t applied_events; /* of other nodes' streams, and replayed */
    uint64_t reissued;       /* requests that were logged anew so that their answer stays */
    uint64_t voided;         /* second copies of a request that were taken back */
    uint64_t parked;         /* wait for a token now */
    uint64_t alerts;         /* of the applier */
    uint64_t
        confirmed_future; /* confirmations of events that this node never logged: not believed */
    uint64_t new_incarnations;
    uint64_t bases;
    uint64_t lost_bases;         /* now: does not verify, or is gone; another region's is wanted */
    uint64_t truncated_segments; /* of the own stream */
    uint64_t truncate_failed;    /* attempts of it, which are repeated */
    uint64_t sessions;           /* known now */
    uint64_t open_sessions;      /* now */
    uint64_t session_signals;    /* kept now */
    uint64_t session_repeated;   /* not kept: their number had come before */
    uint64_t session_refused;    /* writes of sessions that the book did not admit */
    uint64_t session_idle;       /* closed by this leader for their age */
    uint64_t pair_producers;     /* whose requests are remembered, now */
    uint64_t pair_intervals;     /* of their numbers, now */
    uint64_t pair_positions;     /* of requests that are not stable, now */
    uint64_t pair_memory_bytes;  /* of all that, now */
    uint64_t home_pending;       /* writes for all shards not known to be held by all, now */
    uint64_t home_sent;          /* of them sent to other shards, counted for each */
    uint64_t home_held;          /* logged as held by all */
    uint32_t waiting;            /* writes that wait for confirmations */
} replica_counters_t;
replica_counters_t replica_counters(const replica_t *self);

#endif
