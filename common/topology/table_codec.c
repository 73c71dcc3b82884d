/* Tables as bytes: on links, and in the cache file of every process. The format stands in table.h.
 */
#include "common/base/check.h"
#include "common/topology/table_body.h"

#include <blake3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_FORMAT_VERSION = 1 };
static const uint8_t s_magic[4] = {'T', 'M', 'T', '1'};

static void s_hash(const uint8_t *bytes, size_t size, uint8_t ret_hash[TABLE_HASH_SIZE])
{
    static_assert(TABLE_HASH_SIZE == BLAKE3_OUT_LEN, "the whole hash is kept");
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, bytes, size);
    blake3_hasher_finalize(&hasher, ret_hash, TABLE_HASH_SIZE);
}

/* -- encoding ---------------------------------------------------------------------------------- */

static void s_encode_record(const table_record_t *record, buffer_t *out)
{
    uint8_t *at = buffer_extend(out, TABLE_RECORD_SIZE);
    bytes_put_u64(at, record->epoch);
    bytes_put_u64(at + 8, record->version);
    bytes_put_u16(at + 16, record->leader.value);
    bytes_put_u16(at + 18, 0);
    bytes_put_u32(at + 20, record->in_sync.bits);
    bytes_put_u32(at + 24, record->placed.bits);
    for (unsigned i = 1; i <= REGION_COUNT_MAX; i++) {
        if (region_set_has(record->placed, (region_id_t){(uint16_t)i})) {
            bytes_put_u64(buffer_extend(out, 8), record->disk_ids[i]);
        }
    }
}

static void s_encode_tenant(const table_tenant_t *tenant, buffer_t *out)
{
    size_t name_size = strlen(tenant->name);
    uint8_t *at = buffer_extend(out, TABLE_TENANT_SIZE);
    bytes_put_u64(at, tenant->id.value);
    at[8] = (uint8_t)tenant->island;
    at[9] = (uint8_t)name_size;
    bytes_put_u16(at + 10, 0);
    bytes_put_u32(at + 12, tenant->full.bits);
    bytes_put_u32(at + 16, tenant->preparing.bits);
    bytes_put_u32(at + 20, tenant->leaving.bits);
    buffer_append(out, tenant->name, name_size);
}

void table_encode(const table_t *self, buffer_t *out)
{
    size_t start = out->size;
    uint8_t *header = buffer_extend(out, TABLE_HEADER_SIZE);
    (void)memcpy(header, s_magic, sizeof(s_magic));
    bytes_put_u16(header + 4, TABLE_FORMAT_VERSION);
    bytes_put_u16(header + 6, (uint16_t)self->shard_count);
    bytes_put_u64(header + 8, self->version);
    bytes_put_u64(header + 16, 0);
    bytes_put_u32(header + 24, self->tenant_count);
    bytes_put_u32(header + 28, 0);
    for (uint32_t i = 0; i < self->tenant_count; i++) {
        s_encode_tenant(&self->tenants[i], out);
        for (uint32_t j = 0; j < self->shard_count; j++) {
            s_encode_record(&self->records[(size_t)i * self->shard_count + j], out);
        }
    }
    size_t size = out->size - start + TABLE_HASH_SIZE;
    CHECK(size <= TABLE_SIZE_MAX);
    bytes_put_u64(out->data + start + 16, size);
    uint8_t hash[TABLE_HASH_SIZE];
    s_hash(out->data + start, size - TABLE_HASH_SIZE, hash);
    buffer_append(out, hash, sizeof(hash));
}

/* -- decoding ---------------------------------------------------------------------------------- */

static err_t s_corrupt(errbuf_t *errbuf, const char *expected, uint64_t found)
{
    errbuf_set(errbuf, "routing table: expected %s, found %llu", expected,
               (unsigned long long)found);
    return ERR_CORRUPT;
}

/* Size, magic, format version and hash of the whole. */
static err_t s_check_frame(slice_t bytes, errbuf_t *errbuf)
{
    if (bytes.size < TABLE_HEADER_SIZE + TABLE_HASH_SIZE || bytes.size > TABLE_SIZE_MAX) {
        return s_corrupt(errbuf, "a size within the limits", bytes.size);
    }
    if (memcmp(bytes.data, s_magic, sizeof(s_magic)) != 0) {
        return s_corrupt(errbuf, "the magic TMT1", bytes_get_u32(bytes.data));
    }
    if (bytes_get_u64(bytes.data + 16) != bytes.size) {
        return s_corrupt(errbuf, "its own size in the header", bytes_get_u64(bytes.data + 16));
    }
    uint8_t hash[TABLE_HASH_SIZE];
    size_t hashed = bytes.size - TABLE_HASH_SIZE;
    s_hash(bytes.data, hashed, hash);
    if (memcmp(bytes.data + hashed, hash, sizeof(hash)) != 0) {
        return s_corrupt(errbuf, "the BLAKE3 of the bytes, found another in a table of size",
                         bytes.size);
    }
    uint16_t format = bytes_get_u16(bytes.data + 4);
    if (format != TABLE_FORMAT_VERSION) {
        errbuf_set(errbuf,
                   "routing table: expected format version %d, found %u: written by "
                   "another release",
                   TABLE_FORMAT_VERSION, format);
        return ERR_UNSUPPORTED;
    }
    return ERR_OK;
}

/* What is left to decode. */
typedef struct {
    const uint8_t *at;
    size_t left;
} cursor_t;

/* The next `size` bytes, or NULL when there are fewer. */
static const uint8_t *s_take(cursor_t *cursor, size_t size)
{
    if (cursor->left < size) {
        return NULL;
    }
    const uint8_t *at = cursor->at;
    cursor->at += size;
    cursor->left -= size;
    return at;
}

static err_t s_decode_tenant(cursor_t *cursor, table_tenant_t *tenant, errbuf_t *errbuf)
{
    const uint8_t *at = s_take(cursor, TABLE_TENANT_SIZE);
    if (at == NULL) {
        return s_corrupt(errbuf, "a tenant, bytes left", cursor->left);
    }
    size_t name_size = at[9];
    if (at[8] > ISLAND_ACCEPT || bytes_get_u16(at + 10) != 0 || name_size > NAME_LENGTH_MAX) {
        return s_corrupt(errbuf, "policy, name size and zeros within their limits", at[8]);
    }
    tenant->id.value = bytes_get_u64(at);
    tenant->island = (island_policy_t)at[8];
    tenant->full.bits = bytes_get_u32(at + 12);
    tenant->preparing.bits = bytes_get_u32(at + 16);
    tenant->leaving.bits = bytes_get_u32(at + 20);
    const uint8_t *name = s_take(cursor, name_size);
    if (name == NULL || memchr(name, 0, name_size) != NULL) {
        return s_corrupt(errbuf, "a name without zero bytes, bytes left", cursor->left);
    }
    (void)memcpy(tenant->name, name, name_size);
    return ERR_OK;
}

static err_t s_decode_record(cursor_t *cursor, table_record_t *record, errbuf_t *errbuf)
{
    const uint8_t *at = s_take(cursor, TABLE_RECORD_SIZE);
    if (at == NULL || bytes_get_u16(at + 18) != 0) {
        return s_corrupt(errbuf, "a record, bytes left", cursor->left);
    }
    record->epoch = bytes_get_u64(at);
    record->version = bytes_get_u64(at + 8);
    record->leader.value = bytes_get_u16(at + 16);
    record->in_sync.bits = bytes_get_u32(at + 20);
    record->placed.bits = bytes_get_u32(at + 24);
    for (unsigned i = 1; i <= REGION_COUNT_MAX; i++) {
        if (!region_set_has(record->placed, (region_id_t){(uint16_t)i})) {
            continue;
        }
        const uint8_t *disk_id = s_take(cursor, 8);
        if (disk_id == NULL) {
            return s_corrupt(errbuf, "a disk id, bytes left", cursor->left);
        }
        record->disk_ids[i] = bytes_get_u64(disk_id);
    }
    return ERR_OK;
}

/* Reads one tenant with its records and adds it, which checks the invariants. */
static err_t s_decode_next(cursor_t *cursor, table_t *table, errbuf_t *errbuf)
{
    table_tenant_t tenant = {.island = ISLAND_REJECT};
    err_t err = s_decode_tenant(cursor, &tenant, errbuf);
    table_record_t records[SHARD_COUNT_MAX] = {{0}};
    for (uint32_t i = 0; err == ERR_OK && i < table->shard_count; i++) {
        err = s_decode_record(cursor, &records[i], errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (table->tenant_count > 0 &&
        table->tenants[table->tenant_count - 1].id.value >= tenant.id.value) {
        return s_corrupt(errbuf, "tenants by ascending id", tenant.id.value);
    }
    if (table_add_tenant(table, &tenant, records, errbuf) != ERR_OK) {
        errbuf_prefix(errbuf, "routing table");
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

static err_t s_decode_tenants(cursor_t *cursor,
                              uint32_t tenant_count,
                              table_t *table,
                              errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < tenant_count; i++) {
        err = s_decode_next(cursor, table, errbuf);
    }
    if (err == ERR_OK && cursor->left > 0) {
        err = s_corrupt(errbuf, "nothing behind the last record, bytes left", cursor->left);
    }
    if (err == ERR_OK && table_find_tenant(table, TENANT_DEFAULT) == NULL) {
        err = s_corrupt(errbuf, "tenant 1, default, among the tenants", tenant_count);
    }
    return err;
}

err_t table_decode(slice_t bytes, table_t **ret_table, errbuf_t *errbuf)
{
    err_t err = s_check_frame(bytes, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    uint16_t shard_count = bytes_get_u16(bytes.data + 6);
    uint64_t version = bytes_get_u64(bytes.data + 8);
    uint32_t tenant_count = bytes_get_u32(bytes.data + 24);
    if (shard_count < 1 || shard_count > SHARD_COUNT_MAX || version < 1) {
        return s_corrupt(errbuf, "shard count and version within their limits", shard_count);
    }
    if (tenant_count > TENANT_COUNT_MAX || bytes_get_u32(bytes.data + 28) != 0) {
        return s_corrupt(errbuf, "a tenant count within its limit, then zero", tenant_count);
    }
    cursor_t cursor = {bytes.data + TABLE_HEADER_SIZE,
                       bytes.size - TABLE_HEADER_SIZE - TABLE_HASH_SIZE};
    table_t *table = table_new_empty(shard_count, version);
    err = s_decode_tenants(&cursor, tenant_count, table, errbuf);
    if (err != ERR_OK) {
        table_destroy(&table);
        return err;
    }
    *ret_table = table;
    return ERR_OK;
}

/* -- cache file -------------------------------------------------------------------------------- */

static err_t s_write_file(const disk_t *disk, const char *path, slice_t bytes, errbuf_t *errbuf)
{
    disk_file_t *file = NULL;
    err_t err = disk->open(disk->context, path, DISK_CREATE, &file, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    /* A temporary file of an earlier try may be longer. */
    err = disk->truncate(disk->context, file, 0, errbuf);
    if (err == ERR_OK) {
        err = disk->write_at(disk->context, file, 0, bytes.data, bytes.size, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->sync(disk->context, file, errbuf);
    }
    disk->close(disk->context, &file);
    return err;
}

/* in folder, temporary: made from path by the caller */
static err_t s_replace_file(const disk_t *disk,
                            const char *folder,
                            const char *temporary,
                            const char *path,
                            slice_t bytes,
                            errbuf_t *errbuf)
{
    err_t err = disk->make_folders(disk->context, folder, errbuf);
    if (err == ERR_OK) {
        err = s_write_file(disk, temporary, bytes, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->rename(disk->context, temporary, path, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->sync_folder(disk->context, folder, errbuf);
    }
    return err;
}

err_t table_cache_save(const table_t *self, const disk_t *disk, const char *path, errbuf_t *errbuf)
{
    static const char s_suffix[] = ".tmp";
    const char *slash = strrchr(path, '/');
    size_t folder_length = slash == NULL ? 0 : (size_t)(slash - path);
    size_t size = strlen(path) + sizeof(s_suffix);
    char *names = malloc(size + folder_length + 2);
    CHECK(names != NULL);
    char *temporary = names;
    char *folder = names + size;
    (void)snprintf(temporary, size, "%s%s", path, s_suffix);
    (void)snprintf(folder, folder_length + 2, "%.*s", slash == NULL ? 1 : (int)folder_length,
                   slash == NULL ? "." : path);

    buffer_t bytes;
    buffer_init(&bytes);
    table_encode(self, &bytes);
    err_t err = s_replace_file(disk, folder, temporary, path, buffer_slice(&bytes), errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "cannot keep the routing table in %s", path);
    }
    buffer_done(&bytes);
    free(names);
    return err;
}

static err_t s_read_file(const disk_t *disk, disk_file_t *file, buffer_t *bytes, errbuf_t *errbuf)
{
    uint64_t size = 0;
    err_t err = disk->size(disk->context, file, &size, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    if (size > TABLE_SIZE_MAX) {
        return s_corrupt(errbuf, "a size within the limits", size);
    }
    size_t read = 0;
    err = disk->read_at(disk->context, file, 0, buffer_extend(bytes, (size_t)size), (size_t)size,
                        &read, errbuf);
    if (err == ERR_OK && read != size) {
        return s_corrupt(errbuf, "the whole file, bytes read", read);
    }
    return err;
}

err_t table_cache_load(const disk_t *disk, const char *path, table_t **ret_table, errbuf_t *errbuf)
{
    disk_file_t *file = NULL;
    err_t err = disk->open(disk->context, path, DISK_READ, &file, errbuf);
    if (err == ERR_OK) {
        buffer_t bytes;
        buffer_init(&bytes);
        err = s_read_file(disk, file, &bytes, errbuf);
        disk->close(disk->context, &file);
        if (err == ERR_OK) {
            err = table_decode(buffer_slice(&bytes), ret_table, errbuf);
        }
        buffer_done(&bytes);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "cannot load the routing table from %s", path);
    }
    return err;
}
