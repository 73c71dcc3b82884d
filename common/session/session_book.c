#include "common/session/session_book_state.h"

#include "common/base/mutant.h"
#include "common/wal/record_session.h"

#include <stdlib.h>
#include <string.h>

/* -- life -------------------------------------------------------------------------------------- */

session_book_t *session_book_new(tenant_id_t tenant, shard_id_t shard)
{
    session_book_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->tenant = tenant;
    self->shard = shard;
    rows_init(&self->rows, sizeof(session_row_t));
    index_init(&self->index);
    return self;
}

static void s_free_row(session_row_t *row)
{
    for (uint32_t i = 0; i < row->origin_count; i++) {
        session_tracker_done(&row->origins[i].tracker);
    }
    free(row->texts);
    free(row->origins);
    free(row->signals);
}

void session_book_destroy(session_book_t **self_p)
{
    session_book_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t row = 1; row <= self->rows.count; row++) {
        s_free_row(session_row_at(self, row));
    }
    rows_done(&self->rows);
    index_done(&self->index);
    buffer_done(&self->streams);
    buffer_done(&self->open);
    buffer_done(&self->logged);
    buffer_done(&self->digest_changed);
    buffer_done(&self->checkpoint_changed);
    buffer_done(&self->checkpoint_pending);
    buffer_done(&self->scratch);
    free(self);
    *self_p = NULL;
}

static void s_invariant(const session_book_t *self, const session_row_t *row)
{
    CHECK_IMPLIES(row->is_auto, row->is_closed);
    CHECK((row->open_place != 0) == (row->is_started && !row->is_closed));
    CHECK(row->signal_count <= row->signal_capacity);
    CHECK(row->signal_count <= self->signal_count);
}

/* -- tables ------------------------------------------------------------------------------------ */

/* Users are spread by their hash; a user's sessions by the random part. */
static uint64_t s_hash(const session_id_t *id)
{
    return index_hash(bytes_get_u64(id->bytes) ^ bytes_get_u64(id->bytes + 8));
}

uint32_t session_book_find(const session_book_t *self, const session_id_t *id)
{
    index_cursor_t cursor = index_find(&self->index, s_hash(id));
    uint32_t row = index_next(&self->index, &cursor);
    while (row != 0 &&
           memcmp(session_row_at(self, row)->id.bytes, id->bytes, SESSION_ID_SIZE) != 0) {
        row = index_next(&self->index, &cursor);
    }
    return row;
}

session_row_t *session_require_row(session_book_t *self, const session_id_t *id, uint32_t *ret_row)
{
    *ret_row = session_book_find(self, id);
    if (*ret_row == 0) {
        *ret_row = rows_append(&self->rows);
        session_row_at(self, *ret_row)->id = *id;
        index_insert(&self->index, s_hash(id), *ret_row);
    }
    return session_row_at(self, *ret_row);
}

stream_id_t session_book_stream(const session_book_t *self, uint16_t stream)
{
    stream_id_t id;
    CHECK(stream < self->streams.size / sizeof(id));
    memcpy(&id, self->streams.data + stream * sizeof(id), sizeof(id));
    return id;
}

bool session_find_stream(const session_book_t *self, stream_id_t stream, uint16_t *ret_number)
{
    size_t count = self->streams.size / sizeof(stream);
    for (size_t i = 0; i < count; i++) {
        if (stream_id_equal(session_book_stream(self, (uint16_t)i), stream)) {
            *ret_number = (uint16_t)i;
            return true;
        }
    }
    return false;
}

uint16_t session_require_stream(session_book_t *self, stream_id_t stream)
{
    uint16_t number = 0;
    if (!session_find_stream(self, stream, &number)) {
        size_t count = self->streams.size / sizeof(stream);
        CHECK(count < STREAM_COUNT_MAX); /* the applier has refused a stream more */
        buffer_append(&self->streams, &stream, sizeof(stream));
        number = (uint16_t)count;
    }
    return number;
}

const session_origin_t *session_find_origin(const session_row_t *row, uint16_t stream)
{
    for (uint32_t i = 0; i < row->origin_count; i++) {
        if (row->origins[i].stream == stream) {
            return &row->origins[i];
        }
    }
    return NULL;
}

session_origin_t *session_require_origin(session_book_t *self, session_row_t *row, uint16_t stream)
{
    stream_id_t id = session_book_stream(self, stream);
    uint32_t place = 0;
    while (place < row->origin_count &&
           stream_id_compare(session_book_stream(self, row->origins[place].stream), id) < 0) {
        place++;
    }
    if (place < row->origin_count && row->origins[place].stream == stream) {
        return &row->origins[place];
    }
    row->origins = realloc(row->origins, (row->origin_count + 1) * sizeof(*row->origins));
    CHECK(row->origins != NULL);
    memmove(&row->origins[place + 1], &row->origins[place],
            (row->origin_count - place) * sizeof(*row->origins));
    row->origin_count++;
    self->memory_bytes += sizeof(*row->origins);
    row->origins[place] = (session_origin_t){.stream = stream};
    return &row->origins[place];
}

static void s_mark(session_book_t *self, session_row_t *at, uint32_t row)
{
    if (!at->is_digest_changed) {
        at->is_digest_changed = true;
        session_list_add(&self->digest_changed, row);
    }
    if (!at->is_checkpoint_changed) {
        at->is_checkpoint_changed = true;
        session_list_add(&self->checkpoint_changed, row);
    }
}

void session_review_open(session_book_t *self, uint32_t row)
{
    session_row_t *at = session_row_at(self, row);
    bool is_open = at->is_started && !at->is_closed;
    if (is_open && at->open_place == 0) {
        session_list_add(&self->open, row);
        at->open_place = session_book_open_count(self);
    } else if (!is_open && at->open_place != 0) {
        /* The last one takes its place. */
        uint32_t last = session_book_open_at(self, session_book_open_count(self) - 1);
        memcpy(self->open.data + (at->open_place - 1) * sizeof(last), &last, sizeof(last));
        session_row_at(self, last)->open_place = at->open_place;
        self->open.size -= sizeof(last);
        at->open_place = 0;
    }
}

/* -- signals ----------------------------------------------------------------------------------- */

int session_signal_compare(const session_book_t *self,
                           const session_signal_t *a,
                           const session_signal_t *b)
{
    int order = hlc_compare(a->hlc, b->hlc);
    if (order == 0 && a->stream != b->stream) {
        order = stream_id_compare(session_book_stream(self, a->stream),
                                  session_book_stream(self, b->stream));
    }
    return order != 0 ? order
                      : (a->session_seq > b->session_seq) - (a->session_seq < b->session_seq);
}

void session_insert_signal(session_book_t *self, session_row_t *row, const session_signal_t *signal)
{
    if (row->signal_count == row->signal_capacity) {
        uint32_t capacity = row->signal_capacity == 0 ? 4 : 2 * row->signal_capacity;
        self->memory_bytes += (capacity - row->signal_capacity) * sizeof(*signal);
        row->signals = realloc(row->signals, capacity * sizeof(*signal));
        CHECK(row->signals != NULL);
        row->signal_capacity = capacity;
    }
    uint32_t place = row->signal_count; /* nearly always: stamps rise */
    while (place > 0 && session_signal_compare(self, &row->signals[place - 1], signal) > 0) {
        place--;
    }
    memmove(&row->signals[place + 1], &row->signals[place],
            (row->signal_count - place) * sizeof(*signal));
    row->signals[place] = *signal;
    row->signal_count++;
    self->signal_count++;
}

/* Place of a signal from the end; signal_count when it is not there. */
static uint32_t s_find_signal(const session_row_t *row, uint16_t stream, uint64_t event_seq)
{
    for (uint32_t i = row->signal_count; i > 0; i--) {
        const session_signal_t *signal = &row->signals[i - 1];
        if (signal->event_seq == event_seq && signal->stream == stream) {
            return i - 1;
        }
    }
    return row->signal_count;
}

uint32_t session_book_seq_of(const session_book_t *self,
                             uint32_t row,
                             stream_id_t stream,
                             uint64_t event_seq)
{
    uint16_t number = 0;
    if (!session_find_stream(self, stream, &number)) {
        return 0;
    }
    const session_row_t *at = session_row_at(self, row);
    uint32_t place = s_find_signal(at, number, event_seq);
    return place == at->signal_count ? 0 : at->signals[place].session_seq;
}

/* -- records ----------------------------------------------------------------------------------- */

static int s_compare_bytes(slice_t a, slice_t b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    bool has_bytes = size > 0 && a.data != NULL && b.data != NULL;
    int order = has_bytes ? memcmp(a.data, b.data, size) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static slice_t s_agent(const session_row_t *row)
{
    return slice_make(row->texts, row->agent_size);
}

static slice_t s_meta(const session_row_t *row)
{
    return slice_make(row->texts == NULL ? NULL : row->texts + row->agent_size, row->meta_size);
}

void session_set_texts(session_book_t *self, session_row_t *row, slice_t agent, slice_t meta)
{
    CHECK(agent.size <= SESSION_AGENT_SIZE_MAX && meta.size <= SESSION_META_SIZE_MAX);
    size_t before = (size_t)row->agent_size + row->meta_size;
    size_t size = agent.size + meta.size;
    uint8_t *texts = malloc(size + 1); /* never NULL, also when there are none */
    CHECK(texts != NULL);
    if (agent.size > 0) {
        memcpy(texts, agent.data, agent.size);
    }
    if (meta.size > 0) {
        memcpy(texts + agent.size, meta.data, meta.size);
    }
    free(row->texts);
    row->texts = texts;
    row->agent_size = (uint16_t)agent.size;
    row->meta_size = (uint16_t)meta.size;
    self->memory_bytes += size;
    self->memory_bytes -= before;
}

static bool s_apply_start(session_book_t *self, session_row_t *row, const record_t *record)
{
    slice_t agent = record->as.session_start.agent;
    slice_t meta = record->as.session_start.meta;
    int order = hlc_compare(record->as.session_start.hlc, row->started);
    order = order != 0 ? order : s_compare_bytes(agent, s_agent(row));
    order = order != 0 ? order : s_compare_bytes(meta, s_meta(row));
    if (row->is_started && order >= 0) {
        return false;
    }
    row->is_started = true;
    row->started = record->as.session_start.hlc;
    session_set_texts(self, row, agent, meta);
    return true;
}

static bool s_apply_close(session_row_t *row, const record_t *record)
{
    bool is_auto = record->as.session_close.is_auto;
    int order = hlc_compare(record->as.session_close.hlc, row->closed);
    bool is_lower = order < 0 || (order == 0 && row->is_auto && !is_auto);
    if (row->is_closed && !is_lower) {
        return false;
    }
    row->is_closed = true;
    row->is_auto = is_auto;
    row->closed = record->as.session_close.hlc;
    return true;
}

/* Where a record stands. */
typedef struct {
    uint16_t stream;
    uint64_t event_seq;
    session_standing_t standing;
    bool is_reissue; /* stream and event_seq are those of the copy that it names */
} s_place_t;

static bool s_apply_signal(session_book_t *self,
                           session_row_t *row,
                           const record_t *record,
                           s_place_t place)
{
    uint32_t session_seq = record->as.session_signal.session_seq;
    /* Number 0 is in no log: it would leave an origin without numbers. */
    session_tracker_t *tracker =
        session_seq == 0 ? NULL : &session_require_origin(self, row, place.stream)->tracker;
    bool is_new = tracker != NULL &&
                  (session_tracker_accept(tracker, session_seq) || MUTANT(REPEAT_SESSION_SIGNAL));
    /* The number of a copy that is void, or was taken back, has come; its reissue counts. */
    bool counts_again = !is_new && tracker != NULL && place.is_reissue &&
                        place.standing == SESSION_COUNTED &&
                        s_find_signal(row, place.stream, place.event_seq) == row->signal_count;
    if (!is_new && !counts_again) {
        self->repeated_count++;
        return false;
    }
    if (place.standing == SESSION_COUNTED) {
        session_signal_t signal = {
            .hlc = record->as.session_signal.hlc,
            .item = record->as.session_signal.item,
            .ts_ns = record->as.session_signal.ts_ns,
            .weight = record->as.session_signal.weight,
            .event_seq = place.event_seq,
            .session_seq = session_seq,
            .stream = place.stream,
            .signal = record->as.session_signal.signal,
        };
        session_insert_signal(self, row, &signal);
    }
    return true;
}

static void s_apply_record(session_book_t *self, const record_t *record, s_place_t place)
{
    uint32_t row = 0;
    session_row_t *at = session_require_row(self, record_session_id(record), &row);
    bool changed = record->type == RECORD_SESSION_START    ? s_apply_start(self, at, record)
                   : record->type == RECORD_SESSION_SIGNAL ? s_apply_signal(self, at, record, place)
                                                           : s_apply_close(at, record);
    if (changed) {
        s_mark(self, at, row);
        session_review_open(self, row);
    }
    s_invariant(self, at);
}

static void s_take_back(session_book_t *self, const record_t *record, s_place_t place)
{
    uint32_t row = session_book_find(self, record_session_id(record));
    if (row == 0 || record->type != RECORD_SESSION_SIGNAL) {
        return;
    }
    session_row_t *at = session_row_at(self, row);
    uint32_t index = s_find_signal(at, place.stream, place.event_seq);
    if (index == at->signal_count) {
        return; /* its session seq had come before, so it was not taken */
    }
    at->signal_count--;
    self->signal_count--;
    memmove(&at->signals[index], &at->signals[index + 1],
            (at->signal_count - index) * sizeof(*at->signals));
    s_mark(self, at, row);
    s_invariant(self, at);
}

typedef void (*s_record_fn)(session_book_t *self, const record_t *record, s_place_t place);

/* Gives every record of a session to the callback; NULL: looks at them alone. */
static err_t s_walk_once(
    session_book_t *self, slice_t payload, s_place_t place, s_record_fn callback, errbuf_t *errbuf)
{
    size_t offset = 0;
    record_t record;
    err_t err = record_next(payload, &offset, &record, errbuf);
    while (err == ERR_OK) {
        if (callback != NULL && record_is_of_session(record.type)) {
            callback(self, &record, place);
        }
        place.event_seq += record.event_count;
        err = record_next(payload, &offset, &record, errbuf);
    }
    return err == ERR_END ? ERR_OK : err;
}

/* Looks at every record before the first one takes effect. */
static err_t s_walk(
    session_book_t *self, slice_t payload, s_place_t place, s_record_fn callback, errbuf_t *errbuf)
{
    err_t err = s_walk_once(self, payload, place, NULL, errbuf);
    return err == ERR_OK ? s_walk_once(self, payload, place, callback, errbuf) : err;
}

/* By the name that answers give the batch. */
static s_place_t s_place_of(session_book_t *self,
                            const wal_batch_t *batch,
                            session_standing_t standing)
{
    CHECK(batch->stream.tenant.value == self->tenant.value);
    CHECK(batch->stream.origin.shard.value == self->shard.value);
    stream_position_t name = wal_batch_name(batch);
    return (s_place_t){.stream = session_require_stream(self, name.stream),
                       .event_seq = name.seq,
                       .standing = standing,
                       .is_reissue = batch->reissue.named.seq != 0};
}

err_t session_book_apply(session_book_t *self,
                         const wal_batch_t *batch,
                         session_standing_t standing,
                         errbuf_t *errbuf)
{
    if (!record_has_session(batch->payload)) {
        return ERR_OK;
    }
    s_place_t place = s_place_of(self, batch, standing);
    return s_walk(self, batch->payload, place, s_apply_record, errbuf);
}

err_t session_book_void(session_book_t *self, const wal_batch_t *batch, errbuf_t *errbuf)
{
    if (!record_has_session(batch->payload)) {
        return ERR_OK;
    }
    s_place_t place = s_place_of(self, batch, SESSION_VOID);
    return s_walk(self, batch->payload, place, s_take_back, errbuf);
}

/* -- asking ------------------------------------------------------------------------------------ */

static int64_t s_active_ns(const session_row_t *row)
{
    int64_t active_ns = row->started.wall_ns;
    if (row->signal_count > 0) {
        int64_t last_ns = row->signals[row->signal_count - 1].hlc.wall_ns;
        active_ns = last_ns > active_ns ? last_ns : active_ns;
    }
    return active_ns;
}

void session_book_view(const session_book_t *self, uint32_t row, session_view_t *ret_view)
{
    CHECK(row >= 1 && row <= self->rows.count);
    enum { S_NS_PER_MS = 1000000 };
    const session_row_t *at = session_row_at(self, row);
    int64_t active_ns = s_active_ns(at);
    int64_t end_ns = at->is_closed && !at->is_auto ? at->closed.wall_ns : active_ns;
    int64_t duration_ns = at->is_started ? end_ns - at->started.wall_ns : 0;
    *ret_view = (session_view_t){
        .id = &at->id,
        .is_started = at->is_started,
        .is_closed = at->is_closed,
        .is_auto = at->is_auto,
        .started = at->started,
        .closed = at->closed,
        .agent = s_agent(at),
        .meta = s_meta(at),
        .signal_count = at->signal_count,
        .signals = at->signals,
        .active_ns = active_ns,
        .duration_ms = duration_ns < 0 ? 0 : (uint64_t)duration_ns / S_NS_PER_MS,
    };
}

uint32_t session_book_open_count(const session_book_t *self)
{
    return (uint32_t)(self->open.size / sizeof(uint32_t));
}

uint32_t session_book_open_at(const session_book_t *self, uint32_t i)
{
    CHECK(i < session_book_open_count(self));
    return session_list_at(&self->open, i);
}

void session_book_totals(const session_book_t *self, session_totals_t *ret_totals)
{
    *ret_totals = (session_totals_t){
        .sessions = self->rows.count,
        .open = session_book_open_count(self),
        .signals = self->signal_count,
        .repeated = self->repeated_count,
        .memory_bytes = self->rows.size_bytes + index_size_bytes(&self->index) + self->memory_bytes,
    };
}
