#include "common/replication/completer.h"

#include "common/base/check.h"

#include <stdlib.h>

/* Another shard. */
typedef struct {
    uint64_t done_order;    /* it has all up to here */
    uint64_t through_order; /* the message under way */
    uint64_t request_id;    /* of it; 0: none is under way */
    int64_t due_ns;         /* not sent to before; while one is under way: when that is given up */
    uint32_t failures;      /* in a row */
} s_shard_t;

struct completer {
    completer_options_t options;
    s_shard_t shards[SHARD_COUNT_MAX];
    uint64_t marked_order; /* pending at the last mark */
    uint64_t due_order;    /* pending for the grace time */
    uint64_t logged_order;
    int64_t next_mark_ns;
};

completer_t *completer_new(const completer_options_t *options)
{
    completer_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    CHECK(options->shard_count >= 1 && options->shard_count <= SHARD_COUNT_MAX);
    CHECK(options->self_shard.value < options->shard_count);
    CHECK(options->retry_ns > 0 && options->retry_max_ns >= options->retry_ns);
    self->options = *options;
    return self;
}

void completer_destroy(completer_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static bool s_is_other(const completer_t *self, uint32_t shard)
{
    return shard != self->options.self_shard.value;
}

static void s_reset(completer_t *self)
{
    completer_options_t options = self->options;
    *self = (completer_t){.options = options};
}

static void s_fail(const completer_t *self, s_shard_t *shard, int64_t now_ns)
{
    int64_t pause_ns = self->options.retry_ns;
    for (uint32_t i = 0; i < shard->failures && pause_ns < self->options.retry_max_ns; i++) {
        pause_ns *= 2;
    }
    shard->failures++;
    shard->request_id = 0;
    shard->due_ns =
        now_ns + (pause_ns < self->options.retry_max_ns ? pause_ns : self->options.retry_max_ns);
}

/* What was pending at the mark before the last one is due. */
static void s_mark(completer_t *self, const completer_event_t *event)
{
    if (event->now_ns >= self->next_mark_ns) {
        self->due_order = self->marked_order;
        self->marked_order = event->through_order;
        self->next_mark_ns = event->now_ns + self->options.grace_ns;
    }
}

static void s_tick(completer_t *self,
                   const completer_event_t *event,
                   completer_effects_t *ret_effects)
{
    s_mark(self, event);
    uint64_t held_order = UINT64_MAX;
    for (uint32_t i = 0; i < self->options.shard_count; i++) {
        s_shard_t *shard = &self->shards[i];
        if (!s_is_other(self, i)) {
            continue;
        }
        if (shard->request_id != 0 && event->now_ns >= shard->due_ns) {
            s_fail(self, shard, event->now_ns);
        }
        if (shard->request_id == 0 && event->now_ns >= shard->due_ns &&
            shard->done_order < self->due_order) {
            ret_effects->list[ret_effects->count++] =
                (completer_effect_t){.kind = COMPLETER_EFFECT_SEND,
                                     .shard = {(uint16_t)i},
                                     .after_order = shard->done_order,
                                     .through_order = self->due_order};
        }
        held_order = shard->done_order < held_order ? shard->done_order : held_order;
    }
    if (self->options.shard_count > 1 && held_order > self->logged_order) {
        CHECK(ret_effects->count < COMPLETER_EFFECT_COUNT_MAX);
        ret_effects->list[ret_effects->count++] =
            (completer_effect_t){.kind = COMPLETER_EFFECT_LOG,
                                 .after_order = self->logged_order,
                                 .through_order = held_order};
    }
}

static void s_done(s_shard_t *shard, uint64_t through_order, int64_t now_ns)
{
    CHECK(through_order > shard->done_order);
    shard->done_order = through_order;
    shard->request_id = 0;
    shard->failures = 0;
    shard->due_ns = now_ns;
}

static void s_answered(completer_t *self, const completer_event_t *event)
{
    for (uint32_t i = 0; i < self->options.shard_count; i++) {
        s_shard_t *shard = &self->shards[i];
        if (shard->request_id == 0 || shard->request_id != event->request_id) {
            continue;
        }
        if (event->ok) {
            s_done(shard, shard->through_order, event->now_ns);
        } else {
            s_fail(self, shard, event->now_ns);
        }
    }
}

static s_shard_t *s_shard(completer_t *self, shard_id_t shard)
{
    CHECK(shard.value < self->options.shard_count && s_is_other(self, shard.value));
    return &self->shards[shard.value];
}

static void s_sent(completer_t *self, const completer_event_t *event)
{
    s_shard_t *shard = s_shard(self, event->shard);
    CHECK(shard->request_id == 0 && event->request_id != 0);
    CHECK(event->through_order > shard->done_order && event->through_order <= self->due_order);
    shard->request_id = event->request_id;
    shard->through_order = event->through_order;
    shard->due_ns = event->now_ns + self->options.answer_ns;
}

void completer_step(completer_t *self,
                    const completer_event_t *event,
                    completer_effects_t *ret_effects)
{
    ret_effects->count = 0;
    switch (event->kind) {
    case COMPLETER_EVENT_TICK:
        s_tick(self, event, ret_effects);
        break;
    case COMPLETER_EVENT_SENT:
        s_sent(self, event);
        break;
    case COMPLETER_EVENT_EMPTY:
        s_done(s_shard(self, event->shard), event->through_order, event->now_ns);
        break;
    case COMPLETER_EVENT_FAILED:
        s_fail(self, s_shard(self, event->shard), event->now_ns);
        break;
    case COMPLETER_EVENT_ANSWER:
        s_answered(self, event);
        break;
    case COMPLETER_EVENT_LOGGED:
        CHECK(event->through_order > self->logged_order);
        self->logged_order = event->through_order;
        break;
    case COMPLETER_EVENT_RESET:
        s_reset(self);
        break;
    }
}
