#include "common/store/store_lmdb.h"

#include "common/base/check.h"
#include "common/base/store_batch.h"
#include "common/store/store_lmdb_file.h"

#include <errno.h>
#include <inttypes.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    CHECKSUM_SIZE = 4,
    FREE_SPACE_NONE_BYTES = 256 * 1024 /* a disk with less is full: LMDB writes that much at once */
};

typedef enum { HAND_OVER_IDLE, HAND_OVER_TAKEN, HAND_OVER_REPORTED } hand_over_t;

struct store_lmdb {
    char *folder;
    store_lmdb_file_t file;
    bool is_read_only;
    int event_fd; /* -1 for a read-only store */
    bool has_writer;
    pthread_t writer;
    pthread_mutex_t mutex; /* guards everything below */
    pthread_cond_t wake;   /* the writer has something to do */
    hand_over_t hand_over;
    store_batch_t *batch; /* set while taken */
    err_t result;         /* of the batch, once reported */
    errbuf_t result_text;
    bool must_stop;
    bool is_broken; /* a write failed for good */
    uint64_t commit_count;
    uint64_t failure_count;
    uint64_t last_commit_ns;
};

/* -- values with their checksum ---------------------------------------------------------------- */

/* Over key size, key and value: neither can change into the other. */
static uint32_t s_checksum(slice_t key, slice_t value)
{
    return (uint32_t)XXH3_64bits_withSeed(value.data, value.size, XXH3_64bits(key.data, key.size));
}

/* in `found` as LMDB holds it. out ret_value without the checksum. errs ERR_CORRUPT */
static err_t s_open_value(slice_t key, const MDB_val *found, slice_t *ret_value, errbuf_t *errbuf)
{
    const uint8_t *bytes = found->mv_data;
    if (found->mv_size >= CHECKSUM_SIZE) {
        slice_t value = slice_make(bytes, found->mv_size - CHECKSUM_SIZE);
        if (bytes_get_u32(bytes + value.size) == s_checksum(key, value)) {
            *ret_value = value;
            return ERR_OK;
        }
    }
    char hex[2 * 32 + 1];
    bytes_to_hex(key.data, key.size < 32 ? key.size : 32, hex);
    errbuf_set(errbuf, "the pair with key %s%s does not match its checksum", hex,
               key.size > 32 ? "..." : "");
    return ERR_CORRUPT;
}

/* -- commit: on the writer thread -------------------------------------------------------------- */

/* The cursor goes through the tree from left to right, because the batch is sorted. */
static int s_put(MDB_cursor *cursor, const store_operation_t *operation)
{
    MDB_val key = store_lmdb_val(operation->key.data, operation->key.size);
    MDB_val value = {operation->value.size + CHECKSUM_SIZE, NULL};
    int code = mdb_cursor_put(cursor, &key, &value, MDB_RESERVE);
    if (code == 0) {
        uint8_t *at = value.mv_data;
        if (operation->value.size > 0) {
            (void)memcpy(at, operation->value.data, operation->value.size);
        }
        bytes_put_u32(at + operation->value.size, s_checksum(operation->key, operation->value));
    }
    return code;
}

static int s_delete(MDB_cursor *cursor, const store_operation_t *operation)
{
    MDB_val key = store_lmdb_val(operation->key.data, operation->key.size);
    int code = mdb_cursor_get(cursor, &key, NULL, MDB_SET);
    if (code == MDB_NOTFOUND) {
        return 0;
    }
    return code != 0 ? code : mdb_cursor_del(cursor, 0);
}

static int s_apply(MDB_txn *txn, MDB_dbi pairs, const store_batch_t *batch)
{
    MDB_cursor *cursor = NULL;
    int code = mdb_cursor_open(txn, pairs, &cursor);
    if (code != 0) {
        return code;
    }
    store_batch_cursor_t at = {0};
    store_operation_t operation;
    while (code == 0 && store_batch_next(batch, &at, &operation)) {
        code = operation.kind == STORE_OPERATION_PUT ? s_put(cursor, &operation)
                                                     : s_delete(cursor, &operation);
    }
    mdb_cursor_close(cursor);
    return code;
}

/* LMDB says EIO when a write was cut short, which is how a disk becomes full. */
static bool s_is_disk_full(int fd)
{
    struct statvfs space;
    struct rlimit limit;
    struct stat status;
    if (fstatvfs(fd, &space) == 0 && space.f_bavail * space.f_frsize < FREE_SPACE_NONE_BYTES) {
        return true;
    }
    return fstat(fd, &status) == 0 && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           limit.rlim_cur != RLIM_INFINITY &&
           (uint64_t)status.st_size + FREE_SPACE_NONE_BYTES > limit.rlim_cur;
}

/* Cuts off what a failed transaction wrote behind the last page of the last good one, so that a
 * full disk has its space back for the log. Nothing refers to those pages, in any process. */
static void s_give_back(MDB_env *env, int fd)
{
    MDB_envinfo info;
    MDB_stat stat_now;
    struct stat status;
    if (mdb_env_info(env, &info) != 0 || mdb_env_stat(env, &stat_now) != 0) {
        return;
    }
    uint64_t used = ((uint64_t)info.me_last_pgno + 1) * stat_now.ms_psize;
    if (fstat(fd, &status) == 0 && (uint64_t)status.st_size > used) {
        /* Without success the space stays taken until the next commit uses it: no harm. */
        (void)(ftruncate(fd, (off_t)used) == 0);
    }
}

/* Makes the batch durable, or leaves everything as it was. Sorts the batch. */
static err_t s_commit(store_lmdb_t *self, store_batch_t *batch, errbuf_t *errbuf)
{
    int dead_count = 0;
    MDB_txn *txn = NULL;
    /* Readers that were killed would keep their pages for ever. */
    int code = mdb_reader_check(self->file.env, &dead_count);
    if (code == 0) {
        code = mdb_txn_begin(self->file.env, NULL, 0, &txn);
    }
    if (code != 0) {
        return store_lmdb_fail(code, "begin a transaction", errbuf);
    }
    store_batch_sort(batch);
    code = s_apply(txn, self->file.pairs, batch);
    if (code == 0) {
        code = mdb_txn_commit(txn);
    } else {
        mdb_txn_abort(txn);
    }
    if (code == 0) {
        return ERR_OK;
    }
    int fd = -1;
    int fd_code = mdb_env_get_fd(self->file.env, &fd);
    CHECK(fd_code == 0);
    err_t err = store_lmdb_fail(code, "commit", errbuf);
    if (code == EIO && s_is_disk_full(fd)) {
        err = store_lmdb_fail(ENOSPC, "commit", errbuf);
    }
    s_give_back(self->file.env, fd);
    errbuf_prefix(errbuf, "write %zu operations to the store %s", store_batch_count(batch),
                  self->folder);
    return err;
}

static uint64_t s_mono_ns(void)
{
    struct timespec now;
    int code = clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(code == 0);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void s_signal_event(const store_lmdb_t *self)
{
    uint64_t one = 1;
    ssize_t written = write(self->event_fd, &one, sizeof(one));
    CHECK(written == (ssize_t)sizeof(one));
}

/* Commits what was handed over and reports it. Called and returns with the mutex held. */
static void s_serve(store_lmdb_t *self)
{
    store_batch_t *batch = self->batch;
    errbuf_t text = {""};
    (void)pthread_mutex_unlock(&self->mutex);
    uint64_t begin_ns = s_mono_ns();
    err_t err = s_commit(self, batch, &text);
    uint64_t took_ns = s_mono_ns() - begin_ns;
    store_batch_destroy(&batch);
    (void)pthread_mutex_lock(&self->mutex);
    CHECK(self->hand_over == HAND_OVER_TAKEN);
    self->batch = NULL;
    self->result = err;
    self->result_text = text;
    if (err == ERR_OK) {
        self->commit_count++;
        self->last_commit_ns = took_ns;
    } else {
        self->failure_count++;
        self->is_broken = self->is_broken || err != ERR_DISK_FULL;
    }
    self->hand_over = HAND_OVER_REPORTED;
    s_signal_event(self);
}

static void *s_writer(void *context)
{
    store_lmdb_t *self = context;
    (void)pthread_mutex_lock(&self->mutex);
    while (self->hand_over == HAND_OVER_TAKEN || !self->must_stop) {
        if (self->hand_over == HAND_OVER_TAKEN) {
            s_serve(self);
        } else {
            (void)pthread_cond_wait(&self->wake, &self->mutex);
        }
    }
    (void)pthread_mutex_unlock(&self->mutex);
    return NULL;
}

/* -- the seam: on the caller's thread ---------------------------------------------------------- */

static err_t s_submit(void *context, store_batch_t **batch_p, errbuf_t *errbuf)
{
    store_lmdb_t *self = context;
    CHECK(*batch_p != NULL);
    if (self->is_read_only) {
        errbuf_set(errbuf, "the store %s is open for reading only", self->folder);
        return ERR_UNSUPPORTED;
    }
    err_t err = ERR_OK;
    (void)pthread_mutex_lock(&self->mutex);
    if (self->is_broken) {
        errbuf_set(errbuf, "the store %s failed to write before: restart the process",
                   self->folder);
        err = ERR_IO;
    } else if (self->hand_over != HAND_OVER_IDLE) {
        errbuf_set(errbuf, "a batch is under way to the store %s", self->folder);
        err = ERR_AGAIN;
    } else {
        self->batch = *batch_p;
        *batch_p = NULL;
        self->hand_over = HAND_OVER_TAKEN;
        (void)pthread_cond_signal(&self->wake);
    }
    (void)pthread_mutex_unlock(&self->mutex);
    return err;
}

static void s_clear_event(const store_lmdb_t *self)
{
    uint64_t count = 0;
    ssize_t got = read(self->event_fd, &count, sizeof(count));
    CHECK(got == (ssize_t)sizeof(count));
}

static err_t s_poll(void *context, errbuf_t *errbuf)
{
    store_lmdb_t *self = context;
    err_t err = ERR_OK;
    (void)pthread_mutex_lock(&self->mutex);
    if (self->hand_over == HAND_OVER_TAKEN) {
        err = ERR_AGAIN;
    } else if (self->hand_over == HAND_OVER_REPORTED) {
        err = self->result;
        s_clear_event(self);
        self->hand_over = HAND_OVER_IDLE;
        if (err != ERR_OK) {
            errbuf_set(errbuf, "%s", self->result_text.text);
        }
    }
    (void)pthread_mutex_unlock(&self->mutex);
    return err;
}

static err_t s_begin_read(store_lmdb_t *self, MDB_txn **ret_txn, errbuf_t *errbuf)
{
    int code = mdb_txn_begin(self->file.env, NULL, MDB_RDONLY, ret_txn);
    if (code == 0) {
        return ERR_OK;
    }
    err_t err = store_lmdb_fail(code, "begin to read", errbuf);
    errbuf_prefix(errbuf, "read the store %s", self->folder);
    return err;
}

static bool s_has_prefix(slice_t key, slice_t prefix)
{
    return key.size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

typedef struct {
    slice_t prefix;
    store_walk_fn callback;
    void *context;
} walk_t;

static err_t s_walk_cursor(const store_lmdb_t *self,
                           MDB_cursor *cursor,
                           const walk_t *walk,
                           errbuf_t *errbuf)
{
    MDB_val found_key = store_lmdb_val(walk->prefix.data, walk->prefix.size);
    MDB_val found_value;
    int code = mdb_cursor_get(cursor, &found_key, &found_value,
                              walk->prefix.size > 0 ? MDB_SET_RANGE : MDB_FIRST);
    while (code == 0) {
        slice_t key = slice_make(found_key.mv_data, found_key.mv_size);
        if (!s_has_prefix(key, walk->prefix)) {
            return ERR_OK;
        }
        slice_t value;
        err_t err = s_open_value(key, &found_value, &value, errbuf);
        if (err != ERR_OK) {
            errbuf_prefix(errbuf, "walk the store %s", self->folder);
            return err;
        }
        err = walk->callback(walk->context, key.data, key.size, value.data, value.size);
        if (err != ERR_OK) {
            return err;
        }
        code = mdb_cursor_get(cursor, &found_key, &found_value, MDB_NEXT);
    }
    return code == MDB_NOTFOUND ? ERR_OK : store_lmdb_fail(code, "walk", errbuf);
}

static err_t s_walk(void *context,
                    const uint8_t *prefix,
                    size_t prefix_size,
                    store_walk_fn callback,
                    void *callback_context,
                    errbuf_t *errbuf)
{
    store_lmdb_t *self = context;
    CHECK(prefix_size <= STORE_KEY_SIZE_MAX);
    walk_t walk = {slice_make(prefix, prefix_size), callback, callback_context};
    MDB_txn *txn = NULL;
    err_t err = s_begin_read(self, &txn, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    MDB_cursor *cursor = NULL;
    int code = mdb_cursor_open(txn, self->file.pairs, &cursor);
    if (code != 0) {
        err = store_lmdb_fail(code, "open a cursor", errbuf);
        goto end_read;
    }
    err = s_walk_cursor(self, cursor, &walk, errbuf);
    mdb_cursor_close(cursor);
end_read:
    mdb_txn_abort(txn);
    return err;
}

static err_t s_copy_value(
    slice_t value, uint8_t *ret_value, size_t value_size_max, size_t *ret_size, errbuf_t *errbuf)
{
    if (value.size > value_size_max) {
        errbuf_set(errbuf, "the value has %zu bytes, the caller has room for %zu", value.size,
                   value_size_max);
        return ERR_TOO_LARGE;
    }
    if (value.size > 0) {
        (void)memcpy(ret_value, value.data, value.size);
    }
    *ret_size = value.size;
    return ERR_OK;
}

/* The shape of the seam, not ours. NOLINTNEXTLINE(readability-function-size) */
static err_t s_get(void *context,
                   const uint8_t *key,
                   size_t key_size,
                   uint8_t *ret_value,
                   size_t value_size_max,
                   size_t *ret_size,
                   errbuf_t *errbuf)
{
    store_lmdb_t *self = context;
    CHECK(key_size >= 1);
    CHECK(key_size <= STORE_KEY_SIZE_MAX);
    MDB_txn *txn = NULL;
    err_t err = s_begin_read(self, &txn, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    MDB_val wanted = store_lmdb_val(key, key_size);
    MDB_val found;
    int code = mdb_get(txn, self->file.pairs, &wanted, &found);
    if (code == MDB_NOTFOUND) {
        errbuf_set(errbuf, "the store %s has no such key", self->folder);
        err = ERR_NOT_FOUND;
    } else if (code != 0) {
        err = store_lmdb_fail(code, "get", errbuf);
    } else {
        slice_t value;
        err = s_open_value(slice_make(key, key_size), &found, &value, errbuf);
        if (err == ERR_OK) {
            err = s_copy_value(value, ret_value, value_size_max, ret_size, errbuf);
        }
    }
    mdb_txn_abort(txn);
    return err;
}

store_t store_lmdb_store(store_lmdb_t *self)
{
    return (store_t){self, s_submit, s_poll, s_walk, s_get};
}

/* -- open and close ---------------------------------------------------------------------------- */

static err_t s_start_writer(store_lmdb_t *self, errbuf_t *errbuf)
{
    self->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->event_fd < 0) {
        return store_lmdb_fail(errno, "create an event fd", errbuf);
    }
    /* Signals belong to the loop. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->writer, NULL, s_writer, self);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        return store_lmdb_fail(code, "start the writer thread", errbuf);
    }
    self->has_writer = true;
    return ERR_OK;
}

static err_t s_open(const store_lmdb_options_t *options,
                    bool is_read_only,
                    store_lmdb_t **ret_self,
                    errbuf_t *errbuf)
{
    CHECK(options->folder != NULL);
    store_lmdb_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->folder = strdup(options->folder);
    CHECK(self->folder != NULL);
    self->is_read_only = is_read_only;
    self->file.lock_fd = -1;
    self->event_fd = -1;
    int code = pthread_mutex_init(&self->mutex, NULL);
    CHECK(code == 0);
    code = pthread_cond_init(&self->wake, NULL);
    CHECK(code == 0);
    store_lmdb_file_options_t file_options = {
        .folder = options->folder,
        .map_size_bytes =
            options->map_size_bytes != 0 ? options->map_size_bytes : STORE_LMDB_MAP_SIZE_DEFAULT,
        .content_version = options->content_version,
        .is_read_only = is_read_only,
    };
    err_t err = store_lmdb_file_open(&file_options, &self->file, errbuf);
    if (err == ERR_OK && !is_read_only) {
        err = s_start_writer(self, errbuf);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "open the store %s%s", options->folder,
                      is_read_only ? " for reading" : "");
        store_lmdb_close(&self);
        return err;
    }
    *ret_self = self;
    return ERR_OK;
}

err_t store_lmdb_open(const store_lmdb_options_t *options,
                      store_lmdb_t **ret_self,
                      errbuf_t *errbuf)
{
    return s_open(options, false, ret_self, errbuf);
}

err_t store_lmdb_open_read_only(const store_lmdb_options_t *options,
                                store_lmdb_t **ret_self,
                                errbuf_t *errbuf)
{
    return s_open(options, true, ret_self, errbuf);
}

static void s_stop_writer(store_lmdb_t *self)
{
    if (!self->has_writer) {
        return;
    }
    (void)pthread_mutex_lock(&self->mutex);
    self->must_stop = true;
    (void)pthread_cond_signal(&self->wake);
    (void)pthread_mutex_unlock(&self->mutex);
    int code = pthread_join(self->writer, NULL);
    CHECK(code == 0);
    CHECK(self->batch == NULL);
}

void store_lmdb_close(store_lmdb_t **self_p)
{
    store_lmdb_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    *self_p = NULL;
    s_stop_writer(self);
    store_lmdb_file_close(&self->file);
    if (self->event_fd >= 0) {
        (void)close(self->event_fd); /* it holds nothing that must last */
    }
    (void)pthread_cond_destroy(&self->wake);
    (void)pthread_mutex_destroy(&self->mutex);
    free(self->folder);
    free(self);
}

int store_lmdb_event_fd(const store_lmdb_t *self)
{
    return self->event_fd;
}

err_t store_lmdb_stats(store_lmdb_t *self, store_lmdb_stats_t *ret_stats, errbuf_t *errbuf)
{
    MDB_txn *txn = NULL;
    MDB_stat pairs;
    struct stat status;
    int fd = -1;
    err_t err = s_begin_read(self, &txn, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    int code = mdb_stat(txn, self->file.pairs, &pairs);
    mdb_txn_abort(txn);
    if (code == 0) {
        code = mdb_env_get_fd(self->file.env, &fd);
    }
    if (code == 0 && fstat(fd, &status) != 0) {
        code = errno;
    }
    if (code != 0) {
        return store_lmdb_fail(code, "measure the store", errbuf);
    }
    (void)pthread_mutex_lock(&self->mutex);
    *ret_stats = (store_lmdb_stats_t){
        .pair_count = pairs.ms_entries,
        .file_size_bytes = (uint64_t)status.st_size,
        .commit_count = self->commit_count,
        .failure_count = self->failure_count,
        .last_commit_ns = self->last_commit_ns,
    };
    (void)pthread_mutex_unlock(&self->mutex);
    return ERR_OK;
}
