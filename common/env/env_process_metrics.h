/* Metrics that every process has: its loop and its sockets. Names and units: README.md here. */
#ifndef TIDAL_COMMON_ENV_ENV_PROCESS_METRICS_H
#define TIDAL_COMMON_ENV_ENV_PROCESS_METRICS_H

#include "common/env/env_loop.h"
#include "common/env/env_net.h"
#include "common/wire/msg.h"

enum { ENV_PROCESS_OWN_METRIC_COUNT = 24 };

/* out ret_metrics  room for ENV_PROCESS_OWN_METRIC_COUNT; names live for ever. Returns how many. */
uint32_t env_process_metrics(const env_loop_t *loop, env_net_t *net, msg_metric_t *ret_metrics);

#endif
