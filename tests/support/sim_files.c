#include "tests/support/sim_files.h"

#include "common/base/check.h"

#include <stdlib.h>

/* -- memory ------------------------------------------------------------------------------------ */

void *sim_files_grow(void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity) {
        return items;
    }
    *capacity = *capacity == 0 ? 8 : 2 * *capacity;
    void *grown = realloc(items, *capacity * item_size);
    CHECK(grown != NULL);
    return grown;
}

char *sim_files_normal(const char *path)
{
    char *normal = malloc(strlen(path) + 2);
    CHECK(normal != NULL);
    size_t length = 0;
    while (path[0] == '.' && path[1] == '/') {
        path += 2;
    }
    for (; *path != '\0'; path++) {
        if (*path != '/' || length == 0 || normal[length - 1] != '/') {
            normal[length++] = *path;
        }
    }
    if (length > 1 && normal[length - 1] == '/') {
        length--;
    }
    normal[length] = '\0';
    return normal;
}

sim_inode_t *sim_files_keep(sim_inode_t *inode)
{
    CHECK(inode != NULL);
    inode->reference_count++;
    return inode;
}

void sim_files_release(sim_files_t *self, sim_inode_t **inode_p)
{
    sim_inode_t *inode = *inode_p;
    *inode_p = NULL;
    if (inode == NULL) {
        return;
    }
    CHECK(inode->reference_count > 0);
    inode->reference_count--;
    if (inode->reference_count > 0) {
        return;
    }
    sim_files_sync(inode);
    CHECK(self->used_bytes >= inode->bytes.size);
    self->used_bytes -= inode->bytes.size;
    buffer_done(&inode->bytes);
    free(inode->changes);
    inode->changes = NULL;
    inode->change_capacity = 0;
}

void sim_files_done(sim_files_t *self)
{
    sim_files_settle(self);
    for (size_t i = 0; i < self->entry_count; i++) {
        free(self->entries[i].path);
        sim_files_release(self, &self->entries[i].inode);
    }
    while (self->inodes != NULL) {
        sim_inode_t *next = self->inodes->next;
        free(self->inodes);
        self->inodes = next;
    }
    free(self->entries);
    free(self->names);
    *self = (sim_files_t){.entries = NULL};
}

/* -- names ------------------------------------------------------------------------------------- */

/* Index of the path, or of where it belongs. */
static size_t s_find(const sim_files_t *self, const char *path, bool *ret_found)
{
    size_t low = 0;
    size_t high = self->entry_count;
    *ret_found = false;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(self->entries[middle].path, path);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

sim_inode_t *sim_files_lookup(const sim_files_t *self, const char *path)
{
    bool found = false;
    const size_t i = s_find(self, path, &found);
    return found ? self->entries[i].inode : NULL;
}

static void s_link(sim_files_t *self, const char *path, sim_inode_t *inode)
{
    bool found = false;
    const size_t i = s_find(self, path, &found);
    CHECK(!found);
    self->entries = sim_files_grow(self->entries, self->entry_count, &self->entry_capacity,
                                   sizeof(*self->entries));
    memmove(&self->entries[i + 1], &self->entries[i],
            (self->entry_count - i) * sizeof(*self->entries));
    self->entries[i] = (sim_entry_t){sim_files_normal(path), sim_files_keep(inode)};
    self->entry_count++;
}

static void s_unlink(sim_files_t *self, const char *path)
{
    bool found = false;
    const size_t i = s_find(self, path, &found);
    if (!found) {
        return;
    }
    free(self->entries[i].path);
    sim_files_release(self, &self->entries[i].inode);
    self->entry_count--;
    memmove(&self->entries[i], &self->entries[i + 1],
            (self->entry_count - i) * sizeof(*self->entries));
}

bool sim_files_is_in(const char *path, const char *folder)
{
    const char *slash = strrchr(path, '/');
    if (strcmp(folder, ".") == 0 || folder[0] == '\0') {
        return slash == NULL;
    }
    if (strcmp(folder, "/") == 0) {
        return slash == path;
    }
    const size_t length = strlen(folder);
    return slash != NULL && (size_t)(slash - path) == length && memcmp(path, folder, length) == 0;
}

bool sim_files_folder_exists(const sim_files_t *self, const char *folder)
{
    if (folder[0] == '\0' || strcmp(folder, ".") == 0 || strcmp(folder, "/") == 0) {
        return true;
    }
    const sim_inode_t *inode = sim_files_lookup(self, folder);
    return inode != NULL && inode->folder;
}

bool sim_files_parent_exists(const sim_files_t *self, const char *path)
{
    char parent[SIM_PATH_SIZE_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return true;
    }
    const size_t length = (size_t)(slash - path);
    CHECK(length < sizeof(parent));
    memcpy(parent, path, length);
    parent[length] = '\0';
    return sim_files_folder_exists(self, parent);
}

static void s_note_name(sim_files_t *self, sim_name_change_t change)
{
    self->names =
        sim_files_grow(self->names, self->name_count, &self->name_capacity, sizeof(*self->names));
    change.from = change.from == NULL ? NULL : sim_files_normal(change.from);
    change.path = sim_files_normal(change.path);
    change.inode = sim_files_keep(change.inode);
    change.replaced = change.replaced == NULL ? NULL : sim_files_keep(change.replaced);
    self->names[self->name_count++] = change;
}

static void s_forget_name(sim_files_t *self, size_t i)
{
    sim_name_change_t *change = &self->names[i];
    free(change->from);
    free(change->path);
    sim_files_release(self, &change->inode);
    sim_files_release(self, &change->replaced);
    self->name_count--;
    memmove(change, change + 1, (self->name_count - i) * sizeof(*change));
}

static void s_undo_move(sim_files_t *self, const sim_name_change_t *change)
{
    if (sim_files_lookup(self, change->path) != change->inode) {
        return;
    }
    s_unlink(self, change->path);
    if (sim_files_lookup(self, change->from) == NULL) {
        s_link(self, change->from, change->inode);
    }
    if (change->replaced != NULL) {
        s_link(self, change->path, change->replaced);
    }
}

/* Takes the last pending change of names back. */
static void s_undo_name(sim_files_t *self)
{
    CHECK(self->name_count > 0);
    const size_t i = self->name_count - 1;
    const sim_name_change_t *change = &self->names[i];
    const sim_inode_t *now = sim_files_lookup(self, change->path);
    switch (change->kind) {
    case SIM_NAME_CREATED:
        if (now == change->inode) {
            s_unlink(self, change->path);
        }
        break;
    case SIM_NAME_REMOVED:
        if (now == NULL) {
            s_link(self, change->path, change->inode);
        }
        break;
    case SIM_NAME_MOVED:
        s_undo_move(self, change);
        break;
    }
    self->undone_count++;
    s_forget_name(self, i);
}

sim_inode_t *sim_files_put(sim_files_t *self, const char *path, bool folder)
{
    sim_inode_t *inode = calloc(1, sizeof(*inode));
    CHECK(inode != NULL);
    inode->folder = folder;
    inode->next = self->inodes;
    self->inodes = inode;
    s_link(self, path, inode);
    return inode;
}

sim_inode_t *sim_files_create(sim_files_t *self, const char *path)
{
    char *copy = sim_files_normal(path);
    sim_inode_t *inode = sim_files_put(self, copy, false);
    s_note_name(self, (sim_name_change_t){SIM_NAME_CREATED, NULL, copy, inode, NULL});
    free(copy);
    return inode;
}

void sim_files_move(sim_files_t *self, const char *from, const char *to)
{
    char *from_copy = sim_files_normal(from);
    char *to_copy = sim_files_normal(to);
    sim_inode_t *inode = sim_files_lookup(self, from_copy);
    sim_inode_t *replaced = sim_files_lookup(self, to_copy);
    CHECK(inode != NULL);
    s_note_name(self, (sim_name_change_t){SIM_NAME_MOVED, from_copy, to_copy, inode, replaced});
    s_unlink(self, to_copy);
    s_link(self, to_copy, inode);
    s_unlink(self, from_copy);
    free(from_copy);
    free(to_copy);
}

void sim_files_remove(sim_files_t *self, const char *path)
{
    char *copy = sim_files_normal(path);
    sim_inode_t *inode = sim_files_lookup(self, copy);
    CHECK(inode != NULL);
    s_note_name(self, (sim_name_change_t){SIM_NAME_REMOVED, NULL, copy, inode, NULL});
    s_unlink(self, copy);
    free(copy);
}

void sim_files_sync_folder(sim_files_t *self, const char *folder)
{
    for (size_t i = self->name_count; i > 0; i--) {
        const sim_name_change_t *change = &self->names[i - 1];
        if (sim_files_is_in(change->path, folder) ||
            (change->from != NULL && sim_files_is_in(change->from, folder))) {
            s_forget_name(self, i - 1);
        }
    }
}

/* -- bytes ------------------------------------------------------------------------------------- */

static void s_resize(sim_files_t *self, sim_inode_t *inode, uint64_t size)
{
    const size_t before = inode->bytes.size;
    if (size > before) {
        uint8_t *at = buffer_extend(&inode->bytes, (size_t)size - before);
        memset(at, 0, (size_t)size - before);
    } else {
        inode->bytes.size = (size_t)size;
    }
    self->used_bytes = self->used_bytes - before + inode->bytes.size;
}

static void s_put_bytes(
    sim_files_t *self, sim_inode_t *inode, uint64_t offset, const uint8_t *bytes, size_t size)
{
    if (offset + size > inode->bytes.size) {
        s_resize(self, inode, offset + size);
    }
    if (size > 0) {
        memcpy(inode->bytes.data + offset, bytes, size);
    }
}

static sim_change_t *s_note_change(sim_inode_t *inode, uint64_t offset, uint64_t end)
{
    inode->changes = sim_files_grow(inode->changes, inode->change_count, &inode->change_capacity,
                                    sizeof(*inode->changes));
    sim_change_t *change = &inode->changes[inode->change_count++];
    *change = (sim_change_t){.offset = offset, .old_size = inode->bytes.size};
    buffer_init(&change->bytes);
    buffer_init(&change->old_bytes);
    if (offset < inode->bytes.size) {
        const uint64_t old_end = end < inode->bytes.size ? end : inode->bytes.size;
        buffer_append(&change->old_bytes, inode->bytes.data + offset, (size_t)(old_end - offset));
    }
    return change;
}

void sim_files_write(
    sim_files_t *self, sim_inode_t *inode, uint64_t offset, const uint8_t *bytes, size_t size)
{
    sim_change_t *change = s_note_change(inode, offset, offset + size);
    buffer_append(&change->bytes, bytes, size);
    s_put_bytes(self, inode, offset, bytes, size);
    change->new_size = inode->bytes.size;
}

void sim_files_truncate(sim_files_t *self, sim_inode_t *inode, uint64_t size)
{
    sim_change_t *change = s_note_change(inode, size, UINT64_MAX);
    change->truncates = true;
    change->new_size = size;
    s_resize(self, inode, size);
}

void sim_files_sync(sim_inode_t *inode)
{
    for (size_t i = 0; i < inode->change_count; i++) {
        buffer_done(&inode->changes[i].bytes);
        buffer_done(&inode->changes[i].old_bytes);
    }
    inode->change_count = 0;
}

void sim_files_replace(sim_files_t *self, sim_inode_t *inode, const void *bytes, size_t size)
{
    sim_files_sync(inode);
    s_resize(self, inode, 0);
    s_put_bytes(self, inode, 0, bytes, size);
}

/* -- the end of what is pending ---------------------------------------------------------------- */

void sim_files_settle(sim_files_t *self)
{
    while (self->name_count > 0) {
        s_forget_name(self, self->name_count - 1);
    }
    for (size_t i = 0; i < self->entry_count; i++) {
        sim_files_sync(self->entries[i].inode);
    }
}

/* Puts an inode under a path as it was when it was synced last. */
static void s_put_synced(sim_files_t *self, const char *path, const sim_inode_t *inode)
{
    sim_inode_t *copy = sim_files_put(self, path, inode->folder);
    sim_files_replace(self, copy, inode->bytes.data, inode->bytes.size);
    for (size_t i = inode->change_count; i > 0; i--) {
        const sim_change_t *change = &inode->changes[i - 1];
        s_resize(self, copy, change->old_size);
        if (change->old_bytes.size > 0) {
            s_put_bytes(self, copy, change->offset, change->old_bytes.data, change->old_bytes.size);
        }
    }
}

/* Takes a pending change of names back in a copy, as s_undo_name does. */
static void s_undo_name_in(sim_files_t *copy, const sim_name_change_t *change)
{
    bool is_there = sim_files_lookup(copy, change->path) != NULL;
    switch (change->kind) {
    case SIM_NAME_CREATED:
        s_unlink(copy, change->path);
        break;
    case SIM_NAME_REMOVED:
        if (!is_there) {
            s_put_synced(copy, change->path, change->inode);
        }
        break;
    case SIM_NAME_MOVED:
        if (!is_there) {
            break;
        }
        s_unlink(copy, change->path);
        if (sim_files_lookup(copy, change->from) == NULL) {
            s_put_synced(copy, change->from, change->inode);
        }
        if (change->replaced != NULL) {
            s_put_synced(copy, change->path, change->replaced);
        }
        break;
    }
}

void sim_files_copy_synced(const sim_files_t *self, sim_files_t *to)
{
    CHECK(to->entry_count == 0);
    for (size_t i = 0; i < self->entry_count; i++) {
        s_put_synced(to, self->entries[i].path, self->entries[i].inode);
    }
    for (size_t i = self->name_count; i > 0; i--) {
        s_undo_name_in(to, &self->names[i - 1]);
    }
}

static void s_tear(sim_files_t *self, sim_inode_t *inode, const sim_change_t *change, prng_t *prng)
{
    uint64_t at = 0;
    while (at < change->bytes.size) {
        const uint64_t in_sector = (change->offset + at) % SIM_SECTOR_SIZE;
        uint64_t size = SIM_SECTOR_SIZE - in_sector;
        size = size > change->bytes.size - at ? change->bytes.size - at : size;
        if (prng_chance(prng, 0.5)) {
            s_put_bytes(self, inode, change->offset + at, change->bytes.data + at, (size_t)size);
        }
        at += size;
    }
    self->torn_count++;
}

typedef enum { FATE_KEPT, FATE_LOST, FATE_TORN, FATE_COUNT } fate_t;

/* One change that was never synced: what the disk made of it. */
static void s_meet_fate(
    sim_files_t *self, sim_inode_t *inode, const sim_change_t *change, prng_t *prng, bool tearing)
{
    const fate_t fate = tearing ? (fate_t)prng_below(prng, FATE_COUNT) : FATE_LOST;
    if (change->truncates) {
        if (fate != FATE_LOST) {
            s_resize(self, inode, change->new_size);
        }
        return;
    }
    if (fate == FATE_KEPT) {
        s_put_bytes(self, inode, change->offset, change->bytes.data, change->bytes.size);
        return;
    }
    if (fate == FATE_TORN) {
        s_tear(self, inode, change, prng);
    } else {
        self->lost_count++;
    }
    const bool grown = tearing && prng_chance(prng, 0.3);
    if (grown && change->offset + change->bytes.size > inode->bytes.size) {
        s_resize(self, inode, change->offset + change->bytes.size);
    }
}

static void s_crash_inode(sim_files_t *self, sim_inode_t *inode, prng_t *prng, bool tearing)
{
    for (size_t i = inode->change_count; i > 0; i--) {
        const sim_change_t *change = &inode->changes[i - 1];
        s_resize(self, inode, change->old_size);
        if (change->old_bytes.size > 0) {
            memcpy(inode->bytes.data + change->offset, change->old_bytes.data,
                   change->old_bytes.size);
        }
    }
    for (size_t i = 0; i < inode->change_count; i++) {
        s_meet_fate(self, inode, &inode->changes[i], prng, tearing);
    }
    sim_files_sync(inode);
}

void sim_files_crash(sim_files_t *self, prng_t *prng, bool tearing)
{
    /* a journal keeps its order: everything up to some moment, nothing after it */
    const uint64_t kept = tearing ? prng_below(prng, self->name_count + 1) : 0;
    while (self->name_count > kept) {
        s_undo_name(self);
    }
    while (self->name_count > 0) {
        s_forget_name(self, self->name_count - 1);
    }
    for (size_t i = 0; i < self->entry_count; i++) {
        s_crash_inode(self, self->entries[i].inode, prng, tearing);
    }
}
