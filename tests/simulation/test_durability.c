/* What was acknowledged, and what a node shows, is on the disk: at whatever moment the power of a
 * region goes, its files hold it. Method: after each step a copy of the region's disk loses all that
 * was not synced, and what is left of the leader's stream is read. */
#include "common/base/prng.h"
#include "common/wal/wal_files.h"
#include "common/wal/wal_reader.h"
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1, S_REGIONS = 3, S_LEADER = 1 };

static const char *const s_region_names[S_REGIONS + 1] = {"", "us-east", "eu-west", "ap-south"};

static simulated_cluster_t *s_cluster(void)
{
    simulated_cluster_options_t options = {.region_count = S_REGIONS,
                                           .shard_count = 1,
                                           .seed = 51,
                                           .segment_size_bytes = SEGMENT_SIZE_MIN};
    return simulated_cluster_new(&options);
}

static node_id_t s_node(uint16_t region)
{
    return (node_id_t){{region}, {0}};
}

/* How far the files of a disk hold a stream; 0: not at all. */
static uint64_t s_last_seq(const disk_t *disk, uint16_t region, stream_id_t stream)
{
    wal_path_t tenants;
    wal_path_t folder;
    errbuf_t errbuf = {{0}};
    wal_stream_name_t name = {
        .tenant = stream.tenant, .tenant_name = "default", .incarnation = stream.incarnation};
    (void)snprintf(name.region_name, sizeof(name.region_name), "%s",
                   s_region_names[stream.origin.region.value]);
    assert_int_equal(wal_files_tenants_path("data", s_region_names[region], stream.origin.shard,
                                            &tenants, &errbuf),
                     ERR_OK);
    assert_int_equal(wal_files_stream_path(tenants.text, &name, &folder, &errbuf), ERR_OK);
    wal_reader_options_t options = {
        .disk = disk, .folder = folder.text, .stream = stream, .from_seq = 1};
    wal_reader_t *reader = wal_reader_new(&options);
    wal_batch_t batch;
    uint64_t last_seq = 0;
    while (wal_reader_next_batch(reader, UINT64_MAX, &batch, &errbuf) == ERR_OK) {
        last_seq = wal_batch_last_seq(&batch);
    }
    wal_reader_destroy(&reader);
    return last_seq;
}

/* The same after a power cut of that region now. */
static uint64_t s_durable_seq(const simulated_cluster_t *cluster,
                              uint16_t region,
                              stream_id_t stream)
{
    sim_disk_t *disk =
        sim_disk_clone_synced(simulated_cluster_disk(cluster, (region_id_t){region}));
    uint64_t seq = s_last_seq(sim_disk_disk(disk), region, stream);
    sim_disk_destroy(&disk);
    return seq;
}

static signal_event_t s_view(const simulated_cluster_t *cluster, uint64_t item)
{
    return (signal_event_t){.item = {item},
                            .ts_ns = simulated_cluster_now_ns(cluster),
                            .weight = 1.0,
                            .signal = S_VIEW};
}

/* Goal: the answer to a write names regions whose disks hold it, whatever the level; that of the leader
 * is among them. */
static void test_durability_acknowledged_events_survive_a_power_cut(void **state)
{
    (void)state;
    enum { S_WRITES = 60 };
    simulated_cluster_t *cluster = s_cluster();
    uint32_t holders = 0;
    for (uint64_t i = 0; i < S_WRITES; i++) {
        ack_level_t level = (ack_level_t)(ACK_LOCAL + i % (ACK_ALL + 1 - ACK_LOCAL));
        signal_event_t event = s_view(cluster, 1 + i);
        simulated_write_t write = simulated_cluster_write_to(cluster, s_node(S_LEADER), &event, 1,
                                                             (simulated_form_t){level, NULL, 0});
        assert_int_equal(write.code, CODE_OK);
        assert_true(region_set_has(write.replicas, (region_id_t){S_LEADER}));
        for (uint16_t region = 1; region <= S_REGIONS; region++) {
            bool is_named = region_set_has(write.replicas, (region_id_t){region});
            uint64_t seq = s_durable_seq(cluster, region, write.stream);
            assert_true(!is_named || seq >= write.last_seq);
            holders += is_named ? 1 : 0;
        }
        simulated_cluster_run_ms(cluster, (int64_t)(i % 4) * 10);
    }
    assert_true(holders > 2 * S_WRITES); /* of two levels of three all regions hold it */
    simulated_cluster_destroy(&cluster);
}

/* Goal: no node, leader or follower, has applied an event that a power cut of its region would lose. */
static void test_durability_applied_events_survive_a_power_cut(void **state)
{
    (void)state;
    enum { S_RUN_MS = 1500 };
    simulated_cluster_t *cluster = s_cluster();
    prng_t prng;
    prng_init(&prng, 52);
    signal_event_t first = s_view(cluster, 1);
    stream_id_t stream = simulated_cluster_write_signal(cluster, &first).stream;
    for (uint32_t ms = 0; ms < S_RUN_MS; ms++) {
        /* Many at once, and then nothing for longer than a heartbeat. */
        if (ms % 500 < 150 && prng_below(&prng, 4) == 0) {
            signal_event_t event = s_view(cluster, 1 + prng_below(&prng, 20));
            simulated_cluster_post(cluster, s_node(S_LEADER), &event, 1, ACK_LOCAL);
        }
        simulated_cluster_run_ms(cluster, 1);
        for (uint16_t region = 1; region <= S_REGIONS; region++) {
            uint64_t applied = simulated_cluster_applied_of(cluster, s_node(region), stream);
            assert_true(s_durable_seq(cluster, region, stream) >= applied);
        }
    }
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 1000, NULL), ERR_OK);
    assert_true(simulated_cluster_applied_of(cluster, s_node(S_REGIONS), stream) > 50);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durability_acknowledged_events_survive_a_power_cut),
        cmocka_unit_test(test_durability_applied_events_survive_a_power_cut),
    };
    return cmocka_run_group_tests_name("durability", tests, NULL, NULL);
}
