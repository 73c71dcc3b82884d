/* Messages that the proxy has in its hands, by ticket.
 *
 * A message that goes on at once is never copied: its ticket borrows the frames that were received,
 * and they are moved into the next socket. Only one that has to wait gets memory of its own, with
 * its frames moved into it. How many may wait is the link rules' business. */
#ifndef TIDAL_SERVICES_PARTITION_PROXY_PROXY_MESSAGES_H
#define TIDAL_SERVICES_PARTITION_PROXY_PROXY_MESSAGES_H

#include "common/base/ids.h"
#include "common/env/env_message.h"

typedef enum {
    PROXY_TO_TARGET,   /* a request, to the process that it names */
    PROXY_TO_ASKER,    /* an answer, to the connection whose id is its first frame */
    PROXY_TO_LISTENERS /* something published */
} proxy_direction_t;

/* Where a message goes once the rules let it. */
typedef struct {
    proxy_direction_t direction;
    uint32_t front;      /* index of the endpoint it came in at or goes out by */
    uint32_t generation; /* of that endpoint's socket: its connection ids mean nothing in another */
    process_address_t target; /* PROXY_TO_TARGET */
} proxy_route_t;

typedef struct {
    proxy_route_t route;
    zmq_msg_t *frames; /* borrowed, or owned once it is kept */
    uint32_t frame_count;
    bool is_owned;
} proxy_message_t;

typedef struct proxy_messages proxy_messages_t;

proxy_messages_t *proxy_messages_new(void);
/* Drops what is left. */
void proxy_messages_destroy(proxy_messages_t **self_p);

/* Borrows the frames until the ticket is released or kept. Returns the ticket. */
uint64_t proxy_messages_add(proxy_messages_t *self,
                            const proxy_route_t *route,
                            zmq_msg_t *frames,
                            uint32_t frame_count);
/* Moves the frames into memory of its own; those that were borrowed are empty afterwards. */
void proxy_messages_keep(proxy_messages_t *self, uint64_t ticket);
bool proxy_messages_has(const proxy_messages_t *self, uint64_t ticket);
/* The message of an open ticket; until the next add. */
proxy_message_t *proxy_messages_get(proxy_messages_t *self, uint64_t ticket);
/* Frees what it owns; borrowed frames stay with their owner. */
void proxy_messages_release(proxy_messages_t *self, uint64_t ticket);

#endif
