/* Who answers for a request that was logged in two streams, and with which copy.
 *
 * While a client's request waits at a leader, another leader may be named, and the gateway repeats it
 * there before the first copy has arrived. Both copies are durable in the end and one of them is voided;
 * a client that asks at three gateways must still hear of one.
 *
 *   - The copy of the higher epoch stays (dedup.h). So what a leader has logged and acknowledged itself
 *     is what every later leader answers, whatever earlier ones logged and ship afterwards.
 *   - A leader that was replaced leaves the answer to the new one, which may have logged its own copy.
 *   - So does one that leads again when the answer comes: under an epoch between, another leader may have
 *     acknowledged a copy that lies in this region's files and is not applied yet. A request that is
 *     repeated is looked at only when those are (replica_is_ready).
 *   - What waits for a copy that loses is told of the one that stays.
 *   - A retry of a copy of an earlier epoch may have to be logged anew before its answer can stay
 *     (replica_reissue.c). */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <string.h>

void replica_tickets_move(replica_t *self,
                          const dedup_position_t *loser,
                          const dedup_position_t *winner)
{
    if (memcmp(loser->content_hash.bytes, winner->content_hash.bytes, MSG_CONTENT_HASH_SIZE) != 0) {
        return; /* not what was asked for */
    }
    uint32_t left = leader_waiting_count(self->leader);
    CHECK(left <= REPLICA_TICKET_COUNT_MAX);
    for (uint32_t i = 0; i < REPLICA_TICKET_COUNT_MAX && left > 0; i++) {
        replica_ticket_t *ticket = &self->tickets[i];
        if (!ticket->is_used) {
            continue;
        }
        left--;
        if (ticket->has_pair && ticket->first_seq == loser->first_seq &&
            stream_id_equal(ticket->stream, loser->stream)) {
            ticket->stream = winner->stream;
            ticket->first_seq = winner->first_seq;
            ticket->last_seq = dedup_position_last_seq(winner);
            ticket->hlc = winner->hlc;
            ticket->named = dedup_position_name(winner);
            ticket->duplicate = true;
            ticket->is_moved = true;
        }
    }
}

void replica_tickets_exchange_sessions(replica_t *self, const session_book_t *next)
{
    for (uint32_t i = 0; i < REPLICA_TICKET_COUNT_MAX; i++) {
        replica_ticket_t *ticket = &self->tickets[i];
        if (ticket->is_used && ticket->session_row != 0) {
            session_view_t view;
            session_book_view(self->sessions, ticket->session_row, &view);
            ticket->session_row = session_book_find(next, view.id);
        }
    }
}

const char *replica_ticket_settle(const replica_t *self,
                                  const replica_ticket_t *ticket,
                                  leader_effect_t *effect)
{
    if (effect->code == CODE_NOT_REPLICATED) {
        return "the write is logged, but not every region that the ack level needs has confirmed "
               "it "
               "in time; repeat it with the same producer and seq to learn how it ended";
    }
    if (!ticket->has_pair || effect->island) {
        return "";
    }
    if (leader_role(self->leader) != LEADER_LEADER) {
        effect->code = CODE_READ_ONLY;
        return "another leader was named while the write waited; repeated there with the same "
               "producer and seq it gets the answer that counts";
    }
    if (leader_epoch(self->leader) != ticket->epoch && !MUTANT(ANSWER_FROM_BEFORE)) {
        effect->code = CODE_UNAVAILABLE;
        return "the leader changed and changed back while the write waited; repeat it with the "
               "same producer and seq to learn which copy counts";
    }
    if (ticket->is_moved) {
        effect->durability =
            leader_durability(self->leader, ticket->stream, ticket->last_seq, &effect->replicas);
        if (effect->durability < ticket->level) {
            effect->code = CODE_UNAVAILABLE;
            return "another copy of this request counts, and not every region that the ack level "
                   "needs has confirmed that one yet; repeat it with the same producer and seq";
        }
    }
    return "";
}
