/* One process of a simulated mesh: the engine that its service runs, behind the entrances that all
 * engines share, with a heartbeat as every service has one. What a shell does over ZeroMQ and real
 * files, this does over the simulated network and disk. */
#ifndef TIDAL_TESTS_SIMULATION_WORLD_PROCESS_H
#define TIDAL_TESTS_SIMULATION_WORLD_PROCESS_H

#include "common/cluster/control_engine.h"
#include "common/cluster/reconcile_engine.h"
#include "common/engine/node_engine.h"
#include "common/engine/receiver_engine.h"
#include "common/engine/shipper_engine.h"
#include "common/gateway/gateway_engine.h"
#include "common/store/store_memory.h"
#include "tests/support/sim_network.h"

typedef struct world world_t;

/* Engines are NULL while the process is down, and but for the one of its kind. */
typedef struct {
    world_t *world;
    process_address_t address;
    net_t net;
    engine_env_t env;
    store_memory_t *memory; /* of a node; survives a kill */
    store_t store;
    node_engine_t *node;
    shipper_engine_t *shipper;
    receiver_engine_t *receiver;
    reconcile_engine_t *reconciler;
    gateway_engine_t *gateway;
    control_engine_t *control;
    client_decoder_t *decoder; /* of the control plane's clients */
    bool is_up;
    errbuf_t ended_with;       /* the last time that it ended by itself; empty: never */
    bool is_held;              /* stays down until it is released */
    bool has_input;            /* since its last turn end */
    int64_t mono_zero;         /* its monotonic clock shows world time + this */
    int64_t deadline_ns;       /* world time; of the engine and its heartbeat */
    int64_t next_heartbeat_ns; /* world time */
    uint64_t heartbeat_number;
    int64_t restart_ns; /* when the keeper starts it again; INT64_MAX never */
    uint64_t life;      /* starts so far */
    msg_peer_t peers[REGION_COUNT_MAX];
} world_process_t;

/* Opens the engine on what disk and store hold. errs those of the engine */
err_t world_process_open(world_process_t *self, now_t now, errbuf_t *errbuf);
/* Closes the engine, if any, without a word to anybody. */
void world_process_close(world_process_t *self);

/* in from  who sent it; reply_to 0: it is an answer */
void world_process_message(
    world_process_t *self, process_address_t from, uint64_t reply_to, slice_t bytes, now_t now);
void world_process_published(world_process_t *self, slice_t bytes, now_t now);
/* Ticks when that is due, then ends the turn. errs the process must end */
err_t world_process_turn(world_process_t *self, bool is_due, now_t now, errbuf_t *errbuf);
/* Of the engine, in the process's own monotonic time. */
int64_t world_process_deadline_ns(const world_process_t *self);
bool world_process_is_ready(const world_process_t *self, const char **ret_reason);
/* 0 while it is down. */
uint32_t world_process_metrics(const world_process_t *self,
                               msg_metric_t *ret_metrics,
                               uint32_t metric_count_max);
/* What the process says of itself; what it points to lives until the next call. */
void world_process_heartbeat(world_process_t *self, now_t now, msg_t *ret_msg);

#endif
