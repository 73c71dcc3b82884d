#include "common/signal/memory.h"

#include "common/base/check.h"

#include <stdlib.h>

void *memory_take(memory_t *self, size_t size)
{
    void *block = malloc(size);
    CHECK(block != NULL);
    self->size_bytes += size + MEMORY_BLOCK_OVERHEAD;
    return block;
}

void memory_give(memory_t *self, void *block, size_t size)
{
    if (block != NULL) {
        CHECK(self->size_bytes >= size + MEMORY_BLOCK_OVERHEAD);
        self->size_bytes -= size + MEMORY_BLOCK_OVERHEAD;
        free(block);
    }
}
