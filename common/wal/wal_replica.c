#include "common/wal/wal_replica.h"

#include "common/base/check.h"
#include "common/wal/record.h"
#include "common/wal/wal_mark.h"
#include "common/wal/wal_room.h"

#include <inttypes.h>
#include <stdlib.h>

static const wal_mark_t s_incomplete = {
    "incomplete", "this copy may hold less than it did; it is fetched again from other regions\n"};

struct wal_replica {
    const disk_t *disk; /* borrowed */
    stream_id_t stream;
    char tenant_name[NAME_LENGTH_MAX + 1];
    char region_name[NAME_LENGTH_MAX + 1];
    wal_path_t folder;
    wal_base_t join;
    bool verify_all;
    wal_quarantine_limits_t quarantine;
    bool no_zero_fill;
    bool is_incomplete;
    bool is_marked; /* the folder says so */

    wal_writer_t *writer; /* NULL after a set-aside that failed */
    wal_room_t room;
};

static void s_invariant(const wal_replica_t *replica)
{
    CHECK(replica->disk != NULL);
    CHECK(replica->folder.text[0] != '\0');
}

static wal_place_t s_place(const wal_replica_t *replica)
{
    return (wal_place_t){
        .disk = replica->disk,
        .folder = replica->folder.text,
        .stream = replica->stream,
        .tenant_name = replica->tenant_name,
        .region_name = replica->region_name,
        .base = replica->join,
    };
}

/* -- opening, and setting aside ---------------------------------------------------------------- */

/* What one recovery goes through. */
typedef struct {
    now_t now;
    bool cut_damage; /* the damaged segment was copied; see wal_recovery_options_t */
    wal_replica_report_t report;
} repair_t;

typedef err_t (*set_aside_fn)(const disk_t *disk,
                              const char *stream_folder,
                              wal_quarantine_limits_t limits,
                              uint64_t first_seq,
                              const char *reason,
                              errbuf_t *errbuf);

static err_t s_set_aside_one(wal_replica_t *replica,
                             repair_t *repair,
                             set_aside_fn set_aside,
                             uint64_t first_seq,
                             const char *reason,
                             errbuf_t *errbuf)
{
    errbuf_t text;
    errbuf_set(&text, "set aside at %" PRId64 " ns since 1970: %s", repair->now.wall_ns, reason);
    err_t err = set_aside(replica->disk, replica->folder.text, replica->quarantine, first_seq,
                          text.text, errbuf);
    if (err == ERR_OK) {
        repair->report.set_aside_count++;
    }
    return err;
}

/* The segments behind the damaged one, the last one first: so whatever is left after a crash in
 * between is a stream with the same damage in it, and the next open goes on. */
static err_t s_set_aside_behind(wal_replica_t *replica,
                                repair_t *repair,
                                uint64_t first_seq,
                                const char *reason,
                                errbuf_t *errbuf)
{
    wal_segment_list_t files = {NULL, 0, 0};
    errbuf_t text;
    errbuf_set(&text, "it lies behind damage: %s", reason);
    err_t err = wal_files_list_segments(replica->disk, replica->folder.text, &files, NULL, errbuf);
    for (size_t i = files.count; i > 0 && err == ERR_OK; i--) {
        if (files.items[i - 1].first_seq <= first_seq) {
            break;
        }
        err = s_set_aside_one(replica, repair, wal_quarantine_put, files.items[i - 1].first_seq,
                              text.text, errbuf);
    }
    wal_segment_list_done(&files);
    return err;
}

err_t wal_replica_mark_incomplete(wal_replica_t *replica, errbuf_t *errbuf)
{
    replica->is_incomplete = true;
    if (replica->is_marked) {
        return ERR_OK;
    }
    err_t err = wal_mark_make(replica->disk, replica->folder.text, s_incomplete, errbuf);
    replica->is_marked = err == ERR_OK;
    return err == ERR_DISK_FULL ? ERR_OK : err;
}

/* Leaves the damaged segment as the last one, to be cut, or removes it too. */
static err_t s_set_aside(wal_replica_t *replica,
                         repair_t *repair,
                         uint64_t first_seq,
                         bool header_counts,
                         const char *reason,
                         errbuf_t *errbuf)
{
    err_t err = wal_replica_mark_incomplete(replica, errbuf);
    if (err == ERR_OK) {
        err = s_set_aside_behind(replica, repair, first_seq, reason, errbuf);
    }
    if (err == ERR_OK) {
        err = s_set_aside_one(replica, repair,
                              header_counts ? wal_quarantine_copy : wal_quarantine_put, first_seq,
                              reason, errbuf);
        repair->cut_damage = repair->cut_damage || header_counts;
    }
    return err;
}

static err_t s_open_writer(wal_replica_t *replica, wal_recovery_t *recovery, errbuf_t *errbuf)
{
    const wal_place_t place = s_place(replica);
    err_t err = wal_recovery_repair(&place, recovery, errbuf);
    if (err == ERR_OK) {
        err =
            wal_writer_new(replica->disk, replica->folder.text, recovery, &replica->writer, errbuf);
    }
    return err;
}

/* Unlinks all of them, the oldest first: a crash in between leaves a log that begins later. */
static err_t s_drop_files(const wal_replica_t *replica, errbuf_t *errbuf)
{
    const disk_t *disk = replica->disk;
    wal_segment_list_t files = {NULL, 0, 0};
    err_t err = wal_files_list_segments(disk, replica->folder.text, &files, NULL, errbuf);
    for (size_t i = 0; err == ERR_OK && i < files.count; i++) {
        wal_path_t path;
        err = wal_files_segment_path(replica->folder.text, files.items[i].first_seq, &path, errbuf);
        if (err == ERR_OK) {
            err = disk->unlink(disk->context, path.text, errbuf);
        }
    }
    if (err == ERR_OK && files.count > 0) {
        err = disk->sync_folder(disk->context, replica->folder.text, errbuf);
    }
    wal_segment_list_done(&files);
    return err;
}

/* One look at the folder. ERR_AGAIN: damage was set aside, or what ends before the join is gone:
 * look again. */
static err_t s_recover_once(wal_replica_t *replica, repair_t *repair, errbuf_t *errbuf)
{
    const wal_place_t place = s_place(replica);
    const wal_recovery_options_t options = {0, replica->verify_all, repair->cut_damage};
    wal_recovery_t recovery;
    err_t err = wal_recovery_scan(&place, &options, &recovery, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    const wal_damage_t *damage = &recovery.damage;
    if (damage->kind == WAL_DAMAGE_REAL) {
        if (repair->report.set_aside_count == 0) {
            repair->report.reason = damage->reason;
        }
        err = s_set_aside(replica, repair, damage->segment_first_seq, damage->offset > 0,
                          damage->reason.text, errbuf);
        err = err == ERR_OK ? ERR_AGAIN : err;
    } else if (recovery.last_seq < replica->join.seq) {
        err = s_drop_files(replica, errbuf);
        err = err == ERR_OK ? ERR_AGAIN : err;
    } else {
        if (damage->kind == WAL_DAMAGE_TORN) {
            err = wal_replica_mark_incomplete(replica, errbuf);
        }
        err = err == ERR_OK ? s_open_writer(replica, &recovery, errbuf) : err;
        repair->report.cut_bytes = recovery.cut_bytes;
    }
    wal_recovery_done(&recovery);
    return err;
}

/* Each round but the last takes a file away, or is the first that may cut; so the rounds end. */
static err_t s_recover(wal_replica_t *replica, repair_t *repair, errbuf_t *errbuf)
{
    err_t err = ERR_AGAIN;
    for (uint32_t round = 0; err == ERR_AGAIN; round++) {
        CHECK(round <= SEGMENT_COUNT_MAX + 1);
        err = s_recover_once(replica, repair, errbuf);
    }
    return err;
}

static void s_copy_name(char target[NAME_LENGTH_MAX + 1], const char *name)
{
    const size_t length = strlen(name);
    CHECK(length >= 1 && length <= NAME_LENGTH_MAX);
    memcpy(target, name, length + 1);
}

err_t wal_replica_open(const wal_replica_options_t *options,
                       now_t now,
                       wal_replica_t **ret_replica,
                       wal_replica_report_t *ret_report,
                       errbuf_t *errbuf)
{
    const wal_place_t *place = &options->place;
    CHECK(strlen(place->folder) < WAL_PATH_SIZE_MAX);
    wal_replica_t *replica = calloc(1, sizeof(*replica));
    CHECK(replica != NULL);
    replica->disk = place->disk;
    replica->stream = place->stream;
    s_copy_name(replica->tenant_name, place->tenant_name);
    s_copy_name(replica->region_name, place->region_name);
    memcpy(replica->folder.text, place->folder, strlen(place->folder) + 1);
    replica->join = place->base;
    replica->verify_all = options->verify_all;
    replica->quarantine = options->quarantine;
    replica->no_zero_fill = options->no_zero_fill;
    wal_room_init(&replica->room, place->disk, replica->folder.text);
    repair_t repair = {.now = now};
    err_t err = wal_mark_find(replica->disk, replica->folder.text, s_incomplete,
                              &replica->is_marked, errbuf);
    replica->is_incomplete = replica->is_marked;
    err = err == ERR_OK ? s_recover(replica, &repair, errbuf) : err;
    if (err != ERR_OK) {
        wal_replica_close(&replica);
        return err;
    }
    s_invariant(replica);
    *ret_replica = replica;
    if (ret_report != NULL) {
        *ret_report = repair.report;
        ret_report->is_incomplete = replica->is_incomplete;
    }
    return ERR_OK;
}

bool wal_replica_is_incomplete(const wal_replica_t *replica)
{
    return replica->is_incomplete;
}

err_t wal_replica_settle(wal_replica_t *replica, errbuf_t *errbuf)
{
    err_t err = wal_mark_remove(replica->disk, replica->folder.text, s_incomplete, errbuf);
    replica->is_marked = replica->is_marked && err != ERR_OK;
    replica->is_incomplete = replica->is_incomplete && err != ERR_OK;
    return err;
}

void wal_replica_close(wal_replica_t **replica_p)
{
    wal_replica_t *replica = *replica_p;
    if (replica == NULL) {
        return;
    }
    wal_writer_destroy(&replica->writer);
    free(replica);
    *replica_p = NULL;
}

/* First seq of the segment file that holds seq; 0 when seq is not held. */
static uint64_t s_segment_of(const wal_replica_t *replica, uint64_t seq)
{
    const wal_tail_t *tail = wal_writer_tail(replica->writer);
    if (seq > wal_writer_durable_seq(replica->writer)) {
        return 0;
    }
    if (tail->open && seq >= tail->first_seq) {
        return tail->first_seq;
    }
    const wal_segment_list_t *sealed = wal_writer_sealed(replica->writer);
    const size_t i = wal_segment_list_find(sealed, seq);
    return i < sealed->count && sealed->items[i].first_seq <= seq ? sealed->items[i].first_seq : 0;
}

err_t wal_replica_set_aside(wal_replica_t *replica,
                            uint64_t seq,
                            const char *reason,
                            now_t now,
                            wal_replica_report_t *ret_report,
                            errbuf_t *errbuf)
{
    CHECK(replica->writer != NULL);
    repair_t repair = {.now = now};
    const uint64_t first_seq = s_segment_of(replica, seq);
    err_t err = ERR_OK;
    if (first_seq != 0) {
        errbuf_set(&repair.report.reason, "%s", reason);
        wal_writer_destroy(&replica->writer);
        err = s_set_aside(replica, &repair, first_seq, true, reason, errbuf);
        if (err == ERR_OK) {
            err = s_recover(replica, &repair, errbuf);
        }
    }
    if (err == ERR_OK && ret_report != NULL) {
        *ret_report = repair.report;
        ret_report->is_incomplete = replica->is_incomplete;
    }
    return err;
}

/* -- accepting --------------------------------------------------------------------------------- */

static uint64_t s_position(const wal_replica_t *replica)
{
    return wal_writer_appended_seq(replica->writer);
}

static err_t s_gap(const wal_replica_t *replica,
                   const char *what,
                   uint64_t first_seq,
                   errbuf_t *errbuf)
{
    errbuf_set(errbuf, "%s: expected event %" PRIu64 ", found %" PRIu64 "; ask from there", what,
               s_position(replica) + 1, first_seq);
    return ERR_GAP;
}

static err_t s_other_stream(const wal_replica_t *replica, const char *what, errbuf_t *errbuf)
{
    errbuf_set(errbuf, "%s: expected the stream %s of tenant %s, found another one", what,
               replica->region_name, replica->tenant_name);
    return ERR_CONFLICT;
}

static err_t s_other_history(const char *what, uint64_t seq, errbuf_t *errbuf)
{
    errbuf_set(errbuf,
               "%s: another history: the hash that belongs before event %" PRIu64 " differs from "
               "what is held",
               what, seq);
    return ERR_CONFLICT;
}

static bool s_hash_equal(const wal_hash_t *a, const wal_hash_t *b)
{
    return memcmp(a->bytes, b->bytes, WAL_HASH_SIZE) == 0;
}

static err_t s_take_header(wal_replica_t *replica,
                           const wal_segment_header_t *header,
                           slice_t bytes,
                           errbuf_t *errbuf)
{
    const uint64_t position = s_position(replica);
    const wal_hash_t held = wal_writer_appended_hash(replica->writer);
    const wal_tail_t *tail = wal_writer_tail(replica->writer);
    if (!stream_id_equal(header->stream, replica->stream) ||
        strcmp(header->tenant_name, replica->tenant_name) != 0 ||
        strcmp(header->region_name, replica->region_name) != 0) {
        return s_other_stream(replica, "segment header", errbuf);
    }
    if (header->first_seq > position + 1) {
        return s_gap(replica, "segment header", header->first_seq, errbuf);
    }
    if (header->first_seq <= position || (tail->open && tail->first_seq == header->first_seq)) {
        return ERR_OK; /* held */
    }
    if (!s_hash_equal(&header->previous_hash, &held)) {
        return s_other_history("segment header", header->first_seq, errbuf);
    }
    if (tail->open) {
        wal_writer_seal(replica->writer);
    }
    wal_writer_begin(replica->writer, header->first_seq, bytes.data);
    return ERR_OK;
}

static err_t s_take_batch(wal_replica_t *replica,
                          const wal_batch_t *batch,
                          slice_t bytes,
                          wal_offer_t *offer,
                          errbuf_t *errbuf)
{
    const uint64_t position = s_position(replica);
    const wal_hash_t held = wal_writer_appended_hash(replica->writer);
    if (!stream_id_equal(batch->stream, replica->stream)) {
        return s_other_stream(replica, "batch", errbuf);
    }
    if (wal_batch_last_seq(batch) == position && !s_hash_equal(&batch->hash, &held)) {
        return s_other_history("batch", position + 1, errbuf);
    }
    if (wal_batch_last_seq(batch) <= position) {
        offer->skipped_count++;
        return ERR_OK;
    }
    if (batch->first_seq <= position) {
        errbuf_set(errbuf,
                   "batch of events %" PRIu64 "..%" PRIu64
                   ": it overlaps what is held up to %" PRIu64,
                   batch->first_seq, wal_batch_last_seq(batch), position);
        return ERR_CONFLICT;
    }
    if (batch->first_seq > position + 1) {
        return s_gap(replica, "batch", batch->first_seq, errbuf);
    }
    if (!s_hash_equal(&batch->previous_hash, &held)) {
        return s_other_history("batch", batch->first_seq, errbuf);
    }
    const wal_tail_t *tail = wal_writer_tail(replica->writer);
    if (!tail->open || tail->first_seq != batch->segment_first_seq) {
        return s_gap(replica, "batch without its segment's header", batch->first_seq, errbuf);
    }
    err_t err = record_check_payload(batch->payload, batch->event_count, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    wal_writer_add(replica->writer, batch, bytes);
    offer->accepted_count++;
    offer->accepted_events += batch->event_count;
    return ERR_OK;
}

static err_t s_take_footer(wal_replica_t *replica,
                           const wal_footer_t *footer,
                           slice_t bytes,
                           errbuf_t *errbuf)
{
    const uint64_t position = s_position(replica);
    const wal_tail_t *tail = wal_writer_tail(replica->writer);
    uint8_t ours[WAL_FOOTER_SIZE];
    if (footer->last_seq > position) {
        return s_gap(replica, "footer behind events", footer->last_seq, errbuf);
    }
    if (!tail->open || tail->batch_count == 0 || footer->last_seq < tail->first_seq) {
        return ERR_OK; /* of a segment that is sealed here */
    }
    wal_writer_footer(replica->writer, ours);
    if (!slice_equal(bytes, slice_make(ours, sizeof(ours)))) {
        errbuf_set(errbuf, "footer of segment %" PRIu64 ": it does not fit the batches held",
                   tail->first_seq);
        return ERR_CORRUPT;
    }
    wal_writer_seal(replica->writer);
    return ERR_OK;
}

/* The block at the front of bytes. out ret_size of it */
static err_t s_take_block(
    wal_replica_t *replica, slice_t bytes, wal_offer_t *offer, size_t *ret_size, errbuf_t *errbuf)
{
    wal_block_t block;
    err_t err = wal_decode_block(bytes, &block, errbuf);
    if (err == ERR_AGAIN) {
        return ERR_CORRUPT; /* only whole blocks travel */
    }
    if (err != ERR_OK) {
        return err;
    }
    bytes.size = block.size;
    *ret_size = block.size;
    switch (block.kind) {
    case WAL_BLOCK_SEGMENT:
        return s_take_header(replica, &block.as.segment, bytes, errbuf);
    case WAL_BLOCK_BATCH:
        return s_take_batch(replica, &block.as.batch, bytes, offer, errbuf);
    case WAL_BLOCK_FOOTER:
        return s_take_footer(replica, &block.as.footer, bytes, errbuf);
    }
    return ERR_CORRUPT;
}

static err_t s_admit(wal_replica_t *replica, size_t size, errbuf_t *errbuf)
{
    const size_t pending = wal_writer_pending_size(replica->writer);
    if (wal_writer_failed(replica->writer)) {
        errbuf_set(errbuf, "replica in %s: a write failed before; restart the process",
                   replica->folder.text);
        return ERR_IO;
    }
    if (size > INTERNAL_MESSAGE_SIZE_MAX) {
        errbuf_set(errbuf, "offer: expected at most %d bytes, found %zu", INTERNAL_MESSAGE_SIZE_MAX,
                   size);
        return ERR_TOO_LARGE;
    }
    if (pending > 0 && pending + size > WAL_REPLICA_PENDING_SIZE_MAX) {
        errbuf_set(errbuf, "offer: %zu bytes are pending, %zu more exceed %d; flush first", pending,
                   size, WAL_REPLICA_PENDING_SIZE_MAX);
        return ERR_FULL;
    }
    if (!wal_room_has(&replica->room, pending + size)) {
        errbuf_set(errbuf,
                   "disk of %s: expected room for %zu bytes above the reserve of %d, found %" PRIu64
                   " bytes free; make room",
                   replica->folder.text, size, WAL_DISK_RESERVE_SIZE, replica->room.free_bytes);
        return ERR_DISK_FULL;
    }
    wal_room_take(&replica->room, size);
    return ERR_OK;
}

err_t wal_replica_offer(wal_replica_t *replica,
                        slice_t blocks,
                        wal_offer_t *ret_offer,
                        errbuf_t *errbuf)
{
    CHECK(replica->writer != NULL);
    s_invariant(replica);
    wal_offer_t offer = {.position = s_position(replica)};
    size_t offset = 0;
    err_t err = s_admit(replica, blocks.size, errbuf);
    while (err == ERR_OK && offset < blocks.size) {
        const slice_t rest = slice_make(blocks.data + offset, blocks.size - offset);
        size_t size = 0;
        err = s_take_block(replica, rest, &offer, &size, errbuf);
        offset += err == ERR_OK ? size : 0;
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "offer to %s, block at %zu", replica->folder.text, offset);
    }
    offer.taken_bytes = offset;
    offer.position = s_position(replica);
    *ret_offer = offer;
    s_invariant(replica);
    return err;
}

err_t wal_replica_flush(wal_replica_t *replica, errbuf_t *errbuf)
{
    CHECK(replica->writer != NULL);
    wal_writer_set_zero_fill(replica->writer,
                             !replica->no_zero_fill && wal_room_is_ample(&replica->room));
    wal_room_flushed(&replica->room);
    err_t err = wal_writer_flush(replica->writer, errbuf);
    if (err == ERR_OK) {
        wal_writer_forget_group(replica->writer);
    }
    return err;
}

/* -- another base, truncating ------------------------------------------------------------------ */

err_t wal_replica_rebase(
    wal_replica_t *replica, const wal_base_t *join, now_t now, bool *ret_joined, errbuf_t *errbuf)
{
    CHECK(replica->writer != NULL);
    s_invariant(replica);
    *ret_joined = s_position(replica) < join->seq;
    replica->join = *join;
    if (!*ret_joined) {
        return ERR_OK;
    }
    repair_t repair = {.now = now};
    wal_writer_destroy(&replica->writer);
    return s_recover(replica, &repair, errbuf);
}

bool wal_replica_can_truncate(const wal_replica_t *replica,
                              uint64_t through_seq,
                              uint64_t keep_bytes)
{
    return replica->writer != NULL && !wal_writer_pending(replica->writer) &&
           !wal_writer_failed(replica->writer) &&
           wal_writer_truncatable(replica->writer, through_seq, keep_bytes) > 0;
}

err_t wal_replica_truncate(wal_replica_t *replica,
                           const wal_base_t *join,
                           uint64_t through_seq,
                           uint64_t keep_bytes,
                           size_t *ret_count,
                           errbuf_t *errbuf)
{
    s_invariant(replica);
    CHECK(through_seq <= join->seq);
    *ret_count = 0;
    if (!wal_replica_can_truncate(replica, through_seq, keep_bytes)) {
        return ERR_OK;
    }
    replica->join = *join;
    return wal_writer_truncate(replica->writer, through_seq, keep_bytes, ret_count, errbuf);
}

/* -- looking ----------------------------------------------------------------------------------- */

uint64_t wal_replica_durable_seq(const wal_replica_t *replica)
{
    return wal_writer_durable_seq(replica->writer);
}

uint64_t wal_replica_appended_seq(const wal_replica_t *replica)
{
    return s_position(replica);
}

wal_hash_t wal_replica_last_hash(const wal_replica_t *replica)
{
    return wal_writer_durable_hash(replica->writer);
}

bool wal_replica_pending(const wal_replica_t *replica)
{
    return wal_writer_pending(replica->writer);
}

bool wal_replica_is_there(const wal_replica_t *replica)
{
    const wal_tail_t *tail = wal_writer_tail(replica->writer);
    const wal_segment_list_t *sealed = wal_writer_sealed(replica->writer);
    uint64_t first_seq = sealed->count > 0 ? sealed->items[sealed->count - 1].first_seq : 0;
    first_seq = tail->open ? tail->first_seq : first_seq;
    wal_path_t path;
    if (first_seq == 0 || wal_writer_pending(replica->writer) ||
        wal_files_segment_path(replica->folder.text, first_seq, &path, NULL) != ERR_OK) {
        return true;
    }
    const disk_t *disk = replica->disk;
    disk_file_t *file = NULL;
    err_t err = disk->open(disk->context, path.text, DISK_READ, &file, NULL);
    if (err == ERR_OK) {
        disk->close(disk->context, &file);
    }
    return err != ERR_NOT_FOUND;
}

const char *wal_replica_folder(const wal_replica_t *replica)
{
    return replica->folder.text;
}

size_t wal_replica_sealed_segments_since(const wal_replica_t *replica,
                                         uint64_t seq,
                                         const wal_segment_t **ret_first)
{
    const wal_segment_list_t *sealed = wal_writer_sealed(replica->writer);
    const size_t first = seq == UINT64_MAX ? sealed->count : wal_segment_list_find(sealed, seq + 1);
    *ret_first = first < sealed->count ? &sealed->items[first] : NULL;
    return sealed->count - first;
}
