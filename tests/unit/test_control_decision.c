/* Decisions of the control plane: tenants and leaders, from table to table, and that nobody hears
 * of one that is not durable. */
#include "common/base/check.h"
#include "common/cluster/control_engine.h"
#include "common/cluster/decision.h"
#include "common/wire/client_reply.h"
#include "tests/support/sim_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { S_REGION_COUNT = 3, S_SHARD_COUNT = 5 };

typedef struct {
    topology_t topology;
    sim_disk_t *disk;
    net_t net;
    engine_env_t env;
    control_engine_t *engine;
    buffer_t reply;
    uint32_t published_count;
    table_t *table; /* of the tests without an engine */
} s_fixture_t;

static void s_publish(void *context, const char *topic, const uint8_t *bytes, size_t size)
{
    (void)topic;
    (void)bytes;
    (void)size;
    s_fixture_t *fixture = context;
    fixture->published_count++;
}

static int s_setup(void **state)
{
    s_fixture_t *fixture = calloc(1, sizeof(*fixture));
    CHECK(fixture != NULL);
    topology_init_default(&fixture->topology, S_REGION_COUNT, S_SHARD_COUNT);
    fixture->disk = sim_disk_new(1);
    fixture->net = (net_t){.context = fixture, .publish = s_publish};
    fixture->env = (engine_env_t){.topology = &fixture->topology,
                                  .self = {.kind = PROCESS_CONTROL},
                                  .boot = 1,
                                  .disk = sim_disk_disk(fixture->disk),
                                  .net = &fixture->net,
                                  .data_folder = "data"};
    buffer_init(&fixture->reply);
    fixture->table = table_new_default(&fixture->topology);
    *state = fixture;
    return 0;
}

static int s_teardown(void **state)
{
    s_fixture_t *fixture = *state;
    control_engine_close(&fixture->engine);
    sim_disk_destroy(&fixture->disk);
    buffer_done(&fixture->reply);
    table_destroy(&fixture->table);
    free(fixture);
    return 0;
}

/* in regions  names, NULL at the end; NULL: not sent */
static client_request_t s_create(const char *name, const char *const *regions, bool accept)
{
    client_request_t request = {.op = CLIENT_OP_CREATE_TENANT, .tenant = slice_text(name)};
    request.as.create_tenant.accepts_islands = accept;
    request.as.create_tenant.has_regions = regions != NULL;
    for (uint32_t i = 0; regions != NULL && regions[i] != NULL; i++) {
        request.as.create_tenant.regions[request.as.create_tenant.region_count++] =
            slice_text(regions[i]);
    }
    return request;
}

static client_request_t s_promote(const char *tenant, uint16_t shard, const char *region)
{
    client_request_t request = {.op = CLIENT_OP_PROMOTE, .tenant = slice_text(tenant)};
    request.as.promote.shard = (shard_id_t){shard};
    request.as.promote.region = slice_text(region);
    return request;
}

/* Decides, and makes the next table the current one. */
static code_t s_decide(s_fixture_t *fixture, const client_request_t *request, errbuf_t *errbuf)
{
    table_t *next = NULL;
    code_t code =
        request->op == CLIENT_OP_PROMOTE
            ? decision_promote(fixture->table, &fixture->topology, request, &next, errbuf)
            : decision_create_tenant(fixture->table, &fixture->topology, request, &next, errbuf);
    if (next != NULL) {
        assert_int_equal(code, CODE_OK);
        assert_int_equal(table_version(next), table_version(fixture->table) + 1);
        table_destroy(&fixture->table);
        fixture->table = next;
    }
    return code;
}

static void s_expect(s_fixture_t *fixture,
                     const client_request_t *request,
                     code_t code,
                     const char *part)
{
    errbuf_t errbuf = {{0}};
    uint64_t version = table_version(fixture->table);
    assert_int_equal(s_decide(fixture, request, &errbuf), code);
    if (strstr(errbuf.text, part) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", part, errbuf.text);
    }
    assert_int_equal(table_version(fixture->table), version);
}

/* -- the decisions ----------------------------------------------------------------------------- */

/* Goal: every create gives a generation of its own, the version of its table, and leaders lie in
 * turn on the placed regions, whatever the order in which they were named. */
static void test_decision_create_tenant_places_leaders_in_turn(void **state)
{
    s_fixture_t *fixture = *state;
    const char *last = fixture->topology.regions[2].name;
    const char *first = fixture->topology.regions[0].name;
    const char *const two[] = {last, first, NULL};
    errbuf_t errbuf;
    client_request_t all = s_create("shop", NULL, false);
    client_request_t some = s_create("games", two, true);
    assert_int_equal(s_decide(fixture, &all, &errbuf), CODE_OK);
    assert_int_equal(s_decide(fixture, &some, &errbuf), CODE_OK);
    const table_tenant_t *shop = table_find_tenant_name(fixture->table, slice_text("shop"));
    const table_tenant_t *games = table_find_tenant_name(fixture->table, slice_text("games"));
    assert_int_equal(shop->id.value, 2);
    assert_int_equal(games->id.value, 3);
    assert_int_equal(shop->island, ISLAND_REJECT);
    assert_int_equal(games->island, ISLAND_ACCEPT);
    assert_int_equal(games->full.bits, 1 << 1 | 1 << 3);
    for (uint16_t shard = 0; shard < S_SHARD_COUNT; shard++) {
        const table_record_t *record =
            table_find_record(fixture->table, games->id, (shard_id_t){shard});
        assert_int_equal(record->leader.value, shard % 2 == 0 ? 1 : 3);
        assert_int_equal(record->in_sync.bits, games->full.bits);
        assert_int_equal(record->placed.bits, games->full.bits);
        assert_int_equal(record->epoch, 1);
    }
}

/* Goal: the same create again changes nothing; with other fields it says what there is. */
static void test_decision_create_tenant_again_is_the_same_or_refused(void **state)
{
    s_fixture_t *fixture = *state;
    const char *const one[] = {fixture->topology.regions[0].name, NULL};
    errbuf_t errbuf = {{0}};
    client_request_t request = s_create("shop", NULL, false);
    assert_int_equal(s_decide(fixture, &request, &errbuf), CODE_OK);
    s_expect(fixture, &request, CODE_OK, "");
    request = s_create("shop", one, false);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "generation 2");
    request = s_create("shop", NULL, true);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "island reject");
    request = s_create("default", NULL, false);
    s_expect(fixture, &request, CODE_OK, "");
}

/* Goal: names and regions are held to their rules. */
static void test_decision_create_tenant_refuses_bad_fields(void **state)
{
    s_fixture_t *fixture = *state;
    const char *first = fixture->topology.regions[0].name;
    const char *const twice[] = {first, first, NULL};
    const char *const unknown[] = {"atlantis", NULL};
    const char *const none[] = {NULL};
    client_request_t request = s_create("shop", twice, false);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "twice");
    request = s_create("shop", unknown, false);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "'atlantis'");
    request = s_create("shop", none, false);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "found none");
    request = s_create(".shop", NULL, false);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "tenant: ");
    request = s_create("sh/op", NULL, false);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "tenant: ");
    request = s_create("shop", NULL, false);
    request.tenant = slice_make("sh\0p", 4);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "zero byte");
}

/* Goal: one tenant more than there is room for is refused. */
static void test_decision_create_tenant_full_is_refused(void **state)
{
    s_fixture_t *fixture = *state;
    const char *const one[] = {fixture->topology.regions[0].name, NULL};
    char name[32];
    errbuf_t errbuf;
    for (uint32_t i = 1; i < TENANT_COUNT_MAX; i++) {
        (void)snprintf(name, sizeof(name), "t%u", i);
        client_request_t request = s_create(name, one, false);
        assert_int_equal(s_decide(fixture, &request, &errbuf), CODE_OK);
    }
    client_request_t request = s_create("more", one, false);
    s_expect(fixture, &request, CODE_QUOTA, "at most 1024 tenants");
}

/* Goal: a promotion raises epoch and version of that shard alone; again, it changes nothing. */
static void test_decision_promote_raises_the_epoch_once(void **state)
{
    s_fixture_t *fixture = *state;
    errbuf_t errbuf = {{0}};
    client_request_t request = s_promote("default", 0, fixture->topology.regions[1].name);
    assert_int_equal(s_decide(fixture, &request, &errbuf), CODE_OK);
    const table_record_t *record =
        table_find_record(fixture->table, TENANT_DEFAULT, (shard_id_t){0});
    assert_int_equal(record->leader.value, 2);
    assert_int_equal(record->epoch, 2);
    assert_int_equal(record->version, 2);
    record = table_find_record(fixture->table, TENANT_DEFAULT, (shard_id_t){1});
    assert_int_equal(record->epoch, 1);
    s_expect(fixture, &request, CODE_OK, "");
}

/* Goal: only a member of the in-sync set is promoted. */
static void test_decision_promote_refuses_whoever_may_lack_writes(void **state)
{
    s_fixture_t *fixture = *state;
    const char *const two[] = {fixture->topology.regions[0].name, fixture->topology.regions[1].name,
                               NULL};
    errbuf_t errbuf = {{0}};
    client_request_t create = s_create("shop", two, false);
    assert_int_equal(s_decide(fixture, &create, &errbuf), CODE_OK);
    table_record_t record = *table_find_record(fixture->table, (tenant_id_t){2}, (shard_id_t){0});
    record.in_sync = region_set_remove(record.in_sync, (region_id_t){2});
    assert_int_equal(
        table_set_record(fixture->table, (tenant_id_t){2}, (shard_id_t){0}, &record, &errbuf),
        ERR_OK);
    client_request_t request = s_promote("shop", 0, two[1]);
    s_expect(fixture, &request, CODE_UNAVAILABLE, "in-sync set");
    request = s_promote("shop", 0, fixture->topology.regions[2].name);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "holds the tenant");
    request = s_promote("shop", 0, "atlantis");
    s_expect(fixture, &request, CODE_BAD_REQUEST, "'atlantis'");
    request = s_promote("shop", S_SHARD_COUNT, two[1]);
    s_expect(fixture, &request, CODE_BAD_REQUEST, "below 5");
    request = s_promote("nobody", 0, two[1]);
    s_expect(fixture, &request, CODE_UNKNOWN_TENANT, "'nobody'");
}

/* -- the engine -------------------------------------------------------------------------------- */

static void s_open(s_fixture_t *fixture)
{
    errbuf_t errbuf = {{0}};
    now_t now = {1, 1};
    control_engine_close(&fixture->engine);
    assert_int_equal(control_engine_open(&fixture->env, now, &fixture->engine, &errbuf), ERR_OK);
}

static client_answer_t s_ask(s_fixture_t *fixture, const client_request_t *request)
{
    client_answer_t answer;
    errbuf_t errbuf;
    buffer_clear(&fixture->reply);
    assert_true(control_engine_client(fixture->engine, request, &fixture->reply, (now_t){2, 2}));
    assert_int_equal(client_answer_read(buffer_slice(&fixture->reply), &answer, &errbuf), ERR_OK);
    return answer;
}

static uint64_t s_number(const s_fixture_t *fixture, const char *path)
{
    pack_value_t value = pack_get(buffer_slice(&fixture->reply), path);
    assert_int_equal(value.kind, PACK_UINT);
    return value.as.uint;
}

/* Goal: what was answered is there after a power cut, and was published. */
static void test_control_engine_decision_survives_a_power_cut(void **state)
{
    s_fixture_t *fixture = *state;
    client_request_t create = s_create("shop", NULL, true);
    client_request_t promote = s_promote("shop", 1, fixture->topology.regions[0].name);
    s_open(fixture);
    assert_true(s_ask(fixture, &create).ok);
    assert_int_equal(fixture->published_count, 1);
    assert_int_equal(s_number(fixture, "generation"), 2);
    assert_true(s_ask(fixture, &promote).ok);
    assert_int_equal(s_number(fixture, "epoch"), 2);
    assert_int_equal(s_number(fixture, "version"), 3);
    control_engine_close(&fixture->engine);
    sim_disk_crash(fixture->disk, 7);
    s_open(fixture);
    assert_int_equal(control_engine_table_version(fixture->engine), 3);
    assert_true(s_ask(fixture, &create).ok);
    assert_int_equal(s_number(fixture, "generation"), 2);
    assert_int_equal(control_engine_table_version(fixture->engine), 3);
}

/* Goal: a decision that does not fit the disk is refused, changes nothing, and may be repeated. */
static void test_control_engine_full_disk_refuses_the_decision(void **state)
{
    s_fixture_t *fixture = *state;
    errbuf_t errbuf;
    client_request_t create = s_create("shop", NULL, false);
    s_open(fixture);
    sim_disk_set_capacity(fixture->disk, sim_disk_used_bytes(fixture->disk) + 8);
    assert_int_equal(s_ask(fixture, &create).code, CODE_DISK_FULL);
    assert_int_equal(fixture->published_count, 0);
    assert_int_equal(control_engine_table_version(fixture->engine), 1);
    assert_int_equal(control_engine_turn_end(fixture->engine, (now_t){3, 3}, &errbuf), ERR_OK);
    sim_disk_set_capacity(fixture->disk, UINT64_MAX);
    assert_true(s_ask(fixture, &create).ok);
}

/* Goal: after a failed sync nothing is answered as done or published, and the process ends. */
static void test_control_engine_failed_sync_ends_the_process(void **state)
{
    s_fixture_t *fixture = *state;
    errbuf_t errbuf;
    client_request_t create = s_create("shop", NULL, false);
    s_open(fixture);
    sim_disk_fail_sync(fixture->disk, 1);
    assert_int_equal(s_ask(fixture, &create).code, CODE_INTERNAL);
    assert_int_equal(fixture->published_count, 0);
    assert_int_equal(s_ask(fixture, &create).code, CODE_INTERNAL);
    assert_int_equal(control_engine_turn_end(fixture->engine, (now_t){3, 3}, &errbuf), ERR_IO);
}

#define S_TEST(name) cmocka_unit_test_setup_teardown(name, s_setup, s_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        S_TEST(test_decision_create_tenant_places_leaders_in_turn),
        S_TEST(test_decision_create_tenant_again_is_the_same_or_refused),
        S_TEST(test_decision_create_tenant_refuses_bad_fields),
        S_TEST(test_decision_create_tenant_full_is_refused),
        S_TEST(test_decision_promote_raises_the_epoch_once),
        S_TEST(test_decision_promote_refuses_whoever_may_lack_writes),
        S_TEST(test_control_engine_decision_survives_a_power_cut),
        S_TEST(test_control_engine_full_disk_refuses_the_decision),
        S_TEST(test_control_engine_failed_sync_ends_the_process),
    };
    return cmocka_run_group_tests_name("control_decision", tests, NULL, NULL);
}
