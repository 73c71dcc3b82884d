#include "common/wal/wal_quarantine.h"

#include "common/base/bytes.h"
#include "common/base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    INDEX_DIGITS = 8,
    INDEX_MAX = 99999999,
    NAME_SIZE = INDEX_DIGITS + 1 + WAL_SEGMENT_NAME_SIZE,
    REASON_SIZE_MAX = 2 * ERRBUF_SIZE_BYTES
};

/* One segment that lies there. */
typedef struct {
    char name[NAME_SIZE];
    uint32_t index;
    uint64_t size_bytes;
} entry_t;

/* The paths of one move. */
typedef struct {
    const char *stream_folder;
    wal_path_t folder; /* the quarantine */
    wal_path_t from;
    wal_path_t to;
    wal_path_t reason;
} move_t;

typedef struct {
    entry_t *entries; /* by index */
    size_t count;
    size_t capacity;
} entries_t;

static bool s_parse(const char *name, uint32_t *ret_index)
{
    char digits[INDEX_DIGITS + 1];
    uint64_t index = 0;
    uint64_t first_seq = 0;
    if (strlen(name) != NAME_SIZE - 1 || name[INDEX_DIGITS] != '-') {
        return false;
    }
    memcpy(digits, name, INDEX_DIGITS);
    digits[INDEX_DIGITS] = '\0';
    if (text_to_u64(digits, 0, INDEX_MAX, &index) != ERR_OK ||
        wal_files_parse_segment(name + INDEX_DIGITS + 1, &first_seq) != ERR_OK) {
        return false;
    }
    *ret_index = (uint32_t)index;
    return true;
}

static void s_on_file(void *context, const char *name, uint64_t size_bytes)
{
    entries_t *entries = context;
    entry_t entry = {.size_bytes = size_bytes};
    if (size_bytes == UINT64_MAX || !s_parse(name, &entry.index)) {
        return;
    }
    memcpy(entry.name, name, sizeof(entry.name));
    if (entries->count == entries->capacity) {
        entries->capacity = entries->capacity == 0 ? 16 : 2 * entries->capacity;
        entry_t *grown = realloc(entries->entries, entries->capacity * sizeof(*grown));
        CHECK(grown != NULL);
        entries->entries = grown;
    }
    entries->entries[entries->count++] = entry;
}

/* A folder that is missing is empty. */
static err_t s_list(const disk_t *disk,
                    const wal_path_t *folder,
                    entries_t *ret_entries,
                    errbuf_t *errbuf)
{
    entries_t entries = {NULL, 0, 0};
    err_t err = disk->list(disk->context, folder->text, s_on_file, &entries, errbuf);
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        free(entries.entries);
        return err;
    }
    *ret_entries = entries;
    return ERR_OK;
}

static wal_quarantine_usage_t s_usage(const entries_t *entries)
{
    wal_quarantine_usage_t usage = {0, 0};
    for (size_t i = 0; i < entries->count; i++) {
        usage.count++;
        usage.size_bytes += entries->entries[i].size_bytes;
    }
    return usage;
}

static err_t s_unlink(const disk_t *disk,
                      const wal_path_t *folder,
                      const char *name,
                      const char *suffix,
                      errbuf_t *errbuf)
{
    wal_path_t path;
    err_t err = wal_files_join(folder->text, name, suffix, &path, errbuf);
    if (err == ERR_OK) {
        err = disk->unlink(disk->context, path.text, errbuf);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* The oldest go until one more of this size is within the limits. */
static err_t s_make_room(const disk_t *disk,
                         const wal_path_t *folder,
                         wal_quarantine_limits_t limits,
                         const entries_t *entries,
                         uint64_t size_bytes,
                         errbuf_t *errbuf)
{
    wal_quarantine_usage_t usage = s_usage(entries);
    err_t err = ERR_OK;
    for (size_t i = 0; i < entries->count && err == ERR_OK; i++) {
        const entry_t *entry = &entries->entries[i];
        if (usage.count < limits.count_max &&
            usage.size_bytes + size_bytes <= limits.size_bytes_max) {
            break;
        }
        err = s_unlink(disk, folder, entry->name, "", errbuf);
        if (err == ERR_OK) {
            err = s_unlink(disk, folder, entry->name, ".reason", errbuf);
        }
        usage.count--;
        usage.size_bytes -= entry->size_bytes;
    }
    return err;
}

static err_t s_write_reason(const disk_t *disk,
                            const wal_path_t *path,
                            const char *reason,
                            errbuf_t *errbuf)
{
    disk_file_t *file = NULL;
    char text[REASON_SIZE_MAX];
    (void)snprintf(text, sizeof(text), "%s\n", reason);
    err_t err = disk->open(disk->context, path->text, DISK_CREATE, &file, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    err = disk->write_at(disk->context, file, 0, text, strlen(text), errbuf);
    if (err == ERR_OK) {
        err = disk->sync(disk->context, file, errbuf);
    }
    disk->close(disk->context, &file);
    return err;
}

static err_t s_size(const disk_t *disk,
                    const wal_path_t *path,
                    uint64_t *ret_size,
                    errbuf_t *errbuf)
{
    disk_file_t *file = NULL;
    err_t err = disk->open(disk->context, path->text, DISK_READ, &file, errbuf);
    if (err == ERR_OK) {
        err = disk->size(disk->context, file, ret_size, errbuf);
        disk->close(disk->context, &file);
    }
    return err;
}

/* Reason first, so that a file never lies there without one; then the move, made durable on the
 * side that gains the name before the side that loses it. */
static err_t s_move(const disk_t *disk, const move_t *move, const char *reason, errbuf_t *errbuf)
{
    err_t err = s_write_reason(disk, &move->reason, reason, errbuf);
    if (err == ERR_OK || err == ERR_DISK_FULL) {
        err = disk->rename(disk->context, move->from.text, move->to.text, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->sync_folder(disk->context, move->folder.text, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->sync_folder(disk->context, move->stream_folder, errbuf);
    }
    return err;
}

static wal_quarantine_limits_t s_with_defaults(wal_quarantine_limits_t limits)
{
    limits.count_max = limits.count_max == 0 ? WAL_QUARANTINE_COUNT_MAX : limits.count_max;
    if (limits.size_bytes_max == 0) {
        limits.size_bytes_max = WAL_QUARANTINE_SIZE_MAX;
    }
    return limits;
}

static err_t s_target(move_t *move, const entries_t *entries, uint64_t first_seq, errbuf_t *errbuf)
{
    char segment[WAL_SEGMENT_NAME_SIZE];
    char name[NAME_SIZE + 16]; /* room for what %u could need */
    const uint32_t index =
        entries->count == 0 ? 0 : (entries->entries[entries->count - 1].index + 1) % INDEX_MAX;
    wal_files_segment_name(first_seq, segment);
    (void)snprintf(name, sizeof(name), "%08" PRIu32 "-%s", index, segment);
    err_t err = wal_files_join(move->folder.text, name, "", &move->to, errbuf);
    if (err == ERR_OK) {
        err = wal_files_join(move->folder.text, name, ".reason", &move->reason, errbuf);
    }
    return err;
}

/* Makes the folder and room in it, and names the file's new place. */
static err_t s_prepare(const disk_t *disk,
                       wal_quarantine_limits_t limits,
                       uint64_t first_seq,
                       move_t *move,
                       errbuf_t *errbuf)
{
    entries_t entries = {NULL, 0, 0};
    uint64_t size_bytes = 0;
    err_t err = s_size(disk, &move->from, &size_bytes, errbuf);
    if (err == ERR_OK) {
        err = disk->make_folders(disk->context, move->folder.text, errbuf);
    }
    if (err == ERR_OK) {
        err = s_list(disk, &move->folder, &entries, errbuf);
    }
    if (err == ERR_OK) {
        err = s_make_room(disk, &move->folder, limits, &entries, size_bytes, errbuf);
    }
    if (err == ERR_OK) {
        err = s_target(move, &entries, first_seq, errbuf);
    }
    free(entries.entries);
    return err;
}

/* Paths and room for one more segment. */
static err_t s_begin(const disk_t *disk,
                     const char *stream_folder,
                     wal_quarantine_limits_t limits,
                     uint64_t first_seq,
                     move_t *ret_move,
                     errbuf_t *errbuf)
{
    move_t move = {.stream_folder = stream_folder};
    err_t err = wal_files_join(stream_folder, "quarantine", "", &move.folder, errbuf);
    if (err == ERR_OK) {
        err = wal_files_segment_path(stream_folder, first_seq, &move.from, errbuf);
    }
    if (err == ERR_OK) {
        err = s_prepare(disk, s_with_defaults(limits), first_seq, &move, errbuf);
    }
    if (err == ERR_OK) {
        *ret_move = move;
    }
    return err;
}

err_t wal_quarantine_put(const disk_t *disk,
                         const char *stream_folder,
                         wal_quarantine_limits_t limits,
                         uint64_t first_seq,
                         const char *reason,
                         errbuf_t *errbuf)
{
    move_t move;
    err_t err = s_begin(disk, stream_folder, limits, first_seq, &move, errbuf);
    if (err == ERR_OK) {
        err = s_move(disk, &move, reason, errbuf);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "set aside segment %" PRIu64 " of %s", first_seq, stream_folder);
    }
    return err;
}

static err_t s_copy_bytes(const disk_t *disk, disk_file_t *from, disk_file_t *to, errbuf_t *errbuf)
{
    buffer_t buffer;
    uint64_t offset = 0;
    size_t got = 0;
    err_t err = ERR_OK;
    buffer_init(&buffer);
    uint8_t *bytes = buffer_extend(&buffer, WAL_READ_SIZE);
    do {
        err = disk->read_at(disk->context, from, offset, bytes, WAL_READ_SIZE, &got, errbuf);
        if (err == ERR_OK && got > 0) {
            err = disk->write_at(disk->context, to, offset, bytes, got, errbuf);
            offset += got;
        }
    } while (err == ERR_OK && got > 0);
    if (err == ERR_OK) {
        err = disk->sync(disk->context, to, errbuf);
    }
    buffer_done(&buffer);
    return err;
}

static err_t s_copy_file(const disk_t *disk, const move_t *move, errbuf_t *errbuf)
{
    disk_file_t *from = NULL;
    disk_file_t *to = NULL;
    err_t err = disk->open(disk->context, move->from.text, DISK_READ, &from, errbuf);
    if (err == ERR_OK) {
        err = disk->open(disk->context, move->to.text, DISK_CREATE, &to, errbuf);
    }
    if (err == ERR_OK) {
        err = s_copy_bytes(disk, from, to, errbuf);
    }
    disk->close(disk->context, &to);
    disk->close(disk->context, &from);
    if (err == ERR_DISK_FULL) {
        err = s_unlink(disk, &move->folder, strrchr(move->to.text, '/') + 1, "", errbuf);
    }
    return err;
}

err_t wal_quarantine_copy(const disk_t *disk,
                          const char *stream_folder,
                          wal_quarantine_limits_t limits,
                          uint64_t first_seq,
                          const char *reason,
                          errbuf_t *errbuf)
{
    move_t move;
    err_t err = s_begin(disk, stream_folder, limits, first_seq, &move, errbuf);
    if (err == ERR_OK) {
        err = s_write_reason(disk, &move.reason, reason, errbuf);
    }
    if (err == ERR_OK) {
        err = s_copy_file(disk, &move, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->sync_folder(disk->context, move.folder.text, errbuf);
    }
    if (err == ERR_DISK_FULL) {
        return ERR_OK;
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "copy of segment %" PRIu64 " of %s", first_seq, stream_folder);
    }
    return err;
}

err_t wal_quarantine_usage(const disk_t *disk,
                           const char *stream_folder,
                           wal_quarantine_usage_t *ret_usage,
                           errbuf_t *errbuf)
{
    wal_path_t folder;
    entries_t entries = {NULL, 0, 0};
    err_t err = wal_files_join(stream_folder, "quarantine", "", &folder, errbuf);
    if (err == ERR_OK) {
        err = s_list(disk, &folder, &entries, errbuf);
    }
    if (err == ERR_OK) {
        *ret_usage = s_usage(&entries);
        free(entries.entries);
    }
    return err;
}
