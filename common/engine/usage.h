/* What a tenant has used, as far as one replica has applied it: signals and bytes (design section
 * 6, for quotas).
 *
 * A counter with a slot per node that originated (common/crdt/pn_counter.h). A node's slot is a
 * function of the batches of its streams, of all incarnations:
 *
 *   signals  plus   signals of all its batches
 *            minus  signals of those of its batches that were voided, because another copy of the
 *                   same request counts (design idea 5)
 *   bytes    plus   payload bytes of all its batches; what is voided stays in the log and counts
 *
 * Both only rise as more is applied, so slots that different replicas tell merge; once all have
 * applied the same, all tell the same. It is kept in checkpoints, since the log may be truncated
 * below them, and is not part of the digest.
 *
 *   entry of a checkpoint   key: origin region, u16 big-endian
 *                           value: signals plus, signals minus, bytes plus, u64 little-endian each
 */
#ifndef TIDAL_COMMON_ENGINE_USAGE_H
#define TIDAL_COMMON_ENGINE_USAGE_H

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/crdt/pn_counter.h"

enum { USAGE_KEY_SIZE = 2, USAGE_VALUE_SIZE = 24 };

/* All zero: nothing was used. */
typedef struct {
    pn_counter_t signals;
    pn_counter_t bytes;
} usage_t;

/* Frees and empties; may be called twice. */
void usage_done(usage_t *self);

/* A batch of this node was applied, or taken back after it was applied.
 * in payload  sound: applied */
void usage_log(usage_t *self, node_id_t origin, slice_t payload);
void usage_void(usage_t *self, node_id_t origin, slice_t payload);

/* One node's slots in one. */
typedef struct {
    node_id_t origin;
    uint64_t signals; /* ever logged */
    uint64_t voided;  /* of them */
    uint64_t bytes;
} usage_slot_t;

/* Slots of all origins, by (region, shard).
 * out room for PN_COUNTER_SLOT_COUNT_MAX; returns how many */
uint32_t usage_slots(const usage_t *self, usage_slot_t *ret_slots);
/* Merges what another one told of a node. in slot->origin within the mesh's bounds */
void usage_raise(usage_t *self, const usage_slot_t *slot);
void usage_merge(usage_t *self, const usage_t *other);

void usage_encode(const usage_slot_t *slot,
                  uint8_t ret_key[USAGE_KEY_SIZE],
                  uint8_t ret_value[USAGE_VALUE_SIZE]);
/* An entry of a checkpoint of this shard. errs ERR_CORRUPT what was expected and found */
err_t usage_load_entry(
    usage_t *self, shard_id_t shard, slice_t key, slice_t value, errbuf_t *errbuf);

#endif
