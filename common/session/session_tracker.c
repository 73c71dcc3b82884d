#include "common/session/session_tracker.h"

#include "common/base/bounds.h"
#include "common/base/check.h"

static void s_invariant(const session_tracker_t *self)
{
    CHECK(self->mark <= self->last);
    CHECK_IMPLIES(self->mark > 0, seq_set_has(&self->numbers, self->mark));
}

void session_tracker_done(session_tracker_t *self)
{
    seq_set_done(&self->numbers);
    *self = (session_tracker_t){0};
}

bool session_tracker_accept(session_tracker_t *self, uint64_t seq)
{
    seq_change_t change;
    if (seq <= self->mark || !seq_set_add(&self->numbers, seq, &change)) {
        return false;
    }
    if (change.now.first == 1) {
        self->mark = change.now.last;
    }
    self->last = seq > self->last ? seq : self->last;
    s_invariant(self);
    return true;
}

bool session_tracker_next(const session_tracker_t *self,
                          seq_cursor_t *cursor,
                          seq_interval_t *ret_interval)
{
    return seq_set_next(&self->numbers, cursor, ret_interval);
}

bool session_tracker_load(session_tracker_t *self, seq_interval_t interval)
{
    bool is_above = self->last == 0 || interval.first > self->last + 1;
    if (interval.first == 0 || interval.last < interval.first || !is_above ||
        interval.last - interval.first >= SESSION_SIGNAL_COUNT_MAX) {
        return false;
    }
    for (uint64_t seq = interval.first; seq <= interval.last; seq++) {
        bool is_new = session_tracker_accept(self, seq);
        CHECK(is_new);
    }
    return true;
}
