/* Sockets of ZeroMQ: limits, and errors that say what to do. */
#include "common/env/env_zmq.h"

#include "common/base/bounds.h"
#include "tests/unit/env_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void *s_router_new(void)
{
    return env_zmq_socket_new(&(env_zmq_options_t){
        .type = ZMQ_ROUTER, .side = ENV_ZMQ_BIND, .queue_count = 100, .frame_size_max = 1000});
}

/* Goal: a port that is in use is named with who holds it and what to do. */
static void test_env_zmq_bind_conflict_names_the_holder(void **state)
{
    (void)state;
    void *first = s_router_new();
    void *second = s_router_new();
    char endpoint[ENDPOINT_SIZE_MAX];
    errbuf_t errbuf;
    assert_int_equal(env_zmq_bind(first, "tcp://127.0.0.1:*", &errbuf), ERR_OK);
    env_zmq_last_endpoint(first, endpoint);
    assert_int_equal(env_zmq_bind(second, endpoint, &errbuf), ERR_LOCKED);
    char pid[64];
    (void)snprintf(pid, sizeof(pid), "process %ld (test_env_zmq)", (long)getpid());
    assert_non_null(strstr(errbuf.text, endpoint));
    assert_non_null(strstr(errbuf.text, pid));
    assert_non_null(strstr(errbuf.text, "mesh down"));
    env_zmq_socket_close(&first);
    env_zmq_socket_close(&second);
    env_zmq_socket_close(&second);
}

/* Goal: an address of another host and a text that is no endpoint are told apart and explained. */
static void test_env_zmq_bad_endpoints_are_explained(void **state)
{
    (void)state;
    void *socket = s_router_new();
    errbuf_t errbuf;
    assert_int_equal(env_zmq_bind(socket, "tcp://192.0.2.1:7100", &errbuf), ERR_INVALID);
    assert_non_null(strstr(errbuf.text, "no such address"));
    assert_int_equal(env_zmq_bind(socket, "7100", &errbuf), ERR_INVALID);
    assert_non_null(strstr(errbuf.text, "expected tcp://"));
    env_zmq_socket_close(&socket);
    socket = env_zmq_socket_new(
        &(env_zmq_options_t){.type = ZMQ_DEALER, .side = ENV_ZMQ_CONNECT, .queue_count = 100});
    assert_int_equal(env_zmq_connect(socket, "nonsense", &errbuf), ERR_INVALID);
    env_zmq_socket_close(&socket);
}

/* Goal: a budget becomes a count within its limits. */
static void test_env_zmq_queue_count_is_bounded(void **state)
{
    (void)state;
    assert_int_equal(env_zmq_queue_count(0, 1000), SOCKET_QUEUE_COUNT_MIN);
    assert_int_equal(env_zmq_queue_count(1000000, 1000), 1000);
    assert_int_equal(env_zmq_queue_count(UINT64_MAX, 1), SOCKET_QUEUE_COUNT_MAX);
}

static int64_t s_option(void *socket, int option)
{
    int value = 0;
    size_t size = sizeof(value);
    assert_int_equal(zmq_getsockopt(socket, option, &value, &size), 0);
    return value;
}

/* Goal: no limit is left to a default. */
static void test_env_zmq_sockets_have_explicit_limits(void **state)
{
    (void)state;
    void *router = s_router_new();
    int64_t frame_size_max = 0;
    size_t size = sizeof(frame_size_max);
    assert_int_equal(zmq_getsockopt(router, ZMQ_MAXMSGSIZE, &frame_size_max, &size), 0);
    assert_int_equal(frame_size_max, 1000);
    assert_int_equal(s_option(router, ZMQ_SNDHWM), 100);
    assert_int_equal(s_option(router, ZMQ_RCVHWM), 100);
    assert_int_equal(s_option(router, ZMQ_LINGER), SOCKET_LINGER_MS);
    assert_int_equal(s_option(router, ZMQ_SNDTIMEO), 0);
    void *dealer = env_zmq_socket_new(
        &(env_zmq_options_t){.type = ZMQ_DEALER, .side = ENV_ZMQ_CONNECT, .queue_count = 200});
    assert_int_equal(s_option(dealer, ZMQ_SNDHWM), 200);
    assert_int_equal(s_option(dealer, ZMQ_IMMEDIATE), 1);
    assert_int_equal(s_option(dealer, ZMQ_RECONNECT_IVL_MAX), RECONNECT_MS_MAX);
    assert_int_equal(s_option(dealer, ZMQ_CONNECT_TIMEOUT), CONNECT_TIMEOUT_MS);
    assert_int_equal(zmq_getsockopt(dealer, ZMQ_MAXMSGSIZE, &frame_size_max, &size), 0);
    assert_int_equal(frame_size_max, -1);
    env_zmq_socket_close(&router);
    env_zmq_socket_close(&dealer);
}

/* Goal: variables of CZMQ do not reach it. */
static void test_env_zmq_start_clears_foreign_variables(void **state)
{
    (void)state;
    /* Nobody changes it now. NOLINTBEGIN(concurrency-mt-unsafe) */
    assert_null(getenv("ZSYS_LINGER"));
    assert_null(getenv("ZSYS_IO_THREADS"));
    assert_non_null(getenv("PATH"));
    /* NOLINTEND(concurrency-mt-unsafe) */
}

/* Runs in a child of its own: the limit cannot be raised again. */
static int s_start_with_low_limit(void)
{
    struct rlimit low = {.rlim_cur = 100, .rlim_max = 100};
    errbuf_t errbuf = {.text = ""};
    if (setrlimit(RLIMIT_NOFILE, &low) != 0 || env_zmq_start(&errbuf) != ERR_FULL) {
        return 1;
    }
    return strstr(errbuf.text, "ulimit -n") != NULL ? 0 : 2;
}

int main(void)
{
    /* Before ZeroMQ has threads: a process with them must not fork. */
    pid_t child = fork();
    if (child == 0) {
        _exit(s_start_with_low_limit());
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        (void)fprintf(stderr, "low limit of open files: expected a clear error, found status %d\n",
                      status);
        return 1;
    }
    /* One thread yet. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    if (setenv("ZSYS_LINGER", "5000", 1) != 0 || setenv("ZSYS_IO_THREADS", "3", 1) != 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_env_zmq_bind_conflict_names_the_holder),
        cmocka_unit_test(test_env_zmq_bad_endpoints_are_explained),
        cmocka_unit_test(test_env_zmq_queue_count_is_bounded),
        cmocka_unit_test(test_env_zmq_sockets_have_explicit_limits),
        cmocka_unit_test(test_env_zmq_start_clears_foreign_variables),
    };
    return cmocka_run_group_tests(tests, env_test_start, env_test_stop);
}
