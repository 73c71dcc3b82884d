/* Many small messages both ways between two processes: not one may be overlooked by a loop that
 * sleeps on edges. The server answers half of the requests at once and half at the end of the turn,
 * so that sends fall between receives in every order. */
#include "common/env/env_peer.h"
#include "common/env/env_router.h"
#include "common/env/env_zmq.h"
#include "tests/unit/env_support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PEER_COUNT = 8, MESSAGE_COUNT = 20000, WINDOW_COUNT_MAX = 40, LATER_COUNT_MAX = 65536 };

/* -- the server, a process of its own ---------------------------------------------------------- */

static struct {
    env_loop_t *loop;
    env_router_t *router;
    uint64_t request_count;
    uint64_t later[LATER_COUNT_MAX];
    uint32_t later_count;
} s_server;

static void s_on_request(void *context, const env_request_t *request)
{
    (void)context;
    if (s_server.request_count++ % 2 == 0 || s_server.later_count == LATER_COUNT_MAX) {
        (void)env_test_reply(s_server.router, request->handle, request->body);
    } else {
        s_server.later[s_server.later_count++] = request->handle;
    }
}

static void s_on_server_turn_end(void *context, now_t now)
{
    (void)context;
    (void)now;
    for (uint32_t i = 0; i < s_server.later_count; i++) {
        (void)env_test_reply(s_server.router, s_server.later[i], env_test_text("later"));
    }
    s_server.later_count = 0;
}

static void s_on_signal(void *context, int signal_number)
{
    (void)context;
    (void)signal_number;
    env_loop_stop(s_server.loop);
}

/* Tells its endpoint through the pipe, serves until SIGTERM. */
static int s_serve(int fd)
{
    errbuf_t errbuf;
    env_loop_block_signals();
    /* A failed test must not leave a server behind. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || env_zmq_start(&errbuf) != ERR_OK) {
        return 1;
    }
    s_server.loop = env_loop_new(&(env_loop_options_t){.on_turn_end = s_on_server_turn_end});
    env_loop_on_signals(s_server.loop, s_on_signal, NULL);
    env_router_options_t options = {
        .endpoint = "tcp://127.0.0.1:*", .frame_size_max = 1000, .on_request = s_on_request};
    if (env_router_open(s_server.loop, &options, &s_server.router, &errbuf) != ERR_OK) {
        return 2;
    }
    const char *endpoint = env_router_endpoint(s_server.router);
    if (write(fd, endpoint, strlen(endpoint)) < 0) {
        return 3;
    }
    env_loop_run(s_server.loop);
    env_router_close(&s_server.router);
    env_loop_destroy(&s_server.loop);
    env_zmq_stop();
    return 0;
}

/* -- the clients ------------------------------------------------------------------------------- */

static char s_endpoint[ENDPOINT_SIZE_MAX];

typedef struct {
    env_peer_t *peer;
    uint64_t sent_count;
    uint64_t answered_count;
} asker_t;

static asker_t s_askers[PEER_COUNT];
static uint64_t s_answered_count;

static void s_ask(asker_t *asker)
{
    static const env_target_t s_target = {"target-1"};
    while (asker->sent_count < MESSAGE_COUNT &&
           asker->sent_count - asker->answered_count < WINDOW_COUNT_MAX) {
        if (env_peer_send(asker->peer, s_target, env_test_text("small")) != ERR_OK) {
            return;
        }
        asker->sent_count++;
    }
}

static void s_on_answer(void *context, env_target_t from, slice_t body)
{
    (void)from;
    (void)body;
    asker_t *asker = context;
    asker->answered_count++;
    s_answered_count++;
    s_ask(asker);
}

/* Goal: every request is answered, with windows small and large, and nothing ever stalls. */
static void test_env_stress_every_request_is_answered(void **state)
{
    (void)state;
    env_loop_t *loop = env_loop_new(&(env_loop_options_t){.context = NULL});
    errbuf_t errbuf;
    for (unsigned i = 0; i < PEER_COUNT; i++) {
        env_peer_options_t options = {
            .endpoint = s_endpoint, .context = &s_askers[i], .on_message = s_on_answer};
        assert_int_equal(env_peer_open(loop, &options, &s_askers[i].peer, &errbuf), ERR_OK);
        s_ask(&s_askers[i]);
    }
    assert_true(
        env_test_await_count(loop, &s_answered_count, (uint64_t)PEER_COUNT * MESSAGE_COUNT));
    for (unsigned i = 0; i < PEER_COUNT; i++) {
        assert_int_equal(s_askers[i].answered_count, MESSAGE_COUNT);
        env_peer_close(&s_askers[i].peer);
    }
    env_loop_destroy(&loop);
}

int main(void)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return 1;
    }
    pid_t child = fork(); /* before ZeroMQ has threads */
    if (child == 0) {
        _exit(s_serve(ends[1]));
    }
    ssize_t size = child > 0 ? read(ends[0], s_endpoint, sizeof(s_endpoint) - 1) : -1;
    if (size <= 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_env_stress_every_request_is_answered),
    };
    int failed_count = cmocka_run_group_tests(tests, env_test_start, env_test_stop);
    int status = 0;
    if (kill(child, SIGTERM) != 0 || waitpid(child, &status, 0) != child || status != 0) {
        (void)fprintf(stderr, "server: expected a clean stop after SIGTERM, found status %d\n",
                      status);
        return 1;
    }
    return failed_count;
}
