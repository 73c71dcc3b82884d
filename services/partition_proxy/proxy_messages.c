#include "services/partition_proxy/proxy_messages.h"

#include "common/base/check.h"

#include <stdlib.h>

enum { CAPACITY_FIRST = 256 };

typedef struct {
    proxy_message_t message; /* frame_count 0: free */
    uint32_t generation;     /* half of the ticket: a stale one is found out */
    uint32_t next_free;      /* index + 1; 0 none */
} slot_t;

struct proxy_messages {
    slot_t *slots;
    uint32_t slot_count;
    uint32_t free_head; /* index + 1; 0 none */
};

proxy_messages_t *proxy_messages_new(void)
{
    proxy_messages_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    return self;
}

static void s_free_frames(proxy_message_t *message)
{
    if (!message->is_owned) {
        return;
    }
    for (uint32_t i = 0; i < message->frame_count; i++) {
        CHECK(zmq_msg_close(&message->frames[i]) == 0);
    }
    free(message->frames);
}

void proxy_messages_destroy(proxy_messages_t **self_p)
{
    CHECK(self_p != NULL);
    proxy_messages_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->slot_count; i++) {
        s_free_frames(&self->slots[i].message);
    }
    free(self->slots);
    free(self);
    *self_p = NULL;
}

static void s_grow(proxy_messages_t *self)
{
    uint32_t count = self->slot_count == 0 ? CAPACITY_FIRST : 2 * self->slot_count;
    CHECK(count > self->slot_count);
    slot_t *slots = realloc(self->slots, count * sizeof(*slots));
    CHECK(slots != NULL);
    for (uint32_t i = count; i > self->slot_count; i--) {
        slots[i - 1] = (slot_t){.next_free = self->free_head};
        self->free_head = i;
    }
    self->slots = slots;
    self->slot_count = count;
}

uint64_t proxy_messages_add(proxy_messages_t *self,
                            const proxy_route_t *route,
                            zmq_msg_t *frames,
                            uint32_t frame_count)
{
    CHECK(frame_count >= 1 && frame_count <= ENV_MESSAGE_FRAME_COUNT_MAX);
    if (self->free_head == 0) {
        s_grow(self);
    }
    uint32_t index = self->free_head - 1;
    slot_t *slot = &self->slots[index];
    CHECK(slot->message.frame_count == 0);
    self->free_head = slot->next_free;
    slot->generation++;
    slot->message =
        (proxy_message_t){.route = *route, .frames = frames, .frame_count = frame_count};
    return (uint64_t)slot->generation << 32 | index;
}

bool proxy_messages_has(const proxy_messages_t *self, uint64_t ticket)
{
    uint32_t index = (uint32_t)ticket;
    return index < self->slot_count && self->slots[index].generation == ticket >> 32 &&
           self->slots[index].message.frame_count > 0;
}

proxy_message_t *proxy_messages_get(proxy_messages_t *self, uint64_t ticket)
{
    CHECK(proxy_messages_has(self, ticket));
    return &self->slots[(uint32_t)ticket].message;
}

void proxy_messages_keep(proxy_messages_t *self, uint64_t ticket)
{
    proxy_message_t *message = proxy_messages_get(self, ticket);
    CHECK(!message->is_owned);
    zmq_msg_t *frames = calloc(message->frame_count, sizeof(zmq_msg_t));
    CHECK(frames != NULL);
    for (uint32_t i = 0; i < message->frame_count; i++) {
        CHECK(zmq_msg_init(&frames[i]) == 0);
        CHECK(zmq_msg_move(&frames[i], &message->frames[i]) == 0);
    }
    message->frames = frames;
    message->is_owned = true;
}

void proxy_messages_release(proxy_messages_t *self, uint64_t ticket)
{
    proxy_message_t *message = proxy_messages_get(self, ticket);
    s_free_frames(message);
    uint32_t index = (uint32_t)ticket;
    *message = (proxy_message_t){.frame_count = 0};
    self->slots[index].next_free = self->free_head;
    self->free_head = index + 1;
}
