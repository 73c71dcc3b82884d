#include "common/env/env_lock.h"

#include "common/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, HOLDER_SIZE = 128, FOLDER_MODE = 0755, FILE_MODE = 0644 };

struct env_lock {
    int fd;
};

static err_t s_fail(const char *what, const char *path, errbuf_t *errbuf)
{
    char text[128];
    int fail_errno = errno;
    if (strerror_r(fail_errno, text, sizeof(text)) != 0) {
        (void)snprintf(text, sizeof(text), "errno %d", fail_errno);
    }
    errbuf_set(errbuf, "%s %s: %s: give a data folder that this user can write (--data)", what,
               path, text);
    return ERR_IO;
}

static err_t s_make_folder(const char *path, errbuf_t *errbuf)
{
    if (mkdir(path, FOLDER_MODE) != 0 && errno != EEXIST) {
        return s_fail("make folder", path, errbuf);
    }
    return ERR_OK;
}

static err_t s_make_folders(const char *folder, errbuf_t *errbuf)
{
    char path[PATH_SIZE];
    size_t size = strlen(folder);
    if (size == 0 || size >= sizeof(path)) {
        errbuf_set(errbuf, "data folder: expected a path of 1..%d characters, found %zu",
                   PATH_SIZE - 1, size);
        return ERR_IO;
    }
    memcpy(path, folder, size + 1);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        err_t err = s_make_folder(path, errbuf);
        if (err != ERR_OK) {
            return err;
        }
        *slash = '/';
    }
    return s_make_folder(path, errbuf);
}

/* The holder writes "<pid> <name>" into the file; it may just have begun to. */
static void s_read_holder(int fd, char ret_text[HOLDER_SIZE])
{
    ssize_t size = pread(fd, ret_text, HOLDER_SIZE - 1, 0);
    ret_text[size > 0 ? size : 0] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
    if (ret_text[0] == '\0') {
        (void)snprintf(ret_text, HOLDER_SIZE, "that has just started");
    }
}

static err_t s_lock(int fd, const char *folder, const char *process_name, errbuf_t *errbuf)
{
    int result = 0;
    do {
        result = flock(fd, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && errno == EWOULDBLOCK) {
        char holder[HOLDER_SIZE];
        s_read_holder(fd, holder);
        errbuf_set(
            errbuf,
            "lock %s/lock: held by process %s: one process only may use this folder; stop the "
            "other one (./scripts/mesh down), or give another folder (--data)",
            folder, holder);
        return ERR_LOCKED;
    }
    if (result != 0) {
        return s_fail("lock", folder, errbuf);
    }
    char text[HOLDER_SIZE];
    int size = snprintf(text, sizeof(text), "%ld %s\n", (long)getpid(), process_name);
    CHECK(size > 0 && (size_t)size < sizeof(text));
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size) {
        return s_fail("write", folder, errbuf);
    }
    return ERR_OK;
}

err_t env_lock_take(const char *folder,
                    const char *process_name,
                    env_lock_t **ret_lock,
                    errbuf_t *errbuf)
{
    char path[PATH_SIZE + 8];
    err_t err = s_make_folders(folder, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    (void)snprintf(path, sizeof(path), "%s/lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return s_fail("open", path, errbuf);
    }
    err = s_lock(fd, folder, process_name, errbuf);
    if (err != ERR_OK) {
        (void)close(fd); /* nothing of worth was written */
        return err;
    }
    env_lock_t *self = malloc(sizeof(*self));
    CHECK(self != NULL);
    self->fd = fd;
    *ret_lock = self;
    return ERR_OK;
}

void env_lock_release(env_lock_t **self_p)
{
    CHECK(self_p != NULL);
    if (*self_p == NULL) {
        return;
    }
    (void)close((*self_p)->fd); /* the kernel gives the lock up with it */
    free(*self_p);
    *self_p = NULL;
}
