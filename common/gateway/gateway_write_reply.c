/* The one reply of a write, from what its parts came to. */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"

/* What the parts came to, together. */
typedef struct {
    code_t code;
    uint32_t failed; /* the part that the message is about; of a code that is not OK */
    ack_level_t durability;
    region_set_t replicas;
    bool duplicate;
    bool island;       /* of any part */
    uint64_t accepted; /* events logged */
} outcome_t;

/* Whether the part may be, or is, in some log. */
static bool s_is_held(const gateway_part_t *part)
{
    return part->code == CODE_OK || part->code == CODE_NOT_REPLICATED;
}

static code_t s_code(const gateway_request_t *request, uint32_t *ret_failed)
{
    uint32_t ok_count = 0;
    uint32_t maybe_count = 0;
    uint32_t failed = request->part_count;
    for (uint32_t i = 0; i < request->part_count; i++) {
        code_t code = request->parts[i].code;
        ok_count += code == CODE_OK ? 1 : 0;
        maybe_count += code == CODE_NOT_REPLICATED ? 1 : 0;
        failed = code != CODE_OK && failed == request->part_count ? i : failed;
    }
    if (ok_count == request->part_count) {
        return CODE_OK;
    }
    bool home_failed =
        request->write.is_for_all && request->parts[request->write.home].code != CODE_OK;
    *ret_failed = home_failed ? request->write.home : failed;
    bool is_uniform =
        home_failed || (ok_count == 0 && (maybe_count == 0 || maybe_count == request->part_count));
    return is_uniform ? request->parts[*ret_failed].code : CODE_PARTIAL;
}

static outcome_t s_outcome(const gateway_engine_t *self, const gateway_request_t *request)
{
    outcome_t outcome = {
        .durability = ACK_ALL, .replicas = topology_regions(self->env.topology), .duplicate = true};
    outcome.code = s_code(request, &outcome.failed);
    for (uint32_t i = 0; i < request->part_count; i++) {
        const gateway_part_t *part = &request->parts[i];
        ack_level_t held = s_is_held(part) ? part->durability : ACK_NONE;
        outcome.durability = held < outcome.durability ? held : outcome.durability;
        outcome.replicas.bits &= part->replicas.bits;
        outcome.island = outcome.island || (part->code == CODE_OK && part->island);
        /* Of what concerns all shards the home copy tells: the others do not look at the pair. */
        bool tells = !request->write.is_for_all || i == request->write.home;
        outcome.duplicate = outcome.duplicate && (part->duplicate || !tells);
        outcome.accepted += part->code == CODE_OK ? part->event_count : 0;
    }
    return outcome;
}

static void s_origin(const gateway_engine_t *self,
                     const gateway_part_t *part,
                     char ret_text[CLIENT_ORIGIN_SIZE])
{
    client_origin_text(ret_text, gateway_region_name(self, part->stream.origin.region),
                       &part->stream);
}

/* The token of everything that was logged, at the end of self->rows. */
static slice_t s_token(gateway_engine_t *self, const gateway_request_t *request)
{
    stream_position_t positions[SHARD_COUNT_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->part_count; i++) {
        const gateway_part_t *part = &request->parts[i];
        if (part->has_position && s_is_held(part)) {
            positions[count++] = (stream_position_t){part->stream, part->last_seq};
        }
    }
    buffer_clear(&self->rows);
    gateway_encode_token(self, request, positions, count, &self->rows);
    return buffer_slice(&self->rows);
}

/* Of the only shard: where it lies. in ret_origin  holds the text of its stream */
static void s_put_position(const gateway_engine_t *self,
                           const gateway_request_t *request,
                           client_write_reply_t *write,
                           char ret_origin[CLIENT_ORIGIN_SIZE])
{
    const gateway_part_t *part = &request->parts[0];
    if (request->part_count > 1 || !part->has_position || !s_is_held(part)) {
        return;
    }
    s_origin(self, part, ret_origin);
    write->has_position = true;
    write->shard = part->shard;
    write->origin = slice_text(ret_origin);
    write->seq_first = part->first_seq;
    write->seq_last = part->last_seq;
    write->hlc = part->hlc;
}

/* What the lists of a reply point into. */
typedef struct {
    char origins[SHARD_COUNT_MAX][CLIENT_ORIGIN_SIZE];
    errbuf_t messages[SHARD_COUNT_MAX];
    client_shard_write_t shards[SHARD_COUNT_MAX];
    client_failed_shard_t failed[SHARD_COUNT_MAX];
    uint32_t shard_count;
    uint32_t failed_count;
} lists_t;

static void s_list_part(const gateway_engine_t *self,
                        const gateway_request_t *request,
                        const gateway_part_t *part,
                        lists_t *lists)
{
    if (part->code != CODE_OK) {
        client_failure_t why =
            gateway_part_failure(self, request, part, &lists->messages[lists->failed_count]);
        lists->failed[lists->failed_count++] =
            (client_failed_shard_t){part->shard, part->code, why.message, why.leader};
        return;
    }
    char *origin = lists->origins[lists->shard_count];
    client_shard_write_t *shard = &lists->shards[lists->shard_count++];
    *shard = (client_shard_write_t){.shard = part->shard,
                                    .count = part->event_count,
                                    .durability = part->durability,
                                    .island = part->island,
                                    .duplicate = part->duplicate};
    if (part->has_position) {
        s_origin(self, part, origin);
        shard->has_position = true;
        shard->origin = slice_text(origin);
        shard->seq_first = part->first_seq;
        shard->seq_last = part->last_seq;
    }
}

static void s_reply_many(gateway_engine_t *self,
                         const gateway_request_t *request,
                         const client_failure_t *failure,
                         const client_write_reply_t *write,
                         uint64_t accepted)
{
    lists_t lists;
    lists.shard_count = 0;
    lists.failed_count = 0;
    CHECK(request->part_count <= SHARD_COUNT_MAX);
    for (uint32_t i = 0; i < request->part_count; i++) {
        s_list_part(self, request, &request->parts[i], &lists);
    }
    client_shards_reply_t reply = {
        .write = *write,
        .has_accepted = !request->write.is_for_all,
        .accepted = accepted,
        .shard_count = lists.shard_count,
        .shards = lists.shards,
    };
    client_failure_t listed = {.code = CODE_OK};
    if (failure != NULL) {
        listed = *failure;
        listed.shard_count = lists.failed_count;
        listed.shards = lists.failed;
    }
    client_reply_shards(&self->reply, request->id, failure == NULL ? NULL : &listed, &reply);
}

static bool s_is_single(client_op_t op)
{
    return op == CLIENT_OP_SIGNAL || op == CLIENT_OP_PUT_ITEM || op == CLIENT_OP_DELETE_ITEM ||
           op == CLIENT_OP_HIDE || op == CLIENT_OP_UNHIDE;
}

static client_failure_t s_failure(const gateway_engine_t *self,
                                  const gateway_request_t *request,
                                  const outcome_t *outcome,
                                  errbuf_t *ret_text)
{
    const gateway_part_t *part = &request->parts[outcome->failed];
    client_failure_t failure = gateway_part_failure(self, request, part, ret_text);
    if (outcome->code == CODE_PARTIAL) {
        errbuf_prefix(ret_text, "some shards have not taken their part, `shards` says which; the "
                                "whole request may be repeated with the same producer and seq");
        failure.message = slice_text(ret_text->text);
        failure.leader = slice_make(NULL, 0);
    }
    failure.code = outcome->code;
    if (failure.code == CODE_OVERLOADED && failure.retry_after_ms == 0) {
        failure.retry_after_ms = self->env.topology->timing.retry_ms;
    }
    return failure;
}

void gateway_write_finish(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    outcome_t outcome = s_outcome(self, request);
    bool is_ok = outcome.code == CODE_OK;
    bool is_held = is_ok || outcome.code == CODE_PARTIAL || outcome.code == CODE_NOT_REPLICATED;
    slice_t replicas[REGION_COUNT_MAX];
    client_write_reply_t write = {.durability = is_held ? outcome.durability : ACK_NONE,
                                  .replicas = replicas,
                                  .has_token = is_held,
                                  .island = outcome.island,
                                  .duplicate = is_ok && outcome.duplicate};
    write.replica_count = gateway_region_names(self, outcome.replicas, replicas);
    if (is_held) {
        write.token = s_token(self, request);
    }
    errbuf_t text = {{0}};
    client_failure_t failure = {.code = CODE_OK};
    if (!is_ok) {
        failure = s_failure(self, request, &outcome, &text);
    }
    bool is_signals = request->op == CLIENT_OP_SIGNAL || request->op == CLIENT_OP_SIGNALS;
    self->counters.signals += is_signals ? outcome.accepted : 0;
    buffer_clear(&self->reply);
    char origin[CLIENT_ORIGIN_SIZE];
    s_put_position(self, request, &write, origin);
    if (gateway_is_session_write(request->op)) {
        gateway_session_write_reply(self, request, is_ok ? NULL : &failure, &write);
    } else if (s_is_single(request->op)) {
        client_reply_write(&self->reply, request->id, is_ok ? NULL : &failure, &write);
    } else if (is_held) {
        s_reply_many(self, request, is_ok ? NULL : &failure, &write, outcome.accepted);
    } else {
        client_reply_failure(&self->reply, request->id, &failure);
    }
    if (is_ok && !outcome.island) {
        gateway_tell_held(self, request);
    }
    gateway_finish(self, request, outcome.code, now);
}
