/* The analytic truth of a history: what every score and count must be, worked out from the events
 * themselves with the formulas of the design (section 8) and the mathematics library of this
 * machine, and nothing of the mesh's own arithmetic. For comparison to about 12 digits. */
#ifndef TIDAL_SERVICES_TIDALCTL_LOAD_TRUTH_H
#define TIDAL_SERVICES_TIDALCTL_LOAD_TRUTH_H

#include "common/topology/schema.h"
#include "services/tidalctl/load_plan.h"

#include <stdio.h>

/* One (item, signal type). */
typedef struct {
    uint64_t item;
    load_type_t type;
    double score;
    uint64_t counts[WINDOW_COUNT]; /* by window_t */
} load_cell_t;

typedef struct load_truth load_truth_t;

load_truth_t *load_truth_new(void);
void load_truth_destroy(load_truth_t **self_p);
void load_truth_add(load_truth_t *self, const history_event_t *event);

/* Works out every cell at this event time; no events are added afterwards.
 * errs ERR_NOT_FOUND the schema has no view, like or skip */
err_t load_truth_settle(load_truth_t *self,
                        const schema_t *schema,
                        int64_t at_ns,
                        errbuf_t *errbuf);
/* Ascending by item, then type; borrowed until destroy. */
const load_cell_t *load_truth_cells(const load_truth_t *self, size_t *ret_count);

/* One JSON object: at, name, totals, cells, hidden. errs ERR_IO */
err_t load_truth_write(const load_truth_t *self,
                       const load_plan_t *plan,
                       const char *name,
                       FILE *out,
                       errbuf_t *errbuf);

#endif
