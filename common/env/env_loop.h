/* The one loop of a process: one thread, one epoll, no lock.
 *
 * One turn
 *   1. sleep until a source is ready or a deadline is due (no wake-ups of its own)
 *   2. read the clock, once; everything in the turn sees this now_t
 *   3. plain file descriptors (level-triggered), signals among them
 *   4. ZeroMQ sockets that may have input, round robin, at most batch_count_max messages each
 *   5. timers, then on_deadline
 *   6. on_turn_end: all input of the turn was taken. Group commit hangs here: what arrived
 *      during the last sync is the next group
 *   7. look again at every socket that was used
 *
 * ZeroMQ and epoll. The descriptor of a socket (ZMQ_FD) tells that its mailbox has commands, not
 * that it has messages, and any call on the socket may take the commands out and so hide a message
 * from epoll. Three rules keep that safe here:
 *   1. all sends and receives go through env_source_send and env_source_receive, which note the
 *      socket as used;
 *   2. before the loop sleeps it reads ZMQ_EVENTS of every used socket, which empties the
 *      mailbox (as a receive that finds nothing does, when nothing was done after it); one with
 *      input goes to the next turn and the loop does not sleep;
 *   3. a socket that epoll reports is read until it is empty or its share is used up.
 * A turn costs O(sockets used in it), whatever the number of sockets.
 *
 * Callbacks may add and remove sources and timers, their own included. */
#ifndef TIDAL_COMMON_ENV_ENV_LOOP_H
#define TIDAL_COMMON_ENV_ENV_LOOP_H

#include "common/base/err.h"
#include "common/base/seam.h"
#include "common/env/env_timers.h"

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

typedef struct env_loop env_loop_t;
typedef struct env_source env_source_t;

/* All may be NULL or 0. */
typedef struct {
    void *context;
    void (*on_turn_end)(void *context, now_t now);
    /* Deadline of the application's core, mono_ns; INT64_MAX none. Asked before each sleep. */
    int64_t (*next_deadline_ns)(void *context);
    /* Called in each turn at or after that deadline. */
    void (*on_deadline)(void *context, now_t now);
    uint32_t batch_count_max; /* messages that one socket gives per turn; 0: LOOP_BATCH_COUNT_MAX */
} env_loop_options_t;

/* Takes one message. ERR_AGAIN: there was none; anything else: there may be another one. */
typedef err_t (*env_loop_take_fn)(void *context);
typedef void (*env_loop_fd_fn)(void *context);
typedef void (*env_loop_signal_fn)(void *context, int signal_number);

/* Returns owned. Running out of descriptors is a CHECK: their number is checked at the start. */
env_loop_t *env_loop_new(const env_loop_options_t *options);
/* All sources and timers must be gone. */
void env_loop_destroy(env_loop_t **self_p);

/* Replaces the callbacks; for owners that are made after the loop, which are for tests. */
void env_loop_set_options(env_loop_t *self, const env_loop_options_t *options);

/* -- sources ----------------------------------------------------------------------------------- */

/* Borrows the socket until env_source_remove, which must come before the socket is closed.
 * in take  called while there may be input */
env_source_t *env_loop_add_socket(env_loop_t *self,
                                  void *zmq_socket,
                                  env_loop_take_fn take,
                                  void *context);
/* Called once per turn while the descriptor is readable. Borrows fd until env_source_remove. */
env_source_t *env_loop_add_fd(env_loop_t *self, int fd, env_loop_fd_fn readable, void *context);
/* Nulls. */
void env_source_remove(env_source_t **self_p);

/* zmq_msg_send and zmq_msg_recv with ZMQ_DONTWAIT. Return 0, or -1 with errno as ZeroMQ sets it; an
 * interrupted call is repeated. A send that finds a queue full looks once for room that the peer
 * may have given back in between. */
int env_source_send(env_source_t *self, zmq_msg_t *msg, int flags);
int env_source_receive(env_source_t *self, zmq_msg_t *msg);
/* env_source_send of a copy. */
int env_source_send_bytes(env_source_t *self, const void *bytes, size_t size, int flags);

/* -- signals ----------------------------------------------------------------------------------- */

/* SIGTERM and SIGINT are blocked and SIGPIPE is ignored, in this thread and those that it starts.
 * Before any other thread. */
void env_loop_block_signals(void);
/* SIGTERM and SIGINT, blocked before, arrive here within a turn. At most once per loop. */
void env_loop_on_signals(env_loop_t *self, env_loop_signal_fn callback, void *context);

/* -- time and running -------------------------------------------------------------------------- */

env_timers_t *env_loop_timers(env_loop_t *self);
/* Of this turn; outside of turns of the last one, and of the start before the first. */
now_t env_loop_now(const env_loop_t *self);

/* Turns until env_loop_stop. */
void env_loop_run(env_loop_t *self);
/* One turn that sleeps at most wait_ms; for tests. */
void env_loop_turn(env_loop_t *self, int wait_ms);
/* env_loop_run returns at the end of this turn. */
void env_loop_stop(env_loop_t *self);

typedef struct {
    uint64_t turns;
    uint64_t messages;          /* taken from sockets */
    uint64_t batches_cut_short; /* a socket had more than its share */
    uint64_t longest_turn_ns;   /* from after the sleep to the end */
} env_loop_counts_t;

env_loop_counts_t env_loop_counts(const env_loop_t *self);

#endif
