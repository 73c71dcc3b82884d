/* The rules of a topology: ranges, names, and that no port is bound twice. */
#include "common/base/check.h"
#include "common/topology/process.h"
#include "common/topology/topology.h"
#include "common/topology/topology_fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void s_path(topology_problem_t *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool s_text(topology_problem_t *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void s_path(topology_problem_t *problem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->path, sizeof(problem->path), format, arguments);
    va_end(arguments);
}

/* Returns true: there is a problem. */
static bool s_text(topology_problem_t *problem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->text, sizeof(problem->text), format, arguments);
    va_end(arguments);
    return true;
}

/* -- ranges ------------------------------------------------------------------------------------ */

/* in prefix of the paths, "timing." and the like */
static bool s_range_problem(section_t section,
                            const void *section_struct,
                            const char *prefix,
                            topology_problem_t *problem)
{
    const field_t *field = NULL;
    for (unsigned i = 0; (field = field_at(section, i)) != NULL; i++) {
        uint64_t value = field_is_number(field) ? field_get(field, section_struct) : 0;
        if (field_is_number(field) && (value < field->min || value > field->max)) {
            s_path(problem, "%s%s", prefix, field->key);
            return s_text(problem, "expected %llu to %llu, found %llu",
                          (unsigned long long)field->min, (unsigned long long)field->max,
                          (unsigned long long)value);
        }
    }
    return false;
}

static bool s_ranges_problem(const topology_t *self, topology_problem_t *problem)
{
    if (self->region_count < 1 || self->region_count > REGION_COUNT_MAX) {
        s_path(problem, "regions");
        return s_text(problem, "expected 1 to %d regions, found %u", REGION_COUNT_MAX,
                      self->region_count);
    }
    for (section_t section = SECTION_TOP; section <= SECTION_LAST; section++) {
        bool absent = section == SECTION_REGION || (section == SECTION_PROXY && !self->has_proxy);
        char prefix[PROBLEM_PATH_SIZE];
        (void)snprintf(prefix, sizeof(prefix), "%s%s", section_name(section),
                       section == SECTION_TOP ? "" : ".");
        if (!absent && s_range_problem(section, section_of_const(self, section), prefix, problem)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < self->region_count; i++) {
        char prefix[PROBLEM_PATH_SIZE];
        (void)snprintf(prefix, sizeof(prefix), "regions[%u].", i);
        if (s_range_problem(SECTION_REGION, &self->regions[i], prefix, problem)) {
            return true;
        }
    }
    return false;
}

/* -- names ------------------------------------------------------------------------------------- */

static bool s_is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool s_name_problem(const topology_t *self, uint32_t at, topology_problem_t *problem)
{
    const char *name = self->regions[at].name;
    size_t length = strnlen(name, sizeof(self->regions[at].name));
    s_path(problem, "regions[%u].name", at);
    bool fits = length >= 1 && length <= REGION_NAME_LENGTH_MAX;
    for (size_t i = 0; fits && i < length; i++) {
        fits = s_is_alnum(name[i]) || name[i] == '-';
    }
    if (!fits || name[0] == '-' || name[length - 1] == '-') {
        return s_text(problem,
                      "expected 1 to %d of a-z, 0-9 and -, no - at either end, found '%.*s'",
                      REGION_NAME_LENGTH_MAX, (int)length, name);
    }
    if (strcmp(name, "control") == 0) {
        return s_text(problem, "expected another name: 'control' is the control plane's place");
    }
    for (uint32_t i = 0; i < at; i++) {
        if (strcmp(self->regions[i].name, name) == 0) {
            return s_text(problem, "expected a name of its own, found '%s' as in regions[%u]", name,
                          i);
        }
    }
    return false;
}

static bool s_id_problem(const topology_t *self, uint32_t at, topology_problem_t *problem)
{
    uint16_t id = self->regions[at].id.value;
    for (uint32_t i = 0; i < at; i++) {
        if (self->regions[i].id.value == id) {
            s_path(problem, "regions[%u].id", at);
            return s_text(problem, "expected an id of its own, found %u as in regions[%u] (%s)", id,
                          i, self->regions[i].name);
        }
    }
    return false;
}

static bool s_is_host(const char *host)
{
    size_t length = strlen(host);
    bool fits = length >= 1 && s_is_alnum(host[0]);
    for (size_t i = 0; fits && i < length; i++) {
        char c = host[i];
        fits = s_is_alnum(c) || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
    }
    return fits;
}

/* Four numbers of 0..255. */
static bool s_is_ipv4(const char *text)
{
    for (int part = 0; part < 4; part++) {
        size_t digits = strspn(text, "0123456789");
        char number[4];
        if (digits < 1 || digits > 3) {
            return false;
        }
        (void)snprintf(number, sizeof(number), "%.*s", (int)digits, text);
        uint64_t value = 0;
        if (text_to_u64(number, 0, 255, &value) != ERR_OK) {
            return false;
        }
        text += digits;
        if (*text != (part < 3 ? '.' : '\0')) {
            return false;
        }
        text += part < 3 ? 1 : 0;
    }
    return true;
}

/* in prefix of the path, "regions[1]" and the like */
static bool s_host_problem(const topology_host_t *host,
                           const char *prefix,
                           topology_problem_t *problem)
{
    if (!s_is_host(host->host)) {
        s_path(problem, "%s.host", prefix);
        return s_text(problem, "expected a host name or an IPv4 address, found '%.40s'",
                      host->host);
    }
    bool only_digits = host->host[strspn(host->host, "0123456789.")] == '\0';
    if (only_digits && !s_is_ipv4(host->host)) {
        s_path(problem, "%s.host", prefix);
        return s_text(problem, "expected an IPv4 address (four numbers of 0 to 255), found '%.40s'",
                      host->host);
    }
    if (strcmp(host->bind, "*") != 0 && !s_is_ipv4(host->bind)) {
        s_path(problem, "%s.bind", prefix);
        return s_text(problem,
                      "expected the IPv4 address to listen on, or * for all, found '%.40s'",
                      host->bind);
    }
    return false;
}

static bool s_regions_problem(const topology_t *self, topology_problem_t *problem)
{
    for (uint32_t i = 0; i < self->region_count; i++) {
        char prefix[PROBLEM_PATH_SIZE];
        (void)snprintf(prefix, sizeof(prefix), "regions[%u]", i);
        if (s_name_problem(self, i, problem) || s_id_problem(self, i, problem) ||
            s_host_problem(&self->regions[i].at, prefix, problem)) {
            return true;
        }
    }
    return s_host_problem(&self->control.at, "control", problem) ||
           (self->has_proxy && s_host_problem(&self->proxy.at, "proxy", problem));
}

static bool s_leaders_problem(const topology_t *self, topology_problem_t *problem)
{
    for (uint32_t i = 0; i < self->shard_count; i++) {
        if (topology_find_region(self, self->leaders[i]) == NULL) {
            s_path(problem, "leaders[%u]", i);
            return s_text(problem, "expected a region of this topology, found id %u",
                          self->leaders[i].value);
        }
    }
    return false;
}

static bool s_timing_problem(const topology_t *self, topology_problem_t *problem)
{
    if (self->timing.peer_silent_ms < 4 * self->timing.heartbeat_ms) {
        s_path(problem, "timing.peer_silent_ms");
        return s_text(problem,
                      "expected at least four times heartbeat_ms (%u), found %u: one late sign "
                      "of life, every second heartbeat, would look like a lost peer",
                      self->timing.heartbeat_ms, self->timing.peer_silent_ms);
    }
    if (self->timing.source_silent_ms < 4 * self->timing.heartbeat_ms) {
        s_path(problem, "timing.source_silent_ms");
        return s_text(problem,
                      "expected at least four times heartbeat_ms (%u), found %u: streams "
                      "would be taken now from here and now from there",
                      self->timing.heartbeat_ms, self->timing.source_silent_ms);
    }
    return false;
}

/* -- ports ------------------------------------------------------------------------------------- */

/* One port that the topology binds, and for whom. */
typedef struct {
    const char *host;
    uint32_t port;
    uint32_t order; /* in which they were listed: region by region, then the proxy's links */
    bool is_link;
    process_address_t address; /* unless is_link */
    socket_kind_t kind;
    topology_link_t link; /* where is_link */
} bound_t;

enum { BOUND_COUNT_MAX = 2 * PROCESS_COUNT_MAX + LINK_COUNT_MAX };

typedef struct {
    uint32_t count;
    bound_t bounds[BOUND_COUNT_MAX];
} bounds_t;

static int s_compare_bounds(const void *a_void, const void *b_void)
{
    const bound_t *a = a_void;
    const bound_t *b = b_void;
    int order = strcmp(a->host, b->host);
    if (order == 0) {
        order = (a->port > b->port) - (a->port < b->port);
    }
    if (order == 0) {
        order = (a->order > b->order) - (a->order < b->order);
    }
    return order;
}

static const char *s_host_of(const topology_t *self, process_address_t address)
{
    if (address.kind == PROCESS_CONTROL) {
        return self->control.at.host;
    }
    if (address.kind == PROCESS_PROXY) {
        return self->proxy.at.host;
    }
    const topology_region_t *region = topology_find_region(self, address.region);
    CHECK(region != NULL);
    return region->at.host;
}

static void s_list_bounds(const topology_t *self, bounds_t *bounds)
{
    for (uint32_t i = 0; i < topology_process_count(self); i++) {
        process_address_t address = topology_process(self, i);
        for (socket_kind_t kind = SOCKET_REQUEST; kind <= SOCKET_PUBLISH; kind++) {
            CHECK(bounds->count < BOUND_COUNT_MAX);
            bound_t *bound = &bounds->bounds[bounds->count];
            *bound = (bound_t){.host = s_host_of(self, address),
                               .port = topology_port(self, address, kind),
                               .order = bounds->count++,
                               .address = address,
                               .kind = kind};
        }
    }
    for (uint32_t i = 0; i < topology_link_count(self); i++) {
        CHECK(bounds->count < BOUND_COUNT_MAX);
        topology_link_t link = topology_link(self, i);
        bound_t *bound = &bounds->bounds[bounds->count];
        *bound = (bound_t){.host = self->proxy.at.host,
                           .port = topology_link_port(self, link),
                           .order = bounds->count++,
                           .is_link = true,
                           .link = link};
    }
}

/* The field of the file from which this port follows. */
static void s_bound_path(const topology_t *self, const bound_t *bound, topology_problem_t *problem)
{
    bool publish = bound->kind == SOCKET_PUBLISH;
    if (bound->is_link) {
        s_path(problem, "proxy.link_port_base");
    } else if (bound->address.kind == PROCESS_CONTROL || bound->address.kind == PROCESS_PROXY) {
        s_path(problem, "%s.%s", process_kind_name(bound->address.kind),
               publish ? "publish_port" : "port");
    } else {
        const topology_region_t *region = topology_find_region(self, bound->address.region);
        bool is_gateway_port = bound->address.kind == PROCESS_GATEWAY && !publish;
        s_path(problem, "regions[%zu].%s", (size_t)(region - self->regions),
               is_gateway_port ? "gateway_port" : "port_base");
    }
}

enum { BOUND_NAME_SIZE = 128 };

static const char *s_bound_name(const topology_t *self,
                                const bound_t *bound,
                                char ret_name[BOUND_NAME_SIZE])
{
    char name[PROCESS_NAME_SIZE];
    if (bound->is_link) {
        (void)snprintf(ret_name, BOUND_NAME_SIZE, "proxy (%s link from %s to %s)",
                       link_purpose_name(bound->link.purpose),
                       topology_place_name(self, bound->link.from),
                       topology_place_name(self, bound->link.to));
    } else {
        (void)snprintf(ret_name, BOUND_NAME_SIZE, "%s (%s)",
                       process_name(self, bound->address, name),
                       bound->kind == SOCKET_PUBLISH ? "publishing" : "requests");
    }
    return ret_name;
}

static bool s_bounds_problem(const topology_t *self, bounds_t *bounds, topology_problem_t *problem)
{
    s_list_bounds(self, bounds);
    qsort(bounds->bounds, bounds->count, sizeof(bound_t), s_compare_bounds);
    const bound_t *first = NULL;
    const bound_t *second = NULL;
    for (uint32_t i = 0; i < bounds->count; i++) {
        const bound_t *bound = &bounds->bounds[i];
        if (bound->port > UINT16_MAX) {
            s_bound_path(self, bound, problem);
            return s_text(problem,
                          "expected ports up to %d, found that the last link needs more: "
                          "choose a lower base",
                          UINT16_MAX);
        }
        bool again =
            i > 0 && strcmp(bound[-1].host, bound->host) == 0 && bound[-1].port == bound->port;
        if (again && (second == NULL || bound->order < second->order)) {
            first = bound - 1;
            second = bound;
        }
    }
    if (second == NULL) {
        return false;
    }
    char first_name[BOUND_NAME_SIZE];
    char second_name[BOUND_NAME_SIZE];
    s_bound_path(self, second, problem);
    return s_text(problem, "expected a free port for %s, found port %u taken by %s",
                  s_bound_name(self, second, second_name), second->port,
                  s_bound_name(self, first, first_name));
}

static bool s_ports_problem(const topology_t *self, topology_problem_t *problem)
{
    bounds_t *bounds = calloc(1, sizeof(*bounds));
    CHECK(bounds != NULL);
    bool found = s_bounds_problem(self, bounds, problem);
    free(bounds);
    return found;
}

bool topology_find_problem(const topology_t *self, topology_problem_t *ret_problem)
{
    return s_ranges_problem(self, ret_problem) || s_regions_problem(self, ret_problem) ||
           s_leaders_problem(self, ret_problem) || s_timing_problem(self, ret_problem) ||
           s_ports_problem(self, ret_problem);
}

err_t topology_check(const topology_t *self, errbuf_t *errbuf)
{
    topology_problem_t problem;
    if (topology_find_problem(self, &problem)) {
        errbuf_set(errbuf, "topology: %s: %s", problem.path, problem.text);
        return ERR_INVALID;
    }
    return ERR_OK;
}
