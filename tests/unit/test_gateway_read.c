/* Reads through the gateway: which replica is asked, what happens when it does not answer, and how
 * cells of many shards become one answer. */
#include "common/session/session_id.h"
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

static pack_writer_t *s_score(gateway_test_t *test, uint16_t shard)
{
    pack_writer_t *writer = gateway_test_request(test, "score");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", gateway_test_entity(test, shard, 0));
    return writer;
}

static uint64_t s_ask_score(gateway_test_t *test, uint16_t shard)
{
    (void)s_score(test, shard);
    return gateway_test_ask(test);
}

/* One cell with this score and count. */
static void s_answer_cell(gateway_test_t *test,
                          node_id_t from,
                          const msg_read_t *read,
                          double score)
{
    msg_cell_t cell = {.score = score, .counts = {36}};
    msg_t answer = gateway_test_read_reply(read, CODE_OK);
    stream_position_t applied = {gateway_test_stream((node_id_t){{1}, from.shard}), 12};
    answer.as.read_reply.applied_count = 1;
    answer.as.read_reply.applied = &applied;
    answer.as.read_reply.as.cells.cell_count = 1;
    answer.as.read_reply.as.cells.window_count = (uint32_t)read->as.cells.windows.size;
    answer.as.read_reply.as.cells.cells = &cell;
    gateway_test_answer(test, from, &answer);
}

static void s_refuse(gateway_test_t *test, node_id_t from, const msg_read_t *read, code_t code)
{
    msg_t answer = gateway_test_read_reply(read, code);
    answer.as.read_reply.leader = (region_id_t){3};
    gateway_test_answer(test, from, &answer);
}

/* Goal: a read goes to the own region's node; the reply has as_of and a token of what it shows. */
static void test_gateway_score_is_read_in_the_own_region(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_score(test, 1);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 1);
    assert_int_equal(to.shard.value, 1);
    assert_int_equal(msg.as.read.at_ns, GATEWAY_TEST_WALL_NS);
    assert_false(msg.as.read.from_leader);
    s_answer_cell(test, to, &msg.as.read, 2.5);
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_true(gateway_test_value(test, handle, "score").as.f64 == 2.5);
    assert_int_equal(gateway_test_u64(test, handle, "as_of"), GATEWAY_TEST_WALL_NS);
    token_t token;
    pack_value_t value = gateway_test_value(test, handle, "token");
    assert_int_equal(token_decode(&token, value.as.bytes, NULL), ERR_OK);
    assert_int_equal(token.count, 1);
    assert_int_equal(token.positions[0].seq, 12);
    gateway_test_destroy(&test);
}

/* Goal: velocity is count by seconds; clipped is passed on. */
static void test_gateway_velocity_divides_by_the_window(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    pack_writer_t *writer = gateway_test_request(test, "velocity");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", 1);
    pack_put_text(writer, "window", "1h");
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    s_answer_cell(test, to, &msg.as.read, 0);
    assert_true(gateway_test_value(test, handle, "velocity").as.f64 == 36.0 / 3600.0);
    gateway_test_destroy(&test);
}

/* Goal: the cohort that a client names is what the node is asked for, and nobody else's answer. */
static void test_gateway_cohort_is_passed_on(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    for (unsigned round = 0; round < 2; round++) {
        pack_writer_t *writer = s_score(test, 0);
        if (round == 0) {
            pack_put_text(writer, "cohort", "locale:EU");
        }
        uint64_t handle = gateway_test_ask(test);
        msg_t msg;
        node_id_t to = gateway_test_take(test, &msg);
        assert_true(
            slice_equal(msg.as.read.as.cells.cohort, slice_text(round == 0 ? "locale:EU" : "")));
        s_answer_cell(test, to, &msg.as.read, 2.5);
        assert_true(gateway_test_value(test, handle, "score").as.f64 == 2.5);
    }
    pack_put_text(s_score(test, 0), "cohort", "");
    gateway_test_expect_code(test, gateway_test_ask(test), CODE_BAD_REQUEST);
    gateway_test_destroy(&test);
}

/* Goal: a node that is not ready is passed over at once; the nearest other region answers. Method:
 * region 3 answers its probes faster than region 2. */
static void test_gateway_read_goes_to_the_nearest_other_replica(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    const region_set_t slow = {1u << 2};
    gateway_test_run_ms(test, 10, slow);
    for (uint32_t i = 0; i < test->sent_count; i++) { /* region 2 answers its probe 10 ms later */
        if (test->sent[i].to.region.value == 2) {
            msg_t probe;
            gateway_test_decode(test, &test->sent[i], &probe);
            test->now.mono_ns += 10000000;
            msg_t answer = gateway_test_read_reply(&probe.as.read, CODE_OK);
            gateway_test_answer(test, (node_id_t){{2}, {0}}, &answer);
            break;
        }
    }
    uint64_t handle = s_ask_score(test, 1);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 1);
    s_refuse(test, to, &msg.as.read, CODE_UNAVAILABLE);
    to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 3);
    s_refuse(test, to, &msg.as.read, CODE_UNAVAILABLE);
    to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 2);
    s_answer_cell(test, to, &msg.as.read, 1);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: a node that hangs costs the first read some patience, the next ones none; a late answer is
 * taken. */
static void test_gateway_hanging_node_is_passed_over(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_score(test, 0);
    msg_t first;
    node_id_t hanging = gateway_test_take(test, &first);
    msg_read_t first_read = first.as.read;
    gateway_test_run_ms(test, 490, s_none);
    gateway_test_expect_silence(test);
    gateway_test_run_ms(test, 20, s_none);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_not_equal(to.region.value, 1);
    uint64_t next = s_ask_score(test, 0);
    to = gateway_test_take(test, &msg);
    assert_int_not_equal(to.region.value, 1);
    s_answer_cell(test, to, &msg.as.read, 3);
    gateway_test_expect_code(test, next, CODE_OK);
    first_read.as.cells.windows = slice_make(NULL, 0);
    s_answer_cell(test, hanging, &first_read, 4);
    assert_true(gateway_test_value(test, handle, "score").as.f64 == 4.0);
    /* It answers: it is asked again. */
    (void)s_ask_score(test, 0);
    to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 1);
    gateway_test_destroy(&test);
}

/* Goal: nobody answers: TIMEOUT after read_timeout_ms. */
static void test_gateway_read_without_an_answer_times_out(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    uint64_t handle = s_ask_score(test, 0);
    gateway_test_run_ms(test, 1990, s_none);
    assert_false(gateway_test_has_reply(test, handle));
    gateway_test_run_ms(test, 20, s_none);
    gateway_test_expect_code(test, handle, CODE_TIMEOUT);
    gateway_test_destroy(&test);
}

/* Goal: read `leader` goes to the leader, follows READ_ONLY to another one. */
static void test_gateway_leader_read_follows_the_hint(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    pack_put_text(s_score(test, 1), "read", "leader");
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 2);
    assert_true(msg.as.read.from_leader);
    s_refuse(test, to, &msg.as.read, CODE_READ_ONLY);
    to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 3);
    s_answer_cell(test, to, &msg.as.read, 1);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: the leader's region is cut off: UNAVAILABLE, soon. */
static void test_gateway_leader_read_of_a_cut_region_is_unavailable(void **state)
{
    (void)state;
    const region_set_t cut = {1u << 2};
    gateway_test_t *test = gateway_test_new(3, 5);
    gateway_test_run_ms(test, 1500, cut);
    pack_put_text(s_score(test, 1), "read", "leader");
    uint64_t handle = gateway_test_ask(test);
    gateway_test_run_ms(test, 1200, cut);
    gateway_test_expect_code(test, handle, CODE_UNAVAILABLE);
    gateway_test_expect_silence(test);
    gateway_test_destroy(&test);
}

/* Goal: a token goes to the node with the time to wait; STALE is passed on. */
static void test_gateway_stale_for_a_token_is_passed_on(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    token_t token = {.count = 0};
    assert_int_equal(token_add(&token, gateway_test_stream((node_id_t){{2}, {1}}), 9), ERR_OK);
    assert_int_equal(token_add(&token, gateway_test_stream((node_id_t){{1}, {0}}), 9), ERR_OK);
    buffer_t bytes;
    buffer_init(&bytes);
    assert_int_equal(token_encode(&token, &bytes), ERR_OK);
    pack_writer_t *writer = s_score(test, 1);
    pack_put_bin(writer, "token", buffer_slice(&bytes));
    pack_put_u64(writer, "wait_ms", 300);
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(msg.as.read.wait_ms, 300);
    token_t share;
    assert_int_equal(token_decode(&share, msg.as.read.token, NULL), ERR_OK);
    assert_int_equal(share.count, 1);
    assert_int_equal(share.positions[0].stream.origin.region.value, 2);
    s_refuse(test, to, &msg.as.read, CODE_STALE);
    gateway_test_expect_code(test, handle, CODE_STALE);
    gateway_test_expect_silence(test);
    buffer_done(&bytes);
    gateway_test_destroy(&test);
}

/* Goal: with max_staleness_ms an older replica is passed over; all too old is STALE. */
static void test_gateway_replicas_that_are_too_old_are_passed_over(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    pack_put_u64(s_score(test, 1), "max_staleness_ms", 50);
    uint64_t handle = gateway_test_ask(test);
    for (uint32_t i = 0; i < 3; i++) {
        msg_t msg;
        node_id_t to = gateway_test_take(test, &msg);
        assert_int_equal(msg.as.read.max_staleness_ms, 50);
        s_refuse(test, to, &msg.as.read, CODE_STALE);
    }
    gateway_test_expect_code(test, handle, CODE_STALE);
    gateway_test_destroy(&test);
}

/* Goal: cells of items on several shards come back item-major in the order asked, an item asked
 * twice twice. Method: shards answer in reverse; each cell's score says which item and signal. */
static void test_gateway_cells_are_put_together_in_the_order_asked(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 3);
    uint64_t items[] = {gateway_test_entity(test, 2, 0), gateway_test_entity(test, 0, 0),
                        gateway_test_entity(test, 1, 0), gateway_test_entity(test, 2, 1),
                        gateway_test_entity(test, 2, 0)};
    pack_writer_t *writer = gateway_test_request(test, "cells");
    pack_put_array(writer, "items");
    for (uint32_t i = 0; i < 5; i++) {
        pack_item(writer);
        pack_write_u64(writer, items[i]);
    }
    pack_close(writer);
    pack_put_array(writer, "signals");
    pack_item(writer);
    pack_write_str(writer, slice_text("like"));
    pack_item(writer);
    pack_write_str(writer, slice_text("view"));
    pack_close(writer);
    pack_put_array(writer, "windows");
    pack_item(writer);
    pack_write_str(writer, slice_text("all"));
    pack_close(writer);
    pack_put_text(writer, "cohort", "locale:EU");
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to;
    while (gateway_test_next(test, &to, &msg)) {
        const msg_read_t *read = &msg.as.read;
        assert_true(slice_equal(read->as.cells.cohort, slice_text("locale:EU")));
        uint32_t count = (uint32_t)(read->as.cells.items.size / 8 * read->as.cells.signals.size);
        msg_cell_t *cells = calloc(count, sizeof(*cells));
        assert_non_null(cells);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t item = bytes_get_u64(read->as.cells.items.data + (size_t)i / 2 * 8);
            uint8_t signal = read->as.cells.signals.data[i % 2];
            cells[i] = (msg_cell_t){.score = (double)(item * 10 + signal), .counts = {item}};
        }
        msg_t answer = gateway_test_read_reply(read, CODE_OK);
        answer.as.read_reply.as.cells.cell_count = count;
        answer.as.read_reply.as.cells.window_count = 1;
        answer.as.read_reply.as.cells.cells = cells;
        gateway_test_answer(test, to, &answer);
        free(cells);
    }
    for (uint32_t i = 0; i < 10; i++) {
        char path[32];
        uint64_t item = items[i / 2];
        (void)snprintf(path, sizeof(path), "rows.%u.0", i);
        assert_int_equal(gateway_test_u64(test, handle, path), items[i / 2]);
        (void)snprintf(path, sizeof(path), "rows.%u.2", i);
        assert_true(gateway_test_value(test, handle, path).as.f64 ==
                    (double)(item * 10 + (i % 2 == 0 ? 2 : 1)));
        (void)snprintf(path, sizeof(path), "rows.%u.3.0", i);
        assert_int_equal(gateway_test_u64(test, handle, path), items[i / 2]);
    }
    gateway_test_expect_text(test, handle, "rows.0.1", "like");
    gateway_test_destroy(&test);
}

/* Goal: an answer that does not fit the question is INTERNAL, not a crash. */
static void test_gateway_answer_of_the_wrong_kind_is_internal(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    uint64_t wrong_kind = s_ask_score(test, 0);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
    answer.as.read_reply.kind = READ_ITEM;
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, wrong_kind, CODE_INTERNAL);
    uint64_t wrong_count = s_ask_score(test, 0);
    to = gateway_test_take(test, &msg);
    answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, wrong_count, CODE_INTERNAL);
    gateway_test_destroy(&test);
}

/* Goal: get_item gives the fields that are set; none is NOT_FOUND. */
static void test_gateway_get_item_gives_fields_or_not_found(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    pack_put_u64(gateway_test_request(test, "get_item"), "item", 5);
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
    answer.as.read_reply.as.item.found = true;
    answer.as.read_reply.as.item.present = CLIENT_ITEM_TITLE | CLIENT_ITEM_CREATOR;
    answer.as.read_reply.as.item.title = slice_text("five");
    answer.as.read_reply.as.item.creator = 8;
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_text(test, handle, "fields.title", "five");
    assert_int_equal(gateway_test_u64(test, handle, "fields.creator"), 8);
    assert_int_equal(gateway_test_value(test, handle, "fields.text").kind, PACK_BAD);
    pack_put_u64(gateway_test_request(test, "get_item"), "item", 6);
    handle = gateway_test_ask(test);
    to = gateway_test_take(test, &msg);
    answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_NOT_FOUND);
    gateway_test_destroy(&test);
}

/* Goal: what the client sees of a register orders what it writes next, whatever the clocks. */
static void test_gateway_stamp_follows_what_was_read(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    pack_writer_t *writer = gateway_test_request(test, "relation");
    pack_put_u64(writer, "user", 1);
    pack_put_u64(writer, "item", 2);
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    hlc_stamp_t ahead = {GATEWAY_TEST_WALL_NS + 500000000, 3, 9};
    msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
    answer.as.read_reply.as.relation.hidden = true;
    answer.as.read_reply.as.relation.hidden_hlc = ahead;
    gateway_test_answer(test, to, &answer);
    assert_true(gateway_test_value(test, handle, "hidden").as.boolean);
    writer = gateway_test_request(test, "unhide");
    pack_put_u64(writer, "user", 1);
    pack_put_u64(writer, "item", 2);
    (void)gateway_test_ask(test);
    (void)gateway_test_take(test, &msg);
    assert_true(hlc_compare(msg.as.write.hlc, ahead) > 0);
    gateway_test_destroy(&test);
}

static void s_put_one(pack_writer_t *writer, const char *key, const char *text, uint64_t number)
{
    pack_put_array(writer, key);
    pack_item(writer);
    if (text != NULL) {
        pack_write_str(writer, slice_text(text));
    } else {
        pack_write_u64(writer, number);
    }
    pack_close(writer);
}

/* A read of an entity of shard 1; what it needs beside its name. */
static void s_put_read(gateway_test_t *test, const char *op)
{
    uint64_t entity = gateway_test_entity(test, 1, 0);
    pack_writer_t *writer = gateway_test_request(test, op);
    bool is_cell =
        strcmp(op, "score") == 0 || strcmp(op, "count") == 0 || strcmp(op, "velocity") == 0;
    if (is_cell) {
        pack_put_text(writer, "signal", "view");
    }
    if (is_cell && strcmp(op, "score") != 0) {
        pack_put_text(writer, "window", "1h");
    }
    if (strcmp(op, "cells") == 0 || strcmp(op, "retrieve") == 0) {
        s_put_one(writer, op[0] == 'c' ? "items" : "candidates", NULL, entity);
    } else if (strcmp(op, "session_get") == 0) {
        session_id_t id =
            session_id_derive((tenant_id_t){1}, (user_id_t){entity}, slice_text("p"), 4);
        pack_put_bin(writer, "session", slice_make(id.bytes, SESSION_ID_SIZE));
    } else if (strcmp(op, "get_user") != 0) {
        pack_put_u64(writer, "item", entity);
    }
    if (strcmp(op, "cells") == 0) {
        s_put_one(writer, "signals", "view", 0);
        s_put_one(writer, "windows", "1h", 0);
    }
    if (strcmp(op, "relation") == 0 || strcmp(op, "get_user") == 0) {
        pack_put_u64(writer, "user", entity);
    }
}

/* Every part is answered with what it asks for. */
static void s_answer_all(gateway_test_t *test)
{
    msg_t msg;
    node_id_t to;
    while (gateway_test_next(test, &to, &msg)) {
        msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
        stream_position_t applied = {gateway_test_stream((node_id_t){{1}, to.shard}), 12};
        msg_cell_t cell = {.score = 1.0};
        msg_read_reply_t *reply = &answer.as.read_reply;
        reply->applied_count = 1;
        reply->applied = &applied;
        if (msg.as.read.kind == READ_CELLS) {
            reply->as.cells.cell_count = 1;
            reply->as.cells.window_count = (uint32_t)msg.as.read.as.cells.windows.size;
            reply->as.cells.cells = &cell;
        }
        if (msg.as.read.kind == READ_ITEM) {
            reply->as.item.found = true;
        } else if (msg.as.read.kind == READ_USER) {
            reply->as.user.found = true;
        } else if (msg.as.read.kind == READ_SESSION) {
            reply->as.session.found = true;
        }
        gateway_test_answer(test, to, &answer);
    }
}

/* 0: nothing of the stream. */
static uint64_t s_seq_in(const token_t *token, stream_id_t stream)
{
    for (uint32_t i = 0; i < token->count; i++) {
        if (stream_id_equal(token->positions[i].stream, stream)) {
            return token->positions[i].seq;
        }
    }
    return 0;
}

/* Goal: whatever is read, the token of the answer covers that of the request, also where nobody that was
 * asked knows of it, and what the answer shows. */
static void test_gateway_every_read_carries_the_token_on(void **state)
{
    (void)state;
    static const char *const s_ops[] = {"score",    "count",    "velocity",
                                        "cells",    "relation", "get_item",
                                        "get_user", "retrieve", "session_get"};
    static token_t s_token;
    gateway_test_t *test = gateway_test_new(3, 5);
    stream_position_t seen = {gateway_test_stream((node_id_t){{2}, {1}}), 9};
    stream_position_t elsewhere = {gateway_test_stream((node_id_t){{3}, {4}}), 77};
    stream_position_t shown = {gateway_test_stream((node_id_t){{1}, {1}}), 12};
    buffer_t bytes;
    buffer_init(&bytes);
    token_clear(&s_token);
    assert_int_equal(token_add(&s_token, seen.stream, seen.seq), ERR_OK);
    assert_int_equal(token_add(&s_token, elsewhere.stream, elsewhere.seq), ERR_OK);
    assert_int_equal(token_encode(&s_token, &bytes), ERR_OK);
    for (size_t i = 0; i < sizeof(s_ops) / sizeof(s_ops[0]); i++) {
        s_put_read(test, s_ops[i]);
        pack_put_bin(&test->writer, "token", buffer_slice(&bytes));
        uint64_t handle = gateway_test_ask(test);
        s_answer_all(test);
        gateway_test_expect_code(test, handle, CODE_OK);
        pack_value_t token = gateway_test_value(test, handle, "token");
        assert_int_equal(token_decode(&s_token, token.as.bytes, NULL), ERR_OK);
        assert_true(s_token.count >= 3); /* a retrieve asks all shards */
        const stream_position_t wanted[] = {seen, elsewhere, shown};
        for (size_t k = 0; k < 3; k++) {
            assert_int_equal(s_seq_in(&s_token, wanted[k].stream), wanted[k].seq);
        }
    }
    buffer_done(&bytes);
    gateway_test_destroy(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_score_is_read_in_the_own_region),
        cmocka_unit_test(test_gateway_velocity_divides_by_the_window),
        cmocka_unit_test(test_gateway_cohort_is_passed_on),
        cmocka_unit_test(test_gateway_read_goes_to_the_nearest_other_replica),
        cmocka_unit_test(test_gateway_hanging_node_is_passed_over),
        cmocka_unit_test(test_gateway_read_without_an_answer_times_out),
        cmocka_unit_test(test_gateway_leader_read_follows_the_hint),
        cmocka_unit_test(test_gateway_leader_read_of_a_cut_region_is_unavailable),
        cmocka_unit_test(test_gateway_stale_for_a_token_is_passed_on),
        cmocka_unit_test(test_gateway_replicas_that_are_too_old_are_passed_over),
        cmocka_unit_test(test_gateway_cells_are_put_together_in_the_order_asked),
        cmocka_unit_test(test_gateway_answer_of_the_wrong_kind_is_internal),
        cmocka_unit_test(test_gateway_get_item_gives_fields_or_not_found),
        cmocka_unit_test(test_gateway_stamp_follows_what_was_read),
        cmocka_unit_test(test_gateway_every_read_carries_the_token_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
