/* Every internal message survives the wire unchanged, and nothing but a message is one. */
#include "common/wire/msg.h"

#include "common/wire/msg_fields.h"
#include "common/wire/pack.h"
#include "tests/unit/wire_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROUNDS = 300 };

static void s_expect_same_bytes(const msg_t *msg, const buffer_t *bytes)
{
    buffer_t again;
    buffer_init(&again);
    msg_encode(msg, &again);
    assert_int_equal(again.size, bytes->size);
    assert_memory_equal(again.data, bytes->data, bytes->size);
    buffer_done(&again);
}

/* Encodes one random message of this type, decodes it and encodes that again. */
static void s_expect_round_trip(msg_codec_t *codec, msg_type_t type, uint64_t seed)
{
    wire_random_t random;
    buffer_t bytes;
    buffer_init(&bytes);
    wire_random_init(&random, 1000 * (uint64_t)type + seed, 1 + (uint32_t)(seed % 6));
    msg_t msg = wire_random_message(&random, type);
    msg_encode(&msg, &bytes);
    msg_t decoded;
    errbuf_t errbuf = {{0}};
    if (msg_decode(codec, buffer_slice(&bytes), &decoded, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    assert_int_equal(decoded.type, msg.type);
    s_expect_same_bytes(&decoded, &bytes);
    wire_random_done(&random);
    buffer_done(&bytes);
}

/* Goal: encode, decode and encode give the same bytes, for every type. Method: random values within
 * every field's bounds, often at them; one codec for all, as a process has. */
static void test_wire_msg_round_trip_keeps_every_type(void **state)
{
    (void)state;
    msg_codec_t *codec = msg_codec_new();
    for (uint32_t i = 0; wire_message_type(i) != 0; i++) {
        for (uint64_t round = 0; round < ROUNDS; round++) {
            s_expect_round_trip(codec, wire_message_type(i), round);
        }
    }
    msg_codec_destroy(&codec);
}

/* Goal: a message is complete or refused. Method: every prefix of random messages of every type. */
static void test_wire_msg_every_truncation_is_refused(void **state)
{
    (void)state;
    msg_codec_t *codec = msg_codec_new();
    buffer_t bytes;
    buffer_init(&bytes);
    for (uint32_t i = 0; wire_message_type(i) != 0; i++) {
        wire_random_t random;
        wire_random_init(&random, 5 + i, 3);
        msg_t msg = wire_random_message(&random, wire_message_type(i));
        buffer_clear(&bytes);
        msg_encode(&msg, &bytes);
        size_t step = bytes.size > 4000 ? bytes.size / 4000 : 1;
        for (size_t size = 0; size < bytes.size; size += step) {
            msg_t decoded = {.type = MSG_WRITE};
            errbuf_t errbuf = {{0}};
            err_t err = msg_decode(codec, slice_make(bytes.data, size), &decoded, &errbuf);
            assert_int_equal(err, ERR_CORRUPT);
            assert_true(errbuf.text[0] != '\0');
            assert_int_equal(decoded.type, MSG_WRITE);
        }
        wire_random_done(&random);
    }
    buffer_done(&bytes);
    msg_codec_destroy(&codec);
}

/* Decodes the bytes with the one at `at` set to all others; what decodes must encode. */
static void s_flip_byte(msg_codec_t *codec, buffer_t *bytes, size_t at, buffer_t *again)
{
    for (unsigned flip = 1; flip < 256; flip++) {
        msg_t decoded;
        errbuf_t errbuf;
        bytes->data[at] ^= (uint8_t)flip;
        if (msg_decode(codec, buffer_slice(bytes), &decoded, &errbuf) == ERR_OK) {
            buffer_clear(again);
            msg_encode(&decoded, again);
        }
        bytes->data[at] ^= (uint8_t)flip;
    }
}

/* Goal: a changed byte gives another message or a refusal, never a value out of bounds. Method:
 * each byte of messages of every type set to all 255 others; what decodes must encode, since the
 * encoder checks every bound. */
static void test_wire_msg_every_byte_mutation_is_harmless(void **state)
{
    (void)state;
    msg_codec_t *codec = msg_codec_new();
    buffer_t bytes;
    buffer_t again;
    buffer_init(&bytes);
    buffer_init(&again);
    for (uint32_t i = 0; wire_message_type(i) != 0; i++) {
        wire_random_t random;
        wire_random_init(&random, 77 + i, 2);
        msg_t msg = wire_random_message(&random, wire_message_type(i));
        buffer_clear(&bytes);
        msg_encode(&msg, &bytes);
        for (size_t at = 0; at < bytes.size && at < 400; at++) {
            s_flip_byte(codec, &bytes, at, &again);
        }
        s_expect_same_bytes(&msg, &bytes);
        wire_random_done(&random);
    }
    buffer_done(&again);
    buffer_done(&bytes);
    msg_codec_destroy(&codec);
}

static void s_expect_refusal(slice_t bytes, const char *text)
{
    msg_codec_t *codec = msg_codec_new();
    msg_t msg;
    errbuf_t errbuf = {{0}};
    assert_int_equal(msg_decode(codec, bytes, &msg, &errbuf), ERR_CORRUPT);
    if (strstr(errbuf.text, text) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", text, errbuf.text);
    }
    msg_codec_destroy(&codec);
}

/* Goal: the bytes on the wire are what msg.h says. Method: messages written by hand. */
static void test_wire_msg_bytes_are_as_documented(void **state)
{
    (void)state;
    buffer_t bytes;
    buffer_init(&bytes);
    msg_t msg = {.type = MSG_TABLE_REQUEST};
    msg_encode(&msg, &bytes);
    assert_true(slice_equal(buffer_slice(&bytes), WIRE_BYTES("\x91\x0f")));
    buffer_clear(&bytes);
    msg.type = MSG_SHIP_HELLO;
    msg.as.ship_hello = (msg_ship_hello_t){
        .from = {PROCESS_SHIPPER, {3}, {0}}, .boot = 5, .protocol = 1, .fingerprint = 300};
    msg_encode(&msg, &bytes);
    assert_true(slice_equal(buffer_slice(&bytes),
                            WIRE_BYTES("\x95\x08\x93\x02\x03\x00\x05\x01\xcd\x01\x2c")));
    buffer_clear(&bytes);
    stream_position_t position = {{{1}, 9, {{2}, {4}}}, 6};
    msg.type = MSG_LOG_POSITIONS;
    msg.as.log_positions = (msg_log_positions_t){.from = {PROCESS_NODE, {2}, {4}},
                                                 .boot = 1,
                                                 .publish_seq = 2,
                                                 .position_count = 1,
                                                 .positions = &position};
    msg_encode(&msg, &bytes);
    assert_true(slice_equal(
        buffer_slice(&bytes),
        WIRE_BYTES("\x95\x05\x93\x01\x02\x04\x01\x02\x91\x92\x94\x01\x02\x04\x09\x06")));
    buffer_done(&bytes);
}

/* Goal: refusals name message, field, what was expected and what was found. */
static void test_wire_msg_refusals_name_the_field(void **state)
{
    (void)state;
    s_expect_refusal(WIRE_BYTES(""), "expected array, found the end");
    s_expect_refusal(WIRE_BYTES("\x80"), "expected array, found map");
    s_expect_refusal(WIRE_BYTES("\x91\xc0"), "type: expected integer, found nil");
    s_expect_refusal(WIRE_BYTES("\x91\x00"), "a message type of this version, found 0");
    s_expect_refusal(WIRE_BYTES("\x91\xcc\xc8"), "a message type of this version, found 200");
    s_expect_refusal(WIRE_BYTES("\x92\x0f\xc0"), "TABLE_REQUEST: head: expected array of 1");
    s_expect_refusal(WIRE_BYTES("\x91\x0f\xc0"), "TABLE_REQUEST: expected its end, found 1 more");
    s_expect_refusal(WIRE_BYTES("\x95\x08\x93\x02\x11\x00\x05\x01\x01"),
                     "SHIP_HELLO: from.region: expected 0..16, found 17");
    s_expect_refusal(WIRE_BYTES("\x95\x08\x92\x02\x03\x05\x01\x01"),
                     "SHIP_HELLO: from: expected array of 3, found array of 2");
    s_expect_refusal(WIRE_BYTES("\x95\x08\x93\x02\x03\x00\xa1x\x01\x01"),
                     "SHIP_HELLO: boot: expected 0..18446744073709551615, found `x`");
    s_expect_refusal(
        WIRE_BYTES(
            "\x95\x05\x93\x01\x02\x04\x01\x02\x92\x92\x94\x01\x02\x04\x09\x06\x92\x94\x01\x02"
            "\x28\x09\x06"),
        "LOG_POSITIONS: positions[1].stream.origin.shard: expected 0..39, found 40");
}

/* Goal: a list is not believed before its elements can be there, and nothing is allocated for it.
 */
static void test_wire_msg_huge_list_in_tiny_message_is_refused(void **state)
{
    (void)state;
    s_expect_refusal(WIRE_BYTES("\x95\x05\x93\x01\x02\x04\x01\x02\xdd\xff\xff\xff\xff"),
                     "positions: expected array of 0..4096");
    s_expect_refusal(WIRE_BYTES("\x95\x05\x93\x01\x02\x04\x01\x02\xdc\x10\x00"),
                     "positions: expected as many values as the bytes can hold");
}

/* Goal: junk of any size is refused at once. */
static void test_wire_msg_junk_is_refused(void **state)
{
    (void)state;
    enum { SIZE = 10 * 1024 * 1024 };
    buffer_t junk;
    buffer_init(&junk);
    (void)buffer_extend(&junk, SIZE); /* filled below */
    prng_t prng;
    prng_init(&prng, 3);
    for (size_t i = 0; i < SIZE; i++) {
        junk.data[i] = (uint8_t)prng_next(&prng);
    }
    for (unsigned first = 0; first < 256; first++) {
        junk.data[0] = (uint8_t)first;
        msg_codec_t *codec = msg_codec_new();
        msg_t msg;
        errbuf_t errbuf;
        assert_int_equal(msg_decode(codec, buffer_slice(&junk), &msg, &errbuf), ERR_CORRUPT);
        msg_codec_destroy(&codec);
    }
    buffer_done(&junk);
}

/* A message whose rows take much memory when decoded: `rows` nodes of `applied` streams. */
static void s_put_wide_reconcile(buffer_t *out, uint32_t rows, uint32_t applied)
{
    pack_writer_t writer;
    uint8_t hash[MSG_HASH_SIZE] = {0};
    pack_writer_init(&writer, out);
    pack_write_array(&writer, 5);
    pack_write_u64(&writer, MSG_RECONCILE_STATE);
    pack_write_encoded(&writer, WIRE_BYTES("\x93\x04\x01\x00"));
    pack_write_u64(&writer, 1);
    pack_write_bool(&writer, true);
    pack_write_array(&writer, rows);
    for (uint32_t i = 0; i < rows; i++) {
        pack_write_encoded(&writer, WIRE_BYTES("\x99\x92\x01\x02\x01\xc3"));
        pack_write_bin(&writer, slice_make(hash, sizeof(hash)));
        pack_write_array(&writer, applied);
        for (uint32_t j = 0; j < applied; j++) {
            pack_write_encoded(&writer, WIRE_BYTES("\x92\x94\x01\x01\x01\x01\x01"));
        }
        pack_write_encoded(&writer, WIRE_BYTES("\xc2\xc2\xc2\x90"));
    }
}

/* Goal: decoding memory has a limit of its own. Method: a message of 20 MB whose lists, each within
 * its bound, would take 90 MB. */
static void test_wire_msg_decoding_memory_is_bounded(void **state)
{
    (void)state;
    buffer_t bytes;
    buffer_init(&bytes);
    s_put_wide_reconcile(&bytes, 700, 4096);
    s_expect_refusal(buffer_slice(&bytes), "less memory to be needed");
    buffer_clear(&bytes);
    s_put_wide_reconcile(&bytes, 300, 4096);
    msg_codec_t *codec = msg_codec_new();
    msg_t msg;
    errbuf_t errbuf;
    assert_int_equal(msg_decode(codec, buffer_slice(&bytes), &msg, &errbuf), ERR_OK);
    assert_int_equal(msg.as.reconcile_state.rows[299].applied[4095].seq, 1);
    msg_codec_destroy(&codec);
    buffer_done(&bytes);
}

/* Goal: the largest answer that bounds.h allows fits. */
static void test_wire_msg_largest_cells_answer_fits(void **state)
{
    (void)state;
    msg_cell_t *cells = calloc(CELLS_RESULT_COUNT_MAX, sizeof(*cells));
    assert_non_null(cells);
    for (uint32_t i = 0; i < CELLS_RESULT_COUNT_MAX; i++) {
        cells[i].score = i;
        cells[i].counts[0] = UINT64_MAX - i;
    }
    msg_t msg = {.type = MSG_READ_REPLY};
    msg.as.read_reply.kind = READ_CELLS;
    msg.as.read_reply.as.cells.cell_count = CELLS_RESULT_COUNT_MAX;
    msg.as.read_reply.as.cells.window_count = 1;
    msg.as.read_reply.as.cells.cells = cells;
    buffer_t bytes;
    buffer_init(&bytes);
    msg_encode(&msg, &bytes);
    assert_true(bytes.size <= INTERNAL_MESSAGE_SIZE_MAX);
    msg_codec_t *codec = msg_codec_new();
    msg_t decoded;
    errbuf_t errbuf;
    assert_int_equal(msg_decode(codec, buffer_slice(&bytes), &decoded, &errbuf), ERR_OK);
    const msg_cell_t *last = &decoded.as.read_reply.as.cells.cells[CELLS_RESULT_COUNT_MAX - 1];
    assert_true(last->counts[0] == UINT64_MAX - (CELLS_RESULT_COUNT_MAX - 1));
    msg_codec_destroy(&codec);
    buffer_done(&bytes);
    free(cells);
}

/* Goal: the largest session fits one message, on its way to a gateway and on to a shard. */
static void test_wire_msg_largest_session_fits(void **state)
{
    (void)state;
    msg_session_row_t *rows = calloc(SESSION_ROW_COUNT_MAX, sizeof(*rows));
    msg_session_signal_t *signals = calloc(SESSION_ROW_COUNT_MAX, sizeof(*signals));
    assert_non_null(rows);
    assert_non_null(signals);
    for (uint32_t i = 0; i < SESSION_ROW_COUNT_MAX; i++) {
        signals[i] = (msg_session_signal_t){{UINT64_MAX - i}, INT64_MAX, -1e9, 64};
        rows[i] = (msg_session_row_t){
            SESSION_SIGNAL_COUNT_MAX, signals[i], {{UINT64_MAX}, UINT64_MAX, {{16}, {39}}}};
    }
    msg_t msgs[2] = {{.type = MSG_READ_REPLY}, {.type = MSG_READ}};
    msgs[0].as.read_reply.kind = READ_SESSION;
    msgs[0].as.read_reply.as.session.row_count = SESSION_ROW_COUNT_MAX;
    msgs[0].as.read_reply.as.session.rows = rows;
    msgs[1].as.read = (msg_read_t){.tenant = {1}, .kind = READ_RETRIEVE};
    msgs[1].as.read.as.retrieve.term_count = 1;
    msgs[1].as.read.as.retrieve.terms[0] = (msg_term_t){.signal_id = 1};
    msgs[1].as.read.as.retrieve.limit = 1;
    msgs[1].as.read.as.retrieve.session_count = SESSION_ROW_COUNT_MAX;
    msgs[1].as.read.as.retrieve.session = signals;
    msg_codec_t *codec = msg_codec_new();
    for (int i = 0; i < 2; i++) {
        buffer_t bytes;
        msg_t decoded;
        errbuf_t errbuf = {{0}};
        buffer_init(&bytes);
        msg_encode(&msgs[i], &bytes);
        assert_true(bytes.size <= INTERNAL_MESSAGE_SIZE_MAX / 4);
        assert_int_equal(msg_decode(codec, buffer_slice(&bytes), &decoded, &errbuf), ERR_OK);
        const msg_session_signal_t *last =
            i == 0 ? &decoded.as.read_reply.as.session.rows[SESSION_ROW_COUNT_MAX - 1].signal
                   : &decoded.as.read.as.retrieve.session[SESSION_ROW_COUNT_MAX - 1];
        assert_true(last->item.value == signals[SESSION_ROW_COUNT_MAX - 1].item.value);
        buffer_done(&bytes);
    }
    msg_codec_destroy(&codec);
    free(rows);
    free(signals);
}

/* Goal: a reply that failed carries no body, whatever its union holds. */
static void test_wire_msg_failed_read_reply_has_no_body(void **state)
{
    (void)state;
    msg_t msg = {.type = MSG_READ_REPLY};
    msg.as.read_reply.kind = READ_LAG;
    msg.as.read_reply.code = CODE_STALE;
    msg.as.read_reply.message = slice_text("token not reached");
    msg.as.read_reply.as.lag.row_count = 12345678;
    buffer_t bytes;
    buffer_init(&bytes);
    msg_encode(&msg, &bytes);
    assert_int_equal(bytes.data[bytes.size - 1], 0x90);
    msg_codec_t *codec = msg_codec_new();
    msg_t decoded;
    errbuf_t errbuf;
    assert_int_equal(msg_decode(codec, buffer_slice(&bytes), &decoded, &errbuf), ERR_OK);
    assert_int_equal(decoded.as.read_reply.code, CODE_STALE);
    assert_int_equal(decoded.as.read_reply.as.lag.row_count, 0);
    msg_codec_destroy(&codec);
    buffer_done(&bytes);
}

/* Goal: a text for people never stops a process: too long, it is cut; cut inside a character, it is
 * cleaned. */
static void test_wire_msg_texts_for_people_are_made_to_fit(void **state)
{
    (void)state;
    static char s_long[5000];
    memset(s_long, 'x', sizeof(s_long));
    const slice_t texts[] = {slice_make(s_long, sizeof(s_long)), slice_text("caf\xc3"), {NULL, 0}};
    static const size_t s_sizes[] = {1024, 4, 0};
    msg_codec_t *codec = msg_codec_new();
    buffer_t bytes;
    buffer_init(&bytes);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        msg_t msg = {.type = MSG_WRITE_REPLY};
        msg.as.write_reply.code = CODE_INTERNAL;
        msg.as.write_reply.message = texts[i];
        buffer_clear(&bytes);
        msg_encode(&msg, &bytes);
        msg_t decoded;
        errbuf_t errbuf;
        assert_int_equal(msg_decode(codec, buffer_slice(&bytes), &decoded, &errbuf), ERR_OK);
        assert_int_equal(decoded.as.write_reply.message.size, s_sizes[i]);
    }
    buffer_done(&bytes);
    msg_codec_destroy(&codec);
}

/* Goal: rules over several fields are held against. */
static void test_wire_msg_contradictions_are_found(void **state)
{
    (void)state;
    msg_t msg = {.type = MSG_WRITE};
    msg.as.write.has_producer = true;
    assert_non_null(msg_find_contradiction(&msg));
    msg.as.write.producer = slice_text("p");
    assert_null(msg_find_contradiction(&msg));
    msg = (msg_t){.type = MSG_READ};
    msg.as.read.kind = READ_RELATION;
    assert_non_null(msg_find_contradiction(&msg));
    msg.as.read.as.relation.item.value = 1;
    assert_null(msg_find_contradiction(&msg));
    msg.as.read.kind = READ_CELLS;
    msg.as.read.as.cells = (msg_read_cells_t){.items = WIRE_BYTES("12345678"),
                                              .signals = WIRE_BYTES("\x01"),
                                              .windows = WIRE_BYTES("\x05")};
    assert_non_null(msg_find_contradiction(&msg));
    msg.as.read.as.cells.windows = WIRE_BYTES("\x04");
    assert_null(msg_find_contradiction(&msg));
    msg.as.read.as.cells.signals = WIRE_BYTES("\x00");
    assert_non_null(msg_find_contradiction(&msg));
}

/* Goal: codes have the names of the protocol, and requests are told from messages. */
static void test_wire_msg_small_facts(void **state)
{
    (void)state;
    assert_string_equal(code_name(CODE_BAD_REQUEST), "BAD_REQUEST");
    assert_string_equal(code_name(CODE_INTERNAL), "INTERNAL");
    assert_true(code_is_retryable(CODE_OVERLOADED));
    assert_false(code_is_retryable(CODE_BAD_REQUEST));
    assert_true(msg_is_client_map(WIRE_BYTES("\x81")));
    assert_true(msg_is_client_map(WIRE_BYTES("\xde")));
    assert_true(msg_is_client_map(WIRE_BYTES("\xdf")));
    assert_false(msg_is_client_map(WIRE_BYTES("\x91")));
    assert_false(msg_is_client_map(WIRE_BYTES("")));
    assert_string_equal(msg_type_name(MSG_HEARTBEAT), "HEARTBEAT");
    msg_codec_t *none = NULL;
    msg_codec_destroy(&none);
    msg_codec_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_msg_round_trip_keeps_every_type),
        cmocka_unit_test(test_wire_msg_every_truncation_is_refused),
        cmocka_unit_test(test_wire_msg_every_byte_mutation_is_harmless),
        cmocka_unit_test(test_wire_msg_bytes_are_as_documented),
        cmocka_unit_test(test_wire_msg_refusals_name_the_field),
        cmocka_unit_test(test_wire_msg_huge_list_in_tiny_message_is_refused),
        cmocka_unit_test(test_wire_msg_junk_is_refused),
        cmocka_unit_test(test_wire_msg_decoding_memory_is_bounded),
        cmocka_unit_test(test_wire_msg_largest_cells_answer_fits),
        cmocka_unit_test(test_wire_msg_failed_read_reply_has_no_body),
        cmocka_unit_test(test_wire_msg_largest_session_fits),
        cmocka_unit_test(test_wire_msg_texts_for_people_are_made_to_fit),
        cmocka_unit_test(test_wire_msg_contradictions_are_found),
        cmocka_unit_test(test_wire_msg_small_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
