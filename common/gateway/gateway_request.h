/* Requests under way: what the gateway keeps of each until it is replied to, and their timer.
 *
 * A request borrows nothing: what it needs of the client's bytes is in its `held` buffer, which
 * never moves once the request was taken apart. Requests and their buffers are used again. */
#ifndef TIDAL_COMMON_GATEWAY_GATEWAY_REQUEST_H
#define TIDAL_COMMON_GATEWAY_GATEWAY_REQUEST_H

#include "common/base/due_heap.h"
#include "common/topology/topology.h"
#include "common/wire/client_reply.h"
#include "common/wire/client_request.h"
#include "common/wire/msg.h"

enum {
    /* A request's buffers of more than this are given back after it: the usual one needs less. */
    GATEWAY_SPARE_SIZE_MAX = 32 * 1024,
    /* Closed requests that are kept for the next ones. */
    GATEWAY_SPARE_COUNT_MAX = 256,
    /* Parts of one request: every node of the mesh (lag, digest). */
    GATEWAY_PART_COUNT_MAX = REGION_COUNT_MAX * SHARD_COUNT_MAX,
    GATEWAY_ATTEMPT_COUNT = 64, /* messages of one part that can be told apart */
    GATEWAY_PROBE_SLOT = 0xffff /* in the id of a probe, or of word of what all shards hold: these
                                    belong to no request */
};
static_assert((int)GATEWAY_INFLIGHT_COUNT_MAX < (int)GATEWAY_PROBE_SLOT,
              "slots are numbers of 16 bits");
static_assert(GATEWAY_PART_COUNT_MAX <= (1 << 10), "parts are numbers of 10 bits");

typedef enum {
    GATEWAY_PART_IDLE = 0,
    GATEWAY_PART_WAITING = 1,
    GATEWAY_PART_SENT = 2,
    GATEWAY_PART_DONE = 3
} gateway_part_state_t;

/* A place in a buffer of the request. */
typedef struct {
    uint32_t offset;
    uint32_t size;
} gateway_span_t;

/* What one shard has to do for a request. */
typedef struct {
    shard_id_t shard;
    gateway_part_state_t state;
    region_id_t target; /* whose node was asked last; 0 nobody yet */
    region_id_t hint;   /* who leads, as a node said with READ_ONLY; 0: ask the table */
    region_set_t tried; /* reads: regions asked in this round */
    int64_t due_ns;     /* WAITING: send; SENT: wait no longer; else INT64_MAX */
    uint32_t attempts;  /* messages that were sent */
    uint32_t unsettled; /* reads: of them, those not answered */
    uint64_t open;      /* writes: the same, a bit per attempt (modulo 64), since a link may deliver
                           one answer twice */
    uint32_t wait_count; /* times it had to wait for a better moment */
    code_t code;         /* DONE: how it ended. Before: why it waits; CODE_OK when it does not */
    region_id_t leader;  /* who leads, where the failure says so */
    uint32_t retry_after_ms;
    gateway_span_t message; /* in `text`; of a code that is not OK */
    slice_t token;          /* in `held`: the streams of this shard */
    /* Writes. */
    gateway_span_t payload; /* in `payload` */
    uint32_t event_count;
    ack_level_t durability;
    region_set_t replicas;
    bool duplicate;
    bool island;
    bool has_position;
    stream_id_t stream;
    uint64_t first_seq;
    uint64_t last_seq;
    hlc_stamp_t hlc;
    msg_session_summary_t session;
    /* Reads. */
    uint32_t first_item; /* of this shard's share of the items */
    uint32_t item_count;
    gateway_span_t answer; /* retrieve: entries of `ranked`; lag and digest: of `rows` */
} gateway_part_t;

/* An item as a shard ranked it. */
typedef struct {
    double score;
    item_id_t item;
    creator_id_t creator;
    gateway_span_t category; /* in `text` */
    uint32_t terms;          /* index of the first in `terms` */
    uint32_t spare;
} gateway_ranked_t;

/* A row of lag, or a position of digest. */
typedef struct {
    stream_id_t stream;
    uint64_t leader_seq;
    uint64_t applied_seq;
    uint32_t lag_ms;
    uint32_t spare;
} gateway_row_t;

typedef struct {
    uint32_t slot;
    uint32_t generation;
    bool is_open;
    uint64_t order; /* of requests by arrival */

    client_op_t op;
    uint64_t reply_to;
    int64_t received_ns; /* mono */
    int64_t deadline_ns; /* mono */
    slice_t id;          /* in `held` */
    slice_t token;       /* union of the request's tokens, encoded; empty: none */
    hlc_stamp_t seen;    /* highest stamp of a register write that the answers told */
    tenant_id_t tenant;

    uint32_t part_count;
    uint32_t done_count;
    gateway_part_t *parts;
    uint32_t part_capacity;

    struct {
        ack_level_t ack;
        bool has_producer;
        slice_t producer;
        uint64_t seq;
        uint8_t content_hash[MSG_CONTENT_HASH_SIZE];
        bool is_register; /* carries its HLC: a second copy does no harm */
        bool is_explicit; /* the client chose the HLC */
        hlc_stamp_t hlc;
        bool is_for_all; /* home shard first, then all others */
        uint32_t home;   /* its part */
        bool are_others_begun;
        uint64_t row_count; /* events or items of the client */
        session_id_t session;
        struct { /* gateway_pairs.c */
            bool is_open;
            bool is_held;     /* a shard that the request goes to holds it under the pair */
            bool is_other;    /* a shard has seen the pair with another request */
            uint64_t waiting; /* shards that have not answered, a bit each */
            int64_t due_ns;   /* it is not waited for them any longer */
        } pair;
    } write;

    struct {
        msg_read_t msg; /* shard, token, wait and candidates are filled in for each part */
        bool from_leader;
        bool strict_staleness; /* max_staleness_ms was given */
        int64_t wait_until_ns;
        uint32_t item_count; /* cells */
        uint32_t signal_count;
        uint32_t window_count;
        uint32_t limit; /* retrieve: as the client asked */
        uint32_t max_per_creator;
        uint32_t max_per_category;
        int64_t as_of_ns;
        uint64_t candidate_count;
        uint64_t filtered_count;
        uint32_t term_count;
        uint32_t staleness_ms[REGION_COUNT_MAX + 1];
        /* retrieve with a session: the last part reads it, before the others are begun */
        bool has_session;
        bool are_others_begun;
        session_id_t session;
    } read;

    buffer_t held;      /* what slices of the request point into; never moves once it is reserved */
    buffer_t payload;   /* writes: records. Reads: items, u64 LE, those of one shard together */
    buffer_t places;    /* cells: u32, of each of those items in the client's list */
    buffer_t text;      /* messages and categories */
    buffer_t cells;     /* msg_cell_t */
    buffer_t ranked;    /* gateway_ranked_t */
    buffer_t terms;     /* double */
    buffer_t rows;      /* gateway_row_t; of a retrieve msg_session_signal_t of its session */
    buffer_t positions; /* stream_position_t: what the answers reflect */
    size_t counted_bytes;
} gateway_request_t;

typedef struct {
    gateway_request_t **slots; /* capacity; NULL: never used, or given back */
    uint32_t *free_slots;
    uint32_t free_count;
    uint32_t capacity;
    uint32_t open_count;
    uint32_t kept_count; /* slots that are not NULL */
    uint64_t order;
    uint32_t generation;
    uint64_t held_bytes; /* of all that are open */
    due_heap_t due;
} gateway_requests_t;

/* in capacity    1..GATEWAY_INFLIGHT_COUNT_MAX
 * in generation  any; another one in each life of the process */
void gateway_requests_init(gateway_requests_t *self, uint32_t capacity, uint32_t generation);
void gateway_requests_done(gateway_requests_t *self);

/* An empty request; NULL when all are in use. */
gateway_request_t *gateway_requests_open(gateway_requests_t *self);
void gateway_requests_close(gateway_requests_t *self, gateway_request_t *request);
/* The open request and part that an id belongs to; NULL when it is over. */
gateway_request_t *gateway_requests_find(const gateway_requests_t *self,
                                         uint64_t request_id,
                                         uint32_t *ret_part);
/* Every open request; for rare walks. in index < capacity; NULL where there is none */
gateway_request_t *gateway_requests_at(const gateway_requests_t *self, uint32_t index);

/* Of the next message of a part: no two of its messages have the same (modulo 64). */
uint64_t gateway_request_id(const gateway_request_t *request, uint32_t part);
/* Of a question about the request as a whole to a shard's node; and the open request and shard that
 * such an id belongs to, NULL when it is over. */
uint64_t gateway_request_question_id(const gateway_request_t *request, shard_id_t shard);
gateway_request_t *gateway_requests_find_question(const gateway_requests_t *self,
                                                  uint64_t request_id,
                                                  shard_id_t *ret_shard);
/* Which of the part's messages an id belongs to, from 0 and modulo 64. */
uint32_t gateway_request_attempt(uint64_t request_id);

/* `count` parts of shards 0.., idle. */
void gateway_request_set_parts(gateway_request_t *request, uint32_t count);
/* One part more, idle; the others stay as they are. */
gateway_part_t *gateway_request_add_part(gateway_request_t *request);
/* Room in `held` for all that will be put into it: after this nothing in it moves. */
void gateway_request_reserve(gateway_request_t *request, size_t size);
/* Copies into `held`. */
slice_t gateway_request_hold(gateway_request_t *request, slice_t bytes);
/* Copies into `text`. */
gateway_span_t gateway_request_note(gateway_request_t *request, slice_t text);
slice_t gateway_request_text(const gateway_request_t *request, gateway_span_t span);

/* Counts anew what the request holds, and sets its timer. */
void gateway_requests_settle(gateway_requests_t *self, gateway_request_t *request);

#endif
