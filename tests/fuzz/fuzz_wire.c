#include "tests/fuzz/fuzz_wire.h"

#include "common/base/check.h"
#include "common/wire/client_reply.h"
#include "common/wire/msg.h"
#include "common/wire/pack.h"
#include "common/wire/token.h"

static void s_fuzz_msg(slice_t bytes)
{
    static msg_codec_t *s_codec;
    static buffer_t s_out;
    if (s_codec == NULL) {
        s_codec = msg_codec_new();
    }
    msg_t msg;
    errbuf_t errbuf = {{0}};
    if (msg_decode(s_codec, bytes, &msg, &errbuf) == ERR_OK) {
        buffer_clear(&s_out);
        msg_encode(&msg, &s_out);
        CHECK(msg_decode(s_codec, buffer_slice(&s_out), &msg, &errbuf) == ERR_OK);
    } else {
        CHECK(errbuf.text[0] != '\0');
    }
}

static void s_fuzz_request(slice_t bytes)
{
    static const client_signal_type_t s_types[] = {{1, "view"}, {2, "like"}};
    static client_decoder_t *s_decoder;
    if (s_decoder == NULL) {
        s_decoder = client_decoder_new(s_types, 2);
    }
    const client_request_t *request;
    errbuf_t errbuf = {{0}};
    code_t code = client_decode(s_decoder, bytes, &request, &errbuf);
    CHECK(request->id.size <= 1024);
    if (code != CODE_OK) {
        CHECK(errbuf.text[0] != '\0');
        return;
    }
    CHECK(request->op > CLIENT_OP_NONE && request->op < CLIENT_OP_END);
    if (client_op_class(request->op) == CLIENT_CLASS_WRITE) {
        uint8_t first[MSG_CONTENT_HASH_SIZE];
        uint8_t second[MSG_CONTENT_HASH_SIZE];
        client_content_hash(s_decoder, request, first);
        CHECK(client_decode(s_decoder, bytes, &request, &errbuf) == CODE_OK);
        client_content_hash(s_decoder, request, second);
        CHECK(memcmp(first, second, sizeof(first)) == 0);
    }
}

static void s_fuzz_pack(slice_t bytes)
{
    pack_reader_t reader = pack_reader(bytes);
    bool skipped = pack_skip(&reader);
    if (pack_check(bytes, MSGPACK_NODE_COUNT_MAX, NULL) == ERR_OK) {
        CHECK(skipped);
        CHECK(reader.at == reader.end);
    }
    client_answer_t answer;
    (void)client_answer_read(bytes, &answer, NULL); /* any result will do */
    (void)pack_get(bytes, "error.shards.0.shard");  /* so here */
}

static void s_fuzz_token(slice_t bytes)
{
    static token_t s_token;
    static buffer_t s_out;
    if (token_decode(&s_token, bytes, NULL) == ERR_OK && bytes.size > 0) {
        buffer_clear(&s_out);
        CHECK(token_encode(&s_token, &s_out) == ERR_OK);
        CHECK(slice_equal(buffer_slice(&s_out), bytes));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice_t bytes = slice_make(data, size);
    s_fuzz_pack(bytes);
    s_fuzz_token(bytes);
    s_fuzz_msg(bytes);
    s_fuzz_request(bytes);
    return 0;
}
