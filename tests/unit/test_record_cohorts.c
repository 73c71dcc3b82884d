/* The cohorts column: what was put in comes out, in one form, and nothing else is believed. */
#include "common/wal/record_cohorts.h"

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/wal/cohort_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BODY = RECORD_HEADER_SIZE };

static const int64_t s_ts = INT64_C(1700000000000000000);

/* A record of count equal events; its columns take 25 bytes and 4 per event. */
static void s_append_record(buffer_t *payload, uint32_t count)
{
    signal_event_t *events = calloc(count, sizeof(*events));
    CHECK(events != NULL);
    for (uint32_t i = 0; i < count; i++) {
        events[i] = (signal_event_t){{1 + i}, {0}, s_ts, 1.0, 1};
    }
    record_append_signals(payload, events, count);
    free(events);
}

/* The record of the builder's events. */
static err_t s_build(cohort_builder_t *builder, uint32_t count, buffer_t *ret_payload)
{
    buffer_t plain = {0};
    s_append_record(&plain, count);
    buffer_init(ret_payload);
    err_t err = cohort_builder_append(builder, buffer_slice(&plain), ret_payload, NULL);
    buffer_done(&plain);
    return err;
}

static void s_decode(const buffer_t *payload, record_t *ret_record)
{
    size_t offset = 0;
    errbuf_t errbuf = {""};
    if (record_next(buffer_slice(payload), &offset, ret_record, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    assert_int_equal(offset, payload->size);
}

static err_t s_check(const buffer_t *payload, uint32_t events)
{
    errbuf_t errbuf;
    return record_check_payload(buffer_slice(payload), events, &errbuf);
}

/* Goal: an event comes back with its cohorts in the order of their bytes, each once, whatever the
 * order in which they were added; an event of nobody has none. */
static void test_record_cohorts_names_come_back_in_order(void **state)
{
    (void)state;
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    cohort_builder_add_name(builder, slice_text("plan:free"));
    cohort_builder_add_name(builder, slice_text("locale:EU"));
    cohort_builder_add_name(builder, slice_text("plan:free"));
    uint32_t first = cohort_builder_put_event(builder);
    assert_int_equal(cohort_builder_put_event(builder), 0);
    cohort_builder_add_name(builder, slice_text("locale"));
    (void)cohort_builder_put_event(builder);
    cohort_builder_put_set(builder, first);
    buffer_t payload;
    record_t record;
    slice_t names[USER_ATTRIBUTE_COUNT_MAX];
    assert_int_equal(s_build(builder, 4, &payload), ERR_OK);
    s_decode(&payload, &record);
    for (uint32_t i = 0; i < 4; i += 3) {
        assert_int_equal(record_cohorts_get(&record.as.signals, i, names), 2);
        assert_true(slice_equal(names[0], slice_text("locale:EU")));
        assert_true(slice_equal(names[1], slice_text("plan:free")));
    }
    assert_int_equal(record_cohorts_get(&record.as.signals, 1, names), 0);
    assert_int_equal(record_cohorts_get(&record.as.signals, 2, names), 1);
    assert_true(slice_equal(names[0], slice_text("locale")));
    buffer_done(&payload);
    cohort_builder_destroy(&builder);
}

/* Goal: the column is, byte for byte, what record.h says, and the events before it are untouched. */
static void test_record_cohorts_column_has_the_documented_bytes(void **state)
{
    (void)state;
    static const uint8_t s_expected[] = {3,   0,   2,   0, /* names, sets */
                                         1,   0,   2,   1, /* set of each event */
                                         2,   1,           /* sizes of the sets */
                                         1,   2,   0,      /* members: {b:2, c:3}, {a:1} */
                                         3,   3,   3,      /* sizes of the names */
                                         'a', ':', '1', 'b', ':', '2', 'c', ':', '3'};
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    cohort_builder_add_name(builder, slice_text("c:3"));
    cohort_builder_add_name(builder, slice_text("b:2"));
    (void)cohort_builder_put_event(builder);
    (void)cohort_builder_put_event(builder);
    cohort_builder_add_name(builder, slice_text("a:1"));
    (void)cohort_builder_put_event(builder);
    cohort_builder_add_name(builder, slice_text("b:2"));
    cohort_builder_add_name(builder, slice_text("c:3"));
    (void)cohort_builder_put_event(builder);
    buffer_t plain = {0};
    buffer_t payload;
    s_append_record(&plain, 4);
    assert_int_equal(s_build(builder, 4, &payload), ERR_OK);
    assert_int_equal(payload.size, plain.size + sizeof(s_expected));
    assert_memory_equal(payload.data + plain.size, s_expected, sizeof(s_expected));
    assert_memory_equal(payload.data + BODY, plain.data + BODY, plain.size - BODY);
    assert_int_equal(bytes_get_u16(payload.data + 2),
                     bytes_get_u16(plain.data + 2) | RECORD_COHORTS);
    assert_int_equal(bytes_get_u32(payload.data + 8), payload.size - BODY);
    buffer_done(&plain);
    buffer_done(&payload);
    cohort_builder_destroy(&builder);
}

/* A record of three events in two sets of two names of 10 and 1 bytes; where its column begins. */
static size_t s_small(buffer_t *ret_payload)
{
    cohort_builder_t *builder = cohort_builder_new();
    buffer_t plain = {0};
    cohort_builder_begin(builder);
    cohort_builder_add_name(builder, slice_text("a"));
    cohort_builder_add_name(builder, slice_text("longer:one"));
    (void)cohort_builder_put_event(builder);
    (void)cohort_builder_put_event(builder);
    cohort_builder_add_name(builder, slice_text("a"));
    (void)cohort_builder_put_event(builder);
    s_append_record(&plain, 3);
    assert_int_equal(s_build(builder, 3, ret_payload), ERR_OK);
    size_t column = plain.size;
    buffer_done(&plain);
    cohort_builder_destroy(&builder);
    return column;
}

/* Offsets in its column. */
enum { SETS = 2, NUMBERS = 4, SET_SIZES = 7, MEMBERS = 9, NAME_SIZES = 12, NAMES = 14 };

/* Goal: every number of the column out of its range, or out of its order, is refused. */
static void test_record_cohorts_numbers_out_of_range_are_corrupt(void **state)
{
    (void)state;
    static const struct {
        uint32_t offset;
        uint8_t value;
    } s_cases[] = {
        {0, 0},           /* no names */
        {0, 1},           /* lengths that do not fill the column */
        {0, 3},           /* the same */
        {1, 0xff},        /* more names than a record may have */
        {SETS, 0},        /* no sets */
        {SETS, 1},        /* lengths */
        {SETS + 1, 0xff}, /* too many sets */
        {NUMBERS, 2},     /* the second set before the first */
        {NUMBERS, 0},     /* the first set never used */
        {NUMBERS + 2, 1}, /* the second set never used */
        {NUMBERS + 2, 3}, /* a set that is not there */
        {SET_SIZES, 0},   /* an empty set */
        {MEMBERS, 1},     /* a name twice in a set */
        {MEMBERS + 1, 2}, /* a name that is not there */
        {NAME_SIZES, 0},  /* an empty name */
        {NAME_SIZES, 2},  /* lengths */
        {NAMES, 'm'},     /* names out of order */
        {NAMES, 0xff},    /* not UTF-8 */
    };
    buffer_t payload;
    size_t column = s_small(&payload);
    assert_int_equal(s_check(&payload, 3), ERR_OK);
    for (size_t i = 0; i < sizeof(s_cases) / sizeof(*s_cases); i++) {
        uint8_t *at = payload.data + column + s_cases[i].offset;
        uint8_t kept = *at;
        *at = s_cases[i].value;
        assert_int_equal(s_check(&payload, 3), ERR_CORRUPT);
        *at = kept;
    }
    assert_int_equal(s_check(&payload, 3), ERR_OK);
    buffer_done(&payload);
}

/* Goal: a name that no set has is refused. Method: the first set, {a, longer:one}, becomes {a, a},
 * and then {a} by its size, with the column one byte shorter. */
static void test_record_cohorts_unused_name_is_corrupt(void **state)
{
    (void)state;
    buffer_t payload;
    size_t column = s_small(&payload);
    payload.data[column + SET_SIZES] = 1;
    memmove(payload.data + column + MEMBERS + 1, payload.data + column + MEMBERS + 2,
            payload.size - column - MEMBERS - 2);
    payload.size--;
    bytes_put_u32(payload.data + 8, (uint32_t)(payload.size - BODY));
    assert_int_equal(s_check(&payload, 3), ERR_CORRUPT);
    buffer_done(&payload);
}

/* Goal: a column that ends early or late is refused, an empty one too. */
static void test_record_cohorts_other_length_is_corrupt(void **state)
{
    (void)state;
    buffer_t payload;
    size_t column = s_small(&payload);
    size_t size = payload.size;
    *buffer_extend(&payload, 1) = 'x';
    bytes_put_u32(payload.data + 8, (uint32_t)(payload.size - BODY));
    assert_int_equal(s_check(&payload, 3), ERR_CORRUPT);
    for (size_t cut = column; cut < size; cut++) {
        payload.size = cut;
        bytes_put_u32(payload.data + 8, (uint32_t)(cut - BODY));
        assert_int_equal(s_check(&payload, 3), ERR_CORRUPT);
    }
    buffer_done(&payload);
}

static void s_walk(const record_t *record)
{
    for (uint32_t i = 0; i < record->event_count; i++) {
        slice_t names[USER_ATTRIBUTE_COUNT_MAX];
        uint32_t count = record_cohorts_get(&record->as.signals, i, names);
        assert_in_range(count, 0, USER_ATTRIBUTE_COUNT_MAX);
        for (uint32_t n = 0; n < count; n++) {
            assert_in_range(names[n].size, 1, NAME_LENGTH_MAX);
            assert_true(bytes_are_utf8(names[n]));
        }
    }
}

/* Goal: no flipped bit makes the decoder read out of bounds or accept a name out of range. Method:
 * every bit of the record; what still decodes is walked. */
static void test_record_cohorts_any_flipped_bit_decodes_within_limits(void **state)
{
    (void)state;
    buffer_t payload;
    (void)s_small(&payload);
    for (size_t bit = 0; bit < 8 * payload.size; bit++) {
        payload.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        record_t record;
        size_t offset = 0;
        if (record_next(buffer_slice(&payload), &offset, &record, NULL) == ERR_OK) {
            s_walk(&record);
        }
        payload.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(s_check(&payload, 3), ERR_OK);
    buffer_done(&payload);
}

/* Goal: columns of wide numbers come back as they were. Method: as many names and sets as a record
 * may have, each event in a set of its own. */
static void test_record_cohorts_most_names_and_sets_round_trip(void **state)
{
    (void)state;
    enum { COUNT = COHORT_SET_COUNT_MAX };
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    char text[32];
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(text, sizeof(text), "n:%u", i * 7919 % COUNT);
        cohort_builder_add_name(builder, slice_text(text));
        assert_int_equal(cohort_builder_put_event(builder), i + 1);
    }
    buffer_t payload;
    record_t record;
    assert_int_equal(s_build(builder, COUNT, &payload), ERR_OK);
    s_decode(&payload, &record);
    for (uint32_t i = 0; i < COUNT; i += 97) {
        slice_t names[USER_ATTRIBUTE_COUNT_MAX];
        (void)snprintf(text, sizeof(text), "n:%u", i * 7919 % COUNT);
        assert_int_equal(record_cohorts_get(&record.as.signals, i, names), 1);
        assert_true(slice_equal(names[0], slice_text(text)));
    }
    buffer_done(&payload);
    cohort_builder_destroy(&builder);
}

/* Goal: one name more than a record may have is refused, and the builder serves the next record. */
static void test_record_cohorts_one_name_too_many_is_refused(void **state)
{
    (void)state;
    enum { COUNT = COHORT_NAME_COUNT_MAX + 1, SHARED = 2 };
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    char text[32];
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(text, sizeof(text), "n:%u", i);
        cohort_builder_add_name(builder, slice_text(text));
        if (i % SHARED == 0) {
            (void)cohort_builder_put_event(builder);
        }
    }
    buffer_t payload;
    assert_int_equal(s_build(builder, COUNT / SHARED + 1, &payload), ERR_TOO_LARGE);
    assert_int_equal(payload.size, 0);
    buffer_done(&payload);
    cohort_builder_begin(builder);
    cohort_builder_add_name(builder, slice_text("n:1"));
    (void)cohort_builder_put_event(builder);
    assert_int_equal(s_build(builder, 1, &payload), ERR_OK);
    buffer_done(&payload);
    cohort_builder_destroy(&builder);
}

enum { RANDOM_EVENTS = 200, RANDOM_NAMES = 300 };
static uint8_t s_has[RANDOM_EVENTS][RANDOM_NAMES]; /* 1: was put, 2: came back */

static void s_put_random_event(cohort_builder_t *builder, prng_t *prng, uint32_t event)
{
    uint64_t count = prng_below(prng, USER_ATTRIBUTE_COUNT_MAX + 1);
    for (uint64_t n = 0; n < count; n++) {
        char text[32];
        uint64_t name = prng_below(prng, RANDOM_NAMES);
        s_has[event][name] = 1;
        (void)snprintf(text, sizeof(text), "n:%03u", (unsigned)name);
        cohort_builder_add_name(builder, slice_text(text));
    }
    (void)cohort_builder_put_event(builder);
}

static void s_check_random_event(const record_t *record, uint32_t event)
{
    slice_t names[USER_ATTRIBUTE_COUNT_MAX];
    uint32_t count = record_cohorts_get(&record->as.signals, event, names);
    for (uint32_t n = 0; n < count; n++) {
        const uint8_t *digits = names[n].data + 2;
        unsigned name = (digits[0] - 48U) * 100 + (digits[1] - 48U) * 10 + (digits[2] - 48U);
        assert_int_equal(s_has[event][name], 1);
        s_has[event][name] = 2;
    }
    for (uint32_t name = 0; name < RANDOM_NAMES; name++) {
        assert_true(s_has[event][name] != 1);
    }
}

/* Goal: any sets of any events come back, and a user with as many cohorts as attributes fits.
 * Method: random sets of up to 64 of 300 names, with repeats. */
static void test_record_cohorts_random_sets_round_trip(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 4);
    cohort_builder_t *builder = cohort_builder_new();
    for (unsigned round = 0; round < 20; round++) {
        memset(s_has, 0, sizeof(s_has));
        cohort_builder_begin(builder);
        for (uint32_t i = 0; i < RANDOM_EVENTS; i++) {
            s_put_random_event(builder, &prng, i);
        }
        buffer_t payload;
        record_t record;
        assert_int_equal(s_build(builder, RANDOM_EVENTS, &payload), ERR_OK);
        s_decode(&payload, &record);
        for (uint32_t i = 0; i < RANDOM_EVENTS; i++) {
            s_check_random_event(&record, i);
        }
        buffer_done(&payload);
    }
    cohort_builder_destroy(&builder);
}

/* Goal: a common batch pays a byte and little more per event. */
static void test_record_cohorts_few_sets_take_one_byte_per_event(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    for (uint32_t i = 0; i < COUNT; i++) {
        cohort_builder_add_name(builder, slice_text(i % 2 == 0 ? "locale:EU" : "locale:US"));
        cohort_builder_add_name(builder, slice_text(i % 4 < 2 ? "plan:free" : "plan:paid"));
        (void)cohort_builder_put_event(builder);
    }
    buffer_t plain = {0};
    buffer_t payload;
    s_append_record(&plain, COUNT);
    assert_int_equal(s_build(builder, COUNT, &payload), ERR_OK);
    assert_int_equal(payload.size - plain.size, 4 + COUNT + 4 + 4 * 2 + 4 + 4 * 9);
    buffer_done(&plain);
    buffer_done(&payload);
    cohort_builder_destroy(&builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_cohorts_names_come_back_in_order),
        cmocka_unit_test(test_record_cohorts_column_has_the_documented_bytes),
        cmocka_unit_test(test_record_cohorts_numbers_out_of_range_are_corrupt),
        cmocka_unit_test(test_record_cohorts_unused_name_is_corrupt),
        cmocka_unit_test(test_record_cohorts_other_length_is_corrupt),
        cmocka_unit_test(test_record_cohorts_any_flipped_bit_decodes_within_limits),
        cmocka_unit_test(test_record_cohorts_most_names_and_sets_round_trip),
        cmocka_unit_test(test_record_cohorts_one_name_too_many_is_refused),
        cmocka_unit_test(test_record_cohorts_random_sets_round_trip),
        cmocka_unit_test(test_record_cohorts_few_sets_take_one_byte_per_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
