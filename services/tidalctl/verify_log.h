/* The logs of one shard in all regions: which streams there are, whether every copy is whole, and
 * whether the copies of one stream agree. What is intact of the longest copy is what was logged.
 *
 * A copy may begin behind event 1 where the base beside it holds what came before.
 *
 * Agreement follows from the chain: every batch carries the hash of the one before, and every copy
 * was verified, so two copies that have the same hash at one batch are the same up to it. */
#ifndef TIDAL_SERVICES_TIDALCTL_VERIFY_LOG_H
#define TIDAL_SERVICES_TIDALCTL_VERIFY_LOG_H

#include "common/wire/msg.h"
#include "services/tidalctl/log_check.h"
#include "services/tidalctl/verify_base.h"
#include "services/tidalctl/verify_report.h"

typedef struct {
    log_stream_t stream;
    log_checked_t checked;
} verify_copy_t;

/* One stream; its copies are copies[first .. first + count), the longest one first. */
typedef struct {
    stream_id_t id;
    uint32_t first;
    uint32_t count;
} verify_stream_t;

typedef struct {
    const disk_t *disk; /* borrowed */
    shard_id_t shard;
    uint32_t shard_count; /* of the mesh */
    verify_copy_t *copies;
    uint32_t copy_count;
    uint32_t copy_capacity;
    verify_stream_t *streams; /* in the order of stream_id_compare */
    uint32_t stream_count;
    verify_bases_t bases;
} verify_log_t;

/* Reads and verifies all of it. in region_names  of the regions that may hold it
 * errs ERR_IO, ERR_TOO_LARGE: it could not be looked at. Problems of the logs go to the report. */
typedef struct {
    const disk_t *disk;
    const char *data_folder;
    const char *const *region_names;
    uint32_t region_count;
    shard_id_t shard;
    uint32_t shard_count; /* of the mesh */
} verify_place_t;
err_t verify_log_open(const verify_place_t *place,
                      verify_log_t *ret_log,
                      verify_report_t *report,
                      errbuf_t *errbuf);
void verify_log_close(verify_log_t *self);

/* NULL when there is none. Borrowed. */
const verify_stream_t *verify_log_find(const verify_log_t *self, stream_id_t stream);
/* The copy of a stream that reaches furthest. */
const verify_copy_t *verify_log_longest(const verify_log_t *self, const verify_stream_t *stream);
/* Name of a tenant that has a stream here; NULL when it has none. */
const char *verify_log_tenant_name(const verify_log_t *self, tenant_id_t tenant);

#endif
