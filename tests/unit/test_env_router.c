/* The serving side, held against clients as others write them. */
#include "common/env/env_router.h"

#include "common/env/env_zmq.h"
#include "tests/unit/env_support.h"

#include <stdlib.h>

enum { FRAME_SIZE_MAX = 100000, HANDLE_COUNT_MAX = 4096 };

typedef struct {
    env_loop_t *loop;
    env_router_t *router;
    bool keeps; /* requests are kept, not answered */
    uint64_t request_count;
    uint64_t refused_count;
    err_t refused_err;
    uint64_t handles[HANDLE_COUNT_MAX];
    uint8_t target[CLIENT_PREFIX_FRAME_SIZE_MAX];
    size_t target_size;
    env_message_t message; /* what the client got */
} server_t;

/* Echoes the body, or keeps the handle. */
static void s_on_request(void *context, const env_request_t *request)
{
    server_t *server = context;
    assert_int_not_equal(request->handle, 0);
    server->handles[server->request_count % HANDLE_COUNT_MAX] = request->handle;
    server->request_count++;
    server->target_size = request->target.size;
    if (request->target.size > 0) {
        memcpy(server->target, request->target.data, request->target.size);
    }
    if (!server->keeps) {
        assert_int_equal(env_test_reply(server->router, request->handle, request->body), ERR_OK);
    }
}

static void s_on_refused(void *context, uint64_t handle, err_t err)
{
    server_t *server = context;
    server->refused_count++;
    server->refused_err = err;
    (void)env_test_reply(server->router, handle, env_test_text("refused"));
}

static server_t *s_open(const env_router_options_t *options)
{
    server_t *server = calloc(1, sizeof(*server));
    assert_non_null(server);
    server->loop = env_loop_new(&(env_loop_options_t){.context = NULL});
    env_message_init(&server->message);
    env_router_options_t used = *options;
    used.endpoint = "tcp://127.0.0.1:*";
    used.frame_size_max = FRAME_SIZE_MAX;
    used.context = server;
    used.on_request = s_on_request;
    used.on_refused = s_on_refused;
    errbuf_t errbuf;
    assert_int_equal(env_router_open(server->loop, &used, &server->router, &errbuf), ERR_OK);
    return server;
}

static int s_setup(void **state)
{
    *state = s_open(&(env_router_options_t){.context = NULL});
    return 0;
}

static int s_teardown(void **state)
{
    server_t *server = *state;
    env_router_close(&server->router);
    env_router_close(&server->router);
    env_loop_destroy(&server->loop);
    env_message_done(&server->message);
    free(server);
    return 0;
}

static void *s_client(const server_t *server, int type)
{
    return env_test_client_new(type, env_router_endpoint(server->router));
}

/* Sends `body` and expects it back as the only frame. */
static void s_expect_echo(server_t *server, void *client, const char *body)
{
    env_test_send_text(client, body);
    assert_true(env_test_receive(server->loop, client, &server->message));
    assert_int_equal(server->message.count, 1);
    assert_true(env_test_is(env_message_frame(&server->message, 0), body));
}

/* Goal: DEALER and REQ in all its forms are served alike. */
static void test_env_router_every_kind_of_client_is_served(void **state)
{
    server_t *server = *state;
    void *dealer = s_client(server, ZMQ_DEALER);
    void *req = s_client(server, ZMQ_REQ);
    void *strict = s_client(server, ZMQ_REQ);
    env_zmq_set_int(strict, ZMQ_REQ_CORRELATE, 1);
    env_zmq_set_int(strict, ZMQ_REQ_RELAXED, 1);
    for (unsigned i = 0; i < 10; i++) {
        s_expect_echo(server, dealer, "from dealer");
        s_expect_echo(server, req, "from req");
        s_expect_echo(server, strict, "from req with correlate");
    }
    assert_int_equal(env_router_counts(server->router).replied, 30);
    assert_int_equal(env_router_counts(server->router).open, 0);
    env_test_client_close(&dealer);
    env_test_client_close(&req);
    env_test_client_close(&strict);
}

/* `prefix_count` frames of these sizes and a body, there and back. */
static void s_expect_prefix_echo(server_t *server, void *client, uint32_t prefix_count, size_t size)
{
    uint8_t bytes[2 * CLIENT_PREFIX_FRAME_SIZE_MAX];
    memset(bytes, 'p', sizeof(bytes));
    slice_t frames[16];
    for (uint32_t i = 0; i < prefix_count; i++) {
        frames[i] = slice_make(bytes, size - i);
    }
    frames[prefix_count] = env_test_text("body");
    env_test_send(client, frames, prefix_count + 1);
    assert_true(env_test_receive(server->loop, client, &server->message));
    assert_int_equal(server->message.count, prefix_count + 1);
    for (uint32_t i = 0; i <= prefix_count; i++) {
        assert_true(slice_equal(env_message_frame(&server->message, i), frames[i]));
    }
}

/* Goal: up to 8 prefix frames of up to 256 bytes come back unchanged, the last one is the target.
 */
static void test_env_router_prefix_at_the_bound_is_echoed(void **state)
{
    server_t *server = *state;
    void *client = s_client(server, ZMQ_DEALER);
    for (uint32_t count = 0; count <= CLIENT_PREFIX_FRAME_COUNT_MAX; count++) {
        s_expect_prefix_echo(server, client, count, CLIENT_PREFIX_FRAME_SIZE_MAX);
    }
    assert_int_equal(server->target_size,
                     CLIENT_PREFIX_FRAME_SIZE_MAX - (CLIENT_PREFIX_FRAME_COUNT_MAX - 1));
    assert_int_equal(server->refused_count, 0);
    env_test_client_close(&client);
}

/* Goal: one frame too many, and a great many, are refused with an answer, and the next request of
 * the same client works. */
static void test_env_router_too_many_frames_are_refused(void **state)
{
    server_t *server = *state;
    void *client = s_client(server, ZMQ_DEALER);
    static const uint32_t s_counts[] = {CLIENT_PREFIX_FRAME_COUNT_MAX + 2, 50000};
    static slice_t s_frames[50000];
    for (unsigned i = 0; i < 50000; i++) {
        s_frames[i] = env_test_text("f");
    }
    for (unsigned i = 0; i < 2; i++) {
        env_test_send(client, s_frames, s_counts[i]);
        assert_true(env_test_receive(server->loop, client, &server->message));
        assert_int_equal(server->message.count, 1);
        assert_true(env_test_is(env_message_frame(&server->message, 0), "refused"));
        assert_int_equal(server->refused_err, ERR_CORRUPT);
        s_expect_echo(server, client, "next");
    }
    assert_int_equal(env_router_counts(server->router).refused_malformed, 2);
    env_test_client_close(&client);
}

/* Goal: a REQ peer gets the refusal although its message is malformed: frames up to the delimiter
 * are echoed. */
static void test_env_router_refusal_reaches_req(void **state)
{
    server_t *server = *state;
    void *client = s_client(server, ZMQ_REQ);
    env_zmq_set_int(client, ZMQ_REQ_CORRELATE, 1);
    slice_t frames[20];
    for (unsigned i = 0; i < 20; i++) {
        frames[i] = env_test_text("f");
    }
    env_test_send(client, frames, 20);
    assert_true(env_test_receive(server->loop, client, &server->message));
    assert_true(env_test_is(env_message_frame(&server->message, 0), "refused"));
    env_test_client_close(&client);
}

/* Goal: a prefix frame one byte too long is refused. */
static void test_env_router_long_prefix_frame_is_refused(void **state)
{
    server_t *server = *state;
    static uint8_t s_long[CLIENT_PREFIX_FRAME_SIZE_MAX + 1];
    void *client = s_client(server, ZMQ_DEALER);
    slice_t frames[2] = {slice_make(s_long, sizeof(s_long)), env_test_text("body")};
    env_test_send(client, frames, 2);
    assert_true(env_test_receive(server->loop, client, &server->message));
    assert_true(env_test_is(env_message_frame(&server->message, 0), "refused"));
    env_test_client_close(&client);
}

/* Goal: a frame over the limit cuts its sender off, in bounded memory, and harms nobody else. */
static void test_env_router_oversized_frame_harms_only_its_sender(void **state)
{
    server_t *server = *state;
    static uint8_t s_junk[10 * 1024 * 1024];
    void *good = s_client(server, ZMQ_DEALER);
    void *bad = s_client(server, ZMQ_DEALER);
    s_expect_echo(server, bad, "hello");
    slice_t junk = slice_make(s_junk, sizeof(s_junk));
    env_test_send(bad, &junk, 1);
    for (unsigned i = 0; i < 100; i++) {
        s_expect_echo(server, good, "good");
    }
    static uint8_t s_most[FRAME_SIZE_MAX];
    slice_t most = slice_make(s_most, sizeof(s_most));
    env_test_send(good, &most, 1);
    assert_true(env_test_receive(server->loop, good, &server->message));
    assert_true(slice_equal(env_message_frame(&server->message, 0), most));
    assert_int_equal(server->request_count, 102);
    env_test_client_close(&good);
    env_test_client_close(&bad);
}

/* Goal: a handle answers once; twice, forgotten and invented ones are refused. */
static void test_env_router_handle_answers_once(void **state)
{
    server_t *server = *state;
    server->keeps = true;
    void *client = s_client(server, ZMQ_DEALER);
    env_test_send_text(client, "a");
    env_test_send_text(client, "b");
    assert_true(env_test_await_count(server->loop, &server->request_count, 2));
    slice_t body = env_test_text("answer");
    assert_int_equal(env_test_reply(server->router, server->handles[0], body), ERR_OK);
    assert_int_equal(env_test_reply(server->router, server->handles[0], body), ERR_NOT_FOUND);
    env_router_forget(server->router, server->handles[1]);
    env_router_forget(server->router, server->handles[1]);
    assert_int_equal(env_test_reply(server->router, server->handles[1], body), ERR_NOT_FOUND);
    assert_int_equal(env_test_reply(server->router, 0, body), ERR_NOT_FOUND);
    assert_int_equal(env_router_counts(server->router).open, 0);
    assert_int_equal(env_router_counts(server->router).reply_unknown, 3);
    env_test_client_close(&client);
}

/* Goal: a request may be answered several times, until its handle is forgotten. */
static void test_env_router_answers_until_forgotten(void **state)
{
    server_t *server = *state;
    server->keeps = true;
    void *client = s_client(server, ZMQ_DEALER);
    env_test_send_text(client, "a");
    assert_true(env_test_await_count(server->loop, &server->request_count, 1));
    for (unsigned i = 0; i < 3; i++) {
        slice_t body = env_test_text("more");
        assert_int_equal(env_router_answer(server->router, server->handles[0], body), ERR_OK);
        assert_true(env_test_receive(server->loop, client, &server->message));
        assert_true(env_test_is(env_message_frame(&server->message, 0), "more"));
    }
    env_router_forget(server->router, server->handles[0]);
    slice_t late = env_test_text("late");
    assert_int_equal(env_router_answer(server->router, server->handles[0], late), ERR_NOT_FOUND);
    assert_int_equal(env_router_counts(server->router).open, 0);
    env_test_client_close(&client);
}

/* Goal: with the table full a request is refused with an answer; a place given back is used again.
 */
static void test_env_router_full_table_refuses(void **state)
{
    (void)state;
    server_t *server = s_open(&(env_router_options_t){.envelope_count_max = 2});
    server->keeps = true;
    void *client = s_client(server, ZMQ_DEALER);
    env_test_send_text(client, "a");
    env_test_send_text(client, "b");
    env_test_send_text(client, "c");
    assert_true(env_test_receive(server->loop, client, &server->message));
    assert_true(env_test_is(env_message_frame(&server->message, 0), "refused"));
    assert_int_equal(server->refused_err, ERR_FULL);
    assert_int_equal(env_router_counts(server->router).open, 2);
    env_router_forget(server->router, server->handles[0]);
    env_test_send_text(client, "d");
    assert_true(env_test_await_count(server->loop, &server->request_count, 3));
    env_test_client_close(&client);
    void *closing = server;
    (void)s_teardown(&closing);
}

/* Goal: an asker that does not read its answers gets ERR_FULL at some point, and others go on. */
static void test_env_router_slow_asker_stops_nobody(void **state)
{
    (void)state;
    server_t *server = s_open(
        &(env_router_options_t){.queue_size_bytes = 1, .message_size_bytes = FRAME_SIZE_MAX});
    server->keeps = true;
    static uint8_t s_answer[FRAME_SIZE_MAX];
    slice_t answer = slice_make(s_answer, sizeof(s_answer));
    void *slow = s_client(server, ZMQ_DEALER);
    err_t err = ERR_OK;
    for (unsigned i = 0; i < 3000 && err == ERR_OK; i++) {
        env_test_send_text(slow, "ask");
        assert_true(env_test_await_count(server->loop, &server->request_count, i + 1));
        err = env_test_reply(server->router, server->handles[i], answer);
    }
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(env_router_counts(server->router).reply_full, 1);
    server->keeps = false;
    void *good = s_client(server, ZMQ_DEALER);
    for (unsigned i = 0; i < 100; i++) {
        s_expect_echo(server, good, "good");
    }
    env_test_client_close(&slow);
    env_test_client_close(&good);
    void *closing = server;
    (void)s_teardown(&closing);
}

static bool s_is_gone(void *context)
{
    server_t *server = context;
    env_test_turn_for(server->loop, 1);
    uint64_t handle = server->handles[--server->request_count];
    return env_test_reply(server->router, handle, env_test_text("x")) == ERR_UNREACHABLE;
}

/* Goal: an answer to someone who left is an error that is counted, not silence. */
static void test_env_router_answer_to_nobody_is_unreachable(void **state)
{
    server_t *server = *state;
    server->keeps = true;
    void *client = s_client(server, ZMQ_DEALER);
    for (unsigned i = 0; i < 900; i++) {
        env_test_send_text(client, "ask");
    }
    assert_true(env_test_await_count(server->loop, &server->request_count, 900));
    env_test_client_close(&client);
    assert_true(env_test_await(server->loop, s_is_gone, server));
    assert_int_equal(env_router_counts(server->router).reply_unreachable, 1);
}

/* Goal: a large answer handed over without a copy arrives whole, a small one keeps its buffer. */
static void test_env_router_reply_buffer_takes_large_bodies(void **state)
{
    server_t *server = *state;
    server->keeps = true;
    void *client = s_client(server, ZMQ_DEALER);
    static const size_t s_sizes[] = {10, ENV_MESSAGE_TAKE_SIZE_MIN, 3000000};
    for (unsigned i = 0; i < 3; i++) {
        env_test_send_text(client, "ask");
        assert_true(env_test_await_count(server->loop, &server->request_count, i + 1));
        buffer_t body;
        buffer_init(&body);
        memset(buffer_extend(&body, s_sizes[i]), (int)i + 1, s_sizes[i]);
        assert_int_equal(env_router_reply_buffer(server->router, server->handles[i], &body),
                         ERR_OK);
        assert_int_equal(body.size, 0);
        assert_true((body.data != NULL) == (s_sizes[i] < ENV_MESSAGE_TAKE_SIZE_MIN));
        assert_true(env_test_receive(server->loop, client, &server->message));
        slice_t got = env_message_frame(&server->message, 0);
        assert_int_equal(got.size, s_sizes[i]);
        assert_int_equal(got.data[got.size - 1], i + 1);
        buffer_done(&body);
    }
    env_test_client_close(&client);
}

int main(void)
{
#define ROUTER_TEST(function) cmocka_unit_test_setup_teardown(function, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        ROUTER_TEST(test_env_router_every_kind_of_client_is_served),
        ROUTER_TEST(test_env_router_prefix_at_the_bound_is_echoed),
        ROUTER_TEST(test_env_router_too_many_frames_are_refused),
        ROUTER_TEST(test_env_router_refusal_reaches_req),
        ROUTER_TEST(test_env_router_long_prefix_frame_is_refused),
        ROUTER_TEST(test_env_router_oversized_frame_harms_only_its_sender),
        ROUTER_TEST(test_env_router_handle_answers_once),
        ROUTER_TEST(test_env_router_answers_until_forgotten),
        cmocka_unit_test(test_env_router_full_table_refuses),
        cmocka_unit_test(test_env_router_slow_asker_stops_nobody),
        ROUTER_TEST(test_env_router_answer_to_nobody_is_unreachable),
        ROUTER_TEST(test_env_router_reply_buffer_takes_large_bodies),
    };
    return cmocka_run_group_tests(tests, env_test_start, env_test_stop);
}
