#include "services/tidalctl/pair_set.h"

#include "common/base/check.h"

#include <stdlib.h>

/* splitmix64 over both. */
static uint64_t s_hash(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15U + b;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

static pair_entry_t *s_slot(const pair_set_t *self, uint64_t a, uint64_t b)
{
    size_t at = (size_t)s_hash(a, b) & (self->capacity - 1);
    while (self->entries[at].used && (self->entries[at].a != a || self->entries[at].b != b)) {
        at = (at + 1) & (self->capacity - 1);
    }
    return &self->entries[at];
}

static void s_grow(pair_set_t *self)
{
    pair_set_t larger = {.capacity = self->capacity == 0 ? 1024 : 2 * self->capacity,
                         .count = self->count};
    larger.entries = calloc(larger.capacity, sizeof(pair_entry_t));
    CHECK(larger.entries != NULL);
    for (size_t i = 0; i < self->capacity; i++) {
        if (self->entries[i].used) {
            *s_slot(&larger, self->entries[i].a, self->entries[i].b) = self->entries[i];
        }
    }
    free(self->entries);
    *self = larger;
}

uint8_t *pair_set_require(pair_set_t *self, uint64_t a, uint64_t b)
{
    if (4 * (self->count + 1) > 3 * self->capacity) {
        s_grow(self);
    }
    pair_entry_t *entry = s_slot(self, a, b);
    if (!entry->used) {
        *entry = (pair_entry_t){.a = a, .b = b, .used = true};
        self->count++;
    }
    return &entry->value;
}

const uint8_t *pair_set_find(const pair_set_t *self, uint64_t a, uint64_t b)
{
    if (self->capacity == 0) {
        return NULL;
    }
    const pair_entry_t *entry = s_slot(self, a, b);
    return entry->used ? &entry->value : NULL;
}

void pair_set_done(pair_set_t *self)
{
    free(self->entries);
    *self = (pair_set_t){0};
}
