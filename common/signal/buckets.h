/* Counts of events per bucket of time: one list for minutes and one for hours of a cell, both
 * without the newest bucket, which lies in the cell itself.
 *
 * A list is sparse and sorted, oldest first. An entry is one number: the low 48 bits count events,
 * the high 16 are the bucket's number modulo 2^16. Lists never reach back 2^16 buckets, so the age
 * of an entry, in buckets before the newest one, is a difference modulo 2^16. Entries whose count
 * has gone back to zero may stay: they equal missing ones. */
#ifndef TIDAL_COMMON_SIGNAL_BUCKETS_H
#define TIDAL_COMMON_SIGNAL_BUCKETS_H

#include "common/base/check.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    MINUTES_KEPT = 120, /* 2 h: the newest minute and 119 before it */
    HOURS_KEPT = 744,   /* 31 days: the newest hour and 743 before it */
    BUCKET_COUNT_BITS = 48
};
#define BUCKET_COUNT_MAX ((UINT64_C(1) << BUCKET_COUNT_BITS) - 1)

static_assert(HOURS_KEPT < 1 << 15, "ages are told apart modulo 2^16");

/* A view of one list: the memory belongs to the cell's tail. */
typedef struct {
    uint64_t *entries;
    uint16_t *count;
    uint16_t capacity;
    uint64_t *total; /* sum of all counts in the list */
} buckets_t;

/* One entry. in age below 2^15, count up to BUCKET_COUNT_MAX (checked) */
static inline uint64_t bucket_entry(int64_t newest, uint32_t age, uint64_t count)
{
    CHECK(count <= BUCKET_COUNT_MAX);
    CHECK(age < 1U << 15);
    return (uint64_t)(((uint32_t)newest - age) & 0xffff) << BUCKET_COUNT_BITS | count;
}

static inline uint64_t bucket_count(uint64_t entry)
{
    return entry & BUCKET_COUNT_MAX;
}

/* Age of an entry (1 and up) before the bucket numbered `newest`. */
static inline uint32_t bucket_age(uint64_t entry, int64_t newest)
{
    return ((uint32_t)newest - (uint32_t)(entry >> BUCKET_COUNT_BITS)) & 0xffff;
}

/* The entry of this age; NULL when there is none. */
uint64_t *buckets_find(const buckets_t *self, int64_t newest, uint32_t age);
/* Adds an entry of this age, which has none yet and for which there is room.
 * in age 1..(kept - 1), count below 2^48
 * cost one move when it is the youngest entry, else a binary search and a memmove */
void buckets_insert(const buckets_t *self, int64_t newest, uint32_t age, uint64_t count);
/* Changes the count of an entry; it stays within 0..2^48-1 (checked). */
void buckets_change(const buckets_t *self, uint64_t *entry, int64_t delta);
/* Drops every entry that is `kept` or more buckets before the one numbered `newest`; ages are still
 * those before `newest_before`, which is not above it. */
void buckets_prune(const buckets_t *self, int64_t newest_before, int64_t newest, uint32_t kept);

/* Events in the entries with age_min <= age <= age_max. */
uint64_t buckets_sum(const buckets_t *self, int64_t newest, uint32_t age_min, uint32_t age_max);

#endif
