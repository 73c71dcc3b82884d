/* The loop: no message is overlooked, nobody starves, nothing wakes an idle process. */
#include "common/env/env_loop.h"

#include "common/env/env_clock.h"
#include "common/env/env_zmq.h"
#include "tests/unit/env_support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { SMALL_BATCH = 10 };

/* One end of a connection: a socket in the loop, and what happened to it. */
typedef struct {
    void *socket;
    env_source_t *source;
    zmq_msg_t msg;
    uint64_t received_count;
    uint64_t order_of_first; /* s_order when the first message came; 0 none */
    bool removes_itself;
} end_t;

static uint64_t s_order;
static env_loop_t *s_loop;

static err_t s_take(void *context)
{
    end_t *end = context;
    if (env_source_receive(end->source, &end->msg) != 0) {
        assert_int_equal(errno, EAGAIN);
        return ERR_AGAIN;
    }
    s_order++;
    if (end->received_count++ == 0) {
        end->order_of_first = s_order;
    }
    if (end->removes_itself) {
        env_source_remove(&end->source);
    }
    return ERR_OK;
}

/* Two connected PAIR ends, both in the loop. in queue_count  of each end */
static void s_connect(end_t *a, end_t *b, const char *name, uint32_t queue_count)
{
    char endpoint[64];
    (void)snprintf(endpoint, sizeof(endpoint), "inproc://%s", name);
    *a = (end_t){.socket = env_zmq_socket_new(&(env_zmq_options_t){
                     .type = ZMQ_PAIR, .side = ENV_ZMQ_BIND, .queue_count = queue_count})};
    *b = (end_t){.socket = env_zmq_socket_new(&(env_zmq_options_t){
                     .type = ZMQ_PAIR, .side = ENV_ZMQ_CONNECT, .queue_count = queue_count})};
    errbuf_t errbuf;
    assert_int_equal(env_zmq_bind(a->socket, endpoint, &errbuf), ERR_OK);
    assert_int_equal(env_zmq_connect(b->socket, endpoint, &errbuf), ERR_OK);
    a->source = env_loop_add_socket(s_loop, a->socket, s_take, a);
    b->source = env_loop_add_socket(s_loop, b->socket, s_take, b);
    assert_int_equal(zmq_msg_init(&a->msg), 0);
    assert_int_equal(zmq_msg_init(&b->msg), 0);
}

static void s_disconnect(end_t *a, end_t *b)
{
    end_t *ends[] = {a, b};
    for (unsigned i = 0; i < 2; i++) {
        env_source_remove(&ends[i]->source);
        env_zmq_socket_close(&ends[i]->socket);
        assert_int_equal(zmq_msg_close(&ends[i]->msg), 0);
    }
}

static int s_setup(void **state)
{
    (void)state;
    s_order = 0;
    s_loop = env_loop_new(&(env_loop_options_t){.batch_count_max = SMALL_BATCH});
    return 0;
}

static int s_teardown(void **state)
{
    (void)state;
    env_loop_destroy(&s_loop);
    return 0;
}

static void s_send(end_t *end, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(env_source_send_bytes(end->source, "x", 1, 0), 0);
    }
}

/* Goal: one turn takes no more than the batch from a socket, and a socket with one message is
 * served in the same turn as one with a thousand. */
static void test_env_loop_busy_socket_does_not_starve_another(void **state)
{
    (void)state;
    end_t busy_a;
    end_t busy_b;
    end_t calm_a;
    end_t calm_b;
    s_connect(&busy_a, &busy_b, "busy", 5000);
    s_connect(&calm_a, &calm_b, "calm", 5000);
    s_send(&busy_a, 1000);
    s_send(&calm_a, 1);
    env_loop_turn(s_loop, 0);
    env_loop_turn(s_loop, 0);
    assert_int_equal(calm_b.received_count, 1);
    assert_true(busy_b.received_count <= (uint64_t)2 * SMALL_BATCH);
    assert_true(calm_b.order_of_first <= SMALL_BATCH + 1);
    assert_true(env_test_await_count(s_loop, &busy_b.received_count, 1000));
    assert_true(env_loop_counts(s_loop).batches_cut_short > 0);
    s_disconnect(&busy_a, &busy_b);
    s_disconnect(&calm_a, &calm_b);
}

/* Goal: an idle loop sleeps through. Method: one turn with a wait of 100 ms takes 100 ms, with
 * connected sockets and a timer far away. */
static void test_env_loop_idle_does_not_wake(void **state)
{
    (void)state;
    end_t a;
    end_t b;
    s_connect(&a, &b, "idle", 100);
    for (unsigned i = 0; i < 10; i++) {
        env_loop_turn(s_loop, 0); /* connecting makes a few wake-ups */
    }
    int64_t start_ns = env_clock_now().mono_ns;
    env_loop_turn(s_loop, 100);
    assert_true(env_clock_now().mono_ns - start_ns >= 99 * (int64_t)ENV_NS_PER_MS);
    s_disconnect(&a, &b);
}

static void s_count_timer(void *context, now_t now)
{
    (void)now;
    (*(uint64_t *)context)++;
}

/* Goal: a timer ends the sleep at its deadline, not later than a few milliseconds. */
static void test_env_loop_timer_ends_the_sleep(void **state)
{
    (void)state;
    uint64_t fired_count = 0;
    env_timer_t *timer = env_timer_new(env_loop_timers(s_loop), s_count_timer, &fired_count);
    int64_t start_ns = env_clock_now().mono_ns;
    env_timer_arm(timer, start_ns + 20 * (int64_t)ENV_NS_PER_MS);
    env_loop_turn(s_loop, 10000);
    int64_t slept_ns = env_clock_now().mono_ns - start_ns;
    assert_int_equal(fired_count, 1);
    assert_true(slept_ns >= 20 * (int64_t)ENV_NS_PER_MS);
    assert_true(slept_ns < 5000 * (int64_t)ENV_NS_PER_MS);
    env_timer_destroy(&timer);
}

/* Goal: what is sent between two turns, and what arrives while nobody sleeps, is found. Method:
 * each end sends only when it has received: one message overlooked stops the exchange. */
static void test_env_loop_ping_pong_never_stalls(void **state)
{
    (void)state;
    end_t a;
    end_t b;
    s_connect(&a, &b, "pong", 100);
    for (uint64_t i = 1; i <= 20000; i++) {
        s_send(&a, 1);
        assert_true(env_test_await_count(s_loop, &b.received_count, i));
        s_send(&b, 1);
        assert_true(env_test_await_count(s_loop, &a.received_count, i));
    }
    s_disconnect(&a, &b);
}

/* Goal: a source may remove itself while it is being served; what it has left is not touched. */
static void test_env_loop_source_removes_itself_in_callback(void **state)
{
    (void)state;
    end_t a;
    end_t b;
    s_connect(&a, &b, "gone", 100);
    b.removes_itself = true;
    s_send(&a, 5);
    for (unsigned i = 0; i < 10; i++) {
        env_loop_turn(s_loop, 1);
    }
    assert_int_equal(b.received_count, 1);
    assert_null(b.source);
    s_disconnect(&a, &b);
}

/* Goal: a full queue is an error at once, and all that was taken arrives once the other end reads. */
static void test_env_loop_full_queue_is_an_error_at_once(void **state)
{
    (void)state;
    end_t a;
    end_t b;
    s_connect(&a, &b, "room", 10);
    env_source_remove(&b.source);
    uint64_t sent_count = 0;
    while (env_source_send_bytes(a.source, "x", 1, 0) == 0) {
        sent_count++;
        assert_true(sent_count <= 1000);
    }
    assert_int_equal(errno, EAGAIN);
    b.source = env_loop_add_socket(s_loop, b.socket, s_take, &b);
    assert_true(env_test_await_count(s_loop, &b.received_count, sent_count));
    s_send(&a, 1);
    assert_true(env_test_await_count(s_loop, &b.received_count, sent_count + 1));
    s_disconnect(&a, &b);
}

typedef struct {
    int fd;
    env_source_t *source;
    uint64_t byte_count;
} reader_t;

/* Takes one byte: the descriptor stays readable, the loop must come back. */
static void s_read_byte(void *context)
{
    reader_t *reader = context;
    char byte;
    if (read(reader->fd, &byte, 1) == 1) {
        reader->byte_count++;
    }
}

/* Goal: plain descriptors are level-triggered. */
static void test_env_loop_descriptor_is_level_triggered(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    reader_t reader = {.fd = ends[0]};
    reader.source = env_loop_add_fd(s_loop, ends[0], s_read_byte, &reader);
    assert_int_equal(write(ends[1], "abcde", 5), 5);
    for (unsigned i = 0; i < 5; i++) {
        env_loop_turn(s_loop, 0);
    }
    assert_int_equal(reader.byte_count, 5);
    env_source_remove(&reader.source);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void s_note_signal(void *context, int signal_number)
{
    *(int *)context = signal_number;
    env_loop_stop(s_loop);
}

/* Goal: TERM and INT become events of the loop and end env_loop_run. */
static void test_env_loop_signal_stops_the_run(void **state)
{
    (void)state;
    int noted = 0;
    env_loop_on_signals(s_loop, s_note_signal, &noted);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    env_loop_run(s_loop);
    assert_int_equal(noted, SIGTERM);
}

typedef struct {
    end_t *sender;
    end_t *receiver;
    uint64_t turn_end_count;
    uint64_t received_at_turn_end;
    int64_t deadline_ns;
    uint64_t deadline_count;
} owner_t;

static void s_on_turn_end(void *context, now_t now)
{
    owner_t *owner = context;
    assert_int_equal(now.mono_ns, env_loop_now(s_loop).mono_ns);
    owner->turn_end_count++;
    owner->received_at_turn_end = owner->receiver->received_count;
}

static int64_t s_next_deadline_ns(void *context)
{
    owner_t *owner = context;
    return owner->deadline_ns;
}

static void s_on_deadline(void *context, now_t now)
{
    owner_t *owner = context;
    assert_true(now.mono_ns >= owner->deadline_ns);
    owner->deadline_ns = INT64_MAX;
    owner->deadline_count++;
}

/* Goal: the end of a turn comes after all input of the turn; the deadline of the owner ends a
 * sleep. */
static void test_env_loop_turn_end_comes_after_all_input(void **state)
{
    (void)state;
    end_t a;
    end_t b;
    s_connect(&a, &b, "end", 100);
    owner_t owner = {.sender = &a, .receiver = &b, .deadline_ns = INT64_MAX};
    env_loop_set_options(s_loop, &(env_loop_options_t){.context = &owner,
                                                       .on_turn_end = s_on_turn_end,
                                                       .next_deadline_ns = s_next_deadline_ns,
                                                       .on_deadline = s_on_deadline});
    s_send(&a, 50);
    env_loop_turn(s_loop, 100);
    assert_int_equal(owner.turn_end_count, 1);
    assert_int_equal(owner.received_at_turn_end, 50);
    owner.deadline_ns = env_clock_now().mono_ns + 10 * (int64_t)ENV_NS_PER_MS;
    assert_true(env_test_await_count(s_loop, &owner.deadline_count, 1));
    /* at once, whatever the clock says: one turn must not sleep */
    owner.deadline_ns = INT64_MIN;
    int64_t before_ns = env_clock_now().mono_ns;
    env_loop_turn(s_loop, 5000);
    assert_int_equal(owner.deadline_count, 2);
    assert_true(env_clock_now().mono_ns - before_ns < 4000 * (int64_t)ENV_NS_PER_MS);
    s_disconnect(&a, &b);
}

int main(void)
{
#define LOOP_TEST(function) cmocka_unit_test_setup_teardown(function, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_env_loop_busy_socket_does_not_starve_another),
        LOOP_TEST(test_env_loop_idle_does_not_wake),
        LOOP_TEST(test_env_loop_timer_ends_the_sleep),
        LOOP_TEST(test_env_loop_ping_pong_never_stalls),
        LOOP_TEST(test_env_loop_source_removes_itself_in_callback),
        LOOP_TEST(test_env_loop_full_queue_is_an_error_at_once),
        LOOP_TEST(test_env_loop_descriptor_is_level_triggered),
        LOOP_TEST(test_env_loop_signal_stops_the_run),
        LOOP_TEST(test_env_loop_turn_end_comes_after_all_input),
    };
    return cmocka_run_group_tests(tests, env_test_start, env_test_stop);
}
