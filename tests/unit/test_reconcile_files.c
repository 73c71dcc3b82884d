/* The report of a reconciler in words and as files: what each line names, and when files change. */
#include "services/reconciler/reconciler_files.h"
#include "tests/support/sim_disk.h"
#include "tests/unit/reconcile_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const int64_t s_second = INT64_C(1000000000);
/* 2024-02-29T23:59:58Z */
static const int64_t s_wall_ns = INT64_C(1709251198123456789);
static const char s_text_path[] = "data/us-east/reconciler/report.txt";
static const char s_json_path[] = "data/us-east/reconciler/report.json";

typedef struct {
    reconcile_model_t *model;
    reconcile_report_t report;
    sim_disk_t *disk;
    reconciler_files_t *files;
    buffer_t out;
} s_bench_t;

static void s_open(s_bench_t *bench, uint32_t shard_count)
{
    bench->model = reconcile_model_new(3, shard_count);
    reconcile_report_init(&bench->report);
    bench->disk = sim_disk_new(3);
    bench->files = reconciler_files_new(sim_disk_disk(bench->disk), "data/us-east/reconciler");
    buffer_init(&bench->out);
}

static void s_close(s_bench_t *bench)
{
    reconcile_model_destroy(&bench->model);
    reconcile_report_done(&bench->report);
    reconciler_files_destroy(&bench->files);
    reconciler_files_destroy(&bench->files);
    sim_disk_destroy(&bench->disk);
    buffer_done(&bench->out);
}

static reconcile_view_t s_view(const s_bench_t *bench, int64_t wall_ns)
{
    return (reconcile_view_t){&bench->model->topology, bench->model->table, {1}, wall_ns, 0};
}

/* A run over regions 1..heard at this time. */
static void s_run(s_bench_t *bench, uint32_t heard, int64_t now_ns)
{
    static const uint16_t s_regions[] = {1, 2, 3};
    reconcile_report_t before = bench->report;
    reconcile_report_init(&bench->report);
    reconcile_model_compare(bench->model, s_regions, heard, &bench->report);
    reconcile_date(&bench->report, &before, (region_id_t){1}, now_ns, 10 * s_second);
    reconcile_report_done(&before);
}

/* The report as a C string; lives until the next call. */
static const char *s_words(s_bench_t *bench, bool is_json, bool has_times)
{
    reconcile_view_t view = s_view(bench, s_wall_ns);
    buffer_clear(&bench->out);
    if (is_json) {
        reconciler_files_json(&bench->report, &view, has_times, &bench->out);
    } else {
        reconciler_files_text(&bench->report, &view, has_times, &bench->out);
    }
    buffer_append(&bench->out, "", 1);
    return (const char *)bench->out.data;
}

static bool s_save(s_bench_t *bench, int64_t wall_ns)
{
    bool written = false;
    errbuf_t errbuf;
    reconcile_view_t view = s_view(bench, wall_ns);
    assert_int_equal(reconciler_files_save(bench->files, &bench->report, &view, &written, &errbuf),
                     ERR_OK);
    return written;
}

/* Digests in hex, as the model fills them. */
static const char s_hex_10[] = "1010101010101010101010101010101010101010101010101010101010101010";
static const char s_hex_ee[] = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

/* -- words ------------------------------------------------------------------------------------- */

/* All kinds of findings, each naming node, tenant, what was compared, and what was found. */
static void test_reconciler_text_names_node_tenant_compared_and_found(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 3);
    reconcile_model_t *model = bench.model;
    reconcile_model_set_digest(model, (node_id_t){{3}, {0}}, 1, 0xee);
    reconcile_model_row(model, 2, 1, 1)->answered = false;
    reconcile_model_set_seq(model, (node_id_t){{2}, {2}}, 1, 1, 70);
    s_run(&bench, 3, 0);
    s_run(&bench, 3, 12 * s_second + 340000000);
    char expected[4096];
    (void)snprintf(
        expected, sizeof(expected),
        "reconciler-us-east, 2024-02-29T23:59:58Z: DIVERGED: 1 of 8 replicas compared have another "
        "digest at an equal vector, first shard-ap-south-0, tenant default\n"
        "DIVERGED   node shard-ap-south-0, tenant default: compared vector and digest with "
        "shard-us-east-0, shard-eu-west-0; found digest %s at the same 150 events, expected %s as "
        "2 others have\n"
        "unanswered node shard-eu-west-1 (leader), tenant default: compared nothing; found no "
        "digest: the node is not ready, or does not answer reconciler-eu-west\n"
        "lagging    node shard-eu-west-2, tenant default: compared vector with shard-us-east-2, "
        "shard-ap-south-2; found 30 events missing in 1 streams, us-east-2-000000000000ab01 at 70, "
        "expected 100, for 12.3 s\n",
        s_hex_ee, s_hex_10);
    const char *text = s_words(&bench, false, true);
    assert_memory_equal(text, expected, strlen(expected));
    assert_non_null(strstr(text,
                           "equal      node shard-us-east-0 (leader), tenant default: compared "
                           "vector and digest with shard-eu-west-0, shard-ap-south-0; found "
                           "the same in 1 of 2, 150 events, digest 1010"));
    s_close(&bench);
}

/* A snapshot that did not come is named with its donor and the reason, and so is the base for which it
 * was wanted. */
static void test_reconciler_text_tells_why_a_snapshot_was_not_taken(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 2);
    s_run(&bench, 3, 0);
    assert_null(strstr(s_words(&bench, false, true), "snapshot"));
    bench.report.snapshot_problem = (reconcile_snapshot_problem_t){
        .number = 4, .tenant = {1}, .shard = {1}, .donor = {3}, .reason = {"found another hash"}};
    bench.report.lost_base_count = 2;
    bench.report.lost_base_tenant = (tenant_id_t){1};
    bench.report.lost_base_shard = (shard_id_t){1};
    const char *text = s_words(&bench, false, true);
    assert_non_null(strstr(text,
                           "\nthe last snapshot that was not taken: for shard-us-east-1, tenant "
                           "default, from ap-south: found another hash\n"));
    assert_non_null(strstr(text, "\n2 bases (state.base) are damaged or gone, first that of "
                                 "shard-us-east-1, tenant default: "));
    assert_non_null(strstr(s_words(&bench, true, true), "\"not_taken\": 4, \"lost_bases\": 2}"));
    s_close(&bench);
}

/* What was held against the logs stands behind the findings: what differed by name, with its digests
 * and times; what was right; what could not be looked at, and why. */
static void test_reconciler_report_names_what_was_repaired(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 1);
    s_run(&bench, 3, 0);
    static reconcile_repair_t s_repairs[3] = {
        {.number = 4,
         .tenant = {1},
         .node = {{1}, {0}},
         .different = true,
         .took_ms = 7,
         .event_count = 150,
         .voided_count = 2,
         .difference_count = 30,
         .listed_count = 1,
         .listed = {{"cell item 7 signal 2", "none", "40 bytes, hash 00000000000000aa"}}},
        {.number = 5, .tenant = {1}, .node = {{1}, {0}}, .event_count = 9},
        {.number = 6, .tenant = {9}, .node = {{1}, {0}}, .is_failed = true, .problem = "no file"},
    };
    memset(s_repairs[0].found, 0xee, MSG_HASH_SIZE);
    memset(s_repairs[0].rebuilt, 0x10, MSG_HASH_SIZE);
    memset(s_repairs[1].found, 0x10, MSG_HASH_SIZE);
    bench.report.repairs = s_repairs;
    bench.report.repair_count = 3;
    char expected[2048];
    (void)snprintf(expected, sizeof(expected),
                   "REPAIRED   node shard-us-east-0, tenant default: the state differed from its "
                   "150 logged events (2 requests voided) in 30 entries, and is replaced: digest "
                   "was %s, is %s; 1970-01-01T00:00:00Z, in 7 ms\n"
                   "             cell item 7 signal 2: found none, by the logs 40 bytes, hash "
                   "00000000000000aa\n"
                   "checked    node shard-us-east-0, tenant default: the state is what its 9 "
                   "logged events come to (0 requests voided), digest %s; 1970",
                   s_hex_ee, s_hex_10, s_hex_10);
    assert_non_null(strstr(s_words(&bench, false, true), expected));
    assert_non_null(strstr(s_words(&bench, false, true),
                           "unchecked  node shard-us-east-0, tenant ?: the state could not be "
                           "checked, nothing changed: no file; 1970"));
    const char *json = s_words(&bench, true, false);
    assert_non_null(strstr(json, "{\"number\": 4, \"node\": \"shard-us-east-0\", \"tenant\": "
                                 "\"default\", \"result\": \"repaired\", \"events\": 150, "
                                 "\"voided\": 2, \"found\": \"eeee"));
    assert_non_null(strstr(json, "\"differences\": 30, \"entries\": [{\"entry\": \"cell item 7 "
                                 "signal 2\", \"found\": \"none\", \"by_the_logs\": \"40 bytes"));
    assert_non_null(strstr(json, "\"result\": \"unchecked\", \"entries\": [], \"text\": "));
    s_close(&bench);
}

/* Silence, the only answer, and the furthest have words too. */
static void test_reconciler_text_of_silent_regions(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 1);
    reconcile_model_set_seq(bench.model, (node_id_t){{2}, {0}}, 1, 1, 70);
    s_run(&bench, 2, 0);
    const char *text = s_words(&bench, false, false);
    assert_non_null(strstr(text, "reconciler-us-east: incomplete: 1 of 2 other regions silent, "));
    assert_non_null(strstr(text,
                           "silent     node shard-ap-south-0, tenant default: compared nothing; "
                           "found no state: reconciler-ap-south is down, or the link to it "
                           "is cut\n"));
    assert_non_null(strstr(text,
                           "furthest   node shard-us-east-0 (leader), tenant default: compared "
                           "vector with shard-eu-west-0; found none as far, 150 events"));
    assert_null(strstr(text, "lagging")); /* it has not lasted */
    s_run(&bench, 1, 0);
    text = s_words(&bench, false, false);
    assert_non_null(strstr(text,
                           "alone      node shard-us-east-0 (leader), tenant default: compared "
                           "nothing; found no other replica that answered, 150 events"));
    s_close(&bench);
}

/* Without a majority the line says so. */
static void test_reconciler_text_without_majority(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 1);
    reconcile_model_set_digest(bench.model, (node_id_t){{2}, {0}}, 1, 0xee);
    s_run(&bench, 2, 0);
    const char *text = s_words(&bench, false, true);
    assert_non_null(strstr(text, "expected that of a majority: there is none\n"));
    s_close(&bench);
}

/* Quotes come in pairs and brackets close what they opened: enough for text without escapes. */
static void s_check_json(const char *text)
{
    char open[16] = {0};
    int depth = 0;
    bool in_text = false;
    for (const char *at = text; *at != '\0'; at++) {
        assert_true(*at != '\\');
        assert_true((uint8_t)*at < 0x7f && (*at >= ' ' || (*at == '\n' && !in_text)));
        if (*at == '"') {
            in_text = !in_text;
        } else if (!in_text && (*at == '{' || *at == '[')) {
            assert_true(depth < (int)sizeof(open));
            open[depth++] = *at == '{' ? '}' : ']';
        } else if (!in_text && (*at == '}' || *at == ']')) {
            assert_true(depth > 0);
            assert_int_equal(*at, open[--depth]);
        }
    }
    assert_int_equal(depth, 0);
    assert_false(in_text);
}

/* The JSON report holds counts, silent regions and every line with its fields. */
static void test_reconciler_json_holds_what_the_text_says(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 2);
    reconcile_model_set_digest(bench.model, (node_id_t){{2}, {0}}, 1, 0xee);
    s_run(&bench, 2, 0);
    const char *text = s_words(&bench, true, true);
    s_check_json(text);
    assert_non_null(strstr(text, "{\"reconciler\": \"reconciler-us-east\",\n"
                                 " \"time\": \"2024-02-29T23:59:58Z\",\n"
                                 " \"time_ns\": 1709251198123456789,\n"));
    assert_non_null(strstr(text,
                           "\"replicas_compared\": 4,\n \"replicas\": {\"equal\": 2, "
                           "\"furthest\": 0, \"alone\": 0, \"lagging\": 0, \"unanswered\": 0, "
                           "\"silent\": 2, \"DIVERGED\": 2},\n"
                           " \"silent_regions\": [\"ap-south\"],\n"
                           " \"snapshots\": {\"adopted\": 0, \"refused\": 0, \"under_way\": 0, "
                           "\"not_taken\": 0, \"lost_bases\": 0},\n"
                           " \"lines_left_out\": 0,\n"));
    assert_non_null(strstr(text,
                           "{\"found\": \"DIVERGED\", \"node\": \"shard-eu-west-0\", "
                           "\"leader\": false, \"tenant\": \"default\", \"compared\": "
                           "\"vector and digest\", \"with\": [\"shard-us-east-0\"], \"agree\": "
                           "0, \"events\": 150, \"missing\": 0, \"digest\": \"eeee"));
    assert_non_null(strstr(text, "{\"found\": \"silent\", \"node\": \"shard-ap-south-1\""));
    assert_null(strstr(s_words(&bench, true, false), "\"time\""));
    s_close(&bench);
}

/* JSON of every state that is not silent is well formed, majority and ages included. */
static void test_reconciler_json_is_well_formed(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 2);
    reconcile_model_add_tenant(bench.model, 9, "a.tenant_9-x", (region_set_t){1U << 2});
    reconcile_model_set_digest(bench.model, (node_id_t){{2}, {0}}, 1, 0xee);
    reconcile_model_set_seq(bench.model, (node_id_t){{3}, {1}}, 1, 2, 1);
    s_run(&bench, 3, 0);
    s_run(&bench, 3, 10 * s_second);
    const char *text = s_words(&bench, true, true);
    s_check_json(text);
    assert_non_null(strstr(text, "\"expected_count\": 2"));
    assert_non_null(strstr(text, "\"lag_ms\": 10000"));
    assert_non_null(strstr(text, "\"tenant\": \"a.tenant_9-x\""));
    s_close(&bench);
}

/* More findings than a file holds: the worst are there, the others are counted. */
static void test_reconciler_text_is_bounded(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 1);
    enum { LINES = RECONCILER_FILES_LINE_COUNT_MAX + 5 };
    s_run(&bench, 3, 0);
    reconcile_report_t *report = &bench.report;
    reconcile_line_t line = report->lines[0];
    reconcile_line_t *lines = test_calloc(LINES, sizeof(*lines));
    for (uint32_t i = 0; i < LINES; i++) {
        lines[i] = line;
    }
    reconcile_report_t large = *report;
    large.lines = lines;
    large.line_count = LINES;
    reconcile_view_t view = s_view(&bench, 0);
    reconciler_files_text(&large, &view, true, &bench.out);
    buffer_append(&bench.out, "", 1);
    assert_non_null(
        strstr((const char *)bench.out.data, "\nand 5 more lines, none of them worse\n"));
    buffer_clear(&bench.out);
    reconciler_files_json(&large, &view, true, &bench.out);
    buffer_append(&bench.out, "", 1);
    assert_non_null(strstr((const char *)bench.out.data, "\"lines_left_out\": 5"));
    s_check_json((const char *)bench.out.data);
    test_free(lines);
    s_close(&bench);
}

/* Times: the epoch, leap days, and the last second of a year. */
static void test_reconciler_text_tells_the_time(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } s_cases[] = {
        {0, ", 1970-01-01T00:00:00Z: "},          {951782400, ", 2000-02-29T00:00:00Z: "},
        {1735689599, ", 2024-12-31T23:59:59Z: "}, {1740787200, ", 2025-03-01T00:00:00Z: "},
        {4107542400, ", 2100-03-01T00:00:00Z: "}, {9223372036, ", 2262-04-11T23:47:16Z: "},
    };
    s_bench_t bench;
    s_open(&bench, 1);
    s_run(&bench, 3, 0);
    for (size_t i = 0; i < sizeof(s_cases) / sizeof(s_cases[0]); i++) {
        reconcile_view_t view = s_view(&bench, s_cases[i].seconds * s_second);
        buffer_clear(&bench.out);
        reconciler_files_text(&bench.report, &view, true, &bench.out);
        buffer_append(&bench.out, "", 1);
        assert_non_null(strstr((const char *)bench.out.data, s_cases[i].text));
    }
    s_close(&bench);
}

/* -- files ------------------------------------------------------------------------------------- */

/* Both files are there after a power cut as soon as save has said so. */
static void test_reconciler_files_are_durable_when_saved(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        s_bench_t bench;
        s_open(&bench, 2);
        s_run(&bench, 3, 0);
        assert_true(s_save(&bench, s_wall_ns));
        sim_disk_crash(bench.disk, seed);
        const uint8_t *bytes = NULL;
        uint64_t size = 0;
        assert_int_equal(sim_disk_peek(bench.disk, s_json_path, &bytes, &size), ERR_OK);
        assert_true(size > 2 && bytes[size - 2] == '}');
        assert_int_equal(sim_disk_peek(bench.disk, s_text_path, &bytes, &size), ERR_OK);
        const char *text = s_words(&bench, false, true);
        assert_int_equal(size, strlen(text));
        assert_memory_equal(bytes, text, size);
        s_close(&bench);
    }
}

/* Only times and ages have changed: nothing is written, not even looked at. */
static void test_reconciler_files_stay_while_only_times_change(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 2);
    reconcile_model_set_seq(bench.model, (node_id_t){{2}, {0}}, 1, 1, 70);
    s_run(&bench, 3, 0);
    s_run(&bench, 3, 20 * s_second);
    assert_true(s_save(&bench, s_wall_ns));
    uint64_t changes = sim_disk_stats(bench.disk).change_count;
    s_run(&bench, 3, 30 * s_second);
    assert_false(s_save(&bench, s_wall_ns + 10 * s_second));
    assert_int_equal(sim_disk_stats(bench.disk).change_count, changes);
    reconcile_model_set_seq(bench.model, (node_id_t){{2}, {0}}, 1, 1, 71);
    s_run(&bench, 3, 40 * s_second);
    assert_true(s_save(&bench, s_wall_ns + 20 * s_second));
    s_close(&bench);
}

/* A shorter report leaves nothing of the longer one before it. */
static void test_reconciler_files_are_replaced_whole(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 5);
    s_run(&bench, 3, 0);
    assert_true(s_save(&bench, s_wall_ns));
    reconcile_model_destroy(&bench.model);
    bench.model = reconcile_model_new(3, 1);
    s_run(&bench, 3, 0);
    assert_true(s_save(&bench, s_wall_ns));
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(bench.disk, s_text_path, &bytes, &size), ERR_OK);
    assert_int_equal(size, strlen(s_words(&bench, false, true)));
    s_close(&bench);
}

/* A temporary file that an earlier try left behind, longer than the report, leaves nothing in it.
 */
static void test_reconciler_files_ignore_what_an_earlier_try_left(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 1);
    static char s_junk[8192];
    sim_disk_put(bench.disk, "data/us-east/reconciler/report.txt.tmp", s_junk, sizeof(s_junk));
    s_run(&bench, 3, 0);
    assert_true(s_save(&bench, s_wall_ns));
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(bench.disk, s_text_path, &bytes, &size), ERR_OK);
    assert_int_equal(size, strlen(s_words(&bench, false, true)));
    s_close(&bench);
}

/* Goal: a failure anywhere leaves the old report or the new one, each whole, and the next save
 * writes again. Method: the power goes at every change in turn. */
static void test_reconciler_files_survive_failure_at_every_change(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t at = 1; failed; at++) {
        s_bench_t bench;
        s_open(&bench, 2);
        s_run(&bench, 3, 0);
        assert_true(s_save(&bench, s_wall_ns));
        reconcile_model_set_digest(bench.model, (node_id_t){{3}, {0}}, 1, 0xee);
        s_run(&bench, 3, 0);
        sim_disk_stop_at(bench.disk, at);
        bool written = false;
        errbuf_t errbuf;
        reconcile_view_t view = s_view(&bench, s_wall_ns);
        failed =
            reconciler_files_save(bench.files, &bench.report, &view, &written, &errbuf) != ERR_OK;
        assert_int_equal(written, !failed);
        sim_disk_crash(bench.disk, at);
        const uint8_t *bytes = NULL;
        uint64_t size = 0;
        assert_int_equal(sim_disk_peek(bench.disk, s_text_path, &bytes, &size), ERR_OK);
        buffer_t found;
        buffer_init(&found);
        buffer_append(&found, bytes, size);
        buffer_append(&found, "", 1);
        const char *text = s_words(&bench, false, true);
        bool is_new = strcmp((const char *)found.data, text) == 0;
        bool is_old = strstr((const char *)found.data, "no difference") != NULL &&
                      found.data[size - 1] == '\n';
        buffer_done(&found);
        assert_true(is_new || (failed && is_old));
        if (failed) {
            assert_non_null(strstr(errbuf.text, "report"));
            assert_true(s_save(&bench, s_wall_ns));
        }
        assert_false(s_save(&bench, s_wall_ns));
        s_close(&bench);
        assert_true(at < 100);
    }
}

/* A full disk: an error, and once there is room the report is written without a change in it. */
static void test_reconciler_files_are_written_when_there_is_room_again(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 2);
    s_run(&bench, 3, 0);
    sim_disk_set_capacity(bench.disk, 100);
    bool written = false;
    errbuf_t errbuf;
    reconcile_view_t view = s_view(&bench, s_wall_ns);
    assert_int_equal(reconciler_files_save(bench.files, &bench.report, &view, &written, &errbuf),
                     ERR_DISK_FULL);
    assert_non_null(strstr(errbuf.text, "keep the report of the reconciler: write "));
    assert_false(written);
    sim_disk_set_capacity(bench.disk, UINT64_MAX);
    assert_true(s_save(&bench, s_wall_ns));
    s_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reconciler_text_names_node_tenant_compared_and_found),
        cmocka_unit_test(test_reconciler_text_tells_why_a_snapshot_was_not_taken),
        cmocka_unit_test(test_reconciler_report_names_what_was_repaired),
        cmocka_unit_test(test_reconciler_text_of_silent_regions),
        cmocka_unit_test(test_reconciler_text_without_majority),
        cmocka_unit_test(test_reconciler_json_holds_what_the_text_says),
        cmocka_unit_test(test_reconciler_json_is_well_formed),
        cmocka_unit_test(test_reconciler_text_is_bounded),
        cmocka_unit_test(test_reconciler_text_tells_the_time),
        cmocka_unit_test(test_reconciler_files_are_durable_when_saved),
        cmocka_unit_test(test_reconciler_files_stay_while_only_times_change),
        cmocka_unit_test(test_reconciler_files_are_replaced_whole),
        cmocka_unit_test(test_reconciler_files_ignore_what_an_earlier_try_left),
        cmocka_unit_test(test_reconciler_files_survive_failure_at_every_change),
        cmocka_unit_test(test_reconciler_files_are_written_when_there_is_room_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
