/* What a history becomes: a sequence of write requests that is the same each time, so that loading
 * it again changes nothing (design idea 5).
 *
 *   M  signal view
 *   A  put_item when the item is new here, signal like, and unhide if that user had hidden it
 *   D  signal skip, hide
 *
 * Events are gathered into blocks of signal_count_max. A block becomes one `put_items` (items that
 * it is the first to add), one `signals` with columns, and a `hide` or `unhide` for each. Each
 * request carries (producer, seq):
 *
 *   <name>.s   signals, seq = number of the block, from 1
 *   <name>.i   put_items, seq = number of the block
 *   <name>.r   hide and unhide, seq = their number, from 1
 *
 * The name is made from the content of the history, the tenant and the size of blocks: whatever
 * changes the requests changes the name.
 *
 * Requests are sent many at a time and may be applied in any order; what is right stands in the
 * requests: signals have event times, items are put once, and hides and unhides carry the HLC
 * (highest event time so far, number of the line, LOAD_HLC_NODE), which rises from line to line.
 *
 * Pure: events in, requests out. */
#ifndef TIDAL_SERVICES_TIDALCTL_LOAD_PLAN_H
#define TIDAL_SERVICES_TIDALCTL_LOAD_PLAN_H

#include "services/tidalctl/history.h"

enum {
    LOAD_SIGNAL_COUNT_MAX = 1000, /* default, and most that put_items of one block can hold */
    LOAD_NAME_SIZE = 48
};
#define LOAD_HLC_NODE ((uint32_t)0xfffffffe) /* no node and no gateway */

typedef enum {
    LOAD_VIEW = 0,
    LOAD_LIKE = 1,
    LOAD_SKIP = 2,
    LOAD_SIGNAL_TYPE_COUNT = 3
} load_type_t;

/* The signal type of an action. */
load_type_t load_type(history_action_t action);
/* "view" "like" "skip"; lives for ever. */
const char *load_type_name(load_type_t type);

/* "load-<hash, 16 hex>-<size of blocks>"; in tenant NULL: default */
void load_plan_name(const uint8_t hash[HISTORY_HASH_SIZE],
                    const char *tenant,
                    uint32_t signal_count_max,
                    char ret_name[LOAD_NAME_SIZE]);

typedef enum { LOAD_SIGNALS, LOAD_ITEMS, LOAD_HIDE, LOAD_UNHIDE } load_kind_t;

typedef struct {
    load_kind_t kind;
    uint64_t id;         /* of the request: 1, 2, 3 ... */
    uint64_t seq;        /* of its producer */
    uint32_t count;      /* signals or items in it; 1 for hide and unhide */
    uint64_t first_line; /* events that it comes from: lines of the file behind the first one */
    uint64_t last_line;
    slice_t body; /* the encoded request; lives until the callback returns */
} load_request_t;

typedef void (*load_request_fn)(void *context, const load_request_t *request);

typedef struct {
    const char *name;                           /* of the producers; copied */
    const char *tenant;                         /* NULL: not sent; borrowed */
    const char *ack;                            /* NULL: not sent; borrowed */
    uint32_t timeout_ms;                        /* 0: not sent */
    uint32_t signal_count_max;                  /* of a block, 1..LOAD_SIGNAL_COUNT_MAX */
    const history_items_t *items;               /* may be NULL; borrowed */
    uint8_t signal_ids[LOAD_SIGNAL_TYPE_COUNT]; /* of the schema */
    load_request_fn on_request;                 /* called within add and finish */
    void *context;
} load_plan_options_t;

typedef struct {
    uint64_t events;
    uint64_t blocks;
    uint64_t items;
    uint64_t hides;
    uint64_t unhides;
    uint64_t requests;
    int64_t last_ts_ns; /* highest event time */
} load_plan_totals_t;

typedef struct load_plan load_plan_t;

load_plan_t *load_plan_new(const load_plan_options_t *options);
void load_plan_destroy(load_plan_t **self_p);
void load_plan_add(load_plan_t *self, const history_event_t *event);
/* The last block. */
void load_plan_finish(load_plan_t *self);
const load_plan_totals_t *load_plan_totals(const load_plan_t *self);

/* Every pair that was ever hidden, and whether it is after the events so far; in no order that
 * means anything. */
typedef void (*load_hidden_fn)(void *context, uint64_t user, uint64_t item, bool is_hidden);
void load_plan_walk_hidden(const load_plan_t *self, load_hidden_fn callback, void *context);

#endif
