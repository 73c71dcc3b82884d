/* A pair that stands for another request, on shards that the new one does not write. */
#include "tests/unit/gateway_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { S_SHARDS = 5, S_TARGET = 2 };
static const region_set_t s_none = {0};

static gateway_test_t *s_new(void)
{
    gateway_test_t *test = gateway_test_new(3, S_SHARDS);
    test->takes_pairs = true;
    return test;
}

/* A signal on an item of the target shard, under pair ("client", 9). */
static uint64_t s_ask(gateway_test_t *test)
{
    pack_writer_t *writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", gateway_test_entity(test, S_TARGET, 0));
    pack_put_text(writer, "producer", "client");
    pack_put_u64(writer, "seq", 9);
    return gateway_test_ask(test);
}

/* What each shard answers; content: whether it is that of the request. */
typedef struct {
    msg_pair_t found[S_SHARDS];
    bool is_other[S_SHARDS];
} s_known_t;

/* Takes the questions to all shards, and answers them. in hash  of the request's content */
static void s_answer(gateway_test_t *test, const s_known_t *known, const uint8_t *hash)
{
    msg_t asked[S_SHARDS];
    node_id_t to[S_SHARDS];
    for (uint32_t i = 0; i < S_SHARDS; i++) {
        to[i] = gateway_test_take(test, &asked[i]);
        assert_int_equal(to[i].region.value, 1); /* the gateway's own */
        assert_int_equal(to[i].shard.value, i);
        assert_int_equal(asked[i].as.read.kind, READ_PAIR);
        assert_true(slice_equal(asked[i].as.read.as.pair.producer, slice_text("client")));
        assert_int_equal(asked[i].as.read.as.pair.seq, 9);
    }
    gateway_test_expect_silence(test);
    for (uint32_t i = 0; i < S_SHARDS; i++) {
        msg_t answer = gateway_test_read_reply(&asked[i].as.read, CODE_OK);
        answer.as.read_reply.as.pair.found = known->found[i];
        if (known->found[i] == MSG_PAIR_SEEN) {
            memcpy(answer.as.read_reply.as.pair.content_hash, hash, MSG_CONTENT_HASH_SIZE);
            answer.as.read_reply.as.pair.content_hash[0] ^= known->is_other[i] ? 1 : 0;
        }
        gateway_test_answer(test, to[i], &answer);
    }
}

/* The hash that this content has: of a write that goes through. */
static void s_content_hash(uint8_t ret_hash[MSG_CONTENT_HASH_SIZE])
{
    gateway_test_t *test = s_new();
    const s_known_t nothing = {.found = {MSG_PAIR_NOT_SEEN}};
    uint8_t none[MSG_CONTENT_HASH_SIZE] = {0};
    uint64_t handle = s_ask(test);
    s_answer(test, &nothing, none);
    msg_t msg;
    node_id_t to = gateway_test_take(test, &msg);
    assert_int_equal(msg.type, MSG_WRITE);
    assert_int_equal(to.shard.value, S_TARGET);
    memcpy(ret_hash, msg.as.write.content_hash, MSG_CONTENT_HASH_SIZE);
    msg_t answer = gateway_test_write_ok(test, to, &msg.as.write);
    gateway_test_answer(test, to, &answer);
    gateway_test_expect_code(test, handle, CODE_OK);
    gateway_test_destroy(&test);
}

/* Goal: refused exactly where a shard has seen the pair with another request and the one that is written
 * does not hold this very one. */
static void test_gateway_pairs_of_another_request_are_refused(void **state)
{
    (void)state;
    const struct {
        s_known_t known;
        bool is_refused;
    } cases[] = {
        {{.found = {[0] = MSG_PAIR_SEEN}, .is_other = {[0] = true}}, true},
        {{.found = {[4] = MSG_PAIR_STABLE}}, true},
        {{.found = {[0] = MSG_PAIR_SEEN, [S_TARGET] = MSG_PAIR_SEEN},
          .is_other = {[0] = true, [S_TARGET] = true}},
         true},
        {{.found = {[S_TARGET] = MSG_PAIR_SEEN}, .is_other = {[S_TARGET] = true}}, true},
        {{.found = {[S_TARGET] = MSG_PAIR_SEEN}}, false},   /* a repetition */
        {{.found = {[S_TARGET] = MSG_PAIR_STABLE}}, false}, /* the same, long ago */
        {{.found = {[0] = MSG_PAIR_SEEN, [S_TARGET] = MSG_PAIR_SEEN}, .is_other = {[0] = true}},
         false},
    };
    uint8_t hash[MSG_CONTENT_HASH_SIZE];
    s_content_hash(hash);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gateway_test_t *test = s_new();
        uint64_t handle = s_ask(test);
        s_answer(test, &cases[i].known, hash);
        if (cases[i].is_refused) {
            gateway_test_expect_code(test, handle, CODE_BAD_REQUEST);
            gateway_test_expect_silence(test);
        } else {
            msg_t msg;
            assert_int_equal(gateway_test_take(test, &msg).shard.value, S_TARGET);
            assert_int_equal(msg.type, MSG_WRITE);
        }
        gateway_test_destroy(&test);
    }
}

/* Goal: who does not answer in time, cannot be asked, or is not ready holds nothing up. */
static void test_gateway_pairs_go_on_without_an_answer(void **state)
{
    (void)state;
    gateway_test_t *test = s_new();
    (void)s_ask(test);
    msg_t msg;
    for (uint32_t i = 0; i < S_SHARDS; i++) {
        node_id_t to = gateway_test_take(test, &msg);
        if (i < 2) {
            msg_t answer = gateway_test_read_reply(&msg.as.read, CODE_UNAVAILABLE);
            gateway_test_answer(test, to, &answer);
            gateway_test_answer(test, to, &answer); /* a link may deliver it twice */
        }
    }
    gateway_test_run_ms(test, 40, s_none);
    gateway_test_expect_silence(test);
    gateway_test_run_ms(test, 20, s_none);
    assert_int_equal(gateway_test_take(test, &msg).shard.value, S_TARGET);
    assert_int_equal(msg.type, MSG_WRITE);
    gateway_test_destroy(&test);

    test = s_new();
    test->send_errors[1] = ERR_UNREACHABLE; /* shard 2 is led by region 3 */
    (void)s_ask(test);
    assert_int_equal(gateway_test_take(test, &msg).shard.value, S_TARGET);
    assert_int_equal(msg.type, MSG_WRITE);
    gateway_test_destroy(&test);
}

/* Goal: nobody is asked where there is no pair, or one shard; of what concerns all shards only the user's home
 * shard looks at the pair. */
static void test_gateway_pairs_are_asked_where_it_is_needed(void **state)
{
    (void)state;
    gateway_test_t *test = s_new();
    pack_writer_t *writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", gateway_test_entity(test, S_TARGET, 0));
    (void)gateway_test_ask(test);
    msg_t msg;
    (void)gateway_test_take(test, &msg);
    assert_int_equal(msg.type, MSG_WRITE);
    writer = gateway_test_request(test, "mute");
    pack_put_u64(writer, "user", gateway_test_entity(test, S_TARGET, 0));
    pack_put_u64(writer, "creator", 5);
    pack_put_text(writer, "producer", "client");
    pack_put_u64(writer, "seq", 9);
    uint64_t handle = gateway_test_ask(test);
    const s_known_t known = {.found = {[1] = MSG_PAIR_STABLE}};
    uint8_t hash[MSG_CONTENT_HASH_SIZE] = {0};
    s_answer(test, &known, hash);
    gateway_test_expect_code(test, handle, CODE_BAD_REQUEST);
    gateway_test_destroy(&test);

    test = gateway_test_new(3, 1);
    test->takes_pairs = true;
    writer = gateway_test_request(test, "signal");
    pack_put_text(writer, "signal", "view");
    pack_put_u64(writer, "item", 1);
    pack_put_text(writer, "producer", "client");
    pack_put_u64(writer, "seq", 9);
    (void)gateway_test_ask(test);
    (void)gateway_test_take(test, &msg);
    assert_int_equal(msg.type, MSG_WRITE);
    gateway_test_destroy(&test);
}

/* Goal: a request of many shards that repeats a pair with other content is refused as a whole: what knows
 * the pair would refuse it, and the others would log their part. */
static void test_gateway_pairs_refuse_a_request_of_many_shards_whole(void **state)
{
    (void)state;
    gateway_test_t *test = s_new();
    pack_writer_t *writer = gateway_test_request(test, "signals");
    pack_put_text(writer, "producer", "client");
    pack_put_u64(writer, "seq", 9);
    pack_key(writer, "rows");
    pack_write_array(writer, S_SHARDS);
    for (uint16_t shard = 0; shard < S_SHARDS; shard++) {
        pack_write_array(writer, 2);
        pack_write_str(writer, slice_text("view"));
        pack_write_u64(writer, gateway_test_entity(test, shard, 0));
    }
    uint64_t handle = gateway_test_ask(test);
    const s_known_t known = {.found = {[3] = MSG_PAIR_SEEN}};
    uint8_t other[MSG_CONTENT_HASH_SIZE] = {1};
    s_answer(test, &known, other);
    gateway_test_expect_code(test, handle, CODE_BAD_REQUEST);
    gateway_test_expect_silence(test);
    gateway_test_destroy(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway_pairs_of_another_request_are_refused),
        cmocka_unit_test(test_gateway_pairs_go_on_without_an_answer),
        cmocka_unit_test(test_gateway_pairs_are_asked_where_it_is_needed),
        cmocka_unit_test(test_gateway_pairs_refuse_a_request_of_many_shards_whole),
    };
    return cmocka_run_group_tests_name("gateway_pairs", tests, NULL, NULL);
}
