/* Records of sessions: golden bytes, limits, damage. */
#include "common/session/session_id.h"
#include "common/wal/record_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const hlc_stamp_t s_hlc = {INT64_C(0x1797000000000005), 3, 0x1ffff};

static session_id_t s_id(void)
{
    return session_id_make((user_id_t){0x0102}, (const uint64_t[2]){0x1111, 0x2222});
}

static record_t s_start(void)
{
    record_t record = {.type = RECORD_SESSION_START, .event_count = 1};
    record.as.session_start.session = s_id();
    record.as.session_start.hlc = s_hlc;
    record.as.session_start.agent = slice_text("web");
    record.as.session_start.meta = slice_make("\x80", 1);
    return record;
}

static record_t s_signal(void)
{
    record_t record = {.type = RECORD_SESSION_SIGNAL, .event_count = 1};
    record.as.session_signal.session = s_id();
    record.as.session_signal.hlc = s_hlc;
    record.as.session_signal.session_seq = 5;
    record.as.session_signal.item.value = 42;
    record.as.session_signal.ts_ns = 9;
    record.as.session_signal.weight = 1.0;
    record.as.session_signal.signal = 2;
    return record;
}

static record_t s_close(void)
{
    record_t record = {.type = RECORD_SESSION_CLOSE, .event_count = 1};
    record.as.session_close.session = s_id();
    record.as.session_close.hlc = s_hlc;
    record.as.session_close.is_auto = true;
    return record;
}

#define S_HEAD                         \
    "0201000000000000"                 \
    "11110000000000002222000000000000" \
    "05000000000097170300000"          \
    "0ffff0100"

/* Goal: each record has exactly the bytes that record.h describes, and they mean the same again. */
static void test_session_record_has_its_golden_bytes(void **state)
{
    (void)state;
    static const char *const s_golden[] = {
        "1001000001000000"
        "30000000" S_HEAD "0300"
        "0100"
        "776562"
        "80",
        "1101000001000000"
        "45000000" S_HEAD "05000000"
        "2a00000000000000"
        "0900000000000000"
        "000000000000f03f"
        "02",
        "1201000001000000"
        "29000000" S_HEAD "01",
    };
    const record_t records[] = {s_start(), s_signal(), s_close()};
    for (size_t i = 0; i < 3; i++) {
        buffer_t payload;
        char hex[512];
        record_t decoded;
        size_t offset = 0;
        buffer_init(&payload);
        record_append(&payload, &records[i]);
        bytes_to_hex(payload.data, payload.size, hex);
        assert_string_equal(hex, s_golden[i]);
        assert_int_equal(record_next(buffer_slice(&payload), &offset, &decoded, NULL), ERR_OK);
        assert_int_equal(decoded.type, records[i].type);
        assert_memory_equal(record_session_id(&decoded), record_session_id(&records[i]),
                            SESSION_ID_SIZE);
        assert_true(record_has_session(buffer_slice(&payload)));
        assert_int_equal(record_check_payload(buffer_slice(&payload), 1, NULL), ERR_OK);
        buffer_done(&payload);
    }
}

/* What becomes of a record whose byte at `offset` of the body has another value. */
static err_t s_check_changed(const record_t *record, size_t offset, const void *bytes, size_t size)
{
    buffer_t payload;
    errbuf_t errbuf;
    buffer_init(&payload);
    record_append(&payload, record);
    memcpy(payload.data + RECORD_HEADER_SIZE + offset, bytes, size);
    err_t err = record_check_payload(buffer_slice(&payload), 1, &errbuf);
    buffer_done(&payload);
    return err;
}

/* Goal: every value out of its range is damage. Method: one value changed at a time. */
static void test_session_record_out_of_range_is_corrupt(void **state)
{
    (void)state;
    const record_t start = s_start();
    const record_t signal = s_signal();
    const record_t close = s_close();
    static const uint8_t s_zero[8] = {0};
    static const uint8_t s_ones[8] = {255, 255, 255, 255, 255, 255, 255, 255};
    uint8_t seq[4];
    uint8_t weight[8];
    bytes_put_u32(seq, SESSION_SIGNAL_COUNT_MAX + 1);
    bytes_put_f64(weight, 1.1e9);
    assert_int_equal(s_check_changed(&start, 0, s_zero, 8), ERR_CORRUPT);  /* user 0 */
    assert_int_equal(s_check_changed(&start, 24, s_ones, 8), ERR_CORRUPT); /* wall below 0 */
    assert_int_equal(s_check_changed(&start, 40, s_ones, 2), ERR_CORRUPT); /* agent too long */
    assert_int_equal(s_check_changed(&start, 42, s_zero, 1), ERR_CORRUPT); /* a byte too many */
    assert_int_equal(s_check_changed(&start, 44, s_ones, 1), ERR_CORRUPT); /* not UTF-8 */
    assert_int_equal(s_check_changed(&signal, 40, seq, 4), ERR_CORRUPT);
    assert_int_equal(s_check_changed(&signal, 40, s_zero, 4), ERR_OK);      /* on its way */
    assert_int_equal(s_check_changed(&signal, 44, s_zero, 8), ERR_CORRUPT); /* item 0 */
    assert_int_equal(s_check_changed(&signal, 52, s_ones, 8), ERR_CORRUPT); /* before 1970 */
    assert_int_equal(s_check_changed(&signal, 60, weight, 8), ERR_CORRUPT);
    assert_int_equal(s_check_changed(&signal, 60, s_ones, 8), ERR_CORRUPT); /* NaN */
    assert_int_equal(s_check_changed(&signal, 68, s_zero, 1), ERR_CORRUPT);
    assert_int_equal(s_check_changed(&signal, 68, s_ones, 1), ERR_CORRUPT);
    assert_int_equal(s_check_changed(&close, 40, s_ones, 1), ERR_CORRUPT);
}

/* The first bytes of a record alone, with the size in its header made to fit. */
static err_t s_check_cut(const buffer_t *payload, size_t size)
{
    uint8_t *exact = malloc(size); /* so that a sanitizer sees a read behind it */
    assert_non_null(exact);
    memcpy(exact, payload->data, size);
    if (size >= RECORD_HEADER_SIZE) {
        bytes_put_u32(exact + 8, (uint32_t)(size - RECORD_HEADER_SIZE));
    }
    err_t err = record_check_payload(slice_make(exact, size), 1, NULL);
    free(exact);
    return err;
}

/* Goal: a record that was cut anywhere is damage, and nothing behind it is read. */
static void test_session_record_cut_anywhere_is_corrupt(void **state)
{
    (void)state;
    const record_t records[] = {s_start(), s_signal(), s_close()};
    for (size_t i = 0; i < 3; i++) {
        buffer_t payload;
        buffer_init(&payload);
        record_append(&payload, &records[i]);
        for (size_t size = 1; size < payload.size; size++) {
            assert_int_equal(s_check_cut(&payload, size), ERR_CORRUPT);
        }
        buffer_done(&payload);
    }
}

/* Goal: the longest agent and meta fit, the number is put where it belongs. */
static void test_session_record_at_its_limits_is_read(void **state)
{
    (void)state;
    static uint8_t s_meta[SESSION_META_SIZE_MAX];
    static char s_agent[SESSION_AGENT_SIZE_MAX];
    memset(s_agent, 'a', sizeof(s_agent));
    record_t record = s_start();
    record.as.session_start.agent = slice_make(s_agent, sizeof(s_agent));
    record.as.session_start.meta = slice_make(s_meta, sizeof(s_meta));
    buffer_t payload;
    buffer_init(&payload);
    record_append(&payload, &record);
    assert_int_equal(record_check_payload(buffer_slice(&payload), 1, NULL), ERR_OK);
    buffer_clear(&payload);
    record = s_signal();
    record_append(&payload, &record);
    record_session_put_seq(payload.data, SESSION_SIGNAL_COUNT_MAX);
    size_t offset = 0;
    assert_int_equal(record_next(buffer_slice(&payload), &offset, &record, NULL), ERR_OK);
    assert_int_equal(record.as.session_signal.session_seq, SESSION_SIGNAL_COUNT_MAX);
    assert_int_equal(record.as.session_signal.item.value, 42);
    buffer_done(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_record_has_its_golden_bytes),
        cmocka_unit_test(test_session_record_out_of_range_is_corrupt),
        cmocka_unit_test(test_session_record_cut_anywhere_is_corrupt),
        cmocka_unit_test(test_session_record_at_its_limits_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
