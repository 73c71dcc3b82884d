/* What the partition proxy costs: a shipper of one region sends to the receiver of another, which
 * answers each message with a short one, through the proxy and then directly; three processes.
 *
 *   bench_proxy [seconds per case, default 1] [first of 320 free ports, default 27000] */
#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/env/env_net.h"
#include "common/env/env_zmq.h"
#include "services/partition_proxy/proxy_switch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BODY_SIZE_MAX = 1024 * 1024, ANSWER_SIZE = 40, PORT_DEFAULT = 27000 };

static topology_t s_topology;
static env_loop_t *s_loop;
static env_net_t *s_net;
static proxy_switch_t *s_ways;
static uint64_t s_message_count;

static const process_address_t s_shipper = {.kind = PROCESS_SHIPPER, .region = {1}};
static const process_address_t s_tool = {.kind = PROCESS_TOOL, .region = {1}};
static const process_address_t s_receiver = {.kind = PROCESS_RECEIVER, .region = {2}};

static void s_set_ports(uint16_t port)
{
    topology_init_default(&s_topology, 2, 1);
    s_topology.control.port = port;
    s_topology.control.publish_port = (uint16_t)(port + 1);
    s_topology.proxy.port = (uint16_t)(port + 2);
    s_topology.proxy.publish_port = (uint16_t)(port + 3);
    s_topology.proxy.link_port_base = (uint16_t)(port + 4);
    for (unsigned i = 0; i < 2; i++) {
        s_topology.regions[i].gateway_port = (uint16_t)(port + 100 * (i + 1));
        s_topology.regions[i].port_base = (uint16_t)(port + 100 * (i + 1) + 1);
    }
}

/* -- the other processes ----------------------------------------------------------------------- */

static void s_on_signal(void *context, int signal_number)
{
    (void)context;
    (void)signal_number;
    env_loop_stop(s_loop);
}

static void s_start(void)
{
    env_loop_block_signals();
    CHECK(env_zmq_start(NULL) == ERR_OK);
    s_loop = env_loop_new(&(env_loop_options_t){.context = NULL});
}

static double s_cpu_s(void)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int s_run_proxy(void)
{
    s_start();
    env_loop_on_signals(s_loop, s_on_signal, NULL);
    CHECK(proxy_switch_open(s_loop, &s_topology, 1, &s_ways, NULL) == ERR_OK);
    env_loop_run(s_loop);
    link_id_t there = {.from = {1}, .to = {2}};
    const link_counters_t *counters = link_rules_counters(proxy_switch_rules(s_ways), there);
    (void)printf("proxy: %.0f messages there, %.2f us CPU per message there and back\n",
                 (double)counters->forwarded_count,
                 s_cpu_s() * 1e6 / (double)counters->forwarded_count);
    proxy_switch_close(&s_ways);
    env_loop_destroy(&s_loop);
    env_zmq_stop();
    return fflush(stdout) == 0 ? 0 : 1;
}

static void s_on_request(void *context, uint64_t reply_to, slice_t body)
{
    static const uint8_t s_answer[ANSWER_SIZE] = {0x91};
    (void)context;
    (void)body;
    const net_t *seam = env_net_seam(s_net);
    (void)seam->reply(seam->context, reply_to, s_answer, sizeof(s_answer)); /* lost: told below */
    seam->forget(seam->context, reply_to);
}

static void s_on_reply(void *context, process_address_t from, slice_t body)
{
    (void)context;
    (void)from;
    (void)body;
    s_message_count++;
}

static void s_on_refused(void *context, uint64_t reply_to, err_t err)
{
    (void)context;
    (void)reply_to;
    (void)err;
}

static void s_open_net(process_address_t self)
{
    env_net_options_t options = {.loop = s_loop,
                                 .topology = &s_topology,
                                 .self = self,
                                 .on_request = s_on_request,
                                 .on_client = s_on_request,
                                 .on_refused = s_on_refused,
                                 .on_reply = s_on_reply};
    CHECK(env_net_open(&options, &s_net, NULL) == ERR_OK);
}

static int s_run_receiver(void)
{
    s_start();
    env_loop_on_signals(s_loop, s_on_signal, NULL);
    s_open_net(s_receiver);
    env_loop_run(s_loop);
    env_net_close(&s_net);
    env_loop_destroy(&s_loop);
    env_zmq_stop();
    return 0;
}

static pid_t s_fork(int (*run)(void))
{
    pid_t child = fork(); /* before ZeroMQ has threads */
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        exit(run()); /* one thread again. NOLINT(concurrency-mt-unsafe) */
    }
    return child;
}

static int s_stop(pid_t child)
{
    int status = 0;
    CHECK(kill(child, SIGTERM) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

/* -- the shipper ------------------------------------------------------------------------------- */

static void s_run_case(size_t size, uint64_t window_count, double seconds, const char *way)
{
    static uint8_t s_body[BODY_SIZE_MAX] = {0x91};
    const net_t *seam = env_net_seam(s_net);
    uint64_t sent_count = 0;
    s_message_count = 0;
    int64_t start_ns = env_clock_now().mono_ns;
    int64_t end_ns = start_ns + (int64_t)(seconds * ENV_NS_PER_S);
    while (env_loop_now(s_loop).mono_ns < end_ns) {
        while (sent_count - s_message_count < window_count &&
               seam->send(seam->context, s_receiver, s_body, size) == ERR_OK) {
            sent_count++;
        }
        env_loop_turn(s_loop, 10);
    }
    double took_s = (double)(env_loop_now(s_loop).mono_ns - start_ns) / 1e9;
    double rate = (double)s_message_count / took_s;
    (void)printf(
        "%-9s %8zu bytes  window %4u  %9.0f messages/s answered  %8.1f MB/s  mean %8.1f us\n", way,
        size, (unsigned)window_count, rate, rate * (double)size / 1e6,
        (double)window_count / rate * 1e6);
    int64_t drained_ns = end_ns + 5 * (int64_t)ENV_NS_PER_S;
    while (s_message_count < sent_count && env_loop_now(s_loop).mono_ns < drained_ns) {
        env_loop_turn(s_loop, 10);
    }
    if (s_message_count < sent_count) {
        (void)printf("ANSWERS MISSING: %.0f\n", (double)(sent_count - s_message_count));
    }
    (void)fflush(stdout);
}

static void s_run_cases(bool has_proxy, double seconds)
{
    static const struct {
        size_t size;
        uint64_t window_count;
    } s_cases[] = {{100, 1},   {100, 200},  {4096, 1},         {4096, 200},
                   {65536, 1}, {65536, 32}, {BODY_SIZE_MAX, 8}};
    s_topology.has_proxy = has_proxy;
    /* A tool binds nothing: the ports of before may be taken yet. The receiver does not mind. */
    s_open_net(has_proxy ? s_shipper : s_tool);
    CHECK(env_net_connect(s_net, s_receiver) == ERR_OK);
    while (!env_net_is_up(s_net, s_receiver)) {
        env_loop_turn(s_loop, 10);
    }
    for (unsigned i = 0; i < sizeof(s_cases) / sizeof(s_cases[0]); i++) {
        s_run_case(s_cases[i].size, s_cases[i].window_count, seconds,
                   has_proxy ? "proxy" : "direct");
    }
    env_net_close(&s_net);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1.0;
    CHECK(seconds > 0);
    s_set_ports((uint16_t)(argc > 2 ? strtoul(argv[2], NULL, 10) : PORT_DEFAULT));
    pid_t proxy = s_fork(s_run_proxy);
    pid_t receiver = s_fork(s_run_receiver);
    s_start();
    s_run_cases(true, seconds);
    int status = s_stop(proxy);
    s_run_cases(false, seconds);
    status |= s_stop(receiver);
    env_loop_destroy(&s_loop);
    env_zmq_stop();
    return status == 0 ? 0 : 1;
}
