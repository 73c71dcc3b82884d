#include "tests/simulation/invariants.h"

#include "common/base/check.h"
#include "common/topology/route.h"
#include "common/topology/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { S_STREAM_COUNT_MAX = 64 };

/* What a node showed last. */
typedef struct {
    uint32_t applied_count;
    stream_position_t applied[S_STREAM_COUNT_MAX];
    hlc_stamp_t *relations; /* client x pair */
    bool *is_set;
} s_node_t;

struct invariants {
    world_t *world;
    const clients_t *clients;
    uint32_t shard_count;
    uint32_t pair_count;
    s_node_t *nodes; /* (region, shard) */
    bool is_violated;
    char violation[256];
    uint64_t look_count;
};

static s_node_t *s_node(invariants_t *self, process_address_t address)
{
    return &self->nodes[address.region.value * self->shard_count + address.shard.value];
}

static void s_violate(invariants_t *self, const world_process_t *process, const char *what)
{
    if (!self->is_violated) {
        self->is_violated = true;
        (void)snprintf(self->violation, sizeof(self->violation), "node %u of region %u: %s",
                       (unsigned)process->address.shard.value,
                       (unsigned)process->address.region.value, what);
    }
}

static uint64_t s_seq_of(const stream_position_t *list, uint32_t count, stream_id_t stream)
{
    for (uint32_t i = 0; i < count; i++) {
        if (stream_id_equal(list[i].stream, stream)) {
            return list[i].seq;
        }
    }
    return 0;
}

static void s_look_at_vector(invariants_t *self, const world_process_t *process, replica_t *replica)
{
    s_node_t *node = s_node(self, process->address);
    uint32_t count = 0;
    const stream_position_t *applied = replica_applied(replica, &count);
    for (uint32_t i = 0; i < node->applied_count; i++) {
        if (s_seq_of(applied, count, node->applied[i].stream) < node->applied[i].seq) {
            s_violate(self, process, "its applied vector went back");
        }
    }
    CHECK(count <= S_STREAM_COUNT_MAX);
    node->applied_count = count;
    if (count > 0) {
        memcpy(node->applied, applied, count * sizeof(*applied));
    }
}

static void s_look_at_relations(invariants_t *self,
                                const world_process_t *process,
                                replica_t *replica)
{
    s_node_t *node = s_node(self, process->address);
    const ledger_t *ledger = replica_ledger(replica);
    for (uint32_t i = 0; i < self->pair_count; i++) {
        clients_pair_t pair =
            clients_pair(self->clients, i / CLIENTS_PAIR_COUNT, i % CLIENTS_PAIR_COUNT);
        if (route_item(TENANT_DEFAULT, pair.item, self->shard_count).value !=
            process->address.shard.value) {
            continue;
        }
        ledger_relation_t relation = {0};
        (void)ledger_get_relation(ledger, pair.user, RELATION_HIDE, pair.item.value, &relation);
        int order = hlc_compare(relation.hlc, node->relations[i]);
        if (order < 0 || (order == 0 && node->is_set[i] && !relation.set)) {
            s_violate(self, process, "a hard negative went back to an older write");
        }
        node->relations[i] = relation.hlc;
        node->is_set[i] = relation.set;
    }
}

static void s_on_turn(void *context, world_process_t *process)
{
    invariants_t *self = context;
    const char *reason = "";
    if (process->node == NULL || !node_engine_is_ready(process->node, &reason)) {
        return;
    }
    replica_t *replica = node_engine_replica(process->node, TENANT_DEFAULT);
    self->look_count++;
    s_look_at_vector(self, process, replica);
    s_look_at_relations(self, process, replica);
}

invariants_t *invariants_new(world_t *world, const clients_t *clients)
{
    invariants_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->world = world;
    self->clients = clients;
    self->shard_count = world_topology(world)->shard_count;
    self->pair_count = clients_count(clients) * CLIENTS_PAIR_COUNT;
    size_t count = (size_t)(REGION_COUNT_MAX + 1) * self->shard_count;
    self->nodes = calloc(count, sizeof(*self->nodes));
    CHECK(self->nodes != NULL);
    for (size_t i = 0; i < count; i++) {
        self->nodes[i].relations = calloc(self->pair_count, sizeof(hlc_stamp_t));
        self->nodes[i].is_set = calloc(self->pair_count, sizeof(bool));
        CHECK(self->nodes[i].relations != NULL && self->nodes[i].is_set != NULL);
    }
    world_set_observer(world, s_on_turn, self);
    return self;
}

void invariants_destroy(invariants_t **self_p)
{
    invariants_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    world_set_observer(self->world, NULL, NULL);
    for (size_t i = 0; i < (size_t)(REGION_COUNT_MAX + 1) * self->shard_count; i++) {
        free(self->nodes[i].relations);
        free(self->nodes[i].is_set);
    }
    free(self->nodes);
    free(self);
    *self_p = NULL;
}

void invariants_forget(invariants_t *self, region_id_t region)
{
    for (uint16_t shard = 0; shard < self->shard_count; shard++) {
        s_node_t *node = s_node(self, (process_address_t){PROCESS_NODE, region, {shard}});
        node->applied_count = 0;
        memset(node->relations, 0, self->pair_count * sizeof(hlc_stamp_t));
        memset(node->is_set, 0, self->pair_count * sizeof(bool));
    }
}

const char *invariants_violation(const invariants_t *self)
{
    return self->is_violated ? self->violation : NULL;
}

uint64_t invariants_look_count(const invariants_t *self)
{
    return self->look_count;
}
