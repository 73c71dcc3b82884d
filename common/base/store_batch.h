/* What one transaction of a store is to do: puts and deletes, in the order in which they were asked
 * for. Of several operations on one key the last one wins.
 *
 * The bytes lie one operation after the other in one growing piece of memory, so a put costs a
 * copy. A store (seam.h) takes the batch with submit; it is never looked at by two threads at once.
 */
#ifndef TIDAL_COMMON_BASE_STORE_BATCH_H
#define TIDAL_COMMON_BASE_STORE_BATCH_H

#include "common/base/bytes.h"
#include "common/base/seam.h"

typedef enum { STORE_OPERATION_PUT = 1, STORE_OPERATION_DELETE = 2 } store_operation_kind_t;

/* One operation; the slices borrow from the batch until it is changed or destroyed. */
typedef struct {
    store_operation_kind_t kind;
    slice_t key;   /* 1..STORE_KEY_SIZE_MAX bytes */
    slice_t value; /* empty for a delete */
} store_operation_t;

/* Where a walk over a batch stands; {0} is the beginning. */
typedef struct {
    size_t next;
} store_batch_cursor_t;

store_batch_t *store_batch_new(void);
/* Nulls; NULL is allowed. */
void store_batch_destroy(store_batch_t **self_p);

/* copies key and value.
 * in key 1..STORE_KEY_SIZE_MAX bytes, value 0..STORE_VALUE_SIZE_MAX bytes; more is a CHECK */
void store_batch_put(store_batch_t *self, slice_t key, slice_t value);
/* A put whose value the caller writes: returns value_size bytes, not initialised, all of which must
 * be written before the batch is used otherwise. The pointer lives until then. copies key */
uint8_t *store_batch_reserve_put(store_batch_t *self, slice_t key, size_t value_size);
/* A key that the store does not have is deleted without an error. copies key */
void store_batch_delete(store_batch_t *self, slice_t key);

/* Operations in it, each one counted that was asked for. */
size_t store_batch_count(const store_batch_t *self);

/* From here on, until the next put or delete, a walk sees the operations in key order (bytes
 * compared as unsigned, a prefix first) and of each key only the last one.
 * cost O(n log n) once, O(n) when the keys were put in rising order; 16 bytes per operation */
void store_batch_sort(store_batch_t *self);
/* The next operation; false at the end. */
bool store_batch_next(const store_batch_t *self,
                      store_batch_cursor_t *cursor,
                      store_operation_t *ret_operation);

#endif
