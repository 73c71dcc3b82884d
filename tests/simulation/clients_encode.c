/* What the clients of a simulated mesh send: events, and requests as bytes. */
#include "tests/simulation/clients_state.h"

#include "common/base/check.h"
#include "common/wire/pack.h"

enum {
    S_LATE_S_MAX = 90 * 24 * 3600, /* how far back events go */
    S_SAFE_S = 3 * 3600            /* all events are older than any clock that jumped back */
};

/* -- events ------------------------------------------------------------------------------------ */

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
    return CLIENTS_USER_BASE + client + 100 * prng_below(&self->prng, CLIENTS_USER_COUNT);
}

void clients_draw_events(clients_t *self, uint32_t number, uint32_t client)
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
            .signal = (uint8_t)(1 + prng_below(&self->prng, KNOWN_SIGNAL_COUNT)),
        };
        history_add_event(self->history, number, event);
    }
}

/* One event as a signal of the client's session; the record has the session's user. */
void clients_draw_session_event(clients_t *self, uint32_t number, const clients_client_t *client)
{
    history_request(self->history, number)->first_event = history_event_count(self->history);
    history_request(self->history, number)->event_count = 1;
    signal_event_t event = {
        .item = {1 + prng_below(&self->prng, self->options.item_count)},
        .user = {bytes_get_u64(client->session.bytes)},
        .ts_ns = s_event_time(self),
        .weight = s_weight(self),
        .signal = (uint8_t)(1 + prng_below(&self->prng, KNOWN_SIGNAL_COUNT)),
    };
    history_add_event(self->history, number, event);
}

/* -- requests ---------------------------------------------------------------------------------- */

static const char *s_signal_name(uint8_t signal)
{
    static const char *const s_names[] = {"", "view", "like", "share", "skip"};
    return s_names[signal];
}

static void s_put_relation(pack_writer_t *writer, const history_request_t *request)
{
    static const char *const s_ops[][2] = {
        {"", ""}, {"unhide", "hide"}, {"unmute", "mute"}, {"unblock", "block"}};
    const history_write_t *write = &request->write;
    pack_put_text(writer, "op", s_ops[write->action][write->is_set ? 1 : 0]);
    pack_put_u64(writer, "user", write->user.value);
    pack_put_u64(writer, write->action == RELATION_HIDE ? "item" : "creator", write->target);
    if (request->has_stamp) {
        pack_put_array(writer, "hlc");
        pack_item(writer);
        pack_write_u64(writer, (uint64_t)write->hlc.wall_ns);
        pack_item(writer);
        pack_write_u64(writer, write->hlc.logical);
        pack_item(writer);
        pack_write_u64(writer, write->hlc.node);
        pack_close(writer);
    }
}

static void s_put_user(pack_writer_t *writer, const history_write_t *write)
{
    pack_put_text(writer, "op", "put_user");
    pack_put_u64(writer, "user", write->user.value);
    pack_put_map(writer, "attrs");
    pack_put_text(writer, "locale", history_locale(write->value));
    pack_close(writer);
}

static void s_put_item(pack_writer_t *writer, const history_write_t *write)
{
    pack_put_text(writer, "op", "put_item");
    pack_put_u64(writer, "item", write->target);
    pack_put_u64(writer, "creator", write->value);
}

static void s_put_session(clients_t *self,
                          pack_writer_t *writer,
                          const clients_client_t *client,
                          const history_request_t *request)
{
    static const char *const s_ops[] = {"session_start", "session_signal", "session_close"};
    pack_put_text(writer, "op", s_ops[request->write.op]);
    if (request->write.op == HISTORY_SESSION_START) {
        pack_put_u64(writer, "user", request->write.user.value);
        pack_put_text(writer, "agent", client->producer);
    } else {
        pack_put_bin(writer, "session", slice_make(request->write.session.bytes, SESSION_ID_SIZE));
    }
    if (request->write.op == HISTORY_SESSION_SIGNAL) {
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
                        const clients_client_t *client,
                        const history_request_t *request)
{
    static const char *const s_levels[] = {"", "local", "replicated", "all"};
    pack_put_text(writer, "ack", s_levels[request->level]);
    pack_put_u64(writer, "timeout_ms", CLIENTS_TIMEOUT_MS);
    if (request->has_producer) {
        pack_put_text(writer, "producer", client->producer);
        pack_put_u64(writer, "seq", request->seq);
    }
}

static void s_put_texts(pack_writer_t *writer,
                        const char *key,
                        uint32_t count,
                        const char *const *texts)
{
    pack_put_array(writer, key);
    for (uint32_t i = 0; i < count; i++) {
        pack_item(writer);
        pack_write_str(writer, slice_text(texts[i]));
    }
    pack_close(writer);
}

static void s_put_number(pack_writer_t *writer, const char *key, uint64_t number)
{
    pack_put_array(writer, key);
    pack_item(writer);
    pack_write_u64(writer, number);
    pack_close(writer);
}

/* Scores are read at one moment, behind all events: so those of the same events are the same. */
static void s_put_cells(pack_writer_t *writer, const known_read_t *read)
{
    const char *signals[KNOWN_SIGNAL_COUNT];
    static const char *const s_windows[] = {"all"};
    for (uint32_t i = 0; i < KNOWN_SIGNAL_COUNT; i++) {
        signals[i] = s_signal_name((uint8_t)(i + 1));
    }
    pack_put_text(writer, "op", "cells");
    s_put_number(writer, "items", read->item + 1);
    s_put_texts(writer, "signals", KNOWN_SIGNAL_COUNT, signals);
    s_put_texts(writer, "windows", 1, s_windows);
    pack_put_u64(writer, "at", (uint64_t)WORLD_START_WALL_NS);
}

static void s_put_single(pack_writer_t *writer, const known_read_t *read)
{
    bool is_count = read->kind == KNOWN_READ_COUNT;
    pack_put_text(writer, "op", is_count ? "count" : "score");
    pack_put_u64(writer, "item", read->item + 1);
    pack_put_text(writer, "signal", s_signal_name(read->signal));
    if (is_count) {
        pack_put_text(writer, "window", "all");
    } else {
        pack_put_u64(writer, "at", (uint64_t)WORLD_START_WALL_NS);
    }
}

static void s_put_read(clients_t *self,
                       pack_writer_t *writer,
                       uint32_t index,
                       const known_read_t *read)
{
    clients_watch_t watch = clients_watch(self, index, read->index);
    if (read->kind == KNOWN_READ_PAIR) {
        pack_put_text(writer, "op", "retrieve");
        pack_put_u64(writer, "user", watch.user.value);
        s_put_number(writer, "candidates", watch.target);
    } else if (read->kind == KNOWN_READ_RELATION) {
        pack_put_text(writer, "op", "relation");
        pack_put_u64(writer, "user", watch.user.value);
        pack_put_u64(writer, watch.action == RELATION_HIDE ? "item" : "creator", watch.target);
    } else if (read->kind == KNOWN_READ_SESSION) {
        pack_put_text(writer, "op", "session_get");
        pack_put_bin(writer, "session", slice_make(read->session.bytes, SESSION_ID_SIZE));
    } else if (read->kind == KNOWN_READ_CELLS) {
        s_put_cells(writer, read);
    } else {
        s_put_single(writer, read);
    }
}

static void s_put_request(clients_t *self,
                          pack_writer_t *writer,
                          uint32_t index,
                          const clients_flight_t *flight)
{
    const history_request_t *request = history_request(self->history, flight->request);
    switch (request->kind) {
    case HISTORY_SIGNALS:
        pack_put_text(writer, "op", "signals");
        s_put_columns(self, writer, request);
        break;
    case HISTORY_RELATION:
        s_put_relation(writer, request);
        break;
    case HISTORY_USER:
        s_put_user(writer, &request->write);
        break;
    case HISTORY_ITEM:
        s_put_item(writer, &request->write);
        break;
    case HISTORY_SESSION:
        s_put_session(self, writer, &self->list[index], request);
        break;
    case HISTORY_READ:
        s_put_read(self, writer, index, &flight->read);
        return;
    }
    s_put_write(writer, &self->list[index], request);
}

void clients_encode(clients_t *self, uint32_t index, clients_flight_t *flight)
{
    clients_client_t *client = &self->list[index];
    const history_request_t *request = history_request(self->history, flight->request);
    pack_writer_t writer;
    buffer_clear(&flight->body);
    pack_writer_init(&writer, &flight->body);
    pack_open_map(&writer);
    pack_put_u64(&writer, "id",
                 (uint64_t)flight->request << 16 | (uint64_t)(flight - client->flights) << 12 |
                     index);
    s_put_request(self, &writer, index, flight);
    if ((client->token->count > 0 || client->token->hlc_ns > 0) &&
        (request->kind != HISTORY_SIGNALS || prng_chance(&self->prng, 0.3))) {
        buffer_clear(&self->out);
        CHECK(token_encode(client->token, &self->out) == ERR_OK);
        pack_put_bin(&writer, "token", buffer_slice(&self->out));
    }
    pack_close(&writer);
    pack_writer_done(&writer);
}
