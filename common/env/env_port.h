/* Who listens on a port of this host, for the text of an error: read from /proc. */
#ifndef TIDAL_COMMON_ENV_ENV_PORT_H
#define TIDAL_COMMON_ENV_ENV_PORT_H

#include "common/base/err.h"

enum { ENV_PORT_NAME_SIZE = 64 };

typedef struct {
    long pid;
    char name[ENV_PORT_NAME_SIZE]; /* as the kernel has it (comm), or "?" */
} env_port_holder_t;

/* in endpoint  tcp://<address>:<port>
 * errs ERR_NOT_FOUND nobody, or somebody whom this user may not see · ERR_INVALID no such endpoint
 * cost reads /proc of every process; for error paths only */
err_t env_port_find_holder(const char *endpoint, env_port_holder_t *ret_holder);

#endif
