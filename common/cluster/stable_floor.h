/* How far the streams of the mesh are stable, from what the control plane hears.
 *
 * Stable is a batch that every placed node has applied, when also everything that those nodes had
 * originated before doing so, in all their incarnations, is applied everywhere (design section 1).
 * The first half alone is not enough. Leader A logs a pair at A:5 and is cut off; the client retries
 * at the new leader B, which does not have A:5 yet and logs the pair at B:9. Then A:5 reaches
 * everybody, while B:9 is still on its way to C. Were A:5's position forgotten now, C could no
 * longer tell that B:9 is a second copy. But B looked at the pair before it had applied A:5, so its
 * position at that moment, or any later one, bounds where such a copy can lie: once that too is
 * applied everywhere, no second copy is left to come. So, per (tenant, shard), in two phases:
 *
 *   IDLE --- the floor names something that is not stable: V = the floor --> COLLECTING
 *   COLLECTING   from each placed node one heartbeat of a ready node that has applied V; H = all
 *                that these heartbeats name as applied
 *   COLLECTING --- all have told, and the floor covers V and H: stable = V --> IDLE
 *
 * The floor is the lowest applied position of each stream over all placed nodes. H names more than
 * the told nodes' own streams, which costs nothing, for it is on its way to all anyway, and brings
 * in the streams of a node that has lost its disk, as the others hold them.
 *
 * Why a heartbeat of a ready node names all that the node originated before it applied V: what a
 * ready node has durable in its own streams it has applied, and it makes its pending writes durable
 * before it applies anything of others. A node that is not ready may have own events in its files
 * that its vector does not name yet.
 *
 * Invariants
 *   1. the stable floor of a (tenant, shard) never goes back while self lives.
 *   2. a placed node that was never heard, is not ready, or is new holds everything up; what is
 *      stable stays so.
 *   3. a change of the placement begins the candidate anew; a node that starts again (another boot)
 *      tells again.
 *
 * It is in memory alone. A control plane that starts again begins with nothing stable and finds
 * the floor anew from the heartbeats; nodes keep what they were told, for a lower position changes
 * nothing there. */
#ifndef TIDAL_COMMON_CLUSTER_STABLE_FLOOR_H
#define TIDAL_COMMON_CLUSTER_STABLE_FLOOR_H

#include "common/cluster/mesh_view.h"

typedef struct stable_floor stable_floor_t;

stable_floor_t *stable_floor_new(void);
/* Nulls; NULL is allowed. */
void stable_floor_destroy(stable_floor_t **self_p);

/* Looks at the heartbeats as they are now. What is not in the table is forgotten.
 * out ret_positions  room for count_max: streams with what is stable of them, in the order of
 *                    stream_id_compare; of more than count_max the last are left out
 * cost a pass over the applied vectors of all nodes. Returns how many */
uint32_t stable_floor_review(stable_floor_t *self,
                             const mesh_view_t *view,
                             const table_t *table,
                             stream_position_t *ret_positions,
                             uint32_t count_max);

#endif
