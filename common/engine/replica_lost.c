/* What a node does when the other regions know more than it holds.
 *
 * Two cases, told apart by whose stream it is.
 *
 *   of another node   while the node asks at its start (a folder without a log may be a new one, or
 *                     one that was lost): what the others tell is a goal of the stream, and the
 *                     node is not ready before all goals are applied. Later it is lag, and no
 *                     reason to serve nothing.
 *   its own           at any time: its folder was lost or set back. It is never written again. The
 *                     log is closed and a new incarnation drawn, the folder marked for the receiver
 *                     (common/wal/wal_handover.h), and the receiver told, again and again until it
 *                     has what is missing; it fetches that from whoever has it, and the node applies
 *                     it as it applies any replica. Until then it is not ready.
 *
 * Where what the node holds and what the others hold differ (a synced tail that was lost and written
 * anew), the receiver's file refuses what comes as another history: nothing is overwritten, the node
 * stays not ready and says so. Where the positions are equal the leader core finds the difference
 * (leader.h). */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/wal/wal_handover.h"

#include <stdio.h>

static bool s_is_of_this_node(const replica_t *self, stream_id_t stream)
{
    node_id_t self_node = {self->env->self.region, self->shard};
    return node_id_equal(stream.origin, self_node);
}

/* How much of it this node holds: an own log may be ahead of the state while it is replayed. */
static uint64_t s_held_seq(const replica_t *self, const replica_stream_t *at)
{
    uint64_t applied = replica_applied_seq(self, at->stream);
    uint64_t available = applier_available_seq(self->applier, at->stream);
    return at->is_own && available > applied ? available : applied;
}

/* Closes the log when it is the one, then marks. What fails for want of room is tried again. */
static void s_give_up(replica_t *self, replica_stream_t *at, now_t now)
{
    errbuf_t errbuf = {{0}};
    stream_id_t stream = at->stream;
    err_t err = ERR_OK;
    wal_path_t folder;
    at->is_own = false;
    if (self->log != NULL && stream_id_equal(wal_log_stream(self->log), stream)) {
        err = replica_new_incarnation(self, now, &errbuf); /* may move the rows */
    }
    if (err == ERR_OK) {
        err = replica_stream_folder(self, stream, &folder, &errbuf);
    }
    if (err == ERR_OK) {
        err = wal_handover_mark(self->env->disk, folder.text, &errbuf);
    }
    if (err != ERR_OK && err != ERR_DISK_FULL) {
        errbuf_prefix(&errbuf, "give up a stream that was lost or set back");
        self->fatal = err;
        self->fatal_text = errbuf;
    }
    self->positions_changed = true;
}

/* The furthest that another region holds, of what this node lacked. */
static uint64_t s_told_seq(const replica_stream_t *at)
{
    uint64_t told = 0;
    for (uint32_t region = 1; region <= REGION_COUNT_MAX; region++) {
        told = at->told_seqs[region] > told ? at->told_seqs[region] : told;
    }
    return told;
}

/* A region that told of more has lost it: it is no goal any more. */
static void s_told_less(replica_t *self, stream_id_t stream, region_id_t region, uint64_t seq)
{
    for (uint32_t i = 0; self->has_goals && i < self->stream_count; i++) {
        replica_stream_t *at = &self->streams[i];
        if (stream_id_equal(at->stream, stream) && seq < at->told_seqs[region.value]) {
            at->told_seqs[region.value] = seq;
        }
    }
}

void replica_lost_told(
    replica_t *self, stream_id_t stream, region_id_t region, uint64_t seq, now_t now)
{
    s_told_less(self, stream, region, seq);
    bool is_of_this_node = s_is_of_this_node(self, stream);
    if (!self->is_recovered || seq <= replica_applied_seq(self, stream) ||
        (!is_of_this_node && self->has_asked_others)) {
        return;
    }
    replica_stream_t *at = replica_require_stream(self, stream, false);
    if (seq <= s_held_seq(self, at) || seq <= at->told_seqs[region.value]) {
        return;
    }
    at->told_seqs[region.value] = seq;
    self->has_goals = true;
    if (is_of_this_node && !MUTANT(KEEP_INCARNATION)) {
        s_give_up(self, at, now);
    }
}

void replica_lost_missing_folders(replica_t *self, now_t now)
{
    for (uint32_t i = 0; i < self->stream_count; i++) {
        replica_stream_t *at = &self->streams[i];
        if (s_is_of_this_node(self, at->stream) && !at->has_folder) {
            at->told_seqs[self->env->self.region.value] = replica_applied_seq(self, at->stream);
            s_give_up(self, at, now);
        }
    }
}

void replica_lost_head(replica_t *self, const msg_available_entry_t *entry)
{
    if (entry->head_age_ms >= self->env->topology->timing.peer_silent_ms) {
        return;
    }
    replica_stream_t *at = replica_require_stream(self, entry->stream, false);
    if (entry->head_seq < at->head_seq) {
        at->head_seq = entry->head_seq; /* lost where it was, and nobody else has it */
    } else if (!self->has_asked_others) {
        at->head_seq = entry->head_seq;
        self->has_goals = true;
    }
}

/* Whether the others have told all that they hold, to the region's shipper of what they replicate,
 * and to its receiver of what they originate. */
static void s_review_asking(replica_t *self)
{
    region_set_t told = {self->asked.bits & self->heads_asked.bits};
    self->has_asked_others =
        self->has_asked_others || region_set_covers(told, replica_others(self));
}

void replica_lost_peer_listed(replica_t *self, region_id_t region)
{
    self->asked = region_set_add(self->asked, region);
    s_review_asking(self);
}

void replica_lost_peer_heads(replica_t *self, const msg_peer_t *peer)
{
    if (peer->reachable) {
        self->heads_asked = region_set_add(self->heads_asked, peer->region);
        s_review_asking(self);
        return;
    }
    /* What only a region that is gone has told of its own streams may be nowhere else. */
    for (uint32_t i = 0; i < self->stream_count; i++) {
        if (self->streams[i].stream.origin.region.value == peer->region.value) {
            self->streams[i].head_seq = 0;
        }
    }
}

/* Says what is given up and not there yet; the receiver may be down, or not have seen the mark. */
static void s_tell_receiver(replica_t *self, const replica_stream_t *at)
{
    errbuf_t errbuf = {{0}};
    wal_path_t folder;
    if (replica_stream_folder(self, at->stream, &folder, &errbuf) != ERR_OK ||
        wal_handover_mark(self->env->disk, folder.text, &errbuf) != ERR_OK) {
        return; /* tried again in the next period */
    }
    msg_t msg = {.type = MSG_LOST};
    msg.as.lost = (msg_lost_t){.from = self->env->self, .stream = at->stream};
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    process_address_t receiver = {PROCESS_RECEIVER, self->env->self.region, {0}};
    (void)self->env->net->send(self->env->net->context, receiver, self->out.data, self->out.size);
}

void replica_lost_tick(replica_t *self, now_t now)
{
    region_set_t told = {self->asked.bits & self->heads_asked.bits};
    if (now.mono_ns >= self->asking_ends_ns && (told.bits & replica_others(self).bits) != 0) {
        self->has_asked_others = true; /* a silent region cannot hold up the others for ever */
    }
    if (now.mono_ns < self->next_lost_ns) {
        return;
    }
    self->next_lost_ns =
        now.mono_ns + (int64_t)self->env->topology->timing.heartbeat_ms * ENGINE_NS_PER_MS;
    for (uint32_t i = 0; i < self->stream_count; i++) {
        const replica_stream_t *at = &self->streams[i];
        if (!at->is_own && at->listed_seq < s_told_seq(at) && s_is_of_this_node(self, at->stream)) {
            s_tell_receiver(self, at);
        }
    }
}

bool replica_lost_lacks(replica_t *self, const char **ret_reason)
{
    for (uint32_t i = 0; self->has_goals && i < self->stream_count; i++) {
        const replica_stream_t *at = &self->streams[i];
        uint64_t told_seq = s_told_seq(at);
        uint64_t goal = told_seq > at->head_seq ? told_seq : at->head_seq;
        uint64_t applied = replica_applied_seq(self, at->stream);
        if (applied < goal) {
            (void)snprintf(self->lost_reason, sizeof(self->lost_reason),
                           "events %llu..%llu of %.64s-%016llx are in other regions and not here "
                           "yet%s; the receiver fetches them",
                           (unsigned long long)applied + 1, (unsigned long long)goal,
                           topology_place_name(self->env->topology, at->stream.origin.region),
                           (unsigned long long)at->stream.incarnation,
                           s_is_of_this_node(self, at->stream)
                               ? ": this node's folder was lost or set back"
                               : "");
            *ret_reason = self->lost_reason;
            return true;
        }
    }
    self->has_goals = self->has_goals && !self->has_asked_others;
    return false;
}
