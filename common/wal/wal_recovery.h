/* What a stream's folder holds, judged at start: which batches count, and what is damage.
 *
 * The scan goes through the segments in order and stops at the first thing that is not as it should
 * be. Sealed segments are checked by header, footer and order (all of their batches where asked
 * for); the last segment is verified batch by batch. The scan changes nothing; wal_recovery_repair
 * then makes the folder fit for appending.
 *
 * A power cut leaves a tail of which each sector may be old or new: that tail is torn, and is cut
 * at a batch boundary, for as far as this file can tell nothing in it was ever durable. (A bit that
 * flipped in the last batch looks the same, so a replica that was cut counts as incomplete until
 * others have told what they hold: wal_replica.h.) Anything else is damage and is never cut. What
 * does not verify is damage, and no torn tail, when
 *   1. it lies at or below what the caller knows to be durable, or
 *   2. it is not in the last segment, or
 *   3. a footer stands behind it (a segment is sealed only after all of its batches are
 *      durable), or
 *   4. a valid batch behind it says that it was durable (its synced seq reaches the damage), or
 *   5. it verifies and contradicts the chain: no tear forges a hash.
 * Batches of the torn group itself may have survived behind the tear; their synced seq lies below
 * it, so they prove nothing, and are cut with it. */
#ifndef TIDAL_COMMON_WAL_WAL_RECOVERY_H
#define TIDAL_COMMON_WAL_WAL_RECOVERY_H

#include "common/wal/wal_files.h"
#include "common/wal/wal_format.h"

/* Where the files of a stream may begin, and where they begin when there are none: behind an event
 * that a snapshot holds, or zeroed with event 1. */
typedef struct {
    uint64_t seq;    /* last event that the files need not hold; 0 none */
    wal_hash_t hash; /* of the batch that ends at seq; zero for none */
} wal_base_t;

/* Names one stream in one folder. All pointers borrowed during the call. */
typedef struct {
    const disk_t *disk;
    const char *folder; /* the stream's */
    stream_id_t stream;
    const char *tenant_name;
    const char *region_name; /* of the origin */
    wal_base_t base;
} wal_place_t;

typedef struct {
    uint64_t known_durable_seq; /* see rule 1; 0 nothing is known */
    bool verify_all;            /* every batch of every segment, not of the last one alone */
    bool cut_damage; /* of a replica, after a copy was made: in the last segment damage behind an
                        intact header is cut like a torn tail, for the rest can be fetched */
} wal_recovery_options_t;

typedef enum {
    WAL_DAMAGE_NONE,
    WAL_DAMAGE_TORN, /* a torn tail, to be cut at `offset` */
    WAL_DAMAGE_REAL  /* refuse, or set aside from this segment on */
} wal_damage_kind_t;

typedef struct {
    wal_damage_kind_t kind;
    uint64_t segment_first_seq; /* the damaged file */
    uint64_t offset;            /* in it, of the block that does not verify */
    uint64_t seq;               /* first event that is not intact */
    errbuf_t reason;            /* file, offset, what was expected and found */
} wal_damage_t;

/* The segment that takes batches. Zeroed: none. */
typedef struct {
    bool open;
    uint64_t first_seq;  /* of the segment */
    uint64_t size_bytes; /* up to the last intact batch */
    uint32_t batch_count;
    buffer_t hashes; /* hash field of each batch, for the footer */
} wal_tail_t;

typedef struct {
    bool folder_exists;
    size_t leftover_count;     /* unfinished files */
    wal_segment_list_t sealed; /* intact, in order */
    wal_tail_t tail;
    uint64_t last_seq;            /* of the last intact batch; the base's when there is none */
    wal_hash_t last_hash;         /* of that batch */
    uint64_t cut_bytes;           /* of the torn tail; 0 none */
    uint64_t last_file_first_seq; /* the last file in the folder that counts; 0 none */
    uint64_t last_file_trim_size; /* what it is to be cut to */
    wal_damage_t damage;
} wal_recovery_t;

/* out ret_recovery  the caller calls wal_recovery_done, but for parts that it took over
 * errs ERR_IO · ERR_UNSUPPORTED a file of a later version; nothing was changed. Damage is no error
 * here: it is in ret_recovery->damage
 * cost  reads header and footer of every segment and the whole last one */
err_t wal_recovery_scan(const wal_place_t *place,
                        const wal_recovery_options_t *options,
                        wal_recovery_t *ret_recovery,
                        errbuf_t *errbuf);

/* Cuts the torn tail, removes unfinished files, and syncs the last file and the folder, so that all
 * that the recovery counts is durable. Not to be called after real damage. errs ERR_IO */
err_t wal_recovery_repair(const wal_place_t *place,
                          const wal_recovery_t *recovery,
                          errbuf_t *errbuf);

void wal_recovery_done(wal_recovery_t *self);

#endif
