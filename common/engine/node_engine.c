#include "common/engine/node_engine.h"

#include "common/base/check.h"
#include "common/base/tick.h"
#include "common/engine/node_repair.h"
#include "common/engine/node_snapshot.h"
#include "common/engine/table_keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    S_METRIC_NAME_SIZE = 96,
    S_PERIOD_HEARTBEATS = 2,
    S_REPEAT_PERIODS = 2,        /* between two repetitions of positions that did not move */
    S_APPLY_ROUNDS_MAX = 4,      /* reads of a replica per turn: some ten ms of replay at most */
    S_SEEN_BUCKET_COUNT = 16384, /* of messages that wrote without a producer */
    S_SEEN_WAY_COUNT = 4,        /* half a megabyte: the latest 65,536, less where they crowd */
    S_TENANT_KEY_SIZE = 8
};

/* What a tenant's part of the heartbeat borrows from. */
typedef struct {
    msg_lag_row_t lag[REPLICA_LAG_ROW_COUNT_MAX];
    msg_usage_t usage[REGION_COUNT_MAX];
    uint64_t applied_sum; /* of all positions, at the last heartbeat */
} s_state_memory_t;

struct node_engine {
    engine_env_t env;
    const store_t *store;
    hlc_t hlc;
    table_keeper_t *tables;
    msg_codec_t *codec;
    msg_codec_t *parked_codec;
    buffer_t out;
    uint32_t replica_count;
    replica_t *replicas[TENANT_COUNT_MAX];
    msg_node_state_t states[TENANT_COUNT_MAX];
    s_state_memory_t *state_memory; /* replica_count */
    node_repair_t *repair;
    node_snapshot_t *snapshots;
    uint64_t publish_seq;
    int64_t next_period_ns;
    uint64_t period_count;
    int64_t next_checkpoint_ns;
    bool checkpoint_is_under_way;
    bool has_more; /* to apply */
    bool heard_shipper;
    uint32_t clock_ahead_ms; /* of its peers, where that is too far; else 0 */
    int64_t heard_shipper_ns;
    uint64_t checkpoint_count;
    uint64_t checkpoint_failed_count;
    uint64_t checkpoint_entries;
    char lag_names[REGION_COUNT_MAX + 1][S_METRIC_NAME_SIZE]; /* "node_follower_lag_seq.eu-west" */
    uint64_t malformed_count;
    uint64_t repeated_count;            /* writes that the network delivered twice */
    stream_position_t *positions;       /* scratch of an announcement, STREAM_COUNT_MAX */
    uint64_t (*seen)[S_SEEN_WAY_COUNT]; /* hashes of messages, S_SEEN_BUCKET_COUNT; newest first */
    uint64_t unknown_tenant_count;
    err_t fatal; /* not ERR_OK: the process must end */
    errbuf_t fatal_text;
};

/* -- replicas ---------------------------------------------------------------------------------- */

replica_t *node_engine_replica(node_engine_t *self, tenant_id_t tenant)
{
    for (uint32_t i = 0; i < self->replica_count; i++) {
        if (replica_tenant(self->replicas[i]).value == tenant.value) {
            return self->replicas[i];
        }
    }
    return NULL;
}

typedef struct {
    replica_t *replica;
    errbuf_t *errbuf;
} s_load_t;

static err_t s_load_entry(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    s_load_t *load = context;
    CHECK(key_size >= S_TENANT_KEY_SIZE);
    return replica_load_entry(load->replica,
                              slice_make(key + S_TENANT_KEY_SIZE, key_size - S_TENANT_KEY_SIZE),
                              slice_make(value, value_size), load->errbuf);
}

/* Brings a tenant's replica up from its checkpoint and log. */
static err_t s_open_replica(node_engine_t *self,
                            const table_tenant_t *tenant,
                            now_t now,
                            errbuf_t *errbuf)
{
    CHECK(self->replica_count < TENANT_COUNT_MAX);
    replica_node_t node = {&self->env, &self->hlc};
    replica_t *replica = replica_new(&node, tenant->id, tenant->name);
    uint8_t prefix[S_TENANT_KEY_SIZE];
    bytes_put_u64_be(prefix, tenant->id.value);
    s_load_t load = {replica, errbuf};
    err_t err = self->store->walk(self->store->context, prefix, sizeof(prefix), s_load_entry, &load,
                                  errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "load the checkpoint (it can be deleted: state is then rebuilt from "
                              "the log)");
    } else {
        err = replica_recover(replica, now, errbuf);
    }
    if (err != ERR_OK) {
        replica_close(&replica);
        return err;
    }
    self->state_memory =
        realloc(self->state_memory, (self->replica_count + 1) * sizeof(*self->state_memory));
    CHECK(self->state_memory != NULL);
    self->state_memory[self->replica_count].applied_sum = 0;
    self->replicas[self->replica_count++] = replica;
    return ERR_OK;
}

/* Every tenant that the table places here has a replica, and each knows its record. */
static err_t s_use_table(node_engine_t *self, now_t now, errbuf_t *errbuf)
{
    const table_t *table = table_keeper_table(self->tables);
    if (table == NULL) {
        return ERR_OK;
    }
    err_t fits = table_check_topology(table, self->env.topology, errbuf);
    if (fits != ERR_OK) {
        errbuf_prefix(errbuf, "the data folder belongs to another topology: start with that one, "
                              "or with an empty data folder");
        return fits;
    }
    for (uint32_t i = 0; i < table_tenant_count(table); i++) {
        const table_tenant_t *tenant = table_tenant_at(table, i);
        if (!table_is_placed(table, tenant->id, self->env.self.region)) {
            continue;
        }
        bool is_open = node_engine_replica(self, tenant->id) != NULL;
        err_t err = is_open ? ERR_OK : s_open_replica(self, tenant, now, errbuf);
        if (err != ERR_OK) {
            return err;
        }
        replica_take_table(node_engine_replica(self, tenant->id), table, now);
    }
    return ERR_OK;
}

/* -- life -------------------------------------------------------------------------------------- */

err_t node_engine_open(const engine_env_t *env,
                       const store_t *store,
                       now_t now,
                       node_engine_t **ret_engine,
                       errbuf_t *errbuf)
{
    node_engine_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = *env;
    self->store = store;
    hlc_init(&self->hlc, (uint32_t)env->self.region.value << 16 | env->self.shard.value);
    self->codec = msg_codec_new();
    self->parked_codec = msg_codec_new();
    self->repair = node_repair_new(&self->env);
    self->snapshots = node_snapshot_new(&self->env);
    self->positions = malloc(STREAM_COUNT_MAX * sizeof(*self->positions));
    CHECK(self->positions != NULL);
    self->seen = calloc(S_SEEN_BUCKET_COUNT, sizeof(*self->seen));
    CHECK(self->seen != NULL);
    buffer_init(&self->out);
    self->next_period_ns = now.mono_ns;
    for (uint32_t i = 0; i < env->topology->region_count; i++) {
        const topology_region_t *region = &env->topology->regions[i];
        (void)snprintf(self->lag_names[region->id.value], S_METRIC_NAME_SIZE,
                       "node_follower_lag_seq.%s", region->name);
    }
    /* Nodes of one machine share its disk: their checkpoints are spread over the interval. */
    int64_t interval_ns = (int64_t)env->topology->checkpoint.interval_ms * ENGINE_NS_PER_MS;
    self->next_checkpoint_ns =
        now.mono_ns + interval_ns / 2 + (int64_t)(env->boot % 1000) * (interval_ns / 2) / 1000;
    char folder[WAL_PATH_SIZE_MAX];
    (void)snprintf(folder, sizeof(folder), "%s/%s/shard-%u", env->data_folder,
                   topology_place_name(env->topology, env->self.region),
                   (unsigned)env->self.shard.value);
    err_t err = table_keeper_open(env->disk, folder, &self->tables, errbuf);
    if (err == ERR_OK) {
        err = s_use_table(self, now, errbuf);
    }
    if (err != ERR_OK) {
        node_engine_close(&self);
        return err;
    }
    *ret_engine = self;
    return ERR_OK;
}

void node_engine_close(node_engine_t **self_p)
{
    node_engine_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    node_repair_destroy(&self->repair);
    node_snapshot_destroy(&self->snapshots);
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_close(&self->replicas[i]);
    }
    table_keeper_close(&self->tables);
    msg_codec_destroy(&self->codec);
    msg_codec_destroy(&self->parked_codec);
    buffer_done(&self->out);
    free(self->state_memory);
    free(self->seen);
    free(self->positions);
    free(self);
    *self_p = NULL;
}

/* -- messages ---------------------------------------------------------------------------------- */

static void s_refuse_tenant(node_engine_t *self, uint64_t reply_to, const msg_t *msg)
{
    static const char s_text[] =
        "this node does not hold that tenant and shard; fetch the topology";
    msg_t answer = {.type = MSG_WRITE_REPLY};
    if (msg->type == MSG_WRITE) {
        answer.as.write_reply = (msg_write_reply_t){
            .request_id = msg->as.write.request_id,
            .code = CODE_UNAVAILABLE,
            .message = slice_make(s_text, sizeof(s_text) - 1),
        };
    } else {
        answer.type = MSG_READ_REPLY;
        answer.as.read_reply = (msg_read_reply_t){
            .request_id = msg->as.read.request_id,
            .kind = msg->as.read.kind,
            .code = CODE_UNAVAILABLE,
            .message = slice_make(s_text, sizeof(s_text) - 1),
        };
    }
    self->unknown_tenant_count++;
    buffer_clear(&self->out);
    msg_encode(&answer, &self->out);
    (void)self->env.net->reply(self->env.net->context, reply_to, self->out.data, self->out.size);
    self->env.net->forget(self->env.net->context, reply_to);
}

/* A link may deliver a message twice. With a producer the pair tells; without one the very bytes
 * do, for they hold the gateway's number of the request and its time-out: a gateway never sends the
 * same ones again. */
static bool s_is_repeated(node_engine_t *self, const msg_write_t *write, slice_t bytes)
{
    if (write->has_producer) {
        return false;
    }
    uint64_t hash = XXH3_64bits(bytes.data, bytes.size);
    uint64_t *ways = self->seen[hash % S_SEEN_BUCKET_COUNT];
    for (uint32_t i = 0; i < S_SEEN_WAY_COUNT; i++) {
        if (ways[i] == hash) {
            self->repeated_count++;
            return true;
        }
    }
    memmove(&ways[1], &ways[0], (S_SEEN_WAY_COUNT - 1) * sizeof(ways[0]));
    ways[0] = hash;
    return false;
}

static void s_on_rebuild(node_engine_t *self,
                         uint64_t reply_to,
                         const msg_rebuild_t *question,
                         now_t now)
{
    bool is_here = question->shard.value == self->env.self.shard.value;
    node_repair_ask(self->repair, reply_to, question,
                    is_here ? node_engine_replica(self, question->tenant) : NULL, now);
}

static void s_on_base_task(node_engine_t *self, uint64_t reply_to, const msg_base_task_t *task)
{
    bool is_here = task->shard.value == self->env.self.shard.value;
    node_snapshot_ask(self->snapshots, reply_to, task,
                      is_here ? node_engine_replica(self, task->tenant) : NULL);
}

/* Questions of the region's reconciler; false when it is none. */
static bool s_from_reconciler(node_engine_t *self, uint64_t reply_to, const msg_t *msg, now_t now)
{
    if (msg->type == MSG_REBUILD) {
        s_on_rebuild(self, reply_to, &msg->as.rebuild, now);
    } else if (msg->type == MSG_BASE_TASK) {
        s_on_base_task(self, reply_to, &msg->as.base_task);
    }
    return msg->type == MSG_REBUILD || msg->type == MSG_BASE_TASK;
}

void node_engine_message(node_engine_t *self, uint64_t reply_to, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    err_t err = msg_decode(self->codec, bytes, &msg, &errbuf);
    if (err == ERR_OK && s_from_reconciler(self, reply_to, &msg, now)) {
        return;
    }
    if (err == ERR_OK && msg.type == MSG_WRITE_REPLY && reply_to == 0) {
        for (uint32_t i = 0; i < self->replica_count; i++) {
            replica_complete_answer(self->replicas[i], &msg.as.write_reply, now);
        }
        return;
    }
    if (err != ERR_OK || (msg.type != MSG_WRITE && msg.type != MSG_READ)) {
        self->malformed_count++;
        self->env.net->forget(self->env.net->context, reply_to);
        return;
    }
    bool is_write = msg.type == MSG_WRITE;
    if (is_write && s_is_repeated(self, &msg.as.write, bytes)) {
        self->env.net->forget(self->env.net->context, reply_to); /* the first copy is answered */
        return;
    }
    tenant_id_t tenant = is_write ? msg.as.write.tenant : msg.as.read.tenant;
    shard_id_t shard = is_write ? msg.as.write.shard : msg.as.read.shard;
    replica_t *replica = node_engine_replica(self, tenant);
    if (replica == NULL || shard.value != self->env.self.shard.value) {
        s_refuse_tenant(self, reply_to, &msg);
    } else if (is_write) {
        replica_write(replica, reply_to, &msg.as.write, bytes, now);
    } else {
        replica_read(replica, reply_to, &msg.as.read, bytes, now);
    }
}

static void s_on_available(node_engine_t *self, const msg_available_t *available, now_t now)
{
    for (uint32_t i = 0; i < available->entry_count; i++) {
        const msg_available_entry_t *entry = &available->entries[i];
        replica_t *replica = node_engine_replica(self, entry->stream.tenant);
        if (replica != NULL && entry->stream.origin.shard.value == self->env.self.shard.value) {
            replica_available(replica, available, entry, now);
        }
    }
    for (uint32_t i = 0; available->all && i < self->replica_count; i++) {
        replica_available_all(self->replicas[i], available, now);
    }
}

static void s_on_confirmed(node_engine_t *self, const msg_confirmed_t *confirmed, now_t now)
{
    self->heard_shipper = true;
    self->heard_shipper_ns = now.mono_ns;
    for (uint32_t i = 0; i < confirmed->entry_count; i++) {
        const msg_confirmed_entry_t *entry = &confirmed->entries[i];
        replica_t *replica = node_engine_replica(self, entry->stream.tenant);
        if (replica != NULL && entry->stream.origin.shard.value == self->env.self.shard.value) {
            replica_confirmed(replica, entry, now);
        }
    }
    /* A receiver counts as reachable only after it has told all its positions to this shipper. */
    for (uint32_t i = 0; i < confirmed->peer_count; i++) {
        for (uint32_t r = 0; r < self->replica_count; r++) {
            replica_peer(self->replicas[r], &confirmed->peers[i], confirmed->all, now);
        }
    }
}

static void s_fail(node_engine_t *self, err_t err, const errbuf_t *errbuf)
{
    if (self->fatal == ERR_OK) {
        self->fatal = err;
        self->fatal_text = *errbuf;
    }
}

/* What the control plane, which hears all heartbeats, finds of this node's clock. Without a control
 * plane the last word stands. */
static void s_take_clocks(node_engine_t *self, const msg_table_t *table)
{
    node_id_t self_node = {self->env.self.region, self->env.self.shard};
    self->clock_ahead_ms = 0;
    for (uint32_t i = 0; i < table->clock_count; i++) {
        if (node_id_equal(table->clocks[i].node, self_node)) {
            self->clock_ahead_ms = table->clocks[i].ahead_ms;
        }
    }
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_clock_ahead(self->replicas[i], self->clock_ahead_ms);
    }
}

static void s_on_table(node_engine_t *self, const msg_table_t *table, now_t now)
{
    errbuf_t errbuf = {{0}};
    err_t err = table_keeper_offer(self->tables, table->table, &errbuf);
    if (err == ERR_CORRUPT || err == ERR_UNSUPPORTED) {
        self->malformed_count++;
    } else if (err == ERR_OK) {
        err = s_use_table(self, now, &errbuf);
        if (err != ERR_OK) {
            s_fail(self, err, &errbuf);
        }
    } else if (err != ERR_STALE) {
        s_fail(self, err, &errbuf);
    }
    s_take_clocks(self, table);
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_stable(self->replicas[i], table->boot, table->stable, table->stable_count);
    }
}

void node_engine_published(node_engine_t *self, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    if (msg_decode(self->codec, bytes, &msg, &errbuf) != ERR_OK) {
        self->malformed_count++;
    } else if (msg.type == MSG_AVAILABLE) {
        s_on_available(self, &msg.as.available, now);
    } else if (msg.type == MSG_CONFIRMED) {
        s_on_confirmed(self, &msg.as.confirmed, now);
    } else if (msg.type == MSG_TABLE) {
        s_on_table(self, &msg.as.table, now);
    }
}

/* -- work -------------------------------------------------------------------------------------- */

/* Nothing before there is a table: a list without streams would say that there are none. */
static void s_announce(node_engine_t *self)
{
    if (table_keeper_table(self->tables) == NULL) {
        return;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->replica_count; i++) {
        count += replica_own_positions(self->replicas[i], self->positions + count,
                                       STREAM_COUNT_MAX - count);
        replica_positions_taken(self->replicas[i]);
    }
    msg_t msg = {.type = MSG_LOG_POSITIONS};
    msg.as.log_positions = (msg_log_positions_t){
        .from = self->env.self,
        .boot = self->env.boot,
        .publish_seq = ++self->publish_seq,
        .position_count = count,
        .positions = self->positions,
    };
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    self->env.net->publish(self->env.net->context, ENGINE_TOPIC_POSITIONS, self->out.data,
                           self->out.size);
}

static void s_settle_checkpoint(node_engine_t *self)
{
    errbuf_t errbuf;
    err_t err = self->store->poll(self->store->context, &errbuf);
    if (err == ERR_AGAIN) {
        return;
    }
    self->checkpoint_is_under_way = false;
    self->checkpoint_count += err == ERR_OK ? 1 : 0;
    self->checkpoint_failed_count += err == ERR_OK ? 0 : 1;
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_checkpoint_settle(self->replicas[i], err == ERR_OK);
    }
}

static err_t s_delete_entry(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    (void)value;
    (void)value_size;
    store_batch_delete(context, slice_make(key, key_size));
    return ERR_OK;
}

/* Deletes all that the store has of a replica. Reading it may fail where it is damaged: then the
 * replica waits for a later checkpoint, and what the store has is what it was. */
static bool s_delete_whole(node_engine_t *self, replica_t *replica, store_batch_t *batch)
{
    errbuf_t errbuf;
    uint8_t prefix[S_TENANT_KEY_SIZE];
    bytes_put_u64_be(prefix, replica_tenant(replica).value);
    return self->store->walk(self->store->context, prefix, sizeof(prefix), s_delete_entry, batch,
                             &errbuf) == ERR_OK;
}

static void s_begin_checkpoint(node_engine_t *self, uint64_t changed)
{
    store_batch_t *batch = store_batch_new();
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_t *replica = self->replicas[i];
        if (replica_wants_whole(replica) && !s_delete_whole(self, replica, batch)) {
            self->checkpoint_failed_count++;
            store_batch_destroy(&batch);
            return;
        }
    }
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_checkpoint_write(self->replicas[i], batch);
    }
    errbuf_t errbuf;
    err_t err = self->store->submit(self->store->context, &batch, &errbuf);
    CHECK(err == ERR_OK); /* none is under way */
    self->checkpoint_is_under_way = true;
    self->checkpoint_entries += changed;
}

/* Checkpoints when it is time, or when much has changed. A failed one is tried again in time. */
static void s_review_checkpoint(node_engine_t *self, now_t now)
{
    if (self->checkpoint_is_under_way) {
        s_settle_checkpoint(self);
        return;
    }
    const topology_checkpoint_t *settings = &self->env.topology->checkpoint;
    uint64_t changed = 0;
    for (uint32_t i = 0; i < self->replica_count; i++) {
        changed += replica_changed_count(self->replicas[i]);
    }
    bool is_time = now.mono_ns >= self->next_checkpoint_ns;
    if (changed > 0 && (is_time || changed >= settings->dirty_count_max)) {
        s_begin_checkpoint(self, changed);
    }
    if (is_time || self->checkpoint_is_under_way) {
        self->next_checkpoint_ns = now.mono_ns + (int64_t)settings->interval_ms * ENGINE_NS_PER_MS;
    }
}

err_t node_engine_turn_end(node_engine_t *self, now_t now, errbuf_t *errbuf)
{
    bool announce = false;
    self->has_more = false;
    for (uint32_t i = 0; i < self->replica_count && self->fatal == ERR_OK; i++) {
        replica_t *replica = self->replicas[i];
        replica_review_gathered(replica, self->parked_codec, now);
        err_t err = replica_flush(replica, now, errbuf);
        if (err != ERR_OK) {
            s_fail(self, err, errbuf);
            break;
        }
        bool more = true;
        for (uint32_t round = 0; more && round < S_APPLY_ROUNDS_MAX; round++) {
            more = replica_apply_some(replica, now);
        }
        self->has_more = self->has_more || more;
        replica_review_parked(replica, self->parked_codec, now);
        /* What waited for its token may have been logged just now. */
        err = replica_flush(replica, now, errbuf);
        if (err != ERR_OK) {
            s_fail(self, err, errbuf);
        }
        announce = announce || replica_positions_changed(replica);
    }
    if (self->fatal != ERR_OK) {
        *errbuf = self->fatal_text;
        return self->fatal;
    }
    if (announce) {
        s_announce(self);
    }
    bool repairs = node_repair_turn(self->repair, !self->checkpoint_is_under_way, now);
    bool snapshots = node_snapshot_turn(self->snapshots, !self->checkpoint_is_under_way, now);
    self->has_more = self->has_more || repairs || snapshots;
    s_review_checkpoint(self, now);
    return ERR_OK;
}

/* What the receiver may truncate; it repeats itself, so a lost message costs nothing. */
static void s_tell_floors(node_engine_t *self, const replica_t *replica)
{
    uint32_t count = replica_base_stream_count(replica); /* of which the state may know none yet */
    stream_position_t *floors = calloc((size_t)count + 1, sizeof(*floors));
    CHECK(floors != NULL);
    msg_t msg = {.type = MSG_LOG_FLOOR};
    msg.as.log_floor = (msg_log_floor_t){
        .from = self->env.self,
        .floor_count = replica_floors(replica, floors, count),
        .floors = floors,
    };
    if (msg.as.log_floor.floor_count > 0) {
        buffer_clear(&self->out);
        msg_encode(&msg, &self->out);
        process_address_t receiver = {PROCESS_RECEIVER, self->env.self.region, {0}};
        (void)self->env.net->send(self->env.net->context, receiver, self->out.data, self->out.size);
    }
    free(floors);
}

static void s_review_logs(node_engine_t *self, now_t now)
{
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_t *replica = self->replicas[i];
        replica_review_base(replica);
        if (replica_wants_base(replica)) {
            node_repair_want_base(self->repair, replica, now);
        }
        replica_truncate(replica);
        if (region_set_count(replica_others(replica)) > 0) {
            s_tell_floors(self, replica);
        }
    }
}

/* A shipper that says nothing cannot tell that other regions are reachable. */
static void s_review_shipper(node_engine_t *self, now_t now)
{
    int64_t silent_ns = (int64_t)self->env.topology->timing.peer_silent_ms * ENGINE_NS_PER_MS;
    if (!self->heard_shipper || now.mono_ns - self->heard_shipper_ns < silent_ns) {
        return;
    }
    self->heard_shipper = false;
    for (uint32_t i = 0; i < self->env.topology->region_count; i++) {
        msg_peer_t peer = {.region = self->env.topology->regions[i].id,
                           .reachable = false,
                           .silent_ms = UINT32_MAX};
        for (uint32_t r = 0; r < self->replica_count; r++) {
            replica_peer(self->replicas[r], &peer, false, now);
        }
    }
}

err_t node_engine_tick(node_engine_t *self, now_t now, errbuf_t *errbuf)
{
    for (uint32_t i = 0; i < self->replica_count; i++) {
        err_t err = replica_tick(self->replicas[i], now, errbuf);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (now.mono_ns >= self->next_period_ns) {
        self->next_period_ns = tick_after(
            now.mono_ns, S_PERIOD_HEARTBEATS * (int64_t)self->env.topology->timing.heartbeat_ms *
                             ENGINE_NS_PER_MS);
        if (++self->period_count % S_REPEAT_PERIODS == 1) {
            s_announce(self);
            s_review_logs(self, now);
        }
        s_review_shipper(self, now);
    }
    return ERR_OK;
}

int64_t node_engine_deadline_ns(const node_engine_t *self)
{
    if (self->has_more) {
        return INT64_MIN;
    }
    int64_t deadline = self->next_period_ns;
    for (uint32_t i = 0; i < self->replica_count; i++) {
        int64_t replica = replica_deadline_ns(self->replicas[i]);
        deadline = replica < deadline ? replica : deadline;
    }
    return deadline;
}

/* -- output ------------------------------------------------------------------------------------ */

bool node_engine_stop(node_engine_t *self)
{
    bool is_done = true;
    for (uint32_t i = 0; i < self->replica_count; i++) {
        is_done = replica_stop(self->replicas[i]) && is_done;
    }
    return is_done;
}

bool node_engine_is_ready(const node_engine_t *self, const char **ret_reason)
{
    *ret_reason = "";
    if (table_keeper_table(self->tables) == NULL) {
        *ret_reason = "no routing table yet: the control plane has not been heard";
        return false;
    }
    for (uint32_t i = 0; i < self->replica_count; i++) {
        if (!replica_is_ready(self->replicas[i], ret_reason)) {
            return false;
        }
    }
    return true;
}

uint64_t node_engine_table_version(const node_engine_t *self)
{
    return table_keeper_version(self->tables);
}

static uint64_t s_applied_sum(const msg_node_state_t *state)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < state->applied_count; i++) {
        sum += state->applied[i].seq;
    }
    return sum;
}

/* Returns how many slots there are: a replica meets origins of its own shard alone. */
static uint32_t s_usage(const replica_t *replica, msg_usage_t *ret_usage)
{
    usage_slot_t slots[PN_COUNTER_SLOT_COUNT_MAX];
    uint32_t count = usage_slots(replica_usage(replica), slots);
    CHECK(count <= REGION_COUNT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        ret_usage[i] = (msg_usage_t){.origin = slots[i].origin.region,
                                     .signals = slots[i].signals,
                                     .voided = slots[i].voided,
                                     .bytes = slots[i].bytes};
    }
    return count;
}

uint32_t node_engine_states(node_engine_t *self, now_t now, const msg_node_state_t **ret_states)
{
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_t *replica = self->replicas[i];
        msg_node_state_t *state = &self->states[i];
        s_state_memory_t *memory = &self->state_memory[i];
        ledger_totals_t totals;
        ledger_totals(replica_ledger(replica), &totals);
        *state =
            (msg_node_state_t){.tenant = replica_tenant(replica), .signal_count = totals.signals};
        state->applied = replica_applied(replica, &state->applied_count);
        state->lag = memory->lag;
        state->lag_count = replica_lag_rows(replica, now, memory->lag, REPLICA_LAG_ROW_COUNT_MAX);
        state->usage = memory->usage;
        state->usage_count = s_usage(replica, memory->usage);
        uint64_t sum = s_applied_sum(state);
        if (sum == memory->applied_sum && replica_is_settled(replica)) {
            replica_digest(replica, state->digest);
        }
        memory->applied_sum = sum;
    }
    *ret_states = self->states;
    return self->replica_count;
}

/* Usage of all tenants and origins, as one slot. */
static usage_slot_t s_sum_usage(const node_engine_t *self)
{
    usage_slot_t sum = {0};
    usage_slot_t slots[PN_COUNTER_SLOT_COUNT_MAX];
    for (uint32_t i = 0; i < self->replica_count; i++) {
        uint32_t count = usage_slots(replica_usage(self->replicas[i]), slots);
        for (uint32_t s = 0; s < count; s++) {
            sum.signals += slots[s].signals;
            sum.voided += slots[s].voided;
            sum.bytes += slots[s].bytes;
        }
    }
    return sum;
}

/* Sums over the tenants. */
static replica_counters_t s_sum(const node_engine_t *self, ledger_totals_t *ret_totals)
{
    replica_counters_t sum = {0};
    *ret_totals = (ledger_totals_t){0};
    for (uint32_t i = 0; i < self->replica_count; i++) {
        replica_counters_t one = replica_counters(self->replicas[i]);
        ledger_totals_t totals;
        ledger_totals(replica_ledger(self->replicas[i]), &totals);
        ret_totals->signals += totals.signals;
        ret_totals->cells += totals.cells;
        ret_totals->cohort_cells += totals.cohort_cells;
        ret_totals->items += totals.items;
        ret_totals->memory_bytes += totals.memory_bytes;
        sum.writes += one.writes;
        sum.events += one.events;
        sum.duplicates += one.duplicates;
        sum.refused += one.refused;
        sum.flushes += one.flushes;
        sum.applied_events += one.applied_events;
        sum.parked += one.parked;
        sum.voided += one.voided;
        sum.reissued += one.reissued;
        sum.alerts += one.alerts;
        sum.confirmed_future += one.confirmed_future;
        sum.new_incarnations += one.new_incarnations;
        sum.bases += one.bases;
        sum.lost_bases += one.lost_bases;
        sum.truncated_segments += one.truncated_segments;
        sum.truncate_failed += one.truncate_failed;
        sum.sessions += one.sessions;
        sum.open_sessions += one.open_sessions;
        sum.session_signals += one.session_signals;
        sum.session_repeated += one.session_repeated;
        sum.session_refused += one.session_refused;
        sum.session_idle += one.session_idle;
        sum.pair_producers += one.pair_producers;
        sum.pair_intervals += one.pair_intervals;
        sum.pair_positions += one.pair_positions;
        sum.pair_memory_bytes += one.pair_memory_bytes;
        sum.home_pending += one.home_pending;
        sum.home_sent += one.home_sent;
        sum.home_held += one.home_held;
        sum.waiting += one.waiting;
    }
    return sum;
}

/* How far each follower region is behind this node, where it leads. */
static uint32_t s_lag_metrics(const node_engine_t *self,
                              msg_metric_t *ret_metrics,
                              uint32_t metric_count_max)
{
    uint32_t count = 0;
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        uint64_t lag = 0;
        bool is_other = false;
        for (uint32_t i = 0; i < self->replica_count; i++) {
            is_other = is_other ||
                       region_set_has(replica_others(self->replicas[i]), (region_id_t){region});
            lag += replica_follower_lag(self->replicas[i], (region_id_t){region});
        }
        if (is_other && count < metric_count_max) {
            const char *name = self->lag_names[region];
            ret_metrics[count++] = (msg_metric_t){slice_make(name, strlen(name)), (double)lag};
        }
    }
    return count;
}

uint32_t node_engine_metrics(const node_engine_t *self,
                             msg_metric_t *ret_metrics,
                             uint32_t metric_count_max)
{
    ledger_totals_t totals;
    replica_counters_t sum = s_sum(self, &totals);
    usage_slot_t usage = s_sum_usage(self);
    node_repair_counters_t repairs = node_repair_counters(self->repair);
    node_snapshot_counters_t snapshots = node_snapshot_counters(self->snapshots);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"node_writes", sum.writes},
        {"node_events", sum.events},
        {"node_duplicates", sum.duplicates},
        {"node_refused", sum.refused},
        {"node_flushes", sum.flushes},
        {"node_applied_events", sum.applied_events},
        {"node_waiting_writes", sum.waiting},
        {"node_parked_requests", sum.parked},
        {"node_voided_copies", sum.voided},
        {"node_reissued_requests", sum.reissued},
        {"node_applier_alerts", sum.alerts},
        {"node_confirmed_future", sum.confirmed_future},
        {"node_new_incarnations", sum.new_incarnations},
        {"node_signals", totals.signals},
        {"node_usage_signals", usage.signals},
        {"node_usage_voided", usage.voided},
        {"node_usage_bytes", usage.bytes},
        {"node_cells", totals.cells},
        {"node_cohort_cells", totals.cohort_cells},
        {"node_items", totals.items},
        {"node_memory_bytes", totals.memory_bytes},
        {"node_sessions", sum.sessions},
        {"node_sessions_open", sum.open_sessions},
        {"node_sessions_idle_closed", sum.session_idle},
        {"node_session_signals", sum.session_signals},
        {"node_session_signals_repeated", sum.session_repeated},
        {"node_session_refused", sum.session_refused},
        {"node_pairs_producers", sum.pair_producers},
        {"node_pairs_intervals", sum.pair_intervals},
        {"node_pairs_positions", sum.pair_positions},
        {"node_pairs_memory_bytes", sum.pair_memory_bytes},
        {"node_home_pending", sum.home_pending},
        {"node_home_sent", sum.home_sent},
        {"node_home_held", sum.home_held},
        {"node_checkpoints", self->checkpoint_count},
        {"node_checkpoints_failed", self->checkpoint_failed_count},
        {"node_checkpoint_entries", self->checkpoint_entries},
        {"node_clock_ahead_ms", self->clock_ahead_ms},
        {"node_bases", sum.bases},
        {"node_bases_failed", repairs.bases_failed},
        {"node_bases_lost", sum.lost_bases},
        {"node_truncated_segments", sum.truncated_segments},
        {"node_truncate_failed", sum.truncate_failed},
        {"node_rebuilds", repairs.rebuilds},
        {"node_rebuilds_failed", repairs.failed},
        {"node_states_replaced", repairs.replaced},
        {"node_entries_repaired", repairs.entries},
        {"node_snapshots_adopted", snapshots.adopted},
        {"node_snapshots_taken", snapshots.taken},
        {"node_snapshots_refused", snapshots.refused},
        {"node_malformed", self->malformed_count},
        {"node_repeated_writes", self->repeated_count},
        {"node_unknown_tenant", self->unknown_tenant_count},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && count < metric_count_max; i++) {
        ret_metrics[count++] =
            (msg_metric_t){slice_make(rows[i].name, strlen(rows[i].name)), (double)rows[i].value};
    }
    return count + s_lag_metrics(self, ret_metrics + count, metric_count_max - count);
}
