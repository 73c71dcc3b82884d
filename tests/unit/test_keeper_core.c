/* The keeper core, driven by events with virtual time. What a step does is compared as one line of
 * text: `start` START_CHILD, `sig N`, `ok`, `no_child` or `refuse` the answer, `exit N`, and
 * reports by name.
 */
#include "services/keeper/keeper.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TRACE_SIZE = 256 };

typedef struct {
    keeper_t keeper;
    int64_t now_ms;
    char trace[TRACE_SIZE];
} fixture_t;

static const char *s_report_text(keeper_report_t report)
{
    static const char *const s_names[] = {"started",  "no_command", "exited",      "config", "held",
                                          "released", "stopping",   "stop_forced", "stopped"};
    return s_names[report];
}

static void s_append(fixture_t *self, const char *format, int value)
{
    size_t used = strlen(self->trace);
    if (used > 0) {
        self->trace[used] = ' ';
        used++;
    }
    char text[64];
    (void)snprintf(text, sizeof(text), "%s %d", format, value);
    (void)snprintf(self->trace + used, TRACE_SIZE - used, "%s", text);
}

static void s_append_word(fixture_t *self, const char *word)
{
    size_t used = strlen(self->trace);
    (void)snprintf(self->trace + used, TRACE_SIZE - used, "%s%s", used > 0 ? " " : "", word);
}

static void s_append_effect(fixture_t *self, const keeper_effect_t *effect)
{
    switch (effect->kind) {
    case KEEPER_EFFECT_START_CHILD:
        s_append_word(self, "start");
        break;
    case KEEPER_EFFECT_SIGNAL_CHILD:
        s_append(self, "sig", effect->signal_number);
        break;
    case KEEPER_EFFECT_ANSWER:
        if (effect->err == ERR_OK) {
            s_append_word(self, "ok");
        } else {
            s_append_word(self, effect->err == ERR_NOT_FOUND ? "no_child" : "refuse");
        }
        break;
    case KEEPER_EFFECT_REPORT:
        s_append_word(self, s_report_text(effect->report));
        break;
    case KEEPER_EFFECT_EXIT:
        s_append(self, "exit", effect->status);
        break;
    }
}

/* Steps, and expects exactly this trace. */
static void s_expect(fixture_t *self, keeper_event_t event, const char *trace)
{
    keeper_effects_t effects;
    event.now_ms = self->now_ms;
    self->trace[0] = '\0';
    keeper_step(&self->keeper, &event, &effects);
    for (unsigned i = 0; i < effects.count; i++) {
        s_append_effect(self, &effects.items[i]);
    }
    assert_string_equal(self->trace, trace);
}

static keeper_event_t s_event(keeper_event_kind_t kind)
{
    return (keeper_event_t){.kind = kind};
}

static keeper_event_t s_started(int64_t pid)
{
    return (keeper_event_t){.kind = KEEPER_EVENT_STARTED, .pid = pid};
}

static keeper_event_t s_exited(int status)
{
    return (keeper_event_t){.kind = KEEPER_EVENT_EXITED, .exit = {.value = status}};
}

static keeper_event_t s_killed(int signal_number)
{
    return (keeper_event_t){.kind = KEEPER_EVENT_EXITED,
                            .exit = {.signaled = true, .value = signal_number}};
}

static keeper_event_t s_kill(int signal_number, bool hold)
{
    return (keeper_event_t){
        .kind = KEEPER_EVENT_KILL, .signal_number = signal_number, .hold = hold};
}

static keeper_event_t s_stop(int signal_number)
{
    return (keeper_event_t){.kind = KEEPER_EVENT_STOP, .signal_number = signal_number};
}

static void s_init(fixture_t *self)
{
    *self = (fixture_t){.now_ms = 1000};
    keeper_init(&self->keeper);
}

static void s_init_running(fixture_t *self)
{
    s_init(self);
    s_expect(self, s_event(KEEPER_EVENT_START), "start");
    s_expect(self, s_started(7), "started");
    assert_int_equal(self->keeper.state, KEEPER_RUNNING);
}

/* The child ends at once; expects the restart after exactly wait_ms. */
static void s_expect_restart_after(fixture_t *self, keeper_event_t end, int64_t wait_ms)
{
    s_expect(self, end, "exited");
    assert_int_equal(keeper_deadline_ms(&self->keeper), self->now_ms + wait_ms);
    self->now_ms += wait_ms - 1;
    s_expect(self, s_event(KEEPER_EVENT_TIMER), "");
    self->now_ms += 1;
    s_expect(self, s_event(KEEPER_EVENT_TIMER), "start");
    s_expect(self, s_started(8), "started");
}

/* Goal: a command that was never there ends the keeper, instead of being tried for ever. */
static void test_keeper_no_command_at_first_start_exits_127(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init(&fixture);
    s_expect(&fixture, s_event(KEEPER_EVENT_START), "start");
    s_expect(&fixture, s_event(KEEPER_EVENT_NO_START), "no_command stopped exit 127");
    assert_int_equal(fixture.keeper.state, KEEPER_STOPPED);
}

/* Goal: a command that vanishes later, as in a rebuild, is retried at the slowest pace. */
static void test_keeper_no_command_at_restart_retries_slowly(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_exited(1), "exited");
    fixture.now_ms += KEEPER_BACKOFF_MS_MIN;
    s_expect(&fixture, s_event(KEEPER_EVENT_TIMER), "start");
    s_expect(&fixture, s_event(KEEPER_EVENT_NO_START), "no_command");
    assert_int_equal(keeper_deadline_ms(&fixture.keeper), fixture.now_ms + KEEPER_BACKOFF_MS_MAX);
}

/* Goal: the pause between restarts doubles from 100 ms and stays at 5 s. */
static void test_keeper_child_keeps_failing_backs_off_to_the_bound(void **state)
{
    (void)state;
    static const int64_t s_waits_ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    fixture_t fixture;
    s_init_running(&fixture);
    for (unsigned i = 0; i < sizeof(s_waits_ms) / sizeof(s_waits_ms[0]); i++) {
        s_expect_restart_after(&fixture, s_exited(1), s_waits_ms[i]);
    }
    assert_int_equal(fixture.keeper.restart_count, 8);
}

/* Goal: one millisecond short of a good life changes nothing, a good life resets the pause. */
static void test_keeper_child_lived_long_enough_resets_backoff(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect_restart_after(&fixture, s_exited(1), 100);
    fixture.now_ms += KEEPER_LIFE_MS_GOOD - 1;
    s_expect_restart_after(&fixture, s_exited(1), 200);
    fixture.now_ms += KEEPER_LIFE_MS_GOOD;
    s_expect_restart_after(&fixture, s_exited(1), 100);
}

/* Goal: exit status 78 is reported as such and retried at the slowest pace, at its first time. */
static void test_keeper_child_exits_with_config_error_retries_slowly(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_exited(KEEPER_EXIT_CONFIG), "config");
    assert_int_equal(keeper_deadline_ms(&fixture.keeper), fixture.now_ms + KEEPER_BACKOFF_MS_MAX);
}

/* Goal: signal 78 is no exit status 78. */
static void test_keeper_child_killed_by_signal_of_that_number_is_no_config_error(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_killed(KEEPER_EXIT_CONFIG), "exited");
}

/* Goal: a kill that an operator asked for is no fault: the pause does not grow. */
static void test_keeper_operator_kills_twice_restarts_at_once_each_time(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_kill(SIGKILL, false), "sig 9 ok");
    s_expect_restart_after(&fixture, s_killed(SIGKILL), 100);
    s_expect(&fixture, s_kill(SIGKILL, false), "sig 9 ok");
    s_expect_restart_after(&fixture, s_killed(SIGKILL), 100);
    s_expect_restart_after(&fixture, s_killed(SIGSEGV), 200);
}

/* Goal: a held process stays down until it is released, however long that takes. */
static void test_keeper_kill_and_hold_stays_down_until_release(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_kill(SIGKILL, true), "sig 9 ok");
    assert_int_equal(fixture.keeper.state, KEEPER_HOLDING);
    s_expect(&fixture, s_killed(SIGKILL), "exited held");
    assert_int_equal(keeper_deadline_ms(&fixture.keeper), -1);
    fixture.now_ms += INT64_C(1000000);
    s_expect(&fixture, s_event(KEEPER_EVENT_TIMER), "");
    s_expect(&fixture, s_kill(SIGKILL, true), "ok");
    s_expect(&fixture, s_kill(SIGKILL, false), "no_child");
    s_expect(&fixture, s_event(KEEPER_EVENT_RELEASE), "released start ok");
    s_expect(&fixture, s_started(9), "started");
    s_expect(&fixture, s_event(KEEPER_EVENT_RELEASE), "ok");
}

/* Goal: a hold reaches a process that is between two starts. */
static void test_keeper_hold_in_backoff_prevents_the_restart(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_exited(1), "exited");
    s_expect(&fixture, s_kill(SIGKILL, false), "no_child");
    s_expect(&fixture, s_kill(SIGKILL, true), "held ok");
    fixture.now_ms += KEEPER_BACKOFF_MS_MAX;
    s_expect(&fixture, s_event(KEEPER_EVENT_TIMER), "");
    assert_int_equal(fixture.keeper.state, KEEPER_HELD);
}

/* Goal: a hold by STOP freezes the process; release thaws the same one. */
static void test_keeper_hold_by_stop_signal_continues_at_release(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_kill(SIGSTOP, true), "sig 19 ok");
    s_expect(&fixture, s_event(KEEPER_EVENT_RELEASE), "sig 18 released ok");
    assert_int_equal(fixture.keeper.pid, 7);
    s_expect(&fixture, s_exited(1), "exited");
    assert_int_equal(fixture.keeper.state, KEEPER_BACKOFF);
}

/* Goal: stop forwards one signal, waits for the child, and is a success whatever its status. */
static void test_keeper_stop_forwards_once_and_exits_0(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_stop(SIGINT), "sig 2 sig 18 stopping");
    s_expect(&fixture, s_stop(SIGTERM), "");
    s_expect(&fixture, s_kill(SIGKILL, false), "refuse");
    s_expect(&fixture, s_event(KEEPER_EVENT_RELEASE), "refuse");
    s_expect(&fixture, s_exited(3), "stopped exit 0");
    s_expect(&fixture, s_stop(SIGTERM), "");
}

/* Goal: a child that does not stop is killed once, at the bound, and that is no success. */
static void test_keeper_stop_not_obeyed_kills_after_3500_ms(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_stop(SIGTERM), "sig 15 sig 18 stopping");
    fixture.now_ms += KEEPER_STOP_MS_MAX - 1;
    s_expect(&fixture, s_event(KEEPER_EVENT_TIMER), "");
    fixture.now_ms += 1;
    s_expect(&fixture, s_event(KEEPER_EVENT_TIMER), "sig 9 stop_forced");
    fixture.now_ms += KEEPER_STOP_MS_MAX;
    s_expect(&fixture, s_event(KEEPER_EVENT_TIMER), "");
    s_expect(&fixture, s_killed(SIGKILL), "stopped exit 1");
}

/* Goal: stop without a child ends at once, and nothing starts afterwards. */
static void test_keeper_stop_in_backoff_exits_without_a_start(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_exited(1), "exited");
    s_expect(&fixture, s_stop(SIGTERM), "stopped exit 0");
    fixture.now_ms += KEEPER_BACKOFF_MS_MAX;
    s_expect(&fixture, s_event(KEEPER_EVENT_TIMER), "");
}

/* Goal: a process that was told to hold and then to stop is stopped, not held. */
static void test_keeper_stop_while_holding_exits_0(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init_running(&fixture);
    s_expect(&fixture, s_kill(SIGSTOP, true), "sig 19 ok");
    s_expect(&fixture, s_stop(SIGTERM), "sig 15 sig 18 stopping");
    s_expect(&fixture, s_exited(0), "stopped exit 0");
}

/* Goal: every state has the word that scripts read. */
static void test_keeper_state_text_names_every_state(void **state)
{
    (void)state;
    static const char *const s_words[] = {"idle",    "starting", "running",  "backoff",
                                          "holding", "held",     "stopping", "stopped"};
    for (unsigned i = 0; i < sizeof(s_words) / sizeof(s_words[0]); i++) {
        assert_string_equal(keeper_state_text((keeper_state_t)i), s_words[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeper_no_command_at_first_start_exits_127),
        cmocka_unit_test(test_keeper_no_command_at_restart_retries_slowly),
        cmocka_unit_test(test_keeper_child_keeps_failing_backs_off_to_the_bound),
        cmocka_unit_test(test_keeper_child_lived_long_enough_resets_backoff),
        cmocka_unit_test(test_keeper_child_exits_with_config_error_retries_slowly),
        cmocka_unit_test(test_keeper_child_killed_by_signal_of_that_number_is_no_config_error),
        cmocka_unit_test(test_keeper_operator_kills_twice_restarts_at_once_each_time),
        cmocka_unit_test(test_keeper_kill_and_hold_stays_down_until_release),
        cmocka_unit_test(test_keeper_hold_in_backoff_prevents_the_restart),
        cmocka_unit_test(test_keeper_hold_by_stop_signal_continues_at_release),
        cmocka_unit_test(test_keeper_stop_forwards_once_and_exits_0),
        cmocka_unit_test(test_keeper_stop_not_obeyed_kills_after_3500_ms),
        cmocka_unit_test(test_keeper_stop_in_backoff_exits_without_a_start),
        cmocka_unit_test(test_keeper_stop_while_holding_exits_0),
        cmocka_unit_test(test_keeper_state_text_names_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
