/* The one reader of a msgpack value, inline for the loops over many of them. Private to this
 * folder; everybody else calls pack_next. */
#ifndef TIDAL_COMMON_WIRE_PACK_INLINE_H
#define TIDAL_COMMON_WIRE_PACK_INLINE_H

#include "common/wire/pack.h"

/* Bytes that follow the first byte of a value before its payload. */
static inline uint16_t pack_inline_get_u16(const uint8_t *at)
{
    return (uint16_t)((uint16_t)(at[0] << 8) | at[1]);
}

static inline uint32_t pack_inline_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

static inline uint64_t pack_inline_get_u64(const uint8_t *at)
{
    return (uint64_t)pack_inline_get_u32(at) << 32 | pack_inline_get_u32(at + 4);
}

/* Size of the fixed part behind a first byte of 0xc0..0xdf: number, length or count. 255: a value
 * that this project does not read. */
static inline uint8_t pack_fixed_size(uint8_t first)
{
    static const uint8_t s_sizes[32] = {
        0,   255, 0,   0,        /* nil, reserved, false, true */
        1,   2,   4,             /* bin */
        255, 255, 255,           /* ext */
        4,   8,                  /* float */
        1,   2,   4,   8,        /* unsigned */
        1,   2,   4,   8,        /* signed */
        255, 255, 255, 255, 255, /* fixext */
        1,   2,   4,             /* str */
        2,   4,                  /* array */
        2,   4,                  /* map */
    };
    return s_sizes[first - 0xc0];
}

static inline void pack_inline_set_int(pack_value_t *value, int64_t number)
{
    if (number >= 0) {
        value->kind = PACK_UINT;
        value->as.uint = (uint64_t)number;
    } else {
        value->kind = PACK_INT;
        value->as.sint = number;
    }
}

static inline double pack_inline_float_32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return (double)value;
}

static inline double pack_inline_float_64(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* A str or bin of `size` bytes at the cursor. */
static inline bool pack_inline_take_bytes(pack_reader_t *self,
                                          pack_kind_t kind,
                                          uint32_t size,
                                          pack_value_t *value)
{
    if (size > pack_reader_left(self)) {
        value->kind = PACK_BAD;
        return false;
    }
    value->kind = kind;
    value->as.bytes = slice_make(self->at, size);
    self->at += size;
    return true;
}

static inline bool pack_inline_set_count(pack_kind_t kind, uint32_t count, pack_value_t *value)
{
    value->kind = kind;
    value->as.count = count;
    return true;
}

/* A number behind a first byte 0xca..0xd3; `at` is its payload. */
static inline void pack_inline_set_number(uint8_t first, const uint8_t *at, pack_value_t *value)
{
    switch (first) {
    case 0xca:
        value->kind = PACK_FLOAT;
        value->as.f64 = pack_inline_float_32(pack_inline_get_u32(at));
        break;
    case 0xcb:
        value->kind = PACK_FLOAT;
        value->as.f64 = pack_inline_float_64(pack_inline_get_u64(at));
        break;
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        value->kind = PACK_UINT;
        value->as.uint = first == 0xcc   ? at[0]
                         : first == 0xcd ? pack_inline_get_u16(at)
                         : first == 0xce ? pack_inline_get_u32(at)
                                         : pack_inline_get_u64(at);
        break;
    case 0xd0:
        pack_inline_set_int(value, (int8_t)at[0]);
        break;
    case 0xd1:
        pack_inline_set_int(value, (int16_t)pack_inline_get_u16(at));
        break;
    case 0xd2:
        pack_inline_set_int(value, (int32_t)pack_inline_get_u32(at));
        break;
    default:
        pack_inline_set_int(value, (int64_t)pack_inline_get_u64(at));
        break;
    }
}

/* The values whose first byte is 0xc0..0xdf; the cursor stands behind the first byte. */
static inline bool pack_inline_next_long(pack_reader_t *self, uint8_t first, pack_value_t *value)
{
    uint8_t fixed = pack_fixed_size(first);
    if (fixed > pack_reader_left(self)) {
        return false;
    }
    const uint8_t *at = self->at;
    self->at += fixed;
    switch (first) {
    case 0xc0:
        value->kind = PACK_NIL;
        return true;
    case 0xc2:
    case 0xc3:
        value->kind = PACK_BOOL;
        value->as.boolean = first == 0xc3;
        return true;
    case 0xc4:
    case 0xd9:
        return pack_inline_take_bytes(self, first == 0xc4 ? PACK_BIN : PACK_STR, at[0], value);
    case 0xc5:
    case 0xda:
        return pack_inline_take_bytes(self, first == 0xc5 ? PACK_BIN : PACK_STR,
                                      pack_inline_get_u16(at), value);
    case 0xc6:
    case 0xdb:
        return pack_inline_take_bytes(self, first == 0xc6 ? PACK_BIN : PACK_STR,
                                      pack_inline_get_u32(at), value);
    case 0xdc:
    case 0xde:
        return pack_inline_set_count(first == 0xdc ? PACK_ARRAY : PACK_MAP, pack_inline_get_u16(at),
                                     value);
    case 0xdd:
    case 0xdf:
        return pack_inline_set_count(first == 0xdd ? PACK_ARRAY : PACK_MAP, pack_inline_get_u32(at),
                                     value);
    default:
        pack_inline_set_number(first, at, value);
        return true;
    }
}

static inline bool pack_next_inline(pack_reader_t *self, pack_value_t *ret_value)
{
    pack_value_t *value = ret_value;
    const uint8_t *start = self->at;
    value->kind = PACK_BAD;
    if (start == self->end) {
        return false;
    }
    uint8_t first = *start;
    self->at++;
    bool ok = true;
    if (first < 0x80) {
        value->kind = PACK_UINT;
        value->as.uint = first;
    } else if (first < 0x90) {
        ok = pack_inline_set_count(PACK_MAP, first & 15, value);
    } else if (first < 0xa0) {
        ok = pack_inline_set_count(PACK_ARRAY, first & 15, value);
    } else if (first < 0xc0) {
        ok = pack_inline_take_bytes(self, PACK_STR, first & 31, value);
    } else if (first < 0xe0) {
        ok = pack_inline_next_long(self, first, value);
    } else {
        pack_inline_set_int(value, (int8_t)first);
    }
    if (!ok) {
        self->at = start;
    }
    return ok;
}

#endif
