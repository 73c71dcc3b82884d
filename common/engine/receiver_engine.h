/* The life of a region's segment receiver below its sockets.
 *
 * It owns the files of replica streams: <data>/<region>/shard-<n>/tenants/<tenant>-<generation>/
 * <origin region>-<incarnation>/. At the start it recovers them all, so that what it announces is
 * durable. Then shippers of other regions send blocks; each turn ends with one sync per file that
 * grew, and only then positions are confirmed to shippers and announced to the nodes.
 *
 * A stream of this region's own nodes is theirs to write, until the node gives it up by the mark of
 * common/wal/wal_handover.h; from then on it is a replica like the others.
 *
 *   in    MSG_SHIP_HELLO, MSG_SHIP_HEADS, MSG_SHIP_BLOCKS from shippers; MSG_DAMAGED, MSG_LOST
 *         and MSG_LOG_FLOOR from the region's nodes; MSG_FETCH from its
 *         reconciler; MSG_TABLE published
 *   out   MSG_RECEIVER_STATUS and MSG_WHO_ARE_YOU as replies; MSG_AVAILABLE published
 *
 * Failure: damaged replica files are set aside at recovery and fetched again; files that were
 * removed under the running receiver are missed within a second, and fetched again; a failed write
 * or sync ends the process (turn_end returns the error); a full disk refuses blocks until there is
 * room. */
#ifndef TIDAL_COMMON_ENGINE_RECEIVER_ENGINE_H
#define TIDAL_COMMON_ENGINE_RECEIVER_ENGINE_H

#include "common/engine/engine.h"
#include "common/replication/receiver.h"
#include "common/wire/msg.h"

typedef struct receiver_engine receiver_engine_t;

/* Recovers all replica files.
 * errs ERR_IO, ERR_UNSUPPORTED, ERR_CORRUPT: what, where, what to do */
err_t receiver_engine_open(const engine_env_t *env,
                           receiver_engine_t **ret_engine,
                           errbuf_t *errbuf);
void receiver_engine_close(receiver_engine_t **self_p);

void receiver_engine_message(receiver_engine_t *self, uint64_t reply_to, slice_t bytes, now_t now);
void receiver_engine_published(receiver_engine_t *self, slice_t bytes, now_t now);
/* errs ERR_IO, ERR_DISK_FULL a replica could not be made durable: the caller logs and exits */
err_t receiver_engine_turn_end(receiver_engine_t *self, now_t now, errbuf_t *errbuf);
void receiver_engine_tick(receiver_engine_t *self, now_t now);
int64_t receiver_engine_deadline_ns(const receiver_engine_t *self);

/* False with the reason when it cannot do its work now. */
bool receiver_engine_is_ready(const receiver_engine_t *self, const char **ret_reason);
uint64_t receiver_engine_table_version(const receiver_engine_t *self);
/* What it holds of each stream, for tests; borrowed. */
const receiver_t *receiver_engine_core(const receiver_engine_t *self);

/* Metrics into a list of the caller; returns how many. Names live for ever. */
uint32_t receiver_engine_metrics(const receiver_engine_t *self,
                                 msg_metric_t *ret_metrics,
                                 uint32_t metric_count_max);

#endif
