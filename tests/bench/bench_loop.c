/* What the loop, the ROUTER and the DEALER side cost: round trips and messages per second between
 * two processes over tcp on this machine, one line per case.
 *
 *   bench_loop [seconds per case, default 1] */
#include "common/base/bounds.h"
#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/env/env_loop.h"
#include "common/env/env_peer.h"
#include "common/env/env_router.h"
#include "common/env/env_zmq.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BODY_SIZE_MAX = 1024 * 1024, SAMPLE_COUNT_MAX = 1 << 20, QUEUE_SIZE = 256 * 1024 * 1024 };

/* -- the server, a process of its own: echoes -------------------------------------------------- */

static env_router_t *s_router;
static env_loop_t *s_loop;

static void s_on_request(void *context, const env_request_t *request)
{
    (void)context;
    (void)env_router_answer(s_router, request->handle, request->body); /* lost when too slow */
    env_router_forget(s_router, request->handle);
}

static void s_on_signal(void *context, int signal_number)
{
    (void)context;
    (void)signal_number;
    env_loop_stop(s_loop);
}

static int s_serve(int fd)
{
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    env_loop_block_signals();
    CHECK(env_zmq_start(NULL) == ERR_OK);
    s_loop = env_loop_new(&(env_loop_options_t){.context = NULL});
    env_loop_on_signals(s_loop, s_on_signal, NULL);
    env_router_options_t options = {.endpoint = "tcp://127.0.0.1:*",
                                    .frame_size_max = INTERNAL_MESSAGE_SIZE_MAX,
                                    .queue_size_bytes = QUEUE_SIZE,
                                    .on_request = s_on_request};
    CHECK(env_router_open(s_loop, &options, &s_router, NULL) == ERR_OK);
    const char *endpoint = env_router_endpoint(s_router);
    CHECK(write(fd, endpoint, strlen(endpoint)) > 0);
    env_loop_run(s_loop);
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    env_loop_counts_t counts = env_loop_counts(s_loop);
    (void)printf("server: %" PRIu64 " messages in %" PRIu64 " turns, longest %.1f ms, "
                 "%ld.%03ld s user %ld.%03ld s system\n",
                 counts.messages, counts.turns, (double)counts.longest_turn_ns / 1e6,
                 (long)usage.ru_utime.tv_sec, (long)usage.ru_utime.tv_usec / 1000,
                 (long)usage.ru_stime.tv_sec, (long)usage.ru_stime.tv_usec / 1000);
    env_router_close(&s_router);
    env_loop_destroy(&s_loop);
    env_zmq_stop();
    return fflush(stdout) == 0 ? 0 : 1;
}

/* -- the client -------------------------------------------------------------------------------- */

static struct {
    env_peer_t *peer;
    slice_t body;
    uint64_t sent_count;
    uint64_t answered_count;
    uint64_t window_count; /* messages under way */
    bool is_stopping;
    int64_t sent_ns; /* of the last message, with a window of one */
    uint32_t sample_count;
    int64_t samples_ns[SAMPLE_COUNT_MAX];
} s_client;

static void s_ask(void)
{
    static const env_target_t s_target = {"target-1"};
    while (!s_client.is_stopping &&
           s_client.sent_count - s_client.answered_count < s_client.window_count) {
        s_client.sent_ns = s_client.window_count == 1 ? env_clock_now().mono_ns : 0;
        if (env_peer_send(s_client.peer, s_target, s_client.body) != ERR_OK) {
            return;
        }
        s_client.sent_count++;
    }
}

static void s_on_answer(void *context, env_target_t from, slice_t body)
{
    (void)context;
    (void)from;
    CHECK(body.size == s_client.body.size);
    s_client.answered_count++;
    if (s_client.window_count == 1 && s_client.sample_count < SAMPLE_COUNT_MAX) {
        s_client.samples_ns[s_client.sample_count++] = env_clock_now().mono_ns - s_client.sent_ns;
    }
    s_ask();
}

static int s_compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static double s_percentile_us(double part)
{
    if (s_client.sample_count == 0) {
        return 0;
    }
    return (double)s_client.samples_ns[(uint32_t)(part * (s_client.sample_count - 1))] / 1e3;
}

static void s_run(env_loop_t *loop, size_t body_size, uint64_t window_count, double seconds)
{
    static uint8_t s_bytes[BODY_SIZE_MAX];
    s_client.body = slice_make(s_bytes, body_size);
    s_client.window_count = window_count;
    s_client.sent_count = 0;
    s_client.answered_count = 0;
    s_client.sample_count = 0;
    s_client.is_stopping = false;
    int64_t start_ns = env_clock_now().mono_ns;
    int64_t end_ns = start_ns + (int64_t)(seconds * ENV_NS_PER_S);
    s_ask();
    while (env_loop_now(loop).mono_ns < end_ns) {
        env_loop_turn(loop, 10);
    }
    s_client.is_stopping = true;
    int64_t drained_ns = end_ns + 5 * (int64_t)ENV_NS_PER_S;
    while (s_client.answered_count < s_client.sent_count &&
           env_loop_now(loop).mono_ns < drained_ns) {
        env_loop_turn(loop, 10);
    }
    double took_s = (double)(env_loop_now(loop).mono_ns - start_ns) / 1e9;
    double rate = (double)s_client.answered_count / took_s;
    (void)printf("%8zu bytes  window %5" PRIu64 "  %10.0f round trips/s  %8.1f MB/s each way",
                 body_size, window_count, rate, rate * (double)body_size / 1e6);
    if (window_count == 1) {
        qsort(s_client.samples_ns, s_client.sample_count, sizeof(int64_t), s_compare);
        (void)printf("  p50 %.1f us  p99 %.1f us", s_percentile_us(0.5), s_percentile_us(0.99));
    }
    (void)printf("%s\n", s_client.answered_count < s_client.sent_count ? "  ANSWERS MISSING" : "");
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1.0;
    int ends[2];
    CHECK(seconds > 0);
    CHECK(pipe(ends) == 0);
    pid_t child = fork(); /* before ZeroMQ has threads */
    CHECK(child >= 0);
    if (child == 0) {
        return s_serve(ends[1]);
    }
    char endpoint[ENDPOINT_SIZE_MAX] = "";
    CHECK(read(ends[0], endpoint, sizeof(endpoint) - 1) > 0);
    env_loop_block_signals();
    CHECK(env_zmq_start(NULL) == ERR_OK);
    env_loop_t *loop = env_loop_new(&(env_loop_options_t){.context = NULL});
    env_peer_options_t options = {
        .endpoint = endpoint, .queue_size_bytes = QUEUE_SIZE, .on_message = s_on_answer};
    CHECK(env_peer_open(loop, &options, &s_client.peer, NULL) == ERR_OK);
    static const size_t s_sizes[] = {64, 1024, 65536, BODY_SIZE_MAX};
    for (unsigned i = 0; i < 4; i++) {
        s_run(loop, s_sizes[i], 1, seconds);
        s_run(loop, s_sizes[i], s_sizes[i] >= 65536 ? 32 : 1000, seconds);
    }
    env_peer_close(&s_client.peer);
    env_loop_destroy(&loop);
    env_zmq_stop();
    CHECK(kill(child, SIGTERM) == 0);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return status == 0 ? 0 : 1;
}
