/* How many signals one gateway core takes apart, and what a small request costs it, without
 * sockets.
 *
 *   bench_gateway [SECONDS]      default 2 per row
 *
 * A client's request goes in as bytes, the messages to the nodes are encoded and dropped, nodes
 * answer at once with encoded messages, the reply is encoded and dropped: everything that a gateway
 * does but sockets. 3 regions x 5 shards, items evenly among 100,000, users among 50,000, every
 * request with a producer. One thread; the clock is monotonic. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/gateway/gateway_engine.h"
#include "common/topology/table.h"
#include "common/wire/client_reply.h"
#include "tests/support/sim_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { REQUEST_COUNT = 64, SENT_COUNT_MAX = 64, ITEM_COUNT = 100000, USER_COUNT = 50000 };

static const int64_t s_wall_ns = INT64_C(1700000000) * 1000000000;

typedef struct {
    process_address_t to;
    buffer_t bytes;
} sent_t;

typedef struct {
    topology_t topology;
    gateway_engine_t *engine;
    net_t net;
    sent_t sent[SENT_COUNT_MAX];
    uint32_t sent_count;
    uint64_t replies;
    uint64_t failed;
    msg_codec_t *codec;
    buffer_t answer;
    buffer_t requests[REQUEST_COUNT];
    size_t pair_offsets[REQUEST_COUNT]; /* of `seq`, a u64 in its widest form */
    uint64_t seq;
    now_t now;
} bench_t;

static double s_now_s(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static err_t s_send(void *context, process_address_t to, const uint8_t *bytes, size_t size)
{
    bench_t *bench = context;
    if (to.kind != PROCESS_NODE) {
        return ERR_OK;
    }
    CHECK(bench->sent_count < SENT_COUNT_MAX);
    sent_t *sent = &bench->sent[bench->sent_count++];
    sent->to = to;
    buffer_clear(&sent->bytes);
    buffer_append(&sent->bytes, bytes, size);
    return ERR_OK;
}

static err_t s_reply(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    bench_t *bench = context;
    (void)reply_to;
    bench->replies++;
    pack_value_t ok = pack_get(slice_make(bytes, size), "ok");
    bench->failed += ok.kind == PACK_BOOL && ok.as.boolean ? 0 : 1;
    return ERR_OK;
}

static void s_forget(void *context, uint64_t reply_to)
{
    (void)context;
    (void)reply_to;
}

static void s_open(bench_t *bench, const engine_env_t *env)
{
    errbuf_t errbuf = {{0}};
    gateway_engine_options_t options = {.version = "bench"};
    CHECK(gateway_engine_open(env, &options, bench->now, &bench->engine, &errbuf) == ERR_OK);
    table_t *table = table_new_default(&bench->topology);
    buffer_t encoded;
    buffer_init(&encoded);
    table_encode(table, &encoded);
    msg_t msg = {.type = MSG_TABLE};
    msg.as.table.table = buffer_slice(&encoded);
    buffer_clear(&bench->answer);
    msg_encode(&msg, &bench->answer);
    gateway_engine_published(bench->engine, buffer_slice(&bench->answer), bench->now);
    buffer_done(&encoded);
    table_destroy(&table);
}

/* -- requests ---------------------------------------------------------------------------------- */

static void s_put_rows(pack_writer_t *writer, prng_t *prng, uint32_t count)
{
    pack_key(writer, "rows");
    pack_write_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_write_array(writer, 5);
        pack_write_str(writer, slice_text(i % 4 == 0 ? "like" : "view"));
        pack_write_u64(writer, 1 + prng_below(prng, ITEM_COUNT));
        pack_write_u64(writer, 1 + prng_below(prng, USER_COUNT));
        pack_write_f64(writer, 1.0);
        pack_write_i64(writer, s_wall_ns - (int64_t)prng_below(prng, 1000000000));
    }
}

static void s_put_columns(pack_writer_t *writer, prng_t *prng, uint32_t count)
{
    uint8_t *items = calloc(count, 8);
    uint8_t *users = calloc(count, 8);
    uint8_t *times = calloc(count, 8);
    CHECK(items != NULL && users != NULL && times != NULL);
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_u64(items + (size_t)i * 8, 1 + prng_below(prng, ITEM_COUNT));
        bytes_put_u64(users + (size_t)i * 8, 1 + prng_below(prng, USER_COUNT));
        bytes_put_u64(times + (size_t)i * 8, (uint64_t)s_wall_ns - prng_below(prng, 1000000000));
    }
    pack_put_map(writer, "columns");
    pack_put_u64(writer, "n", count);
    pack_put_text(writer, "signal", "view");
    pack_put_bin(writer, "item", slice_make(items, (size_t)count * 8));
    pack_put_bin(writer, "user", slice_make(users, (size_t)count * 8));
    pack_put_bin(writer, "ts", slice_make(times, (size_t)count * 8));
    pack_close(writer);
    free(items);
    free(users);
    free(times);
}

/* `seq` is patched for each use, so that every request is a new one. */
static void s_put_pair(pack_writer_t *writer, buffer_t *out, size_t *ret_offset)
{
    pack_put_text(writer, "producer", "bench");
    pack_put_u64(writer, "seq", UINT64_MAX);
    *ret_offset = out->size - 8;
}

static void s_make(bench_t *bench, uint32_t count, bool columns)
{
    prng_t prng;
    prng_init(&prng, 7);
    for (uint32_t i = 0; i < REQUEST_COUNT; i++) {
        buffer_t *out = &bench->requests[i];
        pack_writer_t writer;
        buffer_clear(out);
        client_request_begin(&writer, out, count == 1 ? "signal" : "signals", i);
        s_put_pair(&writer, out, &bench->pair_offsets[i]);
        if (count == 1) {
            pack_put_text(&writer, "signal", "view");
            pack_put_u64(&writer, "item", 1 + prng_below(&prng, ITEM_COUNT));
            pack_put_u64(&writer, "user", 1 + prng_below(&prng, USER_COUNT));
        } else if (columns) {
            s_put_columns(&writer, &prng, count);
        } else {
            s_put_rows(&writer, &prng, count);
        }
        client_request_end(&writer);
    }
}

static void s_make_reads(bench_t *bench)
{
    for (uint32_t i = 0; i < REQUEST_COUNT; i++) {
        buffer_t *out = &bench->requests[i];
        pack_writer_t writer;
        buffer_clear(out);
        client_request_begin(&writer, out, "score", i);
        s_put_pair(&writer, out, &bench->pair_offsets[i]);
        pack_put_text(&writer, "signal", "view");
        pack_put_u64(&writer, "item", 1 + i);
        client_request_end(&writer);
    }
}

/* -- nodes ------------------------------------------------------------------------------------- */

/* A node's id of the request is all that it needs; it is the first field of every message. */
static uint64_t s_request_id(slice_t bytes)
{
    pack_reader_t reader = pack_reader(bytes);
    pack_value_t value;
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(pack_next(&reader, &value));
    }
    return value.as.uint;
}

static double s_answer_all(bench_t *bench, bool is_write)
{
    double seconds = 0;
    for (uint32_t i = 0; i < bench->sent_count; i++) {
        const sent_t *sent = &bench->sent[i];
        uint64_t request_id = s_request_id(buffer_slice(&sent->bytes));
        static const msg_cell_t s_cell = {.score = 1.5};
        stream_id_t stream = {{1}, 77, {sent->to.region, sent->to.shard}};
        stream_position_t applied = {stream, 1000};
        msg_t msg = {.type = is_write ? MSG_WRITE_REPLY : MSG_READ_REPLY};
        if (is_write) {
            msg.as.write_reply = (msg_write_reply_t){.request_id = request_id,
                                                     .durability = ACK_ALL,
                                                     .replicas = {14},
                                                     .has_position = true,
                                                     .stream = stream,
                                                     .first_seq = 1,
                                                     .last_seq = 2,
                                                     .hlc = {s_wall_ns, 0, 1}};
        } else {
            msg.as.read_reply.request_id = request_id;
            msg.as.read_reply.kind = READ_CELLS;
            msg.as.read_reply.applied_count = 1;
            msg.as.read_reply.applied = &applied;
            msg.as.read_reply.as.cells.cell_count = 1;
            msg.as.read_reply.as.cells.cells = &s_cell;
        }
        buffer_clear(&bench->answer);
        msg_encode(&msg, &bench->answer);
        double start = s_now_s();
        gateway_engine_message_from_node(bench->engine, sent->to, buffer_slice(&bench->answer),
                                         bench->now);
        seconds += s_now_s() - start;
    }
    bench->sent_count = 0;
    return seconds;
}

static void s_run(bench_t *bench, const char *name, uint32_t count, bool is_write, double limit_s)
{
    double engine_s = 0;
    uint64_t requests = 0;
    uint64_t bytes = 0;
    double begin = s_now_s();
    while (s_now_s() - begin < limit_s) {
        buffer_t *request = &bench->requests[requests % REQUEST_COUNT];
        bytes_put_u64_be(request->data + bench->pair_offsets[requests % REQUEST_COUNT],
                         (UINT64_C(1) << 63) + bench->seq++);
        bytes += request->size;
        requests++;
        double start = s_now_s();
        gateway_engine_message(bench->engine, requests, buffer_slice(request), bench->now);
        engine_s += s_now_s() - start;
        engine_s += s_answer_all(bench, is_write);
    }
    CHECK(bench->replies >= requests && bench->failed == 0);
    (void)printf("%-28s %10.0f requests/s %12.0f signals/s %8.2f us/request %8.1f ns/signal %7.1f "
                 "bytes/signal\n",
                 name, (double)requests / engine_s, (double)requests * count / engine_s,
                 engine_s / (double)requests * 1e6, engine_s / (double)requests / count * 1e9,
                 (double)bytes / (double)requests / count);
    bench->replies = 0;
}

int main(int argc, char **argv)
{
    uint64_t seconds = 2;
    if (argc > 1 && text_to_u64(argv[1], 1, 1000, &seconds) != ERR_OK) {
        (void)fprintf(stderr, "bench_gateway: expected seconds of 1..1000, found %s\n", argv[1]);
        return 2;
    }
    bench_t *bench = calloc(1, sizeof(*bench));
    CHECK(bench != NULL);
    topology_init_default(&bench->topology, 3, 5);
    sim_disk_t *disk = sim_disk_new(1);
    bench->net = (net_t){bench, s_send, s_reply, s_forget, NULL};
    bench->now = (now_t){1000000000, s_wall_ns};
    engine_env_t env = {.topology = &bench->topology,
                        .self = {PROCESS_GATEWAY, {1}, {0}},
                        .boot = 1,
                        .seed = 1,
                        .disk = sim_disk_disk(disk),
                        .net = &bench->net,
                        .data_folder = "data"};
    s_open(bench, &env);
    s_make(bench, 1, false);
    s_run(bench, "signal", 1, true, (double)seconds);
    s_make(bench, 500, false);
    s_run(bench, "signals, 500 rows", 500, true, (double)seconds);
    s_make(bench, 1000, true);
    s_run(bench, "signals, 1,000 in columns", 1000, true, (double)seconds);
    s_make(bench, 10000, true);
    s_run(bench, "signals, 10,000 in columns", 10000, true, (double)seconds);
    s_make_reads(bench);
    s_run(bench, "score", 1, false, (double)seconds);
    gateway_engine_close(&bench->engine);
    sim_disk_destroy(&disk);
    for (uint32_t i = 0; i < SENT_COUNT_MAX; i++) {
        buffer_done(&bench->sent[i].bytes);
    }
    for (uint32_t i = 0; i < REQUEST_COUNT; i++) {
        buffer_done(&bench->requests[i]);
    }
    buffer_done(&bench->answer);
    free(bench);
    return 0;
}
