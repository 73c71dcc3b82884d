/* The list of operations that a store takes. */
#include "common/base/prng.h"
#include "common/base/store_batch.h"
#include "tests/unit/store_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Walks the batch and writes "+key=value " or "-key " for each operation. */
static void s_render(const store_batch_t *batch, char *ret_text, size_t size)
{
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    size_t used = 0;
    ret_text[0] = '\0';
    while (store_batch_next(batch, &cursor, &operation)) {
        bool is_put = operation.kind == STORE_OPERATION_PUT;
        int length =
            snprintf(ret_text + used, size - used, "%s%.*s%s%.*s ", is_put ? "+" : "-",
                     (int)operation.key.size, (const char *)operation.key.data, is_put ? "=" : "",
                     (int)operation.value.size, (const char *)operation.value.data);
        assert_true(length > 0 && (size_t)length < size - used);
        used += (size_t)length;
    }
}

static void s_put(store_batch_t *batch, const char *key, const char *value)
{
    store_batch_put(batch, store_text(key), store_text(value));
}

/* Goal: nothing in, nothing out, also sorted. Method: walk a new batch. */
static void test_store_batch_empty_walks_nothing(void **state)
{
    (void)state;
    store_batch_t *batch = store_batch_new();
    char text[64];
    s_render(batch, text, sizeof(text));
    assert_string_equal(text, "");
    store_batch_sort(batch);
    s_render(batch, text, sizeof(text));
    assert_string_equal(text, "");
    assert_int_equal(store_batch_count(batch), 0);
    store_batch_destroy(&batch);
    assert_null(batch);
    store_batch_destroy(&batch);
}

/* Goal: a walk gives the operations as they came. Method: puts, a delete, an empty value. */
static void test_store_batch_unsorted_walks_in_order_of_puts(void **state)
{
    (void)state;
    store_batch_t *batch = store_batch_new();
    s_put(batch, "b", "1");
    store_batch_delete(batch, store_text("a"));
    s_put(batch, "b", "");
    char text[64];
    s_render(batch, text, sizeof(text));
    assert_string_equal(text, "+b=1 -a +b= ");
    assert_int_equal(store_batch_count(batch), 3);
    store_batch_destroy(&batch);
}

/* Goal: sorted, each key once, the last one wins. Method: keys that share all but the end, one the
 * prefix of another, one with a zero byte behind, overwritten and deleted. */
static void test_store_batch_sorted_walks_keys_once_in_order(void **state)
{
    (void)state;
    store_batch_t *batch = store_batch_new();
    s_put(batch, "prefix-longer-than-eight-b", "1");
    s_put(batch, "prefix-longer-than-eight-bb", "2");
    s_put(batch, "prefix-longer-than-eight-", "3");
    s_put(batch, "prefix-longer-than-eight-a-and-more-than-eight-x", "4");
    s_put(batch, "prefix-longer-than-eight-a-and-more-than-eight-w", "5");
    s_put(batch, "prefix-longer-than-eight-b", "6");
    store_batch_delete(batch, store_text("prefix-longer-than-eight-bb"));
    store_batch_put(batch, slice_make("prefix-longer-than-eight-\0", 26), store_text("7"));
    store_batch_sort(batch);
    char text[512];
    s_render(batch, text, sizeof(text));
    assert_string_equal(text, "+prefix-longer-than-eight-=3 +prefix-longer-than-eight-=7 "
                              "+prefix-longer-than-eight-a-and-more-than-eight-w=5 "
                              "+prefix-longer-than-eight-a-and-more-than-eight-x=4 "
                              "+prefix-longer-than-eight-b=6 -prefix-longer-than-eight-bb ");
    assert_int_equal(store_batch_count(batch), 8);
    store_batch_destroy(&batch);
}

/* Goal: a put behind a sort is walked, and sorted again. Method: sort, put, walk, sort, walk. */
static void test_store_batch_put_behind_sort_is_seen(void **state)
{
    (void)state;
    store_batch_t *batch = store_batch_new();
    s_put(batch, "b", "1");
    store_batch_sort(batch);
    s_put(batch, "a", "2");
    char text[64];
    s_render(batch, text, sizeof(text));
    assert_string_equal(text, "+b=1 +a=2 ");
    store_batch_sort(batch);
    s_render(batch, text, sizeof(text));
    assert_string_equal(text, "+a=2 +b=1 ");
    store_batch_destroy(&batch);
}

/* Goal: the value written through the pointer is the value. Method: reserve, write, walk. */
static void test_store_batch_reserved_value_is_kept(void **state)
{
    (void)state;
    store_batch_t *batch = store_batch_new();
    for (int i = 0; i < 100; i++) {
        uint8_t *value = store_batch_reserve_put(batch, store_text("key"), 300);
        (void)memset(value, i, 300);
    }
    store_batch_sort(batch);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    assert_true(store_batch_next(batch, &cursor, &operation));
    assert_int_equal(operation.value.size, 300);
    assert_int_equal(operation.value.data[0], 99);
    assert_int_equal(operation.value.data[299], 99);
    assert_false(store_batch_next(batch, &cursor, &operation));
    store_batch_destroy(&batch);
}

/* Goal: the longest key and the smallest pass. Method: put both, sort, compare. */
static void test_store_batch_key_limits_are_kept(void **state)
{
    (void)state;
    uint8_t key[STORE_KEY_SIZE_MAX];
    (void)memset(key, 'k', sizeof(key));
    store_batch_t *batch = store_batch_new();
    store_batch_put(batch, slice_make(key, sizeof(key)), store_text("long"));
    store_batch_put(batch, slice_make(key, 1), store_text("short"));
    store_batch_sort(batch);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    assert_true(store_batch_next(batch, &cursor, &operation));
    assert_true(slice_equal(operation.value, store_text("short")));
    assert_true(store_batch_next(batch, &cursor, &operation));
    assert_int_equal(operation.key.size, STORE_KEY_SIZE_MAX);
    store_batch_destroy(&batch);
}

enum { RANDOM_KEY_SIZE_MAX = 12, RANDOM_PUT_COUNT = 20000 };

/* A random key of bytes 0x00 and 0xff; returns its name: its size and its bits. */
static size_t s_random_key(prng_t *prng, uint8_t ret_key[RANDOM_KEY_SIZE_MAX])
{
    size_t size = 1 + prng_below(prng, RANDOM_KEY_SIZE_MAX);
    size_t name = size << RANDOM_KEY_SIZE_MAX;
    for (size_t i = 0; i < size; i++) {
        size_t bit = prng_below(prng, 2);
        ret_key[i] = (uint8_t)(0xff * bit);
        name |= bit << i;
    }
    return name;
}

static bool s_is_below(slice_t a, slice_t b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    return order < 0 || (order == 0 && a.size < b.size);
}

/* Goal: the order is that of unsigned bytes for any keys. Method: 20,000 random short keys of few
 * different bytes; each key above the one before it, and the last put of it wins. */
static void test_store_batch_random_keys_sort_as_bytes(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 7);
    store_batch_t *batch = store_batch_new();
    uint32_t *last_put = calloc((size_t)2 * RANDOM_KEY_SIZE_MAX << RANDOM_KEY_SIZE_MAX, 4);
    assert_non_null(last_put);
    for (uint32_t i = 0; i < RANDOM_PUT_COUNT; i++) {
        uint8_t key[RANDOM_KEY_SIZE_MAX];
        size_t name = s_random_key(&prng, key);
        uint8_t value[8];
        bytes_put_u32(value, i);
        bytes_put_u32(value + 4, (uint32_t)name);
        store_batch_put(batch, slice_make(key, name >> RANDOM_KEY_SIZE_MAX),
                        slice_make(value, sizeof(value)));
        last_put[name] = i;
    }
    store_batch_sort(batch);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    slice_t before = {NULL, 0};
    while (store_batch_next(batch, &cursor, &operation)) {
        assert_true(s_is_below(before, operation.key));
        assert_int_equal(bytes_get_u32(operation.value.data),
                         last_put[bytes_get_u32(operation.value.data + 4)]);
        before = operation.key;
    }
    free(last_put);
    store_batch_destroy(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_batch_empty_walks_nothing),
        cmocka_unit_test(test_store_batch_unsorted_walks_in_order_of_puts),
        cmocka_unit_test(test_store_batch_sorted_walks_keys_once_in_order),
        cmocka_unit_test(test_store_batch_put_behind_sort_is_seen),
        cmocka_unit_test(test_store_batch_reserved_value_is_kept),
        cmocka_unit_test(test_store_batch_key_limits_are_kept),
        cmocka_unit_test(test_store_batch_random_keys_sort_as_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
