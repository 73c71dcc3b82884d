#include "common/store/store_lmdb_file.h"

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/store/store_lmdb.h"
#include "common/store/store_lmdb_check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    STORE_VERSION = 1, /* of the files as store_lmdb.h describes them */
    PATH_SIZE_MAX = 4096,
    NAMED_TREES = 2,
    FILE_MODE = 0644,
    FOLDER_MODE = 0755,
    SNAPSHOT_TRY_COUNT_MAX = 100 /* a writer overwrites a snapshot once in two commits */
};

/* The meaning of what LMDB or the system returned. */
static err_t s_err_of(int code)
{
    switch (code) {
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_DISK_FULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return ERR_UNSUPPORTED;
    case MDB_READERS_FULL:
        return ERR_FULL;
    case ENOENT:
        return ERR_NOT_FOUND;
    default:
        return ERR_IO;
    }
}

err_t store_lmdb_fail(int code, const char *what, errbuf_t *errbuf)
{
    if (code == MDB_MAP_FULL) {
        errbuf_set(errbuf, "%s: the map is full: reopen with a larger map size", what);
    } else {
        errbuf_set(errbuf, "%s: %s", what, mdb_strerror(code));
    }
    return s_err_of(code);
}

MDB_val store_lmdb_val(const void *bytes, size_t size)
{
    MDB_val val = {size, NULL};
    (void)memcpy(&val.mv_data, &bytes, sizeof(bytes));
    return val;
}

static void s_say_damaged(errbuf_t *errbuf)
{
    errbuf_prefix(errbuf, "data.mdb is damaged (move the folder away and let the state be rebuilt "
                          "from the log)");
}

static err_t s_path(const char *folder,
                    const char *name,
                    char ret_path[PATH_SIZE_MAX],
                    errbuf_t *errbuf)
{
    int length = snprintf(ret_path, PATH_SIZE_MAX, "%s/%s", folder, name);
    if (length < 0 || length >= PATH_SIZE_MAX) {
        errbuf_set(errbuf, "the path is longer than %d bytes", PATH_SIZE_MAX);
        return ERR_INVALID;
    }
    return ERR_OK;
}

static err_t s_sync_folder(const char *path, errbuf_t *errbuf)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return store_lmdb_fail(errno, "open the folder to sync it", errbuf);
    }
    int code = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd); /* opened for reading: nothing can be lost */
    return code == 0 ? ERR_OK : store_lmdb_fail(code, "sync the folder", errbuf);
}

/* The folder exists and its name is durable in its parent. */
static err_t s_make_folder(const char *folder, errbuf_t *errbuf)
{
    if (mkdir(folder, FOLDER_MODE) != 0) {
        return errno == EEXIST ? ERR_OK : store_lmdb_fail(errno, "create the folder", errbuf);
    }
    char parent[PATH_SIZE_MAX];
    err_t err = s_path(folder, "..", parent, errbuf);
    return err != ERR_OK ? err : s_sync_folder(parent, errbuf);
}

static err_t s_refuse_locked(int lock_fd, errbuf_t *errbuf)
{
    char owner[32] = "";
    ssize_t size = pread(lock_fd, owner, sizeof(owner) - 1, 0);
    owner[size > 0 ? size : 0] = '\0';
    errbuf_set(errbuf, "held by the process %s: stop it first", owner[0] != '\0' ? owner : "?");
    return ERR_LOCKED;
}

/* Becomes the one process that writes; the lock ends with the process. */
static err_t s_take_lock(const char *folder, int *ret_fd, errbuf_t *errbuf)
{
    char path[PATH_SIZE_MAX];
    err_t err = s_path(folder, "owner.lock", path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return store_lmdb_fail(errno, "open owner.lock", errbuf);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK ? s_refuse_locked(fd, errbuf)
                                   : store_lmdb_fail(errno, "lock owner.lock", errbuf);
        (void)close(fd); /* nothing was written */
        return err;
    }
    char owner[32];
    int size = snprintf(owner, sizeof(owner), "%ld", (long)getpid());
    /* For people only: without the id the message of a second opener says "?". */
    (void)(ftruncate(fd, 0) == 0 && pwrite(fd, owner, (size_t)size, 0) == size);
    *ret_fd = fd;
    return ERR_OK;
}

static err_t s_new_env(uint64_t map_size, MDB_env **ret_env, errbuf_t *errbuf)
{
    MDB_env *env = NULL;
    int code = mdb_env_create(&env);
    CHECK(code == 0);
    code = mdb_env_set_maxdbs(env, NAMED_TREES);
    CHECK(code == 0);
    code = mdb_env_set_mapsize(env, (size_t)map_size);
    if (code != 0) {
        mdb_env_close(env);
        return store_lmdb_fail(code, "set the map size", errbuf);
    }
    *ret_env = env;
    return ERR_OK;
}

static int s_put_number(MDB_txn *txn, MDB_dbi about, const char *name, uint32_t number)
{
    uint8_t bytes[4];
    bytes_put_u32(bytes, number);
    MDB_val key = store_lmdb_val(name, strlen(name));
    MDB_val value = store_lmdb_val(bytes, sizeof(bytes));
    return mdb_put(txn, about, &key, &value, 0);
}

/* An empty store with what it is, durable in the file at path. */
static int s_write_first(MDB_env *env, const char *path, uint32_t content_version)
{
    MDB_txn *txn = NULL;
    MDB_dbi about;
    MDB_dbi pairs;
    int code = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, FILE_MODE);
    if (code == 0) {
        code = mdb_txn_begin(env, NULL, 0, &txn);
    }
    if (code != 0) {
        return code;
    }
    code = mdb_dbi_open(txn, "pairs", MDB_CREATE, &pairs);
    if (code == 0) {
        code = mdb_dbi_open(txn, "about", MDB_CREATE, &about);
    }
    if (code == 0) {
        code = s_put_number(txn, about, "store_version", STORE_VERSION);
    }
    if (code == 0) {
        code = s_put_number(txn, about, "content_version", content_version);
    }
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

/* data.mdb appears whole: written under another name, synced, renamed. */
static err_t s_create(const store_lmdb_file_options_t *options, const char *path, errbuf_t *errbuf)
{
    char new_path[PATH_SIZE_MAX];
    MDB_env *env = NULL;
    err_t err = s_path(options->folder, "new.mdb", new_path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    if (unlink(new_path) != 0 && errno != ENOENT) {
        return store_lmdb_fail(errno, "remove the unfinished new.mdb", errbuf);
    }
    err = s_new_env(STORE_LMDB_MAP_SIZE_MIN, &env, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    int code = s_write_first(env, new_path, options->content_version);
    mdb_env_close(env);
    if (code == 0 && rename(new_path, path) != 0) {
        code = errno;
    }
    return code == 0 ? s_sync_folder(options->folder, errbuf)
                     : store_lmdb_fail(code, "create the store", errbuf);
}

/* Looks at data.mdb before LMDB does: creates it when it is missing and may be created.
 * errs ERR_NOT_FOUND, ERR_CORRUPT, ERR_UNSUPPORTED, ERR_IO, ERR_DISK_FULL */
static err_t s_prepare_file(const store_lmdb_file_options_t *options, errbuf_t *errbuf)
{
    char path[PATH_SIZE_MAX];
    err_t err = s_path(options->folder, "data.mdb", path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && !options->is_read_only) {
        err = s_create(options, path, errbuf);
        if (err != ERR_OK) {
            return err;
        }
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return store_lmdb_fail(errno, "open data.mdb", errbuf);
    }
    err = store_lmdb_check_header(fd, errbuf);
    (void)close(fd); /* opened for reading */
    if (err == ERR_CORRUPT) {
        s_say_damaged(errbuf);
    }
    return err;
}

/* Reads the pages of the newest snapshot; a writer in another process may overtake it. */
static err_t s_check_pages(const store_lmdb_file_t *self, errbuf_t *errbuf)
{
    int fd = -1;
    int code = mdb_env_get_fd(self->env, &fd);
    CHECK(code == 0);
    err_t err = ERR_STALE;
    for (int i = 0; err == ERR_STALE && i < SNAPSHOT_TRY_COUNT_MAX; i++) {
        MDB_txn *txn = NULL;
        code = mdb_txn_begin(self->env, NULL, MDB_RDONLY, &txn);
        if (code != 0) {
            return store_lmdb_fail(code, "begin to read", errbuf);
        }
        err = store_lmdb_check(fd, mdb_txn_id(txn), errbuf);
        mdb_txn_abort(txn);
    }
    if (err == ERR_CORRUPT) {
        s_say_damaged(errbuf);
    }
    return err == ERR_STALE ? ERR_IO : err;
}

/* errs ERR_CORRUPT no such number */
static err_t s_get_number(
    MDB_txn *txn, MDB_dbi about, const char *name, uint32_t *ret_number, errbuf_t *errbuf)
{
    MDB_val key = store_lmdb_val(name, strlen(name));
    MDB_val value;
    int code = mdb_get(txn, about, &key, &value);
    if (code != 0 || value.mv_size != 4) {
        errbuf_set(errbuf, "data.mdb says nothing about its %s", name);
        return ERR_CORRUPT;
    }
    *ret_number = bytes_get_u32(value.mv_data);
    return ERR_OK;
}

static err_t s_expect_number(
    MDB_txn *txn, MDB_dbi about, const char *name, uint32_t expected, errbuf_t *errbuf)
{
    uint32_t found = 0;
    err_t err = s_get_number(txn, about, name, &found, errbuf);
    if (err == ERR_OK && found != expected) {
        errbuf_set(errbuf,
                   "expected %s %" PRIu32 ", found %" PRIu32
                   ": use the program that wrote it, or move the folder away and let the state "
                   "be rebuilt from the log",
                   name, expected, found);
        err = ERR_UNSUPPORTED;
    }
    return err;
}

/* Opens both databases and compares the versions. */
static err_t s_open_databases(store_lmdb_file_t *self, uint32_t content_version, errbuf_t *errbuf)
{
    MDB_txn *txn = NULL;
    MDB_dbi about;
    int code = mdb_txn_begin(self->env, NULL, MDB_RDONLY, &txn);
    if (code != 0) {
        return store_lmdb_fail(code, "begin to read", errbuf);
    }
    code = mdb_dbi_open(txn, "about", 0, &about);
    if (code == 0) {
        code = mdb_dbi_open(txn, "pairs", 0, &self->pairs);
    }
    err_t err = ERR_OK;
    if (code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE) {
        errbuf_set(errbuf, "data.mdb is an LMDB file, but no tidalmesh store");
        err = ERR_CORRUPT;
    } else if (code != 0) {
        err = store_lmdb_fail(code, "open the databases", errbuf);
    }
    if (err == ERR_OK) {
        err = s_expect_number(txn, about, "store_version", STORE_VERSION, errbuf);
    }
    if (err == ERR_OK) {
        err = s_expect_number(txn, about, "content_version", content_version, errbuf);
    }
    if (err != ERR_OK) {
        mdb_txn_abort(txn);
        return err;
    }
    /* Committed, not aborted: the handles then stay open. */
    code = mdb_txn_commit(txn);
    return code == 0 ? ERR_OK : store_lmdb_fail(code, "keep the databases open", errbuf);
}

/* Without permission to write, LMDB's table of readers cannot be used: then no writer may run. */
static err_t s_exclude_writer(const char *folder, int *ret_fd, errbuf_t *errbuf)
{
    char path[PATH_SIZE_MAX];
    err_t err = s_path(folder, "owner.lock", path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? ERR_OK : store_lmdb_fail(errno, "open owner.lock", errbuf);
    }
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        err = s_refuse_locked(fd, errbuf);
        errbuf_prefix(errbuf, "without permission to write here, a store is readable only while "
                              "no process writes it");
        (void)close(fd); /* opened for reading */
        return err;
    }
    *ret_fd = fd;
    return ERR_OK;
}

/* flags as of mdb_env_open. A failed open leaves an environment that can only be closed. */
static int s_try_open_env(store_lmdb_file_t *self,
                          const store_lmdb_file_options_t *options,
                          unsigned flags,
                          errbuf_t *errbuf)
{
    mdb_env_close(self->env);
    self->env = NULL;
    if (s_new_env(options->map_size_bytes, &self->env, errbuf) != ERR_OK) {
        return ENOMEM;
    }
    return mdb_env_open(self->env, options->folder, flags | MDB_NOTLS, FILE_MODE);
}

static err_t s_open_env(store_lmdb_file_t *self,
                        const store_lmdb_file_options_t *options,
                        errbuf_t *errbuf)
{
    int code = s_try_open_env(self, options, options->is_read_only ? MDB_RDONLY : 0, errbuf);
    if (options->is_read_only && (code == EACCES || code == EPERM || code == EROFS)) {
        err_t err = s_exclude_writer(options->folder, &self->lock_fd, errbuf);
        if (err != ERR_OK) {
            return err;
        }
        code = s_try_open_env(self, options, MDB_RDONLY | MDB_NOLOCK, errbuf);
    }
    if (code == ENOMEM) {
        errbuf_set(errbuf, "no address space for a map of %" PRIu64 " MiB: lower the map size",
                   options->map_size_bytes >> 20);
        return ERR_IO;
    }
    return code == 0 ? ERR_OK : store_lmdb_fail(code, "open data.mdb", errbuf);
}

static err_t s_check_map_size(uint64_t size, errbuf_t *errbuf)
{
    if (size < STORE_LMDB_MAP_SIZE_MIN || size > STORE_LMDB_MAP_SIZE_MAX) {
        errbuf_set(errbuf, "expected a map size of 1 MiB to 64 TiB, found %" PRIu64 " bytes", size);
        return ERR_INVALID;
    }
    return ERR_OK;
}

static err_t s_become_owner(store_lmdb_file_t *self, const char *folder, errbuf_t *errbuf)
{
    err_t err = s_make_folder(folder, errbuf);
    return err != ERR_OK ? err : s_take_lock(folder, &self->lock_fd, errbuf);
}

err_t store_lmdb_file_open(const store_lmdb_file_options_t *options,
                           store_lmdb_file_t *ret_file,
                           errbuf_t *errbuf)
{
    store_lmdb_file_t self = {.lock_fd = -1};
    err_t err = s_check_map_size(options->map_size_bytes, errbuf);
    if (err == ERR_OK && !options->is_read_only) {
        err = s_become_owner(&self, options->folder, errbuf);
    }
    if (err == ERR_OK) {
        err = s_prepare_file(options, errbuf);
    }
    if (err == ERR_OK) {
        err = s_open_env(&self, options, errbuf);
    }
    if (err == ERR_OK) {
        err = s_check_pages(&self, errbuf);
    }
    if (err == ERR_OK) {
        err = s_open_databases(&self, options->content_version, errbuf);
    }
    if (err != ERR_OK) {
        store_lmdb_file_close(&self);
        return err;
    }
    *ret_file = self;
    return ERR_OK;
}

void store_lmdb_file_close(store_lmdb_file_t *self)
{
    mdb_env_close(self->env);
    self->env = NULL;
    if (self->lock_fd >= 0) {
        (void)close(self->lock_fd); /* nothing was written through it that must last */
    }
    self->lock_fd = -1;
}
