#include "tests/simulation/world_process.h"

#include "common/base/check.h"
#include "common/wire/client_reply.h"

#include <string.h>

err_t world_process_open(world_process_t *self, now_t now, errbuf_t *errbuf)
{
    gateway_engine_options_t gateway = {.version = "simulated"};
    switch (self->address.kind) {
    case PROCESS_NODE:
        self->store = store_memory_store(self->memory);
        return node_engine_open(&self->env, &self->store, now, &self->node, errbuf);
    case PROCESS_SHIPPER:
        return shipper_engine_open(&self->env, &self->shipper, errbuf);
    case PROCESS_RECEIVER:
        return receiver_engine_open(&self->env, &self->receiver, errbuf);
    case PROCESS_RECONCILER:
        return reconcile_engine_open(&self->env, &self->reconciler, errbuf);
    case PROCESS_GATEWAY:
        return gateway_engine_open(&self->env, &gateway, now, &self->gateway, errbuf);
    case PROCESS_CONTROL:
        self->decoder = client_decoder_new(NULL, 0);
        return control_engine_open(&self->env, now, &self->control, errbuf);
    case PROCESS_NONE:
    case PROCESS_PROXY:
    case PROCESS_TOOL:
        break;
    }
    CHECK(false);
    return ERR_INVALID;
}

void world_process_close(world_process_t *self)
{
    node_engine_close(&self->node);
    shipper_engine_close(&self->shipper);
    receiver_engine_close(&self->receiver);
    reconcile_engine_close(&self->reconciler);
    gateway_engine_close(&self->gateway);
    control_engine_close(&self->control);
    client_decoder_destroy(&self->decoder);
}

/* Requests of operators, as the control plane's shell answers them. */
static void s_control_client(world_process_t *self, uint64_t reply_to, slice_t bytes, now_t now)
{
    const client_request_t *request = NULL;
    errbuf_t errbuf = {{0}};
    buffer_t out;
    buffer_init(&out);
    code_t code = client_decode(self->decoder, bytes, &request, &errbuf);
    if (code != CODE_OK || !control_engine_client(self->control, request, &out, now)) {
        code = code != CODE_OK ? code : CODE_UNKNOWN_OP;
        client_reply_error(&out, request->id, code, errbuf.text);
    }
    (void)self->net.reply(self->net.context, reply_to, out.data, out.size);
    self->net.forget(self->net.context, reply_to);
    buffer_done(&out);
}

void world_process_message(
    world_process_t *self, process_address_t from, uint64_t reply_to, slice_t bytes, now_t now)
{
    if (self->node != NULL) {
        node_engine_message(self->node, reply_to, bytes, now);
    } else if (self->shipper != NULL) {
        shipper_engine_message(self->shipper, bytes, now);
    } else if (self->receiver != NULL) {
        receiver_engine_message(self->receiver, reply_to, bytes, now);
    } else if (self->reconciler != NULL) {
        reconcile_engine_message(self->reconciler, reply_to, bytes, now);
    } else if (self->gateway != NULL && reply_to == 0) {
        gateway_engine_message_from_node(self->gateway, from, bytes, now);
    } else if (self->gateway != NULL) {
        gateway_engine_message(self->gateway, reply_to, bytes, now);
    } else if (msg_is_client_map(bytes)) {
        s_control_client(self, reply_to, bytes, now);
    } else {
        control_engine_message(self->control, reply_to, bytes, now);
    }
}

void world_process_published(world_process_t *self, slice_t bytes, now_t now)
{
    if (self->node != NULL) {
        node_engine_published(self->node, bytes, now);
    } else if (self->shipper != NULL) {
        shipper_engine_published(self->shipper, bytes, now);
    } else if (self->receiver != NULL) {
        receiver_engine_published(self->receiver, bytes, now);
    } else if (self->reconciler != NULL) {
        reconcile_engine_published(self->reconciler, bytes, now);
    } else if (self->gateway != NULL) {
        gateway_engine_published(self->gateway, bytes, now);
    } else {
        control_engine_published(self->control, bytes, now);
    }
}

static err_t s_node_turn(world_process_t *self, bool is_due, now_t now, errbuf_t *errbuf)
{
    err_t err = is_due ? node_engine_tick(self->node, now, errbuf) : ERR_OK;
    return err == ERR_OK ? node_engine_turn_end(self->node, now, errbuf) : err;
}

static void s_tick(world_process_t *self, now_t now)
{
    if (self->shipper != NULL) {
        shipper_engine_tick(self->shipper, now);
    } else if (self->receiver != NULL) {
        receiver_engine_tick(self->receiver, now);
    } else if (self->reconciler != NULL) {
        reconcile_engine_tick(self->reconciler, now);
    } else if (self->gateway != NULL) {
        gateway_engine_tick(self->gateway, now);
    } else {
        control_engine_tick(self->control, now);
    }
}

err_t world_process_turn(world_process_t *self, bool is_due, now_t now, errbuf_t *errbuf)
{
    if (self->node != NULL) {
        return s_node_turn(self, is_due, now, errbuf);
    }
    if (is_due) {
        s_tick(self, now);
    }
    if (self->receiver != NULL) {
        return receiver_engine_turn_end(self->receiver, now, errbuf);
    }
    if (self->shipper != NULL) {
        shipper_engine_turn_end(self->shipper, now);
    } else if (self->reconciler != NULL) {
        reconcile_engine_turn_end(self->reconciler, now);
    } else if (self->gateway != NULL) {
        gateway_engine_turn_end(self->gateway, now);
    } else {
        return control_engine_turn_end(self->control, now, errbuf);
    }
    return ERR_OK;
}

int64_t world_process_deadline_ns(const world_process_t *self)
{
    if (self->node != NULL) {
        return node_engine_deadline_ns(self->node);
    }
    if (self->shipper != NULL) {
        return shipper_engine_deadline_ns(self->shipper);
    }
    if (self->receiver != NULL) {
        return receiver_engine_deadline_ns(self->receiver);
    }
    if (self->reconciler != NULL) {
        return reconcile_engine_deadline_ns(self->reconciler);
    }
    return self->gateway != NULL ? gateway_engine_deadline_ns(self->gateway)
                                 : control_engine_deadline_ns(self->control);
}

bool world_process_is_ready(const world_process_t *self, const char **ret_reason)
{
    *ret_reason = "";
    if (self->node != NULL) {
        return node_engine_is_ready(self->node, ret_reason);
    }
    if (self->shipper != NULL) {
        return shipper_engine_is_ready(self->shipper, ret_reason);
    }
    if (self->receiver != NULL) {
        return receiver_engine_is_ready(self->receiver, ret_reason);
    }
    if (self->reconciler != NULL) {
        return reconcile_engine_is_ready(self->reconciler, ret_reason);
    }
    return self->gateway != NULL ? gateway_engine_is_ready(self->gateway, ret_reason) : true;
}

uint32_t world_process_metrics(const world_process_t *self,
                               msg_metric_t *ret_metrics,
                               uint32_t metric_count_max)
{
    if (self->node != NULL) {
        return node_engine_metrics(self->node, ret_metrics, metric_count_max);
    }
    if (self->shipper != NULL) {
        return shipper_engine_metrics(self->shipper, ret_metrics, metric_count_max);
    }
    if (self->receiver != NULL) {
        return receiver_engine_metrics(self->receiver, ret_metrics, metric_count_max);
    }
    if (self->reconciler != NULL) {
        return reconcile_engine_metrics(self->reconciler, ret_metrics, metric_count_max);
    }
    if (self->gateway != NULL) {
        return gateway_engine_metrics(self->gateway, ret_metrics, metric_count_max);
    }
    return self->control == NULL
               ? 0
               : control_engine_metrics(self->control, ret_metrics, metric_count_max);
}

static uint64_t s_table_version(const world_process_t *self)
{
    if (self->node != NULL) {
        return node_engine_table_version(self->node);
    }
    if (self->shipper != NULL) {
        return shipper_engine_table_version(self->shipper);
    }
    if (self->receiver != NULL) {
        return receiver_engine_table_version(self->receiver);
    }
    if (self->reconciler != NULL) {
        return reconcile_engine_table_version(self->reconciler);
    }
    return self->gateway != NULL ? gateway_engine_table_version(self->gateway)
                                 : control_engine_table_version(self->control);
}

void world_process_heartbeat(world_process_t *self, now_t now, msg_t *ret_msg)
{
    const char *reason = "";
    bool is_ready = world_process_is_ready(self, &reason);
    *ret_msg = (msg_t){.type = MSG_HEARTBEAT};
    msg_heartbeat_t *heartbeat = &ret_msg->as.heartbeat;
    *heartbeat = (msg_heartbeat_t){.from = self->address,
                                   .boot = self->env.boot,
                                   .publish_seq = ++self->heartbeat_number,
                                   .wall_ns = now.wall_ns,
                                   .table_version = s_table_version(self),
                                   .ready = is_ready,
                                   .reasons = slice_make(reason, is_ready ? 0 : strlen(reason))};
    if (self->node != NULL) {
        heartbeat->state_count = node_engine_states(self->node, now, &heartbeat->states);
    } else if (self->gateway != NULL) {
        heartbeat->peer_count = gateway_engine_peers(self->gateway, now, self->peers);
        heartbeat->peers = self->peers;
    }
}
