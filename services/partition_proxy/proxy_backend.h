/* The proxy's way to one process for one endpoint: a DEALER to the process's request endpoint.
 *
 * What comes in at the endpoint as [connection id][target]...[body] goes out here unchanged, and
 * the process echoes all of it before the body of each answer, so the proxy keeps no table of
 * requests.
 *
 *   NEW    messages wait for the first connection, at most PEER_WAITING_COUNT_MAX and
 *          PEER_WAITING_SIZE_MAX, for at most PEER_WAITING_MS_MAX
 *   UP     messages go to ZeroMQ, whose queue is as long as that of a held link
 *   DOWN   messages are dropped and counted: their sender's time-out settles it, as if a connection
 *          of its own had ended */
#ifndef TIDAL_SERVICES_PARTITION_PROXY_PROXY_BACKEND_H
#define TIDAL_SERVICES_PARTITION_PROXY_PROXY_BACKEND_H

#include "common/env/env_loop.h"
#include "common/env/env_message.h"

typedef struct proxy_backend proxy_backend_t;

/* An answer: [connection id][target]...[body]. The frames may be taken out of it. */
typedef void (*proxy_backend_fn)(void *context, env_message_t *message);

typedef struct {
    uint64_t full;        /* messages dropped: its queue */
    uint64_t unreachable; /* dropped: no connection */
    uint64_t malformed;   /* answers dropped */
    uint64_t recreated;
} proxy_backend_counts_t;

/* in counts  of all backends; borrowed */
proxy_backend_t *proxy_backend_new(env_loop_t *loop,
                                   const char *endpoint,
                                   proxy_backend_fn on_answer,
                                   void *context,
                                   proxy_backend_counts_t *counts);
void proxy_backend_destroy(proxy_backend_t **self_p);

/* Takes the content of the frames, sent or dropped. */
void proxy_backend_send(proxy_backend_t *self, zmq_msg_t *frames, uint32_t frame_count);

#endif
