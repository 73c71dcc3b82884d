/* Reads a loaded history back from a region and holds it against the truth: every score and count
 * of every item, and every pair that was ever hidden. */
#ifndef TIDAL_SERVICES_TIDALCTL_LOAD_CHECK_H
#define TIDAL_SERVICES_TIDALCTL_LOAD_CHECK_H

#include "services/tidalctl/ctl_client.h"
#include "services/tidalctl/load_truth.h"

typedef struct {
    ctl_client_t *client;
    process_address_t gateway;
    const char *tenant; /* NULL: not sent */
    int64_t at_ns;
    const load_truth_t *truth; /* settled at at_ns */
    const load_plan_t *plan;
    int64_t wait_ms; /* until the region has it all */
} load_check_t;

typedef struct {
    uint64_t cells;
    uint64_t counts;
    uint64_t relations;
    double worst_error; /* of a score, relative to its size or to 1 */
} load_checked_t;

/* errs ERR_CONFLICT a difference, the text names it · ERR_UNREACHABLE, ERR_TIMEOUT no answer ·
 *      ERR_INVALID the gateway refused */
err_t load_check(const load_check_t *check, load_checked_t *ret_checked, errbuf_t *errbuf);

#endif
