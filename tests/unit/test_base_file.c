/* The base as a file: whole or refused, written whole or not at all. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/engine/base_file.h"
#include "tests/support/sim_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S_FOLDER "data/us-east/shard-4/tenants/default-1"
#define S_PATH   S_FOLDER "/state.base"

static const tenant_id_t s_tenant = {1};
static const shard_id_t s_shard = {4};

enum { S_PREFIX_SIZE = 8 };

/* -- a base ------------------------------------------------------------------------------------ */

static base_head_t s_head(base_position_t positions[2])
{
    for (uint16_t i = 0; i < 2; i++) {
        positions[i] = (base_position_t){
            .stream = {s_tenant, 0xa0 + (uint64_t)i, {{(uint16_t)(1 + i)}, s_shard}},
            .seq = 100 + (uint64_t)i,
        };
        memset(positions[i].hash.bytes, 0x11 + i, WAL_HASH_SIZE);
        positions[i].join.seq = UINT64_C(60) * i; /* the first one joins nowhere */
        memset(positions[i].join.hash.bytes, i == 0 ? 0 : 0x33, WAL_HASH_SIZE);
    }
    base_head_t head = {.tenant = s_tenant,
                        .shard = s_shard,
                        .made_wall_ns = INT64_C(1700000000000000000),
                        .position_count = 2,
                        .positions = positions};
    memset(head.digest, 0xdd, sizeof(head.digest));
    return head;
}

static void s_put(store_batch_t *batch, const char *key, const char *value, size_t value_size)
{
    static const uint8_t s_prefix[S_PREFIX_SIZE] = {0};
    buffer_t bytes;
    buffer_init(&bytes);
    buffer_append(&bytes, s_prefix, sizeof(s_prefix));
    buffer_append(&bytes, key, strlen(key));
    store_batch_put(batch, buffer_slice(&bytes), slice_make(value, value_size));
    buffer_done(&bytes);
}

/* Three entries, one of them empty; a fourth came and went. */
static store_batch_t *s_entries(void)
{
    store_batch_t *batch = store_batch_new();
    s_put(batch, "Lc7", "seven", 5);
    s_put(batch, "D", "", 0);
    s_put(batch, "Lc77", "seventy-seven", 13);
    s_put(batch, "Lx", "gone", 4);
    static const uint8_t s_gone[S_PREFIX_SIZE + 2] = {0, 0, 0, 0, 0, 0, 0, 0, 'L', 'x'};
    store_batch_delete(batch, slice_make(s_gone, sizeof(s_gone)));
    return batch;
}

/* Writes one to its end; how many pieces it took. */
static int s_write(const disk_t *disk, store_batch_t *entries)
{
    base_position_t positions[2];
    base_head_t head = s_head(positions);
    assert_int_equal(disk->make_folders(disk->context, S_FOLDER, NULL), ERR_OK);
    base_writer_t *writer = base_writer_new(disk, S_PATH, &head, &entries, S_PREFIX_SIZE);
    assert_null(entries);
    int pieces = 1;
    errbuf_t errbuf;
    err_t err = base_writer_step(writer, &errbuf);
    for (; err == ERR_AGAIN; pieces++) {
        err = base_writer_step(writer, &errbuf);
    }
    assert_int_equal(err, ERR_OK);
    base_writer_destroy(&writer);
    return pieces;
}

/* What a reader gives, one entry after the other. */
typedef struct {
    uint64_t count;
    buffer_t text;
} s_seen_t;

static err_t s_on_entry(void *context, slice_t key, slice_t value, errbuf_t *errbuf)
{
    (void)errbuf;
    s_seen_t *seen = context;
    seen->count++;
    if (seen->text.size < 1000) {
        buffer_append(&seen->text, key.data, key.size);
        buffer_append(&seen->text, "=", 1);
        buffer_append(&seen->text, value.data, value.size);
        buffer_append(&seen->text, ";", 1);
    }
    return ERR_OK;
}

/* Reads to the end; the head is copied where it is wanted. */
static err_t s_read(const disk_t *disk, s_seen_t *ret_seen, int *ret_pieces)
{
    base_reader_t *reader = base_reader_new(disk, S_PATH, s_tenant, s_shard);
    *ret_seen = (s_seen_t){.count = 0};
    errbuf_t errbuf = {{0}};
    err_t err = ERR_AGAIN;
    *ret_pieces = 0;
    while (err == ERR_AGAIN) {
        err = base_reader_step(reader, s_on_entry, ret_seen, &errbuf);
        *ret_pieces += 1;
    }
    if (err != ERR_OK) {
        assert_non_null(strstr(errbuf.text, "state.base"));
    }
    base_reader_destroy(&reader);
    return err;
}

/* The bytes of the file; appended. */
static void s_bytes(const disk_t *disk, buffer_t *out)
{
    disk_file_t *file = NULL;
    uint64_t size = 0;
    size_t read = 0;
    assert_int_equal(disk->open(disk->context, S_PATH, DISK_READ, &file, NULL), ERR_OK);
    assert_int_equal(disk->size(disk->context, file, &size, NULL), ERR_OK);
    assert_int_equal(
        disk->read_at(disk->context, file, 0, buffer_extend(out, size), size, &read, NULL), ERR_OK);
    disk->close(disk->context, &file);
}

static void s_replace(const disk_t *disk, slice_t bytes)
{
    disk_file_t *file = NULL;
    assert_int_equal(disk->open(disk->context, S_PATH, DISK_CREATE, &file, NULL), ERR_OK);
    assert_int_equal(disk->truncate(disk->context, file, 0, NULL), ERR_OK);
    assert_int_equal(disk->write_at(disk->context, file, 0, bytes.data, bytes.size, NULL), ERR_OK);
    disk->close(disk->context, &file);
}

/* -- tests ------------------------------------------------------------------------------------- */

/* What was written is read: head, entries in key order, and nothing that came and went. */
static void test_base_file_round_trip(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    (void)s_write(disk, s_entries());
    s_seen_t seen;
    int pieces = 0;
    assert_int_equal(s_read(disk, &seen, &pieces), ERR_OK);
    static const char s_expected[] = "D=;Lc7=seven;Lc77=seventy-seven;";
    assert_true(slice_equal(buffer_slice(&seen.text), slice_text(s_expected)));
    buffer_done(&seen.text);
    base_head_t head;
    assert_int_equal(base_read_head(disk, S_PATH, s_tenant, s_shard, &head, NULL), ERR_OK);
    assert_int_equal(head.entry_count, 3);
    assert_int_equal(head.position_count, 2);
    assert_int_equal(head.digest[31], 0xdd);
    stream_id_t stream = {s_tenant, 0xa1, {{2}, s_shard}};
    wal_base_t base = base_head_wal_base(&head, stream);
    assert_int_equal(base.seq, 101);
    assert_int_equal(base.hash.bytes[0], 0x12);
    wal_base_t join = base_head_join(&head, stream);
    assert_int_equal(join.seq, 60);
    assert_int_equal(join.hash.bytes[31], 0x33);
    stream.incarnation = 7;
    assert_int_equal(base_head_wal_base(&head, stream).seq, 0);
    base_head_done(&head);
    base_head_done(&head);
    sim_disk_destroy(&sim);
}

/* A large one is written and read in pieces. */
static void test_base_file_large_one_takes_pieces(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    store_batch_t *entries = store_batch_new();
    static char s_value[4000];
    for (int i = 0; i < 1000; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "L%06d", i);
        s_put(entries, key, s_value, sizeof(s_value));
    }
    assert_in_range(s_write(disk, entries), 4, 6);
    s_seen_t seen;
    int pieces = 0;
    assert_int_equal(s_read(disk, &seen, &pieces), ERR_OK);
    assert_int_equal(seen.count, 1000);
    assert_in_range(pieces, 4, 6);
    buffer_done(&seen.text);
    sim_disk_destroy(&sim);
}

/* Goal: a changed, missing or added byte is found. Method: every byte of a small file set to two
 * other values, every shorter length, one byte more. */
static void test_base_file_damage_is_refused(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    (void)s_write(disk, s_entries());
    buffer_t bytes;
    buffer_init(&bytes);
    s_bytes(disk, &bytes);
    s_seen_t seen;
    int pieces = 0;
    for (size_t at = 0; at < bytes.size; at++) {
        for (int i = 0; i < 2; i++) {
            uint8_t flip = i == 0 ? 1 : 0x80;
            bytes.data[at] ^= flip;
            s_replace(disk, buffer_slice(&bytes));
            assert_int_equal(s_read(disk, &seen, &pieces), ERR_CORRUPT);
            buffer_done(&seen.text);
            bytes.data[at] ^= flip;
        }
    }
    for (size_t size = 0; size < bytes.size; size++) {
        s_replace(disk, slice_make(bytes.data, size));
        assert_int_equal(s_read(disk, &seen, &pieces), ERR_CORRUPT);
        buffer_done(&seen.text);
    }
    buffer_append(&bytes, "x", 1);
    s_replace(disk, buffer_slice(&bytes));
    assert_int_equal(s_read(disk, &seen, &pieces), ERR_CORRUPT);
    buffer_done(&seen.text);
    bytes.size--;
    s_replace(disk, buffer_slice(&bytes));
    assert_int_equal(s_read(disk, &seen, &pieces), ERR_OK);
    buffer_done(&seen.text);
    buffer_done(&bytes);
    sim_disk_destroy(&sim);
}

/* Takes entries of which "Lc7" has "seven"; another value is of a later version. */
static err_t s_on_versioned_entry(void *context, slice_t key, slice_t value, errbuf_t *errbuf)
{
    *(int *)context += 1;
    if (key.size == 3 && !slice_equal(value, slice_text("seven"))) {
        errbuf_set(errbuf, "a later version");
        return ERR_UNSUPPORTED;
    }
    return ERR_OK;
}

static err_t s_read_versioned(const disk_t *disk, int *ret_count, errbuf_t *ret_errbuf)
{
    base_reader_t *reader = base_reader_new(disk, S_PATH, s_tenant, s_shard);
    *ret_count = 0;
    err_t err = base_reader_step(reader, s_on_versioned_entry, ret_count, ret_errbuf);
    base_reader_destroy(&reader);
    return err;
}

/* Goal: an entry that seems to be of a later version is believed where the whole file verifies, and is
 * damage where it does not; no entry is given behind it. */
static void test_base_file_later_entry_counts_only_in_a_file_that_verifies(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    store_batch_t *entries = s_entries();
    s_put(entries, "Lc7", "SEVEN", 5);
    (void)s_write(disk, entries);
    int count = 0;
    errbuf_t errbuf = {{0}};
    assert_int_equal(s_read_versioned(disk, &count, &errbuf), ERR_UNSUPPORTED);
    assert_non_null(strstr(errbuf.text, "state.base: a later version"));
    assert_int_equal(count, 2);
    (void)s_write(disk, s_entries());
    buffer_t bytes;
    buffer_init(&bytes);
    s_bytes(disk, &bytes);
    size_t at = 0;
    while (memcmp(bytes.data + at, "seven", 5) != 0) {
        at++;
    }
    bytes.data[at] ^= 0x20;
    s_replace(disk, buffer_slice(&bytes));
    assert_int_equal(s_read_versioned(disk, &count, &errbuf), ERR_CORRUPT);
    assert_non_null(strstr(errbuf.text, "does not have the hash"));
    buffer_done(&bytes);
    sim_disk_destroy(&sim);
}

/* Goal: random bytes with a right hash over the head never break anything, and are no head unless
 * they encode to themselves. Method: fields of a head overwritten at random, hashed anew. */
static void test_base_file_head_with_impossible_fields_is_refused(void **state)
{
    (void)state;
    base_position_t positions[2];
    base_head_t model = s_head(positions);
    prng_t prng;
    prng_init(&prng, 3);
    buffer_t bytes;
    buffer_t again;
    buffer_init(&bytes);
    buffer_init(&again);
    uint32_t refused = 0;
    for (int round = 0; round < 20000; round++) {
        base_head_t head = model;
        base_position_t changed[2] = {positions[0], positions[1]};
        head.positions = changed;
        uint64_t value = prng_chance(&prng, 0.3) ? 0 : prng_next(&prng) >> prng_below(&prng, 64);
        switch (prng_below(&prng, 8)) {
        case 0:
            head.tenant.value = value;
            break;
        case 1:
            head.shard.value = (uint16_t)value;
            break;
        case 2:
            changed[1].stream.origin.region.value = (uint16_t)value;
            break;
        case 3:
            changed[prng_below(&prng, 2)].stream.incarnation = value;
            break;
        case 4:
            changed[0].seq = value;
            break;
        case 5:
            changed[prng_below(&prng, 2)].join.seq = value;
            break;
        case 6:
            changed[prng_below(&prng, 2)].join.hash.bytes[0] = (uint8_t)value;
            memset(changed[1].join.hash.bytes + 1, 0, WAL_HASH_SIZE - 1);
            break;
        default:
            head.made_wall_ns = (int64_t)prng_next(&prng);
            break;
        }
        buffer_clear(&bytes);
        buffer_clear(&again);
        base_head_encode(&head, &bytes);
        base_head_t decoded;
        size_t size = 0;
        errbuf_t errbuf;
        err_t err = base_head_decode(buffer_slice(&bytes), &decoded, &size, &errbuf);
        refused += err == ERR_CORRUPT ? 1 : 0;
        if (err == ERR_OK) {
            base_head_encode(&decoded, &again);
            assert_true(slice_equal(buffer_slice(&bytes), buffer_slice(&again)));
            base_head_done(&decoded);
        } else {
            assert_int_equal(err, ERR_CORRUPT);
        }
    }
    assert_true(refused > 2000);
    buffer_done(&bytes);
    buffer_done(&again);
}

/* A file of another tenant or shard, of a later program, and none at all are told apart. */
static void test_base_file_of_another_place_or_version_is_refused(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    base_head_t head;
    assert_int_equal(base_read_head(disk, S_PATH, s_tenant, s_shard, &head, NULL), ERR_NOT_FOUND);
    (void)s_write(disk, s_entries());
    assert_int_equal(base_read_head(disk, S_PATH, (tenant_id_t){2}, s_shard, &head, NULL),
                     ERR_CORRUPT);
    assert_int_equal(base_read_head(disk, S_PATH, s_tenant, (shard_id_t){5}, &head, NULL),
                     ERR_CORRUPT);
    buffer_t bytes;
    buffer_init(&bytes);
    s_bytes(disk, &bytes);
    bytes.data[7] = '3';
    s_replace(disk, buffer_slice(&bytes));
    assert_int_equal(base_read_head(disk, S_PATH, s_tenant, s_shard, &head, NULL), ERR_CORRUPT);
    bytes.data[8] = 3;
    s_replace(disk, buffer_slice(&bytes));
    assert_int_equal(base_read_head(disk, S_PATH, s_tenant, s_shard, &head, NULL), ERR_UNSUPPORTED);
    buffer_done(&bytes);
    sim_disk_destroy(&sim);
}

/* Goal: a power cut leaves the base of before or the new one. Method: a second base is written over
 * a first one, cut after each piece, with many outcomes for what was not synced. */
static void test_base_file_power_cut_leaves_one_of_both(void **state)
{
    (void)state;
    uint32_t new_ones = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        sim_disk_t *sim = sim_disk_new(seed);
        const disk_t *disk = sim_disk_disk(sim);
        (void)s_write(disk, s_entries());
        store_batch_t *entries = store_batch_new();
        static char s_value[600000];
        s_put(entries, "La", s_value, sizeof(s_value));
        s_put(entries, "Lb", s_value, sizeof(s_value));
        s_put(entries, "Lc", s_value, sizeof(s_value));
        base_position_t positions[2];
        base_head_t head = s_head(positions);
        base_writer_t *writer = base_writer_new(disk, S_PATH, &head, &entries, S_PREFIX_SIZE);
        bool is_done = false;
        for (uint64_t i = 0; i < seed % 4 && !is_done; i++) {
            is_done = base_writer_step(writer, NULL) == ERR_OK;
        }
        sim_disk_crash(sim, seed);
        base_writer_destroy(&writer);
        s_seen_t seen;
        int pieces = 0;
        assert_int_equal(s_read(disk, &seen, &pieces), ERR_OK);
        bool is_new = slice_equal(slice_make(seen.text.data, 2), slice_text("La"));
        assert_true(is_new || seen.count == 3);
        assert_true(!is_done || is_new);
        new_ones += is_new ? 1 : 0;
        buffer_done(&seen.text);
        sim_disk_destroy(&sim);
    }
    assert_true(new_ones > 0 && new_ones < 60);
}

/* Goal: a writer that fails says whether the base of before still stands. Method: the power goes at each
 * of its changes in turn, and the disk loses all that was not synced, or keeps what it likes. */
static void test_base_file_failure_tells_whether_the_old_one_stands(void **state)
{
    (void)state;
    uint32_t renamed_count = 0;
    uint32_t stands_count = 0;
    bool is_done = false;
    for (uint64_t at = 1; !is_done; at++) {
        sim_disk_t *sim = sim_disk_new(at);
        const disk_t *disk = sim_disk_disk(sim);
        (void)s_write(disk, s_entries());
        store_batch_t *entries = store_batch_new();
        s_put(entries, "La", "x", 1);
        base_position_t positions[2];
        base_head_t head = s_head(positions);
        base_writer_t *writer = base_writer_new(disk, S_PATH, &head, &entries, S_PREFIX_SIZE);
        sim_disk_stop_at(sim, at);
        err_t err = ERR_AGAIN;
        while (err == ERR_AGAIN) {
            err = base_writer_step(writer, NULL);
        }
        is_done = err == ERR_OK;
        bool is_renamed = base_writer_is_renamed(writer);
        sim_disk_crash(sim, at);
        base_writer_destroy(&writer);
        s_seen_t seen;
        int pieces = 0;
        assert_int_equal(s_read(disk, &seen, &pieces), ERR_OK);
        assert_true(is_renamed || seen.count == 3);
        assert_true(!is_done || (is_renamed && seen.count == 1));
        renamed_count += is_renamed && !is_done ? 1 : 0;
        stands_count += is_renamed ? 0 : 1;
        buffer_done(&seen.text);
        sim_disk_destroy(&sim);
    }
    assert_int_equal(renamed_count, 1); /* by the sync of the folder alone */
    assert_true(stands_count > 3);
}

static size_t s_read_golden(const char *name, uint8_t *ret_bytes, size_t size_max)
{
    const char *source = getenv("TIDAL_SOURCE"); // NOLINT(concurrency-mt-unsafe)
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/tests/golden/%s", source == NULL ? "." : source, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(ret_bytes, 1, size_max, file);
    assert_int_equal(fclose(file), 0);
    return size;
}

/* Goal: the format never changes. Method: the same base gives the bytes of the golden file, which
 * `test_base_file write <path>` wrote when the version was new. */
static void test_base_file_golden(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    (void)s_write(disk, s_entries());
    buffer_t bytes;
    buffer_init(&bytes);
    s_bytes(disk, &bytes);
    static uint8_t s_golden[4096];
    size_t size = s_read_golden("base_v2.base", s_golden, sizeof(s_golden));
    assert_true(slice_equal(buffer_slice(&bytes), slice_make(s_golden, size)));
    buffer_done(&bytes);
    sim_disk_destroy(&sim);
}

/* One that an earlier program wrote is refused, and the operator is told what to do. One that only says
 * so in one of both places is damaged. */
static void test_base_file_of_the_first_version_is_refused(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    (void)s_write(disk, s_entries());
    static uint8_t s_golden[4096];
    size_t size = s_read_golden("base_v1.base", s_golden, sizeof(s_golden));
    s_replace(disk, slice_make(s_golden, size));
    base_head_t head;
    errbuf_t errbuf = {{0}};
    assert_int_equal(base_read_head(disk, S_PATH, s_tenant, s_shard, &head, &errbuf),
                     ERR_UNSUPPORTED);
    assert_non_null(strstr(errbuf.text, "delete it"));
    s_seen_t seen;
    int pieces = 0;
    assert_int_equal(s_read(disk, &seen, &pieces), ERR_UNSUPPORTED);
    assert_int_equal(seen.count, 0);
    buffer_done(&seen.text);
    s_golden[7] = '2';
    s_replace(disk, slice_make(s_golden, size));
    assert_int_equal(base_read_head(disk, S_PATH, s_tenant, s_shard, &head, NULL), ERR_CORRUPT);
    sim_disk_destroy(&sim);
}

static int s_write_golden(const char *path)
{
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    (void)s_write(disk, s_entries());
    buffer_t bytes;
    buffer_init(&bytes);
    s_bytes(disk, &bytes);
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK(fwrite(bytes.data, 1, bytes.size, file) == bytes.size && fclose(file) == 0);
    buffer_done(&bytes);
    sim_disk_destroy(&sim);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        return s_write_golden(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_file_round_trip),
        cmocka_unit_test(test_base_file_large_one_takes_pieces),
        cmocka_unit_test(test_base_file_damage_is_refused),
        cmocka_unit_test(test_base_file_later_entry_counts_only_in_a_file_that_verifies),
        cmocka_unit_test(test_base_file_head_with_impossible_fields_is_refused),
        cmocka_unit_test(test_base_file_of_another_place_or_version_is_refused),
        cmocka_unit_test(test_base_file_power_cut_leaves_one_of_both),
        cmocka_unit_test(test_base_file_failure_tells_whether_the_old_one_stands),
        cmocka_unit_test(test_base_file_golden),
        cmocka_unit_test(test_base_file_of_the_first_version_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
