/* Which row a stream has: a sorted index over the rows that a core keeps in an array of its own.
 *
 * Rows are numbered from 0 in the order in which streams were met and never move; a walk goes in
 * the order of stream_id_compare, never in that of arrival or memory. */
#ifndef TIDAL_COMMON_REPLICATION_STREAM_INDEX_H
#define TIDAL_COMMON_REPLICATION_STREAM_INDEX_H

#include "common/base/bounds.h"
#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/ids.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_INDEX_CAPACITY_MIN = 16 };

typedef struct {
    stream_id_t stream;
    uint32_t row;
} stream_index_entry_t;

typedef struct {
    stream_index_entry_t *entries; /* sorted; NULL while capacity is 0 */
    uint32_t count;                /* 0..STREAM_COUNT_MAX; also the number of the next row */
    uint32_t capacity;
} stream_index_t;

static inline void stream_index_init(stream_index_t *self)
{
    *self = (stream_index_t){0};
}

/* Frees; may be called twice. */
static inline void stream_index_done(stream_index_t *self)
{
    free(self->entries);
    *self = (stream_index_t){0};
}

/* Place in the walk of the first stream that is not before this one; `count` none. */
static inline uint32_t stream_index_lower_bound(const stream_index_t *self, stream_id_t stream)
{
    uint32_t low = 0;
    uint32_t high = self->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (stream_id_compare(self->entries[middle].stream, stream) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Place in the walk of the first stream of this tenant, or of the next higher one; `count` none. */
static inline uint32_t stream_index_first_of(const stream_index_t *self, tenant_id_t tenant)
{
    return stream_index_lower_bound(self, (stream_id_t){.tenant = tenant});
}

/* out ret_row written only when true */
static inline bool stream_index_find(const stream_index_t *self,
                                     stream_id_t stream,
                                     uint32_t *ret_row)
{
    uint32_t place = stream_index_lower_bound(self, stream);
    if (place == self->count || !stream_id_equal(self->entries[place].stream, stream)) {
        return false;
    }
    *ret_row = self->entries[place].row;
    return true;
}

/* Finds or adds. A new stream has row `count - 1` afterwards, which the caller sets up.
 * errs ERR_FULL there are STREAM_COUNT_MAX already; ret_ untouched
 * cost O(log n) when known, else one move of the entries behind it */
static inline err_t stream_index_require(stream_index_t *self,
                                         stream_id_t stream,
                                         uint32_t *ret_row,
                                         bool *ret_is_new)
{
    CHECK(self->count <= self->capacity);
    uint32_t place = stream_index_lower_bound(self, stream);
    if (place < self->count && stream_id_equal(self->entries[place].stream, stream)) {
        *ret_row = self->entries[place].row;
        *ret_is_new = false;
        return ERR_OK;
    }
    if (self->count == STREAM_COUNT_MAX) {
        return ERR_FULL;
    }
    if (self->count == self->capacity) {
        uint32_t capacity = self->capacity == 0 ? STREAM_INDEX_CAPACITY_MIN : self->capacity * 2;
        stream_index_entry_t *entries = realloc(self->entries, capacity * sizeof(*entries));
        CHECK(entries != NULL);
        self->entries = entries;
        self->capacity = capacity;
    }
    (void)memmove(&self->entries[place + 1], &self->entries[place],
                  (self->count - place) * sizeof(self->entries[0]));
    self->entries[place] = (stream_index_entry_t){stream, self->count};
    *ret_row = self->count++;
    *ret_is_new = true;
    return ERR_OK;
}
static_assert((STREAM_COUNT_MAX & (STREAM_COUNT_MAX - 1)) == 0, "doubles up to the limit");

#endif
