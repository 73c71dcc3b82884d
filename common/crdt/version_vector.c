#include "common/crdt/version_vector.h"

#include "common/base/check.h"

#include <stdlib.h>
#include <string.h>

enum { S_CAPACITY_MIN = 8 };

static void s_invariant(const version_vector_t *self)
{
    CHECK(self->count <= self->capacity);
    CHECK_IMPLIES(self->capacity > 0, self->entries != NULL);
}

void version_vector_done(version_vector_t *self)
{
    free(self->entries);
    *self = (version_vector_t){0, 0, NULL};
}

void version_vector_clear(version_vector_t *self)
{
    self->count = 0;
}

/* Where the stream is, or would go. */
static uint32_t s_place(const version_vector_t *self, stream_id_t stream)
{
    uint32_t first = 0;
    uint32_t end = self->count;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (stream_id_compare(self->entries[middle].stream, stream) < 0) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return first;
}

static bool s_is_at(const version_vector_t *self, uint32_t place, stream_id_t stream)
{
    return place < self->count && stream_id_equal(self->entries[place].stream, stream);
}

uint64_t version_vector_get(const version_vector_t *self, stream_id_t stream)
{
    uint32_t place = s_place(self, stream);
    return s_is_at(self, place, stream) ? self->entries[place].seq : 0;
}

static void s_reserve(version_vector_t *self, uint32_t count)
{
    if (count > self->capacity) {
        uint32_t capacity = self->capacity == 0 ? S_CAPACITY_MIN : self->capacity * 2;
        self->capacity = capacity > count ? capacity : count;
        self->entries = realloc(self->entries, self->capacity * sizeof(*self->entries));
        CHECK(self->entries != NULL);
    }
}

bool version_vector_raise(version_vector_t *self, stream_id_t stream, uint64_t seq)
{
    uint32_t place = s_place(self, stream);
    if (!s_is_at(self, place, stream)) {
        if (seq == 0) {
            return false;
        }
        s_reserve(self, self->count + 1);
        memmove(&self->entries[place + 1], &self->entries[place],
                (self->count - place) * sizeof(*self->entries));
        self->entries[place] = (stream_position_t){stream, 0};
        self->count++;
    }
    if (seq <= self->entries[place].seq) {
        return false;
    }
    self->entries[place].seq = seq;
    s_invariant(self);
    return true;
}

/* -- two vectors ------------------------------------------------------------------------------- */

/* A walk over the streams of two vectors in their order. */
typedef struct {
    const version_vector_t *a;
    const version_vector_t *b;
    uint32_t next_a;
    uint32_t next_b;
    stream_id_t stream;
    uint64_t seq_a; /* 0: not named */
    uint64_t seq_b;
} s_walk_t;

/* False after the last stream. */
static bool s_next(s_walk_t *walk)
{
    const stream_position_t *a =
        walk->next_a < walk->a->count ? &walk->a->entries[walk->next_a] : NULL;
    const stream_position_t *b =
        walk->next_b < walk->b->count ? &walk->b->entries[walk->next_b] : NULL;
    if (a == NULL && b == NULL) {
        return false;
    }
    int order = a == NULL ? 1 : b == NULL ? -1 : stream_id_compare(a->stream, b->stream);
    walk->stream = order <= 0 ? a->stream : b->stream;
    walk->seq_a = order <= 0 ? a->seq : 0;
    walk->seq_b = order >= 0 ? b->seq : 0;
    walk->next_a += order <= 0 ? 1 : 0;
    walk->next_b += order >= 0 ? 1 : 0;
    return true;
}

void version_vector_merge(version_vector_t *self, const version_vector_t *other)
{
    for (uint32_t i = 0; i < other->count; i++) {
        (void)version_vector_raise(self, other->entries[i].stream, other->entries[i].seq);
    }
}

void version_vector_floor(version_vector_t *self, const version_vector_t *other)
{
    uint32_t kept = 0;
    s_walk_t walk = {.a = self, .b = other};
    while (s_next(&walk)) {
        if (walk.seq_a > 0 && walk.seq_b > 0) {
            uint64_t seq = walk.seq_a < walk.seq_b ? walk.seq_a : walk.seq_b;
            /* kept < next_a: never before an entry that was not looked at. */
            self->entries[kept++] = (stream_position_t){walk.stream, seq};
        }
    }
    self->count = kept;
    s_invariant(self);
}

version_vector_order_t version_vector_compare(const version_vector_t *a, const version_vector_t *b)
{
    bool a_lacks = false;
    bool b_lacks = false;
    s_walk_t walk = {.a = a, .b = b};
    while (s_next(&walk)) {
        a_lacks = a_lacks || walk.seq_a < walk.seq_b;
        b_lacks = b_lacks || walk.seq_b < walk.seq_a;
    }
    if (a_lacks && b_lacks) {
        return VERSION_VECTOR_CONCURRENT;
    }
    return a_lacks ? VERSION_VECTOR_BEFORE : b_lacks ? VERSION_VECTOR_AFTER : VERSION_VECTOR_EQUAL;
}

bool version_vector_covers(const version_vector_t *self, const version_vector_t *inner)
{
    version_vector_order_t order = version_vector_compare(self, inner);
    return order == VERSION_VECTOR_EQUAL || order == VERSION_VECTOR_AFTER;
}

bool version_vector_equal(const version_vector_t *a, const version_vector_t *b)
{
    return version_vector_compare(a, b) == VERSION_VECTOR_EQUAL;
}
