/* When a write may be acknowledged: the pure core of one (tenant, shard) on one node.
 *
 * Life of a write here. The engine asks leader_admit whether the level that was asked can be met
 * now; if so it appends the batch and hands the core a WAIT with the position to be reached. The
 * core answers each ticket once: as soon as its level is met, or at its deadline with
 * NOT_REPLICATED. A retry of a write that is logged already is a WAIT on the logged copy's
 * position.
 *
 * Levels (design idea 4). local: durable here. replicated: durable here and confirmed by every
 * other member of the in-sync set. all: the same for every full region of the placement. A region's
 * confirmation counts only when its receiver has stored the epoch that this leader leads. The
 * origin of a stream does not confirm it, for it has it first: what its region's shipper tells of
 * its own log (HEAD) counts, whatever the epoch.
 *
 * Two things decide whether a node originates, and they are independent.
 *
 * The role follows from the record, and from what is heard of later ones:
 *
 *   FOLLOWER  the record names another, or nobody
 *   LEADER    the record names this node
 *   REPLACED  the record names this node, but a region's confirmations show a newer epoch: somebody
 *             else was named, and the table that says whom has not come yet. What a region shows
 *             it can take back, for no confirmation under another epoch counts in the meantime
 *   and a FOLLOWER is an island while the tenant accepts islands, the leader's region was not heard
 *   for silent_ns, and this region is a full one: it takes writes for itself (design section 5).
 *
 * The own stream must be settled before anything is originated into it, as leader or as island
 * (design section 4): every placed region has told since the start how far it holds it.
 *
 *          STREAM with a file       every region told, none ahead, none different
 *     NONE -------------------> ASKING ------------------------------------------> SETTLED
 *       ^                          |                                                  ^
 *       |  one ahead or different, or asking_ns after the start while a write waits:  |
 *       +------------------------- effect NEW_INCARNATION                             |
 *       |                                                                             |
 *       +-----------------------------------------------------------------------------+
 *          STREAM that is new: nobody can be ahead of it
 *
 *   leader_admit      NONE          ASKING                  SETTLED
 *   FOLLOWER          READ_ONLY     READ_ONLY               READ_ONLY
 *     as an island    UNAVAILABLE   UNAVAILABLE, it waits   OK, answered when durable here
 *   LEADER            UNAVAILABLE   UNAVAILABLE, it waits   by the level
 *   REPLACED          READ_ONLY     READ_ONLY               READ_ONLY
 *
 * On promotion nothing here waits: the stream was settled soon after the start. That the new leader
 * has first applied what its region held when its receiver stored the epoch is the replica's care
 * (replica.h), as it is at a start.
 *
 * A new leader and the old one. Let L lead epoch E, and Z have led E - 1. Z acknowledges at
 * `replicated` only with confirmations of every member of the set that it knows, L's region among
 * them, since only members are promoted and a set shrinks at the control plane before a leader
 * stops waiting. L's receiver had stored E before L took its first write, and from then on confirms
 * with E, which Z does not count. So once L acknowledges, Z cannot. Of the other members it is the
 * receiver's epoch that counts, in each confirmation; their nodes need not know E: a node that still
 * follows Z refuses writes as before, with a hint that is out of date, and what it may log as an
 * island is `local` and merges. A Z that still reads for `read: leader` may be behind L by what
 * only a token excludes, as any replica is.
 *
 * Invariants
 *   1. a ticket is answered exactly once.
 *   2. an OK answer names a durability that the positions known at that moment prove; but for an
 *      island's, which is local.
 *   3. confirmed positions of a region in a stream only grow within one boot of its receiver's
 *      report; a position that goes back stops counting at once.
 *   4. nothing is admitted but as LEADER or island, and only while SETTLED. */
#ifndef TIDAL_COMMON_REPLICATION_LEADER_H
#define TIDAL_COMMON_REPLICATION_LEADER_H

#include "common/base/ids.h"
#include "common/wire/msg.h"

typedef struct leader leader_t;

/* Streams of one (tenant, shard), all incarnations: every restart of a leader while a region is
 * silent may begin one, so there is room for as many as a process knows. Of those that only others
 * tell of a quarter less is kept; what is told of more changes nothing. */
enum { LEADER_STREAM_COUNT_MAX = STREAM_COUNT_MAX };

typedef enum { LEADER_FOLLOWER, LEADER_LEADER, LEADER_REPLACED } leader_role_t;
typedef enum { LEADER_STREAM_NONE, LEADER_STREAM_ASKING, LEADER_STREAM_SETTLED } leader_stream_t;

/* As what a node takes a write. */
typedef enum { LEADER_AS_NOBODY, LEADER_AS_LEADER, LEADER_AS_ISLAND } leader_stance_t;

typedef enum {
    LEADER_EVENT_RECORD,  /* the durable record of this (tenant, shard) as the node knows it */
    LEADER_EVENT_STREAM,  /* the stream that this node originates, and how far it is durable */
    LEADER_EVENT_WAIT,    /* a write was appended, or is a retry of one */
    LEADER_EVENT_DURABLE, /* own disk: fsynced up to here; also for replica files of this region */
    LEADER_EVENT_CONFIRMED, /* another region's disk */
    LEADER_EVENT_HEAD,      /* how far another region has its own stream */
    LEADER_EVENT_PEER,      /* whether another region's receiver answers this region's shipper */
    LEADER_EVENT_HEARD,     /* when another region was heard last, by whatever process */
    LEADER_EVENT_TICK
} leader_event_kind_t;

typedef struct {
    leader_event_kind_t kind;
    int64_t now_ns; /* monotonic */
    union {
        struct {
            uint64_t epoch;
            region_id_t leader;
            region_set_t in_sync;
            region_set_t full;
            bool accepts_islands; /* the tenant's policy */
        } record;
        struct {
            stream_id_t stream;
            uint64_t durable_seq;
            bool is_new; /* drawn with no file: nobody can be ahead of it */
        } stream;
        struct {
            uint64_t ticket; /* of the caller */
            stream_id_t stream;
            uint64_t last_seq;
            ack_level_t level;
            bool as_island; /* whatever the level: answered when durable here */
            int64_t deadline_ns;
        } wait;
        stream_position_t durable;
        stream_position_t head;
        struct {
            region_id_t region;
            stream_id_t stream;
            uint64_t seq;
            uint64_t epoch;
            bool differs; /* own stream: its last batch hash is not the one that we have there */
        } confirmed;
        struct {
            region_id_t region;
            bool reachable;
            bool listed_all; /* a full list of its positions came with this */
        } peer;
        struct {
            region_id_t region;
            int64_t at_ns; /* monotonic; an earlier time than one known changes nothing */
        } heard;
    } as;
} leader_event_t;

typedef enum {
    LEADER_EFFECT_ANSWER,
    LEADER_EFFECT_NEW_INCARNATION, /* draw one; hand it back as EVENT_STREAM with is_new */
} leader_effect_kind_t;

typedef struct {
    leader_effect_kind_t kind;
    uint64_t ticket;
    code_t code; /* OK or NOT_REPLICATED */
    ack_level_t durability;
    region_set_t replicas;
    bool island;
} leader_effect_t;

typedef struct {
    uint32_t count;
    leader_effect_t *list; /* owned by the leader; valid until the next step */
} leader_effects_t;

typedef struct {
    region_id_t self_region;
    int64_t asking_ns; /* how long silence of a region holds back a write (design section 4: 5 s) */
    int64_t silent_ns; /* a region that was not heard for so long is cut off */
} leader_options_t;

/* Its start is the time of the first event. */
leader_t *leader_new(const leader_options_t *options);
void leader_destroy(leader_t **self_p);

/* out ret_effects in the order to be done; NOT_REPLICATED only at or after the deadline of its wait
 * cost linear in the waiting writes when a position moved, else constant */
void leader_step(leader_t *self, const leader_event_t *event, leader_effects_t *ret_effects);

/* When a TICK is due at the latest; INT64_MAX never. */
int64_t leader_deadline_ns(const leader_t *self);

/* As what this node takes writes now; what the level needs is not asked. */
leader_stance_t leader_stance(const leader_t *self, int64_t now_ns);

/* Whether a write at this level may be appended now. out ret_reason a text that lives for ever:
 * what is missing, in the words of an operator. Never changes anything but that a write waits.
 * CODE_OK · CODE_READ_ONLY neither leader nor island · CODE_UNAVAILABLE the level cannot be met
 * now · CODE_OVERLOADED too many wait */
code_t leader_admit(leader_t *self, ack_level_t level, int64_t now_ns, const char **ret_reason);

/* What the positions prove of an event of a stream, now. ACK_NONE: not even durable here.
 * out ret_replicas regions that hold it durably. */
ack_level_t leader_durability(const leader_t *self,
                              stream_id_t stream,
                              uint64_t seq,
                              region_set_t *ret_replicas);

/* How far a region has confirmed a stream, whatever the epoch; 0 nothing. */
uint64_t leader_confirmed_seq(const leader_t *self, stream_id_t stream, region_id_t region);

leader_role_t leader_role(const leader_t *self);
leader_stream_t leader_stream(const leader_t *self);
/* Who leads as far as known; 0 nobody, or REPLACED. */
region_id_t leader_region(const leader_t *self);
uint64_t leader_epoch(const leader_t *self);
uint32_t leader_waiting_count(const leader_t *self);

#endif
