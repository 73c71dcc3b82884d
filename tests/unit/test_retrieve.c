/* Ranking of one shard: what is a candidate, what is left out, what order and bits come out. */
#include "common/query/retrieve.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { S_VIEW = 1, S_LIKE = 2, S_UNKNOWN_SIGNAL = 60 };
#define S_AT INT64_C(1790000000000000000)

/* A ledger being filled, and the memory to ask it. */
typedef struct {
    ledger_t *ledger;
    retrieve_t *retrieve;
    retrieve_result_t result;
} s_world_t;

static s_world_t s_open(void)
{
    schema_t schema;
    schema_init_default(&schema);
    return (s_world_t){.ledger = ledger_new(&schema), .retrieve = retrieve_new()};
}

static void s_close(s_world_t *world)
{
    ledger_destroy(&world->ledger);
    retrieve_destroy(&world->retrieve);
    retrieve_destroy(&world->retrieve);
}

static void s_apply(s_world_t *world, buffer_t *payload)
{
    errbuf_t errbuf;
    assert_int_equal(
        ledger_apply_payload(world->ledger, buffer_slice(payload), LEDGER_COUNTED, &errbuf),
        ERR_OK);
    buffer_done(payload);
}

static void s_signal(s_world_t *world, uint8_t signal, uint64_t item, uint64_t user, double weight)
{
    buffer_t payload;
    buffer_init(&payload);
    signal_event_t event = {
        .item = {item}, .user = {user}, .ts_ns = S_AT, .weight = weight, .signal = signal};
    record_append_signals(&payload, &event, 1);
    s_apply(world, &payload);
}

static void s_put(
    s_world_t *world, uint64_t item, const char *category, uint64_t creator, int64_t created)
{
    uint8_t creator_bytes[8];
    uint8_t created_bytes[8];
    bytes_put_u64(creator_bytes, creator);
    bytes_put_u64(created_bytes, (uint64_t)created);
    record_t record = {.type = RECORD_ITEM_PUT, .event_count = 1};
    record.as.item.item = (item_id_t){item};
    record.as.item.hlc = (hlc_stamp_t){S_AT, 0, 1};
    record.as.item.field_count = 3;
    record.as.item.fields[0] =
        (record_item_field_t){ITEM_FIELD_CATEGORY, slice_make(category, strlen(category))};
    record.as.item.fields[1] =
        (record_item_field_t){ITEM_FIELD_CREATOR, slice_make(creator_bytes, 8)};
    record.as.item.fields[2] =
        (record_item_field_t){ITEM_FIELD_CREATED, slice_make(created_bytes, 8)};
    buffer_t payload;
    buffer_init(&payload);
    record_append(&payload, &record);
    s_apply(world, &payload);
}

static void s_relate(
    s_world_t *world, relation_action_t action, uint64_t user, uint64_t target, bool set)
{
    static uint32_t s_logical;
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user = (user_id_t){user};
    record.as.relation.target = target;
    record.as.relation.hlc = (hlc_stamp_t){S_AT, ++s_logical, 1};
    record.as.relation.action = action;
    record.as.relation.set = set;
    buffer_t payload;
    buffer_init(&payload);
    record_append(&payload, &record);
    s_apply(world, &payload);
}

static msg_read_retrieve_t s_request(void)
{
    return (msg_read_retrieve_t){
        .term_count = 1,
        .terms = {{.signal_id = S_VIEW, .kind = TERM_COUNT, .window = WINDOW_ALL, .weight = 1.0}},
        .created_after = INT64_MIN,
        .created_before = INT64_MAX,
        .limit = 10,
    };
}

static err_t s_run(s_world_t *world, const msg_read_retrieve_t *request)
{
    errbuf_t errbuf = {{0}};
    return retrieve_run(world->retrieve, world->ledger, request, S_AT, &world->result, &errbuf);
}

/* The items of the result as text, best first. */
static const char *s_items(const s_world_t *world)
{
    static char s_text[256];
    size_t used = 0;
    s_text[0] = '\0';
    for (uint32_t i = 0; i < world->result.ranked_count; i++) {
        int wrote = snprintf(s_text + used, sizeof(s_text) - used, "%s%llu", i == 0 ? "" : " ",
                             (unsigned long long)world->result.ranked[i].item.value);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    return s_text;
}

/* Best first, equal scores by ascending item, cut at the limit. */
static void test_retrieve_orders_by_score_then_item(void **state)
{
    (void)state;
    s_world_t world = s_open();
    const uint64_t items[] = {9, 3, 7, 5, 1};
    for (size_t i = 0; i < 5; i++) {
        s_signal(&world, S_VIEW, items[i], 0, 1.0);
    }
    s_signal(&world, S_VIEW, 7, 0, 1.0);
    msg_read_retrieve_t request = s_request();
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "7 1 3 5 9");
    request.limit = 2;
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "7 1");
    assert_int_equal(world.result.candidate_count, 5);
    s_close(&world);
}

/* Pages by cursor show every item once, in the order of the whole. */
static void test_retrieve_cursor_continues_strictly_after(void **state)
{
    (void)state;
    s_world_t world = s_open();
    for (uint64_t item = 1; item <= 5; item++) {
        s_signal(&world, S_VIEW, item, 0, 1.0);
    }
    s_signal(&world, S_VIEW, 4, 0, 1.0);
    msg_read_retrieve_t request = s_request();
    request.limit = 2;
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "4 1");
    request.has_cursor = true;
    request.cursor_score = world.result.ranked[1].score;
    request.cursor_item = world.result.ranked[1].item;
    request.limit = 10;
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "2 3 5");
    s_close(&world);
}

/* Explicit candidates: unknown ones rank with score 0, others are not looked at. */
static void test_retrieve_unknown_candidates_rank_with_zero(void **state)
{
    (void)state;
    s_world_t world = s_open();
    s_signal(&world, S_VIEW, 5, 0, 1.0);
    s_signal(&world, S_VIEW, 6, 0, 1.0);
    uint8_t candidates[24];
    bytes_put_u64(candidates, 77);
    bytes_put_u64(candidates + 8, 5);
    bytes_put_u64(candidates + 16, 70);
    msg_read_retrieve_t request = s_request();
    request.has_candidates = true;
    request.candidates = slice_make(candidates, sizeof(candidates));
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "5 70 77");
    assert_true(world.result.ranked[2].score == 0.0);
    s_close(&world);
}

/* Category, creator and time of creation, alone and together; bounds are exclusive. */
static void test_retrieve_filters_by_fields(void **state)
{
    (void)state;
    s_world_t world = s_open();
    s_put(&world, 1, "news", 10, 100);
    s_put(&world, 2, "sport", 10, 200);
    s_put(&world, 3, "news", 11, 300);
    s_signal(&world, S_VIEW, 4, 0, 1.0);
    msg_read_retrieve_t request = s_request();
    request.category_count = 1;
    request.categories[0] = slice_make("news", 4);
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "1 3");
    assert_int_equal(world.result.filtered_count, 2);
    request.creator = (creator_id_t){10};
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "1");
    assert_int_equal(world.result.ranked[0].creator.value, 10);
    request = s_request();
    request.created_after = 100;
    request.created_before = 300;
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "2");
    s_close(&world);
}

/* Hidden items, muted and blocked creators, and with `unseen` what the user has signalled. */
static void test_retrieve_leaves_out_what_the_user_must_not_see(void **state)
{
    (void)state;
    s_world_t world = s_open();
    for (uint64_t item = 1; item <= 6; item++) {
        s_put(&world, item, "c", item, 100);
    }
    s_signal(&world, S_LIKE, 4, 7, 1.0);
    s_relate(&world, RELATION_HIDE, 7, 1, true);
    s_relate(&world, RELATION_MUTE, 7, 2, true);
    s_relate(&world, RELATION_BLOCK, 7, 3, true);
    s_relate(&world, RELATION_HIDE, 8, 5, true);
    msg_read_retrieve_t request = s_request();
    request.user = (user_id_t){7};
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "4 5 6");
    request.unseen = true;
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "5 6");
    s_relate(&world, RELATION_HIDE, 7, 1, false);
    request.unseen = false;
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "1 4 5 6");
    s_close(&world);
}

/* A hide of an item that nobody knows anything else of holds as well. */
static void test_retrieve_hidden_unknown_candidate_is_left_out(void **state)
{
    (void)state;
    s_world_t world = s_open();
    s_relate(&world, RELATION_HIDE, 7, 99, true);
    uint8_t candidate[8];
    bytes_put_u64(candidate, 99);
    msg_read_retrieve_t request = s_request();
    request.user = (user_id_t){7};
    request.has_candidates = true;
    request.candidates = slice_make(candidate, sizeof(candidate));
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_int_equal(world.result.ranked_count, 0);
    s_close(&world);
}

/* Weights that overflow give the ends of the doubles, never infinity or NaN, and stay ordered. */
static void test_retrieve_scores_are_always_finite(void **state)
{
    (void)state;
    s_world_t world = s_open();
    s_signal(&world, S_VIEW, 1, 0, 1e9);
    s_signal(&world, S_LIKE, 2, 0, 1e9);
    msg_read_retrieve_t request = s_request();
    request.term_count = 2;
    request.terms[0] = (msg_term_t){.signal_id = S_VIEW, .kind = TERM_DECAY, .weight = DBL_MAX};
    request.terms[1] = (msg_term_t){.signal_id = S_LIKE, .kind = TERM_DECAY, .weight = -DBL_MAX};
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "1 2");
    assert_true(world.result.ranked[0].score == DBL_MAX);
    assert_true(world.result.ranked[1].score == -DBL_MAX);
    s_close(&world);
}

/* Limits and terms out of range are refused with a text. */
static void test_retrieve_bad_requests_are_refused(void **state)
{
    (void)state;
    s_world_t world = s_open();
    msg_read_retrieve_t request = s_request();
    request.limit = 0;
    assert_int_equal(s_run(&world, &request), ERR_INVALID);
    request.limit = RETRIEVE_LIMIT_MAX + 1;
    assert_int_equal(s_run(&world, &request), ERR_INVALID);
    request = s_request();
    request.term_count = 0;
    assert_int_equal(s_run(&world, &request), ERR_INVALID);
    request = s_request();
    request.terms[0].kind = TERM_VELOCITY;
    assert_int_equal(s_run(&world, &request), ERR_INVALID);
    request = s_request();
    request.terms[0].signal_id = S_UNKNOWN_SIGNAL;
    assert_int_equal(s_run(&world, &request), ERR_NOT_FOUND);
    s_close(&world);
}

/* Cells come item-major in the order asked, unknown ones as zeros. */
static void test_retrieve_cells_are_item_major_with_zeros(void **state)
{
    (void)state;
    s_world_t world = s_open();
    s_signal(&world, S_VIEW, 2, 0, 3.0);
    s_signal(&world, S_LIKE, 1, 0, 1.0);
    uint8_t items[16];
    bytes_put_u64(items, 1);
    bytes_put_u64(items + 8, 2);
    const uint8_t signals[] = {S_VIEW, S_LIKE};
    const uint8_t windows[] = {WINDOW_ALL, WINDOW_1H};
    msg_read_cells_t request = {.items = slice_make(items, sizeof(items)),
                                .signals = slice_make(signals, sizeof(signals)),
                                .windows = slice_make(windows, sizeof(windows))};
    msg_cell_t cells[4];
    errbuf_t errbuf;
    assert_int_equal(retrieve_cells(world.ledger, &request, S_AT, cells, &errbuf), ERR_OK);
    assert_true(cells[0].score == 0.0 && cells[0].counts[0] == 0);
    assert_true(fabs(cells[1].score - 1.0) < 1e-9 && cells[1].counts[1] == 1);
    assert_true(fabs(cells[2].score - 3.0) < 1e-9 && cells[2].counts[0] == 1);
    assert_true(cells[3].score == 0.0);
    s_close(&world);
}

/* A view of a user who is in this cohort. */
static void s_signal_of(s_world_t *world, const char *cohort, uint64_t item)
{
    buffer_t plain = {0};
    buffer_t payload = {0};
    signal_event_t event = {{item}, {1}, S_AT, 1.0, S_VIEW};
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    cohort_builder_add_name(builder, slice_text(cohort));
    (void)cohort_builder_put_event(builder);
    record_append_signals(&plain, &event, 1);
    assert_int_equal(cohort_builder_append(builder, buffer_slice(&plain), &payload, NULL), ERR_OK);
    s_apply(world, &payload);
    buffer_done(&plain);
    cohort_builder_destroy(&builder);
}

/* A cohort ranks by its own cells, whatever all users do; what it never saw, and what an unknown
 * cohort asks for, has score 0. */
static void test_retrieve_cohort_ranks_by_its_own_cells(void **state)
{
    (void)state;
    s_world_t world = s_open();
    s_signal_of(&world, "locale:EU", 1);
    s_signal_of(&world, "locale:US", 2);
    s_signal_of(&world, "locale:EU", 3);
    s_signal_of(&world, "locale:EU", 3);
    for (unsigned i = 0; i < 5; i++) {
        s_signal(&world, S_VIEW, 4, 0, 1.0);
    }
    msg_read_retrieve_t request = s_request();
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "4 3 1 2");
    request.cohort = slice_text("locale:EU");
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "3 1 2 4");
    assert_true(world.result.ranked[0].score == 2.0 && world.result.ranked[2].score == 0.0);
    request.terms[0].kind = TERM_DECAY;
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "3 1 2 4");
    request.cohort = slice_text("locale:AP");
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "1 2 3 4");
    assert_true(world.result.ranked[0].score == 0.0);
    s_close(&world);
}

/* Cells of a cohort are its own; of one that nobody is in, zeros. */
static void test_retrieve_cells_of_a_cohort_are_its_own(void **state)
{
    (void)state;
    s_world_t world = s_open();
    s_signal_of(&world, "locale:EU", 1);
    s_signal(&world, S_VIEW, 1, 0, 1.0);
    uint8_t items[8];
    bytes_put_u64(items, 1);
    const uint8_t signals[] = {S_VIEW};
    const uint8_t windows[] = {WINDOW_ALL};
    msg_read_cells_t request = {.items = slice_make(items, sizeof(items)),
                                .signals = slice_make(signals, sizeof(signals)),
                                .windows = slice_make(windows, sizeof(windows))};
    static const char *const s_cohorts[] = {"", "locale:EU", "locale:AP"};
    for (unsigned i = 0; i < 3; i++) {
        msg_cell_t cell;
        request.cohort = slice_text(s_cohorts[i]);
        assert_int_equal(retrieve_cells(world.ledger, &request, S_AT, &cell, NULL), ERR_OK);
        assert_int_equal(cell.counts[0], 2 - i);
        assert_true(cell.score == 2.0 - i);
    }
    s_close(&world);
}

/* -- sessions ---------------------------------------------------------------------------------- */

/* A session's signals count as if they were in the cells of their items, in each kind of term and to
 * the bit, and leave no trace. Method: the same events once in the ledger, once in the session. */
static void test_retrieve_session_counts_as_if_in_the_cells(void **state)
{
    (void)state;
    const msg_session_signal_t session[] = {
        {{2}, S_AT, 2.5, S_VIEW},
        {{2}, S_AT - INT64_C(7200000000000), 1.5, S_VIEW}, /* two hours ago */
        {{3}, S_AT, 4.0, S_LIKE},
        {{9}, S_AT, 1.0, S_VIEW}, /* which nothing else is known of */
    };
    msg_read_retrieve_t request = s_request();
    request.term_count = 3;
    request.terms[0] = (msg_term_t){.signal_id = S_VIEW, .kind = TERM_DECAY, .weight = 1.0};
    request.terms[1] = (msg_term_t){S_VIEW, TERM_COUNT, WINDOW_1H, 10.0};
    request.terms[2] = (msg_term_t){S_LIKE, TERM_VELOCITY, WINDOW_24H, 100.0};
    request.explain = true;
    s_world_t in_cells = s_open();
    s_world_t beside = s_open();
    s_signal(&in_cells, S_VIEW, 1, 0, 1.0);
    s_signal(&beside, S_VIEW, 1, 0, 1.0);
    for (size_t i = 0; i < 4; i++) {
        buffer_t payload;
        buffer_init(&payload);
        signal_event_t event = {.item = session[i].item,
                                .ts_ns = session[i].ts_ns,
                                .weight = session[i].weight,
                                .signal = session[i].signal_id};
        record_append_signals(&payload, &event, 1);
        s_apply(&in_cells, &payload);
    }
    ledger_digest_t before;
    ledger_digest_t after;
    ledger_digest(beside.ledger, &before);
    assert_int_equal(s_run(&in_cells, &request), ERR_OK);
    msg_read_retrieve_t with = request;
    with.session_count = 4;
    with.session = session;
    assert_int_equal(s_run(&beside, &with), ERR_OK);
    assert_int_equal(beside.result.ranked_count, 4);
    assert_int_equal(in_cells.result.ranked_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        const msg_ranked_t *a = &in_cells.result.ranked[i];
        const msg_ranked_t *b = &beside.result.ranked[i];
        assert_int_equal(a->item.value, b->item.value);
        assert_memory_equal(a->terms, b->terms, 3 * sizeof(double));
        assert_true(a->score == b->score);
    }
    ledger_digest(beside.ledger, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(s_run(&beside, &request), ERR_OK); /* the next answer knows nothing of it */
    assert_string_equal(s_items(&beside), "1");
    s_close(&in_cells);
    s_close(&beside);
}

/* They add to what an item has; `unseen` leaves their items out; hidden and deleted ones stay out;
 * of candidates only those that were named. */
static void test_retrieve_session_adds_and_is_filtered(void **state)
{
    (void)state;
    const msg_session_signal_t session[] = {{{1}, S_AT, 1.0, S_VIEW},
                                            {{1}, S_AT, 1.0, S_VIEW},
                                            {{4}, S_AT, 1.0, S_VIEW},
                                            {{5}, S_AT, 1.0, S_VIEW}};
    s_world_t world = s_open();
    s_signal(&world, S_VIEW, 1, 0, 1.0);
    s_signal(&world, S_VIEW, 2, 0, 1.0);
    s_relate(&world, RELATION_HIDE, 7, 5, true);
    msg_read_retrieve_t request = s_request();
    request.user = (user_id_t){7};
    request.session_count = 4;
    request.session = session;
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "1 2 4");
    assert_true(world.result.ranked[0].score == 3.0);
    assert_int_equal(world.result.filtered_count, 1);
    request.unseen = true;
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "2");
    request.unseen = false;
    uint8_t candidates[16];
    bytes_put_u64(candidates, 2);
    bytes_put_u64(candidates + 8, 4);
    request.has_candidates = true;
    request.candidates = slice_make(candidates, sizeof(candidates));
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_string_equal(s_items(&world), "2 4");
    assert_true(world.result.ranked[1].score == 1.0);
    s_close(&world);
}

/* Weights and times out of range and unknown signals are refused, and the next request works. */
static void test_retrieve_session_out_of_range_is_refused(void **state)
{
    (void)state;
    s_world_t world = s_open();
    const msg_session_signal_t bad[] = {{{1}, S_AT, 1.1e9, S_VIEW},
                                        {{1}, S_AT, (double)NAN, S_VIEW},
                                        {{1}, -1, 1.0, S_VIEW},
                                        {{1}, S_AT, 1.0, S_UNKNOWN_SIGNAL}};
    for (size_t i = 0; i < 4; i++) {
        const msg_session_signal_t session[] = {{{1}, S_AT, 1.0, S_VIEW}, bad[i]};
        msg_read_retrieve_t request = s_request();
        request.session_count = 2;
        request.session = session;
        assert_int_equal(s_run(&world, &request), i == 3 ? ERR_NOT_FOUND : ERR_INVALID);
    }
    msg_read_retrieve_t request = s_request();
    assert_int_equal(s_run(&world, &request), ERR_OK);
    assert_int_equal(world.result.ranked_count, 0);
    s_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retrieve_orders_by_score_then_item),
        cmocka_unit_test(test_retrieve_cursor_continues_strictly_after),
        cmocka_unit_test(test_retrieve_unknown_candidates_rank_with_zero),
        cmocka_unit_test(test_retrieve_filters_by_fields),
        cmocka_unit_test(test_retrieve_leaves_out_what_the_user_must_not_see),
        cmocka_unit_test(test_retrieve_hidden_unknown_candidate_is_left_out),
        cmocka_unit_test(test_retrieve_scores_are_always_finite),
        cmocka_unit_test(test_retrieve_bad_requests_are_refused),
        cmocka_unit_test(test_retrieve_cells_are_item_major_with_zeros),
        cmocka_unit_test(test_retrieve_cohort_ranks_by_its_own_cells),
        cmocka_unit_test(test_retrieve_cells_of_a_cohort_are_its_own),
        cmocka_unit_test(test_retrieve_session_counts_as_if_in_the_cells),
        cmocka_unit_test(test_retrieve_session_adds_and_is_filtered),
        cmocka_unit_test(test_retrieve_session_out_of_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
