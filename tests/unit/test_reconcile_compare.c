/* The pure comparison: what is found of every replica, whatever the order of the regions. */
#include "common/base/prng.h"
#include "services/reconciler/reconciler_files.h"
#include "tests/unit/reconcile_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const uint16_t s_all[] = {1, 2, 3, 4};
static const int64_t s_second = INT64_C(1000000000);

static node_id_t s_node(uint16_t region, uint16_t shard)
{
    return (node_id_t){{region}, {shard}};
}

/* Compares the first three regions and returns what was found of one node of tenant default. */
static const reconcile_line_t *s_find(reconcile_model_t *model,
                                      reconcile_report_t *report,
                                      uint16_t region,
                                      uint16_t shard)
{
    reconcile_model_compare(model, s_all, 3, report);
    return reconcile_line(report, 1, region, shard);
}

/* -- divergence -------------------------------------------------------------------------------- */

/* A follower whose digest differs from leader and other follower at the same vector has diverged,
 * and the line says what two others have. */
static void test_reconcile_follower_with_another_digest_has_diverged(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 2);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_digest(model, s_node(2, 0), 1, 0xee);
    const reconcile_line_t *line = s_find(model, &report, 2, 0);
    assert_int_equal(line->found, RECONCILE_FOUND_DIVERGED);
    assert_false(line->is_leader);
    assert_int_equal(line->with.bits, 1U << 1 | 1U << 3);
    assert_int_equal(line->expected_count, 2);
    assert_int_equal(line->expected[0], 0x10);
    assert_int_equal(line->digest[0], 0xee);
    assert_int_equal(line->agree_count, 0);
    assert_ptr_equal(line, &report.lines[0]);
    assert_int_equal(reconcile_line(&report, 1, 1, 0)->found, RECONCILE_FOUND_EQUAL);
    assert_int_equal(reconcile_line(&report, 1, 3, 0)->found, RECONCILE_FOUND_EQUAL);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_DIVERGED], 1);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_EQUAL], 5);
    assert_int_equal(report.compared_count, 6);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* A leader that two followers contradict is the one that diverged: most replicas decide, not rank.
 */
static void test_reconcile_leader_against_its_followers_has_diverged(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 2);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_digest(model, s_node(1, 0), 1, 0xee);
    const reconcile_line_t *line = s_find(model, &report, 1, 0);
    assert_int_equal(line->found, RECONCILE_FOUND_DIVERGED);
    assert_true(line->is_leader);
    assert_int_equal(line->expected_count, 2);
    assert_int_equal(reconcile_line(&report, 1, 2, 0)->found, RECONCILE_FOUND_EQUAL);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Two replicas that contradict each other have no majority: both lines say so. */
static void test_reconcile_two_digests_without_majority_are_both_diverged(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_digest(model, s_node(2, 0), 1, 0xee);
    reconcile_model_row(model, 3, 1, 0)->answered = false;
    (void)s_find(model, &report, 1, 0);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_DIVERGED], 2);
    for (uint16_t region = 1; region <= 2; region++) {
        const reconcile_line_t *line = reconcile_line(&report, 1, region, 0);
        assert_int_equal(line->found, RECONCILE_FOUND_DIVERGED);
        assert_int_equal(line->expected_count, 0);
        assert_int_equal(line->with.bits, 1U << (3 - region));
    }
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Three digests at one vector: nobody is right, all three are reported. */
static void test_reconcile_three_digests_are_all_diverged(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_digest(model, s_node(2, 0), 1, 0xee);
    reconcile_model_set_digest(model, s_node(3, 0), 1, 0xdd);
    (void)s_find(model, &report, 1, 0);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_DIVERGED], 3);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Two replicas that lag equally and differ have diverged all the same. */
static void test_reconcile_divergence_among_lagging_ones_is_found(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 90);
    reconcile_model_set_seq(model, s_node(3, 0), 1, 1, 90);
    reconcile_model_set_digest(model, s_node(3, 0), 1, 0xee);
    const reconcile_line_t *line = s_find(model, &report, 3, 0);
    assert_int_equal(line->found, RECONCILE_FOUND_DIVERGED);
    assert_int_equal(line->with.bits, 1U << 2);
    assert_int_equal(reconcile_line(&report, 1, 2, 0)->found, RECONCILE_FOUND_DIVERGED);
    assert_int_equal(reconcile_line(&report, 1, 1, 0)->found, RECONCILE_FOUND_FURTHEST);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Different digests at different vectors say nothing: lag, no divergence. */
static void test_reconcile_other_digest_at_another_vector_is_no_divergence(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 99);
    reconcile_model_set_digest(model, s_node(2, 0), 1, 0xee);
    assert_int_equal(s_find(model, &report, 2, 0)->found, RECONCILE_FOUND_LAGGING);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_DIVERGED], 0);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* -- silence ----------------------------------------------------------------------------------- */

/* A region that was not heard: its nodes are silent, the others are compared all the same. */
static void test_reconcile_silent_region_stops_nobody(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 2);
    reconcile_report_t report;
    reconcile_report_init(&report);
    static const uint16_t s_two[] = {3, 1};
    reconcile_model_compare(model, s_two, 2, &report);
    assert_int_equal(report.silent.bits, 1U << 2);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_SILENT], 2);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_EQUAL], 4);
    assert_int_equal(reconcile_line(&report, 1, 2, 1)->found, RECONCILE_FOUND_SILENT);
    assert_int_equal(reconcile_line(&report, 1, 1, 1)->with.bits, 1U << 3);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Alone: the only one that answered was compared with nobody, and does not count as compared. */
static void test_reconcile_only_answer_is_alone(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_compare(model, s_all, 1, &report);
    assert_int_equal(reconcile_line(&report, 1, 1, 0)->found, RECONCILE_FOUND_ALONE);
    assert_int_equal(report.compared_count, 0);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_SILENT], 2);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* No state at all: every node is silent, nothing is compared. */
static void test_reconcile_without_states_everything_is_silent(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 2);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_compare(model, s_all, 0, &report);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_SILENT], 6);
    assert_int_equal(report.compared_count, 0);
    assert_int_equal(region_set_count(report.silent), 3);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* A node that gave its reconciler no digest is unanswered, whether its row says so or is missing.
 */
static void test_reconcile_node_without_digest_is_unanswered(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 2);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_row(model, 2, 1, 0)->answered = false;
    model->row_counts[3] = 1; /* shard 1 is missing */
    (void)s_find(model, &report, 1, 0);
    assert_int_equal(reconcile_line(&report, 1, 2, 0)->found, RECONCILE_FOUND_UNANSWERED);
    assert_int_equal(reconcile_line(&report, 1, 3, 1)->found, RECONCILE_FOUND_UNANSWERED);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_EQUAL], 4);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* -- vectors ----------------------------------------------------------------------------------- */

/* Everything equal: every node agrees with every other one of its shard. */
static void test_reconcile_equal_replicas_agree(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 2);
    reconcile_report_t report;
    reconcile_report_init(&report);
    const reconcile_line_t *line = s_find(model, &report, 2, 1);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_EQUAL], 6);
    assert_int_equal(report.line_count, 6);
    assert_int_equal(report.gap_count, 0);
    assert_int_equal(line->agree_count, 2);
    assert_int_equal(line->event_count, 150);
    assert_int_equal(line->with.bits, 1U << 1 | 1U << 3);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Lag is counted per stream, against whoever is furthest in it. */
static void test_reconcile_lag_names_stream_and_count(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 70);
    reconcile_model_set_seq(model, s_node(2, 0), 1, 2, 45);
    const reconcile_line_t *line = s_find(model, &report, 2, 0);
    assert_int_equal(line->found, RECONCILE_FOUND_LAGGING);
    assert_int_equal(line->missing_count, 35);
    assert_int_equal(line->gap_count, 2);
    assert_int_equal(report.gaps[line->first_gap].seq, 70);
    assert_int_equal(report.gaps[line->first_gap].goal_seq, 100);
    assert_true(
        stream_id_equal(report.gaps[line->first_gap + 1].stream, reconcile_model_stream(1, 0, 2)));
    assert_false(line->is_listed);
    assert_int_equal(reconcile_line(&report, 1, 1, 0)->found, RECONCILE_FOUND_EQUAL);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Each ahead of the other in one stream: both lag, nobody is furthest. */
static void test_reconcile_incomparable_vectors_both_lag(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(2, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_seq(model, s_node(1, 0), 1, 2, 40);
    reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 99);
    reconcile_model_compare(model, s_all, 2, &report);
    assert_int_equal(reconcile_line(&report, 1, 1, 0)->missing_count, 10);
    assert_int_equal(reconcile_line(&report, 1, 2, 0)->missing_count, 1);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_LAGGING], 2);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* A stream at position 0 is the same as one that is not there. */
static void test_reconcile_stream_at_zero_equals_missing_stream(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    for (uint16_t region = 1; region <= 3; region++) {
        reconcile_model_set_seq(model, s_node(region, 0), 1, 2, 0);
    }
    reconcile_model_row(model, 2, 1, 0)->applied_count = 1;
    assert_int_equal(s_find(model, &report, 2, 0)->found, RECONCILE_FOUND_EQUAL);
    assert_int_equal(report.gap_count, 0);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* A node that lacks the first of two streams lags in that one alone. */
static void test_reconcile_missing_stream_is_told_from_the_next_one(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    msg_reconcile_row_t *row = reconcile_model_row(model, 2, 1, 0);
    row->applied++;
    row->applied_count--;
    const reconcile_line_t *line = s_find(model, &report, 2, 0);
    assert_int_equal(line->found, RECONCILE_FOUND_LAGGING);
    assert_int_equal(line->gap_count, 1);
    assert_int_equal(line->missing_count, 100);
    assert_int_equal(line->event_count, 50);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* A node that has applied nothing lags by everything. */
static void test_reconcile_empty_node_lags_by_all(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_row(model, 3, 1, 0)->applied_count = 0;
    const reconcile_line_t *line = s_find(model, &report, 3, 0);
    assert_int_equal(line->found, RECONCILE_FOUND_LAGGING);
    assert_int_equal(line->missing_count, 150);
    assert_int_equal(line->event_count, 0);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* -- tenants ----------------------------------------------------------------------------------- */

/* Only placed nodes are looked at: rows of a region that does not hold the tenant change nothing.
 */
static void test_reconcile_unplaced_rows_are_not_looked_at(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 2);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_add_tenant(model, 7, "shop", (region_set_t){1U << 1 | 1U << 3});
    msg_reconcile_row_t *extra = &model->rows[2][model->row_counts[2]++];
    *extra = *reconcile_model_row(model, 1, 7, 0);
    extra->node.region.value = 2;
    memset(extra->digest, 0xee, sizeof(extra->digest));
    (void)s_find(model, &report, 1, 0);
    assert_int_equal(report.line_count, 6 + 4);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_EQUAL], 10);
    assert_int_equal(reconcile_line(&report, 7, 3, 1)->with.bits, 1U << 1);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Findings are per tenant: a divergence of one leaves the other equal. */
static void test_reconcile_tenants_are_judged_apart(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 2);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_add_tenant(model, 7, "shop", topology_regions(&model->topology));
    reconcile_model_set_digest(model, s_node(2, 1), 7, 0xee);
    assert_int_equal(s_find(model, &report, 2, 1)->found, RECONCILE_FOUND_EQUAL);
    assert_int_equal(reconcile_line(&report, 7, 2, 1)->found, RECONCILE_FOUND_DIVERGED);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_DIVERGED], 1);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* -- order ------------------------------------------------------------------------------------- */

static void s_scramble(reconcile_model_t *model, prng_t *prng)
{
    for (uint16_t region = 1; region <= 4; region++) {
        for (uint16_t shard = 0; shard < 3; shard++) {
            node_id_t node = s_node(region, shard);
            reconcile_model_set_seq(model, node, 1, 1, 99 + prng_below(prng, 2));
            reconcile_model_set_seq(model, node, 1, 2, 49 + prng_below(prng, 2));
            reconcile_model_set_digest(model, node, 1, (uint8_t)prng_below(prng, 2));
            reconcile_model_row(model, region, 1, shard)->answered = !prng_chance(prng, 0.1);
        }
    }
}

/* The whole report as bytes, gaps included. */
static void s_bytes(reconcile_model_t *model, const reconcile_report_t *report, buffer_t *out)
{
    reconcile_view_t view = {&model->topology, model->table, {1}, s_second, 0};
    buffer_clear(out);
    reconciler_files_json(report, &view, true, out);
    for (uint32_t i = 0; i < report->gap_count; i++) {
        const reconcile_gap_t *gap = &report->gaps[i];
        const uint64_t numbers[] = {gap->node.region.value, gap->node.shard.value,
                                    gap->stream.origin.region.value, gap->seq, gap->goal_seq};
        buffer_append(out, numbers, sizeof(numbers));
    }
    for (uint32_t i = 0; i < report->line_count; i++) {
        buffer_append(out, report->lines[i].is_suspect ? "!" : ".", 1);
    }
}

/* Goal: same states, same report and same plan of checks, in any order. Method: 200 random meshes, some regions silent, all
 * in 12 random orders. */
static void test_reconcile_any_order_of_regions_gives_the_same_report(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 20240501);
    buffer_t first;
    buffer_t again;
    buffer_init(&first);
    buffer_init(&again);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_t *model = reconcile_model_new(4, 3);
    for (int mesh = 0; mesh < 200; mesh++) {
        s_scramble(model, &prng);
        uint16_t order[] = {1, 2, 3, 4};
        uint32_t heard = (uint32_t)(2 + prng_below(&prng, 3));
        reconcile_model_compare(model, order, heard, &report);
        s_bytes(model, &report, &first);
        for (int i = 0; i < 12; i++) {
            uint64_t a = prng_below(&prng, heard);
            uint64_t b = prng_below(&prng, heard);
            uint16_t swapped = order[a];
            order[a] = order[b];
            order[b] = swapped;
            reconcile_model_compare(model, order, heard, &report);
            s_bytes(model, &report, &again);
            assert_true(slice_equal(buffer_slice(&first), buffer_slice(&again)));
        }
    }
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
    buffer_done(&first);
    buffer_done(&again);
}

static void s_run(reconcile_model_t *model, reconcile_report_t *report, int64_t now_ns);

/* All that have another digest than one with the same vector are checked, the majority as well: it
 * may be wrong. One that lags is not. */
static void test_reconcile_all_of_a_diverged_group_are_suspect(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(4, 2);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_digest(model, s_node(3, 0), 1, 0xee);
    reconcile_model_set_seq(model, s_node(4, 0), 1, 1, 70);
    reconcile_model_compare(model, s_all, 4, &report);
    assert_true(reconcile_line(&report, 1, 1, 0)->is_suspect);
    assert_true(reconcile_line(&report, 1, 2, 0)->is_suspect);
    assert_true(reconcile_line(&report, 1, 3, 0)->is_suspect);
    assert_false(reconcile_line(&report, 1, 4, 0)->is_suspect);
    assert_false(reconcile_line(&report, 1, 1, 1)->is_suspect);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* What was missing and is there in the next run was fetched: of the own region, as far as it came;
 * of a node that gave no answer nothing is known. */
static void test_reconcile_fetched_is_what_gaps_lost(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_seq(model, s_node(1, 0), 1, 1, 70);
    reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 10);
    s_run(model, &report, 0);
    assert_int_equal(report.fetched_count, 0);
    reconcile_model_set_seq(model, s_node(1, 0), 1, 1, 80);
    s_run(model, &report, s_second);
    assert_int_equal(report.fetched_count, 10);
    reconcile_model_row(model, 1, 1, 0)->answered = false;
    s_run(model, &report, s_second);
    assert_int_equal(report.fetched_count, 0);
    reconcile_model_row(model, 1, 1, 0)->answered = true;
    s_run(model, &report, s_second);
    reconcile_model_set_seq(model, s_node(1, 0), 1, 1, 100);
    s_run(model, &report, s_second);
    assert_int_equal(report.fetched_count, 20);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Goal: what is worst stands first, whoever it is. */
static void test_reconcile_lines_stand_worst_first(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 7);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_t *model = reconcile_model_new(4, 3);
    for (int mesh = 0; mesh < 50; mesh++) {
        s_scramble(model, &prng);
        reconcile_model_compare(model, s_all, 4, &report);
        for (uint32_t i = 1; i < report.line_count; i++) {
            assert_true(report.lines[i - 1].found >= report.lines[i].found);
        }
    }
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* -- dating ------------------------------------------------------------------------------------ */

/* Compares and dates, as runs do one after the other. */
static void s_run(reconcile_model_t *model, reconcile_report_t *report, int64_t now_ns)
{
    reconcile_report_t before = *report;
    reconcile_report_init(report);
    reconcile_model_compare(model, s_all, 3, report);
    reconcile_date(report, &before, (region_id_t){1}, now_ns, 10 * s_second);
    reconcile_report_done(&before);
}

/* Lag that stands still is listed at the age limit, not a nanosecond before. */
static void test_reconcile_lag_that_lasts_is_listed(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 70);
    s_run(model, &report, 5 * s_second);
    assert_false(reconcile_line(&report, 1, 2, 0)->is_listed);
    s_run(model, &report, 15 * s_second - 1);
    assert_false(reconcile_line(&report, 1, 2, 0)->is_listed);
    s_run(model, &report, 15 * s_second);
    assert_true(reconcile_line(&report, 1, 2, 0)->is_listed);
    assert_int_equal(reconcile_line(&report, 1, 2, 0)->lag_ms, 10000);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* A node that reaches what was missing is up to date, however far the others have gone meanwhile.
 */
static void test_reconcile_lag_behind_moving_streams_is_not_listed(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    for (uint64_t i = 0; i < 20; i++) {
        reconcile_model_set_seq(model, s_node(1, 0), 1, 1, 200 + 100 * i);
        reconcile_model_set_seq(model, s_node(3, 0), 1, 1, 200 + 100 * i);
        reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 100 + 100 * i);
        s_run(model, &report, (int64_t)i * 5 * s_second);
        assert_int_equal(reconcile_line(&report, 1, 2, 0)->found, RECONCILE_FOUND_LAGGING);
        assert_false(reconcile_line(&report, 1, 2, 0)->is_listed);
        assert_int_equal(reconcile_line(&report, 1, 2, 0)->lag_ms, 0);
    }
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Goal: one stuck stream is seen behind another that flows: the oldest gap counts. */
static void test_reconcile_stuck_stream_is_seen_beside_a_moving_one(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    for (uint64_t i = 0; i < 3; i++) {
        reconcile_model_set_seq(model, s_node(1, 0), 1, 1, 200 + 100 * i);
        reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 100 + 100 * i);
        reconcile_model_set_seq(model, s_node(2, 0), 1, 2, 30);
        s_run(model, &report, (int64_t)i * 5 * s_second);
    }
    const reconcile_line_t *line = reconcile_line(&report, 1, 2, 0);
    assert_true(line->is_listed);
    assert_int_equal(line->lag_ms, 10000);
    assert_true(
        stream_id_equal(report.gaps[line->oldest_gap].stream, reconcile_model_stream(1, 0, 2)));
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* Progress that stays below what was missing at first does not reset the age. */
static void test_reconcile_slow_progress_is_still_lag(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    for (uint64_t i = 0; i < 4; i++) {
        reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 70 + i);
        s_run(model, &report, (int64_t)i * 5 * s_second);
    }
    assert_int_equal(reconcile_line(&report, 1, 2, 0)->lag_ms, 15000);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* What was missing at first is the mark: once it is reached the age begins anew, however much came
 * on top while the node was behind. */
static void test_reconcile_age_ends_where_the_first_gap_is_filled(void **state)
{
    (void)state;
    static const struct {
        uint64_t seq;
        uint64_t goal;
        uint32_t lag_ms;
    } s_steps[] = {{70, 100, 0}, {90, 200, 5000}, {100, 300, 0}, {299, 400, 5000}, {300, 500, 0}};
    reconcile_model_t *model = reconcile_model_new(2, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    for (size_t i = 0; i < sizeof(s_steps) / sizeof(s_steps[0]); i++) {
        reconcile_report_t before = report;
        reconcile_report_init(&report);
        reconcile_model_set_seq(model, s_node(1, 0), 1, 1, s_steps[i].goal);
        reconcile_model_set_seq(model, s_node(2, 0), 1, 1, s_steps[i].seq);
        reconcile_model_compare(model, s_all, 2, &report);
        reconcile_date(&report, &before, (region_id_t){1}, (int64_t)i * 5 * s_second,
                       10 * s_second);
        reconcile_report_done(&before);
        assert_int_equal(reconcile_line(&report, 1, 2, 0)->lag_ms, s_steps[i].lag_ms);
    }
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* A divergence is new once; one that went away and came back is new again. */
static void test_reconcile_divergence_is_new_once(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    static const struct {
        uint8_t digest;
        bool is_new;
    } s_steps[] = {{0x10, false}, {0xee, true}, {0xee, false}, {0x10, false}, {0xee, true}};
    for (size_t i = 0; i < sizeof(s_steps) / sizeof(s_steps[0]); i++) {
        reconcile_model_set_digest(model, s_node(3, 0), 1, s_steps[i].digest);
        s_run(model, &report, (int64_t)i * s_second);
        assert_int_equal(reconcile_line(&report, 1, 3, 0)->is_new, s_steps[i].is_new);
    }
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* A region that stays silent is newly silent once: from the start on in the second run, since its
 * reconciler may be starting too; and again when it was heard in between. */
static void test_reconcile_silence_is_new_once(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(4, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    static const uint32_t s_new[] = {0, 1U << 4, 0, 0};
    for (int i = 0; i < 4; i++) {
        s_run(model, &report, i * s_second); /* region 4 is not heard */
        assert_int_equal(report.newly_silent.bits, s_new[i]);
        assert_int_equal(report.silent.bits, 1U << 4);
    }
    reconcile_report_t before = report;
    reconcile_report_init(&report);
    reconcile_model_compare(model, s_all, 4, &report);
    reconcile_date(&report, &before, (region_id_t){1}, 5 * s_second, 10 * s_second);
    reconcile_report_done(&before);
    assert_int_equal(report.newly_silent.bits, 0);
    s_run(model, &report, 6 * s_second);
    assert_int_equal(report.newly_silent.bits, 1U << 4);
    reconcile_report_done(&report);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* -- limits ------------------------------------------------------------------------------------ */

/* The most regions that a mesh can have, one of them with another digest. */
static void test_reconcile_most_regions_are_compared(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(REGION_COUNT_MAX, 1);
    reconcile_report_t report;
    reconcile_report_init(&report);
    uint16_t regions[REGION_COUNT_MAX];
    for (uint16_t i = 0; i < REGION_COUNT_MAX; i++) {
        regions[i] = (uint16_t)(REGION_COUNT_MAX - i);
    }
    reconcile_model_set_digest(model, s_node(REGION_COUNT_MAX, 0), 1, 0xee);
    reconcile_model_compare(model, regions, REGION_COUNT_MAX, &report);
    const reconcile_line_t *line = reconcile_line(&report, 1, REGION_COUNT_MAX, 0);
    assert_int_equal(line->found, RECONCILE_FOUND_DIVERGED);
    assert_int_equal(line->expected_count, REGION_COUNT_MAX - 1);
    assert_int_equal(report.found_counts[RECONCILE_FOUND_EQUAL], REGION_COUNT_MAX - 1);
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

/* The sentence names the worst that there is. */
static void test_reconcile_summary_names_the_worst(void **state)
{
    (void)state;
    reconcile_model_t *model = reconcile_model_new(3, 1);
    reconcile_view_t view = {&model->topology, model->table, {1}, 0, 0};
    char text[RECONCILE_SUMMARY_SIZE];
    reconcile_report_t report;
    reconcile_report_init(&report);
    s_run(model, &report, 0);
    reconcile_summary(&report, &view, text);
    assert_string_equal(text, "no difference: 3 replicas compared, 3 equal, 0 still moving");
    reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 70);
    s_run(model, &report, 0);
    reconcile_summary(&report, &view, text);
    assert_string_equal(text, "no difference: 3 replicas compared, 2 equal, 1 still moving");
    s_run(model, &report, 10 * s_second);
    reconcile_summary(&report, &view, text);
    assert_string_equal(text, "lagging: 1 of 3 replicas compared stay behind, first "
                              "shard-eu-west-0, tenant default");
    reconcile_model_row(model, 3, 1, 0)->answered = false;
    s_run(model, &report, 10 * s_second);
    reconcile_summary(&report, &view, text);
    assert_string_equal(text, "incomplete: 0 of 2 other regions silent, 1 replicas gave no answer; "
                              "of 2 compared 0 equal, none diverged");
    reconcile_model_row(model, 3, 1, 0)->answered = true;
    reconcile_model_set_digest(model, s_node(3, 0), 1, 0xee);
    reconcile_model_set_seq(model, s_node(2, 0), 1, 1, 100);
    s_run(model, &report, 10 * s_second);
    reconcile_summary(&report, &view, text);
    assert_string_equal(text, "DIVERGED: 1 of 3 replicas compared have another digest at an equal "
                              "vector, first shard-ap-south-0, tenant default");
    reconcile_report_done(&report);
    reconcile_model_destroy(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reconcile_follower_with_another_digest_has_diverged),
        cmocka_unit_test(test_reconcile_leader_against_its_followers_has_diverged),
        cmocka_unit_test(test_reconcile_two_digests_without_majority_are_both_diverged),
        cmocka_unit_test(test_reconcile_three_digests_are_all_diverged),
        cmocka_unit_test(test_reconcile_divergence_among_lagging_ones_is_found),
        cmocka_unit_test(test_reconcile_other_digest_at_another_vector_is_no_divergence),
        cmocka_unit_test(test_reconcile_silent_region_stops_nobody),
        cmocka_unit_test(test_reconcile_only_answer_is_alone),
        cmocka_unit_test(test_reconcile_without_states_everything_is_silent),
        cmocka_unit_test(test_reconcile_node_without_digest_is_unanswered),
        cmocka_unit_test(test_reconcile_equal_replicas_agree),
        cmocka_unit_test(test_reconcile_lag_names_stream_and_count),
        cmocka_unit_test(test_reconcile_incomparable_vectors_both_lag),
        cmocka_unit_test(test_reconcile_stream_at_zero_equals_missing_stream),
        cmocka_unit_test(test_reconcile_missing_stream_is_told_from_the_next_one),
        cmocka_unit_test(test_reconcile_empty_node_lags_by_all),
        cmocka_unit_test(test_reconcile_unplaced_rows_are_not_looked_at),
        cmocka_unit_test(test_reconcile_tenants_are_judged_apart),
        cmocka_unit_test(test_reconcile_any_order_of_regions_gives_the_same_report),
        cmocka_unit_test(test_reconcile_all_of_a_diverged_group_are_suspect),
        cmocka_unit_test(test_reconcile_fetched_is_what_gaps_lost),
        cmocka_unit_test(test_reconcile_lines_stand_worst_first),
        cmocka_unit_test(test_reconcile_lag_that_lasts_is_listed),
        cmocka_unit_test(test_reconcile_lag_behind_moving_streams_is_not_listed),
        cmocka_unit_test(test_reconcile_stuck_stream_is_seen_beside_a_moving_one),
        cmocka_unit_test(test_reconcile_slow_progress_is_still_lag),
        cmocka_unit_test(test_reconcile_age_ends_where_the_first_gap_is_filled),
        cmocka_unit_test(test_reconcile_divergence_is_new_once),
        cmocka_unit_test(test_reconcile_silence_is_new_once),
        cmocka_unit_test(test_reconcile_most_regions_are_compared),
        cmocka_unit_test(test_reconcile_summary_names_the_worst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
