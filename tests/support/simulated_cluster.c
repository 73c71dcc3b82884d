#include "common/base/check.h"
#include "common/topology/process.h"
#include "common/topology/route.h"
#include "tests/support/simulated_cluster_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    S_ANSWER_TIMEOUT_MS = 10000,
    S_TABLE_MS = 10,        /* for a table to reach every process */
    S_STABLE_COUNT_MAX = 32 /* streams of a shard */
};

static now_t s_now(const simulated_cluster_t *self)
{
    return (now_t){self->now_ns, SIMULATED_START_WALL_NS + self->now_ns};
}

/* -- processes --------------------------------------------------------------------------------- */

static void s_on_message(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    simulated_process_t *process = context;
    simulated_cluster_t *self = process->cluster;
    self->now_ns = sim_network_now_ns(self->network);
    slice_t body = slice_make(bytes, size);
    process->has_input = true;
    if (process->node != NULL) {
        node_engine_message(process->node, reply_to, body, s_now(self));
    } else if (process->receiver != NULL) {
        receiver_engine_message(process->receiver, reply_to, body, s_now(self));
    } else if (process->reconciler != NULL) {
        reconcile_engine_message(process->reconciler, reply_to, body, s_now(self));
    } else {
        shipper_engine_message(process->shipper, body, s_now(self));
    }
}

static void s_on_published(void *context, const char *topic, const uint8_t *bytes, size_t size)
{
    (void)topic;
    simulated_process_t *process = context;
    simulated_cluster_t *self = process->cluster;
    self->now_ns = sim_network_now_ns(self->network);
    slice_t body = slice_make(bytes, size);
    if (process->is_deaf && sim_network_sender(self->network).kind == PROCESS_RECEIVER) {
        return;
    }
    process->has_input = true;
    if (process->node != NULL) {
        node_engine_published(process->node, body, s_now(self));
    } else if (process->receiver != NULL) {
        receiver_engine_published(process->receiver, body, s_now(self));
    } else if (process->reconciler != NULL) {
        reconcile_engine_published(process->reconciler, body, s_now(self));
    } else {
        shipper_engine_published(process->shipper, body, s_now(self));
    }
}

static const process_address_t s_control = {PROCESS_CONTROL, {0}, {0}};

process_address_t simulated_address(process_kind_t kind, region_id_t region)
{
    return (process_address_t){kind, region, {0}};
}

static void s_subscribe(simulated_cluster_t *self, const simulated_process_t *process)
{
    region_id_t region = process->address.region;
    sim_network_subscribe(self->network, process->address, s_control, ENGINE_TOPIC_TABLE);
    if (process->address.kind == PROCESS_NODE) {
        char topic[ENGINE_TOPIC_SIZE];
        shard_id_t shard = process->address.shard;
        process_address_t receiver = simulated_address(PROCESS_RECEIVER, region);
        process_address_t shipper = simulated_address(PROCESS_SHIPPER, region);
        sim_network_subscribe(self->network, process->address, receiver,
                              ENGINE_TOPIC_AVAILABLE ENGINE_TOPIC_ALL);
        sim_network_subscribe(self->network, process->address, receiver,
                              engine_shard_topic(ENGINE_TOPIC_AVAILABLE, shard, topic));
        sim_network_subscribe(self->network, process->address, shipper,
                              ENGINE_TOPIC_CONFIRMED ENGINE_TOPIC_ALL);
        sim_network_subscribe(self->network, process->address, shipper,
                              engine_shard_topic(ENGINE_TOPIC_CONFIRMED, shard, topic));
    } else if (process->address.kind == PROCESS_SHIPPER) {
        for (uint16_t shard = 0; shard < self->topology.shard_count; shard++) {
            process_address_t node = {PROCESS_NODE, region, {shard}};
            sim_network_subscribe(self->network, process->address, node, ENGINE_TOPIC_POSITIONS);
        }
        sim_network_subscribe(self->network, process->address,
                              simulated_address(PROCESS_RECEIVER, region), ENGINE_TOPIC_AVAILABLE);
    }
}

static void s_open_engine(simulated_process_t *process)
{
    simulated_cluster_t *self = process->cluster;
    errbuf_t errbuf = {{0}};
    err_t err = ERR_OK;
    if (process->address.kind == PROCESS_NODE) {
        process->store = store_memory_store(process->memory);
        err =
            node_engine_open(&process->env, &process->store, s_now(self), &process->node, &errbuf);
    } else if (process->address.kind == PROCESS_RECEIVER) {
        err = receiver_engine_open(&process->env, &process->receiver, &errbuf);
    } else if (process->address.kind == PROCESS_RECONCILER) {
        err = reconcile_engine_open(&process->env, &process->reconciler, &errbuf);
    } else {
        err = shipper_engine_open(&process->env, &process->shipper, &errbuf);
    }
    if (err != ERR_OK) {
        (void)fprintf(stderr, "simulated cluster: %s: %s\n", err_text(err), errbuf.text);
    }
    CHECK(err == ERR_OK);
}

void simulated_process_start(simulated_process_t *process)
{
    simulated_cluster_t *self = process->cluster;
    CHECK(!process->is_up);
    process->life++;
    sim_network_receiver_t receiver = {process, s_on_message, s_on_published};
    process->net = sim_network_attach(self->network, process->address, receiver);
    process->env = (engine_env_t){
        .topology = &self->topology,
        .self = process->address,
        .boot = prng_next(&self->prng),
        .seed = prng_next(&self->prng),
        .disk = sim_disk_disk(self->disks[process->address.region.value]),
        .net = &process->net,
        .data_folder = SIMULATED_DATA,
    };
    s_open_engine(process);
    s_subscribe(self, process);
    process->is_up = true;
    process->has_input = true;
}

void simulated_process_stop(simulated_process_t *process)
{
    node_engine_close(&process->node);
    shipper_engine_close(&process->shipper);
    receiver_engine_close(&process->receiver);
    reconcile_engine_close(&process->reconciler);
    if (process->is_up) {
        sim_network_detach(process->cluster->network, process->address, SIM_NETWORK_SENT_ARRIVES);
    }
    if (process->memory != NULL) {
        store_memory_crash(process->memory);
    }
    process->is_up = false;
}

simulated_process_t *simulated_process_find(const simulated_cluster_t *self,
                                            process_address_t address)
{
    for (uint32_t i = 0; i < self->process_count; i++) {
        if (process_address_equal(self->processes[i].address, address)) {
            return &self->processes[i];
        }
    }
    CHECK(false);
    return NULL;
}

static int64_t s_deadline_ns(const simulated_process_t *process)
{
    if (!process->is_up) {
        return INT64_MAX;
    }
    if (process->node != NULL) {
        return node_engine_deadline_ns(process->node);
    }
    if (process->reconciler != NULL) {
        return reconcile_engine_deadline_ns(process->reconciler);
    }
    return process->receiver != NULL ? receiver_engine_deadline_ns(process->receiver)
                                     : shipper_engine_deadline_ns(process->shipper);
}

/* Ticks when it is time, and ends the turn. */
static void s_turn(simulated_process_t *process)
{
    simulated_cluster_t *self = process->cluster;
    errbuf_t errbuf = {{0}};
    err_t err = ERR_OK;
    bool is_due = s_deadline_ns(process) <= self->now_ns;
    process->has_input = false;
    if (process->node != NULL) {
        err = is_due ? node_engine_tick(process->node, s_now(self), &errbuf) : ERR_OK;
        err = err == ERR_OK ? node_engine_turn_end(process->node, s_now(self), &errbuf) : err;
    } else if (process->receiver != NULL) {
        if (is_due) {
            receiver_engine_tick(process->receiver, s_now(self));
        }
        err = receiver_engine_turn_end(process->receiver, s_now(self), &errbuf);
    } else if (process->reconciler != NULL) {
        if (is_due) {
            reconcile_engine_tick(process->reconciler, s_now(self));
        }
        reconcile_engine_turn_end(process->reconciler, s_now(self));
    } else {
        if (is_due) {
            shipper_engine_tick(process->shipper, s_now(self));
        }
        shipper_engine_turn_end(process->shipper, s_now(self));
    }
    if (err != ERR_OK) {
        (void)fprintf(stderr, "simulated cluster: %s: %s\n", err_text(err), errbuf.text);
    }
    CHECK(err == ERR_OK);
}

/* -- time -------------------------------------------------------------------------------------- */

/* NULL: the node is down, or has not begun yet. */
static const replica_t *s_running_replica(simulated_cluster_t *self, node_id_t node)
{
    simulated_process_t *at =
        simulated_process_find(self, (process_address_t){PROCESS_NODE, node.region, node.shard});
    return at->is_up ? node_engine_replica(at->node, TENANT_DEFAULT) : NULL;
}

/* As far as there is room. Returns how many streams; none at a node that begins anew. */
static uint32_t s_copy_applied(const replica_t *replica,
                               stream_position_t ret_applied[S_STABLE_COUNT_MAX])
{
    uint32_t count = 0;
    const stream_position_t *applied = replica_applied(replica, &count);
    count = count < S_STABLE_COUNT_MAX ? count : S_STABLE_COUNT_MAX;
    for (uint32_t i = 0; i < count; i++) {
        ret_applied[i] = applied[i];
    }
    return count;
}

/* What every node of the shard has applied, once all of them run. Returns how many streams. */
static uint32_t s_stable_of(simulated_cluster_t *self,
                            shard_id_t shard,
                            stream_position_t ret_stable[S_STABLE_COUNT_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->topology.region_count; i++) {
        node_id_t node = {self->topology.regions[i].id, shard};
        const replica_t *replica = s_running_replica(self, node);
        if (replica == NULL) {
            return 0;
        }
        count = i == 0 ? s_copy_applied(replica, ret_stable) : count;
        for (uint32_t k = 0; k < count; k++) {
            uint64_t seq = simulated_cluster_applied_of(self, node, ret_stable[k].stream);
            ret_stable[k].seq = seq < ret_stable[k].seq ? seq : ret_stable[k].seq;
        }
    }
    return count;
}

static void s_publish_table(simulated_cluster_t *self)
{
    stream_position_t stable[SHARD_COUNT_MAX * S_STABLE_COUNT_MAX];
    uint32_t stable_count = 0;
    for (uint16_t shard = 0;
         self->topology.log.retain_bytes != 0 && shard < self->topology.shard_count; shard++) {
        stable_count += s_stable_of(self, (shard_id_t){shard}, stable + stable_count);
    }
    buffer_t encoded;
    buffer_init(&encoded);
    table_encode(self->table, &encoded);
    msg_t msg = {.type = MSG_TABLE};
    msg.as.table.table = buffer_slice(&encoded);
    msg.as.table.stable_count = stable_count;
    msg.as.table.stable = stable;
    msg.as.table.clock_count = self->clock.ahead_ms > 0 ? 1 : 0;
    msg.as.table.clocks = &self->clock;
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    self->control.publish(self->control.context, ENGINE_TOPIC_TABLE, self->out.data,
                          self->out.size);
    buffer_done(&encoded);
}

static int64_t s_next_ns(const simulated_cluster_t *self)
{
    int64_t next = sim_network_deadline_ns(self->network);
    next = self->next_table_ns < next ? self->next_table_ns : next;
    for (uint32_t i = 0; i < self->process_count; i++) {
        int64_t deadline = s_deadline_ns(&self->processes[i]);
        next = deadline < next ? deadline : next;
    }
    return next < self->now_ns ? self->now_ns : next;
}

/* One step of time, at most to until_ns. */
static void s_step(simulated_cluster_t *self, int64_t until_ns)
{
    int64_t next = s_next_ns(self);
    self->now_ns = next < until_ns ? next : until_ns;
    if (self->next_table_ns <= self->now_ns) {
        self->next_table_ns = self->now_ns + 1000 * SIMULATED_MS;
        s_publish_table(self);
    }
    (void)sim_network_deliver_due(self->network, self->now_ns);
    for (uint32_t i = 0; i < self->process_count; i++) {
        simulated_process_t *process = &self->processes[i];
        if (process->is_up && (process->has_input || s_deadline_ns(process) <= self->now_ns)) {
            s_turn(process);
        }
    }
}

void simulated_cluster_run_ms(simulated_cluster_t *self, int64_t ms)
{
    int64_t until_ns = self->now_ns + ms * SIMULATED_MS;
    while (self->now_ns < until_ns) {
        s_step(self, until_ns);
    }
}

int64_t simulated_cluster_now_ns(const simulated_cluster_t *self)
{
    return s_now(self).wall_ns;
}

/* Until the awaited answer came; false when it did not come in time. */
static bool s_run_until_answered(simulated_cluster_t *self)
{
    int64_t until_ns = self->now_ns + S_ANSWER_TIMEOUT_MS * SIMULATED_MS;
    while (!self->is_answered && self->now_ns < until_ns) {
        s_step(self, until_ns);
    }
    return self->is_answered;
}

/* -- clients ----------------------------------------------------------------------------------- */

static void s_take_write(simulated_cluster_t *self, const msg_write_reply_t *reply)
{
    bool ok = reply->code == CODE_OK;
    self->answers.ok += ok ? 1 : 0;
    self->answers.refused += ok ? 0 : 1;
    self->answers.ok_events += ok && !reply->duplicate ? reply->last_seq + 1 - reply->first_seq : 0;
    if (reply->request_id != self->awaited_id) {
        return;
    }
    self->is_answered = true;
    self->write = (simulated_write_t){
        .code = reply->code,
        .leader_hint = reply->leader,
        .durability = reply->durability,
        .replicas = reply->replicas,
        .duplicate = reply->duplicate,
        .island = reply->island,
        .stream = reply->stream,
        .first_seq = reply->first_seq,
        .last_seq = reply->last_seq,
        .hlc = reply->hlc,
        .session = reply->session,
    };
}

static void s_on_answer(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    (void)reply_to;
    simulated_client_t *client = context;
    simulated_cluster_t *self = client->cluster;
    self->now_ns = sim_network_now_ns(self->network);
    msg_t msg;
    errbuf_t errbuf;
    err_t err = msg_decode(self->codec, slice_make(bytes, size), &msg, &errbuf);
    CHECK(err == ERR_OK);
    if (msg.type == MSG_WRITE_REPLY) {
        s_take_write(self, &msg.as.write_reply);
    } else if (msg.type == MSG_READ_REPLY && msg.as.read_reply.request_id == self->awaited_id) {
        buffer_clear(&self->reply_bytes);
        buffer_append(&self->reply_bytes, bytes, size);
        err =
            msg_decode(self->reply_codec, buffer_slice(&self->reply_bytes), &self->reply, &errbuf);
        CHECK(err == ERR_OK);
        self->is_answered = true;
    }
}

static err_t s_send(simulated_cluster_t *self, node_id_t node, const msg_t *msg)
{
    process_address_t to = {PROCESS_NODE, node.region, node.shard};
    const net_t *net = &self->clients[node.region.value].net;
    buffer_clear(&self->out);
    msg_encode(msg, &self->out);
    return net->send(net->context, to, self->out.data, self->out.size);
}

/* Puts a write on its way; returns its request id, 0 when the node cannot be reached. */
static uint64_t s_send_form(simulated_cluster_t *self, node_id_t node, const msg_write_t *form)
{
    msg_t msg = {.type = MSG_WRITE};
    msg.as.write = *form;
    msg.as.write.request_id = ++self->next_request_id;
    msg.as.write.tenant = form->tenant.value != 0 ? form->tenant : TENANT_DEFAULT;
    msg.as.write.shard = node.shard;
    msg.as.write.timeout_ms = form->timeout_ms != 0 ? form->timeout_ms : 5000;
    return s_send(self, node, &msg) == ERR_OK ? self->next_request_id : 0;
}

void simulated_cluster_begin_write(simulated_cluster_t *self,
                                   node_id_t node,
                                   const msg_write_t *form)
{
    self->is_answered = false;
    self->awaited_id = s_send_form(self, node, form);
    self->write = (simulated_write_t){.code = CODE_TIMEOUT};
}

simulated_write_t simulated_cluster_end_write(simulated_cluster_t *self)
{
    if (self->awaited_id != 0 && !self->is_answered) {
        (void)s_run_until_answered(self);
    }
    self->awaited_id = 0;
    return self->write;
}

simulated_write_t simulated_cluster_write_form(simulated_cluster_t *self,
                                               node_id_t node,
                                               const msg_write_t *form)
{
    int64_t started_ns = self->now_ns;
    simulated_cluster_begin_write(self, node, form);
    simulated_write_t write = simulated_cluster_end_write(self);
    write.took_ns = self->now_ns - started_ns;
    return write;
}

simulated_write_t simulated_cluster_write_record(simulated_cluster_t *self,
                                                 node_id_t node,
                                                 const record_t *record,
                                                 hlc_stamp_t hlc,
                                                 ack_level_t level)
{
    buffer_t payload = {0};
    record_append(&payload, record);
    msg_write_t form = {
        .level = level, .hlc = hlc, .event_count = 1, .payload = buffer_slice(&payload)};
    simulated_write_t done = simulated_cluster_write_form(self, node, &form);
    buffer_done(&payload);
    return done;
}

/* The events as the payload of a form; the buffer is the caller's. */
static void s_put_events(msg_write_t *form,
                         const signal_event_t *events,
                         uint32_t count,
                         buffer_t *payload)
{
    record_append_signals(payload, events, count);
    form->event_count = count;
    form->payload = buffer_slice(payload);
}

simulated_write_t simulated_cluster_write_to(simulated_cluster_t *self,
                                             node_id_t node,
                                             const signal_event_t *events,
                                             uint32_t count,
                                             simulated_form_t form)
{
    buffer_t payload = {0};
    msg_write_t write = {.level = form.level, .has_producer = form.producer != NULL};
    if (form.producer != NULL) {
        write.producer = slice_make(form.producer, strlen(form.producer));
        write.producer_seq = form.producer_seq;
        memcpy(write.content_hash, &events[0].item, sizeof(events[0].item));
    }
    s_put_events(&write, events, count, &payload);
    simulated_write_t done = simulated_cluster_write_form(self, node, &write);
    buffer_done(&payload);
    return done;
}

void simulated_cluster_post(simulated_cluster_t *self,
                            node_id_t node,
                            const signal_event_t *events,
                            uint32_t count,
                            ack_level_t level)
{
    buffer_t payload = {0};
    msg_write_t form = {.level = level};
    s_put_events(&form, events, count, &payload);
    self->answers.refused += s_send_form(self, node, &form) == 0 ? 1 : 0;
    buffer_done(&payload);
}

void simulated_cluster_repeat_message(simulated_cluster_t *self, node_id_t node)
{
    process_address_t to = {PROCESS_NODE, node.region, node.shard};
    const net_t *net = &self->clients[node.region.value].net;
    err_t err = net->send(net->context, to, self->out.data, self->out.size);
    CHECK(err == ERR_OK);
}

simulated_answers_t simulated_cluster_answers(const simulated_cluster_t *self)
{
    return self->answers;
}

void simulated_cluster_begin_read(simulated_cluster_t *self, node_id_t node, msg_read_t *read)
{
    msg_t msg = {.type = MSG_READ};
    read->request_id = ++self->next_request_id;
    read->tenant = TENANT_DEFAULT;
    read->shard = node.shard;
    msg.as.read = *read;
    self->is_answered = false;
    self->awaited_id = s_send(self, node, &msg) == ERR_OK ? read->request_id : 0;
}

err_t simulated_cluster_end_read(simulated_cluster_t *self, const msg_read_reply_t **ret_reply)
{
    bool answered = self->awaited_id != 0 && (self->is_answered || s_run_until_answered(self));
    self->awaited_id = 0;
    if (!answered) {
        return ERR_TIMEOUT;
    }
    *ret_reply = &self->reply.as.read_reply;
    return ERR_OK;
}

err_t simulated_cluster_read(simulated_cluster_t *self,
                             node_id_t node,
                             msg_read_t *read,
                             const msg_read_reply_t **ret_reply)
{
    read->max_staleness_ms = UINT32_MAX;
    simulated_cluster_begin_read(self, node, read);
    return simulated_cluster_end_read(self, ret_reply);
}

bool simulated_cluster_is_answered(const simulated_cluster_t *self)
{
    return self->is_answered;
}

/* -- looking inside ---------------------------------------------------------------------------- */

static replica_t *s_replica(simulated_cluster_t *self, node_id_t node)
{
    simulated_process_t *process =
        simulated_process_find(self, (process_address_t){PROCESS_NODE, node.region, node.shard});
    CHECK(process->is_up);
    replica_t *replica = node_engine_replica(process->node, TENANT_DEFAULT);
    CHECK(replica != NULL);
    return replica;
}

uint64_t simulated_cluster_applied_of(simulated_cluster_t *self, node_id_t node, stream_id_t stream)
{
    uint32_t count = 0;
    const stream_position_t *applied = replica_applied(s_replica(self, node), &count);
    for (uint32_t i = 0; i < count; i++) {
        if (stream_id_equal(applied[i].stream, stream)) {
            return applied[i].seq;
        }
    }
    return 0;
}

uint64_t simulated_cluster_applied_seqno(simulated_cluster_t *self, node_id_t node)
{
    uint32_t count = 0;
    const stream_position_t *applied = replica_applied(s_replica(self, node), &count);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += applied[i].seq;
    }
    return sum;
}

void simulated_cluster_digest(simulated_cluster_t *self,
                              node_id_t node,
                              uint8_t ret_digest[MSG_HASH_SIZE])
{
    replica_digest(s_replica(self, node), ret_digest);
}

uint64_t simulated_cluster_metric(simulated_cluster_t *self,
                                  process_address_t process,
                                  const char *name)
{
    enum { S_METRIC_COUNT_MAX = 64 };
    msg_metric_t metrics[S_METRIC_COUNT_MAX];
    const simulated_process_t *at = simulated_process_find(self, process);
    CHECK(at->is_up);
    uint32_t count = 0;
    if (at->node != NULL) {
        count = node_engine_metrics(at->node, metrics, S_METRIC_COUNT_MAX);
    } else if (at->receiver != NULL) {
        count = receiver_engine_metrics(at->receiver, metrics, S_METRIC_COUNT_MAX);
    } else if (at->reconciler != NULL) {
        count = reconcile_engine_metrics(at->reconciler, metrics, S_METRIC_COUNT_MAX);
    } else {
        count = shipper_engine_metrics(at->shipper, metrics, S_METRIC_COUNT_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (slice_equal(metrics[i].name, slice_make(name, strlen(name)))) {
            return (uint64_t)metrics[i].value;
        }
    }
    CHECK(false);
    return 0;
}

static bool s_is_lagging(simulated_cluster_t *self, node_id_t node)
{
    msg_lag_row_t rows[REPLICA_LAG_ROW_COUNT_MAX];
    uint32_t count =
        replica_lag_rows(s_replica(self, node), s_now(self), rows, REPLICA_LAG_ROW_COUNT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].leader_seq != rows[i].applied_seq) {
            return true;
        }
    }
    return false;
}

static bool s_vectors_are_equal(simulated_cluster_t *self, node_id_t a, node_id_t b)
{
    uint32_t count_a = 0;
    uint32_t count_b = 0;
    const stream_position_t *applied_a = replica_applied(s_replica(self, a), &count_a);
    const stream_position_t *applied_b = replica_applied(s_replica(self, b), &count_b);
    bool equal = count_a == count_b;
    for (uint32_t i = 0; equal && i < count_a; i++) {
        equal = stream_id_equal(applied_a[i].stream, applied_b[i].stream) &&
                applied_a[i].seq == applied_b[i].seq;
    }
    return equal;
}

static bool s_shard_has_converged(simulated_cluster_t *self, shard_id_t shard)
{
    node_id_t leader = simulated_cluster_leader(self, shard);
    uint8_t leader_digest[MSG_HASH_SIZE];
    simulated_cluster_digest(self, leader, leader_digest);
    for (uint32_t i = 0; i < self->topology.region_count; i++) {
        node_id_t node = {self->topology.regions[i].id, shard};
        if (s_is_lagging(self, node) || !s_vectors_are_equal(self, leader, node)) {
            return false;
        }
        /* Equal vectors, so the digests must be equal too: not something to wait for. */
        uint8_t digest[MSG_HASH_SIZE];
        simulated_cluster_digest(self, node, digest);
        CHECK(memcmp(digest, leader_digest, sizeof(digest)) == 0);
    }
    return true;
}

static bool s_has_converged(simulated_cluster_t *self)
{
    for (uint16_t shard = 0; shard < self->topology.shard_count; shard++) {
        if (!s_shard_has_converged(self, (shard_id_t){shard})) {
            return false;
        }
    }
    return true;
}

err_t simulated_cluster_await_full_convergence(simulated_cluster_t *self,
                                               int64_t timeout_ms,
                                               int64_t *ret_took_ms)
{
    int64_t started_ns = self->now_ns;
    int64_t took_ms = 0;
    while (!s_has_converged(self)) {
        if (took_ms >= timeout_ms) {
            return ERR_TIMEOUT;
        }
        simulated_cluster_run_ms(self, 1);
        took_ms = (self->now_ns - started_ns) / SIMULATED_MS;
    }
    if (ret_took_ms != NULL) {
        *ret_took_ms = took_ms;
    }
    return ERR_OK;
}

const table_t *simulated_cluster_table(const simulated_cluster_t *self)
{
    return self->table;
}

void simulated_cluster_use_table(simulated_cluster_t *self, table_t *next)
{
    CHECK(table_is_newer(next, self->table));
    table_destroy(&self->table);
    self->table = next;
    s_publish_table(self);
}

void simulated_cluster_set_island(simulated_cluster_t *self, island_policy_t island)
{
    table_t *next = table_next(self->table);
    table_tenant_t tenant = *table_find_tenant(next, TENANT_DEFAULT);
    tenant.island = island;
    errbuf_t errbuf;
    err_t err = table_set_tenant(next, &tenant, &errbuf);
    CHECK(err == ERR_OK);
    simulated_cluster_use_table(self, next);
    simulated_cluster_run_ms(self, S_TABLE_MS);
}

node_id_t simulated_cluster_leader(const simulated_cluster_t *self, shard_id_t shard)
{
    const table_record_t *record = table_find_record(self->table, TENANT_DEFAULT, shard);
    CHECK(record != NULL);
    return (node_id_t){record->leader, shard};
}

node_id_t simulated_cluster_follower_in(const simulated_cluster_t *self,
                                        region_id_t region,
                                        shard_id_t shard)
{
    CHECK(simulated_cluster_leader(self, shard).region.value != region.value);
    return (node_id_t){region, shard};
}

shard_id_t simulated_cluster_shard_of(const simulated_cluster_t *self, item_id_t item)
{
    return route_item(TENANT_DEFAULT, item, self->topology.shard_count);
}

shard_id_t simulated_cluster_home_of(const simulated_cluster_t *self, user_id_t user)
{
    return route_shard(TENANT_DEFAULT, user.value, self->topology.shard_count);
}

/* -- life -------------------------------------------------------------------------------------- */

static void s_make_topology(simulated_cluster_t *self, const simulated_cluster_options_t *options)
{
    topology_init_default(&self->topology, options->region_count, options->shard_count);
    if (options->segment_size_bytes != 0) {
        self->topology.log.segment_size_bytes = (uint32_t)options->segment_size_bytes;
    }
    self->topology.log.retain_bytes = options->retain_bytes;
    if (options->session_idle_ms != 0) {
        self->topology.timing.session_idle_ms = options->session_idle_ms;
    }
    for (uint32_t i = 0; options->leaders != NULL && i < options->shard_count; i++) {
        self->topology.leaders[i] = options->leaders[i];
    }
    self->table = table_new_default(&self->topology);
}

static void s_make_clients(simulated_cluster_t *self)
{
    for (uint32_t i = 0; i < self->topology.region_count; i++) {
        region_id_t region = self->topology.regions[i].id;
        simulated_client_t *client = &self->clients[region.value];
        *client = (simulated_client_t){.cluster = self,
                                       .address = simulated_address(PROCESS_TOOL, region)};
        sim_network_receiver_t receiver = {client, s_on_answer, NULL};
        client->net = sim_network_attach(self->network, client->address, receiver);
    }
}

static void s_ignore_message(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    (void)context;
    (void)reply_to;
    (void)bytes;
    (void)size;
}

static bool s_is_simulated(process_kind_t kind, bool with_reconcilers)
{
    return kind == PROCESS_NODE || kind == PROCESS_SHIPPER || kind == PROCESS_RECEIVER ||
           (kind == PROCESS_RECONCILER && with_reconcilers);
}

static void s_make_processes(simulated_cluster_t *self, bool with_reconcilers)
{
    uint32_t count = topology_process_count(&self->topology);
    self->processes = calloc(count, sizeof(*self->processes));
    CHECK(self->processes != NULL);
    for (uint32_t i = 0; i < count; i++) {
        process_address_t address = topology_process(&self->topology, i);
        if (!s_is_simulated(address.kind, with_reconcilers)) {
            continue;
        }
        simulated_process_t *process = &self->processes[self->process_count++];
        *process = (simulated_process_t){.cluster = self, .address = address};
        if (address.kind == PROCESS_NODE) {
            process->memory = store_memory_new();
        }
        simulated_process_start(process);
    }
}

static bool s_all_ready(const simulated_cluster_t *self)
{
    for (uint32_t i = 0; i < self->process_count; i++) {
        const simulated_process_t *process = &self->processes[i];
        const char *reason = "";
        if (process->node != NULL && !node_engine_is_ready(process->node, &reason)) {
            return false;
        }
    }
    return true;
}

simulated_cluster_t *simulated_cluster_new(const simulated_cluster_options_t *options)
{
    simulated_cluster_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    prng_init(&self->prng, options->seed);
    s_make_topology(self, options);
    self->now_ns = SIMULATED_START_MONO_NS;
    self->next_table_ns = SIMULATED_START_MONO_NS;
    sim_network_options_t network = {.seed = prng_next(&self->prng),
                                     .start_ns = SIMULATED_START_MONO_NS};
    self->network = sim_network_new(&network);
    self->codec = msg_codec_new();
    self->reply_codec = msg_codec_new();
    for (uint32_t i = 0; i < self->topology.region_count; i++) {
        self->disks[self->topology.regions[i].id.value] = sim_disk_new(prng_next(&self->prng));
    }
    sim_network_receiver_t ignored = {self, s_ignore_message, NULL};
    self->control = sim_network_attach(self->network, s_control, ignored);
    s_make_clients(self);
    s_make_processes(self, options->with_reconcilers);
    sim_network_set_tap(self->network, simulated_cluster_tap, self);
    for (int ms = 0; ms < S_ANSWER_TIMEOUT_MS && !s_all_ready(self); ms++) {
        simulated_cluster_run_ms(self, 1);
    }
    CHECK(s_all_ready(self));
    /* Two heartbeats: leaders have heard every region. */
    simulated_cluster_run_ms(self, 2 * (int64_t)self->topology.timing.heartbeat_ms);
    return self;
}

void simulated_cluster_hand(simulated_cluster_t *self, process_address_t process, const msg_t *msg)
{
    buffer_t bytes;
    buffer_init(&bytes);
    msg_encode(msg, &bytes);
    s_on_message(simulated_process_find(self, process), 0, bytes.data, bytes.size);
    buffer_done(&bytes);
}

void simulated_cluster_tell_clock(simulated_cluster_t *self, node_id_t node, uint32_t ahead_ms)
{
    self->clock = (msg_clock_t){node, ahead_ms};
    s_publish_table(self);
}

void simulated_cluster_destroy(simulated_cluster_t **self_p)
{
    simulated_cluster_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    CHECK(self->partitions == NULL);
    CHECK(self->crash_count == 0);
    for (uint32_t i = 0; i < self->process_count; i++) {
        simulated_process_stop(&self->processes[i]);
        store_memory_destroy(&self->processes[i].memory);
    }
    free(self->processes);
    sim_network_destroy(&self->network);
    for (uint32_t i = 0; i <= REGION_COUNT_MAX; i++) {
        sim_disk_destroy(&self->disks[i]);
        for (uint32_t k = 0; k <= REGION_COUNT_MAX; k++) {
            buffer_done(&self->shipped[i][k].bytes);
        }
    }
    table_destroy(&self->table);
    msg_codec_destroy(&self->codec);
    msg_codec_destroy(&self->reply_codec);
    buffer_done(&self->out);
    buffer_done(&self->reply_bytes);
    free(self);
    *self_p = NULL;
}
