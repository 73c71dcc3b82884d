#include "common/env/env_timers.h"

#include "common/base/check.h"

#include <stdlib.h>

enum { INDEX_NONE = -1 };

struct env_timer {
    env_timers_t *timers;
    env_timer_fn callback;
    void *context;
    int64_t at_ns;
    uint64_t order; /* of arming, breaks ties */
    int64_t index;  /* in the heap, INDEX_NONE when disarmed */
};

struct env_timers {
    env_timer_t **heap; /* armed timers, parent before child */
    size_t count;
    size_t capacity; /* at least timer_count: arming never allocates */
    size_t timer_count;
    uint64_t last_order;
    int64_t floor_ns; /* time of the last firing: a deadline before it counts as this, or a timer
                         that is always late would stay in front of those that are due */
};

env_timers_t *env_timers_new(void)
{
    env_timers_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->floor_ns = INT64_MIN;
    return self;
}

void env_timers_destroy(env_timers_t **self_p)
{
    CHECK(self_p != NULL);
    env_timers_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    CHECK(self->timer_count == 0);
    free(self->heap);
    free(self);
    *self_p = NULL;
}

static bool s_is_before(const env_timer_t *a, const env_timer_t *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void s_put(env_timers_t *self, size_t index, env_timer_t *timer)
{
    self->heap[index] = timer;
    timer->index = (int64_t)index;
}

static void s_sift_up(env_timers_t *self, size_t index)
{
    env_timer_t *timer = self->heap[index];
    while (index > 0 && s_is_before(timer, self->heap[(index - 1) / 2])) {
        s_put(self, index, self->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    s_put(self, index, timer);
}

static void s_sift_down(env_timers_t *self, size_t index)
{
    env_timer_t *timer = self->heap[index];
    for (size_t child = 2 * index + 1; child < self->count; child = 2 * index + 1) {
        if (child + 1 < self->count && s_is_before(self->heap[child + 1], self->heap[child])) {
            child++;
        }
        if (!s_is_before(self->heap[child], timer)) {
            break;
        }
        s_put(self, index, self->heap[child]);
        index = child;
    }
    s_put(self, index, timer);
}

env_timer_t *env_timer_new(env_timers_t *timers, env_timer_fn callback, void *context)
{
    CHECK(timers != NULL);
    CHECK(callback != NULL);
    if (timers->timer_count == timers->capacity) {
        timers->capacity = timers->capacity == 0 ? 16 : 2 * timers->capacity;
        env_timer_t **heap = realloc(timers->heap, timers->capacity * sizeof(env_timer_t *));
        CHECK(heap != NULL);
        timers->heap = heap;
    }
    timers->timer_count++;
    env_timer_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    *self = (env_timer_t){
        .timers = timers, .callback = callback, .context = context, .index = INDEX_NONE};
    return self;
}

void env_timer_destroy(env_timer_t **self_p)
{
    CHECK(self_p != NULL);
    env_timer_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    env_timer_clear(self);
    CHECK(self->timers->timer_count > 0);
    self->timers->timer_count--;
    free(self);
    *self_p = NULL;
}

void env_timer_arm(env_timer_t *self, int64_t at_ns)
{
    env_timers_t *timers = self->timers;
    env_timer_clear(self);
    CHECK(timers->count < timers->capacity);
    self->at_ns = at_ns > timers->floor_ns ? at_ns : timers->floor_ns;
    self->order = ++timers->last_order;
    timers->count++;
    s_put(timers, timers->count - 1, self);
    s_sift_up(timers, timers->count - 1);
}

void env_timer_clear(env_timer_t *self)
{
    if (self->index == INDEX_NONE) {
        return;
    }
    env_timers_t *timers = self->timers;
    size_t index = (size_t)self->index;
    CHECK(index < timers->count);
    CHECK(timers->heap[index] == self);
    env_timer_t *last = timers->heap[--timers->count];
    if (last != self) {
        s_put(timers, index, last);
        s_sift_up(timers, index);
        s_sift_down(timers, (size_t)last->index);
    }
    self->index = INDEX_NONE;
}

int64_t env_timers_next_ns(const env_timers_t *self)
{
    return self->count > 0 ? self->heap[0]->at_ns : INT64_MAX;
}

uint32_t env_timers_fire(env_timers_t *self, now_t now)
{
    uint32_t fired_count = 0;
    self->floor_ns = now.mono_ns;
    uint64_t last_order = self->last_order; /* what is armed from here on waits for the next call */
    while (self->count > 0) {
        env_timer_t *timer = self->heap[0];
        if (timer->at_ns > now.mono_ns || timer->order > last_order) {
            break;
        }
        env_timer_clear(timer);
        fired_count++;
        timer->callback(timer->context, now); /* may destroy the timer */
    }
    return fired_count;
}
