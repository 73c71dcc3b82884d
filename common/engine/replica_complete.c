/* Writes that concern all shards: the leader of the user's home shard brings to the others what
 * their gateway did not (common/replication/completer.h decides, this carries it out). */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

enum {
    S_WRITE_COUNT_MAX = 64, /* of one message */
    S_WRITE_SIZE = 64 * 1024,
    S_HELD_COUNT_MAX = 256, /* records of one batch */
    S_ANSWER_MS = 3000,
    S_TIMEOUT_MS = 2500, /* of a write: answered before it is given up */
    S_GRACE_MS = 1000,
    S_RETRY_MS = 500,
    S_RETRY_MAX_MS = 8000
};

static int64_t s_ms(int64_t ms)
{
    return ms * ENGINE_NS_PER_MS;
}

completer_t *replica_complete_new(const replica_t *self)
{
    completer_options_t options = {
        .self_shard = self->shard,
        .shard_count = self->env->topology->shard_count,
        .grace_ns = s_ms(S_GRACE_MS),
        .answer_ns = s_ms(S_ANSWER_MS),
        .retry_ns = s_ms(S_RETRY_MS),
        .retry_max_ns = s_ms(S_RETRY_MAX_MS),
    };
    return completer_new(&options);
}

void replica_complete_table(replica_t *self, const table_t *table)
{
    for (uint16_t i = 0; i < self->env->topology->shard_count; i++) {
        const table_record_t *record = table_find_record(table, self->tenant, (shard_id_t){i});
        self->shard_leaders[i].value = record == NULL ? 0 : record->leader.value;
    }
}

/* Tells the core; only a tick has effects, and is stepped where they are carried out. */
static void s_tell(replica_t *self, completer_event_t event)
{
    completer_effects_t effects;
    completer_step(self->completer, &event, &effects);
    CHECK(effects.count == 0);
}

void replica_complete_reset(replica_t *self)
{
    s_tell(self, (completer_event_t){.kind = COMPLETER_EVENT_RESET});
    self->completer_is_new = true;
}

/* -- sending ----------------------------------------------------------------------------------- */

/* The writes of one message.
 * out ret_through  the last that was looked at · ret_hlc the highest stamp;
 *                  returns how many there are */
static uint32_t s_collect(replica_t *self,
                          const completer_effect_t *effect,
                          uint64_t *ret_through,
                          hlc_stamp_t *ret_hlc)
{
    uint32_t count = 0;
    home_entry_t entry;
    buffer_clear(&self->scratch);
    *ret_through = effect->after_order;
    *ret_hlc = (hlc_stamp_t){0};
    while (count < S_WRITE_COUNT_MAX && self->scratch.size < S_WRITE_SIZE &&
           home_book_next(self->home, *ret_through, &entry) &&
           entry.order <= effect->through_order) {
        *ret_through = entry.order;
        if (home_book_append_write(&entry, self->ledger, &self->scratch)) {
            *ret_hlc = hlc_compare(entry.held.hlc, *ret_hlc) > 0 ? entry.held.hlc : *ret_hlc;
            count++;
        }
    }
    bool is_whole = count < S_WRITE_COUNT_MAX && self->scratch.size < S_WRITE_SIZE;
    *ret_through = is_whole ? effect->through_order : *ret_through;
    return count;
}

static void s_send(replica_t *self, const completer_effect_t *effect, now_t now)
{
    completer_event_t event = {
        .kind = COMPLETER_EVENT_FAILED, .now_ns = now.mono_ns, .shard = effect->shard};
    msg_t msg = {.type = MSG_WRITE};
    msg.as.write = (msg_write_t){.tenant = self->tenant,
                                 .shard = effect->shard,
                                 .level = ACK_REPLICATED,
                                 .timeout_ms = S_TIMEOUT_MS};
    msg.as.write.event_count = s_collect(self, effect, &event.through_order, &msg.as.write.hlc);
    if (msg.as.write.event_count == 0) {
        event.kind = COMPLETER_EVENT_EMPTY;
        s_tell(self, event);
        return;
    }
    while (event.request_id == 0) { /* no other node's, for equal bytes count as a repetition */
        event.request_id = prng_next(&self->prng);
    }
    msg.as.write.request_id = event.request_id;
    msg.as.write.payload = buffer_slice(&self->scratch);
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    region_id_t leader = self->shard_leaders[effect->shard.value];
    process_address_t to = {PROCESS_NODE, leader, effect->shard};
    const net_t *net = self->env->net;
    if (leader.value != 0 &&
        net->send(net->context, to, self->out.data, self->out.size) == ERR_OK) {
        event.kind = COMPLETER_EVENT_SENT;
        self->counters.home_sent += msg.as.write.event_count;
    }
    s_tell(self, event);
}

/* -- saying that all hold it ------------------------------------------------------------------- */

static void s_log(replica_t *self, const completer_effect_t *effect, now_t now)
{
    uint32_t count = 0;
    uint64_t order = effect->after_order;
    home_entry_t entry;
    buffer_clear(&self->scratch);
    while (count < S_HELD_COUNT_MAX && self->scratch.size < S_WRITE_SIZE &&
           home_book_next(self->home, order, &entry) && entry.order <= effect->through_order) {
        record_t record = {.type = RECORD_HELD, .event_count = 1};
        record.as.held = entry.held;
        record_append(&self->scratch, &record);
        order = entry.order;
        count++;
    }
    bool is_whole = count < S_HELD_COUNT_MAX && self->scratch.size < S_WRITE_SIZE;
    wal_batch_t batch = {
        .epoch = leader_epoch(self->leader),
        .event_count = count,
        .payload = buffer_slice(&self->scratch),
    };
    errbuf_t errbuf;
    if (count > 0) {
        batch.hlc = hlc_now(self->hlc, now.wall_ns);
        if (replica_append(self, &batch, now, &errbuf) != ERR_OK) {
            return; /* asked for again by the next tick */
        }
        self->counters.events += count;
        self->counters.home_held += count;
    }
    s_tell(self, (completer_event_t){.kind = COMPLETER_EVENT_LOGGED,
                                     .now_ns = now.mono_ns,
                                     .through_order = is_whole ? effect->through_order : order});
}

/* -- when -------------------------------------------------------------------------------------- */

/* What a write needs: else another leader may be at work, or the clock is wrong. */
static bool s_may_complete(replica_t *self, now_t now)
{
    const char *reason = "";
    return self->log != NULL && self->fatal == ERR_OK && self->clock_ahead_ms == 0 &&
           leader_role(self->leader) == LEADER_LEADER && replica_is_ready(self, &reason) &&
           leader_admit(self->leader, ACK_REPLICATED, now.mono_ns, &reason) == CODE_OK;
}

void replica_complete_tick(replica_t *self, now_t now)
{
    if (leader_role(self->leader) != LEADER_LEADER && !self->completer_is_new) {
        replica_complete_reset(self);
    }
    if (home_book_pending_count(self->home) == 0 || !s_may_complete(self, now) ||
        MUTANT(NEVER_COMPLETE)) {
        return;
    }
    self->completer_is_new = false;
    completer_effects_t effects;
    completer_event_t tick = {.kind = COMPLETER_EVENT_TICK,
                              .now_ns = now.mono_ns,
                              .through_order = home_book_last_order(self->home)};
    completer_step(self->completer, &tick, &effects);
    for (uint32_t i = 0; i < effects.count; i++) {
        if (effects.list[i].kind == COMPLETER_EFFECT_SEND) {
            s_send(self, &effects.list[i], now);
        } else {
            s_log(self, &effects.list[i], now);
        }
    }
}

void replica_complete_answer(replica_t *self, const msg_write_reply_t *answer, now_t now)
{
    s_tell(self, (completer_event_t){.kind = COMPLETER_EVENT_ANSWER,
                                     .now_ns = now.mono_ns,
                                     .request_id = answer->request_id,
                                     .ok = answer->code == CODE_OK && !answer->island});
    replica_complete_tick(self, now);
}
