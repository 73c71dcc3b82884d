#include "services/shard_node/shard_node_shell.h"

#include "common/base/check.h"
#include "common/engine/node_engine.h"
#include "common/engine/replica.h"
#include "common/env/env_clock.h"
#include "common/env/env_log.h"
#include "common/store/store_lmdb.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    S_DRAIN_MS = 500, /* for confirmations of what was logged; other processes may be gone */
    S_QUIET_MS = 20 /* without a request: none is on its way, to end as maybe, when the node ends */
};

typedef struct {
    env_process_t *process;
    engine_env_t env; /* borrowed by the engine */
    store_lmdb_t *lmdb;
    store_t store;
    env_source_t *store_source;
    node_engine_t *engine;
    int64_t stop_ns;    /* since when it stops; 0: it does not */
    bool is_answered;   /* while it stops: nothing waits any more */
    int64_t request_ns; /* when the last request came */
} s_shell_t;

/* The checkpoint's commit is done; the end of the turn looks at it. */
static void s_on_store(void *context)
{
    (void)context;
}

static void s_close(void *context)
{
    s_shell_t *self = context;
    node_engine_close(&self->engine);
    if (self->store_source != NULL) {
        env_source_remove(&self->store_source);
    }
    store_lmdb_close(&self->lmdb);
    free(self);
}

static err_t s_open_store(s_shell_t *self, errbuf_t *errbuf)
{
    const topology_t *topology = env_process_topology(self->process);
    process_address_t address = env_process_address(self->process);
    const disk_t *disk = env_process_disk(self->process);
    char folder[WAL_PATH_SIZE_MAX];
    (void)snprintf(folder, sizeof(folder), "%s/%s/shard-%u", env_process_data_folder(self->process),
                   topology_place_name(topology, address.region), (unsigned)address.shard.value);
    err_t err = disk->make_folders(disk->context, folder, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    char store[WAL_PATH_SIZE_MAX + 8];
    (void)snprintf(store, sizeof(store), "%s/store", folder);
    store_lmdb_options_t options = {
        .folder = store,
        .map_size_bytes = topology->checkpoint.store_size_bytes,
        .content_version = REPLICA_CONTENT_VERSION,
    };
    err = store_lmdb_open(&options, &self->lmdb, errbuf);
    if (err == ERR_OK) {
        self->store = store_lmdb_store(self->lmdb);
        self->store_source = env_loop_add_fd(env_process_loop(self->process),
                                             store_lmdb_event_fd(self->lmdb), s_on_store, self);
    }
    return err;
}

static err_t s_listen(s_shell_t *self, errbuf_t *errbuf)
{
    region_id_t region = env_process_address(self->process).region;
    const process_kind_t kinds[] = {PROCESS_RECEIVER, PROCESS_SHIPPER};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        process_address_t publisher = {kinds[i], region, {0}};
        if (!topology_has_process(env_process_topology(self->process), publisher)) {
            continue;
        }
        err_t err = env_process_listen(self->process, publisher);
        if (err != ERR_OK) {
            errbuf_set(errbuf, "listen to the region's %s", process_kind_name(kinds[i]));
            return err;
        }
    }
    char topic[ENGINE_TOPIC_SIZE];
    shard_id_t shard = env_process_address(self->process).shard;
    env_process_add_topic(self->process, ENGINE_TOPIC_AVAILABLE ENGINE_TOPIC_ALL);
    env_process_add_topic(self->process, engine_shard_topic(ENGINE_TOPIC_AVAILABLE, shard, topic));
    env_process_add_topic(self->process, ENGINE_TOPIC_CONFIRMED ENGINE_TOPIC_ALL);
    env_process_add_topic(self->process, engine_shard_topic(ENGINE_TOPIC_CONFIRMED, shard, topic));
    return ERR_OK;
}

static err_t s_open(env_process_t *process, void **ret_context, errbuf_t *errbuf)
{
    s_shell_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->process = process;
    self->env = env_process_engine_env(process);
    err_t err = s_open_store(self, errbuf);
    if (err == ERR_OK) {
        err = node_engine_open(&self->env, &self->store, env_loop_now(env_process_loop(process)),
                               &self->engine, errbuf);
    }
    if (err == ERR_OK) {
        err = s_listen(self, errbuf);
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
    self->request_ns = now.mono_ns;
    node_engine_message(self->engine, reply_to, body, now);
}

static void s_on_reply(void *context, process_address_t from, slice_t body, now_t now)
{
    (void)from;
    s_shell_t *self = context;
    node_engine_message(self->engine, 0, body, now);
}

static void s_on_published(void *context, slice_t topic, slice_t body, now_t now)
{
    (void)topic;
    s_shell_t *self = context;
    node_engine_published(self->engine, body, now);
}

static err_t s_on_turn_end(void *context, now_t now, errbuf_t *errbuf)
{
    s_shell_t *self = context;
    if (node_engine_deadline_ns(self->engine) <= now.mono_ns) {
        err_t err = node_engine_tick(self->engine, now, errbuf);
        if (err != ERR_OK) {
            return err;
        }
    }
    return node_engine_turn_end(self->engine, now, errbuf);
}

/* When a node that stops has been quiet. */
static int64_t s_quiet_ns(const s_shell_t *self)
{
    int64_t since_ns = self->request_ns > self->stop_ns ? self->request_ns : self->stop_ns;
    return since_ns + (int64_t)S_QUIET_MS * ENGINE_NS_PER_MS;
}

static int64_t s_next_deadline_ns(void *context)
{
    const s_shell_t *self = context;
    int64_t deadline_ns = node_engine_deadline_ns(self->engine);
    bool is_quiet_first = self->is_answered && s_quiet_ns(self) < deadline_ns;
    return is_quiet_first ? s_quiet_ns(self) : deadline_ns;
}

static void s_on_deadline(void *context, now_t now)
{
    (void)context;
    (void)now; /* the end of the turn ticks, for only there errors can end the process */
}

static void s_fill_heartbeat(void *context, msg_heartbeat_t *heartbeat, now_t now)
{
    s_shell_t *self = context;
    heartbeat->table_version = node_engine_table_version(self->engine);
    heartbeat->state_count = node_engine_states(self->engine, now, &heartbeat->states);
}

static bool s_is_ready(void *context, const char **ret_reason)
{
    const s_shell_t *self = context;
    return node_engine_is_ready(self->engine, ret_reason);
}

static uint32_t s_metrics(void *context, msg_metric_t *ret_metrics, uint32_t count_max)
{
    const s_shell_t *self = context;
    return node_engine_metrics(self->engine, ret_metrics, count_max);
}

/* What is logged is answered; what is not is refused, and the gateways repeat it elsewhere. */
static bool s_on_stop(void *context, now_t now)
{
    s_shell_t *self = context;
    if (self->stop_ns == 0) {
        self->stop_ns = now.mono_ns;
    }
    self->is_answered = node_engine_stop(self->engine);
    return (self->is_answered && now.mono_ns >= s_quiet_ns(self)) ||
           now.mono_ns - self->stop_ns >= (int64_t)S_DRAIN_MS * ENGINE_NS_PER_MS;
}

const env_service_t *shard_node_service(void)
{
    static const env_service_t s_service = {
        .kind = PROCESS_NODE,
        .program = "tidal_shard_node",
        .open = s_open,
        .close = s_close,
        .on_request = s_on_request,
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
