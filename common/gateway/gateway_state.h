/* Inside of the gateway engine; for the gateway_*.c files alone. */
#ifndef TIDAL_COMMON_GATEWAY_GATEWAY_STATE_H
#define TIDAL_COMMON_GATEWAY_GATEWAY_STATE_H

#include "common/base/prng.h"
#include "common/engine/table_keeper.h"
#include "common/gateway/gateway_engine.h"
#include "common/gateway/gateway_merge.h"
#include "common/gateway/gateway_peers.h"
#include "common/gateway/gateway_request.h"
#include "common/wal/record.h"

enum {
    GATEWAY_UNREACHABLE_MS = 1000,  /* a write waits this long for a region that is cut off */
    GATEWAY_FAN_OUT_MS = 1000,      /* lag and digest wait this long for every node */
    GATEWAY_TABLE_MS = 1000,        /* between two questions for a table while there is none */
    GATEWAY_TABLE_SILENT_MS = 5000, /* the same, when nothing of it was heard for so long */
    /* A request for a tenant that the table does not have: how long it waits for a newer table, how
     * often the control plane is asked for their sake, how many wait and what they hold. */
    GATEWAY_STRANGER_MS = 500,
    GATEWAY_STRANGER_ASK_MS = 100,
    GATEWAY_STRANGER_COUNT_MAX = 64,
    GATEWAY_STRANGER_SIZE_MAX = 8 * 1024 * 1024,
    GATEWAY_FUTURE_MS = 3600 * 1000, /* an event may be this far ahead (design section 5) */
    GATEWAY_MARGIN_MS = 100,         /* of a time-out, at most, kept for the way back */
    GATEWAY_PAIR_MS = 50             /* what other shards know of a pair is waited for so long */
};

typedef struct {
    uint64_t requests;
    uint64_t replies_ok;
    uint64_t replies_failed;
    uint64_t by_code[CODE_COUNT];
    uint64_t signals; /* accepted */
    uint64_t parts_sent;
    uint64_t retries;       /* parts sent more than once */
    uint64_t send_refused;  /* the transport took it not */
    uint64_t late_answers;  /* of nodes, to what is over */
    uint64_t malformed;     /* messages that do not decode, or make no sense */
    uint64_t reply_dropped; /* the client is gone or does not read */
    uint64_t token_cut;     /* reply tokens that could not hold everything */
    uint64_t pairs_asked;   /* requests whose pair other shards were asked about */
    uint64_t pairs_refused; /* of them, those whose pair stands for another request */
    uint64_t pairs_unknown; /* of them, those that a shard has not answered for in time */
    uint64_t tables;
    uint64_t probes;
    uint64_t degraded;  /* retrieve replies */
    int64_t longest_ns; /* of a request */
} gateway_counters_t;

/* A request for a tenant that the table does not have, until a newer one is heard. */
typedef struct {
    uint64_t reply_to;
    int64_t since_ns;
    uint32_t tenant_size;
    char tenant[NAME_LENGTH_MAX];
    buffer_t body; /* owned */
} gateway_stranger_t;

struct gateway_engine {
    engine_env_t env;
    gateway_engine_options_t options;
    region_id_t region;
    uint32_t shard_count;
    client_decoder_t *decoder;
    msg_codec_t *codec;
    table_keeper_t *keeper;
    char table_error[ERRBUF_SIZE_BYTES]; /* why the table that there is cannot be used; or empty */
    int64_t table_heard_ns;
    int64_t table_asked_ns;
    buffer_t stable; /* stream_position_t, in the order of stream_id_compare */
    hlc_t hlc;
    prng_t prng;
    uint64_t probe_number;
    gateway_requests_t requests;
    gateway_peers_t peers;
    gateway_counters_t counters;
    uint32_t stranger_count;
    size_t stranger_bytes;
    gateway_stranger_t strangers[GATEWAY_STRANGER_COUNT_MAX]; /* in order of arrival */

    /* Scratch, reused; nothing in it outlives a call. */
    buffer_t out;   /* messages to nodes */
    buffer_t reply; /* replies to clients */
    buffer_t payload;
    buffer_t rows;
    buffer_t session_rows; /* msg_session_signal_t for one shard */
    token_t token;
    signal_event_t *events; /* REQUEST_ROW_COUNT_MAX, those of one shard together */
    uint8_t *shards;        /* of each row of the request */
    gateway_merged_t merged;
    msg_ranked_t *ranked; /* RETRIEVE_LIMIT_MAX */
};

/* -- gateway_engine.c -------------------------------------------------------------------------- */

static inline int64_t gateway_ms(uint32_t ms)
{
    return (int64_t)ms * ENGINE_NS_PER_MS;
}

/* NULL while there is none that can be used. */
const table_t *gateway_table(const gateway_engine_t *self);
/* Regions that hold the tenant; empty when it is gone. */
region_set_t gateway_placed(const gateway_engine_t *self, tenant_id_t tenant);
slice_t gateway_region_name(const gateway_engine_t *self, region_id_t region);
/* Names of a set, by ascending number; returns how many. */
uint32_t gateway_region_names(const gateway_engine_t *self,
                              region_set_t set,
                              slice_t ret_names[REGION_COUNT_MAX]);
/* Asks the control plane for its table. */
void gateway_ask_table(gateway_engine_t *self, now_t now);
/* A request that was decoded before: now the table decides. */
void gateway_take_again(gateway_engine_t *self, uint64_t reply_to, slice_t body, now_t now);

/* -- gateway_strangers.c ----------------------------------------------------------------------- */

/* Keeps the request until a newer table is heard, at most GATEWAY_STRANGER_MS. False: no room. */
bool gateway_strangers_keep(
    gateway_engine_t *self, uint64_t reply_to, slice_t tenant, slice_t body, now_t now);
/* A table was heard. in is_answer  the control plane's answer to gateway_ask_table */
void gateway_strangers_review(gateway_engine_t *self, bool is_answer, now_t now);
void gateway_strangers_tick(gateway_engine_t *self, now_t now);
int64_t gateway_strangers_deadline_ns(const gateway_engine_t *self);
/* Answers or forgets all that wait. */
void gateway_strangers_end(gateway_engine_t *self, bool replies, now_t now);

/* -- gateway_run.c ----------------------------------------------------------------------------- */

static inline bool gateway_is_write(const gateway_request_t *request)
{
    return client_op_class(request->op) == CLIENT_CLASS_WRITE;
}

static inline bool gateway_is_read(const gateway_request_t *request)
{
    return client_op_class(request->op) == CLIENT_CLASS_READ;
}

/* A message to the node; counted. errs those of net->send */
err_t gateway_send(gateway_engine_t *self, node_id_t node, const msg_t *msg);
/* After a write that succeeded, not on an island: where it concerned all shards at `replicated` or
 * more, the home shard's leader is told that all of them hold it. */
void gateway_tell_held(gateway_engine_t *self, const gateway_request_t *request);
/* Sends self->reply and forgets the handle. */
void gateway_reply(gateway_engine_t *self, uint64_t reply_to, code_t code);
void gateway_reply_error(
    gateway_engine_t *self, uint64_t reply_to, slice_t id, code_t code, const char *message);
/* Sends self->reply, which ends the request. */
void gateway_finish(gateway_engine_t *self, gateway_request_t *request, code_t code, now_t now);
/* The same with an error and nothing else. */
void gateway_finish_error(gateway_engine_t *self,
                          gateway_request_t *request,
                          const client_failure_t *failure,
                          now_t now);
/* The part is over. in message  copied */
void gateway_part_end(gateway_request_t *request,
                      gateway_part_t *part,
                      code_t code,
                      slice_t message);
/* The part waits until `due_ns` for the reason given; which is what it ends with if nothing better
 * comes. */
void gateway_part_wait(
    gateway_request_t *request, gateway_part_t *part, code_t code, slice_t message, int64_t due_ns);
/* How long a part waits before it is sent again: grows, and differs from part to part. */
int64_t gateway_backoff_ns(gateway_engine_t *self, const gateway_part_t *part);
/* Does what is due for the request: sends parts, ends those whose time is over, replies when all
 * are done. The request may be closed when it returns. */
void gateway_run(gateway_engine_t *self, gateway_request_t *request, now_t now);
/* Ends what is not done as if its deadline had come, and replies. */
void gateway_give_up(gateway_engine_t *self, gateway_request_t *request, now_t now);
/* What `token` of a reply is: the request's, what its answers told of stamps, and these positions,
 * without those that are stable. Appended to `out`. */
void gateway_encode_token(gateway_engine_t *self,
                          const gateway_request_t *request,
                          const stream_position_t *positions,
                          uint32_t position_count,
                          buffer_t *out);
/* Whether every placed node has it. */
bool gateway_is_stable(const gateway_engine_t *self, stream_id_t stream, uint64_t seq);
/* An answer told of a register write with this stamp. */
void gateway_see_stamp(gateway_engine_t *self, gateway_request_t *request, hlc_stamp_t stamp);
/* Its streams of one shard, encoded; empty: none. Lives in self->rows */
slice_t gateway_token_of_shard(gateway_engine_t *self,
                               const token_t *token,
                               tenant_id_t tenant,
                               shard_id_t shard);
/* Tokens of the parts into `held`. in token  of the client's request */
void gateway_split_token(gateway_engine_t *self, gateway_request_t *request, const token_t *token);

/* -- gateway_record.c, gateway_write.c, gateway_write_reply.c ---------------------------------- */

/* Takes the request apart. CODE_OK, or why it is refused. */
code_t gateway_write_begin(gateway_engine_t *self,
                           gateway_request_t *request,
                           const client_request_t *client,
                           now_t now,
                           errbuf_t *errbuf);
void gateway_write_send(gateway_engine_t *self,
                        gateway_request_t *request,
                        uint32_t index,
                        now_t now);
/* A SENT part got no answer until its time. */
void gateway_write_unanswered(gateway_request_t *request, gateway_part_t *part, now_t now);
void gateway_write_answered(gateway_engine_t *self,
                            gateway_request_t *request,
                            gateway_part_t *part,
                            region_id_t from,
                            const msg_write_reply_t *answer,
                            now_t now);
/* The deadline has come: ends every part that is not done. */
void gateway_write_expire(gateway_engine_t *self, gateway_request_t *request);
/* What concerns all shards: once the home shard is done, the others are begun, or given up.
 * ret whether anything changed */
bool gateway_write_others(gateway_request_t *request, now_t now);
/* All parts are done. */
void gateway_write_finish(gateway_engine_t *self, gateway_request_t *request, now_t now);
/* A new table: parts whose leader has changed are looked at again. */
void gateway_write_table_changed(gateway_engine_t *self, gateway_request_t *request, now_t now);
/* Appends the records of a register write, one per item, user or relation, all with one stamp.
 * in item  which of the client's items; else 0 */
void gateway_record_append(gateway_engine_t *self,
                           const client_request_t *client,
                           uint32_t item,
                           hlc_stamp_t hlc,
                           buffer_t *payload);
/* Appends the one record of `payload` with another stamp. in payload  as above */
void gateway_record_restamp(slice_t record, hlc_stamp_t hlc, buffer_t *payload);

/* Parts that wait for nothing are due now; of what concerns all shards the home shard's. */
void gateway_write_start(gateway_request_t *request, now_t now);

/* -- gateway_pairs.c --------------------------------------------------------------------------- */

/* Asks the shards whether the request's pair stands for another request. False: there is nobody to
 * ask, or no need; else the request is started when they have answered.
 * in token  of the client's request: who answers has reached it, if there is time */
bool gateway_pairs_begin(gateway_engine_t *self,
                         gateway_request_t *request,
                         const token_t *token,
                         now_t now);
/* in shard  of the node that answered */
void gateway_pairs_answered(gateway_request_t *request,
                            shard_id_t shard,
                            const msg_read_reply_t *answer);
/* Whether it goes on: starts the request once all have answered or their time is over. False: it
 * waits, or was refused and is closed (ret_is_over). */
bool gateway_pairs_review(gateway_engine_t *self,
                          gateway_request_t *request,
                          now_t now,
                          bool *ret_is_over);

/* -- gateway_read.c, gateway_read_reply.c, gateway_retrieve.c ---------------------------------- */

code_t gateway_read_begin(gateway_engine_t *self,
                          gateway_request_t *request,
                          const client_request_t *client,
                          now_t now,
                          errbuf_t *errbuf);
void gateway_read_send(gateway_engine_t *self,
                       gateway_request_t *request,
                       uint32_t index,
                       now_t now);
void gateway_read_unanswered(gateway_engine_t *self,
                             gateway_request_t *request,
                             gateway_part_t *part,
                             now_t now);
void gateway_read_answered(gateway_engine_t *self,
                           gateway_request_t *request,
                           uint32_t index,
                           region_id_t from,
                           const msg_read_reply_t *answer,
                           now_t now);
void gateway_read_expire(gateway_request_t *request);
void gateway_read_finish(gateway_engine_t *self, gateway_request_t *request, now_t now);
/* Keeps what the reply will need of an answer; of item, user and relation, which have one part, it
 * writes self->reply, as gateway_read_finish will send it.
 * ret CODE_OK · CODE_NOT_FOUND · CODE_INTERNAL it does not fit the question */
code_t gateway_read_keep(gateway_engine_t *self,
                         gateway_request_t *request,
                         gateway_part_t *part,
                         const msg_read_reply_t *answer);
/* as_of and token of the reply; the token lives in self->rows. */
client_read_reply_t gateway_read_common(gateway_engine_t *self, const gateway_request_t *request);
/* The failure of a part, with its place in words. in ret_text  holds the message */
client_failure_t gateway_part_failure(const gateway_engine_t *self,
                                      const gateway_request_t *request,
                                      const gateway_part_t *part,
                                      errbuf_t *ret_text);

/* -- gateway_session.c ------------------------------------------------------------------------- */

static inline bool gateway_is_session_write(client_op_t op)
{
    return op == CLIENT_OP_SESSION_START || op == CLIENT_OP_SESSION_SIGNAL ||
           op == CLIENT_OP_SESSION_CLOSE;
}

/* Whether the part reads the session of a retrieve. */
static inline bool gateway_is_session_part(const gateway_request_t *request, uint32_t index)
{
    return request->read.has_session && index + 1 == request->part_count;
}

/* Parts of a retrieve that rank. */
static inline uint32_t gateway_ranking_count(const gateway_request_t *request)
{
    return request->part_count - (request->read.has_session ? 1 : 0);
}

/* Not there now: a ranking goes without it. */
static inline bool gateway_is_missing(code_t code)
{
    return code == CODE_UNAVAILABLE || code == CODE_TIMEOUT || code == CODE_OVERLOADED;
}

/* The one record of a session write, for the user's home shard. */
code_t gateway_session_write_begin(gateway_engine_t *self,
                                   gateway_request_t *request,
                                   const client_request_t *client,
                                   now_t now,
                                   errbuf_t *errbuf);
/* Writes self->reply. in failure  NULL: ok */
void gateway_session_write_reply(gateway_engine_t *self,
                                 const gateway_request_t *request,
                                 const client_failure_t *failure,
                                 const client_write_reply_t *write);
/* session_get: one part. */
void gateway_session_read_begin(gateway_engine_t *self,
                                gateway_request_t *request,
                                const session_id_t *session);
/* A retrieve counts a session's signals: adds the part that reads it, once all others are there. */
void gateway_session_count_begin(gateway_engine_t *self,
                                 gateway_request_t *request,
                                 const session_id_t *session);
/* What the message of a retrieve's part has of the session. The rows live in self->session_rows. */
void gateway_session_fill(gateway_engine_t *self,
                          const gateway_request_t *request,
                          uint32_t index,
                          msg_read_t *read);
/* As gateway_read_keep, for READ_SESSION. */
code_t gateway_session_keep(gateway_engine_t *self,
                            gateway_request_t *request,
                            const msg_read_reply_t *answer);
/* The parts of a retrieve wait until the session is read, or is not to be had.
 * ret whether anything changed */
bool gateway_session_others(gateway_request_t *request, now_t now);

/* Takes a retrieve apart: terms, candidates, filters. */
code_t gateway_retrieve_begin(gateway_engine_t *self,
                              gateway_request_t *request,
                              const client_request_t *client,
                              errbuf_t *errbuf);
code_t gateway_retrieve_keep(gateway_request_t *request,
                             gateway_part_t *part,
                             const msg_read_reply_t *answer);
void gateway_retrieve_finish(gateway_engine_t *self, gateway_request_t *request, now_t now);

/* -- gateway_mesh.c ---------------------------------------------------------------------------- */

/* Replies to an op that needs no node. ret false: it needs some, or a table */
bool gateway_mesh_answer(gateway_engine_t *self,
                         uint64_t reply_to,
                         const client_request_t *client,
                         now_t now);
/* The same, of what needs the table. */
void gateway_mesh_topology(gateway_engine_t *self,
                           uint64_t reply_to,
                           const client_request_t *client,
                           const table_tenant_t *tenant);
/* lag and digest: asks every node of the tenant. */
void gateway_mesh_begin(gateway_engine_t *self, gateway_request_t *request, now_t now);
void gateway_mesh_send(gateway_engine_t *self,
                       gateway_request_t *request,
                       uint32_t index,
                       now_t now);
void gateway_mesh_answered(gateway_request_t *request,
                           gateway_part_t *part,
                           const msg_read_reply_t *answer);
void gateway_mesh_finish(gateway_engine_t *self, gateway_request_t *request, now_t now);

#endif
