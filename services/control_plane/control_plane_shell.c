#include "services/control_plane/control_plane_shell.h"

#include "common/base/check.h"
#include "common/cluster/control_engine.h"
#include "common/wire/client_reply.h"

#include <stdlib.h>

typedef struct {
    env_process_t *process;
    engine_env_t env; /* borrowed by the engine */
    control_engine_t *engine;
} s_shell_t;

static void s_close(void *context)
{
    s_shell_t *self = context;
    control_engine_close(&self->engine);
    free(self);
}

/* Every process of the mesh publishes heartbeats. */
static err_t s_listen(s_shell_t *self)
{
    const topology_t *topology = env_process_topology(self->process);
    for (uint32_t i = 0; i < topology_process_count(topology); i++) {
        process_address_t process = topology_process(topology, i);
        if (process.kind == PROCESS_CONTROL) {
            continue;
        }
        err_t err = env_process_listen(self->process, process);
        if (err != ERR_OK) {
            return err;
        }
    }
    env_process_add_topic(self->process, ENGINE_TOPIC_HEARTBEAT);
    return ERR_OK;
}

static err_t s_open(env_process_t *process, void **ret_context, errbuf_t *errbuf)
{
    s_shell_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->process = process;
    self->env = env_process_engine_env(process);
    err_t err = control_engine_open(&self->env, env_loop_now(env_process_loop(process)),
                                    &self->engine, errbuf);
    if (err == ERR_OK) {
        err = s_listen(self);
    }
    if (err != ERR_OK) {
        s_close(self);
        return err;
    }
    *ret_context = self;
    return ERR_OK;
}

static void s_on_request(void *context, uint64_t reply_to, slice_t body, now_t now)
{
    s_shell_t *self = context;
    control_engine_message(self->engine, reply_to, body, now);
}

static void s_on_client(void *context,
                        uint64_t reply_to,
                        const client_request_t *request,
                        now_t now)
{
    s_shell_t *self = context;
    buffer_t out;
    errbuf_t errbuf = {{0}};
    buffer_init(&out);
    if (control_engine_client(self->engine, request, &out, now)) {
        env_process_reply(self->process, reply_to, &out);
    } else {
        (void)client_op_is_served(request->op, PROCESS_CONTROL, &errbuf);
        env_process_refuse(self->process, reply_to, request->id, CODE_UNKNOWN_OP, errbuf.text);
    }
    buffer_done(&out);
}

static void s_on_published(void *context, slice_t topic, slice_t body, now_t now)
{
    (void)topic;
    s_shell_t *self = context;
    control_engine_published(self->engine, body, now);
}

static err_t s_on_turn_end(void *context, now_t now, errbuf_t *errbuf)
{
    s_shell_t *self = context;
    return control_engine_turn_end(self->engine, now, errbuf);
}

static int64_t s_next_deadline_ns(void *context)
{
    const s_shell_t *self = context;
    return control_engine_deadline_ns(self->engine);
}

static void s_on_deadline(void *context, now_t now)
{
    s_shell_t *self = context;
    control_engine_tick(self->engine, now);
}

static void s_fill_heartbeat(void *context, msg_heartbeat_t *heartbeat, now_t now)
{
    (void)now;
    const s_shell_t *self = context;
    heartbeat->table_version = control_engine_table_version(self->engine);
}

static uint32_t s_metrics(void *context, msg_metric_t *ret_metrics, uint32_t count_max)
{
    const s_shell_t *self = context;
    return control_engine_metrics(self->engine, ret_metrics, count_max);
}

const env_service_t *control_plane_service(void)
{
    static const env_service_t s_service = {
        .kind = PROCESS_CONTROL,
        .program = "tidal_control_plane",
        .open = s_open,
        .close = s_close,
        .on_request = s_on_request,
        .on_published = s_on_published,
        .on_client = s_on_client,
        .on_turn_end = s_on_turn_end,
        .next_deadline_ns = s_next_deadline_ns,
        .on_deadline = s_on_deadline,
        .fill_heartbeat = s_fill_heartbeat,
        .metrics = s_metrics,
    };
    return &s_service;
}
