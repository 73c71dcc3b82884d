#include "common/wal/record_signals.h"

#include "common/base/check.h"
#include "common/base/mutant.h"
#include "common/wal/record_cohorts.h"

#include <math.h>

enum {
    FLAGS_KNOWN = RECORD_SIGNAL_CONSTANT | RECORD_ITEM_32 | RECORD_USER_NONE | RECORD_USER_32 |
                  RECORD_WEIGHT_CONSTANT | RECORD_TS_CONSTANT | RECORD_TS_DELTA_32 | RECORD_COHORTS
};

static const double s_weight_max = 1e9;

/* Bytes of each column for n events under these flags. */
typedef struct {
    size_t signal;
    size_t item;
    size_t user;
    size_t weight;
    size_t ts;
} layout_t;

static layout_t s_layout(unsigned flags, size_t n)
{
    layout_t layout;
    layout.signal = (flags & RECORD_SIGNAL_CONSTANT) != 0 ? 1 : n;
    layout.item = (flags & RECORD_ITEM_32) != 0 ? 4 * n : 8 * n;
    layout.user = (flags & RECORD_USER_32) != 0 ? 4 * n : 8 * n;
    if ((flags & RECORD_USER_NONE) != 0) {
        layout.user = 0;
    }
    layout.weight = (flags & RECORD_WEIGHT_CONSTANT) != 0 ? 8 : 8 * n;
    layout.ts = 8 * n;
    if ((flags & RECORD_TS_CONSTANT) != 0) {
        layout.ts = 8;
    } else if ((flags & RECORD_TS_DELTA_32) != 0) {
        layout.ts = 8 + 4 * n;
    }
    return layout;
}

static size_t s_layout_size(layout_t layout)
{
    return layout.signal + layout.item + layout.user + layout.weight + layout.ts;
}

static bool s_weight_ok(double weight)
{
    return isfinite(weight) && fabs(weight) <= s_weight_max;
}

static bool s_event_ok(const signal_event_t *event)
{
    return event->item.value != 0 && event->signal >= 1 && event->signal <= SIGNAL_TYPE_COUNT_MAX &&
           event->ts_ns >= 0 && s_weight_ok(event->weight);
}

static uint64_t s_f64_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* What the events have in common, as far as it makes a column narrower. */
typedef struct {
    unsigned flags;
    int64_t ts_min_ns;
} shape_t;

static shape_t s_shape(const signal_event_t *events, uint32_t count)
{
    uint64_t item_bits = 0;
    uint64_t user_bits = 0;
    bool same_signal = true;
    bool same_weight = true;
    int64_t ts_min = events[0].ts_ns;
    int64_t ts_max = events[0].ts_ns;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(s_event_ok(&events[i]));
        item_bits |= events[i].item.value;
        user_bits |= events[i].user.value;
        same_signal = same_signal && events[i].signal == events[0].signal;
        /* by bits: the constant stands for every weight exactly, a zero's sign included */
        same_weight = same_weight && s_f64_bits(events[i].weight) == s_f64_bits(events[0].weight);
        ts_min = events[i].ts_ns < ts_min ? events[i].ts_ns : ts_min;
        ts_max = events[i].ts_ns > ts_max ? events[i].ts_ns : ts_max;
    }
    unsigned flags = 0;
    flags |= same_signal ? RECORD_SIGNAL_CONSTANT : 0U;
    flags |= item_bits <= UINT32_MAX ? RECORD_ITEM_32 : 0U;
    flags |= same_weight ? RECORD_WEIGHT_CONSTANT : 0U;
    if (user_bits == 0) {
        flags |= RECORD_USER_NONE;
    } else if (user_bits <= UINT32_MAX) {
        flags |= RECORD_USER_32;
    }
    if (ts_min == ts_max) {
        flags |= RECORD_TS_CONSTANT;
    } else if (ts_max - ts_min <= (int64_t)UINT32_MAX && count > 2) {
        /* base and two offsets are no shorter than two whole times */
        flags |= RECORD_TS_DELTA_32;
    }
    return (shape_t){flags, ts_min};
}

static uint8_t *s_put_id(uint8_t *at, uint64_t id, bool narrow)
{
    if (narrow) {
        bytes_put_u32(at, (uint32_t)id);
        return at + 4;
    }
    bytes_put_u64(at, id);
    return at + 8;
}

static uint8_t *s_put_ts_column(uint8_t *at,
                                const signal_event_t *events,
                                uint32_t count,
                                shape_t shape)
{
    if ((shape.flags & RECORD_TS_CONSTANT) != 0) {
        bytes_put_u64(at, (uint64_t)events[0].ts_ns);
        return at + 8;
    }
    bool delta = (shape.flags & RECORD_TS_DELTA_32) != 0;
    if (delta) {
        bytes_put_u64(at, (uint64_t)shape.ts_min_ns);
        at += 8;
    }
    uint64_t base = delta ? (uint64_t)shape.ts_min_ns : 0;
    for (uint32_t i = 0; i < count; i++) {
        at = s_put_id(at, (uint64_t)events[i].ts_ns - base, delta);
    }
    return at;
}

static void s_put_columns(uint8_t *at, const signal_event_t *events, uint32_t count, shape_t shape)
{
    const uint32_t signal_count = (shape.flags & RECORD_SIGNAL_CONSTANT) != 0 ? 1 : count;
    for (uint32_t i = 0; i < signal_count; i++) {
        *at++ = events[i].signal;
    }
    for (uint32_t i = 0; i < count; i++) {
        at = s_put_id(at, events[i].item.value, (shape.flags & RECORD_ITEM_32) != 0);
    }
    const uint32_t user_count = (shape.flags & RECORD_USER_NONE) != 0 ? 0 : count;
    for (uint32_t i = 0; i < user_count; i++) {
        at = s_put_id(at, events[i].user.value, (shape.flags & RECORD_USER_32) != 0);
    }
    const uint32_t weight_count = (shape.flags & RECORD_WEIGHT_CONSTANT) != 0 ? 1 : count;
    for (uint32_t i = 0; i < weight_count; i++) {
        bytes_put_f64(at, events[i].weight);
        at += 8;
    }
    (void)s_put_ts_column(at, events, count, shape);
}

void record_append_signals(buffer_t *payload, const signal_event_t *events, uint32_t count)
{
    CHECK(count >= 1 && count <= WAL_BATCH_COUNT_MAX);
    const shape_t shape = s_shape(events, count);
    const size_t body_size = s_layout_size(s_layout(shape.flags, count));
    uint8_t *at = buffer_extend(payload, RECORD_HEADER_SIZE + body_size);
    record_put_header(at, RECORD_SIGNALS, shape.flags, count);
    bytes_put_u32(at + 8, (uint32_t)body_size);
    s_put_columns(at + RECORD_HEADER_SIZE, events, count, shape);
}

static err_t s_check_ids(const uint8_t *signal, size_t signal_count, errbuf_t *errbuf)
{
    for (size_t i = 0; i < signal_count; i++) {
        if (signal[i] < 1 || signal[i] > SIGNAL_TYPE_COUNT_MAX) {
            errbuf_set(errbuf, "signal id: expected 1..%d, found %u", SIGNAL_TYPE_COUNT_MAX,
                       (unsigned)signal[i]);
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}

static err_t s_check_items(const record_signals_t *signals, errbuf_t *errbuf)
{
    const bool narrow = (signals->flags & RECORD_ITEM_32) != 0;
    for (size_t i = 0; i < signals->count; i++) {
        uint64_t item =
            narrow ? bytes_get_u32(signals->item + 4 * i) : bytes_get_u64(signals->item + 8 * i);
        if (item == 0) {
            errbuf_set(errbuf, "event %zu: expected an item id, found 0", i);
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}

static err_t s_check_weights(const record_signals_t *signals, errbuf_t *errbuf)
{
    const size_t count = (signals->flags & RECORD_WEIGHT_CONSTANT) != 0 ? 1 : signals->count;
    for (size_t i = 0; i < count; i++) {
        double weight = bytes_get_f64(signals->weight + 8 * i);
        if (!s_weight_ok(weight)) {
            errbuf_set(errbuf, "event %zu: expected a finite weight up to 1e9, found %g", i,
                       weight);
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}

static err_t s_check_times(const record_signals_t *signals, errbuf_t *errbuf)
{
    size_t count = signals->count;
    int64_t max = INT64_MAX;
    if ((signals->flags & RECORD_TS_CONSTANT) != 0) {
        count = 1;
    } else if ((signals->flags & RECORD_TS_DELTA_32) != 0) {
        count = 1;
        max = INT64_MAX - (int64_t)UINT32_MAX; /* no offset may run over */
    }
    for (size_t i = 0; i < count; i++) {
        int64_t ts_ns = (int64_t)bytes_get_u64(signals->ts + 8 * i);
        if (ts_ns < 0 || ts_ns > max) {
            errbuf_set(errbuf, "event %zu: expected a time since 1970, found %lld ns", i,
                       (long long)ts_ns);
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}

static err_t s_check_columns(const record_signals_t *signals, errbuf_t *errbuf)
{
    const size_t signal_count = (signals->flags & RECORD_SIGNAL_CONSTANT) != 0 ? 1 : signals->count;
    err_t err = s_check_ids(signals->signal, signal_count, errbuf);
    if (err == ERR_OK) {
        err = s_check_items(signals, errbuf);
    }
    if (err == ERR_OK) {
        err = s_check_weights(signals, errbuf);
    }
    if (err == ERR_OK) {
        err = s_check_times(signals, errbuf);
    }
    return err;
}

err_t record_signals_decode(slice_t body, unsigned flags, record_t *record, errbuf_t *errbuf)
{
    if ((flags & ~(unsigned)FLAGS_KNOWN) != 0) {
        errbuf_set(errbuf, "SIGNALS record: flags 0x%x are of a later version", flags);
        return ERR_UNSUPPORTED;
    }
    const unsigned users = RECORD_USER_NONE | RECORD_USER_32;
    const unsigned times = RECORD_TS_CONSTANT | RECORD_TS_DELTA_32;
    if ((flags & users) == users || (flags & times) == times) {
        errbuf_set(errbuf, "SIGNALS record: flags 0x%x contradict each other", flags);
        return ERR_CORRUPT;
    }
    const layout_t layout = s_layout(flags, record->event_count);
    const size_t size = s_layout_size(layout);
    const bool has_cohorts = (flags & RECORD_COHORTS) != 0;
    if (body.size < size || (body.size > size && !has_cohorts)) {
        errbuf_set(errbuf, "SIGNALS record of %u events: expected a body of %zu bytes, found %zu",
                   record->event_count, size, body.size);
        return ERR_CORRUPT;
    }
    record_signals_t *signals = &record->as.signals;
    signals->count = record->event_count;
    signals->flags = (uint16_t)flags;
    signals->signal = body.data;
    signals->item = signals->signal + layout.signal;
    signals->user = signals->item + layout.item;
    signals->weight = signals->user + layout.user;
    signals->ts = signals->weight + layout.weight;
    signals->cohorts = slice_make(body.data + size, body.size - size);
    err_t err = s_check_columns(signals, errbuf);
    return err == ERR_OK && has_cohorts ? record_cohorts_check(signals, errbuf) : err;
}

void record_signals_get(const record_signals_t *signals, uint32_t i, signal_event_t *ret_event)
{
    const unsigned flags = signals->flags;
    const size_t at = i;
    CHECK(i < signals->count);
    ret_event->signal = signals->signal[(flags & RECORD_SIGNAL_CONSTANT) != 0 ? 0 : at];
    ret_event->item.value = (flags & RECORD_ITEM_32) != 0 ? bytes_get_u32(signals->item + 4 * at)
                                                          : bytes_get_u64(signals->item + 8 * at);
    if ((flags & RECORD_USER_NONE) != 0) {
        ret_event->user.value = 0;
    } else if ((flags & RECORD_USER_32) != 0) {
        ret_event->user.value = bytes_get_u32(signals->user + 4 * at);
    } else {
        ret_event->user.value = bytes_get_u64(signals->user + 8 * at);
    }
    ret_event->weight =
        bytes_get_f64(signals->weight + ((flags & RECORD_WEIGHT_CONSTANT) != 0 ? 0 : 8 * at));
    if (MUTANT(F32_WEIGHTS)) {
        ret_event->weight = (double)(float)ret_event->weight;
    }
    if ((flags & RECORD_TS_DELTA_32) != 0) {
        ret_event->ts_ns =
            (int64_t)(bytes_get_u64(signals->ts) + bytes_get_u32(signals->ts + 8 + 4 * at));
    } else {
        ret_event->ts_ns =
            (int64_t)bytes_get_u64(signals->ts + ((flags & RECORD_TS_CONSTANT) != 0 ? 0 : 8 * at));
    }
}
