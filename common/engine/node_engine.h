/* The life of a shard node below its sockets: one shard in one region, for every tenant placed
 * there.
 *
 * It owns the files of its own streams and the checkpoint store; replica streams it only reads. One
 * replica_t per tenant does the work; the engine hands messages to them, ends each turn with their
 * syncs and answers, announces own positions, and writes checkpoints.
 *
 *   in    MSG_WRITE, MSG_READ from gateways; MSG_REBUILD, MSG_BASE_TASK from the reconciler; published:
 *         MSG_AVAILABLE (receiver), MSG_CONFIRMED (shipper), MSG_TABLE (control plane)
 *   out   MSG_WRITE_REPLY, MSG_READ_REPLY, MSG_REBUILD_REPLY, MSG_BASE_REPLY; MSG_LOG_POSITIONS published;
 *         MSG_DAMAGED, MSG_LOST and MSG_LOG_FLOOR to the receiver
 *
 * Start   cached table -> checkpoint -> own streams recovered -> replay -> ready
 * Stop    nothing to do: an unsealed tail is as good as a sealed segment
 * Failure a failed write or sync, or a logged record that cannot be applied, ends the process
 *         (turn_end and tick return it); damage in the own log is refused at the start */
#ifndef TIDAL_COMMON_ENGINE_NODE_ENGINE_H
#define TIDAL_COMMON_ENGINE_NODE_ENGINE_H

#include "common/engine/engine.h"
#include "common/engine/replica.h"
#include "common/wire/msg.h"

typedef struct node_engine node_engine_t;

/* in store  borrowed until close
 * errs ERR_CORRUPT, ERR_UNSUPPORTED, ERR_IO: what, where, what to do; nothing was deleted */
err_t node_engine_open(const engine_env_t *env,
                       const store_t *store,
                       now_t now,
                       node_engine_t **ret_engine,
                       errbuf_t *errbuf);
void node_engine_close(node_engine_t **self_p);

/* A request; or, with reply_to 0, another node's answer. */
void node_engine_message(node_engine_t *self, uint64_t reply_to, slice_t bytes, now_t now);
void node_engine_published(node_engine_t *self, slice_t bytes, now_t now);
/* errs the process must end */
err_t node_engine_turn_end(node_engine_t *self, now_t now, errbuf_t *errbuf);
err_t node_engine_tick(node_engine_t *self, now_t now, errbuf_t *errbuf);
int64_t node_engine_deadline_ns(const node_engine_t *self);

/* From now on nothing is taken in: requests are refused so that they are repeated elsewhere. Returns
 * whether all that was logged here is answered; asked again after each turn until then. */
bool node_engine_stop(node_engine_t *self);
bool node_engine_is_ready(const node_engine_t *self, const char **ret_reason);
uint64_t node_engine_table_version(const node_engine_t *self);
/* States of the tenants, for the heartbeat; live until the next call. Returns how many. The digest
 * is zero while the state is changing: it would cost a hash per change, and nobody could compare
 * it. */
uint32_t node_engine_states(node_engine_t *self, now_t now, const msg_node_state_t **ret_states);
/* As the other engines' metrics. */
uint32_t node_engine_metrics(const node_engine_t *self,
                             msg_metric_t *ret_metrics,
                             uint32_t metric_count_max);
/* NULL when the tenant is not here. */
replica_t *node_engine_replica(node_engine_t *self, tenant_id_t tenant);

#endif
