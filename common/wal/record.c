#include "common/wal/record.h"

#include "common/base/check.h"
#include "common/wal/record_held.h"
#include "common/wal/record_session.h"
#include "common/wal/record_signals.h"

/* -- encoding and decoding --------------------------------------------------------------------- */

void record_put_header(uint8_t *at, record_type_t type, unsigned flags, uint32_t events)
{
    at[0] = (uint8_t)type;
    at[1] = 1;
    bytes_put_u16(at + 2, (uint16_t)flags);
    bytes_put_u32(at + 4, events);
    bytes_put_u32(at + 8, 0);
}

static void s_append_u16(buffer_t *out, uint16_t value)
{
    bytes_put_u16(buffer_extend(out, 2), value);
}

static void s_append_u32(buffer_t *out, uint32_t value)
{
    bytes_put_u32(buffer_extend(out, 4), value);
}

static void s_append_u64(buffer_t *out, uint64_t value)
{
    bytes_put_u64(buffer_extend(out, 8), value);
}

static void s_append_hlc(buffer_t *out, hlc_stamp_t hlc)
{
    CHECK(hlc.wall_ns >= 0);
    s_append_u64(out, (uint64_t)hlc.wall_ns);
    s_append_u32(out, hlc.logical);
    s_append_u32(out, hlc.node);
}

/* Bytes that are taken from the front, with a note of whether there were enough. */
typedef struct {
    const uint8_t *at;
    size_t left;
    bool ok;
} cursor_t;

static slice_t s_take(cursor_t *cursor, size_t size)
{
    if (!cursor->ok || size > cursor->left) {
        cursor->ok = false;
        return slice_make(NULL, 0);
    }
    slice_t taken = slice_make(cursor->at, size);
    cursor->at += size;
    cursor->left -= size;
    return taken;
}

/* The takers of numbers give 0 when the bytes ran out; the caller looks at `ok` once at the end. */
static uint8_t s_take_u8(cursor_t *cursor)
{
    slice_t bytes = s_take(cursor, 1);
    return cursor->ok ? bytes.data[0] : 0;
}

static uint16_t s_take_u16(cursor_t *cursor)
{
    slice_t bytes = s_take(cursor, 2);
    return cursor->ok ? bytes_get_u16(bytes.data) : 0;
}

static uint32_t s_take_u32(cursor_t *cursor)
{
    slice_t bytes = s_take(cursor, 4);
    return cursor->ok ? bytes_get_u32(bytes.data) : 0;
}

static uint64_t s_take_u64(cursor_t *cursor)
{
    slice_t bytes = s_take(cursor, 8);
    return cursor->ok ? bytes_get_u64(bytes.data) : 0;
}

/* A negative wall time would come before the zero stamp, so it counts as malformed. */
static hlc_stamp_t s_take_hlc(cursor_t *cursor)
{
    hlc_stamp_t hlc;
    hlc.wall_ns = (int64_t)s_take_u64(cursor);
    hlc.logical = s_take_u32(cursor);
    hlc.node = s_take_u32(cursor);
    cursor->ok = cursor->ok && hlc.wall_ns >= 0;
    return hlc;
}

static bool s_text_ok(slice_t text)
{
    return text.size <= TEXT_SIZE_MAX && bytes_are_utf8(text);
}

static bool s_tags_ok(slice_t value)
{
    cursor_t cursor = {value.data, value.size, true};
    const uint16_t count = s_take_u16(&cursor);
    if (!cursor.ok || count > TAG_COUNT_MAX) {
        return false;
    }
    for (uint16_t i = 0; i < count; i++) {
        slice_t tag = s_take(&cursor, s_take_u16(&cursor));
        if (!cursor.ok || !s_text_ok(tag)) {
            return false;
        }
    }
    return cursor.left == 0;
}

static bool s_item_field_ok(unsigned field, slice_t value)
{
    switch (field) {
    case ITEM_FIELD_TITLE:
    case ITEM_FIELD_TEXT:
    case ITEM_FIELD_CATEGORY:
        return s_text_ok(value);
    case ITEM_FIELD_CREATOR:
    case ITEM_FIELD_CREATED:
        return value.size == 8;
    case ITEM_FIELD_TAGS:
        return s_tags_ok(value);
    default:
        return false;
    }
}

static err_t s_malformed(const char *what, errbuf_t *errbuf)
{
    errbuf_set(errbuf, "%s record: malformed body", what);
    return ERR_CORRUPT;
}

static err_t s_decode_item(slice_t body, record_t *record, errbuf_t *errbuf)
{
    cursor_t cursor = {body.data, body.size, true};
    unsigned seen = 0;
    uint32_t count = 0;
    record->as.item.item.value = s_take_u64(&cursor);
    record->as.item.hlc = s_take_hlc(&cursor);
    if (!cursor.ok || record->as.item.item.value == 0) {
        return s_malformed("ITEM", errbuf);
    }
    if (record->type == RECORD_ITEM_DELETE && cursor.left != 0) {
        return s_malformed("ITEM_DELETE", errbuf);
    }
    while (cursor.left > 0) {
        const unsigned field = s_take_u8(&cursor);
        const slice_t value = s_take(&cursor, s_take_u32(&cursor));
        if (cursor.ok && field > ITEM_FIELD_CREATED) {
            errbuf_set(errbuf, "ITEM_PUT record: field %u is of a later version", field);
            return ERR_UNSUPPORTED;
        }
        /* a field given twice has no meaning, and the table has room for each field once */
        if (!cursor.ok || !s_item_field_ok(field, value) || (seen & 1U << field) != 0) {
            return s_malformed("ITEM_PUT", errbuf);
        }
        seen |= 1U << field;
        CHECK(count < ITEM_FIELD_COUNT_MAX);
        record->as.item.fields[count++] = (record_item_field_t){(item_field_t)field, value};
    }
    record->as.item.field_count = count;
    return ERR_OK;
}

static bool s_attribute_ok(const record_t *record, uint32_t count, record_attribute_t attribute)
{
    if (attribute.name.size == 0 || !s_text_ok(attribute.name) || !s_text_ok(attribute.value)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (slice_equal(record->as.user.attributes[i].name, attribute.name)) {
            return false;
        }
    }
    return true;
}

static err_t s_decode_user(slice_t body, record_t *record, errbuf_t *errbuf)
{
    cursor_t cursor = {body.data, body.size, true};
    record->as.user.user.value = s_take_u64(&cursor);
    record->as.user.hlc = s_take_hlc(&cursor);
    const uint16_t count = s_take_u16(&cursor);
    if (!cursor.ok || record->as.user.user.value == 0 || count > USER_ATTRIBUTE_COUNT_MAX) {
        return s_malformed("USER_PUT", errbuf);
    }
    for (uint16_t i = 0; i < count; i++) {
        record_attribute_t attribute;
        attribute.name = s_take(&cursor, s_take_u16(&cursor));
        attribute.value = s_take(&cursor, s_take_u32(&cursor));
        if (!cursor.ok || !s_attribute_ok(record, i, attribute)) {
            return s_malformed("USER_PUT", errbuf);
        }
        record->as.user.attributes[i] = attribute;
    }
    record->as.user.attribute_count = count;
    return cursor.left == 0 ? ERR_OK : s_malformed("USER_PUT", errbuf);
}

static err_t s_decode_relation(slice_t body, record_t *record, errbuf_t *errbuf)
{
    cursor_t cursor = {body.data, body.size, true};
    record->as.relation.user.value = s_take_u64(&cursor);
    record->as.relation.target = s_take_u64(&cursor);
    record->as.relation.hlc = s_take_hlc(&cursor);
    const unsigned action = s_take_u8(&cursor);
    const unsigned set = s_take_u8(&cursor);
    if (!cursor.ok || cursor.left != 0 || set > 1 || action == 0) {
        return s_malformed("RELATION", errbuf);
    }
    if (action > RELATION_BLOCK) {
        errbuf_set(errbuf, "RELATION record: action %u is of a later version", action);
        return ERR_UNSUPPORTED;
    }
    if (record->as.relation.user.value == 0 || record->as.relation.target == 0) {
        return s_malformed("RELATION", errbuf);
    }
    record->as.relation.action = (relation_action_t)action;
    record->as.relation.set = set == 1;
    return ERR_OK;
}

static void s_append_item(buffer_t *out, const record_t *record)
{
    CHECK(record->as.item.item.value != 0);
    CHECK(record->as.item.field_count <= ITEM_FIELD_COUNT_MAX);
    CHECK_IMPLIES(record->type == RECORD_ITEM_DELETE, record->as.item.field_count == 0);
    s_append_u64(out, record->as.item.item.value);
    s_append_hlc(out, record->as.item.hlc);
    unsigned seen = 0;
    for (uint32_t i = 0; i < record->as.item.field_count; i++) {
        const record_item_field_t *field = &record->as.item.fields[i];
        CHECK(s_item_field_ok(field->field, field->value));
        CHECK((seen & 1U << field->field) == 0);
        seen |= 1U << field->field;
        *buffer_extend(out, 1) = (uint8_t)field->field;
        s_append_u32(out, (uint32_t)field->value.size);
        buffer_append(out, field->value.data, field->value.size);
    }
}

static void s_append_user(buffer_t *out, const record_t *record)
{
    const uint32_t count = record->as.user.attribute_count;
    CHECK(record->as.user.user.value != 0);
    CHECK(count <= USER_ATTRIBUTE_COUNT_MAX);
    s_append_u64(out, record->as.user.user.value);
    s_append_hlc(out, record->as.user.hlc);
    s_append_u16(out, (uint16_t)count);
    for (uint32_t i = 0; i < count; i++) {
        const record_attribute_t *attribute = &record->as.user.attributes[i];
        CHECK(s_attribute_ok(record, i, *attribute));
        s_append_u16(out, (uint16_t)attribute->name.size);
        buffer_append(out, attribute->name.data, attribute->name.size);
        s_append_u32(out, (uint32_t)attribute->value.size);
        buffer_append(out, attribute->value.data, attribute->value.size);
    }
}

static void s_append_relation(buffer_t *out, const record_t *record)
{
    CHECK(record->as.relation.user.value != 0 && record->as.relation.target != 0);
    CHECK(record->as.relation.action >= RELATION_HIDE);
    CHECK(record->as.relation.action <= RELATION_BLOCK);
    s_append_u64(out, record->as.relation.user.value);
    s_append_u64(out, record->as.relation.target);
    s_append_hlc(out, record->as.relation.hlc);
    *buffer_extend(out, 1) = (uint8_t)record->as.relation.action;
    *buffer_extend(out, 1) = record->as.relation.set ? 1 : 0;
}

void record_append(buffer_t *payload, const record_t *record)
{
    const size_t start = payload->size;
    record_put_header(buffer_extend(payload, RECORD_HEADER_SIZE), record->type, 0, 1);
    switch (record->type) {
    case RECORD_ITEM_PUT:
    case RECORD_ITEM_DELETE:
        s_append_item(payload, record);
        break;
    case RECORD_USER_PUT:
        s_append_user(payload, record);
        break;
    case RECORD_RELATION:
        s_append_relation(payload, record);
        break;
    case RECORD_SESSION_START:
    case RECORD_SESSION_SIGNAL:
    case RECORD_SESSION_CLOSE:
        record_session_append(payload, record);
        break;
    case RECORD_HELD:
        record_held_append(payload, record);
        break;
    case RECORD_SIGNALS: /* has its own function, because it is built from events */
    case RECORD_TENANT_FIRST:
    case RECORD_IMPRESSION:
    case RECORD_VOID:
    case RECORD_SEAL:
        CHECK(record->type == RECORD_ITEM_PUT);
        break;
    }
    const size_t body_size = payload->size - start - RECORD_HEADER_SIZE;
    bytes_put_u32(payload->data + start + 8, (uint32_t)body_size);
}

/* -- walking a payload ------------------------------------------------------------------------- */

static err_t s_decode_body(slice_t body, unsigned flags, record_t *record, errbuf_t *errbuf)
{
    if (record->type == RECORD_SIGNALS) {
        return record_signals_decode(body, flags, record, errbuf);
    }
    if (flags != 0) {
        errbuf_set(errbuf, "record of type %u: flags 0x%x are of a later version",
                   (unsigned)record->type, flags);
        return ERR_UNSUPPORTED;
    }
    if (record->event_count != 1) {
        errbuf_set(errbuf, "record of type %u: expected 1 event, found %u", (unsigned)record->type,
                   record->event_count);
        return ERR_CORRUPT;
    }
    switch (record->type) {
    case RECORD_ITEM_PUT:
    case RECORD_ITEM_DELETE:
        return s_decode_item(body, record, errbuf);
    case RECORD_USER_PUT:
        return s_decode_user(body, record, errbuf);
    case RECORD_RELATION:
        return s_decode_relation(body, record, errbuf);
    case RECORD_SESSION_START:
    case RECORD_SESSION_SIGNAL:
    case RECORD_SESSION_CLOSE:
        return record_session_decode(body, record, errbuf);
    case RECORD_HELD:
        return record_held_decode(body, record, errbuf);
    case RECORD_SIGNALS:
    case RECORD_TENANT_FIRST:
    case RECORD_IMPRESSION:
    case RECORD_VOID:
    case RECORD_SEAL:
        break;
    }
    errbuf_set(errbuf, "record of type %u: not known to this version", (unsigned)record->type);
    return ERR_UNSUPPORTED;
}

err_t record_next(slice_t payload, size_t *offset_p, record_t *ret_record, errbuf_t *errbuf)
{
    CHECK(*offset_p <= payload.size);
    const size_t left = payload.size - *offset_p;
    if (left == 0) {
        return ERR_END;
    }
    const uint8_t *at = payload.data + *offset_p;
    if (left < RECORD_HEADER_SIZE) {
        errbuf_set(errbuf, "record at %zu: expected a header of %d bytes, found %zu", *offset_p,
                   RECORD_HEADER_SIZE, left);
        return ERR_CORRUPT;
    }
    const size_t body_size = bytes_get_u32(at + 8);
    const uint32_t event_count = bytes_get_u32(at + 4);
    if (at[0] == 0 || body_size > left - RECORD_HEADER_SIZE || event_count < 1 ||
        event_count > WAL_BATCH_COUNT_MAX) {
        errbuf_set(errbuf,
                   "record at %zu: type %u, %u events, body of %zu bytes where %zu are left",
                   *offset_p, (unsigned)at[0], event_count, body_size, left - RECORD_HEADER_SIZE);
        return ERR_CORRUPT;
    }
    if (at[1] != 1) {
        errbuf_set(errbuf, "record at %zu: expected version 1 of type %u, found %u", *offset_p,
                   (unsigned)at[0], (unsigned)at[1]);
        return at[1] == 0 ? ERR_CORRUPT : ERR_UNSUPPORTED;
    }
    const slice_t body = slice_make(at + RECORD_HEADER_SIZE, body_size);
    record_t record; /* not zeroed: it is 2 KiB for the sake of USER_PUT alone */
    record.type = (record_type_t)at[0];
    record.event_count = event_count;
    err_t err = s_decode_body(body, bytes_get_u16(at + 2), &record, errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "record at %zu", *offset_p);
        return err;
    }
    if (record.type == RECORD_SIGNALS) {
        ret_record->type = record.type;
        ret_record->event_count = record.event_count;
        ret_record->as.signals = record.as.signals;
    } else {
        *ret_record = record;
    }
    *offset_p += RECORD_HEADER_SIZE + body_size;
    return ERR_OK;
}

uint64_t record_signal_count(slice_t payload)
{
    uint64_t count = 0;
    size_t offset = 0;
    while (payload.size - offset >= RECORD_HEADER_SIZE) {
        const uint8_t *at = payload.data + offset;
        const size_t body_size = bytes_get_u32(at + 8);
        if (body_size > payload.size - offset - RECORD_HEADER_SIZE) {
            return count;
        }
        count += at[0] == RECORD_SIGNALS ? bytes_get_u32(at + 4) : 0;
        offset += RECORD_HEADER_SIZE + body_size;
    }
    return count;
}

err_t record_check_payload(slice_t payload, uint32_t event_count, errbuf_t *errbuf)
{
    uint64_t events = 0;
    size_t offset = 0;
    err_t err = ERR_OK;
    record_t record;
    while ((err = record_next(payload, &offset, &record, errbuf)) == ERR_OK) {
        events += record.event_count;
    }
    if (err != ERR_END) {
        return err;
    }
    if (events != event_count || events == 0) {
        errbuf_set(errbuf, "payload: expected %u events, found %llu", event_count,
                   (unsigned long long)events);
        return ERR_CORRUPT;
    }
    return ERR_OK;
}
