/* Rows as entries of a checkpoint and of the digest: checkpoint_format.h. */
#include "common/base/varint.h"
#include "common/signal/ledger_state.h"

#include <stdio.h>

/* The hash is compiled into its only user: a seen pair's 16 bytes are hashed once per signal. */
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { KEY_SIZE_SIZE = 2, SEEN_VALUE_SIZE_MAX = 1 + VARINT_SIZE_MAX };

/* -- to bytes ---------------------------------------------------------------------------------- */

/* Room for a key and a value; returns where the key goes. */
static uint8_t *s_begin(buffer_t *buffer, size_t key_size, size_t value_size_max)
{
    buffer_clear(buffer);
    uint8_t *at = buffer_extend(buffer, KEY_SIZE_SIZE + key_size + value_size_max);
    bytes_put_u16(at, (uint16_t)key_size);
    return at + KEY_SIZE_SIZE;
}

static void s_end(buffer_t *buffer, size_t value_size, entry_t *ret_entry)
{
    size_t key_size = bytes_get_u16(buffer->data);
    buffer->size = KEY_SIZE_SIZE + key_size + value_size;
    ret_entry->whole = buffer_slice(buffer);
    ret_entry->key = slice_make(buffer->data + KEY_SIZE_SIZE, key_size);
    ret_entry->value = slice_make(buffer->data + KEY_SIZE_SIZE + key_size, value_size);
}

static void s_encode_cell(
    const cell_t *cell, uint64_t item, slice_t cohort, buffer_t *buffer, entry_t *ret_entry)
{
    const size_t key_size = CHECKPOINT_CELL_KEY_SIZE + cohort.size;
    uint8_t *at = s_begin(buffer, key_size, CELL_VALUE_SIZE_MAX);
    at[0] = CHECKPOINT_KEY_CELL;
    bytes_put_u64_be(at + 1, item);
    at[9] = cell->signal;
    if (cohort.size > 0) {
        (void)memcpy(at + CHECKPOINT_CELL_KEY_SIZE, cohort.data, cohort.size);
    }
    s_end(buffer, cell_encode(cell, at + key_size), ret_entry);
}

static bool s_encode_named(
    const ledger_named_t *named, uint8_t letter, uint64_t id, buffer_t *buffer, entry_t *ret_entry)
{
    if (named == NULL || named->registers.size == 0) {
        return false;
    }
    slice_t value = registers_encoded(&named->registers);
    uint8_t *at = s_begin(buffer, CHECKPOINT_ITEM_KEY_SIZE, value.size);
    at[0] = letter;
    bytes_put_u64_be(at + 1, id);
    (void)memcpy(at + CHECKPOINT_ITEM_KEY_SIZE, value.data, value.size);
    s_end(buffer, value.size, ret_entry);
    return true;
}

static_assert(CHECKPOINT_USER_KEY_SIZE == CHECKPOINT_ITEM_KEY_SIZE, "both are a letter and an id");

static void s_encode_relation(const relation_row_t *relation, buffer_t *buffer, entry_t *ret_entry)
{
    uint8_t *at = s_begin(buffer, CHECKPOINT_RELATION_KEY_SIZE, CHECKPOINT_RELATION_VALUE_SIZE);
    at[0] = CHECKPOINT_KEY_RELATION;
    bytes_put_u64_be(at + 1, relation->user);
    at[9] = relation->action;
    bytes_put_u64_be(at + 10, relation->target);
    at += CHECKPOINT_RELATION_KEY_SIZE;
    at[0] = CHECKPOINT_VERSION;
    at[1] = relation->set;
    bytes_put_u64(at + 2, (uint64_t)relation->hlc.wall_ns);
    bytes_put_u32(at + 10, relation->hlc.logical);
    bytes_put_u32(at + 14, relation->hlc.node);
    s_end(buffer, CHECKPOINT_RELATION_VALUE_SIZE, ret_entry);
}

bool ledger_encode_entry(
    const ledger_t *self, kind_t kind, uint32_t row, buffer_t *buffer, entry_t *ret_entry)
{
    switch (kind) {
    case KIND_CELL: {
        const cell_t *cell = ledger_cell_row(self, row);
        s_encode_cell(cell, ledger_item_row(self, cell->item_row)->item.value, slice_make(NULL, 0),
                      buffer, ret_entry);
        return true;
    }
    case KIND_COHORT_CELL: {
        const cohort_cell_t *cell = ledger_cohort_cell_row(self, row);
        s_encode_cell(&cell->cell, cell->item, ledger_cohort_name(self, cell->cohort), buffer,
                      ret_entry);
        return true;
    }
    case KIND_ITEM: {
        const ledger_item_t *item = ledger_item_row(self, row);
        return s_encode_named(item->named, CHECKPOINT_KEY_ITEM, item->item.value, buffer,
                              ret_entry);
    }
    case KIND_USER: {
        const user_row_t *user = ledger_user_row(self, row);
        return s_encode_named(user->named, CHECKPOINT_KEY_USER, user->user, buffer, ret_entry);
    }
    case KIND_RELATION:
        s_encode_relation(ledger_relation_row(self, row), buffer, ret_entry);
        return true;
    }
    CHECK(false);
    return false;
}

/* The entry of a seen pair. */
static void s_encode_seen(
    const ledger_t *self, seen_pair_t pair, uint64_t count, buffer_t *buffer, entry_t *ret_entry)
{
    uint8_t *at = s_begin(buffer, CHECKPOINT_SEEN_KEY_SIZE, SEEN_VALUE_SIZE_MAX);
    at[0] = CHECKPOINT_KEY_SEEN;
    bytes_put_u64_be(at + 1, ledger_user_row(self, pair.user_row)->user);
    bytes_put_u64_be(at + 9, ledger_item_row(self, pair.item_row)->item.value);
    at += CHECKPOINT_SEEN_KEY_SIZE;
    at[0] = CHECKPOINT_VERSION;
    s_end(buffer, (size_t)(varint_put(at + 1, count) - at), ret_entry);
}

static uint128_t s_hash(const void *bytes, size_t size)
{
    XXH128_hash_t hash = XXH3_128bits(bytes, size);
    return (uint128_t)hash.high64 << 64 | hash.low64;
}

uint128_t ledger_seen_hash(uint64_t user, uint64_t item)
{
    uint8_t ids[16];
    bytes_put_u64(ids, user);
    bytes_put_u64(ids + 8, item);
    XXH128_hash_t hash = XXH3_128bits_withSeed(ids, sizeof(ids), CHECKPOINT_KEY_SEEN);
    return (uint128_t)hash.high64 << 64 | hash.low64;
}

uint128_t ledger_entry_hash(const entry_t *entry)
{
    return s_hash(entry->whole.data, entry->whole.size);
}

/* -- keys -------------------------------------------------------------------------------------- */

bool ledger_parse_key(slice_t key, entry_key_t *ret_key)
{
    if (key.size < CHECKPOINT_ITEM_KEY_SIZE) {
        return false;
    }
    entry_key_t parsed = {.id = bytes_get_u64_be(key.data + 1)};
    size_t size = 0;
    switch (key.data[0]) {
    case CHECKPOINT_KEY_CELL:
        parsed.kind = KIND_CELL;
        size = CHECKPOINT_CELL_KEY_SIZE;
        break;
    case CHECKPOINT_KEY_ITEM:
        parsed.kind = KIND_ITEM;
        size = CHECKPOINT_ITEM_KEY_SIZE;
        break;
    case CHECKPOINT_KEY_USER:
        parsed.kind = KIND_USER;
        size = CHECKPOINT_USER_KEY_SIZE;
        break;
    case CHECKPOINT_KEY_RELATION:
        parsed.kind = KIND_RELATION;
        size = CHECKPOINT_RELATION_KEY_SIZE;
        break;
    case CHECKPOINT_KEY_SEEN:
        parsed.is_seen = true;
        size = CHECKPOINT_SEEN_KEY_SIZE;
        break;
    default:
        return false;
    }
    if (parsed.kind == KIND_CELL && !parsed.is_seen && key.size > size) {
        parsed.kind = KIND_COHORT_CELL;
        parsed.cohort = slice_make(key.data + size, key.size - size);
        size = key.size;
        if (parsed.cohort.size > NAME_LENGTH_MAX || !bytes_are_utf8(parsed.cohort)) {
            return false;
        }
    }
    if (key.size != size || parsed.id == 0) {
        return false;
    }
    if (parsed.is_seen) {
        parsed.other = bytes_get_u64_be(key.data + 9);
    } else if (size > CHECKPOINT_ITEM_KEY_SIZE) {
        parsed.code = key.data[9];
    }
    if (parsed.kind == KIND_RELATION) {
        parsed.other = bytes_get_u64_be(key.data + 10);
    }
    *ret_key = parsed;
    return true;
}

void ledger_key_text(slice_t key, char ret_text[LEDGER_KEY_TEXT_SIZE])
{
    entry_key_t parsed;
    int length = 0;
    if (!ledger_parse_key(key, &parsed)) {
        length =
            snprintf(ret_text, LEDGER_KEY_TEXT_SIZE, "no key of a ledger (%zu bytes)", key.size);
    } else if (parsed.is_seen) {
        length = snprintf(ret_text, LEDGER_KEY_TEXT_SIZE, "seen user %llu item %llu",
                          (unsigned long long)parsed.id, (unsigned long long)parsed.other);
    } else if (parsed.kind == KIND_CELL) {
        length = snprintf(ret_text, LEDGER_KEY_TEXT_SIZE, "cell item %llu signal %u",
                          (unsigned long long)parsed.id, (unsigned)parsed.code);
    } else if (parsed.kind == KIND_COHORT_CELL) {
        length = snprintf(ret_text, LEDGER_KEY_TEXT_SIZE, "cell item %llu signal %u cohort %.*s",
                          (unsigned long long)parsed.id, (unsigned)parsed.code,
                          (int)parsed.cohort.size, (const char *)parsed.cohort.data);
    } else if (parsed.kind == KIND_RELATION) {
        const char *action = parsed.code == RELATION_HIDE   ? "hide item"
                             : parsed.code == RELATION_MUTE ? "mute creator"
                                                            : "block creator";
        length = snprintf(ret_text, LEDGER_KEY_TEXT_SIZE, "user %llu %s %llu",
                          (unsigned long long)parsed.id, action, (unsigned long long)parsed.other);
    } else {
        length =
            snprintf(ret_text, LEDGER_KEY_TEXT_SIZE, "%s %llu",
                     parsed.kind == KIND_ITEM ? "item" : "user", (unsigned long long)parsed.id);
    }
    CHECK(length > 0 && length < LEDGER_KEY_TEXT_SIZE);
}

/* -- for auditors ------------------------------------------------------------------------------ */

static bool s_find_row(const ledger_t *self, const entry_key_t *key, uint32_t *ret_row)
{
    uint32_t row = 0;
    switch (key->kind) {
    case KIND_CELL:
        row = ledger_find_item_hashed(self, key->id, index_hash(key->id));
        row = row == 0 ? 0 : ledger_find_cell(self, ledger_item_row(self, row), key->code);
        break;
    case KIND_ITEM:
        row = ledger_find_item_hashed(self, key->id, index_hash(key->id));
        break;
    case KIND_USER:
        row = ledger_find_user_hashed(self, key->id, index_hash(key->id));
        break;
    case KIND_RELATION:
        row = ledger_find_relation(self, key->id, (relation_action_t)key->code, key->other);
        break;
    case KIND_COHORT_CELL:
        row = ledger_find_cohort_cell(self, ledger_find_cohort(self, key->cohort), key->id,
                                      key->code);
        break;
    }
    *ret_row = row;
    return row != 0;
}

static bool s_get_seen(const ledger_t *self,
                       const entry_key_t *key,
                       buffer_t *buffer,
                       entry_t *ret_entry)
{
    seen_pair_t pair = {ledger_find_user_hashed(self, key->id, index_hash(key->id)),
                        ledger_find_item_hashed(self, key->other, index_hash(key->other))};
    uint64_t count = 0;
    if (pair.user_row != 0 && pair.item_row != 0) {
        count = seen_count(&self->seen, ledger_seen_key(self, pair));
    }
    if (count > 0) {
        s_encode_seen(self, pair, count, buffer, ret_entry);
    }
    return count > 0;
}

err_t ledger_get_entry(const ledger_t *self, slice_t key, buffer_t *ret_value)
{
    entry_key_t parsed;
    if (!ledger_parse_key(key, &parsed)) {
        return ERR_INVALID;
    }
    buffer_t buffer;
    buffer_init(&buffer);
    entry_t entry;
    uint32_t row = 0;
    bool found = false;
    if (parsed.is_seen) {
        found = s_get_seen(self, &parsed, &buffer, &entry);
    } else {
        found = s_find_row(self, &parsed, &row) &&
                ledger_encode_entry(self, parsed.kind, row, &buffer, &entry);
    }
    if (found) {
        buffer_append(ret_value, entry.value.data, entry.value.size);
    }
    buffer_done(&buffer);
    return found ? ERR_OK : ERR_NOT_FOUND;
}

/* Walk over the seen pairs with the callback of an entry. */
typedef struct {
    const ledger_t *ledger;
    ledger_entry_fn callback;
    void *context;
    buffer_t buffer;
    err_t err;
} walk_t;

static void s_walk_pair(void *context, seen_pair_t pair, uint64_t count)
{
    walk_t *walk = context;
    if (walk->err == ERR_OK) {
        entry_t entry;
        s_encode_seen(walk->ledger, pair, count, &walk->buffer, &entry);
        walk->err = walk->callback(walk->context, entry.key, entry.value);
    }
}

uint32_t ledger_row_count(const ledger_t *self, kind_t kind)
{
    const rows_t *rows[KIND_COUNT] = {&self->cells, &self->items, &self->users, &self->relations,
                                      &self->cohort_cells};
    return rows[kind]->count;
}

static void s_walk_kind(walk_t *walk, kind_t kind)
{
    uint32_t count = ledger_row_count(walk->ledger, kind);
    for (uint32_t row = 1; row <= count && walk->err == ERR_OK; row++) {
        entry_t entry;
        if (ledger_encode_entry(walk->ledger, kind, row, &walk->buffer, &entry)) {
            walk->err = walk->callback(walk->context, entry.key, entry.value);
        }
    }
}

err_t ledger_walk(const ledger_t *self, ledger_entry_fn callback, void *context)
{
    walk_t walk = {self, callback, context, {0}, ERR_OK};
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        s_walk_kind(&walk, (kind_t)kind);
    }
    for (uint32_t part = 0; part < SEEN_PART_COUNT; part++) {
        seen_walk(&self->seen, part, s_walk_pair, &walk);
    }
    buffer_done(&walk.buffer);
    return walk.err;
}
