#include "tests/simulation/history.h"

#include "common/base/check.h"
#include "common/topology/route.h"
#include "common/topology/table.h"

#include <string.h>

void history_init(history_t *self)
{
    buffer_init(&self->requests);
    buffer_init(&self->events);
}

void history_done(history_t *self)
{
    buffer_done(&self->requests);
    buffer_done(&self->events);
}

uint32_t history_add_request(history_t *self)
{
    memset(buffer_extend(&self->requests, sizeof(history_request_t)), 0, sizeof(history_request_t));
    return history_request_count(self) - 1;
}

void history_add_event(history_t *self, uint32_t request, signal_event_t event)
{
    uint32_t number = history_event_count(self);
    CHECK(number < HISTORY_EVENT_COUNT_MAX);
    event.ts_ns = event.ts_ns / HISTORY_EVENT_COUNT_MAX * HISTORY_EVENT_COUNT_MAX + number;
    history_event_t *added =
        (history_event_t *)(void *)buffer_extend(&self->events, sizeof(*added));
    memset(added, 0, sizeof(*added));
    added->event = event;
    added->request = request;
}

uint32_t history_find_event(const history_t *self, const signal_event_t *event)
{
    uint32_t number = (uint32_t)(event->ts_ns % HISTORY_EVENT_COUNT_MAX);
    if (number >= history_event_count(self)) {
        return HISTORY_EVENT_COUNT_MAX;
    }
    const signal_event_t *sent = &history_event(self, number)->event;
    bool is_same = sent->item.value == event->item.value && sent->user.value == event->user.value &&
                   sent->ts_ns == event->ts_ns && sent->signal == event->signal &&
                   sent->weight == event->weight;
    return is_same ? number : HISTORY_EVENT_COUNT_MAX;
}

uint64_t history_origin(slice_t name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < name.size; i++) {
        hash = (hash ^ name.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash | 1;
}

const char *history_locale(uint64_t number)
{
    static const char *const s_locales[] = {"AP", "EU", "US"};
    CHECK(number < sizeof(s_locales) / sizeof(s_locales[0]));
    return s_locales[number];
}

bool history_is_for_all(const history_request_t *request)
{
    return request->kind == HISTORY_USER ||
           (request->kind == HISTORY_RELATION && request->write.action != RELATION_HIDE);
}

shard_id_t history_home(const history_request_t *request, uint32_t shard_count)
{
    bool is_by_user = request->kind == HISTORY_SESSION || history_is_for_all(request);
    return is_by_user ? route_user(TENANT_DEFAULT, request->write.user, shard_count)
                      : route_item(TENANT_DEFAULT, (item_id_t){request->write.target}, shard_count);
}
