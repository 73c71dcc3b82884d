/* How far the wall clock of one process lies ahead of those of others, from the wall times in their
 * heartbeats and when they arrived.
 *
 * A heartbeat tells wall time at its sending; held against the listener's own monotonic clock at its
 * arrival it gives the sender's offset, too low by the time that the message was under way, never
 * too high. So of many the highest is the nearest: that of a window of CLOCK_OFFSET_WINDOW_NS to
 * twice that. Offsets of different processes, heard by one listener, differ by what their clocks
 * differ; the listener's own wall clock does not matter.
 *
 * A process is ahead of its peers by as much as it is ahead of more than half of them: one peer whose
 * clock has stopped, or whose heartbeats are late, makes nobody else look fast. With one peer that
 * one decides, for nothing tells which of two clocks is right, and the one behind does no harm.
 *
 * Known after CLOCK_OFFSET_HEARD_MIN heartbeats in the window. A wall time below that of the heartbeat
 * before shows that the clock was set back: what was heard until then says nothing any more. A set
 * back by less than a heartbeat's distance shows within two windows. */
#ifndef TIDAL_COMMON_CLUSTER_CLOCK_OFFSET_H
#define TIDAL_COMMON_CLUSTER_CLOCK_OFFSET_H

#include "common/base/bounds.h"

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_OFFSET_WINDOW_NS INT64_C(2000000000)
enum { CLOCK_OFFSET_HEARD_MIN = 3 };

/* All zero: nothing was heard. */
typedef struct {
    int64_t highest_ns[2];   /* of the window that runs, and of the one before */
    uint32_t heard_count[2]; /* 0: nothing in that window */
    int64_t window_ends_ns;  /* of the one that runs; 0 before the first */
    int64_t wall_ns;         /* of the latest */
} clock_offset_t;

/* One heartbeat, in the order of their sending. in wall_ns >= 0, whatever it says; now_ns monotonic, never going back */
void clock_offset_hear(clock_offset_t *self, int64_t wall_ns, int64_t now_ns);
/* False while too little was heard in the last windows. */
bool clock_offset_get(const clock_offset_t *self, int64_t now_ns, int64_t *ret_offset_ns);

/* How far own_ns is ahead of more than half of the peers; 0 when it is not, or there are none.
 * in peers  offsets, 0..REGION_COUNT_MAX of them, in any order */
int64_t clock_offset_ahead_ns(int64_t own_ns, const int64_t *peers, uint32_t peer_count);

#endif
