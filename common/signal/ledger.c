#include "common/signal/ledger_state.h"

#include <stdlib.h>
#include <xxhash.h>

/* The cells of an item by signal index: in its row where they fit, else in a block that the first
 * cell creates. */
static size_t s_cells_size(const ledger_t *self)
{
    return self->signal_count * sizeof(uint32_t);
}

/* -- life -------------------------------------------------------------------------------------- */

ledger_t *ledger_new(const schema_t *schema)
{
    CHECK(schema->signal_count >= 1);
    CHECK(schema->signal_count <= SIGNAL_TYPE_COUNT_MAX);
    ledger_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    (void)memset(self->signal_index, SIGNAL_UNKNOWN, sizeof(self->signal_index));
    self->signal_count = schema->signal_count;
    for (uint32_t i = 0; i < schema->signal_count; i++) {
        CHECK(self->signal_index[schema->signals[i].id] == SIGNAL_UNKNOWN);
        self->signal_index[schema->signals[i].id] = (uint8_t)i;
        decay_init(&self->decays[i], schema->signals[i].half_life_s);
    }
    rows_init(&self->items, sizeof(ledger_item_t));
    rows_init(&self->cells, sizeof(cell_t));
    rows_init(&self->cell_hashes, sizeof(uint128_t));
    rows_init(&self->users, sizeof(user_row_t));
    rows_init(&self->relations, sizeof(relation_row_t));
    index_init(&self->item_index);
    index_init(&self->user_index);
    index_init(&self->relation_index);
    ledger_cohorts_init(self);
    seen_init(&self->seen);
    ledger_invariant(self);
    return self;
}

void ledger_invariant(const ledger_t *self)
{
    CHECK(self->cells.count == self->cell_hashes.count);
    CHECK(self->items.count == self->item_index.count);
    CHECK(self->users.count == self->user_index.count);
    CHECK(self->relations.count == self->relation_index.count);
    CHECK(self->cohorts.count == self->cohort_index.count);
    CHECK(self->cohort_cells.count == self->cohort_cell_index.count);
    CHECK(self->item_count <= self->items.count);
    CHECK(self->user_count <= self->users.count);
    CHECK(self->changed[KIND_CELL].digest.size <= self->cells.count * sizeof(uint32_t));
    CHECK(self->changed[KIND_COHORT_CELL].digest.size <=
          self->cohort_cells.count * sizeof(uint32_t));
}

static void s_free_named(ledger_named_t *named)
{
    if (named != NULL) {
        registers_done(&named->registers);
        free(named);
    }
}

void ledger_destroy(ledger_t **self_p)
{
    ledger_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t row = 1; row <= self->items.count; row++) {
        ledger_item_t *item = ledger_item_row(self, row);
        s_free_named(item->named);
        if (self->signal_count > SIGNAL_INLINE_COUNT) {
            memory_give(&self->memory, item->cells.rows, s_cells_size(self));
        }
    }
    for (uint32_t row = 1; row <= self->cells.count; row++) {
        cell_done(ledger_cell_row(self, row), &self->memory);
    }
    for (uint32_t row = 1; row <= self->users.count; row++) {
        s_free_named(ledger_user_row(self, row)->named);
    }
    ledger_cohorts_done(self);
    CHECK(self->memory.size_bytes == 0);
    rows_done(&self->items);
    rows_done(&self->cells);
    rows_done(&self->cell_hashes);
    rows_done(&self->users);
    rows_done(&self->relations);
    index_done(&self->item_index);
    index_done(&self->user_index);
    index_done(&self->relation_index);
    seen_done(&self->seen);
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        buffer_done(&self->changed[kind].digest);
        buffer_done(&self->changed[kind].checkpoint);
        buffer_done(&self->changed[kind].pending);
    }
    buffer_done(&self->seen_changed);
    buffer_done(&self->seen_pending);
    for (unsigned part = 0; part < SEEN_PART_COUNT; part++) {
        buffer_done(&self->seen_chunks[part]);
    }
    buffer_done(&self->scratch);
    free(self);
    *self_p = NULL;
}

/* -- rows by number ---------------------------------------------------------------------------- */

ledger_item_t *ledger_item_row(const ledger_t *self, uint32_t row)
{
    CHECK(row - 1 < self->items.count);
    return rows_at(&self->items, row);
}

cell_t *ledger_cell_row(const ledger_t *self, uint32_t row)
{
    CHECK(row - 1 < self->cells.count);
    return rows_at(&self->cells, row);
}

user_row_t *ledger_user_row(const ledger_t *self, uint32_t row)
{
    CHECK(row - 1 < self->users.count);
    return rows_at(&self->users, row);
}

relation_row_t *ledger_relation_row(const ledger_t *self, uint32_t row)
{
    CHECK(row - 1 < self->relations.count);
    return rows_at(&self->relations, row);
}

/* -- rows by key ------------------------------------------------------------------------------- */

uint32_t ledger_find_item_hashed(const ledger_t *self, uint64_t item, uint64_t hash)
{
    index_cursor_t cursor = index_find(&self->item_index, hash);
    uint32_t row = index_next(&self->item_index, &cursor);
    while (row != 0 && ledger_item_row(self, row)->item.value != item) {
        row = index_next(&self->item_index, &cursor);
    }
    return row;
}

uint32_t ledger_require_item(ledger_t *self, uint64_t item, uint64_t hash)
{
    uint32_t row = ledger_find_item_hashed(self, item, hash);
    if (row == 0) {
        row = rows_append(&self->items);
        index_insert(&self->item_index, hash, row);
        ledger_item_row(self, row)->item.value = item;
    }
    return row;
}

uint32_t ledger_find_user_hashed(const ledger_t *self, uint64_t user, uint64_t hash)
{
    index_cursor_t cursor = index_find(&self->user_index, hash);
    uint32_t row = index_next(&self->user_index, &cursor);
    while (row != 0 && ledger_user_row(self, row)->user != user) {
        row = index_next(&self->user_index, &cursor);
    }
    return row;
}

uint32_t ledger_require_user(ledger_t *self, uint64_t user, uint64_t hash)
{
    uint32_t row = ledger_find_user_hashed(self, user, hash);
    if (row == 0) {
        row = rows_append(&self->users);
        index_insert(&self->user_index, hash, row);
        ledger_user_row(self, row)->user = user;
    }
    return row;
}

static uint64_t s_relation_hash(uint64_t user, relation_action_t action, uint64_t target)
{
    return index_hash(index_hash(user) + target * 4 + (uint64_t)action);
}

uint32_t ledger_find_relation(const ledger_t *self,
                              uint64_t user,
                              relation_action_t action,
                              uint64_t target)
{
    uint64_t hash = s_relation_hash(user, action, target);
    index_cursor_t cursor = index_find(&self->relation_index, hash);
    for (;;) {
        uint32_t row = index_next(&self->relation_index, &cursor);
        if (row == 0) {
            return 0;
        }
        const relation_row_t *relation = ledger_relation_row(self, row);
        if (relation->user == user && relation->target == target && relation->action == action) {
            return row;
        }
    }
}

uint32_t ledger_require_relation(ledger_t *self,
                                 uint64_t user,
                                 relation_action_t action,
                                 uint64_t target)
{
    uint32_t row = ledger_find_relation(self, user, action, target);
    if (row == 0) {
        row = rows_append(&self->relations);
        index_insert(&self->relation_index, s_relation_hash(user, action, target), row);
        uint32_t user_row = ledger_require_user(self, user, index_hash(user));
        user_row_t *owner = ledger_user_row(self, user_row);
        relation_row_t *relation = ledger_relation_row(self, row);
        relation->user = user;
        relation->target = target;
        relation->action = (uint8_t)action;
        relation->next = owner->relation_first;
        owner->relation_first = row;
    }
    return row;
}

static uint32_t *s_cells(const ledger_t *self, ledger_item_t *item)
{
    return self->signal_count <= SIGNAL_INLINE_COUNT ? item->cells.row : item->cells.rows;
}

uint32_t ledger_find_cell(const ledger_t *self, const ledger_item_t *item, uint8_t signal)
{
    unsigned index = self->signal_index[signal];
    if (index == SIGNAL_UNKNOWN) {
        return 0;
    }
    const uint32_t *cells =
        self->signal_count <= SIGNAL_INLINE_COUNT ? item->cells.row : item->cells.rows;
    return cells == NULL ? 0 : cells[index];
}

uint32_t ledger_require_cell(ledger_t *self, uint32_t item_row, uint8_t signal)
{
    unsigned index = self->signal_index[signal];
    CHECK(index != SIGNAL_UNKNOWN);
    ledger_item_t *item = ledger_item_row(self, item_row);
    if (self->signal_count > SIGNAL_INLINE_COUNT && item->cells.rows == NULL) {
        item->cells.rows = memory_take(&self->memory, s_cells_size(self));
        (void)memset(item->cells.rows, 0, s_cells_size(self));
    }
    uint32_t *cells = s_cells(self, item);
    if (cells[index] == 0) {
        cells[index] = rows_append(&self->cells);
        uint32_t hash_row = rows_append(&self->cell_hashes);
        CHECK(hash_row == cells[index]);
        cell_init(ledger_cell_row(self, cells[index]), item_row, signal);
        item->flags |= LEDGER_ITEM_CELLS;
    }
    return cells[index];
}

registers_t *ledger_require_named(ledger_t *self, ledger_named_t **named_p)
{
    if (*named_p == NULL) {
        *named_p = calloc(1, sizeof(**named_p));
        CHECK(*named_p != NULL);
        self->named_size_bytes += sizeof(**named_p);
        registers_init(&(*named_p)->registers);
    }
    return &(*named_p)->registers;
}

/* -- what changed ------------------------------------------------------------------------------ */

void ledger_mark(ledger_t *self, kind_t kind, uint32_t row, uint8_t *marks)
{
    if (*marks == (MARK_DIGEST | MARK_CHECKPOINT)) {
        return;
    }
    changed_t *changed = &self->changed[kind];
    if ((*marks & MARK_DIGEST) == 0) {
        buffer_append(&changed->digest, &row, sizeof(row));
    }
    if ((*marks & MARK_CHECKPOINT) == 0) {
        buffer_append(&changed->checkpoint, &row, sizeof(row));
    }
    *marks = MARK_DIGEST | MARK_CHECKPOINT;
}

void ledger_change_seen(ledger_t *self, seen_key_t key, const signal_event_t *event, int64_t delta)
{
    CHECK(delta == 1 || delta == -1);
    uint128_t hash = ledger_seen_hash(event->user.value, event->item.value);
    self->digest = delta > 0 ? self->digest + hash : self->digest - hash;
    if (!seen_change(&self->seen, key, delta)) {
        seen_pair_t pair = seen_pair(key);
        buffer_append(&self->seen_changed, &pair, sizeof(pair));
    }
}

/* -- items ------------------------------------------------------------------------------------- */

uint32_t ledger_category_hash(slice_t category)
{
    uint64_t hash = XXH3_64bits(category.data, category.size);
    uint32_t half = (uint32_t)(hash >> 32);
    return half == 0 ? 1 : half;
}

static bool s_find_field(const ledger_item_t *item, item_field_t field, slice_t *ret_value)
{
    uint8_t name = (uint8_t)field;
    register_view_t found;
    if (!registers_find(&item->named->registers, slice_make(&name, 1), &found)) {
        return false;
    }
    *ret_value = found.value;
    return true;
}

void ledger_refresh_item(ledger_t *self, ledger_item_t *item)
{
    const registers_t *registers = &item->named->registers;
    bool exists = registers_exist(registers);
    self->item_count -= (item->flags & LEDGER_ITEM_PUT) != 0 ? 1 : 0;
    self->item_count += exists ? 1 : 0;
    item->flags &= (uint8_t) ~(LEDGER_ITEM_PUT | LEDGER_ITEM_DELETED);
    item->flags |= exists ? LEDGER_ITEM_PUT : LEDGER_ITEM_DELETED;
    slice_t value;
    bool has_creator = s_find_field(item, ITEM_FIELD_CREATOR, &value);
    item->creator.value = has_creator ? bytes_get_u64(value.data) : 0;
    bool has_created = s_find_field(item, ITEM_FIELD_CREATED, &value);
    item->created_ns = has_created ? (int64_t)bytes_get_u64(value.data) : 0;
    bool has_category = s_find_field(item, ITEM_FIELD_CATEGORY, &value);
    item->category_hash = has_category ? ledger_category_hash(value) : 0;
}
