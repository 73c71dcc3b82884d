/* A deployment: its places, processes, ports and settings, as one checked and immutable struct.
 *
 * Read from a topology file (topology/README.md lists every field) or made by
 * topology_init_default. A place is a region, or place 0 where the control plane lives; the
 * partition proxy belongs to none, its own sockets are reached directly from everywhere. Whoever
 * holds a topology holds the whole of it: a struct that passed topology_check is never changed.
 *
 * Ports. All sockets are tcp. A region has one block of REGION_PORT_COUNT ports from port_base on:
 *
 *   port_base + 2 i       node i, requests       (i = shard)
 *   port_base + 2 i + 1   node i, publishes
 *   port_base + 90, 91    shipper
 *   port_base + 92, 93    receiver
 *   port_base + 94, 95    reconciler
 *   port_base + 97        gateway, publishes; its clients connect to gateway_port
 *
 * Control plane and proxy name their two ports. Between places, a topology with a proxy has one
 * endpoint of the proxy per directed link and purpose, at
 *
 *   link_port_base + (from * P + to) * 4 + purpose,   P = 1 + highest region id
 *
 * `from` being the place of the process that connects and `to` that of the one it wants: requests
 * travel from -> to, their replies and whatever is published travel to -> from. */
#ifndef TIDAL_COMMON_TOPOLOGY_TOPOLOGY_H
#define TIDAL_COMMON_TOPOLOGY_TOPOLOGY_H

#include "common/base/bounds.h"
#include "common/base/err.h"
#include "common/base/ids.h"
#include "common/topology/schema.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PORT_SHIPPER = 90, /* above those of 40 nodes */
    PORT_RECEIVER = 92,
    PORT_RECONCILER = 94,
    PORT_GATEWAY_PUBLISH = 97,
    REGION_PORT_COUNT = 98,
    LINK_PURPOSE_COUNT = 4,
    LINK_COUNT_MAX = (REGION_COUNT_MAX + 1) * REGION_COUNT_MAX * LINK_PURPOSE_COUNT,
    /* control, proxy, and per region 40 nodes and 4 more */
    PROCESS_COUNT_MAX = 2 + REGION_COUNT_MAX * (SHARD_COUNT_MAX + 4),
    ENDPOINT_SIZE = 6 + HOST_LENGTH_MAX + 1 + 5 + 1 /* "tcp://" host ":" port, zero byte */
};

/* Where a process is: host is what others connect to, bind what it binds itself ("*" for every
 * address of the machine). */
typedef struct {
    char host[HOST_LENGTH_MAX + 1];
    char bind[HOST_LENGTH_MAX + 1];
} topology_host_t;

typedef struct {
    region_id_t id; /* 1..REGION_COUNT_MAX, unique; means the same region for ever */
    char name[REGION_NAME_LENGTH_MAX + 1]; /* [a-z0-9-], unique, not "control" */
    topology_host_t at;
    uint16_t gateway_port; /* clients */
    uint16_t port_base;    /* first of REGION_PORT_COUNT */
} topology_region_t;

typedef struct {
    topology_host_t at;
    uint16_t port; /* requests */
    uint16_t publish_port;
} topology_control_t;

typedef struct {
    topology_host_t at;
    uint16_t port; /* commands */
    uint16_t publish_port;
    uint16_t link_port_base;
} topology_proxy_t;

typedef struct {
    uint32_t segment_size_bytes; /* a segment is sealed when it would grow beyond this */
    uint32_t seal_idle_ms;       /* or when nothing was written for this long */
    uint32_t seal_age_ms;        /* or when its first batch is this old */
    uint32_t group_hold_ms;      /* how long a group of writes gathers at the most */
    uint64_t retain_bytes;       /* log kept per stream below a base; 0 all */
} topology_log_t;

typedef struct {
    uint32_t interval_ms;      /* between two checkpoints while something changes */
    uint32_t dirty_count_max;  /* entries changed since the last one that start the next at once */
    uint64_t store_size_bytes; /* map size of the store: its files never grow beyond it */
} topology_checkpoint_t;

typedef struct {
    /* What is periodic falls on multiples of this (decision 38). Every second one: heartbeats of
     * nodes, the full lists of shipper and receiver. Every fourth: other heartbeats, a node's
     * positions. */
    uint32_t heartbeat_ms;
    uint32_t peer_silent_ms;      /* a peer not heard for this long is unreachable */
    uint32_t source_silent_ms;    /* then a stream is taken from another region than its origin's */
    uint32_t incarnation_wait_ms; /* a write waits this long for silent regions after a start */
    uint32_t read_timeout_ms;     /* of a gateway's question to a node */
    uint32_t command_timeout_ms;  /* of commands to control plane, proxy and any process */
    uint32_t retry_ms;            /* before the gateway asks again within one request */
    uint32_t clock_skew_ms;       /* an HLC further ahead than this is refused (CLOCK_SKEW) */
    uint32_t reconcile_ms;        /* between two comparisons with each other region */
    uint32_t session_idle_ms;     /* a session without a signal for this long is closed */
    uint32_t stop_ms;             /* for a clean stop after SIGTERM */
} topology_timing_t;

/* What bounds.h allows at most, and a deployment may lower. */
typedef struct {
    uint32_t request_size_bytes;     /* of one client request */
    uint32_t request_row_count;      /* rows or columns of one client request */
    uint32_t candidate_count;        /* candidates of one retrieve */
    uint32_t retrieve_limit;         /* items of one answer */
    uint32_t gateway_inflight_count; /* requests under way; then OVERLOADED */
    uint32_t
        leader_pending_count;   /* writes that wait for confirmations, per node; then OVERLOADED */
    uint32_t ship_window_bytes; /* unconfirmed log per peer region */
} topology_limits_t;

typedef struct {
    schema_t schema;
    uint32_t region_count;                       /* 1..REGION_COUNT_MAX */
    topology_region_t regions[REGION_COUNT_MAX]; /* in the order of the file */
    uint32_t shard_count;                        /* 1..SHARD_COUNT_MAX */
    region_id_t leaders[SHARD_COUNT_MAX];        /* first leader of each shard of `default` */
    topology_control_t control;
    bool has_proxy; /* false: places connect directly */
    topology_proxy_t proxy;
    topology_log_t log;
    topology_checkpoint_t checkpoint;
    topology_timing_t timing;
    topology_limits_t limits;
} topology_t;

/* -- making ------------------------------------------------------------------------------------ */

/* N regions and M shards on 127.0.0.1 with every default, and a proxy when there is more than one
 * region. With (3, 5) what topology/three_region.yaml says, with (1, 1) topology/single.yaml. For
 * tests and simulations, which may change it before they use it. */
void topology_init_default(topology_t *self, uint32_t region_count, uint32_t shard_count);

/* Loads a topology file and the schema file that it names, and checks both. The message names file,
 * line and column, what was expected and what was found.
 * errs ERR_NOT_FOUND no such file · ERR_IO · ERR_TOO_LARGE · ERR_INVALID */
err_t topology_load(const char *path, topology_t *ret_topology, errbuf_t *errbuf);

/* Every rule that spans fields and every range; topology_load has done it. errs ERR_INVALID */
err_t topology_check(const topology_t *self, errbuf_t *errbuf);

/* 64 bits over the parts on which the processes of one mesh must agree: shard count, regions (ids
 * and names), first leaders, whether a proxy stands between places, signal types (ids, names,
 * half-lives, windows). Ports, hosts, settings and profiles may differ while a change is rolled
 * out. XXH3_64 of a canonical text; never 0. */
uint64_t topology_fingerprint(const topology_t *self);

/* -- finding ----------------------------------------------------------------------------------- */

/* NULL when there is none. Borrowed from self. */
const topology_region_t *topology_find_region(const topology_t *self, region_id_t id);
const topology_region_t *topology_find_region_name(const topology_t *self, const char *name);
/* Region name, "control" for place 0, "?" for a number that is no place. Borrowed from self. */
const char *topology_place_name(const topology_t *self, region_id_t place);
/* The other way round. errs ERR_NOT_FOUND */
err_t topology_place_parse(const topology_t *self, const char *name, region_id_t *ret_place);
region_set_t topology_regions(const topology_t *self);
/* First leader of a shard of `default`; the routing table says who leads now. in shard < count */
region_id_t topology_leader(const topology_t *self, shard_id_t shard);

/* -- processes --------------------------------------------------------------------------------- */

/* control, proxy, then per region in the order of the file its nodes, shipper, receiver, reconciler
 * and gateway. Shipper, receiver and reconciler exist only with more than one region, the proxy
 * only where the topology has one. */
uint32_t topology_process_count(const topology_t *self);
process_address_t topology_process(const topology_t *self, uint32_t index);
bool topology_has_process(const topology_t *self, process_address_t address);

/* -- endpoints --------------------------------------------------------------------------------- */

typedef struct {
    char text[ENDPOINT_SIZE]; /* "tcp://host:port" */
} endpoint_t;

typedef enum { SOCKET_REQUEST = 0, SOCKET_PUBLISH = 1 } socket_kind_t;

/* Part of the port number of a link: append only. */
typedef enum {
    LINK_REQUEST = 0,
    LINK_SHIP = 1,
    LINK_RECONCILE = 2,
    LINK_PUBLISH = 3
} link_purpose_t;

/* "request" "ship" "reconcile" "publish"; lives for ever. */
const char *link_purpose_name(link_purpose_t purpose);

/* One endpoint of the proxy. */
typedef struct {
    region_id_t from; /* place of those who connect to it */
    region_id_t to;   /* place of the processes behind it */
    link_purpose_t purpose;
} topology_link_t;

/* What the process itself binds. errs ERR_NOT_FOUND no such process in this topology, or a tool */
err_t topology_bind_endpoint(const topology_t *self,
                             process_address_t address,
                             socket_kind_t kind,
                             endpoint_t *ret_endpoint);

/* Where a process at place `from` reaches `target` for this purpose: directly where both are at one
 * place, where there is no proxy, or where the target is the proxy itself; else at the proxy.
 * errs ERR_NOT_FOUND no such place or process, or no link of this purpose between the two */
err_t topology_connect_endpoint(const topology_t *self,
                                region_id_t from,
                                process_address_t target,
                                link_purpose_t purpose,
                                endpoint_t *ret_endpoint);

/* All links of the proxy, by from, to, purpose; 0 without a proxy. Regions ship to and reconcile
 * with regions; requests and publishing link every two places. */
uint32_t topology_link_count(const topology_t *self);
topology_link_t topology_link(const topology_t *self, uint32_t index);
/* What the proxy binds for a link. errs ERR_NOT_FOUND */
err_t topology_link_endpoint(const topology_t *self,
                             topology_link_t link,
                             endpoint_t *ret_endpoint);

/* -- the list of fields ------------------------------------------------------------------------ */

/* One number of a topology file, as the loader knows it; a test holds topology/README.md to it. */
typedef struct {
    const char *section; /* "" for the top level, "regions", "timing" and so on */
    const char *key;
    const char *unit; /* "ms", "bytes", "" */
    uint64_t min;
    uint64_t max;
    uint64_t standard; /* when it is left out; where not required */
    bool required;
} topology_field_t;

/* Every number, in the order of the file; for tests. */
uint32_t topology_field_count(void);
topology_field_t topology_field(uint32_t index);

#endif
