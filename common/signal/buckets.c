#include "common/signal/buckets.h"

#include "common/base/check.h"

#include <string.h>

/* Index of the first entry that is not older than age, or the count. */
static uint32_t s_first_within(const buckets_t *self, int64_t newest, uint32_t age)
{
    uint32_t low = 0;
    uint32_t high = *self->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (bucket_age(self->entries[middle], newest) > age) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint64_t *buckets_find(const buckets_t *self, int64_t newest, uint32_t age)
{
    uint32_t i = s_first_within(self, newest, age);
    if (i < *self->count && bucket_age(self->entries[i], newest) == age) {
        return &self->entries[i];
    }
    return NULL;
}

void buckets_insert(const buckets_t *self, int64_t newest, uint32_t age, uint64_t count)
{
    uint32_t used = *self->count;
    CHECK(used < self->capacity);
    uint32_t i = used;
    if (used > 0 && bucket_age(self->entries[used - 1], newest) <= age) {
        i = s_first_within(self, newest, age);
        CHECK(bucket_age(self->entries[i], newest) < age);
        (void)memmove(&self->entries[i + 1], &self->entries[i],
                      (used - i) * sizeof(self->entries[0]));
    }
    self->entries[i] = bucket_entry(newest, age, count);
    *self->count = (uint16_t)(used + 1);
    *self->total += count;
}

void buckets_change(const buckets_t *self, uint64_t *entry, int64_t delta)
{
    uint64_t count = bucket_count(*entry) + (uint64_t)delta;
    CHECK(count <= BUCKET_COUNT_MAX);
    *entry = (*entry & ~BUCKET_COUNT_MAX) | count;
    *self->total += (uint64_t)delta;
}

void buckets_prune(const buckets_t *self, int64_t newest_before, int64_t newest, uint32_t kept)
{
    CHECK(newest >= newest_before);
    int64_t step = newest - newest_before;
    if (step >= kept) {
        *self->count = 0;
        *self->total = 0;
        return;
    }
    uint32_t used = *self->count;
    uint32_t dropped = 0;
    while (dropped < used &&
           bucket_age(self->entries[dropped], newest_before) + (uint32_t)step >= kept) {
        *self->total -= bucket_count(self->entries[dropped]);
        dropped++;
    }
    if (dropped > 0) {
        (void)memmove(self->entries, self->entries + dropped,
                      (used - dropped) * sizeof(self->entries[0]));
        *self->count = (uint16_t)(used - dropped);
    }
}

static uint64_t s_sum(const uint64_t *entries, uint32_t first, uint32_t end)
{
    uint64_t sum = 0;
    for (uint32_t i = first; i < end; i++) {
        sum += entries[i] & BUCKET_COUNT_MAX;
    }
    return sum;
}

uint64_t buckets_sum(const buckets_t *self, int64_t newest, uint32_t age_min, uint32_t age_max)
{
    uint32_t used = *self->count;
    if (used == 0 || age_min > age_max) {
        return 0;
    }
    uint32_t first = s_first_within(self, newest, age_max);
    uint32_t end = age_min <= 1 ? used : s_first_within(self, newest, age_min - 1);
    /* Whichever part is shorter is added up. */
    if (end - first <= used / 2) {
        return s_sum(self->entries, first, end);
    }
    return *self->total - s_sum(self->entries, 0, first) - s_sum(self->entries, end, used);
}
