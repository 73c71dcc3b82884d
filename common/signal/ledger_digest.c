/* The digest is a sum, so it follows changes: what an entry added before is subtracted, what it
 * adds now is added. The hash of every entry that has a row is kept for that, beside the row or in
 * it. */
#include "common/signal/ledger_state.h"

static uint128_t *s_stored_hash(const ledger_t *self, kind_t kind, uint32_t row)
{
    switch (kind) {
    case KIND_CELL:
        return rows_at(&self->cell_hashes, row);
    case KIND_ITEM:
        return &ledger_item_row(self, row)->named->hash;
    case KIND_USER:
        return &ledger_user_row(self, row)->named->hash;
    case KIND_RELATION:
        return &ledger_relation_row(self, row)->hash;
    case KIND_COHORT_CELL:
        return &ledger_cohort_cell_row(self, row)->hash;
    }
    CHECK(false);
    return NULL;
}

uint8_t *ledger_marks(const ledger_t *self, kind_t kind, uint32_t row)
{
    switch (kind) {
    case KIND_CELL:
        return &ledger_cell_row(self, row)->marks;
    case KIND_ITEM:
        return &ledger_item_row(self, row)->marks;
    case KIND_USER:
        return &ledger_user_row(self, row)->marks;
    case KIND_RELATION:
        return &ledger_relation_row(self, row)->marks;
    case KIND_COHORT_CELL:
        return &ledger_cohort_cell_row(self, row)->cell.marks;
    }
    CHECK(false);
    return NULL;
}

static void s_rehash(ledger_t *self, kind_t kind, uint32_t row)
{
    entry_t entry;
    bool exists = ledger_encode_entry(self, kind, row, &self->scratch, &entry);
    CHECK(exists);
    uint128_t hash = ledger_entry_hash(&entry);
    uint128_t *stored = s_stored_hash(self, kind, row);
    self->digest += hash - *stored;
    *stored = hash;
    *ledger_marks(self, kind, row) &= (uint8_t)~MARK_DIGEST;
}

static void s_put(uint128_t sum, ledger_digest_t *ret_digest)
{
    bytes_put_u64(ret_digest->bytes, (uint64_t)sum);
    bytes_put_u64(ret_digest->bytes + 8, (uint64_t)(sum >> 64));
}

void ledger_digest(ledger_t *self, ledger_digest_t *ret_digest)
{
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        buffer_t *changed = &self->changed[kind].digest;
        for (size_t offset = 0; offset < changed->size; offset += sizeof(uint32_t)) {
            uint32_t row;
            (void)memcpy(&row, changed->data + offset, sizeof(row));
            s_rehash(self, (kind_t)kind, row);
        }
        buffer_clear(changed);
    }
    s_put(self->digest, ret_digest);
}

static err_t s_add_entry(void *context, slice_t key, slice_t value)
{
    uint128_t *sum = context;
    if (key.data[0] != CHECKPOINT_KEY_SEEN) {
        /* The walk's slices lie in one buffer: size, key, value. */
        entry_t entry = {key, value, slice_make(key.data - 2, 2 + key.size + value.size)};
        *sum += ledger_entry_hash(&entry);
    }
    return ERR_OK;
}

/* Sum over the seen pairs. */
typedef struct {
    const ledger_t *ledger;
    uint128_t sum;
} seen_sum_t;

static void s_add_pair(void *context, seen_pair_t pair, uint64_t count)
{
    seen_sum_t *seen = context;
    seen->sum += ledger_seen_hash(ledger_user_row(seen->ledger, pair.user_row)->user,
                                  ledger_item_row(seen->ledger, pair.item_row)->item.value) *
                 count;
}

void ledger_digest_full(const ledger_t *self, ledger_digest_t *ret_digest)
{
    seen_sum_t seen = {self, 0};
    uint128_t sum = 0;
    err_t err = ledger_walk(self, s_add_entry, &sum);
    CHECK(err == ERR_OK);
    for (uint32_t part = 0; part < SEEN_PART_COUNT; part++) {
        seen_walk(&self->seen, part, s_add_pair, &seen);
    }
    s_put(sum + seen.sum, ret_digest);
}
