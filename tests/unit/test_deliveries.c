/* Two million deliveries of batches, duplicated, overlapped and reordered, through what judges them
 * (applier) into what counts them (ledger): every signal of every batch counts once. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/replication/applier.h"
#include "common/signal/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    S_STREAM_COUNT = 6,
    S_BATCH_COUNT = 30000, /* per stream */
    S_BATCH_SIZE_MAX = 4,
    S_ITEM_COUNT = 300,
    S_USER_COUNT = 100,
    S_SIGNAL_COUNT = 2, /* types: view and like */
    S_DELIVERY_COUNT = 2000000
};

/* What a delivery is, as the stream stands when it comes. */
typedef enum { S_NEXT, S_AGAIN, S_EARLY, S_OVERLAPPED, S_KIND_COUNT } s_kind_t;

typedef struct {
    uint64_t first_seq;
    uint64_t last_seq;
    buffer_t payload;
} s_batch_t;

typedef struct {
    stream_id_t id;
    uint32_t applied; /* batches */
    s_batch_t batches[S_BATCH_COUNT];
} s_stream_t;

typedef struct {
    applier_t *applier;
    ledger_t *ledger; /* fed by the deliveries */
    ledger_t *truth;  /* fed with each batch once */
    uint64_t counts[S_ITEM_COUNT + 1][S_SIGNAL_COUNT + 1];
    uint64_t events; /* logged */
    uint64_t deliveries[S_KIND_COUNT];
    uint64_t alerts;
    s_stream_t streams[S_STREAM_COUNT];
} s_world_t;

static const int64_t s_at_ns = INT64_C(1700000000) * 1000000000;

static void s_log_batch(s_world_t *world, prng_t *prng, s_batch_t *batch, uint64_t first_seq)
{
    signal_event_t events[S_BATCH_SIZE_MAX];
    uint32_t count = 1 + (uint32_t)prng_below(prng, S_BATCH_SIZE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        events[i] = (signal_event_t){
            .item = {1 + prng_below(prng, S_ITEM_COUNT)},
            .user = {prng_below(prng, S_USER_COUNT)},
            .ts_ns = s_at_ns - (int64_t)prng_below(prng, 100000) * 1000000000,
            .weight = prng_unit(prng),
            .signal = (uint8_t)(1 + prng_below(prng, S_SIGNAL_COUNT)),
        };
        world->counts[events[i].item.value][events[i].signal]++;
    }
    *batch = (s_batch_t){.first_seq = first_seq, .last_seq = first_seq + count - 1};
    buffer_init(&batch->payload);
    record_append_signals(&batch->payload, events, count);
    world->events += count;
    CHECK(ledger_apply_payload(world->truth, buffer_slice(&batch->payload), LEDGER_COUNTED, NULL) ==
          ERR_OK);
}

static void s_step(s_world_t *world, const applier_event_t *event, applier_effects_t *ret_effects)
{
    applier_step(world->applier, event, ret_effects);
}

static s_world_t *s_open(prng_t *prng)
{
    static schema_t s_schema;
    s_world_t *world = calloc(1, sizeof(*world));
    CHECK(world != NULL);
    schema_init_default(&s_schema);
    world->applier = applier_new();
    world->ledger = ledger_new(&s_schema);
    world->truth = ledger_new(&s_schema);
    for (uint16_t s = 0; s < S_STREAM_COUNT; s++) {
        s_stream_t *stream = &world->streams[s];
        stream->id = (stream_id_t){
            .tenant = {1}, .incarnation = 1 + s % 2U, .origin = {{(uint16_t)(1 + s / 2)}, {0}}};
        uint64_t next_seq = 1;
        for (uint32_t b = 0; b < S_BATCH_COUNT; b++) {
            s_log_batch(world, prng, &stream->batches[b], next_seq);
            next_seq = stream->batches[b].last_seq + 1;
        }
        applier_event_t event = {.kind = APPLIER_EVENT_AVAILABLE, .stream = stream->id};
        event.as.available.seq = next_seq - 1;
        event.as.available.boot = 1;
        applier_effects_t effects;
        s_step(world, &event, &effects);
    }
    return world;
}

static void s_close(s_world_t *world)
{
    for (uint32_t s = 0; s < S_STREAM_COUNT; s++) {
        for (uint32_t b = 0; b < S_BATCH_COUNT; b++) {
            buffer_done(&world->streams[s].batches[b].payload);
        }
    }
    applier_destroy(&world->applier);
    ledger_destroy(&world->ledger);
    ledger_destroy(&world->truth);
    free(world);
}

/* Events first..last of a stream arrive; what the core says to apply is applied, and must be a batch as
 * it was logged. */
static void s_deliver(s_world_t *world, s_stream_t *stream, uint64_t first, uint64_t last)
{
    applier_event_t event = {.kind = APPLIER_EVENT_BATCH, .stream = stream->id};
    event.as.batch.first_seq = first;
    event.as.batch.last_seq = last;
    applier_effects_t effects;
    s_step(world, &event, &effects);
    for (uint32_t i = 0; i < effects.count; i++) {
        world->alerts += effects.list[i].kind == APPLIER_EFFECT_ALERT ? 1 : 0;
        if (effects.list[i].kind != APPLIER_EFFECT_APPLY) {
            continue;
        }
        const s_batch_t *batch = &stream->batches[stream->applied];
        assert_true(stream->applied < S_BATCH_COUNT);
        assert_int_equal(batch->first_seq, first);
        assert_int_equal(batch->last_seq, last);
        assert_int_equal(ledger_apply_payload(world->ledger, buffer_slice(&batch->payload),
                                              LEDGER_COUNTED, NULL),
                         ERR_OK);
        stream->applied++;
    }
}

static void s_deliver_batch(s_world_t *world, s_stream_t *stream, uint32_t index, s_kind_t kind)
{
    const s_batch_t *batch = &stream->batches[index];
    world->deliveries[kind]++;
    s_deliver(world, stream, batch->first_seq, batch->last_seq);
}

/* One delivery: of the next batch, of an older one again, of a later one too early, or of a range that
 * begins in what is applied and ends behind it. */
static void s_deliver_some(s_world_t *world, prng_t *prng)
{
    s_stream_t *stream = &world->streams[prng_below(prng, S_STREAM_COUNT)];
    uint32_t next = stream->applied;
    uint64_t kind = prng_below(prng, 8);
    if (kind == 0 && next < S_BATCH_COUNT) {
        s_deliver_batch(world, stream, next, S_NEXT);
    } else if (kind < 4 && next > 0) {
        s_deliver_batch(world, stream, (uint32_t)prng_below(prng, next), S_AGAIN);
    } else if (kind < 6 && next + 1 < S_BATCH_COUNT) {
        uint64_t index = next + 1 + prng_below(prng, 20);
        index = index < S_BATCH_COUNT ? index : S_BATCH_COUNT - 1;
        s_deliver_batch(world, stream, (uint32_t)index, S_EARLY);
    } else if (next > 0 && next < S_BATCH_COUNT) {
        const s_batch_t *overlapped = &stream->batches[next - 1];
        uint64_t size = overlapped->last_seq + 1 - overlapped->first_seq;
        world->deliveries[S_OVERLAPPED]++;
        s_deliver(world, stream, overlapped->first_seq + prng_below(prng, size),
                  stream->batches[next].last_seq);
    }
}

static uint64_t s_delivery_count(const s_world_t *world)
{
    uint64_t count = 0;
    for (uint32_t kind = 0; kind < S_KIND_COUNT; kind++) {
        count += world->deliveries[kind];
    }
    return count;
}

static void s_assert_exact(s_world_t *world)
{
    ledger_totals_t totals;
    ledger_totals(world->ledger, &totals);
    assert_int_equal(totals.signals, world->events);
    for (uint64_t item = 1; item <= S_ITEM_COUNT; item++) {
        for (unsigned signal = 1; signal <= S_SIGNAL_COUNT; signal++) {
            uint64_t count = ledger_count(world->ledger, (item_id_t){item}, (uint8_t)signal,
                                          WINDOW_ALL, s_at_ns, NULL);
            assert_int_equal(count, world->counts[item][signal]);
        }
    }
    ledger_digest_t digest;
    ledger_digest_t truth;
    ledger_digest(world->ledger, &digest);
    ledger_digest(world->truth, &truth);
    assert_memory_equal(digest.bytes, truth.bytes, sizeof(digest.bytes));
}

/* Goal: counts are exact, and the state is the one of each batch applied once. */
static void test_deliveries_of_two_million_batches_count_once(void **state)
{
    (void)state;
    prng_t prng;
    prng_init(&prng, 51);
    s_world_t *world = s_open(&prng);
    while (s_delivery_count(world) < S_DELIVERY_COUNT) {
        s_deliver_some(world, &prng);
    }
    /* Hundreds of thousands of each kind, and each gap and overlap was told. */
    for (uint32_t kind = 0; kind < S_KIND_COUNT; kind++) {
        assert_true(world->deliveries[kind] > S_DELIVERY_COUNT / 20);
    }
    assert_int_equal(world->alerts, world->deliveries[S_EARLY] + world->deliveries[S_OVERLAPPED]);
    for (uint32_t s = 0; s < S_STREAM_COUNT; s++) {
        s_stream_t *stream = &world->streams[s];
        for (uint32_t b = 0; b < S_BATCH_COUNT; b++) { /* the last word, once more from the start */
            s_deliver_batch(world, stream, b, b < stream->applied ? S_AGAIN : S_NEXT);
        }
        assert_int_equal(stream->applied, S_BATCH_COUNT);
    }
    assert_int_equal(world->deliveries[S_NEXT], S_STREAM_COUNT * S_BATCH_COUNT);
    s_assert_exact(world);
    s_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deliveries_of_two_million_batches_count_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
