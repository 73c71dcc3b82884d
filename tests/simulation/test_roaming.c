/* Sessions whose agent roams while the regions are apart: signals on both sides, as island and as
 * leader, a close on one of them. After the heal every region has the same rows. Over ZeroMQ and real
 * files: tests/mesh/test_islands.py. */
#include "tests/simulation/session_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum {
    S_REGIONS = 3,
    S_LEADER = 1,
    S_ROUNDS = 4,
    S_CUT_MS = 1300, /* long enough for everybody to notice */
    S_ROW_COUNT_MAX = S_REGIONS * (S_ROUNDS + 1)
};

static const simulated_form_t s_local = {ACK_LOCAL, NULL, 0};

/* A signal that was acknowledged, in the order of the stamps. */
typedef struct {
    uint64_t item;
    uint32_t session_seq;
    stream_id_t origin;
} s_row_t;

typedef struct {
    simulated_cluster_t *cluster;
    session_id_t id;
    uint32_t cut_count;
    simulated_partition_t *cuts[S_REGIONS];
    uint32_t row_count;
    s_row_t rows[S_ROW_COUNT_MAX];
    uint32_t seqs[S_REGIONS + 1]; /* signals of each origin */
} s_roaming_t;

static node_id_t s_node(uint16_t region)
{
    return (node_id_t){{region}, {0}};
}

static void s_cut(s_roaming_t *self, uint16_t a, uint16_t b)
{
    self->cuts[self->cut_count++] =
        simulated_cluster_inject_partition(self->cluster, (region_id_t){a}, (region_id_t){b});
}

/* A session that all regions know, started where it is led; then the cuts. */
static s_roaming_t s_begin(bool all_apart)
{
    simulated_cluster_options_t options = {.region_count = S_REGIONS, .shard_count = 1, .seed = 41};
    s_roaming_t self = {.cluster = simulated_cluster_new(&options), .id = session_calls_id(1)};
    simulated_cluster_set_island(self.cluster, ISLAND_ACCEPT);
    assert_int_equal(session_calls_home(self.cluster).region.value, S_LEADER);
    simulated_write_t start =
        session_calls_start(self.cluster, &self.id, (simulated_form_t){ACK_REPLICATED, NULL, 0});
    assert_int_equal(start.code, CODE_OK);
    session_calls_converge(self.cluster);
    s_cut(&self, 3, 1);
    s_cut(&self, 3, 2);
    if (all_apart) {
        s_cut(&self, 1, 2);
    }
    simulated_cluster_run_ms(self.cluster, S_CUT_MS);
    return self;
}

/* A signal in a region, which takes it as an island unless it leads. */
static void s_roam(s_roaming_t *self, uint16_t region)
{
    simulated_cluster_run_ms(self->cluster, 2);
    s_row_t *row = &self->rows[self->row_count++];
    row->item = 100 + self->row_count;
    simulated_write_t write =
        session_calls_signal(self->cluster, s_node(region), &self->id, row->item, s_local);
    assert_int_equal(write.code, CODE_OK);
    assert_int_equal(write.island, region != S_LEADER);
    assert_int_equal(write.stream.origin.region.value, region);
    row->session_seq = ++self->seqs[region];
    row->origin = write.stream;
    assert_int_equal(write.session.session_seq, row->session_seq);
}

static void s_heal(s_roaming_t *self)
{
    for (uint32_t i = 0; i < self->cut_count; i++) {
        simulated_partition_destroy(&self->cuts[i]);
    }
    session_calls_converge(self->cluster);
}

/* Every region has every row, each once, in the order of the stamps, and the close. */
static void s_expect_rows(s_roaming_t *self, int64_t closed_ns)
{
    for (uint16_t region = 1; region <= S_REGIONS; region++) {
        process_address_t node = {PROCESS_NODE, {region}, {0}};
        const msg_read_reply_t *reply = session_calls_get(self->cluster, region, &self->id);
        assert_true(reply->as.session.closed && !reply->as.session.auto_closed);
        assert_int_equal(reply->as.session.closed_hlc.wall_ns, closed_ns);
        assert_int_equal(reply->as.session.row_count, self->row_count);
        for (uint32_t i = 0; i < self->row_count; i++) {
            const msg_session_row_t *row = &reply->as.session.rows[i];
            assert_int_equal(row->signal.item.value, self->rows[i].item);
            assert_int_equal(row->session_seq, self->rows[i].session_seq);
            assert_true(stream_id_equal(row->origin, self->rows[i].origin));
        }
        assert_int_equal(
            simulated_cluster_metric(self->cluster, node, "node_session_signals_repeated"), 0);
    }
}

/* The regions of `writers` take signals in turn, one of them closes the session, and the others, which do
 * not know that yet, take one more each. */
static void s_check(bool all_apart, const uint16_t *writers, uint32_t count, uint16_t closer)
{
    s_roaming_t self = s_begin(all_apart);
    for (uint32_t round = 0; round < S_ROUNDS; round++) {
        for (uint32_t i = 0; i < count; i++) {
            s_roam(&self, writers[i]);
        }
    }
    simulated_cluster_run_ms(self.cluster, 2);
    simulated_write_t closed =
        session_calls_close(self.cluster, s_node(closer), &self.id, ACK_LOCAL);
    assert_int_equal(closed.code, CODE_OK);
    assert_int_equal(closed.session.signals, S_ROUNDS); /* those that it knows of */
    for (uint32_t i = 0; i < count; i++) {
        if (writers[i] != closer) {
            s_roam(&self, writers[i]);
        }
    }
    assert_int_equal(session_calls_signal(self.cluster, s_node(closer), &self.id, 1, s_local).code,
                     CODE_BAD_REQUEST);
    s_heal(&self);
    s_expect_rows(&self, closed.hlc.wall_ns);
    simulated_cluster_run_ms(self.cluster, 1000); /* the leader hears all regions again */
    assert_int_equal(
        session_calls_signal(self.cluster, s_node(S_LEADER), &self.id, 1, s_local).code,
        CODE_BAD_REQUEST);
    simulated_write_t again =
        session_calls_close(self.cluster, s_node(S_LEADER), &self.id, ACK_REPLICATED);
    assert_int_equal(again.code, CODE_OK);
    assert_int_equal(again.session.signals, self.row_count);
    s_expect_rows(&self, closed.hlc.wall_ns);
    simulated_cluster_destroy(&self.cluster);
}

/* Goal: signals at the leader and at an island, closed at the island: the leader's late one is kept. */
static void test_roaming_between_leader_and_island_closed_at_the_island(void **state)
{
    (void)state;
    const uint16_t writers[] = {1, 3};
    s_check(false, writers, 2, 3);
}

/* Goal: the same, closed at the leader: the island's late one is kept. */
static void test_roaming_between_leader_and_island_closed_at_the_leader(void **state)
{
    (void)state;
    const uint16_t writers[] = {3, 1};
    s_check(false, writers, 2, 1);
}

/* Goal: signals at two islands, all three regions apart, closed at one of them. */
static void test_roaming_between_two_islands(void **state)
{
    (void)state;
    const uint16_t writers[] = {2, 3};
    s_check(true, writers, 2, 2);
    s_check(true, writers, 2, 3);
}

/* Goal: signals in all three regions, all apart. */
static void test_roaming_between_leader_and_two_islands(void **state)
{
    (void)state;
    const uint16_t writers[] = {3, 1, 2};
    for (uint16_t closer = 1; closer <= 3; closer++) {
        s_check(true, writers, 3, closer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roaming_between_leader_and_island_closed_at_the_island),
        cmocka_unit_test(test_roaming_between_leader_and_island_closed_at_the_leader),
        cmocka_unit_test(test_roaming_between_two_islands),
        cmocka_unit_test(test_roaming_between_leader_and_two_islands),
    };
    return cmocka_run_group_tests_name("roaming", tests, NULL, NULL);
}
