/* Requests of clients: one msgpack map (services/gateway/PROTOCOL.md) decoded into one tagged
 * union, and held against every limit before anything else looks at it.
 *
 * Rules of the decoder, for every op:
 *  - The whole body is walked before a value is believed: one map, nothing after it, string keys,
 *    no key twice, depth, counts, lengths, UTF-8, no extension types.
 *  - Numbers are liberal: an integer in any width, an integral float or a decimal string where an
 *    integer is meant; an integer where a float is meant; never NaN or infinity.
 *  - Unknown keys are ignored. A key with the value nil is a key that was not sent (but for `id`,
 *    which is echoed). A key that the op knows with a wrong type or range is BAD_REQUEST, and the
 *    text names the key, what was expected, what was found and, for rows, the row (from 0).
 *  - More rows, items or candidates than bounds.h allows is TOO_LARGE.
 *
 * The decoder resolves signal names to ids by the types it was made with; a name that it does not
 * know is UNKNOWN_SIGNAL and the text lists those that it knows. Profile and tenant names are left
 * to the gateway. */
#ifndef TIDAL_COMMON_WIRE_CLIENT_REQUEST_H
#define TIDAL_COMMON_WIRE_CLIENT_REQUEST_H

#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/hlc.h"
#include "common/base/ids.h"
#include "common/wire/msg.h"
#include "common/wire/token.h"

/* -- ops --------------------------------------------------------------------------------------- */

/* Where an op is answered. */
enum {
    CLIENT_AT_GATEWAY = 1 << 0,
    CLIENT_AT_CONTROL = 1 << 1,
    CLIENT_AT_PROXY = 1 << 2,
    CLIENT_AT_EVERY = 1 << 3, /* every process */
};

typedef enum {
    CLIENT_CLASS_WRITE = 1, /* takes ack, timeout_ms, producer, seq */
    CLIENT_CLASS_READ = 2,  /* takes read, max_staleness_ms, at */
    CLIENT_CLASS_MESH = 3,
    CLIENT_CLASS_LATER = 4 /* an op of the protocol that this version answers with UNKNOWN_OP */
} client_class_t;

/*  enum value, name on the wire, class, where. The number of an op is part of the content hash:
 *  append only. */
#define CLIENT_OP_LIST(X)                                                  \
    X(SIGNAL, "signal", WRITE, CLIENT_AT_GATEWAY)                          \
    X(SIGNALS, "signals", WRITE, CLIENT_AT_GATEWAY)                        \
    X(PUT_ITEM, "put_item", WRITE, CLIENT_AT_GATEWAY)                      \
    X(PUT_ITEMS, "put_items", WRITE, CLIENT_AT_GATEWAY)                    \
    X(DELETE_ITEM, "delete_item", WRITE, CLIENT_AT_GATEWAY)                \
    X(PUT_USER, "put_user", WRITE, CLIENT_AT_GATEWAY)                      \
    X(HIDE, "hide", WRITE, CLIENT_AT_GATEWAY)                              \
    X(UNHIDE, "unhide", WRITE, CLIENT_AT_GATEWAY)                          \
    X(MUTE, "mute", WRITE, CLIENT_AT_GATEWAY)                              \
    X(UNMUTE, "unmute", WRITE, CLIENT_AT_GATEWAY)                          \
    X(BLOCK, "block", WRITE, CLIENT_AT_GATEWAY)                            \
    X(UNBLOCK, "unblock", WRITE, CLIENT_AT_GATEWAY)                        \
    X(GET_ITEM, "get_item", READ, CLIENT_AT_GATEWAY)                       \
    X(GET_USER, "get_user", READ, CLIENT_AT_GATEWAY)                       \
    X(SCORE, "score", READ, CLIENT_AT_GATEWAY)                             \
    X(COUNT, "count", READ, CLIENT_AT_GATEWAY)                             \
    X(VELOCITY, "velocity", READ, CLIENT_AT_GATEWAY)                       \
    X(CELLS, "cells", READ, CLIENT_AT_GATEWAY)                             \
    X(RELATION, "relation", READ, CLIENT_AT_GATEWAY)                       \
    X(RETRIEVE, "retrieve", READ, CLIENT_AT_GATEWAY)                       \
    X(HELLO, "hello", MESH, CLIENT_AT_GATEWAY)                             \
    X(PING, "ping", MESH, CLIENT_AT_EVERY)                                 \
    X(TOPOLOGY, "topology", MESH, (CLIENT_AT_GATEWAY | CLIENT_AT_CONTROL)) \
    X(LAG, "lag", MESH, (CLIENT_AT_GATEWAY | CLIENT_AT_CONTROL))           \
    X(STATUS, "status", MESH, CLIENT_AT_CONTROL)                           \
    X(DIGEST, "digest", MESH, CLIENT_AT_GATEWAY)                           \
    X(HEALTH, "health", MESH, CLIENT_AT_EVERY)                             \
    X(METRICS, "metrics", MESH, CLIENT_AT_EVERY)                           \
    X(LINK, "link", MESH, CLIENT_AT_PROXY)                                 \
    X(LINKS, "links", MESH, CLIENT_AT_PROXY)                               \
    X(HEAL, "heal", MESH, CLIENT_AT_PROXY)                                 \
    X(SESSION_START, "session_start", WRITE, CLIENT_AT_GATEWAY)            \
    X(SESSION_SIGNAL, "session_signal", WRITE, CLIENT_AT_GATEWAY)          \
    X(SESSION_CLOSE, "session_close", WRITE, CLIENT_AT_GATEWAY)            \
    X(SESSION_GET, "session_get", READ, CLIENT_AT_GATEWAY)                 \
    X(SEARCH, "search", LATER, CLIENT_AT_GATEWAY)                          \
    X(PROMOTE, "promote", MESH, CLIENT_AT_CONTROL)                         \
    X(MIGRATE, "migrate", LATER, CLIENT_AT_CONTROL)                        \
    X(CREATE_TENANT, "create_tenant", MESH, CLIENT_AT_CONTROL)             \
    X(DROP_TENANT, "drop_tenant", LATER, CLIENT_AT_CONTROL)                \
    X(DRAIN, "drain", LATER, CLIENT_AT_CONTROL)                            \
    X(RECONCILE, "reconcile", LATER, CLIENT_AT_CONTROL)                    \
    X(OPERATION, "operation", LATER, CLIENT_AT_CONTROL)

#define CLIENT_OP_ENUM(name, text, kind, where) CLIENT_OP_##name,
typedef enum { CLIENT_OP_NONE = 0, CLIENT_OP_LIST(CLIENT_OP_ENUM) CLIENT_OP_END } client_op_t;
#undef CLIENT_OP_ENUM

/* "signal" and so on, "none" for CLIENT_OP_NONE; lives for ever. */
const char *client_op_name(client_op_t op);
/* in op  not CLIENT_OP_NONE */
client_class_t client_op_class(client_op_t op);
/* Whether a process of this kind answers the op. A shell that gets false replies UNKNOWN_OP with
 * the text that stands in errbuf, which says who does. */
bool client_op_is_served(client_op_t op, process_kind_t by, errbuf_t *errbuf);

/* -- parts ------------------------------------------------------------------------------------- */

/* Bits of client_event_t.present: what the client sent, the rest being for the gateway to fill. */
enum {
    CLIENT_EVENT_USER = 1 << 0, /* a user of 0 (none) counts as not sent */
    CLIENT_EVENT_WEIGHT = 1 << 1,
    CLIENT_EVENT_TS = 1 << 2
};

/* One signal. Laid out as signal_event_t of the log, with the bits in its padding. */
typedef struct {
    item_id_t item; /* not 0 */
    user_id_t user; /* 0 none */
    int64_t ts_ns;  /* 0..; 0 when not sent: the gateway's now */
    double weight;  /* finite, |weight| <= CLIENT_WEIGHT_MAX; 1.0 when not sent; never -0.0 */
    uint8_t signal; /* id of the schema */
    uint8_t present;
} client_event_t;

#define CLIENT_WEIGHT_MAX 1e9

/* Bits of client_item_t.present: 1 << item_field_t of the log. */
enum {
    CLIENT_ITEM_TITLE = 1 << 1,
    CLIENT_ITEM_TEXT = 1 << 2,
    CLIENT_ITEM_CATEGORY = 1 << 3,
    CLIENT_ITEM_CREATOR = 1 << 4,
    CLIENT_ITEM_TAGS = 1 << 5,
    CLIENT_ITEM_CREATED = 1 << 6
};

typedef struct {
    item_id_t item;   /* not 0 */
    uint32_t present; /* which of the fields below the client sent */
    slice_t title;    /* texts: UTF-8, 0..TEXT_SIZE_MAX bytes */
    slice_t text;
    slice_t category;
    creator_id_t creator; /* sent as 0: the item loses its creator */
    int64_t created_ns;   /* 0.. */
    uint32_t tag_count;   /* 0..TAG_COUNT_MAX */
    const slice_t *tags;
} client_item_t;

/* What the proxy does to one directed link. Values are those of the wire form of the mode. */
typedef enum {
    CLIENT_LINK_PASS = 0,
    CLIENT_LINK_DROP = 1, /* messages vanish */
    CLIENT_LINK_HOLD = 2, /* queued, released at the heal */
    CLIENT_LINK_CUT = 3   /* connections are reset */
} client_link_mode_t;

/* "pass" "drop" "hold" "cut"; lives for ever. */
const char *client_link_mode_name(client_link_mode_t mode);

typedef struct {
    client_link_mode_t mode;
    uint32_t delay_ms;  /* 0..WAIT_MS_MAX */
    uint32_t jitter_ms; /* 0..WAIT_MS_MAX; added to the delay, evenly over 0..jitter */
    double drop;        /* probabilities, 0..1 */
    double duplicate;
    double reorder;
    uint64_t rate_bytes_s; /* 0: no limit */
} client_link_rule_t;

/* Where the next page of a retrieve begins: after this item. Opaque to clients. */
typedef struct {
    int64_t at_ns; /* of the first page, so that all pages rank by one time */
    double score;
    item_id_t item;
} client_cursor_t;

enum { CLIENT_CURSOR_SIZE = 25 };
void client_cursor_encode(const client_cursor_t *cursor, uint8_t ret_bytes[CLIENT_CURSOR_SIZE]);

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): a flag before what it is about */
typedef struct {
    bool has_user; /* false: user is 0 */
    user_id_t user;
    bool has_session;
    session_id_t session;
    bool has_profile; /* false: the schema's default */
    slice_t profile;
    uint32_t term_count; /* 0: not sent */
    msg_term_t terms[PROFILE_TERM_COUNT_MAX];
    bool has_candidates; /* sent, perhaps empty: then nothing else is ranked */
    uint32_t candidate_count;
    const uint64_t *candidates; /* none is 0, no item twice, in the order sent */
    uint32_t category_count;    /* 0: any; also when sent empty */
    slice_t categories[FILTER_CATEGORY_COUNT_MAX];
    creator_id_t creator;   /* 0: any */
    int64_t created_after;  /* INT64_MIN: no bound; exclusive */
    int64_t created_before; /* INT64_MAX: no bound; exclusive */
    bool unseen;            /* only with a user, or a session, which has one */
    bool has_diversity;     /* then 0 in either number: not limited by it */
    uint32_t max_per_creator;
    uint32_t max_per_category;
    bool has_cohort;
    slice_t cohort;
    uint32_t limit; /* 1..RETRIEVE_LIMIT_MAX, default CLIENT_LIMIT_DEFAULT */
    bool has_cursor;
    client_cursor_t cursor;
    bool explain;
} client_retrieve_t;

enum { CLIENT_LIMIT_DEFAULT = 50, CLIENT_TIMEOUT_MS_DEFAULT = 5000, CLIENT_WAIT_MS_DEFAULT = 1000 };

/* -- the request ------------------------------------------------------------------------------- */

typedef struct {
    client_op_t op;
    slice_t id;           /* encoded msgpack value, to be echoed as it is; size 0: none was sent */
    slice_t tenant;       /* 1..NAME_LENGTH_MAX bytes of UTF-8; "default" when not sent */
    const token_t *token; /* union of all tokens sent, never NULL; count 0: none */
    uint32_t wait_ms;     /* 0..WAIT_MS_MAX */
    /* CLIENT_CLASS_WRITE */
    ack_level_t ack;     /* LOCAL..ALL */
    uint32_t timeout_ms; /* 1..TIMEOUT_MS_MAX */
    bool has_producer;   /* producer and seq come together or not at all */
    slice_t producer;    /* 1..PRODUCER_SIZE_MAX bytes */
    uint64_t seq;
    /* CLIENT_CLASS_READ */
    bool from_leader;          /* `read` is "leader" */
    uint32_t max_staleness_ms; /* UINT32_MAX: any */
    bool has_at;
    int64_t at_ns; /* 0..; 0 without has_at */
    union {
        /* SIGNAL (one event), SIGNALS */
        struct {
            uint32_t event_count; /* 1..REQUEST_ROW_COUNT_MAX */
            const client_event_t *events;
        } signals;
        /* PUT_ITEM (one), PUT_ITEMS. No item twice: what is said later of one item is laid over
         * what was said before. */
        struct {
            uint32_t item_count; /* 1..REQUEST_ITEM_COUNT_MAX */
            const client_item_t *items;
        } items;
        /* GET_ITEM, DELETE_ITEM */
        item_id_t item;
        /* GET_USER */
        user_id_t user;
        struct {
            user_id_t user;                                       /* not 0 */
            uint32_t attribute_count;                             /* 0..USER_ATTRIBUTE_COUNT_MAX */
            msg_attribute_t attributes[USER_ATTRIBUTE_COUNT_MAX]; /* ascending by name; names 1..
                                                                     NAME_LENGTH_MAX bytes */
        } put_user;
        /* HIDE UNHIDE (target is an item) MUTE UNMUTE BLOCK UNBLOCK (a creator); none is 0 */
        struct {
            user_id_t user;
            uint64_t target;
            bool has_hlc;
            hlc_stamp_t hlc;
        } relation;
        /* SCORE COUNT VELOCITY */
        struct {
            item_id_t item;
            uint8_t signal;
            uint8_t window; /* window_t; not of SCORE */
            bool has_cohort;
            slice_t cohort;
        } cell;
        struct {
            uint32_t item_count;   /* 1..CELLS_ITEM_COUNT_MAX */
            const uint64_t *items; /* none is 0; in the order sent, one item may stand twice */
            uint32_t signal_count; /* 1..SIGNAL_TYPE_COUNT_MAX */
            uint8_t signals[SIGNAL_TYPE_COUNT_MAX];
            uint32_t window_count;         /* 0..WINDOW_COUNT */
            uint8_t windows[WINDOW_COUNT]; /* window_t */
            bool has_cohort;
            slice_t cohort;
        } cells; /* items x signals x max(1, windows) <= CELLS_RESULT_COUNT_MAX */
        struct {
            user_id_t user; /* not 0 */
            item_id_t item; /* one of item and creator is 0, the other is not */
            creator_id_t creator;
        } relation_read;
        client_retrieve_t retrieve;
        struct {
            user_id_t user; /* not 0 */
            slice_t agent;  /* UTF-8, 0..SESSION_AGENT_SIZE_MAX bytes; empty: none */
            slice_t meta;   /* the encoded map, at most SESSION_META_SIZE_MAX bytes; empty: none */
        } session_start;
        struct {
            session_id_t session;
            client_event_t event; /* without a user */
        } session_signal;
        /* SESSION_CLOSE, SESSION_GET */
        session_id_t session;
        struct {
            slice_t from; /* names, 1..NAME_LENGTH_MAX bytes */
            slice_t to;
            client_link_rule_t rule;
        } link;
        /* The tenant's name is `tenant`, which the client has sent. */
        struct {
            bool has_regions; /* false: every region of the topology */
            uint32_t region_count;
            slice_t regions[REGION_COUNT_MAX]; /* names, 1..NAME_LENGTH_MAX bytes, as sent */
            bool accepts_islands;
        } create_tenant;
        struct {
            shard_id_t shard; /* below SHARD_COUNT_MAX */
            slice_t region;   /* name, 1..NAME_LENGTH_MAX bytes */
        } promote;
    } as;
} client_request_t;

/* A signal type that requests may name. */
typedef struct {
    uint8_t id;       /* 1..SIGNAL_TYPE_COUNT_MAX */
    const char *name; /* 1..NAME_LENGTH_MAX bytes */
} client_signal_type_t;

/* "1h" "24h" "7d" "30d" "all", by window_t. */
const char *client_window_name(uint8_t window);

typedef struct client_decoder client_decoder_t;

/* in types  copied; NULL with count 0 where no signals are served (control plane, proxy) */
client_decoder_t *client_decoder_new(const client_signal_type_t *types, uint32_t type_count);
void client_decoder_destroy(client_decoder_t **self_p);

/* Decodes one body.
 * in  body        may hold anything, of any size
 * out ret_request always set, also on failure: `id` is what could be recovered of the request's id
 *                 (size 0: nothing), `op` is CLIENT_OP_NONE when it is not known. The rest is valid
 *                 only on CODE_OK. Borrows from body and from self until the next decode.
 * out errbuf      on failure the text for the client
 * ret CODE_OK · CODE_BAD_REQUEST · CODE_UNKNOWN_OP · CODE_UNKNOWN_SIGNAL · CODE_TOO_LARGE
 * cost bounded by the size of the body; memory by the limits of one request, and reused */
code_t client_decode(client_decoder_t *self,
                     slice_t body,
                     const client_request_t **ret_request,
                     errbuf_t *errbuf);

/* The hash that tells whether two writes with one (producer, seq) are the same: over the op and
 * what the client sent, before defaults, in one canonical form, so that number widths, integer or
 * float or string, str or bin, rows or columns and the order of keys make no difference.
 * Not in it: id, v, tenant, token, wait_ms, ack, timeout_ms, producer, seq.
 * in  request  of CLIENT_CLASS_WRITE, as client_decode gave it
 * cost one BLAKE3 over about 26 bytes per event, in memory of self that is reused */
void client_content_hash(client_decoder_t *self,
                         const client_request_t *request,
                         uint8_t ret_hash[MSG_CONTENT_HASH_SIZE]);

#endif
