#include "services/tidalctl/load_run.h"

#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/wire/client_reply.h"
#include "services/tidalctl/reply_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { RETRY_MS_MIN = 20, RETRY_MS_MAX = 1000, OVERDUE_MS = 2000 };

typedef enum { REQUEST_QUEUED, REQUEST_SENT, REQUEST_DONE } state_t;

typedef struct {
    state_t state;
    load_request_t request; /* without its body */
    buffer_t body;
    uint32_t tries;
    int64_t next_ns; /* QUEUED: not before; SENT: overdue then */
} entry_t;

struct load_run {
    load_run_options_t options;
    /* entries[i] holds the request of id first_id + i; the first one is not done. */
    entry_t *entries;
    size_t first; /* index in a ring of `capacity` */
    size_t count;
    size_t capacity;
    uint64_t first_id;
    size_t queued_count;
    size_t sent_count;
    uint64_t connects; /* of the connection that SENT ones were sent on */
    int64_t progress_ns;
    load_run_totals_t totals;
    bool failed;
    errbuf_t failure;
    errbuf_t trouble;
};

/* -- answers ----------------------------------------------------------------------------------- */

static void s_read_error(slice_t reply, load_answer_t *answer)
{
    slice_t code = reply_text(reply, "error.code");
    slice_t message = reply_text(reply, "error.message");
    int64_t after_ms = reply_i64(reply, "error.retry_after_ms");
    answer->verdict = reply_bool(reply, "error.retryable") ? LOAD_ANSWER_AGAIN : LOAD_ANSWER_NEVER;
    /* A pair decides: what may have been done is settled by sending it again. */
    if (slice_equal(code, slice_text("NOT_REPLICATED")) ||
        slice_equal(code, slice_text("PARTIAL")) || slice_equal(code, slice_text("TIMEOUT"))) {
        answer->verdict = LOAD_ANSWER_AGAIN;
    }
    answer->retry_after_ms = after_ms > 0 && after_ms < WAIT_MS_MAX ? (uint32_t)after_ms : 0;
    (void)snprintf(answer->text, sizeof(answer->text), "%.*s: %.*s", (int)code.size,
                   code.size > 0 ? (const char *)code.data : "", (int)message.size,
                   message.size > 0 ? (const char *)message.data : "");
}

/* Of shards that say so. */
static uint64_t s_duplicate_count(slice_t reply)
{
    slice_t row;
    uint64_t count = 0;
    reply_rows_t rows = reply_rows(reply, "shards");
    while (reply_rows_next(&rows, &row)) {
        count += reply_bool(row, "duplicate") ? (uint64_t)reply_i64(row, "count") : 0;
    }
    return count;
}

void load_answer_read(slice_t reply, uint32_t count, load_answer_t *ret_answer)
{
    load_answer_t answer = {.verdict = LOAD_ANSWER_OK};
    if (!reply_bool(reply, "ok")) {
        s_read_error(reply, &answer);
    } else {
        answer.duplicate_count = reply_bool(reply, "duplicate") ? count : s_duplicate_count(reply);
    }
    *ret_answer = answer;
}

/* -- the queue --------------------------------------------------------------------------------- */

static entry_t *s_at(const load_run_t *self, size_t index)
{
    return &self->entries[(self->first + index) & (self->capacity - 1)];
}

static void s_grow(load_run_t *self)
{
    size_t capacity = self->capacity == 0 ? 1024 : 2 * self->capacity;
    entry_t *entries = calloc(capacity, sizeof(entry_t));
    CHECK(entries != NULL);
    for (size_t i = 0; i < self->count; i++) {
        entries[i] = *s_at(self, i);
    }
    free(self->entries);
    self->entries = entries;
    self->capacity = capacity;
    self->first = 0;
}

void load_run_add(load_run_t *self, const load_request_t *request)
{
    CHECK(request->id == self->first_id + self->count);
    if (self->count == self->capacity) {
        s_grow(self);
    }
    entry_t *entry = s_at(self, self->count++);
    *entry = (entry_t){.state = REQUEST_QUEUED, .request = *request};
    entry->request.body = (slice_t){0};
    buffer_append(&entry->body, request->body.data, request->body.size);
    self->queued_count++;
}

bool load_run_wants_more(const load_run_t *self)
{
    return self->queued_count < self->options.in_flight_max;
}

size_t load_run_left(const load_run_t *self)
{
    return self->count;
}

static void s_drop_done(load_run_t *self)
{
    while (self->count > 0 && s_at(self, 0)->state == REQUEST_DONE) {
        self->first = (self->first + 1) & (self->capacity - 1);
        self->first_id++;
        self->count--;
    }
}

static void s_requeue(load_run_t *self, entry_t *entry, int64_t next_ns)
{
    CHECK(entry->state == REQUEST_SENT);
    entry->state = REQUEST_QUEUED;
    entry->next_ns = next_ns;
    self->sent_count--;
    self->queued_count++;
}

/* -- replies ----------------------------------------------------------------------------------- */

static void s_settle(load_run_t *self, entry_t *entry, const load_answer_t *answer)
{
    bool is_signals = entry->request.kind == LOAD_SIGNALS;
    bool is_items = entry->request.kind == LOAD_ITEMS;
    uint64_t *done = is_signals ? &self->totals.signals_done
                     : is_items ? &self->totals.items_done
                                : &self->totals.relations_done;
    uint64_t *duplicate = is_signals ? &self->totals.signals_duplicate
                          : is_items ? &self->totals.items_duplicate
                                     : &self->totals.relations_duplicate;
    *done += entry->request.count;
    *duplicate += answer->duplicate_count;
    self->totals.requests_done++;
    entry->state = REQUEST_DONE;
    buffer_done(&entry->body);
    self->sent_count--;
    self->progress_ns = env_clock_now().mono_ns;
    self->trouble.text[0] = '\0';
    s_drop_done(self);
}

static void s_on_reply(void *context, slice_t reply)
{
    load_run_t *self = context;
    client_answer_t known;
    load_answer_t answer;
    if (client_answer_read(reply, &known, NULL) != ERR_OK || !known.has_id) {
        return;
    }
    if (known.id < self->first_id || known.id - self->first_id >= self->count) {
        return; /* of an earlier copy */
    }
    entry_t *entry = s_at(self, (size_t)(known.id - self->first_id));
    if (entry->state != REQUEST_SENT) {
        return;
    }
    load_answer_read(reply, entry->request.count, &answer);
    if (answer.verdict == LOAD_ANSWER_OK) {
        s_settle(self, entry, &answer);
        return;
    }
    errbuf_set(&self->trouble, "lines %" PRIu64 "..%" PRIu64 ": %s", entry->request.first_line + 1,
               entry->request.last_line + 1, answer.text);
    if (answer.verdict == LOAD_ANSWER_NEVER) {
        self->failed = true;
        self->failure = self->trouble;
        return;
    }
    uint32_t wait_ms = (uint32_t)RETRY_MS_MIN << (entry->tries < 6 ? entry->tries : 6);
    wait_ms = wait_ms < RETRY_MS_MAX ? wait_ms : RETRY_MS_MAX;
    wait_ms = answer.retry_after_ms > wait_ms ? answer.retry_after_ms : wait_ms;
    s_requeue(self, entry, env_clock_now().mono_ns + (int64_t)wait_ms * ENV_NS_PER_MS);
}

/* -- sending ----------------------------------------------------------------------------------- */

/* What was sent on a connection that is gone is sent again. */
static void s_review_connection(load_run_t *self)
{
    uint64_t connects = ctl_client_connects(self->options.client, self->options.gateway);
    bool is_up = ctl_client_is_up(self->options.client, self->options.gateway);
    if (self->sent_count == 0 || (is_up && connects == self->connects)) {
        return;
    }
    errbuf_set(&self->trouble, "the connection to the gateway was lost");
    self->totals.reconnects++;
    for (size_t i = 0; i < self->count; i++) {
        if (s_at(self, i)->state == REQUEST_SENT) {
            s_requeue(self, s_at(self, i), 0);
        }
    }
}

static void s_review_overdue(load_run_t *self, int64_t now_ns)
{
    for (size_t i = 0; i < self->count && self->sent_count > 0; i++) {
        entry_t *entry = s_at(self, i);
        if (entry->state == REQUEST_SENT && entry->next_ns <= now_ns) {
            errbuf_set(&self->trouble, "the gateway did not answer in time");
            s_requeue(self, entry, 0);
        }
    }
}

static void s_send(load_run_t *self, int64_t now_ns)
{
    const load_run_options_t *options = &self->options;
    for (size_t i = 0; i < self->count && self->sent_count < options->in_flight_max; i++) {
        entry_t *entry = s_at(self, i);
        if (entry->state != REQUEST_QUEUED || entry->next_ns > now_ns) {
            continue;
        }
        slice_t body = buffer_slice(&entry->body);
        if (ctl_client_send(options->client, options->gateway, body) != ERR_OK) {
            return;
        }
        self->connects = ctl_client_connects(options->client, options->gateway);
        self->totals.retries += entry->tries > 0 ? 1 : 0;
        entry->tries++;
        entry->state = REQUEST_SENT;
        entry->next_ns = now_ns + ((int64_t)options->timeout_ms + OVERDUE_MS) * ENV_NS_PER_MS;
        self->queued_count--;
        self->sent_count++;
    }
}

err_t load_run_turn(load_run_t *self, int wait_ms, errbuf_t *errbuf)
{
    int64_t now_ns = env_clock_now().mono_ns;
    s_review_connection(self);
    s_review_overdue(self, now_ns);
    s_send(self, now_ns);
    now_ns = ctl_client_turn(self->options.client, wait_ms).mono_ns;
    if (self->count == 0) {
        self->progress_ns = now_ns;
    }
    if (self->failed) {
        *errbuf = self->failure;
        return ERR_INVALID;
    }
    if (now_ns - self->progress_ns > (int64_t)self->options.give_up_ms * ENV_NS_PER_MS) {
        bool is_up = ctl_client_is_up(self->options.client, self->options.gateway);
        errbuf_set(errbuf,
                   "nothing was taken for %u s (%s): see tidalctl status, then load the same file "
                   "again, which goes on where this ended",
                   self->options.give_up_ms / 1000,
                   self->trouble.text[0] != '\0' ? self->trouble.text
                   : is_up                       ? "no answer"
                                                 : "no connection to the gateway");
        return ERR_TIMEOUT;
    }
    return ERR_OK;
}

/* -- life -------------------------------------------------------------------------------------- */

err_t load_run_new(const load_run_options_t *options, load_run_t **ret_run, errbuf_t *errbuf)
{
    CHECK(options->in_flight_max >= 1 && options->in_flight_max <= LOAD_IN_FLIGHT_MAX);
    err_t err = ctl_client_open(options->client, options->gateway, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    load_run_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->options = *options;
    self->first_id = 1;
    self->progress_ns = env_clock_now().mono_ns;
    ctl_client_on_reply(options->client, s_on_reply, self);
    *ret_run = self;
    return ERR_OK;
}

void load_run_destroy(load_run_t **self_p)
{
    load_run_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    ctl_client_on_reply(self->options.client, NULL, NULL);
    for (size_t i = 0; i < self->count; i++) {
        buffer_done(&s_at(self, i)->body);
    }
    free(self->entries);
    free(self);
    *self_p = NULL;
}

const load_run_totals_t *load_run_totals(const load_run_t *self)
{
    return &self->totals;
}

const char *load_run_trouble(const load_run_t *self)
{
    return self->trouble.text;
}
