/* One simulated history, from its seed to its verdict: a mesh, clients, faults, then peace, then the
 * ground truth. */
#ifndef TIDAL_TESTS_SIMULATION_RUN_H
#define TIDAL_TESTS_SIMULATION_RUN_H

#include "tests/simulation/clients.h"
#include "tests/simulation/faults.h"
#include "tests/simulation/truth.h"

typedef struct {
    uint64_t seed;
    uint16_t region_count;
    uint16_t shard_count;
    uint32_t event_count;
    bool is_verbose; /* tells of each fault, and what came of it */
} run_options_t;

/* {seed, 3, 2, 2000, false} */
run_options_t run_options(uint64_t seed);

typedef struct {
    uint64_t trace_hash;
    uint64_t step_count;
    int64_t peace_ms; /* virtual, from the last fault until everything was settled and equal */
    uint64_t truncated_count; /* segments, each once */
    uint64_t snapshot_count;  /* that nodes have taken, in their last life */
    uint64_t effects[FAULT_EFFECT_COUNT];
    clients_counters_t clients;
    truth_counters_t truth;
    uint32_t event_count; /* sent */
    uint32_t fault_count;
    bool is_ok;
    char text[800]; /* the first violation */
} run_result_t;

void run_history(const run_options_t *options, run_result_t *ret_result);

#endif
