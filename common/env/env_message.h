/* Multipart messages on a loop's sockets: received within a bound, sent without a needless copy.
 *
 * A message has at most ENV_MESSAGE_FRAME_COUNT_MAX frames here: routing id, prefix frames, body.
 * ZeroMQ hands over a message only when all of it is in memory, and bounds neither the number of
 * its frames nor their sum; what is beyond the bound is read and thrown away, a limited number of
 * frames per call, so that one peer's message of a million frames does not hold up the others. */
#ifndef TIDAL_COMMON_ENV_ENV_MESSAGE_H
#define TIDAL_COMMON_ENV_ENV_MESSAGE_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/env/env_loop.h"

enum {
    ENV_MESSAGE_FRAME_COUNT_MAX = CLIENT_PREFIX_FRAME_COUNT_MAX + 2,
    ENV_MESSAGE_TAKE_SIZE_MIN = 65536, /* from here on handing memory over is cheaper than a copy */
    ENV_MESSAGE_DISCARD_COUNT_MAX = 1024
};

/* A received message. Embedded in its owner and used again: frames keep no memory between messages.
 */
typedef struct {
    zmq_msg_t frames[ENV_MESSAGE_FRAME_COUNT_MAX];
    uint32_t count;        /* frames kept */
    uint32_t excess_count; /* frames read and thrown away, counted up to UINT32_MAX */
    bool is_discarding; /* the rest of the message that excess_count tells of is still to be read */
} env_message_t;

void env_message_init(env_message_t *self);
void env_message_done(env_message_t *self);

/* The next message. It lives until env_message_clear or the next call.
 * errs ERR_AGAIN nothing there · ERR_TIMEOUT a share of excess frames was thrown away, more follow
 *      (call again; nothing to look at yet) */
err_t env_message_receive(env_message_t *self, env_source_t *source);
void env_message_clear(env_message_t *self);

/* Borrowed from self. */
slice_t env_message_frame(env_message_t *self, uint32_t index);

/* Last frame of a message: copied. Return as env_source_send. */
int env_message_send_body(env_source_t *source, slice_t body);
/* Last frame of a message. takes the bytes of *body: from ENV_MESSAGE_TAKE_SIZE_MIN on the memory
 * itself goes to ZeroMQ and the buffer is left without any; below, they are copied and the buffer
 * is cleared and keeps its memory. Taken also when the send fails. */
int env_message_send_buffer(env_source_t *source, buffer_t *body);

/* ERR_OK for 0, else the error that errno of a failed send stands for: ERR_FULL, ERR_UNREACHABLE.
 */
err_t env_message_error(int result);

#endif
