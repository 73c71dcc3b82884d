#include "common/env/env_net.h"

#include "common/base/check.h"
#include "common/env/env_peer.h"
#include "common/topology/process.h"

#include <stdlib.h>

enum {
    KIND_COUNT = PROCESS_TOOL + 1,
    ADDRESS_COUNT = KIND_COUNT * (REGION_COUNT_MAX + 1) * SHARD_COUNT_MAX,
    /* Usual answers, for the length of queues. One turn of a node may answer all writes that wait
     * on it to one gateway: that must fit. Those to clients are larger, and clients may not read.
     */
    ANSWER_SIZE_INSIDE = 1024,
    ANSWER_SIZE_TO_CLIENT = 16 * 1024
};

static_assert(LEADER_PENDING_COUNT_MAX <= SOCKET_QUEUE_COUNT_MAX, "a turn's answers fit a queue");

static_assert((int)PROCESS_FRAME_SIZE == (int)ENV_PEER_TARGET_SIZE, "a target is an address frame");
static_assert((int)ENDPOINT_SIZE <= (int)ENDPOINT_SIZE_MAX, "every endpoint of a topology fits");

struct env_net {
    env_net_options_t options;
    net_t seam;
    env_router_t *router;
    env_publisher_t *publisher;
    env_peer_t **peers; /* one per endpoint; owned */
    uint32_t peer_count;
    env_peer_t *by_address[ADDRESS_COUNT]; /* borrowed; NULL: nothing was sent there yet */
    env_net_counts_t counts;
};

/* -- peers ------------------------------------------------------------------------------------- */

static env_peer_t **s_slot(env_net_t *self, process_address_t address)
{
    CHECK((unsigned)address.kind < KIND_COUNT);
    CHECK(address.region.value <= REGION_COUNT_MAX);
    CHECK(address.shard.value < SHARD_COUNT_MAX);
    size_t index = (size_t)address.kind * (REGION_COUNT_MAX + 1) + address.region.value;
    return &self->by_address[index * SHARD_COUNT_MAX + address.shard.value];
}

static link_purpose_t s_purpose(process_kind_t from, process_kind_t to)
{
    if (from == PROCESS_SHIPPER && to == PROCESS_RECEIVER) {
        return LINK_SHIP;
    }
    if (from == PROCESS_RECONCILER && to == PROCESS_RECONCILER) {
        return LINK_RECONCILE;
    }
    return LINK_REQUEST;
}

static env_peer_t *s_find_endpoint(const env_net_t *self, const char *endpoint)
{
    for (uint32_t i = 0; i < self->peer_count; i++) {
        if (strcmp(env_peer_endpoint(self->peers[i]), endpoint) == 0) {
            return self->peers[i];
        }
    }
    return NULL;
}

static void s_on_message(void *context, env_target_t from, slice_t body)
{
    env_net_t *self = context;
    process_address_t address;
    if (process_decode(slice_make(from.bytes, sizeof(from.bytes)), &address) != ERR_OK) {
        self->counts.misaddressed++;
        return;
    }
    self->counts.received++;
    self->options.on_reply(self->options.context, address, body);
}

/* errs ERR_NOT_FOUND */
static err_t s_require_peer(env_net_t *self, process_address_t to, env_peer_t **ret_peer)
{
    env_peer_t **slot = s_slot(self, to);
    if (*slot != NULL) {
        *ret_peer = *slot;
        return ERR_OK;
    }
    endpoint_t endpoint;
    const env_net_options_t *options = &self->options;
    err_t err = topology_connect_endpoint(options->topology, process_place(options->self), to,
                                          s_purpose(options->self.kind, to.kind), &endpoint);
    if (err != ERR_OK) {
        return err;
    }
    env_peer_t *peer = s_find_endpoint(self, endpoint.text);
    if (peer == NULL) {
        env_peer_options_t peer_options = {
            .endpoint = endpoint.text, .context = self, .on_message = s_on_message};
        if (env_peer_open(options->loop, &peer_options, &peer, NULL) != ERR_OK) {
            return ERR_NOT_FOUND; /* a host name that is none */
        }
        env_peer_t **peers = realloc(self->peers, (self->peer_count + 1) * sizeof(env_peer_t *));
        CHECK(peers != NULL);
        self->peers = peers;
        self->peers[self->peer_count++] = peer;
    }
    *slot = peer;
    *ret_peer = peer;
    return ERR_OK;
}

err_t env_net_connect(env_net_t *self, process_address_t to)
{
    env_peer_t *peer = NULL;
    return s_require_peer(self, to, &peer);
}

bool env_net_is_up(const env_net_t *self, process_address_t to)
{
    size_t index = (size_t)to.kind * (REGION_COUNT_MAX + 1) + to.region.value;
    const env_peer_t *peer = self->by_address[index * SHARD_COUNT_MAX + to.shard.value];
    return peer != NULL && env_peer_is_up(peer);
}

/* -- sending ----------------------------------------------------------------------------------- */

static err_t s_count_send(env_net_t *self, err_t err)
{
    if (err == ERR_OK) {
        self->counts.sent++;
    } else if (err == ERR_FULL) {
        self->counts.send_full++;
    } else {
        self->counts.send_unreachable++;
    }
    return err;
}

static env_target_t s_target(process_address_t to)
{
    env_target_t target = {{0}};
    process_encode(to, target.bytes);
    return target;
}

static err_t s_send(void *context, process_address_t to, const uint8_t *bytes, size_t size)
{
    env_net_t *self = context;
    env_peer_t *peer = NULL;
    if (s_require_peer(self, to, &peer) != ERR_OK) {
        self->counts.send_unknown++;
        return ERR_UNREACHABLE;
    }
    return s_count_send(self, env_peer_send(peer, s_target(to), slice_make(bytes, size)));
}

static err_t s_reply(void *context, uint64_t reply_to, const uint8_t *bytes, size_t size)
{
    env_net_t *self = context;
    CHECK(self->router != NULL);
    return env_router_answer(self->router, reply_to, slice_make(bytes, size));
}

static void s_forget(void *context, uint64_t reply_to)
{
    env_net_t *self = context;
    CHECK(self->router != NULL);
    env_router_forget(self->router, reply_to);
}

static void s_publish(void *context, const char *topic, const uint8_t *bytes, size_t size)
{
    env_net_t *self = context;
    CHECK(self->publisher != NULL);
    env_publisher_publish(self->publisher, topic, slice_make(bytes, size));
}

/* -- receiving --------------------------------------------------------------------------------- */

/* fixarray, array 16, array 32: what every message between processes begins with. */
static bool s_is_internal(slice_t body)
{
    if (body.size == 0) {
        return false;
    }
    uint8_t first = body.data[0];
    return (first & 0xf0U) == 0x90U || first == 0xdcU || first == 0xddU;
}

static bool s_is_for_us(const env_net_t *self, slice_t target)
{
    process_address_t address;
    return process_decode(target, &address) == ERR_OK &&
           process_address_equal(address, self->options.self);
}

static void s_on_request(void *context, const env_request_t *request)
{
    env_net_t *self = context;
    /* Processes do not ask gateways: what arrives there is a client's, whatever it looks like. */
    if (self->options.self.kind == PROCESS_GATEWAY || !s_is_internal(request->body)) {
        self->options.on_client(self->options.context, request->handle, request->body);
        return;
    }
    if (!s_is_for_us(self, request->target)) {
        self->counts.misaddressed++;
        env_router_forget(self->router, request->handle);
        return;
    }
    self->options.on_request(self->options.context, request->handle, request->body);
}

static void s_on_refused(void *context, uint64_t handle, err_t err)
{
    env_net_t *self = context;
    self->options.on_refused(self->options.context, handle, err);
}

/* -- life -------------------------------------------------------------------------------------- */

static err_t s_bind(env_net_t *self, errbuf_t *errbuf)
{
    endpoint_t request;
    endpoint_t publish;
    const env_net_options_t *options = &self->options;
    if (options->self.kind == PROCESS_TOOL) {
        return ERR_OK;
    }
    err_t err = topology_bind_endpoint(options->topology, options->self, SOCKET_REQUEST, &request);
    if (err == ERR_OK) {
        err = topology_bind_endpoint(options->topology, options->self, SOCKET_PUBLISH, &publish);
    }
    CHECK(err == ERR_OK); /* a process of the topology has both */
    bool is_gateway = options->self.kind == PROCESS_GATEWAY;
    env_router_options_t router_options = {.endpoint = request.text,
                                           .frame_size_max = INTERNAL_MESSAGE_SIZE_MAX,
                                           .message_size_bytes = is_gateway ? ANSWER_SIZE_TO_CLIENT
                                                                            : ANSWER_SIZE_INSIDE,
                                           .context = self,
                                           .on_request = s_on_request,
                                           .on_refused = s_on_refused};
    err = env_router_open(options->loop, &router_options, &self->router, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    env_publisher_options_t publisher_options = {.endpoint = publish.text};
    return env_publisher_open(options->loop, &publisher_options, &self->publisher, errbuf);
}

err_t env_net_open(const env_net_options_t *options, env_net_t **ret_net, errbuf_t *errbuf)
{
    CHECK(options->on_reply != NULL);
    CHECK_IMPLIES(options->self.kind != PROCESS_TOOL, options->on_request != NULL &&
                                                          options->on_client != NULL &&
                                                          options->on_refused != NULL);
    env_net_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->options = *options;
    self->seam = (net_t){.context = self,
                         .send = s_send,
                         .reply = s_reply,
                         .forget = s_forget,
                         .publish = s_publish};
    err_t err = s_bind(self, errbuf);
    if (err != ERR_OK) {
        env_net_close(&self);
        return err;
    }
    *ret_net = self;
    return ERR_OK;
}

void env_net_stop_listening(env_net_t *self)
{
    env_router_close(&self->router);
}

void env_net_close(env_net_t **self_p)
{
    CHECK(self_p != NULL);
    env_net_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->peer_count; i++) {
        env_peer_close(&self->peers[i]);
    }
    free(self->peers);
    env_router_close(&self->router);
    env_publisher_close(&self->publisher);
    free(self);
    *self_p = NULL;
}

const net_t *env_net_seam(const env_net_t *self)
{
    return &self->seam;
}

env_router_t *env_net_router(env_net_t *self)
{
    return self->router;
}

env_publisher_t *env_net_publisher(env_net_t *self)
{
    return self->publisher;
}

env_net_counts_t env_net_counts(const env_net_t *self)
{
    env_net_counts_t counts = self->counts;
    counts.peers = self->peer_count;
    for (uint32_t i = 0; i < self->peer_count; i++) {
        counts.peers_up += env_peer_is_up(self->peers[i]) ? 1 : 0;
        counts.recreated += env_peer_counts(self->peers[i]).recreated;
    }
    return counts;
}
