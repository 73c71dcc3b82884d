#include "common/env/env_peer.h"

#include "common/base/bounds.h"
#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/env/env_message.h"
#include "common/env/env_watch.h"
#include "common/env/env_zmq.h"

#include <stdio.h>
#include <stdlib.h>

enum { QUEUE_SIZE_DEFAULT = 64 * 1024 * 1024, MESSAGE_SIZE_DEFAULT = 4096 };

typedef enum { PEER_NEW, PEER_UP, PEER_DOWN } peer_state_t;

typedef struct {
    env_target_t target;
    buffer_t body;
} waiting_t;

struct env_peer {
    env_loop_t *loop;
    char endpoint[ENDPOINT_SIZE_MAX];
    uint32_t queue_count;
    void *context;
    void (*on_message)(void *context, env_target_t from, slice_t body);
    void (*on_state)(void *context, bool is_up);
    peer_state_t state;
    void *socket;
    env_source_t *source;
    env_watch_t *watch;
    env_message_t message;
    env_timer_t *waiting_timer;
    waiting_t *waiting; /* NEW only; capacity PEER_WAITING_COUNT_MAX, made when first needed */
    uint32_t waiting_count;
    uint64_t waiting_size;
    env_peer_counts_t counts;
};

static void s_invariant(const env_peer_t *self)
{
    CHECK(self->socket != NULL);
    CHECK(self->waiting_count <= PEER_WAITING_COUNT_MAX);
    CHECK(self->waiting_size <= PEER_WAITING_SIZE_MAX);
    CHECK_IMPLIES(self->waiting_count > 0, self->state == PEER_NEW);
}

/* -- sending ----------------------------------------------------------------------------------- */

/* One of `body` and `buffer` is used; buffer when it is not NULL. */
static err_t s_send(env_peer_t *self, env_target_t target, slice_t body, buffer_t *buffer)
{
    if (self->state != PEER_UP) {
        /* ZeroMQ would take it for a moment yet, and lose it with the connection. */
        self->counts.refused_unreachable++;
        return ERR_UNREACHABLE;
    }
    int result =
        env_source_send_bytes(self->source, target.bytes, sizeof(target.bytes), ZMQ_SNDMORE);
    if (result == 0) {
        /* Fails only when the connection ended in between: ZeroMQ has rolled the target back. */
        result = buffer != NULL ? env_message_send_buffer(self->source, buffer)
                                : env_message_send_body(self->source, body);
    }
    if (result == 0) {
        self->counts.sent++;
        return ERR_OK;
    }
    self->counts.refused_full++;
    return ERR_FULL;
}

/* errs ERR_FULL no place for it */
static err_t s_wait(env_peer_t *self, env_target_t target, slice_t body)
{
    if (self->waiting_count == PEER_WAITING_COUNT_MAX ||
        body.size > PEER_WAITING_SIZE_MAX - self->waiting_size) {
        self->counts.refused_full++;
        return ERR_FULL;
    }
    if (self->waiting == NULL) {
        self->waiting = calloc(PEER_WAITING_COUNT_MAX, sizeof(waiting_t));
        CHECK(self->waiting != NULL);
    }
    waiting_t *waiting = &self->waiting[self->waiting_count++];
    waiting->target = target;
    buffer_init(&waiting->body);
    buffer_append(&waiting->body, body.data, body.size);
    self->waiting_size += body.size;
    return ERR_OK;
}

static void s_end_waiting(env_peer_t *self)
{
    for (uint32_t i = 0; i < self->waiting_count; i++) {
        buffer_done(&self->waiting[i].body);
    }
    self->waiting_count = 0;
    self->waiting_size = 0;
    free(self->waiting);
    self->waiting = NULL;
    env_timer_clear(self->waiting_timer);
}

static void s_on_waited(void *context, now_t now)
{
    (void)now;
    env_peer_t *self = context;
    CHECK(self->state == PEER_NEW);
    self->state = PEER_DOWN;
    self->counts.waiting_dropped += self->waiting_count;
    s_end_waiting(self);
    s_invariant(self);
}

err_t env_peer_send(env_peer_t *self, env_target_t target, slice_t body)
{
    s_invariant(self);
    return self->state == PEER_NEW ? s_wait(self, target, body) : s_send(self, target, body, NULL);
}

/* -- connection -------------------------------------------------------------------------------- */

static void s_on_connected(void *context, const char *endpoint)
{
    (void)endpoint;
    env_peer_t *self = context;
    self->state = PEER_UP;
    self->counts.connects++;
    for (uint32_t i = 0; i < self->waiting_count; i++) {
        waiting_t *waiting = &self->waiting[i];
        if (s_send(self, waiting->target, buffer_slice(&waiting->body), &waiting->body) != ERR_OK) {
            self->counts.waiting_dropped++;
        }
    }
    s_end_waiting(self);
    s_invariant(self);
    if (self->on_state != NULL) {
        self->on_state(self->context, true);
    }
}

static void s_on_disconnected(void *context, const char *endpoint)
{
    (void)endpoint;
    env_peer_t *self = context;
    self->state = PEER_DOWN;
    s_invariant(self);
    if (self->on_state != NULL) {
        self->on_state(self->context, false);
    }
}

static err_t s_take(void *context)
{
    env_peer_t *self = context;
    err_t err = env_message_receive(&self->message, self->source);
    if (err != ERR_OK) {
        return err;
    }
    bool is_well_formed = self->message.excess_count == 0 && self->message.count == 2;
    slice_t target = env_message_frame(&self->message, 0);
    if (!is_well_formed || target.size != ENV_PEER_TARGET_SIZE) {
        self->counts.malformed++;
        return ERR_OK;
    }
    self->counts.received++;
    env_target_t from;
    memcpy(from.bytes, target.data, sizeof(from.bytes));
    self->on_message(self->context, from, env_message_frame(&self->message, 1));
    env_message_clear(&self->message);
    return ERR_OK;
}

static void s_on_dead(void *context);

static err_t s_connect(env_peer_t *self, errbuf_t *errbuf)
{
    void *socket = env_zmq_socket_new(&(env_zmq_options_t){
        .type = ZMQ_DEALER, .side = ENV_ZMQ_CONNECT, .queue_count = self->queue_count});
    env_watch_t *watch =
        env_watch_start(self->loop, socket,
                        &(env_watch_options_t){.context = self,
                                               .on_connected = s_on_connected,
                                               .on_disconnected = s_on_disconnected,
                                               .on_dead = s_on_dead});
    err_t err = env_zmq_connect(socket, self->endpoint, errbuf);
    if (err != ERR_OK) {
        env_watch_stop(&watch);
        env_zmq_socket_close(&socket);
        return err;
    }
    self->socket = socket;
    self->watch = watch;
    self->source = env_loop_add_socket(self->loop, socket, s_take, self);
    return ERR_OK;
}

static void s_disconnect(env_peer_t *self)
{
    env_source_remove(&self->source);
    env_watch_stop(&self->watch);
    env_zmq_socket_close(&self->socket);
}

static void s_on_dead(void *context)
{
    env_peer_t *self = context;
    self->counts.recreated++;
    s_disconnect(self);
    CHECK(s_connect(self, NULL) == ERR_OK); /* the same endpoint was good before */
    s_invariant(self);
}

/* -- life -------------------------------------------------------------------------------------- */

err_t env_peer_open(env_loop_t *loop,
                    const env_peer_options_t *options,
                    env_peer_t **ret_peer,
                    errbuf_t *errbuf)
{
    CHECK(options->on_message != NULL);
    if (strlen(options->endpoint) >= ENDPOINT_SIZE_MAX) {
        errbuf_set(errbuf,
                   "endpoint: expected at most %d characters, found %zu: shorten the host name",
                   ENDPOINT_SIZE_MAX - 1, strlen(options->endpoint));
        return ERR_INVALID;
    }
    env_peer_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->loop = loop;
    (void)snprintf(self->endpoint, sizeof(self->endpoint), "%s", options->endpoint);
    uint64_t queue_size = options->queue_size_bytes;
    uint64_t message_size = options->message_size_bytes;
    self->queue_count =
        env_zmq_queue_count(queue_size != 0 ? queue_size : QUEUE_SIZE_DEFAULT,
                            message_size != 0 ? message_size : MESSAGE_SIZE_DEFAULT);
    self->context = options->context;
    self->on_message = options->on_message;
    self->on_state = options->on_state;
    err_t err = s_connect(self, errbuf);
    if (err != ERR_OK) {
        free(self);
        return err;
    }
    env_message_init(&self->message);
    self->waiting_timer = env_timer_new(env_loop_timers(loop), s_on_waited, self);
    env_timer_arm(self->waiting_timer,
                  env_clock_now().mono_ns + (int64_t)PEER_WAITING_MS_MAX * ENV_NS_PER_MS);
    s_invariant(self);
    *ret_peer = self;
    return ERR_OK;
}

void env_peer_close(env_peer_t **self_p)
{
    CHECK(self_p != NULL);
    env_peer_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    s_end_waiting(self);
    env_timer_destroy(&self->waiting_timer);
    s_disconnect(self);
    env_message_done(&self->message);
    free(self);
    *self_p = NULL;
}

bool env_peer_is_up(const env_peer_t *self)
{
    return self->state == PEER_UP;
}

const char *env_peer_endpoint(const env_peer_t *self)
{
    return self->endpoint;
}

env_peer_counts_t env_peer_counts(const env_peer_t *self)
{
    return self->counts;
}
