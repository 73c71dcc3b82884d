/* What the command line of a service says: which process of which mesh this is. */
#ifndef TIDAL_COMMON_ENV_ENV_ARGUMENTS_H
#define TIDAL_COMMON_ENV_ENV_ARGUMENTS_H

#include "common/topology/topology.h"

#include <stdbool.h>

/* Texts are borrowed from argv. */
typedef struct {
    const char *topology_path;
    const char *data_path;
    const char *name;   /* NULL: told by region and shard */
    const char *region; /* NULL: not given */
    const char *shard;  /* NULL: not given */
    bool wants_help;
} env_arguments_t;

/* The help text; lives for ever. */
const char *env_arguments_help(void);

/* errs ERR_INVALID the text says what was expected and found */
err_t env_arguments_parse(int argc, char **argv, env_arguments_t *ret_arguments, errbuf_t *errbuf);

/* The process of the topology that the arguments name; it must be of this kind.
 * errs ERR_INVALID */
err_t env_arguments_address(const env_arguments_t *self,
                            const topology_t *topology,
                            process_kind_t kind,
                            process_address_t *ret_address,
                            errbuf_t *errbuf);

#endif
