#include "common/wal/wal_log.h"

#include "common/base/check.h"
#include "common/wal/record.h"
#include "common/wal/wal_room.h"

#include <inttypes.h>
#include <stdlib.h>

static const int64_t s_second_ns = INT64_C(1000000000);

struct wal_log {
    stream_id_t stream;
    char tenant_name[NAME_LENGTH_MAX + 1];
    char region_name[NAME_LENGTH_MAX + 1];
    wal_path_t folder;
    uint64_t segment_size_bytes;
    int64_t seal_idle_ns;
    int64_t seal_age_ns;
    bool no_zero_fill;

    wal_writer_t *writer;
    wal_room_t room;
    int64_t last_append_ns; /* monotonic; of the last batch, or the open */
    int64_t tail_begun_ns;  /* monotonic; of the segment's first batch, or the open */
    int64_t seal_retry_ns;  /* no seal before; the disk was full */
};

static void s_invariant(const wal_log_t *log)
{
    CHECK(log->writer != NULL);
    CHECK(log->segment_size_bytes >= SEGMENT_SIZE_MIN);
    CHECK(log->segment_size_bytes <= SEGMENT_SIZE_MAX);
    CHECK(log->tail_begun_ns <= log->last_append_ns);
}

/* -- opening ----------------------------------------------------------------------------------- */

static err_t s_check_options(const wal_log_options_t *options, errbuf_t *errbuf)
{
    const uint64_t size = options->segment_size_bytes;
    if (size != 0 && (size < SEGMENT_SIZE_MIN || size > SEGMENT_SIZE_MAX)) {
        errbuf_set(errbuf, "segment size: expected %d..%d bytes, found %" PRIu64, SEGMENT_SIZE_MIN,
                   SEGMENT_SIZE_MAX, size);
        return ERR_INVALID;
    }
    if (options->seal_idle_ns < 0 || options->seal_age_ns < 0) {
        errbuf_set(errbuf, "seal times: expected 0 or more, found %" PRId64 " and %" PRId64 " ns",
                   options->seal_idle_ns, options->seal_age_ns);
        return ERR_INVALID;
    }
    if (strlen(options->place.folder) >= WAL_PATH_SIZE_MAX) {
        errbuf_set(errbuf, "folder of the log: expected a path below %d bytes, found %zu",
                   WAL_PATH_SIZE_MAX, strlen(options->place.folder));
        return ERR_INVALID;
    }
    return ERR_OK;
}

void wal_log_advise(errbuf_t *errbuf)
{
    errbuf_prefix(errbuf,
                  "damaged log, nothing was changed (put the file back from a copy, or move the "
                  "stream's folder away so that its replicas serve it)");
}

static err_t s_refuse_damage(const wal_damage_t *damage, errbuf_t *errbuf)
{
    *errbuf = damage->reason;
    wal_log_advise(errbuf);
    return ERR_CORRUPT;
}

static err_t s_recover(const wal_log_options_t *options,
                       wal_recovery_t *recovery,
                       wal_writer_t **ret_writer,
                       errbuf_t *errbuf)
{
    const wal_place_t *place = &options->place;
    err_t err = wal_recovery_scan(place, &options->recovery, recovery, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    if (recovery->damage.kind == WAL_DAMAGE_REAL) {
        err = s_refuse_damage(&recovery->damage, errbuf);
    }
    if (err == ERR_OK) {
        err = wal_recovery_repair(place, recovery, errbuf);
    }
    if (err == ERR_OK) {
        err = wal_writer_new(place->disk, place->folder, recovery, ret_writer, errbuf);
    }
    wal_recovery_done(recovery);
    return err;
}

static int64_t s_or_default(int64_t value, int64_t fallback)
{
    return value == 0 ? fallback : value;
}

static void s_copy_name(char target[NAME_LENGTH_MAX + 1], const char *name)
{
    const size_t length = strlen(name);
    CHECK(length >= 1 && length <= NAME_LENGTH_MAX);
    memcpy(target, name, length + 1);
}

err_t wal_log_open(const wal_log_options_t *options,
                   now_t now,
                   wal_log_t **ret_log,
                   uint64_t *ret_cut_bytes,
                   errbuf_t *errbuf)
{
    errbuf_t own_errbuf = {""};
    errbuf = errbuf == NULL ? &own_errbuf : errbuf;
    err_t err = s_check_options(options, errbuf);
    wal_writer_t *writer = NULL;
    wal_recovery_t recovery;
    if (err == ERR_OK) {
        err = s_recover(options, &recovery, &writer, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    wal_log_t *log = calloc(1, sizeof(*log));
    CHECK(log != NULL);
    log->stream = options->place.stream;
    s_copy_name(log->tenant_name, options->place.tenant_name);
    s_copy_name(log->region_name, options->place.region_name);
    memcpy(log->folder.text, options->place.folder, strlen(options->place.folder) + 1);
    log->segment_size_bytes = options->segment_size_bytes == 0 ? (uint64_t)SEGMENT_SIZE_DEFAULT
                                                               : options->segment_size_bytes;
    log->seal_idle_ns = s_or_default(options->seal_idle_ns, 2 * s_second_ns);
    log->seal_age_ns = s_or_default(options->seal_age_ns, 60 * s_second_ns);
    log->no_zero_fill = options->no_zero_fill;
    log->writer = writer;
    wal_room_init(&log->room, options->place.disk, log->folder.text);
    log->last_append_ns = now.mono_ns;
    log->tail_begun_ns = now.mono_ns;
    log->seal_retry_ns = INT64_MIN;
    s_invariant(log);
    *ret_log = log;
    if (ret_cut_bytes != NULL) {
        *ret_cut_bytes = recovery.cut_bytes;
    }
    return ERR_OK;
}

void wal_log_close(wal_log_t **log_p)
{
    wal_log_t *log = *log_p;
    if (log == NULL) {
        return;
    }
    wal_writer_destroy(&log->writer);
    free(log);
    *log_p = NULL;
}

/* -- appending --------------------------------------------------------------------------------- */

/* Bytes of the block, and at most one footer and one header that may go before it. */
static size_t s_size_with_roll(size_t block_size)
{
    return block_size + WAL_FOOTER_SIZE + WAL_SEGMENT_HEADER_SIZE;
}

bool wal_log_has_room(wal_log_t *log, size_t size)
{
    s_invariant(log);
    return wal_room_has(&log->room, wal_writer_pending_size(log->writer) + s_size_with_roll(size));
}

static err_t s_check_batch(const wal_batch_t *batch, errbuf_t *errbuf)
{
    const size_t producer_size = batch->has_producer ? batch->producer.size : 0;
    if (batch->payload.size > WAL_PAYLOAD_SIZE_MAX || producer_size > PRODUCER_SIZE_MAX ||
        batch->event_count > WAL_BATCH_COUNT_MAX) {
        errbuf_set(errbuf,
                   "batch: payload of %zu bytes (at most %d), producer of %zu (%d), %u events (%d)",
                   batch->payload.size, WAL_PAYLOAD_SIZE_MAX, producer_size, PRODUCER_SIZE_MAX,
                   batch->event_count, WAL_BATCH_COUNT_MAX);
        return ERR_TOO_LARGE;
    }
    if (batch->has_producer && producer_size == 0) {
        errbuf_set(errbuf, "batch: expected a producer of 1..%d bytes, found an empty one",
                   PRODUCER_SIZE_MAX);
        return ERR_CORRUPT;
    }
    return record_check_payload(batch->payload, batch->event_count, errbuf);
}

/* Errors of admission; on ERR_OK the batch will be taken. */
static err_t s_admit(wal_log_t *log, const wal_batch_t *batch, size_t size, errbuf_t *errbuf)
{
    const size_t pending = wal_writer_pending_size(log->writer);
    if (pending > 0 && pending + s_size_with_roll(size) > WAL_GROUP_SIZE_MAX) {
        errbuf_set(errbuf, "group: %zu bytes are pending, %zu more exceed %d; flush first", pending,
                   size, WAL_GROUP_SIZE_MAX);
        return ERR_FULL;
    }
    if (wal_log_appended_seq(log) > UINT64_MAX - 1 - batch->event_count) {
        errbuf_set(errbuf, "stream: its event numbers are used up");
        return ERR_TOO_LARGE;
    }
    if (!wal_log_has_room(log, size)) {
        errbuf_set(errbuf,
                   "disk of %s: expected room for %zu bytes above the reserve of %d, found %" PRIu64
                   " bytes free; make room",
                   log->folder.text, size, WAL_DISK_RESERVE_SIZE, log->room.free_bytes);
        return ERR_DISK_FULL;
    }
    return ERR_OK;
}

static void s_begin_segment(wal_log_t *log, now_t now)
{
    uint8_t bytes[WAL_SEGMENT_HEADER_SIZE];
    wal_segment_header_t header = {
        .stream = log->stream,
        .first_seq = wal_writer_appended_seq(log->writer) + 1,
        .previous_hash = wal_writer_appended_hash(log->writer),
        .created_wall_ns = now.wall_ns,
    };
    s_copy_name(header.tenant_name, log->tenant_name);
    s_copy_name(header.region_name, log->region_name);
    wal_encode_segment_header(&header, bytes);
    wal_writer_begin(log->writer, header.first_seq, bytes);
}

/* An open segment into which a block of this size fits, or one of its own. */
static void s_make_place(wal_log_t *log, size_t size, now_t now)
{
    const wal_tail_t *tail = wal_writer_tail(log->writer);
    if (tail->open && tail->batch_count > 0 &&
        tail->size_bytes + size + WAL_FOOTER_SIZE > log->segment_size_bytes) {
        wal_writer_seal(log->writer);
    }
    if (!tail->open) {
        s_begin_segment(log, now);
    }
    if (tail->batch_count == 0) {
        log->tail_begun_ns = now.mono_ns;
    }
}

err_t wal_log_append(wal_log_t *log, wal_batch_t *batch, now_t now, errbuf_t *errbuf)
{
    s_invariant(log);
    if (wal_writer_failed(log->writer)) {
        errbuf_set(errbuf, "log in %s: a write failed before; restart the process",
                   log->folder.text);
        return ERR_IO;
    }
    err_t err = s_check_batch(batch, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    const size_t size =
        wal_batch_block_size(batch->has_producer ? batch->producer.size : 0, batch->payload.size);
    err = s_admit(log, batch, size, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    log->last_append_ns = now.mono_ns;
    s_make_place(log, size, now);
    wal_room_take(&log->room, s_size_with_roll(size));
    batch->stream = log->stream;
    batch->first_seq = wal_writer_appended_seq(log->writer) + 1;
    batch->segment_first_seq = wal_writer_tail(log->writer)->first_seq;
    batch->synced_seq = wal_writer_durable_seq(log->writer);
    batch->previous_hash = wal_writer_appended_hash(log->writer);
    wal_writer_encode(log->writer, batch);
    CHECK(batch->block_size == size);
    s_invariant(log);
    return ERR_OK;
}

err_t wal_log_flush(wal_log_t *log, errbuf_t *errbuf)
{
    s_invariant(log);
    wal_writer_set_zero_fill(log->writer, !log->no_zero_fill && wal_room_is_ample(&log->room));
    wal_room_flushed(&log->room);
    return wal_writer_flush(log->writer, errbuf);
}

/* -- sealing ----------------------------------------------------------------------------------- */

int64_t wal_log_deadline_ns(const wal_log_t *log)
{
    const wal_tail_t *tail = wal_writer_tail(log->writer);
    if (!tail->open || tail->batch_count == 0 || wal_writer_failed(log->writer)) {
        return INT64_MAX;
    }
    const int64_t idle_ns = log->last_append_ns + log->seal_idle_ns;
    const int64_t age_ns = log->tail_begun_ns + log->seal_age_ns;
    const int64_t due_ns = idle_ns < age_ns ? idle_ns : age_ns;
    return due_ns > log->seal_retry_ns ? due_ns : log->seal_retry_ns;
}

bool wal_log_seal_due(const wal_log_t *log, now_t now)
{
    return now.mono_ns >= wal_log_deadline_ns(log) && !wal_writer_pending(log->writer);
}

err_t wal_log_seal(wal_log_t *log, errbuf_t *errbuf)
{
    s_invariant(log);
    const wal_tail_t *tail = wal_writer_tail(log->writer);
    if (tail->open && tail->batch_count > 0 && !wal_writer_failed(log->writer)) {
        wal_writer_seal(log->writer);
    }
    wal_room_flushed(&log->room);
    return wal_writer_flush(log->writer, errbuf);
}

err_t wal_log_tick(wal_log_t *log, now_t now, bool *ret_sealed, errbuf_t *errbuf)
{
    s_invariant(log);
    bool sealed = false;
    err_t err = ERR_OK;
    if (wal_log_seal_due(log, now)) {
        sealed = wal_room_has_for_seal(&log->room);
        if (sealed) {
            err = wal_log_seal(log, errbuf);
        } else {
            log->seal_retry_ns = now.mono_ns + s_second_ns;
        }
    }
    if (err == ERR_OK && ret_sealed != NULL) {
        *ret_sealed = sealed;
    }
    return err;
}

/* -- truncating -------------------------------------------------------------------------------- */

err_t wal_log_truncate(
    wal_log_t *log, uint64_t through_seq, uint64_t keep_bytes, size_t *ret_count, errbuf_t *errbuf)
{
    s_invariant(log);
    *ret_count = 0;
    if (log->writer == NULL || wal_writer_pending(log->writer) || wal_writer_failed(log->writer)) {
        return ERR_OK;
    }
    return wal_writer_truncate(log->writer, through_seq, keep_bytes, ret_count, errbuf);
}

/* -- looking ----------------------------------------------------------------------------------- */

size_t wal_log_group_count(const wal_log_t *log)
{
    return wal_writer_group_count(log->writer);
}

void wal_log_group_get(const wal_log_t *log, size_t i, wal_batch_t *ret_batch)
{
    wal_writer_group_get(log->writer, i, ret_batch);
}

stream_id_t wal_log_stream(const wal_log_t *log)
{
    return log->stream;
}

uint64_t wal_log_durable_seq(const wal_log_t *log)
{
    return wal_writer_durable_seq(log->writer);
}

uint64_t wal_log_appended_seq(const wal_log_t *log)
{
    return wal_writer_appended_seq(log->writer);
}

wal_hash_t wal_log_last_hash(const wal_log_t *log)
{
    return wal_writer_durable_hash(log->writer);
}

const char *wal_log_folder(const wal_log_t *log)
{
    return log->folder.text;
}

size_t wal_log_sealed_segments_since(const wal_log_t *log,
                                     uint64_t seq,
                                     const wal_segment_t **ret_first)
{
    const wal_segment_list_t *sealed = wal_writer_sealed(log->writer);
    const size_t first = seq == UINT64_MAX ? sealed->count : wal_segment_list_find(sealed, seq + 1);
    *ret_first = first < sealed->count ? &sealed->items[first] : NULL;
    return sealed->count - first;
}

wal_writer_stats_t wal_log_stats(const wal_log_t *log)
{
    return wal_writer_stats(log->writer);
}
