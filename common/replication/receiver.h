/* What a region's segment receiver takes in, from whom, and what it confirms and announces: the
 * pure core.
 *
 * Blocks come from the shippers of other regions. The engine offers them to the replica's file, and
 * at the end of its turn syncs every file that grew; only then are positions confirmed to the
 * shippers and announced to the nodes. Positions are absolute, so any lost message is repaired by
 * the next one.
 *
 * per stream:  durable <= appended; the head that each region told last; the source, which is the
 *              one region whose shipper is told that the stream is wanted from it
 *
 * The source of a stream, in this order
 *   the region that a FETCH named, until its seq is reached, it is silent, or ten times
 *     source_silent_ns have passed
 *   the origin's region, unless it is silent for source_silent_ns, or has told less than another
 *     for as long (it has lost what the others hold)
 *   the source as it is, while it is heard and has something that is missing here, or no other
 *     region has more than it: so equal heads change nothing
 *   the region that is furthest ahead; of equal ones the one with the lowest number
 * A source that has more and brings nothing for twice source_silent_ns (its file is damaged, or it
 * does not hear us) is passed over for a while when another region can serve.
 *
 * Who is told of a position that moved: the source, and the region that leads the (tenant, shard),
 * where an answer may wait for it. All others by the full list, which answers every heads message.
 *
 * What is judged where; each is counted and changes nothing
 *   here    streams that the table does not place here, at their origin, or at who sends or is
 *           named (the engine looks the table up: is_placed): tenants that there are not,
 *           generations that are not here, origins that the generation never had
 *           streams of this region's own nodes, unless the node has given them up
 *           heads and requests above STREAM_SEQ_MAX: numbers from the future
 *           streams above STREAM_COUNT_MAX
 *   file    (common/wal/wal_replica.h) blocks that do not verify, are of another stream or of
 *           another history, or begin after the next event: the outcome of an OFFER
 *   wire    (common/wire/msg.h) fields out of range
 *
 * Invariants
 *   1. what is confirmed or announced was synced before.
 *   2. blocks of a stream that is not placed are refused and counted, and change nothing.
 *   3. a gap is told to the shipper once per position and resend_ns, not once per message.
 *   4. a stream has at most one source. Blocks from elsewhere are taken all the same: they are
 *      under way, or of a new stream; what is held is dropped by the file. */
#ifndef TIDAL_COMMON_REPLICATION_RECEIVER_H
#define TIDAL_COMMON_REPLICATION_RECEIVER_H

#include "common/base/err.h"
#include "common/base/ids.h"
#include "common/wire/msg.h"

typedef struct receiver receiver_t;

typedef enum {
    RECEIVER_EVENT_RECOVERED, /* a replica that lies on the disk at the start */
    RECEIVER_EVENT_HEADS,     /* one head of a shipper's list */
    /* A heads message ended: what was not in it of a shard that is known there, that region does
     * not have. The shipper wants the full list. */
    RECEIVER_EVENT_HEARD,
    RECEIVER_EVENT_BLOCKS,    /* blocks arrived */
    RECEIVER_EVENT_OFFERED,   /* what the replica's file said to them */
    RECEIVER_EVENT_FLUSHED,   /* synced up to here */
    RECEIVER_EVENT_SET_ASIDE, /* damage was found on the disk: the position falls back to seq */
    RECEIVER_EVENT_FETCH,     /* events up to seq are missing, and peer has them */
    RECEIVER_EVENT_TURN_END,  /* every file that grew was synced */
    RECEIVER_EVENT_TICK
} receiver_event_kind_t;

typedef struct {
    receiver_event_kind_t kind;
    int64_t now_ns;   /* monotonic */
    region_id_t peer; /* HEADS, HEARD, BLOCKS, OFFERED, FETCH */
    stream_id_t stream;
    /* HEADS, BLOCKS, FETCH: the table places the stream's tenant here, at its origin and at the
     * peer. */
    bool is_placed;
    bool is_own; /* HEADS, BLOCKS, FETCH: of a node of this region, which writes it itself */
    uint64_t known_shards; /* HEARD: of which the list was complete, bit s: shard s */
    region_id_t leader;    /* FLUSHED: of the (tenant, shard); 0 nobody, or this region */
    uint64_t seq; /* RECOVERED, FLUSHED: durable; HEADS, BLOCKS: head; OFFERED: appended; FETCH */
    /* OFFERED: OK, GAP, CORRUPT, CONFLICT ...; RECOVERED: CORRUPT where the file is incomplete, as
     * wal_replica.h says. */
    err_t outcome;
} receiver_event_t;

typedef enum {
    RECEIVER_EFFECT_OFFER,      /* hand the blocks to the replica, come back with OFFERED */
    RECEIVER_EFFECT_REFUSE,     /* not placed: count, drop */
    RECEIVER_EFFECT_STATUS,     /* to this peer: the streams that are due to it */
    RECEIVER_EFFECT_STATUS_ALL, /* to this peer: all streams */
    RECEIVER_EFFECT_PUBLISH,    /* to the nodes: what changed */
    RECEIVER_EFFECT_PUBLISH_ALL
} receiver_effect_kind_t;

typedef struct {
    receiver_effect_kind_t kind;
    region_id_t peer;
} receiver_effect_t;

enum { RECEIVER_EFFECT_COUNT_MAX = 64 };

typedef struct {
    uint32_t count;
    receiver_effect_t list[RECEIVER_EFFECT_COUNT_MAX];
} receiver_effects_t;

typedef struct {
    region_id_t self;         /* never a source */
    int64_t publish_ns;       /* period of PUBLISH_ALL */
    int64_t resend_ns;        /* a gap at one position is told again after this */
    int64_t source_silent_ns; /* a region not heard for this long is no source */
} receiver_options_t;

receiver_t *receiver_new(const receiver_options_t *options);
void receiver_destroy(receiver_t **self_p);
void receiver_step(receiver_t *self,
                   const receiver_event_t *event,
                   receiver_effects_t *ret_effects);
int64_t receiver_deadline_ns(const receiver_t *self);

typedef struct {
    stream_id_t stream;
    uint64_t durable_seq;
    uint64_t appended_seq;
    uint64_t head_seq;   /* highest that any region claims; goes back when nobody does any more */
    uint64_t origin_seq; /* as the origin's region told last; goes back when that lost its log */
    int64_t head_at_ns;  /* when the origin's region told of it last; -1 never */
    region_id_t source;  /* whose shipper is to send it; 0 nobody yet */
    bool resend;         /* in the status to the source */
    bool is_changed;     /* since the last publish */
    /* It may hold less than it did: damage was set aside or an end was cut, and what the others
     * hold has not come again. */
    bool is_damaged;
} receiver_row_t;

/* Rows in order of first sight; borrowed until the next step. */
uint32_t receiver_stream_count(const receiver_t *self);
const receiver_row_t *receiver_row(const receiver_t *self, uint32_t index);
/* Whether this row belongs into the incremental status for this peer now. */
bool receiver_row_is_due(const receiver_t *self, uint32_t index, region_id_t peer);
/* The engine built that peer's status; what was due is done. */
void receiver_status_taken(receiver_t *self, region_id_t peer);
/* The engine published; changes are done. */
void receiver_publish_taken(receiver_t *self);

typedef struct {
    uint64_t refused; /* not placed, own, or one too many */
    uint64_t future;  /* numbers that no stream reaches */
    uint64_t corrupt; /* damaged blocks */
    uint64_t gaps;
    uint64_t conflicts;      /* another history of the same stream */
    uint64_t no_room;        /* the disk was full */
    uint64_t set_aside;      /* times that damage on the disk threw a position back */
    uint64_t fetches;        /* requests that named a region and were followed */
    uint64_t source_changes; /* but for the first choice */
} receiver_counters_t;

receiver_counters_t receiver_counters(const receiver_t *self);

#endif
