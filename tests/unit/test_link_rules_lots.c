/* The faults that are drawn: loss, duplicates, jitter, reordering; and the laws that hold whatever
 * is drawn. */
#include "common/base/prng.h"
#include "tests/unit/link_rules_support.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static proxy_t s_proxy;

static int s_setup(void **state)
{
    (void)state;
    proxy_init(&s_proxy, 1);
    return 0;
}

static int s_teardown(void **state)
{
    (void)state;
    proxy_done(&s_proxy);
    return 0;
}

/* Goal: probabilities 1 hit always: drop before all else. */
static void test_link_rules_certain_drop_drops_all(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.drop = 1.0, .duplicate = 1.0, .reorder = 1.0});
    proxy_offer(&s_proxy, 1, 0);
    proxy_offer(&s_proxy, 2, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 D1:chance D2:chance");
    assert_int_equal(proxy_counters(&s_proxy)->duplicated_count, 0);
}

/* Goal: a loss of one in four comes out as one in four. Method: 10,000 draws of a fixed seed. */
static void test_link_rules_drop_share_is_the_probability(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.drop = 0.25});
    for (uint64_t i = 0; i < 10000; i++) {
        s_proxy.trace[0] = '\0';
        proxy_offer(&s_proxy, i, 0);
    }
    uint64_t dropped = proxy_counters(&s_proxy)->dropped_count[LINK_DROP_CHANCE];
    assert_in_range(dropped, 2350, 2650);
    assert_int_equal(proxy_counters(&s_proxy)->forwarded_count, 10000 - dropped);
}

/* Goal: a duplicate is told as a copy first, and ends the ticket with the second one. */
static void test_link_rules_duplicate_comes_as_copy_then_forward(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.duplicate = 1.0});
    proxy_offer(&s_proxy, 1, 0);
    proxy_offer(&s_proxy, 2, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 C1 F1 C2 F2");
    const link_counters_t *counters = proxy_counters(&s_proxy);
    assert_int_equal(counters->duplicated_count, 2);
    assert_int_equal(counters->duplicated_bytes, 200);
    assert_int_equal(counters->forwarded_count, 4);
}

/* Goal: a held duplicate that is cut gives one DROP for its ticket, and counts as two messages. */
static void test_link_rules_duplicate_in_cut_is_dropped_once(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.mode = LINK_MODE_HOLD, .duplicate = 1.0});
    proxy_offer(&s_proxy, 1, 0);
    assert_int_equal(proxy_counters(&s_proxy)->waiting_count, 2);
    proxy_set(&s_proxy, (link_rule_t){.mode = LINK_MODE_CUT});
    assert_string_equal(proxy_trace(&s_proxy), "@0 R D1:cut");
    assert_int_equal(proxy_counters(&s_proxy)->dropped_count[LINK_DROP_CUT], 2);
}

/* Goal: a cut between the two halves of a duplicate ends the ticket with a DROP. */
static void test_link_rules_cut_after_the_copy_drops_the_rest(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 5, .duplicate = 1.0, .rate_bytes_s = 1000});
    proxy_offer(&s_proxy, 1, 0);
    proxy_run_to(&s_proxy, 5);
    proxy_set(&s_proxy, (link_rule_t){.mode = LINK_MODE_CUT});
    assert_string_equal(proxy_trace(&s_proxy), "@5 C1 R D1:cut");
}

/* Goal: jitter spreads messages between delay and delay + jitter, and within a lane never reorders.
 */
static void test_link_rules_jitter_keeps_lane_order(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 10, .jitter_ms = 40});
    uint64_t last[2] = {0, 0};
    uint64_t lane_changes = 0;
    uint64_t next = 1;
    for (int64_t ms = 0; ms < COUNT + 60; ms++) {
        link_rules_due(s_proxy.rules, ms * NS_PER_MS, &s_proxy.effects);
        for (uint32_t i = 0; i < s_proxy.effects.count; i++) {
            const link_effect_t *effect = &s_proxy.effects.list[i];
            assert_true(effect->ticket > last[effect->lane]);
            last[effect->lane] = effect->ticket;
            lane_changes += effect->ticket < last[1 - effect->lane] ? 1 : 0;
            int64_t waited_ms = ms - (int64_t)effect->ticket + 1;
            assert_in_range(waited_ms, 10, 51);
        }
        if (next <= COUNT) {
            link_message_t message = {
                .link = s_proxy.link, .lane = next % 2, .size_bytes = 1, .ticket = next};
            link_rules_offer(s_proxy.rules, &message, ms * NS_PER_MS, &s_proxy.effects);
            assert_int_equal(s_proxy.effects.count, 0);
            next++;
        }
    }
    assert_int_equal(proxy_counters(&s_proxy)->forwarded_count, COUNT);
    assert_true(lane_changes > 10);
}

/* Goal: with reordering, messages are overtaken, none is lost or kept. Method: 20 seeds. */
static void test_link_rules_reorder_overtakes_and_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        proxy_done(&s_proxy);
        proxy_init(&s_proxy, seed);
        proxy_set(&s_proxy, (link_rule_t){.reorder = 0.5});
        for (uint64_t i = 1; i <= 12; i++) {
            proxy_offer(&s_proxy, i, 0);
        }
        proxy_run_to(&s_proxy, 100);
        uint64_t reordered = proxy_counters(&s_proxy)->reordered_count;
        assert_in_range(reordered, 1, 11);
        assert_int_equal(proxy_counters(&s_proxy)->forwarded_count, 12);
        assert_int_equal(proxy_counters(&s_proxy)->waiting_count, 0);
    }
}

/* Goal: what passes what, in full, for one seed. 3 to 6 and 8 are drawn: 3, 5 and 6 wait for two
 * later ones (7 and 9) and follow them at once, 4 waits for three. 8, 11 and 12 find too few and go
 * on when their time is over. */
static void test_link_rules_reorder_trace_of_one_seed(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.reorder = 0.4});
    for (uint64_t i = 1; i <= 12; i++) {
        proxy_offer(&s_proxy, i, 0);
    }
    proxy_run_to(&s_proxy, 100);
    assert_string_equal(proxy_trace(&s_proxy), "@0 F1 F2 F7 F9 F3 F5 F6 F10 F4 @20 F8 F11 F12");
}

/* Goal: with nothing behind it a reordered message goes on after LINK_REORDER_MS, in order. */
static void test_link_rules_reordered_message_alone_goes_on_after_a_while(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.reorder = 1.0});
    proxy_offer(&s_proxy, 1, 0);
    proxy_run_to(&s_proxy, 1000);
    assert_string_equal(proxy_trace(&s_proxy), "@20 F1");
    assert_int_equal(proxy_counters(&s_proxy)->reordered_count, 0);
    assert_int_equal(proxy_counters(&s_proxy)->delayed_count, 1);
}

/* Goal: only LINK_REORDER_COUNT_MAX messages wait to be overtaken; more are not reordered. */
static void test_link_rules_reorder_is_bounded(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.reorder = 1.0});
    for (uint64_t i = 0; i < LINK_REORDER_COUNT_MAX; i++) {
        proxy_offer(&s_proxy, i, (uint32_t)i);
    }
    assert_string_equal(proxy_trace(&s_proxy), "");
    proxy_offer(&s_proxy, 99, 99);
    assert_string_equal(proxy_trace(&s_proxy), "@0 F99");
}

/* Goal: a reordered message is not held longer than LINK_REORDER_MS by a later one that is due
 * after that. Method: all places for reordered ones are taken, so that message 99 is not one. */
static void test_link_rules_reordered_message_does_not_wait_for_late_ones(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 100, .reorder = 1.0});
    for (uint64_t i = 0; i < LINK_REORDER_COUNT_MAX; i++) {
        proxy_offer(&s_proxy, i, (uint32_t)i);
    }
    proxy_run_to(&s_proxy, 30);
    proxy_offer(&s_proxy, 99, 0);
    proxy_run_to(&s_proxy, 1000);
    assert_string_equal(proxy_trace(&s_proxy),
                        "@120 F0 F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 F13 F14 F15 @130 F99");
    assert_int_equal(proxy_counters(&s_proxy)->reordered_count, 0);
}

/* Goal: a new rule ends the wait of reordered messages: the heal releases them in order. */
static void test_link_rules_heal_undoes_pending_reorder(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.reorder = 1.0});
    proxy_offer(&s_proxy, 1, 0);
    proxy_offer(&s_proxy, 2, 0);
    proxy_set(&s_proxy, (link_rule_t){0});
    proxy_offer(&s_proxy, 3, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 F1 F2 F3");
}

/* -- laws -------------------------------------------------------------------------------------- */

enum { LAW_TICKETS = 4000, LAW_LINKS = 3, LAW_LANES = 3 };

/* What the outside has seen of one run. */
typedef struct {
    link_rules_t *rules;
    prng_t prng;
    bool may_reorder;
    uint64_t offered;
    uint8_t ended[LAW_TICKETS];
    uint32_t lane_of[LAW_TICKETS]; /* link and lane */
    uint64_t last_of_lane[LAW_LINKS * LAW_LANES];
    uint64_t hash;
} s_law_t;

static const link_id_t s_law_links[LAW_LINKS] = {{{1}, {2}}, {{2}, {1}}, {{0}, {16}}};

static void s_see(s_law_t *law, const link_effect_t *effect)
{
    law->hash = (law->hash ^ (effect->ticket * 8 + (uint64_t)effect->kind)) * 0x100000001b3U;
    if (effect->kind == LINK_EFFECT_RESET) {
        return;
    }
    assert_true(effect->ticket < law->offered);
    assert_int_equal(law->ended[effect->ticket], 0);
    if (effect->kind != LINK_EFFECT_FORWARD_COPY) {
        law->ended[effect->ticket] = 1;
    }
    if (effect->kind != LINK_EFFECT_DROP && !law->may_reorder) {
        uint64_t *last = &law->last_of_lane[law->lane_of[effect->ticket]];
        assert_true(effect->ticket + 1 >= *last);
        *last = effect->ticket + 1;
    }
}

static void s_see_all(s_law_t *law, const link_effects_t *effects)
{
    for (uint32_t i = 0; i < effects->count; i++) {
        s_see(law, &effects->list[i]);
    }
}

static link_rule_t s_draw_rule(s_law_t *law)
{
    prng_t *prng = &law->prng;
    uint64_t mode = prng_below(prng, 8);
    link_rule_t rule = {.mode = mode > 3 ? LINK_MODE_PASS : (link_mode_t)mode};
    rule.delay_ms = prng_chance(prng, 0.5) ? (uint32_t)prng_below(prng, 20) : 0;
    rule.jitter_ms = prng_chance(prng, 0.5) ? (uint32_t)prng_below(prng, 20) : 0;
    rule.drop = prng_chance(prng, 0.3) ? prng_unit(prng) : 0.0;
    rule.duplicate = prng_chance(prng, 0.3) ? prng_unit(prng) : 0.0;
    rule.reorder = law->may_reorder ? prng_unit(prng) : 0.0;
    rule.rate_bytes_s = prng_chance(prng, 0.3) ? 1 + prng_below(prng, 1000000) : 0;
    return rule;
}

static void s_assert_conserved(const s_law_t *law, bool is_empty)
{
    for (int i = 0; i < LAW_LINKS; i++) {
        const link_counters_t *c = link_rules_counters(law->rules, s_law_links[i]);
        uint64_t dropped_bytes = 0;
        for (int reason = 0; reason < LINK_DROP_COUNT; reason++) {
            dropped_bytes += c->dropped_bytes[reason];
        }
        assert_int_equal(c->offered_count + c->duplicated_count,
                         c->forwarded_count + link_counters_dropped(c) + c->waiting_count);
        assert_int_equal(c->offered_bytes + c->duplicated_bytes,
                         c->forwarded_bytes + dropped_bytes + c->waiting_bytes);
        if (is_empty) {
            assert_int_equal(c->waiting_count, 0);
            assert_int_equal(c->waiting_bytes, 0);
        }
    }
}

/* Random rules and messages; returns the hash of all effects. */
static uint64_t s_run_law(uint64_t seed, bool may_reorder)
{
    static s_law_t s_law;
    s_law_t *law = &s_law;
    (void)memset(law, 0, sizeof(*law));
    law->rules = link_rules_new(seed);
    law->may_reorder = may_reorder;
    prng_init(&law->prng, seed);
    link_effects_t effects;
    int64_t now_ns = 0;
    while (law->offered < LAW_TICKETS) {
        uint64_t which = prng_below(&law->prng, LAW_LINKS);
        if (prng_chance(&law->prng, 0.02)) {
            link_rule_t rule = s_draw_rule(law);
            assert_int_equal(
                link_rules_set(law->rules, s_law_links[which], &rule, now_ns, &effects, NULL),
                ERR_OK);
            s_see_all(law, &effects);
        } else {
            uint32_t lane = (uint32_t)prng_below(&law->prng, LAW_LANES);
            law->lane_of[law->offered] = (uint32_t)which * LAW_LANES + lane;
            link_message_t message = {.link = s_law_links[which],
                                      .lane = lane,
                                      .size_bytes = (uint32_t)prng_below(&law->prng, 2000),
                                      .ticket = law->offered++};
            link_rules_offer(law->rules, &message, now_ns, &effects);
            s_see_all(law, &effects);
        }
        if (prng_chance(&law->prng, 0.3)) {
            now_ns += (int64_t)prng_below(&law->prng, UINT64_C(3) * NS_PER_MS);
            link_rules_due(law->rules, now_ns, &effects);
            s_see_all(law, &effects);
        }
        s_assert_conserved(law, false);
    }
    link_rules_heal_all(law->rules, now_ns, &effects);
    s_see_all(law, &effects);
    while (link_rules_deadline_ns(law->rules) <= now_ns) {
        link_rules_due(law->rules, now_ns, &effects);
        s_see_all(law, &effects);
    }
    s_assert_conserved(law, true);
    for (uint64_t i = 0; i < law->offered; i++) {
        assert_int_equal(law->ended[i], 1);
    }
    link_rules_destroy(&law->rules);
    return law->hash;
}

/* Goal: each ticket ends once, lanes keep their order, counters add up, a heal empties all queues.
 * Method: 60 random runs without reorder, checked after each step. */
static void test_link_rules_random_runs_keep_order_and_counts(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        (void)s_run_law(seed, false);
    }
    assert_int_not_equal(s_run_law(1, false), s_run_law(2, false));
}

/* Goal: the same with reorder, and the same seed gives the same effects. */
static void test_link_rules_random_runs_with_reorder_are_repeatable(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 140; seed++) {
        uint64_t hash = s_run_law(seed, true);
        assert_true(hash == s_run_law(seed, true));
    }
}

static void s_offer_elsewhere(link_id_t link)
{
    link_effects_t effects;
    link_rule_t lossy = {.drop = 0.5};
    err_t err = link_rules_set(s_proxy.rules, link, &lossy, 0, &effects, NULL);
    assert_int_equal(err, ERR_OK);
    link_message_t message = {.link = link, .ticket = 1000};
    link_rules_offer(s_proxy.rules, &message, 0, &effects);
}

static void s_run_lossy(bool with_other)
{
    proxy_done(&s_proxy);
    proxy_init(&s_proxy, 7);
    proxy_set(&s_proxy, (link_rule_t){.drop = 0.5});
    for (uint64_t i = 0; i < 50; i++) {
        proxy_offer(&s_proxy, i, 0);
        if (with_other) {
            s_offer_elsewhere((link_id_t){{3}, {1}});
        }
    }
}

/* Goal: the lots of a link do not depend on the traffic of another one. */
static void test_link_rules_lots_are_per_link(void **state)
{
    (void)state;
    static char s_alone[TRACE_SIZE];
    s_run_lossy(false);
    (void)memcpy(s_alone, s_proxy.trace, sizeof(s_alone));
    s_run_lossy(true);
    assert_string_equal(s_proxy.trace, s_alone);
}

int main(void)
{
#define WITH_PROXY(test) cmocka_unit_test_setup_teardown(test, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        WITH_PROXY(test_link_rules_certain_drop_drops_all),
        WITH_PROXY(test_link_rules_drop_share_is_the_probability),
        WITH_PROXY(test_link_rules_duplicate_comes_as_copy_then_forward),
        WITH_PROXY(test_link_rules_duplicate_in_cut_is_dropped_once),
        WITH_PROXY(test_link_rules_cut_after_the_copy_drops_the_rest),
        WITH_PROXY(test_link_rules_jitter_keeps_lane_order),
        WITH_PROXY(test_link_rules_reorder_overtakes_and_loses_nothing),
        WITH_PROXY(test_link_rules_reorder_trace_of_one_seed),
        WITH_PROXY(test_link_rules_reordered_message_alone_goes_on_after_a_while),
        WITH_PROXY(test_link_rules_reorder_is_bounded),
        WITH_PROXY(test_link_rules_reordered_message_does_not_wait_for_late_ones),
        WITH_PROXY(test_link_rules_heal_undoes_pending_reorder),
        WITH_PROXY(test_link_rules_random_runs_keep_order_and_counts),
        WITH_PROXY(test_link_rules_random_runs_with_reorder_are_repeatable),
        WITH_PROXY(test_link_rules_lots_are_per_link),
    };
#undef WITH_PROXY
    return cmocka_run_group_tests(tests, NULL, NULL);
}
