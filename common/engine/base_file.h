/* The base of one (tenant, shard): its whole state at one applied vector, as a file beside the logs
 * that it stands for. What a stream's log held up to the base's position may be truncated; whoever
 * builds the state then begins with the base (design, section 4).
 *
 *   <data>/<region>/shard-<n>/tenants/<tenant>-<generation>/state.base
 *   .../state.base.tmp   one that did not come to its end; the next one replaces it
 *   .../state.base.fetching  of another region, the reconciler's, as far as it came
 *   .../state.base.fetched   whole and durable: handed from the reconciler to the node
 *   .../state.base.loading   the node's, which reads and verifies it (snapshot_load.h)
 *
 * Byte by byte, version 2, little-endian:
 *
 *   head
 *   0    8   magic "TIDBASE2"
 *   8    4   version 2
 *   12   2   shard
 *   14   2   zero
 *   16   8   tenant, not 0
 *   24   8   when it was made, ns since 1970, i64 >= 0
 *   32   8   how many entries
 *   40   8   bytes of all entries
 *   48   4   how many streams, 0..STREAM_COUNT_MAX
 *   52   4   zero
 *   56   32  digest of the state (replica_digest)
 *   88   96  for each stream, in the order of stream_id_compare, each once:
 *              0   2   origin region, 1..REGION_COUNT_MAX
 *              2   6   zero
 *              8   8   incarnation, not 0
 *              16  8   seq: its events 1..seq are in the state; not 0
 *              24  32  hash field of the batch that ends at seq
 *              56  8   join: a segment of the stream begins behind it, 0..seq. No pair of a request
 *                      at or below it has its place in the state any more; so the files need not
 *                      hold what lies there, and whoever begins with the base needs all above it
 *              64  32  hash field of the batch that ends at join; zero when join is 0
 *   -    32  BLAKE3 of all before: the head can be believed by itself
 *
 *   entries, keys strictly rising (bytes compared as unsigned, a prefix first)
 *   0    2   key size, 1..STORE_KEY_SIZE_MAX
 *   2    4   value size, 0..STORE_VALUE_SIZE_MAX
 *   6    -   key: that of the checkpoint, without the tenant's eight bytes (replica_checkpoint.c)
 *   -    -   value
 *
 *   end
 *   0    32  BLAKE3 of all before. Nothing follows
 *
 * Version 1 had rows of 56 bytes, without join. It is refused, for its entries hold what an earlier
 * rule for copies of requests left (dedup_format.h). A later format changes the digit of the magic
 * and the version together.
 *
 * It appears by temporary name, write, sync, rename, sync of the folder. Both directions work in
 * pieces of about BASE_PIECE_SIZE, so that a loop goes on serving. What was read counts only after
 * the last piece: then the whole was verified. */
#ifndef TIDAL_COMMON_ENGINE_BASE_FILE_H
#define TIDAL_COMMON_ENGINE_BASE_FILE_H

#include "common/base/store_batch.h"
#include "common/wal/wal_files.h"
#include "common/wal/wal_recovery.h"

enum {
    BASE_VERSION = 2,
    BASE_DIGEST_SIZE = 32,
    BASE_HASH_SIZE = 32,
    BASE_HEAD_SIZE_MIN = 88 + BASE_HASH_SIZE,
    BASE_POSITION_SIZE = 96,
    BASE_ENTRY_SIZE_MIN = 6,
    BASE_PIECE_SIZE = 1024 * 1024
};

typedef struct {
    stream_id_t stream;
    uint64_t seq;
    wal_hash_t hash;
    wal_base_t join; /* within seq; zeroed: the files are needed from event 1 on */
} base_position_t;

/* Zeroed: there is no base. */
typedef struct {
    tenant_id_t tenant;
    shard_id_t shard;
    int64_t made_wall_ns;
    uint64_t entry_count;
    uint64_t entries_size;
    uint8_t digest[BASE_DIGEST_SIZE];
    uint32_t position_count;
    base_position_t *positions; /* owned; in order */
} base_head_t;

/* Frees and zeroes. */
void base_head_done(base_head_t *self);
/* NULL: the base has nothing of this stream. */
const base_position_t *base_head_find(const base_head_t *self, stream_id_t stream);
/* Where the stream's files may begin; zero: with event 1. */
wal_base_t base_head_wal_base(const base_head_t *self, stream_id_t stream);
/* Where they begin when there are none; zero: with event 1. */
wal_base_t base_head_join(const base_head_t *self, stream_id_t stream);

void base_head_encode(const base_head_t *self, buffer_t *out);
/* in bytes  from the beginning of the file on
 * out ret_size  of the head
 * errs ERR_AGAIN more bytes are needed: ret_size says how many in all · ERR_CORRUPT ·
 *      ERR_UNSUPPORTED another version */
err_t base_head_decode(slice_t bytes, base_head_t *ret_head, size_t *ret_size, errbuf_t *errbuf);

/* in tenants_folder  as wal_files_tenants_path gives it. errs as wal_files.h */
err_t base_path(const char *tenants_folder,
                tenant_id_t tenant,
                const char *tenant_name,
                wal_path_t *ret_path,
                errbuf_t *errbuf);
/* Where one that another region made is put before it is verified. Each has one process that writes
 * and removes it, so that none changes a file which another one reads: what is
 * handed over is renamed. */
typedef enum {
    BASE_STAGE_FETCHING, /* the reconciler's */
    BASE_STAGE_FETCHED,  /* put there by the reconciler, taken away by the node */
    BASE_STAGE_LOADING   /* the node's */
} base_stage_t;

/* in path  of the base. errs ERR_TOO_LARGE */
err_t base_stage_path(const wal_path_t *path,
                      base_stage_t stage,
                      wal_path_t *ret_path,
                      errbuf_t *errbuf);
/* The head alone, held against the tenant and shard of the place.
 * errs ERR_NOT_FOUND no base · ERR_CORRUPT · ERR_UNSUPPORTED · ERR_IO */
err_t base_read_head(const disk_t *disk,
                     const char *path,
                     tenant_id_t tenant,
                     shard_id_t shard,
                     base_head_t *ret_head,
                     errbuf_t *errbuf);

/* The hash before a segment, by its header. errs ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO of its file */
err_t base_hash_before(const disk_t *disk,
                       const char *stream_folder,
                       uint64_t first_seq,
                       wal_hash_t *ret_hash,
                       errbuf_t *errbuf);
/* Where a stream's files begin, by the header of the first one: for as long as the base that
 * allowed it cannot be read. Zero: with event 1, or there are none. errs as base_hash_before */
err_t base_of_files(const disk_t *disk,
                    const char *stream_folder,
                    wal_base_t *ret_base,
                    errbuf_t *errbuf);
/* Where a stream's files may begin by its tenant's base, and where they begin when there are none.
 * errs ERR_NOT_FOUND no base, or one that knows nothing of the stream: with event 1 · ERR_CORRUPT,
 *      ERR_UNSUPPORTED, ERR_IO of the base */
err_t base_join_of_stream(const disk_t *disk,
                          const char *tenants_folder,
                          const char *tenant_name,
                          stream_id_t stream,
                          wal_base_t *ret_join,
                          errbuf_t *errbuf);

/* -- writing ----------------------------------------------------------------------------------- */

typedef struct base_writer base_writer_t;

/* in  head  its entry_count and entries_size are filled in here; positions are copied
 *     disk  borrowed; path copied; its folder is there
 * takes *entries_p, of which the puts count; the prefix_size bytes before each key are left out */
base_writer_t *base_writer_new(const disk_t *disk,
                               const char *path,
                               const base_head_t *head,
                               store_batch_t **entries_p,
                               size_t prefix_size);
/* One that did not come to its end leaves its temporary file. */
void base_writer_destroy(base_writer_t **self_p);
/* Writes a piece. errs ERR_AGAIN there is more · ERR_OK the file is durable under its name ·
 * ERR_DISK_FULL, ERR_IO: over, and what stood there before still stands, unless
 * base_writer_is_renamed: then which of both is there after a power cut is open, and
 * the process must end */
err_t base_writer_step(base_writer_t *self, errbuf_t *errbuf);
/* Whether the file has its name, durable or not. */
bool base_writer_is_renamed(const base_writer_t *self);
const base_head_t *base_writer_head(const base_writer_t *self);

/* -- reading ----------------------------------------------------------------------------------- */

typedef struct base_reader base_reader_t;

/* errs any but ERR_OK ends the reading and is returned; ERR_UNSUPPORTED at its end, and only of a
 * file that verifies: a flipped bit may look like a later version */
typedef err_t (*base_entry_fn)(void *context, slice_t key, slice_t value, errbuf_t *errbuf);

/* Touches no file yet. in disk borrowed; path copied */
base_reader_t *base_reader_new(const disk_t *disk,
                               const char *path,
                               tenant_id_t tenant,
                               shard_id_t shard);
void base_reader_destroy(base_reader_t **self_p);
/* Gives the entries of the next piece. errs ERR_AGAIN there is more · ERR_OK all were given, and
 * the whole file was verified · ERR_NOT_FOUND · ERR_CORRUPT · ERR_UNSUPPORTED · ERR_IO, and those
 * of the callback: what was given before must be thrown away */
err_t base_reader_step(base_reader_t *self,
                       base_entry_fn callback,
                       void *context,
                       errbuf_t *errbuf);
/* Known after the first step. Borrowed. */
const base_head_t *base_reader_head(const base_reader_t *self);

#endif
