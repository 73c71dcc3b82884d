/* Who has what, who lacks what, who has diverged: the comparison alone. */
#include "common/cluster/reconcile.h"

#include "common/base/check.h"
#include "common/base/mutant.h"

#include <stdlib.h>
#include <string.h>

static_assert(REGION_COUNT_MAX <= 32, "a set of the nodes of one shard is one 32-bit word");

/* -- comparison -------------------------------------------------------------------------------- */

/* The nodes of one (tenant, shard) that answered, by ascending region. Sets of them are words, bit
 * i for the i-th. */
typedef struct {
    uint32_t count;
    const msg_reconcile_row_t *rows[REGION_COUNT_MAX];
    reconcile_line_t *lines[REGION_COUNT_MAX];
    uint32_t next[REGION_COUNT_MAX];        /* into applied, while the vectors are walked */
    uint32_t same_vector[REGION_COUNT_MAX]; /* set, itself included */
} s_group_t;

void reconcile_report_init(reconcile_report_t *self)
{
    *self = (reconcile_report_t){.compared_count = 0};
}

void reconcile_report_done(reconcile_report_t *self)
{
    free(self->lines);
    free(self->gaps);
    reconcile_report_init(self);
}

static int s_compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int s_compare_place(tenant_id_t tenant_a, node_id_t a, tenant_id_t tenant_b, node_id_t b)
{
    int order = s_compare_u64(tenant_a.value, tenant_b.value);
    order = order != 0 ? order : s_compare_u64(a.shard.value, b.shard.value);
    return order != 0 ? order : s_compare_u64(a.region.value, b.region.value);
}

static int s_compare_rows(const void *a, const void *b)
{
    const msg_reconcile_row_t *row_a = a;
    const msg_reconcile_row_t *row_b = b;
    return s_compare_place(row_a->tenant, row_a->node, row_b->tenant, row_b->node);
}

static int s_compare_gaps(const void *a, const void *b)
{
    const reconcile_gap_t *gap_a = a;
    const reconcile_gap_t *gap_b = b;
    int order =
        s_compare_place(gap_a->stream.tenant, gap_a->node, gap_b->stream.tenant, gap_b->node);
    return order != 0 ? order : stream_id_compare(gap_a->stream, gap_b->stream);
}

static int s_compare_lines(const void *a, const void *b)
{
    const reconcile_line_t *line_a = a;
    const reconcile_line_t *line_b = b;
    int order = s_compare_u64(line_b->found, line_a->found);
    return order != 0 ? order
                      : s_compare_place(line_a->tenant, line_a->node, line_b->tenant, line_b->node);
}

static const msg_reconcile_row_t *s_find_row(const reconcile_state_t *state,
                                             tenant_id_t tenant,
                                             node_id_t node)
{
    msg_reconcile_row_t key = {.tenant = tenant, .node = node};
    return state->row_count == 0
               ? NULL
               : bsearch(&key, state->rows, state->row_count, sizeof(key), s_compare_rows);
}

/* The next entry of the vector of node i; NULL after its last. */
static const stream_position_t *s_head(const s_group_t *group, uint32_t i)
{
    const msg_reconcile_row_t *row = group->rows[i];
    return group->next[i] < row->applied_count ? &row->applied[group->next[i]] : NULL;
}

/* The next stream that any node of the group has, in stream order; false after the last.
 * out ret_seqs  by node, 0 for one that does not have it */
static bool s_next_stream(s_group_t *group, stream_id_t *ret_stream, uint64_t *ret_seqs)
{
    const stream_position_t *least = NULL;
    for (uint32_t i = 0; i < group->count; i++) {
        const stream_position_t *head = s_head(group, i);
        bool is_less =
            head != NULL && (least == NULL || stream_id_compare(head->stream, least->stream) < 0);
        least = is_less ? head : least;
    }
    if (least == NULL) {
        return false;
    }
    *ret_stream = least->stream;
    for (uint32_t i = 0; i < group->count; i++) {
        const stream_position_t *head = s_head(group, i);
        bool has_it = head != NULL && stream_id_equal(head->stream, *ret_stream);
        ret_seqs[i] = has_it ? head->seq : 0;
        group->next[i] += has_it ? 1 : 0;
    }
    return true;
}

static void s_add_gap(reconcile_report_t *report, const reconcile_gap_t *gap)
{
    if (report->gap_count == report->gap_capacity) {
        report->gap_capacity = report->gap_capacity == 0 ? 16 : report->gap_capacity * 2;
        report->gaps = realloc(report->gaps, report->gap_capacity * sizeof(*report->gaps));
        CHECK(report->gaps != NULL);
    }
    report->gaps[report->gap_count++] = *gap;
}

/* Whose node has the stream up to goal. */
static region_id_t s_holder(const s_group_t *group,
                            stream_id_t stream,
                            const uint64_t *seqs,
                            uint64_t goal)
{
    region_id_t holder = {0};
    for (uint32_t i = 0; i < group->count; i++) {
        region_id_t region = group->lines[i]->node.region;
        bool is_origin = region.value == stream.origin.region.value;
        holder = seqs[i] == goal && (holder.value == 0 || is_origin) ? region : holder;
    }
    return holder;
}

static void s_take_stream(s_group_t *group,
                          reconcile_report_t *report,
                          stream_id_t stream,
                          const uint64_t *seqs)
{
    uint64_t goal = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        goal = seqs[i] > goal ? seqs[i] : goal;
        group->lines[i]->event_count += seqs[i];
        for (uint32_t j = 0; j < group->count; j++) {
            group->same_vector[i] &= seqs[i] == seqs[j] ? UINT32_MAX : ~(UINT32_C(1) << j);
        }
    }
    region_id_t holder = s_holder(group, stream, seqs, goal);
    for (uint32_t i = 0; i < group->count; i++) {
        if (seqs[i] < goal) {
            s_add_gap(report, &(reconcile_gap_t){.node = group->lines[i]->node,
                                                 .holder = holder,
                                                 .stream = stream,
                                                 .seq = seqs[i],
                                                 .goal_seq = goal,
                                                 .due_seq = goal});
            group->lines[i]->missing_count += goal - seqs[i];
        }
    }
}

/* Those of `among` that have the digest of node i. */
static uint32_t s_holders(const s_group_t *group, uint32_t among, uint32_t i)
{
    uint32_t holders = 0;
    for (uint32_t j = 0; j < group->count; j++) {
        bool equal = memcmp(group->rows[i]->digest, group->rows[j]->digest, MSG_HASH_SIZE) == 0;
        holders |= equal ? among & UINT32_C(1) << j : 0;
    }
    return holders;
}

static uint32_t s_count(uint32_t set)
{
    return (uint32_t)__builtin_popcount(set);
}

/* The node of `among` whose digest more than half of them have; the group's count: there is none.
 */
static uint32_t s_majority(const s_group_t *group, uint32_t among)
{
    uint32_t i = 0;
    while (i < group->count && 2 * s_count(s_holders(group, among, i)) <= s_count(among)) {
        i++;
    }
    return i;
}

static void s_judge(const s_group_t *group, uint32_t i, reconcile_report_t *report)
{
    reconcile_line_t *line = group->lines[i];
    uint32_t same = group->same_vector[i];
    uint32_t holders = s_holders(group, same, i);
    uint32_t majority = s_majority(group, same);
    bool diverged =
        holders != same && (majority == group->count || (holders & UINT32_C(1) << majority) == 0);
    uint32_t among = diverged ? same : UINT32_MAX;
    for (uint32_t j = 0; j < group->count; j++) {
        if (j != i && (among & UINT32_C(1) << j) != 0) {
            line->with = region_set_add(line->with, group->lines[j]->node.region);
        }
    }
    memcpy(line->digest, group->rows[i]->digest, sizeof(line->digest));
    line->agree_count = s_count(holders) - 1;
    line->is_suspect = MUTANT(REPAIR_BY_MAJORITY) ? diverged : holders != same;
    if (diverged) {
        line->found = RECONCILE_FOUND_DIVERGED;
        if (majority < group->count) {
            line->expected_count = s_count(s_holders(group, same, majority));
            memcpy(line->expected, group->rows[majority]->digest, sizeof(line->expected));
        }
    } else if (group->count == 1) {
        line->found = RECONCILE_FOUND_ALONE;
    } else if (line->missing_count > 0) {
        line->found = RECONCILE_FOUND_LAGGING;
    } else {
        line->found = line->agree_count > 0 ? RECONCILE_FOUND_EQUAL : RECONCILE_FOUND_FURTHEST;
    }
    line->is_listed = line->found != RECONCILE_FOUND_LAGGING;
    report->compared_count += group->count > 1 ? 1 : 0;
}

static void s_compare_group(s_group_t *group, reconcile_report_t *report)
{
    uint32_t all = (uint32_t)((UINT64_C(1) << group->count) - 1);
    for (uint32_t i = 0; i < group->count; i++) {
        group->same_vector[i] = all;
    }
    uint32_t first_gap = report->gap_count;
    stream_id_t stream;
    uint64_t seqs[REGION_COUNT_MAX];
    while (s_next_stream(group, &stream, seqs)) {
        s_take_stream(group, report, stream, seqs);
    }
    if (report->gap_count > first_gap) {
        qsort(report->gaps + first_gap, report->gap_count - first_gap, sizeof(*report->gaps),
              s_compare_gaps);
    }
    for (uint32_t i = 0; i < group->count; i++) {
        reconcile_line_t *line = group->lines[i];
        line->first_gap = first_gap;
        line->oldest_gap = first_gap;
        while (first_gap < report->gap_count &&
               node_id_equal(report->gaps[first_gap].node, line->node)) {
            first_gap++;
        }
        line->gap_count = first_gap - line->first_gap;
        s_judge(group, i, report);
    }
}

/* A line for each placed node of a shard, and the comparison of those that answered. */
static void s_compare_shard(const table_record_t *record,
                            reconcile_line_t place,
                            const reconcile_state_t *const *by_region,
                            reconcile_report_t *report)
{
    s_group_t group = {.count = 0};
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (!region_set_has(record->placed, (region_id_t){region})) {
            continue;
        }
        reconcile_line_t *line = &report->lines[report->line_count++];
        *line = place;
        line->node.region = (region_id_t){region};
        line->is_leader = record->leader.value == region;
        line->found = RECONCILE_FOUND_SILENT;
        if (by_region[region] == NULL) {
            continue;
        }
        const msg_reconcile_row_t *row = s_find_row(by_region[region], line->tenant, line->node);
        line->found = RECONCILE_FOUND_UNANSWERED;
        if (row != NULL && row->answered) {
            group.rows[group.count] = row;
            group.lines[group.count++] = line;
        }
    }
    s_compare_group(&group, report);
}

static uint32_t s_placed_count(const table_t *table)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < table_tenant_count(table); t++) {
        for (uint16_t shard = 0; shard < table_shard_count(table); shard++) {
            const table_record_t *record =
                table_find_record(table, table_tenant_at(table, t)->id, (shard_id_t){shard});
            count += region_set_count(record->placed);
        }
    }
    return count;
}

void reconcile_compare(const table_t *table,
                       region_set_t regions,
                       const reconcile_state_t *states,
                       uint32_t state_count,
                       reconcile_report_t *ret_report)
{
    const reconcile_state_t *by_region[REGION_COUNT_MAX + 1] = {NULL};
    region_set_t silent = regions;
    for (uint32_t i = 0; i < state_count; i++) {
        CHECK(by_region[states[i].region.value] == NULL);
        by_region[states[i].region.value] = &states[i];
        silent = region_set_remove(silent, states[i].region);
    }
    reconcile_report_done(ret_report);
    ret_report->silent = silent;
    uint32_t placed_count = s_placed_count(table);
    ret_report->lines = calloc((size_t)placed_count + 1, sizeof(*ret_report->lines));
    CHECK(ret_report->lines != NULL);
    for (uint32_t t = 0; t < table_tenant_count(table); t++) {
        tenant_id_t tenant = table_tenant_at(table, t)->id;
        for (uint16_t shard = 0; shard < table_shard_count(table); shard++) {
            reconcile_line_t place = {
                .tenant = tenant, .node = {.shard = {shard}}, .is_listed = true};
            s_compare_shard(table_find_record(table, tenant, place.node.shard), place, by_region,
                            ret_report);
        }
    }
    CHECK(ret_report->line_count == placed_count);
    for (uint32_t i = 0; i < ret_report->line_count; i++) {
        ret_report->found_counts[ret_report->lines[i].found]++;
    }
    qsort(ret_report->lines, ret_report->line_count, sizeof(*ret_report->lines), s_compare_lines);
}

/* -- what lasts, and what is new --------------------------------------------------------------- */

static void s_date_line(reconcile_report_t *self, reconcile_line_t *line, int64_t now_ns)
{
    for (uint32_t i = line->first_gap; i < line->first_gap + line->gap_count; i++) {
        bool older = self->gaps[i].since_ns < self->gaps[line->oldest_gap].since_ns;
        line->oldest_gap = older ? i : line->oldest_gap;
    }
    int64_t lag_ms = (now_ns - self->gaps[line->oldest_gap].since_ns) / ENGINE_NS_PER_MS;
    line->lag_ms = lag_ms >= UINT32_MAX ? UINT32_MAX : (uint32_t)lag_ms;
}

static const reconcile_line_t *s_find_line(const reconcile_report_t *self,
                                           tenant_id_t tenant,
                                           node_id_t node)
{
    for (uint32_t i = 0; i < self->line_count; i++) {
        const reconcile_line_t *line = &self->lines[i];
        if (line->tenant.value == tenant.value && node_id_equal(line->node, node)) {
            return line;
        }
    }
    return NULL;
}

static bool s_had_diverged(const reconcile_report_t *before, const reconcile_line_t *line)
{
    /* The worst come first. */
    for (uint32_t i = 0; i < before->found_counts[RECONCILE_FOUND_DIVERGED]; i++) {
        const reconcile_line_t *old = &before->lines[i];
        if (old->tenant.value == line->tenant.value && node_id_equal(old->node, line->node)) {
            return true;
        }
    }
    return false;
}

/* How far a node has come in what it lacked in the run before. A gap that is gone is closed up to
 * where it went; of a node that gave no answer now nothing is known. */
static uint64_t s_fetched(const reconcile_report_t *self,
                          const reconcile_report_t *before,
                          region_id_t region)
{
    uint64_t fetched = 0;
    for (uint32_t i = 0; i < before->gap_count; i++) {
        const reconcile_gap_t *old = &before->gaps[i];
        if (old->node.region.value != region.value) {
            continue;
        }
        const reconcile_line_t *line = s_find_line(self, old->stream.tenant, old->node);
        bool answered = line != NULL && line->found != RECONCILE_FOUND_SILENT &&
                        line->found != RECONCILE_FOUND_UNANSWERED;
        const reconcile_gap_t *gap =
            self->gap_count == 0
                ? NULL
                : bsearch(old, self->gaps, self->gap_count, sizeof(*gap), s_compare_gaps);
        uint64_t seq = gap == NULL ? old->goal_seq : gap->seq;
        fetched += answered && seq > old->seq ? seq - old->seq : 0;
    }
    return fetched;
}

void reconcile_date(reconcile_report_t *self,
                    const reconcile_report_t *before,
                    region_id_t region,
                    int64_t now_ns,
                    int64_t listed_ns)
{
    self->fetched_count = s_fetched(self, before, region);
    /* In the first run of all, peers may be starting as well: that is told when it lasts. */
    self->told_silent.bits = before->line_count == 0 ? 0 : self->silent.bits;
    self->newly_silent.bits = self->told_silent.bits & ~before->told_silent.bits;
    for (uint32_t i = 0; i < self->gap_count; i++) {
        reconcile_gap_t *gap = &self->gaps[i];
        const reconcile_gap_t *old =
            before->gap_count == 0
                ? NULL
                : bsearch(gap, before->gaps, before->gap_count, sizeof(*gap), s_compare_gaps);
        bool lasts = old != NULL && gap->seq < old->due_seq;
        gap->due_seq = lasts ? old->due_seq : gap->goal_seq;
        gap->since_ns = lasts ? old->since_ns : now_ns;
    }
    for (uint32_t i = 0; i < self->line_count; i++) {
        reconcile_line_t *line = &self->lines[i];
        if (line->found == RECONCILE_FOUND_LAGGING) {
            s_date_line(self, line, now_ns);
            line->is_listed = (int64_t)line->lag_ms * ENGINE_NS_PER_MS >= listed_ns;
        }
        line->is_new = line->found == RECONCILE_FOUND_DIVERGED && !s_had_diverged(before, line);
    }
}
