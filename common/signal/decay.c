#include "common/signal/decay.h"

#include "common/base/check.h"
#include "common/signal/power.h"
#include "common/topology/schema.h"

#include <assert.h>
#include <string.h>

static const int64_t s_ns_per_s = 1000000000;
enum { MANTISSA_BITS = 52 };

static_assert((int64_t)SIGNAL_HALF_LIFE_S_MAX * 1000000000 * DECAY_LANDMARK_HALF_LIVES <
                  INT64_MAX / 8,
              "a landmark fits a signed 64-bit number of ns with room to add");

void decay_init(decay_t *self, int64_t half_life_s)
{
    CHECK(half_life_s >= SIGNAL_HALF_LIFE_S_MIN);
    CHECK(half_life_s <= SIGNAL_HALF_LIFE_S_MAX);
    self->half_life_ns = half_life_s * s_ns_per_s;
    self->span_ns = self->half_life_ns * DECAY_LANDMARK_HALF_LIVES;
    self->recent_ns = 0;
}

int64_t decay_landmark(decay_t *self, int64_t ts_ns)
{
    CHECK(ts_ns >= 0);
    if ((uint64_t)(ts_ns - self->recent_ns) >= (uint64_t)self->span_ns) {
        self->recent_ns = ts_ns - ts_ns % self->span_ns;
    }
    return self->recent_ns;
}

/* A double as mantissa * 2^exponent, without its sign. */
typedef struct {
    uint64_t mantissa; /* below 2^53 */
    int exponent;
} parts_t;

static uint64_t s_bits(double value)
{
    uint64_t bits;
    (void)memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static parts_t s_parts(uint64_t bits)
{
    int biased = (int)(bits >> MANTISSA_BITS & 0x7ff);
    uint64_t fraction = bits & ((UINT64_C(1) << MANTISSA_BITS) - 1);
    if (biased == 0) {
        return (parts_t){fraction, -1074};
    }
    return (parts_t){fraction | UINT64_C(1) << MANTISSA_BITS, biased - 1075};
}

uint128_t decay_amount(const decay_t *self, int64_t since_landmark_ns, double weight)
{
    int64_t whole = since_landmark_ns / self->half_life_ns;
    int64_t rest_ns = since_landmark_ns - whole * self->half_life_ns;
    CHECK((uint64_t)whole < DECAY_LANDMARK_HALF_LIVES);
    double power = power_of_two((double)rest_ns / (double)self->half_life_ns);

    uint64_t weight_bits = s_bits(weight);
    parts_t w = s_parts(weight_bits);
    parts_t p = s_parts(s_bits(power));
    uint128_t product = (uint128_t)w.mantissa * p.mantissa;
    /* w <= 1e9 < 2^30 and p <= 2: the exponents are at most -23 and -51, and the product,
     * in units of 2^-40, has at least 19 bits behind the point. */
    int shift = -(w.exponent + p.exponent + (int)whole + DECAY_UNIT_BITS);
    CHECK(shift >= 1);
    if (shift > 2 * (MANTISSA_BITS + 1) + 1) {
        return 0; /* less than half a unit */
    }
    uint128_t amount = (product + ((uint128_t)1 << (shift - 1))) >> shift;
    return weight_bits >> 63 != 0 ? -amount : amount;
}

double decay_factor(const decay_t *self, int64_t landmark_ns, int64_t at_ns)
{
    CHECK(at_ns >= 0);
    int64_t elapsed_ns = at_ns - landmark_ns;
    CHECK(elapsed_ns >= -self->span_ns);
    /* 2^-(whole + rest) with 0 <= rest < 1; whole from -16 up. */
    int64_t whole = elapsed_ns / self->half_life_ns;
    int64_t rest_ns = elapsed_ns % self->half_life_ns;
    if (rest_ns < 0) {
        whole--;
        rest_ns += self->half_life_ns;
    }
    if (whole > 1080) {
        return 0.0;
    }
    double part = power_of_two(-((double)rest_ns / (double)self->half_life_ns));
    return part * power_of_two((double)-whole);
}

double decay_score_with(const uint128_t sums[DECAY_LANDMARKS_KEPT], double factor)
{
    /* One landmark back is 16 half-lives: another factor of exactly 2^-16. */
    double sum = (double)(int128_t)sums[0];
    sum += (double)(int128_t)sums[1] * 0x1p-16;
    sum += (double)(int128_t)sums[2] * 0x1p-32;
    sum += (double)(int128_t)sums[3] * 0x1p-48;
    return sum * 0x1p-40 * factor;
}

double decay_score(const decay_t *self,
                   const uint128_t sums[DECAY_LANDMARKS_KEPT],
                   int64_t landmark_ns,
                   int64_t at_ns)
{
    return decay_score_with(sums, decay_factor(self, landmark_ns, at_ns));
}
