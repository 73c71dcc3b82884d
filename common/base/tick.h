/* Periodic work on common ticks. The processes of one host share its monotonic clock: when all
 * repeat what they repeat at multiples of the interval, a message finds its receiver awake, and the
 * processors of a mesh at rest wake less often (decision 38). */
#ifndef TIDAL_COMMON_BASE_TICK_H
#define TIDAL_COMMON_BASE_TICK_H

#include <stdint.h>

/* The first multiple of interval_ns after now_ns, of the same clock.
 * in now_ns >= 0, interval_ns > 0 */
static inline int64_t tick_after(int64_t now_ns, int64_t interval_ns)
{
    return now_ns - now_ns % interval_ns + interval_ns;
}

#endif
