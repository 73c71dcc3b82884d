#include "common/cluster/control_engine.h"

#include "common/base/check.h"
#include "common/base/tick.h"
#include "common/cluster/decision.h"
#include "common/cluster/stable_floor.h"
#include "common/topology/process.h"
#include "common/wire/client_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S_LINK_METRIC "link_mode."
enum {
    S_PUBLISH_MS = 1000,
    S_SILENT_HEARTBEATS = 8, /* of a process that then counts as missing */
    S_STABLE_COUNT_MAX = STREAM_COUNT_MAX,
    S_CLOCK_COUNT_MAX = REGION_COUNT_MAX * SHARD_COUNT_MAX, /* one for each node */
    S_LINKS_MAX = (REGION_COUNT_MAX + 1) * (REGION_COUNT_MAX + 1)
};

/* A link that the proxy does not let pass. */
typedef struct {
    char from[NAME_LENGTH_MAX + 1];
    char to[NAME_LENGTH_MAX + 1];
    client_link_mode_t mode;
} s_link_t;

struct control_engine {
    engine_env_t env;
    char path[WAL_PATH_SIZE_MAX]; /* of the table */
    table_t *table;
    buffer_t encoded; /* the table */
    mesh_view_t *view;
    msg_codec_t *codec;
    buffer_t out;
    stable_floor_t *floor;
    uint32_t stable_count;
    stream_position_t *stable; /* S_STABLE_COUNT_MAX */
    uint32_t clock_count;      /* nodes whose clock is too far ahead */
    msg_clock_t clocks[S_CLOCK_COUNT_MAX];
    uint32_t link_count;
    s_link_t links[S_LINKS_MAX];
    uint64_t publish_seq;
    int64_t next_publish_ns;
    bool publish_is_due; /* somebody has an older table */
    int64_t published_ns;
    uint64_t heartbeat_count;
    uint64_t malformed_count;
    uint64_t request_count;
    uint64_t decision_count;
    err_t fatal; /* not ERR_OK: whether a decision is durable is not known; the process must end */
    errbuf_t fatal_text;
};

/* -- life -------------------------------------------------------------------------------------- */

static err_t s_load(control_engine_t *self, errbuf_t *errbuf)
{
    err_t err = table_cache_load(self->env.disk, self->path, &self->table, errbuf);
    if (err == ERR_NOT_FOUND) {
        self->table = table_new_default(self->env.topology);
        err = table_cache_save(self->table, self->env.disk, self->path, errbuf);
    } else if (err == ERR_OK) {
        err = table_check_topology(self->table, self->env.topology, errbuf);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf,
                      "routing table %s (the mesh's only record of leaders: restore it, start with "
                      "the topology that it belongs to, or begin with an empty data folder)",
                      self->path);
    }
    return err;
}

err_t control_engine_open(const engine_env_t *env,
                          now_t now,
                          control_engine_t **ret_engine,
                          errbuf_t *errbuf)
{
    control_engine_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = *env;
    (void)snprintf(self->path, sizeof(self->path), "%s/control/table", env->data_folder);
    self->codec = msg_codec_new();
    buffer_init(&self->encoded);
    buffer_init(&self->out);
    self->view = mesh_view_new(env->topology, (int64_t)env->topology->timing.heartbeat_ms *
                                                  S_SILENT_HEARTBEATS * ENGINE_NS_PER_MS);
    self->floor = stable_floor_new();
    self->stable = calloc(S_STABLE_COUNT_MAX, sizeof(*self->stable));
    CHECK(self->stable != NULL);
    self->next_publish_ns = now.mono_ns;
    err_t err = s_load(self, errbuf);
    if (err != ERR_OK) {
        control_engine_close(&self);
        return err;
    }
    table_encode(self->table, &self->encoded);
    *ret_engine = self;
    return ERR_OK;
}

void control_engine_close(control_engine_t **self_p)
{
    control_engine_t *self = *self_p;
    if (self != NULL) {
        table_destroy(&self->table);
        mesh_view_destroy(&self->view);
        stable_floor_destroy(&self->floor);
        msg_codec_destroy(&self->codec);
        buffer_done(&self->encoded);
        buffer_done(&self->out);
        free(self->stable);
        free(self);
        *self_p = NULL;
    }
}

/* -- the table --------------------------------------------------------------------------------- */

/* Encodes MSG_TABLE into self->out. */
static void s_encode_table(control_engine_t *self, now_t now)
{
    int64_t skew_ns = (int64_t)self->env.topology->timing.clock_skew_ms * ENGINE_NS_PER_MS;
    self->clock_count =
        mesh_view_clocks_ahead(self->view, skew_ns, now.mono_ns, self->clocks, S_CLOCK_COUNT_MAX);
    self->stable_count =
        stable_floor_review(self->floor, self->view, self->table, self->stable, S_STABLE_COUNT_MAX);
    msg_t msg = {.type = MSG_TABLE};
    msg.as.table = (msg_table_t){
        .boot = self->env.boot,
        .publish_seq = ++self->publish_seq,
        .table = buffer_slice(&self->encoded),
        .stable_count = self->stable_count,
        .stable = self->stable,
        .clock_count = self->clock_count,
        .clocks = self->clocks,
    };
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
}

static void s_publish(control_engine_t *self, now_t now)
{
    s_encode_table(self, now);
    self->env.net->publish(self->env.net->context, ENGINE_TOPIC_TABLE, self->out.data,
                           self->out.size);
    self->publish_is_due = false;
    self->published_ns = now.mono_ns;
    self->next_publish_ns = tick_after(now.mono_ns, (int64_t)S_PUBLISH_MS * ENGINE_NS_PER_MS);
}

/* Makes a decision durable, and then known. takes *next_p, nulled also when it is refused; NULL:
 * nothing is to be changed
 * errs ERR_DISK_FULL nothing was changed · others: the process must end, as turn_end says */
static err_t s_commit(control_engine_t *self, table_t **next_p, now_t now, errbuf_t *errbuf)
{
    if (*next_p == NULL) {
        return ERR_OK;
    }
    CHECK(table_is_newer(*next_p, self->table));
    err_t err = self->fatal;
    if (err == ERR_OK) {
        err = table_cache_save(*next_p, self->env.disk, self->path, errbuf);
    } else {
        *errbuf = self->fatal_text;
    }
    if (err != ERR_OK) {
        table_destroy(next_p);
        errbuf_prefix(errbuf, "keep the routing table");
        if (err != ERR_DISK_FULL && self->fatal == ERR_OK) {
            self->fatal = err;
            self->fatal_text = *errbuf;
        }
        return err;
    }
    table_destroy(&self->table);
    self->table = *next_p;
    *next_p = NULL;
    buffer_clear(&self->encoded);
    table_encode(self->table, &self->encoded);
    self->decision_count++;
    s_publish(self, now);
    return ERR_OK;
}

void control_engine_message(control_engine_t *self, uint64_t reply_to, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    const net_t *net = self->env.net;
    if (msg_decode(self->codec, bytes, &msg, &errbuf) == ERR_OK && msg.type == MSG_TABLE_REQUEST) {
        self->request_count++;
        s_encode_table(self, now);
        (void)net->reply(net->context, reply_to, self->out.data, self->out.size);
    } else {
        self->malformed_count++;
    }
    net->forget(net->context, reply_to);
}

/* -- heartbeats -------------------------------------------------------------------------------- */

/* "link_mode.<from>.<to>": what the proxy does to a link that does not simply pass. */
static bool s_read_link(const msg_metric_t *metric, s_link_t *ret_link)
{
    size_t prefix = sizeof(S_LINK_METRIC) - 1;
    if (metric->name.size <= prefix || memcmp(metric->name.data, S_LINK_METRIC, prefix) != 0 ||
        metric->value < 0 || metric->value > CLIENT_LINK_CUT) {
        return false;
    }
    const char *from = (const char *)metric->name.data + prefix;
    size_t left = metric->name.size - prefix;
    const char *dot = memchr(from, '.', left);
    if (dot == NULL) {
        return false;
    }
    size_t from_size = (size_t)(dot - from);
    size_t to_size = left - from_size - 1;
    if (from_size > NAME_LENGTH_MAX || to_size > NAME_LENGTH_MAX) {
        return false;
    }
    *ret_link = (s_link_t){.mode = (client_link_mode_t)metric->value};
    memcpy(ret_link->from, from, from_size);
    memcpy(ret_link->to, dot + 1, to_size);
    return true;
}

static void s_take_links(control_engine_t *self, const msg_heartbeat_t *heartbeat)
{
    self->link_count = 0;
    for (uint32_t i = 0; i < heartbeat->metric_count && self->link_count < S_LINKS_MAX; i++) {
        if (s_read_link(&heartbeat->metrics[i], &self->links[self->link_count])) {
            self->link_count++;
        }
    }
}

/* False for one that no process of this mesh sends; an old one is none of those. */
static bool s_take_heartbeat(control_engine_t *self, const msg_heartbeat_t *heartbeat, now_t now)
{
    err_t err = mesh_view_heartbeat(self->view, heartbeat, now.mono_ns);
    return err != ERR_NOT_FOUND && err != ERR_CORRUPT;
}

void control_engine_published(control_engine_t *self, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    if (msg_decode(self->codec, bytes, &msg, &errbuf) != ERR_OK || msg.type != MSG_HEARTBEAT ||
        !s_take_heartbeat(self, &msg.as.heartbeat, now)) {
        self->malformed_count++;
        return;
    }
    const msg_heartbeat_t *heartbeat = &msg.as.heartbeat;
    self->heartbeat_count++;
    bool uses_table =
        heartbeat->from.kind != PROCESS_PROXY && heartbeat->from.kind != PROCESS_CONTROL;
    if (uses_table && heartbeat->table_version < table_version(self->table)) {
        self->publish_is_due = true;
    }
    if (heartbeat->from.kind == PROCESS_PROXY) {
        s_take_links(self, heartbeat);
    }
}

err_t control_engine_turn_end(control_engine_t *self, now_t now, errbuf_t *errbuf)
{
    if (self->fatal != ERR_OK) {
        *errbuf = self->fatal_text;
        return self->fatal;
    }
    int64_t period_ns = (int64_t)self->env.topology->timing.heartbeat_ms * ENGINE_NS_PER_MS;
    if (self->publish_is_due && now.mono_ns - self->published_ns >= period_ns / 2) {
        s_publish(self, now);
    }
    return ERR_OK;
}

void control_engine_tick(control_engine_t *self, now_t now)
{
    if (now.mono_ns >= self->next_publish_ns) {
        s_publish(self, now);
    }
}

int64_t control_engine_deadline_ns(const control_engine_t *self)
{
    return self->next_publish_ns;
}

uint64_t control_engine_table_version(const control_engine_t *self)
{
    return table_version(self->table);
}

const stream_position_t *control_engine_stable(const control_engine_t *self, uint32_t *ret_count)
{
    *ret_count = self->stable_count;
    return self->stable;
}

uint32_t control_engine_metrics(const control_engine_t *self,
                                msg_metric_t *ret_metrics,
                                uint32_t metric_count_max)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"control_table_version", table_version(self->table)},
        {"control_heartbeats", self->heartbeat_count},
        {"control_table_requests", self->request_count},
        {"control_published", self->publish_seq},
        {"control_decisions", self->decision_count},
        {"control_malformed", self->malformed_count},
        {"control_clocks_ahead", self->clock_count},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && count < metric_count_max; i++) {
        ret_metrics[count++] =
            (msg_metric_t){slice_make(rows[i].name, strlen(rows[i].name)), (double)rows[i].value};
    }
    return count;
}

/* -- clients ----------------------------------------------------------------------------------- */

static slice_t s_text(const char *text)
{
    return slice_make(text, strlen(text));
}

static slice_t s_place(const control_engine_t *self, region_id_t region)
{
    return s_text(topology_place_name(self->env.topology, region));
}

/* Names of the regions of a set; memory of the caller. Returns how many. */
static uint32_t s_names(const control_engine_t *self, region_set_t set, slice_t *ret_names)
{
    uint32_t count = 0;
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region_set_has(set, (region_id_t){region})) {
            ret_names[count++] = s_place(self, (region_id_t){region});
        }
    }
    return count;
}

/* What a topology reply borrows from. */
typedef struct {
    slice_t regions[REGION_COUNT_MAX];
    slice_t tenants[TENANT_COUNT_MAX];
    client_topology_shard_t shards[SHARD_COUNT_MAX];
    slice_t in_sync[SHARD_COUNT_MAX][REGION_COUNT_MAX];
    slice_t placed[SHARD_COUNT_MAX][REGION_COUNT_MAX];
} s_topology_memory_t;

static client_topology_shard_t s_shard(const control_engine_t *self,
                                       shard_id_t shard,
                                       const table_record_t *record,
                                       slice_t in_sync[REGION_COUNT_MAX],
                                       slice_t placed[REGION_COUNT_MAX])
{
    return (client_topology_shard_t){
        .shard = shard,
        .epoch = record->epoch,
        .leader = record->leader.value == 0 ? s_text("") : s_place(self, record->leader),
        .in_sync_count = s_names(self, record->in_sync, in_sync),
        .in_sync = in_sync,
        .region_count = s_names(self, record->placed, placed),
        .regions = placed,
    };
}

static client_topology_t s_topology(const control_engine_t *self,
                                    tenant_id_t tenant,
                                    s_topology_memory_t *memory)
{
    client_topology_t reply = {
        .version = table_version(self->table),
        .region_count = s_names(self, topology_regions(self->env.topology), memory->regions),
        .regions = memory->regions,
        .shard_count = table_shard_count(self->table),
        .shards = memory->shards,
        .tenant_count = table_tenant_count(self->table),
        .tenants = memory->tenants,
    };
    for (uint32_t i = 0; i < reply.tenant_count; i++) {
        memory->tenants[i] = s_text(table_tenant_at(self->table, i)->name);
    }
    for (uint16_t shard = 0; shard < reply.shard_count; shard++) {
        const table_record_t *record = table_find_record(self->table, tenant, (shard_id_t){shard});
        CHECK(record != NULL);
        memory->shards[shard] = s_shard(self, (shard_id_t){shard}, record, memory->in_sync[shard],
                                        memory->placed[shard]);
    }
    return reply;
}

typedef struct {
    uint32_t count;
    client_lag_t *rows; /* owned */
    char (*origins)[CLIENT_ORIGIN_SIZE];
} s_lag_memory_t;

static void s_add_lag(const control_engine_t *self,
                      const mesh_view_process_t *process,
                      const mesh_view_state_t *state,
                      s_lag_memory_t *memory)
{
    const table_tenant_t *tenant = table_find_tenant(self->table, state->tenant);
    for (uint32_t i = 0; tenant != NULL && i < state->lag_count; i++) {
        const msg_lag_row_t *row = &state->lag[i];
        stream_id_t stream = {.tenant = state->tenant,
                              .incarnation = row->incarnation,
                              .origin = {row->origin, process->address.shard}};
        client_origin_text(memory->origins[memory->count], s_place(self, row->origin), &stream);
        memory->rows[memory->count] = (client_lag_t){
            .region = s_place(self, process->address.region),
            .shard = process->address.shard,
            .tenant = s_text(tenant->name),
            .origin = s_text(memory->origins[memory->count]),
            .leader_seq = row->leader_seq,
            .applied_seq = row->applied_seq,
            .lag_ms = row->lag_ms,
        };
        memory->count++;
    }
}

/* Rows of all nodes; freed with s_free_lag. */
static s_lag_memory_t s_lag(const control_engine_t *self)
{
    size_t total = 0;
    for (uint32_t i = 0; i < mesh_view_count(self->view); i++) {
        const mesh_view_process_t *process = mesh_view_process(self->view, i);
        for (uint32_t s = 0; s < process->state_count; s++) {
            total += process->states[s].lag_count;
        }
    }
    s_lag_memory_t memory = {.rows = calloc(total + 1, sizeof(client_lag_t)),
                             .origins = calloc(total + 1, CLIENT_ORIGIN_SIZE)};
    CHECK(memory.rows != NULL && memory.origins != NULL);
    for (uint32_t i = 0; i < mesh_view_count(self->view); i++) {
        const mesh_view_process_t *process = mesh_view_process(self->view, i);
        for (uint32_t s = 0; s < process->state_count; s++) {
            s_add_lag(self, process, &process->states[s], &memory);
        }
    }
    return memory;
}

static void s_free_lag(s_lag_memory_t *memory)
{
    free(memory->rows);
    free(memory->origins);
}

typedef struct {
    uint32_t count;
    client_process_t *rows; /* owned */
    char (*names)[PROCESS_NAME_SIZE];
} s_process_memory_t;

static s_process_memory_t s_processes(const control_engine_t *self, now_t now)
{
    uint32_t count = mesh_view_count(self->view);
    s_process_memory_t memory = {.count = count,
                                 .rows = calloc(count + 1, sizeof(client_process_t)),
                                 .names = calloc(count + 1, PROCESS_NAME_SIZE)};
    CHECK(memory.rows != NULL && memory.names != NULL);
    for (uint32_t i = 0; i < count; i++) {
        const mesh_view_process_t *process = mesh_view_process(self->view, i);
        int64_t silent_ms = (now.mono_ns - process->heard_ns) / ENGINE_NS_PER_MS;
        bool is_self = process->address.kind == PROCESS_CONTROL;
        memory.rows[i] = (client_process_t){
            .name = s_text(process_name(self->env.topology, process->address, memory.names[i])),
            .kind = s_text(process_kind_name(process->address.kind)),
            .region = s_place(self, process_place(process->address)),
            .has_shard = process->address.kind == PROCESS_NODE,
            .shard = process->address.shard,
            .alive = is_self || mesh_view_is_alive(self->view, process, now.mono_ns),
            .ready = is_self || process->ready,
            .reason = s_text(process->reason),
            .boot = is_self ? self->env.boot : process->boot,
            .silent_ms = is_self                                         ? 0
                         : !process->is_heard || silent_ms >= UINT32_MAX ? UINT32_MAX
                                                                         : (uint32_t)silent_ms,
            .table_version = is_self ? table_version(self->table) : process->table_version,
        };
    }
    return memory;
}

/* A row per tenant; owned by the caller. */
static client_usage_t *s_usage(const control_engine_t *self)
{
    uint32_t count = table_tenant_count(self->table);
    client_usage_t *rows = calloc((size_t)count + 1, sizeof(*rows));
    CHECK(rows != NULL);
    for (uint32_t i = 0; i < count; i++) {
        const table_tenant_t *tenant = table_tenant_at(self->table, i);
        usage_t usage = {0};
        mesh_view_usage(self->view, tenant->id, &usage);
        rows[i] = (client_usage_t){.tenant = s_text(tenant->name),
                                   .signals = pn_counter_value(&usage.signals),
                                   .bytes = pn_counter_value(&usage.bytes)};
        usage_done(&usage);
    }
    return rows;
}

static void s_reply_status(control_engine_t *self,
                           const client_request_t *request,
                           tenant_id_t tenant,
                           buffer_t *out,
                           now_t now)
{
    s_topology_memory_t *topology = calloc(1, sizeof(*topology));
    client_link_t *links = calloc(self->link_count + 1, sizeof(*links));
    CHECK(topology != NULL && links != NULL);
    s_lag_memory_t lag = s_lag(self);
    s_process_memory_t processes = s_processes(self, now);
    for (uint32_t i = 0; i < self->link_count; i++) {
        links[i] = (client_link_t){.from = s_text(self->links[i].from),
                                   .to = s_text(self->links[i].to),
                                   .rule = {.mode = self->links[i].mode}};
    }
    client_usage_t *usage = s_usage(self);
    mesh_view_summary_t summary;
    mesh_view_summary(self->view, self->table, now.mono_ns, &summary);
    client_status_t status = {
        .converged = summary.converged,
        .summary = s_text(summary.text),
        .topology = s_topology(self, tenant, topology),
        .process_count = processes.count,
        .processes = processes.rows,
        .lag_count = lag.count,
        .lag = lag.rows,
        .link_count = self->link_count,
        .links = links,
        .usage_count = table_tenant_count(self->table),
        .usage = usage,
    };
    client_reply_status(out, request->id, &status);
    s_free_lag(&lag);
    free(processes.rows);
    free(processes.names);
    free(links);
    free(usage);
    free(topology);
}

static void s_reply_tenant(const control_engine_t *self,
                           const client_request_t *request,
                           buffer_t *out)
{
    const table_tenant_t *tenant = table_find_tenant_name(self->table, request->tenant);
    CHECK(tenant != NULL);
    slice_t regions[REGION_COUNT_MAX];
    client_tenant_t reply = {
        .tenant = s_text(tenant->name),
        .generation = tenant->id.value,
        .region_count = s_names(self, table_tenant_regions(tenant), regions),
        .regions = regions,
        .accepts_islands = tenant->island == ISLAND_ACCEPT,
        .version = table_version(self->table),
    };
    client_reply_tenant(out, request->id, &reply);
}

static void s_reply_record(const control_engine_t *self,
                           const client_request_t *request,
                           buffer_t *out)
{
    const table_tenant_t *tenant = table_find_tenant_name(self->table, request->tenant);
    CHECK(tenant != NULL);
    shard_id_t shard = request->as.promote.shard;
    const table_record_t *record = table_find_record(self->table, tenant->id, shard);
    CHECK(record != NULL);
    slice_t in_sync[REGION_COUNT_MAX];
    slice_t placed[REGION_COUNT_MAX];
    client_record_t reply = {
        .tenant = s_text(tenant->name),
        .shard = s_shard(self, shard, record, in_sync, placed),
        .record_version = record->version,
        .version = table_version(self->table),
    };
    client_reply_record(out, request->id, &reply);
}

/* create_tenant, promote: decided, durable, published, answered. */
static void s_decide(control_engine_t *self,
                     const client_request_t *request,
                     buffer_t *out,
                     now_t now)
{
    errbuf_t errbuf = {{0}};
    table_t *next = NULL;
    bool creates = request->op == CLIENT_OP_CREATE_TENANT;
    code_t code =
        creates ? decision_create_tenant(self->table, self->env.topology, request, &next, &errbuf)
                : decision_promote(self->table, self->env.topology, request, &next, &errbuf);
    if (code == CODE_OK) {
        err_t err = s_commit(self, &next, now, &errbuf);
        code = err == ERR_OK ? CODE_OK : err == ERR_DISK_FULL ? CODE_DISK_FULL : CODE_INTERNAL;
    }
    if (code != CODE_OK) {
        client_reply_error(out, request->id, code, errbuf.text);
    } else if (creates) {
        s_reply_tenant(self, request, out);
    } else {
        s_reply_record(self, request, out);
    }
}

bool control_engine_client(control_engine_t *self,
                           const client_request_t *request,
                           buffer_t *out,
                           now_t now)
{
    if (request->op == CLIENT_OP_CREATE_TENANT || request->op == CLIENT_OP_PROMOTE) {
        s_decide(self, request, out, now);
        return true;
    }
    bool is_ours = request->op == CLIENT_OP_TOPOLOGY || request->op == CLIENT_OP_LAG ||
                   request->op == CLIENT_OP_STATUS;
    if (!is_ours) {
        return false;
    }
    const table_tenant_t *tenant = table_find_tenant_name(self->table, request->tenant);
    if (tenant == NULL) {
        client_reply_error(
            out, request->id, CODE_UNKNOWN_TENANT,
            "tenant: expected the name of a tenant, found another one; `topology` of "
            "tenant default lists them");
    } else if (request->op == CLIENT_OP_TOPOLOGY) {
        s_topology_memory_t *memory = calloc(1, sizeof(*memory));
        CHECK(memory != NULL);
        client_topology_t topology = s_topology(self, tenant->id, memory);
        client_reply_topology(out, request->id, &topology);
        free(memory);
    } else if (request->op == CLIENT_OP_LAG) {
        s_lag_memory_t memory = s_lag(self);
        client_reply_lag(out, request->id, memory.count, memory.rows);
        s_free_lag(&memory);
    } else {
        s_reply_status(self, request, tenant->id, out, now);
    }
    return true;
}
