/* What waits lies in one pool of entries. An entry is in the list of its link, in order of arrival,
 * and, unless its link is on hold, in one heap over all links by (due, order). Entries whose link
 * became drop or cut leave both and line up as doomed, until a call has room for their effects. */
#include "common/replication/link_rules.h"

#include "common/base/check.h"
#include "common/base/due_heap.h"
#include "common/base/prng.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINK_COUNT = LINK_PLACE_COUNT_MAX * LINK_PLACE_COUNT_MAX,
    NONE = -1,
    POOL_COUNT_MIN = 64,
    ORDER_STEP = 32 /* room for every reordered message behind the one that it let pass */
};

static_assert((int)ORDER_STEP > (int)LINK_REORDER_COUNT_MAX,
              "all reordered ones fit behind one message");

static const int64_t s_ns_per_ms = 1000000;
static const int64_t s_ns_per_s = 1000000000;

typedef struct {
    uint64_t ticket;
    int64_t due_ns;   /* INT64_MAX on hold */
    uint64_t arrival; /* rises by ORDER_STEP */
    uint64_t order;   /* among equal due times; arrival, but for a reordered message */
    uint32_t size_bytes;
    uint32_t lane;
    int32_t previous; /* in the link's list, or NONE */
    int32_t next;     /* there, in the list of the doomed or in that of the free */
    int32_t twin;     /* the other message of this ticket while both wait, or NONE */
    uint16_t link;
    uint8_t overtakes_left; /* later messages that are still let pass */
    bool is_overtaken;
    link_drop_t reason; /* of the doomed */
} s_entry_t;

typedef struct {
    link_rule_t rule;
    bool is_plain; /* the rule is {0} */
    link_id_t id;
    link_counters_t counters;
    prng_t prng;
    int64_t paced_ns; /* when the bucket would be full again, were nothing offered */
    int32_t first;    /* list of what waits */
    int32_t last;
    uint32_t floor_count;
    int64_t *floors; /* per lane: due time of its latest message */
    uint32_t reordered_count;
    int32_t reordered[LINK_REORDER_COUNT_MAX]; /* entries with overtakes_left > 0 */
} s_link_t;

struct link_rules {
    int64_t now_ns; /* latest; INT64_MIN before the first call */
    uint64_t next_arrival;
    uint32_t waiting_count; /* entries in lists of links */
    uint64_t waiting_bytes;
    s_entry_t *entries;
    due_heap_t heap;   /* by (due, order) */
    uint32_t capacity; /* of entries and heap */
    int32_t free_first;
    int32_t doomed_first;
    int32_t doomed_last;
    s_link_t links[LINK_COUNT];
};

static void s_invariant(const link_rules_t *self)
{
    CHECK(self->heap.count <= self->waiting_count);
    CHECK(self->waiting_count <= self->capacity);
    CHECK(self->waiting_count <= LINK_TOTAL_COUNT_MAX);
    CHECK(self->waiting_bytes <= LINK_TOTAL_SIZE_MAX);
    CHECK((self->doomed_first == NONE) == (self->doomed_last == NONE));
}

static void s_link_invariant(const s_link_t *link)
{
    CHECK(link->counters.waiting_count <= LINK_QUEUE_COUNT_MAX);
    CHECK(link->counters.waiting_bytes <= LINK_QUEUE_SIZE_MAX);
    CHECK((link->first == NONE) == (link->counters.waiting_count == 0));
    CHECK((link->last == NONE) == (link->first == NONE));
    CHECK(link->reordered_count <= link->counters.waiting_count);
    CHECK_IMPLIES(link->rule.mode == LINK_MODE_DROP, link->first == NONE);
    CHECK_IMPLIES(link->rule.mode == LINK_MODE_CUT, link->first == NONE);
    const link_counters_t *c = &link->counters;
    CHECK(c->offered_count + c->duplicated_count ==
          c->forwarded_count + link_counters_dropped(c) + c->waiting_count);
}

/* -- rules ------------------------------------------------------------------------------------- */

static const char *const s_mode_names[LINK_MODE_COUNT] = {"pass", "drop", "hold", "cut"};

const char *link_mode_name(link_mode_t mode)
{
    CHECK((int)mode >= 0);
    CHECK((int)mode < LINK_MODE_COUNT);
    return s_mode_names[mode];
}

uint64_t link_counters_dropped(const link_counters_t *counters)
{
    uint64_t sum = 0;
    for (int i = 0; i < LINK_DROP_COUNT; i++) {
        sum += counters->dropped_count[i];
    }
    return sum;
}

static err_t s_check_ms(const char *name, uint32_t ms, errbuf_t *errbuf)
{
    if (ms <= LINK_DELAY_MS_MAX) {
        return ERR_OK;
    }
    errbuf_set(errbuf,
               "%s: expected 0 to %d milliseconds, found %u; use mode hold or cut for a longer "
               "outage",
               name, (int)LINK_DELAY_MS_MAX, ms);
    return ERR_INVALID;
}

static err_t s_check_probability(const char *name, double probability, errbuf_t *errbuf)
{
    if (probability >= 0.0 && probability <= 1.0) {
        return ERR_OK;
    }
    errbuf_set(errbuf,
               "%s: expected a probability from 0 to 1, found %g; give the share of messages, such "
               "as 0.05",
               name, probability);
    return ERR_INVALID;
}

static err_t s_check_link(link_id_t link, errbuf_t *errbuf)
{
    if (link.from.value > REGION_COUNT_MAX || link.to.value > REGION_COUNT_MAX) {
        errbuf_set(errbuf,
                   "link: expected places from 0 (control) to %d, found %u to %u; name two "
                   "places of the topology",
                   (int)REGION_COUNT_MAX, (unsigned)link.from.value, (unsigned)link.to.value);
        return ERR_INVALID;
    }
    if (link.from.value == link.to.value) {
        errbuf_set(errbuf,
                   "link: expected two different places, found %u twice; inside a place nothing "
                   "crosses a link",
                   (unsigned)link.from.value);
        return ERR_INVALID;
    }
    return ERR_OK;
}

err_t link_rules_check(link_id_t link, const link_rule_t *rule, errbuf_t *errbuf)
{
    err_t err = s_check_link(link, errbuf);
    if (err == ERR_OK && ((int)rule->mode < 0 || (int)rule->mode >= LINK_MODE_COUNT)) {
        errbuf_set(errbuf,
                   "mode: expected pass, drop, hold or cut, found number %d; name one of them",
                   (int)rule->mode);
        err = ERR_INVALID;
    }
    if (err == ERR_OK) {
        err = s_check_ms("delay_ms", rule->delay_ms, errbuf);
    }
    if (err == ERR_OK) {
        err = s_check_ms("jitter_ms", rule->jitter_ms, errbuf);
    }
    if (err == ERR_OK) {
        err = s_check_probability("drop", rule->drop, errbuf);
    }
    if (err == ERR_OK) {
        err = s_check_probability("duplicate", rule->duplicate, errbuf);
    }
    if (err == ERR_OK) {
        err = s_check_probability("reorder", rule->reorder, errbuf);
    }
    return err;
}

static bool s_rule_is_plain(const link_rule_t *rule)
{
    bool has_lots = rule->drop > 0.0 || rule->duplicate > 0.0 || rule->reorder > 0.0;
    bool waits = rule->delay_ms > 0 || rule->jitter_ms > 0 || rule->rate_bytes_s > 0;
    return rule->mode == LINK_MODE_PASS && !has_lots && !waits;
}

/* -- life -------------------------------------------------------------------------------------- */

static unsigned s_link_number(link_id_t id)
{
    CHECK(id.from.value <= REGION_COUNT_MAX);
    CHECK(id.to.value <= REGION_COUNT_MAX);
    CHECK(id.from.value != id.to.value);
    return (unsigned)id.from.value * LINK_PLACE_COUNT_MAX + id.to.value;
}

link_rules_t *link_rules_new(uint64_t seed)
{
    link_rules_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->now_ns = INT64_MIN;
    self->free_first = NONE;
    self->doomed_first = NONE;
    self->doomed_last = NONE;
    for (unsigned i = 0; i < LINK_COUNT; i++) {
        s_link_t *link = &self->links[i];
        link->is_plain = true;
        link->id.from.value = (uint16_t)(i / LINK_PLACE_COUNT_MAX);
        link->id.to.value = (uint16_t)(i % LINK_PLACE_COUNT_MAX);
        link->first = NONE;
        link->last = NONE;
        prng_init(&link->prng, seed + (uint64_t)i * UINT64_C(0xd1342543de82ef95));
    }
    s_invariant(self);
    return self;
}

void link_rules_destroy(link_rules_t **self_p)
{
    link_rules_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (unsigned i = 0; i < LINK_COUNT; i++) {
        free(self->links[i].floors);
    }
    free(self->entries);
    due_heap_done(&self->heap);
    free(self);
    *self_p = NULL;
}

const link_rule_t *link_rules_rule(const link_rules_t *self, link_id_t link)
{
    return &self->links[s_link_number(link)].rule;
}

const link_counters_t *link_rules_counters(const link_rules_t *self, link_id_t link)
{
    return &self->links[s_link_number(link)].counters;
}

static void s_begin(link_rules_t *self, int64_t now_ns, link_effects_t *ret_effects)
{
    s_invariant(self);
    CHECK(now_ns >= self->now_ns);
    self->now_ns = now_ns;
    ret_effects->count = 0;
    ret_effects->has_more = false;
}

/* -- entries ----------------------------------------------------------------------------------- */

static void s_grow(link_rules_t *self)
{
    uint32_t capacity = self->capacity == 0 ? POOL_COUNT_MIN : self->capacity * 2;
    s_entry_t *entries = realloc(self->entries, capacity * sizeof(*entries));
    CHECK(entries != NULL);
    self->entries = entries;
    due_heap_reserve(&self->heap, capacity);
    for (uint32_t i = capacity; i > self->capacity; i--) {
        entries[i - 1].next = self->free_first;
        self->free_first = (int32_t)(i - 1);
    }
    self->capacity = capacity;
}

/* The doomed count here as well: their memory is not free yet. */
static bool s_has_room(const link_rules_t *self, const s_link_t *link, uint32_t size_bytes)
{
    const link_counters_t *c = &link->counters;
    bool link_has = c->waiting_count < LINK_QUEUE_COUNT_MAX &&
                    c->waiting_bytes + size_bytes <= LINK_QUEUE_SIZE_MAX;
    bool all_have = self->waiting_bytes + size_bytes <= LINK_TOTAL_SIZE_MAX &&
                    (self->free_first != NONE || self->capacity < LINK_TOTAL_COUNT_MAX);
    return link_has && all_have;
}
static_assert((LINK_TOTAL_COUNT_MAX & (LINK_TOTAL_COUNT_MAX - 1)) == 0, "the pool doubles");
static_assert(LINK_TOTAL_COUNT_MAX % POOL_COUNT_MIN == 0, "the pool doubles up to the limit");

/* Gives an entry a time, whether it had one or not. */
static void s_schedule(link_rules_t *self, int32_t index, int64_t due_ns, uint64_t order)
{
    self->entries[index].due_ns = due_ns;
    self->entries[index].order = order;
    due_heap_set(&self->heap, (uint32_t)index, due_ns, order);
}

/* A message of this link, behind all others of it, without a time yet. */
static int32_t s_append(link_rules_t *self, s_link_t *link, const link_message_t *message)
{
    CHECK(s_has_room(self, link, message->size_bytes));
    if (self->free_first == NONE) {
        s_grow(self);
    }
    int32_t index = self->free_first;
    s_entry_t *entry = &self->entries[index];
    self->free_first = entry->next;
    *entry = (s_entry_t){
        .ticket = message->ticket,
        .due_ns = INT64_MAX,
        .arrival = self->next_arrival,
        .size_bytes = message->size_bytes,
        .lane = message->lane,
        .previous = link->last,
        .next = NONE,
        .twin = NONE,
        .link = (uint16_t)s_link_number(link->id),
    };
    self->next_arrival += ORDER_STEP;
    if (link->last == NONE) {
        link->first = index;
    } else {
        self->entries[link->last].next = index;
    }
    link->last = index;
    link->counters.waiting_count++;
    link->counters.waiting_bytes += message->size_bytes;
    self->waiting_count++;
    self->waiting_bytes += message->size_bytes;
    return index;
}

static void s_forget_reordered(s_link_t *link, int32_t index)
{
    for (uint32_t i = 0; i < link->reordered_count; i++) {
        if (link->reordered[i] == index) {
            link->reordered_count--;
            (void)memmove(&link->reordered[i], &link->reordered[i + 1],
                          (link->reordered_count - i) * sizeof(link->reordered[0]));
            return;
        }
    }
}

/* Takes an entry out of heap and list; it waits no more, and its place is not free yet. */
static void s_remove(link_rules_t *self, s_link_t *link, int32_t index)
{
    due_heap_remove(&self->heap, (uint32_t)index);
    s_entry_t *entry = &self->entries[index];
    if (entry->overtakes_left > 0) {
        s_forget_reordered(link, index);
    }
    if (entry->previous == NONE) {
        link->first = entry->next;
    } else {
        self->entries[entry->previous].next = entry->next;
    }
    if (entry->next == NONE) {
        link->last = entry->previous;
    } else {
        self->entries[entry->next].previous = entry->previous;
    }
    link->counters.waiting_count--;
    link->counters.waiting_bytes -= entry->size_bytes;
    self->waiting_count--;
    self->waiting_bytes -= entry->size_bytes;
}

/* Whether this was the last message of its ticket. */
static bool s_part_from_twin(link_rules_t *self, int32_t index)
{
    int32_t twin = self->entries[index].twin;
    if (twin == NONE) {
        return true;
    }
    self->entries[twin].twin = NONE;
    self->entries[index].twin = NONE;
    return false;
}

static void s_free(link_rules_t *self, int32_t index)
{
    self->entries[index].next = self->free_first;
    self->free_first = index;
}

static void s_push(link_effects_t *effects, link_effect_t effect)
{
    CHECK(effects->count < LINK_EFFECT_COUNT_MAX);
    effects->list[effects->count++] = effect;
}

static void s_count_dropped(s_link_t *link, link_drop_t reason, uint32_t size_bytes)
{
    link->counters.dropped_count[reason]++;
    link->counters.dropped_bytes[reason] += size_bytes;
}

/* -- what leaves ------------------------------------------------------------------------------- */

static void s_end_doomed(link_rules_t *self, link_effects_t *ret_effects)
{
    int32_t index = self->doomed_first;
    const s_entry_t *entry = &self->entries[index];
    self->doomed_first = entry->next;
    if (self->doomed_first == NONE) {
        self->doomed_last = NONE;
    }
    if (s_part_from_twin(self, index)) {
        s_push(ret_effects, (link_effect_t){.kind = LINK_EFFECT_DROP,
                                            .link = self->links[entry->link].id,
                                            .lane = entry->lane,
                                            .reason = entry->reason,
                                            .ticket = entry->ticket});
    }
    s_free(self, index);
}

static void s_forward_due(link_rules_t *self, link_effects_t *ret_effects)
{
    int32_t index = (int32_t)due_heap_first(&self->heap);
    const s_entry_t *entry = &self->entries[index];
    s_link_t *link = &self->links[entry->link];
    s_remove(self, link, index);
    link->counters.forwarded_count++;
    link->counters.forwarded_bytes += entry->size_bytes;
    bool is_last = s_part_from_twin(self, index);
    s_push(ret_effects,
           (link_effect_t){.kind = is_last ? LINK_EFFECT_FORWARD : LINK_EFFECT_FORWARD_COPY,
                           .link = link->id,
                           .lane = entry->lane,
                           .ticket = entry->ticket});
    s_free(self, index);
    s_link_invariant(link);
}

static bool s_has_due(const link_rules_t *self)
{
    return due_heap_first_ns(&self->heap) <= self->now_ns;
}

static void s_release(link_rules_t *self, link_effects_t *ret_effects)
{
    while (ret_effects->count < LINK_EFFECT_COUNT_MAX && self->doomed_first != NONE) {
        s_end_doomed(self, ret_effects);
    }
    while (ret_effects->count < LINK_EFFECT_COUNT_MAX && s_has_due(self)) {
        s_forward_due(self, ret_effects);
    }
    ret_effects->has_more = self->doomed_first != NONE || s_has_due(self);
    s_invariant(self);
}

void link_rules_due(link_rules_t *self, int64_t now_ns, link_effects_t *ret_effects)
{
    s_begin(self, now_ns, ret_effects);
    s_release(self, ret_effects);
}

int64_t link_rules_deadline_ns(const link_rules_t *self)
{
    if (self->doomed_first != NONE || s_has_due(self)) {
        return self->now_ns;
    }
    return due_heap_first_ns(&self->heap);
}

/* -- what arrives ------------------------------------------------------------------------------ */

/* When the bucket lets a message of this size go; takes its tokens. */
static int64_t s_pace(s_link_t *link, uint32_t size_bytes, int64_t now_ns)
{
    if (link->rule.rate_bytes_s == 0) {
        return now_ns;
    }
    uint64_t cost_ns = (uint64_t)size_bytes * (uint64_t)s_ns_per_s / link->rule.rate_bytes_s;
    int64_t full_ns = link->paced_ns > now_ns ? link->paced_ns : now_ns;
    int64_t free_ns = full_ns - LINK_BURST_MS * s_ns_per_ms;
    link->paced_ns = full_ns + (int64_t)cost_ns;
    return free_ns > now_ns ? free_ns : now_ns;
}
static_assert(LINK_QUEUE_SIZE_MAX <= INT64_MAX / 1000000000 / 8, "s_pace cannot overflow");

static int64_t *s_floor(s_link_t *link, uint32_t lane)
{
    if (lane >= link->floor_count) {
        uint32_t count = link->floor_count == 0 ? 16 : link->floor_count;
        while (count <= lane) {
            count *= 2;
        }
        int64_t *floors = realloc(link->floors, count * sizeof(*floors));
        CHECK(floors != NULL);
        for (uint32_t i = link->floor_count; i < count; i++) {
            floors[i] = INT64_MIN;
        }
        link->floors = floors;
        link->floor_count = count;
    }
    return &link->floors[lane];
}

/* Not before the latest message of the lane, and the next one not before this. */
static int64_t s_behind_lane(s_link_t *link, uint32_t lane, int64_t due_ns)
{
    int64_t *floor = s_floor(link, lane);
    *floor = *floor > due_ns ? *floor : due_ns;
    return *floor;
}

/* A message of the lane got its time: reordered ones that it overtakes let it pass, and follow it
 * once it was the last one that they waited for. */
static void s_overtake(link_rules_t *self, s_link_t *link, int32_t index)
{
    const s_entry_t *passing = &self->entries[index];
    uint64_t order = passing->order;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < link->reordered_count; i++) {
        int32_t waiting_index = link->reordered[i];
        s_entry_t *waiting = &self->entries[waiting_index];
        if (waiting->lane == passing->lane && passing->due_ns < waiting->due_ns) {
            link->counters.reordered_count += waiting->is_overtaken ? 0 : 1;
            waiting->is_overtaken = true;
            waiting->overtakes_left--;
        }
        if (waiting->overtakes_left == 0) {
            s_schedule(self, waiting_index, passing->due_ns, ++order);
        } else {
            link->reordered[kept++] = waiting_index;
        }
    }
    link->reordered_count = kept;
}

static int64_t s_travel_ns(s_link_t *link)
{
    int64_t travel_ns = link->rule.delay_ms * s_ns_per_ms;
    if (link->rule.jitter_ms > 0) {
        uint64_t bound = (uint64_t)link->rule.jitter_ms * (uint64_t)s_ns_per_ms + 1;
        travel_ns += (int64_t)prng_below(&link->prng, bound);
    }
    return travel_ns;
}

/* Queues one message of a link that passes or holds. */
static int32_t s_enqueue(link_rules_t *self,
                         s_link_t *link,
                         const link_message_t *message,
                         bool is_reordered)
{
    int32_t index = s_append(self, link, message);
    s_entry_t *entry = &self->entries[index];
    entry->order = entry->arrival;
    if (link->rule.mode == LINK_MODE_HOLD) {
        return index;
    }
    int64_t due_ns = s_pace(link, message->size_bytes, self->now_ns) + s_travel_ns(link);
    if (is_reordered && link->reordered_count < LINK_REORDER_COUNT_MAX) {
        /* Not before what is ahead of it; what comes later may be. */
        int64_t floor_ns = *s_floor(link, message->lane);
        due_ns = (due_ns > floor_ns ? due_ns : floor_ns) + LINK_REORDER_MS * s_ns_per_ms;
        entry->overtakes_left = (uint8_t)(1 + prng_below(&link->prng, LINK_OVERTAKE_COUNT_MAX));
        link->reordered[link->reordered_count++] = index;
        s_schedule(self, index, due_ns, entry->order);
    } else {
        s_schedule(self, index, s_behind_lane(link, message->lane, due_ns), entry->order);
        s_overtake(self, link, index);
    }
    return index;
}

static void s_drop(s_link_t *link,
                   const link_message_t *message,
                   link_drop_t reason,
                   link_effects_t *ret_effects)
{
    s_count_dropped(link, reason, message->size_bytes);
    s_push(ret_effects, (link_effect_t){.kind = LINK_EFFECT_DROP,
                                        .link = link->id,
                                        .lane = message->lane,
                                        .reason = reason,
                                        .ticket = message->ticket});
}

static bool s_draw(s_link_t *link, double probability)
{
    return probability > 0.0 && prng_chance(&link->prng, probability);
}

/* A message for which the rule has more than a plain forward. */
static void s_offer_to_rule(link_rules_t *self,
                            s_link_t *link,
                            const link_message_t *message,
                            link_effects_t *ret_effects)
{
    if (link->rule.mode == LINK_MODE_DROP) {
        s_drop(link, message, LINK_DROP_MODE, ret_effects);
        return;
    }
    if (link->rule.mode == LINK_MODE_CUT) {
        s_drop(link, message, LINK_DROP_CUT, ret_effects);
        return;
    }
    if (s_draw(link, link->rule.drop)) {
        s_drop(link, message, LINK_DROP_CHANCE, ret_effects);
        return;
    }
    bool is_duplicated = s_draw(link, link->rule.duplicate);
    bool is_reordered = s_draw(link, link->rule.reorder);
    if (!s_has_room(self, link, message->size_bytes)) {
        s_drop(link, message, LINK_DROP_FULL, ret_effects);
        return;
    }
    int32_t index = s_enqueue(self, link, message, is_reordered);
    link->counters.delayed_count += self->entries[index].due_ns > self->now_ns ? 1 : 0;
    if (is_duplicated && s_has_room(self, link, message->size_bytes)) {
        int32_t twin = s_enqueue(self, link, message, false);
        self->entries[index].twin = twin;
        self->entries[twin].twin = index;
        link->counters.duplicated_count++;
        link->counters.duplicated_bytes += message->size_bytes;
    }
}

void link_rules_offer(link_rules_t *self,
                      const link_message_t *message,
                      int64_t now_ns,
                      link_effects_t *ret_effects)
{
    CHECK(message->lane < LINK_LANE_COUNT_MAX);
    s_begin(self, now_ns, ret_effects);
    s_link_t *link = &self->links[s_link_number(message->link)];
    link->counters.offered_count++;
    link->counters.offered_bytes += message->size_bytes;
    if (link->is_plain && link->first == NONE) {
        link->counters.forwarded_count++;
        link->counters.forwarded_bytes += message->size_bytes;
        s_push(ret_effects, (link_effect_t){.kind = LINK_EFFECT_FORWARD,
                                            .link = link->id,
                                            .lane = message->lane,
                                            .ticket = message->ticket});
        ret_effects->has_more = self->doomed_first != NONE || s_has_due(self);
    } else {
        s_offer_to_rule(self, link, message, ret_effects);
        s_release(self, ret_effects);
    }
    s_link_invariant(link);
}

/* -- a new rule -------------------------------------------------------------------------------- */

static void s_doom_all(link_rules_t *self, s_link_t *link, link_drop_t reason)
{
    while (link->first != NONE) {
        int32_t index = link->first;
        s_remove(self, link, index);
        s_entry_t *entry = &self->entries[index];
        s_count_dropped(link, reason, entry->size_bytes);
        entry->reason = reason;
        entry->next = NONE;
        if (self->doomed_last == NONE) {
            self->doomed_first = index;
        } else {
            self->entries[self->doomed_last].next = index;
        }
        self->doomed_last = index;
    }
}

static void s_hold_all(link_rules_t *self, const s_link_t *link)
{
    for (int32_t index = link->first; index != NONE; index = self->entries[index].next) {
        due_heap_remove(&self->heap, (uint32_t)index);
        self->entries[index].due_ns = INT64_MAX;
    }
}

static void s_retime_all(link_rules_t *self, s_link_t *link)
{
    int64_t delay_ns = link->rule.delay_ms * s_ns_per_ms;
    for (int32_t index = link->first; index != NONE; index = self->entries[index].next) {
        const s_entry_t *entry = &self->entries[index];
        int64_t due_ns = entry->due_ns;
        if (due_ns > self->now_ns + delay_ns) {
            due_ns = s_pace(link, entry->size_bytes, self->now_ns) + delay_ns;
        }
        s_schedule(self, index, s_behind_lane(link, entry->lane, due_ns), entry->arrival);
    }
}

static void s_replace(link_rules_t *self, s_link_t *link, const link_rule_t *rule)
{
    link->rule = *rule;
    link->is_plain = s_rule_is_plain(rule);
    link->paced_ns = self->now_ns;
    for (uint32_t i = 0; i < link->reordered_count; i++) {
        self->entries[link->reordered[i]].overtakes_left = 0;
    }
    link->reordered_count = 0;
    for (uint32_t i = 0; i < link->floor_count; i++) {
        link->floors[i] = INT64_MIN;
    }
    switch (rule->mode) {
    case LINK_MODE_PASS:
        s_retime_all(self, link);
        break;
    case LINK_MODE_DROP:
        s_doom_all(self, link, LINK_DROP_MODE);
        break;
    case LINK_MODE_HOLD:
        s_hold_all(self, link);
        break;
    case LINK_MODE_CUT:
        s_doom_all(self, link, LINK_DROP_CUT);
        break;
    }
    s_link_invariant(link);
}

err_t link_rules_set(link_rules_t *self,
                     link_id_t link,
                     const link_rule_t *rule,
                     int64_t now_ns,
                     link_effects_t *ret_effects,
                     errbuf_t *errbuf)
{
    err_t err = link_rules_check(link, rule, errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "link rule");
        return err;
    }
    s_begin(self, now_ns, ret_effects);
    s_link_t *replaced = &self->links[s_link_number(link)];
    s_replace(self, replaced, rule);
    if (rule->mode == LINK_MODE_CUT) {
        replaced->counters.reset_count++;
        s_push(ret_effects, (link_effect_t){.kind = LINK_EFFECT_RESET, .link = link});
    }
    s_release(self, ret_effects);
    return ERR_OK;
}

void link_rules_heal_all(link_rules_t *self, int64_t now_ns, link_effects_t *ret_effects)
{
    static const link_rule_t s_plain = {0};
    s_begin(self, now_ns, ret_effects);
    for (unsigned i = 0; i < LINK_COUNT; i++) {
        s_link_t *link = &self->links[i];
        if (!link->is_plain || link->first != NONE) {
            s_replace(self, link, &s_plain);
        }
    }
    s_release(self, ret_effects);
}
