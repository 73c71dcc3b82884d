#include "common/cluster/reconcile_engine.h"

#include "common/base/check.h"
#include "common/cluster/reconcile_checks.h"
#include "common/cluster/reconcile_kept.h"
#include "common/cluster/reconcile_snapshots.h"
#include "common/engine/table_keeper.h"
#include "common/topology/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One own node in this run. */
typedef struct {
    bool is_asked;
    bool is_left; /* did not answer in time, or cannot be reached */
    uint64_t request_id;
    uint64_t look_id;  /* of the look that was asked for before it; 0 none, or answered */
    uint32_t row;      /* that the question is about */
    uint32_t next_row; /* rows before it are done */
    int64_t deadline_ns;
} s_question_t;

typedef enum { S_IDLE, S_NODES, S_PEERS } s_phase_t;

struct reconcile_engine {
    engine_env_t env;
    table_keeper_t *tables;
    msg_codec_t *codec;
    buffer_t out;
    s_phase_t phase;
    int64_t next_run_ns; /* IDLE */
    int64_t started_ns;  /* of the run */
    int64_t deadline_ns; /* of the phase, else */
    uint64_t next_request_id;
    s_question_t questions[SHARD_COUNT_MAX];
    reconcile_kept_t collected; /* own rows of the run under way */
    reconcile_kept_t own;       /* of the last run that got so far: what peers are told */
    reconcile_kept_t peers[REGION_COUNT_MAX + 1];
    region_set_t heard;   /* peers, in this run */
    region_set_t awaited; /* peers that were asked */
    reconcile_checks_t *checks;
    reconcile_snapshots_t *snapshots;
    reconcile_report_t report;
    int64_t report_wall_ns;
    char reason[RECONCILE_SUMMARY_SIZE]; /* empty: nothing has diverged */
    uint64_t run_count;
    uint64_t fetched_count; /* events, of all runs */
    uint64_t named_count;   /* ranges, to the receiver */
    int64_t last_run_ns;
    uint64_t malformed_count;
    uint64_t refused_count;     /* states */
    uint64_t refused_row_count; /* of states that were taken */
    uint64_t late_count;        /* answers of nodes that are not waited for any more */
    uint64_t too_large_count;   /* own states that do not fit a message */
};

static int64_t s_period_ns(const reconcile_engine_t *self)
{
    return (int64_t)self->env.topology->timing.reconcile_ms * ENGINE_NS_PER_MS;
}

static int64_t s_wait_ns(const reconcile_engine_t *self)
{
    int64_t read_ns = (int64_t)self->env.topology->timing.read_timeout_ms * ENGINE_NS_PER_MS;
    return read_ns < s_period_ns(self) / 4 ? read_ns : s_period_ns(self) / 4;
}

/* -- opening ----------------------------------------------------------------------------------- */

err_t reconcile_engine_open(const engine_env_t *env,
                            reconcile_engine_t **ret_engine,
                            errbuf_t *errbuf)
{
    CHECK(env->self.kind == PROCESS_RECONCILER);
    reconcile_engine_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = *env;
    self->codec = msg_codec_new();
    buffer_init(&self->out);
    self->checks = reconcile_checks_new();
    reconcile_report_init(&self->report);
    self->snapshots = reconcile_snapshots_new(&self->env, s_wait_ns(self));
    char folder[WAL_PATH_SIZE_MAX];
    (void)snprintf(folder, sizeof(folder), "%s/%s/reconciler", env->data_folder,
                   topology_place_name(env->topology, env->self.region));
    err_t err = table_keeper_open(env->disk, folder, &self->tables, errbuf);
    if (err != ERR_OK) {
        reconcile_engine_close(&self);
        return err;
    }
    *ret_engine = self;
    return ERR_OK;
}

void reconcile_engine_close(reconcile_engine_t **self_p)
{
    reconcile_engine_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    reconcile_kept_clear(&self->collected);
    reconcile_kept_clear(&self->own);
    for (uint16_t region = 0; region <= REGION_COUNT_MAX; region++) {
        reconcile_kept_clear(&self->peers[region]);
    }
    reconcile_report_done(&self->report);
    reconcile_checks_destroy(&self->checks);
    reconcile_snapshots_destroy(&self->snapshots);
    table_keeper_close(&self->tables);
    msg_codec_destroy(&self->codec);
    buffer_done(&self->out);
    free(self);
    *self_p = NULL;
}

/* -- a run: own nodes -------------------------------------------------------------------------- */

/* Rows for the shards of a tenant that are placed here. */
static void s_collect_tenant(reconcile_engine_t *self, const table_t *table, tenant_id_t tenant)
{
    for (uint16_t shard = 0; shard < table_shard_count(table); shard++) {
        msg_reconcile_row_t row = {.node = {self->env.self.region, {shard}}, .tenant = tenant};
        const table_record_t *record = table_find_record(table, tenant, row.node.shard);
        if (region_set_has(record->placed, self->env.self.region)) {
            reconcile_kept_add(&self->collected, &row);
        }
    }
}

static void s_begin_run(reconcile_engine_t *self, now_t now)
{
    const table_t *table = table_keeper_table(self->tables);
    self->started_ns = now.mono_ns;
    self->next_run_ns = now.mono_ns + s_period_ns(self);
    if (table == NULL) {
        return;
    }
    reconcile_kept_begin(&self->collected, table_tenant_count(table) * table_shard_count(table));
    for (uint32_t t = 0; t < table_tenant_count(table); t++) {
        s_collect_tenant(self, table, table_tenant_at(table, t)->id);
    }
    memset(self->questions, 0, sizeof(self->questions));
    self->heard = (region_set_t){0};
    self->phase = S_NODES;
    self->deadline_ns = now.mono_ns + s_period_ns(self) / 2;
}

static err_t s_send_node(reconcile_engine_t *self, shard_id_t shard, const msg_t *msg)
{
    buffer_clear(&self->out);
    msg_encode(msg, &self->out);
    process_address_t node = {PROCESS_NODE, self->env.self.region, shard};
    return self->env.net->send(self->env.net->context, node, self->out.data, self->out.size);
}

/* Answered at once, so before the digest; nobody waits for it. */
static void s_ask_look(reconcile_engine_t *self,
                       s_question_t *question,
                       const msg_reconcile_row_t *row)
{
    msg_t msg = {.type = MSG_BASE_TASK};
    msg.as.base_task = (msg_base_task_t){.request_id = ++self->next_request_id,
                                         .tenant = row->tenant,
                                         .shard = row->node.shard,
                                         .kind = BASE_TASK_LOOK};
    question->look_id = self->next_request_id;
    (void)s_send_node(self, row->node.shard, &msg); /* the next run asks again */
}

/* Asks a node about its next tenant, if there is one. */
static void s_ask_node(reconcile_engine_t *self, uint16_t shard, now_t now)
{
    s_question_t *question = &self->questions[shard];
    while (question->next_row < self->collected.row_count &&
           self->collected.rows[question->next_row].node.shard.value != shard) {
        question->next_row++;
    }
    if (question->next_row == self->collected.row_count) {
        return;
    }
    const msg_reconcile_row_t *row = &self->collected.rows[question->next_row];
    s_ask_look(self, question, row);
    msg_t msg = {.type = MSG_READ};
    msg.as.read = (msg_read_t){
        .request_id = ++self->next_request_id,
        .tenant = row->tenant,
        .shard = row->node.shard,
        .max_staleness_ms = UINT32_MAX,
        .at_ns = now.wall_ns,
        .kind = READ_DIGEST,
    };
    err_t err = s_send_node(self, row->node.shard, &msg);
    question->is_left = err != ERR_OK;
    question->is_asked = err == ERR_OK;
    question->request_id = self->next_request_id;
    question->row = question->next_row++;
    question->deadline_ns = now.mono_ns + s_wait_ns(self);
}

/* False when there is nothing left to wait for. */
static bool s_ask_nodes(reconcile_engine_t *self, now_t now)
{
    bool any = false;
    for (uint16_t shard = 0; shard < SHARD_COUNT_MAX; shard++) {
        s_question_t *question = &self->questions[shard];
        if (question->is_asked && now.mono_ns >= question->deadline_ns) {
            question->is_asked = false;
            question->is_left = true;
        }
        if (!question->is_asked && !question->is_left) {
            s_ask_node(self, shard, now);
        }
        any = any || question->is_asked;
    }
    return any && now.mono_ns < self->deadline_ns;
}

/* Whether a vector is one of this tenant and shard, in its one order. */
static bool s_is_vector(const reconcile_engine_t *self,
                        tenant_id_t tenant,
                        shard_id_t shard,
                        const stream_position_t *applied,
                        uint32_t applied_count)
{
    for (uint32_t i = 0; i < applied_count; i++) {
        stream_id_t stream = applied[i].stream;
        bool belongs = stream.tenant.value == tenant.value &&
                       stream.origin.shard.value == shard.value &&
                       topology_find_region(self->env.topology, stream.origin.region) != NULL;
        bool in_order = i == 0 || stream_id_compare(applied[i - 1].stream, stream) < 0;
        if (!belongs || !in_order) {
            return false;
        }
    }
    return true;
}

static void s_on_digest(reconcile_engine_t *self, const msg_read_reply_t *reply)
{
    uint16_t shard = 0;
    while (shard < SHARD_COUNT_MAX && !(self->questions[shard].is_asked &&
                                        self->questions[shard].request_id == reply->request_id)) {
        shard++;
    }
    if (self->phase != S_NODES || shard == SHARD_COUNT_MAX) {
        self->late_count++;
        return;
    }
    s_question_t *question = &self->questions[shard];
    question->is_asked = false;
    if (reply->code != CODE_OK) {
        return; /* not ready, or not told of the tenant yet: no digest */
    }
    msg_reconcile_row_t *row = &self->collected.rows[question->row];
    if (reply->kind != READ_DIGEST ||
        !s_is_vector(self, row->tenant, row->node.shard, reply->applied, reply->applied_count)) {
        self->malformed_count++;
        return;
    }
    row->answered = true;
    memcpy(row->digest, reply->as.digest.digest, sizeof(row->digest));
    reconcile_kept_set_applied(&self->collected, question->row, reply->applied,
                               reply->applied_count);
}

/* Whether ranges are of this tenant and shard, each stream once, and possible. */
static bool s_are_ranges(const reconcile_engine_t *self,
                         tenant_id_t tenant,
                         shard_id_t shard,
                         const msg_log_range_t *ranges,
                         uint32_t range_count)
{
    for (uint32_t i = 0; i < range_count; i++) {
        stream_position_t end = {ranges[i].stream, ranges[i].end_seq};
        if (ranges[i].begin_seq > ranges[i].end_seq || !s_is_vector(self, tenant, shard, &end, 1)) {
            return false;
        }
    }
    return true;
}

static void s_on_look(reconcile_engine_t *self, const msg_base_reply_t *reply)
{
    s_question_t *question = &self->questions[reply->shard.value];
    if (self->phase != S_NODES || question->look_id == 0 ||
        question->look_id != reply->request_id) {
        self->late_count++;
        return;
    }
    question->look_id = 0;
    msg_reconcile_row_t *row = &self->collected.rows[question->row];
    if (reply->code != CODE_OK) {
        return; /* the node has not heard its receiver yet */
    }
    if (!s_are_ranges(self, row->tenant, row->node.shard, reply->ranges, reply->range_count)) {
        self->malformed_count++;
        return;
    }
    row->looked = true;
    row->has_base = reply->has_base;
    row->base_is_lost = reply->base_is_lost;
    reconcile_kept_set_ranges(&self->collected, question->row, reply->ranges, reply->range_count);
}

/* -- a run: the other regions ------------------------------------------------------------------ */

/* Encodes the own state into self->out; false when it is too large. */
static bool s_encode_own(reconcile_engine_t *self, bool answer)
{
    msg_t msg = {.type = MSG_RECONCILE_STATE};
    msg.as.reconcile_state = (msg_reconcile_state_t){
        .from = self->env.self,
        .boot = self->env.boot,
        .answer = answer,
        .row_count = self->own.row_count,
        .rows = self->own.rows,
    };
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    bool fits = self->out.size <= INTERNAL_MESSAGE_SIZE_MAX;
    self->too_large_count += fits ? 0 : 1;
    return fits;
}

static void s_ask_peers(reconcile_engine_t *self, now_t now)
{
    reconcile_kept_clear(&self->own);
    self->own = self->collected;
    self->collected = (reconcile_kept_t){.is_known = false};
    self->phase = S_PEERS;
    self->deadline_ns = now.mono_ns + s_wait_ns(self);
    self->awaited = (region_set_t){0};
    bool fits = s_encode_own(self, false);
    const topology_t *topology = self->env.topology;
    for (uint32_t i = 0; fits && i < topology->region_count; i++) {
        process_address_t peer = {PROCESS_RECONCILER, topology->regions[i].id, {0}};
        bool is_self = process_address_equal(peer, self->env.self);
        if (!is_self && self->env.net->send(self->env.net->context, peer, self->out.data,
                                            self->out.size) == ERR_OK) {
            self->awaited = region_set_add(self->awaited, peer.region);
        }
    }
}

/* -- own nodes hold their state against their logs --------------------------------------------- */

static void s_ask_rebuild(reconcile_engine_t *self, const reconcile_line_t *line)
{
    msg_t msg = {.type = MSG_REBUILD};
    msg.as.rebuild = (msg_rebuild_t){
        .request_id = self->next_request_id, .tenant = line->tenant, .shard = line->node.shard};
    /* Not taken: it is asked again in the next run, if it is suspect still. */
    (void)s_send_node(self, line->node.shard, &msg);
}

static void s_check_own(reconcile_engine_t *self)
{
    for (uint32_t i = 0; i < self->report.line_count; i++) {
        const reconcile_line_t *line = &self->report.lines[i];
        if (line->node.region.value == self->env.self.region.value &&
            reconcile_checks_run(self->checks, line, self->run_count, ++self->next_request_id)) {
            s_ask_rebuild(self, line);
        }
    }
}

/* Names what an own node has lacked since the run before to the region's receiver. What a node
 * lacks for a moment comes by itself; streams of this region are its nodes' own business. */
static void s_name_missing(reconcile_engine_t *self, now_t now)
{
    for (uint32_t i = 0; i < self->report.gap_count; i++) {
        const reconcile_gap_t *gap = &self->report.gaps[i];
        region_id_t own = self->env.self.region;
        if (gap->node.region.value != own.value || gap->stream.origin.region.value == own.value ||
            gap->since_ns >= now.mono_ns) {
            continue;
        }
        msg_t msg = {.type = MSG_FETCH};
        msg.as.fetch = (msg_fetch_t){.from = self->env.self,
                                     .stream = gap->stream,
                                     .through_seq = gap->goal_seq,
                                     .region = gap->holder};
        buffer_clear(&self->out);
        msg_encode(&msg, &self->out);
        process_address_t receiver = {PROCESS_RECEIVER, own, {0}};
        /* Not taken: it is missing in the next run as well. */
        (void)self->env.net->send(self->env.net->context, receiver, self->out.data, self->out.size);
        self->named_count++;
    }
}

static void s_on_rebuilt(reconcile_engine_t *self, const msg_rebuild_reply_t *reply, now_t now)
{
    if (!reconcile_checks_answer(self->checks, self->env.self.region, reply, self->run_count,
                                 now.wall_ns)) {
        self->late_count++;
        return;
    }
    self->report.repairs = reconcile_checks_repairs(self->checks, &self->report.repair_count);
}

static void s_note_snapshots(reconcile_engine_t *self)
{
    reconcile_snapshots_counters_t counters = reconcile_snapshots_counters(self->snapshots);
    self->report.snapshot_count = counters.fetch.adopted;
    self->report.snapshot_refused_count = counters.fetch.refused;
    self->report.snapshots_under_way = counters.under_way;
    self->report.snapshot_problem = *reconcile_snapshots_problem(self->snapshots);
}

static void s_note_lost_bases(reconcile_engine_t *self)
{
    for (uint32_t i = self->own.row_count; i > 0; i--) {
        const msg_reconcile_row_t *row = &self->own.rows[i - 1];
        if (row->looked && row->base_is_lost) {
            self->report.lost_base_count++;
            self->report.lost_base_tenant = row->tenant;
            self->report.lost_base_shard = row->node.shard;
        }
    }
}

/* NULL: that region's reconciler has said nothing of its node in this run. */
static const msg_reconcile_row_t *s_peer_row(const reconcile_engine_t *self,
                                             region_id_t region,
                                             const msg_reconcile_row_t *own)
{
    const reconcile_kept_t *kept = &self->peers[region.value];
    uint32_t count = region_set_has(self->heard, region) ? kept->row_count : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept->rows[i].tenant.value == own->tenant.value &&
            kept->rows[i].node.shard.value == own->node.shard.value) {
            return &kept->rows[i];
        }
    }
    return NULL;
}

/* Holds what each own node's logs hold against those of the regions that were heard. */
static void s_review_snapshots(reconcile_engine_t *self, now_t now)
{
    const msg_reconcile_row_t *peers[REGION_COUNT_MAX];
    for (uint32_t i = 0; i < self->own.row_count; i++) {
        const msg_reconcile_row_t *own = &self->own.rows[i];
        uint32_t count = 0;
        for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
            const msg_reconcile_row_t *row = s_peer_row(self, (region_id_t){region}, own);
            peers[count] = row;
            count += row != NULL ? 1 : 0;
        }
        if (own->looked) {
            reconcile_snapshots_run(self->snapshots, table_keeper_table(self->tables), own, peers,
                                    count, now);
        }
    }
    s_note_snapshots(self);
}

static void s_end_run(reconcile_engine_t *self, now_t now)
{
    reconcile_state_t states[REGION_COUNT_MAX + 1];
    uint32_t count = 0;
    states[count++] =
        (reconcile_state_t){self->env.self.region, self->own.row_count, self->own.rows};
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        const reconcile_kept_t *state = &self->peers[region];
        if (region_set_has(self->heard, (region_id_t){region})) {
            states[count++] = (reconcile_state_t){{region}, state->row_count, state->rows};
        }
    }
    int64_t twice_ns = 2 * s_period_ns(self);
    int64_t listed_ns = (int64_t)RECONCILE_LAG_LISTED_MS * ENGINE_NS_PER_MS;
    reconcile_report_t before = self->report;
    reconcile_report_init(&self->report);
    reconcile_compare(table_keeper_table(self->tables), topology_regions(self->env.topology),
                      states, count, &self->report);
    reconcile_date(&self->report, &before, self->env.self.region, now.mono_ns,
                   listed_ns > twice_ns ? listed_ns : twice_ns);
    reconcile_report_done(&before);
    self->report.repairs = reconcile_checks_repairs(self->checks, &self->report.repair_count);
    self->run_count++;
    self->fetched_count += self->report.fetched_count;
    self->report_wall_ns = now.wall_ns;
    self->last_run_ns = now.mono_ns - self->started_ns;
    self->phase = S_IDLE;
    self->next_run_ns = self->started_ns + s_period_ns(self);
    self->reason[0] = '\0';
    if (self->report.found_counts[RECONCILE_FOUND_DIVERGED] > 0) {
        reconcile_view_t view = reconcile_engine_view(self);
        reconcile_summary(&self->report, &view, self->reason);
    }
    s_note_lost_bases(self);
    s_check_own(self);
    s_name_missing(self, now);
    s_review_snapshots(self, now);
}

/* -- messages ---------------------------------------------------------------------------------- */

static int s_compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* By tenant, shard, region: the one order of rows. */
static int s_compare_rows(const msg_reconcile_row_t *a, const msg_reconcile_row_t *b)
{
    int order = s_compare_u64(a->tenant.value, b->tenant.value);
    order = order != 0 ? order : s_compare_u64(a->node.shard.value, b->node.shard.value);
    return order != 0 ? order : s_compare_u64(a->node.region.value, b->node.region.value);
}

/* Whether a state is what its sender may say; what it says of tenants is looked at row by row. */
static bool s_is_state(const reconcile_engine_t *self, const msg_reconcile_state_t *state)
{
    process_address_t from = state->from;
    if (from.kind != PROCESS_RECONCILER || from.region.value == self->env.self.region.value ||
        !topology_has_process(self->env.topology, from)) {
        return false;
    }
    for (uint32_t i = 0; i < state->row_count; i++) {
        const msg_reconcile_row_t *row = &state->rows[i];
        bool belongs = row->node.region.value == from.region.value &&
                       row->node.shard.value < self->env.topology->shard_count;
        bool in_order = i == 0 || s_compare_rows(row - 1, row) < 0;
        if (!belongs || !in_order ||
            !s_are_ranges(self, row->tenant, row->node.shard, row->ranges, row->range_count) ||
            !s_is_vector(self, row->tenant, row->node.shard, row->applied, row->applied_count)) {
            return false;
        }
    }
    return true;
}

static void s_on_state(reconcile_engine_t *self,
                       uint64_t reply_to,
                       const msg_reconcile_state_t *state)
{
    const table_t *table = table_keeper_table(self->tables);
    if (!s_is_state(self, state)) {
        self->refused_count++;
        return;
    }
    if (table == NULL) {
        return; /* nothing to hold it against, and nothing to answer */
    }
    reconcile_kept_t *peer = &self->peers[state->from.region.value];
    reconcile_kept_begin(peer, state->row_count);
    for (uint32_t i = 0; i < state->row_count; i++) {
        const msg_reconcile_row_t *row = &state->rows[i];
        const table_record_t *record = table_find_record(table, row->tenant, row->node.shard);
        if (record != NULL && region_set_has(record->placed, row->node.region)) {
            reconcile_kept_add(peer, row);
        } else {
            self->refused_row_count++;
        }
    }
    self->heard = region_set_add(self->heard, state->from.region);
    if (!state->answer && reply_to != 0 && self->own.is_known && s_encode_own(self, true)) {
        /* Not taken: its sender asks again in its next run. */
        (void)self->env.net->reply(self->env.net->context, reply_to, self->out.data,
                                   self->out.size);
    }
}

/* False when it is nothing of this. */
static bool s_on_snapshots(reconcile_engine_t *self, uint64_t reply_to, const msg_t *msg, now_t now)
{
    bool is_answer = reply_to == 0;
    if (msg->type == MSG_BASE_REPLY && is_answer && msg->as.base_reply.kind == BASE_TASK_LOOK) {
        s_on_look(self, &msg->as.base_reply);
    } else if (msg->type == MSG_BASE_REPLY && is_answer) {
        reconcile_snapshots_taken(self->snapshots, &msg->as.base_reply, now);
    } else if (msg->type == MSG_SNAPSHOT_PIECE && is_answer) {
        reconcile_snapshots_piece(self->snapshots, &msg->as.snapshot_piece, now);
    } else if (msg->type != MSG_SNAPSHOT_ASK || is_answer ||
               !reconcile_snapshots_serve(self->snapshots, table_keeper_table(self->tables),
                                          reply_to, &msg->as.snapshot_ask)) {
        return false;
    }
    s_note_snapshots(self);
    return true;
}

void reconcile_engine_message(reconcile_engine_t *self, uint64_t reply_to, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    bool is_message = msg_decode(self->codec, bytes, &msg, &errbuf) == ERR_OK;
    if (is_message && msg.type == MSG_READ_REPLY && reply_to == 0) {
        s_on_digest(self, &msg.as.read_reply);
    } else if (is_message && msg.type == MSG_REBUILD_REPLY && reply_to == 0) {
        s_on_rebuilt(self, &msg.as.rebuild_reply, now);
    } else if (is_message && msg.type == MSG_RECONCILE_STATE) {
        s_on_state(self, reply_to, &msg.as.reconcile_state);
    } else if (!is_message || !s_on_snapshots(self, reply_to, &msg, now)) {
        self->malformed_count++;
    }
    if (reply_to != 0) {
        self->env.net->forget(self->env.net->context, reply_to);
    }
}

void reconcile_engine_published(reconcile_engine_t *self, slice_t bytes, now_t now)
{
    msg_t msg;
    errbuf_t errbuf;
    bool had_table = table_keeper_table(self->tables) != NULL;
    if (msg_decode(self->codec, bytes, &msg, &errbuf) != ERR_OK || msg.type != MSG_TABLE) {
        self->malformed_count++;
        return;
    }
    err_t err = table_keeper_offer(self->tables, msg.as.table.table, &errbuf);
    self->malformed_count += err == ERR_CORRUPT ? 1 : 0;
    if (err == ERR_OK && !had_table) {
        self->next_run_ns = now.mono_ns;
    }
}

/* -- turns ------------------------------------------------------------------------------------- */

void reconcile_engine_turn_end(reconcile_engine_t *self, now_t now)
{
    if (self->phase == S_NODES && !s_ask_nodes(self, now)) {
        s_ask_peers(self, now);
    }
    if (self->phase == S_PEERS &&
        (region_set_covers(self->heard, self->awaited) || now.mono_ns >= self->deadline_ns)) {
        s_end_run(self, now);
    }
}

void reconcile_engine_tick(reconcile_engine_t *self, now_t now)
{
    if (self->phase == S_IDLE && now.mono_ns >= self->next_run_ns) {
        s_begin_run(self, now);
    }
    reconcile_snapshots_tick(self->snapshots, now);
    s_note_snapshots(self);
    reconcile_engine_turn_end(self, now);
}

int64_t reconcile_engine_deadline_ns(const reconcile_engine_t *self)
{
    int64_t deadline_ns = self->phase == S_IDLE ? self->next_run_ns : self->deadline_ns;
    for (uint16_t shard = 0; self->phase == S_NODES && shard < SHARD_COUNT_MAX; shard++) {
        const s_question_t *question = &self->questions[shard];
        bool is_sooner = question->is_asked && question->deadline_ns < deadline_ns;
        deadline_ns = is_sooner ? question->deadline_ns : deadline_ns;
    }
    int64_t snapshots_ns = reconcile_snapshots_deadline_ns(self->snapshots);
    return snapshots_ns < deadline_ns ? snapshots_ns : deadline_ns;
}

/* -- what it tells ----------------------------------------------------------------------------- */

bool reconcile_engine_is_ready(const reconcile_engine_t *self, const char **ret_reason)
{
    if (table_keeper_table(self->tables) == NULL) {
        *ret_reason = "no routing table yet: the control plane has not been heard";
        return false;
    }
    *ret_reason = self->reason;
    return true;
}

uint64_t reconcile_engine_table_version(const reconcile_engine_t *self)
{
    return table_keeper_version(self->tables);
}

uint64_t reconcile_engine_revision(const reconcile_engine_t *self)
{
    return self->run_count + reconcile_checks_counters(self->checks).answered +
           self->report.snapshot_count + self->report.snapshot_problem.number;
}

uint64_t reconcile_engine_run_count(const reconcile_engine_t *self)
{
    return self->run_count;
}

const reconcile_report_t *reconcile_engine_report(const reconcile_engine_t *self)
{
    return &self->report;
}

reconcile_view_t reconcile_engine_view(const reconcile_engine_t *self)
{
    CHECK(table_keeper_table(self->tables) != NULL);
    return (reconcile_view_t){.topology = self->env.topology,
                              .table = table_keeper_table(self->tables),
                              .self = self->env.self.region,
                              .wall_ns = self->report_wall_ns,
                              .took_ns = self->last_run_ns};
}

uint32_t reconcile_engine_metrics(const reconcile_engine_t *self,
                                  msg_metric_t *ret_metrics,
                                  uint32_t metric_count_max)
{
    const uint32_t *counts = self->report.found_counts;
    reconcile_checks_counters_t checks = reconcile_checks_counters(self->checks);
    reconcile_snapshots_counters_t snapshots = reconcile_snapshots_counters(self->snapshots);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"reconciler_runs", self->run_count},
        {"reconciler_last_ms", (uint64_t)(self->last_run_ns / ENGINE_NS_PER_MS)},
        {"reconciler_compared", self->report.compared_count},
        {"reconciler_equal", counts[RECONCILE_FOUND_EQUAL]},
        {"reconciler_lagging", counts[RECONCILE_FOUND_LAGGING]},
        {"reconciler_diverged", counts[RECONCILE_FOUND_DIVERGED]},
        {"reconciler_unanswered", counts[RECONCILE_FOUND_UNANSWERED]},
        {"reconciler_silent_peers", region_set_count(self->report.silent)},
        {"reconciler_named", self->named_count},
        {"reconciler_fetched", self->fetched_count},
        {"reconciler_checks", checks.asked},
        {"reconciler_checks_failed", checks.failed},
        {"reconciler_repaired", checks.repaired},
        {"reconciler_repaired_entries", checks.entries},
        {"reconciler_snapshots", snapshots.fetch.adopted},
        {"reconciler_snapshots_begun", snapshots.fetch.begun},
        {"reconciler_snapshots_refused", snapshots.fetch.refused},
        {"reconciler_snapshots_failed", snapshots.fetch.failed},
        {"reconciler_snapshots_restarted", snapshots.fetch.restarted},
        {"reconciler_snapshots_under_way", snapshots.under_way},
        {"reconciler_snapshot_bytes", snapshots.fetch.bytes},
        {"reconciler_snapshot_pieces_served", snapshots.served},
        {"reconciler_refused_states", self->refused_count},
        {"reconciler_refused_rows", self->refused_row_count},
        {"reconciler_late", self->late_count},
        {"reconciler_too_large", self->too_large_count},
        {"reconciler_malformed", self->malformed_count},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && count < metric_count_max; i++) {
        ret_metrics[count++] = (msg_metric_t){slice_text(rows[i].name), (double)rows[i].value};
    }
    return count;
}
