#include "common/replication/receiver.h"

#include "common/base/check.h"
#include "common/base/tick.h"

#include <stdlib.h>
#include <string.h>

/* What the core keeps of a stream beside the row that others see. */
typedef struct {
    receiver_row_t row;
    region_set_t due;    /* regions that the next status tells of it */
    region_set_t listed; /* regions in whose heads message, of which the end is not seen, it was */
    region_set_t told;   /* regions whose list came since damage was set aside */
    uint64_t heads[REGION_COUNT_MAX + 1]; /* as each region told last; 0 nothing */
    int64_t progress_ns;      /* when something came, the source changed, or nothing was missing */
    int64_t origin_behind_ns; /* since when another region tells more than the origin's; -1 not */
    region_id_t avoided;      /* brought nothing; until the time below */
    int64_t avoided_until_ns;
    region_id_t named; /* by a FETCH; 0 none */
    uint64_t named_seq;
    int64_t named_until_ns;
    bool gap_is_told; /* for the position below */
    uint64_t gap_told_seq;
    int64_t gap_told_ns;
} s_stream_t;

struct receiver {
    receiver_options_t options;
    bool has_begun;                         /* time is known */
    int64_t heard_ns[REGION_COUNT_MAX + 1]; /* at first the time of the begin */
    bool has_ticked;
    int64_t next_publish_ns;
    bool publish_is_due;
    region_set_t status_is_due;
    uint32_t stream_count;
    uint32_t stream_capacity;
    s_stream_t *streams;
    receiver_counters_t counters;
};

static void s_invariant(const receiver_t *self)
{
    CHECK(self->stream_count <= self->stream_capacity);
    for (uint32_t i = 0; i < self->stream_count; i++) {
        CHECK(self->streams[i].row.durable_seq <= self->streams[i].row.appended_seq);
    }
}

receiver_t *receiver_new(const receiver_options_t *options)
{
    CHECK(options->publish_ns > 0 && options->resend_ns > 0);
    CHECK(options->source_silent_ns > 0);
    receiver_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->options = *options;
    s_invariant(self);
    return self;
}

void receiver_destroy(receiver_t **self_p)
{
    receiver_t *self = *self_p;
    if (self != NULL) {
        free(self->streams);
        free(self);
        *self_p = NULL;
    }
}

/* NULL when the table is full. */
static s_stream_t *s_require_stream(receiver_t *self, stream_id_t stream)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        if (stream_id_equal(self->streams[i].row.stream, stream)) {
            return &self->streams[i];
        }
    }
    if (self->stream_count == STREAM_COUNT_MAX) {
        self->counters.refused++;
        return NULL;
    }
    if (self->stream_count == self->stream_capacity) {
        self->stream_capacity = self->stream_capacity == 0 ? 16 : self->stream_capacity * 2;
        self->streams = realloc(self->streams, self->stream_capacity * sizeof(*self->streams));
        CHECK(self->streams != NULL);
    }
    s_stream_t *at = &self->streams[self->stream_count++];
    *at = (s_stream_t){.row = {.stream = stream, .head_at_ns = -1, .is_changed = true},
                       .origin_behind_ns = -1};
    self->publish_is_due = true;
    return at;
}

static void s_add(receiver_effects_t *effects, receiver_effect_kind_t kind, region_id_t peer)
{
    CHECK(effects->count < RECEIVER_EFFECT_COUNT_MAX);
    effects->list[effects->count++] = (receiver_effect_t){kind, peer};
}

/* The next status to this region tells of the stream. */
static void s_make_due(receiver_t *self, s_stream_t *at, region_id_t region)
{
    if (region.value != 0) {
        at->due = region_set_add(at->due, region);
        self->status_is_due = region_set_add(self->status_is_due, region);
    }
}

/* -- the source -------------------------------------------------------------------------------- */

static bool s_is_heard(const receiver_t *self, region_id_t region, int64_t now_ns)
{
    return now_ns - self->heard_ns[region.value] < self->options.source_silent_ns;
}

static bool s_can_serve(const receiver_t *self,
                        const s_stream_t *at,
                        region_id_t region,
                        int64_t now_ns)
{
    bool is_avoided = at->avoided.value == region.value && now_ns < at->avoided_until_ns;
    return region.value != 0 && region.value != self->options.self.value && !is_avoided &&
           s_is_heard(self, region, now_ns);
}

/* Of all regions but one; 0 when none that is heard has anything. */
static region_id_t s_furthest(const receiver_t *self,
                              const s_stream_t *at,
                              region_id_t except,
                              int64_t now_ns)
{
    region_id_t best = {0};
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region != except.value && at->heads[region] > at->heads[best.value] &&
            s_can_serve(self, at, (region_id_t){region}, now_ns)) {
            best.value = region;
        }
    }
    return best;
}

/* Whether the region that a FETCH named is still to be asked. */
static bool s_follows_name(const receiver_t *self, const s_stream_t *at, int64_t now_ns)
{
    return at->named.value != 0 && at->row.appended_seq < at->named_seq &&
           now_ns < at->named_until_ns && s_is_heard(self, at->named, now_ns);
}

static region_id_t s_choose(const receiver_t *self, const s_stream_t *at, int64_t now_ns)
{
    region_id_t origin = at->row.stream.origin.region;
    region_id_t current = at->row.source;
    region_id_t best = s_furthest(self, at, (region_id_t){0}, now_ns);
    bool origin_has_lost = at->origin_behind_ns >= 0 &&
                           now_ns - at->origin_behind_ns >= self->options.source_silent_ns;
    if (s_follows_name(self, at, now_ns)) {
        return at->named;
    }
    if (s_can_serve(self, at, origin, now_ns) && !origin_has_lost) {
        return origin;
    }
    bool current_serves = s_can_serve(self, at, current, now_ns) &&
                          (at->heads[current.value] > at->row.appended_seq ||
                           at->heads[best.value] <= at->heads[current.value]);
    return current_serves || best.value == 0 ? current : best;
}

static void s_set_source(receiver_t *self, s_stream_t *at, region_id_t source, int64_t now_ns)
{
    if (source.value == at->row.source.value) {
        return;
    }
    self->counters.source_changes += at->row.source.value == 0 ? 0 : 1;
    s_make_due(self, at, at->row.source);
    /* The origin's region sends a stream that it has not been told of. */
    if (at->row.source.value != 0 || source.value != at->row.stream.origin.region.value) {
        s_make_due(self, at, source);
    }
    at->row.source = source;
    at->row.resend = false;
    at->progress_ns = now_ns;
}

static void s_review_source(receiver_t *self, s_stream_t *at, int64_t now_ns)
{
    region_id_t origin = at->row.stream.origin.region;
    region_id_t source = at->row.source;
    uint64_t elsewhere = at->heads[s_furthest(self, at, origin, now_ns).value];
    uint64_t other_seq = at->heads[s_furthest(self, at, source, now_ns).value];
    if (elsewhere <= at->heads[origin.value]) {
        at->origin_behind_ns = -1;
    } else if (at->origin_behind_ns < 0) {
        at->origin_behind_ns = now_ns;
    }
    if (at->heads[source.value] <= at->row.appended_seq) {
        at->progress_ns = now_ns;
    } else if (other_seq > at->row.appended_seq &&
               now_ns - at->progress_ns >= 2 * self->options.source_silent_ns) {
        at->avoided = source;
        at->avoided_until_ns = now_ns + 8 * self->options.source_silent_ns;
        at->named = (region_id_t){0};
    }
    s_set_source(self, at, s_choose(self, at, now_ns), now_ns);
}

static void s_review_sources(receiver_t *self, int64_t now_ns)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        s_review_source(self, &self->streams[i], now_ns);
    }
}

/* A region counts as heard when time begins, so that a start does not look like its silence. */
static void s_begin(receiver_t *self, int64_t now_ns)
{
    if (!self->has_begun) {
        self->has_begun = true;
        for (uint32_t region = 0; region <= REGION_COUNT_MAX; region++) {
            self->heard_ns[region] = now_ns;
        }
    }
}

/* -- events ------------------------------------------------------------------------------------ */

static void s_note_head(s_stream_t *at, const receiver_event_t *event)
{
    at->heads[event->peer.value] = event->seq;
    if (event->seq > at->row.head_seq) {
        at->row.head_seq = event->seq;
    }
    if (event->peer.value == at->row.stream.origin.region.value) {
        at->row.origin_seq = event->seq;
        at->row.head_at_ns = event->now_ns;
    }
}

/* NULL: refused, and counted. */
static s_stream_t *s_admit(receiver_t *self, const receiver_event_t *event)
{
    CHECK(event->peer.value >= 1 && event->peer.value <= REGION_COUNT_MAX);
    if (!event->is_placed || event->is_own) {
        self->counters.refused++;
        return NULL;
    }
    if (event->seq > STREAM_SEQ_MAX) {
        self->counters.future++;
        return NULL;
    }
    return s_require_stream(self, event->stream);
}

static void s_on_heads(receiver_t *self, const receiver_event_t *event)
{
    if (event->is_placed && event->is_own) {
        return; /* the others list what they hold of this region's streams too */
    }
    s_stream_t *at = s_admit(self, event);
    if (at != NULL) {
        s_note_head(at, event);
        at->listed = region_set_add(at->listed, event->peer);
    }
}

/* What a list does not name, its region does not hold: the head goes back to the furthest that is
 * still claimed. A region that is silent may still have what it told last. */
static void s_note_unlisted(s_stream_t *at, const receiver_event_t *event)
{
    at->heads[event->peer.value] = 0;
    if (event->peer.value == at->row.stream.origin.region.value) {
        at->row.origin_seq = 0;
        at->row.head_at_ns = event->now_ns;
    }
}

static void s_refresh_head(s_stream_t *at)
{
    uint64_t head_seq = at->row.appended_seq;
    for (uint32_t region = 1; region <= REGION_COUNT_MAX; region++) {
        head_seq = at->heads[region] > head_seq ? at->heads[region] : head_seq;
    }
    at->row.head_seq = head_seq;
}

static void s_damage(s_stream_t *at)
{
    at->row.is_damaged = true;
    at->told = (region_set_t){0};
}

/* Whole again: it has all that is claimed, by the origin's region or by two others at least. */
static void s_review_damage(receiver_t *self, s_stream_t *at)
{
    bool is_told =
        region_set_has(at->told, at->row.stream.origin.region) || region_set_count(at->told) >= 2;
    if (at->row.is_damaged && is_told && at->row.durable_seq >= at->row.head_seq) {
        at->row.is_damaged = false;
        at->row.is_changed = true;
        self->publish_is_due = true;
    }
}

static void s_on_heard(receiver_t *self, const receiver_event_t *event, receiver_effects_t *effects)
{
    CHECK(event->peer.value >= 1 && event->peer.value <= REGION_COUNT_MAX);
    self->heard_ns[event->peer.value] = event->now_ns;
    for (uint32_t i = 0; i < self->stream_count; i++) {
        s_stream_t *at = &self->streams[i];
        bool is_listed = region_set_has(at->listed, event->peer);
        bool is_known = (event->known_shards >> at->row.stream.origin.shard.value & 1) != 0;
        if (!is_listed && is_known) {
            s_note_unlisted(at, event);
        }
        s_refresh_head(at);
        if (is_listed || is_known) { /* a shipper that has just started knows nothing yet */
            at->told = region_set_add(at->told, event->peer);
        }
        s_review_damage(self, at);
        at->listed = region_set_remove(at->listed, event->peer);
        s_review_source(self, at, event->now_ns);
    }
    s_add(effects, RECEIVER_EFFECT_STATUS_ALL, event->peer);
}

static void s_on_blocks(receiver_t *self,
                        const receiver_event_t *event,
                        receiver_effects_t *effects)
{
    s_stream_t *at = s_admit(self, event);
    if (at == NULL) {
        s_add(effects, RECEIVER_EFFECT_REFUSE, event->peer);
        return;
    }
    self->heard_ns[event->peer.value] = event->now_ns;
    s_note_head(at, event);
    s_review_source(self, at, event->now_ns);
    s_add(effects, RECEIVER_EFFECT_OFFER, event->peer);
}

static void s_on_fetch(receiver_t *self, const receiver_event_t *event)
{
    enum { S_NAMED_PERIODS = 10 };
    s_stream_t *at = s_admit(self, event);
    if (at == NULL || event->seq <= at->row.appended_seq) {
        return;
    }
    self->counters.fetches++;
    at->named = event->peer;
    at->named_seq = event->seq;
    at->named_until_ns = event->now_ns + S_NAMED_PERIODS * self->options.source_silent_ns;
    at->heads[event->peer.value] =
        at->heads[event->peer.value] > event->seq ? at->heads[event->peer.value] : event->seq;
    s_set_source(self, at, s_choose(self, at, event->now_ns), event->now_ns);
}

/* The shipper must start again after what is appended; told once per position and resend_ns. */
static void s_ask_again(receiver_t *self, s_stream_t *at, const receiver_event_t *event)
{
    bool told_lately = at->gap_is_told && at->gap_told_seq == at->row.appended_seq &&
                       event->now_ns - at->gap_told_ns < self->options.resend_ns;
    if (told_lately) {
        return;
    }
    at->gap_is_told = true;
    at->gap_told_seq = at->row.appended_seq;
    at->gap_told_ns = event->now_ns;
    /* Whoever sends without being the source is told that it is not wanted. */
    at->row.resend = at->row.resend || at->row.source.value == event->peer.value;
    s_make_due(self, at, event->peer);
}

static void s_on_offered(receiver_t *self, const receiver_event_t *event)
{
    s_stream_t *at = s_require_stream(self, event->stream);
    CHECK(at != NULL);
    CHECK(event->seq >= at->row.durable_seq);
    if (event->seq != at->row.appended_seq || event->outcome == ERR_DISK_FULL) {
        at->progress_ns = event->now_ns; /* a full disk is not the source's fault */
    }
    at->row.appended_seq = event->seq;
    if (event->outcome == ERR_OK) {
        return;
    }
    if (event->outcome == ERR_GAP) {
        self->counters.gaps++;
    } else if (event->outcome == ERR_CONFLICT) {
        self->counters.conflicts++;
    } else if (event->outcome == ERR_DISK_FULL) {
        self->counters.no_room++;
    } else {
        self->counters.corrupt++;
    }
    s_ask_again(self, at, event);
}

static void s_on_durable(receiver_t *self, const receiver_event_t *event)
{
    s_stream_t *at = s_require_stream(self, event->stream);
    if (at == NULL) {
        return;
    }
    CHECK(event->seq >= at->row.durable_seq);
    at->row.durable_seq = event->seq;
    if (at->row.appended_seq < event->seq) {
        at->row.appended_seq = event->seq;
    }
    at->row.is_changed = true;
    self->publish_is_due = true;
    if (event->outcome == ERR_CORRUPT) {
        s_damage(at);
    }
    s_review_damage(self, at);
    s_make_due(self, at, at->row.source);
    s_make_due(self, at, event->leader);
}

static void s_on_set_aside(receiver_t *self, const receiver_event_t *event)
{
    s_stream_t *at = s_require_stream(self, event->stream);
    if (at == NULL || event->seq > at->row.durable_seq ||
        (event->seq == at->row.durable_seq && event->seq == at->row.appended_seq)) {
        return;
    }
    self->counters.set_aside++;
    at->row.durable_seq = event->seq;
    at->row.appended_seq = event->seq;
    at->row.resend = true;
    at->row.is_changed = true;
    self->publish_is_due = true;
    s_damage(at);
    s_make_due(self, at, at->row.source);
}

static void s_on_turn_end(receiver_t *self, receiver_effects_t *effects)
{
    if (self->publish_is_due) {
        s_add(effects, RECEIVER_EFFECT_PUBLISH, (region_id_t){0});
    }
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region_set_has(self->status_is_due, (region_id_t){region})) {
            s_add(effects, RECEIVER_EFFECT_STATUS, (region_id_t){region});
        }
    }
}

void receiver_step(receiver_t *self, const receiver_event_t *event, receiver_effects_t *ret_effects)
{
    s_invariant(self);
    ret_effects->count = 0;
    if (event->kind != RECEIVER_EVENT_RECOVERED) {
        s_begin(self, event->now_ns);
    }
    switch (event->kind) {
    case RECEIVER_EVENT_RECOVERED:
    case RECEIVER_EVENT_FLUSHED:
        s_on_durable(self, event);
        break;
    case RECEIVER_EVENT_HEADS:
        s_on_heads(self, event);
        break;
    case RECEIVER_EVENT_HEARD:
        s_on_heard(self, event, ret_effects);
        break;
    case RECEIVER_EVENT_BLOCKS:
        s_on_blocks(self, event, ret_effects);
        break;
    case RECEIVER_EVENT_OFFERED:
        s_on_offered(self, event);
        break;
    case RECEIVER_EVENT_SET_ASIDE:
        s_on_set_aside(self, event);
        break;
    case RECEIVER_EVENT_FETCH:
        s_on_fetch(self, event);
        break;
    case RECEIVER_EVENT_TURN_END:
        s_on_turn_end(self, ret_effects);
        break;
    case RECEIVER_EVENT_TICK:
        s_review_sources(self, event->now_ns);
        if (!self->has_ticked || event->now_ns >= self->next_publish_ns) {
            self->has_ticked = true;
            self->next_publish_ns = tick_after(event->now_ns, self->options.publish_ns);
            s_add(ret_effects, RECEIVER_EFFECT_PUBLISH_ALL, (region_id_t){0});
        }
        break;
    }
    s_invariant(self);
}

int64_t receiver_deadline_ns(const receiver_t *self)
{
    return self->has_ticked ? self->next_publish_ns : INT64_MIN;
}

uint32_t receiver_stream_count(const receiver_t *self)
{
    return self->stream_count;
}

const receiver_row_t *receiver_row(const receiver_t *self, uint32_t index)
{
    CHECK(index < self->stream_count);
    return &self->streams[index].row;
}

bool receiver_row_is_due(const receiver_t *self, uint32_t index, region_id_t peer)
{
    CHECK(index < self->stream_count);
    return region_set_has(self->streams[index].due, peer);
}

void receiver_status_taken(receiver_t *self, region_id_t peer)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        s_stream_t *at = &self->streams[i];
        at->due = region_set_remove(at->due, peer);
        at->row.resend = at->row.resend && at->row.source.value != peer.value;
    }
    self->status_is_due = region_set_remove(self->status_is_due, peer);
}

void receiver_publish_taken(receiver_t *self)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        self->streams[i].row.is_changed = false;
    }
    self->publish_is_due = false;
}

receiver_counters_t receiver_counters(const receiver_t *self)
{
    return self->counters;
}
