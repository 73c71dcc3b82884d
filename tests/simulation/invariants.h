/* What must hold at every step of a run, looked at after each turn of a process:
 *   - positions only grow (cursors.h);
 *   - the stamp of a hard negative (hide, mute, block) only grows on a node that is ready, also from one
 *     life of the node to the next; and one that was acknowledged is there as soon as the vector says
 *     that it was applied. So what was applied is never undone but by a write with a higher HLC;
 *   - an item is suppressed for whoever hides it or has muted or blocked its creator, and for nobody
 *     else: asked as ranking asks. */
#ifndef TIDAL_TESTS_SIMULATION_INVARIANTS_H
#define TIDAL_TESTS_SIMULATION_INVARIANTS_H

#include "tests/simulation/clients.h"
#include "tests/simulation/faults.h"

typedef struct invariants invariants_t;

invariants_t *invariants_new(world_t *world, const clients_t *clients);
void invariants_destroy(invariants_t **self_p);

/* The disk of a region was lost: what its nodes had is forgotten. */
void invariants_forget(invariants_t *self, region_id_t region);
/* A bit of a copy was flipped. */
void invariants_allow_fall(invariants_t *self, const fault_flip_t *flip);
/* The first violation; NULL: none. */
const char *invariants_violation(const invariants_t *self);
uint64_t invariants_look_count(const invariants_t *self);

#endif
