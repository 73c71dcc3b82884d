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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_skew_leader_refuses_to_originate),
        cmocka_unit_test(test_clock_skew_follower_applies_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
