/* The clients of a simulated mesh: a few applications, each a producer of its own, that write and
 * read at whatever gateway they like, repeat what was not settled, and carry their token along.
 *
 * A request with (producer, seq) is repeated until it is acknowledged; one without is sent once.
 * Each client checks what only it can know:
 *   - a read with its token never shows less than one before, or than what this client had
 *     acknowledged before (known.h);
 *   - an item that it hid for its user, or whose creator it muted or blocked, is not shown to that user;
 *   - whoever answers a request at `replicated`, and whenever, names the same copy (answers.h). Some
 *     requests are sent at all gateways at once, and some once more when they are acknowledged.
 * Each keeps a session, one after the other, and gives it signals through any gateway.
 * It forgets its token, and these expectations, when it is told STALE again and again: a token may
 * name events that were lost with a disk before anybody else had them. */
#ifndef TIDAL_TESTS_SIMULATION_CLIENTS_H
#define TIDAL_TESTS_SIMULATION_CLIENTS_H

#include "tests/simulation/history.h"
#include "tests/simulation/known.h"
#include "tests/simulation/world.h"

typedef struct clients clients_t;

typedef struct {
    uint64_t seed;
    uint32_t client_count;
    uint32_t event_count;  /* stop beginning new writes after so many events */
    uint32_t events_max;   /* of one request */
    uint32_t item_count;   /* few: they collide */
    int64_t pause_ns_max;  /* between two requests of a client */
    int64_t duration_ns;   /* no new request after this */
    bool with_local_level; /* some writes ask for ack local; not where a disk will be lost */
} clients_options_t;

/* Borrows the world and the history for its life. */
clients_t *clients_new(world_t *world, history_t *history, const clients_options_t *options);
void clients_destroy(clients_t **self_p);

/* World time at which clients_act wants to be called. */
int64_t clients_deadline_ns(const clients_t *self);
void clients_act(clients_t *self);

/* Whether everything that can be settled is, and nothing new will be begun. */
bool clients_are_done(const clients_t *self);
/* What is not settled, for a report. */
void clients_describe(const clients_t *self, errbuf_t *ret_text);

/* The first violation that a client saw; NULL: none. */
const char *clients_violation(const clients_t *self);

typedef struct {
    uint64_t requests;
    uint64_t sent; /* copies included */
    uint64_t acked;
    uint64_t duplicates; /* acknowledged as such */
    uint64_t reads;
    uint64_t stale;
    uint64_t given_up; /* without a producer, and not acknowledged */
    uint64_t compared; /* places in answers at `replicated` that were named before */
    uint64_t by_code[CODE_COUNT];
} clients_counters_t;
clients_counters_t clients_counters(const clients_t *self);

/* Registers that the observer watches: KNOWN_REGISTER_COUNT of each client, which alone writes them. */
typedef struct {
    user_id_t user;
    relation_action_t action;
    uint64_t target; /* item of a hide, else creator */
} clients_watch_t;
clients_watch_t clients_watch(const clients_t *self, uint32_t client, uint32_t index);
uint32_t clients_count(const clients_t *self);
/* The creator that every put of an item names. */
creator_id_t clients_creator(item_id_t item);

/* A write of such a register that was acknowledged: its stamp, and where its copy lies in one shard. */
typedef struct {
    uint32_t client;
    uint32_t reg;
    known_register_t written;
    shard_id_t shard;
    uint64_t origin; /* hash of the stream's name */
    uint64_t seq_first;
    uint64_t seq_last;
} clients_ack_t;
uint32_t clients_ack_count(const clients_t *self);
/* In the order of the acknowledgements; lives until the next one. */
const clients_ack_t *clients_ack(const clients_t *self, uint32_t index);

#endif
