#include "common/signal/rows.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_ALIGNMENT = 64 };

static_assert(((uint64_t)1 << (ROWS_CHUNK_COUNT_MAX + ROWS_CHUNK_BITS)) >= ROWS_COUNT_MAX,
              "the chunks hold the largest table");

void rows_init(rows_t *self, uint32_t row_size)
{
    CHECK(row_size > 0);
    *self = (rows_t){.row_size = row_size};
}

void rows_done(rows_t *self)
{
    for (unsigned i = 0; i < ROWS_CHUNK_COUNT_MAX; i++) {
        free(self->chunks[i]);
        self->chunks[i] = NULL;
    }
    self->count = 0;
    self->size_bytes = 0;
}

/* The chunk that holds `row`, which is the first one of it that is used. */
static void s_add_chunk(rows_t *self, uint32_t row)
{
    unsigned chunk = 0;
    while (((uint64_t)2 << (chunk + ROWS_CHUNK_BITS)) <= (uint64_t)row + (1U << ROWS_CHUNK_BITS)) {
        chunk++;
    }
    CHECK(chunk < ROWS_CHUNK_COUNT_MAX);
    if (self->chunks[chunk] != NULL) {
        return;
    }
    size_t size = ((size_t)1 << (chunk + ROWS_CHUNK_BITS)) * self->row_size;
    self->chunks[chunk] = aligned_alloc(ROW_ALIGNMENT, size);
    CHECK(self->chunks[chunk] != NULL);
    self->size_bytes += size;
}

uint32_t rows_append(rows_t *self)
{
    CHECK(self->count < ROWS_COUNT_MAX - (1 << ROWS_CHUNK_BITS));
    uint32_t row = self->count + 1;
    uint32_t place = row + (1U << ROWS_CHUNK_BITS);
    if (row == 1 || (place & (place - 1)) == 0) {
        s_add_chunk(self, row);
    }
    self->count = row;
    void *bytes = rows_at(self, row);
    (void)memset(bytes, 0, self->row_size);
    return row;
}
