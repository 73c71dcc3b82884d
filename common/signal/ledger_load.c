/* Entries of a checkpoint into rows: checkpoint_format.h. */
#include "common/base/varint.h"
#include "common/signal/ledger_state.h"

static err_t s_load_cell(ledger_t *self, const entry_key_t *key, slice_t value, errbuf_t *errbuf)
{
    if (self->signal_index[key->code] == SIGNAL_UNKNOWN) {
        errbuf_set(errbuf, "signal %u is not in the schema", (unsigned)key->code);
        return ERR_UNSUPPORTED;
    }
    uint32_t item_row = ledger_require_item(self, key->id, index_hash(key->id));
    uint32_t known = ledger_find_cell(self, ledger_item_row(self, item_row), key->code);
    if (known != 0) {
        errbuf_set(errbuf, "there already");
        return ERR_CORRUPT;
    }
    cell_t decoded;
    cell_init(&decoded, item_row, key->code);
    err_t err = cell_decode(&decoded, &self->memory, value, errbuf);
    if (err != ERR_OK) {
        cell_done(&decoded, &self->memory);
        return err;
    }
    uint32_t row = ledger_require_cell(self, item_row, key->code);
    cell_t *cell = ledger_cell_row(self, row);
    *cell = decoded;
    cell->marks = MARK_DIGEST;
    buffer_append(&self->changed[KIND_CELL].digest, &row, sizeof(row));
    self->event_count += cell->count;
    return ERR_OK;
}

static err_t s_load_cohort_cell(ledger_t *self,
                                const entry_key_t *key,
                                slice_t value,
                                errbuf_t *errbuf)
{
    if (self->signal_index[key->code] == SIGNAL_UNKNOWN) {
        errbuf_set(errbuf, "signal %u is not in the schema", (unsigned)key->code);
        return ERR_UNSUPPORTED;
    }
    uint32_t cohort = ledger_require_cohort(self, key->cohort);
    if (ledger_find_cohort_cell(self, cohort, key->id, key->code) != 0) {
        errbuf_set(errbuf, "there already");
        return ERR_CORRUPT;
    }
    cell_t decoded;
    cell_init(&decoded, ledger_require_item(self, key->id, index_hash(key->id)), key->code);
    err_t err = cell_decode(&decoded, &self->memory, value, errbuf);
    if (err != ERR_OK) {
        cell_done(&decoded, &self->memory);
        return err;
    }
    uint32_t row = ledger_require_cohort_cell(self, cohort, key->id, key->code);
    cell_t *cell = &ledger_cohort_cell_row(self, row)->cell;
    *cell = decoded;
    cell->marks = MARK_DIGEST;
    buffer_append(&self->changed[KIND_COHORT_CELL].digest, &row, sizeof(row));
    return ERR_OK;
}

static bool s_tags_ok(slice_t value)
{
    const uint8_t *at = value.data;
    size_t left = value.size;
    uint32_t count = left < 2 ? TAG_COUNT_MAX + 1 : bytes_get_u16(at);
    if (count > TAG_COUNT_MAX) {
        return false;
    }
    at += 2;
    left -= 2;
    for (uint32_t i = 0; i < count; i++) {
        size_t size = left < 2 ? SIZE_MAX : bytes_get_u16(at);
        if (size > TEXT_SIZE_MAX || size > left - 2 || !bytes_are_utf8(slice_make(at + 2, size))) {
            return false;
        }
        at += 2 + size;
        left -= 2 + size;
    }
    return left == 0;
}

/* Whether the field is one that record.h knows, with a value as it would be logged. */
static bool s_field_ok(const register_view_t *field)
{
    if (field->name.size != 1) {
        return false;
    }
    switch (field->name.data[0]) {
    case ITEM_FIELD_CREATOR:
    case ITEM_FIELD_CREATED:
        return field->value.size == 8;
    case ITEM_FIELD_TITLE:
    case ITEM_FIELD_TEXT:
    case ITEM_FIELD_CATEGORY:
        return field->value.size <= TEXT_SIZE_MAX && bytes_are_utf8(field->value);
    case ITEM_FIELD_TAGS:
        return s_tags_ok(field->value);
    default:
        return false;
    }
}

static bool s_attribute_ok(const register_view_t *attribute)
{
    return attribute->value.size <= TEXT_SIZE_MAX && bytes_are_utf8(attribute->name) &&
           bytes_are_utf8(attribute->value);
}

static err_t s_load_named(ledger_t *self,
                          ledger_named_t **named_p,
                          slice_t value,
                          bool (*is_ok)(const register_view_t *),
                          errbuf_t *errbuf)
{
    registers_t *registers = ledger_require_named(self, named_p);
    if (registers->size != 0) {
        errbuf_set(errbuf, "there already");
        return ERR_CORRUPT;
    }
    err_t err = registers_decode(registers, value, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    self->named_size_bytes += registers->capacity;
    size_t offset = 0;
    register_view_t view;
    while (registers_next(registers, &offset, &view)) {
        if (!is_ok(&view)) {
            errbuf_set(errbuf, "a register before byte %zu has no value that could be logged",
                       offset);
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}

static err_t s_load_item(ledger_t *self, const entry_key_t *key, slice_t value, errbuf_t *errbuf)
{
    uint32_t row = ledger_require_item(self, key->id, index_hash(key->id));
    ledger_item_t *item = ledger_item_row(self, row);
    err_t err = s_load_named(self, &item->named, value, s_field_ok, errbuf);
    if (err == ERR_OK) {
        ledger_refresh_item(self, item);
        item->marks = MARK_DIGEST;
        buffer_append(&self->changed[KIND_ITEM].digest, &row, sizeof(row));
    }
    return err;
}

static err_t s_load_user(ledger_t *self, const entry_key_t *key, slice_t value, errbuf_t *errbuf)
{
    uint32_t row = ledger_require_user(self, key->id, index_hash(key->id));
    user_row_t *user = ledger_user_row(self, row);
    err_t err = s_load_named(self, &user->named, value, s_attribute_ok, errbuf);
    if (err == ERR_OK) {
        self->user_count += registers_exist(&user->named->registers) ? 1 : 0;
        user->marks = MARK_DIGEST;
        buffer_append(&self->changed[KIND_USER].digest, &row, sizeof(row));
    }
    return err;
}

static err_t s_load_relation(ledger_t *self,
                             const entry_key_t *key,
                             slice_t value,
                             errbuf_t *errbuf)
{
    bool sound = value.size == CHECKPOINT_RELATION_VALUE_SIZE &&
                 value.data[0] == CHECKPOINT_VERSION && value.data[1] <= 1 && value.data[9] < 0x80;
    if (!sound || key->other == 0 || key->code < RELATION_HIDE || key->code > RELATION_BLOCK) {
        errbuf_set(errbuf, "expected an action 1..3, a target and version, 0 or 1, and a stamp");
        return ERR_CORRUPT;
    }
    relation_action_t action = (relation_action_t)key->code;
    if (ledger_find_relation(self, key->id, action, key->other) != 0) {
        errbuf_set(errbuf, "there already");
        return ERR_CORRUPT;
    }
    uint32_t row = ledger_require_relation(self, key->id, action, key->other);
    relation_row_t *relation = ledger_relation_row(self, row);
    relation->set = value.data[1];
    relation->hlc = (hlc_stamp_t){(int64_t)bytes_get_u64(value.data + 2),
                                  bytes_get_u32(value.data + 10), bytes_get_u32(value.data + 14)};
    relation->marks = MARK_DIGEST;
    buffer_append(&self->changed[KIND_RELATION].digest, &row, sizeof(row));
    return ERR_OK;
}

static err_t s_load_seen(ledger_t *self, const entry_key_t *key, slice_t value, errbuf_t *errbuf)
{
    const uint8_t *at = value.data + 1;
    uint64_t count = 0;
    bool sound = value.size >= 2 && value.data[0] == CHECKPOINT_VERSION &&
                 varint_take(&at, value.data + value.size, &count) &&
                 at == value.data + value.size && count >= 1;
    if (!sound || key->other == 0) {
        errbuf_set(errbuf, "expected an item, version 1 and one count, 1 and up");
        return ERR_CORRUPT;
    }
    seen_pair_t pair = {ledger_require_user(self, key->id, index_hash(key->id)),
                        ledger_require_item(self, key->other, index_hash(key->other))};
    if (seen_count(&self->seen, ledger_seen_key(self, pair)) != 0) {
        errbuf_set(errbuf, "there already");
        return ERR_CORRUPT;
    }
    (void)seen_set(&self->seen, ledger_seen_key(self, pair), count);
    self->digest += ledger_seen_hash(key->id, key->other) * count;
    return ERR_OK;
}

static err_t s_load(ledger_t *self, const entry_key_t *key, slice_t value, errbuf_t *errbuf)
{
    if (key->is_seen) {
        return s_load_seen(self, key, value, errbuf);
    }
    switch (key->kind) {
    case KIND_CELL:
        return s_load_cell(self, key, value, errbuf);
    case KIND_ITEM:
        return s_load_item(self, key, value, errbuf);
    case KIND_USER:
        return s_load_user(self, key, value, errbuf);
    case KIND_RELATION:
        return s_load_relation(self, key, value, errbuf);
    case KIND_COHORT_CELL:
        return s_load_cohort_cell(self, key, value, errbuf);
    }
    CHECK(false);
    return ERR_INVALID;
}

/* A chunk of seen pairs is no entry and has a key of its own kind. */
static err_t s_load_chunk(ledger_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    uint32_t part = key.data[1];
    uint32_t number = 0;
    for (unsigned i = 2; i < CHECKPOINT_SEEN_CHUNK_KEY_SIZE; i++) {
        number = number << 8 | key.data[i];
    }
    err_t err = ERR_CORRUPT;
    if (part < SEEN_PART_COUNT) {
        err = ledger_load_chunk(self, part, number, value, errbuf);
    } else {
        errbuf_set(errbuf, "expected a part up to %d", SEEN_PART_COUNT - 1);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "checkpoint: seen pairs, part %u, chunk %u", (unsigned)part,
                      (unsigned)number);
    }
    return err;
}

err_t ledger_load_entry(ledger_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    if (key.size == CHECKPOINT_SEEN_CHUNK_KEY_SIZE && key.data[0] == CHECKPOINT_KEY_SEEN_CHUNK) {
        return s_load_chunk(self, key, value, errbuf);
    }
    entry_key_t parsed;
    if (!ledger_parse_key(key, &parsed)) {
        errbuf_set(errbuf, "checkpoint: a key of %zu bytes is none of a ledger of version %d",
                   key.size, CHECKPOINT_VERSION);
        return ERR_CORRUPT;
    }
    err_t err = s_load(self, &parsed, value, errbuf);
    if (err != ERR_OK) {
        char text[LEDGER_KEY_TEXT_SIZE];
        ledger_key_text(key, text);
        errbuf_prefix(errbuf, "checkpoint: %s", text);
    }
    ledger_invariant(self);
    return err;
}
