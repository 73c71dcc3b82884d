/* The stable floor: what may be forgotten, and what a late second copy still needs. */
#include "common/base/prng.h"
#include "common/cluster/stable_floor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { S_REGION_COUNT = 3, S_SHARD_COUNT = 2, S_SILENT_NS = 1000, S_STREAM_COUNT = 3 };
enum { S_POSITION_COUNT_MAX = 16 };

/* What one node has applied of the streams of regions 1..3 (0: it does not name the stream). */
typedef struct {
    uint16_t region;
    uint64_t boot;
    bool is_unready;
    uint64_t seqs[S_STREAM_COUNT];
} s_beat_t;

typedef struct {
    topology_t topology;
    table_t *table;
    mesh_view_t *view;
    stable_floor_t *floor;
    uint64_t publish_seq;
    uint32_t count;
    stream_position_t stable[S_POSITION_COUNT_MAX];
} s_mesh_t;

static void s_open(s_mesh_t *mesh)
{
    memset(mesh, 0, sizeof(*mesh));
    topology_init_default(&mesh->topology, S_REGION_COUNT, S_SHARD_COUNT);
    mesh->table = table_new_default(&mesh->topology);
    mesh->view = mesh_view_new(&mesh->topology, S_SILENT_NS);
    mesh->floor = stable_floor_new();
}

static void s_close(s_mesh_t *mesh)
{
    stable_floor_destroy(&mesh->floor);
    stable_floor_destroy(&mesh->floor);
    mesh_view_destroy(&mesh->view);
    table_destroy(&mesh->table);
}

static stream_id_t s_stream(uint16_t shard, uint16_t region)
{
    return (stream_id_t){.tenant = TENANT_DEFAULT, .incarnation = 7, .origin = {{region}, {shard}}};
}

static void s_beat_of(s_mesh_t *mesh, uint16_t shard, s_beat_t beat)
{
    stream_position_t applied[S_STREAM_COUNT];
    uint32_t count = 0;
    for (uint16_t i = 0; i < S_STREAM_COUNT; i++) {
        if (beat.seqs[i] > 0) {
            applied[count++] =
                (stream_position_t){s_stream(shard, (uint16_t)(i + 1)), beat.seqs[i]};
        }
    }
    msg_node_state_t node = {.tenant = TENANT_DEFAULT, .applied_count = count, .applied = applied};
    msg_heartbeat_t heartbeat = {.from = {PROCESS_NODE, {beat.region}, {shard}},
                                 .boot = beat.boot + 1,
                                 .publish_seq = ++mesh->publish_seq,
                                 .ready = !beat.is_unready,
                                 .state_count = 1,
                                 .states = &node};
    assert_int_equal(mesh_view_heartbeat(mesh->view, &heartbeat, 0), ERR_OK);
}

/* A heartbeat of a node of shard 0. */
static void s_beat(s_mesh_t *mesh, s_beat_t beat)
{
    s_beat_of(mesh, 0, beat);
}

static void s_review(s_mesh_t *mesh)
{
    mesh->count = stable_floor_review(mesh->floor, mesh->view, mesh->table, mesh->stable,
                                      S_POSITION_COUNT_MAX);
}

/* What is stable of the stream of a region; shard 0. */
static uint64_t s_stable(const s_mesh_t *mesh, uint16_t region)
{
    for (uint32_t i = 0; i < mesh->count; i++) {
        if (stream_id_equal(mesh->stable[i].stream, s_stream(0, region))) {
            return mesh->stable[i].seq;
        }
    }
    return 0;
}

/* Goal: when all have applied the same, all of it is stable at once. */
static void test_stable_floor_equal_replicas_are_stable(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    for (uint16_t region = 1; region <= 3; region++) {
        s_beat(&mesh, (s_beat_t){.region = region, .seqs = {10, 5, 0}});
    }
    s_review(&mesh);
    assert_int_equal(mesh.count, 2);
    assert_int_equal(s_stable(&mesh, 1), 10);
    assert_int_equal(s_stable(&mesh, 2), 5);
    s_close(&mesh);
}

/* Goal: the execution that needs the second half. Region 1 led and logged a pair at 1:5; region 2
 * took over without it and logged the pair again at 2:9; then 1:5 reached everybody while 2:9 had
 * not reached region 3. 1:5 is not stable until 2:9 is applied everywhere. */
static void test_stable_floor_second_copy_on_its_way_holds_the_first(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_beat(&mesh, (s_beat_t){.region = 1, .seqs = {5, 9, 0}});
    s_beat(&mesh, (s_beat_t){.region = 2, .seqs = {5, 9, 0}});
    s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {5, 8, 0}});
    for (unsigned i = 0; i < 5; i++) {
        s_review(&mesh);
        assert_int_equal(s_stable(&mesh, 1), 0);
    }
    s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {5, 9, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 5);
    assert_int_equal(s_stable(&mesh, 2), 9);
    s_close(&mesh);
}

/* Goal: the same when the other node shows its later position only after the candidate began, and
 * its restart in between makes it tell again: at first it was not ready, with 2:9 in its files. */
static void test_stable_floor_unready_node_does_not_tell(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_beat(&mesh, (s_beat_t){.region = 1, .seqs = {5, 0, 0}});
    s_beat(&mesh, (s_beat_t){.region = 2, .is_unready = true, .seqs = {5, 0, 0}});
    s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {5, 0, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 0);
    s_beat(&mesh, (s_beat_t){.region = 2, .seqs = {5, 9, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 0);
    s_beat(&mesh, (s_beat_t){.region = 1, .seqs = {5, 9, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 0);
    s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {5, 9, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 5);
    s_close(&mesh);
}

/* Goal: a node that told and started again tells again. Method: it told 2:0; in its next life it
 * names 2:9, found in its files; only the newer word counts. */
static void test_stable_floor_restarted_node_tells_again(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_beat(&mesh, (s_beat_t){.region = 1, .seqs = {5, 0, 0}});
    s_beat(&mesh, (s_beat_t){.region = 2, .seqs = {5, 0, 0}});
    s_beat(&mesh, (s_beat_t){.region = 3, .is_unready = true, .seqs = {5, 0, 0}});
    s_review(&mesh);
    s_beat(&mesh, (s_beat_t){.region = 2, .boot = 1, .is_unready = true, .seqs = {5, 0, 0}});
    s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {5, 0, 0}});
    s_review(&mesh);
    assert_int_equal(mesh.count, 0);
    s_beat(&mesh, (s_beat_t){.region = 2, .boot = 1, .seqs = {5, 9, 0}});
    s_review(&mesh);
    assert_int_equal(mesh.count, 0);
    for (uint16_t region = 1; region <= 3; region += 2) {
        s_beat(&mesh, (s_beat_t){.region = region, .seqs = {5, 9, 0}});
    }
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 5);
    s_close(&mesh);
}

/* Goal: while writes go on, the floor follows. Method: the leader's stream grows in every round and
 * the others trail by a round; what was the floor two rounds ago is stable. */
static void test_stable_floor_follows_under_load(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    for (uint64_t round = 2; round < 50; round++) {
        s_beat(&mesh, (s_beat_t){.region = 1, .seqs = {round * 10, 0, 0}});
        s_beat(&mesh, (s_beat_t){.region = 2, .seqs = {(round - 1) * 10, 0, 0}});
        s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {(round - 1) * 10, 0, 0}});
        s_review(&mesh);
        assert_true(round < 6 || s_stable(&mesh, 1) >= (round - 3) * 10);
        assert_true(s_stable(&mesh, 1) <= (round - 1) * 10);
    }
    s_close(&mesh);
}

/* Goal: a placed node that was never heard holds everything up. */
static void test_stable_floor_unheard_node_holds_everything(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_beat(&mesh, (s_beat_t){.region = 1, .seqs = {10, 0, 0}});
    s_beat(&mesh, (s_beat_t){.region = 2, .seqs = {10, 0, 0}});
    s_review(&mesh);
    assert_int_equal(mesh.count, 0);
    s_close(&mesh);
}

/* Goal: what is stable stays so when a node comes back with less, as after a lost disk; and grows
 * no further until that node has caught up. */
static void test_stable_floor_never_goes_back(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    for (uint16_t region = 1; region <= 3; region++) {
        s_beat(&mesh, (s_beat_t){.region = region, .seqs = {10, 0, 0}});
    }
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 10);
    s_beat(&mesh, (s_beat_t){.region = 3, .boot = 1, .seqs = {0, 0, 0}});
    s_beat(&mesh, (s_beat_t){.region = 1, .seqs = {20, 0, 0}});
    s_beat(&mesh, (s_beat_t){.region = 2, .seqs = {20, 0, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 10);
    s_beat(&mesh, (s_beat_t){.region = 3, .boot = 1, .seqs = {20, 0, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 20);
    s_close(&mesh);
}

/* Goal: a silent node still holds what it said, and a control plane that starts again begins with
 * nothing and finds the same. */
static void test_stable_floor_restarted_control_begins_with_nothing(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    for (uint16_t region = 1; region <= 3; region++) {
        s_beat(&mesh, (s_beat_t){.region = region, .seqs = {10, 0, 0}});
    }
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 10);
    stable_floor_destroy(&mesh.floor);
    mesh.floor = stable_floor_new();
    mesh_view_destroy(&mesh.view);
    mesh.view = mesh_view_new(&mesh.topology, S_SILENT_NS);
    s_review(&mesh);
    assert_int_equal(mesh.count, 0);
    for (uint16_t region = 1; region <= 3; region++) {
        s_beat(&mesh, (s_beat_t){.region = region, .seqs = {10, 0, 0}});
    }
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 10);
    s_close(&mesh);
}

/* The next table, with shard 0 placed in these regions. */
static void s_place(s_mesh_t *mesh, uint32_t bits)
{
    table_t *next = table_next(mesh->table);
    table_record_t record = *table_find_record(next, TENANT_DEFAULT, (shard_id_t){0});
    record.placed = (region_set_t){bits};
    record.in_sync = record.placed;
    record.leader = (region_id_t){2};
    errbuf_t errbuf;
    assert_int_equal(table_set_record(next, TENANT_DEFAULT, (shard_id_t){0}, &record, &errbuf),
                     ERR_OK);
    table_destroy(&mesh->table);
    mesh->table = next;
}

/* Goal: only placed nodes count, and a newly placed one holds everything up from then on. Method:
 * two regions hold a candidate back by 2:9; a third joins, and the two agree: it must have it all as
 * well. */
static void test_stable_floor_new_placement_begins_anew(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    s_place(&mesh, 1U << 2 | 1U << 3);
    s_beat(&mesh, (s_beat_t){.region = 2, .seqs = {4, 0, 0}});
    s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {4, 0, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 4);
    s_beat(&mesh, (s_beat_t){.region = 2, .seqs = {5, 9, 0}});
    s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {5, 8, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 4);
    s_place(&mesh, 1U << 1 | 1U << 2 | 1U << 3);
    s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {5, 9, 0}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 4);
    s_beat(&mesh, (s_beat_t){.region = 1, .seqs = {5, 9, 2}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 4); /* 3:2 is not everywhere */
    s_beat(&mesh, (s_beat_t){.region = 2, .seqs = {5, 9, 2}});
    s_beat(&mesh, (s_beat_t){.region = 3, .seqs = {5, 9, 2}});
    s_review(&mesh);
    assert_int_equal(s_stable(&mesh, 1), 5);
    assert_int_equal(s_stable(&mesh, 2), 9);
    s_close(&mesh);
}

/* Goal: streams of all shards, in stream order, and no more than there is room for. */
static void test_stable_floor_is_ordered_and_bounded(void **state)
{
    (void)state;
    s_mesh_t mesh;
    s_open(&mesh);
    for (uint16_t region = S_REGION_COUNT; region >= 1; region--) {
        s_beat_of(&mesh, 1, (s_beat_t){.region = region, .seqs = {30, 40, 0}});
        s_beat_of(&mesh, 0, (s_beat_t){.region = region, .seqs = {10, 20, 0}});
    }
    s_review(&mesh);
    assert_int_equal(mesh.count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(mesh.stable[i].seq, 10 * (i + 1));
        assert_true(i == 0 ||
                    stream_id_compare(mesh.stable[i - 1].stream, mesh.stable[i].stream) < 0);
    }
    assert_int_equal(stable_floor_review(mesh.floor, mesh.view, mesh.table, mesh.stable, 3), 3);
    assert_int_equal(stable_floor_review(mesh.floor, mesh.view, mesh.table, mesh.stable, 0), 0);
    s_close(&mesh);
}

/* -- random executions -------------------------------------------------------------------------- */

enum { S_EVENT_COUNT_MAX = 400, S_PAIR_COUNT = 12 };

typedef struct {
    unsigned pairs[3][S_EVENT_COUNT_MAX]; /* of event seq - 1 of each stream */
    uint64_t logged[3];
    uint64_t applied[3][3];     /* by node, by stream */
    bool seen[3][S_PAIR_COUNT]; /* by node */
    bool is_unready[3];
    uint64_t boots[3];
} s_world_t;

static void s_world_log(s_world_t *world, unsigned node, unsigned pair)
{
    if (world->is_unready[node] || world->seen[node][pair] ||
        world->logged[node] == S_EVENT_COUNT_MAX) {
        return;
    }
    world->pairs[node][world->logged[node]++] = pair;
    world->applied[node][node] = world->logged[node];
    world->seen[node][pair] = true;
}

static void s_world_deliver(s_world_t *world, unsigned node, unsigned stream)
{
    if (world->applied[node][stream] < world->logged[stream]) {
        world->seen[node][world->pairs[stream][world->applied[node][stream]++]] = true;
    }
}

static uint64_t s_world_floor(const s_world_t *world, unsigned stream)
{
    uint64_t floor = UINT64_MAX;
    for (unsigned node = 0; node < 3; node++) {
        uint64_t applied = world->applied[node][stream];
        floor = applied < floor ? applied : floor;
    }
    return floor;
}

/* Whether a stream holds a copy of the pair that some node has yet to apply. */
static bool s_world_has_late_copy(const s_world_t *world, unsigned stream, unsigned pair)
{
    for (uint64_t at = s_world_floor(world, stream); at < world->logged[stream]; at++) {
        if (world->pairs[stream][at] == pair) {
            return true;
        }
    }
    return false;
}

/* Whether any event that is stable has a late copy. */
static bool s_world_is_unsafe(const s_world_t *world, const s_mesh_t *mesh)
{
    bool is_unsafe = false;
    for (unsigned stream = 0; stream < 3; stream++) {
        uint64_t stable = s_stable(mesh, (uint16_t)(stream + 1));
        for (uint64_t seq = 1; seq <= stable; seq++) {
            unsigned pair = world->pairs[stream][seq - 1];
            is_unsafe = is_unsafe || s_world_has_late_copy(world, 0, pair) ||
                        s_world_has_late_copy(world, 1, pair) ||
                        s_world_has_late_copy(world, 2, pair);
        }
    }
    return is_unsafe;
}

static void s_world_beat(s_world_t *world, s_mesh_t *mesh, unsigned node)
{
    s_beat_t beat = {.region = (uint16_t)(node + 1),
                     .boot = world->boots[node],
                     .is_unready = world->is_unready[node]};
    memcpy(beat.seqs, world->applied[node], sizeof(beat.seqs));
    if (world->is_unready[node] && beat.seqs[node] > 0) {
        beat.seqs[node]--; /* in its file, not replayed yet */
    }
    s_beat(mesh, beat);
}

static void s_world_step(s_world_t *world, s_mesh_t *mesh, prng_t *prng, unsigned pair_floor)
{
    unsigned node = (unsigned)prng_below(prng, 3);
    switch (prng_below(prng, 8)) {
    case 0:
    case 1:
        s_world_log(world, node, pair_floor + (unsigned)prng_below(prng, 4));
        break;
    case 2:
        s_world_beat(world, mesh, node);
        break;
    case 3:
        s_review(mesh);
        break;
    case 4:
        world->is_unready[node] = prng_chance(prng, 0.2);
        world->boots[node] += world->is_unready[node] ? 1 : 0;
        break;
    default:
        s_world_deliver(world, node, (unsigned)prng_below(prng, 3));
        break;
    }
}

/* Whether anything was stable at the end. */
static bool s_world_run(uint64_t seed)
{
    enum { S_STEP_COUNT = 400, S_PAIR_STEPS = 50 };
    s_mesh_t mesh;
    s_world_t world = {0};
    prng_t prng;
    prng_init(&prng, seed);
    s_open(&mesh);
    bool is_unsafe = false;
    for (unsigned i = 0; i < S_STEP_COUNT && !is_unsafe; i++) {
        s_world_step(&world, &mesh, &prng, i / S_PAIR_STEPS);
        is_unsafe = s_world_is_unsafe(&world, &mesh);
    }
    if (is_unsafe) {
        fail_msg("a stable pair has a late copy: seed %llu", (unsigned long long)seed);
    }
    bool any_is_stable = mesh.count > 0;
    s_close(&mesh);
    return any_is_stable;
}

/* Goal: the rule itself, against random executions. Three nodes originate pairs unless they have
 * applied a copy of the pair, deliver to each other in any order, restart into an unready phase, and
 * the control plane hears old heartbeats. Whenever a batch is stable, no later batch anywhere holds a
 * copy of its pair but those that are applied everywhere. Method: batches are single events; each
 * carries one of few pairs; a seeded walk. */
static void test_stable_floor_random_executions_leave_no_late_copy(void **state)
{
    (void)state;
    unsigned stable_runs = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        stable_runs += s_world_run(seed) ? 1 : 0;
    }
    assert_true(stable_runs > 100); /* else nothing was shown */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stable_floor_equal_replicas_are_stable),
        cmocka_unit_test(test_stable_floor_second_copy_on_its_way_holds_the_first),
        cmocka_unit_test(test_stable_floor_unready_node_does_not_tell),
        cmocka_unit_test(test_stable_floor_restarted_node_tells_again),
        cmocka_unit_test(test_stable_floor_follows_under_load),
        cmocka_unit_test(test_stable_floor_unheard_node_holds_everything),
        cmocka_unit_test(test_stable_floor_never_goes_back),
        cmocka_unit_test(test_stable_floor_restarted_control_begins_with_nothing),
        cmocka_unit_test(test_stable_floor_new_placement_begins_anew),
        cmocka_unit_test(test_stable_floor_is_ordered_and_bounded),
        cmocka_unit_test(test_stable_floor_random_executions_leave_no_late_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
