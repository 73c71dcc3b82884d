/* A node whose clock is too far ahead of its peers': what it refuses, and what it must not refuse. */
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static simulated_write_t s_write(simulated_cluster_t *cluster, uint64_t producer_seq)
{
    signal_event_t event = {
        .item = {1}, .ts_ns = simulated_cluster_now_ns(cluster), .weight = 1.0, .signal = 1};
    return simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, (shard_id_t){0}),
                                      &event, 1,
                                      (simulated_form_t){ACK_REPLICATED, "p", producer_seq});
}

/* Goal: it logs nothing new, still answers what it logged before, and writes again when its clock is
 * right. */
static void test_clock_skew_leader_refuses_to_originate(void **state)
{
    (void)state;
    simulated_cluster_options_t options = {.region_count = 3, .shard_count = 1, .seed = 3};
    simulated_cluster_t *cluster = simulated_cluster_new(&options);
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    assert_int_equal(s_write(cluster, 1).code, CODE_OK);
    simulated_cluster_tell_clock(cluster, leader, 1500);
    simulated_cluster_run_ms(cluster, 10);
    assert_int_equal(s_write(cluster, 2).code, CODE_CLOCK_SKEW);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, leader), 1);
    simulated_write_t again = s_write(cluster, 1);
    assert_int_equal(again.code, CODE_OK);
    assert_true(again.duplicate);
    simulated_cluster_tell_clock(cluster, leader, 0);
    simulated_cluster_run_ms(cluster, 10);
    assert_int_equal(s_write(cluster, 2).code, CODE_OK);
    simulated_cluster_destroy(&cluster);
}

/* Goal: what others logged is applied by a node whose clock is wrong. */
static void test_clock_skew_follower_applies_all_the_same(void **state)
{
    (void)state;
    simulated_cluster_options_t options = {.region_count = 3, .shard_count = 1, .seed = 3};
    simulated_cluster_t *cluster = simulated_cluster_new(&options);
    node_id_t follower = simulated_cluster_follower_in(cluster, (region_id_t){2}, (shard_id_t){0});
    simulated_cluster_tell_clock(cluster, follower, 1500);
    simulated_cluster_run_ms(cluster, 10);
    assert_int_equal(s_write(cluster, 1).code, CODE_OK);
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 2000, NULL), ERR_OK);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, follower), 1);
    simulated_cluster_destroy(&cluster);
}

/* A hide of an item, or a mute of its creator, under a stamp that a client gives. */
static simulated_write_t s_relate(simulated_cluster_t *cluster,
                                  relation_action_t action,
                                  int64_t wall_ns)
{
    buffer_t payload = {0};
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user.value = 5;
    record.as.relation.target = 7;
    record.as.relation.hlc = (hlc_stamp_t){wall_ns, 0, 1};
    record.as.relation.action = action;
    record.as.relation.set = true;
    record_append(&payload, &record);
    msg_write_t form = {.level = ACK_REPLICATED,
                        .hlc = record.as.relation.hlc,
                        .hlc_is_explicit = true,
                        .event_count = 1,
                        .payload = buffer_slice(&payload)};
    simulated_write_t write = simulated_cluster_write_form(
        cluster, simulated_cluster_leader(cluster, (shard_id_t){0}), &form);
    buffer_done(&payload);
    return write;
}

/* Goal: a stamp that a client gives may lie ahead of the leader's clock by the drift bound and no
 * more: at the bound it is logged, a millisecond beyond it is CLOCK_SKEW and nothing is logged; long
 * ago is fine. For hides and for mutes. */
static void test_clock_skew_bounds_an_explicit_stamp(void **state)
{
    (void)state;
    const relation_action_t actions[] = {RELATION_HIDE, RELATION_MUTE};
    const int64_t bound_ns = INT64_C(1000) * 1000000; /* the default of timing.clock_skew_ms */
    for (size_t i = 0; i < 2; i++) {
        simulated_cluster_options_t options = {.region_count = 3, .shard_count = 1, .seed = 3};
        simulated_cluster_t *cluster = simulated_cluster_new(&options);
        node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
        int64_t far_ns = INT64_C(9) * 3600 * 1000000000;
        int64_t at_ns = simulated_cluster_now_ns(cluster);
        assert_int_equal(s_relate(cluster, actions[i], at_ns + far_ns).code, CODE_CLOCK_SKEW);
        /* The request is on its way for less than a millisecond. */
        at_ns = simulated_cluster_now_ns(cluster);
        assert_int_equal(s_relate(cluster, actions[i], at_ns + bound_ns + 1000000).code,
                         CODE_CLOCK_SKEW);
        assert_int_equal(simulated_cluster_applied_seqno(cluster, leader), 0);
        at_ns = simulated_cluster_now_ns(cluster);
        simulated_write_t write = s_relate(cluster, actions[i], at_ns + bound_ns);
        assert_int_equal(write.code, CODE_OK);
        assert_int_equal(write.hlc.wall_ns, at_ns + bound_ns);
        assert_int_equal(s_relate(cluster, actions[i], 1).code, CODE_OK);
        assert_int_equal(simulated_cluster_applied_seqno(cluster, leader), 2);
        simulated_cluster_destroy(&cluster);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_skew_leader_refuses_to_originate),
        cmocka_unit_test(test_clock_skew_follower_applies_all_the_same),
        cmocka_unit_test(test_clock_skew_bounds_an_explicit_stamp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
