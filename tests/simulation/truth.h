/* The single-node ground truth of a run, made from the logs that lie on the simulated disks once
 * everything has come to rest, and from what was truncated of them (attic.h): every logged batch
 * once, by its identity; of the copies of one request the one of the highest epoch counts, and of one
 * epoch the one with the lowest (HLC, stream, first seq), in each shard by itself. Of bases and
 * snapshots it knows only that a log may begin no later than the base beside it lets it. It
 * shares no code with the replicas' way of finding copies. */
#ifndef TIDAL_TESTS_SIMULATION_TRUTH_H
#define TIDAL_TESTS_SIMULATION_TRUTH_H

#include "tests/simulation/history.h"
#include "tests/simulation/world.h"

typedef struct {
    uint64_t batches;
    uint64_t events; /* logged, each identity once */
    uint64_t void_batches;
    uint64_t streams;
    uint64_t truncated_streams; /* copies that begin later than with event 1 */
} truth_counters_t;

typedef struct {
    uint64_t seed;        /* for the order in which the truth applies what it found */
    uint32_t damaged_max; /* copies of streams that may be damaged: bits that were flipped, and that
                             nobody had to read since */
} truth_options_t;

/* Holds the history, the logs of all regions and the state of all replicas against each other.
 * in world  at rest: every node is up and ready, all vectors of a shard are equal
 * out ret_text  the first contradiction. ret false: there is one */
bool truth_check(world_t *world,
                 const history_t *history,
                 const truth_options_t *options,
                 truth_counters_t *ret_counters,
                 errbuf_t *ret_text);

#endif
