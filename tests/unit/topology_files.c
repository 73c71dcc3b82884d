#include "tests/unit/topology_files.h"

#include "common/base/bytes.h"
#include "common/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char s_topology_text[] = "shards: 2\n"               /* 1 */
                                      "schema: schema.yaml\n"     /* 2 */
                                      "regions:\n"                /* 3 */
                                      "  - name: us-east\n"       /* 4 */
                                      "    id: 1\n"               /* 5 */
                                      "    gateway_port: 7101\n"  /* 6 */
                                      "    port_base: 7200\n"     /* 7 */
                                      "  - name: eu-west\n"       /* 8 */
                                      "    id: 2\n"               /* 9 */
                                      "    host: 127.0.0.1\n"     /* 10 */
                                      "    gateway_port: 7102\n"  /* 11 */
                                      "    port_base: 7300\n"     /* 12 */
                                      "control:\n"                /* 13 */
                                      "  port: 7100\n"            /* 14 */
                                      "  publish_port: 7110\n"    /* 15 */
                                      "proxy:\n"                  /* 16 */
                                      "  link_port_base: 7500\n"  /* 17 */
                                      "timing:\n"                 /* 18 */
                                      "  heartbeat_ms: 250\n"     /* 19 */
                                      "  peer_silent_ms: 1000\n"; /* 20 */

static const char s_schema_text[] = "signals:\n"                 /* 1 */
                                    "  - id: 1\n"                /* 2 */
                                    "    name: view\n"           /* 3 */
                                    "    half_life_s: 604800\n"  /* 4 */
                                    "  - id: 2\n"                /* 5 */
                                    "    name: like\n"           /* 6 */
                                    "    half_life_s: 2592000\n" /* 7 */
                                    "    windows: [1h, all]\n"   /* 8 */
                                    "profiles:\n"                /* 9 */
                                    "  - name: best\n"           /* 10 */
                                    "    terms:\n"               /* 11 */
                                    "      - signal: view\n"     /* 12 */
                                    "        agg: decay\n"       /* 13 */
                                    "        weight: 1\n"        /* 14 */
                                    "      - signal: like\n"     /* 15 */
                                    "        agg: velocity\n"    /* 16 */
                                    "        window: 1h\n"       /* 17 */
                                    "        weight: -2.5\n"     /* 18 */
                                    "default_profile: best\n";   /* 19 */

const char *topology_files_text(void)
{
    return s_topology_text;
}

const char *topology_files_schema_text(void)
{
    return s_schema_text;
}

void topology_files_open(topology_files_t *self)
{
    (void)snprintf(self->folder, sizeof(self->folder), "/tmp/tidal_topology_XXXXXX");
    CHECK(mkdtemp(self->folder) != NULL);
    (void)snprintf(self->topology, sizeof(self->topology), "%s/topology.yaml", self->folder);
    (void)snprintf(self->schema, sizeof(self->schema), "%s/schema.yaml", self->folder);
    topology_files_write(self->topology, s_topology_text, NULL, NULL);
    topology_files_write(self->schema, s_schema_text, NULL, NULL);
}

void topology_files_close(topology_files_t *self)
{
    (void)unlink(self->topology); /* a test may have removed one of them */
    (void)unlink(self->schema);
    CHECK(rmdir(self->folder) == 0);
}

void topology_files_write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK(fwrite(bytes, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

void topology_files_write(const char *path, const char *text, const char *from, const char *to)
{
    buffer_t changed;
    buffer_init(&changed);
    if (from == NULL) {
        buffer_append(&changed, text, strlen(text));
    } else {
        const char *at = strstr(text, from);
        CHECK(at != NULL);
        buffer_append(&changed, text, (size_t)(at - text));
        buffer_append(&changed, to, strlen(to));
        buffer_append(&changed, at + strlen(from), strlen(at + strlen(from)));
    }
    topology_files_write_bytes(path, changed.data, changed.size);
    buffer_done(&changed);
}
