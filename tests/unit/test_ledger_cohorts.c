/* Cohorts: which ones users are in, and what their cells count. */
#include "common/wal/record_cohorts.h"
#include "tests/unit/ledger_support.h"

#include "common/signal/checkpoint_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static ledger_t *s_new(void)
{
    static schema_t s_schema;
    schema_init_default(&s_schema);
    return ledger_new(&s_schema);
}

static void s_put_user(ledger_t *ledger, uint64_t user, const char *name, const char *value)
{
    static int64_t s_wall_ns = 0;
    record_t record = {.type = RECORD_USER_PUT, .event_count = 1};
    record.as.user.user.value = user;
    record.as.user.hlc.wall_ns = ++s_wall_ns;
    record.as.user.attribute_count = name == NULL ? 0 : 1;
    if (name != NULL) {
        record.as.user.attributes[0] = (record_attribute_t){slice_text(name), slice_text(value)};
    }
    buffer_t payload = {0};
    record_append(&payload, &record);
    assert_int_equal(ledger_apply_payload(ledger, buffer_slice(&payload), LEDGER_COUNTED, NULL),
                     ERR_OK);
    buffer_done(&payload);
}

static signal_event_t s_event(uint64_t item, uint64_t user)
{
    return (signal_event_t){{item}, {user}, LEDGER_SUPPORT_NOW_NS, 1.0, 1};
}

/* The events as a leader with this state logs them; appended. */
static void s_log(const ledger_t *ledger,
                  const signal_event_t *events,
                  uint32_t count,
                  buffer_t *payload)
{
    buffer_t plain = {0};
    record_t record;
    size_t offset = 0;
    cohort_builder_t *builder = cohort_builder_new();
    record_append_signals(&plain, events, count);
    assert_int_equal(record_next(buffer_slice(&plain), &offset, &record, NULL), ERR_OK);
    if (ledger_find_cohorts(ledger, &record.as.signals, builder)) {
        err_t err = cohort_builder_append(builder, buffer_slice(&plain), payload, NULL);
        assert_int_equal(err, ERR_OK);
    } else {
        buffer_append(payload, plain.data, plain.size);
    }
    buffer_done(&plain);
    cohort_builder_destroy(&builder);
}

/* Logs and applies. */
static void s_count(ledger_t *ledger, const signal_event_t *events, uint32_t count)
{
    buffer_t payload = {0};
    s_log(ledger, events, count, &payload);
    assert_int_equal(ledger_apply_payload(ledger, buffer_slice(&payload), LEDGER_COUNTED, NULL),
                     ERR_OK);
    buffer_done(&payload);
}

static uint64_t s_counted(const ledger_t *ledger, const char *cohort, uint64_t item)
{
    uint32_t number = ledger_find_cohort(ledger, slice_text(cohort));
    const cell_t *cell = ledger_cohort_cell(ledger, number, (item_id_t){item}, 1);
    return cell == NULL ? 0 : cell_window_count(cell, WINDOW_ALL, LEDGER_SUPPORT_NOW_NS, NULL);
}

/* The cohorts of one user's signal, joined by a blank. */
static const char *s_cohorts_of(const ledger_t *ledger, uint64_t user)
{
    static char s_text[USER_ATTRIBUTE_COUNT_MAX * (NAME_LENGTH_MAX + 1) + 1];
    signal_event_t event = s_event(1, user);
    buffer_t payload = {0};
    record_t record;
    size_t offset = 0;
    size_t size = 0;
    slice_t names[USER_ATTRIBUTE_COUNT_MAX];
    s_log(ledger, &event, 1, &payload);
    assert_int_equal(record_next(buffer_slice(&payload), &offset, &record, NULL), ERR_OK);
    uint32_t count = record_cohorts_get(&record.as.signals, 0, names);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            s_text[size++] = ' ';
        }
        memcpy(s_text + size, names[i].data, names[i].size);
        size += names[i].size;
    }
    s_text[size] = '\0';
    buffer_done(&payload);
    return s_text;
}

/* Goal: a signal counts for all users and once for each cohort of its user; other users' do not
 * count there, and an unknown cohort has no cell. */
static void test_ledger_cohorts_signal_counts_for_its_users_cohorts(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    s_put_user(ledger, 1, "locale", "EU");
    s_put_user(ledger, 1, "plan", "free");
    s_put_user(ledger, 2, "locale", "US");
    const signal_event_t events[] = {s_event(7, 1), s_event(7, 2), s_event(7, 3),
                                     s_event(7, 0), s_event(7, 1), s_event(8, 2)};
    s_count(ledger, events, 6);
    assert_int_equal(
        ledger_count(ledger, (item_id_t){7}, 1, WINDOW_ALL, LEDGER_SUPPORT_NOW_NS, NULL), 5);
    assert_int_equal(s_counted(ledger, "locale:EU", 7), 2);
    assert_int_equal(s_counted(ledger, "plan:free", 7), 2);
    assert_int_equal(s_counted(ledger, "locale:US", 7), 1);
    assert_int_equal(s_counted(ledger, "locale:US", 8), 1);
    assert_int_equal(s_counted(ledger, "locale:EU", 8), 0);
    assert_int_equal(ledger_find_cohort(ledger, slice_text("locale:AP")), 0);
    assert_null(ledger_cohort_cell(ledger, 0, (item_id_t){7}, 1));
    ledger_totals_t totals;
    ledger_totals(ledger, &totals);
    assert_int_equal(totals.signals, 6);
    assert_int_equal(totals.cells, 2);
    assert_int_equal(totals.cohort_cells, 4);
    ledger_destroy(&ledger);
}

/* Goal: a cohort's cell has the bits that a ledger has which saw the cohort's events alone, for
 * thousands of events of any time and weight. */
static void test_ledger_cohorts_cell_equals_ledger_of_its_events(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static signal_event_t s_events[COUNT];
    static signal_event_t s_own[COUNT];
    static const ledger_support_range_t s_range = {20, 40, 60000, 0};
    uint32_t own_count = 0;
    prng_t prng;
    prng_init(&prng, 71);
    ledger_t *ledger = s_new();
    ledger_t *own = s_new();
    for (uint64_t user = 1; user <= 40; user += 3) {
        s_put_user(ledger, user, "locale", "EU");
    }
    for (unsigned i = 0; i < COUNT; i++) {
        s_events[i] = ledger_support_event(&prng, &s_range);
        if (s_events[i].user.value % 3 == 1) {
            s_own[own_count++] = s_events[i];
        }
    }
    s_count(ledger, s_events, COUNT);
    ledger_support_apply(own, s_own, own_count);
    uint32_t cohort = ledger_find_cohort(ledger, slice_text("locale:EU"));
    for (uint64_t item = 1; item <= 20; item++) {
        for (uint8_t signal = 1; signal <= 4; signal++) {
            uint32_t row = ledger_find_item(own, (item_id_t){item});
            const cell_t *expected = ledger_item_cell(own, ledger_item(own, row), signal);
            const cell_t *found = ledger_cohort_cell(ledger, cohort, (item_id_t){item}, signal);
            static uint8_t s_bytes[2][CELL_VALUE_SIZE_MAX];
            assert_true(expected != NULL && found != NULL);
            size_t size = cell_encode(expected, s_bytes[0]);
            assert_int_equal(cell_encode(found, s_bytes[1]), size);
            assert_memory_equal(s_bytes[0], s_bytes[1], size);
        }
    }
    ledger_destroy(&ledger);
    ledger_destroy(&own);
}

/* Goal: what is logged stays where it was counted when the user's attributes change, and a replica
 * with other attributes, or none, comes to the same cells. */
static void test_ledger_cohorts_follow_the_log_and_not_the_user(void **state)
{
    (void)state;
    ledger_t *leader = s_new();
    ledger_t *replica = s_new();
    signal_event_t event = s_event(7, 1);
    buffer_t payload = {0};
    s_put_user(leader, 1, "locale", "EU");
    s_log(leader, &event, 1, &payload);
    s_put_user(leader, 1, "locale", "US");
    s_log(leader, &event, 1, &payload);
    slice_t bytes = buffer_slice(&payload);
    assert_int_equal(ledger_apply_payload(leader, bytes, LEDGER_COUNTED, NULL), ERR_OK);
    assert_int_equal(ledger_apply_payload(replica, bytes, LEDGER_COUNTED, NULL), ERR_OK);
    assert_int_equal(s_counted(leader, "locale:EU", 7), 1);
    assert_int_equal(s_counted(leader, "locale:US", 7), 1);
    assert_int_equal(s_counted(replica, "locale:EU", 7), 1);
    assert_int_equal(s_counted(replica, "locale:US", 7), 1);
    buffer_done(&payload);
    ledger_destroy(&leader);
    ledger_destroy(&replica);
}

/* Goal: voiding takes the signals back from the cohorts' cells too, and leaves what arriving void
 * leaves: cells with a newest time that count nothing. */
static void test_ledger_cohorts_void_takes_back_exactly(void **state)
{
    (void)state;
    enum { COUNT = 400 };
    static signal_event_t s_events[COUNT];
    static const ledger_support_range_t s_range = {9, 20, 100000, 6};
    prng_t prng;
    prng_init(&prng, 72);
    for (unsigned i = 0; i < COUNT; i++) {
        s_events[i] = ledger_support_event(&prng, &s_range);
    }
    buffer_t payload = {0};
    ledger_support_append_cohorts(&payload, &prng, s_events, COUNT, s_range.cohort_count);
    slice_t bytes = buffer_slice(&payload);
    ledger_t *voided = s_new();
    ledger_t *arrived = s_new();
    assert_int_equal(ledger_apply_payload(voided, bytes, LEDGER_COUNTED, NULL), ERR_OK);
    assert_int_equal(ledger_void_payload(voided, bytes, NULL), ERR_OK);
    assert_int_equal(ledger_apply_payload(arrived, bytes, LEDGER_VOID, NULL), ERR_OK);
    ledger_support_assert_equal(voided, arrived);
    ledger_totals_t totals;
    ledger_totals(voided, &totals);
    assert_int_equal(totals.signals, 0);
    assert_true(totals.cohort_cells > 0);
    assert_int_equal(s_counted(voided, "c:1", 1), 0);
    buffer_done(&payload);
    ledger_destroy(&voided);
    ledger_destroy(&arrived);
}

/* Goal: an attribute makes the cohort name:value; up to 64 bytes, one more makes none; two that come
 * to the same text are one; an empty value counts as a value. */
static void test_ledger_cohorts_names_come_from_attributes(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    char value[64] = {0};
    assert_string_equal(s_cohorts_of(ledger, 1), "");
    s_put_user(ledger, 1, "locale", "EU");
    s_put_user(ledger, 1, "a:b", "c");
    s_put_user(ledger, 1, "a", "b:c");
    s_put_user(ledger, 1, "plan", "");
    assert_string_equal(s_cohorts_of(ledger, 1), "a:b:c locale:EU plan:");
    assert_string_equal(s_cohorts_of(ledger, 2), "");
    s_put_user(ledger, 2, NULL, NULL);
    assert_string_equal(s_cohorts_of(ledger, 2), "");
    memset(value, 'x', NAME_LENGTH_MAX - 2);
    s_put_user(ledger, 3, "k", value);
    assert_int_equal(strlen(s_cohorts_of(ledger, 3)), NAME_LENGTH_MAX);
    value[NAME_LENGTH_MAX - 2] = 'x';
    s_put_user(ledger, 3, "k", value);
    assert_string_equal(s_cohorts_of(ledger, 3), "");
    ledger_destroy(&ledger);
}

/* Goal: a user with as many attributes as there may be is in as many cohorts. */
static void test_ledger_cohorts_most_attributes_all_count(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    char name[16];
    for (unsigned i = 0; i < USER_ATTRIBUTE_COUNT_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%02u", i);
        s_put_user(ledger, 1, name, "v");
    }
    signal_event_t event = s_event(7, 1);
    s_count(ledger, &event, 1);
    for (unsigned i = 0; i < USER_ATTRIBUTE_COUNT_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%02u:v", i);
        assert_int_equal(s_counted(ledger, name, 7), 1);
    }
    ledger_destroy(&ledger);
}

/* Goal: many users of one batch each get their own cohorts. Method: more users than are remembered
 * at once, twice each. */
static void test_ledger_cohorts_many_users_of_a_batch_keep_their_own(void **state)
{
    (void)state;
    enum { USERS = 1000 };
    static signal_event_t s_events[2 * USERS];
    ledger_t *ledger = s_new();
    for (uint32_t i = 0; i < USERS; i++) {
        char value[16];
        (void)snprintf(value, sizeof(value), "%u", i % 10);
        if (i % 10 != 9) {
            s_put_user(ledger, i + 1, "digit", value);
        }
        s_events[i] = s_event(1 + i % 10, i + 1);
        s_events[2 * USERS - 1 - i] = s_events[i];
    }
    s_count(ledger, s_events, 2 * USERS);
    for (unsigned digit = 0; digit < 10; digit++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "digit:%u", digit);
        assert_int_equal(s_counted(ledger, name, 1 + digit), digit == 9 ? 0 : USERS / 5);
        assert_int_equal(s_counted(ledger, name, 1 + (digit + 1) % 10), 0);
    }
    ledger_destroy(&ledger);
}

/* Goal: signals of nobody in a cohort are left as they came. */
static void test_ledger_cohorts_nobody_in_one_changes_nothing(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    cohort_builder_t *builder = cohort_builder_new();
    const signal_event_t events[] = {s_event(7, 2), s_event(7, 0)};
    for (unsigned round = 0; round < 2; round++) {
        buffer_t payload = {0};
        record_t record;
        size_t offset = 0;
        record_append_signals(&payload, events, 2);
        assert_int_equal(record_next(buffer_slice(&payload), &offset, &record, NULL), ERR_OK);
        assert_false(ledger_find_cohorts(ledger, &record.as.signals, builder));
        buffer_done(&payload);
        assert_true(ledger_has_users(ledger) == (round == 1));
        s_put_user(ledger, 1, "locale", "EU");
    }
    cohort_builder_destroy(&builder);
    ledger_destroy(&ledger);
}

/* Goal: an entry of a cohort's cell names it; a name that is too long or no UTF-8 is no key. */
static void test_ledger_cohorts_key_names_the_cohort(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    uint8_t key[CHECKPOINT_KEY_SIZE_MAX + 1] = {CHECKPOINT_KEY_CELL, 0, 0, 0, 0, 0, 0, 0, 7, 2};
    const uint8_t value[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    char text[LEDGER_KEY_TEXT_SIZE];
    memset(key + CHECKPOINT_CELL_KEY_SIZE, 'x', NAME_LENGTH_MAX + 1);
    const slice_t name = slice_text("locale:EU");
    memcpy(key + CHECKPOINT_CELL_KEY_SIZE, name.data, name.size);
    ledger_key_text(slice_make(key, CHECKPOINT_CELL_KEY_SIZE + name.size), text);
    assert_string_equal(text, "cell item 7 signal 2 cohort locale:EU");
    slice_t bytes = slice_make(value, sizeof(value));
    slice_t longest = slice_make(key, CHECKPOINT_KEY_SIZE_MAX);
    assert_int_equal(ledger_load_entry(ledger, longest, bytes, NULL), ERR_OK);
    assert_int_equal(ledger_load_entry(ledger, longest, bytes, NULL), ERR_CORRUPT);
    assert_int_equal(ledger_load_entry(ledger, slice_make(key, sizeof(key)), bytes, NULL),
                     ERR_CORRUPT);
    key[CHECKPOINT_CELL_KEY_SIZE] = 0xff;
    assert_int_equal(ledger_load_entry(ledger, longest, bytes, NULL), ERR_CORRUPT);
    buffer_t found = {0};
    key[CHECKPOINT_CELL_KEY_SIZE] = 'l';
    assert_int_equal(ledger_get_entry(ledger, longest, &found), ERR_OK);
    assert_true(slice_equal(buffer_slice(&found), bytes));
    longest.size--;
    assert_int_equal(ledger_get_entry(ledger, longest, &found), ERR_NOT_FOUND);
    buffer_done(&found);
    ledger_destroy(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger_cohorts_signal_counts_for_its_users_cohorts),
        cmocka_unit_test(test_ledger_cohorts_cell_equals_ledger_of_its_events),
        cmocka_unit_test(test_ledger_cohorts_follow_the_log_and_not_the_user),
        cmocka_unit_test(test_ledger_cohorts_void_takes_back_exactly),
        cmocka_unit_test(test_ledger_cohorts_names_come_from_attributes),
        cmocka_unit_test(test_ledger_cohorts_most_attributes_all_count),
        cmocka_unit_test(test_ledger_cohorts_many_users_of_a_batch_keep_their_own),
        cmocka_unit_test(test_ledger_cohorts_nobody_in_one_changes_nothing),
        cmocka_unit_test(test_ledger_cohorts_key_names_the_cohort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
