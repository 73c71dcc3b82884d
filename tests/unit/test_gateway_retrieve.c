/* Ranked answers: questions to all shards, merging, caps, pages, and what the stats say when parts
 * of the mesh are missing. */
#include "common/base/prng.h"
#include "common/gateway/gateway_merge.h"
#include "tests/unit/gateway_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const region_set_t s_none = {0};

/* -- merge ------------------------------------------------------------------------------------- */

static const gateway_ranked_t *s_lists_of(gateway_list_t lists[3])
{
    static const gateway_ranked_t s_items[] = {
        {.score = 9, .item = {1}, .creator = {5}},
        {.score = 4, .item = {7}, .creator = {5}},
        {.score = 9, .item = {2}, .creator = {5}},
        {.score = 3, .item = {3}, .creator = {6}},
        {.score = 4, .item = {4}},
    };
    lists[0] = (gateway_list_t){s_items, 2, false};
    lists[1] = (gateway_list_t){s_items + 2, 2, false};
    lists[2] = (gateway_list_t){s_items + 4, 1, false};
    return s_items;
}

static void s_expect_merged(const gateway_merged_t *merged, const char *expected)
{
    char trace[256] = "";
    size_t size = 0;
    for (uint32_t i = 0; i < merged->count; i++) {
        size += (size_t)snprintf(trace + size, sizeof(trace) - size, "%llu ",
                                 (unsigned long long)merged->items[i]->item.value);
    }
    (void)snprintf(trace + size, sizeof(trace) - size, "%s", merged->has_more ? "more" : "end");
    assert_string_equal(trace, expected);
}

/* Goal: by score, equal scores by item, whatever the order of the lists. */
static void test_gateway_merge_orders_by_score_and_item(void **state)
{
    (void)state;
    gateway_list_t lists[3];
    (void)s_lists_of(lists);
    gateway_merge_options_t options = {.limit = 10};
    gateway_merged_t *merged = calloc(1, sizeof(*merged));
    assert_non_null(merged);
    gateway_merge(lists, 3, &options, merged);
    s_expect_merged(merged, "1 2 4 7 3 end");
    gateway_list_t turned[3] = {lists[2], lists[0], lists[1]};
    gateway_merge(turned, 3, &options, merged);
    s_expect_merged(merged, "1 2 4 7 3 end");
    options.limit = 3;
    gateway_merge(lists, 3, &options, merged);
    s_expect_merged(merged, "1 2 4 more");
    options.limit = 5;
    gateway_merge(lists, 3, &options, merged);
    s_expect_merged(merged, "1 2 4 7 3 end");
    gateway_merge(lists, 0, &options, merged);
    s_expect_merged(merged, "end");
    free(merged);
}

/* Goal: caps leave out greedily; those without a creator are not limited. */
static void test_gateway_merge_caps_leave_out_the_lower_ones(void **state)
{
    (void)state;
    gateway_list_t lists[3];
    (void)s_lists_of(lists);
    gateway_merge_options_t options = {.limit = 10, .max_per_creator = 1};
    gateway_merged_t *merged = calloc(1, sizeof(*merged));
    assert_non_null(merged);
    gateway_merge(lists, 3, &options, merged);
    s_expect_merged(merged, "1 4 3 end");
    options.max_per_creator = 2;
    gateway_merge(lists, 3, &options, merged);
    s_expect_merged(merged, "1 2 4 3 end");
    free(merged);
}

/* Goal: where a list was cut, what may follow there is not guessed. */
static void test_gateway_merge_stops_at_the_end_of_a_cut_list(void **state)
{
    (void)state;
    gateway_list_t lists[3];
    (void)s_lists_of(lists);
    lists[0].is_cut = true;
    gateway_merge_options_t options = {.limit = 10};
    gateway_merged_t *merged = calloc(1, sizeof(*merged));
    assert_non_null(merged);
    gateway_merge(lists, 3, &options, merged);
    s_expect_merged(merged, "1 2 4 7 more");
    assert_int_equal(merged->last->item.value, 7);
    free(merged);
}

/* -- through the gateway ----------------------------------------------------------------------- */

/* Answers a question with up to `limit` items of its shard below the cursor: item shard + 5 k with
 * score 100 - k. */
static void s_answer_ranked(gateway_test_t *test,
                            node_id_t from,
                            const msg_read_t *read,
                            uint32_t item_count,
                            uint32_t staleness_ms)
{
    const msg_read_retrieve_t *question = &read->as.retrieve;
    msg_ranked_t *ranked = calloc(item_count + 1, sizeof(*ranked));
    assert_non_null(ranked);
    uint32_t count = 0;
    for (uint32_t k = 0; k < item_count && count < question->limit; k++) {
        msg_ranked_t item = {.item = {1 + from.shard.value + UINT64_C(5) * k}, .score = 100.0 - k};
        item.creator.value = 1 + k % 2;
        item.category = slice_text(k % 2 == 0 ? "even" : "odd");
        item.terms[0] = item.score;
        bool is_after =
            !question->has_cursor || item.score < question->cursor_score ||
            (item.score == question->cursor_score && item.item.value > question->cursor_item.value);
        if (is_after) {
            ranked[count++] = item;
        }
    }
    msg_t answer = gateway_test_read_reply(read, CODE_OK);
    msg_staleness_t staleness = {{2}, staleness_ms};
    answer.as.read_reply.staleness_count = 1;
    answer.as.read_reply.staleness = &staleness;
    answer.as.read_reply.as.retrieve.ranked_count = count;
    answer.as.read_reply.as.retrieve.ranked = ranked;
    answer.as.read_reply.as.retrieve.term_count = question->explain ? question->term_count : 0;
    answer.as.read_reply.as.retrieve.candidate_count = item_count;
    answer.as.read_reply.as.retrieve.filtered_count = 1;
    gateway_test_answer(test, from, &answer);
    free(ranked);
}

static uint32_t s_answer_all(gateway_test_t *test, uint32_t item_count)
{
    uint32_t count = 0;
    node_id_t to;
    msg_t msg;
    while (gateway_test_next(test, &to, &msg)) {
        s_answer_ranked(test, to, &msg.as.read, item_count, 40);
        count++;
    }
    return count;
}

/* Goal: every shard is asked for one `at` and the default profile; the lists become one, with
 * stats. */
static void test_gateway_retrieve_merges_all_shards(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    pack_put_u64(gateway_test_request(test, "retrieve"), "limit", 7);
    uint64_t handle = gateway_test_ask(test);
    test->now.mono_ns += 3000000;
    msg_t msg;
    for (uint32_t i = 0; i < 5; i++) {
        node_id_t to = gateway_test_take(test, &msg);
        assert_int_equal(to.region.value, 1);
        assert_int_equal(msg.as.read.at_ns, GATEWAY_TEST_WALL_NS);
        assert_int_equal(msg.as.read.as.retrieve.limit, 7);
        assert_int_equal(msg.as.read.as.retrieve.term_count,
                         schema_default_profile(&test->topology.schema)->term_count);
        assert_false(msg.as.read.as.retrieve.has_candidates);
        s_answer_ranked(test, to, &msg.as.read, 2, i == 0 ? 40 : 10);
    }
    gateway_test_expect_code(test, handle, CODE_OK);
    const uint64_t expected[] = {1, 2, 3, 4, 5, 6, 7};
    for (uint32_t i = 0; i < 7; i++) {
        char path[32];
        (void)snprintf(path, sizeof(path), "items.%u.item", i);
        assert_int_equal(gateway_test_u64(test, handle, path), expected[i]);
    }
    assert_int_equal(gateway_test_value(test, handle, "items.7").kind, PACK_BAD);
    assert_int_equal(gateway_test_value(test, handle, "cursor").kind, PACK_BIN);
    assert_false(gateway_test_value(test, handle, "stats.degraded").as.boolean);
    assert_int_equal(gateway_test_u64(test, handle, "stats.shards_total"), 5);
    assert_int_equal(gateway_test_u64(test, handle, "stats.shards_answered"), 5);
    assert_int_equal(gateway_test_u64(test, handle, "stats.candidates"), 10);
    assert_int_equal(gateway_test_u64(test, handle, "stats.filtered"), 5);
    assert_int_equal(gateway_test_u64(test, handle, "stats.took_us"), 3000);
    assert_int_equal(gateway_test_u64(test, handle, "stats.staleness_ms.eu-west"), 40);
    assert_int_equal(gateway_test_u64(test, handle, "stats.staleness_ms.us-east"), 0);
    gateway_test_destroy(&test);
}

/* One page of four; returns whether more follow, and raises *seen for items 1, 2, 3 ... in order.
 */
static bool s_take_page(gateway_test_t *test, uint8_t cursor[CLIENT_CURSOR_SIZE], uint32_t *seen)
{
    pack_writer_t *writer = gateway_test_request(test, "retrieve");
    pack_put_u64(writer, "limit", 4);
    if (*seen > 0) {
        pack_put_bin(writer, "cursor", slice_make(cursor, CLIENT_CURSOR_SIZE));
    }
    uint64_t handle = gateway_test_ask(test);
    test->now.wall_ns += 1000;
    assert_int_equal(s_answer_all(test, 3), 5);
    for (uint32_t i = 0; i < 4; i++) {
        char path[32];
        (void)snprintf(path, sizeof(path), "items.%u.item", i);
        pack_value_t item = gateway_test_value(test, handle, path);
        *seen += item.kind == PACK_UINT ? 1 : 0;
        assert_true(item.kind != PACK_UINT || item.as.uint == *seen);
    }
    assert_int_equal(gateway_test_u64(test, handle, "as_of"), GATEWAY_TEST_WALL_NS);
    pack_value_t next = gateway_test_value(test, handle, "cursor");
    if (next.kind == PACK_BIN) {
        assert_int_equal(next.as.bytes.size, CLIENT_CURSOR_SIZE);
        memcpy(cursor, next.as.bytes.data, CLIENT_CURSOR_SIZE);
    }
    return next.kind == PACK_BIN;
}

/* Goal: pages by cursor show every item once, in order, by the time of the first page. */
static void test_gateway_retrieve_pages_show_every_item_once(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 5);
    uint8_t cursor[CLIENT_CURSOR_SIZE];
    uint32_t seen = 0;
    uint32_t pages = 1;
    while (s_take_page(test, cursor, &seen)) {
        assert_true(++pages < 10);
    }
    assert_int_equal(seen, 15);
    gateway_test_destroy(&test);
}

/* Goal: caps hold over the merged list, and ask the shards for more than the limit. */
static void test_gateway_retrieve_diversity_caps_creators(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 2);
    pack_writer_t *writer = gateway_test_request(test, "retrieve");
    pack_put_u64(writer, "limit", 6);
    pack_put_map(writer, "diversity");
    pack_put_u64(writer, "max_per_creator", 2);
    pack_put_u64(writer, "max_per_category", 3);
    pack_close(writer);
    uint64_t handle = gateway_test_ask(test);
    assert_int_equal(s_answer_all(test, 10), 2);
    /* k = 0 of both shards, k = 1 of both: creators 1 and 2 are full. */
    assert_int_equal(gateway_test_u64(test, handle, "items.3.item"), 7);
    assert_int_equal(gateway_test_value(test, handle, "items.4").kind, PACK_BAD);
    assert_int_equal(gateway_test_value(test, handle, "cursor").kind, PACK_NIL);
    gateway_test_destroy(&test);
}

/* Goal: candidates go to their shards, all shards are asked, for the cohort; explain names the terms.
 */
static void test_gateway_retrieve_candidates_and_explain(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 3);
    uint64_t wanted = gateway_test_entity(test, 1, 0);
    pack_writer_t *writer = gateway_test_request(test, "retrieve");
    pack_put_array(writer, "candidates");
    pack_item(writer);
    pack_write_u64(writer, wanted);
    pack_close(writer);
    pack_put_array(writer, "terms");
    pack_item(writer);
    pack_open_map(writer);
    pack_put_text(writer, "signal", "like");
    pack_put_text(writer, "agg", "count");
    pack_put_text(writer, "window", "24h");
    pack_put_f64(writer, "weight", 2.0);
    pack_close(writer);
    pack_close(writer);
    pack_put_bool(writer, "explain", true);
    pack_put_text(writer, "cohort", "locale:EU");
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    for (uint32_t i = 0; i < 3; i++) {
        node_id_t to = gateway_test_take(test, &msg);
        const msg_read_retrieve_t *question = &msg.as.read.as.retrieve;
        assert_true(question->has_candidates);
        assert_true(slice_equal(question->cohort, slice_text("locale:EU")));
        assert_int_equal(question->candidates.size, to.shard.value == 1 ? 8 : 0);
        assert_int_equal(question->term_count, 1);
        assert_int_equal(question->terms[0].kind, TERM_COUNT);
        s_answer_ranked(test, to, &msg.as.read, to.shard.value == 1 ? 1 : 0, 0);
    }
    gateway_test_expect_text(test, handle, "items.0.terms.0.signal", "like");
    gateway_test_expect_text(test, handle, "items.0.terms.0.agg", "count");
    gateway_test_expect_text(test, handle, "items.0.terms.0.window", "24h");
    assert_int_equal(gateway_test_value(test, handle, "items.1").kind, PACK_BAD);
    gateway_test_destroy(&test);
}

/* Goal: terms beside a profile are added to its own; more than 16 in all are refused. */
static void test_gateway_retrieve_terms_beside_a_profile_are_added(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    uint32_t own = schema_find_profile(&test->topology.schema, "top")->term_count;
    for (uint32_t round = 0; round < 2; round++) {
        uint32_t extra = round == 0 ? 1 : PROFILE_TERM_COUNT_MAX;
        pack_writer_t *writer = gateway_test_request(test, "retrieve");
        pack_put_text(writer, "profile", "top");
        pack_put_array(writer, "terms");
        for (uint32_t i = 0; i < extra; i++) {
            pack_item(writer);
            pack_open_map(writer);
            pack_put_text(writer, "signal", "like");
            pack_put_text(writer, "agg", "decay");
            pack_put_f64(writer, "weight", 0.5);
            pack_close(writer);
        }
        pack_close(writer);
        uint64_t handle = gateway_test_ask(test);
        msg_t msg;
        if (round == 0) {
            (void)gateway_test_take(test, &msg);
            assert_int_equal(msg.as.read.as.retrieve.term_count, own + 1);
            assert_true(msg.as.read.as.retrieve.terms[own].weight == 0.5);
        } else {
            gateway_test_expect_code(test, handle, CODE_BAD_REQUEST);
        }
    }
    gateway_test_destroy(&test);
}

/* Goal: a shard that nobody answers for is missing, the others answer, nothing is invented. */
static void test_gateway_retrieve_goes_without_a_missing_shard(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    (void)gateway_test_request(test, "retrieve");
    uint64_t handle = gateway_test_ask(test);
    node_id_t to;
    msg_t msg;
    while (gateway_test_next(test, &to, &msg)) {
        if (to.shard.value == 3) {
            msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_UNAVAILABLE);
            gateway_test_answer(test, to, &answer);
        } else {
            s_answer_ranked(test, to, &msg.as.read, 1, 0);
        }
    }
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_true(gateway_test_value(test, handle, "stats.degraded").as.boolean);
    gateway_test_expect_text(test, handle, "stats.reasons.0", "shard_missing");
    assert_int_equal(gateway_test_u64(test, handle, "stats.shards_answered"), 4);
    assert_int_equal(gateway_test_u64(test, handle, "stats.missing.0.shard"), 3);
    assert_int_equal(gateway_test_value(test, handle, "items.4").kind, PACK_BAD);
    gateway_test_destroy(&test);
}

/* Goal: while a region is cut off every answer says so, and stops when it is back. */
static void test_gateway_retrieve_is_degraded_while_a_region_is_cut(void **state)
{
    (void)state;
    const region_set_t cut = {1u << 2};
    gateway_test_t *test = gateway_test_new(3, 5);
    gateway_test_run_ms(test, 1500, cut);
    (void)gateway_test_request(test, "retrieve");
    uint64_t handle = gateway_test_ask(test);
    assert_int_equal(s_answer_all(test, 1), 5);
    assert_true(gateway_test_value(test, handle, "stats.degraded").as.boolean);
    gateway_test_expect_text(test, handle, "stats.reasons.0", "region_unreachable");
    assert_int_equal(gateway_test_u64(test, handle, "stats.shards_answered"), 5);

    /* From the leaders, those of the cut region are missing at once. */
    pack_put_text(gateway_test_request(test, "retrieve"), "read", "leader");
    handle = gateway_test_ask(test);
    assert_int_equal(s_answer_all(test, 1), 3);
    assert_int_equal(gateway_test_u64(test, handle, "stats.missing.1.shard"), 4);
    gateway_test_expect_text(test, handle, "stats.missing.0.region", "eu-west");

    gateway_test_run_ms(test, 500, s_none);
    (void)gateway_test_request(test, "retrieve");
    handle = gateway_test_ask(test);
    assert_int_equal(s_answer_all(test, 1), 5);
    assert_false(gateway_test_value(test, handle, "stats.degraded").as.boolean);
    gateway_test_destroy(&test);
}

/* Goal: a shard that has not reached the token makes the whole answer STALE. */
static void test_gateway_retrieve_with_a_stale_shard_is_stale(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 2);
    (void)gateway_test_request(test, "retrieve");
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    s_answer_ranked(test, to, &msg.as.read, 1, 0);
    to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_STALE);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_STALE);
    gateway_test_destroy(&test);
}

/* Goal: an unordered list from a node never reaches a client. */
static void test_gateway_retrieve_refuses_an_unordered_list(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    (void)gateway_test_request(test, "retrieve");
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_ranked_t ranked[] = {{.item = {1}, .score = 1}, {.item = {2}, .score = 2}};
    msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
    answer.as.read_reply.as.retrieve.ranked_count = 2;
    answer.as.read_reply.as.retrieve.ranked = ranked;
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_INTERNAL);
    gateway_test_destroy(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_merge_orders_by_score_and_item),
        cmocka_unit_test(test_gateway_merge_caps_leave_out_the_lower_ones),
        cmocka_unit_test(test_gateway_merge_stops_at_the_end_of_a_cut_list),
        cmocka_unit_test(test_gateway_retrieve_merges_all_shards),
        cmocka_unit_test(test_gateway_retrieve_pages_show_every_item_once),
        cmocka_unit_test(test_gateway_retrieve_diversity_caps_creators),
        cmocka_unit_test(test_gateway_retrieve_candidates_and_explain),
        cmocka_unit_test(test_gateway_retrieve_terms_beside_a_profile_are_added),
        cmocka_unit_test(test_gateway_retrieve_goes_without_a_missing_shard),
        cmocka_unit_test(test_gateway_retrieve_is_degraded_while_a_region_is_cut),
        cmocka_unit_test(test_gateway_retrieve_with_a_stale_shard_is_stale),
        cmocka_unit_test(test_gateway_retrieve_refuses_an_unordered_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
