#include "common/store/store_memory.h"

#include "common/base/check.h"
#include "common/base/store_batch.h"

#include <stdlib.h>

enum {
    BLOCK_PAIR_COUNT_MAX = 64, /* moving half a block costs about as much as finding it */
    POINTER_SIZE = sizeof(void *)
};

typedef struct {
    uint32_t key_size;
    uint32_t value_size;
    uint8_t bytes[]; /* key, then value */
} pair_t;

/* Neighbours in key order; never empty. */
typedef struct {
    size_t count;
    pair_t *pairs[BLOCK_PAIR_COUNT_MAX];
} block_t;

typedef enum { HAND_OVER_IDLE, HAND_OVER_TAKEN, HAND_OVER_REPORTED } hand_over_t;

struct store_memory {
    block_t **blocks; /* in key order */
    size_t block_count;
    size_t block_capacity;
    size_t pair_count;
    uint64_t size_bytes;
    hand_over_t hand_over;
    store_batch_t *batch; /* set while taken */
    err_t result;
    err_t fail_next; /* ERR_OK: the next batch succeeds */
    bool is_held;
    bool is_broken;
};

/* Where a key is or belongs. */
typedef struct {
    size_t block;
    size_t pair; /* may be one past the end of the block */
    bool is_found;
} place_t;

static void s_invariant(const store_memory_t *self)
{
    CHECK(self->block_count <= self->block_capacity);
    CHECK(self->pair_count >= self->block_count);
    CHECK((self->hand_over == HAND_OVER_TAKEN) == (self->batch != NULL));
}

store_memory_t *store_memory_new(void)
{
    store_memory_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    s_invariant(self);
    return self;
}

void store_memory_destroy(store_memory_t **self_p)
{
    store_memory_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (size_t i = 0; i < self->block_count; i++) {
        for (size_t j = 0; j < self->blocks[i]->count; j++) {
            free(self->blocks[i]->pairs[j]);
        }
        free(self->blocks[i]);
    }
    free(self->blocks);
    store_batch_destroy(&self->batch);
    free(self);
    *self_p = NULL;
}

/* -- the pairs --------------------------------------------------------------------------------- */

static slice_t s_key(const pair_t *pair)
{
    return slice_make(pair->bytes, pair->key_size);
}

static slice_t s_value(const pair_t *pair)
{
    return slice_make(pair->bytes + pair->key_size, pair->value_size);
}

static int s_compare(slice_t a, slice_t b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* The first pair that is not before the key. */
static place_t s_find(const store_memory_t *self, slice_t key)
{
    /* The last block that begins at or before the key, else the first one. */
    size_t low = 0;
    size_t high = self->block_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (s_compare(s_key(self->blocks[middle]->pairs[0]), key) <= 0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    place_t place = {low, 0, false};
    if (self->block_count == 0) {
        return place;
    }
    const block_t *block = self->blocks[low];
    size_t end = block->count;
    while (place.pair < end) {
        size_t middle = place.pair + (end - place.pair) / 2;
        int order = s_compare(s_key(block->pairs[middle]), key);
        if (order == 0) {
            return (place_t){low, middle, true};
        }
        if (order < 0) {
            place.pair = middle + 1;
        } else {
            end = middle;
        }
    }
    return place;
}

static block_t *s_insert_block(store_memory_t *self, size_t index)
{
    if (self->block_count == self->block_capacity) {
        size_t capacity = self->block_capacity == 0 ? 16 : 2 * self->block_capacity;
        block_t **blocks = realloc(self->blocks, capacity * POINTER_SIZE);
        CHECK(blocks != NULL);
        self->blocks = blocks;
        self->block_capacity = capacity;
    }
    (void)memmove(self->blocks + index + 1, self->blocks + index,
                  (self->block_count - index) * POINTER_SIZE);
    block_t *block = calloc(1, sizeof(*block));
    CHECK(block != NULL);
    self->blocks[index] = block;
    self->block_count++;
    return block;
}

/* Makes room in a full block; the place is corrected. A key beyond the last one opens a block of
 * its own, so that keys put in rising order leave full blocks behind. */
static void s_split(store_memory_t *self, place_t *place)
{
    block_t *full = self->blocks[place->block];
    if (place->pair == full->count && place->block + 1 == self->block_count) {
        (void)s_insert_block(self, place->block + 1);
        *place = (place_t){place->block + 1, 0, false};
        return;
    }
    block_t *upper = s_insert_block(self, place->block + 1);
    size_t kept = full->count / 2;
    upper->count = full->count - kept;
    (void)memcpy(upper->pairs, full->pairs + kept, upper->count * POINTER_SIZE);
    full->count = kept;
    if (place->pair > kept) {
        *place = (place_t){place->block + 1, place->pair - kept, false};
    }
}

static void s_remove(store_memory_t *self, place_t place)
{
    block_t *block = self->blocks[place.block];
    pair_t *pair = block->pairs[place.pair];
    self->size_bytes -= (uint64_t)pair->key_size + pair->value_size;
    self->pair_count--;
    free(pair);
    block->count--;
    (void)memmove(block->pairs + place.pair, block->pairs + place.pair + 1,
                  (block->count - place.pair) * POINTER_SIZE);
    if (block->count == 0) {
        free(block);
        self->block_count--;
        (void)memmove(self->blocks + place.block, self->blocks + place.block + 1,
                      (self->block_count - place.block) * POINTER_SIZE);
    }
}

static pair_t *s_new_pair(const store_operation_t *operation)
{
    pair_t *pair = malloc(sizeof(*pair) + operation->key.size + operation->value.size);
    CHECK(pair != NULL);
    pair->key_size = (uint32_t)operation->key.size;
    pair->value_size = (uint32_t)operation->value.size;
    (void)memcpy(pair->bytes, operation->key.data, operation->key.size);
    if (operation->value.size > 0) {
        (void)memcpy(pair->bytes + pair->key_size, operation->value.data, operation->value.size);
    }
    return pair;
}

static void s_replace(store_memory_t *self, place_t place, pair_t *pair)
{
    pair_t **at = &self->blocks[place.block]->pairs[place.pair];
    self->size_bytes = self->size_bytes - (*at)->value_size + pair->value_size;
    free(*at);
    *at = pair;
}

static void s_insert(store_memory_t *self, place_t place, pair_t *pair)
{
    if (self->block_count == 0) {
        (void)s_insert_block(self, 0);
    } else if (self->blocks[place.block]->count == BLOCK_PAIR_COUNT_MAX) {
        s_split(self, &place);
    }
    block_t *block = self->blocks[place.block];
    (void)memmove(block->pairs + place.pair + 1, block->pairs + place.pair,
                  (block->count - place.pair) * POINTER_SIZE);
    block->pairs[place.pair] = pair;
    block->count++;
    self->pair_count++;
    self->size_bytes += (uint64_t)pair->key_size + pair->value_size;
}

static void s_apply(store_memory_t *self, const store_operation_t *operation)
{
    place_t place = s_find(self, operation->key);
    if (operation->kind == STORE_OPERATION_PUT && place.is_found) {
        s_replace(self, place, s_new_pair(operation));
    } else if (operation->kind == STORE_OPERATION_PUT) {
        s_insert(self, place, s_new_pair(operation));
    } else if (place.is_found) {
        s_remove(self, place);
    }
}

/* -- the seam ---------------------------------------------------------------------------------- */

void store_memory_hold(store_memory_t *self, bool is_held)
{
    self->is_held = is_held;
}

void store_memory_complete(store_memory_t *self)
{
    s_invariant(self);
    if (self->hand_over != HAND_OVER_TAKEN) {
        return;
    }
    self->result = self->fail_next;
    self->fail_next = ERR_OK;
    if (self->result == ERR_OK) {
        store_batch_cursor_t at = {0};
        store_operation_t operation;
        while (store_batch_next(self->batch, &at, &operation)) {
            s_apply(self, &operation);
        }
    } else {
        self->is_broken = self->is_broken || self->result != ERR_DISK_FULL;
    }
    store_batch_destroy(&self->batch);
    self->hand_over = HAND_OVER_REPORTED;
    s_invariant(self);
}

void store_memory_crash(store_memory_t *self)
{
    s_invariant(self);
    store_batch_destroy(&self->batch);
    self->hand_over = HAND_OVER_IDLE;
    self->fail_next = ERR_OK;
    self->is_held = false;
    self->is_broken = false;
    s_invariant(self);
}

void store_memory_fail_next(store_memory_t *self, err_t err)
{
    self->fail_next = err;
}

size_t store_memory_pair_count(const store_memory_t *self)
{
    return self->pair_count;
}

uint64_t store_memory_size_bytes(const store_memory_t *self)
{
    return self->size_bytes;
}

static err_t s_submit(void *context, store_batch_t **batch_p, errbuf_t *errbuf)
{
    store_memory_t *self = context;
    CHECK(*batch_p != NULL);
    if (self->is_broken) {
        errbuf_set(errbuf, "the store in memory failed to write before");
        return ERR_IO;
    }
    if (self->hand_over != HAND_OVER_IDLE) {
        errbuf_set(errbuf, "a batch is under way to the store in memory");
        return ERR_AGAIN;
    }
    self->batch = *batch_p;
    *batch_p = NULL;
    self->hand_over = HAND_OVER_TAKEN;
    s_invariant(self);
    return ERR_OK;
}

static err_t s_poll(void *context, errbuf_t *errbuf)
{
    store_memory_t *self = context;
    if (self->hand_over == HAND_OVER_TAKEN && self->is_held) {
        return ERR_AGAIN;
    }
    store_memory_complete(self);
    if (self->hand_over == HAND_OVER_IDLE) {
        return ERR_OK;
    }
    self->hand_over = HAND_OVER_IDLE;
    if (self->result != ERR_OK) {
        errbuf_set(errbuf, "write to the store in memory: %s", err_text(self->result));
    }
    return self->result;
}

static bool s_has_prefix(slice_t key, slice_t prefix)
{
    return key.size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

/* The pair at the place, which moves on to the next block from the end of one; NULL at the end. */
static const pair_t *s_pair_at(const store_memory_t *self, place_t *place)
{
    if (place->block < self->block_count && place->pair == self->blocks[place->block]->count) {
        place->block++;
        place->pair = 0;
    }
    return place->block < self->block_count ? self->blocks[place->block]->pairs[place->pair] : NULL;
}

static err_t s_walk(void *context,
                    const uint8_t *prefix,
                    size_t prefix_size,
                    store_walk_fn callback,
                    void *callback_context,
                    errbuf_t *errbuf)
{
    const store_memory_t *self = context;
    (void)errbuf; /* nothing can fail here but the callback, which has its own */
    slice_t wanted = slice_make(prefix, prefix_size);
    place_t place = s_find(self, wanted);
    err_t err = ERR_OK;
    const pair_t *pair = s_pair_at(self, &place);
    while (err == ERR_OK && pair != NULL && s_has_prefix(s_key(pair), wanted)) {
        slice_t key = s_key(pair);
        slice_t value = s_value(pair);
        err = callback(callback_context, key.data, key.size, value.data, value.size);
        place.pair++;
        pair = s_pair_at(self, &place);
    }
    return err;
}

/* The shape of the seam, not ours. NOLINTNEXTLINE(readability-function-size) */
static err_t s_get(void *context,
                   const uint8_t *key,
                   size_t key_size,
                   uint8_t *ret_value,
                   size_t value_size_max,
                   size_t *ret_size,
                   errbuf_t *errbuf)
{
    const store_memory_t *self = context;
    CHECK(key_size >= 1);
    CHECK(key_size <= STORE_KEY_SIZE_MAX);
    place_t place = s_find(self, slice_make(key, key_size));
    if (!place.is_found) {
        errbuf_set(errbuf, "the store in memory has no such key");
        return ERR_NOT_FOUND;
    }
    slice_t value = s_value(self->blocks[place.block]->pairs[place.pair]);
    if (value.size > value_size_max) {
        errbuf_set(errbuf, "the value has %zu bytes, the caller has room for %zu", value.size,
                   value_size_max);
        return ERR_TOO_LARGE;
    }
    if (value.size > 0) {
        (void)memcpy(ret_value, value.data, value.size);
    }
    *ret_size = value.size;
    return ERR_OK;
}

store_t store_memory_store(store_memory_t *self)
{
    return (store_t){self, s_submit, s_poll, s_walk, s_get};
}
