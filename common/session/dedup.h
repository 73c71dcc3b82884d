/* What has been seen of (producer, seq), for one tenant on one shard (design idea 5).
 *
 * A request that carries (producer, seq) is logged as one batch. Only an exact pair that was logged
 * is a duplicate, in whatever order a producer's requests arrive. Two things are kept:
 *
 *   seen       the pairs, as maximal intervals of seqs per producer, for ever. A producer that
 *              counts costs one interval, and a restart or a lost number costs one more.
 *   positions  where each copy lies (stream, seqs), with epoch, HLC and content hash, until the
 *              copy is stable: then the pair is, nobody needs to know more than that it was seen,
 *              and the position is forgotten.
 *
 * A pair that was logged in two streams (the client retried at a new leader, the old leader's tail
 * arrived later) keeps both positions. The winner is the copy that was logged under the highest
 * epoch, and of one epoch the one with the lowest (HLC, stream, first seq); every replica voids the
 * others, exactly. dedup only names them; the caller voids.
 *
 * Why the highest epoch: a leader begins an epoch with all that was acknowledged before it, so it
 * logs a pair only where no earlier copy was acknowledged and none ever will be (leader.h). Its own
 * copy may be acknowledged before the earlier one comes to light: whatever the clocks say, it is
 * the one to stay. What an island logs has epoch 0 and gives way to every leader's copy: an island
 * promises its own disk alone. A leader that would answer with a copy of an earlier epoch logs a
 * reissue of it under its own (common/engine/replica_reissue.c), which answers go on calling
 * by the first one's name.
 *
 *   pair      not seen ----> seen, 1..n positions ----> seen and stable
 *                     add                        forget
 *
 * Invariants
 *   1. pairs seen only grow. They, and so the digest, depend on the set of batches added and
 *      forgotten alone, not on their order.
 *   2. every position's pair is seen; no position lies at or below the stable seq of its stream.
 *   3. of n copies exactly n - 1 were named as losers, each once, and never the winner.
 *   4. once one copy of a pair was forgotten, the pair is stable for good, and positions of other
 *      copies answer only for themselves. A copy that was stable was applied everywhere before any
 *      leader could have logged another one, so the only further copy that appears is a reissue, by
 *      a leader that has not forgotten the first one yet. It has the same payload, so whichever of
 *      the two is voided where, the state is the same.
 *
 * Pure: no clock, no randomness, no walk in hash order. Memory per producer about 95 bytes and its
 * name, per further interval about 24 bytes, per position about 140 bytes (README.md). */
#ifndef TIDAL_COMMON_SESSION_DEDUP_H
#define TIDAL_COMMON_SESSION_DEDUP_H

#include "common/base/seam.h"
#include "common/base/store_batch.h"
#include "common/wal/wal_format.h"

typedef struct dedup dedup_t;

/* Where one copy of a pair lies. */
typedef struct {
    stream_id_t stream; /* of the tenant and shard of the dedup */
    uint64_t first_seq; /* 1.. */
    uint32_t event_count;
    uint64_t epoch; /* under which it was logged; 0: by an island */
    hlc_stamp_t hlc;
    content_hash_t content_hash;
    stream_position_t named; /* of a reissue: stream and first seq that answers name; else seq 0 */
} dedup_position_t;

/* Of a batch that has a producer. */
static inline dedup_position_t dedup_position_of(const wal_batch_t *batch)
{
    return (dedup_position_t){.stream = batch->stream,
                              .first_seq = batch->first_seq,
                              .event_count = batch->event_count,
                              .epoch = batch->epoch,
                              .hlc = batch->hlc,
                              .content_hash = batch->content_hash,
                              .named = batch->reissue.named};
}

/* Stream and first seq that answers name; as many events as the copy itself. */
static inline stream_position_t dedup_position_name(const dedup_position_t *position)
{
    return position->named.seq != 0 ? position->named
                                    : (stream_position_t){position->stream, position->first_seq};
}

/* Whether answers name the copy so. */
static inline bool dedup_position_has_name(const dedup_position_t *position, stream_position_t name)
{
    stream_position_t own = dedup_position_name(position);
    return own.seq == name.seq && stream_id_equal(own.stream, name.stream);
}

static inline uint64_t dedup_position_last_seq(const dedup_position_t *position)
{
    return position->first_seq + position->event_count - 1;
}

/* <0, 0, >0: of two copies the lower one counts. By epoch, the highest first, then by (HLC, stream,
 * first seq). A total order, so any order of arrival leaves the same copy. */
int dedup_position_compare(const dedup_position_t *a, const dedup_position_t *b);

dedup_t *dedup_new(tenant_id_t tenant, shard_id_t shard);
/* Nulls; NULL is allowed. */
void dedup_destroy(dedup_t **self_p);

/* -- asking ------------------------------------------------------------------------------------ */

typedef enum {
    DEDUP_NOT_SEEN = 0,
    DEDUP_SEEN = 1,       /* and not stable: the position of the copy that counts is known */
    DEDUP_SEEN_STABLE = 2 /* every placed node has it: it meets every level */
} dedup_found_t;

/* in   producer  1..PRODUCER_SIZE_MAX bytes
 * out  ret_position  written only on DEDUP_SEEN; may be NULL
 * cost two or three cache misses and two binary searches; no allocation */
dedup_found_t dedup_find(const dedup_t *self,
                         slice_t producer,
                         uint64_t producer_seq,
                         dedup_position_t *ret_position);

/* -- telling ----------------------------------------------------------------------------------- */

typedef enum {
    DEDUP_FIRST = 0,     /* the pair was not seen before */
    DEDUP_SAME = 1,      /* this very copy was added before, or lies at or below the stable seq */
    DEDUP_OTHER_COPY = 2 /* the pair lies elsewhere as well: the caller voids `loser`, once */
} dedup_verdict_t;

typedef struct {
    dedup_position_t winner; /* of all copies added so far; zero when is_winner_forgotten */
    dedup_position_t loser;  /* the added copy, or the winner until now: counted so far */
    bool is_loser_new;       /* the added one loses: it must not be counted */
    /* The pair is stable here, so this copy is a reissue (invariant 4). It loses here, since where
     * the other one lies is not known any more. */
    bool is_winner_forgotten;
} dedup_conflict_t;

/* A batch with a producer was logged here or came from another node; in any order of streams,
 * within a stream as it is applied. Never refused: what is logged is logged.
 * in  producer      1..PRODUCER_SIZE_MAX bytes
 *     position      of this tenant and shard
 * out ret_conflict  written only on DEDUP_OTHER_COPY */
dedup_verdict_t dedup_add(dedup_t *self,
                          slice_t producer,
                          uint64_t producer_seq,
                          const dedup_position_t *position,
                          dedup_conflict_t *ret_conflict);

/* Every batch of the stream that ends at or below this seq is stable: its position is forgotten.
 * A seq below an earlier one changes nothing.
 * cost O(1) per position forgotten */
void dedup_forget_stable(dedup_t *self, stream_id_t stream, uint64_t through_seq);

/* Up to where copies in the stream were forgotten; 0: nothing was. */
uint64_t dedup_stable_seq(const dedup_t *self, stream_id_t stream);
/* First seq of the first copy in the stream that is remembered; 0: none is.
 * cost the stream's positions */
uint64_t dedup_first_place(const dedup_t *self, stream_id_t stream);

/* -- the whole --------------------------------------------------------------------------------- */

typedef struct {
    uint64_t producers;
    uint64_t intervals;
    uint64_t positions;
    uint64_t memory_bytes;
} dedup_totals_t;

/* cost one look at each stream */
void dedup_totals(const dedup_t *self, dedup_totals_t *ret_totals);

typedef struct {
    uint8_t bytes[16];
} dedup_digest_t;

/* Of the pairs seen, as dedup_format.h defines it; kept up to date by every add. */
void dedup_digest(const dedup_t *self, dedup_digest_t *ret_digest);
/* The same, computed anew: differs from dedup_digest only when memory went bad. */
void dedup_digest_full(const dedup_t *self, dedup_digest_t *ret_digest);

/* errs any but ERR_OK stops the walk and is returned */
typedef err_t (*dedup_seen_fn)(void *context, slice_t producer, uint64_t first, uint64_t last);
/* Every interval, producers in the order in which they were first seen, seqs rising. */
err_t dedup_walk(const dedup_t *self, dedup_seen_fn callback, void *context);

/* -- checkpoint (dedup_format.h) --------------------------------------------------------------- */

enum { DEDUP_KEY_PREFIX_SIZE_MAX = 256 };

/* Entries that the next dedup_checkpoint_write writes or deletes, about. */
uint64_t dedup_changed_count(const dedup_t *self);

/* Puts what changed since the last durable checkpoint into the batch and deletes what was
 * forgotten. Before the next call dedup_checkpoint_settle must tell what became of the batch;
 * changes go on meanwhile. A position that was added and forgotten between two checkpoints leaves
 * no trace.
 * in batch   borrowed
 *    prefix  0..DEDUP_KEY_PREFIX_SIZE_MAX bytes before each key */
void dedup_checkpoint_write(dedup_t *self, store_batch_t *batch, slice_t prefix);
/* is_durable false: what the last batch held counts as changed again. */
void dedup_checkpoint_settle(dedup_t *self, bool is_durable);

/* The next checkpoint writes everything, for a store that has nothing of this dedup. Not while a
 * checkpoint is open.
 * cost a step per producer and position */
void dedup_mark_all(dedup_t *self);

/* One entry of a checkpoint, in key order, into a dedup that nothing else was done to yet.
 * in   key without the prefix
 * errs ERR_CORRUPT malformed, contradictory, or out of order · ERR_UNSUPPORTED a later version. The
 *      dedup must be thrown away then */
err_t dedup_load_entry(dedup_t *self, slice_t key, slice_t value, errbuf_t *errbuf);

#endif
