#include "common/session/dedup_state.h"

#include "common/base/mutant.h"

#include <stdlib.h>
#include <xxhash.h>

enum {
    QUEUE_HEAD_COUNT_MAX = 1024 /* done entries that may stand before the rest is moved up */
};

static void s_invariant(const dedup_t *self)
{
    CHECK(self->interval_count >= self->producers.count);
    CHECK(self->pair_index.count <= self->position_count);
    CHECK(self->position_count <= self->positions.count);
}

int dedup_position_compare(const dedup_position_t *a, const dedup_position_t *b)
{
    if (a->epoch != b->epoch && !MUTANT(IGNORE_COPY_EPOCH)) {
        return a->epoch > b->epoch ? -1 : 1;
    }
    int order = hlc_compare(a->hlc, b->hlc);
    if (order == 0) {
        order = stream_id_compare(a->stream, b->stream);
    }
    return order != 0 ? order : (a->first_seq > b->first_seq) - (a->first_seq < b->first_seq);
}

/* -- new and destroy --------------------------------------------------------------------------- */

static void s_init_changes(dedup_changes_t *changes)
{
    buffer_init(&changes->producers);
    buffer_init(&changes->positions);
    buffer_init(&changes->dropped_blocks);
    buffer_init(&changes->dropped_positions);
}

static void s_done_changes(dedup_changes_t *changes)
{
    buffer_done(&changes->producers);
    buffer_done(&changes->positions);
    buffer_done(&changes->dropped_blocks);
    buffer_done(&changes->dropped_positions);
}

dedup_t *dedup_new(tenant_id_t tenant, shard_id_t shard)
{
    dedup_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->tenant = tenant;
    self->shard = shard;
    buffer_init(&self->names);
    rows_init(&self->producers, sizeof(producer_row_t));
    index_init(&self->producer_index);
    rows_init(&self->positions, sizeof(position_row_t));
    pair_index_init(&self->pair_index);
    buffer_init(&self->streams);
    buffer_init(&self->stream_order);
    s_init_changes(&self->changed);
    s_init_changes(&self->pending);
    buffer_init(&self->loaded_key);
    s_invariant(self);
    return self;
}

void dedup_destroy(dedup_t **self_p)
{
    dedup_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t row = 1; row <= self->producers.count; row++) {
        seq_set_done(&((producer_row_t *)rows_at(&self->producers, row))->seqs);
    }
    for (uint32_t i = 0; i < dedup_stream_count(self); i++) {
        buffer_done(&dedup_stream_at(self, i)->queue);
    }
    buffer_done(&self->names);
    rows_done(&self->producers);
    index_done(&self->producer_index);
    rows_done(&self->positions);
    pair_index_done(&self->pair_index);
    buffer_done(&self->streams);
    buffer_done(&self->stream_order);
    s_done_changes(&self->changed);
    s_done_changes(&self->pending);
    buffer_done(&self->loaded_key);
    free(self);
    *self_p = NULL;
}

/* -- digest ------------------------------------------------------------------------------------ */

static dedup_sum_t s_hash_interval(slice_t name, seq_interval_t interval)
{
    uint8_t bytes[1 + PRODUCER_SIZE_MAX + DEDUP_INTERVAL_SIZE];
    bytes[0] = (uint8_t)name.size;
    (void)memcpy(bytes + 1, name.data, name.size);
    bytes_put_u64(bytes + 1 + name.size, interval.first);
    bytes_put_u64(bytes + 1 + name.size + 8, interval.last);
    XXH128_hash_t hash = XXH3_128bits(bytes, 1 + name.size + DEDUP_INTERVAL_SIZE);
    return (dedup_sum_t){hash.low64, hash.high64};
}

void dedup_digest_add(dedup_sum_t *sum, slice_t name, seq_interval_t interval)
{
    dedup_sum_t hash = s_hash_interval(name, interval);
    sum->low += hash.low;
    sum->high += hash.high + (sum->low < hash.low);
}

static void s_digest_remove(dedup_sum_t *sum, slice_t name, seq_interval_t interval)
{
    dedup_sum_t hash = s_hash_interval(name, interval);
    sum->high -= hash.high + (sum->low < hash.low);
    sum->low -= hash.low;
}

static dedup_digest_t s_render_digest(dedup_sum_t sum)
{
    dedup_digest_t digest = {{0}};
    bytes_put_u64(digest.bytes, sum.low);
    bytes_put_u64(digest.bytes + 8, sum.high);
    return digest;
}

void dedup_digest(const dedup_t *self, dedup_digest_t *ret_digest)
{
    *ret_digest = s_render_digest(self->digest);
}

static err_t s_sum_interval(void *context, slice_t producer, uint64_t first, uint64_t last)
{
    dedup_digest_add(context, producer, (seq_interval_t){first, last});
    return ERR_OK;
}

void dedup_digest_full(const dedup_t *self, dedup_digest_t *ret_digest)
{
    dedup_sum_t sum = {0, 0};
    err_t err = dedup_walk(self, s_sum_interval, &sum);
    CHECK(err == ERR_OK);
    *ret_digest = s_render_digest(sum);
}

/* -- asking and telling ------------------------------------------------------------------------ */

static void s_note_position(dedup_t *self, uint32_t row)
{
    position_row_t *position = dedup_position_at(self, row);
    if (!position->is_changed) {
        position->is_changed = true;
        buffer_append(&self->changed.positions, &row, sizeof(row));
    }
}

dedup_found_t dedup_find(const dedup_t *self,
                         slice_t producer,
                         uint64_t producer_seq,
                         dedup_position_t *ret_position)
{
    uint32_t producer_row = dedup_find_producer(self, producer);
    if (producer_row == 0 ||
        !seq_set_has(&dedup_producer_at(self, producer_row)->seqs, producer_seq)) {
        return DEDUP_NOT_SEEN;
    }
    uint32_t row = dedup_find_pair(self, producer_row, producer_seq);
    if (row == 0 || dedup_position_at(self, row)->is_pair_stable) {
        return DEDUP_SEEN_STABLE;
    }
    if (ret_position != NULL) {
        *ret_position = dedup_render_position(self, dedup_position_at(self, row));
    }
    return DEDUP_SEEN;
}

static void s_note_change(dedup_t *self, uint32_t producer_row, const seq_change_t *change)
{
    producer_row_t *producer = dedup_producer_at(self, producer_row);
    slice_t name = dedup_producer_name(self, producer);
    self->interval_count++;
    dedup_digest_add(&self->digest, name, change->now);
    if (change->has_below) {
        self->interval_count--;
        s_digest_remove(&self->digest, name, change->below);
    }
    if (change->has_above) {
        self->interval_count--;
        s_digest_remove(&self->digest, name, change->above);
    }
    if (change->is_block_dropped) {
        dropped_block_t dropped = {producer_row, change->dropped_block_id};
        buffer_append(&self->changed.dropped_blocks, &dropped, sizeof(dropped));
    }
    if (!producer->is_changed) {
        producer->is_changed = true;
        buffer_append(&self->changed.producers, &producer_row, sizeof(producer_row));
    }
}

/* Whether the pair was not seen before; now it is. */
static bool s_see(dedup_t *self, uint32_t producer_row, uint64_t producer_seq)
{
    seq_set_t *seqs = &dedup_producer_at(self, producer_row)->seqs;
    seq_change_t change;
    size_t size_before = seqs->size_bytes;
    bool is_new = seq_set_add(seqs, producer_seq, &change);
    if (is_new) {
        self->set_size_bytes += seqs->size_bytes - size_before;
        s_note_change(self, producer_row, &change);
    }
    return is_new;
}

/* Whether this very copy is among those of the pair that begin at `row`. */
static bool s_has_copy(const dedup_t *self, uint32_t row, const position_row_t *copy)
{
    for (; row != 0; row = dedup_position_at(self, row)->next) {
        const position_row_t *position = dedup_position_at(self, row);
        if (position->stream == copy->stream && position->first_seq == copy->first_seq) {
            return true;
        }
    }
    return false;
}

/* The pair was seen before and lies elsewhere: adds this copy, and says which one loses. */
static void s_add_other_copy(dedup_t *self, position_row_t *content, dedup_conflict_t *ret_conflict)
{
    uint32_t head = dedup_find_pair(self, content->producer, content->producer_seq);
    dedup_position_t added = dedup_render_position(self, content);
    *ret_conflict = (dedup_conflict_t){.loser = added, .is_loser_new = true};
    if (head == 0 || dedup_position_at(self, head)->is_pair_stable) {
        ret_conflict->is_winner_forgotten = true;
        content->is_pair_stable = true;
    } else {
        ret_conflict->winner = dedup_render_position(self, dedup_position_at(self, head));
        if (dedup_position_compare(&added, &ret_conflict->winner) < 0) {
            ret_conflict->loser = ret_conflict->winner;
            ret_conflict->winner = added;
            ret_conflict->is_loser_new = false;
        }
    }
    s_note_position(self, dedup_insert_position(self, content));
}

dedup_verdict_t dedup_add(dedup_t *self,
                          slice_t producer,
                          uint64_t producer_seq,
                          const dedup_position_t *position,
                          dedup_conflict_t *ret_conflict)
{
    s_invariant(self);
    CHECK(position->first_seq >= 1);
    CHECK(position->event_count >= 1);
    CHECK(position->first_seq <= UINT64_MAX - position->event_count);
    uint32_t stream = dedup_require_stream(self, position->stream);
    uint32_t producer_row = dedup_require_producer(self, producer);
    position_row_t content = {
        .first_seq = position->first_seq,
        .producer_seq = producer_seq,
        .epoch = position->epoch,
        .hlc = position->hlc,
        .content_hash = position->content_hash,
        .event_count = position->event_count,
        .stream = stream,
        .named_seq = position->named.seq,
        .producer = producer_row,
    };
    if (position->named.seq != 0) {
        content.named_stream = dedup_require_stream(self, position->named.stream);
    }
    bool is_new = s_see(self, producer_row, producer_seq);
    bool is_stable = dedup_last_seq(&content) <= dedup_stream_at(self, stream)->stable_seq;
    dedup_verdict_t verdict = is_new ? DEDUP_FIRST : DEDUP_OTHER_COPY;
    if (is_new && !is_stable) {
        s_note_position(self, dedup_insert_position(self, &content));
    } else if (!is_new &&
               (is_stable ||
                s_has_copy(self, dedup_find_pair(self, producer_row, producer_seq), &content))) {
        verdict = DEDUP_SAME;
    } else if (!is_new) {
        s_add_other_copy(self, &content, ret_conflict);
    }
    s_invariant(self);
    return verdict;
}

/* -- forgetting -------------------------------------------------------------------------------- */

static int s_compare_queued(const void *a_any, const void *b_any)
{
    const queued_t *a = a_any;
    const queued_t *b = b_any;
    if (a->first_seq != b->first_seq) {
        return a->first_seq < b->first_seq ? -1 : 1;
    }
    return (a->row > b->row) - (a->row < b->row);
}

/* The queue from its head on, in order. */
static queued_t *s_sorted_queue(dedup_stream_t *stream, size_t *ret_count)
{
    *ret_count = stream->queue.size / sizeof(queued_t) - stream->head_count;
    if (*ret_count == 0) {
        return NULL;
    }
    queued_t *queue = (queued_t *)(void *)stream->queue.data + stream->head_count;
    if (!stream->is_sorted) {
        qsort(queue, *ret_count, sizeof(*queue), s_compare_queued);
        stream->is_sorted = true;
    }
    return queue;
}

/* Takes `count` entries off the head; moves the rest up once in a while. */
static void s_dequeue(dedup_stream_t *stream, size_t count)
{
    stream->head_count += count;
    size_t done_size = stream->head_count * sizeof(queued_t);
    size_t left_size = stream->queue.size - done_size;
    if (left_size == 0 || (stream->head_count > QUEUE_HEAD_COUNT_MAX && done_size > left_size)) {
        (void)memmove(stream->queue.data, stream->queue.data + done_size, left_size);
        stream->queue.size = left_size;
        stream->head_count = 0;
    }
}

/* Forgets one position; other copies of its pair now answer only for themselves. */
static void s_forget(dedup_t *self, uint32_t row)
{
    position_row_t *position = dedup_position_at(self, row);
    if (position->is_stored) {
        dropped_position_t dropped = {position->first_seq, position->stream};
        buffer_append(&self->changed.dropped_positions, &dropped, sizeof(dropped));
    }
    dedup_unlink_position(self, row);
    uint32_t other = dedup_find_pair(self, position->producer, position->producer_seq);
    for (; other != 0; other = dedup_position_at(self, other)->next) {
        if (!dedup_position_at(self, other)->is_pair_stable) {
            dedup_position_at(self, other)->is_pair_stable = true;
            s_note_position(self, other);
        }
    }
    *position = (position_row_t){.next = self->free_position, .is_changed = position->is_changed};
    self->free_position = row;
    self->position_count--;
}

void dedup_forget_stable(dedup_t *self, stream_id_t stream_id, uint64_t through_seq)
{
    s_invariant(self);
    dedup_stream_t *stream = dedup_stream_at(self, dedup_require_stream(self, stream_id));
    if (through_seq <= stream->stable_seq) {
        return;
    }
    stream->stable_seq = through_seq;
    stream->is_stable_changed = true;
    size_t count = 0;
    const queued_t *queue = s_sorted_queue(stream, &count);
    size_t done = 0;
    while (done < count &&
           dedup_last_seq(dedup_position_at(self, queue[done].row)) <= through_seq) {
        s_forget(self, queue[done].row);
        done++;
    }
    if (done > 0) {
        s_dequeue(stream, done);
    }
    s_invariant(self);
}

uint64_t dedup_stable_seq(const dedup_t *self, stream_id_t stream_id)
{
    uint64_t stable_seq = 0;
    for (uint32_t i = 0; i < dedup_stream_count(self); i++) {
        const dedup_stream_t *stream = dedup_stream_at(self, i);
        stable_seq = stream_id_equal(stream->id, stream_id) ? stream->stable_seq : stable_seq;
    }
    return stable_seq;
}

uint64_t dedup_first_place(const dedup_t *self, stream_id_t stream_id)
{
    uint64_t first_seq = 0;
    for (uint32_t i = 0; i < dedup_stream_count(self); i++) {
        const dedup_stream_t *stream = dedup_stream_at(self, i);
        const queued_t *queue = (const queued_t *)(const void *)stream->queue.data;
        size_t count =
            stream_id_equal(stream->id, stream_id) ? stream->queue.size / sizeof(*queue) : 0;
        for (size_t k = stream->head_count; k < count; k++) {
            first_seq =
                first_seq == 0 || queue[k].first_seq < first_seq ? queue[k].first_seq : first_seq;
        }
    }
    return first_seq;
}

/* -- the whole --------------------------------------------------------------------------------- */

static size_t s_changes_size(const dedup_changes_t *changes)
{
    return changes->producers.capacity + changes->positions.capacity +
           changes->dropped_blocks.capacity + changes->dropped_positions.capacity;
}

void dedup_totals(const dedup_t *self, dedup_totals_t *ret_totals)
{
    uint64_t size = sizeof(*self);
    for (uint32_t i = 0; i < dedup_stream_count(self); i++) {
        size += dedup_stream_at(self, i)->queue.capacity;
    }
    size += self->names.capacity + self->producers.size_bytes;
    size += index_size_bytes(&self->producer_index) + self->set_size_bytes;
    size += self->positions.size_bytes + pair_index_size_bytes(&self->pair_index);
    size += self->streams.capacity + self->stream_order.capacity;
    size += s_changes_size(&self->changed) + s_changes_size(&self->pending);
    *ret_totals = (dedup_totals_t){
        .producers = self->producers.count,
        .intervals = self->interval_count,
        .positions = self->position_count,
        .memory_bytes = size,
    };
}

err_t dedup_walk(const dedup_t *self, dedup_seen_fn callback, void *context)
{
    err_t err = ERR_OK;
    for (uint32_t row = 1; err == ERR_OK && row <= self->producers.count; row++) {
        const producer_row_t *producer = dedup_producer_at(self, row);
        seq_cursor_t cursor = {0, 0};
        seq_interval_t interval;
        while (err == ERR_OK && seq_set_next(&producer->seqs, &cursor, &interval)) {
            err = callback(context, dedup_producer_name(self, producer), interval.first,
                           interval.last);
        }
    }
    return err;
}
