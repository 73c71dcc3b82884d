/* The log of one stream at its origin: the only writer that the stream ever has (design section 4).
 *
 * The life of a write. wal_log_append gives a batch its event numbers, its place in the hash chain
 * and its block, in memory. At the end of the loop turn wal_log_flush makes the whole group durable
 * with one write and one sync; only then may the batches be applied, shipped, or acknowledged. They
 * stay readable (wal_log_group_get) until the next append, so nobody reads back what he just wrote.
 *
 *   appended_seq   last event that has a number; may still be in memory only
 *   durable_seq    last event that is on the disk; appended == durable when no group is pending
 *
 * Segments are sealed when the next batch would exceed their size, and by wal_log_tick after 2 s
 * without a batch or 60 s of age. A stream without events has no folder: it reaches the disk with
 * its first batch.
 *
 * Failures. No room is found out at append (ERR_DISK_FULL, nothing happened, try again later). A
 * failed flush, seal or tick means that durability is lost: the caller logs it and exits, and never
 * flushes again. Damage found at open is refused and left as it is; see wal_recovery.h for what is
 * damage and what is a torn tail.
 *
 * Not thread-safe; one process owns the folder (its lock is the caller's business). */
#ifndef TIDAL_COMMON_WAL_WAL_LOG_H
#define TIDAL_COMMON_WAL_WAL_LOG_H

#include "common/wal/wal_writer.h"

typedef struct wal_log wal_log_t;

typedef struct {
    wal_place_t place;           /* strings are copied; the disk is borrowed until close */
    uint64_t segment_size_bytes; /* SEGMENT_SIZE_MIN..MAX; 0 SEGMENT_SIZE_DEFAULT */
    int64_t seal_idle_ns;        /* without a batch; 0 means 2 s */
    int64_t seal_age_ns;         /* since the segment's first batch; 0 means 60 s */
    bool no_zero_fill;           /* never make room ahead, see wal_writer.h */
    wal_recovery_options_t recovery;
} wal_log_options_t;

/* Recovers the stream: cuts a torn tail, and syncs what is left before it returns. Creates nothing.
 * in   now            the ages of an unsealed segment count from here
 * out  ret_log        owned; close with wal_log_close
 * out  ret_cut_bytes  length of the torn tail that was cut; may be NULL
 * errs ERR_CORRUPT damage, or the log ends below known_durable_seq: nothing was changed, the
 *      message names file, offset, what was expected and found, and what to do · ERR_UNSUPPORTED a
 *      file of a later version; nothing was changed · ERR_IO · ERR_INVALID options out of range
 * cost reads header and footer of each segment and all of the last one */
err_t wal_log_open(const wal_log_options_t *options,
                   now_t now,
                   wal_log_t **ret_log,
                   uint64_t *ret_cut_bytes,
                   errbuf_t *errbuf);
/* Puts before the reason of an ERR_CORRUPT what to do about it. Of a node's own stream: no other
 * process repairs that. */
void wal_log_advise(errbuf_t *errbuf);
/* Forgets what was not flushed. Accepts null. */
void wal_log_close(wal_log_t **log_p);

/* Gives the batch its numbers and adds it to the group.
 * in   batch  epoch, event_count, hlc, producer, producer_seq, content_hash and payload are set.
 *             Producer and payload are copied
 * out  batch  stream, first_seq, synced_seq, previous_hash, hash and block_size, on ERR_OK only
 * errs ERR_DISK_FULL no room, see wal_log_has_room · ERR_FULL the group is full: flush, then append
 *      again · ERR_TOO_LARGE payload or producer beyond its limit · ERR_CORRUPT, ERR_UNSUPPORTED
 *      the payload is not event_count records of this version · ERR_IO the log failed before.
 *      Nothing happened in all of these
 * cost one copy and one hash of the payload, no system call but for a look at the free space */
err_t wal_log_append(wal_log_t *log, wal_batch_t *batch, now_t now, errbuf_t *errbuf);

/* Makes the group durable; without one nothing happens.
 * errs ERR_IO, ERR_DISK_FULL: durability is lost, log it and exit
 * cost one write and one sync; where a segment ends or begins, three of each; where room is made
 *      ahead, a second write */
err_t wal_log_flush(wal_log_t *log, errbuf_t *errbuf);

/* Whether so many bytes more can be logged. For admission, before the work of building a batch;
 * wal_log_append checks again.
 * in   size  of the block, see wal_batch_block_size */
bool wal_log_has_room(wal_log_t *log, size_t size);

/* Seals the segment when it is due, and not while a group is pending. Where the disk has no room
 * for a footer it is tried again a second later.
 * out  ret_sealed  whether it did; may be NULL
 * errs as wal_log_flush */
err_t wal_log_tick(wal_log_t *log, now_t now, bool *ret_sealed, errbuf_t *errbuf);
bool wal_log_seal_due(const wal_log_t *log, now_t now);
/* Monotonic time from which on a tick has something to do; INT64_MAX never. */
int64_t wal_log_deadline_ns(const wal_log_t *log);
/* Seals now (at a clean stop, say). Flushes the group. An empty segment stays. errs as
 * wal_log_flush */
err_t wal_log_seal(wal_log_t *log, errbuf_t *errbuf);

/* Batches of the last group, in order; readable until the next append, tick or seal. */
size_t wal_log_group_count(const wal_log_t *log);
void wal_log_group_get(const wal_log_t *log, size_t i, wal_batch_t *ret_batch);

/* As wal_writer_truncate; not while a group is pending (nothing happens then). The caller has all
 * events up to through_seq in a base that is durable. */
err_t wal_log_truncate(
    wal_log_t *log, uint64_t through_seq, uint64_t keep_bytes, size_t *ret_count, errbuf_t *errbuf);

stream_id_t wal_log_stream(const wal_log_t *log);
uint64_t wal_log_durable_seq(const wal_log_t *log);
uint64_t wal_log_appended_seq(const wal_log_t *log);
/* Hash field of the last durable batch; the base's where there is none. For tests. */
wal_hash_t wal_log_last_hash(const wal_log_t *log);
/* The stream's folder; lives as long as the log. */
const char *wal_log_folder(const wal_log_t *log);
/* Sealed, durable segments that hold any event above seq, in order. For tests.
 * out ret_first  lives until the next flush, tick or seal; NULL when there is none
 * returns how many. wal_files_segment_path gives their paths */
size_t wal_log_sealed_segments_since(const wal_log_t *log,
                                     uint64_t seq,
                                     const wal_segment_t **ret_first);
/* For tests and benchmarks. */
wal_writer_stats_t wal_log_stats(const wal_log_t *log);

#endif
