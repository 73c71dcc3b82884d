/* What the sources of the clients share: see clients.h. */
#ifndef TIDAL_TESTS_SIMULATION_CLIENTS_STATE_H
#define TIDAL_TESTS_SIMULATION_CLIENTS_STATE_H

#include "common/base/prng.h"
#include "tests/simulation/answers.h"
#include "tests/simulation/clients.h"
#include "tests/simulation/known.h"

enum {
    CLIENTS_INFLIGHT_MAX = 4,  /* of one client */
    CLIENTS_TIMEOUT_MS = 1500, /* that a request is given */
    CLIENTS_USER_BASE = 1000,
    CLIENTS_USER_COUNT = 5, /* whose signals a client sends */
    CLIENTS_LOCALE_COUNT = 3,
    /* Its stamps are chosen by the client: a mute. */
    CLIENTS_STAMPED_REGISTER = KNOWN_PAIR_COUNT
};

/* A request that is not settled. */
typedef struct {
    bool is_used;
    bool is_sent; /* waits for its reply; else for its time to be sent again */
    uint32_t request;
    uint32_t attempts;
    int64_t due_ns;
    buffer_t body;     /* encoded, without id */
    uint32_t reg;      /* RELATION: which of the client's */
    uint32_t pair;     /* ITEM: which of the client's */
    known_read_t read; /* READ */
    uint64_t epoch;    /* of the client's token when it was sent */
} clients_flight_t;

/* What a client knows of a register that it writes. */
typedef struct {
    bool is_pending; /* a write is under way */
    bool is_set;     /* the last write did, and this client's token covers it */
    bool
        is_unsure; /* one that takes it back may be logged whose stamp nobody told: nothing is known for
                       good */
} clients_register_t;

typedef struct {
    char producer[HISTORY_PRODUCER_SIZE];
    uint64_t next_seq;
    int64_t next_ns;      /* the next request is begun */
    token_t *token;       /* of all that it was told; owned */
    uint64_t token_epoch; /* rises when the token is given up */
    uint32_t stale_count;
    clients_flight_t flights[CLIENTS_INFLIGHT_MAX];
    clients_register_t registers[KNOWN_REGISTER_COUNT];
    bool has_creator[KNOWN_PAIR_COUNT]; /* the token knows that the item has been put */
    bool has_session;
    session_id_t session;
    uint64_t session_epoch;   /* of the token that knows of its start */
    uint32_t session_flights; /* requests of it that are not settled */
    known_t known;
} clients_client_t;

struct clients {
    world_t *world;
    history_t *history;
    clients_options_t options;
    prng_t prng;
    int64_t end_ns;
    clients_client_t *list;
    uint64_t violation_count;
    char violation[256];
    clients_counters_t counters;
    answers_t answers;
    buffer_t acks;  /* clients_ack_t */
    token_t *token; /* scratch */
    buffer_t out;
};

/* Draws the events of a request, or the one of a session's signal. */
void clients_draw_events(clients_t *self, uint32_t number, uint32_t client);
void clients_draw_session_event(clients_t *self, uint32_t number, const clients_client_t *client);

/* Keys of the request's map; the token is that of the first attempt. */
void clients_encode(clients_t *self, uint32_t index, clients_flight_t *flight);

#endif
