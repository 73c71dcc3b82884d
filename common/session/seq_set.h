/* A set of 64-bit numbers, kept as maximal intervals: neighbours are always merged, so equal sets
 * have equal intervals, whatever the order in which the numbers came.
 *
 * One interval lies in the set itself. More lie in blocks of up to SEQ_BLOCK_INTERVAL_COUNT_MAX
 * neighbours; an array in order refers to the blocks. Adding costs two binary searches and moving
 * at most one block; when a block is split, also the array behind it.
 *
 * Each block has a number of its own, under which a checkpoint can store it, and remembers whether
 * it changed since. A set of one interval counts as block 0. */
#ifndef TIDAL_COMMON_SESSION_SEQ_SET_H
#define TIDAL_COMMON_SESSION_SEQ_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEQ_BLOCK_INTERVAL_COUNT_MAX = 96 };

typedef struct {
    uint64_t first;
    uint64_t last; /* inclusive, >= first */
} seq_interval_t;

typedef struct seq_block seq_block_t;

typedef struct {
    uint64_t first; /* of the block's first interval */
    seq_block_t *block;
} seq_block_ref_t;

/* Zeroed memory is an empty set. */
typedef struct {
    seq_interval_t single; /* while has_single */
    seq_block_ref_t *refs; /* rising; NULL while there is no block */
    size_t size_bytes;     /* memory held beyond this struct */
    uint32_t ref_count;    /* 0 while has_single and in an empty set */
    uint32_t ref_capacity;
    uint32_t next_block_id;
    bool has_single;
    bool is_single_changed;
} seq_set_t;

/* What one number did to the set. */
typedef struct {
    seq_interval_t now;   /* the interval in which it lies */
    seq_interval_t below; /* that ended right below it and is now part of `now` */
    seq_interval_t above;
    bool has_below;
    bool has_above;
    bool is_block_dropped; /* a block became empty that may have been taken: */
    uint32_t dropped_block_id;
} seq_change_t;

/* Frees; empties. */
void seq_set_done(seq_set_t *self);

bool seq_set_has(const seq_set_t *self, uint64_t seq);
/* False when it was there already: then nothing changes and ret_change is not written. */
bool seq_set_add(seq_set_t *self, uint64_t seq, seq_change_t *ret_change);

/* Intervals in rising order; {0} is the beginning, false the end. Adding ends a walk. */
typedef struct {
    uint32_t ref;
    uint32_t interval;
} seq_cursor_t;
bool seq_set_next(const seq_set_t *self, seq_cursor_t *cursor, seq_interval_t *ret_interval);

/* One block; lives until the set changes. */
typedef struct {
    uint32_t id;
    uint32_t count;
    const seq_interval_t *intervals; /* rising */
} seq_block_view_t;

/* Takes the next block that changed since it was last taken; it counts as unchanged from now on.
 * *cursor begins at 0; false at the end. */
bool seq_set_take_changed(seq_set_t *self, uint32_t *cursor, seq_block_view_t *ret_block);
/* Every block counts as changed. */
void seq_set_mark_changed(seq_set_t *self);

/* Adds a block as it was taken, in any order of blocks; it counts as unchanged.
 * in   intervals  1..SEQ_BLOCK_INTERVAL_COUNT_MAX, each first <= last, rising, not touching
 * out  false when it does not fit between the blocks that are there, or the id is out of range;
 *      nothing changed then. Whether an id comes twice is for the caller to know */
bool seq_set_load_block(seq_set_t *self, const seq_block_view_t *block);

#endif
