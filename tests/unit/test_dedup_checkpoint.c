/* The checkpoint of dedup: what is written is what is loaded, also over failed transactions; what
 * is malformed is refused. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/session/dedup_format.h"
#include "common/store/store_memory.h"
#include "tests/unit/dedup_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const s_prefix = "T7/";

static dedup_t *s_new(void)
{
    return dedup_new((tenant_id_t){7}, (shard_id_t){3});
}

static void s_checkpoint(dedup_t *dedup, const store_t *store, bool is_durable)
{
    store_batch_t *batch = store_batch_new();
    dedup_checkpoint_write(dedup, batch, slice_make(s_prefix, strlen(s_prefix)));
    if (is_durable) {
        assert_int_equal(store->submit(store->context, &batch, NULL), ERR_OK);
        assert_int_equal(store->poll(store->context, NULL), ERR_OK);
    }
    store_batch_destroy(&batch);
    dedup_checkpoint_settle(dedup, is_durable);
}

static err_t s_load_pair(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    errbuf_t errbuf = {""};
    size_t prefix_size = strlen(s_prefix);
    CHECK(key_size > prefix_size);
    err_t err = dedup_load_entry(context, slice_make(key + prefix_size, key_size - prefix_size),
                                 slice_make(value, value_size), &errbuf);
    if (err != ERR_OK) {
        print_error("%s\n", errbuf.text);
    }
    return err;
}

static dedup_t *s_load(const store_t *store)
{
    dedup_t *dedup = s_new();
    assert_int_equal(store->walk(store->context, NULL, 0, s_load_pair, dedup, NULL), ERR_OK);
    return dedup;
}

static void s_expect_equal(const dedup_t *a, const dedup_t *b)
{
    dedup_digest_t digest_a;
    dedup_digest_t digest_b;
    dedup_digest(a, &digest_a);
    dedup_digest(b, &digest_b);
    assert_memory_equal(digest_a.bytes, digest_b.bytes, sizeof(digest_a.bytes));
    dedup_totals_t totals_a;
    dedup_totals_t totals_b;
    dedup_totals(a, &totals_a);
    dedup_totals(b, &totals_b);
    assert_int_equal(totals_a.producers, totals_b.producers);
    assert_int_equal(totals_a.intervals, totals_b.intervals);
    assert_int_equal(totals_a.positions, totals_b.positions);
}

static void s_add(dedup_t *dedup, const dedup_copy_t *copy)
{
    dedup_conflict_t conflict;
    (void)dedup_add(dedup, dedup_model_producer(copy->producer), copy->producer_seq,
                    &copy->position, &conflict);
}

/* Goal: nothing new, nothing written. Method: checkpoint twice, count operations. */
static void test_dedup_checkpoint_writes_only_changes(void **state)
{
    (void)state;
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    dedup_t *dedup = s_new();
    dedup_copy_t copy = dedup_model_copy(0, 1, 0, 1, 10);
    s_add(dedup, &copy);
    assert_int_equal(dedup_changed_count(dedup), 2);
    s_checkpoint(dedup, &store, true);
    assert_int_equal(dedup_changed_count(dedup), 0);
    assert_int_equal(store_memory_pair_count(memory), 2);
    store_batch_t *batch = store_batch_new();
    dedup_checkpoint_write(dedup, batch, slice_make(NULL, 0));
    assert_int_equal(store_batch_count(batch), 0);
    dedup_checkpoint_settle(dedup, true);
    dedup_forget_stable(dedup, copy.position.stream, 2);
    dedup_checkpoint_write(dedup, batch, slice_make(NULL, 0));
    assert_int_equal(store_batch_count(batch), 2); /* position deleted, stable seq put */
    dedup_checkpoint_settle(dedup, true);
    store_batch_destroy(&batch);
    dedup_destroy(&dedup);
    store_memory_destroy(&memory);
}

/* Goal: what was added and forgotten between two checkpoints leaves no trace. Method: count. */
static void test_dedup_checkpoint_skips_short_lived_positions(void **state)
{
    (void)state;
    dedup_t *dedup = s_new();
    for (uint64_t i = 1; i <= 1000; i++) {
        dedup_copy_t copy = dedup_model_copy(0, i, 0, 2 * i, 10);
        s_add(dedup, &copy);
    }
    dedup_forget_stable(dedup, dedup_model_stream(0), 2001);
    store_batch_t *batch = store_batch_new();
    dedup_checkpoint_write(dedup, batch, slice_make(NULL, 0));
    assert_int_equal(store_batch_count(batch), 2); /* one producer, one stable seq */
    dedup_checkpoint_settle(dedup, true);
    store_batch_destroy(&batch);
    dedup_destroy(&dedup);
}

/* One history: a dedup, its store and the truth about it. */
typedef struct {
    prng_t prng;
    dedup_model_t model;
    dedup_t *dedup;
    store_memory_t *memory;
    store_t store;
    uint64_t next_seq[DEDUP_MODEL_STREAM_COUNT];
} history_t;

static void s_step_history(history_t *self)
{
    unsigned stream = (unsigned)prng_below(&self->prng, DEDUP_MODEL_STREAM_COUNT);
    self->next_seq[stream] += 2;
    dedup_copy_t copy =
        dedup_model_copy((unsigned)prng_below(&self->prng, 2), prng_below(&self->prng, 1200),
                         stream, self->next_seq[stream], (int64_t)prng_below(&self->prng, 50));
    copy.position.epoch = prng_below(&self->prng, 4);
    if (prng_chance(&self->prng, 0.2)) {
        copy.position.named = (stream_position_t){
            dedup_model_stream((unsigned)prng_below(&self->prng, DEDUP_MODEL_STREAM_COUNT)),
            1 + prng_below(&self->prng, 100)};
    }
    dedup_model_add_both(&self->model, self->dedup, &copy);
    if (prng_chance(&self->prng, 0.05)) {
        uint64_t through = prng_below(&self->prng, self->next_seq[stream]);
        dedup_model_forget(&self->model, stream, through);
        dedup_forget_stable(self->dedup, dedup_model_stream(stream), through);
    }
    if (prng_chance(&self->prng, 0.03)) {
        s_checkpoint(self->dedup, &self->store, prng_chance(&self->prng, 0.6));
    }
}

/* A restart right after a checkpoint: what is loaded goes on in place of what was. */
static void s_restart_history(history_t *self)
{
    s_checkpoint(self->dedup, &self->store, true);
    dedup_t *loaded = s_load(&self->store);
    s_expect_equal(self->dedup, loaded);
    dedup_destroy(&self->dedup);
    self->dedup = loaded;
}

static void s_run_history(history_t *self, uint64_t seed)
{
    (void)memset(self, 0, sizeof(*self));
    prng_init(&self->prng, seed);
    self->memory = store_memory_new();
    self->store = store_memory_store(self->memory);
    self->dedup = s_new();
    for (int step = 1; step <= 900; step++) {
        s_step_history(self);
        if (step % 90 == 0) {
            s_restart_history(self);
        }
    }
    dedup_model_compare(&self->model, self->dedup);
    dedup_destroy(&self->dedup);
    store_memory_destroy(&self->memory);
}

/* Goal: after any history, with checkpoints at any time of which some fail, what is loaded equals
 * what was, goes on as it would have, and answers as the model does. Method: 30 seeds; many
 * scattered seqs, so that blocks come and go; restarts between. */
static void test_dedup_checkpoint_reload_equals(void **state)
{
    (void)state;
    history_t *history = malloc(sizeof(*history));
    assert_non_null(history);
    for (uint64_t seed = 0; seed < 30; seed++) {
        s_run_history(history, seed);
    }
    free(history);
}

/* Goal: changes made while a checkpoint is under way are in the next one, and those of a failed one
 * as well. Method: change between write and settle, with both outcomes. */
static void test_dedup_checkpoint_under_way_loses_no_change(void **state)
{
    (void)state;
    for (int is_durable = 0; is_durable < 2; is_durable++) {
        store_memory_t *memory = store_memory_new();
        store_t store = store_memory_store(memory);
        dedup_t *dedup = s_new();
        for (uint64_t i = 0; i < 300; i++) {
            dedup_copy_t copy = dedup_model_copy(0, 2 * i, 0, 1 + 2 * i, 10);
            s_add(dedup, &copy);
        }
        s_checkpoint(dedup, &store, true);
        dedup_forget_stable(dedup, dedup_model_stream(0), 100);
        for (uint64_t i = 0; i < 150; i++) {
            dedup_copy_t copy = dedup_model_copy(0, 2 * i + 1, 1, 1 + 2 * i, 10);
            s_add(dedup, &copy);
        }
        store_batch_t *batch = store_batch_new();
        dedup_checkpoint_write(dedup, batch, slice_make(s_prefix, strlen(s_prefix)));
        for (uint64_t i = 150; i < 299; i++) {
            dedup_copy_t copy = dedup_model_copy(0, 2 * i + 1, 1, 1 + 2 * i, 10);
            s_add(dedup, &copy);
        }
        dedup_forget_stable(dedup, dedup_model_stream(1), 200);
        if (is_durable == 1) {
            assert_int_equal(store.submit(store.context, &batch, NULL), ERR_OK);
            assert_int_equal(store.poll(store.context, NULL), ERR_OK);
        }
        store_batch_destroy(&batch);
        dedup_checkpoint_settle(dedup, is_durable == 1);
        s_checkpoint(dedup, &store, true);
        dedup_t *loaded = s_load(&store);
        s_expect_equal(dedup, loaded);
        dedup_totals_t totals;
        dedup_totals(loaded, &totals);
        assert_int_equal(totals.intervals, 1);
        dedup_destroy(&loaded);
        dedup_destroy(&dedup);
        store_memory_destroy(&memory);
    }
}

/* -- malformed entries ------------------------------------------------------------------------- */

typedef struct {
    uint8_t key[DEDUP_SEEN_KEY_SIZE_MAX];
    size_t key_size;
    uint8_t value[256];
    size_t value_size;
} entry_t;

/* The entries of a small dedup: seen, stable, and two positions, in key order. */
typedef struct {
    entry_t entries[8];
    size_t count;
} entries_t;

static err_t s_collect(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    entries_t *self = context;
    entry_t *entry = &self->entries[self->count++];
    size_t prefix_size = strlen(s_prefix);
    entry->key_size = key_size - prefix_size;
    (void)memcpy(entry->key, key + prefix_size, entry->key_size);
    entry->value_size = value_size;
    (void)memcpy(entry->value, value, value_size);
    return ERR_OK;
}

static entries_t s_make_entries(void)
{
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    dedup_t *dedup = s_new();
    for (uint64_t i = 1; i <= 3; i++) {
        dedup_copy_t copy = dedup_model_copy(0, 10 * i, 0, 2 * i, 10);
        copy.position.epoch = 0x700 + i;
        if (i == 3) { /* a reissue */
            copy.position.named = (stream_position_t){dedup_model_stream(3), 13};
        }
        s_add(dedup, &copy);
    }
    dedup_forget_stable(dedup, dedup_model_stream(0), 3);
    s_checkpoint(dedup, &store, true);
    entries_t entries = {.count = 0};
    assert_int_equal(store.walk(store.context, NULL, 0, s_collect, &entries, NULL), ERR_OK);
    assert_int_equal(entries.count, 4);
    dedup_destroy(&dedup);
    store_memory_destroy(&memory);
    return entries;
}

/* Loads all entries, the one at `index` with `key` and `value` instead. Returns the first error. */
static err_t s_load_with(const entries_t *entries, size_t index, slice_t key, slice_t value)
{
    dedup_t *dedup = s_new();
    err_t err = ERR_OK;
    errbuf_t errbuf = {""};
    for (size_t i = 0; err == ERR_OK && i < entries->count; i++) {
        const entry_t *entry = &entries->entries[i];
        err = dedup_load_entry(dedup, i == index ? key : slice_make(entry->key, entry->key_size),
                               i == index ? value : slice_make(entry->value, entry->value_size),
                               &errbuf);
    }
    assert_true(err == ERR_OK || strlen(errbuf.text) > 0);
    dedup_destroy(&dedup);
    return err;
}

/* Every other length up to one byte more, of the key or the value of one entry, is refused. */
static void s_expect_lengths_refused(const entries_t *entries, size_t index, bool is_key)
{
    const entry_t *entry = &entries->entries[index];
    slice_t key = slice_make(entry->key, entry->key_size);
    slice_t value = slice_make(entry->value, entry->value_size);
    slice_t *changed = is_key ? &key : &value;
    size_t size = changed->size;
    assert_int_equal(s_load_with(entries, index, key, value), ERR_OK);
    for (changed->size = 0; changed->size < size; changed->size++) {
        assert_int_equal(s_load_with(entries, index, key, value), ERR_CORRUPT);
    }
    changed->size = size + 1;
    assert_int_equal(s_load_with(entries, index, key, value), ERR_CORRUPT);
}

/* Goal: entries of another length are refused. Method: every shorter length and one more byte, of
 * key and value of each entry. */
static void test_dedup_load_refuses_other_lengths(void **state)
{
    (void)state;
    entries_t entries = s_make_entries();
    for (size_t i = 0; i < entries.count; i++) {
        s_expect_lengths_refused(&entries, i, true);
        s_expect_lengths_refused(&entries, i, false);
    }
}

/* Goal: any single flipped bit is refused or gives other content that is sound; it never crashes.
 * Method: every bit of every key and value; what loads is compared with its own digest. */
static void test_dedup_load_survives_every_flipped_bit(void **state)
{
    (void)state;
    entries_t entries = s_make_entries();
    unsigned refused_count = 0;
    unsigned count = 0;
    for (size_t i = 0; i < entries.count; i++) {
        entry_t *entry = &entries.entries[i];
        for (size_t bit = 0; bit < 8 * (entry->key_size + entry->value_size); bit++) {
            uint8_t *at = bit / 8 < entry->key_size ? &entry->key[bit / 8]
                                                    : &entry->value[bit / 8 - entry->key_size];
            *at ^= (uint8_t)(1U << (bit % 8));
            refused_count +=
                s_load_with(&entries, SIZE_MAX, slice_make(NULL, 0), slice_make(NULL, 0)) != ERR_OK;
            *at ^= (uint8_t)(1U << (bit % 8));
            count++;
        }
    }
    assert_true(refused_count > count / 4);
}

static err_t s_load_value(const entries_t *entries, size_t index, size_t offset, uint8_t byte)
{
    entry_t entry = entries->entries[index];
    entry.value[offset] = byte;
    return s_load_with(entries, index, slice_make(entry.key, entry.key_size),
                       slice_make(entry.value, entry.value_size));
}

/* Goal: each rule of dedup_format.h is kept. Method: break one at a time. */
static void test_dedup_load_refuses_broken_rules(void **state)
{
    (void)state;
    entries_t entries = s_make_entries();
    enum { SEEN, STABLE, POSITION };
    /* An earlier and a later version are told apart from damage. */
    for (uint8_t version = 1; version <= 3; version += 2) {
        assert_int_equal(s_load_value(&entries, SEEN, 0, version), ERR_UNSUPPORTED);
        assert_int_equal(s_load_value(&entries, STABLE, 0, version), ERR_UNSUPPORTED);
        assert_int_equal(s_load_value(&entries, POSITION, 0, version), ERR_UNSUPPORTED);
    }
    assert_int_equal(s_load_value(&entries, POSITION, 0, 0), ERR_CORRUPT);
    /* Seen: 10-10 20-20 30-30; first above last, out of order, touching. */
    assert_int_equal(s_load_value(&entries, SEEN, 1, 11), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, SEEN, 1 + 8, 20), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, SEEN, 1 + 8, 19), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, SEEN, 1 + 8, 18), ERR_OK);
    /* Stable seq 0; a position at or below it (the first begins at 4 and ends at 5). */
    assert_int_equal(s_load_value(&entries, STABLE, 1, 0), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, STABLE, 1, 5), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, STABLE, 1, 4), ERR_OK);
    /* Position: unknown flag, no events, negative time, a pair that was not seen. */
    assert_int_equal(s_load_value(&entries, POSITION, 1, 2), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION, 2, 0), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION, 13, 0x80), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION, 38, 21), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION, 73, 'z'), ERR_CORRUPT);
    /* Of the copy that answers name: an incarnation, a seq or a region without the others, or a region
     * that there is not. */
    assert_int_equal(s_load_value(&entries, POSITION, 54, 1), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION, 62, 1), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION, 70, 1), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION + 1, 54, 0), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION + 1, 62, 0), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION + 1, 70, 0), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION + 1, 71, 0xff), ERR_CORRUPT);
    assert_int_equal(s_load_value(&entries, POSITION + 1, 54, 0x66), ERR_OK);
    /* The same entry twice, and entries of a kind that is not known. */
    entry_t entry = entries.entries[SEEN];
    assert_int_equal(s_load_with(&entries, STABLE, slice_make(entry.key, entry.key_size),
                                 slice_make(entry.value, entry.value_size)),
                     ERR_CORRUPT);
    entry.key[0] = 'q';
    assert_int_equal(s_load_with(&entries, STABLE, slice_make(entry.key, entry.key_size),
                                 slice_make(entry.value, entry.value_size)),
                     ERR_CORRUPT);
}

/* Goal: the format is what dedup_format.h says, byte by byte. Method: golden entries. */
static void test_dedup_checkpoint_bytes_are_golden(void **state)
{
    (void)state;
    static const char *const s_golden[] = {"70016100000000 02"
                                           "0a00000000000000"
                                           "0a00000000000000"
                                           "1400000000000000"
                                           "1400000000000000"
                                           "1e00000000000000"
                                           "1e00000000000000",
                                           "7400010000000000000064 020300000000000000",
                                           "77000100000000000000640000000000000004 0200"
                                           "02000000"
                                           "0a00000000000000"
                                           "00000000"
                                           "05000000"
                                           "14141414141414141414141414141414"
                                           "1400000000000000"
                                           "0207000000000000"
                                           "0000000000000000"
                                           "0000000000000000"
                                           "0000"
                                           "0161",
                                           "77000100000000000000640000000000000006 0200"
                                           "02000000"
                                           "0a00000000000000"
                                           "00000000"
                                           "05000000"
                                           "1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e"
                                           "1e00000000000000"
                                           "0307000000000000"
                                           "6500000000000000"
                                           "0d00000000000000"
                                           "0200"
                                           "0161"};
    entries_t entries = s_make_entries();
    for (size_t i = 0; i < entries.count; i++) {
        char text[1024];
        const entry_t *entry = &entries.entries[i];
        bytes_to_hex(entry->key, entry->key_size, text);
        text[2 * entry->key_size] = ' ';
        bytes_to_hex(entry->value, entry->value_size, text + 2 * entry->key_size + 1);
        assert_string_equal(text, s_golden[i]);
    }
    dedup_t *dedup = s_new();
    for (size_t i = 0; i < entries.count; i++) {
        const entry_t *entry = &entries.entries[i];
        assert_int_equal(dedup_load_entry(dedup, slice_make(entry->key, entry->key_size),
                                          slice_make(entry->value, entry->value_size), NULL),
                         ERR_OK);
    }
    dedup_digest_t digest;
    dedup_digest(dedup, &digest);
    char text[33];
    bytes_to_hex(digest.bytes, sizeof(digest.bytes), text);
    assert_string_equal(text, "a3e95454ca597b71a98ba6fa2b8ff112");
    dedup_destroy(&dedup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dedup_load_refuses_other_lengths),
        cmocka_unit_test(test_dedup_load_survives_every_flipped_bit),
        cmocka_unit_test(test_dedup_load_refuses_broken_rules),
        cmocka_unit_test(test_dedup_checkpoint_bytes_are_golden),
        cmocka_unit_test(test_dedup_checkpoint_writes_only_changes),
        cmocka_unit_test(test_dedup_checkpoint_skips_short_lived_positions),
        cmocka_unit_test(test_dedup_checkpoint_under_way_loses_no_change),
        cmocka_unit_test(test_dedup_checkpoint_reload_equals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
