/* A handle is serial << 16 | place: the place finds it, the serial tells it from all others. */
#include "tests/support/sim_handles.h"

#include "common/base/check.h"

#include <assert.h>
#include <stdlib.h>

enum { PLACE_BITS = 16, CAPACITY_MIN = 16 };

static_assert(SIM_HANDLE_COUNT_MAX == 1 << PLACE_BITS, "a place fits its bits");

void sim_handles_done(sim_handles_t *self)
{
    free(self->places);
    *self = (sim_handles_t){0};
}

static void s_free(sim_handles_t *self, uint32_t place)
{
    CHECK(self->places[place].handle != 0);
    self->places[place].handle = 0;
    self->places[place].next_free = self->first_free;
    self->first_free = place + 1;
    self->count--;
}

static void s_free_oldest(sim_handles_t *self)
{
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < self->capacity; i++) {
        if (self->places[i].handle < self->places[oldest].handle) {
            oldest = i;
        }
    }
    s_free(self, oldest);
}

static void s_grow(sim_handles_t *self)
{
    uint32_t capacity = self->capacity == 0 ? CAPACITY_MIN : self->capacity * 2;
    sim_handle_t *places = realloc(self->places, capacity * sizeof(*places));
    CHECK(places != NULL);
    for (uint32_t i = capacity; i > self->capacity; i--) {
        places[i - 1] = (sim_handle_t){.next_free = self->first_free};
        self->first_free = i;
    }
    self->places = places;
    self->capacity = capacity;
}

uint64_t sim_handles_add(sim_handles_t *self, sim_origin_t origin, bool *ret_expired)
{
    *ret_expired = self->count == SIM_HANDLE_COUNT_MAX;
    if (*ret_expired) {
        s_free_oldest(self);
    } else if (self->first_free == 0) {
        s_grow(self);
    }
    uint32_t place = self->first_free - 1;
    sim_handle_t *added = &self->places[place];
    self->first_free = added->next_free;
    added->handle = ++self->serial << PLACE_BITS | place;
    added->origin = origin;
    self->count++;
    CHECK(self->count <= self->capacity);
    return added->handle;
}

static bool s_is_open(const sim_handles_t *self, uint64_t handle)
{
    uint64_t place = handle & (SIM_HANDLE_COUNT_MAX - 1);
    return handle != 0 && place < self->capacity && self->places[place].handle == handle;
}

const sim_origin_t *sim_handles_find(const sim_handles_t *self, uint64_t handle)
{
    uint64_t place = handle & (SIM_HANDLE_COUNT_MAX - 1);
    return s_is_open(self, handle) ? &self->places[place].origin : NULL;
}

bool sim_handles_forget(sim_handles_t *self, uint64_t handle)
{
    if (!s_is_open(self, handle)) {
        return false;
    }
    s_free(self, (uint32_t)(handle & (SIM_HANDLE_COUNT_MAX - 1)));
    return true;
}

uint32_t sim_handles_forget_all(sim_handles_t *self)
{
    uint32_t count = self->count;
    for (uint32_t i = 0; i < self->capacity; i++) {
        if (self->places[i].handle != 0) {
            s_free(self, i);
        }
    }
    CHECK(self->count == 0);
    return count;
}
