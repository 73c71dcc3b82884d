/* Register writes of clients as records of the log. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"

/* The body form of `tags`: u16 count, then each u16 size and bytes. */
static slice_t s_tags(buffer_t *scratch, const client_item_t *item)
{
    buffer_clear(scratch);
    bytes_put_u16(buffer_extend(scratch, 2), (uint16_t)item->tag_count);
    for (uint32_t i = 0; i < item->tag_count; i++) {
        bytes_put_u16(buffer_extend(scratch, 2), (uint16_t)item->tags[i].size);
        buffer_append(scratch, item->tags[i].data, item->tags[i].size);
    }
    return buffer_slice(scratch);
}

static void s_add_field(record_t *record, item_field_t field, bool is_present, slice_t value)
{
    if (is_present) {
        record->as.item.fields[record->as.item.field_count++] =
            (record_item_field_t){.field = field, .value = value};
    }
}

static void s_append_item(gateway_engine_t *self,
                          const client_item_t *item,
                          hlc_stamp_t hlc,
                          buffer_t *payload)
{
    uint8_t creator[8];
    uint8_t created[8];
    bytes_put_u64(creator, item->creator.value);
    bytes_put_u64(created, (uint64_t)item->created_ns);
    record_t record = {.type = RECORD_ITEM_PUT, .event_count = 1};
    record.as.item.item = item->item;
    record.as.item.hlc = hlc;
    record.as.item.field_count = 0;
    uint32_t has = item->present;
    s_add_field(&record, ITEM_FIELD_TITLE, (has & CLIENT_ITEM_TITLE) != 0, item->title);
    s_add_field(&record, ITEM_FIELD_TEXT, (has & CLIENT_ITEM_TEXT) != 0, item->text);
    s_add_field(&record, ITEM_FIELD_CATEGORY, (has & CLIENT_ITEM_CATEGORY) != 0, item->category);
    s_add_field(&record, ITEM_FIELD_CREATOR, (has & CLIENT_ITEM_CREATOR) != 0,
                slice_make(creator, sizeof(creator)));
    if ((has & CLIENT_ITEM_TAGS) != 0) {
        s_add_field(&record, ITEM_FIELD_TAGS, true, s_tags(&self->rows, item));
    }
    s_add_field(&record, ITEM_FIELD_CREATED, (has & CLIENT_ITEM_CREATED) != 0,
                slice_make(created, sizeof(created)));
    record_append(payload, &record);
}

static void s_append_user(const client_request_t *client, hlc_stamp_t hlc, buffer_t *payload)
{
    record_t record = {.type = RECORD_USER_PUT, .event_count = 1};
    record.as.user.user = client->as.put_user.user;
    record.as.user.hlc = hlc;
    record.as.user.attribute_count = client->as.put_user.attribute_count;
    for (uint32_t i = 0; i < client->as.put_user.attribute_count; i++) {
        record.as.user.attributes[i].name = client->as.put_user.attributes[i].name;
        record.as.user.attributes[i].value = client->as.put_user.attributes[i].value;
    }
    record_append(payload, &record);
}

static void s_append_relation(const client_request_t *client, hlc_stamp_t hlc, buffer_t *payload)
{
    client_op_t op = client->op;
    bool is_hide = op == CLIENT_OP_HIDE || op == CLIENT_OP_UNHIDE;
    bool is_mute = op == CLIENT_OP_MUTE || op == CLIENT_OP_UNMUTE;
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user = client->as.relation.user;
    record.as.relation.target = client->as.relation.target;
    record.as.relation.hlc = hlc;
    record.as.relation.action = is_hide ? RELATION_HIDE : is_mute ? RELATION_MUTE : RELATION_BLOCK;
    record.as.relation.set = op == CLIENT_OP_HIDE || op == CLIENT_OP_MUTE || op == CLIENT_OP_BLOCK;
    record_append(payload, &record);
}

void gateway_record_append(gateway_engine_t *self,
                           const client_request_t *client,
                           uint32_t item,
                           hlc_stamp_t hlc,
                           buffer_t *payload)
{
    if (client->op == CLIENT_OP_PUT_ITEM || client->op == CLIENT_OP_PUT_ITEMS) {
        CHECK(item < client->as.items.item_count);
        s_append_item(self, &client->as.items.items[item], hlc, payload);
    } else if (client->op == CLIENT_OP_DELETE_ITEM) {
        record_t record = {.type = RECORD_ITEM_DELETE, .event_count = 1};
        record.as.item.item = client->as.item;
        record.as.item.hlc = hlc;
        record.as.item.field_count = 0;
        record_append(payload, &record);
    } else if (client->op == CLIENT_OP_PUT_USER) {
        s_append_user(client, hlc, payload);
    } else {
        s_append_relation(client, hlc, payload);
    }
}

void gateway_record_restamp(slice_t record_bytes, hlc_stamp_t hlc, buffer_t *payload)
{
    size_t offset = 0;
    record_t record;
    CHECK(record_next(record_bytes, &offset, &record, NULL) == ERR_OK); /* its own */
    if (record.type == RECORD_USER_PUT) {
        record.as.user.hlc = hlc;
    } else {
        CHECK(record.type == RECORD_RELATION);
        record.as.relation.hlc = hlc;
    }
    record_append(payload, &record);
}
