/* What the control plane knows of every process, from its heartbeats: who is there, what each node
 * has applied, and what follows from both. Pure; time is handed in.
 *
 * A process that was not heard for silent_ns is not alive. Heartbeats are numbered within a boot:
 * holes are counted, and an older one than the last changes nothing. */
#ifndef TIDAL_COMMON_CLUSTER_MESH_VIEW_H
#define TIDAL_COMMON_CLUSTER_MESH_VIEW_H

#include "common/cluster/clock_offset.h"
#include "common/crdt/version_vector.h"
#include "common/engine/usage.h"
#include "common/topology/table.h"
#include "common/topology/topology.h"
#include "common/wire/msg.h"

typedef struct mesh_view mesh_view_t;

enum { MESH_VIEW_REASON_SIZE = 256 };

/* One tenant on one node, as its last heartbeat told. */
typedef struct {
    tenant_id_t tenant;
    uint8_t digest[MSG_HASH_SIZE];
    uint64_t signal_count;
    version_vector_t applied; /* of streams of this tenant and shard */
    uint32_t lag_count;
    msg_lag_row_t *lag;
    usage_t usage; /* of its shard */
} mesh_view_state_t;

typedef struct {
    process_address_t address;
    bool is_heard;    /* ever, since this control plane started */
    int64_t heard_ns; /* of its last heartbeat, by the monotonic clock of the control plane */
    uint64_t boot;
    uint64_t publish_seq;
    uint64_t gap_count; /* heartbeats that never came */
    clock_offset_t clock;
    uint64_t table_version;
    bool ready;
    char reason[MESH_VIEW_REASON_SIZE];
    uint32_t state_count;
    mesh_view_state_t *states;
} mesh_view_process_t;

/* One row for each process of the topology. Borrows the topology. */
mesh_view_t *mesh_view_new(const topology_t *topology, int64_t silent_ns);
void mesh_view_destroy(mesh_view_t **self_p);

/* errs ERR_NOT_FOUND no such process in the topology · ERR_STALE older than the last one ·
 *      ERR_CORRUPT a position of another tenant or shard than the sender's. Nothing changes then */
err_t mesh_view_heartbeat(mesh_view_t *self, const msg_heartbeat_t *heartbeat, int64_t now_ns);

uint32_t mesh_view_count(const mesh_view_t *self);
const mesh_view_process_t *mesh_view_process(const mesh_view_t *self, uint32_t index);
/* NULL when there is none. */
const mesh_view_process_t *mesh_view_find(const mesh_view_t *self, process_address_t address);
const mesh_view_state_t *mesh_view_find_state(const mesh_view_process_t *process,
                                              tenant_id_t tenant);
bool mesh_view_is_alive(const mesh_view_t *self,
                        const mesh_view_process_t *process,
                        int64_t now_ns);

/* What all nodes tell of a tenant's usage, merged. What only nodes that were never heard know is not
 * in it. out ret_usage  zeroed by the caller; done by usage_done */
void mesh_view_usage(const mesh_view_t *self, tenant_id_t tenant, usage_t *ret_usage);

/* Nodes whose wall clock is ahead of those of their peers, the nodes of the same shard in other
 * regions, by more than bound_ns (clock_offset.h); of those that are alive. In the order of the
 * topology. out ret_clocks  room for count_max; returns how many */
uint32_t mesh_view_clocks_ahead(const mesh_view_t *self,
                                int64_t bound_ns,
                                int64_t now_ns,
                                msg_clock_t *ret_clocks,
                                uint32_t count_max);

typedef struct {
    bool converged;
    char text[512]; /* one sentence: converged, or what is missing and why, worst first */
} mesh_view_summary_t;

void mesh_view_summary(const mesh_view_t *self,
                       const table_t *table,
                       int64_t now_ns,
                       mesh_view_summary_t *ret_summary);

#endif
