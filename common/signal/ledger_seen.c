/* Seen pairs in a checkpoint.
 *
 * Nearly every signal makes a new pair, and a put of its own for each would cost more than all else
 * in a checkpoint: a key-value store rewrites a page for each key that lies somewhere else. So what
 * changed since the last checkpoint is appended as a few chunks per part; of several records of one
 * pair the one in the chunk with the highest number holds. When a part's chunks hold more than
 * twice as many records as it has pairs, the next checkpoint writes the part anew and deletes them,
 * which costs at most one more record per record appended. */
#include "common/base/varint.h"
#include "common/signal/ledger_state.h"

enum {
    CHUNK_SIZE = 64 * 1024, /* a chunk is put when it has reached this */
    RECORD_SIZE_MAX = 3 * VARINT_SIZE_MAX,
    REWRITE_RECORD_COUNT = 4096, /* parts with fewer records are left as they are */
    LANE_COUNT = 16
};

seen_key_t ledger_seen_key(const ledger_t *self, seen_pair_t pair)
{
    uint64_t user = ledger_user_row(self, pair.user_row)->user;
    uint64_t item = ledger_item_row(self, pair.item_row)->item.value;
    return seen_key(pair, index_hash(user), index_hash(item));
}

/* -- writing ----------------------------------------------------------------------------------- */

/* What a walk over a part writes to. */
typedef struct {
    ledger_t *ledger;
    store_batch_t *batch;
    store_key_t *key;
    uint32_t part;
} writer_t;

static slice_t s_chunk_key(const writer_t *writer, uint32_t number, uint8_t *ret_bytes)
{
    ret_bytes[0] = CHECKPOINT_KEY_SEEN_CHUNK;
    ret_bytes[1] = (uint8_t)writer->part;
    for (unsigned i = 0; i < 4; i++) {
        ret_bytes[2 + i] = (uint8_t)(number >> (24 - 8 * i));
    }
    return ledger_store_key(writer->key, slice_make(ret_bytes, CHECKPOINT_SEEN_CHUNK_KEY_SIZE));
}

static void s_put_chunk(const writer_t *writer)
{
    buffer_t *chunk = &writer->ledger->seen_chunks[writer->part];
    seen_log_t *log = &writer->ledger->seen_logs[writer->part];
    if (chunk->size == 0) {
        return;
    }
    CHECK(log->next_chunk < UINT32_MAX);
    uint8_t bytes[CHECKPOINT_SEEN_CHUNK_KEY_SIZE];
    store_batch_put(writer->batch, s_chunk_key(writer, log->next_chunk, bytes),
                    buffer_slice(chunk));
    log->next_chunk++;
    buffer_clear(chunk);
}

static void s_write_record(void *context, seen_pair_t pair, uint64_t count)
{
    writer_t *writer = context;
    ledger_t *self = writer->ledger;
    buffer_t *chunk = &self->seen_chunks[writer->part];
    if (chunk->size == 0) {
        *buffer_extend(chunk, 1) = CHECKPOINT_VERSION;
    }
    uint8_t *begin = buffer_extend(chunk, RECORD_SIZE_MAX);
    uint8_t *at = varint_put(begin, ledger_user_row(self, pair.user_row)->user);
    at = varint_put(at, ledger_item_row(self, pair.item_row)->item.value);
    at = varint_put(at, count);
    chunk->size -= RECORD_SIZE_MAX - (size_t)(at - begin);
    self->seen_logs[writer->part].record_count++;
    if (chunk->size >= CHUNK_SIZE) {
        s_put_chunk(writer);
    }
}

/* Everything in the part, in new chunks; the old ones are deleted. */
static void s_rewrite_part(writer_t *writer)
{
    seen_log_t *log = &writer->ledger->seen_logs[writer->part];
    for (uint32_t number = log->first_chunk; number < log->next_chunk; number++) {
        uint8_t bytes[CHECKPOINT_SEEN_CHUNK_KEY_SIZE];
        store_batch_delete(writer->batch, s_chunk_key(writer, number, bytes));
    }
    log->first_chunk = log->next_chunk;
    log->record_count = 0;
    seen_walk(&writer->ledger->seen, writer->part, s_write_record, writer);
    s_put_chunk(writer);
}

static seen_pair_t s_listed(const buffer_t *list, size_t i)
{
    seen_pair_t pair;
    (void)memcpy(&pair, list->data + i * sizeof(pair), sizeof(pair));
    return pair;
}

/* One lane of pairs: rows first, then lines, then records. */
static void s_write_lane(writer_t *writer, const buffer_t *list, size_t first, size_t count)
{
    ledger_t *self = writer->ledger;
    seen_key_t keys[LANE_COUNT];
    for (size_t i = 0; i < count; i++) {
        seen_pair_t pair = s_listed(list, first + i);
        __builtin_prefetch(rows_at(&self->users, pair.user_row));
        __builtin_prefetch(rows_at(&self->items, pair.item_row));
    }
    for (size_t i = 0; i < count; i++) {
        keys[i] = ledger_seen_key(self, s_listed(list, first + i));
        __builtin_prefetch(seen_address(&self->seen, keys[i]));
    }
    for (size_t i = 0; i < count; i++) {
        writer->part = keys[i].part;
        s_write_record(writer, seen_pair(keys[i]), seen_count(&self->seen, keys[i]));
        (void)seen_mark(&self->seen, keys[i], false); /* it was marked: it is in the list */
    }
}

void ledger_write_seen(ledger_t *self, store_batch_t *batch, store_key_t *key)
{
    writer_t writer = {self, batch, key, 0};
    (void)memcpy(self->seen_logs_before, self->seen_logs, sizeof(self->seen_logs));
    const buffer_t *list = &self->seen_pending;
    size_t count = list->size / sizeof(seen_pair_t);
    for (size_t first = 0; first < count; first += LANE_COUNT) {
        size_t left = count - first;
        s_write_lane(&writer, list, first, left < LANE_COUNT ? left : LANE_COUNT);
    }
    for (uint32_t part = 0; part < SEEN_PART_COUNT; part++) {
        writer.part = part;
        s_put_chunk(&writer);
        uint64_t record_count = self->seen_logs[part].record_count;
        bool is_long = record_count > REWRITE_RECORD_COUNT &&
                       record_count > 2 * (uint64_t)self->seen.parts[part].used;
        if (is_long || self->seen_rewrite) {
            s_rewrite_part(&writer);
        }
    }
    self->seen_rewrite_pending = self->seen_rewrite;
    self->seen_rewrite = false;
}

/* -- loading ----------------------------------------------------------------------------------- */

typedef struct {
    uint64_t user;
    uint64_t item;
    uint64_t count;
    uint64_t user_hash;
    uint64_t item_hash;
    seen_key_t key;
} record_lane_t;

/* Takes up to LANE_COUNT records; false when one is malformed or not of this part. */
static bool s_take_records(ledger_t *self,
                           uint32_t part,
                           const uint8_t **at_p,
                           const uint8_t *end,
                           record_lane_t *lanes,
                           size_t *ret_count)
{
    size_t count = 0;
    while (count < LANE_COUNT && *at_p < end) {
        record_lane_t *lane = &lanes[count++];
        if (!varint_take(at_p, end, &lane->user) || !varint_take(at_p, end, &lane->item) ||
            !varint_take(at_p, end, &lane->count)) {
            return false;
        }
        lane->user_hash = index_hash(lane->user);
        lane->item_hash = index_hash(lane->item);
        lane->key = seen_key((seen_pair_t){1, 1}, lane->user_hash, lane->item_hash);
        if (lane->user == 0 || lane->item == 0 || lane->key.part != part) {
            return false;
        }
        __builtin_prefetch(index_address(&self->user_index, lane->user_hash));
        __builtin_prefetch(index_address(&self->item_index, lane->item_hash));
    }
    *ret_count = count;
    return true;
}

static void s_set_records(ledger_t *self, record_lane_t *lanes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        record_lane_t *lane = &lanes[i];
        seen_pair_t pair = {ledger_require_user(self, lane->user, lane->user_hash),
                            ledger_require_item(self, lane->item, lane->item_hash)};
        lane->key = seen_key(pair, lane->user_hash, lane->item_hash);
        __builtin_prefetch(seen_address(&self->seen, lane->key), 1);
    }
    for (size_t i = 0; i < count; i++) {
        const record_lane_t *lane = &lanes[i];
        uint64_t before = seen_set(&self->seen, lane->key, lane->count);
        uint128_t hash = ledger_seen_hash(lane->user, lane->item);
        self->digest += hash * lane->count - hash * before;
    }
}

err_t ledger_load_chunk(
    ledger_t *self, uint32_t part, uint32_t number, slice_t value, errbuf_t *errbuf)
{
    seen_log_t *log = &self->seen_logs[part];
    bool is_first = log->next_chunk == 0;
    if (!is_first && number < log->next_chunk) {
        errbuf_set(errbuf, "chunk %u of part %u after chunk %u: expected rising numbers",
                   (unsigned)number, (unsigned)part, (unsigned)log->next_chunk - 1);
        return ERR_CORRUPT;
    }
    if (value.size < 2 || value.data[0] != CHECKPOINT_VERSION || number == UINT32_MAX) {
        errbuf_set(errbuf, "expected version %d and records", CHECKPOINT_VERSION);
        return ERR_CORRUPT;
    }
    const uint8_t *at = value.data + 1;
    const uint8_t *end = value.data + value.size;
    while (at < end) {
        record_lane_t lanes[LANE_COUNT] = {0};
        size_t count = 0;
        if (!s_take_records(self, part, &at, end, lanes, &count)) {
            errbuf_set(errbuf, "malformed, or of another part, before byte %td of %zu",
                       at - value.data, value.size);
            return ERR_CORRUPT;
        }
        s_set_records(self, lanes, count);
        log->record_count += count;
    }
    log->first_chunk = is_first ? number : log->first_chunk;
    log->next_chunk = number + 1;
    return ERR_OK;
}
