#include "services/tidalctl/verify_log.h"

#include "common/base/check.h"
#include "common/wal/wal_reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void verify_problem(verify_report_t *self, const char *format, ...)
{
    char text[2048];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    self->problem_count++;
    if (self->on_problem != NULL) {
        self->on_problem(self->context, text);
    }
}

/* -- gathering --------------------------------------------------------------------------------- */

typedef struct {
    verify_log_t *log;
    verify_report_t *report;
    errbuf_t *errbuf;
} gather_t;

static err_t s_on_stream(void *context, const log_stream_t *stream)
{
    gather_t *gather = context;
    verify_log_t *log = gather->log;
    char name[LOG_STREAM_TEXT_SIZE];
    log_checked_t checked;
    err_t err = log_check_stream(log->disk, stream, &checked, gather->errbuf);
    if (err == ERR_CORRUPT || err == ERR_UNSUPPORTED) {
        verify_problem(gather->report, "log %s: %s", log_stream_text(stream, name),
                       gather->errbuf->text);
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    if (checked.damage == WAL_DAMAGE_REAL) {
        verify_problem(gather->report, "log %s: %s", log_stream_text(stream, name),
                       checked.text.text);
    }
    if (!stream->is_known) {
        return ERR_OK;
    }
    if (log->copy_count == log->copy_capacity) {
        log->copy_capacity = log->copy_capacity == 0 ? 16 : 2 * log->copy_capacity;
        log->copies = realloc(log->copies, log->copy_capacity * sizeof(verify_copy_t));
        CHECK(log->copies != NULL);
    }
    log->copies[log->copy_count++] = (verify_copy_t){*stream, checked};
    return verify_bases_add(&log->bases, log->disk, stream, gather->report, gather->errbuf);
}

/* By stream; of one stream the longest first, then by holder. */
static int s_compare_copies(const void *a, const void *b)
{
    const verify_copy_t *left = a;
    const verify_copy_t *right = b;
    int order = stream_id_compare(left->stream.stream, right->stream.stream);
    if (order != 0) {
        return order;
    }
    if (left->checked.last_seq != right->checked.last_seq) {
        return left->checked.last_seq > right->checked.last_seq ? -1 : 1;
    }
    return strcmp(left->stream.folder.text, right->stream.folder.text);
}

static void s_group(verify_log_t *self)
{
    self->streams = calloc((size_t)self->copy_count + 1, sizeof(verify_stream_t));
    CHECK(self->streams != NULL);
    if (self->copy_count > 0) {
        qsort(self->copies, self->copy_count, sizeof(verify_copy_t), s_compare_copies);
    }
    for (uint32_t i = 0; i < self->copy_count; i++) {
        stream_id_t id = self->copies[i].stream.stream;
        verify_stream_t *last =
            self->stream_count == 0 ? NULL : &self->streams[self->stream_count - 1];
        if (last == NULL || !stream_id_equal(last->id, id)) {
            last = &self->streams[self->stream_count++];
            *last = (verify_stream_t){.id = id, .first = i};
        }
        last->count++;
    }
}

/* -- agreement --------------------------------------------------------------------------------- */

static wal_reader_t *s_reader(const verify_log_t *self, const verify_copy_t *copy)
{
    wal_reader_options_t options = {.disk = self->disk,
                                    .folder = copy->stream.folder.text,
                                    .stream = copy->stream.stream,
                                    .from_seq = copy->checked.first_seq,
                                    .trusted = true};
    return wal_reader_new(&options);
}

/* The first batch in which the two differ, for the message. */
static void s_name_difference(const verify_log_t *self,
                              const verify_copy_t *a,
                              const verify_copy_t *b,
                              verify_report_t *report)
{
    char names[2][LOG_STREAM_TEXT_SIZE];
    wal_reader_t *readers[2] = {s_reader(self, a), s_reader(self, b)};
    uint64_t seq = b->checked.first_seq;
    bool same = true;
    while (same) {
        wal_batch_t left;
        wal_batch_t right;
        errbuf_t ignored;
        err_t err_a = wal_reader_next_batch(readers[0], a->checked.last_seq, &left, &ignored);
        err_t err_b = wal_reader_next_batch(readers[1], b->checked.last_seq, &right, &ignored);
        same = err_a == ERR_OK && err_b == ERR_OK && left.first_seq == right.first_seq &&
               memcmp(left.hash.bytes, right.hash.bytes, WAL_HASH_SIZE) == 0;
        seq = same ? wal_batch_last_seq(&right) + 1 : seq;
    }
    wal_reader_destroy(&readers[0]);
    wal_reader_destroy(&readers[1]);
    verify_problem(report,
                   "copies of one stream differ from event %" PRIu64 " on: %s (%s) and %s (%s)",
                   seq, log_stream_text(&a->stream, names[0]), a->stream.folder.text,
                   log_stream_text(&b->stream, names[1]), b->stream.folder.text);
}

/* Where a walk along the longest copy has come to. */
typedef struct {
    wal_reader_t *reader;
    uint64_t through_seq; /* of the copy */
    uint64_t read_seq;    /* end of the last batch that was read */
    wal_hash_t hash;      /* of it */
} walk_t;

static err_t s_walk_to(walk_t *walk, uint64_t seq, errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    while (err == ERR_OK && walk->read_seq < seq) {
        wal_batch_t batch;
        err = wal_reader_next_batch(walk->reader, walk->through_seq, &batch, errbuf);
        if (err == ERR_OK) {
            walk->read_seq = wal_batch_last_seq(&batch);
            walk->hash = batch.hash;
        }
    }
    return err;
}

/* Whether every shorter copy ends with a batch that the longest has. */
static err_t s_check_agreement(const verify_log_t *self,
                               const verify_stream_t *stream,
                               verify_report_t *report,
                               errbuf_t *errbuf)
{
    const verify_copy_t *longest = verify_log_longest(self, stream);
    walk_t walk = {.reader = s_reader(self, longest), .through_seq = longest->checked.last_seq};
    err_t err = ERR_OK;
    for (uint32_t i = stream->count; i > 1 && err == ERR_OK; i--) {
        const verify_copy_t *copy = &self->copies[stream->first + i - 1]; /* the shortest first */
        const log_checked_t *checked = &copy->checked;
        if (checked->last_seq < checked->first_seq ||
            checked->last_seq < longest->checked.first_seq) {
            continue; /* nothing in it, or nothing that the longest one still has */
        }
        err = s_walk_to(&walk, checked->last_seq, errbuf);
        bool agrees = walk.read_seq == checked->last_seq &&
                      memcmp(walk.hash.bytes, checked->last_hash.bytes, WAL_HASH_SIZE) == 0;
        if (err == ERR_OK && !agrees) {
            s_name_difference(self, longest, copy, report);
        }
    }
    wal_reader_destroy(&walk.reader);
    return err;
}

/* Whether a copy may begin where it does. */
static void s_check_beginning(const verify_log_t *self,
                              const verify_copy_t *copy,
                              verify_report_t *report)
{
    char name[LOG_STREAM_TEXT_SIZE];
    const verify_base_t *base = verify_bases_beside(&self->bases, &copy->stream);
    uint64_t held = base == NULL ? 0 : base_head_wal_base(&base->head, copy->stream.stream).seq;
    if (copy->checked.first_seq > held + 1) {
        verify_problem(report,
                       "log %s: expected it from event %" PRIu64
                       " on (the base beside it holds what is before), found it from %" PRIu64,
                       log_stream_text(&copy->stream, name), held + 1, copy->checked.first_seq);
    }
}

static err_t s_check_stream(const verify_log_t *self,
                            const verify_stream_t *stream,
                            verify_report_t *report,
                            errbuf_t *errbuf)
{
    for (uint32_t i = 0; i < stream->count; i++) {
        s_check_beginning(self, &self->copies[stream->first + i], report);
    }
    return s_check_agreement(self, stream, report, errbuf);
}

/* -- the whole --------------------------------------------------------------------------------- */

err_t verify_log_open(const verify_place_t *place,
                      verify_log_t *ret_log,
                      verify_report_t *report,
                      errbuf_t *errbuf)
{
    verify_log_t self = {
        .disk = place->disk, .shard = place->shard, .shard_count = place->shard_count};
    gather_t gather = {&self, report, errbuf};
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < place->region_count && err == ERR_OK; i++) {
        wal_path_t folder;
        err = wal_files_tenants_path(place->data_folder, place->region_names[i], place->shard,
                                     &folder, errbuf);
        if (err == ERR_OK) {
            err = log_streams_walk(place->disk, folder.text, s_on_stream, &gather, errbuf);
            err = err == ERR_NOT_FOUND ? ERR_OK : err; /* holds no stream of this shard */
        }
    }
    s_group(&self);
    for (uint32_t i = 0; i < self.stream_count && err == ERR_OK; i++) {
        err = s_check_stream(&self, &self.streams[i], report, errbuf);
    }
    if (err != ERR_OK) {
        verify_log_close(&self);
        return err;
    }
    *ret_log = self;
    return ERR_OK;
}

void verify_log_close(verify_log_t *self)
{
    free(self->copies);
    free(self->streams);
    verify_bases_done(&self->bases);
    *self = (verify_log_t){0};
}

const verify_stream_t *verify_log_find(const verify_log_t *self, stream_id_t stream)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        if (stream_id_equal(self->streams[i].id, stream)) {
            return &self->streams[i];
        }
    }
    return NULL;
}

const verify_copy_t *verify_log_longest(const verify_log_t *self, const verify_stream_t *stream)
{
    return &self->copies[stream->first];
}

const char *verify_log_tenant_name(const verify_log_t *self, tenant_id_t tenant)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        if (self->streams[i].id.tenant.value == tenant.value) {
            return verify_log_longest(self, &self->streams[i])->stream.name.tenant_name;
        }
    }
    return NULL;
}
