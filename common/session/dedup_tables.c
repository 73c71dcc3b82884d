/* The tables of dedup: producers by name, streams by id, positions by pair. */
#include "common/session/dedup_state.h"

#include <xxhash.h>

/* -- producers --------------------------------------------------------------------------------- */

slice_t dedup_producer_name(const dedup_t *self, const producer_row_t *producer)
{
    return slice_make(self->names.data + producer->name_offset, producer->name_size);
}

static uint32_t s_find_producer_hashed(const dedup_t *self, slice_t name, uint64_t hash)
{
    index_cursor_t cursor = index_find(&self->producer_index, hash);
    uint32_t row = index_next(&self->producer_index, &cursor);
    while (row != 0 &&
           !slice_equal(dedup_producer_name(self, dedup_producer_at(self, row)), name)) {
        row = index_next(&self->producer_index, &cursor);
    }
    return row;
}

static uint64_t s_hash_name(slice_t name)
{
    CHECK(name.size >= 1);
    CHECK(name.size <= PRODUCER_SIZE_MAX);
    return XXH3_64bits(name.data, name.size);
}

uint32_t dedup_find_producer(const dedup_t *self, slice_t name)
{
    return s_find_producer_hashed(self, name, s_hash_name(name));
}

uint32_t dedup_require_producer(dedup_t *self, slice_t name)
{
    uint64_t hash = s_hash_name(name);
    uint32_t row = s_find_producer_hashed(self, name, hash);
    if (row != 0) {
        return row;
    }
    row = rows_append(&self->producers);
    producer_row_t *producer = dedup_producer_at(self, row);
    producer->name_offset = self->names.size;
    producer->name_size = (uint8_t)name.size;
    buffer_append(&self->names, name.data, name.size);
    index_insert(&self->producer_index, hash, row);
    return row;
}

/* -- streams ----------------------------------------------------------------------------------- */

dedup_stream_t *dedup_stream_at(const dedup_t *self, uint32_t number)
{
    CHECK(number < dedup_stream_count(self));
    return (dedup_stream_t *)(void *)self->streams.data + number;
}

uint32_t dedup_stream_count(const dedup_t *self)
{
    return (uint32_t)(self->streams.size / sizeof(dedup_stream_t));
}

/* The stream's place in stream_order, or where it belongs. */
static uint32_t s_find_stream(const dedup_t *self, stream_id_t id, bool *ret_is_found)
{
    const uint32_t *order = (const void *)self->stream_order.data;
    uint32_t low = 0;
    uint32_t end = dedup_stream_count(self);
    *ret_is_found = false;
    while (low < end) {
        uint32_t middle = low + (end - low) / 2;
        int difference = stream_id_compare(dedup_stream_at(self, order[middle])->id, id);
        if (difference == 0) {
            *ret_is_found = true;
            return middle;
        }
        low = difference < 0 ? middle + 1 : low;
        end = difference < 0 ? end : middle;
    }
    return low;
}

static uint32_t s_add_stream(dedup_t *self, stream_id_t id, uint32_t place)
{
    uint32_t number = dedup_stream_count(self);
    dedup_stream_t stream = {.id = id, .is_sorted = true};
    buffer_init(&stream.queue);
    buffer_append(&self->streams, &stream, sizeof(stream));
    (void)buffer_extend(&self->stream_order, sizeof(number));
    uint32_t *order = (void *)self->stream_order.data;
    (void)memmove(order + place + 1, order + place, (number - place) * sizeof(*order));
    order[place] = number;
    return number;
}

uint32_t dedup_require_stream(dedup_t *self, stream_id_t id)
{
    CHECK(id.tenant.value == self->tenant.value);
    CHECK(id.origin.shard.value == self->shard.value);
    if (self->last_stream < dedup_stream_count(self) &&
        stream_id_equal(dedup_stream_at(self, self->last_stream)->id, id)) {
        return self->last_stream;
    }
    bool is_found = false;
    uint32_t place = s_find_stream(self, id, &is_found);
    const uint32_t *order = (const void *)self->stream_order.data;
    self->last_stream = is_found ? order[place] : s_add_stream(self, id, place);
    return self->last_stream;
}

/* -- positions --------------------------------------------------------------------------------- */

dedup_position_t dedup_render_position(const dedup_t *self, const position_row_t *row)
{
    dedup_position_t position = {.stream = dedup_stream_at(self, row->stream)->id,
                                 .first_seq = row->first_seq,
                                 .event_count = row->event_count,
                                 .epoch = row->epoch,
                                 .hlc = row->hlc,
                                 .content_hash = row->content_hash};
    if (row->named_seq != 0) {
        position.named =
            (stream_position_t){dedup_stream_at(self, row->named_stream)->id, row->named_seq};
    }
    return position;
}

static uint64_t s_hash_pair(uint32_t producer, uint64_t producer_seq)
{
    return index_hash(producer_seq ^ index_hash(producer));
}

uint32_t dedup_find_pair(const dedup_t *self, uint32_t producer, uint64_t producer_seq)
{
    pair_cursor_t cursor = pair_index_find(&self->pair_index, s_hash_pair(producer, producer_seq));
    for (;;) {
        uint32_t row = pair_index_next(&self->pair_index, &cursor);
        if (row == 0) {
            return 0;
        }
        const position_row_t *position = dedup_position_at(self, row);
        if (position->producer == producer && position->producer_seq == producer_seq) {
            return row;
        }
    }
}

static uint32_t s_new_row(dedup_t *self)
{
    uint32_t row = self->free_position;
    if (row == 0) {
        return rows_append(&self->positions);
    }
    self->free_position = dedup_position_at(self, row)->next;
    return row;
}

/* Links the row into its pair's chain, which rises from the copy that counts. */
static void s_link(dedup_t *self, uint32_t row)
{
    position_row_t *position = dedup_position_at(self, row);
    uint64_t hash = s_hash_pair(position->producer, position->producer_seq);
    uint32_t head = dedup_find_pair(self, position->producer, position->producer_seq);
    dedup_position_t added = dedup_render_position(self, position);
    uint32_t before = 0;
    uint32_t behind = head;
    while (behind != 0) {
        dedup_position_t other = dedup_render_position(self, dedup_position_at(self, behind));
        if (dedup_position_compare(&added, &other) < 0) {
            break;
        }
        before = behind;
        behind = dedup_position_at(self, behind)->next;
    }
    position->next = behind;
    if (before != 0) {
        dedup_position_at(self, before)->next = row;
    } else if (head != 0) {
        pair_index_replace(&self->pair_index, hash, head, row);
    } else {
        pair_index_insert(&self->pair_index, hash, row);
    }
}

void dedup_unlink_position(dedup_t *self, uint32_t row)
{
    const position_row_t *position = dedup_position_at(self, row);
    uint64_t hash = s_hash_pair(position->producer, position->producer_seq);
    uint32_t head = dedup_find_pair(self, position->producer, position->producer_seq);
    CHECK(head != 0);
    if (head == row && position->next == 0) {
        pair_index_remove(&self->pair_index, hash, row);
    } else if (head == row) {
        pair_index_replace(&self->pair_index, hash, row, position->next);
    } else {
        uint32_t before = head;
        while (dedup_position_at(self, before)->next != row) {
            before = dedup_position_at(self, before)->next;
            CHECK(before != 0);
        }
        dedup_position_at(self, before)->next = position->next;
    }
}

static void s_enqueue(dedup_stream_t *stream, queued_t added)
{
    if (stream->queue.size > stream->head_count * sizeof(added)) {
        queued_t last;
        (void)memcpy(&last, stream->queue.data + stream->queue.size - sizeof(last), sizeof(last));
        stream->is_sorted = stream->is_sorted && last.first_seq < added.first_seq;
    }
    buffer_append(&stream->queue, &added, sizeof(added));
}

uint32_t dedup_insert_position(dedup_t *self, const position_row_t *content)
{
    CHECK(content->event_count > 0);
    uint32_t row = s_new_row(self);
    position_row_t *position = dedup_position_at(self, row);
    bool is_changed = position->is_changed; /* of the row, from an earlier use */
    *position = *content;
    position->is_changed = is_changed;
    self->position_count++;
    s_link(self, row);
    s_enqueue(dedup_stream_at(self, content->stream), (queued_t){content->first_seq, row});
    return row;
}
