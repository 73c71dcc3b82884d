/* Replies to clients, and the client's side for the project's own tools.
 *
 * Every function here appends one whole reply to a buffer, one msgpack map as
 * services/gateway/PROTOCOL.md has it: `id` as the client encoded it, `ok`, then the fields of the
 * op. Where a helper takes a failure, NULL means ok; otherwise the reply carries `error`, and of
 * the fields those that hold also then. Text handed in is written as str and must be UTF-8. Replies
 * use msgpack integers and float 64.
 *
 * A reply that no helper here knows is written with client_reply_begin, the pack_put_ functions of
 * pack.h and client_reply_end; so may any helper's reply be extended: begin, the client_put_
 * function of the op, own fields, end. */
#ifndef TIDAL_COMMON_WIRE_CLIENT_REPLY_H
#define TIDAL_COMMON_WIRE_CLIENT_REPLY_H

#include "common/wire/client_request.h"
#include "common/wire/msg.h"
#include "common/wire/pack.h"

/* -- envelope ---------------------------------------------------------------------------------- */

/* A shard that failed, for error.shards. */
typedef struct {
    shard_id_t shard;
    code_t code;
    slice_t message;
    slice_t leader; /* region's name; empty: nothing to say */
} client_failed_shard_t;

typedef struct {
    code_t code;             /* not CODE_OK */
    slice_t message;         /* what was expected, what was found, what to do next */
    slice_t leader;          /* region's name; empty: nothing to say */
    uint32_t retry_after_ms; /* 0: nothing to say */
    uint32_t shard_count;
    const client_failed_shard_t *shards;
} client_failure_t;

/* Opens the reply's map; writes `id` when there is one, `ok`, and `error` when failure is not NULL.
 * in id  encoded value, as client_decode gave it */
void client_reply_begin(pack_writer_t *writer,
                        buffer_t *out,
                        slice_t id,
                        const client_failure_t *failure);
/* Closes the map. */
void client_reply_end(pack_writer_t *writer);

/* A whole reply of nothing but an error. */
void client_reply_error(buffer_t *out, slice_t id, code_t code, const char *message);
void client_reply_failure(buffer_t *out, slice_t id, const client_failure_t *failure);

/* `origin` of a stream as clients see it: "us-east-3-00f3a1c2d4e5b697" (region's name, shard,
 * incarnation); one per stream of a tenant. */
enum { CLIENT_ORIGIN_SIZE = NAME_LENGTH_MAX + 32 };
void client_origin_text(char ret_text[CLIENT_ORIGIN_SIZE],
                        slice_t region_name,
                        const stream_id_t *stream);

/* -- writes ------------------------------------------------------------------------------------ */

typedef struct {
    ack_level_t durability; /* ACK_NONE: not written (nothing holds it) */
    uint32_t replica_count; /* names of the regions that hold it durably */
    const slice_t *replicas;
    bool has_token;
    slice_t token;
    bool island;
    bool duplicate;    /* written only when true */
    bool has_position; /* a single shard was written, and where is known */
    shard_id_t shard;
    slice_t origin; /* client_origin_text */
    uint64_t seq_first;
    uint64_t seq_last;
    hlc_stamp_t hlc;
} client_write_reply_t;

/* signal, put_item, delete_item, hide, unhide: one shard. With a failure: what is set of it. */
void client_reply_write(buffer_t *out,
                        slice_t id,
                        const client_failure_t *failure,
                        const client_write_reply_t *write);
void client_put_write(pack_writer_t *writer, const client_write_reply_t *write);

typedef struct {
    shard_id_t shard;
    bool has_position; /* false: a duplicate whose place is no longer kept */
    slice_t origin;
    uint64_t seq_first;
    uint64_t seq_last;
    uint64_t count; /* events of this request in this shard */
    ack_level_t durability;
    bool island; /* written only when true */
    bool duplicate;
} client_shard_write_t;

/* signals, put_items (has_accepted), and what reaches all shards: put_user, mute, unmute, block,
 * unblock. With a failure (PARTIAL): the shards that were written. */
typedef struct {
    client_write_reply_t write; /* durability is the lowest; has_position: of the only shard */
    bool has_accepted;
    uint64_t accepted; /* events or items written */
    uint32_t shard_count;
    const client_shard_write_t *shards;
} client_shards_reply_t;

void client_reply_shards(buffer_t *out,
                         slice_t id,
                         const client_failure_t *failure,
                         const client_shards_reply_t *reply);

/* session_start, session_signal, session_close: what of these is set, beside the write. */
typedef struct {
    const session_id_t *session; /* of a start; NULL: not written */
    uint64_t session_seq;        /* of a signal; 0: not written */
    bool has_summary;            /* of a close */
    user_id_t user;
    uint64_t signals;
    uint64_t duration_ms;
    bool auto_closed;
} client_session_write_t;
void client_reply_session_write(buffer_t *out,
                                slice_t id,
                                const client_failure_t *failure,
                                const client_write_reply_t *write,
                                const client_session_write_t *session);

/* -- reads ------------------------------------------------------------------------------------- */

/* What every read reply carries. */
typedef struct {
    int64_t as_of_ns;
    slice_t token; /* always written, as bin */
} client_read_reply_t;

/* as_of and token. */
void client_put_read(pack_writer_t *writer, const client_read_reply_t *read);

typedef struct {
    client_op_t op; /* SCORE, COUNT or VELOCITY */
    double score;   /* or velocity */
    uint64_t count;
    bool clipped;
} client_cell_reply_t;
void client_reply_cell(buffer_t *out,
                       slice_t id,
                       const client_read_reply_t *read,
                       const client_cell_reply_t *cell);

typedef struct {
    slice_t signal; /* name */
    uint32_t window_count;
    const msg_cell_t *cell; /* counts by place in the request's windows */
    item_id_t item;
} client_cell_row_t;

/* Gives row i of row_count; called in order, once each. */
typedef void (*client_cell_row_fn)(void *context, uint32_t i, client_cell_row_t *ret_row);

/* rows: [item, signal, score, [count per window]] */
void client_reply_cells(buffer_t *out,
                        slice_t id,
                        const client_read_reply_t *read,
                        uint32_t row_count,
                        client_cell_row_fn row_fn,
                        void *context);

/* `fields`: those that are present. */
void client_reply_item(buffer_t *out,
                       slice_t id,
                       const client_read_reply_t *read,
                       const client_item_t *item);

typedef struct {
    user_id_t user;
    uint32_t attribute_count;
    const msg_attribute_t *attributes;
} client_user_reply_t;
/* `user`, `attrs`. */
void client_reply_user(buffer_t *out,
                       slice_t id,
                       const client_read_reply_t *read,
                       const client_user_reply_t *user);

typedef struct {
    uint32_t session_seq;
    slice_t signal; /* name; empty: of no signal that is known here, written as nil */
    item_id_t item;
    double weight;
    int64_t ts_ns;
    slice_t origin;
} client_session_row_t;

/* Gives row i of row_count; called in order, once each. */
typedef void (*client_session_row_fn)(void *context, uint32_t i, client_session_row_t *ret_row);

typedef struct {
    user_id_t user;
    slice_t agent; /* empty: none, written as nil */
    slice_t meta;  /* encoded; what is not one map within the limits is written as nil */
    bool open;
    bool auto_closed; /* only when not open */
    int64_t started_ns;
    int64_t closed_ns; /* written as nil while open */
    uint32_t row_count;
    client_session_row_fn row_fn;
    void *context;
} client_session_reply_t;
/* `user`, `agent`, `meta`, `open`, `auto_closed`, `started`, `closed`, `signals`: rows
 * [session_seq, signal, item, weight, ts, origin]. */
void client_reply_session(buffer_t *out,
                          slice_t id,
                          const client_read_reply_t *read,
                          const client_session_reply_t *session);

typedef struct {
    bool of_creator;        /* false: hidden, hidden_hlc; true: muted.., blocked.. */
    bool hidden;            /* or muted */
    hlc_stamp_t hidden_hlc; /* zero: never set; written as nil */
    bool blocked;
    hlc_stamp_t blocked_hlc;
} client_relation_reply_t;
void client_reply_relation(buffer_t *out,
                           slice_t id,
                           const client_read_reply_t *read,
                           const client_relation_reply_t *relation);

typedef struct {
    shard_id_t shard;
    slice_t region;
} client_missing_shard_t;

typedef struct {
    slice_t region;
    uint32_t staleness_ms; /* UINT32_MAX: never heard of; written as -1 */
} client_staleness_t;

typedef struct {
    uint32_t reason_count; /* not 0: degraded */
    const slice_t *reasons;
    uint32_t shards_total;
    uint32_t shards_answered;
    uint32_t missing_count;
    const client_missing_shard_t *missing;
    uint32_t staleness_count;
    const client_staleness_t *staleness;
    uint64_t candidates;
    uint64_t filtered;
    uint64_t took_us;
} client_stats_t;

/* One term of a score, with explain. */
typedef struct {
    slice_t signal; /* name */
    uint8_t kind;   /* term_kind_t: 0 decay, 1 count, 2 velocity */
    uint8_t window; /* window_t; not of decay */
    double weight;
} client_term_t;

typedef struct {
    uint32_t item_count;
    const msg_ranked_t *items; /* best first */
    uint32_t term_count;       /* 0: no explain; else each item's terms[] are written with these */
    const client_term_t *terms;
    bool has_cursor; /* false: nothing follows; `cursor` is nil */
    client_cursor_t cursor;
    client_stats_t stats;
} client_retrieve_reply_t;
void client_reply_retrieve(buffer_t *out,
                           slice_t id,
                           const client_read_reply_t *read,
                           const client_retrieve_reply_t *retrieve);

/* -- mesh -------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t id;
    slice_t name;
    int64_t half_life_s;
    uint8_t windows_mask; /* bit window_t */
} client_hello_signal_t;

typedef struct {
    slice_t name;
    slice_t formula; /* text */
} client_hello_profile_t;

typedef struct {
    slice_t version; /* of the program */
    slice_t region;
    uint32_t signal_count;
    const client_hello_signal_t *signals;
    uint32_t profile_count;
    const client_hello_profile_t *profiles;
} client_hello_t;
/* server "tidalmesh", protocol 1, and limits from bounds.h stand by themselves. */
void client_reply_hello(buffer_t *out, slice_t id, const client_hello_t *hello);

void client_reply_ping(buffer_t *out, slice_t id);

typedef struct {
    shard_id_t shard;
    uint64_t epoch;
    slice_t leader; /* region's name; empty: none, written as nil */
    uint32_t in_sync_count;
    const slice_t *in_sync;
    uint32_t region_count; /* where the tenant is placed */
    const slice_t *regions;
} client_topology_shard_t;

typedef struct {
    uint64_t version;
    uint32_t region_count;
    const slice_t *regions;
    uint32_t shard_count;
    const client_topology_shard_t *shards;
    uint32_t tenant_count;
    const slice_t *tenants; /* names */
} client_topology_t;
void client_reply_topology(buffer_t *out, slice_t id, const client_topology_t *topology);

/* create_tenant: the tenant as it is now. */
typedef struct {
    slice_t tenant; /* name */
    uint64_t generation;
    uint32_t region_count;
    const slice_t *regions;
    bool accepts_islands;
    uint64_t version; /* of a routing table that has it */
} client_tenant_t;
void client_reply_tenant(buffer_t *out, slice_t id, const client_tenant_t *tenant);

/* promote: the shard's record as it is now. */
typedef struct {
    slice_t tenant;
    client_topology_shard_t shard;
    uint64_t record_version;
    uint64_t version; /* of a routing table that has it */
} client_record_t;
void client_reply_record(buffer_t *out, slice_t id, const client_record_t *record);

typedef struct {
    slice_t region; /* of the node that lags */
    shard_id_t shard;
    slice_t tenant;
    slice_t origin;
    uint64_t leader_seq;
    uint64_t applied_seq; /* lag_seq is the difference, 0 at least */
    uint32_t lag_ms;      /* UINT32_MAX: unknown; written as -1 */
} client_lag_t;
void client_reply_lag(buffer_t *out, slice_t id, uint32_t count, const client_lag_t *rows);
/* `key`: array of maps. */
void client_put_lag(pack_writer_t *writer,
                    const char *key,
                    uint32_t count,
                    const client_lag_t *rows);

typedef struct {
    slice_t origin;
    uint64_t seq;
} client_applied_t;

typedef struct {
    slice_t region;
    slice_t tenant;
    shard_id_t shard;
    uint32_t applied_count; /* at most MSGPACK_MAP_COUNT_MAX */
    const client_applied_t *applied;
    uint64_t signal_count; /* sum of all-time counts, cells without cohort */
    bool answered;         /* false: digest is nil */
    uint8_t digest[MSG_HASH_SIZE];
} client_digest_t;
void client_reply_digest(buffer_t *out, slice_t id, uint32_t count, const client_digest_t *rows);

/* A name and an integer: counters. */
typedef struct {
    slice_t name;
    uint64_t value;
} client_counter_t;

typedef struct {
    slice_t from;
    slice_t to;
    client_link_rule_t rule;
    uint32_t counter_count;
    const client_counter_t *counters;
} client_link_t;
/* link, links and heal: `links`, array of maps of from, to, the rule's fields and `counters`. */
void client_reply_links(buffer_t *out, slice_t id, uint32_t count, const client_link_t *links);

/* `live` is true by answering. in reasons  why not ready */
void client_reply_health(
    buffer_t *out, slice_t id, bool ready, uint32_t reason_count, const slice_t *reasons);

/* Integral values are written as integers, the others as float 64; at most MSGPACK_MAP_COUNT_MAX.
 */
void client_reply_metrics(buffer_t *out, slice_t id, uint32_t count, const msg_metric_t *metrics);

typedef struct {
    slice_t name; /* "shard-us-east-0" */
    slice_t kind; /* "shard_node" */
    slice_t region;
    bool has_shard;
    shard_id_t shard;
    bool alive;
    bool ready;
    slice_t reason; /* why not; may be empty */
    uint64_t boot;
    uint32_t silent_ms; /* since its last heartbeat; UINT32_MAX never heard, written as -1 */
    uint64_t table_version;
} client_process_t;

typedef struct {
    slice_t tenant;
    int64_t signals; /* that count */
    int64_t bytes;   /* of the log's payloads, one copy */
} client_usage_t;

typedef struct {
    bool converged;
    slice_t summary;            /* one sentence: converged, or what is missing and why */
    client_topology_t topology; /* epochs, leaders, in-sync sets; tenant `tenants[0]`.. */
    uint32_t process_count;
    const client_process_t *processes;
    uint32_t lag_count;
    const client_lag_t *lag;
    uint32_t link_count; /* as the proxy reports them; 0 without one */
    const client_link_t *links;
    uint32_t usage_count;
    const client_usage_t *usage;
} client_status_t;
/* processes, lag, links, usage, converged, summary, migrations (empty in this version) and what
 * topology has. */
void client_reply_status(buffer_t *out, slice_t id, const client_status_t *status);

/* -- the client's side ------------------------------------------------------------------------- */

/* Opens a request: `op` and `id`; the fields follow by pack_put_; client_request_end closes it. */
void client_request_begin(pack_writer_t *writer, buffer_t *out, const char *op, uint64_t id);
void client_request_end(pack_writer_t *writer);

/* What a tool must know of any reply. Borrowed from the reply's bytes. */
typedef struct {
    bool has_id;
    uint64_t id;
    bool ok;
    code_t code;     /* CODE_OK when ok; CODE_INTERNAL for a code that this version does not know */
    slice_t message; /* of the error */
} client_answer_t;

/* Checks the bytes (pack_check) and reads the envelope; fields are then read with pack_get.
 * errs ERR_CORRUPT no reply of this protocol */
err_t client_answer_read(slice_t reply, client_answer_t *ret_answer, errbuf_t *errbuf);

#endif
