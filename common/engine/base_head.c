/* The head of a base, and where bases lie: base_file.h. */
#include "common/engine/base_file.h"

#include "common/base/check.h"

#include <blake3.h>
#include <stdlib.h>
#include <string.h>

static const char s_magic[8] = {'T', 'I', 'D', 'B', 'A', 'S', 'E', '2'};

enum { S_POSITIONS_OFFSET = 88, S_MAGIC_DIGIT = 7, S_JOIN_OFFSET = 56 };

static_assert(BASE_HASH_SIZE == BLAKE3_OUT_LEN, "the whole hash is kept");
static_assert(BASE_HEAD_SIZE_MIN == S_POSITIONS_OFFSET + BASE_HASH_SIZE, "no stream");

/* -- head -------------------------------------------------------------------------------------- */

void base_head_done(base_head_t *self)
{
    free(self->positions);
    *self = (base_head_t){.position_count = 0};
}

const base_position_t *base_head_find(const base_head_t *self, stream_id_t stream)
{
    for (uint32_t i = 0; i < self->position_count; i++) {
        if (stream_id_equal(self->positions[i].stream, stream)) {
            return &self->positions[i];
        }
    }
    return NULL;
}

wal_base_t base_head_wal_base(const base_head_t *self, stream_id_t stream)
{
    const base_position_t *position = base_head_find(self, stream);
    wal_base_t base = {.seq = 0};
    if (position != NULL) {
        base.seq = position->seq;
        base.hash = position->hash;
    }
    return base;
}

wal_base_t base_head_join(const base_head_t *self, stream_id_t stream)
{
    const base_position_t *position = base_head_find(self, stream);
    wal_base_t none = {.seq = 0};
    return position == NULL ? none : position->join;
}

static size_t s_head_size(uint32_t position_count)
{
    return BASE_HEAD_SIZE_MIN + (size_t)position_count * BASE_POSITION_SIZE;
}

void base_head_encode(const base_head_t *self, buffer_t *out)
{
    CHECK(self->position_count <= STREAM_COUNT_MAX);
    size_t size = s_head_size(self->position_count);
    uint8_t *at = buffer_extend(out, size);
    memset(at, 0, size);
    memcpy(at, s_magic, sizeof(s_magic));
    bytes_put_u32(at + 8, BASE_VERSION);
    bytes_put_u16(at + 12, self->shard.value);
    bytes_put_u64(at + 16, self->tenant.value);
    bytes_put_u64(at + 24, (uint64_t)self->made_wall_ns);
    bytes_put_u64(at + 32, self->entry_count);
    bytes_put_u64(at + 40, self->entries_size);
    bytes_put_u32(at + 48, self->position_count);
    memcpy(at + 56, self->digest, BASE_DIGEST_SIZE);
    for (uint32_t i = 0; i < self->position_count; i++) {
        const base_position_t *position = &self->positions[i];
        uint8_t *row = at + S_POSITIONS_OFFSET + (size_t)i * BASE_POSITION_SIZE;
        bytes_put_u16(row, position->stream.origin.region.value);
        bytes_put_u64(row + 8, position->stream.incarnation);
        bytes_put_u64(row + 16, position->seq);
        memcpy(row + 24, position->hash.bytes, WAL_HASH_SIZE);
        bytes_put_u64(row + S_JOIN_OFFSET, position->join.seq);
        memcpy(row + S_JOIN_OFFSET + 8, position->join.hash.bytes, WAL_HASH_SIZE);
    }
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, at, size - BASE_HASH_SIZE);
    blake3_hasher_finalize(&hasher, at + size - BASE_HASH_SIZE, BASE_HASH_SIZE);
}

static err_t s_corrupt(const char *what, errbuf_t *errbuf)
{
    errbuf_set(errbuf, "base: %s", what);
    return ERR_CORRUPT;
}

/* Fields of the head that stand for themselves; at least BASE_HEAD_SIZE_MIN bytes. */
static err_t s_decode_fixed(const uint8_t *at, base_head_t *ret_head, errbuf_t *errbuf)
{
    bool is_ours = memcmp(at, s_magic, S_MAGIC_DIGIT) == 0;
    uint32_t version = bytes_get_u32(at + 8);
    if (is_ours && at[S_MAGIC_DIGIT] > s_magic[S_MAGIC_DIGIT] && version > BASE_VERSION) {
        errbuf_set(errbuf, "base: expected version %d, found %u of a later program", BASE_VERSION,
                   version);
        return ERR_UNSUPPORTED;
    }
    if (is_ours && at[S_MAGIC_DIGIT] == '1' && version == 1) {
        errbuf_set(
            errbuf,
            "base: expected version %d, found 1 of an earlier program, whose copies of requests "
            "were judged by another rule; delete it",
            BASE_VERSION);
        return ERR_UNSUPPORTED;
    }
    if (!is_ours || version != BASE_VERSION || at[S_MAGIC_DIGIT] != '0' + BASE_VERSION) {
        return s_corrupt("expected its magic and version, found other bytes", errbuf);
    }
    *ret_head = (base_head_t){
        .tenant = {bytes_get_u64(at + 16)},
        .shard = {bytes_get_u16(at + 12)},
        .made_wall_ns = (int64_t)bytes_get_u64(at + 24),
        .entry_count = bytes_get_u64(at + 32),
        .entries_size = bytes_get_u64(at + 40),
        .position_count = bytes_get_u32(at + 48),
    };
    memcpy(ret_head->digest, at + 56, BASE_DIGEST_SIZE);
    if (ret_head->tenant.value == 0 || ret_head->shard.value >= SHARD_COUNT_MAX ||
        ret_head->made_wall_ns < 0 || bytes_get_u16(at + 14) != 0 || bytes_get_u32(at + 52) != 0 ||
        ret_head->position_count > STREAM_COUNT_MAX ||
        ret_head->entries_size / (BASE_ENTRY_SIZE_MIN + 1) < ret_head->entry_count ||
        ret_head->entries_size > UINT64_MAX / 2) {
        return s_corrupt("head with impossible fields", errbuf);
    }
    return ERR_OK;
}

/* False when the row says what no writer writes. */
static bool s_decode_join(const uint8_t *at, base_position_t *position)
{
    position->join.seq = bytes_get_u64(at);
    memcpy(position->join.hash.bytes, at + 8, WAL_HASH_SIZE);
    static const wal_hash_t s_none = {{0}};
    bool has_hash = memcmp(&s_none, &position->join.hash, sizeof(s_none)) != 0;
    bool at_seq = position->join.seq == position->seq;
    bool is_same = memcmp(&position->hash, &position->join.hash, sizeof(s_none)) == 0;
    return position->join.seq <= position->seq && has_hash == (position->join.seq > 0) &&
           (!at_seq || is_same);
}

static err_t s_decode_positions(const uint8_t *at, base_head_t *head, errbuf_t *errbuf)
{
    for (uint32_t i = 0; i < head->position_count; i++, at += BASE_POSITION_SIZE) {
        base_position_t *position = &head->positions[i];
        *position = (base_position_t){
            .stream = {.tenant = head->tenant,
                       .incarnation = bytes_get_u64(at + 8),
                       .origin = {{bytes_get_u16(at)}, head->shard}},
            .seq = bytes_get_u64(at + 16),
        };
        memcpy(position->hash.bytes, at + 24, WAL_HASH_SIZE);
        static const uint8_t s_zero[6] = {0};
        uint16_t region = position->stream.origin.region.value;
        bool in_order =
            i == 0 || stream_id_compare(head->positions[i - 1].stream, position->stream) < 0;
        if (region < 1 || region > REGION_COUNT_MAX ||
            memcmp(at + 2, s_zero, sizeof(s_zero)) != 0 || position->stream.incarnation == 0 ||
            position->seq == 0 || !in_order || !s_decode_join(at + S_JOIN_OFFSET, position)) {
            return s_corrupt("stream with impossible fields, or out of order", errbuf);
        }
    }
    return ERR_OK;
}

err_t base_head_decode(slice_t bytes, base_head_t *ret_head, size_t *ret_size, errbuf_t *errbuf)
{
    base_head_t head;
    *ret_size = BASE_HEAD_SIZE_MIN;
    if (bytes.size < BASE_HEAD_SIZE_MIN) {
        (void)s_corrupt("the head is cut short", errbuf);
        return ERR_AGAIN;
    }
    err_t err = s_decode_fixed(bytes.data, &head, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    size_t size = s_head_size(head.position_count);
    *ret_size = size;
    if (bytes.size < size) {
        (void)s_corrupt("the head is cut short", errbuf);
        return ERR_AGAIN;
    }
    uint8_t hash[BASE_HASH_SIZE];
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, bytes.data, size - BASE_HASH_SIZE);
    blake3_hasher_finalize(&hasher, hash, sizeof(hash));
    if (memcmp(hash, bytes.data + size - BASE_HASH_SIZE, sizeof(hash)) != 0) {
        return s_corrupt("its head does not have the hash that it says", errbuf);
    }
    head.positions = calloc((size_t)head.position_count + 1, sizeof(*head.positions));
    CHECK(head.positions != NULL);
    err = s_decode_positions(bytes.data + S_POSITIONS_OFFSET, &head, errbuf);
    if (err != ERR_OK) {
        base_head_done(&head);
        return err;
    }
    *ret_head = head;
    return ERR_OK;
}

/* -- places ------------------------------------------------------------------------------------ */

err_t base_path(const char *tenants_folder,
                tenant_id_t tenant,
                const char *tenant_name,
                wal_path_t *ret_path,
                errbuf_t *errbuf)
{
    /* The folder of a tenant is that of any of its streams, one level up. */
    wal_stream_name_t name = {.tenant = tenant, .incarnation = 1, .region_name = "any"};
    CHECK(strlen(tenant_name) <= NAME_LENGTH_MAX);
    memcpy(name.tenant_name, tenant_name, strlen(tenant_name) + 1);
    wal_path_t folder;
    err_t err = wal_files_stream_path(tenants_folder, &name, &folder, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    *strrchr(folder.text, '/') = '\0';
    return wal_files_join(folder.text, "state.base", "", ret_path, errbuf);
}

err_t base_stage_path(const wal_path_t *path,
                      base_stage_t stage,
                      wal_path_t *ret_path,
                      errbuf_t *errbuf)
{
    static const char *const s_suffixes[] = {[BASE_STAGE_FETCHING] = ".fetching",
                                             [BASE_STAGE_FETCHED] = ".fetched",
                                             [BASE_STAGE_LOADING] = ".loading"};
    size_t length = strlen(path->text);
    size_t suffix_size = strlen(s_suffixes[stage]) + 1;
    if (length + suffix_size > WAL_PATH_SIZE_MAX) {
        errbuf_set(errbuf, "path of a base: expected less than %d bytes", WAL_PATH_SIZE_MAX);
        return ERR_TOO_LARGE;
    }
    *ret_path = *path;
    memcpy(ret_path->text + length, s_suffixes[stage], suffix_size);
    return ERR_OK;
}

err_t base_read_head(const disk_t *disk,
                     const char *path,
                     tenant_id_t tenant,
                     shard_id_t shard,
                     base_head_t *ret_head,
                     errbuf_t *errbuf)
{
    disk_file_t *file = NULL;
    err_t err = disk->open(disk->context, path, DISK_READ, &file, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    buffer_t bytes;
    buffer_init(&bytes);
    size_t wanted = BASE_HEAD_SIZE_MIN;
    base_head_t head;
    err = ERR_AGAIN;
    for (int round = 0; err == ERR_AGAIN && round < 2; round++) {
        size_t size = 0;
        buffer_clear(&bytes);
        err = disk->read_at(disk->context, file, 0, buffer_extend(&bytes, wanted), wanted, &size,
                            errbuf);
        if (err == ERR_OK) {
            err = base_head_decode(slice_make(bytes.data, size), &head, &wanted, errbuf);
        }
    }
    disk->close(disk->context, &file);
    buffer_done(&bytes);
    if (err == ERR_OK && (head.tenant.value != tenant.value || head.shard.value != shard.value)) {
        base_head_done(&head);
        err = s_corrupt("it is of another tenant or shard", errbuf);
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "%s", path);
        return err == ERR_AGAIN ? ERR_CORRUPT : err;
    }
    *ret_head = head;
    return ERR_OK;
}

err_t base_hash_before(const disk_t *disk,
                       const char *stream_folder,
                       uint64_t first_seq,
                       wal_hash_t *ret_hash,
                       errbuf_t *errbuf)
{
    wal_path_t path;
    disk_file_t *file = NULL;
    uint8_t bytes[WAL_SEGMENT_HEADER_SIZE];
    size_t size = 0;
    wal_block_t block;
    err_t err = wal_files_segment_path(stream_folder, first_seq, &path, errbuf);
    if (err == ERR_OK) {
        err = disk->open(disk->context, path.text, DISK_READ, &file, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    err = disk->read_at(disk->context, file, 0, bytes, sizeof(bytes), &size, errbuf);
    disk->close(disk->context, &file);
    if (err == ERR_OK) {
        err = wal_decode_block(slice_make(bytes, size), &block, errbuf);
    }
    if (err == ERR_OK &&
        (block.kind != WAL_BLOCK_SEGMENT || block.as.segment.first_seq != first_seq)) {
        errbuf_set(errbuf, "expected the header of this segment, found another block");
        err = ERR_CORRUPT;
    }
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "%s", path.text);
        return err == ERR_AGAIN ? ERR_CORRUPT : err;
    }
    *ret_hash = block.as.segment.previous_hash;
    return ERR_OK;
}

err_t base_of_files(const disk_t *disk,
                    const char *stream_folder,
                    wal_base_t *ret_base,
                    errbuf_t *errbuf)
{
    wal_segment_list_t files = {NULL, 0, 0};
    wal_base_t base = {.seq = 0};
    err_t err = wal_files_list_segments(disk, stream_folder, &files, NULL, errbuf);
    if (err == ERR_OK && files.count > 0 && files.items[0].first_seq > 1) {
        base.seq = files.items[0].first_seq - 1;
        err = base_hash_before(disk, stream_folder, base.seq + 1, &base.hash, errbuf);
    }
    wal_segment_list_done(&files);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        *ret_base = base;
        err = ERR_OK;
    }
    return err;
}

err_t base_join_of_stream(const disk_t *disk,
                          const char *tenants_folder,
                          const char *tenant_name,
                          stream_id_t stream,
                          wal_base_t *ret_join,
                          errbuf_t *errbuf)
{
    wal_path_t path;
    base_head_t head;
    err_t err = base_path(tenants_folder, stream.tenant, tenant_name, &path, errbuf);
    if (err == ERR_OK) {
        err = base_read_head(disk, path.text, stream.tenant, stream.origin.shard, &head, errbuf);
    }
    if (err == ERR_OK) {
        *ret_join = base_head_join(&head, stream);
        err = base_head_wal_base(&head, stream).seq == 0 ? ERR_NOT_FOUND : ERR_OK;
        base_head_done(&head);
    }
    return err;
}
