/* The skeleton of a service, held against a real process: start, requests, stop, and every way in
 * which a start can fail. */
#include "common/env/env_clock.h"
#include "common/env/env_net.h"
#include "common/env/env_subscriber.h"
#include "common/env/env_zmq.h"
#include "common/topology/process.h"
#include "common/wire/client_reply.h"
#include "common/wire/msg.h"
#include "tests/unit/env_child.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *s_program; /* of the echo service */

static int s_setup(void **state)
{
    *state = env_child_mesh_new(1);
    return 0;
}

static int s_teardown(void **state)
{
    env_child_mesh_t *mesh = *state;
    env_child_mesh_destroy(&mesh);
    return 0;
}

/* -- talking to them --------------------------------------------------------------------------- */

typedef struct {
    env_loop_t *loop;
    env_net_t *net; /* of a tool */
    uint64_t reply_count;
    process_address_t from;
    uint8_t reply[64];
    size_t reply_size;
} tool_t;

static void s_on_reply(void *context, process_address_t from, slice_t body)
{
    tool_t *tool = context;
    tool->reply_count++;
    tool->from = from;
    tool->reply_size = body.size < sizeof(tool->reply) ? body.size : sizeof(tool->reply);
    memcpy(tool->reply, body.data, tool->reply_size);
}

static void s_open_tool(tool_t *tool, const env_child_mesh_t *mesh)
{
    errbuf_t errbuf;
    *tool = (tool_t){.loop = env_loop_new(&(env_loop_options_t){.context = NULL})};
    env_net_options_t options = {.loop = tool->loop,
                                 .topology = &mesh->topology,
                                 .self = {.kind = PROCESS_TOOL, .region = {1}},
                                 .context = tool,
                                 .on_reply = s_on_reply};
    assert_int_equal(env_net_open(&options, &tool->net, &errbuf), ERR_OK);
}

static void s_close_tool(tool_t *tool)
{
    env_net_close(&tool->net);
    env_loop_destroy(&tool->loop);
}

static const process_address_t s_node_0 = {.kind = PROCESS_NODE, .region = {1}};

static endpoint_t s_endpoint(const env_child_mesh_t *mesh, socket_kind_t kind)
{
    endpoint_t endpoint;
    assert_int_equal(topology_bind_endpoint(&mesh->topology, s_node_0, kind, &endpoint), ERR_OK);
    return endpoint;
}

/* Sends frames from a DEALER and returns the body of the reply, which lives in `message`. */
static slice_t s_ask(const env_child_mesh_t *mesh,
                     const slice_t *frames,
                     uint32_t count,
                     env_message_t *message)
{
    env_loop_t *loop = env_loop_new(&(env_loop_options_t){.context = NULL});
    void *socket = env_test_client_new(ZMQ_DEALER, s_endpoint(mesh, SOCKET_REQUEST).text);
    env_test_send(socket, frames, count);
    assert_true(env_test_receive(loop, socket, message));
    env_test_client_close(&socket);
    env_loop_destroy(&loop);
    return env_message_frame(message, message->count - 1);
}

static slice_t s_ask_op(const env_child_mesh_t *mesh, const char *op, env_message_t *message)
{
    buffer_t body;
    pack_writer_t writer;
    buffer_init(&body);
    client_request_begin(&writer, &body, op, 7);
    client_request_end(&writer);
    slice_t frame = buffer_slice(&body);
    slice_t reply = s_ask(mesh, &frame, 1, message);
    buffer_done(&body);
    return reply;
}

static code_t s_code(slice_t reply)
{
    client_answer_t answer;
    errbuf_t errbuf;
    assert_int_equal(client_answer_read(reply, &answer, &errbuf), ERR_OK);
    return answer.code;
}

/* -- tests ------------------------------------------------------------------------------------- */

/* Goal: it says ready with its endpoint, and both stop signals end it with status 0, also when they
 * are repeated. */
static void test_env_process_stop_signals_end_it_cleanly(void **state)
{
    const env_child_mesh_t *mesh = *state;
    static const int s_signals[] = {SIGTERM, SIGINT};
    for (unsigned i = 0; i < 2; i++) {
        env_child_t *child = env_child_start_named(s_program, mesh, "shard-us-east-0");
        env_child_await_log(child, "process=shard-us-east-0 event=ready endpoint=tcp://127.0.0.1:");
        assert_int_equal(kill(child->pid, s_signals[i]), 0);
        env_child_await_log(child, "event=stopped exit=0\n");
        assert_int_equal(env_child_await_exit(child), 0);
        free(child);
    }
}

/* Goal: a service that does not finish is ended after stop_ms, and says so. */
static void test_env_process_stop_is_limited_in_time(void **state)
{
    const env_child_mesh_t *mesh = *state;
    env_child_t *child = env_child_start_named(s_program, mesh, "shard-us-east-1");
    env_child_await_log(child, "event=ready");
    int64_t start_ns = env_clock_now().mono_ns;
    assert_int_equal(kill(child->pid, SIGTERM), 0);
    assert_int_equal(kill(child->pid, SIGINT), 0);
    assert_int_equal(env_child_await_exit(child), 0);
    int64_t took_ms = (env_clock_now().mono_ns - start_ns) / ENV_NS_PER_MS;
    assert_true(took_ms >= ENV_CHILD_STOP_MS && took_ms < 3500);
    assert_non_null(strstr(child->log, "event=stop_incomplete"));
    free(child);
}

/* Goal: a second process of the same name on the same data ends with 78 and names the first; after
 * a kill -9 of the first the folder is free. */
static void test_env_process_second_of_a_name_is_refused(void **state)
{
    const env_child_mesh_t *mesh = *state;
    env_child_t *first = env_child_start_named(s_program, mesh, "shard-us-east-0");
    env_child_await_log(first, "event=ready");
    env_child_t *second = env_child_start_named(s_program, mesh, "shard-us-east-0");
    assert_int_equal(env_child_await_exit(second), 78);
    char holder[64];
    (void)snprintf(holder, sizeof(holder), "held by process %ld shard-us-east-0", (long)first->pid);
    assert_non_null(strstr(second->log, holder));
    free(second);
    assert_int_equal(env_child_stop(first, SIGKILL), -1);
    env_child_t *third = env_child_start_named(s_program, mesh, "shard-us-east-0");
    env_child_await_log(third, "event=ready");
    assert_int_equal(env_child_stop(third, SIGTERM), 0);
}

/* Goal: the same ports with other data end with 78 and a text that names port and holder. */
static void test_env_process_taken_port_is_refused(void **state)
{
    const env_child_mesh_t *mesh = *state;
    env_child_t *first = env_child_start_named(s_program, mesh, "shard-us-east-0");
    env_child_await_log(first, "event=ready");
    char other[ENV_CHILD_PATH_SIZE + 32];
    (void)snprintf(other, sizeof(other), "%s/other", mesh->folder);
    const char *const arguments[] = {"--topology", mesh->topology_path, "--data", other, "--region",
                                     "us-east",    "--shard",           "0",      NULL};
    env_child_t *second = env_child_start(s_program, arguments);
    assert_int_equal(env_child_await_exit(second), 78);
    char holder[64];
    (void)snprintf(holder, sizeof(holder), "address in use: process %ld", (long)first->pid);
    assert_non_null(strstr(second->log, holder));
    assert_non_null(strstr(second->log, s_endpoint(mesh, SOCKET_REQUEST).text));
    free(second);
    assert_int_equal(env_child_stop(first, SIGTERM), 0);
}

/* Starts with these arguments, and expects status 78 and this text in the log. */
static void s_expect_refusal(const char *const *arguments, const char *text)
{
    env_child_t *child = env_child_start(s_program, arguments);
    assert_int_equal(env_child_await_exit(child), 78);
    if (strstr(child->log, text) == NULL) {
        fail_msg("expected %s, found: %s", text, child->log);
    }
    free(child);
}

/* Goal: each mistake on the command line ends with 78 and is named. */
static void test_env_process_bad_arguments_are_explained(void **state)
{
    const env_child_mesh_t *mesh = *state;
    const char *const topology = mesh->topology_path;
    const char *const cases[][9] = {
        {"found no --topology", "--data", "d", NULL},
        {"found no --data", "--topology", topology, NULL},
        {"unknown or ambiguous", "--topology", topology, "--dat", "d", "--nonsense", NULL},
        {"expected a value", "--topology", NULL},
        {"expected options only", "--topology", topology, "--data", "d", "extra", NULL},
        {"missing.yaml", "--topology", "missing.yaml", "--data", "d", "--name", "control", NULL},
        {"expected a process of the topology", "--topology", topology, "--data", "d", "--name",
         "shard-us-west-0", NULL},
        {"expected a shard", "--topology", topology, "--data", "d", "--name", "control", NULL},
        {"0..2, found 3", "--topology", topology, "--data", "d", "--region=us-east", "--shard=3",
         NULL},
        {"found us-west", "--topology", topology, "--data", "d", "--region=us-west", "--shard=0",
         NULL},
        {"found neither", "--topology", topology, "--data", "d", NULL},
        {"found both", "--topology", topology, "--data", "d", "--name=shard-us-east-0", "--shard=0",
         NULL},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s_expect_refusal(&cases[i][1], cases[i][0]);
    }
}

/* Goal: what the service cannot start with is logged whole, and the status says that a restart will
 * not mend it. */
static void test_env_process_failed_open_says_why(void **state)
{
    const env_child_mesh_t *mesh = *state;
    env_child_t *child = env_child_start_named(s_program, mesh, "shard-us-east-2");
    assert_int_equal(env_child_await_exit(child), 78);
    assert_non_null(strstr(child->log, "event=start_failed"));
    assert_non_null(strstr(child->log, "segment 17: expected magic TMS1, found zeros: restore it"));
    free(child);
}

/* Goal: a folder that cannot be written is an error with the path. */
static void test_env_process_unwritable_data_is_refused(void **state)
{
    const env_child_mesh_t *mesh = *state;
    const char *const arguments[] = {"--topology", mesh->topology_path, "--data", "/proc/no",
                                     "--name",     "shard-us-east-0",   NULL};
    env_child_t *child = env_child_start(s_program, arguments);
    assert_int_equal(env_child_await_exit(child), 78);
    assert_non_null(strstr(child->log, "/proc/no"));
    free(child);
}

/* Goal: ping, health and metrics are answered by every service, other ops are refused. */
static void test_env_process_common_ops_are_answered(void **state)
{
    const env_child_mesh_t *mesh = *state;
    env_child_t *child = env_child_start_named(s_program, mesh, "shard-us-east-0");
    env_child_await_log(child, "event=ready");
    env_message_t message;
    env_message_init(&message);
    slice_t reply = s_ask_op(mesh, "ping", &message);
    assert_int_equal(s_code(reply), CODE_OK);
    assert_true(pack_get(reply, "pong").as.boolean);
    reply = s_ask_op(mesh, "health", &message);
    assert_true(pack_get(reply, "live").as.boolean);
    assert_true(pack_get(reply, "ready").as.boolean);
    reply = s_ask_op(mesh, "metrics", &message);
    assert_int_equal(pack_get(reply, "metrics.echo_tables").kind, PACK_UINT);
    assert_true(pack_get(reply, "metrics.router_received").as.uint >= 3);
    assert_int_equal(s_code(s_ask_op(mesh, "links", &message)), CODE_UNKNOWN_OP);
    assert_int_equal(s_code(s_ask_op(mesh, "nonsense", &message)), CODE_UNKNOWN_OP);
    env_message_done(&message);
    assert_int_equal(env_child_stop(child, SIGTERM), 0);
}

/* Goal: bad input is answered with a clear error, and the next request works. */
static void test_env_process_bad_input_is_refused(void **state)
{
    const env_child_mesh_t *mesh = *state;
    env_child_t *child = env_child_start_named(s_program, mesh, "shard-us-east-0");
    env_child_await_log(child, "event=ready");
    env_message_t message;
    env_message_init(&message);
    static uint8_t s_junk[10 * 1000 * 1000];
    memset(s_junk, 0xc1, sizeof(s_junk));
    slice_t junk = slice_make(s_junk, sizeof(s_junk));
    assert_int_equal(s_code(s_ask(mesh, &junk, 1, &message)), CODE_TOO_LARGE);
    junk.size = 100;
    assert_int_equal(s_code(s_ask(mesh, &junk, 1, &message)), CODE_BAD_REQUEST);
    junk.size = 0;
    assert_int_equal(s_code(s_ask(mesh, &junk, 1, &message)), CODE_BAD_REQUEST);
    slice_t frames[12];
    for (unsigned i = 0; i < 12; i++) {
        frames[i] = env_test_text("f");
    }
    assert_int_equal(s_code(s_ask(mesh, frames, 12, &message)), CODE_BAD_REQUEST);
    assert_int_equal(s_code(s_ask_op(mesh, "ping", &message)), CODE_OK);
    env_message_done(&message);
    assert_int_equal(env_child_stop(child, SIGTERM), 0);
}

/* Goal: messages of other processes reach the service; one request may have several answers; one
 * for another process is dropped. */
static void test_env_process_messages_are_answered(void **state)
{
    const env_child_mesh_t *mesh = *state;
    env_child_t *child = env_child_start_named(s_program, mesh, "shard-us-east-0");
    env_child_await_log(child, "event=ready");
    tool_t tool;
    s_open_tool(&tool, mesh);
    const net_t *net = env_net_seam(tool.net);
    static const uint8_t s_once[] = {0x93, 1, 5, 6};
    static const uint8_t s_twice[] = {0x91, 2};
    assert_int_equal(net->send(net->context, s_node_0, s_once, sizeof(s_once)), ERR_OK);
    assert_true(env_test_await_count(tool.loop, &tool.reply_count, 1));
    assert_true(process_address_equal(tool.from, s_node_0));
    assert_int_equal(tool.reply_size, sizeof(s_once));
    assert_memory_equal(tool.reply, s_once, sizeof(s_once));
    assert_int_equal(net->send(net->context, s_node_0, s_twice, sizeof(s_twice)), ERR_OK);
    assert_true(env_test_await_count(tool.loop, &tool.reply_count, 3));
    process_address_t nobody = {.kind = PROCESS_NODE, .region = {2}};
    assert_int_equal(net->send(net->context, nobody, s_once, sizeof(s_once)), ERR_UNREACHABLE);
    s_close_tool(&tool);
    env_message_t message;
    env_message_init(&message);
    uint8_t other[PROCESS_FRAME_SIZE];
    process_encode((process_address_t){.kind = PROCESS_CONTROL}, other);
    slice_t frames[] = {slice_make(other, sizeof(other)), slice_make(s_once, sizeof(s_once))};
    void *socket = env_test_client_new(ZMQ_DEALER, s_endpoint(mesh, SOCKET_REQUEST).text);
    env_test_send(socket, frames, 2);
    slice_t reply = {NULL, 0};
    do { /* until the message has arrived there */
        reply = s_ask_op(mesh, "metrics", &message);
    } while (pack_get(reply, "metrics.net_misaddressed").as.uint == 0);
    env_test_client_close(&socket);
    env_message_done(&message);
    assert_int_equal(env_child_stop(child, SIGTERM), 0);
}

typedef struct {
    msg_codec_t *codec;
    uint64_t count;
    uint64_t boot;
    uint64_t echo_count;
} listener_t;

static void s_on_published(void *context, slice_t topic, slice_t body)
{
    listener_t *listener = context;
    msg_t msg;
    errbuf_t errbuf;
    if (env_test_is(topic, "echo")) {
        listener->echo_count++;
        return;
    }
    assert_true(env_test_is(topic, "hbt"));
    assert_int_equal(msg_decode(listener->codec, body, &msg, &errbuf), ERR_OK);
    assert_int_equal(msg.type, MSG_HEARTBEAT);
    const msg_heartbeat_t *heartbeat = &msg.as.heartbeat;
    assert_true(process_address_equal(heartbeat->from, s_node_0));
    assert_true(heartbeat->ready);
    assert_true(heartbeat->metric_count > 10);
    if (listener->count == 0) {
        listener->boot = heartbeat->boot;
        listener->count = heartbeat->publish_seq;
    }
    assert_int_equal(heartbeat->boot, listener->boot);
    assert_int_equal(heartbeat->publish_seq, listener->count++);
}

/* Goal: heartbeats come at their interval, numbered without a hole; what a service publishes comes
 * too. */
static void test_env_process_heartbeats_are_numbered(void **state)
{
    const env_child_mesh_t *mesh = *state;
    env_child_t *child = env_child_start_named(s_program, mesh, "shard-us-east-0");
    env_child_await_log(child, "event=ready");
    tool_t tool;
    s_open_tool(&tool, mesh);
    listener_t listener = {.codec = msg_codec_new()};
    errbuf_t errbuf;
    env_subscriber_t *subscriber = env_subscriber_new(
        tool.loop, &(env_subscriber_options_t){.context = &listener, .on_message = s_on_published});
    env_subscriber_add_topic(subscriber, "");
    assert_int_equal(
        env_subscriber_connect(subscriber, s_endpoint(mesh, SOCKET_PUBLISH).text, &errbuf), ERR_OK);
    assert_true(env_test_await_count(tool.loop, &listener.count, 1));
    assert_true(env_test_await_count(tool.loop, &listener.count, listener.count + 5));
    const net_t *net = env_net_seam(tool.net);
    static const uint8_t s_publish[] = {0x91, 3};
    assert_int_equal(net->send(net->context, s_node_0, s_publish, sizeof(s_publish)), ERR_OK);
    assert_true(env_test_await_count(tool.loop, &listener.echo_count, 1));
    env_subscriber_destroy(&subscriber);
    msg_codec_destroy(&listener.codec);
    s_close_tool(&tool);
    assert_int_equal(env_child_stop(child, SIGTERM), 0);
}

/* Goal: lost durability ends the process at once with 78, after a line that says what happened. */
static void test_env_process_lost_durability_ends_it(void **state)
{
    const env_child_mesh_t *mesh = *state;
    env_child_t *child = env_child_start_named(s_program, mesh, "shard-us-east-0");
    env_child_await_log(child, "event=ready");
    tool_t tool;
    s_open_tool(&tool, mesh);
    const net_t *net = env_net_seam(tool.net);
    static const uint8_t s_lose[] = {0x91, 4};
    assert_int_equal(net->send(net->context, s_node_0, s_lose, sizeof(s_lose)), ERR_OK);
    for (unsigned i = 0; i < 1000 && strstr(child->log, "event=durability_lost") == NULL; i++) {
        env_test_turn_for(tool.loop, 5);
        struct pollfd pollfd = {.fd = child->output, .events = POLLIN};
        if (poll(&pollfd, 1, 0) == 1 && !env_child_read_more(child)) {
            break;
        }
    }
    assert_int_equal(env_child_await_exit(child), 78);
    assert_non_null(strstr(child->log, "Input/output error"));
    s_close_tool(&tool);
    free(child);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "expected the path of the echo service\n");
        return 2;
    }
    s_program = argv[1];
#define PROCESS_TEST(function) cmocka_unit_test_setup_teardown(function, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        PROCESS_TEST(test_env_process_stop_signals_end_it_cleanly),
        PROCESS_TEST(test_env_process_stop_is_limited_in_time),
        PROCESS_TEST(test_env_process_second_of_a_name_is_refused),
        PROCESS_TEST(test_env_process_taken_port_is_refused),
        PROCESS_TEST(test_env_process_bad_arguments_are_explained),
        PROCESS_TEST(test_env_process_failed_open_says_why),
        PROCESS_TEST(test_env_process_unwritable_data_is_refused),
        PROCESS_TEST(test_env_process_common_ops_are_answered),
        PROCESS_TEST(test_env_process_bad_input_is_refused),
        PROCESS_TEST(test_env_process_messages_are_answered),
        PROCESS_TEST(test_env_process_heartbeats_are_numbered),
        PROCESS_TEST(test_env_process_lost_durability_ends_it),
    };
    return cmocka_run_group_tests(tests, env_test_start, env_test_stop);
}
