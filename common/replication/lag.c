#include "common/replication/lag.h"

#include "common/base/check.h"
#include "common/replication/stream_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const int64_t s_ns_per_ms = 1000000;

typedef struct {
    uint64_t head_seq;
    int64_t report_ns;
} s_report_t;

typedef struct {
    stream_id_t stream;
    uint64_t applied_seq;
    uint64_t head_seq; /* highest reported; meaningless unless is_reported */
    bool is_reported;
    bool has_fresh;
    int64_t fresh_ns; /* T, when has_fresh */
    int64_t first_ns; /* of the first report, when is_reported */
    uint32_t report_count;
    s_report_t reports[LAG_REPORT_COUNT_MAX]; /* oldest first, all above applied_seq */
} s_row_t;

struct lag {
    node_id_t self_node;
    stream_index_t index;
    s_row_t *rows;
    uint32_t row_capacity;
    bool has_heard[REGION_COUNT_MAX + 1];
    int64_t heard_ns[REGION_COUNT_MAX + 1];
};

static void s_invariant(const lag_t *self)
{
    CHECK(self->index.count <= self->row_capacity);
    CHECK(self->row_capacity <= STREAM_COUNT_MAX);
}

static void s_row_invariant(const s_row_t *row)
{
    CHECK(row->report_count <= LAG_REPORT_COUNT_MAX);
    CHECK_IMPLIES(row->report_count > 0, row->is_reported);
    if (row->report_count > 0) {
        const s_report_t *newest = &row->reports[row->report_count - 1];
        CHECK(newest->head_seq == row->head_seq);
        CHECK(row->reports[0].head_seq > row->applied_seq);
        CHECK(row->reports[0].report_ns <= newest->report_ns);
        CHECK_IMPLIES(row->has_fresh, row->fresh_ns <= row->reports[0].report_ns);
    } else {
        CHECK_IMPLIES(row->is_reported, row->applied_seq >= row->head_seq);
    }
}

lag_t *lag_new(node_id_t self_node)
{
    CHECK(self_node.region.value >= 1);
    CHECK(self_node.region.value <= REGION_COUNT_MAX);
    lag_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->self_node = self_node;
    stream_index_init(&self->index);
    s_invariant(self);
    return self;
}

void lag_destroy(lag_t **self_p)
{
    lag_t *self = *self_p;
    if (self != NULL) {
        stream_index_done(&self->index);
        free(self->rows);
        free(self);
        *self_p = NULL;
    }
}

static const s_row_t *s_find(const lag_t *self, stream_id_t stream)
{
    uint32_t row;
    return stream_index_find(&self->index, stream, &row) ? &self->rows[row] : NULL;
}

static err_t s_require(lag_t *self, stream_id_t stream, s_row_t **ret_row)
{
    uint32_t row;
    bool is_new;
    err_t err = stream_index_require(&self->index, stream, &row, &is_new);
    if (err != ERR_OK) {
        return err;
    }
    if (self->index.count > self->row_capacity) {
        uint32_t capacity = self->index.capacity;
        s_row_t *rows = realloc(self->rows, capacity * sizeof(*rows));
        CHECK(rows != NULL);
        self->rows = rows;
        self->row_capacity = capacity;
    }
    if (is_new) {
        self->rows[row] = (s_row_t){.stream = stream};
    }
    *ret_row = &self->rows[row];
    return ERR_OK;
}

/* Forgets the earlier one of each pair of neighbours; the newest stays. */
static void s_thin_out(s_row_t *row)
{
    CHECK(row->report_count == LAG_REPORT_COUNT_MAX);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < row->report_count; i += 2) {
        row->reports[kept++] = row->reports[i];
    }
    row->report_count = kept;
}
static_assert(LAG_REPORT_COUNT_MAX % 2 == 0, "the newest is the later one of its pair");

/* A head above the applied one, at a time: no earlier head was still true after that time. */
static void s_append(s_row_t *row, s_report_t report)
{
    if (row->has_fresh && row->fresh_ns > report.report_ns) {
        row->fresh_ns = report.report_ns;
    }
    for (uint32_t i = row->report_count; i > 0; i--) {
        if (row->reports[i - 1].report_ns <= report.report_ns) {
            break;
        }
        row->reports[i - 1].report_ns = report.report_ns;
    }
    if (row->report_count == LAG_REPORT_COUNT_MAX) {
        s_thin_out(row);
    }
    row->reports[row->report_count++] = report;
}

static void s_raise_fresh(s_row_t *row, int64_t report_ns)
{
    if (!row->has_fresh || row->fresh_ns < report_ns) {
        row->has_fresh = true;
        row->fresh_ns = report_ns;
    }
}

/* The same head again, later: it is still all that there is. */
static void s_repeat(s_row_t *row, int64_t report_ns)
{
    if (row->report_count == 0) {
        s_raise_fresh(row, report_ns);
        return;
    }
    s_report_t *newest = &row->reports[row->report_count - 1];
    if (newest->report_ns < report_ns) {
        newest->report_ns = report_ns;
    }
}

err_t lag_report(lag_t *self, stream_id_t stream, uint64_t head_seq, int64_t report_ns)
{
    CHECK(stream.origin.region.value >= 1);
    CHECK(stream.origin.region.value <= REGION_COUNT_MAX);
    s_row_t *row;
    err_t err = s_require(self, stream, &row);
    if (err != ERR_OK) {
        return err;
    }
    uint16_t region = stream.origin.region.value;
    if (!row->is_reported) {
        row->is_reported = true;
        row->first_ns = report_ns;
        if (self->has_heard[region] && self->heard_ns[region] <= report_ns) {
            s_raise_fresh(row, self->heard_ns[region]);
        }
    } else if (head_seq < row->head_seq) {
        return ERR_OK;
    } else if (head_seq == row->head_seq) {
        s_repeat(row, report_ns);
        s_row_invariant(row);
        return ERR_OK;
    }
    row->head_seq = head_seq;
    if (head_seq <= row->applied_seq) {
        s_raise_fresh(row, report_ns);
    } else {
        s_append(row, (s_report_t){head_seq, report_ns});
    }
    s_row_invariant(row);
    s_invariant(self);
    return ERR_OK;
}

void lag_lost(lag_t *self, stream_id_t stream, uint64_t head_seq)
{
    uint32_t index = 0;
    if (!stream_index_find(&self->index, stream, &index)) {
        return;
    }
    s_row_t *row = &self->rows[index];
    if (!row->is_reported || head_seq >= row->head_seq) {
        return;
    }
    int64_t report_ns = row->first_ns;
    while (row->report_count > 0 && row->reports[row->report_count - 1].head_seq > head_seq) {
        report_ns = row->reports[--row->report_count].report_ns;
    }
    row->head_seq = head_seq;
    bool is_listed =
        row->report_count > 0 && row->reports[row->report_count - 1].head_seq == head_seq;
    if (head_seq > row->applied_seq && !is_listed) {
        row->reports[row->report_count++] = (s_report_t){head_seq, report_ns};
    }
    s_row_invariant(row);
}

void lag_heard(lag_t *self, region_id_t region, int64_t report_ns)
{
    CHECK(region.value >= 1);
    CHECK(region.value <= REGION_COUNT_MAX);
    if (!self->has_heard[region.value] || self->heard_ns[region.value] < report_ns) {
        self->has_heard[region.value] = true;
        self->heard_ns[region.value] = report_ns;
    }
    s_invariant(self);
}

err_t lag_applied(lag_t *self, stream_id_t stream, uint64_t seq)
{
    s_row_t *row;
    err_t err = s_require(self, stream, &row);
    if (err != ERR_OK) {
        return err;
    }
    CHECK(seq >= row->applied_seq);
    row->applied_seq = seq;
    uint32_t done = 0;
    while (done < row->report_count && row->reports[done].head_seq <= seq) {
        done++;
    }
    if (done > 0) {
        s_raise_fresh(row, row->reports[done - 1].report_ns);
        row->report_count -= done;
        (void)memmove(&row->reports[0], &row->reports[done],
                      row->report_count * sizeof(row->reports[0]));
    }
    s_row_invariant(row);
    s_invariant(self);
    return ERR_OK;
}

static bool s_has_all(const s_row_t *row)
{
    return !row->is_reported || row->applied_seq >= row->head_seq;
}

/* A time that lies ahead (rounding of ages) counts as now. */
static uint32_t s_ms_since(int64_t then_ns, int64_t now_ns)
{
    if (then_ns >= now_ns) {
        return 0;
    }
    uint64_t ms = ((uint64_t)now_ns - (uint64_t)then_ns) / (uint64_t)s_ns_per_ms;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX - 1;
}

static uint32_t s_row_lag_ms(const s_row_t *row, int64_t now_ns)
{
    if (s_has_all(row)) {
        return 0;
    }
    return s_ms_since(row->has_fresh ? row->fresh_ns : row->first_ns, now_ns);
}

static uint32_t s_row_staleness_ms(const lag_t *self, const s_row_t *row, int64_t now_ns)
{
    if (node_id_equal(row->stream.origin, self->self_node) && s_has_all(row)) {
        return 0;
    }
    return row->has_fresh ? s_ms_since(row->fresh_ns, now_ns) : LAG_STALENESS_UNKNOWN;
}

uint64_t lag_seq(const lag_t *self, stream_id_t stream)
{
    const s_row_t *row = s_find(self, stream);
    return row == NULL || s_has_all(row) ? 0 : row->head_seq - row->applied_seq;
}

uint32_t lag_ms(const lag_t *self, stream_id_t stream, int64_t now_ns)
{
    const s_row_t *row = s_find(self, stream);
    return row == NULL ? 0 : s_row_lag_ms(row, now_ns);
}

uint32_t lag_staleness_ms(const lag_t *self, tenant_id_t tenant, region_id_t region, int64_t now_ns)
{
    CHECK(region.value >= 1);
    CHECK(region.value <= REGION_COUNT_MAX);
    uint32_t stalest = 0;
    bool has_stream = region.value == self->self_node.region.value;
    for (uint32_t i = stream_index_first_of(&self->index, tenant); i < self->index.count; i++) {
        const s_row_t *row = &self->rows[self->index.entries[i].row];
        if (row->stream.tenant.value != tenant.value) {
            break;
        }
        if (row->stream.origin.region.value == region.value) {
            uint32_t ms = s_row_staleness_ms(self, row, now_ns);
            stalest = ms > stalest ? ms : stalest;
            has_stream = true;
        }
    }
    if (has_stream) {
        return stalest;
    }
    return self->has_heard[region.value] ? s_ms_since(self->heard_ns[region.value], now_ns)
                                         : LAG_STALENESS_UNKNOWN;
}

uint32_t lag_rows(const lag_t *self,
                  tenant_id_t tenant,
                  int64_t now_ns,
                  msg_lag_row_t *ret_rows,
                  uint32_t row_count_max)
{
    uint32_t count = 0;
    for (uint32_t i = stream_index_first_of(&self->index, tenant); i < self->index.count; i++) {
        const s_row_t *row = &self->rows[self->index.entries[i].row];
        if (row->stream.tenant.value != tenant.value || count == row_count_max) {
            break;
        }
        ret_rows[count++] = (msg_lag_row_t){
            .origin = row->stream.origin.region,
            .incarnation = row->stream.incarnation,
            .leader_seq = s_has_all(row) ? row->applied_seq : row->head_seq,
            .applied_seq = row->applied_seq,
            .lag_ms = s_row_lag_ms(row, now_ns),
        };
    }
    return count;
}
