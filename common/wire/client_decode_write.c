/* Decoder of the write ops. Rows and columns are the hot path of the system: rows are read value by
 * value without looking anything up but the signal's name, columns by position. */
#include "common/base/check.h"
#include "common/wire/client_fields.h"
#include "common/wire/pack_inline.h"

#include <stdio.h>
#include <stdlib.h>

static client_event_t *s_events(client_decoder_t *self, uint32_t count)
{
    buffer_clear(&self->events);
    void *memory = buffer_extend(&self->events, count * sizeof(client_event_t));
    self->request.as.signals.events = memory;
    self->request.as.signals.event_count = count;
    return memory;
}

/* -- one signal -------------------------------------------------------------------------------- */

bool client_take_event(client_decoder_t *self, client_event_t *ret_event)
{
    const client_map_t *map = &self->map;
    client_event_t event = {.weight = 1.0};
    if (!client_need(self, map, CLIENT_KEY_SIGNAL) || !client_need(self, map, CLIENT_KEY_ITEM) ||
        !client_take_signal(self, map, CLIENT_KEY_SIGNAL, &event.signal) ||
        !client_take_u64(self, map, CLIENT_KEY_ITEM, 1, UINT64_MAX, &event.item.value) ||
        !client_take_f64(self, map, CLIENT_KEY_WEIGHT, -CLIENT_WEIGHT_MAX, CLIENT_WEIGHT_MAX,
                         &event.weight) ||
        !client_take_time(self, map, CLIENT_KEY_TS, &event.ts_ns)) {
        return false;
    }
    event.present = (uint8_t)((client_has(map, CLIENT_KEY_WEIGHT) ? CLIENT_EVENT_WEIGHT : 0) |
                              (client_has(map, CLIENT_KEY_TS) ? CLIENT_EVENT_TS : 0));
    *ret_event = event;
    return true;
}

static bool s_decode_signal(client_decoder_t *self)
{
    client_event_t event;
    if (!client_take_event(self, &event) ||
        !client_take_u64(self, &self->map, CLIENT_KEY_USER, 0, UINT64_MAX, &event.user.value)) {
        return false;
    }
    event.present |= event.user.value != 0 ? CLIENT_EVENT_USER : 0;
    *s_events(self, 1) = event;
    return true;
}

/* -- rows -------------------------------------------------------------------------------------- */

enum { ROW_SIGNAL = 0, ROW_ITEM = 1, ROW_USER = 2, ROW_WEIGHT = 3, ROW_TS = 4, ROW_WIDTH = 5 };

static const char s_expected_item[] = "an id of 1..18446744073709551615";
static const char s_expected_user[] = "an id of 0..18446744073709551615";
static const char s_expected_weight[] = "a number of -1e9..1e9";
static const char s_expected_ts[] = "nanoseconds since 1970, an integer of 0..9223372036854775807";

static bool s_weight_is_good(double weight)
{
    return weight >= -CLIENT_WEIGHT_MAX && weight <= CLIENT_WEIGHT_MAX;
}

/* The signal of a row: most rows name the signal of the row before. */
static bool s_row_signal(client_decoder_t *self,
                         const pack_value_t *value,
                         slice_t *last_name,
                         uint8_t *last_id)
{
    if (value->kind != PACK_STR) {
        return client_refuse_value(self, "signal", "str, a signal's name", value);
    }
    if (last_name->data != NULL && slice_equal(value->as.bytes, *last_name)) {
        return true;
    }
    if (!client_resolve_signal(self, value->as.bytes, last_id)) {
        return false;
    }
    *last_name = value->as.bytes;
    return true;
}

/* Values behind the signal, none of them nil. */
static bool s_row_value(client_decoder_t *self,
                        uint32_t column,
                        const pack_value_t *value,
                        client_event_t *event)
{
    switch (column) {
    case ROW_ITEM:
        if (!pack_as_u64(value, &event->item.value) || event->item.value == 0) {
            return client_refuse_value(self, "item", s_expected_item, value);
        }
        return true;
    case ROW_USER:
        if (!pack_as_u64(value, &event->user.value)) {
            return client_refuse_value(self, "user", s_expected_user, value);
        }
        event->present |= event->user.value != 0 ? CLIENT_EVENT_USER : 0;
        return true;
    case ROW_WEIGHT:
        if (!pack_as_f64(value, &event->weight) || !s_weight_is_good(event->weight)) {
            return client_refuse_value(self, "weight", s_expected_weight, value);
        }
        event->weight += 0.0; /* no -0.0 */
        event->present |= CLIENT_EVENT_WEIGHT;
        return true;
    default:
        CHECK(column == ROW_TS);
        if (!pack_as_i64(value, &event->ts_ns) || event->ts_ns < 0) {
            return client_refuse_value(self, "ts", s_expected_ts, value);
        }
        event->present |= CLIENT_EVENT_TS;
        return true;
    }
}

static bool s_decode_row(client_decoder_t *self,
                         pack_reader_t *reader,
                         slice_t *last_name,
                         uint8_t *last_id,
                         client_event_t *event)
{
    pack_value_t value;
    (void)pack_next_inline(reader, &value); /* kind says whether it could */
    if (value.kind != PACK_ARRAY || value.as.count <= ROW_ITEM || value.as.count > ROW_WIDTH) {
        return client_refuse_value(self, "", "array of signal, item, user, weight, ts", &value);
    }
    uint32_t width = value.as.count;
    (void)pack_next_inline(reader, &value); /* kind says whether it could */
    if (!s_row_signal(self, &value, last_name, last_id)) {
        return false;
    }
    *event = (client_event_t){.weight = 1.0, .signal = *last_id};
    for (uint32_t column = ROW_ITEM; column < width; column++) {
        (void)pack_next_inline(reader, &value); /* kind says whether it could */
        bool is_default = value.kind == PACK_NIL && column != ROW_ITEM;
        if (!is_default && !s_row_value(self, column, &value, event)) {
            return false;
        }
    }
    return true;
}

static bool s_decode_rows(client_decoder_t *self)
{
    uint32_t count = 0;
    pack_reader_t reader;
    if (!client_open_array(self, &self->map, CLIENT_KEY_ROWS, REQUEST_ROW_COUNT_MAX, &count,
                           &reader)) {
        return false;
    }
    if (count == 0) {
        return client_refuse(self, CODE_BAD_REQUEST, "rows", "expected at least one, found none");
    }
    client_event_t *events = s_events(self, count);
    slice_t last_name = {NULL, 0};
    uint8_t last_id = 0;
    for (uint32_t i = 0; i < count; i++) {
        client_at_index(self, "rows", i);
        if (!s_decode_row(self, &reader, &last_name, &last_id, &events[i])) {
            return false;
        }
    }
    client_at(self, NULL);
    return true;
}

/* -- columns ----------------------------------------------------------------------------------- */

typedef struct {
    uint32_t count;
    bool one_signal;
    uint8_t signal; /* of all */
    const uint8_t *signals;
    const uint8_t *items;
    const uint8_t *users; /* NULL: not sent; so the others */
    const uint8_t *weights;
    const uint8_t *times;
} columns_t;

/* A column of 64-bit values, if it was sent. */
static bool s_take_column(client_decoder_t *self,
                          const client_map_t *map,
                          client_key_t key,
                          uint32_t count,
                          const uint8_t **ret_column)
{
    if (!client_has(map, key)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, key, &reader);
    if (value.kind != PACK_BIN || value.as.bytes.size != (size_t)count * 8) {
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "bin of %u bytes, 8 for each of n", count * 8);
        return client_refuse_value(self, client_key_name(key), expected, &value);
    }
    *ret_column = value.as.bytes.data;
    return true;
}

static bool s_take_signal_column(client_decoder_t *self,
                                 const client_map_t *map,
                                 columns_t *columns)
{
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, CLIENT_KEY_SIGNAL, &reader);
    if (value.kind == PACK_STR) {
        columns->one_signal = true;
        return client_resolve_signal(self, value.as.bytes, &columns->signal);
    }
    if (value.kind != PACK_BIN || value.as.bytes.size != columns->count) {
        char expected[80];
        (void)snprintf(expected, sizeof(expected),
                       "str (one name for all) or bin of %u bytes, an id for each of n",
                       columns->count);
        return client_refuse_value(self, "signal", expected, &value);
    }
    columns->signals = value.as.bytes.data;
    for (uint32_t i = 0; i < columns->count; i++) {
        uint8_t id = columns->signals[i];
        if (id > SIGNAL_TYPE_COUNT_MAX || self->signal_places[id] == 0) {
            client_at_index(self, "columns", i);
            return client_refuse_signal_id(self, id);
        }
    }
    return true;
}

static bool s_take_columns(client_decoder_t *self, const client_map_t *map, columns_t *columns)
{
    uint64_t count = 0;
    if (!client_need(self, map, CLIENT_KEY_N) || !client_need(self, map, CLIENT_KEY_SIGNAL) ||
        !client_need(self, map, CLIENT_KEY_ITEM) ||
        !client_take_u64(self, map, CLIENT_KEY_N, 1, UINT64_MAX, &count)) {
        return false;
    }
    if (count > REQUEST_ROW_COUNT_MAX) {
        return client_refuse(self, CODE_TOO_LARGE, "n",
                             "expected at most %d, found %llu: split the request",
                             REQUEST_ROW_COUNT_MAX, (unsigned long long)count);
    }
    columns->count = (uint32_t)count;
    return s_take_column(self, map, CLIENT_KEY_ITEM, columns->count, &columns->items) &&
           s_take_column(self, map, CLIENT_KEY_USER, columns->count, &columns->users) &&
           s_take_column(self, map, CLIENT_KEY_WEIGHT, columns->count, &columns->weights) &&
           s_take_column(self, map, CLIENT_KEY_TS, columns->count, &columns->times) &&
           s_take_signal_column(self, map, columns);
}

/* Names the row and the column of a value out of range. ret false always */
static bool s_refuse_column(client_decoder_t *self,
                            const columns_t *columns,
                            uint32_t i,
                            const client_event_t *event)
{
    client_at_index(self, "columns", i);
    pack_value_t value = {.kind = PACK_UINT, .as.uint = 0};
    if (event->item.value == 0) {
        return client_refuse_value(self, "item", s_expected_item, &value);
    }
    if (!s_weight_is_good(event->weight)) {
        value = (pack_value_t){.kind = PACK_FLOAT, .as.f64 = event->weight};
        return client_refuse_value(self, "weight", s_expected_weight, &value);
    }
    value = (pack_value_t){.kind = PACK_INT,
                           .as.sint = (int64_t)bytes_get_u64(columns->times + (size_t)i * 8)};
    return client_refuse_value(self, "ts", s_expected_ts, &value);
}

static bool s_decode_columns(client_decoder_t *self)
{
    client_map_t map;
    columns_t columns = {0};
    client_at(self, "columns");
    if (!client_open_map(self, &self->map, CLIENT_KEY_COLUMNS, &map) ||
        !s_take_columns(self, &map, &columns)) {
        return false;
    }
    CHECK(columns.items != NULL);
    client_event_t *events = s_events(self, columns.count);
    uint8_t present = (uint8_t)((columns.weights != NULL ? CLIENT_EVENT_WEIGHT : 0) |
                                (columns.times != NULL ? CLIENT_EVENT_TS : 0));
    for (uint32_t i = 0; i < columns.count; i++) {
        size_t at = (size_t)i * 8;
        client_event_t event = {
            .item = {bytes_get_u64(columns.items + at)},
            .user = {columns.users == NULL ? 0 : bytes_get_u64(columns.users + at)},
            .ts_ns = columns.times == NULL ? 0 : (int64_t)bytes_get_u64(columns.times + at),
            .weight = columns.weights == NULL ? 1.0 : bytes_get_f64(columns.weights + at) + 0.0,
            .signal = columns.one_signal ? columns.signal : columns.signals[i],
            .present = present,
        };
        event.present |= event.user.value != 0 ? CLIENT_EVENT_USER : 0;
        if (event.item.value == 0 || event.ts_ns < 0 || !s_weight_is_good(event.weight)) {
            return s_refuse_column(self, &columns, i, &event);
        }
        events[i] = event;
    }
    client_at(self, NULL);
    return true;
}

static bool s_decode_signals(client_decoder_t *self)
{
    bool has_rows = client_has(&self->map, CLIENT_KEY_ROWS);
    if (has_rows == client_has(&self->map, CLIENT_KEY_COLUMNS)) {
        return client_refuse(self, CODE_BAD_REQUEST, "",
                             "signals: expected either rows or columns, found %s",
                             has_rows ? "both" : "neither");
    }
    return has_rows ? s_decode_rows(self) : s_decode_columns(self);
}

/* -- items ------------------------------------------------------------------------------------- */

static bool s_take_tags(client_decoder_t *self, const client_map_t *map, client_item_t *item)
{
    if (!client_has(map, CLIENT_KEY_TAGS)) {
        return true;
    }
    pack_reader_t reader;
    if (!client_open_array(self, map, CLIENT_KEY_TAGS, TAG_COUNT_MAX, &item->tag_count, &reader)) {
        return false;
    }
    for (uint32_t i = 0; i < item->tag_count; i++) {
        slice_t tag;
        if (!client_next_text(self, &reader, "tags", 0, TEXT_SIZE_MAX, &tag)) {
            return false;
        }
        buffer_append(&self->tags, &tag, sizeof(tag));
    }
    return true;
}

/* The fields of one item. Its tags are appended to self->tags, and item->tags is not set yet,
 * because that buffer still grows. */
static bool s_take_item(client_decoder_t *self, const client_map_t *map, client_item_t *item)
{
    static const struct {
        client_key_t key;
        uint32_t bit;
    } s_bits[] = {
        {CLIENT_KEY_TITLE, CLIENT_ITEM_TITLE},       {CLIENT_KEY_TEXT, CLIENT_ITEM_TEXT},
        {CLIENT_KEY_CATEGORY, CLIENT_ITEM_CATEGORY}, {CLIENT_KEY_CREATOR, CLIENT_ITEM_CREATOR},
        {CLIENT_KEY_TAGS, CLIENT_ITEM_TAGS},         {CLIENT_KEY_CREATED, CLIENT_ITEM_CREATED},
    };
    *item = (client_item_t){.present = 0};
    for (size_t i = 0; i < sizeof(s_bits) / sizeof(s_bits[0]); i++) {
        item->present |= client_has(map, s_bits[i].key) ? s_bits[i].bit : 0;
    }
    return client_need(self, map, CLIENT_KEY_ITEM) &&
           client_take_u64(self, map, CLIENT_KEY_ITEM, 1, UINT64_MAX, &item->item.value) &&
           client_take_text(self, map, CLIENT_KEY_TITLE, 0, TEXT_SIZE_MAX, &item->title) &&
           client_take_text(self, map, CLIENT_KEY_TEXT, 0, TEXT_SIZE_MAX, &item->text) &&
           client_take_text(self, map, CLIENT_KEY_CATEGORY, 0, TEXT_SIZE_MAX, &item->category) &&
           client_take_u64(self, map, CLIENT_KEY_CREATOR, 0, UINT64_MAX, &item->creator.value) &&
           client_take_time(self, map, CLIENT_KEY_CREATED, &item->created_ns) &&
           s_take_tags(self, map, item);
}

/* Lays what was sent later over what was sent before of the same item. */
static void s_lay_over(client_item_t *item, const client_item_t *later)
{
    client_item_t laid = *later;
    laid.present |= item->present;
    laid.title = later->present & CLIENT_ITEM_TITLE ? later->title : item->title;
    laid.text = later->present & CLIENT_ITEM_TEXT ? later->text : item->text;
    laid.category = later->present & CLIENT_ITEM_CATEGORY ? later->category : item->category;
    laid.creator = later->present & CLIENT_ITEM_CREATOR ? later->creator : item->creator;
    laid.created_ns = later->present & CLIENT_ITEM_CREATED ? later->created_ns : item->created_ns;
    if ((later->present & CLIENT_ITEM_TAGS) == 0) {
        laid.tags = item->tags;
        laid.tag_count = item->tag_count;
    }
    *item = laid;
}

/* Sets the tags of each item, and leaves each item once, at its first place. */
static void s_finish_items(client_decoder_t *self, uint32_t count)
{
    void *memory = self->items.data;
    void *tags_memory = self->tags.data;
    void *firsts_memory = self->tag_firsts.data;
    client_item_t *items = memory;
    const slice_t *tags = tags_memory;
    const uint32_t *tag_firsts = firsts_memory;
    uint32_t slot_count = client_places_clear(self, count);
    void *places_memory = self->places.data;
    uint32_t *places = places_memory;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        client_item_t item = items[i];
        item.tags = item.tag_count == 0 ? NULL : tags + tag_firsts[i];
        uint32_t slot = client_places_first(self, item.item.value, slot_count);
        while (places[slot] != 0 && items[places[slot] - 1].item.value != item.item.value) {
            slot = (slot + 1) & (slot_count - 1);
        }
        if (places[slot] != 0) {
            s_lay_over(&items[places[slot] - 1], &item);
        } else {
            items[kept++] = item;
            places[slot] = kept;
        }
    }
    self->request.as.items.items = items;
    self->request.as.items.item_count = kept;
}

static bool s_append_item(client_decoder_t *self, const client_map_t *map)
{
    client_item_t item;
    uint32_t tag_first = (uint32_t)(self->tags.size / sizeof(slice_t));
    if (!s_take_item(self, map, &item)) {
        return false;
    }
    buffer_append(&self->items, &item, sizeof(item));
    buffer_append(&self->tag_firsts, &tag_first, sizeof(tag_first));
    return true;
}

static void s_clear_items(client_decoder_t *self)
{
    buffer_clear(&self->items);
    buffer_clear(&self->tags);
    buffer_clear(&self->tag_firsts);
}

static bool s_decode_put_item(client_decoder_t *self)
{
    s_clear_items(self);
    if (!s_append_item(self, &self->map)) {
        return false;
    }
    s_finish_items(self, 1);
    return true;
}

static bool s_decode_put_items(client_decoder_t *self)
{
    uint32_t count = 0;
    pack_reader_t reader;
    s_clear_items(self);
    if (!client_need(self, &self->map, CLIENT_KEY_ITEMS) ||
        !client_open_array(self, &self->map, CLIENT_KEY_ITEMS, REQUEST_ITEM_COUNT_MAX, &count,
                           &reader)) {
        return false;
    }
    if (count == 0) {
        return client_refuse(self, CODE_BAD_REQUEST, "items", "expected at least one, found none");
    }
    for (uint32_t i = 0; i < count; i++) {
        client_map_t map;
        pack_value_t value;
        client_at_index(self, "items", i);
        (void)pack_next(&reader, &value); /* kind says whether it could */
        if (value.kind != PACK_MAP) {
            return client_refuse_value(self, "", "map", &value);
        }
        if (!client_map_read(self, &reader, value.as.count, &map) || !s_append_item(self, &map)) {
            return false;
        }
    }
    client_at(self, NULL);
    s_finish_items(self, count);
    return true;
}

/* -- users and relations ----------------------------------------------------------------------- */

static int s_compare_attributes(const void *a_bytes, const void *b_bytes)
{
    slice_t a = ((const msg_attribute_t *)a_bytes)->name;
    slice_t b = ((const msg_attribute_t *)b_bytes)->name;
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static bool s_take_attributes(client_decoder_t *self)
{
    pack_reader_t reader;
    pack_value_t value = client_value(self, &self->map, CLIENT_KEY_ATTRS, &reader);
    if (value.kind != PACK_MAP) {
        return client_refuse_value(self, "attrs", "map of str to str", &value);
    }
    if (value.as.count > USER_ATTRIBUTE_COUNT_MAX) {
        return client_refuse(self, CODE_TOO_LARGE, "attrs", "expected at most %d, found %u",
                             USER_ATTRIBUTE_COUNT_MAX, value.as.count);
    }
    uint32_t count = value.as.count;
    msg_attribute_t *attributes = self->request.as.put_user.attributes;
    client_at(self, "attrs");
    for (uint32_t i = 0; i < count; i++) {
        if (!client_next_text(self, &reader, "name", 1, NAME_LENGTH_MAX, &attributes[i].name) ||
            !client_next_text(self, &reader, "value", 0, TEXT_SIZE_MAX, &attributes[i].value)) {
            return false;
        }
    }
    client_at(self, NULL);
    qsort(attributes, count, sizeof(attributes[0]), s_compare_attributes);
    self->request.as.put_user.attribute_count = count;
    return true;
}

static bool s_decode_put_user(client_decoder_t *self)
{
    const client_map_t *map = &self->map;
    return client_need(self, map, CLIENT_KEY_USER) && client_need(self, map, CLIENT_KEY_ATTRS) &&
           client_take_u64(self, map, CLIENT_KEY_USER, 1, UINT64_MAX,
                           &self->request.as.put_user.user.value) &&
           s_take_attributes(self);
}

static bool s_take_hlc(client_decoder_t *self)
{
    if (!client_has(&self->map, CLIENT_KEY_HLC)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, &self->map, CLIENT_KEY_HLC, &reader);
    pack_value_t part;
    int64_t wall_ns = 0;
    uint64_t logical = 0;
    uint64_t node = 0;
    bool ok = value.kind == PACK_ARRAY && value.as.count == 3 && pack_next(&reader, &part) &&
              pack_as_i64(&part, &wall_ns) && wall_ns > 0 && pack_next(&reader, &part) &&
              pack_as_u64(&part, &logical) && logical <= UINT32_MAX && pack_next(&reader, &part) &&
              pack_as_u64(&part, &node) && node <= UINT32_MAX;
    if (!ok) {
        return client_refuse_value(
            self, "hlc", "[wall_ns of 1.., logical of 0..4294967295, node of 0..4294967295]",
            &value);
    }
    self->request.as.relation.has_hlc = true;
    self->request.as.relation.hlc = (hlc_stamp_t){wall_ns, (uint32_t)logical, (uint32_t)node};
    return true;
}

static bool s_decode_relation(client_decoder_t *self, client_key_t target)
{
    const client_map_t *map = &self->map;
    return client_need(self, map, CLIENT_KEY_USER) && client_need(self, map, target) &&
           client_take_u64(self, map, CLIENT_KEY_USER, 1, UINT64_MAX,
                           &self->request.as.relation.user.value) &&
           client_take_u64(self, map, target, 1, UINT64_MAX, &self->request.as.relation.target) &&
           s_take_hlc(self);
}

static bool s_decode_delete_item(client_decoder_t *self)
{
    return client_need(self, &self->map, CLIENT_KEY_ITEM) &&
           client_take_u64(self, &self->map, CLIENT_KEY_ITEM, 1, UINT64_MAX,
                           &self->request.as.item.value);
}

bool client_decode_write(client_decoder_t *self)
{
    client_op_t op = self->request.op;
    if (op == CLIENT_OP_SIGNALS) {
        return s_decode_signals(self);
    }
    if (op == CLIENT_OP_SIGNAL) {
        return s_decode_signal(self);
    }
    if (op == CLIENT_OP_PUT_ITEM) {
        return s_decode_put_item(self);
    }
    if (op == CLIENT_OP_PUT_ITEMS) {
        return s_decode_put_items(self);
    }
    if (op == CLIENT_OP_DELETE_ITEM) {
        return s_decode_delete_item(self);
    }
    if (op == CLIENT_OP_PUT_USER) {
        return s_decode_put_user(self);
    }
    if (op == CLIENT_OP_SESSION_START || op == CLIENT_OP_SESSION_SIGNAL ||
        op == CLIENT_OP_SESSION_CLOSE) {
        return client_decode_session_write(self);
    }
    bool hides = op == CLIENT_OP_HIDE || op == CLIENT_OP_UNHIDE;
    return s_decode_relation(self, hides ? CLIENT_KEY_ITEM : CLIENT_KEY_CREATOR);
}
