/* The copy of another node's stream, written by this region's receiver alone from blocks that came
 * over a link.
 *
 * Nothing is believed: every block is decoded and verified in whole before any of its bytes can
 * reach a file, belongs to this very stream, and follows what is held by number and by hash.
 * Because blocks are stored as they came, a sealed segment here equals the origin's byte for byte.
 *
 *   block     where it lies                        what happens
 *   header    first seq = position + 1             the open segment is sealed, with the footer that
 *                                                  its batches imply, and a new one begins
 *   batch     first seq = position + 1             accepted, if its previous hash is ours and its
 *                                                  records are well-formed
 *   footer    of the open segment, at position     compared with ours; seals
 *   any       at or below position                 skipped: it is held
 *   batch     begins at or below, ends above       ERR_CONFLICT
 *   any       begins above position + 1            ERR_GAP
 *   batch     of a segment that is not open        ERR_GAP: ask from position + 1, which brings the
 *                                                  header along
 *
 * Position (appended) is the last event accepted; durable is the last one flushed, and only that
 * may be confirmed. Damage found at open is not refused as in the origin's log, for the origin has
 * it all: it is set aside (wal_quarantine.h), the position falls back to the last intact batch
 * before it, and the rest is fetched again. Of the damaged segment a copy goes there and what is
 * intact in front of the damage stays, since it may have been confirmed; so a write of many groups
 * that a power cut tore, which looks like damage here, loses nothing that was durable. Segments
 * behind it, and one whose header does not count, go as they are.
 *
 * Join. Where the stream's log no longer begins with event 1 anywhere, a base holds what is before,
 * and says behind which event a segment begins from which all is needed (place.base). What the
 * base's state holds beyond that is needed as well: pairs in it may still have to be voided. A
 * copy that has no files begins there; one that ends before it could not be joined to what can
 * still be had: its files go, and it begins there too. Since that is where a segment of the origin
 * begins, all files equal the origin's.
 *
 * A failed flush means that durability is lost: the caller logs it and exits. */
#ifndef TIDAL_COMMON_WAL_WAL_REPLICA_H
#define TIDAL_COMMON_WAL_WAL_REPLICA_H

#include "common/wal/wal_quarantine.h"
#include "common/wal/wal_writer.h"

typedef struct wal_replica wal_replica_t;

typedef struct {
    wal_place_t
        place; /* strings are copied; the disk is borrowed until close. Its base is the join */
    bool verify_all; /* at open every batch of every segment, not of the last one alone */
    wal_quarantine_limits_t quarantine;
    bool no_zero_fill; /* never make room ahead, see wal_writer.h */
} wal_replica_options_t;

/* What an open or a set-aside found. */
typedef struct {
    uint64_t cut_bytes;       /* of the torn tail */
    uint32_t set_aside_count; /* segments, moved or copied */
    bool is_incomplete;       /* the copy may hold less than it did: see wal_replica_settle */
    errbuf_t reason;          /* of the first one set aside; empty when none was */
} wal_replica_report_t;

/* What became of an offer. */
typedef struct {
    uint64_t accepted_count; /* batches */
    uint64_t accepted_events;
    uint64_t taken_bytes;   /* of all blocks before the one that ended it, skipped ones too */
    uint64_t skipped_count; /* batches that are held */
    uint64_t position;      /* appended_seq after it */
} wal_offer_t;

/* Recovers the copy; a folder that is missing is an empty stream, and is made with the first flush.
 * in now  its wall time stands in the reasons of what is set aside
 * out ret_report  may be NULL
 * errs ERR_UNSUPPORTED a file of a later version; nothing was changed · ERR_IO · ERR_DISK_FULL */
err_t wal_replica_open(const wal_replica_options_t *options,
                       now_t now,
                       wal_replica_t **ret_replica,
                       wal_replica_report_t *ret_report,
                       errbuf_t *errbuf);
/* Forgets what was not flushed. Accepts null. */
void wal_replica_close(wal_replica_t **replica_p);

/* Takes whole blocks, end to end, up to the first that it must not take. What stands before that
 * one is accepted all the same, in memory, until the flush.
 * in  blocks     borrowed until return; at most INTERNAL_MESSAGE_SIZE_MAX bytes
 * out ret_offer  written always, also on error
 * errs ERR_CORRUPT a block does not verify, or its records do not (counted) · ERR_UNSUPPORTED a
 *      later version (counted) · ERR_CONFLICT another stream, another history, or an overlap: never
 *      retry (counted) · ERR_GAP ask again from ret_offer->position + 1 (counted) · ERR_FULL flush
 *      first · ERR_TOO_LARGE · ERR_DISK_FULL no room; nothing was taken, try later · ERR_IO failed
 *      before */
err_t wal_replica_offer(wal_replica_t *replica,
                        slice_t blocks,
                        wal_offer_t *ret_offer,
                        errbuf_t *errbuf);

/* Whether the copy may hold less than it once did: damage was set aside, or an end was cut that may
 * have been durable (a flipped bit in the last batch looks like a torn tail). A mark in the folder
 * says so, made before anything is taken away, so that no restart forgets it. */
bool wal_replica_is_incomplete(const wal_replica_t *replica);
/* Marks it. On a full disk there is no mark, which is no error, for the stream matters more: call
 * again. errs ERR_IO */
err_t wal_replica_mark_incomplete(wal_replica_t *replica, errbuf_t *errbuf);
/* It holds all again that others hold: takes the mark away. errs ERR_IO  it stays */
err_t wal_replica_settle(wal_replica_t *replica, errbuf_t *errbuf);

/* Makes all that was accepted durable. errs ERR_IO, ERR_DISK_FULL: log it and exit */
err_t wal_replica_flush(wal_replica_t *replica, errbuf_t *errbuf);

/* For damage that a reader found: copies the segment that holds seq to the quarantine and verifies
 * all of it, keeps what is intact in front of the damage, and sets all segments behind it aside.
 * Drops what was not flushed. The position falls back accordingly; a seq that is not held changes
 * nothing.
 * in reason  for people
 * errs as wal_replica_open; the replica must then be closed */
err_t wal_replica_set_aside(wal_replica_t *replica,
                            uint64_t seq,
                            const char *reason,
                            now_t now,
                            wal_replica_report_t *ret_report,
                            errbuf_t *errbuf);

/* Begins at the join of another base, if what was accepted ends before it: drops all files and what
 * was not flushed.
 * in join  of a base that is durable
 * out ret_joined  whether the position is the join's now
 * errs as wal_replica_open; the replica must then be closed */
err_t wal_replica_rebase(
    wal_replica_t *replica, const wal_base_t *join, now_t now, bool *ret_joined, errbuf_t *errbuf);

/* Whether wal_replica_truncate would unlink anything. */
bool wal_replica_can_truncate(const wal_replica_t *replica,
                              uint64_t through_seq,
                              uint64_t keep_bytes);
/* As wal_writer_truncate; not while a group is pending (nothing happens then).
 * in join         of a base that is durable: it is what allows the files to begin later, now and
 *                 after damage
 *    through_seq  at most the join's */
err_t wal_replica_truncate(wal_replica_t *replica,
                           const wal_base_t *join,
                           uint64_t through_seq,
                           uint64_t keep_bytes,
                           size_t *ret_count,
                           errbuf_t *errbuf);

uint64_t wal_replica_durable_seq(const wal_replica_t *replica);
uint64_t wal_replica_appended_seq(const wal_replica_t *replica);
/* Hash field of the last durable batch. */
wal_hash_t wal_replica_last_hash(const wal_replica_t *replica);
bool wal_replica_pending(const wal_replica_t *replica);
/* Whether the last durable segment's file still has its name; true where nothing is held, or
 * something is not flushed. What was removed under an open file is written into nothing.
 * cost one open */
bool wal_replica_is_there(const wal_replica_t *replica);
/* The stream's folder; lives as long as the replica. */
const char *wal_replica_folder(const wal_replica_t *replica);
/* As wal_log_sealed_segments_since; for tests. */
size_t wal_replica_sealed_segments_since(const wal_replica_t *replica,
                                         uint64_t seq,
                                         const wal_segment_t **ret_first);

#endif
