/* When a leader's next group of writes is made durable: the pure core of group commit.
 *
 * A group costs some forty wake-ups in three regions (sync, ship, two syncs, two confirmations, two
 * replicas that apply), whatever is in it. A machine that has no time left answers all of them
 * late, and small groups keep it so. Therefore a group gathers while the one before it is on its
 * way to the in-sync set, and then for as long again as that took longer than it can take: with
 * queues anywhere on the way, groups grow; without any, none waits for more than the one before it
 * (the idea of TCP Vegas: Brakmo and Peterson, 1995). A first write after a pause never waits.
 *
 *   until = flushed + usual + (usual - least), hold_ns after flushed at the most
 *   usual   smoothed time from a group's sync to its confirmation
 *   least   the least of them, drawn slowly to the present ones */
#ifndef TIDAL_COMMON_REPLICATION_GROUP_PACE_H
#define TIDAL_COMMON_REPLICATION_GROUP_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* Zero is the start. */
typedef struct {
    int64_t flushed_ns; /* the last group, monotonic */
    int64_t usual_ns;
    int64_t least_ns;
    bool is_on_its_way; /* the last group is not confirmed */
    bool has_flushed;
} group_pace_t;

/* A group goes to the disk now. */
void group_pace_flushed(group_pace_t *self, int64_t now_ns);
/* All that was flushed is confirmed by the in-sync set; said again, it changes nothing. */
void group_pace_confirmed(group_pace_t *self, int64_t now_ns);
/* Until when the next group gathers, monotonic; INT64_MIN: it goes at once. in hold_ns >= 0 */
int64_t group_pace_until_ns(const group_pace_t *self, int64_t hold_ns);

#endif
