#include "common/cluster/reconcile_kept.h"

#include "common/base/check.h"

#include <stdlib.h>

void reconcile_kept_clear(reconcile_kept_t *self)
{
    for (uint32_t i = 0; i < self->row_count; i++) {
        free(self->applied[i]);
        free(self->ranges[i]);
    }
    free(self->rows);
    free(self->applied);
    free(self->ranges);
    *self = (reconcile_kept_t){.is_known = false};
}

void reconcile_kept_begin(reconcile_kept_t *self, uint32_t row_count_max)
{
    reconcile_kept_clear(self);
    self->is_known = true;
    self->rows = calloc((size_t)row_count_max + 1, sizeof(*self->rows));
    self->applied = calloc((size_t)row_count_max + 1, sizeof(stream_position_t *));
    self->ranges = calloc((size_t)row_count_max + 1, sizeof(msg_log_range_t *));
    CHECK(self->rows != NULL && self->applied != NULL && self->ranges != NULL);
}

void reconcile_kept_set_applied(reconcile_kept_t *self,
                                uint32_t row,
                                const stream_position_t *applied,
                                uint32_t applied_count)
{
    free(self->applied[row]);
    self->applied[row] = calloc((size_t)applied_count + 1, sizeof(*applied));
    CHECK(self->applied[row] != NULL);
    if (applied_count > 0) {
        memcpy(self->applied[row], applied, applied_count * sizeof(*applied));
    }
    self->rows[row].applied = self->applied[row];
    self->rows[row].applied_count = applied_count;
}

void reconcile_kept_set_ranges(reconcile_kept_t *self,
                               uint32_t row,
                               const msg_log_range_t *ranges,
                               uint32_t range_count)
{
    free(self->ranges[row]);
    self->ranges[row] = calloc((size_t)range_count + 1, sizeof(*ranges));
    CHECK(self->ranges[row] != NULL);
    if (range_count > 0) {
        memcpy(self->ranges[row], ranges, range_count * sizeof(*ranges));
    }
    self->rows[row].ranges = self->ranges[row];
    self->rows[row].range_count = range_count;
}

void reconcile_kept_add(reconcile_kept_t *self, const msg_reconcile_row_t *row)
{
    self->rows[self->row_count] = *row;
    reconcile_kept_set_applied(self, self->row_count, row->applied, row->applied_count);
    reconcile_kept_set_ranges(self, self->row_count, row->ranges, row->range_count);
    self->row_count++;
}
