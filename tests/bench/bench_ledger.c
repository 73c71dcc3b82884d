/* How fast the ledger applies, hashes, checkpoints, loads and ranks, and what memory it takes.
 *
 *   bench_ledger [EVENTS]      default 2,000,000 per run
 *
 * Events are applied as payloads of 1,000 signals, as a node applies batches: items are chosen log-
 * uniformly (a few are hot), four signal types, times that rise by 10 ms with a jitter of 2 s, one
 * event in a hundred up to a day late. Users: none; 100,000 chosen log-uniformly (a few are busy);
 * or 100,000 chosen evenly, the worst case, where nearly every signal makes a new pair of user and
 * item. Cohorts: three per user, of 3, 4 and 50 values, or none, looked up as a leader does and
 * then applied; or, with no user in one, looked up in vain. The first run of each row creates the
 * cells, the second one changes them. One thread; all times are the processor time of the process,
 * so that other work on the machine matters less. */
#include "common/base/prng.h"
#include "common/base/store_batch.h"
#include "common/signal/ledger.h"
#include "common/signal/power.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/check.h"

enum { BATCH_COUNT = 1000, USER_COUNT = 100000, SIGNAL_COUNT = 4 };

static const int64_t s_start_ns = INT64_C(1700000000) * 1000000000;

static double s_now_s(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

typedef enum { USERS_NONE, USERS_FEW_BUSY, USERS_EVEN } users_t;

typedef struct {
    prng_t prng;
    uint32_t item_count;
    users_t users;
    int64_t clock_ns;
} source_t;

/* 1..count, lower ones more often: the logarithm is even. */
static uint64_t s_log_uniform(prng_t *prng, double count_log2)
{
    return 1 + (uint64_t)(power_of_two(prng_unit(prng) * count_log2) - 1.0);
}

static uint64_t s_user(source_t *source)
{
    static const double s_user_count_log2 = 16.6;
    switch (source->users) {
    case USERS_NONE:
        return 0;
    case USERS_FEW_BUSY:
        return s_log_uniform(&source->prng, s_user_count_log2);
    case USERS_EVEN:
        break;
    }
    return 1 + prng_below(&source->prng, USER_COUNT);
}

static signal_event_t s_event(source_t *source, double item_bits)
{
    prng_t *prng = &source->prng;
    signal_event_t event = {0};
    event.item.value = s_log_uniform(prng, item_bits);
    event.user.value = s_user(source);
    event.signal = (uint8_t)(1 + prng_below(prng, SIGNAL_COUNT));
    event.weight = prng_below(prng, 4) == 0 ? prng_unit(prng) * 10 : 1.0;
    source->clock_ns += 10000000;
    event.ts_ns = source->clock_ns - (int64_t)prng_below(prng, 2000000000);
    if (prng_below(prng, 100) == 0) {
        event.ts_ns -= (int64_t)prng_below(prng, 86400) * 1000000000;
    }
    return event;
}

static buffer_t *s_payloads(source_t *source, uint32_t batch_count)
{
    buffer_t *payloads = calloc(batch_count, sizeof(*payloads));
    CHECK(payloads != NULL);
    double item_bits = 0;
    while (power_of_two(item_bits + 0.001) < (double)source->item_count) {
        item_bits += 0.001;
    }
    static signal_event_t s_events[BATCH_COUNT];
    for (uint32_t i = 0; i < batch_count; i++) {
        for (uint32_t j = 0; j < BATCH_COUNT; j++) {
            s_events[j] = s_event(source, item_bits);
        }
        record_append_signals(&payloads[i], s_events, BATCH_COUNT);
    }
    return payloads;
}

/* Applies all and frees them; returns events per second, and the longest payload in ms. */
static double s_apply(ledger_t *ledger, buffer_t *payloads, uint32_t count, double *ret_longest_ms)
{
    errbuf_t errbuf;
    double longest_s = 0;
    double begin_s = s_now_s();
    double before_s = begin_s;
    for (uint32_t i = 0; i < count; i++) {
        err_t err =
            ledger_apply_payload(ledger, buffer_slice(&payloads[i]), LEDGER_COUNTED, &errbuf);
        CHECK(err == ERR_OK);
        double now_s = s_now_s();
        longest_s = now_s - before_s > longest_s ? now_s - before_s : longest_s;
        before_s = now_s;
    }
    *ret_longest_ms = longest_s * 1e3;
    for (uint32_t i = 0; i < count; i++) {
        buffer_done(&payloads[i]);
    }
    free(payloads);
    return (double)count * BATCH_COUNT / (before_s - begin_s);
}

static double s_scores_of_item(const ledger_t *ledger,
                               const ledger_item_t *item,
                               cell_reader_t readers[SIGNAL_COUNT])
{
    double sum = 0;
    for (unsigned i = 0; i < SIGNAL_COUNT; i++) {
        const cell_t *cell = ledger_item_cell(ledger, item, (uint8_t)(i + 1));
        sum += cell == NULL ? 0.0 : cell_score(cell, &readers[i], NULL);
    }
    return sum;
}

/* Every item once, by its decayed scores of all signals and the windows of one. */
static void s_rank(const ledger_t *ledger, int64_t at_ns)
{
    cell_reader_t readers[SIGNAL_COUNT];
    for (unsigned i = 0; i < SIGNAL_COUNT; i++) {
        CHECK(ledger_reader(ledger, (uint8_t)(i + 1), at_ns, &readers[i]) == ERR_OK);
    }
    double sum = 0;
    double begin_s = s_now_s();
    for (uint32_t row = 1; row <= ledger_item_count(ledger); row++) {
        sum += s_scores_of_item(ledger, ledger_item(ledger, row), readers);
    }
    double decay_s = s_now_s() - begin_s;
    uint64_t counted = 0;
    begin_s = s_now_s();
    for (uint32_t row = 1; row <= ledger_item_count(ledger); row++) {
        const cell_t *cell = ledger_item_cell(ledger, ledger_item(ledger, row), 1);
        counted += cell == NULL ? 0 : cell_window_count(cell, WINDOW_24H, at_ns, NULL);
    }
    double count_s = s_now_s() - begin_s;
    double items = (double)ledger_item_count(ledger);
    printf(
        "  rank: %.0f ns per item for 4 decayed scores, %.0f ns for one 24 h window (%.6g, %llu)\n",
        decay_s / items * 1e9, count_s / items * 1e9, sum, (unsigned long long)counted);
}

static double s_digest_ms(ledger_t *ledger)
{
    ledger_digest_t digest;
    double begin_s = s_now_s();
    ledger_digest(ledger, &digest);
    return (s_now_s() - begin_s) * 1e3;
}

/* Loads what the batch holds, in key order. */
static void s_load(const ledger_t *original, const schema_t *schema, store_batch_t *batch)
{
    ledger_t *loaded = ledger_new(schema);
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    errbuf_t errbuf;
    store_batch_sort(batch);
    double begin_s = s_now_s();
    while (store_batch_next(batch, &cursor, &operation)) {
        CHECK(ledger_load_entry(loaded, operation.key, operation.value, &errbuf) == ERR_OK);
    }
    double took_s = s_now_s() - begin_s;
    printf("  load: %.2f s, then the first digest %.1f ms\n", took_s, s_digest_ms(loaded));
    ledger_digest_t a;
    ledger_digest_t b;
    ledger_digest(loaded, &a);
    ledger_digest_full(original, &b);
    CHECK(memcmp(&a, &b, sizeof(a)) == 0);
    ledger_destroy(&loaded);
}

static void s_checkpoint(ledger_t *ledger, const schema_t *schema)
{
    ledger_totals_t totals;
    ledger_totals(ledger, &totals);
    store_batch_t *batch = store_batch_new();
    double begin_s = s_now_s();
    ledger_checkpoint_write(ledger, batch, slice_make(NULL, 0));
    double took_s = s_now_s() - begin_s;
    ledger_checkpoint_settle(ledger, true);
    size_t size_bytes = 0;
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    while (store_batch_next(batch, &cursor, &operation)) {
        size_bytes += operation.key.size + operation.value.size;
    }
    printf("  checkpoint of %llu cells and %llu pairs: %.3f s, %.1f MB in %zu entries\n",
           (unsigned long long)totals.cells, (unsigned long long)totals.seen_pairs, took_s,
           (double)size_bytes / 1e6, store_batch_count(batch));
    s_load(ledger, schema, batch);
    store_batch_destroy(&batch);
}

static void s_run(uint32_t cell_count, users_t users, uint32_t batch_count)
{
    static const char *const s_names[] = {"no users", "few busy users", "even users"};
    schema_t schema;
    schema_init_default(&schema);
    ledger_t *ledger = ledger_new(&schema);
    source_t source = {.item_count = cell_count / SIGNAL_COUNT, .users = users};
    source.clock_ns = s_start_ns;
    prng_init(&source.prng, 7);
    double rates[2];
    double longest_ms[2];
    for (unsigned pass = 0; pass < 2; pass++) {
        buffer_t *payloads = s_payloads(&source, batch_count);
        rates[pass] = s_apply(ledger, payloads, batch_count, &longest_ms[pass]);
    }
    ledger_totals_t totals;
    ledger_totals(ledger, &totals);
    printf("%u cells, %s: %.2f and %.2f M signals/s, longest batch %.1f and %.1f ms; %llu cells, "
           "%llu pairs, %.0f MB\n",
           cell_count, s_names[users], rates[0] / 1e6, rates[1] / 1e6, longest_ms[0], longest_ms[1],
           (unsigned long long)totals.cells, (unsigned long long)totals.seen_pairs,
           (double)totals.memory_bytes / 1e6);
    if (users == USERS_FEW_BUSY) {
        double all_ms = s_digest_ms(ledger);
        printf("  digest: %.1f ms when all has changed, %.3f ms when nothing has\n", all_ms,
               s_digest_ms(ledger));
        s_rank(ledger, source.clock_ns);
        s_checkpoint(ledger, &schema);
    }
    ledger_destroy(&ledger);
}

/* Gives each user three attributes, or only the last of 100 so that every look-up is in vain. */
static void s_put_users(ledger_t *ledger, bool all)
{
    static const char *const s_names[] = {"device", "locale", "plan"};
    static const uint32_t s_values[] = {3, 50, 4};
    errbuf_t errbuf;
    for (uint32_t user = 1; user <= USER_COUNT; user++) {
        char values[3][16];
        record_t record = {.type = RECORD_USER_PUT, .event_count = 1};
        record.as.user.user.value = all ? user : USER_COUNT + user;
        record.as.user.hlc.wall_ns = 1;
        record.as.user.attribute_count = 3;
        for (unsigned i = 0; i < 3; i++) {
            (void)snprintf(values[i], sizeof(values[i]), "%u", user * (i + 7) % s_values[i]);
            record.as.user.attributes[i] =
                (record_attribute_t){slice_text(s_names[i]), slice_text(values[i])};
        }
        buffer_t payload = {0};
        record_append(&payload, &record);
        slice_t bytes = buffer_slice(&payload);
        CHECK(ledger_apply_payload(ledger, bytes, LEDGER_COUNTED, &errbuf) == ERR_OK);
        buffer_done(&payload);
    }
}

/* Each payload as a leader logs it; returns signals per second, and the bytes that they grew by. */
static double s_name_cohorts(const ledger_t *ledger,
                             buffer_t *payloads,
                             uint32_t count,
                             double *ret_bytes_per_signal)
{
    cohort_builder_t *builder = cohort_builder_new();
    size_t grown = 0;
    double begin_s = s_now_s();
    for (uint32_t i = 0; i < count; i++) {
        record_t record;
        size_t offset = 0;
        CHECK(record_next(buffer_slice(&payloads[i]), &offset, &record, NULL) == ERR_OK);
        if (ledger_find_cohorts(ledger, &record.as.signals, builder)) {
            buffer_t logged = {0};
            slice_t bytes = buffer_slice(&payloads[i]);
            CHECK(cohort_builder_append(builder, bytes, &logged, NULL) == ERR_OK);
            grown += logged.size - bytes.size;
            buffer_done(&payloads[i]);
            payloads[i] = logged;
        }
    }
    double took_s = s_now_s() - begin_s;
    cohort_builder_destroy(&builder);
    *ret_bytes_per_signal = (double)grown / ((double)count * BATCH_COUNT);
    return (double)count * BATCH_COUNT / took_s;
}

static void s_cohorts(uint32_t cell_count, users_t users, bool all, uint32_t batch_count)
{
    schema_t schema;
    schema_init_default(&schema);
    ledger_t *ledger = ledger_new(&schema);
    source_t source = {.item_count = cell_count / SIGNAL_COUNT, .users = users};
    source.clock_ns = s_start_ns;
    prng_init(&source.prng, 7);
    s_put_users(ledger, all);
    double look_up[2];
    double rates[2];
    double bytes = 0;
    double longest_ms = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        buffer_t *payloads = s_payloads(&source, batch_count);
        look_up[pass] = s_name_cohorts(ledger, payloads, batch_count, &bytes);
        rates[pass] = s_apply(ledger, payloads, batch_count, &longest_ms);
    }
    ledger_totals_t totals;
    ledger_totals(ledger, &totals);
    printf("cohorts, %u cells, %s, %s: look-up %.2f and %.2f M signals/s, %.2f bytes each, apply "
           "%.2f and %.2f M/s; %llu cells of cohorts, %.0f MB\n",
           cell_count, users == USERS_EVEN ? "even users" : "few busy users",
           all ? "three each" : "none", look_up[0] / 1e6, look_up[1] / 1e6, bytes, rates[0] / 1e6,
           rates[1] / 1e6, (unsigned long long)totals.cohort_cells,
           (double)totals.memory_bytes / 1e6);
    ledger_destroy(&ledger);
}

/* One event for each of `count` cells. */
static void s_apply_to_all(ledger_t *ledger, uint32_t count, int64_t ts_ns)
{
    static signal_event_t s_events[BATCH_COUNT];
    buffer_t payload = {0};
    errbuf_t errbuf;
    for (uint32_t cell = 0; cell < count; cell += BATCH_COUNT) {
        for (uint32_t i = 0; i < BATCH_COUNT; i++) {
            s_events[i] = (signal_event_t){{1 + cell + i}, {0}, ts_ns, 1, 1};
        }
        buffer_clear(&payload);
        record_append_signals(&payload, s_events, BATCH_COUNT);
        slice_t bytes = buffer_slice(&payload);
        CHECK(ledger_apply_payload(ledger, bytes, LEDGER_COUNTED, &errbuf) == ERR_OK);
    }
    buffer_done(&payload);
}

/* Memory of cells that all look alike: an event every step_ns. */
static void s_memory(uint32_t cell_count,
                     uint32_t events_per_cell,
                     int64_t step_ns,
                     const char *what)
{
    schema_t schema;
    schema_init_default(&schema);
    ledger_t *ledger = ledger_new(&schema);
    for (uint32_t event = 0; event < events_per_cell; event++) {
        s_apply_to_all(ledger, cell_count, s_start_ns + event * step_ns);
    }
    ledger_totals_t totals;
    ledger_totals(ledger, &totals);
    ledger_digest_t digest;
    double begin_s = s_now_s();
    ledger_digest(ledger, &digest);
    double took_s = s_now_s() - begin_s;
    printf("%s: %.0f bytes per cell with its item, %.0f ns per hash\n", what,
           (double)totals.memory_bytes / cell_count, took_s / cell_count * 1e9);
    ledger_destroy(&ledger);
}

int main(int argc, char **argv)
{
    uint64_t events = 2000000;
    if (argc > 1 && text_to_u64(argv[1], BATCH_COUNT, 100000000, &events) != ERR_OK) {
        (void)fprintf(stderr, "bench_ledger: expected 1000..100000000 events, found %s\n", argv[1]);
        return 2;
    }
    static const uint32_t s_cells[] = {1000, 100000, 1000000};
    for (size_t i = 0; i < sizeof(s_cells) / sizeof(s_cells[0]); i++) {
        for (users_t users = USERS_NONE; users <= USERS_EVEN; users++) {
            s_run(s_cells[i], users, (uint32_t)(events / BATCH_COUNT));
        }
    }
    s_cohorts(100000, USERS_FEW_BUSY, false, (uint32_t)(events / BATCH_COUNT));
    s_cohorts(100000, USERS_EVEN, false, (uint32_t)(events / BATCH_COUNT));
    s_cohorts(100000, USERS_FEW_BUSY, true, (uint32_t)(events / BATCH_COUNT));
    s_cohorts(100000, USERS_EVEN, true, (uint32_t)(events / BATCH_COUNT));
    s_memory(100000, 1, 0, "one event");
    s_memory(2000, 720, INT64_C(3600) * 1000000000, "30 days, an event an hour");
    s_memory(2000, 30 * 48, INT64_C(1800) * 1000000000, "30 days, an event every half hour");
    return 0;
}
