/* Windows: borders of buckets and windows, what is kept, what is clipped. */
#include "common/base/prng.h"
#include "common/signal/cell.h"
#include "common/signal/cell_tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t s_minute_ns = INT64_C(60) * 1000000000;
static const int64_t s_hour_ns = INT64_C(3600) * 1000000000;
static const int64_t s_base_ns = INT64_C(24) * 20000 * 3600 * 1000000000; /* a whole hour */

typedef struct {
    memory_t memory;
    decay_t decay;
    cell_t cell;
} fixture_t;

static int s_setup(void **state)
{
    static fixture_t s_fixture;
    s_fixture = (fixture_t){0};
    decay_init(&s_fixture.decay, 604800);
    cell_init(&s_fixture.cell, 1, 1);
    *state = &s_fixture;
    return 0;
}

static int s_teardown(void **state)
{
    fixture_t *fixture = *state;
    cell_done(&fixture->cell, &fixture->memory);
    assert_int_equal(fixture->memory.size_bytes, 0);
    return 0;
}

static void s_add(fixture_t *fixture, int64_t ts_ns)
{
    cell_add(&fixture->cell, &fixture->memory, &fixture->decay, ts_ns, 1.0);
}

static uint64_t s_count(const fixture_t *fixture, window_t window, int64_t at_ns)
{
    return cell_window_count(&fixture->cell, window, at_ns, NULL);
}

static bool s_clipped(const fixture_t *fixture, window_t window, int64_t at_ns)
{
    bool clipped = false;
    (void)cell_window_count(&fixture->cell, window, at_ns, &clipped);
    return clipped;
}

/* Goal: a cell without events counts nothing anywhere and clips nothing. */
static void test_cell_windows_empty_cell_counts_nothing(void **state)
{
    fixture_t *fixture = *state;
    for (unsigned window = 0; window < WINDOW_COUNT; window++) {
        assert_int_equal(s_count(fixture, (window_t)window, s_base_ns), 0);
        assert_false(s_clipped(fixture, (window_t)window, 0));
    }
}

/* Goal: 1h is the 60 minute buckets ending with that of `at`: the event leaves with the 60th minute
 * after its own begins, whatever its second. */
static void test_cell_windows_hour_window_has_sixty_minutes(void **state)
{
    fixture_t *fixture = *state;
    s_add(fixture, s_base_ns + s_minute_ns - 1);
    assert_int_equal(s_count(fixture, WINDOW_1H, s_base_ns), 1);
    assert_int_equal(s_count(fixture, WINDOW_1H, s_base_ns + 60 * s_minute_ns - 1), 1);
    assert_int_equal(s_count(fixture, WINDOW_1H, s_base_ns + 60 * s_minute_ns), 0);
    assert_int_equal(s_count(fixture, WINDOW_1H, s_base_ns - 1), 0);
}

/* Goal: 24h, 7d and 30d are 24, 168 and 720 hour buckets. */
static void test_cell_windows_long_windows_have_whole_hours(void **state)
{
    fixture_t *fixture = *state;
    static const window_t s_windows[] = {WINDOW_24H, WINDOW_7D, WINDOW_30D};
    static const int64_t s_hours[] = {24, 168, 720};
    s_add(fixture, s_base_ns + 1800 * INT64_C(1000000000));
    for (unsigned i = 0; i < 3; i++) {
        int64_t end_ns = s_base_ns + s_hours[i] * s_hour_ns;
        assert_int_equal(s_count(fixture, s_windows[i], s_base_ns), 1);
        assert_int_equal(s_count(fixture, s_windows[i], end_ns - 1), 1);
        assert_int_equal(s_count(fixture, s_windows[i], end_ns), 0);
        assert_int_equal(s_count(fixture, s_windows[i], s_base_ns - 1), 0);
    }
    assert_int_equal(s_count(fixture, WINDOW_ALL, 0), 1);
}

/* Goal: events later than `at` count in `all`, not in windows; those in the bucket of `at` do. */
static void test_cell_windows_later_events_are_left_out(void **state)
{
    fixture_t *fixture = *state;
    s_add(fixture, s_base_ns);
    s_add(fixture, s_base_ns + 59 * INT64_C(1000000000));
    s_add(fixture, s_base_ns + s_minute_ns);
    s_add(fixture, s_base_ns + s_hour_ns);
    assert_int_equal(s_count(fixture, WINDOW_1H, s_base_ns), 2);
    assert_int_equal(s_count(fixture, WINDOW_24H, s_base_ns), 3);
    assert_int_equal(s_count(fixture, WINDOW_ALL, s_base_ns), 4);
}

/* Goal: `at` is exact from newest - 1 h for 1h and newest - 24 h for the others; one ns before that
 * the answer is clipped. All is never clipped. */
static void test_cell_windows_at_before_what_is_kept_clips(void **state)
{
    fixture_t *fixture = *state;
    const int64_t newest_ns = s_base_ns + 17 * s_minute_ns + 5;
    s_add(fixture, newest_ns);
    assert_false(s_clipped(fixture, WINDOW_1H, newest_ns - s_hour_ns));
    assert_true(s_clipped(fixture, WINDOW_1H, newest_ns - s_hour_ns - 1));
    for (unsigned window = WINDOW_24H; window <= WINDOW_30D; window++) {
        assert_false(s_clipped(fixture, (window_t)window, newest_ns - 24 * s_hour_ns));
        assert_true(s_clipped(fixture, (window_t)window, newest_ns - 24 * s_hour_ns - 1));
    }
    assert_false(s_clipped(fixture, WINDOW_ALL, 0));
}

/* Goal: every `at` that is not clipped is answered exactly, and future ones too. Method: 3,000
 * events over 33 days in random order, against counting them one by one. */
static void test_cell_windows_unclipped_answers_are_exact(void **state)
{
    fixture_t *fixture = *state;
    enum { COUNT = 3000 };
    static int64_t s_times[COUNT];
    prng_t prng;
    prng_init(&prng, 5);
    int64_t newest_ns = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t back_minutes =
            prng_chance(&prng, 0.5) ? prng_below(&prng, 180) : prng_below(&prng, 47520);
        s_times[i] = s_base_ns - (int64_t)back_minutes * s_minute_ns +
                     (int64_t)prng_below(&prng, (uint64_t)s_minute_ns);
        newest_ns = s_times[i] > newest_ns ? s_times[i] : newest_ns;
        s_add(fixture, s_times[i]);
    }
    for (unsigned i = 0; i < 2000; i++) {
        window_t window = (window_t)prng_below(&prng, 4);
        int64_t exact_ns = window == WINDOW_1H ? s_hour_ns : 24 * s_hour_ns;
        int64_t at_ns = newest_ns - exact_ns + (int64_t)prng_below(&prng, 960) * s_hour_ns +
                        (int64_t)prng_below(&prng, (uint64_t)s_hour_ns);
        int64_t bucket_ns = window == WINDOW_1H ? s_minute_ns : s_hour_ns;
        int64_t last = at_ns / bucket_ns;
        int64_t first = last - window_seconds(window) * 1000000000 / bucket_ns + 1;
        uint64_t expected = 0;
        for (unsigned j = 0; j < COUNT; j++) {
            int64_t bucket = s_times[j] / bucket_ns;
            expected += bucket >= first && bucket <= last ? 1 : 0;
        }
        assert_false(s_clipped(fixture, window, at_ns));
        assert_int_equal(s_count(fixture, window, at_ns), expected);
    }
}

/* Goal: minutes reach back 120 buckets and hours 744, the newest among them; one more is dropped,
 * be it late or overtaken. Only `all` remembers it. */
static void test_cell_windows_buckets_beyond_the_kept_are_dropped(void **state)
{
    fixture_t *fixture = *state;
    s_add(fixture, s_base_ns);
    s_add(fixture, s_base_ns - 119 * s_minute_ns); /* the oldest minute kept */
    s_add(fixture, s_base_ns - 120 * s_minute_ns); /* late, and dropped as a minute */
    s_add(fixture, s_base_ns - 743 * s_hour_ns);   /* the oldest hour kept */
    s_add(fixture, s_base_ns - 744 * s_hour_ns);   /* dropped as an hour */
    /* clipped ones show what is kept: */
    assert_int_equal(s_count(fixture, WINDOW_1H, s_base_ns - 119 * s_minute_ns), 1);
    assert_int_equal(s_count(fixture, WINDOW_1H, s_base_ns - 120 * s_minute_ns), 0);
    assert_int_equal(s_count(fixture, WINDOW_24H, s_base_ns - 743 * s_hour_ns), 1);
    assert_int_equal(s_count(fixture, WINDOW_24H, s_base_ns - 744 * s_hour_ns), 0);
    assert_int_equal(s_count(fixture, WINDOW_ALL, s_base_ns), 5);
    s_add(fixture, s_base_ns + s_minute_ns);
    assert_int_equal(s_count(fixture, WINDOW_1H, s_base_ns - 118 * s_minute_ns), 0);
    s_add(fixture, s_base_ns + s_hour_ns);
    assert_int_equal(s_count(fixture, WINDOW_24H, s_base_ns - 743 * s_hour_ns), 0);
}

/* Goal: an `at` years after the newest event counts nothing, and does not overflow. */
static void test_cell_windows_distant_future_counts_nothing(void **state)
{
    fixture_t *fixture = *state;
    s_add(fixture, 0);
    s_add(fixture, 1);
    for (unsigned window = 0; window < WINDOW_ALL; window++) {
        assert_int_equal(s_count(fixture, (window_t)window, INT64_MAX), 0);
        assert_int_equal(s_count(fixture, (window_t)window, 0), 2);
    }
}

/* Goal: a jump over 2^16 and 2^32 minutes leaves nothing behind that an age modulo 2^16 could bring
 * back. */
static void test_cell_windows_long_jumps_leave_nothing(void **state)
{
    fixture_t *fixture = *state;
    s_add(fixture, 5 * s_minute_ns);
    s_add(fixture, 7 * s_minute_ns);
    s_add(fixture, (7 + 65536) * s_minute_ns);
    assert_int_equal(s_count(fixture, WINDOW_1H, (7 + 65536) * s_minute_ns), 1);
    s_add(fixture, 65536 * s_hour_ns);
    s_add(fixture, 131072 * s_hour_ns);
    assert_int_equal(s_count(fixture, WINDOW_30D, 131072 * s_hour_ns), 1);
    assert_int_equal(s_count(fixture, WINDOW_ALL, 0), 5);
}

/* Goal: a cell full of minutes and hours takes the memory that cell.h says. Method: an event a
 * minute for 35 days. */
static void test_cell_windows_memory_of_a_full_cell_is_bounded(void **state)
{
    fixture_t *fixture = *state;
    for (int64_t i = 0; i < 50400; i++) {
        s_add(fixture, s_base_ns + i * s_minute_ns);
    }
    assert_true(fixture->cell.tail->size <= 7168);
    assert_int_equal(s_count(fixture, WINDOW_30D, s_base_ns + 50400 * s_minute_ns - 1), 43200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cell_windows_empty_cell_counts_nothing, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_cell_windows_hour_window_has_sixty_minutes, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_cell_windows_long_windows_have_whole_hours, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_cell_windows_later_events_are_left_out, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_cell_windows_at_before_what_is_kept_clips, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_cell_windows_unclipped_answers_are_exact, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_cell_windows_buckets_beyond_the_kept_are_dropped,
                                        s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_cell_windows_distant_future_counts_nothing, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_cell_windows_long_jumps_leave_nothing, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_cell_windows_memory_of_a_full_cell_is_bounded, s_setup,
                                        s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
