#include "common/replication/applier.h"

#include "common/base/bounds.h"
#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/replication/stream_index.h"

#include <assert.h>
#include <stdlib.h>

/* One event gives at most one judgement of a batch or announcement, then READs into free slots. */
static_assert((int)APPLIER_EFFECT_COUNT_MAX >= 1 + (int)APPLIER_READING_COUNT_MAX, "effects fit");

enum { NONE = -1 };

static const int64_t s_ns_per_ms = 1000000;

typedef enum { STATE_IDLE, STATE_QUEUED, STATE_READING, STATE_WAITING } s_state_t;

typedef struct {
    stream_id_t stream;
    s_state_t state;
    bool has_boot;
    uint64_t boot; /* of the latest announcement, when has_boot */
    uint64_t applied_seq;
    uint64_t available_seq;
    uint64_t mark_seq;    /* to be applied for readiness; 0 nothing */
    uint64_t through_seq; /* while READING */
    int64_t retry_ns;     /* while WAITING */
    uint32_t retry_ms;    /* of the latest failure in a row; 0 none */
    int32_t next;         /* row behind this one in the line while QUEUED, or NONE */
} s_row_t;

struct applier {
    stream_index_t index;
    s_row_t *rows;
    uint32_t row_capacity;
    int32_t queue_first;
    int32_t queue_last;
    uint32_t reading_count;
    uint32_t waiting_count;
    int64_t earliest_retry_ns; /* INT64_MAX when nothing waits */
    bool has_mark;
    uint32_t behind_mark_count; /* streams with applied < mark */
};

static void s_invariant(const applier_t *self)
{
    CHECK(self->index.count <= self->row_capacity);
    CHECK(self->reading_count <= APPLIER_READING_COUNT_MAX);
    CHECK(self->waiting_count + self->reading_count <= self->index.count);
    CHECK(self->behind_mark_count <= self->index.count);
    CHECK((self->queue_first == NONE) == (self->queue_last == NONE));
    CHECK((self->waiting_count == 0) == (self->earliest_retry_ns == INT64_MAX));
    CHECK_IMPLIES(self->behind_mark_count > 0, self->has_mark);
}

static void s_row_invariant(const s_row_t *row)
{
    CHECK(row->applied_seq <= row->available_seq);
    CHECK_IMPLIES(row->state == STATE_WAITING, row->retry_ms >= APPLIER_RETRY_MS_MIN);
    CHECK_IMPLIES(row->state == STATE_IDLE, row->applied_seq == row->available_seq);
    CHECK(row->retry_ms <= APPLIER_RETRY_MS_MAX);
}

applier_t *applier_new(void)
{
    applier_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    stream_index_init(&self->index);
    self->queue_first = NONE;
    self->queue_last = NONE;
    self->earliest_retry_ns = INT64_MAX;
    s_invariant(self);
    return self;
}

void applier_destroy(applier_t **self_p)
{
    applier_t *self = *self_p;
    if (self != NULL) {
        stream_index_done(&self->index);
        free(self->rows);
        free(self);
        *self_p = NULL;
    }
}

/* NULL when there is no room for one more stream. */
static s_row_t *s_require(applier_t *self, stream_id_t stream)
{
    uint32_t row;
    bool is_new;
    if (stream_index_require(&self->index, stream, &row, &is_new) != ERR_OK) {
        return NULL;
    }
    if (self->index.count > self->row_capacity) {
        uint32_t capacity = self->index.capacity;
        s_row_t *rows = realloc(self->rows, capacity * sizeof(*rows));
        CHECK(rows != NULL);
        self->rows = rows;
        self->row_capacity = capacity;
    }
    if (is_new) {
        self->rows[row] = (s_row_t){.stream = stream, .next = NONE};
    }
    return &self->rows[row];
}

static void s_push(applier_effects_t *effects, applier_effect_t effect)
{
    CHECK(effects->count < APPLIER_EFFECT_COUNT_MAX);
    effects->list[effects->count++] = effect;
}

static void s_alert(applier_effects_t *effects, applier_effect_t effect)
{
    CHECK(effect.alert != APPLIER_ALERT_NONE);
    effect.kind = APPLIER_EFFECT_ALERT;
    s_push(effects, effect);
}

/* -- the line ---------------------------------------------------------------------------------- */

static void s_enqueue(applier_t *self, s_row_t *row)
{
    int32_t index = (int32_t)(row - self->rows);
    row->state = STATE_QUEUED;
    row->next = NONE;
    if (self->queue_last == NONE) {
        self->queue_first = index;
    } else {
        self->rows[self->queue_last].next = index;
    }
    self->queue_last = index;
}

/* To the end of the line, or to rest when there is nothing to read. */
static void s_settle(applier_t *self, s_row_t *row)
{
    if (row->available_seq > row->applied_seq) {
        s_enqueue(self, row);
    } else {
        row->state = STATE_IDLE;
    }
}

static void s_start_reads(applier_t *self, applier_effects_t *effects)
{
    while (self->reading_count < APPLIER_READING_COUNT_MAX && self->queue_first != NONE) {
        s_row_t *row = &self->rows[self->queue_first];
        self->queue_first = row->next;
        if (self->queue_first == NONE) {
            self->queue_last = NONE;
        }
        row->state = STATE_IDLE;
        uint64_t count = row->available_seq - row->applied_seq;
        if (count == 0) {
            continue; /* applied elsewhere meanwhile */
        }
        count = count < APPLIER_READ_EVENT_COUNT_MAX ? count : APPLIER_READ_EVENT_COUNT_MAX;
        row->state = STATE_READING;
        row->through_seq = row->applied_seq + count;
        self->reading_count++;
        s_push(effects, (applier_effect_t){.kind = APPLIER_EFFECT_READ,
                                           .stream = row->stream,
                                           .first_seq = row->applied_seq + 1,
                                           .last_seq = row->through_seq});
    }
}

/* -- retries ----------------------------------------------------------------------------------- */

static void s_find_earliest_retry(applier_t *self)
{
    self->earliest_retry_ns = INT64_MAX;
    for (uint32_t i = 0; i < self->index.count && self->waiting_count > 0; i++) {
        const s_row_t *row = &self->rows[i];
        if (row->state == STATE_WAITING && row->retry_ns < self->earliest_retry_ns) {
            self->earliest_retry_ns = row->retry_ns;
        }
    }
}

static void s_end_waiting(applier_t *self, s_row_t *row)
{
    CHECK(row->state == STATE_WAITING);
    self->waiting_count--;
    s_settle(self, row);
}

static void s_end_due_retries(applier_t *self, int64_t now_ns)
{
    if (now_ns < self->earliest_retry_ns) {
        return;
    }
    for (uint32_t i = 0; i < self->index.count; i++) {
        s_row_t *row = &self->rows[self->index.entries[i].row];
        if (row->state == STATE_WAITING && row->retry_ns <= now_ns) {
            s_end_waiting(self, row);
        }
    }
    s_find_earliest_retry(self);
}

static void s_fail_read(applier_t *self, s_row_t *row, int64_t now_ns)
{
    CHECK(row->state == STATE_READING);
    self->reading_count--;
    uint32_t retry_ms = row->retry_ms == 0 ? APPLIER_RETRY_MS_MIN : row->retry_ms * 2;
    row->retry_ms = retry_ms < APPLIER_RETRY_MS_MAX ? retry_ms : APPLIER_RETRY_MS_MAX;
    row->retry_ns = now_ns + row->retry_ms * s_ns_per_ms;
    row->state = STATE_WAITING;
    self->waiting_count++;
    if (row->retry_ns < self->earliest_retry_ns) {
        self->earliest_retry_ns = row->retry_ns;
    }
}

/* -- events ------------------------------------------------------------------------------------ */

static void s_raise_applied(applier_t *self, s_row_t *row, uint64_t seq)
{
    CHECK(seq >= row->applied_seq);
    bool was_behind = row->applied_seq < row->mark_seq;
    row->applied_seq = seq;
    if (was_behind && seq >= row->mark_seq) {
        self->behind_mark_count--;
    }
    if (row->available_seq < seq) {
        row->available_seq = seq;
    }
}

static void s_on_stream(applier_t *self, s_row_t *row, uint64_t applied_seq)
{
    if (applied_seq > row->applied_seq) {
        s_raise_applied(self, row, applied_seq);
    }
}

/* The receiver started anew: what it announced before counts no more. */
static void s_on_boot(applier_t *self,
                      s_row_t *row,
                      const applier_event_t *event,
                      applier_effects_t *effects)
{
    uint64_t seq = event->as.available.seq;
    row->has_boot = true;
    row->boot = event->as.available.boot;
    if (seq < row->applied_seq) {
        s_alert(effects, (applier_effect_t){.alert = APPLIER_ALERT_LOST,
                                            .stream = row->stream,
                                            .first_seq = seq + 1,
                                            .last_seq = row->applied_seq});
    }
    row->available_seq = seq < row->applied_seq ? row->applied_seq : seq;
    row->retry_ms = 0;
    if (row->state == STATE_WAITING) {
        s_end_waiting(self, row);
        s_find_earliest_retry(self);
    }
}

static void s_on_available(applier_t *self,
                           s_row_t *row,
                           const applier_event_t *event,
                           applier_effects_t *effects)
{
    uint64_t seq = event->as.available.seq;
    if (!row->has_boot || row->boot != event->as.available.boot) {
        s_on_boot(self, row, event, effects);
    } else if (seq > row->available_seq) {
        row->available_seq = seq;
    }
    if (row->state == STATE_IDLE) {
        s_settle(self, row);
    }
}

/* What keeps a batch from being applied or skipped. */
static applier_alert_t s_judge(const s_row_t *row, uint64_t first_seq, uint64_t last_seq)
{
    if (last_seq <= row->applied_seq) {
        return APPLIER_ALERT_NONE;
    }
    if (first_seq <= row->applied_seq) {
        return APPLIER_ALERT_OVERLAP;
    }
    if (first_seq > row->applied_seq + 1 && !MUTANT(SKIP_GAP_CHECK)) {
        return APPLIER_ALERT_GAP;
    }
    return last_seq > row->available_seq ? APPLIER_ALERT_NOT_ANNOUNCED : APPLIER_ALERT_NONE;
}

static void s_on_batch(applier_t *self,
                       s_row_t *row,
                       const applier_event_t *event,
                       applier_effects_t *effects)
{
    uint64_t first_seq = event->as.batch.first_seq;
    uint64_t last_seq = event->as.batch.last_seq;
    CHECK(first_seq >= 1);
    CHECK(last_seq >= first_seq);
    applier_effect_t effect = {.stream = row->stream, .first_seq = first_seq, .last_seq = last_seq};
    effect.alert = s_judge(row, first_seq, last_seq);
    if (effect.alert != APPLIER_ALERT_NONE) {
        s_alert(effects, effect);
        if (row->state == STATE_READING) {
            s_fail_read(self, row, event->now_ns);
        }
        return;
    }
    if (last_seq <= row->applied_seq) {
        effect.kind = APPLIER_EFFECT_SKIP;
    } else {
        effect.kind = APPLIER_EFFECT_APPLY;
        s_raise_applied(self, row, last_seq);
    }
    s_push(effects, effect);
    if (row->state == STATE_READING && last_seq >= row->through_seq) {
        self->reading_count--;
        row->retry_ms = 0;
        s_settle(self, row);
    }
}

static void s_on_read_failed(applier_t *self,
                             s_row_t *row,
                             const applier_event_t *event,
                             applier_effects_t *effects)
{
    if (row->state != STATE_READING) {
        return; /* ended by an ALERT before */
    }
    s_alert(effects, (applier_effect_t){.alert = APPLIER_ALERT_READ_FAILED,
                                        .err = event->as.read_err,
                                        .stream = row->stream,
                                        .first_seq = row->applied_seq + 1,
                                        .last_seq = row->through_seq});
    s_fail_read(self, row, event->now_ns);
}

static void s_on_stream_event(applier_t *self,
                              const applier_event_t *event,
                              applier_effects_t *effects)
{
    s_row_t *row = s_require(self, event->stream);
    if (row == NULL) {
        s_alert(effects, (applier_effect_t){.alert = APPLIER_ALERT_FULL, .stream = event->stream});
        return;
    }
    switch (event->kind) {
    case APPLIER_EVENT_STREAM:
        s_on_stream(self, row, event->as.applied_seq);
        break;
    case APPLIER_EVENT_AVAILABLE:
        s_on_available(self, row, event, effects);
        break;
    case APPLIER_EVENT_BATCH:
        s_on_batch(self, row, event, effects);
        break;
    case APPLIER_EVENT_READ_FAILED:
        s_on_read_failed(self, row, event, effects);
        break;
    case APPLIER_EVENT_TICK:
        break;
    }
    s_row_invariant(row);
}

void applier_step(applier_t *self, const applier_event_t *event, applier_effects_t *ret_effects)
{
    s_invariant(self);
    ret_effects->count = 0;
    if (event->kind != APPLIER_EVENT_TICK) {
        s_on_stream_event(self, event, ret_effects);
    }
    s_end_due_retries(self, event->now_ns);
    s_start_reads(self, ret_effects);
    s_invariant(self);
}

int64_t applier_deadline_ns(const applier_t *self)
{
    return self->earliest_retry_ns;
}

/* -- readiness and queries --------------------------------------------------------------------- */

void applier_mark_start(applier_t *self)
{
    s_invariant(self);
    self->has_mark = true;
    self->behind_mark_count = 0;
    for (uint32_t i = 0; i < self->index.count; i++) {
        s_row_t *row = &self->rows[i];
        row->mark_seq = row->available_seq;
        self->behind_mark_count += row->applied_seq < row->mark_seq ? 1 : 0;
    }
    s_invariant(self);
}

bool applier_caught_up(const applier_t *self)
{
    return self->has_mark && self->behind_mark_count == 0;
}

static const s_row_t *s_find(const applier_t *self, stream_id_t stream)
{
    uint32_t row;
    return stream_index_find(&self->index, stream, &row) ? &self->rows[row] : NULL;
}

uint64_t applier_applied_seq(const applier_t *self, stream_id_t stream)
{
    const s_row_t *row = s_find(self, stream);
    return row == NULL ? 0 : row->applied_seq;
}

uint64_t applier_available_seq(const applier_t *self, stream_id_t stream)
{
    const s_row_t *row = s_find(self, stream);
    return row == NULL ? 0 : row->available_seq;
}
