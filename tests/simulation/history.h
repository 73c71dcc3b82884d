/* What the clients of a simulated mesh asked for, and how it ended: the history that a run is judged
 * by. Every event is told by its time: its number stands in the last six digits of its ns. */
#ifndef TIDAL_TESTS_SIMULATION_HISTORY_H
#define TIDAL_TESTS_SIMULATION_HISTORY_H

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/ids.h"
#include "common/wal/record.h"
#include "common/wire/msg.h"

enum {
    HISTORY_EVENT_COUNT_MAX = 1000000, /* six digits */
    HISTORY_PRODUCER_SIZE = 24
};

/* One signal that was sent. */
typedef struct {
    signal_event_t event;
    uint32_t request;
} history_event_t;

/* SESSION: a start or a close, or one event as a session's signal. */
typedef enum {
    HISTORY_SIGNALS,
    HISTORY_RELATION,
    HISTORY_USER,
    HISTORY_ITEM,
    HISTORY_READ,
    HISTORY_SESSION
} history_kind_t;

typedef enum { HISTORY_SESSION_START, HISTORY_SESSION_SIGNAL, HISTORY_SESSION_CLOSE } history_op_t;

/* What a write of registers says, or a start or close of a session, and what its answer told. */
typedef struct {
    relation_action_t action; /* RELATION */
    bool is_set;              /* RELATION */
    user_id_t user;           /* RELATION, USER, SESSION */
    uint64_t target;          /* RELATION: item or creator; ITEM: the item */
    uint64_t value;           /* USER: number of a locale; ITEM: the creator */
    history_op_t op;          /* SESSION */
    session_id_t session;     /* SESSION */
    hlc_stamp_t hlc;          /* its stamp; zero: not told */
    uint64_t origin;          /* hash of the stream that has it in its home shard; 0: not told */
    uint64_t seq;             /* its event there */
} history_write_t;

typedef struct {
    history_kind_t kind;
    uint16_t client;
    bool has_producer; /* may be repeated, anywhere */
    uint64_t seq;
    ack_level_t level;
    uint32_t first_event; /* SIGNALS, SESSION */
    uint32_t event_count;
    bool is_acked;
    bool has_stamp;        /* the client chose it: a relation's hlc */
    history_write_t write; /* RELATION, USER, ITEM, SESSION */
} history_request_t;

typedef struct {
    buffer_t requests; /* history_request_t */
    buffer_t events;   /* history_event_t */
} history_t;

void history_init(history_t *self);
void history_done(history_t *self);

/* In line, for a judgement asks a million times. */
static inline uint32_t history_request_count(const history_t *self)
{
    return (uint32_t)(self->requests.size / sizeof(history_request_t));
}

static inline history_request_t *history_request(const history_t *self, uint32_t index)
{
    CHECK(index < history_request_count(self));
    return (history_request_t *)(void *)self->requests.data + index;
}

/* Appended, zeroed. out its number */
uint32_t history_add_request(history_t *self);

static inline uint32_t history_event_count(const history_t *self)
{
    return (uint32_t)(self->events.size / sizeof(history_event_t));
}

static inline const history_event_t *history_event(const history_t *self, uint32_t index)
{
    CHECK(index < history_event_count(self));
    return (const history_event_t *)(const void *)self->events.data + index;
}

/* Appends the event, with its number put into its time. */
void history_add_event(history_t *self, uint32_t request, signal_event_t event);
/* Number of the event that a logged one is; HISTORY_EVENT_COUNT_MAX when it was never sent so. */
uint32_t history_find_event(const history_t *self, const signal_event_t *event);

/* The shard that has a write of registers, or of a session, first; for many the only one. */
shard_id_t history_home(const history_request_t *request, uint32_t shard_count);
/* Whether it concerns all shards. */
bool history_is_for_all(const history_request_t *request);

/* A hash of an origin's name, never 0. */
uint64_t history_origin(slice_t name);
/* The attribute that put_user writes. */
const char *history_locale(uint64_t number);

#endif
