/* What a leader may log of a session: in view of what the book holds, and of what the leader has
 * logged since it last applied everything. */
#include "common/session/session_book_state.h"

#include "common/wal/record_session.h"

static err_t s_admit_start(const session_book_t *self, uint32_t row, errbuf_t *errbuf)
{
    bool is_new = row == 0 || !session_row_at(self, row)->is_started;
    if (is_new && session_book_open_count(self) >= SESSION_OPEN_COUNT_MAX) {
        errbuf_set(errbuf,
                   "session_start: expected at most %d open sessions on a shard, found as many; "
                   "close some, or retry when old ones were closed for their age",
                   SESSION_OPEN_COUNT_MAX);
        return ERR_FULL;
    }
    return ERR_OK;
}

static err_t s_admit_signal(const session_book_t *self,
                            const session_row_t *row,
                            stream_id_t stream,
                            uint32_t *ret_session_seq,
                            errbuf_t *errbuf)
{
    if (row->is_closed || row->is_closing) {
        errbuf_set(errbuf, "session: expected an open session, found one that %s; start a new one",
                   row->is_auto ? "was closed for its age" : "is closed");
        return ERR_CONFLICT;
    }
    uint16_t number = 0;
    const session_origin_t *origin =
        session_find_stream(self, stream, &number) ? session_find_origin(row, number) : NULL;
    uint64_t last = (origin == NULL ? 0 : origin->tracker.last) + row->logged_count;
    if (last >= SESSION_SIGNAL_COUNT_MAX ||
        row->signal_count + row->logged_count >= SESSION_SIGNAL_COUNT_MAX) {
        errbuf_set(errbuf,
                   "session: expected at most %d signals in one session, found as many; close it "
                   "and start a new one",
                   SESSION_SIGNAL_COUNT_MAX);
        return ERR_TOO_LARGE;
    }
    *ret_session_seq = (uint32_t)last + 1;
    return ERR_OK;
}

err_t session_book_admit(const session_book_t *self,
                         stream_id_t stream,
                         const record_t *record,
                         uint32_t *ret_row,
                         uint32_t *ret_session_seq,
                         errbuf_t *errbuf)
{
    uint32_t row = session_book_find(self, record_session_id(record));
    *ret_row = row;
    *ret_session_seq = 0;
    if (record->type == RECORD_SESSION_START) {
        return s_admit_start(self, row, errbuf);
    }
    if (row == 0 || !session_row_at(self, row)->is_started) {
        errbuf_set(errbuf, "session: expected one that session_start gave, found none by this id; "
                           "send the token of session_start's reply with the request");
        return ERR_NOT_FOUND;
    }
    return record->type == RECORD_SESSION_CLOSE
               ? ERR_OK
               : s_admit_signal(self, session_row_at(self, row), stream, ret_session_seq, errbuf);
}

void session_book_note_logged(session_book_t *self, uint32_t row, record_type_t type)
{
    if (row == 0 || type == RECORD_SESSION_START) {
        return;
    }
    session_row_t *at = session_row_at(self, row);
    if (at->logged_count == 0 && !at->is_closing) {
        session_list_add(&self->logged, row);
    }
    at->logged_count += type == RECORD_SESSION_SIGNAL ? 1 : 0;
    at->is_closing = at->is_closing || type == RECORD_SESSION_CLOSE;
}

void session_book_settle_logged(session_book_t *self)
{
    size_t count = self->logged.size / sizeof(uint32_t);
    for (size_t i = 0; i < count; i++) {
        session_row_t *at = session_row_at(self, session_list_at(&self->logged, i));
        at->logged_count = 0;
        at->is_closing = false;
    }
    buffer_clear(&self->logged);
}

bool session_book_has_logged(const session_book_t *self, uint32_t row)
{
    const session_row_t *at = session_row_at(self, row);
    return at->is_closing || at->logged_count > 0;
}
