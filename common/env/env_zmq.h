/* ZeroMQ for this process: one context, and sockets on which every limit is set by hand.
 *
 * All sockets
 *   LINGER 250 ms, SNDTIMEO and RCVTIMEO 0, IPv6 off, no routing ids, queues (high-water marks)
 *   by byte budget / message size: ZeroMQ counts messages, not bytes
 *   HANDSHAKE_IVL 5 s
 * Binding sockets
 *   MAXMSGSIZE. Only there: on a connecting socket an oversized frame ends the connection for good
 * Connecting sockets
 *   reconnect after 100 ms, doubling up to 1 s; CONNECT_TIMEOUT 3 s
 *   ZMTP heartbeat every 10 s, time-out 30 s, TTL 60 s: finds dead TCP, also for the binding
 *   side by its TTL. Slow on purpose: it cuts connections whose reader is busy, and each ping
 *   wakes two processes. Liveness of a peer is told by messages of our own.
 * ROUTER
 *   MANDATORY: a reply to nobody is an error that can be counted, not silence
 * DEALER
 *   IMMEDIATE: a queue lives exactly as long as its connection. Without it, requests of before a
 *   partition would be delivered after it, long after their senders gave up
 *
 * Signals are not ZeroMQ's: CZMQ is kept from installing its handlers and from reading ZSYS_*
 * variables. Its list of open sockets is used: one that is left open at env_zmq_stop is named with
 * the place that opened it. */
#ifndef TIDAL_COMMON_ENV_ENV_ZMQ_H
#define TIDAL_COMMON_ENV_ENV_ZMQ_H

#include "common/base/err.h"

#include <stdint.h>
#include <zmq.h>

/* Once per process, before any other thread and any other use of ZeroMQ or CZMQ. Raises the limit
 * of open files. errs ERR_FULL the limit of open files is too low; the text says how to raise it */
err_t env_zmq_start(errbuf_t *errbuf);
/* All sockets must be closed. Blocks up to SOCKET_LINGER_MS. */
void env_zmq_stop(void);

typedef enum { ENV_ZMQ_BIND, ENV_ZMQ_CONNECT } env_zmq_side_t;

typedef struct {
    int type; /* ZMQ_ROUTER, ZMQ_DEALER, ZMQ_PUB, ZMQ_SUB, ZMQ_PAIR */
    env_zmq_side_t side;
    uint32_t queue_count;   /* messages per peer and direction; env_zmq_queue_count */
    int64_t frame_size_max; /* of a binding side; a peer that sends a larger frame is cut off */
} env_zmq_options_t;

/* How many messages of this size a byte budget holds, within SOCKET_QUEUE_COUNT_MIN..MAX. */
uint32_t env_zmq_queue_count(uint64_t budget_bytes, uint64_t message_size_bytes);

/* Returns owned. Running out of sockets is a CHECK: their number is bounded by the topology. */
void *env_zmq_socket_new(const env_zmq_options_t *options);
/* Nulls, accepts NULL. */
void env_zmq_socket_close(void **socket_p);

/* errs ERR_LOCKED another process holds the port: the text names it if it can be found, and says
 * what to do · ERR_INVALID no address of this host, or no endpoint at all · ERR_IO */
err_t env_zmq_bind(void *socket, const char *endpoint, errbuf_t *errbuf);
/* Returns at once; the connection is made, and made again, in the background.
 * errs ERR_INVALID no endpoint */
err_t env_zmq_connect(void *socket, const char *endpoint, errbuf_t *errbuf);

/* Where the socket is bound, with the port that a wildcard got.
 * out ret_endpoint  terminated; needs ENDPOINT_SIZE_MAX bytes */
void env_zmq_last_endpoint(void *socket, char *ret_endpoint);

void env_zmq_set_int(void *socket, int option, int value);

#endif
