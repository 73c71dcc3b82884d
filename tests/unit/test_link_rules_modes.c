/* Modes, delays, the rate, and what a new rule does to the messages that wait. */
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

static const link_rule_t s_pass = {.mode = LINK_MODE_PASS};
static const link_rule_t s_drop = {.mode = LINK_MODE_DROP};
static const link_rule_t s_hold = {.mode = LINK_MODE_HOLD};
static const link_rule_t s_cut = {.mode = LINK_MODE_CUT};

/* Goal: without a rule everything goes on at once and is counted, and there is no deadline. */
static void test_link_rules_no_rule_forwards_at_once(void **state)
{
    (void)state;
    proxy_offer(&s_proxy, 1, 0);
    proxy_offer(&s_proxy, 2, LINK_LANE_COUNT_MAX - 1);
    assert_string_equal(proxy_trace(&s_proxy), "@0 F1 F2");
    assert_true(link_rules_deadline_ns(s_proxy.rules) == INT64_MAX);
    const link_counters_t *counters = proxy_counters(&s_proxy);
    assert_int_equal(counters->offered_count, 2);
    assert_int_equal(counters->forwarded_count, 2);
    assert_int_equal(counters->forwarded_bytes, 200);
    assert_int_equal(counters->delayed_count, 0);
}

/* Goal: mode drop makes messages of this direction vanish and no other link's. */
static void test_link_rules_drop_concerns_one_direction(void **state)
{
    (void)state;
    proxy_set(&s_proxy, s_drop);
    proxy_offer(&s_proxy, 1, 0);
    s_proxy.link = (link_id_t){{2}, {1}};
    proxy_offer(&s_proxy, 2, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 D1:mode F2");
    assert_int_equal(proxy_counters(&s_proxy)->dropped_count[LINK_DROP_MODE], 0);
}

/* Goal: hold keeps messages as long as it lasts and a heal releases them in order, lanes mixed. */
static void test_link_rules_hold_releases_in_order_of_arrival(void **state)
{
    (void)state;
    proxy_set(&s_proxy, s_hold);
    proxy_offer(&s_proxy, 1, 0);
    proxy_offer(&s_proxy, 2, 1);
    proxy_run_to(&s_proxy, 50);
    proxy_offer(&s_proxy, 3, 0);
    proxy_run_to(&s_proxy, 100000);
    assert_string_equal(proxy_trace(&s_proxy), "");
    assert_int_equal(proxy_counters(&s_proxy)->waiting_count, 3);
    proxy_set(&s_proxy, s_pass);
    proxy_offer(&s_proxy, 4, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@100000 F1 F2 F3 F4");
    assert_int_equal(proxy_counters(&s_proxy)->waiting_count, 0);
    assert_int_equal(proxy_counters(&s_proxy)->delayed_count, 3);
}

/* Goal: from hold to drop the held messages vanish, each told once. */
static void test_link_rules_hold_to_drop_lets_held_vanish(void **state)
{
    (void)state;
    proxy_set(&s_proxy, s_hold);
    proxy_offer(&s_proxy, 1, 0);
    proxy_offer(&s_proxy, 2, 0);
    proxy_set(&s_proxy, s_drop);
    assert_string_equal(proxy_trace(&s_proxy), "@0 D1:mode D2:mode");
    assert_int_equal(proxy_counters(&s_proxy)->dropped_count[LINK_DROP_MODE], 2);
}

/* Goal: cut resets the connections first, drops what waits, then what comes; and again when it is
 * set again. */
static void test_link_rules_cut_resets_and_drops(void **state)
{
    (void)state;
    proxy_set(&s_proxy, s_hold);
    proxy_offer(&s_proxy, 1, 0);
    proxy_set(&s_proxy, s_cut);
    proxy_offer(&s_proxy, 2, 0);
    proxy_set(&s_proxy, s_cut);
    proxy_set(&s_proxy, s_pass);
    proxy_offer(&s_proxy, 3, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 R D1:cut D2:cut R F3");
    const link_counters_t *counters = proxy_counters(&s_proxy);
    assert_int_equal(counters->dropped_count[LINK_DROP_CUT], 2);
    assert_int_equal(counters->dropped_bytes[LINK_DROP_CUT], 200);
    assert_int_equal(counters->reset_count, 2);
    assert_int_equal(link_counters_dropped(counters), 2);
}

/* Goal: a held message goes on under the delay and the rate of the new rule. */
static void test_link_rules_hold_to_slow_link_paces_the_held(void **state)
{
    (void)state;
    proxy_set(&s_proxy, s_hold);
    for (uint64_t i = 1; i <= 4; i++) {
        proxy_offer_size(&s_proxy, i, 0, 10000);
    }
    /* 10 ms for each message, and a bucket of 10 ms: two leave at once. */
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 5, .rate_bytes_s = 1000000});
    proxy_run_to(&s_proxy, 1000);
    assert_string_equal(proxy_trace(&s_proxy), "@5 F1 F2 @15 F3 @25 F4");
}

/* Goal: heal_all brings every link back to pass and releases all, in order of arrival over links.
 */
static void test_link_rules_heal_all_releases_every_link(void **state)
{
    (void)state;
    link_id_t links[3] = {{{2}, {1}}, {{0}, {3}}, {{1}, {2}}};
    for (uint64_t i = 0; i < 3; i++) {
        s_proxy.link = links[i];
        proxy_set(&s_proxy, s_hold);
        proxy_offer(&s_proxy, i + 1, 0);
    }
    s_proxy.link = (link_id_t){{3}, {0}};
    proxy_set(&s_proxy, s_cut);
    link_rules_heal_all(s_proxy.rules, 0, &s_proxy.effects);
    assert_int_equal(s_proxy.effects.count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(s_proxy.effects.list[i].ticket, i + 1);
        assert_int_equal(s_proxy.effects.list[i].link.from.value, links[i].from.value);
    }
    proxy_offer(&s_proxy, 4, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 R F4");
    assert_int_equal(link_rules_rule(s_proxy.rules, links[0])->mode, LINK_MODE_PASS);
}

/* Goal: a delay moves each message by itself, and the deadline is that of the first. */
static void test_link_rules_delay_moves_each_message(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 30});
    proxy_offer(&s_proxy, 1, 0);
    proxy_run_to(&s_proxy, 10);
    proxy_offer(&s_proxy, 2, 1);
    assert_true(link_rules_deadline_ns(s_proxy.rules) == 30LL * NS_PER_MS);
    proxy_run_to(&s_proxy, 100);
    assert_string_equal(proxy_trace(&s_proxy), "@30 F1 @40 F2");
}

/* Goal: due times of several links are served in one order, ties in order of arrival. */
static void test_link_rules_due_over_links_is_in_order_of_time(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 30});
    proxy_offer(&s_proxy, 1, 0);
    s_proxy.link = (link_id_t){{2}, {1}};
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 20});
    proxy_offer(&s_proxy, 2, 0);
    proxy_run_to(&s_proxy, 10);
    proxy_offer(&s_proxy, 3, 0);
    link_rules_due(s_proxy.rules, 100LL * NS_PER_MS, &s_proxy.effects);
    assert_int_equal(s_proxy.effects.count, 3);
    assert_int_equal(s_proxy.effects.list[0].ticket, 2);
    assert_int_equal(s_proxy.effects.list[1].ticket, 1);
    assert_int_equal(s_proxy.effects.list[2].ticket, 3);
}

/* Goal: a shorter delay does not let later messages of a lane pass earlier ones; what waits longer
 * than a new message would is treated like one, so a heal leaves nothing behind. */
static void test_link_rules_shorter_delay_keeps_lane_order(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 1000});
    proxy_offer(&s_proxy, 1, 0);
    proxy_run_to(&s_proxy, 500);
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 10});
    proxy_offer(&s_proxy, 2, 0);
    proxy_run_to(&s_proxy, 505);
    assert_string_equal(proxy_trace(&s_proxy), "");
    proxy_set(&s_proxy, s_pass);
    proxy_offer(&s_proxy, 3, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@505 F1 F2 F3");
}

/* Goal: a longer delay leaves messages that are nearly there alone. */
static void test_link_rules_longer_delay_leaves_waiting_messages(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 10});
    proxy_offer(&s_proxy, 1, 0);
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 1000});
    proxy_offer(&s_proxy, 2, 0);
    proxy_run_to(&s_proxy, 2000);
    assert_string_equal(proxy_trace(&s_proxy), "@10 F1 @1000 F2");
}

/* Goal: a delayed message stops when the link goes on hold. */
static void test_link_rules_delay_to_hold_keeps_waiting_messages(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 10});
    proxy_offer(&s_proxy, 1, 0);
    proxy_set(&s_proxy, s_hold);
    proxy_run_to(&s_proxy, 1000);
    assert_string_equal(proxy_trace(&s_proxy), "");
    proxy_set(&s_proxy, s_pass);
    assert_string_equal(proxy_trace(&s_proxy), "@1000 F1");
}

/* Goal: in the long run the rate is what the rule says, and an idle link lets a burst pass.
 * Method: 1000 bytes a ms at 1 MB/s: 11 messages leave at once (10 ms of bucket and the one that
 * brings it into debt), then one per ms. */
static void test_link_rules_rate_paces_after_a_burst(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.rate_bytes_s = 1000000});
    for (uint64_t i = 1; i <= 100; i++) {
        proxy_offer_size(&s_proxy, i, 0, 1000);
    }
    assert_int_equal(proxy_counters(&s_proxy)->forwarded_count, 11);
    proxy_run_to(&s_proxy, 50);
    assert_int_equal(proxy_counters(&s_proxy)->forwarded_count, 61);
    proxy_run_to(&s_proxy, 1000);
    assert_int_equal(proxy_counters(&s_proxy)->forwarded_count, 100);
    proxy_offer_size(&s_proxy, 101, 0, 1000);
    assert_int_equal(proxy_counters(&s_proxy)->forwarded_count, 101);
}

/* Goal: a message larger than the bucket passes, and the next one waits for its whole cost. */
static void test_link_rules_rate_lets_large_message_pass(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.rate_bytes_s = 1000000});
    proxy_offer_size(&s_proxy, 1, 0, 1000000);
    proxy_offer_size(&s_proxy, 2, 0, 1);
    proxy_run_to(&s_proxy, 2000);
    assert_string_equal(proxy_trace(&s_proxy), "@0 F1 @990 F2");
}

/* Goal: the slowest rate with the largest messages overflows nothing. */
static void test_link_rules_one_byte_per_second_stays_in_range(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = LINK_DELAY_MS_MAX, .rate_bytes_s = 1});
    for (uint64_t i = 0; i < 4; i++) {
        proxy_offer_size(&s_proxy, i, 0, LINK_QUEUE_SIZE_MAX / 4);
    }
    assert_true(link_rules_deadline_ns(s_proxy.rules) == 60000LL * NS_PER_MS);
    proxy_run_to(&s_proxy, 60000);
    assert_string_equal(proxy_trace(&s_proxy), "@60000 F0");
}

int main(void)
{
#define WITH_PROXY(test) cmocka_unit_test_setup_teardown(test, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        WITH_PROXY(test_link_rules_no_rule_forwards_at_once),
        WITH_PROXY(test_link_rules_drop_concerns_one_direction),
        WITH_PROXY(test_link_rules_hold_releases_in_order_of_arrival),
        WITH_PROXY(test_link_rules_hold_to_drop_lets_held_vanish),
        WITH_PROXY(test_link_rules_cut_resets_and_drops),
        WITH_PROXY(test_link_rules_hold_to_slow_link_paces_the_held),
        WITH_PROXY(test_link_rules_heal_all_releases_every_link),
        WITH_PROXY(test_link_rules_delay_moves_each_message),
        WITH_PROXY(test_link_rules_due_over_links_is_in_order_of_time),
        WITH_PROXY(test_link_rules_shorter_delay_keeps_lane_order),
        WITH_PROXY(test_link_rules_longer_delay_leaves_waiting_messages),
        WITH_PROXY(test_link_rules_delay_to_hold_keeps_waiting_messages),
        WITH_PROXY(test_link_rules_rate_paces_after_a_burst),
        WITH_PROXY(test_link_rules_rate_lets_large_message_pass),
        WITH_PROXY(test_link_rules_one_byte_per_second_stays_in_range),
    };
#undef WITH_PROXY
    return cmocka_run_group_tests(tests, NULL, NULL);
}
