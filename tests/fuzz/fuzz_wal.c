#include "tests/fuzz/fuzz_wal.h"

#include "common/base/check.h"
#include "common/wal/cohort_builder.h"
#include "common/wal/record.h"
#include "common/wal/record_cohorts.h"
#include "common/wal/wal_log.h"
#include "common/wal/wal_reader.h"
#include "common/wal/wal_replica.h"
#include "tests/support/sim_disk.h"

#include <math.h>

typedef enum {
    INPUT_BLOCKS,
    INPUT_PAYLOAD,
    INPUT_OFFER,
    INPUT_LOG_FILE,
    INPUT_REPLICA_FILE,
    INPUT_COUNT
} input_t;

static const char s_folder[] = "t/us-0000000000000001";
static const char s_segment[] = "t/us-0000000000000001/00000000000000000001.seg";

static wal_place_t s_place(const sim_disk_t *sim)
{
    return (wal_place_t){
        .disk = sim_disk_disk(sim),
        .folder = s_folder,
        .stream = {.tenant = {1}, .incarnation = 1, .origin = {{1}, {0}}},
        .tenant_name = "t",
        .region_name = "us",
    };
}

/* -- what must hold of what was accepted ------------------------------------------------------- */

static void s_check_event(const signal_event_t *event)
{
    CHECK(event->item.value != 0);
    CHECK(event->ts_ns >= 0);
    CHECK(isfinite(event->weight) && fabs(event->weight) <= 1e9);
    CHECK(event->signal >= 1 && event->signal <= SIGNAL_TYPE_COUNT_MAX);
}

static void s_check_cohorts(const record_signals_t *signals, uint32_t i)
{
    slice_t names[USER_ATTRIBUTE_COUNT_MAX];
    uint32_t count = i % 64 == 0 ? record_cohorts_get(signals, i, names) : 0; /* it is a walk */
    CHECK(count <= USER_ATTRIBUTE_COUNT_MAX);
    for (uint32_t n = 0; n < count; n++) {
        CHECK(names[n].size >= 1 && names[n].size <= NAME_LENGTH_MAX && bytes_are_utf8(names[n]));
    }
}

/* Walks the records; returns their events. */
static uint64_t s_walk_payload(slice_t payload)
{
    size_t offset = 0;
    uint64_t events = 0;
    record_t record;
    while (record_next(payload, &offset, &record, NULL) == ERR_OK) {
        CHECK(offset <= payload.size);
        events += record.event_count;
        for (uint32_t i = 0; record.type == RECORD_SIGNALS && i < record.event_count; i++) {
            signal_event_t event;
            record_signals_get(&record.as.signals, i, &event);
            s_check_event(&event);
            s_check_cohorts(&record.as.signals, i);
        }
    }
    return events;
}

/* All batches up to seq follow each other and are well-formed. */
static void s_check_stream(const sim_disk_t *sim, uint64_t seq)
{
    const wal_place_t place = s_place(sim);
    const wal_reader_options_t options = {
        .disk = place.disk, .folder = s_folder, .stream = place.stream, .from_seq = 1};
    wal_reader_t *reader = wal_reader_new(&options);
    wal_batch_t batch;
    err_t err = ERR_OK;
    while ((err = wal_reader_next_batch(reader, seq, &batch, NULL)) == ERR_OK) {
        CHECK(wal_batch_last_seq(&batch) <= seq);
    }
    CHECK(err == ERR_END);
    CHECK(wal_reader_next_seq(reader) == seq + 1);
    wal_reader_destroy(&reader);
}

/* -- the kinds of input ------------------------------------------------------------------------ */

static void s_try_blocks(slice_t bytes)
{
    while (bytes.size > 0) {
        wal_block_t block;
        wal_block_t trusted;
        if (wal_decode_block(bytes, &block, NULL) != ERR_OK) {
            (void)wal_decode_block_trusted(bytes, &trusted, NULL); /* may be anything but a crash */
            return;
        }
        CHECK(block.size <= bytes.size);
        CHECK(wal_decode_block_trusted(bytes, &trusted, NULL) == ERR_OK);
        if (block.kind == WAL_BLOCK_BATCH) {
            buffer_t again;
            buffer_init(&again);
            wal_encode_batch(&block.as.batch, &again);
            CHECK(slice_equal(buffer_slice(&again), slice_make(bytes.data, block.size)));
            buffer_done(&again);
            (void)s_walk_payload(block.as.batch.payload);
        }
        bytes = slice_make(bytes.data + block.size, bytes.size - block.size);
    }
}

static void s_try_payload(slice_t payload)
{
    const uint64_t events = s_walk_payload(payload);
    const uint32_t claimed = events <= UINT32_MAX ? (uint32_t)events : UINT32_MAX;
    const err_t err = record_check_payload(payload, claimed, NULL);
    if (payload.size == 0) {
        CHECK(err == ERR_CORRUPT);
    }
    CHECK(record_check_payload(payload, claimed + 1, NULL) != ERR_OK);
}

static wal_replica_t *s_open_replica(const sim_disk_t *sim)
{
    const wal_replica_options_t options = {.place = s_place(sim), .verify_all = true};
    wal_replica_t *replica = NULL;
    const err_t err = wal_replica_open(&options, (now_t){0, 0}, &replica, NULL, NULL);
    CHECK(err == ERR_OK || err == ERR_UNSUPPORTED);
    return replica;
}

static void s_try_offer(slice_t bytes)
{
    sim_disk_t *sim = sim_disk_new(1);
    wal_replica_t *replica = s_open_replica(sim);
    wal_offer_t offer;
    (void)wal_replica_offer(replica, bytes, &offer, NULL); /* refused or not */
    CHECK(offer.taken_bytes <= bytes.size);
    CHECK(offer.position == wal_replica_appended_seq(replica));
    (void)wal_replica_offer(replica, bytes, &offer, NULL); /* the same once more */
    CHECK(offer.accepted_count == 0);
    CHECK(wal_replica_flush(replica, NULL) == ERR_OK);
    const uint64_t seq = wal_replica_durable_seq(replica);
    wal_replica_close(&replica);
    s_check_stream(sim, seq);
    replica = s_open_replica(sim);
    CHECK(replica != NULL && wal_replica_durable_seq(replica) == seq);
    wal_replica_close(&replica);
    sim_disk_destroy(&sim);
}

static void s_try_log_file(slice_t bytes)
{
    sim_disk_t *sim = sim_disk_new(1);
    sim_disk_put(sim, s_segment, bytes.data, bytes.size);
    sim_disk_t *before = sim_disk_clone(sim);
    const wal_log_options_t options = {.place = s_place(sim)};
    wal_log_t *log = NULL;
    const err_t err = wal_log_open(&options, (now_t){0, 0}, &log, NULL, NULL);
    if (err == ERR_OK) {
        s_check_stream(sim, wal_log_durable_seq(log));
    } else {
        CHECK(err == ERR_CORRUPT || err == ERR_UNSUPPORTED);
        CHECK(sim_disk_equal(before, sim));
    }
    wal_log_close(&log);
    sim_disk_destroy(&before);
    sim_disk_destroy(&sim);
}

static void s_try_replica_file(slice_t bytes)
{
    sim_disk_t *sim = sim_disk_new(1);
    sim_disk_put(sim, s_segment, bytes.data, bytes.size);
    wal_replica_t *replica = s_open_replica(sim);
    if (replica != NULL) {
        s_check_stream(sim, wal_replica_durable_seq(replica));
    }
    wal_replica_close(&replica);
    sim_disk_destroy(&sim);
}

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const slice_t bytes = slice_make(data + 1, size - 1);
    switch ((input_t)(data[0] % INPUT_COUNT)) {
    case INPUT_BLOCKS:
        s_try_blocks(bytes);
        break;
    case INPUT_PAYLOAD:
        s_try_payload(bytes);
        break;
    case INPUT_OFFER:
        s_try_offer(bytes);
        break;
    case INPUT_LOG_FILE:
        s_try_log_file(bytes);
        break;
    case INPUT_REPLICA_FILE:
        s_try_replica_file(bytes);
        break;
    case INPUT_COUNT:
        break;
    }
    return 0;
}

/* -- seeds ------------------------------------------------------------------------------------- */

static void s_append_cohorts(prng_t *prng, slice_t record, uint32_t count, buffer_t *out)
{
    static const char *const s_names[] = {"a:b", "locale:EU", "locale:US", "plan:"};
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    for (uint32_t i = 0; i < count; i++) {
        cohort_builder_add_name(builder, slice_text(s_names[prng_below(prng, 4)]));
        cohort_builder_add_name(builder, slice_text(s_names[prng_below(prng, 4)]));
        (void)cohort_builder_put_event(builder);
    }
    CHECK(cohort_builder_append(builder, record, out, NULL) == ERR_OK);
    cohort_builder_destroy(&builder);
}

static void s_make_payload(prng_t *prng, buffer_t *out, uint32_t *ret_events)
{
    signal_event_t events[6];
    const uint32_t count = 1 + (uint32_t)prng_below(prng, 6);
    for (uint32_t i = 0; i < count; i++) {
        events[i] = (signal_event_t){
            .item = {1 + (prng_next(prng) >> prng_below(prng, 60))},
            .user = {prng_next(prng) >> (4 + prng_below(prng, 60))},
            .ts_ns = (int64_t)(prng_next(prng) >> (1 + prng_below(prng, 40))),
            .weight = (double)prng_below(prng, 10),
            .signal = (uint8_t)(1 + prng_below(prng, 4)),
        };
    }
    buffer_t plain = {0};
    record_append_signals(&plain, events, count);
    if (prng_chance(prng, 0.5)) {
        s_append_cohorts(prng, buffer_slice(&plain), count, out);
    } else {
        buffer_append(out, plain.data, plain.size);
    }
    buffer_done(&plain);
    *ret_events = count;
    if (prng_chance(prng, 0.5)) {
        const record_t item = {
            .type = RECORD_ITEM_PUT,
            .event_count = 1,
            .as.item = {{7}, {1, 2, 3}, 1, {{ITEM_FIELD_TITLE, slice_make("seed", 4)}}}};
        record_append(out, &item);
        *ret_events += 1;
    }
    if (prng_chance(prng, 0.3)) {
        record_t start = {.type = RECORD_SESSION_START, .event_count = 1};
        start.as.session_start.session = (session_id_t){{7}};
        start.as.session_start.hlc = (hlc_stamp_t){1, 2, 3};
        start.as.session_start.agent = slice_make("seed", 4);
        start.as.session_start.meta = slice_make("\x80", 1);
        record_t signal = {.type = RECORD_SESSION_SIGNAL, .event_count = 1};
        signal.as.session_signal.session = (session_id_t){{7}};
        signal.as.session_signal.hlc = (hlc_stamp_t){1, 2, 4};
        signal.as.session_signal.session_seq = 1;
        signal.as.session_signal.item.value = 9;
        signal.as.session_signal.ts_ns = 5;
        signal.as.session_signal.weight = 1.0;
        signal.as.session_signal.signal = 1;
        record_append(out, &start);
        record_append(out, &signal);
        *ret_events += 2;
    }
}

/* Groups of a log, as its first segment holds them. */
static void s_make_segment(prng_t *prng, buffer_t *out)
{
    sim_disk_t *sim = sim_disk_new(1);
    const wal_log_options_t options = {.place = s_place(sim),
                                       .segment_size_bytes = SEGMENT_SIZE_MIN};
    const uint64_t groups = 1 + prng_below(prng, 6);
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    wal_log_t *log = NULL;
    CHECK(wal_log_open(&options, (now_t){0, 0}, &log, NULL, NULL) == ERR_OK);
    for (uint64_t i = 0; i < groups; i++) {
        buffer_t payload;
        wal_batch_t batch = {.epoch = i};
        buffer_init(&payload);
        s_make_payload(prng, &payload, &batch.event_count);
        batch.payload = buffer_slice(&payload);
        CHECK(wal_log_append(log, &batch, (now_t){0, 0}, NULL) == ERR_OK);
        if (prng_chance(prng, 0.7)) {
            CHECK(wal_log_flush(log, NULL) == ERR_OK);
        }
        buffer_done(&payload);
    }
    CHECK((prng_chance(prng, 0.3) ? wal_log_seal(log, NULL) : wal_log_flush(log, NULL)) == ERR_OK);
    CHECK(sim_disk_peek(sim, s_segment, &bytes, &size) == ERR_OK);
    buffer_append(out, bytes, (size_t)size);
    wal_log_close(&log);
    sim_disk_destroy(&sim);
}

void fuzz_wal_make_seed(prng_t *prng, buffer_t *out)
{
    const uint8_t kind = (uint8_t)prng_below(prng, INPUT_COUNT);
    uint32_t events = 0;
    buffer_clear(out);
    buffer_append(out, &kind, 1);
    if (kind == INPUT_PAYLOAD) {
        s_make_payload(prng, out, &events);
    } else {
        s_make_segment(prng, out);
    }
}
