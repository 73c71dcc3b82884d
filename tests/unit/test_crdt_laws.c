/* The laws of everything that merges, on generated values and on the code that the nodes run: version
 * vector, counter, hybrid clock, registers of items and users, hide, mute and block, and the cell with
 * exact void. Ranges are small, so that ties and equal values are common. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/crdt/pn_counter.h"
#include "common/crdt/version_vector.h"
#include "common/signal/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum {
    S_SLOT_COUNT = 7,                        /* deliveries of one run */
    S_PERMUTATION_COUNT = 5040,              /* 7! */
    S_STATE_COUNT = S_PERMUTATION_COUNT + 1, /* and state 0, the reference */
    S_ROUND_COUNT = 3,                       /* of each kind with each number of changes */
    S_MERGE_COUNT = 1000000
};

/* A change, as numbers that its kind reads. */
typedef struct {
    uint64_t numbers[5];
} s_delta_t;

/* Something that merges: many states of it at once, by number. */
typedef struct {
    const char *name;
    s_delta_t (*draw)(prng_t *prng);
    void (*merge)(uint32_t state, const s_delta_t *delta);
    bool (*equal)(uint32_t a, uint32_t b);
    void (*reset)(void); /* all states are empty */
} s_kind_t;

static s_delta_t s_draw(prng_t *prng)
{
    s_delta_t delta;
    for (unsigned i = 0; i < 5; i++) {
        delta.numbers[i] = prng_below(prng, 3);
    }
    return delta;
}

/* Stamps that tie in wall, logical or both; every sixth pair in all three. */
static hlc_stamp_t s_stamp(const s_delta_t *delta)
{
    return (hlc_stamp_t){.wall_ns = (int64_t)(delta->numbers[0] % 2),
                         .logical = (uint32_t)(delta->numbers[1] % 2),
                         .node = 1 + (uint32_t)(delta->numbers[2] % 2)};
}

/* -- version vector ---------------------------------------------------------------------------- */

static version_vector_t s_vectors[S_STATE_COUNT];

static stream_id_t s_stream(uint64_t number)
{
    return (stream_id_t){.tenant = {1},
                         .incarnation = 1 + number % 3,
                         .origin = {{(uint16_t)(1 + number / 3)}, {0}}};
}

static void s_vector_merge(uint32_t state, const s_delta_t *delta)
{
    version_vector_t other = {0};
    (void)version_vector_raise(&other, s_stream(delta->numbers[0]), delta->numbers[1]);
    (void)version_vector_raise(&other, s_stream(delta->numbers[2]), 5 + delta->numbers[3]);
    version_vector_merge(&s_vectors[state], &other);
    version_vector_done(&other);
}

static bool s_vector_equal(uint32_t a, uint32_t b)
{
    return version_vector_equal(&s_vectors[a], &s_vectors[b]);
}

static void s_vector_reset(void)
{
    for (uint32_t i = 0; i < S_STATE_COUNT; i++) {
        version_vector_done(&s_vectors[i]);
    }
}

/* -- counter ----------------------------------------------------------------------------------- */

static pn_counter_t s_counters[S_STATE_COUNT];

static void s_counter_merge(uint32_t state, const s_delta_t *delta)
{
    pn_counter_t other = {0};
    pn_counter_slot_t slot = {{{(uint16_t)(1 + delta->numbers[0])}, {(uint16_t)delta->numbers[1]}},
                              delta->numbers[2],
                              delta->numbers[3]};
    pn_counter_raise(&other, &slot);
    slot.node.shard.value = (uint16_t)delta->numbers[4];
    pn_counter_raise(&other, &slot);
    pn_counter_merge(&s_counters[state], &other);
    pn_counter_done(&other);
}

static bool s_counter_equal(uint32_t a, uint32_t b)
{
    const pn_counter_t *left = &s_counters[a];
    const pn_counter_t *right = &s_counters[b];
    bool equal = left->count == right->count && pn_counter_value(left) == pn_counter_value(right);
    for (uint32_t i = 0; equal && i < left->count; i++) {
        equal = node_id_equal(left->slots[i].node, right->slots[i].node) &&
                left->slots[i].plus == right->slots[i].plus &&
                left->slots[i].minus == right->slots[i].minus;
    }
    return equal;
}

static void s_counter_reset(void)
{
    for (uint32_t i = 0; i < S_STATE_COUNT; i++) {
        pn_counter_done(&s_counters[i]);
    }
}

/* -- hybrid clock ------------------------------------------------------------------------------ */

static hlc_t s_clocks[S_STATE_COUNT];

static void s_clock_merge(uint32_t state, const s_delta_t *delta)
{
    hlc_observe(&s_clocks[state], s_stamp(delta));
}

static bool s_clock_equal(uint32_t a, uint32_t b)
{
    return hlc_compare(s_clocks[a].last, s_clocks[b].last) == 0;
}

static void s_clock_reset(void)
{
    memset(s_clocks, 0, sizeof(s_clocks));
}

/* -- registers, down to their bytes ------------------------------------------------------------ */

static registers_t s_registers[S_STATE_COUNT];

static slice_t s_value(uint64_t number)
{
    static const char *const s_values[] = {"a", "ab", "b"}; /* a prefix among them */
    return slice_text(s_values[number]);
}

/* Writes of three names, and clears. */
static void s_registers_merge(uint32_t state, const s_delta_t *delta)
{
    if (delta->numbers[3] == 0) {
        (void)registers_clear(&s_registers[state], s_stamp(delta));
    } else {
        (void)registers_write(&s_registers[state], s_value(delta->numbers[4]), s_stamp(delta),
                              s_value(delta->numbers[3]));
    }
}

static bool s_registers_equal(uint32_t a, uint32_t b)
{
    return slice_equal(registers_encoded(&s_registers[a]), registers_encoded(&s_registers[b]));
}

static void s_registers_reset(void)
{
    for (uint32_t i = 0; i < S_STATE_COUNT; i++) {
        registers_done(&s_registers[i]);
    }
}

/* -- the ledger: the state is the thing with this id ------------------------------------------- */

static ledger_t *s_ledger;
static buffer_t s_payload;

static void s_ledger_reset(void)
{
    static schema_t s_schema;
    ledger_destroy(&s_ledger);
    buffer_done(&s_payload);
    schema_init_default(&s_schema);
    s_ledger = ledger_new(&s_schema);
}

static void s_ledger_merge(const record_t *record)
{
    buffer_clear(&s_payload);
    record_append(&s_payload, record);
    CHECK(ledger_apply_payload(s_ledger, buffer_slice(&s_payload), LEDGER_COUNTED, NULL) == ERR_OK);
}

/* Puts of one or two fields, and a delete in every third. */
static void s_item_merge(uint32_t state, const s_delta_t *delta)
{
    record_t record = {.event_count = 1};
    bool is_delete = delta->numbers[4] == 0;
    record.type = is_delete ? RECORD_ITEM_DELETE : RECORD_ITEM_PUT;
    record.as.item.item = (item_id_t){state + 1};
    record.as.item.hlc = s_stamp(delta);
    record.as.item.field_count = is_delete ? 0 : (uint32_t)delta->numbers[4];
    record.as.item.fields[0].field = ITEM_FIELD_TITLE;
    record.as.item.fields[0].value = s_value(delta->numbers[3]);
    record.as.item.fields[1].field = ITEM_FIELD_CATEGORY;
    record.as.item.fields[1].value = s_value(2 - delta->numbers[3]);
    s_ledger_merge(&record);
}

static bool s_item_equal(uint32_t a, uint32_t b)
{
    ledger_fields_t fields[2];
    memset(fields, 0, sizeof(fields));
    err_t err_a = ledger_get_item(s_ledger, (item_id_t){a + 1}, &fields[0]);
    err_t err_b = ledger_get_item(s_ledger, (item_id_t){b + 1}, &fields[1]);
    if (err_a != ERR_OK || err_b != ERR_OK) {
        return err_a == err_b;
    }
    bool equal = hlc_compare(fields[0].written, fields[1].written) == 0;
    for (unsigned i = 0; equal && i <= ITEM_FIELD_COUNT_MAX; i++) {
        equal = fields[0].has[i] == fields[1].has[i];
        if (equal && fields[0].has[i]) {
            equal = hlc_compare(fields[0].fields[i].hlc, fields[1].fields[i].hlc) == 0 &&
                    slice_equal(fields[0].fields[i].value, fields[1].fields[i].value);
        }
    }
    return equal;
}

static void s_user_merge(uint32_t state, const s_delta_t *delta)
{
    record_t record = {.type = RECORD_USER_PUT, .event_count = 1};
    record.as.user.user = (user_id_t){state + 1};
    record.as.user.hlc = s_stamp(delta);
    record.as.user.attribute_count = 1;
    record.as.user.attributes[0].name = s_value(delta->numbers[4]);
    record.as.user.attributes[0].value = s_value(delta->numbers[3]);
    s_ledger_merge(&record);
}

static bool s_user_equal(uint32_t a, uint32_t b)
{
    const registers_t *left = NULL;
    const registers_t *right = NULL;
    return ledger_get_user(s_ledger, (user_id_t){a + 1}, &left) == ERR_OK &&
           ledger_get_user(s_ledger, (user_id_t){b + 1}, &right) == ERR_OK &&
           slice_equal(registers_encoded(left), registers_encoded(right));
}

static void s_relation_merge(uint32_t state, const s_delta_t *delta)
{
    record_t record = {.type = RECORD_RELATION, .event_count = 1};
    record.as.relation.user = (user_id_t){state + 1};
    record.as.relation.target = 77;
    record.as.relation.hlc = s_stamp(delta);
    record.as.relation.action = (relation_action_t)(RELATION_HIDE + delta->numbers[4]);
    record.as.relation.set = delta->numbers[3] > 0;
    s_ledger_merge(&record);
}

static bool s_relation_equal(uint32_t a, uint32_t b)
{
    for (relation_action_t action = RELATION_HIDE; action <= RELATION_BLOCK; action++) {
        ledger_relation_t left = {0};
        ledger_relation_t right = {0};
        err_t err_a = ledger_get_relation(s_ledger, (user_id_t){a + 1}, action, 77, &left);
        err_t err_b = ledger_get_relation(s_ledger, (user_id_t){b + 1}, action, 77, &right);
        if (err_a != err_b || left.set != right.set || hlc_compare(left.hlc, right.hlc) != 0) {
            return false;
        }
    }
    return true;
}

static const s_kind_t s_kinds[] = {
    {"version vector", s_draw, s_vector_merge, s_vector_equal, s_vector_reset},
    {"counter", s_draw, s_counter_merge, s_counter_equal, s_counter_reset},
    {"hybrid clock", s_draw, s_clock_merge, s_clock_equal, s_clock_reset},
    {"registers", s_draw, s_registers_merge, s_registers_equal, s_registers_reset},
    {"item", s_draw, s_item_merge, s_item_equal, s_ledger_reset},
    {"user", s_draw, s_user_merge, s_user_equal, s_ledger_reset},
    {"relation", s_draw, s_relation_merge, s_relation_equal, s_ledger_reset},
};
enum { S_KIND_COUNT = sizeof(s_kinds) / sizeof(s_kinds[0]) };

/* -- permutations ------------------------------------------------------------------------------ */

/* The next permutation in rising order; false after the last. */
static bool s_next_permutation(uint32_t *order, uint32_t count)
{
    uint32_t pivot = count - 1;
    while (pivot > 0 && order[pivot - 1] > order[pivot]) {
        pivot--;
    }
    if (pivot == 0) {
        return false;
    }
    uint32_t last = count - 1;
    while (order[last] < order[pivot - 1]) {
        last--;
    }
    uint32_t swapped = order[pivot - 1];
    order[pivot - 1] = order[last];
    order[last] = swapped;
    for (uint32_t i = pivot, k = count - 1; i < k; i++, k--) {
        swapped = order[i];
        order[i] = order[k];
        order[k] = swapped;
    }
    return true;
}

static void s_expect_reference(const s_kind_t *kind, uint32_t state, uint32_t distinct)
{
    if (!kind->equal(0, state)) {
        fail_msg("%s: permutation %u of %u deltas differs", kind->name, state, distinct);
    }
}

/* Deltas 0..distinct - 1 and repetitions of them, in every order; each must come to what the distinct
 * ones come to in theirs. Returns how many merges it took. */
static uint64_t s_run(const s_kind_t *kind, prng_t *prng, uint32_t distinct)
{
    s_delta_t deltas[S_SLOT_COUNT] = {{{0}}};
    uint32_t order[S_SLOT_COUNT];
    uint64_t merges = 0;
    kind->reset();
    for (uint32_t i = 0; i < S_SLOT_COUNT; i++) {
        order[i] = i;
        deltas[i] = i < distinct ? kind->draw(prng) : deltas[prng_below(prng, distinct)];
    }
    for (uint32_t i = 0; i < distinct; i++, merges++) {
        kind->merge(0, &deltas[i]);
    }
    uint32_t state = 0;
    do {
        state++;
        for (uint32_t i = 0; i < S_SLOT_COUNT; i++, merges++) {
            kind->merge(state, &deltas[order[i]]);
        }
        s_expect_reference(kind, state, distinct);
    } while (s_next_permutation(order, S_SLOT_COUNT));
    assert_int_equal(state, S_PERMUTATION_COUNT);
    return merges;
}

/* Goal: over a million merges, whatever merges is commutative, associative and idempotent: seven
 * deliveries of one to seven changes, in all 5,040 orders, come to the same as each change once. */
static void test_crdt_laws_hold_over_a_million_merges(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 41);
    uint64_t merges = 0;
    for (uint32_t run = 0; run < S_ROUND_COUNT * S_KIND_COUNT * S_SLOT_COUNT; run++) {
        merges += s_run(&s_kinds[run % S_KIND_COUNT], &prng, 1 + run / S_KIND_COUNT % S_SLOT_COUNT);
    }
    for (uint32_t i = 0; i < S_KIND_COUNT; i++) {
        s_kinds[i].reset();
    }
    ledger_destroy(&s_ledger);
    buffer_done(&s_payload);
    assert_true(merges >= S_MERGE_COUNT);
}

/* -- whole states ------------------------------------------------------------------------------ */

typedef void (*s_join_fn)(version_vector_t *self, const version_vector_t *other);

static version_vector_t s_joined(const version_vector_t *a,
                                 const version_vector_t *b,
                                 s_join_fn join)
{
    version_vector_t result = {0};
    version_vector_merge(&result, a);
    join(&result, b);
    return result;
}

static version_vector_t s_random_vector(prng_t *prng)
{
    version_vector_t vector = {0};
    for (uint64_t i = 0; i < 6; i++) {
        (void)version_vector_raise(&vector, s_stream(i), prng_below(prng, 4));
    }
    return vector;
}

static void s_assert_vector_laws(const version_vector_t *states, s_join_fn join)
{
    version_vector_t ab = s_joined(&states[0], &states[1], join);
    version_vector_t ba = s_joined(&states[1], &states[0], join);
    version_vector_t bc = s_joined(&states[1], &states[2], join);
    version_vector_t left = s_joined(&ab, &states[2], join);
    version_vector_t right = s_joined(&states[0], &bc, join);
    version_vector_t again = s_joined(&ab, &ab, join);
    assert_true(version_vector_equal(&ab, &ba));
    assert_true(version_vector_equal(&left, &right));
    assert_true(version_vector_equal(&again, &ab));
    version_vector_t *all[] = {&ab, &ba, &bc, &left, &right, &again};
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        version_vector_done(all[i]);
    }
}

/* Goal: merge and floor of whole vectors obey the laws, each absorbs the other, and covers is the
 * order that merge makes. Method: 2,000 random triples. */
static void test_crdt_laws_vectors_form_a_lattice(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 42);
    for (unsigned run = 0; run < 2000; run++) {
        version_vector_t states[3];
        for (unsigned i = 0; i < 3; i++) {
            states[i] = s_random_vector(&prng);
        }
        s_assert_vector_laws(states, version_vector_merge);
        s_assert_vector_laws(states, version_vector_floor);
        version_vector_t high = s_joined(&states[0], &states[1], version_vector_merge);
        version_vector_t low = s_joined(&states[0], &states[1], version_vector_floor);
        version_vector_t absorbed = s_joined(&states[0], &high, version_vector_floor);
        assert_true(version_vector_equal(&absorbed, &states[0]));
        assert_true(version_vector_covers(&high, &states[0]));
        assert_true(version_vector_covers(&states[0], &low));
        assert_int_equal(version_vector_covers(&states[0], &states[1]),
                         version_vector_equal(&high, &states[0]));
        version_vector_done(&high);
        version_vector_done(&low);
        version_vector_done(&absorbed);
        for (unsigned i = 0; i < 3; i++) {
            version_vector_done(&states[i]);
        }
    }
}

/* a < b < c gives a < c, for all c. */
static void s_expect_transitive(const hlc_stamp_t *stamps, uint32_t count, uint32_t a, uint32_t b)
{
    for (uint32_t c = 0; c < count; c++) {
        bool is_above_b = hlc_compare(stamps[b], stamps[c]) < 0;
        assert_true(!is_above_b || hlc_compare(stamps[a], stamps[c]) < 0);
    }
}

/* Goal: stamps are totally ordered. Method: all triples of 18 stamps that tie in every way. */
static void test_crdt_laws_stamps_are_totally_ordered(void **state)
{
    (void)state;
    enum { S_STAMP_COUNT = 18 };
    hlc_stamp_t stamps[S_STAMP_COUNT];
    for (uint32_t i = 0; i < S_STAMP_COUNT; i++) {
        stamps[i] = (hlc_stamp_t){(int64_t)(i % 3), i / 3 % 3, i / 9};
    }
    for (uint32_t i = 0; i < S_STAMP_COUNT * S_STAMP_COUNT; i++) {
        uint32_t a = i / S_STAMP_COUNT;
        uint32_t b = i % S_STAMP_COUNT;
        int order = hlc_compare(stamps[a], stamps[b]);
        assert_int_equal(order == 0, a == b);
        assert_int_equal(order, -hlc_compare(stamps[b], stamps[a]));
        s_expect_transitive(stamps, S_STAMP_COUNT, a, order < 0 ? b : a);
    }
}

/* Goal: an exact tie is won by set, and by the greater value, whoever comes first. */
static void test_crdt_laws_ties_are_won_by_rule(void **state)
{
    (void)state;
    s_ledger_reset();
    for (uint32_t i = 0; i < 2; i++) {
        s_delta_t first = {{1, 0, 0, i == 0 ? 0 : 1, 0}};
        s_delta_t second = {{1, 0, 0, i == 0 ? 1 : 0, 0}};
        s_relation_merge(i, &first);
        s_relation_merge(i, &second);
        s_user_merge(i, &first);
        s_user_merge(i, &second);
        ledger_relation_t relation;
        const registers_t *attributes = NULL;
        register_view_t attribute;
        assert_int_equal(
            ledger_get_relation(s_ledger, (user_id_t){i + 1}, RELATION_HIDE, 77, &relation),
            ERR_OK);
        assert_true(relation.set);
        assert_int_equal(ledger_get_user(s_ledger, (user_id_t){i + 1}, &attributes), ERR_OK);
        assert_true(registers_find(attributes, slice_text("a"), &attribute));
        assert_true(slice_equal(attribute.value, slice_text("ab")));
    }
    ledger_destroy(&s_ledger);
    buffer_done(&s_payload);
}

/* -- the cell ---------------------------------------------------------------------------------- */

/* One arrival of an event that is logged once or twice. */
typedef struct {
    int64_t ts_ns;
    double weight;
    uint32_t event; /* arrivals of one event are copies of one request */
    uint32_t rank;  /* of its copies the one with the lowest counts */
} s_arrival_t;

typedef struct {
    memory_t memory;
    decay_t decay;
    cell_t cell;
} s_cell_t;

/* As a replica does it (replica_apply.c): a copy that loses arrives void; one that wins over a copy
 * that was counted takes that one back. */
static void s_cell_arrive(s_cell_t *self, const s_arrival_t *arrival, const s_arrival_t **counted)
{
    const s_arrival_t *before = counted[arrival->event];
    if (before != NULL && before->rank <= arrival->rank) {
        cell_touch(&self->cell, &self->memory, &self->decay, arrival->ts_ns);
        return;
    }
    cell_add(&self->cell, &self->memory, &self->decay, arrival->ts_ns, arrival->weight);
    if (before != NULL) {
        cell_void(&self->cell, &self->memory, &self->decay, before->ts_ns, before->weight);
    }
    counted[arrival->event] = arrival;
}

static size_t s_cell_run(const s_arrival_t *arrivals,
                         const uint32_t *order,
                         uint8_t ret_bytes[CELL_VALUE_SIZE_MAX])
{
    s_cell_t self = {0};
    const s_arrival_t *counted[S_SLOT_COUNT] = {NULL};
    decay_init(&self.decay, 86400);
    cell_init(&self.cell, 1, 1);
    for (uint32_t i = 0; i < S_SLOT_COUNT; i++) {
        s_cell_arrive(&self, &arrivals[order[i]], counted);
    }
    size_t size = cell_encode(&self.cell, ret_bytes);
    cell_done(&self.cell, &self.memory);
    return size;
}

/* Four events, and a copy of each of three of them. */
static void s_draw_arrivals(prng_t *prng, s_arrival_t *ret_arrivals)
{
    static const int64_t s_now_ns = INT64_C(1700000000) * 1000000000;
    static const uint64_t s_ranges_s[] = {60, 90000, 3000000, 90000000};
    for (uint32_t i = 0; i < S_SLOT_COUNT; i++) {
        uint64_t range_s = s_ranges_s[prng_below(prng, 4)];
        s_arrival_t arrival = {.ts_ns = s_now_ns - (int64_t)prng_below(prng, range_s) * 1000000000,
                               .weight = (prng_unit(prng) - 0.4) * 7};
        ret_arrivals[i] = i < 4 ? arrival : ret_arrivals[i - 4];
        ret_arrivals[i].event = i % 4;
        ret_arrivals[i].rank = (uint32_t)prng_below(prng, 2) * 8 + i;
    }
}

static uint64_t s_decoded_count(slice_t bytes)
{
    s_cell_t decoded = {0};
    cell_init(&decoded.cell, 1, 1);
    errbuf_t errbuf;
    assert_int_equal(cell_decode(&decoded.cell, &decoded.memory, bytes, &errbuf), ERR_OK);
    uint64_t count = decoded.cell.count;
    cell_done(&decoded.cell, &decoded.memory);
    return count;
}

/* Goal: a cell is the same, byte for byte, in all 5,040 orders of seven arrivals of four events, three
 * of them copies, whichever copy comes first; and it counts four. Method: times from minutes to years
 * apart, so that late and pruned ones are among them; 10 random sets. */
static void test_crdt_laws_cell_voids_exactly_in_any_order(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 43);
    for (unsigned run = 0; run < 10; run++) {
        s_arrival_t arrivals[S_SLOT_COUNT] = {{0}};
        uint32_t order[S_SLOT_COUNT] = {0, 1, 2, 3, 4, 5, 6};
        uint8_t expected[CELL_VALUE_SIZE_MAX];
        uint8_t found[CELL_VALUE_SIZE_MAX];
        s_draw_arrivals(&prng, arrivals);
        size_t size = s_cell_run(arrivals, order, expected);
        while (s_next_permutation(order, S_SLOT_COUNT)) {
            assert_int_equal(s_cell_run(arrivals, order, found), size);
            assert_memory_equal(found, expected, size);
        }
        assert_int_equal(s_decoded_count(slice_make(expected, size)), 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crdt_laws_hold_over_a_million_merges),
        cmocka_unit_test(test_crdt_laws_vectors_form_a_lattice),
        cmocka_unit_test(test_crdt_laws_stamps_are_totally_ordered),
        cmocka_unit_test(test_crdt_laws_ties_are_won_by_rule),
        cmocka_unit_test(test_crdt_laws_cell_voids_exactly_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
