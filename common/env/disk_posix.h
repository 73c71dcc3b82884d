/* The disk seam over POSIX files.
 *
 * Paths are taken from the root folder, or absolute. Short reads and writes and EINTR are finished
 * here; a failed sync is reported and never retried, for the kernel may have dropped the data and
 * would say yes the second time. */
#ifndef TIDAL_COMMON_ENV_DISK_POSIX_H
#define TIDAL_COMMON_ENV_DISK_POSIX_H

#include "common/base/seam.h"

typedef struct disk_posix disk_posix_t;

/* in root  folder for relative paths; must exist. errs ERR_NOT_FOUND, ERR_IO */
err_t disk_posix_new(const char *root, disk_posix_t **ret_self, errbuf_t *errbuf);
/* All of its files must be closed. Accepts null. */
void disk_posix_destroy(disk_posix_t **self_p);
/* Borrowed; lives as long as self. */
const disk_t *disk_posix_disk(const disk_posix_t *self);

#endif
