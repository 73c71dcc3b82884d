/* The real clocks behind now_t. They are read once per loop turn, and everything in that turn gets
 * the same now_t: what one turn does happens at one time. */
#ifndef TIDAL_COMMON_ENV_ENV_CLOCK_H
#define TIDAL_COMMON_ENV_ENV_CLOCK_H

#include "common/base/seam.h"

enum { ENV_NS_PER_MS = 1000 * 1000, ENV_NS_PER_S = 1000 * 1000 * 1000 };

/* CLOCK_MONOTONIC and CLOCK_REALTIME of this moment. */
now_t env_clock_now(void);

#endif
