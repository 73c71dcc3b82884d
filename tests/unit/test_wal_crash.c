/* Power cuts at every moment: whatever was flushed is there, and what is there is a prefix.
 *
 * A run does random things with a log (or a replica) on a simulated disk until the power goes at
 * the n-th change. Then the disk decides by a seed what it kept of the unsynced rest, and the log
 * is opened again; the power may go during that as well. The run is repeated for every n, with
 * several seeds. A failing case prints its numbers. */
#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { STEPS = 40, BATCHES_MAX = 400 };

/* What was appended, in order; index 0 is the empty stream. */
typedef struct {
    uint64_t last_seq[BATCHES_MAX];
    wal_hash_t hash[BATCHES_MAX];
    size_t count;
    size_t flushed; /* of these, known to be durable */
} history_t;

typedef struct {
    uint64_t seed;
    uint64_t stop_at; /* 0 never */
    uint64_t crash_seed;
    uint64_t stop_again_at; /* during recovery; 0 never */
} case_t;

static void s_fail(const case_t *the_case, const char *what, const errbuf_t *errbuf)
{
    fail_msg("%s: seed %llu, stop at %llu, crash seed %llu, stop again at %llu: %s", what,
             (unsigned long long)the_case->seed, (unsigned long long)the_case->stop_at,
             (unsigned long long)the_case->crash_seed, (unsigned long long)the_case->stop_again_at,
             errbuf == NULL ? "" : errbuf->text);
}

static void s_remember(history_t *history, uint64_t last_seq, const wal_hash_t *hash)
{
    assert_true(history->count < BATCHES_MAX);
    history->last_seq[history->count] = last_seq;
    history->hash[history->count++] = *hash;
}

/* Index of the batch that ends at seq; fails when none does. */
static size_t s_index_of(const history_t *history, uint64_t seq, const case_t *the_case)
{
    for (size_t i = 0; i < history->count; i++) {
        if (history->last_seq[i] == seq) {
            return i;
        }
    }
    s_fail(the_case, "recovered to no boundary", NULL);
    return 0;
}

/* -- the log ----------------------------------------------------------------------------------- */

static err_t s_append(wal_log_t *log, prng_t *prng, history_t *history)
{
    buffer_t payload;
    wal_batch_t batch;
    buffer_init(&payload);
    wal_support_fill(prng, 1 + (uint32_t)prng_below(prng, 60), &payload, &batch);
    err_t err = wal_log_append(log, &batch, wal_support_now(0), NULL);
    if (err == ERR_OK) {
        s_remember(history, wal_batch_last_seq(&batch), &batch.hash);
    }
    buffer_done(&payload);
    return err;
}

static err_t s_flush(wal_log_t *log, history_t *history)
{
    const err_t err = wal_log_flush(log, NULL);
    if (err == ERR_OK) {
        history->flushed = history->count;
    }
    return err;
}

/* Segments of several sizes, with and without room made ahead. */
static wal_log_options_t s_options(const sim_disk_t *sim, const case_t *the_case)
{
    wal_log_options_t options = wal_support_log_options(
        sim_disk_disk(sim), SEGMENT_SIZE_MIN * (1 + the_case->seed / 2 % 4));
    options.no_zero_fill = the_case->seed % 2 == 0;
    return options;
}

/* Groups of zero to five batches, and seals, until the end or the power cut. */
static void s_run_log(sim_disk_t *sim, const case_t *the_case, history_t *history)
{
    const wal_log_options_t options = s_options(sim, the_case);
    prng_t prng;
    wal_log_t *log = NULL;
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, NULL), ERR_OK);
    prng_init(&prng, the_case->seed);
    sim_disk_stop_at(sim, the_case->stop_at);
    err_t err = ERR_OK;
    for (int step = 0; step < STEPS && err == ERR_OK; step++) {
        const uint64_t dice = prng_below(&prng, 8);
        for (uint64_t i = 0; i < dice && i < 6 && err == ERR_OK; i++) {
            err = s_append(log, &prng, history);
        }
        if (err == ERR_OK) {
            err = dice == 7 ? wal_log_seal(log, NULL) : s_flush(log, history);
        }
    }
    wal_log_close(&log);
}

/* Opens after the crash, with the power going once more where the case says so. */
static wal_log_t *s_recover_log(sim_disk_t *sim, const case_t *the_case, const history_t *history)
{
    wal_log_options_t options = s_options(sim, the_case);
    errbuf_t errbuf = {""};
    wal_log_t *log = NULL;
    options.recovery.known_durable_seq = history->last_seq[history->flushed - 1];
    sim_disk_stop_at(sim, the_case->stop_again_at);
    err_t err = wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf);
    if (err != ERR_OK && sim_disk_stopped(sim)) {
        sim_disk_crash(sim, the_case->crash_seed + 1);
        err = wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf);
    }
    sim_disk_stop_at(sim, 0);
    if (err != ERR_OK) {
        s_fail(the_case, "recovery refused", &errbuf);
    }
    return log;
}

static void s_check_log(sim_disk_t *sim, const case_t *the_case, const history_t *history)
{
    wal_log_t *log = s_recover_log(sim, the_case, history);
    const uint64_t seq = wal_log_durable_seq(log);
    const size_t index = s_index_of(history, seq, the_case);
    if (index + 1 < history->flushed) {
        s_fail(the_case, "a flushed batch is lost", NULL);
    }
    const wal_hash_t hash = wal_log_last_hash(log);
    if (memcmp(hash.bytes, history->hash[index].bytes, WAL_HASH_SIZE) != 0) {
        s_fail(the_case, "another batch than was written", NULL);
    }
    /* what was recovered is durable: a second cut at once takes nothing away */
    sim_disk_crash(sim, the_case->crash_seed + 2);
    wal_log_close(&log);
    log = wal_support_open_log(sim_disk_disk(sim), SEGMENT_SIZE_MIN);
    if (wal_log_durable_seq(log) != seq) {
        s_fail(the_case, "recovered and lost again", NULL);
    }
    prng_t prng;
    prng_init(&prng, the_case->crash_seed);
    wal_support_write(log, &prng, 3, 20);
    const wal_hash_t end =
        wal_support_check_chain(sim_disk_disk(sim), WAL_SUPPORT_ORIGIN, wal_log_durable_seq(log));
    const wal_hash_t last = wal_log_last_hash(log);
    assert_memory_equal(end.bytes, last.bytes, WAL_HASH_SIZE);
    wal_log_close(&log);
}

static void s_empty_history(history_t *history)
{
    const wal_hash_t none = {{0}};
    history->count = 0;
    s_remember(history, 0, &none);
    history->flushed = 1;
}

static void s_expect_log_survives(const case_t *the_case)
{
    static history_t s_history;
    sim_disk_t *sim = sim_disk_new(the_case->crash_seed);
    s_empty_history(&s_history);
    s_run_log(sim, the_case, &s_history);
    sim_disk_crash(sim, the_case->crash_seed);
    s_check_log(sim, the_case, &s_history);
    sim_disk_destroy(&sim);
}

/* Changes of an undisturbed run. */
static uint64_t s_count_changes(uint64_t seed)
{
    static history_t s_history;
    const case_t the_case = {.seed = seed};
    sim_disk_t *sim = sim_disk_new(1);
    s_empty_history(&s_history);
    s_run_log(sim, &the_case, &s_history);
    const uint64_t changes = sim_disk_stats(sim).change_count;
    sim_disk_destroy(&sim);
    return changes;
}

/* Goal: no flushed batch is ever lost, and what is recovered is a prefix with a valid chain,
 * wherever the power goes. */
static void test_crash_log_at_every_change_loses_nothing_flushed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const uint64_t changes = s_count_changes(seed);
        assert_true(changes > 60);
        for (uint64_t i = 0; i < 4 * changes; i++) {
            const case_t the_case = {seed, 1 + i / 4, 1000 * seed + i % 4, 0};
            s_expect_log_survives(&the_case);
        }
    }
}

/* Goal: the same when the power goes again during recovery, at each of its changes. */
static void test_crash_log_during_recovery_loses_nothing_flushed(void **state)
{
    (void)state;
    const uint64_t changes = s_count_changes(4);
    for (uint64_t at = 1; at <= changes; at += 3) {
        for (uint64_t again = 1; again <= 4; again++) {
            const case_t the_case = {4, at, 50 * at + again, again};
            s_expect_log_survives(&the_case);
        }
    }
}

/* Goal: a process that dies alone leaves unsynced writes and names behind, which its successor
 * sees. It makes them durable before it counts them: a power cut right behind its recovery takes
 * nothing. */
static void test_crash_log_killed_at_every_change_then_power_cut(void **state)
{
    (void)state;
    static history_t s_history;
    const uint64_t changes = s_count_changes(8);
    for (uint64_t at = 1; at <= changes; at++) {
        const case_t the_case = {8, at, at, 0};
        sim_disk_t *sim = sim_disk_new(at);
        s_empty_history(&s_history);
        s_run_log(sim, &the_case, &s_history);
        sim_disk_restart(sim);
        sim_disk_set_tearing(sim, false); /* the cut takes all that is not synced */
        s_check_log(sim, &the_case, &s_history);
        sim_disk_destroy(&sim);
    }
}

/* Goal: tails are torn in these runs, or they would prove little. */
static void test_crash_runs_do_tear_writes(void **state)
{
    (void)state;
    static history_t s_history;
    uint64_t torn = 0;
    uint64_t lost = 0;
    uint64_t undone = 0;
    uint64_t cut = 0;
    for (uint64_t at = 5; at < 200; at++) {
        const case_t the_case = {1, at, at, 0};
        sim_disk_t *sim = sim_disk_new(at);
        uint64_t cut_bytes = 0;
        wal_log_t *log = NULL;
        s_empty_history(&s_history);
        s_run_log(sim, &the_case, &s_history);
        sim_disk_crash(sim, at);
        torn += sim_disk_stats(sim).torn_count;
        lost += sim_disk_stats(sim).lost_count;
        undone += sim_disk_stats(sim).undone_count;
        const wal_log_options_t options =
            wal_support_log_options(sim_disk_disk(sim), SEGMENT_SIZE_MIN);
        assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, &cut_bytes, NULL),
                         ERR_OK);
        cut += cut_bytes > 0 ? 1 : 0;
        wal_log_close(&log);
        sim_disk_destroy(&sim);
    }
    assert_true(torn > 20 && lost > 20 && undone > 10 && cut > 20);
}

/* Goal: a write or sync that fails without a power cut ends the process; the next one finds all
 * that was flushed. Method: the n-th write or sync fails, the files stay as they are. */
static void test_crash_log_after_failed_write_or_sync_loses_nothing_flushed(void **state)
{
    (void)state;
    static history_t s_history;
    for (uint64_t i = 2; i <= 120; i++) {
        const case_t the_case = {5, 0, i, 0};
        sim_disk_t *sim = sim_disk_new(i);
        sim_disk_fail_write(sim, i % 2 == 0 ? i / 2 : 0);
        sim_disk_fail_sync(sim, i % 2 == 1 ? i / 2 : 0);
        s_empty_history(&s_history);
        s_run_log(sim, &the_case, &s_history);
        sim_disk_restart(sim);
        s_check_log(sim, &the_case, &s_history);
        sim_disk_destroy(&sim);
    }
}

/* -- the replica ------------------------------------------------------------------------------- */

/* An origin that never fails, whose blocks are offered in random runs. */
typedef struct {
    sim_disk_t *sim;
    buffer_t blocks;
    history_t history;
    size_t ends[BATCHES_MAX]; /* where each block ends */
    size_t end_count;
} origin_t;

static origin_t *s_new_origin(void)
{
    origin_t *origin = calloc(1, sizeof(*origin));
    assert_non_null(origin);
    prng_t prng;
    prng_init(&prng, 77);
    origin->sim = sim_disk_new(77);
    buffer_init(&origin->blocks);
    s_empty_history(&origin->history);
    wal_log_t *log = wal_support_open_log(sim_disk_disk(origin->sim), SEGMENT_SIZE_MIN);
    for (int i = 0; i < 80; i++) {
        assert_int_equal(s_append(log, &prng, &origin->history), ERR_OK);
        wal_support_flush(log);
    }
    assert_int_equal(wal_log_seal(log, NULL), ERR_OK);
    wal_support_read_blocks(sim_disk_disk(origin->sim), WAL_SUPPORT_ORIGIN, 1,
                            wal_log_durable_seq(log), &origin->blocks);
    wal_log_close(&log);
    for (size_t offset = 0; offset < origin->blocks.size;) {
        wal_block_t block;
        const slice_t rest = slice_make(origin->blocks.data + offset, origin->blocks.size - offset);
        assert_int_equal(wal_decode_block(rest, &block, NULL), ERR_OK);
        offset += block.size;
        origin->ends[origin->end_count++] = offset;
    }
    return origin;
}

static void s_destroy_origin(origin_t **origin_p)
{
    sim_disk_destroy(&(*origin_p)->sim);
    buffer_done(&(*origin_p)->blocks);
    free(*origin_p);
    *origin_p = NULL;
}

/* Offers runs of one to eight blocks and flushes now and then; returns what was flushed. */
static uint64_t s_run_replica(sim_disk_t *sim, const origin_t *origin, const case_t *the_case)
{
    prng_t prng;
    const wal_replica_options_t options = {
        .place = wal_support_place(sim_disk_disk(sim), WAL_SUPPORT_REPLICA),
        .no_zero_fill = the_case->seed % 2 == 0,
    };
    wal_replica_t *replica = NULL;
    uint64_t flushed = 0;
    size_t done = 0;
    err_t err = ERR_OK;
    assert_int_equal(wal_replica_open(&options, wal_support_now(0), &replica, NULL, NULL), ERR_OK);
    prng_init(&prng, the_case->seed);
    sim_disk_stop_at(sim, the_case->stop_at);
    while (done < origin->end_count && err == ERR_OK) {
        size_t end = done + 1 + (size_t)prng_below(&prng, 8);
        end = end > origin->end_count ? origin->end_count : end;
        const size_t begin = done == 0 ? 0 : origin->ends[done - 1];
        wal_offer_t offer;
        err = wal_replica_offer(
            replica, slice_make(origin->blocks.data + begin, origin->ends[end - 1] - begin), &offer,
            NULL);
        done = end;
        if (err == ERR_OK && prng_chance(&prng, 0.5)) {
            err = wal_replica_flush(replica, NULL);
            flushed = err == ERR_OK ? wal_replica_durable_seq(replica) : flushed;
        }
    }
    if (err == ERR_OK && wal_replica_flush(replica, NULL) == ERR_OK) {
        flushed = wal_replica_durable_seq(replica);
    }
    wal_replica_close(&replica);
    return flushed;
}

static void s_heal_replica(wal_replica_t *replica, sim_disk_t *sim, const origin_t *origin)
{
    buffer_t blocks;
    wal_offer_t offer;
    const uint64_t end = origin->history.last_seq[origin->history.count - 1];
    buffer_init(&blocks);
    wal_support_read_blocks(sim_disk_disk(origin->sim), WAL_SUPPORT_ORIGIN,
                            wal_replica_durable_seq(replica) + 1, end, &blocks);
    assert_int_equal(wal_replica_offer(replica, buffer_slice(&blocks), &offer, NULL), ERR_OK);
    assert_int_equal(wal_replica_flush(replica, NULL), ERR_OK);
    assert_true(wal_replica_durable_seq(replica) == end);
    (void)wal_support_check_chain(sim_disk_disk(sim), WAL_SUPPORT_REPLICA, end);
    buffer_done(&blocks);
}

static void s_expect_replica_survives(const origin_t *origin, const case_t *the_case)
{
    sim_disk_t *sim = sim_disk_new(the_case->crash_seed);
    const wal_replica_options_t options = {
        .place = wal_support_place(sim_disk_disk(sim), WAL_SUPPORT_REPLICA)};
    wal_replica_t *replica = NULL;
    errbuf_t errbuf = {""};
    const uint64_t flushed = s_run_replica(sim, origin, the_case);
    sim_disk_crash(sim, the_case->crash_seed);
    sim_disk_stop_at(sim, the_case->stop_again_at);
    err_t err = wal_replica_open(&options, wal_support_now(0), &replica, NULL, &errbuf);
    if (err != ERR_OK && sim_disk_stopped(sim)) {
        sim_disk_crash(sim, the_case->crash_seed + 1);
        err = wal_replica_open(&options, wal_support_now(0), &replica, NULL, &errbuf);
    }
    sim_disk_stop_at(sim, 0);
    if (err != ERR_OK) {
        s_fail(the_case, "open failed", &errbuf);
    }
    const uint64_t seq = wal_replica_durable_seq(replica);
    const size_t index = s_index_of(&origin->history, seq, the_case);
    const wal_hash_t hash = wal_replica_last_hash(replica);
    if (seq < flushed) {
        s_fail(the_case, "a flushed batch is lost", NULL);
    }
    if (memcmp(hash.bytes, origin->history.hash[index].bytes, WAL_HASH_SIZE) != 0) {
        s_fail(the_case, "another batch than was written", NULL);
    }
    s_heal_replica(replica, sim, origin);
    wal_replica_close(&replica);
    sim_disk_destroy(&sim);
}

/* Goal: what a replica flushed, and so confirmed, survives every power cut, also where a write of
 * many groups was torn; and it can always be completed. */
static void test_crash_replica_at_every_change_loses_nothing_flushed(void **state)
{
    (void)state;
    origin_t *origin = s_new_origin();
    for (uint64_t seed = 6; seed <= 7; seed++) {
        const case_t undisturbed = {.seed = seed};
        sim_disk_t *sim = sim_disk_new(1);
        (void)s_run_replica(sim, origin, &undisturbed); /* only its changes count */
        const uint64_t changes = sim_disk_stats(sim).change_count;
        sim_disk_destroy(&sim);
        for (uint64_t i = 0; i < 4 * changes; i++) {
            const case_t the_case = {seed, 1 + i / 4, 7000 + i, 0};
            s_expect_replica_survives(origin, &the_case);
        }
    }
    s_destroy_origin(&origin);
}

/* Goal: the same when the power goes again during the repair. */
static void test_crash_replica_during_repair_loses_nothing_flushed(void **state)
{
    (void)state;
    origin_t *origin = s_new_origin();
    for (uint64_t at = 10; at <= 150; at += 2) {
        for (uint64_t again = 1; again <= 8; again++) {
            const case_t the_case = {7, at, 90 * at + again, again};
            s_expect_replica_survives(origin, &the_case);
        }
    }
    s_destroy_origin(&origin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_log_at_every_change_loses_nothing_flushed),
        cmocka_unit_test(test_crash_log_during_recovery_loses_nothing_flushed),
        cmocka_unit_test(test_crash_log_killed_at_every_change_then_power_cut),
        cmocka_unit_test(test_crash_runs_do_tear_writes),
        cmocka_unit_test(test_crash_log_after_failed_write_or_sync_loses_nothing_flushed),
        cmocka_unit_test(test_crash_replica_at_every_change_loses_nothing_flushed),
        cmocka_unit_test(test_crash_replica_during_repair_loses_nothing_flushed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
