/* store_t in memory, for the simulation and for tests: the contract of the seam without a disk.
 *
 * A submitted batch completes at the next poll, or, while the store is held, when the test says so.
 * Until then a crash loses it, whole. Nothing here depends on time, addresses or chance: the same
 * calls give the same answers. Keys lie in sorted blocks, so a put into n pairs costs O(log n) plus
 * moving at most one block. */
#ifndef TIDAL_COMMON_STORE_STORE_MEMORY_H
#define TIDAL_COMMON_STORE_STORE_MEMORY_H

#include "common/base/seam.h"

#include <stdbool.h>

typedef struct store_memory store_memory_t;

store_memory_t *store_memory_new(void);
/* Nulls; NULL is allowed. */
void store_memory_destroy(store_memory_t **self_p);

/* The seam; lives as long as self. */
store_t store_memory_store(store_memory_t *self);

/* While held, poll says ERR_AGAIN for a submitted batch until store_memory_complete. */
void store_memory_hold(store_memory_t *self, bool is_held);
/* The submitted batch, if any, becomes durable (or fails) now; poll still has to report it. */
void store_memory_complete(store_memory_t *self);

/* The process is gone: a batch that was not complete is lost, what was complete stays, failures and
 * holding end. The store is then as one that was just opened. */
void store_memory_crash(store_memory_t *self);

/* The next batch to complete fails with this: ERR_DISK_FULL passes, others are for good, until a
 * crash. */
void store_memory_fail_next(store_memory_t *self, err_t err);

size_t store_memory_pair_count(const store_memory_t *self);
/* Of keys and values. */
uint64_t store_memory_size_bytes(const store_memory_t *self);

#endif
