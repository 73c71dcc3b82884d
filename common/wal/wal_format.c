#include "common/wal/wal_format.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <assert.h>
#include <blake3.h>

enum {
    VERSION = 1,
    /* segment header */
    SEGMENT_TENANT_NAME = 80,
    SEGMENT_REGION_NAME = 144,
    SEGMENT_ZERO = 208,
    SEGMENT_HASH = 224,
    /* batch */
    BATCH_PREVIOUS_HASH = 80,
    BATCH_CONTENT_HASH = 112,
    BATCH_PAYLOAD_SIZE = 128,
    BATCH_ZERO = 132,
    BATCH_SEGMENT_FIRST_SEQ = 136,
    BATCH_REISSUE = 144,
    BATCH_RESERVED = 164,
    BATCH_HASH = 176,
    BATCH_HAS_PRODUCER = 1,
    /* footer */
    FOOTER_ZERO = 48,
    FOOTER_ROOT = 64
};

static_assert(SEGMENT_HASH + WAL_HASH_SIZE == WAL_SEGMENT_HEADER_SIZE, "layout of the header");
static_assert(BATCH_HASH + WAL_HASH_SIZE == WAL_BATCH_HEADER_SIZE, "layout of the batch");
static_assert(FOOTER_ROOT + WAL_HASH_SIZE == WAL_FOOTER_SIZE, "layout of the footer");
static_assert(WAL_SEGMENT_HEADER_SIZE % 8 == 0 && WAL_BATCH_HEADER_SIZE % 8 == 0,
              "blocks begin at multiples of 8, so a magic and its version lie in one sector");
static_assert(SEGMENT_REGION_NAME - SEGMENT_TENANT_NAME == NAME_LENGTH_MAX, "names fit");

static const uint8_t s_magic_segment[4] = {'T', 'M', 'S', '1'};
static const uint8_t s_magic_batch[4] = {'T', 'M', 'B', '1'};
static const uint8_t s_magic_footer[4] = {'T', 'M', 'F', '1'};

/* -- parts that several blocks share ----------------------------------------------------------- */

static bool s_is_zero(const uint8_t *bytes, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

static void s_put_stream(uint8_t *at, stream_id_t stream)
{
    bytes_put_u64(at, stream.tenant.value);
    bytes_put_u64(at + 8, stream.incarnation);
    bytes_put_u16(at + 16, stream.origin.region.value);
    bytes_put_u16(at + 18, stream.origin.shard.value);
}

static stream_id_t s_get_stream(const uint8_t *at)
{
    stream_id_t stream;
    stream.tenant.value = bytes_get_u64(at);
    stream.incarnation = bytes_get_u64(at + 8);
    stream.origin.region.value = bytes_get_u16(at + 16);
    stream.origin.shard.value = bytes_get_u16(at + 18);
    return stream;
}

/* In ranges that the rest of the program may use as indexes. */
static bool s_stream_ok(stream_id_t stream)
{
    return stream.tenant.value != 0 && stream.incarnation != 0 && stream.origin.region.value >= 1 &&
           stream.origin.region.value <= REGION_COUNT_MAX &&
           stream.origin.shard.value < SHARD_COUNT_MAX;
}

static void s_put_name(uint8_t *at, const char *name)
{
    const size_t length = strlen(name);
    CHECK(length >= 1 && length <= NAME_LENGTH_MAX);
    for (size_t i = 0; i < NAME_LENGTH_MAX; i++) {
        at[i] = i < length ? (uint8_t)name[i] : 0;
    }
}

/* Not empty, and nothing but zeros behind the name. */
static bool s_get_name(const uint8_t *at, char ret_name[NAME_LENGTH_MAX + 1])
{
    size_t length = 0;
    while (length < NAME_LENGTH_MAX && at[length] != 0) {
        length++;
    }
    memcpy(ret_name, at, length);
    ret_name[length] = '\0';
    return length > 0 && s_is_zero(at + length, NAME_LENGTH_MAX - length);
}

/* The version field of a block whose magic is that of this version. */
static err_t s_check_version(const uint8_t *at, const char *what, errbuf_t *errbuf)
{
    const unsigned version = bytes_get_u16(at + 4);
    if (version == VERSION) {
        return ERR_OK;
    }
    errbuf_set(errbuf, "%s: its magic says format version %d, its version field %u", what, VERSION,
               version);
    return ERR_CORRUPT;
}

/* A magic that is none of ours: of a later version when its digit and the version field agree.
 * in bytes  4 and more */
static err_t s_unknown_magic(slice_t bytes, const char *expected, errbuf_t *errbuf)
{
    const uint8_t *at = bytes.data;
    const unsigned digit = (unsigned)at[3] - '0';
    const bool is_block =
        at[0] == 'T' && at[1] == 'M' &&
        (at[2] == s_magic_segment[2] || at[2] == s_magic_batch[2] || at[2] == s_magic_footer[2]);
    if (is_block && digit > VERSION && digit <= 9 && bytes.size >= 6 &&
        bytes_get_u16(at + 4) == digit) {
        errbuf_set(errbuf, "expected format version %d, found %u; use the program that wrote it",
                   VERSION, digit);
        return ERR_UNSUPPORTED;
    }
    errbuf_set(errbuf, "expected the magic of a %s, found 0x%08x", expected, bytes_get_u32(at));
    return ERR_CORRUPT;
}

static err_t s_hash_mismatch(const char *what,
                             const uint8_t *expected,
                             const wal_hash_t *found,
                             errbuf_t *errbuf)
{
    char expected_text[17];
    char found_text[17];
    bytes_to_hex(expected, 8, expected_text);
    bytes_to_hex(found->bytes, 8, found_text);
    errbuf_set(errbuf, "%s: its bytes hash to %s.., its hash field says %s..", what, found_text,
               expected_text);
    return ERR_CORRUPT;
}

/* -- segment header ---------------------------------------------------------------------------- */

static wal_hash_t s_hash_segment(const uint8_t *bytes)
{
    wal_hash_t hash;
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, bytes, SEGMENT_HASH);
    blake3_hasher_finalize(&hasher, hash.bytes, WAL_HASH_SIZE);
    return hash;
}

void wal_encode_segment_header(const wal_segment_header_t *header,
                               uint8_t ret_bytes[WAL_SEGMENT_HEADER_SIZE])
{
    CHECK(s_stream_ok(header->stream));
    CHECK(header->first_seq >= 1);
    memset(ret_bytes, 0, WAL_SEGMENT_HEADER_SIZE);
    memcpy(ret_bytes, s_magic_segment, sizeof(s_magic_segment));
    bytes_put_u16(ret_bytes + 4, VERSION);
    bytes_put_u16(ret_bytes + 6, WAL_SEGMENT_HEADER_SIZE);
    s_put_stream(ret_bytes + 8, header->stream);
    bytes_put_u64(ret_bytes + 32, header->first_seq);
    memcpy(ret_bytes + 40, header->previous_hash.bytes, WAL_HASH_SIZE);
    bytes_put_u64(ret_bytes + 72, (uint64_t)header->created_wall_ns);
    s_put_name(ret_bytes + SEGMENT_TENANT_NAME, header->tenant_name);
    s_put_name(ret_bytes + SEGMENT_REGION_NAME, header->region_name);
    const wal_hash_t hash = s_hash_segment(ret_bytes);
    memcpy(ret_bytes + SEGMENT_HASH, hash.bytes, WAL_HASH_SIZE);
}

static err_t s_decode_segment(slice_t bytes, wal_block_t *ret_block, errbuf_t *errbuf)
{
    const uint8_t *at = bytes.data;
    ret_block->size = WAL_SEGMENT_HEADER_SIZE;
    if (bytes.size < WAL_SEGMENT_HEADER_SIZE) {
        errbuf_set(errbuf, "segment header: expected %d bytes, found %zu", WAL_SEGMENT_HEADER_SIZE,
                   bytes.size);
        return ERR_AGAIN;
    }
    err_t err = s_check_version(at, "segment header", errbuf);
    if (err != ERR_OK) {
        return err;
    }
    const wal_hash_t hash = s_hash_segment(at);
    if (memcmp(hash.bytes, at + SEGMENT_HASH, WAL_HASH_SIZE) != 0) {
        return s_hash_mismatch("segment header", at + SEGMENT_HASH, &hash, errbuf);
    }
    wal_segment_header_t header;
    header.stream = s_get_stream(at + 8);
    header.first_seq = bytes_get_u64(at + 32);
    memcpy(header.previous_hash.bytes, at + 40, WAL_HASH_SIZE);
    header.created_wall_ns = (int64_t)bytes_get_u64(at + 72);
    const bool names_ok = s_get_name(at + SEGMENT_TENANT_NAME, header.tenant_name) &&
                          s_get_name(at + SEGMENT_REGION_NAME, header.region_name);
    const bool zeros_ok =
        s_is_zero(at + 28, 4) && s_is_zero(at + SEGMENT_ZERO, SEGMENT_HASH - SEGMENT_ZERO);
    if (!names_ok || !zeros_ok || !s_stream_ok(header.stream) || header.first_seq == 0 ||
        bytes_get_u16(at + 6) != WAL_SEGMENT_HEADER_SIZE) {
        errbuf_set(errbuf, "segment header: its hash is right, but a field is out of range");
        return ERR_CORRUPT;
    }
    ret_block->kind = WAL_BLOCK_SEGMENT;
    ret_block->as.segment = header;
    return ERR_OK;
}

/* -- batch ------------------------------------------------------------------------------------- */

size_t wal_batch_block_size(size_t producer_size, size_t payload_size)
{
    CHECK(producer_size <= PRODUCER_SIZE_MAX && payload_size <= WAL_PAYLOAD_SIZE_MAX);
    return (WAL_BATCH_HEADER_SIZE + producer_size + payload_size + 7) / 8 * 8;
}

static wal_hash_t s_hash_batch(const uint8_t *block, size_t block_size)
{
    wal_hash_t hash;
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, block, BATCH_HASH);
    blake3_hasher_update(&hasher, block + WAL_BATCH_HEADER_SIZE,
                         block_size - WAL_BATCH_HEADER_SIZE);
    blake3_hasher_finalize(&hasher, hash.bytes, WAL_HASH_SIZE);
    return hash;
}

static bool s_seqs_ok(const wal_batch_t *batch)
{
    return batch->event_count >= 1 && batch->event_count <= WAL_BATCH_COUNT_MAX &&
           batch->first_seq >= 1 && batch->first_seq <= UINT64_MAX - batch->event_count &&
           batch->synced_seq < batch->first_seq && batch->segment_first_seq >= 1 &&
           batch->segment_first_seq <= batch->first_seq;
}

/* Zero, or another copy of the same (tenant, shard). */
static bool s_reissue_ok(const wal_batch_t *batch)
{
    const wal_reissue_t *reissue = &batch->reissue;
    if (reissue->named.seq == 0) {
        return reissue->from.value == 0 && reissue->named.stream.incarnation == 0 &&
               reissue->named.stream.origin.region.value == 0;
    }
    return batch->has_producer && reissue->from.value >= 1 &&
           reissue->from.value <= REGION_COUNT_MAX && s_stream_ok(reissue->named.stream) &&
           reissue->named.stream.tenant.value == batch->stream.tenant.value &&
           reissue->named.stream.origin.shard.value == batch->stream.origin.shard.value &&
           reissue->named.seq <= UINT64_MAX - batch->event_count;
}

static void s_put_reissue(uint8_t *at, const wal_reissue_t *reissue)
{
    bytes_put_u64(at, reissue->named.stream.incarnation);
    bytes_put_u64(at + 8, reissue->named.seq);
    bytes_put_u16(at + 16, reissue->named.stream.origin.region.value);
    bytes_put_u16(at + 18, reissue->from.value);
}

/* Tenant and shard from the batch's own stream; of a batch that is none all stays zero. */
static wal_reissue_t s_get_reissue(const uint8_t *at, stream_id_t own)
{
    wal_reissue_t reissue = {.named = {.seq = bytes_get_u64(at + 8)},
                             .from = {bytes_get_u16(at + 18)}};
    if (reissue.named.seq != 0) {
        reissue.named.stream = own;
    }
    reissue.named.stream.incarnation = bytes_get_u64(at);
    reissue.named.stream.origin.region.value = bytes_get_u16(at + 16);
    return reissue;
}

void wal_encode_batch(wal_batch_t *batch, buffer_t *out)
{
    const size_t producer_size = batch->has_producer ? batch->producer.size : 0;
    CHECK_IMPLIES(batch->has_producer, producer_size >= 1 && producer_size <= PRODUCER_SIZE_MAX);
    CHECK(batch->payload.size >= 1 && batch->payload.size <= WAL_PAYLOAD_SIZE_MAX);
    CHECK(s_stream_ok(batch->stream));
    CHECK(s_seqs_ok(batch));
    CHECK(s_reissue_ok(batch));

    const size_t size = wal_batch_block_size(producer_size, batch->payload.size);
    uint8_t *at = buffer_extend(out, size);
    memset(at, 0, WAL_BATCH_HEADER_SIZE);
    memset(at + size - 8, 0, 8); /* the padding; overwritten as far as payload reaches */
    memcpy(at, s_magic_batch, sizeof(s_magic_batch));
    bytes_put_u16(at + 4, VERSION);
    at[6] = (uint8_t)producer_size;
    at[7] = batch->has_producer ? BATCH_HAS_PRODUCER : 0;
    s_put_stream(at + 8, batch->stream);
    bytes_put_u32(at + 28, batch->event_count);
    bytes_put_u64(at + 32, batch->epoch);
    bytes_put_u64(at + 40, batch->first_seq);
    bytes_put_u64(at + 48, batch->synced_seq);
    bytes_put_u64(at + 56, (uint64_t)batch->hlc.wall_ns);
    bytes_put_u32(at + 64, batch->hlc.logical);
    bytes_put_u32(at + 68, batch->hlc.node);
    bytes_put_u64(at + 72, batch->producer_seq);
    memcpy(at + BATCH_PREVIOUS_HASH, batch->previous_hash.bytes, WAL_HASH_SIZE);
    memcpy(at + BATCH_CONTENT_HASH, batch->content_hash.bytes, WAL_CONTENT_HASH_SIZE);
    bytes_put_u32(at + BATCH_PAYLOAD_SIZE, (uint32_t)batch->payload.size);
    bytes_put_u64(at + BATCH_SEGMENT_FIRST_SEQ, batch->segment_first_seq);
    s_put_reissue(at + BATCH_REISSUE, &batch->reissue);
    if (producer_size > 0) {
        memcpy(at + WAL_BATCH_HEADER_SIZE, batch->producer.data, producer_size);
    }
    memcpy(at + WAL_BATCH_HEADER_SIZE + producer_size, batch->payload.data, batch->payload.size);
    batch->hash = s_hash_batch(at, size);
    batch->block_size = size;
    memcpy(at + BATCH_HASH, batch->hash.bytes, WAL_HASH_SIZE);
}

/* The sizes first, because everything else depends on them. */
static err_t s_decode_sizes(const uint8_t *at, wal_batch_t *batch, errbuf_t *errbuf)
{
    const size_t producer_size = at[6];
    const size_t payload_size = bytes_get_u32(at + BATCH_PAYLOAD_SIZE);
    if (producer_size > PRODUCER_SIZE_MAX || payload_size < 1 ||
        payload_size > WAL_PAYLOAD_SIZE_MAX) {
        errbuf_set(errbuf, "batch: producer of %zu bytes (at most %d), payload of %zu (1..%d)",
                   producer_size, PRODUCER_SIZE_MAX, payload_size, WAL_PAYLOAD_SIZE_MAX);
        return ERR_CORRUPT;
    }
    batch->has_producer = producer_size > 0;
    batch->producer = slice_make(NULL, producer_size);
    batch->payload = slice_make(NULL, payload_size);
    batch->block_size = wal_batch_block_size(producer_size, payload_size);
    return ERR_OK;
}

static void s_decode_fields(const uint8_t *at, wal_batch_t *batch)
{
    batch->stream = s_get_stream(at + 8);
    batch->event_count = bytes_get_u32(at + 28);
    batch->epoch = bytes_get_u64(at + 32);
    batch->first_seq = bytes_get_u64(at + 40);
    batch->synced_seq = bytes_get_u64(at + 48);
    batch->segment_first_seq = bytes_get_u64(at + BATCH_SEGMENT_FIRST_SEQ);
    batch->hlc.wall_ns = (int64_t)bytes_get_u64(at + 56);
    batch->hlc.logical = bytes_get_u32(at + 64);
    batch->hlc.node = bytes_get_u32(at + 68);
    batch->producer_seq = bytes_get_u64(at + 72);
    batch->reissue = s_get_reissue(at + BATCH_REISSUE, batch->stream);
    memcpy(batch->previous_hash.bytes, at + BATCH_PREVIOUS_HASH, WAL_HASH_SIZE);
    memcpy(batch->content_hash.bytes, at + BATCH_CONTENT_HASH, WAL_CONTENT_HASH_SIZE);
    memcpy(batch->hash.bytes, at + BATCH_HASH, WAL_HASH_SIZE);
}

err_t wal_decode_batch_header(slice_t bytes, wal_batch_t *ret_batch, errbuf_t *errbuf)
{
    const uint8_t *at = bytes.data;
    wal_batch_t batch;
    if (bytes.size == 0) {
        return ERR_END;
    }
    if (bytes.size < WAL_BATCH_HEADER_SIZE) {
        errbuf_set(errbuf, "batch header: expected %d bytes, found %zu", WAL_BATCH_HEADER_SIZE,
                   bytes.size);
        return ERR_AGAIN;
    }
    if (memcmp(at, s_magic_batch, sizeof(s_magic_batch)) != 0) {
        return s_unknown_magic(bytes, "batch", errbuf);
    }
    err_t err = s_check_version(at, "batch", errbuf);
    if (err == ERR_OK) {
        err = s_decode_sizes(at, &batch, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    s_decode_fields(at, &batch);
    const bool zeros_ok = s_is_zero(at + BATCH_ZERO, 4) &&
                          s_is_zero(at + BATCH_RESERVED, BATCH_HASH - BATCH_RESERVED);
    if (!zeros_ok || !s_stream_ok(batch.stream) || !s_seqs_ok(&batch) || !s_reissue_ok(&batch) ||
        at[7] != (batch.has_producer ? BATCH_HAS_PRODUCER : 0)) {
        errbuf_set(errbuf, "batch: a field of its header is out of range");
        return ERR_CORRUPT;
    }
    *ret_batch = batch;
    return ERR_OK;
}

static err_t s_decode_batch(slice_t bytes, bool verify, wal_block_t *ret_block, errbuf_t *errbuf)
{
    const uint8_t *at = bytes.data;
    wal_batch_t batch = {.event_count = 0};
    ret_block->size = 0;
    err_t err = wal_decode_batch_header(bytes, &batch, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    ret_block->size = batch.block_size;
    if (bytes.size < batch.block_size) {
        errbuf_set(errbuf, "batch: expected %zu bytes, found %zu", batch.block_size, bytes.size);
        return ERR_AGAIN;
    }
    const size_t used = WAL_BATCH_HEADER_SIZE + batch.producer.size + batch.payload.size;
    if (!s_is_zero(at + used, batch.block_size - used)) {
        errbuf_set(errbuf, "batch: expected zeros as padding");
        return ERR_CORRUPT;
    }
    if (verify) {
        const wal_hash_t hash = s_hash_batch(at, batch.block_size);
        if (memcmp(hash.bytes, batch.hash.bytes, WAL_HASH_SIZE) != 0 && !MUTANT(SKIP_HASH_CHECK)) {
            return s_hash_mismatch("batch", batch.hash.bytes, &hash, errbuf);
        }
    }
    batch.producer.data = batch.has_producer ? at + WAL_BATCH_HEADER_SIZE : NULL;
    batch.payload.data = at + WAL_BATCH_HEADER_SIZE + batch.producer.size;
    ret_block->kind = WAL_BLOCK_BATCH;
    ret_block->as.batch = batch;
    return ERR_OK;
}

/* -- footer ------------------------------------------------------------------------------------ */

static void s_put_footer(const wal_footer_t *footer, uint8_t *at)
{
    memset(at, 0, WAL_FOOTER_SIZE);
    memcpy(at, s_magic_footer, sizeof(s_magic_footer));
    bytes_put_u16(at + 4, VERSION);
    bytes_put_u16(at + 6, WAL_FOOTER_SIZE);
    bytes_put_u64(at + 8, footer->first_seq);
    bytes_put_u64(at + 16, footer->last_seq);
    bytes_put_u64(at + 24, footer->event_count);
    bytes_put_u32(at + 32, footer->batch_count);
    bytes_put_u64(at + 40, footer->offset);
}

static wal_hash_t s_root(const wal_footer_t *footer, slice_t batch_hashes)
{
    uint8_t head[WAL_FOOTER_SIZE];
    wal_hash_t root;
    blake3_hasher hasher;
    s_put_footer(footer, head);
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, head, FOOTER_ROOT);
    blake3_hasher_update(&hasher, batch_hashes.data, batch_hashes.size);
    blake3_hasher_finalize(&hasher, root.bytes, WAL_HASH_SIZE);
    return root;
}

static bool s_footer_ok(const wal_footer_t *footer)
{
    return footer->first_seq >= 1 && footer->last_seq >= footer->first_seq &&
           footer->last_seq < UINT64_MAX &&
           footer->event_count == footer->last_seq - footer->first_seq + 1 &&
           footer->batch_count >= 1 && footer->batch_count <= footer->event_count &&
           footer->offset > WAL_SEGMENT_HEADER_SIZE && footer->offset % 8 == 0;
}

void wal_encode_footer(wal_footer_t *footer,
                       slice_t batch_hashes,
                       uint8_t ret_bytes[WAL_FOOTER_SIZE])
{
    CHECK(s_footer_ok(footer));
    CHECK(batch_hashes.size == (size_t)footer->batch_count * WAL_HASH_SIZE);
    footer->root = s_root(footer, batch_hashes);
    s_put_footer(footer, ret_bytes);
    memcpy(ret_bytes + FOOTER_ROOT, footer->root.bytes, WAL_HASH_SIZE);
}

bool wal_footer_matches(const wal_footer_t *footer, slice_t batch_hashes)
{
    if (batch_hashes.size != (size_t)footer->batch_count * WAL_HASH_SIZE) {
        return false;
    }
    const wal_hash_t root = s_root(footer, batch_hashes);
    return memcmp(root.bytes, footer->root.bytes, WAL_HASH_SIZE) == 0;
}

static err_t s_decode_footer(slice_t bytes, wal_block_t *ret_block, errbuf_t *errbuf)
{
    const uint8_t *at = bytes.data;
    ret_block->size = WAL_FOOTER_SIZE;
    if (bytes.size < WAL_FOOTER_SIZE) {
        errbuf_set(errbuf, "footer: expected %d bytes, found %zu", WAL_FOOTER_SIZE, bytes.size);
        return ERR_AGAIN;
    }
    err_t err = s_check_version(at, "footer", errbuf);
    if (err != ERR_OK) {
        return err;
    }
    wal_footer_t footer;
    footer.first_seq = bytes_get_u64(at + 8);
    footer.last_seq = bytes_get_u64(at + 16);
    footer.event_count = bytes_get_u64(at + 24);
    footer.batch_count = bytes_get_u32(at + 32);
    footer.offset = bytes_get_u64(at + 40);
    memcpy(footer.root.bytes, at + FOOTER_ROOT, WAL_HASH_SIZE);
    const bool zeros_ok =
        s_is_zero(at + 36, 4) && s_is_zero(at + FOOTER_ZERO, FOOTER_ROOT - FOOTER_ZERO);
    if (!zeros_ok || !s_footer_ok(&footer) || bytes_get_u16(at + 6) != WAL_FOOTER_SIZE) {
        errbuf_set(errbuf, "footer: a field is out of range");
        return ERR_CORRUPT;
    }
    ret_block->kind = WAL_BLOCK_FOOTER;
    ret_block->as.footer = footer;
    return ERR_OK;
}

/* -- any block --------------------------------------------------------------------------------- */

static err_t s_decode(slice_t bytes, bool verify, wal_block_t *ret_block, errbuf_t *errbuf)
{
    if (bytes.size == 0) {
        return ERR_END;
    }
    if (bytes.size < sizeof(s_magic_batch)) {
        ret_block->size = 0;
        errbuf_set(errbuf, "block: expected a magic of 4 bytes, found %zu bytes", bytes.size);
        return ERR_AGAIN;
    }
    if (memcmp(bytes.data, s_magic_batch, sizeof(s_magic_batch)) == 0) {
        return s_decode_batch(bytes, verify, ret_block, errbuf);
    }
    if (memcmp(bytes.data, s_magic_segment, sizeof(s_magic_segment)) == 0) {
        return s_decode_segment(bytes, ret_block, errbuf);
    }
    if (memcmp(bytes.data, s_magic_footer, sizeof(s_magic_footer)) == 0) {
        return s_decode_footer(bytes, ret_block, errbuf);
    }
    return s_unknown_magic(bytes, "block", errbuf);
}

err_t wal_decode_block(slice_t bytes, wal_block_t *ret_block, errbuf_t *errbuf)
{
    return s_decode(bytes, true, ret_block, errbuf);
}

err_t wal_decode_block_trusted(slice_t bytes, wal_block_t *ret_block, errbuf_t *errbuf)
{
    return s_decode(bytes, false, ret_block, errbuf);
}
