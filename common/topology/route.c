#include "common/topology/route.h"

#include "common/base/bounds.h"
#include "common/base/check.h"

/* Inlined: the call into the library would cost as much as the hash of 16 bytes. */
#define XXH_INLINE_ALL
#include <xxhash.h>

static_assert(SHARD_COUNT_MAX < 49, "whole numbers and doubles give the same shard");

static inline uint64_t s_little_endian(uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(value);
#else
    return value;
#endif
}

uint64_t route_key(tenant_id_t tenant, uint64_t entity)
{
    uint64_t words[2] = {s_little_endian(tenant.value), s_little_endian(entity)};
    return XXH3_64bits(words, sizeof(words));
}

static inline uint16_t s_jump(uint64_t key, uint32_t shard_count)
{
    uint64_t shard = 0;
    while (true) {
        key = key * UINT64_C(2862933555777941757) + 1;
        uint64_t divisor = (key >> 33) + 1;
        uint64_t dividend = (shard + 1) << 31;
        /* next >= shard_count, without the division */
        if (dividend >= shard_count * divisor) {
            return (uint16_t)shard;
        }
        shard = dividend / divisor;
    }
}

shard_id_t route_shard(tenant_id_t tenant, uint64_t entity, uint32_t shard_count)
{
    CHECK(shard_count >= 1);
    CHECK(shard_count <= SHARD_COUNT_MAX);
    return (shard_id_t){s_jump(route_key(tenant, entity), shard_count)};
}

shard_id_t route_item(tenant_id_t tenant, item_id_t item, uint32_t shard_count)
{
    return route_shard(tenant, item.value, shard_count);
}

shard_id_t route_user(tenant_id_t tenant, user_id_t user, uint32_t shard_count)
{
    return route_shard(tenant, user.value, shard_count);
}
