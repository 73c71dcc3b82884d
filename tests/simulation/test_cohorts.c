/* Cohorts through a whole mesh in process: what leaders log for the users that they know, and what
 * every replica makes of it, at once, after a restart, and from the logs alone. */
#include "common/wal/cohort_builder.h"
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1 };
static const item_id_t s_item = {7};

static simulated_cluster_t *s_cluster(uint16_t regions, uint16_t shards)
{
    simulated_cluster_options_t options = {
        .region_count = regions, .shard_count = shards, .seed = 11};
    return simulated_cluster_new(&options);
}

static node_id_t s_leader_of(const simulated_cluster_t *cluster, item_id_t item)
{
    return simulated_cluster_leader(cluster, simulated_cluster_shard_of(cluster, item));
}

/* -- writes ------------------------------------------------------------------------------------ */

static void s_append_user(
    buffer_t *payload, uint64_t user, const char *name, const char *value, int64_t wall_ns)
{
    record_t record = {.type = RECORD_USER_PUT, .event_count = 1};
    record.as.user.user.value = user;
    record.as.user.hlc = (hlc_stamp_t){wall_ns, 0, 1};
    record.as.user.attribute_count = 1;
    record.as.user.attributes[0] = (record_attribute_t){slice_text(name), slice_text(value)};
    record_append(payload, &record);
}

/* One attribute of a user, on every shard. */
static void s_put_user(simulated_cluster_t *cluster, uint64_t user, const char *value)
{
    enum { S_SHARDS_MAX = 8 };
    int64_t wall_ns = simulated_cluster_now_ns(cluster);
    buffer_t payload = {0};
    s_append_user(&payload, user, "locale", value, wall_ns);
    msg_write_t form = {.level = ACK_REPLICATED,
                        .hlc = {wall_ns, 0, 1},
                        .event_count = 1,
                        .payload = buffer_slice(&payload)};
    bool is_done[S_SHARDS_MAX] = {false};
    for (uint64_t item = 1; item < 200; item++) {
        shard_id_t shard = simulated_cluster_shard_of(cluster, (item_id_t){item});
        assert_in_range(shard.value, 0, S_SHARDS_MAX - 1);
        if (!is_done[shard.value]) {
            node_id_t leader = simulated_cluster_leader(cluster, shard);
            assert_int_equal(simulated_cluster_write_form(cluster, leader, &form).code, CODE_OK);
            is_done[shard.value] = true;
        }
    }
    buffer_done(&payload);
    simulated_cluster_run_ms(cluster, 1); /* another stamp for the next one */
}

static signal_event_t s_view(const simulated_cluster_t *cluster, item_id_t item, uint64_t user)
{
    return (signal_event_t){.item = item,
                            .user = {user},
                            .ts_ns = simulated_cluster_now_ns(cluster),
                            .weight = 1.0,
                            .signal = S_VIEW};
}

static void s_signal(simulated_cluster_t *cluster, item_id_t item, uint64_t user)
{
    signal_event_t event = s_view(cluster, item, user);
    assert_int_equal(simulated_cluster_write_signal(cluster, &event).code, CODE_OK);
}

/* -- reads ------------------------------------------------------------------------------------- */

static uint64_t s_count(simulated_cluster_t *cluster,
                        node_id_t node,
                        item_id_t item,
                        const char *cohort)
{
    uint8_t items[8];
    const uint8_t signals[] = {S_VIEW};
    const uint8_t windows[] = {WINDOW_ALL};
    bytes_put_u64(items, item.value);
    msg_read_t read = {.kind = READ_CELLS, .at_ns = simulated_cluster_now_ns(cluster)};
    read.as.cells.items = slice_make(items, sizeof(items));
    read.as.cells.signals = slice_make(signals, sizeof(signals));
    read.as.cells.windows = slice_make(windows, sizeof(windows));
    read.as.cells.cohort = slice_text(cohort);
    const msg_read_reply_t *reply = NULL;
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_OK);
    return reply->as.cells.cells[0].counts[0];
}

/* In every region, of which there are three. */
static void s_expect_count(simulated_cluster_t *cluster,
                           item_id_t item,
                           const char *cohort,
                           uint64_t expected)
{
    shard_id_t shard = simulated_cluster_shard_of(cluster, item);
    for (uint16_t region = 1; region <= 3; region++) {
        node_id_t node = {{region}, shard};
        assert_int_equal(s_count(cluster, node, item, cohort), expected);
    }
}

static void s_converge(simulated_cluster_t *cluster)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 10000, NULL), ERR_OK);
}

/* -- tests ------------------------------------------------------------------------------------- */

/* Signals of users of two locales, written to the leaders of two shards: all regions count them for
 * their cohorts alike, rank by them alike, and have equal digests. */
static void test_cohorts_count_the_same_on_all_replicas(void **state)
{
    (void)state;
    static const char *const s_locales[] = {"locale:EU", "locale:US"};
    enum { ITEMS = 20, EVENTS = 200 };
    simulated_cluster_t *cluster = s_cluster(3, 2);
    uint64_t expected[ITEMS + 1][2] = {{0}};
    for (uint64_t user = 1; user <= 6; user++) {
        s_put_user(cluster, user, user % 2 == 0 ? "EU" : "US");
    }
    for (uint64_t i = 0; i < EVENTS; i++) {
        uint64_t item = 1 + i * i % ITEMS;
        uint64_t user = i % 8; /* 0 and 7 are in no cohort */
        s_signal(cluster, (item_id_t){item}, user);
        expected[item][user % 2] += user >= 1 && user <= 6 ? 1 : 0;
    }
    s_converge(cluster); /* digests too */
    for (uint64_t item = 1; item <= ITEMS; item++) {
        s_expect_count(cluster, (item_id_t){item}, s_locales[0], expected[item][0]);
        s_expect_count(cluster, (item_id_t){item}, s_locales[1], expected[item][1]);
        s_expect_count(cluster, (item_id_t){item}, "locale:AP", 0);
    }
    simulated_cluster_destroy(&cluster);
}

static void s_rank(simulated_cluster_t *cluster,
                   node_id_t node,
                   const char *cohort,
                   uint64_t ret_items[3])
{
    msg_read_t read = {.kind = READ_RETRIEVE, .at_ns = simulated_cluster_now_ns(cluster)};
    read.as.retrieve = (msg_read_retrieve_t){
        .term_count = 1,
        .terms = {{.signal_id = S_VIEW, .kind = TERM_DECAY, .weight = 1.0}},
        .created_after = INT64_MIN,
        .created_before = INT64_MAX,
        .cohort = slice_text(cohort),
        .limit = 3,
    };
    const msg_read_reply_t *reply = NULL;
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_OK);
    assert_int_equal(reply->as.retrieve.ranked_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        ret_items[i] = reply->as.retrieve.ranked[i].item.value;
    }
}

/* What one locale likes most comes first when that locale is asked for, in every region. */
static void test_cohorts_rank_by_their_own_signals(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 1);
    s_put_user(cluster, 1, "EU");
    s_put_user(cluster, 2, "US");
    for (uint64_t i = 0; i < 9; i++) {
        s_signal(cluster, (item_id_t){1}, 2);
        s_signal(cluster, (item_id_t){2}, i < 5 ? 1 : 3);
        s_signal(cluster, (item_id_t){3}, i < 2 ? 1 : 2);
    }
    s_signal(cluster, (item_id_t){1}, 2);
    s_converge(cluster);
    for (uint16_t region = 1; region <= 3; region++) {
        uint64_t items[3];
        s_rank(cluster, (node_id_t){{region}, {0}}, "locale:EU", items);
        assert_true(items[0] == 2 && items[1] == 3 && items[2] == 1);
        s_rank(cluster, (node_id_t){{region}, {0}}, "locale:US", items);
        assert_true(items[0] == 1 && items[1] == 3 && items[2] == 2);
    }
    simulated_cluster_destroy(&cluster);
}

/* A user who moves takes nothing along: what was logged stays in the cohort of its time. */
static void test_cohorts_user_who_moves_leaves_events_where_they_are(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 2);
    s_signal(cluster, s_item, 1); /* nobody knows the user yet */
    s_put_user(cluster, 1, "EU");
    s_signal(cluster, s_item, 1);
    s_signal(cluster, s_item, 1);
    s_put_user(cluster, 1, "US");
    s_signal(cluster, s_item, 1);
    s_converge(cluster);
    s_expect_count(cluster, s_item, "", 4);
    s_expect_count(cluster, s_item, "locale:EU", 2);
    s_expect_count(cluster, s_item, "locale:US", 1);
    simulated_cluster_destroy(&cluster);
}

/* A request that comes again after its user has moved is the one that was logged: the pair and the
 * content are the client's, and what the leader added is no part of them. */
static void test_cohorts_repeated_request_counts_once(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 1);
    simulated_form_t form = {ACK_REPLICATED, "client", 1};
    signal_event_t event = s_view(cluster, s_item, 1);
    node_id_t leader = s_leader_of(cluster, s_item);
    s_put_user(cluster, 1, "EU");
    assert_int_equal(simulated_cluster_write_to(cluster, leader, &event, 1, form).code, CODE_OK);
    s_put_user(cluster, 1, "US");
    simulated_write_t again = simulated_cluster_write_to(cluster, leader, &event, 1, form);
    assert_int_equal(again.code, CODE_OK);
    assert_true(again.duplicate);
    s_converge(cluster);
    s_expect_count(cluster, s_item, "locale:EU", 1);
    s_expect_count(cluster, s_item, "locale:US", 0);
    simulated_cluster_destroy(&cluster);
}

/* kill -9 of a node that leads and of one that follows: from the checkpoint and the tail of the log,
 * and from the log alone, each comes to the digest that it had. The user has moved by then. */
static void test_cohorts_replay_gives_the_same_digest(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 1);
    s_put_user(cluster, 1, "EU");
    s_signal(cluster, s_item, 1);
    simulated_cluster_run_ms(cluster, 45000); /* two checkpoints of every node */
    s_signal(cluster, (item_id_t){8}, 1);
    s_put_user(cluster, 1, "US");
    s_signal(cluster, s_item, 1);
    s_converge(cluster);
    for (unsigned round = 0; round < 4; round++) {
        node_id_t node = {{(uint16_t)(1 + round % 2)}, {0}};
        process_address_t process = {PROCESS_NODE, node.region, node.shard};
        uint8_t before[MSG_HASH_SIZE];
        uint8_t after[MSG_HASH_SIZE];
        assert_true(round > 1 ||
                    simulated_cluster_metric(cluster, process, "node_checkpoints") > 0);
        simulated_cluster_digest(cluster, node, before);
        simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, node);
        if (round > 1) {
            simulated_cluster_lose_checkpoint(cluster, node);
        }
        simulated_crash_destroy(&crash);
        s_converge(cluster);
        simulated_cluster_digest(cluster, node, after);
        assert_memory_equal(before, after, MSG_HASH_SIZE);
        simulated_cluster_run_ms(cluster, 1000);
        s_expect_count(cluster, s_item, "locale:EU", 1);
        s_expect_count(cluster, s_item, "locale:US", 1);
    }
    simulated_cluster_destroy(&cluster);
}

/* Cohorts are the leader's to name: a request that names them is refused, and nothing is logged. */
static void test_cohorts_request_that_names_them_is_refused(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 1);
    signal_event_t event = s_view(cluster, s_item, 1);
    buffer_t plain = {0};
    buffer_t payload = {0};
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    cohort_builder_add_name(builder, slice_text("locale:EU"));
    (void)cohort_builder_put_event(builder);
    record_append_signals(&plain, &event, 1);
    assert_int_equal(cohort_builder_append(builder, buffer_slice(&plain), &payload, NULL), ERR_OK);
    msg_write_t form = {.level = ACK_LOCAL, .event_count = 1, .payload = buffer_slice(&payload)};
    node_id_t leader = s_leader_of(cluster, s_item);
    assert_int_equal(simulated_cluster_write_form(cluster, leader, &form).code, CODE_BAD_REQUEST);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, leader), 0);
    buffer_done(&plain);
    buffer_done(&payload);
    cohort_builder_destroy(&builder);
    simulated_cluster_destroy(&cluster);
}

/* More cohorts than a record may name: refused with nothing logged, and half of it is taken. */
static void test_cohorts_too_many_of_one_request_are_refused(void **state)
{
    (void)state;
    enum { COUNT = COHORT_NAME_COUNT_MAX + 1 };
    simulated_cluster_t *cluster = s_cluster(2, 1);
    node_id_t leader = s_leader_of(cluster, s_item);
    signal_event_t *events = calloc(COUNT, sizeof(*events));
    assert_non_null(events);
    buffer_t payload = {0};
    for (uint32_t i = 0; i < COUNT; i++) {
        char value[16];
        (void)snprintf(value, sizeof(value), "%u", i);
        s_append_user(&payload, i + 1, "n", value, 1);
        events[i] = s_view(cluster, s_item, i + 1);
    }
    msg_write_t form = {
        .level = ACK_LOCAL, .event_count = COUNT, .payload = buffer_slice(&payload)};
    assert_int_equal(simulated_cluster_write_form(cluster, leader, &form).code, CODE_OK);
    uint64_t applied = simulated_cluster_applied_seqno(cluster, leader);
    simulated_form_t local = {ACK_LOCAL, NULL, 0};
    simulated_write_t write = simulated_cluster_write_to(cluster, leader, events, COUNT, local);
    assert_int_equal(write.code, CODE_TOO_LARGE);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, leader), applied);
    write = simulated_cluster_write_to(cluster, leader, events, COUNT - 1, local);
    assert_int_equal(write.code, CODE_OK);
    assert_int_equal(s_count(cluster, leader, s_item, "n:0"), 1);
    assert_int_equal(s_count(cluster, leader, s_item, "n:16383"), 1);
    assert_int_equal(s_count(cluster, leader, s_item, "n:16384"), 0);
    free(events);
    buffer_done(&payload);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cohorts_count_the_same_on_all_replicas),
        cmocka_unit_test(test_cohorts_rank_by_their_own_signals),
        cmocka_unit_test(test_cohorts_user_who_moves_leaves_events_where_they_are),
        cmocka_unit_test(test_cohorts_repeated_request_counts_once),
        cmocka_unit_test(test_cohorts_replay_gives_the_same_digest),
        cmocka_unit_test(test_cohorts_request_that_names_them_is_refused),
        cmocka_unit_test(test_cohorts_too_many_of_one_request_are_refused),
    };
    return cmocka_run_group_tests_name("cohorts", tests, NULL, NULL);
}
