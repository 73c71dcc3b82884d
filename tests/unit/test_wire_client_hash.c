/* The content hash: equal for equal meaning, different for everything else, the same for ever. */
#include "common/wire/client_request.h"

#include "common/wire/pack.h"
#include "tests/unit/wire_support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct {
    char hex[2 * MSG_CONTENT_HASH_SIZE + 1];
} hash_t;

static client_decoder_t *s_decoder(void)
{
    static client_decoder_t *s_self;
    if (s_self == NULL) {
        s_self = wire_decoder_new();
    }
    return s_self;
}

static hash_t s_hash(slice_t body)
{
    const client_request_t *request;
    errbuf_t errbuf;
    if (client_decode(s_decoder(), body, &request, &errbuf) != CODE_OK) {
        fail_msg("%s", errbuf.text);
    }
    uint8_t bytes[MSG_CONTENT_HASH_SIZE];
    client_content_hash(s_decoder(), request, bytes);
    hash_t hash = {{0}};
    bytes_to_hex(bytes, sizeof(bytes), hash.hex);
    return hash;
}

/* Hash of {"op": <op>, <rest>}: rest is `pairs` encoded pairs. */
static hash_t s_hash_of(const char *op, uint32_t pairs, slice_t rest)
{
    buffer_t body;
    pack_writer_t writer;
    buffer_init(&body);
    pack_writer_init(&writer, &body);
    pack_write_map(&writer, 1 + pairs);
    pack_write_str(&writer, slice_text("op"));
    pack_write_str(&writer, slice_text(op));
    if (rest.size > 0) {
        pack_write_encoded(&writer, rest);
    }
    hash_t hash = s_hash(buffer_slice(&body));
    buffer_done(&body);
    return hash;
}

static void s_expect_equal(hash_t a, hash_t b)
{
    assert_string_equal(a.hex, b.hex);
}

static void s_expect_different(hash_t a, hash_t b)
{
    assert_string_not_equal(a.hex, b.hex);
}

/* Goal: integer widths, integral floats, decimal strings, and integers for floats are one content.
 */
static void test_wire_client_hash_ignores_number_forms(void **state)
{
    (void)state;
    hash_t hash = s_hash_of("signal", 4,
                            WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa6weight\x02\xa2ts\x09"));
    s_expect_equal(hash,
                   s_hash_of("signal", 4,
                             WIRE_BYTES("\xa6signal\xa4view\xa4item\xcd\x00\x07\xa6weight\xcb\x40"
                                        "\x00\x00\x00\x00\x00\x00\x00\xa2ts\xa1"
                                        "9")));
    s_expect_equal(hash, s_hash_of("signal", 4,
                                   WIRE_BYTES("\xa6signal\xa4view\xa4item\xa1"
                                              "7\xa6weight\xca\x40\x00\x00"
                                              "\x00\xa2ts\xcb\x40\x22\x00\x00\x00\x00\x00\x00")));
}

/* Goal: the order of keys, nil for what is not sent, and keys that nobody knows make no difference.
 */
static void test_wire_client_hash_ignores_order_and_absence(void **state)
{
    (void)state;
    hash_t hash = s_hash_of("signal", 2, WIRE_BYTES("\xa6signal\xa4view\xa4item\x07"));
    s_expect_equal(hash, s_hash_of("signal", 2, WIRE_BYTES("\xa4item\x07\xa6signal\xa4view")));
    s_expect_equal(hash,
                   s_hash_of("signal", 3, WIRE_BYTES("\xa4item\x07\xa6signal\xa4view\xa2ts\xc0")));
    s_expect_equal(hash,
                   s_hash_of("signal", 3, WIRE_BYTES("\xa4item\x07\xa6signal\xa4view\xa1z\x01")));
    s_expect_equal(
        hash, s_hash_of("signal", 3, WIRE_BYTES("\xa4item\x07\xa6signal\xa4view\xa4user\x00")));
}

/* Goal: what a retry may change is not content. */
static void test_wire_client_hash_ignores_the_envelope(void **state)
{
    (void)state;
    hash_t hash = s_hash_of("signal", 2, WIRE_BYTES("\xa6signal\xa4view\xa4item\x07"));
    const slice_t more[] = {
        WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa2id\x09"),
        WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa1v\x01"),
        WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa6tenant\xa1x"),
        WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa5token\xc4\x01\x01"),
        WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa7wait_ms\x01"),
        WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa3"
                   "ack\xa3"
                   "all"),
        WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xaatimeout_ms\x01"),
    };
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        s_expect_equal(hash, s_hash_of("signal", 3, more[i]));
    }
    s_expect_equal(
        hash, s_hash_of("signal", 4,
                        WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa8producer\xa1p\xa3seq\x01")));
}

/* Goal: everything else is content; a default that was sent is not the same as one that was not. */
#define S_SESSION                      \
    "\xa7session\xc4\x18"              \
    "\x01\x00\x00\x00\x00\x00\x00\x00" \
    "0123456789abcdef"

static void test_wire_client_hash_sees_every_field(void **state)
{
    (void)state;
    const hash_t hashes[] = {
        s_hash_of("signal", 2, WIRE_BYTES("\xa6signal\xa4view\xa4item\x07")),
        s_hash_of("signal", 2, WIRE_BYTES("\xa6signal\xa4like\xa4item\x07")),
        s_hash_of("signal", 2, WIRE_BYTES("\xa6signal\xa4view\xa4item\x08")),
        s_hash_of("signal", 3, WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa4user\x08")),
        s_hash_of("signal", 3, WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa6weight\x01")),
        s_hash_of("signal", 3, WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa6weight\xff")),
        s_hash_of("signal", 3, WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa2ts\x00")),
        s_hash_of("signal", 3, WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa2ts\x08")),
        s_hash_of("signals", 1, WIRE_BYTES("\xa4rows\x91\x92\xa4view\x07")),
        s_hash_of("signals", 1, WIRE_BYTES("\xa4rows\x92\x92\xa4view\x07\x92\xa4view\x07")),
        s_hash_of("delete_item", 1, WIRE_BYTES("\xa4item\x07")),
        s_hash_of("hide", 2, WIRE_BYTES("\xa4user\x01\xa4item\x07")),
        s_hash_of("unhide", 2, WIRE_BYTES("\xa4user\x01\xa4item\x07")),
        s_hash_of("hide", 3, WIRE_BYTES("\xa4user\x01\xa4item\x07\xa3hlc\x93\x01\x00\x00")),
        s_hash_of("hide", 3, WIRE_BYTES("\xa4user\x01\xa4item\x07\xa3hlc\x93\x01\x00\x01")),
        s_hash_of("mute", 2,
                  WIRE_BYTES("\xa4user\x01\xa7"
                             "creator\x07")),
        s_hash_of("block", 2,
                  WIRE_BYTES("\xa4user\x01\xa7"
                             "creator\x07")),
        s_hash_of("put_item", 1, WIRE_BYTES("\xa4item\x07")),
        s_hash_of("put_item", 2, WIRE_BYTES("\xa4item\x07\xa5title\xa0")),
        s_hash_of("put_item", 2, WIRE_BYTES("\xa4item\x07\xa5title\xa1x")),
        s_hash_of("put_item", 2, WIRE_BYTES("\xa4item\x07\xa4text\xa1x")),
        s_hash_of("put_item", 2,
                  WIRE_BYTES("\xa4item\x07\xa8"
                             "category\xa1x")),
        s_hash_of("put_item", 2,
                  WIRE_BYTES("\xa4item\x07\xa7"
                             "creator\x00")),
        s_hash_of("put_item", 2,
                  WIRE_BYTES("\xa4item\x07\xa7"
                             "created\x00")),
        s_hash_of("put_item", 2, WIRE_BYTES("\xa4item\x07\xa4tags\x90")),
        s_hash_of("put_item", 2, WIRE_BYTES("\xa4item\x07\xa4tags\x91\xa2xy")),
        s_hash_of("put_item", 2, WIRE_BYTES("\xa4item\x07\xa4tags\x92\xa1x\xa1y")),
        s_hash_of("put_items", 1, WIRE_BYTES("\xa5items\x91\x81\xa4item\x07")),
        s_hash_of("session_start", 1, WIRE_BYTES("\xa4user\x07")),
        s_hash_of("session_start", 2,
                  WIRE_BYTES("\xa4user\x07\xa5"
                             "agent\xa1x")),
        s_hash_of("session_start", 2, WIRE_BYTES("\xa4user\x07\xa4meta\x80")),
        s_hash_of("session_close", 1, WIRE_BYTES(S_SESSION)),
        s_hash_of("session_signal", 3, WIRE_BYTES(S_SESSION "\xa6signal\xa4view\xa4item\x07")),
        s_hash_of("session_signal", 3, WIRE_BYTES(S_SESSION "\xa6signal\xa4view\xa4item\x08")),
        s_hash_of("session_signal", 3, WIRE_BYTES(S_SESSION "\xa6signal\xa4like\xa4item\x07")),
        s_hash_of("session_signal", 4,
                  WIRE_BYTES(S_SESSION "\xa6signal\xa4view\xa4item\x07\xa6weight\x01")),
        s_hash_of("session_signal", 4,
                  WIRE_BYTES(S_SESSION "\xa6signal\xa4view\xa4item\x07\xa2ts\x00")),
        s_hash_of("put_user", 2,
                  WIRE_BYTES("\xa4user\x07\xa5"
                             "attrs\x80")),
        s_hash_of("put_user", 2,
                  WIRE_BYTES("\xa4user\x07\xa5"
                             "attrs\x81\xa1x\xa1y")),
        s_hash_of("put_user", 2,
                  WIRE_BYTES("\xa4user\x07\xa5"
                             "attrs\x81\xa2xy\xa0")),
    };
    size_t count = sizeof(hashes) / sizeof(hashes[0]);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            s_expect_different(hashes[i], hashes[j]);
        }
    }
}

/* Goal: attributes and fields of items may come in any order. */
static void test_wire_client_hash_ignores_order_of_attributes(void **state)
{
    (void)state;
    s_expect_equal(s_hash_of("put_user", 2,
                             WIRE_BYTES("\xa4user\x07\xa5"
                                        "attrs\x82\xa1x\xa1y\xa1"
                                        "a\xa1"
                                        "b")),
                   s_hash_of("put_user", 2,
                             WIRE_BYTES("\xa5"
                                        "attrs\x82\xa1"
                                        "a\xa1"
                                        "b\xa1x\xa1y\xa4user\x07")));
    s_expect_equal(
        s_hash_of("put_items", 1, WIRE_BYTES("\xa5items\x91\x82\xa4item\x07\xa4text\xa1x")),
        s_hash_of("put_items", 1,
                  WIRE_BYTES("\xa5items\x91\x82\xa4text\xa1x\xa4item\xa1"
                             "7")));
}

/* Random events, encoded as rows and as columns; all or none have weight and ts, as columns must.
 */
static void s_put_events(prng_t *prng, uint32_t count, bool full, buffer_t *rows, buffer_t *columns)
{
    static const char *const s_names[] = {"view", "like", "share", "skip"};
    enum { COUNT_MAX = 64 };
    uint8_t bytes[5][8 * COUNT_MAX];
    pack_writer_t writer;
    assert_true(count <= COUNT_MAX);
    client_request_begin(&writer, rows, "signals", 1);
    pack_key(&writer, "rows");
    pack_write_array(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t signal = (uint8_t)prng_below(prng, 4);
        uint64_t item = 1 + prng_below(prng, 1000);
        uint64_t user = prng_below(prng, 3);
        double weight = (double)prng_below(prng, 5) - 2.0;
        uint64_t ts = prng_next(prng) >> 1;
        bytes[0][i] = (uint8_t)(signal + 1);
        bytes_put_u64(bytes[1] + (size_t)8 * i, item);
        bytes_put_u64(bytes[2] + (size_t)8 * i, user);
        bytes_put_f64(bytes[3] + (size_t)8 * i, weight == 0.0 ? -0.0 : weight);
        bytes_put_u64(bytes[4] + (size_t)8 * i, ts);
        pack_write_array(&writer, full ? 5 : 3);
        pack_write_str(&writer, slice_text(s_names[signal]));
        pack_write_f64(&writer, (double)item);
        if (user == 0 && i % 2 == 0) {
            pack_write_nil(&writer);
        } else {
            pack_write_u64(&writer, user);
        }
        if (full) {
            pack_write_i64(&writer, (int64_t)weight);
            pack_write_u64(&writer, ts);
        }
    }
    client_request_end(&writer);
    client_request_begin(&writer, columns, "signals", 2);
    pack_put_map(&writer, "columns");
    if (full) {
        pack_put_bin(&writer, "ts", slice_make(bytes[4], (size_t)8 * count));
        pack_put_bin(&writer, "weight", slice_make(bytes[3], (size_t)8 * count));
    }
    pack_put_bin(&writer, "user", slice_make(bytes[2], (size_t)8 * count));
    pack_put_bin(&writer, "item", slice_make(bytes[1], (size_t)8 * count));
    pack_put_bin(&writer, "signal", slice_make(bytes[0], count));
    pack_put_u64(&writer, "n", count);
    pack_close(&writer);
    client_request_end(&writer);
}

/* Goal: rows and columns of equal meaning are equal content. Method: random events both ways. */
static void test_wire_client_hash_rows_equal_columns(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 9);
    for (uint32_t round = 0; round < 200; round++) {
        buffer_t rows;
        buffer_t columns;
        buffer_init(&rows);
        buffer_init(&columns);
        s_put_events(&prng, 1 + round % 64, round % 3 != 0, &rows, &columns);
        s_expect_equal(s_hash(buffer_slice(&rows)), s_hash(buffer_slice(&columns)));
        buffer_done(&rows);
        buffer_done(&columns);
    }
}

/* Goal: one name for all columns is the same as its id n times. */
static void test_wire_client_hash_signal_name_equals_ids(void **state)
{
    (void)state;
    s_expect_equal(
        s_hash_of("signals", 1,
                  WIRE_BYTES(
                      "\xa7"
                      "columns\x83\xa1n\x01\xa6signal\xa5share\xa4item\xc4\x08\x07\0\0\0\0\0\0\0")),
        s_hash_of(
            "signals", 1,
            WIRE_BYTES(
                "\xa7"
                "columns\x83\xa1n\x01\xa6signal\xc4\x01\x03\xa4item\xc4\x08\x07\0\0\0\0\0\0\0")));
}

/* Goal: the hash of a write is the same in every version. Method: values computed by b3sum over the
 * canonical form written by hand from its description:
 *   01 01000000 01 07 0700000000000000 0800000000000000 0000000000000040 0900000000000000
 *   07 0100000000000000 0700000000000000 00
 *   21 0100000000000000 30313233343536373839616263646566 01 00 0700000000000000 */
static void test_wire_client_hash_known_answers(void **state)
{
    (void)state;
    hash_t hash =
        s_hash_of("signal", 5,
                  WIRE_BYTES("\xa6signal\xa4view\xa4item\x07\xa4user\x08\xa6weight\x02\xa2ts\x09"));
    assert_string_equal(hash.hex, "54efbde02f8e8294b64731fb8eaff077");
    hash = s_hash_of("hide", 2, WIRE_BYTES("\xa4user\x01\xa4item\x07"));
    assert_string_equal(hash.hex, "1cb7584a214e4c5fb6293497b32405ac");
    hash = s_hash_of("session_signal", 3, WIRE_BYTES(S_SESSION "\xa6signal\xa4view\xa4item\x07"));
    assert_string_equal(hash.hex, "d3f7ecc9865613c1a26459e562ba2eca");
}

static int s_teardown(void **state)
{
    (void)state;
    client_decoder_t *decoder = s_decoder();
    client_decoder_destroy(&decoder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_client_hash_ignores_number_forms),
        cmocka_unit_test(test_wire_client_hash_ignores_order_and_absence),
        cmocka_unit_test(test_wire_client_hash_ignores_the_envelope),
        cmocka_unit_test(test_wire_client_hash_sees_every_field),
        cmocka_unit_test(test_wire_client_hash_ignores_order_of_attributes),
        cmocka_unit_test(test_wire_client_hash_rows_equal_columns),
        cmocka_unit_test(test_wire_client_hash_signal_name_equals_ids),
        cmocka_unit_test(test_wire_client_hash_known_answers),
    };
    return cmocka_run_group_tests(tests, NULL, s_teardown);
}
