#include "tests/simulation/run.h"

#include "common/base/check.h"
#include "common/base/prng.h"
#include "tests/simulation/invariants.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    S_START_MS_MAX = 20000, /* until every node is ready, without faults */
    S_SETTLE_MS = 500,      /* two heartbeats more: leaders have heard every region */
    S_PEACE_MS_MAX = 60000, /* after the last fault everything is settled within this */
    S_LOOK_MS = 20,         /* between two looks whether it is */
    S_METRIC_COUNT_MAX = 128
};

typedef struct {
    const run_options_t *options;
    run_result_t *result;
    prng_t prng;
    world_t *world;
    history_t history;
    clients_t *clients;
    faults_t faults;
    invariants_t *invariants;
    int64_t end_ns; /* of the faults */
    bool has_islands;
    uint32_t retain_bytes; /* 0: this history truncates nothing */
} s_run_t;

run_options_t run_options(uint64_t seed)
{
    return (run_options_t){.seed = seed, .region_count = 3, .shard_count = 2, .event_count = 2000};
}

static bool s_fail(s_run_t *self, const char *what)
{
    if (self->result->is_ok) {
        self->result->is_ok = false;
        (void)snprintf(self->result->text, sizeof(self->result->text), "%s", what);
    }
    return false;
}

static bool s_all_ready(const s_run_t *self)
{
    for (uint32_t i = 0; i < world_process_count(self->world); i++) {
        const world_process_t *process = world_process(self->world, i);
        const char *reason = "";
        if (!process->is_up || !world_process_is_ready(process, &reason)) {
            return false;
        }
    }
    return true;
}

static void s_run_ms(s_run_t *self, int64_t ms)
{
    int64_t until_ns = world_now_ns(self->world) + ms * WORLD_MS;
    while (world_now_ns(self->world) < until_ns) {
        world_step(self->world, until_ns);
    }
}

/* A third of the histories truncate their logs. Drawn apart, so that the others stay as they are. */
static uint32_t s_draw_retain(const s_run_t *self)
{
    static const uint32_t s_retains[] = {1024, 4096, 8192};
    prng_t prng;
    prng_init(&prng, self->options->seed ^ UINT64_C(0x7472756e63617465));
    return prng_chance(&prng, 0.33) ? s_retains[prng_below(&prng, 3)] : 0;
}

static bool s_start(s_run_t *self)
{
    static const uint32_t s_segment_sizes[] = {4096, 16384, 262144, 0};
    static const uint32_t s_checkpoints_ms[] = {150, 700, 3000, 0};
    self->retain_bytes = s_draw_retain(self);
    self->has_islands = prng_chance(&self->prng, 0.5);
    world_options_t world = {
        .seed = prng_next(&self->prng),
        .region_count = self->options->region_count,
        .shard_count = self->options->shard_count,
        .local_jitter_ns = (int64_t)prng_below(&self->prng, 200000),
        .link_latency_ns = 1000000 + (int64_t)prng_below(&self->prng, 20000000),
        .link_jitter_ns = (int64_t)prng_below(&self->prng, 5000000),
        .segment_size_bytes = s_segment_sizes[prng_below(&self->prng, 4)],
        .checkpoint_ms = s_checkpoints_ms[prng_below(&self->prng, 4)],
        .retain_bytes = self->retain_bytes,
        .accepts_islands = self->has_islands,
    };
    if (self->retain_bytes != 0) {
        world.segment_size_bytes = SEGMENT_SIZE_MIN; /* else there is nothing to unlink */
    }
    self->world = world_new(&world);
    for (int64_t ms = 0; ms < S_START_MS_MAX && !s_all_ready(self); ms += S_LOOK_MS) {
        s_run_ms(self, S_LOOK_MS);
    }
    if (!s_all_ready(self)) {
        return s_fail(self, "the mesh does not become ready");
    }
    s_run_ms(self, S_SETTLE_MS);
    return true;
}

static void s_begin(s_run_t *self)
{
    int64_t duration_ns = (2000 + (int64_t)prng_below(&self->prng, 4000)) * WORLD_MS;
    duration_ns *= self->retain_bytes == 0 ? 1 : 3; /* the stable floor has to move */
    uint32_t count = (uint32_t)prng_below(&self->prng, FAULTS_COUNT_MAX - 3);
    self->end_ns = world_now_ns(self->world) + duration_ns;
    faults_options_t faults = {.seed = prng_next(&self->prng),
                               .count = count,
                               .duration_ns = duration_ns,
                               .keeps_disks = self->has_islands};
    faults_plan(&self->faults, self->world, &faults);
    self->result->fault_count = count;
    clients_options_t clients = {
        .seed = prng_next(&self->prng),
        .client_count = 4 + (uint32_t)prng_below(&self->prng, 4),
        .event_count = self->options->event_count,
        .events_max = 60,
        .item_count = KNOWN_PAIR_COUNT + (uint32_t)prng_below(&self->prng, 60),
        .pause_ns_max = duration_ns / 10,
        .duration_ns = INT64_MAX / 2,
        .with_local_level = !faults_lose_disk(&self->faults),
    };
    self->clients = clients_new(self->world, &self->history, &clients);
    self->invariants = invariants_new(self->world, self->clients);
}

/* The first thing that anybody has to complain of. */
static bool s_is_fine(s_run_t *self)
{
    const char *violation = clients_violation(self->clients);
    violation = violation != NULL ? violation : invariants_violation(self->invariants);
    return violation == NULL || s_fail(self, violation);
}

static void s_tell(const s_run_t *self)
{
    for (uint32_t i = 0; self->options->is_verbose && i < self->faults.count; i++) {
        const fault_t *fault = &self->faults.list[i];
        (void)printf("  fault %u at %" PRId64 " ms for %" PRId64 " ms: %s\n", i,
                     fault->at_ns / WORLD_MS, fault->duration_ns / WORLD_MS,
                     fault_name(fault->kind));
    }
}

static int64_t s_until_ns(const s_run_t *self, int64_t end_ns)
{
    int64_t until = end_ns;
    int64_t clients = clients_deadline_ns(self->clients);
    int64_t faults = faults_deadline_ns(&self->faults);
    until = clients < until ? clients : until;
    return faults < until ? faults : until;
}

static void s_act(s_run_t *self)
{
    int64_t now_ns = world_now_ns(self->world);
    if (faults_deadline_ns(&self->faults) <= now_ns) {
        uint16_t lost_before = self->faults.lost_region;
        uint32_t flipped_before = self->faults.flipped_count;
        faults_act(&self->faults);
        for (uint32_t i = flipped_before; i < self->faults.flipped_count; i++) {
            invariants_allow_fall(self->invariants, &self->faults.flipped[i]);
        }
        if (self->faults.lost_region != lost_before) {
            invariants_forget(self->invariants, (region_id_t){self->faults.lost_region});
        }
    }
    if (clients_deadline_ns(self->clients) <= now_ns) {
        clients_act(self->clients);
    }
}

static void s_trouble(s_run_t *self)
{
    while (world_now_ns(self->world) < self->end_ns && s_is_fine(self)) {
        world_step(self->world, s_until_ns(self, self->end_ns));
        s_act(self);
    }
    faults_end(&self->faults);
}

static bool s_vectors_are_equal(const s_run_t *self, shard_id_t shard)
{
    const topology_t *topology = world_topology(self->world);
    uint32_t first_count = 0;
    const stream_position_t *first = NULL;
    for (uint32_t i = 0; i < topology->region_count; i++) {
        node_id_t node = {topology->regions[i].id, shard};
        uint32_t count = 0;
        const stream_position_t *applied =
            replica_applied(world_replica(self->world, node, TENANT_DEFAULT), &count);
        first = i == 0 ? applied : first;
        first_count = i == 0 ? count : first_count;
        bool is_equal = count == first_count;
        for (uint32_t k = 0; is_equal && k < count; k++) {
            is_equal = stream_id_equal(applied[k].stream, first[k].stream) &&
                       applied[k].seq == first[k].seq;
        }
        if (!is_equal) {
            return false;
        }
    }
    return true;
}

static double s_metric(const world_process_t *process, const char *name)
{
    msg_metric_t metrics[S_METRIC_COUNT_MAX];
    uint32_t count = world_process_metrics(process, metrics, S_METRIC_COUNT_MAX);
    uint32_t at = 0;
    while (at < count && !slice_equal(metrics[at].name, slice_text(name))) {
        at++;
    }
    CHECK(at < count);
    return metrics[at].value;
}

/* What was set aside or cut of the copies was fetched again, and what concerns all shards is known to be
 * held by all. */
static bool s_is_completed(const s_run_t *self)
{
    bool is_completed = true;
    for (uint32_t i = 0; is_completed && i < world_process_count(self->world); i++) {
        const world_process_t *process = world_process(self->world, i);
        is_completed =
            (process->address.kind != PROCESS_RECEIVER ||
             s_metric(process, "receiver_incomplete") == 0) &&
            (process->address.kind != PROCESS_NODE || s_metric(process, "node_home_pending") == 0);
    }
    return is_completed;
}

static bool s_is_settled(const s_run_t *self)
{
    if (!clients_are_done(self->clients) || !s_all_ready(self) || !s_is_completed(self)) {
        return false;
    }
    for (uint16_t shard = 0; shard < world_topology(self->world)->shard_count; shard++) {
        if (!s_vectors_are_equal(self, (shard_id_t){shard})) {
            return false;
        }
    }
    return true;
}

static void s_describe_unrest(s_run_t *self)
{
    errbuf_t text = {{0}};
    char more[500] = "";
    clients_describe(self->clients, &text);
    for (uint32_t i = 0; i < world_process_count(self->world); i++) {
        const world_process_t *process = world_process(self->world, i);
        const char *reason = process->ended_with.text;
        if (!process->is_up || !world_process_is_ready(process, &reason)) {
            (void)snprintf(more, sizeof(more), "; kind %d region %u shard %u%s: %.400s",
                           (int)process->address.kind, (unsigned)process->address.region.value,
                           (unsigned)process->address.shard.value, process->is_up ? "" : " down",
                           reason);
        }
    }
    char whole[800];
    (void)snprintf(whole, sizeof(whole), "not at rest %d s after the last fault: %.200s%s",
                   S_PEACE_MS_MAX / 1000, text.text, more);
    (void)s_fail(self, whole);
}

static void s_tell_metric(const world_process_t *process, const msg_metric_t *metric)
{
    if (metric->value != 0) {
        (void)printf("  kind %d region %u shard %u: %.*s %.0f\n", (int)process->address.kind,
                     (unsigned)process->address.region.value,
                     (unsigned)process->address.shard.value, (int)metric->name.size,
                     (const char *)metric->name.data, metric->value);
    }
}

/* What every process counted, for whoever looks for the reason. */
static void s_tell_metrics(const s_run_t *self)
{
    msg_metric_t metrics[S_METRIC_COUNT_MAX];
    for (uint32_t i = 0; self->options->is_verbose && i < world_process_count(self->world); i++) {
        const world_process_t *process = world_process(self->world, i);
        uint32_t count = world_process_metrics(process, metrics, S_METRIC_COUNT_MAX);
        for (uint32_t k = 0; k < count; k++) {
            s_tell_metric(process, &metrics[k]);
        }
    }
}

static bool s_peace(s_run_t *self)
{
    int64_t started_ns = world_now_ns(self->world);
    int64_t look_ns = started_ns;
    int64_t limit_ns = started_ns + S_PEACE_MS_MAX * WORLD_MS;
    bool is_settled = false;
    while (!is_settled && s_is_fine(self)) {
        int64_t now_ns = world_now_ns(self->world);
        if (now_ns >= limit_ns) {
            s_describe_unrest(self);
            s_tell_metrics(self);
            return false;
        }
        if (now_ns >= look_ns) {
            look_ns = now_ns + S_LOOK_MS * WORLD_MS;
            is_settled = s_is_settled(self);
        }
        if (!is_settled) { /* else a late write would come between this and the judgement */
            world_step(self->world, s_until_ns(self, look_ns));
            s_act(self);
        }
    }
    self->result->peace_ms = (world_now_ns(self->world) - started_ns) / WORLD_MS;
    return self->result->is_ok;
}

static void s_judge(s_run_t *self)
{
    errbuf_t text = {{0}};
    truth_options_t options = {.seed = prng_next(&self->prng),
                               .damaged_max = self->faults.flip_count};
    if (!truth_check(self->world, &self->history, &options, &self->result->truth, &text)) {
        (void)s_fail(self, text.text);
    }
}

static uint64_t s_snapshot_count(const s_run_t *self)
{
    uint64_t count = 0;
    msg_metric_t metrics[S_METRIC_COUNT_MAX];
    for (uint32_t i = 0; i < world_process_count(self->world); i++) {
        const world_process_t *process = world_process(self->world, i);
        uint32_t metric_count =
            process->node == NULL ? 0 : world_process_metrics(process, metrics, S_METRIC_COUNT_MAX);
        for (uint32_t k = 0; k < metric_count; k++) {
            count += slice_equal(metrics[k].name, slice_text("node_snapshots_taken"))
                         ? (uint64_t)metrics[k].value
                         : 0;
        }
    }
    return count;
}

void run_history(const run_options_t *options, run_result_t *ret_result)
{
    *ret_result = (run_result_t){.is_ok = true};
    s_run_t self = {.options = options, .result = ret_result};
    prng_init(&self.prng, options->seed);
    history_init(&self.history);
    if (s_start(&self)) {
        s_begin(&self);
        s_tell(&self);
        s_trouble(&self);
        if (ret_result->is_ok && s_peace(&self)) {
            s_judge(&self);
        }
        ret_result->clients = clients_counters(self.clients);
        faults_effects(&self.faults, ret_result->clients.by_code[CODE_DISK_FULL],
                       ret_result->effects);
        ret_result->event_count = history_event_count(&self.history);
    }
    ret_result->truncated_count = attic_segment_count(world_attic(self.world));
    ret_result->snapshot_count = s_snapshot_count(&self);
    ret_result->trace_hash = world_trace_hash(self.world);
    ret_result->step_count = world_step_count(self.world);
    invariants_destroy(&self.invariants);
    clients_destroy(&self.clients);
    world_destroy(&self.world);
    history_done(&self.history);
}
