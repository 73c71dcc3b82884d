#include "common/env/env_process_metrics.h"

#include "common/base/check.h"

#include <sys/resource.h>

typedef struct {
    msg_metric_t *metrics;
    uint32_t count;
} list_t;

static void s_put(list_t *list, const char *name, double value)
{
    CHECK(list->count < ENV_PROCESS_OWN_METRIC_COUNT);
    list->metrics[list->count++] =
        (msg_metric_t){.name = slice_make(name, strlen(name)), .value = value};
}

static double s_seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void s_put_process(list_t *list, const env_loop_t *loop)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    env_loop_counts_t counts = env_loop_counts(loop);
    s_put(list, "process_cpu_s", s_seconds(usage.ru_utime) + s_seconds(usage.ru_stime));
    s_put(list, "process_memory_max_bytes", (double)usage.ru_maxrss * 1024);
    s_put(list, "loop_turns", (double)counts.turns);
    s_put(list, "loop_messages", (double)counts.messages);
    s_put(list, "loop_batches_cut_short", (double)counts.batches_cut_short);
    s_put(list, "loop_longest_turn_us", (double)counts.longest_turn_ns / 1e3);
}

static void s_put_router(list_t *list, const env_router_t *router)
{
    env_router_counts_t counts = env_router_counts(router);
    s_put(list, "router_received", (double)counts.received);
    s_put(list, "router_replied", (double)counts.replied);
    s_put(list, "router_open", (double)counts.open);
    s_put(list, "router_refused_malformed", (double)counts.refused_malformed);
    s_put(list, "router_refused_full", (double)counts.refused_full);
    s_put(list, "router_reply_full", (double)counts.reply_full);
    s_put(list, "router_reply_unreachable", (double)counts.reply_unreachable);
    s_put(list, "router_expired", (double)counts.expired);
}

uint32_t env_process_metrics(const env_loop_t *loop, env_net_t *net, msg_metric_t *ret_metrics)
{
    list_t list = {.metrics = ret_metrics};
    s_put_process(&list, loop);
    if (env_net_router(net) != NULL) {
        s_put_router(&list, env_net_router(net));
        s_put(&list, "publisher_published",
              (double)env_publisher_published_count(env_net_publisher(net)));
    }
    env_net_counts_t counts = env_net_counts(net);
    s_put(&list, "net_sent", (double)counts.sent);
    s_put(&list, "net_send_full", (double)counts.send_full);
    s_put(&list, "net_send_unreachable", (double)counts.send_unreachable);
    s_put(&list, "net_send_unknown", (double)counts.send_unknown);
    s_put(&list, "net_misaddressed", (double)counts.misaddressed);
    s_put(&list, "net_received", (double)counts.received);
    s_put(&list, "net_peers", (double)counts.peers);
    s_put(&list, "net_peers_up", (double)counts.peers_up);
    s_put(&list, "net_recreated", (double)counts.recreated);
    return list.count;
}
