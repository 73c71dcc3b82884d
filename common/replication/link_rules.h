/* What the partition proxy does to the messages of each directed link: the pure core behind every
 * injected fault, in the service and in the simulated network alike.
 *
 * A place is a region, or 0 for `control`; a link is an ordered pair of places. A message is an
 * opaque ticket with a size and the lane that it travels on (the shell's connection); its bytes
 * stay with the shell. The core says what becomes of it:
 *
 *   offer --- chance or mode drop, cut, queue full ---------------------------------> DROP
 *     |------ rule is plain and nothing waits --------------------------------------> FORWARD
 *     `------ waits until due (delay + jitter, behind its lane, paced by the rate),
 *             or as long as the link is on hold ---- due ---> [FORWARD_COPY] ... ---> FORWARD
 *                                               `--- rule becomes drop or cut ------> DROP
 *
 * Modes. pass: messages go through, with the faults of the rule. drop: they vanish. hold: they
 * wait, as TCP does on a short outage, and go on in order when the rule is replaced. cut: they
 * vanish and the connections of the link are reset (effect RESET), as on a long outage.
 *
 * Faults. Each message draws its lots once, when it is offered: drop, then duplicate, then reorder,
 * then jitter. A lane keeps its order, so jitter never lets a message overtake another one of its
 * lane; only reorder does: that message lets 1..LINK_OVERTAKE_COUNT_MAX later ones of its lane
 * pass, and waits for them at most LINK_REORDER_MS. A duplicate is one more message behind the
 * original, with a jitter of its own. The rate is a token bucket of LINK_BURST_MS worth of bytes; a
 * message goes when the bucket is not in debt and may bring it into debt, so one that is larger
 * than the bucket passes, and the rate holds in the long run.
 *
 * A new rule. What waits then keeps its time where a message that is offered now would not be
 * faster; otherwise, held ones included, it is treated as if it were offered now, in order of
 * arrival and without a second lot.
 *
 * Limits. Per link at most LINK_QUEUE_COUNT_MAX messages and LINK_QUEUE_SIZE_MAX bytes wait (a copy
 * counts as a message), over all links LINK_TOTAL_COUNT_MAX and LINK_TOTAL_SIZE_MAX. Over it the
 * newest is dropped and counted; a copy is then simply not made.
 *
 * Invariants
 *   1. each ticket ends exactly once, with FORWARD or DROP; every FORWARD_COPY of it comes before.
 *   2. without reorder, a lane's messages leave in the order in which they were offered.
 *   3. offered + duplicated = forwarded + dropped + waiting, per link, in messages and in bytes.
 *   4. same seed and same calls, same effects; a link's lots do not depend on other links. */
#ifndef TIDAL_COMMON_REPLICATION_LINK_RULES_H
#define TIDAL_COMMON_REPLICATION_LINK_RULES_H

#include "common/base/bounds.h"
#include "common/base/err.h"
#include "common/base/ids.h"

enum {
    LINK_PLACE_COUNT_MAX = REGION_COUNT_MAX + 1, /* control and the regions */
    LINK_LANE_COUNT_MAX = 65536,       /* connections of one link; 8 bytes each when used */
    LINK_EFFECT_COUNT_MAX = 128,       /* of one call; more: call link_rules_due again */
    LINK_DELAY_MS_MAX = 60000,         /* longer than any time-out of the mesh needs to be tested */
    LINK_OVERTAKE_COUNT_MAX = 3,       /* later messages that pass a reordered one */
    LINK_REORDER_MS = 20,              /* how long it waits for them */
    LINK_REORDER_COUNT_MAX = 16,       /* reordered ones that wait at a time, per link */
    LINK_BURST_MS = 10,                /* of the token bucket */
    LINK_TOTAL_COUNT_MAX = 1024 * 1024 /* messages that wait, all links; about 100 bytes each */
};
#define LINK_TOTAL_SIZE_MAX (UINT64_C(1) << 30) /* bytes that the shell keeps for all links */

typedef enum { LINK_MODE_PASS, LINK_MODE_DROP, LINK_MODE_HOLD, LINK_MODE_CUT } link_mode_t;
enum { LINK_MODE_COUNT = 4 };

typedef struct {
    region_id_t from; /* 0 control */
    region_id_t to;   /* another place */
} link_id_t;

/* {0} passes everything at once. */
typedef struct {
    link_mode_t mode;
    uint32_t delay_ms;  /* 0..LINK_DELAY_MS_MAX, for each message */
    uint32_t jitter_ms; /* 0..LINK_DELAY_MS_MAX: even over 0..jitter_ms on top of the delay */
    double drop;        /* probabilities, 0..1 */
    double duplicate;
    double reorder;
    uint64_t rate_bytes_s; /* 0: no limit */
} link_rule_t;

typedef struct {
    link_id_t link;
    uint32_t lane;       /* 0..LINK_LANE_COUNT_MAX - 1 */
    uint32_t size_bytes; /* 0 is allowed */
    uint64_t ticket;     /* of the shell, handed back as it is */
} link_message_t;

typedef enum {
    LINK_DROP_CHANCE, /* the rule's probability */
    LINK_DROP_MODE,   /* mode drop */
    LINK_DROP_CUT,    /* mode cut */
    LINK_DROP_FULL,   /* the queue */
} link_drop_t;
enum { LINK_DROP_COUNT = 4 };

typedef enum {
    LINK_EFFECT_FORWARD,      /* send, then forget the ticket */
    LINK_EFFECT_FORWARD_COPY, /* send and keep: the ticket comes again */
    LINK_EFFECT_DROP,         /* forget the ticket */
    LINK_EFFECT_RESET         /* close the link's connections */
} link_effect_kind_t;

typedef struct {
    link_effect_kind_t kind;
    link_id_t link;
    uint32_t lane;      /* 0 for RESET, as the ticket */
    link_drop_t reason; /* of DROP */
    uint64_t ticket;
} link_effect_t;

/* The caller's, filled by each call, in the order to be done. */
typedef struct {
    uint32_t count;
    bool has_more; /* more is due now than fits: do these, then call link_rules_due */
    link_effect_t list[LINK_EFFECT_COUNT_MAX];
} link_effects_t;

/* Since the start, but for waiting_. */
typedef struct {
    uint64_t offered_count;
    uint64_t offered_bytes;
    uint64_t forwarded_count; /* copies included */
    uint64_t forwarded_bytes;
    uint64_t dropped_count[LINK_DROP_COUNT];
    uint64_t dropped_bytes[LINK_DROP_COUNT];
    uint64_t waiting_count; /* held or delayed, now */
    uint64_t waiting_bytes;
    uint64_t duplicated_count; /* copies made */
    uint64_t duplicated_bytes;
    uint64_t delayed_count;   /* did not go on in the call that offered them */
    uint64_t reordered_count; /* were overtaken by a later message of their lane */
    uint64_t reset_count;
} link_counters_t;

typedef struct link_rules link_rules_t;

/* All links pass. Memory for lanes and queues comes with the first rule that needs it. */
link_rules_t *link_rules_new(uint64_t seed);
void link_rules_destroy(link_rules_t **self_p);

/* Whether the link and the rule can be used.
 * errs ERR_INVALID  errbuf names the field, what was expected, what was found, what to do */
err_t link_rules_check(link_id_t link, const link_rule_t *rule, errbuf_t *errbuf);

/* Replaces the whole rule of one link.
 * out ret_effects  RESET first when the new mode is cut (also when it was before)
 * errs ERR_INVALID as link_rules_check; nothing changed, ret_effects untouched
 * cost linear in what waits on this link */
err_t link_rules_set(link_rules_t *self,
                     link_id_t link,
                     const link_rule_t *rule,
                     int64_t now_ns,
                     link_effects_t *ret_effects,
                     errbuf_t *errbuf);

/* All links back to {0}. */
void link_rules_heal_all(link_rules_t *self, int64_t now_ns, link_effects_t *ret_effects);

/* One message has arrived at the proxy. Others that are due may come out with it.
 * in  now_ns  monotonic, in all calls; never goes back
 * cost O(1) and no allocation when the rule is {0} and nothing waits on the link, else
 *      O(log waiting); allocates only to let a queue grow */
void link_rules_offer(link_rules_t *self,
                      const link_message_t *message,
                      int64_t now_ns,
                      link_effects_t *ret_effects);

/* What is due, in order of due time, ties in order of arrival. */
void link_rules_due(link_rules_t *self, int64_t now_ns, link_effects_t *ret_effects);

/* When link_rules_due has something to do; not after the latest now_ns when it has now; INT64_MAX
 * never. */
int64_t link_rules_deadline_ns(const link_rules_t *self);

/* Both live as long as self and change with it. in link of two places */
const link_rule_t *link_rules_rule(const link_rules_t *self, link_id_t link);
const link_counters_t *link_rules_counters(const link_rules_t *self, link_id_t link);

/* All that was dropped, whatever the reason. */
uint64_t link_counters_dropped(const link_counters_t *counters);

/* Names as in the client protocol. "pass"; lives for ever. */
const char *link_mode_name(link_mode_t mode);

#endif
