#include "common/base/check.h"
#include "common/env/env_watch.h"
#include "common/env/env_zmq.h"
#include "common/topology/process.h"
#include "services/partition_proxy/proxy_channel.h"

#include <stdlib.h>

enum { QUEUE_SIZE = 64 * 1024 * 1024, MESSAGE_SIZE_USUAL = 16 * 1024 };

typedef struct {
    char text[TOPIC_SIZE_MAX];
    size_t size;
    uint32_t count; /* who wants it; 0: free */
} topic_t;

struct proxy_listener {
    env_loop_t *loop;
    const topology_t *topology;
    region_id_t place;
    proxy_listener_fn on_message;
    void *context;
    void *socket;
    env_source_t *source;
    env_watch_t *watch;
    env_message_t message;
    topic_t topics[PROXY_TOPIC_COUNT_MAX];
};

static err_t s_take(void *context)
{
    proxy_listener_t *self = context;
    err_t err = env_message_receive(&self->message, self->source);
    if (err == ERR_OK && self->message.count == 2 && self->message.excess_count == 0) {
        self->on_message(self->context, self->place, &self->message);
    }
    return err;
}

static void s_on_dead(void *context);

static void s_connect_all(proxy_listener_t *self)
{
    for (uint32_t i = 0; i < topology_process_count(self->topology); i++) {
        process_address_t address = topology_process(self->topology, i);
        bool is_there = process_place(address).value == self->place.value &&
                        address.kind != PROCESS_PROXY; /* which everybody reaches directly */
        endpoint_t endpoint;
        if (is_there && topology_connect_endpoint(self->topology, self->place, address,
                                                  LINK_PUBLISH, &endpoint) == ERR_OK) {
            /* The endpoint comes from a topology that was checked. */
            CHECK(env_zmq_connect(self->socket, endpoint.text, NULL) == ERR_OK);
        }
    }
}

static void s_open(proxy_listener_t *self)
{
    self->socket = env_zmq_socket_new(
        &(env_zmq_options_t){.type = ZMQ_SUB,
                             .side = ENV_ZMQ_CONNECT,
                             .queue_count = env_zmq_queue_count(QUEUE_SIZE, MESSAGE_SIZE_USUAL)});
    self->watch = env_watch_start(self->loop, self->socket,
                                  &(env_watch_options_t){.context = self, .on_dead = s_on_dead});
    for (uint32_t i = 0; i < PROXY_TOPIC_COUNT_MAX; i++) {
        const topic_t *topic = &self->topics[i];
        if (topic->count > 0) {
            CHECK(zmq_setsockopt(self->socket, ZMQ_SUBSCRIBE, topic->text, topic->size) == 0);
        }
    }
    s_connect_all(self);
    self->source = env_loop_add_socket(self->loop, self->socket, s_take, self);
}

static void s_close(proxy_listener_t *self)
{
    env_source_remove(&self->source);
    env_watch_stop(&self->watch);
    env_zmq_socket_close(&self->socket);
}

/* One publisher's connection has ended for good: all are made anew. */
static void s_on_dead(void *context)
{
    proxy_listener_t *self = context;
    s_close(self);
    s_open(self);
}

/* The topic's place, or a free one, or NULL. */
static topic_t *s_find(proxy_listener_t *self, slice_t topic)
{
    topic_t *free_place = NULL;
    for (uint32_t i = 0; i < PROXY_TOPIC_COUNT_MAX; i++) {
        topic_t *known = &self->topics[i];
        if (known->count > 0 && slice_equal(slice_make(known->text, known->size), topic)) {
            return known;
        }
        if (known->count == 0 && free_place == NULL) {
            free_place = known;
        }
    }
    return free_place;
}

bool proxy_listener_subscribe(proxy_listener_t *self, slice_t topic)
{
    topic_t *known = topic.size <= TOPIC_SIZE_MAX ? s_find(self, topic) : NULL;
    if (known == NULL) {
        return false;
    }
    if (known->count++ == 0) {
        known->size = topic.size;
        if (topic.size > 0) {
            memcpy(known->text, topic.data, topic.size);
        }
        CHECK(zmq_setsockopt(self->socket, ZMQ_SUBSCRIBE, known->text, known->size) == 0);
    }
    return true;
}

void proxy_listener_unsubscribe(proxy_listener_t *self, slice_t topic)
{
    topic_t *known = s_find(self, topic);
    CHECK(known != NULL && known->count > 0);
    if (--known->count == 0) {
        CHECK(zmq_setsockopt(self->socket, ZMQ_UNSUBSCRIBE, known->text, known->size) == 0);
    }
}

proxy_listener_t *proxy_listener_new(env_loop_t *loop,
                                     const topology_t *topology,
                                     region_id_t place,
                                     proxy_listener_fn on_message,
                                     void *context)
{
    proxy_listener_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->loop = loop;
    self->topology = topology;
    self->place = place;
    self->on_message = on_message;
    self->context = context;
    env_message_init(&self->message);
    s_open(self);
    return self;
}

void proxy_listener_destroy(proxy_listener_t **self_p)
{
    CHECK(self_p != NULL);
    proxy_listener_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    s_close(self);
    env_message_done(&self->message);
    free(self);
    *self_p = NULL;
}

region_id_t proxy_listener_place(const proxy_listener_t *self)
{
    return self->place;
}
