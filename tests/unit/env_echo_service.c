/* The smallest service, for tests of env_process: a node that echoes what other processes send.
 *
 *   shard 0   [1, ...] is answered once with itself; [2] twice; [3] is published back under "echo";
 *             [4]: the next end of a turn reports lost durability
 *   shard 1   never says that it has stopped
 *   shard 2   does not start: its files are damaged */
#include "common/env/env_process.h"

#include "common/base/check.h"

#include <stdlib.h>

typedef struct {
    env_process_t *process;
    bool has_lost;
    uint64_t table_count;
} echo_t;

static err_t s_open(env_process_t *process, void **ret_context, errbuf_t *errbuf)
{
    if (env_process_address(process).shard.value == 2) {
        errbuf_set(errbuf, "segment 17: expected magic TMS1, found zeros: restore it");
        return ERR_CORRUPT;
    }
    echo_t *echo = calloc(1, sizeof(*echo));
    CHECK(echo != NULL);
    echo->process = process;
    *ret_context = echo;
    return ERR_OK;
}

static void s_close(void *context)
{
    free(context);
}

static void s_on_request(void *context, uint64_t reply_to, slice_t body, now_t now)
{
    (void)now;
    echo_t *echo = context;
    const net_t *net = env_net_seam(env_process_net(echo->process));
    uint8_t what = body.size > 1 ? body.data[1] : 0;
    echo->has_lost = what == 4;
    if (what == 3) {
        net->publish(net->context, "echo", body.data, body.size);
    }
    for (int i = 0; i < (what == 2 ? 2 : 1) && what <= 2; i++) {
        (void)net->reply(net->context, reply_to, body.data, body.size);
    }
    net->forget(net->context, reply_to);
}

static void s_on_published(void *context, slice_t topic, slice_t body, now_t now)
{
    (void)topic;
    (void)body;
    (void)now;
    echo_t *echo = context;
    echo->table_count++;
}

static err_t s_on_turn_end(void *context, now_t now, errbuf_t *errbuf)
{
    (void)now;
    echo_t *echo = context;
    if (echo->has_lost) {
        errbuf_set(errbuf, "sync 00000000000000000001.seg: Input/output error");
        return ERR_IO;
    }
    return ERR_OK;
}

static uint32_t s_metrics(void *context, msg_metric_t *ret_metrics, uint32_t count_max)
{
    echo_t *echo = context;
    CHECK(count_max >= 1);
    ret_metrics[0] =
        (msg_metric_t){.name = slice_text("echo_tables"), .value = (double)echo->table_count};
    return 1;
}

static bool s_on_stop(void *context, now_t now)
{
    (void)now;
    echo_t *echo = context;
    return env_process_address(echo->process).shard.value != 1;
}

int main(int argc, char **argv)
{
    static const env_service_t s_service = {
        .kind = PROCESS_NODE,
        .program = "env_echo_service",
        .open = s_open,
        .close = s_close,
        .on_request = s_on_request,
        .on_published = s_on_published,
        .on_turn_end = s_on_turn_end,
        .metrics = s_metrics,
        .on_stop = s_on_stop,
    };
    return env_process_main(argc, argv, &s_service);
}
