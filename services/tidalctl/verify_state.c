#include "services/tidalctl/verify_state.h"

#include "common/base/check.h"
#include "common/signal/checkpoint_format.h"
#include "common/wal/wal_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void verify_state_whole(const verify_log_t *log, tenant_id_t tenant, version_vector_t *ret_vector)
{
    *ret_vector = (version_vector_t){0};
    for (uint32_t i = 0; i < log->stream_count; i++) {
        const verify_stream_t *stream = &log->streams[i];
        if (stream->id.tenant.value == tenant.value) {
            (void)version_vector_raise(ret_vector, stream->id,
                                       verify_log_longest(log, stream)->checked.last_seq);
        }
    }
}

/* -- replay ------------------------------------------------------------------------------------ */

static void s_init(verify_state_t *self,
                   const schema_t *schema,
                   tenant_id_t tenant,
                   verify_shard_t which)
{
    shard_id_t shard = which.shard;
    *self = (verify_state_t){.tenant = tenant, .shard = shard};
    self->ledger = ledger_new(schema);
    self->dedup = dedup_new(tenant, shard);
    self->sessions = session_book_new(tenant, shard);
    self->home = home_book_new(tenant, shard, which.shard_count);
}

void verify_state_done(verify_state_t *self)
{
    ledger_destroy(&self->ledger);
    dedup_destroy(&self->dedup);
    session_book_destroy(&self->sessions);
    home_book_destroy(&self->home);
    version_vector_done(&self->vector);
    usage_done(&self->usage);
}

static wal_reader_t *s_reader(const verify_log_t *log,
                              const verify_stream_t *stream,
                              uint64_t from_seq)
{
    const verify_copy_t *copy = verify_log_longest(log, stream);
    wal_reader_options_t options = {.disk = log->disk,
                                    .folder = copy->stream.folder.text,
                                    .stream = stream->id,
                                    .from_seq = from_seq,
                                    .trusted = true};
    return wal_reader_new(&options);
}

/* Takes an earlier copy back that turned out to be the second one.
 * in winner  the name of the copy that counts instead */
static err_t s_void_copy(verify_state_t *self,
                         const verify_log_t *log,
                         const dedup_position_t *loser,
                         stream_position_t winner,
                         errbuf_t *errbuf)
{
    const verify_stream_t *stream = verify_log_find(log, loser->stream);
    CHECK(stream != NULL);
    wal_reader_t *reader = s_reader(log, stream, loser->first_seq);
    wal_batch_t batch;
    err_t err = wal_reader_next_batch(reader, dedup_position_last_seq(loser), &batch, errbuf);
    if (err == ERR_OK) {
        err = ledger_void_payload(self->ledger, batch.payload, errbuf);
    }
    if (err == ERR_OK) {
        usage_void(&self->usage, loser->stream.origin, batch.payload);
    }
    if (err == ERR_OK && !dedup_position_has_name(loser, winner)) {
        err = session_book_void(self->sessions, &batch, errbuf);
    }
    if (err == ERR_OK) {
        err = log_count_records(&batch, &self->counts.voided, errbuf);
        self->counts.voided_requests++;
    }
    wal_reader_destroy(&reader);
    return err;
}

static err_t s_apply(verify_state_t *self,
                     const verify_log_t *log,
                     const wal_batch_t *batch,
                     errbuf_t *errbuf)
{
    verify_counts_t *counts = &self->counts;
    ledger_standing_t standing = LEDGER_COUNTED;
    dedup_conflict_t conflict = {0};
    bool again = false;
    if (batch->has_producer) {
        dedup_position_t position = dedup_position_of(batch);
        again = dedup_add(self->dedup, batch->producer, batch->producer_seq, &position,
                          &conflict) == DEDUP_OTHER_COPY;
    }
    err_t err = log_count_records(batch, &counts->logged, errbuf);
    counts->events += batch->event_count;
    if (err == ERR_OK && again && conflict.is_loser_new) {
        standing = LEDGER_VOID;
        counts->voided_requests++;
        err = log_count_records(batch, &counts->voided, errbuf);
    }
    if (err == ERR_OK) {
        err = home_book_apply_payload(self->home, self->ledger, batch->payload, standing, errbuf);
    }
    if (err == ERR_OK) {
        usage_log(&self->usage, batch->stream.origin, batch->payload);
        err = session_book_apply(self->sessions, batch,
                                 standing == LEDGER_VOID ? SESSION_VOID : SESSION_COUNTED, errbuf);
    }
    if (err == ERR_OK && standing == LEDGER_VOID) {
        node_id_t voided = batch->stream.origin;
        if (conflict.is_winner_forgotten && batch->reissue.named.seq != 0) {
            voided.region = batch->reissue.from;
        }
        usage_void(&self->usage, voided, batch->payload);
    }
    if (err == ERR_OK && again && !conflict.is_loser_new) {
        err = s_void_copy(self, log, &conflict.loser, wal_batch_name(batch), errbuf);
    }
    return err;
}

/* Applies the stream from behind what is applied up to the vector's position, which must be the end
 * of a batch. */
static err_t s_replay_stream(verify_state_t *self,
                             const verify_log_t *log,
                             const verify_stream_t *stream,
                             uint64_t through_seq,
                             errbuf_t *errbuf)
{
    uint64_t applied = version_vector_get(&self->vector, stream->id);
    wal_reader_t *reader = s_reader(log, stream, applied + 1);
    err_t err = ERR_OK;
    while (err == ERR_OK && applied < through_seq) {
        wal_batch_t batch;
        err = wal_reader_next_batch(reader, through_seq, &batch, errbuf);
        if (err == ERR_OK) {
            applied = wal_batch_last_seq(&batch);
            err = s_apply(self, log, &batch, errbuf);
        }
    }
    wal_reader_destroy(&reader);
    if (err == ERR_END) { /* the next batch ends behind it */
        errbuf_set(errbuf,
                   "expected event %" PRIu64 " at the end of a batch, found it inside of one",
                   through_seq);
        err = ERR_GAP;
    }
    if (err != ERR_OK) {
        char name[LOG_STREAM_TEXT_SIZE];
        errbuf_prefix(errbuf, "replay %s behind event %" PRIu64,
                      log_stream_text(&verify_log_longest(log, stream)->stream, name), applied);
    }
    (void)version_vector_raise(&self->vector, stream->id, applied);
    return err;
}

static bool s_is_within(const base_head_t *head, const version_vector_t *vector)
{
    for (uint32_t i = 0; i < head->position_count; i++) {
        if (version_vector_get(vector, head->positions[i].stream) < head->positions[i].seq) {
            return false;
        }
    }
    return true;
}

/* Whether a replay of the vector may begin with this base (NULL: with nothing): the base lies
 * within the vector, and the logs hold what lies between. */
static bool s_may_begin_with(const verify_log_t *log,
                             const verify_base_t *base,
                             const version_vector_t *vector)
{
    if (base != NULL && !s_is_within(&base->head, vector)) {
        return false;
    }
    for (uint32_t i = 0; i < vector->count; i++) {
        stream_id_t id = vector->entries[i].stream;
        uint64_t held = base == NULL ? 0 : base_head_wal_base(&base->head, id).seq;
        const verify_stream_t *stream = verify_log_find(log, id);
        bool begins_later = stream != NULL && vector->entries[i].seq > held &&
                            verify_log_longest(log, stream)->checked.first_seq > held + 1;
        if (begins_later) {
            return false;
        }
    }
    return true;
}

/* The whole logs where they are there, else the first base that fits. errs ERR_NOT_FOUND */
static err_t s_choose_beginning(const verify_log_t *log,
                                tenant_id_t tenant,
                                const version_vector_t *vector,
                                const verify_base_t **ret_base,
                                errbuf_t *errbuf)
{
    *ret_base = NULL;
    if (s_may_begin_with(log, NULL, vector)) {
        return ERR_OK;
    }
    for (uint32_t i = 0; i < log->bases.count; i++) {
        const verify_base_t *base = &log->bases.items[i];
        if (base->head.tenant.value == tenant.value && s_may_begin_with(log, base, vector)) {
            *ret_base = base;
            return ERR_OK;
        }
    }
    errbuf_set(errbuf,
               "the logs begin later than event 1, and no base lies within these positions");
    return ERR_NOT_FOUND;
}

static err_t s_replay_all(verify_state_t *self,
                          const verify_log_t *log,
                          const version_vector_t *vector,
                          errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < vector->count && err == ERR_OK; i++) {
        const stream_position_t *position = &vector->entries[i];
        const verify_stream_t *stream = verify_log_find(log, position->stream);
        uint64_t logged = stream == NULL ? 0 : verify_log_longest(log, stream)->checked.last_seq;
        uint64_t held = version_vector_get(&self->vector, position->stream);
        logged = logged < held ? held : logged;
        if (position->seq > logged) {
            errbuf_set(errbuf,
                       "events %" PRIu64 "..%" PRIu64 " of incarnation %016" PRIx64
                       " (region %u) are applied, and in no log that is intact",
                       logged + 1, position->seq, position->stream.incarnation,
                       position->stream.origin.region.value);
            err = ERR_GAP;
        } else if (position->seq > held) {
            err = s_replay_stream(self, log, stream, position->seq, errbuf);
        }
    }
    return err;
}

/* -- checkpoints ------------------------------------------------------------------------------- */

enum { PREFIX_SIZE = 8 }; /* tenant, big-endian; keys: common/engine/replica_checkpoint.c */

typedef struct {
    verify_state_t *state;
    uint64_t entry_count;
    errbuf_t *errbuf;
} loading_t;

static err_t s_load_position(verify_state_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    if (key.size != 10 || value.size != 8) {
        errbuf_set(errbuf,
                   "applied position: expected a key of 10 and a value of 8 bytes, found %zu "
                   "and %zu",
                   key.size, value.size);
        return ERR_CORRUPT;
    }
    stream_id_t stream = {.tenant = self->tenant,
                          .incarnation = bytes_get_u64_be(key.data + 2),
                          .origin = {{(uint16_t)(key.data[0] << 8 | key.data[1])}, self->shard}};
    (void)version_vector_raise(&self->vector, stream, bytes_get_u64(value.data));
    return ERR_OK;
}

/* An entry without its tenant. */
static err_t s_load_kind(verify_state_t *state, slice_t key, slice_t value, errbuf_t *errbuf)
{
    slice_t rest = slice_make(key.data + 1, key.size - 1);
    switch (key.data[0]) {
    case 'L':
        return ledger_load_entry(state->ledger, rest, value, errbuf);
    case 'D':
        return dedup_load_entry(state->dedup, rest, value, errbuf);
    case 'S':
        return session_book_load_entry(state->sessions, rest, value, errbuf);
    case 'A':
        return home_book_load_entry(state->home, rest, value, errbuf);
    case 'H': /* half-lives: the node holds its schema against them */
    case 'C': /* the clock: bounded from below alone, by what the node logged */
        return ERR_OK;
    case 'U':
        return usage_load_entry(&state->usage, state->shard, rest, value, errbuf);
    case 'V':
        return s_load_position(state, rest, value, errbuf);
    default:
        errbuf_set(errbuf, "expected an entry of kind L, D, S, A, H, U, C or V, found kind 0x%02x",
                   key.data[0]);
        return ERR_CORRUPT;
    }
}

static err_t s_load_entry(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    loading_t *loading = context;
    loading->entry_count++;
    if (key_size < PREFIX_SIZE + 1) {
        errbuf_set(loading->errbuf,
                   "expected an entry of kind L, D, S, A, H, U, C or V, found a key of %zu bytes",
                   key_size);
        return ERR_CORRUPT;
    }
    return s_load_kind(loading->state, slice_make(key + PREFIX_SIZE, key_size - PREFIX_SIZE),
                       slice_make(value, value_size), loading->errbuf);
}

err_t verify_state_load(const store_t *store,
                        const schema_t *schema,
                        tenant_id_t tenant,
                        verify_shard_t shard,
                        verify_state_t *ret_state,
                        errbuf_t *errbuf)
{
    verify_state_t self;
    uint8_t prefix[PREFIX_SIZE];
    bytes_put_u64_be(prefix, tenant.value);
    s_init(&self, schema, tenant, shard);
    loading_t loading = {&self, 0, errbuf};
    err_t err = store->walk(store->context, prefix, sizeof(prefix), s_load_entry, &loading, errbuf);
    if (err == ERR_OK && loading.entry_count == 0) {
        errbuf_set(errbuf, "the store holds nothing of this tenant");
        err = ERR_NOT_FOUND;
    }
    if (err != ERR_OK) {
        verify_state_done(&self);
        return err;
    }
    *ret_state = self;
    return ERR_OK;
}

/* -- comparison -------------------------------------------------------------------------------- */

void verify_state_digest(const verify_state_t *self, uint8_t ret_digest[MSG_HASH_SIZE])
{
    ledger_digest_t ledger;
    dedup_digest_t dedup;
    session_digest_t sessions;
    ledger_digest_full(self->ledger, &ledger);
    dedup_digest_full(self->dedup, &dedup);
    static_assert(sizeof(ledger.bytes) + sizeof(dedup.bytes) == MSG_HASH_SIZE, "two halves");
    memcpy(ret_digest, ledger.bytes, sizeof(ledger.bytes));
    memcpy(ret_digest + sizeof(ledger.bytes), dedup.bytes, sizeof(dedup.bytes));
    session_book_digest_full(self->sessions, &sessions);
    session_digest_add(ret_digest, &sessions);
}

/* -- replay from a base ------------------------------------------------------------------------ */

static err_t s_load_base_entry(void *context, slice_t key, slice_t value, errbuf_t *errbuf)
{
    return s_load_kind(context, key, value, errbuf);
}

/* The state of a base, verified against its hash and its digest. A running node may have written
 * the next one since its head was read. errs ERR_NOT_FOUND it lies beyond the vector by now */
static err_t s_load_base(verify_state_t *self,
                         const disk_t *disk,
                         const verify_base_t *base,
                         const version_vector_t *vector,
                         errbuf_t *errbuf)
{
    base_reader_t *reader =
        base_reader_new(disk, base->path.text, base->head.tenant, base->head.shard);
    err_t err = ERR_AGAIN;
    while (err == ERR_AGAIN) {
        err = base_reader_step(reader, s_load_base_entry, self, errbuf);
    }
    uint8_t digest[MSG_HASH_SIZE];
    verify_state_digest(self, digest);
    const base_head_t *head = base_reader_head(reader);
    if (err == ERR_OK && memcmp(digest, head->digest, sizeof(digest)) != 0) {
        errbuf_set(errbuf, "%s: its state does not have the digest that its head says",
                   base->path.text);
        err = ERR_CORRUPT;
    }
    if (err == ERR_OK && !s_is_within(head, vector)) {
        errbuf_set(errbuf, "%s: a newer base, beyond these positions, was written meanwhile",
                   base->path.text);
        err = ERR_NOT_FOUND;
    }
    for (uint32_t i = 0; err == ERR_OK && i < head->position_count; i++) {
        self->counts.events += head->positions[i].seq;
        if (version_vector_get(&self->vector, head->positions[i].stream) !=
            head->positions[i].seq) {
            errbuf_set(errbuf, "%s: its entries stand at another vector than its head says",
                       base->path.text);
            err = ERR_CORRUPT;
        }
    }
    ledger_totals_t totals;
    ledger_totals(self->ledger, &totals);
    self->counts.logged.signals = totals.signals;
    self->counts.in_bases = self->counts.events - totals.signals;
    base_reader_destroy(&reader);
    return err;
}

err_t verify_state_replay(const verify_log_t *log,
                          const schema_t *schema,
                          tenant_id_t tenant,
                          const version_vector_t *vector,
                          verify_state_t *ret_state,
                          errbuf_t *errbuf)
{
    verify_state_t self;
    const verify_base_t *base = NULL;
    s_init(&self, schema, tenant, (verify_shard_t){log->shard, log->shard_count});
    err_t err = s_choose_beginning(log, tenant, vector, &base, errbuf);
    if (err == ERR_OK && base != NULL) {
        err = s_load_base(&self, log->disk, base, vector, errbuf);
    }
    if (err == ERR_OK) {
        err = s_replay_all(&self, log, vector, errbuf);
    }
    if (err != ERR_OK) {
        verify_state_done(&self);
        return err;
    }
    *ret_state = self;
    return ERR_OK;
}

/* -- differences ------------------------------------------------------------------------------- */

typedef struct {
    const verify_state_t *expected;
    const verify_state_t *found;
    const char *name;
    verify_report_t *report;
    uint64_t count;
} comparison_t;

/* The cell of a key, which is there. */
static const cell_t *s_cell(const ledger_t *ledger, item_id_t item, uint8_t signal, slice_t cohort)
{
    const cell_t *cell =
        cohort.size > 0
            ? ledger_cohort_cell(ledger, ledger_find_cohort(ledger, cohort), item, signal)
            : ledger_item_cell(ledger, ledger_item(ledger, ledger_find_item(ledger, item)), signal);
    CHECK(cell != NULL);
    return cell;
}

static void s_name_cell(comparison_t *self, slice_t key, const char *text)
{
    item_id_t item = {bytes_get_u64_be(key.data + 1)};
    uint8_t signal = key.data[9];
    uint64_t counts[2];
    double scores[2];
    const verify_state_t *sides[2] = {self->expected, self->found};
    slice_t cohort =
        slice_make(key.data + CHECKPOINT_CELL_KEY_SIZE, key.size - CHECKPOINT_CELL_KEY_SIZE);
    int64_t at_ns = s_cell(self->expected->ledger, item, signal, cohort)->newest_ns;
    for (int i = 0; i < 2; i++) {
        const cell_t *cell = s_cell(sides[i]->ledger, item, signal, cohort);
        cell_reader_t reader;
        err_t err = ledger_reader(sides[i]->ledger, signal, at_ns, &reader);
        CHECK(err == ERR_OK);
        counts[i] = cell_window_count(cell, WINDOW_ALL, at_ns, NULL);
        scores[i] = cell_score(cell, &reader, NULL);
    }
    verify_problem(self->report,
                   "%s, %s: the logs say %" PRIu64 " events, it holds %" PRIu64
                   " (scores at its newest event %.17g and %.17g)",
                   self->name, text, counts[0], counts[1], scores[0], scores[1]);
}

static void s_on_difference(void *context, slice_t key, slice_t value_a, slice_t value_b)
{
    comparison_t *self = context;
    char text[LEDGER_KEY_TEXT_SIZE];
    if (self->count++ >= VERIFY_DIFFERENCE_COUNT_MAX) {
        return;
    }
    ledger_key_text(key, text);
    if (key.data[0] == CHECKPOINT_KEY_CELL && value_a.size > 0 && value_b.size > 0) {
        s_name_cell(self, key, text);
    } else if (value_b.size == 0) {
        verify_problem(self->report, "%s, %s: the logs have it, it does not", self->name, text);
    } else if (value_a.size == 0) {
        verify_problem(self->report, "%s, %s: it has it, the logs do not", self->name, text);
    } else {
        verify_problem(self->report,
                       "%s, %s: %zu bytes in the logs' state, %zu in it, not the same", self->name,
                       text, value_a.size, value_b.size);
    }
}

static void s_on_session(void *context, slice_t key, slice_t value_a, slice_t value_b)
{
    comparison_t *self = context;
    char hex[2 * SESSION_ID_SIZE + 1];
    if (self->count++ >= VERIFY_DIFFERENCE_COUNT_MAX) {
        return;
    }
    bytes_to_hex(key.data, SESSION_ID_SIZE, hex);
    verify_problem(self->report, "%s, session %s: %s (%zu and %zu bytes)", self->name, hex,
                   value_b.size == 0   ? "the logs have it, it does not"
                   : value_a.size == 0 ? "it has it, the logs do not"
                                       : "the logs say otherwise",
                   value_a.size, value_b.size);
}

/* -- pairs seen -------------------------------------------------------------------------------- */

typedef struct {
    uint8_t producer[PRODUCER_SIZE_MAX];
    size_t producer_size;
    uint64_t first;
    uint64_t last;
} interval_t;

static err_t s_collect_interval(void *context, slice_t producer, uint64_t first, uint64_t last)
{
    interval_t interval;
    memset(&interval, 0, sizeof(interval));
    CHECK(producer.size <= PRODUCER_SIZE_MAX);
    memcpy(interval.producer, producer.data, producer.size);
    interval.producer_size = producer.size;
    interval.first = first;
    interval.last = last;
    buffer_append(context, &interval, sizeof(interval));
    return ERR_OK;
}

static int s_compare_intervals(const void *a, const void *b)
{
    const interval_t *left = a;
    const interval_t *right = b;
    int order = memcmp(left->producer, right->producer, PRODUCER_SIZE_MAX);
    if (order != 0) {
        return order;
    }
    if (left->producer_size != right->producer_size) {
        return left->producer_size < right->producer_size ? -1 : 1;
    }
    if (left->first != right->first) {
        return left->first < right->first ? -1 : 1;
    }
    return left->last < right->last ? -1 : left->last > right->last ? 1 : 0;
}

static uint64_t s_collect_sorted(const dedup_t *dedup, buffer_t *ret_intervals)
{
    buffer_init(ret_intervals);
    (void)dedup_walk(dedup, s_collect_interval, ret_intervals); /* the callback never fails */
    uint64_t count = ret_intervals->size / sizeof(interval_t);
    if (count > 1) {
        qsort(ret_intervals->data, count, sizeof(interval_t), s_compare_intervals);
    }
    return count;
}

static void s_report_interval(comparison_t *self, const interval_t *interval, const char *what)
{
    slice_t producer = slice_make(interval->producer, interval->producer_size);
    bool is_text = bytes_are_utf8(producer);
    if (self->count++ < VERIFY_DIFFERENCE_COUNT_MAX) {
        verify_problem(self->report,
                       "%s, pairs seen of producer %.*s, %" PRIu64 "..%" PRIu64 ": %s", self->name,
                       is_text ? (int)producer.size : 7,
                       is_text ? (const char *)producer.data : "(bytes)", interval->first,
                       interval->last, what);
    }
}

/* Zero behind the last one. */
static void s_get_interval(const buffer_t *intervals, uint64_t index, interval_t *ret_interval)
{
    memset(ret_interval, 0, sizeof(*ret_interval));
    if (index < intervals->size / sizeof(interval_t)) {
        memcpy(ret_interval, intervals->data + index * sizeof(interval_t), sizeof(interval_t));
    }
}

static void s_compare_pairs(comparison_t *self)
{
    buffer_t sides[2];
    uint64_t counts[2] = {s_collect_sorted(self->expected->dedup, &sides[0]),
                          s_collect_sorted(self->found->dedup, &sides[1])};
    uint64_t at[2] = {0, 0};
    while (at[0] < counts[0] || at[1] < counts[1]) {
        interval_t intervals[2];
        s_get_interval(&sides[0], at[0], &intervals[0]);
        s_get_interval(&sides[1], at[1], &intervals[1]);
        int order = at[1] == counts[1]   ? -1
                    : at[0] == counts[0] ? 1
                                         : s_compare_intervals(&intervals[0], &intervals[1]);
        if (order < 0) {
            s_report_interval(self, &intervals[0], "the logs have them, it does not");
        } else if (order > 0) {
            s_report_interval(self, &intervals[1], "it has them, the logs do not");
        }
        at[0] += order <= 0 ? 1 : 0;
        at[1] += order >= 0 ? 1 : 0;
    }
    buffer_done(&sides[0]);
    buffer_done(&sides[1]);
}

static void s_compare_usage(comparison_t *self)
{
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        node_id_t origin = {{region}, self->expected->shard};
        pn_counter_slot_t logged = pn_counter_get(&self->expected->usage.signals, origin);
        pn_counter_slot_t held = pn_counter_get(&self->found->usage.signals, origin);
        uint64_t logged_bytes = pn_counter_get(&self->expected->usage.bytes, origin).plus;
        uint64_t held_bytes = pn_counter_get(&self->found->usage.bytes, origin).plus;
        bool is_equal =
            logged.plus == held.plus && logged.minus == held.minus && logged_bytes == held_bytes;
        if (!is_equal && self->count++ < VERIFY_DIFFERENCE_COUNT_MAX) {
            verify_problem(self->report,
                           "%s, usage of streams of region %u: the logs say %" PRIu64
                           " signals, %" PRIu64 " voided, %" PRIu64 " bytes; it holds %" PRIu64
                           ", %" PRIu64 ", %" PRIu64,
                           self->name, (unsigned)region, logged.plus, logged.minus, logged_bytes,
                           held.plus, held.minus, held_bytes);
        }
    }
}

static void s_compare_home(comparison_t *self)
{
    uint32_t logged = home_book_pending_count(self->expected->home);
    uint32_t held = home_book_pending_count(self->found->home);
    bool is_equal =
        home_book_equal(self->expected->home, self->found->home, self->expected->ledger);
    if (!is_equal && self->count++ < VERIFY_DIFFERENCE_COUNT_MAX) {
        verify_problem(
            self->report,
            "%s, writes that not all shards are known to hold: the logs say %u, it holds "
            "%u, not the same ones",
            self->name, logged, held);
    }
}

uint64_t verify_state_compare(const verify_state_t *expected,
                              const verify_state_t *found,
                              const char *name,
                              verify_report_t *report)
{
    comparison_t self = {expected, found, name, report, 0};
    (void)ledger_compare(expected->ledger, found->ledger, s_on_difference, &self);
    (void)session_book_compare(expected->sessions, found->sessions, s_on_session, &self);
    s_compare_pairs(&self);
    s_compare_usage(&self);
    s_compare_home(&self);
    if (self.count > VERIFY_DIFFERENCE_COUNT_MAX) {
        verify_problem(report, "%s: %" PRIu64 " differences in all, the first %d are listed", name,
                       self.count, VERIFY_DIFFERENCE_COUNT_MAX);
    }
    return self.count;
}
