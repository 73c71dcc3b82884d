/* What the sources of the ledger share; for nobody else. */
#ifndef TIDAL_COMMON_SIGNAL_LEDGER_STATE_H
#define TIDAL_COMMON_SIGNAL_LEDGER_STATE_H

#include "common/base/check.h"
#include "common/base/store_batch.h"
#include "common/signal/checkpoint_format.h"
#include "common/signal/index.h"
#include "common/signal/ledger.h"
#include "common/signal/rows.h"
#include "common/signal/seen.h"

enum {
    SIGNAL_INLINE_COUNT = 6, /* cells of an item that its row itself refers to */
    SIGNAL_UNKNOWN = 0xff,
    MARK_DIGEST = 1,    /* in changed[].digest */
    MARK_CHECKPOINT = 2 /* in changed[].checkpoint */
};

static_assert(sizeof(ledger_item_t) == 64, "a row is one cache line");
static_assert(LEDGER_KEY_PREFIX_SIZE_MAX + CHECKPOINT_KEY_SIZE_MAX <= STORE_KEY_SIZE_MAX,
              "every key fits every store");

/* Registers of an item or user, with the hash of its entry in the digest (0: not in it). */
typedef struct ledger_named {
    uint128_t hash;
    registers_t registers;
} ledger_named_t;

typedef struct {
    uint64_t user;
    ledger_named_t *named;   /* NULL: no attributes */
    uint32_t relation_first; /* newest row of the user's relations; 0 none */
    uint8_t marks;
    uint8_t zero[3];
} user_row_t;

typedef struct {
    uint128_t hash;
    hlc_stamp_t hlc;
    uint64_t user;
    uint64_t target;
    uint32_t next; /* row of the user's next relation; 0 none */
    uint8_t action;
    uint8_t set;
    uint8_t marks;
    uint8_t zero;
} relation_row_t;

/* A name, in the order of first appearance here: its number shows nowhere. */
typedef struct {
    uint8_t size;
    char name[NAME_LENGTH_MAX];
} cohort_row_t;

/* The cell of a cohort; found by (item, signal, cohort) alone, so that the cells of all users stay
 * as small and as near as they are. */
typedef struct {
    uint64_t item;
    uint32_t cohort; /* its row */
    uint32_t zero;
    cell_t cell;
    uint128_t hash; /* in the digest: last, so that an event touches two cache lines */
} cohort_cell_t;

static_assert(sizeof(user_row_t) == 24 && sizeof(relation_row_t) == 64, "as README.md says");
static_assert(sizeof(cohort_row_t) == 65 && sizeof(cohort_cell_t) == 96, "as README.md says");

/* Kinds of entries that have a row, a hash in the digest and marks. */
typedef enum { KIND_CELL, KIND_ITEM, KIND_USER, KIND_RELATION, KIND_COHORT_CELL } kind_t;
enum { KIND_COUNT = 5 };

/* Row numbers (u32 each) of what changed since the last digest, and since the last checkpoint. */
typedef struct {
    buffer_t digest;
    buffer_t checkpoint;
    buffer_t pending; /* in a checkpoint that is not settled */
} changed_t;

/* What a checkpoint holds of a part of the seen pairs: chunks with these numbers. */
typedef struct {
    uint32_t first_chunk; /* lower ones are deleted */
    uint32_t next_chunk;
    uint64_t record_count; /* in the chunks, overwritten ones among them */
} seen_log_t;

struct ledger {
    uint8_t signal_index[256]; /* by signal id; SIGNAL_UNKNOWN */
    uint32_t signal_count;
    decay_t decays[SIGNAL_TYPE_COUNT_MAX]; /* by signal index */
    rows_t items;                          /* ledger_item_t */
    index_t item_index;
    rows_t cells;       /* cell_t */
    rows_t cell_hashes; /* uint128_t, by cell row */
    memory_t memory;
    rows_t users; /* user_row_t */
    index_t user_index;
    rows_t relations; /* relation_row_t */
    index_t relation_index;
    rows_t cohorts; /* cohort_row_t */
    index_t cohort_index;
    rows_t cohort_cells; /* cohort_cell_t */
    index_t cohort_cell_index;
    buffer_t cohort_scratch; /* of the record at hand: u32 row by name, then u32 place by set */
    seen_t seen;
    changed_t changed[KIND_COUNT];
    buffer_t seen_changed; /* seen_pair_t */
    buffer_t seen_pending;
    seen_log_t seen_logs[SEEN_PART_COUNT];
    seen_log_t
        seen_logs_before[SEEN_PART_COUNT]; /* as they are durable while a checkpoint is open */
    buffer_t seen_chunks[SEEN_PART_COUNT]; /* being written */
    bool seen_rewrite;                     /* the next checkpoint writes all parts anew */
    bool seen_rewrite_pending;             /* the one that is not settled did */
    bool checkpoint_open;                  /* written, not settled */
    uint128_t digest;                      /* of everything that is not in changed[].digest */
    uint64_t event_count;                  /* sum of all-time counts */
    uint64_t item_count;                   /* put and not deleted */
    uint64_t user_count;                   /* with attributes */
    uint64_t named_size_bytes;
    buffer_t scratch; /* one entry */
};

/* -- ledger.c: rows ---------------------------------------------------------------------------- */

ledger_item_t *ledger_item_row(const ledger_t *self, uint32_t row);
cell_t *ledger_cell_row(const ledger_t *self, uint32_t row);
user_row_t *ledger_user_row(const ledger_t *self, uint32_t row);
relation_row_t *ledger_relation_row(const ledger_t *self, uint32_t row);

/* Row numbers by key; 0 when there is none. The hashes are those of the keys. */
uint32_t ledger_find_item_hashed(const ledger_t *self, uint64_t item, uint64_t hash);
uint32_t ledger_find_user_hashed(const ledger_t *self, uint64_t user, uint64_t hash);
uint32_t ledger_find_relation(const ledger_t *self,
                              uint64_t user,
                              relation_action_t action,
                              uint64_t target);
uint32_t ledger_find_cell(const ledger_t *self, const ledger_item_t *item, uint8_t signal);

/* The same, created when missing. A new relation is not set, with the zero stamp. */
uint32_t ledger_require_item(ledger_t *self, uint64_t item, uint64_t hash);
uint32_t ledger_require_user(ledger_t *self, uint64_t user, uint64_t hash);
uint32_t ledger_require_relation(ledger_t *self,
                                 uint64_t user,
                                 relation_action_t action,
                                 uint64_t target);
/* in signal one of the schema */
uint32_t ledger_require_cell(ledger_t *self, uint32_t item_row, uint8_t signal);
registers_t *ledger_require_named(ledger_t *self, ledger_named_t **named_p);

/* -- ledger_cohorts.c -------------------------------------------------------------------------- */

/* What becomes of signals. */
typedef enum { EFFECT_ADD, EFFECT_TOUCH, EFFECT_TAKE_BACK } effect_t;

void ledger_cohorts_init(ledger_t *self);
void ledger_cohorts_done(ledger_t *self);
/* Memory of names and cells, without tails. */
uint64_t ledger_cohorts_size(const ledger_t *self);
cohort_cell_t *ledger_cohort_cell_row(const ledger_t *self, uint32_t row);
slice_t ledger_cohort_name(const ledger_t *self, uint32_t cohort);
uint32_t ledger_require_cohort(ledger_t *self, slice_t name);
/* Row of the cell of a cohort; 0 when there is none. */
uint32_t ledger_find_cohort_cell(const ledger_t *self,
                                 uint32_t cohort,
                                 uint64_t item,
                                 uint8_t signal);
uint32_t ledger_require_cohort_cell(ledger_t *self, uint32_t cohort, uint64_t item, uint8_t signal);
/* The signals of a record in the cells of the cohorts that it names. */
void ledger_apply_cohorts(ledger_t *self, const record_signals_t *signals, effect_t effect);

static inline decay_t *ledger_decay(ledger_t *self, uint8_t signal)
{
    CHECK(self->signal_index[signal] != SIGNAL_UNKNOWN);
    return &self->decays[self->signal_index[signal]];
}

/* The entry of this row changed: it will be hashed and written anew. */
void ledger_mark(ledger_t *self, kind_t kind, uint32_t row, uint8_t *marks);
/* The count of the event's pair changes by delta, 1 or -1; adjusts digest and marks. */
void ledger_change_seen(ledger_t *self, seen_key_t key, const signal_event_t *event, int64_t delta);
/* Fills the fields of an item's row from its registers. */
void ledger_refresh_item(ledger_t *self, ledger_item_t *item);
/* What holds between calls of the public functions; run by those that change anything. */
void ledger_invariant(const ledger_t *self);

/* -- ledger_entry.c: rows as entries ----------------------------------------------------------- */

/* One entry in the ledger's scratch or another buffer: u16 key size, key, value. */
typedef struct {
    slice_t key;
    slice_t value;
    slice_t whole;
} entry_t;

/* A key, taken apart. */
typedef struct {
    kind_t kind;
    bool is_seen;   /* then kind means nothing */
    uint64_t id;    /* the item of a cell or item, else the user */
    uint64_t other; /* the target of a relation, the item of a seen pair */
    uint8_t code;   /* signal of a cell, action of a relation */
    slice_t cohort; /* of the cell of a cohort; borrows the key */
} entry_key_t;

/* out false for bytes that are no key of an entry */
bool ledger_parse_key(slice_t key, entry_key_t *ret_key);
/* The entry of a row, or false for an item or user without registers. The slices borrow `buffer`,
 * whose content is replaced. */
bool ledger_encode_entry(
    const ledger_t *self, kind_t kind, uint32_t row, buffer_t *buffer, entry_t *ret_entry);
/* What one signal of a pair adds to the digest. */
uint128_t ledger_seen_hash(uint64_t user, uint64_t item);
seen_key_t ledger_seen_key(const ledger_t *self, seen_pair_t pair);
/* What an entry adds to the digest. */
uint128_t ledger_entry_hash(const entry_t *entry);
uint8_t *ledger_marks(const ledger_t *self, kind_t kind, uint32_t row);
uint32_t ledger_row_count(const ledger_t *self, kind_t kind);

/* -- ledger_seen.c: seen pairs in a checkpoint ------------------------------------------------- */

/* Key of the store: the caller's prefix, then ours. */
typedef struct {
    uint8_t bytes[STORE_KEY_SIZE_MAX];
    size_t prefix_size;
} store_key_t;

slice_t ledger_store_key(store_key_t *self, slice_t key);

/* Puts what changed; it becomes pending. */
void ledger_write_seen(ledger_t *self, store_batch_t *batch, store_key_t *key);
/* in number of the chunk. errs ERR_CORRUPT, ERR_UNSUPPORTED */
err_t ledger_load_chunk(
    ledger_t *self, uint32_t part, uint32_t number, slice_t value, errbuf_t *errbuf);

#endif
