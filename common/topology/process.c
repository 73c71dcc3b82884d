#include "common/topology/process.h"

#include "common/base/check.h"

#include <stdio.h>
#include <string.h>

enum { PROCESS_KIND_COUNT = PROCESS_TOOL + 1 };

/* What an address of each kind looks like. */
typedef struct {
    const char *name;
    bool has_region;
    bool has_shard;
} kind_t;

static const kind_t s_kinds[PROCESS_KIND_COUNT] = {
    [PROCESS_NONE] = {"none", false, false},
    [PROCESS_NODE] = {"shard", true, true},
    [PROCESS_SHIPPER] = {"shipper", true, false},
    [PROCESS_RECEIVER] = {"receiver", true, false},
    [PROCESS_RECONCILER] = {"reconciler", true, false},
    [PROCESS_GATEWAY] = {"gateway", true, false},
    [PROCESS_CONTROL] = {"control", false, false},
    [PROCESS_PROXY] = {"proxy", false, false},
    [PROCESS_TOOL] = {"tool", false, false},
};

static const kind_t *s_kind(process_kind_t kind)
{
    CHECK((unsigned)kind < PROCESS_KIND_COUNT);
    return &s_kinds[kind];
}

const char *process_kind_name(process_kind_t kind)
{
    return s_kind(kind)->name;
}

const char *process_name(const topology_t *topology,
                         process_address_t address,
                         char ret_name[PROCESS_NAME_SIZE])
{
    const kind_t *kind = s_kind(address.kind);
    const topology_region_t *region = topology_find_region(topology, address.region);
    char number[8];
    (void)snprintf(number, sizeof(number), "%u", address.region.value);
    const char *place = region == NULL ? number : region->name;

    int length = 0;
    if (kind->has_shard) {
        length = snprintf(ret_name, PROCESS_NAME_SIZE, "%s-%s-%u", kind->name, place,
                          address.shard.value);
    } else if (kind->has_region) {
        length = snprintf(ret_name, PROCESS_NAME_SIZE, "%s-%s", kind->name, place);
    } else {
        length = snprintf(ret_name, PROCESS_NAME_SIZE, "%s", kind->name);
    }
    CHECK(length > 0 && length < PROCESS_NAME_SIZE);
    return ret_name;
}

err_t process_parse(const topology_t *topology, const char *name, process_address_t *ret_address)
{
    /* A few hundred names at most, and the only rule for them stays process_name. */
    for (uint32_t i = 0; i < topology_process_count(topology); i++) {
        process_address_t address = topology_process(topology, i);
        char found[PROCESS_NAME_SIZE];
        if (strcmp(process_name(topology, address, found), name) == 0) {
            *ret_address = address;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

region_id_t process_place(process_address_t address)
{
    return address.region;
}

static bool s_is_possible(process_address_t address)
{
    if (address.kind == PROCESS_NONE || (unsigned)address.kind >= PROCESS_KIND_COUNT) {
        return false;
    }
    const kind_t *kind = s_kind(address.kind);
    uint16_t region = address.region.value;
    bool region_fits = kind->has_region ? region >= 1 && region <= REGION_COUNT_MAX : region == 0;
    bool shard_fits =
        kind->has_shard ? address.shard.value < SHARD_COUNT_MAX : address.shard.value == 0;
    return region_fits && shard_fits;
}

void process_encode(process_address_t address, uint8_t ret_bytes[PROCESS_FRAME_SIZE])
{
    CHECK(s_is_possible(address));
    ret_bytes[0] = (uint8_t)address.kind;
    ret_bytes[1] = 0;
    bytes_put_u16(ret_bytes + 2, address.region.value);
    bytes_put_u16(ret_bytes + 4, address.shard.value);
    bytes_put_u16(ret_bytes + 6, 0);
}

err_t process_decode(slice_t bytes, process_address_t *ret_address)
{
    if (bytes.size != PROCESS_FRAME_SIZE) {
        return ERR_CORRUPT;
    }
    if (bytes.data[1] != 0 || bytes_get_u16(bytes.data + 6) != 0) {
        return ERR_CORRUPT;
    }
    process_address_t address = {
        .kind = (process_kind_t)bytes.data[0],
        .region = {bytes_get_u16(bytes.data + 2)},
        .shard = {bytes_get_u16(bytes.data + 4)},
    };
    if (!s_is_possible(address)) {
        return ERR_CORRUPT;
    }
    *ret_address = address;
    return ERR_OK;
}
