#include "common/replication/leader.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <stdlib.h>
#include <string.h>

/* Own streams: one for each life of the node, at most, and what it waits for. */
enum { S_WAIT_CAPACITY_MIN = 16, S_OWN_STREAM_COUNT_MAX = LEADER_STREAM_COUNT_MAX / 4 };
static_assert((LEADER_PENDING_COUNT_MAX & (LEADER_PENDING_COUNT_MAX - 1)) == 0,
              "doubling ends at the most");

/* How far each region holds one stream. */
typedef struct {
    stream_id_t stream;
    uint64_t durable_seq; /* on this node's region */
    uint64_t head_seq;    /* at its origin, when that is another region */
    uint64_t confirmed_seq[REGION_COUNT_MAX + 1];
    uint64_t confirmed_epoch[REGION_COUNT_MAX + 1];
} s_stream_t;

typedef struct {
    uint64_t ticket;
    uint32_t stream_index;
    ack_level_t level;
    bool as_island;
    uint64_t last_seq;
    int64_t deadline_ns;
} s_wait_t;

struct leader {
    leader_options_t options;
    uint64_t epoch;
    uint64_t seen_epoch; /* the highest that a region has shown and not taken back */
    region_id_t leader;
    region_set_t in_sync;
    region_set_t full;
    region_set_t reachable;
    region_set_t answered; /* regions that told all their positions since the start */
    leader_stream_t own;
    uint32_t own_index; /* unless NONE */
    bool accepts_islands;
    bool own_is_spoiled; /* a region is ahead or differs */
    bool write_waits;
    bool has_started;
    int64_t start_ns;
    int64_t heard_ns[REGION_COUNT_MAX + 1]; /* before the first: the start */
    uint32_t stream_count;
    uint32_t stream_capacity;
    s_stream_t *streams;
    uint32_t wait_count;
    uint32_t wait_capacity; /* grows, for most replicas never lead */
    s_wait_t *waits;        /* in order of arrival */
    int64_t earliest_deadline_ns;
    leader_effect_t *effects; /* room for an answer to each wait, and a new incarnation */
    uint32_t effect_count;
};

static void s_invariant(const leader_t *self)
{
    CHECK(self->stream_count <= self->stream_capacity);
    CHECK(self->wait_count <= self->wait_capacity);
    CHECK(self->wait_capacity <= LEADER_PENDING_COUNT_MAX);
    CHECK_IMPLIES(self->own != LEADER_STREAM_NONE, self->own_index < self->stream_count);
    CHECK_IMPLIES(self->write_waits, self->own == LEADER_STREAM_ASKING);
    CHECK_IMPLIES(self->wait_count == 0, self->earliest_deadline_ns == INT64_MAX);
}

static void s_grow(leader_t *self, uint32_t wait_capacity)
{
    CHECK(wait_capacity >= S_WAIT_CAPACITY_MIN && wait_capacity <= LEADER_PENDING_COUNT_MAX);
    self->wait_capacity = wait_capacity;
    self->waits = realloc(self->waits, wait_capacity * sizeof(*self->waits));
    self->effects = realloc(self->effects, (wait_capacity + 1) * sizeof(*self->effects));
    CHECK(self->waits != NULL && self->effects != NULL);
}

/* stream_count when it is not known. */
static uint32_t s_index_of(const leader_t *self, stream_id_t stream)
{
    uint32_t index = 0;
    while (index < self->stream_count && !stream_id_equal(self->streams[index].stream, stream)) {
        index++;
    }
    return index;
}

leader_t *leader_new(const leader_options_t *options)
{
    CHECK(options->self_region.value >= 1 && options->self_region.value <= REGION_COUNT_MAX);
    CHECK(options->asking_ns >= 0 && options->silent_ns > 0);
    leader_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    s_grow(self, S_WAIT_CAPACITY_MIN);
    self->options = *options;
    self->earliest_deadline_ns = INT64_MAX;
    s_invariant(self);
    return self;
}

void leader_destroy(leader_t **self_p)
{
    leader_t *self = *self_p;
    if (self != NULL) {
        free(self->waits);
        free(self->effects);
        free(self->streams);
        free(self);
        *self_p = NULL;
    }
}

/* Index of a stream; its row is created when it was not known. */
static uint32_t s_require_stream(leader_t *self, stream_id_t stream)
{
    uint32_t index = s_index_of(self, stream);
    if (index < self->stream_count) {
        return index;
    }
    CHECK(self->stream_count < LEADER_STREAM_COUNT_MAX);
    if (self->stream_count == self->stream_capacity) {
        self->stream_capacity = self->stream_capacity == 0 ? 8 : self->stream_capacity * 2;
        self->streams = realloc(self->streams, self->stream_capacity * sizeof(*self->streams));
        CHECK(self->streams != NULL);
    }
    self->streams[self->stream_count] = (s_stream_t){.stream = stream};
    return self->stream_count++;
}

/* The same for what others tell; NULL when it would take the room that is kept for own streams. */
static s_stream_t *s_admit_stream(leader_t *self, stream_id_t stream)
{
    uint32_t index = s_index_of(self, stream);
    if (index == self->stream_count && index >= LEADER_STREAM_COUNT_MAX - S_OWN_STREAM_COUNT_MAX) {
        return NULL;
    }
    index = s_require_stream(self, stream); /* may move the rows */
    return &self->streams[index];
}

static const s_stream_t *s_find_stream(const leader_t *self, stream_id_t stream)
{
    uint32_t index = s_index_of(self, stream);
    return index == self->stream_count ? NULL : &self->streams[index];
}

static bool s_region_holds(const leader_t *self,
                           const s_stream_t *row,
                           uint16_t region,
                           uint64_t seq)
{
    if (region == self->options.self_region.value) {
        return row->durable_seq >= seq;
    }
    if (region == row->stream.origin.region.value) {
        return row->head_seq >= seq;
    }
    return row->confirmed_seq[region] >= seq &&
           (row->confirmed_epoch[region] == self->epoch || MUTANT(COUNT_ANY_EPOCH));
}

static region_set_t s_holders(const leader_t *self, const s_stream_t *row, uint64_t seq)
{
    region_set_t holders = {0};
    region_set_t wanted = {self->full.bits | self->in_sync.bits};
    wanted = region_set_add(wanted, self->options.self_region);
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region_set_has(wanted, (region_id_t){region}) &&
            s_region_holds(self, row, region, seq)) {
            holders = region_set_add(holders, (region_id_t){region});
        }
    }
    return holders;
}

static ack_level_t s_level_of(const leader_t *self, region_set_t holders)
{
    if (!region_set_has(holders, self->options.self_region)) {
        return ACK_NONE;
    }
    if (!region_set_covers(holders, self->in_sync)) {
        return ACK_LOCAL;
    }
    return region_set_covers(holders, self->full) ? ACK_ALL : ACK_REPLICATED;
}

static void s_answer(leader_t *self, const s_wait_t *wait, code_t code, region_set_t holders)
{
    CHECK(self->effect_count < self->wait_capacity);
    self->effects[self->effect_count++] = (leader_effect_t){
        .kind = LEADER_EFFECT_ANSWER,
        .ticket = wait->ticket,
        .code = code,
        .durability = s_level_of(self, holders),
        .replicas = holders,
    };
}

/* An island promises its own disk, whatever else is known. */
static bool s_review_island(leader_t *self, const s_wait_t *wait)
{
    if (self->streams[wait->stream_index].durable_seq < wait->last_seq) {
        return false;
    }
    region_set_t own = region_set_add((region_set_t){0}, self->options.self_region);
    s_answer(self, wait, CODE_OK, own);
    self->effects[self->effect_count - 1].durability = ACK_LOCAL;
    self->effects[self->effect_count - 1].island = true;
    return true;
}

/* Answers a wait that is reached or overdue; false: it goes on waiting. */
static bool s_review_wait(leader_t *self, const s_wait_t *wait, int64_t now_ns)
{
    if (wait->as_island && s_review_island(self, wait)) {
        return true;
    }
    region_set_t holders = s_holders(self, &self->streams[wait->stream_index], wait->last_seq);
    if (!wait->as_island && s_level_of(self, holders) >= wait->level) {
        s_answer(self, wait, CODE_OK, holders);
        return true;
    }
    if (wait->deadline_ns <= now_ns) {
        s_answer(self, wait, CODE_NOT_REPLICATED, holders);
        return true;
    }
    return false;
}

/* Answers what is reached or overdue, keeps the others in order. */
static void s_review_waits(leader_t *self, int64_t now_ns)
{
    uint32_t kept = 0;
    int64_t earliest = INT64_MAX;
    for (uint32_t i = 0; i < self->wait_count; i++) {
        s_wait_t wait = self->waits[i];
        if (!s_review_wait(self, &wait, now_ns)) {
            self->waits[kept++] = wait;
            earliest = wait.deadline_ns < earliest ? wait.deadline_ns : earliest;
        }
    }
    self->wait_count = kept;
    self->earliest_deadline_ns = earliest;
}

static void s_on_record(leader_t *self, const leader_event_t *event)
{
    self->epoch = event->as.record.epoch;
    self->leader = event->as.record.leader;
    self->in_sync = event->as.record.in_sync;
    self->full = event->as.record.full;
    self->accepts_islands = event->as.record.accepts_islands;
}

/* Other regions of the placement. */
static region_set_t s_others(const leader_t *self)
{
    region_set_t all = {self->full.bits | self->in_sync.bits};
    return region_set_remove(all, self->options.self_region);
}

/* Settles the own stream when nothing stands in the way; asks for a new one if need be. */
static void s_review_asking(leader_t *self, int64_t now_ns)
{
    if (self->own != LEADER_STREAM_ASKING || self->full.bits == 0) {
        return; /* without a record it is not known whom to ask */
    }
    bool all_answered = region_set_covers(self->answered, s_others(self));
    bool waited = self->write_waits && now_ns - self->start_ns >= self->options.asking_ns;
    if (all_answered && !self->own_is_spoiled) {
        self->own = LEADER_STREAM_SETTLED;
        self->write_waits = false;
    } else if (self->own_is_spoiled || waited) {
        self->own = LEADER_STREAM_NONE;
        self->write_waits = false;
        CHECK(self->effect_count < self->wait_capacity + 1);
        self->effects[self->effect_count++] =
            (leader_effect_t){.kind = LEADER_EFFECT_NEW_INCARNATION};
    }
}

static void s_on_stream(leader_t *self, const leader_event_t *event)
{
    self->own_index = s_require_stream(self, event->as.stream.stream);
    s_stream_t *row = &self->streams[self->own_index];
    CHECK(row->durable_seq <= event->as.stream.durable_seq);
    row->durable_seq = event->as.stream.durable_seq;
    self->own = event->as.stream.is_new ? LEADER_STREAM_SETTLED : LEADER_STREAM_ASKING;
    self->own_is_spoiled = false;
    self->write_waits = false;
}

/* True when the position moved. */
static bool s_on_durable(leader_t *self, const leader_event_t *event)
{
    s_stream_t *row = s_admit_stream(self, event->as.durable.stream);
    if (row == NULL) {
        return false;
    }
    /* A replica's file may have lost its end; the own log never does. */
    CHECK_IMPLIES(self->own != LEADER_STREAM_NONE && row == &self->streams[self->own_index],
                  event->as.durable.seq >= row->durable_seq);
    bool moved = row->durable_seq != event->as.durable.seq;
    row->durable_seq = event->as.durable.seq;
    return moved;
}

/* What a region says now counts: one that has told a wrong epoch takes it back with its next list. */
static void s_review_seen_epoch(leader_t *self)
{
    self->seen_epoch = 0;
    for (uint32_t i = 0; i < self->stream_count; i++) {
        for (uint32_t region = 1; region <= REGION_COUNT_MAX; region++) {
            uint64_t epoch = self->streams[i].confirmed_epoch[region];
            self->seen_epoch = epoch > self->seen_epoch ? epoch : self->seen_epoch;
        }
    }
}

/* True when the position moved. */
static bool s_on_confirmed(leader_t *self, const leader_event_t *event)
{
    uint16_t region = event->as.confirmed.region.value;
    CHECK(region >= 1 && region <= REGION_COUNT_MAX);
    if (region == self->options.self_region.value) {
        return false;
    }
    s_stream_t *row = s_admit_stream(self, event->as.confirmed.stream);
    if (row == NULL) {
        return false;
    }
    bool epoch_moved = row->confirmed_epoch[region] != event->as.confirmed.epoch;
    bool moved = epoch_moved || row->confirmed_seq[region] != event->as.confirmed.seq;
    row->confirmed_seq[region] = event->as.confirmed.seq;
    row->confirmed_epoch[region] = event->as.confirmed.epoch;
    if (epoch_moved) {
        s_review_seen_epoch(self);
    }
    bool is_own = self->own == LEADER_STREAM_ASKING && row == &self->streams[self->own_index];
    if (is_own && (event->as.confirmed.seq > row->durable_seq || event->as.confirmed.differs)) {
        self->own_is_spoiled = !MUTANT(KEEP_INCARNATION);
    }
    return moved;
}

/* True when the position moved. */
static bool s_on_head(leader_t *self, const leader_event_t *event)
{
    s_stream_t *row = s_admit_stream(self, event->as.head.stream);
    if (row == NULL) {
        return false;
    }
    bool moved = row->head_seq != event->as.head.seq;
    row->head_seq = event->as.head.seq;
    return moved;
}

static void s_on_peer(leader_t *self, const leader_event_t *event)
{
    region_id_t region = event->as.peer.region;
    if (event->as.peer.reachable) {
        self->reachable = region_set_add(self->reachable, region);
    } else {
        self->reachable = region_set_remove(self->reachable, region);
    }
    if (event->as.peer.reachable && event->as.peer.listed_all) {
        self->answered = region_set_add(self->answered, region);
    }
}

static void s_on_heard(leader_t *self, const leader_event_t *event)
{
    CHECK(event->as.heard.region.value <= REGION_COUNT_MAX);
    int64_t *heard_ns = &self->heard_ns[event->as.heard.region.value];
    *heard_ns = event->as.heard.at_ns > *heard_ns ? event->as.heard.at_ns : *heard_ns;
}

static void s_on_wait(leader_t *self, const leader_event_t *event)
{
    CHECK(self->wait_count < LEADER_PENDING_COUNT_MAX);
    CHECK(event->as.wait.level >= ACK_LOCAL && event->as.wait.level <= ACK_ALL);
    s_wait_t wait = {
        .ticket = event->as.wait.ticket,
        .stream_index = s_require_stream(self, event->as.wait.stream),
        .level = event->as.wait.level,
        .as_island = event->as.wait.as_island,
        .last_seq = event->as.wait.last_seq,
        .deadline_ns = event->as.wait.deadline_ns,
    };
    if (self->wait_count == self->wait_capacity) {
        s_grow(self, 2 * self->wait_capacity);
    }
    if (s_review_wait(self, &wait, event->now_ns)) {
        return;
    }
    self->waits[self->wait_count++] = wait;
    if (wait.deadline_ns < self->earliest_deadline_ns) {
        self->earliest_deadline_ns = wait.deadline_ns;
    }
}

/* Whoever was not heard yet is silent since the start. */
static void s_start(leader_t *self, int64_t now_ns)
{
    if (!self->has_started) {
        self->has_started = true;
        self->start_ns = now_ns;
        for (uint32_t region = 0; region <= REGION_COUNT_MAX; region++) {
            self->heard_ns[region] = now_ns;
        }
    }
}

void leader_step(leader_t *self, const leader_event_t *event, leader_effects_t *ret_effects)
{
    s_invariant(self);
    self->effect_count = 0;
    s_start(self, event->now_ns);
    bool positions_moved = false;
    switch (event->kind) {
    case LEADER_EVENT_RECORD:
        s_on_record(self, event);
        positions_moved = true;
        break;
    case LEADER_EVENT_STREAM:
        s_on_stream(self, event);
        break;
    case LEADER_EVENT_WAIT:
        s_on_wait(self, event);
        break;
    case LEADER_EVENT_DURABLE:
        positions_moved = s_on_durable(self, event);
        break;
    case LEADER_EVENT_CONFIRMED:
        positions_moved = s_on_confirmed(self, event);
        break;
    case LEADER_EVENT_HEAD:
        positions_moved = s_on_head(self, event);
        break;
    case LEADER_EVENT_PEER:
        s_on_peer(self, event);
        break;
    case LEADER_EVENT_HEARD:
        s_on_heard(self, event);
        break;
    case LEADER_EVENT_TICK:
        break;
    }
    if (positions_moved || self->earliest_deadline_ns <= event->now_ns) {
        s_review_waits(self, event->now_ns);
    }
    s_review_asking(self, event->now_ns);
    s_invariant(self);
    *ret_effects = (leader_effects_t){self->effect_count, self->effects};
}

int64_t leader_deadline_ns(const leader_t *self)
{
    int64_t deadline = self->earliest_deadline_ns;
    if (self->write_waits) {
        int64_t asking_ends = self->start_ns + self->options.asking_ns;
        deadline = asking_ends < deadline ? asking_ends : deadline;
    }
    return deadline;
}

static region_set_t s_members_needed(const leader_t *self, ack_level_t level)
{
    region_set_t needed = {0};
    if (level >= ACK_REPLICATED) {
        needed.bits |= self->in_sync.bits;
    }
    if (level == ACK_ALL) {
        needed.bits |= self->full.bits;
    }
    return region_set_remove(needed, self->options.self_region);
}

static unsigned s_min_in_sync(const leader_t *self)
{
    unsigned full = region_set_count(self->full);
    return full < 2 ? full : 2;
}

/* Whether the tenant lets this follower take writes for itself: nothing was heard of the leader's
 * region for silent_ns. */
static bool s_is_island(const leader_t *self, int64_t now_ns)
{
    return self->accepts_islands && self->leader.value != 0 &&
           region_set_has(self->full, self->options.self_region) &&
           now_ns - self->heard_ns[self->leader.value] >= self->options.silent_ns;
}

leader_stance_t leader_stance(const leader_t *self, int64_t now_ns)
{
    switch (leader_role(self)) {
    case LEADER_LEADER:
        return LEADER_AS_LEADER;
    case LEADER_FOLLOWER:
        return s_is_island(self, now_ns) ? LEADER_AS_ISLAND : LEADER_AS_NOBODY;
    case LEADER_REPLACED:
        break;
    }
    return LEADER_AS_NOBODY;
}

/* What the level needs of other regions. */
static code_t s_admit_level(const leader_t *self, ack_level_t level, const char **ret_reason)
{
    if (level >= ACK_REPLICATED && region_set_count(self->in_sync) < s_min_in_sync(self)) {
        *ret_reason = "the in-sync set is smaller than min_in_sync; nothing is appended";
        return CODE_UNAVAILABLE;
    }
    if (!region_set_covers(self->reachable, s_members_needed(self, level))) {
        *ret_reason = "a region that the ack level needs is not heard; nothing is appended: retry "
                      "when the link is back, or ask for ack local";
        return CODE_UNAVAILABLE;
    }
    return CODE_OK;
}

code_t leader_admit(leader_t *self, ack_level_t level, int64_t now_ns, const char **ret_reason)
{
    leader_stance_t stance = leader_stance(self, now_ns);
    if (stance == LEADER_AS_NOBODY) {
        *ret_reason = leader_role(self) == LEADER_REPLACED
                          ? "another leader was named, and which one is not known here yet; retry"
                          : "this node follows; send the write to the leader";
        return CODE_READ_ONLY;
    }
    if (self->own != LEADER_STREAM_SETTLED) {
        self->write_waits = self->own == LEADER_STREAM_ASKING;
        *ret_reason = "the node has just started and is asking the other regions how far they hold "
                      "its log; retry";
        return CODE_UNAVAILABLE;
    }
    if (self->wait_count >= LEADER_PENDING_COUNT_MAX) {
        *ret_reason = "too many writes wait for confirmations; retry later or send fewer at once";
        return CODE_OVERLOADED;
    }
    return stance == LEADER_AS_ISLAND ? CODE_OK : s_admit_level(self, level, ret_reason);
}

ack_level_t leader_durability(const leader_t *self,
                              stream_id_t stream,
                              uint64_t seq,
                              region_set_t *ret_replicas)
{
    const s_stream_t *row = s_find_stream(self, stream);
    region_set_t holders = {0};
    if (row != NULL) {
        holders = s_holders(self, row, seq);
    }
    *ret_replicas = holders;
    return s_level_of(self, holders);
}

uint64_t leader_confirmed_seq(const leader_t *self, stream_id_t stream, region_id_t region)
{
    CHECK(region.value <= REGION_COUNT_MAX);
    const s_stream_t *row = s_find_stream(self, stream);
    return row == NULL ? 0 : row->confirmed_seq[region.value];
}

leader_role_t leader_role(const leader_t *self)
{
    if (self->leader.value != self->options.self_region.value) {
        return LEADER_FOLLOWER;
    }
    return self->seen_epoch > self->epoch ? LEADER_REPLACED : LEADER_LEADER;
}

leader_stream_t leader_stream(const leader_t *self)
{
    return self->own;
}

region_id_t leader_region(const leader_t *self)
{
    region_id_t nobody = {0};
    return leader_role(self) == LEADER_REPLACED ? nobody : self->leader;
}

uint64_t leader_epoch(const leader_t *self)
{
    return self->epoch;
}

uint32_t leader_waiting_count(const leader_t *self)
{
    return self->wait_count;
}
