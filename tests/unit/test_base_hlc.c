/* The hybrid logical clock: never back, never twice, causes before effects. */
#include "common/base/hlc.h"

#include "common/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static hlc_stamp_t s_stamp(int64_t wall_ns, uint32_t logical, uint32_t node)
{
    return (hlc_stamp_t){wall_ns, logical, node};
}

/* Goal: a full logical counter moves on to the next nanosecond instead of starting again. */
static void test_hlc_now_logical_full_moves_wall_on(void **state)
{
    (void)state;
    hlc_t clock;
    hlc_init(&clock, 1);
    hlc_observe(&clock, s_stamp(500, UINT32_MAX, 9));
    hlc_stamp_t stamp = hlc_now(&clock, 100);
    assert_true(hlc_compare(stamp, s_stamp(501, 0, 1)) == 0);
}

/* Goal: a wall clock that goes back gives rising stamps all the same. */
static void test_hlc_now_wall_goes_back_stamps_still_rise(void **state)
{
    (void)state;
    static const int64_t s_walls_ns[] = {100, 50, 100, 99, 101, 0, -5};
    hlc_t clock;
    hlc_init(&clock, 1);
    hlc_stamp_t before = {0, 0, 0};
    for (unsigned i = 0; i < sizeof(s_walls_ns) / sizeof(s_walls_ns[0]); i++) {
        hlc_stamp_t stamp = hlc_now(&clock, s_walls_ns[i]);
        assert_true(hlc_compare(stamp, before) > 0);
        before = stamp;
    }
}

/* Goal: the wall time is taken over when it is ahead, and logical begins again. */
static void test_hlc_now_wall_ahead_resets_logical(void **state)
{
    (void)state;
    hlc_t clock;
    hlc_init(&clock, 3);
    (void)hlc_now(&clock, 10);
    assert_int_equal(hlc_now(&clock, 10).logical, 1);
    assert_true(hlc_compare(hlc_now(&clock, 11), s_stamp(11, 0, 3)) == 0);
}

/* Goal: after a stamp from elsewhere every own one is higher; an old one changes nothing. */
static void test_hlc_observe_orders_effects_after_causes(void **state)
{
    (void)state;
    hlc_t clock;
    hlc_init(&clock, 1);
    hlc_stamp_t cause = s_stamp(1000, 5, 2);
    hlc_observe(&clock, cause);
    hlc_observe(&clock, s_stamp(1, 1, 1));
    assert_true(hlc_compare(hlc_now(&clock, 900), cause) > 0);
}

/* Goal: wall before logical before node; equal only when all three are. */
static void test_hlc_compare_orders_by_wall_logical_node(void **state)
{
    (void)state;
    assert_true(hlc_compare(s_stamp(1, 9, 9), s_stamp(2, 0, 0)) < 0);
    assert_true(hlc_compare(s_stamp(2, 1, 0), s_stamp(2, 0, 9)) > 0);
    assert_true(hlc_compare(s_stamp(2, 1, 1), s_stamp(2, 1, 2)) < 0);
    assert_true(hlc_compare(s_stamp(2, 1, 2), s_stamp(2, 1, 2)) == 0);
    assert_true(hlc_compare(s_stamp(-1, 0, 0), s_stamp(0, 0, 0)) < 0);
}

/* Goal: two clocks that exchange random messages never give the same stamp, and each receiver's
 * next stamp is above the sender's. Method: 2,000 seeded rounds with jumping wall clocks. */
static void test_hlc_random_exchange_keeps_order(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 7);
    hlc_t clocks[2];
    hlc_init(&clocks[0], 1);
    hlc_init(&clocks[1], 2);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned sender = (unsigned)prng_below(&prng, 2);
        hlc_stamp_t sent = hlc_now(&clocks[sender], (int64_t)prng_below(&prng, 50));
        hlc_observe(&clocks[1 - sender], sent);
        hlc_stamp_t next = hlc_now(&clocks[1 - sender], (int64_t)prng_below(&prng, 50));
        assert_true(hlc_compare(next, sent) > 0);
    }
}

enum { S_LOG_COUNT = 200 };

/* Stamps of one node whose wall clock trembles around start_ns, and who hears of others. Returns the
 * last wall time. */
static int64_t s_log(prng_t *prng, int64_t start_ns, hlc_stamp_t ret_logged[S_LOG_COUNT])
{
    hlc_t clock;
    hlc_init(&clock, 1);
    int64_t wall_ns = start_ns;
    for (unsigned i = 0; i < S_LOG_COUNT; i++) {
        wall_ns += (int64_t)prng_below(prng, 3) - 1;
        hlc_stamp_t heard = s_stamp(wall_ns + (int64_t)prng_below(prng, 100),
                                    prng_chance(prng, 0.5) ? UINT32_MAX : 0, 2);
        if (prng_chance(prng, 0.1)) {
            hlc_observe(&clock, heard);
        }
        ret_logged[i] = hlc_now(&clock, wall_ns);
    }
    return wall_ns;
}

/* Goal: after a restart that has observed every stamp of the log, in any order, with a wall clock set
 * back by an hour, the next stamp is above all of them. Method: 50 seeded logs of one node that hears
 * of others. */
static void test_hlc_restart_never_goes_back(void **state)
{
    (void)state;
    const int64_t hour_ns = INT64_C(3600000000000);
    prng_t prng;
    prng_init(&prng, 11);
    for (unsigned run = 0; run < 50; run++) {
        hlc_stamp_t logged[S_LOG_COUNT];
        int64_t wall_ns = s_log(&prng, 2 * hour_ns, logged);
        hlc_t after;
        hlc_init(&after, 1);
        for (unsigned i = 0; i < S_LOG_COUNT; i++) { /* 77 and 200 have no common divisor */
            hlc_observe(&after, logged[i * 77 % S_LOG_COUNT]);
        }
        hlc_stamp_t next = hlc_now(&after, wall_ns - hour_ns);
        for (unsigned i = 0; i < S_LOG_COUNT; i++) {
            assert_true(hlc_compare(next, logged[i]) > 0);
        }
    }
}

/* Goal: a foreign stamp at the end of the numbers is not followed, one at the bound is. */
static void test_hlc_observe_beyond_bound_is_not_followed(void **state)
{
    (void)state;
    hlc_t clock;
    hlc_init(&clock, 1);
    hlc_observe(&clock, s_stamp(INT64_MAX, UINT32_MAX, UINT32_MAX));
    hlc_observe(&clock, s_stamp(HLC_WALL_NS_MAX + 1, 0, 0));
    assert_true(hlc_compare(hlc_now(&clock, 10), s_stamp(10, 0, 1)) == 0);
    hlc_observe(&clock, s_stamp(HLC_WALL_NS_MAX, UINT32_MAX, UINT32_MAX));
    assert_true(hlc_compare(hlc_now(&clock, 10), s_stamp(HLC_WALL_NS_MAX + 1, 0, 1)) == 0);
    assert_true(hlc_compare(hlc_now(&clock, 10), s_stamp(HLC_WALL_NS_MAX + 1, 1, 1)) == 0);
}

/* Goal: how far ahead a stamp lies, at both ends of the numbers. */
static void test_hlc_ahead_is_zero_or_the_difference(void **state)
{
    (void)state;
    assert_int_equal(hlc_ahead_ns(s_stamp(100, 9, 9), 100), 0);
    assert_int_equal(hlc_ahead_ns(s_stamp(101, 0, 0), 100), 1);
    assert_int_equal(hlc_ahead_ns(s_stamp(INT64_MIN, 0, 0), INT64_MAX), 0);
    assert_true(hlc_ahead_ns(s_stamp(INT64_MAX, 0, 0), 0) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hlc_now_logical_full_moves_wall_on),
        cmocka_unit_test(test_hlc_now_wall_goes_back_stamps_still_rise),
        cmocka_unit_test(test_hlc_now_wall_ahead_resets_logical),
        cmocka_unit_test(test_hlc_observe_orders_effects_after_causes),
        cmocka_unit_test(test_hlc_compare_orders_by_wall_logical_node),
        cmocka_unit_test(test_hlc_random_exchange_keeps_order),
        cmocka_unit_test(test_hlc_restart_never_goes_back),
        cmocka_unit_test(test_hlc_observe_beyond_bound_is_not_followed),
        cmocka_unit_test(test_hlc_ahead_is_zero_or_the_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
