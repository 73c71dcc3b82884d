#include "common/replication/shipper.h"

#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/base/tick.h"
#include "common/replication/stream_index.h"

#include <stdlib.h>
#include <string.h>

enum { S_CHUNK_COUNT_MAX = 1024 }; /* messages under way to one peer */

typedef struct {
    bool is_known;  /* the peer has told its position */
    bool is_wanted; /* and that it takes the stream from here */
    bool is_stuck;  /* the file could not be read; until it is announced or heads are due */
    uint64_t confirmed_seq;
    uint64_t sent_seq;
    uint64_t epoch;
    uint8_t last_hash[MSG_HASH_SIZE];
    int64_t progress_ns; /* when confirmed moved, or the first byte after a pause went out */
} s_peer_stream_t;

typedef struct {
    stream_id_t stream;
    bool is_claim; /* other regions have told of it; this one was never said to have any of it */
    uint64_t head_seq;
    region_set_t placed; /* empty: not told, every peer */
    s_peer_stream_t peers[REGION_COUNT_MAX + 1];
} s_stream_t;

typedef struct {
    uint32_t stream_index;
    uint64_t last_seq;
    size_t size_bytes;
} s_chunk_t;

typedef struct {
    bool heard;
    bool listed_all; /* has told all its positions since its start or ours */
    bool answered;   /* the last HEADS, with its full list */
    int64_t heard_ns;
    uint64_t boot;
    uint64_t window_bytes;
    size_t unconfirmed_bytes;
    bool is_blocked; /* the last send was not accepted; until the next tick or message */
    uint32_t chunk_count;
    s_chunk_t chunks[S_CHUNK_COUNT_MAX];
} s_peer_t;

struct shipper {
    shipper_options_t options;
    int64_t next_heads_ns;
    bool has_ticked;
    bool was_quiet;  /* the last period was one without full lists */
    uint32_t cursor; /* (stream, peer) pair that is served next */
    shipper_counters_t counters;
    uint32_t claim_count; /* streams that were never announced here */
    uint32_t stream_count;
    uint32_t stream_capacity;
    s_stream_t *streams;
    stream_index_t index;                  /* of the rows of streams */
    s_peer_t *peers[REGION_COUNT_MAX + 1]; /* NULL: no such peer */
};

static void s_invariant(const shipper_t *self)
{
    CHECK(self->stream_count <= self->stream_capacity);
    CHECK(self->claim_count <= self->stream_count);
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        const s_peer_t *peer = self->peers[region];
        if (peer != NULL) {
            CHECK(peer->chunk_count <= S_CHUNK_COUNT_MAX);
            CHECK_IMPLIES(peer->chunk_count == 0, peer->unconfirmed_bytes == 0);
        }
    }
}

shipper_t *shipper_new(const shipper_options_t *options)
{
    CHECK(options->heads_ns > 0 && options->peer_silent_ns > 0 && options->resend_ns > 0);
    CHECK(!region_set_has(options->peers, options->self));
    shipper_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->options = *options;
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region_set_has(options->peers, (region_id_t){region})) {
            self->peers[region] = calloc(1, sizeof(s_peer_t));
            CHECK(self->peers[region] != NULL);
        }
    }
    s_invariant(self);
    return self;
}

void shipper_destroy(shipper_t **self_p)
{
    shipper_t *self = *self_p;
    if (self != NULL) {
        for (uint16_t region = 0; region <= REGION_COUNT_MAX; region++) {
            free(self->peers[region]);
        }
        free(self->streams);
        stream_index_done(&self->index);
        free(self);
        *self_p = NULL;
    }
}

static s_peer_t *s_find_peer(const shipper_t *self, region_id_t region)
{
    return region.value <= REGION_COUNT_MAX ? self->peers[region.value] : NULL;
}

/* NULL when it was never heard of. */
static s_stream_t *s_find_stream(const shipper_t *self, stream_id_t stream)
{
    uint32_t row = 0;
    return stream_index_find(&self->index, stream, &row) ? &self->streams[row] : NULL;
}

/* NULL when the table is full. */
static s_stream_t *s_require_stream(shipper_t *self, stream_id_t stream)
{
    uint32_t row = 0;
    bool is_new = false;
    if (stream_index_require(&self->index, stream, &row, &is_new) != ERR_OK) {
        self->counters.ignored++;
        return NULL;
    }
    if (is_new) {
        CHECK(row == self->stream_count);
        if (self->stream_count == self->stream_capacity) {
            self->stream_capacity = self->stream_capacity == 0 ? 16 : self->stream_capacity * 2;
            self->streams = realloc(self->streams, self->stream_capacity * sizeof(*self->streams));
        }
        CHECK(self->streams != NULL);
        self->streams[self->stream_count++] = (s_stream_t){.stream = stream};
    }
    return &self->streams[row];
}

/* Forgets what is under way of one stream, or what of it was confirmed. */
static void s_drop_chunks(s_peer_t *peer, uint32_t stream_index, uint64_t through_seq)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < peer->chunk_count; i++) {
        s_chunk_t chunk = peer->chunks[i];
        if (chunk.stream_index == stream_index && chunk.last_seq <= through_seq) {
            CHECK(peer->unconfirmed_bytes >= chunk.size_bytes);
            peer->unconfirmed_bytes -= chunk.size_bytes;
        } else {
            peer->chunks[kept++] = chunk;
        }
    }
    peer->chunk_count = kept;
}

static void s_send_again(shipper_t *self, s_peer_t *peer, uint16_t region, uint32_t stream_index)
{
    s_peer_stream_t *at = &self->streams[stream_index].peers[region];
    s_drop_chunks(peer, stream_index, UINT64_MAX);
    at->sent_seq = at->confirmed_seq;
}

static void s_on_announce(shipper_t *self, const shipper_event_t *event)
{
    s_stream_t *row = s_require_stream(self, event->as.announce.at.stream);
    if (row == NULL) {
        return;
    }
    self->claim_count -= row->is_claim ? 1 : 0;
    row->is_claim = false;
    uint64_t seq = event->as.announce.at.seq;
    if (seq > row->head_seq || (event->as.announce.is_exact && seq < row->head_seq)) {
        row->head_seq = seq;
        for (uint16_t region = 0; region <= REGION_COUNT_MAX; region++) {
            row->peers[region].is_stuck = false;
        }
    }
}

/* The row of an entry's stream; NULL: not believed, and counted. */
static s_stream_t *s_admit_status(shipper_t *self, const shipper_event_t *event)
{
    if (!event->as.status.is_placed) {
        self->counters.refused++;
        return NULL;
    }
    if (event->as.status.durable_seq > STREAM_SEQ_MAX) {
        self->counters.future++;
        return NULL;
    }
    s_stream_t *row = s_find_stream(self, event->as.status.stream);
    if (row != NULL) {
        return row;
    }
    if (self->claim_count >= SHIPPER_CLAIM_COUNT_MAX) {
        self->counters.refused++;
        return NULL;
    }
    row = s_require_stream(self, event->as.status.stream);
    if (row != NULL) {
        row->is_claim = true;
        self->claim_count++;
    }
    return row;
}

static void s_on_status(shipper_t *self, const shipper_event_t *event)
{
    uint16_t region = event->as.status.peer.value;
    s_peer_t *peer = s_find_peer(self, event->as.status.peer);
    self->counters.ignored += peer == NULL ? 1 : 0;
    s_stream_t *row = peer == NULL ? NULL : s_admit_status(self, event);
    if (row == NULL) {
        return;
    }
    uint32_t index = (uint32_t)(row - self->streams);
    s_peer_stream_t *at = &row->peers[region];
    bool went_back = at->is_known && event->as.status.durable_seq < at->confirmed_seq;
    bool moved = !at->is_known || event->as.status.durable_seq != at->confirmed_seq;
    at->is_known = true;
    at->is_wanted = event->as.status.wanted;
    at->confirmed_seq = event->as.status.durable_seq;
    at->epoch = event->as.status.epoch;
    memcpy(at->last_hash, event->as.status.last_hash, sizeof(at->last_hash));
    if (moved) {
        at->progress_ns = event->now_ns;
    }
    if ((event->as.status.resend && !MUTANT(NEVER_RESEND)) || went_back ||
        !event->as.status.wanted) {
        s_send_again(self, peer, region, index);
    } else {
        s_drop_chunks(peer, index, at->confirmed_seq);
    }
    if (at->sent_seq < at->confirmed_seq) {
        at->sent_seq = at->confirmed_seq;
    }
}

static void s_on_heard(shipper_t *self, const shipper_event_t *event)
{
    s_peer_t *peer = s_find_peer(self, event->as.heard.peer);
    if (peer == NULL) {
        self->counters.ignored++;
        return;
    }
    bool restarted = peer->heard && peer->boot != event->as.heard.boot;
    peer->heard = true;
    peer->heard_ns = event->now_ns;
    peer->boot = event->as.heard.boot;
    peer->window_bytes = event->as.heard.window_bytes;
    peer->is_blocked = false;
    peer->answered = peer->answered || event->as.heard.listed_all;
    peer->listed_all = event->as.heard.listed_all || (peer->listed_all && !restarted);
    if (restarted) {
        for (uint32_t i = 0; i < self->stream_count; i++) {
            s_send_again(self, peer, event->as.heard.peer.value, i);
        }
    }
}

static void s_on_sent(shipper_t *self, const shipper_event_t *event)
{
    s_peer_t *peer = s_find_peer(self, event->as.sent.peer);
    s_stream_t *row = s_require_stream(self, event->as.sent.stream);
    CHECK(peer != NULL && row != NULL);
    s_peer_stream_t *at = &row->peers[event->as.sent.peer.value];
    if (!event->as.sent.accepted) {
        at->is_stuck = event->as.sent.unreadable;
        peer->is_blocked = peer->is_blocked || !event->as.sent.unreadable;
        return;
    }
    CHECK(event->as.sent.last_seq > at->sent_seq);
    CHECK(peer->chunk_count < S_CHUNK_COUNT_MAX);
    if (at->sent_seq == at->confirmed_seq) {
        at->progress_ns = event->now_ns;
    }
    at->sent_seq = event->as.sent.last_seq;
    peer->unconfirmed_bytes += event->as.sent.size_bytes;
    peer->chunks[peer->chunk_count++] = (s_chunk_t){
        .stream_index = (uint32_t)(row - self->streams),
        .last_seq = event->as.sent.last_seq,
        .size_bytes = event->as.sent.size_bytes,
    };
}

static void s_review_pair(shipper_t *self, uint16_t region, uint32_t index, int64_t now_ns)
{
    s_peer_stream_t *at = &self->streams[index].peers[region];
    if (at->sent_seq > at->confirmed_seq && now_ns - at->progress_ns >= self->options.resend_ns) {
        s_send_again(self, self->peers[region], region, index);
        at->progress_ns = now_ns;
    }
}

/* Starts streams again in which nothing moved for too long. */
static void s_review_progress(shipper_t *self, int64_t now_ns)
{
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        for (uint32_t i = 0; self->peers[region] != NULL && i < self->stream_count; i++) {
            s_review_pair(self, region, i, now_ns);
        }
    }
}

static void s_on_tick(shipper_t *self, int64_t now_ns, shipper_effects_t *effects)
{
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (self->peers[region] != NULL) {
            self->peers[region]->is_blocked = false;
        }
    }
    s_review_progress(self, now_ns);
    if (self->has_ticked && now_ns < self->next_heads_ns) {
        return;
    }
    bool is_quiet = self->has_ticked && !self->was_quiet;
    self->has_ticked = true;
    self->next_heads_ns = tick_after(now_ns, self->options.heads_ns);
    self->was_quiet = is_quiet;
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        s_peer_t *peer = self->peers[region];
        if (peer != NULL && !(is_quiet && peer->answered)) {
            peer->answered = false;
            effects->list[effects->count++] =
                (shipper_effect_t){.kind = SHIPPER_EFFECT_HEADS, .peer = (region_id_t){region}};
        }
        for (uint32_t i = 0; i < self->stream_count; i++) {
            self->streams[i].peers[region].is_stuck = false;
        }
    }
    if (!is_quiet) {
        effects->list[effects->count++] = (shipper_effect_t){.kind = SHIPPER_EFFECT_PUBLISH_ALL};
    }
}

void shipper_step(shipper_t *self, const shipper_event_t *event, shipper_effects_t *ret_effects)
{
    s_invariant(self);
    ret_effects->count = 0;
    switch (event->kind) {
    case SHIPPER_EVENT_ANNOUNCE:
        s_on_announce(self, event);
        break;
    case SHIPPER_EVENT_STATUS:
        s_on_status(self, event);
        break;
    case SHIPPER_EVENT_HEARD:
        s_on_heard(self, event);
        break;
    case SHIPPER_EVENT_SENT:
        s_on_sent(self, event);
        break;
    case SHIPPER_EVENT_TICK:
        s_on_tick(self, event->now_ns, ret_effects);
        break;
    }
    CHECK(ret_effects->count <= SHIPPER_EFFECT_COUNT_MAX);
    s_invariant(self);
}

static bool s_peer_is_reachable(const shipper_t *self, const s_peer_t *peer, int64_t now_ns)
{
    return peer->heard && now_ns - peer->heard_ns < self->options.peer_silent_ns;
}

void shipper_place(shipper_t *self, stream_id_t stream, region_set_t placed)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        if (stream_id_equal(self->streams[i].stream, stream)) {
            self->streams[i].placed = placed;
        }
    }
}

bool shipper_is_placed(const shipper_t *self, uint32_t index, region_id_t peer)
{
    CHECK(index < self->stream_count);
    region_set_t placed = self->streams[index].placed;
    return placed.bits == 0 || region_set_has(placed, peer);
}

/* Whether the peer takes the stream from here. */
static bool s_is_asked(const shipper_t *self, const s_stream_t *row, uint16_t region)
{
    const s_peer_stream_t *at = &row->peers[region];
    return at->is_known ? at->is_wanted
                        : row->stream.origin.region.value == self->options.self.value;
}

static bool s_may_ship(const shipper_t *self,
                       const s_stream_t *row,
                       uint16_t region,
                       int64_t now_ns)
{
    const s_peer_t *peer = self->peers[region];
    if (peer == NULL || !s_is_asked(self, row, region) ||
        !shipper_is_placed(self, (uint32_t)(row - self->streams), (region_id_t){region})) {
        return false;
    }
    const s_peer_stream_t *at = &row->peers[region];
    bool has_room = peer->unconfirmed_bytes < peer->window_bytes &&
                    peer->chunk_count < S_CHUNK_COUNT_MAX && !peer->is_blocked;
    return has_room && peer->listed_all && !at->is_stuck && at->sent_seq < row->head_seq &&
           s_peer_is_reachable(self, peer, now_ns);
}

bool shipper_next(shipper_t *self, int64_t now_ns, shipper_effect_t *ret_effect)
{
    uint32_t pairs = self->stream_count * REGION_COUNT_MAX;
    for (uint32_t step = 0; step < pairs; step++) {
        uint32_t pair = (self->cursor + step) % pairs;
        s_stream_t *row = &self->streams[pair / REGION_COUNT_MAX];
        uint16_t region = (uint16_t)(1 + pair % REGION_COUNT_MAX);
        if (!s_may_ship(self, row, region, now_ns)) {
            continue;
        }
        self->cursor = (pair + 1) % pairs;
        const s_peer_stream_t *at = &row->peers[region];
        *ret_effect = (shipper_effect_t){
            .kind = SHIPPER_EFFECT_SHIP,
            .peer = {region},
            .stream = row->stream,
            .from_seq = at->sent_seq + 1,
            .through_seq = row->head_seq,
            .head_seq = row->head_seq,
            .size_max = SHIP_BLOCK_SIZE_MAX,
        };
        return true;
    }
    return false;
}

int64_t shipper_deadline_ns(const shipper_t *self)
{
    return self->has_ticked ? self->next_heads_ns : INT64_MIN;
}

uint32_t shipper_stream_count(const shipper_t *self)
{
    return self->stream_count;
}

stream_id_t shipper_stream(const shipper_t *self, uint32_t index, uint64_t *ret_head_seq)
{
    CHECK(index < self->stream_count);
    *ret_head_seq = self->streams[index].head_seq;
    return self->streams[index].stream;
}

bool shipper_confirmed(const shipper_t *self,
                       uint32_t index,
                       region_id_t peer,
                       msg_confirmed_entry_t *ret_entry)
{
    CHECK(index < self->stream_count && peer.value <= REGION_COUNT_MAX);
    const s_peer_stream_t *at = &self->streams[index].peers[peer.value];
    if (!at->is_known) {
        return false;
    }
    *ret_entry = (msg_confirmed_entry_t){
        .region = peer,
        .stream = self->streams[index].stream,
        .seq = at->confirmed_seq,
        .epoch = at->epoch,
    };
    memcpy(ret_entry->last_hash, at->last_hash, sizeof(at->last_hash));
    return true;
}

bool shipper_find_confirmed(const shipper_t *self,
                            stream_id_t stream,
                            region_id_t peer,
                            msg_confirmed_entry_t *ret_entry)
{
    const s_stream_t *row = s_find_stream(self, stream);
    return row != NULL && shipper_confirmed(self, (uint32_t)(row - self->streams), peer, ret_entry);
}

uint64_t shipper_confirmed_by(const shipper_t *self, stream_id_t stream, region_set_t regions)
{
    const s_stream_t *row = s_find_stream(self, stream);
    region_set_t others =
        region_set_remove(region_set_remove(regions, self->options.self), stream.origin.region);
    uint64_t least = row == NULL ? 0 : UINT64_MAX;
    for (uint16_t region = 1; row != NULL && region <= REGION_COUNT_MAX; region++) {
        const s_peer_stream_t *at = &row->peers[region];
        uint64_t seq = at->is_known ? at->confirmed_seq : 0;
        if (region_set_has(others, (region_id_t){region}) && seq < least) {
            least = seq;
        }
    }
    return least;
}

bool shipper_peer_is_reachable(const shipper_t *self,
                               region_id_t peer,
                               int64_t now_ns,
                               int64_t *ret_silent_ns)
{
    const s_peer_t *at = s_find_peer(self, peer);
    if (at == NULL || !at->heard) {
        *ret_silent_ns = -1;
        return false;
    }
    *ret_silent_ns = now_ns - at->heard_ns;
    return at->listed_all && s_peer_is_reachable(self, at, now_ns);
}

shipper_counters_t shipper_counters(const shipper_t *self)
{
    return self->counters;
}
