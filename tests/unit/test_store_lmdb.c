/* The store on LMDB: who may open it, what versions and damage do, and what a full disk does. The
 * contract that it shares with the store in memory is tested in test_store_contract.c. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/base/store_batch.h"
#include "common/store/store_lmdb.h"
#include "tests/unit/store_folder.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int s_setup(void **state)
{
    store_folder_t *folder = calloc(1, sizeof(*folder));
    CHECK(folder != NULL);
    store_folder_init(folder);
    *state = folder;
    return 0;
}

static int s_teardown(void **state)
{
    store_folder_t *folder = *state;
    store_folder_done(folder);
    free(folder);
    return 0;
}

static store_lmdb_options_t s_options(const store_folder_t *folder)
{
    return (store_lmdb_options_t){.folder = folder->store, .content_version = 3};
}

static store_lmdb_t *s_open(const store_folder_t *folder)
{
    store_lmdb_options_t options = s_options(folder);
    store_lmdb_t *self = NULL;
    errbuf_t errbuf = {""};
    err_t err = store_lmdb_open(&options, &self, &errbuf);
    if (err != ERR_OK) {
        print_error("%s\n", errbuf.text);
    }
    assert_int_equal(err, ERR_OK);
    return self;
}

/* Opens with these options, expects this error and this part of its text. */
static void s_expect_refusal(const store_lmdb_options_t *options, err_t expected, const char *part)
{
    store_lmdb_t *self = NULL;
    errbuf_t errbuf = {""};
    assert_int_equal(store_lmdb_open(options, &self, &errbuf), expected);
    assert_null(self);
    if (strstr(errbuf.text, part) == NULL) {
        fail_msg("expected \"%s\" in: %s", part, errbuf.text);
    }
}

static err_t s_commit(store_lmdb_t *self, store_batch_t **batch_p)
{
    store_t store = store_lmdb_store(self);
    err_t err = store.submit(store.context, batch_p, NULL);
    return err != ERR_OK ? err : store_await(&store, store_lmdb_event_fd(self));
}

static err_t s_put_one(store_lmdb_t *self, const char *key, const char *value)
{
    store_batch_t *batch = store_batch_new();
    store_batch_put(batch, store_text(key), store_text(value));
    return s_commit(self, &batch);
}

/* -- opening ----------------------------------------------------------------------------------- */

/* Goal: what was committed is there after a restart. Method: commit, close, open, look. */
static void test_store_lmdb_reopen_finds_pairs(void **state)
{
    store_folder_t *folder = *state;
    store_lmdb_t *self = s_open(folder);
    assert_int_equal(s_put_one(self, "a", "1"), ERR_OK);
    store_lmdb_close(&self);
    assert_null(self);
    store_lmdb_close(&self);
    self = s_open(folder);
    store_t store = store_lmdb_store(self);
    assert_true(store_holds(&store, "a", "1"));
    store_lmdb_stats_t stats;
    assert_int_equal(store_lmdb_stats(self, &stats, NULL), ERR_OK);
    assert_int_equal(stats.pair_count, 1);
    assert_int_equal(stats.commit_count, 0);
    assert_true(stats.file_size_bytes > 0);
    store_lmdb_close(&self);
}

/* Goal: a batch that was handed over is finished by close. Method: submit, close at once, reopen.
 */
static void test_store_lmdb_close_finishes_batch(void **state)
{
    store_folder_t *folder = *state;
    store_lmdb_t *self = s_open(folder);
    store_t store = store_lmdb_store(self);
    store_batch_t *batch = store_batch_new();
    store_batch_put(batch, store_text("a"), store_text("1"));
    assert_int_equal(store.submit(store.context, &batch, NULL), ERR_OK);
    store_lmdb_close(&self);
    self = s_open(folder);
    store = store_lmdb_store(self);
    assert_true(store_holds(&store, "a", "1"));
    store_lmdb_close(&self);
}

/* Goal: one writer at a time, and the message names it. Method: open twice. */
static void test_store_lmdb_second_writer_is_refused(void **state)
{
    store_folder_t *folder = *state;
    store_lmdb_t *self = s_open(folder);
    store_lmdb_options_t options = s_options(folder);
    char part[64];
    (void)snprintf(part, sizeof(part), "held by the process %ld", (long)getpid());
    s_expect_refusal(&options, ERR_LOCKED, part);
    store_lmdb_close(&self);
    self = s_open(folder);
    store_lmdb_close(&self);
}

/* Goal: what another version wrote is refused, with what to do. Method: another content version. */
static void test_store_lmdb_other_version_is_refused(void **state)
{
    store_folder_t *folder = *state;
    store_lmdb_t *self = s_open(folder);
    store_lmdb_close(&self);
    store_lmdb_options_t options = s_options(folder);
    options.content_version = 4;
    s_expect_refusal(&options, ERR_UNSUPPORTED, "expected content_version 4, found 3: use the");
    self = s_open(folder);
    store_lmdb_close(&self);
}

/* Goal: the map size is held against its limits. Method: both limits, and one past each. */
static void test_store_lmdb_map_size_limits_are_kept(void **state)
{
    store_folder_t *folder = *state;
    store_lmdb_options_t options = s_options(folder);
    options.map_size_bytes = STORE_LMDB_MAP_SIZE_MIN - 1;
    s_expect_refusal(&options, ERR_INVALID, "map size");
    options.map_size_bytes = STORE_LMDB_MAP_SIZE_MAX + 1;
    s_expect_refusal(&options, ERR_INVALID, "map size");
    options.map_size_bytes = STORE_LMDB_MAP_SIZE_MIN;
    store_lmdb_t *self = NULL;
    assert_int_equal(store_lmdb_open(&options, &self, NULL), ERR_OK);
    store_lmdb_close(&self);
}

/* Goal: a missing parent folder is an error, not a guess. Method: a path two levels deep. */
static void test_store_lmdb_missing_parent_is_refused(void **state)
{
    store_folder_t *folder = *state;
    store_lmdb_options_t options = s_options(folder);
    char path[STORE_FOLDER_PATH_SIZE_MAX + 64];
    (void)snprintf(path, sizeof(path), "%s/missing/store", folder->path);
    options.folder = path;
    s_expect_refusal(&options, ERR_NOT_FOUND, "create the folder");
}

/* Goal: a creation that was interrupted is begun anew. Method: leave a half new.mdb behind. */
static void test_store_lmdb_interrupted_creation_is_repeated(void **state)
{
    store_folder_t *folder = *state;
    assert_int_equal(mkdir(folder->store, 0755), 0);
    store_write_file(store_folder_file(folder, "new.mdb"), (const uint8_t *)"half", 4);
    store_lmdb_t *self = s_open(folder);
    assert_int_equal(s_put_one(self, "a", "1"), ERR_OK);
    store_lmdb_close(&self);
    assert_int_not_equal(access(store_folder_file(folder, "new.mdb"), F_OK), 0);
}

/* -- the event fd ------------------------------------------------------------------------------ */

static bool s_is_readable(int fd, int wait_ms)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    int count = poll(&wanted, 1, wait_ms);
    assert_true(count >= 0);
    return count == 1;
}

/* Goal: the loop is woken once per batch. Method: readable after a commit, not after poll. */
static void test_store_lmdb_event_fd_tells_of_commit(void **state)
{
    store_folder_t *folder = *state;
    store_lmdb_t *self = s_open(folder);
    store_t store = store_lmdb_store(self);
    int fd = store_lmdb_event_fd(self);
    for (int i = 0; i < 3; i++) {
        assert_false(s_is_readable(fd, 0));
        store_batch_t *batch = store_batch_new();
        store_batch_put(batch, store_text("a"), store_text("1"));
        assert_int_equal(store.submit(store.context, &batch, NULL), ERR_OK);
        assert_true(s_is_readable(fd, 30000));
        assert_int_equal(store.poll(store.context, NULL), ERR_OK);
    }
    assert_false(s_is_readable(fd, 0));
    store_lmdb_stats_t stats;
    assert_int_equal(store_lmdb_stats(self, &stats, NULL), ERR_OK);
    assert_int_equal(stats.commit_count, 3);
    assert_true(stats.last_commit_ns > 0);
    store_lmdb_close(&self);
}

/* -- full -------------------------------------------------------------------------------------- */

/* Submits `count` values of 1,000 bytes under keys that begin with `name`. */
static err_t s_put_many(store_lmdb_t *self, char name, uint32_t count)
{
    store_batch_t *batch = store_batch_new();
    for (uint32_t i = 0; i < count; i++) {
        uint8_t key[9] = {(uint8_t)name};
        bytes_put_u64_be(key + 1, i);
        (void)memset(store_batch_reserve_put(batch, slice_make(key, sizeof(key)), 1000), name,
                     1000);
    }
    return s_commit(self, &batch);
}

static uint64_t s_file_size(const store_folder_t *folder)
{
    struct stat status;
    assert_int_equal(stat(store_folder_file(folder, "data.mdb"), &status), 0);
    return (uint64_t)status.st_size;
}

/* Goal: a full map refuses the batch whole, says what to do, and smaller ones still go in. Method:
 * a map of 1 MiB, 2 MB of values, then one value; reopen and look. */
static void test_store_lmdb_full_map_refuses_and_goes_on(void **state)
{
    store_folder_t *folder = *state;
    store_lmdb_options_t options = s_options(folder);
    options.map_size_bytes = STORE_LMDB_MAP_SIZE_MIN;
    store_lmdb_t *self = NULL;
    assert_int_equal(store_lmdb_open(&options, &self, NULL), ERR_OK);
    assert_int_equal(s_put_one(self, "a", "1"), ERR_OK);
    uint64_t size_before = s_file_size(folder);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s_put_many(self, 'x', 2000), ERR_DISK_FULL);
        assert_true(s_file_size(folder) <= size_before);
    }
    assert_int_equal(s_put_many(self, 'y', 100), ERR_OK);
    store_lmdb_stats_t stats;
    assert_int_equal(store_lmdb_stats(self, &stats, NULL), ERR_OK);
    assert_int_equal(stats.pair_count, 101);
    assert_int_equal(stats.failure_count, 3);
    store_lmdb_close(&self);
    self = s_open(folder);
    store_t store = store_lmdb_store(self);
    assert_true(store_holds(&store, "a", "1"));
    assert_int_equal(s_put_many(self, 'x', 2000), ERR_OK);
    store_lmdb_close(&self);
}

static void s_limit_file_size(rlim_t size)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = size;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* Goal: a disk that is full for any number of bytes refuses the batch whole, gives back what the
 * attempt took, and the next one succeeds when there is room. Method: the file may not grow beyond
 * a limit, from none to 600 KB in odd steps; then the limit is lifted. */
static void test_store_lmdb_full_disk_refuses_and_goes_on(void **state)
{
    store_folder_t *folder = *state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction old_action;
    assert_int_equal(sigaction(SIGXFSZ, &ignore, &old_action), 0);
    store_lmdb_t *self = s_open(folder);
    assert_int_equal(s_put_many(self, 'a', 100), ERR_OK);
    uint64_t size_before = s_file_size(folder);
    for (rlim_t room = 0; room < 600000; room += 37777) {
        s_limit_file_size(size_before + room);
        err_t err = s_put_many(self, 'b', 2000);
        s_limit_file_size(before.rlim_cur);
        assert_int_equal(err, ERR_DISK_FULL);
        assert_true(s_file_size(folder) <= size_before);
    }
    assert_int_equal(s_put_many(self, 'c', 2000), ERR_OK);
    assert_int_equal(sigaction(SIGXFSZ, &old_action, NULL), 0);
    store_lmdb_close(&self);
    self = s_open(folder);
    store_lmdb_stats_t stats;
    assert_int_equal(store_lmdb_stats(self, &stats, NULL), ERR_OK);
    assert_int_equal(stats.pair_count, 2100);
    store_lmdb_close(&self);
}

/* -- reading beside and without a writer ------------------------------------------------------- */

/* Runs in a child process: exits 0 when the store can be read and holds a = 1, else the error. */
static int s_read_in_child(const store_folder_t *folder, bool as_nobody)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (as_nobody && geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
            _exit(100);
        }
        store_lmdb_options_t options = s_options(folder);
        store_lmdb_t *self = NULL;
        errbuf_t errbuf = {""};
        err_t err = store_lmdb_open_read_only(&options, &self, &errbuf);
        if (err != ERR_OK) {
            _exit(-(int)err);
        }
        store_t store = store_lmdb_store(self);
        bool is_there = store_holds(&store, "a", "1");
        store_batch_t *batch = store_batch_new();
        bool is_refused = store.submit(store.context, &batch, NULL) == ERR_UNSUPPORTED;
        store_batch_destroy(&batch);
        store_lmdb_close(&self);
        _exit(is_there && is_refused ? 0 : 101);
    }
    int status = 0;
    pid_t ended = waitpid(child, &status, 0);
    CHECK(ended == child);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Goal: a tool reads while a process writes, and while none does. Method: a child reads beside the
 * writer, then alone; before there is a store it is told so. */
static void test_store_lmdb_reader_works_beside_writer(void **state)
{
    store_folder_t *folder = *state;
    assert_int_equal(s_read_in_child(folder, false), -(int)ERR_NOT_FOUND);
    store_lmdb_t *self = s_open(folder);
    assert_int_equal(s_put_one(self, "a", "1"), ERR_OK);
    assert_int_equal(s_read_in_child(folder, false), 0);
    assert_int_equal(s_put_one(self, "b", "2"), ERR_OK);
    store_lmdb_close(&self);
    assert_int_equal(s_read_in_child(folder, false), 0);
}

static void s_change_modes(const store_folder_t *folder, mode_t folder_mode, mode_t file_mode)
{
    static const char *const s_names[] = {"data.mdb", "lock.mdb", "owner.lock"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(chmod(store_folder_file(folder, s_names[i]), file_mode), 0);
    }
    assert_int_equal(chmod(folder->store, folder_mode), 0);
    assert_int_equal(chmod(folder->path, 0755), 0);
}

/* Goal: without permission to write a store is readable, but not beside its writer. Method: a child
 * that may only read, beside the writer and alone. */
static void test_store_lmdb_reader_needs_no_permission_to_write(void **state)
{
    store_folder_t *folder = *state;
    store_lmdb_t *self = s_open(folder);
    assert_int_equal(s_put_one(self, "a", "1"), ERR_OK);
    s_change_modes(folder, 0555, 0444);
    assert_int_equal(s_read_in_child(folder, true), -(int)ERR_LOCKED);
    store_lmdb_close(&self);
    assert_int_equal(s_read_in_child(folder, true), 0);
    s_change_modes(folder, 0755, 0644);
}

/* -- damage ------------------------------------------------------------------------------------ */

enum { DAMAGE_PAIR_COUNT = 3000, DAMAGE_BIG_SIZE = 20000 };

/* Every value says the number of its round, some on pages of their own. */
static void s_write_round(store_lmdb_t *self, uint8_t round)
{
    store_batch_t *batch = store_batch_new();
    for (uint32_t i = 0; i < DAMAGE_PAIR_COUNT; i++) {
        uint8_t key[12] = "pair";
        bytes_put_u64_be(key + 4, i);
        size_t size = i % 500 == 0 ? DAMAGE_BIG_SIZE : 20 + i % 50;
        (void)memset(store_batch_reserve_put(batch, slice_make(key, sizeof(key)), size), round,
                     size);
    }
    /* Leaves free pages behind. */
    for (uint32_t i = 0; i < DAMAGE_PAIR_COUNT; i++) {
        uint8_t key[12] = "temp";
        bytes_put_u64_be(key + 4, i);
        if (round == 1) {
            store_batch_put(batch, slice_make(key, sizeof(key)), store_text("soon deleted again"));
        } else {
            store_batch_delete(batch, slice_make(key, sizeof(key)));
        }
    }
    assert_int_equal(s_commit(self, &batch), ERR_OK);
}

/* The bytes of a store after two rounds. */
static uint8_t *s_make_victim(const store_folder_t *folder, size_t *ret_size)
{
    store_lmdb_t *self = s_open(folder);
    s_write_round(self, 1);
    s_write_round(self, 2);
    store_lmdb_close(&self);
    return store_read_file(store_folder_file(folder, "data.mdb"), ret_size);
}

typedef struct {
    uint8_t round; /* of the first value; 0: none seen */
    uint32_t pair_count;
    bool is_mixed;
} rounds_t;

static err_t s_see_round(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    rounds_t *rounds = context;
    uint32_t number = key_size == 12 ? (uint32_t)bytes_get_u64_be(key + 4) : UINT32_MAX;
    size_t size = number % 500 == 0 ? DAMAGE_BIG_SIZE : 20 + number % 50;
    rounds->round = rounds->round == 0 ? value[0] : rounds->round;
    rounds->is_mixed = rounds->is_mixed || number != rounds->pair_count || value_size != size;
    for (size_t i = 0; i < value_size; i++) {
        rounds->is_mixed = rounds->is_mixed || value[i] != rounds->round;
    }
    rounds->pair_count++;
    return ERR_OK;
}

/* Whether a store that may be damaged gives one whole round, or an error. Returns the error. */
static err_t s_read_victim(const store_folder_t *folder)
{
    store_lmdb_options_t options = s_options(folder);
    store_lmdb_t *self = NULL;
    errbuf_t errbuf = {""};
    err_t err = store_lmdb_open(&options, &self, &errbuf);
    rounds_t rounds = {0};
    if (err == ERR_OK) {
        store_t store = store_lmdb_store(self);
        err = store.walk(store.context, store_text("pair").data, 4, s_see_round, &rounds, &errbuf);
        store_lmdb_close(&self);
    }
    if (err == ERR_OK) {
        assert_false(rounds.is_mixed);
        assert_int_equal(rounds.pair_count, DAMAGE_PAIR_COUNT);
        assert_in_range(rounds.round, 1, 2);
    } else {
        assert_true(err == ERR_CORRUPT || err == ERR_UNSUPPORTED);
        assert_true(strlen(errbuf.text) > 20);
    }
    return err;
}

/* Goal: a file that was cut off is refused, and still there afterwards. Method: cut at every page
 * and at some bytes between. */
static void test_store_lmdb_truncated_file_is_refused(void **state)
{
    store_folder_t *folder = *state;
    size_t size = 0;
    uint8_t *bytes = s_make_victim(folder, &size);
    unsigned refused_count = 0;
    unsigned count = 0;
    for (size_t cut = 0; cut < size; cut += cut % 4096 == 0 ? 1000 : 3096) {
        store_write_file(store_folder_file(folder, "data.mdb"), bytes, cut);
        err_t err = s_read_victim(folder);
        refused_count += err != ERR_OK;
        count++;
        assert_true(s_file_size(folder) == cut);
    }
    /* Behind the last page in use there may be free ones. */
    assert_true(refused_count > count / 4);
    free(bytes);
}

/* Goal: a page that reads as zeros, or as another page, gives an error or was not in use. Method:
 * each page in turn. */
static void test_store_lmdb_lost_page_is_refused(void **state)
{
    store_folder_t *folder = *state;
    size_t size = 0;
    uint8_t *bytes = s_make_victim(folder, &size);
    uint8_t page[4096];
    unsigned refused_count = 0;
    for (size_t at = 0; at + sizeof(page) <= size; at += sizeof(page)) {
        (void)memcpy(page, bytes + at, sizeof(page));
        (void)memset(bytes + at, 0, sizeof(page));
        store_write_file(store_folder_file(folder, "data.mdb"), bytes, size);
        refused_count += s_read_victim(folder) != ERR_OK;
        (void)memcpy(bytes + at, bytes + (at + 40960) % (size & ~(size_t)4095), sizeof(page));
        store_write_file(store_folder_file(folder, "data.mdb"), bytes, size);
        (void)s_read_victim(folder);
        (void)memcpy(bytes + at, page, sizeof(page));
    }
    assert_true(refused_count > 50);
    store_write_file(store_folder_file(folder, "data.mdb"), bytes, size);
    assert_int_equal(s_read_victim(folder), ERR_OK);
    free(bytes);
}

/* Goal: a flipped bit anywhere gives an error, or one whole committed round; never other content
 * and never a crash. Method: 2,000 random bits, half of them in the headers of pages. */
static void test_store_lmdb_flipped_bit_never_changes_content(void **state)
{
    store_folder_t *folder = *state;
    size_t size = 0;
    uint8_t *bytes = s_make_victim(folder, &size);
    prng_t prng;
    prng_init(&prng, 99);
    unsigned refused_count = 0;
    for (int i = 0; i < 2000; i++) {
        size_t at = prng_below(&prng, size);
        if (i % 2 == 0) {
            at = (at & ~(size_t)4095) + prng_below(&prng, 200);
        }
        uint8_t bit = (uint8_t)(1U << prng_below(&prng, 8));
        bytes[at] ^= bit;
        store_write_file(store_folder_file(folder, "data.mdb"), bytes, size);
        refused_count += s_read_victim(folder) != ERR_OK;
        bytes[at] ^= bit;
    }
    assert_true(refused_count > 500);
    free(bytes);
}

/* Goal: a file of something else is refused by name and left alone. Method: text as data.mdb. */
static void test_store_lmdb_foreign_file_is_refused(void **state)
{
    store_folder_t *folder = *state;
    assert_int_equal(mkdir(folder->store, 0755), 0);
    uint8_t text[8192];
    (void)memset(text, 'x', sizeof(text));
    store_write_file(store_folder_file(folder, "data.mdb"), text, sizeof(text));
    store_lmdb_options_t options = s_options(folder);
    s_expect_refusal(&options, ERR_CORRUPT, "expected the beginning of an LMDB file");
    assert_int_equal(s_file_size(folder), sizeof(text));
    store_write_file(store_folder_file(folder, "data.mdb"), text, 0);
    s_expect_refusal(&options, ERR_CORRUPT, "the file ends before");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, s_setup, s_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_store_lmdb_second_writer_is_refused),
        WITH_FOLDER(test_store_lmdb_other_version_is_refused),
        WITH_FOLDER(test_store_lmdb_map_size_limits_are_kept),
        WITH_FOLDER(test_store_lmdb_missing_parent_is_refused),
        WITH_FOLDER(test_store_lmdb_foreign_file_is_refused),
        WITH_FOLDER(test_store_lmdb_truncated_file_is_refused),
        WITH_FOLDER(test_store_lmdb_lost_page_is_refused),
        WITH_FOLDER(test_store_lmdb_flipped_bit_never_changes_content),
        WITH_FOLDER(test_store_lmdb_interrupted_creation_is_repeated),
        WITH_FOLDER(test_store_lmdb_full_map_refuses_and_goes_on),
        WITH_FOLDER(test_store_lmdb_full_disk_refuses_and_goes_on),
        WITH_FOLDER(test_store_lmdb_reopen_finds_pairs),
        WITH_FOLDER(test_store_lmdb_close_finishes_batch),
        WITH_FOLDER(test_store_lmdb_event_fd_tells_of_commit),
        WITH_FOLDER(test_store_lmdb_reader_works_beside_writer),
        WITH_FOLDER(test_store_lmdb_reader_needs_no_permission_to_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
