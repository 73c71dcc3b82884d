/* Sets of seqs as maximal intervals, and the index of pairs. */
#include "common/base/prng.h"
#include "common/session/pair_index.h"
#include "common/session/seq_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool s_add(seq_set_t *set, uint64_t seq)
{
    seq_change_t change;
    return seq_set_add(set, seq, &change);
}

/* "first-last first-last" in rising order. */
static void s_render(const seq_set_t *set, char *ret_text, size_t size)
{
    seq_cursor_t cursor = {0, 0};
    seq_interval_t interval;
    size_t used = 0;
    ret_text[0] = '\0';
    while (seq_set_next(set, &cursor, &interval)) {
        int length =
            snprintf(ret_text + used, size - used, "%s%llu-%llu", used == 0 ? "" : " ",
                     (unsigned long long)interval.first, (unsigned long long)interval.last);
        assert_true(length > 0 && (size_t)length < size - used);
        used += (size_t)length;
    }
}

static void s_expect(const seq_set_t *set, const char *expected)
{
    char text[512];
    s_render(set, text, sizeof(text));
    assert_string_equal(text, expected);
}

/* Goal: nothing is in an empty set. Method: ask at both ends, walk. */
static void test_seq_set_empty_has_nothing(void **state)
{
    (void)state;
    seq_set_t set = {.refs = NULL};
    assert_false(seq_set_has(&set, 0));
    assert_false(seq_set_has(&set, UINT64_MAX));
    s_expect(&set, "");
    seq_set_done(&set);
}

/* Goal: both ends of the number range work and do not wrap into each other. Method: add 0 and the
 * maximum, then their neighbours, in a set of one interval and in one of several. */
static void test_seq_set_ends_of_range_do_not_wrap(void **state)
{
    (void)state;
    seq_set_t set = {.refs = NULL};
    assert_true(s_add(&set, UINT64_MAX));
    assert_false(seq_set_has(&set, 0));
    assert_true(s_add(&set, 0));
    s_expect(&set, "0-0 18446744073709551615-18446744073709551615");
    assert_false(s_add(&set, 0));
    assert_false(s_add(&set, UINT64_MAX));
    assert_true(s_add(&set, UINT64_MAX - 1));
    assert_true(s_add(&set, 1));
    s_expect(&set, "0-1 18446744073709551614-18446744073709551615");
    seq_set_done(&set);
    assert_true(s_add(&set, 0));
    assert_true(s_add(&set, UINT64_MAX));
    s_expect(&set, "0-0 18446744073709551615-18446744073709551615");
    seq_set_done(&set);
}

/* Goal: a producer that counts costs one interval and no memory. Method: 1..100000. */
static void test_seq_set_sequence_is_one_interval(void **state)
{
    (void)state;
    seq_set_t set = {.refs = NULL};
    for (uint64_t seq = 1; seq <= 100000; seq++) {
        assert_true(s_add(&set, seq));
    }
    s_expect(&set, "1-100000");
    assert_int_equal(set.size_bytes, 0);
    seq_set_done(&set);
}

/* Goal: each way of touching neighbours is named in the change. Method: alone, above, below,
 * between. */
static void test_seq_set_change_names_what_merged(void **state)
{
    (void)state;
    seq_set_t set = {.refs = NULL};
    seq_change_t change;
    assert_true(seq_set_add(&set, 10, &change));
    assert_true(!change.has_below && !change.has_above);
    assert_true(seq_set_add(&set, 20, &change));
    assert_true(!change.has_below && !change.has_above);
    assert_int_equal(change.now.first, 20);
    assert_true(seq_set_add(&set, 11, &change));
    assert_true(change.has_below && !change.has_above);
    assert_int_equal(change.below.last, 10);
    assert_int_equal(change.now.last, 11);
    assert_true(seq_set_add(&set, 19, &change));
    assert_true(!change.has_below && change.has_above);
    assert_int_equal(change.above.first, 20);
    for (uint64_t seq = 12; seq < 18; seq++) {
        assert_true(s_add(&set, seq));
    }
    assert_true(seq_set_add(&set, 18, &change));
    assert_true(change.has_below && change.has_above);
    assert_int_equal(change.below.first, 10);
    assert_int_equal(change.above.last, 20);
    assert_int_equal(change.now.first, 10);
    assert_int_equal(change.now.last, 20);
    s_expect(&set, "10-20");
    assert_int_equal(set.size_bytes, 0);
    seq_set_done(&set);
}

enum { MODEL_SIZE = 4000 };

/* The set against an array of flags: members, intervals in order, all of them maximal. */
static void s_compare_with_model(const seq_set_t *set, const bool *model, uint64_t base)
{
    seq_cursor_t cursor = {0, 0};
    seq_interval_t interval;
    for (uint64_t i = 0; i < MODEL_SIZE; i++) {
        assert_int_equal(seq_set_has(set, base + i), model[i]);
        if (model[i] && (i == 0 || !model[i - 1])) {
            assert_true(seq_set_next(set, &cursor, &interval));
            assert_int_equal(interval.first, base + i);
        }
        if (model[i] && (i + 1 == MODEL_SIZE || !model[i + 1])) {
            assert_int_equal(interval.last, base + i);
        }
    }
    assert_false(seq_set_next(set, &cursor, &interval));
}

/* A number that may be in the model; one that is not once few are left. */
static uint64_t s_draw(prng_t *prng, const bool *model, uint64_t left)
{
    uint64_t at = prng_below(prng, MODEL_SIZE);
    while (model[at] && left < MODEL_SIZE / 8) {
        at = (at + 1) % MODEL_SIZE;
    }
    return at;
}

/* Fills the range that begins at base in random order. */
static void s_fill_and_expect(uint64_t base, uint64_t seed)
{
    static bool s_model[MODEL_SIZE];
    (void)memset(s_model, 0, sizeof(s_model));
    prng_t prng;
    prng_init(&prng, seed);
    seq_set_t set = {.refs = NULL};
    uint64_t left = MODEL_SIZE;
    for (int step = 0; left > 0; step++) {
        uint64_t at = s_draw(&prng, s_model, left);
        assert_int_equal(s_add(&set, base + at), !s_model[at]);
        left -= !s_model[at];
        s_model[at] = true;
        if (step % 1000 == 0) {
            s_compare_with_model(&set, s_model, base);
        }
    }
    s_compare_with_model(&set, s_model, base);
    seq_set_done(&set);
}

/* Goal: any order of any numbers gives the set of them. Method: 12 seeds, numbers from a range
 * drawn until it is full, compared with flags on the way; at the lower end, the upper end and
 * between. */
static void test_seq_set_random_adds_equal_model(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed += 3) {
        s_fill_and_expect(0, seed);
        s_fill_and_expect(UINT64_MAX - (MODEL_SIZE - 1), seed + 1);
        s_fill_and_expect(1 << 20, seed + 2);
    }
}

/* Goal: numbers that never touch cost a bounded amount each. Method: 200,000 random 64-bit numbers;
 * all found, memory within what README.md says. */
static void test_seq_set_scattered_numbers_cost_bounded_memory(void **state)
{
    (void)state;
    const uint64_t count = 200000;
    seq_set_t set = {.refs = NULL};
    prng_t prng;
    prng_init(&prng, 1);
    for (uint64_t i = 0; i < count; i++) {
        assert_true(s_add(&set, prng_next(&prng)));
    }
    prng_init(&prng, 1);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t seq = prng_next(&prng);
        assert_true(seq_set_has(&set, seq));
        assert_false(seq_set_has(&set, seq + 1));
    }
    uint64_t interval_count = 0;
    seq_cursor_t cursor = {0, 0};
    seq_interval_t interval;
    while (seq_set_next(&set, &cursor, &interval)) {
        interval_count++;
    }
    assert_int_equal(interval_count, count);
    assert_true(set.size_bytes <= 35 * count);
    seq_set_done(&set);
}

/* What a store would hold of a set, by block id; count 0: nothing. */
enum { STORED_BLOCK_COUNT_MAX = 1000 };
typedef struct {
    uint32_t count;
    seq_interval_t intervals[SEQ_BLOCK_INTERVAL_COUNT_MAX];
} stored_block_t;

/* Stores all changed blocks; returns how many. */
static unsigned s_take_all(seq_set_t *set, stored_block_t *stored)
{
    uint32_t cursor = 0;
    seq_block_view_t block;
    unsigned taken = 0;
    while (seq_set_take_changed(set, &cursor, &block)) {
        assert_true(block.id < STORED_BLOCK_COUNT_MAX);
        assert_in_range(block.count, 1, SEQ_BLOCK_INTERVAL_COUNT_MAX);
        stored[block.id].count = block.count;
        (void)memcpy(stored[block.id].intervals, block.intervals,
                     block.count * sizeof(seq_interval_t));
        taken++;
    }
    return taken;
}

/* Random adds, with the store kept up to date. */
static void s_add_and_store(seq_set_t *set, uint64_t seed, stored_block_t *stored)
{
    prng_t prng;
    prng_init(&prng, seed);
    for (int i = 0; i < 12000; i++) {
        seq_change_t change = {.is_block_dropped = false};
        (void)seq_set_add(set, prng_below(&prng, 15000), &change);
        if (change.is_block_dropped) {
            stored[change.dropped_block_id].count = 0;
        }
        if (i % 500 == 499) {
            (void)s_take_all(set, stored);
            assert_int_equal(s_take_all(set, stored), 0);
        }
    }
}

/* Goal: changed blocks and dropped blocks together keep a store equal to the set, and loading it
 * gives an equal set. Method: random adds, blocks taken every 500, then loaded in falling order. */
static void test_seq_set_stored_blocks_equal_set(void **state)
{
    (void)state;
    static char s_text[2][1 << 18];
    stored_block_t *stored = malloc(STORED_BLOCK_COUNT_MAX * sizeof(*stored));
    assert_non_null(stored);
    for (uint64_t seed = 0; seed < 6; seed++) {
        (void)memset(stored, 0, STORED_BLOCK_COUNT_MAX * sizeof(*stored));
        seq_set_t set = {.refs = NULL};
        s_add_and_store(&set, seed, stored);
        seq_set_t loaded = {.refs = NULL};
        for (uint32_t id = STORED_BLOCK_COUNT_MAX; id-- > 0;) {
            seq_block_view_t block = {id, stored[id].count, stored[id].intervals};
            assert_true(block.count == 0 || seq_set_load_block(&loaded, &block));
        }
        uint32_t cursor = 0;
        seq_block_view_t block;
        assert_false(seq_set_take_changed(&loaded, &cursor, &block));
        s_render(&set, s_text[0], sizeof(s_text[0]));
        s_render(&loaded, s_text[1], sizeof(s_text[1]));
        assert_string_equal(s_text[0], s_text[1]);
        seq_set_done(&set);
        seq_set_done(&loaded);
    }
    free(stored);
}

/* Goal: a block that overlaps or touches another one is refused. Method: all ways around 10-20
 * 30-40, also at the ends of the range. */
static void test_seq_set_load_refuses_overlap_and_touch(void **state)
{
    (void)state;
    static const seq_interval_t s_refused[] = {{20, 25}, {21, 25}, {25, 29}, {25, 30}, {15, 16},
                                               {5, 9},   {5, 10},  {0, 50},  {41, 50}, {40, 40}};
    seq_interval_t there[2] = {{10, 20}, {30, 40}};
    for (size_t i = 0; i < sizeof(s_refused) / sizeof(s_refused[0]); i++) {
        seq_set_t set = {.refs = NULL};
        assert_true(seq_set_load_block(&set, &(seq_block_view_t){0, 2, there}));
        assert_false(seq_set_load_block(&set, &(seq_block_view_t){1, 1, &s_refused[i]}));
        s_expect(&set, "10-20 30-40");
        seq_set_done(&set);
    }
    seq_interval_t ends[2] = {{0, 0}, {UINT64_MAX, UINT64_MAX}};
    seq_set_t set = {.refs = NULL};
    assert_true(seq_set_load_block(&set, &(seq_block_view_t){0, 1, &ends[0]}));
    assert_false(seq_set_load_block(&set, &(seq_block_view_t){1, 1, &ends[0]}));
    assert_true(seq_set_load_block(&set, &(seq_block_view_t){1, 1, &ends[1]}));
    assert_false(seq_set_load_block(&set, &(seq_block_view_t){2, 1, &ends[1]}));
    assert_false(seq_set_load_block(&set, &(seq_block_view_t){UINT32_MAX, 1, &there[0]}));
    s_expect(&set, "0-0 18446744073709551615-18446744073709551615");
    seq_set_done(&set);
}

/* -- index of pairs ---------------------------------------------------------------------------- */

enum { INDEX_ROW_COUNT = 3000 };

static bool s_is_in_index(const pair_index_t *index, uint64_t hash, uint32_t row)
{
    pair_cursor_t cursor = pair_index_find(index, hash);
    uint32_t found = pair_index_next(index, &cursor);
    while (found != 0 && found != row) {
        found = pair_index_next(index, &cursor);
    }
    return found == row;
}

/* Goal: what was inserted and not removed is found, and nothing else. Method: random inserts and
 * removals with hashes that crowd together, also around the end of the table. */
static void test_pair_index_random_changes_equal_model(void **state)
{
    (void)state;
    static bool s_model[INDEX_ROW_COUNT];
    pair_index_t index;
    pair_index_init(&index);
    assert_false(s_is_in_index(&index, 1, 1));
    prng_t prng;
    prng_init(&prng, 3);
    for (int step = 0; step < 60000; step++) {
        uint32_t row = 1 + (uint32_t)prng_below(&prng, INDEX_ROW_COUNT - 1);
        uint64_t hash = row % 3 == 0 ? UINT64_MAX - row % 7 : (uint64_t)(row % 50) << 50 | row;
        assert_int_equal(s_is_in_index(&index, hash, row), s_model[row]);
        if (s_model[row]) {
            pair_index_remove(&index, hash, row);
        } else {
            pair_index_insert(&index, hash, row);
        }
        s_model[row] = !s_model[row];
    }
    uint32_t count = 0;
    for (uint32_t row = 1; row < INDEX_ROW_COUNT; row++) {
        count += s_model[row];
    }
    assert_int_equal(index.count, count);
    pair_index_done(&index);
    pair_index_done(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seq_set_empty_has_nothing),
        cmocka_unit_test(test_seq_set_ends_of_range_do_not_wrap),
        cmocka_unit_test(test_seq_set_load_refuses_overlap_and_touch),
        cmocka_unit_test(test_seq_set_sequence_is_one_interval),
        cmocka_unit_test(test_seq_set_change_names_what_merged),
        cmocka_unit_test(test_seq_set_random_adds_equal_model),
        cmocka_unit_test(test_seq_set_scattered_numbers_cost_bounded_memory),
        cmocka_unit_test(test_seq_set_stored_blocks_equal_set),
        cmocka_unit_test(test_pair_index_random_changes_equal_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
