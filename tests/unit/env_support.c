#include "tests/unit/env_support.h"

#include "common/env/env_clock.h"
#include "common/env/env_zmq.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

int env_test_start(void **state)
{
    (void)state;
    errbuf_t errbuf;
    env_loop_block_signals();
    return env_zmq_start(&errbuf) == ERR_OK ? 0 : -1;
}

int env_test_stop(void **state)
{
    (void)state;
    env_zmq_stop(); /* checks that no socket is open */
    return 0;
}

bool env_test_await(env_loop_t *loop, env_test_condition_fn condition, void *context)
{
    int64_t limit_ns = env_clock_now().mono_ns + (int64_t)ENV_TEST_LIMIT_MS * ENV_NS_PER_MS;
    while (!condition(context)) {
        if (env_clock_now().mono_ns > limit_ns) {
            return false;
        }
        env_loop_turn(loop, 2);
    }
    return true;
}

typedef struct {
    const uint64_t *value;
    uint64_t wanted;
} count_t;

static bool s_has_count(void *context)
{
    const count_t *count = context;
    return *count->value >= count->wanted;
}

bool env_test_await_count(env_loop_t *loop, const uint64_t *value, uint64_t wanted)
{
    count_t count = {value, wanted};
    return env_test_await(loop, s_has_count, &count);
}

void env_test_turn_for(env_loop_t *loop, int wait_ms)
{
    int64_t end_ns = env_clock_now().mono_ns + (int64_t)wait_ms * ENV_NS_PER_MS;
    while (env_clock_now().mono_ns < end_ns) {
        env_loop_turn(loop, 2);
    }
}

void *env_test_client_new(int type, const char *endpoint)
{
    void *socket = env_zmq_socket_new(
        &(env_zmq_options_t){.type = type, .side = ENV_ZMQ_CONNECT, .queue_count = 1000});
    env_zmq_set_int(socket, ZMQ_IMMEDIATE, 0);
    env_zmq_set_int(socket, ZMQ_LINGER, 0);
    errbuf_t errbuf;
    assert_int_equal(env_zmq_connect(socket, endpoint, &errbuf), ERR_OK);
    return socket;
}

void env_test_client_close(void **socket_p)
{
    env_zmq_socket_close(socket_p);
}

void env_test_send(void *socket, const slice_t *frames, uint32_t frame_count)
{
    for (uint32_t i = 0; i < frame_count; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < frame_count ? ZMQ_SNDMORE : 0);
        assert_int_equal(zmq_send(socket, frames[i].data, frames[i].size, flags), frames[i].size);
    }
}

void env_test_send_text(void *socket, const char *text)
{
    slice_t frame = env_test_text(text);
    env_test_send(socket, &frame, 1);
}

typedef struct {
    void *socket;
    env_message_t *message;
} receive_t;

static bool s_receive(void *context)
{
    receive_t *receive = context;
    env_message_t *message = receive->message;
    env_message_clear(message);
    bool has_more = true;
    while (has_more) {
        assert_true(message->count < ENV_MESSAGE_FRAME_COUNT_MAX);
        zmq_msg_t *frame = &message->frames[message->count];
        if (zmq_msg_recv(frame, receive->socket, ZMQ_DONTWAIT) < 0) {
            assert_int_equal(errno, EAGAIN);
            return false;
        }
        message->count++;
        has_more = zmq_msg_more(frame) != 0;
    }
    return true;
}

bool env_test_receive(env_loop_t *loop, void *socket, env_message_t *ret_message)
{
    receive_t receive = {socket, ret_message};
    return env_test_await(loop, s_receive, &receive);
}

bool env_test_is(slice_t slice, const char *text)
{
    return slice_equal(slice, env_test_text(text));
}

static bool s_is_free(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    int on = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    bool is_free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    (void)close(fd);
    return is_free;
}

uint16_t env_test_free_ports(uint16_t count)
{
    enum { FIRST = 10000, LAST = 32000 };
    static uint32_t s_next; /* tests that run at the same time begin at different places */
    if (s_next == 0) {
        s_next = FIRST + (uint32_t)getpid() * 311U % (LAST - FIRST);
    }
    for (uint32_t tried = 0; tried < LAST - FIRST; tried += count) {
        if (s_next + count > LAST) {
            s_next = FIRST;
        }
        uint16_t base = (uint16_t)s_next;
        s_next += count;
        uint16_t free_count = 0;
        while (free_count < count && s_is_free((uint16_t)(base + free_count))) {
            free_count++;
        }
        if (free_count == count) {
            return base;
        }
    }
    fail_msg("expected %u free ports in a row, found none", (unsigned)count);
    return 0;
}
