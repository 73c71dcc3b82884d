/* A node's own stream that was given to the receiver: the mark, and what lies in the folder. */
#include "common/wal/wal_handover.h"

#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static bool s_is_marked(const disk_t *disk)
{
    bool is_marked = false;
    errbuf_t errbuf = {{0}};
    assert_int_equal(wal_handover_find(disk, WAL_SUPPORT_ORIGIN, &is_marked, &errbuf), ERR_OK);
    return is_marked;
}

static err_t s_mark(const disk_t *disk)
{
    errbuf_t errbuf = {{0}};
    return wal_handover_mark(disk, WAL_SUPPORT_ORIGIN, &errbuf);
}

/* Goal: no folder, no mark; with the mark, in a folder that was made for it, there is one; twice is
 * once. */
static void test_handover_mark_is_found(void **state)
{
    (void)state;
    sim_disk_t *disk = sim_disk_new(1);
    const disk_t *seam = sim_disk_disk(disk);
    assert_false(s_is_marked(seam));
    assert_int_equal(s_mark(seam), ERR_OK);
    assert_true(s_is_marked(seam));
    assert_int_equal(s_mark(seam), ERR_OK);
    sim_disk_crash(disk, 2);
    assert_true(s_is_marked(seam));
    sim_disk_destroy(&disk);
}

/* Goal: a power cut in the middle leaves a mark or none, and the next try makes it; after it was
 * reported nothing takes it away. Method: power goes at each change in turn, ten seeds each. */
static void test_handover_power_cut_at_each_step_leaves_a_mark_or_none(void **state)
{
    (void)state;
    sim_disk_t *whole = sim_disk_new(1);
    assert_int_equal(s_mark(sim_disk_disk(whole)), ERR_OK);
    uint64_t change_count = sim_disk_stats(whole).change_count;
    sim_disk_destroy(&whole);
    for (uint64_t stop_at = 1; stop_at <= change_count + 1; stop_at++) {
        for (uint64_t seed = 1; seed <= 10; seed++) {
            sim_disk_t *disk = sim_disk_new(seed);
            const disk_t *seam = sim_disk_disk(disk);
            sim_disk_stop_at(disk, stop_at);
            bool is_done = s_mark(seam) == ERR_OK;
            sim_disk_crash(disk, seed);
            assert_true(!is_done || s_is_marked(seam));
            assert_int_equal(s_mark(seam), ERR_OK);
            sim_disk_crash(disk, seed + 100);
            assert_true(s_is_marked(seam));
            sim_disk_destroy(&disk);
        }
    }
    assert_true(change_count >= 5);
}

/* Goal: who sees the mark may believe it, though its maker died before its name was durable. Method:
 * the process dies at the last step and the power stays; it is looked for; then the power goes. */
static void test_handover_found_mark_outlives_a_power_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        sim_disk_t *disk = sim_disk_new(seed);
        const disk_t *seam = sim_disk_disk(disk);
        errbuf_t errbuf = {{0}};
        assert_int_equal(seam->make_folders(seam->context, WAL_SUPPORT_ORIGIN, &errbuf), ERR_OK);
        sim_disk_t *whole = sim_disk_clone(disk);
        assert_int_equal(s_mark(sim_disk_disk(whole)), ERR_OK);
        uint64_t steps = sim_disk_stats(whole).change_count;
        sim_disk_destroy(&whole);
        sim_disk_stop_at(disk, steps);
        assert_int_not_equal(s_mark(seam), ERR_OK);
        sim_disk_restart(disk);
        bool was_marked = s_is_marked(seam);
        sim_disk_crash(disk, seed);
        assert_int_equal(s_is_marked(seam), was_marked);
        sim_disk_destroy(&disk);
    }
}

/* Goal: the receiver goes on where the node's own log ends, room made ahead included, and the result
 * is the stream. Method: a log on one disk, all of it on another; a replica over the first takes the
 * rest from the second. */
static void test_handover_receiver_continues_the_nodes_log(void **state)
{
    (void)state;
    enum { S_BEFORE = 12, S_AFTER = 20 };
    sim_disk_t *node = sim_disk_new(1);
    prng_t prng;
    prng_init(&prng, 5);
    wal_log_options_t options = wal_support_log_options(sim_disk_disk(node), SEGMENT_SIZE_MIN);
    options.no_zero_fill = false;
    wal_log_t *log = NULL;
    errbuf_t errbuf = {{0}};
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf), ERR_OK);
    wal_support_write(log, &prng, S_BEFORE, 40);
    sim_disk_t *elsewhere = sim_disk_clone(node);
    uint64_t held_seq = wal_log_durable_seq(log);
    wal_log_close(&log);

    options.place.disk = sim_disk_disk(elsewhere);
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf), ERR_OK);
    wal_support_write(log, &prng, S_AFTER, 40);
    uint64_t last_seq = wal_log_durable_seq(log);
    wal_log_close(&log);

    assert_int_equal(s_mark(sim_disk_disk(node)), ERR_OK);
    wal_replica_options_t replica_options = {
        .place = wal_support_place(sim_disk_disk(node), WAL_SUPPORT_ORIGIN)};
    wal_replica_t *replica = NULL;
    assert_int_equal(
        wal_replica_open(&replica_options, wal_support_now(1), &replica, NULL, &errbuf), ERR_OK);
    assert_int_equal(wal_replica_durable_seq(replica), held_seq);
    buffer_t blocks;
    buffer_init(&blocks);
    wal_support_read_blocks(sim_disk_disk(elsewhere), WAL_SUPPORT_ORIGIN, held_seq + 1, last_seq,
                            &blocks);
    wal_offer_t offer;
    assert_int_equal(wal_replica_offer(replica, buffer_slice(&blocks), &offer, &errbuf), ERR_OK);
    assert_int_equal(wal_replica_flush(replica, &errbuf), ERR_OK);
    assert_int_equal(wal_replica_durable_seq(replica), last_seq);
    wal_replica_close(&replica);
    wal_hash_t here = wal_support_check_chain(sim_disk_disk(node), WAL_SUPPORT_ORIGIN, last_seq);
    wal_hash_t there =
        wal_support_check_chain(sim_disk_disk(elsewhere), WAL_SUPPORT_ORIGIN, last_seq);
    assert_memory_equal(here.bytes, there.bytes, WAL_HASH_SIZE);
    buffer_done(&blocks);
    sim_disk_destroy(&node);
    sim_disk_destroy(&elsewhere);
}

/* Goal: another history behind the same position is refused and overwrites nothing. Method: the last
 * batch differs on the two disks. */
static void test_handover_other_history_is_refused(void **state)
{
    (void)state;
    sim_disk_t *node = sim_disk_new(1);
    prng_t prng;
    prng_init(&prng, 5);
    wal_log_t *log = wal_support_open_log(sim_disk_disk(node), SEGMENT_SIZE_DEFAULT);
    wal_support_write(log, &prng, 3, 10);
    sim_disk_t *elsewhere = sim_disk_clone(node);
    buffer_t payload;
    buffer_init(&payload);
    wal_log_t *logs[2] = {log,
                          wal_support_open_log(sim_disk_disk(elsewhere), SEGMENT_SIZE_DEFAULT)};
    for (size_t i = 0; i < 2; i++) {
        wal_batch_t batch;
        errbuf_t errbuf = {{0}};
        prng_init(&prng, 70 + i);
        wal_support_fill(&prng, 4, &payload, &batch);
        assert_int_equal(wal_log_append(logs[i], &batch, wal_support_now(0), &errbuf), ERR_OK);
        wal_support_flush(logs[i]);
    }
    uint64_t held_seq = wal_log_durable_seq(logs[0]);
    wal_support_write(logs[1], &prng, 1, 10);
    uint64_t last_seq = wal_log_durable_seq(logs[1]);
    wal_log_close(&logs[0]);
    wal_log_close(&logs[1]);
    wal_replica_options_t options = {
        .place = wal_support_place(sim_disk_disk(node), WAL_SUPPORT_ORIGIN)};
    wal_replica_t *replica = NULL;
    errbuf_t errbuf = {{0}};
    assert_int_equal(wal_replica_open(&options, wal_support_now(1), &replica, NULL, &errbuf),
                     ERR_OK);
    buffer_clear(&payload);
    wal_support_read_blocks(sim_disk_disk(elsewhere), WAL_SUPPORT_ORIGIN, held_seq + 1, last_seq,
                            &payload);
    wal_offer_t offer;
    assert_int_equal(wal_replica_offer(replica, buffer_slice(&payload), &offer, &errbuf),
                     ERR_CONFLICT);
    assert_int_equal(wal_replica_appended_seq(replica), held_seq);
    wal_replica_close(&replica);
    buffer_done(&payload);
    sim_disk_destroy(&node);
    sim_disk_destroy(&elsewhere);
}

/* Goal: files that were removed under an open replica are missed. */
static void test_handover_removed_files_are_missed(void **state)
{
    (void)state;
    sim_disk_t *disk = sim_disk_new(1);
    prng_t prng;
    prng_init(&prng, 5);
    wal_log_t *log = wal_support_open_log(sim_disk_disk(disk), SEGMENT_SIZE_DEFAULT);
    wal_replica_t *replica = wal_support_open_replica(sim_disk_disk(disk), NULL);
    assert_true(wal_replica_is_there(replica));
    wal_support_write(log, &prng, 3, 10);
    buffer_t blocks;
    buffer_init(&blocks);
    wal_support_read_blocks(sim_disk_disk(disk), WAL_SUPPORT_ORIGIN, 1, wal_log_durable_seq(log),
                            &blocks);
    wal_offer_t offer;
    errbuf_t errbuf = {{0}};
    assert_int_equal(wal_replica_offer(replica, buffer_slice(&blocks), &offer, &errbuf), ERR_OK);
    assert_true(wal_replica_is_there(replica));
    assert_int_equal(wal_replica_flush(replica, &errbuf), ERR_OK);
    assert_true(wal_replica_is_there(replica));
    sim_disk_wipe(disk, WAL_SUPPORT_REPLICA);
    assert_false(wal_replica_is_there(replica));
    wal_replica_close(&replica);
    wal_log_close(&log);
    buffer_done(&blocks);
    sim_disk_destroy(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handover_mark_is_found),
        cmocka_unit_test(test_handover_power_cut_at_each_step_leaves_a_mark_or_none),
        cmocka_unit_test(test_handover_found_mark_outlives_a_power_cut),
        cmocka_unit_test(test_handover_receiver_continues_the_nodes_log),
        cmocka_unit_test(test_handover_other_history_is_refused),
        cmocka_unit_test(test_handover_removed_files_are_missed),
    };
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
