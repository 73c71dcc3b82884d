/* The routing table that a process works with: the newest that it has seen, cached on disk so that
 * it starts without the control plane (design section 5). */
#ifndef TIDAL_COMMON_ENGINE_TABLE_KEEPER_H
#define TIDAL_COMMON_ENGINE_TABLE_KEEPER_H

#include "common/base/seam.h"
#include "common/topology/table.h"
#include "common/wire/msg.h"

typedef struct table_keeper table_keeper_t;

/* Loads the cached table if there is one; a damaged cache is left out (the next table replaces it).
 * in folder  where the cache lies; copied; made with the first table that is kept
 * errs ERR_TOO_LARGE the path · ERR_UNSUPPORTED a table of a later format · ERR_IO */
err_t table_keeper_open(const disk_t *disk,
                        const char *folder,
                        table_keeper_t **ret_keeper,
                        errbuf_t *errbuf);
void table_keeper_close(table_keeper_t **self_p);

/* Takes the table if it is newer: durable before ERR_OK.
 * errs ERR_STALE not newer: nothing changed · ERR_CORRUPT · ERR_IO */
err_t table_keeper_offer(table_keeper_t *self, slice_t encoded, errbuf_t *errbuf);

/* NULL before the first. Borrowed until the next offer. */
const table_t *table_keeper_table(const table_keeper_t *self);
uint64_t table_keeper_version(const table_keeper_t *self);
/* Whether a stream, as a peer names it, is one that there may be: of a tenant generation that the
 * table places in this region, in the stream's origin and at the peer.
 * in topology  shards that there are */
bool table_keeper_places(const table_keeper_t *self,
                         const topology_t *topology,
                         stream_id_t stream,
                         region_id_t here,
                         region_id_t peer);

#endif
