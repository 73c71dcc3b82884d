/* What a receiver tells: positions to the shippers of other regions, and to its region's nodes and
 * shipper. */
#include "common/engine/receiver_state.h"

#include "common/base/check.h"

#include <stdlib.h>
#include <string.h>

void receiver_answers_reply(receiver_engine_t *self, receiver_peer_t *peer, const msg_t *msg)
{
    if (!peer->has_reply) {
        return;
    }
    buffer_clear(&self->out);
    msg_encode(msg, &self->out);
    /* A reply that is not taken is repeated by the next heads message. */
    (void)self->env.net->reply(self->env.net->context, peer->reply_to, self->out.data,
                               self->out.size);
}

static const table_record_t *s_record(const receiver_engine_t *self, stream_id_t stream)
{
    const table_t *table = table_keeper_table(self->tables);
    return table == NULL ? NULL : table_find_record(table, stream.tenant, stream.origin.shard);
}

static uint64_t s_stored_epoch(const receiver_engine_t *self, stream_id_t stream)
{
    const table_record_t *record = s_record(self, stream);
    return record == NULL ? 0 : record->epoch;
}

/* The region whose leader counts positions of this stream; 0 nobody, or this region. */
region_id_t receiver_answers_other_leader(const receiver_engine_t *self, stream_id_t stream)
{
    const table_record_t *record = s_record(self, stream);
    bool is_other = record != NULL && record->leader.value != self->env.self.region.value;
    return is_other ? record->leader : (region_id_t){0};
}

static void s_send_status(receiver_engine_t *self, region_id_t region, bool all)
{
    uint32_t rows = receiver_stream_count(self->core);
    msg_receiver_entry_t *entries = calloc(rows + 1, sizeof(*entries));
    CHECK(entries != NULL);
    uint32_t count = 0;
    for (uint32_t i = 0; i < rows; i++) {
        if (!all && !receiver_row_is_due(self->core, i, region)) {
            continue;
        }
        const receiver_row_t *row = receiver_row(self->core, i);
        const receiver_replica_t *replica = receiver_files_find(self, row->stream);
        msg_receiver_entry_t *entry = &entries[count++];
        *entry = (msg_receiver_entry_t){
            .stream = row->stream,
            .durable_seq = row->durable_seq,
            .epoch = s_stored_epoch(self, row->stream),
            .resend = row->resend && row->source.value == region.value,
            .wanted = row->source.value == region.value,
        };
        if (replica != NULL && replica->file != NULL) {
            wal_hash_t hash = wal_replica_last_hash(replica->file);
            memcpy(entry->last_hash, hash.bytes, sizeof(entry->last_hash));
        }
    }
    msg_t msg = {.type = MSG_RECEIVER_STATUS};
    msg.as.receiver_status = (msg_receiver_status_t){
        .from = self->env.self,
        .boot = self->env.boot,
        .all = all,
        .window_bytes = self->env.topology->limits.ship_window_bytes,
        .entry_count = count,
        .entries = entries,
    };
    receiver_answers_reply(self, &self->peers[region.value], &msg);
    free(entries);
    receiver_status_taken(self->core, region);
}

/* How long ago each other region's shipper told its heads. */
static uint32_t s_heard_peers(const receiver_engine_t *self, msg_peer_t *ret_peers, now_t now)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < self->env.topology->region_count; i++) {
        region_id_t region = self->env.topology->regions[i].id;
        if (region.value == self->env.self.region.value) {
            continue;
        }
        int64_t heads_ns = self->peers[region.value].heads_ns;
        int64_t silent_ms = heads_ns < 0 ? UINT32_MAX : (now.mono_ns - heads_ns) / ENGINE_NS_PER_MS;
        ret_peers[count++] = (msg_peer_t){
            .region = region,
            .reachable = silent_ms < self->env.topology->timing.peer_silent_ms,
            .silent_ms = silent_ms >= UINT32_MAX ? UINT32_MAX : (uint32_t)silent_ms,
        };
    }
    return count;
}

/* The row as the nodes are told of it; false when it has no file yet. */
static bool s_available_entry(receiver_engine_t *self,
                              uint32_t index,
                              now_t now,
                              msg_available_entry_t *ret_entry)
{
    const receiver_row_t *row = receiver_row(self->core, index);
    const receiver_replica_t *replica = receiver_files_find(self, row->stream);
    if (replica == NULL) {
        return false;
    }
    int64_t age_ms = (now.mono_ns - row->head_at_ns) / ENGINE_NS_PER_MS;
    *ret_entry = (msg_available_entry_t){
        .stream = row->stream,
        .durable_seq = row->durable_seq,
        .head_seq = row->head_seq,
        .origin_seq = row->origin_seq,
        .is_damaged = row->is_damaged,
        .head_age_ms = row->head_at_ns < 0 || age_ms >= UINT32_MAX ? UINT32_MAX : (uint32_t)age_ms,
        .tenant_name = slice_make(replica->tenant_name, strlen(replica->tenant_name)),
    };
    return true;
}

static void s_publish_entries(receiver_engine_t *self,
                              const char *topic,
                              const msg_available_t *available)
{
    msg_t msg = {.type = MSG_AVAILABLE};
    msg.as.available = *available;
    msg.as.available.from = self->env.self;
    msg.as.available.boot = self->env.boot;
    msg.as.available.publish_seq = ++self->publish_seq;
    msg.as.available.table_version = table_keeper_version(self->tables);
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    self->env.net->publish(self->env.net->context, topic, self->out.data, self->out.size);
}

static void s_publish_all(receiver_engine_t *self, msg_available_entry_t *entries, now_t now)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < receiver_stream_count(self->core); i++) {
        count += s_available_entry(self, i, now, &entries[count]) ? 1 : 0;
    }
    msg_peer_t peers[REGION_COUNT_MAX];
    msg_available_t available = {.all = true,
                                 .entry_count = count,
                                 .entries = entries,
                                 .peer_count = s_heard_peers(self, peers, now),
                                 .peers = peers};
    s_publish_entries(self, ENGINE_TOPIC_AVAILABLE ENGINE_TOPIC_ALL, &available);
}

/* What changed, shard by shard. */
static void s_publish_changed(receiver_engine_t *self, msg_available_entry_t *entries, now_t now)
{
    for (uint16_t shard = 0; shard < self->env.topology->shard_count; shard++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < receiver_stream_count(self->core); i++) {
            const receiver_row_t *row = receiver_row(self->core, i);
            bool is_due = row->is_changed && row->stream.origin.shard.value == shard;
            count += is_due && s_available_entry(self, i, now, &entries[count]) ? 1 : 0;
        }
        if (count > 0) {
            char topic[ENGINE_TOPIC_SIZE];
            msg_available_t available = {.entry_count = count, .entries = entries};
            s_publish_entries(
                self, engine_shard_topic(ENGINE_TOPIC_AVAILABLE, (shard_id_t){shard}, topic),
                &available);
        }
    }
}

static void s_publish(receiver_engine_t *self, bool all, now_t now)
{
    msg_available_entry_t *entries =
        calloc((size_t)receiver_stream_count(self->core) + 1, sizeof(*entries));
    CHECK(entries != NULL);
    if (all) {
        s_publish_all(self, entries, now);
    } else {
        s_publish_changed(self, entries, now);
    }
    free(entries);
    receiver_publish_taken(self->core);
}

void receiver_answers_tell_table(receiver_engine_t *self, now_t now)
{
    for (uint32_t i = 0; i < self->env.topology->region_count; i++) {
        s_send_status(self, self->env.topology->regions[i].id, true);
    }
    s_publish(self, true, now);
}

void receiver_answers_carry_out(receiver_engine_t *self,
                                const receiver_effects_t *effects,
                                now_t now)
{
    for (uint32_t i = 0; i < effects->count; i++) {
        switch (effects->list[i].kind) {
        case RECEIVER_EFFECT_STATUS:
            s_send_status(self, effects->list[i].peer, false);
            break;
        case RECEIVER_EFFECT_STATUS_ALL:
            s_send_status(self, effects->list[i].peer, true);
            break;
        case RECEIVER_EFFECT_PUBLISH:
            s_publish(self, false, now);
            break;
        case RECEIVER_EFFECT_PUBLISH_ALL:
            s_publish(self, true, now);
            break;
        case RECEIVER_EFFECT_OFFER:  /* s_on_blocks has dealt with it */
        case RECEIVER_EFFECT_REFUSE: /* the core has counted it */
            break;
        }
    }
}
