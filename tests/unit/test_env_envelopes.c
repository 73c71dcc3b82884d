/* The table of envelopes: bounded, and no handle opens another one's envelope. */
#include "common/env/env_envelopes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const slice_t s_frame = {(const uint8_t *)"abcde", 5};

/* Goal: what was stored comes back byte for byte, small and large, empty frames included. */
static void test_env_envelopes_find_gives_frames_back(void **state)
{
    (void)state;
    static uint8_t s_large[CLIENT_PREFIX_FRAME_SIZE_MAX];
    memset(s_large, 'x', sizeof(s_large));
    env_envelopes_t *envelopes = env_envelopes_new(4, 100);
    slice_t frames[ENV_ENVELOPE_FRAME_COUNT_MAX];
    for (uint32_t i = 0; i < ENV_ENVELOPE_FRAME_COUNT_MAX; i++) {
        frames[i] = slice_make(s_large, i == 1 ? 0 : sizeof(s_large) - i);
    }
    uint64_t large = env_envelopes_open(envelopes, frames, ENV_ENVELOPE_FRAME_COUNT_MAX, 0);
    uint64_t small = env_envelopes_open(envelopes, &s_frame, 1, 0);
    slice_t found[ENV_ENVELOPE_FRAME_COUNT_MAX];
    assert_int_equal(env_envelopes_find(envelopes, large, found), ENV_ENVELOPE_FRAME_COUNT_MAX);
    for (uint32_t i = 0; i < ENV_ENVELOPE_FRAME_COUNT_MAX; i++) {
        assert_true(slice_equal(found[i], frames[i]));
    }
    assert_int_equal(env_envelopes_find(envelopes, small, found), 1);
    assert_true(slice_equal(found[0], s_frame));
    env_envelopes_destroy(&envelopes);
    env_envelopes_destroy(&envelopes);
}

/* Goal: a full table refuses while nothing has expired, and gives the oldest away once it has. */
static void test_env_envelopes_full_refuses_then_expires_oldest(void **state)
{
    (void)state;
    env_envelopes_t *envelopes = env_envelopes_new(2, 100);
    uint64_t first = env_envelopes_open(envelopes, &s_frame, 1, 0);
    uint64_t second = env_envelopes_open(envelopes, &s_frame, 1, 1);
    assert_int_equal(env_envelopes_open(envelopes, &s_frame, 1, 99), 0);
    uint64_t third = env_envelopes_open(envelopes, &s_frame, 1, 100);
    assert_int_not_equal(third, 0);
    slice_t found[ENV_ENVELOPE_FRAME_COUNT_MAX];
    assert_int_equal(env_envelopes_find(envelopes, first, found), 0);
    assert_int_equal(env_envelopes_find(envelopes, second, found), 1);
    assert_int_equal(env_envelopes_expired_count(envelopes), 1);
    assert_int_equal(env_envelopes_count(envelopes), 2);
    env_envelopes_destroy(&envelopes);
}

/* Goal: a closed handle stays closed when its place is used again, and closing twice is told. */
static void test_env_envelopes_closed_handle_is_void(void **state)
{
    (void)state;
    env_envelopes_t *envelopes = env_envelopes_new(1, 100);
    uint64_t first = env_envelopes_open(envelopes, &s_frame, 1, 0);
    assert_true(env_envelopes_close(envelopes, first));
    assert_false(env_envelopes_close(envelopes, first));
    uint64_t second = env_envelopes_open(envelopes, &s_frame, 1, 0);
    assert_int_not_equal(first, second);
    slice_t found[ENV_ENVELOPE_FRAME_COUNT_MAX];
    assert_int_equal(env_envelopes_find(envelopes, first, found), 0);
    assert_int_equal(env_envelopes_find(envelopes, 0, found), 0);
    assert_int_equal(env_envelopes_find(envelopes, UINT64_MAX, found), 0);
    env_envelopes_destroy(&envelopes);
}

/* Goal: closing from the middle keeps the order of age. */
static void test_env_envelopes_close_in_middle_keeps_age_order(void **state)
{
    (void)state;
    env_envelopes_t *envelopes = env_envelopes_new(3, 10);
    uint64_t handles[3];
    for (int i = 0; i < 3; i++) {
        handles[i] = env_envelopes_open(envelopes, &s_frame, 1, i);
    }
    assert_true(env_envelopes_close(envelopes, handles[1]));
    assert_int_not_equal(env_envelopes_open(envelopes, &s_frame, 1, 3), 0);
    assert_int_not_equal(env_envelopes_open(envelopes, &s_frame, 1, 10), 0); /* handles[0] goes */
    assert_int_equal(env_envelopes_open(envelopes, &s_frame, 1, 11), 0);
    assert_int_not_equal(env_envelopes_open(envelopes, &s_frame, 1, 12), 0); /* handles[2] goes */
    assert_false(env_envelopes_close(envelopes, handles[0]));
    assert_false(env_envelopes_close(envelopes, handles[2]));
    env_envelopes_destroy(&envelopes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_env_envelopes_find_gives_frames_back),
        cmocka_unit_test(test_env_envelopes_full_refuses_then_expires_oldest),
        cmocka_unit_test(test_env_envelopes_closed_handle_is_void),
        cmocka_unit_test(test_env_envelopes_close_in_middle_keeps_age_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
