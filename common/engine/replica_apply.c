/* How durable batches become state: own ones from memory after their sync, others from the files of
 * the region. */
#include "common/engine/replica_state.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <string.h>

err_t replica_read_copy(replica_t *self,
                        const dedup_position_t *position,
                        wal_reader_t **ret_reader,
                        wal_batch_t *ret_batch,
                        errbuf_t *errbuf)
{
    wal_path_t folder;
    err_t err = replica_stream_folder(self, position->stream, &folder, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    wal_reader_options_t options = {.disk = self->env->disk,
                                    .folder = folder.text,
                                    .stream = position->stream,
                                    .from_seq = position->first_seq};
    *ret_reader = wal_reader_new(&options);
    return wal_reader_next_batch(*ret_reader, dedup_position_last_seq(position), ret_batch, errbuf);
}

/* Takes the signals of an earlier applied copy back; its batch is read from the log once more.
 * in winner  the name of the copy that counts instead */
static err_t s_void_copy(replica_t *self,
                         const dedup_position_t *loser,
                         stream_position_t winner,
                         errbuf_t *errbuf)
{
    wal_reader_t *reader = NULL;
    wal_batch_t batch;
    err_t err = replica_read_copy(self, loser, &reader, &batch, errbuf);
    if (err == ERR_OK) {
        err = ledger_void_payload(self->ledger, batch.payload, errbuf);
    }
    if (err == ERR_OK) {
        usage_void(&self->usage, loser->stream.origin, batch.payload);
    }
    if (err == ERR_OK && !dedup_position_has_name(loser, winner)) {
        err = session_book_void(self->sessions, &batch, errbuf);
    }
    wal_reader_destroy(&reader);
    const replica_stream_t *at = replica_find_stream(self, loser->stream);
    if (at != NULL && replica_is_mendable(at, err)) {
        /* fetched again until the restart */
        replica_tell_damage(self, loser->stream, loser->first_seq);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "void the second copy of a request, events %llu..%llu",
                      (unsigned long long)loser->first_seq,
                      (unsigned long long)dedup_position_last_seq(loser));
    }
    self->counters.voided += err == ERR_OK ? 1 : 0;
    return err;
}

/* Notes the pair of a batch; tells how its signals stand, which earlier copy they replace, and
 * whose usage goes down when they are void. */
static ledger_standing_t s_note_pair(replica_t *self,
                                     const wal_batch_t *batch,
                                     bool *ret_voids,
                                     dedup_position_t *ret_loser,
                                     node_id_t *ret_voided)
{
    *ret_voids = false;
    *ret_voided = batch->stream.origin;
    if (!batch->has_producer) {
        return LEDGER_COUNTED;
    }
    dedup_position_t position = dedup_position_of(batch);
    dedup_conflict_t conflict;
    dedup_verdict_t verdict =
        dedup_add(self->dedup, batch->producer, batch->producer_seq, &position, &conflict);
    if (verdict == DEDUP_SAME) {
        *ret_voids = replica_reissue_take(self, batch, ret_loser);
        return LEDGER_COUNTED;
    }
    if (verdict == DEDUP_FIRST) {
        return LEDGER_COUNTED;
    }
    if (MUTANT(KEEP_BOTH_COPIES)) {
        return LEDGER_COUNTED;
    }
    if (!conflict.is_winner_forgotten) {
        replica_tickets_move(self, &conflict.loser, &conflict.winner);
    }
    if (conflict.is_loser_new != MUTANT(VOID_WRONG_COPY)) {
        self->counters.voided++;
        if (conflict.is_winner_forgotten && batch->reissue.named.seq != 0) {
            ret_voided->region = batch->reissue.from;
        }
        return LEDGER_VOID;
    }
    *ret_voids = true;
    *ret_loser = MUTANT(VOID_WRONG_COPY) ? conflict.winner : conflict.loser;
    return LEDGER_COUNTED;
}

err_t replica_apply_batch(replica_t *self, const wal_batch_t *batch, errbuf_t *errbuf)
{
    uint64_t last_seq = wal_batch_last_seq(batch);
    if (MUTANT(REFUSE_FOR_TIME) && self->hlc->last.wall_ns > 0 &&
        hlc_ahead_ns(batch->hlc, self->hlc->last.wall_ns) > 100 * (int64_t)ENGINE_NS_PER_MS) {
        return ERR_CORRUPT;
    }
    bool voids = false;
    dedup_position_t loser;
    node_id_t voided;
    ledger_standing_t standing = s_note_pair(self, batch, &voids, &loser, &voided);
    err_t err = home_book_apply_payload(self->home, self->ledger, batch->payload, standing, errbuf);
    if (err == ERR_OK) {
        err = session_book_apply(self->sessions, batch,
                                 standing == LEDGER_VOID ? SESSION_VOID : SESSION_COUNTED, errbuf);
    }
    if (err == ERR_OK && voids) {
        err = s_void_copy(self, &loser, wal_batch_name(batch), errbuf);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "apply events %llu..%llu of %s", (unsigned long long)batch->first_seq,
                      (unsigned long long)last_seq,
                      topology_place_name(self->env->topology, batch->stream.origin.region));
        return err;
    }
    usage_log(&self->usage, batch->stream.origin, batch->payload);
    if (standing == LEDGER_VOID) {
        usage_void(&self->usage, voided, batch->payload);
    }
    hlc_observe(self->hlc, batch->hlc);
    bool is_own = batch->stream.origin.region.value == self->env->self.region.value;
    replica_require_stream(self, batch->stream, is_own)->last_hash = batch->hash;
    self->bytes_since_base += batch->block_size;
    replica_set_applied(self, batch->stream, last_seq);
    (void)lag_applied(self->lag, batch->stream, last_seq);
    return ERR_OK;
}

void replica_applier_step(replica_t *self, const applier_event_t *event, applier_effects_t *effects)
{
    applier_step(self->applier, event, effects);
    for (uint32_t i = 0; i < effects->count; i++) {
        if (effects->list[i].kind == APPLIER_EFFECT_ALERT) {
            self->counters.alerts++;
        } else if (effects->list[i].kind == APPLIER_EFFECT_READ) {
            CHECK(self->read_count < APPLIER_READING_COUNT_MAX);
            self->reads[self->read_count++] = effects->list[i];
        }
    }
}

void replica_tell_damage(replica_t *self, stream_id_t stream, uint64_t seq)
{
    msg_t msg = {.type = MSG_DAMAGED};
    msg.as.damaged = (msg_damaged_t){.from = self->env->self, .stream = stream, .seq = seq};
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    process_address_t receiver = {PROCESS_RECEIVER, self->env->self.region, {0}};
    (void)self->env->net->send(self->env->net->context, receiver, self->out.data, self->out.size);
}

bool replica_is_mendable(const replica_stream_t *at, err_t err)
{
    return (err == ERR_CORRUPT || err == ERR_NOT_FOUND) && !at->is_own;
}

wal_reader_t *replica_reader_at(replica_t *self, replica_stream_t *at, uint64_t from_seq)
{
    if (at->reader != NULL && wal_reader_next_seq(at->reader) == from_seq) {
        return at->reader;
    }
    wal_reader_destroy(&at->reader);
    wal_path_t folder;
    if (replica_stream_folder(self, at->stream, &folder, NULL) != ERR_OK) {
        return NULL;
    }
    wal_reader_options_t options = {
        .disk = self->env->disk, .folder = folder.text, .stream = at->stream, .from_seq = from_seq};
    at->reader = wal_reader_new(&options);
    return at->reader;
}

/* A logged batch that cannot be applied may be in the state by half. Going on would skip the rest
 * for good, in the checkpoint too: the process ends, and says what it cannot apply. */
static err_t s_apply_or_end(replica_t *self, const wal_batch_t *batch, errbuf_t *errbuf)
{
    self->counters.applied_events += batch->event_count;
    err_t err = replica_apply_batch(self, batch, errbuf);
    if (err != ERR_OK) {
        self->fatal = err;
        self->fatal_text = *errbuf;
    }
    return err;
}

/* Gives a batch to the core and does what it says. */
static err_t s_offer_batch(replica_t *self, const wal_batch_t *batch, now_t now, errbuf_t *errbuf)
{
    applier_event_t event = {
        .kind = APPLIER_EVENT_BATCH, .now_ns = now.mono_ns, .stream = batch->stream};
    event.as.batch.first_seq = batch->first_seq;
    event.as.batch.last_seq = wal_batch_last_seq(batch);
    applier_effects_t effects;
    replica_applier_step(self, &event, &effects);
    for (uint32_t i = 0; i < effects.count; i++) {
        if (effects.list[i].kind == APPLIER_EFFECT_APPLY) {
            return s_apply_or_end(self, batch, errbuf);
        }
        if (effects.list[i].kind == APPLIER_EFFECT_ALERT) {
            return ERR_CONFLICT;
        }
    }
    return ERR_OK;
}

static void s_read_failed(replica_t *self, replica_stream_t *at, err_t err, now_t now)
{
    if (replica_is_mendable(at, err) && at->reader != NULL) {
        replica_tell_damage(self, at->stream, wal_reader_next_seq(at->reader));
    }
    wal_reader_destroy(&at->reader);
    applier_event_t event = {
        .kind = APPLIER_EVENT_READ_FAILED, .now_ns = now.mono_ns, .stream = at->stream};
    event.as.read_err = err;
    applier_effects_t effects;
    replica_applier_step(self, &event, &effects);
}

/* Reads and applies what the effect asks for. */
static void s_carry_out_read(replica_t *self, const applier_effect_t *effect, now_t now)
{
    replica_stream_t *at = replica_require_stream(
        self, effect->stream, effect->stream.origin.region.value == self->env->self.region.value);
    uint64_t next_seq = effect->first_seq;
    errbuf_t errbuf = {{0}};
    err_t err = ERR_OK;
    while (err == ERR_OK && next_seq <= effect->last_seq) {
        wal_reader_t *reader = replica_reader_at(self, at, next_seq);
        wal_batch_t batch;
        uint64_t available = applier_available_seq(self->applier, effect->stream);
        err = reader == NULL ? ERR_NOT_FOUND
                             : wal_reader_next_batch(reader, available, &batch, &errbuf);
        if (err == ERR_OK) {
            next_seq = wal_batch_last_seq(&batch) + 1;
            err = s_offer_batch(self, &batch, now, &errbuf);
        }
    }
    if (err == ERR_CORRUPT && at->is_own) {
        /* Nobody else writes it, so it comes to nothing to wait. */
        wal_log_advise(&errbuf);
        replica_fail(self, err, &errbuf);
    }
    if (err == ERR_CONFLICT || self->fatal != ERR_OK) {
        wal_reader_destroy(&at->reader); /* the core has ended the read itself, or all ends */
    } else if (err != ERR_OK) {
        s_read_failed(self, at, err, now);
    }
}

bool replica_apply_some(replica_t *self, now_t now)
{
    if (self->files == REPLICA_FILES_AWAITED && replica_files_reach_base(self)) {
        self->files = REPLICA_FILES_FIT;
    }
    if (self->fatal != ERR_OK || self->files != REPLICA_FILES_FIT) {
        return false;
    }
    applier_effects_t effects;
    applier_event_t tick = {.kind = APPLIER_EVENT_TICK, .now_ns = now.mono_ns};
    replica_applier_step(self, &tick, &effects);
    if (self->read_count > 0) {
        applier_effect_t effect = self->reads[0];
        self->read_count--;
        memmove(&self->reads[0], &self->reads[1], self->read_count * sizeof(self->reads[0]));
        s_carry_out_read(self, &effect, now);
    }
    return self->read_count > 0;
}
