/* The Procfile of a topology: one line per process, for foreman, honcho and npm's foreman.
 *
 *   <name>: exec <programs>/tidal_keeper --name <name> --run <data>/run --die-with-parent --
 *           <programs>/tidal_<service> --topology <file> --data <data> --name <name>
 *
 * in one line; <programs> is ${TIDAL_BIN:-build/release/bin}, <data> is ${TIDAL_DATA:-data}.
 *
 * Rules of a line, checked whenever one is written or compared:
 *   1. it is empty, a comment that begins with # in column 0, or an entry (honcho takes nothing
 *      else)
 *   2. an entry is a name of A-Z a-z 0-9 _ -, a colon, exactly one blank, and a command that begins
 *      with exec (no shell stays in between)
 *   3. a $ stands only before {TIDAL_: foreman replaces $NAME by prefix, but leaves ${NAME} to the
 *      shell */
#ifndef TIDAL_COMMON_TOPOLOGY_PROCFILE_H
#define TIDAL_COMMON_TOPOLOGY_PROCFILE_H

#include "common/base/bytes.h"
#include "common/topology/topology.h"

/* Appends the Procfile. in topology_path as the processes shall open it, of A-Z a-z 0-9 _ . / -
 * errs ERR_INVALID the path has other characters */
err_t procfile_write(const topology_t *topology,
                     const char *topology_path,
                     buffer_t *out,
                     errbuf_t *errbuf);

/* The three rules for every line; the message names the line. errs ERR_INVALID */
err_t procfile_check_lines(slice_t text, errbuf_t *errbuf);

/* Whether the file at procfile_path obeys the rules and is what procfile_write writes; the message
 * names the first line that differs. errs ERR_NOT_FOUND · ERR_IO · ERR_TOO_LARGE · ERR_INVALID ·
 * ERR_CONFLICT it differs */
err_t procfile_check_file(const topology_t *topology,
                          const char *topology_path,
                          const char *procfile_path,
                          errbuf_t *errbuf);

#endif
