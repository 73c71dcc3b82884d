#include "services/tidalctl/log_files.h"

#include "common/base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- segments ---------------------------------------------------------------------------------- */

/* Whether only zeros stand from offset on. */
static err_t s_only_zeros(
    wal_scan_t *scan, uint64_t offset, uint64_t file_size, bool *ret_zeros, errbuf_t *errbuf)
{
    *ret_zeros = true;
    while (offset < file_size && *ret_zeros) {
        slice_t bytes;
        err_t err = wal_scan_view(scan, offset, 1, &bytes, errbuf);
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

static err_t s_walk_blocks(wal_scan_t *scan,
                           const log_segment_t *segment,
                           log_block_fn callback,
                           void *context,
                           log_segment_end_t *end,
                           errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    while (err == ERR_OK) {
        wal_block_t block;
        slice_t bytes;
        err = wal_scan_block(scan, end->end_offset, segment->mode, &block, &bytes, errbuf);
        if (err != ERR_OK) {
            break;
        }
        err_t callback_err = callback(context, end->end_offset, &block, bytes);
        if (callback_err != ERR_OK) {
            return callback_err;
        }
        end->end_offset += block.size;
    }
    if (err == ERR_IO || err == ERR_UNSUPPORTED) {
        return err;
    }
    errbuf_t ignored;
    err_t zeros_err =
        s_only_zeros(scan, end->end_offset, end->file_size, &end->zeros_behind, &ignored);
    if (zeros_err != ERR_OK || end->zeros_behind) {
        return zeros_err;
    }
    if (err == ERR_AGAIN) {
        errbuf_set(errbuf,
                   "expected a whole block, found %" PRIu64 " bytes up to the end of the file",
                   end->file_size - end->end_offset);
    }
    return ERR_CORRUPT;
}

err_t log_segment_walk(const log_segment_t *segment,
                       log_block_fn callback,
                       void *context,
                       log_segment_end_t *ret_end,
                       errbuf_t *errbuf)
{
    const disk_t *disk = segment->disk;
    disk_file_t *file = NULL;
    err_t err = disk->open(disk->context, segment->path, DISK_READ, &file, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    log_segment_end_t end = {0};
    wal_scan_t scan;
    wal_scan_init(&scan, disk);
    err = disk->size(disk->context, file, &end.file_size, errbuf);
    if (err == ERR_OK) {
        wal_scan_attach(&scan, file);
        err = s_walk_blocks(&scan, segment, callback, context, &end, errbuf);
        if (err == ERR_CORRUPT || err == ERR_UNSUPPORTED) {
            errbuf_prefix(errbuf, "%s at offset %" PRIu64, segment->path, end.end_offset);
        }
    }
    wal_scan_done(&scan);
    disk->close(disk->context, &file);
    *ret_end = end;
    return err;
}

/* -- one stream -------------------------------------------------------------------------------- */

const char *log_stream_text(const log_stream_t *stream, char ret_text[LOG_STREAM_TEXT_SIZE])
{
    (void)snprintf(ret_text, LOG_STREAM_TEXT_SIZE, "%s%sshard-%u of %s-%016" PRIx64, stream->holder,
                   stream->holder[0] != '\0' ? "/" : "", stream->stream.origin.shard.value,
                   stream->name.region_name, stream->name.incarnation);
    return ret_text;
}

/* Takes the first block, which ends the walk. */
typedef struct {
    log_stream_t *stream;
    bool found;
} header_t;

static err_t s_take_header(void *context, uint64_t offset, const wal_block_t *block, slice_t bytes)
{
    header_t *header = context;
    (void)bytes;
    if (offset == 0 && block->kind == WAL_BLOCK_SEGMENT) {
        header->found = true;
        header->stream->stream = block->as.segment.stream;
        header->stream->base.seq = block->as.segment.first_seq - 1;
        header->stream->base.hash = block->as.segment.previous_hash;
    }
    return ERR_END;
}

/* Stream and base from the first header that verifies. Only the very first one tells the base. */
static void s_identify(const disk_t *disk, const wal_segment_list_t *files, log_stream_t *stream)
{
    for (size_t i = 0; i < files->count && !stream->is_known; i++) {
        wal_path_t path;
        log_segment_end_t end;
        header_t header = {stream, false};
        if (wal_files_segment_path(stream->folder.text, files->items[i].first_seq, &path,
                                   &stream->reason) != ERR_OK) {
            return;
        }
        log_segment_t segment = {disk, path.text, WAL_SCAN_VERIFY};
        err_t err = log_segment_walk(&segment, s_take_header, &header, &end, &stream->reason);
        stream->is_known = header.found;
        if (!header.found && err == ERR_OK) {
            errbuf_set(&stream->reason, "%s: expected a segment header, found an empty file",
                       path.text);
        }
        if (i > 0) {
            stream->base = (wal_base_t){.seq = files->items[0].first_seq - 1};
        }
    }
}

/* -- folders ----------------------------------------------------------------------------------- */

/* Paths that are still to be looked at, the last one first. */
typedef struct {
    wal_path_t *paths;
    size_t count;
    size_t capacity;
} path_stack_t;

static void s_push(path_stack_t *self, const char *folder, const char *name)
{
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 64 : 2 * self->capacity;
        self->paths = realloc(self->paths, self->capacity * sizeof(wal_path_t));
        CHECK(self->paths != NULL);
    }
    /* A path that is too long is none of ours. */
    const char *slash = folder[0] != '\0' && folder[strlen(folder) - 1] == '/' ? "" : "/";
    char *path = self->paths[self->count].text;
    int size =
        snprintf(path, WAL_PATH_SIZE_MAX, "%s%s%s", folder, name[0] == '\0' ? "" : slash, name);
    self->count += size > 0 && size < WAL_PATH_SIZE_MAX ? 1 : 0;
}

typedef struct {
    path_stack_t *stack;
    const char *folder;
} listing_t;

static void s_on_entry(void *context, const char *name, uint64_t size_bytes)
{
    const listing_t *listing = context;
    bool is_folder = size_bytes == UINT64_MAX;
    if (is_folder && strcmp(name, "quarantine") != 0 && strcmp(name, "store") != 0) {
        s_push(listing->stack, listing->folder, name);
    }
}

/* Names come in byte order; the last one pushed is looked at first. */
static void s_reverse(path_stack_t *stack, size_t from)
{
    size_t end = stack->count;
    while (from + 1 < end) {
        wal_path_t swap = stack->paths[from];
        stack->paths[from++] = stack->paths[--end];
        stack->paths[end] = swap;
    }
}

enum { FOLDER_NAME_SIZE = NAME_LENGTH_MAX + 32 };

/* The part of the path that is `back` names from its end; empty when there is none. */
static void s_name_from_end(const char *path, unsigned back, char ret_name[FOLDER_NAME_SIZE])
{
    size_t end = strlen(path) + 1;
    size_t begin = end;
    for (unsigned i = 0; i <= back && begin > 0; i++) {
        end = begin - 1;
        begin = end;
        while (begin > 0 && path[begin - 1] != '/') {
            begin--;
        }
        bool is_last = i == back;
        if (!is_last && begin == 0) {
            end = 0; /* the path has fewer names */
        }
    }
    size_t size = end - begin < FOLDER_NAME_SIZE ? end - begin : 0;
    memcpy(ret_name, path + begin, size);
    ret_name[size] = '\0';
}

/* Whether a folder's path is that of a stream: .../<tenant>-<n>/<region>-<incarnation>. */
static bool s_describe_path(const char *path, log_stream_t *ret_stream)
{
    char stream_folder[FOLDER_NAME_SIZE];
    char tenant_folder[FOLDER_NAME_SIZE];
    char holder[FOLDER_NAME_SIZE];
    s_name_from_end(path, 0, stream_folder);
    s_name_from_end(path, 1, tenant_folder);
    s_name_from_end(path, 4, holder);
    if (wal_files_parse_stream(tenant_folder, stream_folder, &ret_stream->name) != ERR_OK) {
        return false;
    }
    (void)snprintf(ret_stream->folder.text, sizeof(ret_stream->folder.text), "%s", path);
    (void)snprintf(ret_stream->holder, sizeof(ret_stream->holder), "%.*s", NAME_LENGTH_MAX, holder);
    return true;
}

static err_t s_visit(const disk_t *disk,
                     log_stream_t *stream,
                     log_stream_fn callback,
                     void *context,
                     errbuf_t *errbuf)
{
    wal_segment_list_t files = {0};
    err_t err = wal_files_list_segments(disk, stream->folder.text, &files, NULL, errbuf);
    if (err == ERR_OK && files.count > 0) {
        s_identify(disk, &files, stream);
        err = callback(context, stream);
    }
    wal_segment_list_done(&files);
    return err == ERR_NOT_FOUND ? ERR_OK : err; /* went away meanwhile */
}

err_t log_streams_walk(
    const disk_t *disk, const char *path, log_stream_fn callback, void *context, errbuf_t *errbuf)
{
    path_stack_t stack = {0};
    bool first = true;
    err_t err = ERR_OK;
    s_push(&stack, path, "");
    while (stack.count > 0 && err == ERR_OK) {
        wal_path_t at = stack.paths[--stack.count];
        log_stream_t stream = {0};
        if (s_describe_path(at.text, &stream)) {
            err = s_visit(disk, &stream, callback, context, errbuf);
        } else {
            listing_t listing = {&stack, at.text};
            size_t before = stack.count;
            err = disk->list(disk->context, at.text, s_on_entry, &listing, errbuf);
            s_reverse(&stack, before);
            err = err == ERR_NOT_FOUND && !first ? ERR_OK : err;
        }
        first = false;
    }
    free(stack.paths);
    return err;
}
