#include "common/topology/topology.h"

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/topology/topology_fields.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static_assert(2 * SHARD_COUNT_MAX <= PORT_SHIPPER, "ports of nodes end below the others");

static const region_id_t s_control_place = {0};

/* -- making ------------------------------------------------------------------------------------ */

static void s_set_host(topology_host_t *host, const char *name)
{
    (void)snprintf(host->host, sizeof(host->host), "%s", name);
    topology_host_complete(host);
}

void topology_init_default(topology_t *self, uint32_t region_count, uint32_t shard_count)
{
    static const char *const s_names[REGION_COUNT_MAX] = {
        "us-east",  "eu-west",  "ap-south", "us-west", "eu-north", "ap-east", "sa-east", "af-south",
        "us-south", "eu-south", "ap-north", "ca-west", "me-south", "eu-east", "ap-west", "sa-west"};
    CHECK(region_count >= 1 && region_count <= REGION_COUNT_MAX);
    CHECK(shard_count >= 1 && shard_count <= SHARD_COUNT_MAX);

    (void)memset(self, 0, sizeof(*self));
    schema_init_default(&self->schema);
    for (section_t section = SECTION_TOP; section <= SECTION_LAST; section++) {
        if (section != SECTION_REGION) {
            field_set_standards(section, section_of(self, section));
        }
    }
    self->region_count = region_count;
    for (uint32_t i = 0; i < region_count; i++) {
        topology_region_t *region = &self->regions[i];
        region->id.value = (uint16_t)(i + 1);
        (void)snprintf(region->name, sizeof(region->name), "%s", s_names[i]);
        s_set_host(&region->at, "127.0.0.1");
        /* 7110 is the control plane's. */
        region->gateway_port = (uint16_t)(7101 + i + (i < 9 ? 0 : 10));
        region->port_base = (uint16_t)(7200 + 100 * i);
    }
    self->shard_count = shard_count;
    for (uint32_t i = 0; i < shard_count; i++) {
        self->leaders[i] = self->regions[i % region_count].id;
    }
    s_set_host(&self->control.at, "127.0.0.1");
    s_set_host(&self->proxy.at, "127.0.0.1");
    self->has_proxy = region_count > 1;
    /* The blocks of more than three regions reach beyond the default. */
    self->proxy.link_port_base = region_count > 3 ? 20000 : self->proxy.link_port_base;

    errbuf_t errbuf;
    CHECK(topology_check(self, &errbuf) == ERR_OK);
}

static void s_append_u64(buffer_t *text, uint64_t value)
{
    bytes_put_u64(buffer_extend(text, sizeof(value)), value);
}

static void s_append_name(buffer_t *text, const char *name)
{
    s_append_u64(text, strlen(name));
    buffer_append(text, name, strlen(name));
}

uint64_t topology_fingerprint(const topology_t *self)
{
    buffer_t text;
    buffer_init(&text);
    s_append_name(&text, "tidalmesh topology 1");
    s_append_u64(&text, self->shard_count);
    for (uint32_t i = 0; i < self->shard_count; i++) {
        s_append_u64(&text, self->leaders[i].value);
    }
    s_append_u64(&text, self->has_proxy ? 1 : 0);
    /* Regions and signals by their numbers: their order in the file is free. */
    s_append_u64(&text, self->region_count);
    for (unsigned id = 1; id <= REGION_COUNT_MAX; id++) {
        const topology_region_t *region = topology_find_region(self, (region_id_t){(uint16_t)id});
        if (region != NULL) {
            s_append_u64(&text, id);
            s_append_name(&text, region->name);
        }
    }
    s_append_u64(&text, self->schema.signal_count);
    for (unsigned id = 1; id <= SIGNAL_TYPE_COUNT_MAX; id++) {
        const schema_signal_t *signal = schema_find_signal_id(&self->schema, (uint8_t)id);
        if (signal != NULL) {
            s_append_u64(&text, id);
            s_append_name(&text, signal->name);
            s_append_u64(&text, (uint64_t)signal->half_life_s);
            s_append_u64(&text, signal->windows_mask);
        }
    }
    uint64_t fingerprint = XXH3_64bits(text.data, text.size);
    buffer_done(&text);
    return fingerprint == 0 ? 1 : fingerprint;
}

/* -- finding ----------------------------------------------------------------------------------- */

const topology_region_t *topology_find_region(const topology_t *self, region_id_t id)
{
    for (uint32_t i = 0; i < self->region_count; i++) {
        if (self->regions[i].id.value == id.value) {
            return &self->regions[i];
        }
    }
    return NULL;
}

const topology_region_t *topology_find_region_name(const topology_t *self, const char *name)
{
    for (uint32_t i = 0; i < self->region_count; i++) {
        if (strcmp(self->regions[i].name, name) == 0) {
            return &self->regions[i];
        }
    }
    return NULL;
}

const char *topology_place_name(const topology_t *self, region_id_t place)
{
    if (place.value == s_control_place.value) {
        return "control";
    }
    const topology_region_t *region = topology_find_region(self, place);
    return region == NULL ? "?" : region->name;
}

err_t topology_place_parse(const topology_t *self, const char *name, region_id_t *ret_place)
{
    if (strcmp(name, "control") == 0) {
        *ret_place = s_control_place;
        return ERR_OK;
    }
    const topology_region_t *region = topology_find_region_name(self, name);
    if (region == NULL) {
        return ERR_NOT_FOUND;
    }
    *ret_place = region->id;
    return ERR_OK;
}

region_set_t topology_regions(const topology_t *self)
{
    region_set_t set = {0};
    for (uint32_t i = 0; i < self->region_count; i++) {
        set = region_set_add(set, self->regions[i].id);
    }
    return set;
}

region_id_t topology_leader(const topology_t *self, shard_id_t shard)
{
    CHECK(shard.value < self->shard_count);
    return self->leaders[shard.value];
}

/* -- processes --------------------------------------------------------------------------------- */

static uint32_t s_process_count_of_region(const topology_t *self)
{
    return self->shard_count + (self->region_count > 1 ? 4 : 1);
}

static uint32_t s_process_count_of_control(const topology_t *self)
{
    return self->has_proxy ? 2 : 1;
}

uint32_t topology_process_count(const topology_t *self)
{
    return s_process_count_of_control(self) + self->region_count * s_process_count_of_region(self);
}

process_address_t topology_process(const topology_t *self, uint32_t index)
{
    CHECK(index < topology_process_count(self));
    uint32_t before = s_process_count_of_control(self);
    if (index < before) {
        process_kind_t kind = index == 0 ? PROCESS_CONTROL : PROCESS_PROXY;
        return (process_address_t){kind, s_control_place, {0}};
    }
    uint32_t per_region = s_process_count_of_region(self);
    region_id_t region = self->regions[(index - before) / per_region].id;
    uint32_t at = (index - before) % per_region;
    if (at < self->shard_count) {
        return (process_address_t){PROCESS_NODE, region, {(uint16_t)at}};
    }
    if (at == per_region - 1) {
        return (process_address_t){PROCESS_GATEWAY, region, {0}};
    }
    static const process_kind_t s_kinds[] = {PROCESS_SHIPPER, PROCESS_RECEIVER, PROCESS_RECONCILER};
    return (process_address_t){s_kinds[at - self->shard_count], region, {0}};
}

bool topology_has_process(const topology_t *self, process_address_t address)
{
    bool has_region = topology_find_region(self, address.region) != NULL;
    bool is_first = address.shard.value == 0;
    switch (address.kind) {
    case PROCESS_NODE:
        return has_region && address.shard.value < self->shard_count;
    case PROCESS_SHIPPER:
    case PROCESS_RECEIVER:
    case PROCESS_RECONCILER:
        return has_region && is_first && self->region_count > 1;
    case PROCESS_GATEWAY:
        return has_region && is_first;
    case PROCESS_CONTROL:
        return address.region.value == s_control_place.value && is_first;
    case PROCESS_PROXY:
        return address.region.value == s_control_place.value && is_first && self->has_proxy;
    case PROCESS_NONE:
    case PROCESS_TOOL:
        break;
    }
    return false;
}

/* -- endpoints --------------------------------------------------------------------------------- */

const char *link_purpose_name(link_purpose_t purpose)
{
    static const char *const s_names[LINK_PURPOSE_COUNT] = {"request", "ship", "reconcile",
                                                            "publish"};
    CHECK((unsigned)purpose < LINK_PURPOSE_COUNT);
    return s_names[purpose];
}

static uint32_t s_port_in_region(process_address_t address, socket_kind_t kind)
{
    uint32_t publish = kind == SOCKET_PUBLISH ? 1 : 0;
    switch (address.kind) {
    case PROCESS_NODE:
        return 2U * address.shard.value + publish;
    case PROCESS_SHIPPER:
        return PORT_SHIPPER + publish;
    case PROCESS_RECEIVER:
        return PORT_RECEIVER + publish;
    case PROCESS_RECONCILER:
        return PORT_RECONCILER + publish;
    case PROCESS_GATEWAY:
        return PORT_GATEWAY_PUBLISH;
    case PROCESS_NONE:
    case PROCESS_CONTROL:
    case PROCESS_PROXY:
    case PROCESS_TOOL:
        break;
    }
    check_failed("a process of a region", __FILE__, __LINE__, __func__);
}

uint16_t topology_port(const topology_t *self, process_address_t address, socket_kind_t kind)
{
    if (!topology_has_process(self, address)) {
        return 0;
    }
    bool publish = kind == SOCKET_PUBLISH;
    if (address.kind == PROCESS_CONTROL) {
        return publish ? self->control.publish_port : self->control.port;
    }
    if (address.kind == PROCESS_PROXY) {
        return publish ? self->proxy.publish_port : self->proxy.port;
    }
    const topology_region_t *region = topology_find_region(self, address.region);
    CHECK(region != NULL);
    if (address.kind == PROCESS_GATEWAY && !publish) {
        return region->gateway_port;
    }
    return (uint16_t)(region->port_base + s_port_in_region(address, kind));
}

static const topology_host_t *s_host(const topology_t *self, process_address_t address)
{
    if (address.kind == PROCESS_CONTROL) {
        return &self->control.at;
    }
    if (address.kind == PROCESS_PROXY) {
        return &self->proxy.at;
    }
    const topology_region_t *region = topology_find_region(self, address.region);
    CHECK(region != NULL);
    return &region->at;
}

static void s_endpoint(const char *host, uint32_t port, endpoint_t *ret_endpoint)
{
    CHECK(port >= 1 && port <= UINT16_MAX);
    int length =
        snprintf(ret_endpoint->text, sizeof(ret_endpoint->text), "tcp://%s:%u", host, port);
    CHECK(length > 0 && (size_t)length < sizeof(ret_endpoint->text));
}

err_t topology_bind_endpoint(const topology_t *self,
                             process_address_t address,
                             socket_kind_t kind,
                             endpoint_t *ret_endpoint)
{
    uint16_t port = topology_port(self, address, kind);
    if (port == 0) {
        return ERR_NOT_FOUND;
    }
    s_endpoint(s_host(self, address)->bind, port, ret_endpoint);
    return ERR_OK;
}

static bool s_is_place(const topology_t *self, region_id_t place)
{
    return place.value == s_control_place.value || topology_find_region(self, place) != NULL;
}

static bool s_has_link(const topology_t *self, topology_link_t link)
{
    if (!self->has_proxy || link.from.value == link.to.value) {
        return false;
    }
    if (!s_is_place(self, link.from) || !s_is_place(self, link.to)) {
        return false;
    }
    bool regions_only = link.purpose == LINK_SHIP || link.purpose == LINK_RECONCILE;
    return !regions_only || (link.from.value != 0 && link.to.value != 0);
}

err_t topology_connect_endpoint(const topology_t *self,
                                region_id_t from,
                                process_address_t target,
                                link_purpose_t purpose,
                                endpoint_t *ret_endpoint)
{
    if (!s_is_place(self, from) || !topology_has_process(self, target)) {
        return ERR_NOT_FOUND;
    }
    bool direct =
        !self->has_proxy || target.kind == PROCESS_PROXY || target.region.value == from.value;
    if (direct) {
        socket_kind_t kind = purpose == LINK_PUBLISH ? SOCKET_PUBLISH : SOCKET_REQUEST;
        s_endpoint(s_host(self, target)->host, topology_port(self, target, kind), ret_endpoint);
        return ERR_OK;
    }
    topology_link_t link = {from, target.region, purpose};
    if (!s_has_link(self, link)) {
        return ERR_NOT_FOUND;
    }
    s_endpoint(self->proxy.at.host, topology_link_port(self, link), ret_endpoint);
    return ERR_OK;
}

uint32_t topology_link_count(const topology_t *self)
{
    if (!self->has_proxy) {
        return 0;
    }
    uint32_t regions = self->region_count;
    /* Two purposes between every two of regions and control, two more between regions. */
    return 2 * (regions + 1) * regions + 2 * regions * (regions - 1);
}

uint32_t topology_link_port(const topology_t *self, topology_link_t link)
{
    uint32_t highest = 0;
    for (uint32_t i = 0; i < self->region_count; i++) {
        uint32_t id = self->regions[i].id.value;
        highest = id > highest ? id : highest;
    }
    uint32_t pair = link.from.value * (highest + 1) + link.to.value;
    return self->proxy.link_port_base + pair * LINK_PURPOSE_COUNT + (uint32_t)link.purpose;
}

/* Ids of all regions in ascending order. */
static void s_region_ids(const topology_t *self, region_id_t ret_ids[REGION_COUNT_MAX])
{
    uint32_t count = 0;
    for (unsigned id = 1; id <= REGION_COUNT_MAX; id++) {
        if (topology_find_region(self, (region_id_t){(uint16_t)id}) != NULL) {
            ret_ids[count++].value = (uint16_t)id;
        }
    }
    CHECK(count == self->region_count);
}

topology_link_t topology_link(const topology_t *self, uint32_t index)
{
    CHECK(index < topology_link_count(self));
    region_id_t ids[REGION_COUNT_MAX];
    s_region_ids(self, ids);
    uint32_t regions = self->region_count;
    if (index < 2 * regions) {
        link_purpose_t purpose = index % 2 == 0 ? LINK_REQUEST : LINK_PUBLISH;
        return (topology_link_t){s_control_place, ids[index / 2], purpose};
    }
    index -= 2 * regions;
    uint32_t per_region = 2 + LINK_PURPOSE_COUNT * (regions - 1);
    uint32_t from = index / per_region;
    uint32_t at = index % per_region;
    if (at < 2) {
        link_purpose_t purpose = at == 0 ? LINK_REQUEST : LINK_PUBLISH;
        return (topology_link_t){ids[from], s_control_place, purpose};
    }
    uint32_t to = (at - 2) / LINK_PURPOSE_COUNT;
    to += to >= from ? 1 : 0; /* a region has no link to itself */
    return (topology_link_t){ids[from], ids[to], (link_purpose_t)((at - 2) % LINK_PURPOSE_COUNT)};
}

err_t topology_link_endpoint(const topology_t *self, topology_link_t link, endpoint_t *ret_endpoint)
{
    if (!s_has_link(self, link)) {
        return ERR_NOT_FOUND;
    }
    s_endpoint(self->proxy.at.bind, topology_link_port(self, link), ret_endpoint);
    return ERR_OK;
}
