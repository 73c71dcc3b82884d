/* The suite `stop`: a node that is told to stop leaves no write in doubt that it has logged. */
#include "common/wal/record.h"
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1 };

static const node_id_t s_leader = {{1}, {0}};

static void s_begin(simulated_cluster_t *cluster)
{
    signal_event_t event = {.item = {7}, .ts_ns = 1, .weight = 1.0, .signal = S_VIEW};
    buffer_t payload;
    buffer_init(&payload);
    record_append_signals(&payload, &event, 1);
    msg_write_t form = {
        .level = ACK_REPLICATED, .event_count = 1, .payload = buffer_slice(&payload)};
    simulated_cluster_begin_write(cluster, s_leader, &form);
    buffer_done(&payload);
}

/* Goal: what was logged before is answered before the node ends, and what comes then is refused, so that
 * the gateway tries elsewhere; reads too. Method: the shipper is down, so that the write has to wait. */
static void test_stop_answers_what_was_logged(void **state)
{
    (void)state;
    simulated_cluster_options_t options = {.region_count = 3, .shard_count = 1, .seed = 41};
    simulated_cluster_t *cluster = simulated_cluster_new(&options);
    const process_address_t shipper = {PROCESS_SHIPPER, {1}, {0}};
    simulated_cluster_stop(cluster, shipper);
    s_begin(cluster);
    simulated_cluster_run_ms(cluster, 50);
    assert_false(simulated_cluster_tell_to_stop(cluster, s_leader));
    assert_string_equal(simulated_cluster_unready(cluster, s_leader), "the node is stopping");
    simulated_cluster_start(cluster, shipper);
    simulated_write_t write = simulated_cluster_end_write(cluster);
    assert_int_equal(write.code, CODE_OK);
    assert_int_equal(write.durability, ACK_ALL);
    assert_true(simulated_cluster_tell_to_stop(cluster, s_leader));
    s_begin(cluster);
    write = simulated_cluster_end_write(cluster);
    assert_int_equal(write.code, CODE_UNAVAILABLE);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, s_leader), 1);
    msg_read_t read = {.kind = READ_DIGEST, .at_ns = simulated_cluster_now_ns(cluster)};
    const msg_read_reply_t *reply = NULL;
    assert_int_equal(simulated_cluster_read(cluster, s_leader, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_UNAVAILABLE);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_answers_what_was_logged),
    };
    return cmocka_run_group_tests_name("stop", tests, NULL, NULL);
}
