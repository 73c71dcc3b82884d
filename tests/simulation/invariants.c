#include "tests/simulation/invariants.h"

#include "common/base/check.h"
#include "common/topology/route.h"
#include "common/topology/table.h"
#include "common/wire/client_reply.h"
#include "tests/simulation/cursors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a node showed last. */
typedef struct {
    known_register_t *registers; /* client x register */
    const ledger_t *ledger;
    uint32_t ack_count; /* acknowledgements that there were */
} s_node_t;

/* A register that is watched. */
typedef struct {
    clients_watch_t watch;
    bool is_everywhere;     /* else it is in one shard */
    shard_id_t shard;       /* of a hide */
    uint32_t first_creator; /* of a hide: number of the mute of its item's creator */
} s_watched_t;

/* A stream and the hash of its name. */
typedef struct {
    stream_id_t stream;
    uint64_t origin;
} s_origin_t;

struct invariants {
    world_t *world;
    const clients_t *clients;
    uint32_t shard_count;
    uint32_t watched_count;
    s_watched_t *watched; /* client x register */
    cursors_t *cursors;
    s_node_t *nodes;     /* (region, shard) */
    buffer_t applied_in; /* region_set_t: who has applied what was acknowledged */
    buffer_t origins;    /* s_origin_t */
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

/* The hash of the stream's name. */
static uint64_t s_origin(invariants_t *self, stream_id_t stream)
{
    const s_origin_t *list = (const void *)self->origins.data;
    for (size_t i = 0; i < self->origins.size / sizeof(*list); i++) {
        if (stream_id_equal(list[i].stream, stream)) {
            return list[i].origin;
        }
    }
    char name[CLIENT_ORIGIN_SIZE];
    const char *region = topology_place_name(world_topology(self->world), stream.origin.region);
    client_origin_text(name, slice_text(region), &stream);
    const s_origin_t added = {stream, history_origin(slice_text(name))};
    buffer_append(&self->origins, &added, sizeof(added));
    return added.origin;
}

static bool s_has_applied(invariants_t *self, const replica_t *replica, const clients_ack_t *ack)
{
    uint32_t count = 0;
    const stream_position_t *applied = replica_applied(replica, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (s_origin(self, applied[i].stream) == ack->origin) {
            return applied[i].seq >= ack->seq_last;
        }
    }
    return false;
}

/* Later is higher; of equal ones what sets. */
static bool s_is_behind(known_register_t found, known_register_t least)
{
    int order = hlc_compare(found.hlc, least.hlc);
    return order < 0 || (order == 0 && least.is_set && !found.is_set);
}

/* What was acknowledged and has been applied here must be there. */
static void s_take_acks(invariants_t *self,
                        const world_process_t *process,
                        const replica_t *replica)
{
    s_node_t *node = s_node(self, process->address);
    node->ack_count = clients_ack_count(self->clients);
    while (self->applied_in.size / sizeof(region_set_t) < node->ack_count) {
        *(region_set_t *)(void *)buffer_extend(&self->applied_in, sizeof(region_set_t)) =
            (region_set_t){0};
    }
    region_set_t *applied_in = (void *)self->applied_in.data;
    for (uint32_t i = 0; i < node->ack_count; i++) {
        const clients_ack_t *ack = clients_ack(self->clients, i);
        known_register_t *least = &node->registers[ack->client * KNOWN_REGISTER_COUNT + ack->reg];
        if (ack->shard.value == process->address.shard.value &&
            !region_set_has(applied_in[i], process->address.region) &&
            s_has_applied(self, replica, ack)) {
            applied_in[i] = region_set_add(applied_in[i], process->address.region);
            *least = s_is_behind(*least, ack->written) ? ack->written : *least;
        }
    }
}

static void s_look_at_register(invariants_t *self,
                               const world_process_t *process,
                               const ledger_t *ledger,
                               uint32_t i)
{
    const s_watched_t *watched = &self->watched[i];
    known_register_t *shown = &s_node(self, process->address)->registers[i];
    ledger_relation_t relation = {0};
    (void)ledger_get_relation(ledger, watched->watch.user, watched->watch.action,
                              watched->watch.target, &relation);
    known_register_t found = {relation.hlc, relation.set};
    if (s_is_behind(found, *shown)) {
        s_violate(self, process, "a hard negative went back to an older write, or is not there");
    }
    *shown = found;
}

/* What ranking asks, against the registers. */
static void s_look_at_item(invariants_t *self,
                           const world_process_t *process,
                           const ledger_t *ledger,
                           uint32_t i)
{
    const s_watched_t *hide = &self->watched[i];
    const known_register_t *shown = s_node(self, process->address)->registers;
    item_id_t item = {hide->watch.target};
    uint32_t row = ledger_find_item(ledger, item);
    if (row == 0) {
        return;
    }
    creator_id_t creator = ledger_item(ledger, row)->creator;
    if (creator.value != 0 && creator.value != clients_creator(item).value) {
        s_violate(self, process, "an item has a creator that nobody gave it");
    }
    bool is_hidden = shown[i].is_set || (creator.value != 0 &&
                                         (shown[hide->first_creator].is_set ||
                                          shown[hide->first_creator + KNOWN_CREATOR_COUNT].is_set));
    uint32_t user = ledger_find_user(ledger, hide->watch.user);
    if (ledger_is_suppressed(ledger, user, ledger_item(ledger, row)) != is_hidden) {
        s_violate(self, process,
                  is_hidden ? "an item would be shown that is hidden, or whose creator is muted or "
                              "blocked"
                            : "an item is suppressed that nobody hides");
    }
}

/* The state is a function of what was applied: it is looked at when that has moved, or when it was
 * replaced. */
static void s_look_at_hard_negatives(invariants_t *self,
                                     const world_process_t *process,
                                     replica_t *replica,
                                     bool has_moved)
{
    s_node_t *node = s_node(self, process->address);
    const ledger_t *ledger = replica_ledger(replica);
    if (!has_moved && ledger == node->ledger &&
        node->ack_count == clients_ack_count(self->clients)) {
        return;
    }
    node->ledger = ledger;
    self->look_count++;
    s_take_acks(self, process, replica);
    for (uint32_t i = 0; i < self->watched_count; i++) {
        const s_watched_t *watched = &self->watched[i];
        if (watched->is_everywhere || watched->shard.value == process->address.shard.value) {
            s_look_at_register(self, process, ledger, i);
        }
    }
    for (uint32_t i = 0; i < self->watched_count; i++) {
        const s_watched_t *watched = &self->watched[i];
        if (!watched->is_everywhere && watched->shard.value == process->address.shard.value) {
            s_look_at_item(self, process, ledger, i);
        }
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
        replica_t *replica = node_engine_replica(process->node, TENANT_DEFAULT);
        s_look_at_hard_negatives(self, process, replica, has_moved);
    }
}

static void s_watch(invariants_t *self)
{
    self->watched_count = clients_count(self->clients) * KNOWN_REGISTER_COUNT;
    self->watched = calloc(self->watched_count, sizeof(*self->watched));
    CHECK(self->watched != NULL);
    for (uint32_t i = 0; i < self->watched_count; i++) {
        uint32_t client = i / KNOWN_REGISTER_COUNT;
        clients_watch_t watch = clients_watch(self->clients, client, i % KNOWN_REGISTER_COUNT);
        item_id_t item = {watch.target};
        uint32_t mute = client * KNOWN_REGISTER_COUNT + KNOWN_PAIR_COUNT;
        while (clients_watch(self->clients, client, mute % KNOWN_REGISTER_COUNT).target !=
               clients_creator(item).value) {
            mute++;
        }
        self->watched[i] = (s_watched_t){
            .watch = watch,
            .is_everywhere = watch.action != RELATION_HIDE,
            .shard = route_item(TENANT_DEFAULT, item, self->shard_count),
            .first_creator = mute,
        };
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
    s_watch(self);
    size_t count = (size_t)(REGION_COUNT_MAX + 1) * self->shard_count;
    self->nodes = calloc(count, sizeof(*self->nodes));
    CHECK(self->nodes != NULL);
    for (size_t i = 0; i < count; i++) {
        self->nodes[i].registers = calloc(self->watched_count, sizeof(known_register_t));
        CHECK(self->nodes[i].registers != NULL);
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
        free(self->nodes[i].registers);
    }
    cursors_destroy(&self->cursors);
    free(self->nodes);
    free(self->watched);
    buffer_done(&self->applied_in);
    buffer_done(&self->origins);
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
        memset(node->registers, 0, self->watched_count * sizeof(*node->registers));
        node->ledger = NULL;
    }
    region_set_t *applied_in = (void *)self->applied_in.data;
    for (size_t i = 0; i < self->applied_in.size / sizeof(*applied_in); i++) {
        applied_in[i] = region_set_remove(applied_in[i], region);
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
