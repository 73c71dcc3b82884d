/* Limits on foreign input, and on queues and tables that several modules share; most with their
 * reason. Foreign input is held against these before it is believed. Many limits of one module
 * alone stand in that module instead. Sizes in bytes, times in the unit of the name. */
#ifndef TIDAL_COMMON_BASE_BOUNDS_H
#define TIDAL_COMMON_BASE_BOUNDS_H

#include <assert.h>
#include <stdint.h>

enum {
    /* -- the mesh ------------------------------------------------------------------------- */
    REGION_COUNT_MAX = 16,   /* a region set is one 32-bit word, and 16 x 16 links need a proxy */
    SHARD_COUNT_MAX = 40,    /* nodes of a region share one block of 80 ports */
    TENANT_COUNT_MAX = 1024, /* tables are sent whole */
    NAME_LENGTH_MAX = 64,    /* region, tenant, signal, profile: fits a fixed header field */
    REGION_NAME_LENGTH_MAX = 32,        /* part of every process name and stream folder */
    HOST_LENGTH_MAX = 253,              /* the longest name that DNS has */
    CONFIG_FILE_SIZE_MAX = 1024 * 1024, /* topology and schema files are read whole */
    CONFIG_DEPTH_MAX = 16,              /* nesting of lists and maps in them; ours need 5 */
    STREAM_COUNT_MAX = 4096,            /* per process: own and replica streams, all incarnations */
    SIGNAL_TYPE_COUNT_MAX = 64,         /* ids are u8 in columns; one digit of room to spare */
    PROFILE_COUNT_MAX = 64,
    PROFILE_TERM_COUNT_MAX = 16,
    WINDOW_COUNT = 5, /* 1h 24h 7d 30d all */

    /* -- client protocol ------------------------------------------------------------------ */
    CLIENT_REQUEST_SIZE_MAX = 4 * 1024 * 1024, /* 10,000 rows as maps of long names fit */
    CLIENT_PREFIX_FRAME_COUNT_MAX = 8,         /* routing frames before the body */
    CLIENT_PREFIX_FRAME_SIZE_MAX = 256,
    REQUEST_ROW_COUNT_MAX = 10000, /* rows or columns of one request */
    REQUEST_ITEM_COUNT_MAX = 1000, /* put_items */
    CELLS_ITEM_COUNT_MAX = 10000,
    CELLS_RESULT_COUNT_MAX = 100000, /* items x signals x windows of one answer */
    CANDIDATE_COUNT_MAX = 10000,
    RETRIEVE_LIMIT_MAX = 1000,
    FILTER_CATEGORY_COUNT_MAX = 64,
    PRODUCER_SIZE_MAX = 64,
    TOKEN_SIZE_MAX = 1024, /* services/gateway/PROTOCOL.md: at most 1 KiB */
    TOKEN_COUNT_MAX = 16,  /* in one request */
    TEXT_SIZE_MAX = 16384, /* title, text, category, tag, attribute; each */
    TAG_COUNT_MAX = 64,
    USER_ATTRIBUTE_COUNT_MAX = 64,
    /* A session is read, checkpointed and handed to a retrieve as a whole. */
    SESSION_SIGNAL_COUNT_MAX = 1000, /* of one session at one leader; then TOO_LARGE */
    SESSION_ROW_COUNT_MAX = 16000,   /* of one answer: what 16 islands may have taken meanwhile */
    SESSION_OPEN_COUNT_MAX = 100000, /* of one tenant on one shard; then OVERLOADED */
    SESSION_AGENT_SIZE_MAX = 256,
    SESSION_META_SIZE_MAX = 4096, /* encoded */
    MSGPACK_DEPTH_MAX = 8,
    MSGPACK_NODE_COUNT_MAX = 400000,         /* 10,000 rows of five values as maps, and room */
    MSGPACK_MAP_COUNT_MAX = 1024,            /* keys of one map: equal ones are looked for */
    MSGPACK_KEY_COMPARE_COUNT_MAX = 2000000, /* in one frame: 2 ms; 1,000 items need 30,000 */
    MSGPACK_REPLY_NODE_COUNT_MAX = 4000000,  /* replies, read by tools: the largest cells answer */
    TIMEOUT_MS_MAX = 600000,
    WAIT_MS_MAX = 60000,

    /* -- the log -------------------------------------------------------------------------- */
    WAL_PAYLOAD_SIZE_MAX = 2 * 1024 * 1024, /* of one batch: one request's part for one shard */
    WAL_BATCH_COUNT_MAX = 65536,            /* events of one batch */
    COHORT_NAME_COUNT_MAX = 16384, /* of one record: one and a half per row of a full request */
    COHORT_SET_COUNT_MAX = 16384,  /* of one record: every row of a full request may have its own */
    WAL_GROUP_SIZE_MAX = 4 * 1024 * 1024, /* batches under one fsync */
    SEGMENT_SIZE_DEFAULT = 16 * 1024 * 1024,
    SEGMENT_SIZE_MIN = 4096,
    SEGMENT_SIZE_MAX = 256 * 1024 * 1024,
    SEGMENT_COUNT_MAX = 1 << 20, /* per stream folder */
    WAL_PATH_SIZE_MAX = 1024,    /* data folder, four names of 64 and numbers, and room */
    /* Kept free for footers, headers, and what others write meanwhile; see wal_room.h */
    WAL_DISK_RESERVE_SIZE = 8 * 1024 * 1024,
    WAL_ZERO_FILL_SIZE_MAX = 256 * 1024, /* made ahead at once: longer, and that sync is felt */
    WAL_READ_SIZE = 256 * 1024,     /* of one read; larger gains nothing, smaller costs calls */
    WAL_SEEK_READ_SIZE = 16 * 1024, /* of the first of several, and while stepping over batches */
    WAL_BUFFER_KEEP_SIZE = 512 * 1024, /* of a stream's buffers between two uses; there are many */
    WAL_REPLICA_PENDING_SIZE_MAX =
        20 * 1024 * 1024,                 /* offered, not flushed: one message and room */
    WAL_RECOVERY_HASH_SIZE_MAX = 1 << 30, /* bytes hashed to judge one damage; beyond: refuse */
    WAL_QUARANTINE_COUNT_MAX = 16,        /* set aside per replica stream; the oldest go */
    WAL_QUARANTINE_SIZE_MAX = 256 * 1024 * 1024,

    /* -- links and queues ----------------------------------------------------------------- */
    INTERNAL_MESSAGE_SIZE_MAX = 16 * 1024 * 1024,
    SHIP_BLOCK_SIZE_MAX = 1024 * 1024, /* log bytes of one message, but for one large batch */
    SHIP_WINDOW_SIZE_BYTES = 8 * 1024 * 1024, /* unconfirmed bytes per peer region */
    LEADER_PENDING_COUNT_MAX = 16384,         /* writes that wait for confirmations, per shard */
    GATEWAY_INFLIGHT_COUNT_MAX = 16384,
    LINK_QUEUE_SIZE_MAX = 64 * 1024 * 1024, /* proxy: bytes held per directed link */
    LINK_QUEUE_COUNT_MAX = 65536,

    /* -- repair --------------------------------------------------------------------------- */
    REBUILD_EVENT_COUNT_MAX = 32768,   /* replayed in one turn: some ten ms; the node serves on */
    REBUILD_DIFFERENCE_COUNT_MAX = 16, /* entries of one repair that are named; all are counted */
    REBUILD_TEXT_SIZE_MAX = 192,       /* a key, or what stands under it, for people */

    /* -- snapshots ------------------------------------------------------------------------ */
    SNAPSHOT_PIECE_SIZE_MAX = 512 * 1024, /* of one message: half a second of a link of 1 MB/s */

    /* -- sockets (common/env) ------------------------------------------------------------- */
    LOOP_BATCH_COUNT_MAX = 256,     /* messages of one socket per turn: a few ms of work */
    SOCKET_COUNT_MAX = 4096,        /* per process; ZeroMQ's own default is 1023 */
    SOCKET_LINGER_MS = 250,         /* last words at a stop; the whole drain has 3.5 s */
    SOCKET_QUEUE_COUNT_MIN = 64,    /* messages: no budget is so small that a burst is lost */
    SOCKET_QUEUE_COUNT_MAX = 65536, /* small messages cost memory beside their bytes */
    RECONNECT_MS_MIN = 100,         /* a restarted process is found at once */
    RECONNECT_MS_MAX = 1000,        /* and a healed link within a second */
    CONNECT_TIMEOUT_MS = 3000,
    HANDSHAKE_TIMEOUT_MS = 5000,
    HEARTBEAT_SOCKET_MS = 20000, /* dead TCP only; each ping wakes two processes */
    HEARTBEAT_SOCKET_TIMEOUT_MS = 30000,
    HEARTBEAT_SOCKET_TTL_MS = 60000, /* ZeroMQ overflows above 65 s */
    DESCRIPTOR_COUNT_MIN = 1024,     /* open files: sockets, segments and room */
    DESCRIPTOR_COUNT_WANTED = 65536,
    ROUTER_ENVELOPE_COUNT_MAX = 32768, /* requests not yet answered: twice what a gateway has */
    PEER_WAITING_COUNT_MAX = 256,      /* messages kept for the first connection */
    PEER_WAITING_SIZE_MAX = 4 * 1024 * 1024,
    PEER_WAITING_MS_MAX = 1000,
    ENDPOINT_COUNT_MAX = 2048, /* that one socket connects to */
    ENDPOINT_SIZE_MAX = 320,   /* tcp://, the longest host name, port */
    TOPIC_SIZE_MAX = 32        /* seam.h; ZeroMQ goes wrong at 246 */
};

/* No stream is that long: a million events a second for two thousand years. */
#define STREAM_SEQ_MAX (UINT64_C(1) << 56)
/* A state of this size takes all memory there is; beyond it a length is no length. */
#define SNAPSHOT_SIZE_MAX (UINT64_C(1) << 40)

static_assert(REGION_COUNT_MAX < 32, "region_set_t is one 32-bit word");
static_assert(REQUEST_ROW_COUNT_MAX <= WAL_BATCH_COUNT_MAX, "one request fits one batch");
static_assert(REQUEST_ROW_COUNT_MAX <= COHORT_SET_COUNT_MAX, "sets never make one too large");
static_assert(ROUTER_ENVELOPE_COUNT_MAX >= GATEWAY_INFLIGHT_COUNT_MAX, "every request has a place");
static_assert(SESSION_ROW_COUNT_MAX >= REGION_COUNT_MAX * SESSION_SIGNAL_COUNT_MAX,
              "what every region has taken fits one answer");
static_assert(WAL_PAYLOAD_SIZE_MAX < SEGMENT_SIZE_MAX, "one batch fits one segment");

#endif
