/* Whose clock is ahead: windows of heartbeats, and the word of more than half of the peers. */
#include "common/cluster/clock_offset.h"

#include "common/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t s_ms = INT64_C(1000000);
static const int64_t s_epoch_ns = INT64_C(1700000000) * 1000000000;

/* Goal: nothing is known before enough heartbeats, nor once all are older than two windows. */
static void test_clock_offset_needs_recent_heartbeats(void **state)
{
    (void)state;
    clock_offset_t clock = {0};
    int64_t offset_ns = -1;
    assert_false(clock_offset_get(&clock, 0, &offset_ns));
    for (int64_t i = 0; i < CLOCK_OFFSET_HEARD_MIN; i++) {
        assert_false(clock_offset_get(&clock, 100 * s_ms * i, &offset_ns));
        clock_offset_hear(&clock, s_epoch_ns + 100 * s_ms * i, 100 * s_ms * i);
    }
    assert_true(clock_offset_get(&clock, 200 * s_ms, &offset_ns));
    assert_true(offset_ns == s_epoch_ns);
    assert_true(clock_offset_get(&clock, 2 * CLOCK_OFFSET_WINDOW_NS - 1, &offset_ns));
    assert_false(clock_offset_get(&clock, 2 * CLOCK_OFFSET_WINDOW_NS, &offset_ns));
}

/* Goal: late heartbeats do not lower the offset: the quickest of the windows decides. Method: each is
 * late by up to 200 ms of the 250 between them, every fifth is not. */
static void test_clock_offset_quickest_heartbeat_decides(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 3);
    clock_offset_t clock = {0};
    for (int64_t i = 0; i < 100; i++) {
        int64_t late_ns = i % 5 == 0 ? 0 : (int64_t)prng_below(&prng, 200) * s_ms;
        int64_t now_ns = 250 * s_ms * i;
        clock_offset_hear(&clock, s_epoch_ns + now_ns - late_ns, now_ns);
        int64_t offset_ns = 0;
        assert_true(i < 2 || clock_offset_get(&clock, now_ns, &offset_ns));
        assert_true(i < 2 || offset_ns == s_epoch_ns);
    }
}

/* Goal: a clock that is set forward shows at once; one that is set back is unknown until enough was
 * heard anew; one that is set back by less than the heartbeats' distance shows within two windows. */
static void test_clock_offset_follows_a_clock_that_is_set(void **state)
{
    (void)state;
    clock_offset_t clock = {0};
    int64_t now_ns = 0;
    int64_t offset_ns = 0;
    for (; now_ns < 20000 * s_ms; now_ns += 250 * s_ms) {
        clock_offset_hear(&clock, s_epoch_ns + now_ns, now_ns);
    }
    clock_offset_hear(&clock, s_epoch_ns + now_ns + 5000 * s_ms, now_ns);
    assert_true(clock_offset_get(&clock, now_ns, &offset_ns));
    assert_true(offset_ns == s_epoch_ns + 5000 * s_ms);
    for (int64_t i = 1; i <= CLOCK_OFFSET_HEARD_MIN; i++) {
        now_ns += 250 * s_ms;
        clock_offset_hear(&clock, s_epoch_ns + now_ns, now_ns);
        assert_int_equal(clock_offset_get(&clock, now_ns, &offset_ns), i == CLOCK_OFFSET_HEARD_MIN);
    }
    assert_true(offset_ns == s_epoch_ns);
    int64_t until_ns = now_ns + 2 * CLOCK_OFFSET_WINDOW_NS;
    for (; now_ns <= until_ns; now_ns += 250 * s_ms) {
        clock_offset_hear(&clock, s_epoch_ns - 100 * s_ms + now_ns, now_ns);
    }
    assert_true(clock_offset_get(&clock, now_ns, &offset_ns));
    assert_true(offset_ns == s_epoch_ns - 100 * s_ms);
}

/* Goal: ahead means ahead of more than half of the peers. */
static void test_clock_offset_ahead_of_more_than_half(void **state)
{
    (void)state;
    static const struct {
        int64_t own;
        int64_t peers[4];
        uint32_t count;
        int64_t ahead;
    } s_cases[] = {
        {50, {0}, 0, 0},               /* nobody to compare with */
        {50, {20}, 1, 30},             /* the one peer decides */
        {20, {50}, 1, 0},              /* behind */
        {50, {20, -900}, 2, 30},       /* ahead of both, by the nearer one */
        {50, {50, -900}, 2, 0},        /* one peer's clock has stopped: nobody is ahead */
        {50, {70, 20, 10}, 3, 30},     /* ahead of two of three */
        {50, {70, 60, 10}, 3, 0},      /* of one of three */
        {50, {70, 20, 10, 60}, 4, 0},  /* of half: not more */
        {50, {40, 20, 10, 60}, 4, 10}, /* of three of four */
        {INT64_MAX, {INT64_MIN}, 1, INT64_MAX},
    };
    for (unsigned i = 0; i < sizeof(s_cases) / sizeof(s_cases[0]); i++) {
        assert_true(clock_offset_ahead_ns(s_cases[i].own, s_cases[i].peers, s_cases[i].count) ==
                    s_cases[i].ahead);
    }
}

/* Goal: any wall time that a message can carry is taken without overflow. */
static void test_clock_offset_takes_any_wall_time(void **state)
{
    (void)state;
    clock_offset_t clock = {0};
    int64_t offset_ns = 0;
    clock_offset_hear(&clock, 0, INT64_MAX / 2);
    for (int64_t i = 0; i < CLOCK_OFFSET_HEARD_MIN; i++) {
        clock_offset_hear(&clock, INT64_MAX, INT64_MAX / 2 + i);
    }
    assert_true(clock_offset_get(&clock, INT64_MAX / 2 + 9, &offset_ns));
    assert_true(offset_ns == INT64_MAX - INT64_MAX / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_offset_needs_recent_heartbeats),
        cmocka_unit_test(test_clock_offset_quickest_heartbeat_decides),
        cmocka_unit_test(test_clock_offset_follows_a_clock_that_is_set),
        cmocka_unit_test(test_clock_offset_ahead_of_more_than_half),
        cmocka_unit_test(test_clock_offset_takes_any_wall_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
