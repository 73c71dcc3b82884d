/* After a write that all shards hold: word of it to the user's home shard, whose leader would
 * otherwise bring it to all of them once more (common/replication/completer.h). */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"

#include <string.h>

enum { S_TIMEOUT_MS = 1000 };

static void s_append(
    buffer_t *payload, const record_held_t *held, held_kind_t kind, slice_t name, uint32_t *count)
{
    record_t record = {.type = RECORD_HELD, .event_count = 1};
    record.as.held = *held;
    record.as.held.kind = kind;
    record.as.held.name = name;
    record_append(payload, &record);
    (*count)++;
}

/* One for each register that the record writes; returns how many. */
static uint32_t s_append_all(buffer_t *payload, const record_t *record)
{
    uint32_t count = 0;
    if (record->type == RECORD_USER_PUT) {
        record_held_t held = {.user = record->as.user.user, .hlc = record->as.user.hlc};
        for (uint32_t i = 0; i < record->as.user.attribute_count; i++) {
            s_append(payload, &held, HELD_ATTRIBUTE, record->as.user.attributes[i].name, &count);
        }
        return count;
    }
    CHECK(record->type == RECORD_RELATION && record->as.relation.action != RELATION_HIDE);
    record_held_t held = {
        .user = record->as.relation.user,
        .hlc = record->as.relation.hlc,
        .set = record->as.relation.set,
        .target = record->as.relation.target,
    };
    held_kind_t kind = record->as.relation.action == RELATION_MUTE ? HELD_MUTE : HELD_BLOCK;
    s_append(payload, &held, kind, slice_make(NULL, 0), &count);
    return count;
}

void gateway_tell_held(gateway_engine_t *self, const gateway_request_t *request)
{
    if (!request->write.is_for_all || request->part_count < 2 ||
        request->write.ack < ACK_REPLICATED) {
        return;
    }
    const gateway_part_t *home = &request->parts[request->write.home];
    if (!home->has_position) {
        return; /* a copy of long ago, whose stamp is forgotten */
    }
    record_t record;
    size_t offset = 0;
    err_t err =
        record_next(slice_make(request->payload.data + home->payload.offset, home->payload.size),
                    &offset, &record, NULL);
    CHECK(err == ERR_OK); /* its own */
    buffer_t payload;
    buffer_init(&payload);
    msg_t msg = {.type = MSG_WRITE};
    msg.as.write = (msg_write_t){
        .request_id = (++self->probe_number & UINT32_MAX) << 32 | (uint64_t)GATEWAY_PROBE_SLOT
                                                                      << 16,
        .tenant = request->tenant,
        .shard = home->shard,
        .level = ACK_LOCAL,
        .timeout_ms = S_TIMEOUT_MS,
        .event_count = s_append_all(&payload, &record),
    };
    msg.as.write.payload = buffer_slice(&payload);
    if (msg.as.write.event_count > 0) {
        /* Lost: the leader does its part of the work again, and finds out by itself. */
        (void)gateway_send(self, (node_id_t){home->target, home->shard}, &msg);
    }
    buffer_done(&payload);
}
