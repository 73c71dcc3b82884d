/* Numbers in bytes, slices, growing buffers, hex, UTF-8 and numbers in text. */
#include "common/base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Goal: the byte order on disk and wire is little-endian whatever the machine does. */
static void test_bytes_put_numbers_writes_little_endian(void **state)
{
    (void)state;
    static const uint8_t s_expected[] = {0x02, 0x01, 0x06, 0x05, 0x04, 0x03, 0x0e,
                                         0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x07};
    uint8_t bytes[14];
    bytes_put_u16(bytes, 0x0102);
    bytes_put_u32(bytes + 2, 0x03040506);
    bytes_put_u64(bytes + 6, UINT64_C(0x0708090a0b0c0d0e));
    assert_memory_equal(bytes, s_expected, sizeof(bytes));
    assert_int_equal(bytes_get_u16(bytes), 0x0102);
    assert_int_equal(bytes_get_u32(bytes + 2), 0x03040506);
    assert_true(bytes_get_u64(bytes + 6) == UINT64_C(0x0708090a0b0c0d0e));
}

/* Goal: no bit is lost at the top. */
static void test_bytes_extreme_numbers_survive_a_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[8];
    bytes_put_u16(bytes, UINT16_MAX);
    assert_int_equal(bytes_get_u16(bytes), UINT16_MAX);
    bytes_put_u32(bytes, UINT32_MAX);
    assert_true(bytes_get_u32(bytes) == UINT32_MAX);
    bytes_put_u64(bytes, UINT64_MAX);
    assert_true(bytes_get_u64(bytes) == UINT64_MAX);
}

/* Goal: a double travels bit by bit, negative zero and the smallest number included. */
static void test_bytes_f64_keeps_every_bit(void **state)
{
    (void)state;
    static const double s_values[] = {-0.0, 0x1p-1074, 0.1, -1e300};
    uint8_t bytes[8];
    for (unsigned i = 0; i < sizeof(s_values) / sizeof(s_values[0]); i++) {
        bytes_put_f64(bytes, s_values[i]);
        double back = bytes_get_f64(bytes);
        assert_memory_equal(&back, &s_values[i], sizeof(back));
    }
}

/* Goal: big-endian keys sort like their numbers. */
static void test_bytes_u64_be_keys_sort_as_numbers(void **state)
{
    (void)state;
    static const uint64_t s_rising[] = {0, 1, 255, 256, UINT64_C(1) << 63, UINT64_MAX};
    uint8_t before[8] = {0};
    for (unsigned i = 0; i < sizeof(s_rising) / sizeof(s_rising[0]); i++) {
        uint8_t key[8];
        bytes_put_u64_be(key, s_rising[i]);
        assert_true(bytes_get_u64_be(key) == s_rising[i]);
        assert_true(i == 0 || memcmp(before, key, sizeof(key)) < 0);
        (void)memcpy(before, key, sizeof(key));
    }
}

/* Goal: empty slices are equal wherever they point, a prefix is not equal. */
static void test_slice_equal_compares_size_and_bytes(void **state)
{
    (void)state;
    assert_true(slice_equal(slice_make(NULL, 0), slice_make("x", 0)));
    assert_true(slice_equal(slice_make("abc", 3), slice_make("abc", 3)));
    assert_false(slice_equal(slice_make("abc", 3), slice_make("abc", 2)));
    assert_false(slice_equal(slice_make("abc", 3), slice_make("abd", 3)));
}

/* Goal: what was appended stands there after many growths, and an empty append adds nothing. */
static void test_buffer_append_grows_and_keeps_what_it_holds(void **state)
{
    (void)state;
    buffer_t buffer;
    buffer_init(&buffer);
    buffer_append(&buffer, NULL, 0);
    assert_int_equal(buffer_slice(&buffer).size, 0);
    for (unsigned i = 0; i < 5000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        buffer_append(&buffer, &byte, 1);
    }
    slice_t all = buffer_slice(&buffer);
    assert_int_equal(all.size, 5000);
    for (unsigned i = 0; i < 5000; i++) {
        assert_int_equal(all.data[i], (uint8_t)(i * 7));
    }
    buffer_done(&buffer);
}

/* Goal: clear keeps the memory, done frees it and may be called twice. */
static void test_buffer_clear_keeps_memory_and_done_may_repeat(void **state)
{
    (void)state;
    buffer_t buffer;
    buffer_init(&buffer);
    (void)memset(buffer_extend(&buffer, 1000), 1, 1000);
    const uint8_t *data = buffer.data;
    buffer_clear(&buffer);
    assert_int_equal(buffer.size, 0);
    assert_ptr_equal(buffer_extend(&buffer, 1000), data);
    buffer_done(&buffer);
    buffer_done(&buffer);
    assert_null(buffer.data);
}

/* Goal: no byte gives an empty text, others two lower-case digits each. */
static void test_bytes_to_hex_writes_two_digits_per_byte(void **state)
{
    (void)state;
    static const uint8_t s_bytes[] = {0x00, 0x0f, 0xa5, 0xff};
    char text[2 * sizeof(s_bytes) + 1];
    bytes_to_hex(s_bytes, sizeof(s_bytes), text);
    assert_string_equal(text, "000fa5ff");
    bytes_to_hex(s_bytes, 0, text);
    assert_string_equal(text, "");
}

/* Goal: every kind of malformed UTF-8 of RFC 3629 is refused, each at the bound. */
static void test_bytes_are_utf8_malformed_is_refused(void **state)
{
    (void)state;
    static const char *const s_bad[] = {
        "\x80",             /* a continuation alone */
        "\xc1\xbf",         /* overlong, two bytes */
        "\xe0\x9f\xbf",     /* overlong, three */
        "\xf0\x8f\xbf\xbf", /* overlong, four */
        "\xed\xa0\x80",     /* first surrogate */
        "\xf4\x90\x80\x80", /* one past U+10FFFF */
        "\xf5\x80\x80\x80", /* no such first byte */
        "\xe2\x82",         /* cut */
        "\xe2\x82\x28",     /* wrong last byte */
        "ok\xff",
    };
    for (unsigned i = 0; i < sizeof(s_bad) / sizeof(s_bad[0]); i++) {
        assert_false(bytes_are_utf8(slice_make(s_bad[i], strlen(s_bad[i]))));
    }
}

/* Goal: the first and the last character of each length are accepted; so is nothing, and NUL. */
static void test_bytes_are_utf8_bounds_are_accepted(void **state)
{
    (void)state;
    static const char *const s_good[] = {
        "",
        "plain",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
    };
    for (unsigned i = 0; i < sizeof(s_good) / sizeof(s_good[0]); i++) {
        assert_true(bytes_are_utf8(slice_make(s_good[i], strlen(s_good[i]))));
    }
    assert_true(bytes_are_utf8(slice_make("\0", 1)));
}

/* Goal: what is no number, or one past a bound, is refused and leaves the result alone. */
static void test_text_to_u64_bad_text_is_refused(void **state)
{
    (void)state;
    static const char *const s_bad[] = {"",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "0x10",
                                        "1.0",
                                        "101",
                                        "9",
                                        "18446744073709551616",
                                        "99999999999999999999999"};
    uint64_t value = 77;
    for (unsigned i = 0; i < sizeof(s_bad) / sizeof(s_bad[0]); i++) {
        assert_int_equal(text_to_u64(s_bad[i], 10, 100, &value), ERR_INVALID);
        assert_int_equal(value, 77);
    }
    assert_int_equal(text_to_u64("18446744073709551616", 0, UINT64_MAX, &value), ERR_INVALID);
}

/* Goal: both bounds belong to the range, and leading zeros do not matter. */
static void test_text_to_u64_bounds_are_accepted(void **state)
{
    (void)state;
    uint64_t value = 0;
    assert_int_equal(text_to_u64("10", 10, 100, &value), ERR_OK);
    assert_int_equal(value, 10);
    assert_int_equal(text_to_u64("00100", 10, 100, &value), ERR_OK);
    assert_int_equal(value, 100);
    assert_int_equal(text_to_u64("18446744073709551615", 0, UINT64_MAX, &value), ERR_OK);
    assert_true(value == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_put_numbers_writes_little_endian),
        cmocka_unit_test(test_bytes_extreme_numbers_survive_a_round_trip),
        cmocka_unit_test(test_bytes_f64_keeps_every_bit),
        cmocka_unit_test(test_bytes_u64_be_keys_sort_as_numbers),
        cmocka_unit_test(test_slice_equal_compares_size_and_bytes),
        cmocka_unit_test(test_buffer_append_grows_and_keeps_what_it_holds),
        cmocka_unit_test(test_buffer_clear_keeps_memory_and_done_may_repeat),
        cmocka_unit_test(test_bytes_to_hex_writes_two_digits_per_byte),
        cmocka_unit_test(test_bytes_are_utf8_malformed_is_refused),
        cmocka_unit_test(test_bytes_are_utf8_bounds_are_accepted),
        cmocka_unit_test(test_text_to_u64_bad_text_is_refused),
        cmocka_unit_test(test_text_to_u64_bounds_are_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
