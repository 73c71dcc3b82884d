#include "common/env/env_watch.h"

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/env/env_message.h"
#include "common/env/env_zmq.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SILENCE_AFTER_END_MS = 1000,
    SILENCE_MS = RECONNECT_MS_MAX + CONNECT_TIMEOUT_MS + HANDSHAKE_TIMEOUT_MS + 1000,
    EVENTS_WATCHED = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CONNECT_DELAYED | ZMQ_EVENT_CONNECT_RETRIED |
                     ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                     ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
};

typedef struct {
    char endpoint[ENDPOINT_SIZE_MAX];
    bool is_connected;
    int64_t dead_at_ns; /* INT64_MAX while connected */
} watched_t;

struct env_watch {
    env_loop_t *loop;
    void *socket;  /* borrowed: the one that is watched */
    void *monitor; /* owned: its events */
    env_source_t *source;
    env_timer_t *timer;
    env_message_t message;
    env_watch_options_t options;
    watched_t *watched; /* endpoints that ever had an event */
    uint32_t watched_count;
    uint32_t connected_count;
};

static watched_t *s_require(env_watch_t *self, slice_t endpoint)
{
    for (uint32_t i = 0; i < self->watched_count; i++) {
        const char *known = self->watched[i].endpoint;
        if (slice_equal(slice_make(known, strlen(known)), endpoint)) {
            return &self->watched[i];
        }
    }
    CHECK(self->watched_count < ENDPOINT_COUNT_MAX);
    watched_t *watched = realloc(self->watched, (self->watched_count + 1) * sizeof(*watched));
    CHECK(watched != NULL);
    self->watched = watched;
    watched = &self->watched[self->watched_count++];
    *watched = (watched_t){.dead_at_ns = INT64_MAX};
    (void)snprintf(watched->endpoint, sizeof(watched->endpoint), "%.*s", (int)endpoint.size,
                   (const char *)endpoint.data);
    return watched;
}

static void s_arm(env_watch_t *self)
{
    int64_t at_ns = INT64_MAX;
    for (uint32_t i = 0; i < self->watched_count; i++) {
        at_ns = self->watched[i].dead_at_ns < at_ns ? self->watched[i].dead_at_ns : at_ns;
    }
    if (at_ns == INT64_MAX) {
        env_timer_clear(self->timer);
    } else {
        env_timer_arm(self->timer, at_ns);
    }
}

static bool s_is_end(uint32_t event)
{
    return (event & (ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)) != 0;
}

/* The state first, the callback last: it may look at the counts. */
static void s_note(env_watch_t *self, uint32_t event, slice_t endpoint)
{
    watched_t *watched = s_require(self, endpoint);
    bool was_connected = watched->is_connected;
    bool is_up = (event & ZMQ_EVENT_HANDSHAKE_SUCCEEDED) != 0;
    bool is_stray = was_connected && !s_is_end(event); /* late event of an earlier attempt */
    watched->is_connected = is_up || is_stray;
    int64_t limit_ms = s_is_end(event) ? SILENCE_AFTER_END_MS : SILENCE_MS;
    watched->dead_at_ns = watched->is_connected
                              ? INT64_MAX
                              : env_loop_now(self->loop).mono_ns + limit_ms * ENV_NS_PER_MS;
    s_arm(self);
    char name[ENDPOINT_SIZE_MAX];
    memcpy(name, watched->endpoint, sizeof(name));
    if (watched->is_connected && !was_connected) {
        self->connected_count++;
        if (self->options.on_connected != NULL) {
            self->options.on_connected(self->options.context, name);
        }
    } else if (!watched->is_connected && was_connected) {
        self->connected_count--;
        if (self->options.on_disconnected != NULL) {
            self->options.on_disconnected(self->options.context, name);
        }
    }
}

/* One event: [event u16, value u32, in the order of this machine][endpoint]. */
static err_t s_take(void *context)
{
    env_watch_t *self = context;
    err_t err = env_message_receive(&self->message, self->source);
    if (err != ERR_OK) {
        return err;
    }
    slice_t head = env_message_frame(&self->message, 0);
    CHECK(self->message.count == 2);
    CHECK(head.size == sizeof(uint16_t) + sizeof(uint32_t));
    uint16_t event = 0;
    memcpy(&event, head.data, sizeof(event));
    /* An owner that closes the watch in a callback would pull the message away: events are noted
     * from a copy. */
    uint8_t endpoint[ENDPOINT_SIZE_MAX];
    slice_t frame = env_message_frame(&self->message, 1);
    size_t size = frame.size < sizeof(endpoint) ? frame.size : sizeof(endpoint) - 1;
    if (size > 0) {
        memcpy(endpoint, frame.data, size);
    }
    env_message_clear(&self->message);
    s_note(self, event, slice_make(endpoint, size));
    return ERR_OK;
}

static void s_on_timer(void *context, now_t now)
{
    env_watch_t *self = context;
    for (uint32_t i = 0; i < self->watched_count; i++) {
        if (self->watched[i].dead_at_ns <= now.mono_ns) {
            self->options.on_dead(self->options.context); /* self may be gone now */
            return;
        }
    }
    s_arm(self);
}

env_watch_t *env_watch_start(env_loop_t *loop, void *socket, const env_watch_options_t *options)
{
    CHECK(options->on_dead != NULL);
    static uint64_t s_last_number; /* names of monitors are of the whole process */
    char endpoint[ENDPOINT_SIZE_MAX];
    (void)snprintf(endpoint, sizeof(endpoint), "inproc://watch-%" PRIu64, ++s_last_number);
    env_watch_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->loop = loop;
    self->socket = socket;
    self->options = *options;
    env_message_init(&self->message);
    self->timer = env_timer_new(env_loop_timers(loop), s_on_timer, self);
    CHECK(zmq_socket_monitor(socket, endpoint, EVENTS_WATCHED) == 0);
    self->monitor = env_zmq_socket_new(&(env_zmq_options_t){
        .type = ZMQ_PAIR, .side = ENV_ZMQ_CONNECT, .queue_count = SOCKET_QUEUE_COUNT_MAX});
    CHECK(env_zmq_connect(self->monitor, endpoint, NULL) == ERR_OK);
    self->source = env_loop_add_socket(loop, self->monitor, s_take, self);
    return self;
}

void env_watch_stop(env_watch_t **self_p)
{
    CHECK(self_p != NULL);
    env_watch_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    CHECK(zmq_socket_monitor(self->socket, NULL, 0) == 0);
    env_source_remove(&self->source);
    env_zmq_socket_close(&self->monitor);
    env_message_done(&self->message);
    env_timer_destroy(&self->timer);
    free(self->watched);
    free(self);
    *self_p = NULL;
}

uint32_t env_watch_connected_count(const env_watch_t *self)
{
    return self->connected_count;
}
