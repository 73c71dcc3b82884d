/* Entrances of the gateway: requests, answers, tables and time, and what all kinds of requests have
 * in common. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"
#include "common/topology/route.h"

#include <stdio.h>
#include <stdlib.h>

/* -- life -------------------------------------------------------------------------------------- */

static client_decoder_t *s_new_decoder(const topology_t *topology)
{
    client_signal_type_t types[SIGNAL_TYPE_COUNT_MAX];
    const schema_t *schema = &topology->schema;
    for (uint32_t i = 0; i < schema->signal_count; i++) {
        types[i] = (client_signal_type_t){schema->signals[i].id, schema->signals[i].name};
    }
    return client_decoder_new(types, schema->signal_count);
}

static void s_check_table(gateway_engine_t *self)
{
    errbuf_t errbuf = {{0}};
    const table_t *table = table_keeper_table(self->keeper);
    self->table_error[0] = '\0';
    if (table != NULL && table_check_topology(table, self->env.topology, &errbuf) != ERR_OK) {
        (void)snprintf(self->table_error, sizeof(self->table_error), "%s", errbuf.text);
    }
}

err_t gateway_engine_open(const engine_env_t *env,
                          const gateway_engine_options_t *options,
                          now_t now,
                          gateway_engine_t **ret_engine,
                          errbuf_t *errbuf)
{
    CHECK(env->self.kind == PROCESS_GATEWAY);
    CHECK(topology_has_process(env->topology, env->self));
    char folder[WAL_PATH_SIZE_MAX];
    const char *region = topology_place_name(env->topology, env->self.region);
    int length = snprintf(folder, sizeof(folder), "%s/%s/gateway", env->data_folder, region);
    if (length < 0 || (size_t)length >= sizeof(folder)) {
        errbuf_set(errbuf, "gateway: expected a data folder below %d bytes, found %s",
                   WAL_PATH_SIZE_MAX, env->data_folder);
        return ERR_TOO_LARGE;
    }
    table_keeper_t *keeper = NULL;
    err_t err = table_keeper_open(env->disk, folder, &keeper, errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "gateway");
        return err;
    }
    gateway_engine_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = *env;
    self->options = *options;
    if (self->options.held_size_max == 0) {
        self->options.held_size_max = GATEWAY_HELD_SIZE_MAX;
    }
    self->region = env->self.region;
    self->shard_count = env->topology->shard_count;
    self->keeper = keeper;
    self->decoder = s_new_decoder(env->topology);
    self->codec = msg_codec_new();
    self->table_heard_ns = now.mono_ns;
    self->table_asked_ns = now.mono_ns - gateway_ms(GATEWAY_TABLE_MS);
    hlc_init(&self->hlc, (uint32_t)self->region.value << 16 | 0xffffu);
    prng_init(&self->prng, env->seed);
    gateway_requests_init(&self->requests, env->topology->limits.gateway_inflight_count,
                          (uint32_t)prng_next(&self->prng));
    gateway_peers_init(&self->peers, env->topology, self->region, now.mono_ns);
    self->events = malloc(REQUEST_ROW_COUNT_MAX * sizeof(*self->events));
    CHECK(self->events != NULL);
    self->shards = malloc(REQUEST_ROW_COUNT_MAX * sizeof(*self->shards));
    CHECK(self->shards != NULL);
    self->ranked = malloc(RETRIEVE_LIMIT_MAX * sizeof(*self->ranked));
    CHECK(self->ranked != NULL);
    s_check_table(self);
    *ret_engine = self;
    return ERR_OK;
}

void gateway_engine_close(gateway_engine_t **self_p)
{
    gateway_engine_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->requests.capacity; i++) {
        gateway_request_t *request = gateway_requests_at(&self->requests, i);
        if (request != NULL) {
            self->env.net->forget(self->env.net->context, request->reply_to);
        }
    }
    gateway_strangers_end(self, false, (now_t){0, 0});
    gateway_requests_done(&self->requests);
    table_keeper_close(&self->keeper);
    client_decoder_destroy(&self->decoder);
    msg_codec_destroy(&self->codec);
    buffer_done(&self->stable);
    buffer_done(&self->out);
    buffer_done(&self->reply);
    buffer_done(&self->payload);
    buffer_done(&self->rows);
    buffer_done(&self->session_rows);
    free(self->events);
    free(self->shards);
    free(self->ranked);
    free(self);
    *self_p = NULL;
}

/* -- what it works with ------------------------------------------------------------------------ */

const table_t *gateway_table(const gateway_engine_t *self)
{
    return self->table_error[0] != '\0' ? NULL : table_keeper_table(self->keeper);
}

region_set_t gateway_placed(const gateway_engine_t *self, tenant_id_t tenant)
{
    const table_t *table = gateway_table(self);
    const table_tenant_t *found = table == NULL ? NULL : table_find_tenant(table, tenant);
    region_set_t none = {0};
    return found == NULL ? none : table_tenant_regions(found);
}

slice_t gateway_region_name(const gateway_engine_t *self, region_id_t region)
{
    return slice_text(topology_place_name(self->env.topology, region));
}

uint32_t gateway_region_names(const gateway_engine_t *self,
                              region_set_t set,
                              slice_t ret_names[REGION_COUNT_MAX])
{
    uint32_t count = 0;
    for (uint32_t number = 1; number <= REGION_COUNT_MAX; number++) {
        region_id_t region = {(uint16_t)number};
        if (region_set_has(set, region)) {
            ret_names[count++] = gateway_region_name(self, region);
        }
    }
    return count;
}

bool gateway_engine_is_ready(const gateway_engine_t *self, const char **ret_reason)
{
    *ret_reason = "";
    if (self->table_error[0] != '\0') {
        *ret_reason = "the routing table belongs to another topology";
    } else if (table_keeper_table(self->keeper) == NULL) {
        *ret_reason = "no routing table yet: the control plane has not been heard";
    }
    return **ret_reason == '\0';
}

uint64_t gateway_engine_table_version(const gateway_engine_t *self)
{
    return table_keeper_version(self->keeper);
}

uint32_t gateway_engine_inflight(const gateway_engine_t *self)
{
    return self->requests.open_count + self->stranger_count;
}

/* -- requests of clients ----------------------------------------------------------------------- */

/* What the deployment has lowered below what the protocol allows. */
static code_t s_check_limits(const gateway_engine_t *self,
                             const client_request_t *client,
                             size_t size,
                             errbuf_t *errbuf)
{
    const topology_limits_t *limits = &self->env.topology->limits;
    if (size > limits->request_size_bytes) {
        errbuf_set(errbuf, "expected a request of at most %u bytes, found %zu: split it",
                   limits->request_size_bytes, size);
        return CODE_TOO_LARGE;
    }
    if (client->op == CLIENT_OP_SIGNALS &&
        client->as.signals.event_count > limits->request_row_count) {
        errbuf_set(errbuf, "rows: expected at most %u, found %u: split the request",
                   limits->request_row_count, client->as.signals.event_count);
        return CODE_TOO_LARGE;
    }
    if (client->op != CLIENT_OP_RETRIEVE) {
        return CODE_OK;
    }
    if (client->as.retrieve.candidate_count > limits->candidate_count) {
        errbuf_set(errbuf, "candidates: expected at most %u, found %u", limits->candidate_count,
                   client->as.retrieve.candidate_count);
        return CODE_TOO_LARGE;
    }
    if (client->as.retrieve.limit > limits->retrieve_limit) {
        errbuf_set(errbuf, "limit: expected at most %u, found %u; use `cursor` for more",
                   limits->retrieve_limit, client->as.retrieve.limit);
        return CODE_TOO_LARGE;
    }
    return CODE_OK;
}

static code_t s_begin(gateway_engine_t *self,
                      gateway_request_t *request,
                      const client_request_t *client,
                      now_t now,
                      errbuf_t *errbuf)
{
    switch (client_op_class(client->op)) {
    case CLIENT_CLASS_WRITE:
        return gateway_write_begin(self, request, client, now, errbuf);
    case CLIENT_CLASS_READ:
        return gateway_read_begin(self, request, client, now, errbuf);
    case CLIENT_CLASS_MESH:
        gateway_mesh_begin(self, request, now);
        return CODE_OK;
    case CLIENT_CLASS_LATER:
        break;
    }
    return CODE_UNKNOWN_OP; /* the decoder has refused it */
}

/* Room for what slices will point at: id, producer, names, and the token whole and in parts. */
static void s_reserve(gateway_request_t *request, const client_request_t *client, slice_t body)
{
    enum { S_TOKEN_SIZE = 2 * TOKEN_SIZE_MAX + SHARD_COUNT_MAX * 16 };
    size_t size = client->id.size + client->producer.size;
    size += client->token->count > 0 || client->token->hlc_ns > 0 ? S_TOKEN_SIZE : 0;
    size += client_op_class(client->op) == CLIENT_CLASS_READ ? body.size : 0;
    gateway_request_reserve(request, size);
}

/* Opens the request with what all kinds have. */
static void s_start(gateway_engine_t *self,
                    uint64_t reply_to,
                    const client_request_t *client,
                    slice_t body,
                    now_t now)
{
    gateway_request_t *request = gateway_requests_open(&self->requests);
    if (request == NULL || self->requests.held_bytes > self->options.held_size_max) {
        if (request != NULL) {
            gateway_requests_close(&self->requests, request);
        }
        gateway_reply_error(self, reply_to, client->id, CODE_OVERLOADED,
                            "this gateway has as many requests under way as it may; retry later");
        return;
    }
    const table_tenant_t *tenant = table_find_tenant_name(gateway_table(self), client->tenant);
    request->op = client->op;
    request->reply_to = reply_to;
    request->tenant = tenant->id;
    request->received_ns = now.mono_ns;
    request->deadline_ns = now.mono_ns;
    s_reserve(request, client, body);
    request->id = gateway_request_hold(request, client->id);
    errbuf_t errbuf = {{0}};
    code_t code = CODE_OK;
    if (client->token->count > 0 || client->token->hlc_ns > 0) {
        buffer_clear(&self->rows);
        if (token_encode(client->token, &self->rows) == ERR_OK) {
            request->token = gateway_request_hold(request, buffer_slice(&self->rows));
        } else {
            code = CODE_BAD_REQUEST;
            errbuf_set(&errbuf,
                       "token: expected tokens that make at most %d bytes together, found more; "
                       "send the latest ones",
                       TOKEN_SIZE_MAX);
        }
    }
    code = code == CODE_OK ? s_begin(self, request, client, now, &errbuf) : code;
    if (code != CODE_OK) {
        gateway_requests_close(&self->requests, request);
        gateway_reply_error(self, reply_to, client->id, code, errbuf.text);
        return;
    }
    gateway_run(self, request, now);
}

/* The tenant is not in the table: it waits for a newer one, or is told so. */
static void s_take_stranger(gateway_engine_t *self,
                            uint64_t reply_to,
                            const client_request_t *client,
                            slice_t body,
                            bool may_wait,
                            now_t now)
{
    if (may_wait && gateway_strangers_keep(self, reply_to, client->tenant, body, now)) {
        return;
    }
    errbuf_t errbuf = {{0}};
    errbuf_set(&errbuf, "tenant: expected one that topology lists, found `%.*s`",
               (int)client->tenant.size, (const char *)client->tenant.data);
    gateway_reply_error(self, reply_to, client->id, CODE_UNKNOWN_TENANT, errbuf.text);
}

static void s_take(gateway_engine_t *self,
                   uint64_t reply_to,
                   const client_request_t *client,
                   slice_t body,
                   bool may_wait,
                   now_t now)
{
    errbuf_t errbuf = {{0}};
    const char *reason = "";
    if (!client_op_is_served(client->op, PROCESS_GATEWAY, &errbuf)) {
        gateway_reply_error(self, reply_to, client->id, CODE_UNKNOWN_OP, errbuf.text);
        return;
    }
    if (gateway_mesh_answer(self, reply_to, client, now)) {
        return;
    }
    if (!gateway_engine_is_ready(self, &reason)) {
        gateway_reply_error(self, reply_to, client->id, CODE_UNAVAILABLE, reason);
        return;
    }
    const table_tenant_t *tenant = table_find_tenant_name(gateway_table(self), client->tenant);
    if (tenant == NULL) {
        s_take_stranger(self, reply_to, client, body, may_wait, now);
        return;
    }
    if (client->op == CLIENT_OP_TOPOLOGY) {
        gateway_mesh_topology(self, reply_to, client, tenant);
        return;
    }
    code_t code = s_check_limits(self, client, body.size, &errbuf);
    if (code != CODE_OK) {
        gateway_reply_error(self, reply_to, client->id, code, errbuf.text);
        return;
    }
    s_start(self, reply_to, client, body, now);
}

void gateway_engine_message(gateway_engine_t *self, uint64_t reply_to, slice_t bytes, now_t now)
{
    const client_request_t *client = NULL;
    errbuf_t errbuf = {{0}};
    self->counters.requests++;
    code_t code = client_decode(self->decoder, bytes, &client, &errbuf);
    if (code != CODE_OK) {
        gateway_reply_error(self, reply_to, client->id, code, errbuf.text);
        return;
    }
    s_take(self, reply_to, client, bytes, true, now);
}

void gateway_take_again(gateway_engine_t *self, uint64_t reply_to, slice_t body, now_t now)
{
    const client_request_t *client = NULL;
    errbuf_t errbuf = {{0}};
    code_t code = client_decode(self->decoder, body, &client, &errbuf);
    CHECK(code == CODE_OK); /* it decoded when it came */
    s_take(self, reply_to, client, body, false, now);
}

/* -- tables ------------------------------------------------------------------------------------ */

static void s_take_stable(gateway_engine_t *self, const msg_table_t *table)
{
    for (uint32_t i = 1; i < table->stable_count; i++) {
        if (stream_id_compare(table->stable[i - 1].stream, table->stable[i].stream) >= 0) {
            self->counters.malformed++;
            return;
        }
    }
    buffer_clear(&self->stable);
    buffer_append(&self->stable, table->stable, table->stable_count * sizeof(*table->stable));
}

static void s_table_changed(gateway_engine_t *self, now_t now)
{
    self->counters.tables++;
    s_check_table(self);
    for (uint32_t i = 0; i < self->requests.capacity && gateway_table(self) != NULL; i++) {
        gateway_request_t *request = gateway_requests_at(&self->requests, i);
        if (request != NULL && gateway_is_write(request)) {
            gateway_write_table_changed(self, request, now);
            gateway_run(self, request, now);
        }
    }
}

/* in is_answer  the control plane was asked for it */
static void s_on_table(gateway_engine_t *self, const msg_table_t *table, bool is_answer, now_t now)
{
    enum { S_VERSION_OFFSET = 8 };
    self->table_heard_ns = now.mono_ns;
    bool is_news =
        table->table.size >= TABLE_HEADER_SIZE &&
        bytes_get_u64(table->table.data + S_VERSION_OFFSET) > table_keeper_version(self->keeper);
    if (is_news) {
        errbuf_t errbuf;
        err_t err = table_keeper_offer(self->keeper, table->table, &errbuf);
        if (err == ERR_OK) {
            s_table_changed(self, now);
        } else {
            self->counters.malformed += err == ERR_CORRUPT ? 1 : 0;
        }
    }
    s_take_stable(self, table);
    gateway_strangers_review(self, is_answer, now);
}

void gateway_engine_published(gateway_engine_t *self, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    if (msg_decode(self->codec, bytes, &msg, &errbuf) != ERR_OK || msg.type != MSG_TABLE) {
        self->counters.malformed++;
        return;
    }
    s_on_table(self, &msg.as.table, false, now);
}

/* -- answers ----------------------------------------------------------------------------------- */

static void s_on_write_reply(gateway_engine_t *self,
                             region_id_t from,
                             const msg_write_reply_t *answer,
                             now_t now)
{
    uint32_t index = 0;
    if (((answer->request_id >> 16) & 0xffff) == GATEWAY_PROBE_SLOT) {
        return; /* to word of what all shards hold: nobody waits for it */
    }
    gateway_request_t *request = gateway_requests_find(&self->requests, answer->request_id, &index);
    if (request == NULL || !gateway_is_write(request) ||
        request->parts[index].state == GATEWAY_PART_DONE) {
        self->counters.late_answers++;
        return;
    }
    gateway_write_answered(self, request, &request->parts[index], from, answer, now);
    gateway_run(self, request, now);
}

static void s_on_pair(gateway_engine_t *self, const msg_read_reply_t *answer, now_t now)
{
    shard_id_t shard;
    gateway_request_t *request =
        gateway_requests_find_question(&self->requests, answer->request_id, &shard);
    if (request == NULL || !request->write.pair.is_open) {
        self->counters.late_answers++;
        return;
    }
    gateway_pairs_answered(request, shard, answer);
    gateway_run(self, request, now);
}

static void s_on_read_reply(gateway_engine_t *self,
                            region_id_t from,
                            const msg_read_reply_t *answer,
                            now_t now)
{
    uint32_t index = 0;
    if (((answer->request_id >> 16) & 0xffff) == GATEWAY_PROBE_SLOT) {
        gateway_peers_probe_answered(&self->peers, from, answer->request_id >> 32, now.mono_ns);
        return;
    }
    if (answer->kind == READ_PAIR) {
        s_on_pair(self, answer, now);
        return;
    }
    gateway_request_t *request = gateway_requests_find(&self->requests, answer->request_id, &index);
    if (request == NULL || gateway_is_write(request) ||
        request->parts[index].state == GATEWAY_PART_DONE) {
        self->counters.late_answers++;
        return;
    }
    if (gateway_is_read(request)) {
        gateway_read_answered(self, request, index, from, answer, now);
    } else {
        gateway_mesh_answered(request, &request->parts[index], answer);
    }
    gateway_run(self, request, now);
}

void gateway_engine_message_from_node(gateway_engine_t *self,
                                      process_address_t from,
                                      slice_t bytes,
                                      now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    if (msg_decode(self->codec, bytes, &msg, &errbuf) != ERR_OK) {
        self->counters.malformed++;
        return;
    }
    gateway_peers_heard(&self->peers, from, now.mono_ns);
    if (msg.type == MSG_WRITE_REPLY && from.kind == PROCESS_NODE) {
        s_on_write_reply(self, from.region, &msg.as.write_reply, now);
    } else if (msg.type == MSG_READ_REPLY && from.kind == PROCESS_NODE) {
        s_on_read_reply(self, from.region, &msg.as.read_reply, now);
    } else if (msg.type == MSG_TABLE && from.kind == PROCESS_CONTROL) {
        s_on_table(self, &msg.as.table, true, now);
    } else {
        self->counters.malformed++;
    }
}

/* -- time -------------------------------------------------------------------------------------- */

static int64_t s_table_due_ns(const gateway_engine_t *self)
{
    if (table_keeper_table(self->keeper) == NULL) {
        return self->table_asked_ns + gateway_ms(GATEWAY_TABLE_MS);
    }
    int64_t last_ns =
        self->table_heard_ns > self->table_asked_ns ? self->table_heard_ns : self->table_asked_ns;
    return last_ns + gateway_ms(GATEWAY_TABLE_SILENT_MS);
}

void gateway_ask_table(gateway_engine_t *self, now_t now)
{
    const net_t *net = self->env.net;
    process_address_t control = {.kind = PROCESS_CONTROL};
    msg_t msg = {.type = MSG_TABLE_REQUEST};
    self->table_asked_ns = now.mono_ns;
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    /* Lost or refused, it is asked again. */
    (void)net->send(net->context, control, self->out.data, self->out.size);
}

static void s_probe(gateway_engine_t *self, node_id_t node, now_t now)
{
    uint64_t number = ++self->probe_number & UINT32_MAX;
    msg_t msg = {.type = MSG_READ};
    msg.as.read = (msg_read_t){
        .request_id = number << 32 | (uint64_t)GATEWAY_PROBE_SLOT << 16,
        .tenant = TENANT_DEFAULT,
        .shard = node.shard,
        .max_staleness_ms = UINT32_MAX,
        .at_ns = now.wall_ns,
        .kind = READ_LAG,
    };
    self->counters.probes++;
    gateway_peers_probed(&self->peers, node, number, now.mono_ns);
    (void)gateway_send(self, node, &msg); /* not taken is not answered */
}

void gateway_engine_tick(gateway_engine_t *self, now_t now)
{
    if (s_table_due_ns(self) <= now.mono_ns) {
        gateway_ask_table(self, now);
    }
    gateway_strangers_tick(self, now);
    node_id_t node;
    for (uint32_t i = 0;
         i < REGION_COUNT_MAX && gateway_peers_next_probe(&self->peers, now.mono_ns, &node); i++) {
        s_probe(self, node, now);
    }
    while (due_heap_first_ns(&self->requests.due) <= now.mono_ns) {
        gateway_request_t *request =
            gateway_requests_at(&self->requests, due_heap_first(&self->requests.due));
        CHECK(request != NULL);
        gateway_run(self, request, now);
    }
}

int64_t gateway_engine_deadline_ns(const gateway_engine_t *self)
{
    int64_t deadline_ns = due_heap_first_ns(&self->requests.due);
    int64_t probe_ns = gateway_peers_deadline_ns(&self->peers);
    int64_t table_ns = s_table_due_ns(self);
    int64_t strangers_ns = gateway_strangers_deadline_ns(self);
    table_ns = strangers_ns < table_ns ? strangers_ns : table_ns;
    deadline_ns = probe_ns < deadline_ns ? probe_ns : deadline_ns;
    return table_ns < deadline_ns ? table_ns : deadline_ns;
}

void gateway_engine_turn_end(gateway_engine_t *self, now_t now)
{
    enum { S_SCRATCH_SIZE_MAX = 16 * 1024 * 1024 };
    (void)now;
    if (self->reply.capacity > S_SCRATCH_SIZE_MAX) {
        buffer_done(&self->reply);
    }
    if (self->out.capacity > S_SCRATCH_SIZE_MAX) {
        buffer_done(&self->out);
    }
}

void gateway_engine_drain(gateway_engine_t *self, now_t now)
{
    for (uint32_t i = 0; i < self->requests.capacity; i++) {
        gateway_request_t *request = gateway_requests_at(&self->requests, i);
        if (request != NULL) {
            gateway_give_up(self, request, now);
        }
    }
    gateway_strangers_end(self, true, now);
}

uint32_t gateway_engine_peers(const gateway_engine_t *self,
                              now_t now,
                              msg_peer_t ret_peers[REGION_COUNT_MAX])
{
    uint32_t count = 0;
    for (uint32_t number = 1; number <= REGION_COUNT_MAX; number++) {
        region_id_t region = {(uint16_t)number};
        const gateway_peer_t *peer = &self->peers.regions[number];
        if (!peer->is_peer) {
            continue;
        }
        int64_t silent_ms = (now.mono_ns - peer->heard_ns) / ENGINE_NS_PER_MS;
        ret_peers[count++] = (msg_peer_t){
            .region = region,
            .reachable = gateway_peers_is_reachable(&self->peers, region, now.mono_ns),
            .silent_ms = !peer->was_heard          ? UINT32_MAX
                         : silent_ms >= UINT32_MAX ? UINT32_MAX - 1
                                                   : (uint32_t)silent_ms,
        };
    }
    return count;
}
