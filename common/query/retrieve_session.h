/* The signals of a session that count for one answer: a cell for each (item, signal type) that they
 * name, made for the time of the answer, in which they decay and fall into windows exactly as they
 * would in the item's own cell. */
#ifndef TIDAL_COMMON_QUERY_RETRIEVE_SESSION_H
#define TIDAL_COMMON_QUERY_RETRIEVE_SESSION_H

#include "common/signal/ledger.h"
#include "common/wire/msg.h"

typedef struct {
    item_id_t item;
    cell_t cell;
} retrieve_session_cell_t;

/* Zeroed memory is one without cells. Memory is kept from answer to answer. */
typedef struct {
    memory_t memory; /* of the cells' tails */
    buffer_t cells;  /* retrieve_session_cell_t, ascending by item and signal */
    buffer_t order;  /* msg_session_signal_t, the same */
} retrieve_session_t;

/* Makes the cells of a request; those of the request before are gone.
 * errs ERR_NOT_FOUND a signal that the schema does not have · ERR_INVALID a weight or time out of
 *      range. There are no cells then */
err_t retrieve_session_begin(retrieve_session_t *self,
                             const ledger_t *ledger,
                             const msg_read_retrieve_t *request,
                             errbuf_t *errbuf);
/* Frees; empties. */
void retrieve_session_done(retrieve_session_t *self);

static inline uint32_t retrieve_session_count(const retrieve_session_t *self)
{
    return (uint32_t)(self->cells.size / sizeof(retrieve_session_cell_t));
}

/* in i  below the count */
const retrieve_session_cell_t *retrieve_session_at(const retrieve_session_t *self, uint32_t i);
/* NULL: the session has no such signal. */
const cell_t *retrieve_session_cell(const retrieve_session_t *self, item_id_t item, uint8_t signal);
/* Whether the session has any signal of the item. */
bool retrieve_session_has(const retrieve_session_t *self, item_id_t item);

#endif
