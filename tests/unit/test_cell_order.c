/* A cell is a function of the set of its events: any order, voids, and its canonical bytes. */
#include "common/base/prng.h"
#include "common/signal/cell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const int64_t s_minute_ns = INT64_C(60) * 1000000000;
static const int64_t s_now_ns = INT64_C(1700000000) * 1000000000;

enum { EVENT_COUNT = 1500 };

/* What happens to one event. */
typedef enum { FATE_COUNTS, FATE_VOIDED_LATER, FATE_ARRIVES_VOID } fate_t;

typedef struct {
    int64_t ts_ns;
    double weight;
    fate_t fate;
} event_t;

typedef struct {
    memory_t memory;
    decay_t decay;
    cell_t cell;
} fixture_t;

static void s_init(fixture_t *fixture, int64_t half_life_s)
{
    *fixture = (fixture_t){0};
    decay_init(&fixture->decay, half_life_s);
    cell_init(&fixture->cell, 1, 1);
}

static void s_done(fixture_t *fixture)
{
    cell_done(&fixture->cell, &fixture->memory);
    assert_int_equal(fixture->memory.size_bytes, 0);
}

static void s_add(fixture_t *fixture, const event_t *event)
{
    cell_add(&fixture->cell, &fixture->memory, &fixture->decay, event->ts_ns, event->weight);
}

static void s_void(fixture_t *fixture, const event_t *event)
{
    cell_void(&fixture->cell, &fixture->memory, &fixture->decay, event->ts_ns, event->weight);
}

static void s_touch(fixture_t *fixture, const event_t *event)
{
    cell_touch(&fixture->cell, &fixture->memory, &fixture->decay, event->ts_ns);
}

/* Times over minutes, hours, days and years; some equal, some at borders of buckets. */
static int64_t s_random_time(prng_t *prng)
{
    static const uint64_t s_ranges_minutes[] = {2, 100, 5000, 50000, 2000000};
    uint64_t range = s_ranges_minutes[prng_below(prng, 5)];
    int64_t ts_ns = s_now_ns - (int64_t)prng_below(prng, range) * s_minute_ns;
    if (prng_chance(prng, 0.7)) {
        ts_ns -= (int64_t)prng_below(prng, (uint64_t)s_minute_ns);
    } else {
        ts_ns -= ts_ns % s_minute_ns;
    }
    return ts_ns;
}

static void s_generate(prng_t *prng, event_t *events, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        events[i].ts_ns = s_random_time(prng);
        events[i].weight = (prng_unit(prng) - 0.3) * (prng_chance(prng, 0.1) ? 1e9 : 3.0);
        events[i].fate = (fate_t)(prng_chance(prng, 0.8) ? 0 : 1 + prng_below(prng, 2));
    }
}

static void s_shuffle(prng_t *prng, event_t *events, unsigned count)
{
    for (unsigned i = count; i > 1; i--) {
        unsigned j = (unsigned)prng_below(prng, i);
        event_t swapped = events[i - 1];
        events[i - 1] = events[j];
        events[j] = swapped;
    }
}

/* Applies all, each void at a random moment after its event. */
static void s_apply(fixture_t *fixture, prng_t *prng, const event_t *events, unsigned count)
{
    static unsigned s_waiting[EVENT_COUNT];
    unsigned waiting = 0;
    for (unsigned i = 0; i < count; i++) {
        if (events[i].fate == FATE_ARRIVES_VOID) {
            s_touch(fixture, &events[i]);
        } else {
            s_add(fixture, &events[i]);
        }
        if (events[i].fate == FATE_VOIDED_LATER) {
            s_waiting[waiting++] = i;
        }
        if (waiting > 0 && prng_chance(prng, 0.3)) {
            unsigned j = (unsigned)prng_below(prng, waiting);
            s_void(fixture, &events[s_waiting[j]]);
            s_waiting[j] = s_waiting[--waiting];
        }
    }
    while (waiting > 0) {
        s_void(fixture, &events[s_waiting[--waiting]]);
    }
}

/* The bytes of a cell of these events; returns their size. */
static size_t s_cell_bytes(
    prng_t *prng, int64_t half_life_s, const event_t *events, unsigned count, uint8_t *ret_bytes)
{
    fixture_t fixture;
    s_init(&fixture, half_life_s);
    s_apply(&fixture, prng, events, count);
    size_t size = cell_encode(&fixture.cell, ret_bytes);
    s_done(&fixture);
    return size;
}

static void s_check_permutations(prng_t *prng, int64_t half_life_s)
{
    static event_t s_events[EVENT_COUNT];
    uint8_t expected[CELL_VALUE_SIZE_MAX];
    s_generate(prng, s_events, EVENT_COUNT);
    size_t expected_size = s_cell_bytes(prng, half_life_s, s_events, EVENT_COUNT, expected);
    for (unsigned round = 0; round < 20; round++) {
        uint8_t bytes[CELL_VALUE_SIZE_MAX];
        s_shuffle(prng, s_events, EVENT_COUNT);
        size_t size = s_cell_bytes(prng, half_life_s, s_events, EVENT_COUNT, bytes);
        assert_int_equal(size, expected_size);
        assert_memory_equal(bytes, expected, size);
    }
}

/* Goal: any order of the same events, with voids in between, gives the same bytes. Method: 20
 * random permutations of 1,500 events, for short and long half-lives. */
static void test_cell_order_permutations_give_equal_bytes(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 11);
    s_check_permutations(&prng, 60);
    s_check_permutations(&prng, 86400);
    s_check_permutations(&prng, 2592000);
}

/* Six events, the first three of them void in one of two ways; returns the size of the bytes. */
static size_t s_half_voided(const event_t *events, bool voided_later, uint8_t *ret_bytes)
{
    fixture_t fixture;
    s_init(&fixture, 3600);
    for (unsigned i = 0; i < 6; i++) {
        if (i < 3 && !voided_later) {
            s_touch(&fixture, &events[i]);
        } else {
            s_add(&fixture, &events[i]);
        }
    }
    for (unsigned i = 0; i < 3 && voided_later; i++) {
        s_void(&fixture, &events[i]);
    }
    size_t size = cell_encode(&fixture.cell, ret_bytes);
    s_done(&fixture);
    return size;
}

/* Goal: an event that was added and voided leaves what one leaves that arrived void, which is what
 * never having counted leaves, but for the newest time. */
static void test_cell_order_void_equals_arriving_void(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 12);
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t bytes[2][CELL_VALUE_SIZE_MAX];
        event_t events[6];
        s_generate(&prng, events, 6);
        size_t size = s_half_voided(events, true, bytes[0]);
        assert_int_equal(s_half_voided(events, false, bytes[1]), size);
        assert_memory_equal(bytes[0], bytes[1], size);
    }
}

/* Goal: a void lowers neither the newest event time nor the landmarks kept. */
static void test_cell_order_void_keeps_newest(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init(&fixture, 60);
    event_t old = {s_now_ns, 1.0, FATE_COUNTS};
    event_t newest = {s_now_ns + 4 * fixture.decay.span_ns, 1.0, FATE_COUNTS};
    s_add(&fixture, &old);
    s_add(&fixture, &newest);
    s_void(&fixture, &newest);
    assert_int_equal(fixture.cell.newest_ns, newest.ts_ns);
    assert_int_equal(fixture.cell.count, 1);
    for (unsigned i = 0; i < DECAY_LANDMARKS_KEPT; i++) {
        assert_true(cell_sum(&fixture.cell, i) == 0);
    }
    s_void(&fixture, &old);
    assert_int_equal(fixture.cell.count, 0);
    s_done(&fixture);
}

/* Goal: what encode writes, decode reads, and it encodes to the same bytes again. */
static void test_cell_order_codec_round_trip_is_exact(void **state)
{
    (void)state;
    static event_t s_events[EVENT_COUNT];
    prng_t prng;
    prng_init(&prng, 13);
    for (unsigned round = 0; round < 300; round++) {
        unsigned count = 1 + (unsigned)prng_below(&prng, round < 200 ? 5 : EVENT_COUNT);
        fixture_t fixture;
        fixture_t decoded;
        uint8_t bytes[2][CELL_VALUE_SIZE_MAX];
        s_init(&fixture, 86400);
        s_init(&decoded, 86400);
        s_generate(&prng, s_events, count);
        s_apply(&fixture, &prng, s_events, count);
        size_t size = cell_encode(&fixture.cell, bytes[0]);
        err_t err = cell_decode(&decoded.cell, &decoded.memory, slice_make(bytes[0], size), NULL);
        assert_int_equal(err, ERR_OK);
        assert_int_equal(cell_encode(&decoded.cell, bytes[1]), size);
        assert_memory_equal(bytes[0], bytes[1], size);
        /* and it goes on as the original does */
        event_t more = {s_random_time(&prng), 2.5, FATE_COUNTS};
        s_add(&fixture, &more);
        s_add(&decoded, &more);
        size = cell_encode(&fixture.cell, bytes[0]);
        assert_int_equal(cell_encode(&decoded.cell, bytes[1]), size);
        assert_memory_equal(bytes[0], bytes[1], size);
        s_done(&fixture);
        s_done(&decoded);
    }
}

/* Decodes; what is accepted encodes to the bytes that were read. out whether it was */
static bool s_check_damaged(const uint8_t *bytes, size_t size)
{
    fixture_t fixture;
    uint8_t again[CELL_VALUE_SIZE_MAX];
    s_init(&fixture, 86400);
    err_t err = cell_decode(&fixture.cell, &fixture.memory, slice_make(bytes, size), NULL);
    if (err == ERR_OK) {
        assert_int_equal(cell_encode(&fixture.cell, again), size);
        assert_memory_equal(again, bytes, size);
    }
    s_done(&fixture);
    return err == ERR_OK;
}

/* Goal: damaged bytes are refused or mean another sound cell, and nothing breaks. Method: every bit
 * of some values flipped, every truncation, one byte too many. */
static void test_cell_order_damaged_bytes_are_refused_or_canonical(void **state)
{
    (void)state;
    event_t events[40];
    prng_t prng;
    prng_init(&prng, 14);
    for (unsigned round = 0; round < 30; round++) {
        unsigned count = 1 + (unsigned)prng_below(&prng, 40);
        uint8_t bytes[CELL_VALUE_SIZE_MAX];
        s_generate(&prng, events, count);
        size_t size = s_cell_bytes(&prng, 86400, events, count, bytes);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
            (void)s_check_damaged(bytes, size); /* checks itself */
            bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        for (size_t cut = 0; cut < size; cut++) {
            assert_false(s_check_damaged(bytes, cut));
        }
        bytes[size] = 0;
        assert_false(s_check_damaged(bytes, size + 1));
    }
}

/* Goal: a later version is told apart from damage. */
static void test_cell_order_later_version_is_unsupported(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init(&fixture, 86400);
    event_t event = {s_now_ns, 1.0, FATE_COUNTS};
    s_add(&fixture, &event);
    uint8_t bytes[CELL_VALUE_SIZE_MAX];
    size_t size = cell_encode(&fixture.cell, bytes);
    s_done(&fixture);
    bytes[0] = 2;
    s_init(&fixture, 86400);
    errbuf_t errbuf;
    slice_t value = slice_make(bytes, size);
    assert_int_equal(cell_decode(&fixture.cell, &fixture.memory, value, &errbuf), ERR_UNSUPPORTED);
    s_done(&fixture);
}

/* Goal: the bytes are those that checkpoint_format.h describes. Method: one value by hand: two
 * events in one minute, one an hour before in the landmark before, half-life 60 s. */
static void test_cell_order_bytes_are_golden(void **state)
{
    (void)state;
    fixture_t fixture;
    s_init(&fixture, 60);
    const int64_t span_ns = fixture.decay.span_ns; /* 16 minutes */
    event_t newest = {1000 * span_ns, 1.0, FATE_COUNTS};
    event_t second = {1000 * span_ns, -3.0, FATE_COUNTS};
    event_t before = {999 * span_ns, 0.5, FATE_COUNTS};
    s_add(&fixture, &newest);
    s_add(&fixture, &before);
    s_add(&fixture, &second);
    uint8_t bytes[CELL_VALUE_SIZE_MAX];
    char text[2 * CELL_VALUE_SIZE_MAX + 1];
    size_t size = cell_encode(&fixture.cell, bytes);
    bytes_to_hex(bytes, size, text);
    assert_string_equal(text,
                        "01"                               /* version */
                        "0000fc6a1d690300"                 /* 960,000 s in ns */
                        "03"                               /* landmarks 0 and 1 follow */
                        "0000000000feffffffffffffffffffff" /* 1 - 3, times 2^40 */
                        "00000000800000000000000000000000" /* 0.5, times 2^40 */
                        "03"                               /* events */
                        "0200021001" /* minutes: two, age 0 with 2 events, 16 before that with 1 */
                        "010003" /* hours: the same */);
    s_done(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cell_order_permutations_give_equal_bytes),
        cmocka_unit_test(test_cell_order_void_equals_arriving_void),
        cmocka_unit_test(test_cell_order_void_keeps_newest),
        cmocka_unit_test(test_cell_order_codec_round_trip_is_exact),
        cmocka_unit_test(test_cell_order_damaged_bytes_are_refused_or_canonical),
        cmocka_unit_test(test_cell_order_later_version_is_unsupported),
        cmocka_unit_test(test_cell_order_bytes_are_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
