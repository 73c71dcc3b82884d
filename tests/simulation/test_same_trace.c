/* One seed gives one history: also the second time in a process that has run others. What differs
 * between compilers and flags, scripts/same_trace finds. */
#include "tests/simulation/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { S_SEED_COUNT = 6 };

static run_result_t s_run(uint64_t seed)
{
    run_options_t options = run_options(seed);
    options.event_count = 500;
    run_result_t result;
    run_history(&options, &result);
    assert_true(result.is_ok);
    assert_true(result.event_count >= options.event_count);
    return result;
}

/* Goal: nothing of a history but its seed decides what happens. Method: some seeds, one after the
 * other, and then again; the trace hash is over all deliveries, starts and ends. */
static void test_same_trace_second_run_of_a_seed_is_the_same(void **state)
{
    (void)state;
    run_result_t first[S_SEED_COUNT];
    for (uint64_t i = 0; i < S_SEED_COUNT; i++) {
        first[i] = s_run(1 + i);
    }
    for (uint64_t i = 0; i < S_SEED_COUNT; i++) {
        run_result_t second = s_run(1 + i);
        assert_true(second.trace_hash == first[i].trace_hash);
        assert_true(second.step_count == first[i].step_count);
        assert_true(second.clients.sent == first[i].clients.sent);
        assert_memory_equal(second.effects, first[i].effects, sizeof(second.effects));
    }
}

/* Goal: the hash tells histories apart. */
static void test_same_trace_other_seeds_differ(void **state)
{
    (void)state;
    assert_true(s_run(1).trace_hash != s_run(2).trace_hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_trace_second_run_of_a_seed_is_the_same),
        cmocka_unit_test(test_same_trace_other_seeds_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
