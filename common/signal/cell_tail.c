#include "common/signal/cell_tail.h"

#include "common/base/check.h"

#include <string.h>

enum { LIST_CAPACITY_FIRST = 3, TAIL_SIZE_MAX = 7168 };

static_assert(sizeof(cell_tail_t) == 32, "as cell.h says");
static_assert(sizeof(cell_tail_t) + CELL_OLDER_COUNT * sizeof(uint128_t) +
                      (MINUTES_KEPT + HOURS_KEPT) * sizeof(uint64_t) <=
                  TAIL_SIZE_MAX,
              "the largest tail");

static void s_invariant(const cell_tail_t *self)
{
    CHECK(self->minute_count <= self->minute_capacity);
    CHECK(self->hour_count <= self->hour_capacity);
    CHECK(self->size <= TAIL_SIZE_MAX);
}

static size_t s_room_size(cell_room_t room)
{
    return sizeof(cell_tail_t) + (room.older ? CELL_OLDER_COUNT * sizeof(uint128_t) : 0) +
           (room.minutes + room.hours) * sizeof(uint64_t);
}

void cell_tail_free(cell_tail_t **self_p, memory_t *memory)
{
    if (*self_p != NULL) {
        memory_give(memory, *self_p, (*self_p)->size);
        *self_p = NULL;
    }
}

static void s_copy_content(cell_tail_t *to, cell_tail_t *from)
{
    to->minute_count = from->minute_count;
    to->minute_total = from->minute_total;
    to->hour_count = from->hour_count;
    to->hour_total = from->hour_total;
    (void)memcpy(cell_tail_minutes(to).entries, cell_tail_minutes(from).entries,
                 from->minute_count * sizeof(uint64_t));
    (void)memcpy(cell_tail_hours(to).entries, cell_tail_hours(from).entries,
                 from->hour_count * sizeof(uint64_t));
    if (from->has_older != 0) {
        (void)memcpy(cell_tail_older(to), cell_tail_older(from),
                     CELL_OLDER_COUNT * sizeof(uint128_t));
    }
}

static cell_tail_t *s_new(memory_t *memory, cell_room_t room)
{
    size_t size = s_room_size(room);
    cell_tail_t *self = memory_take(memory, size);
    *self = (cell_tail_t){.minute_capacity = (uint16_t)room.minutes,
                          .hour_capacity = (uint16_t)room.hours,
                          .size = (uint16_t)size,
                          .has_older = room.older ? 1 : 0};
    if (room.older) {
        (void)memset(cell_tail_older(self), 0, CELL_OLDER_COUNT * sizeof(uint128_t));
    }
    return self;
}

/* The capacity grows by half until it holds what is wanted. */
static uint32_t s_grown(uint32_t capacity, uint32_t wanted, uint32_t max)
{
    if (wanted <= capacity) {
        return capacity;
    }
    uint32_t grown = capacity + capacity / 2 + LIST_CAPACITY_FIRST;
    grown = grown < wanted ? wanted : grown;
    return grown > max ? max : grown;
}

void cell_tail_reserve(cell_tail_t **self_p, memory_t *memory, cell_room_t room)
{
    cell_tail_t *self = *self_p;
    cell_room_t has = {0, 0, false};
    if (self != NULL) {
        s_invariant(self);
        has = (cell_room_t){self->minute_capacity, self->hour_capacity, self->has_older != 0};
        if (room.minutes <= has.minutes && room.hours <= has.hours && (has.older || !room.older)) {
            return;
        }
    }
    has.minutes = s_grown(has.minutes, room.minutes, MINUTES_KEPT);
    has.hours = s_grown(has.hours, room.hours, HOURS_KEPT);
    has.older = has.older || room.older;
    if (self == NULL && !room.older) {
        /* What leaves the newest minute soon leaves the newest hour. */
        has.minutes = has.minutes > 0 ? has.minutes : LIST_CAPACITY_FIRST;
        has.hours = has.hours > 0 ? has.hours : LIST_CAPACITY_FIRST;
    }
    cell_tail_t *grown = s_new(memory, has);
    if (self != NULL) {
        s_copy_content(grown, self);
        cell_tail_free(self_p, memory);
    }
    *self_p = grown;
    s_invariant(grown);
}
