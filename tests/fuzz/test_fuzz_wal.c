/* The fuzzer's entry over 20,000 deterministic mutations of segments, blocks and payloads, so that
 * every build runs what the fuzzer would find first. */
#include "common/base/check.h"
#include "tests/fuzz/fuzz_wal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MUTATION_COUNT = 20000, SEED_SIZE_MAX = 64 * 1024 };

/* One small change: a bit, a byte, a cut, a part moved or repeated, zeros, or a number made huge.
 * The first byte, which says what the input is, stays. */
static void s_mutate(prng_t *prng, buffer_t *bytes)
{
    if (bytes->size < 2) {
        return;
    }
    const size_t at = 1 + (size_t)prng_below(prng, bytes->size - 1);
    const size_t run = (size_t)prng_below(prng, bytes->size - at + 1);
    switch (prng_below(prng, 7)) {
    case 0:
        bytes->data[at] ^= (uint8_t)(1U << prng_below(prng, 8));
        break;
    case 1:
        bytes->data[at] = (uint8_t)prng_next(prng);
        break;
    case 2:
        bytes->size = at;
        break;
    case 3:
        if (bytes->size < SEED_SIZE_MAX) {
            uint8_t *end = buffer_extend(bytes, run);
            memcpy(end, bytes->data + at, run);
        }
        break;
    case 4:
        memset(bytes->data + at, 0, run);
        break;
    case 5:
        memset(bytes->data + at, 0xff, run < 8 ? run : 8);
        break;
    default:
        memmove(bytes->data + at, bytes->data + at + run, bytes->size - at - run);
        bytes->size -= run;
        break;
    }
}

static void s_expect_harmless(const buffer_t *bytes)
{
    /* memory of exactly their size, so that a sanitizer sees one byte too far */
    uint8_t *exact = malloc(bytes->size == 0 ? 1 : bytes->size);
    CHECK(exact != NULL);
    if (bytes->size > 0) {
        memcpy(exact, bytes->data, bytes->size);
    }
    assert_int_equal(LLVMFuzzerTestOneInput(exact, bytes->size), 0);
    free(exact);
}

/* Goal: no mutation does more than get a refusal. Method: the fuzzer's entry checks itself. */
static void test_fuzz_wal_mutations_are_harmless(void **state)
{
    (void)state;
    prng_t prng;
    buffer_t bytes;
    prng_init(&prng, 20240607);
    buffer_init(&bytes);
    for (uint32_t i = 0; i < MUTATION_COUNT; i++) {
        if (i % 4 == 0) {
            fuzz_wal_make_seed(&prng, &bytes);
            s_expect_harmless(&bytes);
        }
        s_mutate(&prng, &bytes);
        s_expect_harmless(&bytes);
    }
    buffer_done(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fuzz_wal_mutations_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
