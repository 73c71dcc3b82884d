#include "common/wal/wal_reader.h"

#include "common/base/check.h"
#include "common/wal/wal_scan.h"

#include <inttypes.h>
#include <stdlib.h>

struct wal_reader {
    const disk_t *disk; /* borrowed */
    wal_path_t folder;
    stream_id_t stream;
    wal_scan_mode_t mode;

    bool located;         /* next_seq was found in the files */
    bool footer_sought;   /* looked for a footer before anything was read, once */
    uint64_t next_seq;    /* of the next batch */
    wal_hash_t last_hash; /* of the batch before it, where known */
    bool last_hash_known;

    disk_file_t *file; /* NULL between segments */
    uint64_t segment_first_seq;
    uint64_t offset; /* of the next block in the file */
    wal_scan_t scan;
    /* What the scan's window holds of events up to here is final: it was durable before it was
     * read. Anything behind is read again before it is looked at. */
    uint64_t fresh_seq;
};

static void s_invariant(const wal_reader_t *reader)
{
    CHECK(reader->next_seq >= 1);
    CHECK_IMPLIES(reader->file == NULL, reader->offset == 0);
    CHECK_IMPLIES(reader->file != NULL, reader->located);
    CHECK_IMPLIES(reader->file != NULL, reader->segment_first_seq <= reader->next_seq);
}

wal_reader_t *wal_reader_new(const wal_reader_options_t *options)
{
    CHECK(options->from_seq >= 1);
    CHECK(strlen(options->folder) < WAL_PATH_SIZE_MAX);
    wal_reader_t *reader = calloc(1, sizeof(*reader));
    CHECK(reader != NULL);
    reader->disk = options->disk;
    memcpy(reader->folder.text, options->folder, strlen(options->folder) + 1);
    reader->stream = options->stream;
    reader->mode = options->trusted ? WAL_SCAN_TRUST : WAL_SCAN_VERIFY;
    reader->next_seq = options->from_seq;
    wal_scan_init(&reader->scan, options->disk);
    s_invariant(reader);
    return reader;
}

static void s_close_file(wal_reader_t *reader)
{
    wal_scan_attach(&reader->scan, NULL);
    if (reader->file != NULL) {
        reader->disk->close(reader->disk->context, &reader->file);
    }
    reader->offset = 0;
}

void wal_reader_destroy(wal_reader_t **reader_p)
{
    wal_reader_t *reader = *reader_p;
    if (reader == NULL) {
        return;
    }
    s_close_file(reader);
    wal_scan_done(&reader->scan);
    free(reader);
    *reader_p = NULL;
}

/* Says where, for every error that is about bytes. */
static err_t s_at(const wal_reader_t *reader, err_t err, errbuf_t *errbuf)
{
    errbuf_prefix(errbuf, "%s, segment %" PRIu64 " at offset %" PRIu64 " (event %" PRIu64 ")",
                  reader->folder.text, reader->segment_first_seq, reader->offset, reader->next_seq);
    return err;
}

static err_t s_corrupt(const wal_reader_t *reader, const char *what, errbuf_t *errbuf)
{
    errbuf_set(errbuf, "%s", what);
    return s_at(reader, ERR_CORRUPT, errbuf);
}

static err_t s_open_segment(wal_reader_t *reader, uint64_t first_seq, errbuf_t *errbuf)
{
    wal_path_t path;
    CHECK(reader->file == NULL);
    err_t err = wal_files_segment_path(reader->folder.text, first_seq, &path, errbuf);
    if (err == ERR_OK) {
        err =
            reader->disk->open(reader->disk->context, path.text, DISK_READ, &reader->file, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    reader->segment_first_seq = first_seq;
    reader->offset = 0;
    wal_scan_attach(&reader->scan, reader->file);
    return ERR_OK;
}

/* -- what must hold of a block ----------------------------------------------------------------- */

static bool s_chained(const wal_reader_t *reader, const wal_hash_t *previous_hash)
{
    return !reader->last_hash_known ||
           memcmp(reader->last_hash.bytes, previous_hash->bytes, WAL_HASH_SIZE) == 0;
}

static err_t s_check_header(const wal_reader_t *reader,
                            const wal_segment_header_t *header,
                            errbuf_t *errbuf)
{
    if (!stream_id_equal(header->stream, reader->stream)) {
        return s_corrupt(reader, "segment header: of another stream", errbuf);
    }
    if (header->first_seq != reader->segment_first_seq) {
        return s_corrupt(reader, "segment header: its first event is not the name's", errbuf);
    }
    if (!s_chained(reader, &header->previous_hash)) {
        return s_corrupt(reader, "segment header: its previous hash is another batch's", errbuf);
    }
    return ERR_OK;
}

static err_t s_check_batch(const wal_reader_t *reader,
                           const wal_batch_t *batch,
                           uint64_t first_seq,
                           errbuf_t *errbuf)
{
    if (!stream_id_equal(batch->stream, reader->stream)) {
        return s_corrupt(reader, "batch: of another stream", errbuf);
    }
    if (batch->first_seq != first_seq) {
        return s_corrupt(reader, "batch: it does not begin with the event that is next", errbuf);
    }
    if (batch->segment_first_seq != reader->segment_first_seq) {
        return s_corrupt(reader, "batch: of another segment", errbuf);
    }
    if (!s_chained(reader, &batch->previous_hash)) {
        return s_corrupt(reader, "batch: its previous hash is another batch's", errbuf);
    }
    return ERR_OK;
}

static bool s_footer_fits(const wal_reader_t *reader, const wal_footer_t *footer)
{
    return footer->first_seq == reader->segment_first_seq &&
           footer->last_seq == reader->next_seq - 1 && footer->offset == reader->offset;
}

/* -- finding the first batch ------------------------------------------------------------------- */

/* Steps from header to header up to the batch that holds next_seq. All of them are durable. */
static err_t s_step_to_next(wal_reader_t *reader, errbuf_t *errbuf)
{
    uint64_t seq = reader->segment_first_seq;
    const uint64_t wanted = reader->next_seq;
    reader->next_seq = seq;
    while (seq < wanted) {
        slice_t bytes;
        wal_batch_t batch;
        err_t err =
            wal_scan_view(&reader->scan, reader->offset, WAL_BATCH_HEADER_SIZE, &bytes, errbuf);
        if (err == ERR_OK) {
            err = wal_decode_batch_header(bytes, &batch, errbuf);
        }
        if (err == ERR_END || err == ERR_AGAIN || err == ERR_CORRUPT) {
            return s_corrupt(reader, "expected a batch below what was announced, found none",
                             errbuf);
        }
        if (err == ERR_OK) {
            err = s_check_batch(reader, &batch, seq, errbuf);
        }
        if (err != ERR_OK) {
            return err;
        }
        if (wal_batch_last_seq(&batch) >= wanted) {
            break;
        }
        seq = wal_batch_last_seq(&batch) + 1;
        reader->offset += batch.block_size;
        reader->last_hash = batch.hash;
        reader->last_hash_known = true;
        reader->next_seq = seq;
    }
    return ERR_OK;
}

static err_t s_enter_segment(wal_reader_t *reader, uint64_t first_seq, errbuf_t *errbuf)
{
    wal_block_t block;
    err_t err = s_open_segment(reader, first_seq, errbuf);
    if (err != ERR_OK || first_seq == reader->next_seq) {
        return err; /* the header is the first thing to give */
    }
    err = wal_scan_block(&reader->scan, 0, WAL_SCAN_VERIFY, &block, NULL, errbuf);
    if (err == ERR_OK && block.kind == WAL_BLOCK_SEGMENT) {
        err = s_check_header(reader, &block.as.segment, errbuf);
    } else if (err == ERR_OK || err == ERR_END || err == ERR_AGAIN) {
        err = s_corrupt(reader, "expected a segment header, found none", errbuf);
    }
    if (err == ERR_OK) {
        reader->offset = WAL_SEGMENT_HEADER_SIZE;
        reader->last_hash = block.as.segment.previous_hash;
        reader->last_hash_known = true;
        err = s_step_to_next(reader, errbuf);
    }
    return err;
}

static err_t s_find_segment(wal_reader_t *reader, uint64_t *ret_first_seq, errbuf_t *errbuf)
{
    wal_segment_list_t files = {NULL, 0, 0};
    uint64_t first_seq = 0;
    err_t err = wal_files_list_segments(reader->disk, reader->folder.text, &files, NULL, errbuf);
    for (size_t i = 0; i < files.count && files.items[i].first_seq <= reader->next_seq; i++) {
        first_seq = files.items[i].first_seq;
    }
    if (err == ERR_OK && first_seq == 0) {
        errbuf_set(errbuf,
                   "%s: expected a segment that holds event %" PRIu64 ", found none; the events "
                   "before the oldest segment are in snapshots only",
                   reader->folder.text, reader->next_seq);
        err = ERR_NOT_FOUND;
    }
    wal_segment_list_done(&files);
    if (err == ERR_OK) {
        *ret_first_seq = first_seq;
    }
    return err;
}

/* in through_seq  at least next_seq - 1: all that is stepped over is durable */
static err_t s_locate(wal_reader_t *reader, uint64_t through_seq, errbuf_t *errbuf)
{
    const uint64_t wanted = reader->next_seq;
    uint64_t first_seq = 0;
    err_t err = s_find_segment(reader, &first_seq, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    err = s_enter_segment(reader, first_seq, errbuf);
    if (err != ERR_OK) {
        s_close_file(reader);
        reader->next_seq = wanted;
        reader->last_hash_known = false;
        return err;
    }
    reader->located = true;
    reader->fresh_seq = through_seq;
    return ERR_OK;
}

/* -- the next block ---------------------------------------------------------------------------- */

/* The block that the announcement promises. */
static err_t s_peek_durable(wal_reader_t *reader,
                            wal_block_t *ret_block,
                            slice_t *ret_bytes,
                            errbuf_t *errbuf)
{
    err_t err =
        wal_scan_block(&reader->scan, reader->offset, reader->mode, ret_block, ret_bytes, errbuf);
    if (err == ERR_END) {
        return s_corrupt(reader, "expected a batch that was announced, found the end of the file",
                         errbuf);
    }
    if (err == ERR_AGAIN || err == ERR_CORRUPT) {
        return s_at(reader, ERR_CORRUPT, errbuf);
    }
    if (err != ERR_OK) {
        return s_at(reader, err, errbuf);
    }
    switch (ret_block->kind) {
    case WAL_BLOCK_SEGMENT:
        return reader->offset == 0
                   ? s_check_header(reader, &ret_block->as.segment, errbuf)
                   : s_corrupt(reader, "expected a batch, found a segment header", errbuf);
    case WAL_BLOCK_BATCH:
        return reader->offset > 0
                   ? s_check_batch(reader, &ret_block->as.batch, reader->next_seq, errbuf)
                   : s_corrupt(reader, "expected a segment header, found a batch", errbuf);
    case WAL_BLOCK_FOOTER:
        return s_footer_fits(reader, &ret_block->as.footer)
                   ? ERR_OK
                   : s_corrupt(reader, "footer: it does not fit the segment", errbuf);
    }
    return ERR_CORRUPT;
}

/* A reader that begins where the stream ends, as after a restart, has not looked at any file yet;
 * the last segment may have been sealed since its peer saw the last batch. Failing to find out is
 * no harm: the next event settles it. */
static bool s_locate_end(wal_reader_t *reader, uint64_t through_seq)
{
    if (reader->footer_sought || through_seq == 0 || reader->next_seq != through_seq + 1) {
        return false;
    }
    reader->footer_sought = true;
    if (s_locate(reader, through_seq, NULL) != ERR_OK) {
        return false;
    }
    if (reader->offset ==
        0) { /* a segment behind the end: not announced, so not ours to hold open */
        s_close_file(reader);
        reader->located = false;
    }
    return reader->located;
}

/* Behind all that was announced only a footer can be final: it is a function of what was read. */
static err_t s_peek_footer(wal_reader_t *reader,
                           uint64_t through_seq,
                           wal_block_t *ret_block,
                           slice_t *ret_bytes)
{
    if (!reader->located && !s_locate_end(reader, through_seq)) {
        return ERR_END;
    }
    if (reader->file == NULL || reader->offset <= WAL_SEGMENT_HEADER_SIZE) {
        return ERR_END;
    }
    wal_scan_drop(&reader->scan);
    reader->fresh_seq = reader->next_seq - 1;
    err_t err =
        wal_scan_block(&reader->scan, reader->offset, WAL_SCAN_TRUST, ret_block, ret_bytes, NULL);
    const bool footer = err == ERR_OK && ret_block->kind == WAL_BLOCK_FOOTER &&
                        s_footer_fits(reader, &ret_block->as.footer);
    return footer ? ERR_OK : ERR_END;
}

/* Looks at the next block without moving on. ERR_END caught up. */
static err_t s_peek(wal_reader_t *reader,
                    uint64_t through_seq,
                    wal_block_t *ret_block,
                    slice_t *ret_bytes,
                    errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    if (reader->next_seq > through_seq) {
        return ERR_END;
    }
    if (!reader->located) {
        err = s_locate(reader, through_seq, errbuf);
    } else if (reader->file == NULL) {
        err = s_open_segment(reader, reader->next_seq, errbuf);
        err = err == ERR_NOT_FOUND ? s_at(reader, ERR_CORRUPT, errbuf) : err;
    }
    if (err != ERR_OK) {
        return err;
    }
    if (reader->next_seq > reader->fresh_seq) {
        wal_scan_drop(&reader->scan);
        reader->fresh_seq = through_seq;
    }
    err = s_peek_durable(reader, ret_block, ret_bytes, errbuf);
    if (err == ERR_OK && ret_block->kind == WAL_BLOCK_BATCH &&
        wal_batch_last_seq(&ret_block->as.batch) > through_seq) {
        return ERR_END; /* announced up to inside a batch: not whole yet */
    }
    return err;
}

static void s_consume(wal_reader_t *reader, const wal_block_t *block)
{
    switch (block->kind) {
    case WAL_BLOCK_SEGMENT:
        reader->last_hash = block->as.segment.previous_hash;
        reader->last_hash_known = true;
        reader->offset += block->size;
        break;
    case WAL_BLOCK_BATCH:
        reader->next_seq = wal_batch_last_seq(&block->as.batch) + 1;
        reader->last_hash = block->as.batch.hash;
        reader->last_hash_known = true;
        reader->offset += block->size;
        break;
    case WAL_BLOCK_FOOTER:
        s_close_file(reader);
        break;
    }
    s_invariant(reader);
}

err_t wal_reader_next_blocks(wal_reader_t *reader,
                             uint64_t through_seq,
                             size_t size_max,
                             buffer_t *out,
                             wal_range_t *ret_range,
                             errbuf_t *errbuf)
{
    s_invariant(reader);
    const size_t start = out->size;
    wal_range_t range = {0, 0};
    wal_block_t block;
    slice_t bytes;
    err_t err = s_peek(reader, through_seq, &block, &bytes, errbuf);
    if (err == ERR_END && reader->next_seq > through_seq) {
        err = s_peek_footer(reader, through_seq, &block, &bytes);
    }
    while (err == ERR_OK && (range.first_seq == 0 || out->size - start + bytes.size <= size_max)) {
        buffer_append(out, bytes.data, bytes.size);
        if (block.kind == WAL_BLOCK_BATCH) {
            range.first_seq = range.first_seq == 0 ? block.as.batch.first_seq : range.first_seq;
            range.last_seq = wal_batch_last_seq(&block.as.batch);
        }
        s_consume(reader, &block);
        err = s_peek(reader, through_seq, &block, &bytes, errbuf);
    }
    if (out->size == start) {
        return err;
    }
    if (range.first_seq == 0) {
        range = (wal_range_t){reader->next_seq, reader->next_seq - 1};
    }
    *ret_range = range;
    return ERR_OK;
}

err_t wal_reader_next_batch(wal_reader_t *reader,
                            uint64_t through_seq,
                            wal_batch_t *ret_batch,
                            errbuf_t *errbuf)
{
    s_invariant(reader);
    wal_block_t block;
    slice_t bytes;
    err_t err = s_peek(reader, through_seq, &block, &bytes, errbuf);
    while (err == ERR_OK && block.kind != WAL_BLOCK_BATCH) {
        s_consume(reader, &block);
        err = s_peek(reader, through_seq, &block, &bytes, errbuf);
    }
    if (err == ERR_OK) {
        s_consume(reader, &block);
        *ret_batch = block.as.batch;
    }
    return err;
}

uint64_t wal_reader_next_seq(const wal_reader_t *reader)
{
    return reader->next_seq;
}
