/* Numbers 0..n-1 with due times, the earliest first; of equal times the one with the lower order.
 *
 * An indexed binary heap: each number is in it at most once, and can be moved or taken out. Orders
 * of equal times must differ, or the result depends on the history. */
#ifndef TIDAL_COMMON_BASE_DUE_HEAP_H
#define TIDAL_COMMON_BASE_DUE_HEAP_H

#include "common/base/check.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    int64_t due_ns;
    uint64_t order;
    uint32_t number;
} due_heap_node_t;

/* {0} is empty and ready. */
typedef struct {
    due_heap_node_t *nodes;
    uint32_t *places; /* of each number in nodes, + 1; 0 not in it */
    uint32_t count;
    uint32_t capacity; /* numbers must be below */
} due_heap_t;

static inline void due_heap_done(due_heap_t *self)
{
    free(self->nodes);
    free(self->places);
    *self = (due_heap_t){0};
}

/* Room for the numbers below `capacity`. */
static inline void due_heap_reserve(due_heap_t *self, uint32_t capacity)
{
    CHECK(capacity >= self->capacity);
    due_heap_node_t *nodes = realloc(self->nodes, capacity * sizeof(*nodes));
    CHECK(nodes != NULL);
    self->nodes = nodes;
    uint32_t *places = realloc(self->places, capacity * sizeof(*places));
    CHECK(places != NULL);
    for (uint32_t i = self->capacity; i < capacity; i++) {
        places[i] = 0;
    }
    self->places = places;
    self->capacity = capacity;
}

/* Due time of the first; INT64_MAX when empty. */
static inline int64_t due_heap_first_ns(const due_heap_t *self)
{
    return self->count > 0 ? self->nodes[0].due_ns : INT64_MAX;
}

/* The first. in self not empty */
static inline uint32_t due_heap_first(const due_heap_t *self)
{
    CHECK(self->count > 0);
    return self->nodes[0].number;
}

static inline bool due_heap_is_before(const due_heap_node_t *a, const due_heap_node_t *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static inline void due_heap_put(due_heap_t *self, uint32_t place, due_heap_node_t node)
{
    self->nodes[place] = node;
    self->places[node.number] = place + 1;
}

/* Puts `node` where `place` is free, or as far up or down as it belongs. */
static inline void due_heap_settle(due_heap_t *self, uint32_t place, due_heap_node_t node)
{
    while (place > 0 && due_heap_is_before(&node, &self->nodes[(place - 1) / 2])) {
        due_heap_put(self, place, self->nodes[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (uint32_t child = 2 * place + 1; child < self->count; child = 2 * place + 1) {
        if (child + 1 < self->count &&
            due_heap_is_before(&self->nodes[child + 1], &self->nodes[child])) {
            child++;
        }
        if (!due_heap_is_before(&self->nodes[child], &node)) {
            break;
        }
        due_heap_put(self, place, self->nodes[child]);
        place = child;
    }
    due_heap_put(self, place, node);
}

/* Gives a number its time, whether it had one or not. */
static inline void due_heap_set(due_heap_t *self, uint32_t number, int64_t due_ns, uint64_t order)
{
    CHECK(number < self->capacity);
    due_heap_node_t node = {due_ns, order, number};
    if (self->places[number] == 0) {
        due_heap_settle(self, self->count++, node);
    } else {
        due_heap_settle(self, self->places[number] - 1, node);
    }
}

/* Takes a number out; one that is not in it is left alone. */
static inline void due_heap_remove(due_heap_t *self, uint32_t number)
{
    CHECK(number < self->capacity);
    if (self->places[number] == 0) {
        return;
    }
    uint32_t place = self->places[number] - 1;
    CHECK(place < self->count);
    CHECK(self->nodes[place].number == number);
    self->places[number] = 0;
    due_heap_node_t last = self->nodes[--self->count];
    if (last.number != number) {
        due_heap_settle(self, place, last);
    }
}

#endif
