#include "common/engine/receiver_state.h"

#include "common/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void receiver_engine_step(receiver_engine_t *self,
                          receiver_event_t event,
                          receiver_effects_t *effects)
{
    receiver_step(self->core, &event, effects);
}

/* -- opening ----------------------------------------------------------------------------------- */

err_t receiver_engine_open(const engine_env_t *env,
                           receiver_engine_t **ret_engine,
                           errbuf_t *errbuf)
{
    receiver_engine_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = *env;
    self->codec = msg_codec_new();
    buffer_init(&self->out);
    receiver_options_t options = {
        .self = env->self.region,
        .publish_ns = 2 * (int64_t)env->topology->timing.heartbeat_ms * ENGINE_NS_PER_MS,
        .resend_ns = (int64_t)env->topology->timing.heartbeat_ms * ENGINE_NS_PER_MS,
        .source_silent_ns = (int64_t)env->topology->timing.source_silent_ms * ENGINE_NS_PER_MS,
    };
    self->core = receiver_new(&options);
    for (uint32_t i = 0; i <= REGION_COUNT_MAX; i++) {
        self->peers[i].heads_ns = -1;
    }
    (void)snprintf(self->region_folder, sizeof(self->region_folder), "%s/%s/receiver",
                   env->data_folder, topology_place_name(env->topology, env->self.region));
    err_t err = table_keeper_open(env->disk, self->region_folder, &self->tables, errbuf);
    if (err == ERR_OK) {
        err = receiver_files_recover(self, errbuf);
    }
    if (err != ERR_OK) {
        receiver_engine_close(&self);
        return err;
    }
    *ret_engine = self;
    return ERR_OK;
}

void receiver_engine_close(receiver_engine_t **self_p)
{
    receiver_engine_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->replica_count; i++) {
        wal_replica_close(&self->replicas[i].file);
    }
    free(self->replicas);
    receiver_destroy(&self->core);
    table_keeper_close(&self->tables);
    msg_codec_destroy(&self->codec);
    buffer_done(&self->out);
    free(self);
    *self_p = NULL;
}

/* -- messages ---------------------------------------------------------------------------------- */

void receiver_engine_judge(receiver_engine_t *self,
                           receiver_event_t *event,
                           const table_tenant_t **ret_tenant)
{
    stream_id_t stream = event->stream;
    const table_t *table = table_keeper_table(self->tables);
    const receiver_replica_t *replica = receiver_files_find(self, stream);
    event->is_own = stream.origin.region.value == self->env.self.region.value &&
                    (replica == NULL || !replica->is_handed);
    event->is_placed = table_keeper_places(self->tables, self->env.topology, stream,
                                           self->env.self.region, event->peer);
    *ret_tenant = event->is_placed ? table_find_tenant(table, stream.tenant) : NULL;
}

/* Every row of the core has its replica: rows that it made just now get one. What it admitted is
 * placed, so its tenant is in the table. */
static void s_match_replicas(receiver_engine_t *self)
{
    for (uint32_t i = self->matched_count; i < receiver_stream_count(self->core); i++) {
        stream_id_t stream = receiver_row(self->core, i)->stream;
        const table_t *table = table_keeper_table(self->tables);
        const table_tenant_t *tenant =
            table == NULL ? NULL : table_find_tenant(table, stream.tenant);
        if (receiver_files_find(self, stream) == NULL) {
            CHECK(tenant != NULL);
            (void)receiver_files_add(self, stream, slice_make(tenant->name, strlen(tenant->name)));
        }
    }
    self->matched_count = receiver_stream_count(self->core);
}

static void s_on_heads(receiver_engine_t *self, const msg_ship_heads_t *heads, now_t now)
{
    receiver_effects_t effects;
    region_id_t peer = heads->from.region;
    self->peers[peer.value].heads_ns = now.mono_ns;
    for (uint32_t i = 0; i < heads->head_count; i++) {
        const table_tenant_t *tenant = NULL;
        receiver_event_t event = {.kind = RECEIVER_EVENT_HEADS,
                                  .now_ns = now.mono_ns,
                                  .peer = peer,
                                  .stream = heads->heads[i].stream,
                                  .seq = heads->heads[i].head_seq};
        receiver_engine_judge(self, &event, &tenant);
        receiver_engine_step(self, event, &effects);
        s_match_replicas(self);
    }
    receiver_engine_step(self,
                         (receiver_event_t){.kind = RECEIVER_EVENT_HEARD,
                                            .now_ns = now.mono_ns,
                                            .peer = peer,
                                            .known_shards = heads->known_shards},
                         &effects);
    receiver_answers_carry_out(self, &effects, now);
}

static void s_on_blocks(receiver_engine_t *self, const msg_ship_blocks_t *blocks, now_t now)
{
    const table_tenant_t *tenant = NULL;
    receiver_event_t event = {.kind = RECEIVER_EVENT_BLOCKS,
                              .now_ns = now.mono_ns,
                              .peer = blocks->from.region,
                              .stream = blocks->stream,
                              .seq = blocks->head_seq};
    receiver_engine_judge(self, &event, &tenant);
    receiver_effects_t effects;
    receiver_engine_step(self, event, &effects);
    s_match_replicas(self);
    if (effects.count == 0 || effects.list[0].kind != RECEIVER_EFFECT_OFFER) {
        return;
    }
    receiver_replica_t *replica = receiver_files_find(self, blocks->stream);
    CHECK(replica != NULL);
    errbuf_t errbuf = {{0}};
    self->received_bytes += blocks->blocks.size;
    event.kind = RECEIVER_EVENT_OFFERED;
    event.outcome = receiver_files_offer(self, replica, blocks->blocks, now, &errbuf);
    if (self->fatal != ERR_OK) {
        return; /* with the file closed in the middle of it */
    }
    event.seq = replica->file == NULL ? receiver_files_known_durable(self, blocks->stream)
                                      : wal_replica_appended_seq(replica->file);
    receiver_engine_step(self, event, &effects);
    receiver_answers_carry_out(self, &effects, now);
}

static void s_on_hello(receiver_engine_t *self,
                       receiver_peer_t *peer,
                       const msg_ship_hello_t *hello)
{
    bool fits = hello->protocol == MSG_PROTOCOL_VERSION &&
                hello->fingerprint == topology_fingerprint(self->env.topology);
    self->mismatched_count += fits ? 0 : 1;
    peer->is_known = fits;
    peer->boot = hello->boot;
}

/* The region's reconciler names a region that has what is missing here. */
static void s_on_fetch(receiver_engine_t *self, const msg_fetch_t *fetch, now_t now)
{
    bool is_reconciler = fetch->from.kind == PROCESS_RECONCILER &&
                         fetch->from.region.value == self->env.self.region.value;
    if (!is_reconciler || topology_find_region(self->env.topology, fetch->region) == NULL) {
        self->malformed_count++;
        return;
    }
    const table_tenant_t *tenant = NULL;
    receiver_event_t event = {.kind = RECEIVER_EVENT_FETCH,
                              .now_ns = now.mono_ns,
                              .peer = fetch->region,
                              .stream = fetch->stream,
                              .seq = fetch->through_seq};
    receiver_engine_judge(self, &event, &tenant);
    event.is_placed = event.is_placed && fetch->region.value != self->env.self.region.value;
    receiver_effects_t effects;
    receiver_engine_step(self, event, &effects);
    s_match_replicas(self);
}

/* The shipper that a message claims to be from; NULL when there is no such one. */
static receiver_peer_t *s_peer_of(receiver_engine_t *self, process_address_t from)
{
    bool is_shipper = from.kind == PROCESS_SHIPPER &&
                      from.region.value != self->env.self.region.value &&
                      topology_has_process(self->env.topology, from);
    return is_shipper ? &self->peers[from.region.value] : NULL;
}

/* Keeps the newest way back to the shipper. */
static void s_keep_reply(receiver_engine_t *self, receiver_peer_t *peer, uint64_t reply_to)
{
    if (peer->has_reply) {
        self->env.net->forget(self->env.net->context, peer->reply_to);
    }
    peer->has_reply = true;
    peer->reply_to = reply_to;
}

static void s_from_shipper(
    receiver_engine_t *self, receiver_peer_t *peer, uint64_t boot, const msg_t *msg, now_t now)
{
    if (msg->type == MSG_SHIP_HELLO) {
        s_on_hello(self, peer, &msg->as.ship_hello);
        return;
    }
    if (!peer->is_known || peer->boot != boot) {
        msg_t question = {.type = MSG_WHO_ARE_YOU};
        question.as.who_are_you.from = self->env.self;
        receiver_answers_reply(self, peer, &question);
        return;
    }
    if (msg->type == MSG_SHIP_HEADS) {
        s_on_heads(self, &msg->as.ship_heads, now);
    } else {
        s_on_blocks(self, &msg->as.ship_blocks, now);
    }
}

static void s_on_floor(receiver_engine_t *self, const msg_log_floor_t *message, now_t now)
{
    for (uint32_t i = 0; i < message->floor_count; i++) {
        const stream_position_t *floor = &message->floors[i];
        bool is_ours = message->from.kind == PROCESS_NODE &&
                       message->from.region.value == self->env.self.region.value &&
                       message->from.shard.value == floor->stream.origin.shard.value;
        if (!is_ours) {
            self->malformed_count++;
            return;
        }
        receiver_files_floor(self, floor, now);
    }
}

/* False when it is none of the messages that come from the region itself. */
static bool s_from_own_region(receiver_engine_t *self, const msg_t *msg, now_t now)
{
    if (msg->type == MSG_DAMAGED) {
        receiver_files_damaged(self, &msg->as.damaged, now);
    } else if (msg->type == MSG_FETCH) {
        s_on_fetch(self, &msg->as.fetch, now);
    } else if (msg->type == MSG_LOST) {
        receiver_files_lost(self, &msg->as.lost, now);
    } else if (msg->type == MSG_LOG_FLOOR) {
        s_on_floor(self, &msg->as.log_floor, now);
    } else {
        return false;
    }
    return true;
}

void receiver_engine_message(receiver_engine_t *self, uint64_t reply_to, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    receiver_peer_t *peer = NULL;
    uint64_t boot = 0;
    /* A file may be closed in the middle of what was to happen to it. */
    if (self->fatal != ERR_OK) {
        self->env.net->forget(self->env.net->context, reply_to);
        return;
    }
    if (msg_decode(self->codec, bytes, &msg, &errbuf) == ERR_OK) {
        if (msg.type == MSG_SHIP_HELLO) {
            peer = s_peer_of(self, msg.as.ship_hello.from);
            boot = msg.as.ship_hello.boot;
        } else if (msg.type == MSG_SHIP_HEADS) {
            peer = s_peer_of(self, msg.as.ship_heads.from);
            boot = msg.as.ship_heads.boot;
        } else if (msg.type == MSG_SHIP_BLOCKS) {
            peer = s_peer_of(self, msg.as.ship_blocks.from);
            boot = msg.as.ship_blocks.boot;
        } else if (s_from_own_region(self, &msg, now)) {
            self->env.net->forget(self->env.net->context, reply_to);
            return;
        }
    }
    if (peer == NULL) {
        self->malformed_count++;
        self->env.net->forget(self->env.net->context, reply_to);
        return;
    }
    s_keep_reply(self, peer, reply_to);
    s_from_shipper(self, peer, boot, &msg, now);
}

void receiver_engine_published(receiver_engine_t *self, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    if (msg_decode(self->codec, bytes, &msg, &errbuf) != ERR_OK || msg.type != MSG_TABLE) {
        self->malformed_count++;
        return;
    }
    err_t err = table_keeper_offer(self->tables, msg.as.table.table, &errbuf);
    self->malformed_count += err == ERR_CORRUPT ? 1 : 0;
    if (err == ERR_OK) {
        receiver_answers_tell_table(self, now);
    }
}

err_t receiver_engine_turn_end(receiver_engine_t *self, now_t now, errbuf_t *errbuf)
{
    receiver_effects_t effects;
    err_t err = self->fatal == ERR_OK ? receiver_files_flush(self, now, errbuf) : ERR_OK;
    if (err == ERR_OK && self->fatal != ERR_OK) {
        *errbuf = self->fatal_text;
        err = self->fatal;
    }
    if (err != ERR_OK) {
        return err;
    }
    receiver_engine_step(
        self, (receiver_event_t){.kind = RECEIVER_EVENT_TURN_END, .now_ns = now.mono_ns}, &effects);
    receiver_answers_carry_out(self, &effects, now);
    return ERR_OK;
}

void receiver_engine_tick(receiver_engine_t *self, now_t now)
{
    receiver_effects_t effects;
    if (self->tick_count++ % RECEIVER_FILES_PERIODS == 0) {
        receiver_files_review(self, now);
    }
    receiver_engine_step(
        self, (receiver_event_t){.kind = RECEIVER_EVENT_TICK, .now_ns = now.mono_ns}, &effects);
    receiver_answers_carry_out(self, &effects, now);
}

int64_t receiver_engine_deadline_ns(const receiver_engine_t *self)
{
    return receiver_deadline_ns(self->core);
}

bool receiver_engine_is_ready(const receiver_engine_t *self, const char **ret_reason)
{
    if (table_keeper_table(self->tables) == NULL) {
        *ret_reason = "no routing table yet: the control plane has not been heard";
        return false;
    }
    *ret_reason = "";
    return true;
}

uint64_t receiver_engine_table_version(const receiver_engine_t *self)
{
    return table_keeper_version(self->tables);
}

const receiver_t *receiver_engine_core(const receiver_engine_t *self)
{
    return self->core;
}

/* Copies that may hold less than they did, and wait for what others hold. */
static uint64_t s_incomplete_count(const receiver_engine_t *self)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < receiver_stream_count(self->core); i++) {
        count += receiver_row(self->core, i)->is_damaged ? 1 : 0;
    }
    return count;
}

uint32_t receiver_engine_metrics(const receiver_engine_t *self,
                                 msg_metric_t *ret_metrics,
                                 uint32_t metric_count_max)
{
    receiver_counters_t counters = receiver_counters(self->core);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"receiver_streams", receiver_stream_count(self->core)},
        {"receiver_received_bytes", self->received_bytes},
        {"receiver_flushes", self->flush_count},
        {"receiver_refused", counters.refused},
        {"receiver_future", counters.future},
        {"receiver_fetches", counters.fetches},
        {"receiver_source_changes", counters.source_changes},
        {"receiver_corrupt", counters.corrupt},
        {"receiver_gaps", counters.gaps},
        {"receiver_conflicts", counters.conflicts},
        {"receiver_no_room", counters.no_room},
        {"receiver_truncated_segments", self->truncated_count},
        {"receiver_truncate_failed", self->truncate_failed_count},
        {"receiver_joined", self->joined_count},
        {"receiver_set_aside", counters.set_aside + self->set_aside_at_open_count},
        {"receiver_incomplete", s_incomplete_count(self)},
        {"receiver_malformed", self->malformed_count},
        {"receiver_mismatched", self->mismatched_count},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && count < metric_count_max; i++) {
        ret_metrics[count++] =
            (msg_metric_t){slice_make(rows[i].name, strlen(rows[i].name)), (double)rows[i].value};
    }
    return count;
}
