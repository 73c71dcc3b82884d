/* What the store in memory adds for the simulation: crash, hold, failure. The contract that it
 * shares with LMDB is tested in test_store_contract.c. */
#include "common/base/store_batch.h"
#include "common/store/store_memory.h"
#include "tests/unit/store_folder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static err_t s_submit(const store_t *store, const char *key, const char *value)
{
    store_batch_t *batch = store_batch_new();
    store_batch_put(batch, store_text(key), store_text(value));
    err_t err = store->submit(store->context, &batch, NULL);
    store_batch_destroy(&batch);
    return err;
}

/* Goal: a crash keeps what was complete and loses what was not, whole. Method: one batch polled,
 * one only submitted, crash. */
static void test_store_memory_crash_drops_incomplete_batch(void **state)
{
    (void)state;
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    assert_int_equal(s_submit(&store, "a", "1"), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    assert_int_equal(s_submit(&store, "a", "2"), ERR_OK);
    assert_true(store_holds(&store, "a", "1"));
    store_memory_crash(memory);
    assert_true(store_holds(&store, "a", "1"));
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    assert_int_equal(s_submit(&store, "a", "3"), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    assert_true(store_holds(&store, "a", "3"));
    store_memory_destroy(&memory);
}

/* Goal: a batch that was complete but not reported survives. Method: complete, crash, look. */
static void test_store_memory_crash_keeps_unreported_batch(void **state)
{
    (void)state;
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    assert_int_equal(s_submit(&store, "a", "1"), ERR_OK);
    store_memory_complete(memory);
    store_memory_crash(memory);
    assert_true(store_holds(&store, "a", "1"));
    store_memory_destroy(&memory);
}

/* Goal: while held nothing completes by itself. Method: poll twice, complete, poll. */
static void test_store_memory_held_waits_for_complete(void **state)
{
    (void)state;
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    store_memory_hold(memory, true);
    assert_int_equal(s_submit(&store, "a", "1"), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_AGAIN);
    assert_int_equal(store.poll(store.context, NULL), ERR_AGAIN);
    assert_int_equal(store_memory_pair_count(memory), 0);
    store_memory_complete(memory);
    assert_int_equal(s_submit(&store, "a", "2"), ERR_AGAIN);
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    assert_true(store_holds(&store, "a", "1"));
    store_memory_destroy(&memory);
}

/* Goal: a full disk passes, nothing of the batch is there. Method: fail one batch, submit again. */
static void test_store_memory_disk_full_passes(void **state)
{
    (void)state;
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    store_memory_fail_next(memory, ERR_DISK_FULL);
    assert_int_equal(s_submit(&store, "a", "1"), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_DISK_FULL);
    assert_int_equal(store_memory_pair_count(memory), 0);
    assert_int_equal(s_submit(&store, "a", "2"), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    assert_true(store_holds(&store, "a", "2"));
    store_memory_destroy(&memory);
}

/* Goal: any other failure is for good, until the process starts again. Method: fail, submit, crash,
 * submit. */
static void test_store_memory_io_error_is_for_good(void **state)
{
    (void)state;
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    store_memory_fail_next(memory, ERR_IO);
    assert_int_equal(s_submit(&store, "a", "1"), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_IO);
    assert_int_equal(s_submit(&store, "a", "2"), ERR_IO);
    store_memory_crash(memory);
    assert_int_equal(s_submit(&store, "a", "3"), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    store_memory_destroy(&memory);
}

/* Goal: the size is what keys and values have. Method: put, overwrite, delete. */
static void test_store_memory_size_follows_changes(void **state)
{
    (void)state;
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    assert_int_equal(s_submit(&store, "key", "12345"), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    assert_int_equal(store_memory_size_bytes(memory), 8);
    assert_int_equal(s_submit(&store, "key", "1"), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    assert_int_equal(store_memory_size_bytes(memory), 4);
    store_batch_t *batch = store_batch_new();
    store_batch_delete(batch, store_text("key"));
    assert_int_equal(store.submit(store.context, &batch, NULL), ERR_OK);
    assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    assert_int_equal(store_memory_size_bytes(memory), 0);
    assert_int_equal(store_memory_pair_count(memory), 0);
    store_memory_destroy(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_memory_crash_drops_incomplete_batch),
        cmocka_unit_test(test_store_memory_crash_keeps_unreported_batch),
        cmocka_unit_test(test_store_memory_held_waits_for_complete),
        cmocka_unit_test(test_store_memory_disk_full_passes),
        cmocka_unit_test(test_store_memory_io_error_is_for_good),
        cmocka_unit_test(test_store_memory_size_follows_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
