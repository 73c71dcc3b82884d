/* For drills: flips one bit of the decayed sum of a cell in the checkpoint of a node that is down,
 * and writes the entry as the node would, so that no checksum of the store tells.
 *
 *   tidal_flip_sum STORE_FOLDER ITEM SIGNAL */
#include "common/base/store_batch.h"
#include "common/signal/checkpoint_format.h"
#include "common/store/store_lmdb.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    S_CONTENT_VERSION_MAX = 64,
    S_PREFIX_SIZE = 9, /* tenant, 'L' */
    S_SUM_OFFSET = 10, /* of the first sum in a cell's value */
    S_VALUE_SIZE_MAX = 16384
};

static err_t s_flip(const store_t *store, uint64_t item, uint8_t signal, errbuf_t *errbuf)
{
    uint8_t key[S_PREFIX_SIZE + CHECKPOINT_CELL_KEY_SIZE];
    uint8_t value[S_VALUE_SIZE_MAX];
    size_t size = 0;
    bytes_put_u64_be(key, 1); /* the tenant `default` */
    key[8] = 'L';
    key[S_PREFIX_SIZE] = CHECKPOINT_KEY_CELL;
    bytes_put_u64_be(key + S_PREFIX_SIZE + 1, item);
    key[S_PREFIX_SIZE + 9] = signal;
    err_t err = store->get(store->context, key, sizeof(key), value, sizeof(value), &size, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    value[S_SUM_OFFSET + 3] ^= 0x10;
    store_batch_t *batch = store_batch_new();
    store_batch_put(batch, slice_make(key, sizeof(key)), slice_make(value, size));
    return store->submit(store->context, &batch, errbuf);
}

static err_t s_await(store_lmdb_t *lmdb, const store_t *store, errbuf_t *errbuf)
{
    err_t err = ERR_AGAIN;
    while (err == ERR_AGAIN) {
        struct pollfd event = {.fd = store_lmdb_event_fd(lmdb), .events = POLLIN};
        if (poll(&event, 1, -1) < 0) {
            return ERR_IO;
        }
        err = store->poll(store->context, errbuf);
    }
    return err;
}

/* Whatever version of content the store has: cells lie in all of them as they do now. */
static err_t s_open(const char *folder, store_lmdb_t **ret_lmdb, errbuf_t *errbuf)
{
    err_t err = ERR_UNSUPPORTED;
    for (uint32_t version = 1; err == ERR_UNSUPPORTED && version <= S_CONTENT_VERSION_MAX;
         version++) {
        store_lmdb_options_t options = {.folder = folder, .content_version = version};
        err = store_lmdb_open(&options, ret_lmdb, errbuf);
    }
    return err;
}

int main(int argc, char **argv)
{
    errbuf_t errbuf = {{0}};
    if (argc != 4) {
        (void)fprintf(stderr, "usage: tidal_flip_sum STORE_FOLDER ITEM SIGNAL\n");
        return 2;
    }
    store_lmdb_t *lmdb = NULL;
    err_t err = s_open(argv[1], &lmdb, &errbuf);
    if (err == ERR_OK) {
        store_t store = store_lmdb_store(lmdb);
        err = s_flip(&store, strtoull(argv[2], NULL, 10), (uint8_t)strtoul(argv[3], NULL, 10),
                     &errbuf);
        err = err == ERR_OK ? s_await(lmdb, &store, &errbuf) : err;
        store_lmdb_close(&lmdb);
    }
    if (err != ERR_OK) {
        (void)fprintf(stderr, "tidal_flip_sum: %s: %s\n", err_text(err), errbuf.text);
        return 1;
    }
    return 0;
}
