/* What the decoders of the ops share: the decoder object, the keys of the protocol, and typed
 * access to the values of one map. Private to this folder.
 *
 * Every function that returns bool returns false after it has put code and text of the refusal into
 * the decoder; its caller returns at once. */
#ifndef TIDAL_COMMON_WIRE_CLIENT_FIELDS_H
#define TIDAL_COMMON_WIRE_CLIENT_FIELDS_H

#include "common/wire/client_request.h"
#include "common/wire/pack.h"

#define CLIENT_KEY_LIST(X)                  \
    X(OP, "op")                             \
    X(ID, "id")                             \
    X(V, "v")                               \
    X(TENANT, "tenant")                     \
    X(TOKEN, "token")                       \
    X(WAIT_MS, "wait_ms")                   \
    X(ACK, "ack")                           \
    X(TIMEOUT_MS, "timeout_ms")             \
    X(PRODUCER, "producer")                 \
    X(SEQ, "seq")                           \
    X(READ, "read")                         \
    X(MAX_STALENESS_MS, "max_staleness_ms") \
    X(AT, "at")                             \
    X(SIGNAL, "signal")                     \
    X(ITEM, "item")                         \
    X(USER, "user")                         \
    X(WEIGHT, "weight")                     \
    X(TS, "ts")                             \
    X(ROWS, "rows")                         \
    X(COLUMNS, "columns")                   \
    X(N, "n")                               \
    X(ITEMS, "items")                       \
    X(TITLE, "title")                       \
    X(TEXT, "text")                         \
    X(CATEGORY, "category")                 \
    X(CREATOR, "creator")                   \
    X(TAGS, "tags")                         \
    X(CREATED, "created")                   \
    X(ATTRS, "attrs")                       \
    X(HLC, "hlc")                           \
    X(WINDOW, "window")                     \
    X(COHORT, "cohort")                     \
    X(SIGNALS, "signals")                   \
    X(WINDOWS, "windows")                   \
    X(SESSION, "session")                   \
    X(AGENT, "agent")                       \
    X(META, "meta")                         \
    X(PROFILE, "profile")                   \
    X(TERMS, "terms")                       \
    X(AGG, "agg")                           \
    X(CANDIDATES, "candidates")             \
    X(FILTER, "filter")                     \
    X(CREATED_AFTER, "created_after")       \
    X(CREATED_BEFORE, "created_before")     \
    X(UNSEEN, "unseen")                     \
    X(DIVERSITY, "diversity")               \
    X(MAX_PER_CREATOR, "max_per_creator")   \
    X(MAX_PER_CATEGORY, "max_per_category") \
    X(LIMIT, "limit")                       \
    X(CURSOR, "cursor")                     \
    X(EXPLAIN, "explain")                   \
    X(FROM, "from")                         \
    X(TO, "to")                             \
    X(MODE, "mode")                         \
    X(DELAY_MS, "delay_ms")                 \
    X(JITTER_MS, "jitter_ms")               \
    X(DROP, "drop")                         \
    X(DUPLICATE, "duplicate")               \
    X(REORDER, "reorder")                   \
    X(RATE_BYTES_S, "rate_bytes_s")         \
    X(REGIONS, "regions")                   \
    X(ISLAND, "island")                     \
    X(SHARD, "shard")                       \
    X(REGION, "region")

#define CLIENT_KEY_ENUM(name, text) CLIENT_KEY_##name,
typedef enum { CLIENT_KEY_LIST(CLIENT_KEY_ENUM) CLIENT_KEY_END } client_key_t;
#undef CLIENT_KEY_ENUM

/* Where the value of each key begins in the body; NULL: not sent, or nil. */
typedef struct {
    const uint8_t *at[CLIENT_KEY_END];
} client_map_t;

enum {
    CLIENT_KEY_SLOT_COUNT = 256, /* open addressing, a quarter full */
    CLIENT_SIGNAL_SLOT_COUNT = 256,
    CLIENT_ID_SIZE_MAX = 1024 /* encoded `id`: an echo is no storage */
};

typedef struct {
    uint8_t id; /* 0: no such place */
    uint8_t size;
    char name[NAME_LENGTH_MAX + 1];
} client_signal_slot_t;

struct client_decoder {
    client_request_t request;
    client_map_t map;   /* of the request */
    const uint8_t *end; /* of the body */
    code_t code;
    errbuf_t *errbuf;
    /* What the next refusal names before the key: "rows[17]"; NULL: the key alone. */
    const char *place;
    bool place_has_index;
    uint32_t place_index;

    pack_keys_t keys; /* of the request */
    token_t token;
    token_t part;                             /* one of several tokens */
    uint8_t key_slots[CLIENT_KEY_SLOT_COUNT]; /* key + 1; 0: empty */
    uint32_t signal_count;
    client_signal_slot_t signals[SIGNAL_TYPE_COUNT_MAX]; /* in the order given */
    uint8_t signal_slots[CLIENT_SIGNAL_SLOT_COUNT];      /* index in signals + 1; 0: empty */
    uint8_t signal_places[SIGNAL_TYPE_COUNT_MAX + 1];    /* by id: index in signals + 1 */

    buffer_t events;     /* client_event_t */
    buffer_t items;      /* client_item_t */
    buffer_t tags;       /* slice_t of all items */
    buffer_t tag_firsts; /* uint32_t per item: place of its first tag */
    buffer_t numbers;    /* uint64_t: items of cells, candidates */
    buffer_t places;     /* uint32_t: hash table, place + 1; 0: empty */
    buffer_t canonical;  /* bytes that are hashed */
};

/* What client_decoder_new prepares once. */
void client_keys_init(client_decoder_t *self);
void client_signals_init(client_decoder_t *self,
                         const client_signal_type_t *types,
                         uint32_t type_count);

/* -- refusals ---------------------------------------------------------------------------------- */

/* Sets the place that refusals name; NULL ends it. */
void client_at(client_decoder_t *self, const char *place);
void client_at_index(client_decoder_t *self, const char *place, uint32_t index);

/* "<place>.<key>: expected <expected>, found <value>". ret false always */
bool client_refuse_value(client_decoder_t *self,
                         const char *key,
                         const char *expected,
                         const pack_value_t *value);
/* "<place>.<key>: <text>". ret false always */
bool client_refuse(client_decoder_t *self, code_t code, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

const char *client_key_name(client_key_t key);

/* -- maps -------------------------------------------------------------------------------------- */

/* Finds the known keys of a request that was checked, in self->keys. */
void client_map_of_keys(client_decoder_t *self, client_map_t *ret_map);

/* Finds the known keys of a map whose header was read; moves the reader behind the map. */
bool client_map_read(client_decoder_t *self,
                     pack_reader_t *reader,
                     uint32_t pair_count,
                     client_map_t *ret_map);

static inline bool client_has(const client_map_t *map, client_key_t key)
{
    return map->at[key] != NULL;
}

/* The value of a key that was sent; the reader stands behind its header. */
pack_value_t client_value(const client_decoder_t *self,
                          const client_map_t *map,
                          client_key_t key,
                          pack_reader_t *ret_reader);

/* Refuses when the key was not sent. */
bool client_need(client_decoder_t *self, const client_map_t *map, client_key_t key);

/* Typed values. A key that was not sent leaves the result as it is, so that it holds the default.
 */
bool client_take_u64(client_decoder_t *self,
                     const client_map_t *map,
                     client_key_t key,
                     uint64_t min,
                     uint64_t max,
                     uint64_t *ret_number);
bool client_take_u32(client_decoder_t *self,
                     const client_map_t *map,
                     client_key_t key,
                     uint32_t min,
                     uint32_t max,
                     uint32_t *ret_number);
/* 0..INT64_MAX ns. */
bool client_take_time(client_decoder_t *self,
                      const client_map_t *map,
                      client_key_t key,
                      int64_t *ret_ns);
bool client_take_f64(client_decoder_t *self,
                     const client_map_t *map,
                     client_key_t key,
                     double min,
                     double max,
                     double *ret_number);
bool client_take_bool(client_decoder_t *self,
                      const client_map_t *map,
                      client_key_t key,
                      bool *ret_value);
bool client_take_text(client_decoder_t *self,
                      const client_map_t *map,
                      client_key_t key,
                      size_t size_min,
                      size_t size_max,
                      slice_t *ret_text);
/* One of `names`, which ends with NULL; the result is its index. */
bool client_take_choice(client_decoder_t *self,
                        const client_map_t *map,
                        client_key_t key,
                        const char *const *names,
                        uint8_t *ret_index);
bool client_take_signal(client_decoder_t *self,
                        const client_map_t *map,
                        client_key_t key,
                        uint8_t *ret_id);
/* The header of an array that was sent; the reader stands before its first value. More than
 * count_max is TOO_LARGE. */
bool client_open_array(client_decoder_t *self,
                       const client_map_t *map,
                       client_key_t key,
                       uint32_t count_max,
                       uint32_t *ret_count,
                       pack_reader_t *ret_reader);
/* A nested map that was sent. */
bool client_open_map(client_decoder_t *self,
                     const client_map_t *map,
                     client_key_t key,
                     client_map_t *ret_map);
/* An id in an array: 1... */
bool client_next_id(client_decoder_t *self, pack_reader_t *reader, uint64_t *ret_id);
/* A text in an array, or in a map that is read pair by pair; `key` may be empty. */
bool client_next_text(client_decoder_t *self,
                      pack_reader_t *reader,
                      const char *key,
                      size_t size_min,
                      size_t size_max,
                      slice_t *ret_text);
/* A signal's name in an array. */
bool client_next_signal(client_decoder_t *self, pack_reader_t *reader, uint8_t *ret_id);

/* The id of a signal's name. */
bool client_resolve_signal(client_decoder_t *self, slice_t name, uint8_t *ret_id);
/* UNKNOWN_SIGNAL for an id that no signal has. ret false always */
bool client_refuse_signal_id(client_decoder_t *self, uint8_t id);

/* "1h" .. "all", then NULL: by window_t. */
const char *const *client_windows(void);

/* The id of a session that was sent: bin, as session_start gave it. */
bool client_take_session(client_decoder_t *self, const client_map_t *map, session_id_t *ret_id);

/* A cursor that a reply gave. ret false: not one */
bool client_cursor_decode(slice_t bytes, client_cursor_t *ret_cursor);

/* Room for a hash table of `count` entries in self->places, emptied; its size is a power of two. */
uint32_t client_places_clear(client_decoder_t *self, uint32_t count);
/* First slot to look at; differs from process to process, so that nobody can aim at one. */
uint32_t client_places_first(const client_decoder_t *self, uint64_t id, uint32_t slot_count);

/* -- ops --------------------------------------------------------------------------------------- */

bool client_decode_write(client_decoder_t *self);
bool client_decode_session_write(client_decoder_t *self);
/* signal, item, weight and ts of one signal. */
bool client_take_event(client_decoder_t *self, client_event_t *ret_event);
bool client_decode_read(client_decoder_t *self);
/* create_tenant and promote; nothing of the others. */
bool client_decode_decision(client_decoder_t *self);

#endif
