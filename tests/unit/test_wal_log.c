/* The log at its origin: admission, numbering, groups, segments and their seals. */
#include "common/wal/wal_log.h"

#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct {
    sim_disk_t *sim;
    const disk_t *disk;
    wal_log_t *log;
    prng_t prng;
    buffer_t payload;
    errbuf_t errbuf;
} fixture_t;

static int s_set_up_with(void **state, uint64_t segment_size_bytes)
{
    fixture_t *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->sim = sim_disk_new(1);
    f->disk = sim_disk_disk(f->sim);
    f->log = wal_support_open_log(f->disk, segment_size_bytes);
    prng_init(&f->prng, 5);
    buffer_init(&f->payload);
    *state = f;
    return 0;
}

static int s_set_up(void **state)
{
    return s_set_up_with(state, 0);
}

static int s_set_up_small(void **state)
{
    return s_set_up_with(state, SEGMENT_SIZE_MIN);
}

static int s_tear_down(void **state)
{
    fixture_t *f = *state;
    wal_log_close(&f->log);
    wal_log_close(&f->log);
    sim_disk_destroy(&f->sim);
    buffer_done(&f->payload);
    free(f);
    return 0;
}

static err_t s_append(fixture_t *f, uint32_t events, int64_t ms)
{
    wal_batch_t batch;
    wal_support_fill(&f->prng, events, &f->payload, &batch);
    return wal_log_append(f->log, &batch, wal_support_now(ms), &f->errbuf);
}

static size_t s_sealed(const fixture_t *f)
{
    const wal_segment_t *first = NULL;
    return wal_log_sealed_segments_since(f->log, 0, &first);
}

/* Goal: a batch that no reader would take is refused and nothing happens. */
static void test_log_append_malformed_batch_is_refused(void **state)
{
    fixture_t *f = *state;
    wal_batch_t batch;
    wal_support_fill(&f->prng, 3, &f->payload, &batch);
    batch.event_count = 4;
    assert_int_equal(wal_log_append(f->log, &batch, wal_support_now(0), &f->errbuf), ERR_CORRUPT);
    batch.event_count = WAL_BATCH_COUNT_MAX + 1;
    assert_int_equal(wal_log_append(f->log, &batch, wal_support_now(0), &f->errbuf), ERR_TOO_LARGE);
    batch.event_count = 3;
    batch.payload.size = WAL_PAYLOAD_SIZE_MAX + 1;
    assert_int_equal(wal_log_append(f->log, &batch, wal_support_now(0), &f->errbuf), ERR_TOO_LARGE);
    batch.payload.size = 0;
    assert_int_equal(wal_log_append(f->log, &batch, wal_support_now(0), &f->errbuf), ERR_CORRUPT);
    batch.payload = buffer_slice(&f->payload);
    batch.has_producer = true;
    batch.producer.size = PRODUCER_SIZE_MAX + 1;
    assert_int_equal(wal_log_append(f->log, &batch, wal_support_now(0), &f->errbuf), ERR_TOO_LARGE);
    batch.producer.size = 0;
    assert_int_equal(wal_log_append(f->log, &batch, wal_support_now(0), &f->errbuf), ERR_CORRUPT);
    assert_true(wal_log_appended_seq(f->log) == 0);
    assert_int_equal(wal_log_flush(f->log, &f->errbuf), ERR_OK);
    assert_int_equal(sim_disk_stats(f->sim).change_count, 0);
}

/* Goal: options out of range open nothing. */
static void test_log_open_bad_options_are_refused(void **state)
{
    fixture_t *f = *state;
    wal_log_t *log = NULL;
    wal_log_options_t options = wal_support_log_options(f->disk, SEGMENT_SIZE_MIN - 1);
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, NULL), ERR_INVALID);
    options.segment_size_bytes = (uint64_t)SEGMENT_SIZE_MAX + 1;
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, NULL), ERR_INVALID);
    options.segment_size_bytes = 0;
    options.seal_idle_ns = -1;
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, NULL), ERR_INVALID);
    assert_null(log);
}

/* Goal: the group is bounded; what does not fit fits after a flush. */
static void test_log_append_full_group_asks_for_a_flush(void **state)
{
    fixture_t *f = *state;
    err_t err = ERR_OK;
    uint64_t seq = 0;
    for (int i = 0; i < 1000 && err == ERR_OK; i++) {
        seq = wal_log_appended_seq(f->log);
        err = s_append(f, 5000, 0);
    }
    assert_int_equal(err, ERR_FULL);
    assert_true(wal_log_appended_seq(f->log) == seq);
    wal_support_flush(f->log);
    assert_int_equal(s_append(f, 5000, 0), ERR_OK);
}

/* Goal: numbers follow each other, and a batch knows what was durable when it was written. */
static void test_log_append_numbers_events_and_chains_batches(void **state)
{
    fixture_t *f = *state;
    wal_batch_t first;
    wal_batch_t second;
    wal_batch_t third;
    buffer_t payload;
    buffer_init(&payload);
    wal_support_fill(&f->prng, 3, &payload, &first);
    assert_int_equal(wal_log_append(f->log, &first, wal_support_now(0), &f->errbuf), ERR_OK);
    wal_support_fill(&f->prng, 2, &payload, &second);
    assert_int_equal(wal_log_append(f->log, &second, wal_support_now(0), &f->errbuf), ERR_OK);
    assert_true(wal_log_appended_seq(f->log) == 5 && wal_log_durable_seq(f->log) == 0);
    wal_support_flush(f->log);
    assert_true(wal_log_appended_seq(f->log) == 5 && wal_log_durable_seq(f->log) == 5);
    wal_support_fill(&f->prng, 1, &payload, &third);
    assert_int_equal(wal_log_append(f->log, &third, wal_support_now(0), &f->errbuf), ERR_OK);
    assert_true(first.first_seq == 1 && second.first_seq == 4 && third.first_seq == 6);
    assert_true(first.synced_seq == 0 && second.synced_seq == 0 && third.synced_seq == 5);
    assert_memory_equal(second.previous_hash.bytes, first.hash.bytes, WAL_HASH_SIZE);
    assert_memory_equal(third.previous_hash.bytes, second.hash.bytes, WAL_HASH_SIZE);
    assert_true(stream_id_equal(third.stream, wal_support_stream()));
    const wal_hash_t durable = wal_log_last_hash(f->log);
    assert_memory_equal(durable.bytes, second.hash.bytes, WAL_HASH_SIZE);
    buffer_done(&payload);
}

/* Goal: group commit: any number of batches costs one write and one sync. */
static void test_log_flush_costs_one_write_and_one_sync(void **state)
{
    fixture_t *f = *state;
    wal_support_write(f->log, &f->prng, 1, 10); /* makes the segment */
    const sim_disk_stats_t before = sim_disk_stats(f->sim);
    for (int i = 0; i < 50; i++) {
        (void)wal_support_append(f->log, &f->prng, 10); /* its seq is the log's */
    }
    wal_support_flush(f->log);
    const sim_disk_stats_t after = sim_disk_stats(f->sim);
    assert_int_equal(after.write_count - before.write_count, 1);
    assert_int_equal(after.sync_count - before.sync_count, 1);
    assert_int_equal(after.change_count - before.change_count, 2);
    wal_support_flush(f->log);
    assert_int_equal(sim_disk_stats(f->sim).change_count, after.change_count);
}

/* Goal: the group can be applied from memory after the flush, batch by batch. */
static void test_log_group_get_gives_batches_until_the_next_append(void **state)
{
    fixture_t *f = *state;
    assert_int_equal(wal_log_group_count(f->log), 0);
    uint64_t seq = 1;
    for (int i = 0; i < 5; i++) {
        (void)wal_support_append(f->log, &f->prng, 10); /* its seq is the log's */
    }
    wal_support_flush(f->log);
    assert_int_equal(wal_log_group_count(f->log), 5);
    for (size_t i = 0; i < 5; i++) {
        wal_batch_t batch;
        wal_log_group_get(f->log, i, &batch);
        assert_true(batch.first_seq == seq);
        seq = wal_batch_last_seq(&batch) + 1;
    }
    assert_true(seq == wal_log_durable_seq(f->log) + 1);
    (void)wal_support_append(f->log, &f->prng, 10); /* its seq is the log's */
    assert_int_equal(wal_log_group_count(f->log), 1);
}

/* Goal: a stream without events leaves nothing on the disk. */
static void test_log_without_events_creates_nothing(void **state)
{
    fixture_t *f = *state;
    bool sealed = true;
    assert_int_equal(wal_log_tick(f->log, wal_support_now(1000000), &sealed, &f->errbuf), ERR_OK);
    assert_false(sealed);
    assert_int_equal(wal_log_seal(f->log, &f->errbuf), ERR_OK);
    wal_log_close(&f->log);
    assert_int_equal(sim_disk_stats(f->sim).change_count, 0);
    f->log = wal_support_open_log(f->disk, 0);
    assert_int_equal(sim_disk_stats(f->sim).change_count, 0);
}

/* Goal: segments end before they exceed their size; each is sealed, chained and found. */
static void test_log_segments_roll_at_their_size(void **state)
{
    fixture_t *f = *state;
    wal_support_write(f->log, &f->prng, 60, 30);
    const wal_segment_t *segments = NULL;
    const size_t count = wal_log_sealed_segments_since(f->log, 0, &segments);
    assert_true(count > 3);
    for (size_t i = 0; i < count; i++) {
        assert_in_range(segments[i].size_bytes, WAL_SEGMENT_HEADER_SIZE + WAL_FOOTER_SIZE + 1,
                        SEGMENT_SIZE_MIN);
        assert_true(segments[i].first_seq == (i == 0 ? 1 : segments[i - 1].last_seq + 1));
    }
    const wal_segment_t *some = NULL;
    assert_int_equal(wal_log_sealed_segments_since(f->log, segments[1].last_seq, &some), count - 2);
    assert_true(some == &segments[2]);
    assert_int_equal(wal_log_sealed_segments_since(f->log, segments[1].last_seq - 1, &some),
                     count - 1);
    assert_int_equal(wal_log_sealed_segments_since(f->log, UINT64_MAX, &some), 0);
    assert_null(some);
    (void)wal_support_check_chain(f->disk, WAL_SUPPORT_ORIGIN, wal_log_durable_seq(f->log));
}

/* Goal: small groups make the file grow seldom, since room is made ahead; what is sealed has none
 * of it, and what is opened again is trimmed. */
static void test_log_small_groups_find_room_made_ahead(void **state)
{
    fixture_t *f = *state;
    const char *path = wal_support_segment(WAL_SUPPORT_ORIGIN, 1);
    wal_log_options_t options = wal_support_log_options(f->disk, 0);
    options.no_zero_fill = false;
    wal_log_close(&f->log);
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &f->log, NULL, NULL), ERR_OK);
    uint64_t size_before = 0;
    int grown = 0;
    for (int i = 0; i < 1000; i++) {
        const uint8_t *bytes = NULL;
        uint64_t size = 0;
        assert_int_equal(s_append(f, 1, 0), ERR_OK);
        wal_support_flush(f->log);
        assert_int_equal(sim_disk_peek(f->sim, path, &bytes, &size), ERR_OK);
        grown += size > size_before ? 1 : 0;
        size_before = size;
    }
    assert_in_range(grown, 5, 20);
    (void)wal_support_check_chain(f->disk, WAL_SUPPORT_ORIGIN, 1000);
    const wal_writer_stats_t stats = wal_log_stats(f->log);
    assert_true(size_before > stats.written_bytes);
    wal_log_close(&f->log);
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &f->log, NULL, NULL), ERR_OK);
    assert_true(wal_log_durable_seq(f->log) == 1000);
    assert_true(sim_disk_used_bytes(f->sim) == stats.written_bytes);
    assert_int_equal(s_append(f, 1, 0), ERR_OK);
    wal_support_flush(f->log);
    assert_true(sim_disk_used_bytes(f->sim) > stats.written_bytes + 10000);
    assert_int_equal(wal_log_seal(f->log, NULL), ERR_OK);
    const wal_segment_t *segment = NULL;
    assert_int_equal(wal_log_sealed_segments_since(f->log, 0, &segment), 1);
    assert_true(sim_disk_used_bytes(f->sim) == segment->size_bytes);
}

/* Goal: no room is made ahead on a disk that has little left. */
static void test_log_makes_no_room_ahead_on_a_crowded_disk(void **state)
{
    fixture_t *f = *state;
    wal_log_options_t options = wal_support_log_options(f->disk, 0);
    options.no_zero_fill = false;
    wal_log_close(&f->log);
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &f->log, NULL, NULL), ERR_OK);
    sim_disk_set_capacity(f->sim, UINT64_C(2) * WAL_DISK_RESERVE_SIZE);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(s_append(f, 1, 0), ERR_OK);
        wal_support_flush(f->log);
    }
    assert_int_equal(wal_log_stats(f->log).zeroed_bytes, 0);
}

/* Goal: a batch larger than a segment gets one of its own. */
static void test_log_batch_larger_than_a_segment_stands_alone(void **state)
{
    fixture_t *f = *state;
    assert_int_equal(s_append(f, 1, 0), ERR_OK);
    assert_int_equal(s_append(f, 2000, 0), ERR_OK);
    assert_int_equal(s_append(f, 1, 0), ERR_OK);
    wal_support_flush(f->log);
    const wal_segment_t *segments = NULL;
    assert_int_equal(wal_log_sealed_segments_since(f->log, 0, &segments), 2);
    assert_true(segments[1].first_seq == 2 && segments[1].last_seq == 2001);
    assert_true(segments[1].size_bytes > SEGMENT_SIZE_MIN);
    (void)wal_support_check_chain(f->disk, WAL_SUPPORT_ORIGIN, 2002);
}

/* Goal: one group may fill many segments. */
static void test_log_group_over_many_segments_is_durable_whole(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 100; i++) {
        (void)wal_support_append(f->log, &f->prng, 60); /* its seq is the log's */
    }
    wal_support_flush(f->log);
    assert_true(s_sealed(f) > 10);
    assert_int_equal(wal_log_group_count(f->log), 100);
    const uint64_t seq = wal_log_durable_seq(f->log);
    sim_disk_crash(f->sim, 1);
    wal_log_close(&f->log);
    f->log = wal_support_open_log(f->disk, SEGMENT_SIZE_MIN);
    assert_true(wal_log_durable_seq(f->log) == seq);
    (void)wal_support_check_chain(f->disk, WAL_SUPPORT_ORIGIN, seq);
}

/* Goal: a segment is sealed after 2 s without a batch, not a moment before, and once. */
static void test_log_tick_seals_after_two_idle_seconds(void **state)
{
    fixture_t *f = *state;
    bool sealed = true;
    assert_true(wal_log_deadline_ns(f->log) == INT64_MAX);
    assert_int_equal(s_append(f, 3, 100), ERR_OK);
    wal_support_flush(f->log);
    assert_true(wal_log_deadline_ns(f->log) == wal_support_now(2100).mono_ns);
    assert_int_equal(wal_log_tick(f->log, wal_support_now(2099), &sealed, &f->errbuf), ERR_OK);
    assert_false(sealed);
    assert_int_equal(wal_log_tick(f->log, wal_support_now(2100), &sealed, &f->errbuf), ERR_OK);
    assert_true(sealed);
    assert_int_equal(s_sealed(f), 1);
    assert_true(wal_log_deadline_ns(f->log) == INT64_MAX);
    assert_int_equal(wal_log_tick(f->log, wal_support_now(99999), &sealed, &f->errbuf), ERR_OK);
    assert_false(sealed);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    const wal_segment_t *segment = NULL;
    assert_int_equal(wal_log_sealed_segments_since(f->log, 0, &segment), 1);
    assert_int_equal(
        sim_disk_peek(f->sim, wal_support_segment(WAL_SUPPORT_ORIGIN, 1), &bytes, &size), ERR_OK);
    assert_true(size == segment->size_bytes);
}

/* Goal: under a steady trickle a segment is sealed 60 s after its first batch. */
static void test_log_tick_seals_after_a_minute_of_age(void **state)
{
    fixture_t *f = *state;
    bool sealed = false;
    int64_t ms = 500;
    for (; ms < 60500; ms += 1000) {
        assert_int_equal(s_append(f, 1, ms), ERR_OK);
        wal_support_flush(f->log);
        assert_int_equal(wal_log_tick(f->log, wal_support_now(ms), &sealed, &f->errbuf), ERR_OK);
        assert_false(sealed);
    }
    assert_false(wal_log_seal_due(f->log, wal_support_now(60499)));
    assert_true(wal_log_seal_due(f->log, wal_support_now(60500)));
    assert_int_equal(wal_log_tick(f->log, wal_support_now(60500), &sealed, &f->errbuf), ERR_OK);
    assert_true(sealed);
    assert_int_equal(s_append(f, 1, 60600), ERR_OK);
    wal_support_flush(f->log);
    assert_true(wal_log_deadline_ns(f->log) == wal_support_now(62600).mono_ns);
}

/* Goal: nothing is sealed in the middle of a group. */
static void test_log_tick_leaves_a_pending_group_alone(void **state)
{
    fixture_t *f = *state;
    bool sealed = true;
    assert_int_equal(s_append(f, 1, 0), ERR_OK);
    assert_int_equal(wal_log_tick(f->log, wal_support_now(5000), &sealed, &f->errbuf), ERR_OK);
    assert_false(sealed);
    wal_support_flush(f->log);
    assert_int_equal(wal_log_tick(f->log, wal_support_now(5000), &sealed, &f->errbuf), ERR_OK);
    assert_true(sealed);
}

/* Goal: a restart goes on in the open segment, or begins one behind a sealed one. */
static void test_log_reopen_continues_numbers_and_segment(void **state)
{
    fixture_t *f = *state;
    wal_support_write(f->log, &f->prng, 3, 10);
    const uint64_t seq = wal_log_durable_seq(f->log);
    const wal_hash_t hash = wal_log_last_hash(f->log);
    wal_log_close(&f->log);
    f->log = wal_support_open_log(f->disk, 0);
    assert_true(wal_log_durable_seq(f->log) == seq);
    const wal_hash_t found = wal_log_last_hash(f->log);
    assert_memory_equal(found.bytes, hash.bytes, WAL_HASH_SIZE);
    wal_support_write(f->log, &f->prng, 1, 10);
    assert_int_equal(s_sealed(f), 0);
    assert_int_equal(wal_log_seal(f->log, &f->errbuf), ERR_OK);
    wal_log_close(&f->log);
    f->log = wal_support_open_log(f->disk, 0);
    assert_int_equal(s_sealed(f), 1);
    const uint64_t sealed_seq = wal_log_durable_seq(f->log);
    wal_support_write(f->log, &f->prng, 1, 10);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(f->sim, wal_support_segment(WAL_SUPPORT_ORIGIN, sealed_seq + 1),
                                   &bytes, &size),
                     ERR_OK);
    (void)wal_support_check_chain(f->disk, WAL_SUPPORT_ORIGIN, wal_log_durable_seq(f->log));
}

/* Goal: without room a write is refused while the log is whole, and taken again when there is room.
 * Method: a disk that fills up, then grows. */
static void test_log_append_without_room_is_refused_and_resumes(void **state)
{
    fixture_t *f = *state;
    const uint64_t capacity = WAL_DISK_RESERVE_SIZE + UINT64_C(1000000);
    sim_disk_set_capacity(f->sim, capacity);
    err_t err = ERR_OK;
    for (int i = 0; i < 10000 && err == ERR_OK; i++) {
        err = s_append(f, 500, 0);
        wal_support_flush(f->log); /* never fails */
    }
    assert_int_equal(err, ERR_DISK_FULL);
    assert_non_null(strstr(f->errbuf.text, "make room"));
    assert_in_range(sim_disk_used_bytes(f->sim), 900000, 1000000);
    assert_false(wal_log_has_room(f->log, 10000));
    const uint64_t seq = wal_log_durable_seq(f->log);
    assert_int_equal(s_append(f, 500, 0), ERR_DISK_FULL);
    (void)wal_support_check_chain(f->disk, WAL_SUPPORT_ORIGIN, seq);
    sim_disk_set_capacity(f->sim, capacity + 1000000);
    assert_true(wal_log_has_room(f->log, 10000));
    assert_int_equal(s_append(f, 500, 0), ERR_OK);
    wal_support_flush(f->log);
    assert_true(wal_log_durable_seq(f->log) == seq + 500);
}

/* Goal: what somebody else writes is noticed with the next group, before the log is touched. Method: the
 * disk loses nearly all its room between two groups, each of a few bytes. */
static void test_log_append_notices_that_others_filled_the_disk(void **state)
{
    fixture_t *f = *state;
    assert_int_equal(s_append(f, 3, 0), ERR_OK);
    wal_support_flush(f->log);
    sim_disk_set_capacity(f->sim, sim_disk_used_bytes(f->sim) + 100);
    assert_int_equal(s_append(f, 3, 0), ERR_DISK_FULL);
    assert_int_equal(wal_log_appended_seq(f->log), 3);
    sim_disk_set_capacity(f->sim, UINT64_MAX);
    assert_int_equal(s_append(f, 3, 0), ERR_OK);
    wal_support_flush(f->log);
    assert_int_equal(wal_log_durable_seq(f->log), 6);
    bool sealed = false; /* the look for a seal is none for what comes an hour later */
    assert_int_equal(wal_log_tick(f->log, wal_support_now(3000), &sealed, &f->errbuf), ERR_OK);
    assert_true(sealed);
    sim_disk_set_capacity(f->sim, sim_disk_used_bytes(f->sim) + 100);
    assert_int_equal(s_append(f, 3, 0), ERR_DISK_FULL);
}

/* Goal: a group is admitted only with room for all of it. */
static void test_log_append_counts_the_pending_group_as_taken(void **state)
{
    fixture_t *f = *state;
    sim_disk_set_capacity(f->sim, WAL_DISK_RESERVE_SIZE + 200000);
    err_t err = ERR_OK;
    int count = 0;
    for (; count < 1000 && err == ERR_OK; count++) {
        err = s_append(f, 500, 0);
    }
    assert_int_equal(err, ERR_DISK_FULL);
    wal_support_flush(f->log);
    assert_in_range(sim_disk_used_bytes(f->sim), 150000, 200000);
}

/* Goal: a disk that others filled to the brim postpones the seal instead of ending the process. */
static void test_log_tick_without_room_postpones_the_seal(void **state)
{
    fixture_t *f = *state;
    bool sealed = true;
    assert_int_equal(s_append(f, 3, 0), ERR_OK);
    wal_support_flush(f->log);
    sim_disk_set_capacity(f->sim, sim_disk_used_bytes(f->sim));
    assert_int_equal(wal_log_tick(f->log, wal_support_now(3000), &sealed, &f->errbuf), ERR_OK);
    assert_false(sealed);
    assert_true(wal_log_deadline_ns(f->log) == wal_support_now(4000).mono_ns);
    sim_disk_set_capacity(f->sim, UINT64_MAX);
    assert_int_equal(wal_log_tick(f->log, wal_support_now(4000), &sealed, &f->errbuf), ERR_OK);
    assert_true(sealed);
}

/* Goal: the disk is asked for its free space once per group, not with every batch. */
static void test_log_has_room_asks_the_disk_once_per_group(void **state)
{
    fixture_t *f = *state;
    sim_disk_set_capacity(f->sim, UINT64_C(1) << 40);
    assert_int_equal(s_append(f, 1000, 0), ERR_OK);
    sim_disk_set_capacity(f->sim, 0); /* the answer of before still stands */
    assert_true(wal_log_has_room(f->log, 1000));
    assert_int_equal(s_append(f, 1000, 0), ERR_OK);
    sim_disk_set_capacity(f->sim, 1000000);
    wal_support_flush(f->log);
    assert_false(wal_log_has_room(f->log, 1000));
}

/* Goal: a failed write is final: no retry, no later success, nothing acknowledged by the numbers.
 */
static void test_log_flush_after_failed_write_stays_failed(void **state)
{
    fixture_t *f = *state;
    wal_support_write(f->log, &f->prng, 1, 10);
    const uint64_t seq = wal_log_durable_seq(f->log);
    assert_int_equal(s_append(f, 5, 0), ERR_OK);
    sim_disk_fail_write(f->sim, 1);
    assert_int_equal(wal_log_flush(f->log, &f->errbuf), ERR_IO);
    const uint64_t changes = sim_disk_stats(f->sim).change_count;
    assert_true(wal_log_durable_seq(f->log) == seq);
    assert_int_equal(wal_log_flush(f->log, &f->errbuf), ERR_IO);
    assert_int_equal(s_append(f, 5, 0), ERR_IO);
    assert_int_equal(wal_log_seal(f->log, &f->errbuf), ERR_IO);
    assert_int_equal(wal_log_tick(f->log, wal_support_now(99999), NULL, &f->errbuf), ERR_OK);
    assert_int_equal(sim_disk_stats(f->sim).change_count, changes);
}

/* Goal: the same for a failed sync, which must never be repeated. */
static void test_log_flush_after_failed_sync_stays_failed(void **state)
{
    fixture_t *f = *state;
    wal_support_write(f->log, &f->prng, 1, 10);
    assert_int_equal(s_append(f, 5, 0), ERR_OK);
    sim_disk_fail_sync(f->sim, 1);
    assert_int_equal(wal_log_flush(f->log, &f->errbuf), ERR_IO);
    const uint64_t syncs = sim_disk_stats(f->sim).sync_count;
    assert_int_equal(wal_log_flush(f->log, &f->errbuf), ERR_IO);
    assert_int_equal(sim_disk_stats(f->sim).sync_count, syncs);
}

#define LOG_TEST(name)       cmocka_unit_test_setup_teardown(name, s_set_up, s_tear_down)
#define LOG_TEST_SMALL(name) cmocka_unit_test_setup_teardown(name, s_set_up_small, s_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_log_append_malformed_batch_is_refused),
        LOG_TEST(test_log_open_bad_options_are_refused),
        LOG_TEST(test_log_append_full_group_asks_for_a_flush),
        LOG_TEST(test_log_append_numbers_events_and_chains_batches),
        LOG_TEST(test_log_flush_costs_one_write_and_one_sync),
        LOG_TEST(test_log_group_get_gives_batches_until_the_next_append),
        LOG_TEST(test_log_without_events_creates_nothing),
        LOG_TEST_SMALL(test_log_segments_roll_at_their_size),
        LOG_TEST(test_log_small_groups_find_room_made_ahead),
        LOG_TEST(test_log_makes_no_room_ahead_on_a_crowded_disk),
        LOG_TEST_SMALL(test_log_batch_larger_than_a_segment_stands_alone),
        LOG_TEST_SMALL(test_log_group_over_many_segments_is_durable_whole),
        LOG_TEST(test_log_tick_seals_after_two_idle_seconds),
        LOG_TEST(test_log_tick_seals_after_a_minute_of_age),
        LOG_TEST(test_log_tick_leaves_a_pending_group_alone),
        LOG_TEST(test_log_reopen_continues_numbers_and_segment),
        LOG_TEST(test_log_append_without_room_is_refused_and_resumes),
        LOG_TEST(test_log_append_counts_the_pending_group_as_taken),
        LOG_TEST(test_log_append_notices_that_others_filled_the_disk),
        LOG_TEST(test_log_tick_without_room_postpones_the_seal),
        LOG_TEST(test_log_has_room_asks_the_disk_once_per_group),
        LOG_TEST(test_log_flush_after_failed_write_stays_failed),
        LOG_TEST(test_log_flush_after_failed_sync_stays_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
