/* The suite `snapshot`: regions whose files went after the logs were truncated, over whole lives of a
 * mesh. They come back by the base of another region and what lies above it. */
#include "common/engine/base_file.h"
#include "tests/support/simulated_cluster.h"

#include <blake3.h>

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
static const user_id_t s_user = {77};
static const item_id_t s_hidden = {5};

static process_address_t s_process(process_kind_t kind, uint16_t region)
{
    return (process_address_t){kind, {region}, {0}};
}

static node_id_t s_node(uint16_t region)
{
    return (node_id_t){{region}, s_shard};
}

static uint64_t s_metric(simulated_cluster_t *cluster,
                         process_kind_t kind,
                         uint16_t region,
                         const char *name)
{
    return simulated_cluster_metric(cluster, s_process(kind, region), name);
}

/* Requests with a producer, so that pairs and their positions are part of it. */
static void s_write(simulated_cluster_t *cluster, uint64_t *sent)
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
                                   S_REQUEST_SIZE, (simulated_form_t){ACK_LOCAL, "loader", *sent});
    assert_int_equal(write.code, CODE_OK);
}

static void s_write_many(simulated_cluster_t *cluster, uint64_t *sent, int count)
{
    for (int i = 0; i < count; i++) {
        s_write(cluster, sent);
        simulated_cluster_run_ms(cluster, 50);
    }
}

/* One user hides one item, before everything else. */
static void s_hide(simulated_cluster_t *cluster)
{
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user = s_user;
    record.as.relation.target = s_hidden.value;
    record.as.relation.hlc = (hlc_stamp_t){simulated_cluster_now_ns(cluster), 0, 1};
    record.as.relation.action = RELATION_HIDE;
    record.as.relation.set = true;
    simulated_write_t write =
        simulated_cluster_write_record(cluster, simulated_cluster_leader(cluster, s_shard), &record,
                                       record.as.relation.hlc, ACK_REPLICATED);
    assert_int_equal(write.code, CODE_OK);
}

/* in retain_bytes  0: nothing is truncated */
static simulated_cluster_t *s_new(uint64_t seed, uint64_t retain_bytes)
{
    simulated_cluster_options_t options = {.region_count = 3,
                                           .shard_count = 1,
                                           .seed = seed,
                                           .segment_size_bytes = S_SEGMENT_SIZE,
                                           .retain_bytes = retain_bytes,
                                           .with_reconcilers = true};
    return simulated_cluster_new(&options);
}

/* A mesh that has written so much that every region has truncated. */
static simulated_cluster_t *s_truncated(uint64_t *ret_sent)
{
    simulated_cluster_t *cluster = s_new(7, S_RETAIN);
    *ret_sent = 0;
    s_hide(cluster);
    s_write_many(cluster, ret_sent, S_REQUESTS);
    simulated_cluster_run_ms(cluster, 5000);
    assert_true(s_metric(cluster, PROCESS_NODE, 1, "node_truncated_segments") > 5);
    for (uint16_t region = 2; region <= 3; region++) {
        assert_true(s_metric(cluster, PROCESS_RECEIVER, region, "receiver_truncated_segments") > 5);
    }
    return cluster;
}

static void s_stop_region(simulated_cluster_t *cluster, uint16_t region)
{
    simulated_cluster_stop(cluster, s_process(PROCESS_NODE, region));
    simulated_cluster_stop(cluster, s_process(PROCESS_RECEIVER, region));
    simulated_cluster_stop(cluster, s_process(PROCESS_SHIPPER, region));
    simulated_cluster_stop(cluster, s_process(PROCESS_RECONCILER, region));
}

/* All but its node. */
static void s_start_others(simulated_cluster_t *cluster, uint16_t region)
{
    simulated_cluster_start(cluster, s_process(PROCESS_RECEIVER, region));
    simulated_cluster_start(cluster, s_process(PROCESS_SHIPPER, region));
    simulated_cluster_start(cluster, s_process(PROCESS_RECONCILER, region));
}

static void s_start_region(simulated_cluster_t *cluster, uint16_t region)
{
    s_start_others(cluster, region);
    simulated_cluster_start(cluster, s_process(PROCESS_NODE, region));
}

static void s_await_ready(simulated_cluster_t *cluster, uint16_t region, int ms_max)
{
    int ms = 0;
    while (*simulated_cluster_unready(cluster, s_node(region)) != '\0' && ms < ms_max) {
        simulated_cluster_run_ms(cluster, 10);
        ms += 10;
    }
    if (ms >= ms_max) {
        fail_msg("region %u: %s", region, simulated_cluster_unready(cluster, s_node(region)));
    }
}

/* Until that of region 3 is no longer 0. */
static void s_await_metric(simulated_cluster_t *cluster, process_kind_t kind, const char *name)
{
    for (int ms = 0; ms < 60000 && s_metric(cluster, kind, 3, name) == 0; ms++) {
        simulated_cluster_run_ms(cluster, 1);
    }
    assert_true(s_metric(cluster, kind, 3, name) > 0);
}

/* All regions are equal, have every event once, and know the pairs that were sent. */
static void s_assert_all_there(simulated_cluster_t *cluster, uint64_t sent)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 20000, NULL), ERR_OK);
    for (uint16_t region = 1; region <= 3; region++) {
        assert_int_equal(simulated_cluster_applied_seqno(cluster, s_node(region)),
                         1 + sent * S_REQUEST_SIZE);
    }
    signal_event_t event = {.item = {1}, .ts_ns = 1, .weight = 1, .signal = S_VIEW};
    simulated_write_t write =
        simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, s_shard), &event, 1,
                                   (simulated_form_t){ACK_LOCAL, "loader", 1});
    assert_true(write.duplicate || write.code == CODE_BAD_REQUEST);
}

/* A follower's region loses everything; the mesh writes on. It takes one snapshot, and is equal. */
static void test_snapshot_brings_a_wiped_follower_back(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    s_stop_region(cluster, 3);
    simulated_cluster_wipe_region(cluster, (region_id_t){3});
    simulated_cluster_run_ms(cluster, 1000);
    s_start_region(cluster, 3);
    s_write_many(cluster, &sent, 10);
    s_await_ready(cluster, 3, 60000);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_adopted"), 1);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_taken"), 1);
    assert_int_equal(s_metric(cluster, PROCESS_RECONCILER, 3, "reconciler_snapshots"), 1);
    assert_true(s_metric(cluster, PROCESS_RECEIVER, 3, "receiver_joined") >= 1);
    assert_int_equal(simulated_cluster_report(cluster, (region_id_t){3})->snapshot_count, 1);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* The leader's region loses everything, its own stream included, which others hold from the middle on
 * only. It comes back, leads, and writes into another incarnation. */
static void test_snapshot_brings_a_wiped_leader_back(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    s_stop_region(cluster, 1);
    simulated_cluster_wipe_region(cluster, (region_id_t){1});
    simulated_cluster_run_ms(cluster, 1000);
    s_start_region(cluster, 1);
    s_await_ready(cluster, 1, 60000);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 1, "node_snapshots_taken"), 1);
    s_write_many(cluster, &sent, 10);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* -- what is there before the first answer ----------------------------------------------------- */

/* A node that is asked all the time while it comes back refuses, or knows what was hidden long before
 * its logs begin: never an answer without it. */
static void test_snapshot_serves_nothing_before_hard_negatives_are_there(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    s_stop_region(cluster, 3);
    simulated_cluster_wipe_region(cluster, (region_id_t){3});
    s_start_region(cluster, 3);
    uint32_t refused = 0;
    uint32_t answered = 0;
    for (int i = 0; i < 6000 && answered < 10; i++) {
        simulated_cluster_run_ms(cluster, 10);
        msg_read_t read = {.kind = READ_RELATION, .at_ns = simulated_cluster_now_ns(cluster)};
        const msg_read_reply_t *reply = NULL;
        read.as.relation.user = s_user;
        read.as.relation.item = s_hidden;
        if (simulated_cluster_read(cluster, s_node(3), &read, &reply) == ERR_OK &&
            reply->code == CODE_OK) {
            answered++;
            assert_true(reply->as.relation.hidden);
        } else {
            refused++;
        }
    }
    assert_int_equal(answered, 10);
    assert_true(refused > 100);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_taken"), 1);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* -- whether one is taken ---------------------------------------------------------------------- */

/* Where the others' logs go all the way, they are used: no snapshot, and every log begins with 1. */
static void test_snapshot_is_not_taken_where_logs_reach(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_new(8, (uint64_t)100 * S_RETAIN);
    uint64_t sent = 0;
    s_hide(cluster);
    s_write_many(cluster, &sent, S_REQUESTS);
    s_stop_region(cluster, 3);
    simulated_cluster_wipe_region(cluster, (region_id_t){3});
    s_start_region(cluster, 3);
    s_await_ready(cluster, 3, 60000);
    simulated_cluster_run_ms(cluster, 20000);
    assert_int_equal(s_metric(cluster, PROCESS_RECONCILER, 3, "reconciler_snapshots_begun"), 0);
    assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, 3, "receiver_joined"), 0);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

static void s_on_stream_folder(void *context, const char *name, uint64_t size_bytes)
{
    char *found = context;
    if (strncmp(name, "us-east-", 8) == 0 && size_bytes == UINT64_MAX) {
        (void)snprintf(found, 128, "%s", name);
    }
}

/* A replica's folder that goes under a node with base and checkpoint is begun at the own base's join:
 * no snapshot is needed, and nothing is served anew. */
static void test_snapshot_is_not_taken_where_the_own_base_joins(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    sim_disk_t *disk = simulated_cluster_disk(cluster, (region_id_t){3});
    const disk_t *seam = sim_disk_disk(disk);
    static const char s_tenant[] = "data/ap-south/shard-0/tenants/default-1";
    char name[128] = "";
    char folder[256];
    assert_int_equal(seam->list(seam->context, s_tenant, s_on_stream_folder, name, NULL), ERR_OK);
    assert_true(name[0] != '\0');
    (void)snprintf(folder, sizeof(folder), "%s/%s", s_tenant, name);
    s_stop_region(cluster, 3);
    sim_disk_wipe(disk, folder);
    s_start_region(cluster, 3);
    s_write_many(cluster, &sent, 20);
    s_await_ready(cluster, 3, 60000);
    simulated_cluster_run_ms(cluster, 20000);
    assert_true(s_metric(cluster, PROCESS_RECEIVER, 3, "receiver_joined") <= 1);
    assert_int_equal(s_metric(cluster, PROCESS_RECONCILER, 3, "reconciler_snapshots"), 0);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* -- set back ---------------------------------------------------------------------------------- */

/* A region comes back with an old copy of its disk, from before what the others still log. The mesh,
 * at rest again. */
static simulated_cluster_t *s_set_back(uint16_t region, uint64_t *ret_sent)
{
    simulated_cluster_t *cluster = s_new(9, S_RETAIN);
    uint64_t sent = 0;
    s_hide(cluster);
    s_write_many(cluster, &sent, 5);
    simulated_cluster_run_ms(cluster, 1000);
    sim_disk_t *copy = simulated_cluster_copy_disk(cluster, (region_id_t){region});
    s_write_many(cluster, &sent, S_REQUESTS);
    simulated_cluster_run_ms(cluster, 5000);
    assert_true(s_metric(cluster, PROCESS_NODE, 1, "node_truncated_segments") > 5);
    s_stop_region(cluster, region);
    simulated_cluster_set_back(cluster, (region_id_t){region}, &copy);
    s_start_region(cluster, region);
    for (int i = 0; i < 3000; i++) {
        simulated_cluster_run_ms(cluster, 10);
        if (s_metric(cluster, PROCESS_NODE, region, "node_snapshots_taken") == 1) {
            break;
        }
    }
    s_await_ready(cluster, region, 60000);
    s_write_many(cluster, &sent, 10);
    *ret_sent = sent;
    return cluster;
}

static void test_snapshot_brings_a_follower_back_that_was_set_back(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_set_back(3, &sent);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_taken"), 1);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* Its own stream is behind what the others hold of it: given up, joined, and never written again. */
static void test_snapshot_brings_a_leader_back_that_was_set_back(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_set_back(1, &sent);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 1, "node_snapshots_taken"), 1);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 1, "node_new_incarnations"), 1);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* Killed at any moment between the snapshot and its end, it goes on: with the base that is in place
 * already, or with another transfer. Method: every process of the region is killed n ms after the
 * transfer began, n rising. */
static void test_snapshot_outlives_a_kill_at_any_moment(void **state)
{
    (void)state;
    for (int after_ms = 0; after_ms < 400; after_ms += after_ms < 20 ? 2 : 40) {
        uint64_t sent = 0;
        simulated_cluster_t *cluster = s_truncated(&sent);
        s_stop_region(cluster, 3);
        simulated_cluster_wipe_region(cluster, (region_id_t){3});
        s_start_region(cluster, 3);
        s_await_metric(cluster, PROCESS_RECONCILER, "reconciler_snapshots_begun");
        simulated_cluster_run_ms(cluster, after_ms);
        s_stop_region(cluster, 3);
        s_start_region(cluster, 3);
        s_await_ready(cluster, 3, 60000);
        s_assert_all_there(cluster, sent);
        simulated_cluster_destroy(&cluster);
    }
}

/* What processes that died in the middle have left of snapshots goes when they start again, needed or not:
 * it would take room for good. */
static void test_snapshot_files_that_were_left_are_removed_at_the_start(void **state)
{
    (void)state;
    static const char *const s_paths[] = {
        "data/ap-south/shard-0/tenants/default-1/state.base.fetching",
        "data/ap-south/shard-0/tenants/default-1/state.base.fetched",
        "data/ap-south/shard-0/tenants/default-1/state.base.loading"};
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    sim_disk_t *disk = simulated_cluster_disk(cluster, (region_id_t){3});
    s_stop_region(cluster, 3);
    for (int i = 0; i < 3; i++) {
        sim_disk_put(disk, s_paths[i], "TIDBASE2", 8);
    }
    s_start_region(cluster, 3);
    s_await_ready(cluster, 3, 60000);
    simulated_cluster_run_ms(cluster, 20000);
    for (int i = 0; i < 3; i++) {
        const uint8_t *bytes = NULL;
        uint64_t size = 0;
        assert_int_equal(sim_disk_peek(disk, s_paths[i], &bytes, &size), ERR_NOT_FOUND);
    }
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_adopted"), 0);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* -- an own base that is damaged or gone ------------------------------------------------------- */

static const char s_folder_of_3[] = "data/ap-south/shard-0/tenants/default-1";
static const char s_base_of_1[] = "data/us-east/shard-0/tenants/default-1/state.base";
static const char s_base_of_3[] = "data/ap-south/shard-0/tenants/default-1/state.base";

/* One bit in the middle of it. */
static void s_flip_base_of_3(simulated_cluster_t *cluster)
{
    sim_disk_t *disk = simulated_cluster_disk(cluster, (region_id_t){3});
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(disk, s_base_of_3, &bytes, &size), ERR_OK);
    assert_int_equal(sim_disk_flip_bit(disk, s_base_of_3, size * 4), ERR_OK);
}

/* Goal: a bit that flips in a node's base is found when the next base is to be made of it; another
 * region's takes its place under the running node, which serves all the time and goes on making bases.
 * Method: writes until two more bases were due, and in each of them a look at whether it is ready. */
static void test_snapshot_replaces_a_base_that_was_damaged(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    s_flip_base_of_3(cluster);
    uint64_t bases = s_metric(cluster, PROCESS_NODE, 3, "node_bases");
    bool was_lost = false;
    for (int i = 0; i < 400 && s_metric(cluster, PROCESS_NODE, 3, "node_bases") < bases + 2; i++) {
        s_write_many(cluster, &sent, 1);
        was_lost = was_lost || s_metric(cluster, PROCESS_NODE, 3, "node_bases_lost") == 1;
        assert_string_equal(simulated_cluster_unready(cluster, s_node(3)), "");
    }
    assert_true(was_lost);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_bases_lost"), 0);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_adopted"), 1);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_taken"), 0);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_bases"), bases + 2);
    simulated_cluster_run_ms(cluster, 10000); /* a run of the reconciler */
    assert_int_equal(simulated_cluster_report(cluster, (region_id_t){3})->lost_base_count, 0);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* With the checkpoint gone as well, the node has no state to begin with: it serves nothing until
 * another region's base has brought one. */
static void test_snapshot_stands_in_for_damaged_base_and_lost_checkpoint(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    s_stop_region(cluster, 3);
    s_flip_base_of_3(cluster);
    simulated_cluster_lose_checkpoint(cluster, s_node(3));
    s_start_region(cluster, 3);
    simulated_cluster_run_ms(cluster, 1000);
    assert_non_null(strstr(simulated_cluster_unready(cluster, s_node(3)), "the base is damaged"));
    s_write_many(cluster, &sent, 10);
    s_await_ready(cluster, 3, 60000);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_taken"), 1);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_bases_lost"), 0);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* Not even the head can be read, so what it said of the files is not known any more, to node and receiver.
 * Where the checkpoint is there, the node needs nothing of it: it serves on, as leader too. */
static void test_snapshot_stands_in_for_a_base_whose_head_is_damaged(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 88 * 8; bit += 101) {
        uint16_t region = bit % 2 == 0 ? 1 : 3;
        uint64_t sent = 0;
        simulated_cluster_t *cluster = s_truncated(&sent);
        simulated_cluster_run_ms(cluster, 60000); /* a checkpoint of all */
        s_stop_region(cluster, region);
        sim_disk_t *disk = simulated_cluster_disk(cluster, (region_id_t){region});
        assert_int_equal(sim_disk_flip_bit(disk, region == 1 ? s_base_of_1 : s_base_of_3, bit),
                         ERR_OK);
        s_start_region(cluster, region);
        s_await_ready(cluster, region, 5000);
        assert_int_equal(s_metric(cluster, PROCESS_NODE, region, "node_bases_lost"), 1);
        simulated_cluster_run_ms(cluster, 2000); /* a leader asks the others before it writes */
        for (int i = 0; i < 200 && s_metric(cluster, PROCESS_NODE, region, "node_bases_lost") == 1;
             i++) {
            s_write_many(cluster, &sent, 5);
        }
        assert_int_equal(s_metric(cluster, PROCESS_NODE, region, "node_bases_lost"), 0);
        assert_int_equal(s_metric(cluster, PROCESS_NODE, region, "node_snapshots_adopted"), 1);
        assert_int_equal(s_metric(cluster, PROCESS_NODE, region, "node_snapshots_taken"), 0);
        assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, region, "receiver_set_aside"), 0);
        s_write_many(cluster, &sent, 60);
        s_assert_all_there(cluster, sent);
        simulated_cluster_destroy(&cluster);
    }
}

/* The file goes while its node is down: as if its head were damaged, and the receiver, which cannot tell
 * whether there was one, fetches again what it sets aside. */
static void test_snapshot_stands_in_for_a_base_that_is_gone_at_the_start(void **state)
{
    (void)state;
    for (uint16_t region = 1; region <= 3; region += 2) {
        uint64_t sent = 0;
        simulated_cluster_t *cluster = s_truncated(&sent);
        simulated_cluster_run_ms(cluster, 60000); /* a checkpoint of all */
        const disk_t *disk = sim_disk_disk(simulated_cluster_disk(cluster, (region_id_t){region}));
        s_stop_region(cluster, region);
        assert_int_equal(disk->unlink(disk->context, region == 1 ? s_base_of_1 : s_base_of_3, NULL),
                         ERR_OK);
        s_start_region(cluster, region);
        s_await_ready(cluster, region, 60000);
        simulated_cluster_run_ms(cluster, 2000); /* a leader asks the others before it writes */
        s_write_many(cluster, &sent, 200);
        assert_int_equal(s_metric(cluster, PROCESS_NODE, region, "node_bases_lost"), 0);
        s_assert_all_there(cluster, sent);
        simulated_cluster_destroy(&cluster);
    }
}

/* A first segment that is missing where there never was a base is damage, as it always was: what went of
 * another region's stream is fetched again, and no snapshot is waited for. */
static void test_snapshot_is_not_waited_for_where_a_first_segment_is_missing(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_new(11, 0);
    uint64_t sent = 0;
    s_hide(cluster);
    s_write_many(cluster, &sent, S_REQUESTS);
    const disk_t *disk = sim_disk_disk(simulated_cluster_disk(cluster, (region_id_t){3}));
    char name[128] = "";
    char path[256];
    assert_int_equal(disk->list(disk->context, s_folder_of_3, s_on_stream_folder, name, NULL),
                     ERR_OK);
    (void)snprintf(path, sizeof(path), "%s/%s/00000000000000000001.seg", s_folder_of_3, name);
    s_stop_region(cluster, 3);
    assert_int_equal(disk->unlink(disk->context, path, NULL), ERR_OK);
    simulated_cluster_lose_checkpoint(cluster, s_node(3));
    simulated_cluster_start(cluster, s_process(PROCESS_NODE, 3));
    simulated_cluster_run_ms(cluster, 100);
    s_start_others(cluster, 3);
    s_await_ready(cluster, 3, 60000);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_bases_lost"), 0);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* Where nothing was truncated yet, a damaged base is not needed: the next one replaces it. */
static void test_snapshot_is_not_taken_for_a_base_that_nothing_rests_on(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_new(10, S_RETAIN);
    uint64_t sent = 0;
    s_hide(cluster);
    while (s_metric(cluster, PROCESS_NODE, 3, "node_bases") == 0) {
        s_write_many(cluster, &sent, 1);
    }
    assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, 3, "receiver_truncated_segments"), 0);
    s_stop_region(cluster, 3);
    s_flip_base_of_3(cluster);
    simulated_cluster_lose_checkpoint(cluster, s_node(3));
    s_start_region(cluster, 3);
    s_await_ready(cluster, 3, 60000);
    s_write_many(cluster, &sent, S_REQUESTS);
    assert_true(s_metric(cluster, PROCESS_NODE, 3, "node_bases") >= 1);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_bases_lost"), 0);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_adopted"), 0);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* All files of a shard go under the running processes of its region: what is there comes again, base and
 * logs, without a start of anything. */
static void test_snapshot_brings_files_back_that_were_removed_under_the_processes(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    sim_disk_t *disk = simulated_cluster_disk(cluster, (region_id_t){3});
    sim_disk_wipe(disk, s_folder_of_3);
    s_write_many(cluster, &sent, 40);
    simulated_cluster_run_ms(cluster, 60000);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(disk, s_base_of_3, &bytes, &size), ERR_OK);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_bases_lost"), 0);
    s_write_many(cluster, &sent, 40);
    s_assert_all_there(cluster, sent);
    /* What is on the disk is enough for a start, also without the checkpoint. */
    s_stop_region(cluster, 3);
    simulated_cluster_lose_checkpoint(cluster, s_node(3));
    s_start_region(cluster, 3);
    s_await_ready(cluster, 3, 60000);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* -- what is refused --------------------------------------------------------------------------- */

/* A bit that flips on the way is refused and counted; the next donor brings the region back. */
static void test_snapshot_with_a_damaged_piece_is_refused(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    s_stop_region(cluster, 3);
    simulated_cluster_wipe_region(cluster, (region_id_t){3});
    s_start_region(cluster, 3);
    simulated_cluster_corrupt_next_piece(cluster, (region_id_t){3}, 12345);
    s_await_ready(cluster, 3, 60000);
    assert_int_equal(s_metric(cluster, PROCESS_RECONCILER, 3, "reconciler_snapshots_refused"), 1);
    assert_int_equal(s_metric(cluster, PROCESS_RECONCILER, 3, "reconciler_snapshots"), 1);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_refused"), 0);
    assert_int_equal(simulated_cluster_report(cluster, (region_id_t){3})->snapshot_refused_count,
                     1);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* A base without its hashes. */
typedef struct {
    base_head_t head;
    buffer_t entries;
} s_parts_t;

/* Changes the base of a region, with all of its hashes right. */
typedef void (*s_forge_fn)(s_parts_t *parts);

static void s_forge(simulated_cluster_t *cluster,
                    const char *path,
                    region_id_t region,
                    s_forge_fn forge)
{
    sim_disk_t *disk = simulated_cluster_disk(cluster, region);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(disk, path, &bytes, &size), ERR_OK);
    s_parts_t parts = {.entries = {0}};
    size_t head_size = 0;
    errbuf_t errbuf;
    assert_int_equal(base_head_decode(slice_make(bytes, size), &parts.head, &head_size, &errbuf),
                     ERR_OK);
    buffer_append(&parts.entries, bytes + head_size, size - head_size - BASE_HASH_SIZE);
    forge(&parts);
    buffer_t forged = {0};
    base_head_encode(&parts.head, &forged);
    base_head_done(&parts.head);
    assert_int_equal(forged.size, head_size);
    buffer_append(&forged, parts.entries.data, parts.entries.size);
    buffer_done(&parts.entries);
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, forged.data, forged.size);
    blake3_hasher_finalize(&hasher, buffer_extend(&forged, BASE_HASH_SIZE), BASE_HASH_SIZE);
    sim_disk_put(disk, path, forged.data, forged.size);
    buffer_done(&forged);
}

/* Another digest than that of its state. */
static void s_forge_digest(s_parts_t *parts)
{
    parts->head.digest[3] ^= 1;
}

/* The entry of the clock says a wall time that there is not. */
static void s_forge_clock(s_parts_t *parts)
{
    uint8_t *entries = parts->entries.data;
    size_t size = parts->entries.size;
    size_t at = 0;
    while (at + BASE_ENTRY_SIZE_MIN < size && entries[at + BASE_ENTRY_SIZE_MIN] != 'C') {
        at += BASE_ENTRY_SIZE_MIN + (size_t)bytes_get_u16(entries + at) +
              bytes_get_u32(entries + at + 2);
    }
    assert_true(at + BASE_ENTRY_SIZE_MIN < size && bytes_get_u16(entries + at) == 1);
    bytes_put_u64(entries + at + BASE_ENTRY_SIZE_MIN + 1, UINT64_MAX);
}

/* One whose clock is before all time is refused; the next donor brings the region back, and nothing is
 * left of the other one. (One from far ahead is taken, as a logged record is: seed 179602312901178.) */
static void test_snapshot_with_an_impossible_clock_is_refused(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    s_stop_region(cluster, 3);
    simulated_cluster_wipe_region(cluster, (region_id_t){3});
    s_forge(cluster, "data/us-east/shard-0/tenants/default-1/state.base", (region_id_t){1},
            s_forge_clock);
    s_start_region(cluster, 3);
    s_await_metric(cluster, PROCESS_NODE, "node_snapshots_refused");
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_adopted"), 0);
    s_await_ready(cluster, 3, 60000);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_taken"), 1);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* Such a snapshot is refused by the node, counted, and changes nothing: no base is put in place, no
 * stream is joined. The next donor brings the region back. */
static void test_snapshot_with_a_wrong_digest_is_refused(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    s_stop_region(cluster, 3);
    simulated_cluster_wipe_region(cluster, (region_id_t){3});
    s_forge(cluster, "data/us-east/shard-0/tenants/default-1/state.base", (region_id_t){1},
            s_forge_digest);
    s_start_region(cluster, 3);
    s_await_metric(cluster, PROCESS_NODE, "node_snapshots_refused");
    simulated_cluster_run_ms(cluster, 1000);
    assert_int_equal(s_metric(cluster, PROCESS_RECONCILER, 3, "reconciler_snapshots_refused"), 1);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_adopted"), 0);
    assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, 3, "receiver_joined"), 0);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, s_node(3)), 0);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    static const char *const s_paths[] = {
        "data/ap-south/shard-0/tenants/default-1/state.base",
        "data/ap-south/shard-0/tenants/default-1/state.base.fetching",
        "data/ap-south/shard-0/tenants/default-1/state.base.fetched",
        "data/ap-south/shard-0/tenants/default-1/state.base.loading"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(sim_disk_peek(simulated_cluster_disk(cluster, (region_id_t){3}),
                                       s_paths[i], &bytes, &size),
                         ERR_NOT_FOUND);
    }
    s_await_ready(cluster, 3, 60000);
    assert_int_equal(s_metric(cluster, PROCESS_NODE, 3, "node_snapshots_taken"), 1);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a donor that truncates further while the transfer is under way does no harm. Method: the mesh
 * writes on all the time, at a rate at which bases and logs change every second. */
static void test_snapshot_of_a_mesh_that_writes_on(void **state)
{
    (void)state;
    uint64_t sent = 0;
    simulated_cluster_t *cluster = s_truncated(&sent);
    s_stop_region(cluster, 3);
    simulated_cluster_wipe_region(cluster, (region_id_t){3});
    s_start_region(cluster, 3);
    for (int i = 0; i < 2000 && *simulated_cluster_unready(cluster, s_node(3)) != '\0'; i++) {
        s_write(cluster, &sent);
        simulated_cluster_run_ms(cluster, 10);
    }
    assert_string_equal(simulated_cluster_unready(cluster, s_node(3)), "");
    s_write_many(cluster, &sent, 50);
    s_assert_all_there(cluster, sent);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_brings_a_wiped_follower_back),
        cmocka_unit_test(test_snapshot_brings_a_wiped_leader_back),
        cmocka_unit_test(test_snapshot_serves_nothing_before_hard_negatives_are_there),
        cmocka_unit_test(test_snapshot_is_not_taken_where_logs_reach),
        cmocka_unit_test(test_snapshot_is_not_taken_where_the_own_base_joins),
        cmocka_unit_test(test_snapshot_brings_a_follower_back_that_was_set_back),
        cmocka_unit_test(test_snapshot_brings_a_leader_back_that_was_set_back),
        cmocka_unit_test(test_snapshot_outlives_a_kill_at_any_moment),
        cmocka_unit_test(test_snapshot_files_that_were_left_are_removed_at_the_start),
        cmocka_unit_test(test_snapshot_replaces_a_base_that_was_damaged),
        cmocka_unit_test(test_snapshot_stands_in_for_damaged_base_and_lost_checkpoint),
        cmocka_unit_test(test_snapshot_stands_in_for_a_base_whose_head_is_damaged),
        cmocka_unit_test(test_snapshot_stands_in_for_a_base_that_is_gone_at_the_start),
        cmocka_unit_test(test_snapshot_is_not_taken_for_a_base_that_nothing_rests_on),
        cmocka_unit_test(test_snapshot_is_not_waited_for_where_a_first_segment_is_missing),
        cmocka_unit_test(test_snapshot_brings_files_back_that_were_removed_under_the_processes),
        cmocka_unit_test(test_snapshot_with_a_damaged_piece_is_refused),
        cmocka_unit_test(test_snapshot_with_a_wrong_digest_is_refused),
        cmocka_unit_test(test_snapshot_with_an_impossible_clock_is_refused),
        cmocka_unit_test(test_snapshot_of_a_mesh_that_writes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
