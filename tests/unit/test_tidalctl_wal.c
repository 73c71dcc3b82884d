/* Offline checks of log files: what is found, and how damage is named. */
#include "services/tidalctl/log_check.h"
#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH_COUNT = 40, EVENTS_MAX = 20, SEGMENT_SIZE = 4096 };

/* Several segments, the last one open. */
static sim_disk_t *s_disk_with_log(uint64_t seed)
{
    sim_disk_t *disk = sim_disk_new(seed);
    prng_t prng;
    prng_init(&prng, seed);
    wal_log_t *log = wal_support_open_log(sim_disk_disk(disk), SEGMENT_SIZE);
    wal_support_write(log, &prng, BATCH_COUNT, EVENTS_MAX);
    wal_log_close(&log);
    return disk;
}

typedef struct {
    uint32_t count;
    log_stream_t last;
    log_checked_t checked;
    const disk_t *disk;
} found_t;

static err_t s_on_stream(void *context, const log_stream_t *stream)
{
    found_t *found = context;
    errbuf_t errbuf;
    found->count++;
    found->last = *stream;
    return log_check_stream(found->disk, stream, &found->checked, &errbuf);
}

static found_t s_find(const disk_t *disk, const char *path)
{
    found_t found = {.disk = disk};
    errbuf_t errbuf = {""};
    err_t err = log_streams_walk(disk, path, s_on_stream, &found, &errbuf);
    if (err != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    return found;
}

/* A stream is found from any folder above it, and known by its header and path. */
static void test_log_streams_walk_finds_from_any_folder_above(void **state)
{
    (void)state;
    static const char *const s_paths[] = {"data", "data/us", "data/us/shard-3/tenants",
                                          WAL_SUPPORT_ORIGIN};
    sim_disk_t *disk = s_disk_with_log(1);
    for (size_t i = 0; i < sizeof(s_paths) / sizeof(s_paths[0]); i++) {
        found_t found = s_find(sim_disk_disk(disk), s_paths[i]);
        assert_int_equal(found.count, 1);
        assert_true(found.last.is_known);
        assert_true(stream_id_equal(found.last.stream, wal_support_stream()));
        assert_string_equal(found.last.holder, "us");
        assert_string_equal(found.last.name.tenant_name, "default");
    }
    sim_disk_destroy(&disk);
}

/* A folder that is not there is an error; one without logs has no streams. */
static void test_log_streams_walk_nothing_there(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    found_t found = {.disk = disk};
    errbuf_t errbuf;
    assert_int_equal(log_streams_walk(disk, "nowhere", s_on_stream, &found, &errbuf),
                     ERR_NOT_FOUND);
    assert_int_equal(disk->make_folders(disk->context, "data/us/shard-0/tenants", &errbuf), ERR_OK);
    assert_int_equal(log_streams_walk(disk, "data", s_on_stream, &found, &errbuf), ERR_OK);
    assert_int_equal(found.count, 0);
    sim_disk_destroy(&sim);
}

/* A whole log: every batch, event and record is counted, and nothing is wrong. */
static void test_log_check_whole_stream_is_counted(void **state)
{
    (void)state;
    sim_disk_t *disk = s_disk_with_log(2);
    found_t found = s_find(sim_disk_disk(disk), "data");
    assert_int_equal(found.checked.damage, WAL_DAMAGE_NONE);
    assert_int_equal(found.checked.batches, BATCH_COUNT);
    assert_int_equal(found.checked.first_seq, 1);
    assert_int_equal(found.checked.counts.signals, found.checked.last_seq);
    assert_int_equal(found.checked.counts.registers, 0);
    assert_true(found.checked.segments > 2);
    sim_disk_destroy(&disk);
}

/* -- damage ------------------------------------------------------------------------------------ */

static void s_flip(sim_disk_t *sim, const char *path, uint64_t offset)
{
    const disk_t *disk = sim_disk_disk(sim);
    disk_file_t *file = NULL;
    uint8_t byte = 0;
    size_t size = 0;
    errbuf_t errbuf;
    assert_int_equal(disk->open(disk->context, path, DISK_WRITE, &file, &errbuf), ERR_OK);
    assert_int_equal(disk->read_at(disk->context, file, offset, &byte, 1, &size, &errbuf), ERR_OK);
    assert_int_equal(size, 1);
    byte ^= 0x10;
    assert_int_equal(disk->write_at(disk->context, file, offset, &byte, 1, &errbuf), ERR_OK);
    disk->close(disk->context, &file);
}

/* Returns whether the flip made it a file of a later version. */
static bool s_expect_named(const disk_t *disk, const char *path, uint64_t offset)
{
    log_checked_t checked;
    errbuf_t errbuf = {""};
    err_t err = log_check_segment(disk, path, &checked, &errbuf);
    bool named = err == ERR_OK && checked.damage == WAL_DAMAGE_REAL &&
                 strstr(checked.text.text, "00000000000000000001.seg at offset ") != NULL;
    if (!named && err != ERR_UNSUPPORTED) {
        fail_msg("offset %llu: %s, %s", (unsigned long long)offset, err_text(err),
                 err == ERR_OK ? checked.text.text : errbuf.text);
    }
    return err == ERR_UNSUPPORTED;
}

/* Every byte of a segment's header, of its first batch and of its footer: each flip is damage, named
 * with the file; the same for the segment by itself. */
static void test_log_check_flipped_byte_is_named(void **state)
{
    (void)state;
    sim_disk_t *sim = s_disk_with_log(3);
    const disk_t *disk = sim_disk_disk(sim);
    const char *path = wal_support_segment(WAL_SUPPORT_ORIGIN, 1);
    buffer_t bytes;
    buffer_init(&bytes);
    wal_support_get_file(sim, path, &bytes);
    for (uint64_t offset = 0; offset < bytes.size;
         offset += offset < 600 || offset + 100 > bytes.size ? 1 : 37) {
        s_flip(sim, path, offset);
        bool later = s_expect_named(disk, path, offset);
        if (offset % 97 == 0 && !later) {
            assert_int_equal(s_find(disk, "data").checked.damage, WAL_DAMAGE_REAL);
        }
        s_flip(sim, path, offset);
    }
    assert_int_equal(s_find(disk, "data").checked.damage, WAL_DAMAGE_NONE);
    buffer_done(&bytes);
    sim_disk_destroy(&sim);
}

/* A tail that was cut off in a batch is torn: no damage, and its bytes are counted. */
static void test_log_check_torn_tail_is_no_damage(void **state)
{
    (void)state;
    sim_disk_t *sim = s_disk_with_log(4);
    const disk_t *disk = sim_disk_disk(sim);
    found_t whole = s_find(disk, "data");
    wal_segment_list_t files = {0};
    disk_file_t *file = NULL;
    uint64_t size = 0;
    errbuf_t errbuf;
    assert_int_equal(wal_files_list_segments(disk, WAL_SUPPORT_ORIGIN, &files, NULL, &errbuf),
                     ERR_OK);
    const char *path =
        wal_support_segment(WAL_SUPPORT_ORIGIN, files.items[files.count - 1].first_seq);
    assert_int_equal(disk->open(disk->context, path, DISK_WRITE, &file, &errbuf), ERR_OK);
    assert_int_equal(disk->size(disk->context, file, &size, &errbuf), ERR_OK);
    assert_int_equal(disk->truncate(disk->context, file, size - 5, &errbuf), ERR_OK);
    disk->close(disk->context, &file);
    found_t torn = s_find(disk, "data");
    assert_int_equal(torn.checked.damage, WAL_DAMAGE_TORN);
    assert_true(torn.checked.torn_bytes > 0);
    assert_int_equal(torn.checked.batches, whole.checked.batches - 1);
    wal_segment_list_done(&files);
    sim_disk_destroy(&sim);
}

/* A segment that is missing in the middle is named by the event that should follow. */
static void test_log_check_missing_segment_is_damage(void **state)
{
    (void)state;
    sim_disk_t *sim = s_disk_with_log(5);
    const disk_t *disk = sim_disk_disk(sim);
    wal_segment_list_t files = {0};
    errbuf_t errbuf;
    assert_int_equal(wal_files_list_segments(disk, WAL_SUPPORT_ORIGIN, &files, NULL, &errbuf),
                     ERR_OK);
    assert_true(files.count > 2);
    const char *path = wal_support_segment(WAL_SUPPORT_ORIGIN, files.items[1].first_seq);
    assert_int_equal(disk->unlink(disk->context, path, &errbuf), ERR_OK);
    found_t found = s_find(disk, "data");
    assert_int_equal(found.checked.damage, WAL_DAMAGE_REAL);
    assert_int_equal(found.checked.last_seq, files.items[1].first_seq - 1);
    assert_non_null(strstr(found.checked.text.text, "expected a segment that begins with event"));
    wal_segment_list_done(&files);
    sim_disk_destroy(&sim);
}

/* A folder whose only file has no header that verifies is damage, not nothing. */
static void test_log_check_without_any_header_is_damage(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(6);
    prng_t prng;
    prng_init(&prng, 6);
    wal_log_t *log = wal_support_open_log(sim_disk_disk(sim), 0);
    wal_support_write(log, &prng, 3, EVENTS_MAX);
    wal_log_close(&log);
    s_flip(sim, wal_support_segment(WAL_SUPPORT_ORIGIN, 1), 40);
    found_t found = s_find(sim_disk_disk(sim), "data");
    assert_int_equal(found.count, 1);
    assert_false(found.last.is_known);
    assert_int_equal(found.checked.damage, WAL_DAMAGE_REAL);
    sim_disk_destroy(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_streams_walk_finds_from_any_folder_above),
        cmocka_unit_test(test_log_streams_walk_nothing_there),
        cmocka_unit_test(test_log_check_whole_stream_is_counted),
        cmocka_unit_test(test_log_check_flipped_byte_is_named),
        cmocka_unit_test(test_log_check_torn_tail_is_no_damage),
        cmocka_unit_test(test_log_check_missing_segment_is_damage),
        cmocka_unit_test(test_log_check_without_any_header_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
