/* One process per name and data folder: the lock file <folder>/lock.
 *
 * Two processes that write the same files would destroy each other's log. The lock is of the kernel
 * (flock), so it dies with its owner, however it dies; the file tells a person who that is. */
#ifndef TIDAL_COMMON_ENV_ENV_LOCK_H
#define TIDAL_COMMON_ENV_ENV_LOCK_H

#include "common/base/err.h"

typedef struct env_lock env_lock_t;

/* Makes the folder and what is missing above it, and takes its lock.
 * errs ERR_LOCKED another process has it: the text names the folder, the process and what to do
 *      ERR_IO the folder or the file cannot be made or written */
err_t env_lock_take(const char *folder,
                    const char *process_name,
                    env_lock_t **ret_lock,
                    errbuf_t *errbuf);
/* The file stays. Nulls, accepts NULL. */
void env_lock_release(env_lock_t **self_p);

#endif
