/* Sessions in a checkpoint: the same book again, only what changed, and no byte believed. */
#include "common/base/check.h"
#include "tests/unit/session_support.h"

#include "common/base/prng.h"
#include "common/session/session_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Three sessions: open with signals of two regions and one void, closed, known by a signal alone. */
static session_book_t *s_filled(void)
{
    session_book_t *book = session_test_book();
    const record_t records[] = {
        session_test_start(1, 0, "web"), session_test_signal(1, 1, 1, 5),
        session_test_signal(1, 2, 2, 6), session_test_start(2, 0, ""),
        session_test_close(2, 9, true),  session_test_signal(3, 4, 1, 5),
    };
    for (uint32_t i = 0; i < 6; i++) {
        session_test_apply(book, 1, 1 + i, &records[i], i == 2 ? SESSION_VOID : SESSION_COUNTED);
    }
    const record_t roaming = session_test_signal(1, 1, 1, 7);
    session_test_apply(book, 2, 1, &roaming, SESSION_COUNTED);
    return book;
}

/* How many entries the next checkpoint has. */
static uint64_t s_write(session_book_t *book)
{
    store_batch_t *batch = store_batch_new();
    session_book_checkpoint_write(book, batch, slice_make(NULL, 0));
    const uint64_t count = store_batch_count(batch);
    store_batch_destroy(&batch);
    return count;
}

/* Goal: a book made from a checkpoint is the same, open sessions included, and goes on alike. */
static void test_session_checkpoint_gives_the_same_book(void **state)
{
    (void)state;
    session_book_t *book = s_filled();
    session_book_t *loaded = session_test_reload(book);
    session_test_expect_equal(book, loaded);
    assert_int_equal(session_book_open_count(loaded), 1);
    assert_int_equal(session_book_changed_count(loaded), 0);
    const record_t next = session_test_signal(1, 3, 3, 8);
    const record_t again = session_test_signal(1, 3, 2, 8); /* its number was void, and is taken */
    session_book_t *books[2] = {book, loaded};
    for (int i = 0; i < 2; i++) {
        session_test_apply(books[i], 1, 7, &next, SESSION_COUNTED);
        session_test_apply(books[i], 1, 8, &again, SESSION_COUNTED);
    }
    session_test_expect_equal(book, loaded);
    session_book_destroy(&loaded);
    session_book_destroy(&book);
}

/* Goal: only sessions that changed are written, and again when the store failed. */
static void test_session_checkpoint_writes_what_changed(void **state)
{
    (void)state;
    session_book_t *book = s_filled();
    assert_int_equal(session_book_changed_count(book), 3);
    assert_int_equal(s_write(book), 3);
    const record_t signal = session_test_signal(1, 3, 3, 8);
    session_test_apply(book, 1, 7, &signal, SESSION_COUNTED); /* while it is under way */
    session_book_checkpoint_settle(book, false);
    assert_int_equal(s_write(book), 3);
    session_book_checkpoint_settle(book, true);
    assert_int_equal(s_write(book), 0);
    session_book_checkpoint_settle(book, true);
    session_test_apply(book, 1, 7, &signal, SESSION_COUNTED); /* came before: nothing changes */
    assert_int_equal(session_book_changed_count(book), 0);
    session_test_void(book, 1, 7, &signal);
    assert_int_equal(s_write(book), 1);
    session_book_checkpoint_settle(book, true);
    session_book_destroy(&book);
}

static err_t s_load(slice_t key, slice_t value)
{
    errbuf_t errbuf;
    session_book_t *book = session_test_book();
    err_t err = session_book_load_entry(book, key, value, &errbuf);
    session_book_destroy(&book);
    return err;
}

/* The entry of session 1, exact in memory. */
static void s_take_entry(slice_t *ret_key, uint8_t **ret_value, size_t *ret_size)
{
    static uint8_t s_key[SESSION_ID_SIZE];
    session_book_t *book = s_filled();
    store_batch_t *batch = store_batch_new();
    session_id_t id = session_test_id(1);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    session_book_checkpoint_write(book, batch, slice_make(NULL, 0));
    store_batch_sort(batch);
    *ret_value = NULL;
    while (store_batch_next(batch, &cursor, &operation)) {
        if (memcmp(operation.key.data, id.bytes, SESSION_ID_SIZE) == 0) {
            *ret_size = operation.value.size;
            *ret_value = malloc(*ret_size);
            assert_non_null(*ret_value);
            memcpy(*ret_value, operation.value.data, *ret_size);
        }
    }
    assert_non_null(*ret_value);
    memcpy(s_key, id.bytes, SESSION_ID_SIZE);
    *ret_key = slice_make(s_key, SESSION_ID_SIZE);
    session_book_checkpoint_settle(book, true);
    store_batch_destroy(&batch);
    session_book_destroy(&book);
}

/* Goal: an entry that was cut, or grew, or has another version or key, is refused. */
static void test_session_checkpoint_malformed_entry_is_refused(void **state)
{
    (void)state;
    slice_t key;
    uint8_t *value = NULL;
    size_t size = 0;
    s_take_entry(&key, &value, &size);
    assert_int_equal(size, SESSION_VALUE_HEAD_SIZE + 3 +
                               2 * (SESSION_VALUE_ORIGIN_SIZE + SESSION_VALUE_INTERVAL_SIZE) +
                               2 * SESSION_VALUE_SIGNAL_SIZE);
    assert_int_equal(s_load(key, slice_make(value, size)), ERR_OK);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut + 1);
        assert_non_null(exact);
        memcpy(exact, value, cut);
        assert_int_equal(s_load(key, slice_make(exact, cut)), ERR_CORRUPT);
        free(exact);
    }
    assert_int_equal(s_load(slice_make(key.data, key.size - 1), slice_make(value, size)),
                     ERR_CORRUPT);
    value[0] = 2;
    assert_int_equal(s_load(key, slice_make(value, size)), ERR_UNSUPPORTED);
    value[0] = 1;
    value[38] = 3; /* an origin more than there are */
    assert_int_equal(s_load(key, slice_make(value, size)), ERR_CORRUPT);
    free(value);
}

/* Goal: whatever the bytes are, they load or are refused. Method: bits flipped at random; the
 * sanitizer build sees what goes wrong. */
static void test_session_checkpoint_flipped_bits_harm_nothing(void **state)
{
    (void)state;
    enum { S_ROUNDS = 20000 };
    slice_t key;
    uint8_t *value = NULL;
    size_t size = 0;
    prng_t prng;
    prng_init(&prng, 5);
    s_take_entry(&key, &value, &size);
    CHECK(value != NULL && size > 0);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < S_ROUNDS; i++) {
        uint64_t bits[2] = {prng_below(&prng, size * 8), prng_below(&prng, size * 8)};
        value[bits[0] / 8] ^= (uint8_t)(1u << (bits[0] % 8));
        value[bits[1] / 8] ^= (uint8_t)(1u << (bits[1] % 8));
        refused += s_load(key, slice_make(value, size)) != ERR_OK ? 1 : 0;
        value[bits[0] / 8] ^= (uint8_t)(1u << (bits[0] % 8));
        value[bits[1] / 8] ^= (uint8_t)(1u << (bits[1] % 8));
    }
    assert_true(refused > S_ROUNDS / 4 && refused < S_ROUNDS);
    free(value);
}

/* Goal: two books that differ are told apart session by session. */
static void s_count(void *context, slice_t key, slice_t value_a, slice_t value_b)
{
    uint32_t *counts = context;
    assert_int_equal(key.size, SESSION_ID_SIZE);
    counts[value_a.size == 0 ? 0 : value_b.size == 0 ? 1 : 2]++;
}

static void test_session_book_compare_names_each_difference(void **state)
{
    (void)state;
    session_book_t *a = s_filled();
    session_book_t *b = s_filled();
    const record_t only_a = session_test_start(10, 0, "");
    const record_t only_b = session_test_start(11, 0, "");
    const record_t other = session_test_close(1, 50, false);
    session_test_apply(a, 1, 20, &only_a, SESSION_COUNTED);
    session_test_apply(b, 1, 20, &only_b, SESSION_COUNTED);
    session_test_apply(b, 1, 21, &other, SESSION_COUNTED);
    uint32_t counts[3] = {0};
    assert_int_equal(session_book_compare(a, b, s_count, counts), 3);
    assert_true(counts[0] == 1 && counts[1] == 1 && counts[2] == 1);
    session_book_destroy(&a);
    session_book_destroy(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_checkpoint_gives_the_same_book),
        cmocka_unit_test(test_session_checkpoint_writes_what_changed),
        cmocka_unit_test(test_session_checkpoint_malformed_entry_is_refused),
        cmocka_unit_test(test_session_checkpoint_flipped_bits_harm_nothing),
        cmocka_unit_test(test_session_book_compare_names_each_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
