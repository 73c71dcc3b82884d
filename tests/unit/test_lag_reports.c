/* The lag gauge: reports, applied positions, staleness of regions. */
#include "common/base/bounds.h"
#include "common/base/prng.h"
#include "common/replication/lag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NS_PER_MS = 1000000 };

static lag_t *s_lag;
static const tenant_id_t s_tenant = {1};
/* The node is shard 0 in region 1. */
static const stream_id_t s_own = {.tenant = {1}, .incarnation = 7, .origin = {{1}, {0}}};
static const stream_id_t s_east = {.tenant = {1}, .incarnation = 8, .origin = {{2}, {0}}};
static const stream_id_t s_east_later = {.tenant = {1}, .incarnation = 9, .origin = {{2}, {0}}};

static int s_setup(void **state)
{
    (void)state;
    s_lag = lag_new((node_id_t){{1}, {0}});
    return 0;
}

static int s_teardown(void **state)
{
    (void)state;
    lag_destroy(&s_lag);
    return 0;
}

static void s_report(stream_id_t stream, uint64_t head_seq, int64_t ms)
{
    assert_int_equal(lag_report(s_lag, stream, head_seq, ms * NS_PER_MS), ERR_OK);
}

static void s_applied(stream_id_t stream, uint64_t seq)
{
    assert_int_equal(lag_applied(s_lag, stream, seq), ERR_OK);
}

static void s_assert_lag(stream_id_t stream, int64_t now_ms, uint64_t seq, uint32_t ms)
{
    assert_int_equal(lag_seq(s_lag, stream), seq);
    assert_int_equal(lag_ms(s_lag, stream, now_ms * NS_PER_MS), ms);
}

static uint32_t s_staleness(uint16_t region, int64_t now_ms)
{
    return lag_staleness_ms(s_lag, s_tenant, (region_id_t){region}, now_ms * NS_PER_MS);
}

/* Goal: one stream more than there is room for is refused, and nothing else changes. */
static void test_lag_stream_over_limit_is_refused(void **state)
{
    (void)state;
    stream_id_t stream = s_east;
    for (uint64_t i = 1; i <= STREAM_COUNT_MAX; i++) {
        stream.incarnation = i * 31 % 5000 + 1;
        s_report(stream, i, 1);
    }
    stream.incarnation = 9999;
    assert_int_equal(lag_report(s_lag, stream, 5, 1), ERR_FULL);
    assert_int_equal(lag_applied(s_lag, stream, 5), ERR_FULL);
    assert_int_equal(lag_seq(s_lag, stream), 0);
    stream.incarnation = 32; /* of i = 1 */
    s_applied(stream, 1);
    s_assert_lag(stream, 5, 0, 0);
}

/* Goal: what nobody spoke of has no lag and no known staleness. */
static void test_lag_unknown_stream_and_region(void **state)
{
    (void)state;
    s_assert_lag(s_east, 5, 0, 0);
    assert_true(s_staleness(2, 5) == LAG_STALENESS_UNKNOWN);
    assert_int_equal(s_staleness(1, 5), 0);
    assert_int_equal(lag_rows(s_lag, s_tenant, 5, NULL, 0), 0);
}

/* Goal: applied without any report is no lag, but its staleness is unknown. */
static void test_lag_applied_without_report_is_of_unknown_staleness(void **state)
{
    (void)state;
    s_applied(s_east, 100);
    s_assert_lag(s_east, 5, 0, 0);
    assert_true(s_staleness(2, 5) == LAG_STALENESS_UNKNOWN);
}

/* Goal: the example of the header: T is the latest report of which all is applied. */
static void test_lag_follows_applied_through_reports(void **state)
{
    (void)state;
    s_report(s_east, 10, 1);
    s_report(s_east, 14, 2);
    s_report(s_east, 20, 3);
    s_applied(s_east, 9);
    s_assert_lag(s_east, 100, 11, 99); /* no T: since the first report */
    assert_true(s_staleness(2, 100) == LAG_STALENESS_UNKNOWN);
    s_applied(s_east, 10);
    s_assert_lag(s_east, 100, 10, 99);
    assert_int_equal(s_staleness(2, 100), 99);
    s_applied(s_east, 13);
    assert_int_equal(s_staleness(2, 100), 99);
    s_applied(s_east, 14);
    s_assert_lag(s_east, 100, 6, 98);
    assert_int_equal(s_staleness(2, 100), 98);
    s_applied(s_east, 25);
    s_assert_lag(s_east, 100, 0, 0);
    assert_int_equal(s_staleness(2, 100), 97);
}

/* Goal: a replica that has all grows stale with the silence of the origin, and the same head again
 * refreshes it. */
static void test_lag_repeated_head_refreshes(void **state)
{
    (void)state;
    s_report(s_east, 10, 1);
    s_applied(s_east, 10);
    assert_int_equal(s_staleness(2, 1001), 1000);
    s_report(s_east, 10, 1000);
    assert_int_equal(s_staleness(2, 1001), 1);
    s_report(s_east, 10, 900);
    assert_int_equal(s_staleness(2, 1001), 1);
}

/* Goal: a repeated head that is not applied counts from its latest time once it is. */
static void test_lag_repeated_outstanding_head_counts_from_latest_time(void **state)
{
    (void)state;
    s_applied(s_east, 5);
    s_report(s_east, 5, 1);
    s_report(s_east, 10, 20);
    s_report(s_east, 10, 60);
    s_assert_lag(s_east, 100, 5, 99);
    s_applied(s_east, 10);
    assert_int_equal(s_staleness(2, 100), 40);
}

/* Goal: a report of a lower head says nothing, also not that the replica is fresh. */
static void test_lag_lower_head_is_ignored(void **state)
{
    (void)state;
    s_report(s_east, 10, 10);
    s_applied(s_east, 10);
    s_report(s_east, 8, 90);
    s_assert_lag(s_east, 100, 0, 0);
    assert_int_equal(s_staleness(2, 100), 90);
}

/* Goal: a higher head for an earlier time (ages are rounded) takes freshness back, since the head
 * cannot have been lower later. */
static void test_lag_higher_head_at_earlier_time_is_conservative(void **state)
{
    (void)state;
    s_report(s_east, 10, 50);
    s_applied(s_east, 10);
    assert_int_equal(s_staleness(2, 100), 50);
    s_report(s_east, 12, 49);
    assert_int_equal(s_staleness(2, 100), 51);
    s_report(s_east, 15, 80);
    s_report(s_east, 18, 70);
    s_applied(s_east, 15);
    assert_int_equal(s_staleness(2, 100), 30);
    s_applied(s_east, 18);
    assert_int_equal(s_staleness(2, 100), 30);
}

/* Goal: a report from ahead of the clock counts as now. */
static void test_lag_report_time_ahead_of_now_counts_as_now(void **state)
{
    (void)state;
    s_report(s_east, 1, 200);
    s_applied(s_east, 1);
    assert_int_equal(s_staleness(2, 100), 0);
}

/* Goal: times at both ends of the clock give a capped lag, not an overflow. */
static void test_lag_longest_time_is_capped(void **state)
{
    (void)state;
    assert_int_equal(lag_report(s_lag, s_east, 5, INT64_MIN), ERR_OK);
    assert_true(lag_ms(s_lag, s_east, INT64_MAX) == UINT32_MAX - 1);
    s_applied(s_east, 5);
    assert_true(lag_staleness_ms(s_lag, s_tenant, (region_id_t){2}, INT64_MAX) == UINT32_MAX - 1);
}

/* Goal: the stalest stream of a region decides, and one without a report makes it unknown. */
static void test_lag_stalest_stream_of_the_region_decides(void **state)
{
    (void)state;
    s_report(s_east, 1, 90);
    s_applied(s_east, 1);
    s_report(s_east_later, 3, 50);
    s_applied(s_east_later, 3);
    assert_int_equal(s_staleness(2, 100), 50);
    stream_id_t unheard = {.tenant = {1}, .incarnation = 99, .origin = {{2}, {0}}};
    s_applied(unheard, 1);
    assert_true(s_staleness(2, 100) == LAG_STALENESS_UNKNOWN);
}

/* Goal: streams of another tenant do not count. */
static void test_lag_other_tenants_do_not_count(void **state)
{
    (void)state;
    stream_id_t other = s_east;
    other.tenant.value = 2;
    s_report(other, 9, 10);
    s_report(s_east, 1, 90);
    s_applied(s_east, 1);
    assert_int_equal(s_staleness(2, 100), 10);
    msg_lag_row_t rows[3];
    assert_int_equal(lag_rows(s_lag, s_tenant, 0, rows, 3), 1);
}

/* Goal: a region without streams is as fresh as its latest full list, and a stream that is first
 * met in a later list had nothing at the time of the one before. */
static void test_lag_full_list_dates_absent_and_new_streams(void **state)
{
    (void)state;
    lag_heard(s_lag, (region_id_t){2}, 40LL * NS_PER_MS);
    assert_int_equal(s_staleness(2, 100), 60);
    lag_heard(s_lag, (region_id_t){2}, 30LL * NS_PER_MS);
    assert_int_equal(s_staleness(2, 100), 60);
    s_report(s_east, 3, 95);
    s_assert_lag(s_east, 100, 3, 60);
    assert_int_equal(s_staleness(2, 100), 60);
    s_applied(s_east, 3);
    assert_int_equal(s_staleness(2, 100), 5);
}

/* Goal: a stream that is there and empty is fresh without anything applied. */
static void test_lag_empty_stream_is_fresh(void **state)
{
    (void)state;
    s_report(s_east, 0, 90);
    s_assert_lag(s_east, 100, 0, 0);
    assert_int_equal(s_staleness(2, 100), 10);
}

/* Goal: the node's own stream is 0 without reports, and lags only where more of it is reported than
 * is applied (an old incarnation after the loss of a disk). */
static void test_lag_own_stream_is_fresh_unless_more_is_reported(void **state)
{
    (void)state;
    s_applied(s_own, 50);
    assert_int_equal(s_staleness(1, 100), 0);
    s_report(s_own, 50, 10);
    assert_int_equal(s_staleness(1, 100), 0);
    s_report(s_own, 60, 20);
    s_assert_lag(s_own, 100, 10, 90);
    assert_int_equal(s_staleness(1, 100), 90);
    s_applied(s_own, 60);
    assert_int_equal(s_staleness(1, 100), 0);
}

/* Goal: a stream of the own region that another node originated is a replica like others. */
static void test_lag_stream_of_another_shard_of_the_region_is_a_replica(void **state)
{
    (void)state;
    stream_id_t neighbour = {.tenant = {1}, .incarnation = 3, .origin = {{1}, {4}}};
    s_applied(neighbour, 5);
    assert_true(s_staleness(1, 100) == LAG_STALENESS_UNKNOWN);
}

/* Goal: rows come in the order of stream ids, whatever the order of arrival, and stop at the room
 * given. */
static void test_lag_rows_are_in_stream_order_and_bounded(void **state)
{
    (void)state;
    s_report(s_east_later, 9, 90);
    s_applied(s_own, 4);
    s_report(s_east, 5, 80);
    s_applied(s_east, 2);
    msg_lag_row_t rows[3];
    assert_int_equal(lag_rows(s_lag, s_tenant, 100LL * NS_PER_MS, rows, 2), 2);
    assert_int_equal(lag_rows(s_lag, s_tenant, 100LL * NS_PER_MS, rows, 3), 3);
    assert_int_equal(rows[0].incarnation, 7);
    assert_int_equal(rows[0].origin.value, 1);
    assert_int_equal(rows[0].leader_seq, 4);
    assert_int_equal(rows[0].applied_seq, 4);
    assert_int_equal(rows[0].lag_ms, 0);
    assert_int_equal(rows[1].incarnation, 8);
    assert_int_equal(rows[1].leader_seq, 5);
    assert_int_equal(rows[1].applied_seq, 2);
    assert_int_equal(rows[1].lag_ms, 20);
    assert_int_equal(rows[2].incarnation, 9);
    assert_int_equal(rows[2].leader_seq, 9);
    assert_int_equal(rows[2].applied_seq, 0);
}

/* Goal: with more reports outstanding than are kept, the newest is exact, none is called fresher
 * than it is, and at each report that was kept the answer is the truth. Method: 1000 reports, one
 * per ms, then apply step by step. */
static void test_lag_thinned_out_reports_are_never_too_fresh(void **state)
{
    (void)state;
    const uint64_t count = 1000;
    s_report(s_east, 0, 0);
    for (uint64_t ms = 1; ms <= count; ms++) {
        s_report(s_east, ms * 10, (int64_t)ms);
    }
    uint64_t exact = 0;
    for (uint64_t seq = 1; seq <= count * 10; seq++) {
        s_applied(s_east, seq);
        uint64_t truth = count - seq / 10;
        uint64_t found = s_staleness(2, (int64_t)count);
        assert_true(found >= truth);
        exact += found == truth && seq % 10 == 0 ? 1 : 0;
    }
    assert_int_equal(s_staleness(2, (int64_t)count), 0);
    assert_in_range(exact, LAG_REPORT_COUNT_MAX / 2, LAG_REPORT_COUNT_MAX);
}

enum { MODEL_STEPS = 2000 };

/* A gauge that keeps every report. */
typedef struct {
    uint32_t count;
    uint64_t heads[MODEL_STEPS];
    int64_t times_ms[MODEL_STEPS];
    uint64_t head;
    uint64_t applied;
} s_model_t;

static void s_assert_like_model(const s_model_t *model, int64_t now_ms)
{
    int64_t fresh_ms = -1;
    for (uint32_t i = 0; i < model->count && model->heads[i] <= model->applied; i++) {
        fresh_ms = model->times_ms[i];
    }
    uint32_t found = s_staleness(2, now_ms);
    assert_int_equal(lag_seq(s_lag, s_east), model->head - model->applied);
    if (fresh_ms < 0) {
        assert_true(found == LAG_STALENESS_UNKNOWN);
    } else if (model->applied == model->head) {
        assert_int_equal(found, now_ms - fresh_ms);
    } else {
        assert_true(found >= now_ms - fresh_ms);
    }
}

static void s_model_step(s_model_t *model, prng_t *prng, double apply_share, int64_t now_ms)
{
    if (prng_chance(prng, 0.5)) {
        model->head += prng_below(prng, 4);
        model->heads[model->count] = model->head;
        model->times_ms[model->count++] = now_ms;
        s_report(s_east, model->head, now_ms);
    }
    if (prng_chance(prng, apply_share) && model->applied < model->head) {
        model->applied += 1 + prng_below(prng, model->head - model->applied);
        s_applied(s_east, model->applied);
    }
}

/* Goal: T is never later than the true one, in any interleaving of reports and applies, and exact
 * when all is applied. Method: random runs against a model that keeps all reports. */
static void test_lag_random_runs_are_never_too_fresh(void **state)
{
    (void)state;
    static s_model_t s_model;
    for (uint64_t seed = 0; seed < 30; seed++) {
        (void)memset(&s_model, 0, sizeof(s_model));
        lag_destroy(&s_lag);
        s_lag = lag_new((node_id_t){{1}, {0}});
        prng_t prng;
        prng_init(&prng, seed);
        for (int64_t ms = 1; ms < MODEL_STEPS; ms++) {
            s_model_step(&s_model, &prng, seed % 2 == 0 ? 0.05 : 0.55, ms);
            s_assert_like_model(&s_model, ms);
        }
    }
}

int main(void)
{
#define WITH_LAG(test) cmocka_unit_test_setup_teardown(test, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        WITH_LAG(test_lag_stream_over_limit_is_refused),
        WITH_LAG(test_lag_unknown_stream_and_region),
        WITH_LAG(test_lag_applied_without_report_is_of_unknown_staleness),
        WITH_LAG(test_lag_follows_applied_through_reports),
        WITH_LAG(test_lag_repeated_head_refreshes),
        WITH_LAG(test_lag_repeated_outstanding_head_counts_from_latest_time),
        WITH_LAG(test_lag_lower_head_is_ignored),
        WITH_LAG(test_lag_higher_head_at_earlier_time_is_conservative),
        WITH_LAG(test_lag_report_time_ahead_of_now_counts_as_now),
        WITH_LAG(test_lag_longest_time_is_capped),
        WITH_LAG(test_lag_stalest_stream_of_the_region_decides),
        WITH_LAG(test_lag_other_tenants_do_not_count),
        WITH_LAG(test_lag_full_list_dates_absent_and_new_streams),
        WITH_LAG(test_lag_empty_stream_is_fresh),
        WITH_LAG(test_lag_own_stream_is_fresh_unless_more_is_reported),
        WITH_LAG(test_lag_stream_of_another_shard_of_the_region_is_a_replica),
        WITH_LAG(test_lag_rows_are_in_stream_order_and_bounded),
        WITH_LAG(test_lag_thinned_out_reports_are_never_too_fresh),
        WITH_LAG(test_lag_random_runs_are_never_too_fresh),
    };
#undef WITH_LAG
    return cmocka_run_group_tests(tests, NULL, NULL);
}
