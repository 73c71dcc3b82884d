/* What clients of sessions and hard negatives do in a simulated cluster: one record as one request,
 * at whatever node, as one user's requests reach it through a gateway. */
#ifndef TIDAL_TESTS_SIMULATION_SESSION_CALLS_H
#define TIDAL_TESTS_SIMULATION_SESSION_CALLS_H

#include "common/session/session_id.h"
#include "tests/support/simulated_cluster.h"

/* The user of every call. */
user_id_t session_calls_user(void);
/* The n-th session of that user. */
session_id_t session_calls_id(uint64_t n);
/* The leader of the user's home shard. */
node_id_t session_calls_home(const simulated_cluster_t *cluster);
hlc_stamp_t session_calls_now(const simulated_cluster_t *cluster);

/* One record as a request; the batch carries the stamp. Repeated with one producer and seq it is one
 * request. */
simulated_write_t session_calls_write(simulated_cluster_t *cluster,
                                      node_id_t node,
                                      const record_t *record,
                                      hlc_stamp_t hlc,
                                      simulated_form_t form);
simulated_write_t session_calls_start(simulated_cluster_t *cluster,
                                      const session_id_t *id,
                                      simulated_form_t form);
simulated_write_t session_calls_signal(simulated_cluster_t *cluster,
                                       node_id_t node,
                                       const session_id_t *id,
                                       uint64_t item,
                                       simulated_form_t form);
simulated_write_t session_calls_close(simulated_cluster_t *cluster,
                                      node_id_t node,
                                      const session_id_t *id,
                                      ack_level_t level);
/* Hides the item, or ends that, under that stamp, as clients may give one. */
simulated_write_t session_calls_hide(simulated_cluster_t *cluster,
                                     node_id_t node,
                                     uint64_t item,
                                     int64_t wall_ns,
                                     bool set,
                                     ack_level_t level);
/* Whether a region's node says that the item is hidden. */
bool session_calls_is_hidden(simulated_cluster_t *cluster, uint16_t region, uint64_t item);
/* The session as a region has it; the reply lives until the next read. */
const msg_read_reply_t *session_calls_get(simulated_cluster_t *cluster,
                                          uint16_t region,
                                          const session_id_t *id);

/* Everything is everywhere. */
void session_calls_converge(simulated_cluster_t *cluster);

#endif
