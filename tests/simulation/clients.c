#include "tests/simulation/clients.h"

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/wire/pack.h"
#include "tests/simulation/answers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    S_INFLIGHT_MAX = 4,        /* of one client */
    S_TIMEOUT_MS = 1500,       /* that a request is given */
    S_PATIENCE_MS = 1800,      /* then the gateway has died with it */
    S_RETRY_MS_MAX = 300,      /* before a request is repeated */
    S_TOKEN_ATTEMPT_COUNT = 6, /* of one request: the token is given up */
    S_STALE_COUNT_MAX = 4,     /* in a row: the token is given up */
    S_SIGNAL_COUNT = 4,        /* of the default schema */
    S_ITEM_COUNT_MAX = 4096,
    S_USER_BASE = 1000,
    S_USER_COUNT = 5,              /* whose signals a client sends */
    S_LATE_S_MAX = 90 * 24 * 3600, /* how far back events go */
    S_SAFE_S = 3 * 3600            /* all events are older than any clock that jumped back */
};

typedef enum { SESSION_START, SESSION_SIGNAL, SESSION_CLOSE } s_session_op_t;

/* A request that is not settled. */
typedef struct {
    bool is_used;
    bool is_sent; /* waits for its reply; else for its time to be sent again */
    uint32_t request;
    uint32_t attempts;
    int64_t due_ns;
    buffer_t body; /* encoded, without id */
    uint32_t pair; /* RELATION: which of the client's; READ of a relation too */
    bool is_hide;
    bool reads_pair;
    uint32_t item; /* READ of a count: index */
    uint8_t signal;
    uint64_t expected; /* READ of a count: at least */
    bool expects_hidden;
    uint64_t epoch; /* of the client's token when it was sent */
    s_session_op_t session_op;
} s_flight_t;

/* What a client knows of a pair that it hides and unhides. */
typedef struct {
    bool is_pending; /* a write is under way */
    bool has_hide;   /* the last write was one, and this client's token covers it */
    bool is_unsure; /* an unhide may be logged whose stamp nobody told: nothing is known for good */
} s_pair_t;

typedef struct {
    char producer[HISTORY_PRODUCER_SIZE];
    uint64_t next_seq;
    int64_t next_ns;      /* the next request is begun */
    token_t *token;       /* of all that it was told; owned */
    uint64_t token_epoch; /* rises when the token is given up */
    uint32_t stale_count;
    s_flight_t flights[S_INFLIGHT_MAX];
    s_pair_t pairs[CLIENTS_PAIR_COUNT];
    bool has_session;
    session_id_t session;
    uint64_t session_epoch;   /* of the token that knows of its start */
    uint32_t session_flights; /* requests of it that are not settled */
    uint32_t *least;          /* item x signal: events that a read with the token must count */
} s_client_t;

struct clients {
    world_t *world;
    history_t *history;
    clients_options_t options;
    prng_t prng;
    int64_t end_ns;
    s_client_t *list;
    uint64_t violation_count;
    char violation[256];
    clients_counters_t counters;
    answers_t answers;
    token_t *token; /* scratch */
    buffer_t out;
};

/* -- life -------------------------------------------------------------------------------------- */

static void s_on_reply(void *context, slice_t bytes);

clients_t *clients_new(world_t *world, history_t *history, const clients_options_t *options)
{
    clients_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    CHECK(options->item_count >= CLIENTS_PAIR_COUNT && options->item_count <= S_ITEM_COUNT_MAX);
    self->world = world;
    self->history = history;
    self->options = *options;
    self->end_ns = world_now_ns(world) + options->duration_ns;
    prng_init(&self->prng, options->seed);
    answers_init(&self->answers);
    self->list = calloc(options->client_count, sizeof(*self->list));
    self->token = calloc(1, sizeof(*self->token));
    CHECK(self->list != NULL && self->token != NULL);
    for (uint32_t i = 0; i < options->client_count; i++) {
        s_client_t *client = &self->list[i];
        (void)snprintf(client->producer, sizeof(client->producer), "client-%u", (unsigned)i);
        client->next_seq = 1;
        client->next_ns = world_now_ns(world) +
                          (int64_t)prng_below(&self->prng, (uint64_t)options->pause_ns_max + 1);
        client->least = calloc((size_t)options->item_count * S_SIGNAL_COUNT, sizeof(uint32_t));
        client->token = calloc(1, sizeof(*client->token));
        CHECK(client->least != NULL && client->token != NULL);
        for (uint32_t k = 0; k < S_INFLIGHT_MAX; k++) {
            buffer_init(&client->flights[k].body);
        }
    }
    world_set_client(world, s_on_reply, self);
    return self;
}

void clients_destroy(clients_t **self_p)
{
    clients_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    world_set_client(self->world, NULL, NULL);
    for (uint32_t i = 0; i < self->options.client_count; i++) {
        for (uint32_t k = 0; k < S_INFLIGHT_MAX; k++) {
            buffer_done(&self->list[i].flights[k].body);
        }
        free(self->list[i].least);
        free(self->list[i].token);
    }
    free(self->list);
    free(self->token);
    answers_done(&self->answers);
    buffer_done(&self->out);
    free(self);
    *self_p = NULL;
}

uint32_t clients_count(const clients_t *self)
{
    return self->options.client_count;
}

clients_pair_t clients_pair(const clients_t *self, uint32_t client, uint32_t index)
{
    CHECK(client < self->options.client_count && index < CLIENTS_PAIR_COUNT);
    return (clients_pair_t){
        .user = {S_USER_BASE + client},
        .item = {1 + (client * CLIENTS_PAIR_COUNT + index) % self->options.item_count}};
}

const char *clients_violation(const clients_t *self)
{
    return self->violation_count == 0 ? NULL : self->violation;
}

clients_counters_t clients_counters(const clients_t *self)
{
    clients_counters_t counters = self->counters;
    counters.compared = self->answers.compared_count;
    return counters;
}

static void s_violate(clients_t *self, uint32_t request, const char *what)
{
    if (self->violation_count++ == 0) {
        (void)snprintf(self->violation, sizeof(self->violation), "client, request %u: %.220s",
                       request, what);
    }
}

/* -- requests ---------------------------------------------------------------------------------- */

static int64_t s_event_time(clients_t *self)
{
    int64_t newest_s = world_wall_ns(self->world) / 1000000000 - S_SAFE_S;
    bool is_late = prng_chance(&self->prng, 0.1);
    uint64_t back_s = prng_below(&self->prng, is_late ? S_LATE_S_MAX : 60);
    return (newest_s - (int64_t)back_s) * 1000000000 +
           (int64_t)prng_below(&self->prng, 1000) * 1000000;
}

/* A weight that a 32-bit float cannot hold, most of the time. */
static double s_weight(clients_t *self)
{
    return prng_chance(&self->prng, 0.3) ? 1.0 : (prng_unit(&self->prng) - 0.2) * 8.0;
}

/* Also of whom attributes are put, now and then: then its signals are in a cohort. */
static uint64_t s_user(clients_t *self, uint32_t client)
{
    return S_USER_BASE + client + 100 * prng_below(&self->prng, S_USER_COUNT);
}

/* The same in every copy of the request. */
static void s_put_attributes(pack_writer_t *writer, uint32_t client, uint32_t request)
{
    static const char *const s_locales[] = {"AP", "EU", "US"};
    pack_put_text(writer, "op", "put_user");
    pack_put_u64(writer, "user", S_USER_BASE + client + 100 * (request % S_USER_COUNT));
    pack_put_map(writer, "attrs");
    pack_put_text(writer, "locale", s_locales[request / S_USER_COUNT % 3]);
    pack_close(writer);
}

static void s_draw_events(clients_t *self, uint32_t number, uint32_t client)
{
    uint32_t count = 1 + (uint32_t)prng_below(&self->prng, self->options.events_max);
    history_request(self->history, number)->first_event = history_event_count(self->history);
    history_request(self->history, number)->event_count = count;
    for (uint32_t i = 0; i < count; i++) {
        bool has_user = prng_chance(&self->prng, 0.7);
        signal_event_t event = {
            .item = {1 + prng_below(&self->prng, self->options.item_count)},
            .user = {has_user ? s_user(self, client) : 0},
            .ts_ns = s_event_time(self),
            .weight = s_weight(self),
            .signal = (uint8_t)(1 + prng_below(&self->prng, S_SIGNAL_COUNT)),
        };
        history_add_event(self->history, number, event);
    }
}

/* One event as a signal of the client's session; the record has the session's user. */
static void s_draw_session_event(clients_t *self, uint32_t number, const s_client_t *client)
{
    history_request(self->history, number)->first_event = history_event_count(self->history);
    history_request(self->history, number)->event_count = 1;
    signal_event_t event = {
        .item = {1 + prng_below(&self->prng, self->options.item_count)},
        .user = {bytes_get_u64(client->session.bytes)},
        .ts_ns = s_event_time(self),
        .weight = s_weight(self),
        .signal = (uint8_t)(1 + prng_below(&self->prng, S_SIGNAL_COUNT)),
    };
    history_add_event(self->history, number, event);
}

static const char *s_signal_name(uint8_t signal)
{
    static const char *const s_names[] = {"", "view", "like", "share", "skip"};
    return s_names[signal];
}

static void s_put_session(clients_t *self,
                          pack_writer_t *writer,
                          uint32_t index,
                          const s_flight_t *flight)
{
    static const char *const s_ops[] = {"session_start", "session_signal", "session_close"};
    const s_client_t *client = &self->list[index];
    const history_request_t *request = history_request(self->history, flight->request);
    pack_put_text(writer, "op", s_ops[flight->session_op]);
    if (flight->session_op == SESSION_START) {
        pack_put_u64(writer, "user", S_USER_BASE + index);
        pack_put_text(writer, "agent", client->producer);
    } else {
        pack_put_bin(writer, "session", slice_make(client->session.bytes, SESSION_ID_SIZE));
    }
    if (flight->session_op == SESSION_SIGNAL) {
        const signal_event_t *event = &history_event(self->history, request->first_event)->event;
        pack_put_text(writer, "signal", s_signal_name(event->signal));
        pack_put_u64(writer, "item", event->item.value);
        pack_put_f64(writer, "weight", event->weight);
        pack_put_u64(writer, "ts", (uint64_t)event->ts_ns);
    }
}

static void s_put_columns(clients_t *self, pack_writer_t *writer, const history_request_t *request)
{
    static uint8_t s_column[4096];
    uint32_t count = request->event_count;
    CHECK(8 * (size_t)count <= sizeof(s_column));
    const history_event_t *events = history_event(self->history, request->first_event);
    pack_put_map(writer, "columns");
    pack_put_u64(writer, "n", count);
    for (uint32_t i = 0; i < count; i++) {
        s_column[i] = events[i].event.signal;
    }
    pack_put_bin(writer, "signal", slice_make(s_column, count));
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_u64(s_column + (size_t)8 * i, events[i].event.item.value);
    }
    pack_put_bin(writer, "item", slice_make(s_column, (size_t)8 * count));
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_u64(s_column + (size_t)8 * i, events[i].event.user.value);
    }
    pack_put_bin(writer, "user", slice_make(s_column, (size_t)8 * count));
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_f64(s_column + (size_t)8 * i, events[i].event.weight);
    }
    pack_put_bin(writer, "weight", slice_make(s_column, (size_t)8 * count));
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_u64(s_column + (size_t)8 * i, (uint64_t)events[i].event.ts_ns);
    }
    pack_put_bin(writer, "ts", slice_make(s_column, (size_t)8 * count));
    pack_close(writer);
}

static void s_put_write(pack_writer_t *writer,
                        const s_client_t *client,
                        const history_request_t *request)
{
    static const char *const s_levels[] = {"", "local", "replicated", "all"};
    pack_put_text(writer, "ack", s_levels[request->level]);
    pack_put_u64(writer, "timeout_ms", S_TIMEOUT_MS);
    if (request->has_producer) {
        pack_put_text(writer, "producer", client->producer);
        pack_put_u64(writer, "seq", request->seq);
    }
}

/* Keys of the map but for the id; the token is that of the first attempt. */
static void s_encode(clients_t *self, uint32_t index, s_flight_t *flight)
{
    s_client_t *client = &self->list[index];
    const history_request_t *request = history_request(self->history, flight->request);
    clients_pair_t pair = clients_pair(self, index, flight->pair);
    pack_writer_t writer;
    buffer_clear(&flight->body);
    pack_writer_init(&writer, &flight->body);
    pack_open_map(&writer);
    pack_put_u64(&writer, "id",
                 (uint64_t)flight->request << 16 | (uint64_t)(flight - client->flights) << 12 |
                     index);
    if (request->kind == HISTORY_SIGNALS) {
        pack_put_text(&writer, "op", "signals");
        s_put_columns(self, &writer, request);
        s_put_write(&writer, client, request);
    } else if (request->kind == HISTORY_RELATION) {
        pack_put_text(&writer, "op", flight->is_hide ? "hide" : "unhide");
        pack_put_u64(&writer, "user", pair.user.value);
        pack_put_u64(&writer, "item", pair.item.value);
        s_put_write(&writer, client, request);
    } else if (request->kind == HISTORY_USER) {
        s_put_attributes(&writer, index, flight->request);
        s_put_write(&writer, client, request);
    } else if (request->kind == HISTORY_SESSION) {
        s_put_session(self, &writer, index, flight);
        s_put_write(&writer, client, request);
    } else if (flight->reads_pair) {
        pack_put_text(&writer, "op", "retrieve");
        pack_put_u64(&writer, "user", pair.user.value);
        pack_put_array(&writer, "candidates");
        pack_item(&writer);
        pack_write_u64(&writer, pair.item.value);
        pack_close(&writer);
    } else {
        pack_put_text(&writer, "op", "count");
        pack_put_u64(&writer, "item", flight->item + 1);
        pack_put_text(&writer, "signal", s_signal_name(flight->signal));
        pack_put_text(&writer, "window", "all");
    }
    if ((client->token->count > 0 || client->token->hlc_ns > 0) &&
        (request->kind != HISTORY_SIGNALS || prng_chance(&self->prng, 0.3))) {
        buffer_clear(&self->out);
        CHECK(token_encode(client->token, &self->out) == ERR_OK);
        pack_put_bin(&writer, "token", buffer_slice(&self->out));
    }
    pack_close(&writer);
    pack_writer_done(&writer);
}

static void s_send(clients_t *self, s_flight_t *flight)
{
    const topology_t *topology = world_topology(self->world);
    uint64_t at = prng_below(&self->prng, topology->region_count);
    process_address_t gateway = {PROCESS_GATEWAY, topology->regions[at].id, {0}};
    flight->attempts++;
    flight->is_sent = true;
    flight->due_ns = world_now_ns(self->world) + S_PATIENCE_MS * WORLD_MS;
    self->counters.sent++;
    if (world_send(self->world, gateway, buffer_slice(&flight->body)) != ERR_OK) {
        flight->is_sent = false;
        flight->due_ns = world_now_ns(self->world) +
                         (1 + (int64_t)prng_below(&self->prng, S_RETRY_MS_MAX)) * WORLD_MS;
    }
}

/* The request as it is, at every gateway at once; whatever comes of these copies, their answers are
 * compared. */
static void s_send_copies(clients_t *self, const s_flight_t *flight)
{
    const topology_t *topology = world_topology(self->world);
    for (uint32_t i = 0; i < topology->region_count; i++) {
        process_address_t gateway = {PROCESS_GATEWAY, topology->regions[i].id, {0}};
        self->counters.sent++;
        (void)world_send(self->world, gateway, buffer_slice(&flight->body));
    }
}

static s_flight_t *s_free_flight(s_client_t *client)
{
    for (uint32_t i = 0; i < S_INFLIGHT_MAX; i++) {
        if (!client->flights[i].is_used) {
            return &client->flights[i];
        }
    }
    return NULL;
}

static void s_begin_read(clients_t *self, const s_client_t *client, s_flight_t *flight)
{
    flight->reads_pair = prng_chance(&self->prng, 0.4);
    if (flight->reads_pair) {
        flight->pair = (uint32_t)prng_below(&self->prng, CLIENTS_PAIR_COUNT);
        const s_pair_t *pair = &client->pairs[flight->pair];
        flight->expects_hidden = !pair->is_pending && pair->has_hide && !pair->is_unsure;
        return;
    }
    flight->item = (uint32_t)prng_below(&self->prng, self->options.item_count);
    flight->signal = (uint8_t)(1 + prng_below(&self->prng, S_SIGNAL_COUNT));
    flight->expected = client->least[flight->item * S_SIGNAL_COUNT + flight->signal - 1U];
}

/* What is next of the client's session; false when an answer has to come first. It is closed only
 * when nothing of it is under way: a signal behind the close would be refused. */
static bool s_begin_session(clients_t *self, s_client_t *client, s_flight_t *flight)
{
    bool closes =
        client->has_session && client->session_flights == 0 && prng_chance(&self->prng, 0.1);
    if (!client->has_session && client->session_flights > 0) {
        return false;
    }
    flight->session_op = closes                ? SESSION_CLOSE
                         : client->has_session ? SESSION_SIGNAL
                                               : SESSION_START;
    client->session_flights++;
    history_request_t *request = history_request(self->history, flight->request);
    request->level = ACK_REPLICATED;
    request->has_producer = true;
    request->seq = client->next_seq++;
    if (flight->session_op == SESSION_SIGNAL) {
        s_draw_session_event(self, flight->request, client);
    }
    return true;
}

static history_kind_t s_draw_kind(clients_t *self)
{
    double lot = prng_unit(&self->prng);
    return lot < 0.65   ? HISTORY_SIGNALS
           : lot < 0.74 ? HISTORY_RELATION
           : lot < 0.76 ? HISTORY_USER
           : lot < 0.85 ? HISTORY_SESSION
                        : HISTORY_READ;
}

/* Reads that are under way may be answered before or after what is begun now. */
static void s_expect_no_longer(s_client_t *client, uint32_t pair)
{
    for (uint32_t i = 0; i < S_INFLIGHT_MAX; i++) {
        s_flight_t *flight = &client->flights[i];
        if (flight->is_used && flight->reads_pair && flight->pair == pair) {
            flight->expects_hidden = false;
        }
    }
}

static void s_begin_relation(clients_t *self, s_client_t *client, s_flight_t *flight)
{
    flight->pair = (uint32_t)prng_below(&self->prng, CLIENTS_PAIR_COUNT);
    flight->is_hide = prng_chance(&self->prng, 0.6);
    if (client->pairs[flight->pair].is_pending) { /* one after the other */
        history_request(self->history, flight->request)->kind = HISTORY_READ;
        flight->reads_pair = true;
        flight->expects_hidden = false;
    } else {
        client->pairs[flight->pair].is_pending = true;
        if (!flight->is_hide) {
            s_expect_no_longer(client, flight->pair);
        }
    }
}

/* Any write but those of sessions. */
static void s_begin_write(clients_t *self, uint32_t index, s_flight_t *flight)
{
    s_client_t *client = &self->list[index];
    history_request_t *request = history_request(self->history, flight->request);
    double level = prng_unit(&self->prng);
    bool is_local = level < 0.15 && self->options.with_local_level;
    request->level = is_local ? ACK_LOCAL : level < 0.85 ? ACK_REPLICATED : ACK_ALL;
    request->has_producer = prng_chance(&self->prng, 0.8);
    request->seq = request->has_producer ? client->next_seq++ : 0;
    if (request->kind == HISTORY_SIGNALS) {
        s_draw_events(self, flight->request, index);
    } else if (request->kind == HISTORY_RELATION) {
        s_begin_relation(self, client, flight);
    }
}

/* Whether copies of it do no harm: a late copy of a register write has a stamp of its own. */
static bool s_may_copy(const history_request_t *request)
{
    return request->kind == HISTORY_SIGNALS && request->has_producer;
}

/* out false: this client has to wait for an answer first */
static bool s_begin(clients_t *self, uint32_t index)
{
    s_client_t *client = &self->list[index];
    s_flight_t *flight = s_free_flight(client);
    if (flight == NULL) {
        return false;
    }
    buffer_t body = flight->body;
    *flight = (s_flight_t){.is_used = true, .body = body, .epoch = client->token_epoch};
    flight->request = history_add_request(self->history);
    history_request_t *request = history_request(self->history, flight->request);
    request->kind = s_draw_kind(self);
    request->client = (uint16_t)index;
    if (request->kind == HISTORY_SESSION && !s_begin_session(self, client, flight)) {
        request->kind = HISTORY_READ;
    }
    if (request->kind == HISTORY_READ) {
        self->counters.reads++;
        s_begin_read(self, client, flight);
    } else if (request->kind != HISTORY_SESSION) {
        s_begin_write(self, index, flight);
    }
    self->counters.requests++;
    s_encode(self, index, flight);
    s_send(self, flight);
    if (s_may_copy(request) && prng_chance(&self->prng, 0.3)) {
        s_send_copies(self, flight);
    }
    return true;
}

/* -- replies ----------------------------------------------------------------------------------- */

static bool s_read_bool(slice_t bytes, const char *key)
{
    pack_value_t value = pack_get(bytes, key);
    return value.kind == PACK_BOOL && value.as.boolean;
}

static void s_give_up_token(clients_t *self, s_client_t *client)
{
    token_clear(client->token);
    client->token_epoch++;
    client->stale_count = 0;
    memset(client->least, 0, (size_t)self->options.item_count * S_SIGNAL_COUNT * sizeof(uint32_t));
    for (uint32_t i = 0; i < CLIENTS_PAIR_COUNT; i++) {
        client->pairs[i].has_hide = false;
    }
}

/* Requests in flight together each lack what the others' replies say: the client keeps the union. */
static void s_keep_token(clients_t *self,
                         s_client_t *client,
                         const s_flight_t *flight,
                         slice_t bytes)
{
    pack_value_t value = pack_get(bytes, "token");
    if (value.kind != PACK_BIN || flight->epoch != client->token_epoch) {
        return;
    }
    errbuf_t errbuf;
    err_t err = token_decode(self->token, value.as.bytes, &errbuf);
    CHECK(err == ERR_OK);
    err = token_merge(client->token, self->token);
    buffer_clear(&self->out);
    if (err != ERR_OK || token_encode(client->token, &self->out) != ERR_OK) {
        s_give_up_token(self, client); /* more streams than a token holds */
    }
}

/* What the client may rely on from now on, for its token covers it. */
static void s_note_least(clients_t *self, s_client_t *client, const history_request_t *request)
{
    for (uint32_t i = 0; i < request->event_count; i++) {
        const signal_event_t *event =
            &history_event(self->history, request->first_event + i)->event;
        client->least[(event->item.value - 1) * S_SIGNAL_COUNT + event->signal - 1U]++;
    }
}

static void s_note_ack(history_request_t *request, slice_t bytes, int64_t now_ns)
{
    pack_value_t durability = pack_get(bytes, "durability");
    request->is_acked = true;
    request->acked_ns = now_ns;
    request->is_local_only =
        s_read_bool(bytes, "island") ||
        (durability.kind == PACK_STR && slice_equal(durability.as.bytes, slice_text("local")));
}

/* Behind a close the next one is a start. */
static void s_session_settled(s_client_t *client, const s_flight_t *flight, slice_t bytes)
{
    CHECK(client->session_flights > 0);
    client->session_flights--;
    if (flight->session_op == SESSION_START) {
        pack_value_t session = pack_get(bytes, "session");
        CHECK(session.kind == PACK_BIN && session.as.bytes.size == SESSION_ID_SIZE);
        memcpy(client->session.bytes, session.as.bytes.data, SESSION_ID_SIZE);
        client->has_session = true;
        client->session_epoch = flight->epoch;
    } else if (flight->session_op == SESSION_CLOSE) {
        client->has_session = false;
    }
}

static void s_write_ok(clients_t *self, s_client_t *client, s_flight_t *flight, slice_t bytes)
{
    history_request_t *request = history_request(self->history, flight->request);
    s_note_ack(request, bytes, world_now_ns(self->world));
    self->counters.acked++;
    self->counters.duplicates += s_read_bool(bytes, "duplicate") ? 1 : 0;
    if (request->kind == HISTORY_SESSION) {
        s_session_settled(client, flight, bytes);
    }
    if (request->kind == HISTORY_RELATION) {
        s_pair_t *pair = &client->pairs[flight->pair];
        pair->is_pending = false;
        pair->has_hide = flight->is_hide && flight->epoch == client->token_epoch;
        /* Copies that were stamped by several gateways may be logged; the highest stamp stays. */
        pair->is_unsure = pair->is_unsure || (!flight->is_hide && flight->attempts > 1);
    }
}

static void s_read_ok(clients_t *self, s_client_t *client, const s_flight_t *flight, slice_t bytes)
{
    char text[160];
    if (flight->epoch != client->token_epoch) {
        return; /* the token was given up meanwhile */
    }
    if (flight->reads_pair) {
        bool is_shown = pack_get(bytes, "items.0").kind == PACK_MAP;
        if (is_shown && flight->expects_hidden) {
            s_violate(self, flight->request, "an item is shown to a user who had hidden it");
        }
        return;
    }
    pack_value_t count = pack_get(bytes, "count");
    uint64_t found = 0;
    if (!pack_as_u64(&count, &found) || found < flight->expected) {
        (void)snprintf(text, sizeof(text),
                       "item %u signal %u: expected a count of at least %" PRIu64
                       " with this token, found %" PRIu64,
                       flight->item + 1, (unsigned)flight->signal, flight->expected, found);
        s_violate(self, flight->request, text);
    }
}

static code_t s_code_of(slice_t bytes)
{
    pack_value_t name = pack_get(bytes, "error.code");
    for (int code = 0; name.kind == PACK_STR && code < CODE_COUNT; code++) {
        if (slice_equal(name.as.bytes, slice_text(code_name((code_t)code)))) {
            return (code_t)code;
        }
    }
    return CODE_INTERNAL;
}

/* Codes that faults may bring; any other one is a defect. */
static bool s_is_expected(code_t code)
{
    return code == CODE_UNAVAILABLE || code == CODE_NOT_REPLICATED || code == CODE_PARTIAL ||
           code == CODE_OVERLOADED || code == CODE_STALE || code == CODE_TIMEOUT ||
           code == CODE_READ_ONLY || code == CODE_DISK_FULL || code == CODE_CLOCK_SKEW ||
           code == CODE_UNKNOWN_TENANT;
}

static void s_end(s_flight_t *flight)
{
    flight->is_used = false;
}

/* Not settled: again later, or never. */
/* A token may name events that only a lost disk had: then no write that carries it ever succeeds,
 * and the client begins anew without. */
static void s_review_token(clients_t *self, s_client_t *client, s_flight_t *flight)
{
    if (flight->attempts % S_TOKEN_ATTEMPT_COUNT == 0) {
        if (flight->epoch == client->token_epoch) {
            s_give_up_token(self, client);
        }
        s_encode(self, (uint32_t)(client - self->list), flight);
    }
}

static void s_repeat_later(clients_t *self, s_client_t *client, s_flight_t *flight)
{
    const history_request_t *request = history_request(self->history, flight->request);
    if (request->kind == HISTORY_READ || !request->has_producer) {
        self->counters.given_up += request->kind == HISTORY_READ ? 0 : 1;
        if (request->kind == HISTORY_RELATION) { /* maybe done: nothing is known of the pair */
            client->pairs[flight->pair].is_pending = false;
            client->pairs[flight->pair].has_hide = false;
            client->pairs[flight->pair].is_unsure |= !flight->is_hide;
        }
        s_end(flight);
        return;
    }
    s_review_token(self, client, flight);
    flight->is_sent = false;
    flight->due_ns = world_now_ns(self->world) +
                     (1 + (int64_t)prng_below(&self->prng, S_RETRY_MS_MAX)) * WORLD_MS;
}

static void s_failed(clients_t *self, s_client_t *client, s_flight_t *flight, slice_t bytes)
{
    code_t code = s_code_of(bytes);
    self->counters.by_code[code]++;
    bool is_session = history_request(self->history, flight->request)->kind == HISTORY_SESSION;
    /* A clock that jumped ahead has closed it for its age; or the token that knew of its start was given
     * up, and it is asked for where that has not arrived. */
    bool is_closed = code == CODE_BAD_REQUEST && flight->session_op == SESSION_SIGNAL;
    bool is_unknown = code == CODE_NOT_FOUND && flight->session_op != SESSION_START &&
                      client->session_epoch != client->token_epoch;
    if (is_session && (is_closed || is_unknown)) {
        client->session_flights--;
        client->has_session = false;
        s_end(flight);
        return;
    }
    if (!s_is_expected(code)) {
        pack_value_t message = pack_get(bytes, "error.message");
        char text[200];
        (void)snprintf(text, sizeof(text), "unexpected %s: %.*s", code_name(code),
                       message.kind == PACK_STR ? (int)message.as.bytes.size : 0,
                       message.kind == PACK_STR ? (const char *)message.as.bytes.data : "");
        s_violate(self, flight->request, text);
    }
    if (code == CODE_STALE) {
        self->counters.stale++;
        if (++client->stale_count >= S_STALE_COUNT_MAX) {
            s_give_up_token(self, client);
        }
    }
    s_repeat_later(self, client, flight);
}

/* Answers to what is settled long since count as well. */
static void s_compare_answer(clients_t *self, uint32_t number, slice_t bytes)
{
    const history_request_t *request = history_request(self->history, number);
    /* Not those for all shards, where copies beside the home shard's are logged as often as they are
     * sent. */
    bool has_one_copy = request->kind == HISTORY_SIGNALS || request->kind == HISTORY_RELATION ||
                        request->kind == HISTORY_SESSION;
    errbuf_t text;
    if (has_one_copy && request->has_producer &&
        !answers_take(&self->answers, number, bytes, &text)) {
        s_violate(self, number, text.text);
    }
}

static void s_on_reply(void *context, slice_t bytes)
{
    clients_t *self = context;
    pack_value_t id = pack_get(bytes, "id");
    uint64_t number = 0;
    if (!pack_as_u64(&id, &number)) {
        return; /* an operator's */
    }
    s_compare_answer(self, (uint32_t)(number >> 16), bytes);
    s_client_t *client = &self->list[number & 0xfff];
    s_flight_t *flight = &client->flights[number >> 12 & 0xf];
    if (!flight->is_used || flight->request != (uint32_t)(number >> 16)) {
        return; /* the answer to an earlier copy of what is settled */
    }
    if (!s_read_bool(bytes, "ok")) {
        if (flight->is_sent) {
            s_failed(self, client, flight, bytes);
        }
        return;
    }
    client->stale_count = 0;
    const history_request_t *request = history_request(self->history, flight->request);
    if (request->kind == HISTORY_READ) {
        s_read_ok(self, client, flight, bytes);
    } else {
        s_write_ok(self, client, flight, bytes);
    }
    s_keep_token(self, client, flight, bytes);
    if (request->kind == HISTORY_SIGNALS && flight->epoch == client->token_epoch) {
        s_note_least(self, client, request);
    }
    if (s_may_copy(request) && prng_chance(&self->prng, 0.3)) {
        s_send_copies(self, flight);
    }
    s_end(flight);
}

/* -- time -------------------------------------------------------------------------------------- */

static bool s_may_begin(const clients_t *self)
{
    return world_now_ns(self->world) < self->end_ns &&
           history_event_count(self->history) < self->options.event_count;
}

static const s_flight_t *s_flight(const clients_t *self, uint32_t index)
{
    return &self->list[index / S_INFLIGHT_MAX].flights[index % S_INFLIGHT_MAX];
}

int64_t clients_deadline_ns(const clients_t *self)
{
    int64_t deadline = INT64_MAX;
    for (uint32_t i = 0; s_may_begin(self) && i < self->options.client_count; i++) {
        deadline = self->list[i].next_ns < deadline ? self->list[i].next_ns : deadline;
    }
    for (uint32_t i = 0; i < self->options.client_count * S_INFLIGHT_MAX; i++) {
        const s_flight_t *flight = s_flight(self, i);
        deadline = flight->is_used && flight->due_ns < deadline ? flight->due_ns : deadline;
    }
    return deadline;
}

static void s_review(clients_t *self, s_client_t *client, s_flight_t *flight)
{
    if (!flight->is_used || flight->due_ns > world_now_ns(self->world)) {
        return;
    }
    if (flight->is_sent) {
        s_repeat_later(self, client, flight); /* its gateway is gone */
    } else {
        s_send(self, flight);
    }
}

void clients_act(clients_t *self)
{
    int64_t now_ns = world_now_ns(self->world);
    for (uint32_t i = 0; i < self->options.client_count; i++) {
        s_client_t *client = &self->list[i];
        for (uint32_t k = 0; k < S_INFLIGHT_MAX; k++) {
            s_review(self, client, &client->flights[k]);
        }
        if (s_may_begin(self) && client->next_ns <= now_ns) {
            (void)s_begin(self, i);
            client->next_ns =
                now_ns + 1 +
                (int64_t)prng_below(&self->prng, (uint64_t)self->options.pause_ns_max + 1);
        }
    }
}

bool clients_are_done(const clients_t *self)
{
    bool is_done = !s_may_begin(self);
    for (uint32_t i = 0; is_done && i < self->options.client_count * S_INFLIGHT_MAX; i++) {
        is_done = !s_flight(self, i)->is_used;
    }
    return is_done;
}

void clients_describe(const clients_t *self, errbuf_t *ret_text)
{
    uint32_t open = 0;
    uint32_t attempts = 0;
    for (uint32_t i = 0; i < self->options.client_count * S_INFLIGHT_MAX; i++) {
        const s_flight_t *flight = s_flight(self, i);
        open += flight->is_used ? 1 : 0;
        attempts += flight->is_used ? flight->attempts : 0;
    }
    errbuf_set(ret_text, "%u requests not settled after %u attempts in all", open, attempts);
}
