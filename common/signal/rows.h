/* A table of rows of one size that never move: row numbers and pointers stay valid for the life of
 * the table. Row 0 means none.
 *
 * Chunk c holds 64 << c rows, so growing copies nothing and the pointers to all chunks fit an array
 * of fixed size. A new chunk is not touched before its rows are used. */
#ifndef TIDAL_COMMON_SIGNAL_ROWS_H
#define TIDAL_COMMON_SIGNAL_ROWS_H

#include "common/base/check.h"

#include <stddef.h>
#include <stdint.h>

enum {
    ROWS_CHUNK_BITS = 6,
    ROWS_CHUNK_COUNT_MAX = 24,
    /* Row numbers leave the top bit of 31 free; memory ends long before. */
    ROWS_COUNT_MAX = 1 << 30
};

typedef struct {
    uint8_t *chunks[ROWS_CHUNK_COUNT_MAX];
    uint32_t row_size;   /* bytes */
    uint32_t count;      /* rows used, 1..count */
    uint64_t size_bytes; /* of all chunks */
} rows_t;

void rows_init(rows_t *self, uint32_t row_size);
/* Frees; may be called twice. */
void rows_done(rows_t *self);

/* A new row, zeroed; returns its number. Beyond ROWS_COUNT_MAX: CHECK. */
uint32_t rows_append(rows_t *self);

/* in row 1..count; not checked on the hot path beyond what the chunk table catches */
static inline void *rows_at(const rows_t *self, uint32_t row)
{
    uint32_t place = row + (1U << ROWS_CHUNK_BITS);
    uint32_t chunk = 31U - (uint32_t)__builtin_clz(place) - ROWS_CHUNK_BITS;
    size_t offset = place - ((size_t)1 << (chunk + ROWS_CHUNK_BITS));
    return self->chunks[chunk] + offset * self->row_size;
}

#endif
