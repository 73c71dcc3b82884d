/* One endpoint of the proxy for requests: the ROUTER that the processes of place `from` connect to
 * when they ask processes of place `to`, for one purpose, and the ways to those processes.
 *
 *   asker --- [target]...[body] ---> ROUTER --- rules of from -> to ---> DEALER ---> target
 *         <-- [target]...[body] ---        <--- rules of to -> from ---        <---
 *
 * The connection id, which the ROUTER puts before each message, travels to the target and back.
 *
 * A cut of from -> to closes all sockets of the endpoint: who is connected, on either side, sees
 * its connection reset, and new ones are refused until the endpoint is opened again. */
#ifndef TIDAL_SERVICES_PARTITION_PROXY_PROXY_FRONT_H
#define TIDAL_SERVICES_PARTITION_PROXY_PROXY_FRONT_H

#include "common/replication/link_rules.h"
#include "common/topology/topology.h"
#include "services/partition_proxy/proxy_backend.h"
#include "services/partition_proxy/proxy_messages.h"

/* A message that wants to cross a link. */
typedef struct {
    link_id_t link;
    uint32_t lane; /* of its connection: the rules keep the order within */
    proxy_route_t route;
} proxy_offer_t;

/* The frames may be taken out of the message. */
typedef void (*proxy_offer_fn)(void *context, const proxy_offer_t *offer, env_message_t *message);

/* Of all endpoints; what the rules drop is not in here. */
typedef struct {
    uint64_t malformed;        /* no [target] of that place, too many frames */
    uint64_t asker_full;       /* answers dropped: the asker does not read */
    uint64_t asker_gone;       /* answers dropped: its connection has ended */
    uint64_t target_unlimited; /* messages dropped: too many targets at a time */
    uint64_t unheard_topics;   /* subscriptions that are longer, or more, than can be kept */
    uint32_t backend_count;    /* targets connected to, now */
    proxy_backend_counts_t backends;
} proxy_counts_t;

enum {
    PROXY_BACKEND_COUNT_MAX = 1500, /* two sockets each, within SOCKET_COUNT_MAX */
    PROXY_LANE_PUBLISHED = 0        /* lanes of connections are drawn from the others */
};

typedef struct proxy_front proxy_front_t;

typedef struct {
    env_loop_t *loop; /* borrowed, as all here */
    const topology_t *topology;
    topology_link_t link;
    uint32_t index; /* in routes */
    proxy_offer_fn offer;
    void *context;
    proxy_counts_t *counts;
} proxy_front_options_t;

/* Closed. */
proxy_front_t *proxy_front_new(const proxy_front_options_t *options);
void proxy_front_destroy(proxy_front_t **self_p);

/* Binds. errs as env_zmq_bind; ERR_LOCKED may pass when it was just closed */
err_t proxy_front_open(proxy_front_t *self, errbuf_t *errbuf);
void proxy_front_close(proxy_front_t *self);
bool proxy_front_is_open(const proxy_front_t *self);
topology_link_t proxy_front_link(const proxy_front_t *self);

/* Sends what the rules let pass, or drops it and counts. The frames are empty afterwards. */
void proxy_front_forward(proxy_front_t *self,
                         const proxy_route_t *route,
                         zmq_msg_t *frames,
                         uint32_t frame_count);

#endif
