/* The log on disk and on links, byte by byte. Version 1. All numbers little-endian.
 *
 * A segment file is one header, then batches end to end, then, once sealed, one footer. Each of the
 * three is a block: it begins with its magic and is covered by BLAKE3. Blocks travel between
 * regions exactly as they lie in the file, so a replica's file equals the origin's.
 *
 * Segment header, WAL_SEGMENT_HEADER_SIZE = 256 bytes
 *   0    4   magic "TMS1"
 *   4    2   version 1
 *   6    2   header size 256
 *   8    8   tenant generation
 *   16   8   incarnation
 *   24   2   origin region id
 *   26   2   shard
 *   28   4   zero
 *   32   8   first seq
 *   40   32  hash of the last batch before this segment (zero for the first of a stream)
 *   72   8   created, wall ns (of the origin's clock; for people)
 *   80   64  tenant name, zero-padded
 *   144  64  origin region name, zero-padded
 *   208  16  zero
 *   224  32  BLAKE3 of bytes 0..223
 *
 * Batch: header of WAL_BATCH_HEADER_SIZE = 208 bytes, then the producer, then the payload, then
 * zeros up to a multiple of 8
 *   0    4   magic "TMB1"
 *   4    2   version 1
 *   6    1   producer size, 0 (none) .. 64
 *   7    1   flags: 1 = has producer
 *   8    8   tenant generation
 *   16   8   incarnation
 *   24   2   origin region id
 *   26   2   shard
 *   28   4   event count, 1..65536
 *   32   8   epoch of the leader that logged it; 0: an island did
 *   40   8   first seq
 *   48   8   synced seq: every event up to here was durable when this batch was written. Damage at
 *            or below it is never a torn tail
 *   56   8   hlc wall ns
 *   64   4   hlc logical
 *   68   4   hlc node
 *   72   8   producer seq
 *   80   32  BLAKE3 hash field of the previous batch of the stream (zero for the first)
 *   112  16  content hash: of what the client sent, so that a retry with other content is refused
 *   128  4   payload size, 1..WAL_PAYLOAD_SIZE_MAX
 *   132  4   zero
 *   136  8   first seq of the segment that it lies in. So a batch that lost its segment's header on
 *            the way is never put into the segment before
 *   144  8   reissue: incarnation of the copy that answers name; 0 with all of the next three: none
 *   152  8   its first seq
 *   160  2   its origin region; tenant, shard and event count are those of this batch
 *   162  2   origin region of the copy that this one was made from
 *   164  12  zero, reserved
 *   176  32  BLAKE3 of bytes 0..175, then producer, payload and padding
 *
 * Footer, WAL_FOOTER_SIZE = 96 bytes; a function of the batches alone
 *   0    4   magic "TMF1"
 *   4    2   version 1
 *   6    2   footer size 96
 *   8    8   first seq of the segment
 *   16   8   last seq
 *   24   8   event count
 *   32   4   batch count
 *   36   4   zero
 *   40   8   offset of this footer in the file
 *   48   16  zero
 *   32 bytes at 64: BLAKE3 root over bytes 0..63 and then the hash field of every batch in order
 *
 * Invariants
 *   1. first seq of a batch = last seq of the batch before it + 1; the first batch of a segment has
 *      the segment's first seq.
 *   2. the previous hash of a batch is the hash field of the batch before it, across segments.
 *   3. a sealed segment ends with its footer; only the last segment of a stream may be unsealed.
 *   4. segments are never empty once sealed; a header alone may stand at the end of a stream.
 *   5. the last character of a magic is the version, as the field behind it. A block where both
 *      name the same later version is of a later program (ERR_UNSUPPORTED: not ours to move); where
 *      they differ it is damaged, as any other changed byte makes it.
 * Change of anything here: a new version, a new golden file, and a decision in the README. */
#ifndef TIDAL_COMMON_WAL_WAL_FORMAT_H
#define TIDAL_COMMON_WAL_WAL_FORMAT_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/hlc.h"
#include "common/base/ids.h"

enum {
    WAL_HASH_SIZE = 32,
    WAL_CONTENT_HASH_SIZE = 16,
    WAL_SEGMENT_HEADER_SIZE = 256,
    WAL_BATCH_HEADER_SIZE = 208,
    WAL_FOOTER_SIZE = 96,
    WAL_BLOCK_SIZE_MAX = WAL_BATCH_HEADER_SIZE + PRODUCER_SIZE_MAX + WAL_PAYLOAD_SIZE_MAX + 8
};

typedef struct {
    uint8_t bytes[WAL_HASH_SIZE];
} wal_hash_t;

typedef struct {
    uint8_t bytes[WAL_CONTENT_HASH_SIZE];
} content_hash_t;

typedef struct {
    stream_id_t stream;
    uint64_t first_seq;
    wal_hash_t previous_hash;
    int64_t created_wall_ns;
    char tenant_name[NAME_LENGTH_MAX + 1];
    char region_name[NAME_LENGTH_MAX + 1];
} wal_segment_header_t;

/* A leader logs a request anew that it holds of an earlier epoch, so that no third copy can
 * displace it (common/engine/replica_reissue.c). What clients were told of the first one stays
 * true: answers name it for ever, whichever copy counts. */
typedef struct {
    stream_position_t
        named;        /* stream and first seq of the copy that answers name; seq 0: this one */
    region_id_t from; /* origin of the copy that it was made from; 0 none */
} wal_reissue_t;

/* A batch to be written, or one that was decoded (then the slices borrow from the bytes). */
typedef struct {
    stream_id_t stream;
    uint64_t epoch; /* of the leader that logged it; 0: an island did */
    uint64_t first_seq;
    uint64_t segment_first_seq; /* of the segment that it lies in */
    uint64_t synced_seq;
    uint32_t event_count;
    hlc_stamp_t hlc;
    bool has_producer;
    slice_t producer; /* 1..64 bytes where has_producer */
    uint64_t producer_seq;
    content_hash_t content_hash;
    wal_reissue_t reissue; /* only where has_producer */
    wal_hash_t previous_hash;
    wal_hash_t hash; /* out of encode and decode */
    slice_t payload;
    size_t block_size; /* out: whole block with padding */
} wal_batch_t;

static inline uint64_t wal_batch_last_seq(const wal_batch_t *batch)
{
    return batch->first_seq + batch->event_count - 1;
}

/* Stream and first seq that answers give: of a reissue those of the copy that it stands for. */
static inline stream_position_t wal_batch_name(const wal_batch_t *batch)
{
    return batch->reissue.named.seq != 0 ? batch->reissue.named
                                         : (stream_position_t){batch->stream, batch->first_seq};
}

typedef struct {
    uint64_t first_seq;
    uint64_t last_seq;
    uint64_t event_count;
    uint32_t batch_count;
    uint64_t offset;
    wal_hash_t root;
} wal_footer_t;

typedef enum { WAL_BLOCK_SEGMENT, WAL_BLOCK_BATCH, WAL_BLOCK_FOOTER } wal_block_kind_t;

typedef struct {
    wal_block_kind_t kind;
    size_t size; /* bytes of the whole block */
    union {
        wal_segment_header_t segment;
        wal_batch_t batch;
        wal_footer_t footer;
    } as;
} wal_block_t;

void wal_encode_segment_header(const wal_segment_header_t *header,
                               uint8_t ret_bytes[WAL_SEGMENT_HEADER_SIZE]);
/* Appends the block; fills batch->hash and batch->block_size. */
void wal_encode_batch(wal_batch_t *batch, buffer_t *out);

/* Bytes of the whole block of such a batch, padding included. */
size_t wal_batch_block_size(size_t producer_size, size_t payload_size);

/* Encodes a footer from its fields and the hash fields of all its batches, end to end; fills
 * footer->root. in batch_hashes footer->batch_count * WAL_HASH_SIZE bytes */
void wal_encode_footer(wal_footer_t *footer,
                       slice_t batch_hashes,
                       uint8_t ret_bytes[WAL_FOOTER_SIZE]);
/* Whether the root is that of these fields and hashes. A footer alone cannot be verified: this must
 * follow wal_decode_block wherever the batches were walked. */
bool wal_footer_matches(const wal_footer_t *footer, slice_t batch_hashes);

/* Decodes and verifies the block at the beginning of bytes. errs ERR_END bytes is empty ·
 * ERR_AGAIN the block is longer than bytes (ret_block->size tells how long, if known, else 0) ·
 * ERR_CORRUPT · ERR_UNSUPPORTED a later version. The records inside the payload are not looked at,
 * and the root of a footer is not computed (wal_footer_matches). */
err_t wal_decode_block(slice_t bytes, wal_block_t *ret_block, errbuf_t *errbuf);

/* As wal_decode_block, but the hash of a batch is believed and not computed: for bytes that were
 * verified before, or that this process wrote itself. */
err_t wal_decode_block_trusted(slice_t bytes, wal_block_t *ret_block, errbuf_t *errbuf);

/* Decodes the header of a batch alone, to step over the batch: as wal_decode_block_trusted, but the
 * first WAL_BATCH_HEADER_SIZE bytes are enough, and producer and payload have sizes and no bytes.
 * errs ERR_END, ERR_AGAIN, ERR_CORRUPT (also another kind of block), ERR_UNSUPPORTED */
err_t wal_decode_batch_header(slice_t bytes, wal_batch_t *ret_batch, errbuf_t *errbuf);

#endif
