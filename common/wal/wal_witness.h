/* Looks behind a block that does not verify for a witness that it was durable once: then it is
 * damage and no torn tail (rules 3 and 4 of wal_recovery.h). For wal_recovery.c alone.
 *
 * Witnesses are a footer of the segment, and any valid batch of the stream whose synced seq reaches
 * the damaged event. Blocks begin at multiples of 8, so only there is looked. A payload may be made
 * to look like a witness; that costs a refusal, never data, and the bytes hashed are bounded. */
#ifndef TIDAL_COMMON_WAL_WAL_WITNESS_H
#define TIDAL_COMMON_WAL_WAL_WITNESS_H

#include "common/wal/wal_scan.h"

typedef struct {
    stream_id_t stream;
    uint64_t segment_first_seq;
    uint64_t damaged_seq; /* first event that is not intact */
    uint64_t offset;      /* of the block that does not verify */
    uint64_t file_size;
} wal_witness_case_t;

/* out ret_reason  what the witness says; on ERR_IO the error. errs ERR_IO */
err_t wal_witness_find(wal_scan_t *scan,
                       const wal_witness_case_t *the_case,
                       bool *ret_found,
                       errbuf_t *ret_reason);

#endif
