/* Writes that concern all shards, in process: what their gateway left on the home shard alone, its
 * leader brings to the others, once, whatever becomes of leaders and links meanwhile. */
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { S_SHARDS = 3, S_REGIONS = 3, S_CREATOR = 8, S_SETTLE_MS = 4000, S_RESTART_MS = 8000 };

static simulated_cluster_t *s_cluster(uint16_t shards)
{
    simulated_cluster_options_t options = {
        .region_count = S_REGIONS, .shard_count = shards, .seed = 21};
    return simulated_cluster_new(&options);
}

/* The first user whose home is this shard. */
static user_id_t s_user_of(const simulated_cluster_t *cluster, uint16_t shard)
{
    user_id_t user = {1};
    while (simulated_cluster_home_of(cluster, user).value != shard) {
        user.value++;
    }
    return user;
}

/* A mute, or its end, logged at this node and nowhere else, as by a gateway that dies then. */
static hlc_stamp_t s_mute_at(
    simulated_cluster_t *cluster, node_id_t node, user_id_t user, bool set, ack_level_t level)
{
    hlc_stamp_t hlc = {simulated_cluster_now_ns(cluster), 0, 1};
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user = user;
    record.as.relation.target = S_CREATOR;
    record.as.relation.hlc = hlc;
    record.as.relation.action = RELATION_MUTE;
    record.as.relation.set = set;
    simulated_write_t write = simulated_cluster_write_record(cluster, node, &record, hlc, level);
    assert_int_equal(write.code, CODE_OK);
    return hlc;
}

static void s_put_user_at(simulated_cluster_t *cluster, node_id_t node, user_id_t user)
{
    hlc_stamp_t hlc = {simulated_cluster_now_ns(cluster), 0, 1};
    record_t record = {.type = RECORD_USER_PUT, .event_count = 1};
    record.as.user.user = user;
    record.as.user.hlc = hlc;
    record.as.user.attribute_count = 2;
    record.as.user.attributes[0] = (record_attribute_t){slice_text("locale"), slice_text("EU")};
    record.as.user.attributes[1] = (record_attribute_t){slice_text("plan"), slice_text("free")};
    simulated_write_t write =
        simulated_cluster_write_record(cluster, node, &record, hlc, ACK_REPLICATED);
    assert_int_equal(write.code, CODE_OK);
}

static bool s_is_muted(simulated_cluster_t *cluster, node_id_t node, user_id_t user)
{
    msg_read_t read = {.kind = READ_RELATION, .at_ns = simulated_cluster_now_ns(cluster)};
    read.as.relation.user = user;
    read.as.relation.creator.value = S_CREATOR;
    const msg_read_reply_t *reply = NULL;
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_OK);
    return reply->as.relation.hidden; /* of a creator: muted */
}

static uint32_t s_muted_count(simulated_cluster_t *cluster, user_id_t user)
{
    uint32_t count = 0;
    for (uint16_t shard = 0; shard < S_SHARDS; shard++) {
        for (uint16_t region = 1; region <= S_REGIONS; region++) {
            node_id_t node = {{region}, {shard}};
            count += s_is_muted(cluster, node, user) ? 1 : 0;
        }
    }
    return count;
}

static uint64_t s_metric(simulated_cluster_t *cluster, node_id_t node, const char *name)
{
    process_address_t process = {PROCESS_NODE, node.region, node.shard};
    return simulated_cluster_metric(cluster, process, name);
}

/* Over all nodes. */
static uint64_t s_sum(simulated_cluster_t *cluster, uint16_t shards, const char *name)
{
    uint64_t sum = 0;
    for (uint16_t shard = 0; shard < shards; shard++) {
        for (uint16_t region = 1; region <= S_REGIONS; region++) {
            sum += s_metric(cluster, (node_id_t){{region}, {shard}}, name);
        }
    }
    return sum;
}

/* Everything is everywhere, nobody has anything left to do, and the mesh stays as it is. */
static void s_expect_settled(simulated_cluster_t *cluster)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 10000, NULL), ERR_OK);
    assert_int_equal(s_sum(cluster, S_SHARDS, "node_home_pending"), 0);
    uint64_t sent = s_sum(cluster, S_SHARDS, "node_home_sent");
    uint64_t writes = s_sum(cluster, S_SHARDS, "node_events");
    simulated_cluster_run_ms(cluster, 30000);
    assert_int_equal(s_sum(cluster, S_SHARDS, "node_home_sent"), sent);
    assert_int_equal(s_sum(cluster, S_SHARDS, "node_events"), writes);
}

static void s_promote(simulated_cluster_t *cluster, shard_id_t shard, region_id_t region)
{
    table_t *next = table_next(simulated_cluster_table(cluster));
    table_record_t record = *table_find_record(next, TENANT_DEFAULT, shard);
    errbuf_t errbuf;
    record.leader = region;
    record.epoch++;
    record.version++;
    assert_int_equal(table_set_record(next, TENANT_DEFAULT, shard, &record, &errbuf), ERR_OK);
    simulated_cluster_use_table(cluster, next);
}

/* Goal: a mute that reached its home shard alone is on every shard in every region within some
 * seconds, no earlier than the grace time; then nothing more is sent or logged. */
static void test_home_shard_completes_what_a_dead_gateway_left(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(S_SHARDS);
    user_id_t user = s_user_of(cluster, 1);
    node_id_t home = simulated_cluster_leader(cluster, (shard_id_t){1});
    (void)s_mute_at(cluster, home, user, true, ACK_REPLICATED);
    simulated_cluster_run_ms(cluster, 900);
    assert_int_equal(s_muted_count(cluster, user), S_REGIONS);
    assert_int_equal(s_metric(cluster, home, "node_home_pending"), 1);
    simulated_cluster_run_ms(cluster, S_SETTLE_MS);
    assert_int_equal(s_muted_count(cluster, user), S_REGIONS * S_SHARDS);
    assert_int_equal(s_metric(cluster, home, "node_home_sent"), S_SHARDS - 1);
    assert_int_equal(s_metric(cluster, home, "node_home_held"), 1);
    s_expect_settled(cluster);
    simulated_cluster_destroy(&cluster);
}

/* Goal: each attribute of a user is completed, and what comes later wins wherever it was. */
static void test_home_shard_completes_users_and_the_end_of_a_mute(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(S_SHARDS);
    user_id_t user = s_user_of(cluster, 2);
    node_id_t home = simulated_cluster_leader(cluster, (shard_id_t){2});
    (void)s_mute_at(cluster, home, user, true, ACK_REPLICATED);
    s_put_user_at(cluster, home, user);
    simulated_cluster_run_ms(cluster, S_SETTLE_MS);
    assert_int_equal(s_metric(cluster, home, "node_home_held"), 3);
    (void)s_mute_at(cluster, home, user, false, ACK_REPLICATED);
    simulated_cluster_run_ms(cluster, S_SETTLE_MS);
    assert_int_equal(s_muted_count(cluster, user), 0);
    assert_int_equal(s_metric(cluster, home, "node_home_held"), 4);
    s_expect_settled(cluster);
    simulated_cluster_destroy(&cluster);
}

/* Kills a node, takes its checkpoint away when asked to, and starts it again. */
static void s_restart(simulated_cluster_t *cluster, node_id_t node, bool loses_checkpoint)
{
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, node);
    if (loses_checkpoint) {
        simulated_cluster_lose_checkpoint(cluster, node);
    }
    simulated_crash_destroy(&crash);
    simulated_cluster_run_ms(cluster, S_RESTART_MS);
}

/* Goal: the record outlives its leader: restarted with its checkpoint or without, it goes on, and
 * after another restart it does not begin anew. */
static void test_home_shard_leader_restart_goes_on_and_does_not_begin_anew(void **state)
{
    (void)state;
    for (int lost = 0; lost <= 1; lost++) {
        simulated_cluster_t *cluster = s_cluster(S_SHARDS);
        user_id_t user = s_user_of(cluster, 0);
        node_id_t home = simulated_cluster_leader(cluster, (shard_id_t){0});
        (void)s_mute_at(cluster, home, user, true, ACK_REPLICATED);
        simulated_cluster_run_ms(cluster, 500);
        s_restart(cluster, home, lost == 1);
        assert_int_equal(s_muted_count(cluster, user), S_REGIONS * S_SHARDS);
        assert_int_equal(s_metric(cluster, home, "node_home_sent"), S_SHARDS - 1);
        s_restart(cluster, home, lost == 1);
        assert_int_equal(s_metric(cluster, home, "node_home_sent"), 0);
        s_expect_settled(cluster);
        simulated_cluster_destroy(&cluster);
    }
}

/* Goal: leadership moves before the work is done: the next leader does it. */
static void test_home_shard_promotion_hands_the_work_over(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(S_SHARDS);
    user_id_t user = s_user_of(cluster, 0);
    node_id_t old = simulated_cluster_leader(cluster, (shard_id_t){0});
    (void)s_mute_at(cluster, old, user, true, ACK_REPLICATED);
    region_id_t next = {(uint16_t)(1 + old.region.value % S_REGIONS)};
    s_promote(cluster, (shard_id_t){0}, next);
    simulated_cluster_run_ms(cluster, S_SETTLE_MS);
    assert_int_equal(s_muted_count(cluster, user), S_REGIONS * S_SHARDS);
    assert_int_equal(s_metric(cluster, old, "node_home_sent"), 0);
    assert_int_equal(s_metric(cluster, (node_id_t){next, {0}}, "node_home_held"), 1);
    /* And back: what the record says holds for every leader. */
    s_promote(cluster, (shard_id_t){0}, old.region);
    simulated_cluster_run_ms(cluster, S_SETTLE_MS);
    assert_int_equal(s_metric(cluster, old, "node_home_sent"), 0);
    s_expect_settled(cluster);
    simulated_cluster_destroy(&cluster);
}

/* Goal: one shard without its leader holds up nobody else; once it is back, it gets its copy and the
 * write is held. */
static void test_home_shard_waits_for_a_shard_without_leader(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(S_SHARDS);
    user_id_t user = s_user_of(cluster, 0);
    node_id_t home = simulated_cluster_leader(cluster, (shard_id_t){0});
    node_id_t away = simulated_cluster_leader(cluster, (shard_id_t){1});
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, away);
    (void)s_mute_at(cluster, home, user, true, ACK_REPLICATED);
    simulated_cluster_run_ms(cluster, 20000);
    assert_true(s_is_muted(cluster, (node_id_t){{1}, {2}}, user));
    assert_int_equal(s_metric(cluster, home, "node_home_pending"), 1);
    /* One to the shard that answered; the other is asked at most every eight seconds in the end. */
    assert_in_range(s_metric(cluster, home, "node_home_sent"), 1, 10);
    simulated_crash_destroy(&crash);
    simulated_cluster_run_ms(cluster, 15000);
    assert_int_equal(s_muted_count(cluster, user), S_REGIONS * S_SHARDS);
    s_expect_settled(cluster);
    simulated_cluster_destroy(&cluster);
}

/* Goal: what an island logged for all shards on its own copy of the home shard alone is completed by
 * the leader after the heal. */
static void test_home_shard_completes_an_islands_write_after_the_heal(void **state)
{
    (void)state;
    enum { S_CUT_MS = 1300 };
    simulated_cluster_t *cluster = s_cluster(S_SHARDS);
    simulated_cluster_set_island(cluster, ISLAND_ACCEPT);
    user_id_t user = s_user_of(cluster, 0);
    assert_int_equal(simulated_cluster_leader(cluster, (shard_id_t){0}).region.value, 1);
    simulated_partition_t *us =
        simulated_cluster_inject_partition(cluster, (region_id_t){3}, (region_id_t){1});
    simulated_partition_t *eu =
        simulated_cluster_inject_partition(cluster, (region_id_t){3}, (region_id_t){2});
    simulated_cluster_run_ms(cluster, S_CUT_MS);
    (void)s_mute_at(cluster, (node_id_t){{3}, {0}}, user, true, ACK_LOCAL);
    simulated_cluster_run_ms(cluster, S_SETTLE_MS);
    assert_int_equal(s_muted_count(cluster, user), 1);
    simulated_partition_destroy(&us);
    simulated_partition_destroy(&eu);
    simulated_cluster_run_ms(cluster, S_RESTART_MS);
    assert_int_equal(s_muted_count(cluster, user), S_REGIONS * S_SHARDS);
    s_expect_settled(cluster);
    simulated_cluster_destroy(&cluster);
}

/* Goal: with one shard there is nobody to tell, and nothing is kept or logged. */
static void test_home_shard_alone_does_nothing(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(1);
    node_id_t home = simulated_cluster_leader(cluster, (shard_id_t){0});
    (void)s_mute_at(cluster, home, (user_id_t){5}, true, ACK_REPLICATED);
    simulated_cluster_run_ms(cluster, S_SETTLE_MS);
    assert_int_equal(s_sum(cluster, 1, "node_home_pending"), 0);
    assert_int_equal(s_sum(cluster, 1, "node_events"), 1);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_home_shard_completes_what_a_dead_gateway_left),
        cmocka_unit_test(test_home_shard_completes_users_and_the_end_of_a_mute),
        cmocka_unit_test(test_home_shard_leader_restart_goes_on_and_does_not_begin_anew),
        cmocka_unit_test(test_home_shard_promotion_hands_the_work_over),
        cmocka_unit_test(test_home_shard_waits_for_a_shard_without_leader),
        cmocka_unit_test(test_home_shard_completes_an_islands_write_after_the_heal),
        cmocka_unit_test(test_home_shard_alone_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
