/* A snapshot of one (tenant, shard), from the file that the region's reconciler fetched to the
 * state of a replica (design, idea 3 and section 6). It is a base that another
 * region made (base_file.h):
 *
 *   LOADING   the file gets a name that the reconciler does not know; then a piece per turn, into a
 *      |      state beside the live one; hash, vector and digest are verified. Refused: nothing has
 *      |      changed, the file is gone
 *      v
 *   JUDGED    the own files must reach down to its joins, or nothing at all is here of the stream
 *      v
 *   ADOPTED   the file becomes the region's base, durable. From here on the receiver begins streams
 *      |      at its joins where the own files end before them, and a start of the node begins with
 *      |      it. The live state serves on, if it served, and stands still
 *      v
 *   WAITING   until the region's files hold all that the base holds: a pair whose place the base
 *      |      keeps may have to be voided by what comes above it
 *      v
 *   REPLAYING what the live state has above the base, from the own files
 *      v
 *   TAKEN     the built state covers the live one and replaces it; the next checkpoint is whole
 *
 * It is over with ADOPTED where only the region's base was lost: a live state that fits its files
 * and has applied all that the other base holds goes on.
 *
 * Cost: the state once more in memory, from LOADING to TAKEN; twice more while a later snapshot is
 * LOADING beside one that is WAITING for files. */
#ifndef TIDAL_COMMON_ENGINE_SNAPSHOT_LOAD_H
#define TIDAL_COMMON_ENGINE_SNAPSHOT_LOAD_H

#include "common/engine/replica.h"

typedef struct snapshot_load snapshot_load_t;

/* in live  borrowed until destroy; recovered */
snapshot_load_t *snapshot_load_new(replica_t *live);
void snapshot_load_destroy(snapshot_load_t **self_p);

/* One bounded piece of work.
 * in may_replace  no checkpoint of the live state is open
 * errs ERR_OK taken: it is over · ERR_AGAIN there is more to do at once · ERR_FULL it waits, for
 *      files or for may_replace.
 *      Only before it is adopted, and then it is over and nothing has changed: ERR_CORRUPT it
 *      contradicts itself · ERR_UNSUPPORTED · ERR_STALE it needs logs that are not here any more ·
 *      ERR_NOT_FOUND no file: it was adopted before, or never came · ERR_IO, ERR_DISK_FULL ·
 *      ERR_TOO_LARGE a path */
err_t snapshot_load_step(snapshot_load_t *self, bool may_replace, now_t now, errbuf_t *errbuf);
bool snapshot_load_is_adopted(const snapshot_load_t *self);

#endif
