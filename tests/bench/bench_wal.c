/* What the log costs on this machine's disk: bench_wal FOLDER. The folder must exist and should lie
 * on the disk in question; the files made there are removed.
 *
 *   sync    a bare write and fdatasync of 4 KiB, at the end of a growing file and inside one that
 *           was filled with zeros: what no log can beat
 *   group   wal_log_append and wal_log_flush of one group, for several shapes of groups
 *   replay  wal_reader_next_batch and every event of it, verified and trusted
 *   ship    wal_reader_next_blocks, wal_replica_offer and wal_replica_flush, 1 MiB at a time
 *   open    wal_log_open of the log that the above wrote */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/env/disk_posix.h"
#include "common/wal/record.h"
#include "common/wal/wal_log.h"
#include "common/wal/wal_reader.h"
#include "common/wal/wal_replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 1000, REPLAY_BATCHES = 4000, REPLAY_EVENTS = 1000, SHIP_SIZE = 1024 * 1024 };

static int64_t s_now_ns(void)
{
    struct timespec time;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static now_t s_now(void)
{
    return (now_t){s_now_ns(), INT64_C(1700000000000000000)};
}

static int s_compare(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a;
    const int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* in times_ns  sorted here */
static void s_print_times(const char *what, int64_t *times_ns, size_t count)
{
    qsort(times_ns, count, sizeof(*times_ns), s_compare);
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += times_ns[i];
    }
    const size_t middle = count / 2;
    const size_t late = count * 99 / 100;
    printf("%-36s p50 %6.1f us  p99 %7.1f us  mean %6.1f us\n", what,
           (double)times_ns[middle] / 1000, (double)times_ns[late] / 1000,
           (double)sum / (double)count / 1000);
}

static void s_bench_sync(const disk_t *disk, bool filled)
{
    static uint8_t s_page[4096];
    static int64_t s_times[ROUNDS];
    disk_file_t *file = NULL;
    CHECK(disk->open(disk->context, "sync.tmp", DISK_CREATE, &file, NULL) == ERR_OK);
    for (uint64_t i = 0; filled && i < ROUNDS; i++) {
        CHECK(disk->write_at(disk->context, file, 4096 * i, s_page, 4096, NULL) == ERR_OK);
    }
    CHECK(disk->sync(disk->context, file, NULL) == ERR_OK);
    memset(s_page, 1, sizeof(s_page));
    for (uint64_t i = 0; i < ROUNDS; i++) {
        const int64_t start = s_now_ns();
        CHECK(disk->write_at(disk->context, file, 4096 * i, s_page, 4096, NULL) == ERR_OK);
        CHECK(disk->sync(disk->context, file, NULL) == ERR_OK);
        s_times[i] = s_now_ns() - start;
    }
    disk->close(disk->context, &file);
    CHECK(disk->unlink(disk->context, "sync.tmp", NULL) == ERR_OK);
    s_print_times(filled ? "sync   4 KiB, zero-filled file" : "sync   4 KiB, growing file", s_times,
                  ROUNDS);
}

static void s_fill(prng_t *prng, uint32_t events, buffer_t *payload, wal_batch_t *ret_batch)
{
    static signal_event_t s_events[WAL_BATCH_COUNT_MAX];
    for (uint32_t i = 0; i < events; i++) {
        s_events[i] = (signal_event_t){
            .item = {1 + prng_below(prng, 1000000)},
            .user = {1 + prng_below(prng, 100000)},
            .ts_ns = INT64_C(1700000000000000000) + (int64_t)prng_below(prng, 1000000000),
            .weight = 1.0,
            .signal = (uint8_t)(1 + prng_below(prng, 4)),
        };
    }
    buffer_clear(payload);
    record_append_signals(payload, s_events, events);
    *ret_batch = (wal_batch_t){
        .event_count = events,
        .has_producer = true,
        .producer = slice_make("producer-12345", 14),
        .payload = buffer_slice(payload),
    };
}

static const stream_id_t s_stream = {.tenant = {1}, .incarnation = 1, .origin = {{1}, {0}}};

static wal_place_t s_place(const disk_t *disk, const char *folder)
{
    return (wal_place_t){
        .disk = disk,
        .folder = folder,
        .stream = s_stream,
        .tenant_name = "default",
        .region_name = "us",
    };
}

static wal_log_t *s_open_log(const disk_t *disk, const char *folder, bool zero_fill)
{
    const wal_log_options_t options = {.place = s_place(disk, folder), .no_zero_fill = !zero_fill};
    wal_log_t *log = NULL;
    errbuf_t errbuf = {""};
    if (wal_log_open(&options, s_now(), &log, NULL, &errbuf) != ERR_OK) {
        (void)fprintf(stderr, "bench_wal: %s\n", errbuf.text);
        exit(1); // NOLINT(concurrency-mt-unsafe): one thread
    }
    return log;
}

/* Two logs take turns, so that whatever else the machine does falls on both. */
typedef struct {
    wal_log_t *log;
    uint64_t bytes_before;
    int64_t append_ns[ROUNDS];
    int64_t flush_ns[ROUNDS];
} contender_t;

static void s_open_contender(contender_t *self,
                             const disk_t *disk,
                             const char *folder,
                             bool zero_fill)
{
    self->log = s_open_log(disk, folder, zero_fill);
    self->bytes_before = wal_log_stats(self->log).written_bytes;
}

static void s_one_group(contender_t *self, size_t round, uint32_t batches, const wal_batch_t *batch)
{
    const int64_t start = s_now_ns();
    for (uint32_t i = 0; i < batches; i++) {
        wal_batch_t copy = *batch;
        CHECK(wal_log_append(self->log, &copy, s_now(), NULL) == ERR_OK);
    }
    const int64_t appended = s_now_ns();
    CHECK(wal_log_flush(self->log, NULL) == ERR_OK);
    self->append_ns[round] = appended - start;
    self->flush_ns[round] = s_now_ns() - appended;
}

static void s_bench_group(const disk_t *disk, uint32_t batches, uint32_t events)
{
    static contender_t s_ahead;
    static contender_t s_plain;
    char what[64];
    prng_t prng;
    buffer_t payload;
    wal_batch_t batch;
    prng_init(&prng, 1);
    buffer_init(&payload);
    s_fill(&prng, events, &payload, &batch);
    s_open_contender(&s_ahead, disk, "ahead", true);
    s_open_contender(&s_plain, disk, "plain", false);
    for (size_t i = 0; i < ROUNDS; i++) {
        s_one_group(&s_ahead, i, batches, &batch);
        s_one_group(&s_plain, i, batches, &batch);
    }
    const uint64_t bytes = wal_log_stats(s_plain.log).written_bytes - s_plain.bytes_before;
    wal_log_close(&s_ahead.log);
    wal_log_close(&s_plain.log);
    buffer_done(&payload);
    (void)snprintf(what, sizeof(what), "group  %u x %u events, %llu bytes", batches, events,
                   (unsigned long long)(bytes / ROUNDS));
    printf("%s\n", what);
    s_print_times("         append", s_ahead.append_ns, ROUNDS);
    s_print_times("         flush", s_ahead.flush_ns, ROUNDS);
    s_print_times("         flush without room ahead", s_plain.flush_ns, ROUNDS);
}

/* A log of several segments to read. */
static void s_write_log(const disk_t *disk, const char *folder)
{
    prng_t prng;
    buffer_t payload;
    prng_init(&prng, 1);
    buffer_init(&payload);
    wal_log_t *log = s_open_log(disk, folder, true);
    for (uint32_t i = 0; i < REPLAY_BATCHES; i++) {
        wal_batch_t batch;
        s_fill(&prng, REPLAY_EVENTS, &payload, &batch);
        CHECK(wal_log_append(log, &batch, s_now(), NULL) == ERR_OK);
        if (i % 50 == 49) {
            CHECK(wal_log_flush(log, NULL) == ERR_OK);
        }
    }
    CHECK(wal_log_flush(log, NULL) == ERR_OK);
    const wal_writer_stats_t stats = wal_log_stats(log);
    printf("log    %d batches of %d events: %.1f MB, %.2f bytes per event, %llu segments sealed\n",
           REPLAY_BATCHES, REPLAY_EVENTS, (double)stats.written_bytes / 1e6,
           (double)stats.written_bytes / REPLAY_BATCHES / REPLAY_EVENTS,
           (unsigned long long)stats.sealed_count);
    wal_log_close(&log);
    buffer_done(&payload);
}

/* Every event of a batch; the sum keeps the work from being left out. */
static uint64_t s_walk(const wal_batch_t *batch)
{
    size_t offset = 0;
    uint64_t sum = 0;
    record_t record;
    while (record_next(batch->payload, &offset, &record, NULL) == ERR_OK) {
        for (uint32_t i = 0; i < record.event_count; i++) {
            signal_event_t event;
            record_signals_get(&record.as.signals, i, &event);
            sum += event.item.value + event.user.value + (uint64_t)event.ts_ns + event.signal;
        }
    }
    return sum;
}

static void s_bench_replay(const disk_t *disk, const char *folder, bool trusted)
{
    const uint64_t events = (uint64_t)REPLAY_BATCHES * REPLAY_EVENTS;
    const wal_reader_options_t options = {
        .disk = disk, .folder = folder, .stream = s_stream, .from_seq = 1, .trusted = trusted};
    wal_reader_t *reader = wal_reader_new(&options);
    wal_batch_t batch;
    uint64_t sum = 0;
    const int64_t start = s_now_ns();
    while (wal_reader_next_batch(reader, events, &batch, NULL) == ERR_OK) {
        sum += s_walk(&batch);
    }
    const double seconds = (double)(s_now_ns() - start) / 1e9;
    CHECK(wal_reader_next_seq(reader) == events + 1);
    printf("replay %-9s %.1f M events/s (%.1f ns each, sum %llx)\n",
           trusted ? "trusted" : "verified", (double)events / seconds / 1e6,
           seconds * 1e9 / (double)events, (unsigned long long)sum);
    wal_reader_destroy(&reader);
}

static void s_bench_ship(const disk_t *disk, const char *from, const char *to)
{
    const uint64_t events = (uint64_t)REPLAY_BATCHES * REPLAY_EVENTS;
    const wal_reader_options_t reader_options = {
        .disk = disk, .folder = from, .stream = s_stream, .from_seq = 1};
    const wal_replica_options_t options = {.place = s_place(disk, to)};
    wal_reader_t *reader = wal_reader_new(&reader_options);
    wal_replica_t *replica = NULL;
    wal_offer_t offer;
    wal_range_t range;
    buffer_t blocks;
    int64_t read_ns = 0;
    int64_t offer_ns = 0;
    int64_t flush_ns = 0;
    uint64_t bytes = 0;
    buffer_init(&blocks);
    CHECK(wal_replica_open(&options, s_now(), &replica, NULL, NULL) == ERR_OK);
    for (;;) {
        const int64_t start = s_now_ns();
        buffer_clear(&blocks);
        if (wal_reader_next_blocks(reader, events, SHIP_SIZE, &blocks, &range, NULL) != ERR_OK) {
            break;
        }
        const int64_t read = s_now_ns();
        CHECK(wal_replica_offer(replica, buffer_slice(&blocks), &offer, NULL) == ERR_OK);
        const int64_t offered = s_now_ns();
        CHECK(wal_replica_flush(replica, NULL) == ERR_OK);
        read_ns += read - start;
        offer_ns += offered - read;
        flush_ns += s_now_ns() - offered;
        bytes += blocks.size;
    }
    CHECK(wal_replica_durable_seq(replica) == events);
    const double mb = (double)bytes / 1e6;
    printf("ship   read %.0f MB/s, offer %.0f MB/s, flush %.0f MB/s; %.1f M events/s in all\n",
           mb / ((double)read_ns / 1e9), mb / ((double)offer_ns / 1e9),
           mb / ((double)flush_ns / 1e9),
           (double)events / 1e6 / ((double)(read_ns + offer_ns + flush_ns) / 1e9));
    wal_replica_close(&replica);
    wal_reader_destroy(&reader);
    buffer_done(&blocks);
}

static void s_bench_open(const disk_t *disk, const char *folder)
{
    const int64_t start = s_now_ns();
    wal_log_t *log = s_open_log(disk, folder, true);
    printf("open   %.1f ms\n", (double)(s_now_ns() - start) / 1e6);
    wal_log_close(&log);
}

static void s_remove(void *context, const char *name, uint64_t size_bytes)
{
    char path[WAL_PATH_SIZE_MAX];
    const char *folder = context;
    (void)size_bytes;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    (void)remove(path); /* what is left over is seen by whoever looks */
}

static void s_remove_folder(const disk_t *disk, const char *root, const char *name)
{
    char path[WAL_PATH_SIZE_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    CHECK(disk->list(disk->context, path, s_remove, path, NULL) == ERR_OK);
    (void)remove(path); /* as above */
}

int main(int argc, char **argv)
{
    static const struct {
        uint32_t batches;
        uint32_t events;
    } s_groups[] = {{1, 1}, {16, 1}, {64, 1}, {1, 100}, {1, 1000}, {8, 1000}, {32, 1000}};
    disk_posix_t *posix = NULL;
    errbuf_t errbuf;
    if (argc != 2 || disk_posix_new(argv[1], &posix, &errbuf) != ERR_OK) {
        (void)fprintf(stderr, "usage: bench_wal FOLDER (that exists)\n");
        return 2;
    }
    const disk_t *disk = disk_posix_disk(posix);
    s_bench_sync(disk, false);
    s_bench_sync(disk, true);
    for (size_t i = 0; i < sizeof(s_groups) / sizeof(*s_groups); i++) {
        s_bench_group(disk, s_groups[i].batches, s_groups[i].events);
        s_remove_folder(disk, argv[1], "ahead");
        s_remove_folder(disk, argv[1], "plain");
    }
    s_write_log(disk, "origin");
    s_bench_replay(disk, "origin", false);
    s_bench_replay(disk, "origin", true);
    s_bench_ship(disk, "origin", "replica");
    s_bench_open(disk, "origin");
    s_remove_folder(disk, argv[1], "origin");
    s_remove_folder(disk, argv[1], "replica");
    disk_posix_destroy(&posix);
    return 0;
}
