#include "common/topology/table.h"

#include "common/base/check.h"
#include "common/topology/table_body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const char s_default_name[] = "default";

/* Bits of all regions that there can be; bit 0, control, is none. */
static const uint32_t s_region_bits = ((UINT32_C(1) << (REGION_COUNT_MAX + 1)) - 1) & ~UINT32_C(1);

/* -- index ------------------------------------------------------------------------------------- */

static uint32_t s_slot_of_id(tenant_id_t id)
{
    uint8_t bytes[8];
    bytes_put_u64(bytes, id.value);
    return (uint32_t)XXH3_64bits(bytes, sizeof(bytes)) & (TABLE_SLOT_COUNT - 1);
}

static uint32_t s_slot_of_name(slice_t name)
{
    return (uint32_t)XXH3_64bits(name.data, name.size) & (TABLE_SLOT_COUNT - 1);
}

static slice_t s_name(const table_tenant_t *tenant)
{
    return slice_make(tenant->name, strlen(tenant->name));
}

static void s_take_slot(uint16_t slots[TABLE_SLOT_COUNT], uint32_t slot, uint32_t place)
{
    while (slots[slot] != 0) {
        slot = (slot + 1) & (TABLE_SLOT_COUNT - 1);
    }
    slots[slot] = (uint16_t)(place + 1);
}

static void s_index(table_t *self)
{
    (void)memset(self->slots_by_id, 0, sizeof(self->slots_by_id));
    (void)memset(self->slots_by_name, 0, sizeof(self->slots_by_name));
    for (uint32_t i = 0; i < self->tenant_count; i++) {
        const table_tenant_t *tenant = &self->tenants[i];
        s_take_slot(self->slots_by_id, s_slot_of_id(tenant->id), i);
        s_take_slot(self->slots_by_name, s_slot_of_name(s_name(tenant)), i);
    }
}

const table_tenant_t *table_find_tenant(const table_t *self, tenant_id_t id)
{
    uint32_t slot = s_slot_of_id(id);
    for (; self->slots_by_id[slot] != 0; slot = (slot + 1) & (TABLE_SLOT_COUNT - 1)) {
        const table_tenant_t *tenant = &self->tenants[self->slots_by_id[slot] - 1];
        if (tenant->id.value == id.value) {
            return tenant;
        }
    }
    return NULL;
}

const table_tenant_t *table_find_tenant_name(const table_t *self, slice_t name)
{
    uint32_t slot = s_slot_of_name(name);
    for (; self->slots_by_name[slot] != 0; slot = (slot + 1) & (TABLE_SLOT_COUNT - 1)) {
        const table_tenant_t *tenant = &self->tenants[self->slots_by_name[slot] - 1];
        if (slice_equal(s_name(tenant), name)) {
            return tenant;
        }
    }
    return NULL;
}

const table_record_t *table_find_record(const table_t *self, tenant_id_t id, shard_id_t shard)
{
    const table_tenant_t *tenant = table_find_tenant(self, id);
    if (tenant == NULL || shard.value >= self->shard_count) {
        return NULL;
    }
    return &self->records[(size_t)(tenant - self->tenants) * self->shard_count + shard.value];
}

/* -- small questions --------------------------------------------------------------------------- */

uint64_t table_version(const table_t *self)
{
    return self->version;
}

uint32_t table_shard_count(const table_t *self)
{
    return self->shard_count;
}

uint32_t table_tenant_count(const table_t *self)
{
    return self->tenant_count;
}

const table_tenant_t *table_tenant_at(const table_t *self, uint32_t index)
{
    CHECK(index < self->tenant_count);
    return &self->tenants[index];
}

region_set_t table_tenant_regions(const table_tenant_t *tenant)
{
    return (region_set_t){tenant->full.bits | tenant->preparing.bits | tenant->leaving.bits};
}

bool table_is_placed(const table_t *self, tenant_id_t id, region_id_t region)
{
    const table_tenant_t *tenant = table_find_tenant(self, id);
    return tenant != NULL && region.value <= REGION_COUNT_MAX &&
           region_set_has(table_tenant_regions(tenant), region);
}

bool table_is_newer(const table_t *candidate, const table_t *current)
{
    return current == NULL || candidate->version > current->version;
}

err_t table_check_topology(const table_t *self, const topology_t *topology, errbuf_t *errbuf)
{
    if (self->shard_count != topology->shard_count) {
        errbuf_set(errbuf, "routing table: expected %u shards as in the topology, found %u",
                   topology->shard_count, self->shard_count);
        return ERR_CONFLICT;
    }
    for (uint32_t i = 0; i < self->tenant_count; i++) {
        const table_tenant_t *tenant = &self->tenants[i];
        if (!region_set_covers(topology_regions(topology), table_tenant_regions(tenant))) {
            errbuf_set(errbuf,
                       "routing table: expected regions of the topology (bits 0x%x), found tenant "
                       "'%s' in 0x%x",
                       topology_regions(topology).bits, tenant->name,
                       table_tenant_regions(tenant).bits);
            return ERR_CONFLICT;
        }
    }
    return ERR_OK;
}

/* -- invariants -------------------------------------------------------------------------------- */

static bool s_is_name(slice_t name)
{
    bool fits = name.size >= 1 && name.size <= NAME_LENGTH_MAX;
    for (size_t i = 0; fits && i < name.size; i++) {
        char c = (char)name.data[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        fits = alnum || (i > 0 && (c == '_' || c == '.' || c == '-'));
    }
    return fits;
}

static bool s_are_regions(region_set_t set)
{
    return (set.bits & ~s_region_bits) == 0;
}

static err_t s_check_tenant(const table_tenant_t *tenant, errbuf_t *errbuf)
{
    slice_t name = slice_make(tenant->name, strnlen(tenant->name, sizeof(tenant->name)));
    if (tenant->id.value == 0 || !s_is_name(name)) {
        errbuf_set(errbuf,
                   "expected a generation from 1 and a name of 1 to %d letters, digits, _ . and - "
                   "beginning with a letter or digit, found %llu and '%.*s'",
                   NAME_LENGTH_MAX, (unsigned long long)tenant->id.value, (int)name.size,
                   tenant->name);
        return ERR_INVALID;
    }
    bool is_default = strcmp(tenant->name, s_default_name) == 0;
    if (is_default != (tenant->id.value == TENANT_DEFAULT.value)) {
        errbuf_set(errbuf, "expected '%s' to be generation 1, found '%s' as %llu", s_default_name,
                   tenant->name, (unsigned long long)tenant->id.value);
        return ERR_INVALID;
    }
    if (tenant->island != ISLAND_REJECT && tenant->island != ISLAND_ACCEPT) {
        errbuf_set(errbuf, "expected island policy 0 or 1, found %d", (int)tenant->island);
        return ERR_INVALID;
    }
    uint32_t twice = (tenant->full.bits & tenant->preparing.bits) |
                     (tenant->full.bits & tenant->leaving.bits) |
                     (tenant->preparing.bits & tenant->leaving.bits);
    if (tenant->full.bits == 0 || twice != 0 || !s_are_regions(table_tenant_regions(tenant))) {
        errbuf_set(errbuf,
                   "expected disjoint sets of regions 1 to %d, a full one among them, found full "
                   "0x%x, preparing 0x%x, leaving 0x%x",
                   REGION_COUNT_MAX, tenant->full.bits, tenant->preparing.bits,
                   tenant->leaving.bits);
        return ERR_INVALID;
    }
    return ERR_OK;
}

static err_t s_check_record(const table_tenant_t *tenant,
                            const table_record_t *record,
                            errbuf_t *errbuf)
{
    if (record->epoch == 0 || record->version == 0) {
        errbuf_set(errbuf, "expected epoch and version from 1, found %llu and %llu",
                   (unsigned long long)record->epoch, (unsigned long long)record->version);
        return ERR_INVALID;
    }
    bool placed_fits = region_set_covers(table_tenant_regions(tenant), record->placed);
    bool in_sync_fits =
        record->in_sync.bits != 0 && region_set_covers(record->placed, record->in_sync);
    bool leader_fits =
        record->leader.value == 0 || (record->leader.value <= REGION_COUNT_MAX &&
                                      region_set_has(record->in_sync, record->leader));
    if (!placed_fits || !in_sync_fits || !leader_fits) {
        errbuf_set(errbuf,
                   "expected leader in in-sync in placed in regions of the tenant (0x%x), found "
                   "leader %u, in-sync 0x%x, placed 0x%x",
                   table_tenant_regions(tenant).bits, record->leader.value, record->in_sync.bits,
                   record->placed.bits);
        return ERR_INVALID;
    }
    for (unsigned i = 0; i <= REGION_COUNT_MAX; i++) {
        if (record->disk_ids[i] != 0 &&
            !region_set_has(record->placed, (region_id_t){(uint16_t)i})) {
            errbuf_set(errbuf, "expected disk ids of placed regions, found one of region %u", i);
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

/* -- making ------------------------------------------------------------------------------------ */

static void s_reserve(table_t *self, uint32_t tenant_count)
{
    CHECK(tenant_count <= TENANT_COUNT_MAX);
    if (tenant_count <= self->tenant_capacity) {
        return;
    }
    uint32_t capacity = self->tenant_capacity == 0 ? 4 : self->tenant_capacity;
    while (capacity < tenant_count) {
        capacity *= 2;
    }
    self->tenants = realloc(self->tenants, capacity * sizeof(*self->tenants));
    CHECK(self->tenants != NULL);
    self->records =
        realloc(self->records, (size_t)capacity * self->shard_count * sizeof(*self->records));
    CHECK(self->records != NULL);
    self->tenant_capacity = capacity;
}

table_t *table_new_empty(uint32_t shard_count, uint64_t version)
{
    CHECK(shard_count >= 1 && shard_count <= SHARD_COUNT_MAX);
    CHECK(version >= 1);
    table_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->shard_count = shard_count;
    self->version = version;
    s_reserve(self, 1);
    return self;
}

table_t *table_new_default(const topology_t *topology)
{
    table_t *self = table_new_empty(topology->shard_count, 1);
    region_set_t regions = topology_regions(topology);
    table_tenant_t tenant = {.id = TENANT_DEFAULT, .island = ISLAND_REJECT, .full = regions};
    (void)snprintf(tenant.name, sizeof(tenant.name), "%s", s_default_name);
    table_record_t records[SHARD_COUNT_MAX] = {{0}};
    for (uint16_t i = 0; i < topology->shard_count; i++) {
        records[i].epoch = 1;
        records[i].version = 1;
        records[i].leader = topology_leader(topology, (shard_id_t){i});
        records[i].in_sync = regions;
        records[i].placed = regions;
    }
    errbuf_t errbuf;
    CHECK(table_add_tenant(self, &tenant, records, &errbuf) == ERR_OK);
    return self;
}

table_t *table_next(const table_t *self)
{
    table_t *next = table_new_empty(self->shard_count, self->version + 1);
    s_reserve(next, self->tenant_count);
    next->tenant_count = self->tenant_count;
    (void)memcpy(next->tenants, self->tenants, self->tenant_count * sizeof(*self->tenants));
    (void)memcpy(next->records, self->records,
                 (size_t)self->tenant_count * self->shard_count * sizeof(*self->records));
    s_index(next);
    return next;
}

void table_destroy(table_t **self_p)
{
    table_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    free(self->tenants);
    free(self->records);
    free(self);
    *self_p = NULL;
}

/* -- changing ---------------------------------------------------------------------------------- */

static err_t s_check_new_tenant(const table_t *self,
                                const table_tenant_t *tenant,
                                const table_record_t *records,
                                errbuf_t *errbuf)
{
    err_t err = s_check_tenant(tenant, errbuf);
    for (uint32_t i = 0; err == ERR_OK && i < self->shard_count; i++) {
        err = s_check_record(tenant, &records[i], errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (table_find_tenant(self, tenant->id) != NULL ||
        table_find_tenant_name(self, s_name(tenant)) != NULL) {
        errbuf_set(errbuf,
                   "expected a new generation and name, found that one of them exists: "
                   "%llu, '%s'",
                   (unsigned long long)tenant->id.value, tenant->name);
        return ERR_EXISTS;
    }
    if (self->tenant_count == TENANT_COUNT_MAX) {
        errbuf_set(errbuf, "expected at most %d tenants, found as many: drop one first",
                   TENANT_COUNT_MAX);
        return ERR_FULL;
    }
    return ERR_OK;
}

err_t table_add_tenant(table_t *self,
                       const table_tenant_t *tenant,
                       const table_record_t *records,
                       errbuf_t *errbuf)
{
    err_t err = s_check_new_tenant(self, tenant, records, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    s_reserve(self, self->tenant_count + 1);
    uint32_t place = self->tenant_count;
    while (place > 0 && self->tenants[place - 1].id.value > tenant->id.value) {
        place--;
    }
    size_t behind = self->tenant_count - place;
    size_t shards = self->shard_count;
    table_record_t *at = &self->records[place * shards];
    (void)memmove(&self->tenants[place + 1], &self->tenants[place], behind * sizeof(*tenant));
    (void)memmove(at + shards, at, behind * shards * sizeof(*at));
    self->tenants[place] = *tenant;
    (void)memcpy(at, records, shards * sizeof(*at));
    self->tenant_count++;
    if (behind == 0) {
        /* The usual case, and that of decoding: no place has moved. */
        s_take_slot(self->slots_by_id, s_slot_of_id(tenant->id), place);
        s_take_slot(self->slots_by_name, s_slot_of_name(s_name(tenant)), place);
    } else {
        s_index(self);
    }
    return ERR_OK;
}

/* Place of a tenant that is to be changed. errs ERR_NOT_FOUND */
static err_t s_find_place(const table_t *self,
                          tenant_id_t id,
                          uint32_t *ret_place,
                          errbuf_t *errbuf)
{
    const table_tenant_t *tenant = table_find_tenant(self, id);
    if (tenant == NULL) {
        errbuf_set(errbuf, "expected a tenant of the table, found none with generation %llu",
                   (unsigned long long)id.value);
        return ERR_NOT_FOUND;
    }
    *ret_place = (uint32_t)(tenant - self->tenants);
    return ERR_OK;
}

err_t table_set_tenant(table_t *self, const table_tenant_t *tenant, errbuf_t *errbuf)
{
    uint32_t place = 0;
    err_t err = s_find_place(self, tenant->id, &place, errbuf);
    if (err == ERR_OK) {
        err = s_check_tenant(tenant, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (strcmp(self->tenants[place].name, tenant->name) != 0) {
        errbuf_set(errbuf, "expected the name '%s' to stay, found '%s'", self->tenants[place].name,
                   tenant->name);
        return ERR_INVALID;
    }
    for (uint32_t i = 0; err == ERR_OK && i < self->shard_count; i++) {
        err = s_check_record(tenant, &self->records[place * self->shard_count + i], errbuf);
    }
    if (err == ERR_OK) {
        self->tenants[place] = *tenant;
    }
    return err;
}

err_t table_set_record(
    table_t *self, tenant_id_t id, shard_id_t shard, const table_record_t *record, errbuf_t *errbuf)
{
    uint32_t place = 0;
    err_t err = s_find_place(self, id, &place, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    if (shard.value >= self->shard_count) {
        errbuf_set(errbuf, "expected a shard below %u, found %u", self->shard_count, shard.value);
        return ERR_NOT_FOUND;
    }
    err = s_check_record(&self->tenants[place], record, errbuf);
    if (err == ERR_OK) {
        self->records[place * self->shard_count + shard.value] = *record;
    }
    return err;
}
