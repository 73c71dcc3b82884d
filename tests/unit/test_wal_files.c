/* Names and places of the log's files. */
#include "common/wal/wal_files.h"

#include "tests/support/sim_disk.h"
#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char s_tenants[] = "data/eu-west/shard-2/tenants";

/* Goal: what is not the name of a segment is not taken for one. */
static void test_files_other_name_is_no_segment(void **state)
{
    (void)state;
    static const char *const s_names[] = {
        "",
        ".seg",
        "1.seg",
        "0000000000000000001.seg",      /* 19 digits */
        "000000000000000000001.seg",    /* 21 */
        "00000000000000000000.seg",     /* events count from 1 */
        "99999999999999999999.seg",     /* beyond 64 bits */
        "00000000000000000001.seg.tmp", /* unfinished */
        "00000000000000000001.SEG",
        "0000000000000000000a.seg",
        "-0000000000000000001.seg",
    };
    uint64_t seq = 42;
    for (size_t i = 0; i < sizeof(s_names) / sizeof(*s_names); i++) {
        assert_int_equal(wal_files_parse_segment(s_names[i], &seq), ERR_INVALID);
        assert_true(seq == 42);
    }
}

/* Goal: every seq has one name, and names sort as numbers. */
static void test_files_segment_name_round_trips_and_sorts(void **state)
{
    (void)state;
    static const uint64_t s_seqs[] = {1, 9, 10, 99999, UINT64_C(1) << 40, UINT64_MAX};
    char before[WAL_SEGMENT_NAME_SIZE] = "";
    for (size_t i = 0; i < sizeof(s_seqs) / sizeof(*s_seqs); i++) {
        char name[WAL_SEGMENT_NAME_SIZE];
        uint64_t seq = 0;
        wal_files_segment_name(s_seqs[i], name);
        assert_int_equal(wal_files_parse_segment(name, &seq), ERR_OK);
        assert_true(seq == s_seqs[i]);
        assert_true(strcmp(before, name) < 0);
        memcpy(before, name, sizeof(before));
    }
}

/* Goal: folder names that nobody of ours made are told apart. */
static void test_files_other_folders_are_no_streams(void **state)
{
    (void)state;
    static const struct {
        const char *tenant;
        const char *stream;
    } s_cases[] = {
        {"default", "us-00000000deadbeef"},    /* no generation */
        {"default-0", "us-00000000deadbeef"},  /* generation 0 is none */
        {"default-01", "us-00000000deadbeef"}, /* a second name of the same */
        {"default-x", "us-00000000deadbeef"},
        {"-1", "us-00000000deadbeef"}, /* no name */
        {".a-1", "us-00000000deadbeef"},
        {"default-1", "us-deadbeef"},         /* too short */
        {"default-1", "us-00000000DEADBEEF"}, /* a second name of the same */
        {"default-1", "us-0000000000000000"}, /* incarnation 0 is none */
        {"default-1", "us"},
        {"default-1", "-00000000deadbeef"},
        {"default-1", "quarantine"},
    };
    wal_stream_name_t name;
    for (size_t i = 0; i < sizeof(s_cases) / sizeof(*s_cases); i++) {
        assert_int_equal(wal_files_parse_stream(s_cases[i].tenant, s_cases[i].stream, &name),
                         ERR_INVALID);
    }
}

/* Goal: names with dashes and dots in them parse back to what made the path. */
static void test_files_stream_path_parses_back(void **state)
{
    (void)state;
    wal_stream_name_t name = {.tenant = {12}, .incarnation = UINT64_C(0xfedcba9876543210)};
    wal_stream_name_t found;
    wal_path_t path;
    (void)snprintf(name.tenant_name, sizeof(name.tenant_name), "my-shop.v2_3");
    (void)snprintf(name.region_name, sizeof(name.region_name), "ap-south-1");
    assert_int_equal(wal_files_stream_path(s_tenants, &name, &path, NULL), ERR_OK);
    assert_string_equal(path.text, "data/eu-west/shard-2/tenants/my-shop.v2_3-12/"
                                   "ap-south-1-fedcba9876543210");
    assert_int_equal(
        wal_files_parse_stream("my-shop.v2_3-12", "ap-south-1-fedcba9876543210", &found), ERR_OK);
    assert_true(found.tenant.value == 12 && found.incarnation == name.incarnation);
    assert_string_equal(found.tenant_name, name.tenant_name);
    assert_string_equal(found.region_name, name.region_name);
}

/* Goal: a name that would leave its folder, or a path too long, makes no path. */
static void test_files_bad_name_or_long_path_is_refused(void **state)
{
    (void)state;
    static char s_long[WAL_PATH_SIZE_MAX];
    static const char *const s_names[] = {"", "..", "a/b", ".hidden", "a b", "\xc3\xa9"};
    wal_path_t path;
    errbuf_t errbuf;
    for (size_t i = 0; i < sizeof(s_names) / sizeof(*s_names); i++) {
        assert_int_equal(
            wal_files_tenants_path("data", s_names[i], (shard_id_t){0}, &path, &errbuf),
            ERR_INVALID);
    }
    memset(s_long, 'x', sizeof(s_long) - 1);
    assert_int_equal(wal_files_tenants_path(s_long, "us", (shard_id_t){0}, &path, &errbuf),
                     ERR_TOO_LARGE);
    assert_int_equal(wal_files_segment_path(s_long, 1, &path, &errbuf), ERR_TOO_LARGE);
    assert_int_equal(wal_files_tenants_path("data", "eu-west", (shard_id_t){2}, &path, &errbuf),
                     ERR_OK);
    assert_string_equal(path.text, s_tenants);
}

/* Goal: the segments of a folder are listed by number; what else lies there is left alone. */
static void test_files_list_segments_leaves_other_files_out(void **state)
{
    (void)state;
    sim_disk_t *disk = sim_disk_new(1);
    wal_segment_list_t list = {NULL, 0, 0};
    size_t leftovers = 0;
    errbuf_t errbuf;
    assert_int_equal(wal_files_list_segments(sim_disk_disk(disk), "data/x", &list, NULL, &errbuf),
                     ERR_NOT_FOUND);
    sim_disk_put(disk, "data/x/00000000000000000100.seg", "four", 4);
    sim_disk_put(disk, "data/x/00000000000000000001.seg", "", 0);
    sim_disk_put(disk, "data/x/00000000000000000101.seg.tmp", "t", 1);
    sim_disk_put(disk, "data/x/notes.txt", "n", 1);
    sim_disk_put(disk, "data/x/quarantine/00000000000000000001.seg", "q", 1);
    assert_int_equal(
        wal_files_list_segments(sim_disk_disk(disk), "data/x", &list, &leftovers, &errbuf), ERR_OK);
    assert_int_equal(list.count, 2);
    assert_true(list.items[0].first_seq == 1 && list.items[0].size_bytes == 0);
    assert_true(list.items[1].first_seq == 100 && list.items[1].size_bytes == 4);
    assert_int_equal(leftovers, 1);
    wal_segment_list_done(&list);
    assert_int_equal(wal_files_remove_leftovers(sim_disk_disk(disk), "data/x", &errbuf), ERR_OK);
    assert_int_equal(
        wal_files_list_segments(sim_disk_disk(disk), "data/x", &list, &leftovers, &errbuf), ERR_OK);
    assert_int_equal(leftovers, 0);
    wal_segment_list_done(&list);
    sim_disk_destroy(&disk);
}

/* Goal: the segment that holds a seq is found, or the first one behind it. */
static void test_files_segment_list_find_gives_first_at_or_behind(void **state)
{
    (void)state;
    wal_segment_list_t list = {NULL, 0, 0};
    assert_int_equal(wal_segment_list_find(&list, 1), 0);
    wal_segment_list_add(&list, (wal_segment_t){10, 19, 1});
    wal_segment_list_add(&list, (wal_segment_t){20, 20, 1});
    wal_segment_list_add(&list, (wal_segment_t){21, 30, 1});
    assert_int_equal(wal_segment_list_find(&list, 1), 0);
    assert_int_equal(wal_segment_list_find(&list, 19), 0);
    assert_int_equal(wal_segment_list_find(&list, 20), 1);
    assert_int_equal(wal_segment_list_find(&list, 21), 2);
    assert_int_equal(wal_segment_list_find(&list, 30), 2);
    assert_int_equal(wal_segment_list_find(&list, 31), 3);
    wal_segment_list_done(&list);
}

typedef struct {
    char text[512];
    int stop_after;
} listing_t;

static err_t s_on_stream(void *context, const wal_stream_name_t *name, const char *folder)
{
    listing_t *listing = context;
    const size_t used = strlen(listing->text);
    (void)snprintf(listing->text + used, sizeof(listing->text) - used, "%s %llu %s %llx %s\n",
                   name->tenant_name, (unsigned long long)name->tenant.value, name->region_name,
                   (unsigned long long)name->incarnation, strrchr(folder, '/') + 1);
    return --listing->stop_after == 0 ? ERR_AGAIN : ERR_OK;
}

/* Goal: every stream under a node's folder is named, in a stable order; strangers are not. */
static void test_files_list_streams_names_each_stream(void **state)
{
    (void)state;
    sim_disk_t *disk = sim_disk_new(1);
    listing_t listing = {"", 0};
    errbuf_t errbuf;
    const disk_t *seam = sim_disk_disk(disk);
    assert_int_equal(wal_files_list_streams(seam, s_tenants, s_on_stream, &listing, &errbuf),
                     ERR_OK);
    assert_string_equal(listing.text, "");
    static const char *const s_files[] = {
        "data/eu-west/shard-2/tenants/shop-7/eu-west-000000000000000b/00000000000000000001.seg",
        "data/eu-west/shard-2/tenants/default-1/us-east-000000000000000c/x",
        "data/eu-west/shard-2/tenants/default-1/us-east-000000000000000a/x",
        "data/eu-west/shard-2/tenants/default-1/strange/x",
        "data/eu-west/shard-2/tenants/strange/us-east-000000000000000a/x",
        "data/eu-west/shard-2/tenants/file-3",
    };
    for (size_t i = 0; i < sizeof(s_files) / sizeof(*s_files); i++) {
        sim_disk_put(disk, s_files[i], "", 0);
    }
    assert_int_equal(wal_files_list_streams(seam, s_tenants, s_on_stream, &listing, &errbuf),
                     ERR_OK);
    assert_string_equal(listing.text, "default 1 us-east a us-east-000000000000000a\n"
                                      "default 1 us-east c us-east-000000000000000c\n"
                                      "shop 7 eu-west b eu-west-000000000000000b\n");
    listing = (listing_t){"", 2};
    assert_int_equal(wal_files_list_streams(seam, s_tenants, s_on_stream, &listing, &errbuf),
                     ERR_AGAIN);
    sim_disk_destroy(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_other_name_is_no_segment),
        cmocka_unit_test(test_files_segment_name_round_trips_and_sorts),
        cmocka_unit_test(test_files_other_folders_are_no_streams),
        cmocka_unit_test(test_files_stream_path_parses_back),
        cmocka_unit_test(test_files_bad_name_or_long_path_is_refused),
        cmocka_unit_test(test_files_list_segments_leaves_other_files_out),
        cmocka_unit_test(test_files_segment_list_find_gives_first_at_or_behind),
        cmocka_unit_test(test_files_list_streams_names_each_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
