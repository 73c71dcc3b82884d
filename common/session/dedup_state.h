/* What the sources of dedup share; for nobody else. */
#ifndef TIDAL_COMMON_SESSION_DEDUP_STATE_H
#define TIDAL_COMMON_SESSION_DEDUP_STATE_H

#include "common/base/check.h"
#include "common/session/dedup.h"
#include "common/session/dedup_format.h"
#include "common/session/pair_index.h"
#include "common/session/seq_set.h"
#include "common/signal/index.h"
#include "common/signal/rows.h"

static_assert(DEDUP_KEY_PREFIX_SIZE_MAX + DEDUP_SEEN_KEY_SIZE_MAX <= STORE_KEY_SIZE_MAX,
              "every key fits every store");

typedef struct {
    uint64_t name_offset; /* in names */
    uint8_t name_size;
    bool is_changed; /* is in changed.producers */
    seq_set_t seqs;
} producer_row_t;

typedef struct {
    uint64_t first_seq;
    uint64_t producer_seq;
    uint64_t epoch;
    uint64_t named_seq; /* first seq of the copy that answers name; 0: this one */
    hlc_stamp_t hlc;
    content_hash_t content_hash;
    uint32_t event_count; /* 0: the row is free */
    uint32_t stream;
    uint32_t named_stream; /* where named_seq is not 0 */
    uint32_t producer;
    uint32_t next;       /* the pair's next copy, higher; of a free row the next free one; 0 none */
    bool is_pair_stable; /* another copy was forgotten; the same in all copies of a pair */
    bool is_changed;     /* the row, in use or free, is in changed.positions */
    bool is_stored;      /* was put into a checkpoint: deleting it must be said */
} position_row_t;

/* Place of a position in the order of its stream. */
typedef struct {
    uint64_t first_seq;
    uint32_t row;
} queued_t;

typedef struct {
    stream_id_t id;
    uint64_t stable_seq; /* 0: nothing was forgotten */
    buffer_t queue;      /* queued_t, its first head_count ones done with */
    size_t head_count;
    bool is_sorted;         /* the queue is in order of first_seq */
    bool is_stable_changed; /* stable_seq, since the last checkpoint */
    bool is_stable_pending; /* in a checkpoint that is not settled */
} dedup_stream_t;

typedef struct {
    uint32_t producer;
    uint32_t block_id;
} dropped_block_t;

typedef struct {
    uint64_t first_seq;
    uint32_t stream;
} dropped_position_t;

/* What a checkpoint has to write. */
typedef struct {
    buffer_t producers;         /* uint32_t rows */
    buffer_t positions;         /* uint32_t rows, each once, some of them free by now */
    buffer_t dropped_blocks;    /* dropped_block_t */
    buffer_t dropped_positions; /* dropped_position_t */
} dedup_changes_t;

/* A number modulo 2^128. */
typedef struct {
    uint64_t low;
    uint64_t high;
} dedup_sum_t;

struct dedup {
    tenant_id_t tenant;
    shard_id_t shard;
    buffer_t names;   /* of all producers, end to end */
    rows_t producers; /* producer_row_t */
    index_t producer_index;
    rows_t positions; /* position_row_t */
    uint32_t free_position;
    uint32_t position_count;
    pair_index_t pair_index; /* (producer, seq) to the pair's lowest copy */
    buffer_t streams;        /* dedup_stream_t, in the order in which they were first met */
    buffer_t stream_order;   /* uint32_t numbers of streams, by stream_id_compare */
    uint32_t last_stream;    /* that was looked up */
    uint64_t interval_count;
    uint64_t set_size_bytes; /* of all producers' sets */
    dedup_sum_t digest;
    dedup_changes_t changed;
    dedup_changes_t pending; /* of the checkpoint that is not settled */
    bool is_checkpoint_open;
    buffer_t loaded_key; /* the last one */
};

static inline producer_row_t *dedup_producer_at(const dedup_t *self, uint32_t row)
{
    return rows_at(&self->producers, row);
}

static inline position_row_t *dedup_position_at(const dedup_t *self, uint32_t row)
{
    return rows_at(&self->positions, row);
}

static inline uint64_t dedup_last_seq(const position_row_t *row)
{
    return row->first_seq + row->event_count - 1;
}

/* -- dedup_tables.c ---------------------------------------------------------------------------- */

slice_t dedup_producer_name(const dedup_t *self, const producer_row_t *producer);
/* Row of the producer; made when missing. */
uint32_t dedup_require_producer(dedup_t *self, slice_t name);
/* 0 when there is none. */
uint32_t dedup_find_producer(const dedup_t *self, slice_t name);

dedup_stream_t *dedup_stream_at(const dedup_t *self, uint32_t number);
uint32_t dedup_stream_count(const dedup_t *self);
/* Number of the stream; made when missing. */
uint32_t dedup_require_stream(dedup_t *self, stream_id_t id);

/* Row of the pair's lowest copy; 0 when no position is kept. */
uint32_t dedup_find_pair(const dedup_t *self, uint32_t producer, uint64_t producer_seq);
/* A new row with this content, in the pair's chain and in its stream's queue. */
uint32_t dedup_insert_position(dedup_t *self, const position_row_t *content);

/* Takes the row out of its pair's chain. */
void dedup_unlink_position(dedup_t *self, uint32_t row);
/* The row as the header shows it. */
dedup_position_t dedup_render_position(const dedup_t *self, const position_row_t *row);

/* -- dedup.c ----------------------------------------------------------------------------------- */

/* The interval's part of the digest comes. */
void dedup_digest_add(dedup_sum_t *sum, slice_t name, seq_interval_t interval);

#endif
