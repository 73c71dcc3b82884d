/* The partition proxy as a service.
 *
 * Everything between two places of the mesh runs through it: places are the regions and `control`,
 * and each directed pair of them is a link with a rule of its own
 * (common/replication/link_rules.h), all of which pass at the start. Its sockets are proxy_front.h
 * (requests and answers) and proxy_channel.h (what is published); proxy_switch.h is what joins them
 * with the rules.
 *
 * A cut of one direction, A -> B, resets every connection that was made from A to B: as with real
 * TCP, neither requests of A nor what A hears of B get through; what B sends to A on connections of
 * its own does, but A's answers to it vanish.
 *
 * Commands, on its ROUTER: link, links, heal; ping, health, metrics.
 *
 * Metrics: "Partition proxy" in services/METRICS.md; those of a link while
 * there is room for them. */
#ifndef TIDAL_SERVICES_PARTITION_PROXY_PROXY_SHELL_H
#define TIDAL_SERVICES_PARTITION_PROXY_PROXY_SHELL_H

#include "common/env/env_process.h"

const env_service_t *proxy_service(void);

#endif
