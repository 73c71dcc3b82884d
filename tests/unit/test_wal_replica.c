/* The copy of a stream: only what verifies and follows is kept, and it equals the origin's files.
 */
#include "common/wal/wal_replica.h"

#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BLOCKS_MAX = 512 };

typedef struct {
    sim_disk_t *sim; /* holds origin and replica */
    const disk_t *disk;
    prng_t prng;
    wal_log_t *log;
    wal_replica_t *replica;
    buffer_t blocks; /* the whole stream */
    slice_t block[BLOCKS_MAX];
    wal_block_kind_t kind[BLOCKS_MAX];
    uint64_t last_seq[BLOCKS_MAX]; /* of the stream behind this block */
    size_t block_count;
    wal_offer_t offer;
    errbuf_t errbuf;
} fixture_t;

static void s_survey(fixture_t *f)
{
    uint64_t seq = 0;
    buffer_clear(&f->blocks);
    f->block_count = 0;
    wal_support_read_blocks(f->disk, WAL_SUPPORT_ORIGIN, 1, wal_log_durable_seq(f->log),
                            &f->blocks);
    for (size_t offset = 0; offset < f->blocks.size;) {
        wal_block_t block;
        const slice_t rest = slice_make(f->blocks.data + offset, f->blocks.size - offset);
        assert_int_equal(wal_decode_block(rest, &block, NULL), ERR_OK);
        if (block.kind == WAL_BLOCK_BATCH) {
            seq = wal_batch_last_seq(&block.as.batch);
        }
        assert_true(f->block_count < BLOCKS_MAX);
        f->kind[f->block_count] = block.kind;
        f->last_seq[f->block_count] = seq;
        f->block[f->block_count++] = slice_make(rest.data, block.size);
        offset += block.size;
    }
}

static int s_set_up(void **state)
{
    fixture_t *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->sim = sim_disk_new(1);
    f->disk = sim_disk_disk(f->sim);
    prng_init(&f->prng, 31);
    buffer_init(&f->blocks);
    f->log = wal_support_open_log(f->disk, SEGMENT_SIZE_MIN);
    wal_support_write(f->log, &f->prng, 60, 20);
    s_survey(f);
    f->replica = wal_support_open_replica(f->disk, NULL);
    *state = f;
    return 0;
}

static int s_tear_down(void **state)
{
    fixture_t *f = *state;
    wal_replica_close(&f->replica);
    wal_replica_close(&f->replica);
    wal_log_close(&f->log);
    sim_disk_destroy(&f->sim);
    buffer_done(&f->blocks);
    free(f);
    return 0;
}

static err_t s_offer(fixture_t *f, slice_t blocks)
{
    return wal_replica_offer(f->replica, blocks, &f->offer, &f->errbuf);
}

static void s_flush(fixture_t *f)
{
    assert_int_equal(wal_replica_flush(f->replica, &f->errbuf), ERR_OK);
}

/* The blocks from i up to j, j excluded, as one slice. */
static slice_t s_run(const fixture_t *f, size_t i, size_t j)
{
    const uint8_t *end = j < f->block_count ? f->block[j].data : f->blocks.data + f->blocks.size;
    return slice_make(f->block[i].data, (size_t)(end - f->block[i].data));
}

static void s_offer_all(fixture_t *f)
{
    assert_int_equal(s_offer(f, buffer_slice(&f->blocks)), ERR_OK);
    s_flush(f);
}

/* Index of the n-th block of a kind. */
static size_t s_find(const fixture_t *f, wal_block_kind_t kind, size_t n)
{
    for (size_t i = 0; i < f->block_count; i++) {
        if (f->kind[i] == kind && n-- == 0) {
            return i;
        }
    }
    fail_msg("no such block");
    return 0;
}

/* Every segment of the replica equals the origin's; the last one as far as the replica has it. */
static void s_expect_equal_files(fixture_t *f)
{
    wal_segment_list_t files = {NULL, 0, 0};
    assert_int_equal(wal_files_list_segments(f->disk, WAL_SUPPORT_REPLICA, &files, NULL, NULL),
                     ERR_OK);
    assert_true(files.count > 0);
    for (size_t i = 0; i < files.count; i++) {
        const uint8_t *ours = NULL;
        const uint8_t *theirs = NULL;
        uint64_t our_size = 0;
        uint64_t their_size = 0;
        const uint64_t seq = files.items[i].first_seq;
        assert_int_equal(
            sim_disk_peek(f->sim, wal_support_segment(WAL_SUPPORT_REPLICA, seq), &ours, &our_size),
            ERR_OK);
        assert_int_equal(sim_disk_peek(f->sim, wal_support_segment(WAL_SUPPORT_ORIGIN, seq),
                                       &theirs, &their_size),
                         ERR_OK);
        assert_true(i + 1 == files.count ? our_size <= their_size : our_size == their_size);
        assert_memory_equal(ours, theirs, (size_t)our_size);
    }
    wal_segment_list_done(&files);
}

static void s_reopen(fixture_t *f, wal_replica_report_t *ret_report)
{
    wal_replica_close(&f->replica);
    f->replica = wal_support_open_replica(f->disk, ret_report);
}

/* -- refusals ---------------------------------------------------------------------------------- */

/* Goal: every byte of a segment header and of a batch's header, changed in flight, is refused
 * before anything is written; what stood before it is accepted; the same blocks unspoilt are taken.
 */
static void test_replica_changed_header_byte_in_flight_is_refused(void **state)
{
    fixture_t *f = *state;
    for (size_t i = 0; i < 2; i++) { /* the first header, the first batch */
        const size_t size = i == 0 ? WAL_SEGMENT_HEADER_SIZE : WAL_BATCH_HEADER_SIZE;
        for (size_t byte = 0; byte < size; byte++) {
            uint8_t *at = f->blocks.data + (f->block[i].data - f->blocks.data) + byte;
            *at ^= (uint8_t)(1U << prng_below(&f->prng, 8));
            const err_t err = s_offer(f, s_run(f, i, i + 1));
            assert_int_equal(err, ERR_CORRUPT);
            assert_int_equal(f->offer.taken_bytes, 0);
            assert_true(f->offer.position == 0);
            s_survey(f);
        }
        assert_int_equal(s_offer(f, s_run(f, i, i + 1)), ERR_OK);
    }
    s_offer_all(f);
    s_expect_equal_files(f);
}

/* Goal: so are a thousand random bits of payloads, and the state does not change. */
static void test_replica_changed_payload_bit_in_flight_is_refused(void **state)
{
    fixture_t *f = *state;
    const size_t target = s_find(f, WAL_BLOCK_BATCH, 3);
    const uint64_t changes = sim_disk_stats(f->sim).change_count;
    assert_int_equal(s_offer(f, s_run(f, 0, target)), ERR_OK);
    uint8_t *at = f->blocks.data + (f->block[target].data - f->blocks.data);
    for (int i = 0; i < 1000; i++) {
        const uint64_t bit =
            prng_below(&f->prng, 8 * (f->block[target].size - WAL_BATCH_HEADER_SIZE));
        at[WAL_BATCH_HEADER_SIZE + bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_equal(s_offer(f, s_run(f, target, target + 2)), ERR_CORRUPT);
        assert_true(wal_replica_appended_seq(f->replica) == f->last_seq[target - 1]);
        at[WAL_BATCH_HEADER_SIZE + bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    assert_int_equal(sim_disk_stats(f->sim).change_count, changes);
    s_offer_all(f);
    s_expect_equal_files(f);
}

/* Goal: an offer is taken up to the block that is bad, and not a block further. */
static void test_replica_offer_takes_the_valid_prefix(void **state)
{
    fixture_t *f = *state;
    const size_t bad = s_find(f, WAL_BLOCK_BATCH, 5);
    f->blocks.data[(f->block[bad].data - f->blocks.data) + 190] ^= 4;
    assert_int_equal(s_offer(f, buffer_slice(&f->blocks)), ERR_CORRUPT);
    assert_true(f->offer.position == f->last_seq[bad - 1]);
    assert_int_equal(f->offer.accepted_count, 5);
    assert_true(f->offer.accepted_events == f->last_seq[bad - 1]);
    assert_true(f->offer.taken_bytes == (size_t)(f->block[bad].data - f->blocks.data));
    assert_true(wal_replica_durable_seq(f->replica) == 0);
    s_flush(f);
    assert_true(wal_replica_durable_seq(f->replica) == f->last_seq[bad - 1]);
    s_expect_equal_files(f);
}

/* Goal: only whole blocks travel. */
static void test_replica_offer_cut_anywhere_is_corrupt(void **state)
{
    fixture_t *f = *state;
    const size_t i = s_find(f, WAL_BLOCK_BATCH, 1);
    assert_int_equal(s_offer(f, s_run(f, 0, i)), ERR_OK);
    for (size_t size = 1; size < f->block[i].size; size++) {
        assert_int_equal(s_offer(f, slice_make(f->block[i].data, size)), ERR_CORRUPT);
    }
    assert_int_equal(s_offer(f, slice_make(NULL, 0)), ERR_OK);
    assert_true(wal_replica_appended_seq(f->replica) == f->last_seq[i - 1]);
}

/* Goal: bounds of one offer and of what waits for a flush. */
static void test_replica_offer_beyond_the_bounds_is_refused(void **state)
{
    fixture_t *f = *state;
    const size_t size = INTERNAL_MESSAGE_SIZE_MAX;
    uint8_t *bytes = calloc(1, size + 1);
    assert_non_null(bytes);
    assert_int_equal(s_offer(f, slice_make(bytes, size + 1)), ERR_TOO_LARGE);
    assert_int_equal(s_offer(f, slice_make(bytes, size)), ERR_CORRUPT);
    assert_int_equal(s_offer(f, s_run(f, 0, 2)), ERR_OK);
    assert_true(wal_replica_pending(f->replica));
    free(bytes);
}

/* Goal: a full disk is noticed before anything is taken. */
static void test_replica_offer_without_room_is_refused(void **state)
{
    fixture_t *f = *state;
    sim_disk_set_capacity(f->sim, sim_disk_used_bytes(f->sim) + WAL_DISK_RESERVE_SIZE / 2);
    assert_int_equal(s_offer(f, buffer_slice(&f->blocks)), ERR_DISK_FULL);
    assert_int_equal(f->offer.taken_bytes, 0);
    sim_disk_set_capacity(f->sim, UINT64_MAX);
    s_offer_all(f);
    s_expect_equal_files(f);
}

/* Goal: what somebody else writes between two groups is noticed before anything is taken. */
static void test_replica_offer_notices_that_others_filled_the_disk(void **state)
{
    fixture_t *f = *state;
    assert_int_equal(s_offer(f, s_run(f, 0, 2)), ERR_OK);
    assert_int_equal(wal_replica_flush(f->replica, &f->errbuf), ERR_OK);
    sim_disk_set_capacity(f->sim, sim_disk_used_bytes(f->sim) + 100);
    assert_int_equal(s_offer(f, buffer_slice(&f->blocks)), ERR_DISK_FULL);
    assert_int_equal(f->offer.taken_bytes, 0);
    assert_int_equal(wal_replica_flush(f->replica, &f->errbuf), ERR_OK);
    sim_disk_set_capacity(f->sim, UINT64_MAX);
    s_offer_all(f);
    s_expect_equal_files(f);
}

/* Goal: blocks of other streams, and of other histories of this one, are refused. */
static void test_replica_block_of_another_stream_or_history_is_a_conflict(void **state)
{
    fixture_t *f = *state;
    sim_disk_t *other = sim_disk_new(2);
    buffer_t blocks;
    wal_log_t *log = wal_support_open_log(sim_disk_disk(other), 0);
    buffer_init(&blocks);
    wal_support_write(log, &f->prng, 5, 20);
    wal_support_read_blocks(sim_disk_disk(other), WAL_SUPPORT_ORIGIN, 1, wal_log_durable_seq(log),
                            &blocks);
    /* the same stream by name, with other events: its first batch is refused behind ours */
    assert_int_equal(s_offer(f, s_run(f, 0, 2)), ERR_OK);
    const uint64_t position = wal_replica_appended_seq(f->replica);
    assert_int_equal(s_offer(f, buffer_slice(&blocks)), ERR_CONFLICT);
    assert_true(wal_replica_appended_seq(f->replica) == position);
    wal_log_close(&log);
    buffer_clear(&blocks);
    wal_log_options_t options = wal_support_log_options(sim_disk_disk(other), 0);
    options.place.folder = "elsewhere";
    options.place.stream.incarnation++;
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, NULL), ERR_OK);
    wal_support_write(log, &f->prng, 1, 20);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(other, wal_support_segment("elsewhere", 1), &bytes, &size),
                     ERR_OK);
    assert_int_equal(s_offer(f, slice_make(bytes, (size_t)size)), ERR_CONFLICT);
    assert_int_equal(s_offer(f, slice_make(bytes + WAL_SEGMENT_HEADER_SIZE,
                                           (size_t)size - WAL_SEGMENT_HEADER_SIZE)),
                     ERR_CONFLICT);
    wal_log_close(&log);
    sim_disk_destroy(&other);
    buffer_done(&blocks);
    s_offer_all(f);
    s_expect_equal_files(f);
}

/* Goal: what follows by number and not by hash is another history, be it a batch or a header. */
static void test_replica_block_with_another_previous_hash_is_a_conflict(void **state)
{
    fixture_t *f = *state;
    wal_block_t block;
    buffer_t bytes;
    buffer_init(&bytes);
    assert_int_equal(s_offer(f, s_run(f, 0, 3)), ERR_OK);
    assert_int_equal(wal_decode_block(f->block[3], &block, NULL), ERR_OK);
    block.as.batch.previous_hash.bytes[5] ^= 1;
    wal_encode_batch(&block.as.batch, &bytes);
    assert_int_equal(s_offer(f, buffer_slice(&bytes)), ERR_CONFLICT);
    const size_t header = s_find(f, WAL_BLOCK_SEGMENT, 1);
    assert_int_equal(s_offer(f, s_run(f, 3, header)), ERR_OK);
    assert_int_equal(wal_decode_block(f->block[header], &block, NULL), ERR_OK);
    block.as.segment.previous_hash.bytes[5] ^= 1;
    buffer_clear(&bytes);
    wal_encode_segment_header(&block.as.segment, buffer_extend(&bytes, WAL_SEGMENT_HEADER_SIZE));
    assert_int_equal(s_offer(f, buffer_slice(&bytes)), ERR_CONFLICT);
    assert_true(wal_replica_appended_seq(f->replica) == f->last_seq[header - 1]);
    buffer_done(&bytes);
}

/* Goal: a batch that verifies and follows is refused when its records are wrong. */
static void test_replica_batch_with_malformed_records_is_refused(void **state)
{
    fixture_t *f = *state;
    buffer_t block;
    buffer_t payload;
    wal_block_t first;
    wal_batch_t batch;
    assert_int_equal(s_offer(f, s_run(f, 0, 1)), ERR_OK);
    assert_int_equal(wal_decode_block(f->block[1], &first, NULL), ERR_OK);
    buffer_init(&block);
    buffer_init(&payload);
    wal_support_fill(&f->prng, 4, &payload, &batch);
    batch.stream = wal_support_stream();
    batch.first_seq = 1;
    batch.segment_first_seq = 1;
    batch.event_count = 5;
    batch.previous_hash = first.as.batch.previous_hash;
    wal_encode_batch(&batch, &block);
    assert_int_equal(s_offer(f, buffer_slice(&block)), ERR_CORRUPT);
    buffer_clear(&block);
    batch.event_count = 4;
    payload.data[0] = 40; /* a record type of a later version */
    wal_encode_batch(&batch, &block);
    assert_int_equal(s_offer(f, buffer_slice(&block)), ERR_UNSUPPORTED);
    assert_true(wal_replica_appended_seq(f->replica) == 0);
    buffer_done(&block);
    buffer_done(&payload);
}

/* -- the same, out of order, overlapping, with gaps -------------------------------------------- */

/* Goal: what is held is skipped, however often it comes; nothing counts twice. */
static void test_replica_same_blocks_twice_change_nothing(void **state)
{
    fixture_t *f = *state;
    s_offer_all(f);
    const uint64_t changes = sim_disk_stats(f->sim).change_count;
    const uint64_t position = wal_replica_durable_seq(f->replica);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s_offer(f, buffer_slice(&f->blocks)), ERR_OK);
        assert_int_equal(f->offer.accepted_count, 0);
        assert_int_equal(f->offer.skipped_count, 60);
        s_flush(f);
    }
    for (size_t i = 0; i < f->block_count; i++) {
        assert_int_equal(s_offer(f, f->block[i]), ERR_OK);
    }
    s_flush(f);
    assert_int_equal(sim_disk_stats(f->sim).change_count, changes);
    assert_true(wal_replica_durable_seq(f->replica) == position);
    s_expect_equal_files(f);
}

/* Goal: with a batch left out nothing behind it is taken, and the position says what to ask for. */
static void test_replica_gap_names_the_position(void **state)
{
    fixture_t *f = *state;
    const size_t left_out = s_find(f, WAL_BLOCK_BATCH, 7);
    assert_int_equal(s_offer(f, s_run(f, 0, left_out)), ERR_OK);
    s_flush(f);
    for (size_t i = left_out + 1; i < f->block_count; i++) {
        assert_int_equal(s_offer(f, f->block[i]), ERR_GAP);
        assert_true(f->offer.position == f->last_seq[left_out - 1]);
    }
    s_offer_all(f);
    s_expect_equal_files(f);
}

/* Goal: blocks in the wrong order are taken as far as they follow; a second pass completes them. */
static void test_replica_blocks_out_of_order_end_up_complete(void **state)
{
    fixture_t *f = *state;
    size_t rounds = 0;
    while (wal_replica_durable_seq(f->replica) < f->last_seq[f->block_count - 1]) {
        for (size_t i = f->block_count; i > 0; i--) {
            const err_t err = s_offer(f, s_run(f, i - 1, i + 1 < f->block_count ? i + 1 : i));
            assert_true(err == ERR_OK || err == ERR_GAP);
        }
        s_flush(f);
        assert_true(++rounds <= f->block_count);
    }
    s_expect_equal_files(f);
}

/* Goal: a batch that begins within what is held and ends beyond it is another history. */
static void test_replica_overlapping_batch_is_a_conflict(void **state)
{
    fixture_t *f = *state;
    buffer_t block;
    buffer_t payload;
    wal_batch_t batch;
    buffer_init(&block);
    buffer_init(&payload);
    s_offer_all(f);
    const uint64_t position = wal_replica_durable_seq(f->replica);
    for (uint64_t first = position - 3; first <= position; first++) {
        wal_support_fill(&f->prng, 10, &payload, &batch);
        batch.stream = wal_support_stream();
        batch.first_seq = first;
        batch.segment_first_seq = 1;
        buffer_clear(&block);
        wal_encode_batch(&batch, &block);
        assert_int_equal(s_offer(f, buffer_slice(&block)), ERR_CONFLICT);
    }
    /* one that ends where we end, with another hash */
    wal_support_fill(&f->prng, 4, &payload, &batch);
    batch.stream = wal_support_stream();
    batch.first_seq = position - 3;
    batch.segment_first_seq = 1;
    buffer_clear(&block);
    wal_encode_batch(&batch, &block);
    assert_int_equal(s_offer(f, buffer_slice(&block)), ERR_CONFLICT);
    assert_true(wal_replica_appended_seq(f->replica) == position);
    buffer_done(&block);
    buffer_done(&payload);
}

/* Goal: a batch that begins a segment is not taken without that segment's header. */
static void test_replica_batch_without_its_header_asks_for_it(void **state)
{
    fixture_t *f = *state;
    const size_t header = s_find(f, WAL_BLOCK_SEGMENT, 1);
    assert_int_equal(s_offer(f, f->block[1]), ERR_GAP);
    assert_int_equal(s_offer(f, s_run(f, 0, header)), ERR_OK);
    assert_int_equal(s_offer(f, f->block[header + 1]), ERR_GAP);
    assert_true(f->offer.position == f->last_seq[header - 1]);
    /* and not while the segment before is still open */
    wal_replica_close(&f->replica);
    f->replica = wal_support_open_replica(f->disk, NULL);
    assert_int_equal(s_offer(f, s_run(f, 0, header - 1)), ERR_OK);
    assert_int_equal(s_offer(f, f->block[header + 1]), ERR_GAP);
    assert_true(f->offer.position == f->last_seq[header - 1]);
    assert_int_equal(s_offer(f, s_run(f, header, header + 2)), ERR_OK);
}

/* Goal: a footer that does not fit is refused, one that fits seals, and one that never comes is
 * made when the next header does. */
static void test_replica_footer_is_checked_or_made(void **state)
{
    fixture_t *f = *state;
    const size_t footer = s_find(f, WAL_BLOCK_FOOTER, 0);
    uint8_t spoilt[WAL_FOOTER_SIZE];
    const wal_segment_t *first = NULL;
    assert_int_equal(s_offer(f, s_run(f, 0, footer)), ERR_OK);
    for (size_t bit = 0; bit < (size_t)8 * WAL_FOOTER_SIZE; bit++) {
        memcpy(spoilt, f->block[footer].data, sizeof(spoilt));
        spoilt[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_not_equal(s_offer(f, slice_make(spoilt, sizeof(spoilt))), ERR_OK);
    }
    s_flush(f);
    assert_int_equal(wal_replica_sealed_segments_since(f->replica, 0, &first), 0);
    assert_int_equal(s_offer(f, f->block[footer]), ERR_OK);
    s_flush(f);
    assert_int_equal(wal_replica_sealed_segments_since(f->replica, 0, &first), 1);
    /* from here on without footers */
    for (size_t i = footer + 1; i < f->block_count; i++) {
        if (f->kind[i] != WAL_BLOCK_FOOTER) {
            assert_int_equal(s_offer(f, f->block[i]), ERR_OK);
        }
    }
    s_flush(f);
    assert_true(wal_replica_sealed_segments_since(f->replica, 0, &first) > 2);
    s_expect_equal_files(f);
}

/* -- sameness ---------------------------------------------------------------------------------- */

/* What the origin does in one step. */
static void s_origin_step(fixture_t *f, uint64_t dice, uint64_t segment_size_bytes)
{
    for (uint64_t i = 0; i < dice && i < 4; i++) {
        (void)wal_support_append(f->log, &f->prng, 100); /* its seq is the log's */
    }
    wal_support_flush(f->log);
    if (dice == 4) {
        assert_int_equal(wal_log_seal(f->log, NULL), ERR_OK);
    } else if (dice == 6) {
        wal_log_close(&f->log);
        f->log = wal_support_open_log(f->disk, segment_size_bytes);
    }
}

/* One message: the shipper begins where it believes the replica to be, sometimes wrongly. */
static void s_ship_step(fixture_t *f, buffer_t *message, bool lost)
{
    const uint64_t position = wal_replica_appended_seq(f->replica);
    const uint64_t from = 1 + position - prng_below(&f->prng, position / 4 + 1);
    const size_t size_max = (size_t)prng_below(&f->prng, 20000);
    wal_reader_t *reader = wal_support_reader(f->disk, WAL_SUPPORT_ORIGIN, from);
    wal_range_t range;
    buffer_clear(message);
    const err_t err = wal_reader_next_blocks(reader, wal_log_durable_seq(f->log), size_max, message,
                                             &range, NULL);
    wal_reader_destroy(&reader);
    if (err == ERR_OK && !lost) {
        assert_int_equal(s_offer(f, buffer_slice(message)), ERR_OK);
    }
}

static void s_run_both(fixture_t *f, uint64_t seed)
{
    buffer_t message;
    wal_replica_close(&f->replica);
    wal_log_close(&f->log);
    sim_disk_destroy(&f->sim);
    f->sim = sim_disk_new(seed);
    f->disk = sim_disk_disk(f->sim);
    const uint64_t segment_size_bytes = SEGMENT_SIZE_MIN + prng_below(&f->prng, 60000);
    f->log = wal_support_open_log(f->disk, segment_size_bytes);
    f->replica = wal_support_open_replica(f->disk, NULL);
    buffer_init(&message);
    for (int step = 0; step < 150; step++) {
        const uint64_t dice = prng_below(&f->prng, 12);
        s_origin_step(f, dice, segment_size_bytes);
        if (dice == 5) {
            s_reopen(f, NULL);
        }
        s_ship_step(f, &message, dice == 7);
        if (dice % 3 == 0) {
            s_flush(f);
        }
    }
    assert_int_equal(wal_log_seal(f->log, NULL), ERR_OK);
    buffer_clear(&message);
    wal_support_read_blocks(f->disk, WAL_SUPPORT_ORIGIN, wal_replica_appended_seq(f->replica) + 1,
                            wal_log_durable_seq(f->log), &message);
    assert_int_equal(s_offer(f, buffer_slice(&message)), ERR_OK);
    s_flush(f);
    buffer_done(&message);
}

/* Goal: the replica's files equal the origin's whatever the sizes of batches, groups, segments and
 * messages, with messages repeated and lost, and both sides restarted at will. */
static void test_replica_files_equal_the_origins(void **state)
{
    fixture_t *f = *state;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        s_run_both(f, seed);
        const uint64_t end = wal_log_durable_seq(f->log);
        assert_true(wal_replica_durable_seq(f->replica) == end);
        const wal_hash_t ours = wal_replica_last_hash(f->replica);
        const wal_hash_t theirs = wal_log_last_hash(f->log);
        assert_memory_equal(ours.bytes, theirs.bytes, WAL_HASH_SIZE);
        s_expect_equal_files(f);
        (void)wal_support_check_chain(f->disk, WAL_SUPPORT_REPLICA, end);
    }
}

/* -- damage ------------------------------------------------------------------------------------ */

static wal_quarantine_usage_t s_quarantine(fixture_t *f)
{
    wal_quarantine_usage_t usage;
    assert_int_equal(wal_quarantine_usage(f->disk, WAL_SUPPORT_REPLICA, &usage, NULL), ERR_OK);
    return usage;
}

/* Fetches again what is missing, and compares. */
static void s_heal(fixture_t *f)
{
    buffer_t blocks;
    buffer_init(&blocks);
    wal_support_read_blocks(f->disk, WAL_SUPPORT_ORIGIN, wal_replica_appended_seq(f->replica) + 1,
                            wal_log_durable_seq(f->log), &blocks);
    assert_int_equal(s_offer(f, buffer_slice(&blocks)), ERR_OK);
    s_flush(f);
    assert_true(wal_replica_durable_seq(f->replica) == wal_log_durable_seq(f->log));
    s_expect_equal_files(f);
    (void)wal_support_check_chain(f->disk, WAL_SUPPORT_REPLICA,
                                  wal_replica_durable_seq(f->replica));
    buffer_done(&blocks);
}

/* Goal: a torn tail, at any offset of the last batch, is cut and fetched again; nothing is set
 * aside. */
static void test_replica_open_torn_tail_is_cut(void **state)
{
    fixture_t *f = *state;
    s_offer_all(f);
    const size_t last = f->block_count - 1;
    assert_int_equal(f->kind[last], WAL_BLOCK_BATCH);
    const wal_segment_t *segments = NULL;
    const size_t count = wal_replica_sealed_segments_since(f->replica, 0, &segments);
    const uint64_t tail = segments[count - 1].last_seq + 1;
    buffer_t bytes;
    const char *path = wal_support_segment(WAL_SUPPORT_REPLICA, tail);
    wal_support_get_file(f->sim, path, &bytes);
    for (size_t cut = 1; cut <= f->block[last].size; cut++) {
        wal_replica_report_t report;
        wal_replica_close(&f->replica);
        path = wal_support_segment(WAL_SUPPORT_REPLICA, tail);
        sim_disk_put(f->sim, path, bytes.data, bytes.size - cut);
        f->replica = wal_support_open_replica(f->disk, &report);
        assert_true(wal_replica_durable_seq(f->replica) == f->last_seq[last - 1]);
        assert_true(report.cut_bytes == f->block[last].size - cut);
        assert_int_equal(report.set_aside_count, 0);
        s_heal(f);
    }
    assert_int_equal(s_quarantine(f).count, 0);
    buffer_done(&bytes);
}

static bool s_is_incomplete_after_open(fixture_t *f)
{
    wal_replica_report_t report;
    s_reopen(f, &report);
    assert_true(report.is_incomplete == wal_replica_is_incomplete(f->replica));
    return report.is_incomplete;
}

/* Goal: an end that was cut may have been durable, so the copy counts as incomplete until somebody
 * finds it whole, whatever restarts come in between. Method: a flipped bit in the last batch, which
 * looks like a torn tail; then damage before the end; and after each two restarts. */
static void test_replica_is_incomplete_until_it_is_settled(void **state)
{
    fixture_t *f = *state;
    s_offer_all(f);
    assert_false(s_is_incomplete_after_open(f));
    const wal_segment_t *segments = NULL;
    const size_t count = wal_replica_sealed_segments_since(f->replica, 0, &segments);
    const wal_segment_t first = segments[0];
    const uint64_t tail = segments[count - 1].last_seq + 1;
    buffer_t bytes;
    wal_support_get_file(f->sim, wal_support_segment(WAL_SUPPORT_REPLICA, tail), &bytes);
    const uint64_t last_byte = bytes.size - f->block[f->block_count - 1].size + 100;
    buffer_done(&bytes);
    for (int damage = 0; damage < 2; damage++) {
        const char *path =
            wal_support_segment(WAL_SUPPORT_REPLICA, damage == 0 ? tail : first.first_seq);
        assert_int_equal(sim_disk_flip_bit(f->sim, path, 8 * (damage == 0 ? last_byte : 100)),
                         ERR_OK);
        assert_true(s_is_incomplete_after_open(f));
        assert_true(s_is_incomplete_after_open(f));
        s_heal(f);
        assert_true(s_is_incomplete_after_open(f));
        assert_int_equal(wal_replica_settle(f->replica, NULL), ERR_OK);
        assert_false(wal_replica_is_incomplete(f->replica));
        assert_false(s_is_incomplete_after_open(f));
    }
}

/* Goal: damage that is no torn tail is set aside with the reason, and all segments behind it; what
 * is intact before it stays, and the rest is fetched again. */
static void test_replica_open_damaged_segment_is_set_aside(void **state)
{
    fixture_t *f = *state;
    s_offer_all(f);
    const wal_segment_t *sealed = NULL;
    const size_t count = wal_replica_sealed_segments_since(f->replica, 0, &sealed);
    assert_true(count > 3);
    for (size_t i = 0; i < count; i++) {
        wal_replica_report_t report;
        const wal_segment_t segment = sealed[i];
        const char *path = wal_support_segment(WAL_SUPPORT_REPLICA, segment.first_seq);
        const bool header = i % 2 == 0; /* else the footer: then all batches are intact */
        const uint64_t byte = header ? 100 : segment.size_bytes - WAL_FOOTER_SIZE + 8;
        assert_int_equal(sim_disk_flip_bit(f->sim, path, 8 * byte), ERR_OK);
        s_reopen(f, &report);
        assert_true(wal_replica_durable_seq(f->replica) ==
                    (header ? segment.first_seq - 1 : segment.last_seq));
        assert_int_equal(report.set_aside_count, count - i + 1);
        assert_non_null(strstr(report.reason.text, "offset"));
        s_heal(f);
        assert_int_equal(wal_replica_sealed_segments_since(f->replica, 0, &sealed), count);
    }
    assert_int_equal(s_quarantine(f).count, WAL_QUARANTINE_COUNT_MAX);
}

/* Goal: batches in front of the damage may have been confirmed: they stay, in the last segment as
 * in one that is sealed. Method: any batch of the last two segments is spoilt. */
static void test_replica_open_keeps_what_is_intact_before_the_damage(void **state)
{
    fixture_t *f = *state;
    for (size_t i = s_find(f, WAL_BLOCK_SEGMENT, 3); i < f->block_count; i++) {
        if (f->kind[i] != WAL_BLOCK_BATCH) {
            continue;
        }
        wal_block_t block;
        wal_replica_report_t report;
        assert_int_equal(wal_decode_block(f->block[i], &block, NULL), ERR_OK);
        s_offer_all(f);
        const uint64_t segment = block.as.batch.segment_first_seq;
        const char *path = wal_support_segment(WAL_SUPPORT_REPLICA, segment);
        size_t header = i;
        while (f->kind[header] != WAL_BLOCK_SEGMENT) {
            header--;
        }
        const uint64_t offset = (uint64_t)(f->block[i].data - f->block[header].data);
        wal_replica_close(&f->replica);
        assert_int_equal(sim_disk_flip_bit(f->sim, path, 8 * (offset + 200)), ERR_OK);
        const wal_replica_options_t options = {
            .place = wal_support_place(f->disk, WAL_SUPPORT_REPLICA), .verify_all = true};
        assert_int_equal(
            wal_replica_open(&options, wal_support_now(0), &f->replica, &report, &f->errbuf),
            ERR_OK);
        assert_true(wal_replica_durable_seq(f->replica) == block.as.batch.first_seq - 1);
        /* the very last batch of an open segment cannot be told from a torn one */
        assert_true(report.set_aside_count >= 1 || i + 1 == f->block_count);
        s_heal(f);
    }
}

/* Goal: a segment that is missing in the middle is treated as one that is damaged. */
static void test_replica_open_missing_segment_falls_back(void **state)
{
    fixture_t *f = *state;
    s_offer_all(f);
    wal_replica_report_t report;
    const wal_segment_t *sealed = NULL;
    const size_t count = wal_replica_sealed_segments_since(f->replica, 0, &sealed);
    const wal_segment_t missing = sealed[1];
    assert_int_equal(f->disk->unlink(f->disk->context,
                                     wal_support_segment(WAL_SUPPORT_REPLICA, missing.first_seq),
                                     NULL),
                     ERR_OK);
    s_reopen(f, &report);
    assert_true(wal_replica_durable_seq(f->replica) == missing.first_seq - 1);
    assert_int_equal(report.set_aside_count, count - 1);
    s_heal(f);
}

/* Goal: damage in an old payload, which only a reader meets, can be set aside while open. */
static void test_replica_set_aside_verifies_the_segment_and_falls_back(void **state)
{
    fixture_t *f = *state;
    wal_replica_report_t report;
    s_offer_all(f);
    const uint64_t end = wal_replica_durable_seq(f->replica);
    assert_int_equal(wal_replica_set_aside(f->replica, end + 1, "not held", wal_support_now(0),
                                           &report, &f->errbuf),
                     ERR_OK);
    assert_int_equal(report.set_aside_count, 0);
    assert_true(wal_replica_durable_seq(f->replica) == end);
    const wal_segment_t *sealed = NULL;
    assert_true(wal_replica_sealed_segments_since(f->replica, 0, &sealed) > 2);
    const wal_segment_t second = sealed[1];
    const uint64_t byte = WAL_SEGMENT_HEADER_SIZE + WAL_BATCH_HEADER_SIZE + 1;
    const char *path = wal_support_segment(WAL_SUPPORT_REPLICA, second.first_seq);
    assert_int_equal(sim_disk_flip_bit(f->sim, path, 8 * byte), ERR_OK);
    assert_int_equal(wal_replica_set_aside(f->replica, second.last_seq, "a reader found damage",
                                           wal_support_now(5), &report, &f->errbuf),
                     ERR_OK);
    assert_true(report.set_aside_count > 1);
    assert_true(wal_replica_durable_seq(f->replica) == second.first_seq - 1);
    s_heal(f);
    /* the segment that is still open, in which nothing is wrong */
    assert_int_equal(wal_replica_set_aside(f->replica, end, "a mistake", wal_support_now(5),
                                           &report, &f->errbuf),
                     ERR_OK);
    assert_int_equal(report.set_aside_count, 1);
    assert_true(wal_replica_durable_seq(f->replica) == end);
    s_heal(f);
}

/* Goal: no room for the copy of a damaged segment is no reason not to repair the stream. */
static void test_replica_open_damaged_without_room_is_repaired_all_the_same(void **state)
{
    fixture_t *f = *state;
    s_offer_all(f);
    const wal_segment_t *sealed = NULL;
    const size_t count = wal_replica_sealed_segments_since(f->replica, 0, &sealed);
    const wal_segment_t last = sealed[count - 1];
    const char *path = wal_support_segment(WAL_SUPPORT_REPLICA, last.first_seq);
    assert_int_equal(sim_disk_flip_bit(f->sim, path, 8 * (last.size_bytes - WAL_FOOTER_SIZE + 8)),
                     ERR_OK);
    sim_disk_set_capacity(f->sim, sim_disk_used_bytes(f->sim) + 1000);
    s_reopen(f, NULL);
    assert_true(wal_replica_durable_seq(f->replica) == last.last_seq);
    sim_disk_set_capacity(f->sim, UINT64_MAX);
    s_heal(f);
}

/* Goal: a file of a later version is not ours to move: the open is refused and nothing is changed.
 * Damage in the version field alone is damage. */
static void test_replica_open_later_version_is_refused(void **state)
{
    fixture_t *f = *state;
    s_offer_all(f);
    wal_replica_close(&f->replica);
    const char *path = wal_support_segment(WAL_SUPPORT_REPLICA, 1);
    assert_int_equal(sim_disk_flip_bit(f->sim, path, 8 * 3 + 1), ERR_OK); /* '1' becomes '3' */
    assert_int_equal(sim_disk_flip_bit(f->sim, path, 8 * 4 + 1), ERR_OK);
    sim_disk_t *before = sim_disk_clone(f->sim);
    const wal_replica_options_t options = {.place =
                                               wal_support_place(f->disk, WAL_SUPPORT_REPLICA)};
    assert_int_equal(wal_replica_open(&options, wal_support_now(0), &f->replica, NULL, &f->errbuf),
                     ERR_UNSUPPORTED);
    assert_true(sim_disk_equal(before, f->sim));
    sim_disk_destroy(&before);
    assert_int_equal(sim_disk_flip_bit(f->sim, path, 8 * 3 + 1), ERR_OK);
    wal_replica_report_t report;
    s_reopen(f, &report);
    assert_in_range(report.set_aside_count, 1, UINT32_MAX);
    s_heal(f);
}

/* Goal: quarantine is bounded in files and bytes, keeps the newest, and has a reason beside each.
 */
static void test_replica_quarantine_is_bounded_and_explained(void **state)
{
    fixture_t *f = *state;
    const wal_quarantine_limits_t limits = {3, 10000};
    const wal_segment_t *sealed = NULL;
    s_offer_all(f);
    const size_t count = wal_replica_sealed_segments_since(f->replica, 0, &sealed);
    assert_true(count >= 5);
    char newest[WAL_PATH_SIZE_MAX];
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(wal_quarantine_put(f->disk, WAL_SUPPORT_REPLICA, limits,
                                            sealed[i].first_seq, "the reason", &f->errbuf),
                         ERR_OK);
        const wal_quarantine_usage_t usage = s_quarantine(f);
        assert_true(usage.count <= 3 && usage.size_bytes <= 10000);
        (void)snprintf(newest, sizeof(newest), "%s/quarantine/%08zu-%020llu.seg",
                       WAL_SUPPORT_REPLICA, i, (unsigned long long)sealed[i].first_seq);
        const uint8_t *bytes = NULL;
        uint64_t size = 0;
        assert_int_equal(sim_disk_peek(f->sim, newest, &bytes, &size), ERR_OK);
        assert_true(size == sealed[i].size_bytes);
        (void)snprintf(newest + strlen(newest), sizeof(newest) - strlen(newest), ".reason");
        assert_int_equal(sim_disk_peek(f->sim, newest, &bytes, &size), ERR_OK);
        assert_int_equal(size, strlen("the reason\n"));
    }
    const wal_quarantine_limits_t tiny = {0, 1}; /* the newest stays even where it is too large */
    assert_int_equal(wal_quarantine_put(f->disk, WAL_SUPPORT_REPLICA, tiny,
                                        sealed[count - 1].first_seq, "", &f->errbuf),
                     ERR_OK);
    assert_int_equal(s_quarantine(f).count, 1);
    assert_int_equal(
        wal_quarantine_put(f->disk, WAL_SUPPORT_REPLICA, limits, 999999, "", &f->errbuf),
        ERR_NOT_FOUND);
}

#define REPLICA_TEST(name) cmocka_unit_test_setup_teardown(name, s_set_up, s_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPLICA_TEST(test_replica_changed_header_byte_in_flight_is_refused),
        REPLICA_TEST(test_replica_changed_payload_bit_in_flight_is_refused),
        REPLICA_TEST(test_replica_offer_takes_the_valid_prefix),
        REPLICA_TEST(test_replica_offer_cut_anywhere_is_corrupt),
        REPLICA_TEST(test_replica_offer_beyond_the_bounds_is_refused),
        REPLICA_TEST(test_replica_offer_without_room_is_refused),
        REPLICA_TEST(test_replica_offer_notices_that_others_filled_the_disk),
        REPLICA_TEST(test_replica_block_of_another_stream_or_history_is_a_conflict),
        REPLICA_TEST(test_replica_block_with_another_previous_hash_is_a_conflict),
        REPLICA_TEST(test_replica_batch_with_malformed_records_is_refused),
        REPLICA_TEST(test_replica_same_blocks_twice_change_nothing),
        REPLICA_TEST(test_replica_gap_names_the_position),
        REPLICA_TEST(test_replica_blocks_out_of_order_end_up_complete),
        REPLICA_TEST(test_replica_overlapping_batch_is_a_conflict),
        REPLICA_TEST(test_replica_batch_without_its_header_asks_for_it),
        REPLICA_TEST(test_replica_footer_is_checked_or_made),
        REPLICA_TEST(test_replica_files_equal_the_origins),
        REPLICA_TEST(test_replica_open_torn_tail_is_cut),
        REPLICA_TEST(test_replica_is_incomplete_until_it_is_settled),
        REPLICA_TEST(test_replica_open_damaged_segment_is_set_aside),
        REPLICA_TEST(test_replica_open_missing_segment_falls_back),
        REPLICA_TEST(test_replica_open_keeps_what_is_intact_before_the_damage),
        REPLICA_TEST(test_replica_set_aside_verifies_the_segment_and_falls_back),
        REPLICA_TEST(test_replica_open_damaged_without_room_is_repaired_all_the_same),
        REPLICA_TEST(test_replica_open_later_version_is_refused),
        REPLICA_TEST(test_replica_quarantine_is_bounded_and_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
