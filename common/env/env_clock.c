#include "common/env/env_clock.h"

#include "common/base/check.h"

#include <time.h>

static int64_t s_read_ns(clockid_t clock_id)
{
    struct timespec time;
    CHECK(clock_gettime(clock_id, &time) == 0);
    return (int64_t)time.tv_sec * ENV_NS_PER_S + time.tv_nsec;
}

now_t env_clock_now(void)
{
    return (now_t){.mono_ns = s_read_ns(CLOCK_MONOTONIC), .wall_ns = s_read_ns(CLOCK_REALTIME)};
}
