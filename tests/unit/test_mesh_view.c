/* The view of the mesh: heartbeats, and the sentence about it. */
#include "common/base/check.h"
#include "common/cluster/mesh_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { S_BOOT = 5, S_SILENT_NS = 1000, S_REGION_COUNT = 3, S_SHARD_COUNT = 2 };

typedef struct {
    topology_t topology;
    table_t *table;
    mesh_view_t *view;
    uint64_t publish_seq; /* of every process alike */
} s_mesh_t;

static void s_open(s_mesh_t *mesh)
{
    memset(mesh, 0, sizeof(*mesh));
    topology_init_default(&mesh->topology, S_REGION_COUNT, S_SHARD_COUNT);
    mesh->table = table_new_default(&mesh->topology);
    mesh->view = mesh_view_new(&mesh->topology, S_SILENT_NS);
}

static void s_close(s_mesh_t *mesh)
{
    mesh_view_destroy(&mesh->view);
    mesh_view_destroy(&mesh->view);
    table_destroy(&mesh->table);
}

static process_address_t s_node(uint16_t region, uint16_t shard)
{
    return (process_address_t){PROCESS_NODE, {region}, {shard}};
}

static stream_id_t s_stream(uint16_t shard, uint16_t origin)
{
    return (stream_id_t){.tenant = TENANT_DEFAULT, .incarnation = 7, .origin = {{origin}, {shard}}};
}

static err_t s_beat(s_mesh_t *mesh, process_address_t from, uint64_t publish_seq, int64_t now_ns)
{
    msg_heartbeat_t heartbeat = {
        .from = from, .boot = S_BOOT, .publish_seq = publish_seq, .ready = true};
    return mesh_view_heartbeat(mesh->view, &heartbeat, now_ns);
}

/* A node's heartbeat: it has applied `first` events of the stream of region 1 and `second` of that
 * of region 2; 0: it does not list the stream. */
static void s_node_beat(
    s_mesh_t *mesh, process_address_t from, uint64_t first, uint64_t second, uint8_t digest)
{
    stream_position_t applied[2];
    uint32_t count = 0;
    if (first > 0) {
        applied[count++] = (stream_position_t){s_stream(from.shard.value, 1), first};
    }
    if (second > 0) {
        applied[count++] = (stream_position_t){s_stream(from.shard.value, 2), second};
    }
    msg_lag_row_t lag = {.origin = {1}, .incarnation = 7, .applied_seq = first};
    msg_node_state_t node = {.tenant = TENANT_DEFAULT,
                             .signal_count = first + second,
                             .applied_count = count,
                             .applied = applied,
                             .lag_count = 1,
                             .lag = &lag};
    memset(node.digest, digest, sizeof(node.digest));
    msg_heartbeat_t heartbeat = {.from = from,
                                 .boot = S_BOOT,
                                 .publish_seq = ++mesh->publish_seq,
                                 .ready = true,
                                 .state_count = 1,
                                 .states = &node};
    assert_int_equal(mesh_view_heartbeat(mesh->view, &heartbeat, 0), ERR_OK);
}

/* Every process is heard and ready; every node has applied 10 events of region 1. */
static void s_all_beat(s_mesh_t *mesh)
{
    for (uint32_t i = 0; i < mesh_view_count(mesh->view); i++) {
        process_address_t process = mesh_view_process(mesh->view, i)->address;
        if (process.kind == PROCESS_NODE) {
            s_node_beat(mesh, process, 10, 0, 1);
        } else if (process.kind != PROCESS_CONTROL) {
            assert_int_equal(s_beat(mesh, process, ++mesh->publish_seq, 0), ERR_OK);
        }
    }
}

static const char *s_summary(const s_mesh_t *mesh, int64_t now_ns, bool *ret_converged)
{
    static mesh_view_summary_t s_text;
    mesh_view_summary(mesh->view, mesh->table, now_ns, &s_text);
    *ret_converged = s_text.converged;
    return s_text.text;
}

/* -- heartbeats -------------------------------------------------------------------------------- */

/* A process that the topology does not have is refused. */
static void test_mesh_view_unknown_process_is_refused(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    assert_int_equal(s_beat(&mesh, s_node(1, 2), 1, 0), ERR_NOT_FOUND);
    assert_int_equal(s_beat(&mesh, s_node(4, 0), 1, 0), ERR_NOT_FOUND);
    assert_int_equal(s_beat(&mesh, (process_address_t){PROCESS_TOOL, {0}, {0}}, 1, 0),
                     ERR_NOT_FOUND);
    assert_null(mesh_view_find(mesh.view, s_node(4, 0)));
    s_close(&mesh);
}

/* Before the first heartbeat a process is there, not heard, not alive. */
static void test_mesh_view_begins_with_every_process_unheard(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    assert_int_equal(mesh_view_count(mesh.view), topology_process_count(&mesh.topology));
    for (uint32_t i = 0; i < mesh_view_count(mesh.view); i++) {
        const mesh_view_process_t *process = mesh_view_process(mesh.view, i);
        assert_true(process_address_equal(process->address, topology_process(&mesh.topology, i)));
        assert_false(process->is_heard);
        assert_false(mesh_view_is_alive(mesh.view, process, 0));
    }
    s_close(&mesh);
}

/* The same number again, and a lower one, are stale and change nothing. */
static void test_mesh_view_stale_heartbeat_changes_nothing(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    assert_int_equal(s_beat(&mesh, s_node(1, 0), 5, 100), ERR_OK);
    assert_int_equal(s_beat(&mesh, s_node(1, 0), 5, 200), ERR_STALE);
    assert_int_equal(s_beat(&mesh, s_node(1, 0), 4, 300), ERR_STALE);
    const mesh_view_process_t *process = mesh_view_find(mesh.view, s_node(1, 0));
    assert_int_equal(process->heard_ns, 100);
    assert_int_equal(process->publish_seq, 5);
    assert_int_equal(process->gap_count, 0);
    s_close(&mesh);
}

/* Numbers that never came are counted, those before the first one are not. */
static void test_mesh_view_counts_missing_heartbeats(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    const mesh_view_process_t *process = mesh_view_find(mesh.view, s_node(2, 1));
    assert_int_equal(s_beat(&mesh, s_node(2, 1), 50, 0), ERR_OK);
    assert_int_equal(process->gap_count, 0);
    assert_int_equal(s_beat(&mesh, s_node(2, 1), 51, 0), ERR_OK);
    assert_int_equal(process->gap_count, 0);
    assert_int_equal(s_beat(&mesh, s_node(2, 1), 54, 0), ERR_OK);
    assert_int_equal(process->gap_count, 2);
    assert_int_equal(s_beat(&mesh, s_node(2, 1), 60, 0), ERR_OK);
    assert_int_equal(process->gap_count, 7);
    s_close(&mesh);
}

/* A new boot numbers from 1 again: neither stale nor a gap. */
static void test_mesh_view_new_boot_numbers_anew(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    assert_int_equal(s_beat(&mesh, s_node(1, 0), 900, 100), ERR_OK);
    msg_heartbeat_t heartbeat = {.from = s_node(1, 0), .boot = S_BOOT + 1, .publish_seq = 1};
    assert_int_equal(mesh_view_heartbeat(mesh.view, &heartbeat, 200), ERR_OK);
    const mesh_view_process_t *process = mesh_view_find(mesh.view, s_node(1, 0));
    assert_int_equal(process->boot, S_BOOT + 1);
    assert_int_equal(process->publish_seq, 1);
    assert_int_equal(process->gap_count, 0);
    assert_false(process->ready);
    s_close(&mesh);
}

/* Alive until silent_ns have passed since the last one, not longer. */
static void test_mesh_view_process_is_alive_until_silent(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    assert_int_equal(s_beat(&mesh, s_node(1, 0), 1, 500), ERR_OK);
    const mesh_view_process_t *process = mesh_view_find(mesh.view, s_node(1, 0));
    assert_true(mesh_view_is_alive(mesh.view, process, 500 + S_SILENT_NS - 1));
    assert_false(mesh_view_is_alive(mesh.view, process, 500 + S_SILENT_NS));
    assert_int_equal(s_beat(&mesh, s_node(1, 0), 2, 500 + S_SILENT_NS), ERR_OK);
    assert_true(mesh_view_is_alive(mesh.view, process, 500 + S_SILENT_NS));
    s_close(&mesh);
}

/* A reason that is longer than its place is cut, and ends. */
static void test_mesh_view_long_reason_is_cut(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    char reason[MESH_VIEW_REASON_SIZE + 50];
    memset(reason, 'x', sizeof(reason));
    msg_heartbeat_t heartbeat = {.from = s_node(1, 0),
                                 .boot = S_BOOT,
                                 .publish_seq = 1,
                                 .reasons = slice_make(reason, sizeof(reason))};
    assert_int_equal(mesh_view_heartbeat(mesh.view, &heartbeat, 0), ERR_OK);
    const mesh_view_process_t *process = mesh_view_find(mesh.view, s_node(1, 0));
    assert_int_equal(strlen(process->reason), MESH_VIEW_REASON_SIZE - 1);
    heartbeat.publish_seq = 2;
    heartbeat.reasons = slice_make(NULL, 0);
    assert_int_equal(mesh_view_heartbeat(mesh.view, &heartbeat, 0), ERR_OK);
    assert_string_equal(process->reason, "");
    s_close(&mesh);
}

/* States are copied, found by tenant, and replaced by the next heartbeat. */
static void test_mesh_view_states_are_copied_and_replaced(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_node_beat(&mesh, s_node(1, 0), 10, 20, 3);
    const mesh_view_process_t *process = mesh_view_find(mesh.view, s_node(1, 0));
    const mesh_view_state_t *node = mesh_view_find_state(process, TENANT_DEFAULT);
    assert_non_null(node);
    assert_int_equal(node->signal_count, 30);
    assert_int_equal(node->applied.count, 2);
    assert_int_equal(node->applied.entries[1].seq, 20);
    assert_int_equal(node->digest[31], 3);
    assert_int_equal(node->lag_count, 1);
    assert_int_equal(node->lag[0].applied_seq, 10);
    assert_null(mesh_view_find_state(process, (tenant_id_t){2}));
    s_node_beat(&mesh, s_node(1, 0), 11, 0, 4);
    node = mesh_view_find_state(process, TENANT_DEFAULT);
    assert_int_equal(node->applied.count, 1);
    assert_int_equal(node->applied.entries[0].seq, 11);
    assert_int_equal(s_beat(&mesh, s_node(1, 0), ++mesh.publish_seq, 0), ERR_OK);
    assert_null(mesh_view_find_state(process, TENANT_DEFAULT));
    s_close(&mesh);
}

/* A position of another tenant's or shard's stream is refused, and nothing of the heartbeat is taken.
 */
static void test_mesh_view_foreign_position_is_refused(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_node_beat(&mesh, s_node(1, 0), 10, 0, 1);
    stream_position_t applied[2] = {{s_stream(0, 1), 11}, {s_stream(1, 1), 5}};
    msg_node_state_t node = {.tenant = TENANT_DEFAULT, .applied_count = 2, .applied = applied};
    msg_heartbeat_t heartbeat = {.from = s_node(1, 0),
                                 .boot = S_BOOT,
                                 .publish_seq = ++mesh.publish_seq,
                                 .state_count = 1,
                                 .states = &node};
    assert_int_equal(mesh_view_heartbeat(mesh.view, &heartbeat, 100), ERR_CORRUPT);
    applied[1] = (stream_position_t){s_stream(0, 2), 5};
    applied[1].stream.tenant.value++;
    assert_int_equal(mesh_view_heartbeat(mesh.view, &heartbeat, 100), ERR_CORRUPT);
    const mesh_view_process_t *process = mesh_view_find(mesh.view, s_node(1, 0));
    assert_true(process->ready);
    assert_int_equal(process->heard_ns, 0);
    assert_int_equal(mesh_view_find_state(process, TENANT_DEFAULT)->applied.entries[0].seq, 10);
    s_close(&mesh);
}

/* Usage is the sum over shards and origins of what the furthest node told of each; a tenant that
 * nobody told of has used nothing. */
static void test_mesh_view_usage_merges_what_nodes_tell(void **state)
{
    (void)state;
    static const struct {
        uint16_t region;
        uint16_t shard;
        msg_usage_t usage[2];
    } s_told[] = {{1, 0, {{{1}, 100, 5, 1000}, {{2}, 7, 0, 70}}},
                  {2, 0, {{{1}, 90, 6, 900}, {{2}, 8, 0, 80}}},
                  {1, 1, {{{1}, 10, 0, 100}, {{3}, 1, 1, 10}}}};
    s_mesh_t mesh;
    s_open(&mesh);
    for (unsigned i = 0; i < sizeof(s_told) / sizeof(s_told[0]); i++) {
        msg_node_state_t node = {
            .tenant = TENANT_DEFAULT, .usage_count = 2, .usage = s_told[i].usage};
        msg_heartbeat_t heartbeat = {.from = s_node(s_told[i].region, s_told[i].shard),
                                     .boot = S_BOOT,
                                     .publish_seq = ++mesh.publish_seq,
                                     .state_count = 1,
                                     .states = &node};
        assert_int_equal(mesh_view_heartbeat(mesh.view, &heartbeat, 0), ERR_OK);
    }
    usage_t usage = {0};
    mesh_view_usage(mesh.view, TENANT_DEFAULT, &usage);
    assert_int_equal(pn_counter_value(&usage.signals), 100 - 6 + 8 + 10 + 1 - 1);
    assert_int_equal(pn_counter_value(&usage.bytes), 1000 + 80 + 100 + 10);
    usage_done(&usage);
    mesh_view_usage(mesh.view, (tenant_id_t){2}, &usage);
    assert_int_equal(pn_counter_value(&usage.signals), 0);
    s_close(&mesh);
}

/* A node whose clock is too far ahead of the nodes of its shard is named; one at the bound is not, nor
 * one that has gone silent. */
static void test_mesh_view_clocks_ahead_names_the_node(void **state)
{
    (void)state;
    const int64_t ms = 1000000;
    s_mesh_t mesh;
    s_open(&mesh);
    const uint16_t nodes = S_REGION_COUNT * S_SHARD_COUNT;
    for (uint16_t i = 0; i < nodes * CLOCK_OFFSET_HEARD_MIN; i++) {
        process_address_t from =
            s_node((uint16_t)(1 + i % S_REGION_COUNT), i / S_REGION_COUNT % S_SHARD_COUNT);
        bool is_ahead = from.region.value == 2 && from.shard.value == 1;
        msg_heartbeat_t heartbeat = {.from = from,
                                     .boot = S_BOOT,
                                     .publish_seq = 1 + i / nodes,
                                     .wall_ns = is_ahead ? 5000 * ms : 2000 * ms};
        assert_int_equal(mesh_view_heartbeat(mesh.view, &heartbeat, 0), ERR_OK);
    }
    msg_clock_t clocks[4];
    assert_int_equal(mesh_view_clocks_ahead(mesh.view, 3000 * ms - 1, 1, clocks, 4), 1);
    assert_int_equal(clocks[0].node.region.value, 2);
    assert_int_equal(clocks[0].node.shard.value, 1);
    assert_int_equal(clocks[0].ahead_ms, 3000);
    assert_int_equal(mesh_view_clocks_ahead(mesh.view, 3000 * ms - 1, 1, clocks, 0), 0);
    assert_int_equal(mesh_view_clocks_ahead(mesh.view, 3000 * ms, 1, clocks, 4), 0);
    assert_int_equal(mesh_view_clocks_ahead(mesh.view, 1, S_SILENT_NS, clocks, 4), 0);
    s_close(&mesh);
}

/* -- the sentence ------------------------------------------------------------------------------ */

/* Nothing was heard: everything but the control plane itself is missing. */
static void test_mesh_view_summary_of_an_unheard_mesh(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    bool converged = true;
    assert_string_equal(s_summary(&mesh, 0, &converged),
                        "not converged: 19 of 20 processes are missing or not ready, first proxy, "
                        "which is not heard");
    assert_false(converged);
    s_close(&mesh);
}

/* All ready and equal: converged. */
static void test_mesh_view_summary_of_equal_replicas(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_all_beat(&mesh);
    bool converged = false;
    assert_string_equal(s_summary(&mesh, 1, &converged),
                        "converged: all 20 processes are ready and all replicas are equal");
    assert_true(converged);
    s_close(&mesh);
}

/* A process that is not ready is named with its reason; one that is missing is worse. */
static void test_mesh_view_summary_names_the_worst_process(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_all_beat(&mesh);
    static const char s_reason[] = "replaying its log";
    msg_heartbeat_t heartbeat = {.from = s_node(1, 0),
                                 .boot = S_BOOT,
                                 .publish_seq = ++mesh.publish_seq,
                                 .reasons = slice_text(s_reason)};
    assert_int_equal(mesh_view_heartbeat(mesh.view, &heartbeat, 0), ERR_OK);
    bool converged = true;
    assert_string_equal(s_summary(&mesh, 1, &converged),
                        "not converged: 1 of 20 processes are not ready, first shard-us-east-0: "
                        "replaying its log");
    assert_false(converged);
    /* All but gateway-ap-south go on, and one of them is not ready. */
    for (uint32_t i = 0; i + 1 < mesh_view_count(mesh.view); i++) {
        process_address_t process = mesh_view_process(mesh.view, i)->address;
        heartbeat.from = process;
        heartbeat.publish_seq = ++mesh.publish_seq;
        heartbeat.ready = !process_address_equal(process, s_node(1, 0));
        assert_int_equal(mesh_view_heartbeat(mesh.view, &heartbeat, S_SILENT_NS), ERR_OK);
    }
    assert_string_equal(s_summary(&mesh, S_SILENT_NS, &converged),
                        "not converged: 2 of 20 processes are missing or not ready, first "
                        "gateway-ap-south, which is not heard");
    s_close(&mesh);
}

/* Different positions are named with shard, tenant and the two regions. */
static void test_mesh_view_summary_names_a_shard_that_is_behind(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_all_beat(&mesh);
    s_node_beat(&mesh, s_node(3, 1), 9, 0, 1);
    bool converged = true;
    assert_string_equal(s_summary(&mesh, 1, &converged),
                        "not converged: shard 1 of tenant default has different positions in "
                        "us-east and ap-south");
    assert_false(converged);
    s_close(&mesh);
}

/* A stream that only one replica has is a different position too, on whichever side it is. */
static void test_mesh_view_summary_sees_a_stream_of_one_side(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    bool converged = true;
    for (uint16_t region = 1; region <= 2; region++) {
        s_all_beat(&mesh);
        s_node_beat(&mesh, s_node(region, 0), 10, 1, 1);
        assert_string_equal(s_summary(&mesh, 1, &converged),
                            "not converged: shard 0 of tenant default has different positions in "
                            "us-east and eu-west");
    }
    s_close(&mesh);
}

/* Equal positions and different digests: diverged, whatever region it is. */
static void test_mesh_view_summary_names_a_divergence(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_all_beat(&mesh);
    s_node_beat(&mesh, s_node(2, 1), 10, 0, 2);
    bool converged = true;
    assert_string_equal(s_summary(&mesh, 1, &converged),
                        "DIVERGED: shard 1 of tenant default has equal positions and different "
                        "digests in us-east and eu-west: see the reconcilers' reports");
    assert_false(converged);
    s_close(&mesh);
}

/* A node whose state is changing makes no digest: that is no divergence. */
static void test_mesh_view_summary_needs_two_digests_for_a_divergence(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    bool converged = false;
    for (uint16_t region = 1; region <= 2; region++) {
        s_all_beat(&mesh);
        s_node_beat(&mesh, s_node(region, 1), 10, 0, 0);
        (void)s_summary(&mesh, 1, &converged);
        assert_true(converged);
    }
    s_close(&mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mesh_view_unknown_process_is_refused),
        cmocka_unit_test(test_mesh_view_begins_with_every_process_unheard),
        cmocka_unit_test(test_mesh_view_stale_heartbeat_changes_nothing),
        cmocka_unit_test(test_mesh_view_counts_missing_heartbeats),
        cmocka_unit_test(test_mesh_view_new_boot_numbers_anew),
        cmocka_unit_test(test_mesh_view_process_is_alive_until_silent),
        cmocka_unit_test(test_mesh_view_long_reason_is_cut),
        cmocka_unit_test(test_mesh_view_states_are_copied_and_replaced),
        cmocka_unit_test(test_mesh_view_foreign_position_is_refused),
        cmocka_unit_test(test_mesh_view_usage_merges_what_nodes_tell),
        cmocka_unit_test(test_mesh_view_clocks_ahead_names_the_node),
        cmocka_unit_test(test_mesh_view_summary_of_an_unheard_mesh),
        cmocka_unit_test(test_mesh_view_summary_of_equal_replicas),
        cmocka_unit_test(test_mesh_view_summary_names_the_worst_process),
        cmocka_unit_test(test_mesh_view_summary_names_a_shard_that_is_behind),
        cmocka_unit_test(test_mesh_view_summary_sees_a_stream_of_one_side),
        cmocka_unit_test(test_mesh_view_summary_names_a_divergence),
        cmocka_unit_test(test_mesh_view_summary_needs_two_digests_for_a_divergence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
