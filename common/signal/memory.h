/* Blocks of the system's heap, counted: how a ledger knows what its cells take. */
#ifndef TIDAL_COMMON_SIGNAL_MEMORY_H
#define TIDAL_COMMON_SIGNAL_MEMORY_H

#include <stddef.h>
#include <stdint.h>

enum { MEMORY_BLOCK_OVERHEAD = 8 }; /* of the heap, per block: counted in */

typedef struct {
    uint64_t size_bytes; /* of all blocks that are out, with their overhead */
} memory_t;

/* Not initialised, aligned for every type. Running out of memory is a CHECK. */
void *memory_take(memory_t *self, size_t size);
/* in size the one that it was taken with; block may be NULL (then size does not matter) */
void memory_give(memory_t *self, void *block, size_t size);

#endif
