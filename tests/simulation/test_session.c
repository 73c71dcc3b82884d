/* The suite `session`, in process: sessions and hard negatives across regions. The same behaviours
 * over ZeroMQ and real files are in tests/mesh/test_session.py. */
#include "common/wal/wal_log.h"
#include "tests/simulation/session_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1 };
#define S_MS INT64_C(1000000)

static const simulated_form_t s_replicated = {ACK_REPLICATED, NULL, 0};

static simulated_cluster_t *s_cluster(uint16_t regions, uint16_t shards, uint32_t idle_ms)
{
    simulated_cluster_options_t options = {.region_count = regions,
                                           .shard_count = shards,
                                           .seed = 11,
                                           .segment_size_bytes = SEGMENT_SIZE_MIN,
                                           .session_idle_ms = idle_ms};
    return simulated_cluster_new(&options);
}

static node_id_t s_home(const simulated_cluster_t *cluster)
{
    return session_calls_home(cluster);
}

/* At the leader of the home shard. */
static simulated_write_t s_signal(simulated_cluster_t *cluster,
                                  const session_id_t *id,
                                  uint64_t item,
                                  simulated_form_t form)
{
    return session_calls_signal(cluster, s_home(cluster), id, item, form);
}

static simulated_write_t s_close(simulated_cluster_t *cluster, const session_id_t *id)
{
    return session_calls_close(cluster, s_home(cluster), id, ACK_REPLICATED);
}

static void s_assert_converges(simulated_cluster_t *cluster)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 5000, NULL), ERR_OK);
}

/* Started in one region, five signals: within 200 ms every other region has the same rows, in HLC
 * order, and the leader told the same numbers. */
static void session_cross_region_visibility(void **state)
{
    (void)state;
    enum { S_SIGNALS = 5 };
    simulated_cluster_t *cluster = s_cluster(3, 2, 0);
    session_id_t id = session_calls_id(1);
    assert_int_equal(session_calls_start(cluster, &id, s_replicated).code, CODE_OK);
    stream_id_t origin = {{0}, 0, {{0}, {0}}};
    for (uint32_t i = 1; i <= S_SIGNALS; i++) {
        simulated_write_t write =
            s_signal(cluster, &id, 100 + i, (simulated_form_t){ACK_LOCAL, NULL, 0});
        assert_int_equal(write.code, CODE_OK);
        assert_int_equal(write.session.session_seq, i);
        assert_int_equal(write.session.signals, i);
        origin = write.stream;
    }
    int64_t written_ns = simulated_cluster_now_ns(cluster);
    for (uint16_t region = 1; region <= 3; region++) {
        const msg_read_reply_t *reply = session_calls_get(cluster, region, &id);
        while (!reply->as.session.found || reply->as.session.row_count < S_SIGNALS) {
            simulated_cluster_run_ms(cluster, 1);
            assert_true(simulated_cluster_now_ns(cluster) - written_ns < 200 * S_MS);
            reply = session_calls_get(cluster, region, &id);
        }
        assert_int_equal(reply->as.session.row_count, S_SIGNALS);
        assert_true(slice_equal(reply->as.session.agent, slice_text("web")));
        assert_false(reply->as.session.closed);
        for (uint32_t i = 0; i < S_SIGNALS; i++) {
            const msg_session_row_t *row = &reply->as.session.rows[i];
            assert_int_equal(row->session_seq, i + 1);
            assert_int_equal(row->signal.item.value, 101 + i);
            assert_true(stream_id_equal(row->origin, origin));
        }
    }
    s_assert_converges(cluster);
    /* Session signals are in no cell. */
    assert_int_equal(
        simulated_cluster_metric(
            cluster, (process_address_t){PROCESS_NODE, {2}, s_home(cluster).shard}, "node_signals"),
        0);
    simulated_cluster_destroy(&cluster);
}

/* The same request again, from anywhere and in any form, and blocks that are shipped again: nothing
 * changes, and the answer is the first one. */
static void session_replication_idempotent(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 1, 0);
    session_id_t id = session_calls_id(2);
    const simulated_form_t start = {ACK_REPLICATED, "p", 1};
    const simulated_form_t signal = {ACK_REPLICATED, "p", 2};
    assert_int_equal(session_calls_start(cluster, &id, start).code, CODE_OK);
    simulated_write_t first = s_signal(cluster, &id, 5, signal);
    assert_int_equal(first.code, CODE_OK);
    s_assert_converges(cluster);
    uint8_t before[MSG_HASH_SIZE];
    uint8_t after[MSG_HASH_SIZE];
    node_id_t follower = {{2}, s_home(cluster).shard};
    simulated_cluster_digest(cluster, follower, before);
    for (int i = 0; i < 3; i++) {
        simulated_cluster_run_ms(cluster, 20); /* another stamp each time */
        simulated_write_t again = s_signal(cluster, &id, 5, signal);
        assert_int_equal(again.code, CODE_OK);
        assert_true(again.duplicate);
        assert_int_equal(again.first_seq, first.first_seq);
        assert_int_equal(again.session.session_seq, 1);
        assert_true(session_calls_start(cluster, &id, start).duplicate);
        simulated_cluster_replay_last_batch(cluster, s_home(cluster).region);
    }
    s_assert_converges(cluster);
    simulated_cluster_digest(cluster, follower, after);
    assert_memory_equal(before, after, MSG_HASH_SIZE);
    assert_int_equal(session_calls_get(cluster, 3, &id)->as.session.row_count, 1);
    simulated_cluster_destroy(&cluster);
}

/* 1..5 are taken, 3 once more is refused, 6 is taken and the mark is 6: by the replies, by what every
 * region holds, and after a restart from the log. */
static void session_seqno_hwm_rejects_duplicates(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    session_id_t id = session_calls_id(3);
    assert_int_equal(session_calls_start(cluster, &id, s_replicated).code, CODE_OK);
    for (uint64_t i = 1; i <= 5; i++) {
        simulated_write_t write =
            s_signal(cluster, &id, i, (simulated_form_t){ACK_REPLICATED, "p", i});
        assert_int_equal(write.session.session_seq, i);
    }
    simulated_write_t third = s_signal(cluster, &id, 3, (simulated_form_t){ACK_REPLICATED, "p", 3});
    assert_true(third.duplicate && third.session.session_seq == 3 && third.session.signals == 5);
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, s_home(cluster));
    simulated_cluster_run_ms(cluster, 500);
    simulated_crash_destroy(&crash);
    simulated_cluster_run_ms(cluster, 3000);
    third = s_signal(cluster, &id, 3, (simulated_form_t){ACK_REPLICATED, "p", 3});
    assert_true(third.duplicate && third.session.signals == 5);
    simulated_write_t sixth = s_signal(cluster, &id, 6, (simulated_form_t){ACK_REPLICATED, "p", 6});
    assert_int_equal(sixth.code, CODE_OK);
    assert_int_equal(sixth.session.session_seq, 6);
    s_assert_converges(cluster);
    for (uint16_t region = 1; region <= 2; region++) {
        const msg_read_reply_t *reply = session_calls_get(cluster, region, &id);
        assert_int_equal(reply->as.session.row_count, 6);
        for (uint32_t i = 0; i < 6; i++) {
            assert_int_equal(reply->as.session.rows[i].session_seq, i + 1);
        }
        assert_int_equal(simulated_cluster_metric(cluster,
                                                  (process_address_t){PROCESS_NODE, {region}, {0}},
                                                  "node_session_signals_repeated"),
                         0);
    }
    simulated_cluster_destroy(&cluster);
}

/* One batch per number, each a signal of the session, in a new stream of a node that is down. */
static stream_id_t s_log_signals(simulated_cluster_t *cluster,
                                 node_id_t node,
                                 const session_id_t *id,
                                 const uint32_t *session_seqs,
                                 size_t count)
{
    const now_t now = {0, simulated_cluster_now_ns(cluster)};
    stream_id_t stream = {
        .tenant = TENANT_DEFAULT, .incarnation = 0xf0f0f0f0f0f0f0f0, .origin = node};
    wal_log_options_t options = {
        .place = {.disk = sim_disk_disk(simulated_cluster_disk(cluster, node.region)),
                  .folder = "data/eu-west/shard-0/tenants/default-1/eu-west-f0f0f0f0f0f0f0f0",
                  .stream = stream,
                  .tenant_name = "default",
                  .region_name = "eu-west"},
        .segment_size_bytes = SEGMENT_SIZE_MIN};
    wal_log_t *log = NULL;
    errbuf_t errbuf = {{0}};
    assert_int_equal(wal_log_open(&options, now, &log, NULL, &errbuf), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        record_t record = {.type = RECORD_SESSION_SIGNAL, .event_count = 1};
        hlc_stamp_t hlc = {now.wall_ns, (uint32_t)i, 0x1ffff};
        record.as.session_signal.session = *id;
        record.as.session_signal.hlc = hlc;
        record.as.session_signal.session_seq = session_seqs[i];
        record.as.session_signal.item.value = 10 * i + session_seqs[i];
        record.as.session_signal.ts_ns = now.wall_ns;
        record.as.session_signal.weight = 1.0;
        record.as.session_signal.signal = S_VIEW;
        buffer_t payload = {0};
        record_append(&payload, &record);
        wal_batch_t batch = {
            .epoch = 1, .event_count = 1, .hlc = hlc, .payload = buffer_slice(&payload)};
        assert_int_equal(wal_log_append(log, &batch, now, &errbuf), ERR_OK);
        assert_int_equal(wal_log_flush(log, &errbuf), ERR_OK);
        buffer_done(&payload);
    }
    wal_log_close(&log);
    return stream;
}

/* The same where no pair is looked up: a log holds the numbers 1..5, once more 3, and 6. Each region's
 * tracker of that origin refuses the repeated one and counts it; the mark is 6 all the same. */
static void session_seqno_hwm_rejects_duplicates_of_a_log(void **state)
{
    (void)state;
    static const uint32_t s_seqs[] = {1, 2, 3, 4, 5, 3, 6};
    static const node_id_t s_eu = {{2}, {0}};
    enum { S_COUNT = sizeof(s_seqs) / sizeof(s_seqs[0]) };
    simulated_cluster_t *cluster = s_cluster(3, 1, 0);
    session_id_t id = session_calls_id(10);
    assert_int_equal(session_calls_start(cluster, &id, s_replicated).code, CODE_OK);
    s_assert_converges(cluster);
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, s_eu);
    stream_id_t stream = s_log_signals(cluster, s_eu, &id, s_seqs, S_COUNT);
    simulated_crash_destroy(&crash);
    for (int ms = 0;
         ms < 5000 && simulated_cluster_applied_of(cluster, s_home(cluster), stream) < S_COUNT;
         ms++) {
        simulated_cluster_run_ms(cluster, 1);
    }
    s_assert_converges(cluster);
    for (uint16_t region = 1; region <= 3; region++) {
        process_address_t node = {PROCESS_NODE, {region}, {0}};
        assert_int_equal(simulated_cluster_applied_of(cluster, (node_id_t){{region}, {0}}, stream),
                         S_COUNT);
        assert_int_equal(simulated_cluster_metric(cluster, node, "node_session_signals_repeated"),
                         1);
        const msg_read_reply_t *reply = session_calls_get(cluster, region, &id);
        assert_int_equal(reply->as.session.row_count, 6);
        for (uint32_t i = 0; i < 6; i++) {
            assert_int_equal(reply->as.session.rows[i].session_seq, i + 1);
            assert_int_equal(reply->as.session.rows[i].signal.item.value,
                             i < 5 ? 11 * i + 1 : 10 * 6 + 6);
        }
    }
    simulated_cluster_destroy(&cluster);
}

/* A close gives the summary, the same one again; signals behind it are refused; unknown sessions are
 * NOT_FOUND; nothing of that is logged. */
static void session_close_is_summed_up_once(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    session_id_t id = session_calls_id(4);
    session_id_t unknown = session_calls_id(5);
    assert_int_equal(s_signal(cluster, &unknown, 1, s_replicated).code, CODE_NOT_FOUND);
    assert_int_equal(s_close(cluster, &unknown).code, CODE_NOT_FOUND);
    assert_int_equal(session_calls_start(cluster, &id, s_replicated).code, CODE_OK);
    assert_int_equal(s_signal(cluster, &id, 1, s_replicated).code, CODE_OK);
    assert_int_equal(s_signal(cluster, &id, 2, s_replicated).code, CODE_OK);
    simulated_cluster_run_ms(cluster, 1234);
    simulated_write_t closed = s_close(cluster, &id);
    assert_int_equal(closed.code, CODE_OK);
    assert_true(closed.session.closed && !closed.session.auto_closed);
    assert_int_equal(closed.session.signals, 2);
    assert_true(closed.session.duration_ms >= 1234 && closed.session.duration_ms < 2000);
    simulated_write_t signal = s_signal(cluster, &id, 3, s_replicated);
    assert_int_equal(signal.code, CODE_BAD_REQUEST);
    simulated_cluster_run_ms(cluster, 500);
    simulated_write_t again = s_close(cluster, &id);
    assert_int_equal(again.code, CODE_OK);
    assert_memory_equal(&again.session, &closed.session, sizeof(again.session));
    s_assert_converges(cluster);
    const msg_read_reply_t *reply = session_calls_get(cluster, 2, &id);
    assert_true(reply->as.session.closed && reply->as.session.row_count == 2);
    assert_false(session_calls_get(cluster, 2, &unknown)->as.session.found);
    simulated_cluster_destroy(&cluster);
}

/* The leader closes a session that was idle for too long, once, by a record that every region has;
 * one that gets signals stays open. */
static void session_idle_is_closed_by_its_leader(void **state)
{
    (void)state;
    enum { S_IDLE_MS = 2000 };
    simulated_cluster_t *cluster = s_cluster(3, 1, S_IDLE_MS);
    session_id_t idle = session_calls_id(6);
    session_id_t busy = session_calls_id(7);
    assert_int_equal(session_calls_start(cluster, &idle, s_replicated).code, CODE_OK);
    assert_int_equal(session_calls_start(cluster, &busy, s_replicated).code, CODE_OK);
    assert_int_equal(s_signal(cluster, &idle, 1, s_replicated).code, CODE_OK);
    for (uint32_t i = 0; i < 5; i++) {
        simulated_cluster_run_ms(cluster, 1000);
        assert_int_equal(s_signal(cluster, &busy, 1, s_replicated).code, CODE_OK);
    }
    s_assert_converges(cluster);
    for (uint16_t region = 1; region <= 3; region++) {
        const msg_read_reply_t *reply = session_calls_get(cluster, region, &idle);
        assert_true(reply->as.session.closed && reply->as.session.auto_closed);
        int64_t open_ns =
            reply->as.session.closed_hlc.wall_ns - reply->as.session.started_hlc.wall_ns;
        assert_true(open_ns >= S_IDLE_MS * S_MS && open_ns < (S_IDLE_MS + 1000) * S_MS);
        assert_false(session_calls_get(cluster, region, &busy)->as.session.closed);
    }
    process_address_t home = {PROCESS_NODE, s_home(cluster).region, {0}};
    assert_int_equal(simulated_cluster_metric(cluster, home, "node_sessions_idle_closed"), 1);
    assert_int_equal(s_signal(cluster, &idle, 2, s_replicated).code, CODE_BAD_REQUEST);
    simulated_write_t closed = s_close(cluster, &idle);
    assert_true(closed.session.auto_closed && closed.session.signals == 1);
    assert_true(closed.session.duration_ms < S_IDLE_MS);
    simulated_cluster_destroy(&cluster);
}

/* Another region leads the user's home shard from now on. */
static void s_promote(simulated_cluster_t *cluster, uint16_t region)
{
    shard_id_t shard = s_home(cluster).shard;
    table_t *next = table_next(simulated_cluster_table(cluster));
    table_record_t record = *table_find_record(next, TENANT_DEFAULT, shard);
    errbuf_t errbuf;
    record.leader.value = region;
    record.epoch++;
    record.version++;
    assert_int_equal(table_set_record(next, TENANT_DEFAULT, shard, &record, &errbuf), ERR_OK);
    simulated_cluster_use_table(cluster, next);
}

static simulated_write_t s_signal_until_ok(simulated_cluster_t *cluster,
                                           const session_id_t *id,
                                           simulated_form_t form)
{
    simulated_write_t write = s_signal(cluster, id, 100, form);
    for (int tries = 0; write.code != CODE_OK && tries < 50; tries++) {
        simulated_cluster_run_ms(cluster, 100);
        write = s_signal(cluster, id, 100, form);
    }
    assert_int_equal(write.code, CODE_OK);
    return write;
}

/* Goal: a session's signal that two leaders logged, of which a third one answers with the first, keeps
 * that answer, its number in the session included, when the other copy comes, and under every later
 * leader; it is in the session once. Method: as test_promotion_answer_from_an_earlier_epoch_stays. */
static void session_answer_stays_through_two_changes_of_leader(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(3, 1, 0);
    const process_address_t shipper = {PROCESS_SHIPPER, {2}, {0}};
    const simulated_form_t local = {ACK_LOCAL, "p", 2};
    const simulated_form_t replicated = {ACK_REPLICATED, "p", 2};
    session_id_t id = session_calls_id(9);
    assert_int_equal(s_home(cluster).region.value, 1);
    assert_int_equal(session_calls_start(cluster, &id, s_replicated).code, CODE_OK);
    assert_int_equal(s_signal(cluster, &id, 99, s_replicated).code, CODE_OK);
    s_assert_converges(cluster);
    simulated_partition_t *cut =
        simulated_cluster_inject_partition(cluster, (region_id_t){1}, (region_id_t){2});
    simulated_cluster_stop(cluster, shipper);
    simulated_write_t first = s_signal(cluster, &id, 100, local);
    assert_int_equal(first.code, CODE_OK);
    assert_int_equal(first.session.session_seq, 2);
    simulated_partition_t *other =
        simulated_cluster_inject_partition(cluster, (region_id_t){3}, (region_id_t){2});
    simulated_cluster_run_ms(cluster, 100);
    s_promote(cluster, 2);
    simulated_cluster_run_ms(cluster, 100);
    simulated_write_t second = s_signal(cluster, &id, 100, local);
    assert_true(second.code == CODE_OK && !second.duplicate);
    assert_int_equal(second.session.session_seq, 1);
    s_promote(cluster, 3);
    simulated_partition_destroy(&cut);
    simulated_partition_destroy(&other);
    simulated_cluster_run_ms(cluster, 100);
    simulated_write_t named = s_signal_until_ok(cluster, &id, replicated);
    simulated_cluster_start(cluster, shipper);
    for (uint16_t leader = 0; leader <= 3; leader++) {
        assert_true(named.duplicate && stream_id_equal(named.stream, first.stream));
        assert_int_equal(named.first_seq, first.first_seq);
        assert_int_equal(named.session.session_seq, 2);
        s_assert_converges(cluster);
        for (uint16_t region = 1; region <= 3; region++) {
            const msg_read_reply_t *reply = session_calls_get(cluster, region, &id);
            assert_int_equal(reply->as.session.row_count, 2);
            assert_int_equal(reply->as.session.rows[1].session_seq, 2);
            assert_true(stream_id_equal(reply->as.session.rows[1].origin, first.stream));
        }
        if (leader < 3) {
            s_promote(cluster, (uint16_t)(leader + 1));
            named = s_signal_until_ok(cluster, &id, replicated);
        }
    }
    simulated_cluster_destroy(&cluster);
}

/* A follower that is killed and started again has every session, from its checkpoint and its files.
 */
static void session_restart_is_exact(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    session_id_t id = session_calls_id(8);
    assert_int_equal(session_calls_start(cluster, &id, s_replicated).code, CODE_OK);
    for (uint64_t i = 1; i <= 30; i++) {
        assert_int_equal(s_signal(cluster, &id, i, s_replicated).code, CODE_OK);
        if (i == 20) {
            simulated_cluster_run_ms(cluster, 25000); /* a checkpoint */
        }
    }
    s_assert_converges(cluster);
    for (uint16_t region = 1; region <= 2; region++) {
        process_address_t node = {PROCESS_NODE, {region}, {0}};
        assert_true(simulated_cluster_metric(cluster, node, "node_checkpoints") > 0);
        simulated_crash_t *crash =
            simulated_cluster_inject_shard_crash(cluster, (node_id_t){{region}, {0}});
        simulated_cluster_run_ms(cluster, 200);
        simulated_crash_destroy(&crash);
        simulated_cluster_run_ms(cluster, 3000);
    }
    s_assert_converges(cluster);
    assert_int_equal(session_calls_get(cluster, 2, &id)->as.session.row_count, 30);
    assert_int_equal(s_signal(cluster, &id, 31, s_replicated).session.session_seq, 31);
    simulated_cluster_destroy(&cluster);
}

/* -- hard negatives ---------------------------------------------------------------------------- */

/* Routed to the leader of the item's shard. */
static void s_hide(simulated_cluster_t *cluster, uint64_t item, int64_t wall_ns, bool set)
{
    shard_id_t shard = simulated_cluster_shard_of(cluster, (item_id_t){item});
    node_id_t leader = simulated_cluster_leader(cluster, shard);
    simulated_write_t write =
        session_calls_hide(cluster, leader, item, wall_ns, set, ACK_REPLICATED);
    assert_int_equal(write.code, CODE_OK);
    assert_false(write.island);
}

/* All regions say the same of the item. */
static void s_expect_hidden(simulated_cluster_t *cluster,
                            uint16_t regions,
                            uint64_t item,
                            bool hidden)
{
    s_assert_converges(cluster);
    for (uint16_t region = 1; region <= regions; region++) {
        assert_int_equal(session_calls_is_hidden(cluster, region, item), hidden);
    }
}

/* hide(100) wins over unhide(50), in whichever order they are logged; of equal stamps the hide. */
static void hardneg_monotonicity_hide_wins(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 2, 0);
    s_hide(cluster, 1, 100, true);
    s_hide(cluster, 1, 50, false);
    s_expect_hidden(cluster, 2, 1, true);
    s_hide(cluster, 2, 50, false);
    s_hide(cluster, 2, 100, true);
    s_expect_hidden(cluster, 2, 2, true);
    s_hide(cluster, 3, 100, true);
    s_hide(cluster, 3, 100, false);
    s_expect_hidden(cluster, 2, 3, true);
    s_hide(cluster, 4, 100, false);
    s_hide(cluster, 4, 100, true);
    s_expect_hidden(cluster, 2, 4, true);
    simulated_cluster_destroy(&cluster);
}

/* unhide(200) wins over hide(50), in whichever order they are logged. */
static void hardneg_explicit_unhide_with_higher_hlc(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 2, 0);
    s_hide(cluster, 1, 50, true);
    s_expect_hidden(cluster, 2, 1, true);
    s_hide(cluster, 1, 200, false);
    s_expect_hidden(cluster, 2, 1, false);
    s_hide(cluster, 2, 200, false);
    s_hide(cluster, 2, 50, true);
    s_expect_hidden(cluster, 2, 2, false);
    simulated_cluster_destroy(&cluster);
}

/* What one region writes of an item. */
typedef struct {
    int64_t wall_ns;
    bool set;
} s_word_t;

/* All three regions are apart; the two that do not lead the item's shard say one thing each, as islands,
 * and hold it alone. After the heal every region says the same. Both ways round. */
static void s_check_islands(s_word_t one, s_word_t other, bool hidden)
{
    enum { S_CUT_MS = 1300 }; /* long enough for everybody to notice */
    simulated_cluster_t *cluster = s_cluster(3, 1, 0);
    const s_word_t words[2] = {one, other};
    simulated_partition_t *cuts[3];
    simulated_cluster_set_island(cluster, ISLAND_ACCEPT);
    assert_int_equal(simulated_cluster_leader(cluster, (shard_id_t){0}).region.value, 1);
    for (uint16_t i = 0; i < 3; i++) {
        cuts[i] = simulated_cluster_inject_partition(cluster, (region_id_t){(uint16_t)(i + 1)},
                                                     (region_id_t){(uint16_t)((i + 1) % 3 + 1)});
    }
    simulated_cluster_run_ms(cluster, S_CUT_MS);
    for (uint16_t turn = 0; turn < 2; turn++) {
        for (uint16_t region = 2; region <= 3; region++) {
            s_word_t word = words[(region + turn) % 2];
            simulated_write_t write = session_calls_hide(
                cluster, (node_id_t){{region}, {0}}, 1 + turn, word.wall_ns, word.set, ACK_LOCAL);
            assert_int_equal(write.code, CODE_OK);
            assert_true(write.island);
            assert_int_equal(write.stream.origin.region.value, region);
            assert_int_equal(session_calls_is_hidden(cluster, region, 1 + turn), word.set);
        }
    }
    for (uint16_t i = 0; i < 3; i++) {
        simulated_partition_destroy(&cuts[i]);
    }
    s_expect_hidden(cluster, 3, 1, hidden);
    s_expect_hidden(cluster, 3, 2, hidden);
    simulated_cluster_destroy(&cluster);
}

/* hide(100) of one island wins over unhide(50) of the other; of equal stamps the hide. */
static void hardneg_monotonicity_hide_wins_of_two_islands(void **state)
{
    (void)state;
    s_check_islands((s_word_t){100, true}, (s_word_t){50, false}, true);
    s_check_islands((s_word_t){100, true}, (s_word_t){100, false}, true);
}

/* unhide(200) of one island wins over hide(50) of the other. */
static void hardneg_explicit_unhide_with_higher_hlc_of_two_islands(void **state)
{
    (void)state;
    s_check_islands((s_word_t){200, false}, (s_word_t){50, true}, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_cross_region_visibility),
        cmocka_unit_test(session_replication_idempotent),
        cmocka_unit_test(session_seqno_hwm_rejects_duplicates),
        cmocka_unit_test(session_seqno_hwm_rejects_duplicates_of_a_log),
        cmocka_unit_test(session_close_is_summed_up_once),
        cmocka_unit_test(session_idle_is_closed_by_its_leader),
        cmocka_unit_test(session_answer_stays_through_two_changes_of_leader),
        cmocka_unit_test(session_restart_is_exact),
        cmocka_unit_test(hardneg_monotonicity_hide_wins),
        cmocka_unit_test(hardneg_explicit_unhide_with_higher_hlc),
        cmocka_unit_test(hardneg_monotonicity_hide_wins_of_two_islands),
        cmocka_unit_test(hardneg_explicit_unhide_with_higher_hlc_of_two_islands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
