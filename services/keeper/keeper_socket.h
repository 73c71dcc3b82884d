/* Where a keeper is found: <run folder>/<name>.sock and <name>.lock.
 *
 * A socket path is at most 107 bytes, a data folder may be deeper: sockets are bound and connected
 * as /proc/self/fd/<fd of the folder>/<name>.sock, which is always short.
 *
 * One connection carries one request and one answer, each one message of text (SEQPACKET):
 *
 *   status                 ok state=running pid=12 restarts=0 since_ms=4711 keeper=11
 *   kill 9, hold 9         ok pid=12 signal=9
 *   release                ok state=running pid=13
 *   stop                   ok state=stopping; the connection ends when the keeper has ended
 *                          error <text for people> */
#ifndef TIDAL_SERVICES_KEEPER_KEEPER_SOCKET_H
#define TIDAL_SERVICES_KEEPER_KEEPER_SOCKET_H

#include "common/base/bounds.h"
#include "common/base/err.h"

#include <stdbool.h>

enum {
    KEEPER_MESSAGE_SIZE_MAX = 512, /* one request or answer, terminated */
    KEEPER_CLIENT_COUNT_MAX = 8    /* connections at once; the oldest goes when one more comes */
};

/* 1..NAME_LENGTH_MAX of letters, digits, `_`, `-` and `.`, not beginning with `.` */
bool keeper_name_is_valid(const char *name);

/* Opens the run folder. in create whether missing folders are made. errs ERR_IO, ERR_NOT_FOUND */
err_t keeper_socket_open_folder(const char *run, bool create, int *ret_folder_fd, errbuf_t *errbuf);

/* Takes the lock of this name; it lives as long as the descriptor.
 * errs ERR_LOCKED another keeper holds it, the text names its pid · ERR_IO */
err_t keeper_socket_lock(int folder_fd, const char *name, int *ret_lock_fd, errbuf_t *errbuf);

/* Needs the lock: replaces what an earlier keeper left behind. errs ERR_IO */
err_t keeper_socket_listen(int folder_fd, const char *name, int *ret_listen_fd, errbuf_t *errbuf);

/* errs ERR_UNREACHABLE no keeper of this name runs · ERR_IO */
err_t keeper_socket_connect(int folder_fd, const char *name, int *ret_fd, errbuf_t *errbuf);

/* Removes the socket's name. */
void keeper_socket_remove(int folder_fd, const char *name);

/* "<what>: <text of errno>"; for errors of system calls. */
void keeper_errbuf_errno(errbuf_t *errbuf, const char *what, int error_number);

#endif
