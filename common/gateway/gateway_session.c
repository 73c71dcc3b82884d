/* Sessions at the gateway: their writes and reads go to the user's home shard, which their id
 * names; a retrieve reads the session first and gives each shard the signals of its items. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"
#include "common/session/session_id.h"
#include "common/topology/route.h"

static shard_id_t s_home(const gateway_engine_t *self,
                         const gateway_request_t *request,
                         const session_id_t *session)
{
    return route_user(request->tenant, session_id_user(session), self->shard_count);
}

/* -- writes ------------------------------------------------------------------------------------ */

/* With a producer the same for every copy of the request, at whatever gateway. */
static session_id_t s_new_id(gateway_engine_t *self,
                             const gateway_request_t *request,
                             const client_request_t *client)
{
    user_id_t user = client->as.session_start.user;
    if (client->has_producer) {
        return session_id_derive(request->tenant, user, client->producer, client->seq);
    }
    const uint64_t random[2] = {prng_next(&self->prng), prng_next(&self->prng)};
    return session_id_make(user, random);
}

static record_t s_start_record(const gateway_request_t *request, const client_request_t *client)
{
    record_t record = {.type = RECORD_SESSION_START, .event_count = 1};
    record.as.session_start.session = request->write.session;
    record.as.session_start.hlc = request->write.hlc;
    record.as.session_start.agent = client->as.session_start.agent;
    record.as.session_start.meta = client->as.session_start.meta;
    return record;
}

static record_t s_signal_record(const gateway_request_t *request,
                                const client_event_t *event,
                                now_t now)
{
    record_t record = {.type = RECORD_SESSION_SIGNAL, .event_count = 1};
    record.as.session_signal.session = request->write.session;
    record.as.session_signal.hlc = request->write.hlc;
    record.as.session_signal.session_seq = 0; /* the leader numbers */
    record.as.session_signal.item = event->item;
    record.as.session_signal.ts_ns =
        (event->present & CLIENT_EVENT_TS) != 0 ? event->ts_ns : now.wall_ns;
    record.as.session_signal.weight = event->weight;
    record.as.session_signal.signal = event->signal;
    return record;
}

static record_t s_close_record(const gateway_request_t *request)
{
    record_t record = {.type = RECORD_SESSION_CLOSE, .event_count = 1};
    record.as.session_close.session = request->write.session;
    record.as.session_close.hlc = request->write.hlc;
    record.as.session_close.is_auto = false;
    return record;
}

static code_t s_check_ts(const client_event_t *event, now_t now, errbuf_t *errbuf)
{
    int64_t latest_ns = now.wall_ns + gateway_ms(GATEWAY_FUTURE_MS);
    if (event->ts_ns <= latest_ns) {
        return CODE_OK;
    }
    errbuf_set(errbuf,
               "ts: expected at most one hour from now (%lld), found %lld; check the sender's "
               "clock and unit (ns)",
               (long long)latest_ns, (long long)event->ts_ns);
    return CODE_BAD_REQUEST;
}

code_t gateway_session_write_begin(gateway_engine_t *self,
                                   gateway_request_t *request,
                                   const client_request_t *client,
                                   now_t now,
                                   errbuf_t *errbuf)
{
    code_t code = CODE_OK;
    record_t record;
    request->write.hlc = hlc_now(&self->hlc, now.wall_ns);
    if (client->op == CLIENT_OP_SESSION_START) {
        request->write.session = s_new_id(self, request, client);
        record = s_start_record(request, client);
    } else if (client->op == CLIENT_OP_SESSION_SIGNAL) {
        request->write.session = client->as.session_signal.session;
        code = s_check_ts(&client->as.session_signal.event, now, errbuf);
        record = s_signal_record(request, &client->as.session_signal.event, now);
    } else {
        request->write.session = client->as.session;
        record = s_close_record(request);
    }
    if (code != CODE_OK) {
        return code;
    }
    /* A second copy of a start or a close has the same stamp and changes nothing. */
    request->write.is_register = client->op != CLIENT_OP_SESSION_SIGNAL;
    request->write.row_count = 1;
    record_append(&request->payload, &record);
    gateway_request_set_parts(request, 1);
    request->parts[0].shard = s_home(self, request, &request->write.session);
    request->parts[0].event_count = 1;
    request->parts[0].payload = (gateway_span_t){0, (uint32_t)request->payload.size};
    return CODE_OK;
}

void gateway_session_write_reply(gateway_engine_t *self,
                                 const gateway_request_t *request,
                                 const client_failure_t *failure,
                                 const client_write_reply_t *write)
{
    const msg_session_summary_t *summary = &request->parts[0].session;
    client_session_write_t session = {
        .user = session_id_user(&request->write.session),
        .signals = summary->signals,
        .duration_ms = summary->duration_ms,
        .auto_closed = summary->auto_closed,
    };
    /* A start that is maybe logged names its session as well: a client can ask for it. */
    if (request->op == CLIENT_OP_SESSION_START && write->has_token) {
        session.session = &request->write.session;
    } else if (request->op == CLIENT_OP_SESSION_SIGNAL) {
        session.session_seq = failure == NULL ? summary->session_seq : 0;
    } else if (request->op == CLIENT_OP_SESSION_CLOSE) {
        session.has_summary = failure == NULL;
    }
    client_reply_session_write(&self->reply, request->id, failure, write, &session);
}

/* -- session_get ------------------------------------------------------------------------------- */

void gateway_session_read_begin(gateway_engine_t *self,
                                gateway_request_t *request,
                                const session_id_t *session)
{
    gateway_request_set_parts(request, 1);
    request->parts[0].shard = s_home(self, request, session);
    request->read.msg.kind = READ_SESSION;
    request->read.msg.as.session = *session;
}

/* What the rows of a reply are made from. */
typedef struct {
    const gateway_engine_t *self;
    const msg_read_reply_t *answer;
    char origin[CLIENT_ORIGIN_SIZE];
} s_rows_t;

static void s_fill_row(void *context, uint32_t i, client_session_row_t *ret_row)
{
    s_rows_t *rows = context;
    const msg_session_row_t *row = &rows->answer->as.session.rows[i];
    const schema_signal_t *signal =
        schema_find_signal_id(&rows->self->env.topology->schema, row->signal.signal_id);
    client_origin_text(rows->origin, gateway_region_name(rows->self, row->origin.origin.region),
                       &row->origin);
    *ret_row = (client_session_row_t){
        .session_seq = row->session_seq,
        .signal = signal == NULL ? slice_make(NULL, 0) : slice_text(signal->name),
        .item = row->signal.item,
        .weight = row->signal.weight,
        .ts_ns = row->signal.ts_ns,
        .origin = slice_text(rows->origin),
    };
}

static void s_reply(gateway_engine_t *self,
                    const gateway_request_t *request,
                    const msg_read_reply_t *answer)
{
    s_rows_t rows = {.self = self, .answer = answer};
    client_session_reply_t session = {
        .user = session_id_user(&request->read.msg.as.session),
        .agent = answer->as.session.agent,
        .meta = answer->as.session.meta,
        .open = !answer->as.session.closed,
        .auto_closed = answer->as.session.auto_closed,
        .started_ns = answer->as.session.started_hlc.wall_ns,
        .closed_ns = answer->as.session.closed_hlc.wall_ns,
        .row_count = answer->as.session.row_count,
        .row_fn = s_fill_row,
        .context = &rows,
    };
    client_read_reply_t read = gateway_read_common(self, request);
    buffer_clear(&self->reply);
    client_reply_session(&self->reply, request->id, &read, &session);
}

/* -- retrieve ---------------------------------------------------------------------------------- */

void gateway_session_count_begin(gateway_engine_t *self,
                                 gateway_request_t *request,
                                 const session_id_t *session)
{
    gateway_part_t *part = gateway_request_add_part(request);
    part->shard = s_home(self, request, session);
    request->read.has_session = true;
    request->read.session = *session;
}

void gateway_session_fill(gateway_engine_t *self,
                          const gateway_request_t *request,
                          uint32_t index,
                          msg_read_t *read)
{
    if (!request->read.has_session) {
        return;
    }
    if (gateway_is_session_part(request, index)) {
        read->kind = READ_SESSION;
        read->as.session = request->read.session;
        return;
    }
    const msg_session_signal_t *all =
        (const msg_session_signal_t *)(const void *)request->rows.data;
    size_t count = request->rows.size / sizeof(*all);
    buffer_clear(&self->session_rows);
    for (size_t i = 0; i < count; i++) {
        shard_id_t shard = route_item(request->tenant, all[i].item, self->shard_count);
        if (shard.value == request->parts[index].shard.value) {
            buffer_append(&self->session_rows, &all[i], sizeof(all[i]));
        }
    }
    read->as.retrieve.session_count = (uint32_t)(self->session_rows.size / sizeof(*all));
    read->as.retrieve.session = (const msg_session_signal_t *)(const void *)self->session_rows.data;
}

code_t gateway_session_keep(gateway_engine_t *self,
                            gateway_request_t *request,
                            const msg_read_reply_t *answer)
{
    if (!answer->as.session.found) {
        return CODE_NOT_FOUND;
    }
    if (request->op == CLIENT_OP_SESSION_GET) {
        s_reply(self, request, answer);
        return CODE_OK;
    }
    for (uint32_t i = 0; i < answer->as.session.row_count; i++) {
        buffer_append(&request->rows, &answer->as.session.rows[i].signal,
                      sizeof(msg_session_signal_t));
    }
    return CODE_OK;
}

bool gateway_session_others(gateway_request_t *request, now_t now)
{
    if (!request->read.has_session || request->read.are_others_begun) {
        return false;
    }
    gateway_part_t *session = &request->parts[request->part_count - 1];
    if (session->state != GATEWAY_PART_DONE) {
        if (request->parts[0].due_ns > now.mono_ns) {
            return false;
        }
        gateway_part_end(request, session, CODE_TIMEOUT,
                         slice_text("the session was not read in time"));
    }
    request->read.are_others_begun = true;
    bool goes_on = session->code == CODE_OK || gateway_is_missing(session->code);
    for (uint32_t i = 0; i + 1 < request->part_count; i++) {
        gateway_part_t *part = &request->parts[i];
        CHECK(part->state == GATEWAY_PART_IDLE);
        if (goes_on) {
            part->state = GATEWAY_PART_WAITING;
            part->due_ns = now.mono_ns;
        } else {
            gateway_part_end(request, part, session->code,
                             slice_text("not asked: the session could not be read"));
        }
    }
    return true;
}
