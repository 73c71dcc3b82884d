#include "services/keeper/keeper_socket.h"

#include "common/base/bytes.h"
#include "common/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { FILE_NAME_SIZE = NAME_LENGTH_MAX + 8, FOLDER_PATH_SIZE_MAX = 4096, PID_TEXT_SIZE = 24 };

static_assert(sizeof("/proc/self/fd/2147483647/") + FILE_NAME_SIZE <=
                  sizeof(((struct sockaddr_un *)NULL)->sun_path),
              "every name fits a socket path");

bool keeper_name_is_valid(const char *name)
{
    static const char s_allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    size_t length = strlen(name);
    return length >= 1 && length <= NAME_LENGTH_MAX && name[0] != '.' &&
           strspn(name, s_allowed) == length;
}

void keeper_errbuf_errno(errbuf_t *errbuf, const char *what, int error_number)
{
    char text[128];
    if (strerror_r(error_number, text, sizeof(text)) != 0) {
        (void)snprintf(text, sizeof(text), "error %d", error_number);
    }
    errbuf_set(errbuf, "%s: %s", what, text);
}

/* Every folder on the way to path, path included. Those that are there are left alone; what cannot
 * be made is found when the folder is opened. */
static void s_make_folders(const char *path)
{
    char part[FOLDER_PATH_SIZE_MAX];
    size_t length = strlen(path);
    if (length >= sizeof(part)) {
        return;
    }
    (void)memcpy(part, path, length + 1);
    for (size_t i = 1; i < length; i++) {
        if (part[i] == '/') {
            part[i] = '\0';
            (void)mkdir(part, 0755);
            part[i] = '/';
        }
    }
    (void)mkdir(part, 0755);
}

err_t keeper_socket_open_folder(const char *run, bool create, int *ret_folder_fd, errbuf_t *errbuf)
{
    if (create) {
        s_make_folders(run);
    }
    int fd = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        int error_number = errno;
        keeper_errbuf_errno(errbuf, run, error_number);
        errbuf_prefix(errbuf, "opening the run folder");
        return error_number == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    *ret_folder_fd = fd;
    return ERR_OK;
}

/* The pid that the holder of the lock wrote; 0 when there is none to read yet. */
static uint64_t s_lock_holder(int lock_fd)
{
    char text[PID_TEXT_SIZE];
    ssize_t size = pread(lock_fd, text, sizeof(text) - 1, 0);
    if (size <= 0) {
        return 0;
    }
    text[size] = '\0';
    text[strcspn(text, "\n")] = '\0';
    uint64_t pid = 0;
    return text_to_u64(text, 1, INT32_MAX, &pid) == ERR_OK ? pid : 0;
}

static err_t s_write_pid(int lock_fd)
{
    char text[PID_TEXT_SIZE];
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    CHECK(length > 0 && length < (int)sizeof(text));
    if (ftruncate(lock_fd, 0) != 0 || pwrite(lock_fd, text, (size_t)length, 0) != length) {
        return ERR_IO;
    }
    return ERR_OK;
}

err_t keeper_socket_lock(int folder_fd, const char *name, int *ret_lock_fd, errbuf_t *errbuf)
{
    CHECK(keeper_name_is_valid(name));
    char file[FILE_NAME_SIZE];
    (void)snprintf(file, sizeof(file), "%s.lock", name);
    int fd = openat(folder_fd, file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        keeper_errbuf_errno(errbuf, file, errno);
        errbuf_prefix(errbuf, "opening the lock file");
        return ERR_IO;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        errbuf_set(
            errbuf,
            "expected no other keeper of %s in this run folder, found one with pid %llu: stop "
            "it with the verb `stop`",
            name, (unsigned long long)s_lock_holder(fd));
        (void)close(fd);
        return ERR_LOCKED;
    }
    if (s_write_pid(fd) != ERR_OK) {
        keeper_errbuf_errno(errbuf, file, errno);
        errbuf_prefix(errbuf, "writing the lock file");
        (void)close(fd);
        return ERR_IO;
    }
    *ret_lock_fd = fd;
    return ERR_OK;
}

static struct sockaddr_un s_address(int folder_fd, const char *name)
{
    CHECK(keeper_name_is_valid(name));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s.sock",
                          folder_fd, name);
    CHECK(length > 0 && (size_t)length < sizeof(address.sun_path));
    return address;
}

err_t keeper_socket_listen(int folder_fd, const char *name, int *ret_listen_fd, errbuf_t *errbuf)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        keeper_errbuf_errno(errbuf, "making the control socket", errno);
        return ERR_IO;
    }
    keeper_socket_remove(folder_fd, name);
    struct sockaddr_un address = s_address(folder_fd, name);
    /* Whoever may signal the keeper may control it, and nobody else. */
    mode_t mask = umask(0077);
    int bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    int error_number = errno;
    (void)umask(mask);
    if (bound != 0 || listen(fd, KEEPER_CLIENT_COUNT_MAX) != 0) {
        keeper_errbuf_errno(errbuf, address.sun_path, bound != 0 ? error_number : errno);
        errbuf_prefix(errbuf, "binding the control socket");
        (void)close(fd);
        return ERR_IO;
    }
    *ret_listen_fd = fd;
    return ERR_OK;
}

err_t keeper_socket_connect(int folder_fd, const char *name, int *ret_fd, errbuf_t *errbuf)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        keeper_errbuf_errno(errbuf, "making a socket", errno);
        return ERR_IO;
    }
    struct sockaddr_un address = s_address(folder_fd, name);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        bool absent = errno == ENOENT || errno == ECONNREFUSED;
        keeper_errbuf_errno(errbuf, "connecting to its keeper", errno);
        (void)close(fd);
        return absent ? ERR_UNREACHABLE : ERR_IO;
    }
    *ret_fd = fd;
    return ERR_OK;
}

void keeper_socket_remove(int folder_fd, const char *name)
{
    char file[FILE_NAME_SIZE];
    (void)snprintf(file, sizeof(file), "%s.sock", name);
    /* Gone already is as good. */
    (void)unlinkat(folder_fd, file, 0);
}
