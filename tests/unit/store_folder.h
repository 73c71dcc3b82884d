/* A temporary folder for the tests of the store, and short words for keys, values and batches. */
#ifndef TIDAL_TESTS_UNIT_STORE_FOLDER_H
#define TIDAL_TESTS_UNIT_STORE_FOLDER_H

#include "common/base/bytes.h"
#include "common/base/seam.h"

#include <stdbool.h>

enum { STORE_FOLDER_PATH_SIZE_MAX = 512 };

typedef struct {
    char path[STORE_FOLDER_PATH_SIZE_MAX];       /* exists, empty */
    char store[STORE_FOLDER_PATH_SIZE_MAX + 16]; /* <path>/store, does not exist yet */
} store_folder_t;

void store_folder_init(store_folder_t *self);
/* Removes it with the files of a store in it. */
void store_folder_done(store_folder_t *self);
/* <store>/<name>; lives until the next call. */
const char *store_folder_file(const store_folder_t *self, const char *name);

slice_t store_text(const char *text);

/* Reads a whole file; to be freed. */
uint8_t *store_read_file(const char *path, size_t *ret_size);
void store_write_file(const char *path, const uint8_t *bytes, size_t size);

/* Waits for the submitted batch and returns what poll reports. */
err_t store_await(const store_t *store, int event_fd);

/* Whether the store holds this text under this key. */
bool store_holds(const store_t *store, const char *key, const char *value);

#endif
