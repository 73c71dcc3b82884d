/* The ledger is a function of the set of records applied, in whatever order, with whatever voids.
 */
#include "tests/unit/ledger_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { BATCH_COUNT = 400 };

static ledger_support_batch_t s_batches[BATCH_COUNT];

static void s_generate(prng_t *prng, const ledger_support_range_t *range)
{
    for (unsigned i = 0; i < BATCH_COUNT; i++) {
        ledger_support_batch_init(&s_batches[i], prng, range);
    }
}

static void s_discard(void)
{
    for (unsigned i = 0; i < BATCH_COUNT; i++) {
        ledger_support_batch_done(&s_batches[i]);
    }
}

static ledger_t *s_new(void)
{
    static schema_t s_schema;
    schema_init_default(&s_schema);
    return ledger_new(&s_schema);
}

/* Goal: random permutations of thousands of events and register writes, a seventh of them voided at
 * any moment, give identical digests, entries and answers. Method: ranges from one hot item to many
 * cold ones, minutes to years, so that equal times, late events and pruning all occur. */
static void test_ledger_order_permutations_give_equal_states(void **state)
{
    (void)state;
    static const ledger_support_range_t s_ranges[] = {
        {1, 3, 200, 2}, {20, 10, 3000, 0}, {300, 100, 60000, 7}, {2000, 500, 3000000, 300}};
    prng_t prng;
    prng_init(&prng, 21);
    for (unsigned r = 0; r < 4; r++) {
        s_generate(&prng, &s_ranges[r]);
        ledger_t *first = s_new();
        ledger_support_apply_shuffled(first, &prng, s_batches, BATCH_COUNT);
        for (unsigned round = 0; round < 5; round++) {
            ledger_t *other = s_new();
            ledger_support_apply_shuffled(other, &prng, s_batches, BATCH_COUNT);
            ledger_support_assert_equal(first, other);
            ledger_destroy(&other);
        }
        ledger_destroy(&first);
        s_discard();
    }
}

/* Goal: how events are cut into batches leaves no trace. Method: 3,000 events as one batch, in
 * batches of 7, and one by one. */
static void test_ledger_order_batching_leaves_no_trace(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static signal_event_t s_events[COUNT];
    static const ledger_support_range_t s_range = {100, 50, 100000, 0};
    static const uint32_t s_sizes[] = {COUNT, 7, 1};
    prng_t prng;
    prng_init(&prng, 22);
    for (unsigned i = 0; i < COUNT; i++) {
        s_events[i] = ledger_support_event(&prng, &s_range);
    }
    ledger_t *ledgers[3];
    for (unsigned l = 0; l < 3; l++) {
        ledgers[l] = s_new();
        for (uint32_t i = 0; i < COUNT; i += s_sizes[l]) {
            uint32_t left = COUNT - i;
            ledger_support_apply(ledgers[l], &s_events[i], left < s_sizes[l] ? left : s_sizes[l]);
        }
    }
    ledger_support_assert_equal(ledgers[0], ledgers[1]);
    ledger_support_assert_equal(ledgers[0], ledgers[2]);
    for (unsigned l = 0; l < 3; l++) {
        ledger_destroy(&ledgers[l]);
    }
}

/* Goal: voiding everything leaves cells with their newest times and nothing else: no counts, no
 * seen pairs; and the same state as batches that arrive void. */
static void test_ledger_order_voiding_all_leaves_newest_times(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static signal_event_t s_events[COUNT];
    static const ledger_support_range_t s_range = {30, 20, 100000, 0};
    prng_t prng;
    prng_init(&prng, 23);
    for (unsigned i = 0; i < COUNT; i++) {
        s_events[i] = ledger_support_event(&prng, &s_range);
    }
    ledger_t *voided = s_new();
    ledger_support_apply(voided, s_events, COUNT);
    ledger_support_void(voided, s_events, COUNT);
    buffer_t payload = {0};
    record_append_signals(&payload, s_events, COUNT);
    ledger_t *arrived = s_new();
    assert_int_equal(ledger_apply_payload(arrived, buffer_slice(&payload), LEDGER_VOID, NULL),
                     ERR_OK);
    ledger_support_assert_equal(voided, arrived);
    ledger_totals_t totals;
    ledger_totals(voided, &totals);
    assert_int_equal(totals.signals, 0);
    assert_int_equal(totals.seen_pairs, 0);
    assert_true(totals.cells > 0);
    buffer_done(&payload);
    ledger_destroy(&voided);
    ledger_destroy(&arrived);
}

/* Goal: voiding a batch leaves its register writes alone: copies of one write carry one stamp. */
static void test_ledger_order_void_leaves_registers(void **state)
{
    (void)state;
    static const ledger_support_range_t s_range = {5, 5, 1000, 0};
    prng_t prng;
    prng_init(&prng, 24);
    buffer_t payload = {0};
    signal_event_t event = ledger_support_event(&prng, &s_range);
    record_append_signals(&payload, &event, 1);
    for (unsigned i = 0; i < 50; i++) {
        ledger_support_append_register(&payload, &prng, &s_range);
    }
    ledger_t *voided = s_new();
    ledger_t *arrived = s_new();
    slice_t bytes = buffer_slice(&payload);
    assert_int_equal(ledger_apply_payload(voided, bytes, LEDGER_COUNTED, NULL), ERR_OK);
    assert_int_equal(ledger_void_payload(voided, bytes, NULL), ERR_OK);
    assert_int_equal(ledger_apply_payload(arrived, bytes, LEDGER_VOID, NULL), ERR_OK);
    ledger_support_assert_equal(voided, arrived);
    ledger_totals_t totals;
    ledger_totals(voided, &totals);
    assert_true(totals.relations > 0);
    assert_true(totals.users > 0);
    buffer_done(&payload);
    ledger_destroy(&voided);
    ledger_destroy(&arrived);
}

/* Goal: the same signals, applied twice, are two: the ledger counts what it is told to. */
static void test_ledger_order_repeated_batches_count_twice(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    signal_event_t event = {{7}, {3}, LEDGER_SUPPORT_NOW_NS, 1.0, 1};
    ledger_support_apply(ledger, &event, 1);
    ledger_support_apply(ledger, &event, 1);
    assert_int_equal(
        ledger_count(ledger, (item_id_t){7}, 1, WINDOW_ALL, LEDGER_SUPPORT_NOW_NS, NULL), 2);
    ledger_destroy(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger_order_permutations_give_equal_states),
        cmocka_unit_test(test_ledger_order_batching_leaves_no_trace),
        cmocka_unit_test(test_ledger_order_voiding_all_leaves_newest_times),
        cmocka_unit_test(test_ledger_order_void_leaves_registers),
        cmocka_unit_test(test_ledger_order_repeated_batches_count_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
