/* What was promised of registers and sessions: every acknowledged write of them stands in the log of its
 * home shard as it was sent, and in the state of every shard that it concerns there is it, or what was
 * written with a higher stamp (of a hard negative with an equal one: what sets). At rest a register
 * that concerns all shards is the same on all of them. */
#ifndef TIDAL_TESTS_SIMULATION_PROMISES_H
#define TIDAL_TESTS_SIMULATION_PROMISES_H

#include "common/session/session_book.h"
#include "common/signal/ledger.h"
#include "tests/simulation/history.h"

typedef struct promises promises_t;

/* Borrows the history for its life. */
promises_t *promises_new(const history_t *history, uint32_t shard_count);
void promises_destroy(promises_t **self_p);

/* A batch that is logged in this shard. in is_void  another copy counts for answers
 * ret false: it is not what was sent under its pair; out ret_text */
bool promises_take_batch(promises_t *self,
                         shard_id_t shard,
                         const wal_batch_t *batch,
                         uint64_t origin,
                         bool is_void,
                         errbuf_t *ret_text);
/* The state that the logs of the shard come to; takes both. */
void promises_take_state(promises_t *self,
                         shard_id_t shard,
                         ledger_t **ledger_p,
                         session_book_t **sessions_p);
/* After all batches and states. ret false: out ret_text the first promise that was broken */
bool promises_check(const promises_t *self, errbuf_t *ret_text);

#endif
