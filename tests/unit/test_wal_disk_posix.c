/* The disk seam over POSIX files, in a temporary folder. */
#include "common/env/disk_posix.h"

#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    char root[64];
    disk_posix_t *posix;
    const disk_t *disk;
    errbuf_t errbuf;
} fixture_t;

static int s_set_up(void **state)
{
    fixture_t *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    (void)snprintf(f->root, sizeof(f->root), "/tmp/tidal-disk-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    assert_int_equal(disk_posix_new(f->root, &f->posix, &f->errbuf), ERR_OK);
    f->disk = disk_posix_disk(f->posix);
    *state = f;
    return 0;
}

/* Walks down by hand: the tests make at most a few levels. */
static void s_remove_tree(fixture_t *f)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf -- '%s'", f->root);
    // NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe): a fixed command on a name made here
    assert_int_equal(system(command), 0);
}

static int s_tear_down(void **state)
{
    fixture_t *f = *state;
    disk_posix_destroy(&f->posix);
    disk_posix_destroy(&f->posix);
    s_remove_tree(f);
    free(f);
    return 0;
}

static disk_file_t *s_open(fixture_t *f, const char *path, disk_mode_t mode)
{
    disk_file_t *file = NULL;
    assert_int_equal(f->disk->open(f->disk->context, path, mode, &file, &f->errbuf), ERR_OK);
    return file;
}

static void s_write_file(fixture_t *f, const char *path, const char *text)
{
    disk_file_t *file = s_open(f, path, DISK_CREATE);
    assert_int_equal(f->disk->write_at(f->disk->context, file, 0, text, strlen(text), &f->errbuf),
                     ERR_OK);
    assert_int_equal(f->disk->sync(f->disk->context, file, &f->errbuf), ERR_OK);
    f->disk->close(f->disk->context, &file);
    assert_null(file);
}

/* Goal: what is missing is ERR_NOT_FOUND for every call that names it, with the name in the text.
 */
static void test_disk_posix_missing_path_is_not_found(void **state)
{
    fixture_t *f = *state;
    void *context = f->disk->context;
    disk_file_t *file = NULL;
    assert_int_equal(f->disk->open(context, "no", DISK_READ, &file, &f->errbuf), ERR_NOT_FOUND);
    assert_non_null(strstr(f->errbuf.text, "no:"));
    assert_int_equal(f->disk->open(context, "no", DISK_WRITE, &file, &f->errbuf), ERR_NOT_FOUND);
    assert_int_equal(f->disk->open(context, "no/file", DISK_CREATE, &file, &f->errbuf),
                     ERR_NOT_FOUND);
    assert_null(file);
    assert_int_equal(f->disk->unlink(context, "no", &f->errbuf), ERR_NOT_FOUND);
    assert_int_equal(f->disk->rename(context, "no", "yes", &f->errbuf), ERR_NOT_FOUND);
    assert_int_equal(f->disk->sync_folder(context, "no", &f->errbuf), ERR_NOT_FOUND);
    assert_int_equal(f->disk->list(context, "no", NULL, NULL, &f->errbuf), ERR_NOT_FOUND);
    disk_posix_t *other = NULL;
    assert_int_equal(disk_posix_new("/nowhere/at/all", &other, &f->errbuf), ERR_NOT_FOUND);
}

/* Goal: a device without space is told apart from one that is broken. */
static void test_disk_posix_full_device_is_disk_full(void **state)
{
    fixture_t *f = *state;
    disk_file_t *file = s_open(f, "/dev/full", DISK_WRITE);
    assert_int_equal(f->disk->write_at(f->disk->context, file, 0, "x", 1, &f->errbuf),
                     ERR_DISK_FULL);
    f->disk->close(f->disk->context, &file);
}

/* Goal: a write without permission is an error, not a crash. */
static void test_disk_posix_write_to_read_only_file_fails(void **state)
{
    fixture_t *f = *state;
    s_write_file(f, "file", "text");
    disk_file_t *file = s_open(f, "file", DISK_READ);
    assert_int_equal(f->disk->write_at(f->disk->context, file, 0, "x", 1, &f->errbuf), ERR_IO);
    f->disk->close(f->disk->context, &file);
    f->disk->close(f->disk->context, &file);
}

/* Goal: reads end where the file does; writes go where they should; sizes and cuts are exact. */
static void test_disk_posix_reads_and_writes_at_offsets(void **state)
{
    fixture_t *f = *state;
    void *context = f->disk->context;
    char bytes[16];
    size_t got = 99;
    uint64_t size = 0;
    disk_file_t *file = s_open(f, "file", DISK_CREATE);
    assert_int_equal(f->disk->read_at(context, file, 0, bytes, 16, &got, &f->errbuf), ERR_OK);
    assert_int_equal(got, 0);
    assert_int_equal(f->disk->write_at(context, file, 4, "tide", 4, &f->errbuf), ERR_OK);
    assert_int_equal(f->disk->read_at(context, file, 2, bytes, 16, &got, &f->errbuf), ERR_OK);
    assert_int_equal(got, 6);
    assert_memory_equal(bytes, "\0\0tide", 6);
    assert_int_equal(f->disk->read_at(context, file, 8, bytes, 16, &got, &f->errbuf), ERR_OK);
    assert_int_equal(got, 0);
    assert_int_equal(f->disk->truncate(context, file, 6, &f->errbuf), ERR_OK);
    assert_int_equal(f->disk->size(context, file, &size, &f->errbuf), ERR_OK);
    assert_int_equal(size, 6);
    f->disk->close(context, &file);
    file = s_open(f, "file", DISK_CREATE); /* kept when there */
    assert_int_equal(f->disk->size(context, file, &size, &f->errbuf), ERR_OK);
    assert_int_equal(size, 6);
    f->disk->close(context, &file);
}

static void s_on_name(void *context, const char *name, uint64_t size_bytes)
{
    char *text = context;
    (void)snprintf(text + strlen(text), 256 - strlen(text), "%s=%lld ", name,
                   (long long)size_bytes);
}

/* Goal: names come in byte order, folders marked, and follow renames and removals. */
static void test_disk_posix_list_gives_names_in_order(void **state)
{
    fixture_t *f = *state;
    void *context = f->disk->context;
    char text[256] = "";
    assert_int_equal(f->disk->make_folders(context, "b/sub/deep", &f->errbuf), ERR_OK);
    assert_int_equal(f->disk->make_folders(context, "b/sub/deep", &f->errbuf), ERR_OK);
    s_write_file(f, "b/z", "zz");
    s_write_file(f, "b/A", "");
    s_write_file(f, "b/tmp", "four");
    assert_int_equal(f->disk->rename(context, "b/tmp", "b/a", &f->errbuf), ERR_OK);
    assert_int_equal(f->disk->unlink(context, "b/z", &f->errbuf), ERR_OK);
    assert_int_equal(f->disk->sync_folder(context, "b", &f->errbuf), ERR_OK);
    assert_int_equal(f->disk->list(context, "b", s_on_name, text, &f->errbuf), ERR_OK);
    assert_string_equal(text, "A=0 a=4 sub=-1 ");
    text[0] = '\0';
    assert_int_equal(f->disk->list(context, "b/sub/deep", s_on_name, text, &f->errbuf), ERR_OK);
    assert_string_equal(text, "");
}

/* Goal: folders are made by absolute path too, and a file in the way is an error. */
static void test_disk_posix_make_folders_takes_absolute_paths(void **state)
{
    fixture_t *f = *state;
    void *context = f->disk->context;
    char path[128];
    struct stat status;
    (void)snprintf(path, sizeof(path), "%s/one//two/", f->root);
    assert_int_equal(f->disk->make_folders(context, path, &f->errbuf), ERR_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISDIR(status.st_mode));
    s_write_file(f, "one/file", "");
    assert_int_not_equal(f->disk->make_folders(context, "one/file/sub", &f->errbuf), ERR_OK);
    static char s_long[WAL_PATH_SIZE_MAX + 10];
    memset(s_long, 'x', sizeof(s_long) - 1);
    assert_int_not_equal(f->disk->make_folders(context, s_long, &f->errbuf), ERR_OK);
}

/* Goal: the free space of a folder that is still to be made is that of the disk it will lie on. */
static void test_disk_posix_free_bytes_of_missing_folder_asks_above(void **state)
{
    fixture_t *f = *state;
    char path[128];
    uint64_t free_here = 0;
    uint64_t free_there = 0;
    assert_int_equal(f->disk->free_bytes(f->disk->context, ".", &free_here, &f->errbuf), ERR_OK);
    assert_int_equal(
        f->disk->free_bytes(f->disk->context, "not/yet/there", &free_there, &f->errbuf), ERR_OK);
    assert_true(free_here > 0 && free_there > 0);
    (void)snprintf(path, sizeof(path), "%s/not/yet", f->root);
    assert_int_equal(f->disk->free_bytes(f->disk->context, path, &free_there, &f->errbuf), ERR_OK);
    assert_int_equal(f->disk->free_bytes(f->disk->context, "/no-such-folder/x", &free_there, NULL),
                     ERR_OK);
}

/* Goal: a log lives on real files: written, closed, opened, read, copied to a replica. */
static void test_disk_posix_carries_a_log_and_its_replica(void **state)
{
    fixture_t *f = *state;
    prng_t prng;
    buffer_t blocks;
    wal_offer_t offer;
    prng_init(&prng, 9);
    buffer_init(&blocks);
    wal_log_t *log = wal_support_open_log(f->disk, SEGMENT_SIZE_MIN);
    wal_support_write(log, &prng, 20, 20);
    const uint64_t seq = wal_log_durable_seq(log);
    assert_true(wal_log_has_room(log, 1000));
    wal_log_close(&log);
    log = wal_support_open_log(f->disk, SEGMENT_SIZE_MIN);
    assert_true(wal_log_durable_seq(log) == seq);
    wal_support_write(log, &prng, 20, 20);
    wal_support_read_blocks(f->disk, WAL_SUPPORT_ORIGIN, 1, wal_log_durable_seq(log), &blocks);
    wal_replica_t *replica = wal_support_open_replica(f->disk, NULL);
    assert_int_equal(wal_replica_offer(replica, buffer_slice(&blocks), &offer, &f->errbuf), ERR_OK);
    assert_int_equal(wal_replica_flush(replica, &f->errbuf), ERR_OK);
    const wal_hash_t ours =
        wal_support_check_chain(f->disk, WAL_SUPPORT_REPLICA, wal_log_durable_seq(log));
    const wal_hash_t theirs = wal_log_last_hash(log);
    assert_memory_equal(ours.bytes, theirs.bytes, WAL_HASH_SIZE);
    assert_int_equal(
        wal_replica_set_aside(replica, 1, "a drill", wal_support_now(0), NULL, &f->errbuf), ERR_OK);
    wal_quarantine_usage_t usage;
    assert_int_equal(wal_quarantine_usage(f->disk, WAL_SUPPORT_REPLICA, &usage, NULL), ERR_OK);
    assert_true(usage.count > 2);
    wal_replica_close(&replica);
    wal_log_close(&log);
    buffer_done(&blocks);
}

#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, s_set_up, s_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_TEST(test_disk_posix_missing_path_is_not_found),
        DISK_TEST(test_disk_posix_full_device_is_disk_full),
        DISK_TEST(test_disk_posix_write_to_read_only_file_fails),
        DISK_TEST(test_disk_posix_reads_and_writes_at_offsets),
        DISK_TEST(test_disk_posix_list_gives_names_in_order),
        DISK_TEST(test_disk_posix_make_folders_takes_absolute_paths),
        DISK_TEST(test_disk_posix_free_bytes_of_missing_folder_asks_above),
        DISK_TEST(test_disk_posix_carries_a_log_and_its_replica),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
