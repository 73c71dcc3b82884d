/* A failed CHECK ends the process, in every build, and says where. */
#include "common/base/check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

typedef void (*s_body_fn)(void);

/* Runs body in a process of its own; how it ended, and what it wrote to stderr. */
static int s_run_apart(s_body_fn body, char *ret_text, size_t text_size)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(fds[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    (void)close(fds[1]);
    size_t used = 0;
    ssize_t size = 1;
    while (size > 0 && used + 1 < text_size) {
        size = read(fds[0], ret_text + used, text_size - 1 - used);
        used += size > 0 ? (size_t)size : 0;
    }
    ret_text[used] = '\0';
    (void)close(fds[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void s_fail(void)
{
    volatile int one = 1; /* no tool works out what the check gives */
    CHECK(one == 2);
}

static void s_fail_implication(void)
{
    volatile int one = 1;
    volatile int two = 2;
    CHECK_IMPLIES(one == 1, two == 1);
}

/* Goal: a broken invariant aborts and prints expression, file and function in one line. */
static void test_check_false_aborts_and_says_where(void **state)
{
    (void)state;
    char text[512];
    int status = s_run_apart(s_fail, text, sizeof(text));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "event=check_failed"));
    assert_non_null(strstr(text, "one == 2"));
    assert_non_null(strstr(text, "test_base_check.c:"));
    assert_non_null(strstr(text, "function=s_fail"));
}

/* Goal: an implication fails exactly where its condition holds and its conclusion does not. */
static void test_check_implies_broken_aborts(void **state)
{
    (void)state;
    char text[512];
    int status = s_run_apart(s_fail_implication, text, sizeof(text));
    assert_true(WIFSIGNALED(status));
    assert_non_null(strstr(text, "one == 1 implies two == 1"));
}

/* Goal: what holds passes. */
static void test_check_true_passes(void **state)
{
    (void)state;
    volatile int one = 1;
    volatile int two = 2;
    CHECK(one == 1);
    CHECK_IMPLIES(one == 2, two == 1);
    CHECK_IMPLIES(one == 1, two == 2);
    assert_int_equal(one + two, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_false_aborts_and_says_where),
        cmocka_unit_test(test_check_implies_broken_aborts),
        cmocka_unit_test(test_check_true_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
