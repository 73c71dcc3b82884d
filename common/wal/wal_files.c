#include "common/wal/wal_files.h"

#include "common/base/bytes.h"
#include "common/base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEQ_DIGITS = 20, INCARNATION_DIGITS = 16, FOLDER_NAME_SIZE_MAX = NAME_LENGTH_MAX + 1 + 20 };

static const char s_suffix[] = ".seg";
static const char s_suffix_leftover[] = ".seg.tmp";

/* -- names ------------------------------------------------------------------------------------- */

/* Letters, digits, and ._- inside: such a name is one folder on every system, never "." or "..". */
static bool s_name_ok(const char *name, size_t length)
{
    if (length < 1 || length > NAME_LENGTH_MAX || name[0] == '.') {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        const char c = name[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

void wal_files_segment_name(uint64_t first_seq, char ret_name[WAL_SEGMENT_NAME_SIZE])
{
    (void)snprintf(ret_name, WAL_SEGMENT_NAME_SIZE, "%020" PRIu64 "%s", first_seq, s_suffix);
}

/* Whether name is SEQ_DIGITS digits and then the suffix. */
static bool s_has_segment_form(const char *name, const char *suffix)
{
    return strspn(name, "0123456789") == SEQ_DIGITS && strcmp(name + SEQ_DIGITS, suffix) == 0;
}

err_t wal_files_parse_segment(const char *name, uint64_t *ret_first_seq)
{
    char digits[SEQ_DIGITS + 1];
    if (!s_has_segment_form(name, s_suffix)) {
        return ERR_INVALID;
    }
    memcpy(digits, name, SEQ_DIGITS);
    digits[SEQ_DIGITS] = '\0';
    return text_to_u64(digits, 1, UINT64_MAX, ret_first_seq);
}

static bool s_parse_hex(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (strlen(text) != INCARNATION_DIGITS || strspn(text, "0123456789abcdef") != strlen(text)) {
        return false;
    }
    for (; *text != '\0'; text++) {
        const unsigned digit =
            *text <= '9' ? (unsigned)(*text - '0') : (unsigned)(*text - 'a') + 10U;
        value = value << 4 | digit;
    }
    *ret_value = value;
    return value != 0;
}

/* The part of a folder's name before its last '-'. */
static bool s_take_name(const char *folder, const char **ret_rest, char *ret_name)
{
    const char *dash = strrchr(folder, '-');
    if (dash == NULL || !s_name_ok(folder, (size_t)(dash - folder))) {
        return false;
    }
    memcpy(ret_name, folder, (size_t)(dash - folder));
    ret_name[dash - folder] = '\0';
    *ret_rest = dash + 1;
    return true;
}

static bool s_parse_tenant(const char *folder, wal_stream_name_t *name)
{
    const char *generation = NULL;
    return s_take_name(folder, &generation, name->tenant_name) && generation[0] != '0' &&
           text_to_u64(generation, 1, UINT64_MAX, &name->tenant.value) == ERR_OK;
}

static bool s_parse_origin(const char *folder, wal_stream_name_t *name)
{
    const char *incarnation = NULL;
    return s_take_name(folder, &incarnation, name->region_name) &&
           s_parse_hex(incarnation, &name->incarnation);
}

err_t wal_files_parse_stream(const char *tenant_folder,
                             const char *stream_folder,
                             wal_stream_name_t *ret_name)
{
    wal_stream_name_t name;
    if (!s_parse_tenant(tenant_folder, &name) || !s_parse_origin(stream_folder, &name)) {
        return ERR_INVALID;
    }
    *ret_name = name;
    return ERR_OK;
}

/* -- paths ------------------------------------------------------------------------------------- */

static err_t s_too_long(int length, errbuf_t *errbuf)
{
    errbuf_set(errbuf, "path of a log file: expected less than %d bytes, found %d",
               WAL_PATH_SIZE_MAX, length);
    return ERR_TOO_LARGE;
}

static err_t s_check_name(const char *name, errbuf_t *errbuf)
{
    if (!s_name_ok(name, strlen(name))) {
        errbuf_set(errbuf, "name '%.80s': expected 1..%d letters, digits and ._- , no dot in front",
                   name, NAME_LENGTH_MAX);
        return ERR_INVALID;
    }
    return ERR_OK;
}

err_t wal_files_tenants_path(const char *data_folder,
                             const char *region_name,
                             shard_id_t shard,
                             wal_path_t *ret_path,
                             errbuf_t *errbuf)
{
    wal_path_t path;
    err_t err = s_check_name(region_name, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    const int length = snprintf(path.text, sizeof(path.text), "%s/%s/shard-%u/tenants", data_folder,
                                region_name, (unsigned)shard.value);
    if (length < 0 || (size_t)length >= sizeof(path.text)) {
        return s_too_long(length, errbuf);
    }
    *ret_path = path;
    return ERR_OK;
}

err_t wal_files_stream_path(const char *tenants_folder,
                            const wal_stream_name_t *name,
                            wal_path_t *ret_path,
                            errbuf_t *errbuf)
{
    wal_path_t path;
    err_t err = s_check_name(name->tenant_name, errbuf);
    if (err == ERR_OK) {
        err = s_check_name(name->region_name, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    CHECK(name->tenant.value != 0 && name->incarnation != 0);
    const int length =
        snprintf(path.text, sizeof(path.text), "%s/%s-%" PRIu64 "/%s-%016" PRIx64, tenants_folder,
                 name->tenant_name, name->tenant.value, name->region_name, name->incarnation);
    if (length < 0 || (size_t)length >= sizeof(path.text)) {
        return s_too_long(length, errbuf);
    }
    *ret_path = path;
    return ERR_OK;
}

err_t wal_files_join(const char *folder,
                     const char *name,
                     const char *suffix,
                     wal_path_t *ret_path,
                     errbuf_t *errbuf)
{
    wal_path_t path;
    const int length = snprintf(path.text, sizeof(path.text), "%s/%s%s", folder, name, suffix);
    if (length < 0 || (size_t)length >= sizeof(path.text)) {
        return s_too_long(length, errbuf);
    }
    *ret_path = path;
    return ERR_OK;
}

err_t wal_files_segment_path(const char *folder,
                             uint64_t first_seq,
                             wal_path_t *ret_path,
                             errbuf_t *errbuf)
{
    char name[WAL_SEGMENT_NAME_SIZE];
    wal_files_segment_name(first_seq, name);
    return wal_files_join(folder, name, "", ret_path, errbuf);
}

/* -- lists of segments ------------------------------------------------------------------------- */

void wal_segment_list_add(wal_segment_list_t *self, wal_segment_t segment)
{
    CHECK(self->count == 0 || self->items[self->count - 1].first_seq < segment.first_seq);
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 16 : 2 * self->capacity;
        wal_segment_t *items = realloc(self->items, self->capacity * sizeof(*items));
        CHECK(items != NULL);
        self->items = items;
    }
    self->items[self->count++] = segment;
}

size_t wal_segment_list_find(const wal_segment_list_t *self, uint64_t seq)
{
    size_t low = 0;
    size_t high = self->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (self->items[middle].last_seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void wal_segment_list_done(wal_segment_list_t *self)
{
    free(self->items);
    *self = (wal_segment_list_t){NULL, 0, 0};
}

typedef struct {
    wal_segment_list_t list;
    size_t leftover_count;
    bool too_many;
} segments_walk_t;

static void s_on_segment(void *context, const char *name, uint64_t size_bytes)
{
    segments_walk_t *walk = context;
    uint64_t first_seq = 0;
    if (size_bytes == UINT64_MAX) {
        return; /* a folder */
    }
    if (s_has_segment_form(name, s_suffix_leftover)) {
        walk->leftover_count++;
        return;
    }
    if (wal_files_parse_segment(name, &first_seq) != ERR_OK) {
        return;
    }
    if (walk->list.count >= SEGMENT_COUNT_MAX) {
        walk->too_many = true;
        return;
    }
    wal_segment_list_add(&walk->list, (wal_segment_t){first_seq, 0, size_bytes});
}

err_t wal_files_list_segments(const disk_t *disk,
                              const char *folder,
                              wal_segment_list_t *ret_list,
                              size_t *ret_leftover_count,
                              errbuf_t *errbuf)
{
    segments_walk_t walk = {{NULL, 0, 0}, 0, false};
    err_t err = disk->list(disk->context, folder, s_on_segment, &walk, errbuf);
    if (err == ERR_OK && walk.too_many) {
        errbuf_set(errbuf, "folder %s: more than %d segments", folder, SEGMENT_COUNT_MAX);
        err = ERR_TOO_LARGE;
    }
    if (err != ERR_OK) {
        wal_segment_list_done(&walk.list);
        return err;
    }
    *ret_list = walk.list;
    if (ret_leftover_count != NULL) {
        *ret_leftover_count = walk.leftover_count;
    }
    return ERR_OK;
}

typedef struct {
    const disk_t *disk;
    const char *folder;
    buffer_t names; /* of leftovers, each with its terminator */
} leftovers_walk_t;

static void s_on_leftover(void *context, const char *name, uint64_t size_bytes)
{
    leftovers_walk_t *walk = context;
    if (size_bytes != UINT64_MAX && s_has_segment_form(name, s_suffix_leftover)) {
        buffer_append(&walk->names, name, strlen(name) + 1);
    }
}

err_t wal_files_remove_leftovers(const disk_t *disk, const char *folder, errbuf_t *errbuf)
{
    leftovers_walk_t walk = {.disk = disk, .folder = folder};
    buffer_init(&walk.names);
    err_t err = disk->list(disk->context, folder, s_on_leftover, &walk, errbuf);
    size_t offset = 0;
    while (err == ERR_OK && offset < walk.names.size) {
        const char *name = (const char *)walk.names.data + offset;
        wal_path_t path;
        err = wal_files_join(folder, name, "", &path, errbuf);
        if (err == ERR_OK) {
            err = disk->unlink(disk->context, path.text, errbuf);
        }
        offset += strlen(name) + 1;
    }
    buffer_done(&walk.names);
    return err;
}

/* -- lists of streams -------------------------------------------------------------------------- */

static void s_on_folder(void *context, const char *name, uint64_t size_bytes)
{
    buffer_t *names = context;
    if (size_bytes == UINT64_MAX && strlen(name) <= FOLDER_NAME_SIZE_MAX) {
        buffer_append(names, name, strlen(name) + 1);
    }
}

/* Every stream in one tenant's folder. */
static err_t s_list_tenant(const disk_t *disk,
                           const wal_path_t *tenant_path,
                           const wal_stream_name_t *tenant,
                           wal_files_stream_fn callback,
                           void *callback_context,
                           errbuf_t *errbuf)
{
    buffer_t names;
    buffer_init(&names);
    err_t err = disk->list(disk->context, tenant_path->text, s_on_folder, &names, errbuf);
    size_t offset = 0;
    if (err == ERR_NOT_FOUND) {
        err = ERR_OK; /* removed since its name was read */
    }
    while (err == ERR_OK && offset < names.size) {
        const char *folder = (const char *)names.data + offset;
        wal_stream_name_t name = *tenant;
        wal_path_t path;
        offset += strlen(folder) + 1;
        if (!s_parse_origin(folder, &name)) {
            continue;
        }
        err = wal_files_join(tenant_path->text, folder, "", &path, errbuf);
        if (err == ERR_OK) {
            err = callback(callback_context, &name, path.text);
        }
    }
    buffer_done(&names);
    return err;
}

err_t wal_files_list_streams(const disk_t *disk,
                             const char *tenants_folder,
                             wal_files_stream_fn callback,
                             void *callback_context,
                             errbuf_t *errbuf)
{
    buffer_t names;
    buffer_init(&names);
    err_t err = disk->list(disk->context, tenants_folder, s_on_folder, &names, errbuf);
    size_t offset = 0;
    if (err == ERR_NOT_FOUND) {
        err = ERR_OK;
    }
    while (err == ERR_OK && offset < names.size) {
        const char *folder = (const char *)names.data + offset;
        wal_stream_name_t tenant = {.incarnation = 0};
        wal_path_t path;
        offset += strlen(folder) + 1;
        if (!s_parse_tenant(folder, &tenant)) {
            continue;
        }
        err = wal_files_join(tenants_folder, folder, "", &path, errbuf);
        if (err == ERR_OK) {
            err = s_list_tenant(disk, &path, &tenant, callback, callback_context, errbuf);
        }
    }
    buffer_done(&names);
    return err;
}
