/* Which own replicas a reconciler has had held against their logs, when it asks again, and what
 * came of it. Pure; for the engine.
 *
 *   suspect in a run --> ASKED --- suspect in a later run: asked again, one answer is awaited
 *                          |
 *                          v answered
 *                        QUIET for 1, 2, 4 ... 64 runs, doubling from answer to answer; back to 1
 *                              when a run finds the replica equal to another one
 *
 * The latest RECONCILE_REPAIR_COUNT_MAX answers are kept, so that a report names what was repaired
 * also when nobody looked at the one of that run. */
#ifndef TIDAL_COMMON_CLUSTER_RECONCILE_CHECKS_H
#define TIDAL_COMMON_CLUSTER_RECONCILE_CHECKS_H

#include "common/cluster/reconcile.h"

typedef struct reconcile_checks reconcile_checks_t;

reconcile_checks_t *reconcile_checks_new(void);
void reconcile_checks_destroy(reconcile_checks_t **self_p);

/* What a run found of an own replica, suspect or not; whether it is to be asked now. Only the
 * answer to this request counts then.
 * in run         number of the run, rising
 *    request_id  not 0 */
bool reconcile_checks_run(reconcile_checks_t *self,
                          const reconcile_line_t *line,
                          uint64_t run,
                          uint64_t request_id);
/* The answer of the region's node. False when it is not awaited: nothing changes then. */
bool reconcile_checks_answer(reconcile_checks_t *self,
                             region_id_t region,
                             const msg_rebuild_reply_t *reply,
                             uint64_t run,
                             int64_t wall_ns);

/* Oldest first; live until the next answer. */
const reconcile_repair_t *reconcile_checks_repairs(const reconcile_checks_t *self,
                                                   uint32_t *ret_count);

typedef struct {
    uint64_t asked;
    uint64_t answered;
    uint64_t failed;   /* the node could not; nothing changed */
    uint64_t repaired; /* replicas that differed from their logs, and were replaced */
    uint64_t entries;  /* of them, that differed */
} reconcile_checks_counters_t;
reconcile_checks_counters_t reconcile_checks_counters(const reconcile_checks_t *self);

#endif
