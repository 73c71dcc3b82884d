/* A region's reconciler below its sockets: whom it asks, how long it waits, whom it believes. The
 * test plays the network: nodes of region 1, and the reconcilers of the other regions. */
#include "common/base/check.h"
#include "common/cluster/reconcile_engine.h"
#include "tests/support/sim_disk.h"
#include "tests/unit/reconcile_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { S_SENT_COUNT_MAX = 256, S_PERIOD_MS = 4000, S_WAIT_MS = 1000, S_HANDLE = 77 };

static const int64_t s_ms = ENGINE_NS_PER_MS;

/* A message that the engine sent. */
typedef struct {
    process_address_t to; /* of an answer: zero */
    uint64_t reply_to;    /* of a message that is no answer: 0 */
    msg_type_t type;
    uint64_t request_id;
    tenant_id_t tenant;
    bool answer;
    uint32_t row_count;
} s_sent_t;

typedef struct {
    reconcile_model_t *model;
    sim_disk_t *disk;
    net_t net;
    engine_env_t env;
    reconcile_engine_t *engine;
    msg_codec_t *codec;
    buffer_t out;
    now_t now;
    uint32_t sent_count;
    uint32_t answered_count; /* questions of the sent ones that the nodes have looked at */
    s_sent_t sent[S_SENT_COUNT_MAX];
    uint32_t forgotten_count;
    region_set_t unreachable; /* reconcilers */
    uint64_t silent_shards;   /* own nodes that take questions and do not answer; bits */
    uint64_t down_shards;     /* own nodes that cannot be reached; bits */
    code_t node_code;         /* what the own nodes answer */
    msg_fetch_t fetch;        /* the last one */
} s_mesh_t;

/* -- the network ------------------------------------------------------------------------------- */

static void s_record(
    s_mesh_t *mesh, process_address_t to, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    msg_t msg;
    errbuf_t errbuf;
    assert_int_equal(msg_decode(mesh->codec, slice_make(bytes, size), &msg, &errbuf), ERR_OK);
    assert_true(mesh->sent_count < S_SENT_COUNT_MAX);
    s_sent_t *sent = &mesh->sent[mesh->sent_count];
    *sent = (s_sent_t){.to = to, .reply_to = reply_to, .type = msg.type};
    mesh->sent_count += msg.type == MSG_BASE_TASK ? 0 : 1; /* beside each question to a node */
    if (msg.type == MSG_READ) {
        assert_int_equal(msg.as.read.kind, READ_DIGEST);
        assert_int_equal(msg.as.read.shard.value, to.shard.value);
        sent->request_id = msg.as.read.request_id;
        sent->tenant = msg.as.read.tenant;
    } else if (msg.type == MSG_FETCH) {
        mesh->fetch = msg.as.fetch;
    } else if (msg.type == MSG_REBUILD) {
        assert_int_equal(msg.as.rebuild.shard.value, to.shard.value);
        sent->request_id = msg.as.rebuild.request_id;
        sent->tenant = msg.as.rebuild.tenant;
    } else if (msg.type != MSG_BASE_TASK) {
        assert_int_equal(msg.type, MSG_RECONCILE_STATE);
        sent->answer = msg.as.reconcile_state.answer;
        sent->row_count = msg.as.reconcile_state.row_count;
    }
}

static err_t s_net_send(void *context, process_address_t to, const uint8_t *bytes, size_t size)
{
    s_mesh_t *mesh = context;
    bool is_down = to.kind == PROCESS_NODE ? (mesh->down_shards >> to.shard.value & 1) != 0
                                           : region_set_has(mesh->unreachable, to.region);
    if (is_down) {
        return ERR_UNREACHABLE;
    }
    s_record(mesh, to, 0, bytes, size);
    return ERR_OK;
}

static err_t s_net_reply(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    s_record(context, (process_address_t){PROCESS_NONE, {0}, {0}}, reply_to, bytes, size);
    return ERR_OK;
}

static void s_net_forget(void *context, uint64_t reply_to)
{
    assert_int_equal(reply_to, S_HANDLE);
    ((s_mesh_t *)context)->forgotten_count++;
}

static void s_net_publish(void *context, const char *topic, const uint8_t *bytes, size_t size)
{
    (void)context;
    (void)topic;
    (void)bytes;
    (void)size;
    fail_msg("a reconciler publishes nothing by itself");
}

/* -- the mesh ---------------------------------------------------------------------------------- */

static void s_give(s_mesh_t *mesh, uint64_t reply_to, const msg_t *msg)
{
    buffer_clear(&mesh->out);
    msg_encode(msg, &mesh->out);
    reconcile_engine_message(mesh->engine, reply_to, buffer_slice(&mesh->out), mesh->now);
}

static void s_publish_table(s_mesh_t *mesh)
{
    buffer_t table;
    buffer_init(&table);
    table_encode(mesh->model->table, &table);
    msg_t msg = {.type = MSG_TABLE};
    msg.as.table = (msg_table_t){.boot = 1, .publish_seq = 1, .table = buffer_slice(&table)};
    buffer_clear(&mesh->out);
    msg_encode(&msg, &mesh->out);
    reconcile_engine_published(mesh->engine, buffer_slice(&mesh->out), mesh->now);
    buffer_done(&table);
}

static s_mesh_t *s_open(uint32_t region_count, uint32_t shard_count)
{
    s_mesh_t *mesh = calloc(1, sizeof(*mesh));
    CHECK(mesh != NULL);
    mesh->model = reconcile_model_new(region_count, shard_count);
    mesh->model->topology.timing.reconcile_ms = S_PERIOD_MS;
    mesh->model->topology.timing.read_timeout_ms = 60000;
    mesh->disk = sim_disk_new(1);
    mesh->codec = msg_codec_new();
    buffer_init(&mesh->out);
    mesh->net = (net_t){mesh, s_net_send, s_net_reply, s_net_forget, s_net_publish};
    mesh->env = (engine_env_t){.topology = &mesh->model->topology,
                               .self = {PROCESS_RECONCILER, {1}, {0}},
                               .boot = 9,
                               .disk = sim_disk_disk(mesh->disk),
                               .net = &mesh->net,
                               .data_folder = "data"};
    mesh->now = (now_t){.mono_ns = 50 * s_ms, .wall_ns = INT64_C(1714564800000000000)};
    errbuf_t errbuf;
    assert_int_equal(reconcile_engine_open(&mesh->env, &mesh->engine, &errbuf), ERR_OK);
    return mesh;
}

static void s_close(s_mesh_t *mesh)
{
    reconcile_engine_close(&mesh->engine);
    reconcile_engine_close(&mesh->engine);
    reconcile_model_destroy(&mesh->model);
    sim_disk_destroy(&mesh->disk);
    msg_codec_destroy(&mesh->codec);
    buffer_done(&mesh->out);
    free(mesh);
}

static void s_tick(s_mesh_t *mesh)
{
    reconcile_engine_tick(mesh->engine, mesh->now);
}

/* Time goes to the next deadline, which must lie ahead. */
static void s_wait(s_mesh_t *mesh)
{
    int64_t deadline_ns = reconcile_engine_deadline_ns(mesh->engine);
    assert_true(deadline_ns > mesh->now.mono_ns);
    mesh->now.wall_ns += deadline_ns - mesh->now.mono_ns;
    mesh->now.mono_ns = deadline_ns;
    s_tick(mesh);
}

static msg_t s_digest(s_mesh_t *mesh, const s_sent_t *question)
{
    const msg_reconcile_row_t *row =
        reconcile_model_row(mesh->model, 1, question->tenant.value, question->to.shard.value);
    msg_t msg = {.type = MSG_READ_REPLY};
    msg.as.read_reply = (msg_read_reply_t){.request_id = question->request_id,
                                           .code = mesh->node_code,
                                           .kind = READ_DIGEST,
                                           .applied_count = row->applied_count,
                                           .applied = row->applied};
    memcpy(msg.as.read_reply.as.digest.digest, row->digest, sizeof(row->digest));
    return msg;
}

/* The own nodes answer everything that they are asked, but those that are silent. */
static void s_nodes_answer(s_mesh_t *mesh)
{
    while (mesh->answered_count < mesh->sent_count) {
        s_sent_t question = mesh->sent[mesh->answered_count++];
        bool is_silent = (mesh->silent_shards >> question.to.shard.value & 1) != 0;
        if (question.type == MSG_READ && !is_silent) {
            msg_t msg = s_digest(mesh, &question);
            s_give(mesh, 0, &msg);
            reconcile_engine_turn_end(mesh->engine, mesh->now);
        }
    }
}

static msg_t s_state(s_mesh_t *mesh, uint16_t region, bool answer)
{
    reconcile_state_t state = reconcile_model_state(mesh->model, region);
    msg_t msg = {.type = MSG_RECONCILE_STATE};
    msg.as.reconcile_state = (msg_reconcile_state_t){.from = {PROCESS_RECONCILER, {region}, {0}},
                                                     .boot = region,
                                                     .answer = answer,
                                                     .row_count = state.row_count,
                                                     .rows = state.rows};
    return msg;
}

static void s_peer_answers(s_mesh_t *mesh, uint16_t region)
{
    msg_t msg = s_state(mesh, region, true);
    s_give(mesh, 0, &msg);
    reconcile_engine_turn_end(mesh->engine, mesh->now);
}

static uint64_t s_metric(const s_mesh_t *mesh, const char *name)
{
    msg_metric_t metrics[64];
    uint32_t count = reconcile_engine_metrics(mesh->engine, metrics, 64);
    for (uint32_t i = 0; i < count; i++) {
        if (slice_equal(metrics[i].name, slice_text(name))) {
            return (uint64_t)metrics[i].value;
        }
    }
    fail_msg("there is no metric %s", name);
    return 0;
}

static uint32_t s_count_sent(const s_mesh_t *mesh, msg_type_t type)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < mesh->sent_count; i++) {
        count += mesh->sent[i].type == type ? 1 : 0;
    }
    return count;
}

/* Three regions, a table, and the first run begun. */
static s_mesh_t *s_started(uint32_t shard_count)
{
    s_mesh_t *mesh = s_open(3, shard_count);
    s_publish_table(mesh);
    s_tick(mesh);
    return mesh;
}

static void s_whole_run(s_mesh_t *mesh)
{
    s_nodes_answer(mesh);
    s_peer_answers(mesh, 2);
    s_peer_answers(mesh, 3);
}

/* -- table ------------------------------------------------------------------------------------- */

/* Without a table it is not ready and asks nobody; the first table starts a run at once. */
static void test_reconcile_without_table_nobody_is_asked(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 2);
    const char *reason = "";
    s_tick(mesh);
    assert_false(reconcile_engine_is_ready(mesh->engine, &reason));
    assert_non_null(strstr(reason, "routing table"));
    assert_int_equal(mesh->sent_count, 0);
    assert_true(reconcile_engine_deadline_ns(mesh->engine) > mesh->now.mono_ns);
    s_publish_table(mesh);
    assert_int_equal(reconcile_engine_deadline_ns(mesh->engine), mesh->now.mono_ns);
    s_tick(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_READ), 2);
    assert_true(reconcile_engine_is_ready(mesh->engine, &reason));
    assert_string_equal(reason, "");
    assert_int_equal(reconcile_engine_table_version(mesh->engine), 1);
    s_close(mesh);
}

/* A table that it was told before it stopped is there again at the next start. */
static void test_reconcile_table_outlives_a_restart(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    errbuf_t errbuf;
    reconcile_engine_close(&mesh->engine);
    sim_disk_crash(mesh->disk, 5);
    assert_int_equal(reconcile_engine_open(&mesh->env, &mesh->engine, &errbuf), ERR_OK);
    assert_int_equal(reconcile_engine_table_version(mesh->engine), 1);
    s_close(mesh);
}

/* What is published and is no table is counted and changes nothing. */
static void test_reconcile_published_junk_is_counted(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 2);
    msg_t msg = {.type = MSG_TABLE};
    msg.as.table.table = slice_text("junk");
    buffer_clear(&mesh->out);
    msg_encode(&msg, &mesh->out);
    reconcile_engine_published(mesh->engine, buffer_slice(&mesh->out), mesh->now);
    reconcile_engine_published(mesh->engine, slice_text("junk"), mesh->now);
    msg = s_state(mesh, 2, true);
    buffer_clear(&mesh->out);
    msg_encode(&msg, &mesh->out);
    reconcile_engine_published(mesh->engine, buffer_slice(&mesh->out), mesh->now);
    assert_int_equal(s_metric(mesh, "reconciler_malformed"), 3);
    assert_int_equal(reconcile_engine_table_version(mesh->engine), 0);
    s_close(mesh);
}

/* -- own nodes --------------------------------------------------------------------------------- */

/* Every own node is asked about every tenant placed here, in turn, one question at a time. */
static void test_reconcile_nodes_are_asked_tenant_by_tenant(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 2);
    reconcile_model_add_tenant(mesh->model, 5, "elsewhere", (region_set_t){1U << 2});
    reconcile_model_add_tenant(mesh->model, 7, "here", (region_set_t){1U << 1 | 1U << 2});
    s_publish_table(mesh);
    s_tick(mesh);
    assert_int_equal(mesh->sent_count, 2);
    assert_int_equal(mesh->sent[0].tenant.value, 1);
    assert_int_equal(mesh->sent[1].tenant.value, 1);
    mesh->silent_shards = 1; /* node 0 has not answered: it is asked nothing more */
    s_nodes_answer(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_READ), 3);
    assert_int_equal(mesh->sent[2].to.shard.value, 1);
    assert_int_equal(mesh->sent[2].tenant.value, 7);
    mesh->silent_shards = 0;
    mesh->answered_count = 0; /* now it does; the others' second answers come too late */
    s_nodes_answer(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_READ), 4);
    assert_int_equal(s_metric(mesh, "reconciler_late"), 2);
    assert_int_equal(s_count_sent(mesh, MSG_RECONCILE_STATE), 2);
    assert_int_equal(mesh->sent[mesh->sent_count - 1].row_count, 4);
    s_close(mesh);
}

/* A node that does not answer is left after the wait; the others and the peers go on. */
static void test_reconcile_silent_node_is_left_for_this_run(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(3);
    mesh->silent_shards = 2;
    s_nodes_answer(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_RECONCILE_STATE), 0);
    int64_t began_ns = mesh->now.mono_ns;
    s_wait(mesh);
    assert_int_equal(mesh->now.mono_ns - began_ns, S_WAIT_MS * s_ms);
    assert_int_equal(s_count_sent(mesh, MSG_RECONCILE_STATE), 2);
    s_whole_run(mesh);
    const reconcile_report_t *report = reconcile_engine_report(mesh->engine);
    assert_int_equal(reconcile_line(report, 1, 1, 1)->found, RECONCILE_FOUND_UNANSWERED);
    assert_int_equal(reconcile_line(report, 1, 1, 0)->found, RECONCILE_FOUND_EQUAL);
    assert_int_equal(reconcile_line(report, 1, 2, 1)->agree_count, 1);
    assert_int_equal(s_metric(mesh, "reconciler_unanswered"), 1);
    s_close(mesh);
}

/* A node that was left is asked about no other tenant in this run, and again in the next one. */
static void test_reconcile_left_node_is_not_asked_again(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 2);
    reconcile_model_add_tenant(mesh->model, 7, "here", (region_set_t){1U << 1});
    s_publish_table(mesh);
    s_tick(mesh);
    mesh->silent_shards = 1;
    s_nodes_answer(mesh);
    s_wait(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_READ), 3);
    assert_int_equal(s_count_sent(mesh, MSG_RECONCILE_STATE), 2);
    s_whole_run(mesh);
    s_wait(mesh);
    mesh->silent_shards = 0;
    s_whole_run(mesh);
    assert_int_equal(reconcile_engine_run_count(mesh->engine), 2);
    assert_int_equal(s_metric(mesh, "reconciler_unanswered"), 0);
    s_close(mesh);
}

/* Nodes that cannot be reached are not waited for. */
static void test_reconcile_unreachable_nodes_cost_no_time(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 3);
    mesh->down_shards = 7;
    s_publish_table(mesh);
    s_tick(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_READ), 0);
    assert_int_equal(s_count_sent(mesh, MSG_RECONCILE_STATE), 2);
    s_whole_run(mesh);
    assert_int_equal(s_metric(mesh, "reconciler_unanswered"), 3);
    assert_int_equal(s_metric(mesh, "reconciler_equal"), 6);
    s_close(mesh);
}

/* A node that is not ready says so: no digest, and nobody waits. */
static void test_reconcile_node_that_is_not_ready_gives_no_digest(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 2);
    mesh->node_code = CODE_UNAVAILABLE;
    s_publish_table(mesh);
    s_tick(mesh);
    s_whole_run(mesh);
    assert_int_equal(s_metric(mesh, "reconciler_runs"), 1);
    assert_int_equal(s_metric(mesh, "reconciler_unanswered"), 2);
    assert_int_equal(s_metric(mesh, "reconciler_malformed"), 0);
    s_close(mesh);
}

/* An answer of another kind, or with a vector of another shard or out of order, is not believed. */
static void test_reconcile_wrong_answer_of_a_node_is_not_believed(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(3);
    msg_t msg = s_digest(mesh, &mesh->sent[0]);
    msg.as.read_reply.kind = READ_LAG;
    memset(&msg.as.read_reply.as, 0, sizeof(msg.as.read_reply.as));
    s_give(mesh, 0, &msg);
    stream_position_t swapped[] = {{reconcile_model_stream(1, 1, 2), 1},
                                   {reconcile_model_stream(1, 1, 1), 1}};
    msg = s_digest(mesh, &mesh->sent[1]);
    msg.as.read_reply.applied = swapped;
    s_give(mesh, 0, &msg);
    stream_position_t foreign[] = {{reconcile_model_stream(1, 1, 1), 1}};
    msg = s_digest(mesh, &mesh->sent[2]);
    msg.as.read_reply.applied = foreign;
    msg.as.read_reply.applied_count = 1;
    s_give(mesh, 0, &msg);
    reconcile_engine_turn_end(mesh->engine, mesh->now);
    assert_int_equal(s_metric(mesh, "reconciler_malformed"), 3);
    assert_int_equal(s_count_sent(mesh, MSG_RECONCILE_STATE), 2);
    s_peer_answers(mesh, 2);
    s_peer_answers(mesh, 3);
    assert_int_equal(s_metric(mesh, "reconciler_unanswered"), 3);
    s_close(mesh);
}

/* All questions together have a bound: one node, twelve tenants, each answer 900 ms after its
 * question, in time. */
static void test_reconcile_questions_end_in_half_a_period(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 1);
    for (uint64_t tenant = 2; tenant <= 12; tenant++) {
        char name[] = "tenant-a";
        name[7] = (char)('a' + tenant);
        reconcile_model_add_tenant(mesh->model, tenant, name, (region_set_t){1U << 1});
    }
    s_publish_table(mesh);
    s_tick(mesh);
    while (s_count_sent(mesh, MSG_RECONCILE_STATE) == 0) {
        mesh->now.mono_ns += 900 * s_ms;
        s_sent_t question = mesh->sent[mesh->sent_count - 1];
        msg_t msg = s_digest(mesh, &question);
        s_give(mesh, 0, &msg);
        s_tick(mesh);
    }
    assert_int_equal(mesh->now.mono_ns, (50 + 3 * 900) * s_ms);
    s_sent_t open = mesh->sent[mesh->sent_count - 3]; /* before the two states */
    assert_int_equal(open.type, MSG_READ);
    msg_t msg = s_digest(mesh, &open);
    s_give(mesh, 0, &msg);
    assert_int_equal(s_metric(mesh, "reconciler_late"), 1);
    s_close(mesh);
}

/* -- peers ------------------------------------------------------------------------------------- */

/* The run ends when all have answered; everything is equal. */
static void test_reconcile_run_ends_when_all_have_answered(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    mesh->now.mono_ns += 3 * s_ms;
    s_nodes_answer(mesh);
    s_peer_answers(mesh, 3);
    assert_int_equal(reconcile_engine_run_count(mesh->engine), 0);
    s_peer_answers(mesh, 2);
    assert_int_equal(reconcile_engine_run_count(mesh->engine), 1);
    assert_int_equal(s_metric(mesh, "reconciler_compared"), 6);
    assert_int_equal(s_metric(mesh, "reconciler_equal"), 6);
    assert_int_equal(s_metric(mesh, "reconciler_lagging"), 0);
    assert_int_equal(s_metric(mesh, "reconciler_diverged"), 0);
    assert_int_equal(s_metric(mesh, "reconciler_silent_peers"), 0);
    assert_int_equal(s_metric(mesh, "reconciler_last_ms"), 3);
    assert_int_equal(reconcile_engine_deadline_ns(mesh->engine), (50 + S_PERIOD_MS) * s_ms);
    assert_int_equal(reconcile_engine_view(mesh->engine).wall_ns, mesh->now.wall_ns);
    s_close(mesh);
}

/* A silent peer ends with the wait, is reported, and the rest was compared. */
static void test_reconcile_silent_peer_is_reported(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    s_whole_run(mesh);
    s_wait(mesh);
    int64_t began_ns = mesh->now.mono_ns;
    s_nodes_answer(mesh);
    s_peer_answers(mesh, 3);
    s_wait(mesh);
    const reconcile_report_t *report = reconcile_engine_report(mesh->engine);
    assert_int_equal(mesh->now.mono_ns - began_ns, S_WAIT_MS * s_ms);
    assert_int_equal(report->silent.bits, 1U << 2);
    assert_int_equal(report->newly_silent.bits, 1U << 2);
    assert_int_equal(s_metric(mesh, "reconciler_silent_peers"), 1);
    assert_int_equal(s_metric(mesh, "reconciler_equal"), 4);
    /* What it says after that run does not speak for it in the next one. */
    s_peer_answers(mesh, 2);
    s_wait(mesh);
    s_nodes_answer(mesh);
    s_peer_answers(mesh, 3);
    s_wait(mesh);
    assert_int_equal(s_metric(mesh, "reconciler_silent_peers"), 1);
    assert_int_equal(reconcile_engine_report(mesh->engine)->newly_silent.bits, 0);
    s_close(mesh);
}

/* Peers that cannot be reached are not waited for. */
static void test_reconcile_unreachable_peers_cost_no_time(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 2);
    mesh->unreachable = (region_set_t){1U << 2 | 1U << 3};
    s_publish_table(mesh);
    s_tick(mesh);
    s_nodes_answer(mesh);
    assert_int_equal(reconcile_engine_run_count(mesh->engine), 1);
    assert_int_equal(s_metric(mesh, "reconciler_silent_peers"), 2);
    assert_int_equal(s_metric(mesh, "reconciler_compared"), 0);
    s_close(mesh);
}

/* A peer's question is answered with the latest own state, in its handle, and counts as its state.
 */
static void test_reconcile_question_of_a_peer_is_answered(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    msg_t msg = s_state(mesh, 2, false);
    s_give(mesh, S_HANDLE, &msg); /* no own state yet: nothing to say */
    assert_int_equal(s_count_sent(mesh, MSG_RECONCILE_STATE), 0);
    assert_int_equal(mesh->forgotten_count, 1);
    s_nodes_answer(mesh);
    s_peer_answers(mesh, 3);
    assert_int_equal(reconcile_engine_run_count(mesh->engine), 1); /* 2 was heard before */
    s_give(mesh, S_HANDLE, &msg);
    const s_sent_t *answer = &mesh->sent[mesh->sent_count - 1];
    assert_int_equal(answer->reply_to, S_HANDLE);
    assert_true(answer->answer);
    assert_int_equal(answer->row_count, 2);
    assert_int_equal(mesh->forgotten_count, 2);
    s_close(mesh);
}

/* An answer is never answered, whatever handle it came with: two reconcilers would go on for ever.
 */
static void test_reconcile_answer_is_not_answered(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    s_whole_run(mesh);
    uint32_t sent = mesh->sent_count;
    msg_t msg = s_state(mesh, 2, true);
    s_give(mesh, S_HANDLE, &msg);
    assert_int_equal(mesh->sent_count, sent);
    assert_int_equal(mesh->forgotten_count, 1);
    s_close(mesh);
}

/* A state is refused whole, and counted, when its sender may not say it. */
static void test_reconcile_state_of_the_wrong_sender_is_refused(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    s_nodes_answer(mesh);
    static const process_address_t s_wrong[] = {
        {PROCESS_RECONCILER, {1}, {0}}, /* this region itself */
        {PROCESS_RECONCILER, {4}, {0}}, /* no region of the topology */
        {PROCESS_RECONCILER, {2}, {1}}, /* no process of the topology */
        {PROCESS_SHIPPER, {2}, {0}},    {PROCESS_CONTROL, {0}, {0}},
    };
    for (size_t i = 0; i < sizeof(s_wrong) / sizeof(s_wrong[0]); i++) {
        msg_t msg = s_state(mesh, 2, true);
        msg.as.reconcile_state.from = s_wrong[i];
        s_give(mesh, 0, &msg);
    }
    msg_t msg = s_state(mesh, 2, true);
    msg.as.reconcile_state.rows = mesh->model->rows[3]; /* another region's nodes */
    s_give(mesh, 0, &msg);
    msg = s_state(mesh, 1, true); /* this region's nodes, by whoever plays this reconciler */
    s_give(mesh, 0, &msg);
    assert_int_equal(s_metric(mesh, "reconciler_refused_states"), 7);
    s_peer_answers(mesh, 3);
    assert_int_equal(reconcile_engine_run_count(mesh->engine), 0); /* 2 was not heard */
    s_wait(mesh);
    assert_int_equal(s_metric(mesh, "reconciler_silent_peers"), 1);
    s_close(mesh);
}

/* Rows out of order or twice, a shard that there is not, vectors of other tenants, shards or
 * unknown regions, or out of order: the state is refused. */
static void test_reconcile_state_in_disorder_is_refused(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    for (int i = 0; i < 7; i++) {
        msg_t msg = s_state(mesh, 2, true);
        msg_reconcile_row_t rows[2] = {mesh->model->rows[2][0], mesh->model->rows[2][1]};
        stream_position_t applied[2] = {mesh->model->applied[2][0][0],
                                        mesh->model->applied[2][0][1]};
        rows[0].applied = applied;
        msg.as.reconcile_state.rows = rows;
        if (i == 0) {
            rows[0] = mesh->model->rows[2][1];
            rows[1] = mesh->model->rows[2][0];
        } else if (i == 1) {
            rows[1] = rows[0];
        } else if (i == 2) {
            rows[1].node.shard.value = 2;
            rows[1].applied_count = 0;
        } else if (i == 3) {
            applied[1].stream.tenant.value = 2;
        } else if (i == 4) {
            applied[1].stream.origin.shard.value = 1;
        } else if (i == 5) {
            applied[1].stream.origin.region.value = 9;
        } else {
            applied[1] = applied[0];
        }
        s_give(mesh, 0, &msg);
    }
    assert_int_equal(s_metric(mesh, "reconciler_refused_states"), 7);
    assert_int_equal(s_metric(mesh, "reconciler_malformed"), 0);
    s_close(mesh);
}

/* Rows of a tenant that the table does not know, or does not place there, are left out and counted;
 * the others of the same state are compared. */
static void test_reconcile_rows_of_wrong_tenants_are_left_out(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 1);
    reconcile_model_add_tenant(mesh->model, 7, "here", (region_set_t){1U << 1 | 1U << 3});
    s_publish_table(mesh);
    s_tick(mesh);
    s_nodes_answer(mesh);
    stream_position_t applied[2] = {{reconcile_model_stream(7, 0, 1), 1},
                                    {reconcile_model_stream(8, 0, 1), 1}};
    msg_reconcile_row_t rows[3] = {mesh->model->rows[2][0], mesh->model->rows[2][0],
                                   mesh->model->rows[2][0]};
    for (uint64_t i = 0; i < 2; i++) {
        rows[i + 1].tenant.value = 7 + i;
        rows[i + 1].applied = &applied[i];
        rows[i + 1].applied_count = 1;
    }
    msg_t msg = s_state(mesh, 2, true);
    msg.as.reconcile_state.rows = rows;
    msg.as.reconcile_state.row_count = 3;
    s_give(mesh, 0, &msg);
    s_peer_answers(mesh, 3);
    assert_int_equal(s_metric(mesh, "reconciler_refused_rows"), 2);
    assert_int_equal(s_metric(mesh, "reconciler_refused_states"), 0);
    assert_int_equal(s_metric(mesh, "reconciler_compared"), 5);
    assert_int_equal(s_metric(mesh, "reconciler_equal"), 5);
    s_close(mesh);
}

/* Bytes that are no message, and messages that a reconciler is not sent, are counted; their handles
 * are given back. */
static void test_reconcile_malformed_messages_are_counted(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    reconcile_engine_message(mesh->engine, S_HANDLE, slice_text("junk"), mesh->now);
    reconcile_engine_message(mesh->engine, 0, slice_make(NULL, 0), mesh->now);
    msg_t msg = s_digest(mesh, &mesh->sent[0]);
    s_give(mesh, S_HANDLE, &msg); /* a reply that is a request */
    msg = (msg_t){.type = MSG_TABLE_REQUEST};
    s_give(mesh, S_HANDLE, &msg);
    msg = s_state(mesh, 2, true);
    buffer_clear(&mesh->out);
    msg_encode(&msg, &mesh->out);
    slice_t torn = {mesh->out.data, mesh->out.size - 1};
    reconcile_engine_message(mesh->engine, 0, torn, mesh->now);
    assert_int_equal(s_metric(mesh, "reconciler_malformed"), 5);
    assert_int_equal(mesh->forgotten_count, 3);
    s_whole_run(mesh);
    assert_int_equal(s_metric(mesh, "reconciler_equal"), 6);
    s_close(mesh);
}

/* -- findings ---------------------------------------------------------------------------------- */

/* Goal: the order in which peers and nodes answer leaves no trace. Method: five regions, one
 * diverged, one lagging; all in turn answer first, last, before and after the own nodes. */
static void test_reconcile_order_of_answers_leaves_no_trace(void **state)
{
    (void)state;
    static const uint16_t s_orders[][4] = {{2, 3, 4, 5}, {5, 4, 3, 2}, {3, 5, 2, 4},
                                           {4, 2, 5, 3}, {2, 5, 4, 3}, {4, 3, 2, 5}};
    for (uint32_t i = 0; i < 6 * 5; i++) {
        const uint16_t *order = s_orders[i / 5];
        uint32_t before = i % 5; /* that ask before the own nodes have answered */
        s_mesh_t *mesh = s_open(5, 2);
        reconcile_model_set_digest(mesh->model, (node_id_t){{4}, {1}}, 1, 0xee);
        reconcile_model_set_seq(mesh->model, (node_id_t){{2}, {0}}, 1, 1, 60);
        s_publish_table(mesh);
        s_tick(mesh);
        for (uint32_t p = 0; p < before; p++) {
            s_peer_answers(mesh, order[p]);
        }
        s_nodes_answer(mesh);
        for (uint32_t p = before; p < 4; p++) {
            s_peer_answers(mesh, order[p]);
        }
        const reconcile_report_t *report = reconcile_engine_report(mesh->engine);
        assert_int_equal(reconcile_engine_run_count(mesh->engine), 1);
        assert_int_equal(report->line_count, 10);
        assert_int_equal(report->lines[0].node.region.value, 4);
        assert_int_equal(report->lines[0].found, RECONCILE_FOUND_DIVERGED);
        assert_int_equal(report->lines[0].expected_count, 4);
        assert_int_equal(report->lines[1].node.region.value, 2);
        assert_int_equal(report->lines[1].missing_count, 40);
        for (uint32_t l = 2; l < 10; l++) {
            assert_int_equal(report->lines[l].found, RECONCILE_FOUND_EQUAL);
        }
        s_close(mesh);
    }
}

/* A divergence stands in metrics and reason, is new once, and leaves the process ready. */
static void test_reconcile_divergence_is_told(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    const char *reason = "";
    reconcile_model_set_digest(mesh->model, (node_id_t){{1}, {1}}, 1, 0xee); /* the own node */
    s_whole_run(mesh);
    assert_int_equal(s_metric(mesh, "reconciler_diverged"), 1);
    assert_true(reconcile_engine_is_ready(mesh->engine, &reason));
    assert_non_null(strstr(reason, "DIVERGED: 1 of 6"));
    assert_non_null(strstr(reason, "shard-us-east-1, tenant default"));
    assert_true(reconcile_engine_report(mesh->engine)->lines[0].is_new);
    s_wait(mesh);
    s_whole_run(mesh);
    assert_int_equal(reconcile_engine_run_count(mesh->engine), 2);
    assert_false(reconcile_engine_report(mesh->engine)->lines[0].is_new);
    reconcile_model_set_digest(mesh->model, (node_id_t){{1}, {1}}, 1, 0x11);
    s_wait(mesh);
    s_whole_run(mesh);
    assert_true(reconcile_engine_is_ready(mesh->engine, &reason));
    assert_string_equal(reason, "");
    assert_int_equal(s_metric(mesh, "reconciler_diverged"), 0);
    s_close(mesh);
}

/* Lag is listed when it has lasted ten seconds: runs at 0, 4, 8 and 12 s. */
static void test_reconcile_lasting_lag_is_listed(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(1);
    reconcile_model_set_seq(mesh->model, (node_id_t){{3}, {0}}, 1, 2, 10);
    for (int run = 0; run < 4; run++) {
        s_whole_run(mesh);
        const reconcile_line_t *line =
            reconcile_line(reconcile_engine_report(mesh->engine), 1, 3, 0);
        assert_int_equal(reconcile_engine_run_count(mesh->engine), run + 1);
        assert_int_equal(line->found, RECONCILE_FOUND_LAGGING);
        assert_int_equal(line->is_listed, run == 3);
        assert_int_equal(line->lag_ms, run * S_PERIOD_MS);
        s_wait(mesh);
    }
    s_close(mesh);
}

/* -- limits ------------------------------------------------------------------------------------ */

/* A run in which nobody answers anything still ends before the next one is due. */
static void test_reconcile_run_always_ends_in_its_period(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    mesh->silent_shards = 3;
    for (int run = 1; run <= 3; run++) {
        int64_t began_ns = mesh->now.mono_ns;
        while (reconcile_engine_run_count(mesh->engine) < (uint64_t)run) {
            s_wait(mesh);
        }
        assert_true(mesh->now.mono_ns - began_ns < S_PERIOD_MS * s_ms);
        s_wait(mesh);
        assert_int_equal(mesh->now.mono_ns - began_ns, S_PERIOD_MS * s_ms);
    }
    s_close(mesh);
}

/* The list of metrics is cut where the caller has no more room. */
static void test_reconcile_metrics_stay_in_their_room(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 2);
    msg_metric_t metrics[2];
    assert_int_equal(reconcile_engine_metrics(mesh->engine, metrics, 2), 2);
    assert_int_equal(reconcile_engine_metrics(mesh->engine, metrics, 0), 0);
    s_close(mesh);
}

/* A tenant that is dropped while the nodes are asked: its answers are taken and not compared. */
static void test_reconcile_table_may_change_within_a_run(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_open(3, 1);
    table_t *before = table_next(mesh->model->table);
    table_t *after = table_next(before);
    table_destroy(&before);
    reconcile_model_add_tenant(mesh->model, 7, "shop", topology_regions(&mesh->model->topology));
    s_publish_table(mesh);
    s_tick(mesh);
    table_destroy(&mesh->model->table);
    mesh->model->table = after;
    s_publish_table(mesh);
    s_whole_run(mesh);
    assert_int_equal(reconcile_engine_run_count(mesh->engine), 1);
    assert_int_equal(reconcile_engine_report(mesh->engine)->line_count, 3);
    assert_int_equal(s_metric(mesh, "reconciler_equal"), 3);
    assert_int_equal(s_metric(mesh, "reconciler_refused_rows"), 2);
    s_close(mesh);
}

/* -- checks ------------------------------------------------------------------------------------ */

/* The question of this kind that was sent last; fails when there is none. */
static const s_sent_t *s_last(const s_mesh_t *mesh, msg_type_t type)
{
    uint32_t index = mesh->sent_count;
    while (index > 0 && mesh->sent[index - 1].type != type) {
        index--;
    }
    assert_int_not_equal(index, 0);
    return &mesh->sent[index - 1];
}

static msg_t s_rebuilt(uint64_t request_id, bool different)
{
    static const msg_difference_t s_entry = {
        .key = {(const uint8_t *)"cell item 7 signal 2", 20},
        .found = {(const uint8_t *)"30 bytes", 8},
        .expected = {(const uint8_t *)"31 \"bytes\"", 10},
    };
    msg_t msg = {.type = MSG_REBUILD_REPLY};
    msg.as.rebuild_reply = (msg_rebuild_reply_t){.request_id = request_id,
                                                 .tenant = {1},
                                                 .code = CODE_OK,
                                                 .different = different,
                                                 .event_count = 150,
                                                 .took_ms = 12,
                                                 .difference_count = different ? 1 : 0,
                                                 .listed_count = different ? 1 : 0,
                                                 .listed = &s_entry};
    memset(msg.as.rebuild_reply.found, 0xee, MSG_HASH_SIZE);
    memset(msg.as.rebuild_reply.rebuilt, 0x10, MSG_HASH_SIZE);
    return msg;
}

/* A replica with another digest at the same vector, wherever it is: the own node of that shard is
 * asked in that very run. What it answers stands in the report and in every later one. */
static void test_reconcile_suspect_own_replica_is_checked(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(2);
    reconcile_model_set_digest(mesh->model, (node_id_t){{3}, {0}}, 1, 0xee);
    s_whole_run(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_REBUILD), 1);
    s_sent_t question = *s_last(mesh, MSG_REBUILD);
    assert_true(process_address_equal(question.to, (process_address_t){PROCESS_NODE, {1}, {0}}));
    uint64_t revision = reconcile_engine_revision(mesh->engine);
    msg_t msg = s_rebuilt(question.request_id, true);
    s_give(mesh, 0, &msg);
    assert_int_equal(reconcile_engine_revision(mesh->engine), revision + 1);
    const reconcile_report_t *report = reconcile_engine_report(mesh->engine);
    assert_int_equal(report->repair_count, 1);
    assert_true(report->repairs[0].different);
    assert_string_equal(report->repairs[0].listed[0].key, "cell item 7 signal 2");
    assert_string_equal(report->repairs[0].listed[0].expected, "31 ?bytes?");
    assert_int_equal(s_metric(mesh, "reconciler_repaired"), 1);
    assert_int_equal(s_metric(mesh, "reconciler_repaired_entries"), 1);
    reconcile_model_set_digest(mesh->model, (node_id_t){{3}, {0}}, 1, 0x10);
    s_wait(mesh);
    s_whole_run(mesh);
    report = reconcile_engine_report(mesh->engine);
    assert_int_equal(report->found_counts[RECONCILE_FOUND_DIVERGED], 0);
    assert_int_equal(report->repair_count, 1);
    assert_int_equal(s_count_sent(mesh, MSG_REBUILD), 1);
    s_close(mesh);
}

/* While no answer came it is asked again; only the answer to the last question counts, once. */
static void test_reconcile_check_without_answer_is_asked_again(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(1);
    reconcile_model_set_digest(mesh->model, (node_id_t){{3}, {0}}, 1, 0xee);
    s_whole_run(mesh);
    uint64_t first = s_last(mesh, MSG_REBUILD)->request_id;
    s_wait(mesh);
    s_whole_run(mesh);
    uint64_t second = s_last(mesh, MSG_REBUILD)->request_id;
    assert_int_equal(s_count_sent(mesh, MSG_REBUILD), 2);
    assert_true(second != first);
    msg_t late = s_rebuilt(first, false);
    msg_t answer = s_rebuilt(second, false);
    s_give(mesh, 0, &late);
    s_give(mesh, 0, &answer);
    s_give(mesh, 0, &answer);
    assert_int_equal(s_metric(mesh, "reconciler_late"), 2);
    assert_int_equal(reconcile_engine_report(mesh->engine)->repair_count, 1);
    assert_int_equal(s_metric(mesh, "reconciler_repaired"), 0);
    s_close(mesh);
}

/* What an own node lacks in two runs is named to the own receiver, with a region that has it. */
static void test_reconcile_lasting_gap_is_named_to_the_receiver(void **state)
{
    (void)state;
    s_mesh_t *mesh = s_started(1);
    reconcile_model_set_seq(mesh->model, (node_id_t){{1}, {0}}, 1, 2, 20);
    reconcile_model_set_seq(mesh->model, (node_id_t){{3}, {0}}, 1, 1, 10);
    s_whole_run(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_FETCH), 0);
    s_wait(mesh);
    s_whole_run(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_FETCH), 1);
    process_address_t receiver = {PROCESS_RECEIVER, {1}, {0}};
    assert_true(process_address_equal(s_last(mesh, MSG_FETCH)->to, receiver));
    assert_int_equal(mesh->fetch.stream.origin.region.value, 2);
    assert_int_equal(mesh->fetch.through_seq, 50);
    assert_int_equal(mesh->fetch.region.value, 2);
    reconcile_model_set_seq(mesh->model, (node_id_t){{2}, {0}}, 1, 2, 20);
    s_wait(mesh);
    s_whole_run(mesh);
    assert_int_equal(s_count_sent(mesh, MSG_FETCH), 2);
    assert_int_equal(mesh->fetch.region.value, 3);
    assert_int_equal(s_metric(mesh, "reconciler_named"), 2);
    s_close(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reconcile_without_table_nobody_is_asked),
        cmocka_unit_test(test_reconcile_table_outlives_a_restart),
        cmocka_unit_test(test_reconcile_published_junk_is_counted),
        cmocka_unit_test(test_reconcile_nodes_are_asked_tenant_by_tenant),
        cmocka_unit_test(test_reconcile_silent_node_is_left_for_this_run),
        cmocka_unit_test(test_reconcile_left_node_is_not_asked_again),
        cmocka_unit_test(test_reconcile_unreachable_nodes_cost_no_time),
        cmocka_unit_test(test_reconcile_node_that_is_not_ready_gives_no_digest),
        cmocka_unit_test(test_reconcile_wrong_answer_of_a_node_is_not_believed),
        cmocka_unit_test(test_reconcile_questions_end_in_half_a_period),
        cmocka_unit_test(test_reconcile_run_ends_when_all_have_answered),
        cmocka_unit_test(test_reconcile_silent_peer_is_reported),
        cmocka_unit_test(test_reconcile_unreachable_peers_cost_no_time),
        cmocka_unit_test(test_reconcile_question_of_a_peer_is_answered),
        cmocka_unit_test(test_reconcile_answer_is_not_answered),
        cmocka_unit_test(test_reconcile_state_of_the_wrong_sender_is_refused),
        cmocka_unit_test(test_reconcile_state_in_disorder_is_refused),
        cmocka_unit_test(test_reconcile_rows_of_wrong_tenants_are_left_out),
        cmocka_unit_test(test_reconcile_malformed_messages_are_counted),
        cmocka_unit_test(test_reconcile_order_of_answers_leaves_no_trace),
        cmocka_unit_test(test_reconcile_divergence_is_told),
        cmocka_unit_test(test_reconcile_lasting_lag_is_listed),
        cmocka_unit_test(test_reconcile_run_always_ends_in_its_period),
        cmocka_unit_test(test_reconcile_metrics_stay_in_their_room),
        cmocka_unit_test(test_reconcile_table_may_change_within_a_run),
        cmocka_unit_test(test_reconcile_suspect_own_replica_is_checked),
        cmocka_unit_test(test_reconcile_check_without_answer_is_asked_again),
        cmocka_unit_test(test_reconcile_lasting_gap_is_named_to_the_receiver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
