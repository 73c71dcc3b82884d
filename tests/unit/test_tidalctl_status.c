/* The status screen, from replies as a control plane gives them. */
#include "services/tidalctl/json.h"
#include "services/tidalctl/status_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void s_expect(const char *status, const char *links, const char *expected)
{
    buffer_t packs[2];
    buffer_t text;
    errbuf_t errbuf = {""};
    buffer_init(&packs[0]);
    buffer_init(&packs[1]);
    buffer_init(&text);
    assert_int_equal(json_parse(slice_text(status), &packs[0], &errbuf), ERR_OK);
    assert_int_equal(json_parse(slice_text(links), &packs[1], &errbuf), ERR_OK);
    status_text_write(buffer_slice(&packs[0]), buffer_slice(&packs[1]), &text);
    buffer_append(&text, "", 1);
    assert_string_equal((const char *)text.data, expected);
    buffer_done(&packs[0]);
    buffer_done(&packs[1]);
    buffer_done(&text);
}

#define PROCESS(name, region, alive, ready, reason, silent)                                        \
    "{\"name\": \"" name "\", \"region\": \"" region "\", \"alive\": " alive ", \"ready\": " ready \
    ", \"reason\": \"" reason "\", \"silent_ms\": " silent "}"

/* All is well: a line per place, and the sentence. */
static void test_status_text_converged_is_short(void **state)
{
    (void)state;
    s_expect("{\"summary\": \"converged\", \"regions\": [\"us\", \"eu\"], \"shards\": ["
             "{\"shard\": 0, \"leader\": \"us\", \"in_sync\": [\"us\", \"eu\"], \"regions\": "
             "[\"us\", \"eu\"]},"
             "{\"shard\": 1, \"leader\": \"eu\", \"in_sync\": [\"us\", \"eu\"], \"regions\": "
             "[\"us\", \"eu\"]},"
             "{\"shard\": 2, \"leader\": \"us\", \"in_sync\": [\"us\", \"eu\"], \"regions\": "
             "[\"us\", \"eu\"]}],"
             "\"processes\": [" PROCESS("control", "control", "true", "true", "", "0") "," PROCESS(
                 "shard-us-0", "us", "true", "true", "",
                 "5") "," PROCESS("shard-eu-0", "eu", "true", "true", "",
                                  "5") "],"
                                       "\"lag\": [{\"region\": \"eu\", \"shard\": 0, \"lag_seq\": "
                                       "0, \"lag_ms\": 0}]}",
             "{\"links\": [{\"from\": \"us\", \"to\": \"eu\", \"mode\": \"pass\", \"drop\": 0.0}]}",
             "place    leads       ready   lag\n"
             "us       shards 0 2  1 of 1  none\n"
             "eu       shards 1    1 of 1  none\n"
             "control  -           1 of 1  none\n"
             "\nconverged\n");
}

/* What is wrong is listed: processes, links, shards, and lag with the worst first. */
static void test_status_text_problems_are_listed_worst_first(void **state)
{
    (void)state;
    s_expect(
        "{\"summary\": \"not converged: one is missing\", \"regions\": [\"us\"], \"shards\": ["
        "{\"shard\": 0, \"leader\": null, \"in_sync\": [\"us\"], \"regions\": [\"us\", \"eu\"]}],"
        "\"processes\": [" PROCESS("shard-us-0", "us", "true", "false", "replays", "5") "," PROCESS(
            "shard-us-1", "us", "false", "true", "",
            "2500") "," PROCESS("proxy", "control", "false", "false", "",
                                "-1") "],"
                                      "\"lag\": ["
                                      "{\"region\": \"us\", \"shard\": 0, \"origin\": \"a\", "
                                      "\"lag_seq\": 3, \"lag_ms\": 4},"
                                      "{\"region\": \"us\", \"shard\": 1, \"origin\": \"b\", "
                                      "\"lag_seq\": 9, \"lag_ms\": -1}]}",
        "{\"links\": [{\"from\": \"us\", \"to\": \"eu\", \"mode\": \"hold\", \"delay_ms\": 5, "
        "\"drop\": 0.5}]}",
        "place    leads  ready   lag\n"
        "us       -      0 of 2  12 events\n"
        "control  -      0 of 1  none\n"
        "\nnot ready\n"
        "  shard-us-0           replays\n"
        "  shard-us-1           silent for 2.5 s\n"
        "  proxy                was never heard\n"
        "\nlinks\n"
        "  us -> eu  hold delay_ms=5 drop=0.5\n"
        "\nshards\n"
        "  shard 0: no leader, 1 of 2 regions in sync\n"
        "\nlag\n"
        "  shard 1 in us: 9 events of b, for an unknown time\n"
        "  shard 0 in us: 3 events of a, 4 ms\n"
        "\nnot converged: one is missing\n");
}

/* A reply without the lists that it should have is shown as far as it goes. */
static void test_status_text_missing_parts_do_no_harm(void **state)
{
    (void)state;
    s_expect("{\"ok\": true}", "[]",
             "place    leads  ready   lag\n"
             "control  -      0 of 0  none\n"
             "\n\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_text_converged_is_short),
        cmocka_unit_test(test_status_text_problems_are_listed_worst_first),
        cmocka_unit_test(test_status_text_missing_parts_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
