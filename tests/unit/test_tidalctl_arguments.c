/* Words and options of tidalctl, and the fields that become of them. */
#include "common/base/bounds.h"
#include "services/tidalctl/arguments.h"
#include "services/tidalctl/data_fields.h"
#include "services/tidalctl/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* -- times and numbers ------------------------------------------------------------------------- */

static void s_expect_time(const char *text, int64_t expected)
{
    int64_t ns = -1;
    if (arguments_parse_time(text, &ns) != ERR_OK || ns != expected) {
        fail_msg("%s: expected %lld, found %lld", text, (long long)expected, (long long)ns);
    }
}

static void s_expect_no_time(const char *text)
{
    int64_t ns = 0;
    if (arguments_parse_time(text, &ns) == ERR_OK) {
        fail_msg("'%s' was taken for a time", text);
    }
}

/* Every form of a time gives its nanoseconds; oracle: date -d of the same texts. */
static void test_arguments_time_every_form_is_read(void **state)
{
    (void)state;
    s_expect_time("0", 0);
    s_expect_time("1787400069000000000", 1787400069000000000);
    s_expect_time("1787400069s", 1787400069000000000);
    s_expect_time("1787400069000ms", 1787400069000000000);
    s_expect_time("5us", 5000);
    s_expect_time("7ns", 7);
    s_expect_time("1970-01-01T00:00:00Z", 0);
    s_expect_time("2026-08-22T12:01:09Z", 1787400069000000000);
    s_expect_time("2000-02-29T23:59:59Z", 951868799000000000);
}

/* What is no time is refused: signs, units that do not exist, numbers beyond 64 bits, bad dates. */
static void test_arguments_time_bad_ones_are_refused(void **state)
{
    (void)state;
    static const char *const s_bad[] = {"",
                                        "-1",
                                        "1x",
                                        "1.5s",
                                        " 1",
                                        "9223372036854775808",
                                        "9223372037s",
                                        "2026-8-22T12:01:09Z",
                                        "2026-13-01T00:00:00Z",
                                        "2026-08-22 12:01:09",
                                        "1969-12-31T23:59:59Z"};
    for (size_t i = 0; i < sizeof(s_bad) / sizeof(s_bad[0]); i++) {
        s_expect_no_time(s_bad[i]);
    }
}

/* Only finite numbers without anything behind them. */
static void test_arguments_f64_infinite_or_trailing_is_refused(void **state)
{
    (void)state;
    double value = 0;
    assert_int_equal(arguments_parse_f64("-2.5e3", &value), ERR_OK);
    assert_true(value == -2500.0);
    assert_int_equal(arguments_parse_f64("inf", &value), ERR_INVALID);
    assert_int_equal(arguments_parse_f64("nan", &value), ERR_INVALID);
    assert_int_equal(arguments_parse_f64("1e999", &value), ERR_INVALID);
    assert_int_equal(arguments_parse_f64("1 ", &value), ERR_INVALID);
    assert_int_equal(arguments_parse_f64("", &value), ERR_INVALID);
}

/* -- lines ------------------------------------------------------------------------------------- */

typedef struct {
    bool flag;
    const char *text;
    uint64_t number;
    arguments_list_t list;
} parsed_t;

static err_t s_parse(
    char **words, int count, bool stop, parsed_t *parsed, int *ret_first, errbuf_t *errbuf)
{
    const argument_t options[] = {
        {"flag", ARGUMENT_FLAG, &parsed->flag, NULL, "", 0, 0},
        {"text", ARGUMENT_TEXT, &parsed->text, "T", "", 0, 0},
        {"number", ARGUMENT_U64, &parsed->number, "N", "", 1, 9},
        {"list", ARGUMENT_LIST, &parsed->list, "V", "", 0, 0},
    };
    arguments_line_t line = {.word_count = count, .words = words, .stop_at_word = stop};
    err_t err = arguments_parse(options, 4, &line, errbuf);
    *ret_first = line.first;
    return err;
}

/* Options and words in any order: the words come last, in their order. */
static void test_arguments_line_options_between_words_are_found(void **state)
{
    (void)state;
    char *words[] = {
        (char *)"x",      (char *)"one",      (char *)"--number", (char *)"9", (char *)"two",
        (char *)"--flag", (char *)"--list=a", (char *)"--list",   (char *)"b", NULL};
    parsed_t parsed = {0};
    errbuf_t errbuf;
    int first = 0;
    assert_int_equal(s_parse(words, 9, false, &parsed, &first, &errbuf), ERR_OK);
    assert_true(parsed.flag);
    assert_int_equal(parsed.number, 9);
    assert_int_equal(parsed.list.count, 2);
    assert_string_equal(parsed.list.texts[1], "b");
    assert_int_equal(first, 7);
    assert_string_equal(words[7], "one");
    assert_string_equal(words[8], "two");
}

/* A line that stops at the first word leaves what follows to the command. */
static void test_arguments_line_that_stops_leaves_the_rest(void **state)
{
    (void)state;
    char *words[] = {(char *)"x", (char *)"--flag", (char *)"health", (char *)"--bogus", NULL};
    parsed_t parsed = {0};
    errbuf_t errbuf;
    int first = 0;
    assert_int_equal(s_parse(words, 4, true, &parsed, &first, &errbuf), ERR_OK);
    assert_int_equal(first, 2);
    assert_string_equal(words[2], "health");
}

/* What is wrong is named: an unknown option, a missing value, a number out of range. */
static void test_arguments_line_wrong_options_are_named(void **state)
{
    (void)state;
    char *unknown[] = {(char *)"x", (char *)"--bogus", NULL};
    char *missing[] = {(char *)"x", (char *)"--text", NULL};
    char *range[] = {(char *)"x", (char *)"--number", (char *)"10", NULL};
    parsed_t parsed = {0};
    errbuf_t errbuf;
    int first = 0;
    assert_int_equal(s_parse(unknown, 2, false, &parsed, &first, &errbuf), ERR_INVALID);
    assert_non_null(strstr(errbuf.text, "--bogus"));
    assert_int_equal(s_parse(missing, 2, false, &parsed, &first, &errbuf), ERR_INVALID);
    assert_non_null(strstr(errbuf.text, "--text"));
    assert_int_equal(s_parse(range, 3, false, &parsed, &first, &errbuf), ERR_INVALID);
    assert_non_null(strstr(errbuf.text, "1..9"));
}

/* -- fields ------------------------------------------------------------------------------------ */

/* The field as JSON, "" where it is refused. */
static void s_expect_field(data_kind_t kind, const char *text, const char *expected)
{
    const data_field_t field = {"WORD", "key", kind, NULL};
    buffer_t pack;
    buffer_t json;
    errbuf_t errbuf = {""};
    pack_writer_t writer;
    buffer_init(&pack);
    buffer_init(&json);
    pack_writer_init(&writer, &pack);
    if (data_field_write(&field, text, &writer, &errbuf) == ERR_OK) {
        json_write(buffer_slice(&pack), &json);
    } else {
        assert_non_null(strstr(errbuf.text, "WORD"));
    }
    buffer_append(&json, "", 1);
    assert_string_equal((const char *)json.data, expected);
    buffer_done(&pack);
    buffer_done(&json);
}

/* Every kind of field, good and bad. */
static void test_data_field_every_kind_is_written_or_refused(void **state)
{
    (void)state;
    s_expect_field(DATA_TEXT, "view", "\"view\"");
    s_expect_field(DATA_TEXT, "\xff", "");
    s_expect_field(DATA_U64, "18446744073709551615", "18446744073709551615");
    s_expect_field(DATA_U64, "-1", "");
    s_expect_field(DATA_F64, "2.5", "2.5");
    s_expect_field(DATA_F64, "x", "");
    s_expect_field(DATA_TIME, "3s", "3000000000");
    s_expect_field(DATA_TIME, "later", "");
    s_expect_field(DATA_BYTES, "0aff", "\"hex:0aff\"");
    s_expect_field(DATA_BYTES, "hex:0a", "\"hex:0a\"");
    s_expect_field(DATA_BYTES, "0af", "");
    s_expect_field(DATA_HLC, "5,6,7", "[5, 6, 7]");
    s_expect_field(DATA_HLC, "5,6", "");
    s_expect_field(DATA_HLC, "5,6,7,8", "");
    s_expect_field(DATA_U64_LIST, "1,2", "[1, 2]");
    s_expect_field(DATA_U64_LIST, "1,,2", "");
    s_expect_field(DATA_TEXT_LIST, "a,b", "[\"a\", \"b\"]");
    s_expect_field(DATA_TERM_LIST, "view:decay:1",
                   "[{\"signal\": \"view\", \"agg\": \"decay\", \"weight\": 1.0}]");
    s_expect_field(
        DATA_TERM_LIST, "like:count:24h:-5",
        "[{\"signal\": \"like\", \"agg\": \"count\", \"window\": \"24h\", \"weight\": -5.0}]");
    s_expect_field(DATA_TERM_LIST, "like", "");
    s_expect_field(DATA_TERM_LIST, "a:b:c:1:2", "");
}

/* Attributes become a map; of one name given twice the later one counts. */
static void test_data_field_attributes_later_one_counts(void **state)
{
    (void)state;
    const data_field_t field = {"NAME=VALUE", "attrs", DATA_ATTRIBUTES, NULL};
    char *words[] = {(char *)"a=1", (char *)"b=x=y", (char *)"a=2", NULL};
    char *bad[] = {(char *)"novalue", NULL};
    buffer_t pack;
    buffer_t json;
    errbuf_t errbuf;
    pack_writer_t writer;
    buffer_init(&pack);
    buffer_init(&json);
    pack_writer_init(&writer, &pack);
    assert_int_equal(data_field_write_attributes(&field, 3, words, &writer, &errbuf), ERR_OK);
    json_write(buffer_slice(&pack), &json);
    buffer_append(&json, "", 1);
    assert_string_equal((const char *)json.data, "{\"b\": \"x=y\", \"a\": \"2\"}");
    assert_int_equal(data_field_write_attributes(&field, 1, bad, &writer, &errbuf), ERR_INVALID);
    buffer_done(&pack);
    buffer_done(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_time_every_form_is_read),
        cmocka_unit_test(test_arguments_time_bad_ones_are_refused),
        cmocka_unit_test(test_arguments_f64_infinite_or_trailing_is_refused),
        cmocka_unit_test(test_arguments_line_options_between_words_are_found),
        cmocka_unit_test(test_arguments_line_that_stops_leaves_the_rest),
        cmocka_unit_test(test_arguments_line_wrong_options_are_named),
        cmocka_unit_test(test_data_field_every_kind_is_written_or_refused),
        cmocka_unit_test(test_data_field_attributes_later_one_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
