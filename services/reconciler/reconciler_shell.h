/* The reconciler of a region as a process: gives the reconcile engine its sockets and turns, logs
 * what it finds, and keeps the last report in <data>/<region>/reconciler/. */
#ifndef TIDAL_SERVICES_RECONCILER_RECONCILER_SHELL_H
#define TIDAL_SERVICES_RECONCILER_RECONCILER_SHELL_H

#include "common/env/env_process.h"

/* Lives for ever. */
const env_service_t *reconciler_service(void);

#endif
