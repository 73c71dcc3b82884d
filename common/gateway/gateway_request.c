#include "common/gateway/gateway_request.h"

#include "common/base/check.h"

#include <stdlib.h>

/* An id: generation 32 bits, slot 16, attempt 6, part 10. */
enum { S_PART_BITS = 10 };

void gateway_requests_init(gateway_requests_t *self, uint32_t capacity, uint32_t generation)
{
    CHECK(capacity >= 1 && capacity <= GATEWAY_INFLIGHT_COUNT_MAX);
    *self = (gateway_requests_t){.capacity = capacity, .generation = generation};
    self->slots = calloc(capacity, sizeof(gateway_request_t *));
    CHECK(self->slots != NULL);
    self->free_slots = calloc(capacity, sizeof(uint32_t));
    CHECK(self->free_slots != NULL);
    for (uint32_t i = 0; i < capacity; i++) {
        self->free_slots[i] = capacity - 1 - i;
    }
    self->free_count = capacity;
    due_heap_reserve(&self->due, capacity);
}

static void s_free_buffers(gateway_request_t *request)
{
    buffer_done(&request->held);
    buffer_done(&request->payload);
    buffer_done(&request->places);
    buffer_done(&request->text);
    buffer_done(&request->cells);
    buffer_done(&request->ranked);
    buffer_done(&request->terms);
    buffer_done(&request->rows);
    buffer_done(&request->positions);
}

static void s_give_back(gateway_requests_t *self, uint32_t slot)
{
    gateway_request_t *request = self->slots[slot];
    s_free_buffers(request);
    free(request->parts);
    free(request);
    self->slots[slot] = NULL;
    self->kept_count--;
}

void gateway_requests_done(gateway_requests_t *self)
{
    for (uint32_t i = 0; i < self->capacity; i++) {
        if (self->slots[i] != NULL) {
            s_give_back(self, i);
        }
    }
    free(self->slots);
    free(self->free_slots);
    due_heap_done(&self->due);
    *self = (gateway_requests_t){0};
}

gateway_request_t *gateway_requests_open(gateway_requests_t *self)
{
    if (self->free_count == 0) {
        return NULL;
    }
    uint32_t slot = self->free_slots[--self->free_count];
    gateway_request_t *request = self->slots[slot];
    if (request == NULL) {
        request = calloc(1, sizeof(*request));
        CHECK(request != NULL);
        self->slots[slot] = request;
        self->kept_count++;
    }
    CHECK(!request->is_open);
    request->slot = slot;
    request->generation = ++self->generation;
    request->is_open = true;
    request->order = ++self->order;
    self->open_count++;
    return request;
}

/* Empties a buffer, and gives it back when it is a large one. */
static void s_reset(buffer_t *buffer)
{
    if (buffer->capacity > GATEWAY_SPARE_SIZE_MAX) {
        buffer_done(buffer);
        buffer_init(buffer);
    } else {
        buffer_clear(buffer);
    }
}

void gateway_requests_close(gateway_requests_t *self, gateway_request_t *request)
{
    CHECK(request->is_open && self->slots[request->slot] == request);
    CHECK(self->held_bytes >= request->counted_bytes);
    self->held_bytes -= request->counted_bytes;
    uint32_t slot = request->slot;
    due_heap_remove(&self->due, slot);
    self->free_slots[self->free_count++] = slot;
    self->open_count--;
    if (self->kept_count > GATEWAY_SPARE_COUNT_MAX) {
        s_give_back(self, slot);
        return;
    }
    s_reset(&request->held);
    s_reset(&request->payload);
    s_reset(&request->places);
    s_reset(&request->text);
    s_reset(&request->cells);
    s_reset(&request->ranked);
    s_reset(&request->terms);
    s_reset(&request->rows);
    s_reset(&request->positions);
    if (request->part_capacity > SHARD_COUNT_MAX) { /* it asked every node */
        free(request->parts);
        request->parts = NULL;
        request->part_capacity = 0;
    }
    gateway_request_t empty = {
        .parts = request->parts,
        .part_capacity = request->part_capacity,
        .held = request->held,
        .payload = request->payload,
        .places = request->places,
        .text = request->text,
        .cells = request->cells,
        .ranked = request->ranked,
        .terms = request->terms,
        .rows = request->rows,
        .positions = request->positions,
    };
    *request = empty;
}

uint64_t gateway_request_id(const gateway_request_t *request, uint32_t part)
{
    uint32_t attempt = request->parts[part].attempts % GATEWAY_ATTEMPT_COUNT;
    return (uint64_t)request->generation << 32 | (uint64_t)request->slot << 16 |
           attempt << S_PART_BITS | part;
}

uint64_t gateway_request_question_id(const gateway_request_t *request, shard_id_t shard)
{
    return (uint64_t)request->generation << 32 | (uint64_t)request->slot << 16 | shard.value;
}

gateway_request_t *gateway_requests_find_question(const gateway_requests_t *self,
                                                  uint64_t request_id,
                                                  shard_id_t *ret_shard)
{
    uint32_t slot = (uint32_t)(request_id >> 16) & 0xffff;
    if (slot >= self->capacity || self->slots[slot] == NULL) {
        return NULL;
    }
    gateway_request_t *request = self->slots[slot];
    *ret_shard = (shard_id_t){(uint16_t)request_id};
    bool is_its = request->is_open && request->generation == (uint32_t)(request_id >> 32);
    return is_its ? request : NULL;
}

uint32_t gateway_request_attempt(uint64_t request_id)
{
    return (uint32_t)(request_id >> S_PART_BITS) % GATEWAY_ATTEMPT_COUNT;
}

gateway_request_t *gateway_requests_find(const gateway_requests_t *self,
                                         uint64_t request_id,
                                         uint32_t *ret_part)
{
    uint32_t slot = (uint32_t)(request_id >> 16) & 0xffff;
    uint32_t part = (uint32_t)request_id & ((1u << S_PART_BITS) - 1);
    if (slot >= self->capacity || self->slots[slot] == NULL) {
        return NULL;
    }
    gateway_request_t *request = self->slots[slot];
    if (!request->is_open || request->generation != (uint32_t)(request_id >> 32) ||
        part >= request->part_count ||
        gateway_request_attempt(request_id) >= request->parts[part].attempts) {
        return NULL;
    }
    *ret_part = part;
    return request;
}

gateway_request_t *gateway_requests_at(const gateway_requests_t *self, uint32_t index)
{
    CHECK(index < self->capacity);
    gateway_request_t *request = self->slots[index];
    return request != NULL && request->is_open ? request : NULL;
}

void gateway_request_set_parts(gateway_request_t *request, uint32_t count)
{
    CHECK(count >= 1 && count <= GATEWAY_PART_COUNT_MAX);
    if (count > request->part_capacity) {
        gateway_part_t *parts = realloc(request->parts, count * sizeof(*parts));
        CHECK(parts != NULL);
        request->parts = parts;
        request->part_capacity = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        request->parts[i] =
            (gateway_part_t){.shard = {(uint16_t)i}, .due_ns = INT64_MAX, .code = CODE_OK};
    }
    request->part_count = count;
    request->done_count = 0;
}

gateway_part_t *gateway_request_add_part(gateway_request_t *request)
{
    CHECK(request->part_count < GATEWAY_PART_COUNT_MAX);
    if (request->part_count == request->part_capacity) {
        uint32_t capacity = request->part_capacity + 1;
        gateway_part_t *parts = realloc(request->parts, capacity * sizeof(*parts));
        CHECK(parts != NULL);
        request->parts = parts;
        request->part_capacity = capacity;
    }
    gateway_part_t *part = &request->parts[request->part_count++];
    *part = (gateway_part_t){.due_ns = INT64_MAX, .code = CODE_OK};
    return part;
}

void gateway_request_reserve(gateway_request_t *request, size_t size)
{
    size_t before = request->held.size;
    (void)buffer_extend(&request->held, size);
    request->held.size = before;
}

slice_t gateway_request_hold(gateway_request_t *request, slice_t bytes)
{
    CHECK(request->held.size + bytes.size <= request->held.capacity);
    if (bytes.size == 0) {
        return slice_make(NULL, 0);
    }
    size_t offset = request->held.size;
    buffer_append(&request->held, bytes.data, bytes.size);
    return slice_make(request->held.data + offset, bytes.size);
}

gateway_span_t gateway_request_note(gateway_request_t *request, slice_t text)
{
    gateway_span_t span = {(uint32_t)request->text.size, (uint32_t)text.size};
    uintptr_t begin = (uintptr_t)request->text.data;
    uintptr_t at = (uintptr_t)text.data;
    if (text.size > 0 && at >= begin && at < begin + request->text.size) {
        span.offset = (uint32_t)(at - begin); /* noted before */
        return span;
    }
    buffer_append(&request->text, text.data, text.size);
    return span;
}

slice_t gateway_request_text(const gateway_request_t *request, gateway_span_t span)
{
    CHECK((size_t)span.offset + span.size <= request->text.size);
    return span.size == 0 ? slice_make(NULL, 0)
                          : slice_make(request->text.data + span.offset, span.size);
}

/* The next part of the request that something is due for; the deadline of all counts for each. */
static int64_t s_due_ns(const gateway_request_t *request)
{
    int64_t due_ns = request->deadline_ns;
    if (request->write.pair.is_open && request->write.pair.due_ns < due_ns) {
        due_ns = request->write.pair.due_ns;
    }
    for (uint32_t i = 0; i < request->part_count; i++) {
        const gateway_part_t *part = &request->parts[i];
        due_ns = part->state != GATEWAY_PART_DONE && part->due_ns < due_ns ? part->due_ns : due_ns;
    }
    return due_ns;
}

void gateway_requests_settle(gateway_requests_t *self, gateway_request_t *request)
{
    CHECK(request->is_open);
    size_t bytes = sizeof(*request) + request->part_capacity * sizeof(gateway_part_t) +
                   request->held.capacity + request->payload.capacity + request->places.capacity +
                   request->text.capacity + request->cells.capacity + request->ranked.capacity +
                   request->terms.capacity + request->rows.capacity + request->positions.capacity;
    self->held_bytes += bytes;
    self->held_bytes -= request->counted_bytes;
    request->counted_bytes = bytes;
    due_heap_set(&self->due, request->slot, s_due_ns(request), request->order);
}
