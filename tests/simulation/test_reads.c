/* What a read may rely on at whatever node: how old its answer may be, the positions of its token,
 * the time that it allows to be waited, and that a node which was just named leader shows nothing
 * before it has applied what its region's files hold. */
#include "common/wal/record.h"
#include "tests/support/simulated_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/token.h"

enum {
    S_VIEW = 1,
    S_ITEM = 7,
    S_USER = 5,
    S_ANSWER_MS = 5, /* a message to a node and back takes less */
    S_HEALTHY_MS = 1000
};
#define S_MS INT64_C(1000000)

static const node_id_t s_us = {{1}, {0}}; /* leads the only shard */
static const node_id_t s_eu = {{2}, {0}};
static const node_id_t s_ap = {{3}, {0}};
static const process_address_t s_eu_receiver = {PROCESS_RECEIVER, {2}, {0}};

static const read_kind_t s_kinds[] = {READ_CELLS,    READ_RELATION, READ_ITEM, READ_USER,
                                      READ_RETRIEVE, READ_DIGEST,   READ_LAG,  READ_SESSION};
enum { S_KIND_COUNT = sizeof(s_kinds) / sizeof(s_kinds[0]) };

static simulated_cluster_t *s_cluster(void)
{
    simulated_cluster_options_t options = {.region_count = 3, .shard_count = 1, .seed = 31};
    return simulated_cluster_new(&options);
}

/* A read of that kind, of any age. */
static msg_read_t s_read_of(const simulated_cluster_t *cluster, read_kind_t kind)
{
    static const uint8_t s_items[8] = {S_ITEM};
    static const uint8_t s_signal = S_VIEW;
    static const uint8_t s_window = WINDOW_COUNT - 1;
    msg_read_t read = {
        .kind = kind, .at_ns = simulated_cluster_now_ns(cluster), .max_staleness_ms = UINT32_MAX};
    if (kind == READ_CELLS) {
        read.as.cells.items = slice_make(s_items, sizeof(s_items));
        read.as.cells.signals = slice_make(&s_signal, 1);
        read.as.cells.windows = slice_make(&s_window, 1);
    } else if (kind == READ_RELATION) {
        read.as.relation.user.value = S_USER;
        read.as.relation.item.value = S_ITEM;
    } else if (kind == READ_ITEM) {
        read.as.item.value = S_ITEM;
    } else if (kind == READ_USER) {
        read.as.user.value = S_USER;
    } else if (kind == READ_RETRIEVE) {
        read.as.retrieve = (msg_read_retrieve_t){
            .term_count = 1,
            .terms = {{.signal_id = S_VIEW, .kind = TERM_DECAY, .weight = 1.0}},
            .user = {S_USER},
            .created_after = INT64_MIN,
            .created_before = INT64_MAX,
            .limit = 10,
        };
    }
    return read;
}

/* Puts a read on its way and waits for the answer, which lives until the next one. */
static const msg_read_reply_t *s_ask(simulated_cluster_t *cluster, node_id_t node, msg_read_t *read)
{
    const msg_read_reply_t *reply = NULL;
    simulated_cluster_begin_read(cluster, node, read);
    assert_int_equal(simulated_cluster_end_read(cluster, &reply), ERR_OK);
    return reply;
}

static simulated_write_t s_view(simulated_cluster_t *cluster, node_id_t node, ack_level_t level)
{
    signal_event_t event = {.item = {S_ITEM},
                            .ts_ns = simulated_cluster_now_ns(cluster),
                            .weight = 1.0,
                            .signal = S_VIEW};
    simulated_write_t write =
        simulated_cluster_write_to(cluster, node, &event, 1, (simulated_form_t){level, NULL, 0});
    assert_int_equal(write.code, CODE_OK);
    return write;
}

static void s_assert_converges(simulated_cluster_t *cluster)
{
    assert_int_equal(simulated_cluster_await_full_convergence(cluster, 10000, NULL), ERR_OK);
}

/* -- max_staleness_ms -------------------------------------------------------------------------- */

/* The code of a read of that kind which allows so much. */
static code_t s_code_within(simulated_cluster_t *cluster,
                            node_id_t node,
                            read_kind_t kind,
                            uint32_t max_staleness_ms)
{
    msg_read_t read = s_read_of(cluster, kind);
    read.max_staleness_ms = max_staleness_ms;
    return s_ask(cluster, node, &read)->code;
}

/* How old the node says that its answer may be: the oldest of all regions. */
static uint32_t s_staleness_ms(simulated_cluster_t *cluster, node_id_t node)
{
    msg_read_t read = s_read_of(cluster, READ_DIGEST);
    const msg_read_reply_t *reply = s_ask(cluster, node, &read);
    assert_int_equal(reply->code, CODE_OK);
    assert_int_equal(reply->staleness_count, 3);
    uint32_t oldest_ms = 0;
    for (uint32_t i = 0; i < reply->staleness_count; i++) {
        uint32_t ms = reply->staleness[i].staleness_ms;
        oldest_ms = ms > oldest_ms ? ms : oldest_ms;
    }
    return oldest_ms;
}

/* Every kind of read is answered where more is allowed than the replica is old, and STALE where less
 * is: one millisecond less than what it has just said of itself. */
static void s_expect_bound(simulated_cluster_t *cluster, node_id_t node)
{
    for (size_t i = 0; i < S_KIND_COUNT; i++) {
        uint32_t oldest_ms = s_staleness_ms(cluster, node);
        assert_int_equal(s_code_within(cluster, node, s_kinds[i], oldest_ms - 1), CODE_STALE);
        assert_int_equal(s_code_within(cluster, node, s_kinds[i], oldest_ms + S_ANSWER_MS),
                         CODE_OK);
    }
}

/* Goal: a replica that hears all regions answers reads that allow a second, and one that is cut off
 * from a region answers STALE once it is older than what is allowed, to the millisecond, also the
 * leader, since each region writes; after the heal both answer again. */
static void test_reads_max_staleness_of_a_cut_replica(void **state)
{
    (void)state;
    enum { S_CUT_MS = 4000 };
    simulated_cluster_t *cluster = s_cluster();
    (void)s_view(cluster, s_us, ACK_ALL);
    s_assert_converges(cluster);
    for (size_t i = 0; i < S_KIND_COUNT; i++) {
        assert_int_equal(s_code_within(cluster, s_eu, s_kinds[i], S_HEALTHY_MS), CODE_OK);
        assert_int_equal(s_code_within(cluster, s_us, s_kinds[i], S_HEALTHY_MS), CODE_OK);
    }
    simulated_partition_t *us =
        simulated_cluster_inject_partition(cluster, s_eu.region, s_us.region);
    simulated_partition_t *ap =
        simulated_cluster_inject_partition(cluster, s_eu.region, s_ap.region);
    simulated_cluster_run_ms(cluster, S_CUT_MS);
    for (size_t i = 0; i < S_KIND_COUNT; i++) {
        assert_int_equal(s_code_within(cluster, s_eu, s_kinds[i], S_HEALTHY_MS), CODE_STALE);
        assert_int_equal(s_code_within(cluster, s_us, s_kinds[i], S_HEALTHY_MS), CODE_STALE);
    }
    assert_in_range(s_staleness_ms(cluster, s_eu), S_CUT_MS - 1, S_CUT_MS + S_HEALTHY_MS);
    s_expect_bound(cluster, s_eu);
    s_expect_bound(cluster, s_us);
    simulated_partition_destroy(&us);
    simulated_partition_destroy(&ap);
    s_assert_converges(cluster);
    simulated_cluster_run_ms(cluster, S_HEALTHY_MS);
    for (size_t i = 0; i < S_KIND_COUNT; i++) {
        assert_int_equal(s_code_within(cluster, s_eu, s_kinds[i], S_HEALTHY_MS), CODE_OK);
    }
    simulated_cluster_destroy(&cluster);
}

/* Goal: the same where nothing is cut, and nobody brings what the others write: the region's receiver
 * is down. */
static void test_reads_max_staleness_without_a_receiver(void **state)
{
    (void)state;
    enum { S_DOWN_MS = 3000 };
    simulated_cluster_t *cluster = s_cluster();
    (void)s_view(cluster, s_us, ACK_ALL);
    s_assert_converges(cluster);
    simulated_cluster_stop(cluster, s_eu_receiver);
    simulated_cluster_run_ms(cluster, S_DOWN_MS);
    (void)s_view(cluster, s_us, ACK_LOCAL);
    assert_int_equal(s_code_within(cluster, s_eu, READ_CELLS, S_HEALTHY_MS), CODE_STALE);
    s_expect_bound(cluster, s_eu);
    assert_int_equal(s_code_within(cluster, s_eu, READ_CELLS, UINT32_MAX), CODE_OK);
    simulated_cluster_start(cluster, s_eu_receiver);
    s_assert_converges(cluster);
    simulated_cluster_run_ms(cluster, S_HEALTHY_MS);
    assert_int_equal(s_code_within(cluster, s_eu, READ_CELLS, S_HEALTHY_MS), CODE_OK);
    simulated_cluster_destroy(&cluster);
}

/* -- tokens ------------------------------------------------------------------------------------ */

/* Of all that was written there up to this write. Its bytes are the caller's. */
static void s_token_of(const simulated_write_t *write, buffer_t *ret_bytes)
{
    static token_t s_token;
    token_clear(&s_token);
    assert_int_equal(token_add(&s_token, write->stream, write->last_seq), ERR_OK);
    buffer_init(ret_bytes);
    assert_int_equal(token_encode(&s_token, ret_bytes), ERR_OK);
}

/* What the client takes from this answer into its next request has all that its token had. */
static void s_assert_covers(const msg_read_reply_t *reply, slice_t token)
{
    static token_t s_token;
    assert_int_equal(token_decode(&s_token, token, NULL), ERR_OK);
    assert_true(s_token.count > 0);
    assert_true(token_is_covered(&s_token, reply->applied, reply->applied_count));
}

/* Virtual time until what was begun is answered. */
static int64_t s_await_answer_ms(simulated_cluster_t *cluster, int64_t most_ms)
{
    int64_t began_ns = simulated_cluster_now_ns(cluster);
    while (!simulated_cluster_is_answered(cluster)) {
        assert_true(simulated_cluster_now_ns(cluster) - began_ns < most_ms * S_MS);
        simulated_cluster_run_ms(cluster, 1);
    }
    return (simulated_cluster_now_ns(cluster) - began_ns) / S_MS;
}

/* Goal: where the token is not reached, a read that allows no waiting is STALE at once, and another
 * one after what it allows: not before, not later; whatever is read. */
static void test_reads_token_not_reached_is_stale_after_wait_ms(void **state)
{
    (void)state;
    enum { S_WAIT_MS = 700 };
    simulated_cluster_t *cluster = s_cluster();
    buffer_t token;
    const msg_read_reply_t *reply = NULL;
    simulated_cluster_stop(cluster, s_eu_receiver);
    simulated_write_t write = s_view(cluster, s_us, ACK_LOCAL);
    s_token_of(&write, &token);
    for (size_t i = 0; i < S_KIND_COUNT; i++) {
        for (uint32_t wait_ms = 0; wait_ms <= S_WAIT_MS; wait_ms += S_WAIT_MS) {
            msg_read_t read = s_read_of(cluster, s_kinds[i]);
            read.token = buffer_slice(&token);
            read.wait_ms = wait_ms;
            simulated_cluster_begin_read(cluster, s_eu, &read);
            int64_t took_ms = s_await_answer_ms(cluster, S_WAIT_MS + 2 * S_ANSWER_MS);
            assert_in_range(took_ms, wait_ms, wait_ms + S_ANSWER_MS);
            assert_int_equal(simulated_cluster_end_read(cluster, &reply), ERR_OK);
            assert_int_equal(reply->code, CODE_STALE);
        }
    }
    assert_int_equal(simulated_cluster_applied_of(cluster, s_eu, write.stream), 0);
    simulated_cluster_start(cluster, s_eu_receiver);
    buffer_done(&token);
    simulated_cluster_destroy(&cluster);
}

/* Goal: a read that waits is answered when its token is reached, at once, long before its wait is over,
 * and with what the token stands for. Method: the receiver comes back while it waits; every kind. */
static void test_reads_token_is_answered_as_soon_as_it_is_reached(void **state)
{
    (void)state;
    enum { S_WAIT_MS = 9000, S_DOWN_MS = 500 };
    simulated_cluster_t *cluster = s_cluster();
    for (size_t i = 0; i < S_KIND_COUNT; i++) {
        buffer_t token;
        const msg_read_reply_t *reply = NULL;
        simulated_cluster_stop(cluster, s_eu_receiver);
        simulated_write_t write = s_view(cluster, s_us, ACK_LOCAL);
        s_token_of(&write, &token);
        msg_read_t read = s_read_of(cluster, s_kinds[i]);
        read.token = buffer_slice(&token);
        read.wait_ms = S_WAIT_MS;
        simulated_cluster_begin_read(cluster, s_eu, &read);
        simulated_cluster_run_ms(cluster, S_DOWN_MS);
        assert_false(simulated_cluster_is_answered(cluster));
        simulated_cluster_start(cluster, s_eu_receiver);
        for (int ms = 0; simulated_cluster_applied_of(cluster, s_eu, write.stream) < write.last_seq;
             ms++) {
            assert_false(simulated_cluster_is_answered(cluster));
            assert_true(ms < S_WAIT_MS - S_DOWN_MS - 1000);
            simulated_cluster_run_ms(cluster, 1);
        }
        (void)s_await_answer_ms(cluster, S_ANSWER_MS);
        assert_int_equal(simulated_cluster_end_read(cluster, &reply), ERR_OK);
        assert_int_equal(reply->code, CODE_OK);
        s_assert_covers(reply, buffer_slice(&token));
        if (s_kinds[i] == READ_CELLS) {
            assert_int_equal(reply->as.cells.cells[0].counts[0], i + 1);
        }
        buffer_done(&token);
    }
    simulated_cluster_destroy(&cluster);
}

/* Goal: every kind of read, at every node, carries back at least what its token had. */
static void test_reads_answer_covers_the_token(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    simulated_write_t write = s_view(cluster, s_us, ACK_ALL);
    buffer_t token;
    s_token_of(&write, &token);
    s_assert_converges(cluster);
    for (uint16_t region = 1; region <= 3; region++) {
        for (size_t i = 0; i < S_KIND_COUNT; i++) {
            msg_read_t read = s_read_of(cluster, s_kinds[i]);
            read.token = buffer_slice(&token);
            const msg_read_reply_t *reply = s_ask(cluster, (node_id_t){{region}, {0}}, &read);
            assert_int_equal(reply->code, CODE_OK);
            s_assert_covers(reply, buffer_slice(&token));
        }
    }
    buffer_done(&token);
    simulated_cluster_destroy(&cluster);
}

/* -- writes with a token ----------------------------------------------------------------------- */

/* One view with a token, on its way to the leader. */
static void s_begin_write(simulated_cluster_t *cluster, slice_t token, uint32_t timeout_ms)
{
    signal_event_t event = {.item = {S_ITEM},
                            .ts_ns = simulated_cluster_now_ns(cluster),
                            .weight = 1.0,
                            .signal = S_VIEW};
    buffer_t payload = {0};
    record_append_signals(&payload, &event, 1);
    msg_write_t form = {.level = ACK_LOCAL,
                        .token = token,
                        .timeout_ms = timeout_ms,
                        .event_count = 1,
                        .payload = buffer_slice(&payload)};
    simulated_cluster_begin_write(cluster, s_us, &form);
    buffer_done(&payload);
}

static uint64_t s_logged(simulated_cluster_t *cluster)
{
    return simulated_cluster_metric(cluster, (process_address_t){PROCESS_NODE, {1}, {0}},
                                    "node_events");
}

/* Goal: a client that has seen an island's write goes to the leader with its token: the leader logs
 * nothing before it has that write, and where it does not come in time the answer is UNAVAILABLE, and
 * nothing is logged for good. Method: the cut lasts beyond the first request and ends in the second. */
static void test_reads_write_waits_for_its_token_and_else_logs_nothing(void **state)
{
    (void)state;
    enum { S_TIMEOUT_MS = 800, S_CUT_MS = 1300 };
    simulated_cluster_t *cluster = s_cluster();
    simulated_cluster_set_island(cluster, ISLAND_ACCEPT);
    simulated_partition_t *us =
        simulated_cluster_inject_partition(cluster, s_ap.region, s_us.region);
    simulated_partition_t *eu =
        simulated_cluster_inject_partition(cluster, s_ap.region, s_eu.region);
    simulated_cluster_run_ms(cluster, S_CUT_MS);
    simulated_write_t seen = s_view(cluster, s_ap, ACK_LOCAL);
    assert_true(seen.island);
    buffer_t token;
    s_token_of(&seen, &token);
    uint64_t before = s_logged(cluster);
    s_begin_write(cluster, buffer_slice(&token), S_TIMEOUT_MS);
    int64_t took_ms = s_await_answer_ms(cluster, S_TIMEOUT_MS + 2 * S_ANSWER_MS);
    assert_in_range(took_ms, S_TIMEOUT_MS, S_TIMEOUT_MS + S_ANSWER_MS);
    assert_int_equal(simulated_cluster_end_write(cluster).code, CODE_UNAVAILABLE);
    s_begin_write(cluster, buffer_slice(&token), 9000);
    simulated_cluster_run_ms(cluster, 500);
    assert_false(simulated_cluster_is_answered(cluster));
    assert_int_equal(s_logged(cluster), before);
    simulated_partition_destroy(&us);
    simulated_partition_destroy(&eu);
    simulated_write_t write = simulated_cluster_end_write(cluster);
    assert_int_equal(write.code, CODE_OK);
    assert_int_equal(s_logged(cluster), before + 1);
    s_assert_converges(cluster);
    assert_int_equal(simulated_cluster_applied_of(cluster, s_us, write.stream), before + 1);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, s_us), 2); /* with what was seen */
    buffer_done(&token);
    simulated_cluster_destroy(&cluster);
}

/* -- a node that was just named leader --------------------------------------------------------- */

static void s_hide(simulated_cluster_t *cluster)
{
    hlc_stamp_t hlc = {simulated_cluster_now_ns(cluster), 0, 1};
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user.value = S_USER;
    record.as.relation.target = S_ITEM;
    record.as.relation.hlc = hlc;
    record.as.relation.action = RELATION_HIDE;
    record.as.relation.set = true;
    simulated_write_t write = simulated_cluster_write_record(cluster, s_us, &record, hlc, ACK_ALL);
    assert_int_equal(write.code, CODE_OK);
}

/* Whether the user is shown the item by the leader that eu-west's node is; false also while it answers
 * nothing. out ret_code */
static bool s_is_shown(simulated_cluster_t *cluster, code_t *ret_code)
{
    msg_read_t read = s_read_of(cluster, READ_RETRIEVE);
    read.from_leader = true;
    const msg_read_reply_t *reply = s_ask(cluster, s_eu, &read);
    *ret_code = reply->code;
    return reply->code == CODE_OK && reply->as.retrieve.ranked_count > 0;
}

/* Goal: a hide that was acknowledged in all regions lies in eu-west's files, and its node has not
 * applied it when it is named leader: it serves nothing before it has. Method: the receiver's
 * announcements to the node are lost, as published messages may be, until long after the promotion. */
static void test_reads_promoted_node_serves_nothing_early(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    code_t code = CODE_OK;
    (void)s_view(cluster, s_us, ACK_ALL);
    s_assert_converges(cluster);
    simulated_cluster_lose_announcements(cluster, s_eu, true);
    s_hide(cluster);
    msg_read_t before = s_read_of(cluster, READ_RETRIEVE);
    assert_int_equal(s_ask(cluster, s_eu, &before)->as.retrieve.ranked_count, 1);
    assert_false(s_is_shown(cluster, &code));
    assert_int_equal(code, CODE_READ_ONLY);
    table_t *next = table_next(simulated_cluster_table(cluster));
    table_record_t record = *table_find_record(next, TENANT_DEFAULT, (shard_id_t){0});
    errbuf_t errbuf;
    record.leader = s_eu.region;
    record.epoch++;
    record.version++;
    assert_int_equal(table_set_record(next, TENANT_DEFAULT, (shard_id_t){0}, &record, &errbuf),
                     ERR_OK);
    simulated_cluster_use_table(cluster, next);
    bool was_unavailable = false;
    for (int ms = 0; ms < 2000; ms++) {
        assert_false(s_is_shown(cluster, &code));
        was_unavailable = was_unavailable || code == CODE_UNAVAILABLE;
        simulated_cluster_run_ms(cluster, 1);
    }
    assert_true(was_unavailable);
    assert_int_equal(code, CODE_UNAVAILABLE);
    simulated_cluster_lose_announcements(cluster, s_eu, false);
    for (int ms = 0; ms < 2000 && code != CODE_OK; ms++) {
        assert_false(s_is_shown(cluster, &code));
        simulated_cluster_run_ms(cluster, 1);
    }
    assert_int_equal(code, CODE_OK);
    simulated_cluster_destroy(&cluster);
}

enum { S_DIGESTS = 21 };

/* What was told of each position of the only stream. */
typedef struct {
    bool is_told[S_DIGESTS];
    uint8_t digests[S_DIGESTS][MSG_HASH_SIZE];
} s_told_t;

/* Asks for a digest, which must be the one that was told of its vector before. Returns the position. */
static uint64_t s_ask_digest(simulated_cluster_t *cluster, s_told_t *told)
{
    msg_read_t read = s_read_of(cluster, READ_DIGEST);
    const msg_read_reply_t *reply = s_ask(cluster, s_us, &read);
    assert_int_equal(reply->code, CODE_OK);
    uint64_t at = reply->applied_count == 0 ? 0 : reply->applied[0].seq;
    assert_true(at < S_DIGESTS);
    if (told->is_told[at]) {
        assert_memory_equal(told->digests[at], reply->as.digest.digest, MSG_HASH_SIZE);
    }
    told->is_told[at] = true;
    memcpy(told->digests[at], reply->as.digest.digest, MSG_HASH_SIZE);
    return at;
}

/* Goal: a digest and the vector that comes with it belong together, also when it is asked for in the
 * turn that logs a request with a pair: else two sound replicas would look diverged. Method: the
 * question comes right behind the request; at one vector every digest ever told must be the same. */
static void test_reads_digest_fits_its_vector_in_every_turn(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    s_told_t told = {.is_told = {false}};
    signal_event_t event = {.item = {S_ITEM}, .ts_ns = 1, .weight = 1.0, .signal = S_VIEW};
    buffer_t payload;
    buffer_init(&payload);
    record_append_signals(&payload, &event, 1);
    for (uint64_t seq = 1; seq < S_DIGESTS; seq++) {
        msg_write_t form = {.level = ACK_LOCAL,
                            .has_producer = true,
                            .producer = slice_text("client"),
                            .producer_seq = seq,
                            .event_count = 1,
                            .payload = buffer_slice(&payload)};
        simulated_cluster_begin_write(cluster, s_us, &form);
        for (int i = 0; i < 3; i++) {
            (void)s_ask_digest(cluster, &told);
        }
        assert_true(told.is_told[seq]);
        simulated_cluster_run_ms(cluster, 100); /* after a pause a write is logged at once */
        assert_int_equal(s_ask_digest(cluster, &told), seq);
    }
    buffer_done(&payload);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_max_staleness_of_a_cut_replica),
        cmocka_unit_test(test_reads_max_staleness_without_a_receiver),
        cmocka_unit_test(test_reads_token_not_reached_is_stale_after_wait_ms),
        cmocka_unit_test(test_reads_token_is_answered_as_soon_as_it_is_reached),
        cmocka_unit_test(test_reads_answer_covers_the_token),
        cmocka_unit_test(test_reads_write_waits_for_its_token_and_else_logs_nothing),
        cmocka_unit_test(test_reads_promoted_node_serves_nothing_early),
        cmocka_unit_test(test_reads_digest_fits_its_vector_in_every_turn),
    };
    return cmocka_run_group_tests_name("reads", tests, NULL, NULL);
}
