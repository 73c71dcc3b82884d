/* Reads on their way: which replica is asked, and what is done when it does not answer. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"
#include "common/topology/route.h"

/* -- taking apart ------------------------------------------------------------------------------ */

static code_t s_check_window(const gateway_engine_t *self,
                             uint8_t signal,
                             uint8_t window,
                             errbuf_t *errbuf)
{
    const schema_signal_t *found = schema_find_signal_id(&self->env.topology->schema, signal);
    CHECK(found != NULL); /* the decoder knows the same schema */
    if (schema_signal_has_window(found, (window_t)window)) {
        return CODE_OK;
    }
    errbuf_set(errbuf, "window: expected one that is kept for `%s` (hello lists them), found `%s`",
               found->name, window_name((window_t)window));
    return CODE_BAD_REQUEST;
}

/* A place of its own for each buffer of small values, so that they live as long as the request. */
static slice_t s_hold_byte(gateway_request_t *request, uint8_t byte)
{
    return gateway_request_hold(request, slice_make(&byte, 1));
}

static void s_one_part(gateway_engine_t *self, gateway_request_t *request, uint64_t entity)
{
    gateway_request_set_parts(request, 1);
    request->parts[0].shard = route_shard(request->tenant, entity, self->shard_count);
}

/* score, count, velocity: the cells of one item. */
static code_t s_begin_cell(gateway_engine_t *self,
                           gateway_request_t *request,
                           const client_request_t *client,
                           errbuf_t *errbuf)
{
    code_t code = CODE_OK;
    bool has_window = client->op != CLIENT_OP_SCORE;
    if (has_window) {
        code = s_check_window(self, client->as.cell.signal, client->as.cell.window, errbuf);
    }
    if (code != CODE_OK) {
        return code;
    }
    s_one_part(self, request, client->as.cell.item.value);
    request->parts[0].item_count = 1;
    bytes_put_u64(buffer_extend(&request->payload, 8), client->as.cell.item.value);
    bytes_put_u32(buffer_extend(&request->places, 4), 0);
    request->read.item_count = 1;
    request->read.signal_count = 1;
    request->read.window_count = has_window ? 1 : 0;
    request->read.msg.kind = READ_CELLS;
    request->read.msg.as.cells.signals = s_hold_byte(request, client->as.cell.signal);
    request->read.msg.as.cells.windows =
        has_window ? s_hold_byte(request, client->as.cell.window) : slice_make(NULL, 0);
    request->read.msg.as.cells.cohort = gateway_request_hold(request, client->as.cell.cohort);
    return CODE_OK;
}

/* The items of each shard together, and where each stood. */
static void s_group_items(gateway_engine_t *self,
                          gateway_request_t *request,
                          const uint64_t *items,
                          uint32_t count,
                          bool all_shards)
{
    uint32_t counts[SHARD_COUNT_MAX] = {0};
    uint32_t first[SHARD_COUNT_MAX] = {0};
    CHECK(count <= REQUEST_ROW_COUNT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        shard_id_t shard = route_shard(request->tenant, items[i], self->shard_count);
        self->shards[i] = (uint8_t)shard.value;
        counts[shard.value]++;
    }
    uint32_t part_count = counts[0] > 0 || all_shards ? 1 : 0;
    for (uint32_t shard = 1; shard < self->shard_count; shard++) {
        first[shard] = first[shard - 1] + counts[shard - 1];
        part_count += counts[shard] > 0 || all_shards ? 1 : 0;
    }
    uint8_t *grouped = buffer_extend(&request->payload, (size_t)count * 8);
    uint8_t *places = buffer_extend(&request->places, (size_t)count * 4);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = first[self->shards[i]]++;
        bytes_put_u64(grouped + (size_t)at * 8, items[i]);
        bytes_put_u32(places + (size_t)at * 4, i);
    }
    gateway_request_set_parts(request, part_count);
    uint32_t index = 0;
    for (uint32_t shard = 0; shard < self->shard_count; shard++) {
        if (counts[shard] > 0 || all_shards) {
            gateway_part_t *part = &request->parts[index++];
            part->shard = (shard_id_t){(uint16_t)shard};
            part->first_item = first[shard] - counts[shard];
            part->item_count = counts[shard];
        }
    }
}

static code_t s_begin_cells(gateway_engine_t *self,
                            gateway_request_t *request,
                            const client_request_t *client,
                            errbuf_t *errbuf)
{
    code_t code = CODE_OK;
    uint32_t pair_count = client->as.cells.signal_count * client->as.cells.window_count;
    for (uint32_t i = 0; i < pair_count && code == CODE_OK; i++) {
        code = s_check_window(self, client->as.cells.signals[i / client->as.cells.window_count],
                              client->as.cells.windows[i % client->as.cells.window_count], errbuf);
    }
    if (code != CODE_OK) {
        return code;
    }
    s_group_items(self, request, client->as.cells.items, client->as.cells.item_count, false);
    request->read.item_count = client->as.cells.item_count;
    request->read.signal_count = client->as.cells.signal_count;
    request->read.window_count = client->as.cells.window_count;
    request->read.msg.kind = READ_CELLS;
    request->read.msg.as.cells.signals = gateway_request_hold(
        request, slice_make(client->as.cells.signals, client->as.cells.signal_count));
    request->read.msg.as.cells.windows = gateway_request_hold(
        request, slice_make(client->as.cells.windows, client->as.cells.window_count));
    request->read.msg.as.cells.cohort = gateway_request_hold(request, client->as.cells.cohort);
    return CODE_OK;
}

static void s_begin_relation(gateway_engine_t *self,
                             gateway_request_t *request,
                             const client_request_t *client)
{
    user_id_t user = client->as.relation_read.user;
    item_id_t item = client->as.relation_read.item;
    /* Hides lie on the item's shard, mutes and blocks on all. */
    s_one_part(self, request, item.value != 0 ? item.value : user.value);
    request->read.msg.kind = READ_RELATION;
    request->read.msg.as.relation.user = user;
    request->read.msg.as.relation.item = item;
    request->read.msg.as.relation.creator = client->as.relation_read.creator;
}

static code_t s_begin_kind(gateway_engine_t *self,
                           gateway_request_t *request,
                           const client_request_t *client,
                           errbuf_t *errbuf)
{
    if (client->op == CLIENT_OP_CELLS) {
        return s_begin_cells(self, request, client, errbuf);
    }
    if (client->op == CLIENT_OP_RETRIEVE) {
        if (client->as.retrieve.has_candidates) {
            s_group_items(self, request, client->as.retrieve.candidates,
                          client->as.retrieve.candidate_count, true);
        } else {
            gateway_request_set_parts(request, self->shard_count);
        }
        if (client->as.retrieve.has_session) {
            gateway_session_count_begin(self, request, &client->as.retrieve.session);
        }
        return gateway_retrieve_begin(self, request, client, errbuf);
    }
    if (client->op == CLIENT_OP_RELATION) {
        s_begin_relation(self, request, client);
        return CODE_OK;
    }
    if (client->op == CLIENT_OP_GET_ITEM) {
        s_one_part(self, request, client->as.item.value);
        request->read.msg.kind = READ_ITEM;
        request->read.msg.as.item = client->as.item;
        return CODE_OK;
    }
    if (client->op == CLIENT_OP_GET_USER) {
        s_one_part(self, request, client->as.user.value);
        request->read.msg.kind = READ_USER;
        request->read.msg.as.user = client->as.user;
        return CODE_OK;
    }
    if (client->op == CLIENT_OP_SESSION_GET) {
        gateway_session_read_begin(self, request, &client->as.session);
        return CODE_OK;
    }
    return s_begin_cell(self, request, client, errbuf);
}

code_t gateway_read_begin(gateway_engine_t *self,
                          gateway_request_t *request,
                          const client_request_t *client,
                          now_t now,
                          errbuf_t *errbuf)
{
    const topology_timing_t *timing = &self->env.topology->timing;
    request->read.from_leader = client->from_leader;
    request->read.strict_staleness = client->max_staleness_ms != UINT32_MAX;
    request->read.wait_until_ns = now.mono_ns + gateway_ms(client->wait_ms);
    request->read.as_of_ns = INT64_MAX;
    request->read.msg = (msg_read_t){
        .tenant = request->tenant,
        .from_leader = client->from_leader,
        .max_staleness_ms = client->max_staleness_ms,
        .at_ns = client->has_at ? client->at_ns : now.wall_ns,
    };
    /* Only a token makes a node wait. */
    uint32_t wait_ms = client->token->count > 0 ? client->wait_ms : 0;
    request->deadline_ns = now.mono_ns + gateway_ms(wait_ms) + gateway_ms(timing->read_timeout_ms);
    code_t code = s_begin_kind(self, request, client, errbuf);
    if (code != CODE_OK) {
        return code;
    }
    gateway_split_token(self, request, client->token);
    for (uint32_t i = 0; i < request->part_count; i++) {
        bool waits = request->read.has_session && !gateway_is_session_part(request, i);
        /* A session that is not read in half of the time is not waited for. */
        request->parts[i].state = waits ? GATEWAY_PART_IDLE : GATEWAY_PART_WAITING;
        request->parts[i].due_ns =
            waits ? request->deadline_ns - gateway_ms(timing->read_timeout_ms) / 2 : now.mono_ns;
    }
    return CODE_OK;
}

/* -- sending ----------------------------------------------------------------------------------- */

/* Who is asked next. ret false: nobody is left in this round. */
static bool s_choose(gateway_engine_t *self,
                     const gateway_request_t *request,
                     const gateway_part_t *part,
                     now_t now,
                     region_id_t *ret_region)
{
    const table_t *table = gateway_table(self);
    const table_record_t *record =
        table == NULL ? NULL : table_find_record(table, request->tenant, part->shard);
    if (record == NULL) {
        return false;
    }
    if (!request->read.from_leader) {
        return gateway_peers_nearest(&self->peers, record->placed, part->tried, part->shard,
                                     now.mono_ns, ret_region);
    }
    *ret_region = part->hint.value != 0 ? part->hint : record->leader;
    return ret_region->value != 0 && !region_set_has(part->tried, *ret_region) &&
           gateway_peers_is_reachable(&self->peers, *ret_region, now.mono_ns);
}

/* Nobody is left to ask: a ranking goes without this shard, other reads begin another round. */
static void s_round_over(gateway_engine_t *self,
                         gateway_request_t *request,
                         gateway_part_t *part,
                         now_t now)
{
    slice_t nobody = slice_text(request->read.from_leader
                                    ? "the shard's leader cannot be reached; retry, or read `local`"
                                    : "no replica of this shard can be reached; retry");
    slice_t why = part->code == CODE_OK ? nobody : gateway_request_text(request, part->message);
    code_t code = part->code == CODE_OK ? CODE_UNAVAILABLE : part->code;
    bool is_cut_off = part->code == CODE_OK && part->attempts == 0 &&
                      now.mono_ns - request->received_ns >= gateway_ms(GATEWAY_UNREACHABLE_MS);
    if (request->op == CLIENT_OP_RETRIEVE || code == CODE_STALE || is_cut_off) {
        gateway_part_end(request, part, code == CODE_READ_ONLY ? CODE_UNAVAILABLE : code, why);
        return;
    }
    part->tried = (region_set_t){0};
    part->hint = (region_id_t){0};
    int64_t due_ns = now.mono_ns + gateway_ms(self->env.topology->timing.retry_ms);
    if (part->code == CODE_OK) {
        /* Keeps CODE_OK: it has not been asked, so there is no answer to be passed on. */
        part->state = GATEWAY_PART_WAITING;
        part->due_ns = due_ns;
        return;
    }
    gateway_part_wait(request, part, code, why, due_ns);
}

static msg_read_t s_message(const gateway_request_t *request, uint32_t index, now_t now)
{
    const gateway_part_t *part = &request->parts[index];
    msg_read_t read = request->read.msg;
    int64_t wait_ns = request->read.wait_until_ns - now.mono_ns;
    read.request_id = gateway_request_id(request, index);
    read.shard = part->shard;
    read.token = part->token;
    read.wait_ms = wait_ns > 0 ? (uint32_t)(wait_ns / ENGINE_NS_PER_MS) : 0;
    slice_t items = slice_make(NULL, 0);
    if (part->item_count > 0) {
        items = slice_make(request->payload.data + (size_t)part->first_item * 8,
                           (size_t)part->item_count * 8);
    }
    if (read.kind == READ_CELLS) {
        read.as.cells.items = items;
    } else if (read.kind == READ_RETRIEVE) {
        read.as.retrieve.candidates = items;
    }
    return read;
}

/* How long one replica has before the next one is asked as well. */
static int64_t s_patience_ns(const gateway_engine_t *self,
                             const gateway_request_t *request,
                             now_t now)
{
    enum { S_SHARE = 4 };
    int64_t timeout_ns = gateway_ms(self->env.topology->timing.read_timeout_ms);
    int64_t wait_ns = 0;
    if (request->token.size > 0 && request->read.wait_until_ns > now.mono_ns) {
        wait_ns = request->read.wait_until_ns - now.mono_ns;
    }
    return wait_ns + timeout_ns / S_SHARE;
}

void gateway_read_send(gateway_engine_t *self,
                       gateway_request_t *request,
                       uint32_t index,
                       now_t now)
{
    gateway_part_t *part = &request->parts[index];
    region_id_t region = {0};
    while (s_choose(self, request, part, now, &region)) {
        msg_t msg = {.type = MSG_READ};
        msg.as.read = s_message(request, index, now);
        gateway_session_fill(self, request, index, &msg.as.read);
        part->tried = region_set_add(part->tried, region);
        part->target = region;
        err_t err = gateway_send(self, (node_id_t){region, part->shard}, &msg);
        if (err == ERR_OK) {
            part->state = GATEWAY_PART_SENT;
            part->due_ns = now.mono_ns + s_patience_ns(self, request, now);
            part->attempts++;
            part->unsettled++;
            return;
        }
    }
    if (request->read.from_leader && part->target.value == 0) {
        part->target = region; /* who was wanted, for the reply */
        part->leader = region;
    }
    if (part->unsettled > 0) {
        /* Slow ones may still answer. */
        part->state = GATEWAY_PART_SENT;
        part->due_ns = INT64_MAX;
        return;
    }
    s_round_over(self, request, part, now);
}

void gateway_read_unanswered(gateway_engine_t *self,
                             gateway_request_t *request,
                             gateway_part_t *part,
                             now_t now)
{
    gateway_peers_suspect(&self->peers, (node_id_t){part->target, part->shard}, now.mono_ns);
    gateway_part_wait(request, part, CODE_TIMEOUT, slice_text("the node has not answered in time"),
                      now.mono_ns);
}

/* -- answers ----------------------------------------------------------------------------------- */

/* Whether another replica, or another moment, may do better. */
static bool s_is_for_another(const gateway_request_t *request, code_t code)
{
    return code == CODE_UNAVAILABLE || code == CODE_OVERLOADED || code == CODE_UNKNOWN_TENANT ||
           code == CODE_READ_ONLY || (code == CODE_STALE && request->read.strict_staleness);
}

static void s_take(gateway_engine_t *self,
                   gateway_request_t *request,
                   uint32_t index,
                   const msg_read_reply_t *answer)
{
    gateway_part_t *part = &request->parts[index];
    read_kind_t kind =
        gateway_is_session_part(request, index) ? READ_SESSION : request->read.msg.kind;
    code_t code =
        answer->kind == kind ? gateway_read_keep(self, request, part, answer) : CODE_INTERNAL;
    slice_t message = slice_make(NULL, 0);
    if (code == CODE_INTERNAL) {
        self->counters.malformed++;
        message = slice_text("the node's answer does not fit the question; report it");
    } else if (code == CODE_NOT_FOUND) {
        message = slice_text(request->op == CLIENT_OP_GET_ITEM
                                 ? "expected an item that was put and not deleted, found none"
                             : request->op == CLIENT_OP_GET_USER
                                 ? "expected a user that was put, found none"
                                 : "session: expected one that session_start gave, found none; "
                                   "send the token of its reply with the request");
    }
    gateway_part_end(request, part, code, message);
}

void gateway_read_answered(gateway_engine_t *self,
                           gateway_request_t *request,
                           uint32_t index,
                           region_id_t from,
                           const msg_read_reply_t *answer,
                           now_t now)
{
    gateway_part_t *part = &request->parts[index];
    part->unsettled -= part->unsettled > 0 ? 1 : 0;
    if (answer->code == CODE_OK) {
        part->target = from;
        s_take(self, request, index, answer);
        return;
    }
    if (!s_is_for_another(request, answer->code)) {
        part->target = from;
        gateway_part_end(request, part, answer->code, answer->message);
        return;
    }
    if (part->state != GATEWAY_PART_SENT || from.value != part->target.value) {
        return; /* another one is being asked */
    }
    if (answer->code == CODE_READ_ONLY &&
        topology_find_region(self->env.topology, answer->leader) != NULL) {
        part->hint = answer->leader;
        part->leader = answer->leader;
    }
    gateway_part_wait(request, part, answer->code, answer->message, now.mono_ns);
}

void gateway_read_expire(gateway_request_t *request)
{
    for (uint32_t i = 0; i < request->part_count; i++) {
        gateway_part_t *part = &request->parts[i];
        if (part->state == GATEWAY_PART_DONE) {
            continue;
        }
        bool was_asked = part->attempts > 0;
        code_t code = part->code == CODE_OK || part->code == CODE_READ_ONLY
                          ? (was_asked ? CODE_TIMEOUT : CODE_UNAVAILABLE)
                          : part->code;
        slice_t why = slice_text(was_asked ? "no replica has answered in time; retry"
                                           : "no replica of this shard can be reached; retry");
        slice_t noted = gateway_request_text(request, part->message);
        errbuf_t message;
        errbuf_set(&message, "%.*s", (int)(noted.size > 0 ? noted.size : why.size),
                   (const char *)(noted.size > 0 ? noted.data : why.data));
        gateway_part_end(request, part, code, slice_text(message.text));
    }
}
