/* The segment receiver as a process: gives the receiver engine its sockets and turns. */
#ifndef TIDAL_SERVICES_SEGMENT_RECEIVER_SEGMENT_RECEIVER_SHELL_H
#define TIDAL_SERVICES_SEGMENT_RECEIVER_SEGMENT_RECEIVER_SHELL_H

#include "common/env/env_process.h"

/* Lives for ever. */
const env_service_t *segment_receiver_service(void);

#endif
