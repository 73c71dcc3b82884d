/* The asking side of a process: one DEALER socket to one endpoint, behind which one process stands,
 * or the partition proxy with all processes of a place.
 *
 * A message goes out as [target, 8 bytes][body]; what comes back is [target][body], the target
 * telling who answered. Matching answers with questions is the body's business.
 *
 *           first connection           connection ends
 *   NEW ----------------------> UP ---------------------> DOWN --+
 *                               ^                          |     | ended for good: a new socket
 *                               +--------------------------+<----+
 *                                   connected again
 *
 *   NEW    messages wait, at most PEER_WAITING_COUNT_MAX and PEER_WAITING_SIZE_MAX, for at most
 *          PEER_WAITING_MS_MAX; then they are dropped and counted, and so is what follows
 *   UP     messages are queued by ZeroMQ up to the budget, then ERR_FULL; that is the error also
 *          between the end of a connection and the turn in which it is noticed
 *   DOWN   ERR_UNREACHABLE. What was queued is lost with the connection (env_zmq.h: IMMEDIATE)
 *
 * ERR_OK says that the message was queued here, not that it arrived. */
#ifndef TIDAL_COMMON_ENV_ENV_PEER_H
#define TIDAL_COMMON_ENV_ENV_PEER_H

#include "common/base/bytes.h"
#include "common/env/env_loop.h"

enum { ENV_PEER_TARGET_SIZE = 8 };

typedef struct env_peer env_peer_t;

/* Who is to get a message, or has sent one: a process address as it stands in the frame. */
typedef struct {
    uint8_t bytes[ENV_PEER_TARGET_SIZE];
} env_target_t;

typedef struct {
    const char *endpoint;        /* copied */
    uint64_t queue_size_bytes;   /* budget, each direction; 0: 64 MiB */
    uint64_t message_size_bytes; /* usual size, for the budget; 0: 4 KiB */
    void *context;
    /* body is borrowed until return. The peer must not be closed within. */
    void (*on_message)(void *context, env_target_t from, slice_t body);
    /* The connection came up or ended; may be NULL. */
    void (*on_state)(void *context, bool is_up);
} env_peer_options_t;

typedef struct {
    uint64_t sent;
    uint64_t received;
    uint64_t refused_full;        /* sends */
    uint64_t refused_unreachable; /* sends */
    uint64_t waiting_dropped;     /* accepted while NEW, dropped since no connection came */
    uint64_t malformed;           /* received and dropped */
    uint64_t connects;
    uint64_t recreated; /* sockets whose connection had ended for good */
} env_peer_counts_t;

/* errs ERR_INVALID no endpoint */
err_t env_peer_open(env_loop_t *loop,
                    const env_peer_options_t *options,
                    env_peer_t **ret_peer,
                    errbuf_t *errbuf);
void env_peer_close(env_peer_t **self_p);

/* copies body. errs ERR_FULL, ERR_UNREACHABLE */
err_t env_peer_send(env_peer_t *self, env_target_t target, slice_t body);

bool env_peer_is_up(const env_peer_t *self);
const char *env_peer_endpoint(const env_peer_t *self);
env_peer_counts_t env_peer_counts(const env_peer_t *self);

#endif
