#include "common/engine/snapshot_load.h"

#include "common/base/check.h"
#include "common/engine/replay_beside.h"
#include "common/engine/replica_state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { S_RETRY_MS = 500 /* between two tries to read a file that is being fetched again */ };

struct snapshot_load {
    replica_t *live;  /* borrowed */
    replica_t *built; /* it has no log of its own and leads nothing */
    hlc_t hlc;       /* of built: what the base says of time is not believed before it is adopted */
    wal_path_t path; /* of the base in place */
    wal_path_t fetched;    /* the reconciler puts it there */
    wal_path_t loading;    /* where nobody else touches it */
    base_reader_t *reader; /* NULL: its path is too long */
    bool is_mine;          /* under the name of loading */
    bool is_adopted;
    int64_t retry_ns;
    uint64_t event_count; /* replayed */
};

snapshot_load_t *snapshot_load_new(replica_t *live)
{
    CHECK(live->is_recovered);
    snapshot_load_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->live = live;
    hlc_init(&self->hlc, live->hlc->node);
    self->built =
        replica_new(&(replica_node_t){live->env, &self->hlc}, live->tenant, live->tenant_name);
    if (replica_base_path(live, &self->path, NULL) == ERR_OK &&
        base_stage_path(&self->path, BASE_STAGE_FETCHED, &self->fetched, NULL) == ERR_OK &&
        base_stage_path(&self->path, BASE_STAGE_LOADING, &self->loading, NULL) == ERR_OK) {
        self->reader =
            base_reader_new(live->env->disk, self->loading.text, live->tenant, live->shard);
    }
    return self;
}

void snapshot_load_destroy(snapshot_load_t **self_p)
{
    snapshot_load_t *self = *self_p;
    if (self != NULL) {
        base_reader_destroy(&self->reader);
        replica_close(&self->built);
        free(self);
        *self_p = NULL;
    }
}

bool snapshot_load_is_adopted(const snapshot_load_t *self)
{
    return self->is_adopted;
}

/* -- before it is adopted ---------------------------------------------------------------------- */

static err_t s_judge_stream(const snapshot_load_t *self, stream_id_t stream, errbuf_t *errbuf)
{
    uint64_t first_seq = 0;
    uint64_t join_seq = base_head_join(base_reader_head(self->reader), stream).seq;
    err_t err = replica_first_logged(self->live, stream, &first_seq, errbuf);
    if (err == ERR_OK && first_seq > join_seq + 1) {
        errbuf_set(errbuf,
                   "the snapshot needs the log of %s-%016" PRIx64 " from event %" PRIu64
                   " on, and here it begins with %" PRIu64 "; a later one is needed",
                   topology_place_name(self->live->env->topology, stream.origin.region),
                   stream.incarnation, join_seq + 1, first_seq);
        err = ERR_STALE;
    }
    return err;
}

static err_t s_judge(const snapshot_load_t *self, errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < self->live->stream_count; i++) {
        err = s_judge_stream(self, self->live->streams[i].stream, errbuf);
    }
    return err;
}

/* The file gets its name. A folder that cannot be synced leaves open which base is there after a
 * power cut, while the receiver drops what only the new one holds: the process ends. */
static err_t s_put_in_place(snapshot_load_t *self, errbuf_t *errbuf)
{
    const disk_t *disk = self->live->env->disk;
    disk_file_t *file = NULL;
    err_t err = disk->open(disk->context, self->loading.text, DISK_WRITE, &file, errbuf);
    if (err == ERR_OK) {
        err = disk->sync(disk->context, file, errbuf);
        disk->close(disk->context, &file);
    }
    if (err == ERR_OK) {
        err = disk->rename(disk->context, self->loading.text, self->path.text, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    wal_path_t folder = self->path;
    *strrchr(folder.text, '/') = '\0';
    err = disk->sync_folder(disk->context, folder.text, errbuf);
    if (err != ERR_OK) {
        replica_fail(self->live, err, errbuf);
    }
    return err;
}

static err_t s_adopt(snapshot_load_t *self, errbuf_t *errbuf)
{
    err_t err = s_judge(self, errbuf);
    if (err == ERR_OK) {
        err = s_put_in_place(self, errbuf);
    }
    if (err == ERR_OK) {
        /* However far ahead, as with a logged record: refused, what all
         * others hold would be lost. */
        hlc_observe(self->live->hlc, self->hlc.last);
        replica_join_base(self->live, base_reader_head(self->reader));
        base_reader_destroy(&self->reader);
        self->is_adopted = true;
    }
    return err;
}

static err_t s_load(snapshot_load_t *self, errbuf_t *errbuf)
{
    if (self->reader == NULL) {
        errbuf_set(errbuf, "the path of a snapshot is too long");
        return ERR_TOO_LARGE;
    }
    const disk_t *disk = self->live->env->disk;
    err_t err = ERR_OK;
    if (!self->is_mine) {
        err = disk->rename(disk->context, self->fetched.text, self->loading.text, errbuf);
        self->is_mine = err == ERR_OK;
    }
    if (err == ERR_OK) {
        err = replica_load_base_piece(self->built, self->reader, errbuf);
    }
    if (err == ERR_OK) {
        err = s_adopt(self, errbuf);
    }
    if (err != ERR_OK && err != ERR_AGAIN) {
        /* One that stays is replaced by the next one, and removed at the next start. */
        (void)disk->unlink(disk->context, self->loading.text, NULL);
        errbuf_prefix(errbuf, "load a snapshot");
    }
    return err == ERR_OK ? ERR_AGAIN : err;
}

/* -- after it ---------------------------------------------------------------------------------- */

err_t snapshot_load_step(snapshot_load_t *self, bool may_replace, now_t now, errbuf_t *errbuf)
{
    if (!self->is_adopted) {
        return s_load(self, errbuf);
    }
    if (!replica_files_reach_base(self->live) || now.mono_ns < self->retry_ns) {
        return ERR_FULL;
    }
    err_t err = replay_beside(self->built, self->live, &self->event_count, errbuf);
    if (err == ERR_AGAIN) {
        return err;
    }
    if (err != ERR_OK) {
        /* What does not verify is fetched again. */
        self->retry_ns = now.mono_ns + (int64_t)S_RETRY_MS * ENGINE_NS_PER_MS;
        return ERR_FULL;
    }
    if (!may_replace) {
        return ERR_FULL;
    }
    replica_take_snapshot(self->live, self->built, now);
    return ERR_OK;
}
