/* What a checkpoint of a replica brings back beside the ledger and the pairs seen, which have tests of
 * their own: clock, usage, applied vector. */
#include "common/engine/replica_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { S_PREFIX_SIZE = 8 }; /* tenant, which the node takes off */

typedef struct {
    topology_t topology;
    engine_env_t env;
    hlc_t hlc;
    replica_t *replica;
} s_node_t;

static void s_open(s_node_t *node)
{
    memset(node, 0, sizeof(*node));
    topology_init_default(&node->topology, 2, 1);
    node->env = (engine_env_t){
        .topology = &node->topology, .self = {PROCESS_NODE, {1}, {0}}, .boot = 1, .seed = 1};
    hlc_init(&node->hlc, 1 << 16);
    replica_node_t shared = {&node->env, &node->hlc};
    node->replica = replica_new(&shared, TENANT_DEFAULT, "default");
}

static void s_close(s_node_t *node)
{
    replica_close(&node->replica);
}

/* One batch of n signals of a region's stream, with a pair. */
typedef struct {
    uint16_t region;
    uint64_t first_seq;
    uint32_t n;
    uint64_t producer_seq;
    hlc_stamp_t hlc;
} s_batch_t;

static void s_apply(s_node_t *node, s_batch_t form)
{
    signal_event_t events[16];
    for (uint32_t i = 0; i < form.n; i++) {
        events[i] = (signal_event_t){.item = {i + 1}, .ts_ns = 1000, .weight = 1.0, .signal = 1};
    }
    buffer_t payload;
    buffer_init(&payload);
    record_append_signals(&payload, events, form.n);
    wal_batch_t batch = {.stream = {TENANT_DEFAULT, 7, {{form.region}, {0}}},
                         .event_count = form.n,
                         .first_seq = form.first_seq,
                         .hlc = form.hlc,
                         .has_producer = true,
                         .producer = slice_text("p"),
                         .producer_seq = form.producer_seq,
                         .payload = buffer_slice(&payload)};
    errbuf_t errbuf;
    (void)replica_require_stream(node->replica, batch.stream, form.region == 1);
    assert_int_equal(replica_apply_batch(node->replica, &batch, &errbuf), ERR_OK);
    buffer_done(&payload);
}

/* What the one node checkpoints becomes the state of the other. */
static void s_carry_over(s_node_t *from, s_node_t *to)
{
    store_batch_t *batch = store_batch_new();
    replica_checkpoint_write(from->replica, batch);
    replica_checkpoint_settle(from->replica, true);
    store_batch_sort(batch);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    errbuf_t errbuf = {{0}};
    while (store_batch_next(batch, &cursor, &operation)) {
        slice_t key =
            slice_make(operation.key.data + S_PREFIX_SIZE, operation.key.size - S_PREFIX_SIZE);
        assert_int_equal(replica_load_entry(to->replica, key, operation.value, &errbuf), ERR_OK);
    }
    store_batch_destroy(&batch);
}

/* Goal: a restart from a checkpoint alone, with no tail to replay and the wall clock set back, gives
 * stamps above all that were logged. */
static void test_replica_checkpoint_clock_never_goes_back(void **state)
{
    (void)state;
    s_node_t before;
    s_node_t after;
    s_open(&before);
    s_open(&after);
    hlc_stamp_t logged = {5000, UINT32_MAX, 2 << 16};
    s_apply(&before, (s_batch_t){2, 1, 3, 1, logged});
    s_carry_over(&before, &after);
    assert_true(hlc_compare(hlc_now(&after.hlc, 10), logged) > 0);
    s_close(&before);
    s_close(&after);
}

/* Goal: usage is exact over a restart, and goes on from there. Method: a pair in two streams, of which
 * the later copy is void; the same batches with and without a restart between them. */
static void test_replica_checkpoint_usage_goes_on(void **state)
{
    (void)state;
    static const s_batch_t s_batches[] = {{1, 1, 3, 1, {10, 0, 1}},
                                          {2, 1, 3, 1, {20, 0, 2}}, /* the same pair */
                                          {2, 4, 5, 2, {30, 0, 2}}};
    s_node_t whole;
    s_node_t before;
    s_node_t after;
    s_open(&whole);
    s_open(&before);
    s_open(&after);
    for (unsigned i = 0; i < 3; i++) {
        s_apply(&whole, s_batches[i]);
    }
    s_apply(&before, s_batches[0]);
    s_apply(&before, s_batches[1]);
    s_carry_over(&before, &after);
    s_apply(&after, s_batches[2]);
    usage_slot_t slots[2][PN_COUNTER_SLOT_COUNT_MAX];
    memset(slots, 0, sizeof(slots));
    assert_int_equal(usage_slots(replica_usage(whole.replica), slots[0]), 2);
    assert_int_equal(usage_slots(replica_usage(after.replica), slots[1]), 2);
    assert_memory_equal(slots[0], slots[1], 2 * sizeof(usage_slot_t));
    assert_int_equal(slots[0][0].signals, 3);
    assert_int_equal(slots[0][0].voided, 0);
    assert_int_equal(slots[0][1].signals, 8);
    assert_int_equal(slots[0][1].voided, 3);
    s_close(&whole);
    s_close(&before);
    s_close(&after);
}

/* Goal: the applied vector comes back as it was, in stream order. */
static void test_replica_checkpoint_vector_comes_back(void **state)
{
    (void)state;
    s_node_t before;
    s_node_t after;
    s_open(&before);
    s_open(&after);
    s_apply(&before, (s_batch_t){2, 1, 4, 1, {10, 0, 1}});
    s_apply(&before, (s_batch_t){1, 1, 2, 2, {10, 0, 1}});
    s_carry_over(&before, &after);
    uint32_t count = 0;
    const stream_position_t *applied = replica_applied(after.replica, &count);
    assert_int_equal(count, 2);
    assert_int_equal(applied[0].stream.origin.region.value, 1);
    assert_int_equal(applied[0].seq, 2);
    assert_int_equal(applied[1].seq, 4);
    s_close(&before);
    s_close(&after);
}

/* Goal: a clock entry of another form is refused. */
static void test_replica_checkpoint_bad_clock_is_refused(void **state)
{
    (void)state;
    static const uint8_t s_value[17] = {0};
    s_node_t node;
    s_open(&node);
    errbuf_t errbuf;
    assert_int_equal(
        replica_load_entry(node.replica, slice_text("C"), slice_make(s_value, 15), &errbuf),
        ERR_CORRUPT);
    assert_int_equal(
        replica_load_entry(node.replica, slice_text("C"), slice_make(s_value, 17), &errbuf),
        ERR_CORRUPT);
    assert_int_equal(
        replica_load_entry(node.replica, slice_text("Cx"), slice_make(s_value, 16), &errbuf),
        ERR_CORRUPT);
    assert_int_equal(
        replica_load_entry(node.replica, slice_text("C"), slice_make(s_value, 16), &errbuf),
        ERR_OK);
    s_close(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replica_checkpoint_clock_never_goes_back),
        cmocka_unit_test(test_replica_checkpoint_usage_goes_on),
        cmocka_unit_test(test_replica_checkpoint_vector_comes_back),
        cmocka_unit_test(test_replica_checkpoint_bad_clock_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
