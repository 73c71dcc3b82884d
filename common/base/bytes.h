/* Little-endian numbers in byte buffers, slices, and a growing buffer with a limit. */
#ifndef TIDAL_COMMON_BASE_BYTES_H
#define TIDAL_COMMON_BASE_BYTES_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes; whoever hands one out says until when they live. */
typedef struct {
    const uint8_t *data; /* may be NULL when size is 0 */
    size_t size;
} slice_t;

static inline slice_t slice_make(const void *data, size_t size)
{
    return (slice_t){(const uint8_t *)data, size};
}

/* The bytes of a C string, without its end. */
static inline slice_t slice_text(const char *text)
{
    return (slice_t){(const uint8_t *)text, strlen(text)};
}

bool slice_equal(slice_t a, slice_t b);

static inline void bytes_put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

/* Straight lines, not loops: compilers then make one store of them. */
static inline void bytes_put_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

static inline void bytes_put_u64(uint8_t *at, uint64_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
    at[4] = (uint8_t)(value >> 32);
    at[5] = (uint8_t)(value >> 40);
    at[6] = (uint8_t)(value >> 48);
    at[7] = (uint8_t)(value >> 56);
}

static inline uint16_t bytes_get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | (at[1] << 8));
}

static inline uint32_t bytes_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t bytes_get_u64(const uint8_t *at)
{
    return (uint64_t)bytes_get_u32(at) | (uint64_t)bytes_get_u32(at + 4) << 32;
}

static inline void bytes_put_f64(uint8_t *at, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    bytes_put_u64(at, bits);
}

static inline double bytes_get_f64(const uint8_t *at)
{
    uint64_t bits = bytes_get_u64(at);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Big-endian, for keys that sort as numbers. */
void bytes_put_u64_be(uint8_t *at, uint64_t value);
uint64_t bytes_get_u64_be(const uint8_t *at);

/* A growing buffer; memory is kept across buffer_clear. Running out of memory is a CHECK. */
typedef struct {
    uint8_t *data;
    size_t size;
    size_t capacity;
} buffer_t;

void buffer_init(buffer_t *self);
/* Frees; may be called twice. */
void buffer_done(buffer_t *self);
void buffer_clear(buffer_t *self);
/* Room for `size` more bytes at the end, counted in; returns where they begin. The pointer lives
 * until the next call that grows. */
uint8_t *buffer_extend(buffer_t *self, size_t size);
void buffer_append(buffer_t *self, const void *bytes, size_t size);
slice_t buffer_slice(const buffer_t *self);

/* Lower-case hex; ret_text needs 2 * size + 1 bytes. */
void bytes_to_hex(const uint8_t *bytes, size_t size, char *ret_text);

/* Whether bytes are valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool bytes_are_utf8(slice_t bytes);

/* Parses all of text as a number within [min, max]. errs ERR_INVALID */
err_t text_to_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);

#endif
