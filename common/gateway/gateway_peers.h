/* Which other regions can be reached, and how far away they are; and which nodes do not answer.
 *
 * Pure bookkeeping: the engine sends the probes and hands in what it hears. */
#ifndef TIDAL_COMMON_GATEWAY_GATEWAY_PEERS_H
#define TIDAL_COMMON_GATEWAY_GATEWAY_PEERS_H

#include "common/topology/topology.h"

typedef struct {
    bool is_peer;           /* a region of the topology, and not the own one */
    bool was_heard;         /* at all */
    int64_t heard_ns;       /* last; before the first: since the start */
    int64_t round_trip_ns;  /* smoothed; 0 not measured */
    int64_t probe_due_ns;   /* next probe */
    int64_t probe_sent_ns;  /* the last one */
    uint64_t probe_number;  /* of the last one */
    bool is_probe_open;     /* not answered yet */
    shard_id_t probe_shard; /* stays while its node answers */
} gateway_peer_t;

typedef struct {
    region_id_t self;
    uint32_t shard_count;
    int64_t silent_ns;
    gateway_peer_t regions[REGION_COUNT_MAX + 1];
    /* Until when a node is passed over by reads; 0 not at all. */
    int64_t suspect_until_ns[REGION_COUNT_MAX + 1][SHARD_COUNT_MAX];
} gateway_peers_t;

void gateway_peers_init(gateway_peers_t *self,
                        const topology_t *topology,
                        region_id_t self_region,
                        int64_t mono_ns);

/* Anything came from a process of this region; from a node: it answers. */
void gateway_peers_heard(gateway_peers_t *self, process_address_t from, int64_t mono_ns);
/* A node did not answer in time. */
void gateway_peers_suspect(gateway_peers_t *self, node_id_t node, int64_t mono_ns);
/* The own region always is. */
bool gateway_peers_is_reachable(const gateway_peers_t *self, region_id_t region, int64_t mono_ns);

/* The region that a probe is due for; false when there is none. The caller sends it to the node
 * and says so. */
bool gateway_peers_next_probe(const gateway_peers_t *self, int64_t mono_ns, node_id_t *ret_node);
void gateway_peers_probed(gateway_peers_t *self, node_id_t node, uint64_t number, int64_t mono_ns);
/* The answer to a probe. */
void gateway_peers_probe_answered(gateway_peers_t *self,
                                  region_id_t region,
                                  uint64_t number,
                                  int64_t mono_ns);
/* When the next probe is due; INT64_MAX never. */
int64_t gateway_peers_deadline_ns(const gateway_peers_t *self);

/* Of the regions in `among` that are reachable and not in `without`: the own one, else the one with
 * the shortest round trip, else the lowest number. Those whose node of this shard is suspect come
 * after all others. ret false: there is none */
bool gateway_peers_nearest(const gateway_peers_t *self,
                           region_set_t among,
                           region_set_t without,
                           shard_id_t shard,
                           int64_t mono_ns,
                           region_id_t *ret_region);

#endif
