/* Who answers for a request that was logged in two streams, and with which copy.
 *
 * While a client's request waits at a leader, another leader may be named, and the gateway repeats
 * it there before the first copy has arrived. Both copies are durable in the end and one of them is
 * voided; a client that asks at three gateways must still hear of one.
 *
 *   - The copy of the higher epoch stays (dedup.h). So what a leader has logged and acknowledged
 *     itself is what every later leader answers, whatever earlier ones logged and ship afterwards.
 *   - A leader that was replaced leaves the answer to the new one, which may
 *     have logged its own copy.
 *   - So does one that leads again when the answer comes: under an epoch between, another leader
 *     may have acknowledged a copy that lies in this region's files and is not applied yet. A
 *     request that is repeated is looked at only when those are (replica_is_ready).
 *   - What waits for a copy that loses is told of the one that stays.
 *   - A retry of a copy of an earlier epoch may have to be logged anew before its answer can stay
 *     (replica_reissue.c). */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <stdlib.h>
#include <string.h>

enum { S_TICKET_COUNT_MIN = 64 };
static_assert((int)REPLICA_TICKET_COUNT_MAX % (int)S_TICKET_COUNT_MIN == 0 &&
                  (REPLICA_TICKET_COUNT_MAX & (REPLICA_TICKET_COUNT_MAX - 1)) == 0,
              "doubling ends at the most");

bool replica_tickets_are_taken(const replica_t *self)
{
    return self->free_ticket_count == 0 && self->ticket_count == REPLICA_TICKET_COUNT_MAX;
}

static void s_grow(replica_t *self)
{
    uint32_t count = self->ticket_count == 0 ? S_TICKET_COUNT_MIN : 2 * self->ticket_count;
    CHECK(count <= REPLICA_TICKET_COUNT_MAX);
    self->tickets = realloc(self->tickets, count * sizeof(*self->tickets));
    self->free_tickets = realloc(self->free_tickets, count * sizeof(*self->free_tickets));
    CHECK(self->tickets != NULL && self->free_tickets != NULL);
    for (uint32_t i = count; i > self->ticket_count; i--) {
        self->tickets[i - 1] = (replica_ticket_t){.is_used = false};
        self->free_tickets[self->free_ticket_count++] = i - 1;
    }
    self->ticket_count = count;
}

uint32_t replica_ticket_take(replica_t *self, const replica_ticket_t *ticket)
{
    if (self->free_ticket_count == 0) {
        s_grow(self);
    }
    uint32_t index = self->free_tickets[--self->free_ticket_count];
    self->tickets[index] = *ticket;
    self->tickets[index].is_used = true;
    return index;
}

void replica_ticket_give_back(replica_t *self, uint32_t index)
{
    CHECK(index < self->ticket_count && self->tickets[index].is_used);
    self->tickets[index].is_used = false;
    self->free_tickets[self->free_ticket_count++] = index;
}

void replica_tickets_move(replica_t *self,
                          const dedup_position_t *loser,
                          const dedup_position_t *winner)
{
    if (memcmp(loser->content_hash.bytes, winner->content_hash.bytes, MSG_CONTENT_HASH_SIZE) != 0) {
        return; /* not what was asked for */
    }
    uint32_t left = leader_waiting_count(self->leader);
    CHECK(left <= self->ticket_count);
    for (uint32_t i = 0; i < self->ticket_count && left > 0; i++) {
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
    for (uint32_t i = 0; i < self->ticket_count; i++) {
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
