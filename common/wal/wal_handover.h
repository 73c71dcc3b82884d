/* The mark by which a node gives one of its own streams to the region's receiver, for ever.
 *
 * A stream's folder has one writer: the node that originates it or, for a replica, the receiver. A
 * node that finds that other regions hold more of its own stream than it does will never write that
 * stream again (its numbers would be used twice); what is missing is fetched like a replica. The
 * mark says so durably:
 *
 *   <stream folder>/handed-over   a line of text for people; that it is there is all that counts
 *
 *   no mark     the node opens the folder to write, the receiver does not touch it
 *   mark        the receiver does, the node reads
 *
 * The node closes the log first, then makes the mark, then tells the receiver; whoever sees the
 * mark makes it durable before he believes it. So a crash between any two steps leaves a folder
 * that has one writer: without the mark the node finds out again, with it both know. */
#ifndef TIDAL_COMMON_WAL_WAL_HANDOVER_H
#define TIDAL_COMMON_WAL_WAL_HANDOVER_H

#include "common/base/err.h"
#include "common/base/seam.h"

#include <stdbool.h>

/* Makes the mark; the folder too when it is missing. A second time changes nothing.
 * errs ERR_DISK_FULL, ERR_IO  there may be a mark or not; try again · ERR_TOO_LARGE the path
 * cost two syncs, one when it is there */
err_t wal_handover_mark(const disk_t *disk, const char *folder, errbuf_t *errbuf);

/* Whether the mark is there, and then it is durable; a folder that is missing has none.
 * errs ERR_IO · ERR_TOO_LARGE the path */
err_t wal_handover_find(const disk_t *disk,
                        const char *folder,
                        bool *ret_is_marked,
                        errbuf_t *errbuf);

#endif
