/* When a replica may forget where the copies of stable pairs lie (design idea 5).
 *
 * The control plane publishes a floor: what every placed node has applied, together with everything
 * that those nodes had originated before. No further copy of a pair below it is ever logged; but
 * the second copy of such a pair may lie above the floor, in what had been originated. Nodes that
 * keep up have applied that too when the floor is published. One that begins anew (a lost disk, a
 * lost checkpoint) has not: if it forgot the first copy before it met the second, the second would
 * lose there whatever its stamp, and the replica would differ from all others for good.
 *
 * A later floor covers all that an earlier one took for granted, since the control plane goes on to
 * the next floor only when everybody has applied it (common/cluster/stable_floor.h). So what the
 * floor before the last one covers may be forgotten by whoever has applied all of the last one. A
 * control plane that began anew knows nothing of what its predecessor waited for: its floors count
 * from the first one.
 *
 * Pure. One for each (tenant, shard). */
#ifndef TIDAL_COMMON_SESSION_FORGET_GATE_H
#define TIDAL_COMMON_SESSION_FORGET_GATE_H

#include "common/crdt/version_vector.h"

/* Zeroed: nothing was published. */
typedef struct {
    uint64_t boot;           /* of the control plane */
    version_vector_t before; /* the floor before the last one */
    version_vector_t last;
} forget_gate_t;

/* Frees; may be called twice. */
void forget_gate_done(forget_gate_t *self);

/* A floor was published by this life of the control plane; one that the last one covers changes
 * nothing. Streams that it leaves out stay as they were. in floor  borrowed until return */
void forget_gate_publish(forget_gate_t *self, uint64_t boot, const version_vector_t *floor);

/* What may be forgotten by a replica that has applied so much; NULL: nothing. Borrowed until the
 * next publish. */
const version_vector_t *forget_gate_open(const forget_gate_t *self,
                                         const version_vector_t *applied);

#endif
