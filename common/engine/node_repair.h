/* Which replicas of a node are to be rebuilt, for whom, and the one that is being rebuilt
 * (rebuild.h): because a reconciler asked, or because a new base is due (base_file.h), which is the
 * state that was built and found equal. One at a time, in the order in which
 * they were asked for. */
#ifndef TIDAL_COMMON_ENGINE_NODE_REPAIR_H
#define TIDAL_COMMON_ENGINE_NODE_REPAIR_H

#include "common/engine/replica.h"

typedef struct node_repair node_repair_t;

node_repair_t *node_repair_new(const engine_env_t *env);
/* Before the replicas are closed. */
void node_repair_destroy(node_repair_t **self_p);

/* Answered when the rebuild is over; a later question about the same replica takes the answer of an
 * earlier one. in replica  NULL: this node does not hold it, which is answered at once */
void node_repair_ask(node_repair_t *self,
                     uint64_t reply_to,
                     const msg_rebuild_t *question,
                     replica_t *replica,
                     now_t now);
/* A base of the replica is to be made, if that is not so already. */
void node_repair_want_base(node_repair_t *self, replica_t *replica, now_t now);
/* At the end of a turn, when every replica has applied what it logged. One bounded piece of work.
 * in may_replace  no checkpoint is under way
 * out whether it has more to do at once */
bool node_repair_turn(node_repair_t *self, bool may_replace, now_t now);

typedef struct {
    uint64_t rebuilds; /* that came to their end */
    uint64_t failed;   /* that did not */
    uint64_t replaced; /* states that differed from the logs */
    uint64_t entries;  /* of them, that differed */
    uint64_t bases_failed;
} node_repair_counters_t;
node_repair_counters_t node_repair_counters(const node_repair_t *self);

#endif
