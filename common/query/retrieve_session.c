#include "common/query/retrieve_session.h"

#include "common/base/check.h"

#include <stdlib.h>
#include <string.h>

static void s_clear(retrieve_session_t *self)
{
    retrieve_session_cell_t *cells = (retrieve_session_cell_t *)(void *)self->cells.data;
    for (uint32_t i = 0; i < retrieve_session_count(self); i++) {
        cell_done(&cells[i].cell, &self->memory);
    }
    buffer_clear(&self->cells);
    buffer_clear(&self->order);
}

void retrieve_session_done(retrieve_session_t *self)
{
    s_clear(self);
    buffer_done(&self->cells);
    buffer_done(&self->order);
}

static int s_compare(const void *a_bytes, const void *b_bytes)
{
    const msg_session_signal_t *a = a_bytes;
    const msg_session_signal_t *b = b_bytes;
    if (a->item.value != b->item.value) {
        return a->item.value < b->item.value ? -1 : 1;
    }
    return (a->signal_id > b->signal_id) - (a->signal_id < b->signal_id);
}

/* How the signal's type decays. errs ERR_NOT_FOUND, ERR_INVALID */
static err_t s_check(const ledger_t *ledger,
                     const msg_session_signal_t *signal,
                     decay_t *ret_decay,
                     errbuf_t *errbuf)
{
    const double weight_max = 1e9; /* a NaN fails both comparisons */
    cell_reader_t reader;
    if (!(signal->weight >= -weight_max && signal->weight <= weight_max) || signal->ts_ns < 0) {
        errbuf_set(errbuf, "session: expected weights of -1e9..1e9 and times since 1970");
        return ERR_INVALID;
    }
    if (ledger_reader(ledger, signal->signal_id, 0, &reader) != ERR_OK) {
        errbuf_set(errbuf, "session: expected a signal id of the schema, found %u",
                   (unsigned)signal->signal_id);
        return ERR_NOT_FOUND;
    }
    *ret_decay = *reader.decay;
    return ERR_OK;
}

/* Of the cells made so far the last one, when it is this one's; else a new one. */
static cell_t *s_require_cell(retrieve_session_t *self, const msg_session_signal_t *signal)
{
    retrieve_session_cell_t *cells = (retrieve_session_cell_t *)(void *)self->cells.data;
    uint32_t count = retrieve_session_count(self);
    if (count > 0 && cells[count - 1].item.value == signal->item.value &&
        cells[count - 1].cell.signal == signal->signal_id) {
        return &cells[count - 1].cell;
    }
    retrieve_session_cell_t *cell =
        (retrieve_session_cell_t *)(void *)buffer_extend(&self->cells, sizeof(*cell));
    memset(cell, 0, sizeof(*cell));
    cell->item = signal->item;
    cell_init(&cell->cell, 0, signal->signal_id);
    return &cell->cell;
}

err_t retrieve_session_begin(retrieve_session_t *self,
                             const ledger_t *ledger,
                             const msg_read_retrieve_t *request,
                             errbuf_t *errbuf)
{
    s_clear(self);
    if (request->session_count == 0) {
        return ERR_OK;
    }
    buffer_append(&self->order, request->session,
                  request->session_count * sizeof(*request->session));
    msg_session_signal_t *signals = (msg_session_signal_t *)(void *)self->order.data;
    /* Sums do not depend on the order of equal ones. */
    qsort(signals, request->session_count, sizeof(*signals), s_compare);
    for (uint32_t i = 0; i < request->session_count; i++) {
        decay_t decay;
        err_t err = s_check(ledger, &signals[i], &decay, errbuf);
        if (err != ERR_OK) {
            s_clear(self);
            return err;
        }
        cell_add(s_require_cell(self, &signals[i]), &self->memory, &decay, signals[i].ts_ns,
                 signals[i].weight);
    }
    return ERR_OK;
}

const retrieve_session_cell_t *retrieve_session_at(const retrieve_session_t *self, uint32_t i)
{
    CHECK(i < retrieve_session_count(self));
    return (const retrieve_session_cell_t *)(const void *)self->cells.data + i;
}

/* The first cell at or behind (item, signal); the count when there is none. */
static uint32_t s_lower_bound(const retrieve_session_t *self, item_id_t item, uint8_t signal)
{
    uint32_t low = 0;
    uint32_t high = retrieve_session_count(self);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const retrieve_session_cell_t *at = retrieve_session_at(self, middle);
        bool is_before = at->item.value < item.value ||
                         (at->item.value == item.value && at->cell.signal < signal);
        low = is_before ? middle + 1 : low;
        high = is_before ? high : middle;
    }
    return low;
}

const cell_t *retrieve_session_cell(const retrieve_session_t *self, item_id_t item, uint8_t signal)
{
    uint32_t place = s_lower_bound(self, item, signal);
    if (place == retrieve_session_count(self)) {
        return NULL;
    }
    const retrieve_session_cell_t *at = retrieve_session_at(self, place);
    return at->item.value == item.value && at->cell.signal == signal ? &at->cell : NULL;
}

bool retrieve_session_has(const retrieve_session_t *self, item_id_t item)
{
    uint32_t place = s_lower_bound(self, item, 0);
    return place < retrieve_session_count(self) &&
           retrieve_session_at(self, place)->item.value == item.value;
}
