/* Names of things, as one-field structs that the compiler does not mix up.
 *
 * region 0 is the place `control`; data regions are 1..REGION_COUNT_MAX and numbered in the
 * topology file, so that a number means the same region for ever. A shard number alone never names
 * a node. A tenant id is its generation: each create draws a new one, `default` is 1, 0 means none.
 */
#ifndef TIDAL_COMMON_BASE_IDS_H
#define TIDAL_COMMON_BASE_IDS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint16_t value;
} region_id_t;

typedef struct {
    uint16_t value;
} shard_id_t;

typedef struct {
    uint64_t value;
} tenant_id_t;

/* 0 means none in all three. */
typedef struct {
    uint64_t value;
} item_id_t;

typedef struct {
    uint64_t value;
} user_id_t;

typedef struct {
    uint64_t value;
} creator_id_t;

/* A session: its user (u64, little-endian, not 0), then 16 bytes that tell the user's sessions
 * apart (common/session/session_id.h). Opaque for clients. */
enum { SESSION_ID_SIZE = 24, SESSION_ID_USER_SIZE = 8 };
typedef struct {
    uint8_t bytes[SESSION_ID_SIZE];
} session_id_t;

/* One shard in one region; unique in the mesh. */
typedef struct {
    region_id_t region;
    shard_id_t shard;
} node_id_t;

/* The log of one origin node for one tenant in one incarnation; one writer for ever. An event is
 * named for ever by (stream, seq), seq counting from 1 (design section 1). */
typedef struct {
    tenant_id_t tenant;
    uint64_t incarnation; /* random, never 0 */
    node_id_t origin;
} stream_id_t;

/* How far a log is known: events 1..seq of the stream. */
typedef struct {
    stream_id_t stream;
    uint64_t seq;
} stream_position_t;

/* What runs at an address. The order is part of the wire format: append only. */
typedef enum {
    PROCESS_NONE = 0,
    PROCESS_NODE = 1,
    PROCESS_SHIPPER = 2,
    PROCESS_RECEIVER = 3,
    PROCESS_RECONCILER = 4,
    PROCESS_GATEWAY = 5,
    PROCESS_CONTROL = 6,
    PROCESS_PROXY = 7,
    PROCESS_TOOL = 8
} process_kind_t;

/* One process of the mesh. region is 0 for control and proxy, shard 0 for all but nodes. */
typedef struct {
    process_kind_t kind;
    region_id_t region;
    shard_id_t shard;
} process_address_t;

/* A set of regions, bit i = region i. */
typedef struct {
    uint32_t bits;
} region_set_t;

bool node_id_equal(node_id_t a, node_id_t b);
bool stream_id_equal(stream_id_t a, stream_id_t b);
/* Total order: tenant, shard, region, incarnation. Everything that walks streams walks in it. */
int stream_id_compare(stream_id_t a, stream_id_t b);
bool process_address_equal(process_address_t a, process_address_t b);

region_set_t region_set_add(region_set_t set, region_id_t region);
region_set_t region_set_remove(region_set_t set, region_id_t region);
bool region_set_has(region_set_t set, region_id_t region);
/* Whether every region of `inner` is in `outer`. */
bool region_set_covers(region_set_t outer, region_set_t inner);
unsigned region_set_count(region_set_t set);

#endif
