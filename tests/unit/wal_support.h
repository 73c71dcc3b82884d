/* What the tests of the log share: one stream in one folder, random batches, and shipping.
 * Everything asserts that it works. */
#ifndef TIDAL_TESTS_UNIT_WAL_SUPPORT_H
#define TIDAL_TESTS_UNIT_WAL_SUPPORT_H

#include "common/base/prng.h"
#include "common/wal/wal_log.h"
#include "common/wal/wal_reader.h"
#include "common/wal/wal_replica.h"
#include "tests/support/sim_disk.h"

#define WAL_SUPPORT_ORIGIN  "data/us/shard-3/tenants/default-1/us-00000000deadbeef"
#define WAL_SUPPORT_REPLICA "data/eu/shard-3/tenants/default-1/us-00000000deadbeef"

stream_id_t wal_support_stream(void);
wal_place_t wal_support_place(const disk_t *disk, const char *folder);
/* Monotonic and wall time of so many milliseconds after a fixed start. */
now_t wal_support_now(int64_t ms);

/* Without room made ahead, so that files end where their blocks do. */
wal_log_options_t wal_support_log_options(const disk_t *disk, uint64_t segment_size_bytes);
wal_log_t *wal_support_open_log(const disk_t *disk, uint64_t segment_size_bytes);
/* Expects this error and a message that contains text. */
void wal_support_refuse_log(const disk_t *disk,
                            uint64_t known_durable_seq,
                            err_t err,
                            const char *text);
wal_replica_t *wal_support_open_replica(const disk_t *disk, wal_replica_report_t *ret_report);
wal_reader_t *wal_support_reader(const disk_t *disk, const char *folder, uint64_t from_seq);

/* A batch of `events` random signals (about 17 bytes each); with a producer where `prng` says so.
 * The slices point into payload, and into static memory for the producer. */
void wal_support_fill(prng_t *prng, uint32_t events, buffer_t *payload, wal_batch_t *ret_batch);
/* Appends such a batch of 1..events_max signals; returns its last seq. */
uint64_t wal_support_append(wal_log_t *log, prng_t *prng, uint32_t events_max);
/* Appends `count` batches, each in a group of its own. */
void wal_support_write(wal_log_t *log, prng_t *prng, uint32_t count, uint32_t events_max);
void wal_support_flush(wal_log_t *log);

/* All blocks from from_seq through through_seq, end to end, into out. */
void wal_support_read_blocks(
    const disk_t *disk, const char *folder, uint64_t from_seq, uint64_t through_seq, buffer_t *out);
/* Every batch from 1 through through_seq verifies, follows, and is well-formed; returns the hash of
 * the last one. */
wal_hash_t wal_support_check_chain(const disk_t *disk, const char *folder, uint64_t through_seq);

/* The path of a segment; static memory, until the next call. */
const char *wal_support_segment(const char *folder, uint64_t first_seq);
/* A copy of a file; owned by the caller. */
void wal_support_get_file(sim_disk_t *disk, const char *path, buffer_t *ret_bytes);

#endif
