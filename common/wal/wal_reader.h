/* A cursor over one stream's files, for whoever ships, applies, or looks: own and replica streams
 * alike, while their writer goes on appending in another process.
 *
 * The reader is told up to where the stream is durable (through_seq: what its writer announced) and
 * never looks at events behind that, for those bytes may still change. So what it meets must
 * verify: a block that does not, or that is not there, is ERR_CORRUPT, also when the file was
 * replaced or cut under it. It stays where it is then; destroy it, have the damage handled, and
 * make a new one.
 *
 * Reading begins with the batch that holds from_seq. Where that is the first one of its segment,
 * the segment's header comes before it. Not thread-safe; keeps one file open. */
#ifndef TIDAL_COMMON_WAL_WAL_READER_H
#define TIDAL_COMMON_WAL_WAL_READER_H

#include "common/wal/wal_files.h"
#include "common/wal/wal_format.h"

typedef struct wal_reader wal_reader_t;

typedef struct {
    const disk_t *disk; /* borrowed until destroy */
    const char *folder; /* the stream's; copied */
    stream_id_t stream;
    uint64_t from_seq; /* first event wanted, 1 or more; need not be there yet */
    bool trusted; /* hashes are believed, not computed: for what this process verified before */
} wal_reader_options_t;

/* Touches no file yet. */
wal_reader_t *wal_reader_new(const wal_reader_options_t *options);
/* Accepts null. */
void wal_reader_destroy(wal_reader_t **reader_p);

/* Events of a run of batches; empty when last_seq is first_seq - 1. */
typedef struct {
    uint64_t first_seq;
    uint64_t last_seq;
} wal_range_t;

/* Appends whole blocks to out, as they lie in the files: batches up to through_seq, the header of
 * each segment that begins, the footer of each that ends. When all batches were read, one more call
 * gives the footer of a segment that was sealed meanwhile, with an empty range.
 * in size_max  of the blocks; one batch is given even if it alone is larger
 * out ret_range  of the batches appended
 * errs ERR_END caught up; call again later · ERR_NOT_FOUND the stream has no files, or they begin
 *      behind from_seq (take a snapshot) · ERR_CORRUPT · ERR_UNSUPPORTED a later version · ERR_IO.
 *      Whole blocks that were read before an error are given first, with ERR_OK */
err_t wal_reader_next_blocks(wal_reader_t *reader,
                             uint64_t through_seq,
                             size_t size_max,
                             buffer_t *out,
                             wal_range_t *ret_range,
                             errbuf_t *errbuf);

/* The next batch. out ret_batch  its slices live until the next call on this reader
 * errs as wal_reader_next_blocks */
err_t wal_reader_next_batch(wal_reader_t *reader,
                            uint64_t through_seq,
                            wal_batch_t *ret_batch,
                            errbuf_t *errbuf);

/* First event of what comes next; from_seq, or below it where that was inside a batch. */
uint64_t wal_reader_next_seq(const wal_reader_t *reader);

#endif
