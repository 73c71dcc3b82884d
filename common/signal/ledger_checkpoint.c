/* What changed goes into a batch; until the batch is durable it is remembered as pending, so that a
 * batch that failed costs nothing but its rewriting. */
#include "common/signal/ledger_state.h"

slice_t ledger_store_key(store_key_t *self, slice_t key)
{
    (void)memcpy(self->bytes + self->prefix_size, key.data, key.size);
    return slice_make(self->bytes, self->prefix_size + key.size);
}

uint64_t ledger_changed_count(const ledger_t *self)
{
    uint64_t count = self->seen_changed.size / sizeof(seen_pair_t);
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        count += self->changed[kind].checkpoint.size / sizeof(uint32_t);
    }
    return count;
}

static uint32_t s_row(const buffer_t *list, size_t i)
{
    uint32_t row;
    (void)memcpy(&row, list->data + i * sizeof(row), sizeof(row));
    return row;
}

/* What changed becomes what is pending, whose list is empty. */
static void s_exchange(buffer_t *changed, buffer_t *pending)
{
    CHECK(pending->size == 0);
    buffer_t swapped = *changed;
    *changed = *pending;
    *pending = swapped;
}

static void s_write_row(
    ledger_t *self, kind_t kind, uint32_t row, store_batch_t *batch, store_key_t *key)
{
    entry_t entry;
    bool exists = ledger_encode_entry(self, kind, row, &self->scratch, &entry);
    CHECK(exists);
    store_batch_put(batch, ledger_store_key(key, entry.key), entry.value);
    *ledger_marks(self, kind, row) &= (uint8_t)~MARK_CHECKPOINT;
}

void ledger_checkpoint_write(ledger_t *self, store_batch_t *batch, slice_t prefix)
{
    CHECK(!self->checkpoint_open);
    CHECK(prefix.size <= LEDGER_KEY_PREFIX_SIZE_MAX);
    store_key_t key = {.prefix_size = prefix.size};
    if (prefix.size > 0) {
        (void)memcpy(key.bytes, prefix.data, prefix.size);
    }
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        changed_t *changed = &self->changed[kind];
        s_exchange(&changed->checkpoint, &changed->pending);
        for (size_t i = 0; i < changed->pending.size / sizeof(uint32_t); i++) {
            s_write_row(self, (kind_t)kind, s_row(&changed->pending, i), batch, &key);
        }
    }
    s_exchange(&self->seen_changed, &self->seen_pending);
    ledger_write_seen(self, batch, &key);
    self->checkpoint_open = true;
    ledger_invariant(self);
}

/* The rows that are pending count as changed, once. */
static void s_return_rows(ledger_t *self, kind_t kind)
{
    changed_t *changed = &self->changed[kind];
    for (size_t i = 0; i < changed->pending.size / sizeof(uint32_t); i++) {
        uint32_t row = s_row(&changed->pending, i);
        uint8_t *marks = ledger_marks(self, kind, row);
        if ((*marks & MARK_CHECKPOINT) == 0) {
            *marks |= MARK_CHECKPOINT;
            buffer_append(&changed->checkpoint, &row, sizeof(row));
        }
    }
}

static void s_return_seen(ledger_t *self)
{
    for (size_t offset = 0; offset < self->seen_pending.size; offset += sizeof(seen_pair_t)) {
        seen_pair_t pair;
        (void)memcpy(&pair, self->seen_pending.data + offset, sizeof(pair));
        if (!seen_mark(&self->seen, ledger_seen_key(self, pair), true)) {
            buffer_append(&self->seen_changed, &pair, sizeof(pair));
        }
    }
    (void)memcpy(self->seen_logs, self->seen_logs_before, sizeof(self->seen_logs));
    self->seen_rewrite = self->seen_rewrite || self->seen_rewrite_pending;
}

void ledger_checkpoint_settle(ledger_t *self, bool durable)
{
    CHECK(self->checkpoint_open);
    if (!durable) {
        s_return_seen(self);
    }
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        if (!durable) {
            s_return_rows(self, (kind_t)kind);
        }
        buffer_clear(&self->changed[kind].pending);
    }
    buffer_clear(&self->seen_pending);
    self->checkpoint_open = false;
    ledger_invariant(self);
}

static void s_mark_kind(ledger_t *self, kind_t kind)
{
    uint32_t count = ledger_row_count(self, kind);
    for (uint32_t row = 1; row <= count; row++) {
        entry_t entry;
        if (ledger_encode_entry(self, kind, row, &self->scratch, &entry)) {
            ledger_mark(self, kind, row, ledger_marks(self, kind, row));
        }
    }
}

void ledger_mark_all(ledger_t *self)
{
    CHECK(!self->checkpoint_open);
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        s_mark_kind(self, (kind_t)kind);
    }
    self->seen_rewrite = true;
}
