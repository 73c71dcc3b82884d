/* Which log bytes go to which region, and when: the pure core of a region's WAL shipper.
 *
 * It serves every stream whose files its region has: the region's nodes announce how far their own
 * streams are durable, its receiver how far the replicas are. Each remote receiver tells, in
 * absolute positions, how far it holds each stream, and whether it wants it from here. The core
 * sends what lies between, at once, within a window of unconfirmed bytes per region, and starts
 * again from the confirmed position when a receiver asks for it or nothing moved for resend_ns. It
 * owns nothing durable: after a restart the receivers' positions are all that it needs.
 *
 * per (peer region, stream):   confirmed <= sent <= head
 *   head       raised by ANNOUNCE; set by an exact one, which may be lower: that file lost its end
 *   sent       raised by SENT, thrown back to confirmed by a resend, when the peer restarts, and
 *              when it does not want the stream from here any more
 *   confirmed  set by STATUS (may go back: that region lost its disk)
 *
 * Not everything that a receiver tells is believed: an entry of a stream that the table does not place
 * here, at its origin and at the peer, and a position that no stream reaches, change nothing and are
 * counted. Of streams that this region has nothing of only SHIPPER_CLAIM_COUNT_MAX are kept, so that
 * claims leave room for the others.
 *
 * A stream goes to a peer that wants it from here; one of this region also to a peer that has not
 * told of it yet, so that a new stream costs no round trip. What a peer confirms is kept for all
 * streams, whoever ships them.
 *
 * Every second period of heads_ns each peer gets HEADS (sign of life, and what this region has) and
 * answers with its full list; one that did not answer is asked in the next period already. A peer
 * that is silent for peer_silent_ns counts as unreachable.
 *
 * Invariants
 *   1. unconfirmed bytes of a peer never exceed its window by more than one message.
 *   2. a slow or silent peer changes nothing for the others.
 *   3. streams are served in turn; within a stream bytes go out in order.
 *   4. nothing goes to a peer before it has told all its positions (its entries are handed in as
 *      STATUS before the HEARD of the same message).
 *   5. a stream whose file cannot be read holds up nothing else; it is tried again with the next
 *      announcement of it and with every HEADS. */
#ifndef TIDAL_COMMON_REPLICATION_SHIPPER_H
#define TIDAL_COMMON_REPLICATION_SHIPPER_H

#include "common/base/ids.h"
#include "common/wire/msg.h"

typedef struct shipper shipper_t;

typedef enum {
    SHIPPER_EVENT_ANNOUNCE, /* this region has a stream, durable up to seq */
    SHIPPER_EVENT_STATUS,   /* one entry of a receiver's list */
    SHIPPER_EVENT_HEARD,    /* a message of that region's receiver came in, with its boot */
    SHIPPER_EVENT_SENT,     /* outcome of EFFECT_SHIP */
    SHIPPER_EVENT_TICK
} shipper_event_kind_t;

typedef struct {
    shipper_event_kind_t kind;
    int64_t now_ns; /* monotonic */
    union {
        struct {
            stream_position_t at;
            bool is_exact; /* from the receiver: it has this much and no more */
        } announce;
        struct {
            region_id_t peer;
            stream_id_t stream;
            uint64_t durable_seq;
            uint64_t epoch;
            uint8_t last_hash[MSG_HASH_SIZE];
            bool resend;
            bool wanted; /* from this region */
            bool
                is_placed; /* the table has the stream's tenant here, at its origin and at the peer */
        } status;
        struct {
            region_id_t peer;
            uint64_t boot;
            uint64_t window_bytes;
            bool listed_all;
        } heard;
        struct {
            region_id_t peer;
            stream_id_t stream;
            bool accepted;     /* false: queue full or no connection, or the next */
            bool unreadable;   /* nothing came out of the file */
            uint64_t last_seq; /* when accepted */
            size_t size_bytes;
        } sent;
    } as;
} shipper_event_t;

typedef enum {
    SHIPPER_EFFECT_SHIP,  /* read blocks from_seq..through_seq, at most size_max bytes, send, and
                             come back with EVENT_SENT before the next event */
    SHIPPER_EFFECT_HEADS, /* send hello and heads to this peer */
    SHIPPER_EFFECT_PUBLISH_ALL /* publish the full list of confirmed positions and peers */
} shipper_effect_kind_t;

typedef struct {
    shipper_effect_kind_t kind;
    region_id_t peer;
    stream_id_t stream;
    uint64_t from_seq;
    uint64_t through_seq;
    uint64_t head_seq;
    size_t size_max;
} shipper_effect_t;

enum { SHIPPER_EFFECT_COUNT_MAX = 64, SHIPPER_CLAIM_COUNT_MAX = STREAM_COUNT_MAX / 4 };

typedef struct {
    uint32_t count;
    shipper_effect_t list[SHIPPER_EFFECT_COUNT_MAX];
} shipper_effects_t;

typedef struct {
    region_id_t self;
    region_set_t peers; /* without self */
    int64_t heads_ns;   /* half the period of HEADS and PUBLISH_ALL */
    int64_t peer_silent_ns;
    int64_t resend_ns; /* no progress for so long: send again */
} shipper_options_t;

shipper_t *shipper_new(const shipper_options_t *options);
void shipper_destroy(shipper_t **self_p);

/* errs none; what is ignored or refused is counted
 * cost  constant per event, linear in the streams for TICK */
void shipper_step(shipper_t *self, const shipper_event_t *event, shipper_effects_t *ret_effects);

/* The regions that hold the stream's tenant: to the others nothing of it goes. A stream of which
 * this was never said goes to every peer. Unknown streams are ignored. */
void shipper_place(shipper_t *self, stream_id_t stream, region_set_t placed);
bool shipper_is_placed(const shipper_t *self, uint32_t index, region_id_t peer);

/* What can be shipped now, in turn, at most one effect; the engine calls it until it gives false.
 */
bool shipper_next(shipper_t *self, int64_t now_ns, shipper_effect_t *ret_effect);

int64_t shipper_deadline_ns(const shipper_t *self);

/* -- what the engine publishes ----------------------------------------------------------------- */

uint32_t shipper_stream_count(const shipper_t *self);
stream_id_t shipper_stream(const shipper_t *self, uint32_t index, uint64_t *ret_head_seq);
/* What that peer last told of the stream; false when it has told nothing. */
bool shipper_confirmed(const shipper_t *self,
                       uint32_t index,
                       region_id_t peer,
                       msg_confirmed_entry_t *ret_entry);
/* The same of one stream. */
bool shipper_find_confirmed(const shipper_t *self,
                            stream_id_t stream,
                            region_id_t peer,
                            msg_confirmed_entry_t *ret_entry);
/* The least that these regions have told of the stream, this one and its origin's left aside; 0 when
 * one of them has told nothing, UINT64_MAX when there is none. */
uint64_t shipper_confirmed_by(const shipper_t *self, stream_id_t stream, region_set_t regions);
/* Whether this peer is heard and has told all its positions, and for how long it has been silent
 * (-1: never heard). */
bool shipper_peer_is_reachable(const shipper_t *self,
                               region_id_t peer,
                               int64_t now_ns,
                               int64_t *ret_silent_ns);

typedef struct {
    uint64_t ignored; /* events about unknown peers; streams beyond STREAM_COUNT_MAX */
    uint64_t refused; /* entries of streams that are not placed, or one claim too many */
    uint64_t future;  /* entries with a position above STREAM_SEQ_MAX */
} shipper_counters_t;
shipper_counters_t shipper_counters(const shipper_t *self);

#endif
