/* The plan of a load: which requests a history becomes, and the truth that it must come to. */
#include "common/base/prng.h"
#include "common/wire/client_request.h"
#include "services/tidalctl/load_plan.h"
#include "services/tidalctl/load_progress.h"
#include "services/tidalctl/load_truth.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* -- what a plan gave -------------------------------------------------------------------------- */

enum { TRACE_SIZE = 16384 };

typedef struct {
    char trace[TRACE_SIZE]; /* a line for each request */
    size_t size;
    uint64_t last_id;
    buffer_t bodies; /* end to end */
    client_decoder_t *decoder;
} taken_t;

static void s_say(taken_t *taken, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void s_say(taken_t *taken, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int size = vsnprintf(taken->trace + taken->size, TRACE_SIZE - taken->size, format, list);
    va_end(list);
    taken->size += size > 0 ? (size_t)size : 0;
    if (taken->size >= TRACE_SIZE) {
        taken->size = TRACE_SIZE - 1; /* long ones are compared by their bodies */
    }
}

static void s_say_signals(taken_t *taken, const client_request_t *request)
{
    for (uint32_t i = 0; i < request->as.signals.event_count; i++) {
        const client_event_t *event = &request->as.signals.events[i];
        s_say(taken, " %u:%llu/%llu@%lld", event->signal, (unsigned long long)event->item.value,
              (unsigned long long)event->user.value, (long long)(event->ts_ns / 1000000));
    }
}

/* Every request must be one that a gateway takes. */
static void s_take(void *context, const load_request_t *request)
{
    taken_t *taken = context;
    const client_request_t *decoded = NULL;
    errbuf_t errbuf = {""};
    assert_int_equal(request->id, taken->last_id + 1);
    taken->last_id = request->id;
    buffer_append(&taken->bodies, request->body.data, request->body.size);
    if (client_decode(taken->decoder, request->body, &decoded, &errbuf) != CODE_OK) {
        fail_msg("request %llu: %s", (unsigned long long)request->id, errbuf.text);
    }
    assert_true(decoded->has_producer);
    assert_int_equal(decoded->seq, request->seq);
    s_say(taken, "%s %.*s/%llu", client_op_name(decoded->op), (int)decoded->producer.size,
          (const char *)decoded->producer.data, (unsigned long long)decoded->seq);
    if (decoded->op == CLIENT_OP_SIGNALS) {
        assert_int_equal(decoded->as.signals.event_count, request->count);
        s_say_signals(taken, decoded);
    } else if (decoded->op == CLIENT_OP_PUT_ITEMS) {
        assert_int_equal(decoded->as.items.item_count, request->count);
        for (uint32_t i = 0; i < decoded->as.items.item_count; i++) {
            s_say(taken, " %llu", (unsigned long long)decoded->as.items.items[i].item.value);
        }
    } else {
        hlc_stamp_t hlc = decoded->as.relation.hlc;
        assert_true(decoded->as.relation.has_hlc);
        s_say(taken, " %llu/%llu hlc %lld,%u,%x", (unsigned long long)decoded->as.relation.target,
              (unsigned long long)decoded->as.relation.user.value,
              (long long)(hlc.wall_ns / 1000000), hlc.logical, hlc.node);
    }
    s_say(taken, "\n");
}

static taken_t *s_taken_new(void)
{
    static const client_signal_type_t s_types[] = {{1, "view"}, {2, "like"}, {4, "skip"}};
    taken_t *taken = calloc(1, sizeof(*taken));
    assert_non_null(taken);
    buffer_init(&taken->bodies);
    taken->decoder = client_decoder_new(s_types, 3);
    return taken;
}

static void s_taken_destroy(taken_t **taken_p)
{
    buffer_done(&(*taken_p)->bodies);
    client_decoder_destroy(&(*taken_p)->decoder);
    free(*taken_p);
    *taken_p = NULL;
}

static load_plan_t *s_plan_new(taken_t *taken, const char *name, uint32_t signal_count_max)
{
    load_plan_options_t options = {.name = name,
                                   .signal_count_max = signal_count_max,
                                   .signal_ids = {1, 2, 4},
                                   .on_request = s_take,
                                   .context = taken};
    return load_plan_new(&options);
}

static history_event_t s_event(int64_t ts_ms, uint64_t user, uint64_t item, history_action_t action)
{
    return (history_event_t){
        .ts_ns = ts_ms * 1000000, .user = user, .item = item, .action = action};
}

/* -- requests ---------------------------------------------------------------------------------- */

/* A small history as text: blocks of three, items put once, hides and unhides in the order of the
 * lines although an event is late, the last block short. */
static void test_load_plan_small_history_becomes_these_requests(void **state)
{
    (void)state;
    static const char s_expected[] = "put_items p.i/1 7 8\n"
                                     "signals p.s/1 2:7/1@100 2:8/1@200 4:7/1@150\n"
                                     "hide p.r/1 7/1 hlc 200,3,fffffffe\n"
                                     "signals p.s/2 2:7/1@300 1:9/2@300 2:8/2@310\n"
                                     "unhide p.r/2 7/1 hlc 300,4,fffffffe\n"
                                     "signals p.s/3 4:9/2@320\n"
                                     "hide p.r/3 9/2 hlc 320,7,fffffffe\n";
    const history_event_t events[] = {
        s_event(100, 1, 7, HISTORY_ADDED),   s_event(200, 1, 8, HISTORY_ADDED),
        s_event(150, 1, 7, HISTORY_DELETED), s_event(300, 1, 7, HISTORY_ADDED),
        s_event(300, 2, 9, HISTORY_CHANGED), s_event(310, 2, 8, HISTORY_ADDED),
        s_event(320, 2, 9, HISTORY_DELETED),
    };
    taken_t *taken = s_taken_new();
    load_plan_t *plan = s_plan_new(taken, "p", 3);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        load_plan_add(plan, &events[i]);
    }
    load_plan_finish(plan);
    assert_string_equal(taken->trace, s_expected);
    const load_plan_totals_t *totals = load_plan_totals(plan);
    assert_int_equal(totals->events, 7);
    assert_int_equal(totals->blocks, 3);
    assert_int_equal(totals->items, 2);
    assert_int_equal(totals->hides, 2);
    assert_int_equal(totals->unhides, 1);
    assert_int_equal(totals->requests, 7);
    assert_int_equal(totals->last_ts_ns, 320000000);
    load_plan_destroy(&plan);
    s_taken_destroy(&taken);
}

/* Nothing in, nothing out; a full block leaves nothing for the end. */
static void test_load_plan_empty_ends_make_no_request(void **state)
{
    (void)state;
    taken_t *taken = s_taken_new();
    load_plan_t *plan = s_plan_new(taken, "p", 1);
    load_plan_finish(plan);
    assert_int_equal(taken->last_id, 0);
    history_event_t event = s_event(1, 1, 1, HISTORY_CHANGED);
    load_plan_add(plan, &event);
    load_plan_finish(plan);
    load_plan_finish(plan);
    assert_int_equal(taken->last_id, 1);
    load_plan_destroy(&plan);
    s_taken_destroy(&taken);
}

static history_event_t s_random_event(prng_t *prng)
{
    static const history_action_t s_actions[] = {HISTORY_CHANGED, HISTORY_ADDED, HISTORY_DELETED};
    return s_event((int64_t)prng_below(prng, 1000000), 1 + prng_below(prng, 20),
                   1 + prng_below(prng, 50), s_actions[prng_below(prng, 3)]);
}

/* The same history gives the same bytes; every event is in exactly one block of the asked size. */
static void test_load_plan_same_history_gives_same_bytes(void **state)
{
    (void)state;
    taken_t *taken[2] = {s_taken_new(), s_taken_new()};
    for (int round = 0; round < 2; round++) {
        prng_t prng;
        prng_init(&prng, 42);
        load_plan_t *plan = s_plan_new(taken[round], "load-0123456789abcdef-1000", 1000);
        for (int i = 0; i < 5432; i++) {
            history_event_t event = s_random_event(&prng);
            load_plan_add(plan, &event);
        }
        load_plan_finish(plan);
        assert_int_equal(load_plan_totals(plan)->blocks, 6);
        assert_int_equal(load_plan_totals(plan)->items, 50);
        load_plan_destroy(&plan);
    }
    assert_int_equal(taken[0]->bodies.size, taken[1]->bodies.size);
    assert_memory_equal(taken[0]->bodies.data, taken[1]->bodies.data, taken[0]->bodies.size);
    s_taken_destroy(&taken[0]);
    s_taken_destroy(&taken[1]);
}

/* The producers' name changes with the content, the tenant and the size of blocks. */
static void test_load_plan_name_changes_with_what_changes_requests(void **state)
{
    (void)state;
    uint8_t hash[HISTORY_HASH_SIZE] = {1};
    char names[5][LOAD_NAME_SIZE];
    load_plan_name(hash, NULL, 1000, names[0]);
    load_plan_name(hash, "default", 1000, names[1]);
    load_plan_name(hash, "other", 1000, names[2]);
    load_plan_name(hash, NULL, 999, names[3]);
    hash[31] = 1;
    load_plan_name(hash, NULL, 1000, names[4]);
    assert_string_equal(names[0], names[1]);
    for (int i = 2; i < 5; i++) {
        assert_string_not_equal(names[0], names[i]);
    }
    assert_true(strlen(names[0]) + 2 <= PRODUCER_SIZE_MAX);
}

/* -- hidden pairs ------------------------------------------------------------------------------ */

typedef struct {
    uint64_t hidden;
    uint64_t shown;
} pairs_t;

static void s_count_pair(void *context, uint64_t user, uint64_t item, bool is_hidden)
{
    pairs_t *pairs = context;
    assert_true(user > 0 && item > 0);
    pairs->hidden += is_hidden ? 1 : 0;
    pairs->shown += is_hidden ? 0 : 1;
}

/* Hidden again after an unhide; an addition by another user shows nothing. */
static void test_load_plan_hidden_pairs_follow_the_lines(void **state)
{
    (void)state;
    const history_event_t events[] = {
        s_event(1, 1, 7, HISTORY_DELETED), s_event(2, 1, 7, HISTORY_ADDED),
        s_event(3, 1, 7, HISTORY_DELETED), s_event(4, 2, 7, HISTORY_ADDED),
        s_event(5, 3, 7, HISTORY_DELETED), s_event(6, 3, 7, HISTORY_ADDED),
    };
    taken_t *taken = s_taken_new();
    load_plan_t *plan = s_plan_new(taken, "p", 100);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        load_plan_add(plan, &events[i]);
    }
    pairs_t pairs = {0};
    load_plan_walk_hidden(plan, s_count_pair, &pairs);
    assert_int_equal(pairs.hidden, 1);
    assert_int_equal(pairs.shown, 1);
    load_plan_destroy(&plan);
    s_taken_destroy(&taken);
}

/* -- the truth --------------------------------------------------------------------------------- */

static const load_cell_t *s_cell(const load_truth_t *truth, uint64_t item, load_type_t type)
{
    size_t count = 0;
    const load_cell_t *cells = load_truth_cells(truth, &count);
    for (size_t i = 0; i < count; i++) {
        if (cells[i].item == item && cells[i].type == type) {
            return &cells[i];
        }
    }
    fail_msg("there is no such cell");
    return NULL;
}

/* One half-life ago counts a half; windows are buckets that end with that of `at`; events later than
 * `at` count in the score and in all. */
static void test_load_truth_scores_and_windows_by_the_formulas(void **state)
{
    (void)state;
    const int64_t day_ms = 86400000;
    const int64_t minute_ms = 60000;
    const int64_t hour_ms = 60 * minute_ms;
    const int64_t at_ms =
        1000 * day_ms + 30 * minute_ms + 30000; /* half past midnight and a half */
    load_truth_t *truth = load_truth_new();
    schema_t *schema = calloc(1, sizeof(*schema));
    assert_non_null(schema);
    schema_init_default(schema);
    const history_event_t events[] = {
        s_event(at_ms, 1, 5, HISTORY_CHANGED),
        s_event(at_ms - 7 * day_ms, 1, 5, HISTORY_CHANGED),     /* view: half-life 7 days */
        s_event(at_ms - 59 * minute_ms, 1, 5, HISTORY_CHANGED), /* the 60th minute */
        s_event(at_ms - 60 * minute_ms, 1, 5, HISTORY_CHANGED), /* one minute too old for 1h */
        s_event(at_ms - 24 * hour_ms, 1, 5, HISTORY_CHANGED),   /* one hour too old for 24h */
        s_event(at_ms + 2 * hour_ms, 1, 5, HISTORY_CHANGED),    /* later */
        s_event(at_ms, 1, 4, HISTORY_DELETED),
    };
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        load_truth_add(truth, &events[i]);
    }
    errbuf_t errbuf;
    assert_int_equal(load_truth_settle(truth, schema, at_ms * 1000000, &errbuf), ERR_OK);
    const load_cell_t *view = s_cell(truth, 5, LOAD_VIEW);
    double expected =
        1.5 + exp2(-59.0 / 10080) + exp2(-60.0 / 10080) + exp2(-1.0 / 7) + exp2(120.0 / 10080);
    assert_true(fabs(view->score - expected) < 1e-12);
    const uint64_t counts[WINDOW_COUNT] = {2, 3, 4, 5, 6};
    assert_memory_equal(view->counts, counts, sizeof(counts));
    assert_true(s_cell(truth, 4, LOAD_SKIP)->score == 1.0);
    load_truth_destroy(&truth);
    free(schema);
}

/* A schema without one of the three signals is refused by name. */
static void test_load_truth_missing_signal_is_refused(void **state)
{
    (void)state;
    load_truth_t *truth = load_truth_new();
    schema_t *schema = calloc(1, sizeof(*schema));
    assert_non_null(schema);
    schema_init_default(schema);
    schema->signal_count = 3; /* without skip */
    errbuf_t errbuf;
    assert_int_equal(load_truth_settle(truth, schema, 0, &errbuf), ERR_NOT_FOUND);
    assert_non_null(strstr(errbuf.text, "skip"));
    load_truth_destroy(&truth);
    free(schema);
}

/* -- progress ---------------------------------------------------------------------------------- */

/* The line of a load in its middle, at its end, and of an empty one. */
static void test_load_progress_line_tells_part_rate_and_rest(void **state)
{
    (void)state;
    char text[LOAD_PROGRESS_SIZE];
    load_progress_t progress = {.total = 148550, .rate = 50000};
    load_progress_text(&progress, 74275, text);
    assert_string_equal(
        text, "[############............]  50 %  74,275 of 148,550 events  50,000/s  ETA 2 s");
    load_progress_text(&progress, 148550, text);
    assert_string_equal(text,
                        "[########################] 100 %  148,550 of 148,550 events  50,000/s");
    progress = (load_progress_t){0};
    load_progress_text(&progress, 0, text);
    assert_non_null(strstr(text, "100 %"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_plan_small_history_becomes_these_requests),
        cmocka_unit_test(test_load_plan_empty_ends_make_no_request),
        cmocka_unit_test(test_load_plan_same_history_gives_same_bytes),
        cmocka_unit_test(test_load_plan_name_changes_with_what_changes_requests),
        cmocka_unit_test(test_load_plan_hidden_pairs_follow_the_lines),
        cmocka_unit_test(test_load_truth_scores_and_windows_by_the_formulas),
        cmocka_unit_test(test_load_truth_missing_signal_is_refused),
        cmocka_unit_test(test_load_progress_line_tells_part_rate_and_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
