/* net_t (common/base/seam.h) over ZeroMQ: one process of a topology with its sockets.
 *
 *   ROUTER   bound where the topology says; requests of others, answered by handle
 *   PUB      bound where the topology says
 *   DEALERs  one per endpoint that is sent to, made at the first message or by
 *            env_net_connect. Within a place an endpoint is one process; between places it is a
 *            link of the proxy, which all processes behind it share, for a purpose:
 *
 *              shipper to receiver            ship
 *              reconciler to reconciler       reconcile
 *              anything else                  request
 *
 * A body that begins like a msgpack array is a message between processes and must be addressed to
 * this process: one that is for another (a port taken over by another mesh, a mistake in a
 * topology) is dropped and counted. Anything else is a client's, answered to whoever sent it. */
#ifndef TIDAL_COMMON_ENV_ENV_NET_H
#define TIDAL_COMMON_ENV_ENV_NET_H

#include "common/base/seam.h"
#include "common/env/env_publisher.h"
#include "common/env/env_router.h"
#include "common/topology/topology.h"

typedef struct env_net env_net_t;

typedef struct {
    env_loop_t *loop;           /* borrowed */
    const topology_t *topology; /* borrowed */
    process_address_t self;     /* a tool binds nothing */
    void *context;
    /* A message of another process. body lives until return. reply_to is to be forgotten once. */
    void (*on_request)(void *context, uint64_t reply_to, slice_t body);
    /* A client's request, well formed or not; the same rules. */
    void (*on_client)(void *context, uint64_t reply_to, slice_t body);
    /* As env_router_options_t; for a client. */
    void (*on_refused)(void *context, uint64_t reply_to, err_t err);
    /* An answer to something that was sent. */
    void (*on_reply)(void *context, process_address_t from, slice_t body);
} env_net_options_t;

typedef struct {
    uint64_t sent;
    uint64_t send_full;
    uint64_t send_unreachable;
    uint64_t send_unknown; /* no such process, or no link to it */
    uint64_t misaddressed; /* received and dropped */
    uint64_t received;     /* answers */
    uint32_t peers;        /* endpoints */
    uint32_t peers_up;
    uint64_t recreated; /* connections that had ended for good */
} env_net_counts_t;

/* errs as env_zmq_bind */
err_t env_net_open(const env_net_options_t *options, env_net_t **ret_net, errbuf_t *errbuf);
void env_net_close(env_net_t **self_p);
/* Takes no request any more: closes the bound socket, so that others see the end of the connection.
 * Nothing can be answered afterwards. */
void env_net_stop_listening(env_net_t *self);

/* Borrowed; lives as long as self. */
const net_t *env_net_seam(const env_net_t *self);

/* Makes the connection before there is something to send.
 * errs ERR_NOT_FOUND no such process, or no link to it */
err_t env_net_connect(env_net_t *self, process_address_t to);
/* Whether messages to it are taken now, for tests; false also when nothing was sent to it yet. */
bool env_net_is_up(const env_net_t *self, process_address_t to);

/* NULL for a tool. Borrowed. */
env_router_t *env_net_router(env_net_t *self);
env_publisher_t *env_net_publisher(env_net_t *self);

env_net_counts_t env_net_counts(const env_net_t *self);

#endif
