/* The shipper core: what is sent to whom, windows, resends, silence. Traces are compared as text:
 * one word per effect, "peer:from-through". */
#include "common/replication/shipper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const int64_t s_ms = 1000000;

static stream_id_t s_stream(uint16_t region, uint16_t shard)
{
    return (stream_id_t){.tenant = {1}, .incarnation = 7, .origin = {{region}, {shard}}};
}

static shipper_t *s_new(void)
{
    shipper_options_t options = {
        .self = {1},
        .peers = {(1u << 2) | (1u << 3)},
        .heads_ns = 250 * s_ms,
        .peer_silent_ns = 1000 * s_ms,
        .resend_ns = 1000 * s_ms,
    };
    return shipper_new(&options);
}

static shipper_effects_t s_step(shipper_t *shipper, shipper_event_t event)
{
    shipper_effects_t effects;
    shipper_step(shipper, &event, &effects);
    return effects;
}

static void s_announce(shipper_t *shipper, stream_id_t stream, uint64_t seq)
{
    shipper_event_t event = {.kind = SHIPPER_EVENT_ANNOUNCE};
    event.as.announce.at = (stream_position_t){stream, seq};
    (void)s_step(shipper, event);
}

static void s_heard(shipper_t *shipper, uint16_t peer, uint64_t boot, uint64_t window, int64_t now)
{
    shipper_event_t event = {.kind = SHIPPER_EVENT_HEARD, .now_ns = now};
    event.as.heard.peer = (region_id_t){peer};
    event.as.heard.boot = boot;
    event.as.heard.window_bytes = window;
    event.as.heard.listed_all = true;
    (void)s_step(shipper, event);
}

static void s_status(shipper_t *shipper, uint16_t peer, uint64_t seq, bool resend, int64_t now)
{
    shipper_event_t event = {.kind = SHIPPER_EVENT_STATUS, .now_ns = now};
    event.as.status.peer = (region_id_t){peer};
    event.as.status.stream = s_stream(1, 0);
    event.as.status.durable_seq = seq;
    event.as.status.epoch = 1;
    event.as.status.resend = resend;
    event.as.status.wanted = true;
    event.as.status.is_placed = true;
    (void)s_step(shipper, event);
}

/* Carries out everything that can be shipped, `size` bytes a message; what is sent covers all that
 * the effect asks for, or nothing when refused. Returns the trace. */
static const char *s_pump(shipper_t *shipper, int64_t now, size_t size, bool accepted)
{
    static char s_trace[1024];
    s_trace[0] = '\0';
    shipper_effect_t effect;
    while (shipper_next(shipper, now, &effect)) {
        size_t used = strlen(s_trace);
        (void)snprintf(s_trace + used, sizeof(s_trace) - used, "%s%u/%u:%llu-%llu",
                       used == 0 ? "" : " ", (unsigned)effect.peer.value,
                       (unsigned)effect.stream.origin.shard.value,
                       (unsigned long long)effect.from_seq, (unsigned long long)effect.through_seq);
        shipper_event_t event = {.kind = SHIPPER_EVENT_SENT, .now_ns = now};
        event.as.sent.peer = effect.peer;
        event.as.sent.stream = effect.stream;
        event.as.sent.accepted = accepted;
        event.as.sent.last_seq = effect.through_seq;
        event.as.sent.size_bytes = size;
        (void)s_step(shipper, event);
    }
    return s_trace;
}

/* Nothing goes to a region before it has told what it holds. */
static void test_shipper_unheard_peer_gets_nothing(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_announce(shipper, s_stream(1, 0), 10);
    assert_string_equal(s_pump(shipper, 0, 100, true), "");
    s_heard(shipper, 2, 5, 1000, 0);
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/0:1-10");
    shipper_destroy(&shipper);
    shipper_destroy(&shipper);
}

/* Each peer is served from its own confirmed position, and only once. */
static void test_shipper_sends_from_confirmed_position_once(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_announce(shipper, s_stream(1, 0), 10);
    s_status(shipper, 2, 4, false, 0);
    s_heard(shipper, 2, 5, 1000, 0);
    s_status(shipper, 3, 10, false, 0);
    s_heard(shipper, 3, 5, 1000, 0);
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/0:5-10");
    assert_string_equal(s_pump(shipper, 0, 100, true), "");
    s_announce(shipper, s_stream(1, 0), 12);
    assert_string_equal(s_pump(shipper, 0, 100, true), "3/0:11-12 2/0:11-12");
    shipper_destroy(&shipper);
}

static void s_told(shipper_t *shipper, uint16_t peer, stream_id_t stream, uint64_t seq, bool wanted)
{
    shipper_event_t event = {.kind = SHIPPER_EVENT_STATUS};
    event.as.status.peer = (region_id_t){peer};
    event.as.status.stream = stream;
    event.as.status.durable_seq = seq;
    event.as.status.wanted = wanted;
    event.as.status.is_placed = true;
    (void)s_step(shipper, event);
}

static void s_announce_exact(shipper_t *shipper, stream_id_t stream, uint64_t seq)
{
    shipper_event_t event = {.kind = SHIPPER_EVENT_ANNOUNCE};
    event.as.announce.at = (stream_position_t){stream, seq};
    event.as.announce.is_exact = true;
    (void)s_step(shipper, event);
}

/* A stream of another region goes to a peer that wants it from here, and to no other. */
static void test_shipper_replica_stream_goes_where_it_is_wanted(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_announce_exact(shipper, s_stream(2, 0), 10);
    s_heard(shipper, 2, 5, 1000, 0);
    s_heard(shipper, 3, 5, 1000, 0);
    assert_string_equal(s_pump(shipper, 0, 100, true), "");
    s_told(shipper, 3, s_stream(2, 0), 4, false);
    assert_string_equal(s_pump(shipper, 0, 100, true), "");
    s_told(shipper, 3, s_stream(2, 0), 4, true);
    assert_string_equal(s_pump(shipper, 0, 100, true), "3/0:5-10");
    shipper_destroy(&shipper);
}

/* An own stream goes unasked to a peer that has not told of it, and no more to one that takes it
 * from elsewhere; what was under way then no longer fills its window. */
static void test_shipper_own_stream_stops_when_it_is_not_wanted(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_heard(shipper, 2, 5, 100, 0);
    s_announce(shipper, s_stream(1, 0), 10);
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/0:1-10");
    s_told(shipper, 2, s_stream(1, 0), 0, false);
    s_announce(shipper, s_stream(1, 0), 20);
    assert_string_equal(s_pump(shipper, 0, 100, true), "");
    s_announce(shipper, s_stream(1, 1), 5);
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/1:1-5");
    s_told(shipper, 2, s_stream(1, 1), 5, true);
    s_told(shipper, 2, s_stream(1, 0), 7, true);
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/0:8-20");
    shipper_destroy(&shipper);
}

/* What a peer confirms of a stream counts, whoever ships it to it. */
static void test_shipper_unwanted_stream_is_confirmed_all_the_same(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    msg_confirmed_entry_t entry;
    s_told(shipper, 2, s_stream(3, 0), 40, false);
    assert_true(shipper_confirmed(shipper, 0, (region_id_t){2}, &entry));
    assert_int_equal(entry.seq, 40);
    shipper_destroy(&shipper);
}

/* A replica's file that lost its end: the head goes back and nothing behind it is read; a node's
 * announcement never lowers it. */
static void test_shipper_exact_announcement_lowers_the_head(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_heard(shipper, 3, 5, 1000, 0);
    s_announce_exact(shipper, s_stream(2, 0), 10);
    s_told(shipper, 3, s_stream(2, 0), 4, true);
    s_announce_exact(shipper, s_stream(2, 0), 6);
    s_announce(shipper, s_stream(2, 0), 3);
    assert_string_equal(s_pump(shipper, 0, 100, true), "3/0:5-6");
    shipper_destroy(&shipper);
}

/* A file that cannot be read holds up its own stream alone, until its next announcement or the next
 * heads. */
static void test_shipper_unreadable_stream_holds_up_nothing_else(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_heard(shipper, 2, 5, 1000, 0);
    (void)s_step(shipper, (shipper_event_t){.kind = SHIPPER_EVENT_TICK});
    s_announce(shipper, s_stream(1, 0), 3);
    shipper_effect_t effect;
    assert_true(shipper_next(shipper, 0, &effect));
    shipper_event_t failed = {.kind = SHIPPER_EVENT_SENT};
    failed.as.sent.peer = effect.peer;
    failed.as.sent.stream = effect.stream;
    failed.as.sent.unreadable = true;
    (void)s_step(shipper, failed);
    s_announce(shipper, s_stream(1, 1), 5);
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/1:1-5");
    (void)s_step(shipper, (shipper_event_t){.kind = SHIPPER_EVENT_TICK, .now_ns = 250 * s_ms});
    assert_string_equal(s_pump(shipper, 250 * s_ms, 100, true), "2/0:1-3");
    shipper_destroy(&shipper);
}

/* A full window stops one peer, a confirmation opens it; the other peer goes on. */
static void test_shipper_full_window_stops_only_that_peer(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_heard(shipper, 2, 5, 100, 0);
    s_heard(shipper, 3, 5, 100000, 0);
    s_announce(shipper, s_stream(1, 0), 1);
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/0:1-1 3/0:1-1");
    s_announce(shipper, s_stream(1, 0), 2);
    assert_string_equal(s_pump(shipper, 0, 100, true), "3/0:2-2");
    s_status(shipper, 2, 1, false, 0);
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/0:2-2");
    shipper_destroy(&shipper);
}

/* A refused send (queue full) is tried again at the next tick, from the same event. */
static void test_shipper_refused_send_is_tried_again(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_heard(shipper, 2, 5, 1000, 0);
    s_announce(shipper, s_stream(1, 0), 3);
    assert_string_equal(s_pump(shipper, 0, 100, false), "2/0:1-3");
    assert_string_equal(s_pump(shipper, 0, 100, true), "");
    (void)s_step(shipper, (shipper_event_t){.kind = SHIPPER_EVENT_TICK, .now_ns = 250 * s_ms});
    assert_string_equal(s_pump(shipper, 250 * s_ms, 100, true), "2/0:1-3");
    shipper_destroy(&shipper);
}

/* A receiver that misses something gets it again from its position. */
static void test_shipper_resend_starts_at_confirmed(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_heard(shipper, 2, 5, 1000, 0);
    s_announce(shipper, s_stream(1, 0), 9);
    (void)s_pump(shipper, 0, 100, true);
    s_status(shipper, 2, 4, true, 0);
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/0:5-9");
    shipper_destroy(&shipper);
}

/* Without any progress everything unconfirmed goes out again after resend_ns, not before. */
static void test_shipper_no_progress_resends_after_timeout(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_heard(shipper, 2, 5, 1000, 0);
    s_announce(shipper, s_stream(1, 0), 9);
    (void)s_pump(shipper, 0, 100, true);
    s_heard(shipper, 2, 5, 1000, 999 * s_ms);
    (void)s_step(shipper, (shipper_event_t){.kind = SHIPPER_EVENT_TICK, .now_ns = 999 * s_ms});
    assert_string_equal(s_pump(shipper, 999 * s_ms, 100, true), "");
    (void)s_step(shipper, (shipper_event_t){.kind = SHIPPER_EVENT_TICK, .now_ns = 1000 * s_ms});
    assert_string_equal(s_pump(shipper, 1000 * s_ms, 100, true), "2/0:1-9");
    shipper_destroy(&shipper);
}

/* A receiver that lost its disk tells a lower position: it gets everything again. */
static void test_shipper_position_that_goes_back_resends(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_status(shipper, 2, 9, false, 0);
    s_heard(shipper, 2, 5, 1000, 0);
    s_announce(shipper, s_stream(1, 0), 9);
    assert_string_equal(s_pump(shipper, 0, 100, true), "");
    s_status(shipper, 2, 0, false, 1);
    s_heard(shipper, 2, 6, 1000, 1);
    assert_string_equal(s_pump(shipper, 1, 100, true), "2/0:1-9");
    shipper_destroy(&shipper);
}

/* A peer that is silent too long gets nothing and counts as unreachable; it is back when heard. */
static void test_shipper_silent_peer_is_unreachable(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    int64_t silent_ns = 0;
    assert_false(shipper_peer_is_reachable(shipper, (region_id_t){2}, 0, &silent_ns));
    assert_int_equal(silent_ns, -1);
    s_heard(shipper, 2, 5, 1000, 0);
    s_announce(shipper, s_stream(1, 0), 9);
    assert_true(shipper_peer_is_reachable(shipper, (region_id_t){2}, 999 * s_ms, &silent_ns));
    assert_false(shipper_peer_is_reachable(shipper, (region_id_t){2}, 1000 * s_ms, &silent_ns));
    assert_string_equal(s_pump(shipper, 1000 * s_ms, 100, true), "");
    s_heard(shipper, 2, 5, 1000, 1001 * s_ms);
    assert_string_equal(s_pump(shipper, 1001 * s_ms, 100, true), "2/0:1-9");
    shipper_destroy(&shipper);
}

/* Heads go to every peer and the full list is published on every second tick; to a peer that did
 * not answer on the next one. */
static void test_shipper_tick_repeats_heads_until_they_are_answered(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    shipper_effects_t effects =
        s_step(shipper, (shipper_event_t){.kind = SHIPPER_EVENT_TICK, .now_ns = 10});
    assert_int_equal(effects.count, 3);
    assert_int_equal(effects.list[0].kind, SHIPPER_EFFECT_HEADS);
    assert_int_equal(effects.list[0].peer.value, 2);
    assert_int_equal(effects.list[1].peer.value, 3);
    assert_int_equal(effects.list[2].kind, SHIPPER_EFFECT_PUBLISH_ALL);
    assert_int_equal(shipper_deadline_ns(shipper), 250 * s_ms);
    effects = s_step(shipper, (shipper_event_t){.kind = SHIPPER_EVENT_TICK, .now_ns = 20});
    assert_int_equal(effects.count, 0);
    s_heard(shipper, 2, 5, 1000, 30 * s_ms);
    effects = s_step(shipper, (shipper_event_t){.kind = SHIPPER_EVENT_TICK, .now_ns = 250 * s_ms});
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, SHIPPER_EFFECT_HEADS);
    assert_int_equal(effects.list[0].peer.value, 3);
    s_heard(shipper, 3, 5, 1000, 260 * s_ms);
    effects = s_step(shipper, (shipper_event_t){.kind = SHIPPER_EVENT_TICK, .now_ns = 500 * s_ms});
    assert_int_equal(effects.count, 3);
    assert_int_equal(effects.list[2].kind, SHIPPER_EFFECT_PUBLISH_ALL);
    assert_int_equal(shipper_deadline_ns(shipper), 750 * s_ms);
    shipper_destroy(&shipper);
}

/* Confirmed positions are kept as the peer told them, for the leaders to count. */
static void test_shipper_confirmed_keeps_seq_and_epoch(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    msg_confirmed_entry_t entry;
    s_announce(shipper, s_stream(1, 0), 9);
    assert_false(shipper_confirmed(shipper, 0, (region_id_t){2}, &entry));
    s_status(shipper, 2, 4, false, 0);
    assert_true(shipper_confirmed(shipper, 0, (region_id_t){2}, &entry));
    assert_int_equal(entry.seq, 4);
    assert_int_equal(entry.epoch, 1);
    assert_int_equal(entry.region.value, 2);
    shipper_destroy(&shipper);
}

/* What all of some regions have confirmed: nothing while one of them has told nothing; this region
 * and the origin's are not asked. */
static void test_shipper_confirmed_by_all_of_a_set(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    const stream_id_t stream = s_stream(1, 0);
    const region_set_t all = {(1u << 1) | (1u << 2) | (1u << 3)};
    const region_set_t two = {(1u << 1) | (1u << 2)};
    msg_confirmed_entry_t entry;
    assert_int_equal(shipper_confirmed_by(shipper, stream, all), 0);
    assert_false(shipper_find_confirmed(shipper, stream, (region_id_t){2}, &entry));
    s_announce(shipper, stream, 9);
    s_status(shipper, 2, 4, false, 0);
    assert_int_equal(shipper_confirmed_by(shipper, stream, all), 0);
    assert_int_equal(shipper_confirmed_by(shipper, stream, two), 4);
    s_status(shipper, 3, 7, false, 0);
    assert_int_equal(shipper_confirmed_by(shipper, stream, all), 4);
    s_status(shipper, 2, 9, false, 0);
    assert_int_equal(shipper_confirmed_by(shipper, stream, all), 7);
    assert_true(shipper_find_confirmed(shipper, stream, (region_id_t){3}, &entry));
    assert_int_equal(entry.seq, 7);
    assert_true(shipper_confirmed_by(shipper, stream, (region_set_t){1u << 1}) == UINT64_MAX);
    shipper_destroy(&shipper);
}

/* A status from a region that the topology does not have changes nothing and is counted. */
static void test_shipper_unknown_peer_is_ignored_and_counted(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_status(shipper, 9, 4, false, 0);
    s_heard(shipper, 9, 1, 100, 0);
    assert_int_equal(shipper_counters(shipper).ignored, 2);
    assert_int_equal(shipper_stream_count(shipper), 0);
    shipper_destroy(&shipper);
}

/* What cannot be so changes nothing and is counted: a stream that is placed elsewhere, a position that no
 * stream reaches. */
static void test_shipper_impossible_status_changes_nothing(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_announce(shipper, s_stream(1, 0), 9);
    s_status(shipper, 2, 4, false, 0);
    shipper_event_t event = {.kind = SHIPPER_EVENT_STATUS};
    event.as.status.peer = (region_id_t){2};
    event.as.status.stream = s_stream(1, 0);
    event.as.status.durable_seq = 8;
    (void)s_step(shipper, event);
    event.as.status.stream = s_stream(3, 0);
    (void)s_step(shipper, event);
    assert_int_equal(shipper_counters(shipper).refused, 2);
    s_status(shipper, 2, STREAM_SEQ_MAX + 1, false, 0);
    assert_int_equal(shipper_counters(shipper).future, 1);
    msg_confirmed_entry_t entry;
    assert_true(shipper_find_confirmed(shipper, s_stream(1, 0), (region_id_t){2}, &entry));
    assert_int_equal(entry.seq, 4);
    assert_int_equal(shipper_stream_count(shipper), 1);
    s_status(shipper, 2, STREAM_SEQ_MAX, false, 0);
    assert_int_equal(shipper_counters(shipper).future, 1);
    shipper_destroy(&shipper);
}

/* Streams that other regions claim and this one has nothing of leave room for those that it has. */
static void test_shipper_claims_leave_room(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    for (uint32_t i = 0; i < SHIPPER_CLAIM_COUNT_MAX + 5; i++) {
        stream_id_t stream = s_stream(1, 0);
        stream.incarnation += 1000 + i;
        s_told(shipper, 2, stream, 1, false);
    }
    assert_int_equal(shipper_stream_count(shipper), SHIPPER_CLAIM_COUNT_MAX);
    assert_int_equal(shipper_counters(shipper).refused, 5);
    /* One of them comes to be known here, and makes room for another claim. */
    stream_id_t stream = s_stream(1, 0);
    stream.incarnation += 1000;
    s_announce(shipper, stream, 1);
    stream.incarnation += SHIPPER_CLAIM_COUNT_MAX;
    s_told(shipper, 2, stream, 1, false);
    assert_int_equal(shipper_stream_count(shipper), SHIPPER_CLAIM_COUNT_MAX + 1);
    assert_int_equal(shipper_counters(shipper).refused, 5);
    shipper_destroy(&shipper);
}

/* A stream goes to the regions that hold its tenant, and a later placement counts at once. */
static void test_shipper_ships_where_the_tenant_is_placed(void **state)
{
    (void)state;
    shipper_t *shipper = s_new();
    s_heard(shipper, 2, 5, 1000000, 0);
    s_heard(shipper, 3, 5, 1000000, 0);
    s_announce(shipper, s_stream(1, 0), 4);
    shipper_place(shipper, s_stream(1, 0), (region_set_t){(1u << 1) | (1u << 3)});
    assert_false(shipper_is_placed(shipper, 0, (region_id_t){2}));
    assert_string_equal(s_pump(shipper, 0, 100, true), "3/0:1-4");
    shipper_place(shipper, s_stream(1, 0), (region_set_t){(1u << 1) | (1u << 2) | (1u << 3)});
    assert_string_equal(s_pump(shipper, 0, 100, true), "2/0:1-4");
    shipper_destroy(&shipper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipper_unheard_peer_gets_nothing),
        cmocka_unit_test(test_shipper_sends_from_confirmed_position_once),
        cmocka_unit_test(test_shipper_replica_stream_goes_where_it_is_wanted),
        cmocka_unit_test(test_shipper_own_stream_stops_when_it_is_not_wanted),
        cmocka_unit_test(test_shipper_unwanted_stream_is_confirmed_all_the_same),
        cmocka_unit_test(test_shipper_exact_announcement_lowers_the_head),
        cmocka_unit_test(test_shipper_unreadable_stream_holds_up_nothing_else),
        cmocka_unit_test(test_shipper_full_window_stops_only_that_peer),
        cmocka_unit_test(test_shipper_refused_send_is_tried_again),
        cmocka_unit_test(test_shipper_resend_starts_at_confirmed),
        cmocka_unit_test(test_shipper_no_progress_resends_after_timeout),
        cmocka_unit_test(test_shipper_position_that_goes_back_resends),
        cmocka_unit_test(test_shipper_silent_peer_is_unreachable),
        cmocka_unit_test(test_shipper_tick_repeats_heads_until_they_are_answered),
        cmocka_unit_test(test_shipper_confirmed_keeps_seq_and_epoch),
        cmocka_unit_test(test_shipper_confirmed_by_all_of_a_set),
        cmocka_unit_test(test_shipper_unknown_peer_is_ignored_and_counted),
        cmocka_unit_test(test_shipper_impossible_status_changes_nothing),
        cmocka_unit_test(test_shipper_claims_leave_room),
        cmocka_unit_test(test_shipper_ships_where_the_tenant_is_placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
