#include "tests/unit/dedup_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

stream_id_t dedup_model_stream(unsigned stream)
{
    return (stream_id_t){.tenant = {7},
                         .incarnation = 100 + stream % 2,
                         .origin = {{(uint16_t)(1 + stream / 2)}, {3}}};
}

slice_t dedup_model_producer(unsigned producer)
{
    static char s_name[PRODUCER_SIZE_MAX];
    (void)memset(s_name, 'p', sizeof(s_name));
    s_name[0] = (char)('a' + producer);
    /* The shortest, the longest, and between. */
    return slice_make(s_name, producer == 0 ? 1 : producer == 1 ? PRODUCER_SIZE_MAX : 5 * producer);
}

dedup_copy_t dedup_model_copy(
    unsigned producer, uint64_t producer_seq, unsigned stream, uint64_t first_seq, int64_t wall_ns)
{
    dedup_copy_t copy = {
        .producer = producer,
        .producer_seq = producer_seq,
        .stream = stream,
        .position = {.epoch = 1,
                     .stream = dedup_model_stream(stream),
                     .first_seq = first_seq,
                     .event_count = 2,
                     .hlc = {wall_ns, 0, 5}},
    };
    (void)memset(copy.position.content_hash.bytes, (int)(producer_seq & 0xff),
                 WAL_CONTENT_HASH_SIZE);
    return copy;
}

static bool s_is_forgotten(const dedup_model_t *self, const dedup_copy_t *copy)
{
    return dedup_position_last_seq(&copy->position) <= self->stable_seq[copy->stream];
}

/* The rule once more, from its words: whether `a` stays when `b` is there too. */
static bool s_stays(const dedup_position_t *a, const dedup_position_t *b)
{
    if (a->epoch != b->epoch) {
        return a->epoch > b->epoch;
    }
    int order = hlc_compare(a->hlc, b->hlc);
    order = order != 0 ? order : stream_id_compare(a->stream, b->stream);
    return order != 0 ? order < 0 : a->first_seq < b->first_seq;
}

static bool s_is_same_pair(const dedup_copy_t *copy, unsigned producer, uint64_t producer_seq)
{
    return copy->producer == producer && copy->producer_seq == producer_seq;
}

dedup_found_t dedup_model_find(const dedup_model_t *self,
                               unsigned producer,
                               uint64_t producer_seq,
                               dedup_position_t *ret_position)
{
    dedup_found_t found = DEDUP_NOT_SEEN;
    dedup_position_t best = {.first_seq = 0};
    for (size_t i = 0; i < self->count; i++) {
        const dedup_copy_t *copy = &self->copies[i];
        if (!s_is_same_pair(copy, producer, producer_seq)) {
            continue;
        }
        if (s_is_forgotten(self, copy)) {
            return DEDUP_SEEN_STABLE;
        }
        if (found == DEDUP_NOT_SEEN || s_stays(&copy->position, &best)) {
            best = copy->position;
        }
        found = DEDUP_SEEN;
    }
    if (found == DEDUP_SEEN) {
        *ret_position = best;
    }
    return found;
}

dedup_verdict_t dedup_model_add(dedup_model_t *self,
                                const dedup_copy_t *copy,
                                dedup_conflict_t *ret_conflict)
{
    dedup_position_t winner;
    dedup_found_t found = dedup_model_find(self, copy->producer, copy->producer_seq, &winner);
    if (found != DEDUP_NOT_SEEN && s_is_forgotten(self, copy)) {
        return DEDUP_SAME;
    }
    for (size_t i = 0; i < self->count; i++) {
        if (s_is_same_pair(&self->copies[i], copy->producer, copy->producer_seq) &&
            dedup_position_compare(&self->copies[i].position, &copy->position) == 0) {
            return DEDUP_SAME;
        }
    }
    assert_true(self->count < DEDUP_MODEL_COPY_COUNT_MAX);
    self->copies[self->count++] = *copy;
    if (found == DEDUP_NOT_SEEN) {
        return DEDUP_FIRST;
    }
    *ret_conflict = (dedup_conflict_t){.loser = copy->position, .is_loser_new = true};
    if (found == DEDUP_SEEN_STABLE) {
        ret_conflict->is_winner_forgotten = true;
        return DEDUP_OTHER_COPY;
    }
    ret_conflict->winner = winner;
    if (s_stays(&copy->position, &winner)) {
        *ret_conflict = (dedup_conflict_t){.winner = copy->position, .loser = winner};
    }
    return DEDUP_OTHER_COPY;
}

void dedup_model_forget(dedup_model_t *self, unsigned stream, uint64_t through_seq)
{
    if (through_seq > self->stable_seq[stream]) {
        self->stable_seq[stream] = through_seq;
    }
}

static void s_expect_position(const dedup_position_t *a, const dedup_position_t *b)
{
    assert_int_equal(dedup_position_compare(a, b), 0);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->event_count, b->event_count);
    assert_int_equal(a->named.seq, b->named.seq);
    assert_true(stream_id_equal(a->named.stream, b->named.stream));
    assert_memory_equal(a->content_hash.bytes, b->content_hash.bytes, WAL_CONTENT_HASH_SIZE);
}

void dedup_model_add_both(dedup_model_t *self, dedup_t *dedup, const dedup_copy_t *copy)
{
    dedup_conflict_t expected = {.is_loser_new = false};
    dedup_conflict_t found = {.is_loser_new = false};
    dedup_verdict_t expected_verdict = dedup_model_add(self, copy, &expected);
    dedup_verdict_t verdict = dedup_add(dedup, dedup_model_producer(copy->producer),
                                        copy->producer_seq, &copy->position, &found);
    assert_int_equal(verdict, expected_verdict);
    if (verdict == DEDUP_OTHER_COPY) {
        assert_int_equal(found.is_loser_new, expected.is_loser_new);
        assert_int_equal(found.is_winner_forgotten, expected.is_winner_forgotten);
        s_expect_position(&found.loser, &expected.loser);
        s_expect_position(&found.winner, &expected.winner);
    }
}

static void s_compare_pair(const dedup_model_t *self,
                           const dedup_t *dedup,
                           unsigned producer,
                           uint64_t producer_seq)
{
    dedup_position_t expected = {.first_seq = 0};
    dedup_position_t position = {.first_seq = 0};
    dedup_found_t found =
        dedup_find(dedup, dedup_model_producer(producer), producer_seq, &position);
    assert_int_equal(found, dedup_model_find(self, producer, producer_seq, &expected));
    s_expect_position(&position, &expected);
}

void dedup_model_compare(const dedup_model_t *self, const dedup_t *dedup)
{
    for (size_t i = 0; i < self->count; i++) {
        const dedup_copy_t *copy = &self->copies[i];
        s_compare_pair(self, dedup, copy->producer, copy->producer_seq);
        s_compare_pair(self, dedup, copy->producer, copy->producer_seq + 1);
        s_compare_pair(self, dedup, copy->producer, copy->producer_seq - 1);
    }
    dedup_digest_t digest;
    dedup_digest_t anew;
    dedup_digest(dedup, &digest);
    dedup_digest_full(dedup, &anew);
    assert_memory_equal(digest.bytes, anew.bytes, sizeof(digest.bytes));
}
