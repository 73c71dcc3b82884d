#include "services/partition_proxy/proxy_frames.h"

#include "common/base/check.h"

#include <errno.h>

uint64_t proxy_frames_size(zmq_msg_t *frames, uint32_t frame_count)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < frame_count; i++) {
        size += zmq_msg_size(&frames[i]);
    }
    return size;
}

void proxy_frames_close(zmq_msg_t *frames, uint32_t frame_count)
{
    for (uint32_t i = 0; i < frame_count; i++) {
        CHECK(zmq_msg_close(&frames[i]) == 0);
    }
}

void proxy_frames_drop(zmq_msg_t *frames, uint32_t frame_count)
{
    proxy_frames_close(frames, frame_count);
    for (uint32_t i = 0; i < frame_count; i++) {
        CHECK(zmq_msg_init(&frames[i]) == 0);
    }
}

err_t proxy_frames_send(env_source_t *source, zmq_msg_t *frames, uint32_t frame_count)
{
    int result = 0;
    for (uint32_t i = 0; i < frame_count && result == 0; i++) {
        /* Fails at the first frame, or when the connection ends in between: then ZeroMQ has rolled
         * back what it had taken. */
        result = env_source_send(source, &frames[i], i + 1 < frame_count ? ZMQ_SNDMORE : 0);
    }
    err_t err = env_message_error(result);
    if (err != ERR_OK) {
        proxy_frames_drop(frames, frame_count);
    }
    return err;
}

void proxy_frames_copy(zmq_msg_t *frames, uint32_t frame_count, zmq_msg_t *ret_copies)
{
    for (uint32_t i = 0; i < frame_count; i++) {
        CHECK(zmq_msg_init(&ret_copies[i]) == 0);
        CHECK(zmq_msg_copy(&ret_copies[i], &frames[i]) == 0);
    }
}
