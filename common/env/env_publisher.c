#include "common/env/env_publisher.h"

#include "common/base/bounds.h"
#include "common/base/check.h"
#include "common/env/env_message.h"
#include "common/env/env_zmq.h"

#include <stdlib.h>

enum { QUEUE_SIZE_DEFAULT = 64 * 1024 * 1024, MESSAGE_SIZE_DEFAULT = 16 * 1024 };

/* A subscription is all that a listener has to say. */
enum { FRAME_SIZE_MAX = 1024 };

struct env_publisher {
    void *socket;
    env_source_t *source;
    char endpoint[ENDPOINT_SIZE_MAX];
    uint64_t published_count;
};

/* A PUB socket gives no input: subscriptions are taken inside ZeroMQ whenever the loop looks at it.
 */
static err_t s_take(void *context)
{
    (void)context;
    return ERR_AGAIN;
}

err_t env_publisher_open(env_loop_t *loop,
                         const env_publisher_options_t *options,
                         env_publisher_t **ret_publisher,
                         errbuf_t *errbuf)
{
    uint64_t queue_size = options->queue_size_bytes;
    uint64_t message_size = options->message_size_bytes;
    uint32_t queue_count =
        env_zmq_queue_count(queue_size != 0 ? queue_size : QUEUE_SIZE_DEFAULT,
                            message_size != 0 ? message_size : MESSAGE_SIZE_DEFAULT);
    void *socket = env_zmq_socket_new(&(env_zmq_options_t){.type = ZMQ_PUB,
                                                           .side = ENV_ZMQ_BIND,
                                                           .queue_count = queue_count,
                                                           .frame_size_max = FRAME_SIZE_MAX});
    err_t err = env_zmq_bind(socket, options->endpoint, errbuf);
    if (err != ERR_OK) {
        env_zmq_socket_close(&socket);
        return err;
    }
    env_publisher_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->socket = socket;
    env_zmq_last_endpoint(socket, self->endpoint);
    self->source = env_loop_add_socket(loop, socket, s_take, self);
    *ret_publisher = self;
    return ERR_OK;
}

void env_publisher_close(env_publisher_t **self_p)
{
    CHECK(self_p != NULL);
    env_publisher_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    env_source_remove(&self->source);
    env_zmq_socket_close(&self->socket);
    free(self);
    *self_p = NULL;
}

static void s_send_topic(env_publisher_t *self, const char *topic)
{
    size_t size = strlen(topic);
    CHECK(size >= 1 && size <= TOPIC_SIZE_MAX);
    CHECK(env_source_send_bytes(self->source, topic, size, ZMQ_SNDMORE) == 0); /* PUB never waits */
    self->published_count++;
}

void env_publisher_publish(env_publisher_t *self, const char *topic, slice_t body)
{
    s_send_topic(self, topic);
    CHECK(env_message_send_body(self->source, body) == 0);
}

void env_publisher_publish_buffer(env_publisher_t *self, const char *topic, buffer_t *body)
{
    s_send_topic(self, topic);
    CHECK(env_message_send_buffer(self->source, body) == 0);
}

const char *env_publisher_endpoint(const env_publisher_t *self)
{
    return self->endpoint;
}

uint64_t env_publisher_published_count(const env_publisher_t *self)
{
    return self->published_count;
}
