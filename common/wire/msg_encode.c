/* Encoder of internal messages: walks the tables of msg_fields.h with a stack of its own, since
 * structs hold lists of structs that hold lists. */
#include "common/base/check.h"
#include "common/wire/msg_fields.h"
#include "common/wire/pack.h"

/* One struct, or one run of elements, that is being written. */
typedef struct {
    const msg_layout_t *layout;
    const uint8_t *base;  /* of the element */
    const uint8_t *outer; /* of the struct that holds the list */
    uint32_t field;       /* next one of the element */
    uint32_t left;        /* elements behind this one */
} encode_frame_t;

typedef struct {
    pack_writer_t writer;
    uint32_t depth;
    encode_frame_t frames[MSG_LAYOUT_DEPTH_MAX];
} encode_t;

static uint64_t s_load_uint(const uint8_t *at, uint16_t width)
{
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    switch (width) {
    case 1:
        memcpy(&u8, at, sizeof(u8));
        return u8;
    case 2:
        memcpy(&u16, at, sizeof(u16));
        return u16;
    case 4:
        memcpy(&u32, at, sizeof(u32));
        return u32;
    default:
        CHECK(width == 8);
        memcpy(&u64, at, sizeof(u64));
        return u64;
    }
}

static slice_t s_load_slice(const uint8_t *at, const msg_field_t *field)
{
    slice_t slice;
    memcpy(&slice, at, sizeof(slice));
    CHECK(slice.size >= field->min && slice.size <= field->max);
    CHECK(slice.size % field->width == 0);
    return slice;
}

static void s_encode_number(pack_writer_t *writer, const msg_field_t *field, const uint8_t *at)
{
    uint64_t number = s_load_uint(at, field->width);
    CHECK(number >= field->min && number <= field->max);
    pack_write_u64(writer, number);
}

static void s_encode_time(pack_writer_t *writer, const msg_field_t *field, const uint8_t *at)
{
    int64_t time_ns;
    memcpy(&time_ns, at, sizeof(time_ns));
    CHECK(field->min == 1 || time_ns >= 0);
    pack_write_i64(writer, time_ns);
}

static void s_encode_f64(pack_writer_t *writer, const msg_field_t *field, const uint8_t *at)
{
    double value;
    memcpy(&value, at, sizeof(value));
    CHECK(field->min == 1 || value - value == 0.0);
    pack_write_f64(writer, value);
}

static void s_encode_text(pack_writer_t *writer, const msg_field_t *field, const uint8_t *at)
{
    slice_t text;
    memcpy(&text, at, sizeof(text));
    if (field->width == 0) {
        pack_write_clean(writer, text, (size_t)field->max);
        return;
    }
    CHECK(text.size >= field->min && text.size <= field->max);
    CHECK(bytes_are_utf8(text));
    pack_write_str(writer, text);
}

/* The header of an element: an array of its fields, but for what stands alone. */
static void s_encode_element(encode_t *self, const msg_layout_t *layout)
{
    if (!layout->is_bare) {
        pack_write_array(&self->writer, layout->count);
    }
}

/* Goes into `count` elements, the first of them at `base`. */
static void s_encode_push(encode_t *self,
                          const msg_layout_t *layout,
                          const uint8_t *base,
                          const uint8_t *outer,
                          uint32_t count)
{
    if (count == 0) {
        return;
    }
    CHECK(self->depth < MSG_LAYOUT_DEPTH_MAX);
    self->frames[self->depth++] = (encode_frame_t){layout, base, outer, 0, count - 1};
    s_encode_element(self, layout);
}

static void s_encode_list(encode_t *self, const msg_field_t *field, const encode_frame_t *frame)
{
    const uint8_t *from = field->kind == MSG_FIELD_OUTER_ARRAY ? frame->outer : frame->base;
    uint32_t count = msg_count_at(from, field->count_offset);
    CHECK(count >= field->min && count <= field->max);
    const uint8_t *base = frame->base + field->offset;
    if (field->kind == MSG_FIELD_LIST) {
        memcpy(&base, frame->base + field->offset, sizeof(base));
    }
    pack_write_array(&self->writer, count);
    s_encode_push(self, field->layout, base, frame->base, count);
}

static void s_encode_field(encode_t *self, const msg_field_t *field, encode_frame_t frame)
{
    const uint8_t *at = frame.base + field->offset;
    pack_writer_t *writer = &self->writer;
    switch (field->kind) {
    case MSG_FIELD_UINT:
        s_encode_number(writer, field, at);
        break;
    case MSG_FIELD_TIME:
        s_encode_time(writer, field, at);
        break;
    case MSG_FIELD_F64:
        s_encode_f64(writer, field, at);
        break;
    case MSG_FIELD_BOOL:
        pack_write_bool(writer, *at != 0);
        break;
    case MSG_FIELD_BIN:
        pack_write_bin(writer, s_load_slice(at, field));
        break;
    case MSG_FIELD_TEXT:
        s_encode_text(writer, field, at);
        break;
    case MSG_FIELD_HASH:
        pack_write_bin(writer, slice_make(at, (size_t)field->max));
        break;
    case MSG_FIELD_STRUCT:
        s_encode_push(self, field->layout, at, frame.base, 1);
        break;
    case MSG_FIELD_LIST:
    case MSG_FIELD_ARRAY:
    case MSG_FIELD_OUTER_ARRAY:
        s_encode_list(self, field, &frame);
        break;
    case MSG_FIELD_UNION:
        s_encode_push(self, msg_union_layout(field, frame.base), frame.base, frame.base, 1);
        break;
    }
}

void msg_encode(const msg_t *msg, buffer_t *out)
{
    const msg_layout_t *layout = msg_layout_of(msg->type);
    CHECK(layout != NULL);
    CHECK(msg_find_contradiction(msg) == NULL);
    const uint8_t *base = (const uint8_t *)&msg->as;
    encode_t self;
    pack_writer_init(&self.writer, out);
    self.frames[0] = (encode_frame_t){layout, base, base, 0, 0};
    self.depth = 1;
    pack_write_array(&self.writer, 1 + layout->count);
    pack_write_u64(&self.writer, msg->type);
    while (self.depth > 0) {
        encode_frame_t *frame = &self.frames[self.depth - 1];
        if (frame->field < frame->layout->count) {
            const msg_field_t *field = &frame->layout->fields[frame->field++];
            s_encode_field(&self, field, *frame);
        } else if (frame->left > 0) {
            frame->left--;
            frame->base += frame->layout->size;
            frame->field = 0;
            s_encode_element(&self, frame->layout);
        } else {
            self.depth--;
        }
    }
    pack_writer_done(&self.writer);
}
