/* What the control plane decides: pure steps from one routing table to the next.
 *
 * A decision looks at the table and either refuses, with the reason and no other trace, or finds
 * that what was asked holds already, or makes the next table. Making it durable, publishing and
 * answering are the engine's, in this order: nobody hears of a decision that a crash could take
 * back. So repeating a request is safe: once durable, the repetition finds that it holds.
 *
 * Generations. A new tenant's generation is the version of the table that brings it. Versions rise
 * by one with every change and are never given twice, for the table that has one is durable before
 * anybody sees it; so no generation is used twice either, whatever is dropped meanwhile. `default`
 * came with version 1 and is generation 1.
 *
 * Placement. All shards of a tenant lie in all of its regions, every one of them in sync; shard i
 * is led by the (i mod n)-th of the n regions by ascending number. In which order a client names
 * the regions makes no difference. */
#ifndef TIDAL_COMMON_CLUSTER_DECISION_H
#define TIDAL_COMMON_CLUSTER_DECISION_H

#include "common/topology/table.h"
#include "common/wire/client_request.h"

/* in  request   CREATE_TENANT
 * out ret_next  owned by the caller; NULL when the tenant is there as asked for. Only on CODE_OK
 * ret CODE_OK · CODE_BAD_REQUEST name, regions, or a tenant of that name with other fields ·
 *     CODE_QUOTA no room for one more */
code_t decision_create_tenant(const table_t *table,
                              const topology_t *topology,
                              const client_request_t *request,
                              table_t **ret_next,
                              errbuf_t *errbuf);

/* The planned change of a leader: to a member of the in-sync set, which alone is known to hold
 * everything that was acknowledged.
 * in  request   PROMOTE
 * out ret_next  as above; NULL when that region leads already
 * ret CODE_OK · CODE_UNKNOWN_TENANT · CODE_BAD_REQUEST no such shard or region, or not placed there
 *     · CODE_UNAVAILABLE the region is not in sync */
code_t decision_promote(const table_t *table,
                        const topology_t *topology,
                        const client_request_t *request,
                        table_t **ret_next,
                        errbuf_t *errbuf);

#endif
