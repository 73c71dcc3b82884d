#include "common/signal/ledger_state.h"

/* -- items and cells --------------------------------------------------------------------------- */

uint32_t ledger_item_count(const ledger_t *self)
{
    return self->items.count;
}

const ledger_item_t *ledger_item(const ledger_t *self, uint32_t row)
{
    return ledger_item_row(self, row);
}

uint32_t ledger_find_item(const ledger_t *self, item_id_t item)
{
    return ledger_find_item_hashed(self, item.value, index_hash(item.value));
}

const cell_t *ledger_item_cell(const ledger_t *self, const ledger_item_t *item, uint8_t signal)
{
    uint32_t row = ledger_find_cell(self, item, signal);
    return row == 0 ? NULL : ledger_cell_row(self, row);
}

err_t ledger_reader(const ledger_t *self, uint8_t signal, int64_t at_ns, cell_reader_t *ret_reader)
{
    unsigned index = self->signal_index[signal];
    if (index == SIGNAL_UNKNOWN) {
        return ERR_NOT_FOUND;
    }
    cell_reader_init(ret_reader, &self->decays[index], at_ns);
    return ERR_OK;
}

/* The cell of all users, or NULL; ret_clipped, where given, is made false. */
static const cell_t *s_cell(const ledger_t *self, item_id_t item, uint8_t signal, bool *ret_clipped)
{
    if (ret_clipped != NULL) {
        *ret_clipped = false;
    }
    uint32_t row = ledger_find_item(self, item);
    return row == 0 ? NULL : ledger_item_cell(self, ledger_item_row(self, row), signal);
}

double ledger_score(
    const ledger_t *self, item_id_t item, uint8_t signal, int64_t at_ns, bool *ret_clipped)
{
    const cell_t *cell = s_cell(self, item, signal, ret_clipped);
    if (cell == NULL) {
        return 0.0;
    }
    cell_reader_t reader;
    cell_reader_init(&reader, &self->decays[self->signal_index[signal]], at_ns);
    return cell_score(cell, &reader, ret_clipped);
}

uint64_t ledger_count(const ledger_t *self,
                      item_id_t item,
                      uint8_t signal,
                      window_t window,
                      int64_t at_ns,
                      bool *ret_clipped)
{
    const cell_t *cell = s_cell(self, item, signal, ret_clipped);
    return cell == NULL ? 0 : cell_window_count(cell, window, at_ns, ret_clipped);
}

/* -- registers --------------------------------------------------------------------------------- */

err_t ledger_get_item(const ledger_t *self, item_id_t item, ledger_fields_t *ret_fields)
{
    uint32_t row = ledger_find_item(self, item);
    if (row == 0 || (ledger_item_row(self, row)->flags & LEDGER_ITEM_PUT) == 0) {
        return ERR_NOT_FOUND;
    }
    const registers_t *registers = &ledger_item_row(self, row)->named->registers;
    *ret_fields = (ledger_fields_t){.written = registers_written(registers)};
    size_t offset = 0;
    register_view_t view;
    while (registers_next(registers, &offset, &view)) {
        unsigned field = view.name.data[0];
        CHECK(field <= ITEM_FIELD_COUNT_MAX);
        ret_fields->has[field] = true;
        ret_fields->fields[field] = view;
    }
    return ERR_OK;
}

err_t ledger_get_user(const ledger_t *self, user_id_t user, const registers_t **ret_attributes)
{
    uint32_t row = ledger_find_user(self, user);
    const ledger_named_t *named = row == 0 ? NULL : ledger_user_row(self, row)->named;
    if (named == NULL || !registers_exist(&named->registers)) {
        return ERR_NOT_FOUND;
    }
    *ret_attributes = &named->registers;
    return ERR_OK;
}

/* -- hard negatives, seen ---------------------------------------------------------------------- */

static ledger_relation_t s_relation(const relation_row_t *row)
{
    return (ledger_relation_t){(relation_action_t)row->action, row->target, row->set != 0,
                               row->hlc};
}

err_t ledger_get_relation(const ledger_t *self,
                          user_id_t user,
                          relation_action_t action,
                          uint64_t target,
                          ledger_relation_t *ret_relation)
{
    uint32_t row = ledger_find_relation(self, user.value, action, target);
    if (row == 0) {
        return ERR_NOT_FOUND;
    }
    *ret_relation = s_relation(ledger_relation_row(self, row));
    return ERR_OK;
}

uint32_t ledger_find_user(const ledger_t *self, user_id_t user)
{
    return ledger_find_user_hashed(self, user.value, index_hash(user.value));
}

bool ledger_has_seen(const ledger_t *self, uint32_t user_row, uint32_t item_row)
{
    return user_row != 0 && item_row != 0 &&
           seen_count(&self->seen, ledger_seen_key(self, (seen_pair_t){user_row, item_row})) > 0;
}

static bool s_is_set(const ledger_t *self, uint64_t user, relation_action_t action, uint64_t target)
{
    uint32_t row = ledger_find_relation(self, user, action, target);
    return row != 0 && ledger_relation_row(self, row)->set != 0;
}

bool ledger_is_suppressed(const ledger_t *self, uint32_t user_row, const ledger_item_t *item)
{
    if (user_row == 0 || ledger_user_row(self, user_row)->relation_first == 0) {
        return false;
    }
    uint64_t user = ledger_user_row(self, user_row)->user;
    uint64_t creator = item->creator.value;
    return s_is_set(self, user, RELATION_HIDE, item->item.value) ||
           (creator != 0 && (s_is_set(self, user, RELATION_MUTE, creator) ||
                             s_is_set(self, user, RELATION_BLOCK, creator)));
}

/* -- totals ------------------------------------------------------------------------------------ */

static uint64_t s_list_size(const changed_t *changed)
{
    return changed->digest.capacity + changed->checkpoint.capacity + changed->pending.capacity;
}

static uint64_t s_memory(const ledger_t *self)
{
    uint64_t size = sizeof(*self) + self->named_size_bytes + seen_size_bytes(&self->seen);
    size += self->items.size_bytes + self->cells.size_bytes + self->cell_hashes.size_bytes;
    size += self->users.size_bytes + self->relations.size_bytes;
    size += index_size_bytes(&self->item_index) + index_size_bytes(&self->user_index) +
            index_size_bytes(&self->relation_index);
    size += ledger_cohorts_size(self);
    size += self->memory.size_bytes + self->seen_changed.capacity + self->seen_pending.capacity +
            self->scratch.capacity;
    for (unsigned part = 0; part < SEEN_PART_COUNT; part++) {
        size += self->seen_chunks[part].capacity;
    }
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        size += s_list_size(&self->changed[kind]);
    }
    return size;
}

void ledger_totals(const ledger_t *self, ledger_totals_t *ret_totals)
{
    *ret_totals = (ledger_totals_t){.signals = self->event_count,
                                    .cells = self->cells.count,
                                    .cohort_cells = self->cohort_cells.count,
                                    .items = self->item_count,
                                    .users = self->user_count,
                                    .item_rows = self->items.count,
                                    .relations = self->relations.count,
                                    .seen_pairs = self->seen.pair_count,
                                    .memory_bytes = s_memory(self)};
}
