/* A count that many nodes add to and take from, and that merges.
 *
 * Each node of the mesh has a slot of two numbers that only rise: what was added on its account,
 * and what was taken back. The value is the sum of all slots. Of two copies of a slot the higher
 * number of each kind is the newer one, so merging (slot by slot, number by number) is commutative,
 * associative and idempotent, and a copy that arrives late or twice changes nothing. An empty slot
 * equals a missing one; none is kept.
 *
 * At most PN_COUNTER_SLOT_COUNT_MAX slots, one for each node that a mesh can have. A number that
 * would exceed 64 bits stays at the highest. Out of memory is a CHECK. */
#ifndef TIDAL_COMMON_CRDT_PN_COUNTER_H
#define TIDAL_COMMON_CRDT_PN_COUNTER_H

#include "common/base/bounds.h"
#include "common/base/ids.h"

enum { PN_COUNTER_SLOT_COUNT_MAX = REGION_COUNT_MAX * SHARD_COUNT_MAX };

typedef struct {
    node_id_t node; /* region 1..REGION_COUNT_MAX, shard 0..SHARD_COUNT_MAX - 1 */
    uint64_t plus;
    uint64_t minus;
} pn_counter_slot_t;

/* All zero: 0. Slots are read only, by ascending (region, shard), and move with the next change. */
typedef struct {
    uint32_t count;
    uint32_t capacity;
    pn_counter_slot_t *slots;
} pn_counter_t;

/* Frees and empties; may be called twice. */
void pn_counter_done(pn_counter_t *self);

/* Zeros for a node without a slot. */
pn_counter_slot_t pn_counter_get(const pn_counter_t *self, node_id_t node);
/* More was added, or taken back, on the account of delta->node; in the one place that keeps it. */
void pn_counter_add(pn_counter_t *self, const pn_counter_slot_t *delta);
/* The slot is at least that far on both sides. */
void pn_counter_raise(pn_counter_t *self, const pn_counter_slot_t *slot);
void pn_counter_merge(pn_counter_t *self, const pn_counter_t *other);

/* Sum of plus - minus over all slots, at most INT64_MAX and at least INT64_MIN. */
int64_t pn_counter_value(const pn_counter_t *self);

#endif
