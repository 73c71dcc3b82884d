/* What the tests of the ledger share: random records, and states as sorted entries. */
#ifndef TIDAL_TESTS_UNIT_LEDGER_SUPPORT_H
#define TIDAL_TESTS_UNIT_LEDGER_SUPPORT_H

#include "common/base/prng.h"
#include "common/signal/ledger.h"

/* 2023-11-14, a time in the middle of everything. */
#define LEDGER_SUPPORT_NOW_NS (INT64_C(1700000000) * 1000000000)

/* The ranges that random records are drawn from. */
typedef struct {
    uint64_t item_count;
    uint64_t user_count;
    uint64_t back_minutes; /* events lie up to this long before LEDGER_SUPPORT_NOW_NS */
    uint64_t cohort_count; /* 0: batches are without cohorts */
} ledger_support_range_t;

signal_event_t ledger_support_event(prng_t *prng, const ledger_support_range_t *range);

/* One payload, and what becomes of it. */
typedef struct {
    buffer_t payload;
    bool is_signals;
    bool is_voided;         /* its signals do not count at the end */
    bool voided_on_arrival; /* in the order at hand */
} ledger_support_batch_t;

/* A batch of 1..40 signals, or of one to three register writes. */
void ledger_support_batch_init(ledger_support_batch_t *self,
                               prng_t *prng,
                               const ledger_support_range_t *range);
void ledger_support_batch_done(ledger_support_batch_t *self);

/* A random register write of any kind, with stamps that often tie. */
void ledger_support_append_register(buffer_t *payload,
                                    prng_t *prng,
                                    const ledger_support_range_t *range);

/* The same signals in some of the cohorts c:0 .. c:<cohort_count - 1> each; appended. */
void ledger_support_append_cohorts(buffer_t *payload,
                                   prng_t *prng,
                                   const signal_event_t *events,
                                   uint32_t count,
                                   uint64_t cohort_count);

/* Applies all batches in a random order, with the voids of a random half after their arrival. */
void ledger_support_apply_shuffled(ledger_t *ledger,
                                   prng_t *prng,
                                   ledger_support_batch_t *batches,
                                   unsigned count);

/* Applies events as one batch; must succeed. */
void ledger_support_apply(ledger_t *ledger, const signal_event_t *events, uint32_t count);
void ledger_support_void(ledger_t *ledger, const signal_event_t *events, uint32_t count);

/* All entries in key order, one after the other; appended. */
void ledger_support_dump(const ledger_t *ledger, buffer_t *ret_bytes);
/* Digests, full digests and entries are equal, and ledger_compare finds nothing. */
void ledger_support_assert_equal(ledger_t *a, ledger_t *b);

#endif
