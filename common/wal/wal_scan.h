/* A window over one segment file: blocks decoded in place, with few and large reads.
 *
 * Reads begin small and double while they follow one another, from WAL_SEEK_READ_SIZE up to
 * WAL_READ_SIZE: cheap for who steps from header to header or follows the end of a file, few calls
 * for who reads it through.
 *
 * Bytes handed out live until the next call. The window is never refreshed by itself: who reads a
 * file that another process appends to calls wal_scan_drop before it looks at bytes that may have
 * been written since. */
#ifndef TIDAL_COMMON_WAL_WAL_SCAN_H
#define TIDAL_COMMON_WAL_WAL_SCAN_H

#include "common/base/bytes.h"
#include "common/base/seam.h"
#include "common/wal/wal_format.h"

typedef struct {
    const disk_t *disk; /* borrowed */
    disk_file_t *file;  /* borrowed; NULL: none attached */
    buffer_t window;
    uint64_t window_offset; /* of the window's first byte in the file */
    size_t read_size;       /* of the next read, unless more is asked for */
} wal_scan_t;

typedef enum { WAL_SCAN_VERIFY, WAL_SCAN_TRUST } wal_scan_mode_t;

void wal_scan_init(wal_scan_t *self, const disk_t *disk);
void wal_scan_done(wal_scan_t *self);
/* From now on looks at this file. borrows file until the next attach or done; may be NULL */
void wal_scan_attach(wal_scan_t *self, disk_file_t *file);
/* Forgets what was read. */
void wal_scan_drop(wal_scan_t *self);

/* At least `size` bytes from offset on, or all there are up to the end of the file; more when they
 * are at hand. in size up to WAL_BLOCK_SIZE_MAX. errs ERR_IO */
err_t wal_scan_view(
    wal_scan_t *self, uint64_t offset, size_t size, slice_t *ret_bytes, errbuf_t *errbuf);

/* Decodes the block that begins at offset.
 * out ret_bytes  the whole block; may be NULL
 * errs ERR_END the file ends at offset · ERR_AGAIN it ends inside the block · ERR_CORRUPT,
 *      ERR_UNSUPPORTED as wal_decode_block · ERR_IO */
err_t wal_scan_block(wal_scan_t *self,
                     uint64_t offset,
                     wal_scan_mode_t mode,
                     wal_block_t *ret_block,
                     slice_t *ret_bytes,
                     errbuf_t *errbuf);

#endif
