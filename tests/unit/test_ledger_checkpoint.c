/* Checkpoints: incremental, complete, strict on reading, and nothing lost when one fails. */
#include "common/base/store_batch.h"
#include "common/signal/checkpoint_format.h"
#include "tests/unit/ledger_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const char s_prefix[] = "T1/";
enum { PREFIX_SIZE = 3 };

static ledger_t *s_new(void)
{
    static schema_t s_schema;
    schema_init_default(&s_schema);
    return ledger_new(&s_schema);
}

/* -- a store: all operations that were ever committed; of one key the last one holds ----------- */

static void s_commit(store_batch_t *disk, const store_batch_t *batch)
{
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    while (store_batch_next(batch, &cursor, &operation)) {
        if (operation.kind == STORE_OPERATION_PUT) {
            store_batch_put(disk, operation.key, operation.value);
        } else {
            store_batch_delete(disk, operation.key);
        }
    }
}

/* Writes a checkpoint that becomes durable; returns how many operations it took. */
static size_t s_checkpoint(ledger_t *ledger, store_batch_t *disk)
{
    store_batch_t *batch = store_batch_new();
    ledger_checkpoint_write(ledger, batch, slice_make(s_prefix, PREFIX_SIZE));
    size_t count = store_batch_count(batch);
    s_commit(disk, batch);
    ledger_checkpoint_settle(ledger, true);
    store_batch_destroy(&batch);
    return count;
}

/* Loads everything in key order. */
static ledger_t *s_load(store_batch_t *disk)
{
    ledger_t *ledger = s_new();
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    store_batch_sort(disk);
    while (store_batch_next(disk, &cursor, &operation)) {
        if (operation.kind == STORE_OPERATION_DELETE) {
            continue;
        }
        assert_memory_equal(operation.key.data, s_prefix, PREFIX_SIZE);
        slice_t key = {operation.key.data + PREFIX_SIZE, operation.key.size - PREFIX_SIZE};
        errbuf_t errbuf = {""};
        err_t err = ledger_load_entry(ledger, key, operation.value, &errbuf);
        if (err != ERR_OK) {
            print_error("%s\n", errbuf.text);
        }
        assert_int_equal(err, ERR_OK);
    }
    return ledger;
}

static void s_apply_random(ledger_t *ledger, prng_t *prng, const ledger_support_range_t *range)
{
    enum { COUNT = 10 };
    ledger_support_batch_t batches[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        ledger_support_batch_init(&batches[i], prng, range);
    }
    ledger_support_apply_shuffled(ledger, prng, batches, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        ledger_support_batch_done(&batches[i]);
    }
}

/* What the store gives back is the ledger, totals included. */
static ledger_t *s_check_reload(ledger_t *ledger, store_batch_t *disk)
{
    ledger_t *loaded = s_load(disk);
    assert_int_equal(ledger_changed_count(loaded), 0);
    ledger_support_assert_equal(ledger, loaded);
    ledger_totals_t totals[2];
    ledger_totals(ledger, &totals[0]);
    ledger_totals(loaded, &totals[1]);
    assert_int_equal(totals[0].signals, totals[1].signals);
    assert_int_equal(totals[0].seen_pairs, totals[1].seen_pairs);
    assert_int_equal(totals[0].items, totals[1].items);
    return loaded;
}

static void s_check_increments(prng_t *prng, const ledger_support_range_t *range)
{
    ledger_t *ledger = s_new();
    store_batch_t *disk = store_batch_new();
    for (unsigned round = 0; round < 30; round++) {
        s_apply_random(ledger, prng, range);
        (void)s_checkpoint(ledger, disk);
        assert_int_equal(ledger_changed_count(ledger), 0);
        ledger_t *loaded = s_check_reload(ledger, disk);
        if (round % 7 == 3) {
            ledger_t *swapped = ledger; /* go on with what was loaded */
            ledger = loaded;
            loaded = swapped;
        }
        ledger_destroy(&loaded);
    }
    store_batch_destroy(&disk);
    ledger_destroy(&ledger);
}

/* Goal: after each of many incremental checkpoints the store holds exactly the state; the loaded
 * ledger goes on like the original. Method: 60 rounds of random batches with voids, a reload after
 * each. */
static void test_ledger_checkpoint_increments_hold_the_state(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 41);
    s_check_increments(&prng, &(ledger_support_range_t){40, 20, 20000, 5});
    s_check_increments(&prng, &(ledger_support_range_t){500, 400, 300000, 5});
}

/* A whole checkpoint without the chunks of seen pairs, in key order. */
static void s_checkpoint_bytes(ledger_t *ledger, buffer_t *ret_bytes)
{
    store_batch_t *batch = store_batch_new();
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    ledger_checkpoint_write(ledger, batch, slice_make(NULL, 0));
    ledger_checkpoint_settle(ledger, true);
    store_batch_sort(batch);
    while (store_batch_next(batch, &cursor, &operation)) {
        if (operation.key.data[0] != CHECKPOINT_KEY_SEEN_CHUNK) {
            buffer_append(ret_bytes, operation.key.data, operation.key.size);
            buffer_append(ret_bytes, operation.value.data, operation.value.size);
        }
    }
    store_batch_destroy(&batch);
}

/* Goal: permutations of the same records give the same checkpoint, byte by byte, but for how seen
 * pairs are cut into chunks; those come to the same pairs. */
static void test_ledger_checkpoint_bytes_do_not_depend_on_order(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static ledger_support_batch_t s_batches[COUNT];
    static const ledger_support_range_t s_range = {60, 30, 50000, 5};
    prng_t prng;
    prng_init(&prng, 42);
    for (unsigned i = 0; i < COUNT; i++) {
        ledger_support_batch_init(&s_batches[i], &prng, &s_range);
    }
    ledger_t *ledgers[2] = {s_new(), s_new()};
    buffer_t bytes[2] = {{0}, {0}};
    for (unsigned l = 0; l < 2; l++) {
        ledger_support_apply_shuffled(ledgers[l], &prng, s_batches, COUNT);
        s_checkpoint_bytes(ledgers[l], &bytes[l]);
    }
    assert_true(bytes[0].size > 1000);
    assert_int_equal(bytes[0].size, bytes[1].size);
    assert_memory_equal(bytes[0].data, bytes[1].data, bytes[0].size);
    ledger_support_assert_equal(ledgers[0], ledgers[1]);
    for (unsigned l = 0; l < 2; l++) {
        buffer_done(&bytes[l]);
        ledger_destroy(&ledgers[l]);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        ledger_support_batch_done(&s_batches[i]);
    }
}

/* Goal: only what changed is written: an idle checkpoint is empty, one signal costs one cell and
 * one chunk. */
static void test_ledger_checkpoint_writes_only_changes(void **state)
{
    (void)state;
    static const ledger_support_range_t s_range = {100, 50, 1000, 5};
    prng_t prng;
    prng_init(&prng, 43);
    ledger_t *ledger = s_new();
    store_batch_t *disk = store_batch_new();
    s_apply_random(ledger, &prng, &s_range);
    assert_true(s_checkpoint(ledger, disk) > 10);
    assert_int_equal(s_checkpoint(ledger, disk), 0);
    signal_event_t event = {{5}, {6}, LEDGER_SUPPORT_NOW_NS, 1.0, 1};
    ledger_support_apply(ledger, &event, 1);
    ledger_support_apply(ledger, &event, 1);
    assert_int_equal(ledger_changed_count(ledger), 2);
    assert_int_equal(s_checkpoint(ledger, disk), 2);
    store_batch_destroy(&disk);
    ledger_destroy(&ledger);
}

/* Goal: a batch that failed leaves the store as it was and is written again with what changed
 * since; changes made while a checkpoint is open are not lost. Method: random failures, a reload
 * after each success, parts rewritten many times. */
static void test_ledger_checkpoint_failures_lose_nothing(void **state)
{
    (void)state;
    static const ledger_support_range_t s_range = {30, 30, 1000, 5};
    prng_t prng;
    prng_init(&prng, 44);
    ledger_t *ledger = s_new();
    store_batch_t *disk = store_batch_new();
    for (unsigned round = 0; round < 80; round++) {
        s_apply_random(ledger, &prng, &s_range);
        if (prng_chance(&prng, 0.1)) {
            ledger_mark_all(ledger);
        }
        store_batch_t *batch = store_batch_new();
        ledger_checkpoint_write(ledger, batch, slice_make(s_prefix, PREFIX_SIZE));
        ledger_digest_t written;
        ledger_digest(ledger, &written);
        s_apply_random(ledger, &prng, &s_range);
        bool durable = prng_chance(&prng, 0.5);
        if (durable) {
            s_commit(disk, batch);
        }
        ledger_checkpoint_settle(ledger, durable);
        assert_true(ledger_changed_count(ledger) > 0);
        if (durable) {
            ledger_digest_t loaded_digest;
            ledger_t *loaded = s_load(disk);
            ledger_digest(loaded, &loaded_digest);
            assert_memory_equal(&loaded_digest, &written, sizeof(written));
            ledger_destroy(&loaded);
        }
        store_batch_destroy(&batch);
    }
    store_batch_destroy(&disk);
    ledger_destroy(&ledger);
}

/* Goal: chunks of seen pairs do not pile up: a part is written anew when most of its records are
 * overwritten. Method: the same 20,000 pairs change in each of 30 checkpoints. */
static void test_ledger_checkpoint_seen_chunks_stay_bounded(void **state)
{
    (void)state;
    enum { PAIR_COUNT = 20000, STEP = 5000 };
    static signal_event_t s_events[PAIR_COUNT];
    for (unsigned i = 0; i < PAIR_COUNT; i++) {
        s_events[i] = (signal_event_t){{1 + i % 100}, {1 + i / 100}, LEDGER_SUPPORT_NOW_NS, 1.0, 1};
    }
    ledger_t *ledger = s_new();
    store_batch_t *disk = store_batch_new();
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = 0; i < PAIR_COUNT; i += STEP) {
            ledger_support_apply(ledger, &s_events[i], STEP);
        }
        (void)s_checkpoint(ledger, disk);
    }
    store_batch_sort(disk);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    size_t size = 0;
    while (store_batch_next(disk, &cursor, &operation)) {
        if (operation.key.data[PREFIX_SIZE] == CHECKPOINT_KEY_SEEN_CHUNK) {
            size += operation.value.size;
        }
    }
    /* 4,096 records per part are not worth rewriting; a record here has at most 5 bytes. */
    assert_true(size < 64 * (size_t)(4096 + PAIR_COUNT / 64 * 3) * 5);
    ledger_t *loaded = s_load(disk);
    ledger_support_assert_equal(ledger, loaded);
    ledger_destroy(&loaded);
    store_batch_destroy(&disk);
    ledger_destroy(&ledger);
}

/* Goal: a whole rewrite, for a store that has nothing, holds everything. */
static void test_ledger_checkpoint_mark_all_writes_everything(void **state)
{
    (void)state;
    static const ledger_support_range_t s_range = {100, 50, 10000, 5};
    prng_t prng;
    prng_init(&prng, 45);
    ledger_t *ledger = s_new();
    store_batch_t *lost = store_batch_new();
    store_batch_t *disk = store_batch_new();
    s_apply_random(ledger, &prng, &s_range);
    (void)s_checkpoint(ledger, lost);
    s_apply_random(ledger, &prng, &s_range);
    ledger_mark_all(ledger);
    (void)s_checkpoint(ledger, disk);
    ledger_t *loaded = s_load(disk);
    ledger_support_assert_equal(ledger, loaded);
    ledger_destroy(&loaded);
    store_batch_destroy(&lost);
    store_batch_destroy(&disk);
    ledger_destroy(&ledger);
}

static err_t s_load_walked(void *context, slice_t key, slice_t value)
{
    return ledger_load_entry(context, key, value, NULL);
}

/* Goal: the entries of a walk make up the state as well, in the order of the walk. */
static void test_ledger_checkpoint_walked_entries_make_the_state(void **state)
{
    (void)state;
    static const ledger_support_range_t s_range = {100, 50, 10000, 5};
    prng_t prng;
    prng_init(&prng, 46);
    ledger_t *ledger = s_new();
    ledger_t *copy = s_new();
    for (unsigned i = 0; i < 10; i++) {
        s_apply_random(ledger, &prng, &s_range);
    }
    assert_int_equal(ledger_walk(ledger, s_load_walked, copy), ERR_OK);
    ledger_support_assert_equal(ledger, copy);
    ledger_destroy(&copy);
    ledger_destroy(&ledger);
}

/* Every operation of a whole checkpoint, for damaging. */
static store_batch_t *s_sample(prng_t *prng)
{
    static const ledger_support_range_t s_range = {6, 5, 3000, 1};
    ledger_t *ledger = s_new();
    store_batch_t *batch = store_batch_new();
    s_apply_random(ledger, prng, &s_range);
    ledger_checkpoint_write(ledger, batch, slice_make(NULL, 0));
    ledger_checkpoint_settle(ledger, true);
    ledger_destroy(&ledger);
    return batch;
}

/* Loads one entry into an empty ledger. What is accepted must be there, or be a chunk. */
static void s_check_damaged(const uint8_t *key, size_t key_size, slice_t value)
{
    ledger_t *ledger = s_new();
    errbuf_t errbuf = {""};
    err_t err = ledger_load_entry(ledger, slice_make(key, key_size), value, &errbuf);
    if (err == ERR_OK && key[0] != CHECKPOINT_KEY_SEEN_CHUNK) {
        buffer_t found = {0};
        assert_int_equal(ledger_get_entry(ledger, slice_make(key, key_size), &found), ERR_OK);
        assert_true(slice_equal(buffer_slice(&found), value));
        buffer_done(&found);
    }
    if (err != ERR_OK) {
        assert_true(err == ERR_CORRUPT || err == ERR_UNSUPPORTED);
        assert_non_null(strstr(errbuf.text, "checkpoint: "));
    }
    ledger_destroy(&ledger);
}

/* Goal: damaged entries are refused with a message, or are other sound entries; nothing breaks.
 * Method: every bit of keys and values of a whole checkpoint flipped, and every truncation of both.
 */
static void test_ledger_checkpoint_damaged_entries_are_refused(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 47);
    store_batch_t *batch = s_sample(&prng);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    static uint8_t s_value[CELL_VALUE_SIZE_MAX];
    uint8_t key[STORE_KEY_SIZE_MAX];
    while (store_batch_next(batch, &cursor, &operation)) {
        size_t size = operation.value.size;
        (void)memcpy(key, operation.key.data, operation.key.size);
        (void)memcpy(s_value, operation.value.data, size);
        for (size_t bit = 0; bit < 8 * operation.key.size; bit++) {
            key[bit / 8] ^= (uint8_t)(1U << bit % 8);
            s_check_damaged(key, operation.key.size, slice_make(s_value, size));
            key[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        for (size_t bit = 0; bit < 8 * size; bit++) {
            s_value[bit / 8] ^= (uint8_t)(1U << bit % 8);
            s_check_damaged(key, operation.key.size, slice_make(s_value, size));
            s_value[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        for (size_t cut = 0; cut < size; cut++) {
            s_check_damaged(key, operation.key.size, slice_make(s_value, cut));
        }
        for (size_t cut = 0; cut < operation.key.size; cut++) {
            s_check_damaged(key, cut, slice_make(s_value, size));
        }
    }
    store_batch_destroy(&batch);
}

/* Goal: an entry that is there already is refused. */
static void test_ledger_checkpoint_repeated_entries_are_refused(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 48);
    store_batch_t *batch = s_sample(&prng);
    store_batch_sort(batch);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    ledger_t *ledger = s_new();
    while (store_batch_next(batch, &cursor, &operation)) {
        assert_int_equal(ledger_load_entry(ledger, operation.key, operation.value, NULL), ERR_OK);
        assert_int_equal(ledger_load_entry(ledger, operation.key, operation.value, NULL),
                         ERR_CORRUPT);
    }
    ledger_destroy(&ledger);
    store_batch_destroy(&batch);
}

/* Goal: a cell of a signal that the schema does not have is told apart from damage. */
static void test_ledger_checkpoint_unknown_signal_is_unsupported(void **state)
{
    (void)state;
    ledger_t *ledger = s_new();
    uint8_t key[CHECKPOINT_CELL_KEY_SIZE] = {CHECKPOINT_KEY_CELL, 0, 0, 0, 0, 0, 0, 0, 7, 5};
    uint8_t value[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    errbuf_t errbuf = {""};
    assert_int_equal(ledger_load_entry(ledger, slice_make(key, sizeof(key)),
                                       slice_make(value, sizeof(value)), &errbuf),
                     ERR_UNSUPPORTED);
    assert_string_equal(errbuf.text,
                        "checkpoint: cell item 7 signal 5: signal 5 is not in the schema");
    key[9] = 4;
    assert_int_equal(ledger_load_entry(ledger, slice_make(key, sizeof(key)),
                                       slice_make(value, sizeof(value)), &errbuf),
                     ERR_OK);
    ledger_destroy(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger_checkpoint_increments_hold_the_state),
        cmocka_unit_test(test_ledger_checkpoint_bytes_do_not_depend_on_order),
        cmocka_unit_test(test_ledger_checkpoint_writes_only_changes),
        cmocka_unit_test(test_ledger_checkpoint_failures_lose_nothing),
        cmocka_unit_test(test_ledger_checkpoint_seen_chunks_stay_bounded),
        cmocka_unit_test(test_ledger_checkpoint_mark_all_writes_everything),
        cmocka_unit_test(test_ledger_checkpoint_walked_entries_make_the_state),
        cmocka_unit_test(test_ledger_checkpoint_damaged_entries_are_refused),
        cmocka_unit_test(test_ledger_checkpoint_repeated_entries_are_refused),
        cmocka_unit_test(test_ledger_checkpoint_unknown_signal_is_unsupported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
