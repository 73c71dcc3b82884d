/* Replies to clients: the envelope, writes and the reading side of the project's own tools. */
#include "common/wire/client_reply.h"

#include "common/base/check.h"
#include "common/wire/client_reply_fields.h"

#include <inttypes.h>
#include <stdio.h>

/* -- envelope ---------------------------------------------------------------------------------- */

void client_put_people_text(pack_writer_t *writer, const char *key, slice_t text)
{
    pack_key(writer, key);
    pack_write_clean(writer, text, PACK_CLEAN_SIZE_MAX);
}

static void s_put_failed_shards(pack_writer_t *writer, const client_failure_t *failure)
{
    pack_put_array(writer, "shards");
    for (uint32_t i = 0; i < failure->shard_count; i++) {
        const client_failed_shard_t *shard = &failure->shards[i];
        pack_item(writer);
        pack_open_map(writer);
        pack_put_u64(writer, "shard", shard->shard.value);
        pack_put_text(writer, "code", code_name(shard->code));
        client_put_people_text(writer, "message", shard->message);
        pack_put_bool(writer, "retryable", code_is_retryable(shard->code));
        if (shard->leader.size > 0) {
            pack_put_str(writer, "leader", shard->leader);
        }
        pack_close(writer);
    }
    pack_close(writer);
}

static void s_put_error(pack_writer_t *writer, const client_failure_t *failure)
{
    CHECK(failure->code != CODE_OK);
    pack_put_map(writer, "error");
    pack_put_text(writer, "code", code_name(failure->code));
    client_put_people_text(writer, "message", failure->message);
    pack_put_bool(writer, "retryable", code_is_retryable(failure->code));
    if (failure->leader.size > 0) {
        pack_put_str(writer, "leader", failure->leader);
    }
    if (failure->retry_after_ms > 0) {
        pack_put_u64(writer, "retry_after_ms", failure->retry_after_ms);
    }
    if (failure->shard_count > 0) {
        s_put_failed_shards(writer, failure);
    }
    pack_close(writer);
}

void client_reply_begin(pack_writer_t *writer,
                        buffer_t *out,
                        slice_t id,
                        const client_failure_t *failure)
{
    pack_writer_init(writer, out);
    pack_open_map(writer);
    if (id.size > 0) {
        pack_key(writer, "id");
        pack_write_encoded(writer, id);
    }
    pack_put_bool(writer, "ok", failure == NULL);
    if (failure != NULL) {
        s_put_error(writer, failure);
    }
}

void client_reply_end(pack_writer_t *writer)
{
    pack_close(writer);
    pack_writer_done(writer);
}

void client_reply_failure(buffer_t *out, slice_t id, const client_failure_t *failure)
{
    CHECK(failure != NULL);
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, failure);
    client_reply_end(&writer);
}

void client_reply_error(buffer_t *out, slice_t id, code_t code, const char *message)
{
    client_failure_t failure = {.code = code, .message = slice_text(message)};
    client_reply_failure(out, id, &failure);
}

void client_origin_text(char ret_text[CLIENT_ORIGIN_SIZE],
                        slice_t region_name,
                        const stream_id_t *stream)
{
    CHECK(region_name.size >= 1 && region_name.size <= NAME_LENGTH_MAX);
    (void)snprintf(ret_text, CLIENT_ORIGIN_SIZE, "%.*s-%u-%016" PRIx64, (int)region_name.size,
                   (const char *)region_name.data, stream->origin.shard.value, stream->incarnation);
}

void client_put_names(pack_writer_t *writer, const char *key, uint32_t count, const slice_t *names)
{
    pack_key(writer, key);
    pack_write_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_write_str(writer, names[i]);
    }
}

void client_put_hlc(pack_writer_t *writer, const char *key, hlc_stamp_t hlc)
{
    pack_key(writer, key);
    if (hlc.wall_ns == 0) {
        pack_write_nil(writer);
        return;
    }
    pack_write_array(writer, 3);
    pack_write_i64(writer, hlc.wall_ns);
    pack_write_u64(writer, hlc.logical);
    pack_write_u64(writer, hlc.node);
}

/* -- writes ------------------------------------------------------------------------------------ */

static const char *s_level_name(ack_level_t level)
{
    static const char *const s_names[] = {"none", "local", "replicated", "all"};
    CHECK(level <= ACK_ALL);
    return s_names[level];
}

void client_put_write(pack_writer_t *writer, const client_write_reply_t *write)
{
    if (write->durability != ACK_NONE) {
        pack_put_text(writer, "durability", s_level_name(write->durability));
        client_put_names(writer, "replicas", write->replica_count, write->replicas);
    }
    if (write->has_token) {
        pack_put_bin(writer, "token", write->token);
    }
    if (write->island) {
        pack_put_bool(writer, "island", true);
    }
    if (write->duplicate) {
        pack_put_bool(writer, "duplicate", true);
    }
    if (write->has_position) {
        pack_put_u64(writer, "shard", write->shard.value);
        pack_put_str(writer, "origin", write->origin);
        pack_put_u64(writer, "seq_first", write->seq_first);
        pack_put_u64(writer, "seq_last", write->seq_last);
        client_put_hlc(writer, "hlc", write->hlc);
    }
}

void client_reply_write(buffer_t *out,
                        slice_t id,
                        const client_failure_t *failure,
                        const client_write_reply_t *write)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, failure);
    client_put_write(&writer, write);
    client_reply_end(&writer);
}

static void s_put_shard(pack_writer_t *writer, const client_shard_write_t *shard)
{
    pack_open_map(writer);
    pack_put_u64(writer, "shard", shard->shard.value);
    if (shard->has_position) {
        pack_put_str(writer, "origin", shard->origin);
        pack_put_u64(writer, "seq_first", shard->seq_first);
        pack_put_u64(writer, "seq_last", shard->seq_last);
    }
    pack_put_u64(writer, "count", shard->count);
    pack_put_text(writer, "durability", s_level_name(shard->durability));
    if (shard->island) {
        pack_put_bool(writer, "island", true);
    }
    pack_put_bool(writer, "duplicate", shard->duplicate);
    pack_close(writer);
}

static void s_put_shards(pack_writer_t *writer, const client_shards_reply_t *reply)
{
    client_put_write(writer, &reply->write);
    if (reply->has_accepted) {
        pack_put_u64(writer, "accepted", reply->accepted);
    }
    pack_put_array(writer, "shards");
    for (uint32_t i = 0; i < reply->shard_count; i++) {
        pack_item(writer);
        s_put_shard(writer, &reply->shards[i]);
    }
    pack_close(writer);
}

void client_reply_shards(buffer_t *out,
                         slice_t id,
                         const client_failure_t *failure,
                         const client_shards_reply_t *reply)
{
    pack_writer_t writer;
    client_reply_begin(&writer, out, id, failure);
    s_put_shards(&writer, reply);
    client_reply_end(&writer);
}

/* -- the client's side ------------------------------------------------------------------------- */

void client_request_begin(pack_writer_t *writer, buffer_t *out, const char *op, uint64_t id)
{
    pack_writer_init(writer, out);
    pack_open_map(writer);
    pack_put_text(writer, "op", op);
    pack_put_u64(writer, "id", id);
}

void client_request_end(pack_writer_t *writer)
{
    pack_close(writer);
    pack_writer_done(writer);
}

static code_t s_parse_code(slice_t name)
{
    for (uint32_t code = CODE_OK + 1; code < CODE_COUNT; code++) {
        if (slice_equal(slice_text(code_name((code_t)code)), name)) {
            return (code_t)code;
        }
    }
    return CODE_INTERNAL;
}

err_t client_answer_read(slice_t reply, client_answer_t *ret_answer, errbuf_t *errbuf)
{
    err_t err = pack_check(reply, MSGPACK_REPLY_NODE_COUNT_MAX, errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "reply");
        return ERR_CORRUPT;
    }
    pack_value_t ok = pack_get(reply, "ok");
    pack_value_t id = pack_get(reply, "id");
    pack_value_t code = pack_get(reply, "error.code");
    pack_value_t message = pack_get(reply, "error.message");
    bool has_error = code.kind == PACK_STR && message.kind == PACK_STR;
    if (ok.kind != PACK_BOOL || (!ok.as.boolean && !has_error)) {
        errbuf_set(errbuf, "reply: expected a map with `ok`, and `error` when it is false");
        return ERR_CORRUPT;
    }
    client_answer_t answer = {.ok = ok.as.boolean, .code = CODE_OK};
    answer.has_id = pack_as_u64(&id, &answer.id);
    if (!answer.ok) {
        answer.code = s_parse_code(code.as.bytes);
        answer.message = message.as.bytes;
    }
    *ret_answer = answer;
    return ERR_OK;
}
