/* What the processes of one place publish, for the others: one SUB to all of them, and one XPUB per
 * link to that place, to which the processes of the other place subscribe.
 *
 *   publishers of B --- SUB --- rules of B -> A ---> XPUB of link A to B ---> listeners in A
 *
 * Subscriptions go the other way. They never pass the rules: one that was dropped would be missing
 * for ever. The SUB asks for every topic that somebody on some XPUB asks for, so what nobody wants
 * to hear elsewhere never leaves its place.
 *
 * A cut of A -> B, the direction in which the listeners connect, closes the XPUB. */
#ifndef TIDAL_SERVICES_PARTITION_PROXY_PROXY_CHANNEL_H
#define TIDAL_SERVICES_PARTITION_PROXY_PROXY_CHANNEL_H

#include "services/partition_proxy/proxy_front.h"

enum { PROXY_TOPIC_COUNT_MAX = 64 };

/* -- the publishers of one place --------------------------------------------------------------- */

typedef struct proxy_listener proxy_listener_t;

/* A published message: [topic][body]. The frames may be taken out of it. */
typedef void (*proxy_listener_fn)(void *context, region_id_t place, env_message_t *message);

proxy_listener_t *proxy_listener_new(env_loop_t *loop,
                                     const topology_t *topology,
                                     region_id_t place,
                                     proxy_listener_fn on_message,
                                     void *context);
void proxy_listener_destroy(proxy_listener_t **self_p);

region_id_t proxy_listener_place(const proxy_listener_t *self);
/* One more, or one less, that wants to hear a topic. False when there are too many different ones.
 */
bool proxy_listener_subscribe(proxy_listener_t *self, slice_t topic);
void proxy_listener_unsubscribe(proxy_listener_t *self, slice_t topic);

/* -- one link ---------------------------------------------------------------------------------- */

typedef struct proxy_channel proxy_channel_t;

/* Closed. in listener  of place link.to; borrowed
 *         counts, loop, topology  borrowed */
proxy_channel_t *proxy_channel_new(env_loop_t *loop,
                                   const topology_t *topology,
                                   topology_link_t link,
                                   proxy_listener_t *listener,
                                   proxy_counts_t *counts);
void proxy_channel_destroy(proxy_channel_t **self_p);

/* errs as proxy_front_open */
err_t proxy_channel_open(proxy_channel_t *self, errbuf_t *errbuf);
void proxy_channel_close(proxy_channel_t *self);
bool proxy_channel_is_open(const proxy_channel_t *self);
topology_link_t proxy_channel_link(const proxy_channel_t *self);

/* Whether somebody there has asked for this topic. */
bool proxy_channel_wants(const proxy_channel_t *self, slice_t topic);
/* Publishes, or drops when closed. The frames are empty afterwards. */
void proxy_channel_forward(proxy_channel_t *self, zmq_msg_t *frames, uint32_t frame_count);

#endif
