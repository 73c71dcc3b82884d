/* Which numbers of a sequence have come: a contiguous high-water mark and what lies above it.
 *
 * Every number is taken once. 1, 2, 3 raise the mark; a number at or below the mark, or one above
 * it that came before, is refused; a number that leaves a gap waits above the mark until the gap is
 * filled. Equal sets of numbers give equal trackers, in whatever order they came. Zeroed memory is
 * a tracker that has seen nothing. */
#ifndef TIDAL_COMMON_SESSION_SESSION_TRACKER_H
#define TIDAL_COMMON_SESSION_SESSION_TRACKER_H

#include "common/session/seq_set.h"

typedef struct {
    uint64_t mark;     /* 1..mark have all come; 0: not even 1 */
    uint64_t last;     /* the highest that came; mark unless there are gaps */
    seq_set_t numbers; /* all that came, as maximal intervals */
} session_tracker_t;

/* Frees; empties. */
void session_tracker_done(session_tracker_t *self);

/* True: the number is new, and counts as seen from now on. False: 0, or seen before; nothing
 * changes. */
bool session_tracker_accept(session_tracker_t *self, uint64_t seq);

/* Intervals in rising order, as seq_set_next. */
bool session_tracker_next(const session_tracker_t *self,
                          seq_cursor_t *cursor,
                          seq_interval_t *ret_interval);
/* Adds an interval as a checkpoint holds it. False when it is none, is not above all that came, or
 * touches it: nothing changes then. */
bool session_tracker_load(session_tracker_t *self, seq_interval_t interval);

#endif
