/* A process that writes to the store is killed, or the power fails, again and again: every
 * transaction is there whole or not at all, and none that was reported durable is missing.
 *
 * The child's batch number n changes many pairs at once: all NUMBER_COUNT numbers become n, and the
 * pairs of the set n % SET_COUNT are replaced by others. When poll has said ERR_OK it writes n into
 * a pipe. The parent reads a random count of these, crashes the child, opens the store and
 * compares.
 *
 * kill -9 alone proves nothing about durability, since the kernel keeps what was written. The power
 * cut is that of a file system in a file: it is shut down without flushing anything, and mounted
 * again. This needs root, loop devices and mkfs.ext4; where they are missing it is left out. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/base/store_batch.h"
#include "common/store/store_lmdb.h"
#include "tests/unit/store_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CRASH_COUNT = 40, NUMBER_COUNT = 500, SET_COUNT = 7, SET_SIZE = 300, KEY_SIZE = 17 };

static store_lmdb_t *s_open(const store_folder_t *folder)
{
    store_lmdb_options_t options = {.folder = folder->store};
    store_lmdb_t *self = NULL;
    errbuf_t errbuf = {""};
    err_t err = store_lmdb_open(&options, &self, &errbuf);
    if (err != ERR_OK) {
        print_error("%s\n", errbuf.text);
    }
    CHECK(err == ERR_OK);
    return self;
}

static void s_set_key(uint8_t ret_key[KEY_SIZE], uint64_t batch_number, uint64_t index)
{
    ret_key[0] = 's';
    bytes_put_u64_be(ret_key + 1, batch_number);
    bytes_put_u64_be(ret_key + 9, index);
}

static store_batch_t *s_make_batch(uint64_t number)
{
    store_batch_t *batch = store_batch_new();
    for (uint64_t i = 0; i < NUMBER_COUNT; i++) {
        uint8_t key[9] = {'n'};
        uint8_t value[8];
        bytes_put_u64_be(key + 1, i);
        bytes_put_u64(value, number);
        store_batch_put(batch, slice_make(key, sizeof(key)), slice_make(value, sizeof(value)));
    }
    for (uint64_t i = 0; i < SET_SIZE; i++) {
        uint8_t key[KEY_SIZE];
        s_set_key(key, number, i);
        size_t size = i % 100 == 0 ? 9000 : 50;
        uint8_t *value = store_batch_reserve_put(batch, slice_make(key, sizeof(key)), size);
        (void)memset(value, (int)(number & 0xff), size);
        if (number > SET_COUNT) {
            s_set_key(key, number - SET_COUNT, i);
            store_batch_delete(batch, slice_make(key, sizeof(key)));
        }
    }
    return batch;
}

/* Never returns. Writes batches from `number` on and reports each one that is durable. */
_Noreturn static void s_write_for_ever(const store_folder_t *folder, uint64_t number, int pipe_fd)
{
    store_lmdb_t *self = s_open(folder);
    store_t store = store_lmdb_store(self);
    for (;; number++) {
        store_batch_t *batch = s_make_batch(number);
        err_t err = store.submit(store.context, &batch, NULL);
        CHECK(err == ERR_OK);
        err = store_await(&store, store_lmdb_event_fd(self));
        CHECK(err == ERR_OK);
        ssize_t written = write(pipe_fd, &number, sizeof(number));
        CHECK(written == (ssize_t)sizeof(number));
    }
}

/* Called while the child is writing; ends what it can reach. */
typedef void (*crash_fn)(const store_folder_t *folder);

static pid_t s_start_child(const store_folder_t *folder, uint64_t first, int ends[2])
{
    int code = pipe(ends);
    CHECK(code == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        /* When the power is gone it fails loudly, as it should. */
        struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)freopen("/dev/null", "w", stderr); /* NOLINT(cert-err33-c): noise is no failure */
        (void)close(ends[0]);
        s_write_for_ever(folder, first, ends[1]);
    }
    (void)close(ends[1]);
    return child;
}

/* Lets a child write until it has reported `count` batches, crashes, and kills it. Returns the last
 * report. */
static uint64_t s_run_and_crash(const store_folder_t *folder,
                                uint64_t first,
                                uint64_t count,
                                crash_fn crash)
{
    int ends[2];
    pid_t child = s_start_child(folder, first, ends);
    uint64_t last = first - 1;
    for (uint64_t i = 0; i < count; i++) {
        ssize_t got = read(ends[0], &last, sizeof(last));
        CHECK(got == (ssize_t)sizeof(last));
    }
    if (crash != NULL) {
        crash(folder);
    }
    int code = kill(child, SIGKILL);
    CHECK(code == 0);
    pid_t ended = waitpid(child, NULL, 0);
    CHECK(ended == child);
    while (read(ends[0], &last, sizeof(last)) == (ssize_t)sizeof(last)) {
        /* reported before the end */
    }
    (void)close(ends[0]);
    return last;
}

typedef struct {
    uint64_t number; /* that all numbers must show; 0: none seen yet */
    uint64_t number_count;
    uint64_t set_count;
    bool is_mixed;
} shown_t;

static err_t s_see(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    shown_t *shown = context;
    if (key[0] == 'n') {
        uint64_t number = bytes_get_u64(value);
        shown->is_mixed = shown->is_mixed || (shown->number != 0 && number != shown->number);
        shown->number = number;
        shown->number_count++;
        return ERR_OK;
    }
    uint64_t number = bytes_get_u64_be(key + 1);
    shown->is_mixed = shown->is_mixed || key_size != KEY_SIZE || number > shown->number ||
                      number + SET_COUNT <= shown->number ||
                      value[value_size - 1] != (number & 0xff);
    shown->set_count++;
    return ERR_OK;
}

/* Returns the number of the batch that the store shows, after comparing all that it wrote. */
static uint64_t s_compare(const store_folder_t *folder)
{
    store_lmdb_t *self = s_open(folder);
    store_t store = store_lmdb_store(self);
    shown_t shown = {0};
    assert_int_equal(store.walk(store.context, NULL, 0, s_see, &shown, NULL), ERR_OK);
    store_lmdb_close(&self);
    assert_false(shown.is_mixed);
    if (shown.number > 0) {
        uint64_t set_count = shown.number < SET_COUNT ? shown.number : SET_COUNT;
        assert_int_equal(shown.number_count, NUMBER_COUNT);
        assert_int_equal(shown.set_count, set_count * SET_SIZE);
    }
    return shown.number;
}

/* Goal: whole transactions, none lost. Method: CRASH_COUNT kills, after 0 to 20 reported batches.
 */
static void test_store_kill_leaves_whole_transactions(void **state)
{
    (void)state;
    store_folder_t folder = {.path = ""};
    store_folder_init(&folder);
    prng_t prng;
    prng_init(&prng, 5);
    uint64_t next = 1;
    for (int i = 0; i < CRASH_COUNT; i++) {
        uint64_t reported = s_run_and_crash(&folder, next, prng_below(&prng, 21), NULL);
        uint64_t found = s_compare(&folder);
        assert_true(found >= reported);
        assert_true(found <= reported + 1);
        next = found + 1;
    }
    assert_true(next > CRASH_COUNT);
    store_folder_done(&folder);
}

/* -- power cut --------------------------------------------------------------------------------- */

enum { PATH_SIZE = STORE_FOLDER_PATH_SIZE_MAX + 64 };

/* _IOR('X', 125, uint32_t) with flag 2: end now, do not flush the journal either. */
#define SHUTDOWN_REQUEST  _IOR('X', 125, uint32_t)
#define SHUTDOWN_NO_FLUSH UINT32_C(2)
#define DISK_SIZE_BYTES   ((off_t)64 << 20)

/* Runs a program with up to four arguments, in silence; whether it succeeded. */
static bool s_run(const char *program, const char *const arguments[4])
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int null_fd = open("/dev/null", O_WRONLY);
        (void)dup2(null_fd, STDOUT_FILENO);
        (void)dup2(null_fd, STDERR_FILENO);
        (void)execlp(program, program, arguments[0], arguments[1], arguments[2], arguments[3],
                     (char *)NULL);
        _exit(127);
    }
    int status = 0;
    pid_t ended = waitpid(child, &status, 0);
    return ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool s_mount(const store_folder_t *folder)
{
    char image[PATH_SIZE];
    char disk[PATH_SIZE];
    (void)snprintf(image, sizeof(image), "%s/image", folder->path);
    (void)snprintf(disk, sizeof(disk), "%s/disk", folder->path);
    return s_run("mount", (const char *const[4]){"-o", "loop", image, disk});
}

static bool s_unmount(const store_folder_t *folder)
{
    char disk[PATH_SIZE];
    (void)snprintf(disk, sizeof(disk), "%s/disk", folder->path);
    return s_run("umount", (const char *const[4]){disk});
}

/* A file system of its own for the store; false where that cannot be had. */
static bool s_make_disk(store_folder_t *folder)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/disk", folder->path);
    int code = mkdir(path, 0755);
    CHECK(code == 0);
    (void)snprintf(folder->store, sizeof(folder->store), "%s/disk/store", folder->path);
    (void)snprintf(path, sizeof(path), "%s/image", folder->path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0);
    code = ftruncate(fd, DISK_SIZE_BYTES);
    CHECK(code == 0);
    (void)close(fd);
    return geteuid() == 0 && s_run("mkfs.ext4", (const char *const[4]){"-q", "-F", path}) &&
           s_mount(folder);
}

static void s_remove_disk(const store_folder_t *folder)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/disk", folder->path);
    (void)rmdir(path);
    (void)snprintf(path, sizeof(path), "%s/image", folder->path);
    (void)unlink(path);
    (void)rmdir(folder->path);
}

static void s_cut_power(const store_folder_t *folder)
{
    char disk[PATH_SIZE];
    (void)snprintf(disk, sizeof(disk), "%s/disk", folder->path);
    uint32_t flags = SHUTDOWN_NO_FLUSH;
    int fd = open(disk, O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0);
    int code = ioctl(fd, SHUTDOWN_REQUEST, &flags);
    CHECK(code == 0);
    (void)close(fd);
}

/* Goal: whole transactions, none lost, and the store opens, also when the power fails while the
 * store is being created. Method: CRASH_COUNT power cuts, after 0 to 6 reported batches. */
static void test_store_power_cut_leaves_whole_transactions(void **state)
{
    store_folder_t *folder = *state;
    prng_t prng;
    prng_init(&prng, 6);
    uint64_t next = 1;
    for (int i = 0; i < CRASH_COUNT; i++) {
        uint64_t count = i < 5 ? 0 : prng_below(&prng, 7);
        uint64_t reported = s_run_and_crash(folder, next, count, s_cut_power);
        assert_true(s_unmount(folder));
        assert_true(s_mount(folder));
        uint64_t found = s_compare(folder);
        assert_true(found >= reported);
        assert_true(found <= reported + 1);
        next = found + 1;
    }
    assert_true(next > CRASH_COUNT / 2);
}

static store_folder_t s_disk_folder;

static int s_setup_disk(void **state)
{
    *state = &s_disk_folder;
    return 0;
}

static int s_teardown_disk(void **state)
{
    store_folder_t *folder = *state;
    (void)s_unmount(folder); /* after a failure it may not be mounted */
    s_remove_disk(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest kills[] = {
        cmocka_unit_test(test_store_kill_leaves_whole_transactions),
    };
    const struct CMUnitTest power_cuts[] = {
        cmocka_unit_test(test_store_power_cut_leaves_whole_transactions),
    };
    int failed_count = cmocka_run_group_tests(kills, NULL, NULL);
    store_folder_init(&s_disk_folder);
    if (s_make_disk(&s_disk_folder)) {
        failed_count += cmocka_run_group_tests(power_cuts, s_setup_disk, s_teardown_disk);
    } else {
        s_remove_disk(&s_disk_folder);
        print_message("power cuts left out: they need root, loop devices and mkfs.ext4\n");
    }
    return failed_count;
}
