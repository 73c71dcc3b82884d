/* The write path: from MSG_WRITE to its one answer. */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/wal/record_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- answers ----------------------------------------------------------------------------------- */

void replica_send_reply(replica_t *self, uint64_t reply_to, const msg_t *msg)
{
    const net_t *net = self->env->net;
    buffer_clear(&self->out);
    msg_encode(msg, &self->out);
    /* Who asked has gone when it is not taken; it asks again. */
    (void)net->reply(net->context, reply_to, self->out.data, self->out.size);
    net->forget(net->context, reply_to);
}

enum {
    S_FUTURE_S = 3600,            /* an event's time, ahead of the leader's clock */
    S_STAMP_FUTURE_S = 24 * 3600, /* a gateway's stamp */

    /* No sooner than the node has ended: what comes just then is lost with the connection. */
    S_STOPPING_RETRY_MS = 300
};

void replica_refuse_write(
    replica_t *self, uint64_t reply_to, uint64_t request_id, code_t code, const char *message)
{
    self->counters.refused++;
    msg_t msg = {.type = MSG_WRITE_REPLY};
    msg.as.write_reply = (msg_write_reply_t){
        .request_id = request_id,
        .code = code,
        .message = slice_make(message, strlen(message)),
        .leader = leader_region(self->leader),
        .retry_after_ms = self->is_stopping ? S_STOPPING_RETRY_MS : 0,
    };
    replica_send_reply(self, reply_to, &msg);
}

static void s_answer(replica_t *self, leader_effect_t *effect)
{
    CHECK(effect->ticket < self->ticket_count);
    replica_ticket_t *ticket = &self->tickets[effect->ticket];
    CHECK(ticket->is_used);
    const char *message = replica_ticket_settle(self, ticket, effect);
    msg_t msg = {.type = MSG_WRITE_REPLY};
    msg.as.write_reply = (msg_write_reply_t){
        .request_id = ticket->request_id,
        .code = effect->code,
        .message = slice_make(message, strlen(message)),
        .leader = leader_region(self->leader),
        .durability = effect->durability,
        .replicas = effect->replicas,
        .duplicate = ticket->duplicate,
        .island = effect->island,
        .has_position = true,
        .stream = ticket->named.stream,
        .first_seq = ticket->named.seq,
        .last_seq = ticket->named.seq + (ticket->last_seq - ticket->first_seq),
        .hlc = ticket->hlc,
    };
    if (effect->code == CODE_OK) {
        msg.as.write_reply.session =
            replica_session_summary(self, ticket->session_row, ticket->named);
    }
    replica_send_reply(self, ticket->reply_to, &msg);
    replica_ticket_give_back(self, (uint32_t)effect->ticket);
}

void replica_leader_step(replica_t *self, const leader_event_t *event)
{
    leader_effects_t effects;
    leader_step(self->leader, event, &effects);
    bool wants_incarnation = false;
    for (uint32_t i = 0; i < effects.count; i++) {
        if (effects.list[i].kind == LEADER_EFFECT_ANSWER) {
            s_answer(self, &effects.list[i]);
        } else {
            wants_incarnation = true;
        }
    }
    if (wants_incarnation) {
        self->wants_incarnation = true; /* drawn at the end of the turn, when nothing is pending */
    }
}

static void s_wait(replica_t *self,
                   const replica_ticket_t *ticket,
                   const msg_write_t *write,
                   now_t now)
{
    uint32_t index = replica_ticket_take(self, ticket);
    leader_event_t event = {.kind = LEADER_EVENT_WAIT, .now_ns = now.mono_ns};
    event.as.wait.ticket = index;
    event.as.wait.stream = ticket->stream;
    event.as.wait.last_seq = ticket->last_seq;
    event.as.wait.level = write->level;
    self->tickets[index].has_pair = write->has_producer;
    self->tickets[index].level = write->level;
    self->tickets[index].epoch = leader_epoch(self->leader);
    event.as.wait.as_island = leader_stance(self->leader, now.mono_ns) == LEADER_AS_ISLAND;
    event.as.wait.deadline_ns = now.mono_ns + (int64_t)write->timeout_ms * ENGINE_NS_PER_MS;
    replica_leader_step(self, &event);
}

/* -- checks ------------------------------------------------------------------------------------ */

static bool s_signal_is_fine(
    const replica_t *self, uint8_t signal, int64_t ts_ns, int64_t ts_max_ns, errbuf_t *errbuf)
{
    if (ts_ns > ts_max_ns) {
        errbuf_set(errbuf,
                   "ts: expected at most one hour after the leader's clock (%lld), found %lld; "
                   "check the sender's clock and unit (ns)",
                   (long long)ts_max_ns, (long long)ts_ns);
        return false;
    }
    if (signal < 1 || signal > SIGNAL_TYPE_COUNT_MAX ||
        (self->known_signals >> (signal - 1) & 1) == 0) {
        errbuf_set(errbuf, "signal: expected an id of the schema, found %u; hello lists them",
                   (unsigned)signal);
        return false;
    }
    return true;
}

static bool s_signals_are_fine(const replica_t *self,
                               const record_signals_t *signals,
                               int64_t ts_max_ns,
                               errbuf_t *errbuf)
{
    if (signals->cohorts.size > 0) {
        errbuf_set(errbuf, "cohorts: expected none in a request, for the leader looks them up");
        return false;
    }
    for (uint32_t i = 0; i < signals->count; i++) {
        signal_event_t event;
        record_signals_get(signals, i, &event);
        if (!s_signal_is_fine(self, event.signal, event.ts_ns, ts_max_ns, errbuf)) {
            errbuf_prefix(errbuf, "event %u", i);
            return false;
        }
    }
    return true;
}

/* One record of a session is a request of its own: it is answered with how the session stands. */
static bool s_session_is_fine(const replica_t *self,
                              const record_t *record,
                              bool is_alone,
                              int64_t ts_max_ns,
                              errbuf_t *errbuf)
{
    if (!is_alone) {
        errbuf_set(errbuf, "session: expected its record alone in a request, found others with it");
        return false;
    }
    return record->type != RECORD_SESSION_SIGNAL ||
           s_signal_is_fine(self, record->as.session_signal.signal, record->as.session_signal.ts_ns,
                            ts_max_ns, errbuf);
}

/* Everything that could keep a logged batch from being applied is found out here. */
static bool s_payload_is_fine(const replica_t *self,
                              const msg_write_t *write,
                              now_t now,
                              errbuf_t *errbuf)
{
    int64_t ts_max_ns = now.wall_ns + (int64_t)S_FUTURE_S * 1000 * ENGINE_NS_PER_MS;
    size_t begin = 0;
    size_t offset = 0;
    record_t record;
    err_t err = record_next(write->payload, &offset, &record, errbuf);
    while (err == ERR_OK) {
        if (record.type == RECORD_SIGNALS &&
            !s_signals_are_fine(self, &record.as.signals, ts_max_ns, errbuf)) {
            return false;
        }
        if (record_is_of_session(record.type) &&
            !s_session_is_fine(self, &record, begin == 0 && offset == write->payload.size,
                               ts_max_ns, errbuf)) {
            return false;
        }
        begin = offset;
        err = record_next(write->payload, &offset, &record, errbuf);
    }
    return err == ERR_END;
}

static void s_refuse_follower(const replica_t *self, errbuf_t *errbuf)
{
    region_id_t leader = leader_region(self->leader);
    if (leader.value == 0) {
        errbuf_set(errbuf, "this node does not lead, and who does is not known here yet; retry");
    } else {
        errbuf_set(errbuf, "this node follows; send the write to the leader in %s",
                   topology_place_name(self->env->topology, leader));
    }
}

/* CODE_OK, or why the write is not even looked at. */
static code_t s_check(replica_t *self, const msg_write_t *write, now_t now, errbuf_t *errbuf)
{
    const char *reason = "";
    if (leader_stance(self->leader, now.mono_ns) == LEADER_AS_NOBODY) {
        s_refuse_follower(self, errbuf);
        return CODE_READ_ONLY;
    }
    if (!replica_is_ready(self, &reason)) {
        errbuf_set(errbuf, "the node is not ready: %s; retry", reason);
        return CODE_UNAVAILABLE;
    }
    /* A gateway's stamp comes after what its client has seen, so it may be ahead; within bounds. */
    int64_t bound_ms = write->hlc_is_explicit ? (int64_t)self->env->topology->timing.clock_skew_ms
                                              : (int64_t)S_STAMP_FUTURE_S * 1000;
    int64_t ahead_ns = hlc_ahead_ns(write->hlc, now.wall_ns);
    if (ahead_ns > bound_ms * ENGINE_NS_PER_MS) {
        errbuf_set(errbuf,
                   "hlc: expected a wall time at most %lld ms ahead of the leader's clock, found "
                   "%lld ms ahead; check the sender's clock",
                   (long long)bound_ms, (long long)(ahead_ns / ENGINE_NS_PER_MS));
        return CODE_CLOCK_SKEW;
    }
    return s_payload_is_fine(self, write, now, errbuf) ? CODE_OK : CODE_BAD_REQUEST;
}

/* -- the request ------------------------------------------------------------------------------- */

/* Whether something may be logged now. */
static code_t s_admit(replica_t *self, const msg_write_t *write, now_t now, errbuf_t *errbuf)
{
    if (self->clock_ahead_ms > 0) {
        errbuf_set(
            errbuf,
            "the leader's clock: expected at most %u ms ahead of its peers in other regions, "
            "found %u ms; set the clock of its host right, or move the leadership",
            self->env->topology->timing.clock_skew_ms, self->clock_ahead_ms);
        return CODE_CLOCK_SKEW;
    }
    const char *reason = "";
    code_t code = leader_admit(self->leader, write->level, now.mono_ns, &reason);
    uint32_t waiting = leader_waiting_count(self->leader);
    if (code == CODE_OK && (replica_tickets_are_taken(self) ||
                            waiting >= self->env->topology->limits.leader_pending_count)) {
        code = CODE_OVERLOADED;
        reason = "too many writes wait for confirmations; retry later";
    }
    errbuf_set(errbuf, "%s", reason);
    return code;
}

/* What a client is told when its write could not be appended. */
static code_t s_code_of_append(err_t err)
{
    return err == ERR_OK          ? CODE_OK
           : err == ERR_DISK_FULL ? CODE_DISK_FULL
           : err == ERR_TOO_LARGE ? CODE_TOO_LARGE
           : err == ERR_IO        ? CODE_INTERNAL
                                  : CODE_BAD_REQUEST;
}

/* Puts a reissue in the copy's place; false when the request was refused,
 * since none can be logged. */
static bool s_reissue(replica_t *self,
                      uint64_t reply_to,
                      const msg_write_t *write,
                      now_t now,
                      dedup_position_t *position)
{
    errbuf_t errbuf = {{0}};
    dedup_position_t reissue;
    code_t code = s_admit(self, write, now, &errbuf);
    if (code == CODE_OK) {
        err_t err = replica_reissue(self, write, position, now, &reissue, &errbuf);
        if (err == ERR_CORRUPT || err == ERR_NOT_FOUND) {
            return true; /* the copy cannot be read any more: it is still the one to name */
        }
        code = s_code_of_append(err);
    }
    if (code != CODE_OK) {
        replica_refuse_write(self, reply_to, write->request_id, code, errbuf.text);
        return false;
    }
    *position = reissue;
    return true;
}

/* A pair that is logged already: the same answer, once the copy meets the level. True when the
 * request is dealt with. */
static bool s_answer_duplicate(replica_t *self,
                               uint64_t reply_to,
                               const msg_write_t *write,
                               now_t now)
{
    dedup_position_t position;
    dedup_found_t found = DEDUP_NOT_SEEN;
    if (write->has_producer) {
        found = dedup_find(self->dedup, write->producer, write->producer_seq, &position);
    }
    if (found == DEDUP_NOT_SEEN) {
        return false;
    }
    if (found == DEDUP_SEEN_STABLE || MUTANT(DUPLICATE_ON_SIGHT)) {
        self->counters.duplicates++;
        msg_t msg = {.type = MSG_WRITE_REPLY};
        msg.as.write_reply = (msg_write_reply_t){.request_id = write->request_id,
                                                 .code = CODE_OK,
                                                 .durability = ACK_ALL,
                                                 .replicas = self->placed,
                                                 .duplicate = true};
        msg.as.write_reply.session = replica_session_summary(
            self, replica_session_row(self, write->payload), (stream_position_t){.seq = 0});
        replica_send_reply(self, reply_to, &msg);
        return true;
    }
    if (memcmp(position.content_hash.bytes, write->content_hash, MSG_CONTENT_HASH_SIZE) != 0) {
        replica_refuse_write(self, reply_to, write->request_id, CODE_BAD_REQUEST,
                             "producer, seq: expected the same content as in the request that was "
                             "logged under this pair, found another one; use a new seq");
        return true;
    }
    if (replica_tickets_are_taken(self)) {
        replica_refuse_write(self, reply_to, write->request_id, CODE_OVERLOADED,
                             "too many writes wait for confirmations; retry later");
        return true;
    }
    if (replica_reissue_is_due(self, &position, now) &&
        !s_reissue(self, reply_to, write, now, &position)) {
        return true;
    }
    self->counters.duplicates++;
    replica_ticket_t ticket = {
        .reply_to = reply_to,
        .request_id = write->request_id,
        .stream = position.stream,
        .first_seq = position.first_seq,
        .last_seq = dedup_position_last_seq(&position),
        .named = dedup_position_name(&position),
        .hlc = position.hlc,
        .session_row = replica_session_row(self, write->payload),
        .duplicate = true,
    };
    s_wait(self, &ticket, write, now);
    return true;
}

/* The group may be full once per turn; then it is made durable and the batch begins the next one.
 */
err_t replica_append(replica_t *self, wal_batch_t *batch, now_t now, errbuf_t *errbuf)
{
    err_t err = wal_log_append(self->log, batch, now, errbuf);
    if (err != ERR_FULL) {
        return err;
    }
    err = replica_flush(self, now, errbuf);
    if (err != ERR_OK) {
        /* Durability is lost: the end of this turn ends the process. */
        self->fatal = err;
        self->fatal_text = *errbuf;
        return ERR_IO;
    }
    return wal_log_append(self->log, batch, now, errbuf);
}

static void s_log(replica_t *self, uint64_t reply_to, const msg_write_t *write, now_t now)
{
    errbuf_t errbuf = {{0}};
    slice_t payload = write->payload;
    replica_session_t session;
    code_t admitted = replica_session_admit(self, &payload, &session, &errbuf);
    if (admitted != CODE_OK) {
        replica_refuse_write(self, reply_to, write->request_id, admitted, errbuf.text);
        return;
    }
    bool as_island = leader_stance(self->leader, now.mono_ns) == LEADER_AS_ISLAND;
    bool has_stamp = write->hlc.wall_ns != 0 || write->hlc.logical != 0 || write->hlc.node != 0;
    wal_batch_t batch = {
        .epoch = as_island ? 0 : leader_epoch(self->leader),
        .event_count = write->event_count,
        .hlc = has_stamp ? write->hlc : hlc_now(self->hlc, now.wall_ns),
        .has_producer = write->has_producer,
        .producer = write->producer,
        .producer_seq = write->producer_seq,
    };
    memcpy(batch.content_hash.bytes, write->content_hash, MSG_CONTENT_HASH_SIZE);
    err_t err = replica_add_cohorts(self, payload, &batch.payload, &errbuf);
    err = err == ERR_OK ? replica_append(self, &batch, now, &errbuf) : err;
    if (err != ERR_OK) {
        code_t code = s_code_of_append(err);
        replica_refuse_write(self, reply_to, write->request_id, code, errbuf.text);
        return;
    }
    hlc_observe(self->hlc, batch.hlc);
    replica_session_logged(self, session);
    self->counters.writes++;
    self->counters.events += batch.event_count;
    if (batch.has_producer) {
        dedup_position_t position = dedup_position_of(&batch);
        (void)dedup_add(self->dedup, batch.producer, batch.producer_seq, &position, NULL);
    }
    replica_ticket_t ticket = {
        .reply_to = reply_to,
        .request_id = write->request_id,
        .stream = batch.stream,
        .first_seq = batch.first_seq,
        .last_seq = wal_batch_last_seq(&batch),
        .named = {batch.stream, batch.first_seq},
        .hlc = batch.hlc,
        .session_row = session.row,
    };
    s_wait(self, &ticket, write, now);
}

void replica_write(
    replica_t *self, uint64_t reply_to, const msg_write_t *write, slice_t bytes, now_t now)
{
    if (!replica_gather(self, reply_to, write, bytes, now)) {
        replica_take_write(self, reply_to, write, bytes, now);
    }
}

void replica_take_write(
    replica_t *self, uint64_t reply_to, const msg_write_t *write, slice_t bytes, now_t now)
{
    errbuf_t errbuf = {{0}};
    code_t code = s_check(self, write, now, &errbuf);
    if (code != CODE_OK) {
        replica_refuse_write(self, reply_to, write->request_id, code, errbuf.text);
        return;
    }
    bool bad_token = false;
    if (!replica_token_reached(self, write->token, &bad_token)) {
        int64_t deadline_ns = now.mono_ns + (int64_t)write->timeout_ms * ENGINE_NS_PER_MS;
        if (bad_token) {
            replica_refuse_write(
                self, reply_to, write->request_id, CODE_BAD_REQUEST,
                "token: expected the token of an earlier reply, found other bytes");
        } else if (!replica_park(self, reply_to, bytes, deadline_ns)) {
            replica_refuse_write(self, reply_to, write->request_id, CODE_OVERLOADED,
                                 "too many requests wait for their token; retry later");
        }
        return;
    }
    if (s_answer_duplicate(self, reply_to, write, now)) {
        return;
    }
    code = s_admit(self, write, now, &errbuf);
    if (code != CODE_OK) {
        replica_refuse_write(self, reply_to, write->request_id, code, errbuf.text);
        return;
    }
    s_log(self, reply_to, write, now);
}

/* -- end of turn ------------------------------------------------------------------------------- */

/* Applies the group that has just become durable. */
static err_t s_apply_group(replica_t *self, now_t now, errbuf_t *errbuf)
{
    size_t count = wal_log_group_count(self->log);
    for (size_t i = 0; i < count; i++) {
        wal_batch_t batch;
        wal_log_group_get(self->log, i, &batch);
        if (MUTANT(APPLY_BEFORE_SYNC) &&
            batch.first_seq <= replica_applied_seq(self, batch.stream)) {
            continue; /* in an earlier turn */
        }
        err_t err = replica_apply_batch(self, &batch, errbuf);
        if (err != ERR_OK) {
            return err;
        }
    }
    session_book_settle_logged(self->sessions);
    buffer_clear(&self->reissued);
    applier_effects_t effects;
    applier_event_t event = {
        .kind = APPLIER_EVENT_STREAM, .now_ns = now.mono_ns, .stream = wal_log_stream(self->log)};
    event.as.applied_seq = wal_log_durable_seq(self->log);
    replica_applier_step(self, &event, &effects);
    return ERR_OK;
}

/* APPLY_BEFORE_SYNC: whether the group is applied in this turn, and flushed in the next one. */
static bool s_applies_first(replica_t *self, now_t now)
{
    bool is_applied =
        replica_applied_seq(self, wal_log_stream(self->log)) > wal_log_durable_seq(self->log);
    bool is_this_turn = self->pace.has_flushed && self->pace.flushed_ns == now.mono_ns;
    if (!is_applied) {
        group_pace_flushed(&self->pace, now.mono_ns);
    }
    return !is_applied || is_this_turn;
}

err_t replica_flush(replica_t *self, now_t now, errbuf_t *errbuf)
{
    if (self->fatal != ERR_OK) {
        *errbuf = self->fatal_text;
        return self->fatal;
    }
    if (self->log != NULL && wal_log_appended_seq(self->log) > wal_log_durable_seq(self->log)) {
        if (MUTANT(APPLY_BEFORE_SYNC) && s_applies_first(self, now)) {
            return s_apply_group(self, now, errbuf);
        }
        group_pace_flushed(&self->pace, now.mono_ns);
        err_t err = wal_log_flush(self->log, errbuf);
        if (err == ERR_OK) {
            self->counters.flushes++;
            self->log_is_new = false;
            self->positions_changed = true;
            err = s_apply_group(self, now, errbuf);
        }
        if (err != ERR_OK) {
            errbuf_prefix(errbuf, "make a group of writes durable");
            return err;
        }
        leader_event_t event = {.kind = LEADER_EVENT_DURABLE, .now_ns = now.mono_ns};
        event.as.durable =
            (stream_position_t){wal_log_stream(self->log), wal_log_durable_seq(self->log)};
        replica_leader_step(self, &event);
        replica_note_confirmed(self, now); /* with one region placed it has nowhere to go */
    }
    if (self->wants_incarnation) {
        self->wants_incarnation = false;
        return replica_new_incarnation(self, now, errbuf);
    }
    return ERR_OK;
}

err_t replica_tick(replica_t *self, now_t now, errbuf_t *errbuf)
{
    replica_lost_tick(self, now);
    leader_event_t event = {.kind = LEADER_EVENT_TICK, .now_ns = now.mono_ns};
    replica_leader_step(self, &event);
    replica_session_review(self, now);
    replica_complete_tick(self, now);
    if (self->log != NULL && wal_log_seal_due(self->log, now)) {
        return wal_log_tick(self->log, now, NULL, errbuf);
    }
    return ERR_OK;
}

int64_t replica_deadline_ns(const replica_t *self)
{
    int64_t deadline = leader_deadline_ns(self->leader);
    int64_t applier = applier_deadline_ns(self->applier);
    deadline = applier < deadline ? applier : deadline;
    if (self->log != NULL && wal_log_deadline_ns(self->log) < deadline) {
        deadline = wal_log_deadline_ns(self->log);
    }
    if (replica_gathered_deadline_ns(self) < deadline) {
        deadline = replica_gathered_deadline_ns(self);
    }
    for (uint32_t i = 0; i < self->parked_count; i++) {
        deadline = self->parked[i].deadline_ns < deadline ? self->parked[i].deadline_ns : deadline;
    }
    return deadline;
}

/* -- waiting for a token ----------------------------------------------------------------------- */

bool replica_token_reached(replica_t *self, slice_t token, bool *ret_bad)
{
    *ret_bad = false;
    if (token.size == 0 || MUTANT(IGNORE_TOKEN)) {
        return true;
    }
    errbuf_t errbuf;
    if (token_decode(&self->token, token, &errbuf) != ERR_OK) {
        *ret_bad = true;
        return false;
    }
    token_keep_shard(&self->token, self->tenant, self->shard);
    return token_is_covered(&self->token, self->applied.entries, self->applied.count);
}

bool replica_park(replica_t *self, uint64_t reply_to, slice_t bytes, int64_t deadline_ns)
{
    if (self->parked_count == REPLICA_PARKED_COUNT_MAX ||
        self->parked_bytes + bytes.size > REPLICA_PARKED_SIZE_MAX) {
        return false;
    }
    replica_parked_t *at = &self->parked[self->parked_count++];
    *at = (replica_parked_t){.reply_to = reply_to,
                             .deadline_ns = deadline_ns,
                             .bytes = malloc(bytes.size),
                             .size = bytes.size};
    CHECK(at->bytes != NULL);
    memcpy(at->bytes, bytes.data, bytes.size);
    self->parked_bytes += bytes.size;
    return true;
}

/* Handles a waiting request once more; past its deadline it is refused. */
static void s_review(replica_t *self, const replica_parked_t *parked, const msg_t *msg, now_t now)
{
    slice_t bytes = slice_make(parked->bytes, parked->size);
    bool is_over = now.mono_ns >= parked->deadline_ns;
    if (msg->type == MSG_WRITE) {
        bool bad = false;
        if (is_over && !replica_token_reached(self, msg->as.write.token, &bad)) {
            replica_refuse_write(self, parked->reply_to, msg->as.write.request_id, CODE_UNAVAILABLE,
                                 "the leader has not reached the request's token in time; nothing "
                                 "is logged: retry");
            return;
        }
        msg_write_t write = msg->as.write;
        int64_t left_ms = (parked->deadline_ns - now.mono_ns) / ENGINE_NS_PER_MS;
        write.timeout_ms = left_ms < 1 ? 1 : (uint32_t)left_ms;
        replica_write(self, parked->reply_to, &write, bytes, now);
        return;
    }
    msg_read_t read = msg->as.read;
    int64_t left_ms = (parked->deadline_ns - now.mono_ns) / ENGINE_NS_PER_MS;
    read.wait_ms = left_ms < 0 ? 0 : (uint32_t)left_ms;
    replica_read(self, parked->reply_to, &read, bytes, now);
}

void replica_review_parked(replica_t *self, msg_codec_t *codec, now_t now)
{
    uint32_t count = self->parked_count;
    bool changed = self->applied_changed;
    self->applied_changed = false;
    if (count == 0) {
        return;
    }
    replica_parked_t *all = calloc(count, sizeof(*all));
    CHECK(all != NULL);
    memcpy(all, self->parked, count * sizeof(*all));
    self->parked_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!changed && now.mono_ns < all[i].deadline_ns) {
            self->parked[self->parked_count++] = all[i];
            continue;
        }
        self->parked_bytes -= all[i].size;
        msg_t msg;
        errbuf_t errbuf;
        err_t err = msg_decode(codec, slice_make(all[i].bytes, all[i].size), &msg, &errbuf);
        CHECK(err == ERR_OK); /* it decoded when it came */
        s_review(self, &all[i], &msg, now);
        free(all[i].bytes);
    }
    free(all);
}
