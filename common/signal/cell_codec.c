/* The canonical bytes of a cell: checkpoint_format.h. */
#include "common/base/check.h"
#include "common/base/varint.h"
#include "common/signal/cell.h"
#include "common/signal/cell_tail.h"
#include "common/signal/checkpoint_format.h"

static const int64_t s_minute_ns = INT64_C(60) * 1000000000;
static const int64_t s_hour_ns = INT64_C(3600) * 1000000000;

enum { HEAD_SIZE = 1 + 8 + 1, SUM_SIZE = 16, COUNT_BITS_SIZE = 7 };

static_assert(HEAD_SIZE + DECAY_LANDMARKS_KEPT * SUM_SIZE + VARINT_SIZE_MAX +
                      (1 + MINUTES_KEPT * (1 + COUNT_BITS_SIZE)) +
                      (2 + HOURS_KEPT * (2 + COUNT_BITS_SIZE)) + 2 * VARINT_SIZE_MAX <=
                  CELL_VALUE_SIZE_MAX,
              "the fullest cell fits");

/* -- to bytes ---------------------------------------------------------------------------------- */

static uint8_t *s_put_buckets(uint8_t *at,
                              const buckets_t *list,
                              int64_t newest,
                              uint64_t newest_count)
{
    uint32_t used = newest_count > 0 ? 1 : 0;
    for (uint32_t i = 0; i < *list->count; i++) {
        used += bucket_count(list->entries[i]) > 0 ? 1 : 0;
    }
    at = varint_put(at, used);
    if (newest_count > 0) {
        *at++ = 0;
        at = varint_put(at, newest_count);
    }
    uint32_t before = 0;
    for (uint32_t i = *list->count; i > 0; i--) {
        uint64_t count = bucket_count(list->entries[i - 1]);
        if (count > 0) {
            uint32_t age = bucket_age(list->entries[i - 1], newest);
            at = varint_put(at, age - before);
            at = varint_put(at, count);
            before = age;
        }
    }
    return at;
}

static uint8_t *s_put_sums(uint8_t *at, const cell_t *self)
{
    uint8_t *mask = at++;
    *mask = 0;
    for (unsigned i = 0; i < DECAY_LANDMARKS_KEPT; i++) {
        uint128_t sum = cell_sum(self, i);
        if (sum != 0) {
            *mask = (uint8_t)(*mask | 1U << i);
            bytes_put_u64(at, (uint64_t)sum);
            bytes_put_u64(at + 8, (uint64_t)(sum >> 64));
            at += SUM_SIZE;
        }
    }
    return at;
}

size_t cell_encode(const cell_t *self, uint8_t *ret_bytes)
{
    CHECK(self->newest_ns >= 0);
    uint8_t *at = ret_bytes;
    *at++ = CHECKPOINT_VERSION;
    bytes_put_u64(at, (uint64_t)self->newest_ns);
    at = s_put_sums(at + 8, self);
    at = varint_put(at, self->count);
    uint16_t none = 0;
    buckets_t minutes = {NULL, &none, 0, NULL};
    buckets_t hours = minutes;
    if (self->tail != NULL) {
        minutes = cell_tail_minutes(self->tail);
        hours = cell_tail_hours(self->tail);
    }
    at = s_put_buckets(at, &minutes, self->newest_ns / s_minute_ns, self->minute_count);
    at = s_put_buckets(at, &hours, self->newest_ns / s_hour_ns, self->hour_count);
    size_t size = (size_t)(at - ret_bytes);
    CHECK(size <= CELL_VALUE_SIZE_MAX);
    return size;
}

/* -- from bytes -------------------------------------------------------------------------------- */

/* What is left of the value; ok turns false for good at the first thing that is not as it must be.
 */
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    bool ok;
} cursor_t;

static uint64_t s_take_varint(cursor_t *cursor, uint64_t min, uint64_t max)
{
    uint64_t value = 0;
    bool taken = cursor->ok && varint_take(&cursor->at, cursor->end, &value);
    cursor->ok = taken && value >= min && value <= max;
    return cursor->ok ? value : 0;
}

static const uint8_t *s_take(cursor_t *cursor, size_t size)
{
    if (!cursor->ok || (size_t)(cursor->end - cursor->at) < size) {
        cursor->ok = false;
        return NULL;
    }
    const uint8_t *bytes = cursor->at;
    cursor->at += size;
    return bytes;
}

static void s_take_sums(cursor_t *cursor, cell_t *cell, memory_t *memory)
{
    const uint8_t *mask_byte = s_take(cursor, 1);
    unsigned mask = cursor->ok ? *mask_byte : 0;
    cursor->ok = cursor->ok && mask < 1U << DECAY_LANDMARKS_KEPT;
    for (unsigned i = 0; i < DECAY_LANDMARKS_KEPT && cursor->ok; i++) {
        if ((mask >> i & 1) == 0) {
            continue;
        }
        const uint8_t *bytes = s_take(cursor, SUM_SIZE);
        if (bytes == NULL) {
            return;
        }
        uint128_t sum = (uint128_t)bytes_get_u64(bytes + 8) << 64 | bytes_get_u64(bytes);
        cursor->ok = sum != 0;
        if (i == 0) {
            cell->sum = sum;
        } else {
            cell_tail_reserve(&cell->tail, memory, (cell_room_t){.older = true});
            cell_tail_older(cell->tail)[i - 1] = sum;
        }
    }
}

/* Youngest first in the bytes, oldest first in the list. */
static void s_take_bucket_rest(
    cursor_t *cursor, const buckets_t *list, int64_t newest, uint64_t age, uint32_t kept)
{
    for (uint32_t i = *list->count; i > 0; i--) {
        if (age == 0) {
            age = s_take_varint(cursor, 1, kept - 1);
        }
        uint64_t count = s_take_varint(cursor, 1, BUCKET_COUNT_MAX);
        if (!cursor->ok) {
            return;
        }
        list->entries[i - 1] = bucket_entry(newest, (uint32_t)age, count);
        *list->total += count;
        if (i > 1) {
            age += s_take_varint(cursor, 1, kept);
            cursor->ok = cursor->ok && age < kept;
        }
    }
}

static void s_take_buckets(cursor_t *cursor, cell_t *cell, memory_t *memory, bool is_minutes)
{
    uint32_t kept = is_minutes ? MINUTES_KEPT : HOURS_KEPT;
    uint32_t used = (uint32_t)s_take_varint(cursor, 0, kept);
    if (used == 0) {
        return;
    }
    uint64_t age = s_take_varint(cursor, 0, kept - 1);
    if (cursor->ok && age == 0) {
        uint64_t count = s_take_varint(cursor, 1, UINT64_MAX);
        *(is_minutes ? &cell->minute_count : &cell->hour_count) = count;
        used--;
    }
    if (!cursor->ok || used == 0) {
        return;
    }
    cell_room_t room = {is_minutes ? used : 0, is_minutes ? 0 : used, false};
    cell_tail_reserve(&cell->tail, memory, room);
    buckets_t list = is_minutes ? cell_tail_minutes(cell->tail) : cell_tail_hours(cell->tail);
    *list.count = (uint16_t)used;
    s_take_bucket_rest(cursor, &list, cell->newest_ns / (is_minutes ? s_minute_ns : s_hour_ns), age,
                       kept);
}

/* The relations between the numbers that every cell has. */
static bool s_is_sound(const cell_t *cell)
{
    uint64_t older_minutes = cell->tail == NULL ? 0 : cell->tail->minute_total;
    uint64_t older_hours = cell->tail == NULL ? 0 : cell->tail->hour_total;
    return cell->minute_count <= cell->hour_count && cell->hour_count <= cell->count &&
           older_hours <= cell->count - cell->hour_count && older_minutes <= cell->count;
}

err_t cell_decode(cell_t *self, memory_t *memory, slice_t value, errbuf_t *errbuf)
{
    CHECK(self->newest_ns < 0);
    if (value.size > 0 && value.data[0] > CHECKPOINT_VERSION) {
        errbuf_set(errbuf, "cell: version %u is later than %d, which this program knows",
                   (unsigned)value.data[0], CHECKPOINT_VERSION);
        return ERR_UNSUPPORTED;
    }
    cursor_t cursor = {value.data, value.data + value.size, true};
    const uint8_t *head = s_take(&cursor, 9);
    if (head == NULL || head[0] != CHECKPOINT_VERSION || head[8] > 0x7f) {
        errbuf_set(errbuf, "cell: expected version %d and a time since 1970, found %zu other bytes",
                   CHECKPOINT_VERSION, value.size);
        return ERR_CORRUPT;
    }
    self->newest_ns = (int64_t)bytes_get_u64(head + 1);
    s_take_sums(&cursor, self, memory);
    self->count = s_take_varint(&cursor, 0, UINT64_MAX);
    s_take_buckets(&cursor, self, memory, true);
    s_take_buckets(&cursor, self, memory, false);
    if (!cursor.ok || cursor.at != cursor.end) {
        errbuf_set(errbuf, "cell: malformed at byte %td of %zu", cursor.at - value.data,
                   value.size);
        return ERR_CORRUPT;
    }
    if (!s_is_sound(self)) {
        errbuf_set(errbuf, "cell: its minutes or hours count more events than it has");
        return ERR_CORRUPT;
    }
    return ERR_OK;
}
