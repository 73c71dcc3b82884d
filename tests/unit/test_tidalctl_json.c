/* JSON and msgpack in one another, the words of `tidalctl call`, and replies as text. */
#include "services/tidalctl/call_fields.h"
#include "services/tidalctl/json.h"
#include "services/tidalctl/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Through msgpack and back. */
static void s_expect_round(const char *text, const char *expected)
{
    buffer_t pack;
    buffer_t json;
    errbuf_t errbuf = {""};
    buffer_init(&pack);
    buffer_init(&json);
    if (json_parse(slice_text(text), &pack, &errbuf) != ERR_OK) {
        fail_msg("%s: %s", text, errbuf.text);
    }
    json_write(buffer_slice(&pack), &json);
    buffer_append(&json, "", 1);
    assert_string_equal((const char *)json.data, expected);
    buffer_done(&pack);
    buffer_done(&json);
}

/* Every kind of value keeps its meaning; whole numbers of 64 bits stay whole. */
static void test_json_values_every_kind_comes_back(void **state)
{
    (void)state;
    s_expect_round("null", "null");
    s_expect_round(" [ ] ", "[]");
    s_expect_round("{}", "{}");
    s_expect_round("[true,false]", "[true, false]");
    s_expect_round("18446744073709551615", "18446744073709551615");
    s_expect_round("-9223372036854775807", "-9223372036854775807");
    s_expect_round("18446744073709551616", "1.8446744073709552e+19");
    s_expect_round("0.1", "0.1");
    s_expect_round("1.0", "1.0");
    s_expect_round("-1e-3", "-0.001");
    s_expect_round("\"a\\\"\\\\\\n\\u00e9\\ud83d\\ude00\"",
                   "\"a\\\"\\\\\\n\xc3\xa9\xf0\x9f\x98\x80\"");
    s_expect_round("\"hex:0aFF\"", "\"hex:0aff\"");
    s_expect_round("{\"a\": [1, {\"b\": null}], \"c\": \"d\"}",
                   "{\"a\": [1, {\"b\": null}], \"c\": \"d\"}");
    s_expect_round("[[[[[[[[1]]]]]]]]", "[[[[[[[[1]]]]]]]]");
}

static void s_expect_refused(const char *text)
{
    buffer_t pack;
    errbuf_t errbuf = {""};
    buffer_init(&pack);
    if (json_parse(slice_text(text), &pack, &errbuf) != ERR_INVALID) {
        fail_msg("'%s' was taken for JSON", text);
    }
    assert_int_equal(pack.size, 0);
    assert_true(errbuf.text[0] != '\0');
    buffer_done(&pack);
}

/* What is not JSON is refused with the place, and nothing is appended. */
static void test_json_parse_bad_texts_are_refused(void **state)
{
    (void)state;
    static const char *const s_bad[] = {"",           "[",           "{",
                                        "[1,]",       "[1 2]",       "{\"a\"}",
                                        "{\"a\":1,}", "{a:1}",       "{\"a\":1,\"a\":2}",
                                        "01",         "1.",          "-",
                                        "1e",         "1e999",       "nul",
                                        "NaN",        "\"a",         "\"\\x\"",
                                        "\"\\u12\"",  "\"\\ud800\"", "\"\\udc00\"",
                                        "\"\n\"",     "\"\xff\"",    "\"hex:0\"",
                                        "\"hex:zz\"", "1 2",         "[[[[[[[[[1]]]]]]]]]"};
    for (size_t i = 0; i < sizeof(s_bad) / sizeof(s_bad[0]); i++) {
        s_expect_refused(s_bad[i]);
    }
}

/* -- call -------------------------------------------------------------------------------------- */

static err_t s_call(int count, char **words, char *ret_op, char *ret_json, size_t size)
{
    buffer_t fields;
    buffer_t json;
    errbuf_t errbuf = {""};
    buffer_init(&fields);
    buffer_init(&json);
    err_t err = call_fields_parse(count, words, ret_op, &fields, &errbuf);
    ret_json[0] = '\0';
    if (err == ERR_OK) {
        json_write(buffer_slice(&fields), &json);
        buffer_append(&json, "", 1);
        assert_true(json.size <= size);
        memcpy(ret_json, json.data, json.size);
    }
    buffer_done(&fields);
    buffer_done(&json);
    return err;
}

/* Values that are JSON are taken as such, others as text. */
static void test_call_fields_values_by_their_look(void **state)
{
    (void)state;
    char *words[] = {(char *)"score",    (char *)"item=42",     (char *)"signal=view",
                     (char *)"at=\"7\"", (char *)"list=[1, 2]", (char *)"token=hex:0a",
                     (char *)"empty=",   (char *)"eq=a=b",      NULL};
    char op[NAME_LENGTH_MAX + 1];
    char json[512];
    assert_int_equal(s_call(8, words, op, json, sizeof(json)), ERR_OK);
    assert_string_equal(op, "score");
    assert_string_equal(json,
                        "{\"item\": 42, \"signal\": \"view\", \"at\": \"7\", \"list\": [1, 2], "
                        "\"token\": \"hex:0a\", \"empty\": \"\", \"eq\": \"a=b\"}");
}

/* One JSON object names its op; words behind it, or none, are refused. */
static void test_call_fields_json_object_names_its_op(void **state)
{
    (void)state;
    char *good[] = {(char *)"{\"op\": \"ping\", \"x\": 1}", NULL};
    char *no_op[] = {(char *)"{\"x\": 1}", NULL};
    char *more[] = {(char *)"{\"op\": \"ping\"}", (char *)"x=1", NULL};
    char *no_value[] = {(char *)"ping", (char *)"x", NULL};
    char *twice[] = {(char *)"ping", (char *)"x=1", (char *)"x=2", NULL};
    char op[NAME_LENGTH_MAX + 1];
    char json[512];
    assert_int_equal(s_call(1, good, op, json, sizeof(json)), ERR_OK);
    assert_string_equal(op, "ping");
    assert_int_not_equal(s_call(1, no_op, op, json, sizeof(json)), ERR_OK);
    assert_int_not_equal(s_call(2, more, op, json, sizeof(json)), ERR_OK);
    assert_int_not_equal(s_call(2, no_value, op, json, sizeof(json)), ERR_OK);
    assert_int_not_equal(s_call(3, twice, op, json, sizeof(json)), ERR_OK);
}

/* -- text -------------------------------------------------------------------------------------- */

static void s_expect_text(const char *reply, const char *expected)
{
    buffer_t pack;
    buffer_t text;
    errbuf_t errbuf;
    buffer_init(&pack);
    buffer_init(&text);
    assert_int_equal(json_parse(slice_text(reply), &pack, &errbuf), ERR_OK);
    render_reply(buffer_slice(&pack), &text);
    buffer_append(&text, "", 1);
    assert_string_equal((const char *)text.data, expected);
    buffer_done(&pack);
    buffer_done(&text);
}

/* Scalars stand in lines, lists of maps and of lists in tables, the envelope is left out. */
static void test_render_reply_tables_and_lines(void **state)
{
    (void)state;
    s_expect_text("{\"id\": 1, \"ok\": true, \"token\": \"hex:01\", \"score\": 2.5}",
                  "score  2.5\n");
    s_expect_text(
        "{\"ok\": true, \"nodes\": [{\"region\": \"us\", \"lag\": 5}, {\"region\": \"eu-west\", "
        "\"lag\": 12}]}",
        "nodes\n  region   lag\n  us         5\n  eu-west   12\n");
    s_expect_text("{\"rows\": [[1, \"view\"], [22, \"like\"], [3]]}",
                  "rows\n   1  view\n  22  like\n   3  \n");
    s_expect_text("{\"metrics\": {\"a\": 1, \"bb\": 2.5}}", "metrics\n  a     1\n  bb  2.5\n");
    s_expect_text("{\"nodes\": [], \"map\": {}}", "nodes  []\nmap  {}\n");
    s_expect_text("{\"nodes\": [{}]}", "nodes\n");
}

/* Rows that lack a column, or have it in another form, leave their cell empty or as it is. */
static void test_render_reply_uneven_rows_are_shown(void **state)
{
    (void)state;
    s_expect_text("{\"n\": [{\"a\": 1, \"b\": [1, {\"c\": null}]}, {\"b\": \"x\"}]}",
                  "n\n  a  b\n  1  [1, {\"c\": null}]\n     x\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_values_every_kind_comes_back),
        cmocka_unit_test(test_json_parse_bad_texts_are_refused),
        cmocka_unit_test(test_call_fields_values_by_their_look),
        cmocka_unit_test(test_call_fields_json_object_names_its_op),
        cmocka_unit_test(test_render_reply_tables_and_lines),
        cmocka_unit_test(test_render_reply_uneven_rows_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
