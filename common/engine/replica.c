#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/wal/wal_files.h"
#include "common/wal/wal_handover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- life -------------------------------------------------------------------------------------- */

static uint64_t s_signal_bits(const schema_t *schema)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < schema->signal_count; i++) {
        CHECK(schema->signals[i].id >= 1 && schema->signals[i].id <= SIGNAL_TYPE_COUNT_MAX);
        bits |= UINT64_C(1) << (schema->signals[i].id - 1);
    }
    return bits;
}

replica_t *replica_new(const replica_node_t *node, tenant_id_t tenant, const char *tenant_name)
{
    replica_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = node->env;
    self->hlc = node->hlc;
    self->tenant = tenant;
    self->shard = node->env->self.shard;
    (void)snprintf(self->tenant_name, sizeof(self->tenant_name), "%s", tenant_name);
    node_id_t node_id = {self->env->self.region, self->shard};
    prng_init(&self->prng, node->env->seed ^ (tenant.value * UINT64_C(0x9e3779b97f4a7c15)));
    self->known_signals = s_signal_bits(&node->env->topology->schema);
    self->ledger = ledger_new(&node->env->topology->schema);
    self->dedup = dedup_new(tenant, self->shard);
    self->sessions = session_book_new(tenant, self->shard);
    self->home = home_book_new(tenant, self->shard, node->env->topology->shard_count);
    self->completer = replica_complete_new(self);
    self->completer_is_new = true;
    const topology_timing_t *timing = &node->env->topology->timing;
    leader_options_t leader = {
        .self_region = self->env->self.region,
        .asking_ns = (int64_t)timing->incarnation_wait_ms * ENGINE_NS_PER_MS,
        .silent_ns = (int64_t)timing->peer_silent_ms * ENGINE_NS_PER_MS,
    };
    self->leader = leader_new(&leader);
    self->applier = applier_new();
    self->retrieve = retrieve_new();
    self->cohorts = cohort_builder_new();
    self->lag = lag_new(node_id);
    buffer_init(&self->out);
    buffer_init(&self->scratch);
    buffer_init(&self->logged);
    buffer_init(&self->session_payload);
    buffer_init(&self->gathered.bytes);
    buffer_init(&self->reissued);
    return self;
}

void replica_close(replica_t **self_p)
{
    replica_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->stream_count; i++) {
        wal_reader_destroy(&self->streams[i].reader);
    }
    for (uint32_t i = 0; i < self->parked_count; i++) {
        free(self->parked[i].bytes);
    }
    replica_gathered_done(self);
    wal_log_close(&self->log);
    ledger_destroy(&self->ledger);
    dedup_destroy(&self->dedup);
    session_book_destroy(&self->sessions);
    home_book_destroy(&self->home);
    completer_destroy(&self->completer);
    leader_destroy(&self->leader);
    applier_destroy(&self->applier);
    lag_destroy(&self->lag);
    retrieve_destroy(&self->retrieve);
    cohort_builder_destroy(&self->cohorts);
    base_head_done(&self->base);
    free(self->streams);
    version_vector_done(&self->applied);
    version_vector_done(&self->forgotten);
    forget_gate_done(&self->forget_gate);
    usage_done(&self->usage);
    free(self->tickets);
    free(self->free_tickets);
    buffer_done(&self->out);
    buffer_done(&self->scratch);
    buffer_done(&self->logged);
    buffer_done(&self->session_payload);
    buffer_done(&self->reissued);
    free(self);
    *self_p = NULL;
}

tenant_id_t replica_tenant(const replica_t *self)
{
    return self->tenant;
}

ledger_t *replica_ledger(replica_t *self)
{
    return self->ledger;
}

/* -- streams ----------------------------------------------------------------------------------- */

static uint32_t s_index_of_stream(const replica_t *self, stream_id_t stream)
{
    uint32_t at = 0;
    while (at < self->stream_count && !stream_id_equal(self->streams[at].stream, stream)) {
        at++;
    }
    return at;
}

const replica_stream_t *replica_find_stream(const replica_t *self, stream_id_t stream)
{
    uint32_t at = s_index_of_stream(self, stream);
    return at < self->stream_count ? &self->streams[at] : NULL;
}

replica_stream_t *replica_require_stream(replica_t *self, stream_id_t stream, bool is_own)
{
    uint32_t index = s_index_of_stream(self, stream);
    if (index < self->stream_count) {
        return &self->streams[index];
    }
    if (self->stream_count == self->stream_capacity) {
        self->stream_capacity = self->stream_capacity == 0 ? 8 : self->stream_capacity * 2;
        self->streams = realloc(self->streams, self->stream_capacity * sizeof(*self->streams));
        CHECK(self->streams != NULL);
    }
    replica_stream_t *at = &self->streams[self->stream_count++];
    *at = (replica_stream_t){.stream = stream, .is_own = is_own};
    return at;
}

void replica_set_applied(replica_t *self, stream_id_t stream, uint64_t seq)
{
    CHECK(seq >= version_vector_get(&self->applied, stream));
    (void)version_vector_raise(&self->applied, stream, seq);
    self->applied_changed = true;
    self->vector_changed = true;
}

const stream_position_t *replica_applied(const replica_t *self, uint32_t *ret_count)
{
    *ret_count = self->applied.count;
    return self->applied.entries;
}

const usage_t *replica_usage(const replica_t *self)
{
    return &self->usage;
}

uint64_t replica_applied_seq(const replica_t *self, stream_id_t stream)
{
    return version_vector_get(&self->applied, stream);
}

static err_t s_tenants_path(const replica_t *self, wal_path_t *ret_path, errbuf_t *errbuf)
{
    return wal_files_tenants_path(self->env->data_folder,
                                  topology_place_name(self->env->topology, self->env->self.region),
                                  self->shard, ret_path, errbuf);
}

err_t replica_stream_folder(const replica_t *self,
                            stream_id_t stream,
                            wal_path_t *ret_path,
                            errbuf_t *errbuf)
{
    wal_stream_name_t name = {.tenant = stream.tenant, .incarnation = stream.incarnation};
    (void)snprintf(name.tenant_name, sizeof(name.tenant_name), "%s", self->tenant_name);
    (void)snprintf(name.region_name, sizeof(name.region_name), "%s",
                   topology_place_name(self->env->topology, stream.origin.region));
    wal_path_t tenants;
    err_t err = s_tenants_path(self, &tenants, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    return wal_files_stream_path(tenants.text, &name, ret_path, errbuf);
}

/* -- recovery ---------------------------------------------------------------------------------- */

static err_t s_open_log(
    replica_t *self, stream_id_t stream, now_t now, wal_log_t **ret_log, errbuf_t *errbuf)
{
    const topology_t *topology = self->env->topology;
    wal_path_t folder;
    wal_base_t base = base_head_wal_base(&self->base, stream);
    err_t err = replica_stream_folder(self, stream, &folder, errbuf);
    if (err == ERR_OK && self->base_is_lost && self->base.position_count == 0) {
        err = base_of_files(self->env->disk, folder.text, &base, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    wal_log_options_t options = {
        .place = {.disk = self->env->disk,
                  .folder = folder.text,
                  .stream = stream,
                  .tenant_name = self->tenant_name,
                  .region_name = topology_place_name(topology, stream.origin.region),
                  .base = base},
        .segment_size_bytes = topology->log.segment_size_bytes,
        .seal_idle_ns = (int64_t)topology->log.seal_idle_ms * ENGINE_NS_PER_MS,
        .seal_age_ns = (int64_t)topology->log.seal_age_ms * ENGINE_NS_PER_MS,
        .recovery = {.known_durable_seq = replica_applied_seq(self, stream)},
    };
    return wal_log_open(&options, now, ret_log, NULL, errbuf);
}

typedef struct {
    replica_t *self;
    now_t now;
    errbuf_t *errbuf;
    int64_t newest_wall_ns; /* when the newest own stream was begun */
} s_recovery_t;

/* When the stream was begun, by the header of its first segment; 0 when it holds nothing. */
static int64_t s_created_wall_ns(const replica_t *self, const char *folder)
{
    wal_segment_list_t list = {0};
    int64_t created = 0;
    wal_path_t path;
    uint8_t bytes[WAL_SEGMENT_HEADER_SIZE];
    size_t size = 0;
    disk_file_t *file = NULL;
    const disk_t *disk = self->env->disk;
    if (wal_files_list_segments(disk, folder, &list, NULL, NULL) == ERR_OK && list.count > 0 &&
        wal_files_segment_path(folder, list.items[0].first_seq, &path, NULL) == ERR_OK &&
        disk->open(disk->context, path.text, DISK_READ, &file, NULL) == ERR_OK) {
        wal_block_t block;
        if (disk->read_at(disk->context, file, 0, bytes, sizeof(bytes), &size, NULL) == ERR_OK &&
            wal_decode_block(slice_make(bytes, size), &block, NULL) == ERR_OK &&
            block.kind == WAL_BLOCK_SEGMENT) {
            created = block.as.segment.created_wall_ns;
        }
        disk->close(disk->context, &file);
    }
    wal_segment_list_done(&list);
    return created;
}

/* Opens one own stream, and keeps it as the one to be written when it is the newest; one that was
 * given up is the receiver's. */
static err_t s_recover_own(s_recovery_t *recovery, stream_id_t stream, const char *folder)
{
    replica_t *self = recovery->self;
    bool is_given_up = false;
    err_t err = wal_handover_find(self->env->disk, folder, &is_given_up, recovery->errbuf);
    replica_stream_t *at = replica_require_stream(self, stream, !is_given_up);
    at->is_own = !is_given_up;
    at->has_folder = true;
    if (err != ERR_OK || is_given_up) {
        return err;
    }
    int64_t created = s_created_wall_ns(self, folder);
    wal_log_t *log = NULL;
    err = s_open_log(self, stream, recovery->now, &log, recovery->errbuf);
    if (err != ERR_OK) {
        return err;
    }
    applier_effects_t effects;
    applier_event_t known = {
        .kind = APPLIER_EVENT_STREAM, .now_ns = recovery->now.mono_ns, .stream = stream};
    known.as.applied_seq = replica_applied_seq(self, stream);
    replica_applier_step(self, &known, &effects);
    applier_event_t available = {
        .kind = APPLIER_EVENT_AVAILABLE, .now_ns = recovery->now.mono_ns, .stream = stream};
    available.as.available.seq = wal_log_durable_seq(log);
    available.as.available.boot = self->env->boot;
    replica_applier_step(self, &available, &effects);
    leader_event_t durable = {.kind = LEADER_EVENT_DURABLE, .now_ns = recovery->now.mono_ns};
    durable.as.durable = (stream_position_t){stream, wal_log_durable_seq(log)};
    replica_leader_step(self, &durable);
    if (self->log == NULL || created >= recovery->newest_wall_ns) {
        wal_log_close(&self->log);
        self->log = log;
        recovery->newest_wall_ns = created;
    } else {
        wal_log_close(&log);
    }
    return ERR_OK;
}

static err_t s_recover_stream(void *context, const wal_stream_name_t *name, const char *folder)
{
    s_recovery_t *recovery = context;
    replica_t *self = recovery->self;
    const topology_region_t *region =
        topology_find_region_name(self->env->topology, name->region_name);
    if (name->tenant.value != self->tenant.value || region == NULL) {
        return ERR_OK;
    }
    stream_id_t stream = {.tenant = name->tenant,
                          .incarnation = name->incarnation,
                          .origin = {region->id, self->shard}};
    if (region->id.value == self->env->self.region.value) {
        return s_recover_own(recovery, stream, folder);
    }
    (void)replica_require_stream(self, stream, false);
    return ERR_OK;
}

err_t replica_recover(replica_t *self, now_t now, errbuf_t *errbuf)
{
    CHECK(!self->is_recovered);
    wal_path_t tenants;
    err_t err = s_tenants_path(self, &tenants, errbuf);
    if (err == ERR_OK) {
        err = replica_open_base(self, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    applier_effects_t effects;
    for (uint32_t i = 0; i < self->applied.count; i++) {
        const stream_position_t *at = &self->applied.entries[i];
        applier_event_t event = {
            .kind = APPLIER_EVENT_STREAM, .now_ns = now.mono_ns, .stream = at->stream};
        event.as.applied_seq = at->seq;
        replica_applier_step(self, &event, &effects);
        (void)lag_applied(self->lag, at->stream, at->seq);
    }
    s_recovery_t recovery = {self, now, errbuf, 0};
    err =
        wal_files_list_streams(self->env->disk, tenants.text, s_recover_stream, &recovery, errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "recover the log of tenant %s, shard %u", self->tenant_name,
                      (unsigned)self->shard.value);
        return err;
    }
    /* A log that holds nothing tells nothing: it may be what is left of a lost folder. */
    self->has_asked_others = self->log != NULL && wal_log_durable_seq(self->log) > 0;
    self->asking_ends_ns =
        now.mono_ns + (int64_t)self->env->topology->timing.incarnation_wait_ms * ENGINE_NS_PER_MS;
    if (self->log == NULL) {
        err = replica_new_incarnation(self, now, errbuf);
        if (err != ERR_OK) {
            return err;
        }
    } else {
        leader_event_t event = {.kind = LEADER_EVENT_STREAM, .now_ns = now.mono_ns};
        event.as.stream.stream = wal_log_stream(self->log);
        event.as.stream.durable_seq = wal_log_durable_seq(self->log);
        event.as.stream.is_new = false;
        replica_leader_step(self, &event);
    }
    replica_lost_missing_folders(self, now);
    self->is_recovered = true;
    self->positions_changed = true;
    return ERR_OK;
}

err_t replica_new_incarnation(replica_t *self, now_t now, errbuf_t *errbuf)
{
    uint64_t incarnation = 0;
    while (incarnation == 0) {
        incarnation = prng_next(&self->prng);
    }
    stream_id_t stream = {.tenant = self->tenant,
                          .incarnation = incarnation,
                          .origin = {self->env->self.region, self->shard}};
    wal_log_close(&self->log);
    err_t err = s_open_log(self, stream, now, &self->log, errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "begin a new incarnation");
        return err;
    }
    self->log_is_new = true;
    self->counters.new_incarnations++;
    replica_require_stream(self, stream, true)->has_folder = true;
    leader_event_t event = {.kind = LEADER_EVENT_STREAM, .now_ns = now.mono_ns};
    event.as.stream.stream = stream;
    event.as.stream.durable_seq = 0;
    event.as.stream.is_new = true;
    replica_leader_step(self, &event);
    return ERR_OK;
}

void replica_take_table(replica_t *self, const table_t *table, now_t now)
{
    const table_record_t *record = table_find_record(table, self->tenant, self->shard);
    const table_tenant_t *tenant = table_find_tenant(table, self->tenant);
    if (record == NULL || tenant == NULL) {
        return;
    }
    self->placed = record->placed;
    replica_complete_table(self, table);
    bool leads = record->leader.value == self->env->self.region.value;
    if (leads && record->epoch != self->led_epoch) {
        self->led_epoch = record->epoch;
        self->mark_version = table_version(table);
        self->is_marked = false;
    }
    if (region_set_count(record->placed) == 1) {
        replica_available_all(self, NULL, now);
    }
    leader_event_t event = {.kind = LEADER_EVENT_RECORD, .now_ns = now.mono_ns};
    event.as.record.epoch = record->epoch;
    event.as.record.leader = record->leader;
    event.as.record.in_sync = record->in_sync;
    event.as.record.full = tenant->full;
    event.as.record.accepts_islands = tenant->island == ISLAND_ACCEPT;
    replica_leader_step(self, &event);
}

/* What the files held before their damage was applied and shown in an earlier life. */
static bool s_has_damage(const replica_t *self)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        if (self->streams[i].is_damaged) {
            return true;
        }
    }
    return false;
}

bool replica_stop(replica_t *self)
{
    self->is_stopping = true;
    return leader_waiting_count(self->leader) == 0 && self->gathered.count == 0;
}

bool replica_is_ready(replica_t *self, const char **ret_reason)
{
    *ret_reason = "";
    if (self->is_stopping) {
        *ret_reason = "the node is stopping";
    } else if (!self->is_recovered) {
        *ret_reason = "the log is being recovered";
    } else if (self->placed.bits == 0) {
        *ret_reason = "no routing table yet: the control plane has not been heard";
    } else if (!self->has_heard_receiver && !MUTANT(SERVE_TOO_EARLY)) {
        *ret_reason = "the region's receiver has not told its positions yet";
    } else if (!self->has_asked_others && region_set_count(self->placed) > 1) {
        *ret_reason = "there is no log here: asking the other regions whether there was one";
    } else if (self->files == REPLICA_FILES_BASELESS) {
        *ret_reason =
            "the base is damaged, and the checkpoint does not reach the logs: the reconciler "
            "fetches another region's; if its report says that none is taken, remove the "
            "shard's folder here while node and receiver are down";
    } else if (replica_lost_lacks(self, ret_reason)) {
        return false;
    } else if (self->files == REPLICA_FILES_AWAITED && !replica_files_reach_base(self)) {
        *ret_reason = "the state began with a base: the receiver fetches what the logs lack of it";
    } else if (s_has_damage(self)) {
        *ret_reason = "the region's files were damaged: the receiver fetches again what they held";
    } else if (leader_role(self->leader) == LEADER_LEADER && !self->is_marked &&
               !MUTANT(LEAD_TOO_EARLY)) {
        *ret_reason = "named leader: the region's receiver has not stored the epoch yet";
    } else if (!applier_caught_up(self->applier) && !MUTANT(SERVE_TOO_EARLY)) {
        *ret_reason = "replaying what the region's files held at the start";
    }
    self->was_ready = self->was_ready || **ret_reason == '\0';
    return **ret_reason == '\0';
}

/* -- positions from elsewhere ------------------------------------------------------------------ */

void replica_available(replica_t *self,
                       const msg_available_t *message,
                       const msg_available_entry_t *entry,
                       now_t now)
{
    replica_stream_t *at = replica_require_stream(self, entry->stream, false);
    if (at->is_own) {
        return; /* nobody else writes it */
    }
    at->setback_count += entry->durable_seq < at->listed_seq ? 1 : 0;
    at->listed_seq = entry->durable_seq;
    bool is_whole_again = at->is_damaged && !entry->is_damaged;
    at->is_damaged = entry->is_damaged && !self->was_ready;
    replica_lost_head(self, entry);
    applier_event_t event = {
        .kind = APPLIER_EVENT_AVAILABLE, .now_ns = now.mono_ns, .stream = entry->stream};
    event.as.available.seq = entry->durable_seq;
    /* A file that was found damaged or gone has less than before: as after a restart. */
    event.as.available.boot = message->boot + at->setback_count;
    applier_effects_t effects;
    replica_applier_step(self, &event, &effects);
    if (is_whole_again) {
        applier_mark_start(self->applier); /* what came again was there at the start */
    }
    if (entry->head_age_ms != UINT32_MAX) {
        lag_lost(self->lag, entry->stream, entry->head_seq);
        (void)lag_report(self->lag, entry->stream, entry->head_seq,
                         now.mono_ns - (int64_t)entry->head_age_ms * ENGINE_NS_PER_MS);
    }
    leader_event_t durable = {.kind = LEADER_EVENT_DURABLE, .now_ns = now.mono_ns};
    durable.as.durable = (stream_position_t){entry->stream, entry->durable_seq};
    replica_leader_step(self, &durable);
    leader_event_t head = {.kind = LEADER_EVENT_HEAD, .now_ns = now.mono_ns};
    head.as.head = (stream_position_t){entry->stream, entry->origin_seq};
    replica_leader_step(self, &head);
}

static void s_heard(replica_t *self, const msg_peer_t *peer, now_t now)
{
    leader_event_t event = {.kind = LEADER_EVENT_HEARD, .now_ns = now.mono_ns};
    event.as.heard.region = peer->region;
    event.as.heard.at_ns = now.mono_ns - (int64_t)peer->silent_ms * ENGINE_NS_PER_MS;
    if (peer->silent_ms != UINT32_MAX) {
        replica_leader_step(self, &event);
    }
}

/* What is available now must be applied before this node answers: at the start, and for each epoch
 * that it leads once the receiver has stored it. From then on the receiver confirms nothing to the
 * leader before, so that what is available now holds all that was ever acknowledged there. */
static void s_review_mark(replica_t *self, const msg_available_t *message)
{
    bool marks_epoch = self->led_epoch != 0 && !self->is_marked &&
                       (message == NULL || message->table_version >= self->mark_version);
    if (marks_epoch || !self->has_heard_receiver) {
        self->has_heard_receiver = true;
        self->is_marked = self->is_marked || marks_epoch;
        applier_mark_start(self->applier);
    }
}

void replica_available_all(replica_t *self, const msg_available_t *message, now_t now)
{
    for (uint32_t i = 0; message != NULL && i < message->peer_count; i++) {
        const msg_peer_t *peer = &message->peers[i];
        if (peer->silent_ms != UINT32_MAX) {
            lag_heard(self->lag, peer->region,
                      now.mono_ns - (int64_t)peer->silent_ms * ENGINE_NS_PER_MS);
        }
        s_heard(self, peer, now);
        replica_lost_peer_heads(self, peer);
    }
    s_review_mark(self, message);
}

/* Whether a region holds another batch than we at the end of its copy of our own stream. Reads the
 * log: only while the leader core asks, at a start. */
static bool s_differs(replica_t *self, const msg_confirmed_entry_t *entry)
{
    bool is_own = self->log != NULL && stream_id_equal(wal_log_stream(self->log), entry->stream);
    if (leader_stream(self->leader) != LEADER_STREAM_ASKING || !is_own || entry->seq == 0 ||
        entry->seq > wal_log_durable_seq(self->log)) {
        return false;
    }
    wal_reader_options_t options = {.disk = self->env->disk,
                                    .folder = wal_log_folder(self->log),
                                    .stream = entry->stream,
                                    .from_seq = entry->seq};
    wal_reader_t *reader = wal_reader_new(&options);
    wal_batch_t batch;
    errbuf_t errbuf;
    err_t err = wal_reader_next_batch(reader, wal_log_durable_seq(self->log), &batch, &errbuf);
    bool same = err == ERR_OK && wal_batch_last_seq(&batch) == entry->seq &&
                memcmp(batch.hash.bytes, entry->last_hash, WAL_HASH_SIZE) == 0;
    /* Below where the log begins nothing can be compared; every region has applied that once. */
    same = same || err == ERR_NOT_FOUND;
    wal_reader_destroy(&reader);
    return !same;
}

/* This node alone writes its log, and once its stream is settled all others have told what they
 * hold of it: nobody can have an event of it that this node has not logged. */
static bool s_is_from_the_future(const replica_t *self, const msg_confirmed_entry_t *entry)
{
    return self->log != NULL && leader_stream(self->leader) == LEADER_STREAM_SETTLED &&
           stream_id_equal(wal_log_stream(self->log), entry->stream) &&
           entry->seq > wal_log_appended_seq(self->log);
}

void replica_confirmed(replica_t *self, const msg_confirmed_entry_t *entry, now_t now)
{
    if (s_is_from_the_future(self, entry) && !MUTANT(BELIEVE_CONFIRMATION)) {
        self->counters.confirmed_future++;
        return;
    }
    replica_lost_told(self, entry->stream, entry->region, entry->seq, now);
    leader_event_t event = {.kind = LEADER_EVENT_CONFIRMED, .now_ns = now.mono_ns};
    event.as.confirmed.region = entry->region;
    event.as.confirmed.stream = entry->stream;
    event.as.confirmed.seq = entry->seq;
    event.as.confirmed.epoch = entry->epoch;
    event.as.confirmed.differs = s_differs(self, entry);
    replica_leader_step(self, &event);
}

void replica_peer(replica_t *self, const msg_peer_t *peer, bool listed_all, now_t now)
{
    if (peer->reachable && listed_all) {
        replica_lost_peer_listed(self, peer->region);
    }
    leader_event_t event = {.kind = LEADER_EVENT_PEER, .now_ns = now.mono_ns};
    event.as.peer.region = peer->region;
    event.as.peer.reachable = peer->reachable;
    event.as.peer.listed_all = listed_all;
    replica_leader_step(self, &event);
    s_heard(self, peer, now);
}

void replica_clock_ahead(replica_t *self, uint32_t ahead_ms)
{
    self->clock_ahead_ms = ahead_ms;
}

void replica_stable(replica_t *self,
                    uint64_t control_boot,
                    const stream_position_t *stable,
                    uint32_t count)
{
    version_vector_t floor = {0};
    for (uint32_t i = 0; i < count; i++) {
        stream_id_t stream = stable[i].stream;
        if (stream.tenant.value == self->tenant.value &&
            stream.origin.shard.value == self->shard.value && stable[i].seq > 0) {
            (void)version_vector_raise(&floor, stream, stable[i].seq);
        }
    }
    forget_gate_publish(&self->forget_gate, control_boot, &floor);
    version_vector_done(&floor);
    const version_vector_t *forgotten = forget_gate_open(&self->forget_gate, &self->applied);
    for (uint32_t i = 0; forgotten != NULL && i < forgotten->count; i++) {
        stream_position_t at = forgotten->entries[i];
        dedup_forget_stable(self->dedup, at.stream, at.seq);
        (void)version_vector_raise(&self->forgotten, at.stream, at.seq);
    }
}

/* -- output ------------------------------------------------------------------------------------ */

uint32_t replica_own_positions(const replica_t *self,
                               stream_position_t *ret_positions,
                               uint32_t count_max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->stream_count && count < count_max; i++) {
        stream_id_t stream = self->streams[i].stream;
        if (!self->streams[i].is_own) {
            continue;
        }
        bool is_current = self->log != NULL && stream_id_equal(wal_log_stream(self->log), stream);
        uint64_t seq = is_current ? wal_log_durable_seq(self->log)
                                  : applier_available_seq(self->applier, stream);
        if (seq > 0) {
            ret_positions[count++] = (stream_position_t){stream, seq};
        }
    }
    return count;
}

bool replica_positions_changed(const replica_t *self)
{
    return self->positions_changed;
}

void replica_positions_taken(replica_t *self)
{
    self->positions_changed = false;
}

uint32_t replica_lag_rows(const replica_t *self,
                          now_t now,
                          msg_lag_row_t *ret_rows,
                          uint32_t row_count_max)
{
    return lag_rows(self->lag, self->tenant, now.mono_ns, ret_rows, row_count_max);
}

uint64_t replica_follower_lag(const replica_t *self, region_id_t region)
{
    if (self->log == NULL || leader_role(self->leader) == LEADER_FOLLOWER) {
        return 0;
    }
    uint64_t durable = wal_log_durable_seq(self->log);
    uint64_t confirmed = leader_confirmed_seq(self->leader, wal_log_stream(self->log), region);
    return durable > confirmed ? durable - confirmed : 0;
}

region_set_t replica_others(const replica_t *self)
{
    return region_set_remove(self->placed, self->env->self.region);
}

replica_counters_t replica_counters(const replica_t *self)
{
    replica_counters_t counters = self->counters;
    counters.parked = self->parked_count;
    counters.lost_bases = self->base_is_lost ? 1 : 0;
    counters.waiting = leader_waiting_count(self->leader);
    session_totals_t sessions;
    session_book_totals(self->sessions, &sessions);
    counters.sessions = sessions.sessions;
    counters.open_sessions = sessions.open;
    counters.session_signals = sessions.signals;
    counters.session_repeated = sessions.repeated;
    dedup_totals_t pairs;
    dedup_totals(self->dedup, &pairs);
    counters.pair_producers = pairs.producers;
    counters.pair_intervals = pairs.intervals;
    counters.pair_positions = pairs.positions;
    counters.pair_memory_bytes = pairs.memory_bytes;
    counters.home_pending = home_book_pending_count(self->home);
    return counters;
}
