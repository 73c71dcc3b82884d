/* All endpoints of the proxy and the rules between them: what comes in at one goes through the
 * rules of its link and out by another.
 *
 * Start: every endpoint is bound, or the start fails. A cut closes the endpoints of its link; a
 * later rule opens them again, with retries while the old sockets are still being closed. */
#ifndef TIDAL_SERVICES_PARTITION_PROXY_PROXY_SWITCH_H
#define TIDAL_SERVICES_PARTITION_PROXY_PROXY_SWITCH_H

#include "common/replication/link_rules.h"
#include "services/partition_proxy/proxy_front.h"

typedef struct proxy_switch proxy_switch_t;

/* in loop, topology  borrowed
 * errs as env_zmq_bind */
err_t proxy_switch_open(env_loop_t *loop,
                        const topology_t *topology,
                        uint64_t seed,
                        proxy_switch_t **ret_switch,
                        errbuf_t *errbuf);
/* What waits is dropped. */
void proxy_switch_close(proxy_switch_t **self_p);

/* Replaces the rule of one link. errs ERR_INVALID as link_rules_check */
err_t proxy_switch_set(proxy_switch_t *self,
                       link_id_t link,
                       const link_rule_t *rule,
                       errbuf_t *errbuf);
/* All links pass. */
void proxy_switch_heal(proxy_switch_t *self);

int64_t proxy_switch_deadline_ns(const proxy_switch_t *self);
/* Forwards what is due. */
void proxy_switch_tick(proxy_switch_t *self, now_t now);

/* Borrowed. */
const link_rules_t *proxy_switch_rules(const proxy_switch_t *self);
const proxy_counts_t *proxy_switch_counts(const proxy_switch_t *self);
/* Whether every endpoint that no cut closes is open. */
bool proxy_switch_is_ready(const proxy_switch_t *self);

#endif
