/* Topology and schema files of one test: written to a folder of its own, removed with it. */
#ifndef TIDAL_TESTS_UNIT_TOPOLOGY_FILES_H
#define TIDAL_TESTS_UNIT_TOPOLOGY_FILES_H

#include <stddef.h>

enum { TOPOLOGY_FILES_PATH_SIZE = 256 };

typedef struct {
    char folder[TOPOLOGY_FILES_PATH_SIZE / 2];
    char topology[TOPOLOGY_FILES_PATH_SIZE];
    char schema[TOPOLOGY_FILES_PATH_SIZE];
} topology_files_t;

/* Two regions, two shards, a proxy, schema.yaml beside it; line numbers are part of the tests. */
const char *topology_files_text(void);
/* Two signals, one profile. */
const char *topology_files_schema_text(void);

void topology_files_open(topology_files_t *self);
void topology_files_close(topology_files_t *self);

/* Writes a file, the first `from` in it replaced by `to`. in from NULL: as it is. `from` must be
 * there. */
void topology_files_write(const char *path, const char *text, const char *from, const char *to);
void topology_files_write_bytes(const char *path, const void *bytes, size_t size);

#endif
