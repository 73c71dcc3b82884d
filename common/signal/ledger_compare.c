#include "common/signal/ledger_state.h"

#include <stdlib.h>

/* Keys that differ: an arena of u16 size and bytes, and where each begins. */
typedef struct {
    buffer_t arena;
    buffer_t offsets; /* size_t each */
} keys_t;

/* One direction of the comparison. */
typedef struct {
    const ledger_t *other;
    keys_t *keys;
    buffer_t value; /* of the other side */
    bool only_missing;
} side_t;

static err_t s_compare_entry(void *context, slice_t key, slice_t value)
{
    side_t *side = context;
    buffer_clear(&side->value);
    err_t err = ledger_get_entry(side->other, key, &side->value);
    CHECK(err == ERR_OK || err == ERR_NOT_FOUND);
    bool differs = err == ERR_NOT_FOUND;
    if (err == ERR_OK && !side->only_missing) {
        differs = !slice_equal(buffer_slice(&side->value), value);
    }
    if (differs) {
        size_t offset = side->keys->arena.size;
        buffer_append(&side->keys->offsets, &offset, sizeof(offset));
        bytes_put_u16(buffer_extend(&side->keys->arena, 2), (uint16_t)key.size);
        buffer_append(&side->keys->arena, key.data, key.size);
    }
    return ERR_OK;
}

static slice_t s_key(const uint8_t *at)
{
    return slice_make(at + 2, bytes_get_u16(at));
}

static int s_compare_keys(const void *a_any, const void *b_any)
{
    const uint8_t *const *a = a_any;
    const uint8_t *const *b = b_any;
    slice_t key_a = s_key(*a);
    slice_t key_b = s_key(*b);
    size_t size = key_a.size < key_b.size ? key_a.size : key_b.size;
    int order = memcmp(key_a.data, key_b.data, size);
    return order != 0 ? order : (key_a.size > key_b.size) - (key_a.size < key_b.size);
}

static void s_collect(const ledger_t *from, const ledger_t *other, bool only_missing, keys_t *keys)
{
    side_t side = {other, keys, {0}, only_missing};
    err_t err = ledger_walk(from, s_compare_entry, &side);
    CHECK(err == ERR_OK);
    buffer_done(&side.value);
}

/* Reports the keys in their order. */
static void s_report(const ledger_t *a,
                     const ledger_t *b,
                     const uint8_t *const *keys,
                     size_t count,
                     ledger_difference_fn callback,
                     void *context)
{
    buffer_t value_a;
    buffer_t value_b;
    buffer_init(&value_a);
    buffer_init(&value_b);
    for (size_t i = 0; i < count; i++) {
        slice_t key = s_key(keys[i]);
        buffer_clear(&value_a);
        buffer_clear(&value_b);
        /* missing: the value stays empty */
        (void)ledger_get_entry(a, key, &value_a);
        (void)ledger_get_entry(b, key, &value_b);
        callback(context, key, buffer_slice(&value_a), buffer_slice(&value_b));
    }
    buffer_done(&value_a);
    buffer_done(&value_b);
}

uint64_t ledger_compare(const ledger_t *a,
                        const ledger_t *b,
                        ledger_difference_fn callback,
                        void *context)
{
    keys_t keys = {{0}, {0}};
    s_collect(a, b, false, &keys);
    s_collect(b, a, true, &keys);
    size_t count = keys.offsets.size / sizeof(size_t);
    const uint8_t **sorted = calloc(count + 1, sizeof(*sorted));
    CHECK(sorted != NULL);
    for (size_t i = 0; i < count; i++) {
        size_t offset;
        (void)memcpy(&offset, keys.offsets.data + i * sizeof(offset), sizeof(offset));
        sorted[i] = keys.arena.data + offset;
    }
    qsort(sorted, count, sizeof(*sorted), s_compare_keys);
    s_report(a, b, sorted, count, callback, context);
    free(sorted);
    buffer_done(&keys.arena);
    buffer_done(&keys.offsets);
    return count;
}
