/* What every engine works with. An engine is the life of one process kind below its sockets: it
 * drives the pure cores, carries out their effects on files and network through the seams, and is
 * itself driven by its shell (a service) or by the simulated cluster. It reads no clock.
 *
 * Each engine has the same entrances, called from one thread:
 *   message    a request or reply that was addressed to this process
 *   published  something that a process it listens to published
 *   turn_end   no more input for now: sync, apply, answer, announce
 *   tick       the deadline that x_deadline_ns gave has come
 * and tells of itself by is_ready, table_version and metrics. Gateway, control plane and reconciler
 * have engines of the same form in common/gateway and common/cluster. */
#ifndef TIDAL_COMMON_ENGINE_ENGINE_H
#define TIDAL_COMMON_ENGINE_ENGINE_H

#include "common/base/seam.h"
#include "common/topology/topology.h"

/* Borrowed for the life of the engine. */
typedef struct {
    const topology_t *topology;
    process_address_t self;
    uint64_t boot; /* random, drawn at each start of the process */
    uint64_t seed; /* random, for incarnations */
    const disk_t *disk;
    const net_t *net;
    const char *data_folder; /* of the mesh: <data>/<region>/... lies below */
} engine_env_t;

/* Topics of what is published inside a region. Of AVAILABLE and CONFIRMED the full lists go out
 * under the topic and ".all", what changed of one shard under the topic and its number
 * (engine_shard_topic): a node wakes for its own shard alone. */
#define ENGINE_TOPIC_POSITIONS "pos" /* node: MSG_LOG_POSITIONS */
#define ENGINE_TOPIC_AVAILABLE "ava" /* receiver: MSG_AVAILABLE */
#define ENGINE_TOPIC_CONFIRMED "con" /* shipper: MSG_CONFIRMED */
#define ENGINE_TOPIC_HEARTBEAT "hbt" /* every process: MSG_HEARTBEAT */
#define ENGINE_TOPIC_TABLE     "tab" /* control plane: MSG_TABLE */

#define ENGINE_TOPIC_ALL ".all"

enum { ENGINE_NS_PER_MS = 1000000, ENGINE_TOPIC_SIZE = 16 };

/* "ava.0003"; fixed width, since topics match by prefix. Returns ret_topic. */
const char *engine_shard_topic(const char *topic,
                               shard_id_t shard,
                               char ret_topic[ENGINE_TOPIC_SIZE]);

#endif
