/* Positions that only grow, as the processes of a simulated mesh show them, also from one life of a
 * process to the next:
 *   - the applied vector of each node that is ready;
 *   - how far a node's own streams are durable, as long as it writes them;
 *   - how far each of a receiver's copies is durable. What is durable was synced, so no power cut takes
 *     anything of it. It falls where a bit was flipped, and where a disk was lost, and nowhere else;
 *   - what the control plane calls stable, in each of its lives. It names nothing that a node has not
 *     applied. */
#ifndef TIDAL_TESTS_SIMULATION_CURSORS_H
#define TIDAL_TESTS_SIMULATION_CURSORS_H

#include "tests/simulation/faults.h"

typedef struct cursors cursors_t;

/* Borrows the topology for its life. */
cursors_t *cursors_new(const topology_t *topology);
void cursors_destroy(cursors_t **self_p);

/* in is_ready  of a node: whether it is. out ret_moved  whether the applied vector of a node that is
 * ready is another one than at the last look; ret_text  the violation. ret false: there is one */
bool cursors_look(cursors_t *self,
                  const world_process_t *process,
                  bool is_ready,
                  bool *ret_moved,
                  errbuf_t *ret_text);
/* The disk of a region was lost. */
void cursors_forget(cursors_t *self, region_id_t region);
/* A bit of a copy was flipped: it may fall once. */
void cursors_allow_fall(cursors_t *self, const fault_flip_t *flip);

#endif
