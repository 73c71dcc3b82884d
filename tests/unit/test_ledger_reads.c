/* What the ledger answers: scores, counts, walks over items, seen, totals, comparison, refusals. */
#include "tests/unit/ledger_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static schema_t s_schema;

static ledger_t *s_new(void)
{
    schema_init_default(&s_schema);
    return ledger_new(&s_schema);
}

/* Goal: scores equal the formula to 6 decimals. Method: 10,000 events of all signals on 40 items,
 * with weights that f32 cannot hold and late ones, against extended precision. */
static void test_ledger_reads_scores_equal_the_formula(void **state)
{
    (void)state;
    enum { COUNT = 10000, ITEM_COUNT = 40 };
    static signal_event_t s_events[COUNT];
    static const ledger_support_range_t s_range = {ITEM_COUNT, 1000, 45000, 0};
    static long double s_expected[ITEM_COUNT + 1][5];
    prng_t prng;
    prng_init(&prng, 51);
    ledger_t *ledger = s_new();
    const int64_t at_ns = LEDGER_SUPPORT_NOW_NS + 12345678901;
    for (unsigned i = 0; i < COUNT; i++) {
        s_events[i] = ledger_support_event(&prng, &s_range);
        int64_t half_life_s = schema_find_signal_id(&s_schema, s_events[i].signal)->half_life_s;
        long double age =
            (long double)(at_ns - s_events[i].ts_ns) / ((long double)half_life_s * 1e9L);
        s_expected[s_events[i].item.value][s_events[i].signal] +=
            (long double)s_events[i].weight * exp2l(-age);
    }
    for (unsigned i = 0; i < COUNT; i += 1000) {
        ledger_support_apply(ledger, &s_events[i], 1000);
    }
    for (uint64_t item = 1; item <= ITEM_COUNT; item++) {
        for (uint8_t signal = 1; signal <= 4; signal++) {
            double found = ledger_score(ledger, (item_id_t){item}, signal, at_ns, NULL);
            assert_true(fabsl((long double)found - s_expected[item][signal]) < 1e-6L);
        }
    }
    ledger_destroy(&ledger);
}

/* Goal: what is not known is zero, not clipped and not found. */
static void test_ledger_reads_unknown_things_are_zero(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    signal_event_t event = {{7}, {0}, LEDGER_SUPPORT_NOW_NS, 1.0, 1};
    ledger_support_apply(ledger, &event, 1);
    static const struct {
        uint64_t item;
        uint8_t signal;
    } s_cases[] = {{8, 1}, {7, 2}, {7, 0}, {7, 5}, {7, 255}};
    for (unsigned i = 0; i < 5; i++) {
        item_id_t item = {s_cases[i].item};
        bool clipped = true;
        assert_true(ledger_score(ledger, item, s_cases[i].signal, 0, &clipped) == 0.0);
        assert_false(clipped);
        clipped = true;
        assert_int_equal(ledger_count(ledger, item, s_cases[i].signal, WINDOW_1H, 0, &clipped), 0);
        assert_false(clipped);
    }
    assert_int_equal(ledger_find_item(ledger, (item_id_t){8}), 0);
    assert_int_equal(ledger_find_user(ledger, (user_id_t){8}), 0);
    cell_reader_t reader;
    assert_int_equal(ledger_reader(ledger, 5, 0, &reader), ERR_NOT_FOUND);
    ledger_destroy(&ledger);
}

/* Goal: a walk over the items with one reader per signal finds every cell and gives the bits of the
 * single answers. */
static void test_ledger_reads_item_walk_equals_single_answers(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    static signal_event_t s_events[COUNT];
    static const ledger_support_range_t s_range = {700, 10, 100000, 0};
    prng_t prng;
    prng_init(&prng, 52);
    ledger_t *ledger = s_new();
    for (unsigned i = 0; i < COUNT; i++) {
        s_events[i] = ledger_support_event(&prng, &s_range);
    }
    ledger_support_apply(ledger, s_events, COUNT);
    uint64_t counted = 0;
    for (uint8_t signal = 1; signal <= 4; signal++) {
        cell_reader_t reader;
        assert_int_equal(ledger_reader(ledger, signal, LEDGER_SUPPORT_NOW_NS, &reader), ERR_OK);
        for (uint32_t row = 1; row <= ledger_item_count(ledger); row++) {
            const ledger_item_t *item = ledger_item(ledger, row);
            assert_int_equal(ledger_find_item(ledger, item->item), row);
            const cell_t *cell = ledger_item_cell(ledger, item, signal);
            double found = cell == NULL ? 0.0 : cell_score(cell, &reader, NULL);
            assert_true(found ==
                        ledger_score(ledger, item->item, signal, LEDGER_SUPPORT_NOW_NS, NULL));
            counted += cell == NULL ? 0 : cell->count;
        }
    }
    assert_int_equal(counted, COUNT);
    ledger_totals_t totals;
    ledger_totals(ledger, &totals);
    assert_int_equal(totals.signals, COUNT);
    ledger_destroy(&ledger);
}

/* Goal: a pair is seen from its first signal until its last one is void; user 0 sees nothing. */
static void test_ledger_reads_seen_follows_signals_and_voids(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    signal_event_t event = {{7}, {9}, LEDGER_SUPPORT_NOW_NS, 1.0, 1};
    signal_event_t other = {{7}, {9}, LEDGER_SUPPORT_NOW_NS, 1.0, 2};
    signal_event_t nobody = {{7}, {0}, LEDGER_SUPPORT_NOW_NS, 1.0, 2};
    ledger_support_apply(ledger, &event, 1);
    ledger_support_apply(ledger, &other, 1);
    ledger_support_apply(ledger, &nobody, 1);
    uint32_t user = ledger_find_user(ledger, (user_id_t){9});
    uint32_t item = ledger_find_item(ledger, (item_id_t){7});
    assert_true(ledger_has_seen(ledger, user, item));
    ledger_support_void(ledger, &event, 1);
    assert_true(ledger_has_seen(ledger, user, item));
    ledger_support_void(ledger, &other, 1);
    assert_false(ledger_has_seen(ledger, user, item));
    assert_false(ledger_has_seen(ledger, 0, item));
    assert_false(ledger_has_seen(ledger, user, 0));
    ledger_destroy(&ledger);
}

/* Goal: pairs with hundreds of signals are counted exactly, up and down. */
static void test_ledger_reads_seen_counts_beyond_a_byte(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    ledger_t *empty = s_new();
    static signal_event_t s_events[600];
    for (unsigned i = 0; i < 600; i++) {
        s_events[i] = (signal_event_t){{7}, {9}, LEDGER_SUPPORT_NOW_NS, 1.0, 1};
    }
    ledger_support_apply(ledger, s_events, 600);
    ledger_support_void(ledger, s_events, 599);
    uint32_t user = ledger_find_user(ledger, (user_id_t){9});
    uint32_t item = ledger_find_item(ledger, (item_id_t){7});
    assert_true(ledger_has_seen(ledger, user, item));
    ledger_support_apply(empty, s_events, 1);
    ledger_support_assert_equal(ledger, empty);
    ledger_support_void(ledger, s_events, 1);
    assert_false(ledger_has_seen(ledger, user, item));
    ledger_destroy(&ledger);
    ledger_destroy(&empty);
}

/* Goal: many thousands of items, users and pairs are all found again while the tables grow. */
static void test_ledger_reads_growing_tables_lose_nothing(void **state)
{
    (void)state;
    enum { COUNT = 200000, BATCH = 1000 };
    static signal_event_t s_events[BATCH];
    ledger_t *ledger = s_new();
    for (uint64_t i = 0; i < COUNT; i++) {
        s_events[i % BATCH] =
            (signal_event_t){{1 + i * 3}, {1 + i % 70000}, LEDGER_SUPPORT_NOW_NS, 1.0, 1};
        if (i % BATCH == BATCH - 1) {
            ledger_support_apply(ledger, s_events, BATCH);
        }
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        uint32_t item = ledger_find_item(ledger, (item_id_t){1 + i * 3});
        uint32_t user = ledger_find_user(ledger, (user_id_t){1 + i % 70000});
        assert_true(item != 0);
        assert_true(ledger_has_seen(ledger, user, item));
        assert_int_equal(ledger_find_item(ledger, (item_id_t){2 + i * 3}), 0);
    }
    ledger_totals_t totals;
    ledger_totals(ledger, &totals);
    assert_int_equal(totals.cells, COUNT);
    assert_int_equal(totals.seen_pairs, COUNT);
    ledger_destroy(&ledger);
}

/* Goal: a schema of 64 signal types works as one of four does: cells beyond the row are found. */
static void test_ledger_reads_many_signal_types_work(void **state)
{
    (void)state;
    schema_init_default(&s_schema);
    s_schema.signal_count = SIGNAL_TYPE_COUNT_MAX;
    for (unsigned i = 0; i < SIGNAL_TYPE_COUNT_MAX; i++) {
        s_schema.signals[i] = s_schema.signals[0];
        s_schema.signals[i].id = (uint8_t)(SIGNAL_TYPE_COUNT_MAX - i);
        s_schema.signals[i].half_life_s = (int64_t)60 + i;
    }
    ledger_t *ledger = ledger_new(&s_schema);
    signal_event_t events[SIGNAL_TYPE_COUNT_MAX];
    for (unsigned i = 0; i < SIGNAL_TYPE_COUNT_MAX; i++) {
        events[i] =
            (signal_event_t){{7}, {0}, LEDGER_SUPPORT_NOW_NS, (double)(i + 1), (uint8_t)(i + 1)};
    }
    ledger_support_apply(ledger, events, SIGNAL_TYPE_COUNT_MAX);
    for (unsigned i = 0; i < SIGNAL_TYPE_COUNT_MAX; i++) {
        double score =
            ledger_score(ledger, (item_id_t){7}, (uint8_t)(i + 1), LEDGER_SUPPORT_NOW_NS, NULL);
        assert_true(fabs(score - (double)(i + 1)) < 1e-9);
    }
    ledger_destroy(&ledger);
}

/* Goal: a payload with anything that cannot be applied changes nothing: an unknown signal in any
 * event, a malformed record behind good ones. */
static void test_ledger_reads_refused_payloads_change_nothing(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    ledger_t *empty = s_new();
    signal_event_t events[] = {{{7}, {9}, LEDGER_SUPPORT_NOW_NS, 1.0, 1},
                               {{8}, {9}, LEDGER_SUPPORT_NOW_NS, 1.0, 5}};
    buffer_t payload = {0};
    errbuf_t errbuf = {""};
    record_append_signals(&payload, events, 2);
    assert_int_equal(ledger_apply_payload(ledger, buffer_slice(&payload), LEDGER_COUNTED, &errbuf),
                     ERR_UNSUPPORTED);
    assert_non_null(strstr(errbuf.text, "signal 5 is not in the schema"));
    ledger_support_assert_equal(ledger, empty);
    buffer_clear(&payload);
    record_append_signals(&payload, events, 1);
    size_t first = payload.size;
    record_append_signals(&payload, events, 1);
    for (size_t size = first + 1; size < payload.size; size++) {
        assert_int_equal(
            ledger_apply_payload(ledger, slice_make(payload.data, size), LEDGER_COUNTED, &errbuf),
            ERR_CORRUPT);
    }
    ledger_support_assert_equal(ledger, empty);
    buffer_done(&payload);
    ledger_destroy(&ledger);
    ledger_destroy(&empty);
}

typedef struct {
    unsigned count;
    char text[8][LEDGER_KEY_TEXT_SIZE];
    bool missing_in_a[8];
    bool missing_in_b[8];
} differences_t;

static void s_note(void *context, slice_t key, slice_t value_a, slice_t value_b)
{
    differences_t *differences = context;
    assert_true(differences->count < 8);
    ledger_key_text(key, differences->text[differences->count]);
    differences->missing_in_a[differences->count] = value_a.size == 0;
    differences->missing_in_b[differences->count] = value_b.size == 0;
    differences->count++;
}

/* Goal: a comparison names each entry that differs or is missing, in key order, and the digests
 * differ. */
static void test_ledger_reads_compare_locates_differences(void **state)
{
    (void)state;
    ledger_t *a = s_new();
    ledger_t *b = s_new();
    signal_event_t shared = {{7}, {9}, LEDGER_SUPPORT_NOW_NS, 1.0, 1};
    signal_event_t in_a = {{7}, {9}, LEDGER_SUPPORT_NOW_NS, 2.0, 1};
    signal_event_t in_b = {{300}, {0}, LEDGER_SUPPORT_NOW_NS, 1.0, 2};
    ledger_support_apply(a, &shared, 1);
    ledger_support_apply(b, &shared, 1);
    ledger_support_assert_equal(a, b);
    ledger_support_apply(a, &in_a, 1);
    ledger_support_apply(b, &in_b, 1);
    differences_t differences = {0};
    assert_int_equal(ledger_compare(a, b, s_note, &differences), 3);
    assert_string_equal(differences.text[0], "cell item 7 signal 1");
    assert_false(differences.missing_in_a[0] || differences.missing_in_b[0]);
    assert_string_equal(differences.text[1], "cell item 300 signal 2");
    assert_true(differences.missing_in_a[1]);
    assert_string_equal(differences.text[2], "seen user 9 item 7");
    ledger_digest_t digest_a;
    ledger_digest_t digest_b;
    ledger_digest(a, &digest_a);
    ledger_digest(b, &digest_b);
    assert_memory_not_equal(&digest_a, &digest_b, sizeof(digest_a));
    ledger_destroy(&a);
    ledger_destroy(&b);
}

/* Goal: the digest of every intermediate state, kept up as it changes, is the one computed anew. */
static void test_ledger_reads_digest_follows_every_change(void **state)
{
    (void)state;
    static const ledger_support_range_t s_range = {20, 10, 3000, 0};
    prng_t prng;
    prng_init(&prng, 53);
    ledger_t *ledger = s_new();
    ledger_digest_t before = {{0}};
    for (unsigned i = 0; i < 300; i++) {
        ledger_support_batch_t batch;
        ledger_support_batch_init(&batch, &prng, &s_range);
        ledger_support_apply_shuffled(ledger, &prng, &batch, 1);
        ledger_digest_t kept;
        ledger_digest_t anew;
        ledger_digest(ledger, &kept);
        ledger_digest_full(ledger, &anew);
        assert_memory_equal(&kept, &anew, sizeof(kept));
        if (batch.is_signals) {
            before = kept;
        }
        ledger_support_batch_done(&batch);
    }
    assert_memory_not_equal(&before, &(ledger_digest_t){{0}}, sizeof(before));
    ledger_destroy(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger_reads_scores_equal_the_formula),
        cmocka_unit_test(test_ledger_reads_unknown_things_are_zero),
        cmocka_unit_test(test_ledger_reads_item_walk_equals_single_answers),
        cmocka_unit_test(test_ledger_reads_seen_follows_signals_and_voids),
        cmocka_unit_test(test_ledger_reads_seen_counts_beyond_a_byte),
        cmocka_unit_test(test_ledger_reads_growing_tables_lose_nothing),
        cmocka_unit_test(test_ledger_reads_many_signal_types_work),
        cmocka_unit_test(test_ledger_reads_refused_payloads_change_nothing),
        cmocka_unit_test(test_ledger_reads_compare_locates_differences),
        cmocka_unit_test(test_ledger_reads_digest_follows_every_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
