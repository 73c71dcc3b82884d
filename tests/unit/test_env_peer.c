/* The asking side: connections that come, go, come back, and end for good. */
#include "common/env/env_peer.h"

#include "common/env/env_router.h"
#include "common/env/env_zmq.h"
#include "tests/unit/env_support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A peer and the server that it asks, in one loop. */
typedef struct {
    env_loop_t *loop;
    env_router_t *router; /* NULL while the server is down */
    bool is_silent;       /* the server keeps requests and answers nothing */
    uint64_t request_count;
    char endpoint[ENDPOINT_SIZE_MAX];
    env_peer_t *peer;
    uint64_t answer_count;
    uint64_t up_count;
    uint64_t down_count;
    env_target_t from;
    char text[64]; /* of the last answer */
} pair_t;

static const env_target_t s_target = {"target-1"};

static void s_on_request(void *context, const env_request_t *request)
{
    pair_t *pair = context;
    pair->request_count++;
    if (!pair->is_silent) {
        (void)env_test_reply(pair->router, request->handle, request->body);
    }
}

static void s_on_message(void *context, env_target_t from, slice_t body)
{
    pair_t *pair = context;
    pair->answer_count++;
    pair->from = from;
    (void)snprintf(pair->text, sizeof(pair->text), "%.*s", (int)(body.size < 60 ? body.size : 60),
                   (const char *)body.data);
}

static void s_on_state(void *context, bool is_up)
{
    pair_t *pair = context;
    *(is_up ? &pair->up_count : &pair->down_count) += 1;
}

/* The port of a server that was just closed may be taken for some more milliseconds. */
static bool s_serve(void *context)
{
    pair_t *pair = context;
    errbuf_t errbuf;
    return env_router_open(pair->loop,
                           &(env_router_options_t){.endpoint = pair->endpoint,
                                                   .frame_size_max = INTERNAL_MESSAGE_SIZE_MAX,
                                                   .context = pair,
                                                   .on_request = s_on_request},
                           &pair->router, &errbuf) == ERR_OK;
}

static void s_open_peer(pair_t *pair, uint64_t queue_size_bytes)
{
    errbuf_t errbuf;
    assert_int_equal(env_peer_open(pair->loop,
                                   &(env_peer_options_t){.endpoint = pair->endpoint,
                                                         .queue_size_bytes = queue_size_bytes,
                                                         .context = pair,
                                                         .on_message = s_on_message,
                                                         .on_state = s_on_state},
                                   &pair->peer, &errbuf),
                     ERR_OK);
}

static int s_setup(void **state)
{
    pair_t *pair = calloc(1, sizeof(*pair));
    assert_non_null(pair);
    *state = pair;
    pair->loop = env_loop_new(&(env_loop_options_t){.context = NULL});
    (void)snprintf(pair->endpoint, sizeof(pair->endpoint), "tcp://127.0.0.1:*");
    if (!s_serve(pair)) {
        return -1;
    }
    (void)snprintf(pair->endpoint, sizeof(pair->endpoint), "%s", env_router_endpoint(pair->router));
    return 0;
}

static int s_teardown(void **state)
{
    pair_t *pair = *state;
    env_peer_close(&pair->peer);
    env_peer_close(&pair->peer);
    env_router_close(&pair->router);
    env_loop_destroy(&pair->loop);
    free(pair);
    return 0;
}

static bool s_is_up(void *context)
{
    return env_peer_is_up(((pair_t *)context)->peer);
}

static bool s_is_down(void *context)
{
    return !env_peer_is_up(((pair_t *)context)->peer);
}

/* Goal: a message sent before the first connection is there waits for it and is answered; the
 * answer names who gave it. */
static void test_env_peer_message_before_connection_is_delivered(void **state)
{
    pair_t *pair = *state;
    s_open_peer(pair, 0);
    assert_int_equal(env_peer_send(pair->peer, s_target, env_test_text("early")), ERR_OK);
    assert_true(env_test_await_count(pair->loop, &pair->answer_count, 1));
    assert_string_equal(pair->text, "early");
    assert_memory_equal(pair->from.bytes, s_target.bytes, sizeof(s_target.bytes));
    assert_int_equal(pair->up_count, 1);
}

/* A port of this machine that nobody listens on: bound by the returned descriptor. */
static int s_reserve(pair_t *pair)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int on = 1;
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    socklen_t size = sizeof(address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(pair->endpoint, sizeof(pair->endpoint), "tcp://127.0.0.1:%u",
                   (unsigned)ntohs(address.sin_port));
    return fd;
}

/* Goal: without a server messages wait within bounds, are dropped and counted after a second, and
 * later ones are refused at once. */
static void test_env_peer_without_server_is_unreachable(void **state)
{
    pair_t *pair = *state;
    int reserved = s_reserve(pair);
    s_open_peer(pair, 0);
    for (unsigned i = 0; i < PEER_WAITING_COUNT_MAX; i++) {
        assert_int_equal(env_peer_send(pair->peer, s_target, env_test_text("x")), ERR_OK);
    }
    assert_int_equal(env_peer_send(pair->peer, s_target, env_test_text("x")), ERR_FULL);
    env_test_turn_for(pair->loop, PEER_WAITING_MS_MAX + 100);
    assert_int_equal(env_peer_send(pair->peer, s_target, env_test_text("x")), ERR_UNREACHABLE);
    env_peer_counts_t counts = env_peer_counts(pair->peer);
    assert_int_equal(counts.waiting_dropped, PEER_WAITING_COUNT_MAX);
    assert_int_equal(counts.refused_full, 1);
    assert_int_equal(counts.refused_unreachable, 1);
    (void)close(reserved);
}

/* Goal: what waits is bounded in bytes as well. */
static void test_env_peer_waiting_is_bounded_in_bytes(void **state)
{
    pair_t *pair = *state;
    int reserved = s_reserve(pair);
    s_open_peer(pair, 0);
    static uint8_t s_half[PEER_WAITING_SIZE_MAX / 2];
    slice_t half = slice_make(s_half, sizeof(s_half));
    assert_int_equal(env_peer_send(pair->peer, s_target, half), ERR_OK);
    assert_int_equal(env_peer_send(pair->peer, s_target, half), ERR_OK);
    assert_int_equal(env_peer_send(pair->peer, s_target, env_test_text("x")), ERR_FULL);
    (void)close(reserved);
}

/* Goal: while the server is down sends fail at once; after its restart on the same port they work
 * again, and nothing of before is delivered late. */
static void test_env_peer_server_restart_reconnects(void **state)
{
    pair_t *pair = *state;
    s_open_peer(pair, 0);
    assert_true(env_test_await(pair->loop, s_is_up, pair));
    env_router_close(&pair->router);
    assert_true(env_test_await(pair->loop, s_is_down, pair));
    assert_int_equal(env_peer_send(pair->peer, s_target, env_test_text("lost")), ERR_UNREACHABLE);
    assert_true(env_test_await(pair->loop, s_serve, pair));
    assert_true(env_test_await(pair->loop, s_is_up, pair));
    assert_int_equal(env_peer_send(pair->peer, s_target, env_test_text("again")), ERR_OK);
    assert_true(env_test_await_count(pair->loop, &pair->answer_count, 1));
    assert_string_equal(pair->text, "again");
    assert_int_equal(pair->request_count, 1);
    assert_int_equal(pair->down_count, 1);
    assert_int_equal(env_peer_counts(pair->peer).recreated, 0);
}

/* A server that takes one connection, answers with what is no ZMTP, and closes. */
static bool s_spoil(void *context)
{
    /* A greeting of ZMTP 3.0 up to a mechanism that nobody knows: a protocol error, which ends the
     * connection for good; anything shorter would only be a lost connection. */
    static const uint8_t s_greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'X', 'Y', 'Z'};
    int fd = accept(*(int *)context, NULL, NULL);
    if (fd < 0) {
        return false;
    }
    assert_int_equal(send(fd, s_greeting, sizeof(s_greeting), MSG_NOSIGNAL), sizeof(s_greeting));
    uint8_t byte;
    while (recv(fd, &byte, 1, 0) > 0) { /* until the other side gives up */
    }
    (void)close(fd);
    return true;
}

/* Goal: a connection that ZeroMQ has given up for ever is found and made anew. Method: something
 * else listens on the port first, then the real server. */
static void test_env_peer_connection_ended_for_good_is_made_anew(void **state)
{
    pair_t *pair = *state;
    env_router_close(&pair->router);
    int listener = s_reserve(pair);
    assert_int_equal(listen(listener, 5), 0);
    s_open_peer(pair, 0);
    assert_true(env_test_await(pair->loop, s_spoil, &listener));
    (void)close(listener);
    assert_true(env_test_await(pair->loop, s_serve, pair));
    assert_true(env_test_await(pair->loop, s_is_up, pair));
    assert_int_equal(env_peer_counts(pair->peer).recreated, 1);
    assert_int_equal(env_peer_send(pair->peer, s_target, env_test_text("x")), ERR_OK);
    assert_true(env_test_await_count(pair->loop, &pair->answer_count, 1));
}

/* A server of its own loop reads only when this is asked. */
static bool s_has_answers(void *context)
{
    pair_t *const *pairs = context;
    env_loop_turn(pairs[1]->loop, 1);
    return pairs[0]->answer_count >= 64;
}

/* Goal: a server that does not read fills the queue: ERR_FULL, no wait, bounded memory; another
 * peer of the same loop goes on. */
static void test_env_peer_slow_server_gives_full(void **state)
{
    pair_t *pair = *state;
    pair_t slow = {.loop = env_loop_new(&(env_loop_options_t){.context = NULL})};
    (void)snprintf(slow.endpoint, sizeof(slow.endpoint), "tcp://127.0.0.1:*");
    assert_true(s_serve(&slow));
    pair_t fast = {.loop = pair->loop};
    memcpy(fast.endpoint, pair->endpoint, sizeof(fast.endpoint));
    (void)snprintf(pair->endpoint, sizeof(pair->endpoint), "%s", env_router_endpoint(slow.router));
    s_open_peer(pair, 1);
    assert_true(env_test_await(pair->loop, s_is_up, pair));
    static uint8_t s_large[1024 * 1024];
    err_t err = ERR_OK;
    for (unsigned i = 0; i < 2000 && err == ERR_OK; i++) {
        err = env_peer_send(pair->peer, s_target, slice_make(s_large, sizeof(s_large)));
    }
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(slow.request_count, 0);
    s_open_peer(&fast, 0);
    assert_int_equal(env_peer_send(fast.peer, s_target, env_test_text("flows")), ERR_OK);
    assert_true(env_test_await_count(pair->loop, &fast.answer_count, 1));
    assert_true(env_test_await(pair->loop, s_has_answers, (pair_t *[]){pair, &slow}));
    env_peer_close(&fast.peer);
    env_router_close(&slow.router);
    env_loop_destroy(&slow.loop);
}

/* Goal: an endpoint that is none is an error at the opening. */
static void test_env_peer_bad_endpoint_is_refused(void **state)
{
    pair_t *pair = *state;
    errbuf_t errbuf;
    char text[2 * ENDPOINT_SIZE_MAX];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    env_peer_options_t options = {.endpoint = text, .context = pair, .on_message = s_on_message};
    assert_int_equal(env_peer_open(pair->loop, &options, &pair->peer, &errbuf), ERR_INVALID);
    options.endpoint = "nonsense";
    assert_int_equal(env_peer_open(pair->loop, &options, &pair->peer, &errbuf), ERR_INVALID);
    assert_null(pair->peer);
}

int main(void)
{
#define PEER_TEST(function) cmocka_unit_test_setup_teardown(function, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        PEER_TEST(test_env_peer_message_before_connection_is_delivered),
        PEER_TEST(test_env_peer_without_server_is_unreachable),
        PEER_TEST(test_env_peer_waiting_is_bounded_in_bytes),
        PEER_TEST(test_env_peer_server_restart_reconnects),
        PEER_TEST(test_env_peer_connection_ended_for_good_is_made_anew),
        PEER_TEST(test_env_peer_slow_server_gives_full),
        PEER_TEST(test_env_peer_bad_endpoint_is_refused),
    };
    return cmocka_run_group_tests(tests, env_test_start, env_test_stop);
}
