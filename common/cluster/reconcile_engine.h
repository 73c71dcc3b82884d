/* The life of a region's reconciler below its sockets: it collects what reconcile.h compares, and has
 * its own nodes check themselves.
 *
 * A run, every reconcile_ms:
 *
 *   IDLE --> NODES  every own node is asked, tenant by tenant, one question at a time: for what its
 *            |      logs hold (MSG_BASE_TASK, a look, which a node that is not ready answers too),
 *            |      then for its digest (MSG_READ, READ_DIGEST); one that does not answer in time
 *            |      is left for this run
 *            v
 *            PEERS  the own state goes to every other region's reconciler (MSG_RECONCILE_STATE); it
 *            |      answers with its latest one, and what it sends by itself counts as well
 *            v
 *   IDLE <-- all heard, or the wait is over: compare, date the lag, and ask each own node whose
 *            replica is suspect to rebuild it (MSG_REBUILD; its answer may come in any later run),
 *            and name to the region's receiver what own nodes have lacked since the run before and
 *            who has it (MSG_FETCH); where no log reaches what is lacking any more, a snapshot is
 *            fetched (reconcile_snapshots.h)
 *
 *   in    MSG_READ_REPLY, MSG_REBUILD_REPLY, MSG_BASE_REPLY from own nodes; MSG_RECONCILE_STATE,
 *         MSG_SNAPSHOT_ASK, MSG_SNAPSHOT_PIECE from other reconcilers; MSG_TABLE
 *   out   MSG_READ, MSG_REBUILD, MSG_BASE_TASK to own nodes; MSG_RECONCILE_STATE, MSG_SNAPSHOT_ASK,
 *         MSG_SNAPSHOT_PIECE to other reconcilers; MSG_FETCH to the own receiver; the report
 *
 * Waits. A question to a node and the answers of the peers wait min(read_timeout_ms, reconcile_ms /
 * 4), all questions together reconcile_ms / 2: a run is over before the next one is due. A rebuild
 * is asked for once more in every run that finds the replica suspect while no answer came (question
 * or answer may be lost; a node takes both as one). A replica that turned out right is asked again
 * after 1, 2, 4 ... 64 runs: the others are at work on themselves.
 *
 * Invariants
 *   1. The same states give the same report, in whatever order they arrived.
 *   2. A region is judged by what its own reconciler said in this run, never by older news.
 *   3. A state that names another region's nodes, unknown streams, or that is not in its one order
 *      is refused whole and counted; rows of tenants that the table does not place there are left
 *      out and counted (tables need not be equally new).
 *
 * Failure. A silent peer or node is a finding and holds up nobody; nothing else in the mesh needs a
 * reconciler to work. */
#ifndef TIDAL_COMMON_CLUSTER_RECONCILE_ENGINE_H
#define TIDAL_COMMON_CLUSTER_RECONCILE_ENGINE_H

#include "common/cluster/reconcile.h"

typedef struct reconcile_engine reconcile_engine_t;

/* in env  copied; what it points to is borrowed until close. self is a reconciler of the topology
 * errs those of table_keeper_open: the cached routing table cannot be read */
err_t reconcile_engine_open(const engine_env_t *env,
                            reconcile_engine_t **ret_engine,
                            errbuf_t *errbuf);
void reconcile_engine_close(reconcile_engine_t **self_p);

/* in reply_to  0: an answer to something that this process sent */
void reconcile_engine_message(reconcile_engine_t *self,
                              uint64_t reply_to,
                              slice_t bytes,
                              now_t now);
void reconcile_engine_published(reconcile_engine_t *self, slice_t bytes, now_t now);
/* Asks on, and ends the run when everybody has answered. */
void reconcile_engine_turn_end(reconcile_engine_t *self, now_t now);
void reconcile_engine_tick(reconcile_engine_t *self, now_t now);
int64_t reconcile_engine_deadline_ns(const reconcile_engine_t *self);

/* False with the reason when it cannot do its work now. While something has diverged it is true,
 * and the reason says what. */
bool reconcile_engine_is_ready(const reconcile_engine_t *self, const char **ret_reason);
uint64_t reconcile_engine_table_version(const reconcile_engine_t *self);

/* Rises with every run that ended and every replica that was checked: the report is another one. */
uint64_t reconcile_engine_revision(const reconcile_engine_t *self);
/* Runs that ended, and the report of the last one with all checks up to now; it lives until the
 * next call of message, turn_end or tick. Before the first run it is empty. What of it is kept in files: services/reconciler. */
uint64_t reconcile_engine_run_count(const reconcile_engine_t *self);
const reconcile_report_t *reconcile_engine_report(const reconcile_engine_t *self);
/* Its view; the table lives until the next call of published. in the table is there: a run ended */
reconcile_view_t reconcile_engine_view(const reconcile_engine_t *self);

/* Metrics into a list of the caller; returns how many. Names live for ever. */
uint32_t reconcile_engine_metrics(const reconcile_engine_t *self,
                                  msg_metric_t *ret_metrics,
                                  uint32_t metric_count_max);

#endif
