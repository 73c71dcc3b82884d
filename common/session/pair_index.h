/* From a hash to the number of a row, with removal: open addressing, one word per slot, no marks
 * left behind by what was removed.
 *
 * A slot holds the upper half of the hash and the row number; 0 is empty. A hash's first slot is
 * its uppermost bits. Who looks something up compares the rows that come out: two keys may share 32
 * bits of hash. No result depends on the order of slots. */
#ifndef TIDAL_COMMON_SESSION_PAIR_INDEX_H
#define TIDAL_COMMON_SESSION_PAIR_INDEX_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t *slots; /* NULL until the first insert */
    uint32_t count;
    uint32_t bits; /* 2^bits slots */
} pair_index_t;

/* Where a look-up stands. */
typedef struct {
    size_t slot;
    uint32_t tag;
} pair_cursor_t;

void pair_index_init(pair_index_t *self);
/* Frees; may be called twice. */
void pair_index_done(pair_index_t *self);
size_t pair_index_size_bytes(const pair_index_t *self);

pair_cursor_t pair_index_find(const pair_index_t *self, uint64_t hash);
/* The next row that may be the key's; 0 when there is none (left). */
uint32_t pair_index_next(const pair_index_t *self, pair_cursor_t *cursor);

/* The caller has looked and found that the key has no row. row 1.. */
void pair_index_insert(pair_index_t *self, uint64_t hash, uint32_t row);
/* The slot of (hash, row), which must be there, now leads to another row. */
void pair_index_replace(pair_index_t *self, uint64_t hash, uint32_t row, uint32_t other_row);
/* (hash, row) must be there. Memory is kept. */
void pair_index_remove(pair_index_t *self, uint64_t hash, uint32_t row);

#endif
