/* Replies to the ops of sessions. */
#include "common/wire/client_reply_fields.h"

void client_reply_session_write(buffer_t *out,
                                slice_t id,
                                const client_failure_t *failure,
                                const client_write_reply_t *write,
                                const client_session_write_t *session)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, failure);
    client_put_write(&writer, write);
    if (session->session != NULL) {
        pack_put_bin(&writer, "session", slice_make(session->session->bytes, SESSION_ID_SIZE));
    }
    if (session->session_seq > 0) {
        pack_put_u64(&writer, "session_seq", session->session_seq);
    }
    if (session->has_summary) {
        pack_put_u64(&writer, "user", session->user.value);
        pack_put_u64(&writer, "signals", session->signals);
        pack_put_u64(&writer, "duration_ms", session->duration_ms);
        pack_put_bool(&writer, "auto_closed", session->auto_closed);
    }
    client_reply_end(&writer);
}

/* It comes from the log: what is no map of this protocol is not passed on. */
static bool s_is_map(slice_t meta)
{
    pack_reader_t reader = pack_reader(meta);
    pack_value_t head;
    return meta.size > 0 && meta.size <= SESSION_META_SIZE_MAX &&
           pack_check(meta, MSGPACK_NODE_COUNT_MAX, NULL) == ERR_OK && pack_next(&reader, &head) &&
           head.kind == PACK_MAP;
}

static void s_put_rows(pack_writer_t *writer, const client_session_reply_t *session)
{
    pack_key(writer, "signals");
    pack_write_array(writer, session->row_count);
    for (uint32_t i = 0; i < session->row_count; i++) {
        client_session_row_t row;
        session->row_fn(session->context, i, &row);
        pack_write_array(writer, 6);
        pack_write_u64(writer, row.session_seq);
        if (row.signal.size > 0) {
            pack_write_str(writer, row.signal);
        } else {
            pack_write_nil(writer);
        }
        pack_write_u64(writer, row.item.value);
        pack_write_f64(writer, row.weight);
        pack_write_i64(writer, row.ts_ns);
        pack_write_str(writer, row.origin);
    }
}

void client_reply_session(buffer_t *out,
                          slice_t id,
                          const client_read_reply_t *read,
                          const client_session_reply_t *session)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, NULL);
    client_put_read(&writer, read);
    pack_put_u64(&writer, "user", session->user.value);
    if (session->agent.size > 0) {
        pack_put_str(&writer, "agent", session->agent);
    } else {
        pack_put_nil(&writer, "agent");
    }
    if (s_is_map(session->meta)) {
        pack_key(&writer, "meta");
        pack_write_encoded(&writer, session->meta);
    } else {
        pack_put_nil(&writer, "meta");
    }
    pack_put_bool(&writer, "open", session->open);
    pack_put_bool(&writer, "auto_closed", !session->open && session->auto_closed);
    pack_put_i64(&writer, "started", session->started_ns);
    if (session->open) {
        pack_put_nil(&writer, "closed");
    } else {
        pack_put_i64(&writer, "closed", session->closed_ns);
    }
    s_put_rows(&writer, session);
    client_reply_end(&writer);
}
