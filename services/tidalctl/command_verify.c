/* verify: replays every log of every region through one ledger, and holds checkpoints and running
 * nodes against it. */
#include "common/base/check.h"
#include "common/engine/replica.h"
#include "common/env/disk_posix.h"
#include "common/store/store_lmdb.h"
#include "common/topology/table.h"
#include "services/tidalctl/ask.h"
#include "services/tidalctl/command.h"
#include "services/tidalctl/load_progress.h"
#include "services/tidalctl/reply_rows.h"
#include "services/tidalctl/verify_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LIVE_TIMEOUT_MS = 10000 };

typedef struct {
    ctl_t *ctl;
    const topology_t *topology;
    const char *data_folder;
    const disk_t *disk;
    verify_report_t report;
    buffer_t *live; /* replies of a gateway's digest op, one per tenant; NULL: not asked */
    uint32_t live_reply_count;
    verify_counts_t counts; /* of everything that is logged */
    uint64_t materialised;  /* sum of all-time counts of the replay */
    uint64_t
        unreplayed_count; /* tenants of shards of which none of this is known: a problem says why */
    uint64_t stream_count;
    uint64_t checkpoint_count;
    uint64_t live_count;
    /* Of the shard under way: the last replay, kept while the next vector is the same. */
    const verify_log_t *log;
    verify_state_t replay;
    bool has_replay;
} verify_t;

static void s_on_problem(void *context, const char *text)
{
    (void)context;
    (void)printf("PROBLEM  %s\n", text);
}

static const char *s_tenant_name(const verify_t *self, tenant_id_t tenant)
{
    const char *name = verify_log_tenant_name(self->log, tenant);
    if (name != NULL) {
        return name;
    }
    return tenant.value == TENANT_DEFAULT.value ? "default" : "without a log";
}

/* -- replays ----------------------------------------------------------------------------------- */

static void s_drop_replay(verify_t *self)
{
    if (self->has_replay) {
        verify_state_done(&self->replay);
        self->has_replay = false;
    }
}

/* self->replay is then that of the vector. errs as verify_state_replay */
static err_t s_replay_to(verify_t *self,
                         tenant_id_t tenant,
                         const version_vector_t *vector,
                         errbuf_t *errbuf)
{
    if (self->has_replay && self->replay.tenant.value == tenant.value &&
        version_vector_equal(&self->replay.vector, vector)) {
        return ERR_OK;
    }
    s_drop_replay(self);
    err_t err = verify_state_replay(self->log, &self->topology->schema, tenant, vector,
                                    &self->replay, errbuf);
    self->has_replay = err == ERR_OK;
    return err;
}

/* What the counts of a state must add up to, said of this state. */
static void s_check_sum(verify_t *self, const verify_state_t *state, const char *name)
{
    ledger_totals_t totals;
    const verify_counts_t *counts = &self->replay.counts;
    ledger_totals(state->ledger, &totals);
    uint64_t expected = counts->logged.signals - counts->voided.signals;
    if (totals.signals != expected) {
        verify_problem(&self->report,
                       "%s: %" PRIu64 " signals logged - %" PRIu64
                       " voided: expected a sum of all-time counts of %" PRIu64 ", found %" PRIu64,
                       name, counts->logged.signals, counts->voided.signals, expected,
                       totals.signals);
    }
}

/* -- checkpoints ------------------------------------------------------------------------------- */

static bool s_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

/* The checkpoint of one node; ERR_NOT_FOUND: it has none yet. */
static err_t s_load_checkpoint(const verify_t *self,
                               const topology_region_t *region,
                               shard_id_t shard,
                               tenant_id_t tenant,
                               verify_state_t *ret_state,
                               errbuf_t *errbuf)
{
    char folder[WAL_PATH_SIZE_MAX];
    char file[WAL_PATH_SIZE_MAX + 16];
    (void)snprintf(folder, sizeof(folder), "%s/%s/shard-%u/store", self->data_folder, region->name,
                   shard.value);
    (void)snprintf(file, sizeof(file), "%s/data.mdb", folder);
    if (!s_exists(file)) {
        errbuf_set(errbuf, "there is no store at %s", folder);
        return ERR_NOT_FOUND;
    }
    store_lmdb_t *lmdb = NULL;
    store_lmdb_options_t options = {.folder = folder,
                                    .map_size_bytes = self->topology->checkpoint.store_size_bytes,
                                    .content_version = REPLICA_CONTENT_VERSION};
    err_t err = store_lmdb_open_read_only(&options, &lmdb, errbuf);
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_IO : err;
    }
    store_t store = store_lmdb_store(lmdb);
    verify_shard_t which = {shard, self->topology->shard_count};
    err = verify_state_load(&store, &self->topology->schema, tenant, which, ret_state, errbuf);
    store_lmdb_close(&lmdb);
    return err;
}

static void s_compare_checkpoint(verify_t *self,
                                 const topology_region_t *region,
                                 const verify_state_t *found)
{
    char name[128];
    errbuf_t errbuf;
    (void)snprintf(name, sizeof(name), "checkpoint of shard-%s-%u, tenant %s", region->name,
                   self->log->shard.value, s_tenant_name(self, found->tenant));
    self->checkpoint_count++;
    err_t err = s_replay_to(self, found->tenant, &found->vector, &errbuf);
    if (err == ERR_NOT_FOUND) {
        /* A base and a truncation came after it: the next checkpoint is at or beyond the base. */
        (void)printf("older    %s: not compared: %s\n", name, errbuf.text);
        self->checkpoint_count--;
        return;
    }
    if (err != ERR_OK) {
        verify_problem(&self->report, "%s: %s", name, errbuf.text);
        return;
    }
    uint64_t differences = verify_state_compare(&self->replay, found, name, &self->report);
    s_check_sum(self, found, name);
    ledger_totals_t totals;
    ledger_totals(found->ledger, &totals);
    (void)printf("%-8s %s: %" PRIu64 " cells, %" PRIu64 " of cohorts, %" PRIu64 " items, %" PRIu64
                 " users, %" PRIu64 " relations, %" PRIu64 " signals counted\n",
                 differences == 0 ? "equal" : "DIFFERS", name, totals.cells, totals.cohort_cells,
                 totals.items, totals.users, totals.relations, totals.signals);
}

/* -- running nodes ----------------------------------------------------------------------------- */

/* "us-east-3-00f3a1c2d4e5b697" of this shard. errs ERR_INVALID */
static err_t s_parse_origin(const verify_t *self,
                            slice_t origin,
                            tenant_id_t tenant,
                            stream_id_t *ret_id)
{
    for (uint32_t i = 0; i < self->topology->region_count; i++) {
        const topology_region_t *region = &self->topology->regions[i];
        char prefix[REGION_NAME_LENGTH_MAX + 16];
        char hex[17] = "";
        int size = snprintf(prefix, sizeof(prefix), "%s-%u-", region->name, self->log->shard.value);
        if (origin.size != (size_t)size + 16 || memcmp(origin.data, prefix, (size_t)size) != 0) {
            continue;
        }
        memcpy(hex, origin.data + size, 16);
        hex[16] = '\0';
        if (strspn(hex, "0123456789abcdef") != 16) {
            return ERR_INVALID;
        }
        *ret_id = (stream_id_t){.tenant = tenant,
                                .incarnation = strtoull(hex, NULL, 16),
                                .origin = {region->id, self->log->shard}};
        return ERR_OK;
    }
    return ERR_INVALID;
}

static err_t s_live_vector(const verify_t *self,
                           slice_t row,
                           tenant_id_t tenant,
                           version_vector_t *ret_vector)
{
    pack_reader_t reader;
    pack_value_t head = {.kind = PACK_NIL};
    err_t err = ERR_OK;
    *ret_vector = (version_vector_t){0};
    if (!pack_find(pack_reader(row), "applied", &reader) || !pack_next(&reader, &head) ||
        head.kind != PACK_MAP) {
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < head.as.count && err == ERR_OK; i++) {
        pack_value_t origin;
        pack_value_t position;
        stream_id_t stream;
        uint64_t seq = 0;
        (void)pack_next(&reader, &origin);
        (void)pack_next(&reader, &position);
        err = s_parse_origin(self, origin.as.bytes, tenant, &stream);
        if (err == ERR_OK && pack_as_u64(&position, &seq)) {
            (void)version_vector_raise(ret_vector, stream, seq);
        }
    }
    return err;
}

static void s_compare_live(verify_t *self, slice_t row, tenant_id_t tenant)
{
    char name[128];
    char hex[2 * MSG_HASH_SIZE + 1];
    uint8_t digest[MSG_HASH_SIZE];
    errbuf_t errbuf = {""};
    version_vector_t vector;
    slice_t region = reply_text(row, "region");
    slice_t found = reply_text(row, "digest");
    (void)snprintf(name, sizeof(name), "running shard-%.*s-%u, tenant %s", (int)region.size,
                   (const char *)region.data, self->log->shard.value, s_tenant_name(self, tenant));
    self->live_count++;
    if (found.size == 0) {
        verify_problem(&self->report, "%s: it did not answer the gateway", name);
        return;
    }
    err_t err = s_live_vector(self, row, tenant, &vector);
    if (err != ERR_OK) {
        errbuf_set(&errbuf, "expected positions by origin, found another form");
    } else {
        err = s_replay_to(self, tenant, &vector, &errbuf);
    }
    version_vector_done(&vector);
    if (err != ERR_OK) {
        verify_problem(&self->report, "%s: %s", name, errbuf.text);
        return;
    }
    verify_state_digest(&self->replay, digest);
    bytes_to_hex(digest, sizeof(digest), hex);
    bool equal = slice_equal(found, slice_text(hex));
    if (!equal) {
        verify_problem(&self->report, "%s: expected digest %s, found %.*s", name, hex,
                       (int)found.size, (const char *)found.data);
    }
    (void)printf("%-8s %s: digest %.16s..\n", equal ? "equal" : "DIFFERS", name, hex);
}

/* The nodes of one reply that are of the tenant and of the shard under way. */
static void s_compare_live_reply(verify_t *self, slice_t reply, tenant_id_t tenant)
{
    slice_t row;
    slice_t tenant_name = slice_text(s_tenant_name(self, tenant));
    reply_rows_t rows = reply_rows(reply, "nodes");
    while (reply_rows_next(&rows, &row)) {
        if (reply_i64(row, "shard") == self->log->shard.value &&
            slice_equal(reply_text(row, "tenant"), tenant_name)) {
            s_compare_live(self, row, tenant);
        }
    }
}

static void s_compare_live_nodes(verify_t *self, tenant_id_t tenant)
{
    for (uint32_t i = 0; i < self->live_reply_count; i++) {
        s_compare_live_reply(self, buffer_slice(&self->live[i]), tenant);
    }
}

/* One op of one tenant at the gateway. in tenant  NULL: not sent · out ret_reply  appended to */
static err_t s_ask_gateway(
    verify_t *self, const char *op, const char *tenant, buffer_t *ret_reply, errbuf_t *errbuf)
{
    process_address_t gateway;
    ask_t ask = {0};
    self->ctl->tenant = tenant;
    err_t err = ctl_gateway(self->ctl, &gateway, errbuf);
    err = err == ERR_OK ? ask_begin(&ask, self->ctl, op, gateway, errbuf) : err;
    err = err == ERR_OK ? ask_send(&ask, self->ctl, LIVE_TIMEOUT_MS, errbuf) : err;
    if (err == ERR_OK && !reply_bool(buffer_slice(&ask.reply), "ok")) {
        slice_t message = reply_text(buffer_slice(&ask.reply), "error.message");
        errbuf_set(errbuf, "--live: %.*s", (int)message.size, (const char *)message.data);
        err = ERR_INVALID;
    }
    if (err == ERR_OK) {
        buffer_append(ret_reply, ask.reply.data, ask.reply.size);
    }
    ask_done(&ask);
    return err;
}

/* The digest of every node, tenant by tenant. */
static err_t s_ask_live(verify_t *self, errbuf_t *errbuf)
{
    buffer_t topology = {0};
    pack_reader_t reader;
    pack_value_t head = {.kind = PACK_NIL};
    err_t err = s_ask_gateway(self, "topology", NULL, &topology, errbuf);
    if (err == ERR_OK && pack_find(pack_reader(buffer_slice(&topology)), "tenants", &reader)) {
        (void)pack_next(&reader, &head);
    }
    uint32_t count = head.kind == PACK_ARRAY ? head.as.count : 0;
    self->live = calloc((size_t)count + 1, sizeof(*self->live));
    CHECK(self->live != NULL);
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        pack_value_t name;
        char text[NAME_LENGTH_MAX + 1] = "";
        (void)pack_next(&reader, &name); /* kind says whether it could */
        if (name.kind == PACK_STR && name.as.bytes.size < sizeof(text)) {
            memcpy(text, name.as.bytes.data, name.as.bytes.size);
            err =
                s_ask_gateway(self, "digest", text, &self->live[self->live_reply_count++], errbuf);
        }
    }
    self->ctl->tenant = NULL;
    buffer_done(&topology);
    return err;
}

static void s_drop_live(verify_t *self)
{
    for (uint32_t i = 0; i < self->live_reply_count; i++) {
        buffer_done(&self->live[i]);
    }
    free(self->live);
}

/* -- one shard --------------------------------------------------------------------------------- */

static void s_verify_tenant(verify_t *self, tenant_id_t tenant, verify_state_t *checkpoints)
{
    version_vector_t whole;
    errbuf_t errbuf;
    char name[128];
    s_compare_live_nodes(self, tenant);
    for (uint32_t i = 0; i < self->topology->region_count; i++) {
        if (checkpoints[i].ledger != NULL) {
            s_compare_checkpoint(self, &self->topology->regions[i], &checkpoints[i]);
        }
    }
    (void)snprintf(name, sizeof(name), "replay of shard %u, tenant %s", self->log->shard.value,
                   s_tenant_name(self, tenant));
    verify_state_whole(self->log, tenant, &whole);
    if (s_replay_to(self, tenant, &whole, &errbuf) != ERR_OK) {
        verify_problem(&self->report, "%s: %s", name, errbuf.text);
        self->unreplayed_count++;
    } else {
        ledger_totals_t totals;
        ledger_totals(self->replay.ledger, &totals);
        s_check_sum(self, &self->replay, name);
        self->counts.events += self->replay.counts.events;
        log_counts_add(&self->counts.logged, &self->replay.counts.logged);
        log_counts_add(&self->counts.voided, &self->replay.counts.voided);
        self->counts.voided_requests += self->replay.counts.voided_requests;
        self->counts.in_bases += self->replay.counts.in_bases;
        self->materialised += totals.signals;
    }
    version_vector_done(&whole);
}

/* Of one tenant, by region; without a checkpoint `ledger` is NULL. */
static void s_load_checkpoints(verify_t *self,
                               shard_id_t shard,
                               tenant_id_t tenant,
                               verify_state_t *ret_states)
{
    for (uint32_t i = 0; i < self->topology->region_count; i++) {
        const topology_region_t *region = &self->topology->regions[i];
        errbuf_t errbuf;
        err_t err = s_load_checkpoint(self, region, shard, tenant, &ret_states[i], &errbuf);
        if (err != ERR_OK && err != ERR_NOT_FOUND) {
            verify_problem(&self->report, "checkpoint of shard-%s-%u: %s", region->name,
                           shard.value, errbuf.text);
        }
    }
}

static void s_drop_checkpoints(verify_state_t *states, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (states[i].ledger != NULL) {
            verify_state_done(&states[i]);
        }
    }
}

/* Tenants that have a folder of logs of the shard, and `default`. */
typedef struct {
    uint32_t count;
    tenant_id_t ids[TENANT_COUNT_MAX];
} tenants_t;

static void s_add_tenant(tenants_t *tenants, tenant_id_t id)
{
    for (uint32_t i = 0; i < tenants->count; i++) {
        if (tenants->ids[i].value == id.value) {
            return;
        }
    }
    if (tenants->count < TENANT_COUNT_MAX) {
        tenants->ids[tenants->count++] = id;
    }
}

static err_t s_on_stream(void *context, const log_stream_t *stream)
{
    s_add_tenant(context, stream->name.tenant);
    return ERR_OK;
}

static err_t s_list_tenants(const verify_t *self,
                            shard_id_t shard,
                            tenants_t *ret_tenants,
                            errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    ret_tenants->count = 0;
    s_add_tenant(ret_tenants, TENANT_DEFAULT);
    for (uint32_t i = 0; i < self->topology->region_count && err == ERR_OK; i++) {
        wal_path_t folder;
        err = wal_files_tenants_path(self->data_folder, self->topology->regions[i].name, shard,
                                     &folder, errbuf);
        if (err == ERR_OK) {
            err = log_streams_walk(self->disk, folder.text, s_on_stream, ret_tenants, errbuf);
            err = err == ERR_NOT_FOUND ? ERR_OK : err;
        }
    }
    return err;
}

static err_t s_open_log(verify_t *self, shard_id_t shard, verify_log_t *ret_log, errbuf_t *errbuf)
{
    const char *names[REGION_COUNT_MAX];
    for (uint32_t i = 0; i < self->topology->region_count; i++) {
        names[i] = self->topology->regions[i].name;
    }
    verify_place_t place = {.disk = self->disk,
                            .data_folder = self->data_folder,
                            .region_names = names,
                            .region_count = self->topology->region_count,
                            .shard = shard,
                            .shard_count = self->topology->shard_count};
    return verify_log_open(&place, ret_log, &self->report, errbuf);
}

/* Checkpoints are read before the logs: then the logs of a running mesh hold all that they cover.
 */
static err_t s_verify_shard(verify_t *self, shard_id_t shard, errbuf_t *errbuf)
{
    uint32_t region_count = self->topology->region_count;
    tenants_t *tenants = calloc(1, sizeof(*tenants));
    CHECK(tenants != NULL);
    err_t err = s_list_tenants(self, shard, tenants, errbuf);
    size_t state_count = (size_t)tenants->count * region_count;
    verify_state_t *states = calloc(state_count + 1, sizeof(*states));
    CHECK(states != NULL);
    for (uint32_t i = 0; i < tenants->count && err == ERR_OK; i++) {
        s_load_checkpoints(self, shard, tenants->ids[i], &states[(size_t)i * region_count]);
    }
    verify_log_t log = {0};
    if (err == ERR_OK) {
        err = s_open_log(self, shard, &log, errbuf);
    }
    self->log = &log;
    for (uint32_t i = 0; i < tenants->count && err == ERR_OK; i++) {
        s_verify_tenant(self, tenants->ids[i], &states[(size_t)i * region_count]);
    }
    s_drop_replay(self);
    s_drop_checkpoints(states, state_count);
    self->stream_count += log.stream_count;
    self->log = NULL;
    verify_log_close(&log);
    free(states);
    free(tenants);
    return err;
}

/* -- the whole --------------------------------------------------------------------------------- */

static void s_print_count(const char *what, uint64_t count)
{
    char number[32];
    (void)printf("  %-38s %15s\n", what, load_progress_number(count, number));
}

/* Every event that is logged is in one of these terms. */
static void s_print_counts(const verify_t *self)
{
    const verify_counts_t *counts = &self->counts;
    const log_counts_t *logged = &counts->logged;
    uint64_t expected = counts->events - counts->in_bases - logged->registers - logged->sessions -
                        logged->session_signals - logged->held - counts->voided.signals;
    char what[64];
    char number[32];
    if (self->unreplayed_count == 0) {
        (void)printf("\ncounts\n");
    } else {
        (void)printf("\ncounts, without the %" PRIu64 " logs that could not be replayed\n",
                     self->unreplayed_count);
    }
    s_print_count("events logged, each identity once", counts->events);
    s_print_count("- in bases, and not counted there", counts->in_bases);
    s_print_count("- items, users, relations", logged->registers);
    s_print_count("- starts and closes of sessions", logged->sessions);
    s_print_count("- notes that all shards hold a write", logged->held);
    s_print_count("= signals logged", logged->signals + logged->session_signals);
    s_print_count("- session signals", logged->session_signals);
    (void)snprintf(what, sizeof(what), "- voided (copies of %s requests)",
                   load_progress_number(counts->voided_requests, number));
    s_print_count(what, counts->voided.signals);
    s_print_count("= what must be counted", expected);
    (void)printf("  %-38s %15s   %s\n", "sum of all-time counts of the cells",
                 load_progress_number(self->materialised, number),
                 expected == self->materialised ? "equal" : "NOT EQUAL");
    if (counts->voided.session_signals > 0) {
        s_print_count("of the session signals void", counts->voided.session_signals);
    }
}

static err_t s_verify(verify_t *self, bool live, errbuf_t *errbuf)
{
    err_t err = live ? s_ask_live(self, errbuf) : ERR_OK;
    for (uint16_t shard = 0; shard < self->topology->shard_count && err == ERR_OK; shard++) {
        err = s_verify_shard(self, (shard_id_t){shard}, errbuf);
        (void)fflush(stdout);
    }
    if (err == ERR_OK && self->stream_count == 0) {
        errbuf_set(errbuf, "expected logs below %s (<region>/shard-<n>/tenants), found none",
                   self->data_folder);
        err = ERR_NOT_FOUND;
    }
    return err;
}

static int s_finish(const verify_t *self)
{
    s_print_counts(self);
    uint64_t problems = self->report.problem_count;
    (void)printf("\n%" PRIu64 " streams, %" PRIu64 " checkpoints and %" PRIu64 " running nodes: ",
                 self->stream_count, self->checkpoint_count, self->live_count);
    if (problems == 0) {
        (void)printf("all equal to the replay\n");
    } else {
        (void)printf("%" PRIu64 " problems\n", problems);
    }
    (void)fflush(stdout);
    return problems == 0 ? CTL_OK : CTL_FAILED;
}

static int s_run_verify(ctl_t *ctl, int word_count, char **line)
{
    bool live = false;
    verify_t self = {.ctl = ctl, .report = {.on_problem = s_on_problem}};
    const argument_t options[] = {
        {"data", ARGUMENT_TEXT, &self.data_folder, "DIR", "the data folder of the mesh", 0, 0},
        {"live", ARGUMENT_FLAG, &live, NULL,
         "compare the digests of running nodes too (asks the gateway of --region)", 0, 0},
    };
    ctl_words_t words = {0};
    if (!ctl_parse(ctl, options, 2, word_count, line, &words)) {
        return words.status;
    }
    if (self.data_folder == NULL) {
        return ctl_fail_usage(ctl, "expected --data DIR, found none");
    }
    errbuf_t errbuf;
    disk_posix_t *disk = NULL;
    err_t err = ctl_topology(ctl, &self.topology, &errbuf);
    err = err == ERR_OK ? disk_posix_new(".", &disk, &errbuf) : err;
    if (err != ERR_OK) {
        return ctl_fail(ctl, &errbuf);
    }
    self.disk = disk_posix_disk(disk);
    err = s_verify(&self, live, &errbuf);
    int status = err == ERR_OK ? s_finish(&self) : ctl_fail(ctl, &errbuf);
    s_drop_live(&self);
    disk_posix_destroy(&disk);
    return status;
}

ctl_command_list_t command_verify_list(void)
{
    static const ctl_command_t s_commands[] = {
        {"verify", "histories and logs", "--data DIR [--live]",
         "replays all logs and compares every checkpoint and running node with them",
         "Every stream of every region is read, copies of one stream are held against one another, "
         "and\n"
         "each event is replayed once through a single ledger; of a request that was logged twice "
         "one\n"
         "copy counts. Every cell, item, user, relation and pair seen of every checkpoint must be "
         "what\n"
         "the replay gives at the checkpoint's positions, and with --live the same holds for the\n"
         "digest of every running node. The mesh may run. Exit status 1 at any difference.\n",
         s_run_verify},
    };
    return (ctl_command_list_t){s_commands, 1};
}
