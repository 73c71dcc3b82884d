/* Announcing and listening. */
#include "common/env/env_publisher.h"
#include "common/env/env_subscriber.h"

#include "common/base/bounds.h"
#include "common/env/env_zmq.h"
#include "tests/unit/env_support.h"

#include <stdio.h>
#include <stdlib.h>

enum { PUBLISHER_COUNT = 3 };

typedef struct {
    env_loop_t *loop;
    env_publisher_t *publishers[PUBLISHER_COUNT];
    char endpoints[PUBLISHER_COUNT][ENDPOINT_SIZE_MAX];
    env_subscriber_t *subscriber;
    uint64_t received_count;
    char topic[TOPIC_SIZE_MAX + 1]; /* of the last message */
    size_t body_size;
} mesh_t;

static void s_on_message(void *context, slice_t topic, slice_t body)
{
    mesh_t *mesh = context;
    mesh->received_count++;
    (void)snprintf(mesh->topic, sizeof(mesh->topic), "%.*s", (int)topic.size,
                   (const char *)topic.data);
    mesh->body_size = body.size;
}

typedef struct {
    mesh_t *mesh;
    unsigned index;
} place_t;

/* The port of a publisher that was just closed may be taken for some more milliseconds. */
static bool s_bind(void *context)
{
    place_t *place = context;
    mesh_t *mesh = place->mesh;
    errbuf_t errbuf;
    return env_publisher_open(mesh->loop,
                              &(env_publisher_options_t){.endpoint = mesh->endpoints[place->index]},
                              &mesh->publishers[place->index], &errbuf) == ERR_OK;
}

static int s_setup(void **state)
{
    mesh_t *mesh = calloc(1, sizeof(*mesh));
    assert_non_null(mesh);
    *state = mesh;
    mesh->loop = env_loop_new(&(env_loop_options_t){.context = NULL});
    mesh->subscriber = env_subscriber_new(
        mesh->loop, &(env_subscriber_options_t){.context = mesh, .on_message = s_on_message});
    errbuf_t errbuf;
    for (unsigned i = 0; i < PUBLISHER_COUNT; i++) {
        (void)snprintf(mesh->endpoints[i], ENDPOINT_SIZE_MAX, "tcp://127.0.0.1:*");
        place_t place = {mesh, i};
        assert_true(s_bind(&place));
        (void)snprintf(mesh->endpoints[i], ENDPOINT_SIZE_MAX, "%s",
                       env_publisher_endpoint(mesh->publishers[i]));
        assert_int_equal(env_subscriber_connect(mesh->subscriber, mesh->endpoints[i], &errbuf),
                         ERR_OK);
    }
    return 0;
}

static int s_teardown(void **state)
{
    mesh_t *mesh = *state;
    for (unsigned i = 0; i < PUBLISHER_COUNT; i++) {
        env_publisher_close(&mesh->publishers[i]);
        env_publisher_close(&mesh->publishers[i]);
    }
    env_subscriber_destroy(&mesh->subscriber);
    env_subscriber_destroy(&mesh->subscriber);
    env_loop_destroy(&mesh->loop);
    free(mesh);
    return 0;
}

/* A subscription takes a while to travel: publishes until something arrives. */
static bool s_is_heard(void *context)
{
    place_t *place = context;
    place->mesh->received_count = 0;
    env_publisher_publish(place->mesh->publishers[place->index], "probe", env_test_text(""));
    for (unsigned i = 0; i < 5; i++) {
        env_loop_turn(place->mesh->loop, 1);
    }
    return place->mesh->received_count > 0;
}

static void s_await_heard(mesh_t *mesh)
{
    for (unsigned i = 0; i < PUBLISHER_COUNT; i++) {
        place_t place = {mesh, i};
        assert_true(env_test_await(mesh->loop, s_is_heard, &place));
    }
    env_test_turn_for(mesh->loop, 20);
    mesh->received_count = 0;
}

/* Goal: one subscriber hears all publishers, only the topics it asked for, by prefix. */
static void test_env_subscriber_hears_topics_of_all_publishers(void **state)
{
    mesh_t *mesh = *state;
    env_subscriber_add_topic(mesh->subscriber, "log.");
    env_subscriber_add_topic(mesh->subscriber, "probe");
    s_await_heard(mesh);
    for (unsigned i = 0; i < PUBLISHER_COUNT; i++) {
        env_publisher_publish(mesh->publishers[i], "other", env_test_text("no"));
        env_publisher_publish(mesh->publishers[i], "log.positions", env_test_text("yes"));
    }
    assert_true(env_test_await_count(mesh->loop, &mesh->received_count, PUBLISHER_COUNT));
    assert_string_equal(mesh->topic, "log.positions");
    assert_int_equal(mesh->body_size, 3);
    env_test_turn_for(mesh->loop, 20);
    assert_int_equal(mesh->received_count, PUBLISHER_COUNT);
    assert_int_equal(env_subscriber_counts(mesh->subscriber).connected, PUBLISHER_COUNT);
}

/* Goal: a publisher that restarts is heard again, without a new subscription. */
static void test_env_subscriber_publisher_restart_is_heard_again(void **state)
{
    mesh_t *mesh = *state;
    env_subscriber_add_topic(mesh->subscriber, "");
    s_await_heard(mesh);
    env_publisher_close(&mesh->publishers[1]);
    env_test_turn_for(mesh->loop, 50);
    place_t place = {mesh, 1};
    assert_true(env_test_await(mesh->loop, s_bind, &place));
    s_await_heard(mesh);
    assert_int_equal(env_subscriber_counts(mesh->subscriber).recreated, 0);
}

/* Goal: messages that are not [topic][body] are dropped and counted. */
static void test_env_subscriber_malformed_message_is_dropped(void **state)
{
    mesh_t *mesh = *state;
    env_subscriber_add_topic(mesh->subscriber, "");
    void *foreign = env_zmq_socket_new(
        &(env_zmq_options_t){.type = ZMQ_PUB, .side = ENV_ZMQ_BIND, .queue_count = 1000});
    errbuf_t errbuf;
    char endpoint[ENDPOINT_SIZE_MAX];
    assert_int_equal(env_zmq_bind(foreign, "tcp://127.0.0.1:*", &errbuf), ERR_OK);
    env_zmq_last_endpoint(foreign, endpoint);
    assert_int_equal(env_subscriber_connect(mesh->subscriber, endpoint, &errbuf), ERR_OK);
    slice_t frames[20];
    for (unsigned i = 0; i < 20; i++) {
        frames[i] = env_test_text("f");
    }
    for (unsigned i = 0; i < 100000 && env_subscriber_counts(mesh->subscriber).malformed < 3; i++) {
        env_test_send(foreign, frames, 1);
        env_test_send(foreign, frames, 3);
        env_test_send(foreign, frames, 20);
        env_loop_turn(mesh->loop, 1);
    }
    assert_true(env_subscriber_counts(mesh->subscriber).malformed >= 3);
    assert_int_equal(mesh->received_count, 0);
    env_zmq_socket_close(&foreign);
}

/* Goal: a listener that does not read costs the publisher bounded memory and no wait. */
static void test_env_publisher_slow_listener_loses_messages(void **state)
{
    mesh_t *mesh = *state;
    env_publisher_close(&mesh->publishers[0]);
    errbuf_t errbuf;
    assert_int_equal(env_publisher_open(mesh->loop,
                                        &(env_publisher_options_t){.endpoint = "tcp://127.0.0.1:*",
                                                                   .queue_size_bytes = 1},
                                        &mesh->publishers[0], &errbuf),
                     ERR_OK);
    env_subscriber_add_topic(mesh->subscriber, "");
    assert_int_equal(env_subscriber_connect(mesh->subscriber,
                                            env_publisher_endpoint(mesh->publishers[0]), &errbuf),
                     ERR_OK);
    s_await_heard(mesh);
    buffer_t body;
    buffer_init(&body);
    for (unsigned i = 0; i < 1000; i++) {
        (void)buffer_extend(&body, 262144);
        memset(body.data, 1, body.size);
        env_publisher_publish_buffer(mesh->publishers[0], "large", &body);
    }
    env_test_turn_for(mesh->loop, 200);
    assert_true(mesh->received_count < 1000);
    s_await_heard(mesh);
    buffer_done(&body);
}

int main(void)
{
#define PUBLISH_TEST(function) cmocka_unit_test_setup_teardown(function, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        PUBLISH_TEST(test_env_subscriber_hears_topics_of_all_publishers),
        PUBLISH_TEST(test_env_subscriber_publisher_restart_is_heard_again),
        PUBLISH_TEST(test_env_subscriber_malformed_message_is_dropped),
        PUBLISH_TEST(test_env_publisher_slow_listener_loses_messages),
    };
    return cmocka_run_group_tests(tests, env_test_start, env_test_stop);
}
