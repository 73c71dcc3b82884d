#include "common/cluster/mesh_view.h"

#include "common/base/check.h"
#include "common/topology/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { S_NS_PER_MS = 1000000 };

struct mesh_view {
    const topology_t *topology;
    int64_t silent_ns;
    uint32_t count;
    mesh_view_process_t *processes; /* in the order of the topology */
};

mesh_view_t *mesh_view_new(const topology_t *topology, int64_t silent_ns)
{
    mesh_view_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL && silent_ns > 0);
    self->topology = topology;
    self->silent_ns = silent_ns;
    self->count = topology_process_count(topology);
    self->processes = calloc(self->count, sizeof(*self->processes));
    CHECK(self->processes != NULL);
    for (uint32_t i = 0; i < self->count; i++) {
        self->processes[i].address = topology_process(topology, i);
    }
    return self;
}

static void s_free_states(mesh_view_process_t *process)
{
    for (uint32_t i = 0; i < process->state_count; i++) {
        version_vector_done(&process->states[i].applied);
        usage_done(&process->states[i].usage);
        free(process->states[i].lag);
    }
    free(process->states);
    process->states = NULL;
    process->state_count = 0;
}

void mesh_view_destroy(mesh_view_t **self_p)
{
    mesh_view_t *self = *self_p;
    if (self != NULL) {
        for (uint32_t i = 0; i < self->count; i++) {
            s_free_states(&self->processes[i]);
        }
        free(self->processes);
        free(self);
        *self_p = NULL;
    }
}

static mesh_view_process_t *s_find(const mesh_view_t *self, process_address_t address)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (process_address_equal(self->processes[i].address, address)) {
            return &self->processes[i];
        }
    }
    return NULL;
}

/* A copy of count elements; NULL for none. */
static void *s_copy(const void *from, uint32_t count, size_t size)
{
    if (count == 0) {
        return NULL;
    }
    void *copy = calloc(count, size);
    CHECK(copy != NULL);
    memcpy(copy, from, count * size);
    return copy;
}

static void s_take_states(mesh_view_process_t *process, const msg_heartbeat_t *heartbeat)
{
    s_free_states(process);
    if (heartbeat->state_count == 0) {
        return;
    }
    process->states = calloc(heartbeat->state_count, sizeof(*process->states));
    CHECK(process->states != NULL);
    process->state_count = heartbeat->state_count;
    for (uint32_t i = 0; i < heartbeat->state_count; i++) {
        const msg_node_state_t *from = &heartbeat->states[i];
        mesh_view_state_t *to = &process->states[i];
        *to = (mesh_view_state_t){
            .tenant = from->tenant,
            .signal_count = from->signal_count,
            .lag_count = from->lag_count,
            .lag = s_copy(from->lag, from->lag_count, sizeof(*from->lag)),
        };
        memcpy(to->digest, from->digest, sizeof(to->digest));
        for (uint32_t p = 0; p < from->applied_count; p++) {
            (void)version_vector_raise(&to->applied, from->applied[p].stream, from->applied[p].seq);
        }
        for (uint32_t u = 0; u < from->usage_count; u++) {
            usage_slot_t slot = {.origin = {from->usage[u].origin, heartbeat->from.shard},
                                 .signals = from->usage[u].signals,
                                 .voided = from->usage[u].voided,
                                 .bytes = from->usage[u].bytes};
            usage_raise(&to->usage, &slot);
        }
    }
}

/* Whether a state names positions of its own tenant and the sender's shard alone. */
static bool s_state_fits(const msg_node_state_t *state, shard_id_t shard)
{
    bool fits = true;
    for (uint32_t i = 0; i < state->applied_count; i++) {
        stream_id_t stream = state->applied[i].stream;
        fits = fits && stream.tenant.value == state->tenant.value &&
               stream.origin.shard.value == shard.value;
    }
    return fits;
}

static bool s_states_fit(const msg_heartbeat_t *heartbeat)
{
    bool fits = true;
    for (uint32_t i = 0; i < heartbeat->state_count; i++) {
        fits = fits && s_state_fits(&heartbeat->states[i], heartbeat->from.shard);
    }
    return fits;
}

err_t mesh_view_heartbeat(mesh_view_t *self, const msg_heartbeat_t *heartbeat, int64_t now_ns)
{
    mesh_view_process_t *process = s_find(self, heartbeat->from);
    if (process == NULL) {
        return ERR_NOT_FOUND;
    }
    bool same_boot = process->is_heard && process->boot == heartbeat->boot;
    if (same_boot && heartbeat->publish_seq <= process->publish_seq) {
        return ERR_STALE;
    }
    if (!s_states_fit(heartbeat)) {
        return ERR_CORRUPT;
    }
    if (same_boot) {
        process->gap_count += heartbeat->publish_seq - process->publish_seq - 1;
    }
    process->is_heard = true;
    process->heard_ns = now_ns;
    process->boot = heartbeat->boot;
    process->publish_seq = heartbeat->publish_seq;
    clock_offset_hear(&process->clock, heartbeat->wall_ns, now_ns);
    process->table_version = heartbeat->table_version;
    process->ready = heartbeat->ready;
    (void)snprintf(process->reason, sizeof(process->reason), "%.*s",
                   (int)(heartbeat->reasons.size < sizeof(process->reason)
                             ? heartbeat->reasons.size
                             : sizeof(process->reason) - 1),
                   heartbeat->reasons.size == 0 ? "" : (const char *)heartbeat->reasons.data);
    s_take_states(process, heartbeat);
    return ERR_OK;
}

uint32_t mesh_view_count(const mesh_view_t *self)
{
    return self->count;
}

const mesh_view_process_t *mesh_view_process(const mesh_view_t *self, uint32_t index)
{
    CHECK(index < self->count);
    return &self->processes[index];
}

const mesh_view_process_t *mesh_view_find(const mesh_view_t *self, process_address_t address)
{
    return s_find(self, address);
}

const mesh_view_state_t *mesh_view_find_state(const mesh_view_process_t *process,
                                              tenant_id_t tenant)
{
    for (uint32_t i = 0; i < process->state_count; i++) {
        if (process->states[i].tenant.value == tenant.value) {
            return &process->states[i];
        }
    }
    return NULL;
}

bool mesh_view_is_alive(const mesh_view_t *self, const mesh_view_process_t *process, int64_t now_ns)
{
    return process->is_heard && now_ns - process->heard_ns < self->silent_ns;
}

/* 0 for a node that is not ahead of its peers, or of whom too little was heard. */
static int64_t s_clock_ahead_ns(const mesh_view_t *self,
                                const mesh_view_process_t *node,
                                int64_t now_ns)
{
    int64_t own_ns = 0;
    int64_t peers[REGION_COUNT_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        const mesh_view_process_t *peer = &self->processes[i];
        bool is_peer = peer->address.kind == PROCESS_NODE &&
                       peer->address.shard.value == node->address.shard.value && peer != node;
        if (is_peer && mesh_view_is_alive(self, peer, now_ns) &&
            clock_offset_get(&peer->clock, now_ns, &peers[count])) {
            count++;
        }
    }
    bool is_known =
        mesh_view_is_alive(self, node, now_ns) && clock_offset_get(&node->clock, now_ns, &own_ns);
    return is_known ? clock_offset_ahead_ns(own_ns, peers, count) : 0;
}

uint32_t mesh_view_clocks_ahead(const mesh_view_t *self,
                                int64_t bound_ns,
                                int64_t now_ns,
                                msg_clock_t *ret_clocks,
                                uint32_t count_max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->count && count < count_max; i++) {
        const mesh_view_process_t *node = &self->processes[i];
        int64_t ahead_ns =
            node->address.kind == PROCESS_NODE ? s_clock_ahead_ns(self, node, now_ns) : 0;
        if (ahead_ns > bound_ns) {
            int64_t ahead_ms = ahead_ns / S_NS_PER_MS;
            ret_clocks[count++] =
                (msg_clock_t){.node = {node->address.region, node->address.shard},
                              .ahead_ms = ahead_ms >= UINT32_MAX ? UINT32_MAX : (uint32_t)ahead_ms};
        }
    }
    return count;
}

void mesh_view_usage(const mesh_view_t *self, tenant_id_t tenant, usage_t *ret_usage)
{
    for (uint32_t i = 0; i < self->count; i++) {
        const mesh_view_state_t *state = mesh_view_find_state(&self->processes[i], tenant);
        if (state != NULL) {
            usage_merge(ret_usage, &state->usage);
        }
    }
}

static const mesh_view_state_t *s_node_state(const mesh_view_t *self,
                                             tenant_id_t tenant,
                                             uint16_t region,
                                             shard_id_t shard)
{
    process_address_t address = {PROCESS_NODE, {region}, shard};
    const mesh_view_process_t *process = s_find(self, address);
    return process == NULL ? NULL : mesh_view_find_state(process, tenant);
}

/* What is wrong with one process; 0 nothing, the higher the worse. */
static int s_process_fault(const mesh_view_t *self,
                           const mesh_view_process_t *process,
                           int64_t now_ns)
{
    if (process->address.kind == PROCESS_CONTROL) {
        return 0; /* whoever asks this is the control plane */
    }
    if (!mesh_view_is_alive(self, process, now_ns)) {
        return 2;
    }
    return process->ready ? 0 : 1;
}

static bool s_summary_processes(const mesh_view_t *self,
                                int64_t now_ns,
                                mesh_view_summary_t *summary)
{
    const mesh_view_process_t *worst = NULL;
    int worst_fault = 0;
    uint32_t faulty = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        int fault = s_process_fault(self, &self->processes[i], now_ns);
        faulty += fault > 0 ? 1 : 0;
        if (fault > worst_fault) {
            worst = &self->processes[i];
            worst_fault = fault;
        }
    }
    if (worst == NULL) {
        return false;
    }
    char name[PROCESS_NAME_SIZE];
    (void)process_name(self->topology, worst->address, name);
    if (worst_fault == 2) {
        (void)snprintf(
            summary->text, sizeof(summary->text),
            "not converged: %u of %u processes are missing or not ready, first %s, which "
            "is not heard",
            faulty, self->count, name);
    } else {
        (void)snprintf(summary->text, sizeof(summary->text),
                       "not converged: %u of %u processes are not ready, first %s: %s", faulty,
                       self->count, name, worst->reason);
    }
    return true;
}

/* A node whose state is changing makes none. */
static bool s_has_digest(const mesh_view_state_t *state)
{
    static const uint8_t s_none[MSG_HASH_SIZE] = {0};
    return memcmp(state->digest, s_none, sizeof(s_none)) != 0;
}

/* Compares the replicas of one shard; false when they are equal. */
static bool s_summary_shard(const mesh_view_t *self,
                            const table_tenant_t *tenant,
                            shard_id_t shard,
                            const table_record_t *record,
                            mesh_view_summary_t *summary)
{
    const mesh_view_state_t *first = NULL;
    const char *first_region = "";
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (!region_set_has(record->placed, (region_id_t){region})) {
            continue;
        }
        const mesh_view_state_t *state = s_node_state(self, tenant->id, region, shard);
        const char *name = topology_place_name(self->topology, (region_id_t){region});
        if (first == NULL) {
            first = state;
            first_region = name;
        }
        if (state == NULL) {
            (void)snprintf(summary->text, sizeof(summary->text),
                           "not converged: shard %u of tenant %s has told no position in %s yet",
                           (unsigned)shard.value, tenant->name, name);
            return true;
        }
        if (!version_vector_equal(&first->applied, &state->applied)) {
            (void)snprintf(summary->text, sizeof(summary->text),
                           "not converged: shard %u of tenant %s has different positions in %s and "
                           "%s",
                           (unsigned)shard.value, tenant->name, first_region, name);
            return true;
        }
        if (s_has_digest(first) && s_has_digest(state) &&
            memcmp(first->digest, state->digest, sizeof(first->digest)) != 0) {
            (void)snprintf(
                summary->text, sizeof(summary->text),
                "DIVERGED: shard %u of tenant %s has equal positions and different digests "
                "in %s and %s: see the reconcilers' reports",
                (unsigned)shard.value, tenant->name, first_region, name);
            return true;
        }
    }
    return false;
}

static bool s_summary_tenant(const mesh_view_t *self,
                             const table_t *table,
                             const table_tenant_t *tenant,
                             mesh_view_summary_t *summary)
{
    for (uint16_t shard = 0; shard < table_shard_count(table); shard++) {
        const table_record_t *record = table_find_record(table, tenant->id, (shard_id_t){shard});
        if (s_summary_shard(self, tenant, (shard_id_t){shard}, record, summary)) {
            return true;
        }
    }
    return false;
}

void mesh_view_summary(const mesh_view_t *self,
                       const table_t *table,
                       int64_t now_ns,
                       mesh_view_summary_t *ret_summary)
{
    ret_summary->converged = false;
    if (s_summary_processes(self, now_ns, ret_summary)) {
        return;
    }
    for (uint32_t t = 0; t < table_tenant_count(table); t++) {
        if (s_summary_tenant(self, table, table_tenant_at(table, t), ret_summary)) {
            return;
        }
    }
    ret_summary->converged = true;
    (void)snprintf(ret_summary->text, sizeof(ret_summary->text),
                   "converged: all %u processes are ready and all replicas are equal", self->count);
}
