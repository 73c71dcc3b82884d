/* Bases beside the logs of one shard (common/engine/base_file.h): which there are, and whether a
 * log may begin where it does. */
#ifndef TIDAL_SERVICES_TIDALCTL_VERIFY_BASE_H
#define TIDAL_SERVICES_TIDALCTL_VERIFY_BASE_H

#include "common/engine/base_file.h"
#include "services/tidalctl/log_files.h"
#include "services/tidalctl/verify_report.h"

typedef struct {
    wal_path_t path;
    base_head_t head;
} verify_base_t;

/* Zeroed: none. */
typedef struct {
    uint32_t count;
    uint32_t capacity;
    verify_base_t *items; /* in the order in which their folders were met */
} verify_bases_t;

/* Takes the base beside a stream's folder, once. One that cannot be read is a problem.
 * errs ERR_IO */
err_t verify_bases_add(verify_bases_t *self,
                       const disk_t *disk,
                       const log_stream_t *stream,
                       verify_report_t *report,
                       errbuf_t *errbuf);
void verify_bases_done(verify_bases_t *self);

/* The one beside this stream's folder; NULL: there is none. */
const verify_base_t *verify_bases_beside(const verify_bases_t *self, const log_stream_t *stream);

#endif
