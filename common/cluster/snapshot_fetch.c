#include "common/cluster/snapshot_fetch.h"

#include "common/base/check.h"
#include "common/engine/base_file.h"

#include <blake3.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static_assert((int)MSG_HASH_SIZE == BLAKE3_OUT_LEN, "the hash that a base ends with");
static_assert((int)BASE_HASH_SIZE == (int)MSG_HASH_SIZE, "the hash that a base ends with");

/* -- whether one is needed --------------------------------------------------------------------- */

static const msg_log_range_t *s_find_range(const msg_reconcile_row_t *row, stream_id_t stream)
{
    for (uint32_t i = 0; i < row->range_count; i++) {
        if (stream_id_equal(row->ranges[i].stream, stream)) {
            return &row->ranges[i];
        }
    }
    return NULL;
}

/* Whether some region's log goes on from there. */
static bool s_is_served(const msg_reconcile_row_t *const *peers,
                        uint32_t peer_count,
                        stream_position_t held)
{
    for (uint32_t i = 0; i < peer_count; i++) {
        const msg_log_range_t *range =
            peers[i]->looked ? s_find_range(peers[i], held.stream) : NULL;
        if (range != NULL && range->end_seq > held.seq && range->begin_seq <= held.seq) {
            return true;
        }
    }
    return false;
}

region_set_t snapshot_donors(const msg_reconcile_row_t *own,
                             const msg_reconcile_row_t *const *peers,
                             uint32_t peer_count)
{
    region_set_t donors = {0};
    for (uint32_t i = 0; own->looked && i < peer_count; i++) {
        const msg_reconcile_row_t *peer = peers[i];
        bool is_donor = own->base_is_lost && peer->looked && peer->has_base;
        for (uint32_t k = 0; peer->looked && peer->has_base && k < peer->range_count; k++) {
            const msg_log_range_t *range = &peer->ranges[k];
            const msg_log_range_t *ours = s_find_range(own, range->stream);
            stream_position_t held = {range->stream, ours == NULL ? 0 : ours->end_seq};
            is_donor = is_donor || (range->end_seq > held.seq && range->begin_seq > held.seq &&
                                    !s_is_served(peers, peer_count, held));
        }
        donors = is_donor ? region_set_add(donors, peer->node.region) : donors;
    }
    return donors;
}

/* -- the transfer ------------------------------------------------------------------------------ */

typedef enum { STATE_IDLE, STATE_ASKING, STATE_TAKING } s_state_t;

struct snapshot_fetch {
    s_state_t state;
    int64_t wait_ns;
    int64_t deadline_ns; /* ASKING */
    uint32_t needed_runs;
    uint32_t idle_runs;  /* in a row in which none was needed */
    uint32_t rounds;     /* in which every donor failed */
    uint32_t pause_runs; /* left before the next round */
    bool is_pausing;
    uint32_t tries;    /* of the piece under way */
    uint32_t restarts; /* of this transfer */
    region_id_t donor; /* ASKING, TAKING */
    region_set_t avoided;
    uint64_t next_request_id;
    uint64_t request_id; /* that is awaited */
    uint8_t hash[MSG_HASH_SIZE];
    uint64_t size_bytes; /* 0: no piece came yet */
    uint64_t offset;     /* written up to here */
    uint64_t writing;    /* bytes of the WRITE that was given */
    bool has_file;       /* a WRITE was given, and neither DROP nor TAKE since */
    blake3_hasher hasher;
    snapshot_counters_t counters;
    snapshot_problem_t problem;
};

static void s_invariant(const snapshot_fetch_t *self)
{
    CHECK(self->offset <= self->size_bytes);
    CHECK(self->size_bytes <= SNAPSHOT_SIZE_MAX);
    CHECK_IMPLIES(self->state != STATE_IDLE, self->donor.value != 0);
    CHECK_IMPLIES(self->state == STATE_TAKING, self->offset == self->size_bytes);
    CHECK_IMPLIES(self->has_file, self->state == STATE_ASKING);
    CHECK_IMPLIES(self->offset > 0 && self->state == STATE_ASKING, self->has_file);
}

snapshot_fetch_t *snapshot_fetch_new(int64_t wait_ns)
{
    CHECK(wait_ns > 0);
    snapshot_fetch_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->wait_ns = wait_ns;
    return self;
}

void snapshot_fetch_destroy(snapshot_fetch_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static snapshot_effect_t *s_add(snapshot_effects_t *effects, snapshot_effect_kind_t kind)
{
    CHECK(effects->count < SNAPSHOT_EFFECT_COUNT_MAX);
    snapshot_effect_t *effect = &effects->list[effects->count++];
    *effect = (snapshot_effect_t){.kind = kind};
    return effect;
}

static void s_ask(snapshot_fetch_t *self, int64_t now_ns, snapshot_effects_t *effects)
{
    self->request_id = ++self->next_request_id;
    self->deadline_ns = now_ns + self->wait_ns;
    self->tries++;
    snapshot_effect_t *effect = s_add(effects, SNAPSHOT_EFFECT_ASK);
    effect->donor = self->donor;
    effect->request_id = self->request_id;
    effect->offset = self->offset;
    memcpy(effect->hash, self->hash, sizeof(effect->hash));
}

static void s_take(snapshot_fetch_t *self, snapshot_effects_t *effects)
{
    self->state = STATE_TAKING;
    self->has_file = false; /* it is the node's to deal with */
    self->request_id = ++self->next_request_id;
    s_add(effects, SNAPSHOT_EFFECT_TAKE)->request_id = self->request_id;
}

/* From the beginning of a file. */
static void s_rewind(snapshot_fetch_t *self)
{
    memset(self->hash, 0, sizeof(self->hash));
    self->size_bytes = 0;
    self->offset = 0;
    blake3_hasher_init(&self->hasher);
}

/* The transfer is over. What was written goes, also where the donor has another base by now. */
static void s_end(snapshot_fetch_t *self, snapshot_effects_t *effects)
{
    if (self->has_file) {
        (void)s_add(effects, SNAPSHOT_EFFECT_DROP);
    }
    self->has_file = false;
    self->state = STATE_IDLE;
    s_rewind(self);
}

/* The reason is in self->problem. */
static void s_note_problem(snapshot_fetch_t *self)
{
    self->problem.number++;
    self->problem.donor = self->donor;
}

static void s_avoid(snapshot_fetch_t *self, snapshot_effects_t *effects)
{
    s_note_problem(self);
    self->avoided = region_set_add(self->avoided, self->donor);
    s_end(self, effects);
}

static void s_refuse(snapshot_fetch_t *self, snapshot_effects_t *effects)
{
    self->counters.refused++;
    s_avoid(self, effects);
}

static void s_fail(snapshot_fetch_t *self, snapshot_effects_t *effects)
{
    self->counters.failed++;
    s_avoid(self, effects);
}

/* -- events ------------------------------------------------------------------------------------ */

/* Whether it is too early to ask donors again of which every one has failed. */
static bool s_pauses(snapshot_fetch_t *self, region_set_t donors)
{
    if ((donors.bits & ~self->avoided.bits) != 0) {
        return false;
    }
    if (!self->is_pausing) {
        uint32_t runs = self->rounds == 0 ? 0 : UINT32_C(1) << (self->rounds - 1);
        self->rounds += runs < SNAPSHOT_PAUSE_RUNS_MAX ? 1 : 0;
        self->pause_runs = runs;
        self->is_pausing = true;
    }
    if (self->pause_runs > 0) {
        self->pause_runs--;
        return true;
    }
    self->is_pausing = false;
    self->avoided = (region_set_t){0};
    return false;
}

static void s_begin(snapshot_fetch_t *self,
                    region_set_t donors,
                    int64_t now_ns,
                    snapshot_effects_t *effects)
{
    region_set_t left = {donors.bits & ~self->avoided.bits};
    CHECK(left.bits != 0);
    uint16_t region = 1;
    while (!region_set_has(left, (region_id_t){region})) {
        region++;
    }
    CHECK(region <= REGION_COUNT_MAX);
    self->state = STATE_ASKING;
    self->donor = (region_id_t){region};
    self->restarts = 0;
    self->tries = 0;
    self->counters.begun++;
    s_rewind(self);
    s_ask(self, now_ns, effects);
}

/* Nothing is held against any donor any more. */
static void s_forgive(snapshot_fetch_t *self)
{
    self->avoided = (region_set_t){0};
    self->rounds = 0;
    self->is_pausing = false;
}

static void s_on_run(snapshot_fetch_t *self,
                     const snapshot_event_t *event,
                     snapshot_effects_t *effects)
{
    region_set_t donors = event->as.donors;
    self->needed_runs = donors.bits == 0 ? 0 : self->needed_runs + 1;
    self->idle_runs = donors.bits == 0 ? self->idle_runs + 1 : 0;
    if (self->state == STATE_TAKING) {
        s_take(self, effects);
    } else if (donors.bits == 0) {
        if (self->idle_runs >= 2) { /* a region that was not heard once is no reason */
            s_forgive(self);
        }
        s_end(self, effects);
    } else if (self->state == STATE_IDLE && self->needed_runs >= 2 && !s_pauses(self, donors)) {
        s_begin(self, donors, event->now_ns, effects);
    }
}

/* Whether the piece is the one that was asked for, of one file, and of a size that is asked for. */
static bool s_fits(const snapshot_fetch_t *self, const msg_snapshot_piece_t *piece)
{
    static const uint8_t s_none[MSG_HASH_SIZE] = {0};
    bool is_size = piece->size_bytes >= BASE_HEAD_SIZE_MIN + BASE_HASH_SIZE &&
                   piece->size_bytes <= SNAPSHOT_SIZE_MAX;
    bool is_same = self->size_bytes == 0 || piece->size_bytes == self->size_bytes;
    if (!is_size || !is_same || memcmp(piece->hash, s_none, sizeof(s_none)) == 0 ||
        piece->offset != self->offset || piece->offset >= piece->size_bytes) {
        return false;
    }
    uint64_t left = piece->size_bytes - piece->offset;
    uint64_t expected = left < SNAPSHOT_PIECE_SIZE_MAX ? left : SNAPSHOT_PIECE_SIZE_MAX;
    return piece->bytes.size == expected;
}

/* Adds the piece to the hash; what belongs to the hash at the end is compared with it. */
static bool s_verify(snapshot_fetch_t *self, const msg_snapshot_piece_t *piece)
{
    uint64_t hashed_end = self->size_bytes - BASE_HASH_SIZE;
    uint64_t end = piece->offset + piece->bytes.size;
    size_t hashed = piece->bytes.size;
    bool is_equal = true;
    if (end > hashed_end) {
        hashed = piece->offset < hashed_end ? (size_t)(hashed_end - piece->offset) : 0;
        size_t skip = (size_t)(piece->offset + hashed - hashed_end);
        is_equal =
            memcmp(piece->bytes.data + hashed, self->hash + skip, piece->bytes.size - hashed) == 0;
    }
    if (hashed > 0) {
        blake3_hasher_update(&self->hasher, piece->bytes.data, hashed);
    }
    if (is_equal && end == self->size_bytes) {
        uint8_t hash[MSG_HASH_SIZE];
        blake3_hasher_finalize(&self->hasher, hash, sizeof(hash));
        is_equal = memcmp(hash, self->hash, sizeof(hash)) == 0;
    }
    if (!is_equal) {
        errbuf_set(&self->problem.reason,
                   "expected %" PRIu64
                   " bytes with their BLAKE3 at the end, found another hash; the "
                   "base is damaged there, or was on the way",
                   self->size_bytes);
    }
    return is_equal;
}

static void s_on_piece(snapshot_fetch_t *self,
                       const snapshot_event_t *event,
                       snapshot_effects_t *effects)
{
    const msg_snapshot_piece_t *piece = event->as.piece;
    if (self->state != STATE_ASKING || piece->from.region.value != self->donor.value ||
        piece->request_id != self->request_id) {
        self->counters.late++;
        return;
    }
    if (piece->code != CODE_OK) {
        errbuf_set(&self->problem.reason, "expected a piece of its base, found %s: %.*s",
                   code_name(piece->code), (int)piece->message.size,
                   (const char *)piece->message.data);
        s_fail(self, effects);
        return;
    }
    if (self->size_bytes > 0 && memcmp(piece->hash, self->hash, sizeof(self->hash)) != 0) {
        self->counters.restarted++;
        s_rewind(self);
        if (++self->restarts > SNAPSHOT_RESTART_COUNT_MAX) {
            errbuf_set(&self->problem.reason,
                       "expected one base, found %u others while it was fetched", self->restarts);
            s_fail(self, effects);
            return;
        }
    }
    bool fits = s_fits(self, piece);
    if (!fits) {
        errbuf_set(&self->problem.reason,
                   "expected the piece at byte %" PRIu64 " of a base of %" PRIu64
                   " bytes, found %zu bytes at %" PRIu64 " of %" PRIu64,
                   self->offset, self->size_bytes, piece->bytes.size, piece->offset,
                   piece->size_bytes);
    } else {
        self->size_bytes = piece->size_bytes;
        memcpy(self->hash, piece->hash, sizeof(self->hash));
        fits = s_verify(self, piece);
    }
    if (!fits) {
        s_refuse(self, effects);
        return;
    }
    self->request_id = 0;
    self->deadline_ns = INT64_MAX;
    self->writing = piece->bytes.size;
    self->has_file = true;
    snapshot_effect_t *effect = s_add(effects, SNAPSHOT_EFFECT_WRITE);
    effect->offset = piece->offset;
    effect->bytes = piece->bytes;
    effect->size_bytes = self->size_bytes;
    effect->is_last = piece->offset + piece->bytes.size == self->size_bytes;
}

static void s_on_written(snapshot_fetch_t *self,
                         const snapshot_event_t *event,
                         snapshot_effects_t *effects)
{
    CHECK(self->state == STATE_ASKING && self->writing > 0);
    if (event->as.written != ERR_OK) {
        self->writing = 0;
        errbuf_set(&self->problem.reason, "write the piece at byte %" PRIu64 " of %" PRIu64 ": %s",
                   self->offset, self->size_bytes, err_text(event->as.written));
        s_note_problem(self);
        self->counters.failed++; /* the donor is not to blame */
        self->needed_runs = 0;   /* a full disk is not filled again at once */
        s_end(self, effects);
        return;
    }
    self->offset += self->writing;
    self->counters.bytes += self->writing;
    self->writing = 0;
    self->tries = 0;
    if (self->offset < self->size_bytes) {
        s_ask(self, event->now_ns, effects);
    } else {
        s_take(self, effects);
    }
}

static void s_on_taken(snapshot_fetch_t *self,
                       const snapshot_event_t *event,
                       snapshot_effects_t *effects)
{
    if (self->state != STATE_TAKING || event->as.taken.request_id != self->request_id) {
        self->counters.late++;
        return;
    }
    if (event->as.taken.code == CODE_OK) {
        self->counters.adopted++;
        self->needed_runs = 0;
        s_forgive(self);
        s_end(self, effects);
    } else if (event->as.taken.code == CODE_NOT_FOUND) {
        self->needed_runs = 0; /* adopted, and the answer was lost; or it was never there */
        s_end(self, effects);
    } else {
        errbuf_set(&self->problem.reason, "the node does not take it: %.*s",
                   (int)event->as.taken.message.size, (const char *)event->as.taken.message.data);
        if (event->as.taken.code == CODE_CORRUPT) {
            s_refuse(self, effects);
        } else {
            s_fail(self, effects);
        }
    }
}

static void s_on_tick(snapshot_fetch_t *self, int64_t now_ns, snapshot_effects_t *effects)
{
    if (self->state != STATE_ASKING || now_ns < self->deadline_ns) {
        return;
    }
    if (self->tries < SNAPSHOT_TRY_COUNT_MAX) {
        s_ask(self, now_ns, effects);
    } else {
        errbuf_set(&self->problem.reason, "expected an answer, found none to %d questions in a row",
                   SNAPSHOT_TRY_COUNT_MAX);
        s_fail(self, effects);
    }
}

void snapshot_fetch_step(snapshot_fetch_t *self,
                         const snapshot_event_t *event,
                         snapshot_effects_t *ret_effects)
{
    s_invariant(self);
    ret_effects->count = 0;
    switch (event->kind) {
    case SNAPSHOT_EVENT_RUN:
        s_on_run(self, event, ret_effects);
        break;
    case SNAPSHOT_EVENT_PIECE:
        s_on_piece(self, event, ret_effects);
        break;
    case SNAPSHOT_EVENT_WRITTEN:
        s_on_written(self, event, ret_effects);
        break;
    case SNAPSHOT_EVENT_TAKEN:
        s_on_taken(self, event, ret_effects);
        break;
    case SNAPSHOT_EVENT_TICK:
        s_on_tick(self, event->now_ns, ret_effects);
        break;
    }
    s_invariant(self);
}

int64_t snapshot_fetch_deadline_ns(const snapshot_fetch_t *self)
{
    return self->state == STATE_ASKING ? self->deadline_ns : INT64_MAX;
}

bool snapshot_fetch_is_under_way(const snapshot_fetch_t *self)
{
    return self->state != STATE_IDLE;
}

snapshot_counters_t snapshot_fetch_counters(const snapshot_fetch_t *self)
{
    return self->counters;
}

const snapshot_problem_t *snapshot_fetch_problem(const snapshot_fetch_t *self)
{
    return &self->problem;
}
