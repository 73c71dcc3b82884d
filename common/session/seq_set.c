#include "common/session/seq_set.h"

#include "common/base/check.h"

#include <stdlib.h>
#include <string.h>

enum {
    CAPACITY_FIRST = 4,
    BLOCK_ID_MAX = INT32_MAX /* far beyond memory; keeps next_block_id from wrapping */
};

struct seq_block {
    uint32_t id;
    uint16_t count; /* 1.. */
    uint16_t capacity;
    bool is_changed;
    bool is_taken; /* a checkpoint may hold it; always so for block 0, which may have been single */
    seq_interval_t intervals[];
};

/* An interval within its block. */
typedef struct {
    uint32_t ref;
    uint32_t interval;
} spot_t;

static void s_invariant(const seq_set_t *self)
{
    CHECK_IMPLIES(self->has_single, self->ref_count == 0);
    CHECK_IMPLIES(self->has_single, self->single.first <= self->single.last);
    CHECK(self->ref_count <= self->ref_capacity);
}

static size_t s_block_size(size_t capacity)
{
    return sizeof(seq_block_t) + capacity * sizeof(seq_interval_t);
}

static seq_block_t *s_new_block(seq_set_t *self, uint32_t id, uint32_t capacity)
{
    CHECK(id <= BLOCK_ID_MAX);
    seq_block_t *block = malloc(s_block_size(capacity));
    CHECK(block != NULL);
    self->size_bytes += s_block_size(capacity);
    block->id = id;
    block->count = 0;
    block->capacity = (uint16_t)capacity;
    block->is_changed = true;
    block->is_taken = id == 0;
    return block;
}

static void s_free_block(seq_set_t *self, seq_block_t *block)
{
    self->size_bytes -= s_block_size(block->capacity);
    free(block);
}

static void s_resize_block(seq_set_t *self, uint32_t ref, uint32_t capacity)
{
    seq_block_t *block = self->refs[ref].block;
    self->size_bytes -= s_block_size(block->capacity);
    self->size_bytes += s_block_size(capacity);
    seq_block_t *resized = realloc(block, s_block_size(capacity));
    CHECK(resized != NULL);
    resized->capacity = (uint16_t)capacity;
    self->refs[ref].block = resized;
}

static void s_insert_ref(seq_set_t *self, uint32_t index, seq_block_t *block)
{
    if (self->ref_count == self->ref_capacity) {
        uint32_t capacity = self->ref_capacity == 0 ? 1 : 2 * self->ref_capacity;
        seq_block_ref_t *refs = realloc(self->refs, capacity * sizeof(*refs));
        CHECK(refs != NULL);
        self->size_bytes += (capacity - self->ref_capacity) * sizeof(*refs);
        self->refs = refs;
        self->ref_capacity = capacity;
    }
    (void)memmove(self->refs + index + 1, self->refs + index,
                  (self->ref_count - index) * sizeof(*self->refs));
    self->refs[index] = (seq_block_ref_t){block->intervals[0].first, block};
    self->ref_count++;
}

static void s_free_refs(seq_set_t *self)
{
    self->size_bytes -= self->ref_capacity * sizeof(*self->refs);
    free(self->refs);
    self->refs = NULL;
    self->ref_count = 0;
    self->ref_capacity = 0;
}

void seq_set_done(seq_set_t *self)
{
    for (uint32_t i = 0; i < self->ref_count; i++) {
        s_free_block(self, self->refs[i].block);
    }
    s_free_refs(self);
    CHECK(self->size_bytes == 0);
    *self = (seq_set_t){.refs = NULL};
}

/* -- looking up -------------------------------------------------------------------------------- */

/* The last interval that begins at or below seq; false when there is none. */
static bool s_find(const seq_set_t *self, uint64_t seq, spot_t *ret_spot)
{
    if (self->ref_count == 0 || seq < self->refs[0].first) {
        return false;
    }
    uint32_t low = 0;
    uint32_t end = self->ref_count;
    while (end - low > 1) {
        uint32_t middle = low + (end - low) / 2;
        bool is_at_or_below = self->refs[middle].first <= seq;
        low = is_at_or_below ? middle : low;
        end = is_at_or_below ? end : middle;
    }
    ret_spot->ref = low;
    const seq_block_t *block = self->refs[low].block;
    low = 0;
    end = block->count;
    while (end - low > 1) {
        uint32_t middle = low + (end - low) / 2;
        bool is_at_or_below = block->intervals[middle].first <= seq;
        low = is_at_or_below ? middle : low;
        end = is_at_or_below ? end : middle;
    }
    ret_spot->interval = low;
    return true;
}

static seq_interval_t *s_at(const seq_set_t *self, spot_t spot)
{
    return &self->refs[spot.ref].block->intervals[spot.interval];
}

bool seq_set_has(const seq_set_t *self, uint64_t seq)
{
    if (self->has_single) {
        return seq >= self->single.first && seq <= self->single.last;
    }
    spot_t spot;
    return s_find(self, seq, &spot) && seq <= s_at(self, spot)->last;
}

/* -- adding to one interval -------------------------------------------------------------------- */

/* The single interval and another one become the first block. */
static void s_leave_single(seq_set_t *self, seq_interval_t other)
{
    seq_block_t *block = s_new_block(self, 0, CAPACITY_FIRST);
    bool is_other_first = other.first < self->single.first;
    block->intervals[0] = is_other_first ? other : self->single;
    block->intervals[1] = is_other_first ? self->single : other;
    block->count = 2;
    self->has_single = false;
    self->next_block_id = 1;
    s_insert_ref(self, 0, block);
}

static bool s_add_to_single(seq_set_t *self, uint64_t seq, seq_change_t *ret_change)
{
    seq_interval_t *single = &self->single;
    if (seq >= single->first && seq <= single->last) {
        return false;
    }
    *ret_change = (seq_change_t){.now = {seq, seq}};
    /* Neither sum wraps: seq is above or below the interval, so one of its ends is not the limit.
     */
    if (seq > single->last && seq - 1 == single->last) {
        ret_change->has_below = true;
        ret_change->below = *single;
        single->last = seq;
    } else if (seq < single->first && seq + 1 == single->first) {
        ret_change->has_above = true;
        ret_change->above = *single;
        single->first = seq;
    } else {
        s_leave_single(self, (seq_interval_t){seq, seq});
        return true;
    }
    ret_change->now = *single;
    self->is_single_changed = true;
    return true;
}

/* -- adding to blocks -------------------------------------------------------------------------- */

/* Moves the upper half of a full block, or nothing when the new interval belongs behind all others,
 * into a new one behind it. */
static void s_split(seq_set_t *self, spot_t *at)
{
    seq_block_t *full = self->refs[at->ref].block;
    bool is_at_end = at->ref + 1 == self->ref_count && at->interval == full->count;
    uint32_t kept = is_at_end ? full->count - 1U : full->count / 2U;
    seq_block_t *upper = s_new_block(self, self->next_block_id++, SEQ_BLOCK_INTERVAL_COUNT_MAX);
    upper->count = (uint16_t)(full->count - kept);
    (void)memcpy(upper->intervals, full->intervals + kept, upper->count * sizeof(seq_interval_t));
    full->count = (uint16_t)kept;
    full->is_changed = true;
    s_insert_ref(self, at->ref + 1, upper);
    if (at->interval > kept) {
        *at = (spot_t){at->ref + 1, at->interval - kept};
    }
}

static void s_grow_block(seq_set_t *self, uint32_t ref)
{
    uint32_t capacity = 2U * self->refs[ref].block->capacity;
    capacity = capacity > SEQ_BLOCK_INTERVAL_COUNT_MAX ? SEQ_BLOCK_INTERVAL_COUNT_MAX : capacity;
    s_resize_block(self, ref, capacity);
}

/* Puts an interval at this spot of its block, or at its end. */
static void s_insert(seq_set_t *self, spot_t at, seq_interval_t interval)
{
    if (self->refs[at.ref].block->count == SEQ_BLOCK_INTERVAL_COUNT_MAX) {
        s_split(self, &at);
    } else if (self->refs[at.ref].block->count == self->refs[at.ref].block->capacity) {
        s_grow_block(self, at.ref);
    }
    seq_block_t *block = self->refs[at.ref].block;
    (void)memmove(block->intervals + at.interval + 1, block->intervals + at.interval,
                  (block->count - at.interval) * sizeof(seq_interval_t));
    block->intervals[at.interval] = interval;
    block->count++;
    block->is_changed = true;
    self->refs[at.ref].first = block->intervals[0].first;
}

/* Gives memory back when a block has shrunk much. */
static void s_shrink_block(seq_set_t *self, uint32_t ref)
{
    const seq_block_t *block = self->refs[ref].block;
    uint32_t capacity = block->capacity / 2U;
    if (capacity < CAPACITY_FIRST || block->count > capacity / 2) {
        return;
    }
    s_resize_block(self, ref, capacity);
}

/* Takes out the interval at this spot. */
static void s_remove(seq_set_t *self, spot_t at, seq_change_t *change)
{
    seq_block_t *block = self->refs[at.ref].block;
    block->count--;
    block->is_changed = true;
    if (block->count == 0) {
        change->is_block_dropped = block->is_taken;
        change->dropped_block_id = block->id;
        s_free_block(self, block);
        self->ref_count--;
        (void)memmove(self->refs + at.ref, self->refs + at.ref + 1,
                      (self->ref_count - at.ref) * sizeof(*self->refs));
        return;
    }
    (void)memmove(block->intervals + at.interval, block->intervals + at.interval + 1,
                  (block->count - at.interval) * sizeof(seq_interval_t));
    self->refs[at.ref].first = block->intervals[0].first;
    s_shrink_block(self, at.ref);
}

/* One interval in block 0 returns into the set itself. */
static void s_return_to_single(seq_set_t *self)
{
    seq_block_t *block = self->refs[0].block;
    if (self->ref_count > 1 || block->count > 1 || block->id != 0) {
        return;
    }
    self->single = block->intervals[0];
    self->has_single = true;
    self->is_single_changed = true;
    s_free_block(self, block);
    s_free_refs(self);
}

/* The interval behind the spot; false at the end. */
static bool s_step(const seq_set_t *self, spot_t *spot)
{
    spot->interval++;
    if (spot->interval == self->refs[spot->ref].block->count) {
        spot->interval = 0;
        spot->ref++;
    }
    return spot->ref < self->ref_count;
}

/* seq closes the gap between the interval at `below` and the one behind it, touches one of them, or
 * stands alone. has_below_spot false: it lies before all intervals. */
static void s_add_beside(
    seq_set_t *self, uint64_t seq, bool has_below_spot, spot_t below, seq_change_t *change)
{
    spot_t above = below;
    bool has_above_spot = has_below_spot ? s_step(self, &above) : true;
    if (!has_below_spot) {
        above = (spot_t){0, 0};
    }
    change->has_below = has_below_spot && s_at(self, below)->last + 1 == seq;
    change->has_above = has_above_spot && seq + 1 == s_at(self, above)->first;
    change->below = change->has_below ? *s_at(self, below) : (seq_interval_t){0, 0};
    change->above = change->has_above ? *s_at(self, above) : (seq_interval_t){0, 0};
    change->now.first = change->has_below ? change->below.first : seq;
    change->now.last = change->has_above ? change->above.last : seq;
    if (change->has_below) {
        *s_at(self, below) = change->now;
        self->refs[below.ref].block->is_changed = true;
        if (change->has_above) {
            s_remove(self, above, change);
        }
    } else if (change->has_above) {
        *s_at(self, above) = change->now;
        self->refs[above.ref].block->is_changed = true;
        self->refs[above.ref].first = self->refs[above.ref].block->intervals[0].first;
    } else {
        spot_t at = has_below_spot ? (spot_t){below.ref, below.interval + 1} : (spot_t){0, 0};
        s_insert(self, at, change->now);
    }
}

static bool s_add_to_blocks(seq_set_t *self, uint64_t seq, seq_change_t *ret_change)
{
    spot_t below = {0, 0};
    bool has_below_spot = s_find(self, seq, &below);
    if (has_below_spot && seq <= s_at(self, below)->last) {
        return false;
    }
    *ret_change = (seq_change_t){.is_block_dropped = false};
    s_add_beside(self, seq, has_below_spot, below, ret_change);
    s_return_to_single(self);
    return true;
}

bool seq_set_add(seq_set_t *self, uint64_t seq, seq_change_t *ret_change)
{
    s_invariant(self);
    bool is_new = true;
    if (self->has_single) {
        is_new = s_add_to_single(self, seq, ret_change);
    } else if (self->ref_count > 0) {
        is_new = s_add_to_blocks(self, seq, ret_change);
    } else {
        self->single = (seq_interval_t){seq, seq};
        self->has_single = true;
        self->is_single_changed = true;
        *ret_change = (seq_change_t){.now = self->single};
    }
    s_invariant(self);
    return is_new;
}

/* -- the whole --------------------------------------------------------------------------------- */

bool seq_set_next(const seq_set_t *self, seq_cursor_t *cursor, seq_interval_t *ret_interval)
{
    if (self->has_single) {
        *ret_interval = self->single;
        return cursor->interval++ == 0;
    }
    if (cursor->ref >= self->ref_count) {
        return false;
    }
    const seq_block_t *block = self->refs[cursor->ref].block;
    *ret_interval = block->intervals[cursor->interval];
    cursor->interval++;
    if (cursor->interval == block->count) {
        cursor->interval = 0;
        cursor->ref++;
    }
    return true;
}

bool seq_set_take_changed(seq_set_t *self, uint32_t *cursor, seq_block_view_t *ret_block)
{
    if (self->has_single && self->is_single_changed) {
        self->is_single_changed = false;
        *ret_block = (seq_block_view_t){0, 1, &self->single};
        return true;
    }
    for (; *cursor < self->ref_count; (*cursor)++) {
        seq_block_t *block = self->refs[*cursor].block;
        if (block->is_changed) {
            block->is_changed = false;
            block->is_taken = true;
            *ret_block = (seq_block_view_t){block->id, block->count, block->intervals};
            return true;
        }
    }
    return false;
}

void seq_set_mark_changed(seq_set_t *self)
{
    self->is_single_changed = self->has_single;
    for (uint32_t i = 0; i < self->ref_count; i++) {
        self->refs[i].block->is_changed = true;
    }
}

/* Where a block with these intervals belongs; false when it would overlap or touch another one. */
static bool s_find_gap(const seq_set_t *self, const seq_block_view_t *block, uint32_t *ret_ref)
{
    seq_interval_t first = block->intervals[0];
    seq_interval_t last = block->intervals[block->count - 1];
    spot_t below = {0, 0};
    bool has_below = s_find(self, first.first, &below);
    *ret_ref = has_below ? below.ref + 1 : 0;
    if (has_below && below.interval + 1U != self->refs[below.ref].block->count) {
        return false;
    }
    if (has_below &&
        (s_at(self, below)->last >= first.first || s_at(self, below)->last + 1 == first.first)) {
        return false;
    }
    return *ret_ref == self->ref_count ||
           (last.last < UINT64_MAX && last.last + 1 < self->refs[*ret_ref].first);
}

bool seq_set_load_block(seq_set_t *self, const seq_block_view_t *block)
{
    s_invariant(self);
    CHECK(block->count >= 1);
    CHECK(block->count <= SEQ_BLOCK_INTERVAL_COUNT_MAX);
    if (block->id >= BLOCK_ID_MAX) {
        return false;
    }
    bool is_empty = !self->has_single && self->ref_count == 0;
    if (is_empty && block->id == 0 && block->count == 1) {
        self->single = block->intervals[0];
        self->has_single = true;
        self->is_single_changed = false;
        return true;
    }
    if (self->has_single) {
        /* The block of one interval that came first turns out to have company. */
        seq_block_t *first = s_new_block(self, 0, CAPACITY_FIRST);
        first->intervals[0] = self->single;
        first->count = 1;
        first->is_changed = false;
        self->has_single = false;
        self->next_block_id = 1;
        s_insert_ref(self, 0, first);
    }
    uint32_t ref = 0;
    if (!s_find_gap(self, block, &ref)) {
        return false;
    }
    uint32_t capacity = CAPACITY_FIRST;
    while (capacity < block->count) {
        capacity *= 2;
    }
    capacity = capacity > SEQ_BLOCK_INTERVAL_COUNT_MAX ? SEQ_BLOCK_INTERVAL_COUNT_MAX : capacity;
    seq_block_t *loaded = s_new_block(self, block->id, capacity);
    (void)memcpy(loaded->intervals, block->intervals, block->count * sizeof(seq_interval_t));
    loaded->count = (uint16_t)block->count;
    loaded->is_changed = false;
    loaded->is_taken = true;
    s_insert_ref(self, ref, loaded);
    if (block->id >= self->next_block_id) {
        self->next_block_id = block->id + 1;
    }
    s_invariant(self);
    return true;
}
