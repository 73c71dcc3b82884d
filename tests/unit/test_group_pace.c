/* When groups of writes go to the disk: at once after a pause, no later than the hold, and apart from
 * each other as far as the way to the in-sync set is longer than it can be. */
#include "common/replication/group_pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const int64_t s_ms = 1000000;
static const int64_t s_hold_ns = 20000000;

/* Groups that each take so long, one after the other, the next at once. Returns the time after. */
static int64_t s_groups(group_pace_t *pace, int64_t now_ns, uint32_t count, int64_t took_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        group_pace_flushed(pace, now_ns);
        now_ns += took_ns;
        group_pace_confirmed(pace, now_ns);
    }
    return now_ns;
}

static void test_group_pace_first_group_goes_at_once(void **state)
{
    (void)state;
    group_pace_t pace = {0};
    assert_int_equal(group_pace_until_ns(&pace, s_hold_ns), INT64_MIN);
    group_pace_confirmed(&pace, 5);
    assert_int_equal(group_pace_until_ns(&pace, s_hold_ns), INT64_MIN);
}

static void test_group_pace_gathers_until_the_confirmation_or_the_hold(void **state)
{
    (void)state;
    group_pace_t pace = {0};
    group_pace_flushed(&pace, 100 * s_ms);
    assert_int_equal(group_pace_until_ns(&pace, s_hold_ns), 120 * s_ms);
    assert_int_equal(group_pace_until_ns(&pace, 0), 100 * s_ms);
    group_pace_confirmed(&pace, 103 * s_ms);
    assert_true(group_pace_until_ns(&pace, s_hold_ns) <= 103 * s_ms);
}

/* Where nothing queues, a group waits for the one before it and not longer. */
static void test_group_pace_without_queues_waits_for_the_one_before(void **state)
{
    (void)state;
    group_pace_t pace = {0};
    int64_t now_ns = s_groups(&pace, 0, 200, 3 * s_ms);
    int64_t until_ns = group_pace_until_ns(&pace, s_hold_ns);
    assert_true(until_ns <= now_ns && until_ns > now_ns - s_ms);
}

/* Where it takes 10 ms and can take 3, groups lie 17 ms apart: what it takes, and what is too much. */
static void test_group_pace_with_queues_keeps_groups_apart(void **state)
{
    (void)state;
    group_pace_t pace = {0};
    int64_t now_ns = s_groups(&pace, 0, 50, 3 * s_ms);
    now_ns = s_groups(&pace, now_ns, 40, 10 * s_ms);
    int64_t apart_ns = group_pace_until_ns(&pace, s_hold_ns) - (now_ns - 10 * s_ms);
    assert_in_range(apart_ns, 15 * s_ms, 17 * s_ms);
    now_ns = s_groups(&pace, now_ns, 40, 30 * s_ms);
    assert_int_equal(group_pace_until_ns(&pace, s_hold_ns), now_ns - 30 * s_ms + s_hold_ns);
}

/* A way that became longer for good is learnt: it counts as queues no more. */
static void test_group_pace_learns_a_longer_way(void **state)
{
    (void)state;
    group_pace_t pace = {0};
    int64_t now_ns = s_groups(&pace, 0, 50, s_ms);
    now_ns = s_groups(&pace, now_ns, 2000, 8 * s_ms);
    int64_t until_ns = group_pace_until_ns(&pace, s_hold_ns);
    assert_true(until_ns <= now_ns + s_ms / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_pace_first_group_goes_at_once),
        cmocka_unit_test(test_group_pace_gathers_until_the_confirmation_or_the_hold),
        cmocka_unit_test(test_group_pace_without_queues_waits_for_the_one_before),
        cmocka_unit_test(test_group_pace_with_queues_keeps_groups_apart),
        cmocka_unit_test(test_group_pace_learns_a_longer_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
