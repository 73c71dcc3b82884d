/* Brings what one shard logged for all shards to the others: what is sent to which shard, when it
 * is repeated, and when all hold it (design section 5).
 *
 * What is pending has rising orders (common/session/home_book.h). Each other shard confirms, like a
 * receiver of a log, all up to an order; what every shard has confirmed is held.
 *
 *   pending   1  2  3  4  5  6        6 is younger than the grace time: its gateway is at work
 *   shard 1            ^ done         one message under way, with 4 and 5
 *   shard 2      ^ done               its leader does not answer: again after a growing while
 *   held         ^                    logged as held through 2
 *
 * Invariants
 *   1. nothing is sent before it has been pending for the grace time (and sent
 *      at the latest after two).
 *   2. at most one message to each shard is under way; one without an answer is given up after
 *      answer_ns, and a late answer of it changes nothing.
 *   3. what is held was confirmed by every other shard, in the time since this node began to lead.
 *
 * Who stops leading forgets all; who begins, begins with everything that is pending. */
#ifndef TIDAL_COMMON_REPLICATION_COMPLETER_H
#define TIDAL_COMMON_REPLICATION_COMPLETER_H

#include "common/base/bounds.h"
#include "common/base/ids.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct completer completer_t;

typedef struct {
    shard_id_t self_shard;
    uint32_t shard_count; /* 1..SHARD_COUNT_MAX; with 1 there is never anything to do */
    int64_t grace_ns;
    int64_t answer_ns;    /* how long an answer is waited for */
    int64_t retry_ns;     /* first pause after a failure; doubles */
    int64_t retry_max_ns; /* last one */
} completer_options_t;

typedef enum {
    COMPLETER_EVENT_TICK = 0,   /* look what is due */
    COMPLETER_EVENT_SENT = 1,   /* a message to the shard is under way */
    COMPLETER_EVENT_EMPTY = 2,  /* nothing of what was asked for is pending any more */
    COMPLETER_EVENT_FAILED = 3, /* the shard cannot be reached, or nobody leads it */
    COMPLETER_EVENT_ANSWER = 4,
    COMPLETER_EVENT_LOGGED = 5, /* that all shards hold it */
    COMPLETER_EVENT_RESET = 6   /* this node does not lead, or the orders begin anew */
} completer_event_kind_t;

typedef struct {
    completer_event_kind_t kind;
    int64_t now_ns;
    shard_id_t shard;       /* SENT, EMPTY, FAILED */
    uint64_t through_order; /* TICK: of the latest pending one; SENT, EMPTY, LOGGED: inclusive */
    uint64_t request_id;    /* SENT, ANSWER; not 0 */
    bool ok;                /* ANSWER: the shard has it at the level asked for */
} completer_event_t;

typedef enum {
    COMPLETER_EFFECT_SEND = 0, /* what is pending within the orders, or a first part of it; answered
                                  by SENT, EMPTY or FAILED */
    COMPLETER_EFFECT_LOG = 1   /* all shards hold what is pending within the orders, or log a first
                                  part of it; answered by LOGGED, or by nothing when it fails */
} completer_effect_kind_t;

typedef struct {
    completer_effect_kind_t kind;
    shard_id_t shard;       /* SEND */
    uint64_t after_order;   /* exclusive */
    uint64_t through_order; /* inclusive; above after_order */
} completer_effect_t;

enum { COMPLETER_EFFECT_COUNT_MAX = SHARD_COUNT_MAX };
typedef struct {
    uint32_t count;
    completer_effect_t list[COMPLETER_EFFECT_COUNT_MAX];
} completer_effects_t;

completer_t *completer_new(const completer_options_t *options);
/* Nulls; NULL is allowed. */
void completer_destroy(completer_t **self_p);
/* Only TICK has effects. */
void completer_step(completer_t *self,
                    const completer_event_t *event,
                    completer_effects_t *ret_effects);

#endif
