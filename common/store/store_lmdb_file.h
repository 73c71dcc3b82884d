/* The files of one LMDB store: who may write them, how they come to be, whether they are sound and
 * of the right version. What is done with them afterwards is store_lmdb.h. */
#ifndef TIDAL_COMMON_STORE_STORE_LMDB_FILE_H
#define TIDAL_COMMON_STORE_STORE_LMDB_FILE_H

#include "common/base/err.h"

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

/* An open store. */
typedef struct {
    MDB_env *env;
    MDB_dbi pairs;
    int lock_fd; /* flock'ed for as long as it is open; -1 for none */
} store_lmdb_file_t;

typedef struct {
    const char *folder;
    uint64_t map_size_bytes;
    uint32_t content_version;
    bool is_read_only;
} store_lmdb_file_options_t;

/* out ret_file to be closed with store_lmdb_file_close. errs as store_lmdb_open and
 * store_lmdb_open_read_only */
err_t store_lmdb_file_open(const store_lmdb_file_options_t *options,
                           store_lmdb_file_t *ret_file,
                           errbuf_t *errbuf);
void store_lmdb_file_close(store_lmdb_file_t *self);

/* The meaning of what LMDB or the system returned, with "<what>: <why>" as its text. */
err_t store_lmdb_fail(int code, const char *what, errbuf_t *errbuf);

/* A key or value to hand to LMDB, which only reads it although its type does not say so. */
MDB_val store_lmdb_val(const void *bytes, size_t size);

#endif
