#include "common/base/ids.h"

#include "common/base/bounds.h"
#include "common/base/check.h"

bool node_id_equal(node_id_t a, node_id_t b)
{
    return a.region.value == b.region.value && a.shard.value == b.shard.value;
}

bool stream_id_equal(stream_id_t a, stream_id_t b)
{
    return a.tenant.value == b.tenant.value && a.incarnation == b.incarnation &&
           node_id_equal(a.origin, b.origin);
}

static int s_compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int stream_id_compare(stream_id_t a, stream_id_t b)
{
    int order = s_compare(a.tenant.value, b.tenant.value);
    if (order == 0) {
        order = s_compare(a.origin.shard.value, b.origin.shard.value);
    }
    if (order == 0) {
        order = s_compare(a.origin.region.value, b.origin.region.value);
    }
    if (order == 0) {
        order = s_compare(a.incarnation, b.incarnation);
    }
    return order;
}

bool process_address_equal(process_address_t a, process_address_t b)
{
    return a.kind == b.kind && a.region.value == b.region.value && a.shard.value == b.shard.value;
}

static uint32_t s_bit(region_id_t region)
{
    CHECK(region.value <= REGION_COUNT_MAX);
    return UINT32_C(1) << region.value;
}

region_set_t region_set_add(region_set_t set, region_id_t region)
{
    return (region_set_t){set.bits | s_bit(region)};
}

region_set_t region_set_remove(region_set_t set, region_id_t region)
{
    return (region_set_t){set.bits & ~s_bit(region)};
}

bool region_set_has(region_set_t set, region_id_t region)
{
    return (set.bits & s_bit(region)) != 0;
}

bool region_set_covers(region_set_t outer, region_set_t inner)
{
    return (inner.bits & ~outer.bits) == 0;
}

unsigned region_set_count(region_set_t set)
{
    return (unsigned)__builtin_popcount(set.bits);
}
