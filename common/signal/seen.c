#include "common/signal/seen.h"

#include "common/base/check.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BITS_MAX = 28, LINE_PAIR_COUNT = 7, SEEN_COUNT_LARGE = 255 };

static const uint64_t s_mark = UINT64_C(1) << 63;

/* A pair goes into the first line from its own on that has room; nothing is ever removed, so the
 * search for a pair ends at the first line that is not full. */
struct seen_line {
    uint64_t pairs[LINE_PAIR_COUNT]; /* the top bit marks a pair that changed */
    uint8_t counts[LINE_PAIR_COUNT]; /* SEEN_COUNT_LARGE: see `large` */
    uint8_t used;
};

static_assert(sizeof(seen_line_t) == SEEN_LINE_SIZE, "a line is one cache line");

/* Where a pair lies, or where it would go. */
typedef struct {
    seen_line_t *line;
    unsigned i; /* == line->used: not there */
} place_t;

/* A pair with a count that does not fit a byte; stays when the count falls again. */
typedef struct {
    uint64_t pair;
    uint64_t count;
} large_t;

void seen_init(seen_t *self)
{
    *self = (seen_t){0};
    rows_init(&self->large, sizeof(large_t));
    index_init(&self->large_index);
}

void seen_done(seen_t *self)
{
    for (unsigned i = 0; i < SEEN_PART_COUNT; i++) {
        free(self->parts[i].lines);
    }
    rows_done(&self->large);
    index_done(&self->large_index);
    seen_init(self);
}

size_t seen_size_bytes(const seen_t *self)
{
    return self->size_bytes + self->large.size_bytes + index_size_bytes(&self->large_index);
}

static seen_pair_t s_pair(uint64_t word)
{
    return (seen_pair_t){(uint32_t)((word & ~s_mark) >> 32), (uint32_t)word};
}

static size_t s_home(const seen_part_t *part, uint64_t hash)
{
    return part->bits == 0 ? 0 : (size_t)(hash >> (64 - part->bits));
}

static unsigned s_find_in_line(const seen_line_t *line, uint64_t word)
{
    unsigned i = 0;
    while (i < line->used && (line->pairs[i] & ~s_mark) != word) {
        i++;
    }
    return i;
}

static place_t s_place(const seen_part_t *part, seen_key_t key)
{
    size_t mask = ((size_t)1 << part->bits) - 1;
    size_t at = s_home(part, key.hash);
    for (;;) {
        seen_line_t *line = &part->lines[at];
        unsigned i = s_find_in_line(line, key.word);
        if (i < LINE_PAIR_COUNT) {
            return (place_t){line, i};
        }
        at = (at + 1) & mask;
    }
}

/* The pairs of a line are in no other: they need not be looked for. */
static void s_copy_line(const seen_part_t *to, const seen_line_t *line)
{
    size_t mask = ((size_t)1 << to->bits) - 1;
    for (unsigned i = 0; i < line->used; i++) {
        size_t at = s_home(to, index_hash(line->pairs[i] & ~s_mark));
        while (to->lines[at].used == LINE_PAIR_COUNT) {
            at = (at + 1) & mask;
        }
        seen_line_t *target = &to->lines[at];
        target->pairs[target->used] = line->pairs[i];
        target->counts[target->used] = line->counts[i];
        target->used++;
    }
}

static void s_grow(seen_t *self, seen_part_t *part)
{
    bool is_first = part->lines == NULL;
    seen_part_t grown = {.used = part->used, .bits = is_first ? 0 : part->bits + 1};
    CHECK(grown.bits <= BITS_MAX);
    size_t size = sizeof(seen_line_t) << grown.bits;
    grown.lines = aligned_alloc(sizeof(seen_line_t), size);
    CHECK(grown.lines != NULL);
    (void)memset(grown.lines, 0, size);
    size_t line_count = is_first ? 0 : (size_t)1 << part->bits;
    for (size_t i = 0; i < line_count; i++) {
        s_copy_line(&grown, &part->lines[i]);
    }
    self->size_bytes += size - line_count * sizeof(seen_line_t);
    free(part->lines);
    *part = grown;
}

static large_t *s_find_large(const seen_t *self, uint64_t word)
{
    index_cursor_t cursor = index_find(&self->large_index, index_hash(word));
    uint32_t row = index_next(&self->large_index, &cursor);
    while (row != 0) {
        large_t *large = rows_at(&self->large, row);
        if (large->pair == word) {
            return large;
        }
        row = index_next(&self->large_index, &cursor);
    }
    return NULL;
}

static large_t *s_require_large(seen_t *self, uint64_t word)
{
    large_t *large = s_find_large(self, word);
    if (large == NULL) {
        uint32_t row = rows_append(&self->large);
        index_insert(&self->large_index, index_hash(word), row);
        large = rows_at(&self->large, row);
        large->pair = word;
    }
    return large;
}

static uint64_t s_count(const seen_t *self, place_t place)
{
    uint8_t count = place.line->counts[place.i];
    if (count < SEEN_COUNT_LARGE) {
        return count;
    }
    const large_t *large = s_find_large(self, place.line->pairs[place.i] & ~s_mark);
    CHECK(large != NULL);
    return large->count;
}

static void s_set_count(seen_t *self, place_t place, uint64_t count)
{
    if (count < SEEN_COUNT_LARGE) {
        place.line->counts[place.i] = (uint8_t)count;
        return;
    }
    s_require_large(self, place.line->pairs[place.i] & ~s_mark)->count = count;
    place.line->counts[place.i] = SEEN_COUNT_LARGE;
}

/* The place of the pair, which is made when it is not there. */
static place_t s_require(seen_t *self, seen_key_t key)
{
    CHECK((key.word & s_mark) == 0);
    seen_part_t *part = &self->parts[key.part];
    if (part->lines == NULL || part->used >= (LINE_PAIR_COUNT * ((uint64_t)3 << part->bits)) / 4) {
        s_grow(self, part);
    }
    place_t place = s_place(part, key);
    if (place.i == place.line->used) {
        place.line->pairs[place.i] = key.word;
        place.line->counts[place.i] = 0;
        place.line->used++;
        part->used++;
    }
    return place;
}

bool seen_change(seen_t *self, seen_key_t key, int64_t delta)
{
    place_t place = s_require(self, key);
    bool was_marked = (place.line->pairs[place.i] & s_mark) != 0;
    place.line->pairs[place.i] = key.word | s_mark;
    uint64_t before = s_count(self, place);
    uint64_t count = before + (uint64_t)delta;
    CHECK(delta >= 0 ? count >= before : count < before);
    s_set_count(self, place, count);
    self->pair_count += count > 0 ? 1 : 0;
    self->pair_count -= before > 0 ? 1 : 0;
    return was_marked;
}

uint64_t seen_set(seen_t *self, seen_key_t key, uint64_t count)
{
    place_t place = s_require(self, key);
    uint64_t before = s_count(self, place);
    s_set_count(self, place, count);
    self->pair_count += count > 0 ? 1 : 0;
    self->pair_count -= before > 0 ? 1 : 0;
    return before;
}

bool seen_mark(seen_t *self, seen_key_t key, bool marked)
{
    seen_part_t *part = &self->parts[key.part];
    CHECK(part->lines != NULL);
    place_t place = s_place(part, key);
    CHECK(place.i < place.line->used);
    bool was_marked = (place.line->pairs[place.i] & s_mark) != 0;
    place.line->pairs[place.i] = marked ? key.word | s_mark : key.word;
    return was_marked;
}

uint64_t seen_count(const seen_t *self, seen_key_t key)
{
    const seen_part_t *part = &self->parts[key.part];
    if (part->lines == NULL) {
        return 0;
    }
    place_t place = s_place(part, key);
    return place.i == place.line->used ? 0 : s_count(self, place);
}

static void s_walk_line(const seen_t *self, seen_line_t *line, seen_fn callback, void *context)
{
    for (unsigned i = 0; i < line->used; i++) {
        uint64_t count = s_count(self, (place_t){line, i});
        if (count > 0) {
            callback(context, s_pair(line->pairs[i]), count);
        }
    }
}

void seen_walk(const seen_t *self, uint32_t part, seen_fn callback, void *context)
{
    CHECK(part < SEEN_PART_COUNT);
    const seen_part_t *walked = &self->parts[part];
    size_t line_count = walked->lines == NULL ? 0 : (size_t)1 << walked->bits;
    for (size_t at = 0; at < line_count; at++) {
        s_walk_line(self, &walked->lines[at], callback, context);
    }
}
