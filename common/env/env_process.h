/* The life of a service, from its arguments to its exit status; main.c of a service describes it
 * with one env_service_t and calls env_process_main.
 *
 * Start
 *   1. signals blocked, arguments, topology; then the address of this process is known
 *   2. lock of <data>/<region, or mesh>/<name>: a second process of the same name ends here
 *   3. sockets bound: from here on requests wait in their queues
 *   4. service->open: files are recovered; it may send already
 *   5. the loop runs. `event=ready` is logged when the service says so first, and each change after
 *
 * Each turn
 *   requests, answers, what others publish, in the order of arrival, then deadlines, then
 *   service->on_turn_end (sync, apply, answer, announce). An error of on_turn_end means that
 *   durability is lost: it is logged, and the process exits without another message (design
 *   section 4)
 *
 * Every second heartbeat_ms of the topology a node publishes MSG_HEARTBEAT, every fourth any other
 * process; numbered from 1 for each boot.
 *
 * A process of a region listens to the control plane's routing table (topic ENGINE_TOPIC_TABLE)
 * from the start; what else it wants to hear it asks for in service->open.
 *
 * ping, health and metrics of the client protocol are answered here for every service. Requests
 * that the sockets refuse are answered BAD_REQUEST or OVERLOADED, those over the topology's size
 * limit TOO_LARGE.
 *
 * Stop, at the first SIGTERM or SIGINT (later ones change nothing): service->on_stop is asked at
 * the end of each turn until it says that all is done, or the topology's stop_ms (at most
 * ENV_PROCESS_STOP_MS_MAX) have passed; then service->close, sockets closed, lock given up.
 *
 * Exit status: 0 after a signal; 78 (EX_CONFIG) when a restart would not mend it: arguments,
 * topology, lock, port, damaged files, lost durability; 1 otherwise. */
#ifndef TIDAL_COMMON_ENV_ENV_PROCESS_H
#define TIDAL_COMMON_ENV_ENV_PROCESS_H

#include "common/base/seam.h"
#include "common/engine/engine.h"
#include "common/env/env_loop.h"
#include "common/env/env_net.h"
#include "common/topology/process.h"
#include "common/wire/client_request.h"
#include "common/wire/msg.h"

enum {
    ENV_PROCESS_STOP_MS_MAX = 3500, /* process managers kill after 5 s, the keeper needs some */
    ENV_PROCESS_METRIC_COUNT_MAX = 512,
    ENV_EXIT_OK = 0,
    ENV_EXIT_FAILURE = 1,
    ENV_EXIT_CONFIG = 78
};

typedef struct env_process env_process_t;

/* What a service is. Everything but kind, program, open and close may be NULL. Slices live until
 * the callback returns; each reply_to is to be forgotten once (net_t.forget, or env_process_reply).
 */
typedef struct {
    process_kind_t kind;
    const char *program; /* for the help text */
    /* in process  borrowed for the life of the service
     * out ret_context  handed to all other callbacks
     * errs what prevents a start, with what to do */
    err_t (*open)(env_process_t *process, void **ret_context, errbuf_t *errbuf);
    void (*close)(void *context);
    /* A message of another process (msgpack array). */
    void (*on_request)(void *context, uint64_t reply_to, slice_t body, now_t now);
    /* An answer to something that this process sent. */
    void (*on_reply)(void *context, process_address_t from, slice_t body, now_t now);
    /* Something that a process published which this one listens to: the routing table, and what
     * env_process_listen and env_process_add_topic asked for. */
    void (*on_published)(void *context, slice_t topic, slice_t body, now_t now);
    /* A client's request for an op that is not answered here; decoded without signal types. */
    void (*on_client)(void *context, uint64_t reply_to, const client_request_t *request, now_t now);
    /* Instead of on_client: every client's request as it came; env_process_answer helps. */
    void (*on_client_body)(void *context, uint64_t reply_to, slice_t body, now_t now);
    err_t (*on_turn_end)(void *context, now_t now, errbuf_t *errbuf);
    int64_t (*next_deadline_ns)(void *context);
    void (*on_deadline)(void *context, now_t now);
    /* peers, states and table_version; from, boot, number, time, readiness and metrics are set
     * already. What it points to lives until the next call. */
    void (*fill_heartbeat)(void *context, msg_heartbeat_t *heartbeat, now_t now);
    /* NULL: ready from the start. out ret_reason  why not; lives until the next call */
    bool (*is_ready)(void *context, const char **ret_reason);
    /* Names live for ever, or until the next call. Returns how many, at most count_max. */
    uint32_t (*metrics)(void *context, msg_metric_t *ret_metrics, uint32_t count_max);
    /* True when nothing is left to do. NULL: at once. */
    bool (*on_stop)(void *context, now_t now);
} env_service_t;

/* Returns the exit status. */
int env_process_main(int argc, char **argv, const env_service_t *service);

/* -- for the service --------------------------------------------------------------------------- */

const topology_t *env_process_topology(const env_process_t *self);
process_address_t env_process_address(const env_process_t *self);
/* The folder of the mesh, as an absolute path. */
const char *env_process_data_folder(const env_process_t *self);

env_loop_t *env_process_loop(env_process_t *self);
env_net_t *env_process_net(env_process_t *self);
/* The real disk. Paths are absolute, or relative to the data folder. */
const disk_t *env_process_disk(const env_process_t *self);
/* What an engine is opened with; borrows from self. */
engine_env_t env_process_engine_env(env_process_t *self);

/* Listens to what a process publishes; through the link where it is at another place.
 * errs ERR_NOT_FOUND no such process */
err_t env_process_listen(env_process_t *self, process_address_t publisher);
/* Of what it listens to, topics that begin with this. */
void env_process_add_topic(env_process_t *self, const char *topic);

/* Answers a client's request and forgets its handle. takes the bytes of *body */
void env_process_reply(env_process_t *self, uint64_t reply_to, buffer_t *body);
/* A reply that is only an error; forgets the handle. */
void env_process_refuse(
    env_process_t *self, uint64_t reply_to, slice_t id, code_t code, const char *message);
/* ping, health and metrics: answered, true. Any other op: false, nothing done. */
bool env_process_answer(env_process_t *self, uint64_t reply_to, const client_request_t *request);

#endif
