#include "common/gateway/gateway_peers.h"

#include "common/base/check.h"
#include "common/base/tick.h"

enum {
    S_NS_PER_MS = 1000000,
    S_PROBES_PER_SILENCE = 2,
    /* One lost probe does not make a region unreachable; and a node that is down is not the region:
     * the next one is asked. */
    S_RETRIES_PER_SILENCE = 8,
    S_ROUND_TRIP_SHARE = 8 /* of a new measurement in the smoothed one */
};

void gateway_peers_init(gateway_peers_t *self,
                        const topology_t *topology,
                        region_id_t self_region,
                        int64_t mono_ns)
{
    *self = (gateway_peers_t){
        .self = self_region,
        .shard_count = topology->shard_count,
        .silent_ns = (int64_t)topology->timing.peer_silent_ms * S_NS_PER_MS,
    };
    for (uint32_t i = 0; i < topology->region_count; i++) {
        region_id_t region = topology->regions[i].id;
        self->regions[region.value] = (gateway_peer_t){
            .is_peer = region.value != self_region.value,
            .heard_ns = mono_ns,
            .probe_due_ns = mono_ns,
        };
    }
}

void gateway_peers_heard(gateway_peers_t *self, process_address_t from, int64_t mono_ns)
{
    if (from.region.value == 0 || from.region.value > REGION_COUNT_MAX) {
        return;
    }
    self->regions[from.region.value].heard_ns = mono_ns;
    self->regions[from.region.value].was_heard = true;
    if (from.kind == PROCESS_NODE && from.shard.value < self->shard_count) {
        self->suspect_until_ns[from.region.value][from.shard.value] = 0;
    }
}

void gateway_peers_suspect(gateway_peers_t *self, node_id_t node, int64_t mono_ns)
{
    self->suspect_until_ns[node.region.value][node.shard.value] = mono_ns + self->silent_ns;
}

static bool s_is_suspect(const gateway_peers_t *self, node_id_t node, int64_t mono_ns)
{
    return self->suspect_until_ns[node.region.value][node.shard.value] > mono_ns;
}

bool gateway_peers_is_reachable(const gateway_peers_t *self, region_id_t region, int64_t mono_ns)
{
    const gateway_peer_t *peer = &self->regions[region.value];
    return region.value == self->self.value ||
           (peer->is_peer && mono_ns - peer->heard_ns < self->silent_ns);
}

bool gateway_peers_next_probe(const gateway_peers_t *self, int64_t mono_ns, node_id_t *ret_node)
{
    for (uint32_t region = 1; region <= REGION_COUNT_MAX; region++) {
        const gateway_peer_t *peer = &self->regions[region];
        if (peer->is_peer && peer->probe_due_ns <= mono_ns) {
            uint32_t shard = peer->probe_shard.value + (peer->is_probe_open ? 1u : 0u);
            *ret_node = (node_id_t){{(uint16_t)region}, {(uint16_t)(shard % self->shard_count)}};
            return true;
        }
    }
    return false;
}

void gateway_peers_probed(gateway_peers_t *self, node_id_t node, uint64_t number, int64_t mono_ns)
{
    gateway_peer_t *peer = &self->regions[node.region.value];
    CHECK(peer->is_peer);
    peer->probe_shard = node.shard;
    peer->probe_number = number;
    peer->probe_sent_ns = mono_ns;
    peer->is_probe_open = true;
    peer->probe_due_ns = mono_ns + self->silent_ns / S_RETRIES_PER_SILENCE;
}

void gateway_peers_probe_answered(gateway_peers_t *self,
                                  region_id_t region,
                                  uint64_t number,
                                  int64_t mono_ns)
{
    gateway_peer_t *peer = &self->regions[region.value];
    if (!peer->is_peer || !peer->is_probe_open || peer->probe_number != number) {
        return;
    }
    int64_t round_trip_ns = mono_ns - peer->probe_sent_ns;
    peer->is_probe_open = false;
    peer->probe_due_ns = tick_after(peer->probe_sent_ns, self->silent_ns / S_PROBES_PER_SILENCE);
    peer->round_trip_ns =
        peer->round_trip_ns == 0
            ? round_trip_ns
            : peer->round_trip_ns + (round_trip_ns - peer->round_trip_ns) / S_ROUND_TRIP_SHARE;
}

int64_t gateway_peers_deadline_ns(const gateway_peers_t *self)
{
    int64_t deadline_ns = INT64_MAX;
    for (uint32_t region = 1; region <= REGION_COUNT_MAX; region++) {
        const gateway_peer_t *peer = &self->regions[region];
        if (peer->is_peer && peer->probe_due_ns < deadline_ns) {
            deadline_ns = peer->probe_due_ns;
        }
    }
    return deadline_ns;
}

bool gateway_peers_nearest(const gateway_peers_t *self,
                           region_set_t among,
                           region_set_t without,
                           shard_id_t shard,
                           int64_t mono_ns,
                           region_id_t *ret_region)
{
    enum { S_SUSPECT_NS = 1000000000 }; /* those come last, far behind all others */
    bool found = false;
    int64_t nearest_ns = INT64_MAX;
    for (uint32_t number = 1; number <= REGION_COUNT_MAX; number++) {
        region_id_t region = {(uint16_t)number};
        if (!region_set_has(among, region) || region_set_has(without, region) ||
            !gateway_peers_is_reachable(self, region, mono_ns)) {
            continue;
        }
        int64_t away_ns = number == self->self.value ? -1 : self->regions[number].round_trip_ns;
        if (s_is_suspect(self, (node_id_t){region, shard}, mono_ns)) {
            away_ns += INT64_C(1000) * S_SUSPECT_NS;
        }
        if (!found || away_ns < nearest_ns) {
            found = true;
            nearest_ns = away_ns;
            *ret_region = region;
        }
    }
    return found;
}
