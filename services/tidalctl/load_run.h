/* Carries the requests of a plan to a gateway: many at a time, again and again until each is ok.
 *
 *   queued ----> sent ----> done        sent -> queued: the connection was lost, the answer did not
 *     ^           |                     come, or it was an error that may pass
 *     +-----------+
 *
 * Sending a request again is harmless, since each carries (producer, seq). The run ends with the
 * first answer that will not change, or after give_up_ms without any request done. */
#ifndef TIDAL_SERVICES_TIDALCTL_LOAD_RUN_H
#define TIDAL_SERVICES_TIDALCTL_LOAD_RUN_H

#include "services/tidalctl/ctl_client.h"
#include "services/tidalctl/load_plan.h"

enum { LOAD_IN_FLIGHT_MAX = 1024 };

typedef struct {
    ctl_client_t *client; /* borrowed */
    process_address_t gateway;
    uint32_t in_flight_max; /* requests sent and not answered, 1..LOAD_IN_FLIGHT_MAX */
    uint32_t timeout_ms;    /* of a request; it is sent again a little later */
    uint32_t give_up_ms;
} load_run_options_t;

typedef struct {
    uint64_t requests_done;
    uint64_t signals_done;
    uint64_t items_done;
    uint64_t relations_done;
    uint64_t signals_duplicate; /* of those done, what was there already */
    uint64_t items_duplicate;
    uint64_t relations_duplicate;
    uint64_t retries; /* requests sent again */
    uint64_t reconnects;
} load_run_totals_t;

typedef struct load_run load_run_t;

/* errs those of ctl_client_open */
err_t load_run_new(const load_run_options_t *options, load_run_t **ret_run, errbuf_t *errbuf);
void load_run_destroy(load_run_t **self_p);

/* Takes a copy of the request to the end of the queue. */
void load_run_add(load_run_t *self, const load_request_t *request);
/* Whether there is room for more: fewer queued than go in flight. */
bool load_run_wants_more(const load_run_t *self);
/* Requests that are not done. */
size_t load_run_left(const load_run_t *self);

/* Sends what may be sent and takes what arrived; waits at most wait_ms for something to happen.
 * errs ERR_INVALID an answer that will not change · ERR_TIMEOUT nothing got done for give_up_ms;
 * the text says what the last answer was, and where in the history */
err_t load_run_turn(load_run_t *self, int wait_ms, errbuf_t *errbuf);
const load_run_totals_t *load_run_totals(const load_run_t *self);
/* The last error of a request that will be sent again; empty when none came since the last ok. */
const char *load_run_trouble(const load_run_t *self);

/* What an answer says of a request; for load_run and its tests. */
typedef enum { LOAD_ANSWER_OK, LOAD_ANSWER_AGAIN, LOAD_ANSWER_NEVER } load_verdict_t;
typedef struct {
    load_verdict_t verdict;
    uint64_t duplicate_count;     /* of the request's signals, items or relations */
    uint32_t retry_after_ms;      /* 0: nothing said */
    char text[ERRBUF_SIZE_BYTES]; /* of the error */
} load_answer_t;
/* in reply  checked by pack_check; count  of the request */
void load_answer_read(slice_t reply, uint32_t count, load_answer_t *ret_answer);

#endif
