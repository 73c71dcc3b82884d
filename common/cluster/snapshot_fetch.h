/* How a region comes by the snapshot of one (tenant, shard) when logs that it needs are gone: the pure
 * core of one transfer, for reconcile_snapshots.h.
 *
 * A snapshot is asked for only where no log reaches: some stream of which another region has more than
 * the own files, and every region that was heard and has more begins behind them. Whoever can go on
 * from logs does.
 *
 * Or the region's own base is damaged or gone: then any other region's will do.
 *
 *   IDLE ---- needed in two runs in a row: the lowest donor that is not avoided ---> ASKING. Where a
 *             donor failed or was refused, the next run is enough for another one; after a snapshot
 *             was adopted, was not found by the node or could not be written it takes two again
 *   ASKING    one piece of at most SNAPSHOT_PIECE_SIZE_MAX is under way; each is checked and written
 *      |      before the next is asked for, from where the last one ended: a lost message, a cut link
 *      |      or a donor that starts again costs what was under way
 *      |---- the donor has another base by now: from the beginning, with that one
 *      |---- a piece that does not fit, or the whole has not the hash that it ends with: REFUSED, the
 *      |     donor is avoided, IDLE until the next run
 *      |---- no answer SNAPSHOT_TRY_COUNT_MAX times, or no base there: avoided, IDLE
 *      |---- a piece cannot be written, or there is no room: IDLE, the donor is not avoided
 *      |---- logs reach again: IDLE
 *      v
 *   TAKING    whole and verified: the own node is asked to take it, again in every run, until it says
 *             what became of it -----> IDLE. One that contradicts itself is REFUSED as well
 *
 * When every donor is avoided, all are tried again: at once, and then after 1, 2, 4 ... 16 runs, so that
 * bases of which none is of use are not fetched all the time. Nothing of it is durable: a reconciler that
 * starts again begins anew.
 *
 * Invariants
 *   1. nothing is written behind size_bytes, which is fixed by the first piece.
 *   2. TAKE is given only for bytes 0..size_bytes whose BLAKE3 is the hash that they end with.
 *   3. one request is under way; what does not answer it changes nothing. */
#ifndef TIDAL_COMMON_CLUSTER_SNAPSHOT_FETCH_H
#define TIDAL_COMMON_CLUSTER_SNAPSHOT_FETCH_H

#include "common/base/err.h"
#include "common/wire/msg.h"

enum {
    SNAPSHOT_TRY_COUNT_MAX = 3,     /* questions for one piece */
    SNAPSHOT_RESTART_COUNT_MAX = 8, /* bases that a donor makes during one transfer */
    SNAPSHOT_PAUSE_RUNS_MAX = 16,
    SNAPSHOT_EFFECT_COUNT_MAX = 2
};

/* The regions that have a base, where the own one is lost; else those that have one and whose logs begin
 * behind what the own files hold of some stream that nobody's logs can bring further. Empty: no snapshot
 * is needed, or nobody has one. Rows that were not looked at say nothing.
 * in own, peers  of one tenant and shard; peers as heard in this run, each region once */
region_set_t snapshot_donors(const msg_reconcile_row_t *own,
                             const msg_reconcile_row_t *const *peers,
                             uint32_t peer_count);

typedef struct snapshot_fetch snapshot_fetch_t;

typedef enum {
    SNAPSHOT_EVENT_RUN,     /* a run of the reconciler has ended */
    SNAPSHOT_EVENT_PIECE,   /* a donor's answer */
    SNAPSHOT_EVENT_WRITTEN, /* outcome of EFFECT_WRITE */
    SNAPSHOT_EVENT_TAKEN,   /* the own node's answer */
    SNAPSHOT_EVENT_TICK
} snapshot_event_kind_t;

typedef struct {
    snapshot_event_kind_t kind;
    int64_t now_ns; /* monotonic */
    union {
        region_set_t donors;               /* RUN; empty: none is needed */
        const msg_snapshot_piece_t *piece; /* PIECE; borrowed */
        err_t written;
        struct {
            uint64_t request_id;
            code_t code;     /* as msg_base_reply_t */
            slice_t message; /* the same; borrowed */
        } taken;
    } as;
} snapshot_event_t;

typedef enum {
    SNAPSHOT_EFFECT_ASK,   /* the donor for a piece */
    SNAPSHOT_EFFECT_WRITE, /* the piece of this event at the offset, at 0 only where there is room for
                              the whole; with is_last make it durable; come back with WRITTEN before
                              the next event */
    SNAPSHOT_EFFECT_TAKE, /* the own node */
    SNAPSHOT_EFFECT_DROP  /* the file, as far as it came */
} snapshot_effect_kind_t;

typedef struct {
    snapshot_effect_kind_t kind;
    region_id_t donor;           /* ASK */
    uint64_t request_id;         /* ASK, TAKE */
    uint8_t hash[MSG_HASH_SIZE]; /* ASK; zero: of whatever base is there */
    uint64_t offset;             /* ASK, WRITE; in bytes */
    uint64_t size_bytes;         /* WRITE; of the whole file, as the donor says */
    slice_t bytes;               /* WRITE; those of the event */
    bool is_last;                /* WRITE */
} snapshot_effect_t;

typedef struct {
    uint32_t count;
    snapshot_effect_t list[SNAPSHOT_EFFECT_COUNT_MAX];
} snapshot_effects_t;

typedef struct {
    uint64_t begun;
    uint64_t adopted; /* that the own node put in place */
    uint64_t refused; /* pieces, or whole files, that contradict themselves */
    uint64_t
        failed; /* that came to nothing for another reason: silence, no base, too old, no room */
    uint64_t restarted; /* for the donor had another base */
    uint64_t late;      /* answers that nobody waited for */
    uint64_t bytes;     /* taken in */
} snapshot_counters_t;

/* Why a transfer came to nothing. */
typedef struct {
    uint64_t number;   /* of all of this transfer's, from 1; 0: there was none */
    region_id_t donor; /* whose base it was */
    errbuf_t reason;   /* what was expected, and what was found */
} snapshot_problem_t;

/* in wait_ns  for a donor's answer */
snapshot_fetch_t *snapshot_fetch_new(int64_t wait_ns);
void snapshot_fetch_destroy(snapshot_fetch_t **self_p);
/* cost  of a PIECE, one hash over it; else constant */
void snapshot_fetch_step(snapshot_fetch_t *self,
                         const snapshot_event_t *event,
                         snapshot_effects_t *ret_effects);
/* When a TICK is due; INT64_MAX never. */
int64_t snapshot_fetch_deadline_ns(const snapshot_fetch_t *self);
bool snapshot_fetch_is_under_way(const snapshot_fetch_t *self);
snapshot_counters_t snapshot_fetch_counters(const snapshot_fetch_t *self);
/* The latest; lives as long as the transfer. */
const snapshot_problem_t *snapshot_fetch_problem(const snapshot_fetch_t *self);

#endif
