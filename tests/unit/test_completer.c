/* The completer, as text traces in virtual milliseconds. One word per effect:
 *   SEND:1:0-5   to shard 1, what is pending behind order 0 and up to 5
 *   LOG:0-5      all shards hold what is pending behind order 0 and up to 5 */
#include "common/base/check.h"
#include "common/replication/completer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { S_TRACE_SIZE = 4096, S_MS = 1000000, S_GRACE_MS = 1000, S_ANSWER_MS = 3000 };

static completer_t *s_completer;
static int64_t s_now_ms;
static char s_trace[S_TRACE_SIZE];

/* Shard 0 of three. */
static int s_setup(void **state)
{
    (void)state;
    completer_options_t options = {.self_shard = {0},
                                   .shard_count = 3,
                                   .grace_ns = (int64_t)S_GRACE_MS * S_MS,
                                   .answer_ns = (int64_t)S_ANSWER_MS * S_MS,
                                   .retry_ns = (int64_t)500 * S_MS,
                                   .retry_max_ns = (int64_t)2000 * S_MS};
    s_completer = completer_new(&options);
    s_now_ms = 0;
    s_trace[0] = '\0';
    return 0;
}

static int s_teardown(void **state)
{
    (void)state;
    completer_destroy(&s_completer);
    return 0;
}

static void s_write(const completer_effect_t *effect)
{
    size_t used = strlen(s_trace);
    char shard[16] = "";
    if (effect->kind == COMPLETER_EFFECT_SEND) {
        (void)snprintf(shard, sizeof(shard), ":%u", (unsigned)effect->shard.value);
    }
    int length = snprintf(
        s_trace + used, sizeof(s_trace) - used, "%s%s%s:%llu-%llu", used > 0 ? " " : "",
        effect->kind == COMPLETER_EFFECT_SEND ? "SEND" : "LOG", shard,
        (unsigned long long)effect->after_order, (unsigned long long)effect->through_order);
    CHECK(length > 0 && used + (size_t)length < sizeof(s_trace));
}

static void s_step(completer_event_t event)
{
    completer_effects_t effects;
    event.now_ns = s_now_ms * S_MS;
    completer_step(s_completer, &event, &effects);
    for (uint32_t i = 0; i < effects.count; i++) {
        s_write(&effects.list[i]);
    }
}

static void s_tick_at(int64_t now_ms, uint64_t last_order)
{
    s_now_ms = now_ms;
    s_step((completer_event_t){.kind = COMPLETER_EVENT_TICK, .through_order = last_order});
}

static void s_sent(uint16_t shard, uint64_t through_order, uint64_t request_id)
{
    s_step((completer_event_t){.kind = COMPLETER_EVENT_SENT,
                               .shard = {shard},
                               .through_order = through_order,
                               .request_id = request_id});
}

static void s_empty(uint16_t shard, uint64_t through_order)
{
    s_step((completer_event_t){
        .kind = COMPLETER_EVENT_EMPTY, .shard = {shard}, .through_order = through_order});
}

static void s_failed(uint16_t shard)
{
    s_step((completer_event_t){.kind = COMPLETER_EVENT_FAILED, .shard = {shard}});
}

static void s_answer(uint64_t request_id, bool ok)
{
    s_step((completer_event_t){.kind = COMPLETER_EVENT_ANSWER, .request_id = request_id, .ok = ok});
}

static void s_logged(uint64_t through_order)
{
    s_step((completer_event_t){.kind = COMPLETER_EVENT_LOGGED, .through_order = through_order});
}

static void s_expect(const char *expected)
{
    assert_string_equal(s_trace, expected);
    s_trace[0] = '\0';
}

/* Five are pending and due at 1000 ms. */
static void s_begin(void)
{
    s_tick_at(0, 5);
    s_expect("");
    s_tick_at(1000, 5);
    s_expect("SEND:1:0-5 SEND:2:0-5");
}

/* Goal: nothing is sent before the grace time, what came later waits for its own. */
static void test_completer_waits_for_the_grace_time(void **state)
{
    (void)state;
    s_tick_at(0, 5);
    s_tick_at(999, 7);
    s_expect("");
    s_tick_at(1000, 8);
    s_expect("SEND:1:0-5 SEND:2:0-5");
    s_sent(1, 5, 11);
    s_sent(2, 5, 12);
    s_answer(11, true);
    s_answer(12, true);
    s_tick_at(1999, 9);
    s_expect("LOG:0-5");
    s_logged(5);
    s_tick_at(2000, 9);
    s_expect("SEND:1:5-8 SEND:2:5-8");
}

/* Goal: only what every other shard has is held, once, in the parts that the shards took. */
static void test_completer_logs_what_the_slowest_shard_has(void **state)
{
    (void)state;
    s_begin();
    s_sent(1, 5, 11);
    s_sent(2, 3, 12); /* a first part */
    s_answer(11, true);
    s_tick_at(1010, 5);
    s_expect("");
    s_answer(12, true);
    s_tick_at(1020, 5);
    s_expect("SEND:2:3-5 LOG:0-3");
    s_sent(2, 5, 13);
    s_tick_at(1030, 5); /* not logged: it is asked for again */
    s_expect("LOG:0-3");
    s_logged(3);
    s_answer(13, true);
    s_tick_at(1040, 5);
    s_expect("LOG:3-5");
    s_logged(5);
    s_tick_at(60000, 5);
    s_expect("");
}

/* Goal: a refusal is repeated after a growing pause, up to its bound; the other shard goes on. */
static void test_completer_repeats_a_refusal_with_growing_pauses(void **state)
{
    (void)state;
    s_begin();
    s_sent(1, 5, 11);
    s_answer(11, true);
    uint64_t request_id = 100;
    int64_t at_ms = 1000;
    static const int64_t s_pauses_ms[] = {500, 1000, 2000, 2000};
    for (size_t i = 0; i < sizeof(s_pauses_ms) / sizeof(s_pauses_ms[0]); i++) {
        s_sent(2, 5, ++request_id);
        s_answer(request_id, false);
        s_tick_at(at_ms + s_pauses_ms[i] - 1, 5);
        s_expect("");
        at_ms += s_pauses_ms[i];
        s_tick_at(at_ms, 5);
        s_expect("SEND:2:0-5");
    }
    s_failed(2); /* not even sent: the same */
    s_tick_at(at_ms + 1999, 5);
    s_expect("");
    s_tick_at(at_ms + 2000, 5);
    s_expect("SEND:2:0-5");
}

/* Goal: one message to a shard at a time; without an answer it is given up, and a late answer of it
 * changes nothing. */
static void test_completer_gives_up_what_is_not_answered(void **state)
{
    (void)state;
    s_begin();
    s_sent(1, 5, 11);
    s_empty(2, 5);
    s_tick_at(3999, 5);
    s_expect("");
    s_tick_at(4000, 5);
    s_expect("");
    s_answer(11, true);
    s_tick_at(4499, 5);
    s_expect("");
    s_tick_at(4500, 5);
    s_expect("SEND:1:0-5");
    s_sent(1, 5, 12);
    s_answer(11, true);
    s_tick_at(4510, 5);
    s_expect("");
    s_answer(12, true);
    s_tick_at(4520, 5);
    s_expect("LOG:0-5");
}

/* Goal: who stopped leading begins with everything, grace time included. */
static void test_completer_reset_begins_anew(void **state)
{
    (void)state;
    s_begin();
    s_sent(1, 5, 11);
    s_step((completer_event_t){.kind = COMPLETER_EVENT_RESET});
    s_answer(11, true);
    s_tick_at(5000, 6);
    s_expect("");
    s_tick_at(6000, 6);
    s_expect("SEND:1:0-6 SEND:2:0-6");
}

/* Goal: a mesh of one shard has nothing to complete. */
static void test_completer_of_one_shard_does_nothing(void **state)
{
    (void)state;
    completer_options_t options = {.shard_count = 1,
                                   .grace_ns = S_MS,
                                   .answer_ns = S_MS,
                                   .retry_ns = S_MS,
                                   .retry_max_ns = S_MS};
    completer_destroy(&s_completer);
    s_completer = completer_new(&options);
    s_tick_at(0, 5);
    s_tick_at(1000, 5);
    s_tick_at(2000, 5);
    s_expect("");
}

#define S_TEST(test) cmocka_unit_test_setup_teardown(test, s_setup, s_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        S_TEST(test_completer_waits_for_the_grace_time),
        S_TEST(test_completer_logs_what_the_slowest_shard_has),
        S_TEST(test_completer_repeats_a_refusal_with_growing_pauses),
        S_TEST(test_completer_gives_up_what_is_not_answered),
        S_TEST(test_completer_reset_begins_anew),
        S_TEST(test_completer_of_one_shard_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
