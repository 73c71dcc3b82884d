/* Cells of cohorts.
 *
 * An event with a user counts once in the cell of all users, and once more in the cell of each
 * cohort that its record names. These have a table and an index of their own, keyed by (item,
 * signal, cohort), so that what has no cohort pays nothing for them. Names are interned: cells
 * refer to a row of the table of names, whose numbers follow the order of first appearance and
 * therefore leave this file only as numbers of the moment. Entries carry the name itself. */
#include "common/signal/ledger_state.h"

#include "common/wal/record_cohorts.h"

#include <xxhash.h>

enum {
    BLOCK_COUNT = 32, /* cells, or users, whose memory is loaded ahead at once */
    MEMO_COUNT = 256, /* users of a record whose set is remembered */
    COLON_SIZE = 1
};

/* -- tables ------------------------------------------------------------------------------------ */

void ledger_cohorts_init(ledger_t *self)
{
    rows_init(&self->cohorts, sizeof(cohort_row_t));
    rows_init(&self->cohort_cells, sizeof(cohort_cell_t));
    index_init(&self->cohort_index);
    index_init(&self->cohort_cell_index);
}

void ledger_cohorts_done(ledger_t *self)
{
    for (uint32_t row = 1; row <= self->cohort_cells.count; row++) {
        cell_done(&ledger_cohort_cell_row(self, row)->cell, &self->memory);
    }
    rows_done(&self->cohorts);
    rows_done(&self->cohort_cells);
    index_done(&self->cohort_index);
    index_done(&self->cohort_cell_index);
    buffer_done(&self->cohort_scratch);
}

uint64_t ledger_cohorts_size(const ledger_t *self)
{
    return self->cohorts.size_bytes + self->cohort_cells.size_bytes +
           index_size_bytes(&self->cohort_index) + index_size_bytes(&self->cohort_cell_index) +
           self->cohort_scratch.capacity;
}

cohort_cell_t *ledger_cohort_cell_row(const ledger_t *self, uint32_t row)
{
    CHECK(row - 1 < self->cohort_cells.count);
    return rows_at(&self->cohort_cells, row);
}

slice_t ledger_cohort_name(const ledger_t *self, uint32_t cohort)
{
    CHECK(cohort - 1 < self->cohorts.count);
    const cohort_row_t *row = rows_at(&self->cohorts, cohort);
    return slice_make(row->name, row->size);
}

static uint32_t s_find_cohort(const ledger_t *self, slice_t name, uint64_t hash)
{
    index_cursor_t cursor = index_find(&self->cohort_index, hash);
    uint32_t row = index_next(&self->cohort_index, &cursor);
    while (row != 0 && !slice_equal(ledger_cohort_name(self, row), name)) {
        row = index_next(&self->cohort_index, &cursor);
    }
    return row;
}

uint32_t ledger_find_cohort(const ledger_t *self, slice_t name)
{
    return s_find_cohort(self, name, XXH3_64bits(name.data, name.size));
}

uint32_t ledger_require_cohort(ledger_t *self, slice_t name)
{
    CHECK(name.size >= 1 && name.size <= NAME_LENGTH_MAX);
    uint64_t hash = XXH3_64bits(name.data, name.size);
    uint32_t row = s_find_cohort(self, name, hash);
    if (row == 0) {
        row = rows_append(&self->cohorts);
        index_insert(&self->cohort_index, hash, row);
        cohort_row_t *cohort = rows_at(&self->cohorts, row);
        cohort->size = (uint8_t)name.size;
        (void)memcpy(cohort->name, name.data, name.size);
    }
    return row;
}

static uint64_t s_cell_hash(uint32_t cohort, uint64_t item, uint8_t signal)
{
    return index_hash(index_hash(item) + ((uint64_t)cohort << 8 | signal));
}

static uint32_t s_find_cell(
    const ledger_t *self, uint32_t cohort, uint64_t item, uint8_t signal, uint64_t hash)
{
    index_cursor_t cursor = index_find(&self->cohort_cell_index, hash);
    for (;;) {
        uint32_t row = index_next(&self->cohort_cell_index, &cursor);
        if (row == 0) {
            return 0;
        }
        const cohort_cell_t *cell = ledger_cohort_cell_row(self, row);
        if (cell->item == item && cell->cohort == cohort && cell->cell.signal == signal) {
            return row;
        }
    }
}

static uint32_t s_require_cell(
    ledger_t *self, uint32_t cohort, uint64_t item, uint8_t signal, uint64_t hash)
{
    uint32_t row = s_find_cell(self, cohort, item, signal, hash);
    if (row == 0) {
        uint32_t item_row = ledger_require_item(self, item, index_hash(item));
        row = rows_append(&self->cohort_cells);
        index_insert(&self->cohort_cell_index, hash, row);
        cohort_cell_t *cell = ledger_cohort_cell_row(self, row);
        cell_init(&cell->cell, item_row, signal);
        cell->item = item;
        cell->cohort = cohort;
    }
    return row;
}

uint32_t ledger_find_cohort_cell(const ledger_t *self,
                                 uint32_t cohort,
                                 uint64_t item,
                                 uint8_t signal)
{
    return cohort == 0 ? 0
                       : s_find_cell(self, cohort, item, signal, s_cell_hash(cohort, item, signal));
}

uint32_t ledger_require_cohort_cell(ledger_t *self, uint32_t cohort, uint64_t item, uint8_t signal)
{
    CHECK(self->signal_index[signal] != SIGNAL_UNKNOWN);
    return s_require_cell(self, cohort, item, signal, s_cell_hash(cohort, item, signal));
}

const cell_t *ledger_cohort_cell(const ledger_t *self,
                                 uint32_t cohort,
                                 item_id_t item,
                                 uint8_t signal)
{
    uint32_t row = ledger_find_cohort_cell(self, cohort, item.value, signal);
    return row == 0 ? NULL : &ledger_cohort_cell_row(self, row)->cell;
}

/* -- apply ------------------------------------------------------------------------------------- */

/* One event in one cohort, on its way. */
typedef struct {
    signal_event_t event;
    uint64_t hash;
    uint32_t cohort;
    uint32_t guess; /* row that the look-up is likely to find; 0 none */
    uint32_t row;
} s_lane_t;

typedef struct {
    s_lane_t lanes[BLOCK_COUNT];
    uint32_t count;
} s_block_t;

static void s_take_effect(ledger_t *self, const s_lane_t *lane, effect_t effect)
{
    const signal_event_t *event = &lane->event;
    cell_t *cell = &ledger_cohort_cell_row(self, lane->row)->cell;
    decay_t *decay = ledger_decay(self, event->signal);
    switch (effect) {
    case EFFECT_ADD:
        cell_add(cell, &self->memory, decay, event->ts_ns, event->weight);
        break;
    case EFFECT_TOUCH:
        cell_touch(cell, &self->memory, decay, event->ts_ns);
        break;
    case EFFECT_TAKE_BACK:
        cell_void(cell, &self->memory, decay, event->ts_ns, event->weight);
        break;
    }
    ledger_mark(self, KIND_COHORT_CELL, lane->row, &cell->marks);
}

static void s_guess_row(const ledger_t *self, s_lane_t *lane)
{
    index_cursor_t cursor = index_find(&self->cohort_cell_index, lane->hash);
    lane->guess = index_next(&self->cohort_cell_index, &cursor);
    if (lane->guess != 0) {
        const char *row = rows_at(&self->cohort_cells, lane->guess);
        __builtin_prefetch(row, 1);
        __builtin_prefetch(row + 64, 1);
    }
}

/* The row is found or created. */
static void s_locate(ledger_t *self, s_lane_t *lane)
{
    uint64_t item = lane->event.item.value;
    const cohort_cell_t *guess =
        lane->guess == 0 ? NULL : rows_at(&self->cohort_cells, lane->guess);
    lane->row = lane->guess;
    if (guess == NULL || guess->item != item || guess->cohort != lane->cohort ||
        guess->cell.signal != lane->event.signal) {
        lane->row = s_require_cell(self, lane->cohort, item, lane->event.signal, lane->hash);
    }
    const char *tail = (const char *)ledger_cohort_cell_row(self, lane->row)->cell.tail;
    if (tail != NULL) {
        __builtin_prefetch(tail, 1);
        __builtin_prefetch(tail + 64, 1);
    }
}

/* The index slots are on their way since the lanes were filled. As in ledger_apply.c, each step
 * loads for all lanes what the next one needs; only the last one changes what is counted. */
static void s_run_block(ledger_t *self, s_block_t *block, effect_t effect)
{
    for (uint32_t i = 0; i < block->count; i++) {
        s_guess_row(self, &block->lanes[i]);
    }
    for (uint32_t i = 0; i < block->count; i++) {
        s_locate(self, &block->lanes[i]);
    }
    for (uint32_t i = 0; i < block->count; i++) {
        s_take_effect(self, &block->lanes[i], effect);
    }
    block->count = 0;
}

static void s_put_lane(
    ledger_t *self, s_block_t *block, const signal_event_t *event, uint32_t cohort, effect_t effect)
{
    s_lane_t *lane = &block->lanes[block->count++];
    lane->event = *event;
    lane->cohort = cohort;
    lane->hash = s_cell_hash(cohort, event->item.value, event->signal);
    __builtin_prefetch(index_address(&self->cohort_cell_index, lane->hash));
    if (block->count == BLOCK_COUNT) {
        s_run_block(self, block, effect);
    }
}

/* Resolves the names of a record, and where each of its sets begins.
 * out rows by name, places by set */
static void s_resolve(ledger_t *self,
                      const record_cohorts_t *cohorts,
                      const uint32_t **ret_rows,
                      const uint32_t **ret_places)
{
    buffer_clear(&self->cohort_scratch);
    size_t size = ((size_t)cohorts->name_count + cohorts->set_count) * sizeof(uint32_t);
    uint32_t *rows = (uint32_t *)(void *)buffer_extend(&self->cohort_scratch, size);
    uint32_t *places = rows + cohorts->name_count;
    const uint8_t *at = cohorts->names;
    for (uint32_t i = 0; i < cohorts->name_count; i++) {
        rows[i] = ledger_require_cohort(self, slice_make(at, cohorts->name_sizes[i]));
        at += cohorts->name_sizes[i];
    }
    uint32_t place = 0;
    for (uint32_t i = 0; i < cohorts->set_count; i++) {
        places[i] = place;
        place += cohorts->set_sizes[i];
    }
    *ret_rows = rows;
    *ret_places = places;
}

void ledger_apply_cohorts(ledger_t *self, const record_signals_t *signals, effect_t effect)
{
    record_cohorts_t cohorts;
    if (!record_cohorts_open(signals, &cohorts)) {
        return;
    }
    const uint32_t *rows;
    const uint32_t *places;
    s_resolve(self, &cohorts, &rows, &places);
    s_block_t block;
    block.count = 0;
    for (uint32_t i = 0; i < signals->count; i++) {
        uint32_t set = record_cohorts_set(&cohorts, i);
        if (set == 0) {
            continue;
        }
        signal_event_t event;
        record_signals_get(signals, i, &event);
        uint32_t place = places[set - 1];
        uint32_t end = place + cohorts.set_sizes[set - 1];
        for (; place < end; place++) {
            s_put_lane(self, &block, &event, rows[record_cohorts_member(&cohorts, place)], effect);
        }
    }
    s_run_block(self, &block, effect);
}

/* -- which cohorts users are in ---------------------------------------------------------------- */

/* The sets of users that came up already in this record; a later user takes the place over. */
typedef struct {
    uint32_t user_rows[MEMO_COUNT];
    uint32_t sets[MEMO_COUNT];
} s_memo_t;

static void s_add_names(const registers_t *attributes, cohort_builder_t *builder)
{
    size_t offset = 0;
    register_view_t view;
    while (registers_next(attributes, &offset, &view)) {
        uint8_t name[NAME_LENGTH_MAX];
        size_t size = view.name.size + COLON_SIZE + view.value.size;
        if (size > NAME_LENGTH_MAX) {
            continue;
        }
        (void)memcpy(name, view.name.data, view.name.size);
        name[view.name.size] = ':';
        if (view.value.size > 0) {
            (void)memcpy(name + view.name.size + COLON_SIZE, view.value.data, view.value.size);
        }
        cohort_builder_add_name(builder, slice_make(name, size));
    }
}

static void s_put_user(const ledger_t *self,
                       uint32_t user_row,
                       s_memo_t *memo,
                       cohort_builder_t *builder)
{
    const ledger_named_t *named = user_row == 0 ? NULL : ledger_user_row(self, user_row)->named;
    if (named == NULL) {
        cohort_builder_put_set(builder, 0);
        return;
    }
    uint32_t place = user_row % MEMO_COUNT;
    if (memo->user_rows[place] == user_row) {
        cohort_builder_put_set(builder, memo->sets[place]);
        return;
    }
    s_add_names(&named->registers, builder);
    memo->user_rows[place] = user_row;
    memo->sets[place] = cohort_builder_put_event(builder);
}

/* Some events at a time: first their slots of the index are loaded, then their rows, then their
 * attributes are looked at. */
static void s_put_users(const ledger_t *self,
                        const uint64_t *users,
                        uint32_t count,
                        s_memo_t *memo,
                        cohort_builder_t *builder)
{
    uint64_t hashes[BLOCK_COUNT];
    for (uint32_t i = 0; i < count; i++) {
        hashes[i] = index_hash(users[i]);
        __builtin_prefetch(index_address(&self->user_index, hashes[i]));
    }
    for (uint32_t i = 0; i < count; i++) {
        index_cursor_t cursor = index_find(&self->user_index, hashes[i]);
        uint32_t guess = index_next(&self->user_index, &cursor);
        if (guess != 0) {
            __builtin_prefetch(rows_at(&self->users, guess));
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = users[i] == 0 ? 0 : ledger_find_user_hashed(self, users[i], hashes[i]);
        s_put_user(self, row, memo, builder);
    }
}

bool ledger_has_users(const ledger_t *self)
{
    return self->user_count > 0;
}

bool ledger_find_cohorts(const ledger_t *self,
                         const record_signals_t *signals,
                         cohort_builder_t *builder)
{
    if (self->user_count == 0 || (signals->flags & RECORD_USER_NONE) != 0) {
        return false;
    }
    s_memo_t memo;
    (void)memset(memo.user_rows, 0, sizeof(memo.user_rows));
    cohort_builder_begin(builder);
    for (uint32_t first = 0; first < signals->count; first += BLOCK_COUNT) {
        uint64_t users[BLOCK_COUNT];
        uint32_t left = signals->count - first;
        uint32_t count = left < BLOCK_COUNT ? left : BLOCK_COUNT;
        for (uint32_t i = 0; i < count; i++) {
            signal_event_t event;
            record_signals_get(signals, first + i, &event);
            users[i] = event.user.value;
        }
        s_put_users(self, users, count, &memo, builder);
    }
    return !cohort_builder_is_empty(builder);
}
