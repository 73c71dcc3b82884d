/* The high-water mark of a sequence: what is new, what came before. */
#include "common/session/session_id.h"
#include "common/session/session_tracker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Goal: 1..5 are taken, 3 is refused, 6 is taken, the mark is 6. */
static void test_session_tracker_refuses_what_is_below_the_mark(void **state)
{
    (void)state;
    session_tracker_t tracker = {0};
    for (uint64_t seq = 1; seq <= 5; seq++) {
        assert_true(session_tracker_accept(&tracker, seq));
        assert_int_equal(tracker.mark, seq);
    }
    assert_false(session_tracker_accept(&tracker, 3));
    assert_int_equal(tracker.mark, 5);
    assert_true(session_tracker_accept(&tracker, 6));
    assert_int_equal(tracker.mark, 6);
    session_tracker_done(&tracker);
}

/* Goal: what lies above a gap counts once, and the mark jumps over it when the gap is filled. */
static void test_session_tracker_gap_is_filled_later(void **state)
{
    (void)state;
    session_tracker_t tracker = {0};
    assert_false(session_tracker_accept(&tracker, 0));
    assert_true(session_tracker_accept(&tracker, 2));
    assert_true(session_tracker_accept(&tracker, 4));
    assert_true(tracker.mark == 0 && tracker.last == 4);
    assert_false(session_tracker_accept(&tracker, 4));
    assert_true(session_tracker_accept(&tracker, 1));
    assert_true(tracker.mark == 2 && tracker.last == 4);
    assert_true(session_tracker_accept(&tracker, 3));
    assert_true(tracker.mark == 4 && tracker.last == 4);
    session_tracker_done(&tracker);
}

/* Goal: a tracker made from its intervals is the same; intervals that are none are refused. */
static void test_session_tracker_is_made_from_its_intervals(void **state)
{
    (void)state;
    session_tracker_t tracker = {0};
    assert_true(session_tracker_load(&tracker, (seq_interval_t){1, 3}));
    assert_true(session_tracker_load(&tracker, (seq_interval_t){5, 6}));
    assert_true(tracker.mark == 3 && tracker.last == 6);
    static const seq_interval_t s_bad[] = {{0, 1}, {7, 8}, {6, 9}, {9, 8}, {2, 2}};
    for (size_t i = 0; i < sizeof(s_bad) / sizeof(s_bad[0]); i++) {
        assert_false(session_tracker_load(&tracker, s_bad[i]));
    }
    seq_cursor_t cursor = {0};
    seq_interval_t interval;
    assert_true(session_tracker_next(&tracker, &cursor, &interval));
    assert_true(interval.first == 1 && interval.last == 3);
    assert_true(session_tracker_next(&tracker, &cursor, &interval));
    assert_true(interval.first == 5 && interval.last == 6);
    assert_false(session_tracker_next(&tracker, &cursor, &interval));
    session_tracker_done(&tracker);
}

/* Goal: one request names one session, whoever asks; another user, producer, seq or tenant another
 * one. Method: held to a golden value that b3sum gives. */
static void test_session_id_is_derived_from_the_request(void **state)
{
    (void)state;
    const slice_t producer = slice_text("p");
    session_id_t id = session_id_derive((tenant_id_t){1}, (user_id_t){7}, producer, 3);
    session_id_t again = session_id_derive((tenant_id_t){1}, (user_id_t){7}, producer, 3);
    assert_memory_equal(&id, &again, sizeof(id));
    const session_id_t others[] = {
        session_id_derive((tenant_id_t){2}, (user_id_t){7}, producer, 3),
        session_id_derive((tenant_id_t){1}, (user_id_t){8}, producer, 3),
        session_id_derive((tenant_id_t){1}, (user_id_t){7}, slice_text("q"), 3),
        session_id_derive((tenant_id_t){1}, (user_id_t){7}, producer, 4),
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_memory_not_equal(&id.bytes[8], &others[i].bytes[8], 16);
    }
    assert_int_equal(session_id_user(&id).value, 7);
    char hex[2 * SESSION_ID_SIZE + 1];
    bytes_to_hex(id.bytes, SESSION_ID_SIZE, hex);
    assert_string_equal(hex, "070000000000000078386ef1f563e933f3cd8ae7549604c3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_tracker_refuses_what_is_below_the_mark),
        cmocka_unit_test(test_session_tracker_gap_is_filled_later),
        cmocka_unit_test(test_session_tracker_is_made_from_its_intervals),
        cmocka_unit_test(test_session_id_is_derived_from_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
