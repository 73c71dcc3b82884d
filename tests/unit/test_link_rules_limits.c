/* Refused rules, full queues, and more effects than one call holds. */
#include "tests/unit/link_rules_support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

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

static void s_assert_refused(link_id_t link, link_rule_t rule, const char *expected)
{
    errbuf_t errbuf = {{0}};
    link_effects_t effects = {.count = 77};
    err_t err = link_rules_set(s_proxy.rules, link, &rule, 0, &effects, &errbuf);
    assert_int_equal(err, ERR_INVALID);
    assert_string_equal(errbuf.text, expected);
    assert_int_equal(effects.count, 77);
}

/* Goal: every field outside its range is refused by name, with what was expected and found.
 * Method: one bad field at a time, at one past the bound, NaN included. */
static void test_link_rules_bad_field_is_refused_by_name(void **state)
{
    (void)state;
    link_id_t link = {{1}, {2}};
    s_assert_refused(link, (link_rule_t){.mode = (link_mode_t)4},
                     "link rule: mode: expected pass, drop, hold or cut, found number 4; name one "
                     "of them");
    s_assert_refused(link, (link_rule_t){.delay_ms = 60001},
                     "link rule: delay_ms: expected 0 to 60000 milliseconds, found 60001; use mode "
                     "hold or cut for a longer outage");
    s_assert_refused(link, (link_rule_t){.jitter_ms = 60001},
                     "link rule: jitter_ms: expected 0 to 60000 milliseconds, found 60001; use "
                     "mode hold or cut for a longer outage");
    s_assert_refused(link, (link_rule_t){.drop = 1.5},
                     "link rule: drop: expected a probability from 0 to 1, found 1.5; give the "
                     "share of messages, such as 0.05");
    s_assert_refused(link, (link_rule_t){.duplicate = -0.25},
                     "link rule: duplicate: expected a probability from 0 to 1, found -0.25; give "
                     "the share of messages, such as 0.05");
    s_assert_refused(link, (link_rule_t){.reorder = (double)NAN},
                     "link rule: reorder: expected a probability from 0 to 1, found nan; give the "
                     "share of messages, such as 0.05");
}

/* Goal: a link that is none is refused. Method: a place beyond the last, and twice the same. */
static void test_link_rules_bad_link_is_refused(void **state)
{
    (void)state;
    s_assert_refused((link_id_t){{1}, {17}}, (link_rule_t){0},
                     "link rule: link: expected places from 0 (control) to 16, found 1 to 17; name "
                     "two places of the topology");
    s_assert_refused((link_id_t){{3}, {3}}, (link_rule_t){0},
                     "link rule: link: expected two different places, found 3 twice; inside a "
                     "place nothing crosses a link");
}

/* Goal: the largest allowed values are taken, between the outermost places. */
static void test_link_rules_rule_at_every_bound_is_taken(void **state)
{
    (void)state;
    link_rule_t rule = {.delay_ms = LINK_DELAY_MS_MAX,
                        .jitter_ms = LINK_DELAY_MS_MAX,
                        .drop = 1.0,
                        .duplicate = 1.0,
                        .reorder = 1.0,
                        .rate_bytes_s = UINT64_MAX};
    assert_int_equal(link_rules_check((link_id_t){{0}, {16}}, &rule, NULL), ERR_OK);
    assert_int_equal(link_rules_check((link_id_t){{16}, {0}}, &rule, NULL), ERR_OK);
}

/* Goal: a refused rule leaves the old one in force. */
static void test_link_rules_refused_rule_changes_nothing(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.mode = LINK_MODE_DROP});
    s_assert_refused(s_proxy.link, (link_rule_t){.drop = 2.0},
                     "link rule: drop: expected a probability from 0 to 1, found 2; give the share "
                     "of messages, such as 0.05");
    proxy_offer(&s_proxy, 1, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 D1:mode");
}

/* Goal: the count limit of one link drops the newest, counts it, and ends with the release. */
static void test_link_rules_queue_count_over_limit_drops_newest(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.mode = LINK_MODE_HOLD});
    for (uint32_t i = 0; i < LINK_QUEUE_COUNT_MAX; i++) {
        proxy_offer(&s_proxy, i, 0);
    }
    assert_string_equal(proxy_trace(&s_proxy), "");
    proxy_offer(&s_proxy, 99999, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 D99999:full");
    const link_counters_t *counters = proxy_counters(&s_proxy);
    assert_int_equal(counters->waiting_count, LINK_QUEUE_COUNT_MAX);
    assert_int_equal(counters->waiting_bytes, (uint64_t)LINK_QUEUE_COUNT_MAX * 100);
    assert_int_equal(counters->dropped_count[LINK_DROP_FULL], 1);
    assert_int_equal(counters->dropped_bytes[LINK_DROP_FULL], 100);
}

/* Goal: the byte limit of one link holds to the byte, and smaller messages still fit. */
static void test_link_rules_queue_bytes_at_limit_fit_and_one_past_is_dropped(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.mode = LINK_MODE_HOLD});
    proxy_offer_size(&s_proxy, 1, 0, LINK_QUEUE_SIZE_MAX - 10);
    proxy_offer_size(&s_proxy, 2, 0, 11);
    proxy_offer_size(&s_proxy, 3, 0, 10);
    proxy_offer_size(&s_proxy, 4, 0, 0);
    proxy_offer_size(&s_proxy, 5, 0, 1);
    assert_string_equal(proxy_trace(&s_proxy), "@0 D2:full D5:full");
    assert_int_equal(proxy_counters(&s_proxy)->waiting_bytes, LINK_QUEUE_SIZE_MAX);
}

/* Goal: the limit over all links holds where each link has room. Method: sixteen links take their
 * full share of bytes, the seventeenth gets none. */
static void test_link_rules_total_bytes_over_limit_are_dropped(void **state)
{
    (void)state;
    link_rule_t hold = {.mode = LINK_MODE_HOLD};
    for (uint16_t to = 1; to <= 16; to++) {
        s_proxy.link = (link_id_t){{0}, {to}};
        proxy_set(&s_proxy, hold);
        proxy_offer_size(&s_proxy, to, 0, LINK_QUEUE_SIZE_MAX);
    }
    s_proxy.link = (link_id_t){{1}, {0}};
    proxy_set(&s_proxy, hold);
    proxy_offer_size(&s_proxy, 17, 0, 1);
    assert_string_equal(proxy_trace(&s_proxy), "@0 D17:full");
}

/* Goal: a copy that does not fit is not made, and its original goes on as if it had not been asked.
 */
static void test_link_rules_copy_without_room_is_not_made(void **state)
{
    (void)state;
    proxy_set(&s_proxy, (link_rule_t){.delay_ms = 1, .duplicate = 1.0});
    proxy_offer_size(&s_proxy, 1, 0, LINK_QUEUE_SIZE_MAX / 2 + 1);
    proxy_run_to(&s_proxy, 1);
    assert_string_equal(proxy_trace(&s_proxy), "@1 F1");
    assert_int_equal(proxy_counters(&s_proxy)->duplicated_count, 0);
}

/* Goal: what does not fit into one call's effects comes with the next ones, in order and once.
 * Method: heal a link that holds more than two calls' worth, at one time. */
static void test_link_rules_more_due_than_fits_comes_in_further_calls(void **state)
{
    (void)state;
    enum { COUNT = 2 * LINK_EFFECT_COUNT_MAX + 5 };
    proxy_set(&s_proxy, (link_rule_t){.mode = LINK_MODE_HOLD});
    for (uint64_t i = 0; i < COUNT; i++) {
        proxy_offer(&s_proxy, i, (uint32_t)(i % 3));
    }
    assert_true(link_rules_deadline_ns(s_proxy.rules) == INT64_MAX);
    link_effects_t effects;
    uint64_t next = 0;
    unsigned calls = 1;
    link_rules_heal_all(s_proxy.rules, 7, &effects);
    for (;;) {
        assert_true(effects.count <= LINK_EFFECT_COUNT_MAX);
        for (uint32_t i = 0; i < effects.count; i++) {
            assert_int_equal(effects.list[i].kind, LINK_EFFECT_FORWARD);
            assert_int_equal(effects.list[i].ticket, next++);
        }
        if (!effects.has_more) {
            break;
        }
        assert_true(link_rules_deadline_ns(s_proxy.rules) <= 7);
        link_rules_due(s_proxy.rules, 7, &effects);
        calls++;
    }
    assert_int_equal(next, COUNT);
    assert_int_equal(calls, 3);
}

/* Goal: a cut of more messages than one call holds tells of each, and of the reset first. */
static void test_link_rules_cut_of_many_drops_each_once(void **state)
{
    (void)state;
    enum { COUNT = LINK_EFFECT_COUNT_MAX + 1 };
    link_effects_t effects;
    link_rule_t cut = {.mode = LINK_MODE_CUT};
    proxy_set(&s_proxy, (link_rule_t){.mode = LINK_MODE_HOLD});
    for (uint64_t i = 0; i < COUNT; i++) {
        proxy_offer(&s_proxy, i, 0);
    }
    assert_int_equal(link_rules_set(s_proxy.rules, s_proxy.link, &cut, 0, &effects, NULL), ERR_OK);
    assert_int_equal(effects.list[0].kind, LINK_EFFECT_RESET);
    assert_int_equal(effects.list[1].ticket, 0);
    assert_true(effects.has_more);
    assert_true(link_rules_deadline_ns(s_proxy.rules) == 0);
    assert_int_equal(proxy_counters(&s_proxy)->dropped_count[LINK_DROP_CUT], COUNT);
    proxy_run_to(&s_proxy, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 D127:cut D128:cut");
}

/* Goal: a message that is offered while older ones wait for a next call does not pass them. */
static void test_link_rules_offer_while_more_is_due_keeps_order(void **state)
{
    (void)state;
    link_effects_t effects;
    proxy_set(&s_proxy, (link_rule_t){.mode = LINK_MODE_HOLD});
    for (uint64_t i = 0; i < LINK_EFFECT_COUNT_MAX + 1; i++) {
        proxy_offer(&s_proxy, i, 0);
    }
    link_rules_heal_all(s_proxy.rules, 0, &effects);
    assert_true(effects.has_more);
    proxy_offer(&s_proxy, 1000, 0);
    assert_string_equal(proxy_trace(&s_proxy), "@0 F128 F1000");
}

/* Goal: destroy takes NULL, may be called twice, and frees what waits. */
static void test_link_rules_destroy_with_messages_waiting_frees_all(void **state)
{
    (void)state;
    link_rules_t *rules = link_rules_new(1);
    link_effects_t effects;
    link_rule_t hold = {.mode = LINK_MODE_HOLD};
    link_id_t link = {{0}, {1}};
    assert_int_equal(link_rules_set(rules, link, &hold, 0, &effects, NULL), ERR_OK);
    link_message_t message = {.link = link, .lane = LINK_LANE_COUNT_MAX - 1, .ticket = 5};
    link_rules_offer(rules, &message, 0, &effects);
    link_rules_destroy(&rules);
    assert_null(rules);
    link_rules_destroy(&rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_link_rules_bad_field_is_refused_by_name, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_bad_link_is_refused, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_rule_at_every_bound_is_taken, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_refused_rule_changes_nothing, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_queue_count_over_limit_drops_newest,
                                        s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(
            test_link_rules_queue_bytes_at_limit_fit_and_one_past_is_dropped, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_total_bytes_over_limit_are_dropped, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_copy_without_room_is_not_made, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_more_due_than_fits_comes_in_further_calls,
                                        s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_cut_of_many_drops_each_once, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_offer_while_more_is_due_keeps_order,
                                        s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_link_rules_destroy_with_messages_waiting_frees_all,
                                        s_setup, s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
