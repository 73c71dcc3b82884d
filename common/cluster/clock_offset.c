#include "common/cluster/clock_offset.h"

#include "common/base/check.h"

#include <stdlib.h>
#include <string.h>

/* Moves the windows on to the one that holds now_ns. */
static void s_move_on(clock_offset_t *self, int64_t now_ns)
{
    if (self->window_ends_ns != 0 && now_ns < self->window_ends_ns) {
        return;
    }
    bool is_next =
        self->window_ends_ns != 0 && now_ns - self->window_ends_ns < CLOCK_OFFSET_WINDOW_NS;
    self->highest_ns[1] = self->highest_ns[0];
    self->heard_count[1] = is_next ? self->heard_count[0] : 0;
    self->heard_count[0] = 0;
    self->window_ends_ns = (is_next ? self->window_ends_ns : now_ns) + CLOCK_OFFSET_WINDOW_NS;
}

void clock_offset_hear(clock_offset_t *self, int64_t wall_ns, int64_t now_ns)
{
    CHECK(wall_ns >= 0 && now_ns >= 0);
    if (wall_ns < self->wall_ns) {
        *self = (clock_offset_t){0};
    }
    self->wall_ns = wall_ns;
    s_move_on(self, now_ns);
    int64_t offset_ns = wall_ns - now_ns;
    if (self->heard_count[0] == 0 || offset_ns > self->highest_ns[0]) {
        self->highest_ns[0] = offset_ns;
    }
    self->heard_count[0] += self->heard_count[0] < CLOCK_OFFSET_HEARD_MIN ? 1 : 0;
}

bool clock_offset_get(const clock_offset_t *self, int64_t now_ns, int64_t *ret_offset_ns)
{
    clock_offset_t moved = *self;
    s_move_on(&moved, now_ns);
    if (moved.heard_count[0] + moved.heard_count[1] < CLOCK_OFFSET_HEARD_MIN) {
        return false;
    }
    bool is_first = moved.heard_count[1] == 0 ||
                    (moved.heard_count[0] > 0 && moved.highest_ns[0] > moved.highest_ns[1]);
    *ret_offset_ns = moved.highest_ns[is_first ? 0 : 1];
    return true;
}

static int s_compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

int64_t clock_offset_ahead_ns(int64_t own_ns, const int64_t *peers, uint32_t peer_count)
{
    int64_t sorted[REGION_COUNT_MAX];
    CHECK(peer_count <= REGION_COUNT_MAX);
    if (peer_count == 0) {
        return 0;
    }
    memcpy(sorted, peers, peer_count * sizeof(*peers));
    qsort(sorted, peer_count, sizeof(*sorted), s_compare);
    int64_t bar_ns = sorted[peer_count / 2]; /* with those below it more than half */
    if (own_ns <= bar_ns) {
        return 0;
    }
    uint64_t ahead_ns = (uint64_t)own_ns - (uint64_t)bar_ns; /* of any two numbers */
    return ahead_ns > INT64_MAX ? INT64_MAX : (int64_t)ahead_ns;
}
