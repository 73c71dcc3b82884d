#include "common/base/hlc.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

int hlc_compare(hlc_stamp_t a, hlc_stamp_t b)
{
    if (a.wall_ns != b.wall_ns) {
        return a.wall_ns < b.wall_ns ? -1 : 1;
    }
    if (a.logical != b.logical) {
        return a.logical < b.logical ? -1 : 1;
    }
    if (a.node != b.node) {
        return a.node < b.node ? -1 : 1;
    }
    return 0;
}

void hlc_init(hlc_t *self, uint32_t node)
{
    *self = (hlc_t){.last = {0, 0, 0}, .node = node};
}

hlc_stamp_t hlc_now(hlc_t *self, int64_t wall_ns)
{
    hlc_stamp_t before = self->last;
    if (wall_ns > before.wall_ns) {
        self->last = (hlc_stamp_t){wall_ns, 0, self->node};
    } else if (before.logical < UINT32_MAX) {
        self->last = (hlc_stamp_t){before.wall_ns, before.logical + 1, self->node};
    } else {
        CHECK(before.wall_ns < INT64_MAX);
        self->last = (hlc_stamp_t){before.wall_ns + 1, 0, self->node};
    }
    CHECK(hlc_compare(self->last, before) > 0);
    return self->last;
}

void hlc_observe(hlc_t *self, hlc_stamp_t stamp)
{
    bool is_followed = stamp.wall_ns <= HLC_WALL_NS_MAX && !MUTANT(HLC_FORGETS);
    if (is_followed && hlc_compare(stamp, self->last) > 0) {
        self->last = stamp;
    }
}

int64_t hlc_ahead_ns(hlc_stamp_t stamp, int64_t wall_ns)
{
    CHECK(wall_ns >= 0); /* so that the difference has room */
    return stamp.wall_ns > wall_ns ? stamp.wall_ns - wall_ns : 0;
}
