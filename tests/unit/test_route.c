/* Shard routing: golden vectors, evenness, minimal movement, and that whole numbers do what the
 * paper's doubles do. */
#include "common/base/bounds.h"
#include "common/base/prng.h"
#include "common/topology/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *s_source_folder = NULL;
static const tenant_id_t s_default = {1};

/* One line of the golden file: tenant, entity, key, shards. */
static void s_check_vector(const char *line)
{
    static const uint32_t s_shard_counts[] = {1, 5, 16, 40};
    char *end = NULL;
    tenant_id_t tenant = {strtoull(line, &end, 10)};
    uint64_t entity = strtoull(end, &end, 10);
    uint64_t key = strtoull(end, &end, 16);
    assert_int_equal(route_key(tenant, entity), key);
    for (size_t i = 0; i < 4; i++) {
        unsigned long expected = strtoul(end, &end, 10);
        assert_int_equal(route_shard(tenant, entity, s_shard_counts[i]).value, expected);
    }
    assert_int_equal(*end, '\n');
}

/* Goal: every golden vector, which another implementation made, comes out the same. */
static void test_route_golden_vectors_match(void **state)
{
    (void)state;
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/tests/golden/route_v1.txt", s_source_folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char line[256];
    unsigned count = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[0] != '#') {
            s_check_vector(line);
            count++;
        }
    }
    assert_int_equal(fclose(file), 0);
    assert_true(count >= 64);
}

/* Goal: one shard takes everything, and the highest count stays in range. */
static void test_route_shard_count_bounds_hold(void **state)
{
    (void)state;
    for (uint64_t entity = 0; entity < 1000; entity++) {
        assert_int_equal(route_shard(s_default, entity, 1).value, 0);
        assert_true(route_shard(s_default, entity, SHARD_COUNT_MAX).value < SHARD_COUNT_MAX);
    }
    assert_int_equal(route_shard((tenant_id_t){UINT64_MAX}, UINT64_MAX, 1).value, 0);
}

/* How far the shards of ids 1..n are from an even spread. */
static double s_chi_square(tenant_id_t tenant, uint32_t shard_count)
{
    enum { ENTITY_COUNT = 200000 };
    uint32_t counts[SHARD_COUNT_MAX] = {0};
    for (uint64_t entity = 1; entity <= ENTITY_COUNT; entity++) {
        counts[route_shard(tenant, entity, shard_count).value]++;
    }
    double mean = (double)ENTITY_COUNT / shard_count;
    double chi_square = 0;
    for (uint32_t i = 0; i < shard_count; i++) {
        double off = (double)counts[i] - mean;
        chi_square += off * off / mean;
    }
    return chi_square;
}

/* Goal: dense ids, as items have them, spread evenly. Chi square with 4, 15 and 39 degrees of
 * freedom stays below its 99.99 % point for each of several tenants. */
static void test_route_dense_ids_spread_evenly(void **state)
{
    (void)state;
    for (uint64_t tenant = 1; tenant <= 4; tenant++) {
        assert_true(s_chi_square((tenant_id_t){tenant}, 5) < 23.6);
        assert_true(s_chi_square((tenant_id_t){tenant}, 16) < 44.3);
        assert_true(s_chi_square((tenant_id_t){tenant}, 40) < 81.0);
    }
}

enum { MOVED_ENTITY_COUNT = 20000 };

/* How many move when there is one shard more; all of them must go to it. */
static uint32_t s_count_moved(uint32_t shard_count)
{
    uint32_t moved = 0;
    for (uint64_t entity = 0; entity < MOVED_ENTITY_COUNT; entity++) {
        uint16_t before = route_shard(s_default, entity, shard_count).value;
        uint16_t after = route_shard(s_default, entity, shard_count + 1).value;
        assert_true(before == after || after == shard_count);
        moved += before == after ? 0 : 1;
    }
    return moved;
}

/* Goal: one more shard moves only what goes to it, and that is one part in n + 1. */
static void test_route_one_more_shard_moves_the_least(void **state)
{
    (void)state;
    for (uint32_t shard_count = 1; shard_count < SHARD_COUNT_MAX; shard_count++) {
        double moved = s_count_moved(shard_count);
        double share = (double)MOVED_ENTITY_COUNT / (shard_count + 1);
        assert_true(moved > 0.8 * share);
        assert_true(moved < 1.2 * share);
    }
}

/* Goal: two tenants do not send the same entities to the same shards. */
static void test_route_tenants_spread_apart(void **state)
{
    (void)state;
    unsigned equal = 0;
    for (uint64_t entity = 0; entity < 10000; entity++) {
        equal += route_shard((tenant_id_t){1}, entity, 5).value ==
                         route_shard((tenant_id_t){2}, entity, 5).value
                     ? 1
                     : 0;
    }
    assert_true(equal > 1800);
    assert_true(equal < 2200);
}

/* Goal: items and users go by the same function over their ids. */
static void test_route_items_and_users_are_entities(void **state)
{
    (void)state;
    for (uint64_t id = 0; id < 100; id++) {
        uint16_t expected = route_shard(s_default, id, 40).value;
        assert_int_equal(route_item(s_default, (item_id_t){id}, 40).value, expected);
        assert_int_equal(route_user(s_default, (user_id_t){id}, 40).value, expected);
    }
}

/* The paper's code. */
static int64_t s_jump_of_paper(uint64_t key, int64_t bucket_count)
{
    int64_t bucket = -1;
    int64_t next = 0;
    while (next < bucket_count) {
        bucket = next;
        key = key * UINT64_C(2862933555777941757) + 1;
        next = (int64_t)((double)(bucket + 1) *
                         ((double)(INT64_C(1) << 31) / (double)((key >> 33) + 1)));
    }
    return bucket;
}

/* Goal: the paper's doubles give the same shard: random keys for every shard count. */
static void test_route_whole_numbers_equal_doubles_of_the_paper(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 7);
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t entity = prng_next(&prng);
        uint32_t shard_count = 1 + i % SHARD_COUNT_MAX;
        assert_int_equal(route_shard(s_default, entity, shard_count).value,
                         s_jump_of_paper(route_key(s_default, entity), shard_count));
    }
}

/* Goal: the proof of it. The two can differ only where the divisor divides (shard + 1) * 2^31, and
 * there the doubles are exact for every shard that there can be; 49 is the first that is not. */
static void test_route_doubles_are_exact_below_forty_nine(void **state)
{
    (void)state;
    for (int dividend = 1; dividend <= SHARD_COUNT_MAX; dividend++) {
        for (int divisor = 1; divisor <= dividend; divisor++) {
            bool divides = dividend % divisor == 0;
            int quotient = (int)((double)dividend * (1.0 / (double)divisor));
            assert_true(!divides || quotient == dividend / divisor);
        }
    }
    assert_int_equal((int)(49.0 * (1.0 / 49.0)), 0);
}

int main(int argc, char **argv)
{
    s_source_folder = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_golden_vectors_match),
        cmocka_unit_test(test_route_shard_count_bounds_hold),
        cmocka_unit_test(test_route_dense_ids_spread_evenly),
        cmocka_unit_test(test_route_one_more_shard_moves_the_least),
        cmocka_unit_test(test_route_tenants_spread_apart),
        cmocka_unit_test(test_route_items_and_users_are_entities),
        cmocka_unit_test(test_route_whole_numbers_equal_doubles_of_the_paper),
        cmocka_unit_test(test_route_doubles_are_exact_below_forty_nine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
