#include "tests/support/sim_disk.h"

#include "common/base/check.h"
#include "tests/support/sim_files.h"

#include <stdio.h>
#include <stdlib.h>

struct disk_file {
    sim_inode_t *inode;
    uint64_t boot; /* of the disk when it was opened */
};

struct sim_disk {
    disk_t disk;
    prng_t prng;
    sim_files_t files;
    uint64_t boot; /* power cuts so far */
    uint64_t capacity_bytes;
    bool tearing;
    bool stopped;
    uint64_t fail_write_in;
    uint64_t fail_sync_in;
    uint64_t stop_in;
    sim_disk_unlink_fn on_unlink; /* NULL: nobody watches */
    void *unlink_context;
    sim_disk_stats_t stats;
};

/* -- faults ------------------------------------------------------------------------------------ */

/* Counts down a plan; true when its moment has come. */
static bool s_due(uint64_t *left)
{
    if (*left == 0) {
        return false;
    }
    (*left)--;
    return *left == 0;
}

static err_t s_no_power(errbuf_t *errbuf)
{
    errbuf_set(errbuf, "simulated disk: the power is off");
    return ERR_IO;
}

/* One change: whether it happens, and what the caller is told. */
typedef struct {
    bool happens;
    err_t err;
} outcome_t;

/* At the moment planned by sim_disk_stop_at a change may still happen, but nobody hears of it. */
static outcome_t s_begin_change(sim_disk_t *self, errbuf_t *errbuf)
{
    if (self->stopped) {
        return (outcome_t){false, s_no_power(errbuf)};
    }
    self->stats.change_count++;
    if (s_due(&self->stop_in)) {
        self->stopped = true;
        return (outcome_t){prng_chance(&self->prng, 0.5), s_no_power(errbuf)};
    }
    return (outcome_t){true, ERR_OK};
}

static bool s_alive(const sim_disk_t *self, const disk_file_t *file)
{
    return !self->stopped && file->boot == self->boot;
}

/* -- the seam: files --------------------------------------------------------------------------- */

static err_t s_create(sim_disk_t *self, const char *path, sim_inode_t **ret_inode, errbuf_t *errbuf)
{
    if (!sim_files_parent_exists(&self->files, path)) {
        errbuf_set(errbuf, "simulated disk: no folder for %s", path);
        return ERR_NOT_FOUND;
    }
    const outcome_t outcome = s_begin_change(self, errbuf);
    if (outcome.happens) {
        *ret_inode = sim_files_create(&self->files, path);
    }
    return outcome.err;
}

static err_t s_open(
    void *context, const char *raw_path, disk_mode_t mode, disk_file_t **ret_file, errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    if (self->stopped) {
        return s_no_power(errbuf);
    }
    char *path = sim_files_normal(raw_path);
    sim_inode_t *inode = sim_files_lookup(&self->files, path);
    err_t err = ERR_OK;
    if (inode == NULL && mode == DISK_CREATE) {
        err = s_create(self, path, &inode, errbuf);
    } else if (inode == NULL || inode->folder) {
        errbuf_set(errbuf, "simulated disk: no file %s", path);
        err = inode == NULL ? ERR_NOT_FOUND : ERR_IO;
    }
    if (err == ERR_OK) {
        disk_file_t *file = malloc(sizeof(*file));
        CHECK(file != NULL);
        *file = (disk_file_t){sim_files_keep(inode), self->boot};
        *ret_file = file;
    }
    free(path);
    return err;
}

static void s_close(void *context, disk_file_t **file_p)
{
    sim_disk_t *self = context;
    if (*file_p != NULL) {
        sim_files_release(&self->files, &(*file_p)->inode);
        free(*file_p);
        *file_p = NULL;
    }
}

/* The seam has seven parameters here. */
// NOLINTNEXTLINE(readability-function-size)
static err_t s_read_at(void *context,
                       disk_file_t *file,
                       uint64_t offset,
                       void *bytes,
                       size_t size,
                       size_t *ret_size,
                       errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    if (!s_alive(self, file)) {
        return s_no_power(errbuf);
    }
    const buffer_t *content = &file->inode->bytes;
    size_t got = 0;
    if (offset < content->size) {
        got = content->size - (size_t)offset < size ? content->size - (size_t)offset : size;
        memcpy(bytes, content->data + offset, got);
    }
    self->stats.read_count++;
    self->stats.read_bytes += got;
    *ret_size = got;
    return ERR_OK;
}

/* Bytes of a write that fit into what is left. */
static size_t s_fitting(const sim_disk_t *self,
                        const sim_inode_t *inode,
                        uint64_t offset,
                        size_t size)
{
    const uint64_t used = self->files.used_bytes;
    const uint64_t end = offset + size;
    const uint64_t growth = end > inode->bytes.size ? end - inode->bytes.size : 0;
    const uint64_t left = self->capacity_bytes > used ? self->capacity_bytes - used : 0;
    if (growth <= left) {
        return size;
    }
    return growth - left >= size ? 0 : size - (size_t)(growth - left);
}

static err_t s_write_at(void *context,
                        disk_file_t *file,
                        uint64_t offset,
                        const void *bytes,
                        size_t size,
                        errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    if (!s_alive(self, file)) {
        return s_no_power(errbuf);
    }
    const outcome_t outcome = s_begin_change(self, errbuf);
    const bool fails = s_due(&self->fail_write_in);
    size_t part = s_fitting(self, file->inode, offset, size);
    err_t err = part < size ? ERR_DISK_FULL : ERR_OK;
    self->stats.full_count += err == ERR_DISK_FULL ? 1 : 0;
    if (outcome.err != ERR_OK || fails) {
        part = (size_t)prng_below(&self->prng, part + 1);
        err = ERR_IO;
    }
    self->stats.write_count++;
    self->stats.written_bytes += part;
    if (part > 0) {
        sim_files_write(&self->files, file->inode, offset, bytes, part);
    }
    if (err != ERR_OK) {
        errbuf_set(errbuf, "simulated disk: write of %zu bytes failed after %zu", size, part);
    }
    return err;
}

static err_t s_sync(void *context, disk_file_t *file, errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    if (!s_alive(self, file)) {
        return s_no_power(errbuf);
    }
    const outcome_t outcome = s_begin_change(self, errbuf);
    self->stats.sync_count++;
    if (s_due(&self->fail_sync_in)) {
        errbuf_set(errbuf, "simulated disk: sync failed");
        return ERR_IO;
    }
    if (outcome.happens) {
        sim_files_sync(file->inode);
    }
    return outcome.err;
}

static err_t s_truncate(void *context, disk_file_t *file, uint64_t size, errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    if (!s_alive(self, file)) {
        return s_no_power(errbuf);
    }
    const outcome_t outcome = s_begin_change(self, errbuf);
    if (outcome.happens) {
        sim_files_truncate(&self->files, file->inode, size);
    }
    return outcome.err;
}

static err_t s_size(void *context, disk_file_t *file, uint64_t *ret_size, errbuf_t *errbuf)
{
    if (!s_alive(context, file)) {
        return s_no_power(errbuf);
    }
    *ret_size = file->inode->bytes.size;
    return ERR_OK;
}

/* -- the seam: names --------------------------------------------------------------------------- */

static bool s_is_file(const sim_disk_t *self, const char *path)
{
    const sim_inode_t *inode = sim_files_lookup(&self->files, path);
    return inode != NULL && !inode->folder;
}

static err_t s_rename(void *context, const char *raw_from, const char *raw_to, errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    char *from = sim_files_normal(raw_from);
    char *to = sim_files_normal(raw_to);
    outcome_t outcome = {false, ERR_NOT_FOUND};
    if (self->stopped || (s_is_file(self, from) && sim_files_parent_exists(&self->files, to))) {
        outcome = s_begin_change(self, errbuf);
    } else {
        errbuf_set(errbuf, "simulated disk: cannot rename %s to %s", from, to);
    }
    if (outcome.happens) {
        sim_files_move(&self->files, from, to);
    }
    free(from);
    free(to);
    return outcome.err;
}

static err_t s_unlink(void *context, const char *raw_path, errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    char *path = sim_files_normal(raw_path);
    outcome_t outcome = {false, ERR_NOT_FOUND};
    if (self->stopped || s_is_file(self, path)) {
        outcome = s_begin_change(self, errbuf);
    } else {
        errbuf_set(errbuf, "simulated disk: no file %s", path);
    }
    if (outcome.happens) {
        const buffer_t *bytes = &sim_files_lookup(&self->files, path)->bytes;
        if (self->on_unlink != NULL) {
            self->on_unlink(self->unlink_context, path, bytes->data, bytes->size);
        }
        sim_files_remove(&self->files, path);
    }
    free(path);
    return outcome.err;
}

void sim_disk_watch_unlink(sim_disk_t *self, sim_disk_unlink_fn on_unlink, void *context)
{
    self->on_unlink = on_unlink;
    self->unlink_context = context;
}

/* Durable at once, as the seam says; so a folder whose maker never heard of it is not there. */
static err_t s_make_folder(sim_disk_t *self, const char *path, errbuf_t *errbuf)
{
    const sim_inode_t *inode = sim_files_lookup(&self->files, path);
    if (strcmp(path, "/") == 0 || (inode != NULL && inode->folder)) {
        return ERR_OK;
    }
    if (inode != NULL) {
        errbuf_set(errbuf, "simulated disk: %s is no folder", path);
        return ERR_IO;
    }
    const outcome_t outcome = s_begin_change(self, errbuf);
    if (outcome.err == ERR_OK) {
        (void)sim_files_put(&self->files, path, true); /* the entry owns it */
    }
    return outcome.err;
}

static err_t s_make_folders(void *context, const char *raw_path, errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    if (self->stopped) {
        return s_no_power(errbuf);
    }
    char *path = sim_files_normal(raw_path);
    const size_t length = strlen(path);
    err_t err = ERR_OK;
    for (size_t i = 1; i <= length && err == ERR_OK; i++) {
        const char end = path[i];
        if (end == '/' || end == '\0') {
            path[i] = '\0';
            err = s_make_folder(self, path, errbuf);
            path[i] = end;
        }
    }
    free(path);
    return err;
}

static err_t s_sync_folder(void *context, const char *raw_path, errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    char *path = sim_files_normal(raw_path);
    outcome_t outcome = {false, ERR_NOT_FOUND};
    if (self->stopped || sim_files_folder_exists(&self->files, path)) {
        outcome = s_begin_change(self, errbuf);
        self->stats.sync_folder_count++;
    } else {
        errbuf_set(errbuf, "simulated disk: no folder %s", path);
    }
    if (outcome.happens) {
        sim_files_sync_folder(&self->files, path);
    }
    free(path);
    return outcome.err;
}

static err_t s_list(void *context,
                    const char *raw_path,
                    disk_list_fn callback,
                    void *callback_context,
                    errbuf_t *errbuf)
{
    sim_disk_t *self = context;
    if (self->stopped) {
        return s_no_power(errbuf);
    }
    char *path = sim_files_normal(raw_path);
    const bool exists = sim_files_folder_exists(&self->files, path);
    for (size_t i = 0; exists && i < self->files.entry_count; i++) {
        const sim_entry_t *entry = &self->files.entries[i];
        if (sim_files_is_in(entry->path, path)) {
            const char *slash = strrchr(entry->path, '/');
            callback(callback_context, slash == NULL ? entry->path : slash + 1,
                     entry->inode->folder ? UINT64_MAX : entry->inode->bytes.size);
        }
    }
    if (!exists) {
        errbuf_set(errbuf, "simulated disk: no folder %s", path);
    }
    free(path);
    return exists ? ERR_OK : ERR_NOT_FOUND;
}

static err_t s_free_bytes(void *context, const char *path, uint64_t *ret_free, errbuf_t *errbuf)
{
    (void)path;
    const sim_disk_t *self = context;
    const uint64_t used = self->files.used_bytes;
    if (self->stopped) {
        return s_no_power(errbuf);
    }
    *ret_free = self->capacity_bytes > used ? self->capacity_bytes - used : 0;
    return ERR_OK;
}

/* -- life and plans ---------------------------------------------------------------------------- */

sim_disk_t *sim_disk_new(uint64_t seed)
{
    sim_disk_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    prng_init(&self->prng, seed);
    self->capacity_bytes = UINT64_MAX;
    self->tearing = true;
    self->disk = (disk_t){
        .context = self,
        .open = s_open,
        .close = s_close,
        .read_at = s_read_at,
        .write_at = s_write_at,
        .sync = s_sync,
        .truncate = s_truncate,
        .size = s_size,
        .rename = s_rename,
        .unlink = s_unlink,
        .make_folders = s_make_folders,
        .sync_folder = s_sync_folder,
        .list = s_list,
        .free_bytes = s_free_bytes,
    };
    return self;
}

void sim_disk_destroy(sim_disk_t **self_p)
{
    sim_disk_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    sim_files_done(&self->files);
    free(self);
    *self_p = NULL;
}

const disk_t *sim_disk_disk(const sim_disk_t *self)
{
    return &self->disk;
}

void sim_disk_restart(sim_disk_t *self)
{
    self->boot++;
    self->stopped = false;
    self->fail_write_in = 0;
    self->fail_sync_in = 0;
    self->stop_in = 0;
}

void sim_disk_crash(sim_disk_t *self, uint64_t seed)
{
    prng_t prng;
    prng_init(&prng, seed);
    sim_files_crash(&self->files, &prng, self->tearing);
    sim_disk_restart(self);
}

void sim_disk_settle(sim_disk_t *self)
{
    sim_files_settle(&self->files);
}

void sim_disk_set_capacity(sim_disk_t *self, uint64_t capacity_bytes)
{
    self->capacity_bytes = capacity_bytes;
}

void sim_disk_set_tearing(sim_disk_t *self, bool tearing)
{
    self->tearing = tearing;
}

void sim_disk_fail_write(sim_disk_t *self, uint64_t n)
{
    self->fail_write_in = n;
}

void sim_disk_fail_sync(sim_disk_t *self, uint64_t n)
{
    self->fail_sync_in = n;
}

void sim_disk_stop_at(sim_disk_t *self, uint64_t n)
{
    self->stop_in = n;
}

bool sim_disk_stopped(const sim_disk_t *self)
{
    return self->stopped;
}

/* -- damage and inspection --------------------------------------------------------------------- */

static sim_inode_t *s_find_file(const sim_disk_t *self, const char *raw_path)
{
    char *path = sim_files_normal(raw_path);
    sim_inode_t *inode = sim_files_lookup(&self->files, path);
    free(path);
    return inode == NULL || inode->folder ? NULL : inode;
}

err_t sim_disk_flip_bit(sim_disk_t *self, const char *path, uint64_t bit_offset)
{
    sim_inode_t *inode = s_find_file(self, path);
    if (inode == NULL) {
        return ERR_NOT_FOUND;
    }
    if (bit_offset / 8 >= inode->bytes.size) {
        return ERR_INVALID;
    }
    sim_files_sync(inode);
    inode->bytes.data[bit_offset / 8] ^= (uint8_t)(1U << (bit_offset % 8));
    return ERR_OK;
}

err_t sim_disk_peek(const sim_disk_t *self,
                    const char *path,
                    const uint8_t **ret_bytes,
                    uint64_t *ret_size)
{
    const sim_inode_t *inode = s_find_file(self, path);
    if (inode == NULL) {
        return ERR_NOT_FOUND;
    }
    *ret_bytes = inode->bytes.data;
    *ret_size = inode->bytes.size;
    return ERR_OK;
}

void sim_disk_put(sim_disk_t *self, const char *raw_path, const void *bytes, size_t size)
{
    char *path = sim_files_normal(raw_path);
    char *slash = strrchr(path, '/');
    sim_inode_t *inode = sim_files_lookup(&self->files, path);
    if (slash != NULL && slash != path) {
        *slash = '\0';
        CHECK(s_make_folders(self, path, NULL) == ERR_OK);
        *slash = '/';
    }
    if (inode == NULL) {
        inode = sim_files_put(&self->files, path, false);
    }
    CHECK(!inode->folder);
    sim_files_replace(&self->files, inode, bytes, size);
    free(path);
}

void sim_disk_wipe(sim_disk_t *self, const char *raw_folder)
{
    char *folder = sim_files_normal(raw_folder);
    size_t size = strlen(folder);
    for (size_t i = self->files.entry_count; i > 0; i--) {
        const char *entry = self->files.entries[i - 1].path;
        bool is_below = strncmp(entry, folder, size) == 0 && (entry[size] == '/' || !entry[size]);
        char *path = is_below ? sim_files_normal(entry) : NULL;
        if (path != NULL) {
            sim_files_remove(&self->files, path);
            char *slash = strrchr(path, '/');
            *(slash == NULL ? path : slash) = '\0';
            sim_files_sync_folder(&self->files, path);
        }
        free(path);
    }
    free(folder);
}

sim_disk_t *sim_disk_clone(const sim_disk_t *self)
{
    sim_disk_t *clone = sim_disk_new(0);
    clone->prng = self->prng;
    clone->tearing = self->tearing;
    clone->capacity_bytes = self->capacity_bytes;
    for (size_t i = 0; i < self->files.entry_count; i++) {
        const sim_entry_t *entry = &self->files.entries[i];
        sim_inode_t *inode = sim_files_put(&clone->files, entry->path, entry->inode->folder);
        sim_files_replace(&clone->files, inode, entry->inode->bytes.data, entry->inode->bytes.size);
    }
    return clone;
}

sim_disk_t *sim_disk_clone_synced(const sim_disk_t *self)
{
    sim_disk_t *clone = sim_disk_new(0);
    clone->prng = self->prng;
    clone->tearing = self->tearing;
    clone->capacity_bytes = self->capacity_bytes;
    sim_files_copy_synced(&self->files, &clone->files);
    return clone;
}

bool sim_disk_equal(const sim_disk_t *a, const sim_disk_t *b)
{
    const sim_files_t *left = &a->files;
    const sim_files_t *right = &b->files;
    for (size_t i = 0; i < left->entry_count || i < right->entry_count; i++) {
        const char *left_path = i < left->entry_count ? left->entries[i].path : "";
        const char *right_path = i < right->entry_count ? right->entries[i].path : "";
        if (strcmp(left_path, right_path) != 0) {
            printf("disks differ in their names: '%s' and '%s'\n", left_path, right_path);
            return false;
        }
        const buffer_t *left_bytes = &left->entries[i].inode->bytes;
        const buffer_t *right_bytes = &right->entries[i].inode->bytes;
        if (!slice_equal(buffer_slice(left_bytes), buffer_slice(right_bytes))) {
            printf("disks differ in %s: %zu and %zu bytes\n", left_path, left_bytes->size,
                   right_bytes->size);
            return false;
        }
    }
    return true;
}

uint64_t sim_disk_used_bytes(const sim_disk_t *self)
{
    return self->files.used_bytes;
}

sim_disk_stats_t sim_disk_stats(const sim_disk_t *self)
{
    sim_disk_stats_t stats = self->stats;
    stats.lost_count = self->files.lost_count;
    stats.torn_count = self->files.torn_count;
    stats.undone_count = self->files.undone_count;
    return stats;
}
