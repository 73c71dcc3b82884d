/* The commands of the partition proxy, held against the real program. */
#include "common/topology/process.h"
#include "common/wire/client_reply.h"
#include "tests/unit/env_child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINK_COUNT = 6 }; /* of control and two regions */

static const char *s_program;

typedef struct {
    env_child_mesh_t *mesh;
    env_child_t *proxy;
    env_loop_t *loop;
    void *socket;
    env_message_t message;
    buffer_t out;
} control_t;

static int s_setup(void **state)
{
    control_t *control = calloc(1, sizeof(*control));
    assert_non_null(control);
    *state = control;
    control->mesh = env_child_mesh_new(2);
    control->proxy = env_child_start_named(s_program, control->mesh, "proxy");
    env_child_await_log(control->proxy, "process=proxy event=ready");
    control->loop = env_loop_new(&(env_loop_options_t){.context = NULL});
    endpoint_t endpoint;
    process_address_t proxy = {.kind = PROCESS_PROXY};
    assert_int_equal(
        topology_bind_endpoint(&control->mesh->topology, proxy, SOCKET_REQUEST, &endpoint), ERR_OK);
    control->socket = env_test_client_new(ZMQ_REQ, endpoint.text);
    env_message_init(&control->message);
    buffer_init(&control->out);
    return 0;
}

static int s_teardown(void **state)
{
    control_t *control = *state;
    env_test_client_close(&control->socket);
    env_message_done(&control->message);
    env_loop_destroy(&control->loop);
    buffer_done(&control->out);
    int status = env_child_stop(control->proxy, SIGTERM);
    env_child_mesh_destroy(&control->mesh);
    free(control);
    return status;
}

/* Sends what stands in control->out; the reply lives until the next one. */
static slice_t s_ask(control_t *control, code_t code)
{
    slice_t body = buffer_slice(&control->out);
    env_test_send(control->socket, &body, 1);
    assert_true(env_test_receive(control->loop, control->socket, &control->message));
    slice_t reply = env_message_frame(&control->message, 0);
    client_answer_t answer;
    errbuf_t errbuf;
    assert_int_equal(client_answer_read(reply, &answer, &errbuf), ERR_OK);
    assert_int_equal(answer.code, code);
    buffer_clear(&control->out);
    return reply;
}

static slice_t s_ask_op(control_t *control, const char *op)
{
    pack_writer_t writer;
    client_request_begin(&writer, &control->out, op, 1);
    client_request_end(&writer);
    return s_ask(control, CODE_OK);
}

static slice_t s_set_link(
    control_t *control, const char *from, const char *to, const char *mode, code_t code)
{
    pack_writer_t writer;
    client_request_begin(&writer, &control->out, "link", 1);
    pack_put_text(&writer, "from", from);
    pack_put_text(&writer, "to", to);
    pack_put_text(&writer, "mode", mode);
    pack_put_u64(&writer, "delay_ms", 7);
    pack_put_f64(&writer, "drop", 0.25);
    client_request_end(&writer);
    return s_ask(control, code);
}

/* The place of a link in a reply. */
static int s_find_link(slice_t reply, const char *from, const char *to)
{
    for (int i = 0; i < LINK_COUNT; i++) {
        char path[32];
        (void)snprintf(path, sizeof(path), "links.%d.from", i);
        bool is_from = env_test_is(pack_get(reply, path).as.bytes, from);
        (void)snprintf(path, sizeof(path), "links.%d.to", i);
        if (is_from && env_test_is(pack_get(reply, path).as.bytes, to)) {
            return i;
        }
    }
    fail_msg("expected a link from %s to %s", from, to);
    return -1;
}

static pack_value_t s_link_field(slice_t reply, const char *from, const char *to, const char *field)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "links.%d.%s", s_find_link(reply, from, to), field);
    return pack_get(reply, path);
}

/* Goal: links gives every directed pair of places with its rule and counters. */
static void test_proxy_links_lists_all_pairs(void **state)
{
    control_t *control = *state;
    slice_t reply = s_ask_op(control, "links");
    assert_int_equal(pack_get(reply, "links").as.count, LINK_COUNT);
    assert_true(env_test_is(s_link_field(reply, "control", "us-east", "mode").as.bytes, "pass"));
    assert_int_equal(s_link_field(reply, "eu-west", "control", "counters.forwarded").kind,
                     PACK_UINT);
}

/* Goal: link replaces the whole rule of one direction, heal all of them; each answers with the
 * rules. */
static void test_proxy_link_and_heal_change_rules(void **state)
{
    control_t *control = *state;
    slice_t reply = s_set_link(control, "us-east", "eu-west", "hold", CODE_OK);
    assert_true(env_test_is(s_link_field(reply, "us-east", "eu-west", "mode").as.bytes, "hold"));
    assert_int_equal(s_link_field(reply, "us-east", "eu-west", "delay_ms").as.uint, 7);
    assert_true(env_test_is(s_link_field(reply, "eu-west", "us-east", "mode").as.bytes, "pass"));
    (void)s_set_link(control, "eu-west", "control", "cut", CODE_OK);
    reply = s_ask_op(control, "links");
    assert_int_equal(s_link_field(reply, "eu-west", "control", "counters.resets").as.uint, 1);
    reply = s_ask_op(control, "heal");
    assert_true(env_test_is(s_link_field(reply, "us-east", "eu-west", "mode").as.bytes, "pass"));
    assert_int_equal(s_link_field(reply, "us-east", "eu-west", "delay_ms").as.uint, 0);
    assert_true(env_test_is(s_link_field(reply, "eu-west", "control", "mode").as.bytes, "pass"));
    env_child_await_log(control->proxy, "event=heal");
}

/* Goal: places that are none, and a link to itself, are refused by name. */
static void test_proxy_bad_links_are_refused(void **state)
{
    control_t *control = *state;
    slice_t reply = s_set_link(control, "us-east", "mars", "cut", CODE_BAD_REQUEST);
    char text[512];
    slice_t message = pack_get(reply, "error.message").as.bytes;
    (void)snprintf(text, sizeof(text), "%.*s", (int)message.size, (const char *)message.data);
    assert_non_null(strstr(text, "to: expected one of control us-east eu-west, found mars"));
    (void)s_set_link(control, "us-east", "us-east", "cut", CODE_BAD_REQUEST);
    (void)s_set_link(control, "us-east", "eu-west", "sideways", CODE_BAD_REQUEST);
    reply = s_ask_op(control, "links");
    assert_true(env_test_is(s_link_field(reply, "us-east", "eu-west", "mode").as.bytes, "pass"));
}

/* Goal: metrics have the links, health is ready, also while a link is cut. */
static void test_proxy_common_ops_know_the_links(void **state)
{
    control_t *control = *state;
    (void)s_set_link(control, "us-east", "eu-west", "cut", CODE_OK);
    slice_t reply = s_ask_op(control, "metrics");
    assert_int_equal(pack_get(reply, "metrics.link_us-east_eu-west_forwarded").kind, PACK_UINT);
    assert_int_equal(pack_get(reply, "metrics.proxy_malformed").kind, PACK_UINT);
    reply = s_ask_op(control, "health");
    assert_true(pack_get(reply, "ready").as.boolean);
}

/* Goal: a port of a link that is taken ends the start with 78 and names it. */
static void test_proxy_taken_link_port_is_refused(void **state)
{
    control_t *control = *state;
    char other[ENV_CHILD_PATH_SIZE + 32];
    (void)snprintf(other, sizeof(other), "%s/other.yaml", control->mesh->folder);
    FILE *file = fopen(other, "we");
    assert_non_null(file);
    const topology_t *topology = &control->mesh->topology;
    assert_true(fprintf(file,
                        "shards: 3\nschema: schema.yaml\nproxy:\n  port: %u\n  publish_port: %u\n"
                        "  link_port_base: %u\nregions:\n"
                        "  - name: us-east\n    id: 1\n    gateway_port: %u\n    port_base: %u\n"
                        "  - name: eu-west\n    id: 2\n    gateway_port: %u\n    port_base: %u\n",
                        (unsigned)topology->proxy.port + 60, (unsigned)topology->proxy.port + 61,
                        (unsigned)topology->proxy.link_port_base,
                        (unsigned)topology->regions[0].gateway_port,
                        (unsigned)topology->regions[0].port_base,
                        (unsigned)topology->regions[1].gateway_port,
                        (unsigned)topology->regions[1].port_base) > 0);
    assert_int_equal(fclose(file), 0);
    char data[ENV_CHILD_PATH_SIZE + 32];
    (void)snprintf(data, sizeof(data), "%s/other", control->mesh->folder);
    const char *const arguments[] = {"--topology", other, "--data", data, "--name", "proxy", NULL};
    env_child_t *second = env_child_start(s_program, arguments);
    assert_int_equal(env_child_await_exit(second), 78);
    assert_non_null(strstr(second->log, "link endpoint: bind tcp://127.0.0.1:"));
    assert_non_null(strstr(second->log, "address in use"));
    free(second);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "expected the path of tidal_partition_proxy\n");
        return 2;
    }
    s_program = argv[1];
#define COMMAND_TEST(function) cmocka_unit_test_setup_teardown(function, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        COMMAND_TEST(test_proxy_links_lists_all_pairs),
        COMMAND_TEST(test_proxy_link_and_heal_change_rules),
        COMMAND_TEST(test_proxy_bad_links_are_refused),
        COMMAND_TEST(test_proxy_common_ops_know_the_links),
        COMMAND_TEST(test_proxy_taken_link_port_is_refused),
    };
    return cmocka_run_group_tests(tests, env_test_start, env_test_stop);
}
