/* The WAL shipper as a process: gives the shipper engine its sockets and turns. */
#ifndef TIDAL_SERVICES_WAL_SHIPPER_WAL_SHIPPER_SHELL_H
#define TIDAL_SERVICES_WAL_SHIPPER_WAL_SHIPPER_SHELL_H

#include "common/env/env_process.h"

/* Lives for ever. */
const env_service_t *wal_shipper_service(void);

#endif
