/* Decayed sums: amounts, landmarks, and scores against the formula. */
#include "common/base/prng.h"
#include "common/signal/cell.h"
#include "common/signal/power.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t s_second_ns = 1000000000;
static const int64_t s_day_ns = INT64_C(86400) * 1000000000;

/* A cell with what it needs. */
typedef struct {
    memory_t memory;
    decay_t decay;
    cell_t cell;
} fixture_t;

static void s_init(fixture_t *fixture, int64_t half_life_s)
{
    *fixture = (fixture_t){0};
    decay_init(&fixture->decay, half_life_s);
    cell_init(&fixture->cell, 1, 1);
}

static void s_add(fixture_t *fixture, int64_t ts_ns, double weight)
{
    cell_add(&fixture->cell, &fixture->memory, &fixture->decay, ts_ns, weight);
}

static double s_score(const fixture_t *fixture, int64_t at_ns, bool *ret_clipped)
{
    cell_reader_t reader;
    cell_reader_init(&reader, &fixture->decay, at_ns);
    return cell_score(&fixture->cell, &reader, ret_clipped);
}

static void s_done(fixture_t *fixture)
{
    cell_done(&fixture->cell, &fixture->memory);
    assert_int_equal(fixture->memory.size_bytes, 0);
}

/* Goal: at its landmark an event is worth its weight, exactly; one half-life later twice that. */
static void test_cell_decay_whole_half_lives_are_exact(void **state)
{
    (void)state;
    decay_t decay;
    decay_init(&decay, 3600);
    for (int64_t i = 0; i < 16; i++) {
        uint128_t amount = decay_amount(&decay, i * decay.half_life_ns, 1.0);
        assert_true(amount == (uint128_t)1 << (40 + i));
    }
    assert_true(decay_amount(&decay, 0, 1e9) == (uint128_t)1000000000 << 40);
    assert_true(decay_amount(&decay, 0, 0.0) == 0);
    assert_true(decay_amount(&decay, 0, -0.0) == 0);
}

/* Goal: an amount is the product of the weight and the power rounded once, halves away from zero.
 * Method: exact integers where the product is one (weights with few bits), and the two neighbours
 * of a half unit. */
static void test_cell_decay_amount_is_rounded_once(void **state)
{
    (void)state;
    decay_t decay;
    decay_init(&decay, 3600);
    assert_true(decay_amount(&decay, 0, 0x1p-40) == 1);
    assert_true(decay_amount(&decay, 0, 0x1p-41) == 1);
    assert_true(decay_amount(&decay, 0, nextafter(0x1p-41, 0.0)) == 0);
    assert_true(decay_amount(&decay, 0, 0x1.8p-40) == 2);
    assert_true(decay_amount(&decay, 0, nextafter(0x1.8p-40, 0.0)) == 1);
    assert_true(decay_amount(&decay, 0, DBL_TRUE_MIN) == 0);
    assert_true(decay_amount(&decay, decay.span_ns - 1, DBL_MIN) == 0);
    /* A product of two full mantissas: weight * 2^0.5 in units of 2^-40, by long division. */
    double weight = 1.1;
    double power = power_of_two(0.5);
    long double exact = (long double)weight * (long double)power * 0x1p40L;
    uint128_t amount = decay_amount(&decay, decay.half_life_ns / 2, weight);
    assert_true(fabsl((long double)amount - exact) <= 0.5L);
}

/* Goal: the amount of -w is minus the amount of w, for every weight and time. */
static void test_cell_decay_amount_is_symmetric(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 1);
    decay_t decay;
    decay_init(&decay, 604800);
    for (unsigned i = 0; i < 100000; i++) {
        double weight = (prng_unit(&prng) - 0.5) * power_of_two((double)prng_below(&prng, 70) - 40);
        int64_t since_ns = (int64_t)prng_below(&prng, (uint64_t)decay.span_ns);
        uint128_t sum =
            decay_amount(&decay, since_ns, weight) + decay_amount(&decay, since_ns, -weight);
        assert_true(sum == 0);
    }
}

/* Goal: the whole range of times, half-lives and weights works: 1970 to 2262, 60 s to a year, 1e9.
 */
static void test_cell_decay_extreme_times_and_weights_work(void **state)
{
    (void)state;
    static const int64_t s_half_lives[] = {60, 61, 86400, INT64_C(365) * 86400};
    static const int64_t s_times[] = {0, 1, INT64_MAX - 1, INT64_MAX};
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 4; j++) {
            fixture_t fixture;
            s_init(&fixture, s_half_lives[i]);
            s_add(&fixture, s_times[j], 1e9);
            s_add(&fixture, s_times[j], -1e9);
            s_add(&fixture, s_times[j], 3.0);
            double score = s_score(&fixture, s_times[j], NULL);
            assert_true(fabs(score - 3.0) < 1e-6);
            assert_true(isfinite(s_score(&fixture, 0, NULL)));
            assert_true(isfinite(s_score(&fixture, INT64_MAX, NULL)));
            s_done(&fixture);
        }
    }
}

/* Sum of the formula, in extended precision. */
typedef struct {
    int64_t ts_ns[10000];
    double weight[10000];
    unsigned count;
} history_t;

static long double s_analytic(const history_t *history, int64_t half_life_s, int64_t at_ns)
{
    long double sum = 0;
    long double half_life_ns = (long double)half_life_s * 1e9L;
    for (unsigned i = 0; i < history->count; i++) {
        long double age = (long double)(at_ns - history->ts_ns[i]) / half_life_ns;
        sum += (long double)history->weight[i] * exp2l(-age);
    }
    return sum;
}

/* Goal: scores equal the formula to 6 decimals, with weights that f32 cannot hold and late events,
 * at several times. Method: 1,000 and 10,000 events over three landmarks. */
static void test_cell_decay_scores_equal_the_formula(void **state)
{
    (void)state;
    static history_t s_history;
    static const unsigned s_counts[] = {1000, 10000};
    static const int64_t s_half_lives[] = {86400, 604800, 2592000};
    const int64_t now_ns = INT64_C(1700000000) * s_second_ns;
    prng_t prng;
    prng_init(&prng, 4);
    for (unsigned c = 0; c < 6; c++) {
        fixture_t fixture;
        int64_t half_life_s = s_half_lives[c % 3];
        s_init(&fixture, half_life_s);
        s_history.count = s_counts[c / 3];
        for (unsigned i = 0; i < s_history.count; i++) {
            int64_t age_ns = (int64_t)prng_below(&prng, 40 * (uint64_t)half_life_s) * s_second_ns;
            s_history.ts_ns[i] = now_ns - age_ns + (int64_t)prng_below(&prng, 1000000000);
            s_history.weight[i] = 0.1 + prng_unit(&prng) * 1.7;
            assert_true((double)(float)s_history.weight[i] != s_history.weight[i]);
            s_add(&fixture, s_history.ts_ns[i], s_history.weight[i]);
        }
        for (int64_t later = 0; later < 5; later++) {
            int64_t at_ns = now_ns + s_second_ns + later * half_life_s * s_second_ns / 3;
            long double expected = s_analytic(&s_history, half_life_s, at_ns);
            double found = s_score(&fixture, at_ns, NULL);
            assert_true(fabsl((long double)found - expected) < 1e-6L);
        }
        s_done(&fixture);
    }
}

/* Goal: four landmarks are kept; an event below them, early or late, leaves no trace in the score.
 */
static void test_cell_decay_old_landmarks_are_dropped(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init(&fixture, 86400);
    const int64_t span_ns = fixture.decay.span_ns;
    for (int64_t k = 0; k < 8; k++) {
        s_add(&fixture, (100 + k) * span_ns, 1.0 + (double)k);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_true(cell_sum(&fixture.cell, i) == (uint128_t)(8 - i) << 40);
    }
    s_add(&fixture, 103 * span_ns, 50.0);
    s_add(&fixture, 104 * span_ns, 50.0);
    assert_true(cell_sum(&fixture.cell, 3) == (uint128_t)(5 + 50) << 40);
    assert_int_equal(fixture.cell.count, 10);
    s_done(&fixture);
}

/* Goal: a jump by more than four landmarks forgets all sums, by exactly three keeps one. */
static void test_cell_decay_jumps_over_landmarks_shift_sums(void **state)
{
    (void)state;
    for (int64_t step = 1; step <= 6; step++) {
        fixture_t fixture;
        s_init(&fixture, 60);
        s_add(&fixture, 0, 1.0);
        s_add(&fixture, step * fixture.decay.span_ns, 2.0);
        for (unsigned i = 0; i < 4; i++) {
            uint128_t expected = i == 0 ? 2 : i == step ? 1 : 0;
            assert_true(cell_sum(&fixture.cell, i) == expected << 40);
        }
        s_done(&fixture);
    }
}

/* Goal: an `at` up to 16 half-lives before the newest event is answered as asked; an older one
 * gives the score of 16 half-lives before, finite and clipped. */
static void test_cell_decay_at_before_newest_clips(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init(&fixture, 3600);
    const int64_t newest_ns = 500 * s_day_ns + 12345;
    s_add(&fixture, newest_ns, 1.5);
    int64_t border_ns = newest_ns - fixture.decay.span_ns;
    bool clipped = true;
    double at_border = s_score(&fixture, border_ns, &clipped);
    assert_false(clipped);
    assert_true(fabs(at_border - 1.5 * 65536.0) < 1e-6 * 65536.0);
    double past_border = s_score(&fixture, border_ns - 1, &clipped);
    assert_true(clipped);
    assert_true(past_border == at_border);
    assert_true(s_score(&fixture, 0, &clipped) == at_border);
    assert_true(clipped);
    s_done(&fixture);
}

/* Goal: events later than `at` count in the score, with their weight grown. */
static void test_cell_decay_later_events_count(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init(&fixture, 3600);
    s_add(&fixture, 100 * s_day_ns, 1.0);
    assert_true(fabs(s_score(&fixture, 100 * s_day_ns - 3600 * s_second_ns, NULL) - 2.0) < 1e-9);
    s_done(&fixture);
}

/* Goal: a reader that goes from cell to cell gives the bits that a fresh one gives. */
static void test_cell_decay_reader_reuse_gives_equal_bits(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 9);
    fixture_t fixture;
    s_init(&fixture, 86400);
    const int64_t at_ns = 1000 * s_day_ns;
    cell_reader_t reader;
    cell_reader_init(&reader, &fixture.decay, at_ns);
    for (unsigned i = 0; i < 2000; i++) {
        cell_init(&fixture.cell, 1, 1);
        s_add(&fixture, (int64_t)prng_below(&prng, 1100) * s_day_ns, prng_unit(&prng));
        double fresh = s_score(&fixture, at_ns, NULL);
        double reused = cell_score(&fixture.cell, &reader, NULL);
        assert_true(fresh == reused);
    }
    s_done(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cell_decay_whole_half_lives_are_exact),
        cmocka_unit_test(test_cell_decay_amount_is_rounded_once),
        cmocka_unit_test(test_cell_decay_amount_is_symmetric),
        cmocka_unit_test(test_cell_decay_extreme_times_and_weights_work),
        cmocka_unit_test(test_cell_decay_scores_equal_the_formula),
        cmocka_unit_test(test_cell_decay_old_landmarks_are_dropped),
        cmocka_unit_test(test_cell_decay_jumps_over_landmarks_shift_sums),
        cmocka_unit_test(test_cell_decay_at_before_newest_clips),
        cmocka_unit_test(test_cell_decay_later_events_count),
        cmocka_unit_test(test_cell_decay_reader_reuse_gives_equal_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
