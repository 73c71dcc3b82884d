#include "services/partition_proxy/proxy_backend.h"

#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/env/env_watch.h"
#include "common/env/env_zmq.h"
#include "services/partition_proxy/proxy_frames.h"

#include <stdio.h>
#include <stdlib.h>

typedef enum { BACKEND_NEW, BACKEND_UP, BACKEND_DOWN } backend_state_t;

typedef struct {
    zmq_msg_t frames[ENV_MESSAGE_FRAME_COUNT_MAX];
    uint32_t frame_count;
} waiting_t;

struct proxy_backend {
    env_loop_t *loop;
    char endpoint[ENDPOINT_SIZE_MAX];
    proxy_backend_fn on_answer;
    void *context;
    proxy_backend_counts_t *counts;
    backend_state_t state;
    void *socket;
    env_source_t *source;
    env_watch_t *watch;
    env_message_t message;
    env_timer_t *waiting_timer;
    waiting_t *waiting; /* NEW only; made when first needed */
    uint32_t waiting_count;
    uint64_t waiting_size;
};

/* -- sending ----------------------------------------------------------------------------------- */

static void s_drop(zmq_msg_t *frames, uint32_t frame_count, uint64_t *counter)
{
    proxy_frames_drop(frames, frame_count);
    (*counter)++;
}

static void s_wait(proxy_backend_t *self, zmq_msg_t *frames, uint32_t frame_count)
{
    uint64_t size = proxy_frames_size(frames, frame_count);
    if (self->waiting_count == PEER_WAITING_COUNT_MAX ||
        size > PEER_WAITING_SIZE_MAX - self->waiting_size) {
        s_drop(frames, frame_count, &self->counts->full);
        return;
    }
    if (self->waiting == NULL) {
        self->waiting = calloc(PEER_WAITING_COUNT_MAX, sizeof(waiting_t));
        CHECK(self->waiting != NULL);
    }
    waiting_t *waiting = &self->waiting[self->waiting_count++];
    waiting->frame_count = frame_count;
    for (uint32_t i = 0; i < frame_count; i++) {
        CHECK(zmq_msg_init(&waiting->frames[i]) == 0);
        CHECK(zmq_msg_move(&waiting->frames[i], &frames[i]) == 0);
    }
    self->waiting_size += size;
}

void proxy_backend_send(proxy_backend_t *self, zmq_msg_t *frames, uint32_t frame_count)
{
    if (self->state == BACKEND_NEW) {
        s_wait(self, frames, frame_count);
    } else if (self->state == BACKEND_DOWN) {
        s_drop(frames, frame_count, &self->counts->unreachable);
    } else if (proxy_frames_send(self->source, frames, frame_count) != ERR_OK) {
        self->counts->full++;
    }
}

/* Sends what waits, or drops it when there is no connection. */
static void s_end_waiting(proxy_backend_t *self)
{
    CHECK(self->state != BACKEND_NEW);
    env_timer_clear(self->waiting_timer);
    for (uint32_t i = 0; i < self->waiting_count; i++) {
        waiting_t *waiting = &self->waiting[i];
        proxy_backend_send(self, waiting->frames, waiting->frame_count);
        proxy_frames_close(waiting->frames, waiting->frame_count);
    }
    self->waiting_count = 0;
    self->waiting_size = 0;
    free(self->waiting);
    self->waiting = NULL;
}

static void s_on_waited(void *context, now_t now)
{
    (void)now;
    proxy_backend_t *self = context;
    self->state = BACKEND_DOWN;
    s_end_waiting(self);
}

/* -- connection -------------------------------------------------------------------------------- */

static void s_on_connected(void *context, const char *endpoint)
{
    (void)endpoint;
    proxy_backend_t *self = context;
    self->state = BACKEND_UP;
    s_end_waiting(self);
}

static void s_on_disconnected(void *context, const char *endpoint)
{
    (void)endpoint;
    proxy_backend_t *self = context;
    self->state = BACKEND_DOWN;
}

static err_t s_take(void *context)
{
    proxy_backend_t *self = context;
    err_t err = env_message_receive(&self->message, self->source);
    if (err != ERR_OK) {
        return err;
    }
    if (self->message.excess_count > 0 || self->message.count < 3) {
        self->counts->malformed++;
        return ERR_OK;
    }
    self->on_answer(self->context, &self->message);
    return ERR_OK;
}

static void s_on_dead(void *context);

static void s_connect(proxy_backend_t *self)
{
    self->socket = env_zmq_socket_new(&(env_zmq_options_t){
        .type = ZMQ_DEALER, .side = ENV_ZMQ_CONNECT, .queue_count = SOCKET_QUEUE_COUNT_MAX});
    self->watch = env_watch_start(self->loop, self->socket,
                                  &(env_watch_options_t){.context = self,
                                                         .on_connected = s_on_connected,
                                                         .on_disconnected = s_on_disconnected,
                                                         .on_dead = s_on_dead});
    /* The endpoint comes from a topology that was checked. */
    CHECK(env_zmq_connect(self->socket, self->endpoint, NULL) == ERR_OK);
    self->source = env_loop_add_socket(self->loop, self->socket, s_take, self);
}

static void s_disconnect(proxy_backend_t *self)
{
    env_source_remove(&self->source);
    env_watch_stop(&self->watch);
    env_zmq_socket_close(&self->socket);
}

static void s_on_dead(void *context)
{
    proxy_backend_t *self = context;
    self->counts->recreated++;
    s_disconnect(self);
    s_connect(self);
}

/* -- life -------------------------------------------------------------------------------------- */

proxy_backend_t *proxy_backend_new(env_loop_t *loop,
                                   const char *endpoint,
                                   proxy_backend_fn on_answer,
                                   void *context,
                                   proxy_backend_counts_t *counts)
{
    CHECK(strlen(endpoint) < ENDPOINT_SIZE_MAX);
    proxy_backend_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->loop = loop;
    self->on_answer = on_answer;
    self->context = context;
    self->counts = counts;
    (void)snprintf(self->endpoint, sizeof(self->endpoint), "%s", endpoint);
    env_message_init(&self->message);
    self->waiting_timer = env_timer_new(env_loop_timers(loop), s_on_waited, self);
    env_timer_arm(self->waiting_timer,
                  env_loop_now(loop).mono_ns + (int64_t)PEER_WAITING_MS_MAX * ENV_NS_PER_MS);
    s_connect(self);
    return self;
}

void proxy_backend_destroy(proxy_backend_t **self_p)
{
    CHECK(self_p != NULL);
    proxy_backend_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    self->state = BACKEND_DOWN;
    s_end_waiting(self);
    env_timer_destroy(&self->waiting_timer);
    s_disconnect(self);
    env_message_done(&self->message);
    free(self);
    *self_p = NULL;
}
