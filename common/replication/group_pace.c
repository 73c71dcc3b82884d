#include "common/replication/group_pace.h"

#include "common/base/check.h"

enum {
    S_USUAL_SHARE = 8,   /* of a new measurement in the smoothed one */
    S_LEAST_SHARE = 256, /* so that a change of the way itself is learnt, too */
};

void group_pace_flushed(group_pace_t *self, int64_t now_ns)
{
    self->flushed_ns = now_ns;
    self->has_flushed = true;
    self->is_on_its_way = true;
}

void group_pace_confirmed(group_pace_t *self, int64_t now_ns)
{
    if (!self->is_on_its_way) {
        return;
    }
    int64_t took_ns = now_ns - self->flushed_ns;
    CHECK(took_ns >= 0);
    self->is_on_its_way = false;
    if (self->least_ns == 0 || took_ns < self->least_ns) {
        self->least_ns = took_ns;
    } else {
        self->least_ns += (took_ns - self->least_ns) / S_LEAST_SHARE;
    }
    self->usual_ns += (took_ns - self->usual_ns) / S_USUAL_SHARE;
}

int64_t group_pace_until_ns(const group_pace_t *self, int64_t hold_ns)
{
    if (!self->has_flushed) {
        return INT64_MIN;
    }
    int64_t excess_ns = self->usual_ns > self->least_ns ? self->usual_ns - self->least_ns : 0;
    int64_t gather_ns = self->usual_ns + excess_ns;
    bool is_over = self->is_on_its_way || gather_ns > hold_ns;
    return self->flushed_ns + (is_over ? hold_ns : gather_ns);
}
