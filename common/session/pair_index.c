#include "common/session/pair_index.h"

#include "common/base/check.h"

#include <stdlib.h>

enum { BITS_FIRST = 4, BITS_MAX = 31 };

void pair_index_init(pair_index_t *self)
{
    *self = (pair_index_t){NULL, 0, 0};
}

void pair_index_done(pair_index_t *self)
{
    free(self->slots);
    pair_index_init(self);
}

size_t pair_index_size_bytes(const pair_index_t *self)
{
    return self->slots == NULL ? 0 : sizeof(uint64_t) << self->bits;
}

static size_t s_mask(const pair_index_t *self)
{
    return ((size_t)1 << self->bits) - 1;
}

static size_t s_first_slot(const pair_index_t *self, uint64_t entry)
{
    return (size_t)(entry >> (64 - self->bits));
}

static uint64_t s_entry(uint64_t hash, uint32_t row)
{
    return (hash >> 32) << 32 | row;
}

pair_cursor_t pair_index_find(const pair_index_t *self, uint64_t hash)
{
    return (pair_cursor_t){self->slots == NULL ? 0 : s_first_slot(self, hash),
                           (uint32_t)(hash >> 32)};
}

uint32_t pair_index_next(const pair_index_t *self, pair_cursor_t *cursor)
{
    while (self->slots != NULL && self->slots[cursor->slot] != 0) {
        uint64_t entry = self->slots[cursor->slot];
        cursor->slot = (cursor->slot + 1) & s_mask(self);
        if ((uint32_t)(entry >> 32) == cursor->tag) {
            return (uint32_t)entry;
        }
    }
    return 0;
}

static void s_place(pair_index_t *self, uint64_t entry)
{
    size_t slot = s_first_slot(self, entry);
    while (self->slots[slot] != 0) {
        slot = (slot + 1) & s_mask(self);
    }
    self->slots[slot] = entry;
}

static void s_grow(pair_index_t *self)
{
    uint32_t bits = self->slots == NULL ? BITS_FIRST : self->bits + 1;
    CHECK(bits <= BITS_MAX);
    pair_index_t grown = {calloc((size_t)1 << bits, sizeof(uint64_t)), self->count, bits};
    CHECK(grown.slots != NULL);
    size_t slot_count = self->slots == NULL ? 0 : s_mask(self) + 1;
    for (size_t i = 0; i < slot_count; i++) {
        if (self->slots[i] != 0) {
            s_place(&grown, self->slots[i]);
        }
    }
    free(self->slots);
    *self = grown;
}

void pair_index_insert(pair_index_t *self, uint64_t hash, uint32_t row)
{
    CHECK(row != 0);
    /* At most five slots of eight are used. */
    if (self->slots == NULL || self->count >= (s_mask(self) + 1) / 8 * 5) {
        s_grow(self);
    }
    s_place(self, s_entry(hash, row));
    self->count++;
}

static size_t s_slot_of(const pair_index_t *self, uint64_t hash, uint32_t row)
{
    CHECK(self->slots != NULL);
    uint64_t entry = s_entry(hash, row);
    size_t slot = s_first_slot(self, entry);
    while (self->slots[slot] != entry) {
        CHECK(self->slots[slot] != 0);
        slot = (slot + 1) & s_mask(self);
    }
    return slot;
}

void pair_index_replace(pair_index_t *self, uint64_t hash, uint32_t row, uint32_t other_row)
{
    CHECK(other_row != 0);
    self->slots[s_slot_of(self, hash, row)] = s_entry(hash, other_row);
}

void pair_index_remove(pair_index_t *self, uint64_t hash, uint32_t row)
{
    size_t hole = s_slot_of(self, hash, row);
    size_t mask = s_mask(self);
    /* What lies behind moves into the hole unless it would then lie before its own first slot. */
    for (size_t slot = (hole + 1) & mask; self->slots[slot] != 0; slot = (slot + 1) & mask) {
        size_t first = s_first_slot(self, self->slots[slot]);
        if (((slot - first) & mask) >= ((slot - hole) & mask)) {
            self->slots[hole] = self->slots[slot];
            hole = slot;
        }
    }
    self->slots[hole] = 0;
    self->count--;
}
