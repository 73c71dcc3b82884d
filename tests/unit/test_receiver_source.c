/* The receiver core: from which region a stream is taken, who is told so, and what is refused.
 * Traces are compared as text: one word per change of the source, "time in ms:region". */
#include "common/replication/receiver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SELF = 1, ORIGIN = 2, HEARTBEAT_MS = 250, SILENT_MS = 1000 };
static const int64_t s_ms = 1000000;

/* What one region's shipper tells, every heartbeat from from_ms to until_ms. */
typedef struct {
    uint16_t region;
    int64_t from_ms;
    int64_t until_ms;
    uint64_t head_seq; /* 0: its list does not have the stream */
} s_teller_t;

static receiver_t *s_receiver;
static uint16_t s_source;
static char s_trace[512];

static stream_id_t s_stream(uint16_t origin)
{
    return (stream_id_t){.tenant = {1}, .incarnation = 7, .origin = {{origin}, {0}}};
}

static int s_setup(void **state)
{
    (void)state;
    receiver_options_t options = {.self = {SELF},
                                  .publish_ns = HEARTBEAT_MS * s_ms,
                                  .resend_ns = HEARTBEAT_MS * s_ms,
                                  .source_silent_ns = SILENT_MS * s_ms};
    s_receiver = receiver_new(&options);
    s_source = 0;
    s_trace[0] = '\0';
    return 0;
}

static int s_teardown(void **state)
{
    (void)state;
    receiver_destroy(&s_receiver);
    return 0;
}

static receiver_effects_t s_step(receiver_event_t event, int64_t now_ms)
{
    receiver_effects_t effects;
    event.now_ns = now_ms * s_ms;
    receiver_step(s_receiver, &event, &effects);
    uint16_t source =
        receiver_stream_count(s_receiver) == 0 ? 0 : receiver_row(s_receiver, 0)->source.value;
    if (source != s_source) {
        size_t used = strlen(s_trace);
        (void)snprintf(s_trace + used, sizeof(s_trace) - used, "%s%lld:%u", used == 0 ? "" : " ",
                       (long long)now_ms, (unsigned)source);
        s_source = source;
    }
    return effects;
}

static receiver_event_t s_event(receiver_event_kind_t kind, uint16_t peer, uint64_t seq)
{
    return (receiver_event_t){.kind = kind,
                              .peer = {peer},
                              .stream = s_stream(ORIGIN),
                              .is_placed = true,
                              .seq = seq,
                              .known_shards = UINT64_MAX};
}

static void s_heads(uint16_t peer, uint64_t head_seq, int64_t now_ms)
{
    if (head_seq > 0) {
        (void)s_step(s_event(RECEIVER_EVENT_HEADS, peer, head_seq), now_ms);
    }
    (void)s_step(s_event(RECEIVER_EVENT_HEARD, peer, 0), now_ms);
}

/* Events up to seq of head_seq arrive from that region and are durable. */
static void s_blocks_of(uint16_t peer, uint64_t seq, uint64_t head_seq, int64_t now_ms)
{
    (void)s_step(s_event(RECEIVER_EVENT_BLOCKS, peer, head_seq), now_ms);
    (void)s_step(s_event(RECEIVER_EVENT_OFFERED, peer, seq), now_ms);
    (void)s_step(s_event(RECEIVER_EVENT_FLUSHED, peer, seq), now_ms);
}

/* All that the region has. */
static void s_blocks(uint16_t peer, uint64_t seq, int64_t now_ms)
{
    s_blocks_of(peer, seq, seq, now_ms);
}

static void s_tell(const s_teller_t *teller, int64_t now_ms)
{
    if (now_ms >= teller->from_ms && now_ms <= teller->until_ms) {
        s_heads(teller->region, teller->head_seq, now_ms);
    }
}

/* Heartbeats of all tellers until until_ms, the receiver's own ticks in between. */
static void s_run(const s_teller_t *tellers, size_t count, int64_t from_ms, int64_t until_ms)
{
    for (int64_t now_ms = from_ms; now_ms <= until_ms; now_ms += HEARTBEAT_MS) {
        for (size_t i = 0; i < count; i++) {
            s_tell(&tellers[i], now_ms);
        }
        (void)s_step(s_event(RECEIVER_EVENT_TICK, 0, 0), now_ms);
    }
}

static void s_assert_trace(const char *expected)
{
    assert_string_equal(s_trace, expected);
    s_trace[0] = '\0';
}

/* While the origin's region is heard it is the source, whoever else has as much. */
static void test_receiver_source_is_the_origin_while_it_is_heard(void **state)
{
    (void)state;
    static const s_teller_t s_tellers[] = {{3, 0, 5000, 9}, {ORIGIN, 0, 5000, 9}};
    s_blocks(ORIGIN, 9, 0);
    s_run(s_tellers, 2, 0, 5000);
    s_assert_trace("0:2");
    assert_int_equal(receiver_counters(s_receiver).source_changes, 0);
}

/* Silence of the origin: the region furthest ahead, exactly after source_silent; of equal ones the
 * lowest; and back with the origin's first word. */
static void test_receiver_silent_origin_is_replaced_and_comes_back(void **state)
{
    (void)state;
    static const s_teller_t s_tellers[] = {
        {5, 0, 9000, 20}, {4, 0, 9000, 30}, {3, 0, 9000, 30}, {ORIGIN, 0, 500, 30}};
    s_run(s_tellers, 4, 0, 1250);
    s_assert_trace("0:2");
    s_run(s_tellers, 4, 1500, 2000);
    s_blocks_of(3, 25, 30, 2100);
    s_run(s_tellers, 4, 2250, 4000);
    s_assert_trace("1500:3");
    s_heads(ORIGIN, 30, 4100);
    s_assert_trace("4100:2");
}

/* A receiver that has just started waits for the origin as long as for one that fell silent. */
static void test_receiver_start_is_not_taken_for_silence(void **state)
{
    (void)state;
    static const s_teller_t s_tellers[] = {{3, 0, 3000, 9}};
    s_run(s_tellers, 1, 0, 2000);
    s_assert_trace("0:2 1000:3");
}

/* Two regions that run ahead of each other in turn: the source stays while it has something, and
 * goes over only where it has nothing that the other has. */
static void test_receiver_equal_heads_do_not_flap(void **state)
{
    (void)state;
    static const s_teller_t s_tellers[] = {{3, 0, 1000, 10}, {4, 0, 1000, 10}};
    s_run(s_tellers, 2, 0, 1000);
    s_assert_trace("0:2 1000:3");
    for (uint64_t round = 0; round < 10; round++) {
        int64_t now_ms = 1100 + 200 * (int64_t)round;
        s_heads(4, 12 + 2 * round, now_ms);
        s_heads(3, 12 + 2 * round, now_ms + 50);
        s_blocks_of(3, 11 + 2 * round, 12 + 2 * round, now_ms + 60);
    }
    s_assert_trace("");
    s_blocks(3, 30, 3150);
    s_heads(4, 31, 3200);
    s_assert_trace("3200:4");
}

/* An origin that is heard and tells less than the others for so long has lost its files: the others
 * serve. It is the source again when it tells as much. */
static void test_receiver_origin_that_lost_its_files_is_replaced(void **state)
{
    (void)state;
    static const s_teller_t s_tellers[] = {{ORIGIN, 0, 9000, 0}, {3, 500, 9000, 9}};
    s_run(s_tellers, 2, 0, 3000);
    s_assert_trace("500:2 1500:3");
    s_blocks(3, 9, 3000);
    s_heads(ORIGIN, 9, 3100);
    s_assert_trace("3100:2");
}

/* Heads that grow a heartbeat apart are not a loss. */
static void test_receiver_origin_behind_for_a_moment_stays(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 20; round++) {
        s_heads(ORIGIN, 1 + round * 10, (int64_t)round * HEARTBEAT_MS);
        s_heads(3, 5 + round * 10, (int64_t)round * HEARTBEAT_MS + 100);
        s_blocks(ORIGIN, 4 + round * 10, (int64_t)round * HEARTBEAT_MS + 110);
    }
    s_assert_trace("0:2");
}

/* A source that has more and brings nothing (its file is damaged, or it does not hear us) is passed
 * over after twice the silence, when another one can serve, and not otherwise. */
static void test_receiver_source_that_brings_nothing_is_passed_over(void **state)
{
    (void)state;
    static const s_teller_t s_tellers[] = {{ORIGIN, 0, 30000, 9}, {3, 3000, 30000, 9}};
    s_run(s_tellers, 2, 0, 2750);
    s_assert_trace("0:2");
    s_run(s_tellers, 2, 3000, 5000);
    s_assert_trace("3000:3");
    s_blocks(3, 9, 5000);
    s_run(s_tellers, 2, 5250, 12000);
    s_assert_trace("11000:2");
}

/* Both are told of a change at once: the old source that it is not wanted, the new one that it is;
 * no third one. */
static void test_receiver_change_of_source_is_told_to_both(void **state)
{
    (void)state;
    static const s_teller_t s_tellers[] = {{3, 0, 2000, 9}, {4, 0, 2000, 9}, {ORIGIN, 0, 0, 9}};
    s_run(s_tellers, 3, 0, 750);
    for (uint16_t region = 2; region <= 4; region++) {
        receiver_status_taken(s_receiver, (region_id_t){region});
    }
    (void)s_step(s_event(RECEIVER_EVENT_TICK, 0, 0), 1000);
    assert_int_equal(receiver_row(s_receiver, 0)->source.value, 3);
    assert_true(receiver_row_is_due(s_receiver, 0, (region_id_t){ORIGIN}));
    assert_true(receiver_row_is_due(s_receiver, 0, (region_id_t){3}));
    assert_false(receiver_row_is_due(s_receiver, 0, (region_id_t){4}));
    receiver_effects_t effects = s_step(s_event(RECEIVER_EVENT_TURN_END, 0, 0), 1000);
    assert_int_equal(effects.count, 3);
    assert_int_equal(effects.list[1].kind, RECEIVER_EFFECT_STATUS);
    assert_int_equal(effects.list[1].peer.value, ORIGIN);
    assert_int_equal(effects.list[2].peer.value, 3);
}

/* Blocks of a region that is not the source are taken; when they do not fit, it is told that it is
 * not wanted, and the source is not asked to send again. */
static void test_receiver_blocks_from_elsewhere_are_taken(void **state)
{
    (void)state;
    s_heads(ORIGIN, 9, 0);
    s_heads(3, 9, 0);
    receiver_effects_t effects = s_step(s_event(RECEIVER_EVENT_BLOCKS, 3, 9), 10);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, RECEIVER_EFFECT_OFFER);
    receiver_event_t offered = s_event(RECEIVER_EVENT_OFFERED, 3, 0);
    offered.outcome = ERR_GAP;
    (void)s_step(offered, 10);
    assert_false(receiver_row(s_receiver, 0)->resend);
    assert_true(receiver_row_is_due(s_receiver, 0, (region_id_t){3}));
    s_assert_trace("0:2");
}

/* A position that moved is told to the source and to the region that leads, and to nobody else. */
static void test_receiver_position_is_told_to_source_and_leader(void **state)
{
    (void)state;
    s_blocks(ORIGIN, 5, 0);
    receiver_event_t flushed = s_event(RECEIVER_EVENT_FLUSHED, 0, 9);
    flushed.leader = (region_id_t){4};
    (void)s_step(flushed, 0);
    assert_true(receiver_row_is_due(s_receiver, 0, (region_id_t){ORIGIN}));
    assert_false(receiver_row_is_due(s_receiver, 0, (region_id_t){3}));
    assert_true(receiver_row_is_due(s_receiver, 0, (region_id_t){4}));
    receiver_status_taken(s_receiver, (region_id_t){4});
    assert_false(receiver_row_is_due(s_receiver, 0, (region_id_t){4}));
    assert_true(receiver_row_is_due(s_receiver, 0, (region_id_t){ORIGIN}));
}

/* A named region is the source at once, until what was named is there; twice is once. */
static void test_receiver_fetch_is_followed_until_it_is_there(void **state)
{
    (void)state;
    s_heads(ORIGIN, 9, 0);
    s_heads(3, 9, 0);
    (void)s_step(s_event(RECEIVER_EVENT_FETCH, 3, 7), 10);
    (void)s_step(s_event(RECEIVER_EVENT_FETCH, 3, 7), 20);
    s_assert_trace("0:2 10:3");
    s_blocks(3, 7, 30);
    s_heads(ORIGIN, 9, 40);
    s_assert_trace("40:2");
    (void)s_step(s_event(RECEIVER_EVENT_FETCH, 3, 7), 50);
    s_assert_trace("");
    assert_int_equal(receiver_counters(s_receiver).fetches, 2);
}

/* A named region that falls silent, or never brings what was named, is given up. */
static void test_receiver_fetch_ends_with_silence_and_with_time(void **state)
{
    (void)state;
    static const s_teller_t s_tellers[] = {{ORIGIN, 0, 30000, 9}, {3, 0, 500, 9}};
    s_run(s_tellers, 2, 0, 500);
    (void)s_step(s_event(RECEIVER_EVENT_FETCH, 3, 7), 500);
    s_run(s_tellers, 2, 750, 2000);
    s_assert_trace("0:2 500:3 1500:2");
    s_blocks(ORIGIN, 9, 2000);
    s_heads(3, 9, 2000);
    (void)s_step(s_event(RECEIVER_EVENT_FETCH, 3, 50), 2000);
    for (int64_t now_ms = 2250; now_ms <= 15000; now_ms += HEARTBEAT_MS) {
        s_heads(ORIGIN, 9, now_ms);
        s_heads(3, 9, now_ms);
    }
    s_assert_trace("2000:3 12000:2");
}

/* A stream of this region's own nodes: expected in the others' lists, refused and counted as blocks
 * and when named; nothing changes. Once the node has given it up the others serve it, and never
 * this region. */
static void test_receiver_own_stream_is_refused_until_given_up(void **state)
{
    (void)state;
    const receiver_event_kind_t kinds[] = {RECEIVER_EVENT_HEADS, RECEIVER_EVENT_BLOCKS,
                                           RECEIVER_EVENT_FETCH};
    for (size_t i = 0; i < 3; i++) {
        receiver_event_t event = s_event(kinds[i], 3, 9);
        event.stream = s_stream(SELF);
        event.is_own = true;
        (void)s_step(event, 0);
        assert_int_equal(receiver_counters(s_receiver).refused, i);
    }
    assert_int_equal(receiver_stream_count(s_receiver), 0);
    receiver_event_t given_up = s_event(RECEIVER_EVENT_HEADS, 3, 9);
    given_up.stream = s_stream(SELF);
    (void)s_step(given_up, 0);
    (void)s_step(s_event(RECEIVER_EVENT_HEARD, 3, 0), 0);
    s_assert_trace("0:3");
}

/* A copy that may have lost its end is whole once the origin's region has told what it has of the
 * stream. The list of a shipper that has just started and has not heard its nodes tells nothing. */
static void test_receiver_damaged_until_the_origin_tells(void **state)
{
    (void)state;
    receiver_event_t recovered = s_event(RECEIVER_EVENT_RECOVERED, 0, 62);
    recovered.outcome = ERR_CORRUPT;
    (void)s_step(recovered, 0);
    receiver_event_t heard = s_event(RECEIVER_EVENT_HEARD, ORIGIN, 0);
    heard.known_shards = 0;
    (void)s_step(heard, 10);
    assert_true(receiver_row(s_receiver, 0)->is_damaged);
    (void)s_step(s_event(RECEIVER_EVENT_HEADS, ORIGIN, 100), 20);
    (void)s_step(heard, 20);
    assert_true(receiver_row(s_receiver, 0)->is_damaged);
    (void)s_step(heard, 30); /* not in the list, and not known to be gone: it still counts */
    assert_true(receiver_row(s_receiver, 0)->is_damaged);
    assert_int_equal(receiver_row(s_receiver, 0)->head_seq, 100);
    heard.known_shards = UINT64_MAX;
    (void)s_step(heard, 40); /* gone: 62 is all that there is */
    assert_false(receiver_row(s_receiver, 0)->is_damaged);
}

/* What the table does not place is refused and counted, whatever tells of it; nothing changes. */
static void test_receiver_unplaced_streams_change_nothing(void **state)
{
    (void)state;
    const receiver_event_kind_t kinds[] = {RECEIVER_EVENT_HEADS, RECEIVER_EVENT_BLOCKS,
                                           RECEIVER_EVENT_FETCH};
    for (size_t i = 0; i < 3; i++) {
        receiver_event_t event = s_event(kinds[i], 3, 9);
        event.is_placed = false;
        (void)s_step(event, 0);
        assert_int_equal(receiver_counters(s_receiver).refused, i + 1);
    }
    assert_int_equal(receiver_stream_count(s_receiver), 0);
    assert_int_equal(s_step(s_event(RECEIVER_EVENT_TURN_END, 0, 0), 0).count, 0);
}

/* A number that no stream reaches is refused and counted; the largest that one may is taken. */
static void test_receiver_numbers_from_the_future_change_nothing(void **state)
{
    (void)state;
    s_heads(ORIGIN, 9, 0);
    const receiver_event_kind_t kinds[] = {RECEIVER_EVENT_HEADS, RECEIVER_EVENT_BLOCKS,
                                           RECEIVER_EVENT_FETCH};
    for (size_t i = 0; i < 3; i++) {
        receiver_effects_t effects = s_step(s_event(kinds[i], 3, STREAM_SEQ_MAX + 1), 10);
        assert_int_equal(receiver_counters(s_receiver).future, i + 1);
        assert_int_equal(effects.count, i == 1 ? 1 : 0);
        assert_int_equal(receiver_row(s_receiver, 0)->head_seq, 9);
    }
    s_assert_trace("0:2");
    (void)s_step(s_event(RECEIVER_EVENT_HEADS, 3, STREAM_SEQ_MAX), 20);
    assert_true(receiver_row(s_receiver, 0)->head_seq == STREAM_SEQ_MAX);
    assert_int_equal(receiver_counters(s_receiver).future, 3);
}

/* Other regions' heads raise the head; how old it is only the origin's region says. */
static void test_receiver_age_of_the_head_is_the_origins_word(void **state)
{
    (void)state;
    s_heads(3, 12, 100);
    assert_int_equal(receiver_row(s_receiver, 0)->head_seq, 12);
    assert_int_equal(receiver_row(s_receiver, 0)->head_at_ns, -1);
    s_heads(ORIGIN, 10, 200);
    assert_int_equal(receiver_row(s_receiver, 0)->head_seq, 12);
    assert_int_equal(receiver_row(s_receiver, 0)->head_at_ns, 200 * s_ms);
}

#define SOURCE_TEST(test) cmocka_unit_test_setup_teardown(test, s_setup, s_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SOURCE_TEST(test_receiver_source_is_the_origin_while_it_is_heard),
        SOURCE_TEST(test_receiver_silent_origin_is_replaced_and_comes_back),
        SOURCE_TEST(test_receiver_start_is_not_taken_for_silence),
        SOURCE_TEST(test_receiver_equal_heads_do_not_flap),
        SOURCE_TEST(test_receiver_origin_that_lost_its_files_is_replaced),
        SOURCE_TEST(test_receiver_origin_behind_for_a_moment_stays),
        SOURCE_TEST(test_receiver_source_that_brings_nothing_is_passed_over),
        SOURCE_TEST(test_receiver_change_of_source_is_told_to_both),
        SOURCE_TEST(test_receiver_blocks_from_elsewhere_are_taken),
        SOURCE_TEST(test_receiver_position_is_told_to_source_and_leader),
        SOURCE_TEST(test_receiver_fetch_is_followed_until_it_is_there),
        SOURCE_TEST(test_receiver_fetch_ends_with_silence_and_with_time),
        SOURCE_TEST(test_receiver_own_stream_is_refused_until_given_up),
        SOURCE_TEST(test_receiver_damaged_until_the_origin_tells),
        SOURCE_TEST(test_receiver_unplaced_streams_change_nothing),
        SOURCE_TEST(test_receiver_numbers_from_the_future_change_nothing),
        SOURCE_TEST(test_receiver_age_of_the_head_is_the_origins_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
