/* Which log bytes of its region a node applies next: the pure core between the files of replica
 * streams (and of the node's own, at a restart) and the ledger.
 *
 * Per stream it knows two positions. applied: events 1..applied are in the state. available: events
 * 1..available are durable in the region's file, as its receiver announced (for an own stream: as
 * recovery found). What lies between is read from the file, piece by piece, and applied in order.
 *
 *   IDLE ----- announced -----> QUEUED ----- a slot is free: READ -----> READING
 *     ^                            ^                                        |  |
 *     |                            +--- more was announced meanwhile -------+  |
 *     +------- the batch that contains through_seq was applied ----------------+
 *
 *   READING --- READ_FAILED, or an ALERT about a batch ---> WAITING
 *   WAITING --- its retry time, or a new boot of the receiver ---> QUEUED
 *
 * Fair: streams that have something to read stand in one line; each READ covers at most
 * APPLIER_READ_EVENT_COUNT_MAX events, then the stream goes to the end of the line. At most one
 * READ per stream and APPLIER_READING_COUNT_MAX in all are outstanding.
 *
 * A READ ends with the batch that contains through_seq, with READ_FAILED, or with an ALERT about
 * one of its batches; the shell reads on until one of the three. Batches that arrive otherwise
 * (twice, out of order, overlapping, with gaps, from an older READ) are judged by the same rule:
 *
 *   last <= applied                         SKIP, it is there
 *   first == applied + 1, last <= available APPLY
 *   first <= applied < last                 ALERT overlap: batches are whole, so something is wrong
 *   first > applied + 1                     ALERT gap
 *   last > available                        ALERT not announced: it may not be durable
 *
 * Announcements only grow within one boot of the receiver. After a restart it may have less,
 * because it set a damaged file aside; what it announces below `applied` is lost in its file, not
 * in the state: ALERT lost, and nothing is taken back. The region fetches the rest again.
 *
 * Invariants
 *   1. APPLY is given only for first == applied + 1 and last <= available; each event once.
 *   2. applied only grows and never exceeds available (which is raised to it where less is
 *      announced).
 *   3. a failed READ is tried again after APPLIER_RETRY_MS_MIN, then twice that, and so on up to
 *      APPLIER_RETRY_MS_MAX; news of the same boot do not hasten it, a new boot does. */
#ifndef TIDAL_COMMON_REPLICATION_APPLIER_H
#define TIDAL_COMMON_REPLICATION_APPLIER_H

#include "common/base/err.h"
#include "common/base/ids.h"

enum {
    APPLIER_READ_EVENT_COUNT_MAX = 32768, /* of one READ: some milliseconds of replay */
    APPLIER_READING_COUNT_MAX = 4,        /* READs at a time: bounds what a loop turn can hold */
    APPLIER_EFFECT_COUNT_MAX = 8,
    APPLIER_RETRY_MS_MIN = 10,
    APPLIER_RETRY_MS_MAX = 5000
};

typedef enum {
    APPLIER_EVENT_STREAM,    /* the state holds a stream up to here: from the checkpoint, or because
                                the node applied it elsewhere (own writes, a snapshot) */
    APPLIER_EVENT_AVAILABLE, /* announced as durable in the file */
    APPLIER_EVENT_BATCH,     /* read from the file, verified */
    APPLIER_EVENT_READ_FAILED,
    APPLIER_EVENT_TICK
} applier_event_kind_t;

typedef struct {
    applier_event_kind_t kind;
    int64_t now_ns;     /* monotonic */
    stream_id_t stream; /* of all but TICK */
    union {
        uint64_t applied_seq; /* STREAM; lower than what is known: nothing happens */
        struct {
            uint64_t seq;
            uint64_t boot; /* of the receiver; another one than before is a newer one */
        } available;
        struct {
            uint64_t first_seq; /* 1.. */
            uint64_t last_seq;  /* first_seq.. */
        } batch;
        err_t read_err; /* why; ERR_END: the file ends before through_seq */
    } as;
} applier_event_t;

typedef enum {
    APPLIER_EFFECT_APPLY, /* the batch of this event, now */
    APPLIER_EFFECT_SKIP,  /* drop the batch of this event */
    APPLIER_EFFECT_ALERT, /* drop the batch; tell people. Ends the stream's READ */
    APPLIER_EFFECT_READ   /* all batches from first_seq to the one that contains last_seq */
} applier_effect_kind_t;

typedef enum {
    APPLIER_ALERT_NONE,
    APPLIER_ALERT_GAP,
    APPLIER_ALERT_OVERLAP,
    APPLIER_ALERT_NOT_ANNOUNCED,
    APPLIER_ALERT_LOST,        /* first_seq..last_seq were applied and are announced no more */
    APPLIER_ALERT_READ_FAILED, /* first_seq..last_seq is what the READ was about */
    APPLIER_ALERT_FULL         /* STREAM_COUNT_MAX streams are known; this one is ignored */
} applier_alert_t;
enum { APPLIER_ALERT_COUNT = 7 };

typedef struct {
    applier_effect_kind_t kind;
    applier_alert_t alert; /* NONE but for ALERT */
    err_t err;             /* of READ_FAILED, else ERR_OK */
    stream_id_t stream;
    uint64_t first_seq; /* batch, range to read, or range that the alert is about */
    uint64_t last_seq;
} applier_effect_t;

/* The caller's, filled by each step, in the order to be done. */
typedef struct {
    uint32_t count;
    applier_effect_t list[APPLIER_EFFECT_COUNT_MAX];
} applier_effects_t;

typedef struct applier applier_t;

applier_t *applier_new(void);
void applier_destroy(applier_t **self_p);

/* cost O(log streams); O(streams) when a retry is due or a new stream is met */
void applier_step(applier_t *self, const applier_event_t *event, applier_effects_t *ret_effects);

/* When a TICK is due at the latest; INT64_MAX never. */
int64_t applier_deadline_ns(const applier_t *self);

/* Remembers what is available now: the node is ready when all of it is applied. Called when the
 * region's files were announced in full for the first time, and again on promotion. O(streams) */
void applier_mark_start(applier_t *self);
/* Whether a mark was set and all that was available then is applied. O(1) */
bool applier_caught_up(const applier_t *self);

/* 0 for a stream that is not known. For tests. */
uint64_t applier_applied_seq(const applier_t *self, stream_id_t stream);
/* 0 for a stream that is not known. */
uint64_t applier_available_seq(const applier_t *self, stream_id_t stream);

#endif
