/* States of a mesh for the tests of the reconciler: every node of every region, equal at first, and
 * changed by the test one by one. */
#ifndef TIDAL_TESTS_UNIT_RECONCILE_SUPPORT_H
#define TIDAL_TESTS_UNIT_RECONCILE_SUPPORT_H

#include "common/cluster/reconcile.h"

enum { RECONCILE_MODEL_ROW_COUNT = 16, RECONCILE_MODEL_STREAM_COUNT = 2 };

/* Of each (tenant, shard) there are two streams, of origins 1 and 2, applied everywhere up to 100
 * and 50. */
typedef struct {
    topology_t topology;
    table_t *table;
    uint32_t row_counts[REGION_COUNT_MAX + 1];
    msg_reconcile_row_t rows[REGION_COUNT_MAX + 1][RECONCILE_MODEL_ROW_COUNT];
    stream_position_t applied[REGION_COUNT_MAX + 1][RECONCILE_MODEL_ROW_COUNT]
                             [RECONCILE_MODEL_STREAM_COUNT];
} reconcile_model_t;

/* `default` everywhere; owned by the caller. */
reconcile_model_t *reconcile_model_new(uint32_t region_count, uint32_t shard_count);
void reconcile_model_destroy(reconcile_model_t **self_p);

/* One more tenant, above all others, with nodes only there. */
void reconcile_model_add_tenant(reconcile_model_t *self,
                                uint64_t id,
                                const char *name,
                                region_set_t placed);

stream_id_t reconcile_model_stream(uint64_t tenant, uint16_t shard, uint16_t origin);
msg_reconcile_row_t *reconcile_model_row(reconcile_model_t *self,
                                         uint16_t region,
                                         uint64_t tenant,
                                         uint16_t shard);
/* How far a node has applied the stream of origin 1 or 2. */
void reconcile_model_set_seq(
    reconcile_model_t *self, node_id_t node, uint64_t tenant, uint16_t origin, uint64_t seq);
void reconcile_model_set_digest(reconcile_model_t *self,
                                node_id_t node,
                                uint64_t tenant,
                                uint8_t byte);

/* Borrowed from self. */
reconcile_state_t reconcile_model_state(reconcile_model_t *self, uint16_t region);
/* Compares these regions, in this order; the report is initialised. */
void reconcile_model_compare(reconcile_model_t *self,
                             const uint16_t *regions,
                             uint32_t region_count,
                             reconcile_report_t *report);
/* The line of a node; fails the test when there is none. */
const reconcile_line_t *reconcile_line(const reconcile_report_t *report,
                                       uint64_t tenant,
                                       uint16_t region,
                                       uint16_t shard);

#endif
