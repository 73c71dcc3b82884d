/* The seams between tidalmesh and the world: clock, disk, store and network as small function
 * tables. Services plug in the real ones (common/env, common/store), the simulation plugs in its
 * own; nothing below common/env knows which.
 *
 * Disk rules, for every user of disk_t: a file appears by temporary name, write, sync, rename, sync
 * of the folder; an append is durable only after disk_sync returned ERR_OK; a failed write or sync
 * of a log is never retried (the process logs and exits). Whatever was not synced, the simulated
 * disk may keep, lose or tear. Paths are absolute or relative to the data folder, `/`-separated. */
#ifndef TIDAL_COMMON_BASE_SEAM_H
#define TIDAL_COMMON_BASE_SEAM_H

#include "common/base/err.h"
#include "common/base/ids.h"

#include <stddef.h>
#include <stdint.h>

/* -- clock ------------------------------------------------------------------------------------- */

/* The time of one loop turn, read once and handed to everything in it. */
typedef struct {
    int64_t mono_ns; /* for waits and time-outs; never goes back, starts anywhere */
    int64_t wall_ns; /* Unix epoch; may jump; used inside hlc and for defaults of event times */
} now_t;

/* -- disk -------------------------------------------------------------------------------------- */

typedef enum {
    DISK_READ = 0,   /* must exist */
    DISK_WRITE = 1,  /* read and write, must exist */
    DISK_CREATE = 2, /* read and write, created when missing, kept when there */
} disk_mode_t;

typedef struct disk disk_t;
typedef struct disk_file disk_file_t; /* opaque, owned by the disk that opened it */

typedef void (*disk_list_fn)(void *context, const char *name, uint64_t size_bytes);

struct disk {
    void *context;
    /* out ret_file owned by the caller until close. errs ERR_NOT_FOUND, ERR_IO, ERR_DISK_FULL */
    err_t (*open)(void *context,
                  const char *path,
                  disk_mode_t mode,
                  disk_file_t **ret_file,
                  errbuf_t *errbuf);
    /* Closes without sync; nulls. */
    void (*close)(void *context, disk_file_t **file_p);
    /* Reads up to `size` bytes; a short read means the end of the file. */
    err_t (*read_at)(void *context,
                     disk_file_t *file,
                     uint64_t offset,
                     void *bytes,
                     size_t size,
                     size_t *ret_size,
                     errbuf_t *errbuf);
    /* Writes all or fails; on failure an unknown part may have reached the file. */
    err_t (*write_at)(void *context,
                      disk_file_t *file,
                      uint64_t offset,
                      const void *bytes,
                      size_t size,
                      errbuf_t *errbuf);
    /* Data and size durable when ERR_OK. */
    err_t (*sync)(void *context, disk_file_t *file, errbuf_t *errbuf);
    err_t (*truncate)(void *context, disk_file_t *file, uint64_t size, errbuf_t *errbuf);
    err_t (*size)(void *context, disk_file_t *file, uint64_t *ret_size, errbuf_t *errbuf);
    err_t (*rename)(void *context, const char *from, const char *to, errbuf_t *errbuf);
    err_t (*unlink)(void *context, const char *path, errbuf_t *errbuf);
    /* Creates all missing folders of the path and makes them durable. */
    err_t (*make_folders)(void *context, const char *path, errbuf_t *errbuf);
    err_t (*sync_folder)(void *context, const char *path, errbuf_t *errbuf);
    /* Names in byte order, without . and ..; ERR_NOT_FOUND when there is no such folder.
     * Folders are listed with size UINT64_MAX. */
    err_t (*list)(void *context,
                  const char *path,
                  disk_list_fn callback,
                  void *callback_context,
                  errbuf_t *errbuf);
    /* Bytes that can still be written below this path. */
    err_t (*free_bytes)(void *context, const char *path, uint64_t *ret_free, errbuf_t *errbuf);
};

/* -- store ------------------------------------------------------------------------------------- */

/* Ordered key-value store with atomic transactions (LMDB in the services, memory in the
 * simulation). Keys are ordered as unsigned bytes, a prefix first. A batch (store_batch.h) is a
 * list of puts and deletes that becomes durable as a whole or not at all. Used by one thread. */
enum {
    STORE_KEY_SIZE_MAX = 511, /* of LMDB; at least 1 */
    STORE_VALUE_SIZE_MAX = 16 * 1024 * 1024
};

typedef struct store_batch store_batch_t; /* common/base/store_batch.h */

/* Key and value live until it returns. */
typedef err_t (*store_walk_fn)(
    void *context, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size);

typedef struct {
    void *context;
    /* takes *batch_p, nulled, on ERR_OK only. The commit may run elsewhere; one at a time.
     * errs ERR_AGAIN one is under way, or poll has not reported it yet · ERR_IO a batch failed
     *      before, for good · ERR_UNSUPPORTED open for reading only */
    err_t (*submit)(void *context, store_batch_t **batch_p, errbuf_t *errbuf);
    /* Whether the submitted batch is done; reports each batch once. ERR_OK once durable (also when
     * there is nothing to report). When it failed nothing of it is there:
     * errs ERR_AGAIN under way · ERR_DISK_FULL the next submit may succeed · ERR_IO and ERR_CORRUPT
     *      for good */
    err_t (*poll)(void *context, errbuf_t *errbuf);
    /* Every pair whose key begins with prefix (size 0: every pair), in key order; stops at the
     * first error of callback and returns it. Sees one committed state from beginning to end; a
     * batch that poll has not reported yet is in it whole or not at all. The callback may walk and
     * get. errs ERR_CORRUPT a pair is damaged · ERR_IO, and those of callback */
    err_t (*walk)(void *context,
                  const uint8_t *prefix,
                  size_t prefix_size,
                  store_walk_fn callback,
                  void *callback_context,
                  errbuf_t *errbuf);
    /* Value into a buffer of the caller.
     * errs ERR_NOT_FOUND · ERR_TOO_LARGE longer than value_size_max · ERR_CORRUPT · ERR_IO */
    err_t (*get)(void *context,
                 const uint8_t *key,
                 size_t key_size,
                 uint8_t *ret_value,
                 size_t value_size_max,
                 size_t *ret_size,
                 errbuf_t *errbuf);
} store_t;

/* -- network ----------------------------------------------------------------------------------- */

/* Messages between processes. Two implementations from the first day: ZeroMQ (common/env) and
 * bounded queues in one process (tests/support). A message that was accepted may still be lost,
 * never torn; only an end-to-end confirmation counts. */
typedef struct {
    void *context;
    /* copies bytes. in `to` a process of this or another region (then over the link).
     * errs ERR_FULL that peer's queue is full · ERR_UNREACHABLE no connection now */
    err_t (*send)(void *context, process_address_t to, const uint8_t *bytes, size_t size);
    /* Answers whoever sent the message that came with this `reply_to`; any number of answers, now
     * or later, until forget. errs as send; ERR_NOT_FOUND the handle has expired or was forgotten
     */
    err_t (*reply)(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size);
    /* The handle is not needed any more. Every handle that a message came with is forgotten once.
     */
    void (*forget)(void *context, uint64_t reply_to);
    /* To whoever listens to this process; lost where nobody does or a queue is full. copies bytes.
     * in topic 1..32 ASCII bytes, matched by prefix by the listeners */
    void (*publish)(void *context, const char *topic, const uint8_t *bytes, size_t size);
} net_t;

#endif
