/* The leader core: admission, levels, epochs, the question before a node originates. */
#include "common/replication/leader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { S_US = 1, S_EU = 2, S_AP = 3 };

static const int64_t s_ms = 1000000;

static leader_t *s_new(void)
{
    leader_options_t options = {{S_US}, 5000 * s_ms, 1000 * s_ms};
    return leader_new(&options);
}

static region_set_t s_regions(unsigned a, unsigned b, unsigned c)
{
    region_set_t set = {0};
    unsigned all[3] = {a, b, c};
    for (unsigned i = 0; i < 3; i++) {
        if (all[i] != 0) {
            set = region_set_add(set, (region_id_t){(uint16_t)all[i]});
        }
    }
    return set;
}

static stream_id_t s_stream(uint64_t incarnation)
{
    return (stream_id_t){.tenant = {1}, .incarnation = incarnation, .origin = {{S_US}, {0}}};
}

static leader_effects_t s_step(leader_t *leader, leader_event_t event)
{
    leader_effects_t effects;
    leader_step(leader, &event, &effects);
    return effects;
}

static leader_effects_t s_record(leader_t *leader,
                                 uint64_t epoch,
                                 uint16_t who,
                                 region_set_t in_sync)
{
    leader_event_t event = {.kind = LEADER_EVENT_RECORD, .now_ns = 0};
    event.as.record.epoch = epoch;
    event.as.record.leader = (region_id_t){who};
    event.as.record.in_sync = in_sync;
    event.as.record.full = s_regions(S_US, S_EU, S_AP);
    return s_step(leader, event);
}

static leader_effects_t s_own(leader_t *leader, uint64_t incarnation, uint64_t durable, bool is_new)
{
    leader_event_t event = {.kind = LEADER_EVENT_STREAM, .now_ns = 0};
    event.as.stream.stream = s_stream(incarnation);
    event.as.stream.durable_seq = durable;
    event.as.stream.is_new = is_new;
    return s_step(leader, event);
}

static leader_effects_t s_peer(leader_t *leader, uint16_t region, bool reachable, bool listed)
{
    leader_event_t event = {.kind = LEADER_EVENT_PEER, .now_ns = 0};
    event.as.peer.region = (region_id_t){region};
    event.as.peer.reachable = reachable;
    event.as.peer.listed_all = listed;
    return s_step(leader, event);
}

static leader_effects_t s_wait(leader_t *leader, uint64_t ticket, uint64_t seq, ack_level_t level)
{
    leader_event_t event = {.kind = LEADER_EVENT_WAIT, .now_ns = 0};
    event.as.wait.ticket = ticket;
    event.as.wait.stream = s_stream(7);
    event.as.wait.last_seq = seq;
    event.as.wait.level = level;
    event.as.wait.deadline_ns = 5000 * s_ms;
    return s_step(leader, event);
}

static leader_effects_t s_durable(leader_t *leader, uint64_t seq)
{
    leader_event_t event = {.kind = LEADER_EVENT_DURABLE, .now_ns = 0};
    event.as.durable = (stream_position_t){s_stream(7), seq};
    return s_step(leader, event);
}

static leader_effects_t s_confirm(leader_t *leader, uint16_t region, uint64_t seq, uint64_t epoch)
{
    leader_event_t event = {.kind = LEADER_EVENT_CONFIRMED, .now_ns = 0};
    event.as.confirmed.region = (region_id_t){region};
    event.as.confirmed.stream = s_stream(7);
    event.as.confirmed.seq = seq;
    event.as.confirmed.epoch = epoch;
    return s_step(leader, event);
}

/* A leader of epoch 4 with all three regions in sync and heard, stream 7, nothing logged. */
static leader_t *s_leading(void)
{
    leader_t *leader = s_new();
    (void)s_own(leader, 7, 0, true);
    (void)s_record(leader, 4, S_US, s_regions(S_US, S_EU, S_AP));
    (void)s_peer(leader, S_EU, true, true);
    (void)s_peer(leader, S_AP, true, true);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_SETTLED);
    return leader;
}

/* A node that no record names must not take writes. */
static void test_leader_follower_is_read_only(void **state)
{
    (void)state;
    leader_t *leader = s_new();
    const char *reason = NULL;
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_READ_ONLY);
    (void)s_own(leader, 7, 0, true);
    (void)s_record(leader, 4, S_EU, s_regions(S_US, S_EU, S_AP));
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_READ_ONLY);
    assert_int_equal(leader_region(leader).value, S_EU);
    assert_non_null(reason);
    leader_destroy(&leader);
    leader_destroy(&leader);
}

/* local is answered by the own disk alone, and names only the own region. */
static void test_leader_local_answered_when_durable(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    assert_int_equal(s_wait(leader, 11, 3, ACK_LOCAL).count, 0);
    assert_int_equal(s_durable(leader, 2).count, 0);
    leader_effects_t effects = s_durable(leader, 3);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].ticket, 11);
    assert_int_equal(effects.list[0].code, CODE_OK);
    assert_int_equal(effects.list[0].durability, ACK_LOCAL);
    assert_int_equal(effects.list[0].replicas.bits, s_regions(S_US, 0, 0).bits);
    leader_destroy(&leader);
}

/* replicated needs the own disk and every member; one missing member holds it back. */
static void test_leader_replicated_needs_every_member(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    (void)s_wait(leader, 1, 3, ACK_REPLICATED);
    assert_int_equal(s_confirm(leader, S_EU, 3, 4).count, 0);
    assert_int_equal(s_confirm(leader, S_AP, 2, 4).count, 0);
    assert_int_equal(s_durable(leader, 3).count, 0);
    leader_effects_t effects = s_confirm(leader, S_AP, 3, 4);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].code, CODE_OK);
    assert_int_equal(effects.list[0].durability, ACK_ALL);
    leader_destroy(&leader);
}

/* A confirmation under another epoch proves nothing to this leader. */
static void test_leader_confirmation_of_other_epoch_does_not_count(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    (void)s_wait(leader, 1, 3, ACK_REPLICATED);
    (void)s_durable(leader, 3);
    (void)s_confirm(leader, S_EU, 3, 4);
    assert_int_equal(s_confirm(leader, S_AP, 3, 3).count, 0);
    assert_int_equal(s_confirm(leader, S_AP, 3, 5).count, 0);
    assert_int_equal(s_confirm(leader, S_AP, 3, 4).count, 1);
    leader_destroy(&leader);
}

/* With a smaller in-sync set `replicated` ends at its members, `all` still needs every region. */
static void test_leader_all_needs_every_full_region(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    (void)s_record(leader, 4, S_US, s_regions(S_US, S_EU, 0));
    (void)s_wait(leader, 1, 3, ACK_REPLICATED);
    (void)s_wait(leader, 2, 3, ACK_ALL);
    (void)s_durable(leader, 3);
    leader_effects_t effects = s_confirm(leader, S_EU, 3, 4);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].ticket, 1);
    assert_int_equal(effects.list[0].durability, ACK_REPLICATED);
    effects = s_confirm(leader, S_AP, 9, 4);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].ticket, 2);
    leader_destroy(&leader);
}

/* A silent member refuses `replicated` before anything is appended; `local` goes on. */
static void test_leader_silent_member_refuses_replicated_only(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    const char *reason = NULL;
    (void)s_peer(leader, S_AP, false, false);
    assert_int_equal(leader_admit(leader, ACK_REPLICATED, 0, &reason), CODE_UNAVAILABLE);
    assert_int_equal(leader_admit(leader, ACK_ALL, 0, &reason), CODE_UNAVAILABLE);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_OK);
    leader_destroy(&leader);
}

/* An in-sync set below min_in_sync refuses `replicated` even when every member is heard. */
static void test_leader_too_small_set_refuses_replicated(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    const char *reason = NULL;
    (void)s_record(leader, 4, S_US, s_regions(S_US, 0, 0));
    assert_int_equal(leader_admit(leader, ACK_REPLICATED, 0, &reason), CODE_UNAVAILABLE);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_OK);
    leader_destroy(&leader);
}

/* At its deadline a wait is NOT_REPLICATED, with the level that holds; once. */
static void test_leader_deadline_answers_not_replicated_once(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    (void)s_wait(leader, 1, 3, ACK_REPLICATED);
    (void)s_durable(leader, 3);
    assert_int_equal(leader_deadline_ns(leader), 5000 * s_ms);
    leader_effects_t effects =
        s_step(leader, (leader_event_t){.kind = LEADER_EVENT_TICK, .now_ns = 5000 * s_ms - 1});
    assert_int_equal(effects.count, 0);
    effects = s_step(leader, (leader_event_t){.kind = LEADER_EVENT_TICK, .now_ns = 5000 * s_ms});
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].code, CODE_NOT_REPLICATED);
    assert_int_equal(effects.list[0].durability, ACK_LOCAL);
    (void)s_confirm(leader, S_EU, 3, 4);
    assert_int_equal(s_confirm(leader, S_AP, 3, 4).count, 0);
    assert_true(leader_deadline_ns(leader) == INT64_MAX);
    leader_destroy(&leader);
}

/* A retry of what every region holds already is answered in the step that brings it. */
static void test_leader_retry_of_reached_position_answers_at_once(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    (void)s_durable(leader, 3);
    (void)s_confirm(leader, S_EU, 3, 4);
    (void)s_confirm(leader, S_AP, 3, 4);
    leader_effects_t effects = s_wait(leader, 9, 3, ACK_ALL);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].durability, ACK_ALL);
    leader_destroy(&leader);
}

/* A position that goes back (that region lost its disk) stops counting. */
static void test_leader_position_that_goes_back_stops_counting(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    (void)s_durable(leader, 9);
    (void)s_confirm(leader, S_EU, 9, 4);
    (void)s_confirm(leader, S_AP, 9, 4);
    (void)s_confirm(leader, S_AP, 0, 4);
    region_set_t replicas;
    assert_int_equal(leader_durability(leader, s_stream(7), 9, &replicas), ACK_LOCAL);
    assert_int_equal(replicas.bits, s_regions(S_US, S_EU, 0).bits);
    assert_int_equal(s_wait(leader, 1, 9, ACK_REPLICATED).count, 0);
    leader_destroy(&leader);
}

/* A restarted leader asks every region before it takes the first write. */
static void test_leader_restart_asks_before_it_originates(void **state)
{
    (void)state;
    leader_t *leader = s_new();
    const char *reason = NULL;
    (void)s_own(leader, 7, 20, false);
    (void)s_record(leader, 4, S_US, s_regions(S_US, S_EU, S_AP));
    assert_int_equal(leader_stream(leader), LEADER_STREAM_ASKING);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_UNAVAILABLE);
    (void)s_confirm(leader, S_EU, 20, 4);
    (void)s_peer(leader, S_EU, true, true);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_ASKING);
    (void)s_peer(leader, S_AP, true, true);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_SETTLED);
    leader_destroy(&leader);
}

/* A region that holds more of the stream than its origin: the stream cannot go on. */
static void test_leader_region_ahead_gives_new_incarnation(void **state)
{
    (void)state;
    leader_t *leader = s_new();
    (void)s_own(leader, 7, 20, false);
    (void)s_record(leader, 4, S_US, s_regions(S_US, S_EU, S_AP));
    leader_effects_t effects = s_confirm(leader, S_EU, 21, 4);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, LEADER_EFFECT_NEW_INCARNATION);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_NONE);
    (void)s_own(leader, 8, 0, true);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_SETTLED);
    leader_destroy(&leader);
}

/* Another batch at the same position is as bad as one ahead. */
static void test_leader_region_that_differs_gives_new_incarnation(void **state)
{
    (void)state;
    leader_t *leader = s_new();
    (void)s_own(leader, 7, 20, false);
    (void)s_record(leader, 4, S_US, s_regions(S_US, S_EU, S_AP));
    leader_event_t event = {.kind = LEADER_EVENT_CONFIRMED, .now_ns = 0};
    event.as.confirmed.region = (region_id_t){S_EU};
    event.as.confirmed.stream = s_stream(7);
    event.as.confirmed.seq = 20;
    event.as.confirmed.epoch = 4;
    event.as.confirmed.differs = true;
    leader_effects_t effects = s_step(leader, event);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, LEADER_EFFECT_NEW_INCARNATION);
    leader_destroy(&leader);
}

/* A silent region holds a waiting write back for the asking time, then a new incarnation is drawn;
 * without a write nothing is drawn. */
static void test_leader_silent_region_gives_new_incarnation_only_for_a_write(void **state)
{
    (void)state;
    leader_t *leader = s_new();
    const char *reason = NULL;
    (void)s_own(leader, 7, 20, false);
    (void)s_record(leader, 4, S_US, s_regions(S_US, S_EU, S_AP));
    leader_event_t tick = {.kind = LEADER_EVENT_TICK, .now_ns = 6000 * s_ms};
    assert_int_equal(s_step(leader, tick).count, 0);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_UNAVAILABLE);
    assert_int_equal(leader_deadline_ns(leader), 5000 * s_ms);
    leader_effects_t effects = s_step(leader, tick);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, LEADER_EFFECT_NEW_INCARNATION);
    leader_destroy(&leader);
}

/* The queue of waiting writes is bounded; one more is refused and the others stay. */
static void test_leader_full_queue_is_overloaded(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    const char *reason = NULL;
    for (uint64_t i = 1; i <= LEADER_PENDING_COUNT_MAX; i++) {
        assert_int_equal(leader_admit(leader, ACK_REPLICATED, 0, &reason), CODE_OK);
        assert_int_equal(s_wait(leader, i, i, ACK_REPLICATED).count, 0);
    }
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_OVERLOADED);
    (void)s_durable(leader, LEADER_PENDING_COUNT_MAX);
    (void)s_confirm(leader, S_EU, LEADER_PENDING_COUNT_MAX, 4);
    leader_effects_t effects = s_confirm(leader, S_AP, 10, 4);
    assert_int_equal(effects.count, 10);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(effects.list[i].ticket, i + 1);
    }
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_OK);
    leader_destroy(&leader);
}

/* A leader that starts again and again while a region is silent leaves many streams behind; each
 * counts. Method: ten times as many as a gauge shows, then a wait in the last. */
static void test_leader_many_incarnations_are_all_known(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    stream_id_t stream = s_stream(1000);
    for (uint32_t i = 0; i < 640; i++) {
        stream.incarnation++;
        leader_event_t durable = {.kind = LEADER_EVENT_DURABLE, .now_ns = 0};
        durable.as.durable = (stream_position_t){stream, 3};
        (void)s_step(leader, durable);
    }
    region_set_t replicas;
    assert_int_equal(leader_durability(leader, stream, 3, &replicas), ACK_LOCAL);
    for (uint16_t region = S_EU; region <= S_AP; region++) {
        leader_event_t confirmed = {.kind = LEADER_EVENT_CONFIRMED, .now_ns = 0};
        confirmed.as.confirmed.region = (region_id_t){region};
        confirmed.as.confirmed.stream = stream;
        confirmed.as.confirmed.seq = 3;
        confirmed.as.confirmed.epoch = 4;
        (void)s_step(leader, confirmed);
    }
    assert_int_equal(leader_durability(leader, stream, 3, &replicas), ACK_ALL);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_SETTLED);
    leader_destroy(&leader);
}

/* One region alone: every level is met by its own disk. */
static void test_leader_single_region_meets_every_level(void **state)
{
    (void)state;
    leader_t *leader = s_new();
    (void)s_own(leader, 7, 0, false);
    leader_event_t event = {.kind = LEADER_EVENT_RECORD, .now_ns = 0};
    event.as.record.epoch = 1;
    event.as.record.leader = (region_id_t){S_US};
    event.as.record.in_sync = s_regions(S_US, 0, 0);
    event.as.record.full = s_regions(S_US, 0, 0);
    (void)s_step(leader, event);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_SETTLED);
    const char *reason = NULL;
    assert_int_equal(leader_admit(leader, ACK_ALL, 0, &reason), CODE_OK);
    (void)s_wait(leader, 1, 1, ACK_ALL);
    assert_int_equal(s_durable(leader, 1).count, 1);
    leader_destroy(&leader);
}

/* -- role and stream, islands ------------------------------------------------------------------ */

static leader_effects_t s_record_of(
    leader_t *leader, uint64_t epoch, uint16_t who, bool accepts_islands, int64_t now_ns)
{
    leader_event_t event = {.kind = LEADER_EVENT_RECORD, .now_ns = now_ns};
    event.as.record.epoch = epoch;
    event.as.record.leader = (region_id_t){who};
    event.as.record.in_sync = s_regions(S_US, S_EU, S_AP);
    event.as.record.full = s_regions(S_US, S_EU, S_AP);
    event.as.record.accepts_islands = accepts_islands;
    return s_step(leader, event);
}

static void s_heard(leader_t *leader, uint16_t region, int64_t at_ns)
{
    leader_event_t event = {.kind = LEADER_EVENT_HEARD, .now_ns = at_ns};
    event.as.heard.region = (region_id_t){region};
    event.as.heard.at_ns = at_ns;
    assert_int_equal(s_step(leader, event).count, 0);
}

static leader_effects_t s_island_wait(leader_t *leader, uint64_t ticket, uint64_t seq)
{
    leader_event_t event = {.kind = LEADER_EVENT_WAIT, .now_ns = 1000 * s_ms};
    event.as.wait.ticket = ticket;
    event.as.wait.stream = s_stream(7);
    event.as.wait.last_seq = seq;
    event.as.wait.level = ACK_ALL;
    event.as.wait.as_island = true;
    event.as.wait.deadline_ns = 6000 * s_ms;
    return s_step(leader, event);
}

/* A follower settles its stream soon after its start, so that a promotion finds it settled: the
 * first write after it is admitted in the step of the record. */
static void test_leader_follower_settles_and_leads_when_named(void **state)
{
    (void)state;
    leader_t *leader = s_new();
    const char *reason = NULL;
    (void)s_own(leader, 7, 20, false);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_ASKING);
    (void)s_record_of(leader, 4, S_EU, false, 0);
    (void)s_peer(leader, S_EU, true, true);
    (void)s_peer(leader, S_AP, true, true);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_SETTLED);
    assert_int_equal(leader_role(leader), LEADER_FOLLOWER);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_READ_ONLY);
    (void)s_record_of(leader, 5, S_US, false, 9000 * s_ms);
    assert_int_equal(leader_role(leader), LEADER_LEADER);
    assert_int_equal(leader_admit(leader, ACK_REPLICATED, 9000 * s_ms, &reason), CODE_OK);
    leader_destroy(&leader);
}

/* Nobody is asked before a record says who there is to ask. */
static void test_leader_without_a_record_does_not_settle(void **state)
{
    (void)state;
    leader_t *leader = s_new();
    (void)s_own(leader, 7, 20, false);
    (void)s_peer(leader, S_EU, true, true);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_ASKING);
    leader_destroy(&leader);
}

/* A leader that another one replaced: what waits ends by what the new record proves, or at its
 * time; nothing new is taken. */
static void test_leader_demoted_answers_only_what_the_new_record_proves(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    const char *reason = NULL;
    (void)s_wait(leader, 1, 3, ACK_REPLICATED);
    (void)s_wait(leader, 2, 4, ACK_REPLICATED);
    (void)s_durable(leader, 4);
    (void)s_confirm(leader, S_EU, 3, 4);
    assert_int_equal(s_record_of(leader, 5, S_EU, false, 0).count, 0);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_READ_ONLY);
    assert_int_equal(s_confirm(leader, S_AP, 3, 4).count, 0); /* of the old epoch: proves nothing */
    (void)s_confirm(leader, S_EU, 3, 5);
    leader_effects_t effects = s_confirm(leader, S_AP, 3, 5);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].ticket, 1);
    assert_int_equal(effects.list[0].code, CODE_OK);
    effects = s_step(leader, (leader_event_t){.kind = LEADER_EVENT_TICK, .now_ns = 5000 * s_ms});
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].ticket, 2);
    assert_int_equal(effects.list[0].code, CODE_NOT_REPLICATED);
    leader_destroy(&leader);
}

/* A confirmation under a newer epoch tells a leader that it was replaced: it takes nothing more,
 * also at local, until a record as new names it. */
static void test_leader_newer_epoch_in_a_confirmation_replaces_it(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    const char *reason = NULL;
    (void)s_confirm(leader, S_EU, 0, 5);
    assert_int_equal(leader_role(leader), LEADER_REPLACED);
    assert_int_equal(leader_region(leader).value, 0);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_READ_ONLY);
    (void)s_record_of(leader, 4, S_US, true, 0);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 9000 * s_ms, &reason), CODE_READ_ONLY);
    (void)s_record_of(leader, 5, S_US, false, 0);
    assert_int_equal(leader_role(leader), LEADER_LEADER);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_OK);
    leader_destroy(&leader);
}

/* What a region has shown it can take back: a wrong epoch does not end a leader for good, while one that
 * another region shows stands. */
static void test_leader_wrong_epoch_can_be_taken_back(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    const char *reason = NULL;
    (void)s_confirm(leader, S_EU, 0, UINT64_MAX);
    (void)s_confirm(leader, S_AP, 0, 5);
    assert_int_equal(leader_role(leader), LEADER_REPLACED);
    (void)s_confirm(leader, S_EU, 0, 4);
    assert_int_equal(leader_role(leader), LEADER_REPLACED);
    (void)s_confirm(leader, S_AP, 0, 4);
    assert_int_equal(leader_role(leader), LEADER_LEADER);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 0, &reason), CODE_OK);
    leader_destroy(&leader);
}

/* More streams than there is room for, told by others, change nothing of what this node has itself. */
static void test_leader_has_room_for_its_own_streams(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    const region_id_t eu = {S_EU};
    leader_event_t event = {.kind = LEADER_EVENT_CONFIRMED};
    event.as.confirmed.region = eu;
    event.as.confirmed.seq = 1;
    event.as.confirmed.epoch = 4;
    for (uint32_t i = 0; i < 2 * LEADER_STREAM_COUNT_MAX; i++) {
        event.as.confirmed.stream = s_stream(100000 + i);
        (void)s_step(leader, event);
    }
    assert_int_equal(leader_confirmed_seq(leader, s_stream(100000), eu), 1);
    assert_int_equal(leader_confirmed_seq(leader, event.as.confirmed.stream, eu), 0);
    leader_event_t begun = {.kind = LEADER_EVENT_STREAM};
    begun.as.stream.stream = s_stream(7777);
    begun.as.stream.is_new = true;
    (void)s_step(leader, begun);
    assert_int_equal(leader_stream(leader), LEADER_STREAM_SETTLED);
    leader_destroy(&leader);
}

/* A retry at the new leader of what lies in another region's stream: that region holds its own
 * stream as far as its shipper tells, whatever epoch it knows; the others must confirm. */
static void test_leader_origin_holds_its_own_stream(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    stream_id_t stream = {.tenant = {1}, .incarnation = 9, .origin = {{S_EU}, {0}}};
    leader_event_t event = {.kind = LEADER_EVENT_WAIT, .now_ns = 0};
    event.as.wait.stream = stream;
    event.as.wait.last_seq = 3;
    event.as.wait.level = ACK_REPLICATED;
    event.as.wait.deadline_ns = 5000 * s_ms;
    assert_int_equal(s_step(leader, event).count, 0);
    leader_event_t durable = {.kind = LEADER_EVENT_DURABLE};
    durable.as.durable = (stream_position_t){stream, 3};
    assert_int_equal(s_step(leader, durable).count, 0);
    leader_event_t confirmed = {.kind = LEADER_EVENT_CONFIRMED};
    confirmed.as.confirmed.region = (region_id_t){S_AP};
    confirmed.as.confirmed.stream = stream;
    confirmed.as.confirmed.seq = 3;
    confirmed.as.confirmed.epoch = 4;
    assert_int_equal(s_step(leader, confirmed).count, 0);
    leader_event_t head = {.kind = LEADER_EVENT_HEAD};
    head.as.head = (stream_position_t){stream, 2};
    assert_int_equal(s_step(leader, head).count, 0);
    head.as.head.seq = 3;
    leader_effects_t effects = s_step(leader, head);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].code, CODE_OK);
    assert_int_equal(effects.list[0].durability, ACK_ALL);
    leader_destroy(&leader);
}

/* A head may be the first that is heard of a stream, and the table of streams grows under it.
 * Method: a hundred of them; the sanitizers look on. */
static void test_leader_heads_of_unknown_streams_are_kept(void **state)
{
    (void)state;
    leader_t *leader = s_leading();
    region_set_t replicas;
    leader_event_t head = {.kind = LEADER_EVENT_HEAD};
    for (uint64_t i = 1; i <= 100; i++) {
        stream_id_t stream = {.tenant = {1}, .incarnation = 100 + i, .origin = {{S_EU}, {0}}};
        head.as.head = (stream_position_t){stream, i};
        assert_int_equal(s_step(leader, head).count, 0);
        (void)leader_durability(leader, stream, i, &replicas);
        assert_int_equal(replicas.bits, s_regions(S_EU, 0, 0).bits);
    }
    leader_destroy(&leader);
}

/* What is told first of all, before this node has a stream of its own, counts as well. */
static void test_leader_first_stream_may_be_another_regions(void **state)
{
    (void)state;
    leader_t *leader = s_new();
    region_set_t replicas;
    leader_event_t head = {.kind = LEADER_EVENT_HEAD};
    stream_id_t stream = {.tenant = {1}, .incarnation = 9, .origin = {{S_EU}, {0}}};
    head.as.head = (stream_position_t){stream, 5};
    (void)s_step(leader, head);
    (void)s_record(leader, 4, S_US, s_regions(S_US, S_EU, S_AP));
    (void)leader_durability(leader, stream, 5, &replicas);
    assert_int_equal(replicas.bits, s_regions(S_EU, 0, 0).bits);
    leader_destroy(&leader);
}

/* A settled follower of a tenant that accepts islands. */
static leader_t *s_follower(bool accepts_islands)
{
    leader_t *leader = s_new();
    (void)s_own(leader, 7, 0, true);
    (void)s_record_of(leader, 4, S_EU, accepts_islands, 0);
    (void)s_peer(leader, S_EU, true, true);
    (void)s_peer(leader, S_AP, true, true);
    return leader;
}

/* Cut off is who has not heard the leader's region for silent_ns; one sign of life ends it. That
 * other regions are silent or heard makes no difference. */
static void test_leader_island_begins_and_ends_with_the_leaders_silence(void **state)
{
    (void)state;
    leader_t *leader = s_follower(true);
    s_heard(leader, S_EU, 500 * s_ms);
    s_heard(leader, S_AP, 2000 * s_ms);
    assert_int_equal(leader_stance(leader, 1499 * s_ms), LEADER_AS_NOBODY);
    assert_int_equal(leader_stance(leader, 1500 * s_ms), LEADER_AS_ISLAND);
    s_heard(leader, S_EU, 400 * s_ms); /* told late: nothing new */
    assert_int_equal(leader_stance(leader, 1500 * s_ms), LEADER_AS_ISLAND);
    s_heard(leader, S_EU, 1500 * s_ms);
    assert_int_equal(leader_stance(leader, 1500 * s_ms), LEADER_AS_NOBODY);
    leader_destroy(&leader);
}

/* A tenant that rejects islands, or a node that no leader is named to, is read only however long
 * the silence. */
static void test_leader_island_needs_policy_and_leader(void **state)
{
    (void)state;
    const char *reason = NULL;
    leader_t *leader = s_follower(false);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 90000 * s_ms, &reason), CODE_READ_ONLY);
    (void)s_record_of(leader, 5, 0, true, 0);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 90000 * s_ms, &reason), CODE_READ_ONLY);
    leader_destroy(&leader);
}

/* An island takes any level without asking who is heard, and answers when its own disk has it, as
 * local and island, in its own region alone. */
static void test_leader_island_answers_from_its_own_disk(void **state)
{
    (void)state;
    const char *reason = NULL;
    leader_t *leader = s_follower(true);
    (void)s_peer(leader, S_EU, false, false);
    assert_int_equal(leader_admit(leader, ACK_ALL, 1000 * s_ms, &reason), CODE_OK);
    assert_int_equal(s_island_wait(leader, 1, 2).count, 0);
    (void)s_confirm(leader, S_AP, 2, 4);
    leader_effects_t effects = s_durable(leader, 2);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].code, CODE_OK);
    assert_true(effects.list[0].island);
    assert_int_equal(effects.list[0].durability, ACK_LOCAL);
    assert_int_equal(effects.list[0].replicas.bits, s_regions(S_US, 0, 0).bits);
    effects = s_island_wait(leader, 2, 2); /* a retry */
    assert_int_equal(effects.count, 1);
    assert_true(effects.list[0].island);
    leader_destroy(&leader);
}

/* An island that has just started asks as a leader does: it originates when all have told, or in a
 * new incarnation when a write waits and asking_ns have passed since the start. */
static void test_leader_island_asks_before_it_originates(void **state)
{
    (void)state;
    const char *reason = NULL;
    leader_t *leader = s_new();
    (void)s_own(leader, 7, 20, false);
    (void)s_record_of(leader, 4, S_EU, true, 0);
    (void)s_peer(leader, S_AP, true, true);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 1000 * s_ms, &reason), CODE_UNAVAILABLE);
    leader_event_t tick = {.kind = LEADER_EVENT_TICK, .now_ns = 4999 * s_ms};
    assert_int_equal(s_step(leader, tick).count, 0);
    assert_int_equal(leader_deadline_ns(leader), 5000 * s_ms);
    tick.now_ns = 5000 * s_ms;
    leader_effects_t effects = s_step(leader, tick);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, LEADER_EFFECT_NEW_INCARNATION);
    (void)s_own(leader, 8, 0, true);
    assert_int_equal(leader_admit(leader, ACK_LOCAL, 5000 * s_ms, &reason), CODE_OK);
    leader_destroy(&leader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leader_follower_is_read_only),
        cmocka_unit_test(test_leader_local_answered_when_durable),
        cmocka_unit_test(test_leader_replicated_needs_every_member),
        cmocka_unit_test(test_leader_confirmation_of_other_epoch_does_not_count),
        cmocka_unit_test(test_leader_all_needs_every_full_region),
        cmocka_unit_test(test_leader_silent_member_refuses_replicated_only),
        cmocka_unit_test(test_leader_too_small_set_refuses_replicated),
        cmocka_unit_test(test_leader_deadline_answers_not_replicated_once),
        cmocka_unit_test(test_leader_retry_of_reached_position_answers_at_once),
        cmocka_unit_test(test_leader_position_that_goes_back_stops_counting),
        cmocka_unit_test(test_leader_restart_asks_before_it_originates),
        cmocka_unit_test(test_leader_region_ahead_gives_new_incarnation),
        cmocka_unit_test(test_leader_region_that_differs_gives_new_incarnation),
        cmocka_unit_test(test_leader_silent_region_gives_new_incarnation_only_for_a_write),
        cmocka_unit_test(test_leader_full_queue_is_overloaded),
        cmocka_unit_test(test_leader_many_incarnations_are_all_known),
        cmocka_unit_test(test_leader_single_region_meets_every_level),
        cmocka_unit_test(test_leader_follower_settles_and_leads_when_named),
        cmocka_unit_test(test_leader_without_a_record_does_not_settle),
        cmocka_unit_test(test_leader_demoted_answers_only_what_the_new_record_proves),
        cmocka_unit_test(test_leader_newer_epoch_in_a_confirmation_replaces_it),
        cmocka_unit_test(test_leader_wrong_epoch_can_be_taken_back),
        cmocka_unit_test(test_leader_has_room_for_its_own_streams),
        cmocka_unit_test(test_leader_origin_holds_its_own_stream),
        cmocka_unit_test(test_leader_heads_of_unknown_streams_are_kept),
        cmocka_unit_test(test_leader_first_stream_may_be_another_regions),
        cmocka_unit_test(test_leader_island_begins_and_ends_with_the_leaders_silence),
        cmocka_unit_test(test_leader_island_needs_policy_and_leader),
        cmocka_unit_test(test_leader_island_answers_from_its_own_disk),
        cmocka_unit_test(test_leader_island_asks_before_it_originates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
