#include "common/env/env_zmq.h"

#include "common/base/bounds.h"
#include "common/base/check.h"
#include "common/env/env_port.h"

#include <czmq.h>
#include <errno.h>
#include <sys/random.h>
#include <sys/resource.h>

extern char **environ; /* named by POSIX. NOLINT(readability-identifier-naming) */

static struct {
    bool is_started;
    uint32_t open_count;
} s_zmq;

/* -- the process ------------------------------------------------------------------------------- */

static err_t s_raise_descriptor_limit(errbuf_t *errbuf)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    rlim_t wanted =
        DESCRIPTOR_COUNT_WANTED < limit.rlim_max ? DESCRIPTOR_COUNT_WANTED : limit.rlim_max;
    if (limit.rlim_cur < wanted) {
        struct rlimit raised = {.rlim_cur = wanted, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            limit = raised;
        }
    }
    if (limit.rlim_cur < DESCRIPTOR_COUNT_MIN) {
        errbuf_set(
            errbuf,
            "limit of open files: expected at least %d, found %llu: raise it before the start "
            "(ulimit -n %d, or LimitNOFILE= of the service manager)",
            DESCRIPTOR_COUNT_MIN, (unsigned long long)limit.rlim_cur, DESCRIPTOR_COUNT_MIN);
        return ERR_FULL;
    }
    return ERR_OK;
}

/* CZMQ reads ZSYS_* and would let the environment change limits behind our back. */
static void s_clear_variables(void)
{
    char **at = environ;
    while (at != NULL && *at != NULL) {
        char name[128];
        size_t size = strcspn(*at, "=");
        bool is_theirs = strncmp(*at, "ZSYS_", 5) == 0 && size < sizeof(name);
        if (!is_theirs) {
            at++;
            continue;
        }
        memcpy(name, *at, size);
        name[size] = '\0';
        /* Before any other thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
        CHECK(unsetenv(name) == 0); /* moves the following ones here */
    }
}

/* The jitter of reconnects comes from the C library's generator, which CZMQ seeds with the second
 * of the start: all processes of a mesh would knock at the same moment. */
static void s_seed_jitter(void)
{
    unsigned seed = 1;
    CHECK(getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed));
    srand(seed);
}

err_t env_zmq_start(errbuf_t *errbuf)
{
    CHECK(!s_zmq.is_started);
    err_t err = s_raise_descriptor_limit(errbuf);
    if (err != ERR_OK) {
        return err;
    }
    s_clear_variables();
    zsys_handler_set(NULL);
    CHECK(zsys_init() != NULL);
    zsys_set_logstream(stderr);
    zsys_set_max_sockets(SOCKET_COUNT_MAX);
    s_seed_jitter();
    s_zmq.is_started = true;
    return ERR_OK;
}

void env_zmq_stop(void)
{
    CHECK(s_zmq.is_started);
    zsys_shutdown(); /* names what is still open */
    CHECK(s_zmq.open_count == 0);
    s_zmq.is_started = false;
}

/* -- sockets ----------------------------------------------------------------------------------- */

uint32_t env_zmq_queue_count(uint64_t budget_bytes, uint64_t message_size_bytes)
{
    CHECK(message_size_bytes > 0);
    uint64_t count = budget_bytes / message_size_bytes;
    if (count < SOCKET_QUEUE_COUNT_MIN) {
        return SOCKET_QUEUE_COUNT_MIN;
    }
    return count < SOCKET_QUEUE_COUNT_MAX ? (uint32_t)count : SOCKET_QUEUE_COUNT_MAX;
}

void env_zmq_set_int(void *socket, int option, int value)
{
    CHECK(zmq_setsockopt(socket, option, &value, sizeof(value)) == 0);
}

static void s_set_connecting(void *socket)
{
    env_zmq_set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS_MIN);
    env_zmq_set_int(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MS_MAX);
    env_zmq_set_int(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS);
    env_zmq_set_int(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_SOCKET_MS);
    env_zmq_set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_SOCKET_TIMEOUT_MS);
    env_zmq_set_int(socket, ZMQ_HEARTBEAT_TTL, HEARTBEAT_SOCKET_TTL_MS);
}

void *env_zmq_socket_new(const env_zmq_options_t *options)
{
    CHECK(s_zmq.is_started);
    CHECK(options->queue_count > 0);
    CHECK(options->queue_count <= SOCKET_QUEUE_COUNT_MAX);
    CHECK_IMPLIES(options->frame_size_max > 0, options->side == ENV_ZMQ_BIND);
    void *socket = zsys_socket(options->type, __FILE__, __LINE__);
    CHECK(socket != NULL);
    s_zmq.open_count++;
    env_zmq_set_int(socket, ZMQ_SNDHWM, (int)options->queue_count);
    env_zmq_set_int(socket, ZMQ_RCVHWM, (int)options->queue_count);
    env_zmq_set_int(socket, ZMQ_LINGER, SOCKET_LINGER_MS);
    env_zmq_set_int(socket, ZMQ_SNDTIMEO, 0);
    env_zmq_set_int(socket, ZMQ_RCVTIMEO, 0);
    env_zmq_set_int(socket, ZMQ_IPV6, 0);
    env_zmq_set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_MS);
    if (options->side == ENV_ZMQ_CONNECT) {
        s_set_connecting(socket);
    } else {
        env_zmq_set_int(socket, ZMQ_BACKLOG, DESCRIPTOR_COUNT_MIN);
        int64_t frame_size_max = options->frame_size_max > 0 ? options->frame_size_max : -1;
        CHECK(zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_size_max, sizeof(frame_size_max)) == 0);
    }
    if (options->type == ZMQ_ROUTER) {
        env_zmq_set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
    }
    if (options->type == ZMQ_DEALER) {
        env_zmq_set_int(socket, ZMQ_IMMEDIATE, 1);
    }
    return socket;
}

void env_zmq_socket_close(void **socket_p)
{
    CHECK(socket_p != NULL);
    if (*socket_p == NULL) {
        return;
    }
    CHECK(zsys_close(*socket_p, __FILE__, __LINE__) == 0);
    CHECK(s_zmq.open_count > 0);
    s_zmq.open_count--;
    *socket_p = NULL;
}

/* -- endpoints --------------------------------------------------------------------------------- */

static err_t s_port_is_held(const char *endpoint, errbuf_t *errbuf)
{
    env_port_holder_t holder;
    if (env_port_find_holder(endpoint, &holder) == ERR_OK) {
        errbuf_set(
            errbuf,
            "address in use: process %ld (%s) listens there: stop it (./scripts/mesh down when "
            "it is a mesh of yours), or give this mesh other ports in its topology",
            holder.pid, holder.name);
    } else {
        errbuf_set(errbuf,
                   "address in use: another process listens there, of another user or in another "
                   "container: find it with `ss -ltnp`, stop it, or give this mesh other ports in "
                   "its topology");
    }
    return ERR_LOCKED;
}

err_t env_zmq_bind(void *socket, const char *endpoint, errbuf_t *errbuf)
{
    if (zmq_bind(socket, endpoint) == 0) {
        return ERR_OK;
    }
    int bind_errno = errno;
    err_t err = ERR_IO;
    if (bind_errno == EADDRINUSE) {
        err = s_port_is_held(endpoint, errbuf);
    } else if (bind_errno == EADDRNOTAVAIL || bind_errno == ENODEV) {
        errbuf_set(errbuf,
                   "%s: this host has no such address: expected one of its own (see `ip addr`) "
                   "in the topology",
                   zmq_strerror(bind_errno));
        err = ERR_INVALID;
    } else if (bind_errno == EINVAL || bind_errno == EPROTONOSUPPORT) {
        errbuf_set(errbuf, "%s: expected tcp://<address>:<port>", zmq_strerror(bind_errno));
        err = ERR_INVALID;
    } else {
        errbuf_set(errbuf, "%s (errno %d)", zmq_strerror(bind_errno), bind_errno);
    }
    errbuf_prefix(errbuf, "bind %s", endpoint);
    return err;
}

err_t env_zmq_connect(void *socket, const char *endpoint, errbuf_t *errbuf)
{
    if (zmq_connect(socket, endpoint) == 0) {
        return ERR_OK;
    }
    errbuf_set(errbuf, "connect %s: %s: expected tcp://<address>:<port>", endpoint,
               zmq_strerror(errno));
    return ERR_INVALID;
}

void env_zmq_last_endpoint(void *socket, char *ret_endpoint)
{
    size_t size = ENDPOINT_SIZE_MAX;
    CHECK(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, ret_endpoint, &size) == 0);
}
