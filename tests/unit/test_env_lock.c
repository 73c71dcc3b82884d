/* The lock of a folder: one owner at a time, and an error that names it. */
#include "common/env/env_lock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_SIZE = 256, LONG_SIZE = 5000 };

static char s_base[PATH_SIZE];

static int s_setup(void **state)
{
    (void)state;
    (void)snprintf(s_base, sizeof(s_base), "/tmp/tidal-lock-XXXXXX");
    return mkdtemp(s_base) != NULL ? 0 : -1;
}

/* Goal: the folder is made with all above it; a second owner is refused by name until the first one
 * gives up. */
static void test_env_lock_has_one_owner(void **state)
{
    (void)state;
    char folder[PATH_SIZE + 16];
    char holder[64];
    errbuf_t errbuf;
    env_lock_t *first = NULL;
    env_lock_t *second = NULL;
    (void)snprintf(folder, sizeof(folder), "%s/a/b/c", s_base);
    assert_int_equal(env_lock_take(folder, "shard-us-east-0", &first, &errbuf), ERR_OK);
    assert_int_equal(env_lock_take(folder, "shard-us-east-0", &second, &errbuf), ERR_LOCKED);
    (void)snprintf(holder, sizeof(holder), "held by process %ld shard-us-east-0", (long)getpid());
    assert_non_null(strstr(errbuf.text, holder));
    assert_non_null(strstr(errbuf.text, folder));
    assert_null(second);
    env_lock_release(&first);
    env_lock_release(&first);
    assert_int_equal(env_lock_take(folder, "shard-us-east-0", &second, &errbuf), ERR_OK);
    env_lock_release(&second);
}

/* Goal: other folders are not touched by a lock. */
static void test_env_lock_other_folder_is_free(void **state)
{
    (void)state;
    char folders[2][PATH_SIZE + 32];
    errbuf_t errbuf;
    env_lock_t *locks[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(folders[i], sizeof(folders[i]), "%s/other-%d", s_base, i);
        assert_int_equal(env_lock_take(folders[i], "control", &locks[i], &errbuf), ERR_OK);
    }
    env_lock_release(&locks[0]);
    env_lock_release(&locks[1]);
}

/* Goal: a path that cannot be a folder is an error with the path and what to do. */
static void test_env_lock_bad_path_is_refused(void **state)
{
    (void)state;
    static char s_long[LONG_SIZE];
    errbuf_t errbuf;
    env_lock_t *lock = NULL;
    memset(s_long, 'x', sizeof(s_long) - 1);
    assert_int_equal(env_lock_take("/proc/version/x", "control", &lock, &errbuf), ERR_IO);
    assert_non_null(strstr(errbuf.text, "/proc/version"));
    assert_non_null(strstr(errbuf.text, "--data"));
    assert_int_equal(env_lock_take(s_long, "control", &lock, &errbuf), ERR_IO);
    assert_int_equal(env_lock_take("", "control", &lock, &errbuf), ERR_IO);
    assert_null(lock);
}

static int s_teardown(void **state)
{
    (void)state;
    char command[PATH_SIZE + 16];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", s_base);
    /* A path that was made above. NOLINTNEXTLINE(concurrency-mt-unsafe,cert-env33-c) */
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_env_lock_has_one_owner),
        cmocka_unit_test(test_env_lock_other_folder_is_free),
        cmocka_unit_test(test_env_lock_bad_path_is_refused),
    };
    return cmocka_run_group_tests(tests, s_setup, s_teardown);
}
