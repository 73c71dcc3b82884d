/* Sessions on a node: what a leader logs of them, what it closes for their age, what reads give. */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/wal/record_session.h"

enum { S_REVIEW_COUNT_MAX = 1024 }; /* open sessions per review: 100 us of work */

/* -- writes ------------------------------------------------------------------------------------ */

static code_t s_code(err_t err)
{
    return err == ERR_NOT_FOUND   ? CODE_NOT_FOUND
           : err == ERR_TOO_LARGE ? CODE_TOO_LARGE
           : err == ERR_FULL      ? CODE_OVERLOADED
                                  : CODE_BAD_REQUEST;
}

code_t replica_session_admit(replica_t *self,
                             slice_t *payload_p,
                             replica_session_t *ret_session,
                             errbuf_t *errbuf)
{
    *ret_session = (replica_session_t){.row = 0};
    if (!record_has_session(*payload_p)) {
        return CODE_OK;
    }
    size_t offset = 0;
    record_t record;
    err_t err = record_next(*payload_p, &offset, &record, errbuf);
    CHECK(err == ERR_OK && offset == payload_p->size); /* as the caller has seen */
    uint32_t session_seq = 0;
    err = session_book_admit(self->sessions, wal_log_stream(self->log), &record, &ret_session->row,
                             &session_seq, errbuf);
    if (err != ERR_OK) {
        self->counters.session_refused++;
        return s_code(err);
    }
    ret_session->type = record.type;
    if (record.type == RECORD_SESSION_SIGNAL) {
        buffer_clear(&self->session_payload);
        buffer_append(&self->session_payload, payload_p->data, payload_p->size);
        record_session_put_seq(self->session_payload.data, session_seq);
        *payload_p = buffer_slice(&self->session_payload);
    }
    return CODE_OK;
}

void replica_session_logged(replica_t *self, replica_session_t session)
{
    if (session.row != 0) {
        session_book_note_logged(self->sessions, session.row, session.type);
    }
}

uint32_t replica_session_row(const replica_t *self, slice_t payload)
{
    size_t offset = 0;
    record_t record;
    if (!record_has_session(payload) || record_next(payload, &offset, &record, NULL) != ERR_OK ||
        !record_is_of_session(record.type)) {
        return 0;
    }
    return session_book_find(self->sessions, record_session_id(&record));
}

msg_session_summary_t replica_session_summary(const replica_t *self,
                                              uint32_t row,
                                              stream_position_t name)
{
    if (row == 0) {
        return (msg_session_summary_t){.session_seq = 0};
    }
    session_view_t view;
    session_book_view(self->sessions, row, &view);
    return (msg_session_summary_t){
        .session_seq =
            name.seq == 0 ? 0 : session_book_seq_of(self->sessions, row, name.stream, name.seq),
        .signals = view.signal_count,
        .duration_ms = view.duration_ms,
        .closed = view.is_closed,
        .auto_closed = view.is_auto,
    };
}

/* -- reads ------------------------------------------------------------------------------------- */

void replica_session_read(replica_t *self, const msg_read_t *read, msg_t *msg)
{
    uint32_t row = session_book_find(self->sessions, &read->as.session);
    session_view_t view = {.is_started = false};
    if (row != 0) {
        session_book_view(self->sessions, row, &view);
    }
    if (!view.is_started) {
        return;
    }
    uint32_t count =
        view.signal_count < SESSION_ROW_COUNT_MAX ? view.signal_count : SESSION_ROW_COUNT_MAX;
    const session_signal_t *signals = view.signals + (view.signal_count - count);
    buffer_clear(&self->scratch);
    msg_session_row_t *rows =
        (msg_session_row_t *)(void *)buffer_extend(&self->scratch, count * sizeof(*rows));
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = (msg_session_row_t){
            .session_seq = signals[i].session_seq,
            .signal = {signals[i].item, signals[i].ts_ns, signals[i].weight, signals[i].signal},
            .origin = session_book_stream(self->sessions, signals[i].stream),
        };
    }
    msg_read_reply_t *reply = &msg->as.read_reply;
    reply->as.session.found = true;
    reply->as.session.closed = view.is_closed;
    reply->as.session.auto_closed = view.is_auto;
    reply->as.session.started_hlc = view.started;
    reply->as.session.closed_hlc = view.closed;
    reply->as.session.agent = view.agent;
    reply->as.session.meta = view.meta;
    reply->as.session.row_count = count;
    reply->as.session.rows = rows;
}

/* -- age --------------------------------------------------------------------------------------- */

/* Logs the close of a session; false when nothing can be logged now. */
static bool s_log_close(replica_t *self, uint32_t row, const session_id_t *id, now_t now)
{
    record_t record = {.type = RECORD_SESSION_CLOSE, .event_count = 1};
    record.as.session_close.session = *id;
    record.as.session_close.hlc = hlc_now(self->hlc, now.wall_ns);
    record.as.session_close.is_auto = true;
    buffer_clear(&self->session_payload);
    record_append(&self->session_payload, &record);
    wal_batch_t batch = {
        .epoch = leader_epoch(self->leader),
        .event_count = 1,
        .hlc = record.as.session_close.hlc,
        .payload = buffer_slice(&self->session_payload),
    };
    errbuf_t errbuf;
    if (replica_append(self, &batch, now, &errbuf) != ERR_OK) {
        return false;
    }
    session_book_note_logged(self->sessions, row, RECORD_SESSION_CLOSE);
    self->counters.events++;
    self->counters.session_idle++;
    return true;
}

/* A close needs what a write needs: else another leader may be at work, or the clock is wrong. */
static bool s_may_close(replica_t *self, now_t now)
{
    const char *reason = "";
    return session_book_open_count(self->sessions) > 0 && self->log != NULL &&
           self->fatal == ERR_OK && self->clock_ahead_ms == 0 &&
           leader_role(self->leader) == LEADER_LEADER && replica_is_ready(self, &reason) &&
           leader_admit(self->leader, ACK_REPLICATED, now.mono_ns, &reason) == CODE_OK;
}

void replica_session_review(replica_t *self, now_t now)
{
    const topology_timing_t *timing = &self->env->topology->timing;
    if (now.mono_ns < self->next_session_review_ns) {
        return;
    }
    self->next_session_review_ns = now.mono_ns + (int64_t)timing->heartbeat_ms * ENGINE_NS_PER_MS;
    if (!s_may_close(self, now)) {
        return;
    }
    int64_t idle_ns = (int64_t)timing->session_idle_ms * ENGINE_NS_PER_MS;
    uint32_t left = session_book_open_count(self->sessions);
    left = left < S_REVIEW_COUNT_MAX ? left : S_REVIEW_COUNT_MAX;
    bool goes_on = true;
    while (goes_on && left-- > 0 && session_book_open_count(self->sessions) > 0) {
        self->session_cursor = (self->session_cursor + 1) % session_book_open_count(self->sessions);
        uint32_t row = session_book_open_at(self->sessions, self->session_cursor);
        session_view_t view;
        session_book_view(self->sessions, row, &view);
        bool is_idle = now.wall_ns - view.active_ns >= idle_ns;
        if (is_idle && !session_book_has_logged(self->sessions, row)) {
            goes_on = s_log_close(self, row, view.id, now);
        }
    }
}
