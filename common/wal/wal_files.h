/* Names and places of the log's files, and lists of what is there.
 *
 *   <data>/<region>/shard-<n>/tenants/<tenant>-<generation>/<origin region>-<incarnation, 16 hex>/
 *       <first seq, 20 digits>.seg       a segment
 *       <first seq, 20 digits>.seg.tmp   a segment that never came to life; recovery removes it
 *       quarantine/                      damaged segments of a replica, see wal_quarantine.h
 *
 * Names sort as the numbers in them. What does not look like one of these names is not ours: lists
 * leave it out and nothing touches it. */
#ifndef TIDAL_COMMON_WAL_WAL_FILES_H
#define TIDAL_COMMON_WAL_WAL_FILES_H

#include "common/base/bounds.h"
#include "common/base/ids.h"
#include "common/base/seam.h"

enum { WAL_SEGMENT_NAME_SIZE = 20 + 4 + 1 /* digits, ".seg", terminator */ };

typedef struct {
    char text[WAL_PATH_SIZE_MAX];
} wal_path_t;

/* One stream as its folder names it. Region numbers are the topology's, so the origin is known here
 * by its region's name. */
typedef struct {
    tenant_id_t tenant;
    uint64_t incarnation;
    char tenant_name[NAME_LENGTH_MAX + 1];
    char region_name[NAME_LENGTH_MAX + 1]; /* of the origin */
} wal_stream_name_t;

/* One sealed segment, or the last one of a stream. */
typedef struct {
    uint64_t first_seq;
    uint64_t last_seq; /* first_seq - 1 where it holds no batch */
    uint64_t size_bytes;
} wal_segment_t;

/* A growing list, by first seq. Zeroed memory is an empty list. */
typedef struct {
    wal_segment_t *items;
    size_t count;
    size_t capacity;
} wal_segment_list_t;

/* All paths: errs ERR_TOO_LARGE longer than WAL_PATH_SIZE_MAX · ERR_INVALID a name that is no name
 * of a folder (1..64 of letters, digits and ._- , not beginning with a dot). */
err_t wal_files_tenants_path(const char *data_folder,
                             const char *region_name,
                             shard_id_t shard,
                             wal_path_t *ret_path,
                             errbuf_t *errbuf);
err_t wal_files_stream_path(const char *tenants_folder,
                            const wal_stream_name_t *name,
                            wal_path_t *ret_path,
                            errbuf_t *errbuf);
err_t wal_files_segment_path(const char *folder,
                             uint64_t first_seq,
                             wal_path_t *ret_path,
                             errbuf_t *errbuf);
/* "<folder>/<name><suffix>". */
err_t wal_files_join(const char *folder,
                     const char *name,
                     const char *suffix,
                     wal_path_t *ret_path,
                     errbuf_t *errbuf);

void wal_files_segment_name(uint64_t first_seq, char ret_name[WAL_SEGMENT_NAME_SIZE]);
/* errs ERR_INVALID not the name of a segment */
err_t wal_files_parse_segment(const char *name, uint64_t *ret_first_seq);
/* in the names of the two folders. Fills all of ret_name. errs ERR_INVALID */
err_t wal_files_parse_stream(const char *tenant_folder,
                             const char *stream_folder,
                             wal_stream_name_t *ret_name);

void wal_segment_list_add(wal_segment_list_t *self, wal_segment_t segment);
/* Index of the segment that holds seq or, where none does, of the first one behind it; count when
 * there is none. */
size_t wal_segment_list_find(const wal_segment_list_t *self, uint64_t seq);
void wal_segment_list_done(wal_segment_list_t *self);

/* All segment files of a stream's folder, by first seq; last_seq is 0, for a name does not tell it.
 * out ret_leftover_count  unfinished files (*.seg.tmp); may be NULL
 * errs ERR_NOT_FOUND no such folder · ERR_IO · ERR_TOO_LARGE more than SEGMENT_COUNT_MAX */
err_t wal_files_list_segments(const disk_t *disk,
                              const char *folder,
                              wal_segment_list_t *ret_list,
                              size_t *ret_leftover_count,
                              errbuf_t *errbuf);

/* Removes the unfinished files of a folder. */
err_t wal_files_remove_leftovers(const disk_t *disk, const char *folder, errbuf_t *errbuf);

/* in folder  of the stream; lives during the call. A result other than ERR_OK ends the walk. */
typedef err_t (*wal_files_stream_fn)(void *context,
                                     const wal_stream_name_t *name,
                                     const char *folder);

/* Every stream below "<data>/<region>/shard-<n>/tenants", in byte order of the folders' names.
 * errs ERR_IO · what the callback returned. A folder that is missing has no streams: ERR_OK. */
err_t wal_files_list_streams(const disk_t *disk,
                             const char *tenants_folder,
                             wal_files_stream_fn callback,
                             void *callback_context,
                             errbuf_t *errbuf);

#endif
