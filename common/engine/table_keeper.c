#include "common/engine/table_keeper.h"

#include "common/base/check.h"

#include <stdio.h>
#include <stdlib.h>

struct table_keeper {
    const disk_t *disk;
    char path[WAL_PATH_SIZE_MAX];
    table_t *table; /* NULL before the first */
};

err_t table_keeper_open(const disk_t *disk,
                        const char *folder,
                        table_keeper_t **ret_keeper,
                        errbuf_t *errbuf)
{
    table_keeper_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->disk = disk;
    int length = snprintf(self->path, sizeof(self->path), "%s/table", folder);
    if (length < 0 || (size_t)length >= sizeof(self->path)) {
        free(self);
        errbuf_set(errbuf, "table cache: expected a path below %d bytes, found %s",
                   WAL_PATH_SIZE_MAX, folder);
        return ERR_TOO_LARGE;
    }
    err_t err = table_cache_load(disk, self->path, &self->table, errbuf);
    if (err != ERR_OK && err != ERR_NOT_FOUND && err != ERR_CORRUPT) {
        free(self);
        errbuf_prefix(errbuf, "load the cached routing table");
        return err;
    }
    *ret_keeper = self;
    return ERR_OK;
}

void table_keeper_close(table_keeper_t **self_p)
{
    table_keeper_t *self = *self_p;
    if (self != NULL) {
        table_destroy(&self->table);
        free(self);
        *self_p = NULL;
    }
}

err_t table_keeper_offer(table_keeper_t *self, slice_t encoded, errbuf_t *errbuf)
{
    table_t *table = NULL;
    err_t err = table_decode(encoded, &table, errbuf);
    if (err != ERR_OK) {
        errbuf_prefix(errbuf, "routing table from the control plane");
        return err;
    }
    if (!table_is_newer(table, self->table)) {
        table_destroy(&table);
        return ERR_STALE;
    }
    err = table_cache_save(table, self->disk, self->path, errbuf);
    if (err != ERR_OK) {
        table_destroy(&table);
        errbuf_prefix(errbuf, "keep the routing table");
        return err;
    }
    table_destroy(&self->table);
    self->table = table;
    return ERR_OK;
}

const table_t *table_keeper_table(const table_keeper_t *self)
{
    return self->table;
}

uint64_t table_keeper_version(const table_keeper_t *self)
{
    return self->table == NULL ? 0 : table_version(self->table);
}

bool table_keeper_places(const table_keeper_t *self,
                         const topology_t *topology,
                         stream_id_t stream,
                         region_id_t here,
                         region_id_t peer)
{
    const table_t *table = table_keeper_table(self);
    return table != NULL && stream.origin.shard.value < topology->shard_count &&
           stream.incarnation != 0 && table_is_placed(table, stream.tenant, here) &&
           table_is_placed(table, stream.tenant, stream.origin.region) &&
           table_is_placed(table, stream.tenant, peer);
}
