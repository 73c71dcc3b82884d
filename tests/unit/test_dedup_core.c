/* What has been seen of (producer, seq): answers, verdicts, forgetting, digest. */
#include "common/base/prng.h"
#include "tests/unit/dedup_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static dedup_t *s_new(void)
{
    return dedup_new((tenant_id_t){7}, (shard_id_t){3});
}

/* in conflict may be NULL */
static dedup_verdict_t s_add(dedup_t *dedup, const dedup_copy_t *copy, dedup_conflict_t *conflict)
{
    dedup_conflict_t unused;
    return dedup_add(dedup, dedup_model_producer(copy->producer), copy->producer_seq,
                     &copy->position, conflict != NULL ? conflict : &unused);
}

static dedup_digest_t s_digest(const dedup_t *dedup)
{
    dedup_digest_t digest;
    dedup_digest(dedup, &digest);
    return digest;
}

/* Goal: nothing was seen at first, and the digest says so. Method: ask, walk totals. */
static void test_dedup_empty_has_seen_nothing(void **state)
{
    (void)state;
    dedup_t *dedup = s_new();
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), 0, NULL), DEDUP_NOT_SEEN);
    dedup_digest_t zero = {{0}};
    dedup_digest_t digest = s_digest(dedup);
    assert_memory_equal(digest.bytes, zero.bytes, sizeof(zero.bytes));
    dedup_totals_t totals;
    dedup_totals(dedup, &totals);
    assert_int_equal(totals.producers + totals.intervals + totals.positions, 0);
    dedup_destroy(&dedup);
    assert_null(dedup);
    dedup_destroy(&dedup);
}

/* Goal: seqs 0 and the maximum are seqs like any other. Method: add both, ask their neighbours. */
static void test_dedup_ends_of_seq_range_are_distinct(void **state)
{
    (void)state;
    dedup_t *dedup = s_new();
    dedup_copy_t low = dedup_model_copy(0, 0, 0, 1, 10);
    dedup_copy_t high = dedup_model_copy(0, UINT64_MAX, 0, 3, 11);
    assert_int_equal(s_add(dedup, &low, NULL), DEDUP_FIRST);
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), UINT64_MAX, NULL), DEDUP_NOT_SEEN);
    assert_int_equal(s_add(dedup, &high, NULL), DEDUP_FIRST);
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), 1, NULL), DEDUP_NOT_SEEN);
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), UINT64_MAX - 1, NULL),
                     DEDUP_NOT_SEEN);
    dedup_position_t position;
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), UINT64_MAX, &position), DEDUP_SEEN);
    assert_int_equal(position.first_seq, 3);
    dedup_totals_t totals;
    dedup_totals(dedup, &totals);
    assert_int_equal(totals.intervals, 2);
    dedup_destroy(&dedup);
}

/* Goal: the same copy again changes nothing. Method: add twice, compare digest and totals. */
static void test_dedup_same_copy_again_changes_nothing(void **state)
{
    (void)state;
    dedup_t *dedup = s_new();
    dedup_copy_t copy = dedup_model_copy(2, 5, 1, 9, 10);
    assert_int_equal(s_add(dedup, &copy, NULL), DEDUP_FIRST);
    dedup_digest_t before = s_digest(dedup);
    assert_int_equal(s_add(dedup, &copy, NULL), DEDUP_SAME);
    dedup_digest_t after = s_digest(dedup);
    assert_memory_equal(before.bytes, after.bytes, sizeof(before.bytes));
    dedup_totals_t totals;
    dedup_totals(dedup, &totals);
    assert_int_equal(totals.positions, 1);
    dedup_destroy(&dedup);
}

/* Goal: producers with equal seqs do not meet; the name counts with all its bytes. Method: names
 * that are prefixes of each other. */
static void test_dedup_producers_are_apart(void **state)
{
    (void)state;
    dedup_t *dedup = s_new();
    dedup_position_t position = dedup_model_copy(0, 1, 0, 1, 10).position;
    dedup_conflict_t unused;
    assert_int_equal(dedup_add(dedup, slice_make("ab", 2), 1, &position, &unused), DEDUP_FIRST);
    assert_int_equal(dedup_find(dedup, slice_make("a", 1), 1, NULL), DEDUP_NOT_SEEN);
    assert_int_equal(dedup_find(dedup, slice_make("ab\0", 3), 1, NULL), DEDUP_NOT_SEEN);
    assert_int_equal(dedup_find(dedup, slice_make("ab", 2), 1, NULL), DEDUP_SEEN);
    dedup_destroy(&dedup);
}

/* Two copies, in both orders; returns what the second add says. */
static dedup_conflict_t s_conflict_of(const dedup_copy_t *first, const dedup_copy_t *second)
{
    dedup_t *dedup = s_new();
    dedup_conflict_t conflict = {.is_loser_new = false};
    assert_int_equal(s_add(dedup, first, &conflict), DEDUP_FIRST);
    assert_int_equal(s_add(dedup, second, &conflict), DEDUP_OTHER_COPY);
    dedup_position_t found;
    assert_int_equal(
        dedup_find(dedup, dedup_model_producer(first->producer), first->producer_seq, &found),
        DEDUP_SEEN);
    assert_int_equal(dedup_position_compare(&found, &conflict.winner), 0);
    assert_int_equal(s_add(dedup, first, &conflict), DEDUP_SAME);
    assert_int_equal(s_add(dedup, second, &conflict), DEDUP_SAME);
    dedup_destroy(&dedup);
    return conflict;
}

/* Goal: which copy loses does not depend on the order. Method: copies that differ in HLC, in the
 * stream only, in the seq only; each in both orders. */
static void test_dedup_loser_is_the_same_in_any_order(void **state)
{
    (void)state;
    dedup_copy_t low[] = {dedup_model_copy(0, 1, 3, 90, 10), dedup_model_copy(0, 1, 0, 9, 10),
                          dedup_model_copy(0, 1, 1, 7, 10)};
    dedup_copy_t high[] = {dedup_model_copy(0, 1, 0, 1, 11), dedup_model_copy(0, 1, 1, 1, 10),
                           dedup_model_copy(0, 1, 1, 9, 10)};
    for (size_t i = 0; i < 3; i++) {
        dedup_conflict_t a = s_conflict_of(&low[i], &high[i]);
        dedup_conflict_t b = s_conflict_of(&high[i], &low[i]);
        assert_int_equal(dedup_position_compare(&a.winner, &low[i].position), 0);
        assert_int_equal(dedup_position_compare(&b.winner, &low[i].position), 0);
        assert_int_equal(dedup_position_compare(&a.loser, &high[i].position), 0);
        assert_int_equal(dedup_position_compare(&b.loser, &high[i].position), 0);
        assert_true(a.is_loser_new);
        assert_false(b.is_loser_new);
    }
}

/* Adds one copy per stream in this order; stream n has the n-th lowest HLC. Counts what loses. */
static void s_add_in_order(const unsigned order[4], unsigned ret_lost[4])
{
    dedup_t *dedup = s_new();
    for (unsigned i = 0; i < 4; i++) {
        dedup_copy_t copy = dedup_model_copy(0, 1, order[i], 5, (int64_t)order[i]);
        dedup_conflict_t conflict;
        if (s_add(dedup, &copy, &conflict) == DEDUP_OTHER_COPY) {
            ret_lost[conflict.loser.hlc.wall_ns]++;
        }
    }
    dedup_destroy(&dedup);
}

/* Goal: of four copies three lose, each once, never the lowest, in every order. Method: all 24
 * orders of adding. */
static void test_dedup_all_but_lowest_lose_once(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        unsigned order[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6 & 3};
        if ((1U << order[0] | 1U << order[1] | 1U << order[2] | 1U << order[3]) == 15) {
            unsigned lost[4] = {0};
            s_add_in_order(order, lost);
            assert_true(lost[0] == 0 && lost[1] == 1 && lost[2] == 1 && lost[3] == 1);
        }
    }
}

/* Goal: the copy of the highest epoch stays, whatever the HLC, the stream and the seq say; an island's
 * (epoch 0) gives way to every leader's. Method: each in both orders. */
static void test_dedup_higher_epoch_stays_whatever_the_clock(void **state)
{
    (void)state;
    static const uint64_t s_epochs[][2] = {{2, 1}, {1, 0}, {UINT64_MAX, UINT64_MAX - 1}};
    for (size_t i = 0; i < sizeof(s_epochs) / sizeof(s_epochs[0]); i++) {
        dedup_copy_t stays = dedup_model_copy(0, 1, 3, 90, 11);
        dedup_copy_t goes = dedup_model_copy(0, 1, 0, 1, 10);
        stays.position.epoch = s_epochs[i][0];
        goes.position.epoch = s_epochs[i][1];
        dedup_conflict_t a = s_conflict_of(&stays, &goes);
        dedup_conflict_t b = s_conflict_of(&goes, &stays);
        assert_int_equal(a.winner.epoch, s_epochs[i][0]);
        assert_int_equal(b.winner.epoch, s_epochs[i][0]);
        assert_true(a.is_loser_new);
        assert_false(b.is_loser_new);
    }
}

enum { S_COPIES = 3, S_COPY_KINDS = 4 };

static unsigned s_number_of(const dedup_copy_t copies[S_COPIES], const dedup_position_t *position)
{
    unsigned number = 0; /* it is one of them */
    while (!stream_id_equal(position->stream, copies[number].position.stream)) {
        number++;
    }
    return number;
}

/* Adds the copies in this order, as often as `again` says. Returns which one stays; counts how often
 * each is to be voided. */
static unsigned s_stays_of(const dedup_copy_t copies[S_COPIES],
                           const unsigned order[S_COPIES],
                           unsigned again,
                           unsigned ret_lost[S_COPIES])
{
    dedup_t *dedup = s_new();
    for (unsigned i = 0; i < S_COPIES * again; i++) {
        dedup_conflict_t conflict;
        if (s_add(dedup, &copies[order[i % S_COPIES]], &conflict) == DEDUP_OTHER_COPY) {
            ret_lost[s_number_of(copies, &conflict.loser)]++;
        }
    }
    dedup_position_t found;
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), 1, &found), DEDUP_SEEN);
    dedup_destroy(&dedup);
    return s_number_of(copies, &found);
}

/* One stays and each other one is voided once, the same in all six orders, and when everything comes
 * twice. */
static void s_expect_laws(const dedup_copy_t copies[S_COPIES], unsigned expected)
{
    static const unsigned s_orders[6][S_COPIES] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                                   {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (unsigned i = 0; i < 12; i++) {
        unsigned lost[S_COPIES] = {0};
        assert_int_equal(s_stays_of(copies, s_orders[i % 6], 1 + i / 6, lost), expected);
        for (unsigned k = 0; k < S_COPIES; k++) {
            assert_int_equal(lost[k], k == expected ? 0 : 1);
        }
    }
}

/* Goal: which of three copies stays is a function of the copies alone: commutative, associative,
 * idempotent. Method: three streams, every choice of epochs and times of four kinds each, all orders;
 * the expected one from the rule's words. */
static void test_dedup_three_copies_leave_the_same_in_all_orders(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 4096; code++) {
        dedup_copy_t copies[S_COPIES];
        unsigned expected = 0;
        for (unsigned i = 0; i < S_COPIES; i++) {
            int64_t wall_ns = (int64_t)(code >> (4 * i + 2) & (S_COPY_KINDS - 1));
            copies[i] = dedup_model_copy(0, 1, i, 5, wall_ns);
            copies[i].position.epoch = code >> (4 * i) & (S_COPY_KINDS - 1);
            const dedup_position_t *best = &copies[expected].position;
            bool is_better =
                copies[i].position.epoch > best->epoch ||
                (copies[i].position.epoch == best->epoch && wall_ns < best->hlc.wall_ns);
            expected = is_better ? i : expected; /* of equals the lower stream */
        }
        s_expect_laws(copies, expected);
    }
}

/* The first place that is remembered in a stream, whatever the order in which copies were added. */
static void test_dedup_first_place_is_the_lowest_that_is_remembered(void **state)
{
    (void)state;
    dedup_t *dedup = s_new();
    stream_id_t stream = dedup_model_stream(0);
    static const uint64_t s_firsts[] = {30, 10, 20};
    assert_int_equal(dedup_first_place(dedup, stream), 0);
    for (uint32_t i = 0; i < 3; i++) {
        dedup_copy_t copy = dedup_model_copy(0, 1 + i, 0, s_firsts[i], 10);
        assert_int_equal(s_add(dedup, &copy, NULL), DEDUP_FIRST);
    }
    assert_int_equal(dedup_first_place(dedup, stream), 10);
    assert_int_equal(dedup_first_place(dedup, dedup_model_stream(1)), 0);
    dedup_forget_stable(dedup, stream, 15);
    assert_int_equal(dedup_first_place(dedup, stream), 20);
    assert_int_equal(dedup_stable_seq(dedup, stream), 15);
    assert_int_equal(dedup_stable_seq(dedup, dedup_model_stream(1)), 0);
    dedup_forget_stable(dedup, stream, 100);
    assert_int_equal(dedup_first_place(dedup, stream), 0);
    dedup_destroy(&dedup);
}

/* Goal: at the stable seq a position is forgotten, one below it is not. Method: forget around the
 * last seq of a batch of two; an earlier stable seq later changes nothing. */
static void test_dedup_forget_begins_at_last_seq(void **state)
{
    (void)state;
    dedup_t *dedup = s_new();
    dedup_copy_t copy = dedup_model_copy(0, 1, 0, 10, 10);
    assert_int_equal(s_add(dedup, &copy, NULL), DEDUP_FIRST);
    dedup_forget_stable(dedup, copy.position.stream, 10);
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), 1, NULL), DEDUP_SEEN);
    dedup_forget_stable(dedup, dedup_model_stream(1), 11);
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), 1, NULL), DEDUP_SEEN);
    dedup_forget_stable(dedup, copy.position.stream, 11);
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), 1, NULL), DEDUP_SEEN_STABLE);
    dedup_forget_stable(dedup, copy.position.stream, 5);
    assert_int_equal(s_add(dedup, &copy, NULL), DEDUP_SAME);
    dedup_copy_t late = dedup_model_copy(0, 2, 0, 8, 10);
    assert_int_equal(s_add(dedup, &late, NULL), DEDUP_FIRST);
    assert_int_equal(dedup_find(dedup, dedup_model_producer(0), 2, NULL), DEDUP_SEEN_STABLE);
    dedup_totals_t totals;
    dedup_totals(dedup, &totals);
    assert_int_equal(totals.positions, 0);
    dedup_destroy(&dedup);
}

/* Goal: once one copy is stable the pair is, and the other copy still answers for itself. Method:
 * two copies, forget the one that counts, then the other; and the other way round. */
static void test_dedup_pair_is_stable_with_its_first_copy(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        dedup_t *dedup = s_new();
        dedup_copy_t copies[2] = {dedup_model_copy(0, 1, 0, 10, 10),
                                  dedup_model_copy(0, 1, 1, 20, 11)};
        dedup_conflict_t conflict;
        assert_int_equal(s_add(dedup, &copies[0], &conflict), DEDUP_FIRST);
        assert_int_equal(s_add(dedup, &copies[1], &conflict), DEDUP_OTHER_COPY);
        dedup_forget_stable(dedup, copies[first].position.stream, 50);
        assert_int_equal(dedup_find(dedup, dedup_model_producer(0), 1, NULL), DEDUP_SEEN_STABLE);
        assert_int_equal(s_add(dedup, &copies[0], &conflict), DEDUP_SAME);
        assert_int_equal(s_add(dedup, &copies[1], &conflict), DEDUP_SAME);
        dedup_copy_t late = dedup_model_copy(0, 1, 2, 30, 5);
        assert_int_equal(s_add(dedup, &late, &conflict), DEDUP_OTHER_COPY);
        assert_true(conflict.is_winner_forgotten && conflict.is_loser_new);
        assert_int_equal(s_add(dedup, &late, &conflict), DEDUP_SAME);
        dedup_forget_stable(dedup, copies[1 - first].position.stream, 50);
        dedup_forget_stable(dedup, late.position.stream, 50);
        assert_int_equal(dedup_find(dedup, dedup_model_producer(0), 1, NULL), DEDUP_SEEN_STABLE);
        dedup_totals_t totals;
        dedup_totals(dedup, &totals);
        assert_int_equal(totals.positions, 0);
        dedup_destroy(&dedup);
    }
}

enum { ORDERED_COUNT = 7 };

/* The next order in lexical order; false after the last. */
static bool s_next_order(unsigned order[ORDERED_COUNT])
{
    unsigned last = ORDERED_COUNT - 1;
    unsigned at = last;
    while (at > 0 && order[at - 1] > order[at]) {
        at--;
    }
    if (at == 0) {
        return false;
    }
    unsigned with = last;
    while (order[with] < order[at - 1]) {
        with--;
    }
    unsigned kept = order[at - 1];
    order[at - 1] = order[with];
    order[with] = kept;
    for (; at < last; at++, last--) {
        kept = order[at];
        order[at] = order[last];
        order[last] = kept;
    }
    return true;
}

/* Adds the copies in this order, each one twice. */
static dedup_digest_t s_digest_of(const dedup_copy_t *copies, const unsigned order[ORDERED_COUNT])
{
    dedup_t *dedup = s_new();
    dedup_conflict_t conflict;
    for (unsigned i = 0; i < 2 * ORDERED_COUNT; i++) {
        (void)s_add(dedup, &copies[order[(i * 4) % ORDERED_COUNT]], &conflict);
    }
    dedup_digest_t digest = s_digest(dedup);
    dedup_destroy(&dedup);
    return digest;
}

/* Goal: the digest is that of the set of pairs. Method: all permutations of seven adds (intervals
 * that merge in every way, two producers, a second copy), each add done twice. */
static void test_dedup_digest_is_equal_for_all_orders(void **state)
{
    (void)state;
    const dedup_copy_t copies[ORDERED_COUNT] = {
        dedup_model_copy(0, 1, 0, 1, 10), dedup_model_copy(0, 2, 0, 3, 11),
        dedup_model_copy(0, 3, 0, 5, 12), dedup_model_copy(0, 5, 1, 1, 13),
        dedup_model_copy(1, 3, 1, 3, 14), dedup_model_copy(0, 2, 1, 5, 15),
        dedup_model_copy(0, 4, 2, 1, 16)};
    unsigned order[ORDERED_COUNT] = {0, 1, 2, 3, 4, 5, 6};
    dedup_digest_t expected = s_digest_of(copies, order);
    unsigned count = 1;
    for (; s_next_order(order); count++) {
        dedup_digest_t digest = s_digest_of(copies, order);
        assert_memory_equal(digest.bytes, expected.bytes, sizeof(expected.bytes));
    }
    assert_int_equal(count, 5040);
}

/* Goal: different sets of pairs have different digests, and positions do not count. Method: one
 * pair more; the same pair elsewhere; forgotten. */
static void test_dedup_digest_covers_pairs_alone(void **state)
{
    (void)state;
    dedup_t *a = s_new();
    dedup_t *b = s_new();
    dedup_copy_t here = dedup_model_copy(0, 1, 0, 1, 10);
    dedup_copy_t elsewhere = dedup_model_copy(0, 1, 1, 77, 99);
    (void)s_add(a, &here, NULL);
    (void)s_add(b, &elsewhere, NULL);
    dedup_forget_stable(b, elsewhere.position.stream, 1000);
    dedup_digest_t digest_a = s_digest(a);
    dedup_digest_t digest_b = s_digest(b);
    assert_memory_equal(digest_a.bytes, digest_b.bytes, sizeof(digest_a.bytes));
    dedup_copy_t more = dedup_model_copy(1, 1, 0, 3, 11);
    (void)s_add(a, &more, NULL);
    digest_a = s_digest(a);
    assert_memory_not_equal(digest_a.bytes, digest_b.bytes, sizeof(digest_a.bytes));
    dedup_destroy(&a);
    dedup_destroy(&b);
}

/* One history of adds and forgetting, and the truth about it. */
typedef struct {
    prng_t prng;
    dedup_model_t model;
    dedup_t *dedup;
    uint64_t next_seq[DEDUP_MODEL_STREAM_COUNT];
    dedup_copy_t held; /* delivered later than its stream's order */
} history_t;

/* A copy that a mesh could have logged: streams rise, pairs repeat now and then. */
static dedup_copy_t s_random_copy(history_t *self)
{
    prng_t *prng = &self->prng;
    unsigned stream = (unsigned)prng_below(prng, DEDUP_MODEL_STREAM_COUNT);
    self->next_seq[stream] += 2;
    uint64_t producer_seq = prng_below(prng, 120);
    if (prng_chance(prng, 0.1)) {
        producer_seq = UINT64_MAX - prng_below(prng, 4);
    }
    dedup_copy_t copy = dedup_model_copy((unsigned)prng_below(prng, 4), producer_seq, stream,
                                         self->next_seq[stream], (int64_t)prng_below(prng, 50));
    copy.position.epoch = prng_below(prng, 4);
    if (prng_chance(prng, 0.2)) {
        copy.position.named = (stream_position_t){
            dedup_model_stream((unsigned)prng_below(prng, DEDUP_MODEL_STREAM_COUNT)),
            1 + prng_below(prng, 100)};
    }
    return copy;
}

static void s_step_history(history_t *self)
{
    prng_t *prng = &self->prng;
    dedup_copy_t copy = s_random_copy(self);
    if (prng_chance(prng, 0.3)) {
        dedup_copy_t held = self->held;
        self->held = copy;
        copy = held;
    }
    dedup_model_add_both(&self->model, self->dedup, &copy);
    if (prng_chance(prng, 0.2)) {
        copy = self->model.copies[prng_below(prng, self->model.count)];
        dedup_model_add_both(&self->model, self->dedup, &copy);
    }
    if (prng_chance(prng, 0.05)) {
        unsigned stream = (unsigned)prng_below(prng, DEDUP_MODEL_STREAM_COUNT);
        uint64_t through = prng_below(prng, self->next_seq[stream] + 1);
        dedup_model_forget(&self->model, stream, through);
        dedup_forget_stable(self->dedup, dedup_model_stream(stream), through);
    }
}

/* Goal: every answer and verdict equals that of the naive model. Method: 30 seeds of 600 random
 * adds, some twice, some out of order within their stream, with forgetting between. */
static void test_dedup_random_history_equals_model(void **state)
{
    (void)state;
    history_t *history = malloc(sizeof(*history));
    assert_non_null(history);
    for (uint64_t seed = 0; seed < 30; seed++) {
        (void)memset(history, 0, sizeof(*history));
        prng_init(&history->prng, seed);
        history->dedup = s_new();
        history->held = s_random_copy(history);
        for (int step = 0; step < 600; step++) {
            s_step_history(history);
        }
        dedup_model_compare(&history->model, history->dedup);
        dedup_destroy(&history->dedup);
    }
    free(history);
}

/* Goal: a long backlog of positions is forgotten in steps, and its memory used again. Method:
 * 50,000 positions in two streams, forgotten bit by bit, then as many again. */
static void test_dedup_backlog_is_forgotten_and_reused(void **state)
{
    (void)state;
    dedup_t *dedup = s_new();
    dedup_totals_t totals;
    uint64_t memory_bytes = 0;
    uint64_t next = 1;
    for (int round = 0; round < 2; round++) {
        uint64_t first = next;
        for (; next < first + 50000; next++) {
            dedup_copy_t copy = dedup_model_copy(0, next, next % 2, next, (int64_t)next);
            copy.position.event_count = 1;
            assert_int_equal(s_add(dedup, &copy, NULL), DEDUP_FIRST);
        }
        for (uint64_t through = first; through < next; through += 999) {
            dedup_forget_stable(dedup, dedup_model_stream(0), through);
            dedup_forget_stable(dedup, dedup_model_stream(1), through);
            dedup_totals(dedup, &totals);
            assert_int_equal(totals.positions, next - 1 - through);
            assert_int_equal(dedup_find(dedup, dedup_model_producer(0), through, NULL),
                             DEDUP_SEEN_STABLE);
        }
        dedup_forget_stable(dedup, dedup_model_stream(0), next);
        dedup_forget_stable(dedup, dedup_model_stream(1), next);
        dedup_totals(dedup, &totals);
        assert_int_equal(totals.positions, 0);
        assert_int_equal(totals.intervals, 1);
        assert_true(round == 0 || totals.memory_bytes <= memory_bytes);
        memory_bytes = totals.memory_bytes;
    }
    dedup_destroy(&dedup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dedup_empty_has_seen_nothing),
        cmocka_unit_test(test_dedup_ends_of_seq_range_are_distinct),
        cmocka_unit_test(test_dedup_same_copy_again_changes_nothing),
        cmocka_unit_test(test_dedup_producers_are_apart),
        cmocka_unit_test(test_dedup_loser_is_the_same_in_any_order),
        cmocka_unit_test(test_dedup_all_but_lowest_lose_once),
        cmocka_unit_test(test_dedup_higher_epoch_stays_whatever_the_clock),
        cmocka_unit_test(test_dedup_three_copies_leave_the_same_in_all_orders),
        cmocka_unit_test(test_dedup_first_place_is_the_lowest_that_is_remembered),
        cmocka_unit_test(test_dedup_forget_begins_at_last_seq),
        cmocka_unit_test(test_dedup_pair_is_stable_with_its_first_copy),
        cmocka_unit_test(test_dedup_digest_is_equal_for_all_orders),
        cmocka_unit_test(test_dedup_digest_covers_pairs_alone),
        cmocka_unit_test(test_dedup_random_history_equals_model),
        cmocka_unit_test(test_dedup_backlog_is_forgotten_and_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
