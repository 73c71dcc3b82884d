/* The shard node as a process: gives the node engine its store, sockets and turns. */
#ifndef TIDAL_SERVICES_SHARD_NODE_SHARD_NODE_SHELL_H
#define TIDAL_SERVICES_SHARD_NODE_SHARD_NODE_SHELL_H

#include "common/env/env_process.h"

/* Lives for ever. */
const env_service_t *shard_node_service(void);

#endif
