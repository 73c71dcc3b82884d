#include "services/gateway/gateway_shell.h"

#include "common/base/check.h"
#include "common/gateway/gateway_engine.h"

#include <stdlib.h>

/* After the first signal to stop: what is under way has this long to come to its own end. */
enum { S_DRAIN_MS = 1500 };

typedef struct {
    env_process_t *process;
    engine_env_t env; /* borrowed by the engine */
    gateway_engine_t *engine;
    int64_t stop_ns; /* when a stop was asked for; 0 not yet */
    msg_peer_t peers[REGION_COUNT_MAX];
} s_shell_t;

static bool s_answer(void *context, uint64_t reply_to, const client_request_t *request)
{
    s_shell_t *self = context;
    return env_process_answer(self->process, reply_to, request);
}

static void s_close(void *context)
{
    s_shell_t *self = context;
    gateway_engine_close(&self->engine);
    free(self);
}

/* Connections to all nodes are made before the first request needs them. */
static void s_connect(s_shell_t *self)
{
    const topology_t *topology = env_process_topology(self->process);
    for (uint32_t i = 0; i < topology_process_count(topology); i++) {
        process_address_t process = topology_process(topology, i);
        if (process.kind == PROCESS_NODE || process.kind == PROCESS_CONTROL) {
            /* Every two places have a link for requests: the topology was checked. */
            CHECK(env_net_connect(env_process_net(self->process), process) == ERR_OK);
        }
    }
}

static err_t s_open(env_process_t *process, void **ret_context, errbuf_t *errbuf)
{
    s_shell_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->process = process;
    self->env = env_process_engine_env(process);
    gateway_engine_options_t options = {
        .version = TIDAL_VERSION, .answer = s_answer, .context = self};
    s_connect(self);
    err_t err = gateway_engine_open(&self->env, &options, env_loop_now(env_process_loop(process)),
                                    &self->engine, errbuf);
    if (err != ERR_OK) {
        s_close(self);
        return err;
    }
    *ret_context = self;
    return ERR_OK;
}

static void s_on_client_body(void *context, uint64_t reply_to, slice_t body, now_t now)
{
    s_shell_t *self = context;
    gateway_engine_message(self->engine, reply_to, body, now);
}

static void s_on_reply(void *context, process_address_t from, slice_t body, now_t now)
{
    s_shell_t *self = context;
    gateway_engine_message_from_node(self->engine, from, body, now);
}

static void s_on_published(void *context, slice_t topic, slice_t body, now_t now)
{
    s_shell_t *self = context;
    (void)topic; /* it listens to the routing table alone */
    gateway_engine_published(self->engine, body, now);
}

static err_t s_on_turn_end(void *context, now_t now, errbuf_t *errbuf)
{
    s_shell_t *self = context;
    (void)errbuf;
    gateway_engine_turn_end(self->engine, now);
    return ERR_OK;
}

static int64_t s_next_deadline_ns(void *context)
{
    const s_shell_t *self = context;
    return gateway_engine_deadline_ns(self->engine);
}

static void s_on_deadline(void *context, now_t now)
{
    s_shell_t *self = context;
    gateway_engine_tick(self->engine, now);
}

static void s_fill_heartbeat(void *context, msg_heartbeat_t *heartbeat, now_t now)
{
    s_shell_t *self = context;
    heartbeat->table_version = gateway_engine_table_version(self->engine);
    heartbeat->peer_count = gateway_engine_peers(self->engine, now, self->peers);
    heartbeat->peers = self->peers;
}

static bool s_is_ready(void *context, const char **ret_reason)
{
    const s_shell_t *self = context;
    return gateway_engine_is_ready(self->engine, ret_reason);
}

static uint32_t s_metrics(void *context, msg_metric_t *ret_metrics, uint32_t count_max)
{
    const s_shell_t *self = context;
    return gateway_engine_metrics(self->engine, ret_metrics, count_max);
}

static bool s_on_stop(void *context, now_t now)
{
    s_shell_t *self = context;
    if (self->stop_ns == 0) {
        self->stop_ns = now.mono_ns;
    }
    if (now.mono_ns - self->stop_ns >= (int64_t)S_DRAIN_MS * ENGINE_NS_PER_MS) {
        gateway_engine_drain(self->engine, now);
    }
    return gateway_engine_inflight(self->engine) == 0;
}

const env_service_t *gateway_service(void)
{
    static const env_service_t s_service = {
        .kind = PROCESS_GATEWAY,
        .program = "tidal_gateway",
        .open = s_open,
        .close = s_close,
        .on_client_body = s_on_client_body,
        .on_reply = s_on_reply,
        .on_published = s_on_published,
        .on_turn_end = s_on_turn_end,
        .next_deadline_ns = s_next_deadline_ns,
        .on_deadline = s_on_deadline,
        .fill_heartbeat = s_fill_heartbeat,
        .is_ready = s_is_ready,
        .metrics = s_metrics,
        .on_stop = s_on_stop,
    };
    return &s_service;
}
