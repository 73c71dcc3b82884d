/* Tokens: one form of bytes per content, and the algebra that reads and merges rely on. */
#include "common/wire/token.h"

#include "tests/unit/wire_support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static stream_id_t s_stream(uint64_t tenant, uint16_t region, uint16_t shard, uint64_t incarnation)
{
    return (stream_id_t){{tenant}, incarnation, {{region}, {shard}}};
}

static void s_random_token(prng_t *prng, uint32_t count, token_t *ret_token)
{
    token_clear(ret_token);
    for (uint32_t i = 0; i < count; i++) {
        stream_id_t stream = s_stream(1 + prng_below(prng, 3), (uint16_t)(1 + prng_below(prng, 3)),
                                      (uint16_t)prng_below(prng, 5), 1 + prng_below(prng, 2));
        uint64_t seq = 1 + (prng_next(prng) >> prng_below(prng, 64)) / 2;
        assert_int_equal(token_add(ret_token, stream, seq), ERR_OK);
    }
    if (prng_chance(prng, 0.5)) {
        token_add_stamp(ret_token, (hlc_stamp_t){.wall_ns = (int64_t)(prng_next(prng) >> 2)});
    }
}

static bool s_equal(const token_t *a, const token_t *b)
{
    bool equal = a->count == b->count && a->hlc_ns == b->hlc_ns;
    for (uint32_t i = 0; equal && i < a->count; i++) {
        equal = stream_id_equal(a->positions[i].stream, b->positions[i].stream) &&
                a->positions[i].seq == b->positions[i].seq;
    }
    return equal;
}

/* Goal: what is encoded decodes to the same. Method: random tokens of every size that fits. */
static void test_wire_token_round_trip(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 1);
    buffer_t bytes;
    buffer_init(&bytes);
    for (uint32_t round = 0; round < 500; round++) {
        static token_t s_token;
        static token_t s_decoded;
        s_random_token(&prng, round % 40, &s_token);
        buffer_clear(&bytes);
        assert_int_equal(token_encode(&s_token, &bytes), ERR_OK);
        assert_int_equal(token_decode(&s_decoded, buffer_slice(&bytes), NULL), ERR_OK);
        assert_true(s_equal(&s_token, &s_decoded));
    }
    buffer_done(&bytes);
}

/* Goal: the streams of a mesh of 3 x 5 fit easily, and the bytes are as documented. */
static void test_wire_token_bytes_are_as_documented(void **state)
{
    (void)state;
    static token_t s_token;
    buffer_t bytes;
    buffer_init(&bytes);
    token_clear(&s_token);
    assert_int_equal(token_encode(&s_token, &bytes), ERR_OK);
    assert_true(slice_equal(buffer_slice(&bytes), WIRE_BYTES("\x01")));
    buffer_clear(&bytes);
    assert_int_equal(token_add(&s_token, s_stream(1, 2, 3, 0x0807060504030201), 300), ERR_OK);
    assert_int_equal(token_encode(&s_token, &bytes), ERR_OK);
    assert_true(
        slice_equal(buffer_slice(&bytes),
                    WIRE_BYTES("\x01\x01\x01\x03\x02\x01\x02\x03\x04\x05\x06\x07\x08\xac\x02")));
    token_clear(&s_token);
    buffer_clear(&bytes);
    for (uint16_t i = 0; i < 15; i++) {
        stream_id_t stream = s_stream(1, (uint16_t)(1 + i % 3), (uint16_t)(i / 3), UINT64_MAX - i);
        assert_int_equal(token_add(&s_token, stream, 1000000 + i), ERR_OK);
    }
    assert_int_equal(token_encode(&s_token, &bytes), ERR_OK);
    assert_true(bytes.size < 256);
    buffer_done(&bytes);
}

/* Goal: what does not fit is refused, and nothing is left out or half written. Method: streams are
 * added one by one until they do not fit. */
static void test_wire_token_too_large_is_refused(void **state)
{
    (void)state;
    static token_t s_token;
    buffer_t bytes;
    buffer_init(&bytes);
    token_clear(&s_token);
    err_t err = ERR_OK;
    uint32_t fitted = 0;
    for (uint64_t i = 1; err == ERR_OK; i++) {
        assert_int_equal(token_add(&s_token, s_stream(1, 1, 1, i), i), ERR_OK);
        buffer_clear(&bytes);
        buffer_append(&bytes, "before", 6);
        err = token_encode(&s_token, &bytes);
        assert_true(bytes.size - 6 <= TOKEN_SIZE_MAX);
        fitted += err == ERR_OK ? 1 : 0;
    }
    assert_int_equal(err, ERR_TOO_LARGE);
    assert_int_equal(bytes.size, 6);
    assert_true(fitted > 80);
    buffer_done(&bytes);
}

/* Goal: a token holds so many streams and no more, and is as it was after a refusal. */
static void test_wire_token_stream_count_is_bounded(void **state)
{
    (void)state;
    static token_t s_token;
    static token_t s_other;
    token_clear(&s_token);
    for (uint64_t i = 1; i <= TOKEN_STREAM_COUNT_MAX; i++) {
        assert_int_equal(token_add(&s_token, s_stream(1, 1, 1, i), i), ERR_OK);
    }
    assert_int_equal(token_add(&s_token, s_stream(1, 1, 2, 1), 1), ERR_TOO_LARGE);
    assert_int_equal(token_add(&s_token, s_stream(1, 1, 1, 5), 500), ERR_OK);
    token_clear(&s_other);
    assert_int_equal(token_add(&s_other, s_stream(1, 1, 1, 6), 600), ERR_OK);
    assert_int_equal(token_merge(&s_token, &s_other), ERR_OK);
    assert_int_equal(token_add(&s_other, s_stream(9, 1, 1, 6), 600), ERR_OK);
    assert_int_equal(token_merge(&s_token, &s_other), ERR_TOO_LARGE);
    assert_int_equal(s_token.count, TOKEN_STREAM_COUNT_MAX);
}

/* Goal: merging is commutative, associative and idempotent. Method: random tokens over few streams,
 * so that most overlap. */
static void test_wire_token_merge_laws(void **state)
{
    (void)state;
    static token_t s_a;
    static token_t s_b;
    static token_t s_c;
    static token_t s_left;
    static token_t s_right;
    prng_t prng;
    prng_init(&prng, 2);
    for (uint32_t round = 0; round < 500; round++) {
        s_random_token(&prng, round % 13, &s_a);
        s_random_token(&prng, round % 7, &s_b);
        s_random_token(&prng, round % 5, &s_c);
        s_left = s_a;
        s_right = s_b;
        assert_int_equal(token_merge(&s_left, &s_b), ERR_OK);
        assert_int_equal(token_merge(&s_right, &s_a), ERR_OK);
        assert_true(s_equal(&s_left, &s_right));
        assert_int_equal(token_merge(&s_left, &s_b), ERR_OK);
        assert_true(s_equal(&s_left, &s_right));
        assert_int_equal(token_merge(&s_left, &s_c), ERR_OK);
        s_right = s_b;
        assert_int_equal(token_merge(&s_right, &s_c), ERR_OK);
        assert_int_equal(token_merge(&s_right, &s_a), ERR_OK);
        assert_true(s_equal(&s_left, &s_right));
        assert_true(token_is_covered(&s_a, s_left.positions, s_left.count));
        assert_true(token_is_covered(&s_c, s_left.positions, s_left.count));
    }
}

/* Goal: covered means every stream, at least that far. */
static void test_wire_token_covered_needs_every_position(void **state)
{
    (void)state;
    static token_t s_token;
    stream_position_t applied[] = {
        {s_stream(1, 1, 0, 1), 5}, {s_stream(1, 2, 0, 1), 7}, {s_stream(1, 1, 1, 1), 9}};
    token_clear(&s_token);
    assert_true(token_is_covered(&s_token, applied, 0));
    assert_true(token_is_covered(&s_token, applied, 3));
    assert_int_equal(token_add(&s_token, s_stream(1, 2, 0, 1), 7), ERR_OK);
    assert_true(token_is_covered(&s_token, applied, 3));
    assert_false(token_is_covered(&s_token, applied, 1));
    assert_int_equal(token_add(&s_token, s_stream(1, 2, 0, 1), 8), ERR_OK);
    assert_false(token_is_covered(&s_token, applied, 3));
    token_clear(&s_token);
    assert_int_equal(token_add(&s_token, s_stream(1, 1, 0, 2), 1), ERR_OK);
    assert_false(token_is_covered(&s_token, applied, 3));
}

/* Goal: a node gets only its streams, and stable positions are left out. */
static void test_wire_token_streams_are_left_out(void **state)
{
    (void)state;
    static token_t s_token;
    token_clear(&s_token);
    assert_int_equal(token_add(&s_token, s_stream(1, 1, 0, 1), 5), ERR_OK);
    assert_int_equal(token_add(&s_token, s_stream(1, 2, 0, 1), 6), ERR_OK);
    assert_int_equal(token_add(&s_token, s_stream(1, 1, 1, 1), 7), ERR_OK);
    assert_int_equal(token_add(&s_token, s_stream(2, 1, 0, 1), 8), ERR_OK);
    static token_t s_kept;
    s_kept = s_token;
    token_keep_shard(&s_kept, (tenant_id_t){1}, (shard_id_t){0});
    assert_int_equal(s_kept.count, 2);
    assert_int_equal(s_kept.positions[1].seq, 6);
    stream_position_t stable[] = {{s_stream(1, 1, 0, 1), 5}, {s_stream(1, 2, 0, 1), 5}};
    token_drop_stable(&s_token, stable, 2);
    assert_int_equal(s_token.count, 3);
    assert_int_equal(s_token.positions[0].seq, 6);
    token_drop_stable(&s_token, stable, 0);
    assert_int_equal(s_token.count, 3);
}

static void s_expect_refusal(slice_t bytes)
{
    static token_t s_token;
    errbuf_t errbuf = {{0}};
    s_token.count = 3;
    assert_int_equal(token_decode(&s_token, bytes, &errbuf), ERR_INVALID);
    assert_true(errbuf.text[0] != '\0');
    assert_int_equal(s_token.count, 0);
}

/* Goal: nothing but a token is one. */
static void test_wire_token_other_bytes_are_refused(void **state)
{
    (void)state;
    uint8_t large[TOKEN_SIZE_MAX + 1] = {TOKEN_VERSION};
    s_expect_refusal(slice_make(large, sizeof(large)));
    s_expect_refusal(WIRE_BYTES("\x02"));
    s_expect_refusal(WIRE_BYTES("junk"));
    s_expect_refusal(WIRE_BYTES("\x01\x01"));
    s_expect_refusal(WIRE_BYTES("\x01\x00\x01\x03\x02"
                                "12345678\x05")); /* tenant 0 */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x00")); /* no stream */
    s_expect_refusal(WIRE_BYTES("\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")); /* 2^64-1 */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x01\x28\x02"
                                "12345678\x05")); /* shard 40 */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x01\x03\x00"
                                "12345678\x05")); /* region 0 */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x01\x03\x11"
                                "12345678\x05"));                             /* region 17 */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x01\x03\x02\0\0\0\0\0\0\0\0\x05")); /* incarnation 0 */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x01\x03\x02"
                                "12345678\x00")); /* seq 0 */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x01\x03\x02"
                                "12345678\x85\x00")); /* padded */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x01\x03\x02"
                                "12345678\x85")); /* cut off */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x01\x03\x02"
                                "12345678\x05\x00")); /* trailing */
    s_expect_refusal(WIRE_BYTES("\x01\x01\x02\x03\x02"
                                "12345678\x05\x03\x02"
                                "12345678\x05"));
    s_expect_refusal(WIRE_BYTES("\x01\x01\x02\x03\x02"
                                "12345678\x05\x02\x02"
                                "12345678\x05"));
}

/* The bytes with the one at `at` set to all others: what decodes must encode to the same bytes.
 * ret how many decoded */
static uint32_t s_flip_byte(buffer_t *bytes, size_t at, buffer_t *again)
{
    static token_t s_token;
    uint32_t decoded = 0;
    for (unsigned flip = 1; flip < 256; flip++) {
        bytes->data[at] ^= (uint8_t)flip;
        if (token_decode(&s_token, buffer_slice(bytes), NULL) == ERR_OK) {
            decoded++;
            buffer_clear(again);
            assert_int_equal(token_encode(&s_token, again), ERR_OK);
            assert_true(slice_equal(buffer_slice(again), buffer_slice(bytes)));
        }
        bytes->data[at] ^= (uint8_t)flip;
    }
    return decoded;
}

/* Goal: every byte string is refused or means exactly one token. Method: all cuts and all changes
 * of one byte of a token. */
static void test_wire_token_mutations_are_refused_or_another_token(void **state)
{
    (void)state;
    static token_t s_token;
    prng_t prng;
    prng_init(&prng, 3);
    buffer_t bytes;
    buffer_t again;
    buffer_init(&bytes);
    buffer_init(&again);
    s_random_token(&prng, 12, &s_token);
    assert_int_equal(token_encode(&s_token, &bytes), ERR_OK);
    uint32_t decoded = 0;
    uint32_t count = s_token.count;
    for (size_t at = 0; at < bytes.size; at++) {
        err_t cut = token_decode(&s_token, slice_make(bytes.data, at), NULL);
        assert_true(cut == ERR_INVALID || s_token.count < count);
        decoded += s_flip_byte(&bytes, at, &again);
    }
    assert_true(decoded > 0);
    buffer_done(&again);
    buffer_done(&bytes);
}

/* Goal: a stamp that was seen lies below what the token says, equal walls with any logical part
 * included; lower ones change nothing, and the end of all time is not exceeded. */
static void test_wire_token_stamp_lies_beyond_what_was_seen(void **state)
{
    (void)state;
    static token_t s_token;
    static token_t s_other;
    token_clear(&s_token);
    token_clear(&s_other);
    token_add_stamp(&s_token, (hlc_stamp_t){.wall_ns = 1000, .logical = UINT32_MAX});
    assert_int_equal(s_token.hlc_ns, 1001);
    token_add_stamp(&s_token, (hlc_stamp_t){.wall_ns = 999});
    assert_int_equal(s_token.hlc_ns, 1001);
    token_add_stamp(&s_token, (hlc_stamp_t){.wall_ns = INT64_MAX});
    assert_int_equal(s_token.hlc_ns, 1001);
    token_add_stamp(&s_other, (hlc_stamp_t){.wall_ns = 5000});
    assert_int_equal(token_merge(&s_token, &s_other), ERR_OK);
    assert_int_equal(s_token.hlc_ns, 5001);
}

/* Goal: a version that promises a stamp and has none, or zero, is refused. */
static void test_wire_token_without_its_stamp_is_refused(void **state)
{
    (void)state;
    static token_t s_token;
    static const uint8_t s_cut[] = {TOKEN_VERSION_STAMPED};
    static const uint8_t s_zero[] = {TOKEN_VERSION_STAMPED, 0};
    static const uint8_t s_negative[] = {
        TOKEN_VERSION_STAMPED, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    errbuf_t errbuf = {{0}};
    assert_int_equal(token_decode(&s_token, slice_make(s_cut, 1), &errbuf), ERR_INVALID);
    assert_int_equal(token_decode(&s_token, slice_make(s_zero, 2), &errbuf), ERR_INVALID);
    assert_int_equal(token_decode(&s_token, slice_make(s_negative, sizeof(s_negative)), &errbuf),
                     ERR_INVALID);
    assert_non_null(strstr(errbuf.text, "stamp"));
    assert_int_equal(s_token.hlc_ns, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_token_round_trip),
        cmocka_unit_test(test_wire_token_bytes_are_as_documented),
        cmocka_unit_test(test_wire_token_too_large_is_refused),
        cmocka_unit_test(test_wire_token_stream_count_is_bounded),
        cmocka_unit_test(test_wire_token_merge_laws),
        cmocka_unit_test(test_wire_token_covered_needs_every_position),
        cmocka_unit_test(test_wire_token_streams_are_left_out),
        cmocka_unit_test(test_wire_token_other_bytes_are_refused),
        cmocka_unit_test(test_wire_token_mutations_are_refused_or_another_token),
        cmocka_unit_test(test_wire_token_stamp_lies_beyond_what_was_seen),
        cmocka_unit_test(test_wire_token_without_its_stamp_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
