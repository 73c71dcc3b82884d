#include "common/wal/record_cohorts.h"

#include "common/base/check.h"

enum { COUNTS_SIZE = 4 };

static uint32_t s_sum(const uint8_t *sizes, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += sizes[i];
    }
    return sum;
}

/* Takes the column apart by its own lengths; false when they do not fill it exactly. */
static bool s_split(slice_t column, uint32_t event_count, record_cohorts_t *ret_cohorts)
{
    if (column.size < COUNTS_SIZE) {
        return false;
    }
    record_cohorts_t self = {.name_count = bytes_get_u16(column.data),
                             .set_count = bytes_get_u16(column.data + 2),
                             .set_numbers = column.data + COUNTS_SIZE};
    size_t left = column.size - COUNTS_SIZE;
    const size_t numbers = (self.set_count > UINT8_MAX ? 2 : 1) * (size_t)event_count;
    if (left < numbers + self.set_count) {
        return false;
    }
    left -= numbers + self.set_count;
    self.set_sizes = self.set_numbers + numbers;
    self.member_count = s_sum(self.set_sizes, self.set_count);
    self.members = self.set_sizes + self.set_count;
    const size_t members = (self.name_count > UINT8_MAX + 1 ? 2 : 1) * (size_t)self.member_count;
    if (left < members + self.name_count) {
        return false;
    }
    left -= members + self.name_count;
    self.name_sizes = self.members + members;
    self.names = self.name_sizes + self.name_count;
    *ret_cohorts = self;
    return left == s_sum(self.name_sizes, self.name_count);
}

bool record_cohorts_open(const record_signals_t *signals, record_cohorts_t *ret_cohorts)
{
    if (signals->cohorts.size == 0) {
        return false;
    }
    bool fits = s_split(signals->cohorts, signals->count, ret_cohorts);
    CHECK(fits); /* record_cohorts_check has seen it */
    return true;
}

/* -- checks ------------------------------------------------------------------------------------ */

static err_t s_corrupt(errbuf_t *errbuf, const char *expected, size_t at)
{
    errbuf_set(errbuf, "SIGNALS record, cohorts: expected %s, found otherwise at %zu", expected,
               at);
    return ERR_CORRUPT;
}

/* Numbers of sets in the order of their first use: so each is used, and equal batches are equal. */
static err_t s_check_numbers(const record_cohorts_t *self, uint32_t event_count, errbuf_t *errbuf)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < event_count; i++) {
        const uint32_t number = record_cohorts_set(self, i);
        if (number > used + 1 || number > self->set_count) {
            return s_corrupt(errbuf, "sets numbered by their first use", i);
        }
        used = number > used ? number : used;
    }
    return used == self->set_count ? ERR_OK
                                   : s_corrupt(errbuf, "each set with an event", self->set_count);
}

/* The members of one set, which are noted as used. */
static bool s_set_ok(const record_cohorts_t *self, uint32_t place, uint32_t size, uint8_t *used)
{
    for (uint32_t i = 0; i < size; i++) {
        const uint32_t name = record_cohorts_member(self, place + i);
        if (name >= self->name_count ||
            (i > 0 && name <= record_cohorts_member(self, place + i - 1))) {
            return false;
        }
        used[name] = 1;
    }
    return size >= 1 && size <= USER_ATTRIBUTE_COUNT_MAX;
}

static err_t s_check_sets(const record_cohorts_t *self, errbuf_t *errbuf)
{
    uint8_t used[COHORT_NAME_COUNT_MAX];
    uint32_t place = 0;
    memset(used, 0, self->name_count);
    for (uint32_t s = 0; s < self->set_count; s++) {
        if (!s_set_ok(self, place, self->set_sizes[s], used)) {
            return s_corrupt(errbuf, "sets of 1..64 names in rising order", s);
        }
        place += self->set_sizes[s];
    }
    const uint32_t used_count = s_sum(used, self->name_count);
    return used_count == self->name_count ? ERR_OK
                                          : s_corrupt(errbuf, "each name in a set", used_count);
}

static bool s_is_before(slice_t a, slice_t b)
{
    const size_t size = a.size < b.size ? a.size : b.size;
    const int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order < 0 || (order == 0 && a.size < b.size);
}

static err_t s_check_names(const record_cohorts_t *self, errbuf_t *errbuf)
{
    slice_t before = slice_make(NULL, 0);
    const uint8_t *at = self->names;
    for (uint32_t i = 0; i < self->name_count; i++) {
        const slice_t name = slice_make(at, self->name_sizes[i]);
        if (name.size < 1 || name.size > NAME_LENGTH_MAX || !bytes_are_utf8(name) ||
            !s_is_before(before, name)) {
            return s_corrupt(errbuf, "names of 1..64 bytes of UTF-8 in rising order", i);
        }
        before = name;
        at += name.size;
    }
    return ERR_OK;
}

err_t record_cohorts_check(const record_signals_t *signals, errbuf_t *errbuf)
{
    record_cohorts_t self;
    if (!s_split(signals->cohorts, signals->count, &self)) {
        return s_corrupt(errbuf, "sizes that fill the column", signals->cohorts.size);
    }
    if (self.name_count < 1 || self.name_count > COHORT_NAME_COUNT_MAX || self.set_count < 1 ||
        self.set_count > COHORT_SET_COUNT_MAX) {
        return s_corrupt(errbuf, "1..16384 names and sets", self.name_count);
    }
    err_t err = s_check_numbers(&self, signals->count, errbuf);
    if (err == ERR_OK) {
        err = s_check_sets(&self, errbuf);
    }
    return err == ERR_OK ? s_check_names(&self, errbuf) : err;
}

/* -- one event --------------------------------------------------------------------------------- */

uint32_t record_cohorts_get(const record_signals_t *signals,
                            uint32_t i,
                            slice_t ret_names[USER_ATTRIBUTE_COUNT_MAX])
{
    CHECK(i < signals->count);
    record_cohorts_t self;
    const uint32_t set = record_cohorts_open(signals, &self) ? record_cohorts_set(&self, i) : 0;
    if (set == 0) {
        return 0;
    }
    uint32_t place = s_sum(self.set_sizes, set - 1);
    const uint32_t size = self.set_sizes[set - 1];
    const uint8_t *at = self.names;
    uint32_t name = 0;
    for (uint32_t m = 0; m < size; m++) {
        const uint32_t wanted = record_cohorts_member(&self, place++);
        for (; name < wanted; name++) {
            at += self.name_sizes[name];
        }
        ret_names[m] = slice_make(at, self.name_sizes[name]);
    }
    return size;
}
