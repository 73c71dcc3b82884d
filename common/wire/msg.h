/* Every message between processes of the mesh, as one tagged union.
 *
 * On the wire a message is one msgpack array: [type, fields in the order they stand in the struct].
 * A stream id is [tenant, region, shard, incarnation]; an hlc [wall, logical, node]; a process
 * address [kind, region, shard]; byte strings are bin, texts str, sets of regions an integer of
 * bits, lists arrays of arrays. Hashes are bin of their exact size. A decoder accepts exactly this,
 * within bounds.h, or answers ERR_CORRUPT; trailing fields that it does not know are ERR_CORRUPT as
 * well, since both sides belong to one release (MSG_SHIP_HELLO carries the version).
 *
 * Client requests and replies are maps and live in client_request.h and client_reply.h. */
#ifndef TIDAL_COMMON_WIRE_MSG_H
#define TIDAL_COMMON_WIRE_MSG_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/hlc.h"
#include "common/base/ids.h"

enum { MSG_PROTOCOL_VERSION = 3, MSG_HASH_SIZE = 32, MSG_CONTENT_HASH_SIZE = 16 };

/* Append only: numbers are on the wire. */
typedef enum {
    MSG_WRITE = 1,
    MSG_WRITE_REPLY = 2,
    MSG_READ = 3,
    MSG_READ_REPLY = 4,
    MSG_LOG_POSITIONS = 5,
    MSG_AVAILABLE = 6,
    MSG_CONFIRMED = 7,
    MSG_SHIP_HELLO = 8,
    MSG_SHIP_BLOCKS = 9,
    MSG_SHIP_HEADS = 10,
    MSG_RECEIVER_STATUS = 11,
    MSG_WHO_ARE_YOU = 12,
    MSG_HEARTBEAT = 13,
    MSG_TABLE = 14,
    MSG_TABLE_REQUEST = 15,
    MSG_RECONCILE_STATE = 16,
    MSG_DAMAGED = 17,
    MSG_FETCH = 18,
    MSG_LOST = 19,
    MSG_REBUILD = 20,
    MSG_REBUILD_REPLY = 21,
    MSG_LOG_FLOOR = 22,
    MSG_BASE_TASK = 23,
    MSG_BASE_REPLY = 24,
    MSG_SNAPSHOT_ASK = 25,
    MSG_SNAPSHOT_PIECE = 26
} msg_type_t;

/* Answers of a node to a request; the client protocol's error codes, 0 for ok. Append only. */
#define MSG_CODE_LIST(X) \
    X(OK)                \
    X(BAD_REQUEST)       \
    X(UNKNOWN_OP)        \
    X(UNKNOWN_SIGNAL)    \
    X(UNKNOWN_TENANT)    \
    X(NOT_FOUND)         \
    X(READ_ONLY)         \
    X(UNAVAILABLE)       \
    X(NOT_REPLICATED)    \
    X(PARTIAL)           \
    X(OVERLOADED)        \
    X(STALE)             \
    X(QUOTA)             \
    X(FORBIDDEN)         \
    X(TOO_LARGE)         \
    X(CLOCK_SKEW)        \
    X(CORRUPT)           \
    X(DISK_FULL)         \
    X(TIMEOUT)           \
    X(INTERNAL)

#define MSG_CODE_ENUM(name) CODE_##name,
typedef enum { MSG_CODE_LIST(MSG_CODE_ENUM) CODE_COUNT } code_t;
#undef MSG_CODE_ENUM

/* "BAD_REQUEST" and so on; lives for ever. */
const char *code_name(code_t code);
/* Whether the same request may succeed later without a change of the request. */
bool code_is_retryable(code_t code);

/* How far a write has got, or must get (design idea 4). Ordered. */
typedef enum { ACK_NONE = 0, ACK_LOCAL = 1, ACK_REPLICATED = 2, ACK_ALL = 3 } ack_level_t;

/* -- requests to a node ------------------------------------------------------------------------ */

/* One request's part for one shard: becomes one batch, whole or absent. */
typedef struct {
    uint64_t request_id; /* of the sender; echoed */
    tenant_id_t tenant;
    shard_id_t shard;
    ack_level_t level;   /* LOCAL..ALL */
    uint32_t timeout_ms; /* 1..TIMEOUT_MS_MAX: then NOT_REPLICATED */
    bool has_producer;
    slice_t producer;
    uint64_t producer_seq;
    uint8_t content_hash[MSG_CONTENT_HASH_SIZE];
    hlc_stamp_t hlc;      /* of a register write, becomes the batch's; zero: the leader draws */
    bool hlc_is_explicit; /* the client chose it: held against the drift bound */
    slice_t token;        /* the leader must have reached it before it logs; may be empty */
    uint32_t event_count;
    slice_t payload; /* records, common/wal/record.h */
} msg_write_t;

/* How a session stands after a write of it. */
typedef struct {
    uint32_t session_seq; /* that the signal written has; 0: none, or no longer known */
    uint64_t signals;     /* that count */
    uint64_t duration_ms; /* from its start to its close, or to the last signal */
    bool closed;
    bool auto_closed; /* for its age */
} msg_session_summary_t;

typedef struct {
    uint64_t request_id;
    code_t code;
    slice_t message;         /* text for people when code is not OK; names what to do next */
    region_id_t leader;      /* with READ_ONLY: who leads, 0 unknown */
    uint32_t retry_after_ms; /* 0: nothing to say */
    ack_level_t durability;  /* level held now */
    region_set_t replicas;   /* regions that hold it durably */
    bool duplicate;          /* logged before, by an earlier copy of this request */
    bool island;             /* taken by a follower that is cut off from its leader */
    bool has_position;       /* the next four are known */
    stream_id_t stream;
    uint64_t first_seq;
    uint64_t last_seq;
    hlc_stamp_t hlc;
    msg_session_summary_t session; /* of a write of a session, with OK; else zero */
} msg_write_reply_t;

typedef enum {
    READ_CELLS = 1,
    READ_RELATION = 2,
    READ_ITEM = 3,
    READ_USER = 4,
    READ_RETRIEVE = 5,
    READ_DIGEST = 6,
    READ_LAG = 7,
    READ_SESSION = 8,
    READ_PAIR = 9
} read_kind_t;

/* What a shard knows of a pair (common/session/dedup.h). */
typedef enum {
    MSG_PAIR_NOT_SEEN = 0,
    MSG_PAIR_SEEN = 1,  /* the content that it stands for is known */
    MSG_PAIR_STABLE = 2 /* it was seen, and of what content is forgotten */
} msg_pair_t;

typedef struct {
    slice_t items;   /* u64 LE each, 1..CELLS_ITEM_COUNT_MAX */
    slice_t signals; /* u8 ids, 1..SIGNAL_TYPE_COUNT_MAX */
    slice_t windows; /* u8 window_t, 0..WINDOW_COUNT */
    slice_t cohort;  /* name, empty: everybody */
} msg_read_cells_t;

typedef struct {
    uint8_t signal_id;
    uint8_t kind;   /* term_kind_t */
    uint8_t window; /* window_t */
    double weight;
} msg_term_t;

/* A signal of a session that counts for one answer. */
typedef struct {
    item_id_t item;
    int64_t ts_ns;
    double weight; /* |weight| <= 1e9 */
    uint8_t signal_id;
} msg_session_signal_t;

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order of the wire */
typedef struct {
    user_id_t user;      /* 0: no hides, mutes, blocks */
    uint32_t term_count; /* 1..PROFILE_TERM_COUNT_MAX */
    msg_term_t terms[PROFILE_TERM_COUNT_MAX];
    bool has_candidates;
    slice_t candidates;      /* u64 LE each, those of this shard; others are not looked at */
    uint32_t category_count; /* 0: any */
    slice_t categories[FILTER_CATEGORY_COUNT_MAX];
    creator_id_t creator;   /* 0: any */
    int64_t created_after;  /* INT64_MIN: no bound; exclusive */
    int64_t created_before; /* INT64_MAX: no bound; exclusive */
    bool unseen;
    slice_t cohort;
    uint32_t limit;  /* 1..RETRIEVE_LIMIT_MAX; best of this shard */
    bool has_cursor; /* only what ranks strictly after (cursor_score, cursor_item) */
    double cursor_score;
    item_id_t cursor_item;
    bool explain;
    uint32_t session_count; /* of items of this shard */
    const msg_session_signal_t *session;
} msg_read_retrieve_t;

typedef struct {
    uint64_t request_id;
    tenant_id_t tenant;
    shard_id_t shard;
    bool from_leader;          /* refuse with READ_ONLY when not the leader */
    slice_t token;             /* wait until reached */
    uint32_t wait_ms;          /* 0..WAIT_MS_MAX; then STALE */
    uint32_t max_staleness_ms; /* UINT32_MAX: any */
    int64_t at_ns;
    read_kind_t kind;
    union {
        msg_read_cells_t cells;
        struct {
            user_id_t user;
            item_id_t item; /* one of item and creator is not 0 */
            creator_id_t creator;
        } relation;
        item_id_t item;
        user_id_t user;
        msg_read_retrieve_t retrieve;
        session_id_t session;
        struct {
            slice_t producer; /* 1..PRODUCER_SIZE_MAX bytes */
            uint64_t seq;
        } pair;
    } as;
} msg_read_t;

/* Of one origin region: how old what this replica has of it is. */
typedef struct {
    region_id_t region;
    uint32_t staleness_ms; /* UINT32_MAX: never heard of since the start */
} msg_staleness_t;

typedef struct {
    double score;
    bool score_is_clipped;
    bool count_is_clipped[WINDOW_COUNT]; /* by place in the request's windows */
    uint64_t counts[WINDOW_COUNT];
} msg_cell_t;

typedef struct {
    item_id_t item;
    double score;
    creator_id_t creator;                 /* 0 unknown; for diversity */
    slice_t category;                     /* empty unknown */
    double terms[PROFILE_TERM_COUNT_MAX]; /* with explain: weight * value, in the order asked */
} msg_ranked_t;

typedef struct {
    region_id_t origin;
    uint32_t lag_ms;
    uint64_t incarnation;
    uint64_t leader_seq; /* highest durable at the origin that was heard of */
    uint64_t applied_seq;
} msg_lag_row_t;

typedef struct {
    slice_t name;
    slice_t value;
} msg_attribute_t;

typedef struct {
    uint32_t session_seq; /* which one of its session in its origin, from 1 */
    msg_session_signal_t signal;
    stream_id_t origin;
} msg_session_row_t;

typedef struct {
    uint64_t request_id;
    code_t code;
    slice_t message;
    region_id_t leader;
    int64_t as_of_ns;
    uint32_t applied_count;
    const stream_position_t *applied; /* in the order of stream_id_compare */
    uint32_t staleness_count;
    const msg_staleness_t *staleness;
    read_kind_t kind; /* of the request; the union is filled only when code is OK */
    union {
        struct {
            uint32_t cell_count; /* items x signals, item-major */
            uint32_t window_count;
            const msg_cell_t *cells;
        } cells;
        struct {
            bool hidden; /* or muted when a creator was asked */
            hlc_stamp_t hidden_hlc;
            bool blocked;
            hlc_stamp_t blocked_hlc;
        } relation;
        struct {
            bool found;
            uint32_t present; /* bit item_field_t for each field that is set */
            slice_t title;
            slice_t text;
            slice_t category;
            uint64_t creator;
            int64_t created_ns;
            uint32_t tag_count;
            slice_t tags[TAG_COUNT_MAX];
        } item;
        struct {
            bool found;
            uint32_t attribute_count;
            msg_attribute_t attributes[USER_ATTRIBUTE_COUNT_MAX];
        } user;
        struct {
            uint32_t ranked_count;
            uint32_t term_count;        /* terms per item; 0 without explain */
            const msg_ranked_t *ranked; /* best first, equal scores by ascending item */
            uint64_t candidate_count;
            uint64_t filtered_count;
        } retrieve;
        struct {
            uint8_t digest[MSG_HASH_SIZE];
            uint64_t signal_count; /* sum of all-time counts, cells without cohort */
        } digest;
        struct {
            uint32_t row_count;
            const msg_lag_row_t *rows;
        } lag;
        struct {
            bool found; /* it was started; else the rest is zero */
            bool closed;
            bool auto_closed;
            hlc_stamp_t started_hlc;
            hlc_stamp_t closed_hlc; /* zero while it is open */
            slice_t agent;
            slice_t meta; /* one msgpack value, as the client sent it, or nothing */
            uint32_t row_count;
            const msg_session_row_t *rows; /* in HLC order; the newest SESSION_ROW_COUNT_MAX */
        } session;
        struct {
            msg_pair_t found;
            uint8_t content_hash[MSG_CONTENT_HASH_SIZE]; /* SEEN; else zero */
        } pair;
    } as;
} msg_read_reply_t;

/* -- positions, inside a region ---------------------------------------------------------------- */

/* Node to its region: own streams are durable up to here. Cumulative, and repeated with the
 * heartbeat. */
typedef struct {
    process_address_t from;
    uint64_t boot;        /* of the sender, drawn at its start */
    uint64_t publish_seq; /* numbers what this boot published, from 1 */
    uint32_t position_count;
    const stream_position_t *positions;
} msg_log_positions_t;

typedef struct {
    stream_id_t stream;
    uint64_t durable_seq; /* replica file is durable up to here */
    uint64_t head_seq;    /* highest that a region claims; goes back when nobody does any more */
    uint32_t head_age_ms; /* since the origin's region reported last; UINT32_MAX never */
    uint64_t origin_seq;  /* how far the origin's region has it, as that region itself told last */
    bool is_damaged;      /* the file has less than it had, and fetches it again */
    slice_t tenant_name;  /* for the path of the files */
} msg_available_entry_t;

typedef struct {
    region_id_t region;
    bool reachable;     /* something was heard within peer_silent_ms */
    uint32_t silent_ms; /* UINT32_MAX never heard */
} msg_peer_t;

/* Receiver to the nodes of its region. `all` marks the periodic full list. */
typedef struct {
    process_address_t from;
    uint64_t boot;
    uint64_t publish_seq;
    uint64_t table_version; /* of the routing table that the receiver has stored; 0 none */
    bool all;
    uint32_t entry_count;
    const msg_available_entry_t *entries;
    uint32_t peer_count; /* with `all`: when each other region's heads were heard last */
    const msg_peer_t *peers;
} msg_available_t;

typedef struct {
    region_id_t region;
    stream_id_t stream;
    uint64_t seq;                     /* durable in that region up to here */
    uint64_t epoch;                   /* that its receiver has stored for this (tenant, shard) */
    uint8_t last_hash[MSG_HASH_SIZE]; /* of the batch that ends at seq; zero when seq is 0 */
} msg_confirmed_entry_t;

/* Shipper to the nodes of its region. */
typedef struct {
    process_address_t from;
    uint64_t boot;
    uint64_t publish_seq;
    bool all; /* every stream and peer is in it */
    uint32_t entry_count;
    const msg_confirmed_entry_t *entries;
    uint32_t peer_count;
    const msg_peer_t *peers;
} msg_confirmed_t;

/* -- links: shipper to receiver and back ------------------------------------------------------- */

typedef struct {
    process_address_t from;
    uint64_t boot;
    uint32_t protocol;    /* MSG_PROTOCOL_VERSION */
    uint64_t fingerprint; /* of the topology */
} msg_ship_hello_t;

/* Whole blocks of one stream, as they lie in the file (common/wal/wal_format.h). */
typedef struct {
    process_address_t from;
    uint64_t boot;
    stream_id_t stream;
    uint64_t first_seq; /* of the first batch */
    uint64_t last_seq;
    uint64_t head_seq; /* of the stream, at the sender */
    slice_t blocks;
} msg_ship_blocks_t;

typedef struct {
    stream_id_t stream;
    uint64_t head_seq;
    slice_t tenant_name;
} msg_head_t;

/* What the sender's region has, periodic: also its sign of life. */
typedef struct {
    process_address_t from;
    uint64_t boot;
    uint64_t
        known_shards; /* bit s: all streams of shard s that the region has are in the list; else
                              the shipper has not heard all of them since its start */
    uint32_t head_count;
    const msg_head_t *heads;
} msg_ship_heads_t;

typedef struct {
    stream_id_t stream;
    uint64_t durable_seq;
    uint64_t epoch;
    uint8_t last_hash[MSG_HASH_SIZE];
    bool resend; /* something is missing after durable_seq: send again from there */
    bool wanted; /* the shipper that this goes to is the one to send the stream */
} msg_receiver_entry_t;

/* Receiver to shippers: absolute positions, so a lost one repairs itself. With `all` it has every
 * stream that the receiver knows, whoever ships it. */
typedef struct {
    process_address_t from;
    uint64_t boot;
    bool all;
    uint64_t window_bytes; /* how much unconfirmed log this receiver takes per shipper */
    uint32_t entry_count;
    const msg_receiver_entry_t *entries;
} msg_receiver_status_t;

/* Receiver to a shipper that has not said hello in this boot. */
typedef struct {
    process_address_t from;
} msg_who_are_you_t;

/* Node to its receiver: the replica file does not verify at this event, or is not there. No answer.
 */
typedef struct {
    process_address_t from;
    stream_id_t stream;
    uint64_t seq;
} msg_damaged_t;

/* Reconciler to its region's receiver: events up to through_seq are missing here, and that region
 * has them. Taken from there at once; said again without harm. No answer. */
typedef struct {
    process_address_t from;
    stream_id_t stream;
    uint64_t through_seq;
    region_id_t region;
} msg_fetch_t;

/* Node to its receiver: this stream of mine is not whole here and never written again; its folder
 * bears the mark (common/wal/wal_handover.h) and is yours from now on. Repeated while something of
 * it is missing. No answer. */
typedef struct {
    process_address_t from;
    stream_id_t stream;
} msg_lost_t;
/* Node to its receiver: the files of these streams of its shard need not hold what lies at or below
 * these positions: it is in a durable base, and applied by every placed node. No answer. */
typedef struct {
    process_address_t from;
    uint32_t floor_count;
    const stream_position_t *floors;
} msg_log_floor_t;

/* -- reconciler to a node of its region -------------------------------------------------------- */

/* Build the state of this tenant anew from the region's logs, and keep what the logs say. Asked
 * again while one is under way: that one answers the later question, the earlier one has none. */
typedef struct {
    uint64_t request_id;
    tenant_id_t tenant;
    shard_id_t shard;
} msg_rebuild_t;

/* One entry of the state; texts for people. */
typedef struct {
    slice_t key;      /* "cell item 7 signal 2" */
    slice_t found;    /* "40 bytes, hash 0123456789abcdef"; "none" */
    slice_t expected; /* by the logs */
} msg_difference_t;

typedef struct {
    uint64_t request_id;
    tenant_id_t tenant;
    shard_id_t shard;
    code_t code;          /* not OK: nothing was compared and nothing changed; `message` says why */
    slice_t message;      /* text for people */
    bool different;       /* the state differed from the logs, and is replaced */
    uint64_t event_count; /* read from the logs */
    uint64_t voided_count;          /* second copies of requests among them */
    uint32_t took_ms;               /* since the first question */
    uint8_t found[MSG_HASH_SIZE];   /* digest of the state as it was */
    uint8_t rebuilt[MSG_HASH_SIZE]; /* digest by the logs: what it is now */
    uint64_t difference_count;      /* entries that differed */
    uint32_t listed_count;          /* the first of them */
    const msg_difference_t *listed;
} msg_rebuild_reply_t;

typedef enum {
    BASE_TASK_LOOK = 1, /* what do the region's files hold */
    BASE_TASK_TAKE = 2  /* the snapshot that was fetched (common/engine/snapshot_load.h) */
} base_task_kind_t;

/* A snapshot is answered when it is adopted or refused; asked again before, the later question
 * takes the answer. */
typedef struct {
    uint64_t request_id;
    tenant_id_t tenant;
    shard_id_t shard;
    base_task_kind_t kind;
} msg_base_task_t;

/* Events begin_seq + 1 .. end_seq of a stream are in the files of a region. */
typedef struct {
    stream_id_t stream;
    uint64_t begin_seq; /* 0: nothing of it was truncated */
    uint64_t end_seq; /* not below begin_seq; equal: there are no files, and it would begin there */
} msg_log_range_t;

typedef struct {
    uint64_t request_id;
    tenant_id_t tenant;
    shard_id_t shard;
    base_task_kind_t kind; /* of the question */
    /* OK: looked, or adopted · NOT_FOUND: no snapshot lies there · CORRUPT: it contradicts itself ·
     * STALE: it is older than the logs here · others: later */
    code_t code;
    slice_t message;   /* text for people */
    bool has_base;     /* of a look: a snapshot can be had here */
    bool base_is_lost; /* of a look: one is wanted here, for the own one is damaged or gone */
    uint32_t range_count;
    const msg_log_range_t *ranges;
} msg_base_reply_t;

/* -- reconciler to a reconciler of another region ---------------------------------------------- */

/* For a piece of the region's base of this tenant and shard, from this offset on; of the file that
 * ends with this hash, or, where that is zero, of the one that is there. */
typedef struct {
    process_address_t from;
    uint64_t request_id;
    tenant_id_t tenant;
    shard_id_t shard;
    uint8_t hash[MSG_HASH_SIZE];
    uint64_t offset; /* in bytes */
} msg_snapshot_ask_t;

typedef struct {
    process_address_t from;
    uint64_t request_id;
    tenant_id_t tenant;
    shard_id_t shard;
    code_t code;     /* not OK: there is no piece; `message` says why */
    slice_t message; /* text for people */
    uint8_t hash
        [MSG_HASH_SIZE]; /* the file's last 32 bytes, which are the BLAKE3 of all before. Another
                                    one than was asked for: that file is gone, and this is the first
                                    piece of the one that is there now */
    uint64_t size_bytes; /* of the whole file */
    uint64_t offset;
    slice_t bytes;
} msg_snapshot_piece_t;

/* -- mesh -------------------------------------------------------------------------------------- */

typedef struct {
    slice_t name;
    double value;
} msg_metric_t;

/* What the streams of one node of the sender's shard come to, as far as the sender has applied them
 * (common/engine/usage.h). */
typedef struct {
    region_id_t origin;
    uint64_t signals; /* ever logged */
    uint64_t voided;  /* of them */
    uint64_t bytes;   /* of payloads */
} msg_usage_t;

typedef struct {
    tenant_id_t tenant;
    uint8_t digest[MSG_HASH_SIZE]; /* zero: the state is changing, no digest was made */
    uint64_t signal_count;
    uint32_t applied_count;
    const stream_position_t *applied;
    uint32_t lag_count;
    const msg_lag_row_t *lag;
    uint32_t usage_count;
    const msg_usage_t *usage; /* each origin once */
} msg_node_state_t;

typedef struct {
    process_address_t from;
    uint64_t boot;
    uint64_t publish_seq;
    int64_t wall_ns;
    uint64_t table_version; /* of the routing table that the process uses; 0 none */
    bool ready;
    slice_t reasons; /* why not ready, one line; empty when ready */
    uint32_t peer_count;
    const msg_peer_t *peers; /* other regions, as this process hears them */
    uint32_t state_count;    /* nodes: one per tenant */
    const msg_node_state_t *states;
    uint32_t metric_count;
    const msg_metric_t *metrics;
} msg_heartbeat_t;

/* A node whose wall clock is ahead of its peers' by more than timing.clock_skew_ms: it originates
 * nothing until it is told otherwise. */
typedef struct {
    node_id_t node;
    uint32_t ahead_ms;
} msg_clock_t;

/* Routing table, encoded by common/topology/table.h; answer to a request and published. */
typedef struct {
    uint64_t boot;
    uint64_t publish_seq;
    slice_t table;
    uint32_t stable_count; /* per stream: how far it is stable (common/cluster/stable_floor.h) */
    const stream_position_t *stable;
    uint32_t clock_count;
    const msg_clock_t *clocks;
} msg_table_t;

typedef struct {
    node_id_t node;
    tenant_id_t tenant;
    bool answered;
    uint8_t digest[MSG_HASH_SIZE];
    uint32_t applied_count;
    const stream_position_t *applied;
    bool looked;       /* the next four are known, also of a node that is not ready */
    bool has_base;     /* see msg_base_reply_t */
    bool base_is_lost; /* the same */
    uint32_t range_count;
    const msg_log_range_t *ranges;
} msg_reconcile_row_t;

/* Reconciler to its peers: the state of its region; `answer` asks for none back. */
typedef struct {
    process_address_t from;
    uint64_t boot;
    bool answer;
    uint32_t row_count;
    const msg_reconcile_row_t *rows;
} msg_reconcile_state_t;

typedef struct {
    msg_type_t type;
    union {
        msg_write_t write;
        msg_write_reply_t write_reply;
        msg_read_t read;
        msg_read_reply_t read_reply;
        msg_log_positions_t log_positions;
        msg_available_t available;
        msg_confirmed_t confirmed;
        msg_ship_hello_t ship_hello;
        msg_ship_blocks_t ship_blocks;
        msg_ship_heads_t ship_heads;
        msg_receiver_status_t receiver_status;
        msg_heartbeat_t heartbeat;
        msg_table_t table;
        msg_reconcile_state_t reconcile_state;
        msg_who_are_you_t who_are_you;
        msg_damaged_t damaged;
        msg_fetch_t fetch;
        msg_lost_t lost;
        msg_rebuild_t rebuild;
        msg_rebuild_reply_t rebuild_reply;
        msg_log_floor_t log_floor;
        msg_base_task_t base_task;
        msg_base_reply_t base_reply;
        msg_snapshot_ask_t snapshot_ask;
        msg_snapshot_piece_t snapshot_piece;
    } as;
} msg_t;

/* Appends the encoded message.
 * in msg  every field within the bounds that msg_decode holds it to (msg_fields.c), which is a
 * CHECK; only `message` and `reasons`, being for people, are cut and cleaned to fit */
void msg_encode(const msg_t *msg, buffer_t *out);

typedef struct msg_codec msg_codec_t;

/* Decoding memory, reused from message to message. */
msg_codec_t *msg_codec_new(void);
void msg_codec_destroy(msg_codec_t **self_p);

/* out ret_msg borrows from bytes and from the codec, until its next decode.
 * errs ERR_CORRUPT: what was expected and found, by field */
err_t msg_decode(msg_codec_t *self, slice_t bytes, msg_t *ret_msg, errbuf_t *errbuf);

/* Whether bytes begin like a msgpack map: a client-protocol request. */
bool msg_is_client_map(slice_t bytes);

#endif
