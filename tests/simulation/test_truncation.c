/* The suite `truncation`: logs that begin behind what a base holds, over whole lives of a mesh. */
#include "common/base/store_batch.h"
#include "common/wal/wal_format.h"
#include "tests/support/simulated_cluster.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1, S_REQUESTS = 150, S_REQUEST_SIZE = 40, S_SEGMENT_SIZE = 8192, S_RETAIN = 24576 };

static const shard_id_t s_shard = {0};

static simulated_cluster_t *s_cluster(void)
{
    simulated_cluster_options_t options = {.region_count = 3,
                                           .shard_count = 1,
                                           .seed = 5,
                                           .segment_size_bytes = S_SEGMENT_SIZE,
                                           .retain_bytes = S_RETAIN,
                                           .with_reconcilers = true};
    return simulated_cluster_new(&options);
}

static process_address_t s_process(process_kind_t kind, uint16_t region)
{
    return (process_address_t){kind, {region}, s_shard};
}

static process_address_t s_receiver(uint16_t region)
{
    return (process_address_t){PROCESS_RECEIVER, {region}, {0}};
}

/* Requests with a producer, so that pairs and their positions are part of it. */
static void s_write_at(simulated_cluster_t *cluster, ack_level_t level, uint64_t *sent)
{
    signal_event_t events[S_REQUEST_SIZE];
    for (uint32_t i = 0; i < S_REQUEST_SIZE; i++) {
        events[i] = (signal_event_t){.item = {1 + (*sent * 7 + i) % 97},
                                     .ts_ns = simulated_cluster_now_ns(cluster),
                                     .weight = 1.0 + i * 0x1.0p-20,
                                     .signal = S_VIEW};
    }
    *sent += 1;
    simulated_write_t write =
        simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, s_shard), events,
                                   S_REQUEST_SIZE, (simulated_form_t){level, "loader", *sent});
    assert_int_equal(write.code, CODE_OK);
}

static void s_write(simulated_cluster_t *cluster, uint64_t *sent)
{
    s_write_at(cluster, ACK_REPLICATED, sent);
}

static uint64_t s_metric(simulated_cluster_t *cluster, process_address_t process, const char *name)
{
    return simulated_cluster_metric(cluster, process, name);
}

/* What the leader's disk holds, most of it the log. */
static uint64_t s_log_bytes(const simulated_cluster_t *cluster)
{
    return sim_disk_used_bytes(simulated_cluster_disk(cluster, (region_id_t){1}));
}

/* A mesh that has written so much that every region has truncated. */
static simulated_cluster_t *s_truncated(uint64_t *ret_sent)
{
    simulated_cluster_t *cluster = s_cluster();
    *ret_sent = 0;
    for (int i = 0; i < S_REQUESTS; i++) {
        s_write(cluster, ret_sent);
        simulated_cluster_run_ms(cluster, 50);
    }
    simulated_cluster_run_ms(cluster, 5000);
    for (uint16_t region = 1; region <= 3; region++) {
        assert_true(s_metric(cluster, s_process(PROCESS_NODE, region), "node_bases") > 0);
        assert_int_equal(s_metric(cluster, s_process(PROCESS_NODE, region), "node_bases_failed"),
                         0);
    }
    assert_true(s_metric(cluster, s_process(PROCESS_NODE, 1), "node_truncated_segments") > 5);
    assert_int_equal(s_metric(cluster, s_process(PROCESS_NODE, 1), "node_truncate_failed"), 0);
    for (uint16_t region = 2; region <= 3; region++) {
        assert_true(s_metric(cluster, s_receiver(region), "receiver_truncated_segments") > 5);
        assert_int_equal(s_metric(cluster, s_receiver(region), "receiver_truncate_failed"), 0);
    }
    return cluster;
}

static void s_assert_all_there(simulated_cluster_t *cluster, uint64_t sent)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 10000, NULL), ERR_OK);
    for (uint16_t region = 1; region <= 3; region++) {
        assert_int_equal(simulated_cluster_applied_seqno(cluster, (node_id_t){{region}, s_shard}),
                         sent * S_REQUEST_SIZE);
    }
    /* A pair that was sent once is known, in the base or above it. */
    signal_event_t event = {.item = {1}, .ts_ns = 1, .weight = 1, .signal = S_VIEW};
    simulated_write_t write =
        simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, s_shard), &event, 1,
                                   (simulated_form_t){ACK_LOCAL, "loader", 1});
    assert_true(write.duplicate || write.code == CODE_BAD_REQUEST);
}

/* Logs go on being written, shipped and applied while their oldest segments go. */
static void test_truncation_of_a_running_mesh_loses_nothing(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    for (int i = 0; i < 20; i++) {
        s_write(cluster, &sent);
    }
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* Every process is killed and starts again from logs that begin later: nodes recover their own
 * stream, receivers theirs, nothing is set aside, and both go on. */
static void test_truncation_is_outlived_by_every_process(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    for (uint16_t region = 1; region <= 3; region++) {
        process_address_t shipper = {PROCESS_SHIPPER, {region}, {0}};
        const process_address_t processes[] = {s_process(PROCESS_NODE, region), s_receiver(region),
                                               shipper};
        for (int i = 0; i < 3; i++) {
            simulated_cluster_stop(cluster, processes[i]);
            simulated_cluster_run_ms(cluster, 100);
            simulated_cluster_start(cluster, processes[i]);
        }
        simulated_cluster_run_ms(cluster, 3000);
        assert_int_equal(s_metric(cluster, s_receiver(region), "receiver_set_aside"), 0);
        assert_int_equal(
            s_metric(cluster, s_process(PROCESS_NODE, region), "node_new_incarnations"),
            region == 1 ? 0 : 1); /* followers draw one that stays empty */
        s_write(cluster, &sent);
    }
    for (int i = 0; i < S_REQUESTS; i++) {
        s_write(cluster, &sent);
        simulated_cluster_run_ms(cluster, 50);
    }
    assert_true(s_metric(cluster, s_process(PROCESS_NODE, 1), "node_truncated_segments") > 5);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

static err_t s_delete(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    (void)value;
    (void)value_size;
    store_batch_delete(context, slice_make(key, key_size));
    return ERR_OK;
}

/* A node that lost its checkpoint begins with the base: the events below it are in no file. */
static void test_truncation_with_the_checkpoint_lost_begins_with_the_base(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    simulated_cluster_run_ms(cluster, 60000); /* a checkpoint of all */
    for (uint16_t region = 1; region <= 2; region++) {
        node_id_t node = {{region}, s_shard};
        simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, node);
        store_t store = simulated_cluster_store(cluster, node);
        store_batch_t *batch = store_batch_new();
        assert_int_equal(store.walk(store.context, NULL, 0, s_delete, batch, NULL), ERR_OK);
        assert_true(store_batch_count(batch) > 0);
        assert_int_equal(store.submit(store.context, &batch, NULL), ERR_OK);
        assert_int_equal(store.poll(store.context, NULL), ERR_OK);
        simulated_crash_destroy(&crash);
        simulated_cluster_run_ms(cluster, 2000);
        assert_true(s_metric(cluster, s_process(PROCESS_NODE, region), "node_applied_events") <
                    sent * S_REQUEST_SIZE);
    }
    s_write(cluster, &sent);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* Goal: what a base holds beyond its join is needed in the files as well, and comes again when the copy that
 * had it was damaged. Method: ap-south's node is down, so nothing becomes stable and the others' bases have
 * no join; eu-west's copy is one segment of one batch, and its header is damaged: nothing in it proves that
 * it was ever whole. */
static void test_truncation_base_without_join_does_not_stand_for_files(void **state)
{
    (void)state;
    enum { S_EVENTS = 4000 };
    simulated_cluster_options_t options = {.region_count = 3,
                                           .shard_count = 1,
                                           .seed = 6,
                                           .retain_bytes = S_RETAIN,
                                           .with_reconcilers = true};
    simulated_cluster_t *cluster = simulated_cluster_new(&options);
    simulated_cluster_stop(cluster, s_process(PROCESS_NODE, 3));
    static signal_event_t s_events[S_EVENTS];
    for (uint32_t i = 0; i < S_EVENTS; i++) {
        s_events[i] = (signal_event_t){
            .item = {1 + i}, .ts_ns = 1 + i, .weight = 1.0 + i * 0x1.0p-20, .signal = S_VIEW};
    }
    simulated_write_t write =
        simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, s_shard), s_events,
                                   S_EVENTS, (simulated_form_t){ACK_REPLICATED, "loader", 1});
    assert_int_equal(write.code, CODE_OK);
    simulated_cluster_run_ms(cluster, 3000);
    assert_int_equal(s_metric(cluster, s_process(PROCESS_NODE, 2), "node_bases"), 1);
    simulated_cluster_stop(cluster, s_process(PROCESS_NODE, 2));
    simulated_cluster_stop(cluster, s_receiver(2));
    char path[WAL_PATH_SIZE_MAX];
    (void)snprintf(path, sizeof(path),
                   "data/eu-west/shard-0/tenants/default-1/us-east-%016" PRIx64
                   "/00000000000000000001.seg",
                   write.stream.incarnation);
    sim_disk_t *disk = simulated_cluster_disk(cluster, (region_id_t){2});
    assert_int_equal(sim_disk_flip_bit(disk, path, 200), ERR_OK);
    simulated_cluster_start(cluster, s_receiver(2));
    assert_int_equal(s_metric(cluster, s_receiver(2), "receiver_incomplete"), 1);
    simulated_cluster_run_ms(cluster, 5000);
    assert_int_equal(s_metric(cluster, s_receiver(2), "receiver_incomplete"), 0);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(disk, path, &bytes, &size), ERR_OK);
    assert_true(size > S_RETAIN);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a region that was away while many times retain_bytes were logged catches up exactly, from logs that
 * waited for it, and truncation goes on. Method: the whole region is down; what is logged is `local`. */
static void test_truncation_waits_for_a_region_that_is_away(void **state)
{
    (void)state;
    enum { S_AWAY = 500 };
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    const process_address_t away[] = {s_process(PROCESS_NODE, 3),
                                      {PROCESS_SHIPPER, {3}, {0}},
                                      s_receiver(3),
                                      {PROCESS_RECONCILER, {3}, {0}}};
    for (int i = 0; i < 4; i++) {
        simulated_cluster_stop(cluster, away[i]);
    }
    uint64_t logged = s_log_bytes(cluster);
    uint64_t before = 0;
    for (int i = 0; i < S_AWAY; i++) {
        s_write_at(cluster, ACK_LOCAL, &sent);
        if (i == S_AWAY / 2) { /* what the region still had applied before it went may go */
            simulated_cluster_run_ms(cluster, 10000);
            before = s_metric(cluster, s_process(PROCESS_NODE, 1), "node_truncated_segments");
        }
    }
    simulated_cluster_run_ms(cluster, 10000);
    assert_true(s_log_bytes(cluster) > logged + UINT64_C(10) * S_RETAIN);
    assert_int_equal(s_metric(cluster, s_process(PROCESS_NODE, 1), "node_truncated_segments"),
                     before);
    for (int i = 0; i < 4; i++) {
        simulated_cluster_start(cluster, away[i]);
    }
    s_assert_all_there(cluster, sent);
    assert_int_equal(s_metric(cluster, s_process(PROCESS_NODE, 3), "node_snapshots_taken"), 0);
    simulated_cluster_run_ms(cluster, 2000); /* until its receiver has told all to every shipper */
    for (int i = 0; i < S_REQUESTS; i++) {
        s_write(cluster, &sent);
        simulated_cluster_run_ms(cluster, 50);
    }
    simulated_cluster_run_ms(cluster, 5000);
    assert_true(s_metric(cluster, s_process(PROCESS_NODE, 1), "node_truncated_segments") > before);
    assert_true(s_log_bytes(cluster) < logged + UINT64_C(3) * S_RETAIN);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* A replica that differs is rebuilt from the base and what lies above it. */
static void test_truncation_leaves_repair_possible(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    node_id_t node = {{3}, s_shard};
    simulated_cluster_run_ms(cluster, 60000); /* a checkpoint of all */
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, node);
    store_t store = simulated_cluster_store(cluster, node);
    /* The count of one seen pair or cell is not what the logs say: a cell is missing. */
    store_batch_t *batch = store_batch_new();
    uint8_t key[9 + 10] = {0, 0, 0, 0, 0, 0, 0, 1, 'L', 'c', 0, 0, 0, 0, 0, 0, 0, 5, S_VIEW};
    store_batch_delete(batch, slice_make(key, sizeof(key)));
    assert_int_equal(store.submit(store.context, &batch, NULL), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    simulated_crash_destroy(&crash);
    const reconcile_report_t *report = simulated_cluster_report(cluster, node.region);
    for (int ms = 0; report->repair_count == 0 && ms < 12000; ms++) {
        simulated_cluster_run_ms(cluster, 1);
        report = simulated_cluster_report(cluster, node.region);
    }
    assert_int_equal(report->repair_count, 1);
    assert_true(report->repairs[0].different);
    assert_string_equal(report->repairs[0].listed[0].key, "cell item 5 signal 1");
    assert_true(report->repairs[0].event_count < sent * S_REQUEST_SIZE);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncation_of_a_running_mesh_loses_nothing),
        cmocka_unit_test(test_truncation_is_outlived_by_every_process),
        cmocka_unit_test(test_truncation_with_the_checkpoint_lost_begins_with_the_base),
        cmocka_unit_test(test_truncation_base_without_join_does_not_stand_for_files),
        cmocka_unit_test(test_truncation_waits_for_a_region_that_is_away),
        cmocka_unit_test(test_truncation_leaves_repair_possible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
