/* The gateway as a process: gives the gateway engine its sockets and turns. */
#ifndef TIDAL_SERVICES_GATEWAY_GATEWAY_SHELL_H
#define TIDAL_SERVICES_GATEWAY_GATEWAY_SHELL_H

#include "common/env/env_process.h"

/* Lives for ever. */
const env_service_t *gateway_service(void);

#endif
