#include "common/env/disk_posix.h"

#include "common/base/bounds.h"
#include "common/base/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct disk_file {
    int fd;
};

struct disk_posix {
    disk_t disk;
    int root_fd;
};

enum { FILE_MODE = 0644, FOLDER_MODE = 0755 };

/* -- errors ------------------------------------------------------------------------------------ */

static err_t s_code(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return ERR_DISK_FULL;
    default:
        return ERR_IO;
    }
}

/* From errno, at once after the call that failed. in path  NULL for an open file */
static err_t s_fail(const char *call, const char *path, errbuf_t *errbuf)
{
    const int number = errno;
    char text[128];
    if (strerror_r(number, text, sizeof(text)) != 0) {
        (void)snprintf(text, sizeof(text), "error %d", number);
    }
    if (path != NULL) {
        errbuf_set(errbuf, "%s %s: %s", call, path, text);
    } else {
        errbuf_set(errbuf, "%s: %s", call, text);
    }
    return s_code(number);
}

/* -- files ------------------------------------------------------------------------------------- */

static int s_open_fd(int root_fd, const char *path, int flags)
{
    int fd = -1;
    do {
        fd = openat(root_fd, path, flags | O_CLOEXEC, FILE_MODE);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static err_t s_open(
    void *context, const char *path, disk_mode_t mode, disk_file_t **ret_file, errbuf_t *errbuf)
{
    const disk_posix_t *self = context;
    int flags = O_RDONLY;
    if (mode == DISK_WRITE) {
        flags = O_RDWR;
    } else if (mode == DISK_CREATE) {
        flags = O_RDWR | O_CREAT;
    }
    const int fd = s_open_fd(self->root_fd, path, flags);
    if (fd < 0) {
        return s_fail("open", path, errbuf);
    }
    disk_file_t *file = malloc(sizeof(*file));
    CHECK(file != NULL);
    file->fd = fd;
    *ret_file = file;
    return ERR_OK;
}

static void s_close(void *context, disk_file_t **file_p)
{
    (void)context;
    if (*file_p == NULL) {
        return;
    }
    /* Nothing is learned from its result: what had to be durable was synced before. */
    (void)close((*file_p)->fd);
    free(*file_p);
    *file_p = NULL;
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
    (void)context;
    size_t done = 0;
    while (done < size) {
        const ssize_t got =
            pread(file->fd, (uint8_t *)bytes + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return s_fail("read", NULL, errbuf);
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *ret_size = done;
    return ERR_OK;
}

static err_t s_write_at(void *context,
                        disk_file_t *file,
                        uint64_t offset,
                        const void *bytes,
                        size_t size,
                        errbuf_t *errbuf)
{
    (void)context;
    size_t done = 0;
    while (done < size) {
        const ssize_t put =
            pwrite(file->fd, (const uint8_t *)bytes + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return s_fail("write", NULL, errbuf);
        }
        done += (size_t)put;
    }
    return ERR_OK;
}

static err_t s_sync(void *context, disk_file_t *file, errbuf_t *errbuf)
{
    (void)context;
    return fdatasync(file->fd) == 0 ? ERR_OK : s_fail("fdatasync", NULL, errbuf);
}

static err_t s_truncate(void *context, disk_file_t *file, uint64_t size, errbuf_t *errbuf)
{
    (void)context;
    int result = -1;
    do {
        result = ftruncate(file->fd, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? ERR_OK : s_fail("truncate", NULL, errbuf);
}

static err_t s_size(void *context, disk_file_t *file, uint64_t *ret_size, errbuf_t *errbuf)
{
    (void)context;
    struct stat status;
    if (fstat(file->fd, &status) != 0) {
        return s_fail("stat", NULL, errbuf);
    }
    *ret_size = (uint64_t)status.st_size;
    return ERR_OK;
}

/* -- names ------------------------------------------------------------------------------------- */

static err_t s_rename(void *context, const char *from, const char *to, errbuf_t *errbuf)
{
    const disk_posix_t *self = context;
    if (renameat(self->root_fd, from, self->root_fd, to) != 0) {
        return s_fail("rename", from, errbuf);
    }
    return ERR_OK;
}

static err_t s_unlink(void *context, const char *path, errbuf_t *errbuf)
{
    const disk_posix_t *self = context;
    return unlinkat(self->root_fd, path, 0) == 0 ? ERR_OK : s_fail("unlink", path, errbuf);
}

static err_t s_sync_folder(void *context, const char *path, errbuf_t *errbuf)
{
    const disk_posix_t *self = context;
    const int fd = s_open_fd(self->root_fd, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return s_fail("open folder", path, errbuf);
    }
    err_t err = fsync(fd) == 0 ? ERR_OK : s_fail("sync folder", path, errbuf);
    (void)close(fd);
    return err;
}

/* Creates the folder and syncs the one that it is in. One that is there already is synced too: the
 * process that made it may have died before it did. Not above the root, which is not ours. */
static err_t s_make_folder(disk_posix_t *self, const char *path, errbuf_t *errbuf)
{
    char parent[WAL_PATH_SIZE_MAX];
    const bool created = mkdirat(self->root_fd, path, FOLDER_MODE) == 0;
    if (!created && errno != EEXIST) {
        return s_fail("make folder", path, errbuf);
    }
    if (!created && path[0] == '/') {
        return ERR_OK;
    }
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        (void)snprintf(parent, sizeof(parent), ".");
    } else {
        /* with its slash, so that the parent of "/a" is "/" */
        (void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path) + 1, path);
    }
    return s_sync_folder(self, parent, errbuf);
}

static err_t s_make_folders(void *context, const char *path, errbuf_t *errbuf)
{
    disk_posix_t *self = context;
    char prefix[WAL_PATH_SIZE_MAX];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof(prefix)) {
        errbuf_set(errbuf, "make folders: expected a path of 1..%zu bytes, found %zu",
                   sizeof(prefix) - 1, length);
        return ERR_IO;
    }
    err_t err = ERR_OK;
    for (size_t i = 1; i <= length && err == ERR_OK; i++) {
        if ((path[i] == '/' || path[i] == '\0') && path[i - 1] != '/') {
            memcpy(prefix, path, i);
            prefix[i] = '\0';
            err = s_make_folder(self, prefix, errbuf);
        }
    }
    return err;
}

/* -- lists ------------------------------------------------------------------------------------- */

typedef struct {
    char **items; /* each owned */
    size_t count;
    size_t capacity;
} names_t;

static void s_names_add(names_t *names, const char *name)
{
    if (names->count == names->capacity) {
        names->capacity = names->capacity == 0 ? 64 : 2 * names->capacity;
        char **items = realloc(names->items, names->capacity * sizeof(*items));
        CHECK(items != NULL);
        names->items = items;
    }
    char *copy = malloc(strlen(name) + 1);
    CHECK(copy != NULL);
    memcpy(copy, name, strlen(name) + 1);
    names->items[names->count++] = copy;
}

static void s_names_done(names_t *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i]);
    }
    free(names->items);
    *names = (names_t){NULL, 0, 0};
}

static int s_compare_names(const void *a, const void *b)
{
    const char *const *name_a = a;
    const char *const *name_b = b;
    return strcmp(*name_a, *name_b);
}

static err_t s_read_names(DIR *folder, const char *path, names_t *names, errbuf_t *errbuf)
{
    for (;;) {
        errno = 0;
        /* One thread reads this stream; readdir is safe for that. */
        const struct dirent *entry = readdir(folder); // NOLINT(concurrency-mt-unsafe)
        if (entry == NULL) {
            return errno == 0 ? ERR_OK : s_fail("read folder", path, errbuf);
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            s_names_add(names, entry->d_name);
        }
    }
}

/* A name that is gone by now is left out. */
static err_t s_report_name(int folder_fd,
                           const char *name,
                           disk_list_fn callback,
                           void *callback_context,
                           errbuf_t *errbuf)
{
    struct stat status;
    if (fstatat(folder_fd, name, &status, 0) != 0) {
        return errno == ENOENT ? ERR_OK : s_fail("stat", name, errbuf);
    }
    callback(callback_context, name,
             S_ISDIR(status.st_mode) ? UINT64_MAX : (uint64_t)status.st_size);
    return ERR_OK;
}

static err_t s_list(void *context,
                    const char *path,
                    disk_list_fn callback,
                    void *callback_context,
                    errbuf_t *errbuf)
{
    const disk_posix_t *self = context;
    names_t names = {NULL, 0, 0};
    const int fd = s_open_fd(self->root_fd, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return s_fail("open folder", path, errbuf);
    }
    DIR *folder = fdopendir(fd); /* owns fd from here on */
    if (folder == NULL) {
        err_t err = s_fail("open folder", path, errbuf);
        (void)close(fd);
        return err;
    }
    err_t err = s_read_names(folder, path, &names, errbuf);
    if (err == ERR_OK && names.count > 0) {
        qsort(names.items, names.count, sizeof(*names.items), s_compare_names);
    }
    for (size_t i = 0; i < names.count && err == ERR_OK; i++) {
        err = s_report_name(fd, names.items[i], callback, callback_context, errbuf);
    }
    s_names_done(&names);
    (void)closedir(folder);
    return err;
}

/* -- space ------------------------------------------------------------------------------------- */

/* Asks the nearest folder above that exists: this one may still have to be made. */
static err_t s_free_bytes(void *context, const char *path, uint64_t *ret_free, errbuf_t *errbuf)
{
    const disk_posix_t *self = context;
    char above[WAL_PATH_SIZE_MAX];
    int fd = -1;
    (void)snprintf(above, sizeof(above), "%s", path);
    for (;;) {
        fd = s_open_fd(self->root_fd, above, O_RDONLY);
        char *slash = strrchr(above, '/');
        if (fd >= 0 || errno != ENOENT || slash == NULL || slash == above) {
            break;
        }
        *slash = '\0';
    }
    if (fd < 0 && errno == ENOENT) {
        fd = s_open_fd(self->root_fd, path[0] == '/' ? "/" : ".", O_RDONLY);
    }
    if (fd < 0) {
        return s_fail("open", path, errbuf);
    }
    struct statvfs status;
    err_t err = ERR_OK;
    if (fstatvfs(fd, &status) == 0) {
        *ret_free = (uint64_t)status.f_bavail * status.f_frsize;
    } else {
        err = s_fail("statvfs", path, errbuf);
    }
    (void)close(fd);
    return err;
}

/* -- life -------------------------------------------------------------------------------------- */

err_t disk_posix_new(const char *root, disk_posix_t **ret_self, errbuf_t *errbuf)
{
    const int fd = s_open_fd(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return s_fail("open folder", root, errbuf);
    }
    disk_posix_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->root_fd = fd;
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
    *ret_self = self;
    return ERR_OK;
}

void disk_posix_destroy(disk_posix_t **self_p)
{
    disk_posix_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    (void)close(self->root_fd);
    free(self);
    *self_p = NULL;
}

const disk_t *disk_posix_disk(const disk_posix_t *self)
{
    return &self->disk;
}
