/* What the ledger writes into a checkpoint, byte by byte. Version 1. All numbers little-endian
 * where nothing else is said; varint is the one of common/base/varint.h (shortest form only).
 *
 * An entry per part of the state. Its key names it and is the same on every replica; its value is
 * canonical: equal states have equal bytes. The state digest is built from the same bytes, so two
 * replicas have equal digests exactly when their checkpoints hold equal entries (but for collisions
 * of a 128-bit hash). A store puts a prefix of its own before each key.
 *
 *   kind        key                                               bytes
 *   seen chunk  'S', part u8 (0..63), number u32 big-endian       6
 *   cell        'c', item u64 big-endian, signal u8, cohort       10, and the cohort's name, 0..64
 *   item        'i', item u64 big-endian                          9
 *   relation    'r', user u64 big-endian, action u8, target u64   18
 *               big-endian
 *   seen        's', user u64 big-endian, item u64 big-endian     17
 *   user        'u', user u64 big-endian                          9
 *
 * Seen pairs are the one part that a checkpoint keeps in another form than an entry each: in
 * chunks, appended as pairs change (ledger_seen.c says why). Chunks depend on history; the pairs
 * that they come to do not. A walk over the state (ledger_walk), a comparison and the digest know
 * pairs only.
 *
 * No cohort (the cell of all users) is an empty name, any other one is UTF-8. An item, user or
 * relation has an entry from its first register on, a cell from its first event on, also a voided
 * one; a seen pair while at least one signal of that user for that item counts.
 *
 * cell
 *   0   1   version 1
 *   1   8   newest event time, i64 ns since 1970, >= 0; of voided events as well
 *   9   1   which sums follow: bit i = the landmark i before the one of the newest event, i 0..3
 *   10  16  for each bit set, lowest first: the decayed sum, two's complement, units of 2^-40,
 *           never 0
 *   -       varint: events that count, ever
 *   -       varint: how many minutes follow, 0..120; then for each, youngest first:
 *             varint: age in minutes before the newest event's minute (0..119) for the first one,
 *                     then how much older than the one before (1 and up)
 *             varint: events, 1..2^48-1
 *   -       varint: how many hours follow, 0..744; the same with ages 0..743
 *   The newest minute counts no more events than the newest hour, and the hours together no more
 *   than all. What is not counted is left out: an empty bucket equals a missing one.
 *
 * item, user: registers, the last write wins
 *   0   1   version 1
 *   1   16  cleared: stamp of the latest delete (zero: never; always zero for a user)
 *   17  16  written: stamp of the latest write above `cleared` (zero: none, the thing does not
 *           exist)
 *   33  -   registers in rising order of their names (bytes compared as unsigned, a prefix first),
 *           all with stamps above `cleared`, none above `written`. Each: name size u16, name, stamp
 *           16 bytes, value size u32, value
 *   A stamp is wall i64 ns >= 0, logical u32, node u32. An item's names are one byte, its field
 *   (record.h); a user's are the attributes' names. At most REGISTER_COUNT_MAX registers are kept,
 *   those with the latest stamps (equal stamps: the first names).
 *
 * relation
 *   0   1   version 1
 *   1   1   1 set (hidden, muted, blocked), 0 not set
 *   2   16  stamp
 *
 * seen
 *   0   1   version 1
 *   1   -   varint: signals of this user for this item that count, 1 and up
 *
 * seen chunk
 *   0   1   version 1
 *   1   -   records, at least one: user varint, item varint, both not 0, and count varint: how many
 *           signals count now; 0 when none does any more
 *   The chunk with the highest number decides; within a chunk the last record. A pair's part is the
 *   upper 6 bits of h(user) + h(item) * 0x9e3779b97f4a7c15, h being index_hash (index.h).
 *
 * Digest of the state: the sum modulo 2^128 over all entries but the seen ones of XXH3_128 (seed 0)
 * over u16 key size, key, value; plus for each seen pair its count times XXH3_128 (seed 115, 's')
 * over user u64 and item u64. As bytes: low 64 bits first. */
#ifndef TIDAL_COMMON_SIGNAL_CHECKPOINT_FORMAT_H
#define TIDAL_COMMON_SIGNAL_CHECKPOINT_FORMAT_H

#include "common/base/bounds.h"

enum {
    CHECKPOINT_VERSION = 1,
    CHECKPOINT_KEY_CELL = 'c',
    CHECKPOINT_KEY_ITEM = 'i',
    CHECKPOINT_KEY_RELATION = 'r',
    CHECKPOINT_KEY_SEEN = 's',
    CHECKPOINT_KEY_SEEN_CHUNK = 'S',
    CHECKPOINT_KEY_USER = 'u',
    CHECKPOINT_CELL_KEY_SIZE = 10, /* without a cohort */
    CHECKPOINT_ITEM_KEY_SIZE = 9,
    CHECKPOINT_RELATION_KEY_SIZE = 18,
    CHECKPOINT_SEEN_KEY_SIZE = 17,
    CHECKPOINT_SEEN_CHUNK_KEY_SIZE = 6,
    CHECKPOINT_USER_KEY_SIZE = 9,
    CHECKPOINT_KEY_SIZE_MAX = CHECKPOINT_CELL_KEY_SIZE + NAME_LENGTH_MAX,
    CHECKPOINT_RELATION_VALUE_SIZE = 18
};

#endif
