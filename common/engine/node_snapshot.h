/* What a node does for its region's reconciler where logs were truncated (MSG_BASE_TASK): says what
 * the region's files hold, and takes snapshots that were fetched (snapshot_load.h), one for each
 * replica at a time. */
#ifndef TIDAL_COMMON_ENGINE_NODE_SNAPSHOT_H
#define TIDAL_COMMON_ENGINE_NODE_SNAPSHOT_H

#include "common/engine/replica.h"

typedef struct node_snapshot node_snapshot_t;

node_snapshot_t *node_snapshot_new(const engine_env_t *env);
/* Before the replicas are closed. */
void node_snapshot_destroy(node_snapshot_t **self_p);

/* A look is answered at once, a snapshot when it is adopted or refused: a later question about the
 * same replica takes the answer of an earlier one.
 * in replica  NULL: this node does not hold it, which is answered at once */
void node_snapshot_ask(node_snapshot_t *self,
                       uint64_t reply_to,
                       const msg_base_task_t *question,
                       replica_t *replica);
/* At the end of a turn, when every replica has applied what it logged. A bounded piece of work for
 * each snapshot.
 * in may_replace  no checkpoint is under way
 * out whether it has more to do at once */
bool node_snapshot_turn(node_snapshot_t *self, bool may_replace, now_t now);

typedef struct {
    uint64_t adopted; /* put in place as a base */
    uint64_t taken;   /* whose state became the replica's */
    uint64_t refused; /* that changed nothing */
} node_snapshot_counters_t;
node_snapshot_counters_t node_snapshot_counters(const node_snapshot_t *self);

#endif
