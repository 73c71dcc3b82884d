/* From a hash to the number of a row: open addressing with one word per slot.
 *
 * A slot holds the upper half of the hash and the row number; 0 is empty. A hash's slot is its
 * uppermost bits, so doubling the table walks the old one once in order and writes the new one in
 * order, without looking at a row. Who looks something up compares the rows that come out: two keys
 * may share 32 bits of hash. Nothing is ever removed. No result depends on the order of slots. */
#ifndef TIDAL_COMMON_SIGNAL_INDEX_H
#define TIDAL_COMMON_SIGNAL_INDEX_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t *slots; /* NULL until the first insert */
    uint32_t count;
    uint32_t bits; /* 2^bits slots */
} index_t;

/* Where a look-up stands. */
typedef struct {
    size_t slot;
    uint32_t tag;
} index_cursor_t;

/* Spreads a 64-bit key (the finalizer of MurmurHash3). */
static inline uint64_t index_hash(uint64_t key)
{
    key ^= key >> 33;
    key *= UINT64_C(0xff51afd7ed558ccd);
    key ^= key >> 33;
    key *= UINT64_C(0xc4ceb9fe1a85ec53);
    return key ^ key >> 33;
}

void index_init(index_t *self);
/* Frees; may be called twice. */
void index_done(index_t *self);
/* The caller has looked and found that the key has no row. row 1.. */
void index_insert(index_t *self, uint64_t hash, uint32_t row);
size_t index_size_bytes(const index_t *self);

static inline index_cursor_t index_find(const index_t *self, uint64_t hash)
{
    uint32_t tag = (uint32_t)(hash >> 32);
    return (index_cursor_t){self->slots == NULL ? 0 : tag >> (32 - self->bits), tag};
}

/* The next row that may be the key's; 0 when there is none (left). */
static inline uint32_t index_next(const index_t *self, index_cursor_t *cursor)
{
    if (self->slots == NULL) {
        return 0;
    }
    size_t mask = ((size_t)1 << self->bits) - 1;
    for (;;) {
        uint64_t slot = self->slots[cursor->slot];
        if (slot == 0) {
            return 0;
        }
        cursor->slot = (cursor->slot + 1) & mask;
        if ((uint32_t)(slot >> 32) == cursor->tag) {
            return (uint32_t)slot;
        }
    }
}

/* The slot of a hash, for __builtin_prefetch; NULL while there are none. */
static inline const void *index_address(const index_t *self, uint64_t hash)
{
    return self->slots == NULL ? NULL : &self->slots[hash >> (64 - self->bits)];
}

#endif
