/* wal ls, dump and check: what stands in log files, and whether it is whole. */
#include "common/base/check.h"
#include "common/env/disk_posix.h"
#include "common/wal/record_cohorts.h"
#include "common/wal/record_session.h"
#include "services/tidalctl/command.h"
#include "services/tidalctl/load_progress.h"
#include "services/tidalctl/log_check.h"
#include "services/tidalctl/render.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    ctl_t *ctl;
    const disk_t *disk;
    buffer_t text; /* what is to be printed next */
    /* dump */
    uint64_t from_seq;
    uint64_t to_seq;
    bool records;
    const schema_t *schema; /* NULL: signals are shown by their ids */
    /* ls */
    render_table_t table;
    const log_stream_t *stream; /* of the segments that are listed */
    const char *name;           /* of the segment's file */
    /* totals */
    log_checked_t totals;
    uint64_t stream_count;
    uint64_t torn_count;
    uint64_t damaged_count;
    errbuf_t errbuf;
} wal_run_t;

/* -- ls ---------------------------------------------------------------------------------------- */

/* What one segment holds, told by its blocks. */
typedef struct {
    uint64_t first_seq;
    uint64_t last_seq;
    uint64_t batches;
    int64_t created_ns;
    bool is_sealed;
} segment_row_t;

static err_t s_count_block(void *context, uint64_t offset, const wal_block_t *block, slice_t bytes)
{
    segment_row_t *row = context;
    (void)offset;
    (void)bytes;
    if (block->kind == WAL_BLOCK_SEGMENT) {
        row->first_seq = block->as.segment.first_seq;
        row->last_seq = row->first_seq - 1;
        row->created_ns = block->as.segment.created_wall_ns;
    } else if (block->kind == WAL_BLOCK_BATCH) {
        row->batches++;
        row->last_seq = wal_batch_last_seq(&block->as.batch);
    } else {
        row->is_sealed = true;
    }
    return ERR_OK;
}

static err_t s_list_segment(wal_run_t *run, const char *path, const char *holder)
{
    segment_row_t row = {0};
    log_segment_end_t end = {0};
    char created[RENDER_TIME_SIZE];
    const char *slash = strrchr(path, '/');
    log_segment_t segment = {run->disk, path, WAL_SCAN_TRUST};
    err_t err = log_segment_walk(&segment, s_count_block, &row, &end, &run->errbuf);
    const char *state = err != ERR_OK ? "damaged" : row.is_sealed ? "sealed" : "open";
    if (err == ERR_IO || err == ERR_NOT_FOUND) {
        return err;
    }
    render_table_add(&run->table, "%s", holder);
    render_table_add(&run->table, "%s", slash == NULL ? path : slash + 1);
    render_table_add(&run->table, "%" PRIu64, row.first_seq);
    render_table_add(&run->table, "%" PRIu64, row.last_seq);
    render_table_add(&run->table, "%" PRIu64, row.batches);
    render_table_add(&run->table, "%" PRIu64, end.file_size);
    render_table_add(&run->table, "%s", state);
    render_table_add(&run->table, "%s", render_time(row.created_ns, created));
    run->totals.segments++;
    run->totals.batches += row.batches;
    run->totals.size_bytes += end.file_size;
    run->totals.counts.signals += row.last_seq + 1 - row.first_seq; /* events of any kind */
    run->damaged_count += err != ERR_OK ? 1 : 0;
    return ERR_OK;
}

/* Calls for each segment of the stream, in order. */
static err_t s_each_segment(wal_run_t *run,
                            const log_stream_t *stream,
                            err_t (*callback)(wal_run_t *run, const char *path, const char *holder))
{
    wal_segment_list_t files = {0};
    char holder[LOG_STREAM_TEXT_SIZE];
    err_t err = wal_files_list_segments(run->disk, stream->folder.text, &files, NULL, &run->errbuf);
    for (size_t i = 0; i < files.count && err == ERR_OK; i++) {
        wal_path_t path;
        err = wal_files_segment_path(stream->folder.text, files.items[i].first_seq, &path,
                                     &run->errbuf);
        if (err == ERR_OK) {
            err = callback(run, path.text, log_stream_text(stream, holder));
        }
    }
    wal_segment_list_done(&files);
    return err;
}

static err_t s_list_stream(void *context, const log_stream_t *stream)
{
    wal_run_t *run = context;
    run->stream_count++;
    return s_each_segment(run, stream, s_list_segment);
}

/* -- dump -------------------------------------------------------------------------------------- */

static void s_dump_cohorts(wal_run_t *run, const record_signals_t *signals, uint32_t i)
{
    slice_t names[USER_ATTRIBUTE_COUNT_MAX];
    uint32_t count = record_cohorts_get(signals, i, names);
    for (uint32_t n = 0; n < count; n++) {
        render_format(&run->text, "%s\"%.*s\"", n == 0 ? " cohorts " : ",", (int)names[n].size,
                      (const char *)names[n].data);
    }
}

static void s_dump_signals(wal_run_t *run, const record_signals_t *signals, uint64_t first_seq)
{
    for (uint32_t i = 0; i < signals->count; i++) {
        signal_event_t event;
        char time[RENDER_TIME_SIZE];
        record_signals_get(signals, i, &event);
        const schema_signal_t *type =
            run->schema == NULL ? NULL : schema_find_signal_id(run->schema, event.signal);
        render_format(&run->text, "    %" PRIu64 " signal ", first_seq + i);
        if (type != NULL) {
            render_format(&run->text, "%s", type->name);
        } else {
            render_format(&run->text, "%u", event.signal);
        }
        render_format(&run->text, " item %" PRIu64 " user %" PRIu64 " weight %.17g ts %s",
                      event.item.value, event.user.value, event.weight,
                      render_time(event.ts_ns, time));
        s_dump_cohorts(run, signals, i);
        render_format(&run->text, "\n");
    }
}

static void s_dump_fields(wal_run_t *run, const record_t *record)
{
    static const char *const s_names[] = {"",        "title", "text",   "category",
                                          "creator", "tags",  "created"};
    for (uint32_t i = 0; i < record->as.item.field_count; i++) {
        const record_item_field_t *field = &record->as.item.fields[i];
        render_format(&run->text, " %s", s_names[field->field]);
        if (field->field == ITEM_FIELD_CREATOR || field->field == ITEM_FIELD_CREATED) {
            render_format(&run->text, "=%" PRIu64, bytes_get_u64(field->value.data));
        } else if (field->field == ITEM_FIELD_TAGS) {
            render_format(&run->text, " of %zu bytes", field->value.size);
        } else {
            render_format(&run->text, "=\"%.*s\"", (int)field->value.size,
                          field->value.size > 0 ? (const char *)field->value.data : "");
        }
    }
}

static void s_dump_register(wal_run_t *run, const record_t *record, uint64_t seq)
{
    static const char *const s_actions[] = {"", "hide", "mute", "block"};
    hlc_stamp_t hlc = {0};
    render_format(&run->text, "    %" PRIu64 " ", seq);
    if (record->type == RECORD_ITEM_PUT || record->type == RECORD_ITEM_DELETE) {
        hlc = record->as.item.hlc;
        render_format(&run->text, "%s item %" PRIu64,
                      record->type == RECORD_ITEM_PUT ? "put" : "delete",
                      record->as.item.item.value);
        s_dump_fields(run, record);
    } else if (record->type == RECORD_USER_PUT) {
        hlc = record->as.user.hlc;
        render_format(&run->text, "put user %" PRIu64, record->as.user.user.value);
        for (uint32_t i = 0; i < record->as.user.attribute_count; i++) {
            const record_attribute_t *attribute = &record->as.user.attributes[i];
            render_format(&run->text, " %.*s=\"%.*s\"", (int)attribute->name.size,
                          (const char *)attribute->name.data, (int)attribute->value.size,
                          attribute->value.size > 0 ? (const char *)attribute->value.data : "");
        }
    } else if (record->type == RECORD_RELATION) {
        hlc = record->as.relation.hlc;
        render_format(&run->text, "%s%s user %" PRIu64 " target %" PRIu64,
                      record->as.relation.set ? "" : "un", s_actions[record->as.relation.action],
                      record->as.relation.user.value, record->as.relation.target);
    }
    render_format(&run->text, " hlc %" PRId64 ",%u,%u\n", hlc.wall_ns, hlc.logical, hlc.node);
}

static void s_dump_held(wal_run_t *run, const record_t *record, uint64_t seq)
{
    static const char *const s_kinds[] = {"", "attribute", "mute", "block"};
    const record_held_t *held = &record->as.held;
    render_format(&run->text, "    %" PRIu64 " all shards hold %s of user %" PRIu64, seq,
                  s_kinds[held->kind], held->user.value);
    if (held->kind == HELD_ATTRIBUTE) {
        render_format(&run->text, " %.*s", (int)held->name.size, (const char *)held->name.data);
    } else {
        render_format(&run->text, " target %" PRIu64 "%s", held->target, held->set ? " set" : "");
    }
    render_format(&run->text, " hlc %" PRId64 ",%u,%u\n", held->hlc.wall_ns, held->hlc.logical,
                  held->hlc.node);
}

static void s_dump_session(wal_run_t *run, const record_t *record, uint64_t seq)
{
    char hex[2 * SESSION_ID_SIZE + 1];
    hlc_stamp_t hlc = {0};
    bytes_to_hex(record_session_id(record)->bytes, SESSION_ID_SIZE, hex);
    render_format(&run->text, "    %" PRIu64 " session %s ", seq, hex);
    if (record->type == RECORD_SESSION_START) {
        slice_t agent = record->as.session_start.agent;
        hlc = record->as.session_start.hlc;
        render_format(&run->text, "start agent=\"%.*s\" meta of %zu bytes", (int)agent.size,
                      agent.size > 0 ? (const char *)agent.data : "",
                      record->as.session_start.meta.size);
    } else if (record->type == RECORD_SESSION_SIGNAL) {
        char time[RENDER_TIME_SIZE];
        hlc = record->as.session_signal.hlc;
        render_format(&run->text, "signal %u type %u item %" PRIu64 " weight %.17g ts %s",
                      record->as.session_signal.session_seq, record->as.session_signal.signal,
                      record->as.session_signal.item.value, record->as.session_signal.weight,
                      render_time(record->as.session_signal.ts_ns, time));
    } else {
        hlc = record->as.session_close.hlc;
        render_format(&run->text, "close%s", record->as.session_close.is_auto ? " (idle)" : "");
    }
    render_format(&run->text, " hlc %" PRId64 ",%u,%u\n", hlc.wall_ns, hlc.logical, hlc.node);
}

static err_t s_dump_records(wal_run_t *run, const wal_batch_t *batch)
{
    size_t offset = 0;
    uint64_t seq = batch->first_seq;
    err_t err = ERR_OK;
    while (err == ERR_OK) {
        record_t record;
        err = record_next(batch->payload, &offset, &record, &run->errbuf);
        if (err != ERR_OK) {
            break;
        }
        if (record.type == RECORD_SIGNALS) {
            s_dump_signals(run, &record.as.signals, seq);
        } else if (record_is_of_session(record.type)) {
            s_dump_session(run, &record, seq);
        } else if (record.type == RECORD_HELD) {
            s_dump_held(run, &record, seq);
        } else {
            s_dump_register(run, &record, seq);
        }
        seq += record.event_count;
        render_flush(&run->text);
    }
    return err == ERR_END ? ERR_OK : err;
}

static err_t s_dump_batch(wal_run_t *run, uint64_t offset, const wal_batch_t *batch)
{
    char content[2 * WAL_CONTENT_HASH_SIZE + 1];
    char hash[2 * WAL_HASH_SIZE + 1];
    char time[RENDER_TIME_SIZE];
    if (wal_batch_last_seq(batch) < run->from_seq || batch->first_seq > run->to_seq) {
        return ERR_OK;
    }
    bytes_to_hex(batch->content_hash.bytes, WAL_CONTENT_HASH_SIZE, content);
    bytes_to_hex(batch->hash.bytes, WAL_HASH_SIZE, hash);
    render_format(&run->text,
                  "  batch %" PRIu64 "..%" PRIu64 " at %" PRIu64 ": epoch %" PRIu64
                  " synced %" PRIu64 " hlc %s,%u,%u payload %zu",
                  batch->first_seq, wal_batch_last_seq(batch), offset, batch->epoch,
                  batch->synced_seq, render_time(batch->hlc.wall_ns, time), batch->hlc.logical,
                  batch->hlc.node, batch->payload.size);
    if (batch->has_producer) {
        bool is_text = bytes_are_utf8(batch->producer);
        render_format(
            &run->text, " producer %.*s seq %" PRIu64, is_text ? (int)batch->producer.size : 8,
            is_text ? (const char *)batch->producer.data : "(bytes) ", batch->producer_seq);
    }
    if (batch->reissue.named.seq != 0) {
        render_format(&run->text, " reissue of %016" PRIx64 " of region %u seq %" PRIu64,
                      batch->reissue.named.stream.incarnation,
                      (unsigned)batch->reissue.named.stream.origin.region.value,
                      batch->reissue.named.seq);
    }
    render_format(&run->text, " content %s hash %s\n", content, hash);
    render_flush(&run->text);
    return run->records ? s_dump_records(run, batch) : ERR_OK;
}

static err_t s_dump_block(void *context, uint64_t offset, const wal_block_t *block, slice_t bytes)
{
    wal_run_t *run = context;
    char time[RENDER_TIME_SIZE];
    (void)bytes;
    if (block->kind == WAL_BLOCK_BATCH) {
        return s_dump_batch(run, offset, &block->as.batch);
    }
    if (block->kind == WAL_BLOCK_SEGMENT) {
        const wal_segment_header_t *header = &block->as.segment;
        render_format(&run->text,
                      "  header: tenant %s (%" PRIu64 "), origin %s (%u) shard %u, incarnation "
                      "%016" PRIx64 ", first event %" PRIu64 ", created %s\n",
                      header->tenant_name, header->stream.tenant.value, header->region_name,
                      header->stream.origin.region.value, header->stream.origin.shard.value,
                      header->stream.incarnation, header->first_seq,
                      render_time(header->created_wall_ns, time));
    } else {
        const wal_footer_t *footer = &block->as.footer;
        render_format(&run->text,
                      "  footer at %" PRIu64 ": events %" PRIu64 "..%" PRIu64 ", %u batches\n",
                      offset, footer->first_seq, footer->last_seq, footer->batch_count);
    }
    render_flush(&run->text);
    return ERR_OK;
}

static err_t s_dump_segment(wal_run_t *run, const char *path, const char *holder)
{
    log_segment_end_t end = {0};
    (void)holder;
    (void)printf("%s\n", path);
    log_segment_t segment = {run->disk, path, WAL_SCAN_VERIFY};
    err_t err = log_segment_walk(&segment, s_dump_block, run, &end, &run->errbuf);
    if (err == ERR_CORRUPT || err == ERR_UNSUPPORTED) {
        (void)fflush(stdout);
        (void)ctl_fail(run->ctl, &run->errbuf);
        run->damaged_count++;
        err = ERR_OK;
    }
    return err;
}

static err_t s_dump_stream(void *context, const log_stream_t *stream)
{
    return s_each_segment(context, stream, s_dump_segment);
}

/* -- check ------------------------------------------------------------------------------------- */

static void s_print_checked(wal_run_t *run, const char *name, const log_checked_t *checked)
{
    bool torn = checked->damage == WAL_DAMAGE_TORN;
    bool damaged = checked->damage == WAL_DAMAGE_REAL;
    (void)printf("%s  %s: events %" PRIu64 "..%" PRIu64 " in %" PRIu64 " batches, %" PRIu64
                 " segments\n",
                 damaged ? "DAMAGED"
                 : torn  ? "torn   "
                         : "ok     ",
                 name, checked->first_seq, checked->last_seq, checked->batches, checked->segments);
    if (torn) {
        (void)printf("         %s\n         %" PRIu64
                     " bytes that were never durable: the next start cuts them (or they are being "
                     "written now)\n",
                     checked->text.text, checked->torn_bytes);
    } else if (damaged) {
        (void)printf("         %s\n", checked->text.text);
    }
    run->torn_count += torn ? 1 : 0;
    run->damaged_count += damaged ? 1 : 0;
    run->totals.segments += checked->segments;
    run->totals.batches += checked->batches;
    log_counts_add(&run->totals.counts, &checked->counts);
    run->totals.size_bytes += checked->size_bytes;
}

static err_t s_check_stream(void *context, const log_stream_t *stream)
{
    wal_run_t *run = context;
    log_checked_t checked;
    char name[LOG_STREAM_TEXT_SIZE];
    err_t err = log_check_stream(run->disk, stream, &checked, &run->errbuf);
    if (err == ERR_UNSUPPORTED || err == ERR_CORRUPT) {
        checked = (log_checked_t){.first_seq = 1, .damage = WAL_DAMAGE_REAL, .text = run->errbuf};
        err = ERR_OK;
    }
    if (err == ERR_OK) {
        run->stream_count++;
        s_print_checked(run, log_stream_text(stream, name), &checked);
    }
    return err;
}

static err_t s_check_file(wal_run_t *run, const char *path)
{
    log_checked_t checked;
    err_t err = log_check_segment(run->disk, path, &checked, &run->errbuf);
    if (err == ERR_OK) {
        run->stream_count++;
        s_print_checked(run, path, &checked);
    }
    return err;
}

static void s_print_check_totals(const wal_run_t *run)
{
    char numbers[6][32];
    (void)printf("%" PRIu64 " streams, %" PRIu64 " segments, %s batches, %s signals, %s register "
                 "writes, %s records of sessions, %s of all shards, %s bytes: %" PRIu64
                 " damaged, %" PRIu64 " torn\n",
                 run->stream_count, run->totals.segments,
                 load_progress_number(run->totals.batches, numbers[0]),
                 load_progress_number(run->totals.counts.signals, numbers[1]),
                 load_progress_number(run->totals.counts.registers, numbers[2]),
                 load_progress_number(
                     run->totals.counts.sessions + run->totals.counts.session_signals, numbers[4]),
                 load_progress_number(run->totals.counts.held, numbers[5]),
                 load_progress_number(run->totals.size_bytes, numbers[3]), run->damaged_count,
                 run->torn_count);
}

/* -- the command ------------------------------------------------------------------------------- */

static bool s_is_file(const disk_t *disk, const char *path)
{
    size_t size = strlen(path);
    return size > 4 && strcmp(path + size - 4, ".seg") == 0 &&
           disk->list(disk->context, path, NULL, NULL, NULL) != ERR_OK;
}

static err_t s_ls(wal_run_t *run, const char *path)
{
    static const char *const s_columns[] = {"stream",  "segment", "first", "last",
                                            "batches", "bytes",   "state", "created"};
    enum { COLUMN_COUNT = sizeof(s_columns) / sizeof(s_columns[0]) };
    render_table_init(&run->table, COLUMN_COUNT);
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        render_table_add(&run->table, "%s", s_columns[i]);
    }
    err_t err = s_is_file(run->disk, path)
                    ? s_list_segment(run, path, "-")
                    : log_streams_walk(run->disk, path, s_list_stream, run, &run->errbuf);
    render_table_print(&run->table, 0, &run->text);
    render_flush(&run->text);
    render_table_done(&run->table);
    char numbers[2][32];
    (void)printf("%" PRIu64 " streams, %" PRIu64 " segments, %" PRIu64
                 " batches, %s events, %s bytes\n",
                 run->stream_count, run->totals.segments, run->totals.batches,
                 load_progress_number(run->totals.counts.signals, numbers[0]),
                 load_progress_number(run->totals.size_bytes, numbers[1]));
    return err;
}

static err_t s_dump(wal_run_t *run, const char *path)
{
    const topology_t *topology = NULL;
    errbuf_t ignored;
    if (ctl_topology(run->ctl, &topology, &ignored) == ERR_OK) {
        run->schema = &topology->schema; /* for the names of signals alone */
    }
    return s_is_file(run->disk, path)
               ? s_dump_segment(run, path, "-")
               : log_streams_walk(run->disk, path, s_dump_stream, run, &run->errbuf);
}

static err_t s_check(wal_run_t *run, const char *path)
{
    err_t err = s_is_file(run->disk, path)
                    ? s_check_file(run, path)
                    : log_streams_walk(run->disk, path, s_check_stream, run, &run->errbuf);
    if (err == ERR_OK) {
        s_print_check_totals(run);
    }
    return err;
}

/* The names of the folders above tell whose files these are. errs ERR_TOO_LARGE */
static err_t s_absolute(const char *path, char ret_path[WAL_PATH_SIZE_MAX], errbuf_t *errbuf)
{
    char here[WAL_PATH_SIZE_MAX] = "";
    int size = 0;
    if (path[0] == '/') {
        size = snprintf(ret_path, WAL_PATH_SIZE_MAX, "%s", path);
    } else if (getcwd(here, sizeof(here)) != NULL) {
        size = snprintf(ret_path, WAL_PATH_SIZE_MAX, "%s/%s", here, path);
    }
    if (size <= 0 || size >= WAL_PATH_SIZE_MAX) {
        errbuf_set(errbuf, "expected a path of at most %d bytes", WAL_PATH_SIZE_MAX - 1);
        return ERR_TOO_LARGE;
    }
    while (size > 1 && ret_path[size - 1] == '/') {
        ret_path[--size] = '\0';
    }
    return ERR_OK;
}

static err_t s_run_verb(wal_run_t *run, const char *verb, const char *path)
{
    char absolute[WAL_PATH_SIZE_MAX];
    disk_posix_t *disk = NULL;
    err_t err = s_absolute(path, absolute, &run->errbuf);
    err = err == ERR_OK ? disk_posix_new("/", &disk, &run->errbuf) : err;
    if (err != ERR_OK) {
        return err;
    }
    run->disk = disk_posix_disk(disk);
    if (strcmp(verb, "ls") == 0) {
        err = s_ls(run, absolute);
    } else if (strcmp(verb, "dump") == 0) {
        err = s_dump(run, absolute);
    } else {
        err = s_check(run, absolute);
    }
    disk_posix_destroy(&disk);
    return err;
}

static int s_run_wal(ctl_t *ctl, int word_count, char **line)
{
    wal_run_t run = {.ctl = ctl, .to_seq = UINT64_MAX};
    const argument_t options[] = {
        {"from", ARGUMENT_U64, &run.from_seq, "SEQ", "dump: batches with events from here on", 0,
         UINT64_MAX},
        {"to", ARGUMENT_U64, &run.to_seq, "SEQ", "dump: up to here", 0, UINT64_MAX},
        {"records", ARGUMENT_FLAG, &run.records, NULL, "dump: every event of each batch", 0, 0},
    };
    ctl_words_t words = {.min = 2, .max = 2};
    if (!ctl_parse(ctl, options, 3, word_count, line, &words)) {
        return words.status;
    }
    const char *verb = words.texts[0];
    if (strcmp(verb, "ls") != 0 && strcmp(verb, "dump") != 0 && strcmp(verb, "check") != 0) {
        return ctl_fail_usage(ctl, "expected ls, dump or check, found '%s'", verb);
    }
    buffer_init(&run.text);
    err_t err = s_run_verb(&run, verb, words.texts[1]);
    buffer_done(&run.text);
    if (err != ERR_OK) {
        return ctl_fail(ctl, &run.errbuf);
    }
    (void)fflush(stdout);
    return run.damaged_count == 0 ? CTL_OK : CTL_FAILED;
}

ctl_command_list_t command_wal_list(void)
{
    static const ctl_command_t s_commands[] = {
        {"wal", "histories and logs",
         "ls|dump|check DIR-OR-FILE [--from SEQ] [--to SEQ] [--records]",
         "what stands in log files, and whether it is whole",
         "DIR is a data folder or any folder below it, FILE one segment (*.seg). Nothing is "
         "changed,\n"
         "and the processes may run. check verifies every hash, the chain from batch to batch, "
         "footers\n"
         "and records; damage is named with file, offset, what was expected and found, and the "
         "exit\n"
         "status is 1. A torn tail is no damage: those bytes were never durable.\n",
         s_run_wal},
    };
    return (ctl_command_list_t){s_commands, 1};
}
