/* The fuzzer's entry over 200,000 deterministic mutations of messages, requests and tokens, so that
 * every build runs what the fuzzer would find first. */
#include "common/base/check.h"
#include "common/wire/msg_fields.h"
#include "common/wire/token.h"
#include "tests/fuzz/fuzz_wire.h"
#include "tests/unit/wire_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MUTATION_COUNT = 200000, SEED_SIZE_MAX = 64 * 1024 };

/* A well-formed message or request to begin from. */
static void s_make_seed(prng_t *prng, buffer_t *out)
{
    uint32_t pick = (uint32_t)prng_below(prng, 64);
    buffer_clear(out);
    if (wire_sample_request(pick, out)) {
        return;
    }
    wire_random_t random;
    uint32_t type = 0;
    while (wire_message_type(type + 1) != 0 && prng_below(prng, 12) != 0) {
        type++;
    }
    wire_random_init(&random, prng_next(prng), 3);
    msg_t msg = wire_random_message(&random, wire_message_type(type));
    msg_encode(&msg, out);
    wire_random_done(&random);
}

/* One small change: a byte, a bit, a cut, bytes repeated, or a count made huge. */
static void s_mutate(prng_t *prng, buffer_t *bytes)
{
    if (bytes->size == 0) {
        return;
    }
    size_t at = (size_t)prng_below(prng, bytes->size);
    switch (prng_below(prng, 6)) {
    case 0:
        bytes->data[at] = (uint8_t)prng_next(prng);
        break;
    case 1:
        bytes->data[at] ^= (uint8_t)(1U << prng_below(prng, 8));
        break;
    case 2:
        bytes->size = at;
        break;
    case 3:
        if (bytes->size < SEED_SIZE_MAX) {
            size_t size = bytes->size - at;
            uint8_t *end = buffer_extend(bytes, size);
            memcpy(end, bytes->data + at, size);
        }
        break;
    case 4:
        memset(bytes->data + at, 0xff, bytes->size - at < 4 ? bytes->size - at : 4);
        break;
    default:
        bytes->data[at] = (uint8_t)(0xc0 + prng_below(prng, 32));
        break;
    }
}

/* Goal: no mutation does more than get a refusal. Method: the fuzzer's entry checks itself; the
 * bytes lie in memory of exactly their size, so that a sanitizer sees one byte too far. */
static void test_fuzz_wire_mutations_are_harmless(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 20240601);
    buffer_t seed;
    buffer_init(&seed);
    uint32_t runs = 0;
    for (uint32_t i = 0; i < MUTATION_COUNT; i++) {
        if (i % 8 == 0) {
            s_make_seed(&prng, &seed);
        }
        s_mutate(&prng, &seed);
        uint8_t *exact = malloc(seed.size == 0 ? 1 : seed.size);
        assert_non_null(exact);
        if (seed.size > 0) {
            memcpy(exact, seed.data, seed.size);
        }
        runs += LLVMFuzzerTestOneInput(exact, seed.size) == 0 ? 1 : 0;
        free(exact);
    }
    assert_int_equal(runs, MUTATION_COUNT);
    buffer_done(&seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuzz_wire_mutations_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
