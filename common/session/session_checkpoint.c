/* The canonical form of sessions (session_format.h): checkpoint, digest, comparison. */
#include "common/session/session_book_state.h"

#include "common/base/mutant.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* -- encoding ---------------------------------------------------------------------------------- */

static uint8_t *s_put_hlc(uint8_t *at, hlc_stamp_t hlc)
{
    bytes_put_u64(at, (uint64_t)hlc.wall_ns);
    bytes_put_u32(at + 8, hlc.logical);
    bytes_put_u32(at + 12, hlc.node);
    return at + 16;
}

static void s_put_head(uint8_t *at, const session_row_t *row)
{
    unsigned flags = (row->is_started ? SESSION_FLAG_STARTED : 0) |
                     (row->is_closed ? SESSION_FLAG_CLOSED : 0) |
                     (row->is_auto ? SESSION_FLAG_AUTO : 0);
    at[0] = SESSION_FORMAT_VERSION;
    at[1] = (uint8_t)flags;
    at = s_put_hlc(at + 2, row->started);
    at = s_put_hlc(at, row->closed);
    bytes_put_u16(at, row->agent_size);
    bytes_put_u16(at + 2, row->meta_size);
    bytes_put_u32(at + 4, row->origin_count);
    bytes_put_u32(at + 8, row->signal_count);
}

static void s_append_origin(buffer_t *out, stream_id_t stream, const session_origin_t *origin)
{
    size_t begin = out->size;
    uint8_t *at = buffer_extend(out, SESSION_VALUE_ORIGIN_SIZE);
    bytes_put_u16(at, stream.origin.region.value);
    bytes_put_u64(at + 2, stream.incarnation);
    seq_cursor_t cursor = {0};
    seq_interval_t interval;
    uint32_t count = 0;
    while (session_tracker_next(&origin->tracker, &cursor, &interval)) {
        at = buffer_extend(out, SESSION_VALUE_INTERVAL_SIZE);
        bytes_put_u64(at, interval.first);
        bytes_put_u64(at + 8, interval.last);
        count++;
    }
    bytes_put_u32(out->data + begin + 10, count);
}

static uint32_t s_origin_index(const session_row_t *row, uint16_t stream)
{
    uint32_t i = 0;
    while (i < row->origin_count && row->origins[i].stream != stream) {
        i++;
    }
    CHECK(i < row->origin_count);
    return i;
}

static void s_append_signal(buffer_t *out, const session_row_t *row, const session_signal_t *signal)
{
    uint8_t *at = buffer_extend(out, SESSION_VALUE_SIGNAL_SIZE);
    at = s_put_hlc(at, signal->hlc);
    bytes_put_u32(at, s_origin_index(row, signal->stream));
    bytes_put_u32(at + 4, signal->session_seq);
    bytes_put_u64(at + 8, signal->event_seq);
    bytes_put_u64(at + 16, signal->item.value);
    bytes_put_u64(at + 24, (uint64_t)signal->ts_ns);
    bytes_put_f64(at + 32, signal->weight);
    at[40] = signal->signal;
}

/* Appends the value of a session. */
static void s_encode(const session_book_t *self, const session_row_t *row, buffer_t *out)
{
    s_put_head(buffer_extend(out, SESSION_VALUE_HEAD_SIZE), row);
    buffer_append(out, row->texts, (size_t)row->agent_size + row->meta_size);
    for (uint32_t i = 0; i < row->origin_count; i++) {
        s_append_origin(out, session_book_stream(self, row->origins[i].stream), &row->origins[i]);
    }
    for (uint32_t i = 0; i < row->signal_count; i++) {
        s_append_signal(out, row, &row->signals[i]);
    }
}

/* -- digest ------------------------------------------------------------------------------------ */

static uint128_t s_hash(const session_book_t *self, const session_row_t *row, buffer_t *scratch)
{
    buffer_clear(scratch);
    buffer_append(scratch, row->id.bytes, SESSION_ID_SIZE);
    s_encode(self, row, scratch);
    XXH128_hash_t hash = XXH3_128bits_withSeed(scratch->data, scratch->size, 'S');
    return (uint128_t)hash.high64 << 64 | hash.low64;
}

static void s_put_sum(uint128_t sum, session_digest_t *ret_digest)
{
    bytes_put_u64(ret_digest->bytes, (uint64_t)sum);
    bytes_put_u64(ret_digest->bytes + 8, (uint64_t)(sum >> 64));
}

/* Known by name alone: an id that every record of which was refused adds nothing. */
static bool s_is_empty(const session_row_t *row)
{
    return !row->is_started && !row->is_closed && row->origin_count == 0;
}

void session_book_digest(session_book_t *self, session_digest_t *ret_digest)
{
    size_t count = self->digest_changed.size / sizeof(uint32_t);
    for (size_t i = 0; i < count; i++) {
        session_row_t *row = session_row_at(self, session_list_at(&self->digest_changed, i));
        uint128_t hash = s_hash(self, row, &self->scratch);
        self->digest += hash - row->hash;
        row->hash = hash;
        row->is_digest_changed = false;
    }
    buffer_clear(&self->digest_changed);
    s_put_sum(self->digest, ret_digest);
}

void session_book_digest_full(const session_book_t *self, session_digest_t *ret_digest)
{
    uint128_t sum = 0;
    buffer_t scratch;
    buffer_init(&scratch);
    for (uint32_t i = 1; i <= self->rows.count; i++) {
        const session_row_t *row = session_row_at(self, i);
        sum += s_is_empty(row) ? 0 : s_hash(self, row, &scratch);
    }
    buffer_done(&scratch);
    s_put_sum(sum, ret_digest);
}

void session_digest_add(uint8_t sum[16], const session_digest_t *digest)
{
    uint128_t a = (uint128_t)bytes_get_u64(sum + 8) << 64 | bytes_get_u64(sum);
    uint128_t b = (uint128_t)bytes_get_u64(digest->bytes + 8) << 64 | bytes_get_u64(digest->bytes);
    bytes_put_u64(sum, (uint64_t)(a + b));
    bytes_put_u64(sum + 8, (uint64_t)((a + b) >> 64));
}

/* -- checkpoint -------------------------------------------------------------------------------- */

uint64_t session_book_changed_count(const session_book_t *self)
{
    return self->checkpoint_changed.size / sizeof(uint32_t);
}

void session_book_checkpoint_write(session_book_t *self, store_batch_t *batch, slice_t prefix)
{
    CHECK(!self->is_checkpoint_open);
    CHECK(self->checkpoint_pending.size == 0);
    CHECK(prefix.size <= SESSION_KEY_PREFIX_SIZE_MAX);
    uint8_t key[SESSION_KEY_PREFIX_SIZE_MAX + SESSION_ID_SIZE];
    if (prefix.size > 0) {
        memcpy(key, prefix.data, prefix.size);
    }
    buffer_t swapped = self->checkpoint_changed;
    self->checkpoint_changed = self->checkpoint_pending;
    self->checkpoint_pending = swapped;
    size_t count = self->checkpoint_pending.size / sizeof(uint32_t);
    for (size_t i = 0; i < count; i++) {
        session_row_t *row = session_row_at(self, session_list_at(&self->checkpoint_pending, i));
        memcpy(key + prefix.size, row->id.bytes, SESSION_ID_SIZE);
        buffer_clear(&self->scratch);
        s_encode(self, row, &self->scratch);
        if (!MUTANT(FORGET_SESSIONS)) {
            store_batch_put(batch, slice_make(key, prefix.size + SESSION_ID_SIZE),
                            buffer_slice(&self->scratch));
        }
        row->is_checkpoint_changed = false;
    }
    self->is_checkpoint_open = true;
}

void session_book_checkpoint_settle(session_book_t *self, bool is_durable)
{
    CHECK(self->is_checkpoint_open);
    size_t count = self->checkpoint_pending.size / sizeof(uint32_t);
    for (size_t i = 0; i < count && !is_durable; i++) {
        uint32_t number = session_list_at(&self->checkpoint_pending, i);
        session_row_t *row = session_row_at(self, number);
        if (!row->is_checkpoint_changed) {
            row->is_checkpoint_changed = true;
            buffer_append(&self->checkpoint_changed, &number, sizeof(number));
        }
    }
    buffer_clear(&self->checkpoint_pending);
    self->is_checkpoint_open = false;
}

void session_book_mark_all(session_book_t *self)
{
    CHECK(!self->is_checkpoint_open);
    for (uint32_t number = 1; number <= self->rows.count; number++) {
        session_row_t *row = session_row_at(self, number);
        if (!row->is_checkpoint_changed) {
            row->is_checkpoint_changed = true;
            buffer_append(&self->checkpoint_changed, &number, sizeof(number));
        }
    }
}

/* -- loading ----------------------------------------------------------------------------------- */

/* Bytes that are taken from the front; NULL, for good, when they ran out. */
typedef struct {
    const uint8_t *at;
    size_t left;
} s_reader_t;

static const uint8_t *s_take(s_reader_t *reader, size_t size)
{
    if (reader->at == NULL || size > reader->left) {
        reader->at = NULL;
        return NULL;
    }
    const uint8_t *taken = reader->at;
    reader->at += size;
    reader->left -= size;
    return taken;
}

static hlc_stamp_t s_get_hlc(const uint8_t *at)
{
    return (hlc_stamp_t){.wall_ns = (int64_t)bytes_get_u64(at),
                         .logical = bytes_get_u32(at + 8),
                         .node = bytes_get_u32(at + 12)};
}

static bool s_stamp_fits(hlc_stamp_t hlc, bool is_set)
{
    bool is_zero = hlc.wall_ns == 0 && hlc.logical == 0 && hlc.node == 0;
    return is_set ? hlc.wall_ns >= 0 : is_zero;
}

/* Flags, stamps and texts; counts by ret_. */
static bool s_load_head(session_book_t *self,
                        session_row_t *row,
                        s_reader_t *reader,
                        uint32_t *ret_origin_count,
                        uint32_t *ret_signal_count)
{
    const uint8_t *at = s_take(reader, SESSION_VALUE_HEAD_SIZE);
    if (at == NULL || at[1] > (SESSION_FLAG_STARTED | SESSION_FLAG_CLOSED | SESSION_FLAG_AUTO)) {
        return false;
    }
    row->is_started = (at[1] & SESSION_FLAG_STARTED) != 0;
    row->is_closed = (at[1] & SESSION_FLAG_CLOSED) != 0;
    row->is_auto = (at[1] & SESSION_FLAG_AUTO) != 0;
    row->started = s_get_hlc(at + 2);
    row->closed = s_get_hlc(at + 18);
    size_t agent_size = bytes_get_u16(at + 34);
    size_t meta_size = bytes_get_u16(at + 36);
    *ret_origin_count = bytes_get_u32(at + 38);
    *ret_signal_count = bytes_get_u32(at + 42);
    const uint8_t *texts = s_take(reader, agent_size + meta_size);
    bool fits = s_stamp_fits(row->started, row->is_started) &&
                s_stamp_fits(row->closed, row->is_closed) && (row->is_closed || !row->is_auto) &&
                agent_size <= SESSION_AGENT_SIZE_MAX && meta_size <= SESSION_META_SIZE_MAX &&
                (row->is_started || agent_size + meta_size == 0) && texts != NULL &&
                bytes_are_utf8(slice_make(texts, agent_size));
    if (fits) {
        session_set_texts(self, row, slice_make(texts, agent_size),
                          slice_make(texts + agent_size, meta_size));
    }
    return fits;
}

static bool s_load_intervals(session_tracker_t *tracker, s_reader_t *reader, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = s_take(reader, SESSION_VALUE_INTERVAL_SIZE);
        if (at == NULL) {
            return false;
        }
        seq_interval_t interval = {bytes_get_u64(at), bytes_get_u64(at + 8)};
        if (interval.last > SESSION_SIGNAL_COUNT_MAX || !session_tracker_load(tracker, interval)) {
            return false;
        }
    }
    return count > 0;
}

static bool s_load_origin(session_book_t *self, session_row_t *row, s_reader_t *reader)
{
    const uint8_t *at = s_take(reader, SESSION_VALUE_ORIGIN_SIZE);
    if (at == NULL) {
        return false;
    }
    stream_id_t stream = {.tenant = self->tenant,
                          .incarnation = bytes_get_u64(at + 2),
                          .origin = {{bytes_get_u16(at)}, self->shard}};
    uint32_t interval_count = bytes_get_u32(at + 10);
    uint16_t region = stream.origin.region.value;
    bool is_first = row->origin_count == 0;
    bool is_stream = region >= 1 && region <= REGION_COUNT_MAX && stream.incarnation != 0;
    if (!is_stream || self->streams.size / sizeof(stream) >= STREAM_COUNT_MAX ||
        (!is_first &&
         stream_id_compare(session_book_stream(self, row->origins[row->origin_count - 1].stream),
                           stream) >= 0)) {
        return false;
    }
    session_origin_t *origin =
        session_require_origin(self, row, session_require_stream(self, stream));
    return s_load_intervals(&origin->tracker, reader, interval_count);
}

static bool s_load_signal(session_book_t *self, session_row_t *row, s_reader_t *reader)
{
    const uint8_t *at = s_take(reader, SESSION_VALUE_SIGNAL_SIZE);
    if (at == NULL) {
        return false;
    }
    uint32_t index = bytes_get_u32(at + 16);
    session_signal_t signal = {
        .hlc = s_get_hlc(at),
        .session_seq = bytes_get_u32(at + 20),
        .event_seq = bytes_get_u64(at + 24),
        .item = {bytes_get_u64(at + 32)},
        .ts_ns = (int64_t)bytes_get_u64(at + 40),
        .weight = bytes_get_f64(at + 48),
        .signal = at[56],
    };
    bool is_event = signal.hlc.wall_ns >= 0 && signal.event_seq != 0 && signal.item.value != 0 &&
                    signal.ts_ns >= 0 && signal.weight >= -1e9 && signal.weight <= 1e9 &&
                    signal.signal >= 1 && signal.signal <= SIGNAL_TYPE_COUNT_MAX;
    if (!is_event || index >= row->origin_count ||
        !seq_set_has(&row->origins[index].tracker.numbers, signal.session_seq)) {
        return false;
    }
    signal.stream = row->origins[index].stream;
    if (row->signal_count > 0 &&
        session_signal_compare(self, &row->signals[row->signal_count - 1], &signal) >= 0) {
        return false;
    }
    session_insert_signal(self, row, &signal);
    return true;
}

static bool s_load_value(session_book_t *self, session_row_t *row, slice_t value)
{
    s_reader_t reader = {value.data, value.size};
    uint32_t origin_count = 0;
    uint32_t signal_count = 0;
    bool ok = s_load_head(self, row, &reader, &origin_count, &signal_count);
    /* Both loops end with the bytes. */
    for (uint32_t i = 0; ok && i < origin_count; i++) {
        ok = s_load_origin(self, row, &reader);
    }
    for (uint32_t i = 0; ok && i < signal_count; i++) {
        ok = s_load_signal(self, row, &reader);
    }
    return ok && reader.left == 0 && !s_is_empty(row);
}

err_t session_book_load_entry(session_book_t *self, slice_t key, slice_t value, errbuf_t *errbuf)
{
    session_id_t id;
    if (key.size != SESSION_ID_SIZE || bytes_get_u64(key.data) == 0 || value.size == 0) {
        errbuf_set(errbuf, "session: expected a key of %d bytes and a value, found %zu and %zu",
                   SESSION_ID_SIZE, key.size, value.size);
        return ERR_CORRUPT;
    }
    if (value.data[0] != SESSION_FORMAT_VERSION) {
        errbuf_set(errbuf, "session: expected version %d, found %u", SESSION_FORMAT_VERSION,
                   value.data[0]);
        return value.data[0] == 0 ? ERR_CORRUPT : ERR_UNSUPPORTED;
    }
    memcpy(id.bytes, key.data, SESSION_ID_SIZE);
    if (session_book_find(self, &id) != 0) {
        errbuf_set(errbuf, "session: expected each id once, found one again");
        return ERR_CORRUPT;
    }
    uint32_t number = 0;
    session_row_t *row = session_require_row(self, &id, &number);
    bool ok = s_load_value(self, row, value);
    session_review_open(self, number);
    if (!ok) {
        errbuf_set(errbuf, "session: expected a value as session_format.h has it, found other "
                           "bytes");
        return ERR_CORRUPT;
    }
    row->is_digest_changed = true;
    buffer_append(&self->digest_changed, &number, sizeof(number));
    return ERR_OK;
}

/* -- comparison -------------------------------------------------------------------------------- */

/* The value of a session of `of`; empty when it does not know it. */
static slice_t s_value_of(const session_book_t *of, const session_id_t *id, buffer_t *out)
{
    uint32_t row = session_book_find(of, id);
    buffer_clear(out);
    if (row != 0 && !s_is_empty(session_row_at(of, row))) {
        s_encode(of, session_row_at(of, row), out);
    }
    return buffer_slice(out);
}

/* Where a comparison stands. */
typedef struct {
    const session_book_t *a;
    const session_book_t *b;
    session_difference_fn callback;
    void *context;
    buffer_t values[2];
    uint64_t count;
} s_comparison_t;

/* in only_b  what a knows was compared before */
static void s_compare(s_comparison_t *self, const session_id_t *id, bool only_b)
{
    slice_t value_a = s_value_of(self->a, id, &self->values[0]);
    slice_t value_b = s_value_of(self->b, id, &self->values[1]);
    bool is_told = only_b && value_a.size > 0;
    if (!is_told && !slice_equal(value_a, value_b)) {
        self->callback(self->context, slice_make(id->bytes, SESSION_ID_SIZE), value_a, value_b);
        self->count++;
    }
}

uint64_t session_book_compare(const session_book_t *a,
                              const session_book_t *b,
                              session_difference_fn callback,
                              void *context)
{
    s_comparison_t self = {.a = a, .b = b, .callback = callback, .context = context};
    for (uint32_t i = 1; i <= a->rows.count; i++) {
        s_compare(&self, &session_row_at(a, i)->id, false);
    }
    for (uint32_t i = 1; i <= b->rows.count; i++) {
        s_compare(&self, &session_row_at(b, i)->id, true);
    }
    buffer_done(&self.values[0]);
    buffer_done(&self.values[1]);
    return self.count;
}
