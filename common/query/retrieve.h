/* Ranking of one shard (design section 8): which items fit, what each scores, the best of them.
 *
 * A function of the ledger's content and the request alone: items are visited in whatever order the
 * ledger has them, and neither scores nor order depend on it. Terms are summed in the order of the
 * request, so equal replicas give equal bits. A score that leaves the range of a double is put at
 * its end; one that is no number counts as 0.
 *
 * Signals of a session (request.session) count for this answer as if they were in the cells of
 * their items: an item that has nothing else is a candidate by them, and `unseen`
 * leaves them all out. */
#ifndef TIDAL_COMMON_QUERY_RETRIEVE_H
#define TIDAL_COMMON_QUERY_RETRIEVE_H

#include "common/signal/ledger.h"
#include "common/wire/msg.h"

typedef struct {
    uint32_t ranked_count;
    const msg_ranked_t *ranked; /* best first, equal scores by ascending item */
    uint64_t candidate_count;   /* items that were looked at */
    uint64_t filtered_count;    /* of those, left out: hidden, muted, seen, or not what was asked */
} retrieve_result_t;

typedef struct retrieve retrieve_t;

/* Working memory, reused from request to request. */
retrieve_t *retrieve_new(void);
void retrieve_destroy(retrieve_t **self_p);

/* out ret_result  lives until the next run, and its slices until the next change of the ledger
 * errs ERR_NOT_FOUND a term names a signal that the schema does not have · ERR_INVALID a term or
 *      limit out of range: what was expected and found
 * cost about 100 ns per candidate and term */
err_t retrieve_run(retrieve_t *self,
                   const ledger_t *ledger,
                   const msg_read_retrieve_t *request,
                   int64_t at_ns,
                   retrieve_result_t *ret_result,
                   errbuf_t *errbuf);

/* Scores and counts of many cells, item-major in the order asked; unknown ones are zeros.
 * out ret_cells  room for items x signals
 * errs ERR_NOT_FOUND a signal that the schema does not have · ERR_INVALID a window that is none */
err_t retrieve_cells(const ledger_t *ledger,
                     const msg_read_cells_t *request,
                     int64_t at_ns,
                     msg_cell_t *ret_cells,
                     errbuf_t *errbuf);

#endif
