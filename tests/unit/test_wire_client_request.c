/* Requests of clients: the envelope, the mesh ops, and that no bytes whatever do more than get a
 * refusal. */
#include "common/wire/client_request.h"

#include "common/topology/schema.h"
#include "common/wal/record.h"
#include "common/wire/client_fields.h"
#include "common/wire/pack.h"
#include "tests/unit/wire_client_support.h"
#include "tests/unit/wire_support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* -- envelope ---------------------------------------------------------------------------------- */

/* Goal: every well-formed request decodes to its op. Method: one sample of each shape. */
static void test_wire_client_request_every_op_decodes(void **state)
{
    wire_fixture_t *fixture = *state;
    bool seen[CLIENT_OP_END] = {false};
    for (uint32_t i = 0; wire_load_sample(fixture, i); i++) {
        assert_int_equal(wire_decode_bytes(fixture, buffer_slice(&fixture->body)), CODE_OK);
        pack_value_t op = pack_get(buffer_slice(&fixture->body), "op");
        assert_true(slice_equal(slice_text(client_op_name(fixture->request->op)), op.as.bytes));
        seen[fixture->request->op] = true;
    }
    for (uint32_t op = CLIENT_OP_NONE + 1; op < CLIENT_OP_END; op++) {
        assert_true(seen[op] || client_op_class((client_op_t)op) == CLIENT_CLASS_LATER);
    }
}

/* Goal: defaults are those of the protocol. */
static void test_wire_client_request_defaults(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = wire_begin(fixture, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", 1);
    wire_expect_ok(fixture);
    const client_request_t *request = fixture->request;
    assert_true(slice_equal(request->tenant, slice_text("default")));
    assert_int_equal(request->ack, ACK_REPLICATED);
    assert_int_equal(request->timeout_ms, 5000);
    assert_int_equal(request->wait_ms, 1000);
    assert_int_equal(request->token->count, 0);
    assert_false(request->has_producer);
    const client_event_t *event = &request->as.signals.events[0];
    assert_int_equal(request->as.signals.event_count, 1);
    assert_int_equal(event->present, 0);
    assert_true(event->weight == 1.0 && event->ts_ns == 0 && event->user.value == 0);
    (void)wire_begin(fixture, "retrieve");
    wire_expect_ok(fixture);
    request = fixture->request;
    assert_int_equal(request->as.retrieve.limit, 50);
    assert_int_equal(request->max_staleness_ms, UINT32_MAX);
    assert_false(request->from_leader);
    assert_true(request->as.retrieve.created_after == INT64_MIN);
    assert_true(request->as.retrieve.created_before == INT64_MAX);
}

/* Goal: the id comes back byte for byte, whatever scalar it is. */
static void test_wire_client_request_id_is_any_scalar(void **state)
{
    wire_fixture_t *fixture = *state;
    const slice_t ids[] = {
        WIRE_BYTES("\x07"),
        WIRE_BYTES("\xcd\x00\x07"),
        WIRE_BYTES("\xff"),
        WIRE_BYTES("\xc0"),
        WIRE_BYTES("\xc3"),
        WIRE_BYTES("\xa3xyz"),
        WIRE_BYTES("\xc4\x02\xff\xfe"),
        WIRE_BYTES("\xca\x7f\xc0\x00\x00"),
        WIRE_BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
    };
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        pack_writer_init(&fixture->writer, &fixture->body);
        buffer_clear(&fixture->body);
        pack_open_map(&fixture->writer);
        pack_key(&fixture->writer, "id");
        pack_write_encoded(&fixture->writer, ids[i]);
        pack_put_text(&fixture->writer, "op", "ping");
        wire_expect_ok(fixture);
        assert_true(slice_equal(fixture->request->id, ids[i]));
    }
}

/* Goal: an id that is a container, or endless, is refused and not echoed. */
static void test_wire_client_request_other_ids_are_refused(void **state)
{
    wire_fixture_t *fixture = *state;
    assert_int_equal(wire_decode_bytes(fixture, WIRE_BYTES("\x82\xa2id\x90\xa2op\xa4ping")),
                     CODE_BAD_REQUEST);
    assert_int_equal(fixture->request->id.size, 0);
    assert_int_equal(wire_decode_bytes(fixture, WIRE_BYTES("\x82\xa2id\x80\xa2op\xa4ping")),
                     CODE_BAD_REQUEST);
    static char s_long[2000];
    memset(s_long, 'x', sizeof(s_long));
    pack_writer_init(&fixture->writer, &fixture->body);
    buffer_clear(&fixture->body);
    pack_open_map(&fixture->writer);
    pack_put_text(&fixture->writer, "op", "ping");
    pack_put_str(&fixture->writer, "id", slice_make(s_long, sizeof(s_long)));
    assert_int_equal(wire_decode(fixture), CODE_BAD_REQUEST);
    assert_int_equal(fixture->request->id.size, 0);
    (void)wire_decode_bytes(fixture, WIRE_BYTES("\x81\xa2op\xa4ping"));
    assert_int_equal(fixture->request->id.size, 0);
}

/* Goal: the id is recovered from bytes that are refused, if it can be read. */
static void test_wire_client_request_id_is_recovered(void **state)
{
    wire_fixture_t *fixture = *state;
    const slice_t bodies[] = {
        WIRE_BYTES("\x82\xa2id\x07\xa2op\xa4pin"),            /* cut off */
        WIRE_BYTES("\x82\xa2op\xa4ping\xa2id\x07\xc0"),       /* trailing byte */
        WIRE_BYTES("\x83\xa2op\xa4ping\xa2id\x07\xa2op\xc0"), /* key twice */
        WIRE_BYTES("\x82\xa2id\x07\xa2op\xa2\xff\xff"),       /* not UTF-8 */
        WIRE_BYTES("\x82\xa2id\x07\xa2op\xd4\x01\x01"),       /* extension */
        WIRE_BYTES("\x82\xa2id\x07\xa1x\xdd\xff\xff\xff\xff"),
        WIRE_BYTES("\x82\xa2id\x07\x01\xa4ping"), /* key that is no str */
        WIRE_BYTES("\x81\xa2id\x07"),             /* no op */
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_int_equal(wire_decode_bytes(fixture, bodies[i]), CODE_BAD_REQUEST);
        assert_true(slice_equal(fixture->request->id, WIRE_BYTES("\x07")));
        assert_int_equal(fixture->request->op, CLIENT_OP_NONE);
    }
}

/* Goal: what is no map is refused, however it looks. */
static void test_wire_client_request_other_bytes_are_refused(void **state)
{
    wire_fixture_t *fixture = *state;
    const slice_t bodies[] = {
        WIRE_BYTES(""),
        WIRE_BYTES("\x00"),
        WIRE_BYTES("{\"op\":\"ping\"}"),
        WIRE_BYTES("\x91\x0c"),
        WIRE_BYTES("\xa4ping"),
        WIRE_BYTES("\xc1"),
        WIRE_BYTES("\x80"),
        WIRE_BYTES("\x81"),
        WIRE_BYTES("\xdf\xff\xff\xff\xff"),
        WIRE_BYTES("\x81\xa2op\xc0"),
        WIRE_BYTES("\x81\xa2op\x01"),
        WIRE_BYTES("\x81\xa2op\x90"),
        WIRE_BYTES("GET / HTTP/1.1\r\n\r\n"),
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_int_equal(wire_decode_bytes(fixture, bodies[i]), CODE_BAD_REQUEST);
        assert_int_equal(fixture->request->op, CLIENT_OP_NONE);
    }
    assert_int_equal(wire_decode_bytes(fixture, (slice_t){NULL, 0}), CODE_BAD_REQUEST);
}

/* Goal: ten megabytes of junk are refused for their size, and the next request works. */
static void test_wire_client_request_junk_is_refused(void **state)
{
    wire_fixture_t *fixture = *state;
    buffer_t junk;
    buffer_init(&junk);
    enum { SIZE = 10 * 1024 * 1024 };
    memset(buffer_extend(&junk, SIZE), 0x93, SIZE);
    assert_int_equal(wire_decode_bytes(fixture, buffer_slice(&junk)), CODE_TOO_LARGE);
    memcpy(junk.data, "\x82\xa2id\x07\xa1x", 7);
    assert_int_equal(wire_decode_bytes(fixture, buffer_slice(&junk)), CODE_TOO_LARGE);
    assert_true(slice_equal(fixture->request->id, WIRE_BYTES("\x07")));
    assert_int_equal(wire_decode_bytes(fixture, slice_make(junk.data, CLIENT_REQUEST_SIZE_MAX)),
                     CODE_BAD_REQUEST);
    (void)wire_begin(fixture, "ping");
    wire_expect_ok(fixture);
    buffer_done(&junk);
}

/* Goal: an op that nobody knows, or that only a later version has, is UNKNOWN_OP. */
static void test_wire_client_request_unknown_ops(void **state)
{
    wire_fixture_t *fixture = *state;
    (void)wire_begin(fixture, "frobnicate");
    wire_expect_code(fixture, CODE_UNKNOWN_OP, "`frobnicate` is no op");
    assert_int_equal(fixture->request->op, CLIENT_OP_NONE);
    (void)wire_begin(fixture, "search");
    wire_expect_code(fixture, CODE_UNKNOWN_OP, "`search` is not part of this version");
    assert_int_equal(fixture->request->op, CLIENT_OP_SEARCH);
    (void)wire_begin(fixture, "none");
    wire_expect_code(fixture, CODE_UNKNOWN_OP, "`none`");
    (void)wire_begin(fixture, "");
    wire_expect_code(fixture, CODE_UNKNOWN_OP, "``");
}

/* Goal: the fields of every request are held to type and range. */
static void test_wire_client_request_envelope_is_checked(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_u64(wire_begin(fixture, "ping"), "v", 2);
    wire_expect_bad(fixture, "v: expected an integer of 1..1, found 2");
    pack_put_text(wire_begin(fixture, "ping"), "tenant", "");
    wire_expect_bad(fixture, "tenant: expected str of 1..64 bytes, found one of 0");
    pack_put_u64(wire_begin(fixture, "ping"), "tenant", 1);
    wire_expect_bad(fixture, "tenant: expected str, found 1");
    pack_put_u64(wire_begin(fixture, "ping"), "wait_ms", WAIT_MS_MAX + 1);
    wire_expect_bad(fixture, "wait_ms: expected an integer of 0..60000");
    pack_put_text(wire_begin(fixture, "ping"), "wait_ms", "soon");
    wire_expect_bad(fixture, "wait_ms: expected an integer of 0..60000, found `soon`");
    pack_put_text(wire_begin(fixture, "ping"), "token", "abc");
    wire_expect_bad(fixture, "token: expected bin, or an array of bins, found `abc`");
    pack_put_bin(wire_begin(fixture, "ping"), "token", WIRE_BYTES("abc"));
    wire_expect_bad(fixture, "token: expected version 1");
    pack_put_text(wire_begin(fixture, "ping"), "unknown", "ignored");
    wire_expect_ok(fixture);
    pack_put_f64(wire_begin(fixture, "ping"), "v", 1.0);
    wire_expect_ok(fixture);
    pack_put_nil(wire_begin(fixture, "ping"), "tenant");
    wire_expect_ok(fixture);
}

/* A token of one stream. */
static void s_put_token(pack_writer_t *writer, uint16_t shard, uint64_t seq)
{
    static token_t s_token;
    buffer_t bytes;
    buffer_init(&bytes);
    token_clear(&s_token);
    stream_id_t stream = {{1}, 77, {{2}, {shard}}};
    assert_int_equal(token_add(&s_token, stream, seq), ERR_OK);
    assert_int_equal(token_encode(&s_token, &bytes), ERR_OK);
    pack_write_bin(writer, buffer_slice(&bytes));
    buffer_done(&bytes);
}

/* Goal: a request may carry many tokens, and means their union. */
static void test_wire_client_request_tokens_are_merged(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_writer_t *writer = wire_begin(fixture, "ping");
    pack_key(writer, "token");
    pack_write_array(writer, TOKEN_COUNT_MAX);
    for (uint32_t i = 0; i < TOKEN_COUNT_MAX; i++) {
        s_put_token(writer, (uint16_t)(i % 3), 100 + (uint64_t)i);
    }
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->token->count, 3);
    assert_int_equal(fixture->request->token->positions[0].seq, 115);
    writer = wire_begin(fixture, "ping");
    pack_key(writer, "token");
    s_put_token(writer, 4, 9);
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->token->count, 1);
    writer = wire_begin(fixture, "ping");
    pack_key(writer, "token");
    pack_write_array(writer, TOKEN_COUNT_MAX + 1);
    for (uint32_t i = 0; i <= TOKEN_COUNT_MAX; i++) {
        s_put_token(writer, 1, 1);
    }
    wire_expect_bad(fixture, "token: expected at most 16 tokens, found 17");
}

/* -- mesh -------------------------------------------------------------------------------------- */

/* Goal: a link's rule is held to its ranges. */
static void test_wire_client_request_link_is_checked(void **state)
{
    wire_fixture_t *fixture = *state;
    pack_put_text(wire_begin(fixture, "link"), "from", "us-east");
    wire_expect_bad(fixture, "to: expected by this op, found none: add it");
    static const struct {
        const char *key;
        double value;
    } s_bad[] = {{"drop", 1.5},       {"duplicate", -0.1}, {"reorder", 2},
                 {"delay_ms", 60001}, {"jitter_ms", -1},   {"rate_bytes_s", 0.5}};
    for (size_t i = 0; i < sizeof(s_bad) / sizeof(s_bad[0]); i++) {
        pack_writer_t *writer = wire_begin(fixture, "link");
        pack_put_text(writer, "from", "us-east");
        pack_put_text(writer, "to", "eu-west");
        pack_put_f64(writer, s_bad[i].key, s_bad[i].value);
        wire_expect_bad(fixture, s_bad[i].key);
    }
    pack_writer_t *writer = wire_begin(fixture, "link");
    pack_put_text(writer, "from", "us-east");
    pack_put_text(writer, "to", "eu-west");
    pack_put_text(writer, "mode", "block");
    wire_expect_bad(fixture, "mode: expected one of `pass` `drop` `hold` `cut`, found `block`");
    writer = wire_begin(fixture, "link");
    pack_put_text(writer, "from", "us-east");
    pack_put_text(writer, "to", "eu-west");
    pack_put_text(writer, "mode", "cut");
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.link.rule.mode, CLIENT_LINK_CUT);
    assert_true(fixture->request->as.link.rule.drop == 0.0);
}

/* Goal: a decision names what it is about, and its fields are held to their types. */
static void test_wire_client_request_decisions_are_checked(void **state)
{
    wire_fixture_t *fixture = *state;
    (void)wire_begin(fixture, "create_tenant");
    wire_expect_bad(fixture, "tenant: expected by this op, found none: add it");
    pack_put_text(wire_begin(fixture, "create_tenant"), "tenant", "shop");
    wire_expect_ok(fixture);
    assert_false(fixture->request->as.create_tenant.has_regions);
    assert_false(fixture->request->as.create_tenant.accepts_islands);
    pack_writer_t *writer = wire_begin(fixture, "create_tenant");
    pack_put_text(writer, "tenant", "shop");
    pack_put_text(writer, "island", "maybe");
    wire_expect_bad(fixture, "island: expected one of `reject` `accept`, found `maybe`");
    writer = wire_begin(fixture, "create_tenant");
    pack_put_text(writer, "tenant", "shop");
    pack_put_array(writer, "regions");
    pack_item(writer);
    pack_write_u64(writer, 7);
    pack_close(writer);
    wire_expect_bad(fixture, "regions[0]");
    pack_put_u64(wire_begin(fixture, "promote"), "shard", 1);
    wire_expect_bad(fixture, "region: expected by this op, found none: add it");
    writer = wire_begin(fixture, "promote");
    pack_put_u64(writer, "shard", SHARD_COUNT_MAX);
    pack_put_text(writer, "region", "eu-west");
    wire_expect_bad(fixture, "shard: expected");
    writer = wire_begin(fixture, "promote");
    pack_put_text(writer, "shard", "2");
    pack_put_text(writer, "region", "eu-west");
    wire_expect_ok(fixture);
    assert_int_equal(fixture->request->as.promote.shard.value, 2);
}

/* Goal: each op is answered where the protocol says. */
static void test_wire_client_request_ops_have_their_places(void **state)
{
    (void)state;
    errbuf_t errbuf;
    assert_true(client_op_is_served(CLIENT_OP_PING, PROCESS_NODE, &errbuf));
    assert_true(client_op_is_served(CLIENT_OP_SIGNAL, PROCESS_GATEWAY, &errbuf));
    assert_true(client_op_is_served(CLIENT_OP_LAG, PROCESS_CONTROL, &errbuf));
    assert_true(client_op_is_served(CLIENT_OP_LINK, PROCESS_PROXY, &errbuf));
    assert_false(client_op_is_served(CLIENT_OP_LINK, PROCESS_GATEWAY, &errbuf));
    assert_string_equal(errbuf.text, "op `link` is not answered here: ask the partition proxy");
    assert_false(client_op_is_served(CLIENT_OP_LAG, PROCESS_NODE, &errbuf));
    assert_non_null(strstr(errbuf.text, "a gateway or the control plane"));
    assert_false(client_op_is_served(CLIENT_OP_SEARCH, PROCESS_GATEWAY, &errbuf));
    assert_non_null(strstr(errbuf.text, "not part of this version"));
    assert_int_equal(client_op_class(CLIENT_OP_RETRIEVE), CLIENT_CLASS_READ);
}

/* Goal: the enums that this folder shares with the folders above it by number agree with them. */
static void test_wire_client_request_numbers_agree_with_the_schema_and_the_log(void **state)
{
    (void)state;
    for (uint32_t window = 0; window < WINDOW_COUNT; window++) {
        assert_string_equal(client_window_name((uint8_t)window), window_name((window_t)window));
    }
    assert_int_equal(CLIENT_ITEM_TITLE, 1 << ITEM_FIELD_TITLE);
    assert_int_equal(CLIENT_ITEM_TEXT, 1 << ITEM_FIELD_TEXT);
    assert_int_equal(CLIENT_ITEM_CATEGORY, 1 << ITEM_FIELD_CATEGORY);
    assert_int_equal(CLIENT_ITEM_CREATOR, 1 << ITEM_FIELD_CREATOR);
    assert_int_equal(CLIENT_ITEM_TAGS, 1 << ITEM_FIELD_TAGS);
    assert_int_equal(CLIENT_ITEM_CREATED, 1 << ITEM_FIELD_CREATED);
    assert_int_equal(sizeof(client_event_t), sizeof(signal_event_t));
}

/* -- everything -------------------------------------------------------------------------------- */

/* `count` items of 64 tags and a text of this size. */
static void s_put_large_items(wire_fixture_t *fixture, uint32_t count, size_t text_size)
{
    static char s_text[TEXT_SIZE_MAX];
    memset(s_text, 'x', sizeof(s_text));
    pack_writer_t *writer = wire_begin(fixture, "put_items");
    pack_key(writer, "items");
    pack_write_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_write_map(writer, 3);
        pack_write_str(writer, slice_text("item"));
        pack_write_u64(writer, 1 + i);
        pack_write_str(writer, slice_text("text"));
        pack_write_str(writer, slice_make(s_text, text_size));
        pack_write_str(writer, slice_text("tags"));
        pack_write_array(writer, TAG_COUNT_MAX);
        for (uint32_t j = 0; j < TAG_COUNT_MAX; j++) {
            pack_write_str(writer, slice_text("t"));
        }
    }
}

/* Goal: a decoder that has met the largest requests holds no more than a few of their size. Method:
 * the largest of each kind, hashed too, then the capacities of all its buffers. */
static void test_wire_client_request_memory_is_bounded(void **state)
{
    wire_fixture_t *fixture = *state;
    client_decoder_t *self = fixture->decoder;
    uint8_t hash[MSG_CONTENT_HASH_SIZE];
    s_put_large_items(fixture, REQUEST_ITEM_COUNT_MAX, 10);
    wire_expect_ok(fixture);
    client_content_hash(self, fixture->request, hash);
    s_put_large_items(fixture, 250, TEXT_SIZE_MAX);
    wire_expect_ok(fixture);
    assert_true(fixture->body.size > (size_t)CLIENT_REQUEST_SIZE_MAX / 16 * 15);
    client_content_hash(self, fixture->request, hash);
    pack_writer_t *writer = wire_begin(fixture, "signals");
    pack_key(writer, "rows");
    pack_write_array(writer, REQUEST_ROW_COUNT_MAX);
    for (uint32_t i = 0; i < REQUEST_ROW_COUNT_MAX; i++) {
        pack_write_encoded(writer, WIRE_BYTES("\x92\xa4view\x07"));
    }
    wire_expect_ok(fixture);
    client_content_hash(self, fixture->request, hash);
    writer = wire_begin(fixture, "retrieve");
    pack_key(writer, "candidates");
    pack_write_array(writer, CANDIDATE_COUNT_MAX);
    for (uint32_t i = 0; i < CANDIDATE_COUNT_MAX; i++) {
        pack_write_u64(writer, 1 + i);
    }
    wire_expect_ok(fixture);
    size_t held = self->events.capacity + self->items.capacity + self->tags.capacity +
                  self->tag_firsts.capacity + self->numbers.capacity + self->places.capacity +
                  self->canonical.capacity;
    assert_true(held <= 3 * (size_t)CLIENT_REQUEST_SIZE_MAX);
}

/* Decodes the body with the value at `at` replaced by one of every kind. */
static void s_replace_value(wire_fixture_t *fixture, const uint8_t *at, buffer_t *changed)
{
    const slice_t values[] = {
        WIRE_BYTES("\xc0"),
        WIRE_BYTES("\xc3"),
        WIRE_BYTES("\x00"),
        WIRE_BYTES("\xff"),
        WIRE_BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        WIRE_BYTES("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
        WIRE_BYTES("\xa0"),
        WIRE_BYTES("\xa3xyz"),
        WIRE_BYTES("\xc4\x00"),
        WIRE_BYTES("\xc4\x03xyz"),
        WIRE_BYTES("\x90"),
        WIRE_BYTES("\x91\xc0"),
        WIRE_BYTES("\x80"),
        WIRE_BYTES("\x81\xa1x\xc0"),
    };
    slice_t body = buffer_slice(&fixture->body);
    pack_reader_t behind = {at, body.data + body.size};
    assert_true(pack_skip(&behind));
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        buffer_clear(changed);
        buffer_append(changed, body.data, (size_t)(at - body.data));
        buffer_append(changed, values[i].data, values[i].size);
        buffer_append(changed, behind.at, pack_reader_left(&behind));
        (void)wire_decode_bytes(fixture, buffer_slice(changed)); /* any code will do */
    }
}

/* Goal: a value of a wrong kind anywhere is a refusal or harmless. Method: in every sample, each
 * value in turn, keys among them, is replaced by one of every kind. */
static void test_wire_client_request_every_type_confusion_is_harmless(void **state)
{
    wire_fixture_t *fixture = *state;
    buffer_t changed;
    buffer_init(&changed);
    for (uint32_t i = 0; wire_load_sample(fixture, i); i++) {
        pack_reader_t reader = pack_reader(buffer_slice(&fixture->body));
        pack_value_t ignored;
        while (reader.at < reader.end) {
            s_replace_value(fixture, reader.at, &changed);
            assert_true(pack_next(&reader, &ignored));
        }
    }
    buffer_done(&changed);
}

/* Goal: every truncation is refused. Method: all prefixes of all samples. */
static void test_wire_client_request_every_truncation_is_refused(void **state)
{
    wire_fixture_t *fixture = *state;
    for (uint32_t i = 0; wire_load_sample(fixture, i); i++) {
        for (size_t size = 0; size < fixture->body.size; size++) {
            assert_int_equal(wire_decode_bytes(fixture, slice_make(fixture->body.data, size)),
                             CODE_BAD_REQUEST);
        }
    }
}

/* Decodes the body with the byte at `at` set to all others. ret how many were refused */
static uint32_t s_flip_byte(wire_fixture_t *fixture, size_t at)
{
    uint32_t refused = 0;
    for (unsigned flip = 1; flip < 256; flip++) {
        fixture->body.data[at] ^= (uint8_t)flip;
        code_t code = wire_decode_bytes(fixture, buffer_slice(&fixture->body));
        refused += code != CODE_OK ? 1 : 0;
        fixture->body.data[at] ^= (uint8_t)flip;
    }
    return refused;
}

/* Goal: every byte can be anything. Method: each byte of each sample set to all others. */
static void test_wire_client_request_every_byte_mutation_is_harmless(void **state)
{
    wire_fixture_t *fixture = *state;
    uint32_t refused = 0;
    for (uint32_t i = 0; wire_load_sample(fixture, i); i++) {
        for (size_t at = 0; at < fixture->body.size; at++) {
            refused += s_flip_byte(fixture, at);
        }
        assert_int_equal(wire_decode_bytes(fixture, buffer_slice(&fixture->body)), CODE_OK);
    }
    assert_true(refused > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(test_wire_client_request_every_op_decodes),
        WIRE_TEST(test_wire_client_request_defaults),
        WIRE_TEST(test_wire_client_request_id_is_any_scalar),
        WIRE_TEST(test_wire_client_request_other_ids_are_refused),
        WIRE_TEST(test_wire_client_request_id_is_recovered),
        WIRE_TEST(test_wire_client_request_other_bytes_are_refused),
        WIRE_TEST(test_wire_client_request_junk_is_refused),
        WIRE_TEST(test_wire_client_request_unknown_ops),
        WIRE_TEST(test_wire_client_request_envelope_is_checked),
        WIRE_TEST(test_wire_client_request_tokens_are_merged),
        WIRE_TEST(test_wire_client_request_link_is_checked),
        WIRE_TEST(test_wire_client_request_ops_have_their_places),
        WIRE_TEST(test_wire_client_request_numbers_agree_with_the_schema_and_the_log),
        WIRE_TEST(test_wire_client_request_decisions_are_checked),
        WIRE_TEST(test_wire_client_request_memory_is_bounded),
        WIRE_TEST(test_wire_client_request_every_type_confusion_is_harmless),
        WIRE_TEST(test_wire_client_request_every_truncation_is_refused),
        WIRE_TEST(test_wire_client_request_every_byte_mutation_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
