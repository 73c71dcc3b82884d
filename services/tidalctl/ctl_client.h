/* The connections of one run: a DEALER to each process that is asked, made when it is first needed,
 * straight to the process and around the partition proxy.
 *
 * Nothing is sent to a process before its connection stands, so that a request is either in a live
 * connection or known not to be sent. */
#ifndef TIDAL_SERVICES_TIDALCTL_CTL_CLIENT_H
#define TIDAL_SERVICES_TIDALCTL_CTL_CLIENT_H

#include "common/base/bytes.h"
#include "common/base/seam.h"
#include "common/topology/topology.h"

typedef struct ctl_client ctl_client_t;

/* One reply, as it came. reply lives until the callback returns. */
typedef void (*ctl_reply_fn)(void *context, slice_t reply);

/* in topology  borrowed until destroy. errs ERR_FULL the limit of open files is too low */
err_t ctl_client_new(const topology_t *topology, ctl_client_t **ret_client, errbuf_t *errbuf);
/* Nulls; NULL is allowed. */
void ctl_client_destroy(ctl_client_t **self_p);

/* Ids of questions begin here: what a stream of requests numbers from 1 never meets them. */
#define CTL_CLIENT_ID_FIRST ((uint64_t)1 << 48)
uint64_t ctl_client_next_id(ctl_client_t *self);

/* -- question and answer ----------------------------------------------------------------------- */

typedef enum {
    CTL_ASK_WAITING = 0,
    CTL_ASK_ANSWERED = 1,
    CTL_ASK_NO_CONNECTION = 2, /* was never sent */
    CTL_ASK_NO_ANSWER = 3,     /* in time */
    CTL_ASK_LOST = 4 /* the connection ended before the answer: done or not, nobody knows */
} ctl_ask_state_t;

/* One question. Zero all but what is set here. */
typedef struct {
    process_address_t to;
    uint64_t id;     /* of the request, from ctl_client_next_id */
    slice_t request; /* whole body; borrowed until ctl_client_ask returns */
    bool repeatable; /* is asked again when the connection is lost */
    /* out */
    ctl_ask_state_t state;
    buffer_t reply;         /* when answered; the caller calls buffer_done */
    uint64_t sent_connects; /* of the connection that it was sent on */
} ctl_ask_t;

/* Asks all at once and waits for all answers, at most timeout_ms. Without any connection to a
 * process its question is given up after CTL_CONNECT_MS. */
enum { CTL_CONNECT_MS = 2000 };
void ctl_client_ask(ctl_client_t *self, ctl_ask_t *asks, uint32_t count, int64_t timeout_ms);

/* One question whose failure is an error with a text for people; ret_reply is appended to.
 * errs ERR_UNREACHABLE, ERR_TIMEOUT */
err_t ctl_client_ask_one(
    ctl_client_t *self, ctl_ask_t *ask, int64_t timeout_ms, buffer_t *ret_reply, errbuf_t *errbuf);
/* What became of an ask, for people; without the name of the process. */
void ctl_client_describe(const ctl_client_t *self, const ctl_ask_t *ask, errbuf_t *ret_text);

/* -- a stream of requests ---------------------------------------------------------------------- */

/* Replies from now on come here; NULL: they are dropped. */
void ctl_client_on_reply(ctl_client_t *self, ctl_reply_fn on_reply, void *context);
/* errs ERR_INVALID, ERR_NOT_FOUND the topology has no such process */
err_t ctl_client_open(ctl_client_t *self, process_address_t to, errbuf_t *errbuf);
/* To a process that was opened. errs ERR_FULL later · ERR_UNREACHABLE */
err_t ctl_client_send(ctl_client_t *self, process_address_t to, slice_t body);
/* Rises with every connection made; what was sent before and not answered is lost. 0: none yet. */
uint64_t ctl_client_connects(const ctl_client_t *self, process_address_t to);
bool ctl_client_is_up(const ctl_client_t *self, process_address_t to);
/* Takes what arrived; waits at most wait_ms for something to happen. Returns the time. */
now_t ctl_client_turn(ctl_client_t *self, int wait_ms);

#endif
