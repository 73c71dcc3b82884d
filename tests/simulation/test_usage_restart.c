/* Usage of a tenant over a whole mesh: every replica tells the same, also after a restart from a
 * checkpoint and the tail of the log. */
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { S_REGION_COUNT = 3, S_CHECKPOINT_MS = 45000 };

static void s_write(simulated_cluster_t *cluster, uint32_t requests)
{
    for (uint32_t i = 0; i < requests; i++) {
        signal_event_t events[7];
        for (uint32_t e = 0; e < 7; e++) {
            events[e] = (signal_event_t){.item = {1 + e},
                                         .ts_ns = simulated_cluster_now_ns(cluster),
                                         .weight = 1.0,
                                         .signal = 1};
        }
        simulated_write_t write =
            simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, (shard_id_t){0}),
                                       events, 7, (simulated_form_t){ACK_REPLICATED, NULL, 0});
        assert_int_equal(write.code, CODE_OK);
    }
}

static void s_assert_usage(simulated_cluster_t *cluster, uint64_t signals)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 5000, NULL), ERR_OK);
    process_address_t first = {PROCESS_NODE, {1}, {0}};
    uint64_t bytes = simulated_cluster_metric(cluster, first, "node_usage_bytes");
    assert_true(bytes > signals);
    for (uint16_t region = 1; region <= S_REGION_COUNT; region++) {
        process_address_t node = {PROCESS_NODE, {region}, {0}};
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_usage_signals"), signals);
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_usage_voided"), 0);
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_usage_bytes"), bytes);
    }
}

/* Goal: exact in every region; after leader and follower restarted from a checkpoint and a tail; and
 * after more writes. */
static void test_usage_restart_is_exact_everywhere(void **state)
{
    (void)state;
    simulated_cluster_options_t options = {
        .region_count = S_REGION_COUNT, .shard_count = 1, .seed = 5};
    simulated_cluster_t *cluster = simulated_cluster_new(&options);
    s_write(cluster, 20);
    s_assert_usage(cluster, 140);
    simulated_cluster_run_ms(cluster, S_CHECKPOINT_MS);
    for (uint16_t region = 1; region <= 2; region++) {
        process_address_t node = {PROCESS_NODE, {region}, {0}};
        assert_true(simulated_cluster_metric(cluster, node, "node_checkpoints") > 0);
    }
    s_write(cluster, 5);
    for (uint16_t region = 1; region <= 2; region++) {
        simulated_crash_t *crash =
            simulated_cluster_inject_shard_crash(cluster, (node_id_t){{region}, {0}});
        simulated_crash_destroy(&crash);
    }
    simulated_cluster_run_ms(cluster, 3000);
    s_assert_usage(cluster, 175);
    s_write(cluster, 5);
    s_assert_usage(cluster, 210);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage_restart_is_exact_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
