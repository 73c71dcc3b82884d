/* Records into state.
 *
 * The memory of a signal's item, user, cell and seen pair is spread over tables that do not fit a
 * cache. So signals go through stages, each a fixed number of signals behind the one before: a
 * stage touches what the one before has started to load, and starts loading what the next one
 * needs. Each stage sees the signals in their order; only the last one changes what is counted. */
#include "common/signal/ledger_state.h"
#include "common/wal/record_session.h"

#include "common/base/mutant.h"

enum {
    STAGE_COUNT = 5,
    STAGE_DISTANCE = 8, /* signals between two stages */
    LANE_COUNT = 64
};

static_assert((STAGE_COUNT - 1) * STAGE_DISTANCE < LANE_COUNT,
              "a lane is not used again too early");
static_assert((LANE_COUNT & (LANE_COUNT - 1)) == 0, "lanes are numbered by the low bits");

/* One signal on its way. */
typedef struct {
    signal_event_t event;
    uint64_t item_hash;
    uint64_t user_hash;
    uint32_t item_guess; /* rows that the look-ups are likely to find; 0 none */
    uint32_t user_guess;
    seen_key_t seen; /* of no use when user_row is 0 */
    uint32_t user_row;
    uint32_t cell_row;
    cell_t *cell;
} lane_t;

/* -- signals ----------------------------------------------------------------------------------- */

static void s_load(const ledger_t *self, const record_signals_t *signals, uint32_t i, lane_t *lane)
{
    record_signals_get(signals, i, &lane->event);
    lane->item_hash = index_hash(lane->event.item.value);
    lane->user_hash = index_hash(lane->event.user.value);
    __builtin_prefetch(index_address(&self->item_index, lane->item_hash));
    if (lane->event.user.value != 0) {
        __builtin_prefetch(index_address(&self->user_index, lane->user_hash));
    }
}

static uint32_t s_guess(const index_t *index, uint64_t hash)
{
    index_cursor_t cursor = index_find(index, hash);
    return index_next(index, &cursor);
}

static void s_guess_rows(const ledger_t *self, lane_t *lane)
{
    bool has_user = lane->event.user.value != 0;
    lane->item_guess = s_guess(&self->item_index, lane->item_hash);
    lane->user_guess = has_user ? s_guess(&self->user_index, lane->user_hash) : 0;
    if (lane->item_guess != 0) {
        __builtin_prefetch(rows_at(&self->items, lane->item_guess));
    }
    if (lane->user_guess != 0) {
        __builtin_prefetch(rows_at(&self->users, lane->user_guess));
    }
}

static uint32_t s_item_row(ledger_t *self, const lane_t *lane)
{
    uint32_t guess = lane->item_guess;
    uint64_t item = lane->event.item.value;
    if (guess != 0 && ledger_item_row(self, guess)->item.value == item) {
        return guess;
    }
    return ledger_require_item(self, item, lane->item_hash);
}

static uint32_t s_user_row(ledger_t *self, const lane_t *lane)
{
    uint32_t guess = lane->user_guess;
    uint64_t user = lane->event.user.value;
    if (guess != 0 && ledger_user_row(self, guess)->user == user) {
        return guess;
    }
    return ledger_require_user(self, user, lane->user_hash);
}

/* Rows are found or created. */
static void s_locate(ledger_t *self, lane_t *lane, effect_t effect)
{
    uint32_t item_row = s_item_row(self, lane);
    lane->cell_row = ledger_require_cell(self, item_row, lane->event.signal);
    lane->cell = rows_at(&self->cells, lane->cell_row);
    __builtin_prefetch(lane->cell, 1);
    lane->user_row = 0;
    if (lane->event.user.value != 0 && effect != EFFECT_TOUCH) {
        lane->user_row = s_user_row(self, lane);
        seen_pair_t pair = {lane->user_row, item_row};
        lane->seen = seen_key(pair, lane->user_hash, lane->item_hash);
        __builtin_prefetch(seen_address(&self->seen, lane->seen), 1);
    }
}

static void s_take_effect(ledger_t *self, const lane_t *lane, effect_t effect)
{
    const signal_event_t *event = &lane->event;
    decay_t *decay = ledger_decay(self, event->signal);
    int64_t delta = effect == EFFECT_ADD ? 1 : -1;
    switch (effect) {
    case EFFECT_ADD:
        cell_add(lane->cell, &self->memory, decay, event->ts_ns, event->weight);
        break;
    case EFFECT_TOUCH:
        cell_touch(lane->cell, &self->memory, decay, event->ts_ns);
        delta = 0;
        break;
    case EFFECT_TAKE_BACK:
        cell_void(lane->cell, &self->memory, decay, event->ts_ns, event->weight);
        break;
    }
    ledger_mark(self, KIND_CELL, lane->cell_row, &lane->cell->marks);
    self->event_count += (uint64_t)delta;
    if (lane->user_row != 0) {
        ledger_change_seen(self, lane->seen, event, delta);
    }
}

/* The stages of one step: stage n works on signal step - n * distance, where there is one. */
static void s_step(ledger_t *self,
                   const record_signals_t *signals,
                   lane_t *lanes,
                   uint32_t step,
                   uint32_t distance,
                   effect_t effect)
{
    uint32_t count = signals->count;
    /* Below 0 these wrap, and are not < count. */
    uint32_t guess = step - distance;
    uint32_t locate = step - 2 * distance;
    uint32_t tail = step - 3 * distance;
    uint32_t change = step - 4 * distance;
    if (step < count) {
        s_load(self, signals, step, &lanes[step % LANE_COUNT]);
    }
    if (guess < count) {
        s_guess_rows(self, &lanes[guess % LANE_COUNT]);
    }
    if (locate < count) {
        s_locate(self, &lanes[locate % LANE_COUNT], effect);
    }
    if (tail < count && lanes[tail % LANE_COUNT].cell->tail != NULL) {
        const char *cell_tail = (const char *)lanes[tail % LANE_COUNT].cell->tail;
        __builtin_prefetch(cell_tail, 1);
        __builtin_prefetch(cell_tail + 64, 1);
    }
    if (change < count) {
        s_take_effect(self, &lanes[change % LANE_COUNT], effect);
    }
}

static void s_apply_signals(ledger_t *self, const record_signals_t *signals, effect_t effect)
{
    lane_t lanes[LANE_COUNT];
    uint32_t distance = signals->count < STAGE_DISTANCE ? 1 : STAGE_DISTANCE;
    uint32_t step_count = signals->count + (STAGE_COUNT - 1) * distance;
    for (uint32_t step = 0; step < step_count; step++) {
        s_step(self, signals, lanes, step, distance, effect);
    }
}

/* -- registers --------------------------------------------------------------------------------- */

static void s_account(ledger_t *self, const registers_t *registers, uint32_t capacity_before)
{
    self->named_size_bytes += registers->capacity;
    self->named_size_bytes -= capacity_before;
}

static void s_apply_item(ledger_t *self, const record_t *record)
{
    uint64_t item_id = record->as.item.item.value;
    hlc_stamp_t hlc = record->as.item.hlc;
    uint32_t row = ledger_require_item(self, item_id, index_hash(item_id));
    ledger_item_t *item = ledger_item_row(self, row);
    registers_t *registers = ledger_require_named(self, &item->named);
    uint32_t capacity = registers->capacity;
    bool changed = false;
    if (record->type == RECORD_ITEM_DELETE) {
        changed = registers_clear(registers, hlc);
    } else {
        changed = registers_touch(registers, hlc);
        for (uint32_t i = 0; i < record->as.item.field_count; i++) {
            uint8_t name = (uint8_t)record->as.item.fields[i].field;
            slice_t value = record->as.item.fields[i].value;
            changed = registers_write(registers, slice_make(&name, 1), hlc, value) || changed;
        }
    }
    s_account(self, registers, capacity);
    if (changed) {
        ledger_refresh_item(self, item);
        ledger_mark(self, KIND_ITEM, row, &item->marks);
    }
}

static void s_apply_user(ledger_t *self, const record_t *record)
{
    uint64_t user_id = record->as.user.user.value;
    hlc_stamp_t hlc = record->as.user.hlc;
    uint32_t row = ledger_require_user(self, user_id, index_hash(user_id));
    user_row_t *user = ledger_user_row(self, row);
    registers_t *registers = ledger_require_named(self, &user->named);
    uint32_t capacity = registers->capacity;
    bool existed = registers_exist(registers);
    bool changed = registers_touch(registers, hlc);
    for (uint32_t i = 0; i < record->as.user.attribute_count; i++) {
        const record_attribute_t *attribute = &record->as.user.attributes[i];
        changed = registers_write(registers, attribute->name, hlc, attribute->value) || changed;
    }
    s_account(self, registers, capacity);
    self->user_count += !existed && registers_exist(registers) ? 1 : 0;
    if (changed) {
        ledger_mark(self, KIND_USER, row, &user->marks);
    }
}

static void s_apply_relation(ledger_t *self, const record_t *record)
{
    uint64_t user = record->as.relation.user.value;
    uint32_t known =
        ledger_find_relation(self, user, record->as.relation.action, record->as.relation.target);
    uint32_t row = known;
    if (known == 0) {
        row = ledger_require_relation(self, user, record->as.relation.action,
                                      record->as.relation.target);
    }
    relation_row_t *relation = ledger_relation_row(self, row);
    int order = hlc_compare(record->as.relation.hlc, relation->hlc);
    bool set = record->as.relation.set;
    bool wins_tie = set != MUTANT(UNHIDE_WINS_TIES);
    if (known == 0 || order > 0 || (order == 0 && wins_tie && set != (relation->set != 0))) {
        relation->hlc = record->as.relation.hlc;
        relation->set = set ? 1 : 0;
        ledger_mark(self, KIND_RELATION, row, &relation->marks);
    }
}

/* -- payloads ---------------------------------------------------------------------------------- */

static err_t s_check_signal(const ledger_t *self, uint8_t signal, errbuf_t *errbuf)
{
    if (self->signal_index[signal] == SIGNAL_UNKNOWN) {
        errbuf_set(errbuf,
                   "signal %u is not in the schema: expected the schema that the log was "
                   "written under, or a later one that keeps its signals",
                   (unsigned)signal);
        return ERR_UNSUPPORTED;
    }
    return ERR_OK;
}

static err_t s_check_record(const ledger_t *self, const record_t *record, errbuf_t *errbuf)
{
    if (record->type == RECORD_SESSION_SIGNAL) {
        return s_check_signal(self, record->as.session_signal.signal, errbuf);
    }
    bool is_of_others = record_is_of_session(record->type) || record->type == RECORD_HELD;
    if (record->type > RECORD_RELATION && !is_of_others) {
        errbuf_set(errbuf, "record type %d is not known to the ledger", (int)record->type);
        return ERR_UNSUPPORTED;
    }
    if (record->type != RECORD_SIGNALS) {
        /* Sessions are not the ledger's, but their signals are those of its schema. */
        return ERR_OK;
    }
    const record_signals_t *signals = &record->as.signals;
    bool constant = (signals->flags & RECORD_SIGNAL_CONSTANT) != 0;
    uint32_t count = constant ? 1 : signals->count;
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        err = s_check_signal(self, signals->signal[i], errbuf);
    }
    return err;
}

static void s_apply_record(ledger_t *self, const record_t *record, effect_t effect)
{
    if (record->type == RECORD_SIGNALS) {
        s_apply_signals(self, &record->as.signals, effect);
        bool keeps = effect == EFFECT_TAKE_BACK && MUTANT(VOID_KEEPS_COHORTS);
        if (record->as.signals.cohorts.size > 0 && !keeps) {
            ledger_apply_cohorts(self, &record->as.signals, effect);
        }
        return;
    }
    /* Sessions are kept elsewhere (common/session/session_book.h), and so is what all shards hold
     * (common/session/home_book.h). */
    bool is_of_others = record_is_of_session(record->type) || record->type == RECORD_HELD;
    if (effect == EFFECT_TAKE_BACK || is_of_others) {
        return;
    }
    if (record->type == RECORD_USER_PUT) {
        s_apply_user(self, record);
    } else if (record->type == RECORD_RELATION) {
        s_apply_relation(self, record);
    } else {
        CHECK(record->type == RECORD_ITEM_PUT || record->type == RECORD_ITEM_DELETE);
        s_apply_item(self, record);
    }
}

static void s_apply_again(ledger_t *self, slice_t payload, uint32_t count, effect_t effect)
{
    size_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        record_t record;
        err_t err = record_next(payload, &offset, &record, NULL);
        CHECK(err == ERR_OK);
        s_apply_record(self, &record, effect);
    }
}

/* Looks at every record before the first one takes effect. A payload of one record, which is what
 * signals come in, is decoded once. */
static err_t s_apply(ledger_t *self, slice_t payload, effect_t effect, errbuf_t *errbuf)
{
    record_t record;
    size_t offset = 0;
    uint32_t count = 0;
    err_t err = record_next(payload, &offset, &record, errbuf);
    while (err == ERR_OK) {
        count++;
        err = s_check_record(self, &record, errbuf);
        if (err != ERR_OK || offset == payload.size) {
            break;
        }
        err = record_next(payload, &offset, &record, errbuf);
    }
    if (err != ERR_OK && err != ERR_END) {
        errbuf_prefix(errbuf, "apply of a batch, record %u", count);
        return err;
    }
    if (count == 1) {
        s_apply_record(self, &record, effect);
    } else {
        s_apply_again(self, payload, count, effect);
    }
    ledger_invariant(self);
    return ERR_OK;
}

err_t ledger_apply_payload(ledger_t *self,
                           slice_t payload,
                           ledger_standing_t standing,
                           errbuf_t *errbuf)
{
    effect_t effect = standing == LEDGER_VOID ? EFFECT_TOUCH : EFFECT_ADD;
    return s_apply(self, payload, effect, errbuf);
}

err_t ledger_void_payload(ledger_t *self, slice_t payload, errbuf_t *errbuf)
{
    return s_apply(self, payload, EFFECT_TAKE_BACK, errbuf);
}
