/* The suite `repair`: a replica whose state is not what its logs come to is found by the
 * reconcilers, rebuilt from the logs of its own region, and named. */
#include "common/base/store_batch.h"
#include "common/signal/checkpoint_format.h"
#include "common/wal/wal_files.h"
#include "tests/support/simulated_cluster.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    S_VIEW = 1,
    S_REGIONS = 3,
    S_RECONCILE_MS = 5000,
    S_KEY_OFFSET = 9, /* of a ledger entry: tenant, 'L' */
    S_SUM_OFFSET = 10 /* of the first sum in a cell's value */
};

static simulated_cluster_t *s_cluster(void)
{
    simulated_cluster_options_t options = {
        .region_count = S_REGIONS, .shard_count = 2, .seed = 11, .with_reconcilers = true};
    return simulated_cluster_new(&options);
}

static process_address_t s_process(process_kind_t kind, node_id_t node)
{
    return (process_address_t){kind, node.region, node.shard};
}

static item_id_t s_item_in(const simulated_cluster_t *cluster, shard_id_t shard, uint64_t from)
{
    item_id_t item = {from};
    while (simulated_cluster_shard_of(cluster, item).value != shard.value) {
        item.value++;
    }
    return item;
}

/* Views of as many items of the shard, one each, in one request. Returns the first item. */
static item_id_t s_write(simulated_cluster_t *cluster, shard_id_t shard, uint64_t from, uint32_t n)
{
    signal_event_t *events = calloc(n, sizeof(*events));
    item_id_t item = s_item_in(cluster, shard, from);
    item_id_t first = item;
    for (uint32_t i = 0; i < n; i++) {
        events[i] = (signal_event_t){.item = item,
                                     .ts_ns = simulated_cluster_now_ns(cluster),
                                     .weight = 1.0 + i * 0x1.0p-20,
                                     .signal = S_VIEW};
        item = s_item_in(cluster, shard, item.value + 1);
    }
    simulated_write_t write =
        simulated_cluster_write_to(cluster, simulated_cluster_leader(cluster, shard), events, n,
                                   (simulated_form_t){ACK_REPLICATED, NULL, 0});
    assert_int_equal(write.code, CODE_OK);
    free(events);
    return first;
}

static uint64_t s_checkpoints(simulated_cluster_t *cluster, node_id_t node)
{
    return simulated_cluster_metric(cluster, s_process(PROCESS_NODE, node), "node_checkpoints");
}

/* Until each of the nodes has made one more checkpoint than it had. */
static void s_await_checkpoints(simulated_cluster_t *cluster, const node_id_t *nodes, size_t count)
{
    uint64_t before[S_REGIONS];
    size_t made = 0;
    for (size_t i = 0; i < count; i++) {
        before[i] = s_checkpoints(cluster, nodes[i]);
    }
    for (int s = 0; s < 600 && made < count; s++) {
        simulated_cluster_run_ms(cluster, 1000);
        made = 0;
        for (size_t i = 0; i < count; i++) {
            made += s_checkpoints(cluster, nodes[i]) > before[i] ? 1 : 0;
        }
    }
    assert_int_equal(made, count);
}

static void s_await_checkpoint(simulated_cluster_t *cluster, node_id_t node)
{
    s_await_checkpoints(cluster, &node, 1);
}

/* -- what a store holds ------------------------------------------------------------------------ */

/* One cell's entry of a store. */
typedef struct {
    item_id_t item;
    buffer_t key;
    buffer_t value;
} s_entry_t;

static err_t s_take_entry(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    s_entry_t *entry = context;
    if (key_size == S_KEY_OFFSET + CHECKPOINT_CELL_KEY_SIZE && key[8] == 'L' &&
        key[S_KEY_OFFSET] == CHECKPOINT_KEY_CELL &&
        bytes_get_u64_be(key + S_KEY_OFFSET + 1) == entry->item.value) {
        buffer_append(&entry->key, key, key_size);
        buffer_append(&entry->value, value, value_size);
    }
    return ERR_OK;
}

/* False when the store has no cell of this item. */
static bool s_find_cell(const store_t *store, item_id_t item, s_entry_t *ret_entry)
{
    *ret_entry = (s_entry_t){.item = item};
    assert_int_equal(store->walk(store->context, NULL, 0, s_take_entry, ret_entry, NULL), ERR_OK);
    return ret_entry->key.size > 0;
}

static void s_put(const store_t *store, const s_entry_t *entry)
{
    store_batch_t *batch = store_batch_new();
    store_batch_put(batch, buffer_slice(&entry->key), buffer_slice(&entry->value));
    assert_int_equal(store->submit(store->context, &batch, NULL), ERR_OK);
    assert_int_equal(store->poll(store->context, NULL), ERR_OK);
}

static void s_entry_done(s_entry_t *entry)
{
    buffer_done(&entry->key);
    buffer_done(&entry->value);
}

/* Flips one bit of the decayed sum of an item's cell in the checkpoints of some nodes, which are down
 * together meanwhile. */
static void s_flip_sums(simulated_cluster_t *cluster,
                        const node_id_t *nodes,
                        size_t count,
                        item_id_t item)
{
    simulated_crash_t *crashes[S_REGIONS];
    s_await_checkpoints(cluster, nodes, count);
    for (size_t i = 0; i < count; i++) {
        crashes[i] = simulated_cluster_inject_shard_crash(cluster, nodes[i]);
        store_t store = simulated_cluster_store(cluster, nodes[i]);
        s_entry_t entry;
        assert_true(s_find_cell(&store, item, &entry));
        entry.value.data[S_SUM_OFFSET + 3] ^= 0x10;
        s_put(&store, &entry);
        s_entry_done(&entry);
    }
    for (size_t i = 0; i < count; i++) {
        simulated_crash_destroy(&crashes[i]);
    }
}

static void s_flip_sum(simulated_cluster_t *cluster, node_id_t node, item_id_t item)
{
    s_flip_sums(cluster, &node, 1, item);
}

/* -- what is awaited --------------------------------------------------------------------------- */

/* Until a region's reconciler has this many checks of replicas in its report. */
static const reconcile_report_t *s_await_checks(simulated_cluster_t *cluster,
                                                region_id_t region,
                                                uint32_t count)
{
    const reconcile_report_t *report = simulated_cluster_report(cluster, region);
    for (int ms = 0; report->repair_count < count && ms < 2 * S_RECONCILE_MS; ms++) {
        simulated_cluster_run_ms(cluster, 1);
        report = simulated_cluster_report(cluster, region);
    }
    assert_true(report->repair_count >= count);
    return report;
}

static void s_await_ready(simulated_cluster_t *cluster, node_id_t node)
{
    for (int ms = 0; *simulated_cluster_unready(cluster, node) != '\0'; ms++) {
        assert_true(ms < 10000);
        simulated_cluster_run_ms(cluster, 1);
    }
}

/* Until the first run of a region's reconciler that begins from now on has ended. */
static uint64_t s_await_next_run(simulated_cluster_t *cluster, region_id_t region)
{
    process_address_t reconciler = {PROCESS_RECONCILER, region, {0}};
    uint64_t before = simulated_cluster_metric(cluster, reconciler, "reconciler_runs");
    uint64_t runs = before;
    int64_t ms = 0;
    while (runs == before ||
           (int64_t)simulated_cluster_metric(cluster, reconciler, "reconciler_last_ms") >= ms) {
        before = runs; /* one that was under way */
        assert_true(ms < INT64_C(2) * S_RECONCILE_MS);
        simulated_cluster_run_ms(cluster, 1);
        ms++;
        runs = simulated_cluster_metric(cluster, reconciler, "reconciler_runs");
    }
    return runs;
}

/* The report of the first run that begins after the node is ready, with what the node's region has held
 * against its logs: within the time that the rebuild takes, no other run needed. */
static const reconcile_report_t *s_first_report(simulated_cluster_t *cluster, node_id_t node)
{
    process_address_t reconciler = {PROCESS_RECONCILER, node.region, {0}};
    s_await_ready(cluster, node);
    assert_int_equal(simulated_cluster_report(cluster, node.region)->repair_count, 0);
    uint64_t run = s_await_next_run(cluster, node.region);
    for (int ms = 0; ms < 100 && simulated_cluster_report(cluster, node.region)->repair_count == 0;
         ms++) {
        simulated_cluster_run_ms(cluster, 1);
    }
    assert_int_equal(simulated_cluster_metric(cluster, reconciler, "reconciler_runs"), run);
    assert_int_equal(simulated_cluster_report(cluster, node.region)->repair_count, 1);
    return simulated_cluster_report(cluster, node.region);
}

static void s_assert_equal(simulated_cluster_t *cluster, shard_id_t shard)
{
    uint8_t first[MSG_HASH_SIZE];
    uint8_t other[MSG_HASH_SIZE];
    simulated_cluster_digest(cluster, (node_id_t){{1}, shard}, first);
    for (uint16_t region = 2; region <= 3; region++) {
        simulated_cluster_digest(cluster, (node_id_t){{region}, shard}, other);
        assert_memory_equal(first, other, MSG_HASH_SIZE);
    }
}

/* One flip in one node's checkpoint: found, repaired and named within one cycle; the others check
 * themselves and stay as they are. */
static void s_check_flip(region_id_t region)
{
    simulated_cluster_t *cluster = s_cluster();
    shard_id_t shard = {0};
    node_id_t node = {region, shard};
    item_id_t item = s_write(cluster, shard, 100, 200);
    int64_t at_ns = simulated_cluster_now_ns(cluster);
    double score = simulated_cluster_read_decay_score(cluster, node, item, S_VIEW, at_ns);
    s_flip_sum(cluster, node, item);
    const reconcile_report_t *report = s_first_report(cluster, node);
    const reconcile_repair_t *repair = &report->repairs[0];
    char key[64];
    (void)snprintf(key, sizeof(key), "cell item %" PRIu64 " signal %d", item.value, S_VIEW);
    assert_false(repair->is_failed);
    assert_true(repair->different);
    assert_int_equal(repair->difference_count, 1);
    assert_int_equal(repair->listed_count, 1);
    assert_string_equal(repair->listed[0].key, key);
    assert_int_equal(repair->event_count, 200);
    for (uint16_t other = 1; other <= 3; other++) {
        if (other != region.value) {
            report = s_await_checks(cluster, (region_id_t){other}, 1);
            assert_int_equal(report->repair_count, 1);
            assert_false(report->repairs[0].is_failed);
            assert_false(report->repairs[0].different);
        }
    }
    s_assert_equal(cluster, shard);
    assert_true(simulated_cluster_read_decay_score(cluster, node, item, S_VIEW, at_ns) == score);
    assert_int_equal(
        simulated_cluster_metric(cluster, s_process(PROCESS_NODE, node), "node_states_replaced"),
        1);
    simulated_cluster_run_ms(cluster, INT64_C(2) * S_RECONCILE_MS);
    report = simulated_cluster_report(cluster, region);
    assert_int_equal(report->found_counts[RECONCILE_FOUND_DIVERGED], 0);
    assert_int_equal(report->repair_count, 1);
    simulated_cluster_destroy(&cluster);
}

static void test_repair_flip_in_a_followers_checkpoint_is_found_and_repaired(void **state)
{
    (void)state;
    s_check_flip((region_id_t){2});
}

/* Two right followers against a wrong leader, and not the other way round. */
static void test_repair_flip_in_the_leaders_checkpoint_is_found_and_repaired(void **state)
{
    (void)state;
    s_check_flip((region_id_t){1});
}

/* The same bit flips in the checkpoints of all regions but one. */
static void s_check_flips_but_in(uint16_t right)
{
    simulated_cluster_t *cluster = s_cluster();
    shard_id_t shard = {0};
    node_id_t wrong[S_REGIONS];
    size_t wrong_count = 0;
    for (uint16_t region = 1; region <= S_REGIONS; region++) {
        wrong[wrong_count] = (node_id_t){{region}, shard};
        wrong_count += region != right ? 1 : 0;
    }
    uint8_t before[MSG_HASH_SIZE];
    uint8_t after[MSG_HASH_SIZE];
    item_id_t item = s_write(cluster, shard, 100, 200);
    s_flip_sums(cluster, wrong, wrong_count, item);
    simulated_cluster_digest(cluster, (node_id_t){{right}, shard}, before);
    for (uint16_t region = 1; region <= S_REGIONS; region++) {
        const reconcile_report_t *report = s_await_checks(cluster, (region_id_t){region}, 1);
        assert_false(report->repairs[0].is_failed);
        assert_int_equal(report->repairs[0].different, region != right);
        assert_int_equal(report->repairs[0].difference_count, region != right ? 1 : 0);
    }
    s_assert_equal(cluster, shard);
    simulated_cluster_digest(cluster, (node_id_t){{right}, shard}, after);
    assert_memory_equal(before, after, sizeof(before));
    simulated_cluster_run_ms(cluster, INT64_C(2) * S_RECONCILE_MS);
    const reconcile_report_t *report = simulated_cluster_report(cluster, (region_id_t){right});
    assert_int_equal(report->found_counts[RECONCILE_FOUND_DIVERGED], 0);
    simulated_cluster_destroy(&cluster);
}

/* Goal: two replicas that are wrong in the same way are the majority, and still it is the logs that
 * decide: both are repaired, and the right one stays as it is, whichever it is. */
static void test_repair_two_wrong_replicas_do_not_overwrite_the_right_one(void **state)
{
    (void)state;
    for (uint16_t right = 1; right <= S_REGIONS; right++) {
        s_check_flips_but_in(right);
    }
}

/* What a repaired replica writes next replaces all that its store had: an entry that the logs do
 * not know is gone, and a restart from that checkpoint has nothing to repair. */
static void test_repair_reaches_the_checkpoint(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    shard_id_t shard = {1};
    node_id_t node = {{3}, shard};
    item_id_t item = s_write(cluster, shard, 100, 20);
    item_id_t ghost = s_item_in(cluster, shard, 100000);
    s_await_checkpoint(cluster, node);
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, node);
    store_t store = simulated_cluster_store(cluster, node);
    s_entry_t entry;
    assert_true(s_find_cell(&store, item, &entry));
    bytes_put_u64_be(entry.key.data + S_KEY_OFFSET + 1, ghost.value);
    s_put(&store, &entry);
    s_entry_done(&entry);
    simulated_crash_destroy(&crash);
    const reconcile_report_t *report = s_await_checks(cluster, node.region, 1);
    assert_true(report->repairs[0].different);
    assert_string_equal(report->repairs[0].listed[0].expected, "none");
    s_await_checkpoint(cluster, node);
    crash = simulated_cluster_inject_shard_crash(cluster, node);
    assert_false(s_find_cell(&store, ghost, &entry));
    s_entry_done(&entry);
    assert_true(s_find_cell(&store, item, &entry));
    s_entry_done(&entry);
    simulated_crash_destroy(&crash);
    simulated_cluster_run_ms(cluster, INT64_C(3) * S_RECONCILE_MS);
    s_assert_equal(cluster, shard);
    assert_int_equal(simulated_cluster_report(cluster, node.region)->repair_count, 1);
    simulated_cluster_destroy(&cluster);
}

/* A history of several pieces, and writes that go on while it is replayed: the rebuilt state is
 * compared at the vector that the live one has then, and nothing written meanwhile is lost. */
static void test_repair_goes_on_while_writes_go_on(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    shard_id_t shard = {0};
    node_id_t node = {{2}, shard};
    enum { S_REQUESTS = 60, S_REQUEST_SIZE = 2000 };
    assert_true(S_REQUESTS * S_REQUEST_SIZE > 3 * REBUILD_EVENT_COUNT_MAX);
    item_id_t item = s_write(cluster, shard, 100, S_REQUEST_SIZE);
    for (int i = 1; i < S_REQUESTS; i++) {
        (void)s_write(cluster, shard, 100, S_REQUEST_SIZE);
    }
    s_flip_sum(cluster, node, item);
    node_id_t leader = simulated_cluster_leader(cluster, shard);
    uint64_t posted = 0;
    const reconcile_report_t *report = simulated_cluster_report(cluster, node.region);
    for (int ms = 0; report->repair_count == 0 && ms < 4 * S_RECONCILE_MS; ms++) {
        signal_event_t event = {.item = item,
                                .ts_ns = simulated_cluster_now_ns(cluster),
                                .weight = 1.5,
                                .signal = S_VIEW};
        if (ms % 50 == 0) {
            simulated_cluster_post(cluster, leader, &event, 1, ACK_LOCAL);
            posted++;
        }
        simulated_cluster_run_ms(cluster, 1);
        report = simulated_cluster_report(cluster, node.region);
    }
    assert_true(report->repair_count > 0 && report->repairs[0].different);
    assert_true(posted > 0);
    simulated_cluster_run_ms(cluster, 1000);
    assert_int_equal(simulated_cluster_applied_seqno(cluster, node),
                     UINT64_C(1) * S_REQUESTS * S_REQUEST_SIZE + posted);
    s_assert_equal(cluster, shard);
    simulated_cluster_destroy(&cluster);
}

static void s_on_stream(void *context, const char *name, uint64_t size_bytes)
{
    char *found = context;
    if (strncmp(name, "us-east-", 8) == 0 && size_bytes == UINT64_MAX && *found == '\0') {
        (void)snprintf(found, 128, "%s", name);
    }
}

/* Goal: a rebuild that meets damage in a stream of its own region which the node has given up, so that
 * it is the receiver's file, gets it mended and comes to its end. Method: the leader's files are lost and
 * fetched back; then one bit of them flips, and one of the checkpoint, so that they are read again. */
static void test_repair_mends_the_file_of_a_stream_that_was_given_up(void **state)
{
    (void)state;
    simulated_cluster_t *cluster = s_cluster();
    shard_id_t shard = {0};
    node_id_t node = {{1}, shard};
    static const char s_folder[] = "data/us-east/shard-0/tenants/default-1";
    item_id_t item = s_write(cluster, shard, 100, 200);
    sim_disk_t *disk = simulated_cluster_disk(cluster, node.region);
    const disk_t *seam = sim_disk_disk(disk);
    char stream[128] = "";
    char folder[256];
    wal_path_t path;
    assert_int_equal(seam->list(seam->context, s_folder, s_on_stream, stream, NULL), ERR_OK);
    assert_true(stream[0] != '\0');
    simulated_cluster_run_ms(cluster, 1000);
    simulated_crash_t *crash = simulated_cluster_inject_shard_crash(cluster, node);
    simulated_cluster_wipe_node(cluster, node);
    simulated_crash_destroy(&crash);
    for (int i = 0; i < 3000 && *simulated_cluster_unready(cluster, node) != '\0'; i++) {
        simulated_cluster_run_ms(cluster, 10);
    }
    assert_string_equal(simulated_cluster_unready(cluster, node), "");
    s_assert_equal(cluster, shard);
    s_flip_sum(cluster, node, item);
    (void)snprintf(folder, sizeof(folder), "%s/%s", s_folder, stream);
    assert_int_equal(wal_files_segment_path(folder, 1, &path, NULL), ERR_OK);
    assert_int_equal(sim_disk_flip_bit(disk, path.text, UINT64_C(8) * 2000), ERR_OK);
    process_address_t process = s_process(PROCESS_NODE, node);
    for (int i = 0;
         i < 12 && simulated_cluster_metric(cluster, process, "node_states_replaced") == 0; i++) {
        simulated_cluster_run_ms(cluster, S_RECONCILE_MS);
    }
    assert_int_equal(simulated_cluster_metric(cluster, process, "node_states_replaced"), 1);
    s_assert_equal(cluster, shard);
    simulated_cluster_destroy(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repair_flip_in_a_followers_checkpoint_is_found_and_repaired),
        cmocka_unit_test(test_repair_flip_in_the_leaders_checkpoint_is_found_and_repaired),
        cmocka_unit_test(test_repair_two_wrong_replicas_do_not_overwrite_the_right_one),
        cmocka_unit_test(test_repair_reaches_the_checkpoint),
        cmocka_unit_test(test_repair_goes_on_while_writes_go_on),
        cmocka_unit_test(test_repair_mends_the_file_of_a_stream_that_was_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
