/* Records: every event survives its columns, every length and range is checked. */
#include "common/wal/record.h"

#include "common/base/check.h"
#include "common/base/prng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BODY = RECORD_HEADER_SIZE };

static const int64_t s_ts = INT64_C(1700000000000000000);

static signal_event_t s_event(uint64_t item)
{
    return (signal_event_t){{item}, {7}, s_ts, 1.5, 3};
}

static err_t s_decode_one(const buffer_t *payload, record_t *ret_record)
{
    size_t offset = 0;
    errbuf_t errbuf;
    return record_next(buffer_slice(payload), &offset, ret_record, &errbuf);
}

static err_t s_check(const buffer_t *payload, uint32_t events)
{
    errbuf_t errbuf;
    return record_check_payload(buffer_slice(payload), events, &errbuf);
}

/* Two wide events: no column is constant or narrow, so every byte of them stands in the payload. */
static void s_wide_payload(buffer_t *payload)
{
    const signal_event_t events[2] = {
        {{UINT64_C(1) << 40}, {UINT64_C(1) << 50}, s_ts, 1.5, 3},
        {{(UINT64_C(1) << 40) + 1}, {1}, s_ts + INT64_C(5000000000), -2.5, 4},
    };
    buffer_init(payload);
    record_append_signals(payload, events, 2);
    assert_int_equal(s_check(payload, 2), ERR_OK);
}

/* Offsets in it. */
enum { WIDE_ITEM = BODY + 2, WIDE_WEIGHT = BODY + 2 + 16 + 16, WIDE_TS = WIDE_WEIGHT + 16 };

/* Goal: a payload that ends early is malformed wherever it is cut. */
static void test_record_truncated_payload_is_corrupt(void **state)
{
    (void)state;
    buffer_t payload;
    s_wide_payload(&payload);
    const size_t size = payload.size;
    for (size_t cut = 1; cut < size; cut++) {
        payload.size = cut;
        assert_int_equal(s_check(&payload, 2), ERR_CORRUPT);
    }
    payload.size = 0;
    assert_int_equal(s_check(&payload, 2), ERR_CORRUPT);
    assert_int_equal(s_check(&payload, 0), ERR_CORRUPT);
    buffer_done(&payload);
}

/* Goal: values that would poison state are refused, one by one. */
static void test_record_signals_value_out_of_range_is_corrupt(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        double weight;
    } s_weights[] = {
        {WIDE_WEIGHT, (double)NAN},       {WIDE_WEIGHT + 8, (double)INFINITY},
        {WIDE_WEIGHT, (double)-INFINITY}, {WIDE_WEIGHT + 8, 1.0000001e9},
        {WIDE_WEIGHT, -1.0000001e9},
    };
    buffer_t payload;
    for (size_t i = 0; i < sizeof(s_weights) / sizeof(*s_weights); i++) {
        s_wide_payload(&payload);
        bytes_put_f64(payload.data + s_weights[i].offset, s_weights[i].weight);
        assert_int_equal(s_check(&payload, 2), ERR_CORRUPT);
        buffer_done(&payload);
    }
    static const struct {
        size_t offset;
        uint64_t value;
    } s_words[] = {{WIDE_ITEM, 0},
                   {WIDE_ITEM + 8, 0},
                   {WIDE_TS, UINT64_MAX},
                   {WIDE_TS + 8, UINT64_C(1) << 63}};
    for (size_t i = 0; i < sizeof(s_words) / sizeof(*s_words); i++) {
        s_wide_payload(&payload);
        bytes_put_u64(payload.data + s_words[i].offset, s_words[i].value);
        assert_int_equal(s_check(&payload, 2), ERR_CORRUPT);
        buffer_done(&payload);
    }
    static const uint8_t s_signals[] = {0, SIGNAL_TYPE_COUNT_MAX + 1, 255};
    for (size_t i = 0; i < sizeof(s_signals); i++) {
        s_wide_payload(&payload);
        payload.data[BODY + 1] = s_signals[i];
        assert_int_equal(s_check(&payload, 2), ERR_CORRUPT);
        buffer_done(&payload);
    }
}

/* Goal: the largest values that are allowed are allowed. */
static void test_record_signals_value_at_the_bound_is_kept(void **state)
{
    (void)state;
    const signal_event_t events[2] = {
        {{UINT64_MAX}, {UINT64_MAX}, INT64_MAX, 1e9, SIGNAL_TYPE_COUNT_MAX},
        {{1}, {0}, 0, -1e9, 1},
    };
    buffer_t payload;
    record_t record;
    signal_event_t event;
    buffer_init(&payload);
    record_append_signals(&payload, events, 2);
    assert_int_equal(s_decode_one(&payload, &record), ERR_OK);
    for (uint32_t i = 0; i < 2; i++) {
        record_signals_get(&record.as.signals, i, &event);
        assert_true(event.item.value == events[i].item.value);
        assert_true(event.user.value == events[i].user.value);
        assert_true(event.ts_ns == events[i].ts_ns);
        assert_true(event.weight == events[i].weight);
        assert_int_equal(event.signal, events[i].signal);
    }
    buffer_done(&payload);
}

/* Goal: a base from which an offset runs beyond the last time is refused before anyone adds. */
static void test_record_signals_delta_that_overflows_is_corrupt(void **state)
{
    (void)state;
    signal_event_t events[3] = {s_event(1), s_event(2), s_event(3)};
    buffer_t payload;
    record_t record;
    events[1].ts_ns += 5;
    buffer_init(&payload);
    record_append_signals(&payload, events, 3);
    assert_int_equal(s_decode_one(&payload, &record), ERR_OK);
    assert_true((record.as.signals.flags & RECORD_TS_DELTA_32) != 0);
    const size_t base = (size_t)(record.as.signals.ts - payload.data);
    bytes_put_u64(payload.data + base, (uint64_t)(INT64_MAX - UINT32_MAX));
    assert_int_equal(s_check(&payload, 3), ERR_OK);
    bytes_put_u64(payload.data + base, (uint64_t)(INT64_MAX - UINT32_MAX) + 1);
    assert_int_equal(s_check(&payload, 3), ERR_CORRUPT);
    buffer_done(&payload);
}

/* Goal: what a later version may write is told apart from damage. */
static void test_record_of_later_version_is_unsupported(void **state)
{
    (void)state;
    static const uint8_t s_types[] = {RECORD_SESSION_CLOSE + 1,
                                      RECORD_TENANT_FIRST,
                                      RECORD_IMPRESSION,
                                      RECORD_VOID,
                                      RECORD_SEAL,
                                      RECORD_HELD + 1,
                                      6,
                                      255};
    buffer_t payload;
    buffer_init(&payload);
    for (size_t i = 0; i < sizeof(s_types); i++) {
        buffer_clear(&payload);
        uint8_t *at = buffer_extend(&payload, BODY + 4);
        memset(at, 0, BODY + 4);
        at[0] = s_types[i];
        at[1] = 1;
        bytes_put_u32(at + 4, 1);
        bytes_put_u32(at + 8, 4);
        assert_int_equal(s_check(&payload, 1), ERR_UNSUPPORTED);
    }
    buffer_done(&payload);
    s_wide_payload(&payload);
    payload.data[1] = 2;
    assert_int_equal(s_check(&payload, 2), ERR_UNSUPPORTED);
    payload.data[1] = 1;
    payload.data[3] = 1;
    assert_int_equal(s_check(&payload, 2), ERR_UNSUPPORTED);
    buffer_done(&payload);
}

/* Goal: flags that contradict each other have no meaning. */
static void test_record_signals_contradicting_flags_are_corrupt(void **state)
{
    (void)state;
    buffer_t payload;
    s_wide_payload(&payload);
    payload.data[2] = RECORD_USER_NONE | RECORD_USER_32;
    assert_int_equal(s_check(&payload, 2), ERR_CORRUPT);
    payload.data[2] = RECORD_TS_CONSTANT | RECORD_TS_DELTA_32;
    assert_int_equal(s_check(&payload, 2), ERR_CORRUPT);
    buffer_done(&payload);
}

/* Goal: a count that the bytes cannot hold is refused before anything is read by it. */
static void test_record_event_count_out_of_range_is_corrupt(void **state)
{
    (void)state;
    static const uint32_t s_counts[] = {
        0, 1, 3, WAL_BATCH_COUNT_MAX, WAL_BATCH_COUNT_MAX + 1, UINT32_MAX};
    buffer_t payload;
    s_wide_payload(&payload);
    for (size_t i = 0; i < sizeof(s_counts) / sizeof(*s_counts); i++) {
        bytes_put_u32(payload.data + 4, s_counts[i]);
        assert_int_equal(s_check(&payload, s_counts[i]), ERR_CORRUPT);
    }
    bytes_put_u32(payload.data + 4, 2);
    bytes_put_u32(payload.data + 8, UINT32_MAX);
    assert_int_equal(s_check(&payload, 2), ERR_CORRUPT);
    buffer_done(&payload);
}

/* Goal: the payload holds exactly the events that its batch says. */
static void test_record_check_payload_other_event_count_is_corrupt(void **state)
{
    (void)state;
    const signal_event_t event = s_event(1);
    buffer_t payload;
    buffer_init(&payload);
    record_append_signals(&payload, &event, 1);
    record_append_signals(&payload, &event, 1);
    assert_int_equal(s_check(&payload, 1), ERR_CORRUPT);
    assert_int_equal(s_check(&payload, 3), ERR_CORRUPT);
    assert_int_equal(s_check(&payload, 2), ERR_OK);
    buffer_done(&payload);
}

static signal_event_t s_random_event(prng_t *prng, uint64_t shape)
{
    signal_event_t event = s_event(1);
    const uint64_t bits = (shape & 1) != 0 ? 64 : 32;
    event.item.value = 1 + (prng_next(prng) >> (64 - bits) >> 1);
    if ((shape & 2) != 0) {
        event.user.value = prng_next(prng) >> ((shape & 4) != 0 ? 0 : 32);
    } else {
        event.user.value = 0;
    }
    if ((shape & 8) != 0) {
        event.weight = (prng_unit(prng) - 0.5) * 2e9;
    }
    if ((shape & 16) != 0) {
        event.ts_ns +=
            (int64_t)prng_below(prng, (shape & 32) != 0 ? UINT64_C(1) << 60 : UINT32_MAX);
    }
    if ((shape & 64) != 0) {
        event.signal = (uint8_t)(1 + prng_below(prng, SIGNAL_TYPE_COUNT_MAX));
    }
    return event;
}

static void s_assert_equal_events(const signal_event_t *a, const signal_event_t *b)
{
    assert_true(a->item.value == b->item.value);
    assert_true(a->user.value == b->user.value);
    assert_true(a->ts_ns == b->ts_ns);
    assert_memory_equal(&a->weight, &b->weight, sizeof(a->weight));
    assert_int_equal(a->signal, b->signal);
}

/* Goal: any events come back as they were, to the bit. Method: all combinations of narrow, wide and
 * constant columns, in random lengths. */
static void test_record_signals_round_trip_keeps_every_event(void **state)
{
    (void)state;
    enum { EVENTS_MAX = 300 };
    static signal_event_t s_events[EVENTS_MAX];
    prng_t prng;
    buffer_t payload;
    record_t record;
    prng_init(&prng, 1);
    buffer_init(&payload);
    for (uint64_t shape = 0; shape < UINT64_C(128) * 8; shape++) {
        const uint32_t count = 1 + (uint32_t)prng_below(&prng, EVENTS_MAX);
        for (uint32_t i = 0; i < count; i++) {
            s_events[i] = s_random_event(&prng, shape % 128);
        }
        buffer_clear(&payload);
        record_append_signals(&payload, s_events, count);
        assert_int_equal(s_check(&payload, count), ERR_OK);
        assert_int_equal(s_decode_one(&payload, &record), ERR_OK);
        assert_int_equal(record.event_count, count);
        for (uint32_t i = 0; i < count; i++) {
            signal_event_t event;
            record_signals_get(&record.as.signals, i, &event);
            s_assert_equal_events(&event, &s_events[i]);
        }
    }
    buffer_done(&payload);
}

/* Goal: columns are as narrow as the values allow, so that a common event costs few bytes. */
static void test_record_signals_common_values_take_narrow_columns(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static signal_event_t s_events[COUNT];
    buffer_t payload;
    buffer_init(&payload);
    for (uint32_t i = 0; i < COUNT; i++) {
        s_events[i] = (signal_event_t){{i + 1}, {0}, s_ts, 1.0, 1};
    }
    record_append_signals(&payload, s_events, COUNT);
    assert_int_equal(payload.size, BODY + 1 + 4 * COUNT + 8 + 8);
    for (uint32_t i = 0; i < COUNT; i++) {
        s_events[i].user.value = i;
        s_events[i].ts_ns = s_ts + i;
        s_events[i].signal = (uint8_t)(1 + i % 4);
    }
    buffer_clear(&payload);
    record_append_signals(&payload, s_events, COUNT);
    assert_int_equal(payload.size, BODY + COUNT + 4 * COUNT + 4 * COUNT + 8 + 8 + 4 * COUNT);
    buffer_done(&payload);
}

/* Goal: 0.0 and -0.0 are two weights, though they compare equal. */
static void test_record_signals_zero_weights_keep_their_sign(void **state)
{
    (void)state;
    signal_event_t events[2] = {s_event(1), s_event(2)};
    buffer_t payload;
    record_t record;
    events[0].weight = 0.0;
    events[1].weight = -0.0;
    buffer_init(&payload);
    record_append_signals(&payload, events, 2);
    assert_int_equal(s_decode_one(&payload, &record), ERR_OK);
    for (uint32_t i = 0; i < 2; i++) {
        signal_event_t event;
        record_signals_get(&record.as.signals, i, &event);
        s_assert_equal_events(&event, &events[i]);
    }
    buffer_done(&payload);
}

/* Goal: the largest batch of narrow events is encoded and decoded. */
static void test_record_signals_largest_count_round_trips(void **state)
{
    (void)state;
    signal_event_t *events = calloc(WAL_BATCH_COUNT_MAX, sizeof(*events));
    CHECK(events != NULL);
    buffer_t payload;
    record_t record;
    signal_event_t event;
    for (uint32_t i = 0; i < WAL_BATCH_COUNT_MAX; i++) {
        events[i] = s_event(i + 1);
    }
    buffer_init(&payload);
    record_append_signals(&payload, events, WAL_BATCH_COUNT_MAX);
    assert_int_equal(s_decode_one(&payload, &record), ERR_OK);
    record_signals_get(&record.as.signals, WAL_BATCH_COUNT_MAX - 1, &event);
    s_assert_equal_events(&event, &events[WAL_BATCH_COUNT_MAX - 1]);
    buffer_done(&payload);
    free(events);
}

/* -- items, users, relations ------------------------------------------------------------------- */

static const hlc_stamp_t s_hlc = {INT64_C(1700000000000000001), 5, 0x20003};

static void s_item_record(buffer_t *payload)
{
    static const uint8_t s_tags[] = {2, 0, 3, 0, 'o', 'n', 'e', 0, 0};
    static const uint8_t s_number[8] = {9};
    const record_t record = {
        .type = RECORD_ITEM_PUT,
        .event_count = 1,
        .as.item = {{42},
                    s_hlc,
                    6,
                    {{ITEM_FIELD_TITLE, slice_make("Tide", 4)},
                     {ITEM_FIELD_TEXT, slice_make("", 0)},
                     {ITEM_FIELD_CATEGORY, slice_make("sea \xc3\xa9", 6)},
                     {ITEM_FIELD_CREATOR, slice_make(s_number, 8)},
                     {ITEM_FIELD_TAGS, slice_make(s_tags, sizeof(s_tags))},
                     {ITEM_FIELD_CREATED, slice_make(s_number, 8)}}},
    };
    buffer_init(payload);
    record_append(payload, &record);
}

static void s_user_record(buffer_t *payload)
{
    const record_t record = {
        .type = RECORD_USER_PUT,
        .event_count = 1,
        .as.user = {{7},
                    s_hlc,
                    2,
                    {{slice_make("locale", 6), slice_make("EU", 2)},
                     {slice_make("plan", 4), slice_make("", 0)}}},
    };
    buffer_init(payload);
    record_append(payload, &record);
}

static void s_relation_record(buffer_t *payload)
{
    const record_t record = {
        .type = RECORD_RELATION,
        .event_count = 1,
        .as.relation = {{7}, 42, s_hlc, RELATION_HIDE, true},
    };
    buffer_init(payload);
    record_append(payload, &record);
}

/* Goal: an item's fields come back as they were put. */
static void test_record_item_put_round_trip_keeps_fields(void **state)
{
    (void)state;
    buffer_t payload;
    record_t record;
    s_item_record(&payload);
    assert_int_equal(s_check(&payload, 1), ERR_OK);
    assert_int_equal(s_decode_one(&payload, &record), ERR_OK);
    assert_int_equal(record.type, RECORD_ITEM_PUT);
    assert_true(record.as.item.item.value == 42);
    assert_int_equal(hlc_compare(record.as.item.hlc, s_hlc), 0);
    assert_int_equal(record.as.item.field_count, 6);
    assert_int_equal(record.as.item.fields[2].field, ITEM_FIELD_CATEGORY);
    assert_true(slice_equal(record.as.item.fields[2].value, slice_make("sea \xc3\xa9", 6)));
    buffer_done(&payload);
}

/* Goal: a deletion names its item and nothing else. */
static void test_record_item_delete_with_fields_is_corrupt(void **state)
{
    (void)state;
    const record_t record = {
        .type = RECORD_ITEM_DELETE, .event_count = 1, .as.item = {.item = {42}, .hlc = s_hlc}};
    buffer_t payload;
    record_t decoded;
    buffer_init(&payload);
    record_append(&payload, &record);
    assert_int_equal(s_decode_one(&payload, &decoded), ERR_OK);
    assert_int_equal(decoded.type, RECORD_ITEM_DELETE);
    assert_int_equal(decoded.as.item.field_count, 0);
    buffer_done(&payload);
    s_item_record(&payload);
    payload.data[0] = RECORD_ITEM_DELETE;
    assert_int_equal(s_check(&payload, 1), ERR_CORRUPT);
    buffer_done(&payload);
}

/* Goal: users and relations come back as they were put. */
static void test_record_user_and_relation_round_trip(void **state)
{
    (void)state;
    buffer_t payload;
    record_t record;
    s_user_record(&payload);
    assert_int_equal(s_decode_one(&payload, &record), ERR_OK);
    assert_true(record.as.user.user.value == 7);
    assert_int_equal(record.as.user.attribute_count, 2);
    assert_true(slice_equal(record.as.user.attributes[0].value, slice_make("EU", 2)));
    assert_true(slice_equal(record.as.user.attributes[1].name, slice_make("plan", 4)));
    buffer_done(&payload);
    s_relation_record(&payload);
    assert_int_equal(s_decode_one(&payload, &record), ERR_OK);
    assert_true(record.as.relation.user.value == 7);
    assert_true(record.as.relation.target == 42);
    assert_int_equal(record.as.relation.action, RELATION_HIDE);
    assert_true(record.as.relation.set);
    buffer_done(&payload);
}

static void s_expect_check(const buffer_t *payload, err_t expected, size_t i)
{
    const err_t found = s_check(payload, 1);
    if (found != expected) {
        fail_msg("case %zu: expected %s, found %s", i, err_text(expected), err_text(found));
    }
}

/* Goal: each field of the small records is checked. Method: one byte of a good record is changed.
 */
static void test_record_malformed_body_is_refused(void **state)
{
    (void)state;
    enum { ITEM_FIRST_FIELD = BODY + 24, USER_COUNT = BODY + 24 };
    static const struct {
        void (*make)(buffer_t *);
        size_t offset;
        uint8_t value;
        err_t err;
    } s_cases[] = {
        {s_item_record, BODY, 0, ERR_CORRUPT},                    /* item 0 */
        {s_item_record, BODY + 15, 0x80, ERR_CORRUPT},            /* hlc before 1970 */
        {s_item_record, ITEM_FIRST_FIELD, 0, ERR_CORRUPT},        /* no such field */
        {s_item_record, ITEM_FIRST_FIELD, 7, ERR_UNSUPPORTED},    /* a later field */
        {s_item_record, ITEM_FIRST_FIELD, 2, ERR_CORRUPT},        /* TEXT twice */
        {s_item_record, ITEM_FIRST_FIELD + 2, 0xff, ERR_CORRUPT}, /* longer than the body */
        {s_item_record, ITEM_FIRST_FIELD + 5, 0xff, ERR_CORRUPT}, /* title not UTF-8 */
        {s_item_record, ITEM_FIRST_FIELD + 9, ITEM_FIELD_CREATOR, ERR_CORRUPT}, /* of 0 bytes */
        {s_item_record, 2, 1, ERR_UNSUPPORTED},                                 /* a flag */
        {s_item_record, 4, 2, ERR_CORRUPT},                                     /* two events */
        {s_user_record, BODY, 0, ERR_CORRUPT},                                  /* user 0 */
        {s_user_record, USER_COUNT, 3, ERR_CORRUPT},        /* more than there are */
        {s_user_record, USER_COUNT, 1, ERR_CORRUPT},        /* fewer than there are */
        {s_user_record, USER_COUNT + 1, 0xff, ERR_CORRUPT}, /* too many for any user */
        {s_user_record, USER_COUNT + 2, 0, ERR_CORRUPT},    /* a name of no bytes */
        {s_user_record, USER_COUNT + 5, 0xc0, ERR_CORRUPT}, /* name not UTF-8 */
        {s_relation_record, BODY, 0, ERR_CORRUPT},          /* user 0 */
        {s_relation_record, BODY + 8, 0, ERR_CORRUPT},      /* target 0 */
        {s_relation_record, BODY + 32, 0, ERR_CORRUPT},     /* no action */
        {s_relation_record, BODY + 32, 4, ERR_UNSUPPORTED}, /* a later action */
        {s_relation_record, BODY + 33, 2, ERR_CORRUPT},     /* neither set nor not */
        {s_relation_record, 8, 33, ERR_CORRUPT},            /* a body too short */
        {s_relation_record, 0, 0, ERR_CORRUPT},             /* type 0 */
    };
    for (size_t i = 0; i < sizeof(s_cases) / sizeof(*s_cases); i++) {
        buffer_t payload;
        s_cases[i].make(&payload);
        assert_int_equal(s_check(&payload, 1), ERR_OK);
        payload.data[s_cases[i].offset] = s_cases[i].value;
        s_expect_check(&payload, s_cases[i].err, i);
        buffer_done(&payload);
    }
}

/* Goal: texts and lists are held to their limits: at the limit, and one past it. */
static void test_record_text_beyond_limit_is_corrupt(void **state)
{
    (void)state;
    static char s_text[TEXT_SIZE_MAX + 1];
    memset(s_text, 'x', sizeof(s_text));
    const record_t record = {
        .type = RECORD_ITEM_PUT,
        .event_count = 1,
        .as.item = {{42}, s_hlc, 1, {{ITEM_FIELD_TEXT, slice_make(s_text, TEXT_SIZE_MAX)}}},
    };
    buffer_t payload;
    buffer_init(&payload);
    record_append(&payload, &record);
    assert_int_equal(s_check(&payload, 1), ERR_OK);
    *buffer_extend(&payload, 1) = 'x';
    bytes_put_u32(payload.data + 8, (uint32_t)(payload.size - BODY));
    bytes_put_u32(payload.data + BODY + 25, TEXT_SIZE_MAX + 1);
    assert_int_equal(s_check(&payload, 1), ERR_CORRUPT);
    buffer_done(&payload);
}

/* Goal: an attribute given twice, or one tag too many, is refused. */
static void test_record_repeated_or_too_many_parts_are_corrupt(void **state)
{
    (void)state;
    buffer_t payload;
    s_user_record(&payload);
    /* "locale" and "plan" become "plan" twice: both names are cut to their common letters */
    static const uint8_t s_twice[] = {2, 0, 1, 0, 'a', 0, 0, 0, 0, 1, 0, 'a', 0, 0, 0, 0};
    payload.size = BODY + 24;
    buffer_append(&payload, s_twice, sizeof(s_twice));
    bytes_put_u32(payload.data + 8, (uint32_t)(payload.size - BODY));
    assert_int_equal(s_check(&payload, 1), ERR_CORRUPT);
    payload.data[BODY + 24 + 11] = 'b';
    assert_int_equal(s_check(&payload, 1), ERR_OK);
    buffer_done(&payload);

    uint8_t tags[2 + 2 * (TAG_COUNT_MAX + 1)] = {TAG_COUNT_MAX};
    const record_t record = {
        .type = RECORD_ITEM_PUT,
        .event_count = 1,
        .as.item = {{42}, s_hlc, 1, {{ITEM_FIELD_TAGS, slice_make(tags, 2 + 2 * TAG_COUNT_MAX)}}},
    };
    buffer_init(&payload);
    record_append(&payload, &record);
    assert_int_equal(s_check(&payload, 1), ERR_OK);
    (void)memset(buffer_extend(&payload, 2), 0, 2);
    payload.data[BODY + 24 + 5] = TAG_COUNT_MAX + 1;
    bytes_put_u32(payload.data + 8, (uint32_t)(payload.size - BODY));
    bytes_put_u32(payload.data + BODY + 25, 2 + 2 * (TAG_COUNT_MAX + 1));
    assert_int_equal(s_check(&payload, 1), ERR_CORRUPT);
    buffer_done(&payload);
}

static void s_expect_sane_events(const record_t *record)
{
    for (uint32_t i = 0; record->type == RECORD_SIGNALS && i < record->event_count; i++) {
        signal_event_t event;
        record_signals_get(&record->as.signals, i, &event);
        assert_true(event.item.value != 0 && event.ts_ns >= 0);
        assert_true(isfinite(event.weight) && fabs(event.weight) <= 1e9);
        assert_in_range(event.signal, 1, SIGNAL_TYPE_COUNT_MAX);
    }
}

static void s_expect_sane_records(slice_t payload)
{
    record_t record;
    size_t offset = 0;
    while (record_next(payload, &offset, &record, NULL) == ERR_OK) {
        assert_true(offset <= payload.size);
        s_expect_sane_events(&record);
    }
}

/* Goal: no single flipped bit makes the decoder read out of bounds or accept a value out of range.
 * Method: every bit of a payload of all types; what still decodes is walked event by event. */
static void test_record_any_flipped_bit_decodes_within_limits(void **state)
{
    (void)state;
    buffer_t payload;
    buffer_t part;
    s_wide_payload(&payload);
    void (*const makers[])(buffer_t *) = {s_item_record, s_user_record, s_relation_record};
    for (size_t i = 0; i < 3; i++) {
        makers[i](&part);
        buffer_append(&payload, part.data, part.size);
        buffer_done(&part);
    }
    assert_int_equal(s_check(&payload, 5), ERR_OK);
    for (size_t bit = 0; bit < 8 * payload.size; bit++) {
        payload.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        s_expect_sane_records(buffer_slice(&payload));
        payload.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    buffer_done(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_truncated_payload_is_corrupt),
        cmocka_unit_test(test_record_signals_value_out_of_range_is_corrupt),
        cmocka_unit_test(test_record_signals_value_at_the_bound_is_kept),
        cmocka_unit_test(test_record_signals_delta_that_overflows_is_corrupt),
        cmocka_unit_test(test_record_of_later_version_is_unsupported),
        cmocka_unit_test(test_record_signals_contradicting_flags_are_corrupt),
        cmocka_unit_test(test_record_event_count_out_of_range_is_corrupt),
        cmocka_unit_test(test_record_check_payload_other_event_count_is_corrupt),
        cmocka_unit_test(test_record_signals_round_trip_keeps_every_event),
        cmocka_unit_test(test_record_signals_common_values_take_narrow_columns),
        cmocka_unit_test(test_record_signals_zero_weights_keep_their_sign),
        cmocka_unit_test(test_record_signals_largest_count_round_trips),
        cmocka_unit_test(test_record_item_put_round_trip_keeps_fields),
        cmocka_unit_test(test_record_item_delete_with_fields_is_corrupt),
        cmocka_unit_test(test_record_user_and_relation_round_trip),
        cmocka_unit_test(test_record_malformed_body_is_refused),
        cmocka_unit_test(test_record_text_beyond_limit_is_corrupt),
        cmocka_unit_test(test_record_repeated_or_too_many_parts_are_corrupt),
        cmocka_unit_test(test_record_any_flipped_bit_decodes_within_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
