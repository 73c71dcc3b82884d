/* Decoder of the ops of sessions. */
#include "common/base/check.h"
#include "common/wire/client_fields.h"

bool client_take_session(client_decoder_t *self, const client_map_t *map, session_id_t *ret_id)
{
    if (!client_has(map, CLIENT_KEY_SESSION)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, map, CLIENT_KEY_SESSION, &reader);
    if (value.kind != PACK_BIN || value.as.bytes.size != SESSION_ID_SIZE ||
        bytes_get_u64(value.as.bytes.data) == 0) {
        return client_refuse_value(self, "session", "the bin that session_start gave", &value);
    }
    memcpy(ret_id->bytes, value.as.bytes.data, SESSION_ID_SIZE);
    return true;
}

/* `meta`: a map, kept as it is encoded. */
static bool s_take_meta(client_decoder_t *self)
{
    if (!client_has(&self->map, CLIENT_KEY_META)) {
        return true;
    }
    pack_reader_t reader;
    const uint8_t *begin = self->map.at[CLIENT_KEY_META];
    pack_value_t value = client_value(self, &self->map, CLIENT_KEY_META, &reader);
    if (value.kind != PACK_MAP) {
        return client_refuse_value(self, "meta", "map", &value);
    }
    reader.at = begin;
    bool is_whole = pack_skip(&reader);
    CHECK(is_whole); /* the body was checked */
    size_t size = (size_t)(reader.at - begin);
    if (size > SESSION_META_SIZE_MAX) {
        return client_refuse(self, CODE_TOO_LARGE, "meta",
                             "expected at most %d bytes of msgpack, found %zu",
                             SESSION_META_SIZE_MAX, size);
    }
    self->request.as.session_start.meta = slice_make(begin, size);
    return true;
}

static bool s_decode_session_start(client_decoder_t *self)
{
    const client_map_t *map = &self->map;
    return client_need(self, map, CLIENT_KEY_USER) &&
           client_take_u64(self, map, CLIENT_KEY_USER, 1, UINT64_MAX,
                           &self->request.as.session_start.user.value) &&
           client_take_text(self, map, CLIENT_KEY_AGENT, 0, SESSION_AGENT_SIZE_MAX,
                            &self->request.as.session_start.agent) &&
           s_take_meta(self);
}

static bool s_decode_session_signal(client_decoder_t *self)
{
    return client_need(self, &self->map, CLIENT_KEY_SESSION) &&
           client_take_session(self, &self->map, &self->request.as.session_signal.session) &&
           client_take_event(self, &self->request.as.session_signal.event);
}

static bool s_decode_session_close(client_decoder_t *self)
{
    return client_need(self, &self->map, CLIENT_KEY_SESSION) &&
           client_take_session(self, &self->map, &self->request.as.session);
}

bool client_decode_session_write(client_decoder_t *self)
{
    if (self->request.op == CLIENT_OP_SESSION_START) {
        return s_decode_session_start(self);
    }
    if (self->request.op == CLIENT_OP_SESSION_SIGNAL) {
        return s_decode_session_signal(self);
    }
    CHECK(self->request.op == CLIENT_OP_SESSION_CLOSE);
    return s_decode_session_close(self);
}
