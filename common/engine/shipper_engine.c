#include "common/engine/shipper_engine.h"

#include "common/base/check.h"
#include "common/engine/table_keeper.h"
#include "common/replication/shipper.h"
#include "common/wal/wal_files.h"
#include "common/wal/wal_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where one peer's copy of one stream is read, and the last message that was built of the stream:
 * peers that are equally far get the same bytes. */
typedef struct {
    stream_id_t stream;
    wal_reader_t *readers[REGION_COUNT_MAX + 1];
    buffer_t message; /* encoded MSG_SHIP_BLOCKS; empty: none */
    uint64_t message_first_seq;
    uint64_t message_last_seq;
} s_stream_t;

static_assert(SHARD_COUNT_MAX <= 64, "a set of shards is one word");

struct shipper_engine {
    engine_env_t env;
    shipper_t *core;
    table_keeper_t *tables;
    msg_codec_t *codec;
    buffer_t out;
    buffer_t blocks;
    uint32_t stream_count;
    uint32_t stream_capacity;
    s_stream_t *streams;
    uint64_t heard_nodes;    /* of this region, by shard, since the start */
    bool heard_receiver;     /* its full list, since the start */
    uint64_t changed_shards; /* whose confirmed positions came in since the last publish */
    bool full_list_is_due;
    uint64_t publish_seq;
    uint64_t malformed_count;
    uint64_t unknown_tenant_count; /* positions of tenants that the table does not have */
    uint64_t read_failed_count;
    uint64_t send_refused_count;
    uint64_t shipped_bytes;
    uint64_t shipped_messages;
};

/* -- opening ----------------------------------------------------------------------------------- */

err_t shipper_engine_open(const engine_env_t *env, shipper_engine_t **ret_engine, errbuf_t *errbuf)
{
    shipper_engine_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = *env;
    self->codec = msg_codec_new();
    buffer_init(&self->out);
    buffer_init(&self->blocks);
    const topology_timing_t *timing = &env->topology->timing;
    shipper_options_t options = {
        .self = env->self.region,
        .peers = region_set_remove(topology_regions(env->topology), env->self.region),
        .heads_ns = (int64_t)timing->heartbeat_ms * ENGINE_NS_PER_MS,
        .peer_silent_ns = (int64_t)timing->peer_silent_ms * ENGINE_NS_PER_MS,
        .resend_ns = (int64_t)timing->peer_silent_ms * ENGINE_NS_PER_MS,
    };
    self->core = shipper_new(&options);
    char folder[WAL_PATH_SIZE_MAX];
    (void)snprintf(folder, sizeof(folder), "%s/%s/shipper", env->data_folder,
                   topology_place_name(env->topology, env->self.region));
    err_t err = table_keeper_open(env->disk, folder, &self->tables, errbuf);
    if (err != ERR_OK) {
        shipper_engine_close(&self);
        return err;
    }
    *ret_engine = self;
    return ERR_OK;
}

static void s_close_readers(s_stream_t *at)
{
    for (uint16_t region = 0; region <= REGION_COUNT_MAX; region++) {
        wal_reader_destroy(&at->readers[region]);
    }
}

void shipper_engine_close(shipper_engine_t **self_p)
{
    shipper_engine_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->stream_count; i++) {
        s_close_readers(&self->streams[i]);
        buffer_done(&self->streams[i].message);
    }
    free(self->streams);
    shipper_destroy(&self->core);
    table_keeper_close(&self->tables);
    msg_codec_destroy(&self->codec);
    buffer_done(&self->out);
    buffer_done(&self->blocks);
    free(self);
    *self_p = NULL;
}

static s_stream_t *s_require_stream(shipper_engine_t *self, stream_id_t stream)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        if (stream_id_equal(self->streams[i].stream, stream)) {
            return &self->streams[i];
        }
    }
    if (self->stream_count == self->stream_capacity) {
        self->stream_capacity = self->stream_capacity == 0 ? 16 : self->stream_capacity * 2;
        self->streams = realloc(self->streams, self->stream_capacity * sizeof(*self->streams));
        CHECK(self->streams != NULL);
    }
    s_stream_t *at = &self->streams[self->stream_count++];
    *at = (s_stream_t){.stream = stream};
    buffer_init(&at->message);
    return at;
}

/* -- shipping ---------------------------------------------------------------------------------- */

/* NULL when the table does not have it. */
static const table_tenant_t *s_tenant(const shipper_engine_t *self, stream_id_t stream)
{
    const table_t *table = table_keeper_table(self->tables);
    return table == NULL ? NULL : table_find_tenant(table, stream.tenant);
}

/* A reader that stands at from_seq; NULL when the tenant is not known. */
static wal_reader_t *s_reader_at(shipper_engine_t *self,
                                 s_stream_t *at,
                                 region_id_t peer,
                                 uint64_t from_seq)
{
    wal_reader_t *reader = at->readers[peer.value];
    if (reader != NULL && wal_reader_next_seq(reader) == from_seq) {
        return reader;
    }
    wal_reader_destroy(&at->readers[peer.value]);
    const table_tenant_t *tenant = s_tenant(self, at->stream);
    if (tenant == NULL) {
        self->unknown_tenant_count++;
        return NULL;
    }
    const topology_t *topology = self->env.topology;
    wal_stream_name_t name = {.tenant = at->stream.tenant, .incarnation = at->stream.incarnation};
    (void)snprintf(name.tenant_name, sizeof(name.tenant_name), "%s", tenant->name);
    (void)snprintf(name.region_name, sizeof(name.region_name), "%s",
                   topology_place_name(topology, at->stream.origin.region));
    wal_path_t tenants;
    wal_path_t folder;
    if (wal_files_tenants_path(self->env.data_folder,
                               topology_place_name(topology, self->env.self.region),
                               at->stream.origin.shard, &tenants, NULL) != ERR_OK ||
        wal_files_stream_path(tenants.text, &name, &folder, NULL) != ERR_OK) {
        return NULL;
    }
    wal_reader_options_t options = {
        .disk = self->env.disk, .folder = folder.text, .stream = at->stream, .from_seq = from_seq};
    at->readers[peer.value] = wal_reader_new(&options);
    return at->readers[peer.value];
}

/* Reads blocks and builds the message; false when nothing could be read. */
static bool s_build(shipper_engine_t *self, s_stream_t *at, const shipper_effect_t *effect)
{
    wal_reader_t *reader = s_reader_at(self, at, effect->peer, effect->from_seq);
    if (reader == NULL) {
        return false;
    }
    errbuf_t errbuf = {{0}};
    wal_range_t range = {0, 0};
    buffer_clear(&self->blocks);
    err_t err = wal_reader_next_blocks(reader, effect->through_seq, effect->size_max, &self->blocks,
                                       &range, &errbuf);
    if (err != ERR_OK || range.last_seq < range.first_seq) {
        self->read_failed_count += err == ERR_OK || err == ERR_END ? 0 : 1;
        wal_reader_destroy(&at->readers[effect->peer.value]);
        return false;
    }
    msg_t msg = {.type = MSG_SHIP_BLOCKS};
    msg.as.ship_blocks = (msg_ship_blocks_t){
        .from = self->env.self,
        .boot = self->env.boot,
        .stream = at->stream,
        .first_seq = range.first_seq,
        .last_seq = range.last_seq,
        .head_seq = effect->head_seq,
        .blocks = buffer_slice(&self->blocks),
    };
    buffer_clear(&at->message);
    msg_encode(&msg, &at->message);
    at->message_first_seq = effect->from_seq;
    at->message_last_seq = range.last_seq;
    return true;
}

static process_address_t s_receiver_of(region_id_t region)
{
    return (process_address_t){PROCESS_RECEIVER, region, {0}};
}

static void s_ship(shipper_engine_t *self, const shipper_effect_t *effect, now_t now)
{
    s_stream_t *at = s_require_stream(self, effect->stream);
    bool have = at->message.size > 0 && at->message_first_seq == effect->from_seq &&
                at->message_last_seq <= effect->through_seq;
    have = have || s_build(self, at, effect);
    shipper_event_t event = {.kind = SHIPPER_EVENT_SENT, .now_ns = now.mono_ns};
    event.as.sent.peer = effect->peer;
    event.as.sent.stream = effect->stream;
    event.as.sent.unreadable = !have;
    if (have) {
        err_t err = self->env.net->send(self->env.net->context, s_receiver_of(effect->peer),
                                        at->message.data, at->message.size);
        event.as.sent.accepted = err == ERR_OK;
        event.as.sent.last_seq = at->message_last_seq;
        event.as.sent.size_bytes = at->message.size;
        self->send_refused_count += err == ERR_OK ? 0 : 1;
        self->shipped_bytes += err == ERR_OK ? at->message.size : 0;
        self->shipped_messages += err == ERR_OK ? 1 : 0;
    }
    shipper_effects_t effects;
    shipper_step(self->core, &event, &effects);
}

static void s_send(shipper_engine_t *self, region_id_t peer, const msg_t *msg)
{
    buffer_clear(&self->out);
    msg_encode(msg, &self->out);
    /* Not taken: the next period sends it again. */
    (void)self->env.net->send(self->env.net->context, s_receiver_of(peer), self->out.data,
                              self->out.size);
}

static void s_send_hello(shipper_engine_t *self, region_id_t peer)
{
    msg_t msg = {.type = MSG_SHIP_HELLO};
    msg.as.ship_hello = (msg_ship_hello_t){
        .from = self->env.self,
        .boot = self->env.boot,
        .protocol = MSG_PROTOCOL_VERSION,
        .fingerprint = topology_fingerprint(self->env.topology),
    };
    s_send(self, peer, &msg);
}

static void s_send_heads(shipper_engine_t *self, region_id_t peer, now_t now)
{
    int64_t silent_ns = 0;
    if (!shipper_peer_is_reachable(self->core, peer, now.mono_ns, &silent_ns)) {
        s_send_hello(self, peer);
    }
    uint32_t count = 0;
    uint64_t known_shards = self->heard_receiver ? self->heard_nodes : 0;
    uint32_t rows = shipper_stream_count(self->core);
    msg_head_t *heads = calloc(rows + 1, sizeof(*heads));
    CHECK(heads != NULL);
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t head_seq = 0;
        stream_id_t stream = shipper_stream(self->core, i, &head_seq);
        const table_tenant_t *tenant = s_tenant(self, stream);
        if (tenant == NULL && stream.origin.shard.value < SHARD_COUNT_MAX) {
            known_shards &= ~(UINT64_C(1) << stream.origin.shard.value); /* it is left out */
        }
        if (head_seq > 0 && tenant != NULL && shipper_is_placed(self->core, i, peer)) {
            heads[count++] = (msg_head_t){
                .stream = stream,
                .head_seq = head_seq,
                .tenant_name = slice_make(tenant->name, strlen(tenant->name)),
            };
        }
    }
    msg_t msg = {.type = MSG_SHIP_HEADS};
    msg.as.ship_heads = (msg_ship_heads_t){.from = self->env.self,
                                           .boot = self->env.boot,
                                           .known_shards = known_shards,
                                           .head_count = count,
                                           .heads = heads};
    s_send(self, peer, &msg);
    free(heads);
}

/* -- publishing -------------------------------------------------------------------------------- */

static uint32_t s_peers(const shipper_engine_t *self, msg_peer_t *ret_peers, now_t now)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->env.topology->region_count; i++) {
        region_id_t region = self->env.topology->regions[i].id;
        if (region.value == self->env.self.region.value) {
            continue;
        }
        int64_t silent_ns = 0;
        bool reachable = shipper_peer_is_reachable(self->core, region, now.mono_ns, &silent_ns);
        int64_t silent_ms = silent_ns / ENGINE_NS_PER_MS;
        ret_peers[count++] = (msg_peer_t){
            .region = region,
            .reachable = reachable,
            .silent_ms =
                silent_ns < 0 || silent_ms >= UINT32_MAX ? UINT32_MAX : (uint32_t)silent_ms,
        };
    }
    return count;
}

/* Confirmed positions of the streams of one shard, or of all. Returns how many. */
static uint32_t s_confirmed_entries(const shipper_engine_t *self,
                                    const uint16_t *shard,
                                    msg_confirmed_entry_t *ret_entries)
{
    uint32_t count = 0;
    uint32_t pairs = shipper_stream_count(self->core) * REGION_COUNT_MAX;
    for (uint32_t pair = 0; pair < pairs; pair++) {
        uint64_t head_seq = 0;
        uint32_t index = pair / REGION_COUNT_MAX;
        region_id_t region = {(uint16_t)(1 + pair % REGION_COUNT_MAX)};
        bool is_wanted = shard == NULL ||
                         shipper_stream(self->core, index, &head_seq).origin.shard.value == *shard;
        if (is_wanted && shipper_confirmed(self->core, index, region, &ret_entries[count])) {
            count++;
        }
    }
    return count;
}

/* Publishes the positions of one shard, or, with shard NULL, the full list. */
static void s_publish(shipper_engine_t *self, const uint16_t *shard, now_t now)
{
    size_t rows = (size_t)shipper_stream_count(self->core) * REGION_COUNT_MAX;
    msg_confirmed_entry_t *entries = calloc(rows + 1, sizeof(*entries));
    CHECK(entries != NULL);
    msg_peer_t peers[REGION_COUNT_MAX];
    msg_t msg = {.type = MSG_CONFIRMED};
    msg.as.confirmed = (msg_confirmed_t){
        .from = self->env.self,
        .boot = self->env.boot,
        .publish_seq = ++self->publish_seq,
        .all = shard == NULL,
        .entry_count = s_confirmed_entries(self, shard, entries),
        .entries = entries,
        .peer_count = s_peers(self, peers, now),
        .peers = peers,
    };
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    char topic[ENGINE_TOPIC_SIZE];
    const char *name = ENGINE_TOPIC_CONFIRMED ENGINE_TOPIC_ALL;
    if (shard != NULL) {
        name = engine_shard_topic(ENGINE_TOPIC_CONFIRMED, (shard_id_t){*shard}, topic);
    }
    self->env.net->publish(self->env.net->context, name, self->out.data, self->out.size);
    free(entries);
}

static void s_publish_due(shipper_engine_t *self, now_t now)
{
    if (self->full_list_is_due) {
        s_publish(self, NULL, now);
    }
    for (uint16_t shard = 0; !self->full_list_is_due && shard < SHARD_COUNT_MAX; shard++) {
        if ((self->changed_shards >> shard & 1) != 0) {
            s_publish(self, &shard, now);
        }
    }
    self->full_list_is_due = false;
    self->changed_shards = 0;
}

static void s_carry_out(shipper_engine_t *self, const shipper_effects_t *effects, now_t now)
{
    for (uint32_t i = 0; i < effects->count; i++) {
        switch (effects->list[i].kind) {
        case SHIPPER_EFFECT_SHIP:
            s_ship(self, &effects->list[i], now);
            break;
        case SHIPPER_EFFECT_HEADS:
            s_send_heads(self, effects->list[i].peer, now);
            break;
        case SHIPPER_EFFECT_PUBLISH_ALL:
            self->full_list_is_due = true;
            break;
        }
    }
}

/* -- messages ---------------------------------------------------------------------------------- */

/* What a leader may acknowledge: the least that was confirmed by its in-sync set, and by all regions
 * of the placement. */
typedef struct {
    uint64_t in_sync_seq;
    uint64_t placed_seq;
} s_reached_t;

static s_reached_t s_reached(const shipper_engine_t *self, stream_id_t stream)
{
    const table_t *table = table_keeper_table(self->tables);
    const table_record_t *record =
        table == NULL ? NULL : table_find_record(table, stream.tenant, stream.origin.shard);
    if (record == NULL) {
        return (s_reached_t){0, 0};
    }
    return (s_reached_t){shipper_confirmed_by(self->core, stream, record->in_sync),
                         shipper_confirmed_by(self->core, stream, record->placed)};
}

/* Whether the nodes are told of an entry at once. A region that moves on alone releases no answer: it
 * is told with the next that does, or with the full list (decision 37). */
static bool s_is_urgent(const msg_receiver_entry_t *entry,
                        const msg_confirmed_entry_t *before, /* NULL: the first */
                        s_reached_t reached_before,
                        s_reached_t reached)
{
    return before == NULL || entry->epoch != before->epoch || entry->durable_seq < before->seq ||
           reached.in_sync_seq != reached_before.in_sync_seq ||
           reached.placed_seq != reached_before.placed_seq;
}

/* Whether a peer may hold the stream. A generation is the version of the table that brought its tenant
 * (decision 26), so one beyond the own table's is of a table that is still on its way: what is told of it
 * is kept, for the peer counts as having told everything. */
static bool s_is_placed(shipper_engine_t *self, stream_id_t stream, region_id_t peer)
{
    if (stream.tenant.value > table_keeper_version(self->tables) && stream.incarnation != 0 &&
        stream.origin.shard.value < self->env.topology->shard_count) {
        self->unknown_tenant_count++;
        return true;
    }
    return table_keeper_places(self->tables, self->env.topology, stream, self->env.self.region,
                               peer);
}

static void s_on_status(shipper_engine_t *self, const msg_receiver_status_t *status, now_t now)
{
    shipper_effects_t effects;
    if (table_keeper_table(self->tables) == NULL) {
        return; /* it could not be told what is wrong; it comes again */
    }
    for (uint32_t i = 0; i < status->entry_count; i++) {
        const msg_receiver_entry_t *entry = &status->entries[i];
        msg_confirmed_entry_t before;
        bool is_known =
            shipper_find_confirmed(self->core, entry->stream, status->from.region, &before);
        s_reached_t reached = s_reached(self, entry->stream);
        shipper_event_t event = {.kind = SHIPPER_EVENT_STATUS, .now_ns = now.mono_ns};
        event.as.status.peer = status->from.region;
        event.as.status.stream = entry->stream;
        event.as.status.durable_seq = entry->durable_seq;
        event.as.status.epoch = entry->epoch;
        event.as.status.resend = entry->resend;
        event.as.status.wanted = entry->wanted;
        event.as.status.is_placed = s_is_placed(self, entry->stream, status->from.region);
        memcpy(event.as.status.last_hash, entry->last_hash, sizeof(entry->last_hash));
        shipper_step(self->core, &event, &effects);
        if (event.as.status.is_placed && s_is_urgent(entry, is_known ? &before : NULL, reached,
                                                     s_reached(self, entry->stream))) {
            self->changed_shards |= UINT64_C(1) << entry->stream.origin.shard.value;
        }
    }
    shipper_event_t heard = {.kind = SHIPPER_EVENT_HEARD, .now_ns = now.mono_ns};
    heard.as.heard.peer = status->from.region;
    heard.as.heard.boot = status->boot;
    heard.as.heard.window_bytes = status->window_bytes;
    heard.as.heard.listed_all = status->all;
    shipper_step(self->core, &heard, &effects);
}

static bool s_is_receiver(const shipper_engine_t *self, process_address_t from)
{
    return from.kind == PROCESS_RECEIVER && from.region.value != self->env.self.region.value &&
           topology_has_process(self->env.topology, from);
}

void shipper_engine_message(shipper_engine_t *self, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    bool decoded = msg_decode(self->codec, bytes, &msg, &errbuf) == ERR_OK;
    if (decoded && msg.type == MSG_RECEIVER_STATUS &&
        s_is_receiver(self, msg.as.receiver_status.from)) {
        s_on_status(self, &msg.as.receiver_status, now);
    } else if (decoded && msg.type == MSG_WHO_ARE_YOU &&
               s_is_receiver(self, msg.as.who_are_you.from)) {
        s_send_hello(self, msg.as.who_are_you.from.region);
        s_send_heads(self, msg.as.who_are_you.from.region, now);
    } else {
        self->malformed_count++;
    }
}

/* The stream goes where its tenant is placed by now. */
static void s_announce(shipper_engine_t *self, const shipper_event_t *event)
{
    shipper_effects_t effects;
    stream_id_t stream = event->as.announce.at.stream;
    const table_tenant_t *tenant = s_tenant(self, stream);
    shipper_step(self->core, event, &effects);
    if (tenant != NULL) {
        shipper_place(self->core, stream, table_tenant_regions(tenant));
    }
}

static void s_on_positions(shipper_engine_t *self, const msg_log_positions_t *positions, now_t now)
{
    process_address_t from = positions->from;
    if (from.kind != PROCESS_NODE || from.region.value != self->env.self.region.value) {
        self->malformed_count++;
        return;
    }
    if (from.shard.value < SHARD_COUNT_MAX) {
        self->heard_nodes |= UINT64_C(1) << from.shard.value;
    }
    for (uint32_t i = 0; i < positions->position_count; i++) {
        shipper_event_t event = {.kind = SHIPPER_EVENT_ANNOUNCE, .now_ns = now.mono_ns};
        event.as.announce.at = positions->positions[i];
        s_announce(self, &event);
    }
}

static void s_on_available(shipper_engine_t *self, const msg_available_t *available, now_t now)
{
    process_address_t from = available->from;
    if (from.kind != PROCESS_RECEIVER || from.region.value != self->env.self.region.value) {
        self->malformed_count++;
        return;
    }
    self->heard_receiver = self->heard_receiver || available->all;
    for (uint32_t i = 0; i < available->entry_count; i++) {
        const msg_available_entry_t *entry = &available->entries[i];
        shipper_event_t event = {.kind = SHIPPER_EVENT_ANNOUNCE, .now_ns = now.mono_ns};
        event.as.announce.at = (stream_position_t){entry->stream, entry->durable_seq};
        event.as.announce.is_exact = true;
        s_announce(self, &event);
    }
}

void shipper_engine_published(shipper_engine_t *self, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    if (msg_decode(self->codec, bytes, &msg, &errbuf) != ERR_OK) {
        self->malformed_count++;
    } else if (msg.type == MSG_LOG_POSITIONS) {
        s_on_positions(self, &msg.as.log_positions, now);
    } else if (msg.type == MSG_AVAILABLE) {
        s_on_available(self, &msg.as.available, now);
    } else if (msg.type == MSG_TABLE) {
        err_t err = table_keeper_offer(self->tables, msg.as.table.table, &errbuf);
        self->malformed_count += err == ERR_CORRUPT ? 1 : 0;
    }
}

void shipper_engine_turn_end(shipper_engine_t *self, now_t now)
{
    shipper_effect_t effect;
    while (shipper_next(self->core, now.mono_ns, &effect)) {
        s_ship(self, &effect, now);
    }
    s_publish_due(self, now);
}

void shipper_engine_tick(shipper_engine_t *self, now_t now)
{
    shipper_effects_t effects;
    shipper_event_t event = {.kind = SHIPPER_EVENT_TICK, .now_ns = now.mono_ns};
    shipper_step(self->core, &event, &effects);
    s_carry_out(self, &effects, now);
}

int64_t shipper_engine_deadline_ns(const shipper_engine_t *self)
{
    return shipper_deadline_ns(self->core);
}

bool shipper_engine_is_ready(const shipper_engine_t *self, const char **ret_reason)
{
    if (table_keeper_table(self->tables) == NULL) {
        *ret_reason = "no routing table yet: the control plane has not been heard";
        return false;
    }
    *ret_reason = "";
    return true;
}

uint64_t shipper_engine_table_version(const shipper_engine_t *self)
{
    return table_keeper_version(self->tables);
}

uint32_t shipper_engine_metrics(const shipper_engine_t *self,
                                msg_metric_t *ret_metrics,
                                uint32_t metric_count_max)
{
    const shipper_counters_t counters = shipper_counters(self->core);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"shipper_streams", shipper_stream_count(self->core)},
        {"shipper_shipped_bytes", self->shipped_bytes},
        {"shipper_shipped_messages", self->shipped_messages},
        {"shipper_send_refused", self->send_refused_count},
        {"shipper_read_failed", self->read_failed_count},
        {"shipper_unknown_tenant", self->unknown_tenant_count},
        {"shipper_ignored", counters.ignored},
        {"shipper_refused", counters.refused},
        {"shipper_future", counters.future},
        {"shipper_malformed", self->malformed_count},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && count < metric_count_max; i++) {
        ret_metrics[count++] =
            (msg_metric_t){slice_make(rows[i].name, strlen(rows[i].name)), (double)rows[i].value};
    }
    return count;
}
