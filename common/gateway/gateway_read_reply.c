/* The one reply of a read, from what the replicas answered. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"

#include <stdlib.h>

/* -- keeping ----------------------------------------------------------------------------------- */

/* What every answer carries: positions for the token, staleness, time. */
static void s_keep_common(gateway_engine_t *self,
                          gateway_request_t *request,
                          const msg_read_reply_t *answer)
{
    for (uint32_t i = 0; i < answer->applied_count; i++) {
        const stream_position_t *position = &answer->applied[i];
        if (position->seq > 0 && !gateway_is_stable(self, position->stream, position->seq)) {
            buffer_append(&request->positions, position, sizeof(*position));
        }
    }
    for (uint32_t i = 0; i < answer->staleness_count; i++) {
        const msg_staleness_t *row = &answer->staleness[i];
        uint32_t *kept = &request->read.staleness_ms[row->region.value];
        *kept = row->staleness_ms > *kept ? row->staleness_ms : *kept;
    }
    if (answer->as_of_ns < request->read.as_of_ns) {
        request->read.as_of_ns = answer->as_of_ns;
    }
}

static code_t s_keep_cells(gateway_request_t *request,
                           const gateway_part_t *part,
                           const msg_read_reply_t *answer)
{
    uint32_t signal_count = request->read.signal_count;
    if (answer->as.cells.cell_count != part->item_count * signal_count ||
        answer->as.cells.window_count != request->read.window_count) {
        return CODE_INTERNAL;
    }
    size_t size = (size_t)request->read.item_count * signal_count * sizeof(msg_cell_t);
    if (request->cells.size == 0) {
        (void)buffer_extend(&request->cells, size);
    }
    CHECK(request->cells.size == size);
    const uint8_t *places = request->places.data + (size_t)part->first_item * 4;
    for (uint32_t i = 0; i < part->item_count; i++) {
        size_t at = (size_t)bytes_get_u32(places + (size_t)i * 4) * signal_count;
        memcpy(request->cells.data + at * sizeof(msg_cell_t),
               &answer->as.cells.cells[(size_t)i * signal_count],
               signal_count * sizeof(msg_cell_t));
    }
    return CODE_OK;
}

client_read_reply_t gateway_read_common(gateway_engine_t *self, const gateway_request_t *request)
{
    buffer_clear(&self->rows);
    gateway_encode_token(
        self, request, (const stream_position_t *)(const void *)request->positions.data,
        (uint32_t)(request->positions.size / sizeof(stream_position_t)), &self->rows);
    return (client_read_reply_t){.as_of_ns = request->read.as_of_ns,
                                 .token = buffer_slice(&self->rows)};
}

static code_t s_keep_item(gateway_engine_t *self,
                          gateway_request_t *request,
                          const msg_read_reply_t *answer)
{
    if (!answer->as.item.found) {
        return CODE_NOT_FOUND;
    }
    client_item_t item = {
        .item = request->read.msg.as.item,
        .present = answer->as.item.present,
        .title = answer->as.item.title,
        .text = answer->as.item.text,
        .category = answer->as.item.category,
        .creator = {answer->as.item.creator},
        .created_ns = answer->as.item.created_ns,
        .tag_count = answer->as.item.tag_count,
        .tags = answer->as.item.tags,
    };
    client_read_reply_t read = gateway_read_common(self, request);
    buffer_clear(&self->reply);
    client_reply_item(&self->reply, request->id, &read, &item);
    return CODE_OK;
}

static code_t s_keep_user(gateway_engine_t *self,
                          gateway_request_t *request,
                          const msg_read_reply_t *answer)
{
    if (!answer->as.user.found) {
        return CODE_NOT_FOUND;
    }
    client_user_reply_t user = {
        .user = request->read.msg.as.user,
        .attribute_count = answer->as.user.attribute_count,
        .attributes = answer->as.user.attributes,
    };
    client_read_reply_t read = gateway_read_common(self, request);
    buffer_clear(&self->reply);
    client_reply_user(&self->reply, request->id, &read, &user);
    return CODE_OK;
}

static code_t s_keep_relation(gateway_engine_t *self,
                              gateway_request_t *request,
                              const msg_read_reply_t *answer)
{
    client_relation_reply_t relation = {
        .of_creator = request->read.msg.as.relation.creator.value != 0,
        .hidden = answer->as.relation.hidden,
        .hidden_hlc = answer->as.relation.hidden_hlc,
        .blocked = answer->as.relation.blocked,
        .blocked_hlc = answer->as.relation.blocked_hlc,
    };
    /* What the client does next comes after what it has just seen. */
    gateway_see_stamp(self, request, relation.hidden_hlc);
    gateway_see_stamp(self, request, relation.blocked_hlc);
    client_read_reply_t read = gateway_read_common(self, request);
    buffer_clear(&self->reply);
    client_reply_relation(&self->reply, request->id, &read, &relation);
    return CODE_OK;
}

code_t gateway_read_keep(gateway_engine_t *self,
                         gateway_request_t *request,
                         gateway_part_t *part,
                         const msg_read_reply_t *answer)
{
    s_keep_common(self, request, answer);
    switch (answer->kind) {
    case READ_CELLS:
        return s_keep_cells(request, part, answer);
    case READ_ITEM:
        return s_keep_item(self, request, answer);
    case READ_USER:
        return s_keep_user(self, request, answer);
    case READ_RELATION:
        return s_keep_relation(self, request, answer);
    case READ_RETRIEVE:
        return gateway_retrieve_keep(request, part, answer);
    case READ_SESSION:
        return gateway_session_keep(self, request, answer);
    case READ_DIGEST:
    case READ_PAIR:
    case READ_LAG:
        break;
    }
    return CODE_INTERNAL;
}

/* -- replies ----------------------------------------------------------------------------------- */

static void s_reply_cell(gateway_engine_t *self, const gateway_request_t *request)
{
    const msg_cell_t *cell = (const msg_cell_t *)(const void *)request->cells.data;
    client_cell_reply_t reply = {.op = request->op};
    if (request->op == CLIENT_OP_SCORE) {
        reply.score = cell->score;
        reply.clipped = cell->score_is_clipped;
    } else {
        window_t window = (window_t)request->read.msg.as.cells.windows.data[0];
        reply.count = cell->counts[0];
        reply.clipped = cell->count_is_clipped[0];
        if (request->op == CLIENT_OP_VELOCITY) {
            reply.score = (double)cell->counts[0] / (double)window_seconds(window);
        }
    }
    client_read_reply_t read = gateway_read_common(self, request);
    client_reply_cell(&self->reply, request->id, &read, &reply);
}

typedef struct {
    const gateway_engine_t *self;
    const gateway_request_t *request;
    uint64_t *items; /* in the client's order */
} cell_rows_t;

static void s_fill_row(void *context, uint32_t i, client_cell_row_t *ret_row)
{
    const cell_rows_t *rows = context;
    const gateway_request_t *request = rows->request;
    uint8_t signal = request->read.msg.as.cells.signals.data[i % request->read.signal_count];
    const schema_signal_t *found = schema_find_signal_id(&rows->self->env.topology->schema, signal);
    *ret_row = (client_cell_row_t){
        .signal = slice_text(found->name),
        .window_count = request->read.window_count,
        .cell = (const msg_cell_t *)(const void *)request->cells.data + i,
        .item = {rows->items[i / request->read.signal_count]},
    };
}

static void s_reply_cells(gateway_engine_t *self, const gateway_request_t *request)
{
    uint32_t count = request->read.item_count;
    cell_rows_t rows = {self, request, calloc(count, sizeof(uint64_t))};
    CHECK(rows.items != NULL);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = bytes_get_u32(request->places.data + (size_t)i * 4);
        rows.items[place] = bytes_get_u64(request->payload.data + (size_t)i * 8);
    }
    client_read_reply_t read = gateway_read_common(self, request);
    client_reply_cells(&self->reply, request->id, &read, count * request->read.signal_count,
                       s_fill_row, &rows);
    free(rows.items);
}

/* The failure that ends the whole read; NULL when what there is makes an answer. */
static const gateway_part_t *s_failed(const gateway_request_t *request)
{
    for (uint32_t i = request->part_count; i > 0; i--) { /* a session's part first */
        const gateway_part_t *part = &request->parts[i - 1];
        bool may_miss = request->op == CLIENT_OP_RETRIEVE && gateway_is_missing(part->code);
        if (part->code != CODE_OK && !may_miss) {
            return part;
        }
    }
    return NULL;
}

void gateway_read_finish(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    const gateway_part_t *failed = s_failed(request);
    if (failed != NULL) {
        errbuf_t text;
        client_failure_t failure = gateway_part_failure(self, request, failed, &text);
        gateway_finish_error(self, request, &failure, now);
        return;
    }
    if (request->op == CLIENT_OP_RETRIEVE) {
        gateway_retrieve_finish(self, request, now);
        return;
    }
    if (request->read.msg.kind == READ_CELLS) {
        buffer_clear(&self->reply);
        if (request->op == CLIENT_OP_CELLS) {
            s_reply_cells(self, request);
        } else {
            s_reply_cell(self, request);
        }
    }
    gateway_finish(self, request, CODE_OK, now);
}
