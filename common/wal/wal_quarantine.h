/* Where damaged segments of a replica go: kept for whoever wants to know what happened, out of the
 * way of the stream, and bounded.
 *
 *   <stream folder>/quarantine/<index, 8 digits>-<first seq, 20 digits>.seg
 *                              and beside each the reason, <the same>.reason
 *
 * The index rises, so names sort by age. When a new one would exceed the bounds, the oldest go; the
 * newest always stays. */
#ifndef TIDAL_COMMON_WAL_WAL_QUARANTINE_H
#define TIDAL_COMMON_WAL_WAL_QUARANTINE_H

#include "common/wal/wal_files.h"

typedef struct {
    uint32_t count_max;      /* files; 0 means WAL_QUARANTINE_COUNT_MAX */
    uint64_t size_bytes_max; /* 0 means WAL_QUARANTINE_SIZE_MAX */
} wal_quarantine_limits_t;

typedef struct {
    uint32_t count; /* segments */
    uint64_t size_bytes;
} wal_quarantine_usage_t;

/* Moves one segment file of the stream there, durably. A reason that cannot be written for want of
 * space is left out. errs ERR_NOT_FOUND no such segment · ERR_IO · ERR_DISK_FULL */
err_t wal_quarantine_put(const disk_t *disk,
                         const char *stream_folder,
                         wal_quarantine_limits_t limits,
                         uint64_t first_seq,
                         const char *reason,
                         errbuf_t *errbuf);

/* The same with a copy: the file stays where it is. Without room for the copy none is made, and
 * that is no error, for the stream matters more. */
err_t wal_quarantine_copy(const disk_t *disk,
                          const char *stream_folder,
                          wal_quarantine_limits_t limits,
                          uint64_t first_seq,
                          const char *reason,
                          errbuf_t *errbuf);

/* What lies there; a stream without quarantine has nothing in it. For tests. errs ERR_IO */
err_t wal_quarantine_usage(const disk_t *disk,
                           const char *stream_folder,
                           wal_quarantine_usage_t *ret_usage,
                           errbuf_t *errbuf);

#endif
