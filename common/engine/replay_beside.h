/* Brings a state that is built beside the live one to the live one's vector, from the region's own
 * verified log files: for rebuild.h and snapshot_load.h. */
#ifndef TIDAL_COMMON_ENGINE_REPLAY_BESIDE_H
#define TIDAL_COMMON_ENGINE_REPLAY_BESIDE_H

#include "common/engine/replica.h"

/* Applies at most REBUILD_EVENT_COUNT_MAX events, and the rest of their batch, of what the live
 * state has and the built one lacks. Every batch is read with its hash and the chain verified; a
 * damaged or missing file of the receiver's, also of a stream that this node gave up, is told to
 * the receiver, which fetches it again.
 * in built  has no log of its own and leads nothing
 * out event_count  grows by what was applied, also on error
 * errs ERR_OK nothing is lacking · ERR_AGAIN there is more · ERR_CORRUPT, ERR_NOT_FOUND,
 *      ERR_UNSUPPORTED, ERR_IO of a log file: the built state stands before that batch */
err_t replay_beside(replica_t *built, replica_t *live, uint64_t *event_count, errbuf_t *errbuf);

#endif
