/* Records that say what every shard holds: golden bytes, limits, damage. */
#include "common/wal/record_held.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const hlc_stamp_t s_hlc = {INT64_C(0x1797000000000005), 3, 0x1ffff};

static record_t s_mute(void)
{
    record_t record = {.type = RECORD_HELD, .event_count = 1};
    record.as.held = (record_held_t){
        .user = {0x0102}, .hlc = s_hlc, .kind = HELD_MUTE, .set = true, .target = 0x0304};
    return record;
}

static record_t s_attribute(void)
{
    record_t record = {.type = RECORD_HELD, .event_count = 1};
    record.as.held = (record_held_t){
        .user = {0x0102}, .hlc = s_hlc, .kind = HELD_ATTRIBUTE, .name = slice_text("locale")};
    return record;
}

/* Goal: each record has exactly the bytes that record.h describes, and they mean the same again. */
static void test_record_held_has_its_golden_bytes(void **state)
{
    (void)state;
    static const char *const s_golden[] = {
        "2301000001000000"
        "24000000"
        "0201000000000000"
        "050000000000971703000000ffff0100"
        "0201"
        "0403000000000000"
        "0000",
        "2301000001000000"
        "2a000000"
        "0201000000000000"
        "050000000000971703000000ffff0100"
        "0100"
        "0000000000000000"
        "0600"
        "6c6f63616c65",
    };
    const record_t records[] = {s_mute(), s_attribute()};
    for (size_t i = 0; i < 2; i++) {
        buffer_t payload;
        char hex[256];
        record_t decoded;
        size_t offset = 0;
        buffer_init(&payload);
        record_append(&payload, &records[i]);
        bytes_to_hex(payload.data, payload.size, hex);
        assert_string_equal(hex, s_golden[i]);
        assert_int_equal(record_next(buffer_slice(&payload), &offset, &decoded, NULL), ERR_OK);
        const record_held_t *held = &records[i].as.held;
        assert_int_equal(decoded.type, RECORD_HELD);
        assert_int_equal(decoded.event_count, 1);
        assert_true(decoded.as.held.user.value == held->user.value);
        assert_int_equal(hlc_compare(decoded.as.held.hlc, held->hlc), 0);
        assert_int_equal(decoded.as.held.kind, held->kind);
        assert_int_equal(decoded.as.held.set, held->set);
        assert_true(decoded.as.held.target == held->target);
        assert_true(slice_equal(decoded.as.held.name, held->name));
        assert_int_equal(record_check_payload(buffer_slice(&payload), 1, NULL), ERR_OK);
        buffer_done(&payload);
    }
}

/* What becomes of a record with another byte at this place of its body. */
static err_t s_check_changed(record_t record, size_t offset, uint8_t byte)
{
    buffer_t payload;
    errbuf_t errbuf;
    buffer_init(&payload);
    record_append(&payload, &record);
    payload.data[RECORD_HEADER_SIZE + offset] = byte;
    err_t err = record_check_payload(buffer_slice(&payload), 1, &errbuf);
    buffer_done(&payload);
    return err;
}

/* Goal: values that mean nothing are refused, each by itself; a kind of a later version is told
 * apart. */
static void test_record_held_of_bad_values_is_refused(void **state)
{
    (void)state;
    record_t mute = s_mute();
    record_t attribute = s_attribute();
    assert_int_equal(s_check_changed(mute, 15, 0x80), ERR_CORRUPT); /* a negative wall time */
    assert_int_equal(s_check_changed(mute, 24, 0), ERR_CORRUPT);
    assert_int_equal(s_check_changed(mute, 24, HELD_BLOCK), ERR_OK);
    assert_int_equal(s_check_changed(mute, 24, HELD_ATTRIBUTE), ERR_CORRUPT);
    assert_int_equal(s_check_changed(mute, 24, HELD_BLOCK + 1), ERR_UNSUPPORTED);
    assert_int_equal(s_check_changed(mute, 25, 2), ERR_CORRUPT);
    assert_int_equal(s_check_changed(mute, 34, 1), ERR_CORRUPT);
    assert_int_equal(s_check_changed(attribute, 25, 1), ERR_CORRUPT);
    assert_int_equal(s_check_changed(attribute, 26, 1), ERR_CORRUPT);
    assert_int_equal(s_check_changed(attribute, 34, 5), ERR_CORRUPT);
    assert_int_equal(s_check_changed(attribute, 36, 0xff), ERR_CORRUPT); /* no UTF-8 */
    mute.as.held.user.value = 0x02;
    assert_int_equal(s_check_changed(mute, 0, 0), ERR_CORRUPT);
    mute.as.held.target = 0x04;
    assert_int_equal(s_check_changed(mute, 26, 0), ERR_CORRUPT);
}

/* Goal: a body cut anywhere is refused. */
static void test_record_held_cut_short_is_corrupt(void **state)
{
    (void)state;
    buffer_t payload;
    errbuf_t errbuf;
    record_t record = s_attribute();
    record_t decoded = {.type = RECORD_HELD};
    buffer_init(&payload);
    record_held_append(&payload, &record);
    for (size_t size = 0; size < payload.size; size++) {
        assert_int_equal(record_held_decode(slice_make(payload.data, size), &decoded, &errbuf),
                         ERR_CORRUPT);
    }
    assert_int_equal(record_held_decode(buffer_slice(&payload), &decoded, &errbuf), ERR_OK);
    buffer_done(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_held_has_its_golden_bytes),
        cmocka_unit_test(test_record_held_of_bad_values_is_refused),
        cmocka_unit_test(test_record_held_cut_short_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
