/* The life of a region's WAL shipper below its sockets.
 *
 * It owns nothing durable. The region's nodes announce how far their own streams are durable, its
 * receiver how far the replicas are; the shipper reads the blocks from those files and sends them
 * to the receivers of the other regions that want them from here, as far as the window of each
 * allows. What the receivers confirm it publishes to the nodes, whose leaders count it.
 *
 *   in    MSG_LOG_POSITIONS published by nodes; MSG_AVAILABLE published by the region's receiver;
 *         MSG_TABLE published; MSG_RECEIVER_STATUS and MSG_WHO_ARE_YOU from receivers
 *   out   MSG_SHIP_HELLO, MSG_SHIP_HEADS, MSG_SHIP_BLOCKS to receivers; MSG_CONFIRMED published
 *
 * Failure: a file that cannot be read stops its stream to that region until the next announcement,
 * and is counted; a lost message is repaired by absolute positions. */
#ifndef TIDAL_COMMON_ENGINE_SHIPPER_ENGINE_H
#define TIDAL_COMMON_ENGINE_SHIPPER_ENGINE_H

#include "common/engine/engine.h"
#include "common/wire/msg.h"

typedef struct shipper_engine shipper_engine_t;

/* in env  copied; what it points to is borrowed until close
 * errs those of table_keeper_open: the cached routing table cannot be read */
err_t shipper_engine_open(const engine_env_t *env, shipper_engine_t **ret_engine, errbuf_t *errbuf);
void shipper_engine_close(shipper_engine_t **self_p);

/* An answer of a receiver. */
void shipper_engine_message(shipper_engine_t *self, slice_t bytes, now_t now);
void shipper_engine_published(shipper_engine_t *self, slice_t bytes, now_t now);
/* Ships what can be shipped and publishes what changed. */
void shipper_engine_turn_end(shipper_engine_t *self, now_t now);
void shipper_engine_tick(shipper_engine_t *self, now_t now);
int64_t shipper_engine_deadline_ns(const shipper_engine_t *self);

/* False with the reason when it cannot do its work now. */
bool shipper_engine_is_ready(const shipper_engine_t *self, const char **ret_reason);
uint64_t shipper_engine_table_version(const shipper_engine_t *self);

/* Metrics into a list of the caller; returns how many. Names live for ever. */
uint32_t shipper_engine_metrics(const shipper_engine_t *self,
                                msg_metric_t *ret_metrics,
                                uint32_t metric_count_max);

#endif
