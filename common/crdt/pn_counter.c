#include "common/crdt/pn_counter.h"

#include "common/base/check.h"

#include <stdlib.h>
#include <string.h>

enum { S_CAPACITY_MIN = 4 };

__extension__ typedef __int128 s_int128_t;

static void s_check_node(node_id_t node)
{
    CHECK(node.region.value >= 1 && node.region.value <= REGION_COUNT_MAX);
    CHECK(node.shard.value < SHARD_COUNT_MAX);
}

void pn_counter_done(pn_counter_t *self)
{
    free(self->slots);
    *self = (pn_counter_t){0, 0, NULL};
}

static int s_compare(node_id_t a, node_id_t b)
{
    int region = (a.region.value > b.region.value) - (a.region.value < b.region.value);
    return region != 0 ? region : (a.shard.value > b.shard.value) - (a.shard.value < b.shard.value);
}

/* Where the node's slot is, or would go. */
static uint32_t s_place(const pn_counter_t *self, node_id_t node)
{
    uint32_t place = 0;
    while (place < self->count && s_compare(self->slots[place].node, node) < 0) {
        place++;
    }
    return place;
}

static bool s_is_at(const pn_counter_t *self, uint32_t place, node_id_t node)
{
    return place < self->count && node_id_equal(self->slots[place].node, node);
}

pn_counter_slot_t pn_counter_get(const pn_counter_t *self, node_id_t node)
{
    uint32_t place = s_place(self, node);
    return s_is_at(self, place, node) ? self->slots[place] : (pn_counter_slot_t){.node = node};
}

static pn_counter_slot_t *s_require(pn_counter_t *self, node_id_t node)
{
    s_check_node(node);
    uint32_t place = s_place(self, node);
    if (!s_is_at(self, place, node)) {
        if (self->count == self->capacity) {
            self->capacity = self->capacity == 0 ? S_CAPACITY_MIN : self->capacity * 2;
            self->slots = realloc(self->slots, self->capacity * sizeof(*self->slots));
            CHECK(self->slots != NULL);
        }
        memmove(&self->slots[place + 1], &self->slots[place],
                (self->count - place) * sizeof(*self->slots));
        self->slots[place] = (pn_counter_slot_t){.node = node};
        self->count++;
        CHECK(self->count <= PN_COUNTER_SLOT_COUNT_MAX);
    }
    return &self->slots[place];
}

static uint64_t s_sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void pn_counter_add(pn_counter_t *self, const pn_counter_slot_t *delta)
{
    if (delta->plus == 0 && delta->minus == 0) {
        return;
    }
    pn_counter_slot_t *slot = s_require(self, delta->node);
    slot->plus = s_sum(slot->plus, delta->plus);
    slot->minus = s_sum(slot->minus, delta->minus);
}

void pn_counter_raise(pn_counter_t *self, const pn_counter_slot_t *slot)
{
    if (slot->plus == 0 && slot->minus == 0) {
        return;
    }
    pn_counter_slot_t *at = s_require(self, slot->node);
    at->plus = slot->plus > at->plus ? slot->plus : at->plus;
    at->minus = slot->minus > at->minus ? slot->minus : at->minus;
}

void pn_counter_merge(pn_counter_t *self, const pn_counter_t *other)
{
    for (uint32_t i = 0; i < other->count; i++) {
        pn_counter_raise(self, &other->slots[i]);
    }
}

int64_t pn_counter_value(const pn_counter_t *self)
{
    s_int128_t sum = 0; /* at most 640 numbers of 64 bits */
    for (uint32_t i = 0; i < self->count; i++) {
        sum += (s_int128_t)self->slots[i].plus - (s_int128_t)self->slots[i].minus;
    }
    return sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : (int64_t)sum;
}
