#include "services/tidalctl/ctl_client.h"

#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/env/env_loop.h"
#include "common/env/env_peer.h"
#include "common/env/env_zmq.h"
#include "common/topology/process.h"
#include "common/wire/client_reply.h"

#include <stdlib.h>

typedef struct {
    ctl_client_t *client;
    process_address_t address;
    env_target_t target;
    endpoint_t endpoint;
    env_peer_t *peer;
} connection_t;

struct ctl_client {
    const topology_t *topology;
    env_loop_t *loop;
    connection_t *connections; /* by index of the process in the topology */
    uint32_t connection_count;
    uint64_t last_id;
    ctl_reply_fn on_reply;
    void *context;
};

/* -- life -------------------------------------------------------------------------------------- */

err_t ctl_client_new(const topology_t *topology, ctl_client_t **ret_client, errbuf_t *errbuf)
{
    err_t err = env_zmq_start(errbuf);
    if (err != ERR_OK) {
        return err;
    }
    ctl_client_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->topology = topology;
    self->last_id = CTL_CLIENT_ID_FIRST - 1;
    self->connection_count = topology_process_count(topology);
    self->connections = calloc(self->connection_count, sizeof(connection_t));
    CHECK(self->connections != NULL);
    for (uint32_t i = 0; i < self->connection_count; i++) {
        self->connections[i].client = self;
        self->connections[i].address = topology_process(topology, i);
        process_encode(self->connections[i].address, self->connections[i].target.bytes);
    }
    static_assert((int)ENV_PEER_TARGET_SIZE == (int)PROCESS_FRAME_SIZE, "one frame");
    self->loop = env_loop_new(&(env_loop_options_t){0});
    *ret_client = self;
    return ERR_OK;
}

void ctl_client_destroy(ctl_client_t **self_p)
{
    CHECK(self_p != NULL);
    ctl_client_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->connection_count; i++) {
        env_peer_close(&self->connections[i].peer);
    }
    env_loop_destroy(&self->loop);
    free(self->connections);
    free(self);
    *self_p = NULL;
    env_zmq_stop();
}

uint64_t ctl_client_next_id(ctl_client_t *self)
{
    return ++self->last_id;
}

/* -- connections ------------------------------------------------------------------------------- */

static void s_on_message(void *context, env_target_t from, slice_t body)
{
    (void)from;
    const connection_t *connection = context;
    const ctl_client_t *client = connection->client;
    if (client->on_reply != NULL) {
        client->on_reply(client->context, body);
    }
}

static connection_t *s_find(const ctl_client_t *self, process_address_t to)
{
    for (uint32_t i = 0; i < self->connection_count; i++) {
        if (process_address_equal(self->connections[i].address, to)) {
            return &self->connections[i];
        }
    }
    return NULL;
}

err_t ctl_client_open(ctl_client_t *self, process_address_t to, errbuf_t *errbuf)
{
    connection_t *connection = s_find(self, to);
    if (connection == NULL) {
        errbuf_set(errbuf, "expected a process of the topology, found none of this address");
        return ERR_NOT_FOUND;
    }
    if (connection->peer != NULL) {
        return ERR_OK;
    }
    /* From the process's own place: around the proxy, whatever links are cut. */
    err_t err = topology_connect_endpoint(self->topology, process_place(to), to, LINK_REQUEST,
                                          &connection->endpoint);
    if (err != ERR_OK) {
        errbuf_set(errbuf, "the process has no socket for requests");
        return err;
    }
    return env_peer_open(self->loop,
                         &(env_peer_options_t){.endpoint = connection->endpoint.text,
                                               .context = connection,
                                               .on_message = s_on_message},
                         &connection->peer, errbuf);
}

err_t ctl_client_send(ctl_client_t *self, process_address_t to, slice_t body)
{
    connection_t *connection = s_find(self, to);
    CHECK(connection != NULL && connection->peer != NULL);
    if (!env_peer_is_up(connection->peer)) {
        return ERR_UNREACHABLE;
    }
    return env_peer_send(connection->peer, connection->target, body);
}

uint64_t ctl_client_connects(const ctl_client_t *self, process_address_t to)
{
    const connection_t *connection = s_find(self, to);
    return connection == NULL || connection->peer == NULL
               ? 0
               : env_peer_counts(connection->peer).connects;
}

bool ctl_client_is_up(const ctl_client_t *self, process_address_t to)
{
    const connection_t *connection = s_find(self, to);
    return connection != NULL && connection->peer != NULL && env_peer_is_up(connection->peer);
}

void ctl_client_on_reply(ctl_client_t *self, ctl_reply_fn on_reply, void *context)
{
    self->on_reply = on_reply;
    self->context = context;
}

now_t ctl_client_turn(ctl_client_t *self, int wait_ms)
{
    env_loop_turn(self->loop, wait_ms);
    return env_clock_now();
}

/* -- question and answer ----------------------------------------------------------------------- */

typedef struct {
    ctl_ask_t *asks;
    uint32_t count;
} round_t;

static void s_take_answer(void *context, slice_t reply)
{
    const round_t *round = context;
    client_answer_t answer;
    if (client_answer_read(reply, &answer, NULL) != ERR_OK || !answer.has_id) {
        return; /* not for us: the question runs into its time-out */
    }
    for (uint32_t i = 0; i < round->count; i++) {
        ctl_ask_t *ask = &round->asks[i];
        if (ask->id == answer.id && ask->state == CTL_ASK_WAITING) {
            buffer_append(&ask->reply, reply.data, reply.size);
            ask->state = CTL_ASK_ANSWERED;
        }
    }
}

/* Sends what can be sent; gives up what was lost. */
static void s_push(ctl_client_t *self, ctl_ask_t *ask)
{
    uint64_t connects = ctl_client_connects(self, ask->to);
    bool is_up = ctl_client_is_up(self, ask->to);
    bool was_sent = ask->sent_connects > 0;
    if (was_sent && (!is_up || connects != ask->sent_connects)) {
        if (!ask->repeatable) {
            ask->state = CTL_ASK_LOST;
            return;
        }
        ask->sent_connects = 0;
        was_sent = false;
    }
    if (!was_sent && is_up && ctl_client_send(self, ask->to, ask->request) == ERR_OK) {
        ask->sent_connects = connects;
    }
}

/* Returns how many still wait. */
static uint32_t s_push_all(ctl_client_t *self, const round_t *round, bool connect_over)
{
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < round->count; i++) {
        ctl_ask_t *ask = &round->asks[i];
        if (ask->state != CTL_ASK_WAITING) {
            continue;
        }
        s_push(self, ask);
        if (ask->state == CTL_ASK_WAITING && connect_over && ask->sent_connects == 0) {
            ask->state = CTL_ASK_NO_CONNECTION;
        }
        waiting += ask->state == CTL_ASK_WAITING ? 1 : 0;
    }
    return waiting;
}

void ctl_client_ask(ctl_client_t *self, ctl_ask_t *asks, uint32_t count, int64_t timeout_ms)
{
    enum { TURN_MS_MAX = 50 };
    round_t round = {asks, count};
    for (uint32_t i = 0; i < count; i++) {
        CHECK(asks[i].id != 0 && asks[i].state == CTL_ASK_WAITING);
        buffer_init(&asks[i].reply);
        if (ctl_client_open(self, asks[i].to, NULL) != ERR_OK) {
            asks[i].state = CTL_ASK_NO_CONNECTION;
        }
    }
    ctl_client_on_reply(self, s_take_answer, &round);
    now_t now = env_clock_now();
    int64_t start_ns = now.mono_ns;
    int64_t deadline_ns = start_ns + timeout_ms * ENV_NS_PER_MS;
    int64_t connect_ns = start_ns + (int64_t)CTL_CONNECT_MS * ENV_NS_PER_MS;
    while (s_push_all(self, &round, now.mono_ns >= connect_ns) > 0 && now.mono_ns < deadline_ns) {
        int64_t left_ms = (deadline_ns - now.mono_ns) / ENV_NS_PER_MS + 1;
        now = ctl_client_turn(self, left_ms < TURN_MS_MAX ? (int)left_ms : TURN_MS_MAX);
    }
    ctl_client_on_reply(self, NULL, NULL);
    for (uint32_t i = 0; i < count; i++) {
        if (asks[i].state == CTL_ASK_WAITING) {
            asks[i].state = asks[i].sent_connects > 0 ? CTL_ASK_NO_ANSWER : CTL_ASK_NO_CONNECTION;
        }
    }
}

void ctl_client_describe(const ctl_client_t *self, const ctl_ask_t *ask, errbuf_t *ret_text)
{
    const connection_t *connection = s_find(self, ask->to);
    const char *endpoint = connection == NULL ? "?" : connection->endpoint.text;
    switch (ask->state) {
    case CTL_ASK_NO_CONNECTION:
        errbuf_set(ret_text, "nobody answers at %s: is it running? (scripts/mesh status)",
                   endpoint);
        break;
    case CTL_ASK_NO_ANSWER:
        errbuf_set(ret_text, "connected at %s, but it did not answer in time", endpoint);
        break;
    case CTL_ASK_LOST:
        errbuf_set(ret_text,
                   "the connection to %s ended before the answer: it may have been done or not; "
                   "with --producer and --seq it can be repeated safely",
                   endpoint);
        break;
    case CTL_ASK_WAITING:
    case CTL_ASK_ANSWERED:
        errbuf_set(ret_text, "answered");
        break;
    }
}

err_t ctl_client_ask_one(
    ctl_client_t *self, ctl_ask_t *ask, int64_t timeout_ms, buffer_t *ret_reply, errbuf_t *errbuf)
{
    ctl_client_ask(self, ask, 1, timeout_ms);
    err_t err = ERR_OK;
    if (ask->state == CTL_ASK_ANSWERED) {
        buffer_append(ret_reply, ask->reply.data, ask->reply.size);
    } else {
        char name[PROCESS_NAME_SIZE];
        if (errbuf != NULL) {
            ctl_client_describe(self, ask, errbuf);
            errbuf_prefix(errbuf, "%s", process_name(self->topology, ask->to, name));
        }
        err = ask->state == CTL_ASK_NO_ANSWER ? ERR_TIMEOUT : ERR_UNREACHABLE;
    }
    buffer_done(&ask->reply);
    return err;
}
