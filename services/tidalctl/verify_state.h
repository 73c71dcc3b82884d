/* The state of one (tenant, shard), from the logs or from a checkpoint, and their comparison.
 *
 * The replay is that of a node (design ideas 1, 3, 5): every batch of every stream once, its pair
 * first, then its records. Of a pair that was logged twice the copy that dedup.h names stays: the
 * highest epoch, then the lowest (HLC, stream, first seq). The others are void. Where the logs
 * begin later than event 1, it begins with a base. It is given a vector and applies exactly what
 * the vector covers. */
#ifndef TIDAL_SERVICES_TIDALCTL_VERIFY_STATE_H
#define TIDAL_SERVICES_TIDALCTL_VERIFY_STATE_H

#include "common/crdt/version_vector.h"
#include "common/engine/usage.h"
#include "common/session/dedup.h"
#include "common/session/home_book.h"
#include "common/session/session_book.h"
#include "common/signal/ledger.h"
#include "services/tidalctl/verify_log.h"

/* What a replay went through. */
typedef struct {
    uint64_t events;     /* each identity once */
    log_counts_t logged; /* what they are */
    log_counts_t voided; /* signals of second copies */
    uint64_t voided_requests;
    /* Of the events: below a base, and no signals that count there. Which of them are registers or
     * void is not known; `logged.signals` has the others. */
    uint64_t in_bases;
} verify_counts_t;

typedef struct {
    tenant_id_t tenant;
    shard_id_t shard;
    ledger_t *ledger;
    dedup_t *dedup;
    session_book_t *sessions;
    home_book_t *home;
    version_vector_t vector;
    usage_t usage;
    verify_counts_t counts; /* of a replay */
} verify_state_t;

/* The vector of everything that is logged. The caller calls version_vector_done. */
void verify_state_whole(const verify_log_t *log, tenant_id_t tenant, version_vector_t *ret_vector);

/* out ret_state  done by verify_state_done
 * errs ERR_NOT_FOUND the logs begin later than event 1, and no base lies within the vector ·
 *      ERR_GAP the logs do not reach the vector · ERR_CORRUPT, ERR_UNSUPPORTED, ERR_IO */
err_t verify_state_replay(const verify_log_t *log,
                          const schema_t *schema,
                          tenant_id_t tenant,
                          const version_vector_t *vector,
                          verify_state_t *ret_state,
                          errbuf_t *errbuf);

/* One of the mesh's shards. */
typedef struct {
    shard_id_t shard;
    uint32_t shard_count;
} verify_shard_t;

/* What a node's store holds of a tenant.
 * errs ERR_NOT_FOUND nothing · ERR_CORRUPT, ERR_UNSUPPORTED an entry · ERR_IO */
err_t verify_state_load(const store_t *store,
                        const schema_t *schema,
                        tenant_id_t tenant,
                        verify_shard_t shard,
                        verify_state_t *ret_state,
                        errbuf_t *errbuf);

void verify_state_done(verify_state_t *self);

/* The digest that a node gives of such a state. */
void verify_state_digest(const verify_state_t *self, uint8_t ret_digest[MSG_HASH_SIZE]);

/* Every entry of the ledger, every session, every pair seen, every slot of usage, and the writes
 * that not all shards are known to hold (these as one). Each difference is a problem of the report,
 * the first VERIFY_DIFFERENCE_COUNT_MAX by name. in name  of what was found, for messages
 * returns how many */
enum { VERIFY_DIFFERENCE_COUNT_MAX = 20 };
uint64_t verify_state_compare(const verify_state_t *expected,
                              const verify_state_t *found,
                              const char *name,
                              verify_report_t *report);

#endif
