/* How far each of many streams is known: stream -> seq of its last known event.
 *
 * A stream that is not named is known up to 0, and none is named with 0; so equal vectors have
 * equal entries. Entries stand in the order of stream_id_compare and are public to be read, as the
 * arrays that messages carry. Merging (the higher seq of each stream) is commutative, associative
 * and idempotent; the floor (the lower one) as well.
 *
 * Memory grows with the streams named, 40 bytes each; who takes vectors from others holds them
 * against STREAM_COUNT_MAX before. Out of memory is a CHECK. */
#ifndef TIDAL_COMMON_CRDT_VERSION_VECTOR_H
#define TIDAL_COMMON_CRDT_VERSION_VECTOR_H

#include "common/base/ids.h"

/* All zero: empty. Entries are read only, and move with the next change. */
typedef struct {
    uint32_t count;
    uint32_t capacity;
    stream_position_t *entries; /* seq 1.. */
} version_vector_t;

/* What two vectors are to each other. */
typedef enum {
    VERSION_VECTOR_EQUAL,
    VERSION_VECTOR_BEFORE, /* a knows nothing that b does not, and less */
    VERSION_VECTOR_AFTER,  /* the other way round */
    VERSION_VECTOR_CONCURRENT
} version_vector_order_t;

/* Frees and empties; may be called twice. */
void version_vector_done(version_vector_t *self);
/* Empties and keeps the memory. */
void version_vector_clear(version_vector_t *self);

/* 0 for a stream that is not named. cost O(log streams) */
uint64_t version_vector_get(const version_vector_t *self, stream_id_t stream);
/* Whether anything changed: a seq that is not higher changes nothing.
 * cost O(log streams), O(streams) for one that was not named */
bool version_vector_raise(version_vector_t *self, stream_id_t stream, uint64_t seq);

/* All three: cost O(streams of both). */
/* Each stream at the higher seq of both. */
void version_vector_merge(version_vector_t *self, const version_vector_t *other);
/* Each stream at the lower seq of both; what one of them does not name is gone. */
void version_vector_floor(version_vector_t *self, const version_vector_t *other);
version_vector_order_t version_vector_compare(const version_vector_t *a, const version_vector_t *b);

/* Whether all that inner knows is known here. */
bool version_vector_covers(const version_vector_t *self, const version_vector_t *inner);
bool version_vector_equal(const version_vector_t *a, const version_vector_t *b);

#endif
