#include "common/env/env_port.h"

#include "common/base/bytes.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 320, STATE_LISTEN = 0x0a };

/* One line of /proc/net/tcp: "sl: address:port address:port state ... inode". */
static bool s_parse_line(const char *line, uint64_t port, char *ret_inode, size_t inode_size)
{
    unsigned line_port = 0;
    unsigned state = 0;
    char inode[32];
    /* Fields as the kernel writes them; %n$ and lengths are fixed.
     * NOLINTNEXTLINE(cert-err34-c) */
    int count = sscanf(line, " %*d: %*8x:%4x %*8x:%*4x %2x %*s %*s %*s %*s %*s %31s", &line_port,
                       &state, inode);
    if (count != 3 || line_port != port || state != STATE_LISTEN) {
        return false;
    }
    (void)snprintf(ret_inode, inode_size, "socket:[%s]", inode);
    return true;
}

static bool s_find_inode(uint64_t port, char *ret_inode, size_t inode_size)
{
    FILE *file = fopen("/proc/net/tcp", "re");
    if (file == NULL) {
        return false;
    }
    char line[512];
    bool is_found = false;
    while (!is_found && fgets(line, sizeof(line), file) != NULL) {
        is_found = s_parse_line(line, port, ret_inode, inode_size);
    }
    (void)fclose(file); /* was only read */
    return is_found;
}

static bool s_process_has(const char *pid, const char *inode)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return false;
    }
    bool is_found = false;
    /* One thread reads this folder. NOLINTBEGIN(concurrency-mt-unsafe) */
    for (struct dirent *entry = readdir(folder); entry != NULL && !is_found;
         entry = readdir(folder)) {
        char target[64];
        (void)snprintf(path, sizeof(path), "/proc/%.16s/fd/%.16s", pid, entry->d_name);
        ssize_t size = readlink(path, target, sizeof(target) - 1);
        if (size > 0) {
            target[size] = '\0';
            is_found = strcmp(target, inode) == 0;
        }
    }
    /* NOLINTEND(concurrency-mt-unsafe) */
    (void)closedir(folder); /* was only read */
    return is_found;
}

static void s_read_name(const char *pid, char *ret_name)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
    (void)snprintf(ret_name, ENV_PORT_NAME_SIZE, "?");
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    if (fgets(ret_name, ENV_PORT_NAME_SIZE, file) != NULL) {
        ret_name[strcspn(ret_name, "\n")] = '\0';
    }
    (void)fclose(file); /* was only read */
}

err_t env_port_find_holder(const char *endpoint, env_port_holder_t *ret_holder)
{
    const char *colon = strrchr(endpoint, ':');
    uint64_t port = 0;
    if (colon == NULL || text_to_u64(colon + 1, 1, 65535, &port) != ERR_OK) {
        return ERR_INVALID;
    }
    char inode[64];
    DIR *folder = s_find_inode(port, inode, sizeof(inode)) ? opendir("/proc") : NULL;
    if (folder == NULL) {
        return ERR_NOT_FOUND;
    }
    err_t err = ERR_NOT_FOUND;
    /* One thread reads this folder. NOLINTBEGIN(concurrency-mt-unsafe) */
    for (struct dirent *entry = readdir(folder); entry != NULL && err != ERR_OK;
         entry = readdir(folder)) {
        uint64_t pid = 0;
        bool is_process = text_to_u64(entry->d_name, 1, INT32_MAX, &pid) == ERR_OK;
        if (is_process && s_process_has(entry->d_name, inode)) {
            ret_holder->pid = (long)pid;
            s_read_name(entry->d_name, ret_holder->name);
            err = ERR_OK;
        }
    }
    /* NOLINTEND(concurrency-mt-unsafe) */
    (void)closedir(folder); /* was only read */
    return err;
}
