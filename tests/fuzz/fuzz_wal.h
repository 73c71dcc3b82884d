/* Entry of the fuzzer of common/wal, shared with the unit test that runs it over mutations. */
#ifndef TIDAL_TESTS_FUZZ_FUZZ_WAL_H
#define TIDAL_TESTS_FUZZ_FUZZ_WAL_H

#include "common/base/bytes.h"
#include "common/base/prng.h"

/* The first byte says what the others are: blocks to decode, a payload, blocks offered to a
 * replica, the last segment of a log, or that of a replica. Whatever is accepted must be whole and
 * readable, whatever is refused must leave no trace. Aborts when not so. */
/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A well-formed input of a random kind. */
void fuzz_wal_make_seed(prng_t *prng, buffer_t *out);

#endif
