/* How many signals of each user count for each item: the answer to "has this user seen it?".
 *
 * A pair is named by the row numbers of its user and its item, one 64-bit word. Seven pairs and
 * their counts lie in one line of 64 bytes, so a look-up loads one line; lines are 3/8 to 3/4 full,
 * which is 12 to 24 bytes per pair. Counts of 255 and more, of which there are few, have a table of
 * their own. The whole is split into 64 parts, by the ids of user and item, so that no single
 * insert waits for all to be moved, and a checkpoint can write a part anew (ledger_seen.c).
 *
 * No result depends on the order of pairs in here. */
#ifndef TIDAL_COMMON_SIGNAL_SEEN_H
#define TIDAL_COMMON_SIGNAL_SEEN_H

#include "common/signal/index.h"
#include "common/signal/rows.h"

#include <stdbool.h>

enum { SEEN_PART_BITS = 6, SEEN_PART_COUNT = 1 << SEEN_PART_BITS, SEEN_LINE_SIZE = 64 };

typedef struct {
    uint32_t user_row; /* 1 and up, below 2^31 */
    uint32_t item_row; /* 1 and up */
} seen_pair_t;

/* A pair, ready to be looked up. */
typedef struct {
    uint64_t word;
    uint64_t hash;
    uint32_t part;
} seen_key_t;

/* in the index_hash of the user's and of the item's id. The part is a function of the ids alone: it
 * is written into checkpoints (checkpoint_format.h) */
static inline seen_key_t seen_key(seen_pair_t pair, uint64_t user_hash, uint64_t item_hash)
{
    uint64_t word = (uint64_t)pair.user_row << 32 | pair.item_row;
    uint64_t ids = user_hash + item_hash * UINT64_C(0x9e3779b97f4a7c15);
    return (seen_key_t){word, index_hash(word), (uint32_t)(ids >> (64 - SEEN_PART_BITS))};
}

static inline seen_pair_t seen_pair(seen_key_t key)
{
    return (seen_pair_t){(uint32_t)(key.word >> 32), (uint32_t)key.word};
}

typedef struct seen_line seen_line_t;

typedef struct {
    seen_line_t *lines; /* NULL until the first pair */
    uint32_t used;      /* pairs, also those that count nothing any more */
    uint32_t bits;      /* 2^bits lines */
} seen_part_t;

typedef struct {
    seen_part_t parts[SEEN_PART_COUNT];
    rows_t large; /* counts of 255 and more */
    index_t large_index;
    uint64_t pair_count; /* with a count above 0 */
    uint64_t size_bytes;
} seen_t;

void seen_init(seen_t *self);
/* Frees; may be called twice. */
void seen_done(seen_t *self);

/* Where the pair's line begins, for __builtin_prefetch; any address while there are none. (A
 * function that only prefetches would be one without effect to gcc, which
 * leaves calls of such out.) */
static inline const void *seen_address(const seen_t *self, seen_key_t key)
{
    const seen_part_t *part = &self->parts[key.part];
    size_t home = part->bits == 0 ? 0 : (size_t)(key.hash >> (64 - part->bits));
    return (const char *)part->lines + home * SEEN_LINE_SIZE;
}

/* Adds delta to the pair's count, which stays >= 0 (checked), and marks the pair as changed.
 * out whether it was marked already */
bool seen_change(seen_t *self, seen_key_t key, int64_t delta);
/* Gives the pair this count, without a mark. out the count before */
uint64_t seen_set(seen_t *self, seen_key_t key, uint64_t count);
/* Marks the pair, which has been in the table, as changed, or takes the mark away.
 * out whether it was marked */
bool seen_mark(seen_t *self, seen_key_t key, bool marked);
/* 0 for a pair that was never there. */
uint64_t seen_count(const seen_t *self, seen_key_t key);

typedef void (*seen_fn)(void *context, seen_pair_t pair, uint64_t count);
/* Every pair of a part with a count above 0, in no order that means anything. */
void seen_walk(const seen_t *self, uint32_t part, seen_fn callback, void *context);

size_t seen_size_bytes(const seen_t *self);

#endif
