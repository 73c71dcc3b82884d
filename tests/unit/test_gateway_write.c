/* Writes through the gateway: split by shards, sent to leaders, repeated where that is safe, put
 * together into one reply. */
#include "common/topology/table.h"
#include "common/wal/record.h"
#include "tests/unit/gateway_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const region_set_t s_none = {0};
static const region_set_t s_region_2 = {1u << 2};

static uint64_t s_ask_signal(gateway_test_t *test, uint16_t shard)
{
    pack_writer_t *writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", gateway_test_entity(test, shard, 0));
    return gateway_test_ask(test);
}

static uint64_t s_ask_signal_of_producer(gateway_test_t *test, uint16_t shard)
{
    pack_writer_t *writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", gateway_test_entity(test, shard, 0));
    pack_put_text(writer, "producer", "loader");
    pack_put_u64(writer, "seq", 5);
    return gateway_test_ask(test);
}

/* Rows of view for one item of each of the first `count` shards. */
static uint64_t s_ask_signals(gateway_test_t *test, uint16_t count)
{
    pack_writer_t *writer = gateway_test_request(test, "signals");
    pack_key(writer, "rows");
    pack_write_array(writer, count);
    for (uint16_t shard = 0; shard < count; shard++) {
        pack_write_array(writer, 3);
        pack_write_str(writer, slice_text("view"));
        pack_write_u64(writer, gateway_test_entity(test, shard, 0));
        pack_write_nil(writer);
    }
    return gateway_test_ask(test);
}

static uint64_t s_ask_mute(gateway_test_t *test, uint16_t home)
{
    pack_writer_t *writer = gateway_test_request(test, "mute");
    pack_put_u64(writer, "user", gateway_test_entity(test, home, 0));
    pack_put_u64(writer, "creator", 9);
    return gateway_test_ask(test);
}

/* Answers everything that is under way to nodes with ok. */
static uint32_t s_answer_all(gateway_test_t *test)
{
    uint32_t count = 0;
    node_id_t to;
    msg_t msg;
    while (gateway_test_next(test, &to, &msg)) {
        assert_int_equal(msg.type, MSG_WRITE);
        msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
        gateway_test_answer(test, to, &answer);
        count++;
    }
    return count;
}

static uint64_t s_ask_hide(gateway_test_t *test, const char *op, slice_t token)
{
    pack_writer_t *writer = gateway_test_request(test, op);
    pack_put_u64(writer, "user", 5);
    pack_put_u64(writer, "item", gateway_test_entity(test, 1, 0));
    if (token.size > 0) {
        pack_put_bin(writer, "token", token);
    }
    return gateway_test_ask(test);
}

/* Goal: what a client has seen written comes before what it writes next, also where the gateway's
 * clock is behind. Method: a hide is logged 300 ms ahead of the gateway's clock; the unhide that
 * carries the reply's token is stamped after it. */
static void test_gateway_register_write_is_stamped_after_what_its_token_saw(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    hlc_stamp_t ahead = {.wall_ns = GATEWAY_TEST_WALL_NS + INT64_C(300000000), .logical = 9};
    uint8_t bytes[TOKEN_SIZE_MAX];
    static token_t s_token;
    token_clear(&s_token);
    token_add_stamp(&s_token, ahead);
    buffer_t encoded;
    buffer_init(&encoded);
    assert_int_equal(token_encode(&s_token, &encoded), ERR_OK);
    memcpy(bytes, encoded.data, encoded.size);
    uint64_t asked = s_ask_hide(test, "unhide", slice_make(bytes, encoded.size));
    buffer_done(&encoded);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_true(hlc_compare(msg.as.write.hlc, ahead) > 0);
    hlc_stamp_t logged = msg.as.write.hlc;
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    answer.as.write_reply.hlc = logged;
    gateway_test_answer(test, to, &answer);
    pack_value_t token = gateway_test_value(test, asked, "token");
    assert_int_equal(token_decode(&s_token, token.as.bytes, NULL), ERR_OK);
    assert_int_equal(s_token.hlc_ns, logged.wall_ns + 1);
    gateway_test_destroy(&test);
}

/* Goal: one signal becomes one write to the leader of its shard, defaults filled in, and the reply
 * names what was written. Method: look at the message, answer it, look at the reply. */
static void test_gateway_signal_is_written_to_its_leader(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signal(test, 1);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 2);
    assert_int_equal(to.shard.value, 1);
    assert_int_equal(msg.as.write.level, ACK_REPLICATED);
    assert_true(msg.as.write.timeout_ms > 4000 && msg.as.write.timeout_ms < 5000);
    assert_int_equal(msg.as.write.event_count, 1);
    assert_int_equal(msg.as.write.hlc.wall_ns, 0);
    size_t offset = 0;
    record_t record;
    assert_int_equal(record_next(msg.as.write.payload, &offset, &record, NULL), ERR_OK);
    signal_event_t event;
    record_signals_get(&record.as.signals, 0, &event);
    assert_int_equal(event.item.value, gateway_test_entity(test, 1, 0));
    assert_int_equal(event.ts_ns, GATEWAY_TEST_WALL_NS);
    assert_true(event.weight == 1.0);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    assert_false(gateway_test_has_reply(test, handle));
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_int_equal(gateway_test_u64(test, handle, "id"), 7);
    assert_int_equal(gateway_test_u64(test, handle, "shard"), 1);
    assert_int_equal(gateway_test_u64(test, handle, "seq_first"), 1);
    assert_int_equal(gateway_test_u64(test, handle, "seq_last"), 1);
    gateway_test_expect_text(test, handle, "durability", "replicated");
    gateway_test_expect_text(test, handle, "replicas.2", "ap-south");
    gateway_test_expect_text(test, handle, "origin", "eu-west-1-0000000000000abc");
    assert_int_equal(gateway_test_value(test, handle, "token").kind, PACK_BIN);
    assert_int_equal(gateway_test_value(test, handle, "duplicate").kind, PACK_BAD);
    gateway_test_destroy(&test);
}

/* Goal: a write's token covers what the request carried and what was written, without what every
 * node has. Method: write twice with the first token, publish one stream as stable. */
static void test_gateway_token_covers_request_and_write_but_not_stable_streams(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t first = s_ask_signal(test, 1);
    (void)s_answer_all(test);
    pack_value_t token = gateway_test_value(test, first, "token");
    pack_writer_t *writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", gateway_test_entity(test, 2, 0));
    pack_put_bin(writer, "token", token.as.bytes);
    uint64_t second = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(msg.as.write.token.size, 0); /* nothing of this shard in it */
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    token_t decoded;
    token = gateway_test_value(test, second, "token");
    assert_int_equal(token_decode(&decoded, token.as.bytes, NULL), ERR_OK);
    assert_int_equal(decoded.count, 2);

    stream_position_t stable = {gateway_test_stream((node_id_t){{2}, {1}}), 1};
    table_t *table = table_new_default(&test->topology);
    gateway_test_publish(test, table, &stable, 1);
    table_destroy(&table);
    writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", gateway_test_entity(test, 2, 0));
    pack_put_bin(writer, "token", token.as.bytes);
    uint64_t third = gateway_test_ask(test);
    to = gateway_test_take(test, &msg);
    assert_true(msg.as.write.token.size > 0);
    answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    token = gateway_test_value(test, third, "token");
    assert_int_equal(token_decode(&decoded, token.as.bytes, NULL), ERR_OK);
    assert_int_equal(decoded.count, 1);
    assert_int_equal(decoded.positions[0].stream.origin.shard.value, 2);
    gateway_test_destroy(&test);
}

/* Goal: rows go to their shards, each batch in the order sent, and the reply counts them. */
static void test_gateway_signals_are_split_by_shard(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signals(test, 5);
    assert_int_equal(s_answer_all(test), 5);
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_int_equal(gateway_test_u64(test, handle, "accepted"), 5);
    assert_int_equal(gateway_test_u64(test, handle, "shards.4.shard"), 4);
    assert_int_equal(gateway_test_u64(test, handle, "shards.4.count"), 1);
    assert_int_equal(gateway_test_value(test, handle, "shards.5").kind, PACK_BAD);
    gateway_test_destroy(&test);
}

/* Goal: durability is the lowest of the shards, replicas what all have, duplicate when all are. */
static void test_gateway_signals_report_the_least_of_their_shards(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signals(test, 2);
    msg_t msg;
    for (uint32_t i = 0; i < 2; i++) {
        node_id_t to = gateway_test_take(test, &msg);
        msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
        answer.as.write_reply.durability = i == 0 ? ACK_ALL : ACK_REPLICATED;
        answer.as.write_reply.replicas.bits = i == 0 ? 6 : 12;
        answer.as.write_reply.duplicate = i == 0;
        gateway_test_answer(test, to, &answer);
    }
    gateway_test_expect_text(test, handle, "durability", "replicated");
    gateway_test_expect_text(test, handle, "replicas.0", "eu-west");
    assert_int_equal(gateway_test_value(test, handle, "replicas.1").kind, PACK_BAD);
    assert_int_equal(gateway_test_value(test, handle, "duplicate").kind, PACK_BAD);
    assert_true(gateway_test_value(test, handle, "shards.0.duplicate").as.boolean);
    gateway_test_destroy(&test);
}

/* Goal: READ_ONLY with another leader's name is followed at once; a second one waits. */
static void test_gateway_write_follows_the_leader_hint(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signal(test, 0);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 1);
    msg_t answer = gateway_test_write_refused(&msg.as.write, CODE_READ_ONLY, (region_id_t){3});
    gateway_test_answer(test, to, &answer);
    to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 3);
    answer = gateway_test_write_refused(&msg.as.write, CODE_READ_ONLY, (region_id_t){1});
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_silence(test);
    gateway_test_run_ms(test, 150, s_none);
    to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 1);
    answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: UNAVAILABLE and OVERLOADED are tried again until timeout_ms, and then passed on. */
static void test_gateway_write_unavailable_is_retried_until_its_timeout(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    pack_writer_t *writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", gateway_test_entity(test, 0, 0));
    pack_put_u64(writer, "timeout_ms", 1000);
    uint64_t handle = gateway_test_ask(test);
    uint32_t tries = 0;
    for (uint32_t i = 0; i < 150 && !gateway_test_has_reply(test, handle); i++) {
        node_id_t to;
        msg_t msg;
        while (gateway_test_next(test, &to, &msg)) {
            tries++;
            msg_t answer = gateway_test_write_refused(&msg.as.write, CODE_UNAVAILABLE, to.region);
            gateway_test_answer(test, to, &answer);
        }
        gateway_test_run_ms(test, 10, s_none);
    }
    assert_in_range(tries, 3, 12);
    gateway_test_expect_code(test, handle, CODE_UNAVAILABLE);
    assert_true(gateway_test_value(test, handle, "error.retryable").as.boolean);
    gateway_test_destroy(&test);
}

/* Goal: without a producer what was sent is never sent twice; the end is NOT_REPLICATED. */
static void test_gateway_unanswered_write_without_producer_is_not_repeated(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signal(test, 0);
    msg_t msg;
    (void)gateway_test_take(test, &msg);
    gateway_test_run_ms(test, 4900, s_none);
    gateway_test_expect_silence(test);
    assert_false(gateway_test_has_reply(test, handle));
    gateway_test_run_ms(test, 200, s_none);
    gateway_test_expect_code(test, handle, CODE_NOT_REPLICATED);
    assert_int_equal(gateway_test_value(test, handle, "token").kind, PACK_BIN);
    gateway_test_destroy(&test);
}

/* Goal: with a producer it is sent again, and the answer to any copy settles it. */
static void test_gateway_unanswered_write_of_a_producer_is_repeated(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signal_of_producer(test, 0);
    msg_t first;
    node_id_t to = gateway_test_take(test, &first);
    assert_true(first.as.write.has_producer);
    assert_int_equal(first.as.write.producer_seq, 5);
    msg_t answer = gateway_test_write_ok(test, to, &first.as.write);
    gateway_test_run_ms(test, 1100, s_none);
    msg_t second;
    (void)gateway_test_take(test, &second);
    assert_true(second.as.write.timeout_ms < 4000);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_answer(test, to, &answer); /* late: harms nobody */
    gateway_test_destroy(&test);
}

/* Goal: what may be logged is never called UNAVAILABLE. Method: no answer to the first copy, then
 * refusals until the end. */
static void test_gateway_write_with_an_open_copy_ends_as_not_replicated(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signal_of_producer(test, 0);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    for (uint32_t i = 0; i < 520; i++) {
        gateway_test_run_ms(test, 10, s_none);
        if (gateway_test_next(test, &to, &msg)) {
            msg_t answer = gateway_test_write_refused(&msg.as.write, CODE_UNAVAILABLE, to.region);
            gateway_test_answer(test, to, &answer);
        }
    }
    gateway_test_expect_code(test, handle, CODE_NOT_REPLICATED);
    gateway_test_destroy(&test);
}

/* Goal: a refusal that a link delivers twice makes nothing be sent twice. Method: the refusal of
 * the first copy comes again while the second one is under way. */
static void test_gateway_refusal_that_comes_twice_counts_once(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signal(test, 1);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t refusal = gateway_test_write_refused(&msg.as.write, CODE_UNAVAILABLE, to.region);
    gateway_test_answer(test, to, &refusal);
    gateway_test_run_ms(test, 900, s_none);
    to = gateway_test_take(test, &msg);
    assert_true(msg.as.write.request_id != refusal.as.write_reply.request_id);
    gateway_test_answer(test, to, &refusal);
    gateway_test_run_ms(test, 2000, s_none);
    gateway_test_expect_silence(test);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: NOT_REPLICATED of a node is passed on with what it holds. */
static void test_gateway_not_replicated_carries_durability_and_token(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signal(test, 0);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    answer.as.write_reply.code = CODE_NOT_REPLICATED;
    answer.as.write_reply.durability = ACK_LOCAL;
    answer.as.write_reply.replicas.bits = 2;
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_NOT_REPLICATED);
    gateway_test_expect_text(test, handle, "durability", "local");
    gateway_test_expect_text(test, handle, "replicas.0", "us-east");
    assert_int_equal(gateway_test_u64(test, handle, "seq_last"), 1);
    assert_int_equal(gateway_test_value(test, handle, "token").kind, PACK_BIN);
    gateway_test_destroy(&test);
}

/* Goal: a leader's region that is cut off is refused within about a second, nothing is sent. */
static void test_gateway_write_to_an_unreachable_region_is_refused_quickly(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    gateway_test_run_ms(test, 2000, s_region_2);
    uint64_t handle = s_ask_signal(test, 1);
    gateway_test_run_ms(test, 1200, s_region_2);
    gateway_test_expect_silence(test);
    gateway_test_expect_code(test, handle, CODE_UNAVAILABLE);
    gateway_test_expect_text(test, handle, "error.leader", "eu-west");
    /* It heals: the next write flows. */
    gateway_test_run_ms(test, 500, s_none);
    handle = s_ask_signal(test, 1);
    assert_int_equal(s_answer_all(test), 1);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: a send that the transport refuses is tried again and harms nothing. */
static void test_gateway_refused_send_is_retried(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    test->send_errors[1] = ERR_UNREACHABLE;
    uint64_t handle = s_ask_signal(test, 0);
    gateway_test_run_ms(test, 300, s_none);
    test->send_errors[1] = ERR_FULL;
    gateway_test_run_ms(test, 300, s_none);
    test->send_errors[1] = ERR_OK;
    gateway_test_run_ms(test, 300, s_none);
    assert_int_equal(s_answer_all(test), 1);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: some shards fail: PARTIAL names them and tells what the others did. */
static void test_gateway_signals_partial_names_the_shards(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signals(test, 2);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    to = gateway_test_take(test, &msg);
    answer = gateway_test_write_refused(&msg.as.write, CODE_DISK_FULL, to.region);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_PARTIAL);
    assert_int_equal(gateway_test_u64(test, handle, "error.shards.0.shard"), 1);
    gateway_test_expect_text(test, handle, "error.shards.0.code", "DISK_FULL");
    assert_int_equal(gateway_test_u64(test, handle, "shards.0.shard"), 0);
    assert_int_equal(gateway_test_u64(test, handle, "accepted"), 1);
    assert_int_equal(gateway_test_value(test, handle, "token").kind, PACK_BIN);
    gateway_test_destroy(&test);
}

/* Goal: when every shard refuses for one reason, that is the answer. */
static void test_gateway_signals_all_refused_is_that_refusal(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signals(test, 2);
    msg_t msg;
    for (uint32_t i = 0; i < 2; i++) {
        node_id_t to = gateway_test_take(test, &msg);
        msg_t answer = gateway_test_write_refused(&msg.as.write, CODE_DISK_FULL, to.region);
        gateway_test_answer(test, to, &answer);
    }
    gateway_test_expect_code(test, handle, CODE_DISK_FULL);
    gateway_test_destroy(&test);
}

/* Goal: a register write carries one stamp of the gateway, in message and record, in every copy. */
static void test_gateway_register_write_carries_one_stamp(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    pack_writer_t *writer = gateway_test_request(test, "hide");
    pack_put_u64(writer, "user", 4);
    pack_put_u64(writer, "item", gateway_test_entity(test, 3, 0));
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.shard.value, 3);
    hlc_stamp_t stamp = msg.as.write.hlc;
    assert_int_equal(stamp.wall_ns, GATEWAY_TEST_WALL_NS);
    assert_int_equal(stamp.node, 1u << 16 | 0xffff);
    assert_false(msg.as.write.hlc_is_explicit);
    size_t offset = 0;
    record_t record;
    assert_int_equal(record_next(msg.as.write.payload, &offset, &record, NULL), ERR_OK);
    assert_int_equal(record.as.relation.action, RELATION_HIDE);
    assert_true(record.as.relation.set);
    assert_int_equal(hlc_compare(record.as.relation.hlc, stamp), 0);
    gateway_test_run_ms(test, 1100, s_none); /* a second copy merges by its stamp */
    to = gateway_test_take(test, &msg);
    assert_int_equal(hlc_compare(msg.as.write.hlc, stamp), 0);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: an explicit hlc of the client is used and marked. */
static void test_gateway_explicit_hlc_is_passed_on(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    pack_writer_t *writer = gateway_test_request(test, "unhide");
    pack_put_u64(writer, "user", 4);
    pack_put_u64(writer, "item", 1);
    pack_key(writer, "hlc");
    pack_write_array(writer, 3);
    pack_write_u64(writer, 1234);
    pack_write_u64(writer, 5);
    pack_write_u64(writer, 6);
    (void)gateway_test_ask(test);
    msg_t msg;
    (void)gateway_test_take(test, &msg);
    assert_true(msg.as.write.hlc_is_explicit);
    assert_int_equal(msg.as.write.hlc.wall_ns, 1234);
    assert_int_equal(msg.as.write.hlc.logical, 5);
    assert_int_equal(msg.as.write.hlc.node, 6);
    gateway_test_destroy(&test);
}

/* Goal: what concerns all shards is logged at home first, and the others get the home copy's stamp.
 * Method: the home answers as a duplicate with the original's older stamp. */
static void test_gateway_mute_is_written_at_home_first(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_mute(test, 2);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.shard.value, 2);
    gateway_test_expect_silence(test);
    hlc_stamp_t original = {GATEWAY_TEST_WALL_NS - 5, 1, 77};
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    answer.as.write_reply.hlc = original;
    answer.as.write_reply.duplicate = true;
    gateway_test_answer(test, to, &answer);
    for (uint32_t i = 0; i < 4; i++) {
        to = gateway_test_take(test, &msg);
        assert_int_not_equal(to.shard.value, 2);
        assert_false(msg.as.write.has_producer);
        assert_int_equal(hlc_compare(msg.as.write.hlc, original), 0);
        size_t offset = 0;
        record_t record;
        assert_int_equal(record_next(msg.as.write.payload, &offset, &record, NULL), ERR_OK);
        assert_int_equal(hlc_compare(record.as.relation.hlc, original), 0);
        answer = gateway_test_write_ok(test, to, &msg.as.write);
        gateway_test_answer(test, to, &answer);
    }
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_true(gateway_test_value(test, handle, "duplicate").as.boolean);
    assert_int_equal(gateway_test_u64(test, handle, "shards.4.count"), 1);
    gateway_test_destroy(&test);
}

/* Goal: an explicit stamp is held against one leader's clock, the home shard's: what that one has logged no
 * other may refuse for its time. */
static void test_gateway_mute_with_explicit_hlc_is_judged_at_home_alone(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    pack_writer_t *writer = gateway_test_request(test, "mute");
    pack_put_u64(writer, "user", gateway_test_entity(test, 2, 0));
    pack_put_u64(writer, "creator", 9);
    pack_key(writer, "hlc");
    pack_write_array(writer, 3);
    pack_write_u64(writer, 1234);
    pack_write_u64(writer, 5);
    pack_write_u64(writer, 6);
    uint64_t handle = gateway_test_ask(test);
    for (uint32_t i = 0; i < 5; i++) {
        msg_t msg;
        node_id_t to = gateway_test_take(test, &msg);
        assert_int_equal(msg.as.write.hlc_is_explicit, i == 0);
        assert_int_equal(msg.as.write.hlc.wall_ns, 1234);
        msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
        gateway_test_answer(test, to, &answer);
    }
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: once all shards hold it at `replicated`, the home shard's leader hears so, once, with the
 * stamp of the home copy; nobody waits for its answer. Of a write at `local` it hears nothing. */
static void test_gateway_mute_that_all_hold_is_told_to_its_home(void **state)
{
    (void)state;
    for (int is_local = 0; is_local <= 1; is_local++) {
        gateway_test_t *test = gateway_test_new(3, 5);
        pack_writer_t *writer = gateway_test_request(test, "mute");
        pack_put_u64(writer, "user", gateway_test_entity(test, 2, 0));
        pack_put_u64(writer, "creator", 9);
        pack_put_text(writer, "ack", is_local == 1 ? "local" : "replicated");
        uint64_t handle = gateway_test_ask(test);
        msg_t msg;
        node_id_t home = gateway_test_take(test, &msg);
        hlc_stamp_t hlc = msg.as.write.hlc;
        msg_t answer = gateway_test_write_ok(test, home, &msg.as.write);
        gateway_test_answer(test, home, &answer);
        for (uint32_t i = 0; i < 4; i++) {
            node_id_t to = gateway_test_take(test, &msg);
            answer = gateway_test_write_ok(test, to, &msg.as.write);
            gateway_test_answer(test, to, &answer);
        }
        gateway_test_expect_code(test, handle, CODE_OK);
        if (is_local == 0) {
            node_id_t to = gateway_test_take(test, &msg);
            assert_true(node_id_equal(to, home));
            assert_int_equal(msg.type, MSG_WRITE);
            size_t offset = 0;
            record_t record;
            assert_int_equal(record_next(msg.as.write.payload, &offset, &record, NULL), ERR_OK);
            assert_int_equal(record.type, RECORD_HELD);
            assert_int_equal(record.as.held.kind, HELD_MUTE);
            assert_true(record.as.held.set && record.as.held.target == 9);
            assert_int_equal(hlc_compare(record.as.held.hlc, hlc), 0);
            assert_int_equal(msg.as.write.event_count, 1);
            answer = gateway_test_write_ok(test, to, &msg.as.write);
            gateway_test_answer(test, to, &answer);
        }
        gateway_test_expect_silence(test);
        gateway_test_destroy(&test);
    }
}

/* Goal: with the home shard out of reach nothing is written anywhere. */
static void test_gateway_mute_without_its_home_is_unavailable(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    test->send_errors[3] = ERR_UNREACHABLE;
    uint64_t handle = s_ask_mute(test, 2);
    gateway_test_run_ms(test, 5100, s_none);
    gateway_test_expect_silence(test);
    gateway_test_expect_code(test, handle, CODE_UNAVAILABLE);
    gateway_test_destroy(&test);
}

/* Goal: home ok and another shard not: PARTIAL with both. */
static void test_gateway_put_user_with_a_failing_shard_is_partial(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 2);
    pack_writer_t *writer = gateway_test_request(test, "put_user");
    pack_put_u64(writer, "user", gateway_test_entity(test, 1, 0));
    pack_put_map(writer, "attrs");
    pack_put_text(writer, "locale", "EU");
    pack_close(writer);
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.shard.value, 1);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    to = gateway_test_take(test, &msg);
    answer = gateway_test_write_refused(&msg.as.write, CODE_DISK_FULL, (region_id_t){1});
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_PARTIAL);
    assert_int_equal(gateway_test_u64(test, handle, "error.shards.0.shard"), 0);
    assert_int_equal(gateway_test_u64(test, handle, "shards.0.shard"), 1);
    assert_int_equal(gateway_test_value(test, handle, "accepted").kind, PACK_BAD);
    gateway_test_expect_silence(test); /* the home shard's leader goes on with it */
    gateway_test_destroy(&test);
}

/* Goal: a duplicate so old that its stamp is forgotten is not written to the others again. */
static void test_gateway_mute_that_is_long_stable_is_answered_at_once(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_mute(test, 2);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    answer.as.write_reply.duplicate = true;
    answer.as.write_reply.has_position = false;
    answer.as.write_reply.durability = ACK_ALL;
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_silence(test);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_expect_text(test, handle, "durability", "all");
    gateway_test_destroy(&test);
}

/* Goal: a new table moves waiting writes to the new leader at once. */
static void test_gateway_new_table_redirects_waiting_writes(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signal_of_producer(test, 0);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 1);
    table_t *old = table_new_default(&test->topology);
    table_t *table = table_next(old);
    table_record_t record = *table_find_record(table, TENANT_DEFAULT, (shard_id_t){0});
    record.leader = (region_id_t){3};
    record.epoch++;
    record.version++;
    assert_int_equal(table_set_record(table, TENANT_DEFAULT, (shard_id_t){0}, &record, NULL),
                     ERR_OK);
    gateway_test_publish(test, table, NULL, 0);
    to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 3);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    table_destroy(&table);
    table_destroy(&old);
    gateway_test_destroy(&test);
}

/* Goal: an event more than an hour ahead is refused before anything is sent. */
static void test_gateway_event_from_the_future_is_refused(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    pack_writer_t *writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", 1);
    pack_put_i64(writer, "ts", GATEWAY_TEST_WALL_NS + INT64_C(3600) * 1000000000 + 1);
    uint64_t handle = gateway_test_ask(test);
    gateway_test_expect_code(test, handle, CODE_BAD_REQUEST);
    gateway_test_expect_silence(test);
    gateway_test_destroy(&test);
}

/* Goal: put_items writes one record per item, and get the count back. */
static void test_gateway_put_items_are_split_by_shard(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    pack_writer_t *writer = gateway_test_request(test, "put_items");
    pack_put_array(writer, "items");
    for (uint32_t i = 0; i < 4; i++) {
        pack_item(writer);
        pack_open_map(writer);
        pack_put_u64(writer, "item", gateway_test_entity(test, (uint16_t)(i / 2), i % 2));
        pack_put_text(writer, "title", "a title");
        pack_put_u64(writer, "creator", 3);
        pack_put_u64(writer, "created", 99);
        pack_put_array(writer, "tags");
        pack_item(writer);
        pack_write_str(writer, slice_text("red"));
        pack_close(writer);
        pack_close(writer);
    }
    pack_close(writer);
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    for (uint32_t i = 0; i < 2; i++) {
        node_id_t to = gateway_test_take(test, &msg);
        assert_int_equal(to.shard.value, i);
        assert_int_equal(msg.as.write.event_count, 2);
        errbuf_t errbuf = {{0}};
        assert_int_equal(record_check_payload(msg.as.write.payload, 2, &errbuf), ERR_OK);
        msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
        gateway_test_answer(test, to, &answer);
    }
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_int_equal(gateway_test_u64(test, handle, "accepted"), 4);
    gateway_test_destroy(&test);
}

/* Goal: at a stop everything under way is answered: what was sent may be logged. */
static void test_gateway_drain_answers_everything(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t sent = s_ask_signal(test, 0);
    test->send_errors[2] = ERR_UNREACHABLE;
    uint64_t unsent = s_ask_signal(test, 1);
    gateway_engine_drain(test->engine, test->now);
    gateway_test_expect_code(test, sent, CODE_NOT_REPLICATED);
    gateway_test_expect_code(test, unsent, CODE_UNAVAILABLE);
    assert_int_equal(gateway_engine_inflight(test->engine), 0);
    gateway_test_destroy(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_signal_is_written_to_its_leader),
        cmocka_unit_test(test_gateway_token_covers_request_and_write_but_not_stable_streams),
        cmocka_unit_test(test_gateway_signals_are_split_by_shard),
        cmocka_unit_test(test_gateway_signals_report_the_least_of_their_shards),
        cmocka_unit_test(test_gateway_write_follows_the_leader_hint),
        cmocka_unit_test(test_gateway_write_unavailable_is_retried_until_its_timeout),
        cmocka_unit_test(test_gateway_unanswered_write_without_producer_is_not_repeated),
        cmocka_unit_test(test_gateway_unanswered_write_of_a_producer_is_repeated),
        cmocka_unit_test(test_gateway_write_with_an_open_copy_ends_as_not_replicated),
        cmocka_unit_test(test_gateway_refusal_that_comes_twice_counts_once),
        cmocka_unit_test(test_gateway_not_replicated_carries_durability_and_token),
        cmocka_unit_test(test_gateway_write_to_an_unreachable_region_is_refused_quickly),
        cmocka_unit_test(test_gateway_refused_send_is_retried),
        cmocka_unit_test(test_gateway_signals_partial_names_the_shards),
        cmocka_unit_test(test_gateway_signals_all_refused_is_that_refusal),
        cmocka_unit_test(test_gateway_register_write_carries_one_stamp),
        cmocka_unit_test(test_gateway_register_write_is_stamped_after_what_its_token_saw),
        cmocka_unit_test(test_gateway_explicit_hlc_is_passed_on),
        cmocka_unit_test(test_gateway_mute_is_written_at_home_first),
        cmocka_unit_test(test_gateway_mute_with_explicit_hlc_is_judged_at_home_alone),
        cmocka_unit_test(test_gateway_mute_that_all_hold_is_told_to_its_home),
        cmocka_unit_test(test_gateway_mute_without_its_home_is_unavailable),
        cmocka_unit_test(test_gateway_put_user_with_a_failing_shard_is_partial),
        cmocka_unit_test(test_gateway_mute_that_is_long_stable_is_answered_at_once),
        cmocka_unit_test(test_gateway_new_table_redirects_waiting_writes),
        cmocka_unit_test(test_gateway_event_from_the_future_is_refused),
        cmocka_unit_test(test_gateway_put_items_are_split_by_shard),
        cmocka_unit_test(test_gateway_drain_answers_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
