/* The receiver's engine: what it refuses, whoever sends it, and what it takes from its own region.
 * Real files on a simulated disk; the network is what the test hands in and what is kept of answers. */
#include "common/engine/receiver_engine.h"
#include "common/topology/table.h"
#include "common/wal/wal_files.h"
#include "common/wal/wal_handover.h"
#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SELF = 1, ORIGIN = 2, THIRD = 3, LAST = 4, BOOT = 77, NARROW = 9, SPLIT = 10 };

/* Regions 1..4; `default` is placed in all of them, tenant 9 in the last two alone, tenant 10 in this
 * region and the third. */
typedef struct {
    topology_t topology;
    table_t *table;
    sim_disk_t *disk;
    engine_env_t env;
    net_t net;
    receiver_engine_t *engine;
    now_t now;
    buffer_t bytes;
    msg_codec_t *codec;
    msg_receiver_status_t status; /* last one to `replied_to`; entries below */
    msg_receiver_entry_t entries[16];
    uint64_t replied_to;
} s_bench_t;

static s_bench_t s_bench;

static err_t s_no_send(void *context, process_address_t to, const uint8_t *bytes, size_t size)
{
    (void)context;
    (void)to;
    (void)bytes;
    (void)size;
    return ERR_OK;
}

static err_t s_on_reply(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    s_bench_t *bench = context;
    msg_t msg;
    errbuf_t errbuf;
    assert_int_equal(msg_decode(bench->codec, slice_make(bytes, size), &msg, &errbuf), ERR_OK);
    if (msg.type == MSG_RECEIVER_STATUS) {
        bench->status = msg.as.receiver_status;
        assert_true(bench->status.entry_count <= 16);
        for (uint32_t i = 0; i < bench->status.entry_count; i++) {
            bench->entries[i] = bench->status.entries[i];
        }
        bench->replied_to = reply_to;
    }
    return ERR_OK;
}

static void s_forget(void *context, uint64_t reply_to)
{
    (void)context;
    (void)reply_to;
}

static void s_no_publish(void *context, const char *topic, const uint8_t *bytes, size_t size)
{
    (void)context;
    (void)topic;
    (void)bytes;
    (void)size;
}

static process_address_t s_process(process_kind_t kind, uint16_t region, uint16_t shard)
{
    return (process_address_t){kind, {region}, {shard}};
}

static void s_hand_in(const msg_t *msg, uint64_t reply_to)
{
    buffer_clear(&s_bench.bytes);
    msg_encode(msg, &s_bench.bytes);
    receiver_engine_message(s_bench.engine, reply_to, buffer_slice(&s_bench.bytes), s_bench.now);
}

static void s_hello(uint16_t region)
{
    msg_t msg = {.type = MSG_SHIP_HELLO};
    msg.as.ship_hello = (msg_ship_hello_t){.from = s_process(PROCESS_SHIPPER, region, 0),
                                           .boot = BOOT,
                                           .protocol = MSG_PROTOCOL_VERSION,
                                           .fingerprint = topology_fingerprint(&s_bench.topology)};
    s_hand_in(&msg, region);
}

/* Adds a tenant that is placed in those regions; the third leads all its shards. */
static void s_add_tenant(uint64_t id, const char *name, region_set_t placed)
{
    table_t *next = table_next(s_bench.table);
    errbuf_t errbuf = {{0}};
    table_tenant_t tenant = {.id = {id}, .full = placed};
    (void)snprintf(tenant.name, sizeof(tenant.name), "%s", name);
    table_record_t records[SHARD_COUNT_MAX];
    for (uint32_t i = 0; i < s_bench.topology.shard_count; i++) {
        records[i] = (table_record_t){
            .epoch = 1, .version = 1, .leader = {THIRD}, .in_sync = placed, .placed = placed};
    }
    assert_int_equal(table_add_tenant(next, &tenant, records, &errbuf), ERR_OK);
    table_destroy(&s_bench.table);
    s_bench.table = next;
}

static void s_make_table(void)
{
    s_bench.table = table_new_default(&s_bench.topology);
    s_add_tenant(NARROW, "narrow", (region_set_t){1u << THIRD | 1u << LAST});
    s_add_tenant(SPLIT, "split", (region_set_t){1u << SELF | 1u << THIRD});
}

static int s_setup(void **state)
{
    (void)state;
    memset(&s_bench, 0, sizeof(s_bench));
    topology_init_default(&s_bench.topology, 4, 2);
    s_make_table();
    s_bench.disk = sim_disk_new(1);
    s_bench.net = (net_t){&s_bench, s_no_send, s_on_reply, s_forget, s_no_publish};
    s_bench.env = (engine_env_t){.topology = &s_bench.topology,
                                 .self = s_process(PROCESS_RECEIVER, SELF, 0),
                                 .boot = 5,
                                 .disk = sim_disk_disk(s_bench.disk),
                                 .net = &s_bench.net,
                                 .data_folder = "data"};
    s_bench.codec = msg_codec_new();
    buffer_init(&s_bench.bytes);
    errbuf_t errbuf = {{0}};
    assert_int_equal(receiver_engine_open(&s_bench.env, &s_bench.engine, &errbuf), ERR_OK);
    msg_t msg = {.type = MSG_TABLE};
    buffer_t table;
    buffer_init(&table);
    table_encode(s_bench.table, &table);
    msg.as.table.table = buffer_slice(&table);
    buffer_clear(&s_bench.bytes);
    msg_encode(&msg, &s_bench.bytes);
    receiver_engine_published(s_bench.engine, buffer_slice(&s_bench.bytes), s_bench.now);
    buffer_done(&table);
    for (uint16_t region = ORIGIN; region <= LAST; region++) {
        s_hello(region);
    }
    return 0;
}

static int s_teardown(void **state)
{
    (void)state;
    receiver_engine_close(&s_bench.engine);
    sim_disk_destroy(&s_bench.disk);
    table_destroy(&s_bench.table);
    msg_codec_destroy(&s_bench.codec);
    buffer_done(&s_bench.bytes);
    return 0;
}

static uint64_t s_metric(const char *name)
{
    msg_metric_t metrics[64];
    uint32_t count = receiver_engine_metrics(s_bench.engine, metrics, 64);
    for (uint32_t i = 0; i < count; i++) {
        if (slice_equal(metrics[i].name, slice_text(name))) {
            return (uint64_t)metrics[i].value;
        }
    }
    fail_msg("no metric %s", name);
    return 0;
}

static stream_id_t s_stream(uint64_t tenant, uint16_t origin, uint16_t shard)
{
    return (stream_id_t){.tenant = {tenant}, .incarnation = 7, .origin = {{origin}, {shard}}};
}

/* That region's list, with one stream in it. */
static void s_heads(uint16_t from, stream_id_t stream, uint64_t head_seq)
{
    msg_head_t head = {stream, head_seq, slice_text("default")};
    msg_t msg = {.type = MSG_SHIP_HEADS};
    msg.as.ship_heads = (msg_ship_heads_t){
        .from = s_process(PROCESS_SHIPPER, from, 0), .boot = BOOT, .head_count = 1, .heads = &head};
    s_hand_in(&msg, from);
}

static void s_blocks(uint16_t from, stream_id_t stream, slice_t blocks)
{
    msg_t msg = {.type = MSG_SHIP_BLOCKS};
    msg.as.ship_blocks = (msg_ship_blocks_t){.from = s_process(PROCESS_SHIPPER, from, 0),
                                             .boot = BOOT,
                                             .stream = stream,
                                             .first_seq = 1,
                                             .last_seq = 5,
                                             .head_seq = 5,
                                             .blocks = blocks};
    s_hand_in(&msg, from);
}

static void s_fetch(process_address_t from, stream_id_t stream, uint64_t seq, uint16_t region)
{
    msg_t msg = {.type = MSG_FETCH};
    msg.as.fetch = (msg_fetch_t){from, stream, seq, {region}};
    s_hand_in(&msg, 100);
}

/* Whether the last full list to that region wants the only stream that there is. */
static bool s_is_wanted_from(uint16_t region)
{
    msg_t msg = {.type = MSG_SHIP_HEADS};
    msg.as.ship_heads =
        (msg_ship_heads_t){.from = s_process(PROCESS_SHIPPER, region, 0), .boot = BOOT};
    s_hand_in(&msg, region);
    assert_int_equal(s_bench.replied_to, region);
    return s_bench.status.entry_count == 1 && s_bench.entries[0].wanted;
}

static void s_assert_nothing_changed(void)
{
    errbuf_t errbuf = {{0}};
    assert_int_equal(receiver_engine_turn_end(s_bench.engine, s_bench.now, &errbuf), ERR_OK);
    assert_int_equal(s_metric("receiver_streams"), 0);
    assert_int_equal(s_metric("receiver_flushes"), 0);
}

/* Goal: what this tenant generation has no business with here is refused and counted, as a head, as
 * blocks, and when it is named, and changes nothing. Method: each way in which a stream can be
 * misplaced, from a region that is heard. */
static void test_receiver_engine_misplaced_streams_change_nothing(void **state)
{
    (void)state;
    const struct {
        stream_id_t stream;
        uint16_t from;
    } rows[] = {
        {s_stream(12345, ORIGIN, 0), ORIGIN}, /* a tenant that there is not */
        {s_stream(NARROW, THIRD, 0), THIRD},  /* a generation that is not placed here */
        {s_stream(1, 9, 0), ORIGIN},          /* an origin that there is not */
        {s_stream(1, ORIGIN, 30), ORIGIN},    /* a shard that there is not */
        {s_stream(SPLIT, ORIGIN, 0), THIRD},  /* an origin that this generation never had */
        {s_stream(SPLIT, THIRD, 0), ORIGIN},  /* of a peer that does not hold this tenant */
    };
    for (uint64_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        s_heads(rows[i].from, rows[i].stream, 5);
        assert_int_equal(s_metric("receiver_refused"), 3 * i + 1);
        s_blocks(rows[i].from, rows[i].stream, slice_text("no blocks at all"));
        assert_int_equal(s_metric("receiver_refused"), 3 * i + 2);
        s_fetch(s_process(PROCESS_RECONCILER, SELF, 0), rows[i].stream, 5, rows[i].from);
        assert_int_equal(s_metric("receiver_refused"), 3 * i + 3);
        s_assert_nothing_changed();
    }
    /* Where origin, peer and this region hold the tenant, the stream is taken. */
    s_heads(THIRD, s_stream(SPLIT, THIRD, 0), 5);
    assert_true(s_is_wanted_from(THIRD));
    assert_int_equal(s_metric("receiver_streams"), 1);
}

/* Goal: numbers that no stream reaches are refused and counted. */
static void test_receiver_engine_future_numbers_change_nothing(void **state)
{
    (void)state;
    s_heads(ORIGIN, s_stream(1, ORIGIN, 0), UINT64_MAX);
    s_fetch(s_process(PROCESS_RECONCILER, SELF, 0), s_stream(1, ORIGIN, 0), UINT64_MAX, THIRD);
    assert_int_equal(s_metric("receiver_future"), 2);
    s_assert_nothing_changed();
}

/* Goal: damaged blocks of a stream that is placed are counted, and no file is made. */
static void test_receiver_engine_junk_blocks_change_nothing(void **state)
{
    (void)state;
    s_blocks(ORIGIN, s_stream(1, ORIGIN, 0), slice_text("no blocks at all"));
    errbuf_t errbuf = {{0}};
    assert_int_equal(receiver_engine_turn_end(s_bench.engine, s_bench.now, &errbuf), ERR_OK);
    assert_int_equal(s_metric("receiver_corrupt"), 1);
    assert_int_equal(s_metric("receiver_flushes"), 0);
    assert_true(s_is_wanted_from(ORIGIN));
    assert_int_equal(s_bench.entries[0].durable_seq, 0);
}

/* Goal: the region's reconciler may name who has a stream, and nobody else; it is wanted from there
 * at once. */
static void test_receiver_engine_fetch_is_the_reconcilers_word(void **state)
{
    (void)state;
    stream_id_t stream = s_stream(1, ORIGIN, 0);
    s_heads(ORIGIN, stream, 9);
    assert_true(s_is_wanted_from(ORIGIN));
    s_fetch(s_process(PROCESS_RECONCILER, ORIGIN, 0), stream, 9, THIRD);
    s_fetch(s_process(PROCESS_NODE, SELF, 0), stream, 9, THIRD);
    assert_int_equal(s_metric("receiver_malformed"), 2);
    s_fetch(s_process(PROCESS_RECONCILER, SELF, 0), stream, 9, SELF);
    assert_int_equal(s_metric("receiver_refused"), 1);
    assert_false(s_is_wanted_from(THIRD));
    s_fetch(s_process(PROCESS_RECONCILER, SELF, 0), stream, 9, THIRD);
    assert_int_equal(s_metric("receiver_fetches"), 1);
    assert_true(s_is_wanted_from(THIRD));
    assert_false(s_is_wanted_from(ORIGIN));
}

static const char s_own_folder[] =
    "data/us-east/shard-1/tenants/default-1/us-east-0000000000000007";

static void s_lost(process_address_t from, stream_id_t stream)
{
    msg_t msg = {.type = MSG_LOST};
    msg.as.lost = (msg_lost_t){from, stream};
    s_hand_in(&msg, 100);
}

/* Goal: a stream of this region's own node is taken over only where its node says so and the mark is
 * on the disk; the mark alone is enough after a start. */
static void test_receiver_engine_own_stream_needs_word_and_mark(void **state)
{
    (void)state;
    stream_id_t own = s_stream(1, SELF, 1);
    process_address_t node = s_process(PROCESS_NODE, SELF, 1);
    errbuf_t errbuf = {{0}};
    s_heads(ORIGIN, own, 9);
    assert_int_equal(s_metric("receiver_refused"), 0);
    s_blocks(ORIGIN, own, slice_text("no blocks at all"));
    assert_int_equal(s_metric("receiver_refused"), 1);
    s_lost(node, own);
    assert_int_equal(s_metric("receiver_malformed"), 1);
    s_assert_nothing_changed();
    assert_int_equal(wal_handover_mark(s_bench.env.disk, s_own_folder, &errbuf), ERR_OK);
    s_lost(s_process(PROCESS_NODE, SELF, 0), own);
    s_lost(s_process(PROCESS_NODE, ORIGIN, 1), own);
    s_lost(node, s_stream(1, ORIGIN, 1));
    assert_int_equal(s_metric("receiver_malformed"), 4);
    s_assert_nothing_changed();
    s_lost(node, own);
    s_lost(node, own);
    assert_int_equal(s_metric("receiver_malformed"), 4);
    assert_int_equal(s_metric("receiver_streams"), 1);
    s_heads(ORIGIN, own, 9);
    assert_true(s_is_wanted_from(ORIGIN));

    receiver_engine_close(&s_bench.engine);
    assert_int_equal(receiver_engine_open(&s_bench.env, &s_bench.engine, &errbuf), ERR_OK);
    assert_int_equal(s_metric("receiver_streams"), 1);
}

#define ENGINE_TEST(test) cmocka_unit_test_setup_teardown(test, s_setup, s_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(test_receiver_engine_misplaced_streams_change_nothing),
        ENGINE_TEST(test_receiver_engine_future_numbers_change_nothing),
        ENGINE_TEST(test_receiver_engine_junk_blocks_change_nothing),
        ENGINE_TEST(test_receiver_engine_fetch_is_the_reconcilers_word),
        ENGINE_TEST(test_receiver_engine_own_stream_needs_word_and_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
