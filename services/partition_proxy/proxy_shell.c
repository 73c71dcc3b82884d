#include "services/partition_proxy/proxy_shell.h"

#include "common/base/check.h"
#include "common/env/env_log.h"
#include "common/wire/client_reply.h"
#include "services/partition_proxy/proxy_switch.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PLACE_COUNT_MAX = REGION_COUNT_MAX + 1,
    PAIR_COUNT_MAX = PLACE_COUNT_MAX * REGION_COUNT_MAX,
    COUNTER_COUNT = 14, /* of one link, in the reply */
    LINK_METRIC_COUNT = 5,
    METRIC_NAME_SIZE = 2 * REGION_NAME_LENGTH_MAX + 32
};

static_assert((int)CLIENT_LINK_PASS == (int)LINK_MODE_PASS, "modes have the same numbers");
static_assert((int)CLIENT_LINK_DROP == (int)LINK_MODE_DROP, "modes have the same numbers");
static_assert((int)CLIENT_LINK_HOLD == (int)LINK_MODE_HOLD, "modes have the same numbers");
static_assert((int)CLIENT_LINK_CUT == (int)LINK_MODE_CUT, "modes have the same numbers");

typedef struct {
    link_id_t link;
    const char *from; /* names; of the topology */
    const char *to;
    char metric_names[LINK_METRIC_COUNT][METRIC_NAME_SIZE];
    char mode_name[METRIC_NAME_SIZE]; /* "link_mode.us-east.eu-west" */
} pair_t;

typedef struct {
    env_process_t *process;
    const topology_t *topology;
    proxy_switch_t *ways;
    uint32_t pair_count;
    pair_t pairs[PAIR_COUNT_MAX];        /* by from, to, in the order of the topology */
    client_link_t links[PAIR_COUNT_MAX]; /* of the reply being made */
    client_counter_t counters[PAIR_COUNT_MAX][COUNTER_COUNT];
    buffer_t out;
} proxy_t;

/* -- replies ----------------------------------------------------------------------------------- */

static uint32_t s_fill_counters(const link_counters_t *counters,
                                client_counter_t ret_counters[COUNTER_COUNT])
{
    uint64_t dropped_bytes = 0;
    for (int i = 0; i < LINK_DROP_COUNT; i++) {
        dropped_bytes += counters->dropped_bytes[i];
    }
    const client_counter_t filled[COUNTER_COUNT] = {
        {slice_text("offered"), counters->offered_count},
        {slice_text("offered_bytes"), counters->offered_bytes},
        {slice_text("forwarded"), counters->forwarded_count},
        {slice_text("forwarded_bytes"), counters->forwarded_bytes},
        {slice_text("dropped"), link_counters_dropped(counters)},
        {slice_text("dropped_bytes"), dropped_bytes},
        {slice_text("dropped_full"), counters->dropped_count[LINK_DROP_FULL]},
        {slice_text("waiting"), counters->waiting_count},
        {slice_text("waiting_bytes"), counters->waiting_bytes},
        {slice_text("duplicated"), counters->duplicated_count},
        {slice_text("duplicated_bytes"), counters->duplicated_bytes},
        {slice_text("delayed"), counters->delayed_count},
        {slice_text("reordered"), counters->reordered_count},
        {slice_text("resets"), counters->reset_count},
    };
    memcpy(ret_counters, filled, sizeof(filled));
    return COUNTER_COUNT;
}

static client_link_rule_t s_to_client(const link_rule_t *rule)
{
    return (client_link_rule_t){.mode = (client_link_mode_t)rule->mode,
                                .delay_ms = rule->delay_ms,
                                .jitter_ms = rule->jitter_ms,
                                .drop = rule->drop,
                                .duplicate = rule->duplicate,
                                .reorder = rule->reorder,
                                .rate_bytes_s = rule->rate_bytes_s};
}

static void s_reply_links(proxy_t *self, uint64_t reply_to, slice_t id)
{
    const link_rules_t *rules = proxy_switch_rules(self->ways);
    for (uint32_t i = 0; i < self->pair_count; i++) {
        const pair_t *pair = &self->pairs[i];
        client_counter_t *counters = self->counters[i];
        self->links[i] = (client_link_t){.from = slice_text(pair->from),
                                         .to = slice_text(pair->to),
                                         .rule = s_to_client(link_rules_rule(rules, pair->link)),
                                         .counters = counters};
        self->links[i].counter_count =
            s_fill_counters(link_rules_counters(rules, pair->link), counters);
    }
    buffer_clear(&self->out);
    client_reply_links(&self->out, id, self->pair_count, self->links);
    env_process_reply(self->process, reply_to, &self->out);
}

/* -- commands ---------------------------------------------------------------------------------- */

/* errs ERR_INVALID the text lists the places */
static err_t s_parse_place(
    const proxy_t *self, slice_t name, const char *key, region_id_t *ret_place, errbuf_t *errbuf)
{
    char text[NAME_LENGTH_MAX + 1];
    (void)snprintf(text, sizeof(text), "%.*s", (int)name.size, (const char *)name.data);
    if (topology_place_parse(self->topology, text, ret_place) == ERR_OK) {
        return ERR_OK;
    }
    char places[PLACE_COUNT_MAX * (REGION_NAME_LENGTH_MAX + 1) + 1] = "control";
    for (uint32_t i = 0; i < self->topology->region_count; i++) {
        size_t size = strlen(places);
        (void)snprintf(places + size, sizeof(places) - size, " %s",
                       self->topology->regions[i].name);
    }
    errbuf_set(errbuf, "%s: expected one of %s, found %s", key, places, text);
    return ERR_INVALID;
}

static err_t s_set_link(proxy_t *self, const client_request_t *request, errbuf_t *errbuf)
{
    link_id_t link = {.from = {0}};
    const client_link_rule_t *asked = &request->as.link.rule;
    link_rule_t rule = {.mode = (link_mode_t)asked->mode,
                        .delay_ms = asked->delay_ms,
                        .jitter_ms = asked->jitter_ms,
                        .drop = asked->drop,
                        .duplicate = asked->duplicate,
                        .reorder = asked->reorder,
                        .rate_bytes_s = asked->rate_bytes_s};
    err_t err = s_parse_place(self, request->as.link.from, "from", &link.from, errbuf);
    if (err == ERR_OK) {
        err = s_parse_place(self, request->as.link.to, "to", &link.to, errbuf);
    }
    if (err == ERR_OK) {
        err = proxy_switch_set(self->ways, link, &rule, errbuf);
    }
    if (err != ERR_OK) {
        return err;
    }
    char faults[128];
    (void)snprintf(faults, sizeof(faults), "drop %g, duplicate %g, reorder %g", rule.drop,
                   rule.duplicate, rule.reorder);
    ENV_LOG(ENV_LOG_INFO, "link",
            env_log_text("from", topology_place_name(self->topology, link.from)),
            env_log_text("to", topology_place_name(self->topology, link.to)),
            env_log_text("mode", link_mode_name(rule.mode)), env_log_u64("delay_ms", rule.delay_ms),
            env_log_u64("jitter_ms", rule.jitter_ms), env_log_text("faults", faults),
            env_log_u64("rate_bytes_s", rule.rate_bytes_s));
    return ERR_OK;
}

static void s_on_client(void *context,
                        uint64_t reply_to,
                        const client_request_t *request,
                        now_t now)
{
    (void)now;
    proxy_t *self = context;
    errbuf_t errbuf = {.text = ""};
    if (request->op == CLIENT_OP_LINK && s_set_link(self, request, &errbuf) != ERR_OK) {
        env_process_refuse(self->process, reply_to, request->id, CODE_BAD_REQUEST, errbuf.text);
        return;
    }
    if (request->op == CLIENT_OP_HEAL) {
        proxy_switch_heal(self->ways);
        ENV_LOG(ENV_LOG_INFO, "heal", env_log_u64("links", self->pair_count));
    }
    s_reply_links(self, reply_to, request->id);
}

/* -- state ------------------------------------------------------------------------------------- */

typedef struct {
    msg_metric_t *metrics;
    uint32_t count;
    uint32_t count_max;
} metric_list_t;

static void s_put(metric_list_t *list, const char *name, uint64_t value)
{
    if (list->count < list->count_max) {
        list->metrics[list->count++] =
            (msg_metric_t){.name = slice_text(name), .value = (double)value};
    }
}

static uint32_t s_metrics(void *context, msg_metric_t *ret_metrics, uint32_t count_max)
{
    proxy_t *self = context;
    const proxy_counts_t *counts = proxy_switch_counts(self->ways);
    metric_list_t list = {.metrics = ret_metrics, .count_max = count_max};
    s_put(&list, "proxy_malformed", counts->malformed + counts->backends.malformed);
    s_put(&list, "proxy_asker_full", counts->asker_full);
    s_put(&list, "proxy_asker_gone", counts->asker_gone);
    s_put(&list, "proxy_target_full", counts->backends.full);
    s_put(&list, "proxy_target_unreachable", counts->backends.unreachable);
    s_put(&list, "proxy_target_unlimited", counts->target_unlimited);
    s_put(&list, "proxy_targets", counts->backend_count);
    s_put(&list, "proxy_unheard_topics", counts->unheard_topics);
    for (uint32_t i = 0; i < self->pair_count && list.count + LINK_METRIC_COUNT <= count_max; i++) {
        const pair_t *pair = &self->pairs[i];
        const link_counters_t *link =
            link_rules_counters(proxy_switch_rules(self->ways), pair->link);
        s_put(&list, pair->metric_names[0], link->forwarded_count);
        s_put(&list, pair->metric_names[1], link->forwarded_bytes);
        s_put(&list, pair->metric_names[2], link_counters_dropped(link));
        s_put(&list, pair->metric_names[3], link->waiting_count);
        s_put(&list, pair->metric_names[4], link->waiting_bytes);
        /* What `status` shows of the links; those that pass are left out of every heartbeat. */
        const link_rule_t *rule = link_rules_rule(proxy_switch_rules(self->ways), pair->link);
        if (rule->mode != LINK_MODE_PASS) {
            s_put(&list, pair->mode_name, (uint64_t)rule->mode);
        }
    }
    return list.count;
}

static bool s_is_ready(void *context, const char **ret_reason)
{
    const proxy_t *self = context;
    *ret_reason = "a link endpoint is not open again yet";
    return proxy_switch_is_ready(self->ways);
}

static int64_t s_next_deadline_ns(void *context)
{
    const proxy_t *self = context;
    return proxy_switch_deadline_ns(self->ways);
}

static void s_on_deadline(void *context, now_t now)
{
    const proxy_t *self = context;
    proxy_switch_tick(self->ways, now);
}

/* -- life -------------------------------------------------------------------------------------- */

static void s_add_pair(proxy_t *self, region_id_t from, region_id_t to)
{
    static const char *const s_suffixes[LINK_METRIC_COUNT] = {
        "forwarded", "forwarded_bytes", "dropped", "waiting", "waiting_bytes"};
    CHECK(self->pair_count < PAIR_COUNT_MAX);
    pair_t *pair = &self->pairs[self->pair_count++];
    pair->link = (link_id_t){.from = from, .to = to};
    pair->from = topology_place_name(self->topology, from);
    pair->to = topology_place_name(self->topology, to);
    for (int i = 0; i < LINK_METRIC_COUNT; i++) {
        (void)snprintf(pair->metric_names[i], METRIC_NAME_SIZE, "link_%s_%s_%s", pair->from,
                       pair->to, s_suffixes[i]);
    }
    (void)snprintf(pair->mode_name, METRIC_NAME_SIZE, "link_mode.%s.%s", pair->from, pair->to);
}

static void s_add_pairs(proxy_t *self)
{
    region_id_t places[PLACE_COUNT_MAX] = {{0}}; /* control first */
    uint32_t place_count = 1;
    for (uint32_t i = 0; i < self->topology->region_count; i++) {
        places[place_count++] = self->topology->regions[i].id;
    }
    for (uint32_t i = 0; i < place_count * place_count; i++) {
        region_id_t from = places[i / place_count];
        region_id_t to = places[i % place_count];
        if (from.value != to.value) {
            s_add_pair(self, from, to);
        }
    }
}

static void s_close(void *context)
{
    proxy_t *self = context;
    proxy_switch_close(&self->ways);
    buffer_done(&self->out);
    free(self);
}

static err_t s_open(env_process_t *process, void **ret_context, errbuf_t *errbuf)
{
    proxy_t *self = calloc(1, sizeof(*self));
    CHECK(self != NULL);
    self->process = process;
    self->topology = env_process_topology(process);
    buffer_init(&self->out);
    s_add_pairs(self);
    uint64_t seed = env_process_engine_env(process).seed;
    err_t err =
        proxy_switch_open(env_process_loop(process), self->topology, seed, &self->ways, errbuf);
    if (err != ERR_OK) {
        s_close(self);
        return err;
    }
    ENV_LOG(ENV_LOG_INFO, "rules", env_log_u64("seed", seed),
            env_log_u64("links", self->pair_count));
    *ret_context = self;
    return ERR_OK;
}

const env_service_t *proxy_service(void)
{
    static const env_service_t s_service = {
        .kind = PROCESS_PROXY,
        .program = "tidal_partition_proxy",
        .open = s_open,
        .close = s_close,
        .on_client = s_on_client,
        .next_deadline_ns = s_next_deadline_ns,
        .on_deadline = s_on_deadline,
        .is_ready = s_is_ready,
        .metrics = s_metrics,
    };
    return &s_service;
}
