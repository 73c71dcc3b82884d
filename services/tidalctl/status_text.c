#include "services/tidalctl/status_text.h"

#include "services/tidalctl/render.h"
#include "services/tidalctl/reply_rows.h"

#include <stdlib.h>
#include <string.h>

enum { LISTED_COUNT_MAX = 10 };

/* -- regions ----------------------------------------------------------------------------------- */

typedef struct {
    uint32_t process_count;
    uint32_t ready_count;
    int64_t lag_seq; /* of its nodes, together */
    int64_t lag_ms;  /* the worst; -1 one is not known */
    uint32_t lagging_count;
} place_t;

static place_t s_place(slice_t reply, slice_t name)
{
    place_t place = {0};
    slice_t row;
    reply_rows_t rows = reply_rows(reply, "processes");
    while (reply_rows_next(&rows, &row)) {
        if (slice_equal(reply_text(row, "region"), name)) {
            place.process_count++;
            place.ready_count += reply_bool(row, "ready") && reply_bool(row, "alive") ? 1 : 0;
        }
    }
    rows = reply_rows(reply, "lag");
    while (reply_rows_next(&rows, &row)) {
        int64_t lag_seq = reply_i64(row, "lag_seq");
        int64_t lag_ms = reply_i64(row, "lag_ms");
        if (slice_equal(reply_text(row, "region"), name) && lag_seq > 0) {
            place.lagging_count++;
            place.lag_seq += lag_seq;
            place.lag_ms = lag_ms < 0 || place.lag_ms < 0 ? -1
                           : lag_ms > place.lag_ms        ? lag_ms
                                                          : place.lag_ms;
        }
    }
    return place;
}

/* The shards whose leader this region is, "0 3 6". */
static void s_add_leads(slice_t reply, slice_t region, render_table_t *table)
{
    buffer_t text;
    slice_t row;
    buffer_init(&text);
    reply_rows_t rows = reply_rows(reply, "shards");
    while (reply_rows_next(&rows, &row)) {
        if (slice_equal(reply_text(row, "leader"), region)) {
            render_format(&text, "%s%lld", text.size > 0 ? " " : "shards ",
                          (long long)reply_i64(row, "shard"));
        }
    }
    render_table_add_slice(table, text.size > 0 ? buffer_slice(&text) : slice_text("-"));
    buffer_done(&text);
}

static void s_add_place(slice_t reply, slice_t name, bool is_region, render_table_t *table)
{
    place_t place = s_place(reply, name);
    render_table_add_slice(table, name);
    if (is_region) {
        s_add_leads(reply, name, table);
    } else {
        render_table_add(table, "-");
    }
    render_table_add(table, "%u of %u", place.ready_count, place.process_count);
    if (place.lagging_count == 0) {
        render_table_add(table, "none");
    } else if (place.lag_ms < 0) {
        render_table_add(table, "%lld events", (long long)place.lag_seq);
    } else {
        render_table_add(table, "%lld events, up to %lld ms", (long long)place.lag_seq,
                         (long long)place.lag_ms);
    }
}

/* A process of no region belongs to `control`. */
static void s_render_places(slice_t reply, buffer_t *out)
{
    render_table_t table;
    pack_reader_t reader;
    pack_value_t head = {.kind = PACK_NIL};
    render_table_init(&table, 4);
    render_table_add(&table, "place");
    render_table_add(&table, "leads");
    render_table_add(&table, "ready");
    render_table_add(&table, "lag");
    bool found = pack_find(pack_reader(reply), "regions", &reader) && pack_next(&reader, &head);
    for (uint32_t i = 0; found && head.kind == PACK_ARRAY && i < head.as.count; i++) {
        pack_value_t name;
        (void)pack_next(&reader, &name);
        s_add_place(reply, name.as.bytes, true, &table);
    }
    s_add_place(reply, slice_text("control"), false, &table);
    render_table_print(&table, 0, out);
    render_table_done(&table);
}

/* -- what is wrong ----------------------------------------------------------------------------- */

static void s_render_processes(slice_t reply, buffer_t *out)
{
    slice_t row;
    reply_rows_t rows = reply_rows(reply, "processes");
    uint32_t found = 0;
    while (reply_rows_next(&rows, &row)) {
        bool alive = reply_bool(row, "alive");
        if (alive && reply_bool(row, "ready")) {
            continue;
        }
        slice_t name = reply_text(row, "name");
        slice_t reason = reply_text(row, "reason");
        int64_t silent_ms = reply_i64(row, "silent_ms");
        render_format(out, "%s%-20.*s ", found++ == 0 ? "\nnot ready\n  " : "  ", (int)name.size,
                      (const char *)name.data);
        if (!alive && silent_ms < 0) {
            render_format(out, "was never heard\n");
        } else if (!alive) {
            render_format(out, "silent for %.1f s\n", (double)silent_ms / 1000);
        } else {
            render_format(out, "%.*s\n", (int)reason.size, (const char *)reason.data);
        }
    }
}

/* What a rule does beside its mode: " delay_ms=50 drop=0.1". */
static void s_append_rule(slice_t link, buffer_t *out)
{
    static const char *const s_fields[] = {"delay_ms", "jitter_ms", "rate_bytes_s",
                                           "drop",     "duplicate", "reorder"};
    for (size_t i = 0; i < sizeof(s_fields) / sizeof(s_fields[0]); i++) {
        pack_value_t value = pack_get(link, s_fields[i]);
        double number = 0;
        if (pack_as_f64(&value, &number) && number > 0) {
            render_format(out, " %s=%.12g", s_fields[i], number);
        }
    }
}

static void s_render_links(slice_t reply, buffer_t *out)
{
    slice_t row;
    reply_rows_t rows = reply_rows(reply, "links");
    uint32_t found = 0;
    while (reply_rows_next(&rows, &row)) {
        slice_t mode = reply_text(row, "mode");
        slice_t from = reply_text(row, "from");
        slice_t to = reply_text(row, "to");
        buffer_t rule;
        buffer_init(&rule);
        s_append_rule(row, &rule);
        if (rule.size > 0 || !slice_equal(mode, slice_text("pass"))) {
            render_format(out, "%s%.*s -> %.*s  %.*s%.*s\n", found++ == 0 ? "\nlinks\n  " : "  ",
                          (int)from.size, (const char *)from.data, (int)to.size,
                          (const char *)to.data, (int)mode.size, (const char *)mode.data,
                          (int)rule.size, rule.size > 0 ? (const char *)rule.data : "");
        }
        buffer_done(&rule);
    }
}

typedef struct {
    slice_t row;
    int64_t lag_seq;
} lag_t;

static int s_compare_lag(const void *a, const void *b)
{
    int64_t left = ((const lag_t *)a)->lag_seq;
    int64_t right = ((const lag_t *)b)->lag_seq;
    return left > right ? -1 : left < right ? 1 : 0;
}

static void s_render_lag(slice_t reply, buffer_t *out)
{
    buffer_t found;
    slice_t row;
    buffer_init(&found);
    reply_rows_t rows = reply_rows(reply, "lag");
    while (reply_rows_next(&rows, &row)) {
        lag_t lag = {row, reply_i64(row, "lag_seq")};
        if (lag.lag_seq > 0) {
            buffer_append(&found, &lag, sizeof(lag));
        }
    }
    size_t count = found.size / sizeof(lag_t);
    if (count == 0) {
        return;
    }
    qsort(found.data, count, sizeof(lag_t), s_compare_lag);
    render_format(out, "\nlag%s\n", count > LISTED_COUNT_MAX ? " (the worst)" : "");
    for (size_t i = 0; i < count && i < LISTED_COUNT_MAX; i++) {
        lag_t lag;
        memcpy(&lag, found.data + i * sizeof(lag), sizeof(lag));
        slice_t region = reply_text(lag.row, "region");
        slice_t origin = reply_text(lag.row, "origin");
        int64_t lag_ms = reply_i64(lag.row, "lag_ms");
        render_format(out, "  shard %lld in %.*s: %lld events of %.*s",
                      (long long)reply_i64(lag.row, "shard"), (int)region.size,
                      (const char *)region.data, (long long)lag.lag_seq, (int)origin.size,
                      (const char *)origin.data);
        render_format(out, lag_ms >= 0 ? ", %lld ms\n" : ", for an unknown time\n",
                      (long long)lag_ms);
    }
    buffer_done(&found);
}

/* Shards whose in-sync set is smaller than their placement, or that have no leader. */
static void s_render_shards(slice_t reply, buffer_t *out)
{
    slice_t row;
    reply_rows_t rows = reply_rows(reply, "shards");
    uint32_t found = 0;
    while (reply_rows_next(&rows, &row)) {
        pack_value_t in_sync = pack_get(row, "in_sync");
        pack_value_t regions = pack_get(row, "regions");
        slice_t leader = reply_text(row, "leader");
        bool whole = in_sync.kind == PACK_ARRAY && regions.kind == PACK_ARRAY &&
                     in_sync.as.count == regions.as.count;
        if (whole && leader.size > 0) {
            continue;
        }
        render_format(out, "%sshard %lld: %s%.*s, %u of %u regions in sync\n",
                      found++ == 0 ? "\nshards\n  " : "  ", (long long)reply_i64(row, "shard"),
                      leader.size > 0 ? "led by " : "no leader", (int)leader.size,
                      leader.size > 0 ? (const char *)leader.data : "",
                      in_sync.kind == PACK_ARRAY ? in_sync.as.count : 0,
                      regions.kind == PACK_ARRAY ? regions.as.count : 0);
    }
}

void status_text_write(slice_t status, slice_t links, buffer_t *out)
{
    slice_t summary = reply_text(status, "summary");
    s_render_places(status, out);
    s_render_processes(status, out);
    s_render_links(links, out);
    s_render_shards(status, out);
    s_render_lag(status, out);
    render_format(out, "\n%.*s\n", (int)summary.size,
                  summary.size > 0 ? (const char *)summary.data : "");
}
