/* When a region needs a snapshot, and how one is fetched: the pure core, in virtual time. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/cluster/snapshot_fetch.h"
#include "common/engine/base_file.h"

#include <blake3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int64_t s_wait_ns = 1000;

/* -- whether one is needed --------------------------------------------------------------------- */

static stream_id_t s_stream(uint64_t incarnation)
{
    return (stream_id_t){{1}, incarnation, {{1}, {0}}};
}

/* A row of one or two streams, incarnations 1 and 2; end 0: not there. */
typedef struct {
    msg_log_range_t ranges[2];
    msg_reconcile_row_t row;
} s_row_t;

static void s_set(
    s_row_t *row, uint16_t region, bool has_base, const uint64_t (*begin_end)[2], uint32_t count)
{
    *row = (s_row_t){.row = {.node = {{region}, {0}},
                             .tenant = {1},
                             .looked = true,
                             .has_base = has_base,
                             .range_count = count}};
    for (uint32_t i = 0; i < count; i++) {
        row->ranges[i] = (msg_log_range_t){s_stream(i + 1), begin_end[i][0], begin_end[i][1]};
    }
    row->row.ranges = row->ranges;
}

static uint32_t s_donors(const s_row_t *own, const s_row_t *second, const s_row_t *third)
{
    const msg_reconcile_row_t *peers[] = {&second->row, &third->row};
    return snapshot_donors(&own->row, peers, 2).bits;
}

/* Only where every region that has more begins behind what is held: logs that reach are used. */
static void test_snapshot_is_needed_only_where_no_log_reaches(void **state)
{
    (void)state;
    s_row_t own;
    s_row_t second;
    s_row_t third;
    const uint64_t empty[1][2] = {{0, 0}};
    const uint64_t whole[1][2] = {{0, 100}};
    const uint64_t cut[1][2] = {{50, 100}};
    const uint64_t held[1][2] = {{0, 50}};
    const uint64_t short_of_it[1][2] = {{0, 49}};
    uint32_t bit_of_second = region_set_add((region_set_t){0}, (region_id_t){2}).bits;
    uint32_t bit_of_third = region_set_add((region_set_t){0}, (region_id_t){3}).bits;
    s_set(&own, 1, false, empty, 0);
    s_set(&second, 2, true, cut, 1);
    s_set(&third, 3, true, cut, 1);
    assert_int_equal(s_donors(&own, &second, &third), bit_of_second | bit_of_third);
    s_set(&third, 3, false, whole, 1);
    assert_int_equal(s_donors(&own, &second, &third), 0); /* the third one's log goes all the way */
    third.row.looked = false;
    assert_int_equal(s_donors(&own, &second, &third), bit_of_second); /* and was not heard */
    s_set(&third, 3, false, held, 1);
    assert_int_equal(s_donors(&own, &second, &third), 0); /* it brings the own files to 50 */
    s_set(&own, 1, false, held, 1);
    assert_int_equal(s_donors(&own, &second, &third), 0); /* from where the second one goes on */
    s_set(&own, 1, false, short_of_it, 1);
    s_set(&third, 3, true, cut, 1);
    assert_int_equal(s_donors(&own, &second, &third), bit_of_second | bit_of_third);
    second.row.has_base = false;
    assert_int_equal(s_donors(&own, &second, &third), bit_of_third);
    own.row.looked = false;
    assert_int_equal(s_donors(&own, &second, &third), 0); /* the own node knows nothing yet */
}

/* One stream that no log reaches is enough, whatever the others are. */
static void test_snapshot_is_needed_for_one_stream_of_many(void **state)
{
    (void)state;
    s_row_t own;
    s_row_t second;
    s_row_t third;
    const uint64_t ours[2][2] = {{0, 80}, {0, 10}};
    const uint64_t theirs[2][2] = {{20, 100}, {11, 12}};
    s_set(&own, 1, false, ours, 2);
    s_set(&second, 2, true, theirs, 1);
    s_set(&third, 3, true, theirs, 1);
    assert_int_equal(s_donors(&own, &second, &third), 0);
    s_set(&third, 3, true, theirs, 2);
    assert_int_equal(s_donors(&own, &second, &third),
                     region_set_add((region_set_t){0}, (region_id_t){3}).bits);
}

/* Where the own base is lost, whoever has one will do, whatever the logs hold. */
static void test_snapshot_is_needed_where_the_own_base_is_lost(void **state)
{
    (void)state;
    s_row_t own;
    s_row_t second;
    s_row_t third;
    const uint64_t cut[1][2] = {{50, 100}};
    s_set(&own, 1, true, cut, 1);
    s_set(&second, 2, true, cut, 1);
    s_set(&third, 3, false, cut, 1);
    assert_int_equal(s_donors(&own, &second, &third), 0);
    own.row.has_base = false;
    own.row.base_is_lost = true;
    assert_int_equal(s_donors(&own, &second, &third),
                     region_set_add((region_set_t){0}, (region_id_t){2}).bits);
    second.row.looked = false;
    assert_int_equal(s_donors(&own, &second, &third), 0);
}

/* -- a transfer -------------------------------------------------------------------------------- */

typedef struct {
    snapshot_fetch_t *fetch;
    snapshot_effects_t effects;
    int64_t now_ns;
    uint8_t *file; /* of the donor */
    size_t size;
    uint8_t *got;
    uint64_t got_size;
} s_bench_t;

/* Any bytes, and at the end their hash. */
static void s_make_file(s_bench_t *bench, size_t size, uint64_t seed)
{
    prng_t prng;
    prng_init(&prng, seed);
    free(bench->file);
    bench->file = malloc(size);
    bench->size = size;
    CHECK(bench->file != NULL);
    for (size_t i = 0; i < size; i++) {
        bench->file[i] = (uint8_t)prng_next(&prng);
    }
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, bench->file, size - MSG_HASH_SIZE);
    blake3_hasher_finalize(&hasher, bench->file + size - MSG_HASH_SIZE, MSG_HASH_SIZE);
}

static void s_open(s_bench_t *bench, size_t size)
{
    *bench = (s_bench_t){.fetch = snapshot_fetch_new(s_wait_ns), .now_ns = 1};
    bench->got = malloc((size_t)4 * 1024 * 1024);
    CHECK(bench->got != NULL);
    s_make_file(bench, size, 5);
}

static void s_close(s_bench_t *bench)
{
    snapshot_fetch_destroy(&bench->fetch);
    free(bench->file);
    free(bench->got);
}

static void s_run(s_bench_t *bench, uint32_t donor_bits)
{
    snapshot_event_t event = {.kind = SNAPSHOT_EVENT_RUN, .now_ns = bench->now_ns};
    event.as.donors.bits = donor_bits;
    snapshot_fetch_step(bench->fetch, &event, &bench->effects);
}

static uint32_t s_bits(uint16_t region)
{
    return region_set_add((region_set_t){0}, (region_id_t){region}).bits;
}

/* Two runs that need it. */
static void s_begin(s_bench_t *bench, uint32_t donor_bits)
{
    s_run(bench, donor_bits);
    if (bench->effects.count == 0) {
        s_run(bench, donor_bits);
    }
    assert_int_equal(bench->effects.count, 1);
    assert_int_equal(bench->effects.list[0].kind, SNAPSHOT_EFFECT_ASK);
}

/* What an honest donor answers to the question that was asked last. */
static msg_snapshot_piece_t s_piece(const s_bench_t *bench)
{
    const snapshot_effect_t *ask = &bench->effects.list[0];
    static const uint8_t s_any[MSG_HASH_SIZE] = {0};
    msg_snapshot_piece_t piece = {
        .from = {PROCESS_RECONCILER, ask->donor, {0}},
        .request_id = ask->request_id,
        .size_bytes = bench->size,
    };
    memcpy(piece.hash, bench->file + bench->size - MSG_HASH_SIZE, MSG_HASH_SIZE);
    bool is_same = memcmp(ask->hash, s_any, sizeof(s_any)) == 0 ||
                   memcmp(ask->hash, piece.hash, sizeof(s_any)) == 0;
    piece.offset = is_same ? ask->offset : 0;
    uint64_t left = bench->size - piece.offset;
    piece.bytes = slice_make(bench->file + piece.offset,
                             left < SNAPSHOT_PIECE_SIZE_MAX ? left : SNAPSHOT_PIECE_SIZE_MAX);
    return piece;
}

/* Gives a piece; what is to be written is. */
static void s_give(s_bench_t *bench, const msg_snapshot_piece_t *piece)
{
    snapshot_event_t event = {.kind = SNAPSHOT_EVENT_PIECE, .now_ns = bench->now_ns};
    event.as.piece = piece;
    snapshot_fetch_step(bench->fetch, &event, &bench->effects);
    if (bench->effects.count == 1 && bench->effects.list[0].kind == SNAPSHOT_EFFECT_WRITE) {
        const snapshot_effect_t *write = &bench->effects.list[0];
        memcpy(bench->got + write->offset, write->bytes.data, write->bytes.size);
        bench->got_size = write->offset + write->bytes.size;
        event = (snapshot_event_t){.kind = SNAPSHOT_EVENT_WRITTEN, .now_ns = bench->now_ns};
        event.as.written = ERR_OK;
        snapshot_fetch_step(bench->fetch, &event, &bench->effects);
    }
}

/* Answers until the node is asked. */
static void s_finish(s_bench_t *bench)
{
    while (bench->effects.list[0].kind == SNAPSHOT_EFFECT_ASK) {
        msg_snapshot_piece_t piece = s_piece(bench);
        s_give(bench, &piece);
        assert_int_equal(bench->effects.count, 1);
    }
    assert_int_equal(bench->effects.list[0].kind, SNAPSHOT_EFFECT_TAKE);
    assert_int_equal(bench->got_size, bench->size);
    assert_memory_equal(bench->got, bench->file, bench->size);
}

static void s_answer(s_bench_t *bench, code_t code)
{
    snapshot_event_t event = {.kind = SNAPSHOT_EVENT_TAKEN, .now_ns = bench->now_ns};
    event.as.taken.request_id = bench->effects.list[0].request_id;
    event.as.taken.code = code;
    snapshot_fetch_step(bench->fetch, &event, &bench->effects);
}

static void s_tick(s_bench_t *bench, int64_t after_ns)
{
    bench->now_ns += after_ns;
    snapshot_event_t event = {.kind = SNAPSHOT_EVENT_TICK, .now_ns = bench->now_ns};
    snapshot_fetch_step(bench->fetch, &event, &bench->effects);
}

/* One run is no need; in the second one the lowest donor is asked, piece by piece, whatever the sizes:
 * the hash may be cut between two pieces. */
static void test_snapshot_fetch_takes_pieces_in_order(void **state)
{
    (void)state;
    const size_t sizes[] = {BASE_HEAD_SIZE_MIN + BASE_HASH_SIZE,
                            SNAPSHOT_PIECE_SIZE_MAX - 1,
                            SNAPSHOT_PIECE_SIZE_MAX,
                            SNAPSHOT_PIECE_SIZE_MAX + 1,
                            SNAPSHOT_PIECE_SIZE_MAX + 20,
                            SNAPSHOT_PIECE_SIZE_MAX + 32,
                            3 * SNAPSHOT_PIECE_SIZE_MAX + 1000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        s_bench_t bench;
        s_open(&bench, sizes[i]);
        s_run(&bench, s_bits(3) | s_bits(2));
        assert_int_equal(bench.effects.count, 0);
        s_begin(&bench, s_bits(3) | s_bits(2));
        assert_int_equal(bench.effects.list[0].donor.value, 2);
        s_finish(&bench);
        assert_int_equal(snapshot_fetch_deadline_ns(bench.fetch), INT64_MAX);
        s_run(&bench, s_bits(2)); /* the answer was lost: it is asked again */
        assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_TAKE);
        s_answer(&bench, CODE_OK);
        assert_int_equal(bench.effects.count, 0);
        assert_int_equal(snapshot_fetch_counters(bench.fetch).adopted, 1);
        assert_int_equal(snapshot_fetch_counters(bench.fetch).bytes, sizes[i]);
        assert_false(snapshot_fetch_is_under_way(bench.fetch));
        s_run(&bench, s_bits(2)); /* needed again, in one run so far */
        assert_int_equal(bench.effects.count, 0);
        s_close(&bench);
    }
}

/* Goal: every changed byte of a message is refused, counted, and nothing of the file is kept. Method:
 * each field of the first and of the last piece changed in turn; the other donor is asked next. */
static void test_snapshot_fetch_refuses_pieces_that_do_not_fit(void **state)
{
    (void)state;
    for (uint32_t what = 0; what < 12; what++) {
        s_bench_t bench;
        s_open(&bench, SNAPSHOT_PIECE_SIZE_MAX + 1000);
        s_begin(&bench, s_bits(2) | s_bits(3));
        msg_snapshot_piece_t piece = s_piece(&bench);
        bool is_last = what >= 6;
        if (is_last) {
            s_give(&bench, &piece);
            piece = s_piece(&bench);
        }
        uint8_t copy[SNAPSHOT_PIECE_SIZE_MAX];
        memcpy(copy, piece.bytes.data, piece.bytes.size);
        switch (what % 6) {
        case 0:
            piece.size_bytes = is_last ? piece.size_bytes + 1 : BASE_HEAD_SIZE_MIN;
            break;
        case 1:
            piece.size_bytes = is_last ? piece.size_bytes - 1 : SNAPSHOT_SIZE_MAX + 1;
            break;
        case 2:
            piece.offset++;
            break;
        case 3:
            piece.bytes.size--;
            break;
        case 4:
            piece.bytes.size = 0;
            break;
        default: /* in the last piece a byte of the file, else the hash that is all zero */
            copy[is_last ? 7 : 0] ^= 1;
            piece.bytes.data = copy;
            memset(piece.hash, is_last ? piece.hash[0] : 0, is_last ? 1 : sizeof(piece.hash));
            break;
        }
        s_give(&bench, &piece);
        snapshot_counters_t counters = snapshot_fetch_counters(bench.fetch);
        assert_int_equal(counters.refused, 1);
        assert_int_equal(bench.effects.count, is_last ? 1 : 0);
        assert_true(!is_last || bench.effects.list[0].kind == SNAPSHOT_EFFECT_DROP);
        assert_false(snapshot_fetch_is_under_way(bench.fetch));
        s_run(&bench, s_bits(2) | s_bits(3));
        assert_int_equal(bench.effects.list[0].donor.value, 3);
        s_finish(&bench);
        s_close(&bench);
    }
}

/* A byte that changed in the first piece shows when the last one is there. */
static void test_snapshot_fetch_refuses_the_whole_for_one_byte(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, (size_t)2 * SNAPSHOT_PIECE_SIZE_MAX);
    s_begin(&bench, s_bits(2));
    bench.file[100] ^= 4;
    msg_snapshot_piece_t piece = s_piece(&bench);
    s_give(&bench, &piece);
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_ASK);
    piece = s_piece(&bench);
    s_give(&bench, &piece);
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_DROP);
    assert_int_equal(snapshot_fetch_counters(bench.fetch).refused, 1);
    bench.file[100] ^= 4; /* the only donor there is: it is asked again all the same */
    s_run(&bench, s_bits(2));
    s_finish(&bench);
    s_close(&bench);
}

/* Goal: donors of which none is of use are asked ever more seldom, each with its reason; one success makes
 * all good. Method: two donors that always answer that they have no base, one hundred runs. */
static void test_snapshot_fetch_asks_useless_donors_ever_more_seldom(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, SNAPSHOT_PIECE_SIZE_MAX);
    uint32_t asked_at[64];
    uint32_t count = 0;
    for (uint32_t run = 0; run < 100; run++) {
        s_run(&bench, s_bits(2) | s_bits(3));
        if (bench.effects.count > 0) {
            asked_at[count++] = run;
            msg_snapshot_piece_t piece = s_piece(&bench);
            piece.code = CODE_NOT_FOUND;
            piece.message = slice_text("there is none");
            s_give(&bench, &piece);
            const snapshot_problem_t *problem = snapshot_fetch_problem(bench.fetch);
            assert_int_equal(problem->number, count);
            assert_int_equal(problem->donor.value, count % 2 == 1 ? 2 : 3);
            assert_non_null(strstr(problem->reason.text, "found NOT_FOUND: there is none"));
        }
    }
    static const uint32_t s_expected[] = {1,  2,  3,  4,  6,  7,  10, 11, 16, 17,
                                          26, 27, 44, 45, 62, 63, 80, 81, 98, 99};
    assert_int_equal(count, sizeof(s_expected) / sizeof(s_expected[0]));
    assert_memory_equal(asked_at, s_expected, sizeof(s_expected));
    s_run(&bench, 0); /* once may be a region that was not heard */
    s_run(&bench, s_bits(3));
    s_run(&bench, s_bits(3));
    assert_int_equal(bench.effects.count, 0);
    s_run(&bench, 0);
    s_run(&bench, 0); /* no need any more */
    s_begin(&bench, s_bits(3));
    s_finish(&bench);
    s_answer(&bench, CODE_OK);
    assert_int_equal(snapshot_fetch_problem(bench.fetch)->number, count);
    s_close(&bench);
}

/* A donor that makes another base in between: it begins anew with that one, and not for ever. */
static void test_snapshot_fetch_follows_a_donor_that_changes(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, SNAPSHOT_PIECE_SIZE_MAX + 5000);
    s_begin(&bench, s_bits(2));
    msg_snapshot_piece_t piece = s_piece(&bench);
    s_give(&bench, &piece);
    s_make_file(&bench, SNAPSHOT_PIECE_SIZE_MAX + 70, 6);
    s_finish(&bench);
    assert_int_equal(snapshot_fetch_counters(bench.fetch).restarted, 1);
    s_answer(&bench, CODE_OK);
    s_begin(&bench, s_bits(2));
    for (uint64_t i = 0; i < SNAPSHOT_RESTART_COUNT_MAX + 1; i++) {
        assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_ASK);
        piece = s_piece(&bench);
        s_give(&bench, &piece);
        s_make_file(&bench, bench.size, 100 + i);
    }
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_ASK);
    piece = s_piece(&bench);
    s_give(&bench, &piece);
    assert_int_equal(snapshot_fetch_counters(bench.fetch).failed, 1);
    assert_int_equal(bench.effects.count, 1); /* what was written of the one before goes */
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_DROP);
    assert_false(snapshot_fetch_is_under_way(bench.fetch));
    s_close(&bench);
}

/* A donor that has another base by now, and answers with a piece that does not fit it: what was written
 * of the first one goes. */
static void test_snapshot_fetch_drops_the_file_of_a_donor_that_changes_for_the_worse(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, SNAPSHOT_PIECE_SIZE_MAX + 5000);
    s_begin(&bench, s_bits(2));
    msg_snapshot_piece_t piece = s_piece(&bench);
    s_give(&bench, &piece);
    s_make_file(&bench, SNAPSHOT_PIECE_SIZE_MAX + 70, 6);
    piece = s_piece(&bench);
    piece.bytes.size--;
    s_give(&bench, &piece);
    assert_int_equal(snapshot_fetch_counters(bench.fetch).refused, 1);
    assert_int_equal(bench.effects.count, 1);
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_DROP);
    s_close(&bench);
}

/* A lost answer is asked for again from where it stopped; a late one counts for nothing; a donor that
 * stays silent is left, and the next one begins at the beginning. */
static void test_snapshot_fetch_outlives_silence(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, (size_t)2 * SNAPSHOT_PIECE_SIZE_MAX);
    s_begin(&bench, s_bits(2) | s_bits(3));
    msg_snapshot_piece_t piece = s_piece(&bench);
    s_give(&bench, &piece);
    msg_snapshot_piece_t late = s_piece(&bench);
    s_tick(&bench, s_wait_ns - 1);
    assert_int_equal(bench.effects.count, 0);
    s_tick(&bench, 1);
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_ASK);
    assert_int_equal(bench.effects.list[0].offset, SNAPSHOT_PIECE_SIZE_MAX);
    snapshot_effects_t asked = bench.effects;
    s_give(&bench, &late);
    assert_int_equal(snapshot_fetch_counters(bench.fetch).late, 1);
    bench.effects = asked;
    piece = s_piece(&bench);
    piece.from.region.value = 3;
    s_give(&bench, &piece);
    assert_int_equal(snapshot_fetch_counters(bench.fetch).late, 2);
    s_tick(&bench, s_wait_ns);
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_ASK);
    s_tick(&bench, s_wait_ns);
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_DROP);
    assert_int_equal(snapshot_fetch_counters(bench.fetch).failed, 1);
    s_run(&bench, s_bits(2) | s_bits(3));
    assert_int_equal(bench.effects.list[0].donor.value, 3);
    assert_int_equal(bench.effects.list[0].offset, 0);
    s_run(&bench, 0); /* some log reaches again */
    assert_false(snapshot_fetch_is_under_way(bench.fetch));
    s_close(&bench);
}

/* What the node makes of it: wrong by itself is refused and counted, what is only not fit is not. */
static void test_snapshot_fetch_hears_what_the_node_says(void **state)
{
    (void)state;
    static const code_t s_codes[] = {CODE_CORRUPT, CODE_STALE, CODE_DISK_FULL, CODE_NOT_FOUND};
    for (size_t i = 0; i < 4; i++) {
        s_bench_t bench;
        s_open(&bench, 1000);
        s_begin(&bench, s_bits(2) | s_bits(3));
        s_finish(&bench);
        s_answer(&bench, s_codes[i]);
        assert_int_equal(bench.effects.count, 0); /* the file is the node's to deal with */
        snapshot_counters_t counters = snapshot_fetch_counters(bench.fetch);
        assert_int_equal(counters.refused, s_codes[i] == CODE_CORRUPT ? 1 : 0);
        assert_int_equal(counters.failed, i == 1 || i == 2 ? 1 : 0);
        assert_int_equal(counters.adopted, 0);
        s_begin(&bench, s_bits(2) | s_bits(3));
        assert_int_equal(bench.effects.list[0].donor.value, s_codes[i] == CODE_NOT_FOUND ? 2 : 3);
        s_close(&bench);
    }
}

/* A disk without room ends the transfer; the donor is not to blame and is asked again. */
static void test_snapshot_fetch_ends_when_it_cannot_be_written(void **state)
{
    (void)state;
    s_bench_t bench;
    s_open(&bench, 1000);
    s_begin(&bench, s_bits(2) | s_bits(3));
    msg_snapshot_piece_t piece = s_piece(&bench);
    snapshot_event_t event = {.kind = SNAPSHOT_EVENT_PIECE, .now_ns = bench.now_ns};
    event.as.piece = &piece;
    snapshot_fetch_step(bench.fetch, &event, &bench.effects);
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_WRITE);
    assert_true(bench.effects.list[0].is_last);
    event = (snapshot_event_t){.kind = SNAPSHOT_EVENT_WRITTEN, .now_ns = bench.now_ns};
    event.as.written = ERR_DISK_FULL;
    snapshot_fetch_step(bench.fetch, &event, &bench.effects);
    assert_int_equal(bench.effects.list[0].kind, SNAPSHOT_EFFECT_DROP);
    assert_int_equal(snapshot_fetch_counters(bench.fetch).failed, 1);
    s_run(&bench, s_bits(2) | s_bits(3)); /* not at once */
    assert_int_equal(bench.effects.count, 0);
    s_begin(&bench, s_bits(2) | s_bits(3));
    assert_int_equal(bench.effects.list[0].donor.value, 2);
    s_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_is_needed_only_where_no_log_reaches),
        cmocka_unit_test(test_snapshot_is_needed_for_one_stream_of_many),
        cmocka_unit_test(test_snapshot_is_needed_where_the_own_base_is_lost),
        cmocka_unit_test(test_snapshot_fetch_asks_useless_donors_ever_more_seldom),
        cmocka_unit_test(test_snapshot_fetch_takes_pieces_in_order),
        cmocka_unit_test(test_snapshot_fetch_refuses_pieces_that_do_not_fit),
        cmocka_unit_test(test_snapshot_fetch_refuses_the_whole_for_one_byte),
        cmocka_unit_test(test_snapshot_fetch_follows_a_donor_that_changes),
        cmocka_unit_test(test_snapshot_fetch_drops_the_file_of_a_donor_that_changes_for_the_worse),
        cmocka_unit_test(test_snapshot_fetch_outlives_silence),
        cmocka_unit_test(test_snapshot_fetch_hears_what_the_node_says),
        cmocka_unit_test(test_snapshot_fetch_ends_when_it_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
