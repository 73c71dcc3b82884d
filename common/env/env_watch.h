/* Watches the connections of a connecting socket: which are up, and whether one has died for good.
 *
 * ZeroMQ reconnects by itself, except that a protocol error (an oversized or malformed frame, a
 * peer that does not speak ZMTP, a refused key) ends the connection for ever, while sends go on to
 * succeed or the subscriber hears nothing more. Seen from the socket's monitor: a connection that
 * ends is followed at once by a new attempt (CONNECT_RETRIED); one that ended for good is followed
 * by silence.
 *
 *   event of an endpoint            then, at the latest after
 *   HANDSHAKE_SUCCEEDED             (no limit: it is up)
 *   DISCONNECTED, HANDSHAKE_FAILED  1 s any event, else on_dead
 *   any other                       10 s any event, else on_dead: one attempt follows the other
 *                                   within the time-outs of reconnect, connect and handshake
 *
 * on_dead: the owner closes the socket and makes a new one; as it comes a second after the end, a
 * peer that does it on purpose costs one connection a second. */
#ifndef TIDAL_COMMON_ENV_ENV_WATCH_H
#define TIDAL_COMMON_ENV_ENV_WATCH_H

#include "common/env/env_loop.h"

typedef struct env_watch env_watch_t;

typedef struct {
    void *context;
    /* Of one endpoint. May be NULL. The socket has the connection (or has lost it) when they are
     * called. */
    void (*on_connected)(void *context, const char *endpoint);
    void (*on_disconnected)(void *context, const char *endpoint);
    /* The last thing the watch does: it and its socket may be closed within. */
    void (*on_dead)(void *context);
} env_watch_options_t;

/* Before the socket connects. Borrows the socket until env_watch_stop. */
env_watch_t *env_watch_start(env_loop_t *loop, void *socket, const env_watch_options_t *options);
/* Before the socket is closed. */
void env_watch_stop(env_watch_t **self_p);

/* Connections that are up. */
uint32_t env_watch_connected_count(const env_watch_t *self);

#endif
