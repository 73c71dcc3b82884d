/* Recovery: a torn tail is cut at a batch boundary, damage is refused and left as it is.
 *
 * The fixture is a log of a few groups on a simulated disk, closed. Each test spoils its files in
 * one way and opens it again. */
#include "common/wal/wal_log.h"

#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BATCHES_MAX = 64 };

/* Where a batch of the last segment lies. */
typedef struct {
    uint64_t offset;
    uint64_t size;
    uint64_t first_seq;
    uint64_t last_seq;
} place_t;

typedef struct {
    sim_disk_t *sim;
    const disk_t *disk;
    prng_t prng;
    place_t places[BATCHES_MAX];
    size_t place_count;
    char path[WAL_PATH_SIZE_MAX]; /* of the last segment */
    buffer_t bytes;               /* of it, unspoilt */
    uint64_t last_seq;
} fixture_t;

/* Notes the last segment and its batches. */
static void s_survey(fixture_t *f)
{
    wal_segment_list_t files = {NULL, 0, 0};
    assert_int_equal(wal_files_list_segments(f->disk, WAL_SUPPORT_ORIGIN, &files, NULL, NULL),
                     ERR_OK);
    const uint64_t first_seq = files.items[files.count - 1].first_seq;
    wal_segment_list_done(&files);
    (void)snprintf(f->path, sizeof(f->path), "%s",
                   wal_support_segment(WAL_SUPPORT_ORIGIN, first_seq));
    buffer_done(&f->bytes);
    wal_support_get_file(f->sim, f->path, &f->bytes);
    f->place_count = 0;
    for (uint64_t offset = WAL_SEGMENT_HEADER_SIZE; offset < f->bytes.size;) {
        wal_block_t block;
        assert_int_equal(
            wal_decode_block(slice_make(f->bytes.data + offset, f->bytes.size - (size_t)offset),
                             &block, NULL),
            ERR_OK);
        if (block.kind == WAL_BLOCK_BATCH) {
            assert_true(f->place_count < BATCHES_MAX);
            f->places[f->place_count++] = (place_t){offset, block.size, block.as.batch.first_seq,
                                                    wal_batch_last_seq(&block.as.batch)};
            f->last_seq = wal_batch_last_seq(&block.as.batch);
        }
        offset += block.size;
    }
}

static fixture_t *s_fixture(void **state, uint64_t segment_size_bytes, uint32_t groups)
{
    fixture_t *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->sim = sim_disk_new(1);
    f->disk = sim_disk_disk(f->sim);
    prng_init(&f->prng, 11);
    wal_log_t *log = wal_support_open_log(f->disk, segment_size_bytes);
    wal_support_write(log, &f->prng, groups, 20);
    wal_log_close(&log);
    s_survey(f);
    *state = f;
    return f;
}

/* Six groups in one open segment. */
static int s_set_up(void **state)
{
    (void)s_fixture(state, 0, 6);
    return 0;
}

/* Several sealed segments and an open one. */
static int s_set_up_sealed(void **state)
{
    (void)s_fixture(state, SEGMENT_SIZE_MIN, 60);
    return 0;
}

static int s_tear_down(void **state)
{
    fixture_t *f = *state;
    sim_disk_destroy(&f->sim);
    buffer_done(&f->bytes);
    free(f);
    return 0;
}

static const place_t *s_last(const fixture_t *f)
{
    return &f->places[f->place_count - 1];
}

/* Opens, expects the stream to end at seq, writes on, and checks the whole chain. */
static void s_expect_recovery(fixture_t *f, uint64_t seq, uint64_t cut_bytes)
{
    const wal_log_options_t options = wal_support_log_options(f->disk, 0);
    errbuf_t errbuf = {""};
    wal_log_t *log = NULL;
    uint64_t cut = 0;
    const err_t err = wal_log_open(&options, wal_support_now(0), &log, &cut, &errbuf);
    if (err != ERR_OK) {
        fail_msg("expected recovery to %llu, found %s", (unsigned long long)seq, errbuf.text);
    }
    assert_true(wal_log_durable_seq(log) == seq);
    assert_true(cut == cut_bytes);
    sim_disk_crash(f->sim, 1); /* what recovery counts is durable, whatever happens next */
    wal_log_close(&log);
    log = wal_support_open_log(f->disk, 0);
    assert_true(wal_log_durable_seq(log) == seq);
    wal_support_write(log, &f->prng, 2, 20);
    (void)wal_support_check_chain(f->disk, WAL_SUPPORT_ORIGIN, wal_log_durable_seq(log));
    wal_log_close(&log);
}

/* Expects a refusal that changes nothing. */
static void s_expect_refusal(fixture_t *f, uint64_t known_durable_seq, err_t err, const char *text)
{
    sim_disk_t *before = sim_disk_clone(f->sim);
    wal_support_refuse_log(f->disk, known_durable_seq, err, text);
    assert_true(sim_disk_equal(before, f->sim));
    sim_disk_destroy(&before);
}

static void s_flip(fixture_t *f, const char *path, uint64_t bit)
{
    assert_int_equal(sim_disk_flip_bit(f->sim, path, bit), ERR_OK);
}

/* -- torn tails -------------------------------------------------------------------------------- */

/* Goal: a file that ends anywhere inside the last batch recovers to the batch before it. */
static void test_recovery_cut_inside_last_batch_recovers_to_the_one_before(void **state)
{
    fixture_t *f = *state;
    const place_t last = *s_last(f);
    for (uint64_t size = last.offset; size < f->bytes.size; size++) {
        sim_disk_put(f->sim, f->path, f->bytes.data, (size_t)size);
        s_expect_recovery(f, last.first_seq - 1, size - last.offset);
    }
}

/* Goal: the same where the file has grown and its bytes are zeros from some offset on: the last
 * batch counts only when its zeros are its own. */
static void test_recovery_zeros_inside_last_batch_recover_to_the_one_before(void **state)
{
    fixture_t *f = *state;
    const place_t last = *s_last(f);
    buffer_t spoilt;
    buffer_init(&spoilt);
    for (uint64_t from = last.offset; from < f->bytes.size; from++) {
        buffer_clear(&spoilt);
        buffer_append(&spoilt, f->bytes.data, f->bytes.size);
        memset(spoilt.data + from, 0, (size_t)(spoilt.size - from));
        sim_disk_put(f->sim, f->path, spoilt.data, spoilt.size);
        if (memcmp(spoilt.data, f->bytes.data, spoilt.size) == 0) {
            s_expect_recovery(f, last.last_seq, 0);
        } else {
            s_expect_recovery(f, last.first_seq - 1,
                              from == last.offset ? 0 : spoilt.size - last.offset);
        }
    }
    buffer_done(&spoilt);
}

/* Goal: bytes that were never written by us, from any offset of the last batch on, are cut. */
static void test_recovery_garbage_inside_last_batch_recovers_to_the_one_before(void **state)
{
    fixture_t *f = *state;
    const place_t last = *s_last(f);
    buffer_t spoilt;
    buffer_init(&spoilt);
    for (uint64_t from = last.offset; from < f->bytes.size; from++) {
        buffer_clear(&spoilt);
        buffer_append(&spoilt, f->bytes.data, f->bytes.size);
        for (uint64_t i = from; i < spoilt.size; i++) {
            spoilt.data[i] ^= (uint8_t)(1 + prng_below(&f->prng, 255));
        }
        sim_disk_put(f->sim, f->path, spoilt.data, spoilt.size);
        s_expect_recovery(f, last.first_seq - 1, spoilt.size - last.offset);
    }
    buffer_done(&spoilt);
}

/* Goal: a power cut tears a group of several batches: the first is gone, others survived. None of
 * them was ever durable, so all of them go. */
static void test_recovery_torn_group_with_surviving_later_batches_is_cut(void **state)
{
    fixture_t *f = *state;
    wal_log_t *log = wal_support_open_log(f->disk, 0);
    const uint64_t durable = wal_log_durable_seq(log);
    for (int i = 0; i < 5; i++) {
        (void)wal_support_append(log, &f->prng, 20); /* its seq is the log's */
    }
    wal_support_flush(log);
    wal_log_close(&log);
    s_survey(f);
    const size_t first_of_group = f->place_count - 5;
    for (size_t lost = first_of_group; lost < f->place_count; lost++) {
        buffer_t spoilt;
        buffer_init(&spoilt);
        buffer_append(&spoilt, f->bytes.data, f->bytes.size);
        memset(spoilt.data + f->places[lost].offset, 0, (size_t)f->places[lost].size);
        sim_disk_put(f->sim, f->path, spoilt.data, spoilt.size);
        const uint64_t cut = lost + 1 == f->place_count ? 0 : spoilt.size - f->places[lost].offset;
        s_expect_recovery(f, f->places[lost].first_seq - 1, cut);
        assert_true(f->places[lost].first_seq - 1 >= durable);
        buffer_done(&spoilt);
    }
}

/* Goal: the last file of a stream that ends inside its header never held a batch: it goes, and the
 * stream goes on from the sealed segment before it. */
static void test_recovery_last_file_shorter_than_a_header_is_removed(void **state)
{
    fixture_t *f = *state;
    const uint64_t seq = f->places[0].first_seq - 1;
    for (size_t size = 0; size < WAL_SEGMENT_HEADER_SIZE; size += 15) {
        sim_disk_put(f->sim, f->path, f->bytes.data, size);
        s_expect_recovery(f, seq, size);
        /* what the check wrote makes place for the next round */
        sim_disk_t *fresh = f->sim;
        void *other = NULL;
        fixture_t *g = s_fixture(&other, SEGMENT_SIZE_MIN, 60);
        f->sim = g->sim;
        f->disk = g->disk;
        sim_disk_destroy(&fresh);
        buffer_done(&g->bytes);
        free(g);
    }
}

/* Goal: the same for a header that is there and does not verify, with nothing behind it. */
static void test_recovery_torn_header_of_last_file_is_removed(void **state)
{
    fixture_t *f = *state;
    const uint64_t seq = f->places[0].first_seq - 1;
    buffer_t spoilt;
    buffer_init(&spoilt);
    buffer_append(&spoilt, f->bytes.data, WAL_SEGMENT_HEADER_SIZE);
    memset(spoilt.data + 100, 0, 100);
    sim_disk_put(f->sim, f->path, spoilt.data, spoilt.size);
    wal_log_t *log = wal_support_open_log(f->disk, 0);
    wal_log_close(&log);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(f->sim, f->path, &bytes, &size), ERR_NOT_FOUND);
    sim_disk_put(f->sim, f->path, spoilt.data, spoilt.size);
    s_expect_recovery(f, seq, WAL_SEGMENT_HEADER_SIZE);
    buffer_done(&spoilt);
}

/* Goal: a stream that begins with a torn file begins again. */
static void test_recovery_torn_only_file_leaves_an_empty_stream(void **state)
{
    fixture_t *f = *state;
    sim_disk_put(f->sim, f->path, f->bytes.data, 100);
    s_expect_recovery(f, 0, 100);
}

/* Goal: a footer that was torn is cut; the batches before it stand. */
static void test_recovery_torn_footer_is_cut(void **state)
{
    fixture_t *f = *state;
    wal_log_t *log = wal_support_open_log(f->disk, 0);
    assert_int_equal(wal_log_seal(log, NULL), ERR_OK);
    wal_log_close(&log);
    const uint64_t seq = f->last_seq;
    s_survey(f);
    for (size_t size = f->bytes.size - WAL_FOOTER_SIZE; size < f->bytes.size; size++) {
        sim_disk_put(f->sim, f->path, f->bytes.data, size);
        s_expect_recovery(f, seq, size - (f->bytes.size - WAL_FOOTER_SIZE));
    }
    for (size_t bit = 0; bit < (size_t)8 * WAL_FOOTER_SIZE; bit++) {
        sim_disk_put(f->sim, f->path, f->bytes.data, f->bytes.size);
        s_flip(f, f->path, 8 * (f->bytes.size - WAL_FOOTER_SIZE) + bit);
        s_expect_recovery(f, seq, WAL_FOOTER_SIZE);
    }
}

/* Goal: room that was made ahead, behind batches or behind a footer, is trimmed and is no tear. */
static void test_recovery_zeros_behind_the_end_are_trimmed(void **state)
{
    fixture_t *f = *state;
    static const uint8_t s_zeros[5000];
    const uint64_t seq = f->last_seq;
    buffer_t grown;
    buffer_init(&grown);
    buffer_append(&grown, f->bytes.data, f->bytes.size);
    buffer_append(&grown, s_zeros, sizeof(s_zeros));
    sim_disk_put(f->sim, f->path, grown.data, grown.size);
    s_expect_recovery(f, seq, 0);
    sim_disk_put(f->sim, f->path, f->bytes.data, f->bytes.size);
    wal_log_t *log = wal_support_open_log(f->disk, 0);
    assert_int_equal(wal_log_seal(log, NULL), ERR_OK);
    wal_log_close(&log);
    s_survey(f);
    buffer_clear(&grown);
    buffer_append(&grown, f->bytes.data, f->bytes.size);
    buffer_append(&grown, s_zeros, 777);
    sim_disk_put(f->sim, f->path, grown.data, grown.size);
    s_expect_recovery(f, seq, 0);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(f->sim, f->path, &bytes, &size), ERR_OK);
    assert_true(size == f->bytes.size);
    buffer_done(&grown);
}

/* Goal: what an interrupted creation left is removed, and does not end up in the new segment. */
static void test_recovery_unfinished_file_is_removed(void **state)
{
    fixture_t *f = *state;
    char path[WAL_PATH_SIZE_MAX + 8];
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    (void)snprintf(path, sizeof(path), "%s.tmp",
                   wal_support_segment(WAL_SUPPORT_ORIGIN, f->last_seq + 1));
    sim_disk_put(f->sim, path, f->bytes.data, f->bytes.size);
    s_expect_recovery(f, f->last_seq, 0);
    assert_int_equal(sim_disk_peek(f->sim, path, &bytes, &size), ERR_NOT_FOUND);
}

/* -- damage ------------------------------------------------------------------------------------ */

/* Goal: any changed byte of a segment's header is refused, also with hardly anything behind it. */
static void test_recovery_any_changed_byte_of_segment_header_is_refused(void **state)
{
    fixture_t *f = *state;
    for (uint64_t byte = 0; byte < WAL_SEGMENT_HEADER_SIZE; byte++) {
        const uint64_t bit = 8 * byte + prng_below(&f->prng, 8);
        s_flip(f, f->path, bit);
        s_expect_refusal(f, 0, ERR_CORRUPT, "nothing was changed");
        s_flip(f, f->path, bit);
    }
}

/* Goal: any changed byte of a batch's header in the middle is refused; the message says where. */
static void test_recovery_any_changed_byte_of_batch_header_is_refused(void **state)
{
    fixture_t *f = *state;
    char where[64];
    const place_t *middle = &f->places[2];
    (void)snprintf(where, sizeof(where), "at offset %llu (event %llu)",
                   (unsigned long long)middle->offset, (unsigned long long)middle->first_seq);
    for (uint64_t byte = 0; byte < WAL_BATCH_HEADER_SIZE; byte++) {
        const uint64_t bit = 8 * (middle->offset + byte) + prng_below(&f->prng, 8);
        s_flip(f, f->path, bit);
        s_expect_refusal(f, 0, ERR_CORRUPT, where);
        s_flip(f, f->path, bit);
    }
}

/* Goal: a log of a later version is refused as that and left alone: its magic and its version field
 * both say so. */
static void test_recovery_later_version_is_refused(void **state)
{
    fixture_t *f = *state;
    const uint64_t blocks[] = {0, f->places[1].offset};
    for (size_t i = 0; i < 2; i++) {
        s_flip(f, f->path, 8 * (blocks[i] + 3) + 1); /* '1' becomes '3' */
        s_flip(f, f->path, 8 * (blocks[i] + 4) + 1);
        s_expect_refusal(f, 0, ERR_UNSUPPORTED, "expected format version 1, found 3");
        s_flip(f, f->path, 8 * (blocks[i] + 4) + 1);
        s_flip(f, f->path, 8 * (blocks[i] + 3) + 1);
    }
}

/* Goal: so are a thousand random bits of payloads below the last group. */
static void test_recovery_random_payload_bit_is_refused(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 1000; i++) {
        const place_t *place = &f->places[prng_below(&f->prng, f->place_count - 1)];
        const uint64_t bit = 8 * (place->offset + WAL_BATCH_HEADER_SIZE) +
                             prng_below(&f->prng, 8 * (place->size - WAL_BATCH_HEADER_SIZE));
        s_flip(f, f->path, bit);
        s_expect_refusal(f, 0, ERR_CORRUPT, "says that event");
        s_flip(f, f->path, bit);
    }
}

/* Goal: damage in the last group is no torn tail when the caller knows that it was durable. */
static void test_recovery_damage_below_known_durable_is_refused(void **state)
{
    fixture_t *f = *state;
    const place_t last = *s_last(f);
    s_flip(f, f->path, 8 * (last.offset + 210));
    s_expect_refusal(f, last.first_seq, ERR_CORRUPT, "is known to have been durable");
    s_expect_recovery(f, last.first_seq - 1, last.size);
}

/* Goal: a log that ends below what is known to be durable has lost something: refused, at whatever
 * boundary it ends, and also when there is no file at all. */
static void test_recovery_log_that_ends_below_known_durable_is_refused(void **state)
{
    fixture_t *f = *state;
    s_expect_refusal(f, f->last_seq + 1, ERR_CORRUPT, "which were durable");
    sim_disk_put(f->sim, f->path, f->bytes.data, (size_t)s_last(f)->offset);
    s_expect_refusal(f, f->last_seq, ERR_CORRUPT, "which were durable");
    sim_disk_put(f->sim, f->path, f->bytes.data, 100);
    s_expect_refusal(f, 1, ERR_CORRUPT, "durable");
    assert_int_equal(f->disk->unlink(f->disk->context, f->path, NULL), ERR_OK);
    s_expect_refusal(f, 1, ERR_CORRUPT, "which were durable");
}

/* Goal: a footer proves that its segment was durable: damage in a sealed last segment is refused.
 */
static void test_recovery_damage_in_sealed_last_segment_is_refused(void **state)
{
    fixture_t *f = *state;
    wal_log_t *log = wal_support_open_log(f->disk, 0);
    assert_int_equal(wal_log_seal(log, NULL), ERR_OK);
    wal_log_close(&log);
    s_survey(f);
    const place_t last = *s_last(f);
    for (uint64_t byte = 0; byte < last.size; byte += 3) {
        s_flip(f, f->path, 8 * (last.offset + byte));
        s_expect_refusal(f, 0, ERR_CORRUPT, "is sealed up to");
        s_flip(f, f->path, 8 * (last.offset + byte));
    }
}

/* Goal: more bytes behind a footer are nothing that we ever write. */
static void test_recovery_bytes_behind_a_footer_are_refused(void **state)
{
    fixture_t *f = *state;
    wal_log_t *log = wal_support_open_log(f->disk, 0);
    assert_int_equal(wal_log_seal(log, NULL), ERR_OK);
    wal_log_close(&log);
    s_survey(f);
    *buffer_extend(&f->bytes, 1) = 1;
    sim_disk_put(f->sim, f->path, f->bytes.data, f->bytes.size);
    s_expect_refusal(f, 0, ERR_CORRUPT, "behind the footer");
}

static const char *s_segment_path(fixture_t *f, size_t i, wal_segment_t *ret_segment)
{
    wal_segment_list_t files = {NULL, 0, 0};
    assert_int_equal(wal_files_list_segments(f->disk, WAL_SUPPORT_ORIGIN, &files, NULL, NULL),
                     ERR_OK);
    assert_true(files.count > 4 && i < files.count);
    *ret_segment = files.items[i];
    wal_segment_list_done(&files);
    return wal_support_segment(WAL_SUPPORT_ORIGIN, ret_segment->first_seq);
}

/* Goal: header and footer of every sealed segment are looked at. */
static void test_recovery_changed_header_or_footer_of_sealed_segment_is_refused(void **state)
{
    fixture_t *f = *state;
    for (size_t i = 0; i < 3; i++) {
        wal_segment_t segment;
        const char *path = s_segment_path(f, i, &segment);
        for (uint64_t byte = 0; byte < WAL_SEGMENT_HEADER_SIZE; byte += 7) {
            s_flip(f, path, 8 * byte);
            s_expect_refusal(f, 0, ERR_CORRUPT, "nothing was changed");
            s_flip(f, path, 8 * byte);
        }
        const uint64_t fields[] = {0, 8, 16, 24, 36, 40, 48};
        for (size_t j = 0; j < sizeof(fields) / sizeof(*fields); j++) {
            const uint64_t bit = 8 * (segment.size_bytes - WAL_FOOTER_SIZE + fields[j]);
            s_flip(f, path, bit);
            s_expect_refusal(f, 0, ERR_CORRUPT, "nothing was changed");
            s_flip(f, path, bit);
        }
    }
}

/* Goal: with verify_all every byte of every segment counts; without, payloads of sealed segments
 * are left to their readers. */
static void test_recovery_verify_all_finds_damage_in_old_payload(void **state)
{
    fixture_t *f = *state;
    wal_segment_t segment;
    wal_log_options_t options = wal_support_log_options(f->disk, SEGMENT_SIZE_MIN);
    wal_log_t *log = NULL;
    errbuf_t errbuf;
    const char *path = s_segment_path(f, 1, &segment);
    options.recovery.verify_all = true;
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf), ERR_OK);
    wal_log_close(&log);
    for (uint64_t byte = 0; byte < segment.size_bytes; byte += 11) {
        s_flip(f, path, 8 * byte + 3);
        const err_t err = wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf);
        assert_int_equal(err, ERR_CORRUPT);
        s_flip(f, path, 8 * byte + 3);
    }
    s_flip(f, path, UINT64_C(8) * (WAL_SEGMENT_HEADER_SIZE + WAL_BATCH_HEADER_SIZE + 1));
    log = wal_support_open_log(f->disk, SEGMENT_SIZE_MIN);
    wal_log_close(&log);
}

/* Goal: an old segment that was cut short, anywhere, is damage: only the last one can be torn. */
static void test_recovery_shortened_old_segment_is_refused(void **state)
{
    fixture_t *f = *state;
    wal_segment_t segment;
    const char *path = s_segment_path(f, 1, &segment);
    buffer_t bytes;
    wal_support_get_file(f->sim, path, &bytes);
    for (uint64_t size = 0; size < segment.size_bytes; size += 61) {
        sim_disk_put(f->sim, path, bytes.data, (size_t)size);
        s_expect_refusal(f, 0, ERR_CORRUPT, "nothing was changed");
    }
    buffer_done(&bytes);
}

/* Goal: a missing segment, first or middle, is found by its numbers. */
static void test_recovery_missing_segment_is_refused(void **state)
{
    fixture_t *f = *state;
    for (size_t i = 0; i < 3; i++) {
        wal_segment_t segment;
        buffer_t bytes;
        const char *path = s_segment_path(f, i, &segment);
        wal_support_get_file(f->sim, path, &bytes);
        assert_int_equal(f->disk->unlink(f->disk->context, path, NULL), ERR_OK);
        s_expect_refusal(f, 0, ERR_CORRUPT, "expected a segment that begins with event");
        sim_disk_put(f->sim, path, bytes.data, bytes.size);
        buffer_done(&bytes);
    }
    wal_log_t *log = wal_support_open_log(f->disk, SEGMENT_SIZE_MIN);
    wal_log_close(&log);
}

/* Goal: old segments may be gone where a base covers them, and not a segment more. */
static void test_recovery_segments_below_the_base_may_be_gone(void **state)
{
    fixture_t *f = *state;
    wal_segment_t first;
    wal_segment_t second;
    errbuf_t errbuf;
    wal_log_t *log = NULL;
    (void)s_segment_path(f, 1, &second); /* its path is not needed */
    const char *path = s_segment_path(f, 0, &first);
    assert_int_equal(f->disk->unlink(f->disk->context, path, NULL), ERR_OK);
    wal_log_options_t options = wal_support_log_options(f->disk, SEGMENT_SIZE_MIN);
    options.place.base.seq = second.first_seq + 1; /* inside the second segment */
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf), ERR_OK);
    assert_true(wal_log_durable_seq(log) == f->last_seq);
    wal_log_close(&log);
    options.place.base.seq = second.first_seq - 2;
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf), ERR_CORRUPT);
}

/* Goal: a segment of another stream, or under another name, is refused. */
static void test_recovery_segment_of_another_stream_is_refused(void **state)
{
    fixture_t *f = *state;
    errbuf_t errbuf;
    wal_log_t *log = NULL;
    wal_log_options_t options = wal_support_log_options(f->disk, 0);
    options.place.stream.incarnation++;
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf), ERR_CORRUPT);
    assert_non_null(strstr(errbuf.text, "another stream"));
    options = wal_support_log_options(f->disk, 0);
    options.place.tenant_name = "other";
    assert_int_equal(wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf), ERR_CORRUPT);
    assert_int_equal(f->disk->rename(f->disk->context, f->path,
                                     wal_support_segment(WAL_SUPPORT_ORIGIN, 2), NULL),
                     ERR_OK);
    s_expect_refusal(f, 0, ERR_CORRUPT, "begins with event 1");
}

/* Goal: a batch that verifies and does not belong there is damage, in the last group too. Method:
 * the last batch twice; a batch left out. */
static void test_recovery_batch_out_of_chain_is_refused(void **state)
{
    fixture_t *f = *state;
    const place_t last = *s_last(f);
    buffer_t spoilt;
    buffer_init(&spoilt);
    buffer_append(&spoilt, f->bytes.data, f->bytes.size);
    buffer_append(&spoilt, f->bytes.data + last.offset, (size_t)last.size);
    sim_disk_put(f->sim, f->path, spoilt.data, spoilt.size);
    s_expect_refusal(f, 0, ERR_CORRUPT, "expected first event");
    const place_t left_out = f->places[f->place_count - 2];
    buffer_clear(&spoilt);
    buffer_append(&spoilt, f->bytes.data, (size_t)left_out.offset);
    buffer_append(&spoilt, f->bytes.data + last.offset, (size_t)last.size);
    sim_disk_put(f->sim, f->path, spoilt.data, spoilt.size);
    s_expect_refusal(f, 0, ERR_CORRUPT, "expected first event");
    buffer_done(&spoilt);
}

/* Goal: a payload made to look like a witness costs a refusal, never data. */
static void test_recovery_forged_witness_in_torn_payload_refuses(void **state)
{
    fixture_t *f = *state;
    const place_t last = *s_last(f);
    buffer_t forged;
    wal_batch_t batch;
    buffer_t payload;
    buffer_init(&payload);
    buffer_init(&forged);
    buffer_append(&forged, f->bytes.data, (size_t)last.offset + WAL_BATCH_HEADER_SIZE);
    wal_support_fill(&f->prng, 2, &payload, &batch);
    batch.stream = wal_support_stream();
    batch.first_seq = last.first_seq + 100;
    batch.segment_first_seq = 1;
    batch.synced_seq = last.first_seq + 50;
    wal_encode_batch(&batch, &forged);
    sim_disk_put(f->sim, f->path, forged.data, forged.size);
    s_expect_refusal(f, 0, ERR_CORRUPT, "was durable");
    buffer_done(&forged);
    buffer_done(&payload);
}

#define ONE(name)  cmocka_unit_test_setup_teardown(name, s_set_up, s_tear_down)
#define MANY(name) cmocka_unit_test_setup_teardown(name, s_set_up_sealed, s_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(test_recovery_cut_inside_last_batch_recovers_to_the_one_before),
        MANY(test_recovery_cut_inside_last_batch_recovers_to_the_one_before),
        ONE(test_recovery_zeros_inside_last_batch_recover_to_the_one_before),
        ONE(test_recovery_garbage_inside_last_batch_recovers_to_the_one_before),
        ONE(test_recovery_torn_group_with_surviving_later_batches_is_cut),
        MANY(test_recovery_last_file_shorter_than_a_header_is_removed),
        MANY(test_recovery_torn_header_of_last_file_is_removed),
        ONE(test_recovery_torn_only_file_leaves_an_empty_stream),
        ONE(test_recovery_torn_footer_is_cut),
        ONE(test_recovery_zeros_behind_the_end_are_trimmed),
        ONE(test_recovery_unfinished_file_is_removed),
        ONE(test_recovery_any_changed_byte_of_segment_header_is_refused),
        ONE(test_recovery_any_changed_byte_of_batch_header_is_refused),
        ONE(test_recovery_random_payload_bit_is_refused),
        ONE(test_recovery_later_version_is_refused),
        ONE(test_recovery_damage_below_known_durable_is_refused),
        ONE(test_recovery_log_that_ends_below_known_durable_is_refused),
        ONE(test_recovery_damage_in_sealed_last_segment_is_refused),
        ONE(test_recovery_bytes_behind_a_footer_are_refused),
        MANY(test_recovery_changed_header_or_footer_of_sealed_segment_is_refused),
        MANY(test_recovery_verify_all_finds_damage_in_old_payload),
        MANY(test_recovery_shortened_old_segment_is_refused),
        MANY(test_recovery_missing_segment_is_refused),
        MANY(test_recovery_segments_below_the_base_may_be_gone),
        ONE(test_recovery_segment_of_another_stream_is_refused),
        ONE(test_recovery_batch_out_of_chain_is_refused),
        ONE(test_recovery_forged_witness_in_torn_payload_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
