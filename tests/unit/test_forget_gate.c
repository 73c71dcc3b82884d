/* When the places of stable pairs may be forgotten. */
#include "common/session/forget_gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static stream_id_t s_stream(uint16_t region)
{
    return (stream_id_t){.tenant = {1}, .incarnation = region, .origin = {{region}, {0}}};
}

static version_vector_t s_vector(uint64_t first, uint64_t second)
{
    version_vector_t vector = {0};
    if (first > 0) {
        (void)version_vector_raise(&vector, s_stream(1), first);
    }
    if (second > 0) {
        (void)version_vector_raise(&vector, s_stream(2), second);
    }
    return vector;
}

static void s_publish_as(forget_gate_t *gate, uint64_t boot, uint64_t first, uint64_t second)
{
    version_vector_t floor = s_vector(first, second);
    forget_gate_publish(gate, boot, &floor);
    version_vector_done(&floor);
}

static void s_publish(forget_gate_t *gate, uint64_t first, uint64_t second)
{
    s_publish_as(gate, 1, first, second);
}

/* What a replica with this vector may forget of the first stream. */
static uint64_t s_forgets(const forget_gate_t *gate, uint64_t first, uint64_t second)
{
    version_vector_t applied = s_vector(first, second);
    const version_vector_t *open = forget_gate_open(gate, &applied);
    version_vector_done(&applied);
    return open == NULL ? 0 : version_vector_get(open, s_stream(1));
}

/* Goal: a replica that begins anew keeps the first copy until it has met the second. Method: copies
 * at 1:5 and 2:9; the floor that makes 1:5 stable is (5, 7), the next one is (6, 9). */
static void test_forget_gate_newcomer_keeps_a_copy_until_it_has_the_other(void **state)
{
    (void)state;
    forget_gate_t gate = {0};
    s_publish(&gate, 5, 7);
    assert_int_equal(s_forgets(&gate, 5, 7), 0); /* 2:9 may still come */
    assert_int_equal(s_forgets(&gate, 9, 9), 0);
    s_publish(&gate, 6, 9);
    assert_int_equal(s_forgets(&gate, 5, 7), 0);
    assert_int_equal(s_forgets(&gate, 6, 8), 0);
    assert_int_equal(s_forgets(&gate, 6, 9), 5);
    forget_gate_done(&gate);
}

/* Goal: the same floor again, and an older one, change nothing. */
static void test_forget_gate_same_or_lower_floor_changes_nothing(void **state)
{
    (void)state;
    forget_gate_t gate = {0};
    s_publish(&gate, 5, 7);
    s_publish(&gate, 5, 7);
    s_publish(&gate, 2, 7);
    s_publish(&gate, 0, 3);
    assert_int_equal(s_forgets(&gate, 100, 100), 0);
    s_publish(&gate, 6, 7);
    assert_int_equal(s_forgets(&gate, 6, 7), 5);
    forget_gate_done(&gate);
    forget_gate_done(&gate);
}

/* Goal: the floors of two lives of the control plane are not taken for consecutive ones. */
static void test_forget_gate_new_control_plane_begins_anew(void **state)
{
    (void)state;
    forget_gate_t gate = {0};
    s_publish_as(&gate, 1, 5, 7);
    s_publish_as(&gate, 2, 6, 8);
    assert_int_equal(s_forgets(&gate, 100, 100), 0);
    s_publish_as(&gate, 2, 7, 9);
    assert_int_equal(s_forgets(&gate, 7, 9), 6);
    forget_gate_done(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forget_gate_newcomer_keeps_a_copy_until_it_has_the_other),
        cmocka_unit_test(test_forget_gate_same_or_lower_floor_changes_nothing),
        cmocka_unit_test(test_forget_gate_new_control_plane_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
