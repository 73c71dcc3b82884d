#include "common/engine/replay_beside.h"

#include "common/engine/replica_state.h"

#include <inttypes.h>

/* Applies one more batch of a stream. */
static err_t s_apply_next(replica_t *built,
                          replica_t *live,
                          stream_position_t goal,
                          uint64_t *event_count,
                          errbuf_t *errbuf)
{
    replica_stream_t *at = replica_require_stream(built, goal.stream, false);
    wal_reader_t *reader =
        replica_reader_at(built, at, replica_applied_seq(built, goal.stream) + 1);
    wal_batch_t batch;
    err_t err =
        reader == NULL ? ERR_NOT_FOUND : wal_reader_next_batch(reader, goal.seq, &batch, errbuf);
    if (err == ERR_OK) {
        *event_count += batch.event_count;
        err = replica_apply_batch(built, &batch, errbuf);
    } else if (reader != NULL && replica_is_mendable(at, err)) {
        replica_tell_damage(live, goal.stream, wal_reader_next_seq(reader));
    } else if (err == ERR_END) {
        errbuf_set(errbuf,
                   "expected event %" PRIu64 " at the end of a batch, found it inside of one",
                   goal.seq);
        err = ERR_CORRUPT;
    }
    if (err != ERR_OK) {
        wal_reader_destroy(&at->reader);
        errbuf_prefix(errbuf, "rebuild the state from the log of %s",
                      topology_place_name(built->env->topology, goal.stream.origin.region));
    }
    return err;
}

/* Whose files are the node's, and whose the receiver's, is known to the live one. */
static void s_take_owners(replica_t *built, const replica_t *live)
{
    for (uint32_t i = 0; i < live->stream_count; i++) {
        const replica_stream_t *at = &live->streams[i];
        replica_require_stream(built, at->stream, at->is_own)->is_own = at->is_own;
    }
}

err_t replay_beside(replica_t *built, replica_t *live, uint64_t *event_count, errbuf_t *errbuf)
{
    s_take_owners(built, live);
    uint64_t ends = *event_count + REBUILD_EVENT_COUNT_MAX;
    uint32_t count = 0;
    const stream_position_t *goals = replica_applied(live, &count);
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        while (err == ERR_OK && replica_applied_seq(built, goals[i].stream) < goals[i].seq) {
            err = *event_count >= ends ? ERR_AGAIN
                                       : s_apply_next(built, live, goals[i], event_count, errbuf);
        }
    }
    return err;
}
