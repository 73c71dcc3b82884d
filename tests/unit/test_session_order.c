/* A book of sessions is a function of the set of records, whatever their order. */
#include "tests/unit/session_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A record somewhere in a stream. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order in which one is written */
typedef struct {
    uint16_t region;
    uint64_t seq;
    record_t record;
    session_standing_t standing;
} s_event_t;

enum { S_EVENT_COUNT_MAX = 6 };

static void s_apply(session_book_t *book, const s_event_t *event)
{
    session_test_apply(book, event->region, event->seq, &event->record, event->standing);
}

/* The next order after this one, as numbers; false behind the last. */
static bool s_next_order(uint32_t *order, uint32_t count)
{
    uint32_t i = count - 1;
    while (i > 0 && order[i - 1] > order[i]) {
        i--;
    }
    if (i == 0) {
        return false;
    }
    uint32_t k = count - 1;
    while (order[k] < order[i - 1]) {
        k--;
    }
    uint32_t kept = order[i - 1];
    order[i - 1] = order[k];
    order[k] = kept;
    for (uint32_t low = i, high = count - 1; low < high; low++, high--) {
        kept = order[low];
        order[low] = order[high];
        order[high] = kept;
    }
    return true;
}

static void s_expect_any_order(const s_event_t *events, uint32_t count, uint32_t orders)
{
    uint32_t order[S_EVENT_COUNT_MAX];
    session_book_t *expected = session_test_book();
    for (uint32_t i = 0; i < count; i++) {
        order[i] = i;
        s_apply(expected, &events[i]);
    }
    uint32_t tried = 0;
    do {
        session_book_t *book = session_test_book();
        for (uint32_t i = 0; i < count; i++) {
            s_apply(book, &events[order[i]]);
        }
        session_test_expect_equal(expected, book);
        session_book_destroy(&book);
        tried++;
    } while (s_next_order(order, count));
    assert_int_equal(tried, orders);
    session_book_destroy(&expected);
}

/* Goal: start, signals of two regions, a void one and a close give the same bytes in all 720 orders.
 */
static void test_session_book_any_order_gives_the_same_bytes(void **state)
{
    (void)state;
    const s_event_t events[] = {
        {1, 1, session_test_start(1, 0, "web"), SESSION_COUNTED},
        {1, 2, session_test_signal(1, 10, 1, 100), SESSION_COUNTED},
        {2, 1, session_test_signal(1, 10, 1, 200), SESSION_COUNTED}, /* the same stamp */
        {2, 2, session_test_signal(1, 5, 2, 300), SESSION_VOID},
        {1, 3, session_test_close(1, 20, false), SESSION_COUNTED},
        {2, 3, session_test_signal(1, 30, 3, 400), SESSION_COUNTED}, /* behind the close */
    };
    s_expect_any_order(events, 6, 720);
}

/* Goal: of several starts and closes the lowest stamp stays, equal ones by their content. */
static void test_session_book_any_order_of_copies_gives_the_same_bytes(void **state)
{
    (void)state;
    const s_event_t events[] = {
        {1, 1, session_test_start(1, 3, "web"), SESSION_COUNTED},
        {2, 1, session_test_start(1, 2, "phone"), SESSION_COUNTED},
        {3, 1, session_test_start(1, 2, "car"), SESSION_COUNTED},
        {1, 2, session_test_close(1, 40, true), SESSION_COUNTED},
        {2, 2, session_test_close(1, 40, false), SESSION_COUNTED},
        {3, 2, session_test_close(1, 41, true), SESSION_COUNTED},
    };
    s_expect_any_order(events, 6, 720);
    session_book_t *book = session_test_book();
    session_view_t view;
    session_id_t id = session_test_id(1);
    for (uint32_t i = 0; i < 6; i++) {
        s_apply(book, &events[i]);
    }
    session_book_view(book, session_book_find(book, &id), &view);
    assert_true(slice_equal(view.agent, slice_text("car")));
    assert_int_equal(view.started.wall_ns, session_test_hlc(2).wall_ns);
    assert_int_equal(view.closed.wall_ns, session_test_hlc(40).wall_ns);
    assert_true(view.is_closed && !view.is_auto);
    assert_int_equal(view.duration_ms, 38);
    session_book_destroy(&book);
}

/* Goal: a copy taken back leaves what a copy that arrived void leaves, to the byte; its number stays
 * taken. */
static void test_session_book_void_is_exact(void **state)
{
    (void)state;
    session_book_t *books[2] = {session_test_book(), session_test_book()};
    const record_t start = session_test_start(1, 0, "");
    const record_t kept = session_test_signal(1, 1, 1, 100);
    const record_t copy = session_test_signal(1, 2, 2, 100);
    for (int i = 0; i < 2; i++) {
        session_test_apply(books[i], 1, 1, &start, SESSION_COUNTED);
        session_test_apply(books[i], 1, 2, &kept, SESSION_COUNTED);
        session_test_apply(books[i], 1, 3, &copy, i == 0 ? SESSION_VOID : SESSION_COUNTED);
    }
    session_test_void(books[1], 1, 3, &copy);
    session_test_expect_equal(books[0], books[1]);
    session_id_t id = session_test_id(1);
    uint32_t row = session_book_find(books[1], &id);
    session_view_t view;
    session_book_view(books[1], row, &view);
    assert_int_equal(view.signal_count, 1);
    assert_int_equal(session_book_seq_of(books[1], row, session_test_stream(1), 2), 1);
    assert_int_equal(session_book_seq_of(books[1], row, session_test_stream(1), 3), 0);
    /* Taken back once more, or what was never there: nothing changes. */
    session_test_void(books[1], 1, 3, &copy);
    session_test_void(books[1], 2, 3, &copy);
    session_test_void(books[1], 1, 1, &start);
    session_test_expect_equal(books[0], books[1]);
    session_book_destroy(&books[0]);
    session_book_destroy(&books[1]);
}

/* What becomes of a copy: it arrives, counted or void, or is taken back. */
typedef enum { S_COUNTED, S_VOID, S_TAKEN_BACK } s_step_kind_t;

typedef struct {
    char copy; /* X of region 1, Y of region 2, or Z, a reissue of X in the stream of region 3 */
    s_step_kind_t kind;
} s_step_t;

static void s_take_step(session_book_t *book, s_step_t step)
{
    const record_t x = session_test_signal(1, 10, 5, 100);
    const record_t y = session_test_signal(1, 12, 2, 100);
    buffer_t payload;
    buffer_init(&payload);
    record_append(&payload, step.copy == 'Y' ? &y : &x);
    wal_batch_t batch = session_test_batch(step.copy == 'X'   ? 1
                                           : step.copy == 'Y' ? 2
                                                              : 3,
                                           40, buffer_slice(&payload));
    if (step.copy == 'Z') {
        batch.reissue = (wal_reissue_t){{session_test_stream(1), 40}, {1}};
    }
    err_t err = step.kind == S_TAKEN_BACK
                    ? session_book_void(book, &batch, NULL)
                    : session_book_apply(
                          book, &batch, step.kind == S_VOID ? SESSION_VOID : SESSION_COUNTED, NULL);
    assert_int_equal(err, ERR_OK);
    buffer_done(&payload);
}

/* Goal: a reissue stands for the copy that it names: whoever arrives first, the signal is there once, in
 * that copy's stream, by its number; and a leader that then logs a copy of its own takes it back. */
static void test_session_book_reissue_is_the_copy_that_it_names(void **state)
{
    (void)state;
    /* As the pairs decide it (dedup.h): Z before Y before X. Between Z and X nothing is taken back. */
    static const s_step_t s_orders[][5] = {
        {{'X', S_COUNTED},
         {'Y', S_COUNTED},
         {'X', S_TAKEN_BACK},
         {'Z', S_COUNTED},
         {'Y', S_TAKEN_BACK}},
        {{'X', S_COUNTED}, {'Z', S_COUNTED}, {'Y', S_VOID}, {'Y', S_VOID}, {'Y', S_VOID}},
        {{'Y', S_COUNTED},
         {'X', S_VOID},
         {'Z', S_COUNTED},
         {'Y', S_TAKEN_BACK},
         {'Y', S_TAKEN_BACK}},
        {{'Y', S_COUNTED}, {'Z', S_COUNTED}, {'Y', S_TAKEN_BACK}, {'X', S_VOID}, {'X', S_VOID}},
        {{'Z', S_COUNTED}, {'X', S_VOID}, {'Y', S_VOID}, {'Y', S_VOID}, {'Y', S_VOID}},
        {{'Z', S_COUNTED}, {'Y', S_VOID}, {'X', S_VOID}, {'X', S_VOID}, {'X', S_VOID}},
    };
    enum { S_ORDERS = sizeof(s_orders) / sizeof(s_orders[0]) };
    session_book_t *books[S_ORDERS];
    const record_t start = session_test_start(1, 0, "web");
    session_id_t id = session_test_id(1);
    for (uint32_t i = 0; i < S_ORDERS; i++) {
        books[i] = session_test_book();
        session_test_apply(books[i], 1, 1, &start, SESSION_COUNTED);
        for (uint32_t k = 0; k < 5; k++) {
            s_take_step(books[i], s_orders[i][k]);
        }
        session_test_expect_equal(books[0], books[i]);
        uint32_t row = session_book_find(books[i], &id);
        session_view_t view;
        session_book_view(books[i], row, &view);
        assert_int_equal(view.signal_count, 1);
        assert_int_equal(session_book_seq_of(books[i], row, session_test_stream(1), 40), 5);
        assert_int_equal(session_book_seq_of(books[i], row, session_test_stream(3), 40), 0);
    }
    s_take_step(books[0], (s_step_t){'Z', S_TAKEN_BACK});
    session_view_t view;
    session_book_view(books[0], session_book_find(books[0], &id), &view);
    assert_int_equal(view.signal_count, 0);
    for (uint32_t i = 0; i < S_ORDERS; i++) {
        session_book_destroy(&books[i]);
    }
}

/* Goal: a batch that is handed in again changes nothing: its number has come before. */
static void test_session_book_replay_changes_nothing(void **state)
{
    (void)state;
    session_book_t *books[2] = {session_test_book(), session_test_book()};
    const record_t records[] = {session_test_start(1, 0, "web"), session_test_signal(1, 1, 1, 5),
                                session_test_signal(1, 2, 2, 6), session_test_close(1, 3, false)};
    for (uint32_t i = 0; i < 4; i++) {
        session_test_apply(books[1], 1, 1 + i, &records[i], SESSION_COUNTED);
    }
    for (uint32_t i = 0; i < 3 * 4; i++) {
        session_test_apply(books[0], 1, 1 + i % 4, &records[i % 4], SESSION_COUNTED);
    }
    session_test_expect_equal(books[0], books[1]);
    session_totals_t totals;
    session_book_totals(books[0], &totals);
    assert_true(totals.signals == 2 && totals.repeated == 4 && totals.sessions == 1);
    session_book_destroy(&books[0]);
    session_book_destroy(&books[1]);
}

/* Goal: signals stand in HLC order, equal stamps by stream; the view says how long it went on. */
static void test_session_book_signals_are_in_hlc_order(void **state)
{
    (void)state;
    session_book_t *book = session_test_book();
    const record_t start = session_test_start(1, 0, "web");
    const record_t signals[] = {session_test_signal(1, 30, 1, 3), session_test_signal(1, 10, 2, 1),
                                session_test_signal(1, 20, 1, 2), session_test_signal(1, 10, 2, 9)};
    session_test_apply(book, 1, 1, &start, SESSION_COUNTED);
    session_test_apply(book, 1, 2, &signals[0], SESSION_COUNTED);
    session_test_apply(book, 1, 3, &signals[1], SESSION_COUNTED);
    session_test_apply(book, 2, 1, &signals[2], SESSION_COUNTED);
    session_test_apply(book, 2, 2, &signals[3], SESSION_COUNTED);
    static const uint64_t s_items[] = {1, 9, 2, 3};
    session_id_t id = session_test_id(1);
    session_view_t view;
    session_book_view(book, session_book_find(book, &id), &view);
    assert_int_equal(view.signal_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(view.signals[i].item.value, s_items[i]);
    }
    assert_true(!view.is_closed && view.duration_ms == 30);
    assert_int_equal(session_book_stream(book, view.signals[1].stream).origin.region.value, 2);
    /* Closed for its age: it went on until the last signal. */
    const record_t close = session_test_close(1, 5000, true);
    session_test_apply(book, 1, 4, &close, SESSION_COUNTED);
    session_book_view(book, session_book_find(book, &id), &view);
    assert_true(view.is_auto && view.duration_ms == 30);
    session_book_destroy(&book);
}

/* Goal: a malformed payload changes nothing, also where its first record was fine. */
static void test_session_book_malformed_payload_changes_nothing(void **state)
{
    (void)state;
    session_book_t *book = session_test_book();
    const record_t start = session_test_start(1, 0, "web");
    const record_t signal = session_test_signal(1, 1, 1, 5);
    buffer_t payload;
    buffer_init(&payload);
    record_append(&payload, &start);
    record_append(&payload, &signal);
    payload.data[payload.size - 1] = 0; /* no signal */
    wal_batch_t batch = session_test_batch(1, 1, buffer_slice(&payload));
    assert_int_equal(session_book_apply(book, &batch, SESSION_COUNTED, NULL), ERR_CORRUPT);
    session_totals_t totals;
    session_book_totals(book, &totals);
    assert_int_equal(totals.sessions, 0);
    payload.data[payload.size - 1] = 1;
    assert_int_equal(session_book_apply(book, &batch, SESSION_COUNTED, NULL), ERR_OK);
    session_id_t id = session_test_id(1);
    uint32_t row = session_book_find(book, &id);
    assert_int_equal(session_book_seq_of(book, row, session_test_stream(1), 2), 1);
    buffer_done(&payload);
    session_book_destroy(&book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_book_any_order_gives_the_same_bytes),
        cmocka_unit_test(test_session_book_any_order_of_copies_gives_the_same_bytes),
        cmocka_unit_test(test_session_book_void_is_exact),
        cmocka_unit_test(test_session_book_reissue_is_the_copy_that_it_names),
        cmocka_unit_test(test_session_book_replay_changes_nothing),
        cmocka_unit_test(test_session_book_signals_are_in_hlc_order),
        cmocka_unit_test(test_session_book_malformed_payload_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
