/* Log files for offline tools: which streams lie below a folder, and every block of a segment.
 * Nothing here writes, and all of it may run beside the processes that own the files. */
#ifndef TIDAL_SERVICES_TIDALCTL_LOG_FILES_H
#define TIDAL_SERVICES_TIDALCTL_LOG_FILES_H

#include "common/wal/wal_files.h"
#include "common/wal/wal_format.h"
#include "common/wal/wal_recovery.h"
#include "common/wal/wal_scan.h"

/* One stream as one region holds it. */
typedef struct {
    wal_path_t folder;
    char holder[NAME_LENGTH_MAX +
                1];         /* region whose files these are; empty: the path does not say */
    wal_stream_name_t name; /* tenant, origin's region, incarnation: from the folders */
    stream_id_t stream;     /* from the first segment header that can be read */
    wal_base_t base;        /* what lies before the first file */
    bool is_known;          /* false: no header can be read; then stream and base are 0 */
    errbuf_t reason;        /* why not */
} log_stream_t;

/* errs any but ERR_OK ends the walk */
typedef err_t (*log_stream_fn)(void *context, const log_stream_t *stream);

/* Every folder at or below path that is named as a stream's and lies as one, in byte order of the
 * paths.
 * errs ERR_NOT_FOUND no such folder · ERR_IO · what the callback returned */
err_t log_streams_walk(
    const disk_t *disk, const char *path, log_stream_fn callback, void *context, errbuf_t *errbuf);

/* "us-east/shard-0 of us-east-00f3..", for messages. */
enum { LOG_STREAM_TEXT_SIZE = 2 * NAME_LENGTH_MAX + 64 };
const char *log_stream_text(const log_stream_t *stream, char ret_text[LOG_STREAM_TEXT_SIZE]);

/* -- segments ---------------------------------------------------------------------------------- */

typedef struct {
    const disk_t *disk;
    const char *path;
    wal_scan_mode_t mode;
} log_segment_t;

/* in bytes  of the whole block. errs any but ERR_OK ends the walk */
typedef err_t (*log_block_fn)(void *context,
                              uint64_t offset,
                              const wal_block_t *block,
                              slice_t bytes);

typedef struct {
    uint64_t end_offset; /* behind the last whole block */
    uint64_t file_size;
    bool zeros_behind; /* only zeros, or nothing, from there on */
} log_segment_end_t;

/* Every block from the beginning of the file.
 * out ret_end  also on ERR_CORRUPT: end_offset is where the bad block begins
 * errs ERR_CORRUPT a block that does not verify and is not zeros: the text names file, offset, what
 *      was expected and found · ERR_UNSUPPORTED · ERR_IO · ERR_NOT_FOUND · what the callback
 *      returned */
err_t log_segment_walk(const log_segment_t *segment,
                       log_block_fn callback,
                       void *context,
                       log_segment_end_t *ret_end,
                       errbuf_t *errbuf);

#endif
