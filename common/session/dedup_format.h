/* What dedup writes into a checkpoint, byte by byte. Version 2. Numbers in keys big-endian, so that
 * entries are ordered as numbers; in values little-endian. A store puts a prefix before each key.
 *
 * Version 1 had no epochs: of two copies it kept the one with the lower HLC, and states made with
 * it hold what that rule left. They are refused, all of them, for half of a mesh judging by another
 * rule would never be equal to the rest.
 *
 *   kind      key
 *   seen      'p', producer size u8 (1..64), producer, block u32
 *   stable    't', origin region u16, incarnation u64
 *   position  'w', origin region u16, incarnation u64, first seq u64
 *
 * Tenant and shard are those of the checkpoint. The key order is also the order of loading: what
 * was seen, then how far each stream is stable, then where the copies lie.
 *
 * seen: some of the producer's intervals of seqs. The blocks of one producer are disjoint and
 * together hold maximal intervals. Which block holds what is no part of the state: equal states may
 * be cut into blocks differently.
 *   0   1   version 2
 *   1   16  first u64, last u64 (inclusive); 1..96 times, rising
 *
 * stable: 9 bytes
 *   0   1   version 2
 *   1   8   every position at or below this seq is forgotten; never 0
 *
 * position: one copy of a pair
 *   0   1   version 2
 *   1   1   1: another copy of the pair is stable, so the pair is; else 0
 *   2   4   events of the batch, 1..WAL_BATCH_COUNT_MAX
 *   6   16  HLC of the batch: wall i64 >= 0, logical u32, node u32
 *   22  16  content hash
 *   38  8   producer's seq u64
 *   46  8   epoch under which it was logged u64; 0: by an island
 *   54  8   of a reissue, the copy that answers name: incarnation u64; else 0, as the next two
 *   62  8   its first seq u64
 *   70  2   its origin region u16
 *   72  1   producer size u8
 *   73  -   producer
 *
 * Digest of the pairs seen: the sum modulo 2^128, over the maximal intervals of all producers, of
 * XXH3_128 (seed 0, low 64 bits first) over: producer size u8, producer, first u64, last u64. */
#ifndef TIDAL_COMMON_SESSION_DEDUP_FORMAT_H
#define TIDAL_COMMON_SESSION_DEDUP_FORMAT_H

#include "common/base/bounds.h"

enum {
    DEDUP_VERSION = 2,
    DEDUP_KEY_SEEN = 'p',
    DEDUP_KEY_STABLE = 't',
    DEDUP_KEY_POSITION = 'w',
    DEDUP_SEEN_KEY_SIZE_MAX = 2 + PRODUCER_SIZE_MAX + 4,
    DEDUP_STABLE_KEY_SIZE = 11,
    DEDUP_POSITION_KEY_SIZE = 19,
    DEDUP_INTERVAL_SIZE = 16,
    DEDUP_STABLE_VALUE_SIZE = 9,
    DEDUP_POSITION_VALUE_SIZE_MIN = 73 /* without the producer */
};

#endif
