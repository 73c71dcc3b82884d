/* The naive truth about pairs seen, for the tests of dedup: an array of all copies ever added,
 * searched from end to end. */
#ifndef TIDAL_TESTS_UNIT_DEDUP_MODEL_H
#define TIDAL_TESTS_UNIT_DEDUP_MODEL_H

#include "common/session/dedup.h"

enum { DEDUP_MODEL_COPY_COUNT_MAX = 4096, DEDUP_MODEL_STREAM_COUNT = 4 };

typedef struct {
    unsigned producer; /* 0.. */
    unsigned stream;   /* 0..DEDUP_MODEL_STREAM_COUNT - 1 */
    uint64_t producer_seq;
    dedup_position_t position;
} dedup_copy_t;

typedef struct {
    dedup_copy_t copies[DEDUP_MODEL_COPY_COUNT_MAX]; /* in the order of adding */
    size_t count;
    uint64_t stable_seq[DEDUP_MODEL_STREAM_COUNT];
} dedup_model_t;

stream_id_t dedup_model_stream(unsigned stream);
/* A name of 1..64 bytes; lives until the next call. */
slice_t dedup_model_producer(unsigned producer);
/* Logged under epoch 1, two events. */
dedup_copy_t dedup_model_copy(
    unsigned producer, uint64_t producer_seq, unsigned stream, uint64_t first_seq, int64_t wall_ns);

dedup_verdict_t dedup_model_add(dedup_model_t *self,
                                const dedup_copy_t *copy,
                                dedup_conflict_t *ret_conflict);
void dedup_model_forget(dedup_model_t *self, unsigned stream, uint64_t through_seq);
dedup_found_t dedup_model_find(const dedup_model_t *self,
                               unsigned producer,
                               uint64_t producer_seq,
                               dedup_position_t *ret_position);

/* Adds the copy to both and compares what they say. */
void dedup_model_add_both(dedup_model_t *self, dedup_t *dedup, const dedup_copy_t *copy);
/* Compares the answers for every pair of the model and its neighbours, and the digest with one that
 * is computed anew. */
void dedup_model_compare(const dedup_model_t *self, const dedup_t *dedup);

#endif
