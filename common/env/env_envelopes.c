#include "common/env/env_envelopes.h"

#include "common/base/check.h"

#include <stdlib.h>

enum { INLINE_SIZE = 56, INDEX_NONE = ROUTER_ENVELOPE_COUNT_MAX };

static_assert(CLIENT_PREFIX_FRAME_SIZE_MAX <= UINT16_MAX, "frame sizes are kept in 16 bits");

typedef struct {
    uint32_t generation; /* odd while open; a handle carries it */
    uint32_t older;      /* open: neighbours in the order of opening */
    uint32_t newer;      /* closed: the next free slot */
    uint8_t frame_count;
    uint16_t sizes[ENV_ENVELOPE_FRAME_COUNT_MAX];
    int64_t opened_ns;
    uint8_t *outside; /* the frames, when they do not fit inside; owned */
    uint8_t inside[INLINE_SIZE];
} envelope_t;

struct env_envelopes {
    envelope_t *slots;
    uint32_t capacity;
    uint32_t fresh_count; /* slots that were ever used: the others are untouched memory */
    uint32_t open_count;
    uint32_t free_head;
    uint32_t oldest;
    uint32_t newest;
    int64_t expiry_ns;
    uint64_t expired_count;
};

static void s_invariant(const env_envelopes_t *self)
{
    CHECK(self->open_count <= self->fresh_count);
    CHECK(self->fresh_count <= self->capacity);
    CHECK((self->oldest == INDEX_NONE) == (self->open_count == 0));
    CHECK((self->newest == INDEX_NONE) == (self->open_count == 0));
}

env_envelopes_t *env_envelopes_new(uint32_t capacity, int64_t expiry_ns)
{
    CHECK(capacity > 0 && capacity <= ROUTER_ENVELOPE_COUNT_MAX);
    CHECK(expiry_ns > 0);
    env_envelopes_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    *self = (env_envelopes_t){.capacity = capacity,
                              .free_head = INDEX_NONE,
                              .oldest = INDEX_NONE,
                              .newest = INDEX_NONE,
                              .expiry_ns = expiry_ns};
    self->slots = calloc(capacity, sizeof(envelope_t));
    CHECK(self->slots != NULL);
    s_invariant(self);
    return self;
}

void env_envelopes_destroy(env_envelopes_t **self_p)
{
    CHECK(self_p != NULL);
    env_envelopes_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->fresh_count; i++) {
        free(self->slots[i].outside);
    }
    free(self->slots);
    free(self);
    *self_p = NULL;
}

/* -- slots ------------------------------------------------------------------------------------- */

static bool s_is_open(const envelope_t *slot)
{
    return (slot->generation & 1U) != 0;
}

static void s_close(env_envelopes_t *self, uint32_t index)
{
    envelope_t *slot = &self->slots[index];
    CHECK(s_is_open(slot));
    *(slot->older == INDEX_NONE ? &self->oldest : &self->slots[slot->older].newer) = slot->newer;
    *(slot->newer == INDEX_NONE ? &self->newest : &self->slots[slot->newer].older) = slot->older;
    free(slot->outside);
    slot->outside = NULL;
    slot->generation++;
    slot->newer = self->free_head;
    self->free_head = index;
    self->open_count--;
}

/* INDEX_NONE when full. */
static uint32_t s_take_slot(env_envelopes_t *self, int64_t now_ns)
{
    if (self->free_head == INDEX_NONE && self->fresh_count < self->capacity) {
        return self->fresh_count++;
    }
    bool is_full = self->free_head == INDEX_NONE;
    if (is_full && now_ns - self->slots[self->oldest].opened_ns >= self->expiry_ns) {
        s_close(self, self->oldest);
        self->expired_count++;
    }
    uint32_t index = self->free_head;
    if (index != INDEX_NONE) {
        self->free_head = self->slots[index].newer;
    }
    return index;
}

static uint8_t *s_reserve(envelope_t *slot, size_t size)
{
    if (size <= INLINE_SIZE) {
        return slot->inside;
    }
    slot->outside = malloc(size);
    CHECK(slot->outside != NULL);
    return slot->outside;
}

uint64_t env_envelopes_open(env_envelopes_t *self,
                            const slice_t *frames,
                            uint32_t frame_count,
                            int64_t now_ns)
{
    s_invariant(self);
    CHECK(frame_count >= 1 && frame_count <= ENV_ENVELOPE_FRAME_COUNT_MAX);
    uint32_t index = s_take_slot(self, now_ns);
    if (index == INDEX_NONE) {
        return 0;
    }
    size_t size = 0;
    for (uint32_t i = 0; i < frame_count; i++) {
        CHECK(frames[i].size <= CLIENT_PREFIX_FRAME_SIZE_MAX);
        size += frames[i].size;
    }
    envelope_t *slot = &self->slots[index];
    CHECK(!s_is_open(slot));
    uint8_t *at = s_reserve(slot, size);
    for (uint32_t i = 0; i < frame_count; i++) {
        slot->sizes[i] = (uint16_t)frames[i].size;
        if (frames[i].size > 0) {
            memcpy(at, frames[i].data, frames[i].size);
            at += frames[i].size;
        }
    }
    slot->generation++;
    slot->frame_count = (uint8_t)frame_count;
    slot->opened_ns = now_ns;
    slot->older = self->newest;
    slot->newer = INDEX_NONE;
    *(self->newest == INDEX_NONE ? &self->oldest : &self->slots[self->newest].newer) = index;
    self->newest = index;
    self->open_count++;
    s_invariant(self);
    return (uint64_t)slot->generation << 32 | index;
}

static envelope_t *s_find(const env_envelopes_t *self, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;
    uint32_t generation = (uint32_t)(handle >> 32);
    if (index >= self->fresh_count || (generation & 1U) == 0) {
        return NULL;
    }
    envelope_t *slot = &self->slots[index];
    return slot->generation == generation ? slot : NULL;
}

uint32_t env_envelopes_find(const env_envelopes_t *self,
                            uint64_t handle,
                            slice_t ret_frames[ENV_ENVELOPE_FRAME_COUNT_MAX])
{
    const envelope_t *slot = s_find(self, handle);
    if (slot == NULL) {
        return 0;
    }
    const uint8_t *at = slot->outside != NULL ? slot->outside : slot->inside;
    for (uint32_t i = 0; i < slot->frame_count; i++) {
        ret_frames[i] = slice_make(at, slot->sizes[i]);
        at += slot->sizes[i];
    }
    return slot->frame_count;
}

bool env_envelopes_close(env_envelopes_t *self, uint64_t handle)
{
    s_invariant(self);
    if (s_find(self, handle) == NULL) {
        return false;
    }
    s_close(self, (uint32_t)handle);
    s_invariant(self);
    return true;
}

uint32_t env_envelopes_count(const env_envelopes_t *self)
{
    return self->open_count;
}

uint64_t env_envelopes_expired_count(const env_envelopes_t *self)
{
    return self->expired_count;
}
