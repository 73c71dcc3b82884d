/* The suite `false_positions`: a receiver of another region that tells what cannot be so. Refused, counted,
 * nothing changed, and nobody is told that a write is held where it is not. */
#include "common/wal/record.h"
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1 };

static const process_address_t s_node = {PROCESS_NODE, {1}, {0}}; /* leads the only shard */
static const process_address_t s_shipper = {PROCESS_SHIPPER, {1}, {0}};
static const process_address_t s_liar = {PROCESS_RECEIVER, {2}, {0}};

static simulated_cluster_t *s_cluster(void)
{
    simulated_cluster_options_t options = {.region_count = 3, .shard_count = 1, .seed = 31};
    return simulated_cluster_new(&options);
}

static simulated_write_t s_write(simulated_cluster_t *cluster, ack_level_t level, uint64_t seq)
{
    signal_event_t event = {
        .item = {seq}, .ts_ns = simulated_cluster_now_ns(cluster), .weight = 1.0, .signal = S_VIEW};
    return simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, (shard_id_t){0}),
                                      &event, 1, (simulated_form_t){level, "client", seq});
}

/* eu-west's receiver claims a position of a stream. */
static void s_claim(simulated_cluster_t *cluster, stream_id_t stream, uint64_t seq, uint64_t epoch)
{
    msg_receiver_entry_t entry = {.stream = stream, .durable_seq = seq, .epoch = epoch};
    msg_t msg = {.type = MSG_RECEIVER_STATUS};
    msg.as.receiver_status = (msg_receiver_status_t){.from = s_liar,
                                                     .boot = 99,
                                                     .all = true,
                                                     .window_bytes = 1 << 20,
                                                     .entry_count = 1,
                                                     .entries = &entry};
    simulated_cluster_hand(cluster, s_shipper, &msg);
    simulated_cluster_run_ms(cluster, 20);
}

static uint64_t s_refused(simulated_cluster_t *cluster)
{
    return simulated_cluster_metric(cluster, s_shipper, "shipper_refused");
}

/* Goal: wrong shards, regions, generations and numbers end at the shipper. */
static void test_false_positions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    stream_id_t stream = s_write(cluster, ACK_REPLICATED, 1).stream;
    uint64_t streams = simulated_cluster_metric(cluster, s_shipper, "shipper_streams");
    stream_id_t wrong = stream;
    wrong.origin.shard.value = 5;
    s_claim(cluster, wrong, 1, 1);
    assert_int_equal(s_refused(cluster), 1);
    wrong = stream;
    wrong.origin.region.value = 9;
    s_claim(cluster, wrong, 1, 1);
    assert_int_equal(s_refused(cluster), 2);
    s_claim(cluster, stream, STREAM_SEQ_MAX + 1, 1);
    assert_int_equal(simulated_cluster_metric(cluster, s_shipper, "shipper_future"), 1);
    assert_int_equal(simulated_cluster_metric(cluster, s_shipper, "shipper_streams"), streams);
    /* A generation that never was, for the table has gone past it. */
    table_t *next = table_next(simulated_cluster_table(cluster));
    simulated_cluster_use_table(cluster, next);
    simulated_cluster_run_ms(cluster, 20);
    wrong = stream;
    wrong.tenant.value = 2;
    s_claim(cluster, wrong, 1, 1);
    assert_int_equal(s_refused(cluster), 3);
    assert_int_equal(s_write(cluster, ACK_REPLICATED, 2).code, CODE_OK);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a region that confirms what was not logged yet acknowledges nothing, and does not make the leader
 * give its log up. Method: the link to it is cut, so that nothing which is true can take its place. */
static void test_false_positions_ahead_of_the_log_acknowledge_nothing(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    simulated_write_t first = s_write(cluster, ACK_REPLICATED, 1);
    assert_int_equal(first.code, CODE_OK);
    simulated_cluster_run_ms(cluster, 1000);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, (region_id_t){1}, (region_id_t){2});
    s_claim(cluster, first.stream, first.last_seq + 100, 1);
    simulated_cluster_run_ms(cluster, 600); /* the shipper's full list */
    assert_true(simulated_cluster_metric(cluster, s_node, "node_confirmed_future") > 0);
    simulated_write_t second = s_write(cluster, ACK_REPLICATED, 2);
    assert_int_equal(second.code, CODE_NOT_REPLICATED);
    assert_true(stream_id_equal(second.stream, first.stream));
    assert_int_equal(simulated_cluster_metric(cluster, s_node, "node_new_incarnations"), 1);
    assert_string_equal(simulated_cluster_unready(cluster, (node_id_t){{1}, {0}}), "");
    simulated_partition_destroy(&cut);
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 10000, NULL), ERR_OK);
    assert_true(s_write(cluster, ACK_REPLICATED, 2).duplicate);
    simulated_cluster_destroy(&cluster);
}

/* Goal: an epoch that there never was stops the leader until that region says otherwise, not for good. */
static void test_false_positions_of_an_epoch_do_not_last(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    simulated_write_t first = s_write(cluster, ACK_REPLICATED, 1);
    s_claim(cluster, first.stream, first.last_seq, UINT64_MAX);
    simulated_cluster_run_ms(cluster, 3000);
    assert_int_equal(s_write(cluster, ACK_REPLICATED, 2).code, CODE_OK);
    simulated_cluster_destroy(&cluster);
}

/* Goal: what a node is said to have told of a floor begins no stream, where no base knows it. */
static void test_false_positions_of_a_floor_begin_nothing(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    const process_address_t receiver = {PROCESS_RECEIVER, {2}, {0}};
    stream_position_t floor = {s_write(cluster, ACK_REPLICATED, 1).stream, 5};
    uint64_t streams = simulated_cluster_metric(cluster, receiver, "receiver_streams");
    floor.stream.incarnation++;
    msg_t msg = {.type = MSG_LOG_FLOOR};
    msg.as.log_floor =
        (msg_log_floor_t){.from = {PROCESS_NODE, {2}, {0}}, .floor_count = 1, .floors = &floor};
    simulated_cluster_hand(cluster, receiver, &msg);
    simulated_cluster_run_ms(cluster, 1000);
    assert_int_equal(simulated_cluster_metric(cluster, receiver, "receiver_streams"), streams);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a stamp that would move everybody's clock on for years is refused, whoever says that it is a
 * gateway's; one a bit ahead is taken. */
static void test_false_positions_in_time_are_refused(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user.value = 4;
    record.as.relation.target = 7;
    record.as.relation.action = RELATION_HIDE;
    record.as.relation.set = true;
    const int64_t ahead_ns[] = {INT64_C(90000000000000), INT64_C(60000000000)};
    for (int i = 0; i < 2; i++) {
        hlc_stamp_t stamp = {simulated_cluster_now_ns(cluster) + ahead_ns[i], 0, 0x1ffff};
        record.as.relation.hlc = stamp;
        simulated_write_t write = simulated_cluster_write_record(
            cluster, simulated_cluster_leader(cluster, (shard_id_t){0}), &record, stamp,
            ACK_REPLICATED);
        assert_int_equal(write.code, i == 0 ? CODE_CLOCK_SKEW : CODE_OK);
    }
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_false_positions_that_cannot_be_are_refused),
        cmocka_unit_test(test_false_positions_ahead_of_the_log_acknowledge_nothing),
        cmocka_unit_test(test_false_positions_of_an_epoch_do_not_last),
        cmocka_unit_test(test_false_positions_of_a_floor_begin_nothing),
        cmocka_unit_test(test_false_positions_in_time_are_refused),
    };
    return cmocka_run_group_tests_name("false_positions", tests, NULL, NULL);
}
