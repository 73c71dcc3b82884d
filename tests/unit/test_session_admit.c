/* What a leader may log of a session, in view of what it has logged and not applied yet. */
#include "tests/unit/session_support.h"

#include "common/session/session_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Asks, and notes it as logged when that is allowed. ret the number given */
static err_t s_log(session_book_t *book, const record_t *record, uint32_t *ret_seq)
{
    uint32_t row = 0;
    errbuf_t errbuf = {{0}};
    err_t err = session_book_admit(book, session_test_stream(1), record, &row, ret_seq, &errbuf);
    if (err == ERR_OK) {
        session_book_note_logged(book, row, record->type);
    } else {
        assert_true(strlen(errbuf.text) > 20);
    }
    return err;
}

/* A book with session 1, started as event 1 of region 1. */
static session_book_t *s_started(void)
{
    session_book_t *book = session_test_book();
    const record_t start = session_test_start(1, 0, "web");
    session_test_apply(book, 1, 1, &start, SESSION_COUNTED);
    return book;
}

/* Goal: numbers follow one another, what is not applied yet counted in; another origin's do not
 * matter. */
static void test_session_admit_numbers_follow_one_another(void **state)
{
    (void)state;
    session_book_t *book = s_started();
    const record_t elsewhere = session_test_signal(1, 1, 1, 9);
    session_test_apply(book, 2, 1, &elsewhere, SESSION_COUNTED);
    const record_t asked = session_test_signal(1, 5, 0, 9);
    uint32_t seq = 0;
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(s_log(book, &asked, &seq), ERR_OK);
        assert_int_equal(seq, i);
    }
    for (uint32_t i = 1; i <= 3; i++) {
        const record_t logged = session_test_signal(1, 5, i, 9);
        session_test_apply(book, 1, 1 + i, &logged, SESSION_COUNTED);
    }
    session_book_settle_logged(book);
    assert_int_equal(s_log(book, &asked, &seq), ERR_OK);
    assert_int_equal(seq, 4);
    session_book_destroy(&book);
}

/* Goal: unknown sessions are NOT_FOUND, also one of which only signals have come. */
static void test_session_admit_unknown_session_is_not_found(void **state)
{
    (void)state;
    session_book_t *book = session_test_book();
    const record_t signal = session_test_signal(1, 1, 0, 9);
    const record_t close = session_test_close(1, 1, false);
    uint32_t seq = 0;
    assert_int_equal(s_log(book, &signal, &seq), ERR_NOT_FOUND);
    assert_int_equal(s_log(book, &close, &seq), ERR_NOT_FOUND);
    const record_t elsewhere = session_test_signal(1, 1, 1, 9);
    session_test_apply(book, 2, 1, &elsewhere, SESSION_COUNTED);
    assert_int_equal(s_log(book, &signal, &seq), ERR_NOT_FOUND);
    session_book_destroy(&book);
}

/* Goal: no signal follows a close, from the moment that it is logged; closing again is allowed. */
static void test_session_admit_signal_behind_a_close_is_refused(void **state)
{
    (void)state;
    session_book_t *book = s_started();
    const record_t signal = session_test_signal(1, 1, 0, 9);
    const record_t close = session_test_close(1, 2, false);
    uint32_t seq = 0;
    assert_int_equal(s_log(book, &close, &seq), ERR_OK);
    session_id_t id = session_test_id(1);
    assert_true(session_book_has_logged(book, session_book_find(book, &id)));
    assert_int_equal(s_log(book, &signal, &seq), ERR_CONFLICT);
    session_test_apply(book, 1, 2, &close, SESSION_COUNTED);
    session_book_settle_logged(book);
    assert_int_equal(s_log(book, &signal, &seq), ERR_CONFLICT);
    assert_int_equal(s_log(book, &close, &seq), ERR_OK);
    assert_int_equal(session_book_open_count(book), 0);
    session_book_destroy(&book);
}

/* Goal: the last signal that fits fits, one more is TOO_LARGE; void ones keep their number. */
static void test_session_admit_one_signal_too_many_is_too_large(void **state)
{
    (void)state;
    session_book_t *book = s_started();
    for (uint32_t i = 1; i < SESSION_SIGNAL_COUNT_MAX; i++) {
        const record_t logged = session_test_signal(1, 5, i, 9);
        session_test_apply(book, 1, 1 + i, &logged, i == 7 ? SESSION_VOID : SESSION_COUNTED);
    }
    const record_t signal = session_test_signal(1, 6, 0, 9);
    uint32_t seq = 0;
    assert_int_equal(s_log(book, &signal, &seq), ERR_OK);
    assert_int_equal(seq, SESSION_SIGNAL_COUNT_MAX);
    assert_int_equal(s_log(book, &signal, &seq), ERR_TOO_LARGE);
    session_book_destroy(&book);
}

/* Goal: one session too many is refused, while those that are there may be started again. */
static void test_session_admit_one_open_session_too_many_is_full(void **state)
{
    (void)state;
    session_book_t *book = session_test_book();
    for (uint64_t n = 1; n <= SESSION_OPEN_COUNT_MAX; n++) {
        const record_t start = session_test_start(n, 0, "");
        session_test_apply(book, 1, n, &start, SESSION_COUNTED);
    }
    uint32_t seq = 0;
    const record_t again = session_test_start(1, 0, "");
    const record_t more = session_test_start(SESSION_OPEN_COUNT_MAX + 1, 0, "");
    assert_int_equal(s_log(book, &again, &seq), ERR_OK);
    assert_int_equal(s_log(book, &more, &seq), ERR_FULL);
    const record_t close = session_test_close(5, 1, false);
    session_test_apply(book, 1, SESSION_OPEN_COUNT_MAX + 1, &close, SESSION_COUNTED);
    assert_int_equal(s_log(book, &more, &seq), ERR_OK);
    session_totals_t totals;
    session_book_totals(book, &totals);
    assert_int_equal(totals.open, SESSION_OPEN_COUNT_MAX - 1);
    assert_true(totals.memory_bytes / totals.sessions < 400);
    session_book_destroy(&book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_admit_numbers_follow_one_another),
        cmocka_unit_test(test_session_admit_unknown_session_is_not_found),
        cmocka_unit_test(test_session_admit_signal_behind_a_close_is_refused),
        cmocka_unit_test(test_session_admit_one_signal_too_many_is_too_large),
        cmocka_unit_test(test_session_admit_one_open_session_too_many_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
