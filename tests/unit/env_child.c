#include "tests/unit/env_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ; /* named by POSIX. NOLINT(readability-identifier-naming) */

enum { PORT_COUNT = 320 };

/* -- meshes ------------------------------------------------------------------------------------ */

static void s_put_region(FILE *file, const char *name, unsigned id, unsigned port)
{
    assert_true(fprintf(file, "  - name: %s\n    id: %u\n    gateway_port: %u\n    port_base: %u\n",
                        name, id, port, port + 1) > 0);
}

static void s_write_topology(const char *path, unsigned region_count, unsigned port)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fprintf(file,
                        "shards: 3\nschema: schema.yaml\n"
                        "control:\n  port: %u\n  publish_port: %u\n"
                        "timing:\n  stop_ms: %d\n  heartbeat_ms: 50\n",
                        port, port + 1, ENV_CHILD_STOP_MS) > 0);
    if (region_count > 1) {
        assert_true(fprintf(file, "proxy:\n  port: %u\n  publish_port: %u\n  link_port_base: %u\n",
                            port + 2, port + 3, port + 4) > 0);
    }
    assert_true(fprintf(file, "regions:\n") > 0);
    s_put_region(file, "us-east", 1, port + 100);
    if (region_count > 1) {
        s_put_region(file, "eu-west", 2, port + 200);
    }
    assert_int_equal(fclose(file), 0);
}

static void s_copy_schema(const char *folder)
{
    char path[ENV_CHILD_PATH_SIZE + 32];
    char text[8192];
    /* One thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    const char *source = getenv("TIDAL_SOURCE");
    (void)snprintf(path, sizeof(path), "%s/topology/schema.yaml", source != NULL ? source : ".");
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof(text), file);
    assert_true(size > 0 && size < sizeof(text));
    assert_int_equal(fclose(file), 0);
    (void)snprintf(path, sizeof(path), "%s/schema.yaml", folder);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

env_child_mesh_t *env_child_mesh_new(unsigned region_count)
{
    assert_true(region_count == 1 || region_count == 2);
    env_child_mesh_t *self = calloc(1, sizeof(*self));
    assert_non_null(self);
    (void)snprintf(self->folder, sizeof(self->folder), "/tmp/tidal-child-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    (void)snprintf(self->topology_path, sizeof(self->topology_path), "%s/mesh.yaml", self->folder);
    (void)snprintf(self->data_path, sizeof(self->data_path), "%s/data/deep", self->folder);
    s_copy_schema(self->folder);
    s_write_topology(self->topology_path, region_count, env_test_free_ports(PORT_COUNT));
    errbuf_t errbuf = {.text = ""};
    if (topology_load(self->topology_path, &self->topology, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    return self;
}

void env_child_mesh_destroy(env_child_mesh_t **self_p)
{
    char command[ENV_CHILD_PATH_SIZE + 32];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", (*self_p)->folder);
    /* A path that was made above. NOLINTNEXTLINE(concurrency-mt-unsafe,cert-env33-c) */
    assert_int_equal(system(command), 0);
    free(*self_p);
    *self_p = NULL;
}

/* -- children ---------------------------------------------------------------------------------- */

env_child_t *env_child_start(const char *program, const char *const *arguments)
{
    env_child_t *self = calloc(1, sizeof(*self));
    assert_non_null(self);
    char *argv[16] = {NULL};
    argv[0] = strdup(program);
    for (unsigned i = 0; arguments[i] != NULL; i++) {
        argv[i + 1] = strdup(arguments[i]);
    }
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFD, FD_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO), 0);
    assert_int_equal(posix_spawn_file_actions_addclose(&actions, ends[1]), 0);
    assert_int_equal(posix_spawnattr_init(&attributes), 0);
    assert_int_equal(sigemptyset(&none), 0);
    assert_int_equal(posix_spawnattr_setsigmask(&attributes, &none), 0);
    assert_int_equal(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK), 0);
    assert_int_equal(posix_spawn(&self->pid, program, &actions, &attributes, argv, environ), 0);
    assert_int_equal(posix_spawn_file_actions_destroy(&actions), 0);
    assert_int_equal(posix_spawnattr_destroy(&attributes), 0);
    (void)close(ends[1]);
    self->output = ends[0];
    for (unsigned i = 0; argv[i] != NULL; i++) {
        free(argv[i]);
    }
    return self;
}

env_child_t *env_child_start_named(const char *program,
                                   const env_child_mesh_t *mesh,
                                   const char *name)
{
    const char *const arguments[] = {
        "--topology", mesh->topology_path, "--data", mesh->data_path, "--name", name, NULL};
    return env_child_start(program, arguments);
}

bool env_child_read_more(env_child_t *self)
{
    struct pollfd pollfd = {.fd = self->output, .events = POLLIN};
    assert_true(self->log_size + 1 < sizeof(self->log));
    if (poll(&pollfd, 1, ENV_TEST_LIMIT_MS) != 1) {
        return false;
    }
    ssize_t size =
        read(self->output, self->log + self->log_size, sizeof(self->log) - 1 - self->log_size);
    if (size <= 0) {
        return false;
    }
    self->log_size += (size_t)size;
    self->log[self->log_size] = '\0';
    return true;
}

void env_child_await_log(env_child_t *self, const char *text)
{
    bool has_more = true;
    while (has_more && strstr(self->log, text) == NULL) {
        has_more = env_child_read_more(self);
    }
    if (!has_more) {
        fail_msg("expected %s in the log, found: %s", text, self->log);
    }
}

int env_child_await_exit(env_child_t *self)
{
    while (env_child_read_more(self)) {
    }
    int status = 0;
    assert_int_equal(waitpid(self->pid, &status, 0), self->pid);
    (void)close(self->output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int env_child_stop(env_child_t *self, int signal_number)
{
    assert_int_equal(kill(self->pid, signal_number), 0);
    int status = env_child_await_exit(self);
    free(self);
    return status;
}
