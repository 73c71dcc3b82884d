/* tidal_procfile: prints the Procfile of a topology, or checks the one that is there.
 *
 *   tidal_procfile [--topology FILE]                    prints it
 *   tidal_procfile [--topology FILE] --check PROCFILE   exit status 1 and a message when it differs
 *
 * FILE is topology/three_region.yaml unless given. Exit status 2: wrong arguments. */
#include "common/topology/procfile.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char s_usage[] = "usage: tidal_procfile [--topology FILE] [--check PROCFILE]\n";

static err_t s_print(const topology_t *topology, const char *path, errbuf_t *errbuf)
{
    buffer_t text;
    buffer_init(&text);
    err_t err = procfile_write(topology, path, &text, errbuf);
    if (err == ERR_OK) {
        size_t written = fwrite(text.data, 1, text.size, stdout);
        if (written != text.size || fflush(stdout) != 0) {
            errbuf_set(errbuf, "expected to write %zu bytes to the standard output, wrote %zu",
                       text.size, written);
            err = ERR_IO;
        }
    }
    buffer_done(&text);
    return err;
}

int main(int argc, char **argv)
{
    static const struct option s_options[] = {
        {"topology", required_argument, NULL, 't'},
        {"check", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    const char *path = "topology/three_region.yaml";
    const char *check = NULL;
    int option = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread, no other user of getopt */
    while ((option = getopt_long(argc, argv, "", s_options, NULL)) != -1) {
        if (option == 't') {
            path = optarg;
        } else if (option == 'c') {
            check = optarg;
        } else {
            (void)fputs(s_usage, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "tidal_procfile: expected no more arguments, found '%s'\n%s",
                      argv[optind], s_usage);
        return 2;
    }

    errbuf_t errbuf;
    static topology_t s_topology;
    err_t err = topology_load(path, &s_topology, &errbuf);
    if (err == ERR_OK) {
        err = check == NULL ? s_print(&s_topology, path, &errbuf)
                            : procfile_check_file(&s_topology, path, check, &errbuf);
    }
    if (err != ERR_OK) {
        (void)fprintf(stderr, "tidal_procfile: %s\n", errbuf.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
