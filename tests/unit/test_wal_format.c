/* The blocks of the log: limits, round trips, and that no changed byte passes. */
#include "common/wal/wal_format.h"

#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static err_t s_decode(const buffer_t *bytes, wal_block_t *ret_block)
{
    errbuf_t errbuf;
    return wal_decode_block(buffer_slice(bytes), ret_block, &errbuf);
}

/* A batch with everything in it, encoded. */
static void s_make_batch(buffer_t *ret_bytes, wal_batch_t *ret_batch)
{
    static const uint8_t s_payload[] = "thirteen byte";
    wal_batch_t batch = {
        .stream = wal_support_stream(),
        .epoch = 9,
        .first_seq = 1000,
        .segment_first_seq = 900,
        .synced_seq = 990,
        .event_count = 3,
        .hlc = {123456789, 4, 0x10003},
        .has_producer = true,
        .producer = slice_make("client-1", 8),
        .producer_seq = 77,
        .payload = slice_make(s_payload, 13),
    };
    for (size_t i = 0; i < WAL_HASH_SIZE; i++) {
        batch.previous_hash.bytes[i] = (uint8_t)(i + 1);
        batch.content_hash.bytes[i % WAL_CONTENT_HASH_SIZE] = (uint8_t)(200 + i);
    }
    buffer_init(ret_bytes);
    wal_encode_batch(&batch, ret_bytes);
    *ret_batch = batch;
}

static void s_make_header(buffer_t *ret_bytes, wal_segment_header_t *ret_header)
{
    wal_segment_header_t header = {
        .stream = wal_support_stream(),
        .first_seq = 1000,
        .created_wall_ns = -5,
        .tenant_name = "default",
    };
    memset(header.region_name, 'r', NAME_LENGTH_MAX);
    memset(header.previous_hash.bytes, 7, WAL_HASH_SIZE);
    buffer_init(ret_bytes);
    wal_encode_segment_header(&header, buffer_extend(ret_bytes, WAL_SEGMENT_HEADER_SIZE));
    *ret_header = header;
}

/* Goal: nothing decodes to the end, and a part of a block asks for more, saying how much. */
static void test_format_partial_block_asks_for_more(void **state)
{
    (void)state;
    buffer_t bytes;
    wal_batch_t batch;
    wal_block_t block;
    wal_segment_header_t header;
    s_make_batch(&bytes, &batch);
    const size_t size = bytes.size;
    bytes.size = 0;
    assert_int_equal(s_decode(&bytes, &block), ERR_END);
    for (bytes.size = 1; bytes.size < size; bytes.size++) {
        assert_int_equal(s_decode(&bytes, &block), ERR_AGAIN);
        assert_int_equal(block.size, bytes.size < WAL_BATCH_HEADER_SIZE ? 0 : size);
    }
    assert_int_equal(s_decode(&bytes, &block), ERR_OK);
    assert_int_equal(block.size, size);
    buffer_done(&bytes);
    s_make_header(&bytes, &header);
    for (bytes.size = 1; bytes.size < WAL_SEGMENT_HEADER_SIZE; bytes.size++) {
        assert_int_equal(s_decode(&bytes, &block), ERR_AGAIN);
    }
    buffer_done(&bytes);
}

/* A batch with this reissue. */
static void s_make_reissue(buffer_t *ret_bytes, wal_batch_t *ret_batch)
{
    s_make_batch(ret_bytes, ret_batch);
    ret_batch->reissue = (wal_reissue_t){.named = {ret_batch->stream, 41}, .from = {3}};
    ret_batch->reissue.named.stream.incarnation = 0x1122334455667788;
    ret_batch->reissue.named.stream.origin.region.value = 2;
    ret_bytes->size = 0;
    wal_encode_batch(ret_batch, ret_bytes);
}

/* Goal: a reissue comes back as it was written, at the bytes that wal_format.h names. */
static void test_format_reissue_round_trip(void **state)
{
    (void)state;
    static const uint8_t s_expected[32] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 41, 0,
                                           0,    0,    0,    0,    0,    0,    2,    0,    3,  0};
    buffer_t bytes;
    wal_batch_t batch;
    wal_block_t block;
    s_make_reissue(&bytes, &batch);
    assert_memory_equal(bytes.data + 144, s_expected, sizeof(s_expected));
    assert_int_equal(s_decode(&bytes, &block), ERR_OK);
    assert_true(stream_id_equal(block.as.batch.reissue.named.stream, batch.reissue.named.stream));
    assert_int_equal(block.as.batch.reissue.named.seq, 41);
    assert_int_equal(block.as.batch.reissue.from.value, 3);
    buffer_done(&bytes);
}

/* Goal: a reissue that names no copy, or one that there cannot be, is refused though its hash fits.
 * Method: one byte at a time, the header decoded alone. */
static void test_format_impossible_reissue_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        uint8_t byte;
    } s_changes[] = {{152, 0}, {160, 0}, {161, 0xff}, {162, 0}, {163, 0xff}, {164, 1}, {175, 1}};
    buffer_t bytes;
    wal_batch_t batch;
    errbuf_t errbuf;
    s_make_reissue(&bytes, &batch);
    slice_t header = slice_make(bytes.data, WAL_BATCH_HEADER_SIZE);
    assert_int_equal(wal_decode_batch_header(header, &batch, &errbuf), ERR_OK);
    for (size_t i = 0; i < sizeof(s_changes) / sizeof(s_changes[0]); i++) {
        uint8_t before = bytes.data[s_changes[i].offset];
        bytes.data[s_changes[i].offset] = s_changes[i].byte;
        assert_int_equal(wal_decode_batch_header(header, &batch, &errbuf), ERR_CORRUPT);
        bytes.data[s_changes[i].offset] = before;
    }
    memset(bytes.data + 144, 0, 8); /* no incarnation */
    assert_int_equal(wal_decode_batch_header(header, &batch, &errbuf), ERR_CORRUPT);
    memset(bytes.data + 144, 0, 20);
    assert_int_equal(wal_decode_batch_header(header, &batch, &errbuf), ERR_OK);
    bytes.data[162] = 3; /* made from a copy, and names none */
    assert_int_equal(wal_decode_batch_header(header, &batch, &errbuf), ERR_CORRUPT);
    buffer_done(&bytes);
}

/* Goal: every byte of header, producer, payload and padding is covered: changed, it is refused. */
static void test_format_any_changed_byte_of_batch_is_refused(void **state)
{
    (void)state;
    buffer_t bytes;
    wal_batch_t batch;
    wal_block_t block;
    s_make_batch(&bytes, &batch);
    for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        const err_t err = s_decode(&bytes, &block);
        /* a longer payload than there is asks for bytes that never come; all else is refused */
        const bool size_field = bit / 8 >= 128 && bit / 8 < 132;
        assert_true(err == ERR_CORRUPT || (size_field && err == ERR_AGAIN) ||
                    (bit / 8 == 6 && err == ERR_AGAIN));
        bytes.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    assert_int_equal(s_decode(&bytes, &block), ERR_OK);
    buffer_done(&bytes);
}

/* Goal: the same for the segment header. */
static void test_format_any_changed_byte_of_segment_header_is_refused(void **state)
{
    (void)state;
    buffer_t bytes;
    wal_segment_header_t header;
    wal_block_t block;
    s_make_header(&bytes, &header);
    for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_equal(s_decode(&bytes, &block), ERR_CORRUPT);
        bytes.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    assert_int_equal(s_decode(&bytes, &block), ERR_OK);
    buffer_done(&bytes);
}

/* Goal: a thousand random bits of a large payload, one at a time, are all refused. */
static void test_format_random_payload_bit_is_refused(void **state)
{
    (void)state;
    prng_t prng;
    buffer_t payload;
    buffer_t bytes;
    wal_batch_t batch;
    wal_block_t block;
    prng_init(&prng, 3);
    buffer_init(&payload);
    buffer_init(&bytes);
    wal_support_fill(&prng, 1000, &payload, &batch);
    batch.stream = wal_support_stream();
    batch.first_seq = 1;
    batch.segment_first_seq = 1;
    wal_encode_batch(&batch, &bytes);
    for (int i = 0; i < 1000; i++) {
        const uint64_t bit = prng_below(&prng, 8 * (bytes.size - WAL_BATCH_HEADER_SIZE));
        uint8_t *at = bytes.data + WAL_BATCH_HEADER_SIZE + bit / 8;
        *at ^= (uint8_t)(1U << (bit % 8));
        assert_int_equal(s_decode(&bytes, &block), ERR_CORRUPT);
        *at ^= (uint8_t)(1U << (bit % 8));
    }
    buffer_done(&payload);
    buffer_done(&bytes);
}

/* Goal: everything in a batch comes back, and the block has the documented size and alignment. */
static void test_format_batch_round_trip_keeps_every_field(void **state)
{
    (void)state;
    buffer_t bytes;
    wal_batch_t batch;
    wal_block_t block;
    s_make_batch(&bytes, &batch);
    assert_int_equal(bytes.size, 232); /* 208 + 8 + 13, up to a multiple of 8 */
    assert_int_equal(batch.block_size, bytes.size);
    assert_int_equal(s_decode(&bytes, &block), ERR_OK);
    assert_int_equal(block.kind, WAL_BLOCK_BATCH);
    const wal_batch_t *found = &block.as.batch;
    assert_true(stream_id_equal(found->stream, batch.stream));
    assert_true(found->epoch == 9 && found->first_seq == 1000 && found->synced_seq == 990);
    assert_true(found->segment_first_seq == 900);
    assert_true(found->event_count == 3 && found->producer_seq == 77 && found->has_producer);
    assert_int_equal(hlc_compare(found->hlc, batch.hlc), 0);
    assert_true(slice_equal(found->producer, batch.producer));
    assert_true(slice_equal(found->payload, batch.payload));
    assert_memory_equal(found->content_hash.bytes, batch.content_hash.bytes, WAL_CONTENT_HASH_SIZE);
    assert_memory_equal(found->previous_hash.bytes, batch.previous_hash.bytes, WAL_HASH_SIZE);
    assert_memory_equal(found->hash.bytes, batch.hash.bytes, WAL_HASH_SIZE);
    assert_true(wal_batch_last_seq(found) == 1002);
    buffer_done(&bytes);
}

/* Goal: names that fill their field, and a created time before 1970, come back. */
static void test_format_segment_header_round_trip_keeps_every_field(void **state)
{
    (void)state;
    buffer_t bytes;
    wal_segment_header_t header;
    wal_block_t block;
    s_make_header(&bytes, &header);
    assert_int_equal(s_decode(&bytes, &block), ERR_OK);
    assert_int_equal(block.kind, WAL_BLOCK_SEGMENT);
    assert_true(stream_id_equal(block.as.segment.stream, header.stream));
    assert_true(block.as.segment.first_seq == 1000 && block.as.segment.created_wall_ns == -5);
    assert_string_equal(block.as.segment.tenant_name, "default");
    assert_string_equal(block.as.segment.region_name, header.region_name);
    assert_memory_equal(block.as.segment.previous_hash.bytes, header.previous_hash.bytes,
                        WAL_HASH_SIZE);
    buffer_done(&bytes);
}

/* Goal: the largest and the smallest batch decode; sizes and padding at their limits. */
static void test_format_batch_at_the_size_limits_round_trips(void **state)
{
    (void)state;
    static const size_t s_payloads[] = {1, 7, 8, 9, WAL_PAYLOAD_SIZE_MAX};
    static const size_t s_producers[] = {0, 1, PRODUCER_SIZE_MAX};
    uint8_t *payload = calloc(1, WAL_PAYLOAD_SIZE_MAX);
    assert_non_null(payload);
    for (size_t i = 0; i < sizeof(s_payloads) / sizeof(*s_payloads); i++) {
        for (size_t j = 0; j < sizeof(s_producers) / sizeof(*s_producers); j++) {
            buffer_t bytes;
            wal_block_t block;
            wal_batch_t batch = {
                .stream = wal_support_stream(),
                .first_seq = UINT64_MAX - WAL_BATCH_COUNT_MAX,
                .segment_first_seq = UINT64_MAX - WAL_BATCH_COUNT_MAX,
                .event_count = WAL_BATCH_COUNT_MAX,
                .has_producer = s_producers[j] > 0,
                .producer = slice_make(payload, s_producers[j]),
                .payload = slice_make(payload, s_payloads[i]),
            };
            buffer_init(&bytes);
            wal_encode_batch(&batch, &bytes);
            assert_int_equal(bytes.size % 8, 0);
            assert_true(bytes.size <= WAL_BLOCK_SIZE_MAX);
            assert_int_equal(bytes.size, wal_batch_block_size(s_producers[j], s_payloads[i]));
            assert_int_equal(s_decode(&bytes, &block), ERR_OK);
            assert_int_equal(block.as.batch.payload.size, s_payloads[i]);
            assert_int_equal(block.as.batch.producer.size, s_producers[j]);
            buffer_done(&bytes);
        }
    }
    free(payload);
}

static void s_expect_field_refused(size_t offset, size_t size, uint64_t value)
{
    buffer_t bytes;
    wal_batch_t batch;
    wal_block_t block;
    s_make_batch(&bytes, &batch);
    for (size_t i = 0; i < size; i++) {
        bytes.data[offset + i] = (uint8_t)(value >> (8 * i));
    }
    const err_t err = wal_decode_block_trusted(buffer_slice(&bytes), &block, NULL);
    if (err != ERR_CORRUPT) {
        fail_msg("field at %zu: found %s", offset, err_text(err));
    }
    buffer_done(&bytes);
}

/* Goal: a field out of range is refused even where the hash is right, because it may come from
 * another program. Method: trusted decoding, which leaves the hash out of it. */
static void test_format_batch_field_out_of_range_is_corrupt(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        size_t size;
        uint64_t value;
    } s_cases[] = {
        {6, 1, PRODUCER_SIZE_MAX + 1}, /* producer size */
        {7, 1, 0},                     /* a producer without its flag */
        {7, 1, 3},                     /* an unknown flag */
        {8, 8, 0},                     /* tenant */
        {16, 8, 0},                    /* incarnation */
        {24, 2, 0},                    /* region `control` originates nothing */
        {24, 2, REGION_COUNT_MAX + 1},
        {26, 2, SHARD_COUNT_MAX},
        {28, 4, 0}, /* events */
        {28, 4, WAL_BATCH_COUNT_MAX + 1},
        {40, 8, 0}, /* first seq */
        {40, 8, UINT64_MAX},
        {48, 8, 1000}, /* synced seq not before first seq */
        {128, 4, 0},   /* payload size */
        {128, 4, WAL_PAYLOAD_SIZE_MAX + 1},
        {128, 4, UINT32_MAX},
        {132, 4, 1}, /* zeros */
        {136, 8, 0}, /* segment: none, or one behind it */
        {136, 8, 1001},
        {144, 8, 1},
        {168, 8, UINT64_C(1) << 63},
    };
    for (size_t i = 0; i < sizeof(s_cases) / sizeof(*s_cases); i++) {
        s_expect_field_refused(s_cases[i].offset, s_cases[i].size, s_cases[i].value);
    }
}

/* Goal: a magic of no block is refused, with no more than four bytes at hand too. */
static void test_format_unknown_magic_is_corrupt(void **state)
{
    (void)state;
    buffer_t bytes;
    wal_block_t block;
    buffer_init(&bytes);
    buffer_append(&bytes, "TMX1....", 8);
    assert_int_equal(s_decode(&bytes, &block), ERR_CORRUPT);
    bytes.size = 4;
    assert_int_equal(s_decode(&bytes, &block), ERR_CORRUPT);
    buffer_done(&bytes);
}

/* Goal: stepping over a batch needs its header alone, and gives the same sizes. */
static void test_format_batch_header_alone_tells_the_block_size(void **state)
{
    (void)state;
    buffer_t bytes;
    wal_batch_t batch;
    wal_batch_t found;
    s_make_batch(&bytes, &batch);
    slice_t head = slice_make(bytes.data, WAL_BATCH_HEADER_SIZE);
    assert_int_equal(wal_decode_batch_header(head, &found, NULL), ERR_OK);
    assert_int_equal(found.block_size, batch.block_size);
    assert_true(found.first_seq == batch.first_seq);
    assert_null(found.payload.data);
    head.size--;
    assert_int_equal(wal_decode_batch_header(head, &found, NULL), ERR_AGAIN);
    head.size = 0;
    assert_int_equal(wal_decode_batch_header(head, &found, NULL), ERR_END);
    buffer_done(&bytes);
}

static wal_footer_t s_footer(void)
{
    return (wal_footer_t){
        .first_seq = 5, .last_seq = 9, .event_count = 5, .batch_count = 2, .offset = 4096};
}

/* Goal: a footer's root covers its own fields and every batch hash in order. */
static void test_format_footer_root_covers_fields_and_hashes(void **state)
{
    (void)state;
    uint8_t hashes[2 * WAL_HASH_SIZE];
    uint8_t bytes[WAL_FOOTER_SIZE];
    wal_block_t block;
    for (size_t i = 0; i < sizeof(hashes); i++) {
        hashes[i] = (uint8_t)i;
    }
    wal_footer_t footer = s_footer();
    wal_encode_footer(&footer, slice_make(hashes, sizeof(hashes)), bytes);
    assert_int_equal(wal_decode_block(slice_make(bytes, sizeof(bytes)), &block, NULL), ERR_OK);
    assert_int_equal(block.kind, WAL_BLOCK_FOOTER);
    assert_true(wal_footer_matches(&block.as.footer, slice_make(hashes, sizeof(hashes))));
    assert_false(wal_footer_matches(&block.as.footer, slice_make(hashes, WAL_HASH_SIZE)));
    for (size_t i = 0; i < sizeof(hashes); i++) {
        hashes[i] ^= 1;
        assert_false(wal_footer_matches(&block.as.footer, slice_make(hashes, sizeof(hashes))));
        hashes[i] ^= 1;
    }
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        const err_t err = wal_decode_block(slice_make(bytes, sizeof(bytes)), &block, NULL);
        assert_true(err != ERR_OK ||
                    !wal_footer_matches(&block.as.footer, slice_make(hashes, sizeof(hashes))));
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_partial_block_asks_for_more),
        cmocka_unit_test(test_format_reissue_round_trip),
        cmocka_unit_test(test_format_impossible_reissue_is_refused),
        cmocka_unit_test(test_format_any_changed_byte_of_batch_is_refused),
        cmocka_unit_test(test_format_any_changed_byte_of_segment_header_is_refused),
        cmocka_unit_test(test_format_random_payload_bit_is_refused),
        cmocka_unit_test(test_format_batch_round_trip_keeps_every_field),
        cmocka_unit_test(test_format_segment_header_round_trip_keeps_every_field),
        cmocka_unit_test(test_format_batch_at_the_size_limits_round_trips),
        cmocka_unit_test(test_format_batch_field_out_of_range_is_corrupt),
        cmocka_unit_test(test_format_unknown_magic_is_corrupt),
        cmocka_unit_test(test_format_batch_header_alone_tells_the_block_size),
        cmocka_unit_test(test_format_footer_root_covers_fields_and_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
