/* bench_mesh: the client side of scripts/bench. Speaks the client protocol to the gateways of a
 * running mesh and prints one line per measurement, `name value unit`, for the script to collect.
 *
 *   bench_mesh TOPOLOGY rows|columns SECONDS OUTSTANDING   closed loop: that many requests in
 *                                                          flight per gateway; signals acknowledged
 *                                                          per second
 *   bench_mesh TOPOLOGY single SECONDS                     one signal at a time through one gateway
 *   bench_mesh TOPOLOGY visible SECONDS RATE               open loop at RATE signals/s, and probes:
 *                                                          written in the first region, polled in
 *                                                          the others until seen
 *
 * Every request is encoded anew; items are skewed over 100,000, users even over 1,000,000. */
#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/topology/topology.h"
#include "common/wire/client_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

enum {
    S_ROWS = 500,
    S_COLUMNS = 1000,
    S_ITEM_COUNT = 100000,
    S_USER_COUNT = 1000000,
    S_SAMPLE_COUNT_MAX = 4 * 1024 * 1024,
    S_OUTSTANDING_MAX = 256
};
#define S_NS_PER_S   INT64_C(1000000000)
#define S_PROBE_ITEM UINT64_C(900000000)

typedef struct {
    void *socket;
    char region[NAME_LENGTH_MAX + 1];
} s_gateway_t;

typedef struct {
    topology_t topology;
    void *context;
    uint32_t gateway_count;
    s_gateway_t gateways[REGION_COUNT_MAX];
    prng_t prng;
    buffer_t out;
    uint64_t next_id;
    int64_t *sent_ns; /* by id modulo S_SAMPLE_COUNT_MAX */
    uint32_t sample_count;
    int64_t *samples_ns;
    uint64_t refused;
} s_bench_t;

static int64_t s_now_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * S_NS_PER_S + now.tv_nsec;
}

/* Skewed: the square of an even number, so that a tenth of the items gets a third of the events. */
static uint64_t s_item(s_bench_t *self)
{
    double unit = prng_unit(&self->prng);
    return 1 + (uint64_t)(unit * unit * S_ITEM_COUNT);
}

/* -- requests ---------------------------------------------------------------------------------- */

static void s_encode_rows(s_bench_t *self)
{
    pack_writer_t writer;
    buffer_clear(&self->out);
    client_request_begin(&writer, &self->out, "signals", ++self->next_id);
    pack_key(&writer, "rows");
    pack_write_array(&writer, S_ROWS);
    for (int i = 0; i < S_ROWS; i++) {
        pack_write_array(&writer, 3);
        pack_write_str(&writer, slice_make(i % 8 == 0 ? "like" : "view", 4));
        pack_write_u64(&writer, s_item(self));
        pack_write_u64(&writer, 1 + prng_below(&self->prng, S_USER_COUNT));
    }
    client_request_end(&writer);
}

static void s_encode_columns(s_bench_t *self)
{
    static uint8_t s_items[8 * S_COLUMNS];
    static uint8_t s_users[8 * S_COLUMNS];
    pack_writer_t writer;
    buffer_clear(&self->out);
    for (size_t i = 0; i < S_COLUMNS; i++) {
        bytes_put_u64(s_items + 8 * i, s_item(self));
        bytes_put_u64(s_users + 8 * i, 1 + prng_below(&self->prng, S_USER_COUNT));
    }
    client_request_begin(&writer, &self->out, "signals", ++self->next_id);
    pack_put_map(&writer, "columns");
    pack_put_u64(&writer, "n", S_COLUMNS);
    pack_put_text(&writer, "signal", "view");
    pack_put_bin(&writer, "item", slice_make(s_items, sizeof(s_items)));
    pack_put_bin(&writer, "user", slice_make(s_users, sizeof(s_users)));
    pack_close(&writer);
    client_request_end(&writer);
}

static void s_encode_signal(s_bench_t *self, uint64_t item)
{
    pack_writer_t writer;
    buffer_clear(&self->out);
    client_request_begin(&writer, &self->out, "signal", ++self->next_id);
    pack_put_text(&writer, "signal", "view");
    pack_put_u64(&writer, "item", item);
    client_request_end(&writer);
}

static void s_encode_count(s_bench_t *self, uint64_t item)
{
    pack_writer_t writer;
    buffer_clear(&self->out);
    client_request_begin(&writer, &self->out, "count", ++self->next_id);
    pack_put_text(&writer, "signal", "view");
    pack_put_u64(&writer, "item", item);
    pack_put_text(&writer, "window", "all");
    client_request_end(&writer);
}

/* Sends what stands in self->out, encoded under self->next_id. */
static void s_send(s_bench_t *self, s_gateway_t *gateway)
{
    self->sent_ns[self->next_id % S_SAMPLE_COUNT_MAX] = s_now_ns();
    int sent = zmq_send(gateway->socket, self->out.data, self->out.size, 0);
    CHECK(sent >= 0);
}

/* Takes one answer within wait_ms; false: none came. out ret_id may be NULL */
static bool s_receive(s_bench_t *self,
                      s_gateway_t *gateway,
                      int wait_ms,
                      client_answer_t *ret_answer,
                      zmq_msg_t *frame)
{
    zmq_pollitem_t item = {.socket = gateway->socket, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, wait_ms) <= 0) {
        return false;
    }
    int size = zmq_msg_recv(frame, gateway->socket, 0);
    CHECK(size >= 0);
    errbuf_t errbuf;
    slice_t body = slice_make(zmq_msg_data(frame), zmq_msg_size(frame));
    err_t err = client_answer_read(body, ret_answer, &errbuf);
    CHECK(err == ERR_OK && ret_answer->has_id);
    (void)self;
    return true;
}

static void s_note(s_bench_t *self, const client_answer_t *answer)
{
    if (!answer->ok) {
        if (self->refused++ == 0) {
            (void)fprintf(stderr, "bench_mesh: first refusal: %s: %.*s\n", code_name(answer->code),
                          (int)answer->message.size, (const char *)answer->message.data);
        }
        return;
    }
    if (self->sample_count < S_SAMPLE_COUNT_MAX) {
        self->samples_ns[self->sample_count++] =
            s_now_ns() - self->sent_ns[answer->id % S_SAMPLE_COUNT_MAX];
    }
}

/* -- figures ----------------------------------------------------------------------------------- */

static int s_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void s_print_percentiles(const char *name, int64_t *samples_ns, uint32_t count)
{
    if (count == 0) {
        (void)printf("%s_count 0 requests\n", name);
        return;
    }
    qsort(samples_ns, count, sizeof(*samples_ns), s_compare);
    uint32_t place_p50 = count / 2;
    uint64_t place_p99 = (uint64_t)count * 99 / 100;
    (void)printf("%s_p50 %.3f ms\n", name, (double)samples_ns[place_p50] / 1e6);
    (void)printf("%s_p99 %.3f ms\n", name, (double)samples_ns[place_p99] / 1e6);
    (void)printf("%s_max %.3f ms\n", name, (double)samples_ns[count - 1] / 1e6);
    (void)printf("%s_count %u requests\n", name, count);
}

/* -- closed loop ------------------------------------------------------------------------------- */

/* Requests under way to one gateway. */
typedef struct {
    bool columns;
    uint32_t outstanding; /* wanted */
    uint32_t in_flight;
} s_pipe_t;

/* Fills the pipe while `more`, and takes the answers that are there. */
static void s_turn_pipe(
    s_bench_t *self, s_gateway_t *gateway, s_pipe_t *pipe, bool more, zmq_msg_t *frame)
{
    while (more && pipe->in_flight < pipe->outstanding) {
        if (pipe->columns) {
            s_encode_columns(self);
        } else {
            s_encode_rows(self);
        }
        s_send(self, gateway);
        pipe->in_flight++;
    }
    client_answer_t answer;
    while (pipe->in_flight > 0 && s_receive(self, gateway, 0, &answer, frame)) {
        s_note(self, &answer);
        pipe->in_flight--;
    }
}

/* Waits for any answer; false: none came for 10 s. */
static bool s_wait_any(const s_bench_t *self, int wait_ms)
{
    zmq_pollitem_t items[REGION_COUNT_MAX];
    for (uint32_t g = 0; g < self->gateway_count; g++) {
        items[g] = (zmq_pollitem_t){.socket = self->gateways[g].socket, .events = ZMQ_POLLIN};
    }
    return zmq_poll(items, (int)self->gateway_count, wait_ms) > 0;
}

static void s_run_closed(s_bench_t *self, bool columns, int64_t seconds, uint32_t outstanding)
{
    uint64_t per_request = columns ? S_COLUMNS : S_ROWS;
    s_pipe_t pipes[REGION_COUNT_MAX];
    for (uint32_t g = 0; g < self->gateway_count; g++) {
        pipes[g] = (s_pipe_t){.columns = columns, .outstanding = outstanding};
    }
    int64_t started_ns = s_now_ns();
    int64_t end_ns = started_ns + seconds * S_NS_PER_S;
    zmq_msg_t frame;
    CHECK(zmq_msg_init(&frame) == 0);
    bool is_alive = true;
    bool more = true;
    uint32_t in_flight = 0;
    while (is_alive && (more || in_flight > 0)) {
        more = s_now_ns() < end_ns;
        in_flight = 0;
        for (uint32_t g = 0; g < self->gateway_count; g++) {
            s_turn_pipe(self, &self->gateways[g], &pipes[g], more, &frame);
            in_flight += pipes[g].in_flight;
        }
        /* All answers may have come in one turn: then there is nothing to wait for. */
        is_alive = in_flight == 0 || s_wait_any(self, 10000);
    }
    if (!is_alive) {
        (void)fprintf(stderr, "bench_mesh: no answer for 10 s, %u requests in flight\n", in_flight);
    }
    (void)zmq_msg_close(&frame);
    double took_s = (double)(s_now_ns() - started_ns) / 1e9;
    (void)printf("%s_rate %.0f signals/s\n", columns ? "columns" : "rows",
                 (double)self->sample_count * (double)per_request / took_s);
    s_print_percentiles(columns ? "columns_ack" : "rows_ack", self->samples_ns, self->sample_count);
}

static void s_run_single(s_bench_t *self, int64_t seconds)
{
    int64_t end_ns = s_now_ns() + seconds * S_NS_PER_S;
    zmq_msg_t frame;
    CHECK(zmq_msg_init(&frame) == 0);
    while (s_now_ns() < end_ns) {
        client_answer_t answer;
        s_encode_signal(self, s_item(self));
        s_send(self, &self->gateways[0]);
        if (!s_receive(self, &self->gateways[0], 10000, &answer, &frame)) {
            (void)fprintf(stderr, "bench_mesh: no answer within 10 s\n");
            break;
        }
        s_note(self, &answer);
    }
    (void)zmq_msg_close(&frame);
    s_print_percentiles("single_ack", self->samples_ns, self->sample_count);
}

/* -- open loop with probes --------------------------------------------------------------------- */

enum { S_OPEN_BATCH = 100 };

static void s_encode_batch(s_bench_t *self)
{
    pack_writer_t writer;
    buffer_clear(&self->out);
    client_request_begin(&writer, &self->out, "signals", ++self->next_id);
    pack_key(&writer, "rows");
    pack_write_array(&writer, S_OPEN_BATCH);
    for (int i = 0; i < S_OPEN_BATCH; i++) {
        pack_write_array(&writer, 2);
        pack_write_str(&writer, slice_make("view", 4));
        pack_write_u64(&writer, s_item(self));
    }
    client_request_end(&writer);
}

/* One probe at a time: written through gateway 0, counted through `reader` until it shows. */
typedef struct {
    uint64_t item;
    int64_t written_ns;
    uint64_t write_id;
    uint64_t read_id; /* in flight; 0 none */
    uint32_t reader;
} s_probe_t;

/* The `count` of a count reply. */
static uint64_t s_count_of(slice_t body)
{
    pack_reader_t reader = pack_reader(body);
    pack_value_t value;
    if (!pack_next(&reader, &value) || value.kind != PACK_MAP) {
        return 0;
    }
    uint32_t pairs = value.as.count;
    for (uint32_t i = 0; i < pairs; i++) {
        uint64_t count = 0;
        if (!pack_next(&reader, &value)) {
            return 0;
        }
        bool is_count = slice_equal(value.as.bytes, slice_make("count", 5));
        if (is_count) {
            return pack_next(&reader, &value) && pack_as_u64(&value, &count) ? count : 0;
        }
        (void)pack_skip(&reader);
    }
    return 0;
}

static void s_start_probe(s_bench_t *self, s_probe_t *probe)
{
    CHECK(self->gateway_count > 1);
    probe->item++;
    probe->reader = 1 + (uint32_t)(probe->item % (self->gateway_count - 1));
    s_encode_signal(self, probe->item);
    probe->write_id = self->next_id;
    probe->written_ns = s_now_ns();
    s_send(self, &self->gateways[0]);
    s_encode_count(self, probe->item);
    probe->read_id = self->next_id;
    s_send(self, &self->gateways[probe->reader]);
}

static void s_take(s_bench_t *self,
                   s_probe_t *probe,
                   uint32_t g,
                   zmq_msg_t *frame,
                   int64_t *visible_ns,
                   uint32_t *visible_count)
{
    client_answer_t answer;
    while (s_receive(self, &self->gateways[g], 0, &answer, frame)) {
        if (answer.id != probe->read_id) {
            s_note(self, &answer);
            continue;
        }
        slice_t body = slice_make(zmq_msg_data(frame), zmq_msg_size(frame));
        if (answer.ok && s_count_of(body) > 0) {
            visible_ns[(*visible_count)++] = s_now_ns() - probe->written_ns;
            probe->read_id = 0;
        } else {
            s_encode_count(self, probe->item);
            probe->read_id = self->next_id;
            s_send(self, &self->gateways[g]);
        }
    }
}

static void s_run_visible(s_bench_t *self, int64_t seconds, uint64_t rate)
{
    int64_t started_ns = s_now_ns();
    int64_t end_ns = started_ns + seconds * S_NS_PER_S;
    int64_t period_ns =
        rate == 0 ? S_NS_PER_S : (int64_t)(S_OPEN_BATCH * S_NS_PER_S / (int64_t)rate);
    int64_t next_ns = started_ns;
    int64_t next_probe_ns = started_ns;
    uint64_t sent = 0;
    s_probe_t probe = {.item = S_PROBE_ITEM + prng_next(&self->prng) % S_PROBE_ITEM};
    int64_t *visible_ns = calloc(S_SAMPLE_COUNT_MAX, sizeof(*visible_ns));
    uint32_t visible_count = 0;
    zmq_msg_t frame;
    CHECK(visible_ns != NULL && zmq_msg_init(&frame) == 0);
    while (s_now_ns() < end_ns) {
        int64_t now_ns = s_now_ns();
        for (; rate > 0 && next_ns <= now_ns; next_ns += period_ns) {
            s_encode_batch(self);
            s_send(self, &self->gateways[sent++ % self->gateway_count]);
        }
        if (probe.read_id == 0 && next_probe_ns <= now_ns) {
            next_probe_ns = now_ns + S_NS_PER_S / 200;
            s_start_probe(self, &probe);
        }
        (void)s_wait_any(self, 1);
        for (uint32_t g = 0; g < self->gateway_count; g++) {
            s_take(self, &probe, g, &frame, visible_ns, &visible_count);
        }
    }
    (void)zmq_msg_close(&frame);
    (void)printf("offered_rate %.0f signals/s\n",
                 (double)(sent * S_OPEN_BATCH) / ((double)(s_now_ns() - started_ns) / 1e9));
    s_print_percentiles("visible", visible_ns, visible_count);
    s_print_percentiles("offered_ack", self->samples_ns, self->sample_count);
    free(visible_ns);
}

/* -- main -------------------------------------------------------------------------------------- */

static void s_connect(s_bench_t *self)
{
    self->context = zmq_ctx_new();
    for (uint32_t i = 0; i < self->topology.region_count; i++) {
        const topology_region_t *region = &self->topology.regions[i];
        s_gateway_t *gateway = &self->gateways[self->gateway_count++];
        char endpoint[ENDPOINT_SIZE];
        int linger = 0;
        (void)snprintf(endpoint, sizeof(endpoint), "tcp://%s:%u", region->at.host,
                       (unsigned)region->gateway_port);
        gateway->socket = zmq_socket(self->context, ZMQ_DEALER);
        CHECK(gateway->socket != NULL);
        CHECK(zmq_setsockopt(gateway->socket, ZMQ_LINGER, &linger, sizeof(linger)) == 0);
        CHECK(zmq_connect(gateway->socket, endpoint) == 0);
    }
}

static int s_usage(void)
{
    (void)fprintf(stderr, "usage: bench_mesh TOPOLOGY rows|columns SECONDS OUTSTANDING\n"
                          "       bench_mesh TOPOLOGY single SECONDS\n"
                          "       bench_mesh TOPOLOGY visible SECONDS RATE\n");
    return 2;
}

int main(int argc, char **argv)
{
    static s_bench_t s_bench;
    s_bench_t *self = &s_bench;
    errbuf_t errbuf;
    uint64_t seconds = 0;
    uint64_t last = 0;
    if (argc < 4 || text_to_u64(argv[3], 1, 3600, &seconds) != ERR_OK ||
        (argc > 4 && text_to_u64(argv[4], 0, 10000000, &last) != ERR_OK)) {
        return s_usage();
    }
    if (topology_load(argv[1], &self->topology, &errbuf) != ERR_OK) {
        (void)fprintf(stderr, "bench_mesh: %s\n", errbuf.text);
        return 1;
    }
    prng_init(&self->prng, (uint64_t)s_now_ns());
    self->sent_ns = calloc(S_SAMPLE_COUNT_MAX, sizeof(*self->sent_ns));
    self->samples_ns = calloc(S_SAMPLE_COUNT_MAX, sizeof(*self->samples_ns));
    CHECK(self->sent_ns != NULL && self->samples_ns != NULL);
    s_connect(self);
    bool columns = strcmp(argv[2], "columns") == 0;
    if (columns || strcmp(argv[2], "rows") == 0) {
        uint32_t outstanding = last == 0 || last > S_OUTSTANDING_MAX ? 8 : (uint32_t)last;
        s_run_closed(self, columns, (int64_t)seconds, outstanding);
    } else if (strcmp(argv[2], "single") == 0) {
        s_run_single(self, (int64_t)seconds);
    } else if (strcmp(argv[2], "visible") == 0) {
        s_run_visible(self, (int64_t)seconds, last);
    } else {
        return s_usage();
    }
    (void)printf("refused %llu requests\n", (unsigned long long)self->refused);
    for (uint32_t i = 0; i < self->gateway_count; i++) {
        (void)zmq_close(self->gateways[i].socket);
    }
    (void)zmq_ctx_term(self->context);
    free(self->sent_ns);
    free(self->samples_ns);
    buffer_done(&self->out);
    return 0;
}
