#include "tests/simulation/invariants.h"

#include "common/base/check.h"
#include "common/topology/route.h"
#include "common/topology/table.h"
#include "tests/simulation/cursors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a node showed last. */
typedef struct {
    hlc_stamp_t *relations; /* client x pair */
    bool *is_set;
} s_node_t;

struct invariants {
    world_t *world;
    const clients_t *clients;
    uint32_t shard_count;
    uint32_t pair_count;
    cursors_t *cursors;
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
        (void)snprintf(self->violation, sizeof(self->violation),
                       "process %d, %u of region %u: %.200s", (int)process->address.kind,
                       (unsigned)process->address.shard.value,
                       (unsigned)process->address.region.value, what);
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
    bool is_ready = process->node != NULL && node_engine_is_ready(process->node, &reason);
    bool has_moved = false;
    errbuf_t text = {{0}};
    if (!cursors_look(self->cursors, process, is_ready, &has_moved, &text)) {
        s_violate(self, process, text.text);
    }
    if (is_ready) {
        self->look_count++;
        s_look_at_relations(self, process, node_engine_replica(process->node, TENANT_DEFAULT));
    }
}

invariants_t *invariants_new(world_t *world, const clients_t *clients)
{
    invariants_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->world = world;
    self->clients = clients;
    self->cursors = cursors_new(world_topology(world));
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
    cursors_destroy(&self->cursors);
    free(self->nodes);
    free(self);
    *self_p = NULL;
}

void invariants_allow_fall(invariants_t *self, const fault_flip_t *flip)
{
    cursors_allow_fall(self->cursors, flip);
}

void invariants_forget(invariants_t *self, region_id_t region)
{
    cursors_forget(self->cursors, region);
    for (uint16_t shard = 0; shard < self->shard_count; shard++) {
        s_node_t *node = s_node(self, (process_address_t){PROCESS_NODE, region, {shard}});
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
