/* store_t over LMDB: what a shard node keeps between restarts (its checkpoint), in one folder.
 *
 *   <folder>/data.mdb    the pairs (database `pairs`) and what they are (database `about`)
 *   <folder>/lock.mdb    LMDB's table of readers
 *   <folder>/owner.lock  flock'ed by the one process that writes, with its process id
 *   <folder>/new.mdb     only while a store is being created: it appears whole, by rename
 *
 * Two threads. The caller's thread (the loop) opens, submits, polls, walks and gets. One writer
 * thread, started here, does nothing but commit: it sleeps until a batch is handed over, writes it
 * in one durable transaction, and says so through the event fd. The hand-over holds one batch: that
 * is the whole queue, and submit says ERR_AGAIN while it is in use.
 *
 *              submit                 writer: commit               poll
 *      idle ------------> handed over ---------------> reported ----------> idle
 *
 * Invariants
 *   1. a transaction is there whole or not at all, through kill -9 and power cuts; poll says ERR_OK
 *      only after its last sync.
 *   2. walk and get see one committed state from beginning to end, never the batch half.
 *   3. each value lies with a checksum over key and value, which every read verifies; open verifies
 *      that LMDB can walk the file (store_lmdb_check.h). Damage is an error that names the place;
 *      nothing is deleted and nothing is made up.
 *   4. a full disk or a full map fails the transaction, gives back the space that the attempt took,
 *      and leaves the store as it was: a later submit may succeed. Any other failure of a write is
 *      for good: every later submit says ERR_IO, because a failed sync is never retried.
 *
 * LMDB's own rules hold: a folder is opened once per process, and not used across fork. */
#ifndef TIDAL_COMMON_STORE_STORE_LMDB_H
#define TIDAL_COMMON_STORE_STORE_LMDB_H

#include "common/base/seam.h"

typedef struct store_lmdb store_lmdb_t;

#define STORE_LMDB_MAP_SIZE_DEFAULT ((uint64_t)64 << 30) /* address space, not memory or disk */
#define STORE_LMDB_MAP_SIZE_MIN     ((uint64_t)1 << 20)
#define STORE_LMDB_MAP_SIZE_MAX     ((uint64_t)1 << 46) /* half of a process's address space */

typedef struct {
    const char *folder;       /* its parent must exist; copied */
    uint64_t map_size_bytes;  /* the file never grows beyond; 0: the default */
    uint32_t content_version; /* of what the caller keeps in the pairs; 0 is allowed */
} store_lmdb_options_t;

/* Opens the store of a folder for reading and writing, and creates both when missing.
 * out ret_self owned by the caller until store_lmdb_close
 * errs ERR_LOCKED another process writes it · ERR_CORRUPT the file is damaged · ERR_UNSUPPORTED
 *      written by another version, or with another content_version · ERR_INVALID map size out of
 *      range · ERR_NOT_FOUND no parent folder · ERR_DISK_FULL · ERR_IO
 * cost reads every page in use once (1,000,000 pairs in 600 MB: 80 ms when cached) */
err_t store_lmdb_open(const store_lmdb_options_t *options,
                      store_lmdb_t **ret_self,
                      errbuf_t *errbuf);

/* For offline tools, whether or not a process writes the store at the time, but never in that
 * process itself. Needs no permission to write: without it the writer's process must not run.
 * A reader that stays open keeps the writer from reusing space.
 * errs as store_lmdb_open, and ERR_NOT_FOUND no store there · ERR_LOCKED a process writes it, and
 *      without permission to write into the folder it cannot be read beside it */
err_t store_lmdb_open_read_only(const store_lmdb_options_t *options,
                                store_lmdb_t **ret_self,
                                errbuf_t *errbuf);

/* Finishes the batch that was handed over, stops the writer, nulls. NULL is allowed. */
void store_lmdb_close(store_lmdb_t **self_p);

/* The seam; lives as long as self. Of a read-only store submit says ERR_UNSUPPORTED. */
store_t store_lmdb_store(store_lmdb_t *self);

/* Becomes readable when poll has something to report; poll clears it. -1 for a read-only store.
 * Belongs to the store. */
int store_lmdb_event_fd(const store_lmdb_t *self);

typedef struct {
    uint64_t pair_count;
    uint64_t file_size_bytes;
    uint64_t commit_count; /* since open, successful ones */
    uint64_t failure_count;
    uint64_t last_commit_ns; /* what the last successful one took */
} store_lmdb_stats_t;

/* For tests. errs ERR_IO */
err_t store_lmdb_stats(store_lmdb_t *self, store_lmdb_stats_t *ret_stats, errbuf_t *errbuf);

#endif
