#include "common/base/prng.h"

#include "common/base/check.h"

static uint64_t s_splitmix(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t s_rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

void prng_init(prng_t *self, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++) {
        self->state[i] = s_splitmix(&seed);
    }
}

uint64_t prng_next(prng_t *self)
{
    uint64_t *s = self->state;
    uint64_t result = s_rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s_rotate(s[3], 45);
    return result;
}

uint64_t prng_below(prng_t *self, uint64_t bound)
{
    CHECK(bound > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value = prng_next(self);
    while (value >= limit) {
        value = prng_next(self);
    }
    return value % bound;
}

double prng_unit(prng_t *self)
{
    return (double)(prng_next(self) >> 11) * 0x1.0p-53;
}

bool prng_chance(prng_t *self, double probability)
{
    return prng_unit(self) < probability;
}
