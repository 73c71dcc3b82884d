/* The routing table's format, byte by byte, against a file that never changes.
 *
 *   table_v1.bin  three regions, two shards; `default`, and a tenant that is on the move: accepts
 *                 islands, two full regions and a leaving one, a shard without a leader, disk ids
 *
 * For a new version of the format: `test_table_golden write <file>` writes what the code of the day
 * makes of the same input; the files of older versions stay. */
#include "common/base/check.h"
#include "common/topology/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const tenant_id_t s_shop = {UINT64_C(0x123456789a)};

static table_t *s_make(void)
{
    static topology_t s_topology;
    topology_init_default(&s_topology, 3, 2);
    const table_tenant_t shop = {
        .id = s_shop, .name = "shop-9", .island = ISLAND_ACCEPT, .full = {6}, .leaving = {8}};
    table_record_t records[2] = {
        {.epoch = 5, .version = 9, .leader = {2}, .in_sync = {6}, .placed = {14}},
        {.epoch = UINT64_C(1) << 40,
         .version = 1 + (UINT64_C(1) << 41),
         .in_sync = {4},
         .placed = {14}},
    };
    records[0].disk_ids[1] = UINT64_C(0x0102030405060708);
    records[0].disk_ids[3] = 3;
    table_t *first = table_new_default(&s_topology);
    table_t *table = table_next(first);
    table_destroy(&first);
    CHECK(table_add_tenant(table, &shop, records, NULL) == ERR_OK);
    return table;
}

static void s_encode(buffer_t *ret_bytes)
{
    table_t *table = s_make();
    buffer_init(ret_bytes);
    table_encode(table, ret_bytes);
    table_destroy(&table);
}

static void s_load(buffer_t *ret_bytes)
{
    char path[1024];
    uint8_t bytes[4096];
    /* The tests have one thread, and nobody changes the environment. */
    const char *source = getenv("TIDAL_SOURCE"); // NOLINT(concurrency-mt-unsafe)
    (void)snprintf(path, sizeof(path), "%s/tests/golden/table_v1.bin",
                   source == NULL ? "." : source);
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        fail_msg("expected the file %s, found none", path);
    }
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file); /* only read */
    buffer_init(ret_bytes);
    buffer_append(ret_bytes, bytes, size);
}

/* Goal: today's code writes what the first release of version 1 wrote. */
static void test_golden_table_same_input_writes_the_same_bytes(void **state)
{
    (void)state;
    buffer_t golden;
    buffer_t made;
    s_load(&golden);
    s_encode(&made);
    assert_int_equal(made.size, golden.size);
    assert_memory_equal(made.data, golden.data, golden.size);
    buffer_done(&golden);
    buffer_done(&made);
}

/* Goal: what today's code reads from the file it writes again, byte for byte. */
static void test_golden_table_is_read_and_written_again(void **state)
{
    (void)state;
    buffer_t golden;
    buffer_t again;
    table_t *table = NULL;
    errbuf_t errbuf = {{0}};
    s_load(&golden);
    assert_int_equal(table_decode(buffer_slice(&golden), &table, &errbuf), ERR_OK);
    buffer_init(&again);
    table_encode(table, &again);
    assert_int_equal(again.size, golden.size);
    assert_memory_equal(again.data, golden.data, golden.size);
    table_destroy(&table);
    buffer_done(&golden);
    buffer_done(&again);
}

/* Goal: the fields of the file mean today what they meant. */
static void test_golden_table_keeps_its_meaning(void **state)
{
    (void)state;
    buffer_t golden;
    table_t *table = NULL;
    s_load(&golden);
    assert_int_equal(table_decode(buffer_slice(&golden), &table, NULL), ERR_OK);
    buffer_done(&golden);
    assert_int_equal(table_version(table), 2);
    assert_int_equal(table_shard_count(table), 2);
    assert_int_equal(table_tenant_count(table), 2);
    assert_string_equal(table_tenant_at(table, 0)->name, "default");
    assert_int_equal(table_tenant_at(table, 0)->island, ISLAND_REJECT);
    assert_int_equal(table_tenant_at(table, 0)->full.bits, 14);
    assert_int_equal(table_find_record(table, TENANT_DEFAULT, (shard_id_t){1})->leader.value, 2);

    const table_tenant_t *shop = table_find_tenant_name(table, slice_text("shop-9"));
    assert_non_null(shop);
    assert_true(shop->id.value == s_shop.value && shop->island == ISLAND_ACCEPT);
    assert_true(shop->full.bits == 6 && shop->preparing.bits == 0 && shop->leaving.bits == 8);

    const table_record_t *led = table_find_record(table, s_shop, (shard_id_t){0});
    assert_true(led->epoch == 5 && led->version == 9 && led->leader.value == 2);
    assert_true(led->in_sync.bits == 6 && led->placed.bits == 14);
    assert_true(led->disk_ids[1] == UINT64_C(0x0102030405060708));
    assert_true(led->disk_ids[2] == 0 && led->disk_ids[3] == 3);

    const table_record_t *alone = table_find_record(table, s_shop, (shard_id_t){1});
    assert_true(alone->epoch == UINT64_C(1) << 40 && alone->leader.value == 0);
    assert_true(alone->in_sync.bits == 4);
    table_destroy(&table);
}

static int s_write_file(const char *path)
{
    buffer_t bytes;
    s_encode(&bytes);
    FILE *file = fopen(path, "wbe");
    CHECK(file != NULL);
    CHECK(fwrite(bytes.data, 1, bytes.size, file) == bytes.size);
    CHECK(fclose(file) == 0);
    buffer_done(&bytes);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        return s_write_file(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_table_same_input_writes_the_same_bytes),
        cmocka_unit_test(test_golden_table_is_read_and_written_again),
        cmocka_unit_test(test_golden_table_keeps_its_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
