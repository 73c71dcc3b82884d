#include "common/env/env_message.h"

#include "common/base/check.h"

#include <errno.h>
#include <stdlib.h>

void env_message_init(env_message_t *self)
{
    *self = (env_message_t){.count = 0};
    for (uint32_t i = 0; i < ENV_MESSAGE_FRAME_COUNT_MAX; i++) {
        CHECK(zmq_msg_init(&self->frames[i]) == 0);
    }
}

void env_message_done(env_message_t *self)
{
    for (uint32_t i = 0; i < ENV_MESSAGE_FRAME_COUNT_MAX; i++) {
        CHECK(zmq_msg_close(&self->frames[i]) == 0);
    }
}

void env_message_clear(env_message_t *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        CHECK(zmq_msg_close(&self->frames[i]) == 0);
        CHECK(zmq_msg_init(&self->frames[i]) == 0);
    }
    self->count = 0;
    self->excess_count = 0;
}

/* ERR_OK at the end of the message, ERR_TIMEOUT when this call's share is used up. */
static err_t s_discard(env_message_t *self, env_source_t *source)
{
    zmq_msg_t msg;
    CHECK(zmq_msg_init(&msg) == 0);
    bool has_more = true;
    for (uint32_t i = 0; i < ENV_MESSAGE_DISCARD_COUNT_MAX && has_more; i++) {
        /* The frames of one message arrive together: the next one is there. */
        CHECK(env_source_receive(source, &msg) == 0);
        self->excess_count += self->excess_count < UINT32_MAX ? 1 : 0;
        has_more = zmq_msg_more(&msg) != 0;
    }
    CHECK(zmq_msg_close(&msg) == 0);
    self->is_discarding = has_more;
    return has_more ? ERR_TIMEOUT : ERR_OK;
}

err_t env_message_receive(env_message_t *self, env_source_t *source)
{
    if (self->is_discarding) {
        return s_discard(self, source);
    }
    env_message_clear(self);
    bool has_more = true;
    while (has_more && self->count < ENV_MESSAGE_FRAME_COUNT_MAX) {
        zmq_msg_t *frame = &self->frames[self->count];
        if (env_source_receive(source, frame) != 0) {
            CHECK(errno == EAGAIN);
            CHECK(self->count == 0);
            return ERR_AGAIN;
        }
        self->count++;
        has_more = zmq_msg_more(frame) != 0;
    }
    return has_more ? s_discard(self, source) : ERR_OK;
}

slice_t env_message_frame(env_message_t *self, uint32_t index)
{
    CHECK(index < self->count);
    zmq_msg_t *frame = &self->frames[index];
    return slice_make(zmq_msg_data(frame), zmq_msg_size(frame));
}

int env_message_send_body(env_source_t *source, slice_t body)
{
    return env_source_send_bytes(source, body.data, body.size, 0);
}

/* Runs on a thread of ZeroMQ. */
static void s_free_bytes(void *data, void *hint)
{
    (void)hint;
    free(data);
}

int env_message_send_buffer(env_source_t *source, buffer_t *body)
{
    if (body->size < ENV_MESSAGE_TAKE_SIZE_MIN) {
        int result = env_source_send_bytes(source, body->data, body->size, 0);
        buffer_clear(body); /* leaves errno alone */
        return result;
    }
    zmq_msg_t msg;
    CHECK(zmq_msg_init_data(&msg, body->data, body->size, s_free_bytes, NULL) == 0);
    buffer_init(body);
    int result = env_source_send(source, &msg, 0);
    if (result != 0) {
        int send_errno = errno;
        CHECK(zmq_msg_close(&msg) == 0);
        errno = send_errno;
    }
    return result;
}

err_t env_message_error(int result)
{
    if (result == 0) {
        return ERR_OK;
    }
    CHECK(errno == EAGAIN || errno == EHOSTUNREACH);
    return errno == EAGAIN ? ERR_FULL : ERR_UNREACHABLE;
}
