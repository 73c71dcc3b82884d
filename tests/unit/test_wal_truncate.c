/* Old segments go from the front: what may go, what stays, and that the rest is a whole log. */
#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { S_BATCHES = 120, S_EVENTS_MAX = 60 };

typedef struct {
    sim_disk_t *sim;
    const disk_t *disk;
    prng_t prng;
    wal_log_t *log;
} s_bench_t;

/* A log of many small segments. */
static void s_open(s_bench_t *bench, uint64_t seed)
{
    bench->sim = sim_disk_new(seed);
    bench->disk = sim_disk_disk(bench->sim);
    prng_init(&bench->prng, seed);
    bench->log = wal_support_open_log(bench->disk, SEGMENT_SIZE_MIN);
    wal_support_write(bench->log, &bench->prng, S_BATCHES, S_EVENTS_MAX);
}

static void s_close(s_bench_t *bench)
{
    wal_log_close(&bench->log);
    sim_disk_destroy(&bench->sim);
}

static void s_files(const s_bench_t *bench, const char *folder, wal_segment_list_t *ret_files)
{
    *ret_files = (wal_segment_list_t){NULL, 0, 0};
    assert_int_equal(wal_files_list_segments(bench->disk, folder, ret_files, NULL, NULL), ERR_OK);
}

/* First event that the folder still has. */
static uint64_t s_first_seq(const s_bench_t *bench, const char *folder)
{
    wal_segment_list_t files;
    s_files(bench, folder, &files);
    assert_true(files.count > 0);
    uint64_t first_seq = files.items[0].first_seq;
    wal_segment_list_done(&files);
    return first_seq;
}

/* All of it can be read and verified from its first event on. */
static void s_check_readable(const s_bench_t *bench, const char *folder, uint64_t through_seq)
{
    wal_reader_t *reader = wal_support_reader(bench->disk, folder, s_first_seq(bench, folder));
    errbuf_t errbuf;
    wal_batch_t batch;
    while (wal_reader_next_seq(reader) <= through_seq) {
        assert_int_equal(wal_reader_next_batch(reader, through_seq, &batch, &errbuf), ERR_OK);
    }
    wal_reader_destroy(&reader);
}

/* The base of a stream whose batch ends at seq. */
static wal_base_t s_base_at(const s_bench_t *bench, const char *folder, uint64_t seq)
{
    wal_reader_t *reader = wal_support_reader(bench->disk, folder, seq);
    errbuf_t errbuf;
    wal_batch_t batch;
    assert_int_equal(wal_reader_next_batch(reader, seq, &batch, &errbuf), ERR_OK);
    assert_int_equal(wal_batch_last_seq(&batch), seq);
    wal_base_t base = {seq, batch.hash};
    wal_reader_destroy(&reader);
    return base;
}

/* Only whole segments at or below the floor go, the segment that holds the next event stays. */
static void test_truncate_only_below_the_floor(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 1);
    size_t count = 7;
    uint64_t last_seq = wal_log_durable_seq(bench.log);
    assert_int_equal(wal_log_truncate(bench.log, 0, 0, &count, NULL), ERR_OK);
    assert_int_equal(count, 0);
    const wal_segment_t *sealed = NULL;
    assert_true(wal_log_sealed_segments_since(bench.log, 0, &sealed) > 4);
    wal_segment_t second = sealed[1];
    wal_segment_t third = sealed[2];
    assert_int_equal(wal_log_truncate(bench.log, second.last_seq - 1, 0, &count, NULL), ERR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(s_first_seq(&bench, WAL_SUPPORT_ORIGIN), second.first_seq);
    assert_int_equal(wal_log_truncate(bench.log, second.last_seq, 0, &count, NULL), ERR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(s_first_seq(&bench, WAL_SUPPORT_ORIGIN), third.first_seq);
    (void)wal_log_sealed_segments_since(bench.log, 0, &sealed);
    assert_int_equal(sealed[0].first_seq, third.first_seq);
    s_check_readable(&bench, WAL_SUPPORT_ORIGIN, last_seq);
    s_close(&bench);
}

/* So many bytes are left, however far the floor is; and the last file always is. */
static void test_truncate_keeps_what_is_retained(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 2);
    size_t count = 0;
    const wal_segment_t *sealed = NULL;
    size_t sealed_count = wal_log_sealed_segments_since(bench.log, 0, &sealed);
    uint64_t all = 0;
    for (size_t i = 0; i < sealed_count; i++) {
        all += sealed[i].size_bytes;
    }
    assert_int_equal(wal_log_truncate(bench.log, UINT64_MAX, 2 * all, &count, NULL), ERR_OK);
    assert_int_equal(count, 0);
    assert_int_equal(wal_log_truncate(bench.log, UINT64_MAX, all / 2, &count, NULL), ERR_OK);
    assert_in_range(count, sealed_count / 2 - 2, sealed_count / 2 + 2);
    wal_support_flush(bench.log);
    assert_int_equal(wal_log_seal(bench.log, NULL), ERR_OK);
    assert_int_equal(wal_log_truncate(bench.log, UINT64_MAX, 0, &count, NULL), ERR_OK);
    wal_segment_list_t files;
    s_files(&bench, WAL_SUPPORT_ORIGIN, &files);
    assert_int_equal(files.count, 1);
    wal_segment_list_done(&files);
    uint64_t last_seq = wal_log_durable_seq(bench.log);
    wal_support_write(bench.log, &bench.prng, 20, S_EVENTS_MAX);
    assert_true(wal_log_durable_seq(bench.log) > last_seq);
    s_check_readable(&bench, WAL_SUPPORT_ORIGIN, wal_log_durable_seq(bench.log));
    s_close(&bench);
}

/* Goal: a power cut at any change leaves a whole log that begins with the base or before. Method:
 * power goes at the n-th change of a truncation, then the log is opened with its base. */
static void test_truncate_power_cut_leaves_a_whole_log(void **state)
{
    (void)state;
    for (uint64_t stop = 1; stop < 12; stop++) {
        s_bench_t bench;
        s_open(&bench, 3 + stop);
        const wal_segment_t *sealed = NULL;
        assert_true(wal_log_sealed_segments_since(bench.log, 0, &sealed) > 9);
        wal_segment_t last = sealed[7];
        uint64_t last_seq = wal_log_durable_seq(bench.log);
        wal_base_t base = s_base_at(&bench, WAL_SUPPORT_ORIGIN, last.last_seq);
        size_t count = 0;
        sim_disk_stop_at(bench.sim, stop);
        (void)wal_log_truncate(bench.log, last.last_seq, 0, &count, NULL);
        wal_log_close(&bench.log);
        sim_disk_crash(bench.sim, stop);
        wal_log_options_t options = wal_support_log_options(bench.disk, SEGMENT_SIZE_MIN);
        options.place.base = base;
        errbuf_t errbuf;
        assert_int_equal(wal_log_open(&options, wal_support_now(0), &bench.log, NULL, &errbuf),
                         ERR_OK);
        assert_int_equal(wal_log_durable_seq(bench.log), last_seq);
        assert_true(s_first_seq(&bench, WAL_SUPPORT_ORIGIN) <= last.last_seq + 1);
        s_check_readable(&bench, WAL_SUPPORT_ORIGIN, last_seq);
        s_close(&bench);
    }
}

/* A replica that truncated sets later damage aside and keeps what lies before it: its beginning is
 * the base's doing, and no damage. */
static void test_truncate_of_a_replica_outlives_damage_behind_it(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 5);
    uint64_t last_seq = wal_log_durable_seq(bench.log);
    buffer_t blocks;
    buffer_init(&blocks);
    wal_support_read_blocks(bench.disk, WAL_SUPPORT_ORIGIN, 1, last_seq, &blocks);
    wal_replica_t *replica = wal_support_open_replica(bench.disk, NULL);
    wal_offer_t offer;
    assert_int_equal(wal_replica_offer(replica, buffer_slice(&blocks), &offer, NULL), ERR_OK);
    assert_int_equal(wal_replica_flush(replica, NULL), ERR_OK);
    buffer_done(&blocks);
    const wal_segment_t *sealed = NULL;
    assert_true(wal_replica_sealed_segments_since(replica, 0, &sealed) > 6);
    wal_base_t base = s_base_at(&bench, WAL_SUPPORT_REPLICA, sealed[3].last_seq);
    uint64_t damaged_seq = sealed[5].first_seq;
    size_t count = 0;
    assert_int_equal(wal_replica_truncate(replica, &base, base.seq, 0, &count, NULL), ERR_OK);
    assert_int_equal(count, 4);
    uint64_t first_seq = s_first_seq(&bench, WAL_SUPPORT_REPLICA);
    wal_replica_report_t report;
    errbuf_t errbuf;
    assert_int_equal(
        wal_replica_set_aside(replica, damaged_seq, "a test", wal_support_now(0), &report, &errbuf),
        ERR_OK);
    assert_int_equal(s_first_seq(&bench, WAL_SUPPORT_REPLICA), first_seq);
    assert_true(wal_replica_durable_seq(replica) >= damaged_seq - 1);
    wal_replica_close(&replica);
    s_close(&bench);
}

/* -- joining ----------------------------------------------------------------------------------- */

static wal_replica_t *s_open_joining(const s_bench_t *bench, const wal_base_t *join)
{
    wal_replica_options_t options = {.place = wal_support_place(bench->disk, WAL_SUPPORT_REPLICA),
                                     .no_zero_fill = true};
    options.place.base = *join;
    wal_replica_t *replica = NULL;
    errbuf_t errbuf;
    assert_int_equal(wal_replica_open(&options, wal_support_now(0), &replica, NULL, &errbuf),
                     ERR_OK);
    return replica;
}

static void s_ship(const s_bench_t *bench, wal_replica_t *replica, uint64_t from_seq, uint64_t to)
{
    buffer_t blocks;
    buffer_init(&blocks);
    wal_support_read_blocks(bench->disk, WAL_SUPPORT_ORIGIN, from_seq, to, &blocks);
    wal_offer_t offer;
    assert_int_equal(wal_replica_offer(replica, buffer_slice(&blocks), &offer, NULL), ERR_OK);
    assert_int_equal(wal_replica_flush(replica, NULL), ERR_OK);
    buffer_done(&blocks);
}

/* All files of the replica are the origin's, byte for byte, from this event on. */
static void s_check_same_files(const s_bench_t *bench, uint64_t first_seq)
{
    wal_segment_list_t files;
    s_files(bench, WAL_SUPPORT_REPLICA, &files);
    assert_true(files.count > 1);
    assert_int_equal(files.items[0].first_seq, first_seq);
    for (size_t i = 0; i < files.count; i++) {
        buffer_t ours = {0};
        buffer_t theirs = {0};
        uint64_t seq = files.items[i].first_seq;
        wal_support_get_file(bench->sim, wal_support_segment(WAL_SUPPORT_REPLICA, seq), &ours);
        wal_support_get_file(bench->sim, wal_support_segment(WAL_SUPPORT_ORIGIN, seq), &theirs);
        assert_true(slice_equal(buffer_slice(&ours), buffer_slice(&theirs)));
        buffer_done(&ours);
        buffer_done(&theirs);
    }
    wal_segment_list_done(&files);
}

/* A replica without files begins behind the join, takes what follows, refuses what does not, and is
 * found so by the next open. */
static void test_truncate_replica_without_files_begins_at_the_join(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 6);
    uint64_t last_seq = wal_log_durable_seq(bench.log);
    const wal_segment_t *sealed = NULL;
    assert_true(wal_log_sealed_segments_since(bench.log, 0, &sealed) > 6);
    wal_base_t join = s_base_at(&bench, WAL_SUPPORT_ORIGIN, sealed[2].last_seq);
    uint64_t first_seq = sealed[3].first_seq;
    wal_replica_t *replica = s_open_joining(&bench, &join);
    assert_int_equal(wal_replica_durable_seq(replica), join.seq);
    wal_hash_t hash = wal_replica_last_hash(replica);
    assert_memory_equal(&hash, &join.hash, sizeof(hash));
    s_ship(&bench, replica, first_seq, sealed[5].last_seq);
    wal_replica_close(&replica);
    replica = s_open_joining(&bench, &join);
    assert_int_equal(wal_replica_durable_seq(replica), sealed[5].last_seq);
    s_ship(&bench, replica, sealed[5].last_seq + 1, last_seq);
    s_check_same_files(&bench, first_seq);
    wal_replica_close(&replica);
    /* Another history before the join is refused. */
    sim_disk_wipe(bench.sim, WAL_SUPPORT_REPLICA);
    join.hash.bytes[0] ^= 1;
    replica = s_open_joining(&bench, &join);
    buffer_t blocks;
    buffer_init(&blocks);
    wal_support_read_blocks(bench.disk, WAL_SUPPORT_ORIGIN, first_seq, last_seq, &blocks);
    wal_offer_t offer;
    errbuf_t errbuf;
    assert_int_equal(wal_replica_offer(replica, buffer_slice(&blocks), &offer, &errbuf),
                     ERR_CONFLICT);
    buffer_done(&blocks);
    wal_replica_close(&replica);
    s_close(&bench);
}

/* Goal: files that end before the join go, at whatever moment the power does. Method: power goes at
 * the n-th change of a rebase; then the replica is opened with the base, and takes the rest. */
static void test_truncate_replica_that_ends_before_the_join_begins_there(void **state)
{
    (void)state;
    for (uint64_t stop = 0; stop < 8; stop++) {
        s_bench_t bench;
        s_open(&bench, 20 + stop);
        uint64_t last_seq = wal_log_durable_seq(bench.log);
        const wal_segment_t *sealed = NULL;
        assert_true(wal_log_sealed_segments_since(bench.log, 0, &sealed) > 6);
        wal_base_t none = {.seq = 0};
        wal_base_t join = s_base_at(&bench, WAL_SUPPORT_ORIGIN, sealed[4].last_seq);
        wal_replica_t *replica = s_open_joining(&bench, &none);
        s_ship(&bench, replica, 1, sealed[3].last_seq);
        bool joined = false;
        errbuf_t errbuf;
        wal_base_t held = s_base_at(&bench, WAL_SUPPORT_ORIGIN, sealed[1].last_seq);
        assert_int_equal(wal_replica_rebase(replica, &held, wal_support_now(0), &joined, &errbuf),
                         ERR_OK);
        assert_false(joined); /* what is held goes on behind that one */
        sim_disk_stop_at(bench.sim, stop);
        err_t err = wal_replica_rebase(replica, &join, wal_support_now(0), &joined, &errbuf);
        wal_replica_close(&replica);
        assert_true(err == ERR_OK || stop > 0);
        wal_log_close(&bench.log);
        sim_disk_crash(bench.sim, stop);
        replica = s_open_joining(&bench, &join);
        assert_int_equal(wal_replica_durable_seq(replica), join.seq);
        s_ship(&bench, replica, join.seq + 1, last_seq);
        s_check_same_files(&bench, join.seq + 1);
        wal_replica_close(&replica);
        sim_disk_destroy(&bench.sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncate_only_below_the_floor),
        cmocka_unit_test(test_truncate_keeps_what_is_retained),
        cmocka_unit_test(test_truncate_power_cut_leaves_a_whole_log),
        cmocka_unit_test(test_truncate_of_a_replica_outlives_damage_behind_it),
        cmocka_unit_test(test_truncate_replica_without_files_begins_at_the_join),
        cmocka_unit_test(test_truncate_replica_that_ends_before_the_join_begins_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
