#include "services/tidalctl/verify_base.h"

#include "common/base/check.h"

#include <stdlib.h>
#include <string.h>

/* The folder of the stream's tenant, and the name of a base in it. errs ERR_TOO_LARGE */
static err_t s_path(const log_stream_t *stream, wal_path_t *ret_path)
{
    wal_path_t folder = stream->folder;
    char *slash = strrchr(folder.text, '/');
    if (slash == NULL) {
        return ERR_INVALID;
    }
    *slash = '\0';
    return wal_files_join(folder.text, "state.base", "", ret_path, NULL);
}

static const verify_base_t *s_find(const verify_bases_t *self, const wal_path_t *path)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (strcmp(self->items[i].path.text, path->text) == 0) {
            return &self->items[i];
        }
    }
    return NULL;
}

const verify_base_t *verify_bases_beside(const verify_bases_t *self, const log_stream_t *stream)
{
    wal_path_t path;
    return s_path(stream, &path) == ERR_OK ? s_find(self, &path) : NULL;
}

err_t verify_bases_add(verify_bases_t *self,
                       const disk_t *disk,
                       const log_stream_t *stream,
                       verify_report_t *report,
                       errbuf_t *errbuf)
{
    verify_base_t base;
    if (s_path(stream, &base.path) != ERR_OK || s_find(self, &base.path) != NULL) {
        return ERR_OK;
    }
    err_t err = base_read_head(disk, base.path.text, stream->stream.tenant,
                               stream->stream.origin.shard, &base.head, errbuf);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    if (err == ERR_CORRUPT || err == ERR_UNSUPPORTED) {
        verify_problem(report, "%s", errbuf->text);
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    if (self->count == self->capacity) {
        self->capacity = self->capacity == 0 ? 4 : 2 * self->capacity;
        self->items = realloc(self->items, self->capacity * sizeof(*self->items));
        CHECK(self->items != NULL);
    }
    self->items[self->count++] = base;
    return ERR_OK;
}

void verify_bases_done(verify_bases_t *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        base_head_done(&self->items[i].head);
    }
    free(self->items);
    *self = (verify_bases_t){.count = 0};
}
