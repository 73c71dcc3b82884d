/* The simulated network, as text traces in virtual microseconds. Processes are called a, b ... in
 * region 1 and p, q ... in region 2; each writes down what it is given:
 *   @20 b<hello      at 20 us b got hello      b~tick:1     b heard "1" published under tick */
#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/prng.h"
#include "tests/support/sim_network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { TRACE_SIZE = 8192, NS_PER_US = 1000, NAME_COUNT = 26, MS = 1000000 };

typedef struct {
    net_t net;
    uint64_t reply_to; /* of the latest message; forgotten by the test */
    char name;
    bool answers; /* each message with "re:" and its text, then forgets */
} s_process_t;

static sim_network_t *s_network;
static s_process_t s_processes[NAME_COUNT];
static char s_trace[TRACE_SIZE];
static int64_t s_traced_ns;

static process_address_t s_address(char name)
{
    uint16_t number = (uint16_t)(name - 'a');
    return (process_address_t){
        .kind = PROCESS_NODE, .region = {(uint16_t)(name < 'p' ? 1 : 2)}, .shard = {number}};
}

static s_process_t *s_process(char name)
{
    return &s_processes[name - 'a'];
}

__attribute__((format(printf, 1, 2))) static void s_write(const char *format, ...)
{
    size_t used = strlen(s_trace);
    int64_t now_ns = sim_network_now_ns(s_network);
    if (s_traced_ns != now_ns) {
        s_traced_ns = now_ns;
        int length = snprintf(s_trace + used, sizeof(s_trace) - used, " @%lld",
                              (long long)(now_ns / NS_PER_US));
        CHECK(length > 0);
        used += (size_t)length;
    }
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(s_trace + used, sizeof(s_trace) - used, format, arguments);
    va_end(arguments);
    CHECK(length > 0);
    CHECK(used + (size_t)length < sizeof(s_trace));
}

static void s_on_message(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    s_process_t *process = context;
    s_write(" %c<%.*s", process->name, (int)size, (const char *)bytes);
    if (reply_to == 0) {
        return;
    }
    if (!process->answers) {
        process->reply_to = reply_to;
        return;
    }
    char answer[64];
    int length = snprintf(answer, sizeof(answer), "re:%.*s", (int)size, (const char *)bytes);
    (void)process->net.reply(process->net.context, reply_to, (const uint8_t *)answer,
                             (size_t)length);
    process->net.forget(process->net.context, reply_to);
}

static void s_on_published(void *context, const char *topic, const uint8_t *bytes, size_t size)
{
    const s_process_t *process = context;
    s_write(" %c~%s:%.*s", process->name, topic, (int)size, (const char *)bytes);
}

static void s_attach(char name)
{
    s_process_t *process = s_process(name);
    process->name = name;
    process->net =
        sim_network_attach(s_network, s_address(name),
                           (sim_network_receiver_t){process, s_on_message, s_on_published});
}

static err_t s_send(char from, char to, const char *text)
{
    const net_t *net = &s_process(from)->net;
    return net->send(net->context, s_address(to), (const uint8_t *)text, strlen(text));
}

static err_t s_reply(char from, const char *text)
{
    const s_process_t *process = s_process(from);
    return process->net.reply(process->net.context, process->reply_to, (const uint8_t *)text,
                              strlen(text));
}

static void s_forget(char from)
{
    const s_process_t *process = s_process(from);
    process->net.forget(process->net.context, process->reply_to);
}

static void s_publish(char from, const char *topic, const char *text)
{
    const net_t *net = &s_process(from)->net;
    net->publish(net->context, topic, (const uint8_t *)text, strlen(text));
}

/* From deadline to deadline, as a driver does. */
static void s_run_to(int64_t now_us)
{
    while (sim_network_deadline_ns(s_network) <= now_us * NS_PER_US) {
        (void)sim_network_deliver_due(s_network, sim_network_deadline_ns(s_network));
    }
    (void)sim_network_deliver_due(s_network, now_us * NS_PER_US);
}

static void s_assert_trace(const char *expected)
{
    assert_string_equal(s_trace[0] == ' ' ? s_trace + 1 : s_trace, expected);
    s_trace[0] = '\0';
    s_traced_ns = -1;
}

static void s_set_link(uint16_t from, uint16_t to, link_rule_t rule)
{
    link_id_t link = {{from}, {to}};
    assert_int_equal(sim_network_set_link(s_network, link, &rule, NULL), ERR_OK);
}

static const link_counters_t *s_link(uint16_t from, uint16_t to)
{
    return link_rules_counters(sim_network_links(s_network), (link_id_t){{from}, {to}});
}

static void s_begin(sim_network_options_t options)
{
    sim_network_destroy(&s_network);
    s_network = sim_network_new(&options);
    (void)memset(s_processes, 0, sizeof(s_processes));
    s_trace[0] = '\0';
    s_traced_ns = -1;
    s_attach('a');
    s_attach('b');
    s_attach('p');
    s_attach('q');
}

static int s_setup(void **state)
{
    (void)state;
    s_begin((sim_network_options_t){.seed = 1});
    return 0;
}

static int s_teardown(void **state)
{
    (void)state;
    sim_network_destroy(&s_network);
    return 0;
}

/* -- errors and limits ------------------------------------------------------------------------- */

/* Goal: nobody at the address, ever or any more, is ERR_UNREACHABLE, and so is sending when down.
 */
static void test_sim_network_peer_that_is_down_is_unreachable(void **state)
{
    (void)state;
    assert_int_equal(s_send('a', 'c', "x"), ERR_UNREACHABLE);
    sim_network_detach(s_network, s_address('b'), SIM_NETWORK_SENT_VANISHES);
    assert_false(sim_network_is_attached(s_network, s_address('b')));
    assert_int_equal(s_send('a', 'b', "x"), ERR_UNREACHABLE);
    assert_int_equal(s_send('b', 'a', "x"), ERR_UNREACHABLE);
    s_publish('b', "tick", "x");
    s_run_to(100000);
    s_assert_trace("");
    assert_int_equal(sim_network_counters(s_network).refused_unreachable_count, 3);
}

/* Goal: a lane takes its count and no more, per pair and kind, and takes again after delivery. */
static void test_sim_network_lane_over_count_is_full(void **state)
{
    (void)state;
    s_begin((sim_network_options_t){.queue_count_max = 2});
    assert_int_equal(s_send('a', 'b', "1"), ERR_OK);
    assert_int_equal(s_send('a', 'b', "2"), ERR_OK);
    assert_int_equal(s_send('a', 'b', "3"), ERR_FULL);
    assert_int_equal(s_send('a', 'p', "4"), ERR_OK);
    assert_int_equal(s_send('b', 'a', "5"), ERR_OK);
    s_run_to(20);
    assert_int_equal(s_send('a', 'b', "6"), ERR_OK);
    s_run_to(2000);
    s_assert_trace("@20 b<1 b<2 a<5 @40 b<6 @1000 p<4");
    assert_int_equal(sim_network_counters(s_network).refused_full_count, 1);
}

/* Goal: the byte limit of a lane holds to the byte. */
static void test_sim_network_lane_over_bytes_is_full(void **state)
{
    (void)state;
    s_begin((sim_network_options_t){.queue_size_max = 10});
    assert_int_equal(s_send('a', 'b', "123456789"), ERR_OK);
    assert_int_equal(s_send('a', 'b', "12"), ERR_FULL);
    assert_int_equal(s_send('a', 'b', "1"), ERR_OK);
    assert_int_equal(s_send('a', 'b', ""), ERR_OK);
    s_run_to(20);
    s_assert_trace("@20 b<123456789 b<1 b<");
}

/* Goal: what waits on a link that holds fills the lane of its sender, as back pressure does. */
static void test_sim_network_held_link_fills_the_lane(void **state)
{
    (void)state;
    s_begin((sim_network_options_t){.queue_count_max = 2});
    s_set_link(1, 2, (link_rule_t){.mode = LINK_MODE_HOLD});
    assert_int_equal(s_send('a', 'p', "1"), ERR_OK);
    assert_int_equal(s_send('a', 'p', "2"), ERR_OK);
    s_run_to(50000);
    assert_int_equal(s_send('a', 'p', "3"), ERR_FULL);
    assert_int_equal(s_send('b', 'p', "4"), ERR_OK);
    sim_network_heal_all(s_network);
    s_run_to(60000);
    s_assert_trace("@50000 p<1 p<2 @51000 p<4");
}

/* Goal: a publication for a full lane is dropped and counted, others get it. */
static void test_sim_network_publish_to_full_lane_is_dropped_and_counted(void **state)
{
    (void)state;
    s_begin((sim_network_options_t){.queue_count_max = 1});
    sim_network_subscribe(s_network, s_address('b'), s_address('a'), "");
    s_publish('a', "t", "1");
    sim_network_subscribe(s_network, s_address('q'), s_address('a'), "");
    s_publish('a', "t", "2");
    s_run_to(2000);
    s_assert_trace("@20 b~t:1 @1000 q~t:2");
    assert_int_equal(sim_network_counters(s_network).publish_dropped_count, 1);
}

/* Goal: reply handles end with forget, and handle 0, a wrong one and a forgotten one are told. */
static void test_sim_network_reply_needs_an_open_handle(void **state)
{
    (void)state;
    assert_int_equal(s_reply('b', "x"), ERR_NOT_FOUND);
    assert_int_equal(s_send('a', 'b', "1"), ERR_OK);
    s_run_to(20);
    assert_int_equal(sim_network_counters(s_network).handle_count, 1);
    assert_int_equal(s_reply('b', "r1"), ERR_OK);
    assert_int_equal(s_reply('b', "r2"), ERR_OK);
    s_process('a')->reply_to = s_process('b')->reply_to;
    assert_int_equal(s_reply('a', "x"), ERR_NOT_FOUND);
    s_forget('b');
    s_forget('b');
    assert_int_equal(s_reply('b', "r3"), ERR_NOT_FOUND);
    s_run_to(100);
    s_assert_trace("@20 b<1 @40 a<r1 a<r2");
    assert_int_equal(sim_network_counters(s_network).handle_count, 0);
    assert_int_equal(sim_network_counters(s_network).refused_handle_count, 3);
}

/* Goal: of too many open handles the oldest expires, and every other one still works. */
static void test_sim_network_oldest_handle_expires(void **state)
{
    (void)state;
    s_begin((sim_network_options_t){.queue_count_max = 100000});
    enum { COUNT = 65536 };
    uint64_t first = 0;
    for (uint32_t i = 0; i <= COUNT; i++) {
        s_trace[0] = '\0';
        assert_int_equal(s_send('a', 'b', "x"), ERR_OK);
        s_run_to(20 * (int64_t)(i + 1));
        first = i == 0 ? s_process('b')->reply_to : first;
    }
    assert_int_equal(sim_network_counters(s_network).handle_expired_count, 1);
    assert_int_equal(sim_network_counters(s_network).handle_count, COUNT);
    assert_int_equal(s_reply('b', "latest"), ERR_OK);
    s_process('b')->reply_to = first;
    assert_int_equal(s_reply('b', "first"), ERR_NOT_FOUND);
}

/* -- delivery ---------------------------------------------------------------------------------- */

/* Goal: messages arrive after the latency of their way, in order of time and of sending. */
static void test_sim_network_delivers_in_order_of_time_then_of_sending(void **state)
{
    (void)state;
    assert_int_equal(s_send('a', 'p', "far"), ERR_OK);
    assert_int_equal(s_send('a', 'b', "1"), ERR_OK);
    assert_int_equal(s_send('q', 'p', "2"), ERR_OK);
    assert_int_equal(s_send('a', 'b', "3"), ERR_OK);
    assert_true(sim_network_deadline_ns(s_network) == 20000);
    s_run_to(19);
    s_assert_trace("");
    s_run_to(1000);
    s_assert_trace("@20 b<1 p<2 b<3 @1000 p<far");
    assert_true(sim_network_deadline_ns(s_network) == INT64_MAX);
}

/* Goal: what a delivery gives rise to is delivered in the same call when it is due, at its own
 * time, whatever the step of the driver. */
static void test_sim_network_one_large_step_equals_many_small_ones(void **state)
{
    (void)state;
    uint64_t hashes[2];
    for (int i = 0; i < 2; i++) {
        s_begin((sim_network_options_t){.seed = 5});
        s_process('b')->answers = true;
        s_process('p')->answers = true;
        s_set_link(1, 2, (link_rule_t){.delay_ms = 3});
        assert_int_equal(s_send('a', 'b', "1"), ERR_OK);
        assert_int_equal(s_send('a', 'p', "2"), ERR_OK);
        if (i == 0) {
            s_run_to(10000);
        } else {
            assert_int_equal(sim_network_deliver_due(s_network, 10000LL * NS_PER_US), 4);
        }
        s_assert_trace("@20 b<1 @40 a<re:1 @4000 p<2 @5000 a<re:2");
        hashes[i] = sim_network_trace_hash(s_network);
        assert_int_equal(sim_network_counters(s_network).handle_count, 0);
    }
    assert_true(hashes[0] == hashes[1]);
}

/* Goal: subscribers hear topics by prefix, each publication once, only while they are up; the
 * subscription outlives the publisher. */
static void test_sim_network_publish_reaches_matching_subscribers_once(void **state)
{
    (void)state;
    sim_network_subscribe(s_network, s_address('b'), s_address('a'), "po");
    sim_network_subscribe(s_network, s_address('b'), s_address('a'), "pos");
    sim_network_subscribe(s_network, s_address('b'), s_address('a'), "pos");
    sim_network_subscribe(s_network, s_address('p'), s_address('a'), "");
    s_publish('a', "pos", "1");
    s_publish('a', "hbt", "2");
    s_run_to(1000);
    s_assert_trace("@20 b~pos:1 @1000 p~pos:1 p~hbt:2");
    sim_network_detach(s_network, s_address('a'), SIM_NETWORK_SENT_VANISHES);
    s_attach('a');
    sim_network_detach(s_network, s_address('p'), SIM_NETWORK_SENT_VANISHES);
    s_attach('p');
    s_publish('a', "pos", "3");
    s_run_to(3000);
    s_assert_trace("@1020 b~pos:3");
}

/* Goal: jitter gives other interleavings of senders, another one per seed, but no lane changes its
 * order. */
static void test_sim_network_jitter_interleaves_lanes(void **state)
{
    (void)state;
    uint64_t hashes[2];
    for (uint64_t i = 0; i < 2; i++) {
        s_begin((sim_network_options_t){.seed = i + 1, .local_jitter_ns = 50000});
        for (int n = 0; n < 3; n++) {
            char text[2] = {(char)('1' + n), '\0'};
            assert_int_equal(s_send('a', 'b', text), ERR_OK);
            assert_int_equal(s_send('b', 'a', text), ERR_OK);
        }
        s_run_to(100);
        char lane[2][4] = {{0}};
        for (const char *at = strchr(s_trace, '<'); at != NULL; at = strchr(at + 1, '<')) {
            (void)strncat(lane[at[-1] == 'a'], &at[1], 1);
        }
        assert_string_equal(lane[0], "123");
        assert_string_equal(lane[1], "123");
        hashes[i] = sim_network_trace_hash(s_network);
    }
    assert_true(hashes[0] != hashes[1]);
}

/* -- links ------------------------------------------------------------------------------------- */

/* Goal: a cut refuses and counts each message, one way only; within a place nothing changes. */
static void test_sim_network_cut_is_one_way_and_counted(void **state)
{
    (void)state;
    sim_network_subscribe(s_network, s_address('p'), s_address('a'), "");
    s_set_link(1, 2, (link_rule_t){.mode = LINK_MODE_CUT});
    assert_int_equal(s_send('a', 'p', "1"), ERR_UNREACHABLE);
    s_publish('a', "t", "2");
    assert_int_equal(s_send('p', 'a', "3"), ERR_OK);
    assert_int_equal(s_send('a', 'b', "4"), ERR_OK);
    s_run_to(5000);
    s_assert_trace("@20 b<4 @1000 a<3");
    assert_int_equal(s_link(1, 2)->dropped_count[LINK_DROP_CUT], 2);
    assert_int_equal(s_link(2, 1)->forwarded_count, 1);
    sim_network_heal_all(s_network);
    assert_int_equal(s_send('a', 'p', "5"), ERR_OK);
    s_run_to(10000);
    s_assert_trace("@6000 p<5");
}

/* Goal: what is under way when the cut comes is lost, also when the link heals before it arrives.
 */
static void test_sim_network_cut_loses_what_is_under_way(void **state)
{
    (void)state;
    assert_int_equal(s_send('a', 'p', "1"), ERR_OK);
    s_run_to(500);
    s_set_link(1, 2, (link_rule_t){.mode = LINK_MODE_CUT});
    sim_network_heal_all(s_network);
    assert_int_equal(s_send('a', 'p', "2"), ERR_OK);
    s_run_to(5000);
    s_assert_trace("@1500 p<2");
    assert_int_equal(sim_network_counters(s_network).vanished_count, 1);
}

/* Goal: the handles of connections that a cut reset are dead, after the heal as well. */
static void test_sim_network_cut_kills_reply_handles(void **state)
{
    (void)state;
    assert_int_equal(s_send('a', 'p', "1"), ERR_OK);
    s_run_to(1000);
    assert_int_equal(s_reply('p', "under way"), ERR_OK);
    s_set_link(1, 2, (link_rule_t){.mode = LINK_MODE_CUT});
    sim_network_heal_all(s_network);
    assert_int_equal(s_reply('p', "x"), ERR_UNREACHABLE);
    assert_int_equal(s_send('a', 'p', "2"), ERR_OK);
    s_run_to(2000);
    assert_int_equal(s_reply('p', "r2"), ERR_OK);
    s_run_to(5000);
    s_assert_trace("@1000 p<1 @2000 p<2 @3000 a<r2");
}

/* Goal: a reply travels the reverse link: with that one lossy, requests arrive and answers do not.
 */
static void test_sim_network_reply_travels_the_reverse_link(void **state)
{
    (void)state;
    s_process('p')->answers = true;
    s_set_link(2, 1, (link_rule_t){.mode = LINK_MODE_DROP});
    assert_int_equal(s_send('a', 'p', "1"), ERR_OK);
    s_run_to(5000);
    s_assert_trace("@1000 p<1");
    assert_int_equal(s_link(2, 1)->dropped_count[LINK_DROP_MODE], 1);
    assert_int_equal(sim_network_counters(s_network).link_dropped_count, 1);
}

/* Goal: a duplicated request comes twice, each with a handle of its own. */
static void test_sim_network_duplicate_arrives_twice(void **state)
{
    (void)state;
    s_process('p')->answers = true;
    s_set_link(1, 2, (link_rule_t){.duplicate = 1.0});
    assert_int_equal(s_send('a', 'p', "1"), ERR_OK);
    s_run_to(5000);
    s_assert_trace("@1000 p<1 p<1 @2000 a<re:1 a<re:1");
    assert_int_equal(sim_network_counters(s_network).copied_count, 1);
    assert_int_equal(sim_network_counters(s_network).handle_count, 0);
    assert_int_equal(sim_network_counters(s_network).under_way_count, 0);
}

/* Goal: a refused rule is told with its text. */
static void test_sim_network_bad_rule_is_refused(void **state)
{
    (void)state;
    errbuf_t errbuf = {{0}};
    link_rule_t rule = {.drop = 7.0};
    link_id_t link = {{1}, {2}};
    assert_int_equal(sim_network_set_link(s_network, link, &rule, &errbuf), ERR_INVALID);
    assert_string_equal(errbuf.text, "link rule: drop: expected a probability from 0 to 1, found "
                                     "7; give the share of messages, such as 0.05");
}

static void s_flip_first(
    void *context, process_address_t from, process_address_t to, uint8_t *bytes, size_t size)
{
    unsigned *left = context;
    assert_int_equal(from.region.value, 1);
    if (to.region.value == 2 && size > 0 && *left > 0) {
        bytes[0] = (uint8_t)(bytes[0] ^ 1U);
        (*left)--;
    }
}

/* Goal: a tap sees each message and may damage it in flight, which the trace hash shows. */
static void test_sim_network_tap_changes_bytes_in_flight(void **state)
{
    (void)state;
    unsigned left = 1;
    sim_network_set_tap(s_network, s_flip_first, &left);
    assert_int_equal(s_send('a', 'b', "near"), ERR_OK);
    assert_int_equal(s_send('a', 'p', "far"), ERR_OK);
    assert_int_equal(s_send('a', 'p', "far"), ERR_OK);
    sim_network_set_tap(s_network, NULL, NULL);
    assert_int_equal(s_send('a', 'p', "far"), ERR_OK);
    s_run_to(2000);
    s_assert_trace("@20 b<near @1000 p<gar p<far p<far");
    uint64_t damaged_hash = sim_network_trace_hash(s_network);
    s_begin((sim_network_options_t){.seed = 1});
    assert_int_equal(s_send('a', 'b', "near"), ERR_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s_send('a', 'p', "far"), ERR_OK);
    }
    s_run_to(2000);
    assert_true(sim_network_trace_hash(s_network) != damaged_hash);
}

/* -- crashes ----------------------------------------------------------------------------------- */

/* Goal: a crash loses what was under way to the process, and of what it sent all or nothing, as the
 * driver says; its later life gets nothing of the old one. */
static void test_sim_network_crash_loses_what_was_under_way(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        s_begin((sim_network_options_t){.seed = 1});
        assert_int_equal(s_send('a', 'b', "to"), ERR_OK);
        assert_int_equal(s_send('p', 'b', "far"), ERR_OK);
        assert_int_equal(s_send('b', 'a', "from"), ERR_OK);
        sim_network_detach(s_network, s_address('b'),
                           i == 0 ? SIM_NETWORK_SENT_VANISHES : SIM_NETWORK_SENT_ARRIVES);
        s_attach('b');
        assert_int_equal(s_send('a', 'b', "new"), ERR_OK);
        s_run_to(5000);
        s_assert_trace(i == 0 ? "@20 b<new" : "@20 a<from b<new");
        assert_int_equal(sim_network_counters(s_network).vanished_count, i == 0 ? 3 : 2);
        assert_int_equal(sim_network_counters(s_network).under_way_count, 0);
    }
}

/* Goal: handles die with either side: of the one that held them, and of the one to be answered,
 * also when that one is back in a new life. */
static void test_sim_network_crash_kills_handles_of_both_sides(void **state)
{
    (void)state;
    assert_int_equal(s_send('a', 'b', "1"), ERR_OK);
    s_run_to(20);
    sim_network_detach(s_network, s_address('a'), SIM_NETWORK_SENT_VANISHES);
    assert_int_equal(s_reply('b', "x"), ERR_UNREACHABLE);
    s_attach('a');
    assert_int_equal(s_reply('b', "x"), ERR_UNREACHABLE);
    assert_int_equal(s_send('a', 'b', "2"), ERR_OK);
    s_run_to(40);
    uint64_t old = s_process('b')->reply_to;
    sim_network_detach(s_network, s_address('b'), SIM_NETWORK_SENT_VANISHES);
    s_attach('b');
    assert_int_equal(sim_network_counters(s_network).handle_count, 0);
    assert_int_equal(s_send('a', 'b', "3"), ERR_OK);
    s_run_to(60);
    assert_true(s_process('b')->reply_to != old);
    s_process('b')->reply_to = old;
    assert_int_equal(s_reply('b', "x"), ERR_NOT_FOUND);
    s_assert_trace("@20 b<1 @40 b<2 @60 b<3");
}

/* Goal: a message of a crashed life that still arrives cannot be answered to the next life. */
static void test_sim_network_surviving_message_is_of_its_own_life(void **state)
{
    (void)state;
    assert_int_equal(s_send('a', 'b', "1"), ERR_OK);
    sim_network_detach(s_network, s_address('a'), SIM_NETWORK_SENT_ARRIVES);
    s_attach('a');
    s_run_to(20);
    assert_int_equal(s_reply('b', "x"), ERR_UNREACHABLE);
    s_assert_trace("@20 b<1");
}

static void s_crash_on_message(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    s_process_t *process = context;
    s_write(" %c!%.*s", process->name, (int)size, (const char *)bytes);
    sim_network_detach(s_network, s_address(process->name), SIM_NETWORK_SENT_VANISHES);
    assert_int_equal(process->net.reply(process->net.context, reply_to, bytes, size),
                     ERR_NOT_FOUND);
    assert_int_equal(process->net.send(process->net.context, s_address('a'), bytes, size),
                     ERR_UNREACHABLE);
    process->net.forget(process->net.context, reply_to);
}

/* Goal: a process may go down inside its own callback; the bytes it was given stay good, and the
 * rest of what was under way to it is lost. */
static void test_sim_network_crash_inside_a_callback(void **state)
{
    (void)state;
    sim_network_detach(s_network, s_address('b'), SIM_NETWORK_SENT_VANISHES);
    s_process_t *b = s_process('b');
    b->net = sim_network_attach(s_network, s_address('b'),
                                (sim_network_receiver_t){b, s_crash_on_message, NULL});
    assert_int_equal(s_send('a', 'b', "1"), ERR_OK);
    assert_int_equal(s_send('a', 'b', "2"), ERR_OK);
    s_run_to(100);
    s_assert_trace("@20 b!1");
    assert_int_equal(sim_network_counters(s_network).vanished_count, 1);
}

/* Goal: destroy with messages on their way, held by a link, and open handles leaves no memory. */
static void test_sim_network_destroy_while_busy_frees_all(void **state)
{
    (void)state;
    s_set_link(1, 2, (link_rule_t){.mode = LINK_MODE_HOLD, .duplicate = 1.0});
    assert_int_equal(s_send('a', 'p', "held"), ERR_OK);
    assert_int_equal(s_send('a', 'b', "open"), ERR_OK);
    s_run_to(2000);
    assert_int_equal(s_send('a', 'b', "under way"), ERR_OK);
    sim_network_destroy(&s_network);
    assert_null(s_network);
    sim_network_destroy(&s_network);
}

/* -- one seed, one run ------------------------------------------------------------------------- */

/* Random traffic, rules and crashes among four processes; returns the trace hash. */
static uint64_t s_run_random(uint64_t seed)
{
    static const char s_names[] = {'a', 'b', 'p', 'q'};
    static const uint8_t s_payload[8] = {1, 2, 3};
    s_begin((sim_network_options_t){.seed = seed, .local_jitter_ns = 30000, .queue_count_max = 50});
    prng_t prng;
    prng_init(&prng, seed + 1000);
    int64_t now_us = 0;
    for (uint32_t step = 0; step < 3000; step++) {
        s_trace[0] = '\0';
        char from = s_names[prng_below(&prng, 4)];
        char to = s_names[prng_below(&prng, 4)];
        s_process(from)->answers = true;
        uint64_t choice = prng_below(&prng, 1000);
        if (choice < 5) {
            sim_network_detach(s_network, s_address(from), (sim_network_sent_t)(choice % 2));
            s_attach(from);
            sim_network_subscribe(s_network, s_address(from), s_address(to), "");
        } else if (choice < 20) {
            link_rule_t rule = {.mode = (link_mode_t)(choice % 4),
                                .delay_ms = (uint32_t)prng_below(&prng, 5),
                                .jitter_ms = (uint32_t)prng_below(&prng, 5),
                                .drop = prng_unit(&prng) / 2,
                                .duplicate = prng_unit(&prng) / 2,
                                .reorder = prng_unit(&prng) / 2};
            s_set_link((uint16_t)(1 + choice / 8 % 2), (uint16_t)(2 - choice / 8 % 2), rule);
        } else if (choice < 200) {
            const net_t *net = &s_process(from)->net;
            net->publish(net->context, "t", s_payload, 1 + choice % 7);
        } else {
            (void)s_send(from, to, &"abcdefghijkl"[choice % 12]);
        }
        now_us += (int64_t)prng_below(&prng, 40);
        s_run_to(now_us);
    }
    sim_network_heal_all(s_network);
    s_run_to(now_us + 100000);
    sim_network_counters_t counters = sim_network_counters(s_network);
    assert_int_equal(counters.under_way_count, 0);
    assert_int_equal(counters.sent_count + counters.copied_count, counters.delivered_count +
                                                                      counters.link_dropped_count +
                                                                      counters.vanished_count);
    assert_true(sim_network_deadline_ns(s_network) == INT64_MAX);
    return sim_network_trace_hash(s_network);
}

/* Goal: the same seed gives the same deliveries, another seed others; every message is accounted
 * for. Method: 12 random runs, each twice. */
static void test_sim_network_random_runs_are_repeatable(void **state)
{
    (void)state;
    uint64_t previous = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        uint64_t hash = s_run_random(seed);
        assert_true(hash == s_run_random(seed));
        assert_true(hash != previous);
        previous = hash;
    }
}

/* Goal: the trace hash sees a single changed bit, a changed receiver and a changed time. */
static void test_sim_network_trace_hash_sees_every_part(void **state)
{
    (void)state;
    uint64_t hashes[4];
    for (int i = 0; i < 4; i++) {
        s_begin((sim_network_options_t){.start_ns = i == 3 ? 1 : 0});
        assert_int_equal(s_send('a', i == 2 ? 'a' : 'b', i == 1 ? "text!" : "text "), ERR_OK);
        s_run_to(100);
        hashes[i] = sim_network_trace_hash(s_network);
        for (int k = 0; k < i; k++) {
            assert_true(hashes[i] != hashes[k]);
        }
    }
}

int main(void)
{
#define WITH_NETWORK(test) cmocka_unit_test_setup_teardown(test, s_setup, s_teardown)
    const struct CMUnitTest tests[] = {
        WITH_NETWORK(test_sim_network_peer_that_is_down_is_unreachable),
        WITH_NETWORK(test_sim_network_lane_over_count_is_full),
        WITH_NETWORK(test_sim_network_lane_over_bytes_is_full),
        WITH_NETWORK(test_sim_network_held_link_fills_the_lane),
        WITH_NETWORK(test_sim_network_publish_to_full_lane_is_dropped_and_counted),
        WITH_NETWORK(test_sim_network_reply_needs_an_open_handle),
        WITH_NETWORK(test_sim_network_oldest_handle_expires),
        WITH_NETWORK(test_sim_network_delivers_in_order_of_time_then_of_sending),
        WITH_NETWORK(test_sim_network_one_large_step_equals_many_small_ones),
        WITH_NETWORK(test_sim_network_publish_reaches_matching_subscribers_once),
        WITH_NETWORK(test_sim_network_jitter_interleaves_lanes),
        WITH_NETWORK(test_sim_network_cut_is_one_way_and_counted),
        WITH_NETWORK(test_sim_network_cut_loses_what_is_under_way),
        WITH_NETWORK(test_sim_network_cut_kills_reply_handles),
        WITH_NETWORK(test_sim_network_reply_travels_the_reverse_link),
        WITH_NETWORK(test_sim_network_duplicate_arrives_twice),
        WITH_NETWORK(test_sim_network_bad_rule_is_refused),
        WITH_NETWORK(test_sim_network_tap_changes_bytes_in_flight),
        WITH_NETWORK(test_sim_network_crash_loses_what_was_under_way),
        WITH_NETWORK(test_sim_network_crash_kills_handles_of_both_sides),
        WITH_NETWORK(test_sim_network_surviving_message_is_of_its_own_life),
        WITH_NETWORK(test_sim_network_crash_inside_a_callback),
        WITH_NETWORK(test_sim_network_destroy_while_busy_frees_all),
        WITH_NETWORK(test_sim_network_random_runs_are_repeatable),
        WITH_NETWORK(test_sim_network_trace_hash_sees_every_part),
    };
#undef WITH_NETWORK
    return cmocka_run_group_tests(tests, NULL, NULL);
}
