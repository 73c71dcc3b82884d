/* The suite `islands`, in process: both sides of a cut write, and leaders change under load. What
 * must hold in the end: all logs everywhere, every event once, all replicas bit for bit equal. */
#include "common/base/prng.h"
#include "common/wal/record.h"
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1, S_CUT_MS = 1300 }; /* a cut that is longer is noticed by everybody */

static const node_id_t s_us = {{1}, {0}}; /* leads the only shard */
static const node_id_t s_eu = {{2}, {0}};
static const node_id_t s_ap = {{3}, {0}};

/* Tenant `default` takes the policy in the table that follows the first one. */
static simulated_cluster_t *s_cluster(bool accepts_islands, uint64_t seed)
{
    simulated_cluster_options_t options = {.region_count = 3, .shard_count = 1, .seed = seed};
    simulated_cluster_t *cluster = simulated_cluster_new(&options);
    simulated_cluster_set_island(cluster, accepts_islands ? ISLAND_ACCEPT : ISLAND_REJECT);
    return cluster;
}

/* The record of the shard as the control plane's decision leaves it: next epoch, next version. */
static void s_promote(simulated_cluster_t *cluster, region_id_t region)
{
    shard_id_t shard = {0};
    table_t *next = table_next(simulated_cluster_table(cluster));
    table_record_t record = *table_find_record(next, TENANT_DEFAULT, shard);
    errbuf_t errbuf;
    record.leader = region;
    record.epoch++;
    record.version++;
    assert_int_equal(table_set_record(next, TENANT_DEFAULT, shard, &record, &errbuf), ERR_OK);
    simulated_cluster_use_table(cluster, next);
}

/* Cuts ap-south off from both others. */
typedef struct {
    simulated_partition_t *us;
    simulated_partition_t *eu;
} s_cut_t;

static s_cut_t s_cut_off_ap(simulated_cluster_t *cluster)
{
    s_cut_t cut = {simulated_cluster_inject_partition(cluster, s_ap.region, s_us.region),
                   simulated_cluster_inject_partition(cluster, s_ap.region, s_eu.region)};
    simulated_cluster_run_ms(cluster, S_CUT_MS);
    return cut;
}

static void s_heal(s_cut_t *cut)
{
    simulated_partition_destroy(&cut->us);
    simulated_partition_destroy(&cut->eu);
}

static void s_converge(simulated_cluster_t *cluster)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 10000, NULL), ERR_OK);
}

static simulated_write_t s_write(simulated_cluster_t *cluster,
                                 node_id_t node,
                                 ack_level_t level,
                                 const char *producer,
                                 uint64_t producer_seq)
{
    signal_event_t event = {.item = {7},
                            .ts_ns = simulated_cluster_now_ns(cluster) - 1000000000,
                            .weight = 1.0,
                            .signal = S_VIEW};
    return simulated_cluster_write_to(cluster, node, &event, 1,
                                      (simulated_form_t){level, producer, producer_seq});
}

/* All-time count of the item at a node. */
static uint64_t s_count(simulated_cluster_t *cluster, node_id_t node)
{
    uint8_t items[8];
    uint8_t signal = S_VIEW;
    uint8_t window = WINDOW_COUNT - 1;
    bytes_put_u64(items, 7);
    msg_read_t read = {.kind = READ_CELLS, .at_ns = simulated_cluster_now_ns(cluster)};
    read.as.cells.items = slice_make(items, sizeof(items));
    read.as.cells.signals = slice_make(&signal, 1);
    read.as.cells.windows = slice_make(&window, 1);
    const msg_read_reply_t *reply = NULL;
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_OK);
    return reply->as.cells.cells[0].counts[0];
}

static void s_expect_count(simulated_cluster_t *cluster, uint64_t count)
{
    s_converge(cluster);
    assert_int_equal(s_count(cluster, s_us), count);
    assert_int_equal(s_count(cluster, s_eu), count);
    assert_int_equal(s_count(cluster, s_ap), count);
}

/* -- islands ----------------------------------------------------------------------------------- */

/* Goal: during a cut both sides log, the island for itself alone and whatever level is asked, the
 * follower that still hears the leader nothing; after the heal everything is everywhere, once. */
static void test_islands_both_sides_write_and_merge(void **state)
{
    (void)state;
    enum { S_WRITES = 40 };
    simulated_cluster_t *cluster = s_cluster(true, 3);
    s_cut_t cut = s_cut_off_ap(cluster);
    for (uint32_t i = 0; i < S_WRITES; i++) {
        simulated_write_t write = s_write(cluster, s_ap, ACK_ALL, NULL, 0);
        assert_int_equal(write.code, CODE_OK);
        assert_true(write.island);
        assert_int_equal(write.durability, ACK_LOCAL);
        assert_int_equal(write.replicas.bits, 1 << 3);
        assert_int_equal(write.stream.origin.region.value, 3);
        write = s_write(cluster, s_us, ACK_LOCAL, NULL, 0);
        assert_int_equal(write.code, CODE_OK);
        assert_false(write.island);
    }
    assert_int_equal(s_write(cluster, s_us, ACK_REPLICATED, NULL, 0).code, CODE_UNAVAILABLE);
    assert_int_equal(s_write(cluster, s_eu, ACK_LOCAL, NULL, 0).code, CODE_READ_ONLY);
    s_heal(&cut);
    s_expect_count(cluster, UINT64_C(2) * S_WRITES);
    simulated_write_t write = s_write(cluster, s_ap, ACK_LOCAL, NULL, 0);
    assert_int_equal(write.code, CODE_READ_ONLY);
    assert_int_equal(write.leader_hint.value, 1);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a tenant that rejects islands has none, however long the cut. */
static void test_islands_rejected_stay_read_only(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(false, 3);
    s_cut_t cut = s_cut_off_ap(cluster);
    simulated_cluster_run_ms(cluster, 10000);
    assert_int_equal(s_write(cluster, s_ap, ACK_LOCAL, NULL, 0).code, CODE_READ_ONLY);
    s_heal(&cut);
    s_expect_count(cluster, 0);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a pair that was logged at the leader and at the island counts once, and afterwards every
 * retry anywhere gets one and the same identity. */
static void test_islands_pair_on_both_sides_counts_once(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(true, 5);
    s_cut_t cut = s_cut_off_ap(cluster);
    simulated_write_t leader = s_write(cluster, s_us, ACK_LOCAL, "client", 1);
    simulated_write_t island = s_write(cluster, s_ap, ACK_REPLICATED, "client", 1);
    assert_int_equal(leader.code, CODE_OK);
    assert_int_equal(island.code, CODE_OK);
    assert_true(island.island && !island.duplicate);
    s_heal(&cut);
    s_expect_count(cluster, 1);
    simulated_cluster_run_ms(cluster, 1000);
    simulated_write_t again = s_write(cluster, s_us, ACK_ALL, "client", 1);
    assert_int_equal(again.code, CODE_OK);
    assert_true(again.duplicate && !again.island);
    assert_true(stream_id_equal(again.stream, leader.stream)); /* logged first: its HLC is lower */
    assert_int_equal(again.first_seq, leader.first_seq);
    s_expect_count(cluster, 1);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a retry of an island's write is a duplicate there while the cut lasts; after the heal the
 * leader answers it with the island copy's identity, at the level that is asked. */
static void test_islands_retry_is_answered_with_the_island_copy(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(true, 6);
    s_cut_t cut = s_cut_off_ap(cluster);
    simulated_write_t first = s_write(cluster, s_ap, ACK_REPLICATED, "client", 9);
    simulated_write_t again = s_write(cluster, s_ap, ACK_ALL, "client", 9);
    assert_int_equal(again.code, CODE_OK);
    assert_true(again.duplicate && again.island);
    assert_int_equal(again.durability, ACK_LOCAL);
    assert_int_equal(again.first_seq, first.first_seq);
    s_heal(&cut);
    s_converge(cluster);
    simulated_cluster_run_ms(cluster,
                             1000); /* the leader hears the region again: it logs a reissue */
    again = s_write(cluster, s_us, ACK_ALL, "client", 9);
    assert_int_equal(again.code, CODE_OK);
    assert_true(again.duplicate && !again.island);
    assert_int_equal(again.durability, ACK_ALL);
    assert_true(stream_id_equal(again.stream, first.stream));
    assert_int_equal(again.first_seq, first.first_seq);
    s_expect_count(cluster, 1);
    simulated_cluster_destroy(&cluster);
}

/* Goal: an island that was started during the cut has nobody to ask how far its stream goes; it
 * refuses until five seconds after the start, and goes on in a new incarnation. */
static void test_islands_restarted_begins_a_new_incarnation(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(true, 8);
    s_cut_t cut = s_cut_off_ap(cluster);
    simulated_write_t first = s_write(cluster, s_ap, ACK_LOCAL, NULL, 0);
    assert_int_equal(first.code, CODE_OK);
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, s_ap);
    simulated_crash_destroy(&crash);
    simulated_cluster_run_ms(cluster, 2000);
    assert_int_equal(s_write(cluster, s_ap, ACK_LOCAL, NULL, 0).code, CODE_UNAVAILABLE);
    simulated_cluster_run_ms(cluster, 4000);
    simulated_write_t second = s_write(cluster, s_ap, ACK_LOCAL, NULL, 0);
    assert_int_equal(second.code, CODE_OK);
    assert_true(second.island);
    assert_false(stream_id_equal(first.stream, second.stream));
    s_heal(&cut);
    s_expect_count(cluster, 2);
    simulated_cluster_destroy(&cluster);
}

enum { S_ROUND_WRITES = 30, S_REQUEST_EVENTS = 3 };

/* One request of a pool of pairs, on either side; several events, some late, at a time of its own on
 * each side, as gateways fill it in. True when the pair was not sent before. */
static bool s_write_any(simulated_cluster_t *cluster, prng_t *prng, uint64_t *sent)
{
    enum { S_EVENTS = S_REQUEST_EVENTS, S_PAIRS = 40 };
    node_id_t node = prng_below(prng, 2) == 0 ? s_us : s_ap;
    uint64_t pair = prng_below(prng, S_PAIRS);
    signal_event_t events[S_EVENTS];
    for (uint32_t i = 0; i < S_EVENTS; i++) {
        int64_t late_ns = (int64_t)prng_below(prng, 4) * (int64_t)prng_below(prng, 90000000000000);
        events[i] = (signal_event_t){.item = {7},
                                     .user = {1 + pair % 3},
                                     .ts_ns = simulated_cluster_now_ns(cluster) - late_ns,
                                     .weight = 1.0 + (double)pair * 0x1.0p-30,
                                     .signal = S_VIEW};
    }
    simulated_write_t write = simulated_cluster_write_to(
        cluster, node, events, S_EVENTS, (simulated_form_t){ACK_LOCAL, "pool", pair});
    assert_int_equal(write.code, CODE_OK);
    bool is_new = (*sent >> pair & 1) == 0;
    *sent |= UINT64_C(1) << pair;
    return is_new;
}

/* One cut with writes on both sides. Returns how many pairs were sent for the first time. */
static uint64_t s_write_round(simulated_cluster_t *cluster, prng_t *prng, uint64_t *sent)
{
    uint64_t requests = 0;
    s_cut_t cut = s_cut_off_ap(cluster);
    for (uint32_t i = 0; i < S_ROUND_WRITES; i++) {
        requests += s_write_any(cluster, prng, sent) ? 1 : 0;
        uint8_t digest[MSG_HASH_SIZE]; /* heartbeats compute it now and then */
        simulated_cluster_digest(cluster, prng_below(prng, 2) == 0 ? s_us : s_ap, digest);
        simulated_cluster_run_ms(cluster, (int64_t)prng_below(prng, 400));
    }
    s_heal(&cut);
    return requests;
}

/* Goal: whatever the two sides logged of one pool of requests, with whatever event times, each
 * counts once and all replicas are equal. Method: two cuts in a row, fifty histories. */
static void test_islands_random_histories_count_every_request_once(void **state)
{
    (void)state;
    enum { S_HISTORIES = 50 };
    for (uint64_t seed = 1; seed <= S_HISTORIES; seed++) {
        prng_t prng;
        prng_init(&prng, seed);
        simulated_cluster_t *cluster = s_cluster(true, seed);
        uint64_t sent = 0;
        uint64_t requests = 0;
        for (int round = 0; round < 2; round++) {
            requests += s_write_round(cluster, &prng, &sent);
            s_expect_count(cluster, requests * S_REQUEST_EVENTS);
        }
        simulated_cluster_destroy(&cluster);
    }
}

/* -- registers --------------------------------------------------------------------------------- */

static simulated_write_t s_relate(simulated_cluster_t *cluster,
                                  node_id_t node,
                                  bool hides,
                                  int64_t wall_ns)
{
    buffer_t payload;
    buffer_init(&payload);
    hlc_stamp_t hlc = {wall_ns, 0, 1};
    record_t record = {.type = RECORD_RELATION};
    record.as.relation.user = (user_id_t){5};
    record.as.relation.target = 7;
    record.as.relation.hlc = hlc;
    record.as.relation.action = RELATION_HIDE;
    record.as.relation.set = hides;
    record_append(&payload, &record);
    msg_write_t form = {
        .level = ACK_LOCAL, .hlc = hlc, .event_count = 1, .payload = buffer_slice(&payload)};
    simulated_write_t write = simulated_cluster_write_form(cluster, node, &form);
    buffer_done(&payload);
    assert_int_equal(write.code, CODE_OK);
    return write;
}

static bool s_is_hidden(simulated_cluster_t *cluster, node_id_t node)
{
    msg_read_t read = {.kind = READ_RELATION, .at_ns = simulated_cluster_now_ns(cluster)};
    read.as.relation.user = (user_id_t){5};
    read.as.relation.item = (item_id_t){7};
    const msg_read_reply_t *reply = NULL;
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_OK);
    return reply->as.relation.hidden;
}

/* Goal: hidden on one side and shown on the other, the higher HLC decides after the heal, and hide
 * wins an exact tie, whichever side was the island. Method: unhide below, above, and at the hide. */
static void test_islands_hide_and_unhide_are_decided_by_hlc(void **state)
{
    (void)state;
    for (int64_t off = -1; off <= 1; off++) {
        for (int side = 0; side <= 1; side++) {
            simulated_cluster_t *cluster = s_cluster(true, 11);
            s_cut_t cut = s_cut_off_ap(cluster);
            int64_t wall_ns = simulated_cluster_now_ns(cluster);
            (void)s_relate(cluster, side == 0 ? s_us : s_ap, true, wall_ns);
            (void)s_relate(cluster, side == 0 ? s_ap : s_us, false, wall_ns + off);
            s_heal(&cut);
            s_converge(cluster);
            bool hidden = off <= 0;
            assert_int_equal(s_is_hidden(cluster, s_us), hidden);
            assert_int_equal(s_is_hidden(cluster, s_eu), hidden);
            assert_int_equal(s_is_hidden(cluster, s_ap), hidden);
            simulated_cluster_destroy(&cluster);
        }
    }
}

/* -- promotion --------------------------------------------------------------------------------- */

/* As a client does: at the node that is thought to lead, then where a hint points, until it is
 * acknowledged. */
static simulated_write_t s_write_until_ok(simulated_cluster_t *cluster,
                                          const char *producer,
                                          uint64_t producer_seq)
{
    simulated_write_t write = {.code = CODE_TIMEOUT};
    for (int tries = 0; tries < 100 && write.code != CODE_OK; tries++) {
        node_id_t leader = simulated_cluster_leader(cluster, (shard_id_t){0});
        write = s_write(cluster, leader, ACK_REPLICATED, producer, producer_seq);
        if (write.code != CODE_OK) {
            simulated_cluster_run_ms(cluster, 20);
        }
    }
    assert_int_equal(write.code, CODE_OK);
    return write;
}

/* Goal: leadership moves around the regions in the middle of a load: every request is acknowledged
 * once asked often enough, none is lost and none counts twice. */
static void test_promotion_under_load_loses_and_doubles_nothing(void **state)
{
    (void)state;
    enum { S_ROUNDS = 18, S_WRITES = 6 };
    simulated_cluster_t *cluster = s_cluster(false, 13);
    uint64_t seq = 0;
    for (uint32_t round = 0; round < S_ROUNDS; round++) {
        for (uint32_t i = 0; i < S_WRITES; i++) {
            simulated_write_t write = s_write_until_ok(cluster, "load", ++seq);
            assert_int_equal(write.durability, ACK_ALL);
        }
        s_promote(cluster, (region_id_t){(uint16_t)(1 + (round + 1) % 3)});
    }
    s_expect_count(cluster, seq);
    simulated_cluster_destroy(&cluster);
}

/* Goal: the new leader takes writes at once, in a stream of its own that was settled long before;
 * the old one follows and names it. */
static void test_promotion_takes_effect_within_a_heartbeat(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(false, 14);
    (void)s_write_until_ok(cluster, "a", 1);
    s_promote(cluster, s_eu.region);
    simulated_cluster_run_ms(cluster, 50);
    simulated_write_t write = s_write(cluster, s_eu, ACK_REPLICATED, "a", 2);
    assert_int_equal(write.code, CODE_OK);
    assert_int_equal(write.durability, ACK_ALL);
    assert_int_equal(write.stream.origin.region.value, 2);
    write = s_write(cluster, s_us, ACK_LOCAL, "a", 3);
    assert_int_equal(write.code, CODE_READ_ONLY);
    assert_int_equal(write.leader_hint.value, 2);
    /* A retry of what the old leader logged gets its identity, at every level. */
    write = s_write(cluster, s_eu, ACK_ALL, "a", 1);
    assert_int_equal(write.code, CODE_OK);
    assert_true(write.duplicate);
    assert_int_equal(write.stream.origin.region.value, 1);
    assert_int_equal(write.first_seq, 1);
    s_expect_count(cluster, 2);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a leader that does not hear that it was replaced acknowledges nothing at `replicated`, and
 * soon refuses everything; the new one acknowledges only once the old one's region knows the epoch.
 * In the end each request counts once. */
static void test_promotion_zombie_leader_acknowledges_nothing(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(false, 15);
    (void)s_write_until_ok(cluster, "a", 1);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, (region_id_t){0}, s_us.region);
    s_promote(cluster, s_eu.region);
    simulated_write_t zombie = s_write(cluster, s_us, ACK_REPLICATED, "a", 2);
    assert_int_equal(zombie.code, CODE_NOT_REPLICATED);
    assert_int_equal(s_write(cluster, s_us, ACK_LOCAL, "a", 3).code, CODE_READ_ONLY);
    /* us-east has not stored the epoch: its confirmations prove nothing to the new leader. */
    simulated_write_t write = s_write(cluster, s_eu, ACK_REPLICATED, "a", 4);
    assert_int_equal(write.code, CODE_NOT_REPLICATED);
    simulated_partition_destroy(&cut);
    simulated_cluster_run_ms(cluster, 1500);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        write = s_write_until_ok(cluster, "a", seq);
        assert_int_equal(write.duplicate, seq != 3);
    }
    write = s_write(cluster, s_eu, ACK_REPLICATED, "a", 2);
    assert_true(stream_id_equal(write.stream, zombie.stream));
    assert_int_equal(write.first_seq, zombie.first_seq);
    s_expect_count(cluster, 4);
    simulated_cluster_destroy(&cluster);
}

/* One view of item 7 under a pair, on its way to a node. */
static void s_begin(simulated_cluster_t *cluster,
                    node_id_t node,
                    const char *producer,
                    uint64_t producer_seq)
{
    signal_event_t event = {.item = {7},
                            .ts_ns = simulated_cluster_now_ns(cluster) - 1000000000,
                            .weight = 1.0,
                            .signal = S_VIEW};
    buffer_t payload = {0};
    record_append_signals(&payload, &event, 1);
    msg_write_t form = {.level = ACK_REPLICATED,
                        .has_producer = true,
                        .producer = slice_make(producer, strlen(producer)),
                        .producer_seq = producer_seq,
                        .event_count = 1,
                        .payload = buffer_slice(&payload)};
    memcpy(form.content_hash, &event.item, sizeof(event.item));
    simulated_cluster_begin_write(cluster, node, &form);
    buffer_done(&payload);
}

/* Goal: a leader that was replaced while a write waited does not answer for it, although every region
 * holds it in the end: the new one may have logged another copy. The retry gets the logged one. */
static void test_promotion_leaves_what_waits_to_the_new_leader(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(false, 17);
    (void)s_write_until_ok(cluster, "a", 1);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, s_us.region, s_ap.region);
    s_begin(cluster, s_us, "a", 2);
    simulated_cluster_run_ms(cluster, 50);
    s_promote(cluster, s_eu.region);
    simulated_cluster_run_ms(cluster, 50);
    simulated_partition_destroy(&cut);
    simulated_write_t write = simulated_cluster_end_write(cluster);
    assert_int_equal(write.code, CODE_READ_ONLY);
    assert_int_equal(write.leader_hint.value, 2);
    write = s_write_until_ok(cluster, "a", 2);
    assert_true(write.duplicate);
    assert_int_equal(write.stream.origin.region.value, 1);
    assert_int_equal(write.first_seq, 2);
    s_expect_count(cluster, 2);
    simulated_cluster_destroy(&cluster);
}

static void s_expect_same_copy(const simulated_write_t *write, const simulated_write_t *named)
{
    assert_int_equal(write->code, CODE_OK);
    assert_true(stream_id_equal(write->stream, named->stream));
    assert_int_equal(write->first_seq, named->first_seq);
    assert_int_equal(write->last_seq, named->last_seq);
}

/* Goal: while a retry waits at the new leader, the old one's copy arrives, with a lower HLC: the new
 * one's counts, and is answered. Method: the old copy is held back, then the new leader's confirmations. */
static void test_promotion_answers_with_the_copy_that_counts(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(false, 18);
    process_address_t shipper = {PROCESS_SHIPPER, {1}, {0}};
    process_address_t receiver = {PROCESS_RECEIVER, {3}, {0}};
    (void)s_write_until_ok(cluster, "a", 1);
    simulated_cluster_stop(cluster, shipper);
    simulated_write_t old = s_write(cluster, s_us, ACK_LOCAL, "a", 2);
    assert_int_equal(old.code, CODE_OK);
    s_promote(cluster, s_eu.region);
    simulated_cluster_run_ms(cluster, 50);
    simulated_cluster_stop(cluster, receiver);
    s_begin(cluster, s_eu, "a", 2);
    simulated_cluster_run_ms(cluster, 50);
    simulated_cluster_start(cluster, shipper);
    simulated_cluster_run_ms(cluster, 1500); /* nodes repeat their positions each second */
    simulated_cluster_start(cluster, receiver);
    simulated_write_t write = simulated_cluster_end_write(cluster);
    assert_int_equal(write.code, CODE_OK);
    assert_false(write.duplicate);
    assert_int_equal(write.stream.origin.region.value, 2);
    s_expect_count(cluster, 2);
    simulated_write_t again = s_write_until_ok(cluster, "a", 2);
    s_expect_same_copy(&again, &write);
    simulated_cluster_destroy(&cluster);
}

/* Goal: what the new leader has acknowledged stays the answer when the old leader's copy, logged
 * before, arrives afterwards; also of the leader after it, and of the old one when it leads again.
 * Method: the old leader's shipper is down while the new one logs and acknowledges. */
static void test_promotion_keeps_the_copy_that_was_acknowledged(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(false, 19);
    process_address_t shipper = {PROCESS_SHIPPER, {1}, {0}};
    (void)s_write_until_ok(cluster, "a", 1);
    simulated_cluster_stop(cluster, shipper);
    simulated_write_t old = s_write(cluster, s_us, ACK_LOCAL, "a", 2);
    assert_int_equal(old.code, CODE_OK);
    s_promote(cluster, s_eu.region);
    simulated_write_t named = s_write_until_ok(cluster, "a", 2);
    assert_int_equal(named.stream.origin.region.value, 2);
    assert_true(hlc_compare(old.hlc, named.hlc) < 0);
    simulated_cluster_start(cluster, shipper);
    s_converge(cluster);
    for (uint16_t leader = 2; leader <= 4; leader++) {
        s_promote(cluster, (region_id_t){(uint16_t)(leader > 3 ? 1 : leader)});
        simulated_write_t again = s_write_until_ok(cluster, "a", 2);
        assert_true(again.duplicate);
        s_expect_same_copy(&again, &named);
    }
    s_expect_count(cluster, 2);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a write that waits at a leader through two changes of leader, of which the second names it
 * again, is left to a retry: the leader in between may have acknowledged another copy, which this
 * one need not have applied yet. */
static void test_promotion_there_and_back_answers_nothing_from_before(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(false, 20);
    (void)s_write_until_ok(cluster, "a", 1);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, s_us.region, s_ap.region);
    s_begin(cluster, s_us, "a", 2);
    simulated_cluster_run_ms(cluster, 50);
    s_promote(cluster, s_eu.region);
    simulated_cluster_run_ms(cluster, 50);
    s_promote(cluster, s_us.region);
    simulated_cluster_run_ms(cluster, 50);
    simulated_partition_destroy(&cut);
    simulated_write_t write = simulated_cluster_end_write(cluster);
    assert_int_equal(write.code, CODE_UNAVAILABLE);
    write = s_write_until_ok(cluster, "a", 2);
    assert_true(write.duplicate);
    assert_int_equal(write.stream.origin.region.value, 1);
    s_expect_count(cluster, 2);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a leader that logged neither of two copies answers with the one that it has, and that stays
 * the answer when the other comes, though it was logged under a later epoch. Every later leader passes
 * the name on. Method: us-east's copy reaches ap-south alone, eu-west logs another that reaches nobody,
 * ap-south leads and answers. */
static void test_promotion_answer_from_an_earlier_epoch_stays(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(false, 22);
    process_address_t shipper = {PROCESS_SHIPPER, {2}, {0}};
    (void)s_write_until_ok(cluster, "a", 1);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, s_us.region, s_eu.region);
    simulated_cluster_stop(cluster, shipper);
    simulated_write_t first = s_write(cluster, s_us, ACK_LOCAL, "a", 2);
    assert_int_equal(first.code, CODE_OK);
    /* ap-south is no source for eu-west either. */
    simulated_partition_t *other =
        simulated_cluster_inject_partition(cluster, s_ap.region, s_eu.region);
    simulated_cluster_run_ms(cluster, 100);
    s_promote(cluster, s_eu.region);
    simulated_cluster_run_ms(cluster, 100);
    simulated_write_t second = s_write(cluster, s_eu, ACK_LOCAL, "a", 2);
    assert_true(second.code == CODE_OK && !second.duplicate);
    s_promote(cluster, s_ap.region);
    simulated_partition_destroy(&cut);
    simulated_partition_destroy(&other);
    simulated_cluster_run_ms(cluster, 100);
    simulated_write_t named = s_write_until_ok(cluster, "a", 2);
    s_expect_same_copy(&named, &first);
    assert_true(named.duplicate);
    assert_int_equal(simulated_cluster_applied_of(cluster, s_ap, second.stream), 0);
    simulated_cluster_start(cluster, shipper);
    s_expect_count(cluster, 2);
    assert_int_equal(simulated_cluster_applied_of(cluster, s_ap, second.stream), 1);
    for (uint16_t leader = 1; leader <= 3; leader++) {
        s_promote(cluster, (region_id_t){leader});
        simulated_write_t again = s_write_until_ok(cluster, "a", 2);
        s_expect_same_copy(&again, &first);
    }
    s_expect_count(cluster, 2);
    simulated_cluster_destroy(&cluster);
}

/* Goal: the same of two islands: what the leader answered with the one copy stays the answer when the
 * other comes with a lower HLC. Method: all three are apart, so that both followers are islands. */
static void test_islands_answer_with_one_of_two_copies_stays(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(true, 23);
    process_address_t shipper = {PROCESS_SHIPPER, {3}, {0}};
    simulated_partition_t *between =
        simulated_cluster_inject_partition(cluster, s_us.region, s_eu.region);
    s_cut_t cut = s_cut_off_ap(cluster);
    simulated_write_t late = s_write(cluster, s_ap, ACK_REPLICATED, "client", 1);
    simulated_write_t first = s_write(cluster, s_eu, ACK_REPLICATED, "client", 1);
    assert_true(late.island && first.island && hlc_compare(late.hlc, first.hlc) < 0);
    simulated_cluster_stop(cluster, shipper);
    s_heal(&cut);
    simulated_partition_destroy(&between);
    simulated_cluster_run_ms(cluster, 3000);
    simulated_write_t named = s_write_until_ok(cluster, "client", 1);
    s_expect_same_copy(&named, &first);
    simulated_cluster_start(cluster, shipper);
    s_expect_count(cluster, 1);
    assert_int_equal(simulated_cluster_applied_of(cluster, s_us, late.stream), 1);
    simulated_write_t again = s_write_until_ok(cluster, "client", 1);
    s_expect_same_copy(&again, &first);
    s_expect_count(cluster, 1);
    simulated_cluster_destroy(&cluster);
}

/* Goal: what the leader has acknowledged stays the answer when an island's copy, logged before,
 * arrives afterwards. Method: the island's shipper is down from before the heal until then. */
static void test_islands_copy_never_displaces_an_acknowledged_one(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(true, 21);
    process_address_t shipper = {PROCESS_SHIPPER, {3}, {0}};
    s_cut_t cut = s_cut_off_ap(cluster);
    simulated_write_t island = s_write(cluster, s_ap, ACK_REPLICATED, "client", 1);
    assert_true(island.code == CODE_OK && island.island);
    simulated_cluster_stop(cluster, shipper);
    s_heal(&cut);
    simulated_write_t named = s_write_until_ok(cluster, "client", 1);
    assert_int_equal(named.stream.origin.region.value, 1);
    assert_true(hlc_compare(island.hlc, named.hlc) < 0);
    simulated_cluster_start(cluster, shipper);
    s_converge(cluster);
    simulated_write_t again = s_write_until_ok(cluster, "client", 1);
    s_expect_same_copy(&again, &named);
    s_expect_count(cluster, 1);
    simulated_cluster_destroy(&cluster);
}

/* Goal: the old leader is killed with events that nobody else has; the client repeats its requests
 * at the new leader; the old one returns as a follower and its tail merges: one effect each, and one
 * answer everywhere. */
static void test_promotion_after_a_kill_ends_with_one_effect(void **state)
{
    (void)state;
    enum { S_TAIL = 5 };
    simulated_cluster_t *cluster = s_cluster(false, 16);
    process_address_t shipper = {PROCESS_SHIPPER, {1}, {0}};
    (void)s_write_until_ok(cluster, "a", 1);
    simulated_cluster_stop(cluster, shipper);
    for (uint64_t seq = 2; seq < 2 + S_TAIL; seq++) {
        assert_int_equal(s_write(cluster, s_us, ACK_LOCAL, "a", seq).code, CODE_OK);
    }
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, s_us);
    s_promote(cluster, s_eu.region);
    uint64_t named_seqs[2 + S_TAIL];
    for (uint64_t seq = 2; seq < 2 + S_TAIL; seq++) {
        simulated_write_t write = s_write_until_ok(cluster, "a", seq);
        assert_false(write.duplicate);
        assert_int_equal(write.stream.origin.region.value, 2);
        named_seqs[seq] = write.first_seq;
    }
    simulated_crash_destroy(&crash);
    simulated_cluster_start(cluster, shipper);
    simulated_cluster_run_ms(cluster, 3000);
    s_expect_count(cluster, 1 + S_TAIL);
    for (uint64_t seq = 2; seq < 2 + S_TAIL; seq++) {
        simulated_write_t write = s_write_until_ok(cluster, "a", seq);
        assert_true(write.duplicate);
        assert_int_equal(write.stream.origin.region.value, 2); /* logged under the higher epoch */
        assert_int_equal(write.first_seq, named_seqs[seq]);
    }
    assert_int_equal(s_write(cluster, s_us, ACK_LOCAL, "a", 99).code, CODE_READ_ONLY);
    s_expect_count(cluster, 1 + S_TAIL);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_islands_both_sides_write_and_merge),
        cmocka_unit_test(test_islands_rejected_stay_read_only),
        cmocka_unit_test(test_islands_pair_on_both_sides_counts_once),
        cmocka_unit_test(test_islands_retry_is_answered_with_the_island_copy),
        cmocka_unit_test(test_islands_restarted_begins_a_new_incarnation),
        cmocka_unit_test(test_islands_random_histories_count_every_request_once),
        cmocka_unit_test(test_islands_hide_and_unhide_are_decided_by_hlc),
        cmocka_unit_test(test_promotion_under_load_loses_and_doubles_nothing),
        cmocka_unit_test(test_promotion_takes_effect_within_a_heartbeat),
        cmocka_unit_test(test_promotion_zombie_leader_acknowledges_nothing),
        cmocka_unit_test(test_promotion_leaves_what_waits_to_the_new_leader),
        cmocka_unit_test(test_promotion_answers_with_the_copy_that_counts),
        cmocka_unit_test(test_promotion_keeps_the_copy_that_was_acknowledged),
        cmocka_unit_test(test_promotion_there_and_back_answers_nothing_from_before),
        cmocka_unit_test(test_promotion_answer_from_an_earlier_epoch_stays),
        cmocka_unit_test(test_islands_copy_never_displaces_an_acknowledged_one),
        cmocka_unit_test(test_islands_answer_with_one_of_two_copies_stays),
        cmocka_unit_test(test_promotion_after_a_kill_ends_with_one_effect),
    };
    return cmocka_run_group_tests_name("islands", tests, NULL, NULL);
}
