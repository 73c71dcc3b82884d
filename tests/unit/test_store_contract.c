/* The contract of store_t (seam.h), the same tests for LMDB and for memory. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/base/store_batch.h"
#include "common/store/store_lmdb.h"
#include "common/store/store_memory.h"
#include "tests/unit/store_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* One of the two stores, behind the seam. */
typedef struct {
    store_folder_t folder;
    store_lmdb_t *lmdb;
    store_memory_t *memory;
    store_t store;
    int event_fd;
} subject_t;

static int s_setup_memory(void **state)
{
    subject_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->memory = store_memory_new();
    self->store = store_memory_store(self->memory);
    self->event_fd = -1;
    *state = self;
    return 0;
}

static int s_setup_lmdb(void **state)
{
    subject_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    store_folder_init(&self->folder);
    store_lmdb_options_t options = {.folder = self->folder.store};
    errbuf_t errbuf;
    err_t err = store_lmdb_open(&options, &self->lmdb, &errbuf);
    CHECK(err == ERR_OK);
    self->store = store_lmdb_store(self->lmdb);
    self->event_fd = store_lmdb_event_fd(self->lmdb);
    *state = self;
    return 0;
}

static int s_teardown(void **state)
{
    subject_t *self = *state;
    if (self->lmdb != NULL) {
        store_lmdb_close(&self->lmdb);
        store_folder_done(&self->folder);
    }
    store_memory_destroy(&self->memory);
    free(self);
    return 0;
}

static void s_submit(const subject_t *self, store_batch_t **batch_p)
{
    errbuf_t errbuf;
    assert_int_equal(self->store.submit(self->store.context, batch_p, &errbuf), ERR_OK);
    assert_null(*batch_p);
}

static void s_commit(const subject_t *self, store_batch_t **batch_p)
{
    s_submit(self, batch_p);
    assert_int_equal(store_await(&self->store, self->event_fd), ERR_OK);
}

static store_batch_t *s_batch_of(const char *key, const char *value)
{
    store_batch_t *batch = store_batch_new();
    store_batch_put(batch, store_text(key), store_text(value));
    return batch;
}

/* What a walk shows: "key=value " each; stops with ERR_END when the text would grow over its limit.
 */
typedef struct {
    char text[512];
    size_t count;
    size_t count_max;
} seen_t;

static err_t s_see(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    seen_t *seen = context;
    if (seen->count == seen->count_max) {
        return ERR_END;
    }
    size_t used = strlen(seen->text);
    (void)snprintf(seen->text + used, sizeof(seen->text) - used, "%.*s=%.*s ", (int)key_size,
                   (const char *)key, (int)value_size, (const char *)value);
    seen->count++;
    return ERR_OK;
}

static err_t s_walk(const subject_t *self, const char *prefix, seen_t *seen)
{
    errbuf_t errbuf;
    *seen = (seen_t){.count_max = seen->count_max};
    return self->store.walk(self->store.context, store_text(prefix).data, strlen(prefix), s_see,
                            seen, &errbuf);
}

/* Goal: an empty store answers. Method: walk, get and poll before anything was written. */
static void test_store_empty_has_nothing(void **state)
{
    const subject_t *self = *state;
    seen_t seen = {.count_max = 9};
    uint8_t value[4];
    size_t size = 77;
    errbuf_t errbuf;
    assert_int_equal(self->store.poll(self->store.context, &errbuf), ERR_OK);
    assert_int_equal(s_walk(self, "", &seen), ERR_OK);
    assert_string_equal(seen.text, "");
    assert_int_equal(self->store.get(self->store.context, store_text("a").data, 1, value,
                                     sizeof(value), &size, &errbuf),
                     ERR_NOT_FOUND);
    assert_int_equal(size, 77);
}

/* Goal: a second batch waits until the first was reported. Method: submit twice without poll. */
static void test_store_second_submit_is_refused_until_poll(void **state)
{
    const subject_t *self = *state;
    store_batch_t *first = s_batch_of("a", "1");
    store_batch_t *second = s_batch_of("a", "2");
    errbuf_t errbuf;
    s_submit(self, &first);
    assert_int_equal(self->store.submit(self->store.context, &second, &errbuf), ERR_AGAIN);
    assert_non_null(second);
    assert_int_equal(store_await(&self->store, self->event_fd), ERR_OK);
    assert_true(store_holds(&self->store, "a", "1"));
    s_commit(self, &second);
    assert_true(store_holds(&self->store, "a", "2"));
}

/* Goal: a value too long for the caller's buffer is refused, one that just fits is given. Method:
 * get five bytes with room for four, then five; an empty value with room for none. */
static void test_store_get_respects_room(void **state)
{
    const subject_t *self = *state;
    store_batch_t *batch = s_batch_of("a", "12345");
    store_batch_put(batch, store_text("empty"), store_text(""));
    s_commit(self, &batch);
    uint8_t value[5] = {0};
    size_t size = 77;
    errbuf_t errbuf;
    const uint8_t *key = store_text("a").data;
    void *context = self->store.context;
    assert_int_equal(self->store.get(context, key, 1, value, 4, &size, &errbuf), ERR_TOO_LARGE);
    assert_int_equal(size, 77);
    assert_int_equal(self->store.get(context, key, 1, value, 5, &size, &errbuf), ERR_OK);
    assert_int_equal(size, 5);
    assert_memory_equal(value, "12345", 5);
    key = store_text("empty").data;
    assert_int_equal(self->store.get(context, key, 5, NULL, 0, &size, &errbuf), ERR_OK);
    assert_int_equal(size, 0);
}

/* Goal: prefixes select, in key order. Method: neighbours just below and above the prefix, and the
 * prefix itself as a key. */
static void test_store_walk_shows_prefix_in_order(void **state)
{
    const subject_t *self = *state;
    store_batch_t *batch = s_batch_of("p2", "d");
    store_batch_put(batch, store_text("p1"), store_text("c"));
    store_batch_put(batch, store_text("p"), store_text("b"));
    store_batch_put(batch, store_text("o\xff"), store_text("a"));
    store_batch_put(batch, store_text("q"), store_text("e"));
    s_commit(self, &batch);
    seen_t seen = {.count_max = 9};
    assert_int_equal(s_walk(self, "p", &seen), ERR_OK);
    assert_string_equal(seen.text, "p=b p1=c p2=d ");
    assert_int_equal(s_walk(self, "", &seen), ERR_OK);
    assert_int_equal(seen.count, 5);
    assert_int_equal(s_walk(self, "p3", &seen), ERR_OK);
    assert_string_equal(seen.text, "");
    assert_int_equal(s_walk(self, "z", &seen), ERR_OK);
    assert_string_equal(seen.text, "");
}

/* Goal: the callback's error ends the walk and is returned. Method: stop at the third pair. */
static void test_store_walk_stops_at_error_of_callback(void **state)
{
    const subject_t *self = *state;
    store_batch_t *batch = s_batch_of("a", "1");
    store_batch_put(batch, store_text("b"), store_text("2"));
    store_batch_put(batch, store_text("c"), store_text("3"));
    s_commit(self, &batch);
    seen_t seen = {.count_max = 2};
    assert_int_equal(s_walk(self, "", &seen), ERR_END);
    assert_string_equal(seen.text, "a=1 b=2 ");
}

/* Goal: of several operations on one key the last wins, and a missing key is deleted in silence.
 * Method: put, delete, put; put, delete; delete of what never was. */
static void test_store_last_operation_on_key_wins(void **state)
{
    const subject_t *self = *state;
    store_batch_t *batch = s_batch_of("a", "1");
    store_batch_delete(batch, store_text("a"));
    store_batch_put(batch, store_text("a"), store_text("2"));
    store_batch_put(batch, store_text("b"), store_text("3"));
    store_batch_delete(batch, store_text("b"));
    store_batch_delete(batch, store_text("never"));
    s_commit(self, &batch);
    seen_t seen = {.count_max = 9};
    assert_int_equal(s_walk(self, "", &seen), ERR_OK);
    assert_string_equal(seen.text, "a=2 ");
}

/* Goal: a batch without operations is durable at once or later, and harmless. Method: commit it. */
static void test_store_empty_batch_is_ok(void **state)
{
    const subject_t *self = *state;
    store_batch_t *batch = store_batch_new();
    s_commit(self, &batch);
    assert_int_equal(self->store.poll(self->store.context, NULL), ERR_OK);
}

/* Goal: long keys and large values come back. Method: the limit of a key, and 1 MB of value. */
static void test_store_large_pairs_come_back(void **state)
{
    const subject_t *self = *state;
    uint8_t key[STORE_KEY_SIZE_MAX];
    (void)memset(key, 'k', sizeof(key));
    const size_t value_size = 1000000;
    uint8_t *value = malloc(value_size);
    assert_non_null(value);
    for (size_t i = 0; i < value_size; i++) {
        value[i] = (uint8_t)(i * 31);
    }
    store_batch_t *batch = store_batch_new();
    store_batch_put(batch, slice_make(key, sizeof(key)), slice_make(value, value_size));
    s_commit(self, &batch);
    uint8_t *found = calloc(value_size, 1);
    assert_non_null(found);
    size_t size = 0;
    errbuf_t errbuf;
    assert_int_equal(
        self->store.get(self->store.context, key, sizeof(key), found, value_size, &size, &errbuf),
        ERR_OK);
    assert_int_equal(size, value_size);
    assert_memory_equal(found, value, value_size);
    free(found);
    free(value);
}

enum { MODEL_KEY_COUNT = 2000 };

static void s_model_key(uint8_t ret_key[4], uint32_t number)
{
    /* Spread over the order, so that neighbours are inserted late. */
    bytes_put_u32(ret_key, number * 2654435761U);
}

/* Adds random puts and deletes to a batch and to the model (0: no such key). */
static void s_change(prng_t *prng, store_batch_t *batch, uint32_t *model)
{
    for (int i = 0; i < 200; i++) {
        uint32_t number = (uint32_t)prng_below(prng, MODEL_KEY_COUNT);
        uint8_t key[4];
        uint8_t value[4];
        s_model_key(key, number);
        model[number] = prng_chance(prng, 0.4) ? 0 : 1 + (uint32_t)prng_below(prng, 1 << 30);
        bytes_put_u32(value, model[number]);
        if (model[number] == 0) {
            store_batch_delete(batch, slice_make(key, 4));
        } else {
            store_batch_put(batch, slice_make(key, 4), slice_make(value, 4));
        }
    }
}

typedef struct {
    const uint32_t *model;
    size_t count;
    uint8_t before[4];
} comparison_t;

static err_t s_compare_pair(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    comparison_t *self = context;
    assert_int_equal(key_size, 4);
    assert_int_equal(value_size, 4);
    assert_true(self->count == 0 || memcmp(self->before, key, 4) < 0);
    (void)memcpy(self->before, key, 4);
    /* The inverse of the odd factor modulo 2^32. */
    uint32_t number = bytes_get_u32(key) * 244002641U;
    assert_true(number < MODEL_KEY_COUNT);
    assert_int_equal(bytes_get_u32(value), self->model[number]);
    self->count++;
    return ERR_OK;
}

/* Goal: the store equals a plain array of values after any puts and deletes. Method: 60 random
 * batches, compared pair by pair after each. */
static void test_store_random_batches_equal_model(void **state)
{
    const subject_t *self = *state;
    static uint32_t s_model[MODEL_KEY_COUNT];
    (void)memset(s_model, 0, sizeof(s_model));
    prng_t prng;
    prng_init(&prng, 42);
    for (int round = 0; round < 60; round++) {
        store_batch_t *batch = store_batch_new();
        s_change(&prng, batch, s_model);
        s_commit(self, &batch);
        comparison_t comparison = {.model = s_model};
        errbuf_t errbuf;
        assert_int_equal(
            self->store.walk(self->store.context, NULL, 0, s_compare_pair, &comparison, &errbuf),
            ERR_OK);
        size_t expected = 0;
        for (size_t i = 0; i < MODEL_KEY_COUNT; i++) {
            expected += s_model[i] != 0;
        }
        assert_int_equal(comparison.count, expected);
    }
}

#define FOR_BOTH(test)                                                 \
    cmocka_unit_test_setup_teardown(test, s_setup_memory, s_teardown), \
        cmocka_unit_test_setup_teardown(test, s_setup_lmdb, s_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOR_BOTH(test_store_empty_has_nothing),
        FOR_BOTH(test_store_second_submit_is_refused_until_poll),
        FOR_BOTH(test_store_get_respects_room),
        FOR_BOTH(test_store_walk_shows_prefix_in_order),
        FOR_BOTH(test_store_walk_stops_at_error_of_callback),
        FOR_BOTH(test_store_last_operation_on_key_wins),
        FOR_BOTH(test_store_empty_batch_is_ok),
        FOR_BOTH(test_store_large_pairs_come_back),
        FOR_BOTH(test_store_random_batches_equal_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
