/* Carrying requests to a gateway that refuses, forgets, goes away and comes back; and one question
 * to a process. The gateway here is a socket in this process that answers as the test says. */
#include "common/env/env_loop.h"
#include "common/env/env_router.h"
#include "common/wire/client_reply.h"
#include "services/tidalctl/json.h"
#include "services/tidalctl/load_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { REQUEST_COUNT = 50, TURN_COUNT_MAX = 4000 };

/* -- a gateway --------------------------------------------------------------------------------- */

/* What it does with a request; by default it is ok. */
typedef enum { ANSWER_OK, ANSWER_NOT, ANSWER_AGAIN, ANSWER_NEVER } answer_t;
typedef answer_t (*decide_fn)(uint64_t id, uint32_t time);

typedef struct {
    env_loop_t *loop;
    env_router_t *router;
    char endpoint[ENDPOINT_SIZE_MAX];
    decide_fn decide;
    uint32_t seen[REQUEST_COUNT + 1]; /* how often each id came */
} gateway_t;

static void s_on_request(void *context, const env_request_t *request)
{
    gateway_t *self = context;
    client_answer_t known = {0};
    pack_value_t value = pack_get(request->body, "id");
    assert_true(pack_as_u64(&value, &known.id));
    uint64_t id = known.id <= REQUEST_COUNT ? known.id : 0;
    self->seen[id]++;
    answer_t answer = self->decide == NULL ? ANSWER_OK : self->decide(id, self->seen[id]);
    buffer_t pack_id;
    buffer_t reply;
    pack_writer_t writer;
    buffer_init(&pack_id);
    buffer_init(&reply);
    pack_writer_init(&writer, &pack_id);
    pack_write_u64(&writer, known.id);
    if (answer == ANSWER_OK) {
        client_reply_ping(&reply, buffer_slice(&pack_id));
    } else {
        client_reply_error(&reply, buffer_slice(&pack_id),
                           answer == ANSWER_AGAIN ? CODE_UNAVAILABLE : CODE_BAD_REQUEST,
                           "as the test says");
    }
    if (answer != ANSWER_NOT) {
        (void)env_router_answer(self->router, request->handle, buffer_slice(&reply));
    }
    env_router_forget(self->router, request->handle);
    buffer_done(&pack_id);
    buffer_done(&reply);
}

static void s_open(gateway_t *self)
{
    errbuf_t errbuf = {""};
    env_router_options_t options = {.endpoint = self->endpoint,
                                    .frame_size_max = 1 << 20,
                                    .context = self,
                                    .on_request = s_on_request};
    if (env_router_open(self->loop, &options, &self->router, &errbuf) != ERR_OK) {
        fail_msg("%s", errbuf.text);
    }
    (void)snprintf(self->endpoint, sizeof(self->endpoint), "%s", env_router_endpoint(self->router));
}

/* -- a bench ----------------------------------------------------------------------------------- */

typedef struct {
    topology_t topology;
    ctl_client_t *client;
    gateway_t gateway;
    load_run_t *run;
} bench_t;

static const process_address_t s_address = {.kind = PROCESS_GATEWAY, .region = {1}};

static bench_t *s_bench_new(decide_fn decide)
{
    bench_t *self = calloc(1, sizeof(*self));
    errbuf_t errbuf;
    assert_non_null(self);
    topology_init_default(&self->topology, 1, 1);
    assert_int_equal(ctl_client_new(&self->topology, &self->client, &errbuf), ERR_OK);
    self->gateway.loop = env_loop_new(&(env_loop_options_t){0});
    self->gateway.decide = decide;
    (void)snprintf(self->gateway.endpoint, sizeof(self->gateway.endpoint), "tcp://127.0.0.1:*");
    s_open(&self->gateway);
    const char *port = strrchr(self->gateway.endpoint, ':');
    self->topology.regions[0].gateway_port = (uint16_t)strtoul(port + 1, NULL, 10);
    return self;
}

static void s_bench_destroy(bench_t **self_p)
{
    bench_t *self = *self_p;
    load_run_destroy(&self->run);
    env_router_close(&self->gateway.router);
    env_loop_destroy(&self->gateway.loop);
    ctl_client_destroy(&self->client);
    free(self);
    *self_p = NULL;
}

/* REQUEST_COUNT requests of ten signals each. */
static void s_start(bench_t *self, uint32_t timeout_ms, uint32_t give_up_ms)
{
    errbuf_t errbuf;
    load_run_options_t options = {.client = self->client,
                                  .gateway = s_address,
                                  .in_flight_max = 8,
                                  .timeout_ms = timeout_ms,
                                  .give_up_ms = give_up_ms};
    assert_int_equal(load_run_new(&options, &self->run, &errbuf), ERR_OK);
    for (uint64_t id = 1; id <= REQUEST_COUNT; id++) {
        buffer_t body;
        pack_writer_t writer;
        buffer_init(&body);
        client_request_begin(&writer, &body, "signals", id);
        client_request_end(&writer);
        load_request_t request = {
            .kind = LOAD_SIGNALS, .id = id, .seq = id, .count = 10, .body = buffer_slice(&body)};
        load_run_add(self->run, &request);
        buffer_done(&body);
    }
}

static void s_turn_gateway(gateway_t *self)
{
    if (self->router != NULL) {
        env_loop_turn(self->loop, 0);
    }
}

/* Turns both until all is done or the run ends. */
static err_t s_finish(bench_t *self, errbuf_t *errbuf)
{
    err_t err = ERR_OK;
    for (uint32_t i = 0; i < TURN_COUNT_MAX && err == ERR_OK && load_run_left(self->run) > 0; i++) {
        s_turn_gateway(&self->gateway);
        err = load_run_turn(self->run, 2, errbuf);
    }
    return err;
}

static void s_expect_all_done(const bench_t *self)
{
    const load_run_totals_t *totals = load_run_totals(self->run);
    assert_int_equal(load_run_left(self->run), 0);
    assert_int_equal(totals->requests_done, REQUEST_COUNT);
    assert_int_equal(totals->signals_done, 10 * REQUEST_COUNT);
    for (uint64_t id = 1; id <= REQUEST_COUNT; id++) {
        assert_true(self->gateway.seen[id] >= 1);
    }
}

/* -- runs -------------------------------------------------------------------------------------- */

/* Every request is sent once and done. */
static void test_load_run_all_ok_sends_each_once(void **state)
{
    (void)state;
    bench_t *bench = s_bench_new(NULL);
    errbuf_t errbuf = {""};
    s_start(bench, 5000, 20000);
    assert_int_equal(s_finish(bench, &errbuf), ERR_OK);
    s_expect_all_done(bench);
    assert_int_equal(load_run_totals(bench->run)->retries, 0);
    s_bench_destroy(&bench);
}

static answer_t s_refuse_first(uint64_t id, uint32_t time)
{
    return id % 3 == 0 && time == 1 ? ANSWER_AGAIN : ANSWER_OK;
}

/* An error that may pass: the request is sent again and then done. */
static void test_load_run_passing_errors_are_sent_again(void **state)
{
    (void)state;
    bench_t *bench = s_bench_new(s_refuse_first);
    errbuf_t errbuf = {""};
    s_start(bench, 5000, 20000);
    assert_int_equal(s_finish(bench, &errbuf), ERR_OK);
    s_expect_all_done(bench);
    assert_int_equal(load_run_totals(bench->run)->retries, REQUEST_COUNT / 3);
    s_bench_destroy(&bench);
}

static answer_t s_never_seven(uint64_t id, uint32_t time)
{
    (void)time;
    return id == 7 ? ANSWER_NEVER : ANSWER_OK;
}

/* An error that stays ends the run with its text. */
static void test_load_run_lasting_error_ends_the_run(void **state)
{
    (void)state;
    bench_t *bench = s_bench_new(s_never_seven);
    errbuf_t errbuf = {""};
    s_start(bench, 5000, 20000);
    assert_int_equal(s_finish(bench, &errbuf), ERR_INVALID);
    assert_non_null(strstr(errbuf.text, "BAD_REQUEST: as the test says"));
    s_bench_destroy(&bench);
}

static answer_t s_forget_first(uint64_t id, uint32_t time)
{
    return id > 10 && id < 15 && time == 1 ? ANSWER_NOT : ANSWER_OK;
}

/* The gateway goes away with requests unanswered, and comes back at the same port: what was not
 * answered is sent again, and everything is done. */
static void test_load_run_survives_a_restart_of_the_gateway(void **state)
{
    (void)state;
    bench_t *bench = s_bench_new(s_forget_first);
    errbuf_t errbuf = {""};
    s_start(bench, 60000, 20000);
    for (uint32_t i = 0; i < TURN_COUNT_MAX && bench->gateway.seen[20] == 0; i++) {
        s_turn_gateway(&bench->gateway);
        assert_int_equal(load_run_turn(bench->run, 2, &errbuf), ERR_OK);
    }
    env_router_close(&bench->gateway.router);
    for (uint32_t i = 0; i < TURN_COUNT_MAX && ctl_client_is_up(bench->client, s_address); i++) {
        assert_int_equal(load_run_turn(bench->run, 2, &errbuf), ERR_OK);
    }
    s_open(&bench->gateway);
    assert_int_equal(s_finish(bench, &errbuf), ERR_OK);
    s_expect_all_done(bench);
    assert_true(bench->gateway.seen[11] == 2);
    assert_true(load_run_totals(bench->run)->reconnects >= 1);
    s_bench_destroy(&bench);
}

static answer_t s_always_again(uint64_t id, uint32_t time)
{
    (void)id;
    (void)time;
    return ANSWER_AGAIN;
}

/* Without any progress the run ends, and says what the last answer was. */
static void test_load_run_without_progress_gives_up(void **state)
{
    (void)state;
    bench_t *bench = s_bench_new(s_always_again);
    errbuf_t errbuf = {""};
    s_start(bench, 5000, 300);
    assert_int_equal(s_finish(bench, &errbuf), ERR_TIMEOUT);
    assert_non_null(strstr(errbuf.text, "UNAVAILABLE"));
    s_bench_destroy(&bench);
}

/* -- answers ----------------------------------------------------------------------------------- */

static load_answer_t s_read(const char *json, uint32_t count)
{
    buffer_t pack;
    errbuf_t errbuf;
    load_answer_t answer;
    buffer_init(&pack);
    assert_int_equal(json_parse(slice_text(json), &pack, &errbuf), ERR_OK);
    load_answer_read(buffer_slice(&pack), count, &answer);
    buffer_done(&pack);
    return answer;
}

/* Duplicates are counted whole, or by the shards that say so. */
static void test_load_answer_duplicates_are_counted(void **state)
{
    (void)state;
    assert_int_equal(s_read("{\"ok\": true}", 9).duplicate_count, 0);
    assert_int_equal(s_read("{\"ok\": true, \"duplicate\": true}", 9).duplicate_count, 9);
    assert_int_equal(s_read("{\"ok\": true, \"shards\": [{\"count\": 4, \"duplicate\": true}, "
                            "{\"count\": 5, \"duplicate\": false}]}",
                            9)
                         .duplicate_count,
                     4);
}

/* What may have been done is asked again, since its pair decides; a refusal for good is not. */
static void test_load_answer_errors_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(
        s_read("{\"ok\": false, \"error\": {\"code\": \"OVERLOADED\", \"message\": \"m\", "
               "\"retryable\": true, \"retry_after_ms\": 7}}",
               1)
            .retry_after_ms,
        7);
    assert_int_equal(s_read("{\"ok\": false, \"error\": {\"code\": \"NOT_REPLICATED\", "
                            "\"message\": \"m\", \"retryable\": false}}",
                            1)
                         .verdict,
                     LOAD_ANSWER_AGAIN);
    assert_int_equal(s_read("{\"ok\": false, \"error\": {\"code\": \"BAD_REQUEST\", "
                            "\"message\": \"m\", \"retryable\": false}}",
                            1)
                         .verdict,
                     LOAD_ANSWER_NEVER);
}

/* -- one question ------------------------------------------------------------------------------ */

/* Where nobody is, a question ends by itself and says where it looked. */
static void test_ctl_client_ask_nobody_there_says_where(void **state)
{
    (void)state;
    bench_t *bench = s_bench_new(NULL);
    buffer_t reply;
    buffer_t body;
    errbuf_t errbuf = {""};
    pack_writer_t writer;
    buffer_init(&reply);
    buffer_init(&body);
    env_router_close(&bench->gateway.router);
    ctl_ask_t ask = {.to = s_address, .id = ctl_client_next_id(bench->client)};
    client_request_begin(&writer, &body, "ping", ask.id);
    client_request_end(&writer);
    ask.request = buffer_slice(&body);
    assert_int_equal(ctl_client_ask_one(bench->client, &ask, 200, &reply, &errbuf),
                     ERR_UNREACHABLE);
    assert_non_null(strstr(errbuf.text, "gateway-"));
    assert_non_null(strstr(errbuf.text, strrchr(bench->gateway.endpoint, ':')));
    buffer_done(&reply);
    buffer_done(&body);
    s_bench_destroy(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_run_all_ok_sends_each_once),
        cmocka_unit_test(test_load_run_passing_errors_are_sent_again),
        cmocka_unit_test(test_load_run_lasting_error_ends_the_run),
        cmocka_unit_test(test_load_run_survives_a_restart_of_the_gateway),
        cmocka_unit_test(test_load_run_without_progress_gives_up),
        cmocka_unit_test(test_load_answer_duplicates_are_counted),
        cmocka_unit_test(test_load_answer_errors_are_told_apart),
        cmocka_unit_test(test_ctl_client_ask_nobody_there_says_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
