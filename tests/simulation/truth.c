#include "tests/simulation/truth.h"

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/engine/base_file.h"
#include "common/session/dedup.h"
#include "common/session/session_book.h"
#include "common/signal/ledger.h"
#include "common/topology/table.h"
#include "common/wal/wal_reader.h"
#include "common/wire/client_reply.h"
#include "tests/simulation/promises.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One logged batch. Payload and producer lie in `bytes` of the truth. */
typedef struct {
    stream_id_t stream;
    uint64_t first_seq;
    uint32_t event_count;
    uint64_t epoch;
    hlc_stamp_t hlc;
    bool has_producer;
    uint64_t producer_seq;
    size_t producer_offset;
    size_t producer_size;
    size_t payload_offset;
    size_t payload_size;
    uint8_t content_hash[WAL_CONTENT_HASH_SIZE];
    wal_reissue_t reissue;
    wal_hash_t hash;
    bool is_void;
} s_batch_t;

typedef struct {
    world_t *world;
    const history_t *history;
    prng_t prng;
    truth_counters_t *counters;
    errbuf_t *text;
    buffer_t batches; /* s_batch_t, of one shard */
    buffer_t bytes;
    uint32_t damage_left; /* copies that may still turn out damaged */
    uint8_t *seen;        /* per event of the history: how often it counts */
    promises_t *promises;
} s_truth_t;

static s_batch_t *s_batch(const s_truth_t *self, uint32_t index)
{
    return (s_batch_t *)(void *)self->batches.data + index;
}

static uint32_t s_batch_count(const s_truth_t *self)
{
    return (uint32_t)(self->batches.size / sizeof(s_batch_t));
}

static slice_t s_payload(const s_truth_t *self, const s_batch_t *batch)
{
    return slice_make(self->bytes.data + batch->payload_offset, batch->payload_size);
}

static slice_t s_producer(const s_truth_t *self, const s_batch_t *batch)
{
    return slice_make(self->bytes.data + batch->producer_offset, batch->producer_size);
}

/* -- reading the logs -------------------------------------------------------------------------- */

static void s_add_batch(s_truth_t *self, const wal_batch_t *batch)
{
    s_batch_t *added = (s_batch_t *)(void *)buffer_extend(&self->batches, sizeof(*added));
    *added = (s_batch_t){.stream = batch->stream,
                         .first_seq = batch->first_seq,
                         .event_count = batch->event_count,
                         .epoch = batch->epoch,
                         .hlc = batch->hlc,
                         .has_producer = batch->has_producer,
                         .producer_seq = batch->producer_seq,
                         .producer_offset = self->bytes.size,
                         .producer_size = batch->has_producer ? batch->producer.size : 0,
                         .reissue = batch->reissue,
                         .hash = batch->hash};
    memcpy(added->content_hash, batch->content_hash.bytes, sizeof(added->content_hash));
    buffer_append(&self->bytes, batch->producer.data, added->producer_size);
    added->payload_offset = self->bytes.size;
    added->payload_size = batch->payload.size;
    buffer_append(&self->bytes, batch->payload.data, batch->payload.size);
}

/* Where the files of a stream lie: in a region, or, for region 0, what the regions truncated. */
typedef struct {
    const disk_t *disk;
    wal_path_t tenants;
    wal_path_t folder;
} s_place_t;

static s_place_t s_place(s_truth_t *self, region_id_t holder, stream_id_t stream)
{
    const topology_t *topology = world_topology(self->world);
    bool is_attic = holder.value == 0;
    s_place_t place = {.disk = is_attic ? attic_disk(world_attic(self->world))
                                        : sim_disk_disk(world_disk(self->world, holder))};
    wal_stream_name_t name = {.tenant = stream.tenant, .incarnation = stream.incarnation};
    (void)snprintf(name.tenant_name, sizeof(name.tenant_name), "default");
    (void)snprintf(name.region_name, sizeof(name.region_name), "%s",
                   topology_place_name(topology, stream.origin.region));
    err_t err =
        wal_files_tenants_path(is_attic ? ATTIC_DATA_FOLDER : WORLD_DATA_FOLDER,
                               is_attic ? ATTIC_REGION_NAME : topology_place_name(topology, holder),
                               stream.origin.shard, &place.tenants, NULL);
    CHECK(err == ERR_OK);
    err = wal_files_stream_path(place.tenants.text, &name, &place.folder, NULL);
    CHECK(err == ERR_OK);
    return place;
}

/* First event of a region's copy; 1 when it has none. */
static uint64_t s_first_seq(const s_place_t *place)
{
    wal_segment_list_t files = {NULL, 0, 0};
    (void)wal_files_list_segments(place->disk, place->folder.text, &files, NULL, NULL);
    uint64_t first_seq = files.count > 0 ? files.items[0].first_seq : 1;
    wal_segment_list_done(&files);
    return first_seq;
}

/* Whether the base beside a copy that begins later lets it. */
static bool s_may_begin(s_truth_t *self, const s_place_t *place, stream_id_t stream, uint64_t seq)
{
    wal_base_t join = {.seq = 0};
    err_t err =
        base_join_of_stream(place->disk, place->tenants.text, "default", stream, &join, NULL);
    if (err == ERR_CORRUPT || (err == ERR_OK && seq <= join.seq + 1)) {
        return true; /* by what a damaged one said, or says */
    }
    errbuf_set(self->text,
               "a log begins with event %" PRIu64 ", and its base lets it with %" PRIu64, seq,
               join.seq + 1);
    return false;
}

typedef enum { COPY_FINE, COPY_DAMAGED, COPY_WRONG } s_copy_t;

static wal_reader_t *s_reader(const s_place_t *place, stream_id_t stream, uint64_t from_seq)
{
    wal_reader_options_t options = {
        .disk = place->disk, .folder = place->folder.text, .stream = stream, .from_seq = from_seq};
    return wal_reader_new(&options);
}

/* Takes down what one place has from next_seq on, as far as it verifies. Returns what comes next. */
static uint64_t s_take_down(s_truth_t *self,
                            region_id_t holder,
                            stream_position_t through,
                            uint64_t next_seq)
{
    s_place_t place = s_place(self, holder, through.stream);
    wal_reader_t *reader = s_reader(&place, through.stream, next_seq);
    errbuf_t errbuf = {{0}};
    wal_batch_t batch;
    while (next_seq <= through.seq &&
           wal_reader_next_batch(reader, through.seq, &batch, &errbuf) == ERR_OK) {
        s_add_batch(self, &batch);
        next_seq = wal_batch_last_seq(&batch) + 1;
    }
    wal_reader_destroy(&reader);
    return next_seq;
}

/* The whole stream, each part from whoever has it: what was truncated, or a region. */
static bool s_assemble(s_truth_t *self, stream_position_t through)
{
    const topology_t *topology = world_topology(self->world);
    uint64_t next_seq = 1;
    uint64_t before = 0;
    while (next_seq <= through.seq && next_seq > before) {
        before = next_seq;
        next_seq = s_take_down(self, (region_id_t){0}, through, next_seq);
        for (uint32_t i = 0; i < topology->region_count; i++) {
            next_seq = s_take_down(self, topology->regions[i].id, through, next_seq);
        }
    }
    if (next_seq <= through.seq) {
        errbuf_set(self->text,
                   "event %" PRIu64 " of stream %016" PRIx64
                   " of region %u is in no log, and was not truncated",
                   next_seq, through.stream.incarnation,
                   (unsigned)through.stream.origin.region.value);
    }
    return next_seq > through.seq;
}

/* Number of the batch of the stream that begins with this event; s_batch_count when there is none.
 * in first  number of the stream's first batch */
static uint32_t s_find_batch(const s_truth_t *self, uint32_t first, uint64_t first_seq)
{
    while (first < s_batch_count(self) && s_batch(self, first)->first_seq < first_seq) {
        first++;
    }
    bool is_there = first < s_batch_count(self) && s_batch(self, first)->first_seq == first_seq;
    return is_there ? first : s_batch_count(self);
}

/* Holds a batch of a copy against the one that was taken down. */
static bool s_is_same(s_truth_t *self, const wal_batch_t *batch, uint32_t at)
{
    const s_batch_t *known = at < s_batch_count(self) ? s_batch(self, at) : NULL;
    bool is_same = known != NULL && known->first_seq == batch->first_seq &&
                   memcmp(known->hash.bytes, batch->hash.bytes, WAL_HASH_SIZE) == 0;
    if (!is_same) {
        errbuf_set(self->text, "two regions hold different batches at seq %" PRIu64,
                   batch->first_seq);
    }
    return is_same;
}

/* One region's copy of a stream, from where it begins.
 * in first  number of the stream's first batch among all */
static s_copy_t s_read_copy(s_truth_t *self,
                            region_id_t holder,
                            stream_position_t through,
                            uint32_t first)
{
    s_place_t place = s_place(self, holder, through.stream);
    uint64_t next_seq = s_first_seq(&place);
    self->counters->truncated_streams += next_seq > 1 ? 1 : 0;
    if (next_seq > 1 && !s_may_begin(self, &place, through.stream, next_seq)) {
        return COPY_WRONG;
    }
    wal_reader_t *reader = s_reader(&place, through.stream, next_seq);
    uint32_t at = s_find_batch(self, first, next_seq);
    s_copy_t outcome = COPY_FINE;
    errbuf_t errbuf = {{0}};
    while (outcome == COPY_FINE && next_seq <= through.seq) {
        wal_batch_t batch;
        err_t err = wal_reader_next_batch(reader, through.seq, &batch, &errbuf);
        if (err != ERR_OK) {
            errbuf_set(self->text,
                       "stream %016" PRIx64 " of region %u in region %u at seq %" PRIu64 ": %s",
                       through.stream.incarnation, (unsigned)through.stream.origin.region.value,
                       (unsigned)holder.value, next_seq, errbuf.text);
            outcome = err == ERR_CORRUPT ? COPY_DAMAGED : COPY_WRONG;
        } else {
            outcome = s_is_same(self, &batch, at++) ? COPY_FINE : COPY_WRONG;
            next_seq = wal_batch_last_seq(&batch) + 1;
        }
    }
    wal_reader_destroy(&reader);
    return outcome;
}

static bool s_read_stream(s_truth_t *self, stream_position_t through)
{
    const topology_t *topology = world_topology(self->world);
    uint32_t first = s_batch_count(self);
    self->counters->streams++;
    if (!s_assemble(self, through)) {
        return false;
    }
    for (uint32_t i = 0; i < topology->region_count; i++) {
        s_copy_t outcome = s_read_copy(self, topology->regions[i].id, through, first);
        if (outcome == COPY_DAMAGED && self->damage_left > 0) {
            self->damage_left--; /* a flipped bit that nobody had to read again */
        } else if (outcome != COPY_FINE) {
            return false;
        }
    }
    return true;
}

/* -- copies of one request --------------------------------------------------------------------- */

static const s_truth_t *s_sorting; /* qsort has no context; one run at a time in a process */

static int s_compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b ? 1 : 0;
}

static int s_compare_pair(const s_batch_t *a, const s_batch_t *b)
{
    slice_t producer_a = s_producer(s_sorting, a);
    slice_t producer_b = s_producer(s_sorting, b);
    if (producer_a.size != producer_b.size) {
        return producer_a.size < producer_b.size ? -1 : 1;
    }
    int order =
        producer_a.size == 0 ? 0 : memcmp(producer_a.data, producer_b.data, producer_a.size);
    return order != 0 ? order : s_compare_u64(a->producer_seq, b->producer_seq);
}

static int s_compare_copies(const void *left, const void *right)
{
    const s_batch_t *a = *(const s_batch_t *const *)left;
    const s_batch_t *b = *(const s_batch_t *const *)right;
    int order = s_compare_pair(a, b);
    order = order != 0 ? order : s_compare_u64(b->epoch, a->epoch); /* the highest first */
    order = order != 0 ? order : hlc_compare(a->hlc, b->hlc);
    order = order != 0 ? order : stream_id_compare(a->stream, b->stream);
    return order != 0 ? order : s_compare_u64(a->first_seq, b->first_seq);
}

static void s_find_void(s_truth_t *self)
{
    uint32_t count = s_batch_count(self);
    s_batch_t **sorted = calloc((size_t)count + 1, sizeof(s_batch_t *));
    CHECK(sorted != NULL);
    uint32_t paired = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (s_batch(self, i)->has_producer) {
            sorted[paired++] = s_batch(self, i);
        }
    }
    s_sorting = self;
    qsort(sorted, paired, sizeof(s_batch_t *), s_compare_copies);
    for (uint32_t i = 1; i < paired; i++) {
        sorted[i]->is_void = s_compare_pair(sorted[i - 1], sorted[i]) == 0;
        self->counters->void_batches += sorted[i]->is_void ? 1 : 0;
    }
    free(sorted);
}

/* -- events ------------------------------------------------------------------------------------ */

static bool s_count_event(s_truth_t *self, const signal_event_t *event)
{
    uint32_t number = history_find_event(self->history, event);
    if (number == HISTORY_EVENT_COUNT_MAX) {
        errbuf_set(self->text, "an event is logged that nobody sent: item %" PRIu64,
                   event->item.value);
        return false;
    }
    if (++self->seen[number] > 1) {
        errbuf_set(self->text, "event %u of request %u counts twice", number,
                   history_event(self->history, number)->request);
        return false;
    }
    return true;
}

static bool s_count_record(s_truth_t *self, const record_t *record)
{
    bool ok = true;
    if (record->type == RECORD_SESSION_SIGNAL) {
        const signal_event_t event = {
            .item = record->as.session_signal.item,
            .user = {bytes_get_u64(record->as.session_signal.session.bytes)},
            .ts_ns = record->as.session_signal.ts_ns,
            .weight = record->as.session_signal.weight,
            .signal = record->as.session_signal.signal,
        };
        return s_count_event(self, &event);
    }
    for (uint32_t i = 0; ok && record->type == RECORD_SIGNALS && i < record->event_count; i++) {
        signal_event_t event;
        record_signals_get(&record->as.signals, i, &event);
        ok = s_count_event(self, &event);
    }
    return ok;
}

static bool s_count_payload(s_truth_t *self, slice_t payload)
{
    size_t offset = 0;
    record_t record;
    errbuf_t errbuf;
    while (record_next(payload, &offset, &record, &errbuf) == ERR_OK) {
        if (!s_count_record(self, &record)) {
            return false;
        }
    }
    return true;
}

static bool s_count_events(s_truth_t *self)
{
    for (uint32_t i = 0; i < s_batch_count(self); i++) {
        const s_batch_t *batch = s_batch(self, i);
        self->counters->batches++;
        self->counters->events += batch->event_count;
        if (!batch->is_void && !s_count_payload(self, s_payload(self, batch))) {
            return false;
        }
    }
    return true;
}

/* Writes of registers and of sessions. */
static bool s_take_promised(s_truth_t *self, shard_id_t shard)
{
    stream_id_t stream = {.incarnation = 0};
    uint64_t origin = 0;
    bool ok = true;
    for (uint32_t i = 0; ok && i < s_batch_count(self); i++) {
        const s_batch_t *batch = s_batch(self, i);
        wal_batch_t logged = {.stream = batch->stream,
                              .first_seq = batch->first_seq,
                              .event_count = batch->event_count,
                              .has_producer = batch->has_producer,
                              .producer = s_producer(self, batch),
                              .producer_seq = batch->producer_seq,
                              .payload = s_payload(self, batch)};
        if (!stream_id_equal(batch->stream, stream)) { /* they come stream by stream */
            char name[CLIENT_ORIGIN_SIZE];
            stream = batch->stream;
            client_origin_text(
                name,
                slice_text(topology_place_name(world_topology(self->world), stream.origin.region)),
                &stream);
            origin = history_origin(slice_text(name));
        }
        ok =
            promises_take_batch(self->promises, shard, &logged, origin, batch->is_void, self->text);
    }
    return ok;
}

/* -- state ------------------------------------------------------------------------------------- */

static void s_shuffle(s_truth_t *self, uint32_t *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t other = (uint32_t)prng_below(&self->prng, i + 1ULL);
        order[i] = order[other];
        order[other] = i;
    }
}

/* The digest of a replica that has applied exactly these batches, in an order of our own. */
static void s_digest(s_truth_t *self,
                     shard_id_t shard,
                     uint8_t ret_digest[MSG_HASH_SIZE],
                     ledger_t **ret_ledger,
                     session_book_t **ret_sessions)
{
    uint32_t count = s_batch_count(self);
    uint32_t *order = calloc((size_t)count + 1, sizeof(*order));
    CHECK(order != NULL);
    s_shuffle(self, order, count);
    ledger_t *ledger = ledger_new(&world_topology(self->world)->schema);
    dedup_t *dedup = dedup_new(TENANT_DEFAULT, shard);
    session_book_t *sessions = session_book_new(TENANT_DEFAULT, shard);
    for (uint32_t i = 0; i < count; i++) {
        const s_batch_t *batch = s_batch(self, order[i]);
        errbuf_t errbuf = {{0}};
        err_t err = ledger_apply_payload(ledger, s_payload(self, batch),
                                         batch->is_void ? LEDGER_VOID : LEDGER_COUNTED, &errbuf);
        CHECK(err == ERR_OK);
        wal_batch_t logged = {.stream = batch->stream,
                              .first_seq = batch->first_seq,
                              .reissue = batch->reissue,
                              .payload = s_payload(self, batch)};
        err = session_book_apply(sessions, &logged, batch->is_void ? SESSION_VOID : SESSION_COUNTED,
                                 &errbuf);
        CHECK(err == ERR_OK);
        dedup_position_t position = {.stream = batch->stream,
                                     .first_seq = batch->first_seq,
                                     .event_count = batch->event_count,
                                     .epoch = batch->epoch,
                                     .hlc = batch->hlc};
        memcpy(position.content_hash.bytes, batch->content_hash, sizeof(batch->content_hash));
        dedup_conflict_t conflict;
        if (batch->has_producer) {
            (void)dedup_add(dedup, s_producer(self, batch), batch->producer_seq, &position,
                            &conflict);
        }
    }
    ledger_digest_t state;
    dedup_digest_t pairs;
    ledger_digest_full(ledger, &state);
    dedup_digest_full(dedup, &pairs);
    memcpy(ret_digest, state.bytes, sizeof(state.bytes));
    memcpy(ret_digest + sizeof(state.bytes), pairs.bytes, sizeof(pairs.bytes));
    session_digest_t book;
    session_book_digest_full(sessions, &book);
    session_digest_add(ret_digest, &book);
    dedup_destroy(&dedup);
    free(order);
    *ret_ledger = ledger;
    *ret_sessions = sessions;
}

/* What one item's events of one signal come to, from the events themselves. */
typedef struct {
    long double sum;
    uint64_t count;
} s_cell_t;

typedef struct {
    int64_t at_ns;
    uint32_t signal_count;
    uint64_t item_count; /* items 0..item_count - 1 */
    s_cell_t *cells;     /* (item, signal) */
} s_formula_t;

static s_cell_t *s_cell(const s_formula_t *formula, item_id_t item, uint32_t signal)
{
    CHECK(item.value < formula->item_count && signal < formula->signal_count);
    return &formula->cells[item.value * formula->signal_count + signal];
}

/* Number of the type in the schema. */
static uint32_t s_find_signal(const schema_t *schema, uint8_t id)
{
    uint32_t index = 0;
    while (index < schema->signal_count && schema->signals[index].id != id) {
        index++;
    }
    CHECK(index < schema->signal_count);
    return index;
}

/* One pass over the history. */
static void s_add_up(const s_truth_t *self, s_formula_t *formula)
{
    const schema_t *schema = &world_topology(self->world)->schema;
    uint32_t count = history_event_count(self->history);
    for (uint32_t i = 0; i < count; i++) {
        const history_event_t *event = history_event(self->history, i);
        uint32_t signal = s_find_signal(schema, event->event.signal);
        bool is_in_cells = history_request(self->history, event->request)->kind == HISTORY_SIGNALS;
        if (is_in_cells && self->seen[i] != 0) {
            s_cell_t *cell = s_cell(formula, event->event.item, signal);
            long double age_s = (long double)(formula->at_ns - event->event.ts_ns) / 1e9L;
            cell->sum += (long double)event->event.weight *
                         exp2l(-age_s / (long double)schema->signals[signal].half_life_s);
            cell->count++;
        }
    }
}

static bool s_check_cell(s_truth_t *self,
                         const ledger_t *ledger,
                         const s_formula_t *formula,
                         item_id_t item,
                         uint32_t index)
{
    const schema_signal_t *type = &world_topology(self->world)->schema.signals[index];
    const s_cell_t *cell = s_cell(formula, item, index);
    double score = ledger_score(ledger, item, type->id, formula->at_ns, NULL);
    uint64_t found = ledger_count(ledger, item, type->id, WINDOW_ALL, formula->at_ns, NULL);
    if (found == cell->count && fabsl(cell->sum - (long double)score) <= 1e-6L) {
        return true;
    }
    errbuf_set(self->text,
               "item %" PRIu64 " signal %u: expected %" PRIu64
               " events and a score of %.9Lf, found %" PRIu64 " and %.9f",
               item.value, (unsigned)type->id, cell->count, cell->sum, found, score);
    return false;
}

static bool s_check_formula(s_truth_t *self, const ledger_t *ledger)
{
    s_formula_t formula = {.at_ns = world_wall_ns(self->world),
                           .signal_count = world_topology(self->world)->schema.signal_count};
    for (uint32_t i = 0; i < history_event_count(self->history); i++) {
        uint64_t item = history_event(self->history, i)->event.item.value;
        formula.item_count = item >= formula.item_count ? item + 1 : formula.item_count;
    }
    for (uint32_t row = 1; row <= ledger_item_count(ledger); row++) {
        uint64_t item = ledger_item(ledger, row)->item.value;
        formula.item_count = item >= formula.item_count ? item + 1 : formula.item_count;
    }
    formula.cells = calloc(formula.item_count * formula.signal_count + 1, sizeof(s_cell_t));
    CHECK(formula.cells != NULL);
    s_add_up(self, &formula);
    bool ok = true;
    for (uint32_t i = 0; ok && i < ledger_item_count(ledger) * formula.signal_count; i++) {
        item_id_t item = ledger_item(ledger, 1 + i / formula.signal_count)->item;
        ok = s_check_cell(self, ledger, &formula, item, i % formula.signal_count);
    }
    free(formula.cells);
    return ok;
}

static bool s_check_replicas(s_truth_t *self, shard_id_t shard, const uint8_t digest[MSG_HASH_SIZE])
{
    const topology_t *topology = world_topology(self->world);
    for (uint32_t i = 0; i < topology->region_count; i++) {
        node_id_t node = {topology->regions[i].id, shard};
        uint8_t found[MSG_HASH_SIZE];
        replica_digest(world_replica(self->world, node, TENANT_DEFAULT), found);
        if (memcmp(found, digest, MSG_HASH_SIZE) != 0) {
            bool is_state = memcmp(found, digest, MSG_HASH_SIZE / 2) != 0;
            errbuf_set(self->text, "shard %u in region %u has not the %s of the ground truth",
                       (unsigned)shard.value, (unsigned)node.region.value,
                       is_state ? "state" : "pairs seen");
            return false;
        }
    }
    return true;
}

/* Usage is in no digest. Slots of a replica against those that the logs come to. */
static bool s_check_usage(s_truth_t *self, shard_id_t shard)
{
    const topology_t *topology = world_topology(self->world);
    usage_t usage = {0};
    usage_slot_t expected[PN_COUNTER_SLOT_COUNT_MAX];
    usage_slot_t found[PN_COUNTER_SLOT_COUNT_MAX];
    for (uint32_t i = 0; i < s_batch_count(self); i++) {
        const s_batch_t *batch = s_batch(self, i);
        usage_log(&usage, batch->stream.origin, s_payload(self, batch));
        if (batch->is_void) {
            usage_void(&usage, batch->stream.origin, s_payload(self, batch));
        }
    }
    uint32_t count = usage_slots(&usage, expected);
    usage_done(&usage);
    for (uint32_t i = 0; i < topology->region_count; i++) {
        node_id_t node = {topology->regions[i].id, shard};
        const usage_t *held = replica_usage(world_replica(self->world, node, TENANT_DEFAULT));
        bool is_equal = usage_slots(held, found) == count;
        for (uint32_t k = 0; is_equal && k < count; k++) {
            is_equal = node_id_equal(found[k].origin, expected[k].origin) &&
                       found[k].signals == expected[k].signals &&
                       found[k].voided == expected[k].voided && found[k].bytes == expected[k].bytes;
        }
        if (!is_equal) {
            errbuf_set(self->text, "shard %u in region %u has not the usage of the ground truth",
                       (unsigned)shard.value, (unsigned)node.region.value);
            return false;
        }
    }
    return true;
}

static bool s_check_shard(s_truth_t *self, shard_id_t shard, bool with_formula)
{
    buffer_clear(&self->batches);
    buffer_clear(&self->bytes);
    node_id_t node = {world_topology(self->world)->regions[0].id, shard};
    replica_t *replica = world_replica(self->world, node, TENANT_DEFAULT);
    uint32_t count = 0;
    const stream_position_t *applied = replica_applied(replica, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (!s_read_stream(self, applied[i])) {
            return false;
        }
    }
    s_find_void(self);
    if (!s_count_events(self) || !s_take_promised(self, shard)) {
        return false;
    }
    uint8_t digest[MSG_HASH_SIZE];
    ledger_t *ledger = NULL;
    session_book_t *sessions = NULL;
    s_digest(self, shard, digest, &ledger, &sessions);
    bool ok = s_check_replicas(self, shard, digest) && s_check_usage(self, shard) &&
              (!with_formula || s_check_formula(self, ledger));
    promises_take_state(self->promises, shard, &ledger, &sessions);
    return ok;
}

/* -- acknowledgements -------------------------------------------------------------------------- */

static bool s_check_ack(s_truth_t *self, uint32_t index)
{
    const history_request_t *request = history_request(self->history, index);
    for (uint32_t k = 0; request->is_acked && k < request->event_count; k++) {
        if (self->seen[request->first_event + k] != 1) {
            errbuf_set(self->text, "event %u of request %u was acknowledged, and is in no log",
                       request->first_event + k, index);
            return false;
        }
    }
    return true;
}

static bool s_check_acks(s_truth_t *self)
{
    for (uint32_t i = 0; i < history_request_count(self->history); i++) {
        if (!s_check_ack(self, i)) {
            return false;
        }
    }
    return true;
}

bool truth_check(world_t *world,
                 const history_t *history,
                 const truth_options_t *options,
                 truth_counters_t *ret_counters,
                 errbuf_t *ret_text)
{
    *ret_counters = (truth_counters_t){0};
    s_truth_t self = {
        .world = world, .history = history, .counters = ret_counters, .text = ret_text};
    prng_init(&self.prng, options->seed);
    self.damage_left = options->damaged_max;
    buffer_init(&self.batches);
    buffer_init(&self.bytes);
    self.seen = calloc((size_t)history_event_count(history) + 1, 1);
    CHECK(self.seen != NULL);
    bool ok = !attic_has_conflict(world_attic(world));
    if (!ok) {
        errbuf_set(ret_text, "two regions have truncated different segments of one name");
    }
    uint32_t shards = world_topology(world)->shard_count;
    self.promises = promises_new(history, shards);
    for (uint16_t shard = 0; ok && shard < shards; shard++) {
        ok = s_check_shard(&self, (shard_id_t){shard}, shard == options->seed % shards);
    }
    ok = ok && s_check_acks(&self) && promises_check(self.promises, ret_text);
    promises_destroy(&self.promises);
    buffer_done(&self.batches);
    buffer_done(&self.bytes);
    free(self.seen);
    return ok;
}
