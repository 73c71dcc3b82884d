#include "tests/unit/gateway_support.h"

#include "common/base/check.h"
#include "common/topology/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* -- the network ------------------------------------------------------------------------------- */

static err_t s_send(void *context, process_address_t to, const uint8_t *bytes, size_t size)
{
    gateway_test_t *self = context;
    if (to.kind == PROCESS_NODE && self->send_errors[to.region.value] != ERR_OK) {
        return self->send_errors[to.region.value];
    }
    assert_true(self->sent_count < GATEWAY_SENT_COUNT_MAX);
    gateway_sent_t *sent = &self->sent[self->sent_count++];
    sent->to = to;
    buffer_clear(&sent->bytes);
    buffer_append(&sent->bytes, bytes, size);
    return ERR_OK;
}

static err_t s_reply(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    gateway_test_t *self = context;
    assert_true(reply_to >= 1 && reply_to <= self->handle_count);
    self->reply_counts[reply_to - 1]++;
    buffer_clear(&self->replies[reply_to - 1]);
    buffer_append(&self->replies[reply_to - 1], bytes, size);
    return ERR_OK;
}

static void s_forget(void *context, uint64_t reply_to)
{
    gateway_test_t *self = context;
    assert_true(reply_to >= 1 && reply_to <= self->handle_count);
    self->forget_counts[reply_to - 1]++;
}

static void s_publish(void *context, const char *topic, const uint8_t *bytes, size_t size)
{
    (void)context;
    (void)topic;
    (void)bytes;
    (void)size;
}

/* -- life -------------------------------------------------------------------------------------- */

static void s_open(gateway_test_t *self)
{
    errbuf_t errbuf = {{0}};
    gateway_engine_options_t options = {.version = "1.2.3", .held_size_max = self->held_size_max};
    if (gateway_engine_open(&self->env, &options, self->now, &self->engine, &errbuf) != ERR_OK) {
        fail_msg("open: %s", errbuf.text);
    }
}

gateway_test_t *gateway_test_new_bare(uint32_t region_count, uint32_t shard_count)
{
    gateway_test_t *self = calloc(1, sizeof(*self));
    assert_non_null(self);
    topology_init_default(&self->topology, region_count, shard_count);
    self->disk = sim_disk_new(1);
    self->net = (net_t){self, s_send, s_reply, s_forget, s_publish};
    self->env = (engine_env_t){
        .topology = &self->topology,
        .self = {PROCESS_GATEWAY, self->topology.regions[0].id, {0}},
        .boot = 1,
        .seed = 2,
        .disk = sim_disk_disk(self->disk),
        .net = &self->net,
        .data_folder = "data",
    };
    self->now = (now_t){INT64_C(1000000000), GATEWAY_TEST_WALL_NS};
    self->codec = msg_codec_new();
    s_open(self);
    return self;
}

gateway_test_t *gateway_test_new(uint32_t region_count, uint32_t shard_count)
{
    gateway_test_t *self = gateway_test_new_bare(region_count, shard_count);
    table_t *table = table_new_default(&self->topology);
    gateway_test_publish(self, table, NULL, 0);
    table_destroy(&table);
    return self;
}

void gateway_test_destroy(gateway_test_t **self_p)
{
    gateway_test_t *self = *self_p;
    gateway_engine_close(&self->engine);
    for (uint64_t i = 0; i < self->handle_count; i++) {
        assert_int_equal(self->forget_counts[i], 1);
        assert_true(self->reply_counts[i] <= 1);
    }
    for (uint32_t i = 0; i < GATEWAY_SENT_COUNT_MAX; i++) {
        buffer_done(&self->sent[i].bytes);
    }
    for (uint32_t i = 0; i < GATEWAY_REPLY_COUNT_MAX; i++) {
        buffer_done(&self->replies[i]);
    }
    buffer_done(&self->request);
    buffer_done(&self->scratch);
    msg_codec_destroy(&self->codec);
    sim_disk_destroy(&self->disk);
    free(self);
    *self_p = NULL;
}

void gateway_test_restart(gateway_test_t *self)
{
    gateway_engine_close(&self->engine);
    s_open(self);
}

void gateway_test_publish(gateway_test_t *self,
                          const table_t *table,
                          const stream_position_t *stable,
                          uint32_t stable_count)
{
    buffer_t encoded;
    buffer_init(&encoded);
    table_encode(table, &encoded);
    msg_t msg = {.type = MSG_TABLE};
    msg.as.table = (msg_table_t){.boot = 1,
                                 .publish_seq = 1,
                                 .table = buffer_slice(&encoded),
                                 .stable_count = stable_count,
                                 .stable = stable};
    buffer_clear(&self->scratch);
    msg_encode(&msg, &self->scratch);
    gateway_engine_published(self->engine, buffer_slice(&self->scratch), self->now);
    buffer_done(&encoded);
}

/* -- clients ----------------------------------------------------------------------------------- */

pack_writer_t *gateway_test_request(gateway_test_t *self, const char *op)
{
    buffer_clear(&self->request);
    client_request_begin(&self->writer, &self->request, op, 7);
    return &self->writer;
}

uint64_t gateway_test_ask(gateway_test_t *self)
{
    client_request_end(&self->writer);
    return gateway_test_ask_bytes(self, buffer_slice(&self->request));
}

uint64_t gateway_test_ask_bytes(gateway_test_t *self, slice_t bytes)
{
    assert_true(self->handle_count < GATEWAY_REPLY_COUNT_MAX);
    uint64_t handle = ++self->handle_count;
    /* Exactly as large as it is, so that a sanitizer sees whoever reads on. */
    uint8_t *copy = malloc(bytes.size + (bytes.size == 0 ? 1 : 0));
    assert_non_null(copy);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    gateway_engine_message(self->engine, handle, slice_make(copy, bytes.size), self->now);
    free(copy);
    return handle;
}

bool gateway_test_has_reply(const gateway_test_t *self, uint64_t handle)
{
    return self->reply_counts[handle - 1] > 0;
}

slice_t gateway_test_reply(gateway_test_t *self, uint64_t handle)
{
    assert_int_equal(self->reply_counts[handle - 1], 1);
    slice_t reply = buffer_slice(&self->replies[handle - 1]);
    client_answer_t answer;
    errbuf_t errbuf = {{0}};
    if (client_answer_read(reply, &answer, &errbuf) != ERR_OK) {
        fail_msg("reply: %s", errbuf.text);
    }
    return reply;
}

pack_value_t gateway_test_value(gateway_test_t *self, uint64_t handle, const char *path)
{
    return pack_get(gateway_test_reply(self, handle), path);
}

uint64_t gateway_test_u64(gateway_test_t *self, uint64_t handle, const char *path)
{
    pack_value_t value = gateway_test_value(self, handle, path);
    if (value.kind != PACK_UINT) {
        fail_msg("%s: expected an integer, found %s", path, pack_kind_name(value.kind));
    }
    return value.as.uint;
}

void gateway_test_expect_code(gateway_test_t *self, uint64_t handle, code_t code)
{
    client_answer_t answer = {0};
    errbuf_t errbuf = {{0}};
    slice_t reply = gateway_test_reply(self, handle);
    assert_int_equal(client_answer_read(reply, &answer, &errbuf), ERR_OK);
    if (answer.code != code) {
        fail_msg("expected %s, found %s: %.*s", code_name(code), code_name(answer.code),
                 (int)answer.message.size, (const char *)answer.message.data);
    }
}

void gateway_test_expect_text(gateway_test_t *self,
                              uint64_t handle,
                              const char *path,
                              const char *text)
{
    pack_value_t value = gateway_test_value(self, handle, path);
    if (value.kind != PACK_STR) {
        fail_msg("%s: expected a str, found %s", path, pack_kind_name(value.kind));
    }
    if (!slice_equal(value.as.bytes, slice_text(text))) {
        fail_msg("%s: expected %s, found %.*s", path, text, (int)value.as.bytes.size,
                 (const char *)value.as.bytes.data);
    }
}

/* -- nodes ------------------------------------------------------------------------------------- */

static bool s_is_probe(const msg_t *msg)
{
    enum { S_PROBE_SLOT = 0xffff };
    return msg->type == MSG_READ &&
           ((msg->as.read.request_id >> 16) & S_PROBE_SLOT) == S_PROBE_SLOT;
}

void gateway_test_decode(gateway_test_t *self, const gateway_sent_t *sent, msg_t *ret_msg)
{
    errbuf_t errbuf = {{0}};
    if (msg_decode(self->codec, buffer_slice(&sent->bytes), ret_msg, &errbuf) != ERR_OK) {
        fail_msg("sent: %s", errbuf.text);
    }
}

bool gateway_test_next(gateway_test_t *self, node_id_t *ret_to, msg_t *ret_msg)
{
    while (self->taken_count < self->sent_count) {
        gateway_sent_t *sent = &self->sent[self->taken_count++];
        gateway_test_decode(self, sent, ret_msg);
        if (sent->to.kind != PROCESS_NODE || s_is_probe(ret_msg)) {
            continue;
        }
        *ret_to = (node_id_t){sent->to.region, sent->to.shard};
        bool is_pair = ret_msg->type == MSG_READ && ret_msg->as.read.kind == READ_PAIR;
        if (!is_pair || self->takes_pairs) {
            return true;
        }
        msg_t answer = gateway_test_read_reply(&ret_msg->as.read, CODE_OK);
        gateway_test_answer(self, *ret_to, &answer);
    }
    return false;
}

node_id_t gateway_test_take(gateway_test_t *self, msg_t *ret_msg)
{
    node_id_t to = {{0}, {0}};
    if (!gateway_test_next(self, &to, ret_msg)) {
        fail_msg("expected a message to a node, found none");
    }
    return to;
}

void gateway_test_expect_silence(gateway_test_t *self)
{
    node_id_t to;
    msg_t msg;
    if (gateway_test_next(self, &to, &msg)) {
        fail_msg("expected no message, found type %d to region %u shard %u", (int)msg.type,
                 to.region.value, to.shard.value);
    }
}

void gateway_test_answer(gateway_test_t *self, node_id_t from, const msg_t *msg)
{
    process_address_t address = {PROCESS_NODE, from.region, from.shard};
    buffer_clear(&self->scratch);
    msg_encode(msg, &self->scratch);
    gateway_engine_message_from_node(self->engine, address, buffer_slice(&self->scratch),
                                     self->now);
}

stream_id_t gateway_test_stream(node_id_t node)
{
    return (stream_id_t){.tenant = {1}, .incarnation = 0xabc, .origin = node};
}

msg_t gateway_test_write_ok(const gateway_test_t *self, node_id_t from, const msg_write_t *write)
{
    msg_t msg = {.type = MSG_WRITE_REPLY};
    bool has_stamp = write->hlc.wall_ns != 0;
    msg.as.write_reply = (msg_write_reply_t){
        .request_id = write->request_id,
        .code = CODE_OK,
        .durability = write->level,
        .replicas = topology_regions(&self->topology),
        .has_position = true,
        .stream = gateway_test_stream(from),
        .first_seq = 1,
        .last_seq = write->event_count,
        .hlc = has_stamp ? write->hlc : (hlc_stamp_t){self->now.wall_ns, 0, 1u << 16},
    };
    return msg;
}

msg_t gateway_test_write_refused(const msg_write_t *write, code_t code, region_id_t leader)
{
    msg_t msg = {.type = MSG_WRITE_REPLY};
    msg.as.write_reply = (msg_write_reply_t){.request_id = write->request_id,
                                             .code = code,
                                             .message = slice_text("scripted"),
                                             .leader = leader};
    return msg;
}

msg_t gateway_test_read_reply(const msg_read_t *read, code_t code)
{
    msg_t msg = {.type = MSG_READ_REPLY};
    msg.as.read_reply.request_id = read->request_id;
    msg.as.read_reply.code = code;
    msg.as.read_reply.message = slice_text(code == CODE_OK ? "" : "scripted");
    msg.as.read_reply.kind = read->kind;
    msg.as.read_reply.as_of_ns = read->at_ns;
    return msg;
}

/* -- time -------------------------------------------------------------------------------------- */

static void s_answer_probes(gateway_test_t *self, uint32_t first, region_set_t cut)
{
    for (uint32_t i = first; i < self->sent_count; i++) {
        gateway_sent_t *sent = &self->sent[i];
        msg_t msg;
        gateway_test_decode(self, sent, &msg);
        if (s_is_probe(&msg) && !region_set_has(cut, sent->to.region)) {
            msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_OK);
            gateway_test_answer(self, (node_id_t){sent->to.region, sent->to.shard}, &answer);
        }
    }
}

void gateway_test_run_ms(gateway_test_t *self, int64_t ms, region_set_t cut)
{
    enum { S_STEP_MS = 10, S_NS_PER_MS = 1000000 };
    for (int64_t passed_ms = 0; passed_ms < ms; passed_ms += S_STEP_MS) {
        uint32_t first = self->sent_count;
        self->now.mono_ns += (int64_t)S_STEP_MS * S_NS_PER_MS;
        self->now.wall_ns += (int64_t)S_STEP_MS * S_NS_PER_MS;
        if (gateway_engine_deadline_ns(self->engine) <= self->now.mono_ns) {
            gateway_engine_tick(self->engine, self->now);
        }
        gateway_engine_turn_end(self->engine, self->now);
        s_answer_probes(self, first, cut);
    }
}

uint64_t gateway_test_entity(const gateway_test_t *self, uint16_t shard, uint32_t n)
{
    for (uint64_t entity = 1;; entity++) {
        if (route_shard(TENANT_DEFAULT, entity, self->topology.shard_count).value == shard &&
            n-- == 0) {
            return entity;
        }
    }
}
