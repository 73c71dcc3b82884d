#include "common/wal/wal_recovery.h"

#include "common/base/check.h"
#include "common/wal/wal_scan.h"
#include "common/wal/wal_witness.h"

#include <inttypes.h>

/* One scan under way. */
typedef struct {
    const wal_place_t *place;
    const wal_recovery_options_t *options;
    wal_recovery_t *result;
    wal_scan_t scan;
    wal_path_t path;      /* of the segment looked at */
    uint64_t file_size;   /* of it */
    bool is_last;         /* the last file of the stream: it may be unsealed, or torn */
    bool verify;          /* every batch of it */
    bool last_hash_known; /* result->last_hash is that of the batch before */
} walk_t;

static bool s_damaged(const walk_t *walk)
{
    return walk->result->damage.kind != WAL_DAMAGE_NONE;
}

static void s_note_damage(walk_t *walk,
                          wal_damage_kind_t kind,
                          uint64_t segment_first_seq,
                          uint64_t offset,
                          const errbuf_t *reason)
{
    wal_damage_t *damage = &walk->result->damage;
    CHECK(damage->kind == WAL_DAMAGE_NONE);
    damage->kind = kind;
    damage->segment_first_seq = segment_first_seq;
    damage->offset = offset;
    damage->seq = walk->result->last_seq + 1;
    damage->reason = *reason;
    errbuf_prefix(&damage->reason, "%s at offset %" PRIu64 " (event %" PRIu64 ")", walk->path.text,
                  offset, damage->seq);
}

/* Whether damage at this offset may be cut, whatever it is. */
static bool s_may_cut(const walk_t *walk, uint64_t offset)
{
    return walk->options->cut_damage && walk->is_last && offset > 0;
}

static void s_note_torn(walk_t *walk,
                        uint64_t segment_first_seq,
                        uint64_t offset,
                        const errbuf_t *reason)
{
    s_note_damage(walk, WAL_DAMAGE_TORN, segment_first_seq, offset, reason);
    walk->result->cut_bytes = walk->file_size - offset;
}

/* What verifies and contradicts the chain: no tear does that. */
static void s_contradiction(walk_t *walk,
                            uint64_t segment_first_seq,
                            uint64_t offset,
                            const errbuf_t *reason)
{
    if (s_may_cut(walk, offset)) {
        s_note_torn(walk, segment_first_seq, offset, reason);
    } else {
        s_note_damage(walk, WAL_DAMAGE_REAL, segment_first_seq, offset, reason);
    }
}

/* Whether it was durable once, by the caller's knowledge or by what stands behind it. */
static err_t s_was_durable(walk_t *walk,
                           uint64_t segment_first_seq,
                           uint64_t offset,
                           bool *ret_durable,
                           errbuf_t *ret_witness)
{
    if (walk->result->last_seq < walk->options->known_durable_seq) {
        errbuf_set(ret_witness, "event %" PRIu64 " is known to have been durable",
                   walk->options->known_durable_seq);
        *ret_durable = true;
        return ERR_OK;
    }
    const wal_witness_case_t the_case = {
        .stream = walk->place->stream,
        .segment_first_seq = segment_first_seq,
        .damaged_seq = walk->result->last_seq + 1,
        .offset = offset,
        .file_size = walk->file_size,
    };
    return wal_witness_find(&walk->scan, &the_case, ret_durable, ret_witness);
}

/* The block at offset does not verify: torn tail or damage? */
static err_t s_on_broken_block(
    walk_t *walk, uint64_t segment_first_seq, uint64_t offset, errbuf_t *reason, errbuf_t *errbuf)
{
    errbuf_t witness;
    bool durable = false;
    if (s_may_cut(walk, offset)) {
        s_note_torn(walk, segment_first_seq, offset, reason);
        return ERR_OK;
    }
    if (!walk->is_last) {
        s_note_damage(walk, WAL_DAMAGE_REAL, segment_first_seq, offset, reason);
        return ERR_OK;
    }
    err_t err = s_was_durable(walk, segment_first_seq, offset, &durable, &witness);
    if (err != ERR_OK) {
        *errbuf = witness;
        return err;
    }
    if (durable) {
        errbuf_prefix(reason, "%s", witness.text);
        s_note_damage(walk, WAL_DAMAGE_REAL, segment_first_seq, offset, reason);
    } else {
        s_note_torn(walk, segment_first_seq, offset, reason);
    }
    return ERR_OK;
}

/* -- one segment ------------------------------------------------------------------------------- */

static bool s_header_fits(const walk_t *walk,
                          const wal_segment_header_t *header,
                          uint64_t first_seq,
                          errbuf_t *reason)
{
    const wal_place_t *place = walk->place;
    if (!stream_id_equal(header->stream, place->stream) ||
        strcmp(header->tenant_name, place->tenant_name) != 0 ||
        strcmp(header->region_name, place->region_name) != 0) {
        errbuf_set(reason, "segment header: it belongs to another stream (%s of tenant %s)",
                   header->region_name, header->tenant_name);
        return false;
    }
    if (header->first_seq != first_seq) {
        errbuf_set(reason,
                   "segment header: expected first event %" PRIu64
                   " as the name says, found %" PRIu64,
                   first_seq, header->first_seq);
        return false;
    }
    if (walk->last_hash_known &&
        memcmp(header->previous_hash.bytes, walk->result->last_hash.bytes, WAL_HASH_SIZE) != 0) {
        errbuf_set(reason, "segment header: its previous hash is not that of the batch before");
        return false;
    }
    return true;
}

/* Reads and judges the header; on ERR_OK either there is damage or the header counts. */
static err_t s_scan_header(walk_t *walk, uint64_t first_seq, errbuf_t *errbuf)
{
    errbuf_t reason = {""};
    wal_block_t block;
    err_t err = wal_scan_block(&walk->scan, 0, WAL_SCAN_VERIFY, &block, NULL, &reason);
    if (err == ERR_IO || err == ERR_UNSUPPORTED) {
        *errbuf = reason;
        return err;
    }
    if (err == ERR_OK && block.kind != WAL_BLOCK_SEGMENT) {
        errbuf_set(&reason, "expected a segment header, found another block");
        err = ERR_CORRUPT;
    }
    if (err == ERR_END) {
        errbuf_set(&reason, "expected a segment header, found an empty file");
    }
    if (err != ERR_OK) {
        return s_on_broken_block(walk, first_seq, 0, &reason, errbuf);
    }
    if (!s_header_fits(walk, &block.as.segment, first_seq, &reason)) {
        s_contradiction(walk, first_seq, 0, &reason);
        return ERR_OK;
    }
    walk->result->last_hash = block.as.segment.previous_hash;
    walk->last_hash_known = true;
    return ERR_OK;
}

static bool s_batch_fits(const walk_t *walk, const wal_batch_t *batch, errbuf_t *reason)
{
    if (!stream_id_equal(batch->stream, walk->place->stream)) {
        errbuf_set(reason, "batch: it belongs to another stream");
        return false;
    }
    if (batch->first_seq != walk->result->last_seq + 1) {
        errbuf_set(reason, "batch: expected first event %" PRIu64 ", found %" PRIu64,
                   walk->result->last_seq + 1, batch->first_seq);
        return false;
    }
    if (batch->segment_first_seq != walk->result->tail.first_seq) {
        errbuf_set(reason, "batch: expected one of this segment, found one of segment %" PRIu64,
                   batch->segment_first_seq);
        return false;
    }
    if (memcmp(batch->previous_hash.bytes, walk->result->last_hash.bytes, WAL_HASH_SIZE) != 0) {
        errbuf_set(reason, "batch: its previous hash is not that of the batch before");
        return false;
    }
    return true;
}

static void s_count_batch(walk_t *walk, wal_tail_t *tail, const wal_batch_t *batch)
{
    walk->result->last_seq = wal_batch_last_seq(batch);
    walk->result->last_hash = batch->hash;
    tail->size_bytes += batch->block_size;
    tail->batch_count++;
    buffer_append(&tail->hashes, batch->hash.bytes, WAL_HASH_SIZE);
}

static bool s_footer_fits(const walk_t *walk, const wal_tail_t *tail, const wal_footer_t *footer)
{
    return footer->first_seq == tail->first_seq && footer->last_seq == walk->result->last_seq &&
           footer->offset == tail->size_bytes &&
           wal_footer_matches(footer, buffer_slice(&tail->hashes));
}

/* Whether only zeros stand behind offset. */
static err_t s_only_zeros_behind(walk_t *walk, uint64_t offset, bool *ret_zeros, errbuf_t *errbuf)
{
    *ret_zeros = true;
    while (offset < walk->file_size && *ret_zeros) {
        slice_t bytes;
        err_t err = wal_scan_view(&walk->scan, offset, 1, &bytes, errbuf);
        if (err != ERR_OK) {
            return err;
        }
        if (bytes.size == 0) {
            break;
        }
        for (size_t i = 0; i < bytes.size; i++) {
            *ret_zeros = *ret_zeros && bytes.data[i] == 0;
        }
        offset += bytes.size;
    }
    return ERR_OK;
}

static void s_seal(walk_t *walk, wal_tail_t *tail)
{
    wal_segment_t segment = {tail->first_seq, walk->result->last_seq,
                             tail->size_bytes + WAL_FOOTER_SIZE};
    wal_segment_list_add(&walk->result->sealed, segment);
    walk->result->last_file_trim_size = segment.size_bytes;
    tail->open = false;
}

/* The footer at the end of the batches. */
static err_t s_on_footer(walk_t *walk,
                         wal_tail_t *tail,
                         const wal_footer_t *footer,
                         errbuf_t *errbuf)
{
    errbuf_t reason;
    const uint64_t end = tail->size_bytes + WAL_FOOTER_SIZE;
    bool zeros = false;
    if (!s_footer_fits(walk, tail, footer)) {
        errbuf_set(&reason, "footer: it does not fit the batches before it");
        return s_on_broken_block(walk, tail->first_seq, tail->size_bytes, &reason, errbuf);
    }
    err_t err = s_only_zeros_behind(walk, end, &zeros, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    /* Zeros are room that was made ahead and that the seal did not come to trim. */
    if (walk->file_size > end && (!zeros || !walk->is_last)) {
        errbuf_set(&reason, "expected the end of the file behind the footer, found more");
        s_contradiction(walk, tail->first_seq, end, &reason);
        return ERR_OK;
    }
    s_seal(walk, tail);
    return ERR_OK;
}

/* There is neither a batch nor a footer at the end of the batches. in err  what there is instead:
 * ERR_OK another block, ERR_END nothing, else it does not verify for this reason */
static err_t s_on_no_block(
    walk_t *walk, const wal_tail_t *tail, err_t err, errbuf_t *reason, errbuf_t *errbuf)
{
    if (walk->is_last) {
        bool zeros = false; /* the end, or room that was made ahead */
        err_t zeros_err = s_only_zeros_behind(walk, tail->size_bytes, &zeros, errbuf);
        if (zeros_err != ERR_OK || zeros) {
            return zeros_err;
        }
    }
    if (err == ERR_OK || err == ERR_END) {
        errbuf_set(reason, "expected a batch or the footer, found %s",
                   err == ERR_OK ? "a segment header" : "the end of the file");
    }
    return s_on_broken_block(walk, tail->first_seq, tail->size_bytes, reason, errbuf);
}

/* The block at tail->size_bytes. ERR_END: nothing more to scan in this segment. */
static err_t s_scan_block(walk_t *walk, wal_tail_t *tail, errbuf_t *errbuf)
{
    errbuf_t reason = {""};
    wal_block_t block;
    err_t err =
        wal_scan_block(&walk->scan, tail->size_bytes, WAL_SCAN_VERIFY, &block, NULL, &reason);
    if (err == ERR_IO || err == ERR_UNSUPPORTED) {
        *errbuf = reason;
        return err;
    }
    const bool batch = err == ERR_OK && block.kind == WAL_BLOCK_BATCH;
    if (batch && s_batch_fits(walk, &block.as.batch, &reason)) {
        s_count_batch(walk, tail, &block.as.batch);
        return ERR_OK;
    }
    if (batch) {
        s_contradiction(walk, tail->first_seq, tail->size_bytes, &reason);
        return ERR_END;
    }
    if (err == ERR_OK && block.kind == WAL_BLOCK_FOOTER) {
        err = s_on_footer(walk, tail, &block.as.footer, errbuf);
    } else {
        err = s_on_no_block(walk, tail, err, &reason, errbuf);
    }
    return err == ERR_OK ? ERR_END : err;
}

/* Every batch of the segment. Leaves it in result->sealed, or as result->tail. */
static err_t s_scan_batches(walk_t *walk, uint64_t first_seq, errbuf_t *errbuf)
{
    wal_tail_t *tail = &walk->result->tail;
    tail->open = true;
    tail->first_seq = first_seq;
    tail->size_bytes = WAL_SEGMENT_HEADER_SIZE;
    tail->batch_count = 0;
    buffer_clear(&tail->hashes);
    walk->result->last_file_trim_size = UINT64_MAX;
    err_t err = ERR_OK;
    while (err == ERR_OK) {
        err = s_scan_block(walk, tail, errbuf);
    }
    if (err != ERR_END) {
        return err;
    }
    if (walk->result->damage.kind == WAL_DAMAGE_REAL) {
        tail->open = false;
    }
    if (tail->open) {
        walk->result->last_file_trim_size = tail->size_bytes;
    }
    return ERR_OK;
}

/* Footer and place alone, for a segment that is not the last one. */
static err_t s_scan_sealed(walk_t *walk, uint64_t first_seq, errbuf_t *errbuf)
{
    errbuf_t reason = {""};
    wal_block_t block;
    uint64_t offset = 0;
    err_t err = ERR_CORRUPT;
    errbuf_set(&reason, "expected a sealed segment, found a file of %" PRIu64 " bytes",
               walk->file_size);
    if (walk->file_size > WAL_SEGMENT_HEADER_SIZE + WAL_FOOTER_SIZE) {
        offset = walk->file_size - WAL_FOOTER_SIZE;
        err = wal_scan_block(&walk->scan, offset, WAL_SCAN_VERIFY, &block, NULL, &reason);
    }
    if (err == ERR_IO || err == ERR_UNSUPPORTED) {
        *errbuf = reason;
        return err;
    }
    if (err == ERR_OK && (block.kind != WAL_BLOCK_FOOTER || block.as.footer.offset != offset ||
                          block.as.footer.first_seq != first_seq)) {
        errbuf_set(&reason, "expected the footer of this segment, found another block");
        err = ERR_CORRUPT;
    }
    if (err != ERR_OK) {
        s_contradiction(walk, first_seq, offset, &reason);
        return ERR_OK;
    }
    wal_segment_t segment = {first_seq, block.as.footer.last_seq, walk->file_size};
    wal_segment_list_add(&walk->result->sealed, segment);
    walk->result->last_seq = segment.last_seq;
    walk->last_hash_known = false; /* it stands in the last batch, which was not read */
    return ERR_OK;
}

static err_t s_scan_open_segment(walk_t *walk, uint64_t first_seq, errbuf_t *errbuf)
{
    err_t err = s_scan_header(walk, first_seq, errbuf);
    if (err != ERR_OK || s_damaged(walk)) {
        return err;
    }
    if (walk->verify) {
        return s_scan_batches(walk, first_seq, errbuf);
    }
    return s_scan_sealed(walk, first_seq, errbuf);
}

static err_t s_scan_segment(walk_t *walk, uint64_t first_seq, errbuf_t *errbuf)
{
    const disk_t *disk = walk->place->disk;
    disk_file_t *file = NULL;
    err_t err = wal_files_segment_path(walk->place->folder, first_seq, &walk->path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    if (first_seq != walk->result->last_seq + 1) {
        errbuf_t reason;
        errbuf_set(&reason, "expected a segment that begins with event %" PRIu64 ", found %" PRIu64,
                   walk->result->last_seq + 1, first_seq);
        s_contradiction(walk, first_seq, 0, &reason);
        return ERR_OK;
    }
    err = disk->open(disk->context, walk->path.text, DISK_READ, &file, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    err = disk->size(disk->context, file, &walk->file_size, errbuf);
    if (err == ERR_OK) {
        wal_scan_attach(&walk->scan, file);
        err = s_scan_open_segment(walk, first_seq, errbuf);
        wal_scan_attach(&walk->scan, NULL);
    }
    disk->close(disk->context, &file);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "%s", walk->path.text);
    }
    return err;
}

/* -- the stream -------------------------------------------------------------------------------- */

/* Files may still begin below the base; then their chain begins where they do. */
static void s_start_at(walk_t *walk, const wal_segment_list_t *files)
{
    const wal_base_t *base = &walk->place->base;
    walk->result->last_seq = base->seq;
    walk->result->last_hash = base->hash;
    walk->last_hash_known = true;
    if (files->count > 0 && files->items[0].first_seq <= base->seq) {
        walk->result->last_seq = files->items[0].first_seq - 1;
        walk->last_hash_known = false;
    }
}

/* in ends  whether the last of these files is the last one of the stream */
static err_t s_scan_files(walk_t *walk,
                          const wal_segment_list_t *files,
                          bool ends,
                          errbuf_t *errbuf)
{
    s_start_at(walk, files);
    err_t err = ERR_OK;
    for (size_t i = 0; i < files->count && err == ERR_OK && !s_damaged(walk); i++) {
        walk->is_last = ends && i + 1 == files->count;
        walk->verify = i + 1 == files->count || walk->options->verify_all;
        walk->result->last_file_first_seq = files->items[i].first_seq;
        err = s_scan_segment(walk, files->items[i].first_seq, errbuf);
    }
    return err;
}

/* The last file goes, for its header is torn. The hash to go on from stands at the end of the file
 * before it, which has to be read for it; that one is sealed, so nothing in it can be torn. */
static err_t s_scan_without_last(walk_t *walk, wal_segment_list_t *files, errbuf_t *errbuf)
{
    wal_recovery_t *result = walk->result;
    const wal_damage_t torn = result->damage;
    CHECK(torn.kind == WAL_DAMAGE_TORN && torn.offset == 0);
    result->damage.kind = WAL_DAMAGE_NONE;
    result->sealed.count = 0;
    files->count--;
    err_t err = s_scan_files(walk, files, false, errbuf);
    if (err == ERR_OK && !s_damaged(walk)) {
        result->damage = torn;
        result->last_file_first_seq = torn.segment_first_seq;
    }
    return err;
}

static void s_check_known_durable(walk_t *walk)
{
    const uint64_t known = walk->options->known_durable_seq;
    wal_recovery_t *result = walk->result;
    errbuf_t reason;
    if (result->damage.kind == WAL_DAMAGE_REAL || result->last_seq >= known) {
        return;
    }
    errbuf_set(&reason,
               "expected events up to %" PRIu64 ", which were durable, found %" PRIu64
               " as the last one",
               known, result->last_seq);
    if (result->last_file_first_seq == 0) {
        (void)wal_files_join(walk->place->folder, "", "", &walk->path, NULL);
    }
    result->damage.kind = WAL_DAMAGE_NONE;
    s_note_damage(walk, WAL_DAMAGE_REAL, result->last_file_first_seq, walk->file_size, &reason);
}

err_t wal_recovery_scan(const wal_place_t *place,
                        const wal_recovery_options_t *options,
                        wal_recovery_t *ret_recovery,
                        errbuf_t *errbuf)
{
    wal_recovery_t result = {.folder_exists = true};
    walk_t walk = {.place = place, .options = options, .result = &result};
    wal_segment_list_t files = {NULL, 0, 0};
    errbuf_t own_errbuf = {""};
    errbuf = errbuf == NULL ? &own_errbuf : errbuf;
    buffer_init(&result.tail.hashes);
    wal_scan_init(&walk.scan, place->disk);
    err_t err =
        wal_files_list_segments(place->disk, place->folder, &files, &result.leftover_count, errbuf);
    if (err == ERR_NOT_FOUND) {
        result.folder_exists = false;
        err = ERR_OK;
    }
    if (err == ERR_OK) {
        err = s_scan_files(&walk, &files, true, errbuf);
    }
    if (err == ERR_OK && result.damage.kind == WAL_DAMAGE_TORN && result.damage.offset == 0) {
        err = s_scan_without_last(&walk, &files, errbuf);
    }
    if (err == ERR_OK) {
        s_check_known_durable(&walk);
    }
    wal_scan_done(&walk.scan);
    wal_segment_list_done(&files);
    if (err != ERR_OK) {
        wal_recovery_done(&result);
        errbuf_prefix(errbuf, "recovery of the log in %s", place->folder);
        return err;
    }
    *ret_recovery = result;
    return ERR_OK;
}

/* The last file: removed when not even its header counts, else cut and synced. */
static err_t s_repair_last_file(const wal_place_t *place,
                                const wal_recovery_t *recovery,
                                errbuf_t *errbuf)
{
    const disk_t *disk = place->disk;
    wal_path_t path;
    disk_file_t *file = NULL;
    uint64_t size = 0;
    err_t err = wal_files_segment_path(place->folder, recovery->last_file_first_seq, &path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    if (recovery->damage.kind == WAL_DAMAGE_TORN && recovery->damage.offset == 0) {
        return disk->unlink(disk->context, path.text, errbuf);
    }
    err = disk->open(disk->context, path.text, DISK_WRITE, &file, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    err = disk->size(disk->context, file, &size, errbuf);
    if (err == ERR_OK && size > recovery->last_file_trim_size) {
        err = disk->truncate(disk->context, file, recovery->last_file_trim_size, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->sync(disk->context, file, errbuf);
    }
    disk->close(disk->context, &file);
    return err;
}

err_t wal_recovery_repair(const wal_place_t *place,
                          const wal_recovery_t *recovery,
                          errbuf_t *errbuf)
{
    CHECK(recovery->damage.kind != WAL_DAMAGE_REAL);
    err_t err = ERR_OK;
    if (!recovery->folder_exists) {
        return ERR_OK;
    }
    if (recovery->last_file_first_seq != 0) {
        err = s_repair_last_file(place, recovery, errbuf);
    }
    if (err == ERR_OK && recovery->leftover_count > 0) {
        err = wal_files_remove_leftovers(place->disk, place->folder, errbuf);
    }
    if (err == ERR_OK) {
        err = place->disk->sync_folder(place->disk->context, place->folder, errbuf);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "repair of the log in %s", place->folder);
    }
    return err;
}

void wal_recovery_done(wal_recovery_t *self)
{
    wal_segment_list_done(&self->sealed);
    buffer_done(&self->tail.hashes);
    self->tail.open = false;
}
