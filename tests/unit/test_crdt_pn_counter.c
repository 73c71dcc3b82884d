/* Counters with a slot per node: sums, bounds, and late copies. Laws: test_crdt_laws. */
#include "common/crdt/pn_counter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static pn_counter_slot_t s_slot(uint16_t region, uint16_t shard, uint64_t plus, uint64_t minus)
{
    return (pn_counter_slot_t){{{region}, {shard}}, plus, minus};
}

static void s_add(pn_counter_t *counter, pn_counter_slot_t slot)
{
    pn_counter_add(counter, &slot);
}

static void s_raise(pn_counter_t *counter, pn_counter_slot_t slot)
{
    pn_counter_raise(counter, &slot);
}

/* Goal: an empty counter is 0, nothing added makes no slot, and done twice is once. */
static void test_pn_counter_empty_is_zero(void **state)
{
    (void)state;
    pn_counter_t counter = {0};
    assert_int_equal(pn_counter_value(&counter), 0);
    s_add(&counter, s_slot(1, 0, 0, 0));
    s_raise(&counter, s_slot(1, 0, 0, 0));
    assert_int_equal(counter.count, 0);
    assert_int_equal(pn_counter_get(&counter, (node_id_t){{1}, {0}}).plus, 0);
    pn_counter_done(&counter);
    pn_counter_done(&counter);
}

/* Goal: the value is what was added less what was taken back, over all nodes. */
static void test_pn_counter_value_sums_all_slots(void **state)
{
    (void)state;
    pn_counter_t counter = {0};
    s_add(&counter, s_slot(2, 1, 10, 0));
    s_add(&counter, s_slot(1, 3, 5, 1));
    s_add(&counter, s_slot(2, 1, 7, 4));
    assert_int_equal(pn_counter_value(&counter), 17);
    assert_int_equal(counter.count, 2);
    assert_int_equal(counter.slots[0].node.region.value, 1);
    assert_int_equal(pn_counter_get(&counter, (node_id_t){{2}, {1}}).plus, 17);
    s_add(&counter, s_slot(1, 0, 0, 100));
    assert_int_equal(pn_counter_value(&counter), -83);
    pn_counter_done(&counter);
}

/* Goal: an older copy, or the same one again, changes nothing; each side counts for itself. */
static void test_pn_counter_late_copy_changes_nothing(void **state)
{
    (void)state;
    pn_counter_t counter = {0};
    s_raise(&counter, s_slot(1, 0, 10, 2));
    s_raise(&counter, s_slot(1, 0, 9, 1));
    s_raise(&counter, s_slot(1, 0, 10, 2));
    assert_int_equal(pn_counter_value(&counter), 8);
    s_raise(&counter, s_slot(1, 0, 1, 3));
    assert_int_equal(pn_counter_value(&counter), 7);
    pn_counter_done(&counter);
}

/* Goal: every node of the largest mesh has a slot. */
static void test_pn_counter_holds_every_node(void **state)
{
    (void)state;
    pn_counter_t counter = {0};
    for (uint16_t shard = SHARD_COUNT_MAX; shard-- > 0;) {
        for (uint16_t region = REGION_COUNT_MAX; region >= 1; region--) {
            s_add(&counter, s_slot(region, shard, 1, 0));
        }
    }
    assert_int_equal(counter.count, PN_COUNTER_SLOT_COUNT_MAX);
    assert_int_equal(pn_counter_value(&counter), PN_COUNTER_SLOT_COUNT_MAX);
    pn_counter_done(&counter);
}

/* Goal: numbers at their end stay there: of a slot, and of the value on both sides. */
static void test_pn_counter_saturates(void **state)
{
    (void)state;
    pn_counter_t counter = {0};
    s_add(&counter, s_slot(1, 0, UINT64_MAX, 0));
    s_add(&counter, s_slot(1, 0, 1, 0));
    assert_true(pn_counter_get(&counter, (node_id_t){{1}, {0}}).plus == UINT64_MAX);
    assert_true(pn_counter_value(&counter) == INT64_MAX);
    s_add(&counter, s_slot(2, 0, 0, UINT64_MAX));
    assert_int_equal(pn_counter_value(&counter), 0);
    s_add(&counter, s_slot(3, 0, 0, UINT64_MAX));
    assert_true(pn_counter_value(&counter) == INT64_MIN);
    pn_counter_done(&counter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pn_counter_empty_is_zero),
        cmocka_unit_test(test_pn_counter_value_sums_all_slots),
        cmocka_unit_test(test_pn_counter_late_copy_changes_nothing),
        cmocka_unit_test(test_pn_counter_holds_every_node),
        cmocka_unit_test(test_pn_counter_saturates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
