/* The network of the simulation: net_t (common/base/seam.h) for many processes in one, in virtual
 * time, with the faults of common/replication/link_rules.h between places. One seed, one run.
 *
 * Life of a message. send, reply and publish copy the bytes into a buffer and put the message on
 * the lane (sender, receiver, what it is); a lane holds a bounded number of messages and bytes that
 * are not delivered yet (ERR_FULL; a publication is dropped and counted). After the latency it
 * arrives: within a place at the receiver, else at the link, which forwards it at once, later,
 * twice or never. A lane keeps its order but for the rule's reorder.
 *
 *   send ---> lane ---> latency ---+--- same place -------------------> on_message
 *   reply                          `--- link rule: wait, copy, drop --> on_published
 *   publish (one per subscriber)
 *
 * Time. Nothing here reads a clock: sim_network_deliver_due hands the time in, and the network's
 * time is that of the latest delivery or call, whichever is later. The driver calls it first on
 * each step and goes on to the deadline; the latencies are at least 1 ns, so a step always ends.
 *
 * Crash. sim_network_detach: what was under way to the process vanishes, its subscriptions and all
 * handles that it gave or got die, and of what it had sent either all vanishes or all still
 * arrives, as the driver draws. A later attach is a new life: no handle or message of the old one
 * reaches it.
 *
 * Cut. A message for a cut link is refused at once (ERR_UNREACHABLE) and counted by the link. The
 * connections that the link's `from` side had made are reset: what is under way on them vanishes,
 * in both directions and also where the link heals before it arrives, and the reply handles of
 * messages that came over them answer ERR_UNREACHABLE from then on.
 *
 * Callbacks may call anything of their own net_t, and attach, detach, subscribe and the link
 * functions, but not sim_network_deliver_due or sim_network_destroy. A net_t stays callable after
 * the detach: sending answers ERR_UNREACHABLE, publishing does nothing. */
#ifndef TIDAL_TESTS_SUPPORT_SIM_NETWORK_H
#define TIDAL_TESTS_SUPPORT_SIM_NETWORK_H

#include "common/base/seam.h"
#include "common/replication/link_rules.h"

enum {
    SIM_NETWORK_PROCESS_COUNT_MAX = 1024,        /* addresses ever named */
    SIM_NETWORK_MESSAGE_COUNT_MAX = 1024 * 1024, /* under way, all lanes */
    SIM_NETWORK_SUBSCRIBER_COUNT_MAX = 1024      /* subscriptions of one publisher */
};

/* 0 takes the default. */
typedef struct {
    uint64_t seed;
    int64_t start_ns;         /* time of the beginning; 0 is 0 */
    int64_t local_latency_ns; /* within a place; 20 us */
    int64_t local_jitter_ns;  /* even over 0..this on top, drawn per message; 0 none */
    int64_t link_latency_ns;  /* between places, before the rule; 1 ms */
    int64_t link_jitter_ns;   /* 0 none */
    uint32_t queue_count_max; /* of one lane; 10000 */
    uint64_t queue_size_max;  /* bytes of one lane; 64 MiB */
} sim_network_options_t;

/* What a process is called with. Bytes and topic are borrowed until the return. */
typedef struct {
    void *context;
    /* in reply_to  to be forgotten once; 0 when this is itself a reply, which cannot be answered */
    void (*on_message)(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size);
    /* NULL: this process subscribes to nothing */
    void (*on_published)(void *context, const char *topic, const uint8_t *bytes, size_t size);
} sim_network_receiver_t;

/* What becomes of the messages that a crashed process had sent and that are still under way. */
typedef enum { SIM_NETWORK_SENT_VANISHES, SIM_NETWORK_SENT_ARRIVES } sim_network_sent_t;

/* Since the start, but for under_way and handle_count. Messages: publications count per subscriber.
 */
typedef struct {
    uint64_t sent_count; /* accepted */
    uint64_t sent_bytes;
    uint64_t delivered_count; /* copies included */
    uint64_t delivered_bytes;
    uint64_t refused_full_count;        /* ERR_FULL */
    uint64_t refused_unreachable_count; /* ERR_UNREACHABLE */
    uint64_t refused_handle_count;      /* ERR_NOT_FOUND of reply */
    uint64_t publish_dropped_count;     /* lane full, subscriber down or link cut */
    uint64_t link_dropped_count;        /* by the rule of a link, after it was accepted */
    uint64_t copied_count;              /* made by the rule of a link */
    uint64_t vanished_count; /* receiver or sender crashed, or the link was cut under it */
    uint64_t handle_expired_count;
    uint64_t under_way_count;
    uint64_t handle_count; /* not forgotten, of all processes that are up */
} sim_network_counters_t;

typedef struct sim_network sim_network_t;

sim_network_t *sim_network_new(const sim_network_options_t *options);
/* Everything under way is forgotten; nobody is called. */
void sim_network_destroy(sim_network_t **self_p);

/* A process comes up. Its place is address.region (0 for control and proxy).
 * in address  not attached now
 * returns the process's seam, valid as long as self */
net_t sim_network_attach(sim_network_t *self,
                         process_address_t address,
                         sim_network_receiver_t receiver);
/* A process goes down, as by kill -9. in address attached now */
void sim_network_detach(sim_network_t *self, process_address_t address, sim_network_sent_t sent);
bool sim_network_is_attached(const sim_network_t *self, process_address_t address);

/* Is shown every message of send and reply when it is accepted, and may change the bytes, which are
 * those that will be delivered. */
typedef void (*sim_network_tap_fn)(
    void *context, process_address_t from, process_address_t to, uint8_t *bytes, size_t size);
/* in tap  NULL: none */
void sim_network_set_tap(sim_network_t *self, sim_network_tap_fn tap, void *context);

/* From now on `subscriber` hears what `publisher` publishes under topics that begin with prefix
 * (empty: all). It lasts until the subscriber goes down, also over restarts of the publisher, which
 * need not be up. Of several prefixes that match, one delivery. Twice the same: nothing happens.
 * in subscriber attached now, with on_published; prefix 0..TOPIC_SIZE_MAX bytes */
void sim_network_subscribe(sim_network_t *self,
                           process_address_t subscriber,
                           process_address_t publisher,
                           const char *prefix);

/* errs ERR_INVALID as link_rules_set */
err_t sim_network_set_link(sim_network_t *self,
                           link_id_t link,
                           const link_rule_t *rule,
                           errbuf_t *errbuf);
void sim_network_heal_all(sim_network_t *self);
/* Rules and counters, to look at: rules are changed only by the two functions above. */
const link_rules_t *sim_network_links(const sim_network_t *self);

/* Delivers everything that is due up to now_ns, what that gives rise to included, in order of time
 * and, at one time, of sending. in now_ns not before an earlier one. returns how many callbacks */
uint64_t sim_network_deliver_due(sim_network_t *self, int64_t now_ns);
/* When there is something to deliver or to release; INT64_MAX never. */
int64_t sim_network_deadline_ns(const sim_network_t *self);
int64_t sim_network_now_ns(const sim_network_t *self);
/* Who sent the message that is being delivered; only inside of a callback. */
process_address_t sim_network_sender(const sim_network_t *self);

/* Over all deliveries so far, in order: time, from, to, size, topic and bytes. */
uint64_t sim_network_trace_hash(const sim_network_t *self);
sim_network_counters_t sim_network_counters(const sim_network_t *self);

#endif
