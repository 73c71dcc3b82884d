/* Error codes and the text that travels with them. */
#include "common/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Goal: a number that is no code still has a text. */
static void test_err_text_unknown_code_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(err_text((err_t)-1000), "unknown error code");
}

/* Goal: every code has a text of its own; ERR_OK is zero, all others negative. */
static void test_err_text_every_code_is_told_apart(void **state)
{
    (void)state;
    static const err_t s_codes[] = {
#define ERR_ROW(name, value, text) name,
        ERR_LIST(ERR_ROW)
#undef ERR_ROW
    };
    unsigned count = sizeof(s_codes) / sizeof(s_codes[0]);
    assert_int_equal(ERR_OK, 0);
    for (unsigned i = 0; i < count; i++) {
        assert_true(i == 0 || (int)s_codes[i] < 0);
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(err_text(s_codes[i]), err_text(s_codes[j]));
        }
    }
}

/* Goal: a caller who wants no text gives none. */
static void test_errbuf_null_is_allowed(void **state)
{
    (void)state;
    errbuf_set(NULL, "%d", 1);
    errbuf_prefix(NULL, "%d", 1);
    errbuf_t errbuf = {"kept"};
    assert_string_equal(errbuf.text, "kept");
}

/* Goal: prefixes stand from the intention down to the cause. */
static void test_errbuf_prefix_puts_the_intention_first(void **state)
{
    (void)state;
    errbuf_t errbuf = {""};
    errbuf_set(&errbuf, "found %d", 7);
    errbuf_prefix(&errbuf, "reading %s", "field");
    errbuf_prefix(&errbuf, "loading");
    assert_string_equal(errbuf.text, "loading: reading field: found 7");
}

/* Goal: a text longer than the buffer is cut and terminated, by set and by prefix. */
static void test_errbuf_too_long_is_cut_and_terminated(void **state)
{
    (void)state;
    char word[2 * ERRBUF_SIZE_BYTES];
    (void)memset(word, 'a', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    errbuf_t errbuf = {""};
    errbuf_set(&errbuf, "%s", word);
    assert_int_equal(strlen(errbuf.text), ERRBUF_SIZE_BYTES - 1);
    errbuf_prefix(&errbuf, "b");
    assert_int_equal(strlen(errbuf.text), ERRBUF_SIZE_BYTES - 1);
    assert_memory_equal(errbuf.text, "b: aaa", 6);
    errbuf_prefix(&errbuf, "%s", word);
    assert_int_equal(strlen(errbuf.text), ERRBUF_SIZE_BYTES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_text_unknown_code_has_a_text),
        cmocka_unit_test(test_err_text_every_code_is_told_apart),
        cmocka_unit_test(test_errbuf_null_is_allowed),
        cmocka_unit_test(test_errbuf_prefix_puts_the_intention_first),
        cmocka_unit_test(test_errbuf_too_long_is_cut_and_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
