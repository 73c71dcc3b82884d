#include "tests/unit/wire_support.h"

#include "common/base/check.h"
#include "common/wire/msg_fields.h"
#include "common/wire/pack.h"

#include <stdlib.h>

/* -- random messages --------------------------------------------------------------------------- */

void wire_random_init(wire_random_t *self, uint64_t seed, uint32_t list_count_max)
{
    memset(self, 0, sizeof(*self));
    prng_init(&self->prng, seed);
    self->list_count_max = list_count_max;
}

void wire_random_done(wire_random_t *self)
{
    for (uint32_t i = 0; i < self->block_count; i++) {
        free(self->blocks[i]);
    }
    self->block_count = 0;
}

static void *s_take(wire_random_t *self, size_t size)
{
    CHECK(self->block_count < sizeof(self->blocks) / sizeof(self->blocks[0]));
    void *block = calloc(1, size == 0 ? 1 : size);
    CHECK(block != NULL);
    self->blocks[self->block_count++] = block;
    return block;
}

/* One in three at a bound. */
static uint64_t s_number(wire_random_t *self, uint64_t min, uint64_t max)
{
    uint64_t pick = prng_below(&self->prng, 6);
    if (pick == 0) {
        return min;
    }
    if (pick == 1) {
        return max;
    }
    uint64_t span = max - min;
    uint64_t offset = prng_next(&self->prng) >> prng_below(&self->prng, 64);
    return span == UINT64_MAX ? offset : min + offset % (span + 1);
}

static void s_put_number(uint8_t *at, uint16_t width, uint64_t number)
{
    uint8_t u8 = (uint8_t)number;
    uint16_t u16 = (uint16_t)number;
    uint32_t u32 = (uint32_t)number;
    const void *from = width == 1   ? (const void *)&u8
                       : width == 2 ? (const void *)&u16
                       : width == 4 ? (const void *)&u32
                                    : (const void *)&number;
    memcpy(at, from, width);
}

static void s_put_slice(wire_random_t *self, const msg_field_t *field, uint8_t *at)
{
    uint64_t room = field->max - field->min < 40 ? field->max - field->min : 40;
    size_t size = (size_t)(field->min + prng_below(&self->prng, room + 1));
    size_t unit = field->width == 0 ? 1 : field->width;
    size = (size + unit - 1) / unit * unit;
    if (prng_below(&self->prng, 50) == 0 && field->max <= TEXT_SIZE_MAX) {
        size = (size_t)field->max;
    }
    uint8_t *bytes = s_take(self, size);
    for (size_t i = 0; i < size; i++) {
        /* 1..4 is right wherever bytes are ids of signals or windows. */
        bytes[i] = (uint8_t)(1 + prng_below(&self->prng, 4));
    }
    slice_t slice = slice_make(bytes, size);
    memcpy(at, &slice, sizeof(slice));
}

static void s_put_leaf(wire_random_t *self, const msg_field_t *field, uint8_t *at)
{
    int64_t time_ns = (int64_t)(prng_next(&self->prng) >> 1);
    double f64 = (prng_unit(&self->prng) - 0.5) * 1e12;
    bool boolean = prng_chance(&self->prng, 0.5);
    switch (field->kind) {
    case MSG_FIELD_UINT:
        s_put_number(at, field->width, s_number(self, field->min, field->max));
        break;
    case MSG_FIELD_TIME:
        time_ns = field->min == 1 && boolean ? -time_ns - 1 : time_ns;
        memcpy(at, &time_ns, sizeof(time_ns));
        break;
    case MSG_FIELD_F64:
        memcpy(at, &f64, sizeof(f64));
        break;
    case MSG_FIELD_BOOL:
        memcpy(at, &boolean, sizeof(boolean));
        break;
    case MSG_FIELD_BIN:
    case MSG_FIELD_TEXT:
        s_put_slice(self, field, at);
        break;
    case MSG_FIELD_HASH:
        for (uint64_t i = 0; i < field->max; i++) {
            at[i] = (uint8_t)prng_next(&self->prng);
        }
        break;
    case MSG_FIELD_STRUCT:
    case MSG_FIELD_LIST:
    case MSG_FIELD_ARRAY:
    case MSG_FIELD_OUTER_ARRAY:
    case MSG_FIELD_UNION:
        CHECK(field->kind < MSG_FIELD_STRUCT);
    }
}

typedef struct {
    const msg_layout_t *layout;
    uint8_t *base;
    uint8_t *outer;
    uint32_t field;
    uint32_t left; /* elements, this one among them */
} random_frame_t;

/* Elements of a list, and how many. */
static random_frame_t s_open_list(wire_random_t *self,
                                  const msg_field_t *field,
                                  const random_frame_t *frame)
{
    random_frame_t inner = {.layout = field->layout, .outer = frame->base};
    inner.base = frame->base + field->offset;
    if (field->kind == MSG_FIELD_OUTER_ARRAY) {
        inner.left = msg_count_at(frame->outer, field->count_offset);
        return inner;
    }
    uint64_t max = field->max < self->list_count_max ? field->max : self->list_count_max;
    max = max < field->min ? field->min : max;
    inner.left = (uint32_t)s_number(self, field->min, max);
    s_put_number(frame->base + field->count_offset, 4, inner.left);
    if (field->kind == MSG_FIELD_LIST) {
        uint8_t *memory = s_take(self, inner.left * field->layout->size);
        memcpy(inner.base, &memory, sizeof(memory));
        inner.base = memory;
    }
    return inner;
}

static void s_fill(wire_random_t *self, const msg_layout_t *layout, msg_t *msg)
{
    uint8_t *base = (uint8_t *)&msg->as;
    random_frame_t frames[MSG_LAYOUT_DEPTH_MAX + 1];
    frames[0] = (random_frame_t){layout, base, base, 0, 1};
    uint32_t depth = 1;
    while (depth > 0) {
        random_frame_t *frame = &frames[depth - 1];
        if (frame->left == 0) {
            depth--;
            continue;
        }
        if (frame->field == frame->layout->count) {
            frame->field = 0;
            frame->left--;
            frame->base += frame->layout->size;
            continue;
        }
        const msg_field_t *field = &frame->layout->fields[frame->field++];
        if (field->kind == MSG_FIELD_STRUCT) {
            frames[depth++] =
                (random_frame_t){field->layout, frame->base + field->offset, frame->base, 0, 1};
        } else if (field->kind == MSG_FIELD_UNION) {
            frames[depth++] = (random_frame_t){msg_union_layout(field, frame->base), frame->base,
                                               frame->base, 0, 1};
        } else if (field->kind >= MSG_FIELD_LIST) {
            random_frame_t inner = s_open_list(self, field, frame);
            frames[depth++] = inner;
        } else {
            s_put_leaf(self, field, frame->base + field->offset);
        }
    }
}

/* Makes the rules over several fields hold. */
static void s_reconcile(msg_t *msg)
{
    if (msg->type == MSG_WRITE) {
        msg->as.write.has_producer = msg->as.write.producer.size > 0;
    }
    if (msg->type == MSG_SHIP_BLOCKS &&
        msg->as.ship_blocks.last_seq < msg->as.ship_blocks.first_seq) {
        msg->as.ship_blocks.last_seq = msg->as.ship_blocks.first_seq;
    }
    if (msg->type == MSG_READ && msg->as.read.kind == READ_RELATION) {
        msg->as.read.as.relation.creator.value = msg->as.read.as.relation.item.value == 0 ? 7 : 0;
    }
}

msg_t wire_random_message(wire_random_t *self, msg_type_t type)
{
    msg_t msg;
    memset(&msg, 0, sizeof(msg));
    msg.type = type;
    const msg_layout_t *layout = msg_layout_of(type);
    CHECK(layout != NULL);
    s_fill(self, layout, &msg);
    s_reconcile(&msg);
    return msg;
}

msg_type_t wire_message_type(uint32_t i)
{
    return msg_layout_of(i + 1) == NULL ? (msg_type_t)0 : (msg_type_t)(i + 1);
}

/* -- requests ---------------------------------------------------------------------------------- */

client_decoder_t *wire_decoder_new(void)
{
    static const client_signal_type_t s_types[] = {
        {1, "view"}, {2, "like"}, {3, "share"}, {4, "skip"}};
    return client_decoder_new(s_types, sizeof(s_types) / sizeof(s_types[0]));
}

/* What every write may carry. */
static void s_put_write(pack_writer_t *writer)
{
    pack_put_text(writer, "ack", "all");
    pack_put_u64(writer, "timeout_ms", 1234);
    pack_put_text(writer, "producer", "loader");
    pack_put_u64(writer, "seq", 77);
    pack_put_bin(writer, "token", WIRE_BYTES("\x01"));
}

static void s_put_read(pack_writer_t *writer)
{
    pack_put_text(writer, "read", "leader");
    pack_put_u64(writer, "wait_ms", 10);
    pack_put_u64(writer, "max_staleness_ms", 500);
    pack_put_u64(writer, "at", UINT64_C(1700000000000000000));
    pack_put_array(writer, "token");
    pack_item(writer);
    pack_write_bin(writer, WIRE_BYTES("\x01"));
    pack_close(writer);
}

static void s_signal(pack_writer_t *writer)
{
    s_put_write(writer);
    pack_put_text(writer, "signal", "like");
    pack_put_u64(writer, "item", 9);
    pack_put_text(writer, "user", "1152921504606846976");
    pack_put_f64(writer, "weight", 2.5);
    pack_put_f64(writer, "ts", 1.7e18);
}

static void s_rows(pack_writer_t *writer)
{
    s_put_write(writer);
    pack_key(writer, "rows");
    pack_write_array(writer, 3);
    pack_write_array(writer, 5);
    pack_write_str(writer, slice_text("view"));
    pack_write_u64(writer, 5);
    pack_write_u64(writer, 6);
    pack_write_f64(writer, -0.5);
    pack_write_u64(writer, 1000);
    pack_write_array(writer, 3);
    pack_write_str(writer, slice_text("view"));
    pack_write_f64(writer, 9007199254740992.0);
    pack_write_nil(writer);
    pack_write_array(writer, 2);
    pack_write_str(writer, slice_text("skip"));
    pack_write_str(writer, slice_text("18446744073709551615"));
}

static void s_columns(pack_writer_t *writer)
{
    s_put_write(writer);
    pack_put_map(writer, "columns");
    pack_put_u64(writer, "n", 2);
    pack_put_bin(writer, "signal", WIRE_BYTES("\x01\x04"));
    pack_put_bin(writer, "item", WIRE_BYTES("\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0"));
    pack_put_bin(writer, "user", WIRE_BYTES("\5\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    pack_put_bin(writer, "weight", WIRE_BYTES("\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\xf0\xbf"));
    pack_put_bin(writer, "ts", WIRE_BYTES("\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0"));
    pack_close(writer);
}

static void s_put_item_fields(pack_writer_t *writer, uint64_t item)
{
    pack_put_u64(writer, "item", item);
    pack_put_text(writer, "title", "A title");
    pack_put_text(writer, "text", "Some t\xc3\xa4xt");
    pack_put_text(writer, "category", "news");
    pack_put_u64(writer, "creator", 88);
    pack_put_array(writer, "tags");
    pack_item(writer);
    pack_write_str(writer, slice_text("a"));
    pack_item(writer);
    pack_write_str(writer, slice_text("b"));
    pack_close(writer);
    pack_put_u64(writer, "created", 1234567890);
}

static void s_item(pack_writer_t *writer)
{
    s_put_write(writer);
    s_put_item_fields(writer, 7);
}

static void s_items(pack_writer_t *writer)
{
    s_put_write(writer);
    pack_put_array(writer, "items");
    for (uint64_t i = 1; i <= 3; i++) {
        pack_item(writer);
        pack_open_map(writer);
        s_put_item_fields(writer, i);
        pack_close(writer);
    }
    pack_close(writer);
}

static void s_item_id(pack_writer_t *writer)
{
    pack_put_u64(writer, "item", 7);
}

static void s_user_id(pack_writer_t *writer)
{
    s_put_read(writer);
    pack_put_u64(writer, "user", 7);
}

static void s_user(pack_writer_t *writer)
{
    s_put_write(writer);
    pack_put_u64(writer, "user", 7);
    pack_put_map(writer, "attrs");
    pack_put_text(writer, "locale", "EU");
    pack_put_text(writer, "age", "30");
    pack_close(writer);
}

static void s_relation(pack_writer_t *writer)
{
    s_put_write(writer);
    pack_put_u64(writer, "user", 7);
    pack_put_u64(writer, "item", 8);
    pack_put_u64(writer, "creator", 9);
    pack_key(writer, "hlc");
    pack_write_array(writer, 3);
    pack_write_u64(writer, 1700000000);
    pack_write_u64(writer, 2);
    pack_write_u64(writer, 3);
}

static void s_cell(pack_writer_t *writer)
{
    s_put_read(writer);
    pack_put_u64(writer, "item", 8);
    pack_put_text(writer, "signal", "share");
    pack_put_text(writer, "window", "7d");
    pack_put_text(writer, "cohort", "locale:EU");
}

static void s_put_texts(pack_writer_t *writer, const char *key, const char *a, const char *b)
{
    pack_key(writer, key);
    pack_write_array(writer, 2);
    pack_write_str(writer, slice_text(a));
    pack_write_str(writer, slice_text(b));
}

static void s_cells(pack_writer_t *writer)
{
    s_put_read(writer);
    pack_key(writer, "items");
    pack_write_array(writer, 3);
    pack_write_u64(writer, 1);
    pack_write_u64(writer, 2);
    pack_write_u64(writer, 1);
    s_put_texts(writer, "signals", "view", "skip");
    s_put_texts(writer, "windows", "1h", "all");
}

static void s_relation_read(pack_writer_t *writer)
{
    s_put_read(writer);
    pack_put_u64(writer, "user", 7);
    pack_put_u64(writer, "creator", 9);
}

static void s_put_filter(pack_writer_t *writer)
{
    pack_put_map(writer, "filter");
    s_put_texts(writer, "category", "news", "sport");
    pack_put_u64(writer, "creator", 5);
    pack_put_u64(writer, "created_after", 10);
    pack_put_u64(writer, "created_before", 20);
    pack_put_bool(writer, "unseen", true);
    pack_close(writer);
}

static void s_retrieve(pack_writer_t *writer)
{
    uint8_t cursor[CLIENT_CURSOR_SIZE];
    client_cursor_t place = {.at_ns = 5, .score = 1.5, .item = {7}};
    client_cursor_encode(&place, cursor);
    s_put_read(writer);
    pack_put_u64(writer, "user", 7);
    pack_put_bin(writer, "session", WIRE_BYTES("abcdefgh0123456789abcdef"));
    pack_put_array(writer, "terms");
    pack_item(writer);
    pack_open_map(writer);
    pack_put_text(writer, "signal", "view");
    pack_put_text(writer, "agg", "velocity");
    pack_put_text(writer, "window", "1h");
    pack_put_u64(writer, "weight", 3);
    pack_close(writer);
    pack_close(writer);
    pack_key(writer, "candidates");
    pack_write_array(writer, 3);
    pack_write_u64(writer, 11);
    pack_write_str(writer, slice_text("12"));
    pack_write_f64(writer, 11.0);
    s_put_filter(writer);
    pack_put_map(writer, "diversity");
    pack_put_u64(writer, "max_per_creator", 2);
    pack_close(writer);
    pack_put_text(writer, "cohort", "locale:EU");
    pack_put_u64(writer, "limit", 10);
    pack_put_bin(writer, "cursor", slice_make(cursor, sizeof(cursor)));
    pack_put_bool(writer, "explain", true);
}

static void s_session_start(pack_writer_t *writer)
{
    s_put_write(writer);
    pack_put_u64(writer, "user", 7);
    pack_put_text(writer, "agent", "web");
    pack_put_map(writer, "meta");
    pack_put_text(writer, "build", "12");
    pack_close(writer);
}

static void s_session_signal(pack_writer_t *writer)
{
    s_put_write(writer);
    pack_put_bin(writer, "session", WIRE_BYTES("abcdefgh0123456789abcdef"));
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", 8);
    pack_put_f64(writer, "weight", 0.5);
    pack_put_u64(writer, "ts", 1000);
}

static void s_session_close(pack_writer_t *writer)
{
    s_put_write(writer);
    pack_put_bin(writer, "session", WIRE_BYTES("abcdefgh0123456789abcdef"));
}

static void s_session_get(pack_writer_t *writer)
{
    s_put_read(writer);
    pack_put_bin(writer, "session", WIRE_BYTES("abcdefgh0123456789abcdef"));
}

static void s_link(pack_writer_t *writer)
{
    pack_put_text(writer, "from", "us-east");
    pack_put_text(writer, "to", "control");
    pack_put_text(writer, "mode", "hold");
    pack_put_u64(writer, "delay_ms", 20);
    pack_put_u64(writer, "jitter_ms", 5);
    pack_put_f64(writer, "drop", 0.25);
    pack_put_u64(writer, "duplicate", 1);
    pack_put_f64(writer, "reorder", 0.0);
    pack_put_u64(writer, "rate_bytes_s", 1000000);
}

static void s_nothing(pack_writer_t *writer)
{
    pack_put_text(writer, "tenant", "default");
}

static void s_tenant(pack_writer_t *writer)
{
    pack_put_text(writer, "tenant", "shop");
    pack_put_array(writer, "regions");
    pack_item(writer);
    pack_write_str(writer, slice_text("us-east"));
    pack_close(writer);
    pack_put_text(writer, "island", "accept");
}

static void s_promote(pack_writer_t *writer)
{
    pack_put_u64(writer, "shard", 3);
    pack_put_text(writer, "region", "eu-west");
}

bool wire_sample_request(uint32_t i, buffer_t *out)
{
    static const struct {
        const char *op;
        void (*put)(pack_writer_t *writer);
    } s_samples[] = {
        {"signal", s_signal},
        {"signals", s_rows},
        {"signals", s_columns},
        {"put_item", s_item},
        {"put_items", s_items},
        {"delete_item", s_item_id},
        {"put_user", s_user},
        {"hide", s_relation},
        {"unhide", s_relation},
        {"mute", s_relation},
        {"unmute", s_relation},
        {"block", s_relation},
        {"unblock", s_relation},
        {"get_item", s_item_id},
        {"get_user", s_user_id},
        {"score", s_cell},
        {"count", s_cell},
        {"velocity", s_cell},
        {"cells", s_cells},
        {"relation", s_relation_read},
        {"retrieve", s_retrieve},
        {"hello", s_nothing},
        {"ping", s_nothing},
        {"topology", s_nothing},
        {"lag", s_nothing},
        {"status", s_nothing},
        {"digest", s_nothing},
        {"health", s_nothing},
        {"metrics", s_nothing},
        {"link", s_link},
        {"links", s_nothing},
        {"heal", s_nothing},
        {"session_start", s_session_start},
        {"session_signal", s_session_signal},
        {"session_close", s_session_close},
        {"session_get", s_session_get},
        {"create_tenant", s_tenant},
        {"promote", s_promote},
    };
    if (i >= sizeof(s_samples) / sizeof(s_samples[0])) {
        return false;
    }
    pack_writer_t writer;
    client_request_begin(&writer, out, s_samples[i].op, 1000 + i);
    s_samples[i].put(&writer);
    client_request_end(&writer);
    return true;
}
