#include "common/env/env_loop.h"

#include "common/base/bounds.h"
#include "common/base/check.h"
#include "common/env/env_clock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { EPOLL_EVENT_COUNT_MAX = 128 };

struct env_source {
    env_loop_t *loop;
    void *socket; /* NULL: a plain descriptor */
    int fd;
    env_loop_take_fn take;
    env_loop_fd_fn readable;
    void *context;
    bool is_ready;   /* stands in `ready` or `next_ready` */
    bool is_used;    /* stands in `used` */
    bool is_empty;   /* the last thing done was a receive that found nothing */
    bool is_removed; /* stands in `removed`; freed at the end of the turn */
};

/* A list of sources, each at most once; its room is that of all sources, so that adding to it never
 * allocates. An entry of a source that was removed is NULL. */
typedef struct {
    env_source_t **at;
    size_t count;
} source_list_t;

struct env_loop {
    env_loop_options_t options;
    int epoll_fd;
    now_t now;
    bool is_stopping;
    bool is_in_turn;
    size_t source_count;      /* not removed */
    size_t capacity;          /* of each list */
    source_list_t ready;      /* may have input, in this turn */
    source_list_t next_ready; /* in the next */
    source_list_t used;       /* ZMQ_EVENTS must be read before the next sleep */
    source_list_t removed;
    env_timers_t *timers;
    env_source_t *signals;
    env_loop_signal_fn on_signal;
    void *signal_context;
    env_loop_counts_t counts;
};

/* -- life -------------------------------------------------------------------------------------- */

env_loop_t *env_loop_new(const env_loop_options_t *options)
{
    env_loop_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    CHECK(self->epoll_fd >= 0);
    self->timers = env_timers_new();
    self->now = env_clock_now();
    env_loop_set_options(self, options);
    return self;
}

void env_loop_set_options(env_loop_t *self, const env_loop_options_t *options)
{
    CHECK(self != NULL);
    CHECK(options != NULL);
    CHECK((options->next_deadline_ns == NULL) == (options->on_deadline == NULL));
    self->options = *options;
    if (self->options.batch_count_max == 0) {
        self->options.batch_count_max = LOOP_BATCH_COUNT_MAX;
    }
}

static void s_free_removed(env_loop_t *self)
{
    for (size_t i = 0; i < self->removed.count; i++) {
        free(self->removed.at[i]);
    }
    self->removed.count = 0;
}

void env_loop_destroy(env_loop_t **self_p)
{
    CHECK(self_p != NULL);
    env_loop_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    CHECK(!self->is_in_turn);
    if (self->signals != NULL) {
        int fd = self->signals->fd;
        env_source_remove(&self->signals);
        (void)close(fd); /* nothing was written to it */
    }
    CHECK(self->source_count == 0);
    s_free_removed(self);
    env_timers_destroy(&self->timers);
    (void)close(self->epoll_fd); /* nothing to lose */
    free(self->ready.at);
    free(self->next_ready.at);
    free(self->used.at);
    free(self->removed.at);
    free(self);
    *self_p = NULL;
}

/* -- lists ------------------------------------------------------------------------------------- */

static void s_list_grow(source_list_t *list, size_t capacity)
{
    env_source_t **at = realloc(list->at, capacity * sizeof(env_source_t *));
    CHECK(at != NULL);
    list->at = at;
}

static void s_list_add(const env_loop_t *self, source_list_t *list, env_source_t *source)
{
    CHECK(list->count < self->capacity);
    list->at[list->count++] = source;
}

static void s_list_forget(source_list_t *list, const env_source_t *source)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->at[i] == source) {
            list->at[i] = NULL;
        }
    }
}

static void s_mark_ready(env_source_t *source, source_list_t *list)
{
    if (!source->is_ready) {
        source->is_ready = true;
        s_list_add(source->loop, list, source);
    }
}

static void s_mark_used(env_source_t *source)
{
    source->is_empty = false;
    if (!source->is_used) {
        source->is_used = true;
        s_list_add(source->loop, &source->loop->used, source);
    }
}

/* -- sources ----------------------------------------------------------------------------------- */

/* Room in every list for one more source. Those removed and not yet freed, and holes left by them,
 * may fill a list as well. */
static void s_require_room(env_loop_t *self)
{
    size_t most = self->ready.count;
    most = self->next_ready.count > most ? self->next_ready.count : most;
    most = self->used.count > most ? self->used.count : most;
    size_t wanted = 2 * (self->source_count + self->removed.count + most) + 16;
    if (self->capacity >= wanted / 2 + 8) {
        return;
    }
    self->capacity = wanted;
    s_list_grow(&self->ready, wanted);
    s_list_grow(&self->next_ready, wanted);
    s_list_grow(&self->used, wanted);
    s_list_grow(&self->removed, wanted);
}

static env_source_t *s_source_add(env_loop_t *self, const env_source_t *made)
{
    s_require_room(self);
    env_source_t *source = malloc(sizeof(*source));
    CHECK(source != NULL);
    *source = *made;
    source->loop = self;
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = source}};
    CHECK(epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) == 0);
    self->source_count++;
    return source;
}

env_source_t *env_loop_add_socket(env_loop_t *self,
                                  void *zmq_socket,
                                  env_loop_take_fn take,
                                  void *context)
{
    CHECK(zmq_socket != NULL);
    CHECK(take != NULL);
    int fd = -1;
    size_t size = sizeof(fd);
    CHECK(zmq_getsockopt(zmq_socket, ZMQ_FD, &fd, &size) == 0);
    env_source_t *source = s_source_add(
        self, &(env_source_t){.socket = zmq_socket, .fd = fd, .take = take, .context = context});
    s_mark_used(source); /* it may have input from before */
    return source;
}

env_source_t *env_loop_add_fd(env_loop_t *self, int fd, env_loop_fd_fn readable, void *context)
{
    CHECK(fd >= 0);
    CHECK(readable != NULL);
    return s_source_add(self, &(env_source_t){.fd = fd, .readable = readable, .context = context});
}

void env_source_remove(env_source_t **self_p)
{
    CHECK(self_p != NULL);
    env_source_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    env_loop_t *loop = self->loop;
    CHECK(!self->is_removed);
    CHECK(epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, self->fd, NULL) == 0);
    s_list_forget(&loop->ready, self);
    s_list_forget(&loop->next_ready, self);
    s_list_forget(&loop->used, self);
    self->is_removed = true;
    CHECK(loop->source_count > 0);
    loop->source_count--;
    if (loop->is_in_turn) {
        /* epoll may have reported it already: its memory stays until the end of the turn. */
        s_list_add(loop, &loop->removed, self);
    } else {
        free(self);
    }
    *self_p = NULL;
}

static uint32_t s_events(const env_source_t *source)
{
    int events = 0;
    size_t size = sizeof(events);
    CHECK(zmq_getsockopt(source->socket, ZMQ_EVENTS, &events, &size) == 0);
    return (uint32_t)events;
}

int env_source_send(env_source_t *self, zmq_msg_t *msg, int flags)
{
    s_mark_used(self);
    bool has_looked = false;
    for (;;) {
        if (zmq_msg_send(msg, self->socket, flags | ZMQ_DONTWAIT) >= 0) {
            return 0;
        }
        if (errno == EINTR) {
            continue;
        }
        /* ZeroMQ reads its mailbox only now and then while sending: room given back by the peer, or
         * a connection just made, may wait there unseen. */
        if (has_looked || (errno != EAGAIN && errno != EHOSTUNREACH)) {
            return -1;
        }
        has_looked = true;
        (void)s_events(self); /* called for what it does: it reads the mailbox */
    }
}

int env_source_send_bytes(env_source_t *self, const void *bytes, size_t size, int flags)
{
    zmq_msg_t msg;
    CHECK(zmq_msg_init_size(&msg, size) == 0);
    if (size > 0) {
        memcpy(zmq_msg_data(&msg), bytes, size);
    }
    int result = env_source_send(self, &msg, flags);
    if (result != 0) {
        int send_errno = errno;
        CHECK(zmq_msg_close(&msg) == 0);
        errno = send_errno;
    }
    return result;
}

int env_source_receive(env_source_t *self, zmq_msg_t *msg)
{
    s_mark_used(self);
    int result = 0;
    do {
        result = zmq_msg_recv(msg, self->socket, ZMQ_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    self->is_empty = result < 0 && errno == EAGAIN;
    return result < 0 ? -1 : 0;
}

/* -- signals ----------------------------------------------------------------------------------- */

static sigset_t s_stop_signals(void)
{
    sigset_t signals;
    CHECK(sigemptyset(&signals) == 0);
    CHECK(sigaddset(&signals, SIGTERM) == 0);
    CHECK(sigaddset(&signals, SIGINT) == 0);
    return signals;
}

void env_loop_block_signals(void)
{
    sigset_t signals = s_stop_signals();
    CHECK(pthread_sigmask(SIG_BLOCK, &signals, NULL) == 0);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0);
}

static void s_signal_readable(void *context)
{
    env_loop_t *self = context;
    struct signalfd_siginfo info;
    ssize_t size = read(self->signals->fd, &info, sizeof(info));
    if (size != (ssize_t)sizeof(info)) {
        CHECK(errno == EAGAIN || errno == EINTR);
        return;
    }
    self->on_signal(self->signal_context, (int)info.ssi_signo);
}

void env_loop_on_signals(env_loop_t *self, env_loop_signal_fn callback, void *context)
{
    CHECK(self->signals == NULL);
    CHECK(callback != NULL);
    sigset_t signals = s_stop_signals();
    int fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(fd >= 0);
    self->on_signal = callback;
    self->signal_context = context;
    self->signals = env_loop_add_fd(self, fd, s_signal_readable, self);
}

/* -- one turn ---------------------------------------------------------------------------------- */

/* How long epoll may sleep: until the next deadline, and not at all when a socket has input left.
 */
static int s_wait_ms(const env_loop_t *self, int wait_ms_max)
{
    if (self->ready.count > 0) {
        return 0;
    }
    int64_t at_ns = env_timers_next_ns(self->timers);
    if (self->options.next_deadline_ns != NULL) {
        int64_t deadline_ns = self->options.next_deadline_ns(self->options.context);
        at_ns = deadline_ns < at_ns ? deadline_ns : at_ns;
    }
    if (at_ns == INT64_MAX) {
        return wait_ms_max;
    }
    /* Not for anybody else: the turn that ends may have taken long, and a sleep counts from now. */
    int64_t now_ns = env_clock_now().mono_ns;
    if (at_ns <= now_ns) {
        return 0; /* INT64_MIN means at once: nothing may be subtracted from it */
    }
    int64_t left_ms = (at_ns - now_ns) / ENV_NS_PER_MS + 1; /* up, or it would wake just before */
    bool is_within = wait_ms_max < 0 || left_ms < wait_ms_max;
    return is_within ? (int)(left_ms < INT32_MAX ? left_ms : INT32_MAX) : wait_ms_max;
}

static void s_sleep(env_loop_t *self, int wait_ms)
{
    struct epoll_event events[EPOLL_EVENT_COUNT_MAX];
    int count = epoll_wait(self->epoll_fd, events, EPOLL_EVENT_COUNT_MAX, wait_ms);
    CHECK_IMPLIES(count < 0, errno == EINTR);
    self->now = env_clock_now();
    for (int i = 0; i < count; i++) {
        env_source_t *source = events[i].data.ptr;
        if (source->is_removed) {
            continue; /* by a callback before this one */
        }
        if (source->socket != NULL) {
            s_mark_ready(source, &self->ready);
        } else {
            source->readable(source->context);
        }
    }
}

/* Input of one socket, up to its share of the turn. */
static void s_serve(env_loop_t *self, env_source_t *source)
{
    s_mark_used(source); /* one that takes nothing must have its mailbox emptied as well */
    for (uint32_t i = 0; i < self->options.batch_count_max; i++) {
        if (source->is_removed) {
            return;
        }
        if (source->take(source->context) == ERR_AGAIN) {
            return;
        }
        self->counts.messages++;
    }
    if (!source->is_removed) {
        self->counts.batches_cut_short++;
        s_mark_ready(source, &self->next_ready);
    }
}

static void s_serve_ready(env_loop_t *self)
{
    for (size_t i = 0; i < self->ready.count; i++) {
        env_source_t *source = self->ready.at[i];
        if (source != NULL) {
            source->is_ready = false;
            self->ready.at[i] = NULL;
            s_serve(self, source);
        }
    }
    self->ready.count = 0;
}

/* Rule 2 of the header: no socket that was used is left unseen. A receive that found nothing has
 * read the whole mailbox itself: what comes later wakes epoll. */
static void s_look_again(env_loop_t *self)
{
    for (size_t i = 0; i < self->used.count; i++) {
        env_source_t *source = self->used.at[i];
        if (source == NULL) {
            continue;
        }
        source->is_used = false;
        if (!source->is_empty && (s_events(source) & ZMQ_POLLIN) != 0) {
            s_mark_ready(source, &self->next_ready);
        }
    }
    self->used.count = 0;
}

static void s_swap_ready(env_loop_t *self)
{
    CHECK(self->ready.count == 0);
    source_list_t empty = self->ready;
    self->ready = self->next_ready;
    self->next_ready = empty;
}

void env_loop_turn(env_loop_t *self, int wait_ms)
{
    CHECK(!self->is_in_turn);
    s_look_again(self); /* what was used between turns */
    s_swap_ready(self);
    self->is_in_turn = true;
    s_sleep(self, s_wait_ms(self, wait_ms));
    s_serve_ready(self);
    (void)env_timers_fire(self->timers, self->now);
    const env_loop_options_t *options = &self->options;
    if (options->next_deadline_ns != NULL &&
        options->next_deadline_ns(options->context) <= self->now.mono_ns) {
        options->on_deadline(options->context, self->now);
    }
    if (options->on_turn_end != NULL) {
        options->on_turn_end(options->context, self->now);
    }
    self->is_in_turn = false;
    s_free_removed(self);
    self->counts.turns++;
    int64_t turn_ns = env_clock_now().mono_ns - self->now.mono_ns;
    if ((uint64_t)turn_ns > self->counts.longest_turn_ns) {
        self->counts.longest_turn_ns = (uint64_t)turn_ns;
    }
}

void env_loop_run(env_loop_t *self)
{
    while (!self->is_stopping) {
        env_loop_turn(self, -1);
    }
}

void env_loop_stop(env_loop_t *self)
{
    self->is_stopping = true;
}

env_timers_t *env_loop_timers(env_loop_t *self)
{
    return self->timers;
}

now_t env_loop_now(const env_loop_t *self)
{
    return self->now;
}

env_loop_counts_t env_loop_counts(const env_loop_t *self)
{
    return self->counts;
}
