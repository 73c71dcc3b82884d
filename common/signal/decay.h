/* Forward decay in whole numbers (design idea 3; Cormode et al., ICDE 2009).
 *
 * Time is cut into landmarks of 16 half-lives. An event is worth w * 2^((t - L) / half_life) at its
 * landmark L, a number that never changes again, so the events of one landmark are added up as they
 * come, in any order. The sum is a 128-bit integer in units of 2^-40: integer addition commutes,
 * and subtracting the same amount undoes it exactly.
 *
 * An amount is rounded once: the mantissas of the weight and of the power of two are multiplied as
 * integers, and their 106-bit product is rounded to the unit, halves away from zero, so that the
 * amount of -w is minus the amount of w. |w| <= 1e9 gives amounts below 2^86; sums wrap at 2^128
 * (after more than 2^41 of the largest events of one cell and landmark). */
#ifndef TIDAL_COMMON_SIGNAL_DECAY_H
#define TIDAL_COMMON_SIGNAL_DECAY_H

#include <stdbool.h>
#include <stdint.h>

__extension__ typedef unsigned __int128 uint128_t;
__extension__ typedef __int128 int128_t;

enum {
    DECAY_LANDMARK_HALF_LIVES = 16,
    DECAY_LANDMARKS_KEPT = 4, /* k_max - 3 .. k_max */
    DECAY_UNIT_BITS = 40      /* sums are in units of 2^-40 */
};

/* How one signal type decays. */
typedef struct {
    int64_t half_life_ns; /* 60 s .. 365 days */
    int64_t span_ns;      /* of a landmark, 16 half-lives; below 2^59 */
    int64_t recent_ns;    /* a cache: the landmark asked for last */
} decay_t;

/* in half_life_s SIGNAL_HALF_LIFE_S_MIN..SIGNAL_HALF_LIFE_S_MAX of the schema */
void decay_init(decay_t *self, int64_t half_life_s);

/* Beginning of the landmark of ts_ns (>= 0): the largest multiple of span_ns that is not above. */
int64_t decay_landmark(decay_t *self, int64_t ts_ns);

/* What an event of this weight is worth at its landmark, as a two's complement number to be added
 * to the sum (or subtracted from it).
 * in since_landmark_ns 0..span_ns-1; weight finite, |weight| <= 1e9 */
uint128_t decay_amount(const decay_t *self, int64_t since_landmark_ns, double weight);

/* The value at a time of sums kept for the landmark that begins at landmark_ns and for the three
 * before it (sums[i] is i landmarks back).
 * in   at_ns  not before landmark_ns - span_ns, where the result is largest
 * out  finite; the same sums and times give the same bits */
double decay_score(const decay_t *self,
                   const uint128_t sums[DECAY_LANDMARKS_KEPT],
                   int64_t landmark_ns,
                   int64_t at_ns);

/* 2^(-(at_ns - landmark_ns) / half_life), what decay_score multiplies by. Many cells of one
 * landmark share it. */
double decay_factor(const decay_t *self, int64_t landmark_ns, int64_t at_ns);
/* decay_score with the factor that was found for (landmark, at). */
double decay_score_with(const uint128_t sums[DECAY_LANDMARKS_KEPT], double factor);

#endif
