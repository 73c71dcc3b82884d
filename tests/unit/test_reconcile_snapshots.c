/* The files of a reconciler that fetches a snapshot: what the node finds under which name, and when. The
 * test plays the donor. */
#include "common/base/check.h"
#include "common/cluster/reconcile_snapshots.h"
#include "common/engine/base_file.h"
#include "tests/support/sim_disk.h"
#include "tests/unit/reconcile_support.h"

#include <blake3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S_BASE "data/us-east/shard-0/tenants/default-1/state.base"

enum { S_FILE_SIZE = SNAPSHOT_PIECE_SIZE_MAX + 1000 };

typedef struct {
    reconcile_model_t *model;
    sim_disk_t *disk;
    msg_codec_t *codec;
    net_t net;
    engine_env_t env;
    reconcile_snapshots_t *snapshots;
    now_t now;
    uint8_t *file; /* of the donor */
    uint32_t ask_count;
    uint32_t task_count;
    msg_snapshot_ask_t ask; /* the last one */
} s_bench_t;

static err_t s_net_send(void *context, process_address_t to, const uint8_t *bytes, size_t size)
{
    s_bench_t *bench = context;
    msg_t msg;
    errbuf_t errbuf;
    (void)to;
    assert_int_equal(msg_decode(bench->codec, slice_make(bytes, size), &msg, &errbuf), ERR_OK);
    if (msg.type == MSG_BASE_TASK) {
        bench->task_count++;
    } else {
        assert_int_equal(msg.type, MSG_SNAPSHOT_ASK);
        bench->ask_count++;
        bench->ask = msg.as.snapshot_ask;
    }
    return ERR_OK;
}

static void s_start(s_bench_t *bench)
{
    reconcile_snapshots_destroy(&bench->snapshots);
    bench->snapshots = reconcile_snapshots_new(&bench->env, 1000);
}

static s_bench_t *s_open(void)
{
    s_bench_t *bench = calloc(1, sizeof(*bench));
    CHECK(bench != NULL);
    bench->model = reconcile_model_new(2, 1);
    bench->disk = sim_disk_new(1);
    bench->codec = msg_codec_new();
    bench->net = (net_t){.context = bench, .send = s_net_send};
    bench->env = (engine_env_t){.topology = &bench->model->topology,
                                .self = {PROCESS_RECONCILER, {1}, {0}},
                                .boot = 9,
                                .disk = sim_disk_disk(bench->disk),
                                .net = &bench->net,
                                .data_folder = "data"};
    bench->now = (now_t){.mono_ns = 1, .wall_ns = INT64_C(1714564800000000000)};
    bench->file = calloc(1, S_FILE_SIZE);
    CHECK(bench->file != NULL);
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, bench->file, S_FILE_SIZE - MSG_HASH_SIZE);
    blake3_hasher_finalize(&hasher, bench->file + S_FILE_SIZE - MSG_HASH_SIZE, MSG_HASH_SIZE);
    s_start(bench);
    return bench;
}

static void s_close(s_bench_t *bench)
{
    reconcile_snapshots_destroy(&bench->snapshots);
    reconcile_model_destroy(&bench->model);
    sim_disk_destroy(&bench->disk);
    msg_codec_destroy(&bench->codec);
    free(bench->file);
    free(bench);
}

/* A run, in which region 2 has a base and no log that reaches. */
static void s_run(s_bench_t *bench)
{
    stream_id_t stream = {{1}, 1, {{2}, {0}}};
    msg_log_range_t range = {stream, 50, 100};
    msg_reconcile_row_t own = {.node = {{1}, {0}}, .tenant = {1}, .looked = true};
    msg_reconcile_row_t peer = {.node = {{2}, {0}},
                                .tenant = {1},
                                .looked = true,
                                .has_base = true,
                                .range_count = 1,
                                .ranges = &range};
    const msg_reconcile_row_t *peers[] = {&peer};
    reconcile_snapshots_run(bench->snapshots, bench->model->table, &own, peers, 1, bench->now);
}

/* The donor answers the last question. */
static void s_answer(s_bench_t *bench)
{
    uint64_t left = S_FILE_SIZE - bench->ask.offset;
    size_t size = left < SNAPSHOT_PIECE_SIZE_MAX ? (size_t)left : SNAPSHOT_PIECE_SIZE_MAX;
    msg_snapshot_piece_t piece = {.from = {PROCESS_RECONCILER, {2}, {0}},
                                  .request_id = bench->ask.request_id,
                                  .tenant = {1},
                                  .size_bytes = S_FILE_SIZE,
                                  .offset = bench->ask.offset,
                                  .bytes = slice_make(bench->file + bench->ask.offset, size)};
    memcpy(piece.hash, bench->file + S_FILE_SIZE - MSG_HASH_SIZE, MSG_HASH_SIZE);
    reconcile_snapshots_piece(bench->snapshots, &piece, bench->now);
}

static bool s_is_there(s_bench_t *bench, const char *path)
{
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    return sim_disk_peek(bench->disk, path, &bytes, &size) == ERR_OK;
}

static void s_assert_whole(s_bench_t *bench, const char *path)
{
    const uint8_t *bytes = NULL;
    uint64_t size = 0;
    assert_int_equal(sim_disk_peek(bench->disk, path, &bytes, &size), ERR_OK);
    assert_int_equal(size, S_FILE_SIZE);
    assert_memory_equal(bytes, bench->file, S_FILE_SIZE);
}

/* Under the name that the node reads there is a whole file or none, over power cuts too. */
static void test_snapshot_file_is_handed_over_whole(void **state)
{
    (void)state;
    s_bench_t *bench = s_open();
    s_run(bench);
    s_run(bench);
    assert_int_equal(bench->ask_count, 1);
    s_answer(bench);
    assert_int_equal(bench->ask_count, 2);
    assert_int_equal(bench->ask.offset, SNAPSHOT_PIECE_SIZE_MAX);
    assert_true(s_is_there(bench, S_BASE ".fetching"));
    assert_false(s_is_there(bench, S_BASE ".fetched"));
    s_answer(bench);
    assert_int_equal(bench->task_count, 1);
    assert_false(s_is_there(bench, S_BASE ".fetching"));
    s_assert_whole(bench, S_BASE ".fetched");
    sim_disk_crash(bench->disk, 5);
    s_assert_whole(bench, S_BASE ".fetched");
    s_close(bench);
}

/* A reconciler that starts again while the node loads writes to no file that the node has taken. */
static void test_snapshot_file_that_is_loaded_is_left_alone_by_a_restart(void **state)
{
    (void)state;
    s_bench_t *bench = s_open();
    const disk_t *disk = sim_disk_disk(bench->disk);
    s_run(bench);
    s_run(bench);
    s_answer(bench);
    s_answer(bench);
    disk_file_t *file = NULL; /* the node's, as it reads */
    assert_int_equal(disk->open(disk->context, S_BASE ".fetched", DISK_READ, &file, NULL), ERR_OK);
    s_start(bench);
    s_run(bench);
    s_run(bench);
    s_answer(bench);
    uint64_t size = 0;
    assert_int_equal(disk->size(disk->context, file, &size, NULL), ERR_OK);
    assert_int_equal(size, S_FILE_SIZE);
    disk->close(disk->context, &file);
    s_close(bench);
}

/* What an earlier life left, whole or not, goes with the first look at its row, needed or not. */
static void test_snapshot_files_of_an_earlier_life_are_removed(void **state)
{
    (void)state;
    s_bench_t *bench = s_open();
    sim_disk_put(bench->disk, S_BASE ".fetching", "abc", 3);
    sim_disk_put(bench->disk, S_BASE ".fetched", "abc", 3);
    sim_disk_put(bench->disk, S_BASE, "abc", 3);
    msg_reconcile_row_t own = {.node = {{1}, {0}}, .tenant = {1}, .looked = true};
    reconcile_snapshots_run(bench->snapshots, bench->model->table, &own, NULL, 0, bench->now);
    assert_false(s_is_there(bench, S_BASE ".fetching"));
    assert_false(s_is_there(bench, S_BASE ".fetched"));
    assert_true(s_is_there(bench, S_BASE));
    s_close(bench);
}

/* A file that leaves no room for the logs is not begun, and not asked for again in every run; with room
 * to the byte it is taken. */
static void test_snapshot_file_without_room_is_not_begun(void **state)
{
    (void)state;
    s_bench_t *bench = s_open();
    const uint64_t needed = (uint64_t)S_FILE_SIZE + WAL_DISK_RESERVE_SIZE;
    sim_disk_set_capacity(bench->disk, needed - 1);
    s_run(bench);
    s_run(bench);
    s_answer(bench);
    assert_int_equal(bench->ask_count, 1);
    assert_int_equal(sim_disk_stats(bench->disk).written_bytes, 0);
    assert_false(s_is_there(bench, S_BASE ".fetching"));
    assert_int_equal(reconcile_snapshots_counters(bench->snapshots).fetch.failed, 1);
    sim_disk_set_capacity(bench->disk, needed);
    s_run(bench);
    assert_int_equal(bench->ask_count, 1);
    s_run(bench);
    s_answer(bench);
    s_answer(bench);
    assert_int_equal(bench->task_count, 1);
    s_assert_whole(bench, S_BASE ".fetched");
    s_close(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_file_is_handed_over_whole),
        cmocka_unit_test(test_snapshot_file_that_is_loaded_is_left_alone_by_a_restart),
        cmocka_unit_test(test_snapshot_files_of_an_earlier_life_are_removed),
        cmocka_unit_test(test_snapshot_file_without_room_is_not_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
