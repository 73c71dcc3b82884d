/* Sessions through the gateway: where their writes and reads go, what the replies carry, and how a
 * retrieve counts a session's signals. */
#include "common/session/session_id.h"
#include "common/wal/record_session.h"
#include "tests/unit/gateway_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const region_set_t s_none = {0};

/* A user whose home is shard 2. */
static user_id_t s_user(const gateway_test_t *test)
{
    return (user_id_t){gateway_test_entity(test, 2, 0)};
}

static session_id_t s_id(const gateway_test_t *test)
{
    return session_id_derive((tenant_id_t){1}, s_user(test), slice_text("p"), 4);
}

static slice_t s_bytes(const session_id_t *id)
{
    return slice_make(id->bytes, SESSION_ID_SIZE);
}

static uint64_t s_ask_start(gateway_test_t *test, bool has_producer)
{
    pack_writer_t *writer = gateway_test_request(test, "session_start");
    pack_put_u64(writer, "user", s_user(test).value);
    pack_put_text(writer, "agent", "web");
    pack_put_map(writer, "meta");
    pack_put_u64(writer, "build", 12);
    pack_close(writer);
    if (has_producer) {
        pack_put_text(writer, "producer", "p");
        pack_put_u64(writer, "seq", 4);
    }
    return gateway_test_ask(test);
}

static void s_take_record(gateway_test_t *test, node_id_t *ret_to, msg_t *msg, record_t *ret_record)
{
    size_t offset = 0;
    *ret_to = gateway_test_take(test, msg);
    assert_int_equal(msg->type, MSG_WRITE);
    assert_int_equal(msg->as.write.event_count, 1);
    assert_int_equal(record_next(msg->as.write.payload, &offset, ret_record, NULL), ERR_OK);
    assert_int_equal(offset, msg->as.write.payload.size);
}

/* Goal: a start goes to the leader of the user's home shard, with a stamp of its own; with a producer
 * its session is derived from the request, and the reply names it. */
static void test_gateway_session_start_goes_to_the_home_shard(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_start(test, true);
    node_id_t to;
    msg_t msg;
    record_t record;
    s_take_record(test, &to, &msg, &record);
    session_id_t id = s_id(test);
    assert_int_equal(to.shard.value, 2);
    assert_int_equal(record.type, RECORD_SESSION_START);
    assert_memory_equal(&record.as.session_start.session, &id, sizeof(id));
    assert_true(slice_equal(record.as.session_start.agent, slice_text("web")));
    pack_value_t build = pack_get(record.as.session_start.meta, "build");
    assert_true(build.kind == PACK_UINT && build.as.uint == 12);
    assert_int_equal(hlc_compare(record.as.session_start.hlc, msg.as.write.hlc), 0);
    assert_false(msg.as.write.hlc_is_explicit);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    pack_value_t session = gateway_test_value(test, handle, "session");
    assert_true(session.kind == PACK_BIN && slice_equal(session.as.bytes, s_bytes(&id)));
    assert_int_equal(gateway_test_u64(test, handle, "shard"), 2);
    gateway_test_destroy(&test);
}

/* Goal: without a producer each start draws another session, which still begins with its user; what
 * is silent is sent again as it was, since a second copy of a start changes nothing. */
static void test_gateway_session_start_without_producer_draws_an_id(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    node_id_t to;
    msg_t msg;
    record_t records[2];
    session_id_t ids[2];
    for (int i = 0; i < 2; i++) {
        (void)s_ask_start(test, false);
        s_take_record(test, &to, &msg, &records[i]);
        ids[i] = records[i].as.session_start.session;
        assert_int_equal(session_id_user(&ids[i]).value, s_user(test).value);
    }
    assert_memory_not_equal(&ids[0], &ids[1], sizeof(ids[0]));
    gateway_test_run_ms(test, 1500, s_none);
    record_t again;
    s_take_record(test, &to, &msg, &again);
    assert_memory_equal(&again.as.session_start.session, &ids[0], sizeof(ids[0]));
    gateway_test_destroy(&test);
}

static uint64_t s_ask_signal(gateway_test_t *test, uint64_t item)
{
    session_id_t id = s_id(test);
    pack_writer_t *writer = gateway_test_request(test, "session_signal");
    pack_put_bin(writer, "session", s_bytes(&id));
    pack_put_text(writer, "signal", "like");
    pack_put_u64(writer, "item", item);
    return gateway_test_ask(test);
}

/* Goal: a signal goes to the home shard of its session's user, not of its item; the leader numbers
 * it, and the reply has the number. Without a producer it is sent once. */
static void test_gateway_session_signal_is_numbered_by_its_leader(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t item = gateway_test_entity(test, 4, 0);
    uint64_t handle = s_ask_signal(test, item);
    node_id_t to;
    msg_t msg;
    record_t record;
    s_take_record(test, &to, &msg, &record);
    assert_int_equal(to.shard.value, 2);
    assert_int_equal(record.type, RECORD_SESSION_SIGNAL);
    assert_int_equal(record.as.session_signal.session_seq, 0);
    assert_int_equal(record.as.session_signal.item.value, item);
    assert_int_equal(record.as.session_signal.ts_ns, test->now.wall_ns);
    assert_true(record.as.session_signal.weight == 1.0);
    gateway_test_run_ms(test, 2000, s_none);
    gateway_test_expect_silence(test);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    answer.as.write_reply.session = (msg_session_summary_t){.session_seq = 17, .signals = 20};
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_int_equal(gateway_test_u64(test, handle, "session_seq"), 17);
    assert_int_equal(gateway_test_value(test, handle, "signals").kind, PACK_BAD);
    gateway_test_destroy(&test);
}

/* Goal: NOT_FOUND and TOO_LARGE of the leader are the reply; a time too far ahead is refused here. */
static void test_gateway_session_signal_refusals_are_passed_on(void **state)
{
    (void)state;
    static const code_t s_codes[] = {CODE_NOT_FOUND, CODE_TOO_LARGE, CODE_BAD_REQUEST};
    gateway_test_t *test = gateway_test_new(3, 5);
    for (size_t i = 0; i < 3; i++) {
        uint64_t handle = s_ask_signal(test, 5);
        msg_t msg;
        node_id_t to = gateway_test_take(test, &msg);
        msg_t answer = gateway_test_write_refused(&msg.as.write, s_codes[i], (region_id_t){0});
        gateway_test_answer(test, to, &answer);
        gateway_test_expect_code(test, handle, s_codes[i]);
        assert_int_equal(gateway_test_value(test, handle, "session_seq").kind, PACK_BAD);
    }
    session_id_t id = s_id(test);
    pack_writer_t *writer = gateway_test_request(test, "session_signal");
    pack_put_bin(writer, "session", s_bytes(&id));
    pack_put_text(writer, "signal", "like");
    pack_put_u64(writer, "item", 5);
    pack_put_u64(writer, "ts", (uint64_t)test->now.wall_ns + UINT64_C(3601000000000));
    gateway_test_expect_code(test, gateway_test_ask(test), CODE_BAD_REQUEST);
    pack_put_bin(gateway_test_request(test, "session_close"), "session", slice_text("short"));
    gateway_test_expect_code(test, gateway_test_ask(test), CODE_BAD_REQUEST);
    gateway_test_expect_silence(test);
    gateway_test_destroy(&test);
}

/* Goal: a close replies with the summary that its leader gives. */
static void test_gateway_session_close_has_the_summary(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    session_id_t id = s_id(test);
    pack_put_bin(gateway_test_request(test, "session_close"), "session", s_bytes(&id));
    uint64_t handle = gateway_test_ask(test);
    node_id_t to;
    msg_t msg;
    record_t record;
    s_take_record(test, &to, &msg, &record);
    assert_true(record.type == RECORD_SESSION_CLOSE && !record.as.session_close.is_auto);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    answer.as.write_reply.session = (msg_session_summary_t){
        .signals = 20, .duration_ms = 1234, .closed = true, .auto_closed = true};
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_int_equal(gateway_test_u64(test, handle, "user"), s_user(test).value);
    assert_int_equal(gateway_test_u64(test, handle, "signals"), 20);
    assert_int_equal(gateway_test_u64(test, handle, "duration_ms"), 1234);
    assert_true(gateway_test_value(test, handle, "auto_closed").as.boolean);
    gateway_test_destroy(&test);
}

/* -- reads ------------------------------------------------------------------------------------- */

/* Answers a READ_SESSION with two signals: like of `a`, then view of `b`. */
static void s_answer_session(
    gateway_test_t *test, node_id_t from, const msg_read_t *read, uint64_t a, uint64_t b)
{
    assert_int_equal(read->kind, READ_SESSION);
    msg_session_row_t rows[2] = {
        {3, {{a}, test->now.wall_ns, 2.0, 2}, gateway_test_stream((node_id_t){{1}, {2}})},
        {1, {{b}, test->now.wall_ns - 5, 0.5, 1}, gateway_test_stream((node_id_t){{2}, {2}})},
    };
    msg_t answer = gateway_test_read_reply(read, CODE_OK);
    answer.as.read_reply.as.session.found = true;
    answer.as.read_reply.as.session.started_hlc = (hlc_stamp_t){1000, 0, 1};
    answer.as.read_reply.as.session.agent = slice_text("web");
    answer.as.read_reply.as.session.meta = slice_make("\x80", 1);
    answer.as.read_reply.as.session.row_count = 2;
    answer.as.read_reply.as.session.rows = rows;
    gateway_test_answer(test, from, &answer);
}

/* Goal: session_get asks the nearest replica of the home shard and gives every row in its order. */
static void test_gateway_session_get_gives_the_rows(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    session_id_t id = s_id(test);
    pack_put_bin(gateway_test_request(test, "session_get"), "session", s_bytes(&id));
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_true(to.region.value == 1 && to.shard.value == 2);
    assert_memory_equal(&msg.as.read.as.session, &id, sizeof(id));
    s_answer_session(test, to, &msg.as.read, 41, 42);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_expect_text(test, handle, "agent", "web");
    assert_int_equal(gateway_test_value(test, handle, "meta").kind, PACK_MAP);
    assert_true(gateway_test_value(test, handle, "open").as.boolean);
    assert_int_equal(gateway_test_value(test, handle, "closed").kind, PACK_NIL);
    assert_int_equal(gateway_test_u64(test, handle, "started"), 1000);
    assert_int_equal(gateway_test_u64(test, handle, "user"), s_user(test).value);
    pack_reader_t reader;
    pack_value_t value;
    assert_true(pack_find(pack_reader(gateway_test_reply(test, handle)), "signals", &reader));
    assert_true(pack_next(&reader, &value) && value.as.count == 2);
    assert_true(pack_next(&reader, &value) && value.as.count == 6);
    assert_true(pack_next(&reader, &value) && value.as.uint == 3);
    assert_true(pack_next(&reader, &value) && slice_equal(value.as.bytes, slice_text("like")));
    assert_true(pack_next(&reader, &value) && value.as.uint == 41);
    gateway_test_destroy(&test);
}

/* Goal: a session that the replica does not know is NOT_FOUND. */
static void test_gateway_session_get_unknown_is_not_found(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    session_id_t id = s_id(test);
    pack_put_bin(gateway_test_request(test, "session_get"), "session", s_bytes(&id));
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_NOT_FOUND);
    gateway_test_destroy(&test);
}

/* -- retrieve ---------------------------------------------------------------------------------- */

static uint64_t s_ask_retrieve(gateway_test_t *test)
{
    session_id_t id = s_id(test);
    pack_put_bin(gateway_test_request(test, "retrieve"), "session", s_bytes(&id));
    return gateway_test_ask(test);
}

/* Every shard ranks one item; counts how many signals of the session they were given. */
static uint32_t s_answer_ranking(gateway_test_t *test, uint32_t *ret_shards)
{
    uint32_t signals = 0;
    msg_t msg;
    node_id_t to;
    *ret_shards = 0;
    while (gateway_test_next(test, &to, &msg)) {
        if (msg.as.read.kind == READ_SESSION) {
            continue; /* asked of one more, just before it was given up */
        }
        assert_int_equal(msg.as.read.kind, READ_RETRIEVE);
        assert_int_equal(msg.as.read.as.retrieve.user.value, s_user(test).value);
        for (uint32_t i = 0; i < msg.as.read.as.retrieve.session_count; i++) {
            item_id_t item = msg.as.read.as.retrieve.session[i].item;
            assert_int_equal(route_item((tenant_id_t){1}, item, 5).value, to.shard.value);
            signals++;
        }
        msg_ranked_t ranked = {.item = {100 + to.shard.value}, .score = to.shard.value};
        msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
        answer.as.read_reply.as.retrieve.ranked_count = 1;
        answer.as.read_reply.as.retrieve.ranked = &ranked;
        gateway_test_answer(test, to, &answer);
        (*ret_shards)++;
    }
    return signals;
}

/* Goal: the session is read first; then each shard gets the signals of its items alone. */
static void test_gateway_retrieve_hands_the_session_to_the_shards(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_retrieve(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.shard.value, 2);
    gateway_test_expect_silence(test);
    s_answer_session(test, to, &msg.as.read, gateway_test_entity(test, 0, 0),
                     gateway_test_entity(test, 4, 0));
    uint32_t shards = 0;
    assert_int_equal(s_answer_ranking(test, &shards), 2);
    assert_int_equal(shards, 5);
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_int_equal(gateway_test_u64(test, handle, "stats.shards_total"), 5);
    assert_int_equal(gateway_test_u64(test, handle, "stats.shards_answered"), 5);
    assert_false(gateway_test_value(test, handle, "stats.degraded").as.boolean);
    gateway_test_destroy(&test);
}

/* Goal: an unknown session fails the request, and no shard is asked. */
static void test_gateway_retrieve_unknown_session_is_not_found(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_retrieve(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_NOT_FOUND);
    gateway_test_expect_silence(test);
    gateway_test_destroy(&test);
}

/* Every shard answers, the session does not count, and the reply says so. */
static void s_expect_without_session(gateway_test_t *test, uint64_t handle)
{
    uint32_t shards = 0;
    assert_int_equal(s_answer_ranking(test, &shards), 0);
    assert_int_equal(shards, 5);
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_true(gateway_test_value(test, handle, "stats.degraded").as.boolean);
    assert_int_equal(gateway_test_u64(test, handle, "stats.shards_answered"), 5);
}

/* Goal: a session that every replica refuses to read degrades the answer and does not fail it. */
static void test_gateway_retrieve_without_its_session_is_degraded(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_retrieve(test);
    for (int i = 0; i < 3; i++) {
        msg_t msg;
        node_id_t to = gateway_test_take(test, &msg);
        assert_int_equal(msg.as.read.kind, READ_SESSION);
        msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_UNAVAILABLE);
        gateway_test_answer(test, to, &answer);
    }
    s_expect_without_session(test, handle);
    gateway_test_destroy(&test);
}

/* Goal: one that hangs is given up in half of the time, so that the shards still have theirs. */
static void test_gateway_retrieve_does_not_wait_for_a_hanging_session(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_retrieve(test);
    gateway_test_run_ms(test, 1020, s_none);
    assert_false(gateway_test_has_reply(test, handle));
    s_expect_without_session(test, handle);
    gateway_test_destroy(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_session_start_goes_to_the_home_shard),
        cmocka_unit_test(test_gateway_session_start_without_producer_draws_an_id),
        cmocka_unit_test(test_gateway_session_signal_is_numbered_by_its_leader),
        cmocka_unit_test(test_gateway_session_signal_refusals_are_passed_on),
        cmocka_unit_test(test_gateway_session_close_has_the_summary),
        cmocka_unit_test(test_gateway_session_get_gives_the_rows),
        cmocka_unit_test(test_gateway_session_get_unknown_is_not_found),
        cmocka_unit_test(test_gateway_retrieve_hands_the_session_to_the_shards),
        cmocka_unit_test(test_gateway_retrieve_unknown_session_is_not_found),
        cmocka_unit_test(test_gateway_retrieve_without_its_session_is_degraded),
        cmocka_unit_test(test_gateway_retrieve_does_not_wait_for_a_hanging_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
