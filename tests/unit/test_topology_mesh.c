/* Processes of a topology: their list, names, address frames, ports and endpoints. */
#include "common/topology/process.h"
#include "common/topology/topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const region_id_t s_control = {0};
static const region_id_t s_us_east = {1};
static const region_id_t s_eu_west = {2};

static process_address_t s_address(process_kind_t kind, uint16_t region, uint16_t shard)
{
    return (process_address_t){kind, {region}, {shard}};
}

static const topology_t *s_three_region(void)
{
    static topology_t s_topology;
    topology_init_default(&s_topology, 3, 5);
    return &s_topology;
}

/* Goal: the order of the process list is fixed: control, proxy, region by region. */
static void test_topology_mesh_processes_come_in_fixed_order(void **state)
{
    (void)state;
    static topology_t s_topology;
    topology_init_default(&s_topology, 2, 2);
    static const char *const s_names[] = {"control",
                                          "proxy",
                                          "shard-us-east-0",
                                          "shard-us-east-1",
                                          "shipper-us-east",
                                          "receiver-us-east",
                                          "reconciler-us-east",
                                          "gateway-us-east",
                                          "shard-eu-west-0",
                                          "shard-eu-west-1",
                                          "shipper-eu-west",
                                          "receiver-eu-west",
                                          "reconciler-eu-west",
                                          "gateway-eu-west"};
    assert_int_equal(topology_process_count(&s_topology), 14);
    for (uint32_t i = 0; i < 14; i++) {
        char name[PROCESS_NAME_SIZE];
        assert_string_equal(process_name(&s_topology, topology_process(&s_topology, i), name),
                            s_names[i]);
    }
}

/* Goal: one region has nothing to ship and no proxy. */
static void test_topology_mesh_single_region_has_three_processes(void **state)
{
    (void)state;
    static topology_t s_topology;
    topology_init_default(&s_topology, 1, 1);
    static const char *const s_names[] = {"control", "shard-us-east-0", "gateway-us-east"};
    assert_int_equal(topology_process_count(&s_topology), 3);
    for (uint32_t i = 0; i < 3; i++) {
        char name[PROCESS_NAME_SIZE];
        assert_string_equal(process_name(&s_topology, topology_process(&s_topology, i), name),
                            s_names[i]);
    }
    assert_false(topology_has_process(&s_topology, s_address(PROCESS_SHIPPER, 1, 0)));
    assert_false(topology_has_process(&s_topology, s_address(PROCESS_PROXY, 0, 0)));
}

/* Goal: every size of topology passes its own check, and every name of it leads back to its
 * address. */
static void test_topology_mesh_names_round_trip_in_every_size(void **state)
{
    (void)state;
    static topology_t s_topology;
    for (uint32_t regions = 1; regions <= REGION_COUNT_MAX; regions++) {
        topology_init_default(&s_topology, regions, regions % 2 == 0 ? 3 : SHARD_COUNT_MAX);
        for (uint32_t i = 0; i < topology_process_count(&s_topology); i += 1 + regions / 4) {
            process_address_t address = topology_process(&s_topology, i);
            assert_true(topology_has_process(&s_topology, address));
            char name[PROCESS_NAME_SIZE];
            process_address_t found = {PROCESS_NONE, {0}, {0}};
            assert_int_equal(
                process_parse(&s_topology, process_name(&s_topology, address, name), &found),
                ERR_OK);
            assert_true(process_address_equal(found, address));
        }
    }
    assert_true(topology_process_count(&s_topology) <= PROCESS_COUNT_MAX);
}

/* Goal: what is no name of this topology is not found. */
static void test_topology_mesh_unknown_names_are_not_found(void **state)
{
    (void)state;
    static const char *const s_names[] = {"",
                                          "shard",
                                          "shard-us-east",
                                          "shard-us-east-5",
                                          "shard-us-east-00",
                                          "shard-us-east-+1",
                                          "shard-us-east-65536",
                                          "shard-us-west-0",
                                          "shipper-us-east-0",
                                          "Shipper-us-east",
                                          "shipper-",
                                          "control-us-east",
                                          "control ",
                                          "tool",
                                          "none"};
    process_address_t found = s_address(PROCESS_GATEWAY, 1, 0);
    for (size_t i = 0; i < sizeof(s_names) / sizeof(s_names[0]); i++) {
        assert_int_equal(process_parse(s_three_region(), s_names[i], &found), ERR_NOT_FOUND);
        assert_int_equal(found.kind, PROCESS_GATEWAY);
    }
}

/* Goal: a region whose name looks like part of another name is told apart. */
static void test_topology_mesh_names_with_digits_round_trip(void **state)
{
    (void)state;
    static topology_t s_topology;
    topology_init_default(&s_topology, 2, 12);
    (void)snprintf(s_topology.regions[0].name, sizeof(s_topology.regions[0].name), "a");
    (void)snprintf(s_topology.regions[1].name, sizeof(s_topology.regions[1].name), "a-1");
    process_address_t found = {PROCESS_NONE, {0}, {0}};
    assert_int_equal(process_parse(&s_topology, "shard-a-1", &found), ERR_OK);
    assert_true(process_address_equal(found, s_address(PROCESS_NODE, 1, 1)));
    assert_int_equal(process_parse(&s_topology, "shard-a-1-1", &found), ERR_OK);
    assert_true(process_address_equal(found, s_address(PROCESS_NODE, 2, 1)));
}

/* Goal: an address that the topology does not have still has a name for log lines. */
static void test_topology_mesh_name_of_unknown_address_is_written(void **state)
{
    (void)state;
    char name[PROCESS_NAME_SIZE];
    assert_string_equal(process_name(s_three_region(), s_address(PROCESS_NODE, 9, 3), name),
                        "shard-9-3");
    assert_string_equal(process_name(s_three_region(), s_address(PROCESS_NODE, 65535, 65535), name),
                        "shard-65535-65535");
    assert_string_equal(process_name(s_three_region(), s_address(PROCESS_TOOL, 0, 0), name),
                        "tool");
}

/* Goal: the address frame has the documented bytes and round trips for every process. */
static void test_topology_mesh_address_frame_round_trips(void **state)
{
    (void)state;
    uint8_t bytes[PROCESS_FRAME_SIZE];
    process_encode(s_address(PROCESS_NODE, 16, 39), bytes);
    static const uint8_t s_expected[PROCESS_FRAME_SIZE] = {1, 0, 16, 0, 39, 0, 0, 0};
    assert_memory_equal(bytes, s_expected, PROCESS_FRAME_SIZE);
    const topology_t *topology = s_three_region();
    for (uint32_t i = 0; i <= topology_process_count(topology); i++) {
        process_address_t address = i == topology_process_count(topology)
                                        ? s_address(PROCESS_TOOL, 0, 0)
                                        : topology_process(topology, i);
        process_address_t found = {PROCESS_NONE, {0}, {0}};
        process_encode(address, bytes);
        assert_int_equal(process_decode(slice_make(bytes, sizeof(bytes)), &found), ERR_OK);
        assert_true(process_address_equal(found, address));
    }
}

/* Goal: only frames of possible addresses are taken: sizes, zeros, kinds, regions, shards. */
static void test_topology_mesh_bad_address_frame_is_corrupt(void **state)
{
    (void)state;
    static const uint8_t s_frames[][PROCESS_FRAME_SIZE] = {
        {0, 0, 1, 0, 0, 0, 0, 0},  /* no kind */
        {9, 0, 1, 0, 0, 0, 0, 0},  /* unknown kind */
        {1, 1, 1, 0, 0, 0, 0, 0},  /* byte 1 */
        {1, 0, 1, 0, 0, 0, 1, 0},  /* bytes 6, 7 */
        {1, 0, 1, 0, 0, 0, 0, 1},  /* */
        {1, 0, 0, 0, 0, 0, 0, 0},  /* a node of no region */
        {1, 0, 17, 0, 0, 0, 0, 0}, /* region too high */
        {1, 0, 1, 1, 0, 0, 0, 0},  /* */
        {1, 0, 1, 0, 40, 0, 0, 0}, /* shard too high */
        {2, 0, 1, 0, 1, 0, 0, 0},  /* a shipper with a shard */
        {6, 0, 1, 0, 0, 0, 0, 0},  /* control with a region */
        {7, 0, 0, 0, 1, 0, 0, 0},  /* proxy with a shard */
        {8, 0, 1, 0, 0, 0, 0, 0},  /* a tool with a region */
    };
    process_address_t found = s_address(PROCESS_GATEWAY, 1, 0);
    for (size_t i = 0; i < sizeof(s_frames) / sizeof(s_frames[0]); i++) {
        assert_int_equal(process_decode(slice_make(s_frames[i], PROCESS_FRAME_SIZE), &found),
                         ERR_CORRUPT);
    }
    static const uint8_t s_long[9] = {6, 0, 0, 0, 0, 0, 0, 0, 0};
    assert_int_equal(process_decode(slice_make(s_long, 7), &found), ERR_CORRUPT);
    assert_int_equal(process_decode(slice_make(s_long, 9), &found), ERR_CORRUPT);
    assert_int_equal(process_decode(slice_make(NULL, 0), &found), ERR_CORRUPT);
    assert_int_equal(found.kind, PROCESS_GATEWAY);
}

static void s_must_bind(process_address_t address, socket_kind_t kind, const char *expected)
{
    endpoint_t endpoint;
    assert_int_equal(topology_bind_endpoint(s_three_region(), address, kind, &endpoint), ERR_OK);
    assert_string_equal(endpoint.text, expected);
}

/* Goal: the ports of three_region are the documented ones. */
static void test_topology_mesh_bind_endpoints_have_documented_ports(void **state)
{
    (void)state;
    s_must_bind(s_address(PROCESS_CONTROL, 0, 0), SOCKET_REQUEST, "tcp://127.0.0.1:7100");
    s_must_bind(s_address(PROCESS_CONTROL, 0, 0), SOCKET_PUBLISH, "tcp://127.0.0.1:7110");
    s_must_bind(s_address(PROCESS_PROXY, 0, 0), SOCKET_REQUEST, "tcp://127.0.0.1:7190");
    s_must_bind(s_address(PROCESS_PROXY, 0, 0), SOCKET_PUBLISH, "tcp://127.0.0.1:7191");
    s_must_bind(s_address(PROCESS_GATEWAY, 2, 0), SOCKET_REQUEST, "tcp://127.0.0.1:7102");
    s_must_bind(s_address(PROCESS_GATEWAY, 2, 0), SOCKET_PUBLISH, "tcp://127.0.0.1:7397");
    s_must_bind(s_address(PROCESS_NODE, 1, 4), SOCKET_REQUEST, "tcp://127.0.0.1:7208");
    s_must_bind(s_address(PROCESS_NODE, 1, 4), SOCKET_PUBLISH, "tcp://127.0.0.1:7209");
    s_must_bind(s_address(PROCESS_SHIPPER, 1, 0), SOCKET_REQUEST, "tcp://127.0.0.1:7290");
    s_must_bind(s_address(PROCESS_SHIPPER, 1, 0), SOCKET_PUBLISH, "tcp://127.0.0.1:7291");
    s_must_bind(s_address(PROCESS_RECEIVER, 3, 0), SOCKET_REQUEST, "tcp://127.0.0.1:7492");
    s_must_bind(s_address(PROCESS_RECEIVER, 3, 0), SOCKET_PUBLISH, "tcp://127.0.0.1:7493");
    s_must_bind(s_address(PROCESS_RECONCILER, 3, 0), SOCKET_REQUEST, "tcp://127.0.0.1:7494");
    s_must_bind(s_address(PROCESS_RECONCILER, 3, 0), SOCKET_PUBLISH, "tcp://127.0.0.1:7495");
}

/* Goal: a process that the topology does not have, and a tool, bind nothing. */
static void test_topology_mesh_unknown_process_binds_nothing(void **state)
{
    (void)state;
    endpoint_t endpoint;
    static const process_address_t s_addresses[] = {
        {PROCESS_NODE, {1}, {5}},    {PROCESS_NODE, {4}, {0}},    {PROCESS_NODE, {0}, {0}},
        {PROCESS_SHIPPER, {1}, {1}}, {PROCESS_CONTROL, {1}, {0}}, {PROCESS_TOOL, {0}, {0}},
        {PROCESS_NONE, {0}, {0}}};
    for (size_t i = 0; i < sizeof(s_addresses) / sizeof(s_addresses[0]); i++) {
        assert_int_equal(
            topology_bind_endpoint(s_three_region(), s_addresses[i], SOCKET_REQUEST, &endpoint),
            ERR_NOT_FOUND);
    }
}

static void s_must_connect(const topology_t *topology,
                           region_id_t from,
                           process_address_t target,
                           link_purpose_t purpose,
                           const char *expected)
{
    endpoint_t endpoint;
    assert_int_equal(topology_connect_endpoint(topology, from, target, purpose, &endpoint), ERR_OK);
    assert_string_equal(endpoint.text, expected);
}

/* Goal: inside a place connections are direct, between places they go to the link's endpoint, and
 * the proxy itself is reached directly from everywhere. */
static void test_topology_mesh_connect_endpoints_follow_places(void **state)
{
    (void)state;
    const topology_t *topology = s_three_region();
    process_address_t node = s_address(PROCESS_NODE, 1, 2);
    process_address_t receiver = s_address(PROCESS_RECEIVER, 2, 0);
    s_must_connect(topology, s_us_east, node, LINK_REQUEST, "tcp://127.0.0.1:7204");
    s_must_connect(topology, s_us_east, node, LINK_PUBLISH, "tcp://127.0.0.1:7205");
    /* from 2, to 1, P 4: (2 * 4 + 1) * 4 */
    s_must_connect(topology, s_eu_west, node, LINK_REQUEST, "tcp://127.0.0.1:7536");
    s_must_connect(topology, s_eu_west, node, LINK_PUBLISH, "tcp://127.0.0.1:7539");
    s_must_connect(topology, s_us_east, receiver, LINK_SHIP, "tcp://127.0.0.1:7525");
    s_must_connect(topology, s_us_east, s_address(PROCESS_RECONCILER, 2, 0), LINK_RECONCILE,
                   "tcp://127.0.0.1:7526");
    s_must_connect(topology, s_control, node, LINK_REQUEST, "tcp://127.0.0.1:7504");
    s_must_connect(topology, s_us_east, s_address(PROCESS_CONTROL, 0, 0), LINK_REQUEST,
                   "tcp://127.0.0.1:7516");
    s_must_connect(topology, s_control, s_address(PROCESS_CONTROL, 0, 0), LINK_PUBLISH,
                   "tcp://127.0.0.1:7110");
    s_must_connect(topology, s_us_east, s_address(PROCESS_PROXY, 0, 0), LINK_REQUEST,
                   "tcp://127.0.0.1:7190");
    s_must_connect(topology, s_us_east, s_address(PROCESS_PROXY, 0, 0), LINK_PUBLISH,
                   "tcp://127.0.0.1:7191");
}

/* Goal: without a proxy everything is direct, at the host of the target. */
static void test_topology_mesh_connect_without_proxy_is_direct(void **state)
{
    (void)state;
    static topology_t s_topology;
    topology_init_default(&s_topology, 2, 1);
    s_topology.has_proxy = false;
    (void)snprintf(s_topology.regions[1].at.host, sizeof(s_topology.regions[1].at.host), "eu.mesh");
    (void)snprintf(s_topology.regions[1].at.bind, sizeof(s_topology.regions[1].at.bind), "*");
    process_address_t receiver = s_address(PROCESS_RECEIVER, 2, 0);
    s_must_connect(&s_topology, s_us_east, receiver, LINK_SHIP, "tcp://eu.mesh:7392");
    s_must_connect(&s_topology, s_us_east, receiver, LINK_PUBLISH, "tcp://eu.mesh:7393");
    endpoint_t endpoint;
    assert_int_equal(topology_bind_endpoint(&s_topology, receiver, SOCKET_REQUEST, &endpoint),
                     ERR_OK);
    assert_string_equal(endpoint.text, "tcp://*:7392");
    assert_int_equal(topology_link_count(&s_topology), 0);
}

/* Goal: no connection from a place that is none, to a process that is none, or by a purpose that
 * the two places have no link for. */
static void test_topology_mesh_impossible_connection_is_not_found(void **state)
{
    (void)state;
    const topology_t *topology = s_three_region();
    endpoint_t endpoint;
    process_address_t node = s_address(PROCESS_NODE, 1, 0);
    region_id_t nowhere = {9};
    assert_int_equal(topology_connect_endpoint(topology, nowhere, node, LINK_REQUEST, &endpoint),
                     ERR_NOT_FOUND);
    assert_int_equal(topology_connect_endpoint(topology, s_us_east, s_address(PROCESS_NODE, 9, 0),
                                               LINK_REQUEST, &endpoint),
                     ERR_NOT_FOUND);
    assert_int_equal(topology_connect_endpoint(topology, s_control, node, LINK_SHIP, &endpoint),
                     ERR_NOT_FOUND);
    assert_int_equal(topology_connect_endpoint(topology, s_us_east,
                                               s_address(PROCESS_CONTROL, 0, 0), LINK_RECONCILE,
                                               &endpoint),
                     ERR_NOT_FOUND);
}

/* Goal: the proxy's list has every link once, in order, each with an endpoint of its own, and is
 * what others connect to. */
static void test_topology_mesh_links_are_listed_once(void **state)
{
    (void)state;
    static topology_t s_topology;
    static bool s_seen[65536];
    for (uint32_t regions = 2; regions <= REGION_COUNT_MAX; regions++) {
        (void)memset(s_seen, 0, sizeof(s_seen));
        topology_init_default(&s_topology, regions, 2);
        uint32_t count = topology_link_count(&s_topology);
        assert_int_equal(count, 2 * regions * (regions + 1) + 2 * regions * (regions - 1));
        assert_true(count <= LINK_COUNT_MAX);
        uint64_t last = 0;
        for (uint32_t i = 0; i < count; i++) {
            topology_link_t link = topology_link(&s_topology, i);
            uint64_t order = (uint64_t)link.from.value << 16 | (uint64_t)link.to.value << 8 |
                             (uint64_t)link.purpose;
            assert_true(order > last);
            last = order;
            endpoint_t endpoint;
            assert_int_equal(topology_link_endpoint(&s_topology, link, &endpoint), ERR_OK);
            unsigned long port = strtoul(endpoint.text + strlen("tcp://127.0.0.1:"), NULL, 10);
            assert_true(port <= 65535);
            assert_false(s_seen[port]);
            s_seen[port] = true;
            process_kind_t kind = link.to.value == 0 ? PROCESS_CONTROL : PROCESS_GATEWAY;
            s_must_connect(&s_topology, link.from, s_address(kind, link.to.value, 0), link.purpose,
                           endpoint.text);
        }
    }
    assert_string_equal(link_purpose_name(LINK_RECONCILE), "reconcile");
}

/* Goal: region ids need not follow each other: ports of links go by the highest id. */
static void test_topology_mesh_links_with_sparse_region_ids(void **state)
{
    (void)state;
    static topology_t s_topology;
    topology_init_default(&s_topology, 2, 1);
    s_topology.regions[0].id.value = 9;
    s_topology.regions[1].id.value = 4;
    s_topology.leaders[0].value = 9;
    errbuf_t errbuf = {""};
    assert_int_equal(topology_check(&s_topology, &errbuf), ERR_OK);
    assert_int_equal(topology_link_count(&s_topology), 2 * 2 * 3 + 2 * 2);
    topology_link_t first = topology_link(&s_topology, 0);
    assert_int_equal(first.from.value, 0);
    assert_int_equal(first.to.value, 4);
    /* from 9, to 4, P 10: (9 * 10 + 4) * 4 + 1 */
    s_must_connect(&s_topology, (region_id_t){9}, s_address(PROCESS_RECEIVER, 4, 0), LINK_SHIP,
                   "tcp://127.0.0.1:7877");
    assert_int_equal(topology_regions(&s_topology).bits, 1U << 9 | 1U << 4);
}

/* Goal: places have names both ways, others are not found. */
static void test_topology_mesh_place_names_round_trip(void **state)
{
    (void)state;
    const topology_t *topology = s_three_region();
    static const char *const s_names[] = {"control", "us-east", "eu-west", "ap-south"};
    for (uint16_t i = 0; i < 4; i++) {
        region_id_t place = {77};
        assert_string_equal(topology_place_name(topology, (region_id_t){i}), s_names[i]);
        assert_int_equal(topology_place_parse(topology, s_names[i], &place), ERR_OK);
        assert_int_equal(place.value, i);
    }
    region_id_t place = {77};
    assert_int_equal(topology_place_parse(topology, "us-west", &place), ERR_NOT_FOUND);
    assert_int_equal(place.value, 77);
    assert_string_equal(topology_place_name(topology, (region_id_t){4}), "?");
    assert_null(topology_find_region(topology, s_control));
    assert_null(topology_find_region_name(topology, "control"));
}

/* Goal: shard i is led by region i mod N in the order of the list. */
static void test_topology_mesh_default_leaders_go_round(void **state)
{
    (void)state;
    static const uint16_t s_expected[] = {1, 2, 3, 1, 2};
    for (uint16_t i = 0; i < 5; i++) {
        assert_int_equal(topology_leader(s_three_region(), (shard_id_t){i}).value, s_expected[i]);
    }
}

/* Goal: the fingerprint changes with what processes must agree on, and with nothing else. */
static void test_topology_mesh_fingerprint_covers_what_must_agree(void **state)
{
    (void)state;
    static topology_t s_a;
    static topology_t s_b;
    topology_init_default(&s_a, 3, 5);
    uint64_t expected = topology_fingerprint(&s_a);
    assert_int_not_equal(expected, 0);
#define AFTER(change) (s_b = s_a, (change), topology_fingerprint(&s_b))
    assert_int_equal(AFTER(s_b.timing.heartbeat_ms = 100), expected);
    assert_int_equal(AFTER(s_b.regions[0].port_base = 9000), expected);
    assert_int_equal(AFTER(s_b.regions[0].at.host[0] = 'x'), expected);
    assert_int_equal(AFTER(s_b.schema.profile_default = 1), expected);
    assert_int_equal(AFTER(s_b.schema.profiles[0].terms[0].weight = 9), expected);
    assert_int_not_equal(AFTER(s_b.shard_count = 4), expected);
    assert_int_not_equal(AFTER(s_b.region_count = 2), expected);
    assert_int_not_equal(AFTER(s_b.regions[0].name[0] = 'x'), expected);
    assert_int_not_equal(AFTER(s_b.regions[2].id.value = 4), expected);
    assert_int_not_equal(AFTER(s_b.leaders[4].value = 3), expected);
    assert_int_not_equal(AFTER(s_b.has_proxy = false), expected);
    assert_int_not_equal(AFTER(s_b.schema.signals[1].half_life_s++), expected);
    assert_int_not_equal(AFTER(s_b.schema.signals[1].windows_mask = 16), expected);
    assert_int_not_equal(AFTER(s_b.schema.signals[1].name[0] = 'x'), expected);
    assert_int_not_equal(AFTER(s_b.schema.signals[1].id = 9), expected);
    assert_int_not_equal(AFTER(s_b.schema.signal_count = 3), expected);
#undef AFTER
    /* The order in the file is free. */
    s_b = s_a;
    s_b.regions[0] = s_a.regions[1];
    s_b.regions[1] = s_a.regions[0];
    s_b.schema.signals[0] = s_a.schema.signals[3];
    s_b.schema.signals[3] = s_a.schema.signals[0];
    assert_int_equal(topology_fingerprint(&s_b), expected);
}

/* Goal: a topology made in code is held to the rules of a file. */
static void test_topology_mesh_check_refuses_broken_topology(void **state)
{
    (void)state;
    static topology_t s_topology;
    errbuf_t errbuf;
#define MUST_REFUSE(change, message)                                         \
    do {                                                                     \
        topology_init_default(&s_topology, 3, 5);                            \
        change;                                                              \
        assert_int_equal(topology_check(&s_topology, &errbuf), ERR_INVALID); \
        assert_string_equal(errbuf.text, "topology: " message);              \
    } while (0)
    MUST_REFUSE(s_topology.region_count = 0, "regions: expected 1 to 16 regions, found 0");
    MUST_REFUSE(s_topology.region_count = 17, "regions: expected 1 to 16 regions, found 17");
    MUST_REFUSE(s_topology.shard_count = 0, "shards: expected 1 to 40, found 0");
    MUST_REFUSE(s_topology.shard_count = 41, "shards: expected 1 to 40, found 41");
    MUST_REFUSE(s_topology.leaders[4].value = 7,
                "leaders[4]: expected a region of this topology, found id 7");
    MUST_REFUSE(s_topology.regions[2].id.value = 17, "regions[2].id: expected 1 to 16, found 17");
    MUST_REFUSE(s_topology.regions[2].gateway_port = 0,
                "regions[2].gateway_port: expected 1 to 65535, found 0");
    MUST_REFUSE(s_topology.timing.stop_ms = 1, "timing.stop_ms: expected 100 to 60000, found 1");
    MUST_REFUSE(s_topology.proxy.port = 7100,
                "proxy.port: expected a free port for proxy (requests), found port 7100 taken by "
                "control (requests)");
#undef MUST_REFUSE
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topology_mesh_processes_come_in_fixed_order),
        cmocka_unit_test(test_topology_mesh_single_region_has_three_processes),
        cmocka_unit_test(test_topology_mesh_names_round_trip_in_every_size),
        cmocka_unit_test(test_topology_mesh_unknown_names_are_not_found),
        cmocka_unit_test(test_topology_mesh_names_with_digits_round_trip),
        cmocka_unit_test(test_topology_mesh_name_of_unknown_address_is_written),
        cmocka_unit_test(test_topology_mesh_address_frame_round_trips),
        cmocka_unit_test(test_topology_mesh_bad_address_frame_is_corrupt),
        cmocka_unit_test(test_topology_mesh_bind_endpoints_have_documented_ports),
        cmocka_unit_test(test_topology_mesh_unknown_process_binds_nothing),
        cmocka_unit_test(test_topology_mesh_connect_endpoints_follow_places),
        cmocka_unit_test(test_topology_mesh_connect_without_proxy_is_direct),
        cmocka_unit_test(test_topology_mesh_impossible_connection_is_not_found),
        cmocka_unit_test(test_topology_mesh_links_are_listed_once),
        cmocka_unit_test(test_topology_mesh_links_with_sparse_region_ids),
        cmocka_unit_test(test_topology_mesh_place_names_round_trip),
        cmocka_unit_test(test_topology_mesh_default_leaders_go_round),
        cmocka_unit_test(test_topology_mesh_fingerprint_covers_what_must_agree),
        cmocka_unit_test(test_topology_mesh_check_refuses_broken_topology),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
