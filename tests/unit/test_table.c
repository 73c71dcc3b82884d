/* The routing table: invariants, lookup, bytes, and the cache file under power cuts. */
#include "common/topology/table.h"
#include "tests/support/sim_disk.h"

#include <blake3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static region_set_t s_regions(uint32_t bits)
{
    return (region_set_t){bits};
}

static const topology_t *s_three_region(void)
{
    static topology_t s_topology;
    topology_init_default(&s_topology, 3, 5);
    return &s_topology;
}

static table_tenant_t s_tenant(uint64_t id, const char *name)
{
    table_tenant_t tenant = {.id = {id}, .island = ISLAND_ACCEPT, .full = {6}, .leaving = {8}};
    (void)snprintf(tenant.name, sizeof(tenant.name), "%s", name);
    return tenant;
}

/* Fits s_tenant. */
static table_record_t s_record(uint64_t epoch)
{
    table_record_t record = {
        .epoch = epoch, .version = epoch + 1, .leader = {1}, .in_sync = {6}, .placed = {14}};
    record.disk_ids[1] = 0x1111;
    record.disk_ids[3] = epoch << 40;
    return record;
}

static void s_fill_records(table_record_t records[SHARD_COUNT_MAX])
{
    for (uint64_t i = 0; i < SHARD_COUNT_MAX; i++) {
        records[i] = s_record(i + 1);
    }
}

/* A table of three tenants over five shards. */
static table_t *s_table(void)
{
    table_t *first = table_new_default(s_three_region());
    table_t *table = table_next(first);
    table_destroy(&first);
    table_record_t records[SHARD_COUNT_MAX];
    s_fill_records(records);
    table_tenant_t late = s_tenant(UINT64_MAX, "Late.tenant_9-x");
    table_tenant_t early = s_tenant(7, "early");
    errbuf_t errbuf;
    assert_int_equal(table_add_tenant(table, &late, records, &errbuf), ERR_OK);
    assert_int_equal(table_add_tenant(table, &early, records, &errbuf), ERR_OK);
    return table;
}

/* -- default table ----------------------------------------------------------------------------- */

/* Goal: the first table: tenant default everywhere, leaders as placed, all in sync, epoch 1. */
static void test_table_default_places_default_everywhere(void **state)
{
    (void)state;
    table_t *table = table_new_default(s_three_region());
    assert_int_equal(table_version(table), 1);
    assert_int_equal(table_shard_count(table), 5);
    assert_int_equal(table_tenant_count(table), 1);
    const table_tenant_t *tenant = table_tenant_at(table, 0);
    assert_int_equal(tenant->id.value, 1);
    assert_string_equal(tenant->name, "default");
    assert_int_equal(tenant->island, ISLAND_REJECT);
    assert_int_equal(tenant->full.bits, 14);
    assert_int_equal(table_tenant_regions(tenant).bits, 14);
    for (uint16_t i = 0; i < 5; i++) {
        const table_record_t *record = table_find_record(table, TENANT_DEFAULT, (shard_id_t){i});
        assert_int_equal(record->epoch, 1);
        assert_int_equal(record->version, 1);
        assert_int_equal(record->leader.value, 1 + i % 3);
        assert_int_equal(record->in_sync.bits, 14);
        assert_int_equal(record->placed.bits, 14);
        assert_int_equal(record->disk_ids[1], 0);
    }
    table_destroy(&table);
    assert_null(table);
    table_destroy(&table);
}

/* Goal: only a higher version replaces. */
static void test_table_lower_or_same_version_is_not_newer(void **state)
{
    (void)state;
    table_t *first = table_new_default(s_three_region());
    table_t *second = table_next(first);
    assert_int_equal(table_version(second), 2);
    assert_true(table_is_newer(first, NULL));
    assert_true(table_is_newer(second, first));
    assert_false(table_is_newer(first, second));
    assert_false(table_is_newer(first, first));
    table_destroy(&first);
    table_destroy(&second);
}

/* Goal: a table of another topology is told apart. */
static void test_table_of_other_topology_is_a_conflict(void **state)
{
    (void)state;
    static topology_t s_other;
    table_t *table = table_new_default(s_three_region());
    errbuf_t errbuf;
    assert_int_equal(table_check_topology(table, s_three_region(), &errbuf), ERR_OK);
    topology_init_default(&s_other, 3, 6);
    assert_int_equal(table_check_topology(table, &s_other, &errbuf), ERR_CONFLICT);
    assert_string_equal(errbuf.text,
                        "routing table: expected 6 shards as in the topology, found 5");
    topology_init_default(&s_other, 2, 5);
    assert_int_equal(table_check_topology(table, &s_other, &errbuf), ERR_CONFLICT);
    assert_non_null(strstr(errbuf.text, "found tenant 'default' in 0xe"));
    topology_init_default(&s_other, 4, 5);
    assert_int_equal(table_check_topology(table, &s_other, &errbuf), ERR_OK);
    table_destroy(&table);
}

/* -- changing ---------------------------------------------------------------------------------- */

/* Goal: tenants stand in the order of their ids, and are found by id and name. */
static void test_table_tenants_are_found_by_id_and_name(void **state)
{
    (void)state;
    table_t *table = s_table();
    assert_int_equal(table_tenant_count(table), 3);
    assert_string_equal(table_tenant_at(table, 1)->name, "early");
    assert_ptr_equal(table_find_tenant(table, (tenant_id_t){7}), table_tenant_at(table, 1));
    assert_ptr_equal(table_find_tenant_name(table, slice_make("Late.tenant_9-x", 15)),
                     table_tenant_at(table, 2));
    assert_ptr_equal(table_find_tenant_name(table, slice_make("default!", 7)),
                     table_tenant_at(table, 0));
    assert_null(table_find_tenant(table, (tenant_id_t){0}));
    assert_null(table_find_tenant(table, (tenant_id_t){8}));
    assert_null(table_find_tenant_name(table, slice_make("earl", 4)));
    assert_null(table_find_tenant_name(table, slice_make("", 0)));
    assert_null(table_find_tenant_name(table, slice_make(NULL, 0)));
    assert_int_equal(table_find_record(table, (tenant_id_t){7}, (shard_id_t){4})->epoch, 5);
    assert_null(table_find_record(table, (tenant_id_t){7}, (shard_id_t){5}));
    assert_null(table_find_record(table, (tenant_id_t){8}, (shard_id_t){0}));
    assert_true(table_is_placed(table, (tenant_id_t){7}, (region_id_t){3}));
    assert_false(table_is_placed(table, (tenant_id_t){7}, (region_id_t){4}));
    assert_false(table_is_placed(table, (tenant_id_t){7}, (region_id_t){0}));
    assert_false(table_is_placed(table, (tenant_id_t){7}, (region_id_t){999}));
    assert_false(table_is_placed(table, (tenant_id_t){8}, (region_id_t){1}));
    table_destroy(&table);
}

/* Goal: a change in the next table leaves the one that was handed out as it was. */
static void test_table_next_leaves_snapshot_untouched(void **state)
{
    (void)state;
    table_t *table = s_table();
    table_t *next = table_next(table);
    table_record_t record = s_record(99);
    errbuf_t errbuf;
    tenant_id_t early = {7};
    shard_id_t shard = {2};
    assert_int_equal(table_set_record(next, early, shard, &record, &errbuf), ERR_OK);
    table_record_t records[SHARD_COUNT_MAX];
    s_fill_records(records);
    table_tenant_t another = s_tenant(8, "another");
    assert_int_equal(table_add_tenant(next, &another, records, &errbuf), ERR_OK);
    assert_int_equal(table_find_record(next, early, shard)->epoch, 99);
    assert_int_equal(table_find_record(table, early, shard)->epoch, 3);
    assert_int_equal(table_tenant_count(next), 4);
    assert_int_equal(table_tenant_count(table), 3);
    assert_null(table_find_tenant(table, another.id));
    assert_int_equal(table_version(next), table_version(table) + 1);
    table_destroy(&table);
    table_destroy(&next);
}

/* Goal: the same id or name twice is refused. */
static void test_table_same_id_or_name_twice_is_refused(void **state)
{
    (void)state;
    table_t *table = s_table();
    table_record_t records[SHARD_COUNT_MAX];
    s_fill_records(records);
    errbuf_t errbuf;
    table_tenant_t same_id = s_tenant(7, "other");
    table_tenant_t same_name = s_tenant(8, "early");
    assert_int_equal(table_add_tenant(table, &same_id, records, &errbuf), ERR_EXISTS);
    assert_int_equal(table_add_tenant(table, &same_name, records, &errbuf), ERR_EXISTS);
    assert_int_equal(table_tenant_count(table), 3);
    table_destroy(&table);
}

/* Goal: 1024 tenants fit, are all found, survive the codec, and one more is refused. */
static void test_table_tenant_count_is_bounded(void **state)
{
    (void)state;
    static topology_t s_topology;
    topology_init_default(&s_topology, 16, 40);
    table_t *table = table_new_default(&s_topology);
    static table_record_t s_records[SHARD_COUNT_MAX];
    errbuf_t errbuf = {""};
    for (uint64_t i = 2; i <= TENANT_COUNT_MAX + 1; i++) {
        table_tenant_t tenant = {.id = {i}, .full = {0x1fffe}};
        /* The longest name, so that the greatest size is tried as well. */
        int length = snprintf(tenant.name, sizeof(tenant.name), "t%063u", (unsigned)i);
        assert_int_equal(length, NAME_LENGTH_MAX);
        for (uint32_t j = 0; j < SHARD_COUNT_MAX; j++) {
            s_records[j] = (table_record_t){.epoch = i, .version = 1, .leader = {16}};
            s_records[j].in_sync = s_regions(0x1fffe);
            s_records[j].placed = s_regions(0x1fffe);
        }
        err_t err = table_add_tenant(table, &tenant, s_records, &errbuf);
        assert_int_equal(err, i <= TENANT_COUNT_MAX ? ERR_OK : ERR_FULL);
    }
    buffer_t bytes;
    buffer_init(&bytes);
    table_encode(table, &bytes);
    assert_true(bytes.size <= TABLE_SIZE_MAX);
    table_t *decoded = NULL;
    assert_int_equal(table_decode(buffer_slice(&bytes), &decoded, &errbuf), ERR_OK);
    for (uint64_t i = 2; i <= TENANT_COUNT_MAX; i++) {
        char name[NAME_LENGTH_MAX + 1];
        (void)snprintf(name, sizeof(name), "t%063u", (unsigned)i);
        const table_tenant_t *tenant = table_find_tenant(decoded, (tenant_id_t){i});
        assert_non_null(tenant);
        assert_ptr_equal(tenant, table_find_tenant_name(decoded, slice_make(name, strlen(name))));
        assert_int_equal(table_find_record(decoded, tenant->id, (shard_id_t){39})->epoch, i);
    }
    buffer_done(&bytes);
    table_destroy(&table);
    table_destroy(&decoded);
}

/* Goal: a tenant that breaks an invariant is neither added nor set. */
static void test_table_bad_tenant_is_refused(void **state)
{
    (void)state;
    table_t *table = s_table();
    table_record_t records[SHARD_COUNT_MAX];
    s_fill_records(records);
    table_tenant_t tenant;
    errbuf_t errbuf;
#define MUST_REFUSE(name, change)                                                          \
    do {                                                                                   \
        tenant = s_tenant(9, name);                                                        \
        change;                                                                            \
        assert_int_equal(table_add_tenant(table, &tenant, records, &errbuf), ERR_INVALID); \
    } while (0)
    MUST_REFUSE("", (void)0);
    MUST_REFUSE("-a", (void)0);
    MUST_REFUSE(".a", (void)0);
    MUST_REFUSE("a/b", (void)0);
    MUST_REFUSE("a b", (void)0);
    MUST_REFUSE("a\xc3\xa4", (void)0);
    MUST_REFUSE("a", (void)memset(tenant.name, 'a', sizeof(tenant.name)));
    MUST_REFUSE("a", tenant.id.value = 0);
    MUST_REFUSE("default", (void)0);
    MUST_REFUSE("a", tenant.full.bits = 0);
    MUST_REFUSE("a", tenant.full.bits |= 8);
    MUST_REFUSE("a", tenant.preparing.bits = 8);
    MUST_REFUSE("a", tenant.preparing.bits = 2);
    MUST_REFUSE("a", tenant.full.bits |= 1);
    MUST_REFUSE("a", tenant.preparing.bits = 1U << 17);
    MUST_REFUSE("a", tenant.island = (island_policy_t)2);
    MUST_REFUSE("a", tenant.leaving.bits = 0); /* the records are placed there */
#undef MUST_REFUSE
    tenant = s_tenant(7, "early");
    tenant.leaving.bits = 0;
    assert_int_equal(table_set_tenant(table, &tenant, &errbuf), ERR_INVALID);
    tenant = s_tenant(7, "renamed");
    assert_int_equal(table_set_tenant(table, &tenant, &errbuf), ERR_INVALID);
    tenant = s_tenant(8, "early");
    assert_int_equal(table_set_tenant(table, &tenant, &errbuf), ERR_NOT_FOUND);
    tenant = s_tenant(7, "early");
    tenant.preparing.bits = 1U << 16;
    assert_int_equal(table_set_tenant(table, &tenant, &errbuf), ERR_OK);
    assert_true(table_is_placed(table, (tenant_id_t){7}, (region_id_t){16}));
    table_destroy(&table);
}

/* Goal: a record that breaks an invariant is refused; one without a leader is not. */
static void test_table_bad_record_is_refused(void **state)
{
    (void)state;
    table_t *table = s_table();
    tenant_id_t early = {7};
    shard_id_t shard = {0};
    table_record_t record;
    errbuf_t errbuf;
#define MUST_REFUSE(change)                                                                     \
    do {                                                                                        \
        record = s_record(9);                                                                   \
        change;                                                                                 \
        assert_int_equal(table_set_record(table, early, shard, &record, &errbuf), ERR_INVALID); \
        assert_int_equal(table_find_record(table, early, shard)->epoch, 1);                     \
    } while (0)
    MUST_REFUSE(record.epoch = 0);
    MUST_REFUSE(record.version = 0);
    MUST_REFUSE(record.in_sync.bits = 0);
    MUST_REFUSE(record.placed.bits = 6 | 16);
    MUST_REFUSE(record.in_sync.bits = 6 | 16);
    MUST_REFUSE(record.placed.bits = 2);
    MUST_REFUSE(record.leader.value = 3);
    MUST_REFUSE(record.leader.value = 4);
    MUST_REFUSE(record.leader.value = 999);
    MUST_REFUSE(record.disk_ids[4] = 1);
    MUST_REFUSE(record.disk_ids[0] = 1);
#undef MUST_REFUSE
    record = s_record(9);
    record.leader.value = 0;
    assert_int_equal(table_set_record(table, early, shard, &record, &errbuf), ERR_OK);
    assert_int_equal(table_set_record(table, early, (shard_id_t){5}, &record, &errbuf),
                     ERR_NOT_FOUND);
    assert_int_equal(table_set_record(table, (tenant_id_t){8}, shard, &record, &errbuf),
                     ERR_NOT_FOUND);
    table_destroy(&table);
}

/* -- bytes ------------------------------------------------------------------------------------- */

static void s_encode(buffer_t *bytes)
{
    table_t *table = s_table();
    buffer_init(bytes);
    table_encode(table, bytes);
    table_destroy(&table);
}

/* Puts the right hash behind changed bytes. */
static void s_seal(buffer_t *bytes)
{
    bytes_put_u64(bytes->data + 16, bytes->size);
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, bytes->data, bytes->size - TABLE_HASH_SIZE);
    blake3_hasher_finalize(&hasher, bytes->data + bytes->size - TABLE_HASH_SIZE, TABLE_HASH_SIZE);
}

/* Goal: a decoded table answers as the encoded one, and encodes to the same bytes. */
static void test_table_codec_round_trips(void **state)
{
    (void)state;
    table_t *table = s_table();
    buffer_t bytes;
    buffer_init(&bytes);
    buffer_append(&bytes, "before", 6); /* table_encode appends */
    table_encode(table, &bytes);
    table_t *decoded = NULL;
    errbuf_t errbuf = {""};
    slice_t encoded = slice_make(bytes.data + 6, bytes.size - 6);
    assert_int_equal(table_decode(encoded, &decoded, &errbuf), ERR_OK);
    assert_int_equal(table_version(decoded), 2);
    assert_int_equal(table_tenant_count(decoded), 3);
    for (uint32_t i = 0; i < 3; i++) {
        const table_tenant_t *expected = table_tenant_at(table, i);
        const table_tenant_t *found = table_tenant_at(decoded, i);
        assert_int_equal(found->id.value, expected->id.value);
        assert_string_equal(found->name, expected->name);
        assert_int_equal(found->island, expected->island);
        assert_int_equal(found->full.bits, expected->full.bits);
        assert_int_equal(found->leaving.bits, expected->leaving.bits);
        for (uint16_t j = 0; j < 5; j++) {
            const table_record_t *record = table_find_record(decoded, found->id, (shard_id_t){j});
            assert_memory_equal(record, table_find_record(table, found->id, (shard_id_t){j}),
                                sizeof(*record));
        }
    }
    buffer_t again;
    buffer_init(&again);
    table_encode(decoded, &again);
    assert_true(slice_equal(buffer_slice(&again), encoded));
    buffer_done(&again);
    buffer_done(&bytes);
    table_destroy(&table);
    table_destroy(&decoded);
}

/* Goal: no byte of an encoded table can change unnoticed. */
static void test_table_every_flipped_byte_is_corrupt(void **state)
{
    (void)state;
    buffer_t bytes;
    s_encode(&bytes);
    for (size_t i = 0; i < bytes.size; i++) {
        for (unsigned flip = 1; flip < 256; flip = flip == 1 ? 0x80 : flip == 0x80 ? 0xff : 256) {
            bytes.data[i] ^= (uint8_t)flip;
            table_t *decoded = NULL;
            errbuf_t errbuf = {""};
            assert_int_equal(table_decode(buffer_slice(&bytes), &decoded, &errbuf), ERR_CORRUPT);
            assert_null(decoded);
            assert_true(strncmp(errbuf.text, "routing table: expected ", 24) == 0);
            bytes.data[i] ^= (uint8_t)flip;
        }
    }
    buffer_done(&bytes);
}

/* Goal: no prefix of a table, and no table with something behind it, is taken. */
static void test_table_every_other_length_is_corrupt(void **state)
{
    (void)state;
    buffer_t bytes;
    s_encode(&bytes);
    size_t size = bytes.size;
    buffer_append(&bytes, "\0\0\0\0\0\0\0\0", 8);
    table_t *decoded = NULL;
    errbuf_t errbuf;
    for (size_t i = 0; i <= bytes.size; i++) {
        if (i != size) {
            slice_t part = slice_make(bytes.data, i);
            assert_int_equal(table_decode(part, &decoded, &errbuf), ERR_CORRUPT);
        }
    }
    buffer_done(&bytes);
}

/* Bytes with a right hash give an error, or a table that encodes to the very bytes. Returns whether
 * they were taken. */
static bool s_decode_or_refuse(buffer_t *bytes)
{
    s_seal(bytes);
    table_t *decoded = NULL;
    errbuf_t errbuf = {""};
    err_t err = table_decode(buffer_slice(bytes), &decoded, &errbuf);
    if (err != ERR_OK) {
        assert_true(err == ERR_CORRUPT || err == ERR_UNSUPPORTED);
        assert_null(decoded);
        return false;
    }
    buffer_t again;
    buffer_init(&again);
    table_encode(decoded, &again);
    assert_true(slice_equal(buffer_slice(&again), buffer_slice(bytes)));
    buffer_done(&again);
    table_destroy(&decoded);
    return true;
}

/* Goal: with a right hash, the structure is still held to its limits and has one form: every byte
 * changed in several ways. */
static void test_table_structure_is_checked_behind_the_hash(void **state)
{
    (void)state;
    static const uint8_t s_flips[] = {0x01, 0x02, 0x40, 0x80, 0xff};
    buffer_t bytes;
    s_encode(&bytes);
    unsigned taken = 0;
    for (size_t i = 0; i < bytes.size - TABLE_HASH_SIZE; i++) {
        for (size_t j = 0; j < sizeof(s_flips); j++) {
            bytes.data[i] ^= s_flips[j];
            taken += s_decode_or_refuse(&bytes) ? 1 : 0;
            bytes.data[i] ^= s_flips[j];
        }
    }
    assert_true(taken > 0); /* epochs and disk ids are free */
    buffer_done(&bytes);
}

/* Goal: counts and versions beyond their limits are refused before they are believed. */
static void test_table_header_limits_hold(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        uint32_t value;
        err_t err;
    } s_rows[] = {
        {4, 2 | 5U << 16, ERR_UNSUPPORTED}, /* format */
        {4, 1 | 0U << 16, ERR_CORRUPT},     /* no shard */
        {4, 1 | 41U << 16, ERR_CORRUPT},
        {8, 0, ERR_CORRUPT},  /* version */
        {24, 0, ERR_CORRUPT}, /* no tenant: bytes are left */
        {24, 2, ERR_CORRUPT},
        {24, 4, ERR_CORRUPT},
        {24, 1025, ERR_CORRUPT},
        {24, UINT32_MAX, ERR_CORRUPT},
        {28, 1, ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof(s_rows) / sizeof(s_rows[0]); i++) {
        buffer_t bytes;
        s_encode(&bytes);
        bytes_put_u32(bytes.data + s_rows[i].offset, s_rows[i].value);
        s_seal(&bytes);
        table_t *decoded = NULL;
        errbuf_t errbuf;
        assert_int_equal(table_decode(buffer_slice(&bytes), &decoded, &errbuf), s_rows[i].err);
        buffer_done(&bytes);
    }
}

/* -- cache file -------------------------------------------------------------------------------- */

static const char s_path[] = "us-east/cache/shard-0.table";

/* Goal: what was saved is loaded; a later one replaces it; the temporary name is gone. */
static void test_table_cache_round_trips(void **state)
{
    (void)state;
    sim_disk_t *disk = sim_disk_new(1);
    table_t *first = table_new_default(s_three_region());
    table_t *second = s_table();
    errbuf_t errbuf = {""};
    table_t *loaded = NULL;
    const disk_t *seam = sim_disk_disk(disk);
    assert_int_equal(table_cache_load(seam, s_path, &loaded, &errbuf), ERR_NOT_FOUND);
    assert_int_equal(table_cache_save(second, seam, s_path, &errbuf), ERR_OK);
    /* Shorter than what the temporary file held before. */
    assert_int_equal(table_cache_save(first, seam, s_path, &errbuf), ERR_OK);
    assert_int_equal(table_cache_load(seam, s_path, &loaded, &errbuf), ERR_OK);
    assert_int_equal(table_version(loaded), 1);
    table_destroy(&loaded);
    assert_int_equal(table_cache_save(second, seam, s_path, &errbuf), ERR_OK);
    assert_int_equal(table_cache_load(seam, s_path, &loaded, &errbuf), ERR_OK);
    assert_int_equal(table_version(loaded), 2);
    table_destroy(&loaded);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(disk, "us-east/cache/shard-0.table.tmp", &bytes, &size),
                     ERR_NOT_FOUND);
    table_destroy(&first);
    table_destroy(&second);
    sim_disk_destroy(&disk);
}

/* Goal: a name without a folder works. */
static void test_table_cache_in_data_folder_round_trips(void **state)
{
    (void)state;
    sim_disk_t *disk = sim_disk_new(1);
    table_t *table = s_table();
    table_t *loaded = NULL;
    errbuf_t errbuf = {""};
    assert_int_equal(table_cache_save(table, sim_disk_disk(disk), "table", &errbuf), ERR_OK);
    assert_int_equal(table_cache_load(sim_disk_disk(disk), "table", &loaded, &errbuf), ERR_OK);
    table_destroy(&table);
    table_destroy(&loaded);
    sim_disk_destroy(&disk);
}

/* Saves the second table while the power goes at the n-th change; afterwards the first or the
 * second must load, and the second when the save had said ok. Returns whether it had. */
static bool s_save_with_power_cut(uint64_t n, uint64_t seed)
{
    sim_disk_t *disk = sim_disk_new(seed);
    table_t *first = table_new_default(s_three_region());
    table_t *second = s_table();
    errbuf_t errbuf = {""};
    const disk_t *seam = sim_disk_disk(disk);
    assert_int_equal(table_cache_save(first, seam, s_path, &errbuf), ERR_OK);
    sim_disk_stop_at(disk, n);
    bool saved = table_cache_save(second, seam, s_path, &errbuf) == ERR_OK;
    sim_disk_crash(disk, seed);
    table_t *loaded = NULL;
    assert_int_equal(table_cache_load(sim_disk_disk(disk), s_path, &loaded, &errbuf), ERR_OK);
    if (saved) {
        assert_int_equal(table_version(loaded), 2);
    }
    table_destroy(&loaded);
    table_destroy(&first);
    table_destroy(&second);
    sim_disk_destroy(&disk);
    return saved;
}

/* Goal: a power cut at any moment leaves the old table or the new one, whole. */
static void test_table_cache_power_cut_keeps_old_or_new(void **state)
{
    (void)state;
    uint64_t n = 1;
    for (bool saved = false; !saved; n++) {
        assert_true(n < 100);
        saved = true;
        for (uint64_t seed = 1; seed <= 50; seed++) {
            saved = s_save_with_power_cut(n, seed) && saved;
        }
    }
    assert_true(n > 4); /* there were several moments */
}

/* Goal: a failing write or sync, and a full disk, are reported, and the old table stays. */
static void test_table_cache_disk_error_keeps_old(void **state)
{
    (void)state;
    for (int fault = 0; fault < 3; fault++) {
        sim_disk_t *disk = sim_disk_new(3);
        table_t *first = table_new_default(s_three_region());
        table_t *second = s_table();
        table_t *loaded = NULL;
        errbuf_t errbuf = {""};
        const disk_t *seam = sim_disk_disk(disk);
        assert_int_equal(table_cache_save(first, seam, s_path, &errbuf), ERR_OK);
        if (fault == 0) {
            sim_disk_fail_write(disk, 1);
        } else if (fault == 1) {
            sim_disk_fail_sync(disk, 1);
        } else {
            sim_disk_set_capacity(disk, sim_disk_used_bytes(disk) + 10);
        }
        err_t err = table_cache_save(second, seam, s_path, &errbuf);
        assert_int_equal(err, fault == 2 ? ERR_DISK_FULL : ERR_IO);
        assert_true(strncmp(errbuf.text, "cannot keep the routing table in us-east/", 41) == 0);
        assert_int_equal(table_cache_load(seam, s_path, &loaded, &errbuf), ERR_OK);
        assert_int_equal(table_version(loaded), 1);
        table_destroy(&loaded);
        table_destroy(&first);
        table_destroy(&second);
        sim_disk_destroy(&disk);
    }
}

/* Goal: a damaged, empty or far too large cache is corrupt, never half believed. */
static void test_table_cache_damage_is_corrupt(void **state)
{
    (void)state;
    sim_disk_t *disk = sim_disk_new(5);
    table_t *table = s_table();
    table_t *loaded = NULL;
    errbuf_t errbuf = {""};
    const disk_t *seam = sim_disk_disk(disk);
    assert_int_equal(table_cache_save(table, seam, s_path, &errbuf), ERR_OK);
    assert_int_equal(sim_disk_flip_bit(disk, s_path, 801), ERR_OK);
    assert_int_equal(table_cache_load(seam, s_path, &loaded, &errbuf), ERR_CORRUPT);
    assert_true(strncmp(errbuf.text, "cannot load the routing table from us-east/", 43) == 0);
    sim_disk_put(disk, s_path, "", 0);
    assert_int_equal(table_cache_load(seam, s_path, &loaded, &errbuf), ERR_CORRUPT);
    uint8_t *large = calloc(1, TABLE_SIZE_MAX + 1);
    assert_non_null(large);
    sim_disk_put(disk, s_path, large, TABLE_SIZE_MAX + 1);
    free(large);
    assert_int_equal(table_cache_load(seam, s_path, &loaded, &errbuf), ERR_CORRUPT);
    assert_null(loaded);
    table_destroy(&table);
    sim_disk_destroy(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_default_places_default_everywhere),
        cmocka_unit_test(test_table_lower_or_same_version_is_not_newer),
        cmocka_unit_test(test_table_of_other_topology_is_a_conflict),
        cmocka_unit_test(test_table_tenants_are_found_by_id_and_name),
        cmocka_unit_test(test_table_next_leaves_snapshot_untouched),
        cmocka_unit_test(test_table_same_id_or_name_twice_is_refused),
        cmocka_unit_test(test_table_tenant_count_is_bounded),
        cmocka_unit_test(test_table_bad_tenant_is_refused),
        cmocka_unit_test(test_table_bad_record_is_refused),
        cmocka_unit_test(test_table_codec_round_trips),
        cmocka_unit_test(test_table_every_flipped_byte_is_corrupt),
        cmocka_unit_test(test_table_every_other_length_is_corrupt),
        cmocka_unit_test(test_table_structure_is_checked_behind_the_hash),
        cmocka_unit_test(test_table_header_limits_hold),
        cmocka_unit_test(test_table_cache_round_trips),
        cmocka_unit_test(test_table_cache_in_data_folder_round_trips),
        cmocka_unit_test(test_table_cache_power_cut_keeps_old_or_new),
        cmocka_unit_test(test_table_cache_disk_error_keeps_old),
        cmocka_unit_test(test_table_cache_damage_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
