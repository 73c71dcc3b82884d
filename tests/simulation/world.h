/* A whole mesh in one process, in virtual time: every process of a topology but the proxy, whose
 * rules the simulated network applies by itself. Nothing here reads a clock or draws a number that
 * does not follow from the seed: same seed and same calls, same events (world_trace_hash).
 *
 * Time. Each process has a monotonic clock that begins anywhere at each of its starts, and a wall
 * clock that may be off, run at another rate, and jump. World time is nobody's clock.
 *
 * Disks. The processes of a region share one file system; the control plane has one of its own.
 * Killing a process loses nothing that it wrote; a power cut of a region ends all of its processes
 * and keeps, loses or tears each write that was not synced.
 *
 * The keeper. A process that ends (killed, or because its engine said that durability is lost) is
 * started again after a while, unless it is held. A start that is refused (damaged files) is tried
 * again the same way.
 *
 * Between places there are links (tests/support/sim_network.h) with the faults of the partition
 * proxy. Clients are tools at a place, with a network of their own. */
#ifndef TIDAL_TESTS_SIMULATION_WORLD_H
#define TIDAL_TESTS_SIMULATION_WORLD_H

#include "tests/simulation/attic.h"
#include "tests/simulation/world_process.h"
#include "tests/support/sim_disk.h"

#define WORLD_DATA_FOLDER   "data"
#define WORLD_START_WALL_NS INT64_C(1790000000000000000)
#define WORLD_MS            INT64_C(1000000)

typedef struct {
    uint64_t seed;
    uint16_t region_count;
    uint16_t shard_count;
    int64_t local_jitter_ns;
    int64_t link_latency_ns;
    int64_t link_jitter_ns;
    uint32_t segment_size_bytes; /* 0 the default */
    uint32_t checkpoint_ms;      /* 0 the default */
    uint32_t retain_bytes;       /* 0: nothing is truncated */
    bool accepts_islands;        /* policy of tenant default */
} world_options_t;

world_t *world_new(const world_options_t *options);
void world_destroy(world_t **self_p);

/* -- time -------------------------------------------------------------------------------------- */

/* World time in ns, from 0. */
int64_t world_now_ns(const world_t *self);
/* World time as a wall clock that is right would show it. */
int64_t world_wall_ns(const world_t *self);
/* One step: to the next moment at which anything happens, at most to until_ns, and everything that
 * happens then. */
void world_step(world_t *self, int64_t until_ns);
/* Over all deliveries, starts and ends so far. */
uint64_t world_trace_hash(const world_t *self);
uint64_t world_step_count(const world_t *self);

/* What faults have done so far. */
typedef struct {
    uint64_t killed; /* processes that were up */
    uint64_t ended;  /* by themselves: durability was lost, or a start was refused */
    uint64_t writes_lost;
    uint64_t writes_torn;
    uint64_t writes_cut; /* by a full disk */
} world_losses_t;
world_losses_t world_losses(const world_t *self);

/* -- looking ----------------------------------------------------------------------------------- */

const topology_t *world_topology(const world_t *self);
uint32_t world_process_count(const world_t *self);
world_process_t *world_process(world_t *self, uint32_t index);
/* CHECK: there is such a process. */
world_process_t *world_find(world_t *self, process_address_t address);
/* NULL while the node is down or does not hold the tenant. */
replica_t *world_replica(world_t *self, node_id_t node, tenant_id_t tenant);
sim_disk_t *world_disk(world_t *self, region_id_t region);
sim_network_t *world_network(world_t *self);
/* What the regions have truncated so far. */
const attic_t *world_attic(const world_t *self);

/* Called after each turn of a process that goes on; may look at everything, and change nothing. */
typedef void (*world_turn_fn)(void *context, world_process_t *process);
void world_set_observer(world_t *self, world_turn_fn on_turn, void *context);

/* -- clients ----------------------------------------------------------------------------------- */

typedef void (*world_reply_fn)(void *context, slice_t bytes);
/* Replies to all tools come here. */
void world_set_client(world_t *self, world_reply_fn on_reply, void *context);
/* A request from a tool beside the process. errs those of net_t.send */
err_t world_send(world_t *self, process_address_t to, slice_t bytes);

/* -- faults ------------------------------------------------------------------------------------ */

/* kill -9. The keeper starts it again after restart_ms; below 0: it is held down. */
void world_kill(world_t *self, world_process_t *process, int64_t restart_ms);
/* A held process is started at once. */
void world_release(world_t *self, world_process_t *process);
/* Power cut of a region (0: of the control plane); its processes come back after restart_ms. */
void world_power_cut(world_t *self, region_id_t region, int64_t restart_ms);
/* The same in the middle of a write: at the n-th change of the region's disk from now, 1 the next one. */
void world_power_cut_at(world_t *self, region_id_t region, uint64_t n, int64_t restart_ms);
/* The region's disk is replaced by an empty one: power cut, and everything is gone. */
void world_lose_disk(world_t *self, region_id_t region, int64_t restart_ms);
/* The wall clock of a place goes forward or back, and from now on gains rate_ppm. */
void world_change_clock(world_t *self, region_id_t place, int64_t jump_ns, int64_t rate_ppm);
/* The wall clock of a place is right from now on. */
void world_set_clock_right(world_t *self, region_id_t place);
/* Everything that is down or held is started now; clocks stay. */
void world_release_all(world_t *self);

#endif
