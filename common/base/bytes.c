#include "common/base/bytes.h"

#include "common/base/check.h"

#include <stdlib.h>

bool slice_equal(slice_t a, slice_t b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

void bytes_put_u64_be(uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

uint64_t bytes_get_u64_be(const uint8_t *at)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

void buffer_init(buffer_t *self)
{
    *self = (buffer_t){NULL, 0, 0};
}

void buffer_done(buffer_t *self)
{
    free(self->data);
    buffer_init(self);
}

void buffer_clear(buffer_t *self)
{
    self->size = 0;
}

uint8_t *buffer_extend(buffer_t *self, size_t size)
{
    CHECK(size <= SIZE_MAX / 4 && self->size <= SIZE_MAX / 4);
    size_t needed = self->size + size;
    if (needed > self->capacity) {
        size_t capacity = self->capacity < 256 ? 256 : self->capacity;
        while (capacity < needed) {
            capacity *= 2;
        }
        uint8_t *data = realloc(self->data, capacity);
        CHECK(data != NULL);
        self->data = data;
        self->capacity = capacity;
    }
    uint8_t *at = self->data == NULL ? NULL : self->data + self->size;
    self->size = needed;
    return at;
}

void buffer_append(buffer_t *self, const void *bytes, size_t size)
{
    if (size > 0) {
        uint8_t *at = buffer_extend(self, size);
        CHECK(at != NULL);
        (void)memcpy(at, bytes, size);
    }
}

slice_t buffer_slice(const buffer_t *self)
{
    return (slice_t){self->data, self->size};
}

void bytes_to_hex(const uint8_t *bytes, size_t size, char *ret_text)
{
    static const char s_digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        ret_text[2 * i] = s_digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = s_digits[bytes[i] & 15];
    }
    ret_text[2 * size] = '\0';
}

/* Length of the sequence that begins at `at`, or 0 when it is malformed. */
static size_t s_utf8_length(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80) {
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < length) {
        return 0;
    }
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

bool bytes_are_utf8(slice_t bytes)
{
    size_t offset = 0;
    while (offset < bytes.size) {
        size_t length = s_utf8_length(bytes.data + offset, bytes.size - offset);
        if (length == 0) {
            return false;
        }
        offset += length;
    }
    return true;
}

err_t text_to_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (*text == '\0') {
        return ERR_INVALID;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return ERR_INVALID;
        }
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return ERR_INVALID;
        }
        value = value * 10 + digit;
    }
    if (value < min || value > max) {
        return ERR_INVALID;
    }
    *ret_value = value;
    return ERR_OK;
}
