/* Writes the segment files of one stream, in groups: what was added since the last flush goes to
 * the disk with one write and one sync. Shared by the origin's log and by replicas; it knows blocks
 * and files, and nothing of who may write what.
 *
 * A group is a list of pieces, one per segment that it touches; most groups are one piece. For each
 * piece in order:
 *
 *   creates a segment   folder made (once) - write header and batches to <name>.tmp - sync -
 *                       rename - sync of the folder
 *   adds to one         write - (make room ahead) - sync
 *   seals one           (after the batches are durable) write the footer - trim - sync
 *
 * so a segment that is visible has an intact header, and a footer stands only behind batches that
 * were durable before it. The first failure ends the writer: nothing is retried, and what the file
 * then holds is for the next recovery to judge.
 *
 * Room ahead: where small groups make the file grow, zeros are written behind them, as many as the
 * segment holds already, at most WAL_ZERO_FILL_SIZE_MAX. The syncs of the groups that then fill
 * that room need no new length and no new blocks, so they do not wait for the file system's
 * journal, which all files share. Readers and recovery take zeros for the end; a sealed segment has
 * none.
 *
 * Invariants
 *   1. durable_seq <= appended_seq; equal when no group is pending.
 *   2. the tail is open exactly when the last block added was neither a footer nor nothing.
 *   3. the bytes of the group stay readable after the flush, until something new is added. */
#ifndef TIDAL_COMMON_WAL_WAL_WRITER_H
#define TIDAL_COMMON_WAL_WAL_WRITER_H

#include "common/wal/wal_recovery.h"

typedef struct wal_writer wal_writer_t;

typedef struct {
    uint64_t written_bytes; /* of blocks */
    uint64_t zeroed_bytes;  /* made ahead */
    uint64_t sealed_count;  /* segments */
} wal_writer_stats_t;

/* takes the lists and hashes of *recovery, which must hold no damage beyond a repaired tail.
 * borrows disk; copies folder. errs ERR_IO the open segment cannot be opened */
err_t wal_writer_new(const disk_t *disk,
                     const char *folder,
                     wal_recovery_t *recovery,
                     wal_writer_t **ret_writer,
                     errbuf_t *errbuf);
/* Forgets what was not flushed. */
void wal_writer_destroy(wal_writer_t **self_p);

/* Begins a segment. in header  encoded, of WAL_SEGMENT_HEADER_SIZE bytes; the tail is not open */
void wal_writer_begin(wal_writer_t *self, uint64_t first_seq, const uint8_t *header);
/* Adds a batch: encoded here, or whose block is given. The tail is open and the batch follows. */
void wal_writer_encode(wal_writer_t *self, wal_batch_t *batch);
void wal_writer_add(wal_writer_t *self, const wal_batch_t *batch, slice_t block);
/* Ends the open segment with its footer. It holds at least one batch. */
void wal_writer_seal(wal_writer_t *self);
/* The footer that wal_writer_seal would write now. */
void wal_writer_footer(const wal_writer_t *self, uint8_t ret_bytes[WAL_FOOTER_SIZE]);

/* Whether room may be made ahead; off at first. */
void wal_writer_set_zero_fill(wal_writer_t *self, bool zero_fill);

/* Makes all that was added durable. errs ERR_IO, ERR_DISK_FULL: the writer is dead from now on, the
 * process must log it and exit */
err_t wal_writer_flush(wal_writer_t *self, errbuf_t *errbuf);

bool wal_writer_failed(const wal_writer_t *self);
bool wal_writer_pending(const wal_writer_t *self);
size_t wal_writer_pending_size(const wal_writer_t *self);

/* Gives back the memory of a large group that was flushed, for a writer whose groups nobody reads.
 */
void wal_writer_forget_group(wal_writer_t *self);

/* How many sealed segments wal_writer_truncate would unlink. */
size_t wal_writer_truncatable(const wal_writer_t *self, uint64_t through_seq, uint64_t keep_bytes);
/* Unlinks sealed segments that end at or below through_seq, the oldest first, as long as keep_bytes
 * of segments are left, and always the last file. A crash in between leaves a stream that begins
 * later, and whole.
 * out ret_count  how many are gone, also on error
 * errs ERR_IO: the rest stays; durability is not lost, it may be tried again */
err_t wal_writer_truncate(wal_writer_t *self,
                          uint64_t through_seq,
                          uint64_t keep_bytes,
                          size_t *ret_count,
                          errbuf_t *errbuf);

/* Batches of the group, flushed or not; they live until something new is added. */
size_t wal_writer_group_count(const wal_writer_t *self);
/* in i below that count. The slices of ret_batch live as long. */
void wal_writer_group_get(const wal_writer_t *self, size_t i, wal_batch_t *ret_batch);

uint64_t wal_writer_durable_seq(const wal_writer_t *self);
uint64_t wal_writer_appended_seq(const wal_writer_t *self);
wal_hash_t wal_writer_durable_hash(const wal_writer_t *self);
wal_hash_t wal_writer_appended_hash(const wal_writer_t *self);
/* The segment that takes batches, with all that was added; lives until the next change. */
const wal_tail_t *wal_writer_tail(const wal_writer_t *self);
/* Sealed and durable segments; lives until the next flush. */
const wal_segment_list_t *wal_writer_sealed(const wal_writer_t *self);
wal_writer_stats_t wal_writer_stats(const wal_writer_t *self);

#endif
