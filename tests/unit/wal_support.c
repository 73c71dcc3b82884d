#include "tests/unit/wal_support.h"

#include "common/base/check.h"
#include "common/wal/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

stream_id_t wal_support_stream(void)
{
    return (stream_id_t){.tenant = {1}, .incarnation = 0xdeadbeef, .origin = {{1}, {3}}};
}

wal_place_t wal_support_place(const disk_t *disk, const char *folder)
{
    return (wal_place_t){
        .disk = disk,
        .folder = folder,
        .stream = wal_support_stream(),
        .tenant_name = "default",
        .region_name = "us",
    };
}

now_t wal_support_now(int64_t ms)
{
    return (now_t){
        .mono_ns = 1000000 * ms,
        .wall_ns = INT64_C(1700000000000000000) + 1000000 * ms,
    };
}

static void s_require(err_t err, const errbuf_t *errbuf)
{
    if (err != ERR_OK) {
        fail_msg("expected ok, found %s: %s", err_text(err), errbuf->text);
    }
}

wal_log_options_t wal_support_log_options(const disk_t *disk, uint64_t segment_size_bytes)
{
    return (wal_log_options_t){
        .place = wal_support_place(disk, WAL_SUPPORT_ORIGIN),
        .segment_size_bytes = segment_size_bytes,
        .no_zero_fill = true,
    };
}

wal_log_t *wal_support_open_log(const disk_t *disk, uint64_t segment_size_bytes)
{
    const wal_log_options_t options = wal_support_log_options(disk, segment_size_bytes);
    errbuf_t errbuf = {""};
    wal_log_t *log = NULL;
    s_require(wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf), &errbuf);
    return log;
}

void wal_support_refuse_log(const disk_t *disk,
                            uint64_t known_durable_seq,
                            err_t err,
                            const char *text)
{
    wal_log_options_t options = wal_support_log_options(disk, 0);
    errbuf_t errbuf = {""};
    wal_log_t *log = NULL;
    options.recovery.known_durable_seq = known_durable_seq;
    const err_t found = wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf);
    if (found != err) {
        fail_msg("expected %s, found %s: %s", err_text(err), err_text(found), errbuf.text);
    }
    if (strstr(errbuf.text, text) == NULL) {
        fail_msg("expected '%s' in: %s", text, errbuf.text);
    }
    assert_null(log);
}

wal_replica_t *wal_support_open_replica(const disk_t *disk, wal_replica_report_t *ret_report)
{
    const wal_replica_options_t options = {
        .place = wal_support_place(disk, WAL_SUPPORT_REPLICA),
        .no_zero_fill = true,
    };
    errbuf_t errbuf = {""};
    wal_replica_t *replica = NULL;
    s_require(wal_replica_open(&options, wal_support_now(0), &replica, ret_report, &errbuf),
              &errbuf);
    return replica;
}

wal_reader_t *wal_support_reader(const disk_t *disk, const char *folder, uint64_t from_seq)
{
    const wal_reader_options_t options = {
        .disk = disk,
        .folder = folder,
        .stream = wal_support_stream(),
        .from_seq = from_seq,
    };
    return wal_reader_new(&options);
}

void wal_support_fill(prng_t *prng, uint32_t events, buffer_t *payload, wal_batch_t *ret_batch)
{
    static const uint8_t s_producer[PRODUCER_SIZE_MAX] =
        "a producer whose name has at most sixty-four bytes, like this..";
    signal_event_t *list = calloc(events, sizeof(*list));
    CHECK(list != NULL);
    for (uint32_t i = 0; i < events; i++) {
        list[i] = (signal_event_t){
            .item = {1 + prng_below(prng, 100000)},
            .user = {prng_below(prng, 1000)},
            .ts_ns = wal_support_now(0).wall_ns + (int64_t)prng_below(prng, 1000000000),
            .weight = 1.0,
            .signal = (uint8_t)(1 + prng_below(prng, 4)),
        };
    }
    buffer_clear(payload);
    record_append_signals(payload, list, events);
    free(list);
    *ret_batch = (wal_batch_t){
        .epoch = 7,
        .event_count = events,
        .hlc = {wal_support_now(0).wall_ns, (uint32_t)prng_below(prng, 100), 0x10003},
        .payload = buffer_slice(payload),
    };
    if (prng_chance(prng, 0.5)) {
        ret_batch->has_producer = true;
        ret_batch->producer =
            slice_make(s_producer, 1 + (size_t)prng_below(prng, PRODUCER_SIZE_MAX));
        ret_batch->producer_seq = prng_next(prng);
    }
    for (size_t i = 0; i < WAL_CONTENT_HASH_SIZE; i++) {
        ret_batch->content_hash.bytes[i] = (uint8_t)prng_next(prng);
    }
}

uint64_t wal_support_append(wal_log_t *log, prng_t *prng, uint32_t events_max)
{
    errbuf_t errbuf = {""};
    buffer_t payload;
    wal_batch_t batch;
    buffer_init(&payload);
    wal_support_fill(prng, 1 + (uint32_t)prng_below(prng, events_max), &payload, &batch);
    s_require(wal_log_append(log, &batch, wal_support_now(0), &errbuf), &errbuf);
    buffer_done(&payload);
    return wal_batch_last_seq(&batch);
}

void wal_support_flush(wal_log_t *log)
{
    errbuf_t errbuf = {""};
    s_require(wal_log_flush(log, &errbuf), &errbuf);
}

void wal_support_write(wal_log_t *log, prng_t *prng, uint32_t count, uint32_t events_max)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)wal_support_append(log, prng, events_max); /* its seq is the log's */
        wal_support_flush(log);
    }
}

void wal_support_read_blocks(
    const disk_t *disk, const char *folder, uint64_t from_seq, uint64_t through_seq, buffer_t *out)
{
    wal_reader_t *reader = wal_support_reader(disk, folder, from_seq);
    errbuf_t errbuf = {""};
    wal_range_t range;
    err_t err = ERR_OK;
    while (err == ERR_OK) {
        err = wal_reader_next_blocks(reader, through_seq, 65536, out, &range, &errbuf);
    }
    s_require(err == ERR_END ? ERR_OK : err, &errbuf);
    assert_true(wal_reader_next_seq(reader) == through_seq + 1);
    wal_reader_destroy(&reader);
}

wal_hash_t wal_support_check_chain(const disk_t *disk, const char *folder, uint64_t through_seq)
{
    wal_reader_t *reader = wal_support_reader(disk, folder, 1);
    errbuf_t errbuf = {""};
    wal_hash_t hash = {{0}};
    uint64_t seq = 0;
    wal_batch_t batch;
    err_t err = ERR_OK;
    while ((err = wal_reader_next_batch(reader, through_seq, &batch, &errbuf)) == ERR_OK) {
        assert_true(batch.first_seq == seq + 1);
        assert_memory_equal(batch.previous_hash.bytes, hash.bytes, WAL_HASH_SIZE);
        s_require(record_check_payload(batch.payload, batch.event_count, &errbuf), &errbuf);
        seq = wal_batch_last_seq(&batch);
        hash = batch.hash;
    }
    s_require(err == ERR_END ? ERR_OK : err, &errbuf);
    assert_true(seq == through_seq);
    wal_reader_destroy(&reader);
    return hash;
}

const char *wal_support_segment(const char *folder, uint64_t first_seq)
{
    static wal_path_t s_path;
    assert_int_equal(wal_files_segment_path(folder, first_seq, &s_path, NULL), ERR_OK);
    return s_path.text;
}

void wal_support_get_file(sim_disk_t *disk, const char *path, buffer_t *ret_bytes)
{
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(disk, path, &bytes, &size), ERR_OK);
    buffer_init(ret_bytes);
    buffer_append(ret_bytes, bytes, (size_t)size);
}
