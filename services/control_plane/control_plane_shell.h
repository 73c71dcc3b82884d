/* The control plane as a process: gives the control engine its sockets and turns. */
#ifndef TIDAL_SERVICES_CONTROL_PLANE_CONTROL_PLANE_SHELL_H
#define TIDAL_SERVICES_CONTROL_PLANE_CONTROL_PLANE_SHELL_H

#include "common/env/env_process.h"

/* Lives for ever. */
const env_service_t *control_plane_service(void);

#endif
