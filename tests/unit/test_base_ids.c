/* Names of things: equality, the order of streams, sets of regions. */
#include "common/base/ids.h"

#include "common/base/bounds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static region_id_t s_region(unsigned value)
{
    return (region_id_t){(uint16_t)value};
}

static stream_id_t s_stream(uint64_t tenant, unsigned shard, unsigned region, uint64_t incarnation)
{
    return (stream_id_t){.tenant = {tenant},
                         .incarnation = incarnation,
                         .origin = {s_region(region), {(uint16_t)shard}}};
}

/* Goal: a node is region and shard; one of the two alone names nothing. */
static void test_node_id_equal_needs_region_and_shard(void **state)
{
    (void)state;
    node_id_t node = {{1}, {2}};
    assert_true(node_id_equal(node, (node_id_t){{1}, {2}}));
    assert_false(node_id_equal(node, (node_id_t){{2}, {2}}));
    assert_false(node_id_equal(node, (node_id_t){{1}, {1}}));
}

/* Goal: streams that differ in any one field are different. */
static void test_stream_id_equal_looks_at_every_field(void **state)
{
    (void)state;
    stream_id_t stream = s_stream(1, 2, 3, 4);
    assert_true(stream_id_equal(stream, s_stream(1, 2, 3, 4)));
    assert_false(stream_id_equal(stream, s_stream(9, 2, 3, 4)));
    assert_false(stream_id_equal(stream, s_stream(1, 9, 3, 4)));
    assert_false(stream_id_equal(stream, s_stream(1, 2, 9, 4)));
    assert_false(stream_id_equal(stream, s_stream(1, 2, 3, 9)));
}

/* Goal: the order of streams is tenant, shard, region, incarnation, without overflow at the ends.
 */
static void test_stream_id_compare_is_a_total_order(void **state)
{
    (void)state;
    const stream_id_t rising[] = {
        s_stream(1, 0, 1, 1), s_stream(1, 0, 1, UINT64_MAX), s_stream(1, 0, 2, 1),
        s_stream(1, 1, 1, 1), s_stream(2, 0, 1, 1),          s_stream(UINT64_MAX, 0, 1, 1),
    };
    unsigned count = sizeof(rising) / sizeof(rising[0]);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < count; j++) {
            int expected = (i > j) - (i < j);
            assert_int_equal(stream_id_compare(rising[i], rising[j]), expected);
        }
    }
}

/* Goal: an address is kind, region and shard. */
static void test_process_address_equal_looks_at_every_field(void **state)
{
    (void)state;
    process_address_t address = {PROCESS_NODE, {1}, {2}};
    assert_true(process_address_equal(address, (process_address_t){PROCESS_NODE, {1}, {2}}));
    assert_false(process_address_equal(address, (process_address_t){PROCESS_SHIPPER, {1}, {2}}));
    assert_false(process_address_equal(address, (process_address_t){PROCESS_NODE, {2}, {2}}));
    assert_false(process_address_equal(address, (process_address_t){PROCESS_NODE, {1}, {1}}));
}

/* Goal: the lowest and the highest region fit; adding twice and removing what is absent do nothing.
 */
static void test_region_set_bounds_and_repeats(void **state)
{
    (void)state;
    region_set_t set = {0};
    set = region_set_add(set, s_region(0));
    set = region_set_add(set, s_region(REGION_COUNT_MAX));
    set = region_set_add(set, s_region(REGION_COUNT_MAX));
    assert_int_equal(region_set_count(set), 2);
    assert_true(region_set_has(set, s_region(REGION_COUNT_MAX)));
    assert_false(region_set_has(set, s_region(1)));
    set = region_set_remove(set, s_region(1));
    set = region_set_remove(set, s_region(0));
    assert_int_equal(region_set_count(set), 1);
    assert_false(region_set_has(set, s_region(0)));
}

/* Goal: every set covers the empty one and itself, and no set covers a larger one. */
static void test_region_set_covers_is_subset(void **state)
{
    (void)state;
    region_set_t none = {0};
    region_set_t one = region_set_add(none, s_region(1));
    region_set_t two = region_set_add(one, s_region(2));
    assert_true(region_set_covers(none, none));
    assert_true(region_set_covers(two, none));
    assert_true(region_set_covers(two, one));
    assert_true(region_set_covers(two, two));
    assert_false(region_set_covers(one, two));
    assert_false(region_set_covers(one, region_set_add(none, s_region(2))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node_id_equal_needs_region_and_shard),
        cmocka_unit_test(test_stream_id_equal_looks_at_every_field),
        cmocka_unit_test(test_stream_id_compare_is_a_total_order),
        cmocka_unit_test(test_process_address_equal_looks_at_every_field),
        cmocka_unit_test(test_region_set_bounds_and_repeats),
        cmocka_unit_test(test_region_set_covers_is_subset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
