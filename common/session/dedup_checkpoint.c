/* Checkpoint of dedup: dedup_format.h byte by byte. */
#include "common/session/dedup_state.h"

/* -- keys -------------------------------------------------------------------------------------- */

/* A key in the making, behind the prefix of the caller. */
typedef struct {
    uint8_t bytes[STORE_KEY_SIZE_MAX];
    size_t prefix_size;
} key_buffer_t;

static slice_t s_seen_key(key_buffer_t *self, slice_t name, uint32_t block_id)
{
    uint8_t *at = self->bytes + self->prefix_size;
    at[0] = DEDUP_KEY_SEEN;
    at[1] = (uint8_t)name.size;
    (void)memcpy(at + 2, name.data, name.size);
    for (unsigned i = 0; i < 4; i++) {
        at[2 + name.size + i] = (uint8_t)(block_id >> (24 - 8 * i));
    }
    return slice_make(self->bytes, self->prefix_size + 2 + name.size + 4);
}

/* Writes the part that names a stream. */
static void s_put_stream(uint8_t *at, char kind, stream_id_t id)
{
    at[0] = (uint8_t)kind;
    at[1] = (uint8_t)(id.origin.region.value >> 8);
    at[2] = (uint8_t)id.origin.region.value;
    bytes_put_u64_be(at + 3, id.incarnation);
}

static slice_t s_stable_key(key_buffer_t *self, stream_id_t id)
{
    s_put_stream(self->bytes + self->prefix_size, DEDUP_KEY_STABLE, id);
    return slice_make(self->bytes, self->prefix_size + DEDUP_STABLE_KEY_SIZE);
}

static slice_t s_position_key(key_buffer_t *self, stream_id_t id, uint64_t first_seq)
{
    s_put_stream(self->bytes + self->prefix_size, DEDUP_KEY_POSITION, id);
    bytes_put_u64_be(self->bytes + self->prefix_size + DEDUP_STABLE_KEY_SIZE, first_seq);
    return slice_make(self->bytes, self->prefix_size + DEDUP_POSITION_KEY_SIZE);
}

/* -- writing ----------------------------------------------------------------------------------- */

static void s_write_dropped(const dedup_t *self, store_batch_t *batch, key_buffer_t *key)
{
    const dropped_block_t *blocks = (const void *)self->changed.dropped_blocks.data;
    size_t count = self->changed.dropped_blocks.size / sizeof(*blocks);
    for (size_t i = 0; i < count; i++) {
        slice_t name = dedup_producer_name(self, dedup_producer_at(self, blocks[i].producer));
        store_batch_delete(batch, s_seen_key(key, name, blocks[i].block_id));
    }
    const dropped_position_t *positions = (const void *)self->changed.dropped_positions.data;
    count = self->changed.dropped_positions.size / sizeof(*positions);
    for (size_t i = 0; i < count; i++) {
        stream_id_t id = dedup_stream_at(self, positions[i].stream)->id;
        store_batch_delete(batch, s_position_key(key, id, positions[i].first_seq));
    }
}

static void s_write_block(store_batch_t *batch, slice_t key, const seq_block_view_t *block)
{
    uint8_t *at =
        store_batch_reserve_put(batch, key, 1 + block->count * (size_t)DEDUP_INTERVAL_SIZE);
    *at++ = DEDUP_VERSION;
    for (uint32_t i = 0; i < block->count; i++, at += DEDUP_INTERVAL_SIZE) {
        bytes_put_u64(at, block->intervals[i].first);
        bytes_put_u64(at + 8, block->intervals[i].last);
    }
}

static void s_write_producers(dedup_t *self, store_batch_t *batch, key_buffer_t *key)
{
    const uint32_t *rows = (const void *)self->changed.producers.data;
    size_t count = self->changed.producers.size / sizeof(*rows);
    for (size_t i = 0; i < count; i++) {
        producer_row_t *producer = dedup_producer_at(self, rows[i]);
        slice_t name = dedup_producer_name(self, producer);
        uint32_t cursor = 0;
        seq_block_view_t block;
        while (seq_set_take_changed(&producer->seqs, &cursor, &block)) {
            s_write_block(batch, s_seen_key(key, name, block.id), &block);
        }
        producer->is_changed = false;
    }
}

static void s_write_stable(const dedup_t *self, store_batch_t *batch, key_buffer_t *key)
{
    for (uint32_t i = 0; i < dedup_stream_count(self); i++) {
        dedup_stream_t *stream = dedup_stream_at(self, i);
        if (stream->is_stable_changed) {
            uint8_t *at = store_batch_reserve_put(batch, s_stable_key(key, stream->id),
                                                  DEDUP_STABLE_VALUE_SIZE);
            at[0] = DEDUP_VERSION;
            bytes_put_u64(at + 1, stream->stable_seq);
            stream->is_stable_changed = false;
            stream->is_stable_pending = true;
        }
    }
}

/* The copy that answers name, of a reissue; else zeros. */
static void s_put_named(const dedup_t *self, const position_row_t *position, uint8_t *at)
{
    stream_id_t named = {.incarnation = 0};
    if (position->named_seq != 0) {
        named = dedup_stream_at(self, position->named_stream)->id;
    }
    bytes_put_u64(at, named.incarnation);
    bytes_put_u64(at + 8, position->named_seq);
    bytes_put_u16(at + 16, named.origin.region.value);
}

static void s_write_position(const dedup_t *self,
                             store_batch_t *batch,
                             key_buffer_t *key,
                             const position_row_t *position)
{
    slice_t name = dedup_producer_name(self, dedup_producer_at(self, position->producer));
    stream_id_t id = dedup_stream_at(self, position->stream)->id;
    uint8_t *at = store_batch_reserve_put(batch, s_position_key(key, id, position->first_seq),
                                          DEDUP_POSITION_VALUE_SIZE_MIN + name.size);
    at[0] = DEDUP_VERSION;
    at[1] = position->is_pair_stable;
    bytes_put_u32(at + 2, position->event_count);
    bytes_put_u64(at + 6, (uint64_t)position->hlc.wall_ns);
    bytes_put_u32(at + 14, position->hlc.logical);
    bytes_put_u32(at + 18, position->hlc.node);
    (void)memcpy(at + 22, position->content_hash.bytes, WAL_CONTENT_HASH_SIZE);
    bytes_put_u64(at + 38, position->producer_seq);
    bytes_put_u64(at + 46, position->epoch);
    s_put_named(self, position, at + 54);
    at[72] = (uint8_t)name.size;
    (void)memcpy(at + DEDUP_POSITION_VALUE_SIZE_MIN, name.data, name.size);
}

static void s_write_positions(const dedup_t *self, store_batch_t *batch, key_buffer_t *key)
{
    const uint32_t *rows = (const void *)self->changed.positions.data;
    size_t count = self->changed.positions.size / sizeof(*rows);
    for (size_t i = 0; i < count; i++) {
        position_row_t *position = dedup_position_at(self, rows[i]);
        position->is_changed = false;
        if (position->event_count > 0) {
            s_write_position(self, batch, key, position);
            position->is_stored = true;
        }
    }
}

uint64_t dedup_changed_count(const dedup_t *self)
{
    const dedup_changes_t *changed = &self->changed;
    return changed->producers.size / sizeof(uint32_t) + changed->positions.size / sizeof(uint32_t) +
           changed->dropped_blocks.size / sizeof(dropped_block_t) +
           changed->dropped_positions.size / sizeof(dropped_position_t);
}

void dedup_checkpoint_write(dedup_t *self, store_batch_t *batch, slice_t prefix)
{
    CHECK(!self->is_checkpoint_open);
    CHECK(prefix.size <= DEDUP_KEY_PREFIX_SIZE_MAX);
    key_buffer_t key = {.prefix_size = prefix.size};
    if (prefix.size > 0) {
        (void)memcpy(key.bytes, prefix.data, prefix.size);
    }
    /* Deletes first: a block's number may be in use again. */
    s_write_dropped(self, batch, &key);
    s_write_producers(self, batch, &key);
    s_write_stable(self, batch, &key);
    s_write_positions(self, batch, &key);
    dedup_changes_t empty = self->pending;
    self->pending = self->changed;
    self->changed = empty;
    self->is_checkpoint_open = true;
}

/* What was written and is not there counts as changed again. */
static void s_restore(dedup_t *self)
{
    const uint32_t *producers = (const void *)self->pending.producers.data;
    size_t count = self->pending.producers.size / sizeof(*producers);
    for (size_t i = 0; i < count; i++) {
        producer_row_t *producer = dedup_producer_at(self, producers[i]);
        seq_set_mark_changed(&producer->seqs);
        if (!producer->is_changed) {
            producer->is_changed = true;
            buffer_append(&self->changed.producers, &producers[i], sizeof(producers[i]));
        }
    }
    const uint32_t *positions = (const void *)self->pending.positions.data;
    count = self->pending.positions.size / sizeof(*positions);
    for (size_t i = 0; i < count; i++) {
        position_row_t *position = dedup_position_at(self, positions[i]);
        if (!position->is_changed) {
            position->is_changed = true;
            buffer_append(&self->changed.positions, &positions[i], sizeof(positions[i]));
        }
    }
    buffer_append(&self->changed.dropped_blocks, self->pending.dropped_blocks.data,
                  self->pending.dropped_blocks.size);
    buffer_append(&self->changed.dropped_positions, self->pending.dropped_positions.data,
                  self->pending.dropped_positions.size);
}

void dedup_checkpoint_settle(dedup_t *self, bool is_durable)
{
    CHECK(self->is_checkpoint_open);
    if (!is_durable) {
        s_restore(self);
    }
    for (uint32_t i = 0; i < dedup_stream_count(self); i++) {
        dedup_stream_t *stream = dedup_stream_at(self, i);
        stream->is_stable_changed =
            stream->is_stable_changed || (!is_durable && stream->is_stable_pending);
        stream->is_stable_pending = false;
    }
    buffer_clear(&self->pending.producers);
    buffer_clear(&self->pending.positions);
    buffer_clear(&self->pending.dropped_blocks);
    buffer_clear(&self->pending.dropped_positions);
    self->is_checkpoint_open = false;
}

void dedup_mark_all(dedup_t *self)
{
    CHECK(!self->is_checkpoint_open);
    for (uint32_t row = 1; row <= self->producers.count; row++) {
        producer_row_t *producer = dedup_producer_at(self, row);
        seq_set_mark_changed(&producer->seqs);
        if (!producer->is_changed) {
            producer->is_changed = true;
            buffer_append(&self->changed.producers, &row, sizeof(row));
        }
    }
    for (uint32_t row = 1; row <= self->positions.count; row++) {
        position_row_t *position = dedup_position_at(self, row);
        if (position->event_count > 0 && !position->is_changed) {
            position->is_changed = true;
            buffer_append(&self->changed.positions, &row, sizeof(row));
        }
    }
    for (uint32_t i = 0; i < dedup_stream_count(self); i++) {
        dedup_stream_t *stream = dedup_stream_at(self, i);
        stream->is_stable_changed = stream->is_stable_changed || stream->stable_seq > 0;
    }
}

/* -- loading ----------------------------------------------------------------------------------- */

static err_t s_corrupt(const char *what, errbuf_t *errbuf)
{
    errbuf_set(errbuf, "entry of what producers sent: %s", what);
    return ERR_CORRUPT;
}

static err_t s_check_version(slice_t value, errbuf_t *errbuf)
{
    if (value.size < 1 || value.data[0] == 0) {
        return s_corrupt("no version", errbuf);
    }
    if (value.data[0] != DEDUP_VERSION) {
        errbuf_set(errbuf,
                   "entry of what producers sent: expected version %d, found %u, of a program that "
                   "may judge second copies of requests by another rule; use that program, or let "
                   "the state be rebuilt from the logs",
                   DEDUP_VERSION, value.data[0]);
        return ERR_UNSUPPORTED;
    }
    return ERR_OK;
}

/* Keys rise, so none comes twice and each kind finds what it refers to. */
static err_t s_check_order(dedup_t *self, slice_t key, errbuf_t *errbuf)
{
    slice_t before = buffer_slice(&self->loaded_key);
    size_t shared = before.size < key.size ? before.size : key.size;
    int order = shared == 0 ? 0 : memcmp(before.data, key.data, shared);
    if (order > 0 || (order == 0 && before.size >= key.size)) {
        return s_corrupt("keys out of order", errbuf);
    }
    buffer_clear(&self->loaded_key);
    buffer_append(&self->loaded_key, key.data, key.size);
    return ERR_OK;
}

static uint32_t s_get_u32_be(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

/* Decodes intervals; false when they do not rise or touch each other. */
static bool s_decode_intervals(const uint8_t *at, uint32_t count, seq_interval_t *ret_intervals)
{
    for (uint32_t i = 0; i < count; i++, at += DEDUP_INTERVAL_SIZE) {
        seq_interval_t now = {bytes_get_u64(at), bytes_get_u64(at + 8)};
        if (now.first > now.last) {
            return false;
        }
        if (i > 0 && (now.first <= ret_intervals[i - 1].last ||
                      now.first - 1 == ret_intervals[i - 1].last)) {
            return false;
        }
        ret_intervals[i] = now;
    }
    return true;
}

static err_t s_load_seen(dedup_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    size_t name_size = key.size < 2 ? 0 : key.data[1];
    if (name_size < 1 || name_size > PRODUCER_SIZE_MAX || key.size != 2 + name_size + 4) {
        return s_corrupt("malformed key of a producer", errbuf);
    }
    size_t size = value.size - 1;
    size_t count = size / DEDUP_INTERVAL_SIZE;
    if (size % DEDUP_INTERVAL_SIZE != 0 || count < 1 || count > SEQ_BLOCK_INTERVAL_COUNT_MAX) {
        return s_corrupt("impossible number of intervals", errbuf);
    }
    seq_interval_t intervals[SEQ_BLOCK_INTERVAL_COUNT_MAX];
    if (!s_decode_intervals(value.data + 1, (uint32_t)count, intervals)) {
        return s_corrupt("intervals out of order", errbuf);
    }
    slice_t name = slice_make(key.data + 2, name_size);
    producer_row_t *producer = dedup_producer_at(self, dedup_require_producer(self, name));
    size_t size_before = producer->seqs.size_bytes;
    seq_block_view_t block = {s_get_u32_be(key.data + 2 + name_size), (uint32_t)count, intervals};
    if (!seq_set_load_block(&producer->seqs, &block)) {
        return s_corrupt("blocks of intervals overlap or touch", errbuf);
    }
    self->set_size_bytes += producer->seqs.size_bytes - size_before;
    self->interval_count += count;
    for (size_t i = 0; i < count; i++) {
        dedup_digest_add(&self->digest, name, intervals[i]);
    }
    return ERR_OK;
}

/* The stream that a key names, made when missing. */
static err_t s_load_stream(dedup_t *self, slice_t key, uint32_t *ret_stream, errbuf_t *errbuf)
{
    unsigned region = (unsigned)key.data[1] << 8 | key.data[2];
    uint64_t incarnation = bytes_get_u64_be(key.data + 3);
    if (region < 1 || region > REGION_COUNT_MAX || incarnation == 0) {
        return s_corrupt("impossible name of a stream", errbuf);
    }
    stream_id_t id = {self->tenant, incarnation, {{(uint16_t)region}, self->shard}};
    *ret_stream = dedup_require_stream(self, id);
    return ERR_OK;
}

static err_t s_load_stable(dedup_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    uint32_t stream = 0;
    if (key.size != DEDUP_STABLE_KEY_SIZE || value.size != DEDUP_STABLE_VALUE_SIZE ||
        bytes_get_u64(value.data + 1) == 0) {
        return s_corrupt("malformed stable seq", errbuf);
    }
    err_t err = s_load_stream(self, key, &stream, errbuf);
    if (err == ERR_OK) {
        dedup_stream_at(self, stream)->stable_seq = bytes_get_u64(value.data + 1);
    }
    return err;
}

/* Fields of a position from its value, as far as they stand for themselves. */
static err_t s_decode_position(slice_t value,
                               position_row_t *ret_position,
                               slice_t *ret_name,
                               errbuf_t *errbuf)
{
    const uint8_t *at = value.data;
    if (value.size < DEDUP_POSITION_VALUE_SIZE_MIN || at[72] < 1 || at[72] > PRODUCER_SIZE_MAX ||
        value.size != DEDUP_POSITION_VALUE_SIZE_MIN + (size_t)at[72]) {
        return s_corrupt("malformed position", errbuf);
    }
    position_row_t position = {
        .producer_seq = bytes_get_u64(at + 38),
        .epoch = bytes_get_u64(at + 46),
        .hlc = {(int64_t)bytes_get_u64(at + 6), bytes_get_u32(at + 14), bytes_get_u32(at + 18)},
        .event_count = bytes_get_u32(at + 2),
        .is_pair_stable = at[1] == 1,
        .is_stored = true,
    };
    if (at[1] > 1 || position.event_count < 1 || position.event_count > WAL_BATCH_COUNT_MAX ||
        position.hlc.wall_ns < 0) {
        return s_corrupt("position with impossible fields", errbuf);
    }
    (void)memcpy(position.content_hash.bytes, at + 22, WAL_CONTENT_HASH_SIZE);
    *ret_name = slice_make(at + DEDUP_POSITION_VALUE_SIZE_MIN, at[72]);
    *ret_position = position;
    return ERR_OK;
}

/* in at  18 bytes, as s_put_named writes them */
static err_t s_load_named(dedup_t *self,
                          const uint8_t *at,
                          position_row_t *position,
                          errbuf_t *errbuf)
{
    unsigned region = bytes_get_u16(at + 16);
    uint64_t incarnation = bytes_get_u64(at);
    position->named_seq = bytes_get_u64(at + 8);
    bool is_none = region == 0 && incarnation == 0;
    bool is_one = region >= 1 && region <= REGION_COUNT_MAX && incarnation != 0;
    if (position->named_seq == 0 ? !is_none : !is_one) {
        return s_corrupt("impossible name of the copy that a reissue stands for", errbuf);
    }
    if (position->named_seq != 0) {
        stream_id_t id = {self->tenant, incarnation, {{(uint16_t)region}, self->shard}};
        position->named_stream = dedup_require_stream(self, id);
    }
    return ERR_OK;
}

static err_t s_load_position(dedup_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    if (key.size != DEDUP_POSITION_KEY_SIZE) {
        return s_corrupt("malformed key of a position", errbuf);
    }
    position_row_t position;
    slice_t name;
    err_t err = s_decode_position(value, &position, &name, errbuf);
    if (err == ERR_OK) {
        err = s_load_stream(self, key, &position.stream, errbuf);
    }
    if (err == ERR_OK) {
        err = s_load_named(self, value.data + 54, &position, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    position.first_seq = bytes_get_u64_be(key.data + DEDUP_STABLE_KEY_SIZE);
    if (position.first_seq < 1 || position.first_seq > UINT64_MAX - position.event_count ||
        position.first_seq + position.event_count - 1 <=
            dedup_stream_at(self, position.stream)->stable_seq) {
        return s_corrupt("position at or below the stable seq of its stream", errbuf);
    }
    position.producer = dedup_find_producer(self, name);
    if (position.producer == 0 ||
        !seq_set_has(&dedup_producer_at(self, position.producer)->seqs, position.producer_seq)) {
        return s_corrupt("position of a pair that was not seen", errbuf);
    }
    uint32_t other = dedup_find_pair(self, position.producer, position.producer_seq);
    if (other != 0 && dedup_position_at(self, other)->is_pair_stable != position.is_pair_stable) {
        return s_corrupt("copies of a pair that disagree", errbuf);
    }
    (void)dedup_insert_position(self, &position);
    return ERR_OK;
}

err_t dedup_load_entry(dedup_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    CHECK(!self->is_checkpoint_open);
    if (key.size < 1) {
        return s_corrupt("empty key", errbuf);
    }
    err_t err = s_check_version(value, errbuf);
    if (err == ERR_OK) {
        err = s_check_order(self, key, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    switch (key.data[0]) {
    case DEDUP_KEY_SEEN:
        return s_load_seen(self, key, value, errbuf);
    case DEDUP_KEY_STABLE:
        return s_load_stable(self, key, value, errbuf);
    case DEDUP_KEY_POSITION:
        return s_load_position(self, key, value, errbuf);
    default:
        return s_corrupt("unknown kind", errbuf);
    }
}
