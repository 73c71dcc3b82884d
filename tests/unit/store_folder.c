#include "tests/unit/store_folder.h"

#include "common/base/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void store_folder_init(store_folder_t *self)
{
    const char *parent = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): before any thread */
    (void)snprintf(self->path, sizeof(self->path), "%s/tidal-store-XXXXXX",
                   parent != NULL ? parent : "/tmp");
    char *made = mkdtemp(self->path);
    CHECK(made != NULL);
    (void)snprintf(self->store, sizeof(self->store), "%s/store", self->path);
}

const char *store_folder_file(const store_folder_t *self, const char *name)
{
    static char s_path[STORE_FOLDER_PATH_SIZE_MAX + 64];
    (void)snprintf(s_path, sizeof(s_path), "%s/%s", self->store, name);
    return s_path;
}

void store_folder_done(store_folder_t *self)
{
    static const char *const s_names[] = {"data.mdb", "lock.mdb", "owner.lock", "new.mdb"};
    for (size_t i = 0; i < sizeof(s_names) / sizeof(s_names[0]); i++) {
        (void)unlink(store_folder_file(self, s_names[i])); /* may be missing */
    }
    (void)rmdir(self->store); /* may be missing */
    int code = rmdir(self->path);
    CHECK(code == 0);
}

slice_t store_text(const char *text)
{
    return slice_make(text, strlen(text));
}

uint8_t *store_read_file(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY);
    struct stat status;
    CHECK(fd >= 0);
    int code = fstat(fd, &status);
    CHECK(code == 0);
    size_t size = (size_t)status.st_size;
    uint8_t *bytes = malloc(size + 1);
    CHECK(bytes != NULL);
    ssize_t got = read(fd, bytes, size);
    CHECK(got == (ssize_t)size);
    (void)close(fd);
    *ret_size = size;
    return bytes;
}

void store_write_file(const char *path, const uint8_t *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    ssize_t put = write(fd, bytes, size);
    CHECK(put == (ssize_t)size);
    (void)close(fd);
}

err_t store_await(const store_t *store, int event_fd)
{
    errbuf_t errbuf;
    err_t err = store->poll(store->context, &errbuf);
    while (err == ERR_AGAIN) {
        struct pollfd wanted = {.fd = event_fd, .events = POLLIN};
        int count = poll(&wanted, 1, 30000);
        CHECK(count == 1);
        err = store->poll(store->context, &errbuf);
    }
    return err;
}

bool store_holds(const store_t *store, const char *key, const char *value)
{
    uint8_t found[256];
    size_t size = 0;
    err_t err = store->get(store->context, store_text(key).data, strlen(key), found, sizeof(found),
                           &size, NULL);
    return err == ERR_OK && slice_equal(slice_make(found, size), store_text(value));
}
