/* The simulated disk keeps what was synced, may lose or tear the rest, and fails as planned. */
#include "tests/support/sim_disk.h"

#include "common/base/bounds.h"
#include "common/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 4096, SECTOR = 512 };

typedef struct {
    sim_disk_t *sim;
    const disk_t *disk;
    errbuf_t errbuf;
    uint8_t ones[SIZE];
} fixture_t;

static int s_set_up(void **state)
{
    fixture_t *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->sim = sim_disk_new(1);
    f->disk = sim_disk_disk(f->sim);
    memset(f->ones, 1, sizeof(f->ones));
    assert_int_equal(f->disk->make_folders(f->disk->context, "d", &f->errbuf), ERR_OK);
    *state = f;
    return 0;
}

static int s_tear_down(void **state)
{
    fixture_t *f = *state;
    sim_disk_destroy(&f->sim);
    sim_disk_destroy(&f->sim);
    free(f);
    return 0;
}

static disk_file_t *s_open(fixture_t *f, const char *path)
{
    disk_file_t *file = NULL;
    assert_int_equal(f->disk->open(f->disk->context, path, DISK_CREATE, &file, &f->errbuf), ERR_OK);
    return file;
}

static err_t s_write(fixture_t *f, disk_file_t *file, uint64_t offset, size_t size)
{
    return f->disk->write_at(f->disk->context, file, offset, f->ones, size, &f->errbuf);
}

static void s_sync_all(fixture_t *f, disk_file_t *file)
{
    assert_int_equal(f->disk->sync(f->disk->context, file, &f->errbuf), ERR_OK);
    assert_int_equal(f->disk->sync_folder(f->disk->context, "d", &f->errbuf), ERR_OK);
}

static uint64_t s_size_of(const fixture_t *f, const char *path)
{
    const uint8_t *bytes = NULL;
    uint64_t size = UINT64_MAX;
    const err_t err = sim_disk_peek(f->sim, path, &bytes, &size);
    return err == ERR_OK ? size : UINT64_MAX;
}

/* Goal: after a crash files that were open are dead, closing excepted. */
static void test_sim_disk_file_of_before_the_crash_is_dead(void **state)
{
    fixture_t *f = *state;
    size_t got = 0;
    uint64_t size = 0;
    disk_file_t *file = s_open(f, "d/file");
    sim_disk_crash(f->sim, 1);
    assert_int_equal(s_write(f, file, 0, 1), ERR_IO);
    assert_int_equal(f->disk->read_at(f->disk->context, file, 0, &size, 1, &got, NULL), ERR_IO);
    assert_int_equal(f->disk->sync(f->disk->context, file, NULL), ERR_IO);
    assert_int_equal(f->disk->truncate(f->disk->context, file, 0, NULL), ERR_IO);
    assert_int_equal(f->disk->size(f->disk->context, file, &size, NULL), ERR_IO);
    f->disk->close(f->disk->context, &file);
}

/* Goal: what was synced survives every crash. */
static void test_sim_disk_synced_data_survives(void **state)
{
    fixture_t *f = *state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        disk_file_t *file = s_open(f, "d/file");
        assert_int_equal(s_write(f, file, 100, 1000), ERR_OK);
        s_sync_all(f, file);
        f->disk->close(f->disk->context, &file);
        sim_disk_crash(f->sim, seed);
        assert_int_equal(s_size_of(f, "d/file"), 1100);
    }
}

/* Goal: an unsynced write may be kept, lost or torn at sectors, and only so. Method: ones over
 * zeros, many seeds; every sector is whole, and all three fates occur. */
static void test_sim_disk_unsynced_write_is_kept_lost_or_torn_by_sectors(void **state)
{
    fixture_t *f = *state;
    static const uint8_t s_zeros[SIZE];
    size_t kept = 0;
    size_t lost = 0;
    size_t torn = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        sim_disk_put(f->sim, "d/file", s_zeros, SIZE);
        disk_file_t *file = s_open(f, "d/file");
        assert_int_equal(s_write(f, file, 0, SIZE), ERR_OK);
        f->disk->close(f->disk->context, &file);
        sim_disk_crash(f->sim, seed);
        const uint8_t *bytes = NULL;
        uint64_t size = 0;
        size_t ones = 0;
        assert_int_equal(sim_disk_peek(f->sim, "d/file", &bytes, &size), ERR_OK);
        assert_int_equal(size, SIZE);
        for (size_t i = 0; i < SIZE; i++) {
            assert_int_equal(bytes[i], bytes[i - i % SECTOR]);
            ones += bytes[i];
        }
        kept += ones == SIZE ? 1 : 0;
        lost += ones == 0 ? 1 : 0;
        torn += ones > 0 && ones < SIZE ? 1 : 0;
    }
    assert_true(kept > 20 && lost > 20 && torn > 20);
}

/* Goal: overlapping unsynced writes may survive in any combination, the older one under the newer.
 */
static void test_sim_disk_overlapping_unsynced_writes_are_independent(void **state)
{
    fixture_t *f = *state;
    bool seen[3] = {false, false, false};
    uint8_t twos[SECTOR];
    memset(twos, 2, sizeof(twos));
    for (uint64_t seed = 0; seed < 200; seed++) {
        static const uint8_t s_zeros[SECTOR];
        sim_disk_put(f->sim, "d/file", s_zeros, SECTOR);
        disk_file_t *file = s_open(f, "d/file");
        assert_int_equal(s_write(f, file, 0, SECTOR), ERR_OK);
        assert_int_equal(f->disk->write_at(f->disk->context, file, 0, twos, SECTOR, NULL), ERR_OK);
        f->disk->close(f->disk->context, &file);
        sim_disk_crash(f->sim, seed);
        const uint8_t *bytes = NULL;
        uint64_t size = 0;
        assert_int_equal(sim_disk_peek(f->sim, "d/file", &bytes, &size), ERR_OK);
        assert_in_range(bytes[0], 0, 2);
        seen[bytes[0]] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2]);
}

/* Goal: a lost append may leave its length behind, as zeros; a lost truncation brings the bytes
 * back. */
static void test_sim_disk_sizes_may_or_may_not_survive(void **state)
{
    fixture_t *f = *state;
    size_t grown = 0;
    size_t cut = 0;
    size_t whole = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        sim_disk_put(f->sim, "d/append", f->ones, 10);
        sim_disk_put(f->sim, "d/cut", f->ones, 1000);
        disk_file_t *append = s_open(f, "d/append");
        disk_file_t *file = s_open(f, "d/cut");
        assert_int_equal(s_write(f, append, 10, 2000), ERR_OK);
        assert_int_equal(f->disk->truncate(f->disk->context, file, 500, NULL), ERR_OK);
        f->disk->close(f->disk->context, &append);
        f->disk->close(f->disk->context, &file);
        sim_disk_crash(f->sim, seed);
        const uint8_t *bytes = NULL;
        uint64_t size = 0;
        assert_int_equal(sim_disk_peek(f->sim, "d/append", &bytes, &size), ERR_OK);
        grown += size == 2010 && bytes[1000] == 0 ? 1 : 0;
        assert_int_equal(sim_disk_peek(f->sim, "d/cut", &bytes, &size), ERR_OK);
        cut += size == 500 ? 1 : 0;
        whole += size == 1000 && bytes[999] == 1 ? 1 : 0;
        assert_true(size == 500 || size == 1000);
    }
    assert_true(grown > 5 && cut > 20 && whole > 20);
}

/* Goal: names that were not synced may be lost, the later ones before the earlier ones. */
static void test_sim_disk_unsynced_names_are_kept_up_to_some_moment(void **state)
{
    fixture_t *f = *state;
    size_t outcomes[4] = {0, 0, 0, 0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        disk_file_t *file = s_open(f, "d/old");
        s_sync_all(f, file);
        f->disk->close(f->disk->context, &file);
        file = s_open(f, "d/first"); /* 1 */
        assert_int_equal(s_write(f, file, 0, 10), ERR_OK);
        assert_int_equal(f->disk->sync(f->disk->context, file, NULL), ERR_OK);
        f->disk->close(f->disk->context, &file);
        assert_int_equal(f->disk->rename(f->disk->context, "d/first", "d/second", NULL), ERR_OK);
        assert_int_equal(f->disk->unlink(f->disk->context, "d/old", NULL), ERR_OK);
        sim_disk_crash(f->sim, seed);
        const bool first = s_size_of(f, "d/first") != UINT64_MAX;
        const bool second = s_size_of(f, "d/second") != UINT64_MAX;
        const bool old = s_size_of(f, "d/old") != UINT64_MAX;
        assert_false(first && second);
        if (second) {
            assert_int_equal(s_size_of(f, "d/second"), 10);
        }
        const size_t outcome = !old ? 3 : (second ? 2 : (first ? 1 : 0));
        if (!old) {
            assert_true(second);
        }
        outcomes[outcome]++;
        sim_disk_t *fresh = sim_disk_new(seed);
        sim_disk_destroy(&f->sim);
        f->sim = fresh;
        f->disk = sim_disk_disk(fresh);
        assert_int_equal(f->disk->make_folders(f->disk->context, "d", NULL), ERR_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_true(outcomes[i] > 10);
    }
}

/* Goal: a rename that replaces a file and is lost brings the old file back. */
static void test_sim_disk_lost_rename_restores_what_it_replaced(void **state)
{
    fixture_t *f = *state;
    sim_disk_put(f->sim, "d/a", f->ones, 10);
    sim_disk_put(f->sim, "d/b", f->ones, 20);
    sim_disk_set_tearing(f->sim, false);
    assert_int_equal(f->disk->rename(f->disk->context, "d/a", "d/b", NULL), ERR_OK);
    assert_int_equal(s_size_of(f, "d/b"), 10);
    assert_int_equal(s_size_of(f, "d/a"), UINT64_MAX);
    sim_disk_crash(f->sim, 1);
    assert_int_equal(s_size_of(f, "d/a"), 10);
    assert_int_equal(s_size_of(f, "d/b"), 20);
    assert_int_equal(sim_disk_used_bytes(f->sim), 30);
}

/* Goal: a restart of the processes alone loses nothing and makes nothing durable. */
static void test_sim_disk_restart_keeps_what_is_pending(void **state)
{
    fixture_t *f = *state;
    disk_file_t *file = s_open(f, "d/file");
    assert_int_equal(s_write(f, file, 0, 100), ERR_OK);
    sim_disk_restart(f->sim);
    assert_int_equal(s_write(f, file, 0, 100), ERR_IO);
    f->disk->close(f->disk->context, &file);
    assert_int_equal(s_size_of(f, "d/file"), 100);
    sim_disk_set_tearing(f->sim, false);
    sim_disk_crash(f->sim, 1);
    assert_int_equal(s_size_of(f, "d/file"), UINT64_MAX);
}

/* Goal: a full disk takes a part of the write, says so, and has room again after a removal. */
static void test_sim_disk_full_disk_takes_a_part(void **state)
{
    fixture_t *f = *state;
    uint64_t left = 0;
    disk_file_t *file = s_open(f, "d/file");
    sim_disk_set_capacity(f->sim, 1000);
    assert_int_equal(s_write(f, file, 0, 900), ERR_OK);
    assert_int_equal(f->disk->free_bytes(f->disk->context, "d", &left, NULL), ERR_OK);
    assert_int_equal(left, 100);
    assert_int_equal(s_write(f, file, 900, 200), ERR_DISK_FULL);
    assert_int_equal(s_size_of(f, "d/file"), 1000);
    assert_int_equal(s_write(f, file, 0, 1000), ERR_OK); /* over what is there */
    s_sync_all(f, file);
    f->disk->close(f->disk->context, &file);
    assert_int_equal(f->disk->unlink(f->disk->context, "d/file", NULL), ERR_OK);
    assert_int_equal(f->disk->sync_folder(f->disk->context, "d", NULL), ERR_OK);
    assert_int_equal(sim_disk_used_bytes(f->sim), 0);
}

/* Goal: planned failures come at their count, once. */
static void test_sim_disk_planned_write_and_sync_fail_once(void **state)
{
    fixture_t *f = *state;
    disk_file_t *file = s_open(f, "d/file");
    sim_disk_fail_write(f->sim, 2);
    assert_int_equal(s_write(f, file, 0, 100), ERR_OK);
    assert_int_equal(s_write(f, file, 100, 100), ERR_IO);
    assert_in_range(s_size_of(f, "d/file"), 100, 200);
    assert_int_equal(s_write(f, file, 100, 100), ERR_OK);
    sim_disk_fail_sync(f->sim, 1);
    assert_int_equal(f->disk->sync(f->disk->context, file, NULL), ERR_IO);
    assert_int_equal(f->disk->sync(f->disk->context, file, NULL), ERR_OK);
    f->disk->close(f->disk->context, &file);
}

/* Goal: once the power is off nothing works until the crash is over. */
static void test_sim_disk_stopped_disk_refuses_everything(void **state)
{
    fixture_t *f = *state;
    void *context = f->disk->context;
    disk_file_t *file = s_open(f, "d/file");
    disk_file_t *other = NULL;
    uint64_t left = 0;
    sim_disk_stop_at(f->sim, 2);
    assert_int_equal(s_write(f, file, 0, 10), ERR_OK);
    assert_false(sim_disk_stopped(f->sim));
    assert_int_equal(s_write(f, file, 0, 10), ERR_IO);
    assert_true(sim_disk_stopped(f->sim));
    assert_int_equal(s_write(f, file, 0, 10), ERR_IO);
    assert_int_equal(f->disk->open(context, "d/file", DISK_READ, &other, NULL), ERR_IO);
    assert_int_equal(f->disk->rename(context, "d/file", "d/x", NULL), ERR_IO);
    assert_int_equal(f->disk->unlink(context, "d/file", NULL), ERR_IO);
    assert_int_equal(f->disk->make_folders(context, "e", NULL), ERR_IO);
    assert_int_equal(f->disk->sync_folder(context, "d", NULL), ERR_IO);
    assert_int_equal(f->disk->free_bytes(context, "d", &left, NULL), ERR_IO);
    f->disk->close(context, &file);
    sim_disk_crash(f->sim, 1);
    file = s_open(f, "d/file");
    assert_int_equal(s_write(f, file, 0, 10), ERR_OK);
    f->disk->close(context, &file);
}

/* Goal: the same seed and the same calls leave the same bytes. */
static void test_sim_disk_same_seed_gives_the_same_disk(void **state)
{
    fixture_t *f = *state;
    sim_disk_t *disks[2];
    for (size_t i = 0; i < 2; i++) {
        sim_disk_destroy(&f->sim);
        f->sim = sim_disk_new(42);
        f->disk = sim_disk_disk(f->sim);
        assert_int_equal(f->disk->make_folders(f->disk->context, "d", NULL), ERR_OK);
        disk_file_t *file = s_open(f, "d/file");
        for (uint64_t j = 0; j < 20; j++) {
            assert_int_equal(s_write(f, file, 700 * j, 1500), ERR_OK);
        }
        f->disk->close(f->disk->context, &file);
        sim_disk_crash(f->sim, 9);
        disks[i] = sim_disk_clone(f->sim);
    }
    assert_true(sim_disk_equal(disks[0], disks[1]));
    sim_disk_destroy(&disks[0]);
    sim_disk_destroy(&disks[1]);
}

/* Goal: names of one folder come in byte order, folders marked; paths are what they mean. */
static void test_sim_disk_paths_are_normal_and_lists_are_ordered(void **state)
{
    fixture_t *f = *state;
    sim_disk_put(f->sim, "./d//b", "xy", 2);
    sim_disk_put(f->sim, "d/a/", "", 0);
    sim_disk_put(f->sim, "d/sub/deep", "", 0);
    assert_int_equal(s_size_of(f, "d/b"), 2);
    assert_int_equal(s_size_of(f, "d/sub"), UINT64_MAX);
    disk_file_t *file = NULL;
    assert_int_equal(f->disk->open(f->disk->context, "d/no/file", DISK_CREATE, &file, NULL),
                     ERR_NOT_FOUND);
    assert_int_equal(f->disk->make_folders(f->disk->context, "d/b/under-a-file", NULL), ERR_IO);
}

/* One change of one of a few files: written, cut, synced, renamed, removed. */
static void s_change_any(fixture_t *f, prng_t *prng)
{
    static const char *const s_paths[] = {"d/a", "d/b", "d/c", "d/e"};
    const char *path = s_paths[prng_below(prng, 4)];
    const char *other = s_paths[prng_below(prng, 4)];
    uint64_t kind = prng_below(prng, 8);
    disk_file_t *file = NULL;
    if (kind == 0) {
        (void)f->disk->unlink(f->disk->context, path, NULL);
    } else if (kind == 1 && path != other) {
        (void)f->disk->rename(f->disk->context, path, other, NULL);
    } else if (kind == 2) {
        (void)f->disk->sync_folder(f->disk->context, "d", NULL);
    } else {
        file = s_open(f, path);
        if (kind == 3) {
            (void)f->disk->sync(f->disk->context, file, NULL);
        } else if (kind == 4) {
            (void)f->disk->truncate(f->disk->context, file, prng_below(prng, SIZE), NULL);
        } else {
            f->ones[0] = (uint8_t)prng_below(prng, 256);
            (void)s_write(f, file, prng_below(prng, SIZE), 1 + (size_t)prng_below(prng, SIZE - 1));
        }
        f->disk->close(f->disk->context, &file);
    }
}

/* Goal: a clone of what is synced is what a power cut leaves that loses all the rest, and the disk goes
 * on as if nobody had looked. */
static void test_sim_disk_synced_clone_is_what_a_crash_leaves(void **state)
{
    fixture_t *f = *state;
    prng_t prng;
    prng_init(&prng, 77);
    sim_disk_set_tearing(f->sim, false);
    uint64_t different = 0;
    for (uint32_t round = 0; round < 2000; round++) {
        uint64_t changes = 1 + prng_below(&prng, 12);
        for (uint64_t i = 0; i < changes; i++) {
            s_change_any(f, &prng);
        }
        sim_disk_t *before = sim_disk_clone(f->sim);
        sim_disk_t *synced = sim_disk_clone_synced(f->sim);
        assert_true(sim_disk_equal(before, f->sim));
        uint64_t used = sim_disk_used_bytes(synced);
        sim_disk_crash(f->sim, round);
        assert_true(sim_disk_equal(synced, f->sim));
        assert_int_equal(used, sim_disk_used_bytes(f->sim));
        different += used != sim_disk_used_bytes(before) ? 1 : 0;
        sim_disk_destroy(&before);
        sim_disk_destroy(&synced);
    }
    assert_true(different > 500);
}

#define SIM_TEST(name) cmocka_unit_test_setup_teardown(name, s_set_up, s_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIM_TEST(test_sim_disk_file_of_before_the_crash_is_dead),
        SIM_TEST(test_sim_disk_synced_data_survives),
        SIM_TEST(test_sim_disk_unsynced_write_is_kept_lost_or_torn_by_sectors),
        SIM_TEST(test_sim_disk_overlapping_unsynced_writes_are_independent),
        SIM_TEST(test_sim_disk_sizes_may_or_may_not_survive),
        SIM_TEST(test_sim_disk_unsynced_names_are_kept_up_to_some_moment),
        SIM_TEST(test_sim_disk_lost_rename_restores_what_it_replaced),
        SIM_TEST(test_sim_disk_restart_keeps_what_is_pending),
        SIM_TEST(test_sim_disk_full_disk_takes_a_part),
        SIM_TEST(test_sim_disk_planned_write_and_sync_fail_once),
        SIM_TEST(test_sim_disk_stopped_disk_refuses_everything),
        SIM_TEST(test_sim_disk_same_seed_gives_the_same_disk),
        SIM_TEST(test_sim_disk_synced_clone_is_what_a_crash_leaves),
        SIM_TEST(test_sim_disk_paths_are_normal_and_lists_are_ordered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
