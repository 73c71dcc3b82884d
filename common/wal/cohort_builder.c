#include "common/wal/cohort_builder.h"

#include "common/base/check.h"

#include <stdlib.h>
#include <xxhash.h>

enum { SLOT_BITS_MIN = 6 };

/* Byte strings numbered from 1 in the order of their first appearance. */
typedef struct {
    uint64_t hash;
    uint32_t offset; /* in bytes */
    uint32_t size;
} s_key_t;

typedef struct {
    buffer_t bytes; /* all strings, end to end */
    buffer_t keys;  /* s_key_t */
    uint32_t count;
    uint32_t slot_bits;
    uint32_t *slots; /* numbers by hash; 0 free. At most half of them are taken */
} s_table_t;

struct cohort_builder {
    s_table_t names;
    s_table_t sets;                             /* a set as its names' numbers, u16 each, rising */
    buffer_t events;                            /* u16: number of the set */
    uint16_t current[USER_ATTRIBUTE_COUNT_MAX]; /* names of the next event, rising */
    uint32_t current_count;
    bool is_too_large;
};

static_assert(COHORT_NAME_COUNT_MAX <= UINT16_MAX, "numbers of names are u16");
static_assert(COHORT_SET_COUNT_MAX <= UINT16_MAX, "numbers of sets are u16");

/* -- tables ------------------------------------------------------------------------------------ */

static void s_table_init(s_table_t *self)
{
    *self = (s_table_t){.slot_bits = SLOT_BITS_MIN};
    self->slots = calloc((size_t)1 << SLOT_BITS_MIN, sizeof(*self->slots));
    CHECK(self->slots != NULL);
}

static void s_table_done(s_table_t *self)
{
    buffer_done(&self->bytes);
    buffer_done(&self->keys);
    free(self->slots);
}

static void s_table_clear(s_table_t *self)
{
    buffer_clear(&self->bytes);
    buffer_clear(&self->keys);
    if (self->count > 0) {
        memset(self->slots, 0, sizeof(*self->slots) << self->slot_bits);
    }
    self->count = 0;
}

static s_key_t s_key(const s_table_t *self, uint32_t number)
{
    s_key_t key;
    memcpy(&key, self->keys.data + (size_t)(number - 1) * sizeof(key), sizeof(key));
    return key;
}

static slice_t s_string(const s_table_t *self, uint32_t number)
{
    const s_key_t key = s_key(self, number);
    return slice_make(self->bytes.data + key.offset, key.size);
}

/* The slot of a string, or the free one where it goes. */
static uint32_t s_seek(const s_table_t *self, slice_t string, uint64_t hash)
{
    const uint32_t mask = (UINT32_C(1) << self->slot_bits) - 1;
    uint32_t slot = (uint32_t)hash & mask;
    while (self->slots[slot] != 0 && (s_key(self, self->slots[slot]).hash != hash ||
                                      !slice_equal(s_string(self, self->slots[slot]), string))) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void s_grow(s_table_t *self)
{
    free(self->slots);
    self->slot_bits++;
    self->slots = calloc((size_t)1 << self->slot_bits, sizeof(*self->slots));
    CHECK(self->slots != NULL);
    for (uint32_t number = 1; number <= self->count; number++) {
        const slice_t string = s_string(self, number);
        self->slots[s_seek(self, string, s_key(self, number).hash)] = number;
    }
}

/* Number of a string; a new one gets the next, 0 when there are count_max already. */
static uint32_t s_require(s_table_t *self, slice_t string, uint32_t count_max)
{
    const uint64_t hash = XXH3_64bits(string.data, string.size);
    const uint32_t found = self->slots[s_seek(self, string, hash)];
    if (found != 0 || self->count == count_max) {
        return found;
    }
    if ((self->count + 1) * 2 > UINT32_C(1) << self->slot_bits) {
        s_grow(self);
    }
    const s_key_t key = {hash, (uint32_t)self->bytes.size, (uint32_t)string.size};
    self->slots[s_seek(self, string, hash)] = ++self->count;
    buffer_append(&self->bytes, string.data, string.size);
    buffer_append(&self->keys, &key, sizeof(key));
    return self->count;
}

/* -- events ------------------------------------------------------------------------------------ */

cohort_builder_t *cohort_builder_new(void)
{
    cohort_builder_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    s_table_init(&self->names);
    s_table_init(&self->sets);
    return self;
}

void cohort_builder_destroy(cohort_builder_t **self_p)
{
    cohort_builder_t *self = *self_p;
    if (self != NULL) {
        s_table_done(&self->names);
        s_table_done(&self->sets);
        buffer_done(&self->events);
        free(self);
        *self_p = NULL;
    }
}

void cohort_builder_begin(cohort_builder_t *self)
{
    s_table_clear(&self->names);
    s_table_clear(&self->sets);
    buffer_clear(&self->events);
    self->current_count = 0;
    self->is_too_large = false;
}

/* Puts v into a rising list that does not have it; with it the list stays as it is. */
static uint32_t s_insert(uint16_t *list, uint32_t count, uint16_t v)
{
    uint32_t at = count;
    while (at > 0 && list[at - 1] > v) {
        at--;
    }
    if (at > 0 && list[at - 1] == v) {
        return count;
    }
    memmove(&list[at + 1], &list[at], (count - at) * sizeof(*list));
    list[at] = v;
    return count + 1;
}

void cohort_builder_add_name(cohort_builder_t *self, slice_t name)
{
    CHECK(name.size >= 1 && name.size <= NAME_LENGTH_MAX);
    CHECK(self->current_count < USER_ATTRIBUTE_COUNT_MAX);
    const uint32_t number = s_require(&self->names, name, COHORT_NAME_COUNT_MAX);
    if (number == 0) {
        self->is_too_large = true;
        return;
    }
    self->current_count = s_insert(self->current, self->current_count, (uint16_t)number);
}

uint32_t cohort_builder_put_event(cohort_builder_t *self)
{
    uint32_t number = 0;
    if (self->current_count > 0) {
        const slice_t set = slice_make(self->current, self->current_count * sizeof(*self->current));
        number = s_require(&self->sets, set, COHORT_SET_COUNT_MAX);
        self->is_too_large = self->is_too_large || number == 0;
        self->current_count = 0;
    }
    cohort_builder_put_set(self, number);
    return number;
}

void cohort_builder_put_set(cohort_builder_t *self, uint32_t number)
{
    CHECK(number <= self->sets.count);
    bytes_put_u16(buffer_extend(&self->events, 2), (uint16_t)number);
}

bool cohort_builder_is_empty(const cohort_builder_t *self)
{
    return self->sets.count == 0;
}

/* -- the record -------------------------------------------------------------------------------- */

/* A name and its number, for sorting. */
typedef struct {
    slice_t string;
    uint32_t number;
} s_named_t;

static int s_compare_names(const void *a_any, const void *b_any)
{
    const s_named_t *a = a_any;
    const s_named_t *b = b_any;
    const size_t size = a->string.size < b->string.size ? a->string.size : b->string.size;
    const int order = memcmp(a->string.data, b->string.data, size);
    return order != 0 ? order
                      : (a->string.size > b->string.size) - (a->string.size < b->string.size);
}

/* All names in order, and by number the place of each. */
typedef struct {
    s_named_t *sorted;
    uint16_t *places;
} s_order_t;

static s_order_t s_sort_names(const s_table_t *names)
{
    s_order_t order = {calloc(names->count, sizeof(*order.sorted)),
                       calloc((size_t)names->count + 1, sizeof(*order.places))};
    CHECK(order.sorted != NULL && order.places != NULL);
    for (uint32_t i = 0; i < names->count; i++) {
        order.sorted[i] = (s_named_t){s_string(names, i + 1), i + 1};
    }
    qsort(order.sorted, names->count, sizeof(*order.sorted), s_compare_names);
    for (uint32_t i = 0; i < names->count; i++) {
        order.places[order.sorted[i].number] = (uint16_t)i;
    }
    return order;
}

static void s_put_number(buffer_t *out, uint32_t number, bool wide)
{
    if (wide) {
        bytes_put_u16(buffer_extend(out, 2), (uint16_t)number);
    } else {
        *buffer_extend(out, 1) = (uint8_t)number;
    }
}

static void s_put_members(const cohort_builder_t *self, const uint16_t *places, buffer_t *out)
{
    for (uint32_t number = 1; number <= self->sets.count; number++) {
        const slice_t set = s_string(&self->sets, number);
        uint16_t members[USER_ATTRIBUTE_COUNT_MAX];
        uint32_t count = 0;
        for (size_t at = 0; at < set.size; at += sizeof(uint16_t)) {
            uint16_t name;
            memcpy(&name, set.data + at, sizeof(name));
            count = s_insert(members, count, places[name]);
        }
        for (uint32_t i = 0; i < count; i++) {
            s_put_number(out, members[i], self->names.count > UINT8_MAX + 1);
        }
    }
}

static void s_put_column(const cohort_builder_t *self, buffer_t *out)
{
    const s_order_t order = s_sort_names(&self->names);
    bytes_put_u16(buffer_extend(out, 2), (uint16_t)self->names.count);
    bytes_put_u16(buffer_extend(out, 2), (uint16_t)self->sets.count);
    for (size_t at = 0; at < self->events.size; at += 2) {
        s_put_number(out, bytes_get_u16(self->events.data + at), self->sets.count > UINT8_MAX);
    }
    for (uint32_t number = 1; number <= self->sets.count; number++) {
        *buffer_extend(out, 1) =
            (uint8_t)(s_key(&self->sets, number).size / sizeof(*self->current));
    }
    s_put_members(self, order.places, out);
    for (uint32_t i = 0; i < self->names.count; i++) {
        *buffer_extend(out, 1) = (uint8_t)order.sorted[i].string.size;
    }
    for (uint32_t i = 0; i < self->names.count; i++) {
        buffer_append(out, order.sorted[i].string.data, order.sorted[i].string.size);
    }
    free(order.sorted);
    free(order.places);
}

err_t cohort_builder_append(cohort_builder_t *self,
                            slice_t record,
                            buffer_t *payload,
                            errbuf_t *errbuf)
{
    CHECK(record.size > RECORD_HEADER_SIZE && record.data[0] == RECORD_SIGNALS);
    CHECK(self->events.size == 2 * (size_t)bytes_get_u32(record.data + 4));
    CHECK((bytes_get_u16(record.data + 2) & RECORD_COHORTS) == 0);
    CHECK(!cohort_builder_is_empty(self));
    if (self->is_too_large) {
        errbuf_set(errbuf,
                   "cohorts: expected at most %d different ones of a batch's users; send fewer "
                   "signals at once",
                   COHORT_NAME_COUNT_MAX);
        return ERR_TOO_LARGE;
    }
    const size_t start = payload->size;
    buffer_append(payload, record.data, record.size);
    s_put_column(self, payload);
    bytes_put_u16(payload->data + start + 2,
                  (uint16_t)(bytes_get_u16(record.data + 2) | RECORD_COHORTS));
    bytes_put_u32(payload->data + start + 8,
                  (uint32_t)(payload->size - start - RECORD_HEADER_SIZE));
    return ERR_OK;
}
