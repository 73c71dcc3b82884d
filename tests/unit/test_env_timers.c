/* Timers: order, ties, and callbacks that change the timers they run in. */
#include "common/env/env_timers.h"

#include "common/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TIMER_COUNT = 200, FIRED_COUNT_MAX = 4096 };

typedef struct {
    env_timer_t *timer;
    env_timer_t *other; /* armed again, or destroyed, by the callback */
    unsigned number;
    int64_t arm_at_ns; /* of itself in the callback; 0 not */
} entry_t;

static unsigned s_fired[FIRED_COUNT_MAX];
static size_t s_fired_count;

static void s_on_timer(void *context, now_t now)
{
    (void)now;
    entry_t *entry = context;
    s_fired[s_fired_count++ % FIRED_COUNT_MAX] = entry->number;
    if (entry->arm_at_ns != 0) {
        env_timer_arm(entry->timer, entry->arm_at_ns);
    }
    if (entry->other != NULL) {
        env_timer_destroy(&entry->other);
    }
}

static now_t s_at(int64_t mono_ns)
{
    return (now_t){.mono_ns = mono_ns};
}

static int s_setup(void **state)
{
    s_fired_count = 0;
    *state = env_timers_new();
    return 0;
}

static int s_teardown(void **state)
{
    env_timers_t *timers = *state;
    env_timers_destroy(&timers);
    return 0;
}

/* Goal: without timers nothing is due, ever. */
static void test_env_timers_empty_never_due(void **state)
{
    env_timers_t *timers = *state;
    assert_int_equal(env_timers_next_ns(timers), INT64_MAX);
    assert_int_equal(env_timers_fire(timers, s_at(INT64_MAX)), 0);
}

/* Goal: a timer fires at its deadline, not one nanosecond before, and once. */
static void test_env_timers_deadline_is_exact(void **state)
{
    env_timers_t *timers = *state;
    entry_t entry = {.number = 7};
    entry.timer = env_timer_new(timers, s_on_timer, &entry);
    env_timer_arm(entry.timer, 100);
    assert_int_equal(env_timers_fire(timers, s_at(99)), 0);
    assert_int_equal(env_timers_fire(timers, s_at(100)), 1);
    assert_true(env_timers_next_ns(timers) == INT64_MAX);
    assert_int_equal(env_timers_fire(timers, s_at(200)), 0);
    env_timer_destroy(&entry.timer);
    env_timer_destroy(&entry.timer);
}

/* Goal: equal deadlines fire in the order of arming, arming again counts anew. */
static void test_env_timers_equal_deadlines_fire_in_order_of_arming(void **state)
{
    env_timers_t *timers = *state;
    entry_t entries[3];
    for (unsigned i = 0; i < 3; i++) {
        entries[i] = (entry_t){.number = i};
        entries[i].timer = env_timer_new(timers, s_on_timer, &entries[i]);
        env_timer_arm(entries[i].timer, 5);
    }
    env_timer_arm(entries[0].timer, 5);
    assert_int_equal(env_timers_fire(timers, s_at(5)), 3);
    assert_int_equal(s_fired[0], 1);
    assert_int_equal(s_fired[1], 2);
    assert_int_equal(s_fired[2], 0);
    for (unsigned i = 0; i < 3; i++) {
        env_timer_destroy(&entries[i].timer);
    }
}

/* Goal: a timer that arms itself for the past fires once per call and holds up nobody. */
static void test_env_timers_late_rearm_waits_for_next_call(void **state)
{
    env_timers_t *timers = *state;
    entry_t late = {.number = 1, .arm_at_ns = 1};
    entry_t other = {.number = 2};
    late.timer = env_timer_new(timers, s_on_timer, &late);
    other.timer = env_timer_new(timers, s_on_timer, &other);
    env_timer_arm(late.timer, 1);
    env_timer_arm(other.timer, 50);
    assert_int_equal(env_timers_fire(timers, s_at(60)), 2);
    assert_int_equal(env_timers_fire(timers, s_at(61)), 1);
    assert_int_equal(s_fired[1], 2);
    env_timer_destroy(&late.timer);
    env_timer_destroy(&other.timer);
}

/* Goal: a callback may destroy another timer that is due in the same call. */
static void test_env_timers_destroyed_in_callback_does_not_fire(void **state)
{
    env_timers_t *timers = *state;
    entry_t second = {.number = 2};
    entry_t first = {.number = 1, .other = env_timer_new(timers, s_on_timer, &second)};
    first.timer = env_timer_new(timers, s_on_timer, &first);
    env_timer_arm(first.timer, 1);
    env_timer_arm(first.other, 2);
    assert_int_equal(env_timers_fire(timers, s_at(3)), 1);
    env_timer_destroy(&first.timer);
}

/* Goal: the heap keeps its order under random arming and clearing. Method: many rounds against a
 * plain search for the minimum. */
static void test_env_timers_random_use_keeps_order(void **state)
{
    env_timers_t *timers = *state;
    static entry_t s_entries[TIMER_COUNT];
    static int64_t s_deadlines[TIMER_COUNT];
    prng_t prng;
    prng_init(&prng, 1);
    for (unsigned i = 0; i < TIMER_COUNT; i++) {
        s_entries[i] = (entry_t){.number = i};
        s_entries[i].timer = env_timer_new(timers, s_on_timer, &s_entries[i]);
        s_deadlines[i] = INT64_MAX;
    }
    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = (unsigned)prng_below(&prng, TIMER_COUNT);
        if (prng_chance(&prng, 0.3)) {
            env_timer_clear(s_entries[i].timer);
            s_deadlines[i] = INT64_MAX;
        } else {
            s_deadlines[i] = (int64_t)prng_below(&prng, 1000000);
            env_timer_arm(s_entries[i].timer, s_deadlines[i]);
        }
        int64_t least = INT64_MAX;
        for (unsigned j = 0; j < TIMER_COUNT; j++) {
            least = s_deadlines[j] < least ? s_deadlines[j] : least;
        }
        assert_int_equal(env_timers_next_ns(timers), least);
    }
    (void)env_timers_fire(timers, s_at(INT64_MAX - 1));
    for (size_t i = 1; i < s_fired_count; i++) {
        assert_true(s_deadlines[s_fired[i - 1]] <= s_deadlines[s_fired[i]]);
    }
    for (unsigned i = 0; i < TIMER_COUNT; i++) {
        env_timer_destroy(&s_entries[i].timer);
    }
}

int main(void)
{
#define TIMER_TEST(function) cmocka_unit_test_setup_teardown(function, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        TIMER_TEST(test_env_timers_empty_never_due),
        TIMER_TEST(test_env_timers_deadline_is_exact),
        TIMER_TEST(test_env_timers_equal_deadlines_fire_in_order_of_arming),
        TIMER_TEST(test_env_timers_late_rearm_waits_for_next_call),
        TIMER_TEST(test_env_timers_destroyed_in_callback_does_not_fire),
        TIMER_TEST(test_env_timers_random_use_keeps_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
