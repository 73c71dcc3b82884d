/* load: streams an engagement history through a gateway. */
#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "services/tidalctl/ask.h"
#include "services/tidalctl/command.h"
#include "services/tidalctl/json.h"
#include "services/tidalctl/load_check.h"
#include "services/tidalctl/load_progress.h"
#include "services/tidalctl/load_run.h"
#include "services/tidalctl/load_truth.h"
#include "services/tidalctl/render.h"
#include "services/tidalctl/reply_rows.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { TURN_MS = 50, CHECK_WAIT_MS = 30000 };

/* What the line said. */
typedef struct {
    const char *path;
    const char *items_path;
    bool no_items;
    const char *ack;
    const char *expect_path;
    bool check;
    uint64_t limit;     /* events; 0 all */
    uint64_t batch;     /* signals of a request */
    uint64_t in_flight; /* requests */
    uint64_t rate;      /* events per second; 0 as fast as it goes */
    uint64_t give_up_s;
    int64_t at_ns; /* of the truth; 0: the last event */
} options_t;

/* One load. */
typedef struct {
    ctl_t *ctl;
    options_t options;
    process_address_t gateway;
    history_items_t *items;
    history_t *history;
    uint64_t event_count;
    char name[LOAD_NAME_SIZE];
    load_plan_t *plan;
    load_run_t *run;
    load_truth_t *truth; /* NULL: nobody asked for it */
    load_progress_t progress;
    int64_t start_ns;
    double seconds;
} load_t;

/* -- start ------------------------------------------------------------------------------------- */

static err_t s_load_items(load_t *self, errbuf_t *errbuf)
{
    char sibling[HISTORY_PATH_SIZE_MAX];
    const char *path = self->options.items_path;
    if (path == NULL && !self->options.no_items &&
        history_items_path(self->options.path, sibling)) {
        path = sibling;
    }
    return path == NULL ? ERR_OK : history_items_load(path, &self->items, errbuf);
}

static err_t s_identify(load_t *self, errbuf_t *errbuf)
{
    uint8_t hash[HISTORY_HASH_SIZE];
    err_t err = history_identify(self->options.path, self->items, self->options.limit, hash,
                                 &self->event_count, errbuf);
    if (err == ERR_OK && self->event_count > UINT32_MAX) {
        errbuf_set(errbuf, "expected at most %u events, found %" PRIu64 ": cut the file into parts",
                   UINT32_MAX, self->event_count);
        err = ERR_TOO_LARGE;
    }
    if (err == ERR_OK) {
        load_plan_name(hash, self->ctl->tenant, (uint32_t)self->options.batch, self->name);
    }
    return err;
}

/* The id of a signal type in a reply of hello; 0 when it is not there. */
static uint8_t s_find_id(slice_t hello, const char *name)
{
    slice_t row;
    reply_rows_t rows = reply_rows(hello, "signals");
    while (reply_rows_next(&rows, &row)) {
        int64_t id = reply_i64(row, "id");
        if (slice_equal(reply_text(row, "name"), slice_text(name)) && id > 0 && id <= UINT8_MAX) {
            return (uint8_t)id;
        }
    }
    return 0;
}

/* The ids of the signal types, as the gateway knows them. */
static err_t s_ask_ids(load_t *self, uint8_t ret_ids[LOAD_SIGNAL_TYPE_COUNT], errbuf_t *errbuf)
{
    ask_t ask;
    err_t err = ask_begin(&ask, self->ctl, "hello", self->gateway, errbuf);
    if (err == ERR_OK) {
        err = ask_send(&ask, self->ctl, 0, errbuf);
    }
    for (int type = 0; err == ERR_OK && type < LOAD_SIGNAL_TYPE_COUNT; type++) {
        const char *name = load_type_name((load_type_t)type);
        ret_ids[type] = s_find_id(buffer_slice(&ask.reply), name);
        if (ret_ids[type] == 0) {
            errbuf_set(errbuf,
                       "expected the signal type %s at the gateway, found none: the actions of a "
                       "history need view, like and skip",
                       name);
            err = ERR_NOT_FOUND;
        }
    }
    ask_done(&ask);
    return err;
}

static void s_on_request(void *context, const load_request_t *request)
{
    load_t *self = context;
    load_run_add(self->run, request);
}

static err_t s_begin(load_t *self, errbuf_t *errbuf)
{
    ctl_t *ctl = self->ctl;
    uint8_t ids[LOAD_SIGNAL_TYPE_COUNT];
    uint32_t timeout_ms =
        ctl->timeout_ms > 0 ? (uint32_t)ctl->timeout_ms : CLIENT_TIMEOUT_MS_DEFAULT;
    err_t err = s_load_items(self, errbuf);
    err = err == ERR_OK ? s_identify(self, errbuf) : err;
    err = err == ERR_OK ? ctl_gateway(ctl, &self->gateway, errbuf) : err;
    err = err == ERR_OK ? s_ask_ids(self, ids, errbuf) : err;
    err = err == ERR_OK ? history_open(self->options.path, &self->history, errbuf) : err;
    if (err != ERR_OK) {
        return err;
    }
    load_run_options_t run = {.client = ctl->client,
                              .gateway = self->gateway,
                              .in_flight_max = (uint32_t)self->options.in_flight,
                              .timeout_ms = timeout_ms,
                              .give_up_ms = (uint32_t)self->options.give_up_s * 1000};
    err = load_run_new(&run, &self->run, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    load_plan_options_t plan = {.name = self->name,
                                .tenant = ctl->tenant,
                                .ack = self->options.ack,
                                .timeout_ms = timeout_ms,
                                .signal_count_max = (uint32_t)self->options.batch,
                                .items = self->items,
                                .on_request = s_on_request,
                                .context = self};
    memcpy(plan.signal_ids, ids, sizeof(ids));
    self->plan = load_plan_new(&plan);
    if (self->options.expect_path != NULL || self->options.check) {
        self->truth = load_truth_new();
    }
    return ERR_OK;
}

/* -- the stream -------------------------------------------------------------------------------- */

/* Whether --rate lets the next event go. */
static bool s_is_due(const load_t *self, int64_t now_ns)
{
    if (self->options.rate == 0) {
        return true;
    }
    double seconds = (double)(now_ns - self->start_ns) / 1e9;
    return (double)load_plan_totals(self->plan)->events < seconds * (double)self->options.rate;
}

static err_t s_feed_one(load_t *self, errbuf_t *errbuf)
{
    history_event_t event;
    err_t err = history_next(self->history, &event, errbuf);
    if (err == ERR_OK) {
        load_plan_add(self->plan, &event);
    }
    if (err == ERR_OK && self->truth != NULL) {
        load_truth_add(self->truth, &event);
    }
    if (err == ERR_END) {
        errbuf_set(errbuf,
                   "expected %" PRIu64 " events as a moment ago, found fewer: the file was changed "
                   "meanwhile",
                   self->event_count);
        err = ERR_INVALID;
    }
    return err;
}

/* Feeds the plan while there is room. out ret_ended  the history is through */
static err_t s_feed(load_t *self, bool *ret_ended, errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    int64_t now_ns = env_clock_now().mono_ns;
    const load_plan_totals_t *totals = load_plan_totals(self->plan);
    while (err == ERR_OK && totals->events < self->event_count && load_run_wants_more(self->run) &&
           s_is_due(self, now_ns)) {
        err = s_feed_one(self, errbuf);
    }
    if (err == ERR_OK && totals->events == self->event_count && !*ret_ended) {
        load_plan_finish(self->plan);
        *ret_ended = true;
    }
    return err;
}

static err_t s_stream(load_t *self, errbuf_t *errbuf)
{
    bool ended = false;
    err_t err = ERR_OK;
    self->start_ns = env_clock_now().mono_ns;
    load_progress_start(&self->progress, self->options.path, self->event_count, self->start_ns);
    while (err == ERR_OK && (!ended || load_run_left(self->run) > 0)) {
        err = s_feed(self, &ended, errbuf);
        if (err == ERR_OK && (!ended || load_run_left(self->run) > 0)) {
            err = load_run_turn(self->run, self->options.rate > 0 ? 2 : TURN_MS, errbuf);
        }
        load_progress_show(&self->progress, load_run_totals(self->run)->signals_done,
                           load_run_trouble(self->run), env_clock_now().mono_ns);
    }
    load_progress_end(&self->progress);
    self->seconds = (double)(env_clock_now().mono_ns - self->start_ns) / 1e9;
    return err;
}

/* -- the end ----------------------------------------------------------------------------------- */

static void s_print_summary(const load_t *self)
{
    const load_run_totals_t *run = load_run_totals(self->run);
    const load_plan_totals_t *plan = load_plan_totals(self->plan);
    char numbers[6][32];
    double rate = self->seconds > 0 ? (double)plan->events / self->seconds : 0;
    (void)printf(
        "loaded %s events in %.2f s (%s/s): %s items, %s hides, %s unhides; there already: "
        "%s signals, %" PRIu64 " items, %" PRIu64 " hides and unhides; %" PRIu64
        " requests, %" PRIu64 " sent again, producer %s\n",
        load_progress_number(plan->events, numbers[0]), self->seconds,
        load_progress_number((uint64_t)rate, numbers[1]),
        load_progress_number(plan->items, numbers[2]),
        load_progress_number(plan->hides, numbers[3]),
        load_progress_number(plan->unhides, numbers[4]),
        load_progress_number(run->signals_duplicate, numbers[5]), run->items_duplicate,
        run->relations_duplicate, run->requests_done, run->retries, self->name);
}

static void s_print_json(const load_t *self)
{
    const load_run_totals_t *run = load_run_totals(self->run);
    const load_plan_totals_t *plan = load_plan_totals(self->plan);
    buffer_t pack;
    buffer_t text;
    pack_writer_t writer;
    buffer_init(&pack);
    buffer_init(&text);
    pack_writer_init(&writer, &pack);
    pack_open_map(&writer);
    pack_put_text(&writer, "producer", self->name);
    pack_put_u64(&writer, "events", plan->events);
    pack_put_u64(&writer, "signals", run->signals_done);
    pack_put_u64(&writer, "items", plan->items);
    pack_put_u64(&writer, "hides", plan->hides);
    pack_put_u64(&writer, "unhides", plan->unhides);
    pack_put_u64(&writer, "signals_duplicate", run->signals_duplicate);
    pack_put_u64(&writer, "items_duplicate", run->items_duplicate);
    pack_put_u64(&writer, "relations_duplicate", run->relations_duplicate);
    pack_put_u64(&writer, "requests", run->requests_done);
    pack_put_u64(&writer, "retries", run->retries);
    pack_put_u64(&writer, "reconnects", run->reconnects);
    pack_put_f64(&writer, "seconds", self->seconds);
    pack_put_i64(&writer, "last_ts", plan->last_ts_ns);
    pack_close(&writer);
    pack_writer_done(&writer);
    json_write(buffer_slice(&pack), &text);
    render_format(&text, "\n");
    render_flush(&text);
    buffer_done(&pack);
    buffer_done(&text);
}

static err_t s_write_truth(load_t *self, errbuf_t *errbuf)
{
    const char *path = self->options.expect_path;
    FILE *out = fopen(path, "we");
    if (out == NULL) {
        errbuf_set(errbuf, "--expect: expected to write %s, found that it cannot be opened", path);
        return ERR_IO;
    }
    err_t err = load_truth_write(self->truth, self->plan, self->name, out, errbuf);
    if (fclose(out) != 0 && err == ERR_OK) {
        errbuf_set(errbuf, "--expect: expected to write %s, found an error of the file", path);
        err = ERR_IO;
    }
    return err;
}

static err_t s_check_regions(load_t *self, int64_t at_ns, errbuf_t *errbuf)
{
    const topology_t *topology = self->ctl->topology;
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < topology->region_count && err == ERR_OK; i++) {
        const topology_region_t *region = &topology->regions[i];
        load_check_t check = {.client = self->ctl->client,
                              .gateway = {.kind = PROCESS_GATEWAY, .region = region->id},
                              .tenant = self->ctl->tenant,
                              .at_ns = at_ns,
                              .truth = self->truth,
                              .plan = self->plan,
                              .wait_ms = CHECK_WAIT_MS};
        load_checked_t checked;
        err = load_check(&check, &checked, errbuf);
        if (err == ERR_OK && !self->ctl->json) {
            (void)printf("%s: %" PRIu64 " scores, %" PRIu64 " counts and %" PRIu64
                         " hidden pairs are as they must be (largest error of a score %.1e)\n",
                         region->name, checked.cells, checked.counts, checked.relations,
                         checked.worst_error);
            (void)fflush(stdout);
        }
        if (err != ERR_OK) {
            errbuf_prefix(errbuf, "--check, region %s", region->name);
        }
    }
    return err;
}

static err_t s_finish(load_t *self, errbuf_t *errbuf)
{
    int64_t at_ns = self->options.at_ns;
    err_t err = ERR_OK;
    if (self->ctl->json) {
        s_print_json(self);
    } else {
        s_print_summary(self);
    }
    (void)fflush(stdout);
    at_ns = at_ns == 0 ? load_plan_totals(self->plan)->last_ts_ns : at_ns;
    if (self->truth != NULL) {
        err = load_truth_settle(self->truth, &self->ctl->topology->schema, at_ns, errbuf);
    }
    if (err == ERR_OK && self->options.expect_path != NULL) {
        err = s_write_truth(self, errbuf);
    }
    if (err == ERR_OK && self->options.check) {
        err = s_check_regions(self, at_ns, errbuf);
    }
    return err;
}

static void s_done(load_t *self)
{
    load_run_destroy(&self->run);
    load_plan_destroy(&self->plan);
    load_truth_destroy(&self->truth);
    history_close(&self->history);
    history_items_destroy(&self->items);
}

static int s_run_load(ctl_t *ctl, int word_count, char **line)
{
    load_t self = {.ctl = ctl,
                   .options = {.batch = LOAD_SIGNAL_COUNT_MAX, .in_flight = 32, .give_up_s = 120}};
    options_t *to = &self.options;
    const argument_t options[] = {
        {"items", ARGUMENT_TEXT, &to->items_path, "FILE",
         "titles and categories (default: <name>-items.tsv[.gz] beside it)", 0, 0},
        {"no-items", ARGUMENT_FLAG, &to->no_items, NULL, "without them", 0, 0},
        {"limit", ARGUMENT_U64, &to->limit, "N", "the first N events alone", 1, UINT32_MAX},
        {"batch", ARGUMENT_U64, &to->batch, "N", "signals of one request (default 1000)", 1,
         LOAD_SIGNAL_COUNT_MAX},
        {"in-flight", ARGUMENT_U64, &to->in_flight, "N", "requests under way (default 32)", 1,
         LOAD_IN_FLIGHT_MAX},
        {"rate", ARGUMENT_U64, &to->rate, "N", "at most N events per second", 1, UINT32_MAX},
        {"ack", ARGUMENT_TEXT, &to->ack, "LEVEL", "local, replicated (default) or all", 0, 0},
        {"give-up-s", ARGUMENT_U64, &to->give_up_s, "N",
         "end when nothing was taken for N seconds (default 120)", 1, 86400},
        {"expect", ARGUMENT_TEXT, &to->expect_path, "FILE",
         "write the analytic truth there, as JSON", 0, 0},
        {"check", ARGUMENT_FLAG, &to->check, NULL,
         "read it all back from every region and compare with the truth", 0, 0},
        {"at", ARGUMENT_TIME, &to->at_ns, "TIME", "of the truth (default: the last event)", 0, 0},
    };
    ctl_words_t words = {.min = 1, .max = 1};
    if (!ctl_parse(ctl, options, sizeof(options) / sizeof(options[0]), word_count, line, &words)) {
        return words.status;
    }
    to->path = words.texts[0];
    errbuf_t errbuf;
    err_t err = s_begin(&self, &errbuf);
    if (err == ERR_OK) {
        err = s_stream(&self, &errbuf);
    }
    if (err == ERR_OK) {
        err = s_finish(&self, &errbuf);
    }
    int status = err == ERR_OK ? CTL_OK : ctl_fail(ctl, &errbuf);
    s_done(&self);
    return status;
}

ctl_command_list_t command_load_list(void)
{
    static const ctl_command_t s_commands[] = {
        {"load", "histories and logs", "FILE [--region NAME] [--check] ...",
         "streams an engagement history through a gateway",
         "FILE has the columns ts_ms, user, item and action, separated by tabs; it may be "
         "compressed\n"
         "with gzip. M (changed) is the signal view; A (added) puts the item when it is new, is "
         "the\n"
         "signal like and an unhide where that user had hidden it; D (deleted) is the signal skip "
         "and\n"
         "a hide. Every request carries a producer made from the file's content and a number, so "
         "a\n"
         "load may be interrupted, repeated, or run through another gateway: nothing counts "
         "twice.\n"
         "--check assumes that nothing else was written for these items.\n",
         s_run_load},
    };
    return (ctl_command_list_t){s_commands, 1};
}
