/* The partition proxy between two regions and the control plane: all sockets are real, everything
 * runs in one loop. A gateway and a shipper of us-east ask a node and a receiver of eu-west. */
#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/env/env_net.h"
#include "common/env/env_subscriber.h"
#include "common/topology/process.h"
#include "services/partition_proxy/proxy_switch.h"
#include "tests/unit/env_support.h"

#include <stdio.h>
#include <stdlib.h>

enum { PORT_COUNT = 320, BODY_SIZE_MAX = 100 };

static const region_id_t s_us = {1};
static const region_id_t s_eu = {2};
static const process_address_t s_gateway = {.kind = PROCESS_GATEWAY, .region = {1}};
static const process_address_t s_shipper = {.kind = PROCESS_SHIPPER, .region = {1}};
static const process_address_t s_node = {.kind = PROCESS_NODE, .region = {2}, .shard = {1}};
static const process_address_t s_receiver = {.kind = PROCESS_RECEIVER, .region = {2}};
static const process_address_t s_control = {.kind = PROCESS_CONTROL};

typedef struct proxy_test proxy_test_t;

/* One process of the mesh. */
typedef struct {
    proxy_test_t *test;
    env_net_t *net;
    uint64_t request_count;
    uint64_t reply_count;
    uint64_t reply_to;     /* of the last request */
    uint32_t answer_count; /* for each request */
    uint32_t number_last;  /* of the last message; numbered ones must rise */
    uint64_t disorder_count;
    uint8_t body[BODY_SIZE_MAX]; /* of the last message */
    size_t body_size;
    process_address_t from; /* of the last reply */
} member_t;

struct proxy_test {
    env_loop_t *loop;
    topology_t topology;
    proxy_switch_t *ways;
    member_t gateway;
    member_t shipper;
    member_t node;
    member_t receiver;
    member_t control;
};

/* -- members ----------------------------------------------------------------------------------- */

/* Bodies are [0x91, kind, number u32, ...]: arrays, as between processes. */
static void s_note(member_t *member, slice_t body)
{
    member->body_size = body.size < BODY_SIZE_MAX ? body.size : BODY_SIZE_MAX;
    memcpy(member->body, body.data, member->body_size);
    if (body.size >= 6) {
        uint32_t number = bytes_get_u32(body.data + 2);
        member->disorder_count += number <= member->number_last ? 1 : 0;
        member->number_last = number;
    }
}

static void s_on_request(void *context, uint64_t reply_to, slice_t body)
{
    member_t *member = context;
    member->request_count++;
    s_note(member, body);
    const net_t *net = env_net_seam(member->net);
    for (uint32_t i = 0; i < member->answer_count; i++) {
        (void)net->reply(net->context, reply_to, body.data, body.size);
    }
    net->forget(net->context, reply_to);
}

static void s_on_client(void *context, uint64_t reply_to, slice_t body)
{
    s_on_request(context, reply_to, body);
}

static void s_on_refused(void *context, uint64_t reply_to, err_t err)
{
    (void)context;
    (void)reply_to;
    (void)err;
}

static void s_on_reply(void *context, process_address_t from, slice_t body)
{
    member_t *member = context;
    member->reply_count++;
    member->from = from;
    s_note(member, body);
}

static void s_open_member(proxy_test_t *test, member_t *member, process_address_t address)
{
    errbuf_t errbuf = {.text = ""};
    *member = (member_t){.test = test, .answer_count = 1};
    env_net_options_t options = {.loop = test->loop,
                                 .topology = &test->topology,
                                 .self = address,
                                 .context = member,
                                 .on_request = s_on_request,
                                 .on_client = s_on_client,
                                 .on_refused = s_on_refused,
                                 .on_reply = s_on_reply};
    if (env_net_open(&options, &member->net, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
}

static err_t s_send(const member_t *member, process_address_t to, uint32_t number, size_t size)
{
    uint8_t body[BODY_SIZE_MAX] = {0x91, 7};
    CHECK(size >= 6 && size <= sizeof(body));
    bytes_put_u32(body + 2, number);
    const net_t *net = env_net_seam(member->net);
    return net->send(net->context, to, body, size);
}

/* Sends once and awaits the answer. */
static void s_expect_answer(proxy_test_t *test,
                            member_t *asker,
                            process_address_t to,
                            uint32_t number)
{
    uint64_t wanted = asker->reply_count + 1;
    assert_int_equal(s_send(asker, to, number, 20), ERR_OK);
    assert_true(env_test_await_count(test->loop, &asker->reply_count, wanted));
    assert_int_equal(asker->body_size, 20);
    assert_true(process_address_equal(asker->from, to));
}

/* -- set-up ------------------------------------------------------------------------------------ */

static void s_set_ports(topology_t *topology, uint16_t port)
{
    topology->control.port = port;
    topology->control.publish_port = (uint16_t)(port + 1);
    topology->proxy.port = (uint16_t)(port + 2);
    topology->proxy.publish_port = (uint16_t)(port + 3);
    topology->proxy.link_port_base = (uint16_t)(port + 4);
    for (uint32_t i = 0; i < topology->region_count; i++) {
        topology->regions[i].gateway_port = (uint16_t)(port + 100 * (i + 1));
        topology->regions[i].port_base = (uint16_t)(port + 100 * (i + 1) + 1);
    }
    errbuf_t errbuf = {.text = ""};
    if (topology_check(topology, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
}

static int s_setup(void **state)
{
    proxy_test_t *test = calloc(1, sizeof(*test));
    assert_non_null(test);
    *state = test;
    test->loop = env_loop_new(&(env_loop_options_t){.context = NULL});
    topology_init_default(&test->topology, 2, 3);
    s_set_ports(&test->topology, env_test_free_ports(PORT_COUNT));
    errbuf_t errbuf = {.text = ""};
    if (proxy_switch_open(test->loop, &test->topology, 1, &test->ways, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    s_open_member(test, &test->gateway, s_gateway);
    s_open_member(test, &test->shipper, s_shipper);
    s_open_member(test, &test->node, s_node);
    s_open_member(test, &test->receiver, s_receiver);
    s_open_member(test, &test->control, s_control);
    return 0;
}

static int64_t s_deadline_ns(void *context)
{
    return proxy_switch_deadline_ns(((proxy_test_t *)context)->ways);
}

static void s_on_deadline(void *context, now_t now)
{
    proxy_switch_tick(((proxy_test_t *)context)->ways, now);
}

static int s_setup_with_deadlines(void **state)
{
    int result = s_setup(state);
    proxy_test_t *test = *state;
    env_loop_set_options(test->loop, &(env_loop_options_t){.context = test,
                                                           .next_deadline_ns = s_deadline_ns,
                                                           .on_deadline = s_on_deadline});
    return result;
}

static int s_teardown(void **state)
{
    proxy_test_t *test = *state;
    env_net_close(&test->gateway.net);
    env_net_close(&test->shipper.net);
    env_net_close(&test->node.net);
    env_net_close(&test->receiver.net);
    env_net_close(&test->control.net);
    proxy_switch_close(&test->ways);
    proxy_switch_close(&test->ways);
    env_loop_destroy(&test->loop);
    free(test);
    return 0;
}

static void s_set(proxy_test_t *test, region_id_t from, region_id_t to, link_rule_t rule)
{
    errbuf_t errbuf = {.text = ""};
    link_id_t link = {.from = from, .to = to};
    if (proxy_switch_set(test->ways, link, &rule, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
}

static const link_counters_t *s_counters(const proxy_test_t *test, region_id_t from, region_id_t to)
{
    link_id_t link = {.from = from, .to = to};
    return link_rules_counters(proxy_switch_rules(test->ways), link);
}

/* -- tests ------------------------------------------------------------------------------------- */

/* Goal: requests of every purpose cross and are answered, several times if need be; both directions
 * count them. */
static void test_proxy_requests_cross_and_are_answered(void **state)
{
    proxy_test_t *test = *state;
    s_expect_answer(test, &test->gateway, s_node, 1);
    s_expect_answer(test, &test->shipper, s_receiver, 2);
    s_expect_answer(test, &test->node, s_control, 3);
    assert_int_equal(s_counters(test, s_us, s_eu)->forwarded_count, 2);
    assert_int_equal(s_counters(test, s_eu, s_us)->forwarded_count, 2);
    assert_int_equal(s_counters(test, s_eu, (region_id_t){0})->forwarded_count, 1);
    /* connection id 5, target 8, body 20 */
    assert_int_equal(s_counters(test, s_us, s_eu)->forwarded_bytes, 2 * 33);
    test->node.answer_count = 3;
    assert_int_equal(s_send(&test->gateway, s_node, 9, 20), ERR_OK);
    assert_true(env_test_await_count(test->loop, &test->gateway.reply_count, 4));
    assert_int_equal(proxy_switch_counts(test->ways)->backend_count, 3);
}

/* Goal: a great many messages cross both ways in order, none is lost. */
static void test_proxy_many_messages_keep_their_order(void **state)
{
    proxy_test_t *test = *state;
    enum { COUNT = 20000, WINDOW = 500 };
    s_expect_answer(test, &test->gateway, s_node, 1); /* connections are made */
    uint32_t sent = 1;
    while (test->gateway.reply_count < COUNT) {
        while (sent < COUNT && sent - test->gateway.reply_count < WINDOW) {
            assert_int_equal(s_send(&test->gateway, s_node, ++sent, 50), ERR_OK);
        }
        uint64_t before = test->gateway.reply_count;
        assert_true(env_test_await_count(test->loop, &test->gateway.reply_count, before + 1));
    }
    assert_int_equal(test->node.request_count, COUNT);
    assert_int_equal(test->node.disorder_count, 0);
    assert_int_equal(test->gateway.disorder_count, 0);
}

/* Goal: prefix frames beside the target come back unchanged: clients may ask through the proxy. */
static void test_proxy_prefix_frames_are_echoed(void **state)
{
    proxy_test_t *test = *state;
    endpoint_t endpoint;
    topology_link_t link = {.from = s_us, .to = s_eu, .purpose = LINK_REQUEST};
    assert_int_equal(topology_link_endpoint(&test->topology, link, &endpoint), ERR_OK);
    void *client = env_test_client_new(ZMQ_DEALER, endpoint.text);
    uint8_t target[PROCESS_FRAME_SIZE];
    process_encode(s_node, target);
    slice_t frames[] = {slice_make(target, sizeof(target)), env_test_text("abcd"),
                        env_test_text(""), env_test_text("\x80")};
    env_test_send(client, frames, 4);
    env_message_t message;
    env_message_init(&message);
    assert_true(env_test_receive(test->loop, client, &message));
    assert_int_equal(message.count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(slice_equal(env_message_frame(&message, i), frames[i]));
    }
    env_message_done(&message);
    env_test_client_close(&client);
}

/* Goal: what names no process of that place, or has too many frames, is dropped and counted. */
static void test_proxy_malformed_messages_are_dropped(void **state)
{
    proxy_test_t *test = *state;
    endpoint_t endpoint;
    topology_link_t link = {.from = s_us, .to = s_eu, .purpose = LINK_REQUEST};
    assert_int_equal(topology_link_endpoint(&test->topology, link, &endpoint), ERR_OK);
    void *client = env_test_client_new(ZMQ_DEALER, endpoint.text);
    uint8_t target[PROCESS_FRAME_SIZE];
    slice_t frames[20];
    for (unsigned i = 0; i < 20; i++) {
        frames[i] = slice_make(target, sizeof(target));
    }
    process_encode(s_node, target);
    env_test_send(client, frames, 1);
    env_test_send(client, frames, 20);
    process_encode(s_gateway, target); /* of the other place */
    env_test_send(client, frames, 2);
    process_encode((process_address_t){.kind = PROCESS_NODE, .region = {2}, .shard = {3}}, target);
    env_test_send(client, frames, 2);
    frames[0].size = 7;
    env_test_send(client, frames, 2);
    const proxy_counts_t *counts = proxy_switch_counts(test->ways);
    assert_true(env_test_await_count(test->loop, &counts->malformed, 5));
    assert_int_equal(test->node.request_count, 0);
    assert_int_equal(counts->backend_count, 0);
    env_test_client_close(&client);
}

/* Goal: with drop messages vanish in this direction only, and are counted. */
static void test_proxy_drop_loses_one_direction(void **state)
{
    proxy_test_t *test = *state;
    s_expect_answer(test, &test->gateway, s_node, 1);
    s_set(test, s_eu, s_us, (link_rule_t){.mode = LINK_MODE_DROP});
    assert_int_equal(s_send(&test->gateway, s_node, 2, 20), ERR_OK);
    assert_true(env_test_await_count(test->loop, &test->node.request_count, 2));
    const link_counters_t *back = s_counters(test, s_eu, s_us);
    assert_true(env_test_await_count(test->loop, &back->dropped_count[LINK_DROP_MODE], 1));
    assert_int_equal(test->gateway.reply_count, 1);
    proxy_switch_heal(test->ways);
    s_expect_answer(test, &test->gateway, s_node, 3);
}

/* Goal: with hold messages wait, in order and without a loss, until the heal. */
static void test_proxy_hold_releases_all_at_heal(void **state)
{
    proxy_test_t *test = *state;
    enum { COUNT = 30000 };
    s_expect_answer(test, &test->gateway, s_node, 1);
    s_set(test, s_us, s_eu, (link_rule_t){.mode = LINK_MODE_HOLD});
    const link_counters_t *there = s_counters(test, s_us, s_eu);
    for (uint32_t i = 1; i <= COUNT; i++) {
        while (s_send(&test->gateway, s_node, 1 + i, 50) == ERR_FULL) {
            env_loop_turn(test->loop, 1);
        }
    }
    assert_true(env_test_await_count(test->loop, &there->waiting_count, COUNT));
    assert_int_equal(test->node.request_count, 1);
    test->node.answer_count = 0;
    proxy_switch_heal(test->ways);
    assert_true(env_test_await_count(test->loop, &test->node.request_count, 1 + COUNT));
    assert_int_equal(test->node.disorder_count, 0);
    assert_int_equal(there->waiting_count, 0);
    assert_int_equal(link_counters_dropped(there), 0);
}

static bool s_gateway_is_down(void *context)
{
    return !env_net_is_up(((proxy_test_t *)context)->gateway.net, s_node);
}

static bool s_gateway_is_up(void *context)
{
    return !s_gateway_is_down(context);
}

/* Goal: a cut resets the connections of the link, so that senders learn of it at once; the heal
 * lets them in again. */
static void test_proxy_cut_resets_connections_until_heal(void **state)
{
    proxy_test_t *test = *state;
    s_expect_answer(test, &test->gateway, s_node, 1);
    for (uint32_t round = 0; round < 3; round++) {
        s_set(test, s_us, s_eu, (link_rule_t){.mode = LINK_MODE_CUT});
        assert_true(env_test_await(test->loop, s_gateway_is_down, test));
        assert_int_equal(s_send(&test->gateway, s_node, 2, 20), ERR_UNREACHABLE);
        assert_true(proxy_switch_is_ready(test->ways));
        proxy_switch_heal(test->ways);
        assert_true(env_test_await(test->loop, s_gateway_is_up, test));
        assert_true(proxy_switch_is_ready(test->ways));
        s_expect_answer(test, &test->gateway, s_node, 3);
    }
    assert_int_equal(s_counters(test, s_us, s_eu)->reset_count, 3);
}

/* Goal: a cut of the way back leaves the way there: requests arrive, answers vanish. */
static void test_proxy_cut_of_way_back_loses_answers(void **state)
{
    proxy_test_t *test = *state;
    s_expect_answer(test, &test->gateway, s_node, 1);
    s_set(test, s_eu, s_us, (link_rule_t){.mode = LINK_MODE_CUT});
    assert_int_equal(s_send(&test->gateway, s_node, 2, 20), ERR_OK);
    assert_true(env_test_await_count(test->loop, &test->node.request_count, 2));
    const link_counters_t *back = s_counters(test, s_eu, s_us);
    assert_true(env_test_await_count(test->loop, &back->dropped_count[LINK_DROP_CUT], 1));
    assert_int_equal(test->gateway.reply_count, 1);
    assert_true(env_net_is_up(test->gateway.net, s_node));
}

/* Goal: other links do not feel a cut. */
static void test_proxy_cut_leaves_other_links_alone(void **state)
{
    proxy_test_t *test = *state;
    s_set(test, s_us, s_eu, (link_rule_t){.mode = LINK_MODE_CUT});
    s_expect_answer(test, &test->gateway, s_control, 1);
    s_expect_answer(test, &test->node, s_control, 2);
}

/* Goal: what is held when a link is cut is dropped, not released later. */
static void test_proxy_cut_drops_what_is_held(void **state)
{
    proxy_test_t *test = *state;
    s_set(test, s_us, s_eu, (link_rule_t){.mode = LINK_MODE_HOLD});
    assert_int_equal(s_send(&test->gateway, s_node, 1, 20), ERR_OK);
    const link_counters_t *there = s_counters(test, s_us, s_eu);
    assert_true(env_test_await_count(test->loop, &there->waiting_count, 1));
    s_set(test, s_us, s_eu, (link_rule_t){.mode = LINK_MODE_CUT});
    assert_int_equal(there->waiting_count, 0);
    assert_int_equal(there->dropped_count[LINK_DROP_CUT], 1);
    assert_true(env_test_await(test->loop, s_gateway_is_down, test));
    proxy_switch_heal(test->ways);
    assert_true(env_test_await(test->loop, s_gateway_is_up, test));
    s_expect_answer(test, &test->gateway, s_node, 5);
    assert_int_equal(test->node.request_count, 1);
}

/* Goal: a delay delays, and nothing else. */
static void test_proxy_delay_is_kept(void **state)
{
    proxy_test_t *test = *state;
    s_expect_answer(test, &test->gateway, s_node, 1);
    s_set(test, s_us, s_eu, (link_rule_t){.delay_ms = 60});
    s_set(test, s_eu, s_us, (link_rule_t){.delay_ms = 40});
    int64_t start_ns = env_clock_now().mono_ns;
    s_expect_answer(test, &test->gateway, s_node, 2);
    int64_t took_ns = env_clock_now().mono_ns - start_ns;
    /* The proxy counts from the start of its turn, which is before the message came. */
    assert_true(took_ns >= 90 * (int64_t)ENV_NS_PER_MS);
    assert_int_equal(s_counters(test, s_us, s_eu)->delayed_count, 1);
}

/* Goal: duplicates arrive as often as the rule says, with their bodies. */
static void test_proxy_duplicate_arrives_twice(void **state)
{
    proxy_test_t *test = *state;
    s_expect_answer(test, &test->gateway, s_node, 1);
    s_set(test, s_us, s_eu, (link_rule_t){.duplicate = 1});
    assert_int_equal(s_send(&test->gateway, s_node, 2, 90), ERR_OK);
    assert_true(env_test_await_count(test->loop, &test->node.request_count, 3));
    assert_int_equal(test->node.body_size, 90);
    assert_true(env_test_await_count(test->loop, &test->gateway.reply_count, 3));
    assert_int_equal(s_counters(test, s_us, s_eu)->duplicated_count, 1);
}

/* Goal: a target that comes late gets what was sent within the second; one that never comes costs
 * bounded memory and is counted. */
static void test_proxy_missing_target_is_counted(void **state)
{
    proxy_test_t *test = *state;
    process_address_t missing = {.kind = PROCESS_NODE, .region = {2}, .shard = {0}};
    assert_int_equal(s_send(&test->gateway, missing, 1, 20), ERR_OK);
    const proxy_counts_t *counts = proxy_switch_counts(test->ways);
    const link_counters_t *there = s_counters(test, s_us, s_eu);
    assert_true(env_test_await_count(test->loop, &there->forwarded_count, 1));
    member_t late;
    s_open_member(test, &late, missing);
    assert_true(env_test_await_count(test->loop, &late.request_count, 1));
    env_net_close(&late.net);
    env_test_turn_for(test->loop, 50);
    assert_int_equal(s_send(&test->gateway, missing, 2, 20), ERR_OK);
    assert_true(env_test_await_count(test->loop, &counts->backends.unreachable, 1));
    s_expect_answer(test, &test->gateway, s_node, 3);
}

/* -- published --------------------------------------------------------------------------------- */

typedef struct {
    proxy_test_t *test;
    env_subscriber_t *subscriber;
    uint64_t count;
} hearer_t;

static void s_on_published(void *context, slice_t topic, slice_t body)
{
    (void)topic;
    (void)body;
    ((hearer_t *)context)->count++;
}

/* Hears what eu-west publishes, at us-east. */
static void s_open_hearer(proxy_test_t *test, hearer_t *hearer, const char *topic)
{
    endpoint_t endpoint;
    errbuf_t errbuf;
    *hearer = (hearer_t){.test = test};
    hearer->subscriber = env_subscriber_new(
        test->loop, &(env_subscriber_options_t){.context = hearer, .on_message = s_on_published});
    env_subscriber_add_topic(hearer->subscriber, topic);
    assert_int_equal(
        topology_connect_endpoint(&test->topology, s_us, s_node, LINK_PUBLISH, &endpoint), ERR_OK);
    assert_int_equal(env_subscriber_connect(hearer->subscriber, endpoint.text, &errbuf), ERR_OK);
}

/* A subscription takes a while to travel: publishes until something is heard. */
static bool s_is_heard(void *context)
{
    hearer_t *hearer = context;
    const net_t *net = env_net_seam(hearer->test->node.net);
    net->publish(net->context, "hbt", (const uint8_t *)"x", 1);
    net->publish(net->context, "pos", (const uint8_t *)"x", 1);
    env_loop_turn(hearer->test->loop, 2);
    return hearer->count > 0;
}

/* Goal: what is published crosses for those who asked for the topic, and nothing else leaves its
 * place; the rules of the direction of the data apply; a cut of the listener's direction resets it.
 */
static void test_proxy_published_messages_cross(void **state)
{
    proxy_test_t *test = *state;
    hearer_t hearer;
    s_open_hearer(test, &hearer, "hbt");
    assert_true(env_test_await(test->loop, s_is_heard, &hearer));
    env_test_turn_for(test->loop, 20);
    const link_counters_t *there = s_counters(test, s_eu, s_us);
    assert_int_equal(there->forwarded_count, hearer.count);
    assert_int_equal(s_counters(test, s_eu, (region_id_t){0})->offered_count, 0);
    s_set(test, s_eu, s_us, (link_rule_t){.mode = LINK_MODE_DROP});
    const net_t *net = env_net_seam(test->node.net);
    net->publish(net->context, "hbt", (const uint8_t *)"y", 1);
    assert_true(env_test_await_count(test->loop, &there->dropped_count[LINK_DROP_MODE], 1));
    s_set(test, s_eu, s_us, (link_rule_t){.mode = LINK_MODE_PASS});
    s_set(test, s_us, s_eu, (link_rule_t){.mode = LINK_MODE_CUT});
    env_test_turn_for(test->loop, 20);
    hearer.count = 0;
    net->publish(net->context, "hbt", (const uint8_t *)"z", 1);
    env_test_turn_for(test->loop, 20);
    assert_int_equal(hearer.count, 0);
    proxy_switch_heal(test->ways);
    assert_true(env_test_await(test->loop, s_is_heard, &hearer));
    env_subscriber_destroy(&hearer.subscriber);
}

/* Goal: a rule that is none is refused and changes nothing. */
static void test_proxy_bad_rule_is_refused(void **state)
{
    proxy_test_t *test = *state;
    errbuf_t errbuf;
    link_id_t loop = {.from = s_us, .to = s_us};
    link_id_t link = {.from = s_us, .to = s_eu};
    assert_int_equal(proxy_switch_set(test->ways, loop, &(link_rule_t){.drop = 0}, &errbuf),
                     ERR_INVALID);
    assert_int_equal(proxy_switch_set(test->ways, link, &(link_rule_t){.drop = 1.5}, &errbuf),
                     ERR_INVALID);
    s_expect_answer(test, &test->gateway, s_node, 1);
}

int main(void)
{
#define PROXY_TEST(function) \
    cmocka_unit_test_setup_teardown(function, s_setup_with_deadlines, s_teardown)
    const struct CMUnitTest tests[] = {
        PROXY_TEST(test_proxy_requests_cross_and_are_answered),
        PROXY_TEST(test_proxy_many_messages_keep_their_order),
        PROXY_TEST(test_proxy_prefix_frames_are_echoed),
        PROXY_TEST(test_proxy_malformed_messages_are_dropped),
        PROXY_TEST(test_proxy_drop_loses_one_direction),
        PROXY_TEST(test_proxy_hold_releases_all_at_heal),
        PROXY_TEST(test_proxy_cut_resets_connections_until_heal),
        PROXY_TEST(test_proxy_cut_of_way_back_loses_answers),
        PROXY_TEST(test_proxy_cut_leaves_other_links_alone),
        PROXY_TEST(test_proxy_cut_drops_what_is_held),
        PROXY_TEST(test_proxy_delay_is_kept),
        PROXY_TEST(test_proxy_duplicate_arrives_twice),
        PROXY_TEST(test_proxy_missing_target_is_counted),
        PROXY_TEST(test_proxy_published_messages_cross),
        PROXY_TEST(test_proxy_bad_rule_is_refused),
    };
    return cmocka_run_group_tests(tests, env_test_start, env_test_stop);
}
