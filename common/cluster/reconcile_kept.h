/* What one reconciler said of its region's nodes, as an own copy. For the engine alone. */
#ifndef TIDAL_COMMON_CLUSTER_RECONCILE_KEPT_H
#define TIDAL_COMMON_CLUSTER_RECONCILE_KEPT_H

#include "common/wire/msg.h"

/* Zeroed: nothing is known. */
typedef struct {
    bool is_known;
    uint32_t row_count;
    msg_reconcile_row_t *rows;
    stream_position_t **applied; /* of each row; owned */
    msg_log_range_t **ranges;    /* likewise */
} reconcile_kept_t;

void reconcile_kept_clear(reconcile_kept_t *self);
/* Room for this many rows, none of them there yet. */
void reconcile_kept_begin(reconcile_kept_t *self, uint32_t row_count_max);
/* The vector of a row, copied. */
void reconcile_kept_set_applied(reconcile_kept_t *self,
                                uint32_t row,
                                const stream_position_t *applied,
                                uint32_t applied_count);
/* What the node's logs hold, copied. */
void reconcile_kept_set_ranges(reconcile_kept_t *self,
                               uint32_t row,
                               const msg_log_range_t *ranges,
                               uint32_t range_count);
void reconcile_kept_add(reconcile_kept_t *self, const msg_reconcile_row_t *row);

#endif
