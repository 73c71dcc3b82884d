/* Deadlines of a loop, as a binary heap: arm, clear and fire in O(log n), nothing when idle.
 *
 * Equal deadlines fire in the order of arming, so that what happens at one time does not depend on
 * the heap. A timer fires once and is then disarmed. Within its own callback a timer may be armed
 * again, cleared or destroyed; one that is armed for now or earlier fires in the next call, so that
 * no callback can keep the loop busy. */
#ifndef TIDAL_COMMON_ENV_ENV_TIMERS_H
#define TIDAL_COMMON_ENV_ENV_TIMERS_H

#include "common/base/seam.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct env_timers env_timers_t;
typedef struct env_timer env_timer_t;

typedef void (*env_timer_fn)(void *context, now_t now);

env_timers_t *env_timers_new(void);
/* All timers must be destroyed before. */
void env_timers_destroy(env_timers_t **self_p);

/* A disarmed timer; the only call here that allocates. Returns owned. */
env_timer_t *env_timer_new(env_timers_t *timers, env_timer_fn callback, void *context);
void env_timer_destroy(env_timer_t **self_p);

/* Fires at the first turn whose mono_ns is at least at_ns; replaces an earlier deadline. */
void env_timer_arm(env_timer_t *self, int64_t at_ns);
void env_timer_clear(env_timer_t *self);

/* INT64_MAX when nothing is armed. */
int64_t env_timers_next_ns(const env_timers_t *self);
/* Calls what is due, earliest first; returns how many fired. */
uint32_t env_timers_fire(env_timers_t *self, now_t now);

#endif
