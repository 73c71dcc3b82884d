/* The control plane below its sockets: keeper of the routing table and of the view of the mesh.
 *
 * The table (tenants, and per (tenant, shard) epoch, leader, in-sync set, version) is durable
 * before it is published: <data>/control/table, replaced whole by temporary name, sync, rename,
 * sync of the folder. It changes by decision.h alone: tenants are created, leaders promoted by an
 * operator's command. The in-sync set is every placed region.
 *
 *   in    MSG_HEARTBEAT published by every process; MSG_TABLE_REQUEST; topology, lag, status,
 *         create_tenant, promote
 *   out   MSG_TABLE published once per second and at once when a process shows an older version;
 *         with it, per stream, how far it is stable (stable_floor.h), and which
 *         nodes have a wall clock too far ahead to originate
 *
 * Without the control plane there are no new decisions, and data keeps flowing on the cached table
 * (design section 5). It needs nobody to start. */
#ifndef TIDAL_COMMON_CLUSTER_CONTROL_ENGINE_H
#define TIDAL_COMMON_CLUSTER_CONTROL_ENGINE_H

#include "common/cluster/mesh_view.h"
#include "common/engine/engine.h"
#include "common/wire/client_request.h"

typedef struct control_engine control_engine_t;

/* Loads the table, or makes and keeps the first one.
 * errs ERR_CORRUPT the kept table is damaged · ERR_CONFLICT it belongs to another topology ·
 *      ERR_IO, ERR_DISK_FULL; each says what to do, and nothing was changed */
err_t control_engine_open(const engine_env_t *env,
                          now_t now,
                          control_engine_t **ret_engine,
                          errbuf_t *errbuf);
void control_engine_close(control_engine_t **self_p);

/* A message of another process. */
void control_engine_message(control_engine_t *self, uint64_t reply_to, slice_t bytes, now_t now);
void control_engine_published(control_engine_t *self, slice_t bytes, now_t now);
/* Appends the whole reply to TOPOLOGY, LAG, STATUS, CREATE_TENANT or PROMOTE; false: some other op,
 * nothing was appended. Of the last two the reply says what is durable.
 * cost of a decision: one write, two syncs */
bool control_engine_client(control_engine_t *self,
                           const client_request_t *request,
                           buffer_t *out,
                           now_t now);
/* errs the table could not be made durable: the process must end */
err_t control_engine_turn_end(control_engine_t *self, now_t now, errbuf_t *errbuf);
void control_engine_tick(control_engine_t *self, now_t now);
int64_t control_engine_deadline_ns(const control_engine_t *self);

uint64_t control_engine_table_version(const control_engine_t *self);
/* What was last said to be stable, for tests; lives until the next call of any other function. */
const stream_position_t *control_engine_stable(const control_engine_t *self, uint32_t *ret_count);
uint32_t control_engine_metrics(const control_engine_t *self,
                                msg_metric_t *ret_metrics,
                                uint32_t metric_count_max);

#endif
