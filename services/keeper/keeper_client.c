#include "services/keeper/keeper_client.h"

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "services/keeper/keeper.h"
#include "services/keeper/keeper_socket.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ANSWER_MS_MAX = 2000, /* a keeper never blocks: it answers at once, or it is stopped */
    STOP_MS_MAX = KEEPER_STOP_MS_MAX + 1500, /* its longest stop, and room on a busy machine */
    HELD_MS_MAX = 2000,
    HELD_POLL_MS = 10
};

static const struct {
    const char *name;
    int number;
} s_signals[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"ABRT", SIGABRT},
                 {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"SEGV", SIGSEGV}, {"USR2", SIGUSR2},
                 {"PIPE", SIGPIPE}, {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"CONT", SIGCONT},
                 {"STOP", SIGSTOP}};

err_t keeper_signal_parse(const char *text, int *ret_signal_number)
{
    uint64_t number = 0;
    if (text_to_u64(text, 1, 64, &number) == ERR_OK) {
        *ret_signal_number = (int)number;
        return ERR_OK;
    }
    const char *name = strncmp(text, "SIG", 3) == 0 ? text + 3 : text;
    for (unsigned i = 0; i < sizeof(s_signals) / sizeof(s_signals[0]); i++) {
        if (strcmp(name, s_signals[i].name) == 0) {
            *ret_signal_number = s_signals[i].number;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

/* Waits until there is something to read, or the other side has closed. */
static err_t s_wait(int fd, int wait_ms)
{
    struct pollfd slot = {.fd = fd, .events = POLLIN};
    return poll(&slot, 1, wait_ms) > 0 ? ERR_OK : ERR_TIMEOUT;
}

/* One request, one answer. out ret_fd the connection, still open; ret_text the answer.
 * errs ERR_UNREACHABLE no keeper · ERR_TIMEOUT it does not answer · ERR_IO */
static err_t s_ask(int folder_fd,
                   const char *name,
                   const char *request,
                   int *ret_fd,
                   char ret_text[KEEPER_MESSAGE_SIZE_MAX],
                   errbuf_t *errbuf)
{
    int fd = -1;
    err_t err = keeper_socket_connect(folder_fd, name, &fd, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    ssize_t size = -1;
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) > 0 &&
        s_wait(fd, ANSWER_MS_MAX) == ERR_OK) {
        size = recv(fd, ret_text, KEEPER_MESSAGE_SIZE_MAX - 1, MSG_DONTWAIT);
    }
    if (size <= 0) {
        errbuf_set(errbuf, "expected an answer of its keeper within %d ms, found none",
                   ANSWER_MS_MAX);
        (void)close(fd);
        return ERR_TIMEOUT;
    }
    ret_text[size] = '\0';
    *ret_fd = fd;
    return ERR_OK;
}

static bool s_is_held(int folder_fd, const char *name)
{
    char text[KEEPER_MESSAGE_SIZE_MAX];
    int fd = -1;
    if (s_ask(folder_fd, name, "status", &fd, text, NULL) != ERR_OK) {
        return false;
    }
    (void)close(fd);
    return strncmp(text, "ok state=held ", strlen("ok state=held ")) == 0;
}

/* Until the killed process is gone and held. */
static err_t s_await_held(int folder_fd, const char *name, errbuf_t *errbuf)
{
    for (int waited_ms = 0; waited_ms <= HELD_MS_MAX; waited_ms += HELD_POLL_MS) {
        if (s_is_held(folder_fd, name)) {
            return ERR_OK;
        }
        (void)poll(NULL, 0, HELD_POLL_MS);
    }
    errbuf_set(errbuf, "expected the killed process to be gone within %d ms, found it there",
               HELD_MS_MAX);
    return ERR_TIMEOUT;
}

static err_t s_await_end(int fd, errbuf_t *errbuf)
{
    char byte;
    if (s_wait(fd, STOP_MS_MAX) != ERR_OK || recv(fd, &byte, 1, MSG_DONTWAIT) > 0) {
        errbuf_set(errbuf, "expected the keeper to end within %d ms, found it running",
                   STOP_MS_MAX);
        return ERR_TIMEOUT;
    }
    return ERR_OK;
}

static void s_request_text(const keeper_order_t *order, char ret_text[KEEPER_MESSAGE_SIZE_MAX])
{
    static const char *const s_words[] = {"status", "kill", "release", "stop"};
    if (order->verb == KEEPER_VERB_KILL) {
        (void)snprintf(ret_text, KEEPER_MESSAGE_SIZE_MAX, "%s %d", order->hold ? "hold" : "kill",
                       order->signal_number);
    } else {
        (void)snprintf(ret_text, KEEPER_MESSAGE_SIZE_MAX, "%s", s_words[order->verb]);
    }
}

static err_t s_run_one(const keeper_order_t *order, int folder_fd, errbuf_t *errbuf)
{
    char request[KEEPER_MESSAGE_SIZE_MAX];
    char text[KEEPER_MESSAGE_SIZE_MAX];
    int fd = -1;
    s_request_text(order, request);
    err_t err = s_ask(folder_fd, order->name, request, &fd, text, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    if (strncmp(text, "ok ", 3) != 0) {
        errbuf_set(errbuf, "%s", strncmp(text, "error ", 6) == 0 ? text + 6 : text);
        (void)close(fd);
        return ERR_CONFLICT;
    }
    if (order->verb == KEEPER_VERB_STOP) {
        err = s_await_end(fd, errbuf);
    } else if (order->verb == KEEPER_VERB_KILL && order->hold && order->signal_number == SIGKILL) {
        err = s_await_held(folder_fd, order->name, errbuf);
    }
    (void)close(fd);
    if (err == ERR_OK) {
        (void)printf("name=%s %s\n", order->name, text + 3);
    }
    return err;
}

static int s_is_socket(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && length <= NAME_LENGTH_MAX + 5 &&
           strcmp(entry->d_name + length - 5, ".sock") == 0;
}

/* One line per process whose keeper has a socket in the run folder. */
static err_t s_status_of_all(const keeper_order_t *order, int folder_fd, errbuf_t *errbuf)
{
    struct dirent **entries = NULL;
    int count = scandir(order->run, &entries, s_is_socket, alphasort);
    if (count < 0) {
        keeper_errbuf_errno(errbuf, order->run, errno);
        return ERR_IO;
    }
    for (int i = 0; i < count; i++) {
        char *name = entries[i]->d_name;
        name[strlen(name) - 5] = '\0';
        keeper_order_t one = *order;
        one.name = name;
        /* A keeper that was killed leaves its socket; it is a line like the others. */
        if (keeper_name_is_valid(name) && s_run_one(&one, folder_fd, errbuf) != ERR_OK) {
            (void)printf("name=%s state=no_keeper pid=0\n", name);
        }
        free(entries[i]);
    }
    free(entries);
    return ERR_OK;
}

int keeper_client_run(const keeper_order_t *order)
{
    CHECK(order->name != NULL || order->verb == KEEPER_VERB_STATUS);
    errbuf_t errbuf = {""};
    int folder_fd = -1;
    err_t err = keeper_socket_open_folder(order->run, false, &folder_fd, &errbuf);
    if (err == ERR_OK && order->name == NULL) {
        err = s_status_of_all(order, folder_fd, &errbuf);
    } else if (err == ERR_OK) {
        err = s_run_one(order, folder_fd, &errbuf);
    }
    if (folder_fd >= 0) {
        (void)close(folder_fd);
    }
    if (err == ERR_OK) {
        return 0;
    }
    const char *who = order->name == NULL ? "status" : order->name;
    (void)fprintf(stderr, "tidal_keeper: %s: %s\n", who, errbuf.text);
    return 1;
}
