#include "common/env/env_router.h"

#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/env/env_envelopes.h"
#include "common/env/env_zmq.h"

#include <stdlib.h>

enum {
    QUEUE_SIZE_DEFAULT = 64 * 1024 * 1024,
    MESSAGE_SIZE_DEFAULT = 16 * 1024,
    EXPIRY_MS_DEFAULT = TIMEOUT_MS_MAX + 60 * 1000
};

/* Marks handles of refused requests; the lower 32 bits of a handle are a place in a table. */
#define REFUSED_BIT (UINT64_C(1) << 31)

static_assert(ROUTER_ENVELOPE_COUNT_MAX < REFUSED_BIT, "no place in the table has that bit");

struct env_router {
    env_loop_t *loop;
    void *socket;
    env_source_t *source;
    env_envelopes_t *envelopes;
    env_envelopes_t *refused; /* one place, for the handle of on_refused */
    env_message_t message;
    char endpoint[ENDPOINT_SIZE_MAX];
    void *context;
    void (*on_request)(void *context, const env_request_t *request);
    void (*on_refused)(void *context, uint64_t handle, err_t err);
    env_router_counts_t counts;
};

/* -- receiving --------------------------------------------------------------------------------- */

static void s_refuse(env_router_t *self, const slice_t *frames, uint32_t frame_count, err_t err)
{
    if (err == ERR_FULL) {
        self->counts.refused_full++;
    } else {
        self->counts.refused_malformed++;
    }
    if (self->on_refused == NULL) {
        return;
    }
    int64_t now_ns = env_loop_now(self->loop).mono_ns;
    uint64_t handle = env_envelopes_open(self->refused, frames, frame_count, now_ns);
    CHECK(handle != 0);
    self->on_refused(self->context, handle | REFUSED_BIT, err);
    (void)env_envelopes_close(self->refused, handle); /* false: it was answered */
}

/* How many leading frames of a malformed request go back: the routing id, and what stands up to the
 * first empty frame when that is within bounds. */
static uint32_t s_count_echoed(const slice_t *frames, uint32_t frame_count)
{
    for (uint32_t i = 1; i < frame_count && i <= CLIENT_PREFIX_FRAME_COUNT_MAX; i++) {
        if (frames[i].size > CLIENT_PREFIX_FRAME_SIZE_MAX) {
            break;
        }
        if (frames[i].size == 0) {
            return i + 1;
        }
    }
    return 1;
}

static bool s_is_well_formed(const env_message_t *message, const slice_t *frames)
{
    if (message->excess_count > 0 || message->count < 2) {
        return false;
    }
    for (uint32_t i = 1; i + 1 < message->count; i++) {
        if (frames[i].size > CLIENT_PREFIX_FRAME_SIZE_MAX) {
            return false;
        }
    }
    return true;
}

static void s_handle(env_router_t *self)
{
    env_message_t *message = &self->message;
    slice_t frames[ENV_MESSAGE_FRAME_COUNT_MAX];
    for (uint32_t i = 0; i < message->count; i++) {
        frames[i] = env_message_frame(message, i);
    }
    self->counts.received++;
    if (!s_is_well_formed(message, frames)) {
        s_refuse(self, frames, s_count_echoed(frames, message->count), ERR_CORRUPT);
        return;
    }
    uint32_t prefix_count = message->count - 1; /* routing id included */
    int64_t now_ns = env_loop_now(self->loop).mono_ns;
    uint64_t handle = env_envelopes_open(self->envelopes, frames, prefix_count, now_ns);
    if (handle == 0) {
        s_refuse(self, frames, prefix_count, ERR_FULL);
        return;
    }
    env_request_t request = {.handle = handle, .body = frames[prefix_count]};
    if (prefix_count > 1) {
        request.target = frames[prefix_count - 1];
    }
    self->on_request(self->context, &request);
}

static err_t s_take(void *context)
{
    env_router_t *self = context;
    err_t err = env_message_receive(&self->message, self->source);
    if (err != ERR_OK) {
        return err;
    }
    s_handle(self);
    env_message_clear(&self->message);
    return ERR_OK;
}

/* -- life -------------------------------------------------------------------------------------- */

static uint64_t s_or(uint64_t value, uint64_t value_default)
{
    return value != 0 ? value : value_default;
}

err_t env_router_open(env_loop_t *loop,
                      const env_router_options_t *options,
                      env_router_t **ret_router,
                      errbuf_t *errbuf)
{
    CHECK(options->on_request != NULL);
    CHECK(options->frame_size_max > 0 && options->frame_size_max <= INT64_MAX);
    uint64_t queue_size = s_or(options->queue_size_bytes, QUEUE_SIZE_DEFAULT);
    uint64_t message_size = s_or(options->message_size_bytes, MESSAGE_SIZE_DEFAULT);
    void *socket = env_zmq_socket_new(
        &(env_zmq_options_t){.type = ZMQ_ROUTER,
                             .side = ENV_ZMQ_BIND,
                             .queue_count = env_zmq_queue_count(queue_size, message_size),
                             .frame_size_max = (int64_t)options->frame_size_max});
    err_t err = env_zmq_bind(socket, options->endpoint, errbuf);
    if (err != ERR_OK) {
        env_zmq_socket_close(&socket);
        return err;
    }
    env_router_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->loop = loop;
    self->socket = socket;
    self->context = options->context;
    self->on_request = options->on_request;
    self->on_refused = options->on_refused;
    int64_t expiry_ns =
        (int64_t)s_or((uint64_t)options->envelope_expiry_ms, EXPIRY_MS_DEFAULT) * ENV_NS_PER_MS;
    self->envelopes = env_envelopes_new(
        (uint32_t)s_or(options->envelope_count_max, ROUTER_ENVELOPE_COUNT_MAX), expiry_ns);
    self->refused = env_envelopes_new(1, expiry_ns);
    env_message_init(&self->message);
    env_zmq_last_endpoint(socket, self->endpoint);
    self->source = env_loop_add_socket(loop, socket, s_take, self);
    *ret_router = self;
    return ERR_OK;
}

void env_router_close(env_router_t **self_p)
{
    CHECK(self_p != NULL);
    env_router_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    env_source_remove(&self->source);
    env_message_done(&self->message);
    env_zmq_socket_close(&self->socket);
    env_envelopes_destroy(&self->envelopes);
    env_envelopes_destroy(&self->refused);
    free(self);
    *self_p = NULL;
}

const char *env_router_endpoint(const env_router_t *self)
{
    return self->endpoint;
}

/* -- answering --------------------------------------------------------------------------------- */

/* Sends what stood before the body. Errors show at the first frame, the routing id; once that is
 * taken ZeroMQ takes the rest, or drops all of it when the asker vanishes in between. */
static int s_send_envelope(env_router_t *self, const slice_t *frames, uint32_t frame_count)
{
    for (uint32_t i = 0; i < frame_count; i++) {
        int result =
            env_source_send_bytes(self->source, frames[i].data, frames[i].size, ZMQ_SNDMORE);
        CHECK_IMPLIES(result != 0, i == 0);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static void s_count_reply(env_router_t *self, err_t err)
{
    if (err == ERR_OK) {
        self->counts.replied++;
    } else if (err == ERR_FULL) {
        self->counts.reply_full++;
    } else {
        self->counts.reply_unreachable++;
    }
}

/* Which table a handle belongs to; takes the mark off it. */
static env_envelopes_t *s_table(const env_router_t *self, uint64_t *handle_p)
{
    bool is_refused = (*handle_p & REFUSED_BIT) != 0;
    *handle_p &= ~REFUSED_BIT;
    return is_refused ? self->refused : self->envelopes;
}

/* One of `body` and `buffer` is used; buffer when it is not NULL. */
static err_t s_answer(env_router_t *self, uint64_t handle, slice_t body, buffer_t *buffer)
{
    env_envelopes_t *envelopes = s_table(self, &handle);
    slice_t frames[ENV_ENVELOPE_FRAME_COUNT_MAX];
    uint32_t frame_count = env_envelopes_find(envelopes, handle, frames);
    if (frame_count == 0) {
        self->counts.reply_unknown++;
        return ERR_NOT_FOUND;
    }
    int result = s_send_envelope(self, frames, frame_count);
    if (result == 0) {
        result = buffer != NULL ? env_message_send_buffer(self->source, buffer)
                                : env_message_send_body(self->source, body);
    }
    err_t err = env_message_error(result);
    s_count_reply(self, err);
    return err;
}

err_t env_router_answer(env_router_t *self, uint64_t handle, slice_t body)
{
    return s_answer(self, handle, body, NULL);
}

err_t env_router_reply_buffer(env_router_t *self, uint64_t handle, buffer_t *body)
{
    err_t err = s_answer(self, handle, slice_make(NULL, 0), body);
    env_router_forget(self, handle);
    buffer_clear(body); /* taken, whatever happened */
    return err;
}

void env_router_forget(env_router_t *self, uint64_t handle)
{
    env_envelopes_t *envelopes = s_table(self, &handle);
    (void)env_envelopes_close(envelopes, handle); /* false: it is gone already */
}

env_router_counts_t env_router_counts(const env_router_t *self)
{
    env_router_counts_t counts = self->counts;
    counts.expired = env_envelopes_expired_count(self->envelopes);
    counts.open = env_envelopes_count(self->envelopes);
    return counts;
}
