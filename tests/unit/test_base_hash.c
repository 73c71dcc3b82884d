/* The BLAKE3 that the build found is BLAKE3: known answers of the official test vectors. */
#include "common/base/bytes.h"

#include <blake3.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void s_hash_hex(const uint8_t *bytes, size_t size, char ret_text[2 * BLAKE3_OUT_LEN + 1])
{
    uint8_t hash[BLAKE3_OUT_LEN];
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, bytes, size);
    blake3_hasher_finalize(&hasher, hash, sizeof(hash));
    bytes_to_hex(hash, sizeof(hash), ret_text);
}

/* Goal: the empty input hashes to the published value. */
static void test_base_hash_empty_input_gives_known_answer(void **state)
{
    (void)state;
    char text[2 * BLAKE3_OUT_LEN + 1];
    s_hash_hex(NULL, 0, text);
    assert_string_equal(text, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
}

/* Goal: every code path of the library (assembly for many chunks included) agrees with hashing the
 * same bytes in small pieces, which uses the one-block path. */
static void test_base_hash_large_input_equals_hash_in_pieces(void **state)
{
    (void)state;
    enum { SIZE = 65536 + 17 };
    static uint8_t s_bytes[SIZE];
    for (size_t i = 0; i < SIZE; i++) {
        s_bytes[i] = (uint8_t)(i % 251);
    }
    uint8_t pieces[BLAKE3_OUT_LEN];
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    for (size_t i = 0; i < SIZE; i++) {
        blake3_hasher_update(&hasher, &s_bytes[i], 1);
    }
    blake3_hasher_finalize(&hasher, pieces, sizeof(pieces));
    char expected[2 * BLAKE3_OUT_LEN + 1];
    char found[2 * BLAKE3_OUT_LEN + 1];
    bytes_to_hex(pieces, sizeof(pieces), expected);
    s_hash_hex(s_bytes, SIZE, found);
    assert_string_equal(found, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_hash_empty_input_gives_known_answer),
        cmocka_unit_test(test_base_hash_large_input_equals_hash_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
