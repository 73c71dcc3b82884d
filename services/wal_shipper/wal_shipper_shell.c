#include "services/wal_shipper/wal_shipper_shell.h"

#include "common/base/check.h"
#include "common/engine/shipper_engine.h"

#include <stdlib.h>

typedef struct {
    env_process_t *process;
    engine_env_t env; /* borrowed by the engine */
    shipper_engine_t *engine;
} s_shell_t;

static void s_close(void *context)
{
    s_shell_t *self = context;
    shipper_engine_close(&self->engine);
    free(self);
}

/* The region's nodes announce how far their logs are durable, its receiver how far replicas are. */
static err_t s_listen(s_shell_t *self)
{
    const topology_t *topology = env_process_topology(self->process);
    region_id_t region = env_process_address(self->process).region;
    for (uint16_t shard = 0; shard < topology->shard_count; shard++) {
        err_t err =
            env_process_listen(self->process, (process_address_t){PROCESS_NODE, region, {shard}});
        if (err != ERR_OK) {
            return err;
        }
    }
    process_address_t receiver = {PROCESS_RECEIVER, region, {0}};
    if (topology_has_process(topology, receiver)) {
        err_t err = env_process_listen(self->process, receiver);
        if (err != ERR_OK) {
            return err;
        }
    }
    env_process_add_topic(self->process, ENGINE_TOPIC_POSITIONS);
    env_process_add_topic(self->process, ENGINE_TOPIC_AVAILABLE);
    return ERR_OK;
}

static err_t s_open(env_process_t *process, void **ret_context, errbuf_t *errbuf)
{
    s_shell_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->process = process;
    self->env = env_process_engine_env(process);
    err_t err = shipper_engine_open(&self->env, &self->engine, errbuf);
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

static void s_on_reply(void *context, process_address_t from, slice_t body, now_t now)
{
    (void)from;
    s_shell_t *self = context;
    shipper_engine_message(self->engine, body, now);
}

static void s_on_published(void *context, slice_t topic, slice_t body, now_t now)
{
    (void)topic;
    s_shell_t *self = context;
    shipper_engine_published(self->engine, body, now);
}

static err_t s_on_turn_end(void *context, now_t now, errbuf_t *errbuf)
{
    (void)errbuf;
    s_shell_t *self = context;
    shipper_engine_turn_end(self->engine, now);
    return ERR_OK;
}

static int64_t s_next_deadline_ns(void *context)
{
    const s_shell_t *self = context;
    return shipper_engine_deadline_ns(self->engine);
}

static void s_on_deadline(void *context, now_t now)
{
    s_shell_t *self = context;
    shipper_engine_tick(self->engine, now);
}

static void s_fill_heartbeat(void *context, msg_heartbeat_t *heartbeat, now_t now)
{
    (void)now;
    const s_shell_t *self = context;
    heartbeat->table_version = shipper_engine_table_version(self->engine);
}

static bool s_is_ready(void *context, const char **ret_reason)
{
    const s_shell_t *self = context;
    return shipper_engine_is_ready(self->engine, ret_reason);
}

static uint32_t s_metrics(void *context, msg_metric_t *ret_metrics, uint32_t count_max)
{
    const s_shell_t *self = context;
    return shipper_engine_metrics(self->engine, ret_metrics, count_max);
}

const env_service_t *wal_shipper_service(void)
{
    static const env_service_t s_service = {
        .kind = PROCESS_SHIPPER,
        .program = "tidal_wal_shipper",
        .open = s_open,
        .close = s_close,
        .on_reply = s_on_reply,
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
