/* The applier, as text traces in virtual milliseconds. One word per effect:
 *   READ:a1-9  APPLY:a1-3  SKIP:a1-3  ALERT:gap:a5-9      stream a, events 1 to 9 */
#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/replication/applier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { TRACE_SIZE = 4096, NS_PER_MS = 1000000, BOOT = 77 };

static applier_t *s_applier;
static int64_t s_now_ms;
static char s_trace[TRACE_SIZE];

static int s_setup(void **state)
{
    (void)state;
    s_applier = applier_new();
    s_now_ms = 0;
    s_trace[0] = '\0';
    return 0;
}

static int s_teardown(void **state)
{
    (void)state;
    applier_destroy(&s_applier);
    return 0;
}

/* 'a' and so on. */
static stream_id_t s_stream(char name)
{
    return (stream_id_t){
        .tenant = {1}, .incarnation = (uint64_t)(unsigned char)name, .origin = {{2}, {3}}};
}

static void s_write(const applier_effect_t *effect)
{
    static const char *const s_names[] = {"APPLY", "SKIP", "ALERT", "READ"};
    static const char *const s_alerts[APPLIER_ALERT_COUNT] = {
        "none", "gap", "overlap", "not_announced", "lost", "read_failed", "full"};
    bool is_alert = effect->kind == APPLIER_EFFECT_ALERT;
    size_t used = strlen(s_trace);
    int length =
        snprintf(s_trace + used, sizeof(s_trace) - used, "%s%s%s%s:%c%llu-%llu",
                 used > 0 ? " " : "", s_names[effect->kind], is_alert ? ":" : "",
                 is_alert ? s_alerts[effect->alert] : "", (char)effect->stream.incarnation,
                 (unsigned long long)effect->first_seq, (unsigned long long)effect->last_seq);
    CHECK(length > 0);
    CHECK(used + (size_t)length < sizeof(s_trace));
}

static void s_step(applier_event_t event)
{
    applier_effects_t effects;
    event.now_ns = s_now_ms * NS_PER_MS;
    applier_step(s_applier, &event, &effects);
    for (uint32_t i = 0; i < effects.count; i++) {
        s_write(&effects.list[i]);
    }
}

static void s_found(char name, uint64_t applied_seq)
{
    s_step((applier_event_t){
        .kind = APPLIER_EVENT_STREAM, .stream = s_stream(name), .as.applied_seq = applied_seq});
}

static void s_available_at(char name, uint64_t seq, uint64_t boot)
{
    s_step((applier_event_t){
        .kind = APPLIER_EVENT_AVAILABLE, .stream = s_stream(name), .as.available = {seq, boot}});
}

static void s_available(char name, uint64_t seq)
{
    s_available_at(name, seq, BOOT);
}

static void s_batch(char name, uint64_t first_seq, uint64_t last_seq)
{
    s_step((applier_event_t){
        .kind = APPLIER_EVENT_BATCH, .stream = s_stream(name), .as.batch = {first_seq, last_seq}});
}

static void s_read_failed(char name, err_t err)
{
    s_step((applier_event_t){
        .kind = APPLIER_EVENT_READ_FAILED, .stream = s_stream(name), .as.read_err = err});
}

static void s_tick_at(int64_t now_ms)
{
    s_now_ms = now_ms;
    s_step((applier_event_t){.kind = APPLIER_EVENT_TICK});
}

static void s_assert_trace(const char *expected)
{
    assert_string_equal(s_trace, expected);
    s_trace[0] = '\0';
}

static int64_t s_deadline_ms(void)
{
    int64_t deadline_ns = applier_deadline_ns(s_applier);
    return deadline_ns == INT64_MAX ? -1 : deadline_ns / NS_PER_MS;
}

/* Goal: a gap is never applied; the read ends and is tried again after the shortest time. */
static void test_applier_gap_is_refused_and_read_again(void **state)
{
    (void)state;
    s_available('a', 9);
    s_batch('a', 1, 3);
    s_batch('a', 5, 9);
    s_assert_trace("READ:a1-9 APPLY:a1-3 ALERT:gap:a5-9");
    assert_int_equal(applier_applied_seq(s_applier, s_stream('a')), 3);
    assert_int_equal(s_deadline_ms(), APPLIER_RETRY_MS_MIN);
    s_tick_at(9);
    s_assert_trace("");
    s_tick_at(10);
    s_batch('a', 4, 9);
    s_assert_trace("READ:a4-9 APPLY:a4-9");
    assert_int_equal(s_deadline_ms(), -1);
}

/* Goal: a batch that is there in part is never applied: batches are whole. */
static void test_applier_overlap_is_refused(void **state)
{
    (void)state;
    s_found('a', 4);
    s_available('a', 9);
    s_batch('a', 3, 9);
    s_assert_trace("READ:a5-9 ALERT:overlap:a3-9");
    assert_int_equal(applier_applied_seq(s_applier, s_stream('a')), 4);
}

/* Goal: what the receiver has not announced may not be durable, and is not applied. */
static void test_applier_batch_beyond_announcement_is_refused(void **state)
{
    (void)state;
    s_available('a', 5);
    s_batch('a', 1, 6);
    s_assert_trace("READ:a1-5 ALERT:not_announced:a1-6");
    assert_int_equal(applier_applied_seq(s_applier, s_stream('a')), 0);
    s_batch('b', 1, 1);
    s_assert_trace("ALERT:not_announced:b1-1");
}

/* Goal: the same batches again, and earlier ones late, are skipped and count nothing twice. */
static void test_applier_batches_twice_and_late_are_skipped(void **state)
{
    (void)state;
    s_available('a', 6);
    s_batch('a', 1, 3);
    s_batch('a', 1, 3);
    s_batch('a', 4, 6);
    s_batch('a', 1, 3);
    s_batch('a', 4, 6);
    s_assert_trace("READ:a1-6 APPLY:a1-3 SKIP:a1-3 APPLY:a4-6 SKIP:a1-3 SKIP:a4-6");
}

/* Goal: a failed read is tried after 10 ms, 20 ms and so on up to 5 s, and a success ends that. */
static void test_applier_failed_read_backs_off(void **state)
{
    (void)state;
    s_available('a', 5);
    s_assert_trace("READ:a1-5");
    int64_t waits[] = {10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000};
    int64_t now_ms = 0;
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        s_read_failed('a', ERR_CORRUPT);
        assert_int_equal(s_deadline_ms(), now_ms + waits[i]);
        s_tick_at(now_ms + waits[i] - 1);
        s_assert_trace("ALERT:read_failed:a1-5");
        now_ms += waits[i];
        s_tick_at(now_ms);
        s_assert_trace("READ:a1-5");
    }
    s_batch('a', 1, 5);
    s_available('a', 6);
    s_read_failed('a', ERR_END);
    s_assert_trace("APPLY:a1-5 READ:a6-6 ALERT:read_failed:a6-6");
    assert_int_equal(s_deadline_ms(), now_ms + 10);
}

/* Goal: announcements of the same boot do not hasten a retry; a new boot does. */
static void test_applier_new_boot_ends_backoff(void **state)
{
    (void)state;
    s_available('a', 5);
    s_read_failed('a', ERR_CORRUPT);
    s_available('a', 6);
    s_assert_trace("READ:a1-5 ALERT:read_failed:a1-5");
    s_available_at('a', 6, BOOT + 1);
    s_assert_trace("READ:a1-6");
    assert_int_equal(s_deadline_ms(), -1);
    s_read_failed('a', ERR_CORRUPT);
    assert_int_equal(s_deadline_ms(), 10);
}

/* Goal: a failure after an alert, or without a read, is no second failure. */
static void test_applier_failure_without_a_read_is_ignored(void **state)
{
    (void)state;
    s_read_failed('a', ERR_IO);
    s_assert_trace("");
    s_available('a', 5);
    s_batch('a', 2, 5);
    s_read_failed('a', ERR_IO);
    s_assert_trace("READ:a1-5 ALERT:gap:a2-5");
    assert_int_equal(s_deadline_ms(), 10);
}

/* Goal: within a boot a lower announcement is an old one and changes nothing. */
static void test_applier_lower_announcement_of_same_boot_is_ignored(void **state)
{
    (void)state;
    s_available('a', 5);
    s_available('a', 3);
    s_batch('a', 1, 5);
    s_assert_trace("READ:a1-5 APPLY:a1-5");
    assert_int_equal(applier_available_seq(s_applier, s_stream('a')), 5);
}

/* Goal: a restarted receiver that has less than is applied is reported once per boot, nothing is
 * taken back, and what it fetches again is skipped over. */
static void test_applier_receiver_that_lost_applied_events_is_reported(void **state)
{
    (void)state;
    s_available('a', 9);
    s_batch('a', 1, 9);
    s_available_at('a', 4, BOOT + 1);
    s_available_at('a', 4, BOOT + 1);
    s_available_at('a', 9, BOOT + 1);
    s_assert_trace("READ:a1-9 APPLY:a1-9 ALERT:lost:a5-9");
    assert_int_equal(applier_applied_seq(s_applier, s_stream('a')), 9);
    s_available_at('a', 12, BOOT + 1);
    s_batch('a', 10, 12);
    s_assert_trace("READ:a10-12 APPLY:a10-12");
}

/* Goal: a checkpoint that is ahead of the files is reported at the first announcement. */
static void test_applier_checkpoint_ahead_of_file_is_reported(void **state)
{
    (void)state;
    s_found('a', 9);
    s_available('a', 5);
    s_assert_trace("ALERT:lost:a6-9");
}

/* Goal: a restarted receiver that has less, but not less than is applied, only takes back what may
 * be read. */
static void test_applier_receiver_that_lost_unapplied_events_takes_back(void **state)
{
    (void)state;
    s_available('a', 9);
    s_batch('a', 1, 3);
    s_available_at('a', 5, BOOT + 1);
    s_batch('a', 4, 9);
    s_assert_trace("READ:a1-9 APPLY:a1-3 ALERT:not_announced:a4-9");
    s_tick_at(10);
    s_batch('a', 4, 5);
    s_assert_trace("READ:a4-5 APPLY:a4-5");
}

/* Goal: one stream too many is reported and does no harm to the others. */
static void test_applier_stream_over_limit_is_reported(void **state)
{
    (void)state;
    applier_effects_t effects;
    applier_event_t event = {.kind = APPLIER_EVENT_STREAM};
    for (uint64_t i = 1; i <= STREAM_COUNT_MAX + 1; i++) {
        event.stream = (stream_id_t){.tenant = {2}, .incarnation = i, .origin = {{1}, {1}}};
        applier_step(s_applier, &event, &effects);
        assert_int_equal(effects.count, i <= STREAM_COUNT_MAX ? 0 : 1);
    }
    assert_int_equal(effects.list[0].kind, APPLIER_EFFECT_ALERT);
    assert_int_equal(effects.list[0].alert, APPLIER_ALERT_FULL);
    event.kind = APPLIER_EVENT_AVAILABLE;
    event.stream.incarnation = 1;
    event.as.available.seq = 3;
    applier_step(s_applier, &event, &effects);
    assert_int_equal(effects.count, 1);
    assert_int_equal(effects.list[0].kind, APPLIER_EFFECT_READ);
}

/* Goal: an announcement during a read starts no second one; the rest is read next. */
static void test_applier_one_read_per_stream(void **state)
{
    (void)state;
    s_available('a', 3);
    s_available('a', 8);
    s_batch('a', 1, 3);
    s_batch('a', 4, 8);
    s_assert_trace("READ:a1-3 APPLY:a1-3 READ:a4-8 APPLY:a4-8");
}

/* Goal: a read ends with the batch that contains its last event, which may go beyond it. */
static void test_applier_batch_beyond_the_range_ends_the_read(void **state)
{
    (void)state;
    enum { LIMIT = APPLIER_READ_EVENT_COUNT_MAX };
    s_available('a', LIMIT + 10);
    s_batch('a', 1, LIMIT - 1);
    s_assert_trace("READ:a1-32768 APPLY:a1-32767");
    s_batch('a', LIMIT, LIMIT + 5);
    s_assert_trace("APPLY:a32768-32773 READ:a32774-32778");
}

/* Goal: streams take turns: a long one goes to the end of the line after each piece, and no more
 * than four reads are under way. */
static void test_applier_streams_take_turns(void **state)
{
    (void)state;
    const uint64_t limit = APPLIER_READ_EVENT_COUNT_MAX;
    s_available('a', 2 * limit);
    s_available('b', 1);
    s_available('c', 1);
    s_available('d', 1);
    s_available('e', 1);
    s_available('f', 1);
    s_assert_trace("READ:a1-32768 READ:b1-1 READ:c1-1 READ:d1-1");
    s_batch('a', 1, limit);
    s_assert_trace("APPLY:a1-32768 READ:e1-1");
    s_batch('b', 1, 1);
    s_assert_trace("APPLY:b1-1 READ:f1-1");
    s_batch('c', 1, 1);
    s_assert_trace("APPLY:c1-1 READ:a32769-65536");
}

/* Goal: a stream whose reads fail holds no slot while it waits. */
static void test_applier_failing_streams_do_not_block_others(void **state)
{
    (void)state;
    for (const char *name = "abcd"; *name != '\0'; name++) {
        s_available(*name, 1);
        s_read_failed(*name, ERR_IO);
    }
    s_trace[0] = '\0';
    s_available('e', 1);
    s_assert_trace("READ:e1-1");
    s_tick_at(10);
    s_assert_trace("READ:a1-1 READ:b1-1 READ:c1-1");
    s_batch('e', 1, 1);
    s_assert_trace("APPLY:e1-1 READ:d1-1");
}

/* Goal: what the node applies elsewhere is not read, and a read of it that is under way is skipped.
 */
static void test_applier_applied_elsewhere_is_not_read(void **state)
{
    (void)state;
    s_available('a', 5);
    s_found('a', 7);
    s_batch('a', 1, 5);
    s_assert_trace("READ:a1-5 SKIP:a1-5");
    s_available('a', 7);
    s_found('a', 6);
    s_assert_trace("");
    assert_int_equal(applier_applied_seq(s_applier, s_stream('a')), 7);
}

/* Goal: readiness: only what was available at the mark counts, and it takes a mark. */
static void test_applier_caught_up_when_the_mark_is_applied(void **state)
{
    (void)state;
    assert_false(applier_caught_up(s_applier));
    s_found('a', 2);
    s_available('a', 5);
    s_available('b', 3);
    assert_false(applier_caught_up(s_applier));
    applier_mark_start(s_applier);
    s_available('a', 100);
    s_available('c', 100);
    s_batch('a', 3, 4);
    s_batch('b', 1, 3);
    assert_false(applier_caught_up(s_applier));
    s_batch('a', 5, 5);
    assert_true(applier_caught_up(s_applier));
    applier_mark_start(s_applier);
    assert_false(applier_caught_up(s_applier));
}

/* Goal: with nothing available the node is ready at the mark. */
static void test_applier_caught_up_at_once_with_empty_files(void **state)
{
    (void)state;
    s_found('a', 5);
    applier_mark_start(s_applier);
    assert_true(applier_caught_up(s_applier));
}

/* Goal: what the receiver lost after the mark is still waited for, until it is there again. */
static void test_applier_mark_outlives_a_receiver_that_lost_its_file(void **state)
{
    (void)state;
    s_available('a', 9);
    applier_mark_start(s_applier);
    s_available_at('a', 0, BOOT + 1);
    s_read_failed('a', ERR_END);
    s_tick_at(10);
    assert_false(applier_caught_up(s_applier));
    s_available_at('a', 9, BOOT + 1);
    s_batch('a', 1, 9);
    assert_true(applier_caught_up(s_applier));
}

enum { RANDOM_STREAMS = 7, RANDOM_BATCHES = 40, RANDOM_BATCH_SIZE = 3 };

typedef struct {
    applier_t *applier;
    prng_t prng;
    uint64_t boot;
    int64_t now_ns;
    uint64_t applied[RANDOM_STREAMS];
    uint64_t done_count; /* streams of which all is applied */
} s_random_t;

/* Half of the batches are the next one of their stream. */
static applier_event_t s_draw_event(s_random_t *run)
{
    prng_t *prng = &run->prng;
    uint64_t which = prng_below(prng, RANDOM_STREAMS);
    applier_event_t event = {.stream = s_stream((char)('a' + which)), .kind = APPLIER_EVENT_TICK};
    uint64_t batch = prng_chance(prng, 0.5) ? run->applied[which] / RANDOM_BATCH_SIZE
                                            : prng_below(prng, RANDOM_BATCHES);
    uint64_t choice = prng_below(prng, 100);
    if (choice < 20) {
        run->boot += choice == 0 ? 1 : 0;
        event.kind = APPLIER_EVENT_AVAILABLE;
        event.as.available.boot = run->boot;
        event.as.available.seq = (1 + prng_below(prng, RANDOM_BATCHES)) * RANDOM_BATCH_SIZE;
    } else if (choice < 80) {
        event.kind = APPLIER_EVENT_BATCH;
        event.as.batch.first_seq = batch * RANDOM_BATCH_SIZE + 1;
        event.as.batch.last_seq = (batch + 1) * RANDOM_BATCH_SIZE;
    } else if (choice < 85) {
        event.kind = APPLIER_EVENT_READ_FAILED;
        event.as.read_err = ERR_IO;
    } else {
        run->now_ns += (int64_t)prng_below(prng, UINT64_C(100) * NS_PER_MS);
    }
    event.now_ns = run->now_ns;
    return event;
}

static void s_assert_effect(s_random_t *run, const applier_effect_t *effect)
{
    uint64_t *position = &run->applied[effect->stream.incarnation - 'a'];
    if (effect->kind == APPLIER_EFFECT_APPLY) {
        assert_int_equal(effect->first_seq, *position + 1);
        *position = effect->last_seq;
        run->done_count += *position == (uint64_t)RANDOM_BATCHES * RANDOM_BATCH_SIZE ? 1 : 0;
    } else if (effect->kind == APPLIER_EFFECT_READ) {
        assert_int_equal(effect->first_seq, *position + 1);
        assert_true(effect->last_seq >= effect->first_seq);
    }
}

static void s_run_random(uint64_t seed)
{
    s_random_t run = {.applier = applier_new(), .boot = 1};
    prng_init(&run.prng, seed);
    for (uint32_t step = 0; run.done_count < RANDOM_STREAMS; step++) {
        assert_true(step < 200000);
        applier_event_t event = s_draw_event(&run);
        applier_effects_t effects;
        applier_step(run.applier, &event, &effects);
        for (uint32_t i = 0; i < effects.count; i++) {
            s_assert_effect(&run, &effects.list[i]);
        }
    }
    for (int i = 0; i < RANDOM_STREAMS; i++) {
        assert_int_equal(applier_applied_seq(run.applier, s_stream((char)('a' + i))),
                         RANDOM_BATCHES * RANDOM_BATCH_SIZE);
    }
    applier_destroy(&run.applier);
}

/* Goal: whatever happens, each event is applied once and in order, and in the end all are. Method:
 * 50 random runs of batches in and out of order, failures and restarts of the receiver. */
static void test_applier_random_runs_apply_each_event_once(void **state)
{
    (void)state;
    assert_true(RANDOM_BATCHES * RANDOM_BATCH_SIZE <= APPLIER_READ_EVENT_COUNT_MAX);
    for (uint64_t seed = 0; seed < 50; seed++) {
        s_run_random(seed);
    }
}

int main(void)
{
#define WITH_APPLIER(test) cmocka_unit_test_setup_teardown(test, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        WITH_APPLIER(test_applier_gap_is_refused_and_read_again),
        WITH_APPLIER(test_applier_overlap_is_refused),
        WITH_APPLIER(test_applier_batch_beyond_announcement_is_refused),
        WITH_APPLIER(test_applier_batches_twice_and_late_are_skipped),
        WITH_APPLIER(test_applier_failed_read_backs_off),
        WITH_APPLIER(test_applier_new_boot_ends_backoff),
        WITH_APPLIER(test_applier_failure_without_a_read_is_ignored),
        WITH_APPLIER(test_applier_lower_announcement_of_same_boot_is_ignored),
        WITH_APPLIER(test_applier_receiver_that_lost_applied_events_is_reported),
        WITH_APPLIER(test_applier_checkpoint_ahead_of_file_is_reported),
        WITH_APPLIER(test_applier_receiver_that_lost_unapplied_events_takes_back),
        WITH_APPLIER(test_applier_stream_over_limit_is_reported),
        WITH_APPLIER(test_applier_one_read_per_stream),
        WITH_APPLIER(test_applier_batch_beyond_the_range_ends_the_read),
        WITH_APPLIER(test_applier_streams_take_turns),
        WITH_APPLIER(test_applier_failing_streams_do_not_block_others),
        WITH_APPLIER(test_applier_applied_elsewhere_is_not_read),
        WITH_APPLIER(test_applier_caught_up_when_the_mark_is_applied),
        WITH_APPLIER(test_applier_caught_up_at_once_with_empty_files),
        WITH_APPLIER(test_applier_mark_outlives_a_receiver_that_lost_its_file),
        WITH_APPLIER(test_applier_random_runs_apply_each_event_once),
    };
#undef WITH_APPLIER
    return cmocka_run_group_tests(tests, NULL, NULL);
}
