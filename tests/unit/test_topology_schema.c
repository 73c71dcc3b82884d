/* Signal types, windows and profiles: finders, and what a schema file must not say. Each row
 * changes one thing in the file of topology_files.c. */
#include "common/topology/schema.h"
#include "tests/unit/topology_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *s_source_folder = NULL;

typedef struct {
    const char *from;
    const char *to;
    const char *message; /* behind "<path of the schema file>:" */
} row_t;

static int s_open(void **state)
{
    static topology_files_t s_files;
    topology_files_open(&s_files);
    *state = &s_files;
    return 0;
}

static int s_close(void **state)
{
    topology_files_close(*state);
    return 0;
}

static void s_must_refuse(const topology_files_t *files, const row_t *row)
{
    static schema_t s_schema;
    static schema_t s_untouched;
    (void)memset(&s_schema, 0x5a, sizeof(s_schema));
    (void)memset(&s_untouched, 0x5a, sizeof(s_untouched));
    topology_files_write(files->schema, topology_files_schema_text(), row->from, row->to);
    errbuf_t errbuf = {""};
    assert_int_equal(schema_load(files->schema, &s_schema, &errbuf), ERR_INVALID);
    char expected[ERRBUF_SIZE_BYTES * 2];
    (void)snprintf(expected, sizeof(expected), "%s:%s", files->schema, row->message);
    assert_string_equal(errbuf.text, expected);
    assert_memory_equal(&s_schema, &s_untouched, sizeof(s_schema));
}

static void s_must_refuse_all(void **state, const row_t *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s_must_refuse(*state, &rows[i]);
    }
}
#define ROW_COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Goal: keys of signals, profiles and terms are known, there, and there once. */
static void test_topology_schema_unknown_missing_or_repeated_key_is_refused(void **state)
{
    static const row_t s_rows[] = {
        {"signals:", "signal:",
         "1:1: unknown key 'signal' (meant 'signals'?): expected one of signals profiles "
         "default_profile"},
        {"half_life_s: 604800", "half_life: 604800",
         "4:5: signals[0]: unknown key 'half_life' (meant 'half_life_s'?): expected one of id name "
         "half_life_s windows"},
        {"agg: velocity", "aggr: velocity",
         "16:9: profiles[0].terms[1]: unknown key 'aggr' (meant 'agg'?): expected one of signal "
         "agg window weight"},
        {"    half_life_s: 604800\n", "",
         "2:5: signals[0]: expected the key 'half_life_s', found none"},
        {"default_profile: best\n", "", "1:1: expected the key 'default_profile', found none"},
        {"        weight: 1\n", "        weight: 1\n        weight: 2\n",
         "15:9: profiles[0].terms[0]: expected the key 'weight' once, found it again (first in "
         "line "
         "14)"},
        {"    windows: [1h, all]", "    windows: 1h",
         "8:14: signals[1].windows: expected a list, found '1h'"},
        {"    windows: [1h, all]", "    windows: []",
         "8:14: signals[1].windows: expected 1 to 5 entries, found 0"},
        {"default_profile: best\n", "profiles: []\n",
         "19:1: expected the key 'profiles' once, found it again (first in line 9)"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: signals: range and uniqueness of ids and names, half-lives, windows. */
static void test_topology_schema_bad_signal_is_refused(void **state)
{
    static const row_t s_rows[] = {
        {"id: 2", "id: 0", "5:9: signals[1].id: expected a whole number from 1 to 64, found '0'"},
        {"id: 2", "id: 65", "5:9: signals[1].id: expected a whole number from 1 to 64, found '65'"},
        {"id: 2", "id: 1",
         "5:9: signals[1].id: expected an id of its own, found 1 as in signals[0] (view)"},
        {"name: like", "name: view",
         "6:11: signals[1].name: expected a name of its own, found 'view' as in signals[0]"},
        {"name: like", "name: Like",
         "6:11: signals[1].name: expected 1 to 64 of a-z, 0-9, _ and -, found 'Like'"},
        {"name: like",
         "name:", "6:10: signals[1].name: expected 1 to 64 of a-z, 0-9, _ and -, found ''"},
        {"604800", "59",
         "4:18: signals[0].half_life_s: expected a whole number from 60 to 31536000, found '59'"},
        {"604800", "31536001",
         "4:18: signals[0].half_life_s: expected a whole number from 60 to 31536000, found "
         "'31536001'"},
        {"604800", "7d",
         "4:18: signals[0].half_life_s: expected a whole number from 60 to 31536000, found '7d'"},
        {"[1h, all]", "[2h, all]",
         "8:15: signals[1].windows[0]: expected 1h, 24h, 7d, 30d or all, found '2h'"},
        {"[1h, all]", "[1h, all, 1h]",
         "8:24: signals[1].windows[2]: expected each window once, found 1h again"},
        {"[1h, all]", "[1h]",
         "8:14: signals[1].windows: expected all among the windows, found it left out: the "
         "all-time count is what the books are balanced with"},
    };
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: profiles: names, signals, aggregates, windows and weights of their terms. */
static void test_topology_schema_bad_profile_is_refused(void **state)
{
#define WEIGHT_RULE "18:17: profiles[0].terms[1].weight: expected a number from -1e9 to 1e9, found "
    static const row_t s_rows[] = {
        {"name: best", "name: b,",
         "10:11: profiles[0].name: expected 1 to 64 of a-z, 0-9, _ and -, found 'b,'"},
        {"default_profile: best",
         "  - {name: best, terms: [{signal: view, agg: decay, weight: 1}]}\ndefault_profile: best",
         "19:12: profiles[1].name: expected a name of its own, found 'best' as in profiles[0]"},
        {"default_profile: best", "default_profile: worst",
         "19:18: default_profile: expected the name of a profile, found 'worst'"},
        {"signal: like", "signal: lik",
         "15:17: profiles[0].terms[1].signal: expected the name of a signal, found 'lik'"},
        {"agg: velocity", "agg: sum",
         "16:14: profiles[0].terms[1].agg: expected decay, count or velocity, found 'sum'"},
        {"        window: 1h\n", "",
         "15:9: profiles[0].terms[1].window: expected a window with agg velocity, found none"},
        {"window: 1h", "window: all",
         "17:17: profiles[0].terms[1].window: expected 1h, 24h, 7d or 30d with agg velocity, found "
         "'all'"},
        {"window: 1h", "window: 2h",
         "17:17: profiles[0].terms[1].window: expected 1h, 24h, 7d or 30d with agg velocity, found "
         "'2h'"},
        {"agg: velocity\n        window: 1h", "agg: count\n        window: x",
         "17:17: profiles[0].terms[1].window: expected 1h, 24h, 7d, 30d or all with agg count, "
         "found 'x'"},
        {"window: 1h", "window: 24h",
         "17:17: profiles[0].terms[1].window: expected a window that signal 'like' counts, found "
         "24h"},
        {"        agg: decay\n", "        agg: decay\n        window: 1h\n",
         "14:17: profiles[0].terms[0].window: expected no window with agg decay, found '1h'"},
        {"weight: -2.5", "weight: 1000000000.1", WEIGHT_RULE "'1000000000.1'"},
        {"weight: -2.5", "weight: -1e10", WEIGHT_RULE "'-1e10'"},
        {"weight: -2.5", "weight: nan", WEIGHT_RULE "'nan'"},
        {"weight: -2.5", "weight: inf", WEIGHT_RULE "'inf'"},
        {"weight: -2.5", "weight: 0x10", WEIGHT_RULE "'0x10'"},
        {"weight: -2.5", "weight: 1e999", WEIGHT_RULE "'1e999'"},
        {"weight: -2.5", "weight: 2.5.", WEIGHT_RULE "'2.5.'"},
        {"weight: -2.5", "weight:",
         "18:16: profiles[0].terms[1].weight: expected a number from "
         "-1e9 to 1e9, found ''"},
    };
#undef WEIGHT_RULE
    s_must_refuse_all(state, s_rows, ROW_COUNT(s_rows));
}

/* Goal: a profile has at most 16 terms: 16 load, 17 do not. */
static void test_topology_schema_seventeen_terms_are_refused(void **state)
{
    const topology_files_t *files = *state;
    static schema_t s_schema;
    for (unsigned count = 16; count <= 17; count++) {
        char terms[2048];
        size_t used = 0;
        for (unsigned i = 0; i < count; i++) {
            used += (size_t)snprintf(terms + used, sizeof(terms) - used,
                                     "      - {signal: view, agg: decay, weight: %u}\n", i);
        }
        (void)snprintf(terms + used, sizeof(terms) - used, "default_profile: many\n");
        char text[4096];
        (void)snprintf(text, sizeof(text), "  - name: many\n    terms:\n%s", terms);
        topology_files_write(files->schema, topology_files_schema_text(), "default_profile: best\n",
                             text);
        errbuf_t errbuf = {""};
        err_t err = schema_load(files->schema, &s_schema, &errbuf);
        assert_int_equal(err, count == 16 ? ERR_OK : ERR_INVALID);
        assert_string_equal(schema_default_profile(&s_schema)->name, "many");
    }
    assert_int_equal(schema_default_profile(&s_schema)->term_count, 16);
}

/* Goal: a good file gives what it says; windows left out are all five. */
static void test_topology_schema_good_file_loads(void **state)
{
    const topology_files_t *files = *state;
    static schema_t s_schema;
    errbuf_t errbuf = {""};
    assert_int_equal(schema_load(files->schema, &s_schema, &errbuf), ERR_OK);
    assert_int_equal(s_schema.signal_count, 2);
    const schema_signal_t *view = schema_find_signal(&s_schema, "view");
    const schema_signal_t *like = schema_find_signal_id(&s_schema, 2);
    assert_int_equal(view->half_life_s, 604800);
    assert_int_equal(view->windows_mask, WINDOWS_MASK_ALL);
    assert_true(schema_signal_has_window(like, WINDOW_1H));
    assert_false(schema_signal_has_window(like, WINDOW_24H));
    assert_true(schema_signal_has_window(like, WINDOW_ALL));
    const schema_profile_t *best = schema_find_profile(&s_schema, "best");
    assert_ptr_equal(best, schema_default_profile(&s_schema));
    assert_int_equal(best->term_count, 2);
    assert_int_equal(best->terms[1].kind, TERM_VELOCITY);
    assert_int_equal(best->terms[1].window, WINDOW_1H);
    assert_true(best->terms[1].weight == -2.5);
    char formula[PROFILE_FORMULA_SIZE];
    schema_profile_formula(&s_schema, best, formula);
    assert_string_equal(formula, "1 * decay(view) - 2.5 * velocity(like, 1h)");
}

/* Goal: a file that is not there is not found. */
static void test_topology_schema_missing_file_is_not_found(void **state)
{
    (void)state;
    static schema_t s_schema;
    errbuf_t errbuf = {""};
    assert_int_equal(schema_load("/nowhere/schema.yaml", &s_schema, &errbuf), ERR_NOT_FOUND);
    assert_string_equal(errbuf.text,
                        "/nowhere/schema.yaml: expected a file, found none: check the path");
}

/* Goal: the shipped schema says what schema_init_default says. */
static void test_topology_schema_shipped_file_equals_default(void **state)
{
    (void)state;
    static schema_t s_loaded;
    static schema_t s_default;
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/topology/schema.yaml", s_source_folder);
    errbuf_t errbuf = {""};
    err_t err = schema_load(path, &s_loaded, &errbuf);
    assert_string_equal(errbuf.text, "");
    assert_int_equal(err, ERR_OK);
    schema_init_default(&s_default);
    assert_int_equal(s_loaded.signal_count, s_default.signal_count);
    for (uint32_t i = 0; i < s_loaded.signal_count; i++) {
        assert_int_equal(s_loaded.signals[i].id, s_default.signals[i].id);
        assert_string_equal(s_loaded.signals[i].name, s_default.signals[i].name);
        assert_int_equal(s_loaded.signals[i].half_life_s, s_default.signals[i].half_life_s);
        assert_int_equal(s_loaded.signals[i].windows_mask, s_default.signals[i].windows_mask);
    }
    assert_int_equal(s_loaded.profile_count, s_default.profile_count);
    for (uint32_t i = 0; i < s_loaded.profile_count; i++) {
        char loaded[PROFILE_FORMULA_SIZE];
        char standard[PROFILE_FORMULA_SIZE];
        assert_string_equal(s_loaded.profiles[i].name, s_default.profiles[i].name);
        schema_profile_formula(&s_loaded, &s_loaded.profiles[i], loaded);
        schema_profile_formula(&s_default, &s_default.profiles[i], standard);
        assert_string_equal(loaded, standard);
    }
    assert_int_equal(s_loaded.profile_default, s_default.profile_default);
}

/* Goal: the default signal types are those of the protocol. */
static void test_topology_schema_default_signals_are_those_of_the_protocol(void **state)
{
    (void)state;
    static schema_t s_schema;
    schema_init_default(&s_schema);
    static const struct {
        const char *name;
        int64_t days;
    } s_rows[] = {{"view", 7}, {"like", 30}, {"share", 14}, {"skip", 1}};
    assert_int_equal(s_schema.signal_count, 4);
    for (uint8_t i = 0; i < 4; i++) {
        const schema_signal_t *signal = schema_find_signal(&s_schema, s_rows[i].name);
        assert_non_null(signal);
        assert_int_equal(signal->id, i + 1);
        assert_int_equal(signal->half_life_s, s_rows[i].days * 86400);
        assert_int_equal(signal->windows_mask, WINDOWS_MASK_ALL);
    }
    assert_string_equal(schema_default_profile(&s_schema)->name, "default");
}

/* Goal: what is not there is not found, by text, slice and number; a slice needs no zero byte. */
static void test_topology_schema_unknown_names_are_not_found(void **state)
{
    (void)state;
    static schema_t s_schema;
    schema_init_default(&s_schema);
    assert_null(schema_find_signal(&s_schema, "views"));
    assert_null(schema_find_signal(&s_schema, ""));
    assert_null(schema_find_signal_id(&s_schema, 0));
    assert_null(schema_find_signal_id(&s_schema, 5));
    assert_null(schema_find_profile(&s_schema, "new"));
    assert_null(schema_find_signal_slice(&s_schema, slice_make("view", 3)));
    assert_null(schema_find_signal_slice(&s_schema, slice_make("view\0", 5)));
    assert_non_null(schema_find_signal_slice(&s_schema, slice_make("viewer", 4)));
    assert_non_null(schema_find_profile_slice(&s_schema, slice_make("hotter", 3)));
}

/* Goal: window names round trip, their lengths are right, others are refused. */
static void test_topology_schema_windows_round_trip(void **state)
{
    (void)state;
    static const int64_t s_seconds[WINDOW_COUNT] = {3600, 86400, 604800, 2592000, 0};
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        window_t window = WINDOW_1H;
        assert_int_equal(window_parse(window_name((window_t)i), &window), ERR_OK);
        assert_int_equal(window, i);
        assert_int_equal(window_seconds(window), s_seconds[i]);
    }
    window_t window = WINDOW_7D;
    assert_int_equal(window_parse("", &window), ERR_NOT_FOUND);
    assert_int_equal(window_parse("1H", &window), ERR_NOT_FOUND);
    assert_int_equal(window_parse("1h ", &window), ERR_NOT_FOUND);
    assert_int_equal(window, WINDOW_7D);
}

/* Goal: names of aggregates round trip, others are refused. */
static void test_topology_schema_term_kinds_round_trip(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        term_kind_t kind = TERM_DECAY;
        assert_int_equal(term_kind_parse(term_kind_name((term_kind_t)i), &kind), ERR_OK);
        assert_int_equal(kind, i);
    }
    term_kind_t kind = TERM_COUNT;
    assert_int_equal(term_kind_parse("sum", &kind), ERR_NOT_FOUND);
    assert_int_equal(kind, TERM_COUNT);
}

/* Goal: the longest formula that there can be fits: 16 terms with names of 64 bytes. */
static void test_topology_schema_longest_formula_fits(void **state)
{
    (void)state;
    static schema_t s_schema;
    schema_init_default(&s_schema);
    (void)memset(s_schema.signals[0].name, 'n', NAME_LENGTH_MAX);
    schema_profile_t *profile = &s_schema.profiles[0];
    profile->term_count = PROFILE_TERM_COUNT_MAX;
    for (uint32_t i = 0; i < PROFILE_TERM_COUNT_MAX; i++) {
        profile->terms[i] = (profile_term_t){1, TERM_VELOCITY, WINDOW_24H, -1.23456789012e-300};
    }
    char formula[PROFILE_FORMULA_SIZE];
    schema_profile_formula(&s_schema, profile, formula);
    assert_int_equal(formula[strlen(formula) - 1], ')');
}

int main(int argc, char **argv)
{
    s_source_folder = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, s_open, s_close)
        WITH_FILES(test_topology_schema_unknown_missing_or_repeated_key_is_refused),
        WITH_FILES(test_topology_schema_bad_signal_is_refused),
        WITH_FILES(test_topology_schema_bad_profile_is_refused),
        WITH_FILES(test_topology_schema_seventeen_terms_are_refused),
        WITH_FILES(test_topology_schema_good_file_loads),
        cmocka_unit_test(test_topology_schema_missing_file_is_not_found),
        cmocka_unit_test(test_topology_schema_shipped_file_equals_default),
        cmocka_unit_test(test_topology_schema_default_signals_are_those_of_the_protocol),
        cmocka_unit_test(test_topology_schema_unknown_names_are_not_found),
        cmocka_unit_test(test_topology_schema_windows_round_trip),
        cmocka_unit_test(test_topology_schema_term_kinds_round_trip),
        cmocka_unit_test(test_topology_schema_longest_formula_fits),
#undef WITH_FILES
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
