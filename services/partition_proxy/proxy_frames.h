/* The frames of one message, as a whole. */
#ifndef TIDAL_SERVICES_PARTITION_PROXY_PROXY_FRAMES_H
#define TIDAL_SERVICES_PARTITION_PROXY_PROXY_FRAMES_H

#include "common/env/env_message.h"

/* Bytes of all frames. */
uint64_t proxy_frames_size(zmq_msg_t *frames, uint32_t frame_count);
/* Moves the content into the socket; on error it is dropped. The frames are empty afterwards.
 * errs ERR_FULL, ERR_UNREACHABLE as env_message_error */
err_t proxy_frames_send(env_source_t *source, zmq_msg_t *frames, uint32_t frame_count);
/* The frames are empty afterwards, and can be used again. */
void proxy_frames_drop(zmq_msg_t *frames, uint32_t frame_count);
/* out ret_copies  initialised here; large bodies share their memory with the original */
void proxy_frames_copy(zmq_msg_t *frames, uint32_t frame_count, zmq_msg_t *ret_copies);
void proxy_frames_close(zmq_msg_t *frames, uint32_t frame_count);

#endif
