/* The shortest way through everything: two regions, ten signals, equal scores within two seconds.
 */
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Ten signals at one leader are the same score in the other region within two seconds. */
static void test_smoke_two_regions_converge_within_two_seconds(void **state)
{
    (void)state;
    simulated_cluster_options_t options = {.region_count = 2, .shard_count = 1, .seed = 1};
    simulated_cluster_t *cluster = simulated_cluster_new(&options);
    item_id_t item = {42};
    int64_t at_ns = simulated_cluster_now_ns(cluster);
    for (int i = 0; i < 10; i++) {
        signal_event_t event = {.item = item, .ts_ns = at_ns - i, .weight = 1.0, .signal = 1};
        simulated_write_t write = simulated_cluster_write_signal(cluster, &event);
        assert_int_equal(write.code, CODE_OK);
        assert_int_equal(write.durability, ACK_ALL);
    }
    int64_t took_ms = 0;
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 2000, &took_ms), ERR_OK);
    shard_id_t shard = simulated_cluster_shard_of(cluster, item);
    node_id_t leader = simulated_cluster_leader(cluster, shard);
    node_id_t follower = simulated_cluster_follower_in(cluster, (region_id_t){2}, shard);
    double at_leader = simulated_cluster_read_decay_score(cluster, leader, item, 1, at_ns);
    double at_follower = simulated_cluster_read_decay_score(cluster, follower, item, 1, at_ns);
    assert_true(at_leader == at_follower);
    assert_true(at_leader > 9.999999 && at_leader < 10.000001);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, follower), 10);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smoke_two_regions_converge_within_two_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
