/* The canonical form of what a client sent, and its hash.
 *
 *   u8  number of the op (client_op_t)
 *   then by op; all numbers little-endian, a text is u32 size and its bytes:
 *     signal, signals          u32 events; then column by column over all events: u8 signal, u8
 *                              present, u64 item, and for the events that have it u64 user, f64
 *                              weight, i64 ts
 *     put_item, put_items      u32 items; each: u64 item, u32 present, then the fields present in
 *                              the order of their bits; tags: u32 count, texts
 *     delete_item              u64 item
 *     put_user                 u64 user, u32 count, each (ascending by name) name, value
 *     hide .. unblock          u64 user, u64 target, u8 has_hlc, then i64 wall, u32 logical, u32
 *                              node
 *     session_start            u64 user, agent (empty: none), meta as it was encoded (empty: none)
 *     session_signal           session (24 bytes), u8 signal, u8 present, u64 item, then f64 weight
 *                              and i64 ts where they are present
 *     session_close            session
 *
 * `signal` and `signals` with one row are different ops, hence different writes. This form is
 * compared across restarts and versions: it changes only with a decision and a migration. */
#include "common/base/check.h"
#include "common/wire/client_fields.h"

#include <blake3.h>

static void s_put_u8(buffer_t *out, uint8_t value)
{
    *buffer_extend(out, 1) = value;
}

static void s_put_u32(buffer_t *out, uint32_t value)
{
    bytes_put_u32(buffer_extend(out, 4), value);
}

static void s_put_u64(buffer_t *out, uint64_t value)
{
    bytes_put_u64(buffer_extend(out, 8), value);
}

static void s_put_text(buffer_t *out, slice_t text)
{
    s_put_u32(out, (uint32_t)text.size);
    buffer_append(out, text.data, text.size);
}

enum { EVENT_SIZE_MAX = 1 + 1 + 8 + 8 + 8 + 8 };

/* Signals, present bits and items of all events, into room that is there. ret the end */
static uint8_t *s_put_heads(uint8_t *at, const client_event_t *events, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        *at++ = events[i].signal;
    }
    for (uint32_t i = 0; i < count; i++) {
        *at++ = events[i].present;
    }
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_u64(at, events[i].item.value);
        at += 8;
    }
    return at;
}

static void s_put_signals(buffer_t *out, const client_event_t *events, uint32_t count)
{
    s_put_u32(out, count);
    size_t begin = out->size;
    uint8_t *first = buffer_extend(out, (size_t)count * EVENT_SIZE_MAX);
    uint8_t *at = s_put_heads(first, events, count);
    /* Each value is written, and kept only by an event that has it: the next one overwrites it. */
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_u64(at, events[i].user.value);
        at += events[i].present & CLIENT_EVENT_USER ? 8 : 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_f64(at, events[i].weight);
        at += events[i].present & CLIENT_EVENT_WEIGHT ? 8 : 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_u64(at, (uint64_t)events[i].ts_ns);
        at += events[i].present & CLIENT_EVENT_TS ? 8 : 0;
    }
    out->size = begin + (size_t)(at - first);
}

static void s_put_item(buffer_t *out, const client_item_t *item)
{
    s_put_u64(out, item->item.value);
    s_put_u32(out, item->present);
    if (item->present & CLIENT_ITEM_TITLE) {
        s_put_text(out, item->title);
    }
    if (item->present & CLIENT_ITEM_TEXT) {
        s_put_text(out, item->text);
    }
    if (item->present & CLIENT_ITEM_CATEGORY) {
        s_put_text(out, item->category);
    }
    if (item->present & CLIENT_ITEM_CREATOR) {
        s_put_u64(out, item->creator.value);
    }
    if (item->present & CLIENT_ITEM_TAGS) {
        s_put_u32(out, item->tag_count);
        for (uint32_t i = 0; i < item->tag_count; i++) {
            s_put_text(out, item->tags[i]);
        }
    }
    if (item->present & CLIENT_ITEM_CREATED) {
        s_put_u64(out, (uint64_t)item->created_ns);
    }
}

static void s_put_items(buffer_t *out, const client_request_t *request)
{
    s_put_u32(out, request->as.items.item_count);
    for (uint32_t i = 0; i < request->as.items.item_count; i++) {
        s_put_item(out, &request->as.items.items[i]);
    }
}

static void s_put_user(buffer_t *out, const client_request_t *request)
{
    s_put_u64(out, request->as.put_user.user.value);
    s_put_u32(out, request->as.put_user.attribute_count);
    for (uint32_t i = 0; i < request->as.put_user.attribute_count; i++) {
        s_put_text(out, request->as.put_user.attributes[i].name);
        s_put_text(out, request->as.put_user.attributes[i].value);
    }
}

static void s_put_relation(buffer_t *out, const client_request_t *request)
{
    s_put_u64(out, request->as.relation.user.value);
    s_put_u64(out, request->as.relation.target);
    s_put_u8(out, request->as.relation.has_hlc ? 1 : 0);
    if (request->as.relation.has_hlc) {
        s_put_u64(out, (uint64_t)request->as.relation.hlc.wall_ns);
        s_put_u32(out, request->as.relation.hlc.logical);
        s_put_u32(out, request->as.relation.hlc.node);
    }
}

static void s_put_session_signal(buffer_t *out, const client_request_t *request)
{
    const client_event_t *event = &request->as.session_signal.event;
    buffer_append(out, request->as.session_signal.session.bytes, SESSION_ID_SIZE);
    s_put_u8(out, event->signal);
    s_put_u8(out, event->present);
    s_put_u64(out, event->item.value);
    if (event->present & CLIENT_EVENT_WEIGHT) {
        bytes_put_f64(buffer_extend(out, 8), event->weight);
    }
    if (event->present & CLIENT_EVENT_TS) {
        s_put_u64(out, (uint64_t)event->ts_ns);
    }
}

static void s_put_request(buffer_t *out, const client_request_t *request)
{
    client_op_t op = request->op;
    s_put_u8(out, (uint8_t)op);
    if (op == CLIENT_OP_SIGNAL || op == CLIENT_OP_SIGNALS) {
        s_put_signals(out, request->as.signals.events, request->as.signals.event_count);
    } else if (op == CLIENT_OP_PUT_ITEM || op == CLIENT_OP_PUT_ITEMS) {
        s_put_items(out, request);
    } else if (op == CLIENT_OP_DELETE_ITEM) {
        s_put_u64(out, request->as.item.value);
    } else if (op == CLIENT_OP_PUT_USER) {
        s_put_user(out, request);
    } else if (op == CLIENT_OP_SESSION_START) {
        s_put_u64(out, request->as.session_start.user.value);
        s_put_text(out, request->as.session_start.agent);
        s_put_text(out, request->as.session_start.meta);
    } else if (op == CLIENT_OP_SESSION_SIGNAL) {
        s_put_session_signal(out, request);
    } else if (op == CLIENT_OP_SESSION_CLOSE) {
        buffer_append(out, request->as.session.bytes, SESSION_ID_SIZE);
    } else {
        s_put_relation(out, request);
    }
}

static_assert(CLIENT_OP_END <= 256, "the op is one byte of the canonical form");

void client_content_hash(client_decoder_t *self,
                         const client_request_t *request,
                         uint8_t ret_hash[MSG_CONTENT_HASH_SIZE])
{
    CHECK(client_op_class(request->op) == CLIENT_CLASS_WRITE);
    buffer_clear(&self->canonical);
    s_put_request(&self->canonical, request);
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, self->canonical.data, self->canonical.size);
    blake3_hasher_finalize(&hasher, ret_hash, MSG_CONTENT_HASH_SIZE);
}
