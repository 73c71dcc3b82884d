/* Two to the power of x, with the same bits on every processor and with every compiler.
 *
 * The exponentials of C libraries choose other code, and return other bits, on a processor with
 * fused multiply-add. Decayed sums are added up on every replica and compared bit for bit, so this
 * one is made of additions and multiplications of IEEE 754 doubles alone (all flags of the build
 * forbid their contraction), a table and a short polynomial. tests/golden/power_of_two.txt holds
 * bits for thousands of arguments. */
#ifndef TIDAL_COMMON_SIGNAL_POWER_H
#define TIDAL_COMMON_SIGNAL_POWER_H

/* 2^x, rounding mode to nearest (which no code of this project changes).
 * in   x  not NaN
 * out  within 0.52 units in the last place of the true value for -1022 <= x < 1024; exact for every
 *      integer x; never falls when x rises.
 *      Below -1022 the result is subnormal and within one unit of 2^-1074; below -1080 it is 0.
 *      From 1024 on it is infinite.
 * cost about 4 ns; no allocation */
double power_of_two(double x);

#endif
