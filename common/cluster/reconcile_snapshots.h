/* The snapshots of a region's reconciler: those that it fetches for its nodes, one transfer at a time
 * for each (tenant, shard) (snapshot_fetch.h), and the pieces of its own region's bases that others ask
 * for. It reads and writes the files beside the logs, as the file is the hand-over inside a region:
 *
 *   .../tenants/<tenant>-<generation>/state.base           read, never written
 *                                     state.base.fetching  written, a piece after the other
 *                                     state.base.fetched   renamed when it is whole and durable; then
 *                                                          the node's to take away, verify and adopt
 *
 * A life of the reconciler begins without either: the first run that looks at a row removes what an
 * earlier one left.
 *
 * A piece is read from one open of the file, with its size and hash: whatever base is there, it is one.
 * Memory: one piece of each transfer, while it is written. */
#ifndef TIDAL_COMMON_CLUSTER_RECONCILE_SNAPSHOTS_H
#define TIDAL_COMMON_CLUSTER_RECONCILE_SNAPSHOTS_H

#include "common/cluster/reconcile.h"
#include "common/cluster/snapshot_fetch.h"
#include "common/engine/engine.h"
#include "common/topology/table.h"

typedef struct reconcile_snapshots reconcile_snapshots_t;

/* in env borrowed; wait_ns for an answer */
reconcile_snapshots_t *reconcile_snapshots_new(const engine_env_t *env, int64_t wait_ns);
void reconcile_snapshots_destroy(reconcile_snapshots_t **self_p);

/* A run has ended, for one own row that was looked at.
 * in peers  rows of the same tenant and shard, as heard in this run */
void reconcile_snapshots_run(reconcile_snapshots_t *self,
                             const table_t *table,
                             const msg_reconcile_row_t *own,
                             const msg_reconcile_row_t *const *peers,
                             uint32_t peer_count,
                             now_t now);
/* A piece is wanted; answered at once. False when whoever asks may not have it: nothing happens. */
bool reconcile_snapshots_serve(reconcile_snapshots_t *self,
                               const table_t *table,
                               uint64_t reply_to,
                               const msg_snapshot_ask_t *ask);
void reconcile_snapshots_piece(reconcile_snapshots_t *self,
                               const msg_snapshot_piece_t *piece,
                               now_t now);
void reconcile_snapshots_taken(reconcile_snapshots_t *self,
                               const msg_base_reply_t *reply,
                               now_t now);
void reconcile_snapshots_tick(reconcile_snapshots_t *self, now_t now);
int64_t reconcile_snapshots_deadline_ns(const reconcile_snapshots_t *self);

typedef struct {
    snapshot_counters_t fetch; /* sums */
    uint32_t under_way;
    uint64_t served; /* pieces, to others */
} reconcile_snapshots_counters_t;
reconcile_snapshots_counters_t reconcile_snapshots_counters(const reconcile_snapshots_t *self);
/* The latest of all transfers; lives as long as self. */
const reconcile_snapshot_problem_t *reconcile_snapshots_problem(const reconcile_snapshots_t *self);

#endif
