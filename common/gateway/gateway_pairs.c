/* Whether a pair (producer, seq) stands for another request already.
 *
 * Of a request that is repeated every shard finds its own part. One with other content under the
 * same pair may go to shards that have never seen the pair, in whole or in part, and they would log
 * it. Only who sees all shards can tell before anything is logged, so the gateway asks the nodes of
 * its own region: what was acknowledged at `replicated` they hold or are about to apply (the
 * request's token says what they have to have), and a question costs no way to another region.
 *
 *   refused    a shard holds other content under the pair, or has seen the pair and is none that
 *              the request goes to (the same content goes to the same shards), and none that it
 *              goes to holds this very request. (Where two were logged under one pair all the same,
 *              since they came at once or a shard did not answer, a repetition of either goes on,
 *              and is a duplicate.)
 *   goes on    else; also when a shard does not answer in time, and when the region holds nothing
 *              of the tenant */
#include "common/gateway/gateway_state.h"

#include <string.h>

static_assert(SHARD_COUNT_MAX <= 64, "a set of shards is one word");

static uint64_t s_bit(shard_id_t shard)
{
    return UINT64_C(1) << shard.value;
}

/* The shards that look at the pair when they write their part. */
static uint64_t s_touched(const gateway_request_t *request)
{
    uint64_t touched = 0;
    for (uint32_t i = 0; i < request->part_count; i++) {
        if (!request->write.is_for_all || i == request->write.home) {
            touched |= s_bit(request->parts[i].shard);
        }
    }
    return touched;
}

static bool s_ask(gateway_engine_t *self,
                  const gateway_request_t *request,
                  const token_t *token,
                  shard_id_t shard,
                  now_t now)
{
    msg_t msg = {.type = MSG_READ};
    msg.as.read = (msg_read_t){
        .request_id = gateway_request_question_id(request, shard),
        .tenant = request->tenant,
        .shard = shard,
        .token = gateway_token_of_shard(self, token, request->tenant, shard),
        .wait_ms = GATEWAY_PAIR_MS,
        .max_staleness_ms = UINT32_MAX,
        .at_ns = now.wall_ns,
        .kind = READ_PAIR,
    };
    msg.as.read.as.pair.producer = request->write.producer;
    msg.as.read.as.pair.seq = request->write.seq;
    return gateway_send(self, (node_id_t){self->region, shard}, &msg) == ERR_OK;
}

bool gateway_pairs_begin(gateway_engine_t *self,
                         gateway_request_t *request,
                         const token_t *token,
                         now_t now)
{
    uint64_t all = UINT64_MAX >> (64 - self->shard_count);
    bool is_placed = region_set_has(gateway_placed(self, request->tenant), self->region);
    if (!request->write.has_producer || self->shard_count == 1 || !is_placed) {
        return false;
    }
    for (uint16_t shard = 0; shard < self->shard_count; shard++) {
        if (s_ask(self, request, token, (shard_id_t){shard}, now)) {
            request->write.pair.waiting |= s_bit((shard_id_t){shard});
        }
    }
    self->counters.pairs_asked++;
    request->write.pair.is_open = request->write.pair.waiting != 0;
    int64_t due_ns = now.mono_ns + gateway_ms(GATEWAY_PAIR_MS);
    request->write.pair.due_ns = due_ns < request->deadline_ns ? due_ns : request->deadline_ns;
    self->counters.pairs_unknown += request->write.pair.waiting != all ? 1 : 0;
    return request->write.pair.is_open;
}

void gateway_pairs_answered(gateway_request_t *request,
                            shard_id_t shard,
                            const msg_read_reply_t *answer)
{
    if (shard.value >= SHARD_COUNT_MAX || (request->write.pair.waiting & s_bit(shard)) == 0) {
        return; /* twice */
    }
    request->write.pair.waiting &= ~s_bit(shard);
    msg_pair_t found = answer->code == CODE_OK ? answer->as.pair.found : MSG_PAIR_NOT_SEEN;
    if (found == MSG_PAIR_NOT_SEEN) {
        return;
    }
    bool is_touched = (s_touched(request) & s_bit(shard)) != 0;
    bool is_same =
        found == MSG_PAIR_STABLE || memcmp(answer->as.pair.content_hash,
                                           request->write.content_hash, MSG_CONTENT_HASH_SIZE) == 0;
    request->write.pair.is_held = request->write.pair.is_held || (is_touched && is_same);
    request->write.pair.is_other = request->write.pair.is_other || !is_touched || !is_same;
}

bool gateway_pairs_review(gateway_engine_t *self,
                          gateway_request_t *request,
                          now_t now,
                          bool *ret_is_over)
{
    *ret_is_over = false;
    if (request->write.pair.waiting != 0 && now.mono_ns < request->write.pair.due_ns) {
        return false;
    }
    request->write.pair.is_open = false;
    self->counters.pairs_unknown += request->write.pair.waiting != 0 ? 1 : 0;
    if (request->write.pair.is_other && !request->write.pair.is_held) {
        self->counters.pairs_refused++;
        client_failure_t failure = {
            .code = CODE_BAD_REQUEST,
            .message = slice_text("producer, seq: expected the same content as in the request that "
                                  "was logged under this pair, found another one; use a new seq")};
        gateway_finish_error(self, request, &failure, now);
        *ret_is_over = true;
        return false;
    }
    gateway_write_start(request, now);
    return true;
}
