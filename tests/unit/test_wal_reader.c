/* The cursor over a stream's files while their writer appends. */
#include "common/wal/wal_reader.h"

#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct {
    sim_disk_t *sim;
    const disk_t *disk;
    wal_log_t *log;
    wal_reader_t *reader; /* of a test that wants one */
    prng_t prng;
    buffer_t out;
    errbuf_t errbuf;
} fixture_t;

static int s_set_up(void **state)
{
    fixture_t *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->sim = sim_disk_new(1);
    f->disk = sim_disk_disk(f->sim);
    f->log = wal_support_open_log(f->disk, SEGMENT_SIZE_MIN);
    prng_init(&f->prng, 21);
    buffer_init(&f->out);
    *state = f;
    return 0;
}

static int s_tear_down(void **state)
{
    fixture_t *f = *state;
    wal_reader_destroy(&f->reader);
    wal_reader_destroy(&f->reader);
    wal_log_close(&f->log);
    sim_disk_destroy(&f->sim);
    buffer_done(&f->out);
    free(f);
    return 0;
}

static void s_read_from(fixture_t *f, uint64_t seq)
{
    wal_reader_destroy(&f->reader);
    f->reader = wal_support_reader(f->disk, WAL_SUPPORT_ORIGIN, seq);
}

static err_t s_next_blocks(fixture_t *f,
                           uint64_t through_seq,
                           size_t size_max,
                           wal_range_t *ret_range)
{
    return wal_reader_next_blocks(f->reader, through_seq, size_max, &f->out, ret_range, &f->errbuf);
}

/* All segment files end to end: what a reader from 1 gives. */
static void s_all_files(fixture_t *f, buffer_t *ret_bytes)
{
    wal_segment_list_t files = {NULL, 0, 0};
    buffer_init(ret_bytes);
    assert_int_equal(wal_files_list_segments(f->disk, WAL_SUPPORT_ORIGIN, &files, NULL, NULL),
                     ERR_OK);
    for (size_t i = 0; i < files.count; i++) {
        const uint8_t *bytes = NULL;
        uint64_t size = 0;
        assert_int_equal(
            sim_disk_peek(f->sim, wal_support_segment(WAL_SUPPORT_ORIGIN, files.items[i].first_seq),
                          &bytes, &size),
            ERR_OK);
        buffer_append(ret_bytes, bytes, (size_t)size);
    }
    wal_segment_list_done(&files);
}

static uint64_t s_last_segment(const fixture_t *f)
{
    const wal_segment_t *first = NULL;
    const size_t count = wal_log_sealed_segments_since(f->log, 0, &first);
    return count == 0 ? 1 : first[count - 1].last_seq + 1;
}

/* Goal: a stream without files, or one that begins behind what is wanted, says so; before anything
 * is announced nothing is looked for. */
static void test_reader_without_files_finds_nothing(void **state)
{
    fixture_t *f = *state;
    wal_range_t range;
    s_read_from(f, 1);
    assert_int_equal(s_next_blocks(f, 0, 1000, &range), ERR_END);
    assert_int_equal(sim_disk_stats(f->sim).read_count, 0);
    assert_int_equal(s_next_blocks(f, 5, 1000, &range), ERR_NOT_FOUND);
    wal_support_write(f->log, &f->prng, 30, 20);
    assert_int_equal(
        f->disk->unlink(f->disk->context, wal_support_segment(WAL_SUPPORT_ORIGIN, 1), NULL),
        ERR_OK);
    assert_int_equal(s_next_blocks(f, 5, 1000, &range), ERR_NOT_FOUND);
    assert_non_null(strstr(f->errbuf.text, "snapshots"));
}

/* Goal: blocks come as they lie in the files: header, batches, footer, header, and so on. */
static void test_reader_from_the_start_gives_the_files_byte_by_byte(void **state)
{
    fixture_t *f = *state;
    buffer_t files;
    wal_support_write(f->log, &f->prng, 50, 20);
    s_all_files(f, &files);
    wal_support_read_blocks(f->disk, WAL_SUPPORT_ORIGIN, 1, wal_log_durable_seq(f->log), &f->out);
    assert_true(slice_equal(buffer_slice(&f->out), buffer_slice(&files)));
    buffer_done(&files);
}

/* Goal: the size is a bound, but for one batch; every call gives whole batches that follow. */
static void test_reader_next_blocks_keeps_to_the_size(void **state)
{
    fixture_t *f = *state;
    wal_support_write(f->log, &f->prng, 50, 20);
    static const size_t s_sizes[] = {0, 1, 700, 1500, 100000};
    for (size_t i = 0; i < sizeof(s_sizes) / sizeof(*s_sizes); i++) {
        wal_range_t range = {0, 0};
        uint64_t seq = 1;
        s_read_from(f, 1);
        buffer_clear(&f->out);
        while (s_next_blocks(f, wal_log_durable_seq(f->log), s_sizes[i], &range) == ERR_OK) {
            const size_t one_batch = WAL_SEGMENT_HEADER_SIZE + WAL_FOOTER_SIZE + 1000;
            assert_true(range.first_seq == seq && range.last_seq >= seq);
            assert_true(f->out.size <= s_sizes[i] || f->out.size <= one_batch);
            seq = range.last_seq + 1;
            buffer_clear(&f->out);
        }
        assert_true(seq == wal_log_durable_seq(f->log) + 1);
    }
}

/* Goal: nothing behind the announced seq is given, nor even looked at. Method: what lies there is
 * garbage until it is announced. */
static void test_reader_never_looks_behind_what_was_announced(void **state)
{
    fixture_t *f = *state;
    wal_range_t range;
    buffer_t whole;
    wal_support_write(f->log, &f->prng, 3, 5);
    const uint64_t seq = wal_log_durable_seq(f->log);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    const char *path = wal_support_segment(WAL_SUPPORT_ORIGIN, 1);
    assert_int_equal(sim_disk_peek(f->sim, path, &bytes, &size), ERR_OK);
    wal_support_write(f->log, &f->prng, 2, 5);
    wal_support_get_file(f->sim, path, &whole);
    for (size_t cut = (size_t)size; cut <= whole.size; cut++) {
        /* up to `cut` as it will be, the rest as a write under way may leave it */
        buffer_t partial;
        buffer_init(&partial);
        buffer_append(&partial, whole.data, whole.size);
        memset(partial.data + cut, 0xa5, whole.size - cut);
        sim_disk_put(f->sim, path, partial.data, partial.size);
        s_read_from(f, 1);
        buffer_clear(&f->out);
        assert_int_equal(s_next_blocks(f, seq, 100000, &range), ERR_OK);
        assert_true(range.last_seq == seq && f->out.size == size);
        assert_int_equal(s_next_blocks(f, seq, 100000, &range), ERR_END);
        sim_disk_put(f->sim, path, whole.data, whole.size);
        assert_int_equal(s_next_blocks(f, wal_log_durable_seq(f->log), 100000, &range), ERR_OK);
        assert_true(range.first_seq == seq + 1 && range.last_seq == wal_log_durable_seq(f->log));
        assert_true(slice_equal(buffer_slice(&f->out), buffer_slice(&whole)));
        buffer_done(&partial);
    }
    buffer_done(&whole);
}

/* Goal: bytes that were read before they were announced are read again, batch after batch, also
 * where the reader never catches up in between. */
static void test_reader_reads_again_what_was_not_final(void **state)
{
    fixture_t *f = *state;
    wal_batch_t batch;
    buffer_t whole;
    wal_support_write(f->log, &f->prng, 8, 5);
    const char *path = wal_support_segment(WAL_SUPPORT_ORIGIN, 1);
    wal_support_get_file(f->sim, path, &whole);
    s_read_from(f, 1);
    size_t offset = WAL_SEGMENT_HEADER_SIZE;
    for (int i = 0; i < 8; i++) {
        wal_block_t block;
        buffer_t partial;
        const slice_t rest = slice_make(whole.data + offset, whole.size - offset);
        assert_int_equal(wal_decode_block(rest, &block, NULL), ERR_OK);
        offset += block.size;
        buffer_init(&partial);
        buffer_append(&partial, whole.data, whole.size);
        memset(partial.data + offset, 0xa5, whole.size - offset);
        sim_disk_put(f->sim, path, partial.data, partial.size);
        assert_int_equal(wal_reader_next_batch(f->reader, wal_batch_last_seq(&block.as.batch),
                                               &batch, &f->errbuf),
                         ERR_OK);
        assert_true(batch.first_seq == block.as.batch.first_seq);
        buffer_done(&partial);
    }
    buffer_done(&whole);
}

/* Goal: an announcement that ends inside a batch waits for the whole one. */
static void test_reader_waits_for_a_whole_batch(void **state)
{
    fixture_t *f = *state;
    wal_range_t range;
    wal_batch_t batch;
    buffer_t payload;
    buffer_init(&payload);
    wal_support_fill(&f->prng, 10, &payload, &batch);
    assert_int_equal(wal_log_append(f->log, &batch, wal_support_now(0), &f->errbuf), ERR_OK);
    wal_support_flush(f->log);
    s_read_from(f, 1);
    assert_int_equal(s_next_blocks(f, 9, 100000, &range), ERR_OK); /* the segment header */
    assert_true(range.first_seq == 1 && range.last_seq == 0);
    assert_int_equal(s_next_blocks(f, 9, 100000, &range), ERR_END);
    assert_int_equal(s_next_blocks(f, 10, 100000, &range), ERR_OK);
    assert_true(range.first_seq == 1 && range.last_seq == 10);
    buffer_done(&payload);
}

/* Goal: reading begins with the batch that holds the event, wherever in the stream it is; at a
 * segment's first batch its header comes along. */
static void test_reader_from_any_event_begins_with_its_batch(void **state)
{
    fixture_t *f = *state;
    wal_batch_t batch;
    wal_support_write(f->log, &f->prng, 40, 20);
    const uint64_t last = wal_log_durable_seq(f->log);
    for (uint64_t seq = 1; seq <= last; seq++) {
        wal_range_t range;
        wal_block_t block;
        s_read_from(f, seq);
        assert_int_equal(wal_reader_next_batch(f->reader, last, &batch, &f->errbuf), ERR_OK);
        assert_true(batch.first_seq <= seq && wal_batch_last_seq(&batch) >= seq);
        assert_true(wal_reader_next_seq(f->reader) == wal_batch_last_seq(&batch) + 1);
        s_read_from(f, seq);
        buffer_clear(&f->out);
        assert_int_equal(s_next_blocks(f, last, 0, &range), ERR_OK);
        assert_true(range.first_seq == batch.first_seq);
        assert_int_equal(wal_decode_block(buffer_slice(&f->out), &block, NULL), ERR_OK);
        assert_true(block.kind == WAL_BLOCK_BATCH ||
                    (block.kind == WAL_BLOCK_SEGMENT && block.as.segment.first_seq == seq));
    }
}

/* Goal: a reader may be ahead of the stream and gets what it asked for once it is there. */
static void test_reader_ahead_of_the_stream_waits(void **state)
{
    fixture_t *f = *state;
    wal_batch_t batch;
    wal_support_write(f->log, &f->prng, 10, 20);
    const uint64_t seq = wal_log_durable_seq(f->log);
    s_read_from(f, seq + 1);
    assert_int_equal(wal_reader_next_batch(f->reader, seq, &batch, &f->errbuf), ERR_END);
    wal_support_write(f->log, &f->prng, 10, 20);
    assert_int_equal(
        wal_reader_next_batch(f->reader, wal_log_durable_seq(f->log), &batch, &f->errbuf), ERR_OK);
    assert_true(batch.first_seq == seq + 1);
}

/* Goal: a segment sealed by the timer is heard of: its footer comes when all batches were read,
 * once. */
static void test_reader_caught_up_gives_a_late_footer_once(void **state)
{
    fixture_t *f = *state;
    wal_range_t range;
    wal_block_t block;
    wal_support_write(f->log, &f->prng, 3, 5);
    const uint64_t seq = wal_log_durable_seq(f->log);
    s_read_from(f, 1);
    assert_int_equal(s_next_blocks(f, seq, 100000, &range), ERR_OK);
    assert_int_equal(s_next_blocks(f, seq, 100000, &range), ERR_END);
    assert_int_equal(wal_log_seal(f->log, NULL), ERR_OK);
    buffer_clear(&f->out);
    assert_int_equal(s_next_blocks(f, seq, 100000, &range), ERR_OK);
    assert_true(range.first_seq == seq + 1 && range.last_seq == seq);
    assert_int_equal(wal_decode_block(buffer_slice(&f->out), &block, NULL), ERR_OK);
    assert_int_equal(block.kind, WAL_BLOCK_FOOTER);
    assert_int_equal(s_next_blocks(f, seq, 100000, &range), ERR_END);
    wal_support_write(f->log, &f->prng, 1, 5);
    assert_int_equal(s_next_blocks(f, seq + 1, 100000, &range), ERR_OK);
}

/* Goal: so it does for a reader that begins at the end, as after a restart. */
static void test_reader_that_begins_at_the_end_gives_the_footer(void **state)
{
    fixture_t *f = *state;
    wal_range_t range;
    wal_block_t block;
    wal_support_write(f->log, &f->prng, 40, 20);
    const uint64_t seq = wal_log_durable_seq(f->log);
    s_read_from(f, seq + 1);
    assert_int_equal(s_next_blocks(f, seq, 100000, &range), ERR_END);
    assert_int_equal(wal_log_seal(f->log, NULL), ERR_OK);
    assert_int_equal(s_next_blocks(f, seq, 100000, &range), ERR_OK);
    s_read_from(f, seq + 1);
    buffer_clear(&f->out);
    assert_int_equal(s_next_blocks(f, seq, 100000, &range), ERR_OK);
    assert_true(range.first_seq == seq + 1 && range.last_seq == seq);
    assert_int_equal(wal_decode_block(buffer_slice(&f->out), &block, NULL), ERR_OK);
    assert_int_equal(block.kind, WAL_BLOCK_FOOTER);
}

/* Reads with this byte changed: the error lies in the segment, and the reader stays there. */
static void s_expect_damage_found(fixture_t *f, const wal_segment_t *segment, uint64_t byte)
{
    const char *path = wal_support_segment(WAL_SUPPORT_ORIGIN, segment->first_seq);
    const uint64_t bit = 8 * byte + prng_below(&f->prng, 8);
    const uint64_t last = wal_log_durable_seq(f->log);
    err_t err = ERR_OK;
    wal_range_t range;
    assert_int_equal(sim_disk_flip_bit(f->sim, path, bit), ERR_OK);
    s_read_from(f, 1);
    while (err == ERR_OK) {
        buffer_clear(&f->out);
        err = s_next_blocks(f, last, 2000, &range);
    }
    assert_int_equal(err, ERR_CORRUPT);
    assert_in_range(wal_reader_next_seq(f->reader), segment->first_seq, segment->last_seq + 1);
    assert_int_equal(s_next_blocks(f, last, 2000, &range), err);
    assert_int_equal(sim_disk_flip_bit(f->sim, path, bit), ERR_OK);
}

/* Goal: a changed byte anywhere below the announcement is found where it lies, and what stands
 * before it is given. Method: every seventh byte of two files. */
static void test_reader_changed_byte_is_corrupt(void **state)
{
    fixture_t *f = *state;
    wal_support_write(f->log, &f->prng, 30, 20);
    const wal_segment_t *segments = NULL;
    const size_t count = wal_log_sealed_segments_since(f->log, 0, &segments);
    assert_true(count >= 2);
    for (size_t i = 0; i < 2; i++) {
        /* a footer's counts are covered by its root, which a reader does not compute */
        const uint64_t end = segments[i].size_bytes - WAL_FOOTER_SIZE + 24;
        for (uint64_t byte = 0; byte < end; byte += 7) {
            s_expect_damage_found(f, &segments[i], byte);
        }
    }
}

/* Goal: a file that is cut, emptied or replaced under the reader is noticed. */
static void test_reader_file_cut_or_replaced_under_it_is_corrupt(void **state)
{
    fixture_t *f = *state;
    wal_batch_t batch;
    wal_support_write(f->log, &f->prng, 6, 5);
    const uint64_t last = wal_log_durable_seq(f->log);
    buffer_t whole;
    const char *path = wal_support_segment(WAL_SUPPORT_ORIGIN, s_last_segment(f));
    wal_support_get_file(f->sim, path, &whole);
    for (size_t size = 0; size < whole.size; size += 13) {
        s_read_from(f, last);
        assert_int_equal(wal_reader_next_batch(f->reader, last, &batch, &f->errbuf), ERR_OK);
        wal_support_write(f->log, &f->prng, 1, 5);
        sim_disk_put(f->sim, path, whole.data, size);
        assert_int_equal(wal_reader_next_batch(f->reader, last + 1, &batch, &f->errbuf),
                         ERR_CORRUPT);
        wal_log_close(&f->log);
        sim_disk_put(f->sim, path, whole.data, whole.size);
        f->log = wal_support_open_log(f->disk, SEGMENT_SIZE_MIN);
        assert_true(wal_log_durable_seq(f->log) == last);
    }
    buffer_done(&whole);
}

/* Goal: a sealed segment without a successor, though more was announced, is damage. */
static void test_reader_missing_next_segment_is_corrupt(void **state)
{
    fixture_t *f = *state;
    err_t err = ERR_OK;
    wal_batch_t batch;
    wal_support_write(f->log, &f->prng, 30, 20);
    const uint64_t last = wal_log_durable_seq(f->log);
    const uint64_t missing = s_last_segment(f);
    s_read_from(f, 1);
    assert_int_equal(
        f->disk->unlink(f->disk->context, wal_support_segment(WAL_SUPPORT_ORIGIN, missing), NULL),
        ERR_OK);
    while (err == ERR_OK) {
        err = wal_reader_next_batch(f->reader, last, &batch, &f->errbuf);
    }
    assert_int_equal(err, ERR_CORRUPT);
    assert_true(wal_reader_next_seq(f->reader) == missing);
}

/* Goal: files of another stream under this folder are not read as this one's. */
static void test_reader_of_another_stream_is_corrupt(void **state)
{
    fixture_t *f = *state;
    wal_batch_t batch;
    wal_reader_options_t options = {.disk = f->disk,
                                    .folder = WAL_SUPPORT_ORIGIN,
                                    .stream = wal_support_stream(),
                                    .from_seq = 1};
    options.stream.incarnation++;
    wal_support_write(f->log, &f->prng, 3, 5);
    f->reader = wal_reader_new(&options);
    assert_int_equal(wal_reader_next_batch(f->reader, 3, &batch, &f->errbuf), ERR_CORRUPT);
    assert_non_null(strstr(f->errbuf.text, "another stream"));
}

/* Goal: a trusted reader saves the hashes and still sees that batches follow each other. */
static void test_reader_trusted_skips_hashes_and_keeps_the_chain(void **state)
{
    fixture_t *f = *state;
    wal_batch_t batch;
    const wal_reader_options_t options = {.disk = f->disk,
                                          .folder = WAL_SUPPORT_ORIGIN,
                                          .stream = wal_support_stream(),
                                          .from_seq = 1,
                                          .trusted = true};
    wal_support_write(f->log, &f->prng, 3, 5);
    const uint64_t last = wal_log_durable_seq(f->log);
    const char *path = wal_support_segment(WAL_SUPPORT_ORIGIN, 1);
    const uint64_t payload = WAL_SEGMENT_HEADER_SIZE + WAL_BATCH_HEADER_SIZE + 70;
    assert_int_equal(sim_disk_flip_bit(f->sim, path, 8 * payload), ERR_OK);
    f->reader = wal_reader_new(&options);
    assert_int_equal(wal_reader_next_batch(f->reader, last, &batch, &f->errbuf), ERR_OK);
    wal_reader_destroy(&f->reader);
    assert_int_equal(sim_disk_flip_bit(f->sim, path, UINT64_C(8) * (WAL_SEGMENT_HEADER_SIZE + 180)),
                     ERR_OK);
    f->reader = wal_reader_new(&options);
    assert_int_equal(wal_reader_next_batch(f->reader, last, &batch, &f->errbuf), ERR_OK);
    assert_int_equal(wal_reader_next_batch(f->reader, last, &batch, &f->errbuf), ERR_CORRUPT);
}

/* One random step of the writer, the announcer, or one of two readers. */
static void s_random_step(fixture_t *f, wal_reader_t *batches, uint64_t *announced_p)
{
    const uint64_t dice = prng_below(&f->prng, 10);
    wal_range_t range;
    wal_batch_t batch;
    err_t err = ERR_OK;
    if (dice < 4) {
        wal_support_write(f->log, &f->prng, 1, 40);
    } else if (dice == 4) {
        err = wal_log_seal(f->log, NULL);
    } else if (dice == 5) {
        *announced_p = wal_log_durable_seq(f->log);
    } else if (dice == 6) {
        err = wal_reader_next_batch(batches, *announced_p, &batch, &f->errbuf);
    } else {
        err = s_next_blocks(f, *announced_p, (size_t)prng_below(&f->prng, 5000), &range);
    }
    assert_true(err == ERR_OK || (err == ERR_END && dice > 5));
}

static void s_expect_follower_sees_all(fixture_t *f, uint64_t seed)
{
    uint64_t announced = 0;
    buffer_t files;
    wal_range_t range;
    wal_log_close(&f->log);
    sim_disk_destroy(&f->sim);
    f->sim = sim_disk_new(seed);
    f->disk = sim_disk_disk(f->sim);
    f->log = wal_support_open_log(f->disk, SEGMENT_SIZE_MIN + prng_below(&f->prng, 20000));
    wal_reader_t *batches = wal_support_reader(f->disk, WAL_SUPPORT_ORIGIN, 1);
    s_read_from(f, 1);
    buffer_clear(&f->out);
    for (int step = 0; step < 300; step++) {
        s_random_step(f, batches, &announced);
    }
    assert_int_equal(wal_log_seal(f->log, NULL), ERR_OK);
    while (s_next_blocks(f, wal_log_durable_seq(f->log), 1000, &range) == ERR_OK) {
    }
    s_all_files(f, &files);
    assert_true(slice_equal(buffer_slice(&f->out), buffer_slice(&files)));
    buffer_done(&files);
    wal_reader_destroy(&batches);
    wal_reader_destroy(&f->reader);
}

/* Goal: whatever the pace of writer and reader, what was read is what was written. Method: random
 * steps of both, random sizes, both ways of reading. */
static void test_reader_following_a_writer_misses_nothing(void **state)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        s_expect_follower_sees_all(*state, seed);
    }
}

#define READER_TEST(name) cmocka_unit_test_setup_teardown(name, s_set_up, s_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READER_TEST(test_reader_without_files_finds_nothing),
        READER_TEST(test_reader_from_the_start_gives_the_files_byte_by_byte),
        READER_TEST(test_reader_next_blocks_keeps_to_the_size),
        READER_TEST(test_reader_never_looks_behind_what_was_announced),
        READER_TEST(test_reader_reads_again_what_was_not_final),
        READER_TEST(test_reader_waits_for_a_whole_batch),
        READER_TEST(test_reader_from_any_event_begins_with_its_batch),
        READER_TEST(test_reader_ahead_of_the_stream_waits),
        READER_TEST(test_reader_caught_up_gives_a_late_footer_once),
        READER_TEST(test_reader_that_begins_at_the_end_gives_the_footer),
        READER_TEST(test_reader_changed_byte_is_corrupt),
        READER_TEST(test_reader_file_cut_or_replaced_under_it_is_corrupt),
        READER_TEST(test_reader_missing_next_segment_is_corrupt),
        READER_TEST(test_reader_of_another_stream_is_corrupt),
        READER_TEST(test_reader_trusted_skips_hashes_and_keeps_the_chain),
        READER_TEST(test_reader_following_a_writer_misses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
