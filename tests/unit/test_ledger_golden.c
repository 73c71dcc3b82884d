/* The same seed gives the same state for ever, whatever the compiler, its optimisation and the
 * processor: the golden file holds digests, scores and entries of seeded runs. */
#include "common/base/store_batch.h"
#include "tests/unit/ledger_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const char *s_source_folder = NULL;

static void s_print_digest(ledger_t *ledger, const char *what, FILE *out)
{
    ledger_digest_t digest;
    char text[2 * sizeof(digest.bytes) + 1];
    ledger_digest(ledger, &digest);
    bytes_to_hex(digest.bytes, sizeof(digest.bytes), text);
    (void)fprintf(out, "%s %s\n", what, text);
}

static void s_print_scores(const ledger_t *ledger, FILE *out)
{
    for (uint64_t item = 1; item <= 5; item++) {
        for (uint8_t signal = 1; signal <= 4; signal++) {
            double score =
                ledger_score(ledger, (item_id_t){item}, signal, LEDGER_SUPPORT_NOW_NS + 1, NULL);
            (void)fprintf(out, "score %u %u %a\n", (unsigned)item, signal, score);
        }
    }
}

static err_t s_collect(void *context, slice_t key, slice_t value)
{
    store_batch_put(context, key, value);
    return ERR_OK;
}

/* All entries, in key order. */
static void s_print_entries(const ledger_t *ledger, FILE *out)
{
    store_batch_t *batch = store_batch_new();
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    assert_int_equal(ledger_walk(ledger, s_collect, batch), ERR_OK);
    store_batch_sort(batch);
    while (store_batch_next(batch, &cursor, &operation)) {
        char text[LEDGER_KEY_TEXT_SIZE];
        char hex[2 * CELL_VALUE_SIZE_MAX + 1];
        ledger_key_text(operation.key, text);
        bytes_to_hex(operation.value.data, operation.value.size, hex);
        (void)fprintf(out, "%s: %s\n", text, hex);
    }
    store_batch_destroy(&batch);
}

/* One run: `count` batches; with few of them, all entries as well. */
static void s_run(uint64_t seed, unsigned count, const ledger_support_range_t *range, FILE *out)
{
    static schema_t s_schema;
    prng_t prng;
    schema_init_default(&s_schema);
    prng_init(&prng, seed);
    ledger_t *ledger = ledger_new(&s_schema);
    for (unsigned i = 0; i < count; i++) {
        ledger_support_batch_t batch;
        ledger_support_batch_init(&batch, &prng, range);
        ledger_support_apply_shuffled(ledger, &prng, &batch, 1);
        ledger_support_batch_done(&batch);
    }
    (void)fprintf(out, "run %u\n", (unsigned)seed);
    s_print_digest(ledger, "digest", out);
    s_print_scores(ledger, out);
    if (count < 20) {
        s_print_entries(ledger, out);
    }
    ledger_destroy(&ledger);
}

static void s_render(FILE *out)
{
    static const ledger_support_range_t s_few = {5, 3, 4000, 0};
    static const ledger_support_range_t s_cohorts = {3, 3, 4000, 2};
    static const ledger_support_range_t s_many_cohorts = {300, 200, 1000000, 40};
    static const ledger_support_range_t s_many = {300, 200, 1000000, 0};
    (void)fprintf(
        out, "# Digests, scores (hex floats) and entries of seeded runs of the ledger. Made by\n"
             "# test_ledger_golden <source folder> --write\n");
    s_run(1, 8, &s_few, out);
    s_run(2, 300, &s_few, out);
    s_run(3, 500, &s_many, out);
    s_run(4, 12, &s_cohorts, out);
    s_run(5, 500, &s_many_cohorts, out);
}

static FILE *s_open(const char *mode)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/tests/golden/ledger_v1.txt", s_source_folder);
    return fopen(path, mode);
}

/* Goal: a change that would give another state, or other bytes for the same state, is noticed. */
static void test_ledger_golden_runs_give_the_stored_states(void **state)
{
    (void)state;
    static char s_expected[65536];
    static char s_found[65536];
    FILE *out = fmemopen(s_found, sizeof(s_found), "w");
    assert_non_null(out);
    s_render(out);
    assert_int_equal(fclose(out), 0);
    FILE *file = s_open("r");
    assert_non_null(file);
    size_t size = fread(s_expected, 1, sizeof(s_expected) - 1, file);
    assert_int_equal(fclose(file), 0);
    s_expected[size] = '\0';
    assert_string_equal(s_expected, s_found);
}

static int s_write_golden(void)
{
    FILE *file = s_open("w");
    if (file == NULL) {
        return 1;
    }
    s_render(file);
    return fclose(file) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    s_source_folder = argc > 1 ? argv[1] : ".";
    if (argc > 2 && strcmp(argv[2], "--write") == 0) {
        return s_write_golden();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger_golden_runs_give_the_stored_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
