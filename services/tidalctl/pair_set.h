/* A set of pairs of numbers, each with a byte of the caller's. */
#ifndef TIDAL_SERVICES_TIDALCTL_PAIR_SET_H
#define TIDAL_SERVICES_TIDALCTL_PAIR_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t a;
    uint64_t b;
    uint8_t value;
    bool used;
} pair_entry_t;

/* Zeroed memory is an empty set. */
typedef struct {
    pair_entry_t *entries;
    size_t count;
    size_t capacity; /* power of two */
} pair_set_t;

/* The value of a pair, 0 when it is new; the pointer lives until the next call. */
uint8_t *pair_set_require(pair_set_t *self, uint64_t a, uint64_t b);
/* NULL when it is not there. */
const uint8_t *pair_set_find(const pair_set_t *self, uint64_t a, uint64_t b);
void pair_set_done(pair_set_t *self);

#endif
