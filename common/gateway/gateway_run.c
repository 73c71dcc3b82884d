/* What all kinds of requests have in common: sending, replying, the states of their parts, tokens.
 */
#include "common/gateway/gateway_state.h"

#include "common/base/check.h"

/* -- sending ----------------------------------------------------------------------------------- */

err_t gateway_send(gateway_engine_t *self, node_id_t node, const msg_t *msg)
{
    const net_t *net = self->env.net;
    process_address_t to = {PROCESS_NODE, node.region, node.shard};
    buffer_clear(&self->out);
    msg_encode(msg, &self->out);
    err_t err = net->send(net->context, to, self->out.data, self->out.size);
    self->counters.parts_sent += err == ERR_OK ? 1 : 0;
    self->counters.send_refused += err == ERR_OK ? 0 : 1;
    return err;
}

void gateway_reply(gateway_engine_t *self, uint64_t reply_to, code_t code)
{
    const net_t *net = self->env.net;
    self->counters.replies_ok += code == CODE_OK ? 1 : 0;
    self->counters.replies_failed += code == CODE_OK ? 0 : 1;
    self->counters.by_code[code]++;
    if (net->reply(net->context, reply_to, self->reply.data, self->reply.size) != ERR_OK) {
        self->counters.reply_dropped++;
    }
    net->forget(net->context, reply_to);
}

void gateway_reply_error(
    gateway_engine_t *self, uint64_t reply_to, slice_t id, code_t code, const char *message)
{
    client_failure_t failure = {.code = code, .message = slice_text(message)};
    if (code == CODE_OVERLOADED) {
        failure.retry_after_ms = self->env.topology->timing.retry_ms;
    }
    buffer_clear(&self->reply);
    client_reply_failure(&self->reply, id, &failure);
    gateway_reply(self, reply_to, code);
}

void gateway_finish(gateway_engine_t *self, gateway_request_t *request, code_t code, now_t now)
{
    int64_t took_ns = now.mono_ns - request->received_ns;
    self->counters.longest_ns =
        took_ns > self->counters.longest_ns ? took_ns : self->counters.longest_ns;
    gateway_reply(self, request->reply_to, code);
    gateway_requests_close(&self->requests, request);
}

void gateway_finish_error(gateway_engine_t *self,
                          gateway_request_t *request,
                          const client_failure_t *failure,
                          now_t now)
{
    buffer_clear(&self->reply);
    client_reply_failure(&self->reply, request->id, failure);
    gateway_finish(self, request, failure->code, now);
}

/* -- parts ------------------------------------------------------------------------------------- */

void gateway_part_end(gateway_request_t *request,
                      gateway_part_t *part,
                      code_t code,
                      slice_t message)
{
    CHECK(part->state != GATEWAY_PART_DONE);
    CHECK(request->done_count < request->part_count);
    part->state = GATEWAY_PART_DONE;
    part->due_ns = INT64_MAX;
    part->code = code;
    part->message = gateway_request_note(request, message);
    request->done_count++;
}

void gateway_part_wait(
    gateway_request_t *request, gateway_part_t *part, code_t code, slice_t message, int64_t due_ns)
{
    CHECK(part->state != GATEWAY_PART_DONE);
    part->state = GATEWAY_PART_WAITING;
    part->due_ns = due_ns;
    part->wait_count++;
    if (part->code != code) { /* the reason is noted once, not with every attempt */
        part->code = code;
        part->message = gateway_request_note(request, message);
    }
}

int64_t gateway_backoff_ns(gateway_engine_t *self, const gateway_part_t *part)
{
    enum { S_DOUBLINGS_MAX = 3 };
    uint32_t doublings = part->wait_count < S_DOUBLINGS_MAX ? part->wait_count : S_DOUBLINGS_MAX;
    int64_t usual_ns = gateway_ms(self->env.topology->timing.retry_ms) << doublings;
    return usual_ns / 2 + (int64_t)prng_below(&self->prng, (uint64_t)usual_ns);
}

client_failure_t gateway_part_failure(const gateway_engine_t *self,
                                      const gateway_request_t *request,
                                      const gateway_part_t *part,
                                      errbuf_t *ret_text)
{
    slice_t message = gateway_request_text(request, part->message);
    if (part->target.value != 0) {
        slice_t region = gateway_region_name(self, part->target);
        errbuf_set(ret_text, "shard %u in %.*s: %.*s", part->shard.value, (int)region.size,
                   (const char *)region.data, (int)message.size, (const char *)message.data);
    } else {
        errbuf_set(ret_text, "shard %u: %.*s", part->shard.value, (int)message.size,
                   (const char *)message.data);
    }
    client_failure_t failure = {.code = part->code, .message = slice_text(ret_text->text)};
    failure.retry_after_ms = part->retry_after_ms;
    if (part->leader.value != 0) {
        failure.leader = gateway_region_name(self, part->leader);
    }
    return failure;
}

static void s_send_part(gateway_engine_t *self,
                        gateway_request_t *request,
                        uint32_t index,
                        now_t now)
{
    self->counters.retries += request->parts[index].attempts > 0 ? 1 : 0;
    if (gateway_is_write(request)) {
        gateway_write_send(self, request, index, now);
    } else if (gateway_is_read(request)) {
        gateway_read_send(self, request, index, now);
    } else {
        gateway_mesh_send(self, request, index, now);
    }
}

static void s_unanswered(gateway_engine_t *self,
                         gateway_request_t *request,
                         gateway_part_t *part,
                         now_t now)
{
    if (gateway_is_write(request)) {
        gateway_write_unanswered(request, part, now);
    } else if (gateway_is_read(request)) {
        gateway_read_unanswered(self, request, part, now);
    } else {
        gateway_part_end(request, part, CODE_TIMEOUT, slice_text("no answer in time"));
    }
}

static void s_expire(gateway_engine_t *self, gateway_request_t *request)
{
    if (gateway_is_write(request)) {
        gateway_write_expire(self, request);
    } else {
        gateway_read_expire(request);
    }
}

static void s_finish(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    if (gateway_is_write(request)) {
        gateway_write_finish(self, request, now);
    } else if (gateway_is_read(request)) {
        gateway_read_finish(self, request, now);
    } else {
        gateway_mesh_finish(self, request, now);
    }
}

void gateway_give_up(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    s_expire(self, request);
    s_finish(self, request, now);
}

/* Parts that are due. */
static void s_run_parts(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    for (uint32_t i = 0; i < request->part_count; i++) {
        gateway_part_t *part = &request->parts[i];
        if (part->state == GATEWAY_PART_SENT && part->due_ns <= now.mono_ns) {
            s_unanswered(self, request, part, now);
        }
        if (part->state == GATEWAY_PART_WAITING && part->due_ns <= now.mono_ns) {
            s_send_part(self, request, i, now);
        }
    }
}

void gateway_run(gateway_engine_t *self, gateway_request_t *request, now_t now)
{
    bool is_over = false;
    if (request->write.pair.is_open && !gateway_pairs_review(self, request, now, &is_over)) {
        if (!is_over) {
            gateway_requests_settle(&self->requests, request);
        }
        return;
    }
    s_run_parts(self, request, now);
    if (gateway_is_write(request) && gateway_write_others(request, now)) {
        s_run_parts(self, request, now);
    }
    if (gateway_is_read(request) && gateway_session_others(request, now)) {
        s_run_parts(self, request, now);
    }
    if (request->done_count < request->part_count && request->deadline_ns <= now.mono_ns) {
        s_expire(self, request);
    }
    if (request->done_count == request->part_count) {
        s_finish(self, request, now);
        return;
    }
    gateway_requests_settle(&self->requests, request);
}

/* -- tokens ------------------------------------------------------------------------------------ */

bool gateway_is_stable(const gateway_engine_t *self, stream_id_t stream, uint64_t seq)
{
    const stream_position_t *stable = (const stream_position_t *)(const void *)self->stable.data;
    size_t low = 0;
    size_t high = self->stable.size / sizeof(*stable);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = stream_id_compare(stable[middle].stream, stream);
        if (order == 0) {
            return seq <= stable[middle].seq;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return false;
}

void gateway_encode_token(gateway_engine_t *self,
                          const gateway_request_t *request,
                          const stream_position_t *positions,
                          uint32_t position_count,
                          buffer_t *out)
{
    token_t *token = &self->token;
    CHECK(token_decode(token, request->token, NULL) == ERR_OK); /* its own */
    if (request->seen.wall_ns > 0) {
        token_add_stamp(token, request->seen);
    }
    bool fits = true;
    for (uint32_t i = 0; i < position_count && fits; i++) {
        fits = token_add(token, positions[i].stream, positions[i].seq) == ERR_OK;
    }
    token_drop_stable(token, (const stream_position_t *)(const void *)self->stable.data,
                      (uint32_t)(self->stable.size / sizeof(stream_position_t)));
    if (fits && token_encode(token, out) == ERR_OK) {
        return;
    }
    /* More streams in flux than a token holds: the client keeps what it came with. */
    self->counters.token_cut++;
    CHECK(token_decode(token, request->token, NULL) == ERR_OK);
    CHECK(token_encode(token, out) == ERR_OK);
}

void gateway_see_stamp(gateway_engine_t *self, gateway_request_t *request, hlc_stamp_t stamp)
{
    hlc_observe(&self->hlc, stamp);
    if (hlc_compare(stamp, request->seen) > 0) {
        request->seen = stamp;
    }
}

slice_t gateway_token_of_shard(gateway_engine_t *self,
                               const token_t *token,
                               tenant_id_t tenant,
                               shard_id_t shard)
{
    token_t *share = &self->token;
    token_clear(share);
    for (uint32_t i = 0; i < token->count; i++) {
        stream_id_t stream = token->positions[i].stream;
        if (stream.tenant.value == tenant.value && stream.origin.shard.value == shard.value) {
            share->positions[share->count++] = token->positions[i];
        }
    }
    buffer_clear(&self->rows);
    if (share->count > 0) {
        CHECK(token_encode(share, &self->rows) == ERR_OK); /* the whole fitted */
    }
    return buffer_slice(&self->rows);
}

void gateway_split_token(gateway_engine_t *self, gateway_request_t *request, const token_t *token)
{
    for (uint32_t i = 0; i < request->part_count && token->count > 0; i++) {
        gateway_part_t *part = &request->parts[i];
        slice_t share = gateway_token_of_shard(self, token, request->tenant, part->shard);
        part->token = gateway_request_hold(request, share);
    }
}
