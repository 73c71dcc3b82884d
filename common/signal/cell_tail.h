/* The part of a cell that lies outside its row: older minutes, hours and landmarks. For the sources
 * of the cell alone. */
#ifndef TIDAL_COMMON_SIGNAL_CELL_TAIL_H
#define TIDAL_COMMON_SIGNAL_CELL_TAIL_H

#include "common/signal/buckets.h"
#include "common/signal/decay.h"
#include "common/signal/memory.h"

enum { CELL_OLDER_COUNT = DECAY_LANDMARKS_KEPT - 1 };

/* Followed in memory by uint128_t older[CELL_OLDER_COUNT] where has_older, then by the entries of
 * the minutes and of the hours, each up to their capacity. */
typedef struct cell_tail {
    uint64_t minute_total; /* sum of the list */
    uint64_t hour_total;
    uint16_t minute_count; /* entries, of minute_capacity */
    uint16_t minute_capacity;
    uint16_t hour_count;
    uint16_t hour_capacity;
    uint16_t size; /* of the block */
    uint16_t has_older;
    uint32_t zero;
} cell_tail_t;

/* What a tail has room for, or is to have. */
typedef struct {
    uint32_t minutes;
    uint32_t hours;
    bool older;
} cell_room_t;

/* Makes a tail, or replaces it by a larger one with the same content. */
void cell_tail_reserve(cell_tail_t **self_p, memory_t *memory, cell_room_t room);
/* Gives it back and nulls; NULL is allowed. */
void cell_tail_free(cell_tail_t **self_p, memory_t *memory);

/* The sums of the landmarks 1, 2 and 3 before the newest one; NULL when none was ever kept. These
 * views live until the next cell_tail_reserve. */
static inline uint128_t *cell_tail_older(cell_tail_t *self)
{
    void *after_head = self + 1;
    return self->has_older != 0 ? after_head : NULL;
}

static inline uint64_t *cell_tail_entries(cell_tail_t *self)
{
    void *after_head = self + 1;
    uint128_t *older = after_head;
    void *after_older = self->has_older != 0 ? older + CELL_OLDER_COUNT : older;
    return after_older;
}

static inline buckets_t cell_tail_minutes(cell_tail_t *self)
{
    return (buckets_t){cell_tail_entries(self), &self->minute_count, self->minute_capacity,
                       &self->minute_total};
}

static inline buckets_t cell_tail_hours(cell_tail_t *self)
{
    return (buckets_t){cell_tail_entries(self) + self->minute_capacity, &self->hour_count,
                       self->hour_capacity, &self->hour_total};
}

#endif
