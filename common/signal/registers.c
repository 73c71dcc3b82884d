#include "common/signal/registers.h"

#include "common/base/check.h"
#include "common/signal/checkpoint_format.h"

#include <stdlib.h>

enum {
    STAMP_SIZE = 16,
    CLEARED_OFFSET = 1,
    WRITTEN_OFFSET = CLEARED_OFFSET + STAMP_SIZE,
    HEAD_SIZE = WRITTEN_OFFSET + STAMP_SIZE,
    FRAME_SIZE = 2 + STAMP_SIZE + 4, /* of a register beside its name and value */
    CAPACITY_STEP = 64
};

static_assert(HEAD_SIZE == 33, "as checkpoint_format.h says");
static_assert(REGISTER_NAME_SIZE_MAX <= UINT16_MAX, "a name's size is a u16");
static_assert((uint64_t)HEAD_SIZE + (uint64_t)REGISTER_COUNT_MAX *
                                        (FRAME_SIZE + REGISTER_NAME_SIZE_MAX + TEXT_SIZE_MAX) <
                  UINT32_MAX / 2,
              "sizes are 32-bit numbers");

static const hlc_stamp_t s_stamp_zero = {0, 0, 0};

static void s_put_stamp(uint8_t *at, hlc_stamp_t hlc)
{
    bytes_put_u64(at, (uint64_t)hlc.wall_ns);
    bytes_put_u32(at + 8, hlc.logical);
    bytes_put_u32(at + 12, hlc.node);
}

static hlc_stamp_t s_get_stamp(const uint8_t *at)
{
    return (hlc_stamp_t){(int64_t)bytes_get_u64(at), bytes_get_u32(at + 8), bytes_get_u32(at + 12)};
}

static int s_compare(slice_t a, slice_t b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static void s_invariant(const registers_t *self)
{
    CHECK(self->size <= self->capacity);
    CHECK(self->size == 0 || self->size >= HEAD_SIZE);
    CHECK_IMPLIES(self->size > 0, self->bytes != NULL);
}

void registers_init(registers_t *self)
{
    *self = (registers_t){NULL, 0, 0};
}

void registers_done(registers_t *self)
{
    free(self->bytes);
    registers_init(self);
}

/* Stamp of the latest delete; the zero stamp when there is none. */
static hlc_stamp_t s_cleared(const registers_t *self)
{
    return self->size == 0 ? s_stamp_zero : s_get_stamp(self->bytes + CLEARED_OFFSET);
}

hlc_stamp_t registers_written(const registers_t *self)
{
    return self->size == 0 ? s_stamp_zero : s_get_stamp(self->bytes + WRITTEN_OFFSET);
}

bool registers_exist(const registers_t *self)
{
    return hlc_compare(registers_written(self), s_stamp_zero) != 0;
}

slice_t registers_encoded(const registers_t *self)
{
    return slice_make(self->bytes, self->size);
}

/* The register at `at`; returns where the next one begins. */
static const uint8_t *s_read(const uint8_t *at, register_view_t *ret_register)
{
    uint16_t name_size = bytes_get_u16(at);
    ret_register->name = slice_make(at + 2, name_size);
    at += 2 + name_size;
    ret_register->hlc = s_get_stamp(at);
    uint32_t value_size = bytes_get_u32(at + STAMP_SIZE);
    ret_register->value = slice_make(at + STAMP_SIZE + 4, value_size);
    return at + STAMP_SIZE + 4 + value_size;
}

bool registers_next(const registers_t *self, size_t *offset_p, register_view_t *ret_register)
{
    if (*offset_p == 0) {
        *offset_p = HEAD_SIZE;
    }
    if (*offset_p >= self->size) {
        return false;
    }
    *offset_p = (size_t)(s_read(self->bytes + *offset_p, ret_register) - self->bytes);
    return true;
}

bool registers_find(const registers_t *self, slice_t name, register_view_t *ret_register)
{
    size_t offset = 0;
    register_view_t found;
    while (registers_next(self, &offset, &found)) {
        if (slice_equal(found.name, name)) {
            *ret_register = found;
            return true;
        }
    }
    return false;
}

/* -- changes ----------------------------------------------------------------------------------- */

/* Makes `added` bytes out of the `removed` ones at offset; what follows moves. */
static uint8_t *s_splice(registers_t *self, size_t offset, size_t removed, size_t added)
{
    CHECK(offset + removed <= self->size);
    size_t size = self->size - removed + added;
    if (size > self->capacity) {
        size_t capacity = (size + CAPACITY_STEP - 1) / CAPACITY_STEP * CAPACITY_STEP;
        CHECK(capacity <= UINT32_MAX);
        self->bytes = realloc(self->bytes, capacity);
        CHECK(self->bytes != NULL);
        self->capacity = (uint32_t)capacity;
    }
    uint8_t *at = self->bytes + offset;
    (void)memmove(at + added, at + removed, self->size - offset - removed);
    self->size = (uint32_t)size;
    return at;
}

static void s_require_head(registers_t *self)
{
    if (self->size == 0) {
        uint8_t *head = s_splice(self, 0, 0, HEAD_SIZE);
        (void)memset(head, 0, HEAD_SIZE);
        head[0] = CHECKPOINT_VERSION;
    }
}

bool registers_touch(registers_t *self, hlc_stamp_t hlc)
{
    if (hlc_compare(hlc, s_cleared(self)) <= 0 || hlc_compare(hlc, registers_written(self)) <= 0) {
        return false;
    }
    s_require_head(self);
    s_put_stamp(self->bytes + WRITTEN_OFFSET, hlc);
    s_invariant(self);
    return true;
}

/* Whether a is kept rather than b when there are too many. */
static bool s_outlasts(const register_view_t *a, const register_view_t *b)
{
    int order = hlc_compare(a->hlc, b->hlc);
    return order != 0 ? order > 0 : s_compare(a->name, b->name) < 0;
}

/* Takes away the register that all others outlast, if there are too many. */
static void s_limit(registers_t *self)
{
    size_t offset = HEAD_SIZE;
    size_t worst_offset = offset;
    size_t worst_size = 0;
    unsigned count = 0;
    register_view_t worst = {0};
    while (offset < self->size) {
        register_view_t found;
        size_t next = (size_t)(s_read(self->bytes + offset, &found) - self->bytes);
        if (count == 0 || s_outlasts(&worst, &found)) {
            worst = found;
            worst_offset = offset;
            worst_size = next - offset;
        }
        offset = next;
        count++;
    }
    if (count > REGISTER_COUNT_MAX) {
        (void)s_splice(self, worst_offset, worst_size, 0);
    }
}

static void s_write_at(registers_t *self,
                       size_t offset,
                       size_t removed,
                       const register_view_t *view)
{
    uint8_t *at = s_splice(self, offset, removed, FRAME_SIZE + view->name.size + view->value.size);
    bytes_put_u16(at, (uint16_t)view->name.size);
    at += 2;
    (void)memcpy(at, view->name.data, view->name.size);
    at += view->name.size;
    s_put_stamp(at, view->hlc);
    bytes_put_u32(at + STAMP_SIZE, (uint32_t)view->value.size);
    if (view->value.size > 0) {
        (void)memcpy(at + STAMP_SIZE + 4, view->value.data, view->value.size);
    }
}

/* Where a name is, or would go, and how many bytes its register has now (0: none). */
typedef struct {
    size_t offset;
    size_t size;
    register_view_t view; /* of the register that is there */
} place_t;

static place_t s_seek(const registers_t *self, slice_t name)
{
    place_t place = {.offset = HEAD_SIZE};
    while (place.offset < self->size) {
        size_t next = (size_t)(s_read(self->bytes + place.offset, &place.view) - self->bytes);
        int order = s_compare(place.view.name, name);
        if (order >= 0) {
            place.size = order == 0 ? next - place.offset : 0;
            return place;
        }
        place.offset = next;
    }
    return place;
}

bool registers_write(registers_t *self, slice_t name, hlc_stamp_t hlc, slice_t value)
{
    CHECK(name.size >= 1);
    CHECK(name.size <= REGISTER_NAME_SIZE_MAX);
    CHECK(value.size <= REGISTER_VALUE_SIZE_MAX);
    if (hlc_compare(hlc, s_cleared(self)) <= 0) {
        return false;
    }
    bool touched = registers_touch(self, hlc);
    place_t place = s_seek(self, name);
    if (place.size > 0) {
        int newer = hlc_compare(hlc, place.view.hlc);
        if (newer < 0 || (newer == 0 && s_compare(value, place.view.value) <= 0)) {
            return touched;
        }
    }
    s_write_at(self, place.offset, place.size, &(register_view_t){name, value, hlc});
    s_limit(self);
    s_invariant(self);
    return true;
}

bool registers_clear(registers_t *self, hlc_stamp_t hlc)
{
    if (hlc_compare(hlc, s_cleared(self)) <= 0) {
        return false;
    }
    s_require_head(self);
    s_put_stamp(self->bytes + CLEARED_OFFSET, hlc);
    if (hlc_compare(registers_written(self), hlc) <= 0) {
        s_put_stamp(self->bytes + WRITTEN_OFFSET, s_stamp_zero);
    }
    size_t offset = HEAD_SIZE;
    while (offset < self->size) {
        register_view_t found;
        size_t next = (size_t)(s_read(self->bytes + offset, &found) - self->bytes);
        if (hlc_compare(found.hlc, hlc) <= 0) {
            (void)s_splice(self, offset, next - offset, 0);
        } else {
            offset = next;
        }
    }
    s_invariant(self);
    return true;
}

/* -- from bytes -------------------------------------------------------------------------------- */

/* Whether a register lies whole within `left` bytes, with sizes in their bounds. */
static bool s_fits(const uint8_t *at, size_t left)
{
    if (left < FRAME_SIZE) {
        return false;
    }
    size_t name_size = bytes_get_u16(at);
    if (name_size < 1 || name_size > REGISTER_NAME_SIZE_MAX || name_size > left - FRAME_SIZE) {
        return false;
    }
    size_t value_size = bytes_get_u32(at + 2 + name_size + STAMP_SIZE);
    return value_size <= REGISTER_VALUE_SIZE_MAX && value_size <= left - FRAME_SIZE - name_size;
}

static bool s_registers_ok(slice_t bytes, hlc_stamp_t cleared, hlc_stamp_t written)
{
    const uint8_t *at = bytes.data + HEAD_SIZE;
    const uint8_t *end = bytes.data + bytes.size;
    slice_t before = slice_make(NULL, 0);
    for (unsigned count = 0; at < end; count++) {
        if (count == REGISTER_COUNT_MAX || !s_fits(at, (size_t)(end - at))) {
            return false;
        }
        register_view_t found;
        at = s_read(at, &found);
        if (found.hlc.wall_ns < 0 || hlc_compare(found.hlc, cleared) <= 0 ||
            hlc_compare(found.hlc, written) > 0 || s_compare(before, found.name) >= 0) {
            return false;
        }
        before = found.name;
    }
    return true;
}

static bool s_stamps_ok(hlc_stamp_t cleared, hlc_stamp_t written)
{
    if (cleared.wall_ns < 0 || written.wall_ns < 0) {
        return false;
    }
    return hlc_compare(written, s_stamp_zero) == 0 || hlc_compare(written, cleared) > 0;
}

err_t registers_decode(registers_t *self, slice_t bytes, errbuf_t *errbuf)
{
    if (bytes.size > 0 && bytes.data[0] > CHECKPOINT_VERSION) {
        errbuf_set(errbuf, "registers: version %u is later than %d, which this program knows",
                   (unsigned)bytes.data[0], CHECKPOINT_VERSION);
        return ERR_UNSUPPORTED;
    }
    if (bytes.size < HEAD_SIZE || bytes.data[0] != CHECKPOINT_VERSION) {
        errbuf_set(errbuf, "registers: expected version %d and %d bytes or more, found %zu",
                   CHECKPOINT_VERSION, HEAD_SIZE, bytes.size);
        return ERR_CORRUPT;
    }
    hlc_stamp_t cleared = s_get_stamp(bytes.data + CLEARED_OFFSET);
    hlc_stamp_t written = s_get_stamp(bytes.data + WRITTEN_OFFSET);
    if (!s_stamps_ok(cleared, written) || !s_registers_ok(bytes, cleared, written)) {
        errbuf_set(errbuf, "registers: stamps, names or sizes are not as they must be");
        return ERR_CORRUPT;
    }
    if (hlc_compare(written, s_stamp_zero) == 0 && hlc_compare(cleared, s_stamp_zero) == 0) {
        errbuf_set(errbuf, "registers: neither written nor deleted, yet there");
        return ERR_CORRUPT;
    }
    self->size = 0;
    (void)memcpy(s_splice(self, 0, 0, bytes.size), bytes.data, bytes.size);
    s_invariant(self);
    return ERR_OK;
}
