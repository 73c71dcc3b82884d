/* Version vectors: entries, order, and merging by hand-made cases. Laws: test_crdt_laws. */
#include "common/crdt/version_vector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static stream_id_t s_stream(uint16_t region)
{
    return (stream_id_t){.tenant = {1}, .incarnation = 7, .origin = {{region}, {0}}};
}

/* The vector of streams 1..3; 0 names none. */
static version_vector_t s_vector(uint64_t first, uint64_t second, uint64_t third)
{
    version_vector_t vector = {0};
    (void)version_vector_raise(&vector, s_stream(1), first);
    (void)version_vector_raise(&vector, s_stream(2), second);
    (void)version_vector_raise(&vector, s_stream(3), third);
    return vector;
}

static void s_assert_is(const version_vector_t *vector,
                        uint64_t first,
                        uint64_t second,
                        uint64_t third)
{
    version_vector_t expected = s_vector(first, second, third);
    assert_int_equal(vector->count, expected.count);
    for (uint32_t i = 0; i < expected.count; i++) {
        assert_true(stream_id_equal(vector->entries[i].stream, expected.entries[i].stream));
        assert_int_equal(vector->entries[i].seq, expected.entries[i].seq);
    }
    version_vector_done(&expected);
}

/* Goal: nothing is known of a stream that was not named; done twice is once. */
static void test_version_vector_empty_knows_nothing(void **state)
{
    (void)state;
    version_vector_t vector = {0};
    assert_int_equal(version_vector_get(&vector, s_stream(1)), 0);
    assert_false(version_vector_raise(&vector, s_stream(1), 0));
    assert_int_equal(vector.count, 0);
    version_vector_done(&vector);
    version_vector_done(&vector);
}

/* Goal: a higher seq counts, an equal or lower one changes nothing. */
static void test_version_vector_raise_never_goes_back(void **state)
{
    (void)state;
    version_vector_t vector = {0};
    assert_true(version_vector_raise(&vector, s_stream(1), 5));
    assert_false(version_vector_raise(&vector, s_stream(1), 5));
    assert_false(version_vector_raise(&vector, s_stream(1), 4));
    assert_true(version_vector_raise(&vector, s_stream(1), UINT64_MAX));
    assert_int_equal(version_vector_get(&vector, s_stream(1)), UINT64_MAX);
    version_vector_done(&vector);
}

/* Goal: entries stand in stream order however they came, also past the first growth. */
static void test_version_vector_entries_are_in_order(void **state)
{
    (void)state;
    version_vector_t vector = {0};
    for (uint16_t i = 0; i < 100; i++) {
        uint16_t region = (uint16_t)(1 + i * 37 % 100);
        assert_true(version_vector_raise(&vector, s_stream(region), region));
    }
    assert_int_equal(vector.count, 100);
    for (uint16_t i = 0; i < 100; i++) {
        assert_int_equal(vector.entries[i].stream.origin.region.value, i + 1);
        assert_int_equal(version_vector_get(&vector, s_stream((uint16_t)(i + 1))), i + 1);
    }
    assert_int_equal(version_vector_get(&vector, s_stream(101)), 0);
    version_vector_done(&vector);
}

/* Goal: merging takes the higher, the floor the lower; what one does not name is at 0. */
static void test_version_vector_merge_and_floor_by_stream(void **state)
{
    (void)state;
    version_vector_t a = s_vector(5, 0, 3);
    version_vector_t b = s_vector(4, 2, 9);
    version_vector_t merged = s_vector(5, 0, 3);
    version_vector_merge(&merged, &b);
    s_assert_is(&merged, 5, 2, 9);
    version_vector_floor(&merged, &a);
    s_assert_is(&merged, 5, 0, 3);
    version_vector_floor(&a, &b);
    s_assert_is(&a, 4, 0, 3);
    version_vector_clear(&b);
    version_vector_floor(&a, &b);
    s_assert_is(&a, 0, 0, 0);
    version_vector_done(&a);
    version_vector_done(&b);
    version_vector_done(&merged);
}

/* Goal: the four orders, and covers as their union of two. */
static void test_version_vector_compare_tells_all_orders(void **state)
{
    (void)state;
    static const struct {
        uint64_t a[3];
        uint64_t b[3];
        version_vector_order_t order;
    } s_cases[] = {
        {{0, 0, 0}, {0, 0, 0}, VERSION_VECTOR_EQUAL},
        {{5, 0, 1}, {5, 0, 1}, VERSION_VECTOR_EQUAL},
        {{5, 0, 1}, {5, 1, 1}, VERSION_VECTOR_BEFORE},
        {{0, 0, 0}, {0, 0, 1}, VERSION_VECTOR_BEFORE},
        {{6, 0, 1}, {5, 0, 1}, VERSION_VECTOR_AFTER},
        {{6, 0, 0}, {5, 0, 1}, VERSION_VECTOR_CONCURRENT},
        {{1, 0, 0}, {0, 1, 0}, VERSION_VECTOR_CONCURRENT},
    };
    for (unsigned i = 0; i < sizeof(s_cases) / sizeof(s_cases[0]); i++) {
        version_vector_t a = s_vector(s_cases[i].a[0], s_cases[i].a[1], s_cases[i].a[2]);
        version_vector_t b = s_vector(s_cases[i].b[0], s_cases[i].b[1], s_cases[i].b[2]);
        version_vector_order_t order = s_cases[i].order;
        assert_int_equal(version_vector_compare(&a, &b), order);
        assert_int_equal(version_vector_equal(&a, &b), order == VERSION_VECTOR_EQUAL);
        assert_int_equal(version_vector_covers(&a, &b),
                         order == VERSION_VECTOR_EQUAL || order == VERSION_VECTOR_AFTER);
        version_vector_done(&a);
        version_vector_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_vector_empty_knows_nothing),
        cmocka_unit_test(test_version_vector_raise_never_goes_back),
        cmocka_unit_test(test_version_vector_entries_are_in_order),
        cmocka_unit_test(test_version_vector_merge_and_floor_by_stream),
        cmocka_unit_test(test_version_vector_compare_tells_all_orders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
