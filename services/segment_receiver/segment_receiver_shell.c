#include "services/segment_receiver/segment_receiver_shell.h"

#include "common/base/check.h"
#include "common/engine/receiver_engine.h"

#include <stdlib.h>

typedef struct {
    env_process_t *process;
    engine_env_t env; /* borrowed by the engine */
    receiver_engine_t *engine;
} s_shell_t;

static void s_close(void *context)
{
    s_shell_t *self = context;
    receiver_engine_close(&self->engine);
    free(self);
}

static err_t s_open(env_process_t *process, void **ret_context, errbuf_t *errbuf)
{
    s_shell_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->process = process;
    self->env = env_process_engine_env(process);
    err_t err = receiver_engine_open(&self->env, &self->engine, errbuf);
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
    receiver_engine_message(self->engine, reply_to, body, now);
}

static void s_on_published(void *context, slice_t topic, slice_t body, now_t now)
{
    (void)topic;
    s_shell_t *self = context;
    receiver_engine_published(self->engine, body, now);
}

static err_t s_on_turn_end(void *context, now_t now, errbuf_t *errbuf)
{
    s_shell_t *self = context;
    return receiver_engine_turn_end(self->engine, now, errbuf);
}

static int64_t s_next_deadline_ns(void *context)
{
    const s_shell_t *self = context;
    return receiver_engine_deadline_ns(self->engine);
}

static void s_on_deadline(void *context, now_t now)
{
    s_shell_t *self = context;
    receiver_engine_tick(self->engine, now);
}

static void s_fill_heartbeat(void *context, msg_heartbeat_t *heartbeat, now_t now)
{
    (void)now;
    const s_shell_t *self = context;
    heartbeat->table_version = receiver_engine_table_version(self->engine);
}

static bool s_is_ready(void *context, const char **ret_reason)
{
    const s_shell_t *self = context;
    return receiver_engine_is_ready(self->engine, ret_reason);
}

static uint32_t s_metrics(void *context, msg_metric_t *ret_metrics, uint32_t count_max)
{
    const s_shell_t *self = context;
    return receiver_engine_metrics(self->engine, ret_metrics, count_max);
}

const env_service_t *segment_receiver_service(void)
{
    static const env_service_t s_service = {
        .kind = PROCESS_RECEIVER,
        .program = "tidal_segment_receiver",
        .open = s_open,
        .close = s_close,
        .on_request = s_on_request,
        .on_published = s_on_published,
        .on_turn_end = s_on_turn_end,
        .next_deadline_ns = s_next_deadline_ns,
        .on_deadline = s_on_deadline,
        .fill_heartbeat = s_fill_heartbeat,
        .is_ready = s_is_ready,
        .metrics = s_metrics,
    };
    return &s_service;
}
