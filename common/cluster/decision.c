#include "common/cluster/decision.h"

#include "common/base/check.h"

#include <stdio.h>
#include <string.h>

enum { S_NAMES_SIZE = REGION_COUNT_MAX * (REGION_NAME_LENGTH_MAX + 2) + 1 };

/* "us-east, eu-west"; returns ret_text. */
static const char *s_names(const topology_t *topology,
                           region_set_t set,
                           char ret_text[S_NAMES_SIZE])
{
    size_t size = 0;
    ret_text[0] = '\0';
    for (uint32_t i = 0; i < topology->region_count; i++) {
        const topology_region_t *region = &topology->regions[i];
        if (region_set_has(set, region->id)) {
            int length = snprintf(ret_text + size, S_NAMES_SIZE - size, "%s%s",
                                  size > 0 ? ", " : "", region->name);
            CHECK(length > 0 && size + (size_t)length < S_NAMES_SIZE);
            size += (size_t)length;
        }
    }
    return ret_text;
}

/* NULL, with a text, when the topology has no region of that name. */
static const topology_region_t *s_find_region(const topology_t *topology,
                                              slice_t name,
                                              const char *key,
                                              errbuf_t *errbuf)
{
    for (uint32_t i = 0; i < topology->region_count; i++) {
        if (slice_equal(slice_text(topology->regions[i].name), name)) {
            return &topology->regions[i];
        }
    }
    char names[S_NAMES_SIZE];
    errbuf_set(errbuf, "%s: expected a region of the topology (%s), found '%.*s'", key,
               s_names(topology, topology_regions(topology), names), (int)name.size,
               (const char *)name.data);
    return NULL;
}

/* -- create_tenant ----------------------------------------------------------------------------- */

static code_t s_take_regions(const topology_t *topology,
                             const client_request_t *request,
                             region_set_t *ret_regions,
                             errbuf_t *errbuf)
{
    region_set_t regions = {0};
    if (!request->as.create_tenant.has_regions) {
        *ret_regions = topology_regions(topology);
        return CODE_OK;
    }
    for (uint32_t i = 0; i < request->as.create_tenant.region_count; i++) {
        const topology_region_t *region =
            s_find_region(topology, request->as.create_tenant.regions[i], "regions", errbuf);
        if (region == NULL) {
            return CODE_BAD_REQUEST;
        }
        if (region_set_has(regions, region->id)) {
            errbuf_set(errbuf, "regions: expected each region once, found '%s' twice",
                       region->name);
            return CODE_BAD_REQUEST;
        }
        regions = region_set_add(regions, region->id);
    }
    if (regions.bits == 0) {
        errbuf_set(errbuf, "regions: expected one at least, found none; leave the field out for "
                           "all regions of the topology");
        return CODE_BAD_REQUEST;
    }
    *ret_regions = regions;
    return CODE_OK;
}

/* The index-th region of a set, by ascending number. */
static region_id_t s_region_at(region_set_t set, uint32_t index)
{
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region_set_has(set, (region_id_t){region}) && index-- == 0) {
            return (region_id_t){region};
        }
    }
    CHECK(false);
    return (region_id_t){0};
}

/* Whether the tenant that there is has the fields that were asked for. */
static code_t s_compare(const topology_t *topology,
                        const table_tenant_t *there,
                        const table_tenant_t *wanted,
                        errbuf_t *errbuf)
{
    region_set_t regions = table_tenant_regions(there);
    if (regions.bits == wanted->full.bits && there->island == wanted->island) {
        return CODE_OK;
    }
    char names[S_NAMES_SIZE];
    errbuf_set(errbuf,
               "tenant: expected a new name, or the fields of the tenant that has it; '%s' is "
               "there as generation %llu in %s with island %s",
               there->name, (unsigned long long)there->id.value, s_names(topology, regions, names),
               there->island == ISLAND_ACCEPT ? "accept" : "reject");
    return CODE_BAD_REQUEST;
}

/* The next table, with the tenant. */
static code_t s_add(const table_t *table,
                    table_tenant_t *tenant,
                    table_t **ret_next,
                    errbuf_t *errbuf)
{
    table_t *next = table_next(table);
    uint32_t placed_count = region_set_count(tenant->full);
    table_record_t records[SHARD_COUNT_MAX] = {{0}};
    tenant->id = (tenant_id_t){table_version(next)};
    for (uint32_t shard = 0; shard < table_shard_count(table); shard++) {
        records[shard] = (table_record_t){
            .epoch = 1,
            .version = 1,
            .leader = s_region_at(tenant->full, shard % placed_count),
            .in_sync = tenant->full,
            .placed = tenant->full,
        };
    }
    err_t err = table_add_tenant(next, tenant, records, errbuf);
    if (err != ERR_OK) {
        table_destroy(&next);
        errbuf_prefix(errbuf, "tenant");
        return err == ERR_FULL ? CODE_QUOTA : CODE_BAD_REQUEST;
    }
    *ret_next = next;
    return CODE_OK;
}

code_t decision_create_tenant(const table_t *table,
                              const topology_t *topology,
                              const client_request_t *request,
                              table_t **ret_next,
                              errbuf_t *errbuf)
{
    CHECK(request->op == CLIENT_OP_CREATE_TENANT);
    table_tenant_t tenant = {.island = request->as.create_tenant.accepts_islands ? ISLAND_ACCEPT
                                                                                 : ISLAND_REJECT};
    CHECK(request->tenant.size < sizeof(tenant.name));
    memcpy(tenant.name, request->tenant.data, request->tenant.size);
    if (strlen(tenant.name) != request->tenant.size) {
        errbuf_set(errbuf, "tenant: expected letters, digits, _ . and -, found a zero byte");
        return CODE_BAD_REQUEST;
    }
    code_t code = s_take_regions(topology, request, &tenant.full, errbuf);
    if (code != CODE_OK) {
        return code;
    }
    const table_tenant_t *there = table_find_tenant_name(table, request->tenant);
    if (there != NULL) {
        *ret_next = NULL;
        return s_compare(topology, there, &tenant, errbuf);
    }
    return s_add(table, &tenant, ret_next, errbuf);
}

/* -- promote ----------------------------------------------------------------------------------- */

/* Whether the region may lead the shard. */
static code_t s_check_candidate(const topology_t *topology,
                                const table_record_t *record,
                                const topology_region_t *region,
                                errbuf_t *errbuf)
{
    char names[S_NAMES_SIZE];
    if (!region_set_has(record->placed, region->id)) {
        errbuf_set(errbuf, "region: expected one that holds the tenant (%s), found %s",
                   s_names(topology, record->placed, names), region->name);
        return CODE_BAD_REQUEST;
    }
    if (!region_set_has(record->in_sync, region->id)) {
        errbuf_set(errbuf,
                   "region: expected a member of the in-sync set (%s), found %s, which may lack "
                   "writes that were acknowledged; wait until it is in sync",
                   s_names(topology, record->in_sync, names), region->name);
        return CODE_UNAVAILABLE;
    }
    return CODE_OK;
}

code_t decision_promote(const table_t *table,
                        const topology_t *topology,
                        const client_request_t *request,
                        table_t **ret_next,
                        errbuf_t *errbuf)
{
    CHECK(request->op == CLIENT_OP_PROMOTE);
    const table_tenant_t *tenant = table_find_tenant_name(table, request->tenant);
    if (tenant == NULL) {
        errbuf_set(errbuf, "tenant: expected one that topology lists, found '%.*s'",
                   (int)request->tenant.size, (const char *)request->tenant.data);
        return CODE_UNKNOWN_TENANT;
    }
    shard_id_t shard = request->as.promote.shard;
    const table_record_t *there = table_find_record(table, tenant->id, shard);
    if (there == NULL) {
        errbuf_set(errbuf, "shard: expected a number below %u, found %u", table_shard_count(table),
                   (unsigned)shard.value);
        return CODE_BAD_REQUEST;
    }
    const topology_region_t *region =
        s_find_region(topology, request->as.promote.region, "region", errbuf);
    code_t code =
        region == NULL ? CODE_BAD_REQUEST : s_check_candidate(topology, there, region, errbuf);
    if (code != CODE_OK) {
        return code;
    }
    *ret_next = NULL;
    if (there->leader.value == region->id.value) {
        return CODE_OK;
    }
    table_record_t record = *there;
    record.leader = region->id;
    record.epoch++;
    record.version++;
    table_t *next = table_next(table);
    err_t err = table_set_record(next, tenant->id, shard, &record, errbuf);
    CHECK(err == ERR_OK); /* a member of the set may lead */
    *ret_next = next;
    return CODE_OK;
}
