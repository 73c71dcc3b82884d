/* Services as real processes, for tests: a topology file and a data folder of their own in /tmp, on
 * ports that are free, and children whose log lines are read. */
#ifndef TIDAL_TESTS_UNIT_ENV_CHILD_H
#define TIDAL_TESTS_UNIT_ENV_CHILD_H

#include "common/topology/topology.h"
#include "tests/unit/env_support.h"

#include <sys/types.h>

enum { ENV_CHILD_PATH_SIZE = 512, ENV_CHILD_LOG_SIZE = 262144, ENV_CHILD_STOP_MS = 400 };

/* A mesh of one topology file and one data folder, of which a test runs a few processes. */
typedef struct {
    char folder[ENV_CHILD_PATH_SIZE];
    char topology_path[ENV_CHILD_PATH_SIZE + 32];
    char data_path[ENV_CHILD_PATH_SIZE + 32];
    topology_t topology;
} env_child_mesh_t;

typedef struct {
    pid_t pid;
    int output;
    char log[ENV_CHILD_LOG_SIZE];
    size_t log_size;
} env_child_t;

/* Regions us-east and eu-west (or only the first), three shards, stop_ms ENV_CHILD_STOP_MS,
 * heartbeats every 50 ms; a proxy when there are two regions. */
env_child_mesh_t *env_child_mesh_new(unsigned region_count);
/* Removes the files. */
void env_child_mesh_destroy(env_child_mesh_t **self_p);

/* in arguments  after the program's name; ends with NULL */
env_child_t *env_child_start(const char *program, const char *const *arguments);
env_child_t *env_child_start_named(const char *program,
                                   const env_child_mesh_t *mesh,
                                   const char *name);
/* Reads more of the log; false at its end, or when nothing came within the limit. */
bool env_child_read_more(env_child_t *self);
/* Reads until the log has this text; fails the test when it does not come. */
void env_child_await_log(env_child_t *self, const char *text);
/* Reads the log to its end; returns the exit status, -1 for a signal. */
int env_child_await_exit(env_child_t *self);
/* Signals, awaits the end and frees; returns the exit status. */
int env_child_stop(env_child_t *self, int signal_number);

#endif
