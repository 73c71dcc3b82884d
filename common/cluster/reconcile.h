/* Whether the replicas of all regions are equal, and what follows from it: a pure comparison.
 *
 * Replicas that have applied the same events have the same digest (design, idea 3). So two replicas
 * of a (tenant, shard) with equal applied vectors and different digests have DIVERGED: a bug or bit
 * rot. With different vectors nothing can be said but who lacks what: lag, which passes by itself
 * and is listed only when it lasts.
 *
 * Which of two that differ is right, no majority can say: two replicas may have met the same bug.
 * The logs can. So every replica that has another digest than one with the same vector is checked,
 * each by its own node against its own region's verified logs (rebuild.h), the leader's like any
 * other; the node keeps what the logs say. A right replica is never overwritten.
 *
 * Invariants
 *   1. The same states give the same report and the same plan, in whatever order they are handed
 *      in.
 *   2. What is checked is decided by vectors and digests alone. */
#ifndef TIDAL_COMMON_CLUSTER_RECONCILE_H
#define TIDAL_COMMON_CLUSTER_RECONCILE_H

#include "common/engine/engine.h"
#include "common/topology/table.h"
#include "common/wire/msg.h"

enum {
    RECONCILE_LAG_LISTED_MS = 10000, /* lag is listed after this, and two runs: less is passing */
    RECONCILE_SUMMARY_SIZE = 384,
    RECONCILE_REPAIR_COUNT_MAX = 64 /* that are remembered; the oldest go */
};

/* -- the comparison ---------------------------------------------------------------------------- */

/* What one region's reconciler said of its nodes. Borrowed. */
typedef struct {
    region_id_t region;
    uint32_t row_count;
    /* by ascending (tenant, shard), each once; applied in the order of stream_id_compare */
    const msg_reconcile_row_t *rows;
} reconcile_state_t;

/* What was found of one node for one tenant; the higher the worse. */
#define RECONCILE_FOUND_LIST(X)                                                          \
    X(EQUAL, "equal")           /* another replica has the same vector and digest */     \
    X(FURTHEST, "furthest")     /* has all events that any has, no other has them yet */ \
    X(ALONE, "alone")           /* no other replica answered */                          \
    X(LAGGING, "lagging")       /* lacks events that another replica has */              \
    X(UNANSWERED, "unanswered") /* its reconciler got no digest from it */               \
    X(SILENT, "silent")         /* its reconciler was not heard in this run */           \
    X(DIVERGED, "DIVERGED")     /* another digest than most with the same vector, or there is \
                                   no majority */

#define RECONCILE_FOUND_ENUM(name, text) RECONCILE_FOUND_##name,
typedef enum { RECONCILE_FOUND_LIST(RECONCILE_FOUND_ENUM) RECONCILE_FOUND_COUNT } reconcile_found_t;
#undef RECONCILE_FOUND_ENUM

/* Events of one stream that a node lacks. */
typedef struct {
    node_id_t node;
    stream_id_t stream;
    uint64_t seq;       /* how far the node has it */
    uint64_t goal_seq;  /* how far some other node has it */
    region_id_t holder; /* whose node that is: the origin's if it is one, else the lowest region */
    uint64_t due_seq;   /* the goal at since_ns; the node is not there yet */
    int64_t since_ns;
} reconcile_gap_t;

typedef struct {
    tenant_id_t tenant;
    node_id_t node;
    reconcile_found_t found;
    bool is_leader;
    bool is_listed;          /* in the written report: all but lag that has not lasted */
    bool is_new;             /* DIVERGED, and was not in the run before */
    bool is_suspect;         /* a node with the same vector has another digest: to be checked */
    region_set_t with;       /* nodes of this shard that it was compared with */
    uint32_t agree_count;    /* those of `with` with the same vector and digest */
    uint32_t expected_count; /* DIVERGED: nodes that have `expected`; 0: there is no majority */
    uint64_t event_count;    /* sum of its applied vector */
    uint64_t missing_count;  /* LAGGING: sum of its gaps */
    uint32_t first_gap;      /* LAGGING: in the report's gaps; the oldest after dating is */
    uint32_t gap_count;      /*          named by oldest_gap */
    uint32_t oldest_gap;
    uint32_t lag_ms; /* LAGGING: age of the oldest gap */
    uint8_t digest[MSG_HASH_SIZE];
    uint8_t expected[MSG_HASH_SIZE]; /* DIVERGED: what the majority has */
} reconcile_line_t;

/* One entry that differed; texts for people. */
typedef struct {
    char key[REBUILD_TEXT_SIZE_MAX + 1];
    char found[REBUILD_TEXT_SIZE_MAX + 1];
    char expected[REBUILD_TEXT_SIZE_MAX + 1];
} reconcile_entry_t;

/* What an own node found when it held a state against its logs. */
typedef struct {
    uint64_t number; /* of all of this reconciler's life, from 1 */
    tenant_id_t tenant;
    node_id_t node;
    bool is_failed;        /* it could not; `problem` says why. Nothing changed then */
    bool different;        /* and is replaced by what the logs say */
    char problem[512];     /* printable */
    int64_t wall_ns;       /* when the answer came */
    uint32_t took_ms;      /* at the node */
    uint64_t event_count;  /* of the logs that were read */
    uint64_t voided_count; /* second copies of requests among them */
    uint8_t found[MSG_HASH_SIZE];
    uint8_t rebuilt[MSG_HASH_SIZE];
    uint64_t difference_count;
    uint32_t listed_count;
    reconcile_entry_t listed[REBUILD_DIFFERENCE_COUNT_MAX];
} reconcile_repair_t;

/* Why a snapshot did not come. */
typedef struct {
    uint64_t number; /* of this reconciler's life, from 1; 0: there was none */
    tenant_id_t tenant;
    shard_id_t shard;
    region_id_t donor;
    errbuf_t reason; /* printable */
} reconcile_snapshot_problem_t;

typedef struct {
    uint32_t compared_count; /* replicas that answered where another one did */
    uint32_t found_counts[RECONCILE_FOUND_COUNT];
    region_set_t silent;       /* regions of the topology that were not heard */
    region_set_t told_silent;  /* those of them that were newly silent, now or before */
    region_set_t newly_silent; /* but were not in the run before; none in the first run of all */
    uint32_t line_count;
    reconcile_line_t *lines; /* worst first, then by tenant, shard, region */
    uint32_t gap_count;
    uint32_t gap_capacity;
    reconcile_gap_t *gaps;  /* by tenant, shard, region, stream */
    uint64_t fetched_count; /* events that own nodes lacked in the run before and have now */
    /* Snapshots (snapshot_fetch.h) of this reconciler's life: */
    uint64_t snapshot_count;                       /* that own nodes have adopted */
    uint64_t snapshot_refused_count;               /* that contradicted themselves */
    uint32_t snapshots_under_way;                  /* now */
    reconcile_snapshot_problem_t snapshot_problem; /* the latest */
    uint32_t lost_base_count;                      /* own replicas whose base is damaged or gone */
    tenant_id_t lost_base_tenant;                  /* of the first of them */
    shard_id_t lost_base_shard;
    uint32_t repair_count;
    const reconcile_repair_t *repairs; /* borrowed; oldest first */
} reconcile_report_t;

void reconcile_report_init(reconcile_report_t *self);
/* Frees; may be called twice. */
void reconcile_report_done(reconcile_report_t *self);

/* One line for every placed node of every tenant of the table. Of gaps due_seq is goal_seq and
 * since_ns 0; ages are 0. Replaces what stood in the report.
 * in table    rows that it does not place are not looked at
 *    regions  that are expected to be heard
 *    states   in any order, each region at most once
 * cost one walk over the vectors; memory for a line per placed node */
void reconcile_compare(const table_t *table,
                       region_set_t regions,
                       const reconcile_state_t *states,
                       uint32_t state_count,
                       reconcile_report_t *ret_report);

/* Carries over from the report of the run before how long gaps have lasted, marks what is new, and
 * counts what the nodes of `region` have fetched since.
 * A gap lasts while the node has not reached what was missing when it was first seen, so a node
 * that keeps up with moving streams never counts as lagging long. */
void reconcile_date(reconcile_report_t *self,
                    const reconcile_report_t *before,
                    region_id_t region,
                    int64_t now_ns,
                    int64_t listed_ns);

/* "equal", "DIVERGED" and so on; lives for ever. */
const char *reconcile_found_name(reconcile_found_t found);

/* What it takes to put a report into words. Borrowed. */
typedef struct {
    const topology_t *topology;
    const table_t *table; /* a tenant that it does not have is called "?" */
    region_id_t self;
    int64_t wall_ns; /* when the report was made */
    int64_t took_ns; /* the run, from its first question to the comparison */
} reconcile_view_t;

/* One sentence on own bases that are lost and what is done about it. in  there are some */
void reconcile_lost_bases(const reconcile_report_t *self,
                          const reconcile_view_t *view,
                          char ret_text[RECONCILE_SUMMARY_SIZE]);
/* One sentence, worst first. */
void reconcile_summary(const reconcile_report_t *self,
                       const reconcile_view_t *view,
                       char ret_text[RECONCILE_SUMMARY_SIZE]);

#endif
