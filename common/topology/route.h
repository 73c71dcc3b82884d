/* Which shard an entity belongs to, for ever and in every language.
 *
 *   key   = XXH3_64bits, seed 0, over 16 bytes: tenant id as u64 little-endian, then entity id as
 *           u64 little-endian
 *   shard = jump consistent hash of key (Lamping and Veach, "A Fast, Minimal Memory, Consistent
 *           Hash Algorithm", 2014), in whole numbers, key modulo 2^64:
 *
 *             shard = 0
 *             repeat:
 *                 key  = key * 2862933555777941757 + 1
 *                 next = floor((shard + 1) * 2^31 / ((key >> 33) + 1))
 *                 if next >= shard_count: done
 *                 shard = next
 *
 * The paper divides and multiplies doubles, which gives the same for fewer than 49 shards (49 * (1
 * / 49) is the first product that misses the whole number); a test proves it for all that there
 * are. `default` is tenant 1. Languages without XXH3 find its formula for 16 bytes in
 * tests/golden/route_vectors.py, and vectors of all this in tests/golden/route_v1.txt.
 *
 * Items are entities by their id. A user has a home shard by the same function over the user id; it
 * orders what concerns all shards (design section 5). */
#ifndef TIDAL_COMMON_TOPOLOGY_ROUTE_H
#define TIDAL_COMMON_TOPOLOGY_ROUTE_H

#include "common/base/ids.h"

#include <stdint.h>

/* The hash of an entity; what its shard is made from. Public for tests. */
uint64_t route_key(tenant_id_t tenant, uint64_t entity);
/* in shard_count 1..SHARD_COUNT_MAX
 * cost no memory; 17 ns for 5 shards at 2.3 GHz, 3 of them the hash, most of the rest branches that
 * nobody can predict */
shard_id_t route_shard(tenant_id_t tenant, uint64_t entity, uint32_t shard_count);
shard_id_t route_item(tenant_id_t tenant, item_id_t item, uint32_t shard_count);
/* Home shard of a user. */
shard_id_t route_user(tenant_id_t tenant, user_id_t user, uint32_t shard_count);

#endif
