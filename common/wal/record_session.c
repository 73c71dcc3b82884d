#include "common/wal/record_session.h"

#include "common/base/check.h"

/* Offsets of the bodies; the first two are common to all. */
enum {
    S_SESSION = 0,
    S_HLC = S_SESSION + SESSION_ID_SIZE,
    S_HEAD_SIZE = S_HLC + 16,

    S_START_AGENT_SIZE = S_HEAD_SIZE,
    S_START_META_SIZE = S_START_AGENT_SIZE + 2,
    S_START_TEXTS = S_START_META_SIZE + 2,

    S_SIGNAL_SEQ = S_HEAD_SIZE,
    S_SIGNAL_ITEM = S_SIGNAL_SEQ + 4,
    S_SIGNAL_TS = S_SIGNAL_ITEM + 8,
    S_SIGNAL_WEIGHT = S_SIGNAL_TS + 8,
    S_SIGNAL_TYPE = S_SIGNAL_WEIGHT + 8,
    S_SIGNAL_SIZE = S_SIGNAL_TYPE + 1,

    S_CLOSE_AUTO = S_HEAD_SIZE,
    S_CLOSE_SIZE = S_CLOSE_AUTO + 1
};
static_assert(S_SIGNAL_SIZE == 69 && S_CLOSE_SIZE == 41, "as record.h says");
static_assert(SESSION_AGENT_SIZE_MAX <= UINT16_MAX && SESSION_META_SIZE_MAX <= UINT16_MAX,
              "sizes are u16");

#define S_WEIGHT_MAX 1e9

/* -- ranges ------------------------------------------------------------------------------------ */

static bool s_head_ok(const session_id_t *session, hlc_stamp_t hlc)
{
    return bytes_get_u64(session->bytes) != 0 && hlc.wall_ns >= 0;
}

static bool s_start_ok(const record_t *record)
{
    slice_t agent = record->as.session_start.agent;
    return agent.size <= SESSION_AGENT_SIZE_MAX && bytes_are_utf8(agent) &&
           record->as.session_start.meta.size <= SESSION_META_SIZE_MAX;
}

static bool s_signal_ok(const record_t *record)
{
    double weight = record->as.session_signal.weight; /* a NaN fails both comparisons */
    return record->as.session_signal.session_seq <= SESSION_SIGNAL_COUNT_MAX &&
           record->as.session_signal.item.value != 0 && record->as.session_signal.ts_ns >= 0 &&
           weight >= -S_WEIGHT_MAX && weight <= S_WEIGHT_MAX &&
           record->as.session_signal.signal >= 1 &&
           record->as.session_signal.signal <= SIGNAL_TYPE_COUNT_MAX;
}

/* -- decoding ---------------------------------------------------------------------------------- */

static void s_get_head(const uint8_t *at, session_id_t *ret_session, hlc_stamp_t *ret_hlc)
{
    memcpy(ret_session->bytes, at + S_SESSION, SESSION_ID_SIZE);
    *ret_hlc = (hlc_stamp_t){.wall_ns = (int64_t)bytes_get_u64(at + S_HLC),
                             .logical = bytes_get_u32(at + S_HLC + 8),
                             .node = bytes_get_u32(at + S_HLC + 12)};
}

static bool s_decode_start(slice_t body, record_t *record)
{
    if (body.size < S_START_TEXTS) {
        return false;
    }
    size_t agent_size = bytes_get_u16(body.data + S_START_AGENT_SIZE);
    size_t meta_size = bytes_get_u16(body.data + S_START_META_SIZE);
    if (body.size != S_START_TEXTS + agent_size + meta_size) {
        return false;
    }
    s_get_head(body.data, &record->as.session_start.session, &record->as.session_start.hlc);
    record->as.session_start.agent = slice_make(body.data + S_START_TEXTS, agent_size);
    record->as.session_start.meta = slice_make(body.data + S_START_TEXTS + agent_size, meta_size);
    return s_head_ok(&record->as.session_start.session, record->as.session_start.hlc) &&
           s_start_ok(record);
}

static bool s_decode_signal(slice_t body, record_t *record)
{
    if (body.size != S_SIGNAL_SIZE) {
        return false;
    }
    s_get_head(body.data, &record->as.session_signal.session, &record->as.session_signal.hlc);
    record->as.session_signal.session_seq = bytes_get_u32(body.data + S_SIGNAL_SEQ);
    record->as.session_signal.item.value = bytes_get_u64(body.data + S_SIGNAL_ITEM);
    record->as.session_signal.ts_ns = (int64_t)bytes_get_u64(body.data + S_SIGNAL_TS);
    record->as.session_signal.weight = bytes_get_f64(body.data + S_SIGNAL_WEIGHT);
    record->as.session_signal.signal = body.data[S_SIGNAL_TYPE];
    return s_head_ok(&record->as.session_signal.session, record->as.session_signal.hlc) &&
           s_signal_ok(record);
}

static bool s_decode_close(slice_t body, record_t *record)
{
    if (body.size != S_CLOSE_SIZE || body.data[S_CLOSE_AUTO] > 1) {
        return false;
    }
    s_get_head(body.data, &record->as.session_close.session, &record->as.session_close.hlc);
    record->as.session_close.is_auto = body.data[S_CLOSE_AUTO] == 1;
    return s_head_ok(&record->as.session_close.session, record->as.session_close.hlc);
}

err_t record_session_decode(slice_t body, record_t *record, errbuf_t *errbuf)
{
    CHECK(record_is_of_session(record->type));
    bool is_signal = record->type == RECORD_SESSION_SIGNAL;
    bool is_start = record->type == RECORD_SESSION_START;
    bool ok = is_start    ? s_decode_start(body, record)
              : is_signal ? s_decode_signal(body, record)
                          : s_decode_close(body, record);
    if (!ok) {
        errbuf_set(errbuf, "SESSION_%s record: malformed body",
                   is_start    ? "START"
                   : is_signal ? "SIGNAL"
                               : "CLOSE");
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* -- encoding ---------------------------------------------------------------------------------- */

static void s_put_head(uint8_t *at, const session_id_t *session, hlc_stamp_t hlc)
{
    CHECK(s_head_ok(session, hlc));
    memcpy(at + S_SESSION, session->bytes, SESSION_ID_SIZE);
    bytes_put_u64(at + S_HLC, (uint64_t)hlc.wall_ns);
    bytes_put_u32(at + S_HLC + 8, hlc.logical);
    bytes_put_u32(at + S_HLC + 12, hlc.node);
}

static void s_append_start(buffer_t *payload, const record_t *record)
{
    CHECK(s_start_ok(record));
    slice_t agent = record->as.session_start.agent;
    slice_t meta = record->as.session_start.meta;
    uint8_t *at = buffer_extend(payload, S_START_TEXTS);
    s_put_head(at, &record->as.session_start.session, record->as.session_start.hlc);
    bytes_put_u16(at + S_START_AGENT_SIZE, (uint16_t)agent.size);
    bytes_put_u16(at + S_START_META_SIZE, (uint16_t)meta.size);
    buffer_append(payload, agent.data, agent.size);
    buffer_append(payload, meta.data, meta.size);
}

static void s_append_signal(buffer_t *payload, const record_t *record)
{
    CHECK(s_signal_ok(record));
    uint8_t *at = buffer_extend(payload, S_SIGNAL_SIZE);
    s_put_head(at, &record->as.session_signal.session, record->as.session_signal.hlc);
    bytes_put_u32(at + S_SIGNAL_SEQ, record->as.session_signal.session_seq);
    bytes_put_u64(at + S_SIGNAL_ITEM, record->as.session_signal.item.value);
    bytes_put_u64(at + S_SIGNAL_TS, (uint64_t)record->as.session_signal.ts_ns);
    bytes_put_f64(at + S_SIGNAL_WEIGHT, record->as.session_signal.weight);
    at[S_SIGNAL_TYPE] = record->as.session_signal.signal;
}

void record_session_append(buffer_t *payload, const record_t *record)
{
    if (record->type == RECORD_SESSION_START) {
        s_append_start(payload, record);
    } else if (record->type == RECORD_SESSION_SIGNAL) {
        s_append_signal(payload, record);
    } else {
        CHECK(record->type == RECORD_SESSION_CLOSE);
        uint8_t *at = buffer_extend(payload, S_CLOSE_SIZE);
        s_put_head(at, &record->as.session_close.session, record->as.session_close.hlc);
        at[S_CLOSE_AUTO] = record->as.session_close.is_auto ? 1 : 0;
    }
}

void record_session_put_seq(uint8_t *bytes, uint32_t session_seq)
{
    CHECK(bytes[0] == RECORD_SESSION_SIGNAL);
    CHECK(session_seq >= 1 && session_seq <= SESSION_SIGNAL_COUNT_MAX);
    bytes_put_u32(bytes + RECORD_HEADER_SIZE + S_SIGNAL_SEQ, session_seq);
}

/* -- looking ----------------------------------------------------------------------------------- */

bool record_has_session(slice_t payload)
{
    size_t offset = 0;
    while (payload.size - offset >= RECORD_HEADER_SIZE) {
        const uint8_t *at = payload.data + offset;
        size_t left = payload.size - offset - RECORD_HEADER_SIZE;
        size_t body_size = bytes_get_u32(at + 8);
        if (record_is_of_session((record_type_t)at[0])) {
            return true;
        }
        if (body_size > left) {
            return false;
        }
        offset += RECORD_HEADER_SIZE + body_size;
    }
    return false;
}

const session_id_t *record_session_id(const record_t *record)
{
    CHECK(record_is_of_session(record->type));
    if (record->type == RECORD_SESSION_START) {
        return &record->as.session_start.session;
    }
    return record->type == RECORD_SESSION_SIGNAL ? &record->as.session_signal.session
                                                 : &record->as.session_close.session;
}
