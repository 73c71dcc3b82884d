/* One request of the client protocol from a command: built, sent, its reply printed. */
#ifndef TIDAL_SERVICES_TIDALCTL_ASK_H
#define TIDAL_SERVICES_TIDALCTL_ASK_H

#include "common/wire/client_reply.h"
#include "services/tidalctl/ctl.h"

typedef struct {
    pack_writer_t writer;
    buffer_t body;
    ctl_ask_t ask;
    buffer_t reply;
    ctl_client_t *client;
} ask_t;

/* Opens the request: op, id and the tenant of the command line; the caller writes its fields to
 * self->writer. Call ask_done also after an error.
 * errs those of ctl_connect */
err_t ask_begin(ask_t *self, ctl_t *ctl, const char *op, process_address_t to, errbuf_t *errbuf);

/* Sends it and waits; self->reply is then a checked reply.
 * in timeout_ms  0: what --timeout-ms says, else the topology's for commands
 * errs ERR_UNREACHABLE, ERR_TIMEOUT no answer · ERR_CORRUPT no reply of the protocol */
err_t ask_send(ask_t *self, ctl_t *ctl, int64_t timeout_ms, errbuf_t *errbuf);

/* What the error of a reply says, on standard error; JSON goes to standard output as it is.
 * Returns the exit status. */
int ask_print(const ctl_t *ctl, slice_t reply);
/* Only the error, if there is one; the status tells. */
int ask_check(const ctl_t *ctl, slice_t reply);

/* begin, send and print of a request without fields. */
int ask_simple(ctl_t *ctl, const char *op, process_address_t to);

void ask_done(ask_t *self);

#endif
