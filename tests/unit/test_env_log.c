/* Log lines: always one line, never more than one write, and no flood. */
#include "common/env/env_log.h"

#include "common/env/env_clock.h"
#include "tests/unit/env_support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEXT_SIZE = 65536 };

static now_t s_time;
static int s_pipe[2];
static char s_text[TEXT_SIZE];

static now_t s_clock(void)
{
    return s_time;
}

static int s_setup(void **state)
{
    (void)state;
    if (pipe(s_pipe) != 0 || fcntl(s_pipe[0], F_SETFL, O_NONBLOCK) != 0) {
        return -1;
    }
    s_time.mono_ns += 1000 * (int64_t)ENV_NS_PER_S; /* far from the test before */
    s_time.wall_ns = INT64_C(1714564800123456789);
    env_log_set_clock(s_clock);
    env_log_open("shard-us-east-0", s_pipe[1]);
    return 0;
}

static int s_teardown(void **state)
{
    (void)state;
    env_log_flush(true);
    env_log_open("test", STDOUT_FILENO);
    (void)close(s_pipe[0]);
    (void)close(s_pipe[1]);
    return 0;
}

/* All that was written since the last call. */
static const char *s_read(void)
{
    ssize_t size = read(s_pipe[0], s_text, sizeof(s_text) - 1);
    s_text[size > 0 ? size : 0] = '\0';
    return s_text;
}

/* Goal: the line has time, level, process, event and the fields, in this order, ending in a line
 * break. */
static void test_env_log_write_gives_one_line(void **state)
{
    (void)state;
    ENV_LOG(ENV_LOG_INFO, "ready", env_log_text("endpoint", "tcp://127.0.0.1:7100"),
            env_log_u64("seq", UINT64_MAX), env_log_i64("drift", -5));
    assert_string_equal(s_read(),
                        "ts=2024-05-01T12:00:00.123456Z level=info process=shard-us-east-0 "
                        "event=ready endpoint=tcp://127.0.0.1:7100 seq=18446744073709551615 "
                        "drift=-5\n");
}

/* Goal: no value can break the line or forge a field. */
static void test_env_log_hostile_value_is_quoted(void **state)
{
    (void)state;
    ENV_LOG(ENV_LOG_INFO, "e", env_log_text("a", "x y"), env_log_text("b", "\"\\\n\r\t\x01"),
            env_log_text("c", ""), env_log_text("d", "\xff"), env_log_text("f", "\xc3\xa9"),
            env_log_text("g", NULL), env_log_text("h", "k=v"));
    assert_non_null(strstr(s_read(), " a=\"x y\" b=\"\\\"\\\\\\n\\r\\t\\x01\" c=\"\" d=\"\\xff\" "
                                     "f=\"\xc3\xa9\" g=\"\" h=\"k=v\"\n"));
}

/* Goal: a value at and beyond its limit is cut, the line stays within one pipe write. */
static void test_env_log_long_values_are_cut(void **state)
{
    (void)state;
    static char s_long[2 * ENV_LOG_VALUE_SIZE_MAX];
    memset(s_long, '\n', sizeof(s_long) - 1);
    ENV_LOG(ENV_LOG_INFO, "e", env_log_text("a", s_long), env_log_text("b", s_long),
            env_log_text("c", s_long), env_log_text("d", s_long), env_log_text("x", s_long));
    const char *text = s_read();
    size_t size = strlen(text);
    assert_true(size <= ENV_LOG_LINE_SIZE_MAX);
    assert_non_null(strstr(text, "\\n...\" b="));
    assert_null(strstr(text, " x="));
    assert_ptr_equal(strchr(text, '\n'), text + size - 1);
}

/* Goal: the same error within a second is counted, not written; the next line tells the count. */
static void test_env_log_repeated_error_is_counted(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        ENV_LOG(ENV_LOG_ERROR, "write", env_log_err(ERR_IO), env_log_u64("attempt", i));
    }
    const char *text = s_read();
    assert_non_null(strstr(text, "attempt=0\n"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    s_time.mono_ns += ENV_NS_PER_S;
    ENV_LOG(ENV_LOG_ERROR, "write", env_log_err(ERR_IO), env_log_u64("attempt", 100));
    assert_non_null(strstr(s_read(), "attempt=100 repeated=99\n"));
}

/* Goal: another cause of the same event is another line. */
static void test_env_log_other_err_is_written(void **state)
{
    (void)state;
    ENV_LOG(ENV_LOG_ERROR, "write", env_log_err(ERR_CORRUPT));
    ENV_LOG(ENV_LOG_ERROR, "write", env_log_err(ERR_DISK_FULL));
    const char *text = s_read();
    assert_non_null(strstr(text, err_text(ERR_CORRUPT)));
    assert_non_null(strstr(text, err_text(ERR_DISK_FULL)));
}

/* Goal: info lines about different things are all written, the very same one only once. */
static void test_env_log_info_repeats_by_whole_text(void **state)
{
    (void)state;
    ENV_LOG(ENV_LOG_INFO, "sealed", env_log_u64("stream", 1));
    ENV_LOG(ENV_LOG_INFO, "sealed", env_log_u64("stream", 2));
    ENV_LOG(ENV_LOG_INFO, "sealed", env_log_u64("stream", 2));
    const char *text = s_read();
    assert_non_null(strstr(text, "stream=1\n"));
    const char *second = strstr(text, "stream=2\n");
    assert_non_null(second);
    assert_null(strstr(second + 1, "stream=2\n"));
}

/* Goal: counts are not lost when no such line follows. */
static void test_env_log_flush_writes_counts(void **state)
{
    (void)state;
    ENV_LOG(ENV_LOG_ERROR, "sync", env_log_err(ERR_IO));
    ENV_LOG(ENV_LOG_ERROR, "sync", env_log_err(ERR_IO));
    (void)s_read();
    env_log_flush(false);
    assert_string_equal(s_read(), "");
    s_time.mono_ns += ENV_NS_PER_S;
    env_log_flush(false);
    assert_non_null(strstr(s_read(), "event=sync repeated=1\n"));
}

/* Goal: more kinds of lines than are remembered: all are written, and no count of a forgotten one
 * is lost. */
static void test_env_log_many_kinds_forget_the_oldest(void **state)
{
    (void)state;
    ENV_LOG(ENV_LOG_ERROR, "first", env_log_err(ERR_IO));
    ENV_LOG(ENV_LOG_ERROR, "first", env_log_err(ERR_IO));
    for (unsigned i = 0; i < 2 * ENV_LOG_RECENT_COUNT_MAX; i++) {
        char event[16];
        (void)snprintf(event, sizeof(event), "kind-%u", i);
        s_time.mono_ns++;
        ENV_LOG(ENV_LOG_ERROR, event, env_log_err(ERR_IO));
    }
    const char *text = s_read();
    assert_non_null(strstr(text, "event=first repeated=1\n"));
    assert_non_null(strstr(text, "event=kind-0 "));
    assert_non_null(strstr(text, "event=kind-127 "));
}

/* Goal: a reader that does not read does not stop the process: lines are dropped and counted. */
static void test_env_log_full_pipe_drops_lines(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        ENV_LOG(ENV_LOG_INFO, "flood", env_log_u64("number", i),
                env_log_text("text", "some more text so that the pipe fills before the end"));
    }
    while (strlen(s_read()) > 0) {
    }
    ENV_LOG(ENV_LOG_INFO, "flood", env_log_u64("number", 2000));
    const char *lost = strstr(s_read(), " number=2000 lost=");
    assert_non_null(lost);
    ENV_LOG(ENV_LOG_INFO, "flood", env_log_u64("number", 2001));
    assert_non_null(strstr(s_read(), " number=2001\n"));
}

/* Goal: the environment sets the level; a wrong one is said and ignored. */
static void test_env_log_level_comes_from_environment(void **state)
{
    (void)state;
    /* One thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    assert_int_equal(setenv("TIDAL_LOG", "error", 1), 0);
    env_log_open("p", s_pipe[1]);
    ENV_LOG(ENV_LOG_WARNING, "w", env_log_u64("n", 1));
    assert_string_equal(s_read(), "");
    /* One thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    assert_int_equal(setenv("TIDAL_LOG", "loud", 1), 0);
    env_log_open("p", s_pipe[1]);
    assert_non_null(strstr(s_read(), "event=log_level_unknown"));
    ENV_LOG(ENV_LOG_DEBUG, "d", env_log_u64("n", 1));
    assert_string_equal(s_read(), "");
    /* One thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    assert_int_equal(unsetenv("TIDAL_LOG"), 0);
}

int main(void)
{
#define LOG_TEST(function) cmocka_unit_test_setup_teardown(function, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_env_log_write_gives_one_line),
        LOG_TEST(test_env_log_hostile_value_is_quoted),
        LOG_TEST(test_env_log_long_values_are_cut),
        LOG_TEST(test_env_log_repeated_error_is_counted),
        LOG_TEST(test_env_log_other_err_is_written),
        LOG_TEST(test_env_log_info_repeats_by_whole_text),
        LOG_TEST(test_env_log_flush_writes_counts),
        LOG_TEST(test_env_log_many_kinds_forget_the_oldest),
        LOG_TEST(test_env_log_full_pipe_drops_lines),
        LOG_TEST(test_env_log_level_comes_from_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
