/* Tenants at the gateway: one that the table does not have yet, and writes that go to an island. */
#include "common/base/check.h"
#include "tests/unit/gateway_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const region_set_t s_none = {0};
static const region_set_t s_region_2 = {1u << 2};

enum { S_TENANT = 2 };

/* The next table, with tenant "shop" in every region. */
static table_t *s_table(const gateway_test_t *test, island_policy_t island)
{
    table_t *first = table_new_default(&test->topology);
    table_t *table = table_next(first);
    region_set_t regions = topology_regions(&test->topology);
    table_tenant_t tenant = {.id = {S_TENANT}, .name = "shop", .island = island, .full = regions};
    table_record_t records[SHARD_COUNT_MAX] = {{0}};
    for (uint32_t i = 0; i < test->topology.shard_count; i++) {
        records[i] = (table_record_t){.epoch = 1,
                                      .version = 1,
                                      .leader = {(uint16_t)(1 + i % test->topology.region_count)},
                                      .in_sync = regions,
                                      .placed = regions};
    }
    errbuf_t errbuf;
    CHECK(table_add_tenant(table, &tenant, records, &errbuf) == ERR_OK);
    table_destroy(&first);
    return table;
}

static void s_publish(gateway_test_t *test, island_policy_t island)
{
    table_t *table = s_table(test, island);
    gateway_test_publish(test, table, NULL, 0);
    table_destroy(&table);
}

/* The control plane answers a question with the table. */
static void s_answer_table(gateway_test_t *test, table_t *table)
{
    buffer_t encoded = {0};
    buffer_t out = {0};
    table_encode(table, &encoded);
    msg_t msg = {.type = MSG_TABLE};
    msg.as.table.table = buffer_slice(&encoded);
    msg_encode(&msg, &out);
    gateway_engine_message_from_node(test->engine, (process_address_t){.kind = PROCESS_CONTROL},
                                     buffer_slice(&out), test->now);
    buffer_done(&encoded);
    buffer_done(&out);
}

static uint32_t s_count_questions(const gateway_test_t *test)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < test->sent_count; i++) {
        count += test->sent[i].to.kind == PROCESS_CONTROL ? 1 : 0;
    }
    return count;
}

static item_id_t s_item(const gateway_test_t *test, uint16_t shard)
{
    item_id_t item = {1};
    while (route_item((tenant_id_t){S_TENANT}, item, test->topology.shard_count).value != shard) {
        item.value++;
    }
    return item;
}

static uint64_t s_ask_signal(gateway_test_t *test, uint16_t shard)
{
    pack_writer_t *writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "tenant", "shop");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", s_item(test, shard).value);
    pack_put_text(writer, "producer", "loader");
    pack_put_u64(writer, "seq", 5);
    return gateway_test_ask(test);
}

static msg_t s_island_ok(const gateway_test_t *test, node_id_t node, const msg_write_t *write)
{
    msg_t answer = gateway_test_write_ok(test, node, write);
    answer.as.write_reply.island = true;
    answer.as.write_reply.durability = ACK_LOCAL;
    answer.as.write_reply.replicas = region_set_add(s_none, node.region);
    return answer;
}

/* -- tenants that the table does not have ------------------------------------------------------ */

/* Goal: a request for a tenant that was created a moment ago waits for the answer of the control
 * plane, which is asked at once, and is then served. */
static void test_gateway_new_tenant_is_asked_for(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    gateway_test_run_ms(test, 1000, s_none);
    uint32_t before = s_count_questions(test);
    uint64_t handle = s_ask_signal(test, 0);
    assert_false(gateway_test_has_reply(test, handle));
    assert_int_equal(s_count_questions(test), before + 1);
    table_t *table = s_table(test, ISLAND_REJECT);
    s_answer_table(test, table);
    table_destroy(&table);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(msg.as.write.tenant.value, S_TENANT);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: when the control plane's table does not have it either, it is unknown at once; when the
 * control plane does not answer, soon. */
static void test_gateway_unknown_tenant_is_told_after_the_answer(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    gateway_test_run_ms(test, 1000, s_none);
    uint64_t handle = s_ask_signal(test, 0);
    table_t *table = table_new_default(&test->topology);
    s_answer_table(test, table);
    table_destroy(&table);
    gateway_test_expect_code(test, handle, CODE_UNKNOWN_TENANT);
    handle = s_ask_signal(test, 0);
    gateway_test_run_ms(test, 490, s_none);
    assert_false(gateway_test_has_reply(test, handle));
    gateway_test_run_ms(test, 20, s_none);
    gateway_test_expect_code(test, handle, CODE_UNKNOWN_TENANT);
    gateway_test_destroy(&test);
}

/* Goal: however many ask for tenants that do not exist, the control plane is asked ten times a
 * second at most, and what is over the bound is refused at once. */
static void test_gateway_unknown_tenants_are_bounded(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    gateway_test_run_ms(test, 1000, s_none);
    uint32_t before = s_count_questions(test);
    uint64_t refused = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t handle = s_ask_signal(test, 0);
        refused += gateway_test_has_reply(test, handle) ? 1 : 0;
        if (i % 10 == 9) {
            gateway_test_run_ms(test, 10, s_none);
        }
    }
    uint32_t questions = s_count_questions(test) - before;
    assert_true(questions >= 2);
    assert_true(questions <= 11);
    assert_true(refused > 0);
    gateway_test_run_ms(test, 1000, s_none);
    gateway_engine_drain(test->engine, test->now);
    assert_int_equal(gateway_engine_inflight(test->engine), 0);
    gateway_test_destroy(&test);
}

/* -- islands ----------------------------------------------------------------------------------- */

/* Goal: while the leader's region cannot be reached, a write of a tenant that accepts islands goes
 * to the own region's node, and its reply says so. */
static void test_gateway_write_goes_to_the_island(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    s_publish(test, ISLAND_ACCEPT);
    gateway_test_run_ms(test, 2000, s_region_2);
    uint64_t handle = s_ask_signal(test, 1);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 1);
    assert_int_equal(to.shard.value, 1);
    msg_t answer = s_island_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_expect_text(test, handle, "durability", "local");
    gateway_test_expect_text(test, handle, "replicas.0", "us-east");
    assert_int_equal(gateway_test_value(test, handle, "replicas.1").kind, PACK_BAD);
    assert_true(gateway_test_value(test, handle, "island").as.boolean);
    gateway_test_destroy(&test);
}

/* Goal: a tenant that rejects islands is refused within a second, and nobody was asked. */
static void test_gateway_write_of_a_rejecting_tenant_is_refused(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    s_publish(test, ISLAND_REJECT);
    gateway_test_run_ms(test, 2000, s_region_2);
    uint64_t handle = s_ask_signal(test, 1);
    gateway_test_run_ms(test, 1100, s_region_2);
    gateway_test_expect_code(test, handle, CODE_UNAVAILABLE);
    gateway_test_expect_silence(test);
    gateway_test_destroy(&test);
}

/* Goal: a node that is not cut off says READ_ONLY; the write goes on to the leader as soon as its
 * region is heard. */
static void test_gateway_island_that_is_none_sends_on_to_the_leader(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    s_publish(test, ISLAND_ACCEPT);
    gateway_test_run_ms(test, 2000, s_region_2);
    uint64_t handle = s_ask_signal(test, 1);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 1);
    msg_t answer = gateway_test_write_refused(&msg.as.write, CODE_READ_ONLY, (region_id_t){2});
    gateway_test_answer(test, to, &answer);
    to = gateway_test_take(test, &msg); /* still cut off: the own node once more */
    assert_int_equal(to.region.value, 1);
    answer = gateway_test_write_refused(&msg.as.write, CODE_READ_ONLY, (region_id_t){2});
    gateway_test_answer(test, to, &answer);
    gateway_test_run_ms(test, 500, s_none);
    bool reached_leader = false;
    while (!reached_leader && gateway_test_next(test, &to, &msg)) {
        reached_leader = to.region.value == 2;
        answer = reached_leader
                     ? gateway_test_write_ok(test, to, &msg.as.write)
                     : gateway_test_write_refused(&msg.as.write, CODE_READ_ONLY, (region_id_t){2});
        gateway_test_answer(test, to, &answer);
    }
    assert_true(reached_leader);
    gateway_test_expect_code(test, handle, CODE_OK);
    assert_int_equal(gateway_test_value(test, handle, "island").kind, PACK_BAD);
    gateway_test_destroy(&test);
}

/* Goal: what concerns all shards is stamped by the home shard's island and goes on to leaders and
 * islands alike with that stamp; the reply says island when one of them was. */
static void test_gateway_register_for_all_shards_uses_the_home_island(void **state)
{
    (void)state;
    gateway_test_t *test = gateway_test_new(3, 5);
    s_publish(test, ISLAND_ACCEPT);
    gateway_test_run_ms(test, 2000, s_region_2);
    uint64_t user = 1;
    while (route_shard((tenant_id_t){S_TENANT}, user, 5).value != 1) {
        user++;
    }
    pack_writer_t *writer = gateway_test_request(test, "mute");
    pack_put_text(writer, "tenant", "shop");
    pack_put_u64(writer, "user", user);
    pack_put_u64(writer, "creator", 9);
    uint64_t handle = gateway_test_ask(test);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(to.region.value, 1); /* the island of shard 1 */
    assert_int_equal(to.shard.value, 1);
    msg_t answer = s_island_ok(test, to, &msg.as.write);
    hlc_stamp_t stamp = answer.as.write_reply.hlc;
    gateway_test_answer(test, to, &answer);
    uint32_t islands = 0;
    uint32_t count = 0;
    while (gateway_test_next(test, &to, &msg)) {
        assert_int_equal(hlc_compare(msg.as.write.hlc, stamp), 0);
        bool is_island = to.shard.value == 4; /* led by region 2 */
        assert_int_equal(to.region.value, is_island ? 1 : 1 + to.shard.value % 3);
        answer = is_island ? s_island_ok(test, to, &msg.as.write)
                           : gateway_test_write_ok(test, to, &msg.as.write);
        gateway_test_answer(test, to, &answer);
        islands += is_island ? 1 : 0;
        count++;
    }
    assert_int_equal(count, 4);
    assert_int_equal(islands, 1);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_expect_text(test, handle, "durability", "local");
    assert_true(gateway_test_value(test, handle, "island").as.boolean);
    gateway_test_destroy(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_new_tenant_is_asked_for),
        cmocka_unit_test(test_gateway_unknown_tenant_is_told_after_the_answer),
        cmocka_unit_test(test_gateway_unknown_tenants_are_bounded),
        cmocka_unit_test(test_gateway_write_goes_to_the_island),
        cmocka_unit_test(test_gateway_write_of_a_rejecting_tenant_is_refused),
        cmocka_unit_test(test_gateway_island_that_is_none_sends_on_to_the_leader),
        cmocka_unit_test(test_gateway_register_for_all_shards_uses_the_home_island),
    };
    return cmocka_run_group_tests_name("gateway_tenants", tests, NULL, NULL);
}
