#include "common/topology/topology_fields.h"

#include "common/base/check.h"

#include <stdio.h>
#include <string.h>

enum { PORT_MAX = 65535, HOUR_MS = 3600000, DAY_MS = 24 * HOUR_MS };

#define NUMBER(section, type, member, key, unit, required, min, max, standard)                 \
    {                                                                                          \
        key, unit, offsetof(type, member), sizeof(((type *)NULL)->member), min, max, standard, \
            section, required                                                                  \
    }
#define TEXT(section, type, member, key, required)                                           \
    {                                                                                        \
        key, NULL, offsetof(type, member), sizeof(((type *)NULL)->member), 0, 0, 0, section, \
            required                                                                         \
    }
/* The usual case: key and member have one name, and there is a default. */
#define SETTING(section, type, member, unit, min, max, standard) \
    NUMBER(section, type, member, #member, unit, false, min, max, standard)

static const field_t s_fields[] = {
    NUMBER(SECTION_TOP, topology_t, shard_count, "shards", "", true, 1, SHARD_COUNT_MAX, 0),

    NUMBER(SECTION_REGION, topology_region_t, id.value, "id", "", true, 1, REGION_COUNT_MAX, 0),
    NUMBER(SECTION_REGION,
           topology_region_t,
           gateway_port,
           "gateway_port",
           "port",
           true,
           1,
           PORT_MAX,
           0),
    NUMBER(SECTION_REGION,
           topology_region_t,
           port_base,
           "port_base",
           "port",
           true,
           1,
           PORT_MAX - REGION_PORT_COUNT + 1,
           0),
    TEXT(SECTION_REGION, topology_region_t, name, "name", true),
    TEXT(SECTION_REGION, topology_region_t, at.host, "host", false),
    TEXT(SECTION_REGION, topology_region_t, at.bind, "bind", false),

    SETTING(SECTION_CONTROL, topology_control_t, port, "port", 1, PORT_MAX, 7100),
    SETTING(SECTION_CONTROL, topology_control_t, publish_port, "port", 1, PORT_MAX, 7110),
    TEXT(SECTION_CONTROL, topology_control_t, at.host, "host", false),
    TEXT(SECTION_CONTROL, topology_control_t, at.bind, "bind", false),

    SETTING(SECTION_PROXY, topology_proxy_t, port, "port", 1, PORT_MAX, 7190),
    SETTING(SECTION_PROXY, topology_proxy_t, publish_port, "port", 1, PORT_MAX, 7191),
    SETTING(SECTION_PROXY, topology_proxy_t, link_port_base, "port", 1, PORT_MAX, 7500),
    TEXT(SECTION_PROXY, topology_proxy_t, at.host, "host", false),
    TEXT(SECTION_PROXY, topology_proxy_t, at.bind, "bind", false),

    SETTING(SECTION_LOG,
            topology_log_t,
            segment_size_bytes,
            "bytes",
            SEGMENT_SIZE_MIN,
            SEGMENT_SIZE_MAX,
            SEGMENT_SIZE_DEFAULT),
    SETTING(SECTION_LOG, topology_log_t, seal_idle_ms, "ms", 10, HOUR_MS, 2000),
    SETTING(SECTION_LOG, topology_log_t, seal_age_ms, "ms", 10, DAY_MS, 60000),
    SETTING(SECTION_LOG, topology_log_t, group_hold_ms, "ms", 0, 1000, 20),
    SETTING(SECTION_LOG, topology_log_t, retain_bytes, "bytes", 0, UINT64_C(1) << 50, 0),

    SETTING(SECTION_CHECKPOINT, topology_checkpoint_t, interval_ms, "ms", 10, HOUR_MS, 20000),
    SETTING(SECTION_CHECKPOINT, topology_checkpoint_t, dirty_count_max, "", 1, 100000000, 200000),
    SETTING(SECTION_CHECKPOINT,
            topology_checkpoint_t,
            store_size_bytes,
            "bytes",
            UINT64_C(1) << 24,
            UINT64_C(1) << 44,
            UINT64_C(1) << 36),

    SETTING(SECTION_TIMING, topology_timing_t, heartbeat_ms, "ms", 10, 10000, 250),
    SETTING(SECTION_TIMING, topology_timing_t, peer_silent_ms, "ms", 20, 60000, 1000),
    SETTING(SECTION_TIMING, topology_timing_t, source_silent_ms, "ms", 20, 60000, 1000),
    SETTING(SECTION_TIMING, topology_timing_t, incarnation_wait_ms, "ms", 0, 600000, 5000),
    SETTING(SECTION_TIMING, topology_timing_t, read_timeout_ms, "ms", 1, TIMEOUT_MS_MAX, 2000),
    SETTING(SECTION_TIMING, topology_timing_t, command_timeout_ms, "ms", 1, TIMEOUT_MS_MAX, 5000),
    SETTING(SECTION_TIMING, topology_timing_t, retry_ms, "ms", 1, 10000, 100),
    SETTING(SECTION_TIMING, topology_timing_t, clock_skew_ms, "ms", 1, HOUR_MS, 1000),
    SETTING(SECTION_TIMING, topology_timing_t, reconcile_ms, "ms", 10, HOUR_MS, 5000),
    SETTING(SECTION_TIMING, topology_timing_t, session_idle_ms, "ms", 100, DAY_MS, HOUR_MS / 2),
    SETTING(SECTION_TIMING, topology_timing_t, stop_ms, "ms", 100, 60000, 3000),

    SETTING(SECTION_LIMITS,
            topology_limits_t,
            request_size_bytes,
            "bytes",
            4096,
            CLIENT_REQUEST_SIZE_MAX,
            CLIENT_REQUEST_SIZE_MAX),
    SETTING(SECTION_LIMITS,
            topology_limits_t,
            request_row_count,
            "rows",
            1,
            REQUEST_ROW_COUNT_MAX,
            REQUEST_ROW_COUNT_MAX),
    SETTING(SECTION_LIMITS,
            topology_limits_t,
            candidate_count,
            "items",
            1,
            CANDIDATE_COUNT_MAX,
            CANDIDATE_COUNT_MAX),
    SETTING(SECTION_LIMITS,
            topology_limits_t,
            retrieve_limit,
            "items",
            1,
            RETRIEVE_LIMIT_MAX,
            RETRIEVE_LIMIT_MAX),
    SETTING(SECTION_LIMITS,
            topology_limits_t,
            gateway_inflight_count,
            "requests",
            1,
            GATEWAY_INFLIGHT_COUNT_MAX,
            GATEWAY_INFLIGHT_COUNT_MAX),
    SETTING(SECTION_LIMITS,
            topology_limits_t,
            leader_pending_count,
            "writes",
            1,
            LEADER_PENDING_COUNT_MAX,
            LEADER_PENDING_COUNT_MAX),
    SETTING(SECTION_LIMITS,
            topology_limits_t,
            ship_window_bytes,
            "bytes",
            SHIP_BLOCK_SIZE_MAX,
            SHIP_WINDOW_SIZE_BYTES,
            SHIP_WINDOW_SIZE_BYTES),
    /* The name of the schema file is not kept, only what the file says. */
    {"schema", NULL, 0, 0, 0, 0, 0, SECTION_TOP, true},
};
enum { FIELD_COUNT = sizeof(s_fields) / sizeof(s_fields[0]) };

const char *section_name(section_t section)
{
    static const char *const s_names[SECTION_COUNT] = {"",    "regions",    "control", "proxy",
                                                       "log", "checkpoint", "timing",  "limits"};
    CHECK((unsigned)section < SECTION_COUNT);
    return s_names[section];
}

const field_t *field_at(section_t section, unsigned index)
{
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (s_fields[i].section == section && index-- == 0) {
            return &s_fields[i];
        }
    }
    return NULL;
}

bool field_is_number(const field_t *field)
{
    return field->unit != NULL;
}

uint64_t field_get(const field_t *field, const void *section_struct)
{
    const uint8_t *at = (const uint8_t *)section_struct + field->offset;
    uint16_t value_16 = 0;
    uint32_t value_32 = 0;
    uint64_t value_64 = 0;
    switch (field->size) {
    case sizeof(value_16):
        (void)memcpy(&value_16, at, sizeof(value_16));
        return value_16;
    case sizeof(value_32):
        (void)memcpy(&value_32, at, sizeof(value_32));
        return value_32;
    default:
        CHECK(field->size == sizeof(value_64));
        (void)memcpy(&value_64, at, sizeof(value_64));
        return value_64;
    }
}

void field_set(const field_t *field, void *section_struct, uint64_t value)
{
    CHECK(value <= field->max);
    uint8_t *at = (uint8_t *)section_struct + field->offset;
    uint16_t value_16 = (uint16_t)value;
    uint32_t value_32 = (uint32_t)value;
    switch (field->size) {
    case sizeof(value_16):
        (void)memcpy(at, &value_16, sizeof(value_16));
        break;
    case sizeof(value_32):
        (void)memcpy(at, &value_32, sizeof(value_32));
        break;
    default:
        CHECK(field->size == sizeof(value));
        (void)memcpy(at, &value, sizeof(value));
        break;
    }
}

void field_set_standards(section_t section, void *section_struct)
{
    const field_t *field = NULL;
    for (unsigned i = 0; (field = field_at(section, i)) != NULL; i++) {
        if (field_is_number(field) && !field->required) {
            field_set(field, section_struct, field->standard);
        }
    }
}

void *section_of(topology_t *topology, section_t section)
{
    switch (section) {
    case SECTION_TOP:
        return topology;
    case SECTION_CONTROL:
        return &topology->control;
    case SECTION_PROXY:
        return &topology->proxy;
    case SECTION_LOG:
        return &topology->log;
    case SECTION_CHECKPOINT:
        return &topology->checkpoint;
    case SECTION_TIMING:
        return &topology->timing;
    case SECTION_LIMITS:
        return &topology->limits;
    case SECTION_REGION:
        break;
    }
    check_failed("a section that there is once", __FILE__, __LINE__, __func__);
}

const void *section_of_const(const topology_t *topology, section_t section)
{
    /* section_of only computes an address. */
    union {
        const topology_t *in;
        topology_t *out;
    } plain = {.in = topology};
    return section_of(plain.out, section);
}

uint32_t topology_field_count(void)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        count += field_is_number(&s_fields[i]) ? 1 : 0;
    }
    return count;
}

topology_field_t topology_field(uint32_t index)
{
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        const field_t *field = &s_fields[i];
        if (field_is_number(field) && index-- == 0) {
            return (topology_field_t){section_name(field->section),
                                      field->key,
                                      field->unit,
                                      field->min,
                                      field->max,
                                      field->standard,
                                      field->required};
        }
    }
    check_failed("index < topology_field_count()", __FILE__, __LINE__, __func__);
}

void topology_host_complete(topology_host_t *host)
{
    if (host->bind[0] != '\0') {
        return;
    }
    const char *bind = host->host;
    if (strcmp(host->host, "localhost") == 0) {
        bind = "127.0.0.1";
    } else if (host->host[strspn(host->host, "0123456789.")] != '\0') {
        bind = "*";
    }
    (void)snprintf(host->bind, sizeof(host->bind), "%s", bind);
}
