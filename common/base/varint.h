/* Unsigned numbers in as few bytes as they need: seven bits per byte, lowest first, the high bit
 * set on all bytes but the last (LEB128). A number has one form, so equal states have equal bytes.
 */
#ifndef TIDAL_COMMON_BASE_VARINT_H
#define TIDAL_COMMON_BASE_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VARINT_SIZE_MAX = 10 };

/* Returns where the next byte goes; room for VARINT_SIZE_MAX. */
static inline uint8_t *varint_put(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* Takes one number from the front; false when the bytes end, the number needs more than 64 bits or
 * it is not in its shortest form. */
static inline bool varint_take(const uint8_t **at_p, const uint8_t *end, uint64_t *ret_value)
{
    const uint8_t *at = *at_p;
    size_t size = 0;
    while (at + size < end && size < VARINT_SIZE_MAX && at[size] >= 0x80) {
        size++;
    }
    if (at + size == end || size == VARINT_SIZE_MAX) {
        return false;
    }
    uint8_t last = at[size];
    if ((last == 0 && size > 0) || (last > 1 && size == VARINT_SIZE_MAX - 1)) {
        return false;
    }
    uint64_t value = last;
    for (size_t i = size; i > 0; i--) {
        value = value << 7 | (at[i - 1] & 0x7f);
    }
    *at_p = at + size + 1;
    *ret_value = value;
    return true;
}

#endif
