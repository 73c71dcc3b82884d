/* The keeper of one process: keeps its child running, and holds it down when told to.
 *
 * A pure core. keeper_step takes one event with its time and returns effects in the order in which
 * they must be done; the shell forks, signals, answers and logs.
 *
 *   idle --start--> starting --started--> running --exit--> backoff --timer--> starting
 *                      |                   |  ^                 |
 *                      | failed            |  | release         | kill --hold
 *                      |                   v  |                 v
 *                      +--> backoff     holding --exit-------> held --release--> starting
 *                      |
 *                      +--> stopped (the command was never there)
 *
 *   stop:  running, holding --> stopping --exit--> stopped;  backoff, held --> stopped
 *
 * Waiting points: running waits for the child, backoff for restart_ms, stopping for the child and,
 * until it has been used, for the time of the KILL; held waits for an operator.
 *
 * Invariants
 *   1. there is a child exactly in running, holding and stopping
 *   2. between two starts that nobody asked for lie at least KEEPER_BACKOFF_MS_MIN
 *   3. a stop signal is forwarded once; what comes later changes nothing
 *   4. after `stopped` nothing is started
 */
#ifndef TIDAL_SERVICES_KEEPER_KEEPER_H
#define TIDAL_SERVICES_KEEPER_KEEPER_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    KEEPER_BACKOFF_MS_MIN = 100,  /* a drill that kills a process does not wait for long */
    KEEPER_BACKOFF_MS_MAX = 5000, /* as slow as somebody who watches still calls it retrying */
    KEEPER_LIFE_MS_GOOD = 10000,  /* a child that lived for this long has not failed at its start */
    KEEPER_STOP_MS_MAX = 3500,    /* process managers KILL after 5 s: be done before them */
    KEEPER_EXIT_CONFIG = 78,      /* EX_CONFIG: the child says that a restart will not mend it */
    KEEPER_EXIT_NO_COMMAND = 127, /* as a shell says it */
    KEEPER_EFFECT_COUNT_MAX = 5
};

typedef enum {
    KEEPER_IDLE = 0,
    KEEPER_STARTING = 1,
    KEEPER_RUNNING = 2,
    KEEPER_BACKOFF = 3,
    KEEPER_HOLDING = 4, /* the child got the signal of a hold and has not ended yet */
    KEEPER_HELD = 5,
    KEEPER_STOPPING = 6,
    KEEPER_STOPPED = 7
} keeper_state_t;

typedef enum {
    KEEPER_EVENT_START = 0,    /* once, first */
    KEEPER_EVENT_STARTED = 1,  /* the answer to START_CHILD: pid */
    KEEPER_EVENT_NO_START = 2, /* the answer to START_CHILD: the command cannot be executed */
    KEEPER_EVENT_EXITED = 3,   /* exit */
    KEEPER_EVENT_TIMER = 4,    /* the deadline has come; early ones do nothing */
    KEEPER_EVENT_STOP = 5,     /* signal_number, to be forwarded */
    KEEPER_EVENT_KILL = 6,     /* signal_number, hold */
    KEEPER_EVENT_RELEASE = 7
} keeper_event_kind_t;

/* How a child ended. */
typedef struct {
    bool signaled; /* value is a signal number, else an exit status */
    int value;
} keeper_exit_t;

typedef struct {
    keeper_event_kind_t kind;
    int64_t now_ms; /* monotonic */
    int64_t pid;
    keeper_exit_t exit;
    int signal_number;
    bool hold;
} keeper_event_t;

typedef enum {
    KEEPER_REPORT_STARTED = 0,
    KEEPER_REPORT_NO_COMMAND = 1,
    KEEPER_REPORT_EXITED = 2,
    KEEPER_REPORT_CONFIG = 3, /* the child ended with KEEPER_EXIT_CONFIG */
    KEEPER_REPORT_HELD = 4,
    KEEPER_REPORT_RELEASED = 5,
    KEEPER_REPORT_STOPPING = 6,
    KEEPER_REPORT_STOP_FORCED = 7,
    KEEPER_REPORT_STOPPED = 8
} keeper_report_t;

typedef enum {
    KEEPER_EFFECT_START_CHILD = 0,  /* then step STARTED or NO_START before any other event */
    KEEPER_EFFECT_SIGNAL_CHILD = 1, /* signal_number */
    KEEPER_EFFECT_ANSWER = 2,       /* err: to the KILL or RELEASE of this step */
    KEEPER_EFFECT_REPORT = 3,       /* report: one line of log */
    KEEPER_EFFECT_EXIT = 4          /* status: the keeper ends with it */
} keeper_effect_kind_t;

typedef struct {
    keeper_effect_kind_t kind;
    keeper_report_t report;
    err_t err;
    int signal_number;
    int status;
} keeper_effect_t;

typedef struct {
    keeper_effect_t items[KEEPER_EFFECT_COUNT_MAX];
    unsigned count;
} keeper_effects_t;

/* Embedded; read its fields, change them by keeper_step alone. */
typedef struct {
    keeper_state_t state;
    int64_t pid;         /* of the child, 0 without one */
    int64_t since_ms;    /* when the state was entered */
    int64_t started_ms;  /* when the child was started last */
    int64_t deadline_ms; /* -1: nothing to wait for but events */
    int64_t backoff_ms;  /* what the next restart waits; the last one waited less or as long */
    uint32_t restart_count;
    bool ever_started;
    bool asked; /* an operator sent the signal that ends the child: no sign of a fault */
    bool stop_forced;
    keeper_exit_t exit; /* how the last child ended */
} keeper_t;

void keeper_init(keeper_t *self);

/* in    event        borrowed
 * out   ret_effects  0..KEEPER_EFFECT_COUNT_MAX, in the order they must be done
 * errs  in an ANSWER: ERR_OK · ERR_NOT_FOUND no child is running · ERR_CONFLICT it is stopping */
void keeper_step(keeper_t *self, const keeper_event_t *event, keeper_effects_t *ret_effects);

/* When a TIMER is due; -1 never. */
int64_t keeper_deadline_ms(const keeper_t *self);

/* A word for people and scripts: `running`, `backoff` ... Lives for ever. */
const char *keeper_state_text(keeper_state_t state);

#endif
