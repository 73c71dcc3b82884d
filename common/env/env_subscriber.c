#include "common/env/env_subscriber.h"

#include "common/base/bounds.h"
#include "common/base/check.h"
#include "common/env/env_message.h"
#include "common/env/env_watch.h"
#include "common/env/env_zmq.h"

#include <stdio.h>
#include <stdlib.h>

enum { QUEUE_SIZE_DEFAULT = 64 * 1024 * 1024, MESSAGE_SIZE_DEFAULT = 16 * 1024 };

typedef struct {
    char text[ENDPOINT_SIZE_MAX];
} subscriber_endpoint_t;

typedef struct {
    char text[TOPIC_SIZE_MAX + 1];
} subscriber_topic_t;

struct env_subscriber {
    env_loop_t *loop;
    uint32_t queue_count;
    env_subscriber_options_t options;
    void *socket;
    env_source_t *source;
    env_watch_t *watch;
    env_message_t message;
    subscriber_topic_t topics[ENV_SUBSCRIBER_TOPIC_COUNT_MAX];
    uint32_t topic_count;
    subscriber_endpoint_t *endpoints;
    uint32_t endpoint_count;
    env_subscriber_counts_t counts;
};

static err_t s_take(void *context)
{
    env_subscriber_t *self = context;
    err_t err = env_message_receive(&self->message, self->source);
    if (err != ERR_OK) {
        return err;
    }
    if (self->message.count != 2 || self->message.excess_count > 0) {
        self->counts.malformed++;
        return ERR_OK;
    }
    self->counts.received++;
    self->options.on_message(self->options.context, env_message_frame(&self->message, 0),
                             env_message_frame(&self->message, 1));
    env_message_clear(&self->message);
    return ERR_OK;
}

static void s_on_connected(void *context, const char *endpoint)
{
    env_subscriber_t *self = context;
    if (self->options.on_state != NULL) {
        self->options.on_state(self->options.context, endpoint, true);
    }
}

static void s_on_disconnected(void *context, const char *endpoint)
{
    env_subscriber_t *self = context;
    if (self->options.on_state != NULL) {
        self->options.on_state(self->options.context, endpoint, false);
    }
}

static void s_on_dead(void *context);

static void s_open_socket(env_subscriber_t *self)
{
    self->socket = env_zmq_socket_new(&(env_zmq_options_t){
        .type = ZMQ_SUB, .side = ENV_ZMQ_CONNECT, .queue_count = self->queue_count});
    self->watch = env_watch_start(self->loop, self->socket,
                                  &(env_watch_options_t){.context = self,
                                                         .on_connected = s_on_connected,
                                                         .on_disconnected = s_on_disconnected,
                                                         .on_dead = s_on_dead});
    self->source = env_loop_add_socket(self->loop, self->socket, s_take, self);
}

static void s_close_socket(env_subscriber_t *self)
{
    env_source_remove(&self->source);
    env_watch_stop(&self->watch);
    env_zmq_socket_close(&self->socket);
}

static void s_subscribe(env_subscriber_t *self, const char *topic)
{
    CHECK(zmq_setsockopt(self->socket, ZMQ_SUBSCRIBE, topic, strlen(topic)) == 0);
}

static void s_on_dead(void *context)
{
    env_subscriber_t *self = context;
    self->counts.recreated++;
    s_close_socket(self);
    s_open_socket(self);
    for (uint32_t i = 0; i < self->topic_count; i++) {
        s_subscribe(self, self->topics[i].text);
    }
    for (uint32_t i = 0; i < self->endpoint_count; i++) {
        /* The same endpoint was good before. */
        CHECK(env_zmq_connect(self->socket, self->endpoints[i].text, NULL) == ERR_OK);
    }
}

env_subscriber_t *env_subscriber_new(env_loop_t *loop, const env_subscriber_options_t *options)
{
    CHECK(options->on_message != NULL);
    env_subscriber_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->loop = loop;
    self->options = *options;
    uint64_t queue_size = options->queue_size_bytes;
    uint64_t message_size = options->message_size_bytes;
    self->queue_count =
        env_zmq_queue_count(queue_size != 0 ? queue_size : QUEUE_SIZE_DEFAULT,
                            message_size != 0 ? message_size : MESSAGE_SIZE_DEFAULT);
    env_message_init(&self->message);
    s_open_socket(self);
    return self;
}

void env_subscriber_destroy(env_subscriber_t **self_p)
{
    CHECK(self_p != NULL);
    env_subscriber_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    s_close_socket(self);
    env_message_done(&self->message);
    free(self->endpoints);
    free(self);
    *self_p = NULL;
}

void env_subscriber_add_topic(env_subscriber_t *self, const char *topic)
{
    CHECK(self->topic_count < ENV_SUBSCRIBER_TOPIC_COUNT_MAX);
    CHECK(strlen(topic) <= TOPIC_SIZE_MAX);
    (void)snprintf(self->topics[self->topic_count++].text, sizeof(subscriber_topic_t), "%s", topic);
    s_subscribe(self, topic);
}

err_t env_subscriber_connect(env_subscriber_t *self, const char *endpoint, errbuf_t *errbuf)
{
    for (uint32_t i = 0; i < self->endpoint_count; i++) {
        if (strcmp(self->endpoints[i].text, endpoint) == 0) {
            return ERR_OK;
        }
    }
    CHECK(self->endpoint_count < ENDPOINT_COUNT_MAX);
    if (strlen(endpoint) >= ENDPOINT_SIZE_MAX) {
        errbuf_set(errbuf,
                   "endpoint: expected at most %d characters, found %zu: shorten the host name",
                   ENDPOINT_SIZE_MAX - 1, strlen(endpoint));
        return ERR_INVALID;
    }
    err_t err = env_zmq_connect(self->socket, endpoint, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    subscriber_endpoint_t *endpoints =
        realloc(self->endpoints, (self->endpoint_count + 1) * sizeof(*endpoints));
    CHECK(endpoints != NULL);
    self->endpoints = endpoints;
    (void)snprintf(self->endpoints[self->endpoint_count++].text, sizeof(subscriber_endpoint_t),
                   "%s", endpoint);
    return ERR_OK;
}

env_subscriber_counts_t env_subscriber_counts(const env_subscriber_t *self)
{
    env_subscriber_counts_t counts = self->counts;
    counts.connected = env_watch_connected_count(self->watch);
    return counts;
}
