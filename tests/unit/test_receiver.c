/* The receiver core: what is taken, confirmed, announced and refused. */
#include "common/replication/receiver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const int64_t s_ms = 1000000;

static stream_id_t s_stream(uint16_t shard)
{
    return (stream_id_t){.tenant = {1}, .incarnation = 7, .origin = {{2}, {shard}}};
}

static receiver_t *s_new(void)
{
    receiver_options_t options = {.self = {1},
                                  .publish_ns = 250 * s_ms,
                                  .resend_ns = 200 * s_ms,
                                  .source_silent_ns = 1000 * s_ms};
    return receiver_new(&options);
}

static receiver_effects_t s_step(
    receiver_t *receiver, receiver_event_kind_t kind, uint64_t seq, err_t outcome, int64_t now_ns)
{
    receiver_event_t event = {
        .kind = kind,
        .now_ns = now_ns,
        .peer = {2},
        .stream = s_stream(0),
        .is_placed = true,
        .seq = seq,
        .outcome = outcome,
    };
    receiver_effects_t effects;
    receiver_step(receiver, &event, &effects);
    return effects;
}

/* Blocks of a stream that the table does not place change nothing and are counted. */
static void test_receiver_unplaced_blocks_are_refused(void **state)
{
    (void)state;
    receiver_t *receiver = s_new();
    receiver_event_t event = {
        .kind = RECEIVER_EVENT_BLOCKS, .peer = {2}, .stream = s_stream(0), .seq = 5};
    receiver_effects_t effects;
    receiver_step(receiver, &event, &effects);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, RECEIVER_EFFECT_REFUSE);
    assert_int_equal(receiver_counters(receiver).refused, 1);
    assert_int_equal(receiver_stream_count(receiver), 0);
    receiver_destroy(&receiver);
    receiver_destroy(&receiver);
}

/* Appended is not durable: nothing is confirmed or announced before the flush. */
static void test_receiver_confirms_only_after_flush(void **state)
{
    (void)state;
    receiver_t *receiver = s_new();
    receiver_effects_t effects = s_step(receiver, RECEIVER_EVENT_BLOCKS, 9, ERR_OK, 0);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, RECEIVER_EFFECT_OFFER);
    receiver_publish_taken(receiver);
    (void)s_step(receiver, RECEIVER_EVENT_OFFERED, 9, ERR_OK, 0);
    effects = s_step(receiver, RECEIVER_EVENT_TURN_END, 0, ERR_OK, 0);
    assert_int_equal(effects.count, 0);
    assert_int_equal(receiver_row(receiver, 0)->durable_seq, 0);
    (void)s_step(receiver, RECEIVER_EVENT_FLUSHED, 9, ERR_OK, 0);
    effects = s_step(receiver, RECEIVER_EVENT_TURN_END, 0, ERR_OK, 0);
    assert_int_equal(effects.count, 2);
    assert_int_equal(effects.list[0].kind, RECEIVER_EFFECT_PUBLISH);
    assert_int_equal(effects.list[1].kind, RECEIVER_EFFECT_STATUS);
    assert_int_equal(effects.list[1].peer.value, 2);
    assert_true(receiver_row_is_due(receiver, 0, (region_id_t){2}));
    assert_false(receiver_row_is_due(receiver, 0, (region_id_t){3}));
    assert_int_equal(receiver_row(receiver, 0)->durable_seq, 9);
    receiver_destroy(&receiver);
}

/* What was told once is not told again until it changes. */
static void test_receiver_status_taken_ends_the_due_rows(void **state)
{
    (void)state;
    receiver_t *receiver = s_new();
    (void)s_step(receiver, RECEIVER_EVENT_BLOCKS, 9, ERR_OK, 0);
    (void)s_step(receiver, RECEIVER_EVENT_OFFERED, 9, ERR_OK, 0);
    (void)s_step(receiver, RECEIVER_EVENT_FLUSHED, 9, ERR_OK, 0);
    receiver_status_taken(receiver, (region_id_t){2});
    receiver_publish_taken(receiver);
    assert_false(receiver_row_is_due(receiver, 0, (region_id_t){2}));
    assert_int_equal(s_step(receiver, RECEIVER_EVENT_TURN_END, 0, ERR_OK, 0).count, 0);
    receiver_destroy(&receiver);
}

/* A gap asks for a resend once per position and interval, not once per message. */
static void test_receiver_gap_is_told_once_per_position(void **state)
{
    (void)state;
    receiver_t *receiver = s_new();
    (void)s_step(receiver, RECEIVER_EVENT_RECOVERED, 4, ERR_OK, 0);
    receiver_publish_taken(receiver);
    for (int i = 0; i < 3; i++) {
        (void)s_step(receiver, RECEIVER_EVENT_BLOCKS, 20, ERR_OK, 0);
        (void)s_step(receiver, RECEIVER_EVENT_OFFERED, 4, ERR_GAP, 0);
        assert_int_equal(receiver_row(receiver, 0)->resend, i == 0);
        receiver_status_taken(receiver, (region_id_t){2});
    }
    assert_int_equal(receiver_counters(receiver).gaps, 3);
    (void)s_step(receiver, RECEIVER_EVENT_OFFERED, 4, ERR_GAP, 200 * s_ms);
    assert_true(receiver_row(receiver, 0)->resend);
    receiver_destroy(&receiver);
}

/* Damaged blocks are counted apart and fetched again; the position stays. */
static void test_receiver_corrupt_blocks_are_counted_and_asked_again(void **state)
{
    (void)state;
    receiver_t *receiver = s_new();
    (void)s_step(receiver, RECEIVER_EVENT_RECOVERED, 4, ERR_OK, 0);
    (void)s_step(receiver, RECEIVER_EVENT_BLOCKS, 20, ERR_OK, 0);
    (void)s_step(receiver, RECEIVER_EVENT_OFFERED, 4, ERR_CORRUPT, 0);
    assert_int_equal(receiver_counters(receiver).corrupt, 1);
    assert_int_equal(receiver_row(receiver, 0)->durable_seq, 4);
    assert_true(receiver_row(receiver, 0)->resend);
    receiver_effects_t effects = s_step(receiver, RECEIVER_EVENT_TURN_END, 0, ERR_OK, 0);
    assert_int_equal(effects.list[effects.count - 1].kind, RECEIVER_EFFECT_STATUS);
    receiver_destroy(&receiver);
}

/* The end of a heads message is answered with the full list, and the head is remembered. */
static void test_receiver_heads_are_answered_with_all_positions(void **state)
{
    (void)state;
    receiver_t *receiver = s_new();
    (void)s_step(receiver, RECEIVER_EVENT_HEADS, 17, ERR_OK, 5);
    receiver_effects_t effects = s_step(receiver, RECEIVER_EVENT_HEARD, 0, ERR_OK, 5);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, RECEIVER_EFFECT_STATUS_ALL);
    assert_int_equal(receiver_row(receiver, 0)->head_seq, 17);
    assert_int_equal(receiver_row(receiver, 0)->head_at_ns, 5);
    receiver_destroy(&receiver);
}

/* The full list is published once per period, also when nothing happens. */
static void test_receiver_tick_publishes_all_once_per_period(void **state)
{
    (void)state;
    receiver_t *receiver = s_new();
    assert_true(receiver_deadline_ns(receiver) == INT64_MIN);
    assert_int_equal(s_step(receiver, RECEIVER_EVENT_TICK, 0, ERR_OK, 0).count, 1);
    assert_int_equal(s_step(receiver, RECEIVER_EVENT_TICK, 0, ERR_OK, 249 * s_ms).count, 0);
    assert_int_equal(s_step(receiver, RECEIVER_EVENT_TICK, 0, ERR_OK, 250 * s_ms).count, 1);
    receiver_destroy(&receiver);
}

/* The origin's own position is what its region told last: other than the head it goes back. */
static void test_receiver_origin_position_is_what_was_told_last(void **state)
{
    (void)state;
    receiver_t *receiver = s_new();
    (void)s_step(receiver, RECEIVER_EVENT_HEADS, 20, ERR_OK, 0);
    assert_int_equal(receiver_row(receiver, 0)->origin_seq, 20);
    (void)s_step(receiver, RECEIVER_EVENT_HEADS, 5, ERR_OK, 0);
    assert_int_equal(receiver_row(receiver, 0)->origin_seq, 5);
    assert_int_equal(receiver_row(receiver, 0)->head_seq, 20);
    receiver_destroy(&receiver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receiver_unplaced_blocks_are_refused),
        cmocka_unit_test(test_receiver_confirms_only_after_flush),
        cmocka_unit_test(test_receiver_status_taken_ends_the_due_rows),
        cmocka_unit_test(test_receiver_gap_is_told_once_per_position),
        cmocka_unit_test(test_receiver_corrupt_blocks_are_counted_and_asked_again),
        cmocka_unit_test(test_receiver_heads_are_answered_with_all_positions),
        cmocka_unit_test(test_receiver_tick_publishes_all_once_per_period),
        cmocka_unit_test(test_receiver_origin_position_is_what_was_told_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
