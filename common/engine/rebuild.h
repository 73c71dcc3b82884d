/* A replica's state built anew, beside the live one, from the verified log files of its region (and
 * from the base where there is one, for what lies below it):
 * whether the live state is what the logs come to, and what to do when it is not (design, idea 1
 * and section 6).
 *
 *   LOADING  the base, a piece per turn
 *      v
 *   BUILDING ---- a bounded piece per turn, while the node goes on serving ------+
 *      |    ^-- the live state has moved on: its new events are read as well ----+
 *      v
 *   both stand at one vector, within one turn: digests are compared
 *      equal      the live state is right; what was built is thrown away
 *      different  every differing entry of the ledger is counted and the first are named; then,
 *                 when it was asked to replace it, the built state takes the place of the live one,
 *                 and the next checkpoint is whole. A node asks so when a reconciler asked it, or
 *                 when there is no other region: a state that is found wrong while a base is made
 *                 stands until the reconcilers find it too, so that the repair stands in a report
 *
 * What is applied goes through replica_apply_batch, so whatever a replica's state consists of is
 * rebuilt. Every batch is read with its hash and the hash chain verified; damage ends the rebuild
 * (a replica file's is told to the receiver, which fetches it again) and changes nothing.
 *
 * The pairs of requests seen forget nothing before the end: a second copy may lie in a stream that
 * is read later, so the first one's place must be known still.
 *
 * Cost: the state once more in memory; REBUILD_EVENT_COUNT_MAX events per turn. Digests are kept
 * up with the pieces. Only where they differ, the entries are compared in one turn: about a
 * second for a million cells, of a replica that gives wrong answers anyway.
 *
 * Not while a checkpoint is being written may the live state be replaced: the caller says when. */
#ifndef TIDAL_COMMON_ENGINE_REBUILD_H
#define TIDAL_COMMON_ENGINE_REBUILD_H

#include "common/engine/replica.h"

typedef struct rebuild rebuild_t;

/* One entry in which the two states differ, for people. */
typedef struct {
    char key[REBUILD_TEXT_SIZE_MAX + 1];   /* "cell item 7 signal 2", "session 06.." */
    char found[REBUILD_TEXT_SIZE_MAX + 1]; /* its value in the live state: size and hash, or none */
    char expected[REBUILD_TEXT_SIZE_MAX + 1]; /* the same, by the logs */
} rebuild_difference_t;

typedef struct {
    bool different;        /* the digests differ */
    uint64_t event_count;  /* read and applied; what a base holds is not in it */
    uint64_t voided_count; /* batches among them that are void: further copies of a request */
    uint8_t found[MSG_HASH_SIZE];   /* digest of the live state as it was */
    uint8_t rebuilt[MSG_HASH_SIZE]; /* digest by the logs */
    uint64_t difference_count;      /* entries and sessions that differ; 0 when not different */
    uint32_t listed_count;          /* the first of them, 0..REBUILD_DIFFERENCE_COUNT_MAX */
    rebuild_difference_t listed[REBUILD_DIFFERENCE_COUNT_MAX]; /* entries, then sessions; by key */
} rebuild_result_t;

/* in live  borrowed until destroy; recovered */
rebuild_t *rebuild_new(replica_t *live);
void rebuild_destroy(rebuild_t **self_p);

/* Reads and applies a piece, and ends the rebuild when it can.
 * in may_end  no checkpoint of the live state is open
 *    replaces  a state that differs, else it only tells
 * out ret_result  written on ERR_OK only; the rebuild is over then
 * errs ERR_AGAIN there is more to read: call again soon · ERR_FULL all is read, the end waits for
 *      may_end · ERR_CORRUPT, ERR_NOT_FOUND, ERR_UNSUPPORTED, ERR_IO of a log file: over, and
 *      nothing changed */
err_t rebuild_step(
    rebuild_t *self, bool may_end, bool replaces, rebuild_result_t *ret_result, errbuf_t *errbuf);

/* The state that was built and found equal, as a base that is to be written: its entries are
 * encoded here, in one turn (as many as a whole checkpoint has), the file is written in pieces.
 * Only after a rebuild_step that ended with ERR_OK and no difference.
 * errs of replica_base_path and replica_find_join */
err_t rebuild_begin_base(rebuild_t *self,
                         int64_t wall_ns,
                         base_writer_t **ret_writer,
                         errbuf_t *errbuf);

#endif
