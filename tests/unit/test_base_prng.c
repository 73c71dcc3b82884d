/* Seeded numbers: the same everywhere, even, within their bounds. */
#include "common/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Goal: the algorithm is the published one. Method: the state that seed 1234567 gives are the known
 * first outputs of splitmix64; the outputs for seed 42 were computed apart from this code. */
static void test_prng_seed_gives_known_numbers(void **state)
{
    (void)state;
    static const uint64_t s_numbers[] = {UINT64_C(0x15780b2e0c2ec716), UINT64_C(0x6104d9866d113a7e),
                                         UINT64_C(0xae17533239e499a1),
                                         UINT64_C(0xecb8ad4703b360a1)};
    prng_t prng;
    prng_init(&prng, 1234567);
    assert_true(prng.state[0] == UINT64_C(6457827717110365317));
    prng_init(&prng, 42);
    for (unsigned i = 0; i < sizeof(s_numbers) / sizeof(s_numbers[0]); i++) {
        assert_true(prng_next(&prng) == s_numbers[i]);
    }
}

/* Goal: a bound of one leaves one answer, and no answer reaches its bound, the largest included. */
static void test_prng_below_stays_below(void **state)
{
    (void)state;
    static const uint64_t s_bounds[] = {1, 2, 3, 1000, (UINT64_C(1) << 63) + 1, UINT64_MAX};
    prng_t prng;
    prng_init(&prng, 1);
    for (unsigned i = 0; i < sizeof(s_bounds) / sizeof(s_bounds[0]); i++) {
        for (unsigned j = 0; j < 200; j++) {
            assert_true(prng_below(&prng, s_bounds[i]) < s_bounds[i]);
        }
    }
}

/* Goal: the six faces of a die come equally often. Method: 60,000 throws, each face within 5 % of
 * 10,000, which is five standard deviations. */
static void test_prng_below_is_even(void **state)
{
    (void)state;
    unsigned counts[6] = {0};
    prng_t prng;
    prng_init(&prng, 2);
    for (unsigned i = 0; i < 60000; i++) {
        counts[prng_below(&prng, 6)]++;
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
}

/* Goal: the unit interval is half open, and its mean is one half. */
static void test_prng_unit_lies_in_half_open_interval(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 3);
    double sum = 0;
    for (unsigned i = 0; i < 10000; i++) {
        double value = prng_unit(&prng);
        assert_true(value >= 0.0 && value < 1.0);
        sum += value;
    }
    assert_true(sum > 4800 && sum < 5200);
}

/* Goal: probability zero never happens, one always, and one quarter about one time in four. */
static void test_prng_chance_follows_probability(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 4);
    unsigned count = 0;
    for (unsigned i = 0; i < 10000; i++) {
        assert_false(prng_chance(&prng, 0.0));
        assert_true(prng_chance(&prng, 1.0));
        count += prng_chance(&prng, 0.25) ? 1 : 0;
    }
    assert_in_range(count, 2300, 2700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prng_seed_gives_known_numbers),
        cmocka_unit_test(test_prng_below_stays_below),
        cmocka_unit_test(test_prng_below_is_even),
        cmocka_unit_test(test_prng_unit_lies_in_half_open_interval),
        cmocka_unit_test(test_prng_chance_follows_probability),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
