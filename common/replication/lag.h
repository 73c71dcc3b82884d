/* How far one node is behind the origins of the streams that it replicates: a gauge in events and
 * in time, for queries (`staleness_ms`), for the `lag` op and for metrics.
 *
 * What it is told: reports, "the origin's region had its stream durable up to head_seq when this
 * arrived", and what the node has applied. From both follows the freshness of a stream: the latest
 * report time T such that everything reported up to T is applied. A replica that has all of the
 * latest report is as fresh as that report, not fresher: silence of the origin makes it older.
 *
 *   reports    (10, t=1) (14, t=2) (20, t=3)
 *   applied    9: T unknown   10..13: T = 1   14..19: T = 2   20..: T = 3
 *   lag_seq    20 - applied, 0 from 20 on
 *
 * Of the reports above `applied` a stream keeps LAG_REPORT_COUNT_MAX. Where more are outstanding,
 * the earlier one of each pair of neighbours is forgotten: until the later head of the pair is
 * applied, T stays at a report before it, so a replica is called staler than it is, never fresher.
 *
 * Invariants
 *   1. T never exceeds the true one; reported heads and applied positions only grow.
 *   2. kept reports rise strictly in head and do not fall in time, and all are above `applied`.
 *   3. a report that names a lower head than an earlier one changes nothing (whoever sent it knew
 *      less); one that names a higher head for an earlier time pulls the later times back to its
 *      own, since a head does not shrink.
 *
 * What is lost for good (a disk was lost with the only copy) is told by lag_lost alone.
 *
 * The node's own streams are complete as long as nobody reports more of them than is applied. */
#ifndef TIDAL_COMMON_REPLICATION_LAG_H
#define TIDAL_COMMON_REPLICATION_LAG_H

#include "common/base/err.h"
#include "common/base/ids.h"
#include "common/wire/msg.h"

typedef struct lag lag_t;

enum { LAG_REPORT_COUNT_MAX = 32 }; /* outstanding reports kept per stream */

/* A staleness that is not known: never reported, or what was reported first is not applied yet. */
#define LAG_STALENESS_UNKNOWN UINT32_MAX

/* in self_node  whose applied positions these are */
lag_t *lag_new(node_id_t self_node);
void lag_destroy(lag_t **self_p);

/* The origin's region said that its stream is durable up to head_seq.
 * in head_seq     0: the stream is there and empty
 *    report_ns    monotonic; when the report arrived in this region, so at most now
 * errs ERR_FULL   STREAM_COUNT_MAX streams are known; nothing changed
 * cost O(log streams), now and then LAG_REPORT_COUNT_MAX */
err_t lag_report(lag_t *self, stream_id_t stream, uint64_t head_seq, int64_t report_ns);

/* Nobody holds events of the stream above head_seq any more: what was reported of them is
 * forgotten. A head that is not lower, or a stream that is not known, changes nothing. */
void lag_lost(lag_t *self, stream_id_t stream, uint64_t head_seq);

/* A full list of a region's heads arrived, and every stream in it was reported first. A stream that
 * is met later had nothing at that time, and a region without any stream is as fresh as this.
 * Earlier times than the last one are ignored. in region 1..REGION_COUNT_MAX */
void lag_heard(lag_t *self, region_id_t region, int64_t report_ns);

/* Events 1..seq are applied. in seq never lower than before
 * errs ERR_FULL   as lag_report */
err_t lag_applied(lag_t *self, stream_id_t stream, uint64_t seq);

/* Events known to exist and not applied; 0 for a stream that nobody reported. */
uint64_t lag_seq(const lag_t *self, stream_id_t stream);

/* 0 when all that was reported is applied, else the time since T; where no T is known, since the
 * first report, which is then a lower bound. At most UINT32_MAX - 1. */
uint32_t lag_ms(const lag_t *self, stream_id_t stream, int64_t now_ns);

/* How old what this node has of a region's events may be, for one tenant: the stalest of its
 * streams. LAG_STALENESS_UNKNOWN when one of them was never reported or has no T yet. The node's
 * own streams are 0 unless more of them is reported than is applied. */
uint32_t lag_staleness_ms(const lag_t *self,
                          tenant_id_t tenant,
                          region_id_t region,
                          int64_t now_ns);

/* Rows of one tenant, in the order of stream_id_compare; leader_seq is at least applied_seq.
 * out ret_rows  room for row_count_max; returns how many were written */
uint32_t lag_rows(const lag_t *self,
                  tenant_id_t tenant,
                  int64_t now_ns,
                  msg_lag_row_t *ret_rows,
                  uint32_t row_count_max);

#endif
