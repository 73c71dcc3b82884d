/* Decoder of internal messages: walks the tables of msg_fields.h along the bytes.
 *
 * Lists go into an arena of the codec, which is emptied, not freed, by the next decode. No list is
 * allocated before its count is at most its bound and at most what the bytes left can hold (an
 * element takes at least one byte per field), and the arena has a limit of its own, so that no
 * message makes a process grow by more than ARENA_SIZE_MAX. */
#include "common/base/check.h"
#include "common/wire/msg_fields.h"
#include "common/wire/pack.h"

#include <stdio.h>
#include <stdlib.h>

/* -- arena ------------------------------------------------------------------------------------- */

enum {
    ARENA_SIZE_MAX = 64 * 1024 * 1024, /* four times the largest message */
    ARENA_KEPT_SIZE_MAX = 1024 * 1024, /* across messages */
    ARENA_CHUNK_SIZE = 64 * 1024,
    ARENA_ALIGNMENT = 16
};

typedef struct arena_chunk arena_chunk_t;
struct arena_chunk {
    arena_chunk_t *next;
    size_t size; /* of data */
    size_t used;
    _Alignas(ARENA_ALIGNMENT) uint8_t data[];
};

struct msg_codec {
    arena_chunk_t *chunks; /* the newest first */
    size_t total;          /* bytes of all chunks */
};

static void s_arena_add(msg_codec_t *self, size_t size)
{
    size_t chunk_size = size < ARENA_CHUNK_SIZE ? ARENA_CHUNK_SIZE : size;
    arena_chunk_t *chunk = malloc(sizeof(*chunk) + chunk_size);
    CHECK(chunk != NULL);
    chunk->next = self->chunks;
    chunk->size = chunk_size;
    chunk->used = 0;
    self->chunks = chunk;
    self->total += chunk_size;
}

static void s_arena_free(msg_codec_t *self)
{
    while (self->chunks != NULL) {
        arena_chunk_t *next = self->chunks->next;
        free(self->chunks);
        self->chunks = next;
    }
    self->total = 0;
}

/* Keeps one chunk that would have held what the last message took. */
static void s_arena_clear(msg_codec_t *self)
{
    if (self->chunks == NULL) {
        return;
    }
    if (self->chunks->next == NULL && self->total <= ARENA_KEPT_SIZE_MAX) {
        self->chunks->used = 0;
        return;
    }
    size_t kept = self->total < ARENA_KEPT_SIZE_MAX ? self->total : ARENA_KEPT_SIZE_MAX;
    s_arena_free(self);
    s_arena_add(self, kept);
}

/* Zeroed; NULL when the limit is reached. */
static uint8_t *s_arena_take(msg_codec_t *self, size_t size)
{
    size_t rounded = (size + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    bool fits = self->chunks != NULL && self->chunks->size - self->chunks->used >= rounded;
    if (!fits) {
        if (rounded > ARENA_SIZE_MAX || self->total > ARENA_SIZE_MAX - rounded) {
            return NULL;
        }
        s_arena_add(self, rounded);
    }
    uint8_t *at = self->chunks->data + self->chunks->used;
    self->chunks->used += rounded;
    memset(at, 0, rounded);
    return at;
}

msg_codec_t *msg_codec_new(void)
{
    msg_codec_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    return self;
}

void msg_codec_destroy(msg_codec_t **self_p)
{
    if (self_p == NULL || *self_p == NULL) {
        return;
    }
    s_arena_free(*self_p);
    free(*self_p);
    *self_p = NULL;
}

/* -- decoding ---------------------------------------------------------------------------------- */

/* One struct, or one run of elements, that is being read. */
typedef struct {
    const msg_layout_t *layout;
    uint8_t *base;        /* of the element */
    const uint8_t *outer; /* of the struct that holds the list */
    const char *name;     /* of the field that led here; NULL for the message and its union */
    uint32_t field;       /* next one of the element */
    uint32_t index;       /* of the element */
    uint32_t count;
    bool is_list;
} decode_frame_t;

typedef struct {
    msg_codec_t *codec;
    pack_reader_t reader;
    errbuf_t *errbuf;
    const char *type_name;
    uint32_t depth;
    decode_frame_t frames[MSG_LAYOUT_DEPTH_MAX];
} decode_t;

/* Appends to the text of a path; what does not fit is left out. */
static void s_append(errbuf_t *path, const char *text)
{
    size_t used = strnlen(path->text, sizeof(path->text));
    (void)snprintf(path->text + used, sizeof(path->text) - used, "%s", text);
}

/* "CONFIRMED: entries[3].stream.tenant: expected <expected>, found <found>". */
static err_t s_refuse(const decode_t *self,
                      const char *field,
                      const char *expected,
                      const char *found)
{
    errbuf_t path = {{0}};
    for (uint32_t i = 1; i < self->depth; i++) {
        const decode_frame_t *frame = &self->frames[i];
        if (frame->name == NULL) {
            continue;
        }
        char index[16] = "";
        if (frame->is_list) {
            (void)snprintf(index, sizeof(index), "[%u]", frame->index);
        }
        s_append(&path, frame->name);
        s_append(&path, index);
        s_append(&path, i + 1 < self->depth || field != NULL ? "." : "");
    }
    s_append(&path, field == NULL ? "" : field);
    errbuf_set(self->errbuf, "message %s: %s: expected %s, found %s", self->type_name, path.text,
               expected, found);
    return ERR_CORRUPT;
}

/* The same for a value that was read; PACK_BAD stands for bytes that hold no value. */
static err_t s_refuse_value(const decode_t *self,
                            const char *field,
                            const char *expected,
                            const pack_value_t *value)
{
    char found[PACK_DESCRIPTION_SIZE];
    pack_describe(value, found);
    bool bad = value->kind == PACK_BAD;
    return s_refuse(self, field, expected, bad ? "the end of the message or no value" : found);
}

static err_t s_refuse_range(const decode_t *self,
                            const msg_field_t *field,
                            const char *what,
                            const pack_value_t *value)
{
    char expected[96];
    (void)snprintf(expected, sizeof(expected), "%s%llu..%llu", what, (unsigned long long)field->min,
                   (unsigned long long)field->max);
    return s_refuse_value(self, field->name, expected, value);
}

static void s_store_uint(uint8_t *at, uint16_t width, uint64_t number)
{
    uint8_t u8 = (uint8_t)number;
    uint16_t u16 = (uint16_t)number;
    uint32_t u32 = (uint32_t)number;
    switch (width) {
    case 1:
        memcpy(at, &u8, sizeof(u8));
        break;
    case 2:
        memcpy(at, &u16, sizeof(u16));
        break;
    case 4:
        memcpy(at, &u32, sizeof(u32));
        break;
    default:
        CHECK(width == 8);
        memcpy(at, &number, sizeof(number));
        break;
    }
}

static err_t s_decode_uint(decode_t *self, const msg_field_t *field, uint8_t *at)
{
    pack_value_t value;
    (void)pack_next(&self->reader, &value); /* kind says whether it could */
    if (value.kind != PACK_UINT || value.as.uint < field->min || value.as.uint > field->max) {
        return s_refuse_range(self, field, "", &value);
    }
    s_store_uint(at, field->width, value.as.uint);
    return ERR_OK;
}

static err_t s_decode_time(decode_t *self, const msg_field_t *field, uint8_t *at)
{
    pack_value_t value;
    (void)pack_next(&self->reader, &value); /* kind says whether it could */
    bool negative = value.kind == PACK_INT && field->min == 1;
    if (!negative && (value.kind != PACK_UINT || value.as.uint > INT64_MAX)) {
        return s_refuse_value(self, field->name, "a time in ns", &value);
    }
    int64_t time_ns = negative ? value.as.sint : (int64_t)value.as.uint;
    memcpy(at, &time_ns, sizeof(time_ns));
    return ERR_OK;
}

static err_t s_decode_f64(decode_t *self, const msg_field_t *field, uint8_t *at)
{
    pack_value_t value;
    (void)pack_next(&self->reader, &value); /* kind says whether it could */
    bool finite = value.kind == PACK_FLOAT && value.as.f64 - value.as.f64 == 0.0;
    if (value.kind != PACK_FLOAT || (!finite && field->min == 0)) {
        return s_refuse_value(self, field->name, "a finite float", &value);
    }
    memcpy(at, &value.as.f64, sizeof(value.as.f64));
    return ERR_OK;
}

static err_t s_decode_bool(decode_t *self, const msg_field_t *field, uint8_t *at)
{
    pack_value_t value;
    (void)pack_next(&self->reader, &value); /* kind says whether it could */
    if (value.kind != PACK_BOOL) {
        return s_refuse_value(self, field->name, "bool", &value);
    }
    memcpy(at, &value.as.boolean, sizeof(value.as.boolean));
    return ERR_OK;
}

static err_t s_decode_bytes(decode_t *self, const msg_field_t *field, uint8_t *at)
{
    pack_value_t value;
    (void)pack_next(&self->reader, &value); /* kind says whether it could */
    bool is_text = field->kind == MSG_FIELD_TEXT;
    if (value.kind != (is_text ? PACK_STR : PACK_BIN) || value.as.bytes.size < field->min ||
        value.as.bytes.size > field->max) {
        return s_refuse_range(self, field, is_text ? "str, bytes: " : "bin, bytes: ", &value);
    }
    if (!is_text && value.as.bytes.size % field->width != 0) {
        return s_refuse_value(self, field->name, "bin of 64-bit numbers", &value);
    }
    if (is_text && !bytes_are_utf8(value.as.bytes)) {
        return s_refuse(self, field->name, "UTF-8", "other bytes");
    }
    memcpy(at, &value.as.bytes, sizeof(value.as.bytes));
    return ERR_OK;
}

static err_t s_decode_hash(decode_t *self, const msg_field_t *field, uint8_t *at)
{
    pack_value_t value;
    (void)pack_next(&self->reader, &value); /* kind says whether it could */
    if (value.kind != PACK_BIN || value.as.bytes.size != field->max) {
        return s_refuse_value(self, field->name, "a bin hash of its size", &value);
    }
    memcpy(at, value.as.bytes.data, value.as.bytes.size);
    return ERR_OK;
}

/* The header of an element. */
static err_t s_decode_element(decode_t *self)
{
    const decode_frame_t *frame = &self->frames[self->depth - 1];
    if (frame->layout->is_bare) {
        return ERR_OK;
    }
    pack_value_t value;
    (void)pack_next(&self->reader, &value); /* kind says whether it could */
    if (value.kind != PACK_ARRAY || value.as.count != frame->layout->count) {
        char expected[32];
        (void)snprintf(expected, sizeof(expected), "array of %u", frame->layout->count);
        return s_refuse_value(self, NULL, expected, &value);
    }
    return ERR_OK;
}

static err_t s_decode_push(decode_t *self, decode_frame_t frame)
{
    if (frame.count == 0) {
        return ERR_OK;
    }
    CHECK(self->depth < MSG_LAYOUT_DEPTH_MAX);
    self->frames[self->depth++] = frame;
    return s_decode_element(self);
}

/* Reads the header of a list and finds the memory for its elements. */
static err_t s_decode_list(decode_t *self, const msg_field_t *field, decode_frame_t frame)
{
    pack_value_t value;
    (void)pack_next(&self->reader, &value); /* kind says whether it could */
    if (value.kind != PACK_ARRAY || value.as.count < field->min || value.as.count > field->max) {
        return s_refuse_range(self, field, "array of ", &value);
    }
    uint32_t count = value.as.count;
    size_t element_size_min = field->layout->count + (field->layout->is_bare ? 0 : 1);
    if (count > pack_reader_left(&self->reader) / element_size_min) {
        return s_refuse_value(self, field->name, "as many values as the bytes can hold", &value);
    }
    uint8_t *base = frame.base + field->offset;
    if (field->kind == MSG_FIELD_OUTER_ARRAY) {
        if (count != msg_count_at(frame.outer, field->count_offset)) {
            return s_refuse_value(self, field->name, "the count that stands before the list",
                                  &value);
        }
    } else {
        s_store_uint(frame.base + field->count_offset, sizeof(count), count);
    }
    if (field->kind == MSG_FIELD_LIST && count > 0) {
        uint8_t *memory = s_arena_take(self->codec, count * field->layout->size);
        if (memory == NULL) {
            return s_refuse_value(self, field->name, "less memory to be needed", &value);
        }
        memcpy(base, &memory, sizeof(memory));
        base = memory;
    }
    return s_decode_push(self, (decode_frame_t){.layout = field->layout,
                                                .base = base,
                                                .outer = frame.base,
                                                .name = field->name,
                                                .count = count,
                                                .is_list = true});
}

static err_t s_decode_in_place(decode_t *self, const msg_field_t *field, decode_frame_t frame)
{
    bool is_union = field->kind == MSG_FIELD_UNION;
    decode_frame_t inner = {
        .layout = is_union ? msg_union_layout(field, frame.base) : field->layout,
        .base = is_union ? frame.base : frame.base + field->offset,
        .outer = frame.base,
        .name = is_union ? NULL : field->name,
        .count = 1,
    };
    return s_decode_push(self, inner);
}

static err_t s_decode_field(decode_t *self, const msg_field_t *field, decode_frame_t frame)
{
    uint8_t *at = frame.base + field->offset;
    switch (field->kind) {
    case MSG_FIELD_UINT:
        return s_decode_uint(self, field, at);
    case MSG_FIELD_TIME:
        return s_decode_time(self, field, at);
    case MSG_FIELD_F64:
        return s_decode_f64(self, field, at);
    case MSG_FIELD_BOOL:
        return s_decode_bool(self, field, at);
    case MSG_FIELD_BIN:
    case MSG_FIELD_TEXT:
        return s_decode_bytes(self, field, at);
    case MSG_FIELD_HASH:
        return s_decode_hash(self, field, at);
    case MSG_FIELD_LIST:
    case MSG_FIELD_ARRAY:
    case MSG_FIELD_OUTER_ARRAY:
        return s_decode_list(self, field, frame);
    case MSG_FIELD_STRUCT:
    case MSG_FIELD_UNION:
        break;
    }
    return s_decode_in_place(self, field, frame);
}

/* Reads [type, ..: how many fields, and which message. */
static err_t s_decode_head(decode_t *self, const msg_layout_t **ret_layout, uint64_t *ret_type)
{
    pack_value_t head;
    pack_value_t type;
    if (!pack_next(&self->reader, &head) || head.kind != PACK_ARRAY) {
        return s_refuse_value(self, "head", "array", &head);
    }
    if (!pack_next(&self->reader, &type) || type.kind != PACK_UINT) {
        return s_refuse_value(self, "type", "integer", &type);
    }
    const msg_layout_t *layout = msg_layout_of(type.as.uint);
    if (layout == NULL) {
        return s_refuse_value(self, "type", "a message type of this version", &type);
    }
    self->type_name = msg_type_name(type.as.uint);
    if (head.as.count != 1 + layout->count) {
        char expected[32];
        (void)snprintf(expected, sizeof(expected), "array of %u", 1 + layout->count);
        return s_refuse_value(self, "head", expected, &head);
    }
    *ret_layout = layout;
    *ret_type = type.as.uint;
    return ERR_OK;
}

static err_t s_decode_fields(decode_t *self)
{
    while (self->depth > 0) {
        decode_frame_t *frame = &self->frames[self->depth - 1];
        err_t err = ERR_OK;
        if (frame->field < frame->layout->count) {
            const msg_field_t *field = &frame->layout->fields[frame->field++];
            err = s_decode_field(self, field, *frame);
        } else if (frame->index + 1 < frame->count) {
            frame->index++;
            frame->base += frame->layout->size;
            frame->field = 0;
            err = s_decode_element(self);
        } else {
            self->depth--;
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

err_t msg_decode(msg_codec_t *self, slice_t bytes, msg_t *ret_msg, errbuf_t *errbuf)
{
    s_arena_clear(self);
    decode_t decode = {.codec = self,
                       .reader = pack_reader(bytes),
                       .errbuf = errbuf,
                       .type_name = "of unknown type"};
    const msg_layout_t *layout = NULL;
    uint64_t type = 0;
    err_t err = s_decode_head(&decode, &layout, &type);
    if (err != ERR_OK) {
        return err;
    }
    CHECK(layout != NULL);
    msg_t msg;
    memset(&msg, 0, sizeof(msg));
    msg.type = (msg_type_t)type;
    uint8_t *base = (uint8_t *)&msg.as;
    decode.frames[0] = (decode_frame_t){.layout = layout, .base = base, .outer = base, .count = 1};
    decode.depth = 1;
    err = s_decode_fields(&decode);
    if (err != ERR_OK) {
        return err;
    }
    if (pack_reader_left(&decode.reader) > 0) {
        errbuf_set(errbuf, "message %s: expected its end, found %zu more bytes", decode.type_name,
                   pack_reader_left(&decode.reader));
        return ERR_CORRUPT;
    }
    const char *contradiction = msg_find_contradiction(&msg);
    if (contradiction != NULL) {
        errbuf_set(errbuf, "message %s: expected that %s", decode.type_name, contradiction);
        return ERR_CORRUPT;
    }
    *ret_msg = msg;
    return ERR_OK;
}
