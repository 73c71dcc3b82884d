/* The suite `replication`, in process: what a region may rely on when another one leads. The same
 * behaviours over ZeroMQ and real files are in tests/mesh. */
#include "common/base/prng.h"
#include "tests/support/simulated_cluster.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1, S_LIKE = 2 };
#define S_VIEW_HALF_LIFE_NS ((long double)7 * 86400 * 1e9L)
#define S_HOUR_NS           INT64_C(3600000000000)

static simulated_cluster_t *s_cluster(uint16_t regions, uint16_t shards, uint64_t segment_size)
{
    simulated_cluster_options_t options = {.region_count = regions,
                                           .shard_count = shards,
                                           .seed = 7,
                                           .segment_size_bytes = segment_size};
    return simulated_cluster_new(&options);
}

static void s_assert_converges(simulated_cluster_t *cluster, int64_t within_ms)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, within_ms, NULL), ERR_OK);
}

static process_address_t s_process(process_kind_t kind, uint16_t region, uint16_t shard)
{
    return (process_address_t){kind, {region}, {shard}};
}

/* An item whose shard is `shard`. */
static item_id_t s_item_in(const simulated_cluster_t *cluster, uint16_t shard, uint64_t from)
{
    item_id_t item = {from};
    while (simulated_cluster_shard_of(cluster, item).value != shard) {
        item.value++;
    }
    return item;
}

static signal_event_t s_view(item_id_t item, int64_t ts_ns, double weight)
{
    return (signal_event_t){.item = item, .ts_ns = ts_ns, .weight = weight, .signal = S_VIEW};
}

/* Writes n views of one item in requests of at most 100, weights that f32 cannot hold, every
 * seventh event days late. Returns the analytic score at at_ns. */
static long double s_write_many(simulated_cluster_t *cluster,
                                item_id_t item,
                                uint32_t n,
                                int64_t at_ns)
{
    enum { S_REQUEST_SIZE = 100 };
    node_id_t leader = simulated_cluster_leader(cluster, simulated_cluster_shard_of(cluster, item));
    signal_event_t events[S_REQUEST_SIZE];
    long double sum = 0;
    uint32_t filled = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t late_ns = i % 7 == 0 ? (int64_t)(i % 97) * S_HOUR_NS : (int64_t)i * 1000;
        double weight = 1.0 + (double)i * 0x1.0p-30;
        events[filled++] = s_view(item, at_ns - late_ns, weight);
        sum += (long double)weight * exp2l(-(long double)late_ns / S_VIEW_HALF_LIFE_NS);
        if (filled == S_REQUEST_SIZE || i + 1 == n) {
            simulated_write_t write = simulated_cluster_write_to(
                cluster, leader, events, filled, (simulated_form_t){ACK_REPLICATED, NULL, 0});
            assert_int_equal(write.code, CODE_OK);
            filled = 0;
        }
    }
    return sum;
}

static void s_assert_equal_digests(simulated_cluster_t *cluster, node_id_t a, node_id_t b)
{
    uint8_t digest_a[MSG_HASH_SIZE];
    uint8_t digest_b[MSG_HASH_SIZE];
    simulated_cluster_digest(cluster, a, digest_a);
    simulated_cluster_digest(cluster, b, digest_b);
    assert_memory_equal(digest_a, digest_b, MSG_HASH_SIZE);
}

/* 1,000 and 10,000 signals: the follower's bits equal the leader's, and the formula to 6 decimals.
 */
static void test_replication_decay_scores_match(void **state)
{
    (void)state;
    const uint32_t counts[] = {1000, 10000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        simulated_cluster_t *cluster = s_cluster(2, 1, 0);
        int64_t at_ns = simulated_cluster_now_ns(cluster);
        item_id_t item = {42};
        long double analytic = s_write_many(cluster, item, counts[i], at_ns);
        s_assert_converges(cluster, 2000);
        node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
        node_id_t follower =
            simulated_cluster_follower_in(cluster, (region_id_t){2}, (shard_id_t){0});
        double at_leader = simulated_cluster_read_decay_score(cluster, leader, item, S_VIEW, at_ns);
        double at_follower =
            simulated_cluster_read_decay_score(cluster, follower, item, S_VIEW, at_ns);
        assert_true(at_leader == at_follower);
        assert_true(fabsl((long double)at_leader - analytic) < 5e-7L);
        s_assert_equal_digests(cluster, leader, follower);
        simulated_cluster_destroy(&cluster);
    }
}

/* A follower refuses a write, names the leader, and nothing changes anywhere. */
static void test_replication_follower_rejects_writes(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 1, 0);
    signal_event_t event = s_view((item_id_t){1}, simulated_cluster_now_ns(cluster), 1.0);
    for (uint16_t region = 2; region <= 3; region++) {
        node_id_t follower =
            simulated_cluster_follower_in(cluster, (region_id_t){region}, (shard_id_t){0});
        for (int level = ACK_LOCAL; level <= ACK_ALL; level++) {
            simulated_write_t write = simulated_cluster_write_to(
                cluster, follower, &event, 1, (simulated_form_t){(ack_level_t)level, "p", 1});
            assert_int_equal(write.code, CODE_READ_ONLY);
            assert_int_equal(write.leader_hint.value, 1);
        }
        assert_int_equal(simulated_cluster_applied_seqno(cluster, follower), 0);
    }
    simulated_cluster_destroy(&cluster);
}

/* Ranks by decayed views at a node; the reply lives until the next read. */
static const msg_read_reply_t *s_retrieve(simulated_cluster_t *cluster,
                                          node_id_t node,
                                          int64_t at_ns)
{
    msg_read_t read = {.kind = READ_RETRIEVE, .at_ns = at_ns};
    read.as.retrieve = (msg_read_retrieve_t){
        .term_count = 1,
        .terms = {{.signal_id = S_VIEW, .kind = TERM_DECAY, .weight = 1.0}},
        .created_after = INT64_MIN,
        .created_before = INT64_MAX,
        .limit = 10,
    };
    const msg_read_reply_t *reply = NULL;
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_OK);
    return reply;
}

/* A follower ranks as the leader does, to the bit, and one more signal changes both. */
static void test_replication_follower_serves_retrieve_queries(void **state)
{
    (void)state;
    enum { S_ITEMS = 5 };
    simulated_cluster_t *cluster = s_cluster(3, 1, 0);
    int64_t at_ns = simulated_cluster_now_ns(cluster);
    for (uint64_t item = 1; item <= S_ITEMS; item++) {
        signal_event_t event = s_view((item_id_t){item}, at_ns, (double)item);
        assert_int_equal(simulated_cluster_write_signal(cluster, &event).code, CODE_OK);
    }
    signal_event_t last = s_view((item_id_t){2}, at_ns, 100.0);
    assert_int_equal(simulated_cluster_write_signal(cluster, &last).code, CODE_OK);
    s_assert_converges(cluster, 2000);
    const uint64_t expected[S_ITEMS] = {2, 5, 4, 3, 1};
    double scores[S_ITEMS] = {0};
    for (uint16_t region = 1; region <= 3; region++) {
        node_id_t node = {{region}, {0}};
        const msg_read_reply_t *reply = s_retrieve(cluster, node, at_ns);
        assert_int_equal(reply->as.retrieve.ranked_count, S_ITEMS);
        for (uint32_t i = 0; i < S_ITEMS; i++) {
            assert_int_equal(reply->as.retrieve.ranked[i].item.value, expected[i]);
            scores[i] = region == 1 ? reply->as.retrieve.ranked[i].score : scores[i];
            assert_true(scores[i] == reply->as.retrieve.ranked[i].score);
        }
    }
    simulated_cluster_destroy(&cluster);
}

/* 500 small segments: everything is everywhere within 5 s of the last write. */
static void test_replication_lag_converges_to_zero(void **state)
{
    (void)state;
    enum { S_SEGMENTS = 500, S_BATCH = 200 };
    simulated_cluster_t *cluster = s_cluster(3, 1, SEGMENT_SIZE_MIN);
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    int64_t at_ns = simulated_cluster_now_ns(cluster);
    signal_event_t events[S_BATCH];
    for (uint32_t i = 0; i < S_SEGMENTS; i++) {
        for (uint32_t k = 0; k < S_BATCH; k++) {
            /* Far apart, so that no column is narrow and two batches do not fit one segment. */
            events[k] = s_view((item_id_t){1 + (uint64_t)k * UINT64_C(0x123456789)},
                               at_ns - (int64_t)k * S_HOUR_NS, 1.0 + (double)k);
        }
        simulated_cluster_post(cluster, leader, events, S_BATCH, ACK_REPLICATED);
        simulated_cluster_run_ms(cluster, 1);
    }
    int64_t took_ms = 0;
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 5000, &took_ms), ERR_OK);
    simulated_cluster_run_ms(cluster, 100); /* the last answers are still on their way */
    simulated_answers_t answers = simulated_cluster_answers(cluster);
    assert_int_equal(answers.ok, S_SEGMENTS);
    for (uint16_t region = 2; region <= 3; region++) {
        node_id_t follower =
            simulated_cluster_follower_in(cluster, (region_id_t){region}, (shard_id_t){0});
        assert_int_equal(simulated_cluster_applied_seqno(cluster, follower),
                         (uint64_t)S_SEGMENTS * S_BATCH);
    }
    simulated_cluster_destroy(&cluster);
}

/* A thousand single bits flipped in flight: each is refused and counted, nothing is applied, and
 * the blocks are fetched again. */
static void test_replication_corrupted_segment_is_rejected(void **state)
{
    (void)state;
    enum { S_FLIPS = 1000 };
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    node_id_t follower = simulated_cluster_follower_in(cluster, (region_id_t){2}, (shard_id_t){0});
    process_address_t receiver = s_process(PROCESS_RECEIVER, 2, 0);
    prng_t prng;
    prng_init(&prng, 11);
    int64_t at_ns = simulated_cluster_now_ns(cluster);
    for (uint64_t i = 1; i <= S_FLIPS; i++) {
        simulated_cluster_corrupt_next_blocks(cluster, (region_id_t){2}, prng_next(&prng));
        signal_event_t event = s_view((item_id_t){i % 50 + 1}, at_ns, 1.0 + (double)i);
        simulated_write_t write = simulated_cluster_write_signal(cluster, &event);
        assert_int_equal(write.code, CODE_OK);
        assert_int_equal(write.durability, ACK_ALL);
        assert_int_equal(simulated_cluster_metric(cluster, receiver, "receiver_corrupt") +
                             simulated_cluster_metric(cluster, receiver, "receiver_gaps") +
                             simulated_cluster_metric(cluster, receiver, "receiver_conflicts"),
                         i);
    }
    s_assert_converges(cluster, 2000);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, follower), S_FLIPS);
    s_assert_equal_digests(cluster, leader, follower);
    simulated_cluster_destroy(&cluster);
}

/* The leader stops in the middle of a load: followers go on reading; it returns, and what it had
 * logged reaches them all. */
static void test_replication_leader_restart_follower_continues(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 1, 0);
    int64_t at_ns = simulated_cluster_now_ns(cluster);
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    node_id_t follower = simulated_cluster_follower_in(cluster, (region_id_t){2}, (shard_id_t){0});
    for (uint64_t i = 1; i <= 20; i++) {
        signal_event_t event = s_view((item_id_t){i}, at_ns, 1.0);
        assert_int_equal(simulated_cluster_write_signal(cluster, &event).code, CODE_OK);
    }
    /* Two more that are durable at the leader alone when it goes. */
    simulated_cluster_stop(cluster, s_process(PROCESS_SHIPPER, 1, 0));
    signal_event_t late = s_view((item_id_t){1}, at_ns, 7.0);
    for (uint64_t i = 1; i <= 2; i++) {
        simulated_write_t write = simulated_cluster_write_to(
            cluster, leader, &late, 1, (simulated_form_t){ACK_LOCAL, "client", i});
        assert_int_equal(write.code, CODE_OK);
        assert_int_equal(write.durability, ACK_LOCAL);
    }
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, leader);
    assert_float_equal(
        simulated_cluster_read_decay_score(cluster, follower, (item_id_t){3}, S_VIEW, at_ns), 1.0,
        1e-6);
    simulated_write_t refused = simulated_cluster_write_to(
        cluster, leader, &late, 1, (simulated_form_t){ACK_LOCAL, "client", 3});
    assert_int_equal(refused.code, CODE_TIMEOUT);
    simulated_cluster_run_ms(cluster, 3000);
    simulated_crash_destroy(&crash);
    simulated_cluster_start(cluster, s_process(PROCESS_SHIPPER, 1, 0));
    s_assert_converges(cluster, 5000);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, follower), 22);
    assert_float_equal(
        simulated_cluster_read_decay_score(cluster, follower, (item_id_t){1}, S_VIEW, at_ns), 15.0,
        1e-6);
    /* The retry of what was acknowledged gets its original position and changes nothing. */
    simulated_cluster_run_ms(cluster, 1000); /* the leader hears its region and is ready */
    simulated_write_t again = simulated_cluster_write_to(
        cluster, leader, &late, 1, (simulated_form_t){ACK_REPLICATED, "client", 2});
    assert_int_equal(again.code, CODE_OK);
    assert_true(again.duplicate);
    assert_int_equal(again.first_seq, 22);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, leader), 22);
    simulated_cluster_destroy(&cluster);
}

/* The last shipped blocks once more, from every region, again and again: nothing counts twice. */
static void test_replication_idempotent_segment_replay(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 3, 0);
    int64_t at_ns = simulated_cluster_now_ns(cluster);
    uint8_t before[3][MSG_HASH_SIZE];
    for (uint16_t shard = 0; shard < 3; shard++) {
        item_id_t item = s_item_in(cluster, shard, 1);
        (void)s_write_many(cluster, item, 300, at_ns);
    }
    s_assert_converges(cluster, 2000);
    for (uint16_t shard = 0; shard < 3; shard++) {
        simulated_cluster_digest(cluster, (node_id_t){{2}, {shard}}, before[shard]);
    }
    for (int i = 0; i < 10; i++) {
        for (uint16_t region = 1; region <= 3; region++) {
            simulated_cluster_replay_last_batch(cluster, (region_id_t){region});
        }
        simulated_cluster_run_ms(cluster, 50);
    }
    s_assert_converges(cluster, 2000);
    for (uint16_t shard = 0; shard < 3; shard++) {
        uint8_t after[MSG_HASH_SIZE];
        simulated_cluster_digest(cluster, (node_id_t){{2}, {shard}}, after);
        assert_memory_equal(before[shard], after, MSG_HASH_SIZE);
        node_id_t node = {{3}, {shard}};
        assert_int_equal(simulated_cluster_applied_seqno(cluster, node), 300);
    }
    simulated_cluster_destroy(&cluster);
}

/* A cut link: writes whose in-sync set is cut are refused before anything is appended, or end as
 * NOT_REPLICATED; local ones flow; after the heal all is equal. */
static void test_replication_cut_link_refuses_then_converges(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 3, 0);
    int64_t at_ns = simulated_cluster_now_ns(cluster);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, (region_id_t){1}, (region_id_t){2});
    item_id_t first = s_item_in(cluster, 0, 1);
    item_id_t third = s_item_in(cluster, 2, 1);
    signal_event_t event = s_view(first, at_ns, 1.0);
    /* Before the silence is noticed the write is appended and stays unconfirmed. */
    simulated_write_t write = simulated_cluster_write_signal(cluster, &event);
    assert_int_equal(write.code, CODE_NOT_REPLICATED);
    assert_int_equal(write.durability, ACK_LOCAL);
    assert_int_equal(region_set_count(write.replicas), 2);
    /* Afterwards it is refused at once. */
    write = simulated_cluster_write_signal(cluster, &event);
    assert_int_equal(write.code, CODE_UNAVAILABLE);
    assert_true(write.took_ns < 100 * INT64_C(1000000));
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    write = simulated_cluster_write_to(cluster, leader, &event, 1,
                                       (simulated_form_t){ACK_LOCAL, NULL, 0});
    assert_int_equal(write.code, CODE_OK);
    /* Region 3 leads shard 2 and hears everybody. */
    event = s_view(third, at_ns, 1.0);
    assert_int_equal(simulated_cluster_write_signal(cluster, &event).code, CODE_OK);
    assert_true(simulated_partition_dropped_count(cut) > 0);
    simulated_partition_destroy(&cut);
    s_assert_converges(cluster, 5000);
    for (uint16_t region = 1; region <= 3; region++) {
        node_id_t node = {{region}, {0}};
        assert_int_equal(simulated_cluster_applied_seqno(cluster, node), 2);
    }
    simulated_cluster_destroy(&cluster);
}

/* Repeats one pair, as a client does, until it is acknowledged. */
static void s_write_until_ok(simulated_cluster_t *cluster,
                             node_id_t leader,
                             const signal_event_t *event,
                             uint64_t producer_seq)
{
    simulated_form_t form = {ACK_REPLICATED, "load", producer_seq};
    simulated_write_t write = simulated_cluster_write_to(cluster, leader, event, 1, form);
    for (int tries = 0; tries < 50 && write.code != CODE_OK; tries++) {
        simulated_cluster_run_ms(cluster, 100);
        write = simulated_cluster_write_to(cluster, leader, event, 1, form);
    }
    assert_int_equal(write.code, CODE_OK);
}

/* kill -9 and, five milliseconds later, a new start; `now` false: nothing. */
static void s_kill_at(simulated_cluster_t *cluster, process_address_t victim, bool now)
{
    if (now) {
        simulated_cluster_stop(cluster, victim);
        simulated_cluster_run_ms(cluster, 5);
        simulated_cluster_start(cluster, victim);
    }
}

/* Every kind of process is killed in the middle of a load, one at a time, with a disk that keeps
 * what was synced: nothing acknowledged is lost, nothing counts twice. */
static void test_replication_kill_of_each_process_loses_nothing(void **state)
{
    (void)state;
    const process_address_t victims[] = {
        {PROCESS_NODE, {1}, {0}},     {PROCESS_NODE, {2}, {0}},     {PROCESS_SHIPPER, {1}, {0}},
        {PROCESS_RECEIVER, {2}, {0}}, {PROCESS_RECEIVER, {1}, {0}},
    };
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    int64_t at_ns = simulated_cluster_now_ns(cluster);
    uint64_t producer_seq = 0;
    uint64_t acknowledged = 0;
    for (size_t v = 0; v < sizeof(victims) / sizeof(victims[0]); v++) {
        for (uint32_t i = 0; i < 40; i++) {
            signal_event_t event = s_view((item_id_t){1 + i % 7}, at_ns, 1.0);
            s_kill_at(cluster, victims[v], i == 20);
            producer_seq++;
            s_write_until_ok(cluster, leader, &event, producer_seq);
            acknowledged++;
        }
    }
    s_assert_converges(cluster, 5000);
    for (uint16_t region = 1; region <= 2; region++) {
        assert_int_equal(simulated_cluster_applied_seqno(cluster, (node_id_t){{region}, {0}}),
                         acknowledged);
    }
    simulated_cluster_destroy(&cluster);
}

/* Goal: a link that delivers a write twice does not make it count twice, also where no producer
 * tells. Method: the very message again, at once and after the answer; then the same signal in a
 * request of its own, which counts. */
static void test_replication_message_delivered_twice_counts_once(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    signal_event_t event = s_view((item_id_t){1}, simulated_cluster_now_ns(cluster), 1.0);
    simulated_cluster_post(cluster, leader, &event, 1, ACK_REPLICATED);
    simulated_cluster_repeat_message(cluster, leader);
    simulated_cluster_run_ms(cluster, 100);
    simulated_cluster_repeat_message(cluster, leader);
    simulated_cluster_run_ms(cluster, 100);
    assert_int_equal(simulated_cluster_answers(cluster).ok, 1);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, leader), 1);
    process_address_t node = s_process(PROCESS_NODE, 1, 0);
    assert_int_equal(simulated_cluster_metric(cluster, node, "node_repeated_writes"), 2);
    simulated_cluster_post(cluster, leader, &event, 1, ACK_REPLICATED);
    simulated_cluster_run_ms(cluster, 100);
    s_assert_converges(cluster, 5000);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, leader), 2);
    simulated_cluster_destroy(&cluster);
}

/* Time that a write of one event took, ns. */
static int64_t s_write_local_ns(simulated_cluster_t *cluster, item_id_t item)
{
    signal_event_t event = s_view(item, 1, 1.0);
    simulated_write_t write =
        simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, (shard_id_t){0}),
                                   &event, 1, (simulated_form_t){ACK_LOCAL, NULL, 0});
    assert_int_equal(write.code, CODE_OK);
    return write.took_ns;
}

/* Goal: a group gathers while the one before it is on its way to the in-sync set, not beyond the hold
 * when that never comes, and not at all after a pause. Method: `local` writes, which else are
 * answered with their own sync, first beside a cut link. */
static void test_replication_group_gathers_while_one_is_on_its_way(void **state)
{
    (void)state;
    enum { S_HOLD_NS = 20000000, S_AT_ONCE_NS = 5000000 };
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    s_assert_converges(cluster, 5000);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, (region_id_t){1}, (region_id_t){2});
    assert_in_range(s_write_local_ns(cluster, (item_id_t){1}), 0, S_AT_ONCE_NS);
    assert_in_range(s_write_local_ns(cluster, (item_id_t){2}), S_AT_ONCE_NS, 2 * S_HOLD_NS);
    simulated_partition_destroy(&cut);
    s_assert_converges(cluster, 5000);
    simulated_cluster_run_ms(cluster, 100);
    assert_in_range(s_write_local_ns(cluster, (item_id_t){3}), 0, S_AT_ONCE_NS);
    simulated_cluster_destroy(&cluster);
}

/* Goal: with one region placed a group is confirmed by its own sync, so none waits, whatever the
 * pauses between writes are. */
static void test_replication_group_waits_for_nobody_in_one_region(void **state)
{
    (void)state;
    enum { S_AT_ONCE_NS = 5000000 };
    simulated_cluster_t *cluster = s_cluster(1, 1, 0);
    s_assert_converges(cluster, 5000);
    for (uint64_t i = 1; i <= 30; i++) {
        assert_in_range(s_write_local_ns(cluster, (item_id_t){i}), 0, S_AT_ONCE_NS);
        simulated_cluster_run_ms(cluster, i % 3 == 0 ? 100 : 1);
    }
    simulated_cluster_destroy(&cluster);
}

static const tenant_id_t s_shop = {7};

/* A second tenant in both regions, led by the first. */
static void s_add_shop(simulated_cluster_t *cluster)
{
    region_set_t both = {6};
    table_tenant_t tenant = {.id = s_shop, .name = "shop", .full = both};
    table_record_t record = {
        .epoch = 1, .version = 1, .leader = {1}, .in_sync = both, .placed = both};
    table_t *next = table_next(simulated_cluster_table(cluster));
    errbuf_t errbuf;
    assert_int_equal(table_add_tenant(next, &tenant, &record, &errbuf), ERR_OK);
    simulated_cluster_use_table(cluster, next);
    simulated_cluster_run_ms(cluster, 3000); /* until its leader has heard the other region */
}

static void s_write_pair(simulated_cluster_t *cluster,
                         tenant_id_t tenant,
                         const char *producer,
                         uint64_t producer_seq)
{
    signal_event_t event = s_view((item_id_t){1}, simulated_cluster_now_ns(cluster), 1.0);
    buffer_t payload = {0};
    record_append_signals(&payload, &event, 1);
    msg_write_t form = {.tenant = tenant,
                        .level = ACK_REPLICATED,
                        .has_producer = true,
                        .producer = slice_make(producer, strlen(producer)),
                        .producer_seq = producer_seq,
                        .event_count = 1,
                        .payload = buffer_slice(&payload)};
    node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
    simulated_write_t write = simulated_cluster_write_form(cluster, leader, &form);
    assert_int_equal(write.code, CODE_OK);
    buffer_done(&payload);
}

/* Goal: every region shows how many pairs it remembers, of all tenants, and what they take. Method:
 * a producer that counts with gaps, another one, and one of a second tenant; a retry adds nothing.
 * No stable floor is told here, so each request keeps its position. */
static void test_replication_pairs_show_in_the_metrics(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    uint64_t memory_before[3];
    s_add_shop(cluster);
    for (uint16_t region = 1; region <= 2; region++) {
        process_address_t node = s_process(PROCESS_NODE, region, 0);
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_pairs_producers"), 0);
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_pairs_intervals"), 0);
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_pairs_positions"), 0);
        memory_before[region] = simulated_cluster_metric(cluster, node, "node_pairs_memory_bytes");
    }
    static const uint64_t s_seqs[] = {1, 2, 4, 5, 7, 5};
    for (size_t i = 0; i < sizeof(s_seqs) / sizeof(s_seqs[0]); i++) {
        s_write_pair(cluster, TENANT_DEFAULT, "counts", s_seqs[i]);
    }
    s_write_pair(cluster, TENANT_DEFAULT, "other", 1);
    s_write_pair(cluster, s_shop, "counts", 1);
    s_assert_converges(cluster, 5000);
    for (uint16_t region = 1; region <= 2; region++) {
        process_address_t node = s_process(PROCESS_NODE, region, 0);
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_pairs_producers"), 3);
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_pairs_intervals"), 5);
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_pairs_positions"), 7);
        assert_true(simulated_cluster_metric(cluster, node, "node_pairs_memory_bytes") >
                    memory_before[region]);
    }
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replication_decay_scores_match),
        cmocka_unit_test(test_replication_follower_rejects_writes),
        cmocka_unit_test(test_replication_follower_serves_retrieve_queries),
        cmocka_unit_test(test_replication_lag_converges_to_zero),
        cmocka_unit_test(test_replication_corrupted_segment_is_rejected),
        cmocka_unit_test(test_replication_leader_restart_follower_continues),
        cmocka_unit_test(test_replication_idempotent_segment_replay),
        cmocka_unit_test(test_replication_cut_link_refuses_then_converges),
        cmocka_unit_test(test_replication_kill_of_each_process_loses_nothing),
        cmocka_unit_test(test_replication_message_delivered_twice_counts_once),
        cmocka_unit_test(test_replication_group_gathers_while_one_is_on_its_way),
        cmocka_unit_test(test_replication_group_waits_for_nobody_in_one_region),
        cmocka_unit_test(test_replication_pairs_show_in_the_metrics),
    };
    return cmocka_run_group_tests_name("replication", tests, NULL, NULL);
}
