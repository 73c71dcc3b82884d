/* The verbs: one request to the keeper of a process, its answer printed as one line. */
#ifndef TIDAL_SERVICES_KEEPER_KEEPER_CLIENT_H
#define TIDAL_SERVICES_KEEPER_KEEPER_CLIENT_H

#include "common/base/err.h"

#include <stdbool.h>

typedef enum {
    KEEPER_VERB_STATUS = 0,
    KEEPER_VERB_KILL = 1,
    KEEPER_VERB_RELEASE = 2,
    KEEPER_VERB_STOP = 3
} keeper_verb_t;

typedef struct {
    keeper_verb_t verb;
    const char *run;
    const char *name;  /* NULL: every process of the run folder (status alone) */
    int signal_number; /* of kill */
    bool hold;         /* of kill */
} keeper_order_t;

/* `KILL`, `SIGKILL` or `9`. errs ERR_INVALID */
err_t keeper_signal_parse(const char *text, int *ret_signal_number);

/* Prints the answer; returns the exit status. A stop returns when the keeper has ended, a KILL that
 * holds returns when the process is held; both are bounded. */
int keeper_client_run(const keeper_order_t *order);

#endif
