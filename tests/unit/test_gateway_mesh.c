/* What the gateway tells of itself and the mesh, its table, its limits, and input that means harm.
 */
#include "common/base/prng.h"
#include "common/topology/process.h"
#include "tests/unit/gateway_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const region_set_t s_none = {0};

static uint64_t s_ask_op(gateway_test_t *test, const char *op)
{
    (void)gateway_test_request(test, op);
    return gateway_test_ask(test);
}

static uint64_t s_ask_signal(gateway_test_t *test)
{
    pack_writer_t *writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", gateway_test_entity(test, 0, 0));
    return gateway_test_ask(test);
}

/* Goal: before any table ping, hello, health and metrics work, all else is UNAVAILABLE, and the
 * control plane is asked each second. */
static void test_gateway_without_a_table_is_not_ready(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new_bare(3, 5);
    gateway_test_expect_code(test, s_ask_op(test, "ping"), CODE_OK);
    uint64_t hello = s_ask_op(test, "hello");
    gateway_test_expect_text(test, hello, "version", "1.2.3");
    gateway_test_expect_text(test, hello, "region", "us-east");
    gateway_test_expect_text(test, hello, "signals.0.name", "view");
    gateway_test_expect_code(test, s_ask_op(test, "metrics"), CODE_OK);
    uint64_t health = s_ask_op(test, "health");
    assert_false(gateway_test_value(test, health, "ready").as.boolean);
    assert_int_equal(gateway_test_value(test, health, "reasons.0").kind, PACK_STR);
    gateway_test_expect_code(test, s_ask_signal(test), CODE_UNAVAILABLE);
    gateway_test_expect_code(test, s_ask_op(test, "topology"), CODE_UNAVAILABLE);
    gateway_test_run_ms(test, 2500, s_none);
    uint32_t asked = 0;
    for (uint32_t i = 0; i < test->sent_count; i++) {
        asked += test->sent[i].to.kind == PROCESS_CONTROL ? 1 : 0;
    }
    assert_int_equal(asked, 3);
    gateway_test_destroy(&test);
}

/* Goal: it starts with the table that it had, without the control plane. */
static void test_gateway_restarts_with_the_cached_table(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    gateway_test_restart(test);
    const char *reason = "";
    assert_true(gateway_engine_is_ready(test->engine, &reason));
    assert_int_equal(gateway_engine_table_version(test->engine), 1);
    (void)s_ask_signal(test);
    msg_t msg;
    assert_int_equal(gateway_test_take(test, &msg).region.value, 1);
    gateway_test_destroy(&test);
}

/* Goal: a table of another topology is not worked with. */
static void test_gateway_table_of_another_topology_is_refused(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new_bare(3, 5);
    topology_t *other = calloc(1, sizeof(*other));
    assert_non_null(other);
    topology_init_default(other, 3, 4);
    table_t *table = table_new_default(other);
    gateway_test_publish(test, table, NULL, 0);
    const char *reason = "";
    assert_false(gateway_engine_is_ready(test->engine, &reason));
    gateway_test_expect_code(test, s_ask_signal(test), CODE_UNAVAILABLE);
    table_destroy(&table);
    free(other);
    gateway_test_destroy(&test);
}

/* Goal: topology shows the table of the tenant; an unknown tenant is named. */
static void test_gateway_topology_and_unknown_tenant(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_op(test, "topology");
    gateway_test_expect_text(test, handle, "regions.1", "eu-west");
    gateway_test_expect_text(test, handle, "shards.1.leader", "eu-west");
    gateway_test_expect_text(test, handle, "shards.4.in_sync.2", "ap-south");
    gateway_test_expect_text(test, handle, "tenants.0", "default");
    pack_put_text(gateway_test_request(test, "topology"), "tenant", "nobody");
    handle = gateway_test_ask(test);
    gateway_test_run_ms(test, 600, (region_set_t){0}); /* the control plane does not answer */
    gateway_test_expect_code(test, handle, CODE_UNKNOWN_TENANT);
    gateway_test_destroy(&test);
}

/* Goal: ops of other processes and of later versions are UNKNOWN_OP, fields of later versions are
 * refused by name. */
static void test_gateway_refuses_what_it_does_not_serve(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    gateway_test_expect_code(test, s_ask_op(test, "status"), CODE_UNKNOWN_OP);
    gateway_test_expect_code(test, s_ask_op(test, "links"), CODE_UNKNOWN_OP);
    gateway_test_expect_code(test, s_ask_op(test, "search"), CODE_UNKNOWN_OP);
    gateway_test_expect_code(test, s_ask_op(test, "frobnicate"), CODE_UNKNOWN_OP);
    pack_put_bin(gateway_test_request(test, "retrieve"), "session", slice_text("x"));
    gateway_test_expect_code(test, gateway_test_ask(test), CODE_BAD_REQUEST);
    pack_put_text(gateway_test_request(test, "retrieve"), "profile", "unheard");
    gateway_test_expect_code(test, gateway_test_ask(test), CODE_BAD_REQUEST);
    gateway_test_expect_silence(test);
    gateway_test_destroy(&test);
}

/* Goal: lag asks every node, waits a second, and names who did not answer. */
static void test_gateway_lag_names_missing_nodes(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(2, 2);
    uint64_t handle = s_ask_op(test, "lag");
    node_id_t to;
    msg_t msg;
    while (gateway_test_next(test, &to, &msg)) {
        assert_int_equal(msg.as.read.kind, READ_LAG);
        if (to.region.value == 2 && to.shard.value == 1) {
            continue;
        }
        msg_lag_row_t row = {
            .origin = {1}, .lag_ms = 30, .incarnation = 7, .leader_seq = 10, .applied_seq = 8};
        msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
        answer.as.read_reply.as.lag.row_count = 1;
        answer.as.read_reply.as.lag.rows = &row;
        gateway_test_answer(test, to, &answer);
    }
    gateway_test_run_ms(test, 990, s_none);
    assert_false(gateway_test_has_reply(test, handle));
    gateway_test_run_ms(test, 20, s_none);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_expect_text(test, handle, "nodes.2.region", "eu-west");
    assert_int_equal(gateway_test_u64(test, handle, "nodes.2.lag_seq"), 2);
    gateway_test_expect_text(test, handle, "nodes.2.origin", "us-east-0-0000000000000007");
    assert_int_equal(gateway_test_value(test, handle, "nodes.3").kind, PACK_BAD);
    assert_int_equal(gateway_test_u64(test, handle, "missing.0.shard"), 1);
    gateway_test_expect_text(test, handle, "missing.0.region", "eu-west");
    gateway_test_destroy(&test);
}

/* Goal: digest shows what each node has applied and its hash; nil where none answered. */
static void test_gateway_digest_shows_every_node(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(2, 1);
    test->send_errors[2] = ERR_UNREACHABLE;
    uint64_t handle = s_ask_op(test, "digest");
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
    stream_position_t applied = {gateway_test_stream(to), 44};
    answer.as.read_reply.applied_count = 1;
    answer.as.read_reply.applied = &applied;
    answer.as.read_reply.as.digest.digest[0] = 0xfe;
    answer.as.read_reply.as.digest.signal_count = 5;
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    pack_value_t digest = gateway_test_value(test, handle, "nodes.0.digest");
    assert_memory_equal(digest.as.bytes.data, "fe00", 4);
    assert_int_equal(gateway_test_u64(test, handle, "nodes.0.applied.us-east-0-0000000000000abc"),
                     44);
    assert_int_equal(gateway_test_value(test, handle, "nodes.1.digest").kind, PACK_NIL);
    gateway_test_destroy(&test);
}

/* Goal: over the number of requests that the topology allows: OVERLOADED, and room again after. */
static void test_gateway_over_its_limit_is_overloaded(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new_bare(1, 1);
    test->topology.limits.gateway_inflight_count = 2;
    gateway_test_restart(test);
    table_t *table = table_new_default(&test->topology);
    gateway_test_publish(test, table, NULL, 0);
    table_destroy(&table);
    uint64_t first = s_ask_signal(test);
    (void)s_ask_signal(test);
    uint64_t third = s_ask_signal(test);
    gateway_test_expect_code(test, third, CODE_OVERLOADED);
    assert_true(gateway_test_u64(test, third, "error.retry_after_ms") > 0);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, first, CODE_OK);
    uint64_t fourth = s_ask_signal(test);
    assert_false(gateway_test_has_reply(test, fourth));
    gateway_test_destroy(&test);
}

/* Goal: few large requests count as many: OVERLOADED by the bytes that they hold. */
static void test_gateway_over_its_memory_is_overloaded(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(1, 1);
    test->held_size_max = (uint64_t)1024 * 1024;
    gateway_test_restart(test);
    uint8_t items[8 * 2000];
    for (uint32_t i = 0; i < sizeof(items); i++) {
        items[i] = (uint8_t)(1 + i % 251);
    }
    uint64_t handle = 0;
    uint32_t taken = 0;
    do {
        pack_writer_t *writer = gateway_test_request(test, "signals");
        pack_put_map(writer, "columns");
        pack_put_u64(writer, "n", sizeof(items) / 8);
        pack_put_text(writer, "signal", "view");
        pack_put_bin(writer, "item", slice_make(items, sizeof(items)));
        pack_close(writer);
        handle = gateway_test_ask(test);
        taken++;
    } while (!gateway_test_has_reply(test, handle) && taken < 1000);
    gateway_test_expect_code(test, handle, CODE_OVERLOADED);
    assert_in_range(taken, 10, 100);
    gateway_test_expect_code(test, s_ask_op(test, "ping"), CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: limits of the deployment below those of the protocol hold. */
static void test_gateway_deployment_limits_hold(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new_bare(1, 1);
    test->topology.limits.retrieve_limit = 10;
    test->topology.limits.request_row_count = 1;
    test->topology.limits.request_size_bytes = 300;
    gateway_test_restart(test);
    table_t *table = table_new_default(&test->topology);
    gateway_test_publish(test, table, NULL, 0);
    table_destroy(&table);
    pack_put_u64(gateway_test_request(test, "retrieve"), "limit", 11);
    gateway_test_expect_code(test, gateway_test_ask(test), CODE_TOO_LARGE);
    pack_writer_t *writer = gateway_test_request(test, "signals");
    pack_key(writer, "rows");
    pack_write_array(writer, 2);
    for (uint32_t i = 0; i < 2; i++) {
        pack_write_array(writer, 2);
        pack_write_str(writer, slice_text("view"));
        pack_write_u64(writer, 1);
    }
    gateway_test_expect_code(test, gateway_test_ask(test), CODE_TOO_LARGE);
    uint8_t padding[400] = {0};
    pack_put_bin(gateway_test_request(test, "retrieve"), "x", slice_make(padding, sizeof(padding)));
    gateway_test_expect_code(test, gateway_test_ask(test), CODE_TOO_LARGE);
    gateway_test_expect_silence(test);
    gateway_test_destroy(&test);
}

/* Random bytes, or a good request with a flipped bit and perhaps a cut end. */
static size_t s_harmful(gateway_test_t *test, prng_t *prng, uint32_t round, uint8_t bytes[512])
{
    size_t size = prng_below(prng, 512);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)prng_next(prng);
    }
    if (round % 3 > 0) {
        pack_writer_t *writer = gateway_test_request(test, round % 3 == 1 ? "signal" : "hide");
        pack_put_text(writer, "signal", "view");
        pack_put_u64(writer, "item", 5);
        pack_put_u64(writer, "user", 7);
        pack_put_u64(writer, "timeout_ms", 1);
        client_request_end(writer);
        size = test->request.size;
        memcpy(bytes, test->request.data, size);
        bytes[prng_below(prng, size)] ^= (uint8_t)(1u << prng_below(prng, 8));
        size -= round % 5 == 0 ? prng_below(prng, size) : 0;
    }
    return size;
}

/* Goal: any bytes get an error or an answer, and the next request works. Method: random bytes,
 * 10 MB of junk, and good requests with flipped bits and cut ends. */
static void test_gateway_survives_any_bytes(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    prng_t prng;
    prng_init(&prng, 99);
    uint8_t bytes[512];
    for (uint32_t round = 0; round < 1500; round++) {
        size_t size = s_harmful(test, &prng, round, bytes);
        (void)gateway_test_ask_bytes(test, slice_make(bytes, size));
        if (round % 50 == 49) {
            gateway_test_run_ms(test, 100, s_none);
            test->sent_count = 0;
            test->taken_count = 0;
        }
    }
    size_t junk_size = (size_t)10 * 1024 * 1024;
    uint8_t *junk = malloc(junk_size);
    assert_non_null(junk);
    memset(junk, 0x81, junk_size);
    uint64_t handle = gateway_test_ask_bytes(test, slice_make(junk, junk_size));
    gateway_test_expect_code(test, handle, CODE_TOO_LARGE);
    free(junk);
    gateway_test_run_ms(test, 7000, s_none);
    test->sent_count = 0;
    test->taken_count = 0;
    gateway_test_expect_code(test, s_ask_op(test, "ping"), CODE_OK);
    handle = s_ask_signal(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: messages of nodes that do not decode, or are for nobody, are counted and harm nothing. */
static void test_gateway_survives_any_answer(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    uint64_t handle = s_ask_signal(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    uint64_t right = answer.as.write_reply.request_id;
    process_address_t from = {PROCESS_NODE, {1}, {0}};
    prng_t prng;
    prng_init(&prng, 5);
    for (uint32_t i = 0; i < 500; i++) {
        uint8_t bytes[64];
        for (size_t k = 0; k < sizeof(bytes); k++) {
            bytes[k] = (uint8_t)prng_next(&prng);
        }
        gateway_engine_message_from_node(test->engine, from, slice_make(bytes, i % 64), test->now);
        answer.as.write_reply.request_id = prng_next(&prng);
        gateway_test_answer(test, to, &answer);
        answer.as.write_reply.request_id = right ^ (UINT64_C(1) << prng_below(&prng, 64));
        gateway_test_answer(test, to, &answer);
    }
    msg_t read_reply =
        gateway_test_read_reply(&(msg_read_t){.request_id = right, .kind = READ_LAG}, CODE_OK);
    gateway_test_answer(test, to, &read_reply); /* a read's answer to a write */
    assert_false(gateway_test_has_reply(test, handle));
    answer.as.write_reply.request_id = right;
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Answers what was sent to node 2 of region 2 since `first`; the others are down. */
static void s_answer_node_2(gateway_test_t *test, uint32_t first)
{
    for (uint32_t i = first; i < test->sent_count; i++) {
        const gateway_sent_t *sent = &test->sent[i];
        msg_t msg;
        gateway_test_decode(test, sent, &msg);
        if (sent->to.kind == PROCESS_NODE && sent->to.shard.value == 2) {
            msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
            gateway_test_answer(test, (node_id_t){{2}, {2}}, &answer);
        }
    }
}

/* Goal: nodes that are down do not make their region unreachable. */
static void test_gateway_probes_go_on_to_another_node(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(2, 5);
    for (uint32_t step = 0; step < 300; step++) {
        uint32_t first = test->sent_count;
        test->now.mono_ns += 10000000;
        gateway_engine_tick(test->engine, test->now);
        s_answer_node_2(test, first);
        msg_peer_t peers[REGION_COUNT_MAX];
        assert_int_equal(gateway_engine_peers(test->engine, test->now, peers), 1);
        assert_true(peers[0].reachable);
    }
    gateway_test_destroy(&test);
}

/* OVERLOADED to those of the next three messages that are writes. */
static void s_refuse_some(gateway_test_t *test)
{
    node_id_t to;
    msg_t msg;
    for (uint32_t i = 0; i < 3 && gateway_test_next(test, &to, &msg); i++) {
        if (msg.type == MSG_WRITE) {
            msg_t answer = gateway_test_write_refused(&msg.as.write, CODE_OVERLOADED, to.region);
            gateway_test_answer(test, to, &answer);
        }
    }
}

/* What a gateway sends in one scripted life: writes, refusals, time-outs, reads. */
static void s_live(buffer_t *trace)
{
    gateway_test_t *test = gateway_test_new(3, 5);
    for (uint32_t round = 0; round < 40; round++) {
        (void)s_ask_signal(test);
        (void)s_ask_op(test, round % 2 == 0 ? "retrieve" : "lag");
        s_refuse_some(test);
        gateway_test_run_ms(test, 50, (region_set_t){round < 20 ? 1u << 3 : 0});
    }
    for (uint32_t i = 0; i < test->sent_count; i++) {
        uint8_t frame[PROCESS_FRAME_SIZE];
        process_encode(test->sent[i].to, frame);
        buffer_append(trace, frame, sizeof(frame));
        buffer_append(trace, test->sent[i].bytes.data, test->sent[i].bytes.size);
    }
    gateway_test_destroy(&test);
}

/* Goal: nothing but the seed and the events decides what is sent. Method: two lives, byte by byte.
 */
static void test_gateway_same_seed_and_events_same_messages(void **state)
{
    (void)state;
    buffer_t first;
    buffer_t second;
    buffer_init(&first);
    buffer_init(&second);
    s_live(&first);
    s_live(&second);
    assert_true(first.size > 10000);
    assert_true(slice_equal(buffer_slice(&first), buffer_slice(&second)));
    buffer_done(&first);
    buffer_done(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_without_a_table_is_not_ready),
        cmocka_unit_test(test_gateway_restarts_with_the_cached_table),
        cmocka_unit_test(test_gateway_table_of_another_topology_is_refused),
        cmocka_unit_test(test_gateway_topology_and_unknown_tenant),
        cmocka_unit_test(test_gateway_refuses_what_it_does_not_serve),
        cmocka_unit_test(test_gateway_lag_names_missing_nodes),
        cmocka_unit_test(test_gateway_digest_shows_every_node),
        cmocka_unit_test(test_gateway_over_its_limit_is_overloaded),
        cmocka_unit_test(test_gateway_over_its_memory_is_overloaded),
        cmocka_unit_test(test_gateway_deployment_limits_hold),
        cmocka_unit_test(test_gateway_same_seed_and_events_same_messages),
        cmocka_unit_test(test_gateway_survives_any_bytes),
        cmocka_unit_test(test_gateway_survives_any_answer),
        cmocka_unit_test(test_gateway_probes_go_on_to_another_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
