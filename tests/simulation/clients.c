#include "tests/simulation/clients_state.h"

#include "common/base/check.h"
#include "common/wire/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    S_PATIENCE_MS = 1800,      /* then the gateway has died with it */
    S_RETRY_MS_MAX = 300,      /* before a request is repeated */
    S_TOKEN_ATTEMPT_COUNT = 6, /* of one request: the token is given up */
    S_STALE_COUNT_MAX = 4,     /* in a row: the token is given up */
    S_ITEM_COUNT_MAX = 4096,
    S_CREATOR_BASE = 500,
    S_STAMP_STEP_MS = 500 /* of stamps that a client chooses: some are equal */
};

/* How often an answer is followed by a read of what it told. */
static const double s_read_after_chance = 0.12;

/* -- life -------------------------------------------------------------------------------------- */

static void s_on_reply(void *context, slice_t bytes);

clients_t *clients_new(world_t *world, history_t *history, const clients_options_t *options)
{
    clients_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    CHECK(options->item_count >= KNOWN_PAIR_COUNT && options->item_count <= S_ITEM_COUNT_MAX);
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
        clients_client_t *client = &self->list[i];
        (void)snprintf(client->producer, sizeof(client->producer), "client-%u", (unsigned)i);
        client->next_seq = 1;
        client->next_ns = world_now_ns(world) +
                          (int64_t)prng_below(&self->prng, (uint64_t)options->pause_ns_max + 1);
        client->token = calloc(1, sizeof(*client->token));
        CHECK(client->token != NULL);
        known_init(&client->known, options->item_count);
        for (uint32_t k = 0; k < CLIENTS_INFLIGHT_MAX; k++) {
            buffer_init(&client->flights[k].body);
            buffer_init(&client->flights[k].read.rows);
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
        for (uint32_t k = 0; k < CLIENTS_INFLIGHT_MAX; k++) {
            buffer_done(&self->list[i].flights[k].body);
            buffer_done(&self->list[i].flights[k].read.rows);
        }
        known_done(&self->list[i].known);
        free(self->list[i].token);
    }
    free(self->list);
    free(self->token);
    answers_done(&self->answers);
    buffer_done(&self->acks);
    buffer_done(&self->out);
    free(self);
    *self_p = NULL;
}

uint32_t clients_count(const clients_t *self)
{
    return self->options.client_count;
}

clients_watch_t clients_watch(const clients_t *self, uint32_t client, uint32_t index)
{
    CHECK(client < self->options.client_count);
    clients_watch_t watch = {{CLIENTS_USER_BASE + client}, known_action(index), 0};
    watch.target =
        watch.action == RELATION_HIDE
            ? 1 + (client * KNOWN_PAIR_COUNT + index) % self->options.item_count
            : S_CREATOR_BASE + (index - KNOWN_PAIR_COUNT) % (uint64_t)KNOWN_CREATOR_COUNT;
    return watch;
}

creator_id_t clients_creator(item_id_t item)
{
    return (creator_id_t){S_CREATOR_BASE + item.value % KNOWN_CREATOR_COUNT};
}

uint32_t clients_ack_count(const clients_t *self)
{
    return (uint32_t)(self->acks.size / sizeof(clients_ack_t));
}

const clients_ack_t *clients_ack(const clients_t *self, uint32_t index)
{
    CHECK(index < clients_ack_count(self));
    return (const clients_ack_t *)(const void *)self->acks.data + index;
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

static void s_send(clients_t *self, clients_flight_t *flight)
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
static void s_send_copies(clients_t *self, const clients_flight_t *flight)
{
    const topology_t *topology = world_topology(self->world);
    for (uint32_t i = 0; i < topology->region_count; i++) {
        process_address_t gateway = {PROCESS_GATEWAY, topology->regions[i].id, {0}};
        self->counters.sent++;
        (void)world_send(self->world, gateway, buffer_slice(&flight->body));
    }
}

static clients_flight_t *s_free_flight(clients_client_t *client)
{
    for (uint32_t i = 0; i < CLIENTS_INFLIGHT_MAX; i++) {
        if (!client->flights[i].is_used) {
            return &client->flights[i];
        }
    }
    return NULL;
}

/* Whether the client knows for good that the register is set. */
static bool s_is_sure(const clients_client_t *client, uint32_t reg)
{
    const clients_register_t *known = &client->registers[reg];
    return !known->is_pending && known->is_set && !known->is_unsure;
}

static uint32_t s_creator_index(const clients_t *self, uint32_t index, uint32_t pair)
{
    item_id_t item = {clients_watch(self, index, pair).target};
    return (uint32_t)(clients_creator(item).value - S_CREATOR_BASE);
}

static bool s_is_hidden(const clients_t *self, uint32_t index, uint32_t pair)
{
    const clients_client_t *client = &self->list[index];
    uint32_t mute = KNOWN_PAIR_COUNT + s_creator_index(self, index, pair);
    return s_is_sure(client, pair) ||
           (client->has_creator[pair] &&
            (s_is_sure(client, mute) || s_is_sure(client, mute + KNOWN_CREATOR_COUNT)));
}

static bool s_can_read_session(const clients_client_t *client)
{
    return client->known.has_session && client->session_epoch == client->token_epoch;
}

/* A read of anything. */
static void s_draw_read(clients_t *self, const clients_client_t *client, known_read_t *read)
{
    double lot = prng_unit(&self->prng);
    read->kind = lot < 0.3   ? KNOWN_READ_PAIR
                 : lot < 0.5 ? KNOWN_READ_COUNT
                 : lot < 0.7 ? KNOWN_READ_CELLS
                 : lot < 0.8 ? KNOWN_READ_SCORE
                 : lot < 0.9 ? KNOWN_READ_RELATION
                             : KNOWN_READ_SESSION;
    if (read->kind == KNOWN_READ_SESSION && !s_can_read_session(client)) {
        read->kind = KNOWN_READ_RELATION;
    }
    read->item = (uint32_t)prng_below(&self->prng, self->options.item_count);
    read->signal = (uint8_t)(1 + prng_below(&self->prng, KNOWN_SIGNAL_COUNT));
    read->index = (uint32_t)prng_below(&self->prng, KNOWN_PAIR_COUNT);
}

/* A pair whose item is shown or not by what this register says. */
static uint32_t s_pair_of(const clients_t *self, uint32_t index, uint32_t reg)
{
    uint32_t pair = reg < KNOWN_PAIR_COUNT ? reg : 0;
    while (reg >= KNOWN_PAIR_COUNT &&
           s_creator_index(self, index, pair) != (reg - KNOWN_PAIR_COUNT) % KNOWN_CREATOR_COUNT) {
        pair++;
    }
    return pair;
}

/* A read of what the client has just been told: what does not wait for the token is found out so. */
static void s_draw_read_after(clients_t *self, const clients_flight_t *told, known_read_t *read)
{
    const history_request_t *request = history_request(self->history, told->request);
    const clients_client_t *client = &self->list[request->client];
    bool is_first = prng_chance(&self->prng, 0.5);
    s_draw_read(self, client, read);
    if (request->kind == HISTORY_READ) {
        read->kind = told->read.kind;
        read->item = told->read.item;
        read->signal = told->read.signal;
        read->index = told->read.index;
    } else if (request->kind == HISTORY_SIGNALS) {
        uint64_t at = request->first_event + prng_below(&self->prng, request->event_count);
        const signal_event_t *event = &history_event(self->history, (uint32_t)at)->event;
        read->kind = is_first ? KNOWN_READ_CELLS : KNOWN_READ_COUNT;
        read->item = (uint32_t)(event->item.value - 1);
        read->signal = event->signal;
    } else if (request->kind == HISTORY_RELATION) {
        bool is_hide = told->reg < KNOWN_PAIR_COUNT;
        read->kind = is_first ? KNOWN_READ_RELATION : KNOWN_READ_PAIR;
        read->index = is_first && !is_hide
                          ? KNOWN_PAIR_COUNT + (told->reg - KNOWN_PAIR_COUNT) % KNOWN_CREATOR_COUNT
                          : s_pair_of(self, request->client, told->reg);
    } else if (request->kind == HISTORY_ITEM) {
        read->kind = KNOWN_READ_PAIR;
        read->index = told->pair;
    } else if (request->kind == HISTORY_SESSION) {
        read->kind = KNOWN_READ_SESSION;
    }
    if (read->kind == KNOWN_READ_SESSION && !s_can_read_session(client)) {
        read->kind = KNOWN_READ_COUNT;
    }
}

/* What is known when it is asked. */
static void s_begin_read(clients_t *self, uint32_t index, known_read_t *read)
{
    const clients_client_t *client = &self->list[index];
    read->is_hidden = read->kind == KNOWN_READ_PAIR && s_is_hidden(self, index, read->index);
    read->session = client->session;
    known_begin(&client->known, read);
    self->counters.reads++;
}

/* What is next of the client's session; false when an answer has to come first. It is closed only
 * when nothing of it is under way: a signal behind the close would be refused. */
static bool s_begin_session(clients_t *self, uint32_t index, const clients_flight_t *flight)
{
    clients_client_t *client = &self->list[index];
    bool closes =
        client->has_session && client->session_flights == 0 && prng_chance(&self->prng, 0.1);
    if (!client->has_session && client->session_flights > 0) {
        return false;
    }
    client->session_flights++;
    history_request_t *request = history_request(self->history, flight->request);
    request->level = ACK_REPLICATED;
    request->has_producer = true;
    request->seq = client->next_seq++;
    request->write.user = (user_id_t){CLIENTS_USER_BASE + index};
    request->write.session = client->session;
    request->write.op = closes                ? HISTORY_SESSION_CLOSE
                        : client->has_session ? HISTORY_SESSION_SIGNAL
                                              : HISTORY_SESSION_START;
    if (request->write.op == HISTORY_SESSION_SIGNAL) {
        clients_draw_session_event(self, flight->request, client);
    }
    return true;
}

static history_kind_t s_draw_kind(clients_t *self)
{
    double lot = prng_unit(&self->prng);
    return lot < 0.65   ? HISTORY_SIGNALS
           : lot < 0.75 ? HISTORY_RELATION
           : lot < 0.78 ? HISTORY_USER
           : lot < 0.81 ? HISTORY_ITEM
           : lot < 0.91 ? HISTORY_SESSION
                        : HISTORY_READ;
}

/* Reads that are under way may be answered before or after what is begun now. */
static void s_expect_no_longer(clients_t *self, uint32_t index, uint32_t reg)
{
    for (uint32_t i = 0; i < CLIENTS_INFLIGHT_MAX; i++) {
        clients_flight_t *flight = &self->list[index].flights[i];
        uint32_t mute = KNOWN_PAIR_COUNT + s_creator_index(self, index, flight->read.index);
        if (flight->is_used && flight->read.kind == KNOWN_READ_PAIR &&
            (flight->read.index == reg || reg == mute || reg == mute + KNOWN_CREATOR_COUNT)) {
            flight->read.is_hidden = false;
        }
    }
}

/* A hide more often than a mute or block. */
static uint32_t s_draw_register(clients_t *self)
{
    return prng_chance(&self->prng, 0.55)
               ? (uint32_t)prng_below(&self->prng, KNOWN_PAIR_COUNT)
               : KNOWN_PAIR_COUNT +
                     (uint32_t)prng_below(&self->prng, 2 * (uint64_t)KNOWN_CREATOR_COUNT);
}

/* A stamp from the last seconds, and sometimes one that was used before. */
static hlc_stamp_t s_draw_stamp(clients_t *self, uint32_t index)
{
    int64_t step_ns = S_STAMP_STEP_MS * WORLD_MS;
    int64_t step = world_wall_ns(self->world) / step_ns - (int64_t)prng_below(&self->prng, 4);
    return (hlc_stamp_t){.wall_ns = step * step_ns, .node = 1 + index};
}

/* false: another write of the register is under way; one after the other */
static bool s_begin_relation(clients_t *self, uint32_t index, clients_flight_t *flight)
{
    clients_client_t *client = &self->list[index];
    history_request_t *request = history_request(self->history, flight->request);
    flight->reg = s_draw_register(self);
    bool is_set = prng_chance(&self->prng, 0.6);
    clients_watch_t watch = clients_watch(self, index, flight->reg);
    clients_register_t *known = &client->registers[flight->reg];
    if (known->is_pending) {
        return false;
    }
    known->is_pending = true;
    request->write.action = watch.action;
    request->write.is_set = is_set;
    request->write.user = watch.user;
    request->write.target = watch.target;
    if (flight->reg == CLIENTS_STAMPED_REGISTER) { /* it may be older than what is there */
        request->has_stamp = true;
        request->write.hlc = s_draw_stamp(self, index);
        known->is_unsure = true;
    }
    if (!is_set) {
        s_expect_no_longer(self, index, flight->reg);
    }
    return true;
}

static void s_begin_user(clients_t *self, uint32_t index, uint32_t number)
{
    history_request_t *request = history_request(self->history, number);
    request->write.user =
        (user_id_t){CLIENTS_USER_BASE + index + 100 * (number % CLIENTS_USER_COUNT)};
    request->write.value = number / CLIENTS_USER_COUNT % CLIENTS_LOCALE_COUNT;
}

static void s_begin_item(clients_t *self, uint32_t index, clients_flight_t *flight)
{
    history_request_t *request = history_request(self->history, flight->request);
    flight->pair = (uint32_t)prng_below(&self->prng, KNOWN_PAIR_COUNT);
    request->write.target = clients_watch(self, index, flight->pair).target;
    request->write.value = clients_creator((item_id_t){request->write.target}).value;
}

/* Any write but those of sessions. */
static void s_begin_write(clients_t *self, uint32_t index, clients_flight_t *flight)
{
    clients_client_t *client = &self->list[index];
    history_request_t *request = history_request(self->history, flight->request);
    double level = prng_unit(&self->prng);
    bool is_local = level < 0.15 && self->options.with_local_level;
    request->level = is_local ? ACK_LOCAL : level < 0.85 ? ACK_REPLICATED : ACK_ALL;
    request->has_producer = prng_chance(&self->prng, 0.8);
    request->seq = request->has_producer ? client->next_seq++ : 0;
    if (request->kind == HISTORY_SIGNALS) {
        clients_draw_events(self, flight->request, index);
    } else if (request->kind == HISTORY_USER) {
        s_begin_user(self, index, flight->request);
    } else if (request->kind == HISTORY_ITEM) {
        s_begin_item(self, index, flight);
    }
}

/* Whether copies of it do no harm: a late copy of a register write has a stamp of its own. */
static bool s_may_copy(const history_request_t *request)
{
    return request->kind == HISTORY_SIGNALS && request->has_producer;
}

/* A request that is settled by no answer yet; NULL: this client has to wait for one first. */
static clients_flight_t *s_new_flight(clients_t *self, uint32_t index, history_kind_t kind)
{
    clients_client_t *client = &self->list[index];
    clients_flight_t *flight = s_free_flight(client);
    if (flight == NULL) {
        return NULL;
    }
    buffer_t body = flight->body;
    buffer_t rows = flight->read.rows;
    *flight = (clients_flight_t){
        .is_used = true, .body = body, .read.rows = rows, .epoch = client->token_epoch};
    flight->request = history_add_request(self->history);
    history_request(self->history, flight->request)->kind = kind;
    history_request(self->history, flight->request)->client = (uint16_t)index;
    self->counters.requests++;
    return flight;
}

static void s_begin(clients_t *self, uint32_t index)
{
    history_kind_t kind = s_draw_kind(self);
    clients_flight_t *flight = s_new_flight(self, index, kind);
    if (flight == NULL) {
        return;
    }
    history_request_t *request = history_request(self->history, flight->request);
    if ((kind == HISTORY_SESSION && !s_begin_session(self, index, flight)) ||
        (kind == HISTORY_RELATION && !s_begin_relation(self, index, flight))) {
        request->kind = HISTORY_READ;
    }
    if (request->kind == HISTORY_READ) {
        s_draw_read(self, &self->list[index], &flight->read);
        s_begin_read(self, index, &flight->read);
    } else if (request->kind != HISTORY_SESSION) {
        s_begin_write(self, index, flight);
    }
    clients_encode(self, index, flight);
    s_send(self, flight);
    if (s_may_copy(request) && prng_chance(&self->prng, 0.3)) {
        s_send_copies(self, flight);
    }
}

static void s_read_after(clients_t *self, uint32_t index, const clients_flight_t *told)
{
    clients_flight_t *flight = s_new_flight(self, index, HISTORY_READ);
    if (flight != NULL) {
        s_draw_read_after(self, told, &flight->read);
        s_begin_read(self, index, &flight->read);
        clients_encode(self, index, flight);
        s_send(self, flight);
    }
}

/* -- replies ----------------------------------------------------------------------------------- */

static bool s_read_bool(slice_t bytes, const char *key)
{
    pack_value_t value = pack_get(bytes, key);
    return value.kind == PACK_BOOL && value.as.boolean;
}

static void s_give_up_token(clients_client_t *client)
{
    token_clear(client->token);
    client->token_epoch++;
    client->stale_count = 0;
    known_clear(&client->known);
    memset(client->has_creator, 0, sizeof(client->has_creator));
    for (uint32_t i = 0; i < KNOWN_REGISTER_COUNT; i++) {
        client->registers[i].is_set = false;
    }
}

/* Requests in flight together each lack what the others' replies say: the client keeps the union. */
static void s_keep_token(clients_t *self,
                         clients_client_t *client,
                         const clients_flight_t *flight,
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
        s_give_up_token(client); /* more streams than a token holds */
    }
}

/* Where an answer says that the copy of one shard lies; false when it does not. in prefix  of the
 * shard's part, or empty */
static bool s_read_place(slice_t bytes, const char *prefix, clients_ack_t *ret_place)
{
    char path[4][40];
    static const char *const s_keys[] = {"shard", "origin", "seq_first", "seq_last"};
    for (uint32_t i = 0; i < 4; i++) {
        (void)snprintf(path[i], sizeof(path[i]), "%s%s", prefix, s_keys[i]);
    }
    uint64_t shard = 0;
    pack_value_t number = pack_get(bytes, path[0]);
    pack_value_t origin = pack_get(bytes, path[1]);
    pack_value_t first = pack_get(bytes, path[2]);
    pack_value_t last = pack_get(bytes, path[3]);
    if (origin.kind != PACK_STR || !pack_as_u64(&number, &shard) ||
        !pack_as_u64(&first, &ret_place->seq_first) || !pack_as_u64(&last, &ret_place->seq_last)) {
        return false;
    }
    ret_place->shard = (shard_id_t){(uint16_t)shard};
    ret_place->origin = history_origin(origin.as.bytes);
    return true;
}

static void s_note_place(clients_t *self,
                         const clients_flight_t *flight,
                         history_request_t *request,
                         clients_ack_t place)
{
    uint32_t shards = world_topology(self->world)->shard_count;
    if (place.shard.value == history_home(request, shards).value) {
        request->write.origin = place.origin;
        request->write.seq = place.seq_first;
    }
    if (request->kind == HISTORY_RELATION && request->write.hlc.wall_ns != 0) {
        place.client = request->client;
        place.reg = flight->reg;
        place.written = (known_register_t){request->write.hlc, request->write.is_set};
        buffer_append(&self->acks, &place, sizeof(place));
    }
}

/* Keeps where the copies of a write of registers lie: one, or one of each shard. */
static void s_note_places(clients_t *self,
                          const clients_flight_t *flight,
                          history_request_t *request,
                          slice_t bytes)
{
    clients_ack_t place = {0};
    if (s_read_place(bytes, "", &place)) {
        s_note_place(self, flight, request, place);
    }
    for (uint32_t i = 0; i < world_topology(self->world)->shard_count; i++) {
        char prefix[24];
        (void)snprintf(prefix, sizeof(prefix), "shards.%u.", (unsigned)i);
        if (s_read_place(bytes, prefix, &place)) {
            s_note_place(self, flight, request, place);
        }
    }
}

static void s_note_ack(clients_t *self,
                       const clients_flight_t *flight,
                       history_request_t *request,
                       slice_t bytes)
{
    request->is_acked = true;
    if (!request->has_stamp) {
        request->write.hlc = known_read_hlc(bytes, "hlc");
    }
    if (request->kind != HISTORY_SIGNALS) {
        s_note_places(self, flight, request, bytes);
    }
}

/* Behind a close the next one is a start. */
static void s_session_settled(clients_client_t *client,
                              const clients_flight_t *flight,
                              history_request_t *request,
                              slice_t bytes)
{
    CHECK(client->session_flights > 0);
    client->session_flights--;
    if (request->write.op == HISTORY_SESSION_START) {
        pack_value_t session = pack_get(bytes, "session");
        CHECK(session.kind == PACK_BIN && session.as.bytes.size == SESSION_ID_SIZE);
        memcpy(client->session.bytes, session.as.bytes.data, SESSION_ID_SIZE);
        request->write.session = client->session;
        client->has_session = true;
        client->session_epoch = flight->epoch;
    } else if (request->write.op == HISTORY_SESSION_CLOSE) {
        client->has_session = false;
    }
}

static void s_write_ok(clients_t *self,
                       clients_client_t *client,
                       clients_flight_t *flight,
                       slice_t bytes)
{
    history_request_t *request = history_request(self->history, flight->request);
    s_note_ack(self, flight, request, bytes);
    self->counters.acked++;
    self->counters.duplicates += s_read_bool(bytes, "duplicate") ? 1 : 0;
    if (request->kind == HISTORY_SESSION) {
        s_session_settled(client, flight, request, bytes);
    }
    if (request->kind == HISTORY_RELATION) {
        clients_register_t *known = &client->registers[flight->reg];
        known->is_pending = false;
        known->is_set = request->write.is_set && flight->epoch == client->token_epoch;
        /* Copies that were stamped by several gateways may be logged; the highest stamp stays. */
        known->is_unsure = known->is_unsure || (!request->write.is_set && flight->attempts > 1);
    }
}

static void s_know_session(known_t *known, const history_request_t *request, slice_t bytes)
{
    uint64_t session_seq = 0;
    pack_value_t seq = pack_get(bytes, "session_seq");
    pack_value_t level = pack_get(bytes, "durability");
    bool is_named = request->write.origin != 0 && pack_as_u64(&seq, &session_seq) &&
                    session_seq != 0 && !s_read_bool(bytes, "island") && level.kind == PACK_STR &&
                    !slice_equal(level.as.bytes, slice_text("local"));
    known_row_t row = {.event = request->first_event,
                       .session_seq = (uint32_t)session_seq,
                       .origin = request->write.origin,
                       .is_named = is_named};
    if (request->write.op == HISTORY_SESSION_START) {
        known_note_session(known, &request->write.session);
    } else if (request->write.op == HISTORY_SESSION_SIGNAL) {
        known_note_row(known, &request->write.session, row);
    } else {
        known_note_closed(known, &request->write.session);
    }
}

/* What the client may rely on from now on, for its token covers it. */
static void s_know(const clients_t *self,
                   clients_client_t *client,
                   const clients_flight_t *flight,
                   slice_t bytes)
{
    const history_request_t *request = history_request(self->history, flight->request);
    known_t *known = &client->known;
    if (request->kind == HISTORY_READ) {
        known_keep(known, &flight->read, bytes);
    } else if (request->kind == HISTORY_ITEM) {
        client->has_creator[flight->pair] = true;
    } else if (request->kind == HISTORY_SESSION) {
        s_know_session(known, request, bytes);
    } else if (request->kind == HISTORY_RELATION && request->write.hlc.wall_ns != 0) {
        known_note_register(known, flight->reg,
                            (known_register_t){request->write.hlc, request->write.is_set});
    }
    for (uint32_t i = 0; request->kind == HISTORY_SIGNALS && i < request->event_count; i++) {
        const signal_event_t *event =
            &history_event(self->history, request->first_event + i)->event;
        known_note_event(known, (uint32_t)(event->item.value - 1), event->signal);
    }
}

static void s_read_ok(clients_t *self,
                      const clients_client_t *client,
                      const clients_flight_t *flight,
                      slice_t bytes)
{
    errbuf_t text = {{0}};
    if (flight->epoch == client->token_epoch && /* else the token was given up meanwhile */
        !known_judge(&flight->read, bytes, &text)) {
        s_violate(self, flight->request, text.text);
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

static void s_end(clients_flight_t *flight)
{
    flight->is_used = false;
}

/* Not settled: again later, or never. */
/* A token may name events that only a lost disk had: then no write that carries it ever succeeds,
 * and the client begins anew without. */
static void s_review_token(clients_t *self, clients_client_t *client, clients_flight_t *flight)
{
    if (flight->attempts % S_TOKEN_ATTEMPT_COUNT == 0) {
        if (flight->epoch == client->token_epoch) {
            s_give_up_token(client);
        }
        clients_encode(self, (uint32_t)(client - self->list), flight);
    }
}

static void s_repeat_later(clients_t *self, clients_client_t *client, clients_flight_t *flight)
{
    const history_request_t *request = history_request(self->history, flight->request);
    if (request->kind == HISTORY_READ || !request->has_producer) {
        self->counters.given_up += request->kind == HISTORY_READ ? 0 : 1;
        if (request->kind == HISTORY_RELATION) { /* maybe done: nothing is known of the register */
            client->registers[flight->reg].is_pending = false;
            client->registers[flight->reg].is_set = false;
            client->registers[flight->reg].is_unsure |= !request->write.is_set;
        }
        s_end(flight);
        return;
    }
    s_review_token(self, client, flight);
    flight->is_sent = false;
    flight->due_ns = world_now_ns(self->world) +
                     (1 + (int64_t)prng_below(&self->prng, S_RETRY_MS_MAX)) * WORLD_MS;
}

static void s_failed(clients_t *self,
                     clients_client_t *client,
                     clients_flight_t *flight,
                     slice_t bytes)
{
    code_t code = s_code_of(bytes);
    self->counters.by_code[code]++;
    const history_request_t *request = history_request(self->history, flight->request);
    bool is_session = request->kind == HISTORY_SESSION;
    /* A clock that jumped ahead has closed it for its age; or the token that knew of its start was given
     * up, and it is asked for where that has not arrived. */
    bool is_closed = code == CODE_BAD_REQUEST && request->write.op == HISTORY_SESSION_SIGNAL;
    bool is_unknown = code == CODE_NOT_FOUND && request->write.op != HISTORY_SESSION_START &&
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
            s_give_up_token(client);
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
    bool is_hide = request->kind == HISTORY_RELATION && request->write.action == RELATION_HIDE;
    bool has_one_copy = request->kind == HISTORY_SIGNALS || request->kind == HISTORY_ITEM ||
                        request->kind == HISTORY_SESSION || is_hide;
    errbuf_t text;
    if (has_one_copy && request->has_producer &&
        !answers_take(&self->answers, number, bytes, &text)) {
        s_violate(self, number, text.text);
    }
}

static bool s_may_begin(const clients_t *self)
{
    return world_now_ns(self->world) < self->end_ns &&
           history_event_count(self->history) < self->options.event_count;
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
    clients_client_t *client = &self->list[number & 0xfff];
    clients_flight_t *flight = &client->flights[number >> 12 & 0xf];
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
    if (flight->epoch == client->token_epoch) {
        s_know(self, client, flight, bytes);
    }
    if (s_may_copy(request) && prng_chance(&self->prng, 0.3)) {
        s_send_copies(self, flight);
    }
    if (s_may_begin(self) && prng_chance(&self->prng, s_read_after_chance)) {
        s_read_after(self, request->client, flight);
    }
    s_end(flight);
}

/* -- time -------------------------------------------------------------------------------------- */

static const clients_flight_t *s_flight(const clients_t *self, uint32_t index)
{
    return &self->list[index / CLIENTS_INFLIGHT_MAX].flights[index % CLIENTS_INFLIGHT_MAX];
}

int64_t clients_deadline_ns(const clients_t *self)
{
    int64_t deadline = INT64_MAX;
    for (uint32_t i = 0; s_may_begin(self) && i < self->options.client_count; i++) {
        deadline = self->list[i].next_ns < deadline ? self->list[i].next_ns : deadline;
    }
    for (uint32_t i = 0; i < self->options.client_count * CLIENTS_INFLIGHT_MAX; i++) {
        const clients_flight_t *flight = s_flight(self, i);
        deadline = flight->is_used && flight->due_ns < deadline ? flight->due_ns : deadline;
    }
    return deadline;
}

static void s_review(clients_t *self, clients_client_t *client, clients_flight_t *flight)
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
        clients_client_t *client = &self->list[i];
        for (uint32_t k = 0; k < CLIENTS_INFLIGHT_MAX; k++) {
            s_review(self, client, &client->flights[k]);
        }
        if (s_may_begin(self) && client->next_ns <= now_ns) {
            s_begin(self, i);
            client->next_ns =
                now_ns + 1 +
                (int64_t)prng_below(&self->prng, (uint64_t)self->options.pause_ns_max + 1);
        }
    }
}

bool clients_are_done(const clients_t *self)
{
    bool is_done = !s_may_begin(self);
    for (uint32_t i = 0; is_done && i < self->options.client_count * CLIENTS_INFLIGHT_MAX; i++) {
        is_done = !s_flight(self, i)->is_used;
    }
    return is_done;
}

void clients_describe(const clients_t *self, errbuf_t *ret_text)
{
    uint32_t open = 0;
    uint32_t attempts = 0;
    for (uint32_t i = 0; i < self->options.client_count * CLIENTS_INFLIGHT_MAX; i++) {
        const clients_flight_t *flight = s_flight(self, i);
        open += flight->is_used ? 1 : 0;
        attempts += flight->is_used ? flight->attempts : 0;
    }
    errbuf_set(ret_text, "%u requests not settled after %u attempts in all", open, attempts);
}
