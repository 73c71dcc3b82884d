/* Writes on their way: taking a request apart by shards, sending each part to its leader until it
 * is settled. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"
#include "common/topology/route.h"

/* -- taking apart ------------------------------------------------------------------------------ */

static code_t s_check_times(const client_request_t *client, now_t now, errbuf_t *errbuf)
{
    int64_t latest_ns = now.wall_ns + gateway_ms(GATEWAY_FUTURE_MS);
    for (uint32_t i = 0; i < client->as.signals.event_count; i++) {
        if (client->as.signals.events[i].ts_ns > latest_ns) {
            errbuf_set(errbuf,
                       "ts: expected at most one hour from now (%lld), found %lld in row %u; check "
                       "the sender's clock and unit (ns)",
                       (long long)latest_ns, (long long)client->as.signals.events[i].ts_ns, i);
            return CODE_BAD_REQUEST;
        }
    }
    return CODE_OK;
}

/* One SIGNALS record per shard that has rows, each with the defaults filled in. */
static void s_split_signals(gateway_engine_t *self,
                            gateway_request_t *request,
                            const client_request_t *client,
                            now_t now)
{
    uint32_t count = client->as.signals.event_count;
    uint32_t next[SHARD_COUNT_MAX] = {0};
    uint32_t counts[SHARD_COUNT_MAX] = {0};
    for (uint32_t i = 0; i < count; i++) {
        shard_id_t shard =
            route_item(request->tenant, client->as.signals.events[i].item, self->shard_count);
        self->shards[i] = (uint8_t)shard.value;
        counts[shard.value]++;
    }
    uint32_t part_count = counts[0] > 0 ? 1 : 0;
    for (uint32_t shard = 1; shard < self->shard_count; shard++) {
        next[shard] = next[shard - 1] + counts[shard - 1];
        part_count += counts[shard] > 0 ? 1 : 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        const client_event_t *event = &client->as.signals.events[i];
        self->events[next[self->shards[i]]++] = (signal_event_t){
            .item = event->item,
            .user = event->user,
            .ts_ns = (event->present & CLIENT_EVENT_TS) != 0 ? event->ts_ns : now.wall_ns,
            .weight = event->weight,
            .signal = event->signal,
        };
    }
    gateway_request_set_parts(request, part_count);
    uint32_t part_index = 0;
    for (uint32_t shard = 0; shard < self->shard_count; shard++) {
        if (counts[shard] == 0) {
            continue;
        }
        gateway_part_t *part = &request->parts[part_index++];
        size_t offset = request->payload.size;
        record_append_signals(&request->payload, &self->events[next[shard] - counts[shard]],
                              counts[shard]);
        part->shard = (shard_id_t){(uint16_t)shard};
        part->event_count = counts[shard];
        part->payload =
            (gateway_span_t){(uint32_t)offset, (uint32_t)(request->payload.size - offset)};
    }
    request->write.row_count = count;
}

/* The records of one shard's items. */
static gateway_span_t s_append_items(gateway_engine_t *self,
                                     gateway_request_t *request,
                                     const client_request_t *client,
                                     uint32_t shard)
{
    size_t offset = request->payload.size;
    for (uint32_t i = 0; i < client->as.items.item_count; i++) {
        if (self->shards[i] == shard) {
            gateway_record_append(self, client, i, request->write.hlc, &request->payload);
        }
    }
    return (gateway_span_t){(uint32_t)offset, (uint32_t)(request->payload.size - offset)};
}

/* One record per item, those of one shard together. */
static code_t s_split_items(gateway_engine_t *self,
                            gateway_request_t *request,
                            const client_request_t *client,
                            errbuf_t *errbuf)
{
    uint32_t counts[SHARD_COUNT_MAX] = {0};
    uint32_t part_count = 0;
    for (uint32_t i = 0; i < client->as.items.item_count; i++) {
        shard_id_t shard =
            route_item(request->tenant, client->as.items.items[i].item, self->shard_count);
        self->shards[i] = (uint8_t)shard.value;
        part_count += counts[shard.value]++ == 0 ? 1 : 0;
    }
    gateway_request_set_parts(request, part_count);
    uint32_t part_index = 0;
    for (uint32_t shard = 0; shard < self->shard_count; shard++) {
        if (counts[shard] == 0) {
            continue;
        }
        gateway_part_t *part = &request->parts[part_index++];
        part->shard = (shard_id_t){(uint16_t)shard};
        part->event_count = counts[shard];
        part->payload = s_append_items(self, request, client, shard);
        if (part->payload.size > WAL_PAYLOAD_SIZE_MAX) {
            errbuf_set(errbuf,
                       "items: expected at most %d bytes of fields for one shard, found %u; split "
                       "the request",
                       WAL_PAYLOAD_SIZE_MAX, part->payload.size);
            return CODE_TOO_LARGE;
        }
    }
    request->write.row_count = client->as.items.item_count;
    return CODE_OK;
}

/* One record on one shard, or on the user's home shard and then on all others. */
static void s_split_one(gateway_engine_t *self,
                        gateway_request_t *request,
                        const client_request_t *client)
{
    uint32_t count = self->shard_count;
    bool is_relation = client->op != CLIENT_OP_DELETE_ITEM && client->op != CLIENT_OP_PUT_USER;
    bool is_of_item = client->op == CLIENT_OP_DELETE_ITEM || client->op == CLIENT_OP_HIDE ||
                      client->op == CLIENT_OP_UNHIDE;
    uint64_t entity = client->op == CLIENT_OP_DELETE_ITEM ? client->as.item.value
                      : client->op == CLIENT_OP_PUT_USER  ? client->as.put_user.user.value
                      : is_of_item                        ? client->as.relation.target
                                                          : client->as.relation.user.value;
    shard_id_t shard = route_shard(request->tenant, entity, count);
    if (is_relation && client->as.relation.has_hlc) {
        request->write.hlc = client->as.relation.hlc;
        request->write.is_explicit = true;
    }
    gateway_record_append(self, client, 0, request->write.hlc, &request->payload);
    gateway_request_set_parts(request, is_of_item ? 1 : count);
    for (uint32_t i = 0; i < request->part_count; i++) {
        request->parts[i].event_count = 1;
        request->parts[i].payload = (gateway_span_t){0, (uint32_t)request->payload.size};
    }
    if (is_of_item) {
        request->parts[0].shard = shard;
    } else {
        request->write.is_for_all = true;
        request->write.home = shard.value;
    }
    request->write.row_count = 1;
}

/* What the client has seen written comes before what it writes now, whatever this gateway's clock
 * says. A stamp far ahead of all that this gateway knows is not followed, for it would move the
 * clock of everybody: this clock is behind, or the token is made up. */
static code_t s_observe_token(gateway_engine_t *self,
                              const token_t *token,
                              now_t now,
                              errbuf_t *errbuf)
{
    int64_t skew_ms = self->env.topology->timing.clock_skew_ms;
    int64_t last_ns = self->hlc.last.wall_ns;
    int64_t own_ns = last_ns > now.wall_ns ? last_ns : now.wall_ns;
    int64_t ahead_ms = (token->hlc_ns - own_ns) / ENGINE_NS_PER_MS;
    if (ahead_ms > skew_ms) {
        errbuf_set(
            errbuf,
            "token: it has seen a write that is stamped %lld ms ahead of this gateway's "
            "clock, expected at most %lld ms; use another gateway, and set this host's clock",
            (long long)ahead_ms, (long long)skew_ms);
        return CODE_CLOCK_SKEW;
    }
    hlc_observe(&self->hlc, (hlc_stamp_t){.wall_ns = token->hlc_ns});
    return CODE_OK;
}

code_t gateway_write_begin(gateway_engine_t *self,
                           gateway_request_t *request,
                           const client_request_t *client,
                           now_t now,
                           errbuf_t *errbuf)
{
    request->deadline_ns = now.mono_ns + gateway_ms(client->timeout_ms);
    request->write.ack = client->ack;
    request->write.has_producer = client->has_producer;
    if (client->has_producer) {
        request->write.producer = gateway_request_hold(request, client->producer);
        request->write.seq = client->seq;
        client_content_hash(self->decoder, client, request->write.content_hash);
    }
    code_t code = CODE_OK;
    if (client->op == CLIENT_OP_SIGNAL || client->op == CLIENT_OP_SIGNALS) {
        code = s_check_times(client, now, errbuf);
        if (code == CODE_OK) {
            s_split_signals(self, request, client, now);
        }
    } else if (gateway_is_session_write(client->op)) {
        code = gateway_session_write_begin(self, request, client, now, errbuf);
    } else {
        request->write.is_register = true;
        code = s_observe_token(self, client->token, now, errbuf);
        request->write.hlc = hlc_now(&self->hlc, now.wall_ns);
        if (code != CODE_OK) {
            return code;
        }
        if (client->op == CLIENT_OP_PUT_ITEM || client->op == CLIENT_OP_PUT_ITEMS) {
            code = s_split_items(self, request, client, errbuf);
        } else {
            s_split_one(self, request, client);
        }
    }
    if (code != CODE_OK) {
        return code;
    }
    gateway_split_token(self, request, client->token);
    if (!gateway_pairs_begin(self, request, client->token, now)) {
        gateway_write_start(request, now);
    }
    return CODE_OK;
}

void gateway_write_start(gateway_request_t *request, now_t now)
{
    for (uint32_t i = 0; i < request->part_count; i++) {
        if (!request->write.is_for_all || i == request->write.home) {
            request->parts[i].state = GATEWAY_PART_WAITING;
            request->parts[i].due_ns = now.mono_ns;
        }
    }
}

/* -- sending ----------------------------------------------------------------------------------- */

/* Whether a second copy of what was sent does no harm. The home copy of what concerns all shards is
 * looked up by its pair where there is one; the others merge by their stamp. */
static bool s_is_repeatable(const gateway_request_t *request)
{
    return request->write.has_producer || request->write.is_register;
}

/* The part cannot be sent: it waits, or ends when that is hopeless. */
static void s_hold_back(gateway_engine_t *self,
                        gateway_request_t *request,
                        gateway_part_t *part,
                        code_t code,
                        const char *why,
                        now_t now)
{
    bool is_over = code == CODE_UNAVAILABLE && part->target.value != 0 && part->open == 0 &&
                   now.mono_ns - request->received_ns >= gateway_ms(GATEWAY_UNREACHABLE_MS) &&
                   !gateway_peers_is_reachable(&self->peers, part->target, now.mono_ns);
    if (is_over) {
        part->leader = part->target;
        gateway_part_end(request, part, code, slice_text(why));
        return;
    }
    gateway_part_wait(request, part, code, slice_text(why),
                      now.mono_ns + gateway_ms(self->env.topology->timing.retry_ms));
}

/* What the node has of the time that is left: enough remains for its answer to come back. */
static uint32_t s_timeout_ms(const gateway_request_t *request, now_t now)
{
    enum { S_MARGIN_SHARE = 10 };
    int64_t left_ms = (request->deadline_ns - now.mono_ns) / ENGINE_NS_PER_MS;
    int64_t margin_ms = left_ms / S_MARGIN_SHARE;
    left_ms -= margin_ms < GATEWAY_MARGIN_MS ? margin_ms : GATEWAY_MARGIN_MS;
    return left_ms < 1 ? 1 : (uint32_t)left_ms;
}

static msg_write_t s_message(const gateway_request_t *request, uint32_t index, now_t now)
{
    const gateway_part_t *part = &request->parts[index];
    /* The others log the home copy again, whatever became of the pair there (design section 5). */
    bool is_first = !request->write.is_for_all || index == request->write.home;
    bool has_pair = request->write.has_producer && is_first;
    msg_write_t write = {
        .request_id = gateway_request_id(request, index),
        .tenant = request->tenant,
        .shard = part->shard,
        .level = request->write.ack,
        .timeout_ms = s_timeout_ms(request, now),
        .has_producer = has_pair,
        .producer = has_pair ? request->write.producer : slice_make(NULL, 0),
        .producer_seq = has_pair ? request->write.seq : 0,
        .hlc = request->write.hlc,
        /* Once it is logged at home it is not for another leader's clock to refuse. */
        .hlc_is_explicit = request->write.is_explicit && is_first,
        .token = part->token,
        .event_count = part->event_count,
        .payload = slice_make(request->payload.data + part->payload.offset, part->payload.size),
    };
    memcpy(write.content_hash, request->write.content_hash, sizeof(write.content_hash));
    return write;
}

/* Who is asked: the leader, as a node or the table names it; when its region cannot be reached and
 * the tenant accepts islands, the own region's node, which decides whether
 * it is cut off as well. */
static region_id_t s_choose(const gateway_engine_t *self,
                            const gateway_request_t *request,
                            const gateway_part_t *part,
                            const table_record_t *record,
                            now_t now)
{
    region_id_t leader = part->hint.value != 0 ? part->hint : record->leader;
    if (leader.value == 0 || gateway_peers_is_reachable(&self->peers, leader, now.mono_ns)) {
        return leader;
    }
    const table_tenant_t *tenant = table_find_tenant(gateway_table(self), request->tenant);
    bool has_island = tenant != NULL && tenant->island == ISLAND_ACCEPT &&
                      region_set_has(tenant->full, self->region);
    return has_island ? self->region : leader;
}

void gateway_write_send(gateway_engine_t *self,
                        gateway_request_t *request,
                        uint32_t index,
                        now_t now)
{
    gateway_part_t *part = &request->parts[index];
    const table_t *table = gateway_table(self);
    const table_record_t *record =
        table == NULL ? NULL : table_find_record(table, request->tenant, part->shard);
    region_id_t leader = {0};
    if (record != NULL) {
        leader = s_choose(self, request, part, record, now);
    }
    part->hint = (region_id_t){0};
    part->target = leader;
    if (record == NULL || leader.value == 0) {
        s_hold_back(self, request, part, CODE_UNAVAILABLE, "no region leads this shard now; retry",
                    now);
        return;
    }
    if (!gateway_peers_is_reachable(&self->peers, leader, now.mono_ns)) {
        s_hold_back(
            self, request, part, CODE_UNAVAILABLE,
            "the leader's region cannot be reached from here and nothing was written; retry "
            "when the link is back, or through a gateway of that region",
            now);
        return;
    }
    msg_t msg = {.type = MSG_WRITE};
    msg.as.write = s_message(request, index, now);
    err_t err = gateway_send(self, (node_id_t){leader, part->shard}, &msg);
    if (err != ERR_OK) {
        bool is_full = err == ERR_FULL;
        s_hold_back(self, request, part, is_full ? CODE_OVERLOADED : CODE_UNAVAILABLE,
                    is_full ? "the leader does not keep up and nothing was written; retry later"
                            : "the leader does not listen and nothing was written; retry",
                    now);
        return;
    }
    enum { S_DOUBLINGS_MAX = 3 };
    uint32_t doublings = part->attempts < S_DOUBLINGS_MAX ? part->attempts : S_DOUBLINGS_MAX;
    int64_t again_ns = now.mono_ns + (self->peers.silent_ns << doublings);
    part->state = GATEWAY_PART_SENT;
    part->due_ns = s_is_repeatable(request) ? again_ns : INT64_MAX;
    part->open |= UINT64_C(1) << gateway_request_attempt(msg.as.write.request_id);
    part->attempts++;
}

void gateway_write_unanswered(gateway_request_t *request, gateway_part_t *part, now_t now)
{
    gateway_part_wait(request, part, CODE_TIMEOUT, slice_text("the leader has not answered"),
                      now.mono_ns);
}

/* -- answers ----------------------------------------------------------------------------------- */

static void s_end(gateway_engine_t *self,
                  gateway_request_t *request,
                  gateway_part_t *part,
                  const msg_write_reply_t *answer)
{
    part->durability = answer->durability;
    part->replicas = answer->replicas;
    part->duplicate = answer->duplicate;
    part->island = answer->island;
    part->has_position = answer->has_position;
    part->stream = answer->stream;
    part->first_seq = answer->first_seq;
    part->last_seq = answer->last_seq;
    part->hlc = answer->hlc;
    part->session = answer->session;
    part->leader = answer->code == CODE_READ_ONLY ? answer->leader : (region_id_t){0};
    part->retry_after_ms = answer->retry_after_ms;
    if (answer->has_position && request->write.is_register) {
        gateway_see_stamp(self, request, answer->hlc);
    } else if (answer->has_position) {
        hlc_observe(&self->hlc, answer->hlc);
    }
    gateway_part_end(request, part, answer->code, answer->message);
}

/* Not taken, and another time or another node may take it. */
static bool s_is_for_later(code_t code)
{
    return code == CODE_READ_ONLY || code == CODE_UNAVAILABLE || code == CODE_OVERLOADED ||
           code == CODE_UNKNOWN_TENANT;
}

static void s_refused(gateway_engine_t *self,
                      gateway_request_t *request,
                      gateway_part_t *part,
                      const msg_write_reply_t *answer,
                      now_t now)
{
    part->retry_after_ms = answer->retry_after_ms;
    part->leader = answer->leader;
    int64_t wait_ns = answer->code == CODE_READ_ONLY
                          ? gateway_ms(self->env.topology->timing.retry_ms)
                          : gateway_backoff_ns(self, part);
    int64_t asked_ns = gateway_ms(answer->retry_after_ms);
    wait_ns = asked_ns > wait_ns ? asked_ns : wait_ns;
    if (answer->code == CODE_READ_ONLY && answer->leader.value != 0 &&
        answer->leader.value != part->target.value &&
        topology_find_region(self->env.topology, answer->leader) != NULL) {
        part->hint = answer->leader;
        wait_ns = part->attempts == 1 ? 0 : wait_ns; /* two that name each other are not pestered */
    }
    gateway_part_wait(request, part, answer->code, answer->message, now.mono_ns + wait_ns);
}

void gateway_write_answered(gateway_engine_t *self,
                            gateway_request_t *request,
                            gateway_part_t *part,
                            region_id_t from,
                            const msg_write_reply_t *answer,
                            now_t now)
{
    uint32_t attempt = gateway_request_attempt(answer->request_id);
    part->open &= ~(UINT64_C(1) << attempt);
    if (!s_is_for_later(answer->code)) {
        part->target = from;
        s_end(self, request, part, answer);
    } else if (part->state == GATEWAY_PART_SENT && from.value == part->target.value &&
               attempt == (part->attempts - 1) % GATEWAY_ATTEMPT_COUNT) {
        s_refused(self, request, part, answer, now);
    }
    /* Else an earlier copy was refused, or one refusal came twice: what is under way decides. */
}

/* Once more the record, with the stamp of the home copy. */
static void s_restamp(gateway_request_t *request, gateway_span_t *payload, hlc_stamp_t hlc)
{
    buffer_t stamped;
    buffer_init(&stamped);
    gateway_record_restamp(slice_make(request->payload.data + payload->offset, payload->size), hlc,
                           &stamped);
    *payload = (gateway_span_t){(uint32_t)request->payload.size, (uint32_t)stamped.size};
    buffer_append(&request->payload, stamped.data, stamped.size);
    buffer_done(&stamped);
    request->write.hlc = hlc;
}

/* What becomes of another shard's part now that the home shard is done. */
static void s_follow(gateway_request_t *request,
                     gateway_part_t *part,
                     const gateway_part_t *home,
                     now_t now)
{
    if (home->code != CODE_OK) {
        gateway_part_end(request, part, CODE_UNAVAILABLE,
                         slice_text("not begun: the user's home shard has not logged it"));
    } else if (home->duplicate && !home->has_position) {
        /* Its stamp is forgotten: it is stable, and was repeated on all shards long ago. */
        part->durability = home->durability;
        part->replicas = home->replicas;
        part->duplicate = true;
        gateway_part_end(request, part, CODE_OK, slice_make(NULL, 0));
    } else {
        part->payload = home->payload;
        part->state = GATEWAY_PART_WAITING;
        part->due_ns = now.mono_ns;
    }
}

bool gateway_write_others(gateway_request_t *request, now_t now)
{
    if (!request->write.is_for_all ||
        request->parts[request->write.home].state != GATEWAY_PART_DONE ||
        request->write.are_others_begun) {
        return false;
    }
    request->write.are_others_begun = true;
    gateway_part_t *home = &request->parts[request->write.home];
    if (home->code == CODE_OK && home->has_position &&
        hlc_compare(home->hlc, request->write.hlc) != 0) {
        s_restamp(request, &home->payload, home->hlc);
    }
    for (uint32_t i = 0; i < request->part_count; i++) {
        if (request->parts[i].state == GATEWAY_PART_IDLE) {
            s_follow(request, &request->parts[i], home, now);
        }
    }
    return true;
}

/* -- time and tables --------------------------------------------------------------------------- */

void gateway_write_expire(gateway_engine_t *self, gateway_request_t *request)
{
    (void)self;
    for (uint32_t i = 0; i < request->part_count; i++) {
        gateway_part_t *part = &request->parts[i];
        if (part->state == GATEWAY_PART_DONE) {
            continue;
        }
        if (part->state == GATEWAY_PART_IDLE) {
            gateway_part_end(request, part, CODE_UNAVAILABLE,
                             request->write.is_for_all
                                 ? slice_text("not begun: the user's home shard took too long")
                                 : slice_text("not begun: there was no time left; allow more"));
        } else if (part->open != 0) {
            gateway_part_end(
                request, part, CODE_NOT_REPLICATED,
                slice_text("the leader has not answered in time: the write may be "
                           "logged or not; repeat it with the same producer and seq to "
                           "learn how it ended"));
        } else {
            code_t code = part->code == CODE_OVERLOADED ? CODE_OVERLOADED : CODE_UNAVAILABLE;
            part->leader = part->leader.value != 0 ? part->leader : part->target;
            slice_t why = gateway_request_text(request, part->message);
            errbuf_t message;
            errbuf_set(&message, "not written within timeout_ms: %.*s", (int)why.size,
                       (const char *)why.data);
            gateway_part_end(request, part, code, slice_text(message.text));
        }
    }
}

void gateway_write_table_changed(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    for (uint32_t i = 0; i < request->part_count; i++) {
        gateway_part_t *part = &request->parts[i];
        const table_record_t *record =
            table_find_record(gateway_table(self), request->tenant, part->shard);
        bool has_moved = record != NULL && record->leader.value != part->target.value;
        bool may_go = part->state == GATEWAY_PART_WAITING ||
                      (part->state == GATEWAY_PART_SENT && s_is_repeatable(request));
        if (has_moved && may_go) {
            part->hint = (region_id_t){0};
            part->due_ns = now.mono_ns;
        }
    }
}
