#include "services/partition_proxy/proxy_switch.h"

#include "common/base/check.h"
#include "common/env/env_clock.h"
#include "common/env/env_log.h"
#include "services/partition_proxy/proxy_channel.h"
#include "services/partition_proxy/proxy_frames.h"

#include <stdlib.h>

enum { REOPEN_MS = 20 };

/* One endpoint: a front, or a channel for what is published. */
typedef struct {
    proxy_front_t *front;
    proxy_channel_t *channel;
} endpoint_side_t;

struct proxy_switch {
    env_loop_t *loop;
    const topology_t *topology;
    link_rules_t *rules;
    link_effects_t effects;
    proxy_messages_t *messages;
    uint32_t side_count;
    endpoint_side_t sides[LINK_COUNT_MAX];
    uint32_t listener_count;
    proxy_listener_t *listeners[REGION_COUNT_MAX + 1];
    env_timer_t *reopen_timer;
    proxy_counts_t counts;
};

static topology_link_t s_link(const endpoint_side_t *side)
{
    return side->front != NULL ? proxy_front_link(side->front) : proxy_channel_link(side->channel);
}

static bool s_is_open(const endpoint_side_t *side)
{
    return side->front != NULL ? proxy_front_is_open(side->front)
                               : proxy_channel_is_open(side->channel);
}

/* -- through the rules ------------------------------------------------------------------------- */

/* The frames are empty afterwards. */
static void s_forward(proxy_switch_t *self,
                      const proxy_route_t *route,
                      zmq_msg_t *frames,
                      uint32_t frame_count)
{
    CHECK(route->front < self->side_count);
    const endpoint_side_t *side = &self->sides[route->front];
    if (route->direction == PROXY_TO_LISTENERS) {
        proxy_channel_forward(side->channel, frames, frame_count);
    } else {
        proxy_front_forward(side->front, route, frames, frame_count);
    }
}

static void s_forward_copy(proxy_switch_t *self, const proxy_message_t *message)
{
    zmq_msg_t copies[ENV_MESSAGE_FRAME_COUNT_MAX];
    proxy_frames_copy(message->frames, message->frame_count, copies);
    s_forward(self, &message->route, copies, message->frame_count);
    proxy_frames_close(copies, message->frame_count);
}

static void s_reset(proxy_switch_t *self, link_id_t link)
{
    for (uint32_t i = 0; i < self->side_count; i++) {
        topology_link_t found = s_link(&self->sides[i]);
        if (found.from.value != link.from.value || found.to.value != link.to.value) {
            continue;
        }
        if (self->sides[i].front != NULL) {
            proxy_front_close(self->sides[i].front);
        } else {
            proxy_channel_close(self->sides[i].channel);
        }
    }
}

static void s_carry_out_one(proxy_switch_t *self, const link_effect_t *effect)
{
    proxy_message_t *message = NULL;
    switch (effect->kind) {
    case LINK_EFFECT_FORWARD:
        message = proxy_messages_get(self->messages, effect->ticket);
        s_forward(self, &message->route, message->frames, message->frame_count);
        proxy_messages_release(self->messages, effect->ticket);
        break;
    case LINK_EFFECT_FORWARD_COPY:
        s_forward_copy(self, proxy_messages_get(self->messages, effect->ticket));
        break;
    case LINK_EFFECT_DROP:
        proxy_messages_release(self->messages, effect->ticket);
        break;
    case LINK_EFFECT_RESET:
        s_reset(self, effect->link);
        break;
    }
}

/* The effects of the last call of the rules, and of what is due beyond them. */
static void s_carry_out(proxy_switch_t *self, int64_t now_ns)
{
    for (;;) {
        for (uint32_t i = 0; i < self->effects.count; i++) {
            s_carry_out_one(self, &self->effects.list[i]);
        }
        if (!self->effects.has_more) {
            return;
        }
        link_rules_due(self->rules, now_ns, &self->effects);
    }
}

static void s_offer(void *context, const proxy_offer_t *offer, env_message_t *message)
{
    proxy_switch_t *self = context;
    int64_t now_ns = env_loop_now(self->loop).mono_ns;
    uint64_t size = proxy_frames_size(message->frames, message->count);
    link_message_t offered = {
        .link = offer->link,
        .lane = offer->lane,
        .size_bytes = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX,
        .ticket =
            proxy_messages_add(self->messages, &offer->route, message->frames, message->count),
    };
    link_rules_offer(self->rules, &offered, now_ns, &self->effects);
    s_carry_out(self, now_ns);
    if (proxy_messages_has(self->messages, offered.ticket)) {
        proxy_messages_keep(self->messages, offered.ticket); /* it has to wait */
    }
}

/* To every other place in which somebody wants to hear it. */
static void s_on_published(void *context, region_id_t place, env_message_t *message)
{
    proxy_switch_t *self = context;
    slice_t topic = env_message_frame(message, 0);
    for (uint32_t i = 0; i < self->side_count; i++) {
        proxy_channel_t *channel = self->sides[i].channel;
        if (channel == NULL || proxy_channel_link(channel).to.value != place.value ||
            !proxy_channel_wants(channel, topic)) {
            continue;
        }
        env_message_t copy = {.count = message->count};
        proxy_frames_copy(message->frames, message->count, copy.frames);
        proxy_offer_t offer = {
            .link = {.from = place, .to = proxy_channel_link(channel).from},
            .lane = PROXY_LANE_PUBLISHED,
            .route = {.direction = PROXY_TO_LISTENERS, .front = i},
        };
        s_offer(self, &offer, &copy);
        proxy_frames_close(copy.frames, copy.count);
    }
}

/* -- opening after a cut ----------------------------------------------------------------------- */

static err_t s_open_side(endpoint_side_t *side, errbuf_t *errbuf)
{
    return side->front != NULL ? proxy_front_open(side->front, errbuf)
                               : proxy_channel_open(side->channel, errbuf);
}

static bool s_is_cut(const proxy_switch_t *self, const endpoint_side_t *side)
{
    topology_link_t link = s_link(side);
    link_id_t id = {.from = link.from, .to = link.to};
    return link_rules_rule(self->rules, id)->mode == LINK_MODE_CUT;
}

/* Opens what no cut closes; again a little later where the old socket still holds the port. */
static void s_reopen(proxy_switch_t *self)
{
    bool is_all = true;
    for (uint32_t i = 0; i < self->side_count; i++) {
        endpoint_side_t *side = &self->sides[i];
        errbuf_t errbuf;
        if (s_is_open(side) || s_is_cut(self, side)) {
            continue;
        }
        err_t err = s_open_side(side, &errbuf);
        if (err == ERR_OK) {
            continue;
        }
        is_all = false;
        if (err != ERR_LOCKED) {
            ENV_LOG(ENV_LOG_WARNING, "link_not_open", env_log_err(err),
                    env_log_text("text", errbuf.text), env_log_text("decision", "try again"));
        }
    }
    if (!is_all) {
        env_timer_arm(self->reopen_timer,
                      env_loop_now(self->loop).mono_ns + (int64_t)REOPEN_MS * ENV_NS_PER_MS);
    }
}

static void s_on_reopen(void *context, now_t now)
{
    (void)now;
    s_reopen(context);
}

err_t proxy_switch_set(proxy_switch_t *self,
                       link_id_t link,
                       const link_rule_t *rule,
                       errbuf_t *errbuf)
{
    int64_t now_ns = env_loop_now(self->loop).mono_ns;
    err_t err = link_rules_set(self->rules, link, rule, now_ns, &self->effects, errbuf);
    if (err == ERR_OK) {
        s_carry_out(self, now_ns);
        s_reopen(self);
    }
    return err;
}

void proxy_switch_heal(proxy_switch_t *self)
{
    int64_t now_ns = env_loop_now(self->loop).mono_ns;
    link_rules_heal_all(self->rules, now_ns, &self->effects);
    s_carry_out(self, now_ns);
    s_reopen(self);
}

/* -- time and state ---------------------------------------------------------------------------- */

int64_t proxy_switch_deadline_ns(const proxy_switch_t *self)
{
    return link_rules_deadline_ns(self->rules);
}

void proxy_switch_tick(proxy_switch_t *self, now_t now)
{
    link_rules_due(self->rules, now.mono_ns, &self->effects);
    s_carry_out(self, now.mono_ns);
}

const link_rules_t *proxy_switch_rules(const proxy_switch_t *self)
{
    return self->rules;
}

const proxy_counts_t *proxy_switch_counts(const proxy_switch_t *self)
{
    return &self->counts;
}

bool proxy_switch_is_ready(const proxy_switch_t *self)
{
    for (uint32_t i = 0; i < self->side_count; i++) {
        if (!s_is_open(&self->sides[i]) && !s_is_cut(self, &self->sides[i])) {
            return false;
        }
    }
    return true;
}

/* -- life -------------------------------------------------------------------------------------- */

static proxy_listener_t *s_require_listener(proxy_switch_t *self, region_id_t place)
{
    for (uint32_t i = 0; i < self->listener_count; i++) {
        if (proxy_listener_place(self->listeners[i]).value == place.value) {
            return self->listeners[i];
        }
    }
    CHECK(self->listener_count <= REGION_COUNT_MAX);
    proxy_listener_t *listener =
        proxy_listener_new(self->loop, self->topology, place, s_on_published, self);
    self->listeners[self->listener_count++] = listener;
    return listener;
}

static void s_add_side(proxy_switch_t *self, topology_link_t link)
{
    CHECK(self->side_count < LINK_COUNT_MAX);
    endpoint_side_t *side = &self->sides[self->side_count];
    if (link.purpose == LINK_PUBLISH) {
        side->channel = proxy_channel_new(self->loop, self->topology, link,
                                          s_require_listener(self, link.to), &self->counts);
    } else {
        side->front = proxy_front_new(&(proxy_front_options_t){.loop = self->loop,
                                                               .topology = self->topology,
                                                               .link = link,
                                                               .index = self->side_count,
                                                               .offer = s_offer,
                                                               .context = self,
                                                               .counts = &self->counts});
    }
    self->side_count++;
}

err_t proxy_switch_open(env_loop_t *loop,
                        const topology_t *topology,
                        uint64_t seed,
                        proxy_switch_t **ret_switch,
                        errbuf_t *errbuf)
{
    proxy_switch_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->loop = loop;
    self->topology = topology;
    self->rules = link_rules_new(seed);
    self->messages = proxy_messages_new();
    self->reopen_timer = env_timer_new(env_loop_timers(loop), s_on_reopen, self);
    for (uint32_t i = 0; i < topology_link_count(topology); i++) {
        s_add_side(self, topology_link(topology, i));
        err_t err = s_open_side(&self->sides[i], errbuf);
        if (err != ERR_OK) {
            errbuf_prefix(errbuf, "link endpoint");
            proxy_switch_close(&self);
            return err;
        }
    }
    *ret_switch = self;
    return ERR_OK;
}

void proxy_switch_close(proxy_switch_t **self_p)
{
    CHECK(self_p != NULL);
    proxy_switch_t *self = *self_p;
    if (self == NULL) {
        return;
    }
    for (uint32_t i = 0; i < self->side_count; i++) {
        proxy_front_destroy(&self->sides[i].front);
        proxy_channel_destroy(&self->sides[i].channel);
    }
    for (uint32_t i = 0; i < self->listener_count; i++) {
        proxy_listener_destroy(&self->listeners[i]);
    }
    env_timer_destroy(&self->reopen_timer);
    proxy_messages_destroy(&self->messages);
    link_rules_destroy(&self->rules);
    free(self);
    *self_p = NULL;
}
