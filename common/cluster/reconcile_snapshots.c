#include "common/cluster/reconcile_snapshots.h"

#include "common/base/check.h"
#include "common/engine/base_file.h"

#include <stdlib.h>
#include <string.h>

/* The transfer for one (tenant, shard) of the own region, mostly idle. */
typedef struct {
    tenant_id_t tenant;
    shard_id_t shard;
    wal_path_t fetching;
    wal_path_t fetched;
    snapshot_fetch_t *fetch;
} s_transfer_t;

struct reconcile_snapshots {
    const engine_env_t *env; /* borrowed */
    int64_t wait_ns;
    uint32_t count;
    uint32_t capacity;
    s_transfer_t *transfers; /* in the order in which they were first looked at */
    uint64_t served;
    reconcile_snapshot_problem_t problem;
    buffer_t piece;
    buffer_t out;
};

reconcile_snapshots_t *reconcile_snapshots_new(const engine_env_t *env, int64_t wait_ns)
{
    reconcile_snapshots_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->env = env;
    self->wait_ns = wait_ns;
    buffer_init(&self->piece);
    buffer_init(&self->out);
    return self;
}

void reconcile_snapshots_destroy(reconcile_snapshots_t **self_p)
{
    reconcile_snapshots_t *self = *self_p;
    if (self != NULL) {
        for (uint32_t i = 0; i < self->count; i++) {
            snapshot_fetch_destroy(&self->transfers[i].fetch);
        }
        free(self->transfers);
        buffer_done(&self->piece);
        buffer_done(&self->out);
        free(self);
        *self_p = NULL;
    }
}

static s_transfer_t *s_find(const reconcile_snapshots_t *self, tenant_id_t tenant, shard_id_t shard)
{
    for (uint32_t i = 0; i < self->count; i++) {
        s_transfer_t *at = &self->transfers[i];
        if (at->tenant.value == tenant.value && at->shard.value == shard.value) {
            return at;
        }
    }
    return NULL;
}

/* Where the base of a tenant and shard lies in this region. errs ERR_NOT_FOUND no such tenant, and
 * those of base_path */
static err_t s_base_path(const reconcile_snapshots_t *self,
                         const table_t *table,
                         tenant_id_t tenant,
                         shard_id_t shard,
                         wal_path_t *ret_path)
{
    const table_tenant_t *row = table_find_tenant(table, tenant);
    wal_path_t tenants;
    if (row == NULL) {
        return ERR_NOT_FOUND;
    }
    err_t err = wal_files_tenants_path(
        self->env->data_folder, topology_place_name(self->env->topology, self->env->self.region),
        shard, &tenants, NULL);
    return err == ERR_OK ? base_path(tenants.text, tenant, row->name, ret_path, NULL) : err;
}

/* What an earlier life has left is nobody's: the node is not asked to take it any more. NULL when it has
 * no path. */
static s_transfer_t *s_add(reconcile_snapshots_t *self,
                           const table_t *table,
                           tenant_id_t tenant,
                           shard_id_t shard)
{
    wal_path_t path;
    s_transfer_t added = {.tenant = tenant, .shard = shard};
    if (s_base_path(self, table, tenant, shard, &path) != ERR_OK ||
        base_stage_path(&path, BASE_STAGE_FETCHING, &added.fetching, NULL) != ERR_OK ||
        base_stage_path(&path, BASE_STAGE_FETCHED, &added.fetched, NULL) != ERR_OK) {
        return NULL;
    }
    const disk_t *disk = self->env->disk;
    /* Mostly there is none; one that stays is replaced by the next one. */
    (void)disk->unlink(disk->context, added.fetching.text, NULL);
    (void)disk->unlink(disk->context, added.fetched.text, NULL);
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 8 : 2 * self->capacity;
        self->transfers = realloc(self->transfers, self->capacity * sizeof(*self->transfers));
        CHECK(self->transfers != NULL);
    }
    added.fetch = snapshot_fetch_new(self->wait_ns);
    self->transfers[self->count] = added;
    return &self->transfers[self->count++];
}

/* -- effects ----------------------------------------------------------------------------------- */

static void s_send(reconcile_snapshots_t *self, process_address_t to, const msg_t *msg)
{
    buffer_clear(&self->out);
    msg_encode(msg, &self->out);
    /* Not taken: it is asked again. */
    (void)self->env->net->send(self->env->net->context, to, self->out.data, self->out.size);
}

static void s_ask(reconcile_snapshots_t *self,
                  const s_transfer_t *transfer,
                  const snapshot_effect_t *effect)
{
    msg_t msg = {.type = MSG_SNAPSHOT_ASK};
    msg.as.snapshot_ask = (msg_snapshot_ask_t){.from = self->env->self,
                                               .request_id = effect->request_id,
                                               .tenant = transfer->tenant,
                                               .shard = transfer->shard,
                                               .offset = effect->offset};
    memcpy(msg.as.snapshot_ask.hash, effect->hash, sizeof(effect->hash));
    s_send(self, (process_address_t){PROCESS_RECONCILER, effect->donor, {0}}, &msg);
}

static void s_ask_node(reconcile_snapshots_t *self,
                       const s_transfer_t *transfer,
                       const snapshot_effect_t *effect)
{
    msg_t msg = {.type = MSG_BASE_TASK};
    msg.as.base_task = (msg_base_task_t){.request_id = effect->request_id,
                                         .tenant = transfer->tenant,
                                         .shard = transfer->shard,
                                         .kind = BASE_TASK_TAKE};
    s_send(self, (process_address_t){PROCESS_NODE, self->env->self.region, transfer->shard}, &msg);
}

/* Hands the file, which is whole, to the node: durable, and under a name that nothing is written to. */
static err_t s_hand_over(const disk_t *disk, const s_transfer_t *transfer, const char *folder)
{
    err_t err = disk->rename(disk->context, transfer->fetching.text, transfer->fetched.text, NULL);
    return err == ERR_OK ? disk->sync_folder(disk->context, folder, NULL) : err;
}

/* A donor's size is no more than its word: the own logs keep their reserve whatever it says. */
static err_t s_require_room(const disk_t *disk, const char *folder, uint64_t size_bytes)
{
    uint64_t free_bytes = 0;
    err_t err = disk->free_bytes(disk->context, folder, &free_bytes, NULL);
    bool fits =
        free_bytes >= WAL_DISK_RESERVE_SIZE && free_bytes - WAL_DISK_RESERVE_SIZE >= size_bytes;
    return err == ERR_OK && !fits ? ERR_DISK_FULL : err;
}

static err_t s_write(const reconcile_snapshots_t *self,
                     const s_transfer_t *transfer,
                     const snapshot_effect_t *effect)
{
    const disk_t *disk = self->env->disk;
    wal_path_t folder = transfer->fetching;
    *strrchr(folder.text, '/') = '\0';
    disk_file_t *file = NULL;
    err_t err = effect->offset == 0 ? disk->make_folders(disk->context, folder.text, NULL) : ERR_OK;
    if (err == ERR_OK) {
        err = disk->open(disk->context, transfer->fetching.text, DISK_CREATE, &file, NULL);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (effect->offset == 0) {
        err = disk->truncate(disk->context, file, 0, NULL);
        err = err == ERR_OK ? s_require_room(disk, folder.text, effect->size_bytes) : err;
    }
    if (err == ERR_OK) {
        err = disk->write_at(disk->context, file, effect->offset, effect->bytes.data,
                             effect->bytes.size, NULL);
    }
    if (err == ERR_OK && effect->is_last) {
        err = disk->sync(disk->context, file, NULL);
    }
    disk->close(disk->context, &file);
    return err == ERR_OK && effect->is_last ? s_hand_over(disk, transfer, folder.text) : err;
}

/* True when an event follows from it at once. */
static bool s_carry_out(reconcile_snapshots_t *self,
                        const s_transfer_t *transfer,
                        const snapshot_effect_t *effect,
                        int64_t now_ns,
                        snapshot_event_t *ret_next)
{
    const disk_t *disk = self->env->disk;
    switch (effect->kind) {
    case SNAPSHOT_EFFECT_ASK:
        s_ask(self, transfer, effect);
        return false;
    case SNAPSHOT_EFFECT_TAKE:
        s_ask_node(self, transfer, effect);
        return false;
    case SNAPSHOT_EFFECT_WRITE:
        *ret_next = (snapshot_event_t){.kind = SNAPSHOT_EVENT_WRITTEN, .now_ns = now_ns};
        ret_next->as.written = s_write(self, transfer, effect);
        return true;
    case SNAPSHOT_EFFECT_DROP:
        break;
    }
    /* One that stays is replaced by the next one. */
    (void)disk->unlink(disk->context, transfer->fetching.text, NULL);
    return false;
}

static void s_step(reconcile_snapshots_t *self,
                   s_transfer_t *transfer,
                   const snapshot_event_t *event)
{
    snapshot_effects_t effects;
    snapshot_event_t next = *event;
    bool has_next = true;
    uint64_t seen = snapshot_fetch_problem(transfer->fetch)->number;
    while (has_next) {
        snapshot_fetch_step(transfer->fetch, &next, &effects);
        has_next = false;
        for (uint32_t i = 0; i < effects.count; i++) {
            has_next =
                s_carry_out(self, transfer, &effects.list[i], event->now_ns, &next) || has_next;
        }
    }
    const snapshot_problem_t *problem = snapshot_fetch_problem(transfer->fetch);
    if (problem->number != seen) {
        self->problem.number++;
        self->problem.tenant = transfer->tenant;
        self->problem.shard = transfer->shard;
        self->problem.donor = problem->donor;
        self->problem.reason = problem->reason;
    }
}

/* -- fetching ---------------------------------------------------------------------------------- */

void reconcile_snapshots_run(reconcile_snapshots_t *self,
                             const table_t *table,
                             const msg_reconcile_row_t *own,
                             const msg_reconcile_row_t *const *peers,
                             uint32_t peer_count,
                             now_t now)
{
    snapshot_event_t event = {.kind = SNAPSHOT_EVENT_RUN, .now_ns = now.mono_ns};
    event.as.donors = snapshot_donors(own, peers, peer_count);
    s_transfer_t *transfer = s_find(self, own->tenant, own->node.shard);
    if (transfer == NULL) {
        transfer = s_add(self, table, own->tenant, own->node.shard);
    }
    if (transfer != NULL) {
        s_step(self, transfer, &event);
    }
}

void reconcile_snapshots_piece(reconcile_snapshots_t *self,
                               const msg_snapshot_piece_t *piece,
                               now_t now)
{
    s_transfer_t *transfer = s_find(self, piece->tenant, piece->shard);
    snapshot_event_t event = {.kind = SNAPSHOT_EVENT_PIECE, .now_ns = now.mono_ns};
    event.as.piece = piece;
    if (transfer != NULL && piece->from.kind == PROCESS_RECONCILER) {
        s_step(self, transfer, &event);
    }
}

void reconcile_snapshots_taken(reconcile_snapshots_t *self,
                               const msg_base_reply_t *reply,
                               now_t now)
{
    s_transfer_t *transfer = s_find(self, reply->tenant, reply->shard);
    snapshot_event_t event = {.kind = SNAPSHOT_EVENT_TAKEN, .now_ns = now.mono_ns};
    event.as.taken.request_id = reply->request_id;
    event.as.taken.code = reply->code;
    event.as.taken.message = reply->message;
    if (transfer != NULL) {
        s_step(self, transfer, &event);
    }
}

void reconcile_snapshots_tick(reconcile_snapshots_t *self, now_t now)
{
    snapshot_event_t event = {.kind = SNAPSHOT_EVENT_TICK, .now_ns = now.mono_ns};
    for (uint32_t i = 0; i < self->count; i++) {
        if (snapshot_fetch_deadline_ns(self->transfers[i].fetch) <= now.mono_ns) {
            s_step(self, &self->transfers[i], &event);
        }
    }
}

int64_t reconcile_snapshots_deadline_ns(const reconcile_snapshots_t *self)
{
    int64_t deadline_ns = INT64_MAX;
    for (uint32_t i = 0; i < self->count; i++) {
        int64_t one_ns = snapshot_fetch_deadline_ns(self->transfers[i].fetch);
        deadline_ns = one_ns < deadline_ns ? one_ns : deadline_ns;
    }
    return deadline_ns;
}

/* -- serving ----------------------------------------------------------------------------------- */

/* Fills in size, hash, offset and bytes from an open file. errs ERR_CORRUPT too short · ERR_IO */
static err_t s_read(reconcile_snapshots_t *self,
                    disk_file_t *file,
                    const msg_snapshot_ask_t *ask,
                    msg_snapshot_piece_t *piece)
{
    static const uint8_t s_any[MSG_HASH_SIZE] = {0};
    const disk_t *disk = self->env->disk;
    size_t size = 0;
    err_t err = disk->size(disk->context, file, &piece->size_bytes, NULL);
    if (err == ERR_OK && (piece->size_bytes < BASE_HEAD_SIZE_MIN + BASE_HASH_SIZE ||
                          piece->size_bytes > SNAPSHOT_SIZE_MAX)) {
        err = ERR_CORRUPT;
    }
    if (err == ERR_OK) {
        err = disk->read_at(disk->context, file, piece->size_bytes - sizeof(piece->hash),
                            piece->hash, sizeof(piece->hash), &size, NULL);
    }
    if (err != ERR_OK || size != sizeof(piece->hash)) {
        return err == ERR_OK ? ERR_CORRUPT : err;
    }
    bool is_known = memcmp(ask->hash, s_any, sizeof(s_any)) == 0 ||
                    memcmp(ask->hash, piece->hash, sizeof(s_any)) == 0;
    piece->offset = is_known && ask->offset < piece->size_bytes ? ask->offset : 0;
    buffer_clear(&self->piece);
    uint8_t *bytes = buffer_extend(&self->piece, SNAPSHOT_PIECE_SIZE_MAX);
    err = disk->read_at(disk->context, file, piece->offset, bytes, SNAPSHOT_PIECE_SIZE_MAX, &size,
                        NULL);
    piece->bytes = slice_make(bytes, err == ERR_OK ? size : 0);
    return err;
}

bool reconcile_snapshots_serve(reconcile_snapshots_t *self,
                               const table_t *table,
                               uint64_t reply_to,
                               const msg_snapshot_ask_t *ask)
{
    process_address_t from = ask->from;
    bool is_peer = from.kind == PROCESS_RECONCILER &&
                   from.region.value != self->env->self.region.value &&
                   topology_has_process(self->env->topology, from);
    if (!is_peer || ask->shard.value >= self->env->topology->shard_count || table == NULL ||
        !table_is_placed(table, ask->tenant, from.region) ||
        !table_is_placed(table, ask->tenant, self->env->self.region)) {
        return false;
    }
    const disk_t *disk = self->env->disk;
    msg_t msg = {.type = MSG_SNAPSHOT_PIECE};
    msg_snapshot_piece_t *piece = &msg.as.snapshot_piece;
    *piece = (msg_snapshot_piece_t){.from = self->env->self,
                                    .request_id = ask->request_id,
                                    .tenant = ask->tenant,
                                    .shard = ask->shard};
    wal_path_t path;
    disk_file_t *file = NULL;
    err_t err = s_base_path(self, table, ask->tenant, ask->shard, &path);
    if (err == ERR_OK) {
        err = disk->open(disk->context, path.text, DISK_READ, &file, NULL);
    }
    if (err == ERR_OK) {
        err = s_read(self, file, ask, piece);
        disk->close(disk->context, &file);
    }
    if (err != ERR_OK) {
        piece->code = err == ERR_NOT_FOUND ? CODE_NOT_FOUND : CODE_UNAVAILABLE;
        piece->message = slice_text("no base of that tenant and shard can be read here");
        piece->size_bytes = 0;
        piece->bytes = slice_make(NULL, 0);
    }
    self->served += err == ERR_OK ? 1 : 0;
    buffer_clear(&self->out);
    msg_encode(&msg, &self->out);
    /* Not taken: it is asked for again. */
    (void)self->env->net->reply(self->env->net->context, reply_to, self->out.data, self->out.size);
    return true;
}

reconcile_snapshots_counters_t reconcile_snapshots_counters(const reconcile_snapshots_t *self)
{
    reconcile_snapshots_counters_t sum = {.served = self->served};
    for (uint32_t i = 0; i < self->count; i++) {
        snapshot_counters_t one = snapshot_fetch_counters(self->transfers[i].fetch);
        sum.fetch.begun += one.begun;
        sum.fetch.adopted += one.adopted;
        sum.fetch.refused += one.refused;
        sum.fetch.failed += one.failed;
        sum.fetch.restarted += one.restarted;
        sum.fetch.late += one.late;
        sum.fetch.bytes += one.bytes;
        sum.under_way += snapshot_fetch_is_under_way(self->transfers[i].fetch) ? 1 : 0;
    }
    return sum;
}

const reconcile_snapshot_problem_t *reconcile_snapshots_problem(const reconcile_snapshots_t *self)
{
    return &self->problem;
}
