/* When an own replica is asked to check itself again, and what is kept of its answers. */
#include "common/cluster/reconcile_checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const region_id_t s_own = {2};

static reconcile_line_t s_line(uint16_t shard, bool is_suspect)
{
    return (reconcile_line_t){.tenant = {1},
                              .node = {s_own, {shard}},
                              .is_suspect = is_suspect,
                              .found =
                                  is_suspect ? RECONCILE_FOUND_DIVERGED : RECONCILE_FOUND_EQUAL};
}

static msg_rebuild_reply_t s_reply(uint16_t shard, uint64_t request_id)
{
    return (msg_rebuild_reply_t){.request_id = request_id, .tenant = {1}, .shard = {shard}};
}

/* A replica that turns out right each time is asked after 1, 2, 4 ... 64 quiet runs, and no rarer
 * than that. */
static void test_checks_of_a_right_replica_become_rare(void **state)
{
    (void)state;
    reconcile_checks_t *checks = reconcile_checks_new();
    reconcile_line_t line = s_line(0, true);
    uint64_t last_run = 1;
    uint64_t quiet = 0;
    uint32_t asked = 0;
    for (uint64_t run = 1; asked < 10; run++) {
        if (!reconcile_checks_run(checks, &line, run, run)) {
            continue;
        }
        if (asked > 0) {
            assert_int_equal(run - last_run - 1, quiet);
        }
        last_run = run;
        quiet = UINT64_C(1) << (asked < 6 ? asked : 6);
        asked++;
        msg_rebuild_reply_t reply = s_reply(0, run);
        assert_true(reconcile_checks_answer(checks, s_own, &reply, run, 0));
    }
    reconcile_checks_destroy(&checks);
}

/* Once it was equal to another replica, a new suspicion is looked into as soon as the first was. */
static void test_checks_begin_anew_after_equal(void **state)
{
    (void)state;
    reconcile_checks_t *checks = reconcile_checks_new();
    reconcile_line_t suspect = s_line(0, true);
    reconcile_line_t equal = s_line(0, false);
    for (uint64_t run = 1; run < 40; run++) {
        if (reconcile_checks_run(checks, &suspect, run, run)) {
            msg_rebuild_reply_t reply = s_reply(0, run);
            assert_true(reconcile_checks_answer(checks, s_own, &reply, run, 0));
        }
    }
    uint64_t run = 200; /* behind every quiet time */
    assert_false(reconcile_checks_run(checks, &equal, run, run));
    run++;
    assert_true(reconcile_checks_run(checks, &suspect, run, run));
    msg_rebuild_reply_t reply = s_reply(0, run);
    assert_true(reconcile_checks_answer(checks, s_own, &reply, run, 0));
    assert_false(reconcile_checks_run(checks, &suspect, run + 1, run + 1));
    assert_true(reconcile_checks_run(checks, &suspect, run + 2, run + 2));
    reconcile_checks_destroy(&checks);
}

/* An answer that nobody waits for, of another shard, or to another question changes nothing. */
static void test_checks_foreign_answers_are_refused(void **state)
{
    (void)state;
    reconcile_checks_t *checks = reconcile_checks_new();
    reconcile_line_t line = s_line(3, true);
    msg_rebuild_reply_t reply = s_reply(3, 5);
    assert_false(reconcile_checks_answer(checks, s_own, &reply, 1, 0));
    assert_true(reconcile_checks_run(checks, &line, 1, 5));
    reply.shard.value = 2;
    assert_false(reconcile_checks_answer(checks, s_own, &reply, 1, 0));
    reply = s_reply(3, 4);
    assert_false(reconcile_checks_answer(checks, s_own, &reply, 1, 0));
    reply = s_reply(3, 0);
    assert_false(reconcile_checks_answer(checks, s_own, &reply, 1, 0));
    reply = s_reply(3, 5);
    assert_true(reconcile_checks_answer(checks, s_own, &reply, 1, 0));
    assert_false(reconcile_checks_answer(checks, s_own, &reply, 1, 0));
    uint32_t count = 0;
    (void)reconcile_checks_repairs(checks, &count);
    assert_int_equal(count, 1);
    assert_int_equal(reconcile_checks_counters(checks).answered, 1);
    reconcile_checks_destroy(&checks);
}

/* Of more answers than are kept the oldest go; numbers go on. A failure is kept as one. */
static void test_checks_oldest_answers_go(void **state)
{
    (void)state;
    reconcile_checks_t *checks = reconcile_checks_new();
    enum { S_COUNT = RECONCILE_REPAIR_COUNT_MAX + 2 };
    for (uint16_t i = 0; i < S_COUNT; i++) {
        reconcile_line_t line = s_line(i, true);
        assert_true(reconcile_checks_run(checks, &line, 1, 1 + i));
        msg_rebuild_reply_t reply = s_reply(i, UINT64_C(1) + i);
        reply.code = i == S_COUNT - 1 ? CODE_CORRUPT : CODE_OK;
        reply.message = slice_text("say \"no\"\n");
        assert_true(reconcile_checks_answer(checks, s_own, &reply, 1, 0));
    }
    uint32_t count = 0;
    const reconcile_repair_t *repairs = reconcile_checks_repairs(checks, &count);
    assert_int_equal(count, RECONCILE_REPAIR_COUNT_MAX);
    assert_int_equal(repairs[0].number, 3);
    assert_int_equal(repairs[count - 1].number, S_COUNT);
    assert_true(repairs[count - 1].is_failed);
    assert_string_equal(repairs[count - 1].problem, "say ?no??");
    assert_int_equal(reconcile_checks_counters(checks).failed, 1);
    reconcile_checks_destroy(&checks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checks_of_a_right_replica_become_rare),
        cmocka_unit_test(test_checks_begin_anew_after_equal),
        cmocka_unit_test(test_checks_foreign_answers_are_refused),
        cmocka_unit_test(test_checks_oldest_answers_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
