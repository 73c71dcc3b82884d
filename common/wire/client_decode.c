/* Decoder of client requests: the envelope. What belongs to one op is decoded by
 * client_decode_write.c and client_decode_read.c. */
#include "common/base/check.h"
#include "common/wire/client_fields.h"

#include <stdio.h>
#include <stdlib.h>

client_decoder_t *client_decoder_new(const client_signal_type_t *types, uint32_t type_count)
{
    client_decoder_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    client_keys_init(self);
    client_signals_init(self, types, type_count);
    buffer_init(&self->events);
    buffer_init(&self->items);
    buffer_init(&self->tags);
    buffer_init(&self->tag_firsts);
    buffer_init(&self->numbers);
    buffer_init(&self->places);
    buffer_init(&self->canonical);
    return self;
}

void client_decoder_destroy(client_decoder_t **self_p)
{
    if (self_p == NULL || *self_p == NULL) {
        return;
    }
    client_decoder_t *self = *self_p;
    buffer_done(&self->events);
    buffer_done(&self->items);
    buffer_done(&self->tags);
    buffer_done(&self->tag_firsts);
    buffer_done(&self->numbers);
    buffer_done(&self->places);
    buffer_done(&self->canonical);
    free(self);
    *self_p = NULL;
}

/* -- id ---------------------------------------------------------------------------------------- */

/* The encoded value at `at` when it may be echoed: a scalar of bounded size. ret size 0: not so */
static slice_t s_echo_of(const uint8_t *at, const uint8_t *end)
{
    pack_reader_t reader = {at, end};
    pack_value_t value;
    (void)pack_next(&reader, &value); /* kind says whether it could */
    size_t size = (size_t)(reader.at - at);
    bool is_scalar = value.kind != PACK_ARRAY && value.kind != PACK_MAP && value.kind != PACK_BAD;
    bool is_text = value.kind != PACK_STR || bytes_are_utf8(value.as.bytes);
    if (!is_scalar || !is_text || size > CLIENT_ID_SIZE_MAX) {
        return (slice_t){NULL, 0};
    }
    return slice_make(at, size);
}

/* Looks for `id` in bytes that were refused, as far as they can be read. */
static slice_t s_recover_id(slice_t body)
{
    pack_reader_t reader = pack_reader(body);
    pack_value_t head;
    if (!pack_next(&reader, &head) || head.kind != PACK_MAP) {
        return (slice_t){NULL, 0};
    }
    for (uint32_t i = 0; i < head.as.count; i++) {
        pack_value_t key;
        if (!pack_next(&reader, &key)) {
            break;
        }
        if (key.kind == PACK_STR && slice_equal(key.as.bytes, slice_text("id"))) {
            return s_echo_of(reader.at, reader.end);
        }
        if (!pack_skip(&reader)) {
            break;
        }
    }
    return (slice_t){NULL, 0};
}

/* -- envelope ---------------------------------------------------------------------------------- */

static bool s_take_op(client_decoder_t *self)
{
    slice_t name = {NULL, 0};
    if (!client_need(self, &self->map, CLIENT_KEY_OP) ||
        !client_take_text(self, &self->map, CLIENT_KEY_OP, 0, TEXT_SIZE_MAX, &name)) {
        return false;
    }
    for (uint32_t op = CLIENT_OP_NONE + 1; op < CLIENT_OP_END; op++) {
        if (slice_equal(slice_text(client_op_name((client_op_t)op)), name)) {
            self->request.op = (client_op_t)op;
            return true;
        }
    }
    pack_value_t value = {.kind = PACK_STR, .as.bytes = name};
    char found[PACK_DESCRIPTION_SIZE];
    pack_describe(&value, found);
    return client_refuse(self, CODE_UNKNOWN_OP, "op", "%s is no op of this protocol", found);
}

static bool s_take_id(client_decoder_t *self)
{
    if (!client_has(&self->map, CLIENT_KEY_ID)) {
        return true;
    }
    slice_t id = s_echo_of(self->map.at[CLIENT_KEY_ID], self->end);
    if (id.size == 0) {
        pack_reader_t reader;
        pack_value_t value = client_value(self, &self->map, CLIENT_KEY_ID, &reader);
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "a scalar of at most %d bytes",
                       CLIENT_ID_SIZE_MAX);
        return client_refuse_value(self, "id", expected, &value);
    }
    self->request.id = id;
    return true;
}

/* One token, merged into what was read before. */
static bool s_add_token(client_decoder_t *self, const pack_value_t *value)
{
    if (value->kind != PACK_BIN) {
        return client_refuse_value(self, "token", "bin, or an array of bins", value);
    }
    errbuf_t why;
    if (token_decode(&self->part, value->as.bytes, &why) != ERR_OK) {
        return client_refuse(self, CODE_BAD_REQUEST, "", "%s", why.text);
    }
    if (token_merge(&self->token, &self->part) != ERR_OK) {
        return client_refuse(self, CODE_TOO_LARGE, "token", "more than %d streams in all tokens",
                             TOKEN_STREAM_COUNT_MAX);
    }
    return true;
}

static bool s_take_token(client_decoder_t *self)
{
    token_clear(&self->token);
    self->request.token = &self->token;
    if (!client_has(&self->map, CLIENT_KEY_TOKEN)) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, &self->map, CLIENT_KEY_TOKEN, &reader);
    if (value.kind != PACK_ARRAY) {
        return s_add_token(self, &value);
    }
    uint32_t count = value.as.count;
    if (count > TOKEN_COUNT_MAX) {
        return client_refuse(self, CODE_BAD_REQUEST, "token",
                             "expected at most %d tokens, found %u", TOKEN_COUNT_MAX, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        (void)pack_next(&reader, &value); /* kind says whether it could */
        if (!s_add_token(self, &value)) {
            return false;
        }
    }
    return true;
}

static bool s_take_version(client_decoder_t *self)
{
    uint64_t version = 1;
    return client_take_u64(self, &self->map, CLIENT_KEY_V, 1, 1, &version);
}

/* What every request carries. */
static bool s_take_common(client_decoder_t *self)
{
    client_request_t *request = &self->request;
    request->tenant = slice_text("default");
    request->wait_ms = CLIENT_WAIT_MS_DEFAULT;
    return s_take_version(self) &&
           client_take_text(self, &self->map, CLIENT_KEY_TENANT, 1, NAME_LENGTH_MAX,
                            &request->tenant) &&
           s_take_token(self) &&
           client_take_u32(self, &self->map, CLIENT_KEY_WAIT_MS, 0, WAIT_MS_MAX, &request->wait_ms);
}

/* -- writes ------------------------------------------------------------------------------------ */

static bool s_take_producer(client_decoder_t *self)
{
    client_request_t *request = &self->request;
    bool has_producer = client_has(&self->map, CLIENT_KEY_PRODUCER);
    if (has_producer != client_has(&self->map, CLIENT_KEY_SEQ)) {
        return client_refuse(
            self, CODE_BAD_REQUEST, has_producer ? "seq" : "producer",
            "expected beside the other one of producer and seq, found none: send both or neither");
    }
    if (!has_producer) {
        return true;
    }
    pack_reader_t reader;
    pack_value_t value = client_value(self, &self->map, CLIENT_KEY_PRODUCER, &reader);
    bool is_bytes = value.kind == PACK_STR || value.kind == PACK_BIN;
    if (!is_bytes || value.as.bytes.size < 1 || value.as.bytes.size > PRODUCER_SIZE_MAX) {
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "str or bin of 1..%d bytes", PRODUCER_SIZE_MAX);
        return client_refuse_value(self, "producer", expected, &value);
    }
    request->has_producer = true;
    request->producer = value.as.bytes;
    return client_take_u64(self, &self->map, CLIENT_KEY_SEQ, 0, UINT64_MAX, &request->seq);
}

static bool s_take_write(client_decoder_t *self)
{
    static const char *const s_levels[] = {"local", "replicated", "all", NULL};
    client_request_t *request = &self->request;
    uint8_t level = ACK_REPLICATED - ACK_LOCAL;
    request->timeout_ms = CLIENT_TIMEOUT_MS_DEFAULT;
    if (!client_take_choice(self, &self->map, CLIENT_KEY_ACK, s_levels, &level) ||
        !client_take_u32(self, &self->map, CLIENT_KEY_TIMEOUT_MS, 1, TIMEOUT_MS_MAX,
                         &request->timeout_ms) ||
        !s_take_producer(self)) {
        return false;
    }
    request->ack = (ack_level_t)(ACK_LOCAL + level);
    return client_decode_write(self);
}

/* -- reads ------------------------------------------------------------------------------------- */

static bool s_take_read(client_decoder_t *self)
{
    static const char *const s_places[] = {"local", "leader", NULL};
    client_request_t *request = &self->request;
    uint8_t place = 0;
    request->max_staleness_ms = UINT32_MAX;
    request->has_at = client_has(&self->map, CLIENT_KEY_AT);
    if (!client_take_choice(self, &self->map, CLIENT_KEY_READ, s_places, &place) ||
        !client_take_u32(self, &self->map, CLIENT_KEY_MAX_STALENESS_MS, 0, UINT32_MAX,
                         &request->max_staleness_ms) ||
        !client_take_time(self, &self->map, CLIENT_KEY_AT, &request->at_ns)) {
        return false;
    }
    request->from_leader = place == 1;
    return client_decode_read(self);
}

/* -- link -------------------------------------------------------------------------------------- */

static bool s_take_link(client_decoder_t *self)
{
    static const char *const s_modes[] = {"pass", "drop", "hold", "cut", NULL};
    const client_map_t *map = &self->map;
    client_link_rule_t *rule = &self->request.as.link.rule;
    uint8_t mode = CLIENT_LINK_PASS;
    if (!client_need(self, map, CLIENT_KEY_FROM) || !client_need(self, map, CLIENT_KEY_TO) ||
        !client_take_text(self, map, CLIENT_KEY_FROM, 1, NAME_LENGTH_MAX,
                          &self->request.as.link.from) ||
        !client_take_text(self, map, CLIENT_KEY_TO, 1, NAME_LENGTH_MAX,
                          &self->request.as.link.to) ||
        !client_take_choice(self, map, CLIENT_KEY_MODE, s_modes, &mode)) {
        return false;
    }
    rule->mode = (client_link_mode_t)mode;
    return client_take_u32(self, map, CLIENT_KEY_DELAY_MS, 0, WAIT_MS_MAX, &rule->delay_ms) &&
           client_take_u32(self, map, CLIENT_KEY_JITTER_MS, 0, WAIT_MS_MAX, &rule->jitter_ms) &&
           client_take_f64(self, map, CLIENT_KEY_DROP, 0.0, 1.0, &rule->drop) &&
           client_take_f64(self, map, CLIENT_KEY_DUPLICATE, 0.0, 1.0, &rule->duplicate) &&
           client_take_f64(self, map, CLIENT_KEY_REORDER, 0.0, 1.0, &rule->reorder) &&
           client_take_u64(self, map, CLIENT_KEY_RATE_BYTES_S, 0, UINT64_MAX, &rule->rate_bytes_s);
}

/* -- all --------------------------------------------------------------------------------------- */

/* Believes no byte before pack_check has seen all of them. */
static bool s_check_body(client_decoder_t *self, slice_t body)
{
    if (body.size > CLIENT_REQUEST_SIZE_MAX) {
        return client_refuse(self, CODE_TOO_LARGE, "",
                             "expected a request of at most %d bytes, found %zu: split it",
                             CLIENT_REQUEST_SIZE_MAX, body.size);
    }
    if (!msg_is_client_map(body)) {
        pack_reader_t reader = pack_reader(body);
        pack_value_t value;
        (void)pack_next(&reader, &value); /* kind says whether it could */
        return client_refuse_value(self, "request", "one msgpack map", &value);
    }
    errbuf_t why;
    err_t err = pack_check_keys(body, MSGPACK_NODE_COUNT_MAX, &self->keys, &why);
    if (err != ERR_OK) {
        code_t code = err == ERR_TOO_LARGE ? CODE_TOO_LARGE : CODE_BAD_REQUEST;
        return client_refuse(self, code, "request", "%s", why.text);
    }
    return true;
}

static bool s_decode(client_decoder_t *self, slice_t body)
{
    if (!s_check_body(self, body)) {
        return false;
    }
    client_map_of_keys(self, &self->map);
    if (!s_take_id(self) || !s_take_op(self)) {
        return false;
    }
    client_class_t class = client_op_class(self->request.op);
    if (class == CLIENT_CLASS_LATER) {
        return client_refuse(self, CODE_UNKNOWN_OP, "op", "`%s` is not part of this version",
                             client_op_name(self->request.op));
    }
    if (!s_take_common(self)) {
        return false;
    }
    if (class == CLIENT_CLASS_WRITE) {
        return s_take_write(self);
    }
    if (class == CLIENT_CLASS_READ) {
        return s_take_read(self);
    }
    return self->request.op == CLIENT_OP_LINK ? s_take_link(self) : client_decode_decision(self);
}

code_t client_decode(client_decoder_t *self,
                     slice_t body,
                     const client_request_t **ret_request,
                     errbuf_t *errbuf)
{
    memset(&self->request, 0, sizeof(self->request));
    token_clear(&self->token);
    self->request.token = &self->token;
    self->end = body.data == NULL ? NULL : body.data + body.size;
    self->code = CODE_OK;
    self->errbuf = errbuf;
    client_at(self, NULL);
    *ret_request = &self->request;
    if (s_decode(self, body)) {
        CHECK(self->code == CODE_OK);
        return CODE_OK;
    }
    CHECK(self->code != CODE_OK);
    if (self->request.id.size == 0) {
        self->request.id = s_recover_id(body);
    }
    return self->code;
}
