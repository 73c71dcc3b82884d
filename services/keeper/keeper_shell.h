/* The world around the keeper core: forks the child, reads signals, serves the control socket.
 *
 * One thread, one poll loop. Start: signals blocked, run folder, lock, socket, log file, then the
 * first start of the child. The child is a process group of its own, so that a Ctrl-C reaches it
 * once, through its keeper, and it is killed by the system when the keeper dies in any way. */
#ifndef TIDAL_SERVICES_KEEPER_KEEPER_SHELL_H
#define TIDAL_SERVICES_KEEPER_KEEPER_SHELL_H

#include <stdbool.h>

typedef struct {
    const char *name;     /* of the process, valid for keeper_socket */
    const char *run;      /* run folder, made when missing */
    const char *log_path; /* NULL: the inherited output */
    bool die_with_parent; /* stop in order when the process that started the keeper dies */
    char **command;       /* ends with NULL; at least one word */
} keeper_options_t;

/* Runs until stopped; returns the exit status: 0 after an ordered stop, 1 when the child had to be
 * killed or the keeper could not begin, 127 when the command cannot be executed. */
int keeper_shell_run(const keeper_options_t *options);

#endif
