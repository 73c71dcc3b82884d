#include "common/wal/wal_scan.h"

#include "common/base/check.h"

#include <assert.h>

static void s_invariant(const wal_scan_t *self)
{
    CHECK(self->disk != NULL);
    CHECK(self->read_size >= WAL_SEEK_READ_SIZE && self->read_size <= WAL_READ_SIZE);
    CHECK_IMPLIES(self->file == NULL, self->window.size == 0);
}

static_assert((int)WAL_SEEK_READ_SIZE >= (int)WAL_SEGMENT_HEADER_SIZE,
              "every header fits in a first read");
static_assert(WAL_SEEK_READ_SIZE <= WAL_READ_SIZE, "reads grow from the one to the other");

void wal_scan_init(wal_scan_t *self, const disk_t *disk)
{
    *self = (wal_scan_t){.disk = disk, .read_size = WAL_SEEK_READ_SIZE};
    buffer_init(&self->window);
    s_invariant(self);
}

void wal_scan_done(wal_scan_t *self)
{
    buffer_done(&self->window);
    self->file = NULL;
}

void wal_scan_attach(wal_scan_t *self, disk_file_t *file)
{
    self->file = file;
    wal_scan_drop(self);
}

void wal_scan_drop(wal_scan_t *self)
{
    if (self->window.capacity > WAL_BUFFER_KEEP_SIZE) {
        buffer_done(&self->window);
    }
    buffer_clear(&self->window);
    self->window_offset = 0;
    self->read_size = WAL_SEEK_READ_SIZE;
}

/* Bytes of the window from offset on; none when the window lies elsewhere. */
static slice_t s_at_hand(const wal_scan_t *self, uint64_t offset)
{
    if (offset < self->window_offset || offset - self->window_offset >= self->window.size) {
        return slice_make(NULL, 0);
    }
    const size_t skipped = (size_t)(offset - self->window_offset);
    return slice_make(self->window.data + skipped, self->window.size - skipped);
}

err_t wal_scan_view(
    wal_scan_t *self, uint64_t offset, size_t size, slice_t *ret_bytes, errbuf_t *errbuf)
{
    s_invariant(self);
    CHECK(self->file != NULL);
    CHECK(size <= WAL_BLOCK_SIZE_MAX);
    slice_t held = s_at_hand(self, offset);
    if (held.size >= size) {
        *ret_bytes = held;
        return ERR_OK;
    }
    const bool follows = offset + held.size == self->window_offset + self->window.size;
    if (held.size > 0) {
        memmove(self->window.data, held.data, held.size);
    }
    if (!follows) {
        self->read_size = WAL_SEEK_READ_SIZE;
    }
    self->window.size = held.size;
    self->window_offset = offset;
    const size_t wanted = size - held.size > self->read_size ? size - held.size : self->read_size;
    uint8_t *at = buffer_extend(&self->window, wanted);
    size_t got = 0;
    err_t err = self->disk->read_at(self->disk->context, self->file, offset + held.size, at, wanted,
                                    &got, errbuf);
    if (err != ERR_OK) {
        wal_scan_drop(self);
        return err;
    }
    CHECK(got <= wanted);
    self->window.size = held.size + got;
    self->read_size = 2 * self->read_size > WAL_READ_SIZE ? WAL_READ_SIZE : 2 * self->read_size;
    *ret_bytes = buffer_slice(&self->window);
    s_invariant(self);
    return ERR_OK;
}

err_t wal_scan_block(wal_scan_t *self,
                     uint64_t offset,
                     wal_scan_mode_t mode,
                     wal_block_t *ret_block,
                     slice_t *ret_bytes,
                     errbuf_t *errbuf)
{
    wal_block_t block;
    slice_t bytes;
    size_t size = WAL_SEGMENT_HEADER_SIZE;
    err_t err = ERR_AGAIN;
    block.size = 0;
    for (unsigned round = 0; round < 2 && err == ERR_AGAIN; round++) {
        err = wal_scan_view(self, offset, size, &bytes, errbuf);
        if (err != ERR_OK) {
            return err;
        }
        err = mode == WAL_SCAN_VERIFY ? wal_decode_block(bytes, &block, errbuf)
                                      : wal_decode_block_trusted(bytes, &block, errbuf);
        if (err == ERR_AGAIN && block.size <= bytes.size) {
            break; /* the end of the file: nothing more to read */
        }
        size = err == ERR_AGAIN ? block.size : size;
    }
    if (err != ERR_OK) {
        return err;
    }
    *ret_block = block;
    if (ret_bytes != NULL) {
        *ret_bytes = slice_make(bytes.data, block.size);
    }
    return ERR_OK;
}
