/* A message is an index into a pool and points to a counted buffer, so that a publication, or a
 * copy that a link makes, costs no second copy of the bytes. Messages, buffers and handles come
 * from free lists; the order of everything is that of one heap by (due time, serial number).
 * Nothing is taken out of the heap early: a message whose lane has got a new generation, or whose
 * connection was reset, is dropped when its turn comes. */
#include "tests/support/sim_network.h"

#include "common/base/check.h"
#include "common/base/due_heap.h"
#include "common/base/prng.h"
#include "tests/support/sim_buffers.h"
#include "tests/support/sim_handles.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef enum { LANE_SEND, LANE_REPLY, LANE_PUBLISH } s_lane_kind_t;

enum {
    LANE_KIND_COUNT = 3,
    SHARD_LIMIT = 64, /* of addresses: nodes, and room for tools */
    PROCESS_KIND_COUNT = PROCESS_TOOL + 1,
    LANE_COUNT_MAX = 1 << 20
};
static const uint32_t s_none = UINT32_MAX;
/* Ticket of a message that is offered to a cut link only to be counted. */
static const uint64_t s_refused_ticket = UINT64_MAX;

static_assert((int)SHARD_COUNT_MAX <= (int)SHARD_LIMIT, "every node has an address");

typedef struct {
    uint32_t from; /* slot */
    uint32_t to;   /* slot */
    s_lane_kind_t kind;
    link_id_t link; /* from and to are equal within a place */
    uint32_t link_lane;
    uint32_t generation; /* what was sent in an earlier one vanishes */
    uint32_t count;      /* under way, of this generation, without copies */
    uint64_t size_bytes;
    int64_t floor_ns; /* arrival of the latest message */
} s_lane_t;

typedef struct {
    sim_buffer_t *buffer;
    uint32_t lane;
    uint32_t generation;
    uint32_t life;   /* of the sender */
    uint32_t resets; /* s_resets of the lane when it was sent */
    uint32_t next_free;
    bool has_passed_link; /* or needs none */
    bool is_copy;         /* does not count in the lane */
} s_message_t;

typedef struct {
    uint32_t subscriber;
    char prefix[TOPIC_SIZE_MAX + 1];
} s_subscription_t;

typedef struct {
    sim_network_t *network;
    process_address_t address;
    uint32_t slot;
    uint32_t life; /* 0: never attached */
    bool is_attached;
    sim_network_receiver_t receiver;
    sim_handles_t handles;
    s_subscription_t *subscriptions; /* to what this process publishes, in order of subscribing */
    uint32_t subscription_count;
    uint32_t subscription_capacity;
    uint64_t publication; /* the latest one that this process was considered for */
    uint32_t lanes[SIM_NETWORK_PROCESS_COUNT_MAX * LANE_KIND_COUNT]; /* lane + 1, by receiver */
} s_process_t;

struct sim_network {
    sim_network_options_t options;
    int64_t now_ns;
    bool is_delivering;
    process_address_t sender; /* of the message that is being delivered */
    prng_t prng;
    link_rules_t *links;
    link_effects_t effects;
    uint32_t resets[LINK_PLACE_COUNT_MAX][LINK_PLACE_COUNT_MAX];
    uint32_t link_lane_count[LINK_PLACE_COUNT_MAX][LINK_PLACE_COUNT_MAX];
    uint32_t process_count;
    s_process_t *processes[SIM_NETWORK_PROCESS_COUNT_MAX];
    uint16_t slots[PROCESS_KIND_COUNT][LINK_PLACE_COUNT_MAX][SHARD_LIMIT]; /* slot + 1 */
    s_lane_t *lanes;
    uint32_t lane_count;
    uint32_t lane_capacity;
    s_message_t *messages;
    due_heap_t heap;           /* by (due, serial) */
    uint32_t message_capacity; /* of messages and heap */
    uint32_t message_free;
    sim_buffers_t buffers;
    uint64_t next_serial;
    uint64_t publication;
    uint64_t trace_hash;
    sim_network_tap_fn tap;
    void *tap_context;
    sim_network_counters_t counters;
};

static void s_invariant(const sim_network_t *self)
{
    CHECK(self->heap.count <= self->message_capacity);
    CHECK(self->heap.count <= self->counters.under_way_count);
    CHECK(self->counters.under_way_count <= SIM_NETWORK_MESSAGE_COUNT_MAX);
    CHECK(self->lane_count <= self->lane_capacity);
    CHECK(self->process_count <= SIM_NETWORK_PROCESS_COUNT_MAX);
}

/* -- life -------------------------------------------------------------------------------------- */

static int64_t s_default(int64_t value, int64_t otherwise)
{
    CHECK(value >= 0);
    return value == 0 ? otherwise : value;
}

sim_network_t *sim_network_new(const sim_network_options_t *options)
{
    sim_network_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->options = *options;
    self->options.local_latency_ns = s_default(options->local_latency_ns, 20000);
    self->options.link_latency_ns = s_default(options->link_latency_ns, 1000000);
    CHECK(options->local_jitter_ns >= 0);
    CHECK(options->link_jitter_ns >= 0);
    if (options->queue_count_max == 0) {
        self->options.queue_count_max = 10000;
    }
    if (options->queue_size_max == 0) {
        self->options.queue_size_max = UINT64_C(64) << 20;
    }
    self->now_ns = options->start_ns;
    prng_init(&self->prng, options->seed);
    self->links = link_rules_new(prng_next(&self->prng));
    self->message_free = s_none;
    s_invariant(self);
    return self;
}

static void s_process_destroy(s_process_t *process)
{
    sim_handles_done(&process->handles);
    free(process->subscriptions);
    free(process);
}

void sim_network_destroy(sim_network_t **self_p)
{
    sim_network_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    CHECK(!self->is_delivering);
    for (uint32_t i = 0; i < self->message_capacity; i++) {
        sim_buffer_t *buffer = self->messages[i].buffer;
        if (buffer != NULL && --buffer->users == 0) {
            free(buffer);
        }
    }
    sim_buffers_done(&self->buffers);
    for (uint32_t i = 0; i < self->process_count; i++) {
        s_process_destroy(self->processes[i]);
    }
    link_rules_destroy(&self->links);
    free(self->lanes);
    free(self->messages);
    due_heap_done(&self->heap);
    free(self);
    *self_p = NULL;
}

/* A larger array of the same elements; what is new is zero. */
static void *s_grow(void *array, uint32_t count, uint32_t new_count, size_t element_size)
{
    uint8_t *grown = realloc(array, new_count * element_size);
    CHECK(grown != NULL);
    (void)memset(grown + count * element_size, 0, (new_count - count) * element_size);
    return grown;
}

/* -- processes, lanes, handles ----------------------------------------------------------------- */

static uint16_t *s_slot_of(sim_network_t *self, process_address_t address)
{
    CHECK((int)address.kind > PROCESS_NONE);
    CHECK((int)address.kind < PROCESS_KIND_COUNT);
    CHECK(address.region.value < LINK_PLACE_COUNT_MAX);
    CHECK(address.shard.value < SHARD_LIMIT);
    return &self->slots[address.kind][address.region.value][address.shard.value];
}

static s_process_t *s_require_process(sim_network_t *self, process_address_t address)
{
    uint16_t *slot = s_slot_of(self, address);
    if (*slot == 0) {
        CHECK(self->process_count < SIM_NETWORK_PROCESS_COUNT_MAX);
        s_process_t *process = calloc(1, sizeof(*process));
        CHECK(process != NULL);
        process->network = self;
        process->address = address;
        process->slot = self->process_count;
        self->processes[self->process_count++] = process;
        *slot = (uint16_t)self->process_count;
    }
    return self->processes[*slot - 1];
}

static s_lane_t *s_require_lane(sim_network_t *self,
                                s_process_t *from,
                                const s_process_t *to,
                                s_lane_kind_t kind)
{
    uint32_t *place = &from->lanes[to->slot * LANE_KIND_COUNT + (uint32_t)kind];
    if (*place != 0) {
        return &self->lanes[*place - 1];
    }
    if (self->lane_count == self->lane_capacity) {
        uint32_t capacity = self->lane_capacity == 0 ? 64 : self->lane_capacity * 2;
        CHECK(capacity <= LANE_COUNT_MAX);
        self->lanes = s_grow(self->lanes, self->lane_capacity, capacity, sizeof(*self->lanes));
        self->lane_capacity = capacity;
    }
    s_lane_t *lane = &self->lanes[self->lane_count++];
    *place = self->lane_count;
    link_id_t link = {from->address.region, to->address.region};
    *lane = (s_lane_t){.from = from->slot,
                       .to = to->slot,
                       .kind = kind,
                       .link = link,
                       .link_lane = self->link_lane_count[link.from.value][link.to.value]++,
                       .floor_ns = INT64_MIN};
    return lane;
}

static bool s_is_local(const s_lane_t *lane)
{
    return lane->link.from.value == lane->link.to.value;
}

/* Counts the resets of all that a message of this lane travels on: its own link, and for answers
 * and publications the link of the connection, which the other side has made. */
static uint32_t s_resets(const sim_network_t *self, const s_lane_t *lane)
{
    uint32_t resets = self->resets[lane->link.from.value][lane->link.to.value];
    if (lane->kind != LANE_SEND) {
        resets += self->resets[lane->link.to.value][lane->link.from.value];
    }
    return resets;
}

/* -- messages ---------------------------------------------------------------------------------- */

static void s_messages_grow(sim_network_t *self)
{
    uint32_t capacity = self->message_capacity == 0 ? 256 : self->message_capacity * 2;
    CHECK(capacity <= SIM_NETWORK_MESSAGE_COUNT_MAX);
    self->messages =
        s_grow(self->messages, self->message_capacity, capacity, sizeof(*self->messages));
    due_heap_reserve(&self->heap, capacity);
    for (uint32_t i = capacity; i > self->message_capacity; i--) {
        self->messages[i - 1].next_free = self->message_free;
        self->message_free = i - 1;
    }
    self->message_capacity = capacity;
}
static_assert((SIM_NETWORK_MESSAGE_COUNT_MAX & (SIM_NETWORK_MESSAGE_COUNT_MAX - 1)) == 0,
              "the pool doubles up to the limit");

/* The caller gives one use of the buffer with it. */
static uint32_t s_message_new(sim_network_t *self, s_message_t message)
{
    CHECK(self->counters.under_way_count < SIM_NETWORK_MESSAGE_COUNT_MAX);
    if (self->message_free == s_none) {
        s_messages_grow(self);
    }
    uint32_t index = self->message_free;
    self->message_free = self->messages[index].next_free;
    self->messages[index] = message;
    self->counters.under_way_count++;
    return index;
}

/* Ends a message and hands its buffer back, with its use. */
static sim_buffer_t *s_message_end(sim_network_t *self, uint32_t index)
{
    s_message_t *message = &self->messages[index];
    s_lane_t *lane = &self->lanes[message->lane];
    sim_buffer_t *buffer = message->buffer;
    if (!message->is_copy && message->generation == lane->generation) {
        CHECK(lane->count > 0);
        lane->count--;
        lane->size_bytes -= buffer->size;
    }
    message->buffer = NULL;
    message->next_free = self->message_free;
    self->message_free = index;
    self->counters.under_way_count--;
    return buffer;
}

static void s_schedule(sim_network_t *self, uint32_t message, int64_t due_ns)
{
    due_heap_set(&self->heap, message, due_ns, self->next_serial++);
}

/* -- links ------------------------------------------------------------------------------------- */

static void s_reset(sim_network_t *self, link_id_t link)
{
    self->resets[link.from.value][link.to.value]++;
}

static void s_do_effect(sim_network_t *self, const link_effect_t *effect)
{
    if (effect->kind == LINK_EFFECT_RESET) {
        s_reset(self, effect->link);
        return;
    }
    if (effect->ticket == s_refused_ticket) {
        return;
    }
    uint32_t index = (uint32_t)effect->ticket;
    switch (effect->kind) {
    case LINK_EFFECT_FORWARD:
        self->messages[index].has_passed_link = true;
        s_schedule(self, index, self->now_ns);
        break;
    case LINK_EFFECT_FORWARD_COPY:
        if (self->counters.under_way_count < SIM_NETWORK_MESSAGE_COUNT_MAX) {
            s_message_t copy = self->messages[index];
            copy.is_copy = true;
            copy.has_passed_link = true;
            copy.buffer->users++;
            self->counters.copied_count++;
            s_schedule(self, s_message_new(self, copy), self->now_ns);
        }
        break;
    case LINK_EFFECT_DROP:
        self->counters.link_dropped_count++;
        sim_buffers_release(&self->buffers, s_message_end(self, index));
        break;
    case LINK_EFFECT_RESET:
        break;
    }
}

static void s_do_effects(sim_network_t *self)
{
    for (uint32_t i = 0; i < self->effects.count; i++) {
        s_do_effect(self, &self->effects.list[i]);
    }
}

static void s_do_all_effects(sim_network_t *self)
{
    s_do_effects(self);
    while (self->effects.has_more) {
        link_rules_due(self->links, self->now_ns, &self->effects);
        s_do_effects(self);
    }
    s_invariant(self);
}

static void s_offer(sim_network_t *self, const s_lane_t *lane, uint64_t ticket, size_t size)
{
    link_message_t message = {.link = lane->link,
                              .lane = lane->link_lane,
                              .size_bytes = (uint32_t)size,
                              .ticket = ticket};
    link_rules_offer(self->links, &message, self->now_ns, &self->effects);
    s_do_effects(self);
}

err_t sim_network_set_link(sim_network_t *self,
                           link_id_t link,
                           const link_rule_t *rule,
                           errbuf_t *errbuf)
{
    err_t err = link_rules_set(self->links, link, rule, self->now_ns, &self->effects, errbuf);
    if (err == ERR_OK) {
        s_do_all_effects(self);
    }
    return err;
}

void sim_network_heal_all(sim_network_t *self)
{
    link_rules_heal_all(self->links, self->now_ns, &self->effects);
    s_do_all_effects(self);
}

const link_rules_t *sim_network_links(const sim_network_t *self)
{
    return self->links;
}

/* -- sending ----------------------------------------------------------------------------------- */

/* Whether the lane takes a message of this size now; counts what a cut link refuses. */
static err_t s_admit(sim_network_t *self, const s_lane_t *lane, size_t size)
{
    CHECK(size <= INTERNAL_MESSAGE_SIZE_MAX);
    if (!self->processes[lane->to]->is_attached) {
        return ERR_UNREACHABLE;
    }
    if (!s_is_local(lane) && link_rules_rule(self->links, lane->link)->mode == LINK_MODE_CUT) {
        s_offer(self, lane, s_refused_ticket, size);
        return ERR_UNREACHABLE;
    }
    bool has_room = lane->count < self->options.queue_count_max &&
                    lane->size_bytes + size <= self->options.queue_size_max &&
                    self->counters.under_way_count < SIM_NETWORK_MESSAGE_COUNT_MAX;
    return has_room ? ERR_OK : ERR_FULL;
}

static int64_t s_latency_ns(sim_network_t *self, bool is_local)
{
    const sim_network_options_t *o = &self->options;
    int64_t latency_ns = is_local ? o->local_latency_ns : o->link_latency_ns;
    int64_t jitter_ns = is_local ? o->local_jitter_ns : o->link_jitter_ns;
    if (jitter_ns > 0) {
        latency_ns += (int64_t)prng_below(&self->prng, (uint64_t)jitter_ns + 1);
    }
    return latency_ns;
}

/* Puts an admitted message on its way; takes one use of the buffer. */
static void s_launch(sim_network_t *self, s_lane_t *lane, sim_buffer_t *buffer)
{
    bool is_local = s_is_local(lane);
    lane->count++;
    lane->size_bytes += buffer->size;
    self->counters.sent_count++;
    self->counters.sent_bytes += buffer->size;
    uint32_t message = s_message_new(self, (s_message_t){.buffer = buffer,
                                                         .lane = (uint32_t)(lane - self->lanes),
                                                         .generation = lane->generation,
                                                         .life = self->processes[lane->from]->life,
                                                         .resets = s_resets(self, lane),
                                                         .has_passed_link = is_local});
    int64_t due_ns = self->now_ns + s_latency_ns(self, is_local);
    lane->floor_ns = lane->floor_ns > due_ns ? lane->floor_ns : due_ns;
    s_schedule(self, message, lane->floor_ns);
    s_invariant(self);
}

static err_t s_send(
    s_process_t *from, s_process_t *to, s_lane_kind_t kind, const uint8_t *bytes, size_t size)
{
    sim_network_t *self = from->network;
    s_lane_t *lane = s_require_lane(self, from, to, kind);
    err_t err = s_admit(self, lane, size);
    if (err == ERR_FULL) {
        self->counters.refused_full_count++;
    } else if (err != ERR_OK) {
        self->counters.refused_unreachable_count++;
    } else {
        sim_buffer_t *buffer = sim_buffers_take(&self->buffers, NULL, bytes, size);
        if (self->tap != NULL) {
            self->tap(self->tap_context, from->address, to->address, buffer->bytes, size);
            sim_buffer_rehash(buffer);
        }
        s_launch(self, lane, buffer);
    }
    return err;
}

static err_t s_net_send(void *context, process_address_t to, const uint8_t *bytes, size_t size)
{
    s_process_t *process = context;
    sim_network_t *self = process->network;
    if (!process->is_attached) {
        self->counters.refused_unreachable_count++;
        return ERR_UNREACHABLE;
    }
    return s_send(process, s_require_process(self, to), LANE_SEND, bytes, size);
}

static err_t s_net_reply(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    s_process_t *process = context;
    sim_network_t *self = process->network;
    const sim_origin_t *origin = sim_handles_find(&process->handles, reply_to);
    if (origin == NULL) {
        self->counters.refused_handle_count++;
        return ERR_NOT_FOUND;
    }
    s_process_t *requester = self->processes[origin->requester];
    link_id_t link = {requester->address.region, process->address.region};
    bool is_connected = requester->is_attached && requester->life == origin->requester_life &&
                        self->resets[link.from.value][link.to.value] == origin->resets;
    if (!is_connected) {
        self->counters.refused_unreachable_count++;
        return ERR_UNREACHABLE;
    }
    return s_send(process, requester, LANE_REPLY, bytes, size);
}

static void s_net_forget(void *context, uint64_t reply_to)
{
    s_process_t *process = context;
    if (sim_handles_forget(&process->handles, reply_to)) {
        process->network->counters.handle_count--;
    }
}

static void s_net_publish(void *context, const char *topic, const uint8_t *bytes, size_t size)
{
    s_process_t *process = context;
    sim_network_t *self = process->network;
    CHECK(topic[0] != '\0');
    CHECK(strlen(topic) <= TOPIC_SIZE_MAX);
    if (!process->is_attached) {
        return;
    }
    sim_buffer_t *buffer = NULL;
    self->publication++;
    for (uint32_t i = 0; i < process->subscription_count; i++) {
        const s_subscription_t *subscription = &process->subscriptions[i];
        s_process_t *subscriber = self->processes[subscription->subscriber];
        size_t prefix_size = strlen(subscription->prefix);
        if (strncmp(topic, subscription->prefix, prefix_size) != 0 ||
            subscriber->publication == self->publication) {
            continue;
        }
        subscriber->publication = self->publication;
        s_lane_t *lane = s_require_lane(self, process, subscriber, LANE_PUBLISH);
        if (s_admit(self, lane, size) != ERR_OK) {
            self->counters.publish_dropped_count++;
            continue;
        }
        buffer = buffer != NULL ? buffer : sim_buffers_take(&self->buffers, topic, bytes, size);
        buffer->users++;
        s_launch(self, lane, buffer);
    }
    if (buffer != NULL) {
        sim_buffers_release(&self->buffers, buffer);
    }
}

/* -- coming and going -------------------------------------------------------------------------- */

net_t sim_network_attach(sim_network_t *self,
                         process_address_t address,
                         sim_network_receiver_t receiver)
{
    CHECK(receiver.on_message != NULL);
    s_process_t *process = s_require_process(self, address);
    CHECK(!process->is_attached);
    process->is_attached = true;
    process->life++;
    process->receiver = receiver;
    s_invariant(self);
    return (net_t){.context = process,
                   .send = s_net_send,
                   .reply = s_net_reply,
                   .forget = s_net_forget,
                   .publish = s_net_publish};
}

static void s_lane_forget(s_lane_t *lane)
{
    lane->generation++;
    lane->count = 0;
    lane->size_bytes = 0;
    lane->floor_ns = INT64_MIN;
}

static void s_unsubscribe(s_process_t *publisher, uint32_t subscriber)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < publisher->subscription_count; i++) {
        if (publisher->subscriptions[i].subscriber != subscriber) {
            publisher->subscriptions[kept++] = publisher->subscriptions[i];
        }
    }
    publisher->subscription_count = kept;
}

void sim_network_detach(sim_network_t *self, process_address_t address, sim_network_sent_t sent)
{
    s_process_t *process = s_require_process(self, address);
    CHECK(process->is_attached);
    process->is_attached = false;
    for (uint32_t i = 0; i < self->lane_count; i++) {
        s_lane_t *lane = &self->lanes[i];
        bool is_lost = lane->from == process->slot && sent == SIM_NETWORK_SENT_VANISHES;
        if (is_lost || lane->to == process->slot) {
            s_lane_forget(lane);
        }
    }
    self->counters.handle_count -= sim_handles_forget_all(&process->handles);
    for (uint32_t i = 0; i < self->process_count; i++) {
        s_unsubscribe(self->processes[i], process->slot);
    }
    s_invariant(self);
}

bool sim_network_is_attached(const sim_network_t *self, process_address_t address)
{
    CHECK((int)address.kind < PROCESS_KIND_COUNT);
    CHECK(address.region.value < LINK_PLACE_COUNT_MAX);
    CHECK(address.shard.value < SHARD_LIMIT);
    uint16_t slot = self->slots[address.kind][address.region.value][address.shard.value];
    return slot != 0 && self->processes[slot - 1]->is_attached;
}

void sim_network_set_tap(sim_network_t *self, sim_network_tap_fn tap, void *context)
{
    self->tap = tap;
    self->tap_context = context;
}

void sim_network_subscribe(sim_network_t *self,
                           process_address_t subscriber,
                           process_address_t publisher,
                           const char *prefix)
{
    const s_process_t *listening = s_require_process(self, subscriber);
    s_process_t *publishing = s_require_process(self, publisher);
    CHECK(listening->is_attached);
    CHECK(listening->receiver.on_published != NULL);
    CHECK(strlen(prefix) <= TOPIC_SIZE_MAX);
    for (uint32_t i = 0; i < publishing->subscription_count; i++) {
        const s_subscription_t *known = &publishing->subscriptions[i];
        if (known->subscriber == listening->slot && strcmp(known->prefix, prefix) == 0) {
            return;
        }
    }
    if (publishing->subscription_count == publishing->subscription_capacity) {
        uint32_t old = publishing->subscription_capacity;
        uint32_t capacity = old == 0 ? 16 : old * 2;
        CHECK(capacity <= SIM_NETWORK_SUBSCRIBER_COUNT_MAX);
        publishing->subscriptions =
            s_grow(publishing->subscriptions, old, capacity, sizeof(s_subscription_t));
        publishing->subscription_capacity = capacity;
    }
    s_subscription_t *added = &publishing->subscriptions[publishing->subscription_count++];
    added->subscriber = listening->slot;
    (void)memcpy(added->prefix, prefix, strlen(prefix) + 1);
}

/* -- delivery ---------------------------------------------------------------------------------- */

static uint64_t s_address_number(process_address_t address)
{
    return (uint64_t)address.kind << 32 | (uint64_t)address.region.value << 16 |
           address.shard.value;
}

static void s_trace(sim_network_t *self, const s_lane_t *lane, const sim_buffer_t *buffer)
{
    uint64_t hash = sim_hash_mix(self->trace_hash, (uint64_t)self->now_ns);
    hash = sim_hash_mix(hash, s_address_number(self->processes[lane->from]->address));
    hash = sim_hash_mix(hash, s_address_number(self->processes[lane->to]->address));
    hash = sim_hash_mix(hash, buffer->size);
    self->trace_hash = sim_hash_mix(hash, buffer->hash);
}

static uint64_t s_new_handle(sim_network_t *self, s_process_t *to, sim_origin_t origin)
{
    bool has_expired;
    uint64_t handle = sim_handles_add(&to->handles, origin, &has_expired);
    self->counters.handle_expired_count += has_expired ? 1 : 0;
    self->counters.handle_count += has_expired ? 0 : 1;
    return handle;
}

static void s_deliver(sim_network_t *self, uint32_t index)
{
    const s_message_t *message = &self->messages[index];
    s_lane_t lane = self->lanes[message->lane];
    sim_origin_t origin = {lane.from, message->life, message->resets};
    sim_buffer_t *buffer = s_message_end(self, index);
    s_process_t *to = self->processes[lane.to];
    CHECK(to->is_attached);
    self->sender = self->processes[lane.from]->address;
    s_trace(self, &lane, buffer);
    self->counters.delivered_count++;
    self->counters.delivered_bytes += buffer->size;
    const sim_network_receiver_t *receiver = &to->receiver;
    const uint8_t *bytes = sim_buffer_payload(buffer);
    switch (lane.kind) {
    case LANE_SEND: {
        uint64_t handle = s_new_handle(self, to, origin);
        receiver->on_message(receiver->context, handle, bytes, buffer->size);
        break;
    }
    case LANE_REPLY:
        receiver->on_message(receiver->context, 0, bytes, buffer->size);
        break;
    case LANE_PUBLISH:
        receiver->on_published(receiver->context, (const char *)buffer->bytes, bytes, buffer->size);
        break;
    }
    sim_buffers_release(&self->buffers, buffer);
}

/* The next message in the heap has come to its link or to its receiver; whether it was delivered.
 */
static bool s_arrive(sim_network_t *self)
{
    uint32_t index = due_heap_first(&self->heap);
    due_heap_remove(&self->heap, index);
    const s_message_t *message = &self->messages[index];
    const s_lane_t *lane = &self->lanes[message->lane];
    if (message->generation != lane->generation || message->resets != s_resets(self, lane)) {
        self->counters.vanished_count++;
        sim_buffers_release(&self->buffers, s_message_end(self, index));
        return false;
    }
    if (!message->has_passed_link) {
        s_offer(self, lane, index, message->buffer->size);
        return false;
    }
    s_deliver(self, index);
    return true;
}

uint64_t sim_network_deliver_due(sim_network_t *self, int64_t now_ns)
{
    CHECK(!self->is_delivering);
    CHECK(now_ns >= self->now_ns);
    self->is_delivering = true;
    uint64_t delivered = 0;
    for (;;) {
        int64_t link_ns = link_rules_deadline_ns(self->links);
        int64_t heap_ns = due_heap_first_ns(&self->heap);
        int64_t due_ns = link_ns < heap_ns ? link_ns : heap_ns;
        if (due_ns > now_ns || due_ns == INT64_MAX) {
            break;
        }
        self->now_ns = due_ns > self->now_ns ? due_ns : self->now_ns;
        if (link_ns <= heap_ns) {
            link_rules_due(self->links, self->now_ns, &self->effects);
            s_do_effects(self);
        } else {
            delivered += s_arrive(self) ? 1 : 0;
        }
    }
    self->now_ns = now_ns;
    self->is_delivering = false;
    s_invariant(self);
    return delivered;
}

int64_t sim_network_deadline_ns(const sim_network_t *self)
{
    int64_t link_ns = link_rules_deadline_ns(self->links);
    int64_t heap_ns = due_heap_first_ns(&self->heap);
    return link_ns < heap_ns ? link_ns : heap_ns;
}

int64_t sim_network_now_ns(const sim_network_t *self)
{
    return self->now_ns;
}

process_address_t sim_network_sender(const sim_network_t *self)
{
    CHECK(self->is_delivering);
    return self->sender;
}

uint64_t sim_network_trace_hash(const sim_network_t *self)
{
    return self->trace_hash;
}

sim_network_counters_t sim_network_counters(const sim_network_t *self)
{
    return self->counters;
}
