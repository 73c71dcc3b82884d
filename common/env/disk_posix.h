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

/* Takes the lock of a folder for this process until destroy: one process at a time owns it, and the
 * lock dies with its owner. The folder is created. in at most one lock per disk_posix_t
 * errs ERR_LOCKED another process has it · ERR_IO */
err_t disk_posix_lock(disk_posix_t *self, const char *folder, errbuf_t *errbuf);

#endif
