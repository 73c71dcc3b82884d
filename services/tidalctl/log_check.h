/* Whether a log is whole: every header, batch, footer, link of the chain and record of a stream. */
#ifndef TIDAL_SERVICES_TIDALCTL_LOG_CHECK_H
#define TIDAL_SERVICES_TIDALCTL_LOG_CHECK_H

#include "services/tidalctl/log_files.h"

/* Events of a log by what they are. */
typedef struct {
    uint64_t signals;         /* of SIGNALS records */
    uint64_t registers;       /* items, users, relations */
    uint64_t sessions;        /* starts and closes of sessions */
    uint64_t session_signals; /* which enter no cell */
    uint64_t held;            /* "every shard holds this register" */
} log_counts_t;

void log_counts_add(log_counts_t *self, const log_counts_t *other);

typedef struct {
    uint64_t segments;
    uint64_t first_seq; /* of the intact part; last_seq is below it where nothing is intact */
    uint64_t last_seq;
    uint64_t batches;
    log_counts_t counts;
    uint64_t size_bytes;
    wal_hash_t last_hash; /* of the last intact batch */
    wal_damage_kind_t damage;
    uint64_t
        torn_bytes; /* WAL_DAMAGE_TORN: never durable; the next start of the process cuts them */
    errbuf_t text;  /* of the damage, or of the torn tail */
} log_checked_t;

/* errs ERR_IO · ERR_UNSUPPORTED a file of a later version. Damage is no error here. */
err_t log_check_stream(const disk_t *disk,
                       const log_stream_t *stream,
                       log_checked_t *ret_checked,
                       errbuf_t *errbuf);

/* One segment by itself. errs as log_check_stream, and ERR_NOT_FOUND */
err_t log_check_segment(const disk_t *disk,
                        const char *path,
                        log_checked_t *ret_checked,
                        errbuf_t *errbuf);

/* Adds the records of a batch to the counts. errs ERR_CORRUPT, ERR_UNSUPPORTED */
err_t log_count_records(const wal_batch_t *batch, log_counts_t *counts, errbuf_t *errbuf);

#endif
