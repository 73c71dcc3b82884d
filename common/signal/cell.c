#include "common/signal/cell.h"

#include "common/base/check.h"
#include "common/signal/cell_tail.h"

static const int64_t s_ns_per_s = 1000000000;

static_assert(sizeof(cell_t) == 64, "a row is one cache line");

static void s_invariant(const cell_t *self)
{
    CHECK(self->newest_ns >= -1);
    CHECK_IMPLIES(self->newest_ns < 0, self->count == 0);
    CHECK_IMPLIES(self->newest_ns < 0, self->tail == NULL);
    CHECK(self->hour_count >= self->minute_count);
    CHECK(self->count >= self->hour_count);
}

void cell_init(cell_t *self, uint32_t item_row, uint8_t signal)
{
    *self = (cell_t){.newest_ns = -1, .item_row = item_row, .signal = signal};
    s_invariant(self);
}

void cell_done(cell_t *self, memory_t *memory)
{
    cell_tail_free(&self->tail, memory);
}

/* -- buckets of time --------------------------------------------------------------------------- */

/* Minutes and hours are kept in the same way. */
typedef struct {
    int64_t bucket_ns;
    uint32_t kept; /* buckets, the newest one among them */
    bool is_minutes;
} grain_t;

static const grain_t s_minute_grain = {INT64_C(60) * 1000000000, MINUTES_KEPT, true};
static const grain_t s_hour_grain = {INT64_C(3600) * 1000000000, HOURS_KEPT, false};

/* The older buckets of a cell that has a tail. */
static buckets_t s_list(const cell_t *self, const grain_t *grain)
{
    return grain->is_minutes ? cell_tail_minutes(self->tail) : cell_tail_hours(self->tail);
}

static uint64_t *s_newest_count(cell_t *self, const grain_t *grain)
{
    return grain->is_minutes ? &self->minute_count : &self->hour_count;
}

static void s_insert(cell_t *self,
                     memory_t *memory,
                     const grain_t *grain,
                     int64_t newest,
                     uint32_t age,
                     uint64_t count)
{
    uint32_t wanted = 1;
    if (self->tail != NULL) {
        wanted += *s_list(self, grain).count;
    }
    cell_room_t room = {grain->is_minutes ? wanted : 0, grain->is_minutes ? 0 : wanted, false};
    cell_tail_reserve(&self->tail, memory, room);
    buckets_t list = s_list(self, grain);
    buckets_insert(&list, newest, age, count);
}

/* The event's bucket, which is not after the newest one, changes by delta (1 or -1). */
static void s_change(
    cell_t *self, memory_t *memory, const grain_t *grain, int64_t ts_ns, int64_t delta)
{
    int64_t newest = self->newest_ns / grain->bucket_ns;
    int64_t age = newest - ts_ns / grain->bucket_ns;
    if (age == 0) {
        *s_newest_count(self, grain) += (uint64_t)delta;
        return;
    }
    if (age >= grain->kept) {
        return;
    }
    if (self->tail != NULL) {
        buckets_t list = s_list(self, grain);
        uint64_t *entry = buckets_find(&list, newest, (uint32_t)age);
        if (entry != NULL) {
            buckets_change(&list, entry, delta);
            return;
        }
    }
    CHECK(delta > 0);
    s_insert(self, memory, grain, newest, (uint32_t)age, 1);
}

/* The newest time rises to ts_ns. */
static void s_advance(cell_t *self, memory_t *memory, const grain_t *grain, int64_t ts_ns)
{
    int64_t before = self->newest_ns / grain->bucket_ns;
    int64_t newest = ts_ns / grain->bucket_ns;
    if (newest == before) {
        return;
    }
    if (self->tail != NULL) {
        buckets_t list = s_list(self, grain);
        buckets_prune(&list, before, newest, grain->kept);
    }
    uint64_t *count = s_newest_count(self, grain);
    if (*count > 0 && newest - before < grain->kept) {
        s_insert(self, memory, grain, newest, (uint32_t)(newest - before), *count);
    }
    *count = 0;
}

/* -- landmarks --------------------------------------------------------------------------------- */

static uint128_t *s_require_older(cell_t *self, memory_t *memory)
{
    cell_tail_reserve(&self->tail, memory, (cell_room_t){.older = true});
    uint128_t *older = cell_tail_older(self->tail);
    CHECK(older != NULL);
    return older;
}

/* guess_ns is a landmark, most often the one that is looked for. */
static int64_t s_landmark_of_newest(const cell_t *self, const decay_t *decay, int64_t guess_ns)
{
    if ((uint64_t)(self->newest_ns - guess_ns) < (uint64_t)decay->span_ns) {
        return guess_ns;
    }
    return self->newest_ns - self->newest_ns % decay->span_ns;
}

/* The sum of the landmark at landmark_ns, which is not after the newest one, changes by amount. */
static void s_change_sum(
    cell_t *self, memory_t *memory, const decay_t *decay, int64_t landmark_ns, uint128_t amount)
{
    int64_t newest_ns = s_landmark_of_newest(self, decay, landmark_ns);
    int64_t back = (newest_ns - landmark_ns) / decay->span_ns;
    if (back == 0) {
        self->sum += amount;
    } else if (back <= CELL_OLDER_COUNT) {
        s_require_older(self, memory)[back - 1] += amount;
    }
}

static void s_advance_landmark(cell_t *self,
                               memory_t *memory,
                               const decay_t *decay,
                               int64_t landmark_ns)
{
    int64_t before_ns = s_landmark_of_newest(self, decay, landmark_ns);
    int64_t step = (landmark_ns - before_ns) / decay->span_ns;
    if (step == 0) {
        return;
    }
    bool has_older = self->tail != NULL && self->tail->has_older != 0;
    if (has_older || (self->sum != 0 && step <= CELL_OLDER_COUNT)) {
        uint128_t *older = s_require_older(self, memory);
        uint128_t sums[DECAY_LANDMARKS_KEPT] = {self->sum, older[0], older[1], older[2]};
        for (int64_t i = 0; i < CELL_OLDER_COUNT; i++) {
            older[i] = i + 1 >= step ? sums[i + 1 - step] : 0;
        }
    }
    self->sum = 0;
}

/* The newest time rises to ts_ns, which lies in the landmark at landmark_ns. */
static void s_raise(
    cell_t *self, memory_t *memory, const decay_t *decay, int64_t ts_ns, int64_t landmark_ns)
{
    if (self->newest_ns >= 0) {
        s_advance(self, memory, &s_minute_grain, ts_ns);
        s_advance(self, memory, &s_hour_grain, ts_ns);
        s_advance_landmark(self, memory, decay, landmark_ns);
    }
    self->newest_ns = ts_ns;
}

/* -- events ------------------------------------------------------------------------------------ */

/* Whether the event is of the newest event's minute and landmark. */
static bool s_is_recent(const cell_t *self,
                        const decay_t *decay,
                        int64_t ts_ns,
                        int64_t landmark_ns)
{
    int64_t minute_ns = s_minute_grain.bucket_ns;
    int64_t begin_ns = ts_ns - ts_ns % minute_ns;
    return (uint64_t)(self->newest_ns - begin_ns) < (uint64_t)minute_ns &&
           (uint64_t)(self->newest_ns - landmark_ns) < (uint64_t)decay->span_ns;
}

void cell_add(cell_t *self, memory_t *memory, decay_t *decay, int64_t ts_ns, double weight)
{
    int64_t landmark_ns = decay_landmark(decay, ts_ns);
    uint128_t amount = decay_amount(decay, ts_ns - landmark_ns, weight);
    self->count++;
    if (s_is_recent(self, decay, ts_ns, landmark_ns)) {
        self->newest_ns = ts_ns > self->newest_ns ? ts_ns : self->newest_ns;
        self->minute_count++;
        self->hour_count++;
        self->sum += amount;
        return;
    }
    if (ts_ns > self->newest_ns) {
        s_raise(self, memory, decay, ts_ns, landmark_ns);
    }
    s_change(self, memory, &s_minute_grain, ts_ns, 1);
    s_change(self, memory, &s_hour_grain, ts_ns, 1);
    s_change_sum(self, memory, decay, landmark_ns, amount);
    s_invariant(self);
}

void cell_touch(cell_t *self, memory_t *memory, decay_t *decay, int64_t ts_ns)
{
    if (ts_ns > self->newest_ns) {
        s_raise(self, memory, decay, ts_ns, decay_landmark(decay, ts_ns));
    }
    s_invariant(self);
}

void cell_void(cell_t *self, memory_t *memory, decay_t *decay, int64_t ts_ns, double weight)
{
    CHECK(self->count > 0);
    CHECK(ts_ns <= self->newest_ns);
    int64_t landmark_ns = decay_landmark(decay, ts_ns);
    uint128_t amount = decay_amount(decay, ts_ns - landmark_ns, weight);
    self->count--;
    s_change(self, memory, &s_minute_grain, ts_ns, -1);
    s_change(self, memory, &s_hour_grain, ts_ns, -1);
    s_change_sum(self, memory, decay, landmark_ns, -amount);
    s_invariant(self);
}

/* -- reading ----------------------------------------------------------------------------------- */

uint128_t cell_sum(const cell_t *self, unsigned i)
{
    CHECK(i < DECAY_LANDMARKS_KEPT);
    if (i == 0) {
        return self->sum;
    }
    const uint128_t *older = self->tail == NULL ? NULL : cell_tail_older(self->tail);
    return older == NULL ? 0 : older[i - 1];
}

void cell_reader_init(cell_reader_t *self, const decay_t *decay, int64_t at_ns)
{
    CHECK(at_ns >= 0);
    int64_t landmark_ns = at_ns - at_ns % decay->span_ns;
    *self = (cell_reader_t){decay, at_ns, landmark_ns, decay_factor(decay, landmark_ns, at_ns)};
}

double cell_score(const cell_t *self, cell_reader_t *reader, bool *ret_clipped)
{
    const decay_t *decay = reader->decay;
    bool clipped = reader->at_ns < self->newest_ns - decay->span_ns;
    if (ret_clipped != NULL) {
        *ret_clipped = clipped;
    }
    if (self->count == 0) {
        return 0.0;
    }
    const uint128_t sums[DECAY_LANDMARKS_KEPT] = {self->sum, cell_sum(self, 1), cell_sum(self, 2),
                                                  cell_sum(self, 3)};
    if (clipped) {
        int64_t landmark_ns = self->newest_ns - self->newest_ns % decay->span_ns;
        return decay_score(decay, sums, landmark_ns, self->newest_ns - decay->span_ns);
    }
    int64_t landmark_ns = s_landmark_of_newest(self, decay, reader->landmark_ns);
    if (landmark_ns != reader->landmark_ns) {
        reader->landmark_ns = landmark_ns;
        reader->factor = decay_factor(decay, landmark_ns, reader->at_ns);
    }
    return decay_score_with(sums, reader->factor);
}

uint64_t cell_window_count(const cell_t *self, window_t window, int64_t at_ns, bool *ret_clipped)
{
    CHECK(at_ns >= 0);
    if (window == WINDOW_ALL || self->newest_ns < 0) {
        if (ret_clipped != NULL) {
            *ret_clipped = false;
        }
        return self->count;
    }
    const grain_t *grain = window == WINDOW_1H ? &s_minute_grain : &s_hour_grain;
    int64_t width = window_seconds(window) * s_ns_per_s / grain->bucket_ns;
    int64_t exact_ns = (window == WINDOW_1H ? 1 : 24) * s_hour_grain.bucket_ns;
    if (ret_clipped != NULL) {
        *ret_clipped = at_ns < self->newest_ns - exact_ns;
    }
    int64_t newest = self->newest_ns / grain->bucket_ns;
    int64_t age_min = newest - at_ns / grain->bucket_ns;
    int64_t age_max = age_min + width - 1;
    if (age_max < 0 || age_min >= grain->kept) {
        return 0;
    }
    uint64_t count = 0;
    if (age_min <= 0) {
        count = grain->is_minutes ? self->minute_count : self->hour_count;
        age_min = 1;
    }
    if (self->tail != NULL && age_max >= age_min) {
        buckets_t list = s_list(self, grain);
        age_max = age_max < grain->kept ? age_max : grain->kept;
        count += buckets_sum(&list, newest, (uint32_t)age_min, (uint32_t)age_max);
    }
    return count;
}
