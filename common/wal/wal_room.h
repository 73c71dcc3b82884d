/* Whether the disk has room for more log, found out before anything is written.
 *
 * A write that fails for want of space in the middle of the log costs the process its life, so
 * admission keeps WAL_DISK_RESERVE_SIZE free: room for what was admitted and not yet written, for
 * footers and headers, and for what other processes write before this one looks again. The disk is
 * asked once per group of batches, whoever has filled it since the last one, and every time when
 * little is left; that takes a microsecond or two, and the group's sync a hundred times as long. */
#ifndef TIDAL_COMMON_WAL_WAL_ROOM_H
#define TIDAL_COMMON_WAL_WAL_ROOM_H

#include "common/base/seam.h"

#include <stdbool.h>

typedef struct {
    const disk_t *disk;   /* borrowed */
    const char *folder;   /* borrowed */
    uint64_t free_bytes;  /* at the last look */
    uint64_t taken_bytes; /* admitted since */
    bool is_current;      /* looked at since the last group was written */
} wal_room_t;

void wal_room_init(wal_room_t *self, const disk_t *disk, const char *folder);
/* Whether `size` bytes can be written: what is to be admitted and what was admitted and is not
 * written yet. A disk that cannot be asked counts as full. */
bool wal_room_has(wal_room_t *self, uint64_t size);
/* Whether there is so much, as far as is known, that some may be spent ahead. */
bool wal_room_is_ample(const wal_room_t *self);
/* Notes that so many more were admitted. */
void wal_room_take(wal_room_t *self, uint64_t size);
/* Notes that a group was written. */
void wal_room_flushed(wal_room_t *self);
/* Whether there is room for a footer: half of the reserve may go for it. */
bool wal_room_has_for_seal(wal_room_t *self);

#endif
