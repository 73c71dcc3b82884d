/* The log's format, byte by byte, against files that never change.
 *
 *   wal_sealed_v1.seg    a sealed segment of three batches: signals from a producer; an item put,
 *                        an item deleted, a user and a hide; signals in their widest columns
 *   wal_unsealed_v1.seg  two batches and two thirds of a third: a torn tail
 *   wal_batch_v1.txt     the first batch of the sealed segment, field by field
 *   wal_cohorts_v1.seg   a sealed segment of signals of users in two sets of cohorts, and in none
 *
 * For a new version of the format: `test_wal_golden write <folder>` writes what the code of the day
 * makes of the same input; the files of older versions stay and must stay readable. */
#include "common/base/check.h"
#include "common/wal/cohort_builder.h"
#include "common/wal/record_cohorts.h"
#include "common/wal/wal_log.h"
#include "tests/support/sim_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char s_folder[] = "us-east-00000000000000a1";
static const int64_t s_epoch_ns = INT64_C(1700000000000000000);

static wal_log_t *s_open(const disk_t *disk)
{
    const wal_log_options_t options = {
        .place = {.disk = disk,
                  .folder = s_folder,
                  .stream = {.tenant = {1}, .incarnation = 0xa1, .origin = {{1}, {4}}},
                  .tenant_name = "default",
                  .region_name = "us-east"},
        .no_zero_fill = true,
    };
    wal_log_t *log = NULL;
    CHECK(wal_log_open(&options, (now_t){0, s_epoch_ns}, &log, NULL, NULL) == ERR_OK);
    return log;
}

static void s_append(wal_log_t *log, wal_batch_t *batch, const buffer_t *payload)
{
    batch->payload = buffer_slice(payload);
    CHECK(wal_log_append(log, batch, (now_t){1000, s_epoch_ns + 1000}, NULL) == ERR_OK);
    CHECK(wal_log_flush(log, NULL) == ERR_OK);
}

static void s_append_narrow_signals(wal_log_t *log)
{
    signal_event_t events[5];
    buffer_t payload;
    wal_batch_t batch = {
        .epoch = 3,
        .event_count = 5,
        .hlc = {s_epoch_ns + 1000, 2, 0x10004},
        .has_producer = true,
        .producer = slice_make("loader-7", 8),
        .producer_seq = 42,
    };
    for (uint32_t i = 0; i < 5; i++) {
        events[i] = (signal_event_t){{1000 + i}, {70 + i}, s_epoch_ns + (int64_t)10 * i, 1.0, 1};
    }
    for (size_t i = 0; i < WAL_CONTENT_HASH_SIZE; i++) {
        batch.content_hash.bytes[i] = (uint8_t)(0xc0 + i);
    }
    buffer_init(&payload);
    record_append_signals(&payload, events, 5);
    s_append(log, &batch, &payload);
    buffer_done(&payload);
}

static void s_put_item(buffer_t *payload, hlc_stamp_t hlc)
{
    static const uint8_t s_tags[] = {2, 0, 3, 0, 's', 'e', 'a', 4, 0, 'm', 'o', 'o', 'n'};
    static const uint8_t s_creator[8] = {9};
    uint8_t created[8];
    bytes_put_u64(created, (uint64_t)s_epoch_ns);
    const record_t put = {
        .type = RECORD_ITEM_PUT,
        .event_count = 1,
        .as.item = {{1000},
                    hlc,
                    6,
                    {{ITEM_FIELD_TITLE, slice_make("Tides", 5)},
                     {ITEM_FIELD_TEXT, slice_make("What the moon does", 18)},
                     {ITEM_FIELD_CATEGORY, slice_make("science", 7)},
                     {ITEM_FIELD_CREATOR, slice_make(s_creator, 8)},
                     {ITEM_FIELD_TAGS, slice_make(s_tags, sizeof(s_tags))},
                     {ITEM_FIELD_CREATED, slice_make(created, 8)}}},
    };
    record_append(payload, &put);
}

static void s_append_other_records(wal_log_t *log)
{
    const hlc_stamp_t hlc = {s_epoch_ns + 2000, 0, 0x1ffff};
    const record_t drop = {
        .type = RECORD_ITEM_DELETE, .event_count = 1, .as.item = {.item = {1001}, .hlc = hlc}};
    const record_t user = {
        .type = RECORD_USER_PUT,
        .event_count = 1,
        .as.user = {{70},
                    hlc,
                    2,
                    {{slice_make("locale", 6), slice_make("EU", 2)},
                     {slice_make("plan", 4), slice_make("free", 4)}}},
    };
    const record_t hide = {.type = RECORD_RELATION,
                           .event_count = 1,
                           .as.relation = {{70}, 1000, hlc, RELATION_HIDE, true}};
    buffer_t payload;
    wal_batch_t batch = {.epoch = 3, .event_count = 4, .hlc = hlc};
    buffer_init(&payload);
    s_put_item(&payload, hlc);
    record_append(&payload, &drop);
    record_append(&payload, &user);
    record_append(&payload, &hide);
    s_append(log, &batch, &payload);
    buffer_done(&payload);
}

static void s_append_wide_signals(wal_log_t *log)
{
    const signal_event_t events[2] = {
        {{UINT64_MAX}, {UINT64_MAX - 1}, 0, -0.1, 64},
        {{1}, {0}, INT64_MAX, 1e9, 2},
    };
    buffer_t payload;
    wal_batch_t batch = {.epoch = 4, .event_count = 2, .hlc = {s_epoch_ns + 3000, 7, 0x10004}};
    buffer_init(&payload);
    record_append_signals(&payload, events, 2);
    s_append(log, &batch, &payload);
    buffer_done(&payload);
}

static void s_get_segment(const sim_disk_t *sim, buffer_t *ret_bytes)
{
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    wal_path_t path;
    CHECK(wal_files_segment_path(s_folder, 1, &path, NULL) == ERR_OK);
    CHECK(sim_disk_peek(sim, path.text, &bytes, &size) == ERR_OK);
    buffer_init(ret_bytes);
    buffer_append(ret_bytes, bytes, (size_t)size);
}

/* The narrow signals of two users in cohorts and three in none. */
static void s_append_cohorts(wal_log_t *log)
{
    signal_event_t events[5];
    buffer_t plain = {0};
    buffer_t payload = {0};
    wal_batch_t batch = {.epoch = 3, .event_count = 5, .hlc = {s_epoch_ns + 1000, 2, 0x10004}};
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    for (uint32_t i = 0; i < 5; i++) {
        events[i] = (signal_event_t){{1000 + i}, {70 + i}, s_epoch_ns + (int64_t)10 * i, 1.0, 1};
        if (i % 2 == 1) {
            cohort_builder_add_name(builder, slice_text("plan:free"));
            cohort_builder_add_name(builder, slice_text(i == 1 ? "locale:EU" : "locale:US"));
        }
        (void)cohort_builder_put_event(builder);
    }
    record_append_signals(&plain, events, 5);
    CHECK(cohort_builder_append(builder, buffer_slice(&plain), &payload, NULL) == ERR_OK);
    s_append(log, &batch, &payload);
    buffer_done(&plain);
    buffer_done(&payload);
    cohort_builder_destroy(&builder);
}

static void s_make_sealed(buffer_t *ret_bytes)
{
    sim_disk_t *sim = sim_disk_new(1);
    wal_log_t *log = s_open(sim_disk_disk(sim));
    s_append_narrow_signals(log);
    s_append_other_records(log);
    s_append_wide_signals(log);
    CHECK(wal_log_seal(log, NULL) == ERR_OK);
    wal_log_close(&log);
    s_get_segment(sim, ret_bytes);
    sim_disk_destroy(&sim);
}

static void s_make_cohorts(buffer_t *ret_bytes)
{
    sim_disk_t *sim = sim_disk_new(1);
    wal_log_t *log = s_open(sim_disk_disk(sim));
    s_append_cohorts(log);
    CHECK(wal_log_seal(log, NULL) == ERR_OK);
    wal_log_close(&log);
    s_get_segment(sim, ret_bytes);
    sim_disk_destroy(&sim);
}

static void s_make_unsealed(buffer_t *ret_bytes)
{
    sim_disk_t *sim = sim_disk_new(1);
    wal_log_t *log = s_open(sim_disk_disk(sim));
    s_append_narrow_signals(log);
    s_append_other_records(log);
    buffer_t bytes;
    s_get_segment(sim, &bytes);
    const size_t whole = bytes.size;
    buffer_done(&bytes);
    s_append_wide_signals(log);
    wal_log_close(&log);
    s_get_segment(sim, ret_bytes);
    ret_bytes->size = whole + (ret_bytes->size - whole) * 2 / 3;
    sim_disk_destroy(&sim);
}

/* -- the listing ------------------------------------------------------------------------------- */

static void s_list_field(
    buffer_t *out, const uint8_t *block, const char *name, size_t offset, size_t size)
{
    char line[512];
    char hex[2 * 128 + 1];
    CHECK(size <= 128);
    bytes_to_hex(block + offset, size, hex);
    const int length =
        snprintf(line, sizeof(line), "%3zu %3zu  %-18s %s\n", offset, size, name, hex);
    CHECK(length > 0 && (size_t)length < sizeof(line));
    buffer_append(out, line, (size_t)length);
}

/* Field by field, in the order of wal_format.h. */
static void s_list_batch(const uint8_t *block, size_t block_size, buffer_t *ret_text)
{
    static const struct {
        const char *name;
        size_t offset;
        size_t size;
    } s_fields[] = {
        {"magic", 0, 4},          {"version", 4, 2},         {"producer size", 6, 1},
        {"flags", 7, 1},          {"tenant", 8, 8},          {"incarnation", 16, 8},
        {"region", 24, 2},        {"shard", 26, 2},          {"event count", 28, 4},
        {"epoch", 32, 8},         {"first seq", 40, 8},      {"synced seq", 48, 8},
        {"hlc wall", 56, 8},      {"hlc logical", 64, 4},    {"hlc node", 68, 4},
        {"producer seq", 72, 8},  {"previous hash", 80, 32}, {"content hash", 112, 16},
        {"payload size", 128, 4}, {"zero", 132, 4},          {"segment first seq", 136, 8},
        {"zero", 144, 32},        {"hash", 176, 32},         {"producer", 208, 8},
    };
    buffer_init(ret_text);
    size_t end = 0;
    for (size_t i = 0; i < sizeof(s_fields) / sizeof(*s_fields); i++) {
        CHECK(s_fields[i].offset == end);
        s_list_field(ret_text, block, s_fields[i].name, s_fields[i].offset, s_fields[i].size);
        end += s_fields[i].size;
    }
    const size_t payload_size = bytes_get_u32(block + 128);
    s_list_field(ret_text, block, "payload", end, payload_size);
    s_list_field(ret_text, block, "padding", end + payload_size, block_size - end - payload_size);
}

static void s_make_listing(buffer_t *ret_text)
{
    buffer_t bytes;
    wal_block_t block;
    s_make_sealed(&bytes);
    const slice_t rest =
        slice_make(bytes.data + WAL_SEGMENT_HEADER_SIZE, bytes.size - WAL_SEGMENT_HEADER_SIZE);
    CHECK(wal_decode_block(rest, &block, NULL) == ERR_OK);
    s_list_batch(rest.data, block.size, ret_text);
    buffer_done(&bytes);
}

/* -- files ------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*make)(buffer_t *ret_bytes);
} s_files[] = {
    {"wal_sealed_v1.seg", s_make_sealed},
    {"wal_unsealed_v1.seg", s_make_unsealed},
    {"wal_batch_v1.txt", s_make_listing},
    {"wal_cohorts_v1.seg", s_make_cohorts},
};
enum { FILE_COUNT = sizeof(s_files) / sizeof(*s_files) };

static void s_load(const char *name, buffer_t *ret_bytes)
{
    char path[1024];
    /* The tests have one thread, and nobody changes the environment. */
    const char *source = getenv("TIDAL_SOURCE"); // NOLINT(concurrency-mt-unsafe)
    (void)snprintf(path, sizeof(path), "%s/tests/golden/%s", source == NULL ? "." : source, name);
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        fail_msg("expected the file %s, found none", path);
    }
    buffer_init(ret_bytes);
    size_t got = 0;
    do {
        uint8_t chunk[4096];
        got = fread(chunk, 1, sizeof(chunk), file);
        buffer_append(ret_bytes, chunk, got);
    } while (got > 0);
    (void)fclose(file); /* only read */
}

static void s_expect_same(size_t i)
{
    buffer_t golden;
    buffer_t made;
    s_load(s_files[i].name, &golden);
    s_files[i].make(&made);
    if (!slice_equal(buffer_slice(&golden), buffer_slice(&made))) {
        fail_msg("%s differs from what is written today: a change of the format needs a new "
                 "version",
                 s_files[i].name);
    }
    buffer_done(&golden);
    buffer_done(&made);
}

/* Goal: today's code writes what the first release of version 1 wrote. */
static void test_golden_wal_same_input_writes_the_same_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < FILE_COUNT; i++) {
        s_expect_same(i);
    }
}

static wal_log_t *s_open_golden(sim_disk_t *sim, const char *name)
{
    buffer_t golden;
    wal_path_t path;
    s_load(name, &golden);
    assert_int_equal(wal_files_segment_path(s_folder, 1, &path, NULL), ERR_OK);
    sim_disk_put(sim, path.text, golden.data, golden.size);
    buffer_done(&golden);
    return s_open(sim_disk_disk(sim));
}

/* Goal: today's code reads the sealed file to its last event and goes on behind it. */
static void test_golden_wal_sealed_segment_is_read(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    const wal_segment_t *segment = NULL;
    wal_log_t *log = s_open_golden(sim, "wal_sealed_v1.seg");
    assert_true(wal_log_durable_seq(log) == 11);
    assert_int_equal(wal_log_sealed_segments_since(log, 0, &segment), 1);
    assert_true(segment->first_seq == 1 && segment->last_seq == 11);
    s_append_wide_signals(log);
    assert_true(wal_log_durable_seq(log) == 13);
    wal_log_close(&log);
    sim_disk_destroy(&sim);
}

/* Goal: today's code recovers the torn file to its last whole batch. */
static void test_golden_wal_unsealed_segment_is_recovered(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    wal_log_t *log = s_open_golden(sim, "wal_unsealed_v1.seg");
    assert_true(wal_log_durable_seq(log) == 9);
    s_append_wide_signals(log);
    assert_int_equal(wal_log_seal(log, NULL), ERR_OK);
    wal_log_close(&log);
    sim_disk_destroy(&sim);
}

/* Goal: the records in the golden file mean today what they meant. */
static void test_golden_wal_records_keep_their_meaning(void **state)
{
    (void)state;
    buffer_t golden;
    wal_block_t block;
    record_t record;
    signal_event_t event;
    size_t offset = 0;
    s_load("wal_sealed_v1.seg", &golden);
    slice_t rest =
        slice_make(golden.data + WAL_SEGMENT_HEADER_SIZE, golden.size - WAL_SEGMENT_HEADER_SIZE);
    assert_int_equal(wal_decode_block(rest, &block, NULL), ERR_OK);
    assert_true(slice_equal(block.as.batch.producer, slice_make("loader-7", 8)));
    assert_true(block.as.batch.producer_seq == 42 && block.as.batch.epoch == 3);
    assert_int_equal(record_next(block.as.batch.payload, &offset, &record, NULL), ERR_OK);
    record_signals_get(&record.as.signals, 4, &event);
    assert_true(event.item.value == 1004 && event.user.value == 74 && event.weight == 1.0);
    assert_true(event.ts_ns == s_epoch_ns + 40 && event.signal == 1);

    rest = slice_make(rest.data + block.size, rest.size - block.size);
    assert_int_equal(wal_decode_block(rest, &block, NULL), ERR_OK);
    static const record_type_t s_types[] = {RECORD_ITEM_PUT, RECORD_ITEM_DELETE, RECORD_USER_PUT,
                                            RECORD_RELATION};
    offset = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(record_next(block.as.batch.payload, &offset, &record, NULL), ERR_OK);
        assert_int_equal(record.type, s_types[i]);
    }
    assert_true(record.as.relation.user.value == 70 && record.as.relation.target == 1000);

    rest = slice_make(rest.data + block.size, rest.size - block.size);
    assert_int_equal(wal_decode_block(rest, &block, NULL), ERR_OK);
    offset = 0;
    assert_int_equal(record_next(block.as.batch.payload, &offset, &record, NULL), ERR_OK);
    record_signals_get(&record.as.signals, 0, &event);
    assert_true(event.item.value == UINT64_MAX && event.weight == -0.1 && event.signal == 64);
    buffer_done(&golden);
}

/* Goal: the cohorts in the golden file mean today what they meant. */
static void test_golden_wal_cohorts_keep_their_meaning(void **state)
{
    (void)state;
    buffer_t golden;
    wal_block_t block;
    record_t record;
    slice_t names[USER_ATTRIBUTE_COUNT_MAX];
    size_t offset = 0;
    s_load("wal_cohorts_v1.seg", &golden);
    slice_t rest =
        slice_make(golden.data + WAL_SEGMENT_HEADER_SIZE, golden.size - WAL_SEGMENT_HEADER_SIZE);
    assert_int_equal(wal_decode_block(rest, &block, NULL), ERR_OK);
    assert_int_equal(record_next(block.as.batch.payload, &offset, &record, NULL), ERR_OK);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(record_cohorts_get(&record.as.signals, i, names), i % 2 == 1 ? 2 : 0);
    }
    assert_int_equal(record_cohorts_get(&record.as.signals, 1, names), 2);
    assert_true(slice_equal(names[0], slice_text("locale:EU")));
    assert_true(slice_equal(names[1], slice_text("plan:free")));
    buffer_done(&golden);
}

static int s_write_files(const char *folder)
{
    for (size_t i = 0; i < FILE_COUNT; i++) {
        char path[1024];
        buffer_t bytes;
        (void)snprintf(path, sizeof(path), "%s/%s", folder, s_files[i].name);
        FILE *file = fopen(path, "wbe");
        CHECK(file != NULL);
        s_files[i].make(&bytes);
        CHECK(fwrite(bytes.data, 1, bytes.size, file) == bytes.size);
        CHECK(fclose(file) == 0);
        buffer_done(&bytes);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        return s_write_files(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_wal_same_input_writes_the_same_bytes),
        cmocka_unit_test(test_golden_wal_sealed_segment_is_read),
        cmocka_unit_test(test_golden_wal_unsealed_segment_is_recovered),
        cmocka_unit_test(test_golden_wal_records_keep_their_meaning),
        cmocka_unit_test(test_golden_wal_cohorts_keep_their_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
