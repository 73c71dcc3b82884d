#include "services/partition_proxy/proxy_front.h"

#include "common/base/check.h"
#include "common/env/env_zmq.h"
#include "common/topology/process.h"
#include "services/partition_proxy/proxy_frames.h"

#include <stdlib.h>

enum {
    /* Nodes by shard, the others by kind. */
    TARGET_COUNT_MAX = SHARD_COUNT_MAX + PROCESS_TOOL + 1,
    QUEUE_SIZE = 64 * 1024 * 1024,
    MESSAGE_SIZE_USUAL = 16 * 1024
};

struct proxy_front {
    proxy_front_options_t options;
    endpoint_t endpoint;
    uint32_t generation;
    void *socket; /* NULL: closed */
    env_source_t *source;
    env_message_t message;
    proxy_backend_t *backends[TARGET_COUNT_MAX];
};

/* -- lanes ------------------------------------------------------------------------------------- */

/* Two connections that fall on one lane share an order, which is harmless. */
static uint32_t s_lane(const proxy_front_t *self, zmq_msg_t *connection_id)
{
    const uint8_t *bytes = zmq_msg_data(connection_id);
    uint32_t hash = UINT32_C(2166136261) ^ self->options.index;
    for (size_t i = 0; i < zmq_msg_size(connection_id); i++) {
        hash = (hash ^ bytes[i]) * UINT32_C(16777619);
    }
    return 1 + hash % (LINK_LANE_COUNT_MAX - 1);
}

static_assert((int)PROXY_LANE_PUBLISHED == 0, "connections have lanes from 1 on");

/* -- answers ----------------------------------------------------------------------------------- */

static void s_on_answer(void *context, env_message_t *message)
{
    proxy_front_t *self = context;
    proxy_offer_t offer = {
        .link = {.from = self->options.link.to, .to = self->options.link.from},
        .lane = s_lane(self, &message->frames[0]),
        .route = {.direction = PROXY_TO_ASKER,
                  .front = self->options.index,
                  .generation = self->generation},
    };
    self->options.offer(self->options.context, &offer, message);
}

static void s_to_asker(proxy_front_t *self,
                       uint32_t generation,
                       zmq_msg_t *frames,
                       uint32_t frame_count)
{
    if (self->socket == NULL || generation != self->generation) {
        proxy_frames_drop(frames, frame_count);
        self->options.counts->asker_gone++;
        return;
    }
    err_t err = proxy_frames_send(self->source, frames, frame_count);
    if (err == ERR_FULL) {
        self->options.counts->asker_full++;
    } else if (err != ERR_OK) {
        self->options.counts->asker_gone++;
    }
}

/* -- requests ---------------------------------------------------------------------------------- */

static proxy_backend_t **s_slot(proxy_front_t *self, process_address_t target)
{
    uint32_t index = target.kind == PROCESS_NODE ? PROCESS_TOOL + 1 + (uint32_t)target.shard.value
                                                 : (uint32_t)target.kind;
    CHECK(index < TARGET_COUNT_MAX);
    return &self->backends[index];
}

/* NULL when there are too many. */
static proxy_backend_t *s_require_backend(proxy_front_t *self, process_address_t target)
{
    proxy_backend_t **slot = s_slot(self, target);
    proxy_counts_t *counts = self->options.counts;
    if (*slot == NULL && counts->backend_count < PROXY_BACKEND_COUNT_MAX) {
        endpoint_t endpoint;
        /* From within its own place: directly. */
        err_t err = topology_connect_endpoint(self->options.topology, process_place(target), target,
                                              LINK_REQUEST, &endpoint);
        CHECK(err == ERR_OK); /* it was looked up when the message came */
        *slot = proxy_backend_new(self->options.loop, endpoint.text, s_on_answer, self,
                                  &counts->backends);
        counts->backend_count++;
    }
    return *slot;
}

static void s_to_target(proxy_front_t *self,
                        process_address_t target,
                        zmq_msg_t *frames,
                        uint32_t frame_count)
{
    proxy_backend_t *backend = self->socket != NULL ? s_require_backend(self, target) : NULL;
    if (backend == NULL) {
        proxy_frames_drop(frames, frame_count);
        *(self->socket != NULL ? &self->options.counts->target_unlimited
                               : &self->options.counts->backends.unreachable) += 1;
        return;
    }
    proxy_backend_send(backend, frames, frame_count);
}

void proxy_front_forward(proxy_front_t *self,
                         const proxy_route_t *route,
                         zmq_msg_t *frames,
                         uint32_t frame_count)
{
    CHECK(route->front == self->options.index);
    CHECK(route->direction != PROXY_TO_LISTENERS);
    if (route->direction == PROXY_TO_ASKER) {
        s_to_asker(self, route->generation, frames, frame_count);
    } else {
        s_to_target(self, route->target, frames, frame_count);
    }
}

static bool s_find_target(proxy_front_t *self, process_address_t *ret_target)
{
    env_message_t *message = &self->message;
    return message->excess_count == 0 && message->count >= 3 &&
           process_decode(env_message_frame(message, 1), ret_target) == ERR_OK &&
           process_place(*ret_target).value == self->options.link.to.value &&
           topology_has_process(self->options.topology, *ret_target);
}

static err_t s_take(void *context)
{
    proxy_front_t *self = context;
    err_t err = env_message_receive(&self->message, self->source);
    if (err != ERR_OK) {
        return err;
    }
    proxy_offer_t offer = {
        .link = {.from = self->options.link.from, .to = self->options.link.to},
        .route = {.direction = PROXY_TO_TARGET,
                  .front = self->options.index,
                  .generation = self->generation},
    };
    if (!s_find_target(self, &offer.route.target)) {
        self->options.counts->malformed++;
        return ERR_OK;
    }
    offer.lane = s_lane(self, &self->message.frames[0]);
    self->options.offer(self->options.context, &offer, &self->message);
    return ERR_OK;
}

/* -- life -------------------------------------------------------------------------------------- */

proxy_front_t *proxy_front_new(const proxy_front_options_t *options)
{
    CHECK(options->link.purpose != LINK_PUBLISH);
    proxy_front_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->options = *options;
    err_t err = topology_link_endpoint(options->topology, options->link, &self->endpoint);
    CHECK(err == ERR_OK); /* a link of this topology */
    env_message_init(&self->message);
    return self;
}

void proxy_front_destroy(proxy_front_t **self_p)
{
    CHECK(self_p != NULL);
    proxy_front_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    proxy_front_close(self);
    env_message_done(&self->message);
    free(self);
    *self_p = NULL;
}

err_t proxy_front_open(proxy_front_t *self, errbuf_t *errbuf)
{
    CHECK(self->socket == NULL);
    void *socket = env_zmq_socket_new(
        &(env_zmq_options_t){.type = ZMQ_ROUTER,
                             .side = ENV_ZMQ_BIND,
                             .queue_count = env_zmq_queue_count(QUEUE_SIZE, MESSAGE_SIZE_USUAL),
                             .frame_size_max = INTERNAL_MESSAGE_SIZE_MAX});
    /* What a held link let pile up goes out at once when it heals. */
    env_zmq_set_int(socket, ZMQ_SNDHWM, SOCKET_QUEUE_COUNT_MAX);
    err_t err = env_zmq_bind(socket, self->endpoint.text, errbuf);
    if (err != ERR_OK) {
        env_zmq_socket_close(&socket);
        return err;
    }
    self->socket = socket;
    self->generation++;
    self->source = env_loop_add_socket(self->options.loop, socket, s_take, self);
    return ERR_OK;
}

void proxy_front_close(proxy_front_t *self)
{
    if (self->socket == NULL) {
        return;
    }
    env_source_remove(&self->source);
    /* A reset, not a goodbye: nothing of what is queued may arrive after the cut. */
    env_zmq_set_int(self->socket, ZMQ_LINGER, 0);
    env_zmq_socket_close(&self->socket);
    for (uint32_t i = 0; i < TARGET_COUNT_MAX; i++) {
        if (self->backends[i] != NULL) {
            proxy_backend_destroy(&self->backends[i]);
            self->options.counts->backend_count--;
        }
    }
}

bool proxy_front_is_open(const proxy_front_t *self)
{
    return self->socket != NULL;
}

topology_link_t proxy_front_link(const proxy_front_t *self)
{
    return self->options.link;
}
