/* History files: what is read of them, what is refused, and their identity. */
#include "services/tidalctl/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static char s_folder[64];

static int s_setup(void **state)
{
    (void)state;
    (void)snprintf(s_folder, sizeof(s_folder), "/tmp/tidalctl-history-XXXXXX");
    return mkdtemp(s_folder) == NULL ? -1 : 0;
}

static int s_teardown(void **state)
{
    static const char *const s_names[] = {"x-events.tsv", "x-events.tsv.gz", "x-items.tsv",
                                          "x-items.tsv.gz"};
    (void)state;
    for (size_t i = 0; i < sizeof(s_names) / sizeof(s_names[0]); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", s_folder, s_names[i]);
        (void)unlink(path); /* not every test has made it */
    }
    return rmdir(s_folder);
}

/* Compressed where the name ends so. Returns the path, which lives until the next call. */
static const char *s_write(const char *name, const char *text)
{
    static char s_path[128];
    (void)snprintf(s_path, sizeof(s_path), "%s/%s", s_folder, name);
    bool compressed = strstr(name, ".gz") != NULL;
    gzFile file = gzopen(s_path, compressed ? "wb" : "wbT");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)strlen(text)), (int)strlen(text));
    assert_int_equal(gzclose(file), Z_OK);
    return s_path;
}

static const char s_events[] = "ts_ms\tuser\titem\taction\n"
                               "1000\t1\t2\tA\n"
                               "\n"
                               "900\t3\t4\tM\r\n"
                               "2000\t18446744073709551615\t5\tD";

/* Three events, with an empty line, a carriage return and no end of line at the end. */
static void test_history_events_are_read_in_order(void **state)
{
    (void)state;
    history_t *history = NULL;
    history_event_t event;
    errbuf_t errbuf;
    assert_int_equal(history_open(s_write("x-events.tsv.gz", s_events), &history, &errbuf), ERR_OK);
    assert_int_equal(history_next(history, &event, &errbuf), ERR_OK);
    assert_int_equal(event.ts_ns, 1000000000);
    assert_int_equal(event.action, HISTORY_ADDED);
    assert_int_equal(history_next(history, &event, &errbuf), ERR_OK);
    assert_int_equal(event.item, 4);
    assert_int_equal(event.action, HISTORY_CHANGED);
    assert_int_equal(history_next(history, &event, &errbuf), ERR_OK);
    assert_true(event.user == UINT64_MAX);
    assert_int_equal(history_next(history, &event, &errbuf), ERR_END);
    history_close(&history);
    assert_null(history);
}

/* Columns are found by name, whatever their order, and others are left alone. */
static void test_history_columns_in_another_order_are_found(void **state)
{
    (void)state;
    history_t *history = NULL;
    history_event_t event;
    errbuf_t errbuf;
    const char *path = s_write("x-events.tsv", "action\tnote\titem\tts_ms\tuser\nM\thi\t7\t1\t9\n");
    assert_int_equal(history_open(path, &history, &errbuf), ERR_OK);
    assert_int_equal(history_next(history, &event, &errbuf), ERR_OK);
    assert_int_equal(event.item, 7);
    assert_int_equal(event.user, 9);
    history_close(&history);
}

static void s_expect_refused(const char *text, const char *expected)
{
    history_t *history = NULL;
    history_event_t event;
    errbuf_t errbuf = {""};
    err_t err = history_open(s_write("x-events.tsv", text), &history, &errbuf);
    while (err == ERR_OK) {
        err = history_next(history, &event, &errbuf);
    }
    history_close(&history);
    if (err != ERR_INVALID || strstr(errbuf.text, expected) == NULL) {
        fail_msg("expected a refusal with '%s', found %s: %s", expected, err_text(err),
                 errbuf.text);
    }
}

/* Every bad line is named by its number. */
static void test_history_bad_lines_are_named(void **state)
{
    (void)state;
    s_expect_refused("", "first line");
    s_expect_refused("ts_ms\tuser\titem\n", "'action'");
    s_expect_refused("ts_ms\tuser\titem\taction\nx\t1\t1\tM\n", "line 2");
    s_expect_refused("ts_ms\tuser\titem\taction\n1\t1\t1\tM\n-1\t1\t1\tM\n", "line 3");
    s_expect_refused("ts_ms\tuser\titem\taction\n1\t0\t1\tM\n", "line 2");
    s_expect_refused("ts_ms\tuser\titem\taction\n1\t1\t\tM\n", "line 2");
    s_expect_refused("ts_ms\tuser\titem\taction\n1\t1\t1\tX\n", "M, A or D");
    s_expect_refused("ts_ms\tuser\titem\taction\n1\t1\n", "line 2");
    s_expect_refused("ts_ms\tuser\titem\taction\n9223372036855\t1\t1\tM\n", "ts_ms");
}

/* A compressed file that ends in its middle is an error, not the end of the history. */
static void test_history_cut_gzip_is_an_error(void **state)
{
    (void)state;
    char lines[4096] = "ts_ms\tuser\titem\taction\n";
    for (int i = 1; i < 200; i++) {
        size_t at = strlen(lines);
        (void)snprintf(lines + at, sizeof(lines) - at, "%d\t%d\t%d\tM\n", i * 77, i % 13 + 1,
                       i % 7 + 1);
    }
    const char *path = s_write("x-events.tsv.gz", lines);
    assert_int_equal(truncate(path, 150), 0);
    history_t *history = NULL;
    history_event_t event;
    errbuf_t errbuf;
    err_t err = history_open(path, &history, &errbuf);
    while (err == ERR_OK) {
        err = history_next(history, &event, &errbuf);
    }
    history_close(&history);
    assert_int_equal(err, ERR_INVALID);
}

/* A file that is not there is told from one that cannot be read. */
static void test_history_missing_file_is_not_found(void **state)
{
    (void)state;
    history_t *history = NULL;
    errbuf_t errbuf;
    assert_int_equal(history_open("/tmp/there-is-no-such-history.tsv", &history, &errbuf),
                     ERR_NOT_FOUND);
}

/* -- items ------------------------------------------------------------------------------------- */

/* Items are found by number in any order of the file; the file is found beside the events. */
static void test_history_items_are_found_beside_the_events(void **state)
{
    (void)state;
    char path[HISTORY_PATH_SIZE_MAX];
    char events[128];
    history_items_t *items = NULL;
    history_item_t item;
    errbuf_t errbuf;
    (void)snprintf(events, sizeof(events), "%s", s_write("x-events.tsv", s_events));
    assert_false(history_items_path(events, path));
    (void)s_write("x-items.tsv.gz", "item\ttitle\tcategory\n9\tn i\tx\n2\tt\xc3\xb6\t\n");
    assert_true(history_items_path(events, path));
    assert_int_equal(history_items_load(path, &items, &errbuf), ERR_OK);
    assert_int_equal(history_items_count(items), 2);
    assert_true(history_items_find(items, 9, &item));
    assert_true(slice_equal(item.title, slice_text("n i")));
    assert_true(history_items_find(items, 2, &item));
    assert_int_equal(item.category.size, 0);
    assert_false(history_items_find(items, 3, &item));
    history_items_destroy(&items);
    assert_false(history_items_find(items, 9, &item));
}

/* An item twice, or a title that is no text, is refused. */
static void test_history_items_bad_ones_are_refused(void **state)
{
    (void)state;
    history_items_t *items = NULL;
    errbuf_t errbuf;
    const char *path = s_write("x-items.tsv", "item\ttitle\tcategory\n1\ta\tb\n1\tc\td\n");
    assert_int_equal(history_items_load(path, &items, &errbuf), ERR_INVALID);
    assert_non_null(strstr(errbuf.text, "item 1"));
    path = s_write("x-items.tsv", "item\ttitle\tcategory\n1\t\xff\tb\n");
    assert_int_equal(history_items_load(path, &items, &errbuf), ERR_INVALID);
    assert_non_null(strstr(errbuf.text, "line 2"));
}

/* -- identity ---------------------------------------------------------------------------------- */

static void s_identify(const char *path,
                       const history_items_t *items,
                       uint64_t count_max,
                       uint8_t ret_hash[HISTORY_HASH_SIZE],
                       uint64_t expected_count)
{
    uint64_t count = 0;
    errbuf_t errbuf;
    assert_int_equal(history_identify(path, items, count_max, ret_hash, &count, &errbuf), ERR_OK);
    assert_int_equal(count, expected_count);
}

/* The same events have the same identity however they lie on the disk; other events, fewer events
 * or other titles have another one. */
static void test_history_identity_is_of_the_content(void **state)
{
    (void)state;
    uint8_t plain[HISTORY_HASH_SIZE];
    uint8_t other[HISTORY_HASH_SIZE];
    history_items_t *items = NULL;
    errbuf_t errbuf;
    s_identify(s_write("x-events.tsv", s_events), NULL, 0, plain, 3);
    s_identify(s_write("x-events.tsv.gz", s_events), NULL, 0, other, 3);
    assert_memory_equal(plain, other, sizeof(plain));
    s_identify(s_write("x-events.tsv", s_events), NULL, 2, other, 2);
    assert_memory_not_equal(plain, other, sizeof(plain));
    const char *path = s_write("x-items.tsv", "item\ttitle\tcategory\n1\ta\tb\n");
    assert_int_equal(history_items_load(path, &items, &errbuf), ERR_OK);
    s_identify(s_write("x-events.tsv", s_events), items, 0, other, 3);
    assert_memory_not_equal(plain, other, sizeof(plain));
    history_items_destroy(&items);
    s_identify(s_write("x-events.tsv",
                       "ts_ms\tuser\titem\taction\n1000\t1\t2\tA\n900\t3\t4\tM\n2000\t1\t5\tD\n"),
               NULL, 0, other, 3);
    assert_memory_not_equal(plain, other, sizeof(plain));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_history_events_are_read_in_order, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_history_columns_in_another_order_are_found, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_history_bad_lines_are_named, s_setup, s_teardown),
        cmocka_unit_test_setup_teardown(test_history_cut_gzip_is_an_error, s_setup, s_teardown),
        cmocka_unit_test(test_history_missing_file_is_not_found),
        cmocka_unit_test_setup_teardown(test_history_items_are_found_beside_the_events, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_history_items_bad_ones_are_refused, s_setup,
                                        s_teardown),
        cmocka_unit_test_setup_teardown(test_history_identity_is_of_the_content, s_setup,
                                        s_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
