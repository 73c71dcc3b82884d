#include "services/partition_proxy/proxy_channel.h"

#include "common/base/check.h"
#include "common/env/env_zmq.h"
#include "services/partition_proxy/proxy_frames.h"

#include <stdlib.h>

enum {
    QUEUE_SIZE = 64 * 1024 * 1024,
    MESSAGE_SIZE_USUAL = 16 * 1024,
    SUBSCRIPTION_SIZE_MAX = 1024
};

/* ZeroMQ tells the first listener of a topic and the last one that leaves. */
typedef struct {
    char text[TOPIC_SIZE_MAX];
    size_t size;
} topic_t;

struct proxy_channel {
    env_loop_t *loop;
    topology_link_t link;
    endpoint_t endpoint;
    proxy_listener_t *listener;
    proxy_counts_t *counts;
    void *socket; /* NULL: closed */
    env_source_t *source;
    env_message_t message;
    topic_t topics[PROXY_TOPIC_COUNT_MAX];
    uint32_t topic_count;
};

static void s_add_topic(proxy_channel_t *self, slice_t topic)
{
    if (self->topic_count == PROXY_TOPIC_COUNT_MAX ||
        !proxy_listener_subscribe(self->listener, topic)) {
        self->counts->unheard_topics++;
        return;
    }
    topic_t *added = &self->topics[self->topic_count++];
    added->size = topic.size;
    if (topic.size > 0) {
        memcpy(added->text, topic.data, topic.size);
    }
}

static void s_remove_topic(proxy_channel_t *self, slice_t topic)
{
    for (uint32_t i = 0; i < self->topic_count; i++) {
        topic_t *known = &self->topics[i];
        if (slice_equal(slice_make(known->text, known->size), topic)) {
            proxy_listener_unsubscribe(self->listener, topic);
            *known = self->topics[--self->topic_count];
            return;
        }
    }
}

/* A subscription: one frame, 1 or 0, then the topic. */
static err_t s_take(void *context)
{
    proxy_channel_t *self = context;
    err_t err = env_message_receive(&self->message, self->source);
    if (err != ERR_OK) {
        return err;
    }
    slice_t frame = env_message_frame(&self->message, 0);
    if (self->message.count != 1 || frame.size == 0 || frame.data[0] > 1) {
        self->counts->malformed++;
        return ERR_OK;
    }
    slice_t topic = slice_make(frame.data + 1, frame.size - 1);
    if (frame.data[0] == 1) {
        s_add_topic(self, topic);
    } else {
        s_remove_topic(self, topic);
    }
    return ERR_OK;
}

bool proxy_channel_wants(const proxy_channel_t *self, slice_t topic)
{
    for (uint32_t i = 0; i < self->topic_count; i++) {
        const topic_t *wanted = &self->topics[i];
        if (wanted->size <= topic.size && memcmp(wanted->text, topic.data, wanted->size) == 0) {
            return true;
        }
    }
    return false;
}

void proxy_channel_forward(proxy_channel_t *self, zmq_msg_t *frames, uint32_t frame_count)
{
    if (self->socket == NULL) {
        proxy_frames_drop(frames, frame_count);
        return;
    }
    err_t err = proxy_frames_send(self->source, frames, frame_count);
    CHECK(err == ERR_OK); /* a publishing socket drops by itself */
}

/* -- life -------------------------------------------------------------------------------------- */

proxy_channel_t *proxy_channel_new(env_loop_t *loop,
                                   const topology_t *topology,
                                   topology_link_t link,
                                   proxy_listener_t *listener,
                                   proxy_counts_t *counts)
{
    CHECK(link.purpose == LINK_PUBLISH);
    CHECK(proxy_listener_place(listener).value == link.to.value);
    proxy_channel_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->loop = loop;
    self->link = link;
    self->listener = listener;
    self->counts = counts;
    err_t err = topology_link_endpoint(topology, link, &self->endpoint);
    CHECK(err == ERR_OK); /* a link of this topology */
    env_message_init(&self->message);
    return self;
}

void proxy_channel_destroy(proxy_channel_t **self_p)
{
    CHECK(self_p != NULL);
    proxy_channel_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    proxy_channel_close(self);
    env_message_done(&self->message);
    free(self);
    *self_p = NULL;
}

err_t proxy_channel_open(proxy_channel_t *self, errbuf_t *errbuf)
{
    CHECK(self->socket == NULL);
    void *socket = env_zmq_socket_new(
        &(env_zmq_options_t){.type = ZMQ_XPUB,
                             .side = ENV_ZMQ_BIND,
                             .queue_count = env_zmq_queue_count(QUEUE_SIZE, MESSAGE_SIZE_USUAL),
                             .frame_size_max = SUBSCRIPTION_SIZE_MAX});
    err_t err = env_zmq_bind(socket, self->endpoint.text, errbuf);
    if (err != ERR_OK) {
        env_zmq_socket_close(&socket);
        return err;
    }
    self->socket = socket;
    self->source = env_loop_add_socket(self->loop, socket, s_take, self);
    return ERR_OK;
}

void proxy_channel_close(proxy_channel_t *self)
{
    if (self->socket == NULL) {
        return;
    }
    env_source_remove(&self->source);
    env_zmq_set_int(self->socket, ZMQ_LINGER, 0); /* a reset, not a goodbye */
    env_zmq_socket_close(&self->socket);
    for (uint32_t i = 0; i < self->topic_count; i++) {
        const topic_t *topic = &self->topics[i];
        proxy_listener_unsubscribe(self->listener, slice_make(topic->text, topic->size));
    }
    self->topic_count = 0;
}

bool proxy_channel_is_open(const proxy_channel_t *self)
{
    return self->socket != NULL;
}

topology_link_t proxy_channel_link(const proxy_channel_t *self)
{
    return self->link;
}
