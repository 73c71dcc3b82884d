/* What must hold at every step of a run, looked at after each turn of a process:
 *   - positions only grow (cursors.h);
 *   - the stamp of a hard negative only grows, so a hide that was applied is never undone but by an
 *     unhide with a higher HLC; also from one life of the node to the next. */
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
