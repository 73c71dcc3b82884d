/* Typed access to the values of a request's maps, and the texts of refusals. */
#include "common/wire/client_fields.h"

#include "common/base/check.h"

#include <stdio.h>

static const char *const s_key_names[CLIENT_KEY_END] = {
#define KEY_NAME(name, text) [CLIENT_KEY_##name] = (text),
    CLIENT_KEY_LIST(KEY_NAME)
#undef KEY_NAME
};

const char *client_key_name(client_key_t key)
{
    return s_key_names[key];
}

/* -- maps -------------------------------------------------------------------------------------- */

static uint32_t s_hash(slice_t text)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < text.size; i++) {
        hash = (hash ^ text.data[i]) * 16777619U;
    }
    return hash ^ hash >> 15;
}

void client_keys_init(client_decoder_t *self)
{
    for (uint32_t key = 0; key < CLIENT_KEY_END; key++) {
        uint32_t slot = s_hash(slice_text(s_key_names[key])) % CLIENT_KEY_SLOT_COUNT;
        while (self->key_slots[slot] != 0) {
            slot = (slot + 1) % CLIENT_KEY_SLOT_COUNT;
        }
        self->key_slots[slot] = (uint8_t)(key + 1);
    }
}

void client_signals_init(client_decoder_t *self,
                         const client_signal_type_t *types,
                         uint32_t type_count)
{
    CHECK(type_count <= SIGNAL_TYPE_COUNT_MAX);
    for (uint32_t i = 0; i < type_count; i++) {
        slice_t name = slice_text(types[i].name);
        CHECK(name.size >= 1 && name.size <= NAME_LENGTH_MAX);
        CHECK(types[i].id >= 1 && types[i].id <= SIGNAL_TYPE_COUNT_MAX);
        CHECK(self->signal_places[types[i].id] == 0);
        client_signal_slot_t *signal = &self->signals[i];
        signal->id = types[i].id;
        signal->size = (uint8_t)name.size;
        memcpy(signal->name, name.data, name.size);
        self->signal_places[signal->id] = (uint8_t)(i + 1);
        uint32_t slot = s_hash(name) % CLIENT_SIGNAL_SLOT_COUNT;
        while (self->signal_slots[slot] != 0) {
            slot = (slot + 1) % CLIENT_SIGNAL_SLOT_COUNT;
        }
        self->signal_slots[slot] = (uint8_t)(i + 1);
    }
    self->signal_count = type_count;
}

/* CLIENT_KEY_END for a key that the protocol does not know. */
static client_key_t s_find_key(const client_decoder_t *self, slice_t text)
{
    uint32_t slot = s_hash(text) % CLIENT_KEY_SLOT_COUNT;
    while (self->key_slots[slot] != 0) {
        client_key_t key = (client_key_t)(self->key_slots[slot] - 1);
        if (slice_equal(slice_text(s_key_names[key]), text)) {
            return key;
        }
        slot = (slot + 1) % CLIENT_KEY_SLOT_COUNT;
    }
    return CLIENT_KEY_END;
}

/* Notes where the value of a key begins. */
static void s_note_key(const client_decoder_t *self,
                       slice_t name,
                       const uint8_t *at,
                       client_map_t *map)
{
    enum { BYTE_NIL = 0xc0 };
    client_key_t key = s_find_key(self, name);
    /* A nil id is an id: it is echoed. */
    if (key != CLIENT_KEY_END && (*at != BYTE_NIL || key == CLIENT_KEY_ID)) {
        map->at[key] = at;
    }
}

void client_map_of_keys(client_decoder_t *self, client_map_t *ret_map)
{
    memset(ret_map, 0, sizeof(*ret_map));
    for (uint32_t i = 0; i < self->keys.count; i++) {
        slice_t name = self->keys.names[i];
        s_note_key(self, name, name.data + name.size, ret_map);
    }
}

bool client_map_read(client_decoder_t *self,
                     pack_reader_t *reader,
                     uint32_t pair_count,
                     client_map_t *ret_map)
{
    memset(ret_map, 0, sizeof(*ret_map));
    for (uint32_t i = 0; i < pair_count; i++) {
        pack_value_t name;
        if (!pack_next(reader, &name) || name.kind != PACK_STR) {
            return client_refuse_value(self, "", "a str as key", &name);
        }
        const uint8_t *at = reader->at;
        if (!pack_skip(reader)) {
            return client_refuse(self, CODE_BAD_REQUEST, "", "the map ends too early");
        }
        s_note_key(self, name.as.bytes, at, ret_map);
    }
    return true;
}

pack_value_t client_value(const client_decoder_t *self,
                          const client_map_t *map,
                          client_key_t key,
                          pack_reader_t *ret_reader)
{
    CHECK(client_has(map, key));
    *ret_reader = (pack_reader_t){map->at[key], self->end};
    pack_value_t value;
    (void)pack_next(ret_reader, &value); /* kind says whether it could */
    return value;
}

bool client_need(client_decoder_t *self, const client_map_t *map, client_key_t key)
{
    if (client_has(map, key)) {
        return true;
    }
    return client_refuse(self, CODE_BAD_REQUEST, s_key_names[key],
                         "expected by this op, found none: add it");
}

/* -- typed values ------------------------------------------------------------------------------ */

bool client_take_u64(client_decoder_t *self,
                     const client_map_t *map,
                     client_key_t key,
                     uint64_t min,
                     uint64_t max,
                     uint64_t *ret_number)
{
    if (!client_has(map, key)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, key, &reader);
    uint64_t number;
    if (!pack_as_u64(&value, &number) || number < min || number > max) {
        char expected[80];
        (void)snprintf(expected, sizeof(expected), "an integer of %llu..%llu",
                       (unsigned long long)min, (unsigned long long)max);
        return client_refuse_value(self, s_key_names[key], expected, &value);
    }
    *ret_number = number;
    return true;
}

bool client_take_u32(client_decoder_t *self,
                     const client_map_t *map,
                     client_key_t key,
                     uint32_t min,
                     uint32_t max,
                     uint32_t *ret_number)
{
    uint64_t number = *ret_number;
    if (!client_take_u64(self, map, key, min, max, &number)) {
        return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}

bool client_take_time(client_decoder_t *self,
                      const client_map_t *map,
                      client_key_t key,
                      int64_t *ret_ns)
{
    if (!client_has(map, key)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, key, &reader);
    int64_t number;
    if (!pack_as_i64(&value, &number) || number < 0) {
        return client_refuse_value(self, s_key_names[key],
                                   "nanoseconds since 1970, an integer of 0..9223372036854775807",
                                   &value);
    }
    *ret_ns = number;
    return true;
}

bool client_take_f64(client_decoder_t *self,
                     const client_map_t *map,
                     client_key_t key,
                     double min,
                     double max,
                     double *ret_number)
{
    if (!client_has(map, key)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, key, &reader);
    double number;
    if (!pack_as_f64(&value, &number) || number < min || number > max) {
        char expected[80];
        (void)snprintf(expected, sizeof(expected), "a number of %.10g..%.10g", min, max);
        return client_refuse_value(self, s_key_names[key], expected, &value);
    }
    *ret_number = number == 0.0 ? 0.0 : number; /* no -0.0 */
    return true;
}

bool client_take_bool(client_decoder_t *self,
                      const client_map_t *map,
                      client_key_t key,
                      bool *ret_value)
{
    if (!client_has(map, key)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, key, &reader);
    if (value.kind != PACK_BOOL) {
        return client_refuse_value(self, s_key_names[key], "true or false", &value);
    }
    *ret_value = value.as.boolean;
    return true;
}

/* Whether a str has an allowed size. */
static bool s_check_text(client_decoder_t *self,
                         const char *key,
                         size_t size_min,
                         size_t size_max,
                         const pack_value_t *value)
{
    if (value->kind != PACK_STR) {
        return client_refuse_value(self, key, "str", value);
    }
    if (value->as.bytes.size < size_min || value->as.bytes.size > size_max) {
        return client_refuse(self, CODE_BAD_REQUEST, key,
                             "expected str of %zu..%zu bytes, found one of %zu", size_min, size_max,
                             value->as.bytes.size);
    }
    return true;
}

bool client_take_text(client_decoder_t *self,
                      const client_map_t *map,
                      client_key_t key,
                      size_t size_min,
                      size_t size_max,
                      slice_t *ret_text)
{
    if (!client_has(map, key)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, key, &reader);
    if (!s_check_text(self, s_key_names[key], size_min, size_max, &value)) {
        return false;
    }
    *ret_text = value.as.bytes;
    return true;
}

bool client_take_choice(client_decoder_t *self,
                        const client_map_t *map,
                        client_key_t key,
                        const char *const *names,
                        uint8_t *ret_index)
{
    if (!client_has(map, key)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, key, &reader);
    for (uint8_t i = 0; value.kind == PACK_STR && names[i] != NULL; i++) {
        if (slice_equal(slice_text(names[i]), value.as.bytes)) {
            *ret_index = i;
            return true;
        }
    }
    char expected[80] = "one of";
    for (size_t i = 0; names[i] != NULL; i++) {
        size_t used = strnlen(expected, sizeof(expected));
        (void)snprintf(expected + used, sizeof(expected) - used, " `%s`", names[i]);
    }
    return client_refuse_value(self, s_key_names[key], expected, &value);
}

bool client_take_signal(client_decoder_t *self,
                        const client_map_t *map,
                        client_key_t key,
                        uint8_t *ret_id)
{
    slice_t name = {NULL, 0};
    if (!client_has(map, key)) {
        return true;
    }
    return client_take_text(self, map, key, 0, TEXT_SIZE_MAX, &name) &&
           client_resolve_signal(self, name, ret_id);
}

bool client_open_array(client_decoder_t *self,
                       const client_map_t *map,
                       client_key_t key,
                       uint32_t count_max,
                       uint32_t *ret_count,
                       pack_reader_t *ret_reader)
{
    pack_value_t value = client_value(self, map, key, ret_reader);
    if (value.kind != PACK_ARRAY) {
        return client_refuse_value(self, s_key_names[key], "array", &value);
    }
    if (value.as.count > count_max) {
        return client_refuse(self, CODE_TOO_LARGE, s_key_names[key],
                             "expected at most %u values, found %u: split the request", count_max,
                             value.as.count);
    }
    *ret_count = value.as.count;
    return true;
}

bool client_open_map(client_decoder_t *self,
                     const client_map_t *map,
                     client_key_t key,
                     client_map_t *ret_map)
{
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, key, &reader);
    if (value.kind != PACK_MAP) {
        return client_refuse_value(self, s_key_names[key], "map", &value);
    }
    return client_map_read(self, &reader, value.as.count, ret_map);
}

bool client_next_id(client_decoder_t *self, pack_reader_t *reader, uint64_t *ret_id)
{
    pack_value_t value;
    (void)pack_next(reader, &value); /* kind says whether it could */
    uint64_t id;
    if (!pack_as_u64(&value, &id) || id == 0) {
        return client_refuse_value(self, "", "an id of 1..18446744073709551615", &value);
    }
    *ret_id = id;
    return true;
}

bool client_next_text(client_decoder_t *self,
                      pack_reader_t *reader,
                      const char *key,
                      size_t size_min,
                      size_t size_max,
                      slice_t *ret_text)
{
    pack_value_t value;
    (void)pack_next(reader, &value); /* kind says whether it could */
    if (!s_check_text(self, key, size_min, size_max, &value)) {
        return false;
    }
    *ret_text = value.as.bytes;
    return true;
}

bool client_next_signal(client_decoder_t *self, pack_reader_t *reader, uint8_t *ret_id)
{
    slice_t name;
    return client_next_text(self, reader, "", 0, TEXT_SIZE_MAX, &name) &&
           client_resolve_signal(self, name, ret_id);
}

/* -- signals ----------------------------------------------------------------------------------- */

/* "view (1), like (2)", cut when it is long. */
static void s_list_signals(const client_decoder_t *self, char *ret_text, size_t size)
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (uint32_t i = 0; i < self->signal_count && used < size; i++) {
        int length = snprintf(ret_text + used, size - used, "%s%s (%u)", i == 0 ? "" : ", ",
                              self->signals[i].name, self->signals[i].id);
        used += length > 0 ? (size_t)length : 0;
    }
}

bool client_resolve_signal(client_decoder_t *self, slice_t name, uint8_t *ret_id)
{
    uint32_t slot = s_hash(name) % CLIENT_SIGNAL_SLOT_COUNT;
    while (self->signal_slots[slot] != 0) {
        const client_signal_slot_t *signal = &self->signals[self->signal_slots[slot] - 1];
        if (slice_equal(slice_make(signal->name, signal->size), name)) {
            *ret_id = signal->id;
            return true;
        }
        slot = (slot + 1) % CLIENT_SIGNAL_SLOT_COUNT;
    }
    char known[256];
    s_list_signals(self, known, sizeof(known));
    pack_value_t value = {.kind = PACK_STR, .as.bytes = name};
    char found[PACK_DESCRIPTION_SIZE];
    pack_describe(&value, found);
    return client_refuse(self, CODE_UNKNOWN_SIGNAL, "signal", "%s is not known; known are %s",
                         found, known);
}

bool client_refuse_signal_id(client_decoder_t *self, uint8_t id)
{
    char known[256];
    s_list_signals(self, known, sizeof(known));
    return client_refuse(self, CODE_UNKNOWN_SIGNAL, "signal", "id %u is not known; known are %s",
                         id, known);
}

/* -- a hash table of places -------------------------------------------------------------------- */

uint32_t client_places_clear(client_decoder_t *self, uint32_t count)
{
    uint32_t slot_count = 64;
    while (slot_count < 2 * count) {
        slot_count *= 2;
    }
    buffer_clear(&self->places);
    memset(buffer_extend(&self->places, slot_count * sizeof(uint32_t)), 0,
           slot_count * sizeof(uint32_t));
    return slot_count;
}

uint32_t client_places_first(const client_decoder_t *self, uint64_t id, uint32_t slot_count)
{
    /* The address of the decoder is the seed; what is found does not depend on it. */
    uint64_t mixed = (id ^ (uint64_t)(uintptr_t)self) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(mixed >> 32) & (slot_count - 1);
}
