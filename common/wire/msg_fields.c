/* The tables of msg_fields.h, one line per field of msg.h, in its order. */
#include "common/wire/msg_fields.h"

#include <stddef.h>

#define COUNT_OF(array)     (sizeof(array) / sizeof((array)[0]))
#define WIDTH(type, member) sizeof(((type *)0)->member)

#define FIELD(type, member, kind, width, count_offset, min, max, layout)             \
    {                                                                                \
#member, kind, width, offsetof(type, member), count_offset, min, max, layout \
    }

#define UINT(type, member, min, max) \
    FIELD(type, member, MSG_FIELD_UINT, WIDTH(type, member), 0, min, max, NULL)
#define TIME(type, member)          FIELD(type, member, MSG_FIELD_TIME, 8, 0, 0, 0, NULL)
#define TIME_ANY(type, member)      FIELD(type, member, MSG_FIELD_TIME, 8, 0, 1, 0, NULL)
#define F64(type, member)           FIELD(type, member, MSG_FIELD_F64, 8, 0, 0, 0, NULL)
#define F64_ANY(type, member)       FIELD(type, member, MSG_FIELD_F64, 8, 0, 1, 0, NULL)
#define BOOL(type, member)          FIELD(type, member, MSG_FIELD_BOOL, 1, 0, 0, 0, NULL)
#define BIN(type, member, min, max) FIELD(type, member, MSG_FIELD_BIN, 1, 0, min, max, NULL)
#define BIN_U64(type, member, min, max) \
    FIELD(type, member, MSG_FIELD_BIN, 8, 0, UINT64_C(8) * (min), UINT64_C(8) * (max), NULL)
#define TEXT(type, member, min, max) FIELD(type, member, MSG_FIELD_TEXT, 1, 0, min, max, NULL)
#define PEOPLE_TEXT(type, member) \
    FIELD(type, member, MSG_FIELD_TEXT, 0, 0, 0, MESSAGE_SIZE_MAX, NULL)
#define HASH(type, member) FIELD(type, member, MSG_FIELD_HASH, 1, 0, 0, WIDTH(type, member), NULL)

#define STRUCT(type, member, layout) FIELD(type, member, MSG_FIELD_STRUCT, 1, 0, 0, 0, &(layout))
#define LIST(type, member, count_member, min, max, layout) \
    FIELD(type, member, MSG_FIELD_LIST, 1, offsetof(type, count_member), min, max, &(layout))
#define ARRAY(type, member, count_member, min, max, layout) \
    FIELD(type, member, MSG_FIELD_ARRAY, 1, offsetof(type, count_member), min, max, &(layout))
#define OUTER_ARRAY(type, member, outer, count_member, max, layout) \
    FIELD(type, member, MSG_FIELD_OUTER_ARRAY, 1, offsetof(outer, count_member), 0, max, &(layout))

#define LAYOUT(type, fields)                          \
    {                                                 \
        sizeof(type), false, COUNT_OF(fields), fields \
    }
#define BARE(type, fields)            \
    {                                 \
        sizeof(type), true, 1, fields \
    }

enum {
    REGION_MAX = REGION_COUNT_MAX,
    SHARD_MAX = SHARD_COUNT_MAX - 1,
    REGION_BITS_MAX = (1 << (REGION_COUNT_MAX + 1)) - 1,
    MESSAGE_SIZE_MAX = 1024,    /* texts for people; an errbuf_t and room */
    METRIC_NAME_SIZE_MAX = 128, /* with the names of a tenant and a follower in it */
    METRIC_COUNT_MAX = MSGPACK_MAP_COUNT_MAX,
    CONFIRMED_COUNT_MAX = 65536, /* streams x regions */
    STABLE_COUNT_MAX = 65536,    /* streams of the whole mesh */
    NODE_COUNT_MAX = REGION_COUNT_MAX * SHARD_COUNT_MAX,
    RECONCILE_COUNT_MAX = SHARD_COUNT_MAX * TENANT_COUNT_MAX,
    BLOCKS_SIZE_MAX = WAL_GROUP_SIZE_MAX,
    RECORD_SIZE_MIN = 12, /* one record without a body */
};

/* -- parts ------------------------------------------------------------------------------------- */

static const msg_field_t s_stream_fields[] = {
    UINT(stream_id_t, tenant, 1, UINT64_MAX),
    UINT(stream_id_t, origin.region, 1, REGION_MAX),
    UINT(stream_id_t, origin.shard, 0, SHARD_MAX),
    UINT(stream_id_t, incarnation, 1, UINT64_MAX),
};
static const msg_layout_t s_stream = LAYOUT(stream_id_t, s_stream_fields);

/* All of it may be 0. */
static const msg_field_t s_stream_or_none_fields[] = {
    UINT(stream_id_t, tenant, 0, UINT64_MAX),
    UINT(stream_id_t, origin.region, 0, REGION_MAX),
    UINT(stream_id_t, origin.shard, 0, SHARD_MAX),
    UINT(stream_id_t, incarnation, 0, UINT64_MAX),
};
static const msg_layout_t s_stream_or_none = LAYOUT(stream_id_t, s_stream_or_none_fields);

static const msg_field_t s_hlc_fields[] = {
    TIME(hlc_stamp_t, wall_ns),
    UINT(hlc_stamp_t, logical, 0, UINT32_MAX),
    UINT(hlc_stamp_t, node, 0, UINT32_MAX),
};
static const msg_layout_t s_hlc = LAYOUT(hlc_stamp_t, s_hlc_fields);

static const msg_field_t s_address_fields[] = {
    UINT(process_address_t, kind, PROCESS_NODE, PROCESS_TOOL),
    UINT(process_address_t, region, 0, REGION_MAX),
    UINT(process_address_t, shard, 0, SHARD_MAX),
};
static const msg_layout_t s_address = LAYOUT(process_address_t, s_address_fields);

static const msg_field_t s_node_fields[] = {
    UINT(node_id_t, region, 1, REGION_MAX),
    UINT(node_id_t, shard, 0, SHARD_MAX),
};
static const msg_layout_t s_node = LAYOUT(node_id_t, s_node_fields);

static const msg_field_t s_position_fields[] = {
    STRUCT(stream_position_t, stream, s_stream),
    UINT(stream_position_t, seq, 0, UINT64_MAX),
};
static const msg_layout_t s_position = LAYOUT(stream_position_t, s_position_fields);

/* Elements that stand alone. */
static const msg_field_t s_f64_fields[] = {
    {"f64", MSG_FIELD_F64, 8, 0, 0, 0, 0, NULL},
};
static const msg_layout_t s_f64 = BARE(double, s_f64_fields);

static const msg_field_t s_u64_fields[] = {
    {"u64", MSG_FIELD_UINT, 8, 0, 0, 0, UINT64_MAX, NULL},
};
static const msg_layout_t s_u64 = BARE(uint64_t, s_u64_fields);

static const msg_field_t s_bool_fields[] = {
    {"bool", MSG_FIELD_BOOL, 1, 0, 0, 0, 0, NULL},
};
static const msg_layout_t s_bool = BARE(bool, s_bool_fields);

static const msg_field_t s_text_fields[] = {
    {"text", MSG_FIELD_TEXT, 1, 0, 0, 0, TEXT_SIZE_MAX, NULL},
};
static const msg_layout_t s_text = BARE(slice_t, s_text_fields);

/* -- write ------------------------------------------------------------------------------------- */

static const msg_field_t s_write_fields[] = {
    UINT(msg_write_t, request_id, 0, UINT64_MAX),
    UINT(msg_write_t, tenant, 1, UINT64_MAX),
    UINT(msg_write_t, shard, 0, SHARD_MAX),
    UINT(msg_write_t, level, ACK_LOCAL, ACK_ALL),
    UINT(msg_write_t, timeout_ms, 1, TIMEOUT_MS_MAX),
    BOOL(msg_write_t, has_producer),
    BIN(msg_write_t, producer, 0, PRODUCER_SIZE_MAX),
    UINT(msg_write_t, producer_seq, 0, UINT64_MAX),
    HASH(msg_write_t, content_hash),
    STRUCT(msg_write_t, hlc, s_hlc),
    BOOL(msg_write_t, hlc_is_explicit),
    BIN(msg_write_t, token, 0, TOKEN_SIZE_MAX),
    UINT(msg_write_t, event_count, 1, WAL_BATCH_COUNT_MAX),
    BIN(msg_write_t, payload, RECORD_SIZE_MIN, WAL_PAYLOAD_SIZE_MAX),
};

static const msg_field_t s_session_summary_fields[] = {
    UINT(msg_session_summary_t, session_seq, 0, SESSION_SIGNAL_COUNT_MAX),
    UINT(msg_session_summary_t, signals, 0, UINT64_MAX),
    UINT(msg_session_summary_t, duration_ms, 0, UINT64_MAX),
    BOOL(msg_session_summary_t, closed),
    BOOL(msg_session_summary_t, auto_closed),
};
static const msg_layout_t s_session_summary =
    LAYOUT(msg_session_summary_t, s_session_summary_fields);

static const msg_field_t s_write_reply_fields[] = {
    UINT(msg_write_reply_t, request_id, 0, UINT64_MAX),
    UINT(msg_write_reply_t, code, 0, CODE_COUNT - 1),
    PEOPLE_TEXT(msg_write_reply_t, message),
    UINT(msg_write_reply_t, leader, 0, REGION_MAX),
    UINT(msg_write_reply_t, retry_after_ms, 0, UINT32_MAX),
    UINT(msg_write_reply_t, durability, ACK_NONE, ACK_ALL),
    UINT(msg_write_reply_t, replicas, 0, REGION_BITS_MAX),
    BOOL(msg_write_reply_t, duplicate),
    BOOL(msg_write_reply_t, island),
    BOOL(msg_write_reply_t, has_position),
    STRUCT(msg_write_reply_t, stream, s_stream_or_none),
    UINT(msg_write_reply_t, first_seq, 0, UINT64_MAX),
    UINT(msg_write_reply_t, last_seq, 0, UINT64_MAX),
    STRUCT(msg_write_reply_t, hlc, s_hlc),
    STRUCT(msg_write_reply_t, session, s_session_summary),
};

/* -- read -------------------------------------------------------------------------------------- */

static const msg_field_t s_read_cells_fields[] = {
    BIN_U64(msg_read_t, as.cells.items, 1, CELLS_ITEM_COUNT_MAX),
    BIN(msg_read_t, as.cells.signals, 1, SIGNAL_TYPE_COUNT_MAX),
    BIN(msg_read_t, as.cells.windows, 0, WINDOW_COUNT),
    TEXT(msg_read_t, as.cells.cohort, 0, TEXT_SIZE_MAX),
};

static const msg_field_t s_read_relation_fields[] = {
    UINT(msg_read_t, as.relation.user, 0, UINT64_MAX),
    UINT(msg_read_t, as.relation.item, 0, UINT64_MAX),
    UINT(msg_read_t, as.relation.creator, 0, UINT64_MAX),
};

static const msg_field_t s_read_item_fields[] = {
    UINT(msg_read_t, as.item, 0, UINT64_MAX),
};

static const msg_field_t s_read_user_fields[] = {
    UINT(msg_read_t, as.user, 0, UINT64_MAX),
};

static const msg_field_t s_term_fields[] = {
    UINT(msg_term_t, signal_id, 1, SIGNAL_TYPE_COUNT_MAX),
    UINT(msg_term_t, kind, 0, 2),
    UINT(msg_term_t, window, 0, WINDOW_COUNT - 1),
    F64(msg_term_t, weight),
};
static const msg_layout_t s_term = LAYOUT(msg_term_t, s_term_fields);

static const msg_field_t s_session_signal_fields[] = {
    UINT(msg_session_signal_t, item, 1, UINT64_MAX),
    TIME(msg_session_signal_t, ts_ns),
    F64(msg_session_signal_t, weight),
    UINT(msg_session_signal_t, signal_id, 1, SIGNAL_TYPE_COUNT_MAX),
};
static const msg_layout_t s_session_signal = LAYOUT(msg_session_signal_t, s_session_signal_fields);

static const msg_field_t s_read_retrieve_fields[] = {
    UINT(msg_read_t, as.retrieve.user, 0, UINT64_MAX),
    ARRAY(msg_read_t, as.retrieve.terms, as.retrieve.term_count, 1, PROFILE_TERM_COUNT_MAX, s_term),
    BOOL(msg_read_t, as.retrieve.has_candidates),
    BIN_U64(msg_read_t, as.retrieve.candidates, 0, CANDIDATE_COUNT_MAX),
    ARRAY(msg_read_t,
          as.retrieve.categories,
          as.retrieve.category_count,
          0,
          FILTER_CATEGORY_COUNT_MAX,
          s_text),
    UINT(msg_read_t, as.retrieve.creator, 0, UINT64_MAX),
    TIME_ANY(msg_read_t, as.retrieve.created_after),
    TIME_ANY(msg_read_t, as.retrieve.created_before),
    BOOL(msg_read_t, as.retrieve.unseen),
    TEXT(msg_read_t, as.retrieve.cohort, 0, TEXT_SIZE_MAX),
    UINT(msg_read_t, as.retrieve.limit, 1, RETRIEVE_LIMIT_MAX),
    BOOL(msg_read_t, as.retrieve.has_cursor),
    F64(msg_read_t, as.retrieve.cursor_score),
    UINT(msg_read_t, as.retrieve.cursor_item, 0, UINT64_MAX),
    BOOL(msg_read_t, as.retrieve.explain),
    LIST(msg_read_t,
         as.retrieve.session,
         as.retrieve.session_count,
         0,
         SESSION_ROW_COUNT_MAX,
         s_session_signal),
};

static const msg_field_t s_read_session_fields[] = {
    HASH(msg_read_t, as.session.bytes),
};

static const msg_field_t s_read_pair_fields[] = {
    BIN(msg_read_t, as.pair.producer, 1, PRODUCER_SIZE_MAX),
    UINT(msg_read_t, as.pair.seq, 0, UINT64_MAX),
};

static const msg_layout_t s_read_kinds[MSG_READ_KIND_END] = {
    [0] = {0},
    [READ_CELLS] = LAYOUT(msg_read_t, s_read_cells_fields),
    [READ_RELATION] = LAYOUT(msg_read_t, s_read_relation_fields),
    [READ_ITEM] = LAYOUT(msg_read_t, s_read_item_fields),
    [READ_USER] = LAYOUT(msg_read_t, s_read_user_fields),
    [READ_RETRIEVE] = LAYOUT(msg_read_t, s_read_retrieve_fields),
    [READ_DIGEST] = {0},
    [READ_LAG] = {0},
    [READ_SESSION] = LAYOUT(msg_read_t, s_read_session_fields),
    [READ_PAIR] = LAYOUT(msg_read_t, s_read_pair_fields),
};

static const msg_field_t s_read_fields[] = {
    UINT(msg_read_t, request_id, 0, UINT64_MAX),
    UINT(msg_read_t, tenant, 1, UINT64_MAX),
    UINT(msg_read_t, shard, 0, SHARD_MAX),
    BOOL(msg_read_t, from_leader),
    BIN(msg_read_t, token, 0, TOKEN_SIZE_MAX),
    UINT(msg_read_t, wait_ms, 0, WAIT_MS_MAX),
    UINT(msg_read_t, max_staleness_ms, 0, UINT32_MAX),
    TIME(msg_read_t, at_ns),
    UINT(msg_read_t, kind, READ_CELLS, READ_PAIR),
    FIELD(msg_read_t, as, MSG_FIELD_UNION, 0, offsetof(msg_read_t, kind), 0, 0, s_read_kinds),
};

/* -- read reply -------------------------------------------------------------------------------- */

static const msg_field_t s_staleness_fields[] = {
    UINT(msg_staleness_t, region, 1, REGION_MAX),
    UINT(msg_staleness_t, staleness_ms, 0, UINT32_MAX),
};
static const msg_layout_t s_staleness = LAYOUT(msg_staleness_t, s_staleness_fields);

static const msg_field_t s_cell_fields[] = {
    F64(msg_cell_t, score),
    BOOL(msg_cell_t, score_is_clipped),
    OUTER_ARRAY(msg_cell_t,
                count_is_clipped,
                msg_read_reply_t,
                as.cells.window_count,
                WINDOW_COUNT,
                s_bool),
    OUTER_ARRAY(msg_cell_t, counts, msg_read_reply_t, as.cells.window_count, WINDOW_COUNT, s_u64),
};
static const msg_layout_t s_cell = LAYOUT(msg_cell_t, s_cell_fields);

static const msg_field_t s_reply_cells_fields[] = {
    UINT(msg_read_reply_t, as.cells.window_count, 0, WINDOW_COUNT),
    LIST(msg_read_reply_t, as.cells.cells, as.cells.cell_count, 0, CELLS_RESULT_COUNT_MAX, s_cell),
};

static const msg_field_t s_reply_relation_fields[] = {
    BOOL(msg_read_reply_t, as.relation.hidden),
    STRUCT(msg_read_reply_t, as.relation.hidden_hlc, s_hlc),
    BOOL(msg_read_reply_t, as.relation.blocked),
    STRUCT(msg_read_reply_t, as.relation.blocked_hlc, s_hlc),
};

static const msg_field_t s_reply_item_fields[] = {
    BOOL(msg_read_reply_t, as.item.found),
    UINT(msg_read_reply_t, as.item.present, 0, UINT32_MAX),
    TEXT(msg_read_reply_t, as.item.title, 0, TEXT_SIZE_MAX),
    TEXT(msg_read_reply_t, as.item.text, 0, TEXT_SIZE_MAX),
    TEXT(msg_read_reply_t, as.item.category, 0, TEXT_SIZE_MAX),
    UINT(msg_read_reply_t, as.item.creator, 0, UINT64_MAX),
    TIME(msg_read_reply_t, as.item.created_ns),
    ARRAY(msg_read_reply_t, as.item.tags, as.item.tag_count, 0, TAG_COUNT_MAX, s_text),
};

static const msg_field_t s_attribute_fields[] = {
    TEXT(msg_attribute_t, name, 1, NAME_LENGTH_MAX),
    TEXT(msg_attribute_t, value, 0, TEXT_SIZE_MAX),
};
static const msg_layout_t s_attribute = LAYOUT(msg_attribute_t, s_attribute_fields);

static const msg_field_t s_reply_user_fields[] = {
    BOOL(msg_read_reply_t, as.user.found),
    ARRAY(msg_read_reply_t,
          as.user.attributes,
          as.user.attribute_count,
          0,
          USER_ATTRIBUTE_COUNT_MAX,
          s_attribute),
};

static const msg_field_t s_ranked_fields[] = {
    UINT(msg_ranked_t, item, 1, UINT64_MAX),
    F64(msg_ranked_t, score),
    UINT(msg_ranked_t, creator, 0, UINT64_MAX),
    TEXT(msg_ranked_t, category, 0, TEXT_SIZE_MAX),
    OUTER_ARRAY(msg_ranked_t,
                terms,
                msg_read_reply_t,
                as.retrieve.term_count,
                PROFILE_TERM_COUNT_MAX,
                s_f64),
};
static const msg_layout_t s_ranked = LAYOUT(msg_ranked_t, s_ranked_fields);

static const msg_field_t s_reply_retrieve_fields[] = {
    UINT(msg_read_reply_t, as.retrieve.term_count, 0, PROFILE_TERM_COUNT_MAX),
    LIST(msg_read_reply_t,
         as.retrieve.ranked,
         as.retrieve.ranked_count,
         0,
         RETRIEVE_LIMIT_MAX,
         s_ranked),
    UINT(msg_read_reply_t, as.retrieve.candidate_count, 0, UINT64_MAX),
    UINT(msg_read_reply_t, as.retrieve.filtered_count, 0, UINT64_MAX),
};

static const msg_field_t s_reply_digest_fields[] = {
    HASH(msg_read_reply_t, as.digest.digest),
    UINT(msg_read_reply_t, as.digest.signal_count, 0, UINT64_MAX),
};

static const msg_field_t s_lag_row_fields[] = {
    UINT(msg_lag_row_t, origin, 1, REGION_MAX),
    UINT(msg_lag_row_t, incarnation, 1, UINT64_MAX),
    UINT(msg_lag_row_t, lag_ms, 0, UINT32_MAX),
    UINT(msg_lag_row_t, leader_seq, 0, UINT64_MAX),
    UINT(msg_lag_row_t, applied_seq, 0, UINT64_MAX),
};
static const msg_layout_t s_lag_row = LAYOUT(msg_lag_row_t, s_lag_row_fields);

static const msg_field_t s_reply_lag_fields[] = {
    LIST(msg_read_reply_t, as.lag.rows, as.lag.row_count, 0, STREAM_COUNT_MAX, s_lag_row),
};

static const msg_field_t s_session_row_fields[] = {
    UINT(msg_session_row_t, session_seq, 1, SESSION_SIGNAL_COUNT_MAX),
    STRUCT(msg_session_row_t, signal, s_session_signal),
    STRUCT(msg_session_row_t, origin, s_stream),
};
static const msg_layout_t s_session_row = LAYOUT(msg_session_row_t, s_session_row_fields);

static const msg_field_t s_reply_session_fields[] = {
    BOOL(msg_read_reply_t, as.session.found),
    BOOL(msg_read_reply_t, as.session.closed),
    BOOL(msg_read_reply_t, as.session.auto_closed),
    STRUCT(msg_read_reply_t, as.session.started_hlc, s_hlc),
    STRUCT(msg_read_reply_t, as.session.closed_hlc, s_hlc),
    TEXT(msg_read_reply_t, as.session.agent, 0, SESSION_AGENT_SIZE_MAX),
    BIN(msg_read_reply_t, as.session.meta, 0, SESSION_META_SIZE_MAX),
    LIST(msg_read_reply_t,
         as.session.rows,
         as.session.row_count,
         0,
         SESSION_ROW_COUNT_MAX,
         s_session_row),
};

static const msg_field_t s_reply_pair_fields[] = {
    UINT(msg_read_reply_t, as.pair.found, MSG_PAIR_NOT_SEEN, MSG_PAIR_STABLE),
    HASH(msg_read_reply_t, as.pair.content_hash),
};

static const msg_layout_t s_reply_kinds[MSG_READ_KIND_END] = {
    [0] = {0},
    [READ_CELLS] = LAYOUT(msg_read_reply_t, s_reply_cells_fields),
    [READ_RELATION] = LAYOUT(msg_read_reply_t, s_reply_relation_fields),
    [READ_ITEM] = LAYOUT(msg_read_reply_t, s_reply_item_fields),
    [READ_USER] = LAYOUT(msg_read_reply_t, s_reply_user_fields),
    [READ_RETRIEVE] = LAYOUT(msg_read_reply_t, s_reply_retrieve_fields),
    [READ_DIGEST] = LAYOUT(msg_read_reply_t, s_reply_digest_fields),
    [READ_LAG] = LAYOUT(msg_read_reply_t, s_reply_lag_fields),
    [READ_SESSION] = LAYOUT(msg_read_reply_t, s_reply_session_fields),
    [READ_PAIR] = LAYOUT(msg_read_reply_t, s_reply_pair_fields),
};

static const msg_field_t s_read_reply_fields[] = {
    UINT(msg_read_reply_t, request_id, 0, UINT64_MAX),
    UINT(msg_read_reply_t, code, 0, CODE_COUNT - 1),
    PEOPLE_TEXT(msg_read_reply_t, message),
    UINT(msg_read_reply_t, leader, 0, REGION_MAX),
    TIME(msg_read_reply_t, as_of_ns),
    LIST(msg_read_reply_t, applied, applied_count, 0, STREAM_COUNT_MAX, s_position),
    LIST(msg_read_reply_t, staleness, staleness_count, 0, REGION_COUNT_MAX, s_staleness),
    UINT(msg_read_reply_t, kind, READ_CELLS, READ_PAIR),
    FIELD(msg_read_reply_t,
          as,
          MSG_FIELD_UNION,
          1,
          offsetof(msg_read_reply_t, kind),
          offsetof(msg_read_reply_t, code),
          0,
          s_reply_kinds),
};

/* -- positions --------------------------------------------------------------------------------- */

static const msg_field_t s_log_positions_fields[] = {
    STRUCT(msg_log_positions_t, from, s_address),
    UINT(msg_log_positions_t, boot, 0, UINT64_MAX),
    UINT(msg_log_positions_t, publish_seq, 0, UINT64_MAX),
    LIST(msg_log_positions_t, positions, position_count, 0, STREAM_COUNT_MAX, s_position),
};

static const msg_field_t s_peer_fields[] = {
    UINT(msg_peer_t, region, 0, REGION_MAX),
    BOOL(msg_peer_t, reachable),
    UINT(msg_peer_t, silent_ms, 0, UINT32_MAX),
};
static const msg_layout_t s_peer = LAYOUT(msg_peer_t, s_peer_fields);

static const msg_field_t s_available_entry_fields[] = {
    STRUCT(msg_available_entry_t, stream, s_stream),
    UINT(msg_available_entry_t, durable_seq, 0, UINT64_MAX),
    UINT(msg_available_entry_t, head_seq, 0, UINT64_MAX),
    UINT(msg_available_entry_t, head_age_ms, 0, UINT32_MAX),
    UINT(msg_available_entry_t, origin_seq, 0, UINT64_MAX),
    BOOL(msg_available_entry_t, is_damaged),
    TEXT(msg_available_entry_t, tenant_name, 1, NAME_LENGTH_MAX),
};
static const msg_layout_t s_available_entry =
    LAYOUT(msg_available_entry_t, s_available_entry_fields);

static const msg_field_t s_available_fields[] = {
    STRUCT(msg_available_t, from, s_address),
    UINT(msg_available_t, boot, 0, UINT64_MAX),
    UINT(msg_available_t, publish_seq, 0, UINT64_MAX),
    UINT(msg_available_t, table_version, 0, UINT64_MAX),
    BOOL(msg_available_t, all),
    LIST(msg_available_t, entries, entry_count, 0, STREAM_COUNT_MAX, s_available_entry),
    LIST(msg_available_t, peers, peer_count, 0, REGION_COUNT_MAX + 1, s_peer),
};

static const msg_field_t s_confirmed_entry_fields[] = {
    UINT(msg_confirmed_entry_t, region, 1, REGION_MAX),
    STRUCT(msg_confirmed_entry_t, stream, s_stream),
    UINT(msg_confirmed_entry_t, seq, 0, UINT64_MAX),
    UINT(msg_confirmed_entry_t, epoch, 0, UINT64_MAX),
    HASH(msg_confirmed_entry_t, last_hash),
};
static const msg_layout_t s_confirmed_entry =
    LAYOUT(msg_confirmed_entry_t, s_confirmed_entry_fields);

static const msg_field_t s_confirmed_fields[] = {
    STRUCT(msg_confirmed_t, from, s_address),
    UINT(msg_confirmed_t, boot, 0, UINT64_MAX),
    UINT(msg_confirmed_t, publish_seq, 0, UINT64_MAX),
    BOOL(msg_confirmed_t, all),
    LIST(msg_confirmed_t, entries, entry_count, 0, CONFIRMED_COUNT_MAX, s_confirmed_entry),
    LIST(msg_confirmed_t, peers, peer_count, 0, REGION_COUNT_MAX + 1, s_peer),
};

/* -- links ------------------------------------------------------------------------------------- */

static const msg_field_t s_ship_hello_fields[] = {
    STRUCT(msg_ship_hello_t, from, s_address),
    UINT(msg_ship_hello_t, boot, 0, UINT64_MAX),
    UINT(msg_ship_hello_t, protocol, 0, UINT32_MAX),
    UINT(msg_ship_hello_t, fingerprint, 0, UINT64_MAX),
};

static const msg_field_t s_ship_blocks_fields[] = {
    STRUCT(msg_ship_blocks_t, from, s_address),
    UINT(msg_ship_blocks_t, boot, 0, UINT64_MAX),
    STRUCT(msg_ship_blocks_t, stream, s_stream),
    UINT(msg_ship_blocks_t, first_seq, 1, UINT64_MAX),
    UINT(msg_ship_blocks_t, last_seq, 1, UINT64_MAX),
    UINT(msg_ship_blocks_t, head_seq, 0, UINT64_MAX),
    BIN(msg_ship_blocks_t, blocks, 1, BLOCKS_SIZE_MAX),
};

static const msg_field_t s_head_fields[] = {
    STRUCT(msg_head_t, stream, s_stream),
    UINT(msg_head_t, head_seq, 0, UINT64_MAX),
    TEXT(msg_head_t, tenant_name, 1, NAME_LENGTH_MAX),
};
static const msg_layout_t s_head = LAYOUT(msg_head_t, s_head_fields);

static const msg_field_t s_ship_heads_fields[] = {
    STRUCT(msg_ship_heads_t, from, s_address),
    UINT(msg_ship_heads_t, boot, 0, UINT64_MAX),
    UINT(msg_ship_heads_t, known_shards, 0, UINT64_MAX),
    LIST(msg_ship_heads_t, heads, head_count, 0, STREAM_COUNT_MAX, s_head),
};

static const msg_field_t s_receiver_entry_fields[] = {
    STRUCT(msg_receiver_entry_t, stream, s_stream),
    UINT(msg_receiver_entry_t, durable_seq, 0, UINT64_MAX),
    UINT(msg_receiver_entry_t, epoch, 0, UINT64_MAX),
    HASH(msg_receiver_entry_t, last_hash),
    BOOL(msg_receiver_entry_t, resend),
    BOOL(msg_receiver_entry_t, wanted),
};
static const msg_layout_t s_receiver_entry = LAYOUT(msg_receiver_entry_t, s_receiver_entry_fields);

static const msg_field_t s_receiver_status_fields[] = {
    STRUCT(msg_receiver_status_t, from, s_address),
    UINT(msg_receiver_status_t, boot, 0, UINT64_MAX),
    BOOL(msg_receiver_status_t, all),
    UINT(msg_receiver_status_t, window_bytes, 0, UINT64_MAX),
    LIST(msg_receiver_status_t, entries, entry_count, 0, STREAM_COUNT_MAX, s_receiver_entry),
};

/* -- mesh -------------------------------------------------------------------------------------- */

static const msg_field_t s_usage_fields[] = {
    UINT(msg_usage_t, origin, 1, REGION_MAX),
    UINT(msg_usage_t, signals, 0, UINT64_MAX),
    UINT(msg_usage_t, voided, 0, UINT64_MAX),
    UINT(msg_usage_t, bytes, 0, UINT64_MAX),
};
static const msg_layout_t s_usage = LAYOUT(msg_usage_t, s_usage_fields);

static const msg_field_t s_node_state_fields[] = {
    UINT(msg_node_state_t, tenant, 1, UINT64_MAX),
    HASH(msg_node_state_t, digest),
    UINT(msg_node_state_t, signal_count, 0, UINT64_MAX),
    LIST(msg_node_state_t, applied, applied_count, 0, STREAM_COUNT_MAX, s_position),
    LIST(msg_node_state_t, lag, lag_count, 0, STREAM_COUNT_MAX, s_lag_row),
    LIST(msg_node_state_t, usage, usage_count, 0, REGION_COUNT_MAX, s_usage),
};
static const msg_layout_t s_node_state = LAYOUT(msg_node_state_t, s_node_state_fields);

static const msg_field_t s_metric_fields[] = {
    TEXT(msg_metric_t, name, 1, METRIC_NAME_SIZE_MAX),
    F64_ANY(msg_metric_t, value),
};
static const msg_layout_t s_metric = LAYOUT(msg_metric_t, s_metric_fields);

static const msg_field_t s_heartbeat_fields[] = {
    STRUCT(msg_heartbeat_t, from, s_address),
    UINT(msg_heartbeat_t, boot, 0, UINT64_MAX),
    UINT(msg_heartbeat_t, publish_seq, 0, UINT64_MAX),
    TIME(msg_heartbeat_t, wall_ns),
    UINT(msg_heartbeat_t, table_version, 0, UINT64_MAX),
    BOOL(msg_heartbeat_t, ready),
    PEOPLE_TEXT(msg_heartbeat_t, reasons),
    LIST(msg_heartbeat_t, peers, peer_count, 0, REGION_COUNT_MAX + 1, s_peer),
    LIST(msg_heartbeat_t, states, state_count, 0, TENANT_COUNT_MAX, s_node_state),
    LIST(msg_heartbeat_t, metrics, metric_count, 0, METRIC_COUNT_MAX, s_metric),
};

static const msg_field_t s_clock_fields[] = {
    STRUCT(msg_clock_t, node, s_node),
    UINT(msg_clock_t, ahead_ms, 0, UINT32_MAX),
};
static const msg_layout_t s_clock = LAYOUT(msg_clock_t, s_clock_fields);

static const msg_field_t s_table_fields[] = {
    UINT(msg_table_t, boot, 0, UINT64_MAX),
    UINT(msg_table_t, publish_seq, 0, UINT64_MAX),
    BIN(msg_table_t, table, 0, INTERNAL_MESSAGE_SIZE_MAX),
    LIST(msg_table_t, stable, stable_count, 0, STABLE_COUNT_MAX, s_position),
    LIST(msg_table_t, clocks, clock_count, 0, NODE_COUNT_MAX, s_clock),
};

static const msg_field_t s_log_range_fields[] = {
    STRUCT(msg_log_range_t, stream, s_stream),
    UINT(msg_log_range_t, begin_seq, 0, UINT64_MAX),
    UINT(msg_log_range_t, end_seq, 0, UINT64_MAX),
};
static const msg_layout_t s_log_range = LAYOUT(msg_log_range_t, s_log_range_fields);

static const msg_field_t s_reconcile_row_fields[] = {
    STRUCT(msg_reconcile_row_t, node, s_node),
    UINT(msg_reconcile_row_t, tenant, 1, UINT64_MAX),
    BOOL(msg_reconcile_row_t, answered),
    HASH(msg_reconcile_row_t, digest),
    LIST(msg_reconcile_row_t, applied, applied_count, 0, STREAM_COUNT_MAX, s_position),
    BOOL(msg_reconcile_row_t, looked),
    BOOL(msg_reconcile_row_t, has_base),
    BOOL(msg_reconcile_row_t, base_is_lost),
    LIST(msg_reconcile_row_t, ranges, range_count, 0, STREAM_COUNT_MAX, s_log_range),
};
static const msg_layout_t s_reconcile_row = LAYOUT(msg_reconcile_row_t, s_reconcile_row_fields);

static const msg_field_t s_reconcile_state_fields[] = {
    STRUCT(msg_reconcile_state_t, from, s_address),
    UINT(msg_reconcile_state_t, boot, 0, UINT64_MAX),
    BOOL(msg_reconcile_state_t, answer),
    LIST(msg_reconcile_state_t, rows, row_count, 0, RECONCILE_COUNT_MAX, s_reconcile_row),
};

static const msg_field_t s_who_are_you_fields[] = {
    STRUCT(msg_who_are_you_t, from, s_address),
};

static const msg_field_t s_damaged_fields[] = {
    STRUCT(msg_damaged_t, from, s_address),
    STRUCT(msg_damaged_t, stream, s_stream),
    UINT(msg_damaged_t, seq, 0, UINT64_MAX),
};

static const msg_field_t s_fetch_fields[] = {
    STRUCT(msg_fetch_t, from, s_address),
    STRUCT(msg_fetch_t, stream, s_stream),
    UINT(msg_fetch_t, through_seq, 1, UINT64_MAX),
    UINT(msg_fetch_t, region, 1, REGION_COUNT_MAX),
};

static const msg_field_t s_lost_fields[] = {
    STRUCT(msg_lost_t, from, s_address),
    STRUCT(msg_lost_t, stream, s_stream),
};

/* -- repair ------------------------------------------------------------------------------------ */

static const msg_field_t s_rebuild_fields[] = {
    UINT(msg_rebuild_t, request_id, 0, UINT64_MAX),
    UINT(msg_rebuild_t, tenant, 1, UINT64_MAX),
    UINT(msg_rebuild_t, shard, 0, SHARD_MAX),
};

static const msg_field_t s_difference_fields[] = {
    TEXT(msg_difference_t, key, 1, REBUILD_TEXT_SIZE_MAX),
    TEXT(msg_difference_t, found, 1, REBUILD_TEXT_SIZE_MAX),
    TEXT(msg_difference_t, expected, 1, REBUILD_TEXT_SIZE_MAX),
};
static const msg_layout_t s_difference = LAYOUT(msg_difference_t, s_difference_fields);

static const msg_field_t s_rebuild_reply_fields[] = {
    UINT(msg_rebuild_reply_t, request_id, 0, UINT64_MAX),
    UINT(msg_rebuild_reply_t, tenant, 1, UINT64_MAX),
    UINT(msg_rebuild_reply_t, shard, 0, SHARD_MAX),
    UINT(msg_rebuild_reply_t, code, 0, CODE_COUNT - 1),
    PEOPLE_TEXT(msg_rebuild_reply_t, message),
    BOOL(msg_rebuild_reply_t, different),
    UINT(msg_rebuild_reply_t, event_count, 0, UINT64_MAX),
    UINT(msg_rebuild_reply_t, voided_count, 0, UINT64_MAX),
    UINT(msg_rebuild_reply_t, took_ms, 0, UINT32_MAX),
    HASH(msg_rebuild_reply_t, found),
    HASH(msg_rebuild_reply_t, rebuilt),
    UINT(msg_rebuild_reply_t, difference_count, 0, UINT64_MAX),
    LIST(msg_rebuild_reply_t, listed, listed_count, 0, REBUILD_DIFFERENCE_COUNT_MAX, s_difference),
};

static const msg_field_t s_log_floor_fields[] = {
    STRUCT(msg_log_floor_t, from, s_address),
    LIST(msg_log_floor_t, floors, floor_count, 0, STREAM_COUNT_MAX, s_position),
};

/* -- snapshots --------------------------------------------------------------------------------- */

static const msg_field_t s_base_task_fields[] = {
    UINT(msg_base_task_t, request_id, 0, UINT64_MAX),
    UINT(msg_base_task_t, tenant, 1, UINT64_MAX),
    UINT(msg_base_task_t, shard, 0, SHARD_MAX),
    UINT(msg_base_task_t, kind, BASE_TASK_LOOK, BASE_TASK_TAKE),
};

static const msg_field_t s_base_reply_fields[] = {
    UINT(msg_base_reply_t, request_id, 0, UINT64_MAX),
    UINT(msg_base_reply_t, tenant, 1, UINT64_MAX),
    UINT(msg_base_reply_t, shard, 0, SHARD_MAX),
    UINT(msg_base_reply_t, kind, BASE_TASK_LOOK, BASE_TASK_TAKE),
    UINT(msg_base_reply_t, code, 0, CODE_COUNT - 1),
    PEOPLE_TEXT(msg_base_reply_t, message),
    BOOL(msg_base_reply_t, has_base),
    BOOL(msg_base_reply_t, base_is_lost),
    LIST(msg_base_reply_t, ranges, range_count, 0, STREAM_COUNT_MAX, s_log_range),
};

static const msg_field_t s_snapshot_ask_fields[] = {
    STRUCT(msg_snapshot_ask_t, from, s_address),
    UINT(msg_snapshot_ask_t, request_id, 0, UINT64_MAX),
    UINT(msg_snapshot_ask_t, tenant, 1, UINT64_MAX),
    UINT(msg_snapshot_ask_t, shard, 0, SHARD_MAX),
    HASH(msg_snapshot_ask_t, hash),
    UINT(msg_snapshot_ask_t, offset, 0, SNAPSHOT_SIZE_MAX),
};

static const msg_field_t s_snapshot_piece_fields[] = {
    STRUCT(msg_snapshot_piece_t, from, s_address),
    UINT(msg_snapshot_piece_t, request_id, 0, UINT64_MAX),
    UINT(msg_snapshot_piece_t, tenant, 1, UINT64_MAX),
    UINT(msg_snapshot_piece_t, shard, 0, SHARD_MAX),
    UINT(msg_snapshot_piece_t, code, 0, CODE_COUNT - 1),
    PEOPLE_TEXT(msg_snapshot_piece_t, message),
    HASH(msg_snapshot_piece_t, hash),
    UINT(msg_snapshot_piece_t, size_bytes, 0, SNAPSHOT_SIZE_MAX),
    UINT(msg_snapshot_piece_t, offset, 0, SNAPSHOT_SIZE_MAX),
    BIN(msg_snapshot_piece_t, bytes, 0, SNAPSHOT_PIECE_SIZE_MAX),
};

/* -- messages ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    msg_layout_t layout;
} s_types[] = {
    [MSG_WRITE] = {"WRITE", LAYOUT(msg_write_t, s_write_fields)},
    [MSG_WRITE_REPLY] = {"WRITE_REPLY", LAYOUT(msg_write_reply_t, s_write_reply_fields)},
    [MSG_READ] = {"READ", LAYOUT(msg_read_t, s_read_fields)},
    [MSG_READ_REPLY] = {"READ_REPLY", LAYOUT(msg_read_reply_t, s_read_reply_fields)},
    [MSG_LOG_POSITIONS] = {"LOG_POSITIONS", LAYOUT(msg_log_positions_t, s_log_positions_fields)},
    [MSG_AVAILABLE] = {"AVAILABLE", LAYOUT(msg_available_t, s_available_fields)},
    [MSG_CONFIRMED] = {"CONFIRMED", LAYOUT(msg_confirmed_t, s_confirmed_fields)},
    [MSG_SHIP_HELLO] = {"SHIP_HELLO", LAYOUT(msg_ship_hello_t, s_ship_hello_fields)},
    [MSG_SHIP_BLOCKS] = {"SHIP_BLOCKS", LAYOUT(msg_ship_blocks_t, s_ship_blocks_fields)},
    [MSG_SHIP_HEADS] = {"SHIP_HEADS", LAYOUT(msg_ship_heads_t, s_ship_heads_fields)},
    [MSG_RECEIVER_STATUS] = {"RECEIVER_STATUS",
                             LAYOUT(msg_receiver_status_t, s_receiver_status_fields)},
    [MSG_WHO_ARE_YOU] = {"WHO_ARE_YOU", LAYOUT(msg_who_are_you_t, s_who_are_you_fields)},
    [MSG_HEARTBEAT] = {"HEARTBEAT", LAYOUT(msg_heartbeat_t, s_heartbeat_fields)},
    [MSG_TABLE] = {"TABLE", LAYOUT(msg_table_t, s_table_fields)},
    [MSG_TABLE_REQUEST] = {"TABLE_REQUEST", {0}},
    [MSG_RECONCILE_STATE] = {"RECONCILE_STATE",
                             LAYOUT(msg_reconcile_state_t, s_reconcile_state_fields)},
    [MSG_DAMAGED] = {"DAMAGED", LAYOUT(msg_damaged_t, s_damaged_fields)},
    [MSG_FETCH] = {"FETCH", LAYOUT(msg_fetch_t, s_fetch_fields)},
    [MSG_LOST] = {"LOST", LAYOUT(msg_lost_t, s_lost_fields)},
    [MSG_REBUILD] = {"REBUILD", LAYOUT(msg_rebuild_t, s_rebuild_fields)},
    [MSG_LOG_FLOOR] = {"LOG_FLOOR", LAYOUT(msg_log_floor_t, s_log_floor_fields)},
    [MSG_REBUILD_REPLY] = {"REBUILD_REPLY", LAYOUT(msg_rebuild_reply_t, s_rebuild_reply_fields)},
    [MSG_BASE_TASK] = {"BASE_TASK", LAYOUT(msg_base_task_t, s_base_task_fields)},
    [MSG_BASE_REPLY] = {"BASE_REPLY", LAYOUT(msg_base_reply_t, s_base_reply_fields)},
    [MSG_SNAPSHOT_ASK] = {"SNAPSHOT_ASK", LAYOUT(msg_snapshot_ask_t, s_snapshot_ask_fields)},
    [MSG_SNAPSHOT_PIECE] = {"SNAPSHOT_PIECE",
                            LAYOUT(msg_snapshot_piece_t, s_snapshot_piece_fields)},
};

const msg_layout_t *msg_layout_of(uint64_t type)
{
    return type >= MSG_WRITE && type < COUNT_OF(s_types) ? &s_types[type].layout : NULL;
}

const char *msg_type_name(uint64_t type)
{
    return msg_layout_of(type) == NULL ? "?" : s_types[type].name;
}

const msg_layout_t *msg_union_layout(const msg_field_t *field, const uint8_t *base)
{
    uint32_t kind = msg_count_at(base, field->count_offset);
    if (field->width == 1 && msg_count_at(base, (uint16_t)field->min) != CODE_OK) {
        kind = 0;
    }
    return &field->layout[kind];
}

/* -- rules over several fields ----------------------------------------------------------------- */

static bool s_bytes_within(slice_t bytes, uint8_t min, uint8_t max)
{
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] < min || bytes.data[i] > max) {
            return false;
        }
    }
    return true;
}

static const char *s_find_cells(const msg_read_cells_t *cells)
{
    size_t windows = cells->windows.size == 0 ? 1 : cells->windows.size;
    if (cells->items.size / 8 * cells->signals.size * windows > CELLS_RESULT_COUNT_MAX) {
        return "items x signals x windows is at most CELLS_RESULT_COUNT_MAX";
    }
    if (!s_bytes_within(cells->signals, 1, SIGNAL_TYPE_COUNT_MAX)) {
        return "each signal is 1..SIGNAL_TYPE_COUNT_MAX";
    }
    if (!s_bytes_within(cells->windows, 0, WINDOW_COUNT - 1)) {
        return "each window is 0..WINDOW_COUNT - 1";
    }
    return NULL;
}

static const char *s_find_read(const msg_read_t *read)
{
    if (read->kind == READ_CELLS) {
        return s_find_cells(&read->as.cells);
    }
    bool both = read->as.relation.item.value != 0 && read->as.relation.creator.value != 0;
    bool none = read->as.relation.item.value == 0 && read->as.relation.creator.value == 0;
    if (read->kind == READ_RELATION && (both || none)) {
        return "one of item and creator is 0, the other is not";
    }
    return NULL;
}

const char *msg_find_contradiction(const msg_t *msg)
{
    if (msg->type == MSG_WRITE && msg->as.write.has_producer != (msg->as.write.producer.size > 0)) {
        return "has_producer says whether producer has bytes";
    }
    if (msg->type == MSG_SHIP_BLOCKS &&
        msg->as.ship_blocks.last_seq < msg->as.ship_blocks.first_seq) {
        return "last_seq is not below first_seq";
    }
    return msg->type == MSG_READ ? s_find_read(&msg->as.read) : NULL;
}
