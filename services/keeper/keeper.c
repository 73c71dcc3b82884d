#include "services/keeper/keeper.h"

#include "common/base/check.h"

#include <signal.h>
#include <stddef.h>

typedef struct {
    const char *name;
    unsigned next; /* bit i: a move to state i is allowed */
    bool has_child;
} keeper_state_row_t;

#define NEXT(state) (1U << (state))

static const keeper_state_row_t s_states[] = {
    [KEEPER_IDLE] = {"idle", NEXT(KEEPER_STARTING), false},
    [KEEPER_STARTING] = {"starting",
                         NEXT(KEEPER_RUNNING) | NEXT(KEEPER_BACKOFF) | NEXT(KEEPER_STOPPED), false},
    [KEEPER_RUNNING] = {"running",
                        NEXT(KEEPER_BACKOFF) | NEXT(KEEPER_HOLDING) | NEXT(KEEPER_STOPPING), true},
    [KEEPER_BACKOFF] = {"backoff", NEXT(KEEPER_STARTING) | NEXT(KEEPER_HELD) | NEXT(KEEPER_STOPPED),
                        false},
    [KEEPER_HOLDING] = {"holding", NEXT(KEEPER_HELD) | NEXT(KEEPER_RUNNING) | NEXT(KEEPER_STOPPING),
                        true},
    [KEEPER_HELD] = {"held", NEXT(KEEPER_STARTING) | NEXT(KEEPER_STOPPED), false},
    [KEEPER_STOPPING] = {"stopping", NEXT(KEEPER_STOPPED), true},
    [KEEPER_STOPPED] = {"stopped", 0, false},
};

static void s_invariant(const keeper_t *self)
{
    CHECK(s_states[self->state].has_child == (self->pid > 0));
    CHECK(self->backoff_ms >= KEEPER_BACKOFF_MS_MIN);
    CHECK(self->backoff_ms <= KEEPER_BACKOFF_MS_MAX);
    CHECK_IMPLIES(self->state == KEEPER_BACKOFF, self->deadline_ms >= 0);
    CHECK_IMPLIES(self->state == KEEPER_HELD, self->deadline_ms < 0);
    CHECK_IMPLIES(self->state == KEEPER_STOPPED, self->deadline_ms < 0);
}

static keeper_effect_t *s_effect(keeper_effects_t *effects, keeper_effect_kind_t kind)
{
    CHECK(effects->count < KEEPER_EFFECT_COUNT_MAX);
    keeper_effect_t *effect = &effects->items[effects->count];
    effects->count++;
    *effect = (keeper_effect_t){.kind = kind};
    return effect;
}

static void s_report(keeper_effects_t *effects, keeper_report_t report)
{
    s_effect(effects, KEEPER_EFFECT_REPORT)->report = report;
}

static void s_answer(keeper_effects_t *effects, err_t err)
{
    s_effect(effects, KEEPER_EFFECT_ANSWER)->err = err;
}

static void s_signal(keeper_effects_t *effects, int signal_number)
{
    s_effect(effects, KEEPER_EFFECT_SIGNAL_CHILD)->signal_number = signal_number;
}

static void s_move(keeper_t *self, keeper_state_t state, int64_t now_ms)
{
    CHECK((s_states[self->state].next & NEXT(state)) != 0);
    self->state = state;
    self->since_ms = now_ms;
    self->deadline_ms = -1;
}

static void s_start(keeper_t *self, int64_t now_ms, keeper_effects_t *effects)
{
    s_move(self, KEEPER_STARTING, now_ms);
    (void)s_effect(effects, KEEPER_EFFECT_START_CHILD);
}

static void s_stopped(keeper_t *self, int64_t now_ms, int status, keeper_effects_t *effects)
{
    s_move(self, KEEPER_STOPPED, now_ms);
    s_report(effects, KEEPER_REPORT_STOPPED);
    s_effect(effects, KEEPER_EFFECT_EXIT)->status = status;
}

static void s_back_off(keeper_t *self, int64_t now_ms)
{
    s_move(self, KEEPER_BACKOFF, now_ms);
    self->deadline_ms = now_ms + self->backoff_ms;
    self->backoff_ms *= 2;
    if (self->backoff_ms > KEEPER_BACKOFF_MS_MAX) {
        self->backoff_ms = KEEPER_BACKOFF_MS_MAX;
    }
}

static void s_on_started(keeper_t *self, const keeper_event_t *event, keeper_effects_t *effects)
{
    CHECK(event->pid > 0);
    s_move(self, KEEPER_RUNNING, event->now_ms);
    self->pid = event->pid;
    self->started_ms = event->now_ms;
    if (self->ever_started) {
        self->restart_count++;
    }
    self->ever_started = true;
    self->asked = false;
    s_report(effects, KEEPER_REPORT_STARTED);
}

/* A command that was never there is a mistake of whoever wrote it, and is said at once. One that
 * has run before is being replaced just now: try again, slowly. */
static void s_on_no_start(keeper_t *self, const keeper_event_t *event, keeper_effects_t *effects)
{
    s_report(effects, KEEPER_REPORT_NO_COMMAND);
    if (self->ever_started) {
        self->backoff_ms = KEEPER_BACKOFF_MS_MAX;
        s_back_off(self, event->now_ms);
        return;
    }
    s_stopped(self, event->now_ms, KEEPER_EXIT_NO_COMMAND, effects);
}

static void s_choose_backoff(keeper_t *self, int64_t now_ms)
{
    bool lived = now_ms - self->started_ms >= KEEPER_LIFE_MS_GOOD;
    if (!self->exit.signaled && self->exit.value == KEEPER_EXIT_CONFIG) {
        self->backoff_ms = KEEPER_BACKOFF_MS_MAX;
    } else if (lived || self->asked) {
        self->backoff_ms = KEEPER_BACKOFF_MS_MIN;
    }
}

static void s_on_exited(keeper_t *self, const keeper_event_t *event, keeper_effects_t *effects)
{
    keeper_state_t before = self->state;
    self->pid = 0;
    self->exit = event->exit;
    if (before == KEEPER_STOPPING) {
        s_stopped(self, event->now_ms, self->stop_forced ? 1 : 0, effects);
        return;
    }
    if (before == KEEPER_HOLDING) {
        s_move(self, KEEPER_HELD, event->now_ms);
        s_report(effects, KEEPER_REPORT_EXITED);
        s_report(effects, KEEPER_REPORT_HELD);
        return;
    }
    s_choose_backoff(self, event->now_ms);
    s_back_off(self, event->now_ms);
    bool config = !event->exit.signaled && event->exit.value == KEEPER_EXIT_CONFIG;
    s_report(effects, config ? KEEPER_REPORT_CONFIG : KEEPER_REPORT_EXITED);
}

static void s_on_timer(keeper_t *self, const keeper_event_t *event, keeper_effects_t *effects)
{
    if (self->deadline_ms < 0 || event->now_ms < self->deadline_ms) {
        return;
    }
    if (self->state == KEEPER_BACKOFF) {
        s_start(self, event->now_ms, effects);
        return;
    }
    CHECK(self->state == KEEPER_STOPPING);
    self->deadline_ms = -1;
    self->stop_forced = true;
    s_signal(effects, SIGKILL);
    s_report(effects, KEEPER_REPORT_STOP_FORCED);
}

static void s_on_stop(keeper_t *self, const keeper_event_t *event, keeper_effects_t *effects)
{
    if (self->state == KEEPER_STOPPING || self->state == KEEPER_STOPPED) {
        return;
    }
    if (self->pid == 0) {
        s_stopped(self, event->now_ms, 0, effects);
        return;
    }
    s_move(self, KEEPER_STOPPING, event->now_ms);
    self->deadline_ms = event->now_ms + KEEPER_STOP_MS_MAX;
    s_signal(effects, event->signal_number);
    /* A child that a drill has stopped cannot end until it runs. */
    s_signal(effects, SIGCONT);
    s_report(effects, KEEPER_REPORT_STOPPING);
}

static void s_on_kill(keeper_t *self, const keeper_event_t *event, keeper_effects_t *effects)
{
    if (self->state == KEEPER_STOPPING || self->state == KEEPER_STOPPED) {
        s_answer(effects, ERR_CONFLICT);
        return;
    }
    if (self->pid == 0 && !event->hold) {
        s_answer(effects, ERR_NOT_FOUND);
        return;
    }
    if (self->pid > 0) {
        self->asked = true;
        s_signal(effects, event->signal_number);
    }
    if (event->hold && self->state == KEEPER_RUNNING) {
        s_move(self, KEEPER_HOLDING, event->now_ms);
    } else if (self->state == KEEPER_BACKOFF) {
        s_move(self, KEEPER_HELD, event->now_ms);
        s_report(effects, KEEPER_REPORT_HELD);
    }
    s_answer(effects, ERR_OK);
}

/* Released twice, or never held: what was asked for is so already. */
static void s_on_release(keeper_t *self, const keeper_event_t *event, keeper_effects_t *effects)
{
    if (self->state == KEEPER_STOPPING || self->state == KEEPER_STOPPED) {
        s_answer(effects, ERR_CONFLICT);
        return;
    }
    if (self->state == KEEPER_HOLDING) {
        /* It was held by a signal that did not end it, STOP perhaps. */
        s_move(self, KEEPER_RUNNING, event->now_ms);
        s_signal(effects, SIGCONT);
        s_report(effects, KEEPER_REPORT_RELEASED);
    } else if (self->state == KEEPER_HELD || self->state == KEEPER_BACKOFF) {
        self->backoff_ms = KEEPER_BACKOFF_MS_MIN;
        s_report(effects, KEEPER_REPORT_RELEASED);
        s_start(self, event->now_ms, effects);
    }
    s_answer(effects, ERR_OK);
}

void keeper_init(keeper_t *self)
{
    *self =
        (keeper_t){.state = KEEPER_IDLE, .deadline_ms = -1, .backoff_ms = KEEPER_BACKOFF_MS_MIN};
    s_invariant(self);
}

void keeper_step(keeper_t *self, const keeper_event_t *event, keeper_effects_t *ret_effects)
{
    s_invariant(self);
    ret_effects->count = 0;
    bool is_answer = event->kind == KEEPER_EVENT_STARTED || event->kind == KEEPER_EVENT_NO_START;
    CHECK((self->state == KEEPER_STARTING) == is_answer);
    switch (event->kind) {
    case KEEPER_EVENT_START:
        s_start(self, event->now_ms, ret_effects);
        break;
    case KEEPER_EVENT_STARTED:
        s_on_started(self, event, ret_effects);
        break;
    case KEEPER_EVENT_NO_START:
        s_on_no_start(self, event, ret_effects);
        break;
    case KEEPER_EVENT_EXITED:
        CHECK(self->pid > 0);
        s_on_exited(self, event, ret_effects);
        break;
    case KEEPER_EVENT_TIMER:
        s_on_timer(self, event, ret_effects);
        break;
    case KEEPER_EVENT_STOP:
        s_on_stop(self, event, ret_effects);
        break;
    case KEEPER_EVENT_KILL:
        s_on_kill(self, event, ret_effects);
        break;
    case KEEPER_EVENT_RELEASE:
        s_on_release(self, event, ret_effects);
        break;
    }
    s_invariant(self);
}

int64_t keeper_deadline_ms(const keeper_t *self)
{
    return self->deadline_ms;
}

const char *keeper_state_text(keeper_state_t state)
{
    CHECK(state <= KEEPER_STOPPED);
    return s_states[state].name;
}
