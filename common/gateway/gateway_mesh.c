/* What a gateway tells of itself and of the mesh. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"

/* -- without a node ---------------------------------------------------------------------------- */

/* What the lists of hello point into. */
typedef struct {
    client_hello_signal_t signals[SIGNAL_TYPE_COUNT_MAX];
    client_hello_profile_t profiles[PROFILE_COUNT_MAX];
} hello_lists_t;

static void s_hello(gateway_engine_t *self, slice_t id)
{
    const schema_t *schema = &self->env.topology->schema;
    hello_lists_t lists;
    buffer_clear(&self->rows);
    (void)buffer_extend(&self->rows, (size_t)schema->profile_count * PROFILE_FORMULA_SIZE);
    for (uint32_t i = 0; i < schema->signal_count; i++) {
        const schema_signal_t *signal = &schema->signals[i];
        lists.signals[i] = (client_hello_signal_t){.id = signal->id,
                                                   .name = slice_text(signal->name),
                                                   .half_life_s = signal->half_life_s,
                                                   .windows_mask = signal->windows_mask};
    }
    for (uint32_t i = 0; i < schema->profile_count; i++) {
        char *formula = (char *)self->rows.data + (size_t)i * PROFILE_FORMULA_SIZE;
        schema_profile_formula(schema, &schema->profiles[i], formula);
        lists.profiles[i] =
            (client_hello_profile_t){slice_text(schema->profiles[i].name), slice_text(formula)};
    }
    client_hello_t hello = {
        .version = slice_text(self->options.version),
        .region = gateway_region_name(self, self->region),
        .signal_count = schema->signal_count,
        .signals = lists.signals,
        .profile_count = schema->profile_count,
        .profiles = lists.profiles,
    };
    client_reply_hello(&self->reply, id, &hello);
}

bool gateway_mesh_answer(gateway_engine_t *self,
                         uint64_t reply_to,
                         const client_request_t *client,
                         now_t now)
{
    enum { S_METRIC_COUNT_MAX = 64 };
    msg_metric_t metrics[S_METRIC_COUNT_MAX];
    const char *reason = "";
    bool ready = gateway_engine_is_ready(self, &reason);
    slice_t reasons[] = {slice_text(reason)};
    (void)now;
    if (self->options.answer != NULL &&
        self->options.answer(self->options.context, reply_to, client)) {
        self->counters.replies_ok++;
        return true;
    }
    buffer_clear(&self->reply);
    if (client->op == CLIENT_OP_HELLO) {
        s_hello(self, client->id);
    } else if (client->op == CLIENT_OP_PING) {
        client_reply_ping(&self->reply, client->id);
    } else if (client->op == CLIENT_OP_HEALTH) {
        client_reply_health(&self->reply, client->id, ready, ready ? 0 : 1, reasons);
    } else if (client->op == CLIENT_OP_METRICS) {
        uint32_t count = gateway_engine_metrics(self, metrics, S_METRIC_COUNT_MAX);
        client_reply_metrics(&self->reply, client->id, count, metrics);
    } else {
        return false;
    }
    gateway_reply(self, reply_to, CODE_OK);
    return true;
}

/* What the lists of topology point into. */
typedef struct {
    slice_t regions[REGION_COUNT_MAX];
    slice_t in_sync[SHARD_COUNT_MAX][REGION_COUNT_MAX];
    slice_t placed[SHARD_COUNT_MAX][REGION_COUNT_MAX];
    client_topology_shard_t shards[SHARD_COUNT_MAX];
    slice_t tenants[TENANT_COUNT_MAX];
} topology_lists_t;

static void s_list_shard(const gateway_engine_t *self,
                         const table_tenant_t *tenant,
                         uint32_t index,
                         topology_lists_t *lists)
{
    shard_id_t shard = {(uint16_t)index};
    const table_record_t *record = table_find_record(gateway_table(self), tenant->id, shard);
    CHECK(record != NULL);
    client_topology_shard_t *row = &lists->shards[index];
    *row = (client_topology_shard_t){.shard = shard,
                                     .epoch = record->epoch,
                                     .in_sync = lists->in_sync[index],
                                     .regions = lists->placed[index]};
    if (record->leader.value != 0) {
        row->leader = gateway_region_name(self, record->leader);
    }
    row->in_sync_count = gateway_region_names(self, record->in_sync, lists->in_sync[index]);
    row->region_count = gateway_region_names(self, record->placed, lists->placed[index]);
}

void gateway_mesh_topology(gateway_engine_t *self,
                           uint64_t reply_to,
                           const client_request_t *client,
                           const table_tenant_t *tenant)
{
    const table_t *table = gateway_table(self);
    topology_lists_t lists;
    client_topology_t topology = {
        .version = table_version(table),
        .regions = lists.regions,
        .shard_count = table_shard_count(table),
        .shards = lists.shards,
        .tenant_count = table_tenant_count(table),
        .tenants = lists.tenants,
    };
    topology.region_count =
        gateway_region_names(self, topology_regions(self->env.topology), lists.regions);
    for (uint32_t i = 0; i < topology.shard_count; i++) {
        s_list_shard(self, tenant, i, &lists);
    }
    for (uint32_t i = 0; i < topology.tenant_count; i++) {
        lists.tenants[i] = slice_text(table_tenant_at(table, i)->name);
    }
    buffer_clear(&self->reply);
    client_reply_topology(&self->reply, client->id, &topology);
    gateway_reply(self, reply_to, CODE_OK);
}

/* -- every node -------------------------------------------------------------------------------- */

void gateway_mesh_begin(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    region_set_t placed = gateway_placed(self, request->tenant);
    gateway_request_set_parts(request, region_set_count(placed) * self->shard_count);
    request->deadline_ns = now.mono_ns + gateway_ms(GATEWAY_FAN_OUT_MS);
    uint32_t index = 0;
    for (uint32_t number = 1; number <= REGION_COUNT_MAX; number++) {
        region_id_t region = {(uint16_t)number};
        uint32_t count = region_set_has(placed, region) ? self->shard_count : 0;
        for (uint32_t shard = 0; shard < count; shard++) {
            gateway_part_t *part = &request->parts[index++];
            part->shard = (shard_id_t){(uint16_t)shard};
            part->target = region;
            part->state = GATEWAY_PART_WAITING;
            part->due_ns = now.mono_ns;
        }
    }
    CHECK(index == request->part_count);
}

void gateway_mesh_send(gateway_engine_t *self,
                       gateway_request_t *request,
                       uint32_t index,
                       now_t now)
{
    gateway_part_t *part = &request->parts[index];
    msg_t msg = {.type = MSG_READ};
    msg.as.read = (msg_read_t){
        .request_id = gateway_request_id(request, index),
        .tenant = request->tenant,
        .shard = part->shard,
        .max_staleness_ms = UINT32_MAX,
        .at_ns = now.wall_ns,
        .kind = request->op == CLIENT_OP_LAG ? READ_LAG : READ_DIGEST,
    };
    if (gateway_send(self, (node_id_t){part->target, part->shard}, &msg) != ERR_OK) {
        gateway_part_end(request, part, CODE_UNAVAILABLE, slice_make(NULL, 0));
        return;
    }
    part->state = GATEWAY_PART_SENT;
    part->due_ns = INT64_MAX; /* the deadline of the request */
    part->attempts++;
}

static void s_keep_lag(gateway_request_t *request,
                       gateway_part_t *part,
                       const msg_read_reply_t *answer)
{
    part->answer.size = answer->as.lag.row_count;
    for (uint32_t i = 0; i < answer->as.lag.row_count; i++) {
        const msg_lag_row_t *from = &answer->as.lag.rows[i];
        gateway_row_t row = {
            .stream = {request->tenant, from->incarnation, {from->origin, part->shard}},
            .leader_seq = from->leader_seq,
            .applied_seq = from->applied_seq,
            .lag_ms = from->lag_ms,
        };
        buffer_append(&request->rows, &row, sizeof(row));
    }
}

static void s_keep_digest(gateway_request_t *request,
                          gateway_part_t *part,
                          const msg_read_reply_t *answer)
{
    part->answer.size = answer->applied_count;
    part->message =
        gateway_request_note(request, slice_make(answer->as.digest.digest, MSG_HASH_SIZE));
    part->first_seq = answer->as.digest.signal_count;
    for (uint32_t i = 0; i < answer->applied_count; i++) {
        gateway_row_t row = {.stream = answer->applied[i].stream,
                             .applied_seq = answer->applied[i].seq};
        buffer_append(&request->rows, &row, sizeof(row));
    }
}

void gateway_mesh_answered(gateway_request_t *request,
                           gateway_part_t *part,
                           const msg_read_reply_t *answer)
{
    bool is_lag = request->op == CLIENT_OP_LAG;
    bool is_asked = answer->kind == (is_lag ? READ_LAG : READ_DIGEST);
    part->answer.offset = (uint32_t)(request->rows.size / sizeof(gateway_row_t));
    gateway_span_t message = part->message;
    if (answer->code == CODE_OK && is_asked && is_lag) {
        s_keep_lag(request, part, answer);
    } else if (answer->code == CODE_OK && is_asked) {
        s_keep_digest(request, part, answer);
        message = part->message;
    }
    code_t code = answer->code == CODE_OK && !is_asked ? CODE_INTERNAL : answer->code;
    gateway_part_end(request, part, code, slice_make(NULL, 0));
    part->message = message;
}

/* -- their replies ----------------------------------------------------------------------------- */

/* An array of maps, which the writer of the reply closes. */
static void s_put_missing(const gateway_engine_t *self,
                          const gateway_request_t *request,
                          pack_writer_t *writer)
{
    pack_put_array(writer, "missing");
    for (uint32_t i = 0; i < request->part_count; i++) {
        const gateway_part_t *part = &request->parts[i];
        if (part->code == CODE_OK) {
            continue;
        }
        pack_item(writer);
        pack_open_map(writer);
        pack_put_str(writer, "region", gateway_region_name(self, part->target));
        pack_put_u64(writer, "shard", part->shard.value);
        pack_close(writer);
    }
    pack_close(writer);
}

/* The texts of all rows' origins, each at its index. */
static const char *s_origins(gateway_engine_t *self, const gateway_row_t *rows, size_t count)
{
    buffer_clear(&self->payload);
    (void)buffer_extend(&self->payload, (count + 1) * CLIENT_ORIGIN_SIZE);
    char *origins = (char *)self->payload.data;
    for (size_t i = 0; i < count; i++) {
        client_origin_text(origins + i * CLIENT_ORIGIN_SIZE,
                           gateway_region_name(self, rows[i].stream.origin.region),
                           &rows[i].stream);
    }
    return origins;
}

static slice_t s_tenant_name(const gateway_engine_t *self, const gateway_request_t *request)
{
    const table_t *table = gateway_table(self);
    const table_tenant_t *tenant = table == NULL ? NULL : table_find_tenant(table, request->tenant);
    return slice_text(tenant == NULL ? "" : tenant->name);
}

static void s_reply_lag(gateway_engine_t *self, const gateway_request_t *request)
{
    const gateway_row_t *rows = (const gateway_row_t *)(const void *)request->rows.data;
    size_t count = request->rows.size / sizeof(*rows);
    const char *origins = s_origins(self, rows, count);
    slice_t tenant = s_tenant_name(self, request);
    buffer_clear(&self->rows);
    client_lag_t *lag =
        (client_lag_t *)(void *)buffer_extend(&self->rows, (count + 1) * sizeof(client_lag_t));
    uint32_t at = 0;
    for (uint32_t i = 0; i < request->part_count; i++) {
        const gateway_part_t *part = &request->parts[i];
        for (uint32_t k = 0; part->code == CODE_OK && k < part->answer.size; k++) {
            const gateway_row_t *row = &rows[part->answer.offset + k];
            lag[at++] = (client_lag_t){
                .region = gateway_region_name(self, part->target),
                .shard = part->shard,
                .tenant = tenant,
                .origin =
                    slice_text(origins + (size_t)(part->answer.offset + k) * CLIENT_ORIGIN_SIZE),
                .leader_seq = row->leader_seq,
                .applied_seq = row->applied_seq,
                .lag_ms = row->lag_ms,
            };
        }
    }
    pack_writer_t writer;
    client_reply_begin(&writer, &self->reply, request->id, NULL);
    client_put_lag(&writer, "nodes", at, lag);
    s_put_missing(self, request, &writer);
    client_reply_end(&writer);
}

static void s_reply_digest(gateway_engine_t *self, const gateway_request_t *request)
{
    const gateway_row_t *rows = (const gateway_row_t *)(const void *)request->rows.data;
    size_t count = request->rows.size / sizeof(*rows);
    const char *origins = s_origins(self, rows, count);
    slice_t tenant = s_tenant_name(self, request);
    size_t applied_size = (count + 1) * sizeof(client_applied_t);
    buffer_clear(&self->rows);
    uint8_t *memory =
        buffer_extend(&self->rows, applied_size + request->part_count * sizeof(client_digest_t));
    client_applied_t *applied = (client_applied_t *)(void *)memory;
    client_digest_t *digests = (client_digest_t *)(void *)(memory + applied_size);
    for (size_t i = 0; i < count; i++) {
        applied[i] =
            (client_applied_t){slice_text(origins + i * CLIENT_ORIGIN_SIZE), rows[i].applied_seq};
    }
    for (uint32_t i = 0; i < request->part_count; i++) {
        const gateway_part_t *part = &request->parts[i];
        digests[i] = (client_digest_t){.region = gateway_region_name(self, part->target),
                                       .shard = part->shard,
                                       .tenant = tenant,
                                       .answered = part->code == CODE_OK};
        if (part->code == CODE_OK) {
            digests[i].applied = applied + part->answer.offset;
            digests[i].applied_count = part->answer.size < MSGPACK_MAP_COUNT_MAX
                                           ? part->answer.size
                                           : MSGPACK_MAP_COUNT_MAX;
            digests[i].signal_count = part->first_seq;
            memcpy(digests[i].digest, gateway_request_text(request, part->message).data,
                   MSG_HASH_SIZE);
        }
    }
    client_reply_digest(&self->reply, request->id, request->part_count, digests);
}

void gateway_mesh_finish(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    buffer_clear(&self->reply);
    if (request->op == CLIENT_OP_LAG) {
        s_reply_lag(self, request);
    } else {
        s_reply_digest(self, request);
    }
    gateway_finish(self, request, CODE_OK, now);
}

/* -- metrics ----------------------------------------------------------------------------------- */

typedef struct {
    msg_metric_t *metrics;
    uint32_t count;
    uint32_t count_max;
} list_t;

static void s_add(list_t *list, const char *name, uint64_t value)
{
    if (list->count < list->count_max) {
        list->metrics[list->count++] = (msg_metric_t){slice_text(name), (double)value};
    }
}

uint32_t gateway_engine_metrics(const gateway_engine_t *self,
                                msg_metric_t *ret_metrics,
                                uint32_t metric_count_max)
{
    const gateway_counters_t *counters = &self->counters;
    list_t list = {ret_metrics, 0, metric_count_max};
    s_add(&list, "gateway_requests", counters->requests);
    s_add(&list, "gateway_inflight", self->requests.open_count);
    s_add(&list, "gateway_held_bytes", self->requests.held_bytes);
    s_add(&list, "gateway_replies_ok", counters->replies_ok);
    s_add(&list, "gateway_replies_failed", counters->replies_failed);
    s_add(&list, "gateway_replies_bad_request", counters->by_code[CODE_BAD_REQUEST]);
    s_add(&list, "gateway_replies_unavailable", counters->by_code[CODE_UNAVAILABLE]);
    s_add(&list, "gateway_replies_not_replicated", counters->by_code[CODE_NOT_REPLICATED]);
    s_add(&list, "gateway_replies_partial", counters->by_code[CODE_PARTIAL]);
    s_add(&list, "gateway_replies_overloaded", counters->by_code[CODE_OVERLOADED]);
    s_add(&list, "gateway_replies_stale", counters->by_code[CODE_STALE]);
    s_add(&list, "gateway_replies_timeout", counters->by_code[CODE_TIMEOUT]);
    s_add(&list, "gateway_replies_degraded", counters->degraded);
    s_add(&list, "gateway_replies_dropped", counters->reply_dropped);
    s_add(&list, "gateway_signals", counters->signals);
    s_add(&list, "gateway_parts_sent", counters->parts_sent);
    s_add(&list, "gateway_parts_retried", counters->retries);
    s_add(&list, "gateway_sends_refused", counters->send_refused);
    s_add(&list, "gateway_answers_late", counters->late_answers);
    s_add(&list, "gateway_malformed", counters->malformed);
    s_add(&list, "gateway_tokens_cut", counters->token_cut);
    s_add(&list, "gateway_pairs_asked", counters->pairs_asked);
    s_add(&list, "gateway_pairs_refused", counters->pairs_refused);
    s_add(&list, "gateway_pairs_unknown", counters->pairs_unknown);
    s_add(&list, "gateway_tables", counters->tables);
    s_add(&list, "gateway_table_version", gateway_engine_table_version(self));
    s_add(&list, "gateway_probes", counters->probes);
    s_add(&list, "gateway_request_longest_us", (uint64_t)counters->longest_ns / 1000);
    return list.count;
}
