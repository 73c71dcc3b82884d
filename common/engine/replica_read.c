/* The read path: from MSG_READ to its one answer. */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/query/retrieve.h"

#include <stdlib.h>
#include <string.h>

/* What every answer carries. */
static void s_begin(replica_t *self, const msg_read_t *read, msg_t *ret_msg)
{
    *ret_msg = (msg_t){.type = MSG_READ_REPLY};
    ret_msg->as.read_reply.request_id = read->request_id;
    ret_msg->as.read_reply.kind = read->kind;
    ret_msg->as.read_reply.leader = leader_region(self->leader);
    ret_msg->as.read_reply.as_of_ns = read->at_ns;
    ret_msg->as.read_reply.applied_count = self->applied.count;
    ret_msg->as.read_reply.applied = self->applied.entries;
}

static void s_refuse(
    replica_t *self, uint64_t reply_to, const msg_read_t *read, code_t code, const char *message)
{
    msg_t msg;
    s_begin(self, read, &msg);
    msg.as.read_reply.code = code;
    msg.as.read_reply.message = slice_make(message, strlen(message));
    self->counters.refused++;
    replica_send_reply(self, reply_to, &msg);
}

static uint32_t s_staleness(const replica_t *self, now_t now, msg_staleness_t *ret_rows)
{
    uint32_t count = 0;
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region_set_has(self->placed, (region_id_t){region})) {
            ret_rows[count++] = (msg_staleness_t){
                .region = {region},
                .staleness_ms =
                    lag_staleness_ms(self->lag, self->tenant, (region_id_t){region}, now.mono_ns),
            };
        }
    }
    return count;
}

/* -- kinds ------------------------------------------------------------------------------------- */

static code_t s_read_cells(replica_t *self, const msg_read_t *read, msg_t *msg, errbuf_t *errbuf)
{
    const msg_read_cells_t *request = &read->as.cells;
    size_t count = request->items.size / 8 * request->signals.size;
    if (count > CELLS_RESULT_COUNT_MAX) {
        errbuf_set(errbuf, "cells: expected at most %d cells, found %zu; ask for fewer at once",
                   CELLS_RESULT_COUNT_MAX, count);
        return CODE_TOO_LARGE;
    }
    buffer_clear(&self->scratch);
    msg_cell_t *cells = (msg_cell_t *)(void *)buffer_extend(&self->scratch, count * sizeof(*cells));
    if (retrieve_cells(self->ledger, request, read->at_ns, cells, errbuf) != ERR_OK) {
        return CODE_BAD_REQUEST;
    }
    msg->as.read_reply.as.cells.cell_count = (uint32_t)count;
    msg->as.read_reply.as.cells.window_count = (uint32_t)request->windows.size;
    msg->as.read_reply.as.cells.cells = cells;
    return CODE_OK;
}

static void s_read_relation(const replica_t *self, const msg_read_t *read, msg_t *msg)
{
    user_id_t user = read->as.relation.user;
    bool of_item = read->as.relation.item.value != 0;
    uint64_t target = of_item ? read->as.relation.item.value : read->as.relation.creator.value;
    ledger_relation_t relation;
    relation_action_t first = of_item ? RELATION_HIDE : RELATION_MUTE;
    if (ledger_get_relation(self->ledger, user, first, target, &relation) == ERR_OK) {
        msg->as.read_reply.as.relation.hidden = relation.set;
        msg->as.read_reply.as.relation.hidden_hlc = relation.hlc;
    }
    if (!of_item &&
        ledger_get_relation(self->ledger, user, RELATION_BLOCK, target, &relation) == ERR_OK) {
        msg->as.read_reply.as.relation.blocked = relation.set;
        msg->as.read_reply.as.relation.blocked_hlc = relation.hlc;
    }
}

static uint32_t s_tags(slice_t value, slice_t *ret_tags)
{
    uint32_t count = value.size < 2 ? 0 : bytes_get_u16(value.data);
    size_t offset = 2;
    CHECK(count <= TAG_COUNT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint16_t size = bytes_get_u16(value.data + offset);
        ret_tags[i] = slice_make(value.data + offset + 2, size);
        offset += 2 + (size_t)size;
    }
    return count;
}

static void s_read_item(const replica_t *self, const msg_read_t *read, msg_t *msg)
{
    ledger_fields_t fields;
    if (ledger_get_item(self->ledger, read->as.item, &fields) != ERR_OK) {
        return;
    }
    msg_read_reply_t *reply = &msg->as.read_reply;
    reply->as.item.found = true;
    for (unsigned field = 1; field <= ITEM_FIELD_COUNT_MAX; field++) {
        if (!fields.has[field]) {
            continue;
        }
        reply->as.item.present |= UINT32_C(1) << field;
        slice_t value = fields.fields[field].value;
        switch ((item_field_t)field) {
        case ITEM_FIELD_TITLE:
            reply->as.item.title = value;
            break;
        case ITEM_FIELD_TEXT:
            reply->as.item.text = value;
            break;
        case ITEM_FIELD_CATEGORY:
            reply->as.item.category = value;
            break;
        case ITEM_FIELD_CREATOR:
            reply->as.item.creator = bytes_get_u64(value.data);
            break;
        case ITEM_FIELD_TAGS:
            reply->as.item.tag_count = s_tags(value, reply->as.item.tags);
            break;
        case ITEM_FIELD_CREATED:
            reply->as.item.created_ns = (int64_t)bytes_get_u64(value.data);
            break;
        }
    }
}

static void s_read_user(const replica_t *self, const msg_read_t *read, msg_t *msg)
{
    const registers_t *attributes = NULL;
    if (ledger_get_user(self->ledger, read->as.user, &attributes) != ERR_OK) {
        return;
    }
    msg->as.read_reply.as.user.found = true;
    size_t offset = 0;
    uint32_t count = 0;
    register_view_t view;
    while (count < USER_ATTRIBUTE_COUNT_MAX && registers_next(attributes, &offset, &view)) {
        msg->as.read_reply.as.user.attributes[count++] =
            (msg_attribute_t){.name = view.name, .value = view.value};
    }
    msg->as.read_reply.as.user.attribute_count = count;
}

static code_t s_read_retrieve(replica_t *self, const msg_read_t *read, msg_t *msg, errbuf_t *errbuf)
{
    const msg_read_retrieve_t *request = &read->as.retrieve;
    retrieve_result_t result;
    if (retrieve_run(self->retrieve, self->ledger, request, read->at_ns, &result, errbuf) !=
        ERR_OK) {
        return CODE_BAD_REQUEST;
    }
    msg->as.read_reply.as.retrieve.ranked_count = result.ranked_count;
    msg->as.read_reply.as.retrieve.term_count = request->explain ? request->term_count : 0;
    msg->as.read_reply.as.retrieve.ranked = result.ranked;
    msg->as.read_reply.as.retrieve.candidate_count = result.candidate_count;
    msg->as.read_reply.as.retrieve.filtered_count = result.filtered_count;
    return CODE_OK;
}

static void s_read_digest(replica_t *self, msg_t *msg)
{
    ledger_totals_t totals;
    ledger_totals(self->ledger, &totals);
    replica_digest(self, msg->as.read_reply.as.digest.digest);
    msg->as.read_reply.as.digest.signal_count = totals.signals;
}

static void s_read_pair(const replica_t *self, const msg_read_t *read, msg_t *msg)
{
    dedup_position_t position;
    dedup_found_t found =
        dedup_find(self->dedup, read->as.pair.producer, read->as.pair.seq, &position);
    msg->as.read_reply.as.pair.found = found == DEDUP_NOT_SEEN ? MSG_PAIR_NOT_SEEN
                                       : found == DEDUP_SEEN   ? MSG_PAIR_SEEN
                                                               : MSG_PAIR_STABLE;
    if (found == DEDUP_SEEN) {
        memcpy(msg->as.read_reply.as.pair.content_hash, position.content_hash.bytes,
               MSG_CONTENT_HASH_SIZE);
    }
}

static code_t s_fill(
    replica_t *self, const msg_read_t *read, now_t now, msg_t *msg, errbuf_t *errbuf)
{
    switch (read->kind) {
    case READ_CELLS:
        return s_read_cells(self, read, msg, errbuf);
    case READ_RELATION:
        s_read_relation(self, read, msg);
        break;
    case READ_ITEM:
        s_read_item(self, read, msg);
        break;
    case READ_USER:
        s_read_user(self, read, msg);
        break;
    case READ_RETRIEVE:
        return s_read_retrieve(self, read, msg, errbuf);
    case READ_DIGEST:
        s_read_digest(self, msg);
        break;
    case READ_LAG:
        msg->as.read_reply.as.lag.row_count =
            replica_lag_rows(self, now, self->lag_scratch, REPLICA_LAG_ROW_COUNT_MAX);
        msg->as.read_reply.as.lag.rows = self->lag_scratch;
        break;
    case READ_SESSION:
        replica_session_read(self, read, msg);
        break;
    case READ_PAIR:
        s_read_pair(self, read, msg);
        break;
    }
    return CODE_OK;
}

/* -- the request ------------------------------------------------------------------------------- */

static bool s_is_too_old(const msg_staleness_t *rows, uint32_t count, uint32_t max_ms)
{
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].staleness_ms > max_ms) {
            return true;
        }
    }
    return false;
}

/* Waits for the token, or refuses; true when the read may be answered. */
static bool s_has_reached(
    replica_t *self, uint64_t reply_to, const msg_read_t *read, slice_t bytes, now_t now)
{
    bool bad_token = false;
    if (replica_token_reached(self, read->token, &bad_token)) {
        return true;
    }
    if (bad_token) {
        s_refuse(self, reply_to, read, CODE_BAD_REQUEST,
                 "token: expected the token of an earlier reply, found other bytes");
        return false;
    }
    int64_t deadline_ns = now.mono_ns + (int64_t)read->wait_ms * ENGINE_NS_PER_MS;
    if (read->wait_ms == 0) {
        s_refuse(self, reply_to, read, CODE_STALE,
                 "this replica has not reached the request's token within wait_ms; "
                 "retry, wait longer, or read from another region");
    } else if (!replica_park(self, reply_to, bytes, deadline_ns)) {
        s_refuse(self, reply_to, read, CODE_OVERLOADED,
                 "too many requests wait for their token; retry later");
    }
    return false;
}

void replica_read(
    replica_t *self, uint64_t reply_to, const msg_read_t *read, slice_t bytes, now_t now)
{
    const char *reason = "";
    if (read->kind != READ_LAG && !replica_is_ready(self, &reason)) {
        s_refuse(self, reply_to, read, CODE_UNAVAILABLE, reason);
        return;
    }
    if (read->from_leader && leader_role(self->leader) != LEADER_LEADER) {
        s_refuse(self, reply_to, read, CODE_READ_ONLY, "this node follows; read from the leader");
        return;
    }
    if (!s_has_reached(self, reply_to, read, bytes, now)) {
        return;
    }
    errbuf_t errbuf = {{0}};
    if (read->kind == READ_DIGEST && !replica_is_settled(self)) {
        err_t err = replica_flush(self, now, &errbuf);
        if (err != ERR_OK) {
            replica_fail(self, err, &errbuf);
            s_refuse(self, reply_to, read, CODE_INTERNAL, errbuf.text);
            return;
        }
    }
    msg_t msg;
    s_begin(self, read, &msg);
    msg_staleness_t staleness[REGION_COUNT_MAX];
    uint32_t staleness_count = 0;
    if (read->kind == READ_PAIR) {
        msg.as.read_reply.applied_count = 0; /* no client sees the answer */
    } else {
        staleness_count = s_staleness(self, now, staleness);
    }
    msg.as.read_reply.staleness_count = staleness_count;
    msg.as.read_reply.staleness = staleness;
    if (read->max_staleness_ms != UINT32_MAX &&
        s_is_too_old(staleness, staleness_count, read->max_staleness_ms)) {
        s_refuse(self, reply_to, read, CODE_STALE,
                 "what this replica has is older than max_staleness_ms; retry, allow "
                 "more, or read from another region");
        return;
    }
    code_t code = s_fill(self, read, now, &msg, &errbuf);
    if (code != CODE_OK) {
        s_refuse(self, reply_to, read, code, errbuf.text);
        return;
    }
    replica_send_reply(self, reply_to, &msg);
}
