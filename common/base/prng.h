/* Seeded pseudo-random numbers (xoshiro256** of Blackman and Vigna, seeded by splitmix64). The same
 * seed gives the same numbers on every machine. Not for secrets. */
#ifndef TIDAL_COMMON_BASE_PRNG_H
#define TIDAL_COMMON_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t state[4];
} prng_t;

void prng_init(prng_t *self, uint64_t seed);
uint64_t prng_next(prng_t *self);
/* Even over 0..bound-1; bound >= 1. */
uint64_t prng_below(prng_t *self, uint64_t bound);
/* Even over [0, 1). */
double prng_unit(prng_t *self);
/* True with this probability (0..1). */
bool prng_chance(prng_t *self, double probability);

#endif
