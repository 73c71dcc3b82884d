/* Writer of msgpack, over msgpack-c's packer. */
#include "common/base/check.h"
#include "common/wire/pack.h"

#include <msgpack.h>

/* The packer's callback. Always inlined where a packer is used, because the packer is a local. */
static int s_append(void *context, const char *bytes, size_t size)
{
    buffer_t *out = context;
    if (out->capacity - out->size >= size) {
        memcpy(out->data + out->size, bytes, size);
        out->size += size;
    } else {
        buffer_append(out, bytes, size);
    }
    return 0; /* the packer hands it on: callers have nothing to look at */
}

static msgpack_packer s_packer(const pack_writer_t *self)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, self->out, s_append);
    return packer;
}

void pack_writer_init(pack_writer_t *self, buffer_t *out)
{
    self->out = out;
    self->depth = 0;
}

void pack_writer_done(const pack_writer_t *self)
{
    CHECK(self->depth == 0);
}

/* -- bare values ------------------------------------------------------------------------------- */

void pack_write_nil(pack_writer_t *self)
{
    msgpack_packer packer = s_packer(self);
    (void)msgpack_pack_nil(&packer); /* s_append never fails */
}

void pack_write_bool(pack_writer_t *self, bool value)
{
    msgpack_packer packer = s_packer(self);
    (void)(value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer)); /* never fails */
}

void pack_write_u64(pack_writer_t *self, uint64_t value)
{
    msgpack_packer packer = s_packer(self);
    (void)msgpack_pack_uint64(&packer, value); /* s_append never fails */
}

void pack_write_i64(pack_writer_t *self, int64_t value)
{
    msgpack_packer packer = s_packer(self);
    (void)msgpack_pack_int64(&packer, value); /* s_append never fails */
}

void pack_write_f64(pack_writer_t *self, double value)
{
    msgpack_packer packer = s_packer(self);
    (void)msgpack_pack_double(&packer, value); /* s_append never fails */
}

void pack_write_str(pack_writer_t *self, slice_t text)
{
    CHECK(text.size <= UINT32_MAX);
    msgpack_packer packer = s_packer(self);
    (void)msgpack_pack_str(&packer, text.size); /* s_append never fails */
    buffer_append(self->out, text.data, text.size);
}

void pack_write_clean(pack_writer_t *self, slice_t text, size_t size_max)
{
    CHECK(size_max >= 1 && size_max <= PACK_CLEAN_SIZE_MAX);
    slice_t kept = slice_make(text.data, text.size < size_max ? text.size : size_max);
    if (bytes_are_utf8(kept)) {
        pack_write_str(self, kept);
        return;
    }
    char clean[PACK_CLEAN_SIZE_MAX];
    for (size_t i = 0; i < kept.size; i++) {
        clean[i] = '?';
        if (kept.data[i] < 0x80) {
            clean[i] = (char)kept.data[i];
        }
    }
    pack_write_str(self, slice_make(clean, kept.size));
}

void pack_write_bin(pack_writer_t *self, slice_t bytes)
{
    CHECK(bytes.size <= UINT32_MAX);
    msgpack_packer packer = s_packer(self);
    (void)msgpack_pack_bin(&packer, bytes.size); /* s_append never fails */
    buffer_append(self->out, bytes.data, bytes.size);
}

void pack_write_encoded(pack_writer_t *self, slice_t value)
{
    CHECK(value.size > 0);
    buffer_append(self->out, value.data, value.size);
}

void pack_write_array(pack_writer_t *self, uint32_t count)
{
    msgpack_packer packer = s_packer(self);
    (void)msgpack_pack_array(&packer, count); /* s_append never fails */
}

void pack_write_map(pack_writer_t *self, uint32_t count)
{
    msgpack_packer packer = s_packer(self);
    (void)msgpack_pack_map(&packer, count); /* s_append never fails */
}

/* -- opened containers ------------------------------------------------------------------------- */

/* The header is written for the largest count of its width, and gets the true one at the end. */
enum { OPEN_MAP_COUNT_MAX = UINT16_MAX };
static const uint32_t s_open_array_count_max = UINT32_MAX;

static void s_open(pack_writer_t *self, bool is_map)
{
    CHECK(self->depth < MSGPACK_DEPTH_MAX);
    self->open[self->depth].offset = self->out->size;
    self->open[self->depth].count = 0;
    self->open[self->depth].is_map = is_map;
    self->depth++;
}

void pack_open_map(pack_writer_t *self)
{
    s_open(self, true);
    pack_write_map(self, OPEN_MAP_COUNT_MAX);
}

void pack_open_array(pack_writer_t *self)
{
    s_open(self, false);
    pack_write_array(self, s_open_array_count_max);
}

void pack_close(pack_writer_t *self)
{
    CHECK(self->depth > 0);
    self->depth--;
    uint32_t count = self->open[self->depth].count;
    unsigned count_size = self->open[self->depth].is_map ? 2 : 4;
    uint8_t *at = self->out->data + self->open[self->depth].offset + 1;
    for (unsigned i = 0; i < count_size; i++) {
        at[i] = (uint8_t)(count >> (8 * (count_size - 1 - i)));
    }
}

void pack_item(pack_writer_t *self)
{
    CHECK(self->depth > 0);
    CHECK(!self->open[self->depth - 1].is_map);
    CHECK(self->open[self->depth - 1].count < s_open_array_count_max);
    self->open[self->depth - 1].count++;
}

void pack_key(pack_writer_t *self, const char *key)
{
    CHECK(self->depth > 0);
    CHECK(self->open[self->depth - 1].is_map);
    CHECK(self->open[self->depth - 1].count < OPEN_MAP_COUNT_MAX);
    self->open[self->depth - 1].count++;
    pack_write_str(self, slice_text(key));
}

void pack_put_nil(pack_writer_t *self, const char *key)
{
    pack_key(self, key);
    pack_write_nil(self);
}

void pack_put_bool(pack_writer_t *self, const char *key, bool value)
{
    pack_key(self, key);
    pack_write_bool(self, value);
}

void pack_put_u64(pack_writer_t *self, const char *key, uint64_t value)
{
    pack_key(self, key);
    pack_write_u64(self, value);
}

void pack_put_i64(pack_writer_t *self, const char *key, int64_t value)
{
    pack_key(self, key);
    pack_write_i64(self, value);
}

void pack_put_f64(pack_writer_t *self, const char *key, double value)
{
    pack_key(self, key);
    pack_write_f64(self, value);
}

void pack_put_str(pack_writer_t *self, const char *key, slice_t text)
{
    pack_key(self, key);
    pack_write_str(self, text);
}

void pack_put_text(pack_writer_t *self, const char *key, const char *text)
{
    pack_put_str(self, key, slice_text(text));
}

void pack_put_bin(pack_writer_t *self, const char *key, slice_t bytes)
{
    pack_key(self, key);
    pack_write_bin(self, bytes);
}

void pack_put_map(pack_writer_t *self, const char *key)
{
    pack_key(self, key);
    pack_open_map(self);
}

void pack_put_array(pack_writer_t *self, const char *key)
{
    pack_key(self, key);
    pack_open_array(self);
}
