#include "common/wal/wal_writer.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <stdlib.h>
#include <string.h>

/* What a group does to one segment. */
typedef struct {
    uint64_t segment_first_seq;
    uint64_t offset;   /* in the file, where the bytes go */
    size_t begin;      /* in the group */
    size_t end;        /* excluded */
    uint64_t last_seq; /* of the stream, once this piece is durable */
    wal_hash_t last_hash;
    bool creates;
    bool seals;
    uint8_t footer[WAL_FOOTER_SIZE]; /* where it seals */
} piece_t;

struct wal_writer {
    const disk_t *disk; /* borrowed */
    wal_path_t folder;
    bool folder_exists;
    bool failed;

    /* as it will be once the group is flushed */
    wal_tail_t tail;
    uint64_t appended_seq;
    wal_hash_t appended_hash;

    /* the group */
    buffer_t group;
    buffer_t batch_offsets; /* size_t each: where the batches begin in the group */
    piece_t *pieces;
    size_t piece_count;
    size_t piece_capacity;
    bool flushed; /* the group is durable and kept for its readers only */
    bool is_copy; /* blocks were given: a replica's file */

    /* as it is on the disk */
    disk_file_t *file;  /* of the open segment; NULL none */
    uint64_t file_size; /* of it, with the room made ahead */
    bool zero_fill;     /* make some */
    uint64_t durable_seq;
    wal_hash_t durable_hash;
    wal_segment_list_t sealed;
    wal_writer_stats_t stats;
};

static void s_invariant(const wal_writer_t *self)
{
    CHECK(self->durable_seq <= self->appended_seq);
    CHECK_IMPLIES(self->flushed, self->durable_seq == self->appended_seq);
    CHECK_IMPLIES(self->piece_count == 0, self->group.size == 0);
    CHECK(self->tail.hashes.size == (size_t)self->tail.batch_count * WAL_HASH_SIZE);
    CHECK_IMPLIES(self->tail.open, self->tail.size_bytes >= WAL_SEGMENT_HEADER_SIZE);
}

err_t wal_writer_new(const disk_t *disk,
                     const char *folder,
                     wal_recovery_t *recovery,
                     wal_writer_t **ret_writer,
                     errbuf_t *errbuf)
{
    CHECK(recovery->damage.kind != WAL_DAMAGE_REAL);
    CHECK(strlen(folder) < WAL_PATH_SIZE_MAX);
    disk_file_t *file = NULL;
    if (recovery->tail.open) {
        wal_path_t path;
        err_t err = wal_files_segment_path(folder, recovery->tail.first_seq, &path, errbuf);
        if (err == ERR_OK) {
            err = disk->open(disk->context, path.text, DISK_WRITE, &file, errbuf);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    wal_writer_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->disk = disk;
    memcpy(self->folder.text, folder, strlen(folder) + 1);
    self->folder_exists = recovery->folder_exists;
    self->file = file;
    self->file_size = recovery->tail.size_bytes;
    self->tail = recovery->tail;
    self->sealed = recovery->sealed;
    if (!self->tail.open) {
        self->tail.batch_count = 0;
        buffer_clear(&self->tail.hashes);
    }
    buffer_init(&recovery->tail.hashes);
    recovery->sealed = (wal_segment_list_t){NULL, 0, 0};
    buffer_init(&self->group);
    buffer_init(&self->batch_offsets);
    self->appended_seq = recovery->last_seq;
    self->appended_hash = recovery->last_hash;
    self->durable_seq = recovery->last_seq;
    self->durable_hash = recovery->last_hash;
    self->flushed = true;
    s_invariant(self);
    *ret_writer = self;
    return ERR_OK;
}

void wal_writer_destroy(wal_writer_t **self_p)
{
    wal_writer_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    if (self->file != NULL) {
        self->disk->close(self->disk->context, &self->file);
    }
    buffer_done(&self->tail.hashes);
    buffer_done(&self->group);
    buffer_done(&self->batch_offsets);
    free(self->pieces);
    wal_segment_list_done(&self->sealed);
    free(self);
    *self_p = NULL;
}

/* -- adding ------------------------------------------------------------------------------------ */

static void s_clear_group(wal_writer_t *self)
{
    if (self->group.capacity > WAL_BUFFER_KEEP_SIZE) {
        buffer_done(&self->group);
    }
    buffer_clear(&self->group);
    buffer_clear(&self->batch_offsets);
    self->piece_count = 0;
}

static void s_open_group(wal_writer_t *self)
{
    if (self->flushed) {
        s_clear_group(self);
        self->flushed = false;
    }
}

/* The piece that the next bytes belong to: the last one, or a new one for the open segment. */
static piece_t *s_piece(wal_writer_t *self, bool creates)
{
    s_open_group(self);
    CHECK(self->tail.open);
    if (self->piece_count > 0 && !creates) {
        piece_t *last = &self->pieces[self->piece_count - 1];
        if (last->segment_first_seq == self->tail.first_seq) {
            CHECK(!last->seals);
            return last;
        }
    }
    if (self->piece_count == self->piece_capacity) {
        self->piece_capacity = self->piece_capacity == 0 ? 4 : 2 * self->piece_capacity;
        piece_t *pieces = realloc(self->pieces, self->piece_capacity * sizeof(*pieces));
        CHECK(pieces != NULL);
        self->pieces = pieces;
    }
    piece_t *piece = &self->pieces[self->piece_count++];
    *piece = (piece_t){
        .segment_first_seq = self->tail.first_seq,
        .offset = creates ? 0 : self->tail.size_bytes,
        .begin = self->group.size,
        .end = self->group.size,
        .last_seq = self->appended_seq,
        .last_hash = self->appended_hash,
        .creates = creates,
    };
    return piece;
}

void wal_writer_begin(wal_writer_t *self, uint64_t first_seq, const uint8_t *header)
{
    s_invariant(self);
    CHECK(!self->failed && !self->tail.open);
    CHECK(first_seq == self->appended_seq + 1);
    self->tail.open = true;
    self->tail.first_seq = first_seq;
    self->tail.batch_count = 0;
    buffer_clear(&self->tail.hashes);
    piece_t *piece = s_piece(self, true);
    buffer_append(&self->group, header, WAL_SEGMENT_HEADER_SIZE);
    piece->end = self->group.size;
    self->tail.size_bytes = WAL_SEGMENT_HEADER_SIZE;
    s_invariant(self);
}

/* The batch's block stands at the end of the group. */
static void s_note_batch(wal_writer_t *self, piece_t *piece, const wal_batch_t *batch)
{
    CHECK(batch->first_seq == self->appended_seq + 1);
    CHECK(self->group.size >= piece->end + batch->block_size);
    const size_t offset = self->group.size - batch->block_size;
    CHECK(offset == piece->end);
    buffer_append(&self->batch_offsets, &offset, sizeof(offset));
    self->appended_seq = wal_batch_last_seq(batch);
    self->appended_hash = batch->hash;
    piece->end = self->group.size;
    piece->last_seq = self->appended_seq;
    piece->last_hash = self->appended_hash;
    self->tail.size_bytes += batch->block_size;
    self->tail.batch_count++;
    buffer_append(&self->tail.hashes, batch->hash.bytes, WAL_HASH_SIZE);
}

void wal_writer_encode(wal_writer_t *self, wal_batch_t *batch)
{
    s_invariant(self);
    CHECK(!self->failed);
    piece_t *piece = s_piece(self, false);
    wal_encode_batch(batch, &self->group);
    s_note_batch(self, piece, batch);
    s_invariant(self);
}

void wal_writer_add(wal_writer_t *self, const wal_batch_t *batch, slice_t block)
{
    s_invariant(self);
    CHECK(!self->failed);
    CHECK(block.size == batch->block_size);
    piece_t *piece = s_piece(self, false);
    buffer_append(&self->group, block.data, block.size);
    self->is_copy = true;
    s_note_batch(self, piece, batch);
    s_invariant(self);
}

void wal_writer_footer(const wal_writer_t *self, uint8_t ret_bytes[WAL_FOOTER_SIZE])
{
    CHECK(self->tail.open && self->tail.batch_count > 0);
    wal_footer_t footer = {
        .first_seq = self->tail.first_seq,
        .last_seq = self->appended_seq,
        .event_count = self->appended_seq - self->tail.first_seq + 1,
        .batch_count = self->tail.batch_count,
        .offset = self->tail.size_bytes,
    };
    wal_encode_footer(&footer, buffer_slice(&self->tail.hashes), ret_bytes);
}

void wal_writer_seal(wal_writer_t *self)
{
    s_invariant(self);
    CHECK(!self->failed);
    piece_t *piece = s_piece(self, false);
    wal_writer_footer(self, piece->footer);
    piece->seals = true;
    self->tail.open = false;
    self->tail.batch_count = 0;
    buffer_clear(&self->tail.hashes);
    s_invariant(self);
}

/* -- flushing ---------------------------------------------------------------------------------- */

/* Zeros behind the end of a small write that made the file grow. They matter to nobody, so having
 * no space for them is no failure; the next group finds out for itself. */
static err_t s_make_room_ahead(wal_writer_t *self, uint64_t end, size_t written, errbuf_t *errbuf)
{
    static const uint8_t s_zeros[WAL_ZERO_FILL_SIZE_MAX];
    const uint64_t size = end < sizeof(s_zeros) ? end : sizeof(s_zeros);
    if (!self->zero_fill || written > size / 4) {
        return ERR_OK;
    }
    err_t err =
        self->disk->write_at(self->disk->context, self->file, end, s_zeros, (size_t)size, errbuf);
    self->file_size = end + size;
    self->stats.zeroed_bytes += size;
    return err == ERR_DISK_FULL ? ERR_OK : err;
}

/* Writes at offset, without sync. */
static err_t s_write(wal_writer_t *self, uint64_t offset, slice_t bytes, errbuf_t *errbuf)
{
    err_t err = self->disk->write_at(self->disk->context, self->file, offset, bytes.data,
                                     bytes.size, errbuf);
    if (err == ERR_OK) {
        self->stats.written_bytes += bytes.size;
    }
    return err;
}

static err_t s_sync(wal_writer_t *self, errbuf_t *errbuf)
{
    if (MUTANT(SKIP_LOG_SYNC) || (MUTANT(CONFIRM_BEFORE_SYNC) && self->is_copy)) {
        return ERR_OK;
    }
    return self->disk->sync(self->disk->context, self->file, errbuf);
}

/* The batches of a piece, durable when it returns. */
static err_t s_write_batches(wal_writer_t *self, const piece_t *piece, errbuf_t *errbuf)
{
    const size_t size = piece->end - piece->begin;
    const uint64_t end = piece->offset + size;
    err_t err =
        s_write(self, piece->offset, slice_make(self->group.data + piece->begin, size), errbuf);
    if (err == ERR_OK && end > self->file_size) {
        self->file_size = end;
        if (!piece->seals) {
            err = s_make_room_ahead(self, end, size, errbuf);
        }
    }
    if (err == ERR_OK) {
        err = s_sync(self, errbuf);
    }
    return err;
}

/* The new segment under its unfinished name, whatever an earlier run left there. */
static err_t s_create(wal_writer_t *self, const wal_path_t *leftover, errbuf_t *errbuf)
{
    const disk_t *disk = self->disk;
    err_t err = ERR_OK;
    CHECK(self->file == NULL);
    self->file_size = 0;
    if (!self->folder_exists) {
        err = disk->make_folders(disk->context, self->folder.text, errbuf);
        self->folder_exists = err == ERR_OK;
    }
    if (err == ERR_OK) {
        err = disk->open(disk->context, leftover->text, DISK_CREATE, &self->file, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->truncate(disk->context, self->file, 0, errbuf);
    }
    return err;
}

static err_t s_flush_new_segment(wal_writer_t *self, const piece_t *piece, errbuf_t *errbuf)
{
    const disk_t *disk = self->disk;
    wal_path_t path;
    wal_path_t leftover;
    err_t err = wal_files_segment_path(self->folder.text, piece->segment_first_seq, &path, errbuf);
    if (err == ERR_OK) {
        char name[WAL_SEGMENT_NAME_SIZE];
        wal_files_segment_name(piece->segment_first_seq, name);
        err = wal_files_join(self->folder.text, name, ".tmp", &leftover, errbuf);
    }
    if (err == ERR_OK) {
        err = s_create(self, &leftover, errbuf);
    }
    if (err == ERR_OK) {
        err = s_write_batches(self, piece, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->rename(disk->context, leftover.text, path.text, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->sync_folder(disk->context, self->folder.text, errbuf);
    }
    return err;
}

static err_t s_flush_footer(wal_writer_t *self, const piece_t *piece, errbuf_t *errbuf)
{
    const uint64_t offset = piece->offset + (piece->end - piece->begin);
    err_t err = s_write(self, offset, slice_make(piece->footer, WAL_FOOTER_SIZE), errbuf);
    if (err == ERR_OK && self->file_size > offset + WAL_FOOTER_SIZE) {
        err =
            self->disk->truncate(self->disk->context, self->file, offset + WAL_FOOTER_SIZE, errbuf);
    }
    if (err == ERR_OK) {
        err = s_sync(self, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    self->disk->close(self->disk->context, &self->file);
    wal_segment_t segment = {piece->segment_first_seq, piece->last_seq, offset + WAL_FOOTER_SIZE};
    wal_segment_list_add(&self->sealed, segment);
    self->stats.sealed_count++;
    return ERR_OK;
}

static err_t s_flush_piece(wal_writer_t *self, const piece_t *piece, errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    if (piece->creates) {
        err = s_flush_new_segment(self, piece, errbuf);
    } else if (piece->end > piece->begin) {
        err = s_write_batches(self, piece, errbuf);
    }
    if (err == ERR_OK) {
        self->durable_seq = piece->last_seq;
        self->durable_hash = piece->last_hash;
    }
    if (err == ERR_OK && piece->seals) {
        err = s_flush_footer(self, piece, errbuf);
    }
    return err;
}

void wal_writer_set_zero_fill(wal_writer_t *self, bool zero_fill)
{
    self->zero_fill = zero_fill;
}

err_t wal_writer_flush(wal_writer_t *self, errbuf_t *errbuf)
{
    s_invariant(self);
    if (self->failed) {
        errbuf_set(errbuf, "log in %s: a write failed before; restart the process",
                   self->folder.text);
        return ERR_IO;
    }
    if (self->flushed) {
        return ERR_OK;
    }
    for (size_t i = 0; i < self->piece_count; i++) {
        err_t err = s_flush_piece(self, &self->pieces[i], errbuf);
        if (err != ERR_OK) {
            self->failed = true;
            errbuf_prefix(errbuf, "log in %s: group of %zu bytes up to event %llu",
                          self->folder.text, self->group.size,
                          (unsigned long long)self->appended_seq);
            return err;
        }
    }
    CHECK(self->durable_seq == self->appended_seq);
    self->flushed = true;
    s_invariant(self);
    return ERR_OK;
}

void wal_writer_forget_group(wal_writer_t *self)
{
    s_invariant(self);
    if (self->flushed) {
        s_clear_group(self);
    }
    s_invariant(self);
}

/* -- looking ----------------------------------------------------------------------------------- */

bool wal_writer_failed(const wal_writer_t *self)
{
    return self->failed;
}

bool wal_writer_pending(const wal_writer_t *self)
{
    return !self->flushed;
}

size_t wal_writer_pending_size(const wal_writer_t *self)
{
    return self->flushed ? 0 : self->group.size;
}

size_t wal_writer_group_count(const wal_writer_t *self)
{
    return self->batch_offsets.size / sizeof(size_t);
}

void wal_writer_group_get(const wal_writer_t *self, size_t i, wal_batch_t *ret_batch)
{
    size_t offset = 0;
    wal_block_t block;
    CHECK(i < wal_writer_group_count(self));
    memcpy(&offset, self->batch_offsets.data + i * sizeof(offset), sizeof(offset));
    const slice_t bytes = slice_make(self->group.data + offset, self->group.size - offset);
    CHECK(wal_decode_block_trusted(bytes, &block, NULL) == ERR_OK);
    CHECK(block.kind == WAL_BLOCK_BATCH);
    *ret_batch = block.as.batch;
}

uint64_t wal_writer_durable_seq(const wal_writer_t *self)
{
    return self->durable_seq;
}

uint64_t wal_writer_appended_seq(const wal_writer_t *self)
{
    return self->appended_seq;
}

wal_hash_t wal_writer_durable_hash(const wal_writer_t *self)
{
    return self->durable_hash;
}

wal_hash_t wal_writer_appended_hash(const wal_writer_t *self)
{
    return self->appended_hash;
}

const wal_tail_t *wal_writer_tail(const wal_writer_t *self)
{
    return &self->tail;
}

size_t wal_writer_truncatable(const wal_writer_t *self, uint64_t through_seq, uint64_t keep_bytes)
{
    uint64_t left = self->tail.open ? self->tail.size_bytes : 0;
    for (size_t i = 0; i < self->sealed.count; i++) {
        left += self->sealed.items[i].size_bytes;
    }
    size_t files = self->sealed.count + (self->tail.open ? 1 : 0);
    size_t count = 0;
    while (count + 1 < files && count < self->sealed.count) {
        const wal_segment_t *segment = &self->sealed.items[count];
        if (segment->last_seq > through_seq || left - segment->size_bytes < keep_bytes) {
            break;
        }
        left -= segment->size_bytes;
        count++;
    }
    return count;
}

err_t wal_writer_truncate(wal_writer_t *self,
                          uint64_t through_seq,
                          uint64_t keep_bytes,
                          size_t *ret_count,
                          errbuf_t *errbuf)
{
    s_invariant(self);
    const disk_t *disk = self->disk;
    size_t wanted = wal_writer_truncatable(self, through_seq, keep_bytes);
    size_t count = 0;
    err_t err = ERR_OK;
    while (count < wanted && err == ERR_OK) {
        wal_path_t path;
        err = wal_files_segment_path(self->folder.text, self->sealed.items[count].first_seq, &path,
                                     errbuf);
        if (err == ERR_OK) {
            err = disk->unlink(disk->context, path.text, errbuf);
        }
        count += err == ERR_OK ? 1 : 0;
    }
    if (count > 0) {
        self->sealed.count -= count;
        memmove(self->sealed.items, self->sealed.items + count,
                self->sealed.count * sizeof(self->sealed.items[0]));
        err_t sync_err = disk->sync_folder(disk->context, self->folder.text, errbuf);
        err = err == ERR_OK ? sync_err : err;
    }
    *ret_count = count;
    s_invariant(self);
    return err;
}

const wal_segment_list_t *wal_writer_sealed(const wal_writer_t *self)
{
    return &self->sealed;
}

wal_writer_stats_t wal_writer_stats(const wal_writer_t *self)
{
    return self->stats;
}
