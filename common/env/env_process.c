#include "common/env/env_process.h"

#include "common/base/check.h"
#include "common/base/tick.h"
#include "common/env/disk_posix.h"
#include "common/env/env_arguments.h"
#include "common/env/env_clock.h"
#include "common/env/env_lock.h"
#include "common/env/env_log.h"
#include "common/env/env_process_metrics.h"
#include "common/env/env_subscriber.h"
#include "common/env/env_zmq.h"
#include "common/wire/client_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum { FOLDER_SIZE = 4096, REASON_SIZE = 256 };

struct env_process {
    const env_service_t *service;
    void *context; /* of the service; set when it is open */
    bool is_open;
    topology_t *topology;
    process_address_t address;
    char name[PROCESS_NAME_SIZE];
    char data_folder[FOLDER_SIZE];
    char own_folder[FOLDER_SIZE];
    uint64_t boot;
    uint64_t seed;
    env_lock_t *lock;
    disk_posix_t *disk;
    bool is_zmq_started;
    env_loop_t *loop;
    env_net_t *net;
    env_subscriber_t *subscriber;
    client_decoder_t *decoder;
    buffer_t out;
    int64_t started_ns;
    env_timer_t *heartbeat_timer;
    uint64_t heartbeat_number;
    bool was_ready;
    env_timer_t *stop_timer;
    bool is_stopping;
    bool is_ending;
    int exit_status;
    msg_metric_t metrics[ENV_PROCESS_METRIC_COUNT_MAX];
};

/* -- readiness and heartbeat ------------------------------------------------------------------- */

/* out ret_reason  empty when ready */
static bool s_is_ready(env_process_t *self, const char **ret_reason)
{
    *ret_reason = "";
    if (self->is_stopping) {
        *ret_reason = "stopping";
        return false;
    }
    bool is_ready =
        self->service->is_ready == NULL || self->service->is_ready(self->context, ret_reason);
    if (is_ready) {
        *ret_reason = "";
    }
    return is_ready;
}

static void s_log_readiness(env_process_t *self, now_t now)
{
    const char *reason = "";
    bool is_ready = s_is_ready(self, &reason);
    if (is_ready && !self->was_ready) {
        endpoint_t endpoint = {.text = ""};
        (void)topology_bind_endpoint(self->topology, self->address, SOCKET_REQUEST, &endpoint);
        ENV_LOG(ENV_LOG_INFO, "ready", env_log_text("endpoint", endpoint.text),
                env_log_u64("boot", self->boot),
                env_log_i64("after_ms", (now.mono_ns - self->started_ns) / ENV_NS_PER_MS));
    } else if (!is_ready && self->was_ready) {
        ENV_LOG(ENV_LOG_INFO, "not_ready", env_log_text("reason", reason));
    }
    self->was_ready = is_ready;
}

static uint32_t s_fill_metrics(env_process_t *self)
{
    uint32_t count = env_process_metrics(self->loop, self->net, self->metrics);
    if (self->service->metrics != NULL) {
        uint32_t left = ENV_PROCESS_METRIC_COUNT_MAX - count;
        uint32_t added = self->service->metrics(self->context, &self->metrics[count], left);
        CHECK(added <= left);
        count += added;
    }
    return count;
}

static void s_publish_heartbeat(env_process_t *self, now_t now)
{
    const char *reason = "";
    bool is_ready = s_is_ready(self, &reason);
    msg_t msg = {.type = MSG_HEARTBEAT};
    msg_heartbeat_t *heartbeat = &msg.as.heartbeat;
    *heartbeat = (msg_heartbeat_t){.from = self->address,
                                   .boot = self->boot,
                                   .publish_seq = ++self->heartbeat_number,
                                   .wall_ns = now.wall_ns,
                                   .ready = is_ready,
                                   .reasons = slice_make(reason, strnlen(reason, REASON_SIZE)),
                                   .metrics = self->metrics};
    heartbeat->metric_count = s_fill_metrics(self);
    if (self->service->fill_heartbeat != NULL) {
        self->service->fill_heartbeat(self->context, heartbeat, now);
    }
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    env_publisher_publish_buffer(env_net_publisher(self->net), ENGINE_TOPIC_HEARTBEAT, &self->out);
}

static void s_on_heartbeat(void *context, now_t now)
{
    env_process_t *self = context;
    /* Nodes are what a failover waits for; of the others the view may be a second old. */
    int64_t heartbeats = self->address.kind == PROCESS_NODE ? 2 : 4;
    int64_t interval_ns = heartbeats * (int64_t)self->topology->timing.heartbeat_ms * ENV_NS_PER_MS;
    env_timer_arm(self->heartbeat_timer, tick_after(now.mono_ns, interval_ns));
    s_log_readiness(self, now);
    s_publish_heartbeat(self, now);
    env_log_flush(false);
}

/* -- clients ----------------------------------------------------------------------------------- */

void env_process_reply(env_process_t *self, uint64_t reply_to, buffer_t *body)
{
    /* A reply that cannot be sent is counted by the router; its asker's time-out settles it. */
    (void)env_router_reply_buffer(env_net_router(self->net), reply_to, body);
}

void env_process_refuse(
    env_process_t *self, uint64_t reply_to, slice_t id, code_t code, const char *message)
{
    buffer_clear(&self->out);
    client_reply_error(&self->out, id, code, message);
    env_process_reply(self, reply_to, &self->out);
}

bool env_process_answer(env_process_t *self, uint64_t reply_to, const client_request_t *request)
{
    buffer_clear(&self->out);
    if (request->op == CLIENT_OP_PING) {
        client_reply_ping(&self->out, request->id);
    } else if (request->op == CLIENT_OP_HEALTH) {
        const char *reason = "";
        bool is_ready = s_is_ready(self, &reason);
        slice_t reasons = slice_make(reason, strnlen(reason, REASON_SIZE));
        client_reply_health(&self->out, request->id, is_ready, is_ready ? 0 : 1, &reasons);
    } else if (request->op == CLIENT_OP_METRICS) {
        client_reply_metrics(&self->out, request->id, s_fill_metrics(self), self->metrics);
    } else {
        return false;
    }
    env_process_reply(self, reply_to, &self->out);
    return true;
}

static void s_on_client_decoded(env_process_t *self,
                                uint64_t reply_to,
                                const client_request_t *request)
{
    errbuf_t errbuf = {.text = ""};
    if (env_process_answer(self, reply_to, request)) {
        return;
    }
    bool is_served = client_op_is_served(request->op, self->address.kind, &errbuf);
    if (!is_served || self->service->on_client == NULL) {
        env_process_refuse(self, reply_to, request->id, CODE_UNKNOWN_OP, errbuf.text);
        return;
    }
    self->service->on_client(self->context, reply_to, request, env_loop_now(self->loop));
}

static void s_on_client(void *context, uint64_t reply_to, slice_t body)
{
    env_process_t *self = context;
    uint32_t size_max = self->topology->limits.request_size_bytes;
    if (body.size > size_max) {
        errbuf_t text;
        errbuf_set(&text, "request: expected at most %u bytes, found %zu: send fewer rows",
                   size_max, body.size);
        env_process_refuse(self, reply_to, slice_make(NULL, 0), CODE_TOO_LARGE, text.text);
        return;
    }
    if (self->service->on_client_body != NULL) {
        self->service->on_client_body(self->context, reply_to, body, env_loop_now(self->loop));
        return;
    }
    const client_request_t *request = NULL;
    errbuf_t errbuf = {.text = ""};
    code_t code = client_decode(self->decoder, body, &request, &errbuf);
    if (code != CODE_OK) {
        env_process_refuse(self, reply_to, request->id, code, errbuf.text);
        return;
    }
    s_on_client_decoded(self, reply_to, request);
}

static void s_on_refused(void *context, uint64_t reply_to, err_t err)
{
    env_process_t *self = context;
    slice_t no_id = slice_make(NULL, 0);
    if (err == ERR_FULL) {
        env_process_refuse(self, reply_to, no_id, CODE_OVERLOADED,
                           "too many requests wait for their answer here: try again later");
        return;
    }
    errbuf_t text;
    errbuf_set(
        &text,
        "expected at most %d frames of at most %d bytes before the body, found more: send the "
        "request as one frame",
        CLIENT_PREFIX_FRAME_COUNT_MAX, CLIENT_PREFIX_FRAME_SIZE_MAX);
    env_process_refuse(self, reply_to, no_id, CODE_BAD_REQUEST, text.text);
}

/* -- other processes --------------------------------------------------------------------------- */

static void s_on_request(void *context, uint64_t reply_to, slice_t body)
{
    env_process_t *self = context;
    if (self->service->on_request == NULL) {
        env_router_forget(env_net_router(self->net), reply_to);
        return;
    }
    self->service->on_request(self->context, reply_to, body, env_loop_now(self->loop));
}

static void s_on_reply(void *context, process_address_t from, slice_t body)
{
    env_process_t *self = context;
    if (self->service->on_reply != NULL) {
        self->service->on_reply(self->context, from, body, env_loop_now(self->loop));
    }
}

static void s_on_published(void *context, slice_t topic, slice_t body)
{
    env_process_t *self = context;
    if (self->service->on_published != NULL) {
        self->service->on_published(self->context, topic, body, env_loop_now(self->loop));
    }
}

err_t env_process_listen(env_process_t *self, process_address_t publisher)
{
    endpoint_t endpoint;
    err_t err = topology_connect_endpoint(self->topology, process_place(self->address), publisher,
                                          LINK_PUBLISH, &endpoint);
    if (err != ERR_OK) {
        return err;
    }
    return env_subscriber_connect(self->subscriber, endpoint.text, NULL) == ERR_OK ? ERR_OK
                                                                                   : ERR_NOT_FOUND;
}

void env_process_add_topic(env_process_t *self, const char *topic)
{
    env_subscriber_add_topic(self->subscriber, topic);
}

/* -- the loop ---------------------------------------------------------------------------------- */

/* Ends the process at the end of this turn; the first status counts. */
static void s_exit(env_process_t *self, int exit_status)
{
    if (!self->is_ending) {
        self->is_ending = true;
        self->exit_status = exit_status;
    }
    env_loop_stop(self->loop);
}

static void s_on_turn_end(void *context, now_t now)
{
    env_process_t *self = context;
    errbuf_t errbuf = {.text = ""};
    if (self->is_ending) {
        return;
    }
    if (self->service->on_turn_end != NULL) {
        err_t err = self->service->on_turn_end(self->context, now, &errbuf);
        if (err != ERR_OK) {
            ENV_LOG(
                ENV_LOG_ERROR, "durability_lost", env_log_err(err),
                env_log_text("text", errbuf.text),
                env_log_text("decision", "exit; nothing that was not durable was acknowledged"));
            s_exit(self, ENV_EXIT_CONFIG);
            return;
        }
    }
    if (!self->was_ready) {
        s_log_readiness(self, now);
    }
    bool is_done = self->is_stopping &&
                   (self->service->on_stop == NULL || self->service->on_stop(self->context, now));
    if (is_done) {
        s_exit(self, ENV_EXIT_OK);
    }
}

static int64_t s_next_deadline_ns(void *context)
{
    env_process_t *self = context;
    const env_service_t *service = self->service;
    return service->next_deadline_ns != NULL ? service->next_deadline_ns(self->context) : INT64_MAX;
}

static void s_on_deadline(void *context, now_t now)
{
    env_process_t *self = context;
    if (!self->is_ending && self->service->on_deadline != NULL) {
        self->service->on_deadline(self->context, now);
    }
}

static void s_on_stop_timer(void *context, now_t now)
{
    (void)now;
    env_process_t *self = context;
    ENV_LOG(ENV_LOG_WARNING, "stop_incomplete",
            env_log_text("decision", "exit all the same; what was acknowledged is durable"));
    s_exit(self, ENV_EXIT_OK);
}

static void s_on_signal(void *context, int signal_number)
{
    env_process_t *self = context;
    if (self->is_stopping) {
        return; /* managers repeat signals: not "stop harder" */
    }
    self->is_stopping = true;
    uint32_t stop_ms = self->topology->timing.stop_ms;
    stop_ms = stop_ms < ENV_PROCESS_STOP_MS_MAX ? stop_ms : ENV_PROCESS_STOP_MS_MAX;
    env_timer_arm(self->stop_timer,
                  env_loop_now(self->loop).mono_ns + (int64_t)stop_ms * ENV_NS_PER_MS);
    ENV_LOG(ENV_LOG_INFO, "stopping", env_log_i64("signal", signal_number));
}

/* -- start ------------------------------------------------------------------------------------- */

static uint64_t s_draw(void)
{
    uint64_t value = 0;
    while (value == 0) {
        CHECK(getrandom(&value, sizeof(value), 0) == (ssize_t)sizeof(value));
    }
    return value;
}

/* Absolute: messages name whole paths, and the disk seam takes them as they are. */
static err_t s_set_folders(env_process_t *self, const char *data_path, errbuf_t *errbuf)
{
    char folder[FOLDER_SIZE] = "";
    if (data_path[0] != '/' && getcwd(folder, sizeof(folder)) == NULL) {
        errbuf_set(errbuf, "--data %s: the current folder cannot be told: give an absolute path",
                   data_path);
        return ERR_INVALID;
    }
    int size = snprintf(self->data_folder, sizeof(self->data_folder), "%s%s%s", folder,
                        folder[0] != '\0' ? "/" : "", data_path);
    bool fits = size > 0 && (size_t)size < sizeof(self->data_folder);
    bool has_region = self->address.region.value != 0;
    const char *place =
        has_region ? topology_place_name(self->topology, process_place(self->address)) : "mesh";
    size = snprintf(self->own_folder, sizeof(self->own_folder), "%s/%s/%s", self->data_folder,
                    place, self->name);
    if (!fits || size < 0 || (size_t)size >= sizeof(self->own_folder)) {
        errbuf_set(errbuf, "--data: expected a shorter path, found one of %zu characters",
                   strlen(data_path));
        return ERR_INVALID;
    }
    return ERR_OK;
}

static err_t s_identify(env_process_t *self, const env_arguments_t *arguments, errbuf_t *errbuf)
{
    self->topology = calloc(1, sizeof(topology_t));
    CHECK(self->topology != NULL);
    err_t err = topology_load(arguments->topology_path, self->topology, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    err = env_arguments_address(arguments, self->topology, self->service->kind, &self->address,
                                errbuf);
    if (err != ERR_OK) {
        return err;
    }
    (void)process_name(self->topology, self->address, self->name);
    env_log_open(self->name, STDOUT_FILENO);
    return s_set_folders(self, arguments->data_path, errbuf);
}

static err_t s_open_network(env_process_t *self, errbuf_t *errbuf)
{
    err_t err = env_zmq_start(errbuf);
    if (err != ERR_OK) {
        return err;
    }
    self->is_zmq_started = true;
    self->loop = env_loop_new(&(env_loop_options_t){.context = self,
                                                    .on_turn_end = s_on_turn_end,
                                                    .next_deadline_ns = s_next_deadline_ns,
                                                    .on_deadline = s_on_deadline});
    env_loop_on_signals(self->loop, s_on_signal, self);
    env_timers_t *timers = env_loop_timers(self->loop);
    self->heartbeat_timer = env_timer_new(timers, s_on_heartbeat, self);
    self->stop_timer = env_timer_new(timers, s_on_stop_timer, self);
    self->subscriber = env_subscriber_new(
        self->loop, &(env_subscriber_options_t){.context = self, .on_message = s_on_published});
    return env_net_open(&(env_net_options_t){.loop = self->loop,
                                             .topology = self->topology,
                                             .self = self->address,
                                             .context = self,
                                             .on_request = s_on_request,
                                             .on_client = s_on_client,
                                             .on_refused = s_on_refused,
                                             .on_reply = s_on_reply},
                        &self->net, errbuf);
}

static err_t s_open(env_process_t *self, errbuf_t *errbuf)
{
    err_t err = env_lock_take(self->own_folder, self->name, &self->lock, errbuf);
    if (err == ERR_OK) {
        err = disk_posix_new(self->data_folder, &self->disk, errbuf);
    }
    if (err == ERR_OK) {
        err = s_open_network(self, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    self->boot = s_draw();
    self->seed = s_draw();
    self->decoder = client_decoder_new(NULL, 0);
    if (self->address.region.value != 0) {
        env_process_add_topic(self, ENGINE_TOPIC_TABLE);
        CHECK(env_process_listen(self, (process_address_t){.kind = PROCESS_CONTROL}) == ERR_OK);
    }
    err = self->service->open(self, &self->context, errbuf);
    self->is_open = err == ERR_OK;
    return err;
}

static void s_close(env_process_t *self)
{
    if (self->is_open) {
        env_net_stop_listening(
            self->net); /* closing may take a while, in which requests would be lost */
        self->service->close(self->context);
    }
    env_net_close(&self->net);
    env_subscriber_destroy(&self->subscriber);
    env_timer_destroy(&self->heartbeat_timer);
    env_timer_destroy(&self->stop_timer);
    env_loop_destroy(&self->loop);
    if (self->is_zmq_started) {
        env_zmq_stop();
    }
    client_decoder_destroy(&self->decoder);
    disk_posix_destroy(&self->disk);
    env_lock_release(&self->lock);
    buffer_done(&self->out);
    free(self->topology);
    free(self);
}

/* A failure that the next start would meet again, until somebody has mended it. */
static int s_exit_status(err_t err)
{
    return err == ERR_DISK_FULL || err == ERR_TIMEOUT || err == ERR_AGAIN ? ENV_EXIT_FAILURE
                                                                          : ENV_EXIT_CONFIG;
}

static int s_run(env_process_t *self, const env_arguments_t *arguments)
{
    errbuf_t errbuf = {.text = ""};
    err_t err = s_identify(self, arguments, &errbuf);
    if (err == ERR_OK) {
        err = s_open(self, &errbuf);
    }
    if (err != ERR_OK) {
        int exit_status = s_exit_status(err);
        ENV_LOG(ENV_LOG_ERROR, "start_failed", env_log_err(err), env_log_text("text", errbuf.text),
                env_log_i64("exit", exit_status));
        return exit_status;
    }
    env_timer_arm(self->heartbeat_timer, env_loop_now(self->loop).mono_ns);
    env_loop_run(self->loop);
    ENV_LOG(ENV_LOG_INFO, "stopped", env_log_i64("exit", self->exit_status));
    env_log_flush(true);
    return self->exit_status;
}

int env_process_main(int argc, char **argv, const env_service_t *service)
{
    CHECK(service->open != NULL && service->close != NULL);
    CHECK(service->on_client == NULL || service->on_client_body == NULL);
    CHECK((service->next_deadline_ns == NULL) == (service->on_deadline == NULL));
    env_loop_block_signals();
    env_log_open(service->program, STDOUT_FILENO);
    env_arguments_t arguments;
    errbuf_t errbuf = {.text = ""};
    if (env_arguments_parse(argc, argv, &arguments, &errbuf) != ERR_OK) {
        ENV_LOG(ENV_LOG_ERROR, "start_failed", env_log_text("text", errbuf.text),
                env_log_i64("exit", ENV_EXIT_CONFIG));
        return ENV_EXIT_CONFIG;
    }
    if (arguments.wants_help) {
        (void)printf("%s: one process of a mesh\n%s", service->program, env_arguments_help());
        return ENV_EXIT_OK;
    }
    env_process_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->service = service;
    self->started_ns = env_clock_now().mono_ns;
    buffer_init(&self->out);
    int exit_status = s_run(self, &arguments);
    s_close(self);
    return exit_status;
}

/* -- for the service --------------------------------------------------------------------------- */

const topology_t *env_process_topology(const env_process_t *self)
{
    return self->topology;
}

process_address_t env_process_address(const env_process_t *self)
{
    return self->address;
}

const char *env_process_data_folder(const env_process_t *self)
{
    return self->data_folder;
}

env_loop_t *env_process_loop(env_process_t *self)
{
    return self->loop;
}

env_net_t *env_process_net(env_process_t *self)
{
    return self->net;
}

const disk_t *env_process_disk(const env_process_t *self)
{
    return disk_posix_disk(self->disk);
}

engine_env_t env_process_engine_env(env_process_t *self)
{
    return (engine_env_t){.topology = self->topology,
                          .self = self->address,
                          .boot = self->boot,
                          .seed = self->seed,
                          .disk = disk_posix_disk(self->disk),
                          .net = env_net_seam(self->net),
                          .data_folder = self->data_folder};
}
