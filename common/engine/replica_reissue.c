/* A retry of what was logged under an earlier epoch, and how its answer stays the answer.
 *
 * A leader answers a retry with the copy that it holds. When it logged that copy itself under its
 * own epoch, no other one can displace it (dedup.h). One of an earlier epoch can be displaced by a
 * copy that this leader has never seen, if that was logged under an epoch between the two, or while
 * both were islands': two changes of leader while one request goes unanswered are enough.
 *
 *   epoch 1  R logs X for a request; S does not get it, T does
 *   epoch 2  S, who lacks X, logs Y for the same request; T does not get it
 *   epoch 3  T answers a retry with X, at `replicated`. Then Y arrives, and wins
 *
 * So before it answers, T logs the request anew, as it lies in X's log: a reissue Z under epoch 3.
 * Z wins against X and Y, everywhere and in any order, and each of them is voided as any second
 * copy is; what counts is the same. The answer waits for Z and names X: a reissue carries the name
 * of the copy that it stands for, and passes it on to a reissue of itself. So whoever was told of X
 * before was told right.
 *
 * Not needed for a copy of the epoch just before: none lies between, and a leader's copy goes
 * before every island's. Nor for a stable pair: all of its copies are known, and its answer names
 * none. A session's signal keeps its number, and so the stream that it was
 * numbered in (session_book.h).
 *
 * A replica that has forgotten where X lies, since the pair is stable, voids Z instead of X. The
 * state is the same, for both have the same payload; `from` lets usage tell the same as well. */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <string.h>

/* What was logged in this turn and takes a copy's place when it is applied. */
typedef struct {
    uint64_t first_seq;
    dedup_position_t loser;
} s_pending_t;

bool replica_reissue_is_due(const replica_t *self, const dedup_position_t *position, now_t now)
{
    uint64_t epoch = leader_epoch(self->leader);
    bool is_island = position->epoch == 0;
    bool is_old = position->epoch < epoch && epoch - position->epoch > 1;
    return (is_island || is_old) && !MUTANT(NEVER_REISSUE) &&
           leader_stance(self->leader, now.mono_ns) == LEADER_AS_LEADER &&
           replica_applied_seq(self, position->stream) >= dedup_position_last_seq(position);
}

/* Appends the copy as it lies in its log. */
static err_t s_append(replica_t *self,
                      const dedup_position_t *position,
                      const msg_write_t *write,
                      now_t now,
                      wal_batch_t *ret_batch,
                      errbuf_t *errbuf)
{
    wal_reader_t *reader = NULL;
    wal_batch_t held;
    err_t err = replica_read_copy(self, position, &reader, &held, errbuf);
    if (err == ERR_OK) {
        *ret_batch = (wal_batch_t){
            .epoch = leader_epoch(self->leader),
            .event_count = held.event_count,
            .hlc = held.hlc,
            .has_producer = true,
            .producer = write->producer,
            .producer_seq = write->producer_seq,
            .content_hash = held.content_hash,
            .reissue = {.named = dedup_position_name(position),
                        .from = position->stream.origin.region},
            .payload = held.payload,
        };
        err = replica_append(self, ret_batch, now, errbuf);
    }
    wal_reader_destroy(&reader);
    ret_batch->payload = slice_make(NULL, 0); /* it was the reader's */
    return err;
}

err_t replica_reissue(replica_t *self,
                      const msg_write_t *write,
                      const dedup_position_t *position,
                      now_t now,
                      dedup_position_t *ret_position,
                      errbuf_t *errbuf)
{
    wal_batch_t batch;
    err_t err = s_append(self, position, write, now, &batch, errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "log the request anew, so that its answer stays");
        return err;
    }
    self->counters.reissued++;
    self->counters.events += batch.event_count;
    *ret_position = dedup_position_of(&batch);
    dedup_conflict_t conflict;
    dedup_verdict_t verdict =
        dedup_add(self->dedup, write->producer, write->producer_seq, ret_position, &conflict);
    CHECK(verdict == DEDUP_OTHER_COPY);
    CHECK(!conflict.is_winner_forgotten && !conflict.is_loser_new);
    replica_tickets_move(self, &conflict.loser, &conflict.winner);
    s_pending_t pending = {batch.first_seq, conflict.loser};
    buffer_append(&self->reissued, &pending, sizeof(pending));
    return ERR_OK;
}

bool replica_reissue_take(const replica_t *self,
                          const wal_batch_t *batch,
                          dedup_position_t *ret_loser)
{
    const s_pending_t *pending = (const void *)self->reissued.data;
    size_t count = self->reissued.size / sizeof(*pending);
    bool is_own = self->log != NULL && stream_id_equal(batch->stream, wal_log_stream(self->log));
    for (size_t i = 0; is_own && i < count; i++) {
        if (pending[i].first_seq == batch->first_seq) {
            *ret_loser = pending[i].loser;
            return true;
        }
    }
    return false;
}
