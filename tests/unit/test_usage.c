/* Usage of a tenant: what counts, what is taken back, and its entries in a checkpoint. */
#include "common/base/prng.h"
#include "common/engine/usage.h"
#include "common/wal/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const node_id_t s_us = {{1}, {3}};
static const node_id_t s_eu = {{2}, {3}};

/* A payload of n signals, with an item written between them. */
static void s_payload(buffer_t *payload, uint32_t n)
{
    signal_event_t events[64];
    for (uint32_t i = 0; i < n; i++) {
        events[i] = (signal_event_t){.item = {i + 1}, .ts_ns = i, .weight = 1.0, .signal = 1};
    }
    buffer_init(payload);
    record_append_signals(payload, events, n / 2);
    record_t put = {.type = RECORD_ITEM_DELETE, .event_count = 1};
    put.as.item.item = (item_id_t){7};
    record_append(payload, &put);
    record_append_signals(payload, events, n - n / 2);
}

/* Goal: all signals of a batch count, other records do not; bytes are the payload's. */
static void test_usage_log_counts_signals_and_bytes(void **state)
{
    (void)state;
    usage_t usage = {0};
    buffer_t payload;
    s_payload(&payload, 10);
    usage_log(&usage, s_us, buffer_slice(&payload));
    usage_log(&usage, s_eu, buffer_slice(&payload));
    assert_int_equal(pn_counter_value(&usage.signals), 20);
    assert_int_equal(pn_counter_value(&usage.bytes), 2 * payload.size);
    buffer_done(&payload);
    usage_done(&usage);
    usage_done(&usage);
}

/* Goal: a second copy takes its signals back on its own origin's account, and no bytes. */
static void test_usage_void_takes_signals_back(void **state)
{
    (void)state;
    usage_t usage = {0};
    buffer_t payload;
    s_payload(&payload, 10);
    usage_log(&usage, s_us, buffer_slice(&payload));
    usage_log(&usage, s_eu, buffer_slice(&payload));
    usage_void(&usage, s_eu, buffer_slice(&payload));
    assert_int_equal(pn_counter_value(&usage.signals), 10);
    assert_int_equal(pn_counter_value(&usage.bytes), 2 * payload.size);
    usage_slot_t slots[PN_COUNTER_SLOT_COUNT_MAX];
    assert_int_equal(usage_slots(&usage, slots), 2);
    assert_int_equal(slots[0].voided, 0);
    assert_int_equal(slots[1].origin.region.value, 2);
    assert_int_equal(slots[1].signals, 10);
    assert_int_equal(slots[1].voided, 10);
    buffer_done(&payload);
    usage_done(&usage);
}

/* Goal: what two replicas tell merges, whoever is behind; and telling twice changes nothing. */
static void test_usage_merge_takes_the_further_slot(void **state)
{
    (void)state;
    usage_t ahead = {0};
    usage_t behind = {0};
    usage_slot_t slots[] = {{s_us, 100, 5, 900}, {s_us, 90, 7, 800}, {s_eu, 3, 0, 50}};
    usage_raise(&ahead, &slots[0]);
    usage_raise(&behind, &slots[1]);
    usage_raise(&behind, &slots[2]);
    for (unsigned i = 0; i < 2; i++) {
        usage_merge(&ahead, &behind);
        assert_int_equal(pn_counter_value(&ahead.signals), 100 - 7 + 3);
        assert_int_equal(pn_counter_value(&ahead.bytes), 950);
    }
    usage_done(&ahead);
    usage_done(&behind);
}

/* Goal: entries of a checkpoint bring back the same, and more may be added then. */
static void test_usage_entries_bring_it_back(void **state)
{
    (void)state;
    usage_t usage = {0};
    usage_t loaded = {0};
    buffer_t payload;
    s_payload(&payload, 10);
    usage_log(&usage, s_us, buffer_slice(&payload));
    usage_void(&usage, s_us, buffer_slice(&payload));
    usage_slot_t slots[PN_COUNTER_SLOT_COUNT_MAX];
    uint8_t key[USAGE_KEY_SIZE];
    uint8_t value[USAGE_VALUE_SIZE];
    assert_int_equal(usage_slots(&usage, slots), 1);
    usage_encode(&slots[0], key, value);
    errbuf_t errbuf;
    assert_int_equal(usage_load_entry(&loaded, s_us.shard, slice_make(key, sizeof(key)),
                                      slice_make(value, sizeof(value)), &errbuf),
                     ERR_OK);
    usage_log(&loaded, s_us, buffer_slice(&payload));
    usage_log(&usage, s_us, buffer_slice(&payload));
    assert_int_equal(pn_counter_value(&loaded.signals), pn_counter_value(&usage.signals));
    assert_int_equal(pn_counter_value(&loaded.bytes), pn_counter_value(&usage.bytes));
    buffer_done(&payload);
    usage_done(&usage);
    usage_done(&loaded);
}

/* Goal: entries that no replica writes are refused and change nothing. */
static void test_usage_bad_entries_are_refused(void **state)
{
    (void)state;
    static const usage_slot_t s_bad[] = {
        {{{0}, {3}}, 1, 0, 9},                    /* no region */
        {{{REGION_COUNT_MAX + 1}, {3}}, 1, 0, 9}, /* beyond the last */
        {{{1}, {3}}, 1, 2, 9},                    /* more voided than logged */
        {{{1}, {3}}, 1, 0, 0},                    /* signals without bytes */
    };
    usage_t usage = {0};
    uint8_t key[USAGE_KEY_SIZE + 1] = {0};
    uint8_t value[USAGE_VALUE_SIZE + 1] = {0};
    errbuf_t errbuf;
    for (unsigned i = 0; i < sizeof(s_bad) / sizeof(s_bad[0]); i++) {
        usage_encode(&s_bad[i], key, value);
        assert_int_equal(usage_load_entry(&usage, s_us.shard, slice_make(key, USAGE_KEY_SIZE),
                                          slice_make(value, USAGE_VALUE_SIZE), &errbuf),
                         ERR_CORRUPT);
    }
    usage_encode(&(usage_slot_t){s_us, 1, 0, 9}, key, value);
    for (size_t off = 0; off < 2; off++) {
        assert_int_equal(usage_load_entry(&usage, s_us.shard,
                                          slice_make(key, USAGE_KEY_SIZE + 1 - 2 * off),
                                          slice_make(value, USAGE_VALUE_SIZE), &errbuf),
                         ERR_CORRUPT);
        assert_int_equal(usage_load_entry(&usage, s_us.shard, slice_make(key, USAGE_KEY_SIZE),
                                          slice_make(value, USAGE_VALUE_SIZE + 1 - 2 * off),
                                          &errbuf),
                         ERR_CORRUPT);
    }
    assert_int_equal(usage.bytes.count, 0);
    usage_done(&usage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage_log_counts_signals_and_bytes),
        cmocka_unit_test(test_usage_void_takes_signals_back),
        cmocka_unit_test(test_usage_merge_takes_the_further_slot),
        cmocka_unit_test(test_usage_entries_bring_it_back),
        cmocka_unit_test(test_usage_bad_entries_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
