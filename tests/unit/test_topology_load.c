/* Topology files: what is refused, with which words and at which place, and what the shipped files
 * say. Each row changes one thing in the file of topology_files.c. */
#include "common/topology/topology.h"
#include "tests/unit/topology_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *s_source_folder = NULL;

typedef struct {
    const char *from;
    const char *to;
    const char *message; /* behind "<path of the topology file>:" */
} row_t;

static int s_open(void **state)
{
    static topology_files_t s_files;
    topology_files_open(&s_files);
    *state = &s_files;
    return 0;
}

static int s_close(void **state)
{
    topology_files_close(*state);
    return 0;
}

/* The file with this change is refused with this message, and the result is not touched. */
static void s_must_refuse(const topology_files_t *files, const row_t *row)
{
    static topology_t s_topology;
    static topology_t s_untouched;
    (void)memset(&s_topology, 0x5a, sizeof(s_topology));
    (void)memset(&s_untouched, 0x5a, sizeof(s_untouched));
    topology_files_write(files->topology, topology_files_text(), row->from, row->to);
    errbuf_t errbuf = {""};
    assert_int_equal(topology_load(files->topology, &s_topology, &errbuf), ERR_INVALID);
    char expected[ERRBUF_SIZE_BYTES * 2];
    (void)snprintf(expected, sizeof(expected), "cannot load the topology: %s:%s", files->topology,
                   row->message);
    assert_string_equal(errbuf.text, expected);
    assert_memory_equal(&s_topology, &s_untouched, sizeof(s_topology));
}

static void s_must_refuse_all(void **state, const row_t *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s_must_refuse(*state, &rows[i]);
    }
}
#define ROW_COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* The file with this change loads. */
static void s_must_load(void **state, const char *from, const char *to, topology_t *ret_topology)
{
    const topology_files_t *files = *state;
    topology_files_write(files->topology, topology_files_text(), from, to);
    errbuf_t errbuf = {""};
    err_t err = topology_load(files->topology, ret_topology, &errbuf);
    assert_string_equal(errbuf.text, "");
    assert_int_equal(err, ERR_OK);
}

/* Goal: a misspelt key is refused at its own place, with the keys that there are. */
static void test_topology_load_unknown_key_names_place_and_known_keys(void **state)
{
    static const row_t s_rows[] = {
        {"shards:", "shard:",
         "1:1: unknown key 'shard' (meant 'shards'?): expected one of shards schema regions "
         "leaders control proxy log checkpoint timing limits"},
        {"    port_base: 7300", "    port_bse: 7300",
         "12:5: regions[1]: unknown key 'port_bse' (meant 'port_base'?): expected one of id "
         "gateway_port port_base name host bind"},
        {"  heartbeat_ms:", "  heartbeat:",
         "19:3: timing: unknown key 'heartbeat' (meant 'heartbeat_ms'?): expected one of "
         "heartbeat_ms peer_silent_ms source_silent_ms incarnation_wait_ms read_timeout_ms "
         "command_timeout_ms retry_ms clock_skew_ms reconcile_ms session_idle_ms stop_ms"},
        {"  link_port_base", "  colour",
         "17:3: proxy: unknown key 'colour': expected one of port publish_port link_port_base "
         "host bind"},
        {"control:\n", "control:\n  Port: 1\n",
         "14:3: control: unknown key 'Port' (meant 'port'?): expected one of port publish_port "
         "host bind"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: a key that is missing or there twice is refused, at the map that lacks it or at the second
 * one. */
static void test_topology_load_missing_or_repeated_key_is_refused(void **state)
{
    static const row_t s_rows[] = {
        {"shards: 2\n", "", "1:1: expected the key 'shards', found none"},
        {"schema: schema.yaml\n", "", "1:1: expected the key 'schema', found none"},
        {"    port_base: 7300\n", "", "8:5: regions[1]: expected the key 'port_base', found none"},
        {"    id: 1\n", "", "4:5: regions[0]: expected the key 'id', found none"},
        {"schema: ", "shards: 3\nschema: ",
         "2:1: expected the key 'shards' once, found it again (first in line 1)"},
        {"    id: 2\n", "    id: 2\n    id: 3\n",
         "10:5: regions[1]: expected the key 'id' once, found it again (first in line 9)"},
        {"timing:\n", "control: {}\ntiming:\n",
         "18:1: expected the key 'control' once, found it again (first in line 13)"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: a value of the wrong kind is refused at its place. */
static void test_topology_load_wrong_kind_of_value_is_refused(void **state)
{
    static const row_t s_rows[] = {
        {"shards: 2", "shards: [2]", "1:9: shards: expected one value, found a list"},
        {"shards: 2", "shards: {a: 2}", "1:9: shards: expected one value, found a map"},
        {"control:\n", "log: 7\ncontrol:\n", "13:6: log: expected a map, found '7'"},
        {"control:\n", "log:\ncontrol:\n", "13:5: log: expected a map, found nothing"},
        {"control:\n", "log: []\ncontrol:\n", "13:6: log: expected a map, found a list"},
        {"control:\n", "leaders: us-east\ncontrol:\n",
         "13:10: leaders: expected a list, found 'us-east'"},
        {"control:\n", "leaders: [[us-east]]\ncontrol:\n",
         "13:11: leaders[0]: expected one value, found a list"},
        {"shards: 2", "? [a]\n: 3\nshards: 2", "1:3: expected a key, found a list"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: a list that is too short or too long is refused. */
static void test_topology_load_list_length_is_bounded(void **state)
{
    static const row_t s_rows[] = {
        {"control:\n", "leaders: []\ncontrol:\n",
         "13:10: leaders: expected 1 to 40 entries, found 0"},
        {"control:\n", "leaders: [us-east]\ncontrol:\n",
         "13:10: leaders: expected one region per shard (2), found 1"},
        {"control:\n", "leaders: [us-east, us-east, us-east]\ncontrol:\n",
         "13:10: leaders: expected one region per shard (2), found 3"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: 17 regions are one too many. */
static void test_topology_load_seventeen_regions_are_refused(void **state)
{
    const topology_files_t *files = *state;
    buffer_t text;
    buffer_init(&text);
    static const char s_head[] = "shards: 1\nschema: schema.yaml\nregions:\n";
    buffer_append(&text, s_head, strlen(s_head));
    for (int i = 1; i <= 17; i++) {
        char line[128];
        int length = snprintf(line, sizeof(line),
                              "  - {name: r%d, id: %d, gateway_port: %d, port_base: %d}\n", i, i,
                              2000 + i, 3000 + 100 * i);
        buffer_append(&text, line, (size_t)length);
    }
    topology_files_write_bytes(files->topology, text.data, text.size);
    buffer_done(&text);
    static topology_t s_topology;
    errbuf_t errbuf;
    assert_int_equal(topology_load(files->topology, &s_topology, &errbuf), ERR_INVALID);
    assert_non_null(strstr(errbuf.text, ":4:3: regions: expected 1 to 16 entries, found 17"));
}

/* Goal: numbers are plain decimals within their range: at each bound, one past it, and what a lax
 * parser would take. */
static void test_topology_load_number_out_of_range_or_malformed_is_refused(void **state)
{
    static const row_t s_rows[] = {
        {"shards: 2", "shards: 0", "1:9: shards: expected a whole number from 1 to 40, found '0'"},
        {"shards: 2", "shards: 41",
         "1:9: shards: expected a whole number from 1 to 40, found '41'"},
        {"shards: 2", "shards: 2x",
         "1:9: shards: expected a whole number from 1 to 40, found '2x'"},
        {"shards: 2", "shards: -1",
         "1:9: shards: expected a whole number from 1 to 40, found '-1'"},
        {"shards: 2", "shards: 0x2",
         "1:9: shards: expected a whole number from 1 to 40, found '0x2'"},
        {"shards: 2", "shards: 2.0",
         "1:9: shards: expected a whole number from 1 to 40, found '2.0'"},
        {"shards: 2", "shards: many",
         "1:9: shards: expected a whole number from 1 to 40, found 'many'"},
        {"shards: 2", "shards:", "1:8: shards: expected a whole number from 1 to 40, found ''"},
        {"shards: 2", "shards: 18446744073709551618",
         "1:9: shards: expected a whole number from 1 to 40, found '18446744073709551618'"},
        {"id: 2", "id: 17", "9:9: regions[1].id: expected a whole number from 1 to 16, found '17'"},
        {"id: 2", "id: 0", "9:9: regions[1].id: expected a whole number from 1 to 16, found '0'"},
        {"port_base: 7300", "port_base: 65439",
         "12:16: regions[1].port_base: expected a whole number from 1 to 65438 (port), found "
         "'65439'"},
        {"heartbeat_ms: 250", "heartbeat_ms: 9",
         "19:17: timing.heartbeat_ms: expected a whole number from 10 to 10000 (ms), found '9'"},
        {"timing:\n", "log: {segment_size_bytes: 268435457}\ntiming:\n",
         "18:27: log.segment_size_bytes: expected a whole number from 4096 to 268435456 (bytes), "
         "found '268435457'"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: both bounds of a range load. */
static void test_topology_load_number_at_bounds_loads(void **state)
{
    static topology_t s_topology;
    s_must_load(state, "shards: 2", "shards: 40", &s_topology);
    assert_int_equal(s_topology.shard_count, 40);
    s_must_load(state, "shards: 2", "shards: 1", &s_topology);
    assert_int_equal(s_topology.shard_count, 1);
    s_must_load(state, "port_base: 7300", "port_base: 65438", &s_topology);
    assert_int_equal(s_topology.regions[1].port_base, 65438);
}

/* Goal: names and hosts are checked. */
static void test_topology_load_bad_name_or_host_is_refused(void **state)
{
#define NAME_RULE "expected 1 to 32 of a-z, 0-9 and -, no - at either end, found "
    static const row_t s_rows[] = {
        {"eu-west", "us-east",
         "8:11: regions[1].name: expected a name of its own, found 'us-east' as in regions[0]"},
        {"eu-west", "EU", "8:11: regions[1].name: " NAME_RULE "'EU'"},
        {"eu-west", "eu west", "8:11: regions[1].name: " NAME_RULE "'eu west'"},
        {"eu-west", "eu-", "8:11: regions[1].name: " NAME_RULE "'eu-'"},
        {"eu-west", "\"-\"", "8:11: regions[1].name: " NAME_RULE "'-'"},
        {"eu-west", "''", "8:11: regions[1].name: expected a text, found nothing"},
        {"eu-west", "a23456789012345678901234567890123",
         "8:11: regions[1].name: expected at most 32 bytes, found 33"},
        {"eu-west", "control",
         "8:11: regions[1].name: expected another name: 'control' is the control plane's place"},
        {"id: 2", "id: 1",
         "9:9: regions[1].id: expected an id of its own, found 1 as in regions[0] (us-east)"},
        {"127.0.0.1", "127.0.0.256",
         "10:11: regions[1].host: expected an IPv4 address (four numbers of 0 to 255), found "
         "'127.0.0.256'"},
        {"127.0.0.1", "127.0.1",
         "10:11: regions[1].host: expected an IPv4 address (four numbers of 0 to 255), found "
         "'127.0.1'"},
        {"127.0.0.1", "tcp://a",
         "10:11: regions[1].host: expected a host name or an IPv4 address, found 'tcp://a'"},
        {"host: 127.0.0.1", "bind: some.host",
         "10:11: regions[1].bind: expected the IPv4 address to listen on, or * for all, found "
         "'some.host'"},
        {"  port: 7100", "  host: '%'\n  port: 7100",
         "14:9: control.host: expected a host name or an IPv4 address, found '%'"},
        {"control:\n", "leaders: [us-east, ap-north]\ncontrol:\n",
         "13:20: leaders[1]: expected the name of a region, found 'ap-north'"},
    };
#undef NAME_RULE
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: a port that would be bound twice is refused, and both who want it are named; also when a
 * default takes it, and when the links run out of numbers. */
static void test_topology_load_port_overlap_names_both(void **state)
{
    static const row_t s_rows[] = {
        {"gateway_port: 7102", "gateway_port: 7101",
         "11:19: regions[1].gateway_port: expected a free port for gateway-eu-west (requests), "
         "found port 7101 taken by gateway-us-east (requests)"},
        {"port_base: 7300", "port_base: 7203",
         "12:16: regions[1].port_base: expected a free port for shard-eu-west-0 (requests), found "
         "port 7203 taken by shard-us-east-1 (publishing)"},
        {"port_base: 7300", "port_base: 7103",
         "12:16: regions[1].port_base: expected a free port for gateway-eu-west (publishing), "
         "found port 7200 taken by shard-us-east-0 (requests)"},
        {"publish_port: 7110", "publish_port: 7100",
         "15:17: control.publish_port: expected a free port for control (publishing), found port "
         "7100 taken by control (requests)"},
        {"gateway_port: 7102", "gateway_port: 7190",
         "11:19: regions[1].gateway_port: expected a free port for gateway-eu-west (requests), "
         "found port 7190 taken by proxy (requests)"},
        {"link_port_base: 7500", "link_port_base: 7380",
         "17:19: proxy.link_port_base: expected a free port for proxy (publish link from control "
         "to eu-west), found port 7391 taken by shipper-eu-west (publishing)"},
        {"link_port_base: 7500", "link_port_base: 65530",
         "17:19: proxy.link_port_base: expected ports up to 65535, found that the last link needs "
         "more: choose a lower base"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: the same port on another host is another port. */
static void test_topology_load_same_port_on_other_host_loads(void **state)
{
    static topology_t s_topology;
    s_must_load(state, "    host: 127.0.0.1\n    gateway_port: 7102\n    port_base: 7300",
                "    host: 127.0.0.2\n    gateway_port: 7101\n    port_base: 7200", &s_topology);
    assert_string_equal(s_topology.regions[1].at.bind, "127.0.0.2");
}

/* Goal: a peer is not taken for lost after one late heartbeat. */
static void test_topology_load_silence_below_two_heartbeats_is_refused(void **state)
{
    static const row_t s_rows[] = {
        {"heartbeat_ms: 250", "heartbeat_ms: 251",
         "20:19: timing.peer_silent_ms: expected at least four times heartbeat_ms (251), found "
         "1000: one late sign of life, every second heartbeat, would look like a lost peer"},
        {"  peer_silent_ms: 1000", "  peer_silent_ms: 1000\n  source_silent_ms: 999",
         "21:21: timing.source_silent_ms: expected at least four times heartbeat_ms (250), found "
         "999: streams would be taken now from here and now from there"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
    static topology_t s_topology;
    s_must_load(state, "heartbeat_ms: 250", "heartbeat_ms: 200", &s_topology);
    assert_int_equal(s_topology.timing.heartbeat_ms, 200);
}

/* Goal: what is not one plain YAML document is refused at its place. */
static void test_topology_load_bad_yaml_is_refused(void **state)
{
    static const row_t s_rows[] = {
        {"shards: 2", "\tshards: 2",
         "1:1: expected YAML, found an error: found character that cannot start any token while "
         "scanning for the next token that begins in line 1"},
        {"shards: 2", "shards: \"2",
         "21:1: expected YAML, found an error: found unexpected end of stream while scanning a "
         "quoted scalar that begins in line 1"},
        {"shards: 2\n", "shards: 2\n---\n", "2:1: expected one document, found a second"},
        {"shards: 2", "shards: *two", "1:9: expected a value, found an alias (*name)"},
        {"shards: 2", "shards: \"2\\0\"", "1:9: expected text, found a zero byte in it"},
        {"shards: 2", "shards: [[[[[[[[[[[[[[[[[2]]]]]]]]]]]]]]]]]",
         "1:24: expected less nesting of maps and lists"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: files that are no YAML at all. */
static void test_topology_load_unreadable_file_is_refused(void **state)
{
    const topology_files_t *files = *state;
    static topology_t s_topology;
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
    } s_rows[] = {
        {"", 0, ":1:1: expected a map of settings, found nothing"},
        {"# nothing\n", 10, ":1:1: expected a map of settings, found nothing"},
        {"---\n", 4, ":2:1: expected a map, found nothing"},
        {"7\n", 2, ":1:1: expected a map, found '7'"},
        {"- 7\n", 4, ":1:1: expected a map, found a list"},
        {"a: \xc3\x28", 5, ": expected YAML in UTF-8, found at byte 4: "},
    };
    for (size_t i = 0; i < sizeof(s_rows) / sizeof(s_rows[0]); i++) {
        topology_files_write_bytes(files->topology, s_rows[i].bytes, s_rows[i].size);
        errbuf_t errbuf = {""};
        assert_int_equal(topology_load(files->topology, &s_topology, &errbuf), ERR_INVALID);
        assert_non_null(strstr(errbuf.text, s_rows[i].message));
    }
}

/* Goal: a path without a file, and a folder, say so. */
static void test_topology_load_missing_file_is_not_found(void **state)
{
    const topology_files_t *files = *state;
    static topology_t s_topology;
    errbuf_t errbuf;
    assert_int_equal(topology_load("/nowhere/topology.yaml", &s_topology, &errbuf), ERR_NOT_FOUND);
    assert_string_equal(errbuf.text, "cannot load the topology: /nowhere/topology.yaml: expected a "
                                     "file, found none: check the path");
    assert_int_equal(topology_load(files->folder, &s_topology, &errbuf), ERR_IO);
    assert_non_null(strstr(errbuf.text, "is it a folder?"));
}

/* Goal: a file of the greatest size is read, one byte more is not. */
static void test_topology_load_too_large_file_is_refused(void **state)
{
    const topology_files_t *files = *state;
    static topology_t s_topology;
    buffer_t text;
    buffer_init(&text);
    buffer_append(&text, topology_files_text(), strlen(topology_files_text()));
    size_t missing = CONFIG_FILE_SIZE_MAX + 1 - text.size;
    (void)memset(buffer_extend(&text, missing), '\n', missing);
    errbuf_t errbuf;
    topology_files_write_bytes(files->topology, text.data, text.size - 1);
    assert_int_equal(topology_load(files->topology, &s_topology, &errbuf), ERR_OK);
    topology_files_write_bytes(files->topology, text.data, text.size);
    assert_int_equal(topology_load(files->topology, &s_topology, &errbuf), ERR_TOO_LARGE);
    buffer_done(&text);
}

/* Goal: an error in the schema file names the place in both files. */
static void test_topology_load_schema_error_names_both_files(void **state)
{
    const topology_files_t *files = *state;
    static topology_t s_topology;
    errbuf_t errbuf;
    topology_files_write(files->schema, topology_files_schema_text(), "half_life_s: 604800",
                         "half_life_s: 59");
    assert_int_equal(topology_load(files->topology, &s_topology, &errbuf), ERR_INVALID);
    char expected[ERRBUF_SIZE_BYTES * 2];
    (void)snprintf(expected, sizeof(expected),
                   "cannot load the topology: %s:2:9: schema: %s:4:18: signals[0].half_life_s: "
                   "expected a whole number from 60 to 31536000, found '59'",
                   files->topology, files->schema);
    assert_string_equal(errbuf.text, expected);

    topology_files_write(files->topology, topology_files_text(), "schema.yaml", "none.yaml");
    assert_int_equal(topology_load(files->topology, &s_topology, &errbuf), ERR_NOT_FOUND);
    assert_non_null(strstr(errbuf.text, ":2:9: schema: "));
    assert_non_null(strstr(errbuf.text, "/none.yaml: expected a file, found none"));
}

/* Goal: what is left out has its default, what is there its value. */
static void test_topology_load_defaults_fill_what_is_left_out(void **state)
{
    static topology_t s_topology;
    static topology_t s_default;
    topology_init_default(&s_default, 2, 2);
    s_must_load(state, "timing:\n", "checkpoint: {interval_ms: 10}\nlimits: {}\ntiming:\n",
                &s_topology);
    assert_int_equal(s_topology.checkpoint.interval_ms, 10);
    assert_int_equal(s_topology.checkpoint.dirty_count_max, s_default.checkpoint.dirty_count_max);
    assert_memory_equal(&s_topology.log, &s_default.log, sizeof(topology_log_t));
    assert_memory_equal(&s_topology.timing, &s_default.timing, sizeof(topology_timing_t));
    assert_memory_equal(&s_topology.limits, &s_default.limits, sizeof(topology_limits_t));
    assert_string_equal(s_topology.regions[0].at.host, "127.0.0.1");
    assert_int_equal(s_topology.control.publish_port, 7110);
    assert_true(s_topology.has_proxy);
    assert_int_equal(s_topology.proxy.port, 7190);
    assert_int_equal(s_topology.leaders[0].value, 1);
    assert_int_equal(s_topology.leaders[1].value, 2);
    assert_string_equal(schema_default_profile(&s_topology.schema)->name, "best");
}

/* Goal: an explicit placement of leaders is taken, and where nothing is said, bind follows host. */
static void test_topology_load_leaders_and_hosts_as_given(void **state)
{
    static topology_t s_topology;
    s_must_load(state, "control:\n", "leaders: [eu-west, eu-west]\ncontrol:\n  host: mesh.local\n",
                &s_topology);
    assert_int_equal(topology_leader(&s_topology, (shard_id_t){0}).value, 2);
    assert_int_equal(topology_leader(&s_topology, (shard_id_t){1}).value, 2);
    assert_string_equal(s_topology.control.at.host, "mesh.local");
    assert_string_equal(s_topology.control.at.bind, "*");
    s_must_load(state, "host: 127.0.0.1", "host: localhost", &s_topology);
    assert_string_equal(s_topology.regions[1].at.bind, "127.0.0.1");
    s_must_load(state, "host: 127.0.0.1", "host: 10.0.0.7\n    bind: '*'", &s_topology);
    assert_string_equal(s_topology.regions[1].at.host, "10.0.0.7");
    assert_string_equal(s_topology.regions[1].at.bind, "*");
}

/* Goal: without `proxy` there is none. */
static void test_topology_load_without_proxy_connects_directly(void **state)
{
    static topology_t s_topology;
    s_must_load(state, "proxy:\n  link_port_base: 7500\n", "", &s_topology);
    assert_false(s_topology.has_proxy);
    assert_int_equal(topology_link_count(&s_topology), 0);
}

static void s_load_shipped(const char *name, topology_t *ret_topology)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/topology/%s", s_source_folder, name);
    errbuf_t errbuf = {""};
    err_t err = topology_load(path, ret_topology, &errbuf);
    assert_string_equal(errbuf.text, "");
    assert_int_equal(err, ERR_OK);
}

static void s_must_be_equal(const topology_t *a, const topology_t *b)
{
    assert_int_equal(a->region_count, b->region_count);
    for (uint32_t i = 0; i < a->region_count; i++) {
        assert_int_equal(a->regions[i].id.value, b->regions[i].id.value);
        assert_string_equal(a->regions[i].name, b->regions[i].name);
        assert_string_equal(a->regions[i].at.host, b->regions[i].at.host);
        assert_string_equal(a->regions[i].at.bind, b->regions[i].at.bind);
        assert_int_equal(a->regions[i].gateway_port, b->regions[i].gateway_port);
        assert_int_equal(a->regions[i].port_base, b->regions[i].port_base);
    }
    assert_int_equal(a->shard_count, b->shard_count);
    assert_memory_equal(a->leaders, b->leaders, sizeof(a->leaders));
    assert_int_equal(a->control.port, b->control.port);
    assert_int_equal(a->control.publish_port, b->control.publish_port);
    assert_int_equal(a->has_proxy, b->has_proxy);
    assert_int_equal(a->proxy.port, b->proxy.port);
    assert_int_equal(a->proxy.publish_port, b->proxy.publish_port);
    assert_int_equal(a->proxy.link_port_base, b->proxy.link_port_base);
    assert_memory_equal(&a->timing, &b->timing, sizeof(a->timing));
    assert_memory_equal(&a->limits, &b->limits, sizeof(a->limits));
    assert_int_equal(topology_fingerprint(a), topology_fingerprint(b));
}

/* Goal: the shipped files load and say what topology_init_default says, so that simulation and
 * services run the same deployment; and the ports are those of the protocol. */
static void test_topology_load_shipped_files_equal_defaults(void **state)
{
    (void)state;
    static topology_t s_loaded;
    static topology_t s_default;
    s_load_shipped("three_region.yaml", &s_loaded);
    topology_init_default(&s_default, 3, 5);
    s_must_be_equal(&s_loaded, &s_default);
    assert_int_equal(s_loaded.control.port, 7100);
    assert_int_equal(s_loaded.proxy.port, 7190);
    for (uint16_t i = 0; i < 3; i++) {
        assert_int_equal(s_loaded.regions[i].gateway_port, 7101 + i);
    }
    s_load_shipped("single.yaml", &s_loaded);
    topology_init_default(&s_default, 1, 1);
    s_must_be_equal(&s_loaded, &s_default);
}

/* Whether the page has a row of this field with these numbers. */
static bool s_is_documented(const char *page, const topology_field_t *field)
{
    char standard[32] = "required";
    if (!field->required) {
        (void)snprintf(standard, sizeof(standard), "%llu", (unsigned long long)field->standard);
    }
    char row[256];
    (void)snprintf(row, sizeof(row), "\n| `%s%s%s` |%s%s | %llu | %llu | %s |", field->section,
                   field->section[0] == '\0' ? "" : ".", field->key,
                   field->unit[0] == '\0' ? "" : " ", field->unit, (unsigned long long)field->min,
                   (unsigned long long)field->max, standard);
    if (strstr(page, row) == NULL) {
        print_error("topology/README.md lacks the row:%s\n", row);
        return false;
    }
    return true;
}

/* Goal: topology/README.md lists every number with its true unit, range and default. */
static void test_topology_load_page_lists_every_field(void **state)
{
    (void)state;
    static char s_page[65536];
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/topology/README.md", s_source_folder);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(s_page, 1, sizeof(s_page) - 1, file);
    s_page[size] = '\0';
    assert_int_equal(fclose(file), 0);
    unsigned missing = 0;
    for (uint32_t i = 0; i < topology_field_count(); i++) {
        topology_field_t field = topology_field(i);
        missing += s_is_documented(s_page, &field) ? 0 : 1;
    }
    assert_int_equal(missing, 0);
    assert_true(topology_field_count() > 30);
}

int main(int argc, char **argv)
{
    s_source_folder = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, s_open, s_close)
        WITH_FILES(test_topology_load_unknown_key_names_place_and_known_keys),
        WITH_FILES(test_topology_load_missing_or_repeated_key_is_refused),
        WITH_FILES(test_topology_load_wrong_kind_of_value_is_refused),
        WITH_FILES(test_topology_load_list_length_is_bounded),
        WITH_FILES(test_topology_load_seventeen_regions_are_refused),
        WITH_FILES(test_topology_load_number_out_of_range_or_malformed_is_refused),
        WITH_FILES(test_topology_load_number_at_bounds_loads),
        WITH_FILES(test_topology_load_bad_name_or_host_is_refused),
        WITH_FILES(test_topology_load_port_overlap_names_both),
        WITH_FILES(test_topology_load_same_port_on_other_host_loads),
        WITH_FILES(test_topology_load_silence_below_two_heartbeats_is_refused),
        WITH_FILES(test_topology_load_bad_yaml_is_refused),
        WITH_FILES(test_topology_load_unreadable_file_is_refused),
        WITH_FILES(test_topology_load_missing_file_is_not_found),
        WITH_FILES(test_topology_load_too_large_file_is_refused),
        WITH_FILES(test_topology_load_schema_error_names_both_files),
        WITH_FILES(test_topology_load_defaults_fill_what_is_left_out),
        WITH_FILES(test_topology_load_leaders_and_hosts_as_given),
        WITH_FILES(test_topology_load_without_proxy_connects_directly),
        cmocka_unit_test(test_topology_load_shipped_files_equal_defaults),
        cmocka_unit_test(test_topology_load_page_lists_every_field),
#undef WITH_FILES
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
