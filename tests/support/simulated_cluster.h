/* The data plane of a mesh in one process: N regions x M shards of the same engines that the
 * services run, on in-process queues, an in-memory disk and virtual time, driven by one seed.
 *
 * Every region has its nodes, a shipper and a receiver, and, where the options ask for it, a
 * reconciler. There is no gateway, no control plane and no client: the test itself asks a node,
 * makes the next routing table, and does each fault at the moment that it means. That is for a
 * behaviour with a name. For gateways, control plane, clients, and faults drawn from a seed:
 * tests/simulation/world.h.
 *
 * Placement: shard i is led by region 1 + (i mod N) unless the options say otherwise. Regions are
 * numbered from 1 and named as topology_init_default names them, shards from 0. Nothing here reads
 * a clock; time moves only in simulated_cluster_run_ms and in the calls that wait. */
#ifndef TIDAL_TESTS_SUPPORT_SIMULATED_CLUSTER_H
#define TIDAL_TESTS_SUPPORT_SIMULATED_CLUSTER_H

#include "common/base/err.h"
#include "common/base/ids.h"
#include "common/base/seam.h"
#include "common/cluster/reconcile.h"
#include "common/topology/schema.h"
#include "common/topology/table.h"
#include "common/wal/record.h"
#include "common/wire/msg.h"
#include "tests/support/sim_disk.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct simulated_cluster simulated_cluster_t;
typedef struct simulated_partition simulated_partition_t;
typedef struct simulated_crash simulated_crash_t;

typedef struct {
    uint16_t region_count;
    uint16_t shard_count;
    uint64_t seed;
    uint64_t segment_size_bytes; /* 0: the default */
    const region_id_t *leaders;  /* per shard; NULL: i mod N */
    bool with_reconcilers;       /* one per region as well */
    uint64_t retain_bytes;       /* not 0: logs are truncated below what all regions applied */
    uint32_t session_idle_ms;    /* 0: the default */
} simulated_cluster_options_t;

/* A running mesh; every node is ready. */
simulated_cluster_t *simulated_cluster_new(const simulated_cluster_options_t *options);
void simulated_cluster_destroy(simulated_cluster_t **self_p);

/* The node that leads a shard, and the follower of a shard in a region (CHECK: it is one). */
node_id_t simulated_cluster_leader(const simulated_cluster_t *self, shard_id_t shard);
node_id_t simulated_cluster_follower_in(const simulated_cluster_t *self,
                                        region_id_t region,
                                        shard_id_t shard);
shard_id_t simulated_cluster_shard_of(const simulated_cluster_t *self, item_id_t item);
shard_id_t simulated_cluster_home_of(const simulated_cluster_t *self, user_id_t user);

/* How a write ended. */
typedef struct {
    code_t code;
    region_id_t leader_hint; /* with READ_ONLY */
    ack_level_t durability;
    region_set_t replicas;
    bool duplicate;
    bool island;
    stream_id_t stream;
    uint64_t first_seq;
    uint64_t last_seq;
    hlc_stamp_t hlc;
    msg_session_summary_t session;
    int64_t took_ns; /* virtual */
} simulated_write_t;

/* How a write is asked for. */
typedef struct {
    ack_level_t level;
    const char *producer; /* NULL: none */
    uint64_t producer_seq;
} simulated_form_t;

/* Sends one request with these events to a node and runs until it is answered or
 * its time is over (code TIMEOUT). */
simulated_write_t simulated_cluster_write_to(simulated_cluster_t *self,
                                             node_id_t node,
                                             const signal_event_t *events,
                                             uint32_t count,
                                             simulated_form_t form);
/* A write of any records, with level, pair, token, payload and event_count as in `form`. In its
 * tenant 0: default, in its timeout_ms 0: 5000. */
simulated_write_t simulated_cluster_write_form(simulated_cluster_t *self,
                                               node_id_t node,
                                               const msg_write_t *form);
/* A write of one record, with its stamp. */
simulated_write_t simulated_cluster_write_record(simulated_cluster_t *self,
                                                 node_id_t node,
                                                 const record_t *record,
                                                 hlc_stamp_t hlc,
                                                 ack_level_t level);
/* Of write_form in two steps, for what happens while it waits: one at a time, and no
 * other write between. */
void simulated_cluster_begin_write(simulated_cluster_t *self,
                                   node_id_t node,
                                   const msg_write_t *form);
simulated_write_t simulated_cluster_end_write(simulated_cluster_t *self);
/* One signal to the leader of its item's shard, replicated. */
simulated_write_t simulated_cluster_write_signal(simulated_cluster_t *self,
                                                 const signal_event_t *event);
/* The routing table, borrowed; and a newer one, taken and published at once: what the control plane
 * has decided. */
const table_t *simulated_cluster_table(const simulated_cluster_t *self);
void simulated_cluster_use_table(simulated_cluster_t *self, table_t *next);
/* A newer table in which tenant `default` has that policy; it arrives within the call. */
void simulated_cluster_set_island(simulated_cluster_t *self, island_policy_t island);
/* Puts a request on its way without waiting; count of answers so far by simulated_cluster_answers.
 */
void simulated_cluster_post(simulated_cluster_t *self,
                            node_id_t node,
                            const signal_event_t *events,
                            uint32_t count,
                            ack_level_t level);

/* What was posted last once more, as a link that duplicates would deliver it. */
void simulated_cluster_repeat_message(simulated_cluster_t *self, node_id_t node);

typedef struct {
    uint64_t ok;
    uint64_t refused;
    uint64_t ok_events;
} simulated_answers_t;
simulated_answers_t simulated_cluster_answers(const simulated_cluster_t *self);

/* Any read at a node, however stale; the reply borrows until the next call. errs ERR_TIMEOUT */
err_t simulated_cluster_read(simulated_cluster_t *self,
                             node_id_t node,
                             msg_read_t *read,
                             const msg_read_reply_t **ret_reply);
/* The same in two steps, with max_staleness_ms as it is in `read`: one at a time. */
void simulated_cluster_begin_read(simulated_cluster_t *self, node_id_t node, msg_read_t *read);
err_t simulated_cluster_end_read(simulated_cluster_t *self, const msg_read_reply_t **ret_reply);
/* Whether what was begun is answered. */
bool simulated_cluster_is_answered(const simulated_cluster_t *self);
double simulated_cluster_read_decay_score(
    simulated_cluster_t *self, node_id_t node, item_id_t item, uint8_t signal, int64_t at_ns);
/* Sum over the streams of a node's applied vector; and one stream's entry (0: nothing). */
uint64_t simulated_cluster_applied_seqno(simulated_cluster_t *self, node_id_t node);
uint64_t simulated_cluster_applied_of(simulated_cluster_t *self,
                                      node_id_t node,
                                      stream_id_t stream);
/* 32 bytes. */
void simulated_cluster_digest(simulated_cluster_t *self,
                              node_id_t node,
                              uint8_t ret_digest[MSG_HASH_SIZE]);

/* A counter of a node, shipper or receiver, by its name in the metrics (CHECK: it has it). */
uint64_t simulated_cluster_metric(simulated_cluster_t *self,
                                  process_address_t process,
                                  const char *name);

void simulated_cluster_run_ms(simulated_cluster_t *self, int64_t ms);
int64_t simulated_cluster_now_ns(const simulated_cluster_t *self);
/* Runs until all replicas of every shard have equal vectors and digests and lag 0.
 * errs ERR_TIMEOUT after timeout_ms of virtual time. out ret_took_ms may be NULL */
err_t simulated_cluster_await_full_convergence(simulated_cluster_t *self,
                                               int64_t timeout_ms,
                                               int64_t *ret_took_ms);

/* The last report of a region's reconciler; lives until time moves on. */
const reconcile_report_t *simulated_cluster_report(const simulated_cluster_t *self,
                                                   region_id_t region);

/* -- faults ------------------------------------------------------------------------------------ */

/* Cuts both directions between two regions; lasts while the handle lives. */
simulated_partition_t *simulated_cluster_inject_partition(simulated_cluster_t *self,
                                                          region_id_t a,
                                                          region_id_t b);
uint64_t simulated_partition_dropped_count(const simulated_partition_t *self);
/* Heals that cut and nulls; may be called twice, and after heal_all. */
void simulated_partition_destroy(simulated_partition_t **self_p);
void simulated_cluster_heal_all_partitions(simulated_cluster_t *self);

/* Every receiver of other regions gets the last shipped blocks of this region's streams once more.
 */
void simulated_cluster_replay_last_batch(simulated_cluster_t *self, region_id_t region);

/* Flips one bit of the next shipped blocks on their way to a region. */
void simulated_cluster_corrupt_next_blocks(simulated_cluster_t *self, region_id_t to, uint64_t bit);

/* Flips one bit of the next piece of a snapshot on its way to a region. */
void simulated_cluster_corrupt_next_piece(simulated_cluster_t *self, region_id_t to, uint64_t bit);

/* Hands a message to a process, as if a peer had sent it. */
void simulated_cluster_hand(simulated_cluster_t *self, process_address_t process, const msg_t *msg);

/* What the control plane tells of a node's clock from now on; 0: it is right. */
void simulated_cluster_tell_clock(simulated_cluster_t *self, node_id_t node, uint32_t ahead_ms);

/* Kills a node as kill -9 would, now; it is down while the handle lives. */
simulated_crash_t *simulated_cluster_inject_shard_crash(simulated_cluster_t *self, node_id_t node);
/* Starts that node again, from what its disk holds, and nulls; may be called twice. */
void simulated_crash_destroy(simulated_crash_t **self_p);

/* Whether what its region's receiver announces is lost on the way to a node from now on. */
void simulated_cluster_lose_announcements(simulated_cluster_t *self, node_id_t node, bool lost);

/* Stops a process as kill -9 would, and starts it again from what its disk holds. */
void simulated_cluster_stop(simulated_cluster_t *self, process_address_t process);
/* Empties the store of a node that is stopped. */
void simulated_cluster_lose_checkpoint(simulated_cluster_t *self, node_id_t node);
void simulated_cluster_start(simulated_cluster_t *self, process_address_t process);

/* Empties a node's folder and its store, or a whole region's folder. The node, or all processes of
 * the region, are down (CHECK); the region's receiver may run on while a node's folder goes. */
void simulated_cluster_wipe_node(simulated_cluster_t *self, node_id_t node);
void simulated_cluster_wipe_region(simulated_cluster_t *self, region_id_t region);
/* The disk of a region, for looking and damage. */
sim_disk_t *simulated_cluster_disk(const simulated_cluster_t *self, region_id_t region);
/* What a region's disk holds now; the caller's. */
sim_disk_t *simulated_cluster_copy_disk(const simulated_cluster_t *self, region_id_t region);
/* The region, whose processes are down (CHECK), has that disk from now on, as from a backup, and
 * lost its checkpoints. takes *disk_p */
void simulated_cluster_set_back(simulated_cluster_t *self, region_id_t region, sim_disk_t **disk_p);
/* Tells a node to stop, as SIGTERM does; it runs on. Whether all that it has logged is answered. */
bool simulated_cluster_tell_to_stop(simulated_cluster_t *self, node_id_t node);
/* "" when the node is ready, else why it is not; lives until the next step. */
const char *simulated_cluster_unready(const simulated_cluster_t *self, node_id_t node);
/* What the store of a node that is down holds; for reading and writing. */
store_t simulated_cluster_store(const simulated_cluster_t *self, node_id_t node);

#endif
