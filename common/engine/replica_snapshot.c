/* A replica and a base that another region made (design, idea 3): what its region's files hold,
 * when they fit the base, and the moment at which the state that was built beside the old one takes
 * its place.
 *
 *   FIT ----- another region's base is put in place (snapshot_load.h) ------------> JOINING
 *   JOINING   the old state serves and stands still; files are joined and fetched --> FIT, at the
 *             exchange of the states
 *   (start) - the checkpoint does not reach the base: its state is the state ------> AWAITED
 *   AWAITED   nothing is applied and nothing served --------- files reach the base -> FIT
 *
 *   (start) - nor does the base verify; the files alone do not suffice --------> BASELESS
 *   BASELESS  nothing is applied and nothing served ---- another region's base ---> JOINING
 *
 * A process that dies in JOINING finds its old checkpoint below the base at its next start, and
 * goes on in AWAITED. A replica that fits and has applied all that another region's base holds,
 * since it is only its own that was lost, takes the file alone and stays FIT. */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

/* How far the region's files hold a stream, as far as this node knows. */
static uint64_t s_logged_seq(const replica_t *self, const replica_stream_t *at)
{
    if (!at->is_own) {
        return at->listed_seq;
    }
    bool is_current = self->log != NULL && stream_id_equal(wal_log_stream(self->log), at->stream);
    return is_current ? wal_log_durable_seq(self->log)
                      : applier_available_seq(self->applier, at->stream);
}

bool replica_files_reach_base(const replica_t *self)
{
    for (uint32_t i = 0; i < self->base.position_count && !MUTANT(EXCHANGE_TOO_EARLY); i++) {
        const base_position_t *position = &self->base.positions[i];
        const replica_stream_t *at = replica_find_stream(self, position->stream);
        if (position->join.seq < position->seq &&
            (at == NULL || s_logged_seq(self, at) < position->seq)) {
            return false;
        }
    }
    return true;
}

err_t replica_first_logged(const replica_t *self,
                           stream_id_t stream,
                           uint64_t *ret_first_seq,
                           errbuf_t *errbuf)
{
    wal_path_t folder;
    wal_segment_list_t files = {NULL, 0, 0};
    err_t err = replica_stream_folder(self, stream, &folder, errbuf);
    if (err == ERR_OK) {
        err = wal_files_list_segments(self->env->disk, folder.text, &files, NULL, errbuf);
    }
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        *ret_first_seq = files.count > 0 ? files.items[0].first_seq : 0;
        err = ERR_OK;
    }
    wal_segment_list_done(&files);
    return err;
}

/* -- what the files hold ----------------------------------------------------------------------- */

static err_t s_range(const replica_t *self,
                     const replica_stream_t *at,
                     msg_log_range_t *ret_range,
                     errbuf_t *errbuf)
{
    uint64_t join_seq = self->base_is_lost ? 0 : base_head_join(&self->base, at->stream).seq;
    uint64_t end_seq = s_logged_seq(self, at);
    uint64_t first_seq = 1;
    /* The receiver begins there, if it has not yet. */
    end_seq = end_seq < join_seq ? join_seq : end_seq;
    *ret_range = (msg_log_range_t){.stream = at->stream, .end_seq = end_seq};
    if ((self->base.position_count == 0 && !self->base_is_lost) || end_seq == 0) {
        return ERR_OK; /* without a base nothing was truncated */
    }
    err_t err = replica_first_logged(self, at->stream, &first_seq, errbuf);
    bool is_gone = err == ERR_OK && (first_seq == 0 || first_seq > end_seq);
    ret_range->begin_seq = is_gone ? end_seq : first_seq - 1;
    return err;
}

err_t replica_log_ranges(const replica_t *self,
                         msg_log_range_t *ret_ranges,
                         uint32_t count_max,
                         uint32_t *ret_count,
                         errbuf_t *errbuf)
{
    if (!self->is_recovered || !self->has_heard_receiver) {
        errbuf_set(errbuf, "the region's receiver has not told its positions yet");
        return ERR_AGAIN;
    }
    uint32_t count = 0;
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < self->stream_count && count < count_max && err == ERR_OK; i++) {
        err = s_range(self, &self->streams[i], &ret_ranges[count], errbuf);
        count += err == ERR_OK && ret_ranges[count].end_seq > 0 ? 1 : 0;
    }
    *ret_count = count;
    return err;
}

bool replica_is_joining(const replica_t *self)
{
    return self->files == REPLICA_FILES_JOINING;
}

/* -- the exchange ------------------------------------------------------------------------------ */

void replica_join_base(replica_t *self, const base_head_t *head)
{
    bool has_all = self->files == REPLICA_FILES_FIT && replica_covers_base(self, head);
    replica_keep_base(self, head);
    has_all = has_all && replica_files_reach_base(self);
    if (has_all) {
        replica_forget_joins(self);
    }
    self->files = has_all ? REPLICA_FILES_FIT : REPLICA_FILES_JOINING;
    self->bytes_since_base = 0;
}

void replica_take_snapshot(replica_t *self, replica_t *built, now_t now)
{
    CHECK(self->files == REPLICA_FILES_JOINING);
    CHECK(version_vector_covers(&built->applied, &self->applied));
    replica_exchange_state(self, built);
    for (uint32_t i = 0; i < built->applied.count; i++) {
        stream_position_t at = built->applied.entries[i];
        bool is_own = at.stream.origin.region.value == self->env->self.region.value;
        wal_hash_t hash = replica_require_stream(built, at.stream, is_own)->last_hash;
        replica_require_stream(self, at.stream, false)->last_hash = hash;
        if (at.seq > replica_applied_seq(self, at.stream)) {
            replica_set_applied(self, at.stream, at.seq);
            (void)lag_applied(self->lag, at.stream, at.seq);
        }
        applier_effects_t effects;
        applier_event_t applied = {
            .kind = APPLIER_EVENT_STREAM, .now_ns = now.mono_ns, .stream = at.stream};
        applied.as.applied_seq = at.seq;
        replica_applier_step(self, &applied, &effects);
    }
    self->files = REPLICA_FILES_FIT;
}
