/* Inside of the simulated cluster; for the simulated_cluster*.c files alone. */
#ifndef TIDAL_TESTS_SUPPORT_SIMULATED_CLUSTER_STATE_H
#define TIDAL_TESTS_SUPPORT_SIMULATED_CLUSTER_STATE_H

#include "common/base/prng.h"
#include "common/cluster/reconcile_engine.h"
#include "common/engine/node_engine.h"
#include "common/engine/receiver_engine.h"
#include "common/engine/shipper_engine.h"
#include "common/store/store_memory.h"
#include "tests/support/sim_disk.h"
#include "tests/support/sim_network.h"
#include "tests/support/simulated_cluster.h"

#define SIMULATED_DATA          "data"
#define SIMULATED_MS            INT64_C(1000000)
#define SIMULATED_START_MONO_NS INT64_C(1000000000)
#define SIMULATED_START_WALL_NS INT64_C(1790000000000000000)

/* One process. Engines are NULL while it is down. */
typedef struct {
    simulated_cluster_t *cluster;
    process_address_t address;
    uint64_t life; /* starts so far */
    net_t net;
    engine_env_t env;
    store_memory_t *memory; /* of a node; survives a kill */
    store_t store;
    node_engine_t *node;
    shipper_engine_t *shipper;
    receiver_engine_t *receiver;
    reconcile_engine_t *reconciler;
    bool is_up;
    bool has_input; /* since its last turn end */
    bool is_deaf;   /* a node: what its receiver announces is lost */
} simulated_process_t;

/* The client of one region. */
typedef struct {
    simulated_cluster_t *cluster;
    process_address_t address;
    net_t net;
} simulated_client_t;

struct simulated_partition {
    simulated_cluster_t *cluster;
    region_id_t a;
    region_id_t b;
    bool is_healed;
    uint64_t dropped_before; /* both directions, at the injection */
    uint64_t dropped;        /* once healed */
    simulated_partition_t *next;
};

struct simulated_crash {
    simulated_cluster_t *cluster;
    process_address_t process;
};

/* The last blocks that were shipped over one link. */
typedef struct {
    buffer_t bytes;
} simulated_shipped_t;

struct simulated_cluster {
    topology_t topology;
    table_t *table;
    prng_t prng;
    sim_network_t *network;
    sim_disk_t *disks[REGION_COUNT_MAX + 1];
    uint32_t process_count;
    simulated_process_t *processes;
    simulated_client_t clients[REGION_COUNT_MAX + 1];
    net_t control;
    int64_t now_ns;
    int64_t next_table_ns;
    msg_clock_t clock; /* of a node whose clock is ahead */
    uint64_t next_request_id;
    buffer_t out;
    msg_codec_t *codec;       /* of write answers and taps */
    msg_codec_t *reply_codec; /* of the read answer that is handed out */
    uint64_t awaited_id;      /* request whose answer is wanted; 0 none */
    bool is_answered;
    simulated_write_t write;
    buffer_t reply_bytes;
    msg_t reply;
    simulated_answers_t answers;
    uint32_t cut_count[REGION_COUNT_MAX + 1][REGION_COUNT_MAX + 1];
    simulated_partition_t *partitions; /* alive */
    uint32_t crash_count;              /* alive */
    simulated_shipped_t shipped[REGION_COUNT_MAX + 1][REGION_COUNT_MAX + 1];
    bool corrupts; /* the next blocks to corrupt_to */
    region_id_t corrupt_to;
    uint64_t corrupt_bit;
    region_id_t corrupt_piece_to; /* the next piece of a snapshot to it; 0 none */
};

process_address_t simulated_address(process_kind_t kind, region_id_t region);
/* CHECK: there is such a process. */
simulated_process_t *simulated_process_find(const simulated_cluster_t *self,
                                            process_address_t address);
void simulated_process_start(simulated_process_t *process);
/* As kill -9 would. */
void simulated_process_stop(simulated_process_t *process);
/* Sees what shippers send: keeps the last blocks of each link, and damages those asked for. */
void simulated_cluster_tap(
    void *context, process_address_t from, process_address_t to, uint8_t *bytes, size_t size);

#endif
