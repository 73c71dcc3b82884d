/* Marks in a stream's folder: small files with a line of text for people; that one is there is all
 * that counts. Made by temporary name, sync, rename, sync of the folder; whoever finds one makes it
 * durable before he believes it, for its maker may have died in between. */
#ifndef TIDAL_COMMON_WAL_WAL_MARK_H
#define TIDAL_COMMON_WAL_WAL_MARK_H

#include "common/base/err.h"
#include "common/base/seam.h"

#include <stdbool.h>

typedef struct {
    const char *name; /* of the file */
    const char *text; /* its line, with the line feed */
} wal_mark_t;

/* Makes the mark; the folder too when it is missing. A second time changes nothing.
 * errs ERR_DISK_FULL, ERR_IO  there may be a mark or not; try again · ERR_TOO_LARGE the path
 * cost two syncs, one when it is there */
err_t wal_mark_make(const disk_t *disk, const char *folder, wal_mark_t mark, errbuf_t *errbuf);

/* Whether the mark is there, and then it is durable; a folder that is missing has none.
 * errs ERR_IO · ERR_TOO_LARGE the path */
err_t wal_mark_find(
    const disk_t *disk, const char *folder, wal_mark_t mark, bool *ret_is_marked, errbuf_t *errbuf);

/* Takes the mark away, durably; none there is no error. errs ERR_IO · ERR_TOO_LARGE the path */
err_t wal_mark_remove(const disk_t *disk, const char *folder, wal_mark_t mark, errbuf_t *errbuf);

#endif
