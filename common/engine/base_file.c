/* A base as a file, written and read in pieces. */
#include "common/engine/base_file.h"

#include "common/base/check.h"

#include <blake3.h>
#include <stdlib.h>
#include <string.h>

static err_t s_corrupt(const char *what, errbuf_t *errbuf)
{
    errbuf_set(errbuf, "base: %s", what);
    return ERR_CORRUPT;
}

static void s_copy_head(base_head_t *ret_head, const base_head_t *head)
{
    *ret_head = *head;
    ret_head->positions = calloc((size_t)head->position_count + 1, sizeof(*head->positions));
    CHECK(ret_head->positions != NULL);
    if (head->position_count > 0) {
        memcpy(ret_head->positions, head->positions,
               head->position_count * sizeof(*head->positions));
    }
}

/* -- writing ----------------------------------------------------------------------------------- */

struct base_writer {
    const disk_t *disk; /* borrowed */
    wal_path_t path;
    wal_path_t temporary;
    base_head_t head;
    store_batch_t *entries;
    size_t prefix_size;
    store_batch_cursor_t cursor;
    disk_file_t *file; /* NULL before the first step */
    bool is_renamed;
    uint64_t offset;
    blake3_hasher hasher;
    buffer_t piece;
};

/* What the entries take in the file. */
static void s_measure(base_writer_t *self)
{
    store_batch_cursor_t cursor = {0};
    store_operation_t operation;
    self->head.entry_count = 0;
    self->head.entries_size = 0;
    while (store_batch_next(self->entries, &cursor, &operation)) {
        if (operation.kind != STORE_OPERATION_PUT) {
            continue; /* of something that came and went: it is not in the state */
        }
        CHECK(operation.key.size > self->prefix_size);
        self->head.entry_count++;
        self->head.entries_size +=
            BASE_ENTRY_SIZE_MIN + operation.key.size - self->prefix_size + operation.value.size;
    }
}

base_writer_t *base_writer_new(const disk_t *disk,
                               const char *path,
                               const base_head_t *head,
                               store_batch_t **entries_p,
                               size_t prefix_size)
{
    base_writer_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL && strlen(path) < WAL_PATH_SIZE_MAX);
    self->disk = disk;
    memcpy(self->path.text, path, strlen(path) + 1);
    s_copy_head(&self->head, head);
    self->entries = *entries_p;
    *entries_p = NULL;
    self->prefix_size = prefix_size;
    store_batch_sort(self->entries);
    s_measure(self);
    buffer_init(&self->piece);
    blake3_hasher_init(&self->hasher);
    return self;
}

void base_writer_destroy(base_writer_t **self_p)
{
    base_writer_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    if (self->file != NULL) {
        self->disk->close(self->disk->context, &self->file);
    }
    store_batch_destroy(&self->entries);
    base_head_done(&self->head);
    buffer_done(&self->piece);
    free(self);
    *self_p = NULL;
}

const base_head_t *base_writer_head(const base_writer_t *self)
{
    return &self->head;
}

static void s_add_entry(base_writer_t *self, const store_operation_t *operation)
{
    slice_t key = slice_make(operation->key.data + self->prefix_size,
                             operation->key.size - self->prefix_size);
    uint8_t *at = buffer_extend(&self->piece, BASE_ENTRY_SIZE_MIN);
    bytes_put_u16(at, (uint16_t)key.size);
    bytes_put_u32(at + 2, (uint32_t)operation->value.size);
    buffer_append(&self->piece, key.data, key.size);
    buffer_append(&self->piece, operation->value.data, operation->value.size);
}

/* Opens the temporary file, empty. */
static err_t s_begin(base_writer_t *self, errbuf_t *errbuf)
{
    size_t length = strlen(self->path.text);
    if (length + sizeof(".tmp") > WAL_PATH_SIZE_MAX) {
        errbuf_set(errbuf, "path of a base: expected less than %d bytes", WAL_PATH_SIZE_MAX);
        return ERR_TOO_LARGE;
    }
    memcpy(self->temporary.text, self->path.text, length);
    memcpy(self->temporary.text + length, ".tmp", sizeof(".tmp"));
    err_t err = self->disk->open(self->disk->context, self->temporary.text, DISK_CREATE,
                                 &self->file, errbuf);
    if (err == ERR_OK) {
        err = self->disk->truncate(self->disk->context, self->file, 0, errbuf);
    }
    base_head_encode(&self->head, &self->piece);
    return err;
}

static err_t s_write_piece(base_writer_t *self, errbuf_t *errbuf)
{
    blake3_hasher_update(&self->hasher, self->piece.data, self->piece.size);
    err_t err = self->disk->write_at(self->disk->context, self->file, self->offset,
                                     self->piece.data, self->piece.size, errbuf);
    self->offset += self->piece.size;
    return err;
}

/* The last hash; then the file gets its name. */
static err_t s_finish(base_writer_t *self, errbuf_t *errbuf)
{
    const disk_t *disk = self->disk;
    uint8_t hash[BASE_HASH_SIZE];
    blake3_hasher_finalize(&self->hasher, hash, sizeof(hash));
    err_t err = disk->write_at(disk->context, self->file, self->offset, hash, sizeof(hash), errbuf);
    if (err == ERR_OK) {
        err = disk->sync(disk->context, self->file, errbuf);
    }
    disk->close(disk->context, &self->file);
    if (err == ERR_OK) {
        err = disk->rename(disk->context, self->temporary.text, self->path.text, errbuf);
        self->is_renamed = err == ERR_OK;
    }
    wal_path_t folder = self->path;
    *strrchr(folder.text, '/') = '\0';
    return err == ERR_OK ? disk->sync_folder(disk->context, folder.text, errbuf) : err;
}

bool base_writer_is_renamed(const base_writer_t *self)
{
    return self->is_renamed;
}

err_t base_writer_step(base_writer_t *self, errbuf_t *errbuf)
{
    buffer_clear(&self->piece);
    err_t err = self->file == NULL ? s_begin(self, errbuf) : ERR_OK;
    store_operation_t operation;
    bool more = true;
    while (err == ERR_OK && more && self->piece.size < BASE_PIECE_SIZE) {
        more = store_batch_next(self->entries, &self->cursor, &operation);
        if (more && operation.kind == STORE_OPERATION_PUT) {
            s_add_entry(self, &operation);
        }
    }
    if (err == ERR_OK) {
        err = s_write_piece(self, errbuf);
    }
    if (err == ERR_OK) {
        err = more ? ERR_AGAIN : s_finish(self, errbuf);
    }
    if (err != ERR_OK && err != ERR_AGAIN) {
        errbuf_prefix(errbuf, "write %s", self->path.text);
    }
    return err;
}

/* -- reading ----------------------------------------------------------------------------------- */

struct base_reader {
    const disk_t *disk; /* borrowed */
    wal_path_t path;
    tenant_id_t tenant;
    shard_id_t shard;
    base_head_t head;
    disk_file_t *file; /* NULL before the first step */
    uint64_t offset;   /* in the file, behind what is in `bytes` */
    uint64_t entries_left;
    uint64_t entry_bytes_left;
    buffer_t bytes;  /* read and not taken */
    buffer_t before; /* the last key */
    err_t refused;   /* ERR_UNSUPPORTED of an entry; believed only when the whole file verifies */
    errbuf_t refusal;
    blake3_hasher hasher;
};

base_reader_t *base_reader_new(const disk_t *disk,
                               const char *path,
                               tenant_id_t tenant,
                               shard_id_t shard)
{
    base_reader_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL && strlen(path) < WAL_PATH_SIZE_MAX);
    self->disk = disk;
    memcpy(self->path.text, path, strlen(path) + 1);
    self->tenant = tenant;
    self->shard = shard;
    buffer_init(&self->bytes);
    buffer_init(&self->before);
    blake3_hasher_init(&self->hasher);
    return self;
}

void base_reader_destroy(base_reader_t **self_p)
{
    base_reader_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    if (self->file != NULL) {
        self->disk->close(self->disk->context, &self->file);
    }
    base_head_done(&self->head);
    buffer_done(&self->bytes);
    buffer_done(&self->before);
    free(self);
    *self_p = NULL;
}

const base_head_t *base_reader_head(const base_reader_t *self)
{
    return &self->head;
}

/* Reads on until so many bytes wait. errs ERR_CORRUPT the file ends before */
static err_t s_fill(base_reader_t *self, size_t wanted, errbuf_t *errbuf)
{
    while (self->bytes.size < wanted) {
        size_t missing = wanted - self->bytes.size;
        size_t size_max = missing > BASE_PIECE_SIZE ? missing : BASE_PIECE_SIZE;
        size_t before = self->bytes.size;
        size_t size = 0;
        uint8_t *at = buffer_extend(&self->bytes, size_max);
        err_t err = self->disk->read_at(self->disk->context, self->file, self->offset, at, size_max,
                                        &size, errbuf);
        self->bytes.size = before + (err == ERR_OK ? size : 0);
        if (err != ERR_OK) {
            return err;
        }
        self->offset += size;
        if (size == 0) {
            return s_corrupt("the file ends before its last entry", errbuf);
        }
    }
    return ERR_OK;
}

/* Takes bytes from the front of what waits. */
static void s_take(base_reader_t *self, size_t size)
{
    self->bytes.size -= size;
    memmove(self->bytes.data, self->bytes.data + size, self->bytes.size);
}

static err_t s_open(base_reader_t *self, errbuf_t *errbuf)
{
    err_t err =
        self->disk->open(self->disk->context, self->path.text, DISK_READ, &self->file, errbuf);
    size_t wanted = BASE_HEAD_SIZE_MIN;
    if (err == ERR_OK) {
        err = s_fill(self, wanted, errbuf);
    }
    for (int round = 0; err == ERR_OK && round < 2; round++) {
        err = base_head_decode(buffer_slice(&self->bytes), &self->head, &wanted, errbuf);
        if (err != ERR_AGAIN) {
            break;
        }
        err = s_fill(self, wanted, errbuf);
    }
    if (err == ERR_OK && (self->head.tenant.value != self->tenant.value ||
                          self->head.shard.value != self->shard.value)) {
        err = s_corrupt("it is of another tenant or shard", errbuf);
    }
    if (err != ERR_OK) {
        return err == ERR_AGAIN ? ERR_CORRUPT : err;
    }
    blake3_hasher_update(&self->hasher, self->bytes.data, wanted);
    s_take(self, wanted);
    self->entries_left = self->head.entry_count;
    self->entry_bytes_left = self->head.entries_size;
    return ERR_OK;
}

/* Keys rise strictly. */
static bool s_rises(const base_reader_t *self, slice_t key)
{
    size_t shared = self->before.size < key.size ? self->before.size : key.size;
    int order = shared == 0 ? 0 : memcmp(self->before.data, key.data, shared);
    return order < 0 || (order == 0 && self->before.size < key.size);
}

/* The entry that begins `skip` bytes behind the front. out ret_size of it */
static err_t s_give_entry(base_reader_t *self,
                          size_t skip,
                          base_entry_fn callback,
                          void *context,
                          size_t *ret_size,
                          errbuf_t *errbuf)
{
    err_t err = s_fill(self, skip + BASE_ENTRY_SIZE_MIN, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    size_t key_size = bytes_get_u16(self->bytes.data + skip);
    size_t value_size = bytes_get_u32(self->bytes.data + skip + 2);
    size_t size = BASE_ENTRY_SIZE_MIN + key_size + value_size;
    if (key_size < 1 || key_size > STORE_KEY_SIZE_MAX || value_size > STORE_VALUE_SIZE_MAX ||
        size > self->entry_bytes_left) {
        return s_corrupt("entry with impossible sizes", errbuf);
    }
    err = s_fill(self, skip + size, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    const uint8_t *at = self->bytes.data + skip + BASE_ENTRY_SIZE_MIN;
    slice_t key = slice_make(at, key_size);
    if (!s_rises(self, key)) {
        return s_corrupt("entries out of order", errbuf);
    }
    buffer_clear(&self->before);
    buffer_append(&self->before, key.data, key.size);
    self->entries_left--;
    self->entry_bytes_left -= size;
    *ret_size = size;
    if (self->refused == ERR_OK) {
        err = callback(context, key, slice_make(at + key_size, value_size), &self->refusal);
    }
    if (err == ERR_UNSUPPORTED) {
        self->refused = err;
        err = ERR_OK;
    }
    if (err != ERR_OK) {
        errbuf_set(errbuf, "%s", self->refusal.text);
    }
    return err;
}

static err_t s_give_piece(base_reader_t *self,
                          base_entry_fn callback,
                          void *context,
                          errbuf_t *errbuf)
{
    size_t taken = 0;
    err_t err = ERR_OK;
    while (err == ERR_OK && self->entries_left > 0 && taken < BASE_PIECE_SIZE) {
        size_t size = 0;
        err = s_give_entry(self, taken, callback, context, &size, errbuf);
        taken += size;
    }
    if (err == ERR_OK && taken > 0) {
        blake3_hasher_update(&self->hasher, self->bytes.data, taken);
        s_take(self, taken);
    }
    return err;
}

/* The hash over all, and nothing behind it. */
static err_t s_check_end(base_reader_t *self, errbuf_t *errbuf)
{
    uint8_t hash[BASE_HASH_SIZE];
    uint64_t size = 0;
    err_t err = s_fill(self, BASE_HASH_SIZE, errbuf);
    if (err == ERR_OK) {
        err = self->disk->size(self->disk->context, self->file, &size, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    blake3_hasher_finalize(&self->hasher, hash, sizeof(hash));
    if (self->entry_bytes_left != 0 || memcmp(hash, self->bytes.data, sizeof(hash)) != 0) {
        return s_corrupt("it does not have the hash that it says", errbuf);
    }
    bool ends = self->bytes.size == BASE_HASH_SIZE && size == self->offset;
    return ends ? ERR_OK : s_corrupt("more bytes follow its end", errbuf);
}

err_t base_reader_step(base_reader_t *self, base_entry_fn callback, void *context, errbuf_t *errbuf)
{
    err_t err = self->file == NULL ? s_open(self, errbuf) : ERR_OK;
    if (err == ERR_OK) {
        err = s_give_piece(self, callback, context, errbuf);
    }
    if (err == ERR_OK) {
        err = self->entries_left > 0 ? ERR_AGAIN : s_check_end(self, errbuf);
    }
    if (err == ERR_OK && self->refused != ERR_OK) {
        errbuf_set(errbuf, "%s", self->refusal.text);
        err = self->refused;
    }
    if (err != ERR_OK && err != ERR_AGAIN) {
        errbuf_prefix(errbuf, "%s", self->path.text);
    }
    return err;
}
