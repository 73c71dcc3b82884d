#include "services/tidalctl/log_check.h"

#include "common/base/check.h"
#include "common/wal/record_session.h"
#include "common/wal/wal_reader.h"

#include <inttypes.h>

void log_counts_add(log_counts_t *self, const log_counts_t *other)
{
    self->signals += other->signals;
    self->registers += other->registers;
    self->sessions += other->sessions;
    self->session_signals += other->session_signals;
    self->held += other->held;
}

/* The counter of a kind of records. */
static uint64_t *s_counter(log_counts_t *counts, record_type_t type)
{
    if (type == RECORD_SIGNALS) {
        return &counts->signals;
    }
    if (type == RECORD_HELD) {
        return &counts->held;
    }
    if (type == RECORD_SESSION_SIGNAL) {
        return &counts->session_signals;
    }
    return record_is_of_session(type) ? &counts->sessions : &counts->registers;
}

err_t log_count_records(const wal_batch_t *batch, log_counts_t *counts, errbuf_t *errbuf)
{
    size_t offset = 0;
    log_counts_t found = {0};
    err_t err = record_check_payload(batch->payload, batch->event_count, errbuf);
    while (err == ERR_OK) {
        record_t record;
        err = record_next(batch->payload, &offset, &record, errbuf);
        if (err == ERR_OK) {
            *s_counter(&found, record.type) += record.event_count;
        }
    }
    if (err != ERR_END) {
        return err;
    }
    log_counts_add(counts, &found);
    return ERR_OK;
}

/* -- a stream ---------------------------------------------------------------------------------- */

static void s_take_recovery(const wal_recovery_t *recovery, log_checked_t *checked)
{
    checked->segments = recovery->sealed.count + (recovery->tail.open ? 1 : 0);
    for (size_t i = 0; i < recovery->sealed.count; i++) {
        checked->size_bytes += recovery->sealed.items[i].size_bytes;
    }
    checked->size_bytes += recovery->tail.open ? recovery->tail.size_bytes : 0;
    checked->last_seq = recovery->last_seq;
    checked->last_hash = recovery->last_hash;
    checked->damage = recovery->damage.kind;
    checked->torn_bytes = recovery->cut_bytes;
    if (recovery->damage.kind != WAL_DAMAGE_NONE) {
        checked->text = recovery->damage.reason;
    }
}

/* The records of every intact batch; the blocks were verified by the scan. */
static err_t s_check_records(const disk_t *disk,
                             const log_stream_t *stream,
                             log_checked_t *checked,
                             errbuf_t *errbuf)
{
    wal_reader_options_t options = {.disk = disk,
                                    .folder = stream->folder.text,
                                    .stream = stream->stream,
                                    .from_seq = checked->first_seq,
                                    .trusted = true};
    wal_reader_t *reader = wal_reader_new(&options);
    err_t err = ERR_OK;
    while (err == ERR_OK && wal_reader_next_seq(reader) <= checked->last_seq) {
        wal_batch_t batch;
        err = wal_reader_next_batch(reader, checked->last_seq, &batch, errbuf);
        if (err != ERR_OK) {
            break;
        }
        checked->batches++;
        err_t record_err = log_count_records(&batch, &checked->counts, &checked->text);
        if (record_err != ERR_OK) {
            errbuf_prefix(&checked->text, "%s, events %" PRIu64 "..%" PRIu64, stream->folder.text,
                          batch.first_seq, wal_batch_last_seq(&batch));
            checked->damage = WAL_DAMAGE_REAL;
            break;
        }
    }
    wal_reader_destroy(&reader);
    return err == ERR_END ? ERR_OK : err;
}

err_t log_check_stream(const disk_t *disk,
                       const log_stream_t *stream,
                       log_checked_t *ret_checked,
                       errbuf_t *errbuf)
{
    log_checked_t checked = {.first_seq = stream->base.seq + 1, .last_seq = stream->base.seq};
    if (!stream->is_known) {
        checked.damage = WAL_DAMAGE_REAL;
        checked.text = stream->reason;
        *ret_checked = checked;
        return ERR_OK;
    }
    wal_place_t place = {.disk = disk,
                         .folder = stream->folder.text,
                         .stream = stream->stream,
                         .tenant_name = stream->name.tenant_name,
                         .region_name = stream->name.region_name,
                         .base = stream->base};
    wal_recovery_options_t options = {.verify_all = true};
    wal_recovery_t recovery;
    err_t err = wal_recovery_scan(&place, &options, &recovery, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    s_take_recovery(&recovery, &checked);
    wal_recovery_done(&recovery);
    err = s_check_records(disk, stream, &checked, errbuf);
    if (err == ERR_OK) {
        *ret_checked = checked;
    }
    return err;
}

/* -- one file ---------------------------------------------------------------------------------- */

typedef struct {
    log_checked_t *checked;
    stream_id_t stream;
    uint64_t batches;
    buffer_t hashes;
    bool has_header;
    bool has_footer;
    errbuf_t *errbuf;
} segment_t;

static err_t s_check_batch(segment_t *self, const wal_batch_t *batch)
{
    log_checked_t *checked = self->checked;
    if (!stream_id_equal(batch->stream, self->stream)) {
        errbuf_set(self->errbuf, "batch: it belongs to another stream than its segment");
        return ERR_CORRUPT;
    }
    if (batch->first_seq != checked->last_seq + 1) {
        errbuf_set(self->errbuf, "batch: expected first event %" PRIu64 ", found %" PRIu64,
                   checked->last_seq + 1, batch->first_seq);
        return ERR_CORRUPT;
    }
    if (memcmp(batch->previous_hash.bytes, checked->last_hash.bytes, WAL_HASH_SIZE) != 0) {
        errbuf_set(self->errbuf, "batch: its previous hash is not that of the batch before");
        return ERR_CORRUPT;
    }
    err_t err = log_count_records(batch, &checked->counts, self->errbuf);
    if (err == ERR_OK) {
        checked->batches++;
        checked->last_seq = wal_batch_last_seq(batch);
        checked->last_hash = batch->hash;
        buffer_append(&self->hashes, batch->hash.bytes, WAL_HASH_SIZE);
    }
    return err;
}

static err_t s_check_footer(segment_t *self, const wal_footer_t *footer, uint64_t offset)
{
    const log_checked_t *checked = self->checked;
    if (footer->first_seq != checked->first_seq || footer->last_seq != checked->last_seq ||
        footer->offset != offset || !wal_footer_matches(footer, buffer_slice(&self->hashes))) {
        errbuf_set(self->errbuf, "footer: it does not fit the batches before it");
        return ERR_CORRUPT;
    }
    self->has_footer = true;
    return ERR_OK;
}

static err_t s_check_block(void *context, uint64_t offset, const wal_block_t *block, slice_t bytes)
{
    segment_t *self = context;
    (void)bytes;
    bool is_first = offset == 0;
    if (self->has_footer || is_first != (block->kind == WAL_BLOCK_SEGMENT)) {
        errbuf_set(self->errbuf, "expected %s",
                   is_first           ? "a segment header first"
                   : self->has_footer ? "the end of the file behind the footer"
                                      : "a batch or the footer, found a segment header");
        return ERR_CORRUPT;
    }
    switch (block->kind) {
    case WAL_BLOCK_SEGMENT:
        self->has_header = true;
        self->stream = block->as.segment.stream;
        self->checked->first_seq = block->as.segment.first_seq;
        self->checked->last_seq = block->as.segment.first_seq - 1;
        self->checked->last_hash = block->as.segment.previous_hash;
        return ERR_OK;
    case WAL_BLOCK_BATCH:
        return s_check_batch(self, &block->as.batch);
    case WAL_BLOCK_FOOTER:
        return s_check_footer(self, &block->as.footer, offset);
    }
    return ERR_OK;
}

err_t log_check_segment(const disk_t *disk,
                        const char *path,
                        log_checked_t *ret_checked,
                        errbuf_t *errbuf)
{
    log_checked_t checked = {.first_seq = 1};
    log_segment_end_t end = {0};
    segment_t self = {.checked = &checked, .errbuf = &checked.text};
    buffer_init(&self.hashes);
    log_segment_t segment = {disk, path, WAL_SCAN_VERIFY};
    err_t err = log_segment_walk(&segment, s_check_block, &self, &end, &checked.text);
    checked.segments = 1;
    checked.size_bytes = end.end_offset;
    if (err == ERR_OK && !self.has_header) {
        errbuf_set(&checked.text, "%s: expected a segment header, found no block at all", path);
        err = ERR_CORRUPT;
    }
    buffer_done(&self.hashes);
    if (err == ERR_CORRUPT) {
        checked.damage = WAL_DAMAGE_REAL;
        err = ERR_OK;
    }
    if (err != ERR_OK) {
        *errbuf = checked.text;
        return err;
    }
    *ret_checked = checked;
    return ERR_OK;
}
