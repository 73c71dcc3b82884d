/* What the clients of a simulated mesh asked for, and how it ended: the history that a run is judged
 * by. Every event is told by its time: its number stands in the last six digits of its ns. */
#ifndef TIDAL_TESTS_SIMULATION_HISTORY_H
#define TIDAL_TESTS_SIMULATION_HISTORY_H

#include "common/base/bytes.h"
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
    HISTORY_READ,
    HISTORY_SESSION
} history_kind_t;

typedef struct {
    history_kind_t kind;
    uint16_t client;
    bool has_producer; /* may be repeated, anywhere */
    uint64_t seq;
    ack_level_t level;
    uint32_t first_event; /* SIGNALS, SESSION */
    uint32_t event_count;
    bool is_acked;
    bool is_local_only;   /* acknowledged as local, or by an island */
    region_set_t holders; /* regions that the reply named */
    int64_t acked_ns;
} history_request_t;

typedef struct {
    buffer_t requests; /* history_request_t */
    buffer_t events;   /* history_event_t */
} history_t;

void history_init(history_t *self);
void history_done(history_t *self);

uint32_t history_request_count(const history_t *self);
history_request_t *history_request(const history_t *self, uint32_t index);
/* Appended, zeroed. out its number */
uint32_t history_add_request(history_t *self);

uint32_t history_event_count(const history_t *self);
const history_event_t *history_event(const history_t *self, uint32_t index);
/* Appends the event, with its number put into its time. */
void history_add_event(history_t *self, uint32_t request, signal_event_t event);
/* Number of the event that a logged one is; HISTORY_EVENT_COUNT_MAX when it was never sent so. */
uint32_t history_find_event(const history_t *self, const signal_event_t *event);

#endif
