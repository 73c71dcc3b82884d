/* An operation lies in memory as header, key, value, without padding. Sorting leaves the bytes
 * where they are and makes an array of references, each with the first eight bytes in which the
 * keys of this batch differ, so that most comparisons touch no key at all. */
#include "common/base/store_batch.h"

#include "common/base/check.h"

#include <assert.h>
#include <stdlib.h>

typedef struct {
    uint32_t kind;
    uint32_t key_size;
    uint32_t value_size;
} operation_header_t;

static_assert(sizeof(operation_header_t) == 12, "store_batch.h states the cost of an operation");

/* Reference to one operation, for sorting. */
typedef struct {
    uint64_t rank;     /* key bytes behind what all keys share, big-endian, zero-padded */
    const uint8_t *at; /* the header in the arena; rises in the order of the puts */
} operation_ref_t;

struct store_batch {
    buffer_t arena;
    size_t count;
    operation_ref_t *refs; /* of the sorted walk; NULL until the first sort */
    size_t ref_capacity;
    size_t ref_count;
    bool is_sorted; /* refs are in order and unique */
};

static void s_invariant(const store_batch_t *self)
{
    CHECK(self->arena.size >= self->count * sizeof(operation_header_t));
    CHECK_IMPLIES(self->is_sorted, self->ref_count <= self->count);
}

store_batch_t *store_batch_new(void)
{
    store_batch_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    buffer_init(&self->arena);
    s_invariant(self);
    return self;
}

void store_batch_destroy(store_batch_t **self_p)
{
    store_batch_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    buffer_done(&self->arena);
    free(self->refs);
    free(self);
    *self_p = NULL;
}

/* Appends header and key and leaves room for the value, which is returned. */
static uint8_t *s_append(store_batch_t *self,
                         store_operation_kind_t kind,
                         slice_t key,
                         size_t value_size)
{
    CHECK(key.size >= 1);
    CHECK(key.size <= STORE_KEY_SIZE_MAX);
    CHECK(value_size <= STORE_VALUE_SIZE_MAX);
    operation_header_t header = {(uint32_t)kind, (uint32_t)key.size, (uint32_t)value_size};
    uint8_t *at = buffer_extend(&self->arena, sizeof(header) + key.size + value_size);
    (void)memcpy(at, &header, sizeof(header));
    (void)memcpy(at + sizeof(header), key.data, key.size);
    self->count++;
    self->is_sorted = false;
    return at + sizeof(header) + key.size;
}

void store_batch_put(store_batch_t *self, slice_t key, slice_t value)
{
    uint8_t *at = s_append(self, STORE_OPERATION_PUT, key, value.size);
    if (value.size > 0) {
        (void)memcpy(at, value.data, value.size);
    }
    s_invariant(self);
}

uint8_t *store_batch_reserve_put(store_batch_t *self, slice_t key, size_t value_size)
{
    return s_append(self, STORE_OPERATION_PUT, key, value_size);
}

void store_batch_delete(store_batch_t *self, slice_t key)
{
    (void)s_append(self, STORE_OPERATION_DELETE, key, 0);
    s_invariant(self);
}

size_t store_batch_count(const store_batch_t *self)
{
    return self->count;
}

/* The operation at `at`; returns where the next one begins. */
static const uint8_t *s_read(const uint8_t *at, store_operation_t *ret_operation)
{
    operation_header_t header;
    (void)memcpy(&header, at, sizeof(header));
    at += sizeof(header);
    ret_operation->kind = (store_operation_kind_t)header.kind;
    ret_operation->key = slice_make(at, header.key_size);
    ret_operation->value = slice_make(at + header.key_size, header.value_size);
    return at + header.key_size + header.value_size;
}

static slice_t s_ref_key(const operation_ref_t *ref)
{
    store_operation_t operation;
    (void)s_read(ref->at, &operation);
    return operation.key;
}

static int s_compare_keys(slice_t a, slice_t b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.data, b.data, shared);
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

static int s_compare_refs_by_key(const operation_ref_t *a, const operation_ref_t *b)
{
    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    return s_compare_keys(s_ref_key(a), s_ref_key(b));
}

static int s_compare_refs(const void *a_any, const void *b_any)
{
    const operation_ref_t *a = a_any;
    const operation_ref_t *b = b_any;
    int order = s_compare_refs_by_key(a, b);
    if (order != 0) {
        return order;
    }
    return (a->at > b->at) - (a->at < b->at);
}

/* How many leading bytes all keys share. */
static size_t s_shared_prefix_size(const store_batch_t *self)
{
    slice_t first = s_ref_key(&self->refs[0]);
    size_t shared = first.size;
    for (size_t i = 1; i < self->ref_count && shared > 0; i++) {
        slice_t key = s_ref_key(&self->refs[i]);
        shared = key.size < shared ? key.size : shared;
        while (shared > 0 && memcmp(first.data, key.data, shared) != 0) {
            shared--;
        }
    }
    return shared;
}

static uint64_t s_rank(slice_t key, size_t shared)
{
    uint8_t bytes[8] = {0};
    size_t size = key.size - shared;
    (void)memcpy(bytes, key.data + shared, size < sizeof(bytes) ? size : sizeof(bytes));
    return bytes_get_u64_be(bytes);
}

static void s_reserve_refs(store_batch_t *self)
{
    if (self->ref_capacity >= self->count) {
        return;
    }
    free(self->refs);
    self->refs = calloc(self->count, sizeof(*self->refs));
    CHECK(self->refs != NULL);
    self->ref_capacity = self->count;
}

static void s_collect_refs(store_batch_t *self)
{
    s_reserve_refs(self);
    const uint8_t *at = self->arena.data;
    for (size_t i = 0; i < self->count; i++) {
        store_operation_t operation;
        self->refs[i].at = at;
        at = s_read(at, &operation);
    }
    CHECK(at == self->arena.data + self->arena.size);
    self->ref_count = self->count;
}

/* Keeps the last reference of each run of equal keys. */
static void s_drop_overwritten(store_batch_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->ref_count; i++) {
        bool is_last = i + 1 == self->ref_count ||
                       s_compare_refs_by_key(&self->refs[i], &self->refs[i + 1]) != 0;
        if (is_last) {
            self->refs[kept++] = self->refs[i];
        }
    }
    self->ref_count = kept;
}

void store_batch_sort(store_batch_t *self)
{
    s_invariant(self);
    if (self->is_sorted || self->count == 0) {
        return;
    }
    s_collect_refs(self);
    size_t shared = s_shared_prefix_size(self);
    bool in_order = true;
    for (size_t i = 0; i < self->ref_count; i++) {
        self->refs[i].rank = s_rank(s_ref_key(&self->refs[i]), shared);
        in_order = in_order && (i == 0 || s_compare_refs(&self->refs[i - 1], &self->refs[i]) < 0);
    }
    if (!in_order) {
        qsort(self->refs, self->ref_count, sizeof(*self->refs), s_compare_refs);
    }
    s_drop_overwritten(self);
    self->is_sorted = true;
    s_invariant(self);
}

bool store_batch_next(const store_batch_t *self,
                      store_batch_cursor_t *cursor,
                      store_operation_t *ret_operation)
{
    if (self->is_sorted) {
        if (cursor->next >= self->ref_count) {
            return false;
        }
        (void)s_read(self->refs[cursor->next].at, ret_operation);
        cursor->next++;
        return true;
    }
    if (cursor->next >= self->arena.size) {
        return false;
    }
    const uint8_t *end = s_read(self->arena.data + cursor->next, ret_operation);
    cursor->next = (size_t)(end - self->arena.data);
    return true;
}
