#include "services/reconciler/reconciler_files.h"

#include "common/base/check.h"
#include "common/topology/process.h"
#include "common/wire/client_reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* -- words ------------------------------------------------------------------------------------- */

enum {
    S_PRINT_SIZE = 1024, /* of one piece; the longest has a problem in it, or an entry */
    S_TIME_SIZE = 40,
    S_HEX_SIZE = 2 * MSG_HASH_SIZE + 1
};

/* What all words depend on. */
typedef struct {
    const reconcile_report_t *report;
    const reconcile_view_t *view;
    bool has_times;
    buffer_t *out;
} s_words_t;

static void s_print(buffer_t *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void s_print(buffer_t *out, const char *format, ...)
{
    char text[S_PRINT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    CHECK(length >= 0 && length < S_PRINT_SIZE);
    buffer_append(out, text, (size_t)length);
}

/* Universal time of the Gregorian calendar (days to civil date, in years that begin in March). */
static const char *s_time_text(int64_t wall_ns, char ret_text[S_TIME_SIZE])
{
    int64_t seconds = wall_ns / ENGINE_NS_PER_MS / 1000;
    int64_t days = seconds / 86400 + 719468;
    int64_t era = days / 146097;
    int64_t day_of_era = days % 146097;
    int64_t year =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2 ? 1 : 0);
    (void)snprintf(ret_text, S_TIME_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ", (int)year, (int)month,
                   (int)day, (int)(seconds / 3600 % 24), (int)(seconds / 60 % 60),
                   (int)(seconds % 60));
    return ret_text;
}

static const char *s_name(const s_words_t *words,
                          process_kind_t kind,
                          node_id_t node,
                          char ret_name[PROCESS_NAME_SIZE])
{
    return process_name(words->view->topology, (process_address_t){kind, node.region, node.shard},
                        ret_name);
}

static const char *s_tenant(const s_words_t *words, tenant_id_t tenant)
{
    const table_tenant_t *row = table_find_tenant(words->view->table, tenant);
    return row == NULL ? "?" : row->name;
}

static const char *s_what_was_compared(const reconcile_line_t *line)
{
    bool digest = line->found == RECONCILE_FOUND_EQUAL || line->found == RECONCILE_FOUND_DIVERGED;
    return line->with.bits == 0 ? "nothing" : digest ? "vector and digest" : "vector";
}

static void s_print_with(const s_words_t *words, const reconcile_line_t *line, const char *quote)
{
    const char *separator = "";
    char name[PROCESS_NAME_SIZE];
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region_set_has(line->with, (region_id_t){region})) {
            node_id_t node = {{region}, line->node.shard};
            s_print(words->out, "%s%s%s%s", separator, quote,
                    s_name(words, PROCESS_NODE, node, name), quote);
            separator = ", ";
        }
    }
}

static void s_print_gap(const s_words_t *words, const reconcile_line_t *line)
{
    const reconcile_gap_t *gap = &words->report->gaps[line->oldest_gap];
    const char *region = topology_place_name(words->view->topology, gap->stream.origin.region);
    char origin[CLIENT_ORIGIN_SIZE];
    client_origin_text(origin, slice_text(region), &gap->stream);
    s_print(words->out, "%llu events missing in %u streams, %s at %llu, expected %llu",
            (unsigned long long)line->missing_count, line->gap_count, origin,
            (unsigned long long)gap->seq, (unsigned long long)gap->goal_seq);
    if (words->has_times) {
        s_print(words->out, ", for %u.%u s", line->lag_ms / 1000, line->lag_ms / 100 % 10);
    }
}

static void s_print_found(const s_words_t *words, const reconcile_line_t *line)
{
    buffer_t *out = words->out;
    unsigned long long events = line->event_count;
    char digest[S_HEX_SIZE];
    char name[PROCESS_NAME_SIZE];
    bytes_to_hex(line->digest, sizeof(line->digest), digest);
    switch (line->found) {
    case RECONCILE_FOUND_EQUAL:
        s_print(out, "the same in %u of %u, %llu events, digest %s", line->agree_count,
                region_set_count(line->with), events, digest);
        break;
    case RECONCILE_FOUND_FURTHEST:
        s_print(out, "none as far, %llu events, digest %s", events, digest);
        break;
    case RECONCILE_FOUND_ALONE:
        s_print(out, "no other replica that answered, %llu events, digest %s", events, digest);
        break;
    case RECONCILE_FOUND_LAGGING:
        s_print_gap(words, line);
        break;
    case RECONCILE_FOUND_UNANSWERED:
        s_print(out, "no digest: the node is not ready, or does not answer %s",
                s_name(words, PROCESS_RECONCILER, line->node, name));
        break;
    case RECONCILE_FOUND_SILENT:
        s_print(out, "no state: %s is down, or the link to it is cut",
                s_name(words, PROCESS_RECONCILER, line->node, name));
        break;
    case RECONCILE_FOUND_DIVERGED:
        s_print(out, "digest %s at the same %llu events, expected ", digest, events);
        bytes_to_hex(line->expected, sizeof(line->expected), digest);
        if (line->expected_count > 0) {
            s_print(out, "%s as %u others have", digest, line->expected_count);
        } else {
            s_print(out, "that of a majority: there is none");
        }
        break;
    case RECONCILE_FOUND_COUNT:
        CHECK(false);
    }
}

/* -- replicas that were held against their logs ------------------------------------------------ */

static void s_print_repair(const s_words_t *words, const reconcile_repair_t *repair)
{
    buffer_t *out = words->out;
    char digest[S_HEX_SIZE];
    if (repair->is_failed) {
        s_print(out, "could not be checked, nothing changed: %s", repair->problem);
    } else if (!repair->different) {
        bytes_to_hex(repair->found, sizeof(repair->found), digest);
        s_print(out, "is what its %llu logged events come to (%llu requests voided), digest %s",
                (unsigned long long)repair->event_count, (unsigned long long)repair->voided_count,
                digest);
    } else {
        bytes_to_hex(repair->found, sizeof(repair->found), digest);
        s_print(out,
                "differed from its %llu logged events (%llu requests voided) in %llu entries, and "
                "is replaced: digest was %s",
                (unsigned long long)repair->event_count, (unsigned long long)repair->voided_count,
                (unsigned long long)repair->difference_count, digest);
        bytes_to_hex(repair->rebuilt, sizeof(repair->rebuilt), digest);
        s_print(out, ", is %s", digest);
    }
}

static void s_text_repairs(const s_words_t *words)
{
    const reconcile_report_t *report = words->report;
    char name[PROCESS_NAME_SIZE];
    char time[S_TIME_SIZE];
    for (uint32_t i = 0; i < report->repair_count; i++) {
        const reconcile_repair_t *repair = &report->repairs[i];
        s_print(words->out, "%-10s ",
                repair->is_failed   ? "unchecked"
                : repair->different ? "REPAIRED"
                                    : "checked");
        s_print(words->out, "node %s, tenant %s: the state ",
                s_name(words, PROCESS_NODE, repair->node, name), s_tenant(words, repair->tenant));
        s_print_repair(words, repair);
        if (words->has_times) {
            s_print(words->out, "; %s, in %u ms", s_time_text(repair->wall_ns, time),
                    repair->took_ms);
        }
        s_print(words->out, "\n");
        for (uint32_t k = 0; k < repair->listed_count; k++) {
            const reconcile_entry_t *entry = &repair->listed[k];
            s_print(words->out, "             %s: found %s, by the logs %s\n", entry->key,
                    entry->found, entry->expected);
        }
    }
}

static void s_json_repair(const s_words_t *words, const reconcile_repair_t *repair)
{
    buffer_t *out = words->out;
    char name[PROCESS_NAME_SIZE];
    char hex[S_HEX_SIZE];
    char time[S_TIME_SIZE];
    s_print(out, "{\"number\": %llu, \"node\": \"%s\", \"tenant\": \"%s\", \"result\": \"%s\"",
            (unsigned long long)repair->number, s_name(words, PROCESS_NODE, repair->node, name),
            s_tenant(words, repair->tenant),
            repair->is_failed   ? "unchecked"
            : repair->different ? "repaired"
                                : "checked");
    if (!repair->is_failed) {
        bytes_to_hex(repair->found, sizeof(repair->found), hex);
        s_print(out, ", \"events\": %llu, \"voided\": %llu, \"found\": \"%s\"",
                (unsigned long long)repair->event_count, (unsigned long long)repair->voided_count,
                hex);
        bytes_to_hex(repair->rebuilt, sizeof(repair->rebuilt), hex);
        s_print(out, ", \"by_the_logs\": \"%s\", \"differences\": %llu", hex,
                (unsigned long long)repair->difference_count);
    }
    if (words->has_times) {
        s_print(out, ", \"time\": \"%s\", \"took_ms\": %u", s_time_text(repair->wall_ns, time),
                repair->took_ms);
    }
    s_print(out, ", \"entries\": [");
    for (uint32_t k = 0; k < repair->listed_count; k++) {
        const reconcile_entry_t *entry = &repair->listed[k];
        s_print(out, "%s{\"entry\": \"%s\", \"found\": \"%s\", \"by_the_logs\": \"%s\"}",
                k == 0 ? "" : ", ", entry->key, entry->found, entry->expected);
    }
    s_print(out, "], \"text\": \"");
    s_print_repair(words, repair);
    s_print(out, "\"}");
}

/* -- whole reports ----------------------------------------------------------------------------- */

/* The lines to write, worst first. out ret_left_out  how many more there are */
static uint32_t s_listed(const reconcile_report_t *report,
                         const reconcile_line_t *ret_lines[RECONCILER_FILES_LINE_COUNT_MAX],
                         uint32_t *ret_left_out)
{
    uint32_t count = 0;
    *ret_left_out = 0;
    for (uint32_t i = 0; i < report->line_count; i++) {
        if (report->lines[i].is_listed && count < RECONCILER_FILES_LINE_COUNT_MAX) {
            ret_lines[count++] = &report->lines[i];
        } else if (report->lines[i].is_listed) {
            *ret_left_out += 1;
        }
    }
    return count;
}

void reconciler_files_text(const reconcile_report_t *report,
                           const reconcile_view_t *view,
                           bool has_times,
                           buffer_t *out)
{
    s_words_t words = {report, view, has_times, out};
    char summary[RECONCILE_SUMMARY_SIZE];
    char time[S_TIME_SIZE];
    char name[PROCESS_NAME_SIZE];
    reconcile_summary(report, view, summary);
    s_print(out, "%s%s%s: %s\n",
            s_name(&words, PROCESS_RECONCILER, (node_id_t){.region = view->self}, name),
            has_times ? ", " : "", has_times ? s_time_text(view->wall_ns, time) : "", summary);
    const reconcile_line_t *lines[RECONCILER_FILES_LINE_COUNT_MAX];
    uint32_t left_out = 0;
    uint32_t count = s_listed(report, lines, &left_out);
    for (uint32_t i = 0; i < count; i++) {
        const reconcile_line_t *line = lines[i];
        s_print(out, "%-10s node %s%s, tenant %s: compared %s", reconcile_found_name(line->found),
                s_name(&words, PROCESS_NODE, line->node, name), line->is_leader ? " (leader)" : "",
                s_tenant(&words, line->tenant), s_what_was_compared(line));
        s_print(out, line->with.bits == 0 ? "" : " with ");
        s_print_with(&words, line, "");
        s_print(out, "; found ");
        s_print_found(&words, line);
        s_print(out, "\n");
    }
    s_text_repairs(&words);
    if (report->snapshot_count + report->snapshot_refused_count + report->snapshots_under_way > 0) {
        s_print(
            out,
            "snapshots where logs were truncated: %llu fetched and adopted, %llu refused for they "
            "contradict themselves, %u under way\n",
            (unsigned long long)report->snapshot_count,
            (unsigned long long)report->snapshot_refused_count, report->snapshots_under_way);
    }
    if (report->snapshot_problem.number > 0) {
        const reconcile_snapshot_problem_t *problem = &report->snapshot_problem;
        node_id_t node = {view->self, problem->shard};
        s_print(out, "the last snapshot that was not taken: for %s, tenant %s, from %s: %s\n",
                s_name(&words, PROCESS_NODE, node, name), s_tenant(&words, problem->tenant),
                topology_place_name(view->topology, problem->donor), problem->reason.text);
    }
    if (report->lost_base_count > 0) {
        reconcile_lost_bases(report, view, summary);
        s_print(out, "%s\n", summary);
    }
    if (left_out > 0) {
        s_print(out, "and %u more lines, none of them worse\n", left_out);
    }
    if (has_times) {
        s_print(out, "compared in %lld ms; %llu events fetched since the run before\n",
                (long long)(view->took_ns / ENGINE_NS_PER_MS),
                (unsigned long long)report->fetched_count);
    }
}

static void s_json_line(const s_words_t *words, const reconcile_line_t *line)
{
    buffer_t *out = words->out;
    char name[PROCESS_NAME_SIZE];
    char hex[S_HEX_SIZE];
    s_print(out,
            "{\"found\": \"%s\", \"node\": \"%s\", \"leader\": %s, \"tenant\": \"%s\", "
            "\"compared\": \"%s\", \"with\": [",
            reconcile_found_name(line->found), s_name(words, PROCESS_NODE, line->node, name),
            line->is_leader ? "true" : "false", s_tenant(words, line->tenant),
            s_what_was_compared(line));
    s_print_with(words, line, "\"");
    s_print(out, "]");
    if (line->found != RECONCILE_FOUND_UNANSWERED && line->found != RECONCILE_FOUND_SILENT) {
        bytes_to_hex(line->digest, sizeof(line->digest), hex);
        s_print(out, ", \"agree\": %u, \"events\": %llu, \"missing\": %llu, \"digest\": \"%s\"",
                line->agree_count, (unsigned long long)line->event_count,
                (unsigned long long)line->missing_count, hex);
    }
    if (line->expected_count > 0) {
        bytes_to_hex(line->expected, sizeof(line->expected), hex);
        s_print(out, ", \"expected\": \"%s\", \"expected_count\": %u", hex, line->expected_count);
    }
    if (line->found == RECONCILE_FOUND_LAGGING && words->has_times) {
        s_print(out, ", \"lag_ms\": %u", line->lag_ms);
    }
    s_print(out, ", \"text\": \"");
    s_print_found(words, line);
    s_print(out, "\"}");
}

static void s_json_counts(const s_words_t *words)
{
    const reconcile_report_t *report = words->report;
    buffer_t *out = words->out;
    s_print(out, " \"replicas_compared\": %u,\n \"replicas\": {", report->compared_count);
    for (uint32_t found = 0; found < RECONCILE_FOUND_COUNT; found++) {
        s_print(out, "%s\"%s\": %u", found == 0 ? "" : ", ",
                reconcile_found_name((reconcile_found_t)found), report->found_counts[found]);
    }
    s_print(out, "},\n \"silent_regions\": [");
    const char *separator = "";
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region_set_has(report->silent, (region_id_t){region})) {
            s_print(out, "%s\"%s\"", separator,
                    topology_place_name(words->view->topology, (region_id_t){region}));
            separator = ", ";
        }
    }
    s_print(out,
            "],\n \"snapshots\": {\"adopted\": %llu, \"refused\": %llu, \"under_way\": %u, "
            "\"not_taken\": %llu, \"lost_bases\": %u},\n",
            (unsigned long long)report->snapshot_count,
            (unsigned long long)report->snapshot_refused_count, report->snapshots_under_way,
            (unsigned long long)report->snapshot_problem.number, report->lost_base_count);
}

void reconciler_files_json(const reconcile_report_t *report,
                           const reconcile_view_t *view,
                           bool has_times,
                           buffer_t *out)
{
    s_words_t words = {report, view, has_times, out};
    char summary[RECONCILE_SUMMARY_SIZE];
    char time[S_TIME_SIZE];
    char name[PROCESS_NAME_SIZE];
    reconcile_summary(report, view, summary);
    s_print(out, "{\"reconciler\": \"%s\",\n",
            s_name(&words, PROCESS_RECONCILER, (node_id_t){.region = view->self}, name));
    if (has_times) {
        s_print(out, " \"time\": \"%s\",\n \"time_ns\": %lld,\n", s_time_text(view->wall_ns, time),
                (long long)view->wall_ns);
        s_print(out, " \"took_ms\": %lld,\n \"fetched\": %llu,\n",
                (long long)(view->took_ns / ENGINE_NS_PER_MS),
                (unsigned long long)report->fetched_count);
    }
    s_print(out, " \"summary\": \"%s\",\n", summary);
    s_json_counts(&words);
    const reconcile_line_t *lines[RECONCILER_FILES_LINE_COUNT_MAX];
    uint32_t left_out = 0;
    uint32_t count = s_listed(report, lines, &left_out);
    s_print(out, " \"lines_left_out\": %u,\n \"lines\": [", left_out);
    for (uint32_t i = 0; i < count; i++) {
        s_print(out, i == 0 ? "\n  " : ",\n  ");
        s_json_line(&words, lines[i]);
    }
    s_print(out, "],\n \"checks\": [");
    for (uint32_t i = 0; i < report->repair_count; i++) {
        s_print(out, i == 0 ? "\n  " : ",\n  ");
        s_json_repair(&words, &report->repairs[i]);
    }
    s_print(out, "]}\n");
}

/* -- files ------------------------------------------------------------------------------------- */

struct reconciler_files {
    const disk_t *disk;
    char folder[WAL_PATH_SIZE_MAX];
    buffer_t content; /* what the files say, without times; empty: they may say anything */
    buffer_t scratch;
};

reconciler_files_t *reconciler_files_new(const disk_t *disk, const char *folder)
{
    reconciler_files_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->disk = disk;
    int length = snprintf(self->folder, sizeof(self->folder), "%s", folder);
    CHECK(length > 0 && (size_t)length < sizeof(self->folder));
    buffer_init(&self->content);
    buffer_init(&self->scratch);
    return self;
}

void reconciler_files_destroy(reconciler_files_t **self_p)
{
    reconciler_files_t *self = *self_p;
    if (self != NULL) {
        buffer_done(&self->content);
        buffer_done(&self->scratch);
        free(self);
        *self_p = NULL;
    }
}

static err_t s_write(const disk_t *disk, const char *path, slice_t bytes, errbuf_t *errbuf)
{
    disk_file_t *file = NULL;
    err_t err = disk->open(disk->context, path, DISK_CREATE, &file, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    /* A temporary file of an earlier try may be longer. */
    err = disk->truncate(disk->context, file, 0, errbuf);
    if (err == ERR_OK) {
        err = disk->write_at(disk->context, file, 0, bytes.data, bytes.size, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->sync(disk->context, file, errbuf);
    }
    disk->close(disk->context, &file);
    return err;
}

/* Replaces one file by what stands in scratch; the folder is synced by the caller. */
static err_t s_replace(reconciler_files_t *self, const char *name, errbuf_t *errbuf)
{
    enum { S_NAME_SIZE = 32 };
    char path[WAL_PATH_SIZE_MAX + S_NAME_SIZE];
    char temporary[WAL_PATH_SIZE_MAX + S_NAME_SIZE];
    (void)snprintf(path, sizeof(path), "%s/%s", self->folder, name);
    (void)snprintf(temporary, sizeof(temporary), "%s/%s.tmp", self->folder, name);
    err_t err = s_write(self->disk, temporary, buffer_slice(&self->scratch), errbuf);
    if (err == ERR_OK) {
        err = self->disk->rename(self->disk->context, temporary, path, errbuf);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "write %s", path);
    }
    return err;
}

err_t reconciler_files_save(reconciler_files_t *self,
                            const reconcile_report_t *report,
                            const reconcile_view_t *view,
                            bool *ret_written,
                            errbuf_t *errbuf)
{
    buffer_clear(&self->scratch);
    reconciler_files_text(report, view, false, &self->scratch);
    if (slice_equal(buffer_slice(&self->scratch), buffer_slice(&self->content))) {
        *ret_written = false;
        return ERR_OK;
    }
    buffer_t content = self->scratch; /* is what the files say once they are there */
    self->scratch = self->content;
    self->content = content;
    buffer_clear(&self->scratch);
    reconciler_files_text(report, view, true, &self->scratch);
    err_t err = self->disk->make_folders(self->disk->context, self->folder, errbuf);
    if (err == ERR_OK) {
        err = s_replace(self, "report.txt", errbuf);
    }
    if (err == ERR_OK) {
        buffer_clear(&self->scratch);
        reconciler_files_json(report, view, true, &self->scratch);
        err = s_replace(self, "report.json", errbuf);
    }
    if (err == ERR_OK) {
        err = self->disk->sync_folder(self->disk->context, self->folder, errbuf);
    }
    if (err != ERR_OK) {
        buffer_clear(&self->content);
        errbuf_prefix(errbuf, "keep the report of the reconciler");
        return err;
    }
    *ret_written = true;
    return ERR_OK;
}
