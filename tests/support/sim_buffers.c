#include "tests/support/sim_buffers.h"

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/check.h"

#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define FORGET_BYTES(at, size)   ASAN_POISON_MEMORY_REGION(at, size)
#define REMEMBER_BYTES(at, size) ASAN_UNPOISON_MEMORY_REGION(at, size)
#else
#define FORGET_BYTES(at, size)   ((void)(at), (void)(size))
#define REMEMBER_BYTES(at, size) ((void)(at), (void)(size))
#endif

enum { SIZE_CLASS_MIN = 7 };

static_assert(INTERNAL_MESSAGE_SIZE_MAX + TOPIC_SIZE_MAX < 1 << (SIM_BUFFER_CLASS_COUNT - 1),
              "every message has a class");

void sim_buffers_done(sim_buffers_t *self)
{
    for (uint32_t i = 0; i < SIM_BUFFER_CLASS_COUNT; i++) {
        while (self->free[i] != NULL) {
            sim_buffer_t *buffer = self->free[i];
            self->free[i] = buffer->next_free;
            free(buffer);
        }
    }
}

uint64_t sim_hash_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 32;
}

static uint64_t s_hash_bytes(const uint8_t *bytes, size_t size)
{
    uint64_t hash = sim_hash_mix(UINT64_C(0x2545f4914f6cdd1d), size);
    while (size >= 8) {
        hash = sim_hash_mix(hash, bytes_get_u64(bytes));
        bytes += 8;
        size -= 8;
    }
    uint64_t rest = 0;
    for (size_t i = 0; i < size; i++) {
        rest |= (uint64_t)bytes[i] << (8 * i);
    }
    return sim_hash_mix(hash, rest);
}

void sim_buffer_rehash(sim_buffer_t *buffer)
{
    buffer->hash = s_hash_bytes(buffer->bytes, buffer->topic_size + buffer->size);
}

uint8_t *sim_buffer_payload(sim_buffer_t *buffer)
{
    return buffer->bytes + buffer->topic_size;
}

sim_buffer_t *sim_buffers_take(sim_buffers_t *self,
                               const char *topic,
                               const uint8_t *payload,
                               size_t size)
{
    size_t topic_size = topic == NULL ? 0 : strlen(topic) + 1;
    uint16_t size_class = SIZE_CLASS_MIN;
    while (((size_t)1 << size_class) < topic_size + size) {
        size_class++;
    }
    CHECK(size_class < SIM_BUFFER_CLASS_COUNT);
    sim_buffer_t *buffer = self->free[size_class];
    if (buffer == NULL) {
        buffer = malloc(sizeof(*buffer) + ((size_t)1 << size_class));
        CHECK(buffer != NULL);
        buffer->size_class = size_class;
    } else {
        self->free[size_class] = buffer->next_free;
    }
    REMEMBER_BYTES(buffer->bytes, topic_size + size);
    buffer->users = 1;
    buffer->size = size;
    buffer->topic_size = (uint16_t)topic_size;
    if (topic_size > 0) {
        (void)memcpy(buffer->bytes, topic, topic_size);
    }
    if (size > 0) {
        (void)memcpy(buffer->bytes + topic_size, payload, size);
    }
    sim_buffer_rehash(buffer);
    return buffer;
}

void sim_buffers_release(sim_buffers_t *self, sim_buffer_t *buffer)
{
    CHECK(buffer->users > 0);
    if (--buffer->users == 0) {
        buffer->next_free = self->free[buffer->size_class];
        self->free[buffer->size_class] = buffer;
        FORGET_BYTES(buffer->bytes, (size_t)1 << buffer->size_class);
    }
}
