#include "services/reconciler/reconciler_shell.h"

#include "common/base/check.h"
#include "common/cluster/reconcile_engine.h"
#include "common/env/env_log.h"
#include "services/reconciler/reconciler_files.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    S_LOGGED_COUNT_MAX = 16, /* new divergences of one run that are logged one by one */
    S_METRIC_COUNT = 2       /* of the shell itself */
};

typedef struct {
    env_process_t *process;
    engine_env_t env; /* borrowed by the engine */
    reconcile_engine_t *engine;
    reconciler_files_t *files;
    uint64_t seen_run_count; /* runs whose findings were logged */
    uint64_t seen_snapshots;
    uint64_t seen_problem;  /* number of the last one that was logged */
    uint64_t seen_revision; /* of the report that was kept */
    uint64_t seen_check;    /* number of the last one that was logged */
    uint64_t written_count;
    uint64_t write_failed_count;
} s_shell_t;

static void s_close(void *context)
{
    s_shell_t *self = context;
    reconcile_engine_close(&self->engine);
    reconciler_files_destroy(&self->files);
    free(self);
}

static err_t s_open(env_process_t *process, void **ret_context, errbuf_t *errbuf)
{
    s_shell_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->process = process;
    self->env = env_process_engine_env(process);
    err_t err = reconcile_engine_open(&self->env, &self->engine, errbuf);
    if (err != ERR_OK) {
        s_close(self);
        return err;
    }
    char folder[WAL_PATH_SIZE_MAX]; /* fits: the engine keeps its table there */
    (void)snprintf(folder, sizeof(folder), "%s/%s/reconciler", self->env.data_folder,
                   topology_place_name(self->env.topology, self->env.self.region));
    self->files = reconciler_files_new(self->env.disk, folder);
    *ret_context = self;
    return ERR_OK;
}

static void s_on_request(void *context, uint64_t reply_to, slice_t body, now_t now)
{
    s_shell_t *self = context;
    reconcile_engine_message(self->engine, reply_to, body, now);
}

static void s_on_reply(void *context, process_address_t from, slice_t body, now_t now)
{
    (void)from;
    s_shell_t *self = context;
    reconcile_engine_message(self->engine, 0, body, now);
}

static void s_on_published(void *context, slice_t topic, slice_t body, now_t now)
{
    (void)topic;
    s_shell_t *self = context;
    reconcile_engine_published(self->engine, body, now);
}

/* -- a run has ended --------------------------------------------------------------------------- */

static void s_log_diverged(const s_shell_t *self, const reconcile_line_t *line)
{
    char name[PROCESS_NAME_SIZE];
    char found[2 * MSG_HASH_SIZE + 1];
    char expected[2 * MSG_HASH_SIZE + 1];
    process_address_t node = {PROCESS_NODE, line->node.region, line->node.shard};
    bytes_to_hex(line->digest, sizeof(line->digest), found);
    bytes_to_hex(line->expected, sizeof(line->expected), expected);
    ENV_LOG(ENV_LOG_ERROR, "diverged",
            env_log_text("node", process_name(self->env.topology, node, name)),
            env_log_u64("tenant", line->tenant.value), env_log_u64("events", line->event_count),
            env_log_text("digest", found),
            env_log_text("expected", line->expected_count > 0 ? expected : "no majority"),
            env_log_text("decision",
                         "every replica with this vector is held against its region's logs"));
}

static void s_log_check(const s_shell_t *self, const reconcile_repair_t *repair)
{
    char name[PROCESS_NAME_SIZE];
    process_address_t node = {PROCESS_NODE, repair->node.region, repair->node.shard};
    const char *entry = repair->listed_count > 0 ? repair->listed[0].key : "none";
    ENV_LOG(repair->is_failed || repair->different ? ENV_LOG_ERROR : ENV_LOG_INFO,
            repair->is_failed   ? "replica_not_checked"
            : repair->different ? "replica_repaired"
                                : "replica_checked",
            env_log_text("node", process_name(self->env.topology, node, name)),
            env_log_u64("tenant", repair->tenant.value),
            env_log_u64("entries", repair->difference_count), env_log_text("first", entry),
            env_log_u64("took_ms", repair->took_ms),
            env_log_text("decision", repair->is_failed   ? repair->problem
                                     : repair->different ? "the state is what the logs say now"
                                                         : "it is right, and stays"));
}

static void s_log_checks(s_shell_t *self, const reconcile_report_t *report)
{
    for (uint32_t i = 0; i < report->repair_count; i++) {
        if (report->repairs[i].number > self->seen_check) {
            s_log_check(self, &report->repairs[i]);
            self->seen_check = report->repairs[i].number;
        }
    }
}

/* Snapshots that came to an end since the last look, whichever end. */
static void s_log_snapshots(s_shell_t *self, const reconcile_report_t *report)
{
    if (report->snapshot_count > self->seen_snapshots) {
        ENV_LOG(
            ENV_LOG_INFO, "snapshot_adopted",
            env_log_u64("count", report->snapshot_count - self->seen_snapshots),
            env_log_text("decision", "the node fetches what lies above it, then takes its state"));
    }
    const reconcile_snapshot_problem_t *problem = &report->snapshot_problem;
    if (problem->number > self->seen_problem) {
        char name[PROCESS_NAME_SIZE];
        process_address_t node = {PROCESS_NODE, self->env.self.region, problem->shard};
        ENV_LOG(ENV_LOG_ERROR, "snapshot_not_taken",
                env_log_text("node", process_name(self->env.topology, node, name)),
                env_log_u64("tenant", problem->tenant.value),
                env_log_text("donor", topology_place_name(self->env.topology, problem->donor)),
                env_log_text("reason", problem->reason.text),
                env_log_text("decision", "nothing has changed; another donor is asked"));
    }
    self->seen_snapshots = report->snapshot_count;
    self->seen_problem = problem->number;
}

static void s_log_report(const s_shell_t *self, const reconcile_report_t *report)
{
    uint32_t diverged = 0;
    for (uint32_t i = 0; i < report->line_count && diverged < S_LOGGED_COUNT_MAX; i++) {
        if (report->lines[i].is_new) {
            s_log_diverged(self, &report->lines[i]);
            diverged++;
        }
    }
    for (uint16_t region = 1; region <= REGION_COUNT_MAX; region++) {
        if (region_set_has(report->newly_silent, (region_id_t){region})) {
            ENV_LOG(ENV_LOG_WARNING, "peer_silent",
                    env_log_text("region",
                                 topology_place_name(self->env.topology, (region_id_t){region})),
                    env_log_text("decision", "compare with the others, ask again next time"));
        }
    }
}

static void s_keep_report(s_shell_t *self, const reconcile_report_t *report)
{
    reconcile_view_t view = reconcile_engine_view(self->engine);
    errbuf_t errbuf = {.text = ""};
    bool written = false;
    err_t err = reconciler_files_save(self->files, report, &view, &written, &errbuf);
    self->written_count += written ? 1 : 0;
    if (err != ERR_OK) {
        self->write_failed_count++;
        ENV_LOG(ENV_LOG_WARNING, "report_not_kept", env_log_err(err),
                env_log_text("text", errbuf.text),
                env_log_text("decision", "write it again after the next run"));
    }
}

static err_t s_on_turn_end(void *context, now_t now, errbuf_t *errbuf)
{
    (void)errbuf;
    s_shell_t *self = context;
    reconcile_engine_turn_end(self->engine, now);
    const reconcile_report_t *report = reconcile_engine_report(self->engine);
    if (reconcile_engine_run_count(self->engine) != self->seen_run_count) {
        self->seen_run_count = reconcile_engine_run_count(self->engine);
        s_log_report(self, report);
    }
    if (reconcile_engine_revision(self->engine) != self->seen_revision) {
        self->seen_revision = reconcile_engine_revision(self->engine);
        s_log_checks(self, report);
        s_log_snapshots(self, report);
        s_keep_report(self, report);
    }
    return ERR_OK;
}

static int64_t s_next_deadline_ns(void *context)
{
    const s_shell_t *self = context;
    return reconcile_engine_deadline_ns(self->engine);
}

static void s_on_deadline(void *context, now_t now)
{
    s_shell_t *self = context;
    reconcile_engine_tick(self->engine, now);
}

/* -- what it tells ----------------------------------------------------------------------------- */

static void s_fill_heartbeat(void *context, msg_heartbeat_t *heartbeat, now_t now)
{
    (void)now;
    const s_shell_t *self = context;
    heartbeat->table_version = reconcile_engine_table_version(self->engine);
}

static bool s_is_ready(void *context, const char **ret_reason)
{
    const s_shell_t *self = context;
    return reconcile_engine_is_ready(self->engine, ret_reason);
}

static uint32_t s_metrics(void *context, msg_metric_t *ret_metrics, uint32_t count_max)
{
    const s_shell_t *self = context;
    CHECK(count_max >= S_METRIC_COUNT);
    ret_metrics[0] =
        (msg_metric_t){slice_text("reconciler_reports_written"), (double)self->written_count};
    ret_metrics[1] =
        (msg_metric_t){slice_text("reconciler_report_failed"), (double)self->write_failed_count};
    return S_METRIC_COUNT + reconcile_engine_metrics(self->engine, ret_metrics + S_METRIC_COUNT,
                                                     count_max - S_METRIC_COUNT);
}

const env_service_t *reconciler_service(void)
{
    static const env_service_t s_service = {
        .kind = PROCESS_RECONCILER,
        .program = "tidal_reconciler",
        .open = s_open,
        .close = s_close,
        .on_request = s_on_request,
        .on_reply = s_on_reply,
        .on_published = s_on_published,
        .on_turn_end = s_on_turn_end,
        .next_deadline_ns = s_next_deadline_ns,
        .on_deadline = s_on_deadline,
        .fill_heartbeat = s_fill_heartbeat,
        .is_ready = s_is_ready,
        .metrics = s_metrics,
    };
    return &s_service;
}
