/* Entry of the fuzzer of common/wire, shared with the unit test that runs it over mutations. */
#ifndef TIDAL_TESTS_FUZZ_FUZZ_WIRE_H
#define TIDAL_TESTS_FUZZ_FUZZ_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Feeds the bytes to every decoder of the folder. Whatever decodes must encode again, and what is
 * said about it must be text. Aborts when not so. */
/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
