/* Streams that travel by way of a third region, and nodes and regions that lost their disk. */
#include "tests/support/simulated_cluster.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1, S_REGIONS = 3 };

static simulated_cluster_t *s_cluster(uint16_t shards)
{
    simulated_cluster_options_t options = {
        .region_count = S_REGIONS, .shard_count = shards, .seed = 11};
    return simulated_cluster_new(&options);
}

static process_address_t s_process(process_kind_t kind, uint16_t region, uint16_t shard)
{
    return (process_address_t){kind, {region}, {shard}};
}

static void s_assert_converges(simulated_cluster_t *cluster, int64_t within_ms)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, within_ms, NULL), ERR_OK);
}

/* Each node of the shard has applied exactly so many events. */
static void s_assert_count(simulated_cluster_t *cluster, uint16_t shard, uint64_t count)
{
    for (uint16_t region = 1; region <= S_REGIONS; region++) {
        node_id_t node = {{region}, {shard}};
        assert_int_equal(simulated_cluster_applied_seqno(cluster, node), count);
    }
}

/* One view at the shard's leader; nothing else is asked of it. */
static void s_write(simulated_cluster_t *cluster, uint16_t shard, ack_level_t level, uint64_t item)
{
    signal_event_t event = {.item = {item},
                            .ts_ns = simulated_cluster_now_ns(cluster),
                            .weight = 1.0 + (double)item,
                            .signal = S_VIEW};
    simulated_write_t write =
        simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, (shard_id_t){shard}),
                                   &event, 1, (simulated_form_t){level, NULL, 0});
    assert_int_equal(write.code, CODE_OK);
}

static uint64_t s_metric(simulated_cluster_t *cluster,
                         process_kind_t kind,
                         uint16_t region,
                         const char *name)
{
    return simulated_cluster_metric(cluster, s_process(kind, region, 0), name);
}

/* Goal: a region that does not hear the origin gets its stream from the third one, while the cut
 * lasts. Method: regions 1 and 2 are cut from each other, both write; after the heal each goes back
 * to the origin. */
static void test_streams_cut_origin_is_served_by_the_third_region(void **state)
{
    (void)state;
    enum { S_EVENTS = 50 };
    simulated_cluster_t *cluster = s_cluster(3);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, (region_id_t){1}, (region_id_t){2});
    for (uint64_t i = 1; i <= S_EVENTS; i++) {
        for (uint16_t shard = 0; shard < 3; shard++) {
            s_write(cluster, shard, ACK_LOCAL, i);
        }
    }
    s_assert_converges(cluster, 5000);
    for (uint16_t shard = 0; shard < 3; shard++) {
        s_assert_count(cluster, shard, S_EVENTS);
    }
    /* Region 3 hears everybody and never leaves an origin. */
    assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, 3, "receiver_source_changes"), 0);
    assert_true(s_metric(cluster, PROCESS_RECEIVER, 1, "receiver_source_changes") > 0);
    assert_true(s_metric(cluster, PROCESS_RECEIVER, 2, "receiver_source_changes") > 0);
    simulated_partition_destroy(&cut);
    simulated_cluster_run_ms(cluster, 2000);
    uint64_t served = s_metric(cluster, PROCESS_SHIPPER, 3, "shipper_shipped_messages");
    s_write(cluster, 0, ACK_ALL, 1000);
    s_write(cluster, 1, ACK_ALL, 1000);
    assert_int_equal(s_metric(cluster, PROCESS_SHIPPER, 3, "shipper_shipped_messages"), served);
    s_assert_converges(cluster, 2000);
    simulated_cluster_destroy(&cluster);
}

/* Goal: nobody ships twice what one ships. Method: without a fault, as many messages leave a
 * leader's shipper as peers need, and none leaves the others'. */
static void test_streams_without_a_fault_only_the_origin_ships(void **state)
{
    (void)state;
    enum { S_EVENTS = 100 };
    simulated_cluster_t *cluster = s_cluster(1);
    for (uint64_t i = 1; i <= S_EVENTS; i++) {
        s_write(cluster, 0, ACK_ALL, i);
    }
    simulated_cluster_run_ms(cluster, 2000);
    assert_int_equal(s_metric(cluster, PROCESS_SHIPPER, 1, "shipper_shipped_messages"),
                     S_EVENTS * (S_REGIONS - 1));
    for (uint16_t region = 2; region <= S_REGIONS; region++) {
        assert_int_equal(s_metric(cluster, PROCESS_SHIPPER, region, "shipper_shipped_messages"), 0);
        assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, region, "receiver_source_changes"), 0);
        assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, region, "receiver_refused"), 0);
    }
    s_assert_count(cluster, 0, S_EVENTS);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a leader's region that is gone for good leaves nothing behind that only some have. Method:
 * region 1 reaches region 3 alone, then all of it stops; region 2 gets the rest from region 3. */
static void test_streams_dead_origin_is_served_by_who_has_more(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(1);
    s_write(cluster, 0, ACK_ALL, 1);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, (region_id_t){1}, (region_id_t){2});
    for (uint64_t i = 2; i <= 9; i++) {
        s_write(cluster, 0, ACK_LOCAL, i);
    }
    simulated_cluster_run_ms(cluster, 100);
    node_id_t behind = {{2}, {0}};
    node_id_t ahead = {{3}, {0}};
    assert_int_equal(simulated_cluster_applied_seqno(cluster, behind), 1);
    simulated_cluster_stop(cluster, s_process(PROCESS_SHIPPER, 1, 0));
    simulated_cluster_stop(cluster, s_process(PROCESS_RECEIVER, 1, 0));
    simulated_cluster_stop(cluster, s_process(PROCESS_NODE, 1, 0));
    simulated_partition_destroy(&cut);
    simulated_cluster_run_ms(cluster, 3000);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, behind), 9);
    uint8_t digests[2][MSG_HASH_SIZE];
    simulated_cluster_digest(cluster, behind, digests[0]);
    simulated_cluster_digest(cluster, ahead, digests[1]);
    assert_memory_equal(digests[0], digests[1], MSG_HASH_SIZE);
    simulated_cluster_destroy(&cluster);
}

/* -- lost disks -------------------------------------------------------------------------------- */

/* Waits until the node says that it is ready; returns how long that took. */
static int64_t s_await_ready(simulated_cluster_t *cluster, node_id_t node, int64_t within_ms)
{
    int64_t ms = 0;
    while (simulated_cluster_unready(cluster, node)[0] != '\0') {
        assert_true(ms++ < within_ms);
        simulated_cluster_run_ms(cluster, 1);
    }
    return ms;
}

static simulated_write_t s_write_pair(simulated_cluster_t *cluster, node_id_t node, uint64_t seq)
{
    signal_event_t event = {.item = {1 + seq % 7}, .ts_ns = 1, .weight = 1.0, .signal = S_VIEW};
    return simulated_cluster_write_to(cluster, node, &event, 1,
                                      (simulated_form_t){ACK_REPLICATED, "load", seq});
}

/* Repeats the pair until it is acknowledged. */
static simulated_write_t s_write_pair_until_ok(simulated_cluster_t *cluster,
                                               node_id_t node,
                                               uint64_t seq)
{
    simulated_write_t write = s_write_pair(cluster, node, seq);
    for (int tries = 0; write.code != CODE_OK; tries++) {
        assert_true(tries < 200);
        simulated_cluster_run_ms(cluster, 50);
        write = s_write_pair(cluster, node, seq);
    }
    return write;
}

/* No node serves a read, or takes a write, while it lacks what was acknowledged. */
static void s_assert_serves_nothing(simulated_cluster_t *cluster, node_id_t node)
{
    msg_read_t read = {.kind = READ_DIGEST, .at_ns = 1};
    const msg_read_reply_t *reply = NULL;
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_UNAVAILABLE);
    code_t code = s_write_pair(cluster, node, 1000000).code;
    assert_true(code == CODE_UNAVAILABLE || code == CODE_READ_ONLY);
}

/* Views of the items that the pairs are about, each of weight 1 and read at its own time. */
static double s_sum_of_pairs(simulated_cluster_t *cluster, node_id_t node)
{
    double sum = 0;
    for (uint64_t item = 1; item <= 7; item++) {
        sum += simulated_cluster_read_decay_score(cluster, node, (item_id_t){item}, S_VIEW, 1);
    }
    return sum;
}

/* So many pairs after `seq`, each until it is acknowledged; returns the last one. */
static uint64_t s_write_pairs(simulated_cluster_t *cluster,
                              node_id_t node,
                              uint64_t seq,
                              uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        (void)s_write_pair_until_ok(cluster, node, ++seq);
    }
    return seq;
}

static const process_kind_t s_region_kinds[] = {PROCESS_SHIPPER, PROCESS_RECEIVER, PROCESS_NODE};

static void s_stop_region(simulated_cluster_t *cluster, uint16_t region)
{
    for (size_t i = 0; i < 3; i++) {
        simulated_cluster_stop(cluster, s_process(s_region_kinds[i], region, 0));
    }
}

static void s_start_region(simulated_cluster_t *cluster, uint16_t region)
{
    for (size_t i = 0; i < 3; i++) {
        simulated_cluster_start(cluster, s_process(s_region_kinds[i], region, 0));
    }
}

/* Goal: a node whose folder was emptied, receiver and shipper running on, comes back whole by
 * itself; a leader and a follower. Method: half of the events, the loss, then retries of pairs that
 * were acknowledged before, which are duplicates, and the other half. */
static void test_streams_emptied_node_comes_back_whole(void **state)
{
    (void)state;
    enum { S_EVENTS = 60 };
    for (uint16_t region = 1; region <= 2; region++) {
        simulated_cluster_t *cluster = s_cluster(1);
        node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
        node_id_t victim = {{region}, {0}};
        for (uint64_t i = 1; i <= S_EVENTS / 2; i++) {
            (void)s_write_pair_until_ok(cluster, leader, i);
        }
        simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, victim);
        simulated_cluster_wipe_node(cluster, victim);
        simulated_crash_destroy(&crash);
        s_assert_serves_nothing(cluster, victim);
        (void)s_await_ready(cluster, victim, 5000);
        assert_int_equal(simulated_cluster_applied_seqno(cluster, victim), S_EVENTS / 2);
        for (uint64_t i = 1; i <= S_EVENTS; i++) {
            simulated_write_t write = s_write_pair_until_ok(cluster, leader, i);
            assert_int_equal(write.duplicate, i <= S_EVENTS / 2);
        }
        s_assert_converges(cluster, 5000);
        s_assert_count(cluster, 0, S_EVENTS);
        simulated_cluster_destroy(&cluster);
    }
}

/* Goal: the same while writes go on, and again and again: a stream that was given up is lost a
 * second time, with the mark, under the running receiver. */
static void test_streams_node_emptied_under_load_loses_nothing(void **state)
{
    (void)state;
    enum { S_ROUNDS = 4, S_EVENTS = 30 };
    simulated_cluster_t *cluster = s_cluster(1);
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    uint64_t seq = 0;
    for (uint16_t round = 0; round < S_ROUNDS; round++) {
        node_id_t victim = {{(uint16_t)(1 + round % 2)}, {0}};
        for (uint64_t i = 0; i < S_EVENTS; i++) {
            seq = s_write_pairs(cluster, leader, seq, 1);
            signal_event_t event = {.item = {99}, .ts_ns = 1, .weight = 1.0, .signal = S_VIEW};
            simulated_cluster_post(cluster, leader, &event, 1, ACK_LOCAL);
        }
        simulated_cluster_run_ms(cluster, round % 3);
        simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, victim);
        simulated_cluster_wipe_node(cluster, victim);
        simulated_crash_destroy(&crash);
        (void)s_await_ready(cluster, victim, 8000);
    }
    for (uint64_t i = 1; i <= seq; i++) {
        assert_true(s_write_pair_until_ok(cluster, leader, i).duplicate);
    }
    s_assert_converges(cluster, 5000);
    for (uint16_t region = 1; region <= S_REGIONS; region++) {
        assert_float_equal(s_sum_of_pairs(cluster, (node_id_t){{region}, {0}}), (double)seq, 1e-6);
    }
    simulated_cluster_destroy(&cluster);
}

/* Goal: a region that lost everything, its lost incarnations included, comes back whole. Method: the
 * region of the leader, and that of a follower; it was emptied once before, so that there are two
 * incarnations to fetch. */
static void test_streams_emptied_region_comes_back_whole(void **state)
{
    (void)state;
    enum { S_EVENTS = 40 };
    for (uint16_t region = 1; region <= 2; region++) {
        simulated_cluster_t *cluster = s_cluster(1);
        node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
        node_id_t victim = {{region}, {0}};
        uint64_t seq = 0;
        for (int round = 0; round < 2; round++) {
            seq = s_write_pairs(cluster, leader, seq, S_EVENTS);
            s_stop_region(cluster, region);
            simulated_cluster_wipe_region(cluster, victim.region);
            s_start_region(cluster, region);
            simulated_cluster_run_ms(cluster, 1100); /* the table is published once a second */
            (void)s_await_ready(cluster, victim, 8000);
        }
        assert_int_equal(simulated_cluster_applied_seqno(cluster, victim), seq);
        for (uint64_t i = 1; i <= seq; i++) {
            assert_true(s_write_pair_until_ok(cluster, leader, i).duplicate);
        }
        (void)s_write_pair_until_ok(cluster, leader, ++seq);
        s_assert_converges(cluster, 5000);
        s_assert_count(cluster, 0, seq);
        simulated_cluster_destroy(&cluster);
    }
}

/* Goal: a leader that lost its folder serves nothing while nobody can tell what it held, and nothing
 * while its receiver, which fetches, is down; then it does. */
static void test_streams_emptied_leader_waits_for_the_others(void **state)
{
    (void)state;
    enum { S_EVENTS = 20 };
    simulated_cluster_t *cluster = s_cluster(1);
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    for (uint64_t i = 1; i <= S_EVENTS; i++) {
        (void)s_write_pair_until_ok(cluster, leader, i);
    }
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, leader);
    simulated_cluster_wipe_node(cluster, leader);
    simulated_partition_t *cuts[2];
    for (uint16_t i = 0; i < 2; i++) {
        cuts[i] = simulated_cluster_inject_partition(cluster, (region_id_t){1},
                                                     (region_id_t){(uint16_t)(2 + i)});
    }
    simulated_cluster_run_ms(cluster, 1500);
    simulated_crash_destroy(&crash);
    simulated_cluster_run_ms(cluster, 7000); /* longer than the incarnation wait */
    s_assert_serves_nothing(cluster, leader);
    simulated_cluster_stop(cluster, s_process(PROCESS_RECEIVER, 1, 0));
    for (uint16_t i = 0; i < 2; i++) {
        simulated_partition_destroy(&cuts[i]);
    }
    simulated_cluster_run_ms(cluster, 3000);
    s_assert_serves_nothing(cluster, leader);
    simulated_cluster_start(cluster, s_process(PROCESS_RECEIVER, 1, 0));
    (void)s_await_ready(cluster, leader, 5000);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, leader), S_EVENTS);
    s_assert_converges(cluster, 5000);
    s_assert_count(cluster, 0, S_EVENTS);
    simulated_cluster_destroy(&cluster);
}

/* Goal: kill -9 at any moment of the way back leaves a folder with one writer and a node that comes
 * back whole. Method: node and receiver are killed in turn, a millisecond later each time. */
static void test_streams_kills_on_the_way_back_change_nothing(void **state)
{
    (void)state;
    enum { S_EVENTS = 25, S_KILLS = 60 };
    simulated_cluster_t *cluster = s_cluster(1);
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    for (uint64_t i = 1; i <= S_EVENTS; i++) {
        (void)s_write_pair_until_ok(cluster, leader, i);
    }
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, leader);
    simulated_cluster_wipe_node(cluster, leader);
    simulated_crash_destroy(&crash);
    for (int64_t kill = 0; kill < S_KILLS; kill++) {
        process_address_t victim = s_process(kill % 2 == 0 ? PROCESS_NODE : PROCESS_RECEIVER, 1, 0);
        simulated_cluster_run_ms(cluster, 10 * kill);
        simulated_cluster_stop(cluster, victim);
        simulated_cluster_start(cluster, victim);
    }
    simulated_cluster_run_ms(cluster, 1100); /* the table is published once a second */
    (void)s_await_ready(cluster, leader, 5000);
    for (uint64_t i = 1; i <= S_EVENTS + 1; i++) {
        assert_int_equal(s_write_pair_until_ok(cluster, leader, i).duplicate, i <= S_EVENTS);
    }
    s_assert_converges(cluster, 5000);
    s_assert_count(cluster, 0, S_EVENTS + 1);
    simulated_cluster_destroy(&cluster);
}

/* A node of region 2 tells its receiver that it could not read an event. */
static void s_tell_damage(simulated_cluster_t *cluster, stream_id_t stream, uint64_t seq)
{
    msg_t msg = {.type = MSG_DAMAGED};
    msg.as.damaged =
        (msg_damaged_t){.from = s_process(PROCESS_NODE, 2, 0), .stream = stream, .seq = seq};
    simulated_cluster_hand(cluster, s_process(PROCESS_RECEIVER, 2, 0), &msg);
}

/* Goal: damage that is told of once more, when what was set aside for it has been fetched again, throws
 * nothing away a second time. Method: one bit of the first of many segments of a copy is flipped; the
 * word of it comes, all is fetched again, and the same word comes late. */
static void test_streams_late_word_of_damage_changes_nothing(void **state)
{
    (void)state;
    enum { S_EVENTS = 400, S_AT = 3 };
    simulated_cluster_options_t options = {.region_count = S_REGIONS,
                                           .shard_count = 1,
                                           .seed = 12,
                                           .segment_size_bytes = SEGMENT_SIZE_MIN};
    simulated_cluster_t *cluster = simulated_cluster_new(&options);
    for (uint64_t i = 1; i <= S_EVENTS; i++) {
        s_write(cluster, 0, ACK_REPLICATED, i);
    }
    s_assert_converges(cluster, 5000);
    const msg_read_reply_t *reply = NULL;
    msg_read_t read = {.kind = READ_DIGEST, .at_ns = simulated_cluster_now_ns(cluster)};
    assert_int_equal(simulated_cluster_read(cluster, (node_id_t){{2}, {0}}, &read, &reply), ERR_OK);
    assert_int_equal(reply->applied_count, 1);
    stream_id_t stream = reply->applied[0].stream;
    char path[WAL_PATH_SIZE_MAX];
    (void)snprintf(path, sizeof(path),
                   "data/eu-west/shard-0/tenants/default-1/us-east-%016" PRIx64
                   "/00000000000000000001.seg",
                   stream.incarnation);
    sim_disk_t *disk = simulated_cluster_disk(cluster, (region_id_t){2});
    assert_int_equal(sim_disk_flip_bit(disk, path, 5600), ERR_OK);
    s_tell_damage(cluster, stream, S_AT);
    simulated_cluster_run_ms(cluster, 3000);
    uint64_t set_aside = s_metric(cluster, PROCESS_RECEIVER, 2, "receiver_set_aside");
    assert_true(set_aside > 0);
    assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, 2, "receiver_incomplete"), 0);
    s_tell_damage(cluster, stream, S_AT);
    assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, 2, "receiver_set_aside"), set_aside);
    assert_int_equal(s_metric(cluster, PROCESS_RECEIVER, 2, "receiver_incomplete"), 0);
    s_assert_converges(cluster, 5000);
    s_assert_count(cluster, 0, S_EVENTS);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_cut_origin_is_served_by_the_third_region),
        cmocka_unit_test(test_streams_without_a_fault_only_the_origin_ships),
        cmocka_unit_test(test_streams_dead_origin_is_served_by_who_has_more),
        cmocka_unit_test(test_streams_emptied_node_comes_back_whole),
        cmocka_unit_test(test_streams_node_emptied_under_load_loses_nothing),
        cmocka_unit_test(test_streams_emptied_region_comes_back_whole),
        cmocka_unit_test(test_streams_emptied_leader_waits_for_the_others),
        cmocka_unit_test(test_streams_kills_on_the_way_back_change_nothing),
        cmocka_unit_test(test_streams_late_word_of_damage_changes_nothing),
    };
    return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
