/* The suite `session`, in process: sessions and hard negatives across regions. The same behaviours
 * over ZeroMQ and real files are in tests/mesh/test_session.py. */
#include "common/session/session_id.h"
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1 };
#define S_MS INT64_C(1000000)

static const user_id_t s_user = {77};
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
    return simulated_cluster_leader(cluster, simulated_cluster_home_of(cluster, s_user));
}

static hlc_stamp_t s_now(const simulated_cluster_t *cluster)
{
    return (hlc_stamp_t){simulated_cluster_now_ns(cluster), 0, 0x1ffff};
}

/* One record as a request. The batch carries the stamp. Repeated with one producer and seq it is one
 * request. */
static simulated_write_t s_write(simulated_cluster_t *cluster,
                                 node_id_t node,
                                 const record_t *record,
                                 hlc_stamp_t hlc,
                                 simulated_form_t form)
{
    buffer_t payload;
    buffer_init(&payload);
    record_append(&payload, record);
    msg_write_t write = {.level = form.level,
                         .has_producer = form.producer != NULL,
                         .hlc = hlc,
                         .hlc_is_explicit = true,
                         .event_count = 1,
                         .payload = buffer_slice(&payload)};
    if (form.producer != NULL) {
        write.producer = slice_text(form.producer);
        write.producer_seq = form.producer_seq;
        write.content_hash[0] = (uint8_t)record->type;
    }
    simulated_write_t result = simulated_cluster_write_form(cluster, node, &write);
    buffer_done(&payload);
    return result;
}

static session_id_t s_id(uint64_t n)
{
    return session_id_derive((tenant_id_t){1}, s_user, slice_text("test"), n);
}

static simulated_write_t s_start(simulated_cluster_t *cluster,
                                 const session_id_t *id,
                                 simulated_form_t form)
{
    record_t record = {.type = RECORD_SESSION_START, .event_count = 1};
    record.as.session_start.session = *id;
    record.as.session_start.hlc = s_now(cluster);
    record.as.session_start.agent = slice_text("web");
    record.as.session_start.meta = slice_make(NULL, 0);
    return s_write(cluster, s_home(cluster), &record, s_now(cluster), form);
}

static simulated_write_t s_signal(simulated_cluster_t *cluster,
                                  const session_id_t *id,
                                  uint64_t item,
                                  simulated_form_t form)
{
    record_t record = {.type = RECORD_SESSION_SIGNAL, .event_count = 1};
    record.as.session_signal.session = *id;
    record.as.session_signal.hlc = s_now(cluster);
    record.as.session_signal.session_seq = 0;
    record.as.session_signal.item.value = item;
    record.as.session_signal.ts_ns = simulated_cluster_now_ns(cluster);
    record.as.session_signal.weight = 1.0;
    record.as.session_signal.signal = S_VIEW;
    return s_write(cluster, s_home(cluster), &record, s_now(cluster), form);
}

static simulated_write_t s_close(simulated_cluster_t *cluster, const session_id_t *id)
{
    record_t record = {.type = RECORD_SESSION_CLOSE, .event_count = 1};
    record.as.session_close.session = *id;
    record.as.session_close.hlc = s_now(cluster);
    record.as.session_close.is_auto = false;
    return s_write(cluster, s_home(cluster), &record, s_now(cluster), s_replicated);
}

/* The session as a region has it; the reply lives until the next read. */
static const msg_read_reply_t *s_get(simulated_cluster_t *cluster,
                                     uint16_t region,
                                     const session_id_t *id)
{
    msg_read_t read = {.kind = READ_SESSION, .at_ns = simulated_cluster_now_ns(cluster)};
    const msg_read_reply_t *reply = NULL;
    read.as.session = *id;
    node_id_t node = {{region}, simulated_cluster_home_of(cluster, s_user)};
    assert_int_equal(simulated_cluster_read(cluster, node, &read, &reply), ERR_OK);
    assert_int_equal(reply->code, CODE_OK);
    return reply;
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
    session_id_t id = s_id(1);
    assert_int_equal(s_start(cluster, &id, s_replicated).code, CODE_OK);
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
        const msg_read_reply_t *reply = s_get(cluster, region, &id);
        while (!reply->as.session.found || reply->as.session.row_count < S_SIGNALS) {
            simulated_cluster_run_ms(cluster, 1);
            assert_true(simulated_cluster_now_ns(cluster) - written_ns < 200 * S_MS);
            reply = s_get(cluster, region, &id);
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
    session_id_t id = s_id(2);
    const simulated_form_t start = {ACK_REPLICATED, "p", 1};
    const simulated_form_t signal = {ACK_REPLICATED, "p", 2};
    assert_int_equal(s_start(cluster, &id, start).code, CODE_OK);
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
        assert_true(s_start(cluster, &id, start).duplicate);
        simulated_cluster_replay_last_batch(cluster, s_home(cluster).region);
    }
    s_assert_converges(cluster);
    simulated_cluster_digest(cluster, follower, after);
    assert_memory_equal(before, after, MSG_HASH_SIZE);
    assert_int_equal(s_get(cluster, 3, &id)->as.session.row_count, 1);
    simulated_cluster_destroy(&cluster);
}

/* 1..5 are taken, 3 once more is refused, 6 is taken and the mark is 6: by the replies, by what every
 * region holds, and after a restart from the log. */
static void session_seqno_hwm_rejects_duplicates(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    session_id_t id = s_id(3);
    assert_int_equal(s_start(cluster, &id, s_replicated).code, CODE_OK);
    for (uint64_t i = 1; i <= 5; i++) {
        simulated_write_t write =
            s_signal(cluster, &id, i, (simulated_form_t){ACK_REPLICATED, "p", i});
        assert_int_equal(write.session.session_seq, i);
    }
    simulated_write_t third = s_signal(cluster, &id, 3, (simulated_form_t){ACK_REPLICATED, "p", 3});
    assert_true(third.duplicate && third.session.session_seq == 3 && third.session.signals == 5);
    process_address_t home = {PROCESS_NODE, s_home(cluster).region, s_home(cluster).shard};
    simulated_cluster_stop(cluster, home);
    simulated_cluster_run_ms(cluster, 500);
    simulated_cluster_start(cluster, home);
    simulated_cluster_run_ms(cluster, 3000);
    third = s_signal(cluster, &id, 3, (simulated_form_t){ACK_REPLICATED, "p", 3});
    assert_true(third.duplicate && third.session.signals == 5);
    simulated_write_t sixth = s_signal(cluster, &id, 6, (simulated_form_t){ACK_REPLICATED, "p", 6});
    assert_int_equal(sixth.code, CODE_OK);
    assert_int_equal(sixth.session.session_seq, 6);
    s_assert_converges(cluster);
    for (uint16_t region = 1; region <= 2; region++) {
        const msg_read_reply_t *reply = s_get(cluster, region, &id);
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

/* A close gives the summary, the same one again; signals behind it are refused; unknown sessions are
 * NOT_FOUND; nothing of that is logged. */
static void session_close_is_summed_up_once(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 1, 0);
    session_id_t id = s_id(4);
    session_id_t unknown = s_id(5);
    assert_int_equal(s_signal(cluster, &unknown, 1, s_replicated).code, CODE_NOT_FOUND);
    assert_int_equal(s_close(cluster, &unknown).code, CODE_NOT_FOUND);
    assert_int_equal(s_start(cluster, &id, s_replicated).code, CODE_OK);
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
    const msg_read_reply_t *reply = s_get(cluster, 2, &id);
    assert_true(reply->as.session.closed && reply->as.session.row_count == 2);
    assert_false(s_get(cluster, 2, &unknown)->as.session.found);
    simulated_cluster_destroy(&cluster);
}

/* The leader closes a session that was idle for too long, once, by a record that every region has;
 * one that gets signals stays open. */
static void session_idle_is_closed_by_its_leader(void **state)
{
    (void)state;
    enum { S_IDLE_MS = 2000 };
    simulated_cluster_t *cluster = s_cluster(3, 1, S_IDLE_MS);
    session_id_t idle = s_id(6);
    session_id_t busy = s_id(7);
    assert_int_equal(s_start(cluster, &idle, s_replicated).code, CODE_OK);
    assert_int_equal(s_start(cluster, &busy, s_replicated).code, CODE_OK);
    assert_int_equal(s_signal(cluster, &idle, 1, s_replicated).code, CODE_OK);
    for (uint32_t i = 0; i < 5; i++) {
        simulated_cluster_run_ms(cluster, 1000);
        assert_int_equal(s_signal(cluster, &busy, 1, s_replicated).code, CODE_OK);
    }
    s_assert_converges(cluster);
    for (uint16_t region = 1; region <= 3; region++) {
        const msg_read_reply_t *reply = s_get(cluster, region, &idle);
        assert_true(reply->as.session.closed && reply->as.session.auto_closed);
        int64_t open_ns =
            reply->as.session.closed_hlc.wall_ns - reply->as.session.started_hlc.wall_ns;
        assert_true(open_ns >= S_IDLE_MS * S_MS && open_ns < (S_IDLE_MS + 1000) * S_MS);
        assert_false(s_get(cluster, region, &busy)->as.session.closed);
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
    shard_id_t shard = simulated_cluster_home_of(cluster, s_user);
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
    session_id_t id = s_id(9);
    assert_int_equal(s_home(cluster).region.value, 1);
    assert_int_equal(s_start(cluster, &id, s_replicated).code, CODE_OK);
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
            const msg_read_reply_t *reply = s_get(cluster, region, &id);
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
    session_id_t id = s_id(8);
    assert_int_equal(s_start(cluster, &id, s_replicated).code, CODE_OK);
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
        simulated_cluster_stop(cluster, node);
        simulated_cluster_run_ms(cluster, 200);
        simulated_cluster_start(cluster, node);
        simulated_cluster_run_ms(cluster, 3000);
    }
    s_assert_converges(cluster);
    assert_int_equal(s_get(cluster, 2, &id)->as.session.row_count, 30);
    assert_int_equal(s_signal(cluster, &id, 31, s_replicated).session.session_seq, 31);
    simulated_cluster_destroy(&cluster);
}

/* -- hard negatives ---------------------------------------------------------------------------- */

/* An hlc of that wall time, as clients may give it. */
static simulated_write_t s_hide(simulated_cluster_t *cluster,
                                uint64_t item,
                                int64_t wall_ns,
                                bool set)
{
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user = s_user;
    record.as.relation.target = item;
    record.as.relation.hlc = (hlc_stamp_t){wall_ns, 0, 1};
    record.as.relation.action = RELATION_HIDE;
    record.as.relation.set = set;
    shard_id_t shard = simulated_cluster_shard_of(cluster, (item_id_t){item});
    return s_write(cluster, simulated_cluster_leader(cluster, shard), &record,
                   record.as.relation.hlc, s_replicated);
}

/* Both regions say the same of the item. */
static void s_expect_hidden(simulated_cluster_t *cluster, uint64_t item, bool hidden)
{
    s_assert_converges(cluster);
    shard_id_t shard = simulated_cluster_shard_of(cluster, (item_id_t){item});
    for (uint16_t region = 1; region <= 2; region++) {
        msg_read_t read = {.kind = READ_RELATION, .at_ns = simulated_cluster_now_ns(cluster)};
        const msg_read_reply_t *reply = NULL;
        read.as.relation.user = s_user;
        read.as.relation.item.value = item;
        assert_int_equal(
            simulated_cluster_read(cluster, (node_id_t){{region}, shard}, &read, &reply), ERR_OK);
        assert_int_equal(reply->code, CODE_OK);
        assert_int_equal(reply->as.relation.hidden, hidden);
    }
}

/* hide(100) wins over unhide(50), in whichever order they are logged; of equal stamps the hide. */
static void hardneg_monotonicity_hide_wins(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 2, 0);
    assert_int_equal(s_hide(cluster, 1, 100, true).code, CODE_OK);
    assert_int_equal(s_hide(cluster, 1, 50, false).code, CODE_OK);
    s_expect_hidden(cluster, 1, true);
    assert_int_equal(s_hide(cluster, 2, 50, false).code, CODE_OK);
    assert_int_equal(s_hide(cluster, 2, 100, true).code, CODE_OK);
    s_expect_hidden(cluster, 2, true);
    assert_int_equal(s_hide(cluster, 3, 100, true).code, CODE_OK);
    assert_int_equal(s_hide(cluster, 3, 100, false).code, CODE_OK);
    s_expect_hidden(cluster, 3, true);
    assert_int_equal(s_hide(cluster, 4, 100, false).code, CODE_OK);
    assert_int_equal(s_hide(cluster, 4, 100, true).code, CODE_OK);
    s_expect_hidden(cluster, 4, true);
    simulated_cluster_destroy(&cluster);
}

/* unhide(200) wins over hide(50), in whichever order they are logged. */
static void hardneg_explicit_unhide_with_higher_hlc(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster(2, 2, 0);
    assert_int_equal(s_hide(cluster, 1, 50, true).code, CODE_OK);
    s_expect_hidden(cluster, 1, true);
    assert_int_equal(s_hide(cluster, 1, 200, false).code, CODE_OK);
    s_expect_hidden(cluster, 1, false);
    assert_int_equal(s_hide(cluster, 2, 200, false).code, CODE_OK);
    assert_int_equal(s_hide(cluster, 2, 50, true).code, CODE_OK);
    s_expect_hidden(cluster, 2, false);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_cross_region_visibility),
        cmocka_unit_test(session_replication_idempotent),
        cmocka_unit_test(session_seqno_hwm_rejects_duplicates),
        cmocka_unit_test(session_close_is_summed_up_once),
        cmocka_unit_test(session_idle_is_closed_by_its_leader),
        cmocka_unit_test(session_answer_stays_through_two_changes_of_leader),
        cmocka_unit_test(session_restart_is_exact),
        cmocka_unit_test(hardneg_monotonicity_hide_wins),
        cmocka_unit_test(hardneg_explicit_unhide_with_higher_hlc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
