#include "common/session/home_book.h"

#include "common/base/check.h"
#include "common/session/pair_index.h"
#include "common/topology/route.h"
#include "common/wal/record_held.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    S_VERSION = 1,
    S_STATE_PENDING = 1,
    S_STATE_EARLY = 2,
    S_VALUE_HEAD_SIZE = 2,
    S_NAMED_SIZE = 17, /* what names a register, but for the name */
    S_DEAD_COUNT_MAX = 64
};

typedef struct {
    uint8_t bytes[HOME_KEY_SIZE];
} s_key_t;

typedef struct {
    uint64_t order; /* rises from row to row */
    s_key_t key;
    record_held_t held; /* its name borrows from `name` */
    uint8_t *name;      /* owned; NULL: it has none */
    bool is_early;      /* held before it was written */
    bool is_dead;
} s_row_t;

struct home_book {
    tenant_id_t tenant;
    shard_id_t shard;
    uint32_t shard_count;
    uint64_t last_order;
    uint32_t row_count;
    uint32_t row_capacity;
    uint32_t dead_count;
    uint32_t early_count;
    s_row_t *rows;
    pair_index_t index; /* row + 1 */
    buffer_t changed;   /* keys since the last checkpoint */
    buffer_t writing;   /* keys of the checkpoint under way */
    buffer_t scratch;
};

home_book_t *home_book_new(tenant_id_t tenant, shard_id_t shard, uint32_t shard_count)
{
    home_book_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    CHECK(shard.value < shard_count);
    self->tenant = tenant;
    self->shard = shard;
    self->shard_count = shard_count;
    pair_index_init(&self->index);
    buffer_init(&self->changed);
    buffer_init(&self->writing);
    buffer_init(&self->scratch);
    return self;
}

void home_book_destroy(home_book_t **self_p)
{
    home_book_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->row_count; i++) {
        free(self->rows[i].name);
    }
    free(self->rows);
    pair_index_done(&self->index);
    buffer_done(&self->changed);
    buffer_done(&self->writing);
    buffer_done(&self->scratch);
    free(self);
    *self_p = NULL;
}

/* -- rows -------------------------------------------------------------------------------------- */

static s_key_t s_key(home_book_t *self, const record_held_t *held)
{
    buffer_clear(&self->scratch);
    uint8_t *at = buffer_extend(&self->scratch, S_NAMED_SIZE);
    at[0] = (uint8_t)held->kind;
    bytes_put_u64(at + 1, held->user.value);
    bytes_put_u64(at + 9, held->target);
    buffer_append(&self->scratch, held->name.data, held->name.size);
    XXH128_hash_t hash = XXH3_128bits(self->scratch.data, self->scratch.size);
    s_key_t key = {{0}};
    bytes_put_u64_be(key.bytes, hash.high64);
    bytes_put_u64_be(key.bytes + 8, hash.low64);
    return key;
}

static uint64_t s_hash(const s_key_t *key)
{
    return bytes_get_u64_be(key->bytes);
}

/* Number of the row; UINT32_MAX when there is none. */
static uint32_t s_find(const home_book_t *self, const s_key_t *key)
{
    pair_cursor_t cursor = pair_index_find(&self->index, s_hash(key));
    uint32_t found = pair_index_next(&self->index, &cursor);
    while (found != 0 && memcmp(&self->rows[found - 1].key, key, sizeof(*key)) != 0) {
        found = pair_index_next(&self->index, &cursor);
    }
    return found == 0 ? UINT32_MAX : found - 1;
}

static void s_note_changed(home_book_t *self, const s_key_t *key)
{
    buffer_append(&self->changed, key->bytes, sizeof(key->bytes));
}

/* Closes the gaps that dead rows leave. */
static void s_compact(home_book_t *self)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->row_count; i++) {
        if (self->rows[i].is_dead) {
            continue;
        }
        if (count != i) {
            pair_index_replace(&self->index, s_hash(&self->rows[i].key), i + 1, count + 1);
            self->rows[count] = self->rows[i];
        }
        count++;
    }
    self->row_count = count;
    self->dead_count = 0;
}

static void s_remove(home_book_t *self, uint32_t at)
{
    s_row_t *row = &self->rows[at];
    CHECK(!row->is_dead);
    s_note_changed(self, &row->key);
    pair_index_remove(&self->index, s_hash(&row->key), at + 1);
    free(row->name);
    row->name = NULL;
    row->held.name = slice_make(NULL, 0);
    row->is_dead = true;
    self->early_count -= row->is_early ? 1 : 0;
    self->dead_count++;
    if (self->dead_count > S_DEAD_COUNT_MAX && self->dead_count > self->row_count / 2) {
        s_compact(self);
    }
}

static void s_add(home_book_t *self, const s_key_t *key, const record_held_t *held, bool is_early)
{
    if (self->row_count == self->row_capacity) {
        self->row_capacity = self->row_capacity == 0 ? 16 : self->row_capacity * 2;
        self->rows = realloc(self->rows, self->row_capacity * sizeof(*self->rows));
        CHECK(self->rows != NULL);
    }
    s_row_t *row = &self->rows[self->row_count++];
    *row = (s_row_t){.order = ++self->last_order, .key = *key, .held = *held, .is_early = is_early};
    row->held.name = slice_make(NULL, 0);
    if (held->name.size > 0) {
        row->name = malloc(held->name.size);
        CHECK(row->name != NULL);
        memcpy(row->name, held->name.data, held->name.size);
        row->held.name = slice_make(row->name, held->name.size);
    }
    self->early_count += is_early ? 1 : 0;
    pair_index_insert(&self->index, s_hash(key), self->row_count);
    s_note_changed(self, key);
}

/* -- records ----------------------------------------------------------------------------------- */

/* How far a register has got. */
typedef struct {
    hlc_stamp_t hlc;
    bool set;
    bool is_written;
} s_level_t;

static int s_compare(const record_held_t *held, s_level_t level)
{
    int order = hlc_compare(held->hlc, level.hlc);
    return order != 0 ? order : (int)held->set - (int)level.set;
}

static s_level_t s_level_of(const s_row_t *row)
{
    return (s_level_t){row->held.hlc, row->held.set, true};
}

static s_level_t s_level(const ledger_t *ledger, const record_held_t *held)
{
    if (held->kind == HELD_ATTRIBUTE) {
        const registers_t *attributes = NULL;
        register_view_t attribute;
        bool is_written = ledger_get_user(ledger, held->user, &attributes) == ERR_OK &&
                          registers_find(attributes, held->name, &attribute);
        return is_written ? (s_level_t){attribute.hlc, false, true}
                          : (s_level_t){{0}, false, false};
    }
    ledger_relation_t relation;
    relation_action_t action = held->kind == HELD_MUTE ? RELATION_MUTE : RELATION_BLOCK;
    bool is_written =
        ledger_get_relation(ledger, held->user, action, held->target, &relation) == ERR_OK;
    return is_written ? (s_level_t){relation.hlc, relation.set, true}
                      : (s_level_t){{0}, false, false};
}

/* A write that the ledger, which stands at `level`, is about to take. */
static void s_on_write(home_book_t *self, const record_held_t *held, s_level_t level)
{
    if (level.is_written && s_compare(held, level) <= 0) {
        return; /* a second copy, or a later write is known */
    }
    s_key_t key = s_key(self, held);
    uint32_t at = s_find(self, &key);
    if (at != UINT32_MAX) {
        const s_row_t *row = &self->rows[at];
        int order = s_compare(held, s_level_of(row));
        if (row->is_early && order < 0) {
            return; /* what is held is above it */
        }
        bool is_held = row->is_early && order == 0;
        s_remove(self, at);
        if (is_held) {
            return;
        }
    }
    s_add(self, &key, held, false);
}

static void s_on_held(home_book_t *self, const record_held_t *held, s_level_t level)
{
    int order = level.is_written ? s_compare(held, level) : 1;
    s_key_t key = s_key(self, held);
    uint32_t at = s_find(self, &key);
    if (order < 0) {
        return; /* of an earlier write */
    }
    if (at != UINT32_MAX && self->rows[at].is_early &&
        s_compare(held, s_level_of(&self->rows[at])) <= 0) {
        return; /* as much, or more, is known to be held */
    }
    if (at != UINT32_MAX) {
        s_remove(self, at);
    }
    if (order > 0) {
        s_add(self, &key, held, true);
    }
}

static void s_on_record(home_book_t *self, const ledger_t *ledger, const record_t *record)
{
    if (record->type == RECORD_HELD) {
        s_on_held(self, &record->as.held, s_level(ledger, &record->as.held));
    } else if (record->type == RECORD_USER_PUT) {
        record_held_t held = {
            .user = record->as.user.user, .hlc = record->as.user.hlc, .kind = HELD_ATTRIBUTE};
        for (uint32_t i = 0; i < record->as.user.attribute_count; i++) {
            held.name = record->as.user.attributes[i].name;
            s_on_write(self, &held, s_level(ledger, &held));
        }
    } else if (record->as.relation.action != RELATION_HIDE) {
        record_held_t held = {
            .user = record->as.relation.user,
            .hlc = record->as.relation.hlc,
            .kind = record->as.relation.action == RELATION_MUTE ? HELD_MUTE : HELD_BLOCK,
            .set = record->as.relation.set,
            .target = record->as.relation.target,
        };
        s_on_write(self, &held, s_level(ledger, &held));
    }
}

static bool s_concerns(uint8_t type)
{
    return type == RECORD_USER_PUT || type == RECORD_RELATION || type == RECORD_HELD;
}

/* Whether a payload has a record of which this may keep something. */
static bool s_has_concern(slice_t payload)
{
    size_t offset = 0;
    while (payload.size - offset >= RECORD_HEADER_SIZE) {
        const uint8_t *at = payload.data + offset;
        size_t body_size = bytes_get_u32(at + 8);
        if (s_concerns(at[0])) {
            return true;
        }
        if (body_size > payload.size - offset - RECORD_HEADER_SIZE) {
            return false;
        }
        offset += RECORD_HEADER_SIZE + body_size;
    }
    return false;
}

static bool s_is_home(const home_book_t *self, const record_t *record)
{
    user_id_t user = record->type == RECORD_USER_PUT   ? record->as.user.user
                     : record->type == RECORD_RELATION ? record->as.relation.user
                                                       : record->as.held.user;
    return route_user(self->tenant, user, self->shard_count).value == self->shard.value;
}

err_t home_book_apply_payload(home_book_t *self,
                              ledger_t *ledger,
                              slice_t payload,
                              ledger_standing_t standing,
                              errbuf_t *errbuf)
{
    if (self->shard_count == 1 || !s_has_concern(payload)) {
        return ledger_apply_payload(ledger, payload, standing, errbuf);
    }
    size_t begin = 0;
    size_t offset = 0;
    record_t record;
    err_t err = record_next(payload, &offset, &record, errbuf);
    while (err == ERR_OK) {
        if (s_concerns((uint8_t)record.type) && s_is_home(self, &record)) {
            s_on_record(self, ledger, &record);
        }
        err = ledger_apply_payload(ledger, slice_make(payload.data + begin, offset - begin),
                                   standing, errbuf);
        begin = offset;
        err = err == ERR_OK ? record_next(payload, &offset, &record, errbuf) : err;
    }
    return err == ERR_END ? ERR_OK : err;
}

/* -- what is pending --------------------------------------------------------------------------- */

uint32_t home_book_pending_count(const home_book_t *self)
{
    return self->row_count - self->dead_count - self->early_count;
}

uint64_t home_book_last_order(const home_book_t *self)
{
    return self->last_order;
}

bool home_book_next(const home_book_t *self, uint64_t order, home_entry_t *ret_entry)
{
    uint32_t low = 0;
    uint32_t high = self->row_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (self->rows[middle].order <= order) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    while (low < self->row_count && (self->rows[low].is_dead || self->rows[low].is_early)) {
        low++;
    }
    if (low == self->row_count) {
        return false;
    }
    *ret_entry = (home_entry_t){self->rows[low].order, self->rows[low].held};
    return true;
}

bool home_book_append_write(const home_entry_t *entry, const ledger_t *ledger, buffer_t *payload)
{
    const record_held_t *held = &entry->held;
    s_level_t level = s_level(ledger, held);
    if (!level.is_written || s_compare(held, level) != 0) {
        return false;
    }
    record_t record = {.event_count = 1};
    if (held->kind == HELD_ATTRIBUTE) {
        const registers_t *attributes = NULL;
        register_view_t attribute;
        bool is_there = ledger_get_user(ledger, held->user, &attributes) == ERR_OK &&
                        registers_find(attributes, held->name, &attribute);
        CHECK(is_there);
        record.type = RECORD_USER_PUT;
        record.as.user.user = held->user;
        record.as.user.hlc = held->hlc;
        record.as.user.attribute_count = 1;
        record.as.user.attributes[0] = (record_attribute_t){attribute.name, attribute.value};
    } else {
        record.type = RECORD_RELATION;
        record.as.relation.user = held->user;
        record.as.relation.target = held->target;
        record.as.relation.hlc = held->hlc;
        record.as.relation.action = held->kind == HELD_MUTE ? RELATION_MUTE : RELATION_BLOCK;
        record.as.relation.set = held->set;
    }
    record_append(payload, &record);
    return true;
}

/* -- checkpoint -------------------------------------------------------------------------------- */

uint64_t home_book_changed_count(const home_book_t *self)
{
    return self->changed.size / HOME_KEY_SIZE;
}

/* The value of a row, in the scratch. */
static slice_t s_encode(home_book_t *self, const s_row_t *row)
{
    buffer_clear(&self->scratch);
    uint8_t *at = buffer_extend(&self->scratch, S_VALUE_HEAD_SIZE);
    at[0] = S_VERSION;
    at[1] = row->is_early ? S_STATE_EARLY : S_STATE_PENDING;
    record_t record = {.type = RECORD_HELD, .event_count = 1};
    record.as.held = row->held;
    record_held_append(&self->scratch, &record);
    return buffer_slice(&self->scratch);
}

void home_book_checkpoint_write(home_book_t *self, store_batch_t *batch, slice_t prefix)
{
    CHECK(self->writing.size == 0);
    CHECK(prefix.size + HOME_KEY_SIZE <= STORE_KEY_SIZE_MAX);
    buffer_t changed = self->changed;
    self->changed = self->writing;
    self->writing = changed;
    for (size_t offset = 0; offset < self->writing.size; offset += HOME_KEY_SIZE) {
        s_key_t key;
        uint8_t bytes[STORE_KEY_SIZE_MAX];
        memcpy(key.bytes, self->writing.data + offset, HOME_KEY_SIZE);
        if (prefix.size > 0) {
            memcpy(bytes, prefix.data, prefix.size);
        }
        memcpy(bytes + prefix.size, key.bytes, HOME_KEY_SIZE);
        slice_t whole = slice_make(bytes, prefix.size + HOME_KEY_SIZE);
        uint32_t at = s_find(self, &key);
        if (at == UINT32_MAX) {
            store_batch_delete(batch, whole);
        } else {
            store_batch_put(batch, whole, s_encode(self, &self->rows[at]));
        }
    }
}

void home_book_checkpoint_settle(home_book_t *self, bool durable)
{
    if (!durable) {
        buffer_append(&self->changed, self->writing.data, self->writing.size);
    }
    buffer_clear(&self->writing);
}

void home_book_mark_all(home_book_t *self)
{
    CHECK(self->writing.size == 0);
    buffer_clear(&self->changed);
    for (uint32_t i = 0; i < self->row_count; i++) {
        if (!self->rows[i].is_dead) {
            s_note_changed(self, &self->rows[i].key);
        }
    }
}

err_t home_book_load_entry(home_book_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    if (key.size != HOME_KEY_SIZE || value.size < S_VALUE_HEAD_SIZE || value.data[0] == 0 ||
        value.data[1] < S_STATE_PENDING || value.data[1] > S_STATE_EARLY) {
        errbuf_set(errbuf, "write for all shards: malformed entry");
        return ERR_CORRUPT;
    }
    if (value.data[0] != S_VERSION) {
        errbuf_set(errbuf, "write for all shards: expected version %d, found %u", S_VERSION,
                   (unsigned)value.data[0]);
        return ERR_UNSUPPORTED;
    }
    record_t record = {.type = RECORD_HELD, .event_count = 1};
    err_t err = record_held_decode(
        slice_make(value.data + S_VALUE_HEAD_SIZE, value.size - S_VALUE_HEAD_SIZE), &record,
        errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "write for all shards");
        return err;
    }
    s_key_t expected = s_key(self, &record.as.held);
    bool is_fine = memcmp(expected.bytes, key.data, HOME_KEY_SIZE) == 0 &&
                   s_find(self, &expected) == UINT32_MAX && self->shard_count > 1 &&
                   s_is_home(self, &record);
    if (!is_fine) {
        errbuf_set(errbuf,
                   "write for all shards: expected a register of a user whose home is shard "
                   "%u, once, under its own key",
                   (unsigned)self->shard.value);
        return ERR_CORRUPT;
    }
    bool is_early = value.data[1] == S_STATE_EARLY;
    size_t changed = self->changed.size;
    s_add(self, &expected, &record.as.held, is_early);
    self->changed.size = changed; /* the store has it */
    return ERR_OK;
}

/* Whether everything of a is in b. */
static bool s_is_within(const home_book_t *a, const home_book_t *b, const ledger_t *ledger)
{
    bool is_within = true;
    for (uint32_t i = 0; is_within && i < a->row_count; i++) {
        const s_row_t *row = &a->rows[i];
        bool is_left_out = row->is_dead || (row->held.kind == HELD_ATTRIBUTE &&
                                            !s_level(ledger, &row->held).is_written);
        uint32_t at = is_left_out ? UINT32_MAX : s_find(b, &row->key);
        is_within = is_left_out || (at != UINT32_MAX && b->rows[at].is_early == row->is_early &&
                                    s_compare(&row->held, s_level_of(&b->rows[at])) == 0);
    }
    return is_within;
}

bool home_book_equal(const home_book_t *a, const home_book_t *b, const ledger_t *ledger)
{
    return s_is_within(a, b, ledger) && s_is_within(b, a, ledger);
}
