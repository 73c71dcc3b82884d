/* The life of a region's gateway below its sockets: the one process that clients talk to.
 *
 * It owns nothing durable but a copy of the routing table. A client's request is decoded, cut into
 * parts, one per shard that it concerns, each part is asked of a node, asked again where that is
 * safe, and what the nodes answered becomes one reply.
 *
 *   in    client requests, each with a handle to reply to; MSG_WRITE_REPLY and MSG_READ_REPLY from
 *         nodes; MSG_TABLE from the control plane, published or asked for
 *   out   replies to clients; MSG_WRITE and MSG_READ to nodes of all regions; MSG_TABLE_REQUEST
 *
 * A part
 *
 *   IDLE --> WAITING --> SENT --> DONE      IDLE: until the user's home shard has logged it
 *               ^----------'                WAITING: to be sent at its time, at once at first
 *
 * Writes go to the leader that the table, or a node with READ_ONLY, names. What was not taken
 * (READ_ONLY, UNAVAILABLE, OVERLOADED, not reachable) is sent again until timeout_ms. What was sent
 * and not answered is sent again only when a second copy does no harm: with a producer, whose pair
 * decides, or when it sets registers, which carry their HLC. Otherwise, and in the end, it is
 * NOT_REPLICATED: maybe logged.
 *
 * Islands. When the region of a leader cannot be reached and the tenant accepts islands, the write
 * goes to the own region's node, which takes it when it is cut off too and says READ_ONLY when not.
 *
 * A tenant that the table does not have may be new: the request waits for the control plane's
 * answer, at most half a second, before it is UNKNOWN_TENANT.
 *
 * What concerns all shards (users, mute, block) is logged on the user's home shard first; the
 * others get it with the stamp of that copy, once it is known.
 *
 * Reads go to the node of the own region, then to the nearest other one that holds the shard; with
 * read `leader` to the leader. A node that does not answer is passed over for a while.
 *
 * Reachability. Every other region is asked for something small each third of peer_silent_ms; one
 * that was not heard for peer_silent_ms is unreachable: writes to its leaders are refused within a
 * second without being sent (or go to an island), reads pass it over, and retrieve says `degraded`.
 *
 * Invariants
 *   1. every request is replied to once, by its deadline at the latest.
 *   2. a write that is answered UNAVAILABLE, OVERLOADED or READ_ONLY was logged nowhere.
 *   3. all parts of a read are asked for one `at`.
 *   4. memory: GATEWAY_INFLIGHT_COUNT_MAX requests holding GATEWAY_HELD_SIZE_MAX bytes; what is
 *      over is OVERLOADED and harms nobody else.
 *
 * Same events in the same order with the same times, same messages: no clock, no socket, and
 * randomness only from the seed. */
#ifndef TIDAL_COMMON_GATEWAY_GATEWAY_ENGINE_H
#define TIDAL_COMMON_GATEWAY_GATEWAY_ENGINE_H

#include "common/base/err.h"
#include "common/engine/engine.h"
#include "common/wire/client_request.h"
#include "common/wire/msg.h"

typedef struct gateway_engine gateway_engine_t;

enum { GATEWAY_HELD_SIZE_MAX = 256 * 1024 * 1024 };

typedef struct {
    const char *version; /* of the program, for hello; lives as long as the engine */
    /* Bytes that all requests under way may hold before new ones are OVERLOADED; 0:
     * GATEWAY_HELD_SIZE_MAX. */
    uint64_t held_size_max;
    /* Answers, and forgets, what every process answers alike (ping, health, metrics), where the
     * shell knows more than the engine. NULL, or false: the engine does. */
    bool (*answer)(void *context, uint64_t reply_to, const client_request_t *request);
    void *context;
} gateway_engine_options_t;

/* in env  borrowed for the life of the engine; self is a gateway of the topology
 * in now  of the start
 * errs ERR_IO and those of the disk: the cached table cannot be read */
err_t gateway_engine_open(const engine_env_t *env,
                          const gateway_engine_options_t *options,
                          now_t now,
                          gateway_engine_t **ret_engine,
                          errbuf_t *errbuf);
/* Requests under way are forgotten without a reply. Nulls; NULL is allowed. */
void gateway_engine_close(gateway_engine_t **self_p);

/* A request of a client; replied to now or later, and then forgotten, through env->net.
 * in bytes  anything, of any size */
void gateway_engine_message(gateway_engine_t *self, uint64_t reply_to, slice_t bytes, now_t now);
/* An answer of a node or of the control plane. in from  whom it was asked of */
void gateway_engine_message_from_node(gateway_engine_t *self,
                                      process_address_t from,
                                      slice_t bytes,
                                      now_t now);
/* What the control plane published. */
void gateway_engine_published(gateway_engine_t *self, slice_t bytes, now_t now);
/* No more input for now. The gateway sends as it goes; here it gives back memory. */
void gateway_engine_turn_end(gateway_engine_t *self, now_t now);
void gateway_engine_tick(gateway_engine_t *self, now_t now);
/* When a tick is due at the latest. */
int64_t gateway_engine_deadline_ns(const gateway_engine_t *self);
/* Replies to everything under way, before a stop: writes that were sent are NOT_REPLICATED, all
 * else is UNAVAILABLE. */
void gateway_engine_drain(gateway_engine_t *self, now_t now);

/* False with the reason, which lives for ever, when it cannot serve now. */
bool gateway_engine_is_ready(const gateway_engine_t *self, const char **ret_reason);
uint64_t gateway_engine_table_version(const gateway_engine_t *self);
/* Requests under way. */
uint32_t gateway_engine_inflight(const gateway_engine_t *self);

/* Metrics into a list of the caller; returns how many. Names live for ever. */
uint32_t gateway_engine_metrics(const gateway_engine_t *self,
                                msg_metric_t *ret_metrics,
                                uint32_t metric_count_max);

/* Other regions as this gateway hears them; returns how many, at most REGION_COUNT_MAX. */
uint32_t gateway_engine_peers(const gateway_engine_t *self,
                              now_t now,
                              msg_peer_t ret_peers[REGION_COUNT_MAX]);

#endif
