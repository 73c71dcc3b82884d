/* What a leader adds to the signals that it logs. */
#include "common/engine/replica_state.h"

#include "common/base/check.h"

/* Rewrites the records whose users are in a cohort; `logged` stays empty when there are none. */
static err_t s_rewrite(replica_t *self, slice_t payload, errbuf_t *errbuf)
{
    size_t copied = 0;
    size_t start = 0;
    size_t offset = 0;
    record_t record;
    err_t err = record_next(payload, &offset, &record, errbuf);
    while (err == ERR_OK) {
        if (record.type == RECORD_SIGNALS &&
            ledger_find_cohorts(self->ledger, &record.as.signals, self->cohorts)) {
            buffer_append(&self->logged, payload.data + copied, start - copied);
            err = cohort_builder_append(self->cohorts,
                                        slice_make(payload.data + start, offset - start),
                                        &self->logged, errbuf);
            copied = offset;
        }
        start = offset;
        err = err == ERR_OK ? record_next(payload, &offset, &record, errbuf) : err;
    }
    if (err == ERR_END && copied > 0) {
        buffer_append(&self->logged, payload.data + copied, payload.size - copied);
    }
    return err == ERR_END ? ERR_OK : err;
}

err_t replica_add_cohorts(replica_t *self, slice_t payload, slice_t *ret_payload, errbuf_t *errbuf)
{
    buffer_clear(&self->logged);
    if (ledger_has_users(self->ledger)) {
        err_t err = s_rewrite(self, payload, errbuf);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (self->logged.size > WAL_PAYLOAD_SIZE_MAX) {
        errbuf_set(errbuf,
                   "cohorts: expected the signals of a shard with the cohorts of their users to "
                   "take at most %d bytes, found %zu; send fewer signals at once",
                   WAL_PAYLOAD_SIZE_MAX, self->logged.size);
        return ERR_TOO_LARGE;
    }
    *ret_payload = self->logged.size > 0 ? buffer_slice(&self->logged) : payload;
    return ERR_OK;
}
