/* The walker refuses everything that a reader must not meet; the reader and the writer agree. */
#include "common/wire/pack.h"

#include "tests/unit/wire_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static err_t s_check(slice_t bytes)
{
    errbuf_t errbuf = {{0}};
    err_t err = pack_check(bytes, MSGPACK_NODE_COUNT_MAX, &errbuf);
    /* Every refusal says something. */
    assert_true(err == ERR_OK || errbuf.text[0] != '\0');
    return err;
}

/* -- walker ------------------------------------------------------------------------------------ */

/* Goal: no bytes are no object. */
static void test_wire_pack_empty_is_refused(void **state)
{
    (void)state;
    assert_int_equal(s_check(WIRE_BYTES("")), ERR_CORRUPT);
    assert_int_equal(s_check((slice_t){NULL, 0}), ERR_CORRUPT);
}

/* Goal: bytes behind the object are refused, also when they are an object of their own. */
static void test_wire_pack_trailing_bytes_are_refused(void **state)
{
    (void)state;
    assert_int_equal(s_check(WIRE_BYTES("\x80")), ERR_OK);
    assert_int_equal(s_check(WIRE_BYTES("\x80\xc0")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x01\x01")), ERR_CORRUPT);
}

/* Goal: a count that the bytes cannot hold is refused at once. Method: the frames of a few bytes
 * that ask a trusting decoder for gigabytes. */
static void test_wire_pack_huge_count_in_tiny_frame_is_refused(void **state)
{
    (void)state;
    assert_int_equal(s_check(WIRE_BYTES("\xdd\xff\xff\xff\xff")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\xdf\xff\xff\xff\xff")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\xdf\x80\x00\x00\x00\xa1")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\xdc\xff\xff\x01\x02")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x91\x92\x93\x94\x95\x96\x97\x98")), ERR_CORRUPT);
}

/* Goal: lengths that reach beyond the frame are refused, one byte too far and four billion. */
static void test_wire_pack_length_beyond_the_end_is_refused(void **state)
{
    (void)state;
    assert_int_equal(s_check(WIRE_BYTES("\xa3"
                                        "ab")),
                     ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\xd9\x03"
                                        "ab")),
                     ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\xc6\xff\xff\xff\xff"
                                        "ab")),
                     ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\xdb\xff\xff\xff\xff"
                                        "ab")),
                     ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\xcf\x01\x02")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\xc5\x00")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\xa2"
                                        "ab")),
                     ERR_OK);
}

/* Goal: nesting is allowed up to the bound and refused one deeper. */
static void test_wire_pack_depth_is_bounded(void **state)
{
    (void)state;
    uint8_t bytes[MSGPACK_DEPTH_MAX + 2];
    memset(bytes, 0x91, sizeof(bytes));
    bytes[MSGPACK_DEPTH_MAX] = 0xc0;
    assert_int_equal(s_check(slice_make(bytes, MSGPACK_DEPTH_MAX + 1)), ERR_OK);
    bytes[MSGPACK_DEPTH_MAX] = 0x91;
    bytes[MSGPACK_DEPTH_MAX + 1] = 0xc0;
    assert_int_equal(s_check(slice_make(bytes, MSGPACK_DEPTH_MAX + 2)), ERR_CORRUPT);
    bytes[MSGPACK_DEPTH_MAX] = 0x90;
    assert_int_equal(s_check(slice_make(bytes, MSGPACK_DEPTH_MAX + 1)), ERR_CORRUPT);
}

/* Goal: a megabyte of opening brackets costs nothing. */
static void test_wire_pack_depth_bomb_is_refused(void **state)
{
    (void)state;
    static uint8_t s_bomb[1024 * 1024];
    memset(s_bomb, 0x91, sizeof(s_bomb));
    assert_int_equal(s_check(slice_make(s_bomb, sizeof(s_bomb))), ERR_CORRUPT);
    memset(s_bomb, 0x81, sizeof(s_bomb));
    assert_int_equal(s_check(slice_make(s_bomb, sizeof(s_bomb))), ERR_CORRUPT);
}

/* Goal: the number of values is bounded, exactly. Method: an array of nils at the bound. */
static void test_wire_pack_node_count_is_bounded(void **state)
{
    (void)state;
    const slice_t bytes = WIRE_BYTES("\x94\xc0\x01\xa1x\x91\x02"); /* six values */
    errbuf_t errbuf;
    for (uint32_t max = 0; max < 6; max++) {
        assert_int_equal(pack_check(bytes, max, &errbuf), ERR_TOO_LARGE);
    }
    assert_int_equal(pack_check(bytes, 6, &errbuf), ERR_OK);
}

/* Goal: a key stands once in a map, at any depth; the same key in another map is another key. */
static void test_wire_pack_duplicate_keys_are_refused(void **state)
{
    (void)state;
    assert_int_equal(s_check(WIRE_BYTES("\x82\xa1x\x01\xa1x\x02")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x82\xa1x\x01\xd9\x01x\x02")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x91\x82\xa1x\x01\xa1x\x02")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x81\xa1x\x81\xa1x\x01")), ERR_OK);
    assert_int_equal(s_check(WIRE_BYTES("\x92\x81\xa1x\x01\x81\xa1x\x01")), ERR_OK);
    assert_int_equal(s_check(WIRE_BYTES("\x82\xa1x\x81\xa1y\x01\xa1y\x02")), ERR_OK);
    assert_int_equal(s_check(WIRE_BYTES("\x82\xa1x\x81\xa1y\x01\xa1x\x02")), ERR_CORRUPT);
}

/* Goal: keys are str. */
static void test_wire_pack_other_keys_are_refused(void **state)
{
    (void)state;
    assert_int_equal(s_check(WIRE_BYTES("\x81\x01\x01")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x81\xc4\x01x\x01")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x81\xc0\x01")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x81\x80\x01")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x81\xa0\x01")), ERR_OK);
}

/* Goal: str is UTF-8, bin is anything. Method: both in an array, where the quick path looks, and
 * as keys. */
static void test_wire_pack_str_must_be_utf8(void **state)
{
    (void)state;
    assert_int_equal(s_check(WIRE_BYTES("\xa2\xc3\xa4")), ERR_OK);
    assert_int_equal(s_check(WIRE_BYTES("\xa2\xc3\x28")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x92\xa1\xff\x01")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x92\xa2\xc3\xa4\x01")), ERR_OK);
    assert_int_equal(s_check(WIRE_BYTES("\x92\xd9\x01\xff\x01")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x81\xa1\xff\x01")), ERR_CORRUPT);
    assert_int_equal(s_check(WIRE_BYTES("\x92\xc4\x01\xff\x01")), ERR_OK);
}

/* Goal: extension types and the reserved byte are refused, alone and in an array. */
static void test_wire_pack_extensions_are_refused(void **state)
{
    (void)state;
    static const uint8_t s_firsts[] = {0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8};
    for (size_t i = 0; i < sizeof(s_firsts); i++) {
        uint8_t bytes[32] = {0x92};
        bytes[1] = s_firsts[i];
        bytes[2] = 1;
        assert_int_equal(s_check(slice_make(bytes, sizeof(bytes))), ERR_CORRUPT);
        assert_int_equal(s_check(slice_make(bytes + 1, sizeof(bytes) - 1)), ERR_CORRUPT);
        pack_reader_t reader = pack_reader(slice_make(bytes + 1, sizeof(bytes) - 1));
        assert_int_equal(pack_peek(&reader), PACK_BAD);
        assert_false(pack_skip(&reader));
    }
}

/* A map of `count` different keys, each value 1. */
static void s_put_wide_map(buffer_t *out, uint32_t count)
{
    pack_writer_t writer;
    pack_writer_init(&writer, out);
    pack_write_map(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "k%u", i);
        pack_write_str(&writer, slice_text(key));
        pack_write_u64(&writer, 1);
    }
}

/* Goal: keys of one map are bounded, exactly. */
static void test_wire_pack_key_count_is_bounded(void **state)
{
    (void)state;
    buffer_t buffer;
    buffer_init(&buffer);
    s_put_wide_map(&buffer, MSGPACK_MAP_COUNT_MAX);
    assert_int_equal(s_check(buffer_slice(&buffer)), ERR_OK);
    buffer_clear(&buffer);
    s_put_wide_map(&buffer, MSGPACK_MAP_COUNT_MAX + 1);
    assert_int_equal(s_check(buffer_slice(&buffer)), ERR_CORRUPT);
    buffer_done(&buffer);
}

/* Goal: the work of comparing keys is bounded, not only the count. Method: many maps, each as wide
 * as is allowed. */
static void test_wire_pack_many_wide_maps_are_refused(void **state)
{
    (void)state;
    buffer_t buffer;
    buffer_init(&buffer);
    pack_writer_t writer;
    pack_writer_init(&writer, &buffer);
    pack_write_array(&writer, 100);
    for (uint32_t i = 0; i < 100; i++) {
        s_put_wide_map(&buffer, MSGPACK_MAP_COUNT_MAX);
    }
    assert_int_equal(s_check(buffer_slice(&buffer)), ERR_CORRUPT);
    buffer_done(&buffer);
}

/* Goal: the keys of the outermost map are handed out, and no others. */
static void test_wire_pack_check_keys_gives_outermost_keys(void **state)
{
    (void)state;
    static pack_keys_t s_keys;
    errbuf_t errbuf;
    const slice_t bytes = WIRE_BYTES("\x83\xa1x\x81\xa1y\x01\xa1y\x92\x01\x81\xa1q\x02\xa2zz\xc0");
    assert_int_equal(pack_check_keys(bytes, 100, &s_keys, &errbuf), ERR_OK);
    assert_int_equal(s_keys.count, 3);
    assert_true(slice_equal(s_keys.names[0], slice_text("x")));
    assert_true(slice_equal(s_keys.names[1], slice_text("y")));
    assert_true(slice_equal(s_keys.names[2], slice_text("zz")));
    assert_int_equal(s_keys.names[2].data[2], 0xc0);
    assert_int_equal(pack_check_keys(WIRE_BYTES("\x91\x81\xa1x\x01"), 100, &s_keys, &errbuf),
                     ERR_OK);
    assert_int_equal(pack_check_keys(WIRE_BYTES("\x07"), 100, &s_keys, &errbuf), ERR_OK);
    assert_int_equal(s_keys.count, 0);
}

/* Goal: what the walker accepts, the reader walks to the end; what it refuses harms nothing.
 * Method: random bytes of every length up to 64, then the same through pack_skip. */
static void test_wire_pack_random_bytes_never_escape(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 11);
    unsigned accepted = 0;
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t bytes[64];
        size_t size = (size_t)prng_below(&prng, sizeof(bytes) + 1);
        for (size_t j = 0; j < size; j++) {
            bytes[j] = (uint8_t)prng_next(&prng);
        }
        slice_t slice = slice_make(bytes, size);
        pack_reader_t reader = pack_reader(slice);
        bool skipped = pack_skip(&reader);
        assert_true(skipped || reader.at == bytes);
        if (s_check(slice) == ERR_OK) {
            accepted++;
            assert_true(skipped);
            assert_ptr_equal(reader.at, reader.end);
        }
    }
    assert_true(accepted > 100);
}

/* -- numbers ----------------------------------------------------------------------------------- */

static pack_value_t s_value(slice_t bytes)
{
    pack_reader_t reader = pack_reader(bytes);
    pack_value_t value;
    assert_true(pack_next(&reader, &value));
    assert_ptr_equal(reader.at, reader.end);
    return value;
}

static void s_expect_u64(slice_t bytes, uint64_t expected)
{
    pack_value_t value = s_value(bytes);
    uint64_t number = 0;
    assert_true(pack_as_u64(&value, &number));
    assert_true(number == expected);
}

static void s_expect_i64(slice_t bytes, int64_t expected)
{
    pack_value_t value = s_value(bytes);
    int64_t number = 0;
    assert_true(pack_as_i64(&value, &number));
    assert_true(number == expected);
}

/* Goal: an integer in any width, signed encodings of what is not negative among them. */
static void test_wire_pack_integers_of_any_width_are_read(void **state)
{
    (void)state;
    s_expect_u64(WIRE_BYTES("\x07"), 7);
    s_expect_u64(WIRE_BYTES("\xcc\x07"), 7);
    s_expect_u64(WIRE_BYTES("\xcd\x00\x07"), 7);
    s_expect_u64(WIRE_BYTES("\xce\x00\x00\x00\x07"), 7);
    s_expect_u64(WIRE_BYTES("\xcf\x00\x00\x00\x00\x00\x00\x00\x07"), 7);
    s_expect_u64(WIRE_BYTES("\xd0\x07"), 7);
    s_expect_u64(WIRE_BYTES("\xd1\x00\x07"), 7);
    s_expect_u64(WIRE_BYTES("\xd2\x00\x00\x00\x07"), 7);
    s_expect_u64(WIRE_BYTES("\xd3\x00\x00\x00\x00\x00\x00\x00\x07"), 7);
    s_expect_u64(WIRE_BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), UINT64_MAX);
    s_expect_i64(WIRE_BYTES("\xff"), -1);
    s_expect_i64(WIRE_BYTES("\xd0\x80"), -128);
    s_expect_i64(WIRE_BYTES("\xd1\x80\x00"), -32768);
    s_expect_i64(WIRE_BYTES("\xd2\x80\x00\x00\x00"), INT32_MIN);
    s_expect_i64(WIRE_BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN);
}

/* Goal: integral floats and decimal strings are integers; what would be rounded or does not fit is
 * none. */
static void test_wire_pack_liberal_integers(void **state)
{
    (void)state;
    s_expect_u64(WIRE_BYTES("\xca\x40\x40\x00\x00"), 3); /* 3.0f */
    s_expect_u64(WIRE_BYTES("\xcb\x43\x40\x00\x00\x00\x00\x00\x00"), UINT64_C(1) << 53);
    s_expect_u64(WIRE_BYTES("\xb3"
                            "1152921504606846976"),
                 UINT64_C(1) << 60);
    s_expect_u64(WIRE_BYTES("\xb4"
                            "18446744073709551615"),
                 UINT64_MAX);
    s_expect_u64(WIRE_BYTES("\xa3"
                            "007"),
                 7);
    s_expect_i64(WIRE_BYTES("\xb4"
                            "-9223372036854775808"),
                 INT64_MIN);
    s_expect_i64(WIRE_BYTES("\xb3"
                            "9223372036854775807"),
                 INT64_MAX);
    s_expect_i64(WIRE_BYTES("\xcb\xc3\xe0\x00\x00\x00\x00\x00\x00"), INT64_MIN);
    s_expect_i64(WIRE_BYTES("\xcb\x80\x00\x00\x00\x00\x00\x00\x00"), 0); /* -0.0 */
}

static void s_expect_no_integer(slice_t bytes)
{
    pack_value_t value = s_value(bytes);
    uint64_t unsigned_number = 42;
    int64_t signed_number = 42;
    assert_false(pack_as_u64(&value, &unsigned_number));
    assert_false(pack_as_i64(&value, &signed_number));
    assert_true(unsigned_number == 42 && signed_number == 42);
}

/* Goal: nothing else is an integer. */
static void test_wire_pack_other_values_are_no_integers(void **state)
{
    (void)state;
    s_expect_no_integer(WIRE_BYTES("\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00")); /* 1.5 */
    s_expect_no_integer(WIRE_BYTES("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00")); /* NaN */
    s_expect_no_integer(WIRE_BYTES("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00")); /* infinity */
    s_expect_no_integer(WIRE_BYTES("\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"));
    s_expect_no_integer(WIRE_BYTES("\xcb\x43\xf0\x00\x00\x00\x00\x00\x00")); /* 2^64 */
    s_expect_no_integer(WIRE_BYTES("\xb4"
                                   "18446744073709551616"));
    s_expect_no_integer(WIRE_BYTES("\xa0"));
    s_expect_no_integer(WIRE_BYTES("\xa1-"));
    s_expect_no_integer(WIRE_BYTES("\xa2+7"));
    s_expect_no_integer(WIRE_BYTES("\xa2 7"));
    s_expect_no_integer(WIRE_BYTES("\xa2"
                                   "7 "));
    s_expect_no_integer(WIRE_BYTES("\xa3"
                                   "1.0"));
    s_expect_no_integer(WIRE_BYTES("\xa3"
                                   "0x7"));
    s_expect_no_integer(WIRE_BYTES("\xa3"
                                   "1e3"));
    s_expect_no_integer(WIRE_BYTES("\xc0"));
    s_expect_no_integer(WIRE_BYTES("\xc3"));
    s_expect_no_integer(WIRE_BYTES("\xc4\x01"
                                   "7"));
    s_expect_no_integer(WIRE_BYTES("\x90"));
}

/* Goal: ranges of the two kinds of integers end where they must. */
static void test_wire_pack_integers_out_of_range_are_refused(void **state)
{
    (void)state;
    uint64_t unsigned_number;
    int64_t signed_number;
    pack_value_t value = s_value(WIRE_BYTES("\xff"));
    assert_false(pack_as_u64(&value, &unsigned_number));
    value = s_value(WIRE_BYTES("\xa2-1"));
    assert_false(pack_as_u64(&value, &unsigned_number));
    value = s_value(WIRE_BYTES("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"));
    assert_false(pack_as_i64(&value, &signed_number));
    value = s_value(WIRE_BYTES("\xb3"
                               "9223372036854775808"));
    assert_false(pack_as_i64(&value, &signed_number));
    value = s_value(WIRE_BYTES("\xb4"
                               "-9223372036854775809"));
    assert_false(pack_as_i64(&value, &signed_number));
    value = s_value(WIRE_BYTES("\xcb\x43\xe0\x00\x00\x00\x00\x00\x00")); /* 2^63 */
    assert_false(pack_as_i64(&value, &signed_number));
}

/* Goal: a float is any finite float and any integer, but no text and no NaN. */
static void test_wire_pack_floats(void **state)
{
    (void)state;
    double number = 0;
    pack_value_t value = s_value(WIRE_BYTES("\x03"));
    assert_true(pack_as_f64(&value, &number) && number == 3.0);
    value = s_value(WIRE_BYTES("\xfd"));
    assert_true(pack_as_f64(&value, &number) && number == -3.0);
    value = s_value(WIRE_BYTES("\xca\x3f\x00\x00\x00"));
    assert_true(pack_as_f64(&value, &number) && number == 0.5);
    value = s_value(WIRE_BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"));
    assert_true(pack_as_f64(&value, &number) && number == 0.1);
    value = s_value(WIRE_BYTES("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"));
    assert_false(pack_as_f64(&value, &number));
    value = s_value(WIRE_BYTES("\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"));
    assert_false(pack_as_f64(&value, &number));
    value = s_value(WIRE_BYTES("\xa1"
                               "3"));
    assert_false(pack_as_f64(&value, &number));
}

/* -- writer ------------------------------------------------------------------------------------ */

/* Goal: opened containers count what is put into them, nested as well. */
static void test_wire_pack_opened_containers_count(void **state)
{
    (void)state;
    buffer_t buffer;
    buffer_init(&buffer);
    pack_writer_t writer;
    pack_writer_init(&writer, &buffer);
    pack_open_map(&writer);
    pack_put_u64(&writer, "a", 1);
    pack_put_array(&writer, "b");
    pack_item(&writer);
    pack_open_map(&writer);
    pack_put_text(&writer, "c", "x");
    pack_close(&writer);
    pack_item(&writer);
    pack_write_nil(&writer);
    pack_close(&writer);
    pack_put_f64(&writer, "d", 0.5);
    pack_close(&writer);
    pack_writer_done(&writer);
    slice_t bytes = buffer_slice(&buffer);
    assert_int_equal(s_check(bytes), ERR_OK);
    assert_int_equal(pack_get(bytes, "").as.count, 3);
    assert_int_equal(pack_get(bytes, "b").as.count, 2);
    assert_int_equal(pack_get(bytes, "b.0.c").kind, PACK_STR);
    assert_int_equal(pack_get(bytes, "b.1").kind, PACK_NIL);
    assert_true(pack_get(bytes, "d").as.f64 == 0.5);
    buffer_done(&buffer);
}

/* Goal: a path that leads nowhere is no value, never a crash. */
static void test_wire_pack_paths_that_lead_nowhere(void **state)
{
    (void)state;
    const slice_t bytes = WIRE_BYTES("\x82\xa1"
                                     "a\x92\x01\x02\xa1"
                                     "b\xc0");
    static const char *const s_paths[] = {"c", "a.2", "a.x", "a.-1", "a.0.0", "b.0", ".", ".a"};
    for (size_t i = 0; i < sizeof(s_paths) / sizeof(s_paths[0]); i++) {
        assert_int_equal(pack_get(bytes, s_paths[i]).kind, PACK_BAD);
    }
    assert_int_equal(pack_get(bytes, "a.1").as.uint, 2);
    assert_int_equal(pack_get((slice_t){NULL, 0}, "a").kind, PACK_BAD);
}

/* Goal: integers take the shortest form, so equal values are equal bytes. */
static void test_wire_pack_integers_are_written_short(void **state)
{
    (void)state;
    buffer_t buffer;
    buffer_init(&buffer);
    pack_writer_t writer;
    pack_writer_init(&writer, &buffer);
    pack_write_u64(&writer, 7);
    pack_write_i64(&writer, 7);
    pack_write_i64(&writer, -1);
    pack_write_u64(&writer, 255);
    pack_write_u64(&writer, 256);
    assert_true(slice_equal(buffer_slice(&buffer), WIRE_BYTES("\x07\x07\xff\xcc\xff\xcd\x01\x00")));
    buffer_done(&buffer);
}

/* Goal: descriptions are bounded, UTF-8, and without control characters. */
static void test_wire_pack_descriptions_are_clean(void **state)
{
    (void)state;
    char text[PACK_DESCRIPTION_SIZE];
    pack_value_t value = {.kind = PACK_STR, .as.bytes = WIRE_BYTES("a\nb\x1b[0m")};
    pack_describe(&value, text);
    assert_string_equal(text, "`a?b?[0m`");
    /* 31 letters, then characters of two bytes: a cut at 32 would split one. */
    value.as.bytes = slice_text("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xc3\xa4\xc3\xa4");
    pack_describe(&value, text);
    assert_true(bytes_are_utf8(slice_text(text)));
    assert_string_equal(text, "`xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...`");
    value = (pack_value_t){.kind = PACK_FLOAT, .as.f64 = (double)NAN};
    pack_describe(&value, text);
    assert_non_null(strstr(text, "nan"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_pack_empty_is_refused),
        cmocka_unit_test(test_wire_pack_trailing_bytes_are_refused),
        cmocka_unit_test(test_wire_pack_huge_count_in_tiny_frame_is_refused),
        cmocka_unit_test(test_wire_pack_length_beyond_the_end_is_refused),
        cmocka_unit_test(test_wire_pack_depth_is_bounded),
        cmocka_unit_test(test_wire_pack_depth_bomb_is_refused),
        cmocka_unit_test(test_wire_pack_node_count_is_bounded),
        cmocka_unit_test(test_wire_pack_duplicate_keys_are_refused),
        cmocka_unit_test(test_wire_pack_other_keys_are_refused),
        cmocka_unit_test(test_wire_pack_str_must_be_utf8),
        cmocka_unit_test(test_wire_pack_extensions_are_refused),
        cmocka_unit_test(test_wire_pack_key_count_is_bounded),
        cmocka_unit_test(test_wire_pack_many_wide_maps_are_refused),
        cmocka_unit_test(test_wire_pack_check_keys_gives_outermost_keys),
        cmocka_unit_test(test_wire_pack_random_bytes_never_escape),
        cmocka_unit_test(test_wire_pack_integers_of_any_width_are_read),
        cmocka_unit_test(test_wire_pack_liberal_integers),
        cmocka_unit_test(test_wire_pack_other_values_are_no_integers),
        cmocka_unit_test(test_wire_pack_integers_out_of_range_are_refused),
        cmocka_unit_test(test_wire_pack_floats),
        cmocka_unit_test(test_wire_pack_opened_containers_count),
        cmocka_unit_test(test_wire_pack_paths_that_lead_nowhere),
        cmocka_unit_test(test_wire_pack_integers_are_written_short),
        cmocka_unit_test(test_wire_pack_descriptions_are_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
