#include "common/wal/wal_mark.h"

#include "common/wal/wal_files.h"

#include <string.h>

err_t wal_mark_find(
    const disk_t *disk, const char *folder, wal_mark_t mark, bool *ret_is_marked, errbuf_t *errbuf)
{
    wal_path_t path;
    err_t err = wal_files_join(folder, mark.name, "", &path, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    disk_file_t *file = NULL;
    err = disk->open(disk->context, path.text, DISK_READ, &file, errbuf);
    if (err == ERR_NOT_FOUND) {
        *ret_is_marked = false;
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    disk->close(disk->context, &file);
    err = disk->sync_folder(disk->context, folder, errbuf);
    if (err == ERR_OK) {
        *ret_is_marked = true;
    }
    return err;
}

static err_t s_write(const disk_t *disk, const char *path, const char *text, errbuf_t *errbuf)
{
    disk_file_t *file = NULL;
    err_t err = disk->open(disk->context, path, DISK_CREATE, &file, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    err = disk->write_at(disk->context, file, 0, text, strlen(text), errbuf);
    if (err == ERR_OK) {
        err = disk->sync(disk->context, file, errbuf);
    }
    disk->close(disk->context, &file);
    return err;
}

err_t wal_mark_make(const disk_t *disk, const char *folder, wal_mark_t mark, errbuf_t *errbuf)
{
    bool is_marked = false;
    err_t err = wal_mark_find(disk, folder, mark, &is_marked, errbuf);
    if (err != ERR_OK || is_marked) {
        return err;
    }
    wal_path_t path;
    wal_path_t unfinished;
    err = wal_files_join(folder, mark.name, "", &path, errbuf);
    if (err == ERR_OK) {
        err = wal_files_join(folder, mark.name, ".tmp", &unfinished, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->make_folders(disk->context, folder, errbuf);
    }
    if (err == ERR_OK) {
        err = s_write(disk, unfinished.text, mark.text, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->rename(disk->context, unfinished.text, path.text, errbuf);
    }
    if (err == ERR_OK) {
        err = disk->sync_folder(disk->context, folder, errbuf);
    }
    return err;
}

err_t wal_mark_remove(const disk_t *disk, const char *folder, wal_mark_t mark, errbuf_t *errbuf)
{
    wal_path_t path;
    err_t err = wal_files_join(folder, mark.name, "", &path, errbuf);
    if (err == ERR_OK) {
        err = disk->unlink(disk->context, path.text, errbuf);
    }
    if (err == ERR_OK || err == ERR_NOT_FOUND) { /* it may be gone, and that not be durable */
        err = disk->sync_folder(disk->context, folder, errbuf);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}
