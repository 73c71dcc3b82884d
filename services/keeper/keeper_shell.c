#include "services/keeper/keeper_shell.h"

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "services/keeper/keeper.h"
#include "services/keeper/keeper_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE_MAX = 1024, SIGNAL_SLOT = 0, LISTEN_SLOT = 1, CLIENT_SLOT = 2 };

typedef struct {
    const keeper_options_t *options;
    keeper_t core;
    int folder_fd;
    int lock_fd;
    int listen_fd;
    int signal_fd;
    int client_fds[KEEPER_CLIENT_COUNT_MAX]; /* oldest first */
    unsigned client_count;
    pid_t child_pid; /* of the last child, also when it has ended */
    int start_errno; /* why START_CHILD failed last */
    int stop_signal;
    keeper_event_t next; /* the answer to START_CHILD, stepped after the effects of its step */
    bool has_next;
    err_t answer;
    bool is_over;
    int status;
} shell_t;

static int64_t s_now_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* -- log lines --------------------------------------------------------------------------------- */

/* One line, one write, so that lines of several processes on one pipe stay whole. */
static void s_log(const shell_t *self, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void s_log(const shell_t *self, const char *level, const char *format, ...)
{
    char line[LINE_SIZE_MAX];
    char text[LINE_SIZE_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    size_t event = strcspn(text, " ");
    int length = snprintf(line, sizeof(line), "level=%s event=%.*s process=%s%s\n", level,
                          (int)event, text, self->options->name, text + event);
    CHECK(length > 0 && length < (int)sizeof(line));
    int fd = strcmp(level, "info") == 0 ? STDOUT_FILENO : STDERR_FILENO;
    /* Nobody may be reading any more; the child matters, the line does not. */
    ssize_t written = write(fd, line, (size_t)length);
    (void)written;
}

static void s_log_exit(const shell_t *self, bool is_config)
{
    const keeper_t *core = &self->core;
    const char *how = core->exit.signaled ? "signal" : "exit";
    long pid = (long)self->child_pid;
    if (core->deadline_ms < 0) {
        s_log(self, "info", "child_exited pid=%ld %s=%d", pid, how, core->exit.value);
        return;
    }
    long long retry_ms = (long long)(core->deadline_ms - core->since_ms);
    if (is_config) {
        s_log(
            self, "error",
            "child_config_error pid=%ld exit=%d retry_ms=%lld text=\"a restart will not mend what "
            "its last lines say\"",
            pid, core->exit.value, retry_ms);
        return;
    }
    s_log(self, "warn", "child_exited pid=%ld %s=%d retry_ms=%lld", pid, how, core->exit.value,
          retry_ms);
}

static void s_log_report(const shell_t *self, keeper_report_t report)
{
    errbuf_t errbuf = {""};
    long pid = (long)self->child_pid;
    switch (report) {
    case KEEPER_REPORT_STARTED:
        s_log(self, "info", "child_started pid=%ld restarts=%u", pid, self->core.restart_count);
        break;
    case KEEPER_REPORT_NO_COMMAND:
        keeper_errbuf_errno(&errbuf, self->options->command[0], self->start_errno);
        s_log(self, "error",
              "child_not_started error=\"%s\" text=\"expected a command that can be "
              "executed: build it, or mend its path\"",
              errbuf.text);
        break;
    case KEEPER_REPORT_EXITED:
        s_log_exit(self, false);
        break;
    case KEEPER_REPORT_CONFIG:
        s_log_exit(self, true);
        break;
    case KEEPER_REPORT_HELD:
        s_log(self, "info", "child_held text=\"the verb release starts it again\"");
        break;
    case KEEPER_REPORT_RELEASED:
        s_log(self, "info", "child_released");
        break;
    case KEEPER_REPORT_STOPPING:
        s_log(self, "info", "child_stopping pid=%ld signal=%d", pid, self->stop_signal);
        break;
    case KEEPER_REPORT_STOP_FORCED:
        s_log(self, "error", "child_killed pid=%ld after_ms=%d", pid, KEEPER_STOP_MS_MAX);
        break;
    case KEEPER_REPORT_STOPPED:
        s_log(self, "info", "keeper_stopped");
        break;
    }
}

/* -- the child --------------------------------------------------------------------------------- */

/* In the child, between fork and exec. Does not return. */
static _Noreturn void s_become_command(char **command, pid_t keeper, int error_fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != keeper) {
        /* The keeper died before the line above: no signal will come. */
        _exit(1);
    }
    (void)setpgid(0, 0);
    /* A script's background job inherits INT and QUIT ignored, and this keeper ignores PIPE. */
    static const int s_reset[] = {SIGTERM, SIGINT, SIGQUIT, SIGPIPE, SIGCHLD};
    for (unsigned i = 0; i < sizeof(s_reset) / sizeof(s_reset[0]); i++) {
        (void)signal(s_reset[i], SIG_DFL);
    }
    sigset_t none;
    (void)sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    (void)execvp(command[0], command);
    int error_number = errno;
    ssize_t written = write(error_fd, &error_number, sizeof(error_number));
    (void)written;
    _exit(KEEPER_EXIT_NO_COMMAND);
}

/* Returns the pid, or -1 with errno. The exec has happened when this returns: the pipe is closed by
 * it, or brings the reason why it failed. */
static pid_t s_spawn(char **command)
{
    int fds[2];
    if (pipe(fds) != 0) {
        return -1;
    }
    (void)fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    (void)fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    pid_t keeper = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        s_become_command(command, keeper, fds[1]);
    }
    int error_number = pid < 0 ? errno : 0;
    (void)close(fds[1]);
    if (pid > 0 && read(fds[0], &error_number, sizeof(error_number)) > 0) {
        (void)waitpid(pid, NULL, 0);
        pid = -1;
    }
    (void)close(fds[0]);
    errno = error_number;
    return pid;
}

static void s_start_child(shell_t *self)
{
    pid_t pid = s_spawn(self->options->command);
    self->start_errno = pid < 0 ? errno : 0;
    self->next = (keeper_event_t){.kind = KEEPER_EVENT_NO_START, .now_ms = s_now_ms()};
    if (pid > 0) {
        self->child_pid = pid;
        self->next.kind = KEEPER_EVENT_STARTED;
        self->next.pid = pid;
    }
    self->has_next = true;
}

/* -- the core ---------------------------------------------------------------------------------- */

static void s_apply(shell_t *self, const keeper_effect_t *effect)
{
    switch (effect->kind) {
    case KEEPER_EFFECT_START_CHILD:
        s_start_child(self);
        break;
    case KEEPER_EFFECT_SIGNAL_CHILD:
        /* It may be a zombie by now, whose end is on its way to the core. */
        (void)kill(self->child_pid, effect->signal_number);
        break;
    case KEEPER_EFFECT_ANSWER:
        self->answer = effect->err;
        break;
    case KEEPER_EFFECT_REPORT:
        s_log_report(self, effect->report);
        break;
    case KEEPER_EFFECT_EXIT:
        self->is_over = true;
        self->status = effect->status;
        break;
    }
}

static void s_step(shell_t *self, keeper_event_t event)
{
    event.now_ms = s_now_ms();
    self->next = event;
    self->has_next = true;
    while (self->has_next) {
        self->has_next = false;
        keeper_effects_t effects;
        keeper_event_t now = self->next;
        keeper_step(&self->core, &now, &effects);
        for (unsigned i = 0; i < effects.count; i++) {
            s_apply(self, &effects.items[i]);
        }
    }
}

static void s_reap(shell_t *self)
{
    int status = 0;
    if (self->core.pid == 0 || waitpid(self->child_pid, &status, WNOHANG) <= 0) {
        return;
    }
    keeper_exit_t ended = {.signaled = WIFSIGNALED(status)};
    ended.value = ended.signaled ? WTERMSIG(status) : WEXITSTATUS(status);
    s_step(self, (keeper_event_t){.kind = KEEPER_EVENT_EXITED, .exit = ended});
}

static void s_on_signals(shell_t *self)
{
    struct signalfd_siginfo info;
    while (read(self->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            s_reap(self);
        } else if (!self->is_over && self->core.state != KEEPER_STOPPING) {
            /* A closed terminal means stop, and services know TERM and INT. */
            self->stop_signal = info.ssi_signo == SIGINT ? SIGINT : SIGTERM;
            s_step(self,
                   (keeper_event_t){.kind = KEEPER_EVENT_STOP, .signal_number = self->stop_signal});
        }
    }
}

/* -- control ----------------------------------------------------------------------------------- */

static void s_describe(const shell_t *self, char ret_text[KEEPER_MESSAGE_SIZE_MAX])
{
    const keeper_t *core = &self->core;
    (void)snprintf(ret_text, KEEPER_MESSAGE_SIZE_MAX,
                   "ok state=%s pid=%lld restarts=%u since_ms=%lld keeper=%ld",
                   keeper_state_text(core->state), (long long)core->pid, core->restart_count,
                   (long long)(s_now_ms() - core->since_ms), (long)getpid());
}

static void s_answer_order(const shell_t *self, long pid, char ret_text[KEEPER_MESSAGE_SIZE_MAX])
{
    if (self->answer == ERR_OK) {
        (void)snprintf(ret_text, KEEPER_MESSAGE_SIZE_MAX, "ok state=%s pid=%ld",
                       keeper_state_text(self->core.state), pid);
    } else {
        (void)snprintf(ret_text, KEEPER_MESSAGE_SIZE_MAX,
                       "error expected a process that runs, found one that is %s",
                       keeper_state_text(self->core.state));
    }
}

static void s_on_kill_request(shell_t *self,
                              const char *number,
                              bool hold,
                              char ret_text[KEEPER_MESSAGE_SIZE_MAX])
{
    uint64_t signal_number = 0;
    if (text_to_u64(number, 1, 64, &signal_number) != ERR_OK) {
        (void)snprintf(ret_text, KEEPER_MESSAGE_SIZE_MAX,
                       "error expected a signal number from 1 to 64, found %.32s", number);
        return;
    }
    long pid = (long)self->core.pid;
    s_step(self, (keeper_event_t){
                     .kind = KEEPER_EVENT_KILL, .signal_number = (int)signal_number, .hold = hold});
    s_answer_order(self, pid, ret_text);
}

/* Answers one request. Whether the connection stays, to end with the keeper. */
static bool s_on_request(shell_t *self, const char *request, char ret_text[KEEPER_MESSAGE_SIZE_MAX])
{
    if (strcmp(request, "stop") == 0) {
        self->stop_signal = SIGTERM;
        s_step(self, (keeper_event_t){.kind = KEEPER_EVENT_STOP, .signal_number = SIGTERM});
        s_describe(self, ret_text);
        return true;
    }
    if (strcmp(request, "status") == 0) {
        s_describe(self, ret_text);
    } else if (strcmp(request, "release") == 0) {
        s_step(self, (keeper_event_t){.kind = KEEPER_EVENT_RELEASE});
        s_answer_order(self, (long)self->core.pid, ret_text);
    } else if (strncmp(request, "kill ", 5) == 0 || strncmp(request, "hold ", 5) == 0) {
        s_on_kill_request(self, request + 5, request[0] == 'h', ret_text);
    } else {
        (void)snprintf(ret_text, KEEPER_MESSAGE_SIZE_MAX,
                       "error expected status, stop, release, kill or hold, found another request");
    }
    return false;
}

static void s_drop_client(shell_t *self, unsigned index)
{
    CHECK(index < self->client_count);
    (void)close(self->client_fds[index]);
    self->client_count--;
    (void)memmove(&self->client_fds[index], &self->client_fds[index + 1],
                  (self->client_count - index) * sizeof(self->client_fds[0]));
}

static void s_on_client(shell_t *self, unsigned index)
{
    char request[KEEPER_MESSAGE_SIZE_MAX];
    char answer[KEEPER_MESSAGE_SIZE_MAX] = "";
    int fd = self->client_fds[index];
    ssize_t size = recv(fd, request, sizeof(request) - 1, MSG_DONTWAIT);
    if (size <= 0) {
        s_drop_client(self, index);
        return;
    }
    request[size] = '\0';
    bool stays = s_on_request(self, request, answer);
    bool sent = send(fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
    if (!stays || !sent) {
        s_drop_client(self, index);
    }
}

static void s_on_connection(shell_t *self)
{
    int fd = accept(self->listen_fd, NULL, NULL);
    if (fd < 0) {
        return;
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (self->client_count == KEEPER_CLIENT_COUNT_MAX) {
        s_drop_client(self, 0);
    }
    self->client_fds[self->client_count] = fd;
    self->client_count++;
}

/* -- the loop ---------------------------------------------------------------------------------- */

static int s_wait_ms(const shell_t *self)
{
    int64_t deadline_ms = keeper_deadline_ms(&self->core);
    if (deadline_ms < 0) {
        return -1;
    }
    int64_t wait_ms = deadline_ms - s_now_ms();
    return wait_ms < 0 ? 0 : (int)wait_ms;
}

static void s_turn(shell_t *self)
{
    struct pollfd slots[CLIENT_SLOT + KEEPER_CLIENT_COUNT_MAX];
    unsigned client_count = self->client_count;
    slots[SIGNAL_SLOT] = (struct pollfd){.fd = self->signal_fd, .events = POLLIN};
    slots[LISTEN_SLOT] = (struct pollfd){.fd = self->listen_fd, .events = POLLIN};
    for (unsigned i = 0; i < client_count; i++) {
        slots[CLIENT_SLOT + i] = (struct pollfd){.fd = self->client_fds[i], .events = POLLIN};
    }
    int ready = poll(slots, CLIENT_SLOT + client_count, s_wait_ms(self));
    if (ready < 0) {
        return;
    }
    /* Signals first: the end of a child before an order that means it. */
    s_on_signals(self);
    /* From the last to the first: dropping one moves those behind it. */
    for (unsigned i = client_count; i > 0 && !self->is_over; i--) {
        if (slots[CLIENT_SLOT + i - 1].revents != 0) {
            s_on_client(self, i - 1);
        }
    }
    if (slots[LISTEN_SLOT].revents != 0) {
        s_on_connection(self);
    }
    if (!self->is_over) {
        s_step(self, (keeper_event_t){.kind = KEEPER_EVENT_TIMER});
    }
}

/* -- start and stop ---------------------------------------------------------------------------- */

static err_t s_open_signals(shell_t *self, errbuf_t *errbuf)
{
    sigset_t wanted;
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGCHLD);
    /* nohup means it. */
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) {
        (void)sigaddset(&wanted, SIGHUP);
    }
    (void)pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    /* An ignored SIGCHLD is inherited and would reap the child behind our back. */
    (void)signal(SIGCHLD, SIG_DFL);
    (void)signal(SIGPIPE, SIG_IGN);
    self->signal_fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (self->signal_fd < 0) {
        keeper_errbuf_errno(errbuf, "opening the signal descriptor", errno);
        return ERR_IO;
    }
    return ERR_OK;
}

static err_t s_watch_parent(const shell_t *self, pid_t parent, errbuf_t *errbuf)
{
    if (!self->options->die_with_parent) {
        return ERR_OK;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        errbuf_set(errbuf, "the parent process has ended before the keeper began");
        return ERR_UNREACHABLE;
    }
    return ERR_OK;
}

static err_t s_open_log(const shell_t *self, errbuf_t *errbuf)
{
    const char *path = self->options->log_path;
    if (path == NULL) {
        return ERR_OK;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) {
        keeper_errbuf_errno(errbuf, path, errno);
        errbuf_prefix(errbuf, "opening the log file");
        if (fd >= 0) {
            (void)close(fd);
        }
        return ERR_IO;
    }
    (void)close(fd);
    return ERR_OK;
}

static err_t s_open(shell_t *self, pid_t parent, errbuf_t *errbuf)
{
    const char *name = self->options->name;
    err_t err = s_open_signals(self, errbuf);
    if (err == ERR_OK) {
        err = s_watch_parent(self, parent, errbuf);
    }
    if (err == ERR_OK) {
        err = keeper_socket_open_folder(self->options->run, true, &self->folder_fd, errbuf);
    }
    if (err == ERR_OK) {
        err = keeper_socket_lock(self->folder_fd, name, &self->lock_fd, errbuf);
    }
    if (err == ERR_OK) {
        err = keeper_socket_listen(self->folder_fd, name, &self->listen_fd, errbuf);
    }
    if (err == ERR_OK) {
        err = s_open_log(self, errbuf);
    }
    return err;
}

static void s_close(shell_t *self)
{
    /* The name goes while the lock is held: it may belong to the next keeper afterwards. */
    if (self->listen_fd >= 0) {
        keeper_socket_remove(self->folder_fd, self->options->name);
        (void)close(self->listen_fd);
    }
    int fds[] = {self->lock_fd, self->folder_fd, self->signal_fd};
    for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    while (self->client_count > 0) {
        s_drop_client(self, self->client_count - 1);
    }
}

int keeper_shell_run(const keeper_options_t *options)
{
    pid_t parent = getppid();
    shell_t self = {
        .options = options, .folder_fd = -1, .lock_fd = -1, .listen_fd = -1, .signal_fd = -1};
    errbuf_t errbuf = {""};
    keeper_init(&self.core);
    if (s_open(&self, parent, &errbuf) != ERR_OK) {
        s_log(&self, "error", "keeper_not_started error=\"%s\"", errbuf.text);
        s_close(&self);
        return 1;
    }
    s_step(&self, (keeper_event_t){.kind = KEEPER_EVENT_START});
    while (!self.is_over) {
        s_turn(&self);
    }
    s_close(&self);
    return self.status;
}
