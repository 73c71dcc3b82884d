#include "tests/simulation/attic.h"

#include "common/base/check.h"
#include "common/wal/wal_files.h"
#include "common/wal/wal_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attic {
    sim_disk_t *disk;
    uint64_t segment_count;
    bool has_conflict;
};

attic_t *attic_new(void)
{
    attic_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->disk = sim_disk_new(1);
    return self;
}

void attic_destroy(attic_t **self_p)
{
    attic_t *self = *self_p;
    if (self != NULL) {
        sim_disk_destroy(&self->disk);
        free(self);
        *self_p = NULL;
    }
}

/* Every block verifies, and the last one is the footer of the others. */
static bool s_is_sealed(slice_t bytes)
{
    wal_block_t block = {.kind = WAL_BLOCK_SEGMENT};
    buffer_t hashes = {0};
    err_t err = ERR_OK;
    while (err == ERR_OK && bytes.size > 0) {
        err = wal_decode_block(bytes, &block, NULL);
        if (err == ERR_OK && block.kind == WAL_BLOCK_BATCH) {
            buffer_append(&hashes, block.as.batch.hash.bytes, WAL_HASH_SIZE);
        }
        if (err == ERR_OK) {
            bytes = slice_make(bytes.data + block.size, bytes.size - block.size);
        }
    }
    bool is_sealed = err == ERR_OK && block.kind == WAL_BLOCK_FOOTER &&
                     wal_footer_matches(&block.as.footer, buffer_slice(&hashes));
    buffer_done(&hashes);
    return is_sealed;
}

/* The path in the attic of <data>/<region>/shard-<n>/tenants/<tenant>/<stream>/<segment>; false for any
 * other file, also for what is in quarantine. */
static bool s_path(const char *path, wal_path_t *ret_path)
{
    const char *shard = strchr(path, '/');
    shard = shard == NULL ? NULL : strchr(shard + 1, '/');
    const char *name = strrchr(path, '/');
    uint64_t first_seq = 0;
    uint32_t depth = 0;
    for (const char *at = shard; at != NULL && *at != '\0'; at++) {
        depth += *at == '/' ? 1 : 0;
    }
    if (depth != 5 || wal_files_parse_segment(name + 1, &first_seq) != ERR_OK) {
        return false;
    }
    int length = snprintf(ret_path->text, sizeof(ret_path->text),
                          ATTIC_DATA_FOLDER "/" ATTIC_REGION_NAME "%s", shard);
    return length > 0 && (size_t)length < sizeof(ret_path->text);
}

static void s_on_unlink(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    attic_t *self = context;
    wal_path_t kept;
    const uint8_t *known = NULL;
    uint64_t known_size = 0;
    if (!s_path(path, &kept) || !s_is_sealed(slice_make(bytes, size))) {
        return;
    }
    if (sim_disk_peek(self->disk, kept.text, &known, &known_size) == ERR_OK) {
        bool is_same = known_size == size && memcmp(known, bytes, size) == 0;
        self->has_conflict = self->has_conflict || !is_same;
        return;
    }
    sim_disk_put(self->disk, kept.text, bytes, size);
    self->segment_count++;
}

void attic_watch(attic_t *self, sim_disk_t *disk)
{
    sim_disk_watch_unlink(disk, s_on_unlink, self);
}

const disk_t *attic_disk(const attic_t *self)
{
    return sim_disk_disk(self->disk);
}

uint64_t attic_segment_count(const attic_t *self)
{
    return self->segment_count;
}

bool attic_has_conflict(const attic_t *self)
{
    return self->has_conflict;
}
