/* The verifier: logs of two regions, checkpoints made as nodes make them, and every kind of
 * difference between them. */
#include "common/base/store_batch.h"
#include "common/store/store_memory.h"
#include "common/wal/record.h"
#include "services/tidalctl/verify_state.h"
#include "tests/unit/wal_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const tenant_id_t s_tenant = {1};
static const shard_id_t s_shard = {3};
enum { S_SHARD_COUNT = 5 };
static const int64_t s_now_ns = INT64_C(1700000000000000000);

/* -- logs -------------------------------------------------------------------------------------- */

typedef struct {
    uint16_t region; /* 1 us, 2 eu */
    uint64_t incarnation;
} origin_t;

static stream_id_t s_stream(origin_t origin)
{
    return (stream_id_t){.tenant = s_tenant,
                         .incarnation = origin.incarnation,
                         .origin = {{origin.region}, s_shard}};
}

/* Path of a stream's folder as a region holds it; two may be in use at a time. */
static const char *s_folder(const char *holder, origin_t origin)
{
    static char s_paths[2][WAL_PATH_SIZE_MAX];
    static int s_next = 0;
    s_next = 1 - s_next;
    (void)snprintf(s_paths[s_next], sizeof(s_paths[s_next]),
                   "data/%s/shard-3/tenants/default-1/%s-%016llx", holder,
                   origin.region == 1 ? "us" : "eu", (unsigned long long)origin.incarnation);
    return s_paths[s_next];
}

static wal_log_t *s_open(const disk_t *disk, const char *holder, origin_t origin)
{
    wal_log_options_t options = {.place = {.disk = disk,
                                           .folder = s_folder(holder, origin),
                                           .stream = s_stream(origin),
                                           .tenant_name = "default",
                                           .region_name = origin.region == 1 ? "us" : "eu"},
                                 .no_zero_fill = true};
    wal_log_t *log = NULL;
    errbuf_t errbuf = {""};
    if (wal_log_open(&options, wal_support_now(0), &log, NULL, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    return log;
}

/* What one batch is made of: `count` signals for one item by users in the cohort pair:<pair>, or a
 * hide when count is 0. */
typedef struct {
    uint32_t count;
    uint64_t item;
    uint64_t pair; /* 0: no producer */
    int64_t hlc_ns;
} batch_t;

static void s_append_signal(buffer_t *payload, const signal_event_t *event, uint64_t pair)
{
    buffer_t plain = {0};
    char cohort[32];
    (void)snprintf(cohort, sizeof(cohort), "pair:%llu", (unsigned long long)pair);
    cohort_builder_t *builder = cohort_builder_new();
    cohort_builder_begin(builder);
    cohort_builder_add_name(builder, slice_text(cohort));
    (void)cohort_builder_put_event(builder);
    record_append_signals(&plain, event, 1);
    assert_int_equal(cohort_builder_append(builder, buffer_slice(&plain), payload, NULL), ERR_OK);
    buffer_done(&plain);
    cohort_builder_destroy(&builder);
}

static void s_append(wal_log_t *log, const batch_t *what)
{
    buffer_t payload;
    errbuf_t errbuf = {""};
    buffer_init(&payload);
    for (uint32_t i = 0; i < what->count; i++) {
        signal_event_t event = {.item = {what->item},
                                .user = {1 + i},
                                .ts_ns = s_now_ns + (int64_t)i,
                                .weight = 1.5,
                                .signal = 1};
        s_append_signal(&payload, &event, what->pair);
    }
    if (what->count == 0) {
        record_t record = {.type = RECORD_RELATION, .event_count = 1};
        record.as.relation.user = (user_id_t){9};
        record.as.relation.target = what->item;
        record.as.relation.hlc = (hlc_stamp_t){what->hlc_ns, 0, 1};
        record.as.relation.action = RELATION_HIDE;
        record.as.relation.set = true;
        record_append(&payload, &record);
    }
    wal_batch_t batch = {.epoch = 1,
                         .event_count = what->count == 0 ? 1 : what->count,
                         .hlc = {what->hlc_ns, 0, 1},
                         .has_producer = what->pair > 0,
                         .producer = what->pair > 0 ? slice_text("p") : (slice_t){0},
                         .producer_seq = what->pair,
                         .payload = buffer_slice(&payload)};
    if (wal_log_append(log, &batch, wal_support_now(0), &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    buffer_done(&payload);
}

/* A session of user 9: its start when number is 0, else its signal of that number. */
static void s_append_session(wal_log_t *log, uint32_t number, uint64_t pair, int64_t hlc_ns)
{
    buffer_t payload;
    errbuf_t errbuf = {""};
    bool is_start = number == 0;
    record_t record = {.type = is_start ? RECORD_SESSION_START : RECORD_SESSION_SIGNAL,
                       .event_count = 1};
    session_id_t id = {{9}};
    buffer_init(&payload);
    if (is_start) {
        record.as.session_start.session = id;
        record.as.session_start.hlc = (hlc_stamp_t){hlc_ns, 0, 1};
        record.as.session_start.agent = slice_text("web");
        record.as.session_start.meta = slice_make(NULL, 0);
    } else {
        record.as.session_signal.session = id;
        record.as.session_signal.hlc = (hlc_stamp_t){hlc_ns, 0, 1};
        record.as.session_signal.session_seq = number;
        record.as.session_signal.item.value = 7;
        record.as.session_signal.ts_ns = s_now_ns;
        record.as.session_signal.weight = 1.0;
        record.as.session_signal.signal = 1;
    }
    record_append(&payload, &record);
    wal_batch_t batch = {.epoch = 1,
                         .event_count = 1,
                         .hlc = {hlc_ns, 0, 1},
                         .has_producer = pair > 0,
                         .producer = pair > 0 ? slice_text("p") : (slice_t){0},
                         .producer_seq = pair,
                         .payload = buffer_slice(&payload)};
    if (wal_log_append(log, &batch, wal_support_now(0), &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    wal_support_flush(log);
    buffer_done(&payload);
}

static void s_write(
    const disk_t *disk, const char *holder, origin_t origin, const batch_t *batches, uint32_t count)
{
    wal_log_t *log = s_open(disk, holder, origin);
    for (uint32_t i = 0; i < count; i++) {
        s_append(log, &batches[i]);
        wal_support_flush(log);
    }
    wal_log_close(&log);
}

static const origin_t s_us = {1, 0x11};
static const origin_t s_eu = {2, 0x22};

/* us has written four batches, eu two of which one is a second copy of pair 2. eu has copies of all,
 * us has a shorter copy of eu's stream. */
static sim_disk_t *s_mesh(void)
{
    static const batch_t s_of_us[] = {
        {3, 7, 1, 100}, {2, 8, 2, 200}, {0, 7, 3, 300}, {4, 7, 0, 400}};
    static const batch_t s_of_eu[] = {{5, 9, 4, 150}, {2, 8, 2, 250}};
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    s_write(disk, "us", s_us, s_of_us, 4);
    s_write(disk, "eu", s_us, s_of_us, 4);
    s_write(disk, "eu", s_eu, s_of_eu, 2);
    s_write(disk, "us", s_eu, s_of_eu, 1);
    return sim;
}

/* -- looking at them --------------------------------------------------------------------------- */

typedef struct {
    verify_report_t report;
    char texts[8192]; /* of all problems, one per line */
} problems_t;

static void s_on_problem(void *context, const char *text)
{
    problems_t *problems = context;
    size_t at = strlen(problems->texts);
    (void)snprintf(problems->texts + at, sizeof(problems->texts) - at, "%s\n", text);
}

static void s_start(problems_t *problems)
{
    *problems = (problems_t){0};
    problems->report.on_problem = s_on_problem;
    problems->report.context = problems;
}

static verify_log_t s_open_logs(const disk_t *disk, problems_t *problems)
{
    static const char *const s_regions[] = {"us", "eu", "ap"};
    verify_place_t place = {.disk = disk,
                            .data_folder = "data",
                            .region_names = s_regions,
                            .region_count = 3,
                            .shard = s_shard,
                            .shard_count = S_SHARD_COUNT};
    verify_log_t log;
    errbuf_t errbuf = {""};
    s_start(problems);
    if (verify_log_open(&place, &log, &problems->report, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    return log;
}

static const schema_t *s_schema(void)
{
    static schema_t s_default;
    schema_init_default(&s_default);
    return &s_default;
}

static verify_state_t s_replay(const verify_log_t *log, const version_vector_t *vector)
{
    verify_state_t state;
    errbuf_t errbuf = {""};
    if (verify_state_replay(log, s_schema(), s_tenant, vector, &state, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    return state;
}

static verify_state_t s_replay_all(const verify_log_t *log)
{
    version_vector_t whole;
    verify_state_whole(log, s_tenant, &whole);
    verify_state_t state = s_replay(log, &whole);
    version_vector_done(&whole);
    return state;
}

/* -- copies ------------------------------------------------------------------------------------ */

/* Copies of different length agree, and the longest is what counts. */
static void test_verify_log_copies_of_different_length_agree(void **state)
{
    (void)state;
    sim_disk_t *sim = s_mesh();
    problems_t problems;
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    assert_string_equal(problems.texts, "");
    assert_int_equal(log.stream_count, 2);
    assert_int_equal(log.copy_count, 4);
    const verify_stream_t *eu = verify_log_find(&log, s_stream(s_eu));
    assert_non_null(eu);
    assert_int_equal(verify_log_longest(&log, eu)->checked.last_seq, 7);
    assert_string_equal(verify_log_longest(&log, eu)->stream.holder, "eu");
    assert_string_equal(verify_log_tenant_name(&log, s_tenant), "default");
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* Two regions that hold different events under one stream's numbers: named, with the event. */
static void test_verify_log_copies_that_differ_are_named(void **state)
{
    (void)state;
    static const batch_t s_one[] = {{3, 7, 1, 100}, {2, 8, 2, 200}, {1, 1, 5, 300}};
    static const batch_t s_other[] = {{3, 7, 1, 100}, {2, 8, 3, 200}};
    sim_disk_t *sim = sim_disk_new(1);
    problems_t problems;
    s_write(sim_disk_disk(sim), "us", s_us, s_one, 3);
    s_write(sim_disk_disk(sim), "eu", s_us, s_other, 2);
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    assert_int_equal(problems.report.problem_count, 1);
    assert_non_null(strstr(problems.texts, "differ from event 4 on"));
    assert_non_null(strstr(problems.texts, "data/eu/shard-3"));
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* The same number of events in other batches is a difference too. */
static void test_verify_log_other_batches_are_a_difference(void **state)
{
    (void)state;
    static const batch_t s_one[] = {{4, 7, 0, 100}, {2, 7, 0, 200}};
    static const batch_t s_other[] = {{3, 7, 0, 100}};
    sim_disk_t *sim = sim_disk_new(1);
    problems_t problems;
    s_write(sim_disk_disk(sim), "us", s_us, s_one, 2);
    s_write(sim_disk_disk(sim), "eu", s_us, s_other, 1);
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    assert_int_equal(problems.report.problem_count, 1);
    assert_non_null(strstr(problems.texts, "differ from event 1 on"));
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* -- replay ------------------------------------------------------------------------------------ */

/* Each identity once, the later copy of pair 2 void: the counts add up. */
static void test_verify_state_replay_counts_add_up(void **state)
{
    (void)state;
    sim_disk_t *sim = s_mesh();
    problems_t problems;
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    verify_state_t all = s_replay_all(&log);
    ledger_totals_t totals;
    ledger_totals(all.ledger, &totals);
    assert_int_equal(all.counts.events, 17);
    assert_int_equal(all.counts.logged.registers, 1);
    assert_int_equal(all.counts.logged.signals, 16);
    assert_int_equal(all.counts.voided.signals, 2);
    assert_int_equal(all.counts.voided_requests, 1);
    assert_int_equal(totals.signals, 14);
    assert_int_equal(ledger_count(all.ledger, (item_id_t){8}, 1, WINDOW_ALL, s_now_ns, NULL), 2);
    uint32_t cohort = ledger_find_cohort(all.ledger, slice_text("pair:2"));
    const cell_t *cell = ledger_cohort_cell(all.ledger, cohort, (item_id_t){8}, 1);
    assert_int_equal(cell_window_count(cell, WINDOW_ALL, s_now_ns, NULL), 2);
    verify_state_done(&all);
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* Which copy is void follows from their stamps, not from the order of the streams: here the copy in
 * the stream that is read first is the later one, and is taken back. */
static void test_verify_state_replay_takes_an_earlier_read_copy_back(void **state)
{
    (void)state;
    static const batch_t s_of_us[] = {{2, 8, 2, 900}};
    static const batch_t s_of_eu[] = {{2, 8, 2, 250}, {1, 8, 0, 260}};
    sim_disk_t *sim = sim_disk_new(1);
    problems_t problems;
    s_write(sim_disk_disk(sim), "us", s_us, s_of_us, 1);
    s_write(sim_disk_disk(sim), "eu", s_eu, s_of_eu, 2);
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    verify_state_t all = s_replay_all(&log);
    ledger_totals_t totals;
    ledger_totals(all.ledger, &totals);
    assert_int_equal(all.counts.voided.signals, 2);
    assert_int_equal(totals.signals, 3);
    verify_state_done(&all);
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* Sessions are replayed as well, the second copy of a signal void: no cell has them, the counts tell
 * them apart, and a book that lacks one is told by name. */
static void test_verify_state_replay_has_sessions(void **state)
{
    (void)state;
    sim_disk_t *sim = sim_disk_new(1);
    wal_log_t *us = s_open(sim_disk_disk(sim), "us", s_us);
    s_append_session(us, 0, 0, 100);
    s_append_session(us, 1, 5, 900);
    wal_log_close(&us);
    wal_log_t *eu = s_open(sim_disk_disk(sim), "eu", s_eu);
    s_append_session(eu, 1, 5, 250);
    s_append_session(eu, 2, 6, 260);
    wal_log_close(&eu);
    problems_t problems;
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    verify_state_t all = s_replay_all(&log);
    ledger_totals_t totals;
    session_totals_t sessions;
    ledger_totals(all.ledger, &totals);
    session_book_totals(all.sessions, &sessions);
    assert_int_equal(all.counts.events, 4);
    assert_int_equal(all.counts.logged.sessions, 1);
    assert_int_equal(all.counts.logged.session_signals, 3);
    assert_int_equal(all.counts.voided.session_signals, 1);
    assert_int_equal(all.counts.voided.signals, 0);
    assert_int_equal(totals.signals, 0);
    assert_true(sessions.sessions == 1 && sessions.signals == 2);
    verify_state_t other = s_replay_all(&log);
    assert_int_equal(verify_state_compare(&all, &other, "other", &problems.report), 0);
    session_book_destroy(&other.sessions);
    other.sessions = session_book_new(other.tenant, other.shard);
    assert_int_equal(verify_state_compare(&all, &other, "other", &problems.report), 1);
    assert_non_null(strstr(problems.texts, "session 0900"));
    verify_state_done(&other);
    verify_state_done(&all);
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* A vector below the end gives the state at it; one that no log reaches, or that lies inside a
 * batch, is refused. */
static void test_verify_state_replay_stops_at_its_vector(void **state)
{
    (void)state;
    sim_disk_t *sim = s_mesh();
    problems_t problems;
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    version_vector_t vector = {0};
    verify_state_t part;
    errbuf_t errbuf;
    (void)version_vector_raise(&vector, s_stream(s_us), 4);
    assert_int_equal(verify_state_replay(&log, s_schema(), s_tenant, &vector, &part, &errbuf),
                     ERR_GAP);
    assert_non_null(strstr(errbuf.text, "end of a batch"));
    (void)version_vector_raise(&vector, s_stream(s_us), 5);
    part = s_replay(&log, &vector);
    assert_int_equal(part.counts.logged.signals, 5);
    verify_state_done(&part);
    (void)version_vector_raise(&vector, s_stream(s_us), 11);
    assert_int_equal(verify_state_replay(&log, s_schema(), s_tenant, &vector, &part, &errbuf),
                     ERR_GAP);
    assert_non_null(strstr(errbuf.text, "events 11..11"));
    version_vector_done(&vector);
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* -- checkpoints ------------------------------------------------------------------------------- */

/* As a node writes it: common/engine/replica_checkpoint.c. */
static store_memory_t *s_checkpoint(verify_state_t *of)
{
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    store_batch_t *batch = store_batch_new();
    uint8_t prefix[9] = {0, 0, 0, 0, 0, 0, 0, 1, 'L'};
    errbuf_t errbuf;
    ledger_checkpoint_write(of->ledger, batch, slice_make(prefix, sizeof(prefix)));
    prefix[8] = 'D';
    dedup_checkpoint_write(of->dedup, batch, slice_make(prefix, sizeof(prefix)));
    usage_slot_t slots[PN_COUNTER_SLOT_COUNT_MAX];
    uint32_t slot_count = usage_slots(&of->usage, slots);
    for (uint32_t i = 0; i < slot_count; i++) {
        uint8_t key[9 + USAGE_KEY_SIZE] = {0, 0, 0, 0, 0, 0, 0, 1, 'U'};
        uint8_t value[USAGE_VALUE_SIZE];
        usage_encode(&slots[i], key + 9, value);
        store_batch_put(batch, slice_make(key, sizeof(key)), slice_make(value, sizeof(value)));
    }
    for (uint32_t i = 0; i < of->vector.count; i++) {
        const stream_position_t *position = &of->vector.entries[i];
        uint8_t key[19] = {0, 0, 0, 0, 0, 0, 0, 1, 'V'};
        uint8_t value[8];
        key[10] = (uint8_t)position->stream.origin.region.value;
        bytes_put_u64_be(key + 11, position->stream.incarnation);
        bytes_put_u64(value, position->seq);
        store_batch_put(batch, slice_make(key, sizeof(key)), slice_make(value, sizeof(value)));
    }
    assert_int_equal(store.submit(store.context, &batch, &errbuf), ERR_OK);
    assert_int_equal(store.poll(store.context, &errbuf), ERR_OK);
    ledger_checkpoint_settle(of->ledger, true);
    dedup_checkpoint_settle(of->dedup, true);
    return memory;
}

static void s_put(store_memory_t *memory, slice_t key, slice_t value)
{
    store_t store = store_memory_store(memory);
    store_batch_t *batch = store_batch_new();
    errbuf_t errbuf;
    store_batch_put(batch, key, value);
    assert_int_equal(store.submit(store.context, &batch, &errbuf), ERR_OK);
    assert_int_equal(store.poll(store.context, &errbuf), ERR_OK);
}

/* Loads the checkpoint and compares it with the replay at its vector. */
static uint64_t s_compare(const verify_log_t *log, store_memory_t *memory, problems_t *problems)
{
    store_t store = store_memory_store(memory);
    verify_state_t found;
    errbuf_t errbuf = {""};
    s_start(problems);
    if (verify_state_load(&store, s_schema(), s_tenant, (verify_shard_t){s_shard, S_SHARD_COUNT},
                          &found, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    verify_state_t expected = s_replay(log, &found.vector);
    uint64_t count = verify_state_compare(&expected, &found, "checkpoint", &problems->report);
    uint8_t digests[2][MSG_HASH_SIZE];
    verify_state_digest(&expected, digests[0]);
    verify_state_digest(&found, digests[1]);
    assert_true((memcmp(digests[0], digests[1], MSG_HASH_SIZE) == 0) == (count == 0));
    verify_state_done(&expected);
    verify_state_done(&found);
    return count;
}

/* A checkpoint at an earlier vector than the end of the logs is equal to the replay there. */
static void test_verify_state_checkpoint_equals_the_replay(void **state)
{
    (void)state;
    sim_disk_t *sim = s_mesh();
    problems_t problems;
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    version_vector_t vector = {0};
    (void)version_vector_raise(&vector, s_stream(s_us), 6);
    (void)version_vector_raise(&vector, s_stream(s_eu), 7);
    verify_state_t part = s_replay(&log, &vector);
    store_memory_t *memory = s_checkpoint(&part);
    assert_int_equal(s_compare(&log, memory, &problems), 0);
    assert_string_equal(problems.texts, "");
    store_memory_destroy(&memory);
    verify_state_done(&part);
    version_vector_done(&vector);
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* A checkpoint that says it holds more, or less, than it does: the cells that differ are named. */
static void test_verify_state_lost_or_doubled_events_are_named(void **state)
{
    (void)state;
    sim_disk_t *sim = s_mesh();
    problems_t problems;
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    version_vector_t vector = {0};
    (void)version_vector_raise(&vector, s_stream(s_us), 6);
    verify_state_t part = s_replay(&log, &vector);
    /* Events 7..10 are claimed and were never applied. */
    (void)version_vector_raise(&part.vector, s_stream(s_us), 10);
    store_memory_t *memory = s_checkpoint(&part);
    /* Two cells, their seen pairs, and the usage. */
    assert_int_equal(s_compare(&log, memory, &problems), 7);
    assert_non_null(strstr(problems.texts, "usage of streams of region 1: the logs say "));
    assert_non_null(
        strstr(problems.texts, "cell item 7 signal 1: the logs say 7 events, it holds 3"));
    assert_non_null(strstr(problems.texts, "cell item 7 signal 1 cohort pair:0: the logs have it"));
    store_memory_destroy(&memory);
    verify_state_done(&part);
    version_vector_done(&vector);
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* Pairs seen that the logs do not have, and the other way round. */
static void test_verify_state_pairs_that_differ_are_named(void **state)
{
    (void)state;
    sim_disk_t *sim = s_mesh();
    problems_t problems;
    verify_log_t log = s_open_logs(sim_disk_disk(sim), &problems);
    verify_state_t all = s_replay_all(&log);
    dedup_position_t position = {.stream = s_stream(s_us), .first_seq = 99, .event_count = 1};
    dedup_conflict_t conflict;
    assert_int_equal(dedup_add(all.dedup, slice_text("q"), 7, &position, &conflict), DEDUP_FIRST);
    store_memory_t *memory = s_checkpoint(&all);
    assert_int_equal(s_compare(&log, memory, &problems), 1);
    assert_non_null(strstr(problems.texts, "pairs seen of producer q, 7..7: it has them"));
    store_memory_destroy(&memory);
    verify_state_done(&all);
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

/* Entries that are none are refused by name; a store without the tenant is not found. */
static void test_verify_state_load_bad_entries_are_refused(void **state)
{
    (void)state;
    static const uint8_t s_keys[][10] = {{0, 0, 0, 0, 0, 0, 0, 1, 'X', 0},
                                         {0, 0, 0, 0, 0, 0, 0, 1, 'V', 0},
                                         {0, 0, 0, 0, 0, 0, 0, 1, 'L', 'c'}};
    store_memory_t *memory = store_memory_new();
    store_t store = store_memory_store(memory);
    verify_state_t found;
    errbuf_t errbuf = {""};
    assert_int_equal(verify_state_load(&store, s_schema(), s_tenant,
                                       (verify_shard_t){s_shard, S_SHARD_COUNT}, &found, &errbuf),
                     ERR_NOT_FOUND);
    store_memory_destroy(&memory);
    for (size_t i = 0; i < sizeof(s_keys) / sizeof(s_keys[0]); i++) {
        memory = store_memory_new();
        store = store_memory_store(memory);
        s_put(memory, slice_make(s_keys[i], sizeof(s_keys[i])), slice_text("v"));
        assert_int_equal(verify_state_load(&store, s_schema(), s_tenant,
                                           (verify_shard_t){s_shard, S_SHARD_COUNT}, &found,
                                           &errbuf),
                         ERR_CORRUPT);
        store_memory_destroy(&memory);
    }
}

/* -- bases ------------------------------------------------------------------------------------- */

static err_t s_add_entry(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    store_batch_put(context, slice_make(key, key_size), slice_make(value, value_size));
    return ERR_OK;
}

/* The base of a state of us's stream alone, beside the logs of a region. */
static void s_write_base(const disk_t *disk,
                         const char *holder,
                         verify_state_t *of,
                         wal_hash_t hash)
{
    base_position_t position = {
        .stream = s_stream(s_us), .seq = of->vector.entries[0].seq, .hash = hash};
    base_head_t head = {
        .tenant = s_tenant, .shard = s_shard, .position_count = 1, .positions = &position};
    verify_state_digest(of, head.digest);
    store_memory_t *memory = s_checkpoint(of);
    store_t store = store_memory_store(memory);
    store_batch_t *entries = store_batch_new();
    errbuf_t errbuf;
    assert_int_equal(store.walk(store.context, NULL, 0, s_add_entry, entries, &errbuf), ERR_OK);
    char path[WAL_PATH_SIZE_MAX];
    (void)snprintf(path, sizeof(path), "data/%s/shard-3/tenants/default-1/state.base", holder);
    base_writer_t *writer = base_writer_new(disk, path, &head, &entries, 8);
    assert_int_equal(base_writer_step(writer, &errbuf), ERR_OK);
    base_writer_destroy(&writer);
    store_memory_destroy(&memory);
}

/* As s_mesh, but both copies of us's stream in two segments, which part behind event 5. */
static sim_disk_t *s_mesh_of_segments(void)
{
    static const batch_t s_of_us[] = {
        {3, 7, 1, 100}, {2, 8, 2, 200}, {0, 7, 3, 300}, {4, 7, 0, 400}};
    static const batch_t s_of_eu[] = {{5, 9, 4, 150}, {2, 8, 2, 250}};
    sim_disk_t *sim = sim_disk_new(1);
    const disk_t *disk = sim_disk_disk(sim);
    for (int i = 0; i < 2; i++) {
        wal_log_t *log = s_open(disk, i == 0 ? "us" : "eu", s_us);
        for (int batch = 0; batch < 4; batch++) {
            s_append(log, &s_of_us[batch]);
            wal_support_flush(log);
            assert_int_equal(batch == 1 ? wal_log_seal(log, NULL) : ERR_OK, ERR_OK);
        }
        wal_log_close(&log);
    }
    s_write(disk, "eu", s_eu, s_of_eu, 2);
    s_write(disk, "us", s_eu, s_of_eu, 1);
    return sim;
}

/* Where a log's first segment is gone, the replay begins with the base that holds it, and comes to
 * the same; the second copy of a pair that is in the base is void as ever. A copy without its
 * region's base is a problem; without any base there is no replay. */
static void test_verify_state_replay_begins_with_a_base(void **state)
{
    (void)state;
    sim_disk_t *sim = s_mesh_of_segments();
    const disk_t *disk = sim_disk_disk(sim);
    problems_t problems;
    verify_log_t log = s_open_logs(disk, &problems);
    verify_state_t whole = s_replay_all(&log);
    version_vector_t vector = {0};
    (void)version_vector_raise(&vector, s_stream(s_us), 5);
    verify_state_t part = s_replay(&log, &vector);
    version_vector_done(&vector);
    verify_log_close(&log);
    wal_reader_t *reader = wal_reader_new(&(wal_reader_options_t){
        .disk = disk, .folder = s_folder("us", s_us), .stream = s_stream(s_us), .from_seq = 5});
    wal_batch_t batch;
    errbuf_t errbuf;
    assert_int_equal(wal_reader_next_batch(reader, 5, &batch, &errbuf), ERR_OK);
    s_write_base(disk, "us", &part, batch.hash);
    wal_reader_destroy(&reader);
    const char *const holders[] = {"us", "eu"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            disk->unlink(disk->context, wal_support_segment(s_folder(holders[i], s_us), 1), NULL),
            ERR_OK);
    }
    log = s_open_logs(disk, &problems);
    assert_int_equal(problems.report.problem_count, 1);
    assert_non_null(strstr(problems.texts, "eu/shard-3"));
    verify_state_t again = s_replay_all(&log);
    assert_int_equal(verify_state_compare(&whole, &again, "replay", &problems.report), 0);
    assert_int_equal(again.counts.events, whole.counts.events);
    assert_int_equal(again.counts.logged.signals - again.counts.voided.signals,
                     whole.counts.logged.signals - whole.counts.voided.signals);
    verify_log_close(&log);
    assert_int_equal(
        disk->unlink(disk->context, "data/us/shard-3/tenants/default-1/state.base", NULL), ERR_OK);
    log = s_open_logs(disk, &problems);
    assert_int_equal(problems.report.problem_count, 2);
    verify_state_whole(&log, s_tenant, &vector);
    verify_state_t none;
    assert_int_equal(verify_state_replay(&log, s_schema(), s_tenant, &vector, &none, &errbuf),
                     ERR_NOT_FOUND);
    version_vector_done(&vector);
    verify_state_done(&whole);
    verify_state_done(&part);
    verify_state_done(&again);
    verify_log_close(&log);
    sim_disk_destroy(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify_log_copies_of_different_length_agree),
        cmocka_unit_test(test_verify_log_copies_that_differ_are_named),
        cmocka_unit_test(test_verify_log_other_batches_are_a_difference),
        cmocka_unit_test(test_verify_state_replay_counts_add_up),
        cmocka_unit_test(test_verify_state_replay_takes_an_earlier_read_copy_back),
        cmocka_unit_test(test_verify_state_replay_has_sessions),
        cmocka_unit_test(test_verify_state_replay_stops_at_its_vector),
        cmocka_unit_test(test_verify_state_checkpoint_equals_the_replay),
        cmocka_unit_test(test_verify_state_lost_or_doubled_events_are_named),
        cmocka_unit_test(test_verify_state_pairs_that_differ_are_named),
        cmocka_unit_test(test_verify_state_load_bad_entries_are_refused),
        cmocka_unit_test(test_verify_state_replay_begins_with_a_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
